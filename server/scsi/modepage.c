/* SPDX-License-Identifier: BSD-3-Clause */
/* Mode pages: the table. */
#include "server/scsi/modepage.h"

#include <string.h>

#include "lun/base/checked.h"
#include "server/scsi/cdb.h"

enum
{
    MODEPAGE_SUBPAGE_FORMAT = 0x40,
    CONTROL_D_SENSE = 0x04, /* byte 2 */
    CONTROL_SWP = 0x08,     /* byte 4 */
    CACHING_WCE = 0x04,     /* byte 2 */
};

struct modepage
{
    uint8_t page, subpage;
    uint8_t len; /* with its header */
    uint8_t defaults[MODEPAGE_BYTES_MAX];
    uint8_t changeable[MODEPAGE_BYTES_MAX]; /* behind the header */
    void (*get)(const struct modepage_values *values, uint8_t *bytes);
    void (*set)(struct modepage_values *values, const uint8_t *bytes);
};

static void modepage_set_bit(uint8_t *byte, uint8_t bit, bool value)
{
    *byte = (uint8_t)(value ? *byte | bit : *byte & ~bit);
}

static void modepage_get_caching(const struct modepage_values *values, uint8_t *bytes)
{
    modepage_set_bit(&bytes[2], CACHING_WCE, !values->write_cache_disabled);
}

static void modepage_set_caching(struct modepage_values *values, const uint8_t *bytes)
{
    values->write_cache_disabled = !(bytes[2] & CACHING_WCE);
}

static void modepage_get_control(const struct modepage_values *values, uint8_t *bytes)
{
    modepage_set_bit(&bytes[2], CONTROL_D_SENSE, values->descriptor_sense);
    modepage_set_bit(&bytes[4], CONTROL_SWP, values->software_write_protect);
}

static void modepage_set_control(struct modepage_values *values, const uint8_t *bytes)
{
    values->descriptor_sense = bytes[2] & CONTROL_D_SENSE;
    values->software_write_protect = bytes[4] & CONTROL_SWP;
}

static void modepage_get_provisioning(const struct modepage_values *values, uint8_t *bytes)
{
    wire_put_u32(bytes + 20, values->threshold_sets);
}

static const struct modepage modepages[] = {
    /* Read-write error recovery: reallocation is the pool's business, so AWRE and ARRE. */
    {.page = 0x01, .len = 12, .defaults = {0x01, 0x0a, 0xc0}},
    /* Disconnect-reconnect: no limits. */
    {.page = 0x02, .len = 16, .defaults = {0x02, 0x0e}},
    {.page = 0x08,
     .len = 20,
     .defaults = {0x08, 0x12, CACHING_WCE},
     .changeable = {0, 0, CACHING_WCE},
     .get = modepage_get_caching,
     .set = modepage_set_caching},
    /* Control: one task set, unrestricted reordering of SIMPLE tasks, QERR 0, no ACA. */
    {.page = 0x0a,
     .len = 12,
     .defaults = {0x0a, 0x0a, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff},
     .changeable = {0, 0, CONTROL_D_SENSE, 0, CONTROL_SWP},
     .get = modepage_get_control,
     .set = modepage_set_control},
    /* Control extension: implicit ALUA; byte 6 is the longest sense data. */
    {.page = 0x0a,
     .subpage = 0x01,
     .len = 32,
     .defaults = {0x0a | MODEPAGE_SUBPAGE_FORMAT, 0x01, 0x00, 0x1c, 0x01, 0x00, 64}},
    /* Informational exceptions: none are reported but through the log. */
    {.page = 0x1c, .len = 12, .defaults = {0x1c, 0x0a, 0x08}},
    /* Logical block provisioning: one soft threshold, of available space, when it sinks. */
    {.page = 0x1c,
     .subpage = 0x02,
     .len = 24,
     .defaults = {0x1c | MODEPAGE_SUBPAGE_FORMAT, 0x02, 0x00, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                  0, 0x80, 0x01},
     .get = modepage_get_provisioning},
};

