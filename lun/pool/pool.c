/* SPDX-License-Identifier: BSD-3-Clause */
/* A pool's life: open, recover, serve, close. format.c makes new ones. */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "lun/base/log.h"
#include "lun/check/count.h"
#include "lun/check/repair.h"
#include "lun/check/scrub.h"
#include "lun/jobs/jobs.h"
#include "lun/map/change.h"
#include "lun/pool/checkpoint.h"
#include "lun/pool/grow.h"
#include "lun/pool/pool_internal.h"
#include "lun/pool/record.h"
#include "lun/pool/super.h"
#include "lun/volume/catalog.h"
#include "lun/volume/command.h"
#include "lun/volume/event.h"
#include "lun/volume/ledger.h"
#include "lun/volume/promise.h"
#include "lun/volume/verify.h"

enum
{
    POOL_CACHE_BYTES = 64 << 20,
    POOL_CHECKPOINT_MS = 5000,
    POOL_EVENT_PAUSE_MS = 10000,
    POOL_SPACE_MIN_BLKS = 64, /* free, for a full pool to count as healthy again */
};

/* ---- health -------------------------------------------------------------------------------- */

const char *pool_health_name(enum pool_health health)
{
    static const char *const names[] = {"healthy", "out of space", "read-only after an error",
                                        "failed"};
    return names[health];
}

int pool_may_change(const struct pool *pool)
{
    if (pool->is_read_only && !pool->is_recovering)
        return -EROFS;
    enum pool_health health = (enum pool_health)atomic_load(&pool->health);
    if (health == POOL_FAILED)
        return -EIO;
    return health == POOL_READ_ONLY ? -EROFS : 0;
}

void pool_degrade(struct pool *pool, enum pool_health health, const char *what, int err)
{
    int present = atomic_load(&pool->health);
    while (present < (int)health &&
           !atomic_compare_exchange_weak(&pool->health, &present, (int)health))
        continue;
    if (present >= (int)health)
        return;
    log_error("pool '%s' is %s now: %s: %s", pool->path, pool_health_name(health), what,
              strerror(-err));
    event_add(pool, "error", health == POOL_FAILED ? "pool.failed" : "pool.read-only", NULL,
              "%s: %s; data is served as far as it can be read", what, strerror(-err));
}

/* Counts a sync. The kernel may have dropped what it could not write: asking again would get a lie.
 */
static int pool_note_sync(struct pool *pool, int r)
{
    atomic_fetch_add_explicit(&pool->sync_count, 1, memory_order_relaxed);
    if (r == 0)
        return 0;
    pool_degrade(pool, POOL_FAILED, "a sync of the device failed", r);
    return -EIO;
}

int pool_sync(struct pool *pool)
{
    return pool->is_read_only ? 0 : pool_note_sync(pool, device_sync(pool->device));
}

int pool_write_durable(struct pool *pool, const void *buf, size_t len, uint64_t offset)
{
    return pool_note_sync(pool, device_write_durable(pool->device, buf, len, offset));
}

/* Whether @last_ms lies far enough back for one more event of its kind; then it is now. */
static bool pool_may_say_again(struct pool *pool, _Atomic uint64_t *last_ms)
{
    uint64_t now_ms = env_passed_ns(pool->env) / 1000000, before_ms = atomic_load(last_ms);
    return (before_ms == 0 || now_ms >= before_ms + POOL_EVENT_PAUSE_MS) &&
           atomic_compare_exchange_strong(last_ms, &before_ms, now_ms);
}

static bool pool_has_space(struct pool *pool)
{
    struct space_stats stats;
    space_get_stats(pool->space, &stats);
    uint64_t some = max_u64(POOL_SPACE_MIN_BLKS, min_u64(1024, stats.total_blks / 64));
    return stats.free_blks > stats.reserve_blks + some;
}

