/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the naive engine has not: quotas, dry runs and repairs are refused with -ENOTSUP, what
 * policies ask for is answered from lun_list(). Only where the naive engine stands in for the real
 * one; the oracle of the model needs none of it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "lun/base/cleanup.h"
#include "lun/lun.h"

static int absent(struct reason *why, const char *what)
{
    reason_clear(why);
    return reason_set(why, -ENOTSUP, "The engine in memory has no %s.", what);
}

/* ---- looked up ------------------------------------------------------------------------------ */

int lun_get_info_by_id(struct pool *pool, uint64_t id, struct lun_info *info)
{
    AUTO_FREE struct lun_info *list = NULL;
    size_t count = 0;
    struct reason why;
    int r = lun_list(pool, NULL, &list, &count, &why);
    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++)
        if (list[i].id == id)
        {
            *info = list[i];
            return 0;
        }
    return -ENOENT;
}

int volume_next_lun(struct pool *pool, uint64_t volume_id, uint64_t after_id, struct lun_info *info)
{
    AUTO_FREE struct lun_info *list = NULL;
    size_t count = 0;
    struct reason why;
    int r = lun_list(pool, NULL, &list, &count, &why);
    const struct lun_info *next = NULL;
    for (size_t i = 0; i < count; i++)
        if (list[i].kind == OBJECT_LUN && list[i].volume_id == volume_id && list[i].id > after_id &&
            (!next || list[i].id < next->id))
            next = &list[i];
    if (r < 0 || !next)
        return r < 0 ? r : -ENOENT;
    *info = *next;
    return 0;
}

int lun_list_expendable(struct pool *pool, enum lun_expendable kind, struct lun_info **list,
                        size_t *count)
{
    AUTO_FREE struct lun_info *all = NULL;
    size_t all_count = 0, kept = 0;
    struct reason why;
    int r = lun_list(pool, NULL, &all, &all_count, &why);
    if (r < 0)
        return r;
    for (size_t i = 0; i < all_count; i++)
    {
        bool is_lun = all[i].kind == OBJECT_LUN;
        bool is_wanted = kind == LUN_EXPENDABLE_LUNS
                             ? is_lun && (all[i].expire_ns != 0 || all[i].is_autodelete)
                             : !is_lun && all[i].volume_snapshot_id == 0;
        if (is_wanted)
            all[kept++] = all[i];
    }
    *list = take_ptr(&all);
    *count = kept;
    return 0;
}

/* Not all in one: a condition can change between the look and the delete. */
int lun_delete_if(struct pool *pool, const struct lun_delete_condition *condition, unsigned flags,
                  struct reason *why)
{
    AUTO_FREE struct lun_info *list = NULL;
    size_t count = 0;
    int r = lun_list(pool, NULL, &list, &count, why);
    const struct lun_info *lun = NULL;
    bool is_held = false;
    for (size_t i = 0; i < count; i++)
    {
        if (list[i].id == condition->id)
            lun = &list[i];
        is_held |= list[i].kind == OBJECT_SNAPSHOT && list[i].lun_id == condition->id &&
                   list[i].volume_snapshot_id != 0;
    }
    if (r < 0)
        return r;
    if (!lun)
        return reason_set(why, -ENOENT, "There is no LUN %" PRIu64 " any more.", condition->id);
    if ((condition->expire_ns && condition->expire_ns != lun->expire_ns) ||
        (condition->is_autodelete && !lun->is_autodelete))
        return reason_set(why, -ESTALE, "LUN '%s' has changed.", lun->name);
    if (condition->keeps_volume_snapshots && is_held)
        return reason_set(why, -EBUSY, "A snapshot of its volume holds '%s'.", lun->name);
    return lun_delete(pool, lun->name, true, flags, why);
}

/* ---- refused -------------------------------------------------------------------------------- */

int lun_clone_name(const char *name_template, uint32_t number, char *name, size_t size,
                   struct reason *why)
{
    (void)name_template, (void)number, (void)name, (void)size;
    return absent(why, "names of clones to be");
}

int quota_rule_set(struct pool *pool, const struct quota_rule *rule, struct reason *why)
{
    (void)pool, (void)rule;
    return absent(why, "quotas");
}

int quota_rule_delete(struct pool *pool, const struct quota_rule *rule, struct reason *why)
{
    (void)pool, (void)rule;
    return absent(why, "quotas");
}

int quota_rule_list(struct pool *pool, const char *volume, struct quota_rule **list, size_t *count,
                    struct reason *why)
{
    (void)pool, (void)volume, (void)list, (void)count;
    return absent(why, "quotas");
}

int quota_set_enabled(struct pool *pool, const char *volume, bool on, struct reason *why)
{
    (void)pool, (void)volume, (void)on;
    return absent(why, "quotas");
}

int quota_report(struct pool *pool, const char *path, struct quota_usage **list, size_t *count,
                 struct reason *why)
{
    (void)pool, (void)path, (void)list, (void)count;
    return absent(why, "quotas");
}
