/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Extent map of a line: where each block of a LUN lives in the pool.
 *
 * A LUN address is lba, in blocks of 4 KiB; a pool address is blk. Reading needs the lock of the
 * map (a head's map_lock; nothing for a point), changing is for records.
 */
#ifndef LUN_MAP_EMAP_H
#define LUN_MAP_EMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "lun/map/change.h"
#include "lun/pool/tree.h"

struct line;

/* A stretch of a map: all mapped to consecutive blocks with one birth, or all a hole. */
struct emap_run
{
    uint64_t lba;
    uint64_t len_blks;
    uint64_t blk; /* 0: a hole */
    uint32_t birth;
    bool is_own; /* as found; may only change to true */
};

/* The run that begins at @lba, at most @max_blks long. *extent: all of the extent that it is a part
 * of; len_blks 0 for a hole. -EAGAIN with op->missing on a miss. */
MUST_CHECK int emap_lookup(struct tree_op *op, const struct line *line, uint64_t lba,
                           uint64_t max_blks, struct emap_run *run, struct emap_run *extent);

/* Pins what replacing [lba, lba+len) will touch, drop list included. */
MUST_CHECK int emap_prepare(struct change *change, struct line *line, uint64_t lba,
                            uint64_t len_blks);

/* How far from @lba an unmap may go in one record; *has_shared: some of it is not own. */
MUST_CHECK int emap_plan_unmap(struct tree_op *op, const struct line *line, uint64_t lba,
                               uint64_t end, uint64_t *stop, bool *has_shared);

/* Maps [lba, lba+len) to blocks from @blk on, or makes it a hole (blk 0). For record_apply(). */
void emap_replace(struct change *change, struct line *line, uint64_t lba, uint64_t len_blks,
                  uint64_t blk);

#endif
