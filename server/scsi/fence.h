/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whom reservations keep out of a LUN besides SCSI hosts: what NBD is asked about before each of
 * its requests.
 *
 * Always true: the table has an entry for each LUN with a reservation, whether its unit is in use
 * or the reservation waits in the pool's store for its initiator to come back (APTPL).
 *
 * A look takes one short lock, under which nothing blocks and nothing is taken; with no reservation
 * anywhere it looks no further than a counter.
 */
#ifndef SERVER_SCSI_FENCE_H
#define SERVER_SCSI_FENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "lun/base/list.h"
#include "lun/base/lock.h"
#include "lun/lun.h"

enum
{
    FENCE_BUCKETS = 256,
    FENCE_WRITES = 1,
    FENCE_READS = 2,
};

/* A LUN's entry. A logical unit has its own; those of the store alone are allocated. */
struct fence
{
    struct list link; /* under fences->lock, as the rest but lun_id */
    uint64_t lun_id;
    uint8_t kept_out; /* FENCE_WRITES, FENCE_READS; 0: not in the table */
    bool is_stored;   /* allocated: no unit has been made for it yet */
};

struct fences
{
    struct lock lock; /* LOCK_RANK_LEAF */
    struct list buckets[FENCE_BUCKETS];
    _Atomic uint64_t count; /* changes under the lock */
};

void fences_init(struct fences *fences);
/* The units' entries have been taken out. */
void fences_destroy(struct fences *fences);

/* Those of the store. Before any unit is made. */
MUST_CHECK int fences_load(struct fences *fences, struct pool *pool);

void fence_init(struct fence *fence, uint64_t lun_id);
/* Puts a unit's entry in, changes it, or takes it out (0), in place of one of the store. */
void fence_set(struct fences *fences, struct fence *fence, uint8_t kept_out);
/* Takes a unit's entry out with the unit; what the store has stays. */
void fence_remove(struct fences *fences, struct fence *fence);
/* The reservation that the store has of a LUN without a unit is now of @type, perhaps none. */
void fence_set_stored(struct fences *fences, uint64_t lun_id, uint8_t type);
/* The LUN was deleted: drops what is there of the store. */
void fence_forget(struct fences *fences, uint64_t lun_id);

bool fence_keeps_out(struct fences *fences, uint64_t lun_id, bool write);

#endif
