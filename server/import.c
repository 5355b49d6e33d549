/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/import.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"

#define IMPORT_EXPORT_SIGN "!import-"

static void import_key(uint64_t lun_id, char key[STORE_KEY_MAX + 1])
{
    snprintf(key, STORE_KEY_MAX + 1, IMPORT_STORE_PREFIX "%016" PRIx64, lun_id);
}

struct import_ids
{
    uint64_t *list;
    size_t count;
};

static int import_list_cb(void *opaque, const char *key, const void *value, size_t len)
{
    struct import_ids *ids = opaque;
    char *end;
    (void)value, (void)len;
    uint64_t id = strtoull(key + strlen(IMPORT_STORE_PREFIX), &end, 16);
    if (*end || id == 0)
        return 0; /* nothing that was made here */
    uint64_t *list = realloc(ids->list, (ids->count + 1) * sizeof(*list));
    if (!list)
        return -ENOMEM;
    ids->list = list;
    ids->list[ids->count++] = id;
    return 0;
}

int import_list(struct pool *pool, uint64_t **ids, size_t *count)
{
    struct import_ids found = {0};
    int r = store_list(pool, IMPORT_STORE_PREFIX, import_list_cb, &found);
    if (r < 0)
    {
        free(found.list);
        return r;
    }
    *ids = found.list;
    *count = found.count;
    return 0;
}

bool import_is_among(const uint64_t *ids, size_t count, uint64_t lun_id)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] == lun_id)
            return true;
    return false;
}

static int import_get(struct pool *pool, uint64_t lun_id, bool *is_marked)
{
    AUTO_FREE void *value = NULL;
    size_t len;
    char key[STORE_KEY_MAX + 1];
    import_key(lun_id, key);
    int r = store_get(pool, key, &value, &len);
    if (r < 0 && r != -ENOENT)
        return r;
    *is_marked = r == 0;
    return 0;
}

int import_check(struct pool *pool, const struct lun_info *info, struct reason *why)
{
    bool is_marked;
    int r = import_get(pool, info->lun_id, &is_marked);
    if (r < 0)
        return reason_set(why, r, "whether all of '%s' was imported cannot be told", info->name);
    if (!is_marked)
        return 0;
    int len = (int)strcspn(info->name, "@");
    return reason_set(why, -EBUSY,
                      "LUN '%.*s' is not whole: an import is filling it, or was interrupted; the "
                      "same 'lunette lun import' again makes it whole, 'lunette lun delete %.*s' "
                      "removes it",
                      len, info->name, len, info->name);
}

int import_end(struct pool *pool, uint64_t lun_id, struct reason *why)
{
    bool is_marked;
    char key[STORE_KEY_MAX + 1];
    import_key(lun_id, key);
    int r = import_get(pool, lun_id, &is_marked);
    if (r < 0)
        return reason_set(why, r, "%s", strerror(-r));
    if (!is_marked)
        return reason_set(why, -ENOENT, "it is not being imported, or not any more");
    const struct store_change change = {.key = key};
    return store_apply(pool, &change, 1, why);
}

void import_export_name(const char *name, uint64_t lun_id, char export[IMPORT_EXPORT_MAX])
{
    snprintf(export, IMPORT_EXPORT_MAX, "%.*s" IMPORT_EXPORT_SIGN "%" PRIu64, LUN_NAME_MAX, name,
             lun_id);
}

bool import_is_export(const char *export, uint64_t *lun_id)
{
    const char *sign = strstr(export, IMPORT_EXPORT_SIGN);
    if (!sign)
        return false;
    const char *digits = sign + strlen(IMPORT_EXPORT_SIGN);
    char *end = NULL;
    errno = 0;
    uint64_t id = isdigit((unsigned char)*digits) ? strtoull(digits, &end, 10) : 0;
    *lun_id = end && !*end && errno == 0 ? id : 0;
    return true;
}
