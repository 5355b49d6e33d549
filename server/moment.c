/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/moment.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/log.h"

/* A note's value: the LUN's id. An older server wrote the LUN's name, which has no such sign. */
#define MOMENT_ID_SIGN "#"

static void moment_key(const struct moment *moment, char key[STORE_KEY_MAX + 1])
{
    snprintf(key, STORE_KEY_MAX + 1, "%.50s%s", moment->prefix, moment->snapshot);
}

static int moment_note(struct pool *pool, const struct moment *moment, const char *value)
{
    char key[STORE_KEY_MAX + 1];
    moment_key(moment, key);
    struct store_change note = {.key = key, .value = value, .len = value ? strlen(value) : 0};
    return store_apply(pool, &note, 1, NULL);
}

int moment_create(struct pool *pool, const struct moment *moment, const char *comment,
                  struct reason *why)
{
    char value[32];
    struct lun_info info;
    int r = lun_get_info_by_id(pool, moment->lun_id, &info);
    if (r < 0)
        return reason_set(why, r, "the LUN is gone");
    /* The note comes first: a snapshot without one would stay for ever. */
    snprintf(value, sizeof(value), MOMENT_ID_SIGN "%" PRIu64, moment->lun_id);
    r = moment_note(pool, moment, value);
    if (r < 0)
        return reason_set(why, r, "it cannot be noted that a snapshot is made");
    r = snapshot_create(pool, info.name, moment->snapshot, comment, why);
    if (r < 0)
        ignore_error(moment_note(pool, moment, NULL), "the next start finds that there is none");
    return r;
}

int moment_open(struct pool *pool, const struct moment *moment, struct lun **handle,
                struct reason *why)
{
    struct lun_info info;
    char name[2 * LUN_NAME_MAX + 2];
    int r = lun_get_info_by_id(pool, moment->lun_id, &info);
    if (r < 0)
        return reason_set(why, r, "the LUN is gone");
    snprintf(name, sizeof(name), "%.*s@%s", LUN_NAME_MAX, info.name, moment->snapshot);
    return lun_open(pool, name, LUN_READ_ONLY, handle, why);
}

static void moment_delete_of(struct pool *pool, const struct moment *moment, const char *lun_name)
{
    int r = snapshot_delete(pool, lun_name, moment->snapshot, LUN_FORCE, NULL);
    if (r == 0 || r == -ENOENT)
        r = moment_note(pool, moment, NULL);
    if (r < 0)
        log_warning("snapshot %s of LUN %s, which the server made for itself, is kept until the "
                    "next start: %s",
                    moment->snapshot, lun_name, strerror(-r));
}

void moment_delete(struct pool *pool, const struct moment *moment)
{
    struct lun_info info;
    if (lun_get_info_by_id(pool, moment->lun_id, &info) == 0)
        moment_delete_of(pool, moment, info.name);
    else
        ignore_error(moment_note(pool, moment, NULL), "the next start finds that there is none");
}

struct moment_left
{
    struct pool *pool;
    const char *prefix;
};

static int moment_delete_left_cb(void *opaque, const char *key, const void *value, size_t len)
{
    const struct moment_left *left = opaque;
    struct moment moment = {.prefix = left->prefix};
    (void)len;
    snprintf(moment.snapshot, sizeof(moment.snapshot), "%s", key + strlen(left->prefix));
    const char *text = value;
    if (text[0] != MOMENT_ID_SIGN[0])
    {
        moment_delete_of(left->pool, &moment, text);
        return 0;
    }
    moment.lun_id = strtoull(text + 1, NULL, 10); /* 0 if it makes no sense: no LUN's */
    moment_delete(left->pool, &moment);
    return 0;
}

int moment_delete_left(struct pool *pool, const char *prefix)
{
    struct moment_left left = {.pool = pool, .prefix = prefix};
    return store_list(pool, prefix, moment_delete_left_cb, &left);
}
