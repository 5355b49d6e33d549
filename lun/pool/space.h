/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which blocks of the pool are in use.
 *
 * A block is *allocated* when the next checkpoint will say so, and *busy* when it may not be handed
 * out: it is allocated, or taken for a write in flight, or was freed since the last checkpoint (a
 * crash goes back to metadata that still reads it), or freed while a read may still look at it.
 *
 * Data may not take the last blocks: a reserve is kept for metadata, so that deletes and
 * checkpoints work on a full pool. As many blocks behind the journal are the *node area*: nodes go
 * there first, data last, and its room is taken from the file system below, so that they also work
 * when that is full. Nor may what nobody was promised take what others were: it is left enough of
 * what is free and what will be free after the next checkpoint. All functions are thread-safe.
 */
#ifndef LUN_POOL_SPACE_H
#define LUN_POOL_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "lun/pool/format.h"

struct device;
struct pool;
struct reach;
struct space;

/* For whom blocks are taken, and so what must be left. */
enum space_use
{
    SPACE_THIN,     /* nobody promised it: reserve and promises stay */
    SPACE_FREEING,  /* gives space back: may use the reserve, nodes only */
    SPACE_PROMISED, /* it was promised (volume/promise.h): the reserve stays */
    SPACE_URGENT,   /* the same, once a checkpoint did not help: may use a part of the reserve */
    SPACE_SETTINGS, /* configuration: may use a part of the reserve, and leaves what frees enough */
};

MUST_CHECK int space_create(struct pool *pool, uint64_t size_blks, struct space **space);
void space_destroy(struct space *space);

/* Reads the tables that @super names; bitmaps come when they are needed. */
MUST_CHECK int space_load(struct space *space, const struct disk_super *super);

/* What space_rebuild() found. */
struct space_rebuilt
{
    uint64_t lost_groups, first_lost; /* their bitmaps cannot be read */
    uint64_t missing_blks;            /* in use, and were marked free */
    uint64_t leaked_blks;             /* the other way round */
};

/*
 * A repair, before the journal is replayed or with nothing but the repair's own changes since the
 * last checkpoint: makes the bitmaps anew from @reach, a bit for each block of the pool that
 * something refers to. What a bitmap that can be read has as used is not taken until the pool is
 * opened again. If the trees could not be read as a whole, it stays marked used for good but for
 * what was given up, and so does all of a group without a bitmap.
 */
MUST_CHECK int space_rebuild(struct space *space, const struct reach *reach,
                             struct space_rebuilt *result);

/* Before space_pin_replayed(): what a record names was free, whatever a bitmap made anew says. */
void space_rebuild_room(struct space *space, const struct reach *reach, uint64_t blk, uint64_t len);

/* The bitmap of group @g as the checkpoint has it, one bit for each block; @bits has room for
 * DISK_GROUP_BLKS_MAX. -EBADMSG: it is damaged, or its table is. */
MUST_CHECK int space_read_group(struct space *space, uint64_t g, uint64_t *bits);

/* Blocks that whole groups cover, on a device of @size_blks: there are no short groups. */
uint64_t space_usable_blks(uint64_t size_blks, uint32_t group_blks);

/* The fixed blocks: heads of groups, journal. Called by pool_create for the first image. */
uint64_t space_journal_first_blk(void);

/* What decides where things are in a pool. */
struct space_shape
{
    uint64_t size_blks; /* of whole groups */
    uint32_t group_blks;
    uint64_t journal_half_blks;
};

/* Takes room from the file system below, if that gives any before something is written. */
MUST_CHECK int space_allocate_range(struct device *device, uint64_t len, uint64_t offset);

/* What must always be writable: heads of the groups from @first_group on, journal, node area.
 * Calls @fn for each range until it fails. */
typedef int space_range_fn(void *opaque, uint64_t len_bytes, uint64_t offset_bytes);
MUST_CHECK int space_each_fixed(const struct space_shape *shape, uint64_t first_group,
                                space_range_fn *fn, void *opaque);

