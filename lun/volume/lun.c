/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands on LUNs and snapshots: each decides under pool->management, becomes one record, and is
 * durable before it returns.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/size_text.h"
#include "lun/map/change.h"
#include "lun/map/lineage.h"
#include "lun/pool/checkpoint.h"
#include "lun/pool/record.h"
#include "lun/volume/catalog.h"
#include "lun/volume/command.h"
#include "lun/volume/ledger.h"
#include "lun/volume/lun_internal.h"
#include "lun/volume/place.h"
#include "lun/volume/promise.h"
#include "lun/volume/quota.h"

void lun_drain(struct lun_object *object, struct range *range)
{
    range_lock(object->ranges, range, 0, RANGE_ALL);
}

/* ---- create, delete ------------------------------------------------------------------------ */

static int lun_check_size(uint64_t size_bytes, uint32_t sector_bytes, struct reason *why)
{
    if (sector_bytes != 512 && sector_bytes != 4096)
        return reason_set(why, -EINVAL, "a sector has 512 or 4096 bytes, not %u", sector_bytes);
    if (size_bytes == 0)
        return reason_set(why, -EINVAL, "a LUN needs a size, of %u bytes at least", sector_bytes);
    if (size_bytes % sector_bytes != 0)
        return reason_set(why, -EINVAL,
                          "a size of %s is not a multiple of the sector size, %u bytes",
                          size_text(size_bytes).text, sector_bytes);
    if (size_bytes > LUN_SIZE_MAX_BYTES)
        return reason_set(why, -EINVAL, "%s are more than a LUN can have, 1 PiB",
                          size_text(size_bytes).text);
    return 0;
}

static int lun_check_args(const struct lun_create_args *args, uint32_t sector_bytes,
                          struct reason *why)
{
    int r = lun_check_size(args->size_bytes, sector_bytes, why);
    if (r == 0)
        r = comment_check(args->comment, why);
    if (r == 0)
        r = owner_check(args->attributes.owner, why);
    return r == 0 ? owner_check(args->attributes.group, why) : r;
}

static int lun_create_locked(struct pool *pool, const struct lun_create_args *args,
                             uint32_t sector_bytes, uint64_t *id, struct reason *why)
{
    struct lun_place place;
    int r = lun_find_place(pool, args->name, &place, why);
    if (r < 0)
        return r;
    const struct lun_attributes *attributes = &args->attributes;
    struct promise_delta delta = {.kind = PROMISE_NEW_LUN,
                                  .volume = place.volume,
                                  .size_bytes = args->size_bytes,
                                  .is_reserved = attributes->is_reserved};
    struct quota_delta quota = quota_delta_at(place.volume, place.qtree, attributes->owner,
                                              attributes->group, (int64_t)args->size_bytes);
    r = quota_check(pool, &quota, 1, false, why);
    if (r == 0)
        r = promise_check(pool, &delta, 1, why);
    if (r < 0)
        return r;
    struct lun_draft draft = lun_draft_new(pool, DISK_OBJECT_LUN, NULL);
    *id = draft.id;
    lun_draft_place(&draft, &place);
    draft.line_id = pool->next_id++;
    draft.size_bytes = args->size_bytes;
    draft.sector_bytes = sector_bytes;
    draft.comment = args->comment;
    lun_draft_set_attributes(&draft, attributes, ~0u);
    AUTO_WRITER struct writer writer = {0};
    action_line_new(&writer, draft.line_id);
    lun_draft_put(&draft, &writer);
    r = store_also_add(pool, &attributes->also, draft.id, &writer, why);
    if (r < 0)
    {
        promise_end(pool);
        return r;
    }
    r = command_run(pool, NULL, &writer, false, why);
    if (r == 0)
        quota_note(pool, &quota, 1);
    return r;
}

