/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/volume/promise.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/size_text.h"
#include "lun/map/lineage.h"
#include "lun/pool/grow.h"
#include "lun/pool/pool_internal.h"
#include "lun/pool/room.h"
#include "lun/volume/command.h"
#include "lun/volume/ledger.h"

enum
{
    PROMISE_MARGIN_BLKS = 64, /* for the metadata of the command itself */
    PROMISE_EVENT_MS = 10000,
};

/* ---- a plan: figures as they will be ------------------------------------------------------- */

struct plan_volume
{
    const struct volume_object *volume; /* NULL: the one that is going to be made */
    uint64_t size_blks;
    bool is_guaranteed;
    uint64_t charged_blks, lun_needs_blks;
};

struct plan_lun
{
    const struct lun_object *lun;
    const struct volume_object *volume; /* NULL: none, or the new one */
    bool is_reserved;
    uint64_t needs_blks;
};

struct plan
{
    struct pool *pool;
    struct plan_volume *volumes;
    size_t volume_count;
    struct plan_lun *luns; /* open addressing, by address */
    size_t lun_slots;
    uint64_t outside_needs_blks; /* change of the needs of LUNs outside volumes */
    uint64_t new_promises;       /* less those that end, as a difference of uint64_t */
    uint64_t cloned_blks, frozen_blks, revived_blks; /* for the message: what they add */
};

static void plan_destroy(struct plan *plan)
{
    free(plan->volumes);
    free(plan->luns);
}

static int plan_make(struct plan *plan, struct pool *pool, size_t count)
{
    *plan = (struct plan){.pool = pool, .lun_slots = 4};
    while (plan->lun_slots < 2 * count)
        plan->lun_slots *= 2;
    plan->luns = calloc(plan->lun_slots, sizeof(*plan->luns));
    plan->volumes = calloc(2 * count + 1, sizeof(*plan->volumes)); /* a move has two */
    return plan->luns && plan->volumes ? 0 : -ENOMEM;
}

static struct plan_volume *plan_volume(struct plan *plan, const struct volume_object *volume)
{
    for (size_t i = plan->volume_count; i-- > 0;)
    {
        if (plan->volumes[i].volume == volume)
            return &plan->volumes[i];
    }
    struct plan_volume *planned = &plan->volumes[plan->volume_count++];
    *planned = (struct plan_volume){.volume = volume};
    if (volume)
        *planned = (struct plan_volume){.volume = volume,
                                        .size_blks = ledger_volume_blks(volume),
                                        .is_guaranteed = volume->books.is_guaranteed,
                                        .charged_blks = volume->books.charged_blks,
                                        .lun_needs_blks = volume->books.lun_needs_blks};
    return planned;
}

static struct plan_lun *plan_lun(struct plan *plan, const struct lun_object *lun)
{
    size_t slot = ((uintptr_t)lun / sizeof(struct lun_object)) & (plan->lun_slots - 1);
    while (plan->luns[slot].lun && plan->luns[slot].lun != lun)
        slot = (slot + 1) & (plan->lun_slots - 1);
    if (!plan->luns[slot].lun)
        plan->luns[slot] = (struct plan_lun){.lun = lun,
                                             .volume = lun->volume,
                                             .is_reserved = lun->books.is_reserved,
                                             .needs_blks = atomic_load(&lun->books.needs_blks)};
    return &plan->luns[slot];
}

static void plan_add_needs(struct plan *plan, const struct volume_object *volume,
                           bool in_new_volume, uint64_t delta)
{
    if (volume || in_new_volume)
        plan_volume(plan, volume)->lun_needs_blks += delta;
    else
        plan->outside_needs_blks += delta;
}

static void plan_set_needs(struct plan *plan, struct plan_lun *lun, uint64_t needs_blks)
{
    if (!lun->is_reserved)
        return;
    plan_add_needs(plan, lun->volume, false, needs_blks - lun->needs_blks);
    lun->needs_blks = needs_blks;
}

/* ---- deltas -------------------------------------------------------------------------------- */