/* Takes room for all of that. -ENOSPC: there is none. */
MUST_CHECK int space_allocate(struct device *device, const struct space_shape *shape,
                              uint64_t first_group);

/*
 * Makes the node area ready: its bitmaps in memory, its room taken where an older pool or a copy
 * of the file has none. What of it fails makes a full file system below less well survived.
 */
void space_prepare_area(struct space *space);

/*
 * Gives the room of blocks of [blk, blk + len) that are free back to the file system below, but not
 * of the node area. Leaves out what it cannot take for a moment without taking others' last.
 */
void space_discard_free(struct space *space, uint64_t blk, uint64_t len);

/*
 * The first free blocks at *blk or behind, before @end: sets *blk, and *len to how many, at most
 * @max. *len 0: there are none. They are not taken, so a moment later they may be another's.
 */
MUST_CHECK int space_find_free(struct space *space, uint64_t *blk, uint64_t end, uint64_t max,
                               uint64_t *len);
/* Takes [blk, blk + len) as far as it is free, for a moment; space_cancel() follows. 0: @blk is in
 * use, or (*is_crowded) others may need every block that is free. */
uint64_t space_take_free(struct space *space, uint64_t blk, uint64_t len, bool *is_crowded);
bool space_is_in_area(const struct space *space, uint64_t blk);

/* Whether data or metadata can be there: in one group of the pool, behind the fixed blocks. */
bool space_may_hold(const struct pool *pool, uint64_t blk, uint64_t len);

/*
 * Takes up to @want contiguous blocks near @hint, busy but not yet allocated: space_commit() or
 * space_cancel() follows. -EAGAIN: there will be some after a checkpoint. -ENOSPC: full, or all
 * that is left is promised to others.
 */
MUST_CHECK int space_take(struct space *space, enum space_use use, uint64_t hint, uint64_t want,
                          uint64_t *blk, uint64_t *got);
void space_cancel(struct space *space, uint64_t blk, uint64_t len);

/* space_cancel() in the form of a record_blocks_fn; @opaque is the space. */
int space_cancel_cb(void *opaque, uint64_t blk, uint64_t len);

static inline bool space_use_is_promised(enum space_use use)
{
    return use == SPACE_PROMISED || use == SPACE_URGENT;
}

/*
 * Blocks that were taken with @use are on their way no more: they are going to be committed or
 * cancelled now. While they are, a promise is not counted once more for what is there already for
 * it.
 */
void space_arrive(struct space *space, enum space_use use, uint64_t blks);

/* Whoever takes without a hint begins at @blk or behind: what is before it is a LUN's window. */
void space_advance(struct space *space, uint64_t blk);

/* Whoever takes without a hint begins at the start again. */
void space_rewind(struct space *space);

/* Taken blocks become allocated, as data. From apply(): cannot fail. */
void space_commit(struct space *space, uint64_t blk, uint64_t len);

/* One block for a tree node or page, allocated at once. From apply(): cannot fail after
 * space_admit(). */
uint64_t space_take_node(struct space *space);
/* The same for a second copy of what is at @from: as far from it as half of the node area is large,
 * or in another group; nearer only if nothing else is left. */
uint64_t space_take_node_far(struct space *space, uint64_t from);
/* Without admission: 0 if there is none in the groups that are loaded. */
uint64_t space_try_node(struct space *space);

/* Replay: the same, a given block that space_pin_replayed() has pinned. */
void space_take_node_at(struct space *space, uint64_t blk);

/* Frees blocks; they can be taken again after the next checkpoint. */
void space_free(struct space *space, uint64_t blk, uint64_t len, bool is_node);

/*
 * Asks for room for @nodes new nodes in apply(); space_leave() gives back what is asked for after
 * it. -EAGAIN: after a checkpoint. -ENOSPC.
 */
