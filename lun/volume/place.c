/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/volume/place.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/pool/pool_internal.h"
#include "lun/pool/record.h"
#include "lun/volume/catalog.h"
#include "lun/volume/command.h"
#include "lun/volume/draft.h"
#include "lun/volume/group.h"
#include "lun/volume/names.h"
#include "lun/volume/news.h"
#include "lun/volume/promise.h"
#include "lun/volume/quota.h"
#include "lun/volume/volume_internal.h"

void place_path(const struct lun_object *snapshot, char path[LUN_NAME_MAX + 1])
{
    snprintf(path, LUN_NAME_MAX + 1, "%.*s", (int)strcspn(snapshot->name, "@"), snapshot->name);
}

int place_prepare(struct pool *pool, struct reason *why)
{
    int r = command_is_dry() ? 0 : pool_add_feature(pool, DISK_FEATURE_PLACES);
    return command_explain(pool, r, 0, why);
}

/* ---- keeping ------------------------------------------------------------------------------- */

static void place_keep_qtree(struct pool *pool, struct qtree_object *qtree, uint64_t set_id,
                             struct writer *actions)
{
    struct qtree_draft draft =
        qtree_draft_new(pool, qtree->volume->object.id, name_own(qtree->name));
    draft.comment = qtree->comment;
    draft.created_ns = qtree->created_ns;
    draft.volume_snapshot_id = set_id;
    qtree->copy_id = draft.id;
    qtree_draft_put(&draft, actions);
}

void place_keep_qtrees(struct pool *pool, const struct volume_object *volume, uint64_t set_id,
                       struct writer *actions)
{
    list_for_each (qtree, &volume->qtrees, struct qtree_object, volume_link)
        place_keep_qtree(pool, qtree, set_id, actions);
}

void place_draft(struct lun_draft *draft, const struct lun_object *lun)
{
    draft->origin = name_own(lun->name);
    draft->qtree_id = lun->qtree ? lun->qtree->copy_id : 0;
}

/* ---- snapshots of older versions ------------------------------------------------------------ */

/* Whether the qtree was there when the snapshot was made, as far as can be told. */
static bool place_had_qtree(const struct volume_snapshot_object *set,
                            const struct qtree_object *qtree)
{
    if (qtree->object.id < set->object.id)
        return true;
    list_for_each (member, &set->members, struct lun_object, member_link)
    {
        if (member->lun->qtree == qtree)
            return true;
    }
    return false;
}

static int place_old_snapshot(struct pool *pool, const struct volume_snapshot_object *set,
                              struct reason *why)
{
    AUTO_WRITER struct writer writer = {0};
    struct volume_snapshot_draft draft = volume_snapshot_draft_of(set);
    draft.flags |= DISK_VOLUME_SNAPSHOT_PLACED;
    volume_snapshot_draft_put(&draft, &writer);
    list_for_each (qtree, &set->volume->qtrees, struct qtree_object, volume_link)
    {
        if (place_had_qtree(set, qtree))
            place_keep_qtree(pool, qtree, set->object.id, &writer);
    }
    list_for_each (member, &set->members, struct lun_object, member_link)
    {
        struct lun_draft member_draft = lun_draft_of(member);
        place_draft(&member_draft, member->lun);
        lun_draft_put(&member_draft, &writer);
    }
    return command_run(pool, NULL, &writer, true, why);
}

int place_old_snapshots(struct pool *pool, const struct lun_object *lun, struct reason *why)
{
    int r = 0;
    list_for_each (snapshot, &lun->snapshots, struct lun_object, lun_link)
    {
        if (r < 0 || !snapshot->volume_snapshot || lun_is_placed(snapshot))
            continue;
        r = place_prepare(pool, why);
        if (r == 0)
            r = place_old_snapshot(pool, snapshot->volume_snapshot, why);
    }
    return r;
}

int place_check_snapshots(struct pool *pool, const struct lun_object *lun, const char *new_path,
                          struct reason *why)
{
    list_for_each (snapshot, &lun->snapshots, struct lun_object, lun_link)
    {
        char full[2 * LUN_NAME_MAX + 2];
        if (snapshot->volume_snapshot)
            continue; /* it keeps its name */
        int r = name_join(full, sizeof(full), new_path, name_own(snapshot->name), why);
        if (r < 0)
            return r;
        const struct lun_object *other = catalog_find_lun(pool, full);
        if (other && other != snapshot)
            return reason_set(why, -EEXIST,
                              "the snapshot '%s' would become '%s', which is part of a snapshot of "
                              "the volume, of a LUN that had this name; 'lunette snapshot rename' "
                              "gives it another",
                              snapshot->name, full);
    }
    return 0;
}

/* ---- bringing back ------------------------------------------------------------------------- */

/* The qtree that a LUN which was in @kept is to be in; @now is NULL if the group makes it. */
static int place_find_qtree(struct lun_group *group, struct qtree_object *kept,
                            struct qtree_object **now, uint64_t *id, struct reason *why)
{
    struct pool *pool = group->pool;
    *now = catalog_find_qtree(pool, kept->name);
    *id = *now ? (*now)->object.id : kept->copy_id;
    if (*now || kept->copy_round == pool->group_round)
        return 0;
    int r = name_is_free(pool, kept->name, why);
    if (r < 0)
        return r;
    struct qtree_draft draft = qtree_draft_new(pool, kept->volume->object.id, name_own(kept->name));
    draft.comment = kept->comment;
    qtree_draft_put(&draft, &group->actions);
    kept->copy_id = *id = draft.id;
    kept->copy_round = pool->group_round;
    return 0;
}

static int place_check_name(struct pool *pool, const struct lun_object *member, const char *path,
                            struct reason *why)
{
    if (name_is_free(pool, path, NULL) == 0)
        return 0;
    return reason_set(why, -EEXIST,
                      "the LUN of '%s' was deleted, and something else is named '%s' since; "
                      "'lunette lun rename' gives that another name, or 'lunette lun clone create "
                      "%s NAME' makes a LUN of the snapshot",
                      member->name, path, member->name);
}

int place_plan_revival(struct lun_group *group, struct lun_object *member, struct lun_news *news,
                       struct reason *why)
{
    struct pool *pool = group->pool;
    const struct lun_object *lun = member->lun;
    char path[LUN_NAME_MAX + 1];
    place_path(member, path);
    int r = lun_check_unlocked(pool, lun, why);
    if (r == 0)
        r = place_check_name(pool, member, path, why);
    struct lun_draft draft = lun_draft_of(lun);
    struct qtree_object *qtree = NULL;
    if (r == 0 && member->qtree)
        r = place_find_qtree(group, member->qtree, &qtree, &draft.qtree_id, why);
    if (r < 0)
        return r;
    draft.is_deleted = false;
    draft.name = member->origin;
    draft.line_id = pool->next_id++;
    draft.size_bytes = atomic_load(&member->size_bytes);
    lun_group_head(group, draft.line_id, member);
    lun_draft_put(&draft, &group->actions);
    struct promise_delta delta = {.kind = PROMISE_REVIVAL,
                                  .lun = member,
                                  .volume = lun->volume,
                                  .is_reserved = draft.is_reserved,
                                  .size_bytes = draft.size_bytes,
                                  .count = 1};
    lun_group_promise(group, &delta);
    struct quota_delta quota = quota_delta_at(lun->volume, qtree ? qtree : member->qtree,
                                              draft.owner, draft.group, (int64_t)draft.size_bytes);
    lun_group_quota(group, &quota);
    lun_news_add(news, lun->object.id, path);
    return 0;
}
