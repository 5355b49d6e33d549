/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/pool/checkpoint.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "lun/base/log.h"
#include "lun/pool/pool_internal.h"
#include "lun/pool/super.h"
#include "lun/pool/wipe.h"
#include "lun/volume/catalog.h"
#include "lun/volume/lun_internal.h"

/* ---- superblock ---------------------------------------------------------------------------- */

int checkpoint_write_super(struct pool *pool, struct disk_super *super)
{
    uint64_t cp_id = le64_get(super->header.cp_id);
    for (unsigned i = 0; i < 2; i++)
    {
        uint64_t blk = super_copy_blk(pool, 2 * i + (unsigned)(cp_id & 1));
        disk_header_seal(pool, &super->header, DISK_MAGIC_SUPER, blk, cp_id);
        int r = device_write(pool->device, super, BLK_BYTES, blk * BLK_BYTES);
        if (r < 0)
            return r;
        r = pool_sync(pool);
        if (r < 0)
            return r;
    }
    atomic_store(&pool->durable_cp_id, cp_id);
    return 0;
}

/* ---- one checkpoint ------------------------------------------------------------------------ */

static void checkpoint_fill_super(struct pool *pool, struct disk_super *super, uint64_t cp_id)
{
    super->header.cp_id = le64_put(cp_id);
    super->size_blks = le64_put(atomic_load(&pool->size_blks));
    super->generation = le32_put(pool->generation);
    super->next_id = le64_put(pool->next_id);
    super->page_count = le64_put(pool->page_count);
    tree_to_disk(&pool->pages_trees[0], &super->pages);
    tree_to_disk(&pool->pages_trees[1], &super->pages_twin);
    super->flags = le32_put(0);
}

/* What the trees of pages may take beside one leaf for each page: their paths, divided once. */
static uint64_t checkpoint_inner_nodes(const struct pool *pool)
{
    uint64_t nodes = 0;
    for (unsigned copy = 0; copy < PAGE_COPIES; copy++)
        nodes += UINT64_C(2) * (pool->pages_trees[copy].levels + 1u);
    return nodes;
}

/* With the gate held: everything that is dirty becomes the checkpoint's. -EAGAIN with op->missing;
 * -ENOMEM: nothing has become anything, save that memory is there for the next attempt. */
static int checkpoint_switch(struct pool *pool, struct tree_op *op, struct disk_super *super)
{
    int r = catalog_prepare_switch(pool, op);
    if (r == 0)
        r = space_prepare_pages(pool->space, checkpoint_inner_nodes(pool));
    if (r == 0)
        r = space_prepare_switch(pool->space);
    if (r < 0)
        return r;
    catalog_switch(pool, op);
    uint64_t cp_id = atomic_load(&pool->cp_id);
    r = space_write_excess(pool->space, cp_id);
    if (r == 0)
        r = pool_may_change(
            pool); /* a bitmap that was read just now may contradict what was freed */
    if (r < 0)
        return r == -EAGAIN || r == -ENOMEM ? -EIO : r;
    checkpoint_fill_super(pool, super, cp_id);
    cache_begin_writing(pool->cache);
    journal_switch(pool->journal, super);
    space_switch(pool->space, cp_id);
    atomic_store(&pool->cp_id, cp_id + 1);
    return 0;
}

static int checkpoint_switch_loading(struct pool *pool, struct disk_super *super)
{
    AUTO_TREE_OP struct tree_op op;
    tree_op_init(&op, pool);
    op.birth = 1;
    for (;;)
    {
        op.missing.blk = 0;
        rwlock_take_exclusive(&pool->cp_gate);
        int r = checkpoint_switch(pool, &op, super);
        rwlock_release(&pool->cp_gate);
        if (r != -EAGAIN || op.missing.blk == 0)
            return r;
        r = tree_op_load(&op);
        if ((r == -EBADMSG || r == -EIO) && op.missing_kind == DISK_TREE_PAGES)
        {
            rwlock_take_exclusive(&pool->cp_gate);
            r = catalog_lose_index(pool, pool->index_at);
            rwlock_release(&pool->cp_gate);
        }
        if (r < 0)
            return r;
    }
}

static int checkpoint_write(struct pool *pool, struct disk_super *super)
{
    int r = cache_write(pool->cache);
    if (r == 0)
        r = catalog_write(pool);
    if (r == 0)
        r = space_write(pool->space, super);
    if (r == 0)
        r = pool_sync(pool);
    if (r == 0)
        r = checkpoint_write_super(pool, super);
    return r;
}

