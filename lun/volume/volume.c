/* SPDX-License-Identifier: BSD-3-Clause */
/* Volumes: making, changing, renaming, deleting. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/size_text.h"
#include "lun/pool/record.h"
#include "lun/volume/catalog.h"
#include "lun/volume/command.h"
#include "lun/volume/lun_internal.h"
#include "lun/volume/promise.h"
#include "lun/volume/quota.h"
#include "lun/volume/volume_internal.h"

enum
{
    VOLUME_PAUSE_MS = 30000
};

/* ---- making, changing ---------------------------------------------------------------------- */

int volume_check_name(const char *name, struct reason *why)
{
    int r = name_check(name, "volume", why);
    if (r == 0 && strlen(name) > VOLUME_NAME_MAX)
        r = reason_set(why, -EINVAL, "volume name has %zu bytes; at most %d are allowed",
                       strlen(name), VOLUME_NAME_MAX);
    return r;
}

static void draft_set_flag(struct volume_draft *draft, uint32_t flag, bool on)
{
    draft->flags = on ? draft->flags | flag : draft->flags & ~flag;
}

static void draft_set_attributes(struct volume_draft *draft,
                                 const struct volume_attributes *attributes, unsigned mask)
{
    if (mask & VOLUME_SET_SIZE)
        draft->size_bytes = attributes->size_bytes;
    if (mask & VOLUME_SET_GUARANTEE)
        draft_set_flag(draft, DISK_VOLUME_GUARANTEED, attributes->is_guaranteed);
    if (mask & VOLUME_SET_FULL_POLICY)
    {
        draft_set_flag(draft, DISK_VOLUME_PAUSES, attributes->pauses_when_full);
        draft->pause_ms = attributes->pause_ms ? attributes->pause_ms : VOLUME_PAUSE_MS;
    }
    if (mask & VOLUME_SET_LOCKED_UNTIL)
        draft->locked_until_ns = attributes->locked_until_ns;
    if (mask & VOLUME_SET_COMMENT)
        draft->comment = attributes->comment;
}

/* @volume NULL: a new one. */
static int draft_check(struct pool *pool, const struct volume_draft *draft,
                       const struct volume_object *volume, struct reason *why)
{
    bool is_guaranteed = draft->flags & DISK_VOLUME_GUARANTEED;
    if (is_guaranteed && draft->size_bytes == 0)
        return reason_set(why, -EINVAL, "volume '%s' can only be guaranteed space if it has a size",
                          draft->name);
    struct promise_delta delta = {.kind = PROMISE_VOLUME,
                                  .volume = volume,
                                  .is_guaranteed = is_guaranteed,
                                  .size_bytes = draft->size_bytes};
    return promise_check(pool, &delta, 1, why);
}

static int draft_run(struct pool *pool, const struct volume_draft *draft,
                     const struct store_also *also, bool is_freeing, struct reason *why)
{
    AUTO_WRITER struct writer writer = {0};
    volume_draft_put(draft, &writer);
    int r = store_also_add(pool, also, draft->id, &writer, why);
    if (r < 0)
    {
        promise_end(pool);
        return r;
    }
    return command_run(pool, NULL, &writer, is_freeing, why);
}

