/* SPDX-License-Identifier: BSD-3-Clause */
/* What the roots of a pool reach, for a repair. */
#ifndef LUN_CHECK_REACH_H
#define LUN_CHECK_REACH_H

#include <stdbool.h>
#include <stdint.h>

#include "lun/lun.h"

struct reach
{
    uint64_t *bits; /* by block: something refers to it; owned */
    uint64_t data_blks, node_blks;
    bool is_whole; /* every tree could be read; else more blocks may be in use */
    /* By block, or NULL: what lines owned that were given up. It is free although other trees
     * cannot be read. Not owned. */
    const uint64_t *given_data, *given_nodes;
};

/*
 * While a pool is being opened: goes through all trees, as pool_check() does, and sets counters of
 * lines right. Reports what was wrong: as an error what stays so.
 */
MUST_CHECK int check_reach(struct pool *pool, struct reach *reach, check_report_fn *report,
                           void *opaque);

#endif
