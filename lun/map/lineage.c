/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/map/lineage.h"

#include <errno.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "lun/jobs/jobs.h"
#include "lun/map/drops.h"
#include "lun/pool/pool_internal.h"
#include "lun/volume/catalog.h"
#include "lun/volume/ledger.h"

static bool line_has_drops(const struct line *line)
{
    return atomic_load(&line->dropped_data_blks) + atomic_load(&line->dropped_node_blks) > 0;
}

void lineage_join(struct line *line, struct line *point)
{
    line->predecessor = point;
    atomic_store(&line->own_after, point->frozen_at);
    list_add_tail(&point->children, &line->child_link);
    point->child_count++;
    if (!line_has_drops(line))
        atomic_fetch_add(&point->undropped_children, 1);
    if (line->is_walking)
        point->walking_children++;
}

static void lineage_leave(struct line *line)
{
    struct line *point = line->predecessor;
    if (!point)
        return;
    list_remove(&line->child_link);
    point->child_count--;
    if (!line_has_drops(line))
        atomic_fetch_sub(&point->undropped_children, 1);
    if (line->is_walking)
        point->walking_children--;
    line->predecessor = NULL;
}

void lineage_drops_changed(struct pool *pool, struct line *line, bool was_empty, bool is_empty)
{
    struct line *point = line->predecessor;
    if (!point)
        return;
    if (was_empty && !is_empty)
        atomic_fetch_sub(&point->undropped_children, 1);
    else if (!was_empty && is_empty)
        atomic_fetch_add(&point->undropped_children, 1);
    if (line_is_hidden_point(point) && atomic_load(&point->undropped_children) == 0)
        jobs_kick_lazily(pool, point);
}

bool lineage_is_unchanged(const struct line *head)
{
    return head->predecessor && !atomic_load(&head->is_touched);
}

/* ---- freezing, cloning --------------------------------------------------------------------- */

static void lineage_note_id(struct pool *pool, uint64_t id)
{
    pool->next_id = max_u64(pool->next_id, id + 1);
}

int lineage_apply_new(struct pool *pool, uint64_t line_id)
{
    if (catalog_find_any(pool, line_id))
        return -EBADMSG;
    lineage_note_id(pool, line_id);
    struct line *line = catalog_new_line(pool, line_id);
    line->birth = pool->generation;
    return 0;
}

int lineage_apply_head(struct pool *pool, uint64_t new_head_id, uint64_t point_id)
{
    struct line *point = catalog_find_line(pool, point_id);
    if (!point || point->frozen_at == 0 || point->is_walking || catalog_find_any(pool, new_head_id))
        return -EBADMSG;
    lineage_note_id(pool, new_head_id);
    struct line *head = catalog_new_line(pool, new_head_id);
    head->birth = pool->generation;
    head->map = point->map;
    atomic_store(&head->mapped_blks, atomic_load(&point->mapped_blks));
    lineage_join(head, point);
    return 0;
}

int lineage_apply_freeze(struct pool *pool, uint64_t line_id, uint64_t new_head_id)
{
    struct line *line = catalog_find_line(pool, line_id);
    if (!line || line->frozen_at != 0 || !line->lun || pool->generation == UINT32_MAX ||
        catalog_find_any(pool, new_head_id))
        return -EBADMSG;
    line->frozen_at = pool->generation++;
    struct lun_object *lun = line->lun;
    line->lun = NULL;
    line->frozen_blks = div_round_up(atomic_load(&lun->size_bytes), BLK_BYTES);
    int r = lineage_apply_head(pool, new_head_id, line_id);
    if (r < 0)
        return r;
    struct line *head = catalog_find_line(pool, new_head_id);
    head->lun = lun;
    lun->line = head;
    catalog_set_line_volume(pool, head, line->volume);
    ledger_lun(pool, lun);
    catalog_mark_dirty(pool, &line->object);
    catalog_mark_dirty(pool, &lun->object);
    return 0;
}

int lineage_apply_dying(struct pool *pool, uint64_t line_id)
{
    struct line *line = catalog_find_line(pool, line_id);
    if (!line || line->frozen_at != 0 || !line->lun)
        return -EBADMSG;
    line->is_dying = true;
    line->left_by = line->lun;
    line->lun = NULL;
    catalog_mark_dirty(pool, &line->object);
    jobs_kick(pool, line);
    return 0;
}

/* ---- the rules ----------------------------------------------------------------------------- */

bool lineage_is_leaf(const struct line *line)
{
    return line->is_dying || (line_is_hidden_point(line) && line->child_count == 0);
}

bool lineage_may_walk(const struct line *line)
{
    const struct line *point = line->predecessor;
    if (line->is_walking || !point || !line_is_hidden_point(point))
        return true;
    /* Rule 9: another child of the hidden point has not begun its walk. */
    return point->child_count - point->walking_children > 1;
}

