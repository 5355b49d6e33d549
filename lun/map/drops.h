/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Drop list of a line: what its predecessor still holds and the line no longer uses.
 *
 * A counted set of (block, birth), kept as ranges in a private tree.
 */
#ifndef LUN_MAP_DROPS_H
#define LUN_MAP_DROPS_H

#include <stdbool.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "lun/map/change.h"

struct line;

struct drop
{
    uint32_t birth;
    uint64_t blk;
    uint64_t len_blks;
    uint32_t count;
    bool is_node;
};

MUST_CHECK int drops_prepare(struct change *change, struct line *line, uint32_t birth, uint64_t blk,
                             uint64_t len_blks);

/* Adds one to the count of each block of the range, or takes one away. For record_apply(). */
void drops_add(struct change *change, struct line *line, uint32_t birth, uint64_t blk,
               uint64_t len_blks, bool is_node);
/* -EBADMSG if the range is not wholly there (nothing is changed then by the part before it). */
MUST_CHECK int drops_remove(struct change *change, struct line *line, uint32_t birth, uint64_t blk,
                            uint64_t len_blks);

/* The first range that ends above (@birth, @blk). -EAGAIN with op->missing. */
MUST_CHECK int drops_next(struct tree_op *op, const struct line *line, uint32_t birth, uint64_t blk,
                          struct drop *drop, bool *found);

#endif
