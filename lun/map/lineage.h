/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lines: heads, the points that they become when they are frozen, and what becomes of both.
 *
 * A snapshot freezes the root of a LUN's map and copies nothing, so it costs the same for 1 GiB and
 * 100 TiB. From then on what was born no later than the freeze is shared: whoever overwrites it
 * takes a new block and notes the old one as dropped, instead of freeing it.
 *
 * Always true:
 *  - nothing that a visible point's map reaches is ever written or freed;
 *  - a hidden point's map is dead: its blocks may be freed behind it, so nothing reads it, save the
 *    walk, and freezes that reuse it, which the rules below keep to points that are intact;
 *  - a line walks only while another child of its hidden predecessor has not begun to; a point
 * merges into, and is reclaimed from, only where a child has not begun;
 *  - a delete works in bounded steps, and resumes after a crash.
 *
 *          FREEZE                    last snapshot deleted
 *   head ----------> visible point ------------------------> hidden point --HAND_OVER--> (gone)
 *    | DYING               ^                                   |   (one child, nothing dropped)
 *    v                     | snapshot of an unchanged head     | no children
 *   dying leaf <-----------+-----------------------------------+
 *    | WALK, WALK, ... GONE
 *    v
 *  (gone)
 */
#ifndef LUN_MAP_LINEAGE_H
#define LUN_MAP_LINEAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "lun/map/change.h"

struct line;
struct pool;

/* Makes @line a child of @point. In apply(), or at open. */
void lineage_join(struct line *line, struct line *point);

/* The list of @line went from empty or to empty, or changed: counts, and wakes the jobs. */
void lineage_drops_changed(struct pool *pool, struct line *line, bool was_empty, bool is_empty);

/* Whether a clone or snapshot may use the predecessor again instead of freezing. */
bool lineage_is_unchanged(const struct line *head);

/* For record_apply(); errors for impossible records only. */
MUST_CHECK int lineage_apply_new(struct pool *pool, uint64_t line_id);
MUST_CHECK int lineage_apply_freeze(struct pool *pool, uint64_t line_id, uint64_t new_head_id);
MUST_CHECK int lineage_apply_head(struct pool *pool, uint64_t new_head_id, uint64_t point_id);
MUST_CHECK int lineage_apply_dying(struct pool *pool, uint64_t line_id);
MUST_CHECK int lineage_prepare_walk(struct change *change, uint64_t line_id, uint32_t phase,
                                    struct tree_key key);
MUST_CHECK int lineage_apply_walk(struct change *change, uint64_t line_id, uint32_t phase,
                                  struct tree_key key);
MUST_CHECK int lineage_apply_gone(struct change *change, uint64_t line_id);
MUST_CHECK int lineage_prepare_settle(struct change *change, uint64_t point_id, uint32_t birth,
                                      uint64_t blk, uint64_t len_blks);
MUST_CHECK int lineage_apply_settle(struct change *change, uint64_t point_id, uint32_t birth,
                                    uint64_t blk, uint64_t len_blks, bool is_node);
/* -EBUSY: the child has drops, perhaps since a moment ago: a write to it takes no management; or
 * the point's volume is promised what it owns. -ENOSPC: the child's promise would need too much. */
MUST_CHECK int lineage_prepare_hand_over(struct change *change, uint64_t point_id);
MUST_CHECK int lineage_apply_hand_over(struct change *change, uint64_t point_id);

/* Takes a leaf out of the lineage without a walk: what it owned is nobody's then, and its drops are
 * forgotten. For a repair, which makes free space anew. As in apply(). */
void lineage_give_up(struct pool *pool, struct line *line);

/* A leaf that is to be walked: deleted, or hidden without children. */
bool lineage_is_leaf(const struct line *line);
/* The rules: whether it may begin or go on; whether a point may be reclaimed from or merge. */
bool lineage_may_walk(const struct line *line);
bool lineage_may_settle(const struct line *point);
/* Phases of a walk: levels of the map from the leaves up, then levels of the drop list. */
uint32_t lineage_walk_phases(const struct line *line);

#endif