void pool_note_full(struct pool *pool, const struct lun_object *lun)
{
    int healthy = POOL_HEALTHY;
    bool is_below = atomic_exchange(&pool->no_room_below, false);
    if (!is_below)
        atomic_compare_exchange_strong(&pool->health, &healthy, POOL_OUT_OF_SPACE);
    if (!pool_may_say_again(pool, &pool->full_event_ms))
        return;
    if (is_below)
        event_add(pool, "error", "pool.no-room-below", lun->name,
                  "a write to '%s' found no space although the pool has some: the file system that "
                  "holds '%s' is full; make room there",
                  lun->name, pool->path);
    else
        event_add(
            pool, "error", "pool.full", lun->name,
            "a write to '%s' found no space in the pool; %s, 'lunette df' shows what uses it, "
            "'lunette explain space' what a delete would bring",
            lun->name, grow_advice(pool, 0).text);
}

int pool_note_damage(struct pool *pool, const struct lun_object *lun, int r)
{
    if (r == -EBADMSG && pool_may_say_again(pool, &pool->damage_event_ms))
        event_add(pool, "error", "pool.damaged", lun->name,
                  "a request to '%s' met damaged metadata and failed; 'lunette pool check' shows "
                  "what is damaged",
                  lun->name);
    return r;
}

void pool_note_space(struct pool *pool)
{
    int full = POOL_OUT_OF_SPACE;
    if (atomic_load(&pool->health) != POOL_OUT_OF_SPACE || !pool_has_space(pool))
        return;
    if (atomic_compare_exchange_strong(&pool->health, &full, POOL_HEALTHY))
        event_add(pool, "info", "pool.has-space", NULL, "the pool has space again");
}

void pool_note_job(struct pool *pool, int r)
{
    if (!pool_may_say_again(pool, &pool->job_event_ms))
        return;
    log_warning("background work stopped for now: %s", strerror(-r));
    event_add(pool, "error", "job.stopped", NULL,
              "background work stopped for now: %s; it is tried again; 'lunette job show' lists it",
              strerror(-r));
}

void pool_notify(struct pool *pool, enum lun_change change, uint64_t lun_id, const char *name)
{
    if (pool->change_hook && !command_is_dry())
        pool->change_hook(pool->change_opaque, change, lun_id, name);
}

void pool_set_change_hook(struct pool *pool, lun_change_hook *hook, void *opaque)
{
    pool->change_opaque = opaque;
    pool->change_hook = hook;
}

void epoch_drain(struct pool *pool)
{
    epochs_drain(&pool->reads);
}

void epochs_drain(struct epochs *epochs)
{
    uint32_t old = atomic_fetch_add(&epochs->now, 1);
    for (unsigned spins = 0; atomic_load(&epochs->counts[old & 1]) != 0; spins++)
    {
        if (spins < 100)
            sched_yield();
        else
            nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL); /* a read of a slow device */
    }
}

/* ---- opening ------------------------------------------------------------------------------- */

static struct pool *pool_alloc(struct env *env, struct device *device)
{
    struct pool *pool = aligned_alloc(64, round_up(sizeof(*pool), 64));
    if (!pool)
        return NULL;
    memset(pool, 0, sizeof(*pool));
    pool->env = env;
    pool->device = device;
    lock_init(&pool->management, LOCK_RANK_MANAGEMENT);
    lock_init(&pool->cp_lock, LOCK_RANK_CP);
    rwlock_init(&pool->cp_gate, LOCK_RANK_CP_GATE);
    rwlock_init(&pool->catalog_lock, LOCK_RANK_CATALOG);
    lock_init(&pool->dirty_lock, LOCK_RANK_SHARED_TREE);
    lock_init(&pool->ledger.lock, LOCK_RANK_LEDGER);
    pool->ledger.slack_blks = LEDGER_SLACK_BLKS;
    lock_init(&pool->atomic_lock, LOCK_RANK_ATOMIC);
    lock_init(&pool->loan_lock, LOCK_RANK_LEAF);
    range_hold_init(&pool->group_hold);
    lock_init(&pool->pause_lock, LOCK_RANK_LEAF);
    lock_init(&pool->handle_lock, LOCK_RANK_LEAF);
    lock_init(&pool->job_lock, LOCK_RANK_LEAF);
    lock_init(&pool->cp_wait_lock, LOCK_RANK_LEAF);
    condition_init(&pool->job_wake);
    condition_init(&pool->job_idle);
    condition_init(&pool->job_stop_wake);
    condition_init(&pool->cp_wake);
    condition_init(&pool->cp_done);
    condition_init(&pool->pause_wake);
    struct list *lists[] = {&pool->lines,         &pool->luns,        &pool->pages_free[0],
                            &pool->pages_free[1], &pool->dirty_pages, &pool->dirty_objects,
                            &pool->job_lines,     &pool->job_lazy,    &pool->volumes,
                            &pool->deleted_luns};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        list_init(lists[i]);
    return pool;
}

