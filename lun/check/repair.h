/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Repairing a closed pool: what is made anew from what refers to it, while it is being opened.
 *
 * Always true: nothing is written but by checkpoints, to blocks that neither the trees nor any
 * bitmap that can be read have as used. So a repair that is cut off can be run again.
 */
#ifndef LUN_CHECK_REPAIR_H
#define LUN_CHECK_REPAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "lun/lun.h"

/* For an opening that is only to look: as a repair's, and the journal is followed as far as it
 * goes. NULL: no memory. */
struct repair *repair_create(check_report_fn *report, void *opaque);
void repair_destroy(struct repair *repair); /* NULL is accepted */

/* A finding: what is damaged, and that it is mended, or (@is_mended false) not. */
void repair_say(struct repair *repair, bool is_mended, const char *format, ...) PRINTF_LIKE(3, 4);

/* For what is said to be done about it: "is", or "would be" where nothing is written. */
const char *repair_is(const struct repair *repair);

/* Before anything is written: looks at the superblock's copies. */
MUST_CHECK int repair_begin(struct pool *pool);

/* Whether the journal's records from @seq on, which cannot be read or applied, are given up. */
bool repair_may_cut_journal(struct repair *repair, uint64_t seq);
bool repair_has_cut(const struct repair *repair, uint64_t seq);

/* Between the superblock and the catalog: whether the tree that leads to the catalog's pages can be
 * read; else the pages are looked for. */
MUST_CHECK int repair_find_pages(struct pool *pool);
/* Where copy @copy of page @number was found; false: nobody had to look, the tree says. *blk 0:
 * there is none. */
bool repair_page_place(const struct repair *repair, uint64_t number, unsigned copy, uint64_t *blk,
                       uint64_t *cp_id);

/* Between the catalog and the journal: counters, bitmaps and tables. */
MUST_CHECK int repair_rebuild(struct pool *pool);

#endif
