/* SPDX-License-Identifier: BSD-3-Clause */
/* Counting again what a line owns. */
#ifndef LUN_CHECK_COUNT_H
#define LUN_CHECK_COUNT_H

#include <stdint.h>

#include "lun/base/err.h"
#include "lun/pool/pool_internal.h"

/*
 * Blocks of data, and nodes of map and drop list, that @line made and that are not freed yet.
 * Nobody may change anything meanwhile. Reads the own parts of trees.
 */
MUST_CHECK int count_own(struct pool *pool, const struct line *line, uint64_t *data_blks,
                         uint64_t *node_blks);

/* At open: own_node_blks of lines whose form on disk is from before it was kept. Damaged trees are
 * logged and left out: the check tells of them. */
void count_own_nodes(struct pool *pool);

#endif