/* Everything but the device. */
static void pool_free(struct pool *pool)
{
    journal_destroy(pool->journal);
    if (pool->objects_by_id.buckets)
        catalog_destroy(pool);
    space_destroy(pool->space);
    cache_destroy(pool->cache);
    scrub_destroy(pool->scrub);
    event_ring_destroy(pool->events);
    struct lock *locks[] = {&pool->management,  &pool->cp_lock,     &pool->dirty_lock,
                            &pool->handle_lock, &pool->job_lock,    &pool->cp_wait_lock,
                            &pool->ledger.lock, &pool->atomic_lock, &pool->pause_lock,
                            &pool->loan_lock};
    for (size_t i = 0; i < ARRAY_SIZE(locks); i++)
        lock_destroy(locks[i]);
    range_hold_destroy(&pool->group_hold);
    rwlock_destroy(&pool->cp_gate);
    rwlock_destroy(&pool->catalog_lock);
    struct condition *conditions[] = {&pool->job_wake, &pool->job_idle, &pool->job_stop_wake,
                                      &pool->cp_wake,  &pool->cp_done,  &pool->pause_wake};
    for (size_t i = 0; i < ARRAY_SIZE(conditions); i++)
        condition_destroy(conditions[i]);
    free(pool->path);
    free(pool);
}

static void cleanup_pool(struct pool **pool)
{
    if (*pool)
        pool_free(*pool);
}

static int pool_replay_pin(void *opaque, uint64_t blk, uint64_t len)
{
    return space_pin_replayed(opaque, blk, len);
}

static int pool_replay_pin_record(void *opaque, const struct journal_record *record)
{
    struct pool *pool = opaque;
    int r = record_each_block(record->actions, record->len, pool_replay_pin, pool->space);
    for (unsigned i = 0; r == 0 && i < record->node_count; i++)
        r = space_pin_replayed(pool->space, record->nodes[i], 1);
    return r;
}

/* Loads until it is prepared; there is nobody else. *is_begun: something may have been changed. */
static int pool_replay_actions(struct pool *pool, const struct journal_record *record,
                               bool *is_begun)
{
    AUTO_CHANGE struct change change;
    change_init(&change, pool);
    change.placements =
        (struct placements){.blks = record->nodes, .count = record->node_count, .is_replay = true};
    int r;
    while ((r = record_prepare(&change, record->actions, record->len)) == -EAGAIN)
    {
        r = tree_op_load(change.map.missing.blk ? &change.map : &change.drops);
        if (r < 0)
            return r; /* not begun */
    }
    /* Room for nodes is not asked for: the record names them, and they are pinned. On a full pool
     * nothing more might be left. */
    *is_begun = r == 0;
    if (r == 0)
        r = record_apply(&change, record->actions, record->len);
    if (r == 0 && (change.placements.failed || change.placements.next != record->node_count))
        r = -EBADMSG;
    return r;
}