int lun_create(struct pool *pool, const struct lun_create_args *args, struct reason *why)
{
    int r = command_begin(pool, why);
    uint32_t sector = args->sector_bytes ? args->sector_bytes : 512;
    if (r == 0)
        r = lun_check_args(args, sector, why);
    if (r < 0)
        return r;
    const char *name = name_strip(args->name);
    uint64_t id;
    {
        AUTO_LOCK(&pool->management);
        r = lun_create_locked(pool, args, sector, &id, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r < 0)
        return r;
    event_add(pool, "info", "lun.created", name, "LUN '%s' of %s created", name,
              size_text(args->size_bytes).text);
    pool_notify(pool, LUN_CHANGE_CREATED, id, name);
    return 0;
}

/*
 * Reads of the snapshots that go with it hold no lock of ours: once each has been locked out,
 * nobody looks at their lines any more, and jobs, which wait for management, may free them.
 */
static int lun_delete_run(struct pool *pool, struct lun_object *lun, struct writer *writer,
                          struct reason *why)
{
    size_t count = 0;
    AUTO_FREE struct lun_object **snapshots =
        calloc(lun->snapshot_count + 1u, sizeof(struct lun_object *));
    if (!snapshots)
        return -ENOMEM;
    list_for_each (snapshot, &lun->snapshots, struct lun_object, lun_link)
    {
        lun_object_get(pool, snapshot);
        snapshots[count++] = snapshot;
    }
    lun_object_get(pool, lun);
    struct range all;
    lun_drain(lun, &all);
    int r = command_run(pool, lun, writer, true, why);
    range_unlock(&all);
    for (size_t i = 0; i < count; i++)
    {
        lock_take(&snapshots[i]->map_lock);
        lock_release(&snapshots[i]->map_lock);
        lun_object_put(pool, snapshots[i]);
    }
    lun_object_put(pool, lun);
    return r;
}

/* Those that are not part of a volume's. */
static uint32_t lun_own_snapshots(const struct lun_object *lun)
{
    uint32_t count = 0;
    list_for_each (snapshot, &lun->snapshots, struct lun_object, lun_link)
        count += !snapshot->volume_snapshot;
    return count;
}

/* It stays as a deleted one, for the snapshots of its volume that hold it. Its lease is over. */
static void lun_put_deleted(const struct lun_object *lun, struct writer *actions)
{
    struct lun_draft draft = lun_draft_of(lun);
    draft.is_deleted = true;
    draft.line_id = draft.qtree_id = 0;
    draft.trim_end_bytes = draft.expire_ns = draft.locked_until_ns = 0;
    lun_draft_put(&draft, actions);
}

static int lun_delete_locked(struct pool *pool, struct lun_object *lun, bool with_snapshots,
                             unsigned flags, struct reason *why)
{
    const char *name = lun->name;
    uint32_t own_count = lun_own_snapshots(lun);
    int r = lun_check_unlocked(pool, lun, why);
    if (r == 0)
        r = lun_check_idle(lun, "deleting it", flags, why);
    if (r < 0)
        return r;
    if (own_count > 0 && !with_snapshots)
        return reason_set(why, -EBUSY,
                          "LUN '%s' has %u snapshot%s; 'lunette lun delete %s --with-snapshots' "
                          "deletes them too",
                          name, own_count, own_count == 1 ? "" : "s", name);
    r = place_old_snapshots(pool, lun, why);
    if (r < 0)
        return r;
    AUTO_WRITER struct writer writer = {0};
    list_for_each (snapshot, &lun->snapshots, struct lun_object, lun_link)
    {
        if (snapshot->volume_snapshot)
            continue;
        r = lun_check_unlocked(pool, snapshot, why);
        if (r == 0)
            r = lun_check_idle(snapshot, "deleting it", flags, why);
        if (r < 0)
            return r;
        action_delete(&writer, snapshot->object.id);
    }
    action_dying(&writer, lun->line->object.id);
    if (own_count == lun->snapshot_count)
        action_delete(&writer, lun->object.id);
    else
        lun_put_deleted(lun, &writer);
    struct quota_delta quota = quota_delta_of(lun, -(int64_t)atomic_load(&lun->size_bytes));
    r = lun_delete_run(pool, lun, &writer, why);
    if (r == 0)
        quota_note(pool, &quota, 1);
    return r;
}

/* Once it is no longer there: makes that durable, and tells. */
static int lun_delete_finish(struct pool *pool, int r, uint64_t id, const char *name)
{
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r < 0)
        return r;
    event_add(pool, "info", "lun.deleted", name, "LUN '%s' deleted", name);
    pool_notify(pool, LUN_CHANGE_DELETED, id, name);
    return 0;
}