static uint64_t blks_of(uint64_t bytes)
{
    return div_round_up(bytes, BLK_BYTES);
}

static uint64_t bytes_of(uint64_t blks)
{
    return blks * BLK_BYTES;
}

/* What the point showed that heads on @source will stand on: more than @source has if it was shrunk
 * since and nothing of it was written. */
static uint64_t plan_point_blks(const struct lun_object *source)
{
    const struct line *line = source->line;
    if (source->object.kind == DISK_OBJECT_SNAPSHOT)
        return ledger_point_blks(line);
    return lineage_is_unchanged(line) ? ledger_point_blks(line->predecessor)
                                      : ledger_lun_blks(source);
}

static void plan_freeze(struct plan *plan, const struct promise_delta *delta)
{
    struct plan_lun *lun = plan_lun(plan, delta->lun);
    uint64_t size = ledger_lun_blks(delta->lun), before = lun->needs_blks;
    if (lineage_is_unchanged(delta->lun->line))
        return;
    plan_set_needs(plan, lun, ledger_fresh_needs(size, true, size));
    plan->frozen_blks += lun->needs_blks - before;
}

static void plan_clone(struct plan *plan, const struct promise_delta *delta)
{
    if (!delta->is_reserved)
        return;
    uint64_t needs =
        ledger_fresh_needs(blks_of(delta->size_bytes), true, plan_point_blks(delta->lun));
    plan_add_needs(plan, delta->volume, delta->in_new_volume, needs * delta->count);
    uint64_t *sum = delta->kind == PROMISE_CLONE ? &plan->cloned_blks : &plan->revived_blks;
    *sum += needs * delta->count;
    plan->new_promises += delta->count;
}

static void plan_resize(struct plan *plan, const struct promise_delta *delta)
{
    struct plan_lun *lun = plan_lun(plan, delta->lun);
    const struct line *line = delta->lun->line, *point = line->predecessor;
    uint64_t size = blks_of(delta->size_bytes);
    uint64_t fresh = ledger_fresh_needs(size, point != NULL, point ? ledger_point_blks(point) : 0);
    uint64_t own = atomic_load(&line->own_blks), nodes = atomic_load(&line->own_node_blks);
    uint64_t nodes_max = fresh - size;
    plan_set_needs(plan, lun,
                   (size > own ? size - own : 0) + (nodes_max > nodes ? nodes_max - nodes : 0));
}

static void plan_set_reserved(struct plan *plan, const struct promise_delta *delta)
{
    struct plan_lun *lun = plan_lun(plan, delta->lun);
    if (lun->is_reserved == delta->is_reserved)
        return;
    uint64_t needs = delta->is_reserved ? ledger_needs(delta->lun, delta->lun->line) : 0;
    plan_add_needs(plan, lun->volume, false, needs - lun->needs_blks);
    lun->needs_blks = needs;
    lun->is_reserved = delta->is_reserved;
    plan->new_promises += delta->is_reserved ? 1 : UINT64_MAX;
}

static void plan_move(struct plan *plan, const struct promise_delta *delta)
{
    struct plan_lun *lun = plan_lun(plan, delta->lun);
    const struct line *line = delta->lun->line;
    uint64_t own = atomic_load(&line->own_blks) + atomic_load(&line->own_node_blks);
    plan_add_needs(plan, lun->volume, false, -lun->needs_blks);
    plan_add_needs(plan, delta->volume, false, lun->needs_blks);
    if (lun->volume)
        plan_volume(plan, lun->volume)->charged_blks -= own;
    if (delta->volume)
        plan_volume(plan, delta->volume)->charged_blks += own;
    lun->volume = delta->volume;
}

