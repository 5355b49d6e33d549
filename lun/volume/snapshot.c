/* SPDX-License-Identifier: BSD-3-Clause */
/* Snapshots of single LUNs. */
#include <errno.h>
#include <stdio.h>

#include "lun/base/checked.h"
#include "lun/pool/record.h"
#include "lun/volume/catalog.h"
#include "lun/volume/command.h"
#include "lun/volume/group.h"
#include "lun/volume/lun_internal.h"
#include "lun/volume/news.h"
#include "lun/volume/place.h"

static int snapshot_create_locked(struct pool *pool, const char *lun_name, const char *snapshot,
                                  const char *full, const char *comment, uint64_t locked_until_ns,
                                  struct reason *why)
{
    struct lun_object *lun;
    int r = lun_find_kind(pool, lun_name, DISK_OBJECT_LUN, &lun, why);
    if (r == 0)
        r = name_is_free(pool, full, why);
    if (r < 0)
        return r;
    AUTO_LUN_GROUP struct lun_group group = {0};
    lun_group_begin(&group, pool);
    struct lun_draft draft = lun_draft_new(pool, DISK_OBJECT_SNAPSHOT, snapshot);
    draft.lun_id = lun->object.id;
    draft.size_bytes = atomic_load(&lun->size_bytes);
    draft.sector_bytes = lun->sector_bytes;
    draft.comment = comment;
    draft.locked_until_ns = locked_until_ns;
    lun_group_snapshot(&group, &draft, lun);
    return lun_group_run(&group, false, why);
}

int snapshot_create(struct pool *pool, const char *lun_name, const char *snapshot,
                    const char *comment, struct reason *why)
{
    return snapshot_create_until(pool, lun_name, snapshot, comment, 0, why);
}