int lun_delete(struct pool *pool, const char *name, bool with_snapshots, unsigned flags,
               struct reason *why)
{
    int r = command_begin(pool, why);
    if (r < 0)
        return r;
    name = name_strip(name);
    uint64_t id = 0;
    {
        AUTO_LOCK(&pool->management);
        struct lun_object *lun;
        r = lun_find_kind(pool, name, DISK_OBJECT_LUN, &lun, why);
        if (r < 0)
            return r;
        id = lun->object.id;
        r = lun_delete_locked(pool, lun, with_snapshots, flags, why);
    }
    return lun_delete_finish(pool, r, id, name);
}

static int lun_check_condition(const struct lun_object *lun,
                               const struct lun_delete_condition *condition, struct reason *why)
{
    if (condition->expire_ns > 0 && lun->expire_ns != condition->expire_ns)
        return reason_set(why, -ESTALE, "the lease of LUN '%s' was changed", lun->name);
    if (condition->is_autodelete && !lun->is_autodelete)
        return reason_set(why, -ESTALE,
                          "LUN '%s' is not to be deleted when space runs out any more", lun->name);
    list_for_each (snapshot, &lun->snapshots, struct lun_object, lun_link)
    {
        if (condition->keeps_volume_snapshots && snapshot->volume_snapshot)
            return reason_set(why, -EBUSY, "LUN '%s' is part of snapshot '%s' of its volume",
                              lun->name, snapshot->volume_snapshot->name);
    }
    return 0;
}

int lun_delete_if(struct pool *pool, const struct lun_delete_condition *condition, unsigned flags,
                  struct reason *why)
{
    char name[2 * LUN_NAME_MAX + 2];
    int r = command_begin(pool, why);
    if (r < 0)
        return r;
    {
        AUTO_LOCK(&pool->management);
        struct lun_object *lun = catalog_find_lun_by_id(pool, condition->id);
        if (!lun || lun->object.kind != DISK_OBJECT_LUN || lun->is_deleted)
            return reason_set(why, -ENOENT, "there is no such LUN any more");
        name_copy(name, sizeof(name), lun->name);
        r = lun_check_condition(lun, condition, why);
        if (r == 0)
            r = lun_delete_locked(pool, lun, !condition->keeps_snapshots, flags, why);
    }
    return lun_delete_finish(pool, r, condition->id, name);
}

/* ---- rename, resize, comment --------------------------------------------------------------- */

static int lun_check_move(struct pool *pool, const struct lun_object *lun,
                          const struct lun_place *place, struct reason *why)
{
    if (lun->volume == place->volume)
        return 0;
    if (lun->volume)
    {
        int r = lock_check(pool, lun->volume->locked_until_ns, lun->volume->name, why);
        if (r < 0)
            return r;
    }
    if (lun->snapshot_count == 0)
        return 0;
    return reason_set(why, -EBUSY,
                      "LUN '%s' has %u snapshot%s, which belong to where it is; 'lunette lun clone "
                      "create %s %s' makes a copy there in no time, or delete them first",
                      lun->name, lun->snapshot_count, lun->snapshot_count == 1 ? "" : "s",
                      lun->name, place->name);
}