static bool modepage_matches(const struct modepage *row, uint8_t page, uint8_t subpage)
{
    if (page != MODEPAGE_ALL && page != row->page)
        return false;
    return subpage == MODEPAGE_ALL_SUBPAGES || subpage == row->subpage;
}

static void modepage_build(const struct modepage *row, const struct modepage_values *values,
                           enum modepage_control control, uint8_t *bytes)
{
    memcpy(bytes, row->defaults, row->len);
    if (control == MODEPAGE_DEFAULT && row->get == modepage_get_provisioning)
        row->get(values, bytes); /* follows the pool, not a host's wish */
    if (control == MODEPAGE_CHANGEABLE)
    {
        size_t header = row->defaults[0] & MODEPAGE_SUBPAGE_FORMAT ? 4 : 2;
        memcpy(bytes + header, row->changeable + header, row->len - header);
    }
    else if (control == MODEPAGE_CURRENT && row->get)
    {
        row->get(values, bytes);
    }
}

size_t modepage_sense(const struct modepage_values *values, uint8_t page, uint8_t subpage,
                      enum modepage_control control, uint8_t *bytes, size_t room)
{
    size_t len = 0;
    for (size_t i = 0; i < ARRAY_SIZE(modepages); i++)
    {
        const struct modepage *row = &modepages[i];
        if (!modepage_matches(row, page, subpage) || room - len < row->len)
            continue;
        modepage_build(row, values, control, bytes + len);
        len += row->len;
    }
    return len;
}

static const struct modepage *modepage_find(uint8_t page, uint8_t subpage)
{
    for (size_t i = 0; i < ARRAY_SIZE(modepages); i++)
        if (modepages[i].page == page && modepages[i].subpage == subpage)
            return &modepages[i];
    return NULL;
}

/* One page at the start of @bytes; *used gets its length. */
static enum modepage_result modepage_select_one(struct modepage_values *values,
                                                const uint8_t *bytes, size_t len, size_t *used,
                                                size_t *bad_byte)
{
    *bad_byte = 0;
    bool has_subpage = bytes[0] & MODEPAGE_SUBPAGE_FORMAT;
    size_t header = has_subpage ? 4 : 2;
    if (len < header)
        return MODEPAGE_BAD_LENGTH;
    const struct modepage *row = modepage_find(bytes[0] & 0x3f, has_subpage ? bytes[1] : 0);
    if (!row || has_subpage != (row->subpage != 0) || bytes[0] & 0x80)
        return MODEPAGE_BAD_FIELD;
    *bad_byte = header - 1;
    if (header + (has_subpage ? wire_u16(bytes + 2) : bytes[1]) != row->len)
        return MODEPAGE_BAD_FIELD;
    if (len < row->len)
        return MODEPAGE_BAD_LENGTH;
    uint8_t current[MODEPAGE_BYTES_MAX];
    modepage_build(row, values, MODEPAGE_CURRENT, current);
    for (size_t i = header; i < row->len; i++)
    {
        *bad_byte = i;
        if ((bytes[i] ^ current[i]) & ~row->changeable[i])
            return MODEPAGE_BAD_FIELD;
    }
    if (row->set)
        row->set(values, bytes);
    *used = row->len;
    return MODEPAGE_OK;
}

enum modepage_result modepage_select(struct modepage_values *values, const uint8_t *bytes,
                                     size_t len, size_t *bad_byte)
{
    struct modepage_values changed = *values;
    size_t at = 0;
    while (at < len)
    {
        size_t used = 0, bad = 0;
        enum modepage_result result =
            modepage_select_one(&changed, bytes + at, len - at, &used, &bad);
        if (result != MODEPAGE_OK)
        {
            *bad_byte = at + bad;
            return result;
        }
        at += used;
    }
    *values = changed;
    return MODEPAGE_OK;
}
