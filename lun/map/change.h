/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One change of metadata on its way: what is pinned for it, and how it is carried out.
 *
 * Everything that changes metadata is a *record*: a list of actions (pool/record.h). It is prepared
 * (nodes are found and pinned, room is counted; this may fail and changes nothing), then applied
 * (cannot fail), then appended to the journal. change_run() does all three, with the right locks.
 */
#ifndef LUN_MAP_CHANGE_H
#define LUN_MAP_CHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "lun/pool/space.h"
#include "lun/pool/tree.h"

struct lun_object;
struct pool;
struct writer;

struct change
{
    struct pool *pool;
    struct tree_op map;   /* pins of extent maps */
    struct tree_op drops; /* pins of drop lists; its nodes are all own */
    uint64_t nodes;       /* how many nodes applying may make */
    uint64_t drop_inserts;
    enum space_use use; /* as its blocks were taken */
    uint64_t pages;     /* of the catalog: so many more may need to be written */
    struct placements placements;
};

void change_init(struct change *change, struct pool *pool);
void change_finish(struct change *change);
#define AUTO_CHANGE CLEANUP(change_finish)

enum change_mode
{
    CHANGE_IO,         /* a host's write or unmap on one LUN: gate shared, the LUN's map_lock */
    CHANGE_MANAGEMENT, /* gate exclusive; management and the ranges concerned are the caller's */
};

/*
 * Prepares, applies and appends @actions. @lun: with CHANGE_IO the LUN whose map changes.
 * @use: for whom nodes are taken; SPACE_FREEING is for what gives space back.
 * -EAGAIN, -ERESTART: the caller lets go of its ranges, waits (checkpoint_retry()), decides anew.
 * -ENOSPC. Errors leave everything as it was.
 */
MUST_CHECK int change_run(struct pool *pool, enum change_mode mode, struct lun_object *lun,
                          const void *actions, size_t len, enum space_use use);

/* change_run() for commands and jobs: waits for checkpoints by itself. Holding ranges is allowed
 * here: a checkpoint never waits for one. */
MUST_CHECK int change_run_waiting(struct pool *pool, enum change_mode mode, struct lun_object *lun,
                                  const void *actions, size_t len, enum space_use use);

/*
 * Room for a record that is taken before the LUNs it is about are drained, so that nothing is
 * waited for while they are. For records of commands, which touch no tree.
 */
struct change_room
{
    struct pool *pool; /* NULL: none was taken */
    size_t bytes;
    uint64_t nodes;
    uint64_t pages, page_blks; /* that the next checkpoint writes and takes for it */
    enum space_use use;
};

/* Room for a record of @bytes: @actions, in which ids may still be missing; waits for checkpoints
 * by itself. */
MUST_CHECK int change_room_take(struct change_room *room, struct pool *pool,
                                const struct writer *actions, size_t bytes, enum space_use use);
/* As change_run() with CHANGE_MANAGEMENT, but waits for nothing except locks. */
MUST_CHECK int change_run_in_room(struct change_room *room, const void *actions, size_t len);
void change_room_leave(struct change_room *room);
#define AUTO_CHANGE_ROOM CLEANUP(change_room_leave)

#endif