static int lun_rename_locked(struct pool *pool, const char *name, const char *new_name,
                             uint64_t *id, struct reason *why)
{
    struct lun_object *lun;
    struct lun_place place = {0};
    int r = lun_find_kind(pool, name, DISK_OBJECT_LUN, &lun, why);
    if (r == 0)
        r = lun_find_place(pool, new_name, &place, why);
    if (r == 0)
        r = lun_check_move(pool, lun, &place, why);
    if (r == 0)
        r = place_old_snapshots(pool, lun, why);
    if (r == 0)
        r = place_check_snapshots(pool, lun, place.name, why);
    if (r < 0)
        return r;
    int64_t bytes = (int64_t)atomic_load(&lun->size_bytes);
    struct quota_delta quotas[2] = {
        quota_delta_of(lun, -bytes),
        quota_delta_at(place.volume, place.qtree, lun->owner, lun->group, bytes)};
    r = quota_check(pool, quotas, 2, false, why);
    if (r < 0)
        return r;
    *id = lun->object.id;
    struct lun_draft draft = lun_draft_of(lun);
    lun_draft_place(&draft, &place);
    if (lun->volume == place.volume)
    {
        r = lun_put_draft(pool, lun, &draft, why);
    }
    else
    {
        /* What writes on their way will own is charged to the old volume. */
        struct range all;
        lun_drain(lun, &all);
        struct promise_delta delta = {.kind = PROMISE_MOVE, .lun = lun, .volume = place.volume};
        r = promise_check(pool, &delta, 1, why);
        if (r == 0)
            r = lun_put_draft(pool, lun, &draft, why);
        range_unlock(&all);
    }
    if (r == 0)
        quota_note(pool, quotas, 2);
    return r;
}

