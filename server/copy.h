/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copying blocks inside the target: what EXTENDED COPY, tokens and `lun clone --range` share.
 *
 * Data goes through a buffer. The engine shares blocks along clones only, and a range that is to
 * appear in a LUN with a history of its own follows no clone: so it is copied, and said to be.
 *
 * Always true: a step of a copy reads all of its source before it writes; whatever ends a copy,
 * each block of the destination has its old content or that of the source.
 */
#ifndef SERVER_COPY_H
#define SERVER_COPY_H

#include "lun/lun.h"

enum
{
    COPY_STEP_BYTES = 1 << 20,
    COPY_HOLE_BYTES = 64 << 20, /* of a hole, in one step */
    COPY_RANGES_MAX = 4096,
};

/*
 * One step of at most COPY_STEP_BYTES, through @buf of that size; a source that is a hole
 * throughout becomes one of the destination.
 */
MUST_CHECK int copy_step(struct lun *from, uint64_t from_offset, struct lun *to, uint64_t to_offset,
                         size_t len, uint8_t *buf);

/* ---- ranges -------------------------------------------------------------------------------- */

/* In blocks, as hosts count them. */
struct copy_range
{
    uint64_t from_blk, to_blk, count;
};

/* "SRC-BLOCK:DST-BLOCK:COUNT". -EINVAL. */
MUST_CHECK int copy_parse_range(const char *text, struct copy_range *range, struct reason *why);

/* Between what. */
struct copy_ends
{
    const char *from_name, *to_name;
    uint64_t from_blks, to_blks;
    bool is_same; /* both are one LUN */
};

/*
 * -EINVAL, and @why names the ranges and what they exceed or meet: out of bounds; source ranges
 * that overlap, destination ranges that do, and with @ends->is_same one and the other. -ENOMEM.
 */
MUST_CHECK int copy_check_ranges(const struct copy_range *ranges, size_t count,
                                 const struct copy_ends *ends, struct reason *why);

/* ---- the copy ------------------------------------------------------------------------------ */

struct copy
{
    struct lun *from, *to;
    const struct copy_range *ranges;
    size_t count;
    uint32_t sector_bytes;
    /* Before each step of @bytes: whether it may be made. Not 0 ends the copy with that. */
    int (*admit)(void *opaque, uint64_t bytes);
    void *opaque;
    uint64_t data_bytes, hole_bytes; /* copied, and made holes, until now */
};

/* What copying would come to, of the maps as they are now. */
struct copy_plan
{
    uint64_t data_bytes, hole_bytes;
    uint64_t new_bytes; /* space that the data takes: what the destination does not own there */
};

/* @copy->admit is asked with 0 bytes, now and then. */
MUST_CHECK int copy_plan(const struct copy *copy, struct copy_plan *plan);
/* Copies range by range, ascending, and leaves flushing to the caller. */
MUST_CHECK int copy_run(struct copy *copy);

/* Notes of the snapshots that copies read from (server/moment.h). */
#define COPY_STORE_PREFIX "copy/"

#endif