static int pool_replay_record(void *opaque, const struct journal_record *record)
{
    struct pool *pool = opaque;
    bool is_begun = false;
    if (repair_has_cut(pool->options.repair, record->seq))
        return 0;
    if (record->is_after_switch)
        cache_seal(pool->cache);
    int r = pool_replay_actions(pool, record, &is_begun);
    if ((r == -EBADMSG || r == -EIO) && !is_begun &&
        repair_may_cut_journal(pool->options.repair, record->seq))
        return 0;
    if (r < 0)
        log_error("record %" PRIu64
                  " of the journal (first action %u, %zu bytes) cannot be applied: %s",
                  record->seq, record->len ? record->actions[0] : 0u, record->len, strerror(-r));
    return r;
}

/*
 * The state of the last checkpoint, and on top of it what the journal has. Blocks that any record
 * names are pinned first: no tree node may go there.
 */
static int pool_load(struct pool *pool, struct reason *why)
{
    const struct disk_super *super = &pool->super;
    int r = space_load(pool->space, super);
    if (r == 0)
    {
        bool is_twice = le64_get(super->feature_incompat) & DISK_FEATURE_TWICE;
        tree_from_disk(&pool->pages_trees[0], DISK_TREE_PAGES, &super->pages);
        tree_from_disk(&pool->pages_trees[1], DISK_TREE_PAGES,
                       is_twice ? &super->pages_twin : &(struct disk_root){0});
        r = pool->options.repair ? repair_find_pages(pool) : 0;
    }
    if (r == 0)
        r = catalog_load(pool);
    if (r < 0)
        return reason_set(why, r,
                          "pool '%s' cannot be opened: its metadata is damaged (%s); the log "
                          "names the block%s%s%s",
                          pool->path, strerror(-r),
                          pool->options.repair
                              ? ", and it cannot be made anew; 'lunette lun salvage --list --pool "
                              : "; 'lunette pool repair ",
                          pool->path,
                          pool->options.repair ? "' shows what can be read"
                                               : " --dry-run' tells what can be mended");
    count_own_nodes(pool);
    ledger_load(pool);
    if (pool->options.repair)
        r = repair_rebuild(pool);
    if (r == 0)
        r = journal_replay(pool->journal, super, pool_replay_pin_record, pool);
    if (r == 0)
        r = journal_replay(pool->journal, super, pool_replay_record, pool);
    if (r == 0)
        r = verify_lines(pool);
    if (r < 0)
        return reason_set(why, r, "pool '%s' cannot be recovered from its journal: %s%s",
                          pool->path, strerror(-r),
                          r == -EBADMSG ? "; 'lunette pool repair --discard-journal' gives up what "
                                          "is in it from there on"
                                        : "");
    return 0;
}

static int pool_make_parts(struct pool *pool, const struct pool_open_options *options)
{
    pool->options = options ? *options : (struct pool_open_options){0};
    if (pool->options.cache_bytes == 0)
        pool->options.cache_bytes = POOL_CACHE_BYTES;
    if (pool->options.checkpoint_ms == 0)
        pool->options.checkpoint_ms = POOL_CHECKPOINT_MS;
    pool->options.read_only |= pool->options.super_only;
    pool->is_read_only = pool->options.read_only;
    pool->opened_ns = pool->env->now_ns(pool->env);
    pool->opened_passed_ns = env_passed_ns(pool->env);
    pool->events = event_ring_create();
    pool->path = strdup(pool->device->path ? pool->device->path : "(device)");
    if (!pool->events || !pool->path)
        return -ENOMEM;
    int r = scrub_create(pool, &pool->scrub);
    if (r == 0)
        r = hash_init(&pool->objects_by_id, 1024);
    if (r == 0)
        r = hash_init(&pool->luns_by_name, 1024);
    struct hash *small[] = {&pool->store_by_key, &pool->volumes_by_name, &pool->qtrees_by_name,
                            &pool->volume_snapshots_by_name};
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(small); i++)
        r = hash_init(small[i], 64);
    return r == 0 ? cache_create(pool, pool->options.cache_bytes, &pool->cache) : r;
}