static void plan_delta(struct plan *plan, const struct promise_delta *delta)
{
    switch (delta->kind)
    {
    case PROMISE_NEW_LUN:
        if (delta->is_reserved)
            plan_add_needs(plan, delta->volume, delta->in_new_volume,
                           ledger_fresh_needs(blks_of(delta->size_bytes), false, 0));
        plan->new_promises += delta->is_reserved;
        break;
    case PROMISE_FREEZE:
        plan_freeze(plan, delta);
        break;
    case PROMISE_RESIZE:
        plan_resize(plan, delta);
        break;
    case PROMISE_SET_RESERVED:
        plan_set_reserved(plan, delta);
        break;
    case PROMISE_CLONE:
    case PROMISE_REVIVAL:
        plan_clone(plan, delta);
        break;
    case PROMISE_RESTORE:
        plan_set_needs(
            plan, plan_lun(plan, delta->lun),
            ledger_fresh_needs(blks_of(delta->size_bytes), true, plan_point_blks(delta->source)));
        break;
    case PROMISE_VOLUME:
    {
        struct plan_volume *volume = plan_volume(plan, delta->volume);
        plan->new_promises += (uint64_t)delta->is_guaranteed - (uint64_t)volume->is_guaranteed;
        volume->size_blks = delta->size_bytes / BLK_BYTES;
        volume->is_guaranteed = delta->is_guaranteed;
        break;
    }
    case PROMISE_MOVE:
        plan_move(plan, delta);
        break;
    }
}

/* ---- deciding ------------------------------------------------------------------------------ */

static struct size_text blks_text(uint64_t blks)
{
    return size_text(bytes_of(blks));
}

/* Of a volume that @used blocks do not fit into. */
static int plan_refuse_volume(const struct plan *plan, const struct plan_volume *planned,
                              uint64_t used, struct reason *why)
{
    const struct volume_object *volume = planned->volume;
    const char *name = volume ? volume->name : "(new)";
    uint64_t promised = planned->lun_needs_blks;
    if (volume && ledger_volume_blks(volume) != planned->size_blks)
        return reason_set(
            why, -ENOSPC,
            "volume '%s' uses %s, more than %s: %s are taken by data and metadata of its LUNs and "
            "snapshots, and %s are promised to its reserved LUNs; the smallest size is %" PRIu64
            " bytes: 'lunette volume resize %s %" PRIu64 "M'; 'lunette explain space %s' shows "
            "what it holds",
            name, blks_text(used).text, blks_text(planned->size_blks).text,
            blks_text(used - promised).text, blks_text(promised).text, bytes_of(used), name,
            div_round_up(bytes_of(used), 1 << 20), name);
    return reason_set(
        why, -ENOSPC,
        "volume '%s' has %s, and would need %s: %s are taken by data and metadata of its LUNs and "
        "snapshots, and %s would be promised to its reserved LUNs; 'lunette volume resize %s "
        "%" PRIu64 "M' makes it large enough, 'lunette explain space %s' shows what it holds%s",
        name, blks_text(planned->size_blks).text, blks_text(used).text,
        blks_text(used - promised).text, blks_text(promised).text, name,
        div_round_up(bytes_of(used), 1 << 20), name,
        plan->cloned_blks > 0 ? ", and --no-reserve makes a clone without a promise" : "");
}

/* Jobs may charge a volume more than its size: what asks it for no more than before goes on. */
static bool plan_asks_volume(const struct plan_volume *planned)
{
    const struct volume_object *volume = planned->volume;
    return !volume || planned->size_blks != ledger_volume_blks(volume) ||
           planned->charged_blks + planned->lun_needs_blks >
               volume->books.charged_blks + volume->books.lun_needs_blks;
}

static int plan_check_volumes(const struct plan *plan, struct reason *why)
{
    for (size_t i = 0; i < plan->volume_count; i++)
    {
        const struct plan_volume *volume = &plan->volumes[i];
        uint64_t taken = volume->volume ? volume->volume->books.taken_blks : 0;
        uint64_t used = volume->charged_blks + taken + volume->lun_needs_blks;
        if (volume->size_blks > 0 && used > volume->size_blks && plan_asks_volume(volume))
            return plan_refuse_volume(plan, volume, used, why);
    }
    return 0;
}