int lun_rename(struct pool *pool, const char *name, const char *new_name, struct reason *why)
{
    int r = command_begin(pool, why);
    struct name_path path;
    name = name_strip(name);
    new_name = name_strip(new_name);
    if (r == 0)
        r = name_split(new_name, &path, why);
    if (r < 0)
        return r;
    uint64_t id = 0;
    {
        AUTO_LOCK(&pool->management);
        r = lun_rename_locked(pool, name, new_name, &id, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r < 0)
        return r;
    event_add(pool, "info", "lun.renamed", new_name, "LUN '%s' is now '%s'", name, new_name);
    pool_notify(pool, LUN_CHANGE_RENAMED, id, new_name);
    return 0;
}

int lun_set_comment(struct pool *pool, const char *name, const char *comment, struct reason *why)
{
    int r = command_begin(pool, why);
    if (r == 0)
        r = comment_check(comment, why);
    if (r < 0)
        return r;
    {
        AUTO_LOCK(&pool->management);
        struct lun_object *lun;
        r = lun_find(pool, name, &lun, why);
        if (r < 0)
            return r;
        struct lun_draft draft = lun_draft_of(lun);
        draft.comment = comment;
        r = lun_put_draft(pool, lun, &draft, why);
    }
    return r < 0 ? r : journal_commit(pool->journal);
}

/* What a change of owner or group takes from one and gives to the other. */
static void attributes_quotas(const struct lun_object *lun, unsigned mask,
                              const struct lun_attributes *attributes, struct quota_delta quotas[2])
{
    int64_t bytes = (int64_t)atomic_load(&lun->size_bytes);
    bool is_lun = lun->object.kind == DISK_OBJECT_LUN;
    quotas[0] = quota_delta_of(lun, is_lun ? -bytes : 0);
    quotas[1] = quota_delta_at(
        lun->volume, lun->qtree, mask & LUN_SET_OWNER ? attributes->owner : lun->owner,
        mask & LUN_SET_GROUP ? attributes->group : lun->group, is_lun ? bytes : 0);
}

static int attributes_check(struct pool *pool, const struct lun_object *lun, unsigned mask,
                            const struct lun_attributes *attributes, struct reason *why)
{
    if (lun->object.kind == DISK_OBJECT_SNAPSHOT && mask != LUN_SET_LOCKED_UNTIL)
        return reason_set(why, -EINVAL, "of the snapshot '%s' only the lock can be changed",
                          lun->name);
    if (mask & LUN_SET_LOCKED_UNTIL)
    {
        int r = lock_check_change(pool, lun->locked_until_ns, attributes->locked_until_ns,
                                  lun->name, why);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Last of all: what it is allowed is held until the command runs. */
static int attributes_promise(struct pool *pool, const struct lun_object *lun, unsigned mask,
                              const struct lun_attributes *attributes, struct reason *why)
{
    if (!(mask & LUN_SET_RESERVED) || attributes->is_reserved == atomic_load(&lun->is_reserved))
        return 0;
    struct promise_delta delta = {.kind = PROMISE_SET_RESERVED,
                                  .lun = lun,
                                  .is_reserved = attributes->is_reserved,
                                  .size_bytes = atomic_load(&lun->size_bytes)};
    return promise_check(pool, &delta, 1, why);
}

int lun_set_attributes(struct pool *pool, const char *name, unsigned mask,
                       const struct lun_attributes *attributes, struct reason *why)
{
    int r = command_begin(pool, why);
    if (r == 0 && (mask & LUN_SET_OWNER))
        r = owner_check(attributes->owner, why);
    if (r == 0 && (mask & LUN_SET_GROUP))
        r = owner_check(attributes->group, why);
    if (r < 0)
        return r;
    name = name_strip(name);
    {
        AUTO_LOCK(&pool->management);
        struct lun_object *lun;
        r = lun_find(pool, name, &lun, why);
        if (r == 0)
            r = command_check_id(name, lun->object.id, attributes->only_id, why);
        if (r == 0)
            r = attributes_check(pool, lun, mask, attributes, why);
        if (r < 0)
            return r;
        struct quota_delta quotas[2];
        attributes_quotas(lun, mask, attributes, quotas);
        r = quota_check(pool, quotas, 2, false, why);
        if (r == 0)
            r = attributes_promise(pool, lun, mask, attributes, why);
        if (r < 0)
            return r;
        struct lun_draft draft = lun_draft_of(lun);
        lun_draft_set_attributes(&draft, attributes, mask);
        AUTO_WRITER struct writer writer = {0};
        lun_draft_put(&draft, &writer);
        r = store_also_add(pool, &attributes->also, lun->object.id, &writer, why);
        if (r == 0)
            r = command_run(pool, lun, &writer, true, why);
        else
            promise_end(pool);
        if (r == 0)
            quota_note(pool, quotas, 2);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r == 0)
        event_add(pool, "info", "lun.modified", name, "attributes of '%s' changed", name);
    return r;
}

/* ---- tails of shrunken LUNs ----------------------------------------------------------------- */

int lun_trim_tail_step(struct pool *pool, struct lun_object *object, unsigned *tries)
{
    uint64_t end_bytes = object->trim_end_bytes;
    if (end_bytes == 0)
        return 0;
    uint64_t first = div_round_up(atomic_load(&object->size_bytes), BLK_BYTES);
    uint64_t end = div_round_up(end_bytes, BLK_BYTES), stop = first;
    int r = 0;
    /* From the front on: what is unmapped is skipped at once the next time. The bound of a volume
     * does not keep it from giving back. */
    enum space_use use = ledger_use(object);
    if (use == SPACE_PROMISED && *tries < CHECKPOINT_TRIES)
        use = SPACE_URGENT;
    for (unsigned i = 0; i < 64 && r == 0 && stop < end; i++)
    {
        r = io_unmap_blks(pool, object, use, stop, end, &stop);
        if (r == -EDQUOT)
            r = io_unmap_blks(pool, object, SPACE_FREEING, stop, end, &stop);
    }
    if (checkpoint_may_retry(r))
    {
        r = checkpoint_retry(pool, r, tries);
        return r < 0 ? r : 1;
    }
    if (r < 0 || stop < end)
        return r < 0 ? r : 1;
    struct lun_draft draft = lun_draft_of(object);
    draft.trim_end_bytes = 0;
    r = lun_put_draft(pool, object, &draft, NULL);
    return r < 0 ? r : 1;
}

int lun_trim_tail(struct pool *pool, struct lun_object *object)
{
    unsigned tries = CHECKPOINT_TRIES;
    int r;
    if (command_is_dry())
        return 0;
    do
        r = lun_trim_tail_step(pool, object, &tries);
    while (r > 0);
    return r;
}

/* The record: the block that the LUN will end in, and the size. With the LUN drained. */
static int lun_shrink_drained(struct pool *pool, struct lun_object *lun, uint64_t size_bytes,
                              struct reason *why)
{
    AUTO_WRITER struct writer writer = {0};
    int r = io_cut_block(pool, lun, size_bytes, &writer);
    if (checkpoint_may_retry(r))
    {
        r = checkpoint_wait(pool);
        if (r == 0)
            r = io_cut_block(pool, lun, size_bytes, &writer);
    }
    if (r < 0)
        return reason_set(why, r, "the last block of LUN '%s' cannot be rewritten: %s", lun->name,
                          strerror(-r));
    size_t cut_len = writer.len;
    struct lun_draft draft = lun_draft_of(lun);
    draft.size_bytes = size_bytes;
    draft.trim_end_bytes = max_u64(atomic_load(&lun->size_bytes), lun->trim_end_bytes);
    lun_draft_put(&draft, &writer);
    r = command_run(pool, lun, &writer, true, why);
    if (r < 0)
        ignore_error(record_each_block(writer.bytes, cut_len, space_cancel_cb, pool->space),
                     "we made the record ourselves");
    return r;
}

/* Cuts the LUN short: size first, then the tail, so that a crash leaves work, not old data. */
static int lun_shrink_locked(struct pool *pool, struct lun_object *lun, uint64_t size_bytes,
                             struct reason *why)
{
    struct range all;
    if (command_is_dry())
        return 0; /* else a block would be taken for its new end */
    lun_drain(lun, &all);
    int r = lun_shrink_drained(pool, lun, size_bytes, why);
    range_unlock(&all);
    if (r < 0)
        return r;
    atomic_store(&pool->job_trims, true);
    /* The LUN is short from here on. What cannot be unmapped now is unmapped by the job. */
    ignore_error(lun_trim_tail(pool, lun), "the job tries again");
    return 0;
}

static int lun_resize_locked(struct pool *pool, struct lun_object *lun, uint64_t size_bytes,
                             unsigned flags, struct reason *why)
{
    uint64_t old_bytes = atomic_load(&lun->size_bytes);
    int r = lun_check_size(size_bytes, lun->sector_bytes, why);
    if (r < 0 || size_bytes == old_bytes)
        return r;
    if (size_bytes < old_bytes && !(flags & LUN_FORCE))
        return reason_set(why, -EPERM,
                          "shrinking LUN '%s' from %s to %s would cut off data beyond; --force "
                          "does it",
                          lun->name, size_text(old_bytes).text, size_text(size_bytes).text);
    if (size_bytes < old_bytes)
        r = lun_check_unlocked(pool, lun, why);
    if (r < 0)
        return r;
    if (size_bytes < old_bytes)
        return lun_shrink_locked(pool, lun, size_bytes, why);
    r = lun_trim_tail(pool, lun);
    if (r < 0)
        return command_explain(pool, r, 0, why);
    struct promise_delta delta = {.kind = PROMISE_RESIZE, .lun = lun, .size_bytes = size_bytes};
    struct quota_delta quota = quota_delta_of(lun, (int64_t)(size_bytes - old_bytes));
    r = quota_check(pool, &quota, 1, false, why);
    if (r == 0)
        r = promise_check(pool, &delta, 1, why);
    if (r < 0)
        return r;
    struct lun_draft draft = lun_draft_of(lun);
    draft.size_bytes = size_bytes;
    return lun_put_draft(pool, lun, &draft, why);
}

int lun_resize(struct pool *pool, const char *name, uint64_t size_bytes, unsigned flags,
               struct reason *why)
{
    int r = command_begin(pool, why);
    if (r < 0)
        return r;
    name = name_strip(name);
    uint64_t id = 0;
    {
        AUTO_LOCK(&pool->management);
        struct lun_object *lun;
        r = lun_find_kind(pool, name, DISK_OBJECT_LUN, &lun, why);
        if (r < 0)
            return r;
        id = lun->object.id;
        uint64_t old_bytes = atomic_load(&lun->size_bytes);
        struct quota_delta quota = quota_delta_of(lun, (int64_t)size_bytes - (int64_t)old_bytes);
        r = lun_resize_locked(pool, lun, size_bytes, flags, why);
        if (r == 0)
            quota_note(pool, &quota, 1);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r < 0)
        return r;
    event_add(pool, "info", "lun.resized", name, "LUN '%s' has %s now", name,
              size_text(size_bytes).text);
    pool_notify(pool, LUN_CHANGE_RESIZED, id, name);
    return 0;
}
