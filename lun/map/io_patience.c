/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/map/io_patience.h"

#include <errno.h>
#include <stdio.h>

#include "lun/base/checked.h"
#include "lun/pool/checkpoint.h"
#include "lun/pool/space.h"
#include "lun/volume/lun_internal.h"
#include "lun/volume/promise.h"

enum
{
    PAUSE_DEFAULT_MS = 30000,
    PAUSE_LOOK_MS = 100, /* between two looks whether there is room */
    PAUSE_ROOM_BLKS = 64,
    PROMISE_REFUSALS = 4, /* a look at figures that change may be wrong once */
    VOLUME_EVENT_MS = 10000,
};

/* ---- pausing ------------------------------------------------------------------------------- */

void io_wake(struct pool *pool)
{
    AUTO_LOCK(&pool->pause_lock);
    condition_wake_all(&pool->pause_wake);
}

void pool_stop_waiting(struct pool *pool)
{
    atomic_store(&pool->stops_waiting, true);
    io_wake(pool);
}

void lun_stop_waiting(struct lun *lun)
{
    atomic_store(&lun->stops_waiting, true);
    io_wake(lun->pool);
}

void lun_set_is_over(struct lun *lun, lun_is_over_fn *is_over, void *opaque)
{
    lun->is_over = is_over;
    lun->is_over_opaque = opaque;
}

/* How long writes to the LUN wait; 0: they do not. *volume: its name. */
static uint64_t pause_ms_of(struct pool *pool, const struct lun_object *lun,
                            char volume[LUN_NAME_MAX + 1])
{
    rwlock_take_shared(&pool->catalog_lock);
    const struct volume_object *of = lun->volume;
    uint64_t ms = 0;
    if (of && (of->flags & DISK_VOLUME_PAUSES))
    {
        ms = of->pause_ms ? of->pause_ms : PAUSE_DEFAULT_MS;
        snprintf(volume, LUN_NAME_MAX + 1, "%s", of->name);
    }
    rwlock_release(&pool->catalog_lock);
    return ms;
}

bool io_pauses(struct pool *pool, const struct lun_object *lun)
{
    char volume[LUN_NAME_MAX + 1];
    return pause_ms_of(pool, lun, volume) > 0;
}

/* Whether a new attempt could succeed. A volume's bound is not looked at: that costs an attempt
 * nothing. */
static bool pause_is_over(struct pool *pool, int reason)
{
    struct space_stats stats;
    space_get_stats(pool->space, &stats);
    uint64_t kept = stats.reserve_blks + stats.promised_blks + stats.asked_blks + PAUSE_ROOM_BLKS;
    return reason == -EDQUOT ||
           (stats.free_blks > stats.reserve_blks + stats.asked_blks + PAUSE_ROOM_BLKS &&
            stats.free_blks + stats.deferred_blks > kept);
}

/* 0: it may go on; else why it ends. */
static int pause_may_go_on(struct lun *lun, int reason)
{
    if (atomic_load(&lun->object->is_dead))
        return -ESTALE;
    int r = pool_may_change(lun->pool);
    if (r < 0)
        return r;
    bool is_over = atomic_load(&lun->pool->stops_waiting) || atomic_load(&lun->stops_waiting) ||
                   (lun->is_over && lun->is_over(lun->is_over_opaque, reason));
    return is_over ? reason : 0;
}

/* One look for room. 1: there may be some; 0: there is none. */
static int pause_look(struct pool *pool, int reason)
{
    struct space_stats stats;
    space_get_stats(pool->space, &stats);
    if (stats.deferred_blks > 0 && !pause_is_over(pool, reason))
    {
        int r = checkpoint_wait(pool);
        if (r < 0)
            return r;
    }
    return pause_is_over(pool, reason);
}

/* Waits until there may be room, or the time is over. */
static int pause_wait(struct lun *lun, int reason, uint64_t pause_ms, struct io_patience *patience)
{
    struct pool *pool = lun->pool;
    int r;
    while ((r = pause_may_go_on(lun, reason)) == 0)
    {
        if (patience->paused_ms >= pause_ms)
            return reason;
        uint64_t ms = min_u64(PAUSE_LOOK_MS, pause_ms - patience->paused_ms);
        {
            AUTO_LOCK(&pool->pause_lock);
            bool woken = condition_wait_ms(&pool->pause_wake, &pool->pause_lock, ms);
            patience->paused_ms += woken ? 1 : ms; /* who is woken without end ends too */
        }
        r = pause_look(pool, reason);
        if (r != 0)
            return r < 0 ? r : 0;
    }
    return r;
}

