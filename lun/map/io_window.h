/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a LUN's new data goes.
 *
 * A LUN takes new blocks in windows of 16 to 256 blocks, so that its data lies together. Small
 * writes have them written with zeros before their first block is used: so the file system below
 * gives room for many writes in one go, and the flush of each does not wait for it. Nobody's blocks
 * are harmed: those not used now are free again, and merely written. A window is a hint, nothing is
 * stored of it.
 */
#ifndef LUN_MAP_IO_WINDOW_H
#define LUN_MAP_IO_WINDOW_H

#include <stdint.h>

#include "lun/base/err.h"
#include "lun/pool/space.h"

struct line;
struct pool;

/*
 * Takes up to @want blocks where the data of @line goes: *got of them from *blk on, at least one.
 * Errors of space_take(). To be mapped, or given back.
 */
MUST_CHECK int io_take(struct pool *pool, struct line *line, enum space_use use, uint64_t want,
                       uint64_t *blk, uint64_t *got);

/* What was taken and is not needed after all. */
void io_give_back(struct pool *pool, enum space_use use, uint64_t blk, uint64_t len);

/* The file system below has no room here: other blocks are looked for next time. */
void io_forget_window(struct line *line);

#endif
