/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Growing an open pool.
 *
 * First the file below is made longer and the room taken that must be there, then a checkpoint
 * writes the new size. Until that begins, a failure cuts the file back; a crash leaves a file that
 * is longer than its pool, which opens as before, and which the next grow uses. Nothing cuts such
 * a file when the pool is opened: it may as well be one that somebody made longer to grow the pool
 * into.
 */
#include "lun/pool/grow.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/size_text.h"
#include "lun/pool/checkpoint.h"
#include "lun/pool/pool_internal.h"
#include "lun/pool/room.h"
#include "lun/pool/space.h"
#include "lun/volume/event.h"
#include "lun/volume/ledger.h"
#include "lun/volume/promise.h"

enum
{
    GROW_PARTS = 4,        /* one of what it has is what is advised, */
    GROW_MARGIN_BLKS = 64, /* or what lacks, with what checkpoints may take meanwhile */
};

struct grow
{
    struct pool *pool;
    uint64_t size_bytes;   /* that is asked for; 0: all of the device */
    uint64_t device_bytes; /* that there are */
    uint64_t old_blks, new_blks;
    struct room room;
};

static void grow_end(struct grow *grow)
{
    room_end(&grow->room);
}

/* What it comes to. */
static int grow_plan(struct grow *grow, struct reason *why)
{
    struct pool *pool = grow->pool;
    int r = pool->device->ops->size(pool->device, &grow->device_bytes);
    if (r < 0)
        return reason_set(why, r, "the size of '%s' cannot be told: %s", pool->path, strerror(-r));
    uint64_t bytes = grow->size_bytes ? grow->size_bytes : grow->device_bytes;
    grow->old_blks = atomic_load(&pool->size_blks);
    grow->new_blks = space_usable_blks(bytes / BLK_BYTES, pool->group_blks);
    uint64_t old_bytes = grow->old_blks * BLK_BYTES;
    uint64_t group_bytes = (uint64_t)pool->group_blks * BLK_BYTES;
    if (bytes < old_bytes)
        return reason_set(why, -EINVAL,
                          "pool '%s' has %s already, more than %s, and a pool never shrinks",
                          pool->path, size_text(old_bytes).text, size_text(bytes).text);
    if (grow->new_blks == grow->old_blks)
        return reason_set(why, -EINVAL,
                          "pool '%s' has %s; growing it to %s adds no allocation group (of %s), "
                          "%s does",
                          pool->path, size_text(old_bytes).text, size_text(bytes).text,
                          size_text(group_bytes).text,
                          size_text((old_bytes / group_bytes + 1) * group_bytes).text);
    if (grow->new_blks >> DISK_BLK_BITS)
        return reason_set(why, -EINVAL, "pool '%s' cannot be grown to %s: that is too large",
                          pool->path, size_text(bytes).text);
    return 0;
}

/* ---- what is advised ----------------------------------------------------------------------- */

/* How many blocks are spoken for that are not even there. */
static uint64_t grow_overdraft(const struct space_stats *stats)
{
    uint64_t kept = stats->promised_blks + stats->reserve_blks + stats->asked_blks;
    return kept - min_u64(kept, stats->free_blks + stats->deferred_blks);
}

/* Of groups that are added, what can be used. */
static uint64_t grow_gain(const struct pool *pool, uint64_t size_blks, uint64_t groups)
{
    uint64_t added = groups * pool->group_blks;
    return added - groups * DISK_GROUP_HEAD_BLKS -
           (space_reserve_of(size_blks + added) - space_reserve_of(size_blks));
}

