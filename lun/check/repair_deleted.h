/* SPDX-License-Identifier: BSD-3-Clause */
/* What is left of deleted LUNs and snapshots, where a tree that their deletion needs is lost: a
 * repair gives it up. */
#ifndef LUN_CHECK_REPAIR_DELETED_H
#define LUN_CHECK_REPAIR_DELETED_H

#include <stdint.h>

#include "lun/base/err.h"
#include "lun/check/repair.h"
#include "lun/pool/pool_internal.h"

/* By block of the pool: what the lines that are gone owned, as far as it could be read. */
struct given_up
{
    uint64_t *data, *nodes; /* NULL: nothing was given up */
    /* As those lines counted it, with what is below lost nodes. */
    uint64_t data_blks, node_blks;
};

void given_up_destroy(struct given_up *given);
#define AUTO_GIVEN_UP CLEANUP(given_up_destroy)

/* Takes such lines out of the lineage, in memory, and tells of each. Free space must be made anew,
 * and a checkpoint follow. With pool->management. */
MUST_CHECK int repair_give_up_deleted(struct pool *pool, struct given_up *given);

#endif
