/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Overwriting what older states of the pool have left of the catalog: pool_wipe_old() of lun.h.
 *
 *   1. two checkpoints, after each of which the half of the journal that is free then is zeroed;
 *   2. all free blocks are read. Zeroed are those that look like pages of the catalog, and in the
 *      node area all that are not zeros: there the remains of a page may be torn;
 *   3. a checkpoint, and the same again: what was on its way when it was looked at, taken and not
 *      yet written, is written by then, or free.
 *
 * A block that is overwritten is taken before, so that nobody else may have it, and given back.
 * That is what a write of data does which fails: a crash in between leaves nothing to be done.
 */
#ifndef LUN_POOL_WIPE_H
#define LUN_POOL_WIPE_H

#include <stdint.h>

#include "lun/base/err.h"

struct pool;

/* The first part, in checkpoint.c. */
MUST_CHECK int checkpoint_wipe_journal(struct pool *pool);

#endif
