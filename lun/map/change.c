/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/map/change.h"

#include <errno.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "lun/map/memo.h"
#include "lun/pool/checkpoint.h"
#include "lun/pool/pool_internal.h"
#include "lun/pool/record.h"
#include "lun/volume/catalog.h"
#include "lun/volume/ledger.h"

enum
{
    CHANGE_NODES_FIRST = 48, /* room asked for before it is known what is needed */
    CHANGE_NODES_FEW = 8,    /* the same of a full pool */
};

void change_init(struct change *change, struct pool *pool)
{
    *change = (struct change){.pool = pool};
    tree_op_init(&change->map, pool);
    tree_op_init(&change->drops, pool);
    change->map.placements = change->drops.placements = &change->placements;
}

void change_finish(struct change *change)
{
    tree_op_finish(&change->map);
    tree_op_finish(&change->drops);
    placements_destroy(&change->placements);
}

static void change_lock(struct pool *pool, enum change_mode mode, struct lun_object *lun)
{
    if (mode == CHANGE_IO)
        rwlock_take_shared(&pool->cp_gate);
    else
        rwlock_take_exclusive(&pool->cp_gate);
    if (lun)
    {
        lock_take(&lun->map_lock);
        memo_step(&lun->memo); /* nobody looks at the map until the lock is released */
    }
    if (mode == CHANGE_MANAGEMENT)
        rwlock_take_exclusive(&pool->catalog_lock);
}

static void change_unlock(struct pool *pool, enum change_mode mode, struct lun_object *lun)
{
    if (mode == CHANGE_MANAGEMENT)
        rwlock_release(&pool->catalog_lock);
    if (lun)
        lock_release(&lun->map_lock);
    rwlock_release(&pool->cp_gate);
}

/* With the locks: 0 applied; -EAGAIN with a missing node; -EOVERFLOW: more room is needed. */
static int change_try(struct change *change, enum change_mode mode, const struct lun_object *lun,
                      const void *actions, size_t len, enum space_use use, uint64_t admitted)
{
    struct pool *pool = change->pool;
    struct ledger_claim claim = {0};
    int r = pool_may_change(pool);
    if (r == 0)
        r = record_prepare(change, actions, len);
    if (r < 0)
        return r;
    if (change->nodes > admitted)
        return -EOVERFLOW;
    if (mode == CHANGE_IO && use != SPACE_FREEING)
        r = ledger_take(pool, lun, change->nodes, &claim);
    if (r < 0)
        return r;
    uint64_t pages = 0;
    if (mode == CHANGE_MANAGEMENT)
    {
        pages = pool->dirty_page_count; /* of whom the catalog's lock is */
        ledger_book_begin(pool);
    }
    r = record_apply(change, actions, len);
    if (mode == CHANGE_MANAGEMENT)
        ledger_let_go(pool);
    if (r < 0)
    {
        /* Prepared by us for this state, so what it was prepared from contradicts itself. */
        pool_degrade(pool, POOL_READ_ONLY, "metadata contradicts itself", -EBADMSG);
        return -EBADMSG;
    }
    INVARIANT(change->placements.count <= admitted);
    DEBUG_INVARIANT(mode == CHANGE_IO || pool->dirty_page_count <= pages + change->pages);
    journal_append(pool->journal, actions, len, change->placements.blks, change->placements.count,
                   mode == CHANGE_MANAGEMENT);
    ledger_give(pool, &claim);
    return 0;
}

static int change_load_missing(struct change *change)
{
    struct tree_op *op = change->map.missing.blk ? &change->map : &change->drops;
    INVARIANT(op->missing.blk != 0);
    return tree_op_load(op);
}

/* Room for nodes, beside @held that we have: blocks, and their places in the record. */
static int change_admit(struct pool *pool, uint64_t nodes, uint64_t held, enum space_use use)
{
    int r = journal_admit(pool->journal, nodes * sizeof(struct le64));
    if (r < 0)
        return r;
    r = space_admit_more(pool->space, nodes, held, use);
    if (r < 0)
        journal_leave(pool->journal, nodes * sizeof(struct le64));
    return r;
}

static void change_leave(struct pool *pool, uint64_t nodes)
{
    space_leave(pool->space, nodes);
    journal_leave(pool->journal, nodes * sizeof(struct le64));
}

/* The same before it is known how many nodes it takes. *nodes: for so many. */
static int change_admit_first(struct pool *pool, enum space_use use, uint64_t *nodes)
{
    /* In need, not one more than it may take, though it costs a second look. */
    *nodes = use == SPACE_URGENT ? 0 : CHANGE_NODES_FIRST;
    int r = use == SPACE_SETTINGS ? -ENOSPC : change_admit(pool, *nodes, 0, use);
    if (r != -ENOSPC || (use != SPACE_FREEING && use != SPACE_SETTINGS))
        return r;
    *nodes = CHANGE_NODES_FEW;
    return change_admit(pool, *nodes, 0, use);
}

/* What is there already need not be asked for. */
static void change_use_spare(uint64_t *needed, uint64_t *spare)
{
    uint64_t used = min_u64(*needed, *spare);
    *needed -= used;
    *spare -= used;
}

/*
 * Room for the pages of the catalog that the next checkpoint writes for this record, beside @held
 * nodes, in both copies, and for the leaves that lead to them. What is only moved is free again
 * afterwards, so the reserve is there for it. What is added stays, and the reserve grows with it:
 * only a delete may take that from the reserve. Records that change pages make few nodes: what else
 * is held does for pages, too. *blks: how many; the caller gives them back once they are owed.
 */