bool lineage_may_settle(const struct line *point)
{
    /* Rules 10 and 11. */
    return line_is_hidden_point(point) && point->child_count > point->walking_children;
}

/* Neighbours whose rules depend on this line: its predecessor and that one's dying children. */
static void lineage_kick_around(struct pool *pool, struct line *point)
{
    if (!point)
        return;
    jobs_kick(pool, point);
    if (!line_is_hidden_point(point) || point->child_count > 64)
        return;
    list_for_each (child, &point->children, struct line, child_link)
    {
        if (lineage_is_leaf(child))
            jobs_kick(pool, child);
    }
}

/* ---- the walk ------------------------------------------------------------------------------ */

uint32_t lineage_walk_phases(const struct line *line)
{
    return (uint32_t)line->map.levels + line->drops.levels;
}

/* The node that a step of the walk frees; blk 0: nothing is own there. *next: where to go on. */
static int lineage_find_walk(struct tree_op *op, const struct line *line, uint32_t phase,
                             struct tree_key key, struct node **node, struct tree_key *next)
{
    bool in_map = phase < line->map.levels;
    const struct tree *tree = in_map ? &line->map : &line->drops;
    unsigned target = in_map ? phase : phase - line->map.levels;
    struct node_ref ref = tree->root;
    *node = NULL;
    *next = TREE_KEY_END;
    for (unsigned level = tree->levels; level-- > target;)
    {
        if (in_map && !line_owns(line, ref.birth))
            return 0; /* and so nothing below is own either */
        struct node *at;
        int r = tree_op_get(op, ref, tree->kind, &at);
        if (r < 0)
            return r;
        if (at->disk->level != level)
            return -EBADMSG;
        if (level == target)
        {
            *node = at;
            return 0;
        }
        unsigned count = le16_get(at->disk->count), i = 0;
        while (i + 1 < count &&
               tree_key_compare(tree_child_key(&at->disk->children[i + 1]), key) <= 0)
            i++;
        if (i + 1 < count)
            *next = tree_child_key(&at->disk->children[i + 1]);
        ref = tree_child_ref(&at->disk->children[i]);
    }
    return 0;
}

int lineage_prepare_walk(struct change *change, uint64_t line_id, uint32_t phase,
                         struct tree_key key)
{
    struct line *line = catalog_find_line(change->pool, line_id);
    if (!line || phase >= lineage_walk_phases(line) || !lineage_is_leaf(line) ||
        !lineage_may_walk(line) || phase != line->walk_phase ||
        tree_key_compare(key, line->walk_key) != 0)
        return -EBADMSG;
    struct node *node;
    struct tree_key next;
    struct tree_op *op = phase < line->map.levels ? &change->map : &change->drops;
    return lineage_find_walk(op, line, phase, key, &node, &next);
}

/* Frees the data extents of a leaf that are own. */
static void lineage_free_leaf(struct change *change, struct line *line,
                              const struct disk_node *leaf)
{
    for (unsigned i = 0; i < le16_get(leaf->count); i++)
    {
        const struct disk_map_entry *entry = &leaf->entries[i].map;
        uint64_t len = le16_get(entry->len_blks);
        if (!line_owns(line, le32_get(entry->birth)))
            continue;
        atomic_fetch_sub(&line->own_blks, len);
        ledger_owns(change->pool, line);
        space_free(change->pool->space, le40_get(entry->blk), len, false);
    }
}

static void lineage_begin_walk(struct line *line)
{
    if (line->is_walking)
        return;
    line->is_walking = true;
    if (line->predecessor)
        line->predecessor->walking_children++;
}

/* The map is walked: the line counts no more for its predecessor, and its drops are forgotten. Only
 * then may the nodes of the list go: reclaim reads them until now. */
static void lineage_end_map_walk(struct pool *pool, struct line *line)
{
    struct line *point = line->predecessor;
    if (line->walk_phase < line->map.levels || !point)
        return;
    lineage_leave(line);
    lineage_kick_around(pool, point);
}

int lineage_apply_walk(struct change *change, uint64_t line_id, uint32_t phase, struct tree_key key)
{
    struct line *line = catalog_find_line(change->pool, line_id);
    if (!line)
        return -EBADMSG;
    lineage_begin_walk(line);
    lineage_end_map_walk(change->pool, line); /* there may be no map at all */
    struct tree_op *op = phase < line->map.levels ? &change->map : &change->drops;
    struct node *node;
    struct tree_key next;
    int r = lineage_find_walk(op, line, phase, key, &node, &next);
    if (r < 0)
        return r;
    if (node)
    {
        if (phase == 0 && line->map.levels > 0)
            lineage_free_leaf(change, line, node->disk);
        op->own_nodes = &line->own_node_blks;
        tree_free_node(op, node->ref);
        ledger_owns(change->pool, line);
    }
    bool phase_over = tree_key_compare(next, TREE_KEY_END) == 0;
    if (phase_over)
        next = (struct tree_key){0};
    line->walk_phase = phase_over ? phase + 1 : phase;
    line->walk_key = next;
    lineage_end_map_walk(change->pool, line);
    catalog_mark_dirty(change->pool, &line->object);
    return 0;
}

