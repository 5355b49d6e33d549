/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checkpoints: the atomic step from one on-disk state of all metadata to the next.
 *
 *   1. commit the journal (so that nobody writes into the half that is taken next);
 *   2. the switch, with the CP gate held exclusively, for moments: dirty nodes, objects and bitmaps
 *      become the checkpoint's, journal and deferred frees begin anew;
 *   3. write them to new places, sync; the superblock to one copy, sync; to another, sync;
 *   4. free what was freed before the switch, once no read can see it any more.
 *
 * A failed write before the superblock leaves the checkpoint before it in force, and the pool
 * read-only; a failed sync makes it FAILED. All memory is had before the switch: without it there
 * is no checkpoint, and a later one makes up for it.
 */
#ifndef LUN_POOL_CHECKPOINT_H
#define LUN_POOL_CHECKPOINT_H

#include <errno.h>
#include <stdbool.h>

#include "lun/base/err.h"
#include "lun/pool/format.h"

struct pool;

/* Makes one, in this thread. Takes pool->cp_lock. -ENOMEM: nothing was begun, and the pool is as it
 * was; once writing has begun it takes no more memory. */
MUST_CHECK int checkpoint_run(struct pool *pool);
/* The same with pool->cp_lock held. */
MUST_CHECK int checkpoint_run_locked(struct pool *pool);

/* Waits for one that begins after the call; makes it itself when there is no thread for it. What
 * made one fail is an error of all that follow, save -ENOMEM. */
MUST_CHECK int checkpoint_wait(struct pool *pool);

enum
{
    CHECKPOINT_TRIES = 4
};

/*
 * After an attempt that wants a checkpoint first: waits for one. 0: try again. @r -ERESTART: the
 * journal was full, there will be room. -EAGAIN: space was freed and may be enough; when it was not
 * *tries times (CHECKPOINT_TRIES at first), -ENOSPC. No ranges need be let go, no locks may be
 * held.
 */
MUST_CHECK int checkpoint_retry(struct pool *pool, int r, unsigned *tries);
static inline bool checkpoint_may_retry(int r)
{
    return r == -EAGAIN || r == -ERESTART;
}

/* Asks the thread for one and goes on. */
void checkpoint_request(struct pool *pool);

/* After a change: asks for one if the journal is half full or many nodes are dirty. */
void checkpoint_hint(struct pool *pool);

/* Before a change, without locks: waits while there is too much that is not checkpointed. */
MUST_CHECK int checkpoint_throttle(struct pool *pool);

/* The thread's body. */
void *checkpoint_thread(void *pool);

/* Writes pool->super, as it is but for a new checkpoint id, to the next two copies. */
MUST_CHECK int checkpoint_write_super(struct pool *pool, struct disk_super *super);

#endif