/* By how much the sum of all promises grows; may be negative, as a difference of uint64_t. */
static uint64_t plan_growth(const struct plan *plan)
{
    uint64_t growth = plan->outside_needs_blks;
    for (size_t i = 0; i < plan->volume_count; i++)
    {
        const struct plan_volume *volume = &plan->volumes[i];
        growth += ledger_volume_needs(volume->size_blks, volume->is_guaranteed,
                                      volume->charged_blks, volume->lun_needs_blks);
        growth -= volume->volume ? volume->volume->books.needs_blks : 0;
    }
    const struct ledger *ledger = &plan->pool->ledger;
    bool has_promises = ledger->promise_count > 0,
         will_have = ledger->promise_count + plan->new_promises > 0;
    return growth + ((uint64_t)will_have - (uint64_t)has_promises) * ledger->slack_blks;
}

static int plan_refuse(const struct plan *plan, uint64_t needed, uint64_t available,
                       struct reason *why)
{
    const char *pool = plan->pool->name;
    struct grow_text grow = grow_advice(plan->pool, needed - min_u64(needed, available));
    if (plan->cloned_blks > 0)
        return reason_set(
            why, -ENOSPC,
            "pool '%s' cannot promise this: %s more are needed, %s are available; a clone of a "
            "reserved LUN is promised its whole size (%s in all), and its source, whose blocks "
            "both share then, needs again what it owned alone until now (%s); 'lunette lun clone "
            "--no-reserve' promises the clone nothing, 'lunette df' and 'lunette explain space' "
            "show what uses the pool, %s",
            pool, blks_text(needed).text, blks_text(available).text,
            blks_text(plan->cloned_blks).text, blks_text(plan->frozen_blks).text, grow.text);
    if (plan->revived_blks > 0)
        return reason_set(
            why, -ENOSPC,
            "pool '%s' cannot promise this: %s more are needed, %s are available; a deleted LUN "
            "that was reserved comes back reserved, and is promised its whole size (%s in all); "
            "'lunette lun clone create LUN@SNAPSHOT NAME --no-reserve' makes a LUN of the snapshot "
            "that is promised nothing, 'lunette df' and 'lunette explain space' show what uses the "
            "pool, %s",
            pool, blks_text(needed).text, blks_text(available).text,
            blks_text(plan->revived_blks).text, grow.text);
    if (plan->frozen_blks > 0)
        return reason_set(
            why, -ENOSPC,
            "pool '%s' cannot promise this: %s more are needed, %s are available; a snapshot keeps "
            "the blocks of a reserved LUN, which then needs again what it owned alone until now; "
            "'lunette lun modify LUN --space-reserve no' ends its promise, 'lunette df' and "
            "'lunette explain space' show what uses the pool, %s",
            pool, blks_text(needed).text, blks_text(available).text, grow.text);
    return reason_set(why, -ENOSPC,
                      "pool '%s' cannot promise this: %s more are needed, %s are available; "
                      "'lunette df' and 'lunette explain space' show what uses the pool, %s",
                      pool, blks_text(needed).text, blks_text(available).text, grow.text);
}

/* The volumes' part of what is held: others' writes leave room for it. */
static void plan_hold_volumes(const struct plan *plan)
{
    for (size_t i = 0; i < plan->volume_count; i++)
    {
        const struct plan_volume *planned = &plan->volumes[i];
        const struct volume_object *volume = planned->volume;
        if (!volume || planned->size_blks == 0)
            continue;
        uint64_t used = planned->charged_blks + planned->lun_needs_blks;
        uint64_t used_before = volume->books.charged_blks + volume->books.lun_needs_blks;
        uint64_t left = planned->size_blks > used ? planned->size_blks - used : 0;
        uint64_t size = ledger_volume_blks(volume);
        uint64_t left_before = size > used_before ? size - used_before : 0;
        if (left_before > left)
            ((struct volume_object *)(uintptr_t)volume)->books.held_blks = left_before - left;
    }
}

void promise_end(struct pool *pool)
{
    ledger_let_go(pool);
}

