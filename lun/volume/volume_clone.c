/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clones of volumes: a volume whose LUNs stand on the points of a volume snapshot.
 *
 * To the lineage of its LUNs a clone owes nothing: points live as long as somebody stands on them.
 * That it depends on the snapshot is a rule for people: the snapshot is busy until the clone is
 * split or deleted. A split therefore copies nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lun/base/checked.h"
#include "lun/map/lineage.h"
#include "lun/pool/record.h"
#include "lun/volume/catalog.h"
#include "lun/volume/command.h"
#include "lun/volume/lun_internal.h"
#include "lun/volume/place.h"
#include "lun/volume/promise.h"
#include "lun/volume/volume_internal.h"

/* A clone in the making. */
struct volume_cloning
{
    struct lun_group group;
    const struct volume_clone_args *args;
    struct volume_object *parent;
    struct volume_snapshot_object *snapshot; /* NULL: it is made by the same command */
    char snapshot_name[LUN_NAME_MAX + 1];
    uint64_t snapshot_id, volume_id;
    struct lun_news news;
};

/* "clone_NAME.UTC-TIME.N", which is not there yet. */
static int automatic_name(struct volume_cloning *cloning, struct reason *why)
{
    struct pool *pool = cloning->group.pool;
    time_t seconds = (time_t)(pool->env->now_ns(pool->env) / 1000000000);
    struct tm tm;
    char time_text[32] = "";
    if (gmtime_r(&seconds, &tm))
        strftime(time_text, sizeof(time_text), "%Y-%m-%d_%H%M%S", &tm);
    for (unsigned n = 1; n < 10000; n++)
    {
        char full[2 * LUN_NAME_MAX + 2];
        int len =
            snprintf(cloning->snapshot_name, sizeof(cloning->snapshot_name), "clone_%.*s.%s.%u",
                     LUN_NAME_MAX - 40, cloning->args->name, time_text, n);
        int r = len > LUN_NAME_MAX ? -EINVAL
                                   : name_join(full, sizeof(full), cloning->parent->name,
                                               cloning->snapshot_name, why);
        if (r < 0)
            return r;
        if (!catalog_find_volume_snapshot(pool, full))
            return 0;
    }
    return reason_set(why, -EEXIST, "volume '%s' has too many automatic snapshots; delete some",
                      cloning->parent->name);
}

static int cloning_snapshot(struct volume_cloning *cloning, struct reason *why)
{
    if (cloning->args->snapshot)
    {
        int r = volume_snapshot_find(cloning->group.pool, cloning->args->volume,
                                     cloning->args->snapshot, &cloning->snapshot, why);
        if (r == 0)
            cloning->snapshot_id = cloning->snapshot->object.id;
        if (r == 0)
            snprintf(cloning->snapshot_name, sizeof(cloning->snapshot_name), "%s",
                     cloning->args->snapshot);
        return r;
    }
    int r = automatic_name(cloning, why);
    struct volume_snapshot_args snapshot = {.name = cloning->snapshot_name};
    return r < 0 ? r
                 : volume_snapshot_plan(&cloning->group, cloning->parent, &snapshot,
                                        DISK_VOLUME_SNAPSHOT_AUTOMATIC, &cloning->snapshot_id, why);
}

static int cloning_check_lock(const struct volume_cloning *cloning, struct reason *why)
{
    if (cloning->args->unlocked)
        return 0;
    struct pool *pool = cloning->group.pool;
    const struct volume_object *parent = cloning->parent;
    const struct volume_snapshot_object *set = cloning->snapshot;
    int r = lock_check_clone(pool, parent->locked_until_ns, parent->name, why);
    if (r == 0 && set)
        r = lock_check_clone(pool, set->locked_until_ns, set->name, why);
    if (set)
    {
        list_for_each (member, &set->members, struct lun_object, member_link)
        {
            if (r == 0)
                r = lun_check_clonable(pool, member, why);
        }
        return r;
    }
    list_for_each (lun, &parent->luns, struct lun_object, volume_link)
    {
        if (r == 0)
            r = lun_check_clonable(pool, lun, why);
    }
    return r;
}