int snapshot_create_until(struct pool *pool, const char *lun_name, const char *snapshot,
                          const char *comment, uint64_t locked_until_ns, struct reason *why)
{
    lun_name = name_strip(lun_name);
    char full[2 * LUN_NAME_MAX + 2];
    int r = command_begin(pool, why);
    if (r == 0)
        r = name_join(full, sizeof(full), lun_name, snapshot, why);
    if (r == 0)
        r = comment_check(comment, why);
    if (r < 0)
        return r;
    {
        AUTO_LOCK(&pool->management);
        r = snapshot_create_locked(pool, lun_name, snapshot, full, comment, locked_until_ns, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r == 0)
        event_add(pool, "info", "snapshot.created", full, "snapshot '%s' made", full);
    return r;
}

/* The members of a volume snapshot go and are renamed together. */
static int snapshot_check_alone(const struct lun_object *snapshot, const char *verb,
                                struct reason *why)
{
    const struct volume_snapshot_object *set = snapshot->volume_snapshot;
    if (!set)
        return 0;
    return reason_set(
        why, -EBUSY,
        "'%s' is part of the snapshot '%s' of a volume; 'lunette snapshot %s %s' does "
        "it for all of its LUNs",
        snapshot->name, set->name, verb, set->name);
}

int snapshot_delete(struct pool *pool, const char *lun_name, const char *snapshot, unsigned flags,
                    struct reason *why)
{
    lun_name = name_strip(lun_name);
    int r = command_begin(pool, why);
    if (r < 0)
        return r;
    char full[2 * LUN_NAME_MAX + 2];
    {
        AUTO_LOCK(&pool->management);
        struct lun_object *object;
        r = snapshot_find(pool, lun_name, snapshot, &object, why);
        if (r == 0)
            r = snapshot_check_alone(object, "delete", why);
        if (r == 0)
            r = lun_check_unlocked(pool, object, why);
        if (r == 0)
            r = lun_check_idle(object, "deleting it", flags, why);
        if (r < 0)
            return r;
        snprintf(full, sizeof(full), "%s", object->name);
        AUTO_WRITER struct writer writer = {0};
        action_delete(&writer, object->object.id);
        lun_object_get(pool, object);
        struct range all;
        lun_drain(object, &all);
        r = command_run(pool, object, &writer, true, why);
        range_unlock(&all);
        lun_object_put(pool, object);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r == 0)
        event_add(pool, "info", "snapshot.deleted", full, "snapshot '%s' deleted", full);
    return r;
}

int snapshot_rename(struct pool *pool, const char *lun_name, const char *snapshot,
                    const char *new_snapshot, struct reason *why)
{
    lun_name = name_strip(lun_name);
    char full[2 * LUN_NAME_MAX + 2];
    int r = command_begin(pool, why);
    if (r == 0)
        r = name_join(full, sizeof(full), lun_name, new_snapshot, why);
    if (r < 0)
        return r;
    {
        AUTO_LOCK(&pool->management);
        struct lun_object *object;
        r = snapshot_find(pool, lun_name, snapshot, &object, why);
        if (r == 0)
            r = snapshot_check_alone(object, "rename", why);
        if (r == 0)
            r = name_is_free(pool, full, why);
        if (r < 0)
            return r;
        struct lun_draft draft = lun_draft_of(object);
        draft.name = new_snapshot;
        r = lun_put_draft(pool, object, &draft, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r == 0)
        event_add(pool, "info", "snapshot.renamed", full, "snapshot '%s@%s' is now '%s'", lun_name,
                  snapshot, full);
    return r;
}

/* Brings back the deleted LUN of @member. */
static int snapshot_revive(struct pool *pool, struct lun_object *member, struct lun_news *news,
                           struct reason *why)
{
    AUTO_LUN_GROUP struct lun_group group = {0};
    lun_group_begin(&group, pool);
    int r = place_plan_revival(&group, member, news, why);
    return r < 0 ? r : lun_group_run(&group, false, why);
}

/* -EBUSY: it is of a LUN that was renamed, and another LUN has the name that this had. */
static int snapshot_check_name(struct pool *pool, const struct lun_object *snapshot,
                               struct reason *why)
{
    char path[LUN_NAME_MAX + 1];
    place_path(snapshot, path);
    const struct lun_object *other = catalog_find_lun(pool, path);
    if (!other || other == snapshot->lun)
        return 0;
    return reason_set(why, -EBUSY,
                      "'%s' is a snapshot of the LUN that is '%s' now, and '%s' is another one: "
                      "rename that to restore '%s', or 'lunette lun clone create %s NAME' makes a "
                      "LUN of the snapshot",
                      snapshot->name, snapshot->lun->name, path, snapshot->lun->name,
                      snapshot->name);
}

/* *news is of one LUN; *is_revived: it was deleted. */
static int snapshot_restore_locked(struct pool *pool, const char *lun_name, const char *snapshot,
                                   unsigned flags, struct lun_news *news, bool *is_revived,
                                   struct reason *why)
{
    struct lun_object *object, *lun;
    int r = snapshot_find(pool, lun_name, snapshot, &object, why);
    if (r < 0)
        return r;
    lun = object->lun;
    *is_revived = lun->is_deleted;
    if (lun->is_deleted)
        return snapshot_revive(pool, object, news, why);
    r = snapshot_check_name(pool, object, why);
    if (r == 0)
        r = lun_check_restorable(pool, lun, flags, why);
    if (r < 0)
        return r;
    lun_news_add(news, lun->object.id, lun->name);
    AUTO_LUN_GROUP struct lun_group group = {0};
    lun_group_begin(&group, pool);
    struct lun_draft draft = lun_draft_of(lun);
    draft.line_id = pool->next_id++;
    draft.size_bytes = atomic_load(&object->size_bytes);
    draft.trim_end_bytes = 0; /* the tail of what it was goes with its head */
    lun_group_head(&group, draft.line_id, object);
    lun_group_restore(&group, lun, object);
    lun_draft_put(&draft, &group.actions);
    return lun_group_run(&group, false, why);
}

int snapshot_restore(struct pool *pool, const char *lun_name, const char *snapshot, unsigned flags,
                     struct reason *why)
{
    lun_name = name_strip(lun_name);
    int r = command_begin(pool, why);
    if (r < 0)
        return r;
    AUTO_LUN_NEWS struct lun_news news = {0};
    bool is_revived = false;
    {
        AUTO_LOCK(&pool->management);
        r = snapshot_restore_locked(pool, lun_name, snapshot, flags, &news, &is_revived, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r < 0)
        return r;
    event_add(pool, "info", "lun.restored", lun_name,
              is_revived ? "LUN '%s', which had been deleted, restored from snapshot '%s'"
                         : "LUN '%s' restored from snapshot '%s'",
              lun_name, snapshot);
    lun_news_tell(&news, pool, is_revived ? LUN_CHANGE_CREATED : LUN_CHANGE_RESTORED);
    return 0;
}
