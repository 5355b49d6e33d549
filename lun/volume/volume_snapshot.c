/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Snapshots of volumes: of all their LUNs, at one instant.
 *
 * A volume snapshot is a name; what it holds are snapshots of LUNs, its members, which carry its id
 * and its name. A member is a snapshot like any other (it can be opened, cloned, restored), but is
 * made, renamed and deleted only with the set. It outlives its LUN, and keeps the name that this
 * had (place.h).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/pool/record.h"
#include "lun/volume/catalog.h"
#include "lun/volume/command.h"
#include "lun/volume/lun_internal.h"
#include "lun/volume/place.h"
#include "lun/volume/volume_internal.h"

enum
{
    CLONES_NAMED = 3 /* in a message */
};

void volume_list_clones(const struct volume_snapshot_object *snapshot, char *text, size_t size)
{
    size_t at = 0;
    uint32_t named = 0;
    text[0] = '\0';
    list_for_each (clone, &snapshot->clones, struct volume_object, clone_link)
    {
        if (named == CLONES_NAMED || at >= size)
            break;
        at += (size_t)snprintf(text + at, size - at, "%s'%s'", named ? ", " : "", clone->name);
        named++;
    }
    if (snapshot->clone_count > named && at < size)
        snprintf(text + at, size - at, " and %u more", snapshot->clone_count - named);
}

int volume_snapshot_find(struct pool *pool, const char *volume, const char *snapshot,
                         struct volume_snapshot_object **object, struct reason *why)
{
    char full[2 * LUN_NAME_MAX + 2];
    struct volume_object *found;
    int r = name_join(full, sizeof(full), name_strip(volume), snapshot, why);
    if (r == 0)
        r = volume_find(pool, volume, &found, why);
    if (r < 0)
        return r;
    *object = catalog_find_volume_snapshot(pool, full);
    if (*object)
        return 0;
    return reason_set(why, -ENOENT,
                      "volume '%s' has no snapshot '%s'; 'lunette snapshot show %s' lists them",
                      found->name, snapshot, found->name);
}

/* ---- making -------------------------------------------------------------------------------- */

static int member_check_name(struct pool *pool, const char *path, const char *snapshot,
                             struct reason *why)
{
    char full[2 * LUN_NAME_MAX + 2];
    int r = name_join(full, sizeof(full), path, snapshot, why);
    return r < 0 ? r : name_is_free(pool, full, why);
}

static void member_plan(struct lun_group *group, struct lun_object *lun,
                        const struct volume_snapshot_args *args, uint64_t set_id)
{
    struct lun_draft draft = lun_draft_new(group->pool, DISK_OBJECT_SNAPSHOT, args->name);
    draft.lun_id = lun->object.id;
    draft.volume_snapshot_id = set_id;
    draft.size_bytes = atomic_load(&lun->size_bytes);
    draft.sector_bytes = lun->sector_bytes;
    draft.comment = args->comment;
    place_draft(&draft, lun);
    lun_group_snapshot(group, &draft, lun);
}

int volume_snapshot_plan(struct lun_group *group, struct volume_object *volume,
                         const struct volume_snapshot_args *args, uint32_t disk_flags, uint64_t *id,
                         struct reason *why)
{
    struct pool *pool = group->pool;
    char full[2 * LUN_NAME_MAX + 2];
    int r = name_join(full, sizeof(full), volume->name, args->name, why);
    if (r == 0)
        r = name_is_free(pool, full, why);
    if (r == 0)
        r = place_prepare(pool, why);
    if (r < 0)
        return r;
    struct volume_snapshot_draft draft =
        volume_snapshot_draft_new(pool, volume->object.id, args->name);
    draft.locked_until_ns = args->locked_until_ns;
    draft.comment = args->comment;
    draft.flags = disk_flags | DISK_VOLUME_SNAPSHOT_PLACED;
    *id = draft.id;
    volume_snapshot_draft_put(&draft, &group->actions);
    place_keep_qtrees(pool, volume, *id, &group->actions);
    list_for_each (lun, &volume->luns, struct lun_object, volume_link)
    {
        r = member_check_name(pool, lun->name, args->name, why);
        if (r < 0)
            return r;
        member_plan(group, lun, args, *id);
    }
    return 0;
}

