/* SPDX-License-Identifier: BSD-3-Clause */
/* Clones of LUNs: many of one, and several of one instant. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/volume/catalog.h"
#include "lun/volume/command.h"
#include "lun/volume/group.h"
#include "lun/volume/lun_internal.h"
#include "lun/volume/news.h"
#include "lun/volume/promise.h"
#include "lun/volume/quota.h"

/* The name of clone number @i. */
static int clone_name(const struct lun_clone_args *args, uint32_t i, char name[LUN_NAME_MAX + 1],
                      struct reason *why)
{
    const char *given = name_strip(args->name);
    if (args->count > 1)
        return name_from_template(name, LUN_NAME_MAX + 1, given, args->first_number + i, why);
    struct name_path path;
    int r = name_split(given, &path, why);
    if (r == 0)
        snprintf(name, LUN_NAME_MAX + 1, "%s", given);
    return r;
}

int lun_clone_name(const char *name_template, uint32_t number, char *name, size_t size,
                   struct reason *why)
{
    return name_from_template(name, size, name_strip(name_template), number, why);
}

/* Adds the clone @name of @source to the group's actions. */
static int clone_plan(struct lun_group *group, const struct lun_clone_args *args,
                      struct lun_object *source, const char *name, struct lun_news *news,
                      struct reason *why)
{
    struct pool *pool = group->pool;
    const struct lun_object *lun = source->lun;
    struct lun_place place;
    int r = lun_find_place(pool, name, &place, why);
    if (r < 0)
        return r;
    struct lun_draft draft = lun_draft_new(pool, DISK_OBJECT_LUN, NULL);
    lun_draft_place(&draft, &place);
    draft.line_id = pool->next_id++;
    draft.size_bytes = atomic_load(&source->size_bytes);
    draft.sector_bytes = source->sector_bytes;
    draft.comment = args->comment;
    draft.origin = source->name;
    draft.is_reserved = atomic_load(&lun->is_reserved) && !args->no_reserve;
    draft.is_autodelete = args->autodelete;
    draft.expire_ns = args->expire_ns;
    draft.owner = args->owner ? args->owner : lun->owner;
    draft.group = args->group ? args->group : lun->group;
    lun_group_head(group, draft.line_id, source);
    lun_draft_put(&draft, &group->actions);
    lun_group_promise(group, &(struct promise_delta){.kind = PROMISE_CLONE,
                                                     .lun = source,
                                                     .volume = place.volume,
                                                     .is_reserved = draft.is_reserved,
                                                     .size_bytes = draft.size_bytes,
                                                     .count = 1});
    struct quota_delta quota = quota_delta_at(place.volume, place.qtree, draft.owner, draft.group,
                                              (int64_t)draft.size_bytes);
    group->is_clone = true;
    lun_group_quota(group, &quota);
    lun_news_add(news, draft.id, place.name);
    return 0;
}

static int clone_check_args(const struct lun_clone_args *args, size_t count, struct reason *why)
{
    int r = comment_check(args->comment, why);
    if (r == 0)
        r = owner_check(args->owner, why);
    if (r == 0)
        r = owner_check(args->group, why);
    if (r == 0 && count > LUN_CLONES_AT_ONCE_MAX)
        r = reason_set(why, -EINVAL, "one command makes at most %d clones, not %zu",
                       LUN_CLONES_AT_ONCE_MAX, count);
    return r;
}

/* ---- many of one --------------------------------------------------------------------------- */

static int clone_locked(struct pool *pool, const struct lun_clone_args *args, uint32_t count,
                        struct lun_news *news, struct reason *why)
{
    struct lun_object *source;
    int r = lun_find(pool, args->source, &source, why);
    if (r == 0 && !args->unlocked)
        r = lun_check_clonable(pool, source, why);
    if (r < 0)
        return r;
    AUTO_LUN_GROUP struct lun_group group = {0};
    lun_group_begin(&group, pool);
    for (uint32_t i = 0; i < count; i++)
    {
        char name[LUN_NAME_MAX + 1];
        r = clone_name(args, i, name, why);
        if (r == 0)
            r = clone_plan(&group, args, source, name, news, why);
        if (r < 0)
            return r;
    }
    return lun_group_run(&group, false, why);
}

int lun_clone(struct pool *pool, const struct lun_clone_args *args, struct reason *why)
{
    int r = command_begin(pool, why);
    uint32_t count = args->count > 1 ? args->count : 1;
    if (r == 0)
        r = clone_check_args(args, count, why);
    if (r < 0)
        return r;
    AUTO_LUN_NEWS struct lun_news news = {0};
    {
        AUTO_LOCK(&pool->management);
        r = clone_locked(pool, args, count, &news, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r < 0)
        return r;
    const char *name = name_strip(args->name), *source = name_strip(args->source);
    event_add(pool, "info", "lun.cloned", source, "%u clone%s '%s' of '%s' made", count,
              count == 1 ? "" : "s", name, source);
    lun_news_tell(&news, pool, LUN_CHANGE_CREATED);
    return 0;
}

/* ---- one of each of many ------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names are looked for among what is there, so not among each other. */
static int group_check_names(const struct lun_pair *pairs, size_t count, struct reason *why)
{
    AUTO_FREE const char **names = calloc(count, sizeof(const char *));
    if (!names)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        names[i] = name_strip(pairs[i].name);
    qsort(names, count, sizeof(const char *), compare_names);
    for (size_t i = 1; i < count; i++)
    {
        if (strcmp(names[i], names[i - 1]) == 0)
            return reason_set(why, -EEXIST, "two clones would be named '%s'", names[i]);
    }
    return 0;
}

static int clone_group_locked(struct pool *pool, const struct lun_pair *pairs, size_t count,
                              const struct lun_clone_args *common, struct lun_news *news,
                              struct reason *why)
{
    AUTO_LUN_GROUP struct lun_group group = {0};
    lun_group_begin(&group, pool);
    enum disk_object_kind kind = DISK_OBJECT_NONE;
    for (size_t i = 0; i < count; i++)
    {
        struct lun_object *source;
        int r = lun_find(pool, pairs[i].source, &source, why);
        if (r == 0 && i > 0 && source->object.kind != kind)
            r = reason_set(
                why, -EINVAL,
                "clones of one instant are of LUNs all, or of snapshots all; '%s' is not "
                "like those before it",
                source->name);
        if (r == 0 && !common->unlocked)
            r = lun_check_clonable(pool, source, why);
        if (r == 0)
            r = clone_plan(&group, common, source, pairs[i].name, news, why);
        if (r < 0)
            return r;
        kind = source->object.kind;
    }
    return lun_group_run(&group, false, why);
}

int lun_clone_group(struct pool *pool, const struct lun_pair *pairs, size_t count,
                    const struct lun_clone_args *common, struct reason *why)
{
    int r = command_begin(pool, why);
    if (r == 0)
        r = clone_check_args(common, count, why);
    if (r == 0 && count == 0)
        r = reason_set(why, -EINVAL, "which LUNs are to be cloned?");
    if (r == 0)
        r = group_check_names(pairs, count, why);
    if (r < 0)
        return r;
    AUTO_LUN_NEWS struct lun_news news = {0};
    {
        AUTO_LOCK(&pool->management);
        r = clone_group_locked(pool, pairs, count, common, &news, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++)
        event_add(pool, "info", "lun.cloned", name_strip(pairs[i].source),
                  "clone '%s' of '%s' made, one of %zu of one instant", name_strip(pairs[i].name),
                  name_strip(pairs[i].source), count);
    lun_news_tell(&news, pool, LUN_CHANGE_CREATED);
    return 0;
}