static int plan_hold(const struct plan *plan, struct reason *why)
{
    struct pool *pool = plan->pool;
    int r = plan_check_volumes(plan, why);
    if (r < 0)
        return r;
    uint64_t growth = plan_growth(plan), available = 0;
    bool is_more = growth > 0 && growth <= UINT64_MAX / 2;
    if (is_more && space_raise_promised(pool->space, growth, PROMISE_MARGIN_BLKS, &available) < 0)
        return plan_refuse(plan, growth + PROMISE_MARGIN_BLKS, available, why);
    command_note_promised((int64_t)bytes_of(growth));
    plan_hold_volumes(plan);
    pool->ledger.is_holding = true;
    pool->ledger.held_blks = is_more ? growth : 0;
    ledger_publish(pool);
    return 0;
}

static int plan_run(struct plan *plan, const struct promise_delta *deltas, size_t count,
                    struct reason *why)
{
    AUTO_LOCK(&plan->pool->ledger.lock);
    ledger_let_go_locked(plan->pool);
    for (size_t i = 0; i < count; i++)
        plan_delta(plan, &deltas[i]);
    return plan_hold(plan, why);
}

/* ---- the file system below ----------------------------------------------------------------- */

static int promise_allocate(struct pool *pool, uint64_t len, uint64_t offset, struct reason *why)
{
    int r = device_allocate(pool->device, len, offset);
    if (r == -EOPNOTSUPP)
        return reason_set(
            why, -ENOSPC,
            "pool '%s' cannot promise space: its file system gives room to a file "
            "only when it is written, and may have none then; a pool on a block device "
            "or on ext4 or xfs can",
            pool->path);
    if (r < 0)
        return reason_set(
            why, r,
            "pool '%s' cannot promise space: it is a sparse file, and its file system "
            "has no room for all of its %s: %s; 'df' shows what uses it",
            pool->path, size_text(len).text, strerror(-r));
    return 0;
}

/* Whether @deltas may make the first promise. */
static bool promise_is_first(struct pool *pool, const struct promise_delta *deltas, size_t count)
{
    if (ledger_has_promises(pool))
        return false;
    for (size_t i = 0; i < count; i++)
    {
        if (deltas[i].is_reserved || deltas[i].is_guaranteed)
            return true;
    }
    return false;
}

/* Whether the file system below has what the pool's file lacks to be whole. */
static int promise_ask_whole(struct pool *pool, struct room *room, struct reason *why)
{
    int r = room_begin(room, pool->device, pool);
    if (r == 0)
        r = room_add(room, bytes_of(atomic_load(&pool->size_blks)), 0);
    if (r < 0)
        return reason_set(why, r, "it cannot be told what is free below pool '%s': %s", pool->path,
                          strerror(-r));
    if (room_is_enough(room))
        return 0;
    return reason_set(
        why, -ENOSPC,
        "pool '%s' cannot promise space: it is a sparse file that lacks %s to be whole, and "
        "its file system has %s free; 'df' shows what uses it",
        pool->path, size_text(room->needed_bytes).text, size_text(room->free_bytes).text);
}

/*
 * A promise must not rest on somebody else's free space: the first one makes the pool's file whole.
 * No checkpoint gives freed space back meanwhile, nor from then on.
 */
static int promise_allocate_all(struct pool *pool, struct reason *why)
{
    CLEANUP(room_end) struct room room = {0};
    AUTO_LOCK(&pool->cp_lock);
    int r = promise_ask_whole(pool, &room, why);
    if (r < 0)
        return r;
    atomic_store(&pool->keeps_space, true);
    r = promise_allocate(pool, bytes_of(atomic_load(&pool->size_blks)), 0, why);
    if (r < 0)
    {
        atomic_store(&pool->keeps_space, false);
        room_give_back(&room);
    }
    return r;
}

int promise_allocate_grown(struct pool *pool, uint64_t size_bytes, struct reason *why)
{
    uint64_t old_bytes = atomic_load(&pool->size_blks) * BLK_BYTES;
    if (!ledger_has_promises(pool) || size_bytes <= old_bytes)
        return 0;
    return promise_allocate(pool, size_bytes - old_bytes, old_bytes, why);
}