uint64_t pool_grow_step_mib(struct pool *pool, uint64_t wanted_bytes)
{
    struct space_stats stats;
    uint64_t below_bytes, device_bytes, size_blks = atomic_load(&pool->size_blks);
    if (pool->device->ops->free_below(pool->device, &below_bytes) < 0)
        below_bytes = 0;
    if (below_bytes == UINT64_MAX)
        return 0;
    if (pool->device->ops->size(pool->device, &device_bytes) < 0)
        device_bytes = 0;
    space_get_stats(pool->space, &stats);
    uint64_t wanted = div_round_up(wanted_bytes, BLK_BYTES) + grow_overdraft(&stats);
    wanted = max_u64(size_blks / GROW_PARTS, wanted + wanted / 16 + GROW_MARGIN_BLKS);
    uint64_t each = pool->group_blks - DISK_GROUP_HEAD_BLKS;
    uint64_t groups = div_round_up(wanted, each), gain;
    while ((gain = grow_gain(pool, size_blks, groups)) < wanted)
        groups += div_round_up(wanted - gain, each);
    /* A file may be longer than its pool: what is added to it counts from its end. */
    uint64_t target = (size_blks + groups * pool->group_blks) * BLK_BYTES;
    uint64_t from = max_u64(device_bytes, size_blks * BLK_BYTES);
    return max_u64(1, div_round_up(target - min_u64(target, from), 1 << 20));
}

struct grow_text grow_advice(struct pool *pool, uint64_t lacking_blks)
{
    struct grow_text advice;
    uint64_t mib = pool_grow_step_mib(pool, lacking_blks * BLK_BYTES);
    if (mib == 0)
        snprintf(advice.text, sizeof(advice.text),
                 "'lunette pool grow' enlarges it once its device is larger");
    else
        snprintf(advice.text, sizeof(advice.text), "'lunette pool grow +%" PRIu64 "M' enlarges it",
                 mib);
    return advice;
}

/* ---- growing ------------------------------------------------------------------------------- */

static struct space_shape grow_shape(const struct grow *grow)
{
    return (struct space_shape){.size_blks = grow->new_blks,
                                .group_blks = grow->pool->group_blks,
                                .journal_half_blks = grow->pool->journal_half_blks};
}

static int grow_add_cb(void *opaque, uint64_t len, uint64_t offset)
{
    return room_add(opaque, len, offset);
}

/* Whether the file system below has what the grow is going to take. */
static int grow_ask(struct grow *grow, struct reason *why)
{
    struct pool *pool = grow->pool;
    struct space_shape shape = grow_shape(grow);
    bool is_whole = ledger_has_promises(pool);
    int r = room_begin(&grow->room, pool->device, pool);
    if (r == 0 && is_whole)
        r = room_add(&grow->room, (grow->new_blks - grow->old_blks) * BLK_BYTES,
                     grow->old_blks * BLK_BYTES);
    else if (r == 0)
        r = space_each_fixed(&shape, grow->old_blks / pool->group_blks, grow_add_cb, &grow->room);
    if (r < 0)
        return reason_set(why, r, "it cannot be told what is free below pool '%s': %s", pool->path,
                          strerror(-r));
    if (room_is_enough(&grow->room))
        return 0;
    return reason_set(
        why, -ENOSPC,
        "the file system below pool '%s' has no room for %s: growing to %s takes %s "
        "there, and %s are free ('df' shows what uses it)",
        pool->path,
        is_whole ? "the whole file, which a pool with promises must have" : "its metadata",
        size_text(grow->new_blks * BLK_BYTES).text, size_text(grow->room.needed_bytes).text,
        size_text(grow->room.free_bytes).text);
}