static void pool_take_super(struct pool *pool)
{
    const struct disk_super *super = &pool->super;
    pool->pool_id = le64_get(super->header.pool_id);
    pool->group_blks = le32_get(super->group_blks);
    memcpy(pool->name, super->name, sizeof(pool->name));
    memcpy(pool->uuid, super->uuid, sizeof(pool->uuid));
    pool->created_ns = le64_get(super->created_ns);
    pool->journal_half_blks = le64_get(super->journal_half_blks);
    atomic_store(&pool->size_blks, le64_get(super->size_blks));
    pool->splits_narrowly = !(le64_get(super->feature_incompat) & DISK_FEATURE_SPLITS);
    pool->features = le64_get(super->feature_incompat);
    pool->generation = le32_get(super->generation);
    pool->next_id = le64_get(super->next_id);
    atomic_store(&pool->cp_id, le64_get(super->header.cp_id) + 1);
    atomic_store(&pool->durable_cp_id, le64_get(super->header.cp_id));
}

/* Makes this opening known on disk: nodes that a crashed one before it wrote have other numbers. */
static int pool_claim(struct pool *pool)
{
    struct disk_super *super = &pool->super;
    super->header.cp_id = le64_put(le64_get(super->header.cp_id) + 1);
    super->opens = le64_put(le64_get(super->opens) + 1);
    super->feature_incompat = le64_put(le64_get(super->feature_incompat) | DISK_FEATURE_VOLUMES);
    super_set_holder(super);
    int r = checkpoint_write_super(pool, super);
    atomic_store(&pool->cp_id, le64_get(super->header.cp_id) + 1);
    return r;
}

/* What replaying found out. */
static int pool_may_change_recovered(const struct pool *pool)
{
    return atomic_load(&pool->health) >= POOL_READ_ONLY ? -EBADMSG : 0;
}

/* What was recorded by an older version has been replayed as it was made. */
static void pool_modernize(struct pool *pool)
{
    struct disk_super *super = &pool->super;
    super->feature_incompat = le64_put(le64_get(super->feature_incompat) | DISK_FEATURES_ALWAYS);
    pool->splits_narrowly = false;
    catalog_write_twice(pool);
    /* As far as there is room: what is not written anew now is counted again at the next open. */
    struct space_stats stats;
    space_get_stats(pool->space, &stats);
    uint64_t room = stats.free_blks > stats.reserve_blks ? stats.free_blks - stats.reserve_blks : 0;
    list_for_each (line, &pool->lines, struct line, all_link)
    {
        if (!line->is_uncounted || room < 4)
            continue;
        catalog_mark_dirty(pool, &line->object);
        room -= 2;
    }
}

/* The claim wrote two copies of the superblock, the checkpoint behind it the others. */
static void pool_tell_mended(struct pool *pool, unsigned bad_supers)
{
    for (unsigned copy = 0; copy < SUPER_COPIES; copy++)
    {
        if (bad_supers >> copy & 1)
            event_add(pool, "warning", "metadata.repaired", NULL,
                      "copy %u of the superblock, block %" PRIu64
                      ", was damaged; it was written anew from another",
                      copy, super_copy_blk(pool, copy));
    }
}