static int change_admit_pages(struct pool *pool, const void *actions, size_t len, uint64_t held,
                              enum space_use use, uint64_t *count, uint64_t *blks)
{
    struct record_pages pages;
    record_count_pages(pool, actions, len, &pages);
    *count = pages.changed + pages.added;
    *blks = 0;
    uint64_t used = pool->used_page_count, all = pool->page_count;
    uint64_t stays = catalog_blks_to_write(used + pages.added, all + pages.added) -
                     catalog_blks_to_write(used, all);
    uint64_t written = catalog_blks_to_write(*count, all + pages.added);
    uint64_t moved = written - min_u64(written, stays);
    uint64_t made = 2 * stays, spare = held - min_u64(held, CHANGE_NODES_FEW);
    change_use_spare(&made, &spare);
    change_use_spare(&moved, &spare);
    if (use == SPACE_FREEING && !pages.has_deletes)
        use = SPACE_SETTINGS;
    int r = space_admit_more(pool->space, made, held, use);
    if (r < 0)
        return r;
    r = space_admit_more(pool->space, moved, held + made, SPACE_FREEING);
    if (r < 0)
        space_leave(pool->space, made);
    else
        *blks = moved + made;
    return r;
}

static int change_run_admitted(struct change *change, enum change_mode mode, struct lun_object *lun,
                               const void *actions, size_t len, enum space_use use,
                               uint64_t *admitted)
{
    struct pool *pool = change->pool;
    for (;;)
    {
        change_lock(pool, mode, lun);
        int r = change_try(change, mode, lun, actions, len, use, *admitted);
        change_unlock(pool, mode, lun);
        if (r == -EOVERFLOW)
        {
            uint64_t more = change->nodes - *admitted;
            r = change_admit(pool, more, *admitted, use);
            if (r < 0)
                return r;
            *admitted += more;
        }
        else if (r == -EAGAIN)
        {
            r = change_load_missing(change);
            if (r < 0)
                return r;
        }
        else
        {
            return r;
        }
    }
}

int change_run(struct pool *pool, enum change_mode mode, struct lun_object *lun,
               const void *actions, size_t len, enum space_use use)
{
    int r = cache_reserve(pool->cache, 16);
    if (r == 0)
        r = journal_admit(pool->journal, len + JOURNAL_RECORD_BYTES);
    if (r < 0)
        return r;
    uint64_t admitted, page_blks = 0;
    r = change_admit_first(pool, use, &admitted);
    if (r == 0)
    {
        AUTO_CHANGE struct change change;
        change_init(&change, pool);
        change.use = use;
        if (mode == CHANGE_MANAGEMENT)
            r = change_admit_pages(pool, actions, len, admitted, use, &change.pages, &page_blks);
        if (r == 0)
            r = change_run_admitted(&change, mode, lun, actions, len, use, &admitted);
        change_leave(pool, admitted);
        space_leave(pool->space, page_blks);
    }
    journal_leave(pool->journal, len + JOURNAL_RECORD_BYTES);
    if (r == 0)
        checkpoint_hint(pool);
    return r;
}

int change_run_waiting(struct pool *pool, enum change_mode mode, struct lun_object *lun,
                       const void *actions, size_t len, enum space_use use)
{
    unsigned tries = CHECKPOINT_TRIES;
    for (;;)
    {
        int r = checkpoint_throttle(pool);
        if (r == 0)
            r = change_run(pool, mode, lun, actions, len, use);
        if (!checkpoint_may_retry(r))
            return r;
        r = checkpoint_retry(pool, r, &tries);
        if (r < 0)
            return r;
    }
}

/* ---- room beforehand ----------------------------------------------------------------------- */

static int change_room_try(struct change_room *room, const struct writer *actions)
{
    struct pool *pool = room->pool;
    int r = cache_reserve(pool->cache, 16);
    if (r == 0)
        r = journal_admit(pool->journal, room->bytes + JOURNAL_RECORD_BYTES);
    if (r < 0)
        return r;
    r = change_admit_first(pool, room->use, &room->nodes);
    if (r == 0)
    {
        r = change_admit_pages(pool, actions->bytes, actions->len, room->nodes, room->use,
                               &room->pages, &room->page_blks);
        if (r < 0)
            change_leave(pool, room->nodes);
    }
    if (r < 0)
        journal_leave(pool->journal, room->bytes + JOURNAL_RECORD_BYTES);
    return r;
}

int change_room_take(struct change_room *room, struct pool *pool, const struct writer *actions,
                     size_t bytes, enum space_use use)
{
    unsigned tries = CHECKPOINT_TRIES;
    struct change_room taken = {.pool = pool, .bytes = bytes, .use = use};
    int r = checkpoint_throttle(pool);
    while (r == 0 && (r = change_room_try(&taken, actions)) < 0)
    {
        if (!checkpoint_may_retry(r))
            return r;
        r = checkpoint_retry(pool, r, &tries);
    }
    if (r < 0)
        return r;
    *room = taken;
    return 0;
}

int change_run_in_room(struct change_room *room, const void *actions, size_t len)
{
    INVARIANT(len <= room->bytes);
    AUTO_CHANGE struct change change;
    change_init(&change, room->pool);
    change.pages = room->pages;
    return change_run_admitted(&change, CHANGE_MANAGEMENT, NULL, actions, len, room->use,
                               &room->nodes);
}

void change_room_leave(struct change_room *room)
{
    if (!room->pool)
        return;
    change_leave(room->pool, room->nodes);
    space_leave(room->pool->space, room->page_blks);
    journal_leave(room->pool->journal, room->bytes + JOURNAL_RECORD_BYTES);
    checkpoint_hint(room->pool);
    room->pool = NULL;
}