/* Makes the file long enough, with room for what must always be writable, or for all. */
static int grow_take(struct grow *grow, struct reason *why)
{
    struct pool *pool = grow->pool;
    struct space_shape shape = grow_shape(grow);
    int r = 0;
    if (grow->size_bytes > grow->device_bytes)
        r = pool->device->ops->grow(pool->device, grow->size_bytes);
    if (r == -ENOTSUP)
        return reason_set(why, -EINVAL,
                          "'%s' is a block device of %s, less than %s; enlarge it first, then use "
                          "'lunette pool grow' without a size",
                          pool->path, size_text(grow->device_bytes).text,
                          size_text(grow->size_bytes).text);
    if (r == -EFBIG)
        return reason_set(why, r,
                          "pool '%s' cannot be grown to %s: its file system has no files of that "
                          "size",
                          pool->path, size_text(grow->size_bytes).text);
    if (r < 0)
        return reason_set(why, r, "pool '%s' cannot be grown to %s: %s", pool->path,
                          size_text(grow->size_bytes).text, strerror(-r));
    r = space_allocate(pool->device, &shape, grow->old_blks / pool->group_blks);
    if (r < 0)
        return reason_set(why, r,
                          "the file system below pool '%s' has no room for its metadata: %s",
                          pool->path, strerror(-r));
    return promise_allocate_grown(pool, grow->new_blks * BLK_BYTES, why);
}

/* Groups move in memory: nobody may look at them meanwhile. */
static int grow_groups(struct grow *grow)
{
    struct pool *pool = grow->pool;
    rwlock_take_exclusive(&pool->cp_gate);
    int r = space_grow(pool->space, grow->new_blks);
    if (r == 0)
        atomic_store(&pool->size_blks, grow->new_blks);
    rwlock_release(&pool->cp_gate);
    return r;
}

static void grow_groups_back(struct grow *grow)
{
    struct pool *pool = grow->pool;
    rwlock_take_exclusive(&pool->cp_gate);
    space_grow_undo(pool->space);
    atomic_store(&pool->size_blks, grow->old_blks);
    rwlock_release(&pool->cp_gate);
}

/* The new groups, and the checkpoint that makes them last. *is_begun: it may be on disk. */
static int grow_commit(struct grow *grow, bool *is_begun)
{
    struct pool *pool = grow->pool;
    AUTO_LOCK(&pool->cp_lock); /* another checkpoint in between could have the new size */
    *is_begun = false;
    int r = grow_groups(grow);
    if (r < 0)
        return r;
    r = checkpoint_run_locked(pool);
    *is_begun = r != -ENOMEM;
    if (!*is_begun)
        grow_groups_back(grow);
    return r;
}

static int pool_grow_locked(struct pool *pool, uint64_t size_bytes, struct reason *why)
{
    CLEANUP(grow_end) struct grow grow = {.pool = pool, .size_bytes = size_bytes};
    int r = grow_plan(&grow, why);
    if (r == 0)
        r = grow_ask(&grow, why);
    if (r < 0)
        return r;
    bool is_begun = false;
    r = grow_take(&grow, why);
    if (r == 0)
    {
        r = grow_commit(&grow, &is_begun);
        if (r < 0)
            r = reason_set(why, r, "pool '%s' could not be grown: %s", pool->path, strerror(-r));
    }
    if (r < 0 && !is_begun)
        room_give_back(&grow.room);
    if (r < 0)
        return r;
    space_grow_done(pool->space);
    space_prepare_area(pool->space);
    pool_note_space(pool);
    return 0;
}

int pool_grow_dry_run(struct pool *pool, uint64_t size_bytes, uint64_t *new_size_bytes,
                      struct reason *why)
{
    reason_clear(why);
    CLEANUP(grow_end) struct grow grow = {.pool = pool, .size_bytes = size_bytes};
    int r = grow_plan(&grow, why);
    if (r == 0)
        r = grow_ask(&grow, why);
    if (r == 0)
        *new_size_bytes = grow.new_blks * BLK_BYTES;
    return r;
}

int pool_grow(struct pool *pool, uint64_t size_bytes, struct reason *why)
{
    reason_clear(why);
    int r = pool_may_change(pool);
    if (r < 0)
        return r;
    {
        AUTO_LOCK(&pool->management);
        r = pool_grow_locked(pool, size_bytes, why);
    }
    if (r == 0)
        event_add(pool, "info", "pool.grown", NULL, "the pool has %s now",
                  size_text(atomic_load(&pool->size_blks) * BLK_BYTES).text);
    return r;
}