int lineage_apply_gone(struct change *change, uint64_t line_id)
{
    struct pool *pool = change->pool;
    struct line *line = catalog_find_line(pool, line_id);
    if (!line || !lineage_is_leaf(line) || line->left_by ||
        line->walk_phase < lineage_walk_phases(line))
        return -EBADMSG;
    struct line *point = line->predecessor;
    lineage_leave(line);
    jobs_forget(pool, line);
    catalog_delete(pool, &line->object);
    lineage_kick_around(pool, point);
    return 0;
}

void lineage_give_up(struct pool *pool, struct line *line)
{
    lineage_leave(line);
    atomic_store(&line->own_blks, 0);
    atomic_store(&line->own_node_blks, 0);
    ledger_owns(pool, line);
    jobs_forget(pool, line);
    catalog_delete(pool, &line->object);
}

/* ---- settling, merging --------------------------------------------------------------------- */

int lineage_prepare_settle(struct change *change, uint64_t point_id, uint32_t birth, uint64_t blk,
                           uint64_t len_blks)
{
    struct line *point = catalog_find_line(change->pool, point_id);
    if (!point || !lineage_may_settle(point))
        return -EBADMSG;
    list_for_each (child, &point->children, struct line, child_link)
    {
        int r = drops_prepare(change, child, birth, blk, len_blks);
        if (r < 0)
            return r;
    }
    return line_owns(point, birth) ? 0 : drops_prepare(change, point, birth, blk, len_blks);
}

int lineage_apply_settle(struct change *change, uint64_t point_id, uint32_t birth, uint64_t blk,
                         uint64_t len_blks, bool is_node)
{
    struct line *point = catalog_find_line(change->pool, point_id);
    if (!point)
        return -EBADMSG;
    list_for_each (child, &point->children, struct line, child_link)
    {
        int r = drops_remove(change, child, birth, blk, len_blks);
        if (r < 0)
            return r;
    }
    if (!line_owns(point, birth))
    {
        drops_add(change, point, birth, blk, len_blks, is_node);
        return 0;
    }
    atomic_fetch_sub(is_node ? &point->own_node_blks : &point->own_blks, len_blks);
    ledger_owns(change->pool, point);
    space_free(change->pool->space, blk, len_blks, is_node);
    catalog_mark_dirty(change->pool, &point->object);
    return 0;
}

static int lineage_check_hand_over(struct pool *pool, uint64_t point_id)
{
    struct line *point = catalog_find_line(pool, point_id);
    if (!point || !lineage_may_settle(point) || point->child_count != 1)
        return -EBADMSG;
    struct line *child = container_of(point->children.next, struct line, child_link);
    if (child->is_walking)
        return -EBADMSG;
    return line_has_drops(child) ? -EBUSY : 0;
}

int lineage_prepare_hand_over(struct change *change, uint64_t point_id)
{
    int r = lineage_check_hand_over(change->pool, point_id);
    return r < 0 ? r : ledger_may_merge(change->pool, catalog_find_line(change->pool, point_id));
}

int lineage_apply_hand_over(struct change *change, uint64_t point_id)
{
    struct pool *pool = change->pool;
    if (lineage_check_hand_over(pool, point_id) < 0)
        return -EBADMSG;
    struct line *point = catalog_find_line(pool, point_id);
    struct line *child = container_of(point->children.next, struct line, child_link);
    struct line *below = point->predecessor;
    lineage_leave(child);
    lineage_leave(point);
    child->drops = point->drops;
    atomic_store(&child->dropped_data_blks, atomic_load(&point->dropped_data_blks));
    atomic_store(&child->dropped_node_blks, atomic_load(&point->dropped_node_blks));
    atomic_fetch_add(&child->own_blks, atomic_load(&point->own_blks));
    atomic_fetch_add(&child->own_node_blks, atomic_load(&point->own_node_blks));
    if (atomic_load(&point->is_touched))
        atomic_store(&child->is_touched, true);
    if (below)
        lineage_join(child, below);
    else
        atomic_store(&child->own_after, 0);
    jobs_forget(pool, point);
    catalog_delete(pool, &point->object);
    ledger_owns(pool, child);
    catalog_mark_dirty(pool, &child->object);
    jobs_kick(pool, child);
    lineage_kick_around(pool, below);
    return 0;
}
