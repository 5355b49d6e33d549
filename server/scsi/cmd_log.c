/* SPDX-License-Identifier: BSD-3-Clause */
/* LOG SENSE: one table of pages, from which the lists of supported pages come too. */
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "server/scsi/scsi_internal.h"

enum
{
    LOG_BYTES_MAX = 256,
    LOG_SUBPAGE_FORMAT = 0x40,
    LOG_ALL_SUBPAGES = 0xff,
    LOG_BINARY = 0x03, /* control byte: a binary list parameter */
    SCOPE_THIS_UNIT = 1,
    SCOPE_MANY_UNITS = 2,
    STATISTICS_BYTES = 64,
};

struct log
{
    uint8_t bytes[LOG_BYTES_MAX];
    size_t len;
    uint16_t first; /* parameters with lower codes are left out */
    uint16_t last;  /* the highest code there is */
};

/* A parameter of @len bytes to be filled in, or NULL if it is left out. */
static uint8_t *log_parameter(struct log *log, uint16_t code, uint8_t len)
{
    log->last = code;
    if (code < log->first)
        return NULL;
    INVARIANT(log->len + 4 + len <= sizeof(log->bytes));
    uint8_t *at = log->bytes + log->len;
    log->len += 4u + len;
    wire_put_u16(at, code);
    at[2] = LOG_BINARY;
    at[3] = len;
    return at + 4;
}

/* In sets of 2^SCSI_THRESHOLD_EXPONENT blocks. */
static void log_resource(struct log *log, uint16_t code, const struct scsi_lu *lu, uint64_t bytes,
                         uint8_t scope)
{
    uint8_t *at = log_parameter(log, code, 8);
    if (!at)
        return;
    wire_put_u32(at, min_u64(bytes >> lu->sector_shift >> SCSI_THRESHOLD_EXPONENT, UINT32_MAX));
    at[4] = scope;
}

static void log_provisioning(struct log *log, struct scsi_lu *lu)
{
    struct pool_info pool;
    struct lun_info info = {0};
    pool_get_info(lu->target->pool, &pool);
    ignore_error(lun_describe(lu->handle, &info), "a deleted LUN uses nothing");
    log_resource(log, 0x0001, lu, pool.available_bytes, SCOPE_MANY_UNITS);
    log_resource(log, 0x0002, lu, info.mapped_bytes, SCOPE_THIS_UNIT);
}

static void log_statistics(struct log *log, struct scsi_lu *lu)
{
    uint8_t *at = log_parameter(log, 0x0001, STATISTICS_BYTES);
    if (!at)
        return;
    AUTO_LOCK(&lu->lock);
    wire_put_u64(at, lu->counters.reads);
    wire_put_u64(at + 8, lu->counters.writes);
    wire_put_u64(at + 16, lu->counters.written_blocks);
    wire_put_u64(at + 24, lu->counters.read_blocks);
}

/* No failure is ever predicted. */
static void log_exceptions(struct log *log, struct scsi_lu *lu)
{
    (void)lu;
    ignore_error(log_parameter(log, 0x0000, 4) != NULL, "all of it is zero");
}

static const struct
{
    uint8_t page;
    void (*build)(struct log *log, struct scsi_lu *lu); /* NULL: the list of pages */
} log_pages[] = {
    {0x00, NULL},
    {0x0c, log_provisioning},
    {0x19, log_statistics},
    {0x2f, log_exceptions},
};

static void log_list(struct log *log, bool with_subpages)
{
    for (size_t i = 0; i < ARRAY_SIZE(log_pages); i++)
    {
        log->bytes[log->len++] = log_pages[i].page;
        if (with_subpages)
            log->bytes[log->len++] = 0;
        if (with_subpages && log_pages[i].page == 0)
        {
            log->bytes[log->len++] = 0;
            log->bytes[log->len++] = LOG_ALL_SUBPAGES;
        }
    }
}

void cmd_log_sense(struct scsi_task *task)
{
    uint8_t page = task->cdb[2] & 0x3f, subpage = task->cdb[3];
    if (task->cdb[1] & 1)
    {
        sense_fail_cdb(task, 1, 0); /* nothing can be saved */
        return;
    }
    size_t row = 0;
    while (row < ARRAY_SIZE(log_pages) && log_pages[row].page != page)
        row++;
    bool list_subpages = page == 0 && subpage == LOG_ALL_SUBPAGES;
    if (row == ARRAY_SIZE(log_pages) || (subpage && !list_subpages))
    {
        sense_fail_cdb(task, row == ARRAY_SIZE(log_pages) ? 2 : 3, -1);
        return;
    }
    struct log log = {.len = 4, .first = wire_u16(task->cdb + 5)};
    log.bytes[0] = (uint8_t)(page | (list_subpages ? LOG_SUBPAGE_FORMAT : 0));
    log.bytes[1] = subpage;
    if (log_pages[row].build)
        log_pages[row].build(&log, task->lu);
    else
        log_list(&log, list_subpages);
    if (log.first > log.last)
    {
        sense_fail_cdb(task, 5, -1);
        return;
    }
    wire_put_u16(log.bytes + 2, log.len - 4);
    command_reply(task, log.bytes, log.len);
}
