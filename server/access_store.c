/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Access control in the pool's store.
 *
 *   access/target-name          the target's iSCSI name
 *   access/igroup/GROUP         "NUMBER": where the search for a free LUN number begins
 *   access/initiator/GROUP/SLOT the name of an initiator
 *   access/map/GROUP/ID         "NUMBER NAME": LUN id ID (16 digits) has the LUN number NUMBER; its
 *                               NAME is where a search begins, the id decides
 *   access/lun/ID               "FLAGS"
 *   access/chap/SUBJECT         four strings, each ended by a NUL: user, secret, mutual user and
 *                               secret. Or, without a NUL, "wrapped-chap-1 KEY USER SECRET", for
 *                               mutual CHAP with another " USER SECRET": the id of a key, then hex
 *                               digits; SECRET is what host_key_wrap() made of it
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/cleanup.h"
#include "server/access_internal.h"

#define PREFIX_GROUP "access/igroup/"
#define PREFIX_INITIATOR "access/initiator/"
#define PREFIX_MAP "access/map/"
#define PREFIX_FLAGS "access/lun/"
#define PREFIX_CHAP "access/chap/"

void access_key_group(const char *group, char key[ACCESS_KEY_BYTES])
{
    snprintf(key, ACCESS_KEY_BYTES, PREFIX_GROUP "%s", group);
}

void access_key_initiator(const char *group, uint32_t slot, char key[ACCESS_KEY_BYTES])
{
    snprintf(key, ACCESS_KEY_BYTES, PREFIX_INITIATOR "%s/%u", group, slot);
}

void access_key_map(const char *group, uint64_t lun_id, char key[ACCESS_KEY_BYTES])
{
    snprintf(key, ACCESS_KEY_BYTES, PREFIX_MAP "%s/%016" PRIx64, group, lun_id);
}

void access_key_flags(uint64_t lun_id, char key[ACCESS_KEY_BYTES])
{
    snprintf(key, ACCESS_KEY_BYTES, PREFIX_FLAGS "%016" PRIx64, lun_id);
}

void access_key_chap(const char *subject, char key[ACCESS_KEY_BYTES])
{
    snprintf(key, ACCESS_KEY_BYTES, PREFIX_CHAP "%s", subject);
}

/* Digits up to the end or @stop. */
static bool parse_number(const char *text, int base, char stop, uint64_t *value, const char **end)
{
    char *at;
    errno = 0;
    *value = strtoull(text, &at, base);
    *end = at;
    return errno == 0 && at != text && *at == stop && text[0] != '-' && text[0] != ' ';
}

/* "GROUP/REST" behind the prefix. */
static struct access_group *load_group_of(struct access *access, const char *at, const char **rest)
{
    char name[ACCESS_NAME_MAX + 1];
    const char *slash = strchr(at, '/');
    if (!slash || (size_t)(slash - at) > ACCESS_NAME_MAX)
        return NULL;
    snprintf(name, sizeof(name), "%.*s", (int)(slash - at), at);
    *rest = slash + 1;
    return access_find_group(access, name);
}

static int load_group(void *opaque, const char *key, const void *value, size_t len)
{
    (void)len;
    const char *name = key + strlen(PREFIX_GROUP), *end;
    uint64_t number;
    if (strlen(name) > ACCESS_NAME_MAX || !parse_number(value, 10, '\0', &number, &end) ||
        number > ACCESS_LUN_NUMBER_MAX)
        return -EBADMSG;
    struct access_group *group = NULL;
    int r = access_group_insert(opaque, name, &group);
    if (r == 0)
        group->next_number = (uint32_t)number;
    return r;
}

static int load_initiator(void *opaque, const char *key, const void *value, size_t len)
{
    const char *rest = NULL, *end;
    uint64_t slot;
    struct access_group *group = load_group_of(opaque, key + strlen(PREFIX_INITIATOR), &rest);
    if (!group || len > ACCESS_INITIATOR_MAX || !parse_number(rest, 10, '\0', &slot, &end))
        return -EBADMSG;
    return access_group_add_initiator(group, value, (uint32_t)slot);
}

static int load_map(void *opaque, const char *key, const void *value, size_t len)
{
    const char *rest = NULL, *end;
    uint64_t lun_id, number;
    struct access_group *group = load_group_of(opaque, key + strlen(PREFIX_MAP), &rest);
    if (!group || !parse_number(rest, 16, '\0', &lun_id, &end) ||
        !parse_number(value, 10, ' ', &number, &end) || number > ACCESS_LUN_NUMBER_MAX)
        return -EBADMSG;
    struct access_map_entry entry = {.lun_id = lun_id, .number = (uint32_t)number};
    if (len - (size_t)(end + 1 - (const char *)value) >= sizeof(entry.lun_name))
        return -EBADMSG;
    snprintf(entry.lun_name, sizeof(entry.lun_name), "%s", end + 1);
    return access_group_add_map(group, &entry);
}

static int load_flags(void *opaque, const char *key, const void *value, size_t len)
{
    (void)len;
    const char *end;
    uint64_t lun_id, flags;
    if (!parse_number(key + strlen(PREFIX_FLAGS), 16, '\0', &lun_id, &end) ||
        !parse_number(value, 10, '\0', &flags, &end))
        return -EBADMSG;
    return access_put_flags(opaque, lun_id, (unsigned)flags);
}

static int load_chap(void *opaque, const char *key, const void *value, size_t len)
{
    struct access *access = opaque;
    AUTO_CHAP_ENTRY struct access_chap_entry *entry = secret_alloc(sizeof(*entry));
    if (!entry)
        return -ENOMEM;
    int r = access_chap_decode(access_key(access), key + strlen(PREFIX_CHAP), value, len, entry);
    return r < 0 ? r : access_put_chap(access, entry);
}

int access_load(struct access *access, struct reason *why)
{
    static const struct
    {
        const char *prefix;
        store_each_fn *each;
    } parts[] = {
        {PREFIX_GROUP, load_group}, {PREFIX_INITIATOR, load_initiator}, {PREFIX_MAP, load_map},
        {PREFIX_FLAGS, load_flags}, {PREFIX_CHAP, load_chap},
    };
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
    {
        int r = store_list(access->pool, parts[i].prefix, parts[i].each, access);
        if (r < 0)
            return reason_set(why, r, "what the pool has stored under '%s' cannot be read: %s",
                              parts[i].prefix, strerror(-r));
    }
    return 0;
}