static void pause_begin(struct lun *lun, int reason, bool is_told, const char *volume,
                        uint64_t pause_ms)
{
    bool is_first = atomic_fetch_add(&lun->object->paused_writes, 1) == 0;
    if (is_first && !is_told)
        event_add(
            lun->pool, "warning", "volume.paused", volume,
            "%s is full: writes to LUNs of volume '%s' wait for room, for up to %llu ms each; "
            "'lunette explain space %s' shows what helps",
            reason == -EDQUOT ? "it" : "the pool", volume, (unsigned long long)pause_ms, volume);
}

static int io_pause(struct lun *lun, int reason, struct io_patience *patience)
{
    char volume[LUN_NAME_MAX + 1];
    uint64_t pause_ms = pause_ms_of(lun->pool, lun->object, volume);
    if (pause_ms == 0)
        return reason;
    int r = pause_may_go_on(lun, reason);
    if (r < 0)
        return r;
    pause_begin(lun, reason, patience->was_paused, volume, pause_ms);
    patience->was_paused = true;
    r = pause_wait(lun, reason, pause_ms, patience);
    atomic_fetch_sub(&lun->object->paused_writes, 1);
    return r;
}

uint64_t lun_pause_ms(const struct lun *lun)
{
    char volume[LUN_NAME_MAX + 1];
    return pause_ms_of(lun->pool, lun->object, volume);
}

void lun_wait_begin(struct lun *lun, int reason)
{
    char volume[LUN_NAME_MAX + 1] = "";
    uint64_t pause_ms = pause_ms_of(lun->pool, lun->object, volume);
    pause_begin(lun, reason, pause_ms == 0, volume, pause_ms);
}

void lun_wait_end(struct lun *lun)
{
    atomic_fetch_sub(&lun->object->paused_writes, 1);
}

bool lun_is_to_retry(struct lun *lun)
{
    struct pool *pool = lun->pool;
    return atomic_load(&lun->object->is_dead) || pool_may_change(pool) < 0 ||
           atomic_load(&pool->stops_waiting) || atomic_load(&lun->stops_waiting) ||
           pause_look(pool, -ENOSPC) != 0;
}

/* ---- waiting for checkpoints --------------------------------------------------------------- */

static int io_wait_promised(struct lun *lun, int r, struct io_patience *patience)
{
    if (r == -ENOSPC && ++patience->refusals >= PROMISE_REFUSALS)
    {
        promise_note_broken(lun->pool, lun->object,
                            "a write did not find the space that it was promised");
        return -ENOSPC;
    }
    if (r != -ERESTART)
        patience->is_urgent = true;
    return checkpoint_wait(lun->pool);
}

int io_be_patient(struct lun *lun, int r, enum space_use use, struct io_patience *patience)
{
    if (space_use_is_promised(use) && (checkpoint_may_retry(r) || r == -ENOSPC))
        return io_wait_promised(lun, r, patience);
    if (checkpoint_may_retry(r))
    {
        if (r == -ERESTART || ++patience->checkpoints < CHECKPOINT_TRIES)
            return checkpoint_wait(lun->pool);
        r = -ENOSPC;
    }
    if ((r != -ENOSPC && r != -EDQUOT) || !patience->may_pause)
        return r;
    patience->checkpoints = 0;
    return io_pause(lun, r, patience);
}

void io_note_volume_full(struct pool *pool, const struct lun_object *lun)
{
    uint64_t now_ms = env_passed_ns(pool->env) / 1000000;
    uint64_t last_ms = atomic_load(&pool->volume_event_ms);
    if ((last_ms != 0 && now_ms < last_ms + VOLUME_EVENT_MS) ||
        !atomic_compare_exchange_strong(&pool->volume_event_ms, &last_ms, now_ms))
        return;
    char volume[LUN_NAME_MAX + 1] = "";
    rwlock_take_shared(&pool->catalog_lock);
    if (lun->volume)
        snprintf(volume, sizeof(volume), "%s", lun->volume->name);
    char name[LUN_NAME_MAX + 1];
    snprintf(name, sizeof(name), "%s", lun->name);
    rwlock_release(&pool->catalog_lock);
    event_add(pool, "error", "volume.full", volume,
              "a write to '%s' would charge more to volume '%s' than its size; 'lunette volume "
              "resize' makes it larger, 'lunette explain space %s' shows what it holds",
              name, volume, volume);
}