int volume_create(struct pool *pool, const char *name, const struct volume_attributes *attributes,
                  struct reason *why)
{
    name = name_strip(name);
    int r = command_begin(pool, why);
    if (r == 0)
        r = volume_check_name(name, why);
    if (r == 0)
        r = comment_check(attributes->comment, why);
    if (r < 0)
        return r;
    {
        AUTO_LOCK(&pool->management);
        r = name_is_free(pool, name, why);
        if (r < 0)
            return r;
        struct volume_draft draft = volume_draft_new(pool, name);
        draft_set_attributes(&draft, attributes, ~0u);
        r = draft_check(pool, &draft, NULL, why);
        if (r == 0)
            r = draft_run(pool, &draft, &attributes->also, false, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r == 0)
        event_add(pool, "info", "volume.created", name, "volume '%s' created", name);
    return r;
}

static int volume_modify_locked(struct pool *pool, const char *name, unsigned mask,
                                const struct volume_attributes *attributes, struct reason *why)
{
    struct volume_object *volume;
    int r = volume_find(pool, name, &volume, why);
    if (r == 0)
        r = command_check_id(name, volume->object.id, attributes->only_id, why);
    if (r == 0 && (mask & VOLUME_SET_LOCKED_UNTIL))
        r = lock_check_change(pool, volume->locked_until_ns, attributes->locked_until_ns,
                              volume->name, why);
    if (r < 0)
        return r;
    struct volume_draft draft = volume_draft_of(volume);
    draft_set_attributes(&draft, attributes, mask);
    if (mask & (VOLUME_SET_SIZE | VOLUME_SET_GUARANTEE))
        r = draft_check(pool, &draft, volume, why);
    return r < 0 ? r : draft_run(pool, &draft, &attributes->also, true, why);
}

int volume_modify(struct pool *pool, const char *name, unsigned mask,
                  const struct volume_attributes *attributes, struct reason *why)
{
    name = name_strip(name);
    int r = command_begin(pool, why);
    if (r == 0 && (mask & VOLUME_SET_COMMENT))
        r = comment_check(attributes->comment, why);
    if (r < 0)
        return r;
    {
        AUTO_LOCK(&pool->management);
        r = volume_modify_locked(pool, name, mask, attributes, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r == 0)
        event_add(pool, "info", "volume.modified", name, "volume '%s' changed", name);
    return r;
}

/* ---- renaming ------------------------------------------------------------------------------ */

/* Of the LUNs and qtrees that the snapshot holds; a qtree counts as one of the LUNs in it. */
static size_t longest_path(const struct volume_snapshot_object *snapshot)
{
    size_t longest = 0;
    list_for_each (member, &snapshot->members, struct lun_object, member_link)
        longest = max_u64(longest, strcspn(member->name, "@"));
    list_for_each (qtree, &snapshot->qtrees, struct qtree_object, volume_link)
        longest = max_u64(longest, strlen(qtree->name) + 2);
    return longest;
}

/* All paths below stay within what a path can be. */
static int rename_check_paths(const struct volume_object *volume, const char *new_name,
                              struct reason *why)
{
    size_t old_len = strlen(volume->name), new_len = strlen(new_name);
    list_for_each (lun, &volume->luns, struct lun_object, volume_link)
    {
        if (strlen(lun->name) - old_len + new_len > LUN_NAME_MAX)
            return reason_set(why, -EINVAL,
                              "LUN '%s' would have a name of more than %d bytes; rename it first",
                              lun->name, LUN_NAME_MAX);
    }
    list_for_each (snapshot, &volume->snapshots, struct volume_snapshot_object, volume_link)
    {
        size_t longest = longest_path(snapshot);
        if (longest > 0 && longest - old_len + new_len > LUN_NAME_MAX)
            return reason_set(why, -EINVAL,
                              "snapshot '%s' holds a LUN that would have a name of more than %d "
                              "bytes; choose a shorter name, or delete the snapshot first",
                              snapshot->name, LUN_NAME_MAX);
    }
    list_for_each (qtree, &volume->qtrees, struct qtree_object, volume_link)
    {
        if (strlen(qtree->name) - old_len + new_len > VOLUME_NAME_MAX)
            return reason_set(why, -EINVAL,
                              "qtree '%s' would have a name of more than %d bytes; rename it first",
                              qtree->name, VOLUME_NAME_MAX);
    }
    return 0;
}

static int volume_rename_locked(struct pool *pool, const char *name, const char *new_name,
                                struct lun_news *news, struct reason *why)
{
    struct volume_object *volume;
    int r = volume_find(pool, name, &volume, why);
    if (r == 0)
        r = name_is_free(pool, new_name, why);
    if (r == 0)
        r = rename_check_paths(volume, new_name, why);
    if (r < 0)
        return r;
    struct volume_draft draft = volume_draft_of(volume);
    draft.name = new_name;
    r = draft_run(pool, &draft, &(struct store_also){0}, true, why);
    if (r < 0)
        return r;
    list_for_each (lun, &volume->luns, struct lun_object, volume_link)
        lun_news_add(news, lun->object.id, lun->name);
    return 0;
}

int volume_rename(struct pool *pool, const char *name, const char *new_name, struct reason *why)
{
    name = name_strip(name);
    new_name = name_strip(new_name);
    int r = command_begin(pool, why);
    if (r == 0)
        r = volume_check_name(new_name, why);
    if (r < 0)
        return r;
    AUTO_LUN_NEWS struct lun_news news = {0};
    {
        AUTO_LOCK(&pool->management);
        r = volume_rename_locked(pool, name, new_name, &news, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r < 0)
        return r;
    event_add(pool, "info", "volume.renamed", new_name, "volume '%s' is now '%s'", name, new_name);
    lun_news_tell(&news, pool, LUN_CHANGE_RENAMED);
    return 0;
}

/* ---- deleting ------------------------------------------------------------------------------ */

/* One question about all LUNs and their snapshots. */
typedef int lun_question(struct pool *pool, const struct lun_object *lun, unsigned flags,
                         struct reason *why);

static int ask_lun(struct pool *pool, const struct lun_object *lun, lun_question *ask,
                   unsigned flags, struct reason *why)
{
    int r = ask(pool, lun, flags, why);
    list_for_each (snapshot, &lun->snapshots, struct lun_object, lun_link)
    {
        if (r == 0)
            r = ask(pool, snapshot, flags, why);
    }
    return r;
}

static int ask_all(struct pool *pool, const struct volume_object *volume, lun_question *ask,
                   unsigned flags, struct reason *why)
{
    int r = 0;
    list_for_each (lun, &volume->luns, struct lun_object, volume_link)
    {
        if (r == 0)
            r = ask_lun(pool, lun, ask, flags, why);
    }
    list_for_each (lun, &volume->deleted, struct lun_object, volume_link)
    {
        if (r == 0)
            r = ask_lun(pool, lun, ask, flags, why);
    }
    return r;
}

static int ask_unlocked(struct pool *pool, const struct lun_object *lun, unsigned flags,
                        struct reason *why)
{
    (void)flags;
    return lun_check_unlocked(pool, lun, why);
}

static int ask_idle(struct pool *pool, const struct lun_object *lun, unsigned flags,
                    struct reason *why)
{
    (void)pool;
    return lun_check_idle(lun, "deleting its volume", flags, why);
}

static int delete_check_snapshot(struct pool *pool, const struct volume_snapshot_object *snapshot,
                                 struct reason *why)
{
    if (snapshot->clone_count == 0)
        return lock_check(pool, snapshot->locked_until_ns, snapshot->name, why);
    char clones[1024];
    volume_list_clones(snapshot, clones, sizeof(clones));
    const char *first = container_of(snapshot->clones.next, struct volume_object, clone_link)->name;
    return reason_set(
        why, -EBUSY,
        "volume%s %s depend%s on snapshot '%s'; 'lunette volume clone split start %s' "
        "ends that at once and copies nothing",
        snapshot->clone_count == 1 ? "" : "s", clones, snapshot->clone_count == 1 ? "s" : "",
        snapshot->name, first);
}

static int delete_check(struct pool *pool, const struct volume_object *volume, bool with_contents,
                        unsigned flags, struct reason *why)
{
    int r = lock_check(pool, volume->locked_until_ns, volume->name, why);
    if (r < 0)
        return r;
    if (!with_contents && volume->lun_count + volume->qtree_count + volume->snapshot_count > 0)
        return reason_set(why, -EBUSY,
                          "volume '%s' has %" PRIu64 " LUN%s, %" PRIu64 " qtree%s and %" PRIu64
                          " snapshot%s; 'lunette volume delete %s --with-contents' deletes them "
                          "too",
                          volume->name, volume->lun_count, plural_s(volume->lun_count),
                          volume->qtree_count, plural_s(volume->qtree_count),
                          volume->snapshot_count, plural_s(volume->snapshot_count), volume->name);
    list_for_each (snapshot, &volume->snapshots, struct volume_snapshot_object, volume_link)
    {
        if (r == 0)
            r = delete_check_snapshot(pool, snapshot, why);
    }
    if (r == 0)
        r = ask_all(pool, volume, ask_unlocked, flags, why);
    return r < 0 ? r : ask_all(pool, volume, ask_idle, flags, why);
}

static void delete_plan_snapshots(struct lun_group *group, struct lun_object *lun)
{
    list_for_each (snapshot, &lun->snapshots, struct lun_object, lun_link)
    {
        lun_group_add(group, snapshot);
        action_delete(&group->actions, snapshot->object.id);
    }
}

static void delete_plan_lun(struct lun_group *group, struct lun_object *lun)
{
    struct writer *actions = &group->actions;
    lun_group_add(group, lun);
    delete_plan_snapshots(group, lun);
    action_dying(actions, lun->line->object.id);
    action_delete(actions, lun->object.id);
}

void volume_plan_leave_parent(struct lun_group *group, const struct volume_object *volume,
                              bool *gone)
{
    struct volume_snapshot_object *parent = volume->parent;
    *gone = parent && parent->clone_count == 1 && (parent->flags & DISK_VOLUME_SNAPSHOT_DEFERRED);
    if (*gone)
        volume_snapshot_plan_delete(group, parent);
}

/* Snapshots of LUNs first, then LUNs, then what held them. */
static void delete_plan(struct lun_group *group, struct volume_object *volume,
                        struct lun_news *news, bool *parent_gone)
{
    struct writer *actions = &group->actions;
    list_for_each (lun, &volume->luns, struct lun_object, volume_link)
    {
        delete_plan_lun(group, lun);
        lun_news_add(news, lun->object.id, lun->name);
    }
    /* A deleted LUN goes with the last of these. */
    list_for_each (lun, &volume->deleted, struct lun_object, volume_link)
        delete_plan_snapshots(group, lun);
    list_for_each (snapshot, &volume->snapshots, struct volume_snapshot_object, volume_link)
        action_delete(actions, snapshot->object.id);
    list_for_each (qtree, &volume->qtrees, struct qtree_object, volume_link)
        action_delete(actions, qtree->object.id);
    quota_forget(group->pool, volume, NULL, actions);
    action_delete(actions, volume->object.id);
    volume_plan_leave_parent(group, volume, parent_gone);
}

static int volume_delete_locked(struct pool *pool, const char *name, bool with_contents,
                                unsigned flags, struct lun_news *news, struct reason *why)
{
    struct volume_object *volume;
    int r = volume_find(pool, name, &volume, why);
    if (r == 0)
        r = delete_check(pool, volume, with_contents, flags, why);
    if (r < 0)
        return r;
    AUTO_LUN_GROUP struct lun_group group = {0};
    lun_group_begin(&group, pool);
    bool parent_gone;
    delete_plan(&group, volume, news, &parent_gone);
    return lun_group_run(&group, true, why);
}

int volume_delete(struct pool *pool, const char *name, bool with_contents, unsigned flags,
                  struct reason *why)
{
    name = name_strip(name);
    int r = command_begin(pool, why);
    if (r < 0)
        return r;
    AUTO_LUN_NEWS struct lun_news news = {0};
    {
        AUTO_LOCK(&pool->management);
        r = volume_delete_locked(pool, name, with_contents, flags, &news, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r < 0)
        return r;
    event_add(pool, "info", "volume.deleted", name, "volume '%s' deleted", name);
    lun_news_tell(&news, pool, LUN_CHANGE_DELETED);
    return 0;
}
