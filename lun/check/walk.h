/* SPDX-License-Identifier: BSD-3-Clause */
/* Visiting whole trees, for check, dump and the freed-if-deleted question. */
#ifndef LUN_CHECK_WALK_H
#define LUN_CHECK_WALK_H

#include "lun/base/err.h"
#include "lun/pool/pool_internal.h"

struct tree_visit
{
    /* A node, before what is below it. 0: go on; 1: leave out what is below; < 0: stop with it. */
    int (*node)(void *opaque, const struct node *node, unsigned level, struct tree_key low,
                struct tree_key high);
    /* An entry of a leaf. */
    int (*entry)(void *opaque, const union disk_entry *entry, struct tree_key low,
                 struct tree_key high);
    /* A node that cannot be read, or cannot be there: 0: go on without it and what is below. NULL:
     * the visit ends with the error. */
    int (*lost)(void *opaque, struct node_ref ref);
    void *opaque;
};

/* Nobody may change the tree meanwhile. Loads what is not in memory. */
MUST_CHECK int tree_visit(struct pool *pool, const struct tree *tree,
                          const struct tree_visit *visit);

/* What the begun walk of @line has still to free in its map or, later, its drop list, @tree: the
 * line's own nodes, and the entries of its leaves. */
MUST_CHECK int tree_visit_unwalked(struct pool *pool, const struct line *line,
                                   const struct tree *tree, const struct tree_visit *visit);

/* Whether the begun walk of @line has freed its own node at @level with keys up to @high already,
 * of its map or of its drop list. */
bool walk_has_freed(const struct line *line, bool in_map, unsigned level, struct tree_key high);

#endif