static void cloning_volume(struct volume_cloning *cloning)
{
    struct lun_group *group = &cloning->group;
    struct volume_draft draft = volume_draft_new(group->pool, cloning->args->name);
    const struct volume_object *parent = cloning->parent;
    draft.size_bytes = parent->size_bytes;
    draft.flags = parent->flags & (DISK_VOLUME_GUARANTEED | DISK_VOLUME_PAUSES);
    if (cloning->args->unguaranteed)
        draft.flags &= ~(uint32_t)DISK_VOLUME_GUARANTEED;
    draft.pause_ms = parent->pause_ms;
    draft.parent_snapshot_id = cloning->snapshot_id;
    draft.comment = cloning->args->comment;
    cloning->volume_id = draft.id;
    volume_draft_put(&draft, &group->actions);
    struct promise_delta delta = {.kind = PROMISE_VOLUME,
                                  .is_guaranteed = draft.flags & DISK_VOLUME_GUARANTEED,
                                  .size_bytes = draft.size_bytes};
    lun_group_promise(group, &delta);
}

/* Those that the snapshot keeps; else the present ones. Each knows its copy (copy_id). */
static void cloning_qtrees(struct volume_cloning *cloning)
{
    struct lun_group *group = &cloning->group;
    struct volume_snapshot_object *set = cloning->snapshot;
    bool is_placed = set && (set->flags & DISK_VOLUME_SNAPSHOT_PLACED);
    struct list *qtrees = is_placed ? &set->qtrees : &cloning->parent->qtrees;
    list_for_each (qtree, qtrees, struct qtree_object, volume_link)
    {
        struct qtree_draft draft =
            qtree_draft_new(group->pool, cloning->volume_id, name_own(qtree->name));
        draft.comment = qtree->comment;
        qtree->copy_id = draft.id;
        qtree_draft_put(&draft, &group->actions);
    }
}

/* The clone of @lun, from @member of the snapshot; NULL: from its present state. */
static int cloning_lun(struct volume_cloning *cloning, struct lun_object *lun,
                       struct lun_object *member, struct reason *why)
{
    struct lun_group *group = &cloning->group;
    const struct lun_object *source = member ? member : lun;
    const struct qtree_object *qtree = member && lun_is_placed(member) ? member->qtree : lun->qtree;
    char source_path[LUN_NAME_MAX + 1], path[2 * LUN_NAME_MAX + 2], origin[2 * LUN_NAME_MAX + 2];
    place_path(source, source_path);
    int len = snprintf(path, sizeof(path), "%s%s", cloning->args->name, strchr(source_path, '/'));
    if (len > LUN_NAME_MAX)
        return reason_set(why, -EINVAL,
                          "the clone of LUN '%s' would have a name of more than %d bytes; give the "
                          "volume a shorter one",
                          source_path, LUN_NAME_MAX);
    snprintf(origin, sizeof(origin), "%s@%s", source_path, cloning->snapshot_name);
    struct lun_draft draft = lun_draft_new(group->pool, DISK_OBJECT_LUN, name_own(source_path));
    draft.volume_id = cloning->volume_id;
    if (qtree)
        draft.qtree_id = qtree->copy_id;
    draft.line_id = group->pool->next_id++;
    draft.size_bytes = atomic_load(&source->size_bytes);
    draft.sector_bytes = lun->sector_bytes;
    draft.is_reserved = atomic_load(&lun->is_reserved) && !cloning->args->no_reserve;
    draft.comment = lun->comment;
    draft.origin = origin;
    draft.owner = lun->owner;
    draft.group = lun->group;
    lun_group_head(group, draft.line_id, member ? member : lun);
    lun_draft_put(&draft, &group->actions);
    struct promise_delta delta = {.kind = PROMISE_CLONE,
                                  .lun = source,
                                  .in_new_volume = true,
                                  .is_reserved = draft.is_reserved,
                                  .size_bytes = draft.size_bytes,
                                  .count = 1};
    lun_group_promise(group, &delta);
    lun_news_add(&cloning->news, draft.id, path);
    return 0;
}