static int pool_open_parts(struct pool *pool, const struct pool_open_options *options,
                           struct reason *why)
{
    int r = pool_make_parts(pool, options);
    if (r < 0)
        return r;
    r = super_read(pool, &pool->super, why);
    if (r == 0 && !pool->is_read_only)
        r = super_check_holder(&pool->super, pool->options.take_over, why);
    if (r < 0)
        return r;
    pool_take_super(pool);
    if (pool->options.super_only)
        return 0;
    unsigned bad_supers = 0;
    if (pool->options.repair)
        r = repair_begin(pool);
    else if (!pool->is_read_only)
        r = super_find_bad(pool, false, &bad_supers);
    if (r == 0 && !pool->is_read_only)
        r = pool_claim(pool);
    if (r == 0)
        r = space_create(pool, atomic_load(&pool->size_blks), &pool->space);
    if (r == 0)
        r = journal_create(pool, &pool->journal);
    if (r < 0)
        return reason_set(why, r, "pool '%s' cannot be opened: %s", pool->path, strerror(-r));
    pool->is_recovering = true;
    r = pool_load(pool, why);
    pool->is_recovering = false;
    if (r == 0 && pool_may_change_recovered(pool) < 0)
        r = reason_set(why, -EBADMSG,
                       "pool '%s' is damaged: replaying its journal met a contradiction",
                       pool->path);
    if (r < 0 || pool->is_read_only)
        return r;
    space_prepare_area(pool->space);
    pool_modernize(pool);
    r = checkpoint_run(pool);
    if (r < 0)
        return reason_set(why, r, "pool '%s' cannot be written: %s", pool->path, strerror(-r));
    pool_tell_mended(pool, bad_supers);
    jobs_kick_all(pool);
    promise_check_open(pool);
    return 0;
}

int pool_open_device(struct env *env, struct device *device,
                     const struct pool_open_options *options, struct pool **out, struct reason *why)
{
    reason_clear(why);
    CLEANUP(cleanup_pool) struct pool *pool = pool_alloc(env, device);
    if (!pool)
        return -ENOMEM;
    int r = pool_open_parts(pool, options, why);
    if (r < 0)
        return r;
    *out = take_ptr(&pool);
    return 0;
}

int pool_open(struct env *env, const char *path, const struct pool_open_options *options,
              struct pool **pool, struct reason *why)
{
    reason_clear(why);
    struct device_file_options device_options = {
        .read_only = options && (options->read_only || options->super_only)};
    struct device *device;
    int r = device_file_open(path, &device_options, &device, why);
    if (r == -EBUSY)
        return super_explain_busy(path, why);
    if (r < 0)
        return r;
    r = pool_open_device(env, device, options, pool, why);
    if (r < 0)
        device_close(device);
    return r;
}

/* ---- threads, closing ---------------------------------------------------------------------- */

static void pool_stop_checkpoints(struct pool *pool)
{
    {
        AUTO_LOCK(&pool->cp_wait_lock);
        pool->threads_stop = true;
        condition_wake_all(&pool->cp_wake);
    }
    pthread_join(pool->cp_thread, NULL);
    atomic_store(&pool->threads_running, false);
}

/* A fork since the claim has changed the process: whoever finds the pool busy is told the living.
 */
static int pool_claim_again(struct pool *pool)
{
    if (le64_get(pool->super.holder_pid) == (uint64_t)getpid() || pool_may_change(pool) < 0)
        return 0;
    super_set_holder(&pool->super);
    return checkpoint_run(pool);
}

int pool_start(struct pool *pool)
{
    if (pool->is_read_only)
        return 0;
    int r = pool_claim_again(pool);
    if (r < 0)
        return r;
    atomic_store(&pool->threads_running, true);
    r = pthread_create(&pool->cp_thread, NULL, checkpoint_thread, pool);
    if (r != 0)
    {
        atomic_store(&pool->threads_running, false);
        return -r;
    }
    r = pthread_create(&pool->job_thread, NULL, jobs_thread, pool);
    if (r == 0)
        return 0;
    pool_stop_checkpoints(pool);
    return -r;
}

static void pool_stop(struct pool *pool)
{
    scrub_stop(pool);
    if (!atomic_load(&pool->threads_running))
        return;
    {
        AUTO_LOCK(&pool->job_lock);
        pool->job_stop = true;
        condition_wake_all(&pool->job_wake);
        condition_wake_all(&pool->job_stop_wake);
    }
    pthread_join(pool->job_thread, NULL);
    pool_stop_checkpoints(pool);
}

/* Writes that the pool was closed in order and that nobody holds it. */
static int pool_release_claim(struct pool *pool)
{
    struct disk_super *super = &pool->super;
    super->header.cp_id = le64_put(le64_get(super->header.cp_id) + 1);
    super->flags = le32_put(DISK_SUPER_CLEAN);
    super_clear_holder(super);
    return checkpoint_write_super(pool, super);
}