static int snapshot_volumes(struct pool *pool, const char *const *volumes, size_t count,
                            const struct volume_snapshot_args *args, struct reason *why)
{
    AUTO_LUN_GROUP struct lun_group group = {0};
    lun_group_begin(&group, pool);
    for (size_t i = 0; i < count; i++)
    {
        struct volume_object *volume;
        uint64_t id;
        int r = volume_find(pool, volumes[i], &volume, why);
        for (size_t before = 0; r == 0 && before < i; before++)
        {
            if (strcmp(name_strip(volumes[before]), volume->name) == 0)
                r = reason_set(why, -EINVAL, "volume '%s' is named twice", volume->name);
        }
        if (r == 0)
            r = volume_snapshot_plan(&group, volume, args, 0, &id, why);
        if (r < 0)
            return r;
    }
    return lun_group_run(&group, false, why);
}

int volume_snapshot_create(struct pool *pool, const char *const *volumes, size_t count,
                           const struct volume_snapshot_args *args, struct reason *why)
{
    int r = command_begin(pool, why);
    if (r == 0)
        r = comment_check(args->comment, why);
    if (r == 0)
        r = name_check(args->name, "snapshot", why);
    if (r == 0 && (count == 0 || count > LUN_SET_MAX))
        r = reason_set(why, -EINVAL, "a snapshot is of 1 to %d volumes, not of %zu", LUN_SET_MAX,
                       count);
    if (r < 0)
        return r;
    {
        AUTO_LOCK(&pool->management);
        r = snapshot_volumes(pool, volumes, count, args, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    for (size_t i = 0; r == 0 && i < count; i++)
    {
        char full[2 * LUN_NAME_MAX + 2];
        ignore_error(name_join(full, sizeof(full), name_strip(volumes[i]), args->name, NULL),
                     "it was good when the snapshot was made");
        event_add(pool, "info", "snapshot.created", full, "snapshot '%s' of a volume made", full);
    }
    return r;
}

/* ---- deleting ------------------------------------------------------------------------------ */

void volume_snapshot_plan_delete(struct lun_group *group, struct volume_snapshot_object *snapshot)
{
    list_for_each (member, &snapshot->members, struct lun_object, member_link)
    {
        lun_group_add(group, member);
        action_delete(&group->actions, member->object.id);
    }
    action_delete(&group->actions, snapshot->object.id);
}

static int snapshot_defer(struct pool *pool, const struct volume_snapshot_object *snapshot,
                          struct reason *why)
{
    struct volume_snapshot_draft draft = volume_snapshot_draft_of(snapshot);
    draft.flags |= DISK_VOLUME_SNAPSHOT_DEFERRED;
    AUTO_WRITER struct writer writer = {0};
    volume_snapshot_draft_put(&draft, &writer);
    return command_run(pool, NULL, &writer, true, why);
}

static int snapshot_refuse_busy(const struct volume_snapshot_object *snapshot, struct reason *why)
{
    char clones[(CLONES_NAMED + 1) * (LUN_NAME_MAX + 4)];
    volume_list_clones(snapshot, clones, sizeof(clones));
    const char *first = container_of(snapshot->clones.next, struct volume_object, clone_link)->name;
    return reason_set(
        why, -EBUSY,
        "snapshot '%s' is busy: volume%s %s depend%s on it; 'lunette volume clone "
        "split start %s' ends that at once and copies nothing, 'lunette volume delete "
        "%s' deletes the clone, 'lunette snapshot delete %s --defer' deletes the "
        "snapshot when the last of them goes",
        snapshot->name, snapshot->clone_count == 1 ? "" : "s", clones,
        snapshot->clone_count == 1 ? "s" : "", first, first, snapshot->name);
}

static int snapshot_delete_volume(struct pool *pool, struct volume_snapshot_object *snapshot,
                                  unsigned flags, bool *is_deferred, struct reason *why)
{
    int r = lock_check(pool, snapshot->locked_until_ns, snapshot->name, why);
    if (r == 0)
        r = lock_check(pool, snapshot->volume->locked_until_ns, snapshot->volume->name, why);
    list_for_each (member, &snapshot->members, struct lun_object, member_link)
    {
        if (r == 0)
            r = lock_check(pool, member->locked_until_ns, member->name, why);
    }
    if (r < 0)
        return r;
    *is_deferred = snapshot->clone_count > 0;
    if (*is_deferred)
        return flags & LUN_DEFER ? snapshot_defer(pool, snapshot, why)
                                 : snapshot_refuse_busy(snapshot, why);
    AUTO_LUN_GROUP struct lun_group group = {0};
    lun_group_begin(&group, pool);
    list_for_each (member, &snapshot->members, struct lun_object, member_link)
    {
        r = lun_check_idle(member, "deleting it", flags, why);
        if (r < 0)
            return r;
    }
    volume_snapshot_plan_delete(&group, snapshot);
    return lun_group_run(&group, true, why);
}

int volume_snapshot_delete(struct pool *pool, const char *volume, const char *snapshot,
                           unsigned flags, struct reason *why)
{
    int r = command_begin(pool, why);
    if (r < 0)
        return r;
    char full[2 * LUN_NAME_MAX + 2];
    bool is_deferred = false;
    {
        AUTO_LOCK(&pool->management);
        struct volume_snapshot_object *object;
        r = volume_snapshot_find(pool, volume, snapshot, &object, why);
        if (r < 0)
            return r;
        snprintf(full, sizeof(full), "%s", object->name);
        r = snapshot_delete_volume(pool, object, flags, &is_deferred, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r < 0)
        return r;
    if (is_deferred)
        event_add(pool, "info", "snapshot.deferred", full,
                  "snapshot '%s' is deleted when the last volume that depends on it goes", full);
    else
        event_add(pool, "info", "snapshot.deleted", full, "snapshot '%s' deleted", full);
    return 0;
}

/* ---- renaming, locking --------------------------------------------------------------------- */

static int snapshot_rename_volume(struct pool *pool, struct volume_snapshot_object *snapshot,
                                  const char *new_name, struct reason *why)
{
    char full[2 * LUN_NAME_MAX + 2];
    int r = name_join(full, sizeof(full), snapshot->volume->name, new_name, why);
    if (r == 0)
        r = name_is_free(pool, full, why);
    AUTO_WRITER struct writer writer = {0};
    struct volume_snapshot_draft draft = volume_snapshot_draft_of(snapshot);
    draft.name = new_name;
    volume_snapshot_draft_put(&draft, &writer);
    list_for_each (member, &snapshot->members, struct lun_object, member_link)
    {
        char path[LUN_NAME_MAX + 1];
        place_path(member, path);
        if (r == 0)
            r = member_check_name(pool, path, new_name, why);
        struct lun_draft member_draft = lun_draft_of(member);
        member_draft.name = new_name;
        lun_draft_put(&member_draft, &writer);
    }
    return r < 0 ? r : command_run(pool, NULL, &writer, true, why);
}

int volume_snapshot_rename(struct pool *pool, const char *volume, const char *snapshot,
                           const char *new_snapshot, struct reason *why)
{
    int r = command_begin(pool, why);
    if (r == 0)
        r = name_check(new_snapshot, "snapshot", why);
    if (r < 0)
        return r;
    {
        AUTO_LOCK(&pool->management);
        struct volume_snapshot_object *object;
        r = volume_snapshot_find(pool, volume, snapshot, &object, why);
        if (r == 0)
            r = snapshot_rename_volume(pool, object, new_snapshot, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r < 0)
        return r;
    char full[2 * LUN_NAME_MAX + 2];
    snprintf(full, sizeof(full), "%s@%s", name_strip(volume), new_snapshot);
    event_add(pool, "info", "snapshot.renamed", full, "snapshot '%s@%s' is now '%s'",
              name_strip(volume), snapshot, full);
    return 0;
}

int volume_snapshot_lock(struct pool *pool, const char *volume, const char *snapshot,
                         uint64_t locked_until_ns, struct reason *why)
{
    int r = command_begin(pool, why);
    if (r < 0)
        return r;
    {
        AUTO_LOCK(&pool->management);
        struct volume_snapshot_object *object;
        r = volume_snapshot_find(pool, volume, snapshot, &object, why);
        if (r == 0)
            r = lock_check_change(pool, object->locked_until_ns, locked_until_ns, object->name,
                                  why);
        if (r < 0)
            return r;
        struct volume_snapshot_draft draft = volume_snapshot_draft_of(object);
        draft.locked_until_ns = locked_until_ns;
        AUTO_WRITER struct writer writer = {0};
        volume_snapshot_draft_put(&draft, &writer);
        r = command_run(pool, NULL, &writer, true, why);
    }
    return r < 0 ? r : journal_commit(pool->journal);
}

/* ---- restoring ----------------------------------------------------------------------------- */

/* What a restore tells: of LUNs that were there, and of those that it brought back. */
struct restore_news
{
    struct lun_news restored, revived;
};

static void restore_news_destroy(struct restore_news *news)
{
    lun_news_destroy(&news->restored);
    lun_news_destroy(&news->revived);
}
#define AUTO_RESTORE_NEWS CLEANUP(restore_news_destroy)

static int restore_volume(struct pool *pool, struct volume_snapshot_object *snapshot,
                          unsigned flags, struct restore_news *news, struct reason *why)
{
    AUTO_LUN_GROUP struct lun_group group = {0};
    lun_group_begin(&group, pool);
    int r = 0;
    list_for_each (member, &snapshot->members, struct lun_object, member_link)
    {
        if (r == 0)
            r = lun_check_unlocked(pool, member->lun, why);
    }
    list_for_each (member, &snapshot->members, struct lun_object, member_link)
    {
        struct lun_object *lun = member->lun;
        if (lun->is_deleted)
            continue;
        if (r == 0)
            r = lun_check_restorable(pool, lun, flags, why);
        if (r < 0)
            return r;
        struct lun_draft draft = lun_draft_of(lun);
        draft.line_id = pool->next_id++;
        draft.size_bytes = atomic_load(&member->size_bytes);
        draft.trim_end_bytes = 0; /* the tail of what it was goes with its head */
        lun_group_head(&group, draft.line_id, member);
        lun_group_restore(&group, lun, member);
        lun_draft_put(&draft, &group.actions);
        lun_news_add(&news->restored, lun->object.id, lun->name);
    }
    list_for_each (member, &snapshot->members, struct lun_object, member_link)
    {
        if (r == 0 && member->lun->is_deleted)
            r = place_plan_revival(&group, member, &news->revived, why);
    }
    return r < 0 ? r : lun_group_run(&group, false, why);
}

int volume_snapshot_restore(struct pool *pool, const char *volume, const char *snapshot,
                            unsigned flags, struct reason *why)
{
    int r = command_begin(pool, why);
    if (r < 0)
        return r;
    AUTO_RESTORE_NEWS struct restore_news news = {0};
    char name[LUN_NAME_MAX + 1];
    {
        AUTO_LOCK(&pool->management);
        struct volume_snapshot_object *object;
        r = volume_snapshot_find(pool, volume, snapshot, &object, why);
        if (r < 0)
            return r;
        snprintf(name, sizeof(name), "%s", object->volume->name);
        r = restore_volume(pool, object, flags, &news, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r < 0)
        return r;
    event_add(pool, "info", "volume.restored", name, "volume '%s' restored from snapshot '%s'",
              name, snapshot);
    lun_news_tell(&news.restored, pool, LUN_CHANGE_RESTORED);
    lun_news_tell(&news.revived, pool, LUN_CHANGE_CREATED);
    return 0;
}