int checkpoint_run_locked(struct pool *pool)
{
    int r = pool_may_change(pool);
    if (r < 0)
        return r;
    r = journal_commit_group(pool->journal);
    if (r == 0 || r == -EMSGSIZE)
        r = space_prepare_switch(pool->space);
    if (r == 0)
        r = catalog_make_room(pool);
    if (r < 0)
        return r;
    AUTO_FREE struct disk_super *super = aligned_alloc(BLK_BYTES, BLK_BYTES);
    if (!super)
        return -ENOMEM;
    *super = pool->super;
    r = checkpoint_switch_loading(pool, super);
    if (r == -ENOMEM)
        return r;
    if (r == 0)
        r = checkpoint_write(pool, super);
    if (r == -ENOMEM)
        r = -EIO; /* the kernel's, for a write: all that is ours was had before the switch */
    if (r < 0)
    {
        pool_degrade(pool, POOL_READ_ONLY, "a checkpoint could not be written", r);
        return r;
    }
    pool->super = *super;
    journal_switch_done(pool->journal);
    epoch_drain(pool);
    space_release_deferred(pool->space,
                           !pool->options.no_discard && !atomic_load(&pool->keeps_space));
    atomic_fetch_add(&pool->cp_count, 1);
    io_wake(pool);
    return 0;
}

int checkpoint_run(struct pool *pool)
{
    AUTO_LOCK(&pool->cp_lock);
    return checkpoint_run_locked(pool);
}

int checkpoint_wipe_journal(struct pool *pool)
{
    AUTO_LOCK(&pool->cp_lock); /* one in between would turn the halves round */
    int r = 0;
    for (unsigned half = 0; r == 0 && half < 2; half++)
    {
        r = checkpoint_run_locked(pool);
        if (r == 0)
            r = journal_wipe_unused(pool->journal);
    }
    return r == 0 ? pool_sync(pool) : r;
}

/* ---- the thread ---------------------------------------------------------------------------- */

void checkpoint_request(struct pool *pool)
{
    AUTO_LOCK(&pool->cp_wait_lock);
    if (pool->cp_requested > pool->cp_completed)
        return; /* one is on its way or asked for already */
    pool->cp_requested++;
    condition_wake_all(&pool->cp_wake);
}

int checkpoint_wait(struct pool *pool)
{
    lock_take(&pool->cp_wait_lock);
    if (!pool->threads_running)
    {
        lock_release(&pool->cp_wait_lock);
        return checkpoint_run(pool);
    }
    /* The one that runs now may have begun before the call: the one after it counts. */
    uint64_t wanted = pool->cp_completed + (pool->cp_running ? 2 : 1);
    if (pool->cp_requested < wanted)
        pool->cp_requested = wanted;
    condition_wake_all(&pool->cp_wake);
    while (pool->cp_completed < wanted && pool->cp_error == 0)
        condition_wait(&pool->cp_done, &pool->cp_wait_lock);
    int r = pool->cp_done_well >= wanted ? 0 : keep_first(pool->cp_error, -ENOMEM);
    lock_release(&pool->cp_wait_lock);
    return r;
}

int checkpoint_retry(struct pool *pool, int r, unsigned *tries)
{
    if (r == -EAGAIN && (*tries)-- <= 1)
        return -ENOSPC;
    return checkpoint_wait(pool);
}

void checkpoint_hint(struct pool *pool)
{
    if (!journal_wants_checkpoint(pool->journal) &&
        cache_dirty_count(pool->cache) < space_dirty_limit(pool->space) / 2)
        return;
    if (pool->threads_running)
        checkpoint_request(pool);
}

int checkpoint_throttle(struct pool *pool)
{
    if (cache_dirty_count(pool->cache) < space_dirty_limit(pool->space))
        return 0;
    return checkpoint_wait(pool);
}

void *checkpoint_thread(void *opaque)
{
    struct pool *pool = opaque;
    lock_take(&pool->cp_wait_lock);
    while (!pool->threads_stop)
    {
        if (pool->cp_requested <= pool->cp_completed)
        {
            bool woken =
                condition_wait_ms(&pool->cp_wake, &pool->cp_wait_lock, pool->options.checkpoint_ms);
            if (woken || pool->threads_stop)
                continue;
            /* The journal's lock comes before this one. */
            lock_release(&pool->cp_wait_lock);
            uint64_t seq = journal_last_seq(pool->journal);
            lock_take(&pool->cp_wait_lock);
            if (seq == pool->cp_last_seq || pool->cp_error != 0)
                continue; /* nothing changed */
            pool->cp_requested = max_u64(pool->cp_requested, pool->cp_completed + 1);
        }
        pool->cp_running = true;
        lock_release(&pool->cp_wait_lock);
        uint64_t last_seq = journal_last_seq(pool->journal);
        int r = checkpoint_run(pool);
        lock_take(&pool->cp_wait_lock);
        pool->cp_running = false;
        pool->cp_completed++;
        if (r == 0)
        {
            pool->cp_last_seq = last_seq;
            pool->cp_done_well = pool->cp_completed;
        }
        else if (r != -ENOMEM) /* that has changed nothing, and may be over by the next one */
            pool->cp_error = r;
        condition_wake_all(&pool->cp_done);
    }
    lock_release(&pool->cp_wait_lock);
    return NULL;
}