int promise_check(struct pool *pool, const struct promise_delta *deltas, size_t count,
                  struct reason *why)
{
    CLEANUP(plan_destroy) struct plan plan = {0};
    int r = plan_make(&plan, pool, count);
    if (r == 0)
        r = plan_run(&plan, deltas, count, why);
    if (r < 0 || command_is_dry() || !promise_is_first(pool, deltas, count))
        return r;
    r = promise_allocate_all(pool, why);
    if (r < 0)
        promise_end(pool);
    return r;
}

/* ---- figures ------------------------------------------------------------------------------- */

uint64_t promise_needed_bytes(const struct lun_object *lun)
{
    return bytes_of(atomic_load(&lun->books.needs_blks));
}

static uint64_t rest_of(uint64_t all, uint64_t used)
{
    return all > used ? all - used : 0;
}

static uint64_t available_blks(const struct space_stats *stats)
{
    return rest_of(stats->free_blks + stats->deferred_blks,
                   stats->promised_blks + stats->reserve_blks);
}

void promise_fill_pool(struct pool *pool, struct pool_info *info)
{
    struct space_stats stats;
    space_get_stats(pool->space, &stats);
    info->promised_bytes = bytes_of(stats.promised_blks);
    info->available_bytes = bytes_of(available_blks(&stats));
}

void promise_fill_volume(struct pool *pool, const struct volume_object *volume,
                         struct volume_info *info)
{
    struct space_stats stats;
    space_get_stats(pool->space, &stats);
    uint64_t available = available_blks(&stats);
    AUTO_LOCK(&pool->ledger.lock);
    const struct volume_books *books = &volume->books;
    uint64_t used = books->charged_blks + books->taken_blks + books->lun_needs_blks;
    uint64_t left = volume->size_bytes ? rest_of(ledger_volume_blks(volume), used) : UINT64_MAX;
    info->charged_bytes = bytes_of(books->charged_blks);
    info->reserved_bytes = bytes_of(books->lun_needs_blks);
    info->needed_bytes = books->is_guaranteed ? bytes_of(books->needs_blks) : 0;
    info->available_bytes = bytes_of(books->is_guaranteed ? left : min_u64(left, available));
}

/* ---- promises that cannot be kept ---------------------------------------------------------- */

void promise_note_broken(struct pool *pool, const struct lun_object *lun, const char *what)
{
    uint64_t now_ms = env_passed_ns(pool->env) / 1000000;
    uint64_t last_ms = atomic_load(&pool->broken_event_ms);
    if ((last_ms != 0 && now_ms < last_ms + PROMISE_EVENT_MS) ||
        !atomic_compare_exchange_strong(&pool->broken_event_ms, &last_ms, now_ms))
        return;
    struct space_stats stats;
    space_get_stats(pool->space, &stats);
    event_add(pool, "error", "promise.broken", lun ? lun->name : NULL,
              "%s: %s are promised, %s are there; 'lunette pool check' and 'lunette df' tell more",
              what, blks_text(stats.promised_blks).text,
              blks_text(stats.free_blks + stats.deferred_blks).text);
}

void promise_check_open(struct pool *pool)
{
    if (!ledger_has_promises(pool))
        return;
    CLEANUP(room_end) struct room room = {0};
    struct space_stats stats;
    space_get_stats(pool->space, &stats);
    uint64_t device_bytes = 0, size_bytes = atomic_load(&pool->size_blks) * BLK_BYTES;
    int r = pool->device->ops->size(pool->device, &device_bytes);
    if (stats.promised_blks > stats.free_blks + stats.deferred_blks)
        promise_note_broken(pool, NULL, "less space is left than was promised");
    else if (r == 0 && device_bytes < size_bytes)
        promise_note_broken(pool, NULL, "the pool's file or device has shrunk");
    else if (promise_ask_whole(pool, &room, NULL) < 0 ||
             device_allocate(pool->device, size_bytes, 0) < 0)
        promise_note_broken(
            pool, NULL, "the file system below has no room for all of the pool's file any more");
}