MUST_CHECK int space_admit(struct space *space, uint64_t nodes, enum space_use use);
/* The same for a caller who is admitted for @held already, and keeps them. */
MUST_CHECK int space_admit_more(struct space *space, uint64_t nodes, uint64_t held,
                                enum space_use use);
void space_leave(struct space *space, uint64_t nodes);

/*
 * How many blocks are promised and not taken yet. Who frees a block of which a promise then needs
 * one more sets it before, who takes a promised block sets it after, so that nobody sees more room
 * than there is. space_raise_promised(): only if there is as much beyond all that is promised, kept
 * and asked for, with @margin blocks to spare; else -ENOSPC. *available: how many there were.
 */
void space_set_promised(struct space *space, uint64_t blks);
MUST_CHECK int space_raise_promised(struct space *space, uint64_t blks, uint64_t margin,
                                    uint64_t *available);

/* Blocks that the next checkpoint's switch will take itself (pages and their tree). */
void space_owe(struct space *space, uint64_t blks);

/* Replay: nobody may get these blocks before the record that names them is applied, which
 * space_commit()s them. -EBADMSG if one is allocated already or outside the pool. */
MUST_CHECK int space_pin_replayed(struct space *space, uint64_t blk, uint64_t len);
/* Before a checkpoint takes what it owes and @inner_nodes of its trees: the bitmaps that these will
 * be taken from are in memory. -ENOSPC: SPACE_FREEING was to leave room for them. */
MUST_CHECK int space_prepare_pages(struct space *space, uint64_t inner_nodes);

/* Before the switch of a checkpoint, once outside the gate and once inside: reads the bitmaps in
 * which something was freed unread, and gets memory for space_switch(). */
MUST_CHECK int space_prepare_switch(struct space *space);
/* Then, for what the switch itself is going to free: the bitmap of block @blk is in memory. */
MUST_CHECK int space_prepare_free(struct space *space, uint64_t blk);
/*
 * Once pages took their blocks and freed others, which nothing undoes, and so dirtied more bitmaps:
 * those that space_switch() has no memory for are written here and now. Inside the gate, so that
 * they stay as they are. Takes no memory that it cannot do without.
 */
MUST_CHECK int space_write_excess(struct space *space, uint64_t cp_id);
/* The switch: copies what must be written. Cannot fail. */
void space_switch(struct space *space, uint64_t cp_id);
/* Writes bitmaps and tables to their other slots, and fills in @super's tables and counts. */
MUST_CHECK int space_write(struct space *space, struct disk_super *super);
/* The checkpoint is durable and reads have drained: what was freed before its switch is free. */
void space_release_deferred(struct space *space, bool discard);

/* A checkpoint after one delete may have to write @blks of catalog: so much more than what jobs and
 * settings may need is kept. From apply(). */
void space_keep_for_catalog(struct space *space, uint64_t blks);

/* What a pool of @size_blks keeps for deletes and checkpoints, with a small catalog. */
uint64_t space_reserve_of(uint64_t size_blks);
/* The pool has grown; the new groups can be used once it is done. Until then it can be undone. */
MUST_CHECK int space_grow(struct space *space, uint64_t size_blks);
void space_grow_undo(struct space *space);
void space_grow_done(struct space *space);

struct space_stats
{
    uint64_t total_blks; /* of all groups */
    uint64_t fixed_blks; /* heads of groups, journal */
    uint64_t data_blks, node_blks;
    uint64_t free_blks; /* not busy */
    uint64_t deferred_blks;
    uint64_t reserve_blks;
    uint64_t promised_blks;
    uint64_t taken_blks; /* on their way into maps */
    uint64_t asked_blks; /* for nodes of changes that are under way, and by the next checkpoint */
};
void space_get_stats(struct space *space, struct space_stats *stats);

/* How many nodes may be dirty before a checkpoint must be over (bounded by the reserve). */
uint64_t space_dirty_limit(struct space *space);

/* For the check: whether a block is allocated. May read. */
MUST_CHECK int space_is_allocated(struct space *space, uint64_t blk, bool *is_allocated);

#endif