int pool_close(struct pool *pool)
{
    if (!pool)
        return 0;
    pool_stop(pool);
    int r = 0;
    if (pool_may_change(pool) == 0)
    {
        r = checkpoint_run(pool);
        if (r == 0)
            r = pool_release_claim(pool);
    }
    device_close(pool->device);
    pool_free(pool);
    return r;
}

int pool_checkpoint(struct pool *pool)
{
    int r = pool_may_change(pool);
    if (r == 0)
        r = checkpoint_wait(pool);
    pool_note_space(pool);
    return r;
}

int pool_add_feature(struct pool *pool, uint64_t feature)
{
    if (pool->features & feature)
        return 0;
    {
        AUTO_LOCK(&pool->cp_lock);
        pool->super.feature_incompat = le64_put(le64_get(pool->super.feature_incompat) | feature);
    }
    int r = checkpoint_wait(pool);
    if (r == 0)
        pool->features |= feature;
    return r;
}

/* ---- figures ------------------------------------------------------------------------------- */

static void pool_info_sum_luns(struct pool *pool, struct pool_info *info)
{
    rwlock_take_shared(&pool->catalog_lock);
    list_for_each (lun, &pool->luns, struct lun_object, all_link)
    {
        info->logical_bytes += atomic_load(&lun->size_bytes);
        info->mapped_bytes += atomic_load(&lun->line->mapped_blks) * BLK_BYTES;
    }
    list_for_each (line, &pool->lines, struct line, all_link)
    {
        info->hidden_point_count += line_is_hidden_point(line);
        info->dying_count += line->is_dying;
    }
    info->lun_count = pool->lun_count;
    info->volume_count = pool->volume_count;
    info->snapshot_count = pool->snapshot_count;
    info->line_count = pool->line_count;
    rwlock_release(&pool->catalog_lock);
}

void pool_get_info(struct pool *pool, struct pool_info *info)
{
    pool_note_space(pool);
    struct space_stats space;
    struct journal_stats journal;
    struct cache_stats cache;
    space_get_stats(pool->space, &space);
    journal_get_stats(pool->journal, &journal);
    cache_get_stats(pool->cache, &cache);
    uint64_t usable =
        space.free_blks > space.reserve_blks ? space.free_blks - space.reserve_blks : 0;
    *info = (struct pool_info){
        .health = (enum pool_health)atomic_load(&pool->health),
        .read_only = pool->is_read_only,
        .size_bytes = atomic_load(&pool->size_blks) * BLK_BYTES,
        .free_bytes = usable * BLK_BYTES,
        .deferred_bytes = space.deferred_blks * BLK_BYTES,
        .metadata_bytes = (space.fixed_blks + space.node_blks) * BLK_BYTES,
        .data_bytes = space.data_blks * BLK_BYTES,
        .reserve_bytes = space.reserve_blks * BLK_BYTES,
        .checkpoint_id = atomic_load(&pool->cp_id) - 1,
        .journal_used_bytes = journal.used_bytes,
        .journal_size_bytes = journal.half_bytes,
        .dirty_nodes = cache.dirty + cache.writing,
        .cached_nodes = cache.total,
        .cache_hits = cache.hits,
        .cache_misses = cache.misses,
        .checkpoint_count = atomic_load(&pool->cp_count),
        .commit_count = journal.commits,
        .sync_count = atomic_load(&pool->sync_count),
        .created_ns = pool->created_ns,
        .opened_ns = pool->opened_ns,
        .open_for_ns = env_passed_ns(pool->env) - pool->opened_passed_ns,
    };
    snprintf(info->name, sizeof(info->name), "%s", pool->name);
    snprintf(info->path, sizeof(info->path), "%s", pool->path);
    memcpy(info->uuid, pool->uuid, sizeof(info->uuid));
    promise_fill_pool(pool, info);
    pool_info_sum_luns(pool, info);
}