static int cloning_luns(struct volume_cloning *cloning, struct reason *why)
{
    cloning_qtrees(cloning);
    int r = 0;
    if (cloning->snapshot)
    {
        list_for_each (member, &cloning->snapshot->members, struct lun_object, member_link)
        {
            if (r == 0)
                r = cloning_lun(cloning, member->lun, member, why);
        }
        return r;
    }
    list_for_each (lun, &cloning->parent->luns, struct lun_object, volume_link)
    {
        if (r == 0)
            r = cloning_lun(cloning, lun, NULL, why);
    }
    return r;
}

static int volume_clone_locked(struct volume_cloning *cloning, struct reason *why)
{
    struct pool *pool = cloning->group.pool;
    int r = volume_find(pool, cloning->args->volume, &cloning->parent, why);
    if (r == 0)
        r = name_is_free(pool, cloning->args->name, why);
    if (r == 0)
        r = cloning_snapshot(cloning, why);
    if (r == 0)
        r = cloning_check_lock(cloning, why);
    if (r < 0)
        return r;
    cloning_volume(cloning);
    r = cloning_luns(cloning, why);
    return r < 0 ? r : lun_group_run(&cloning->group, false, why);
}

int volume_clone(struct pool *pool, const struct volume_clone_args *args, struct reason *why)
{
    int r = command_begin(pool, why);
    struct volume_clone_args stripped = *args;
    stripped.name = name_strip(args->name);
    if (r == 0)
        r = volume_check_name(stripped.name, why);
    if (r == 0)
        r = comment_check(args->comment, why);
    if (r < 0)
        return r;
    struct volume_cloning cloning = {.args = &stripped};
    {
        AUTO_LOCK(&pool->management);
        lun_group_begin(&cloning.group, pool);
        r = volume_clone_locked(&cloning, why);
        lun_group_end(&cloning.group);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r == 0)
    {
        event_add(pool, "info", "volume.cloned", stripped.name,
                  "volume '%s' made as a clone of '%s@%s'", stripped.name, name_strip(args->volume),
                  cloning.snapshot_name);
        lun_news_tell(&cloning.news, pool, LUN_CHANGE_CREATED);
    }
    lun_news_destroy(&cloning.news);
    return r;
}

/* ---- splitting ----------------------------------------------------------------------------- */

static int volume_clone_split_locked(struct pool *pool, const char *name, struct reason *why)
{
    struct volume_object *volume;
    int r = volume_find(pool, name, &volume, why);
    if (r < 0)
        return r;
    if (!volume->parent)
        return reason_set(why, -EINVAL, "volume '%s' is not a clone, or was split already", name);
    AUTO_LUN_GROUP struct lun_group group = {0};
    lun_group_begin(&group, pool);
    struct volume_draft draft = volume_draft_of(volume);
    draft.parent_snapshot_id = 0;
    volume_draft_put(&draft, &group.actions);
    bool parent_gone;
    volume_plan_leave_parent(&group, volume, &parent_gone);
    return lun_group_run(&group, true, why);
}

int volume_clone_split(struct pool *pool, const char *name, struct reason *why)
{
    name = name_strip(name);
    int r = command_begin(pool, why);
    if (r < 0)
        return r;
    {
        AUTO_LOCK(&pool->management);
        r = volume_clone_split_locked(pool, name, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r == 0)
        event_add(pool, "info", "volume.split", name, "volume '%s' depends on no snapshot any more",
                  name);
    return r;
}
