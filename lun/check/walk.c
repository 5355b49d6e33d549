/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/check/walk.h"

#include <errno.h>

#include "lun/map/lineage.h"

static int visit_leaf(const struct tree_visit *visit, const struct disk_node *disk,
                      struct tree_key low, struct tree_key high)
{
    for (unsigned i = 0; visit->entry && i < le16_get(disk->count); i++)
    {
        int r = visit->entry(visit->opaque, &disk->entries[i], low, high);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Loads the node at @ref, pinned. *node NULL: it is lost, and the visit goes on. */
static int visit_load(struct pool *pool, const struct tree *tree, struct node_ref ref,
                      unsigned level, struct tree_key low, struct tree_key high,
                      const struct tree_visit *visit, struct node **node)
{
    struct node *found = NULL;
    *node = NULL;
    int r = cache_load(pool->cache, ref, tree->kind, &found);
    if (r == 0)
    {
        r = tree_verify_place(found, level, low, high);
        if (r == 0)
        {
            *node = found;
            return 0;
        }
        cache_unpin(pool->cache, found);
    }
    return visit->lost && (r == -EBADMSG || r == -EIO) ? visit->lost(visit->opaque, ref) : r;
}

/* The depth is bounded by DISK_LEVELS_MAX. */
static int visit_node(struct pool *pool, const struct tree *tree, struct node_ref ref,
                      unsigned level, struct tree_key low, struct tree_key high,
                      const struct tree_visit *visit)
{
    struct node *node;
    int r = visit_load(pool, tree, ref, level, low, high, visit, &node);
    if (!node)
        return r;
    const struct disk_node *disk = node->disk;
    if (visit->node)
        r = visit->node(visit->opaque, node, level, low, high);
    if (r == 0 && level == 0)
        r = visit_leaf(visit, disk, low, high);
    unsigned count = le16_get(disk->count);
    for (unsigned i = 0; r == 0 && level > 0 && i < count; i++)
    {
        struct tree_key from = i == 0 ? low : tree_child_key(&disk->children[i]);
        struct tree_key to = i + 1 < count ? tree_child_key(&disk->children[i + 1]) : high;
        r = visit_node(pool, tree, tree_child_ref(&disk->children[i]), level - 1, from, to, visit);
    }
    cache_unpin(pool->cache, node);
    return r == 1 ? 0 : r;
}

/* A walk goes level by level from the leaves up; its cursor is the first key of the next node. */
static bool unwalked_is_freed(const struct line *line, unsigned phase, unsigned level,
                              struct tree_key high)
{
    if (level != phase)
        return level < phase;
    return tree_key_compare(high, line->walk_key) <= 0 && tree_key_compare(high, TREE_KEY_END) != 0;
}

bool walk_has_freed(const struct line *line, bool in_map, unsigned level, struct tree_key high)
{
    uint32_t before = in_map ? 0 : line->map.levels;
    return line->walk_phase >= before &&
           unwalked_is_freed(line, line->walk_phase - before, level, high);
}

static int visit_unwalked(struct pool *pool, const struct line *line, const struct tree *tree,
                          struct node_ref ref, unsigned level, struct tree_key low,
                          struct tree_key high, const struct tree_visit *visit)
{
    bool in_map = tree == &line->map;
    unsigned phase = line->walk_phase - (in_map ? 0u : line->map.levels);
    if (unwalked_is_freed(line, phase, level, high) || (in_map && !line_owns(line, ref.birth)))
        return 0;
    struct node *node;
    int r = visit_load(pool, tree, ref, level, low, high, visit, &node);
    if (!node)
        return r;
    const struct disk_node *disk = node->disk;
    if (visit->node)
        r = visit->node(visit->opaque, node, level, low, high);
    if (r == 0 && level == 0)
        r = visit_leaf(visit, disk, low, high);
    unsigned count = le16_get(disk->count);
    for (unsigned i = 0; r == 0 && level > 0 && i < count; i++)
    {
        struct tree_key from = i == 0 ? low : tree_child_key(&disk->children[i]);
        struct tree_key to = i + 1 < count ? tree_child_key(&disk->children[i + 1]) : high;
        r = visit_unwalked(pool, line, tree, tree_child_ref(&disk->children[i]), level - 1, from,
                           to, visit);
    }
    cache_unpin(pool->cache, node);
    return r;
}

int tree_visit_unwalked(struct pool *pool, const struct line *line, const struct tree *tree,
                        const struct tree_visit *visit)
{
    bool in_map = tree == &line->map;
    uint32_t end = in_map ? line->map.levels : lineage_walk_phases(line);
    if (tree->root.blk == 0 || line->walk_phase >= end)
        return 0;
    if (!in_map && line->walk_phase < line->map.levels)
        return tree_visit(pool, tree, visit);
    if (tree->levels == 0 || tree->levels > DISK_LEVELS_MAX)
        return -EBADMSG;
    return visit_unwalked(pool, line, tree, tree->root, tree->levels - 1u, (struct tree_key){0},
                          TREE_KEY_END, visit);
}

int tree_visit(struct pool *pool, const struct tree *tree, const struct tree_visit *visit)
{
    if (tree->root.blk == 0)
        return 0;
    if (tree->levels == 0 || tree->levels > DISK_LEVELS_MAX)
        return -EBADMSG;
    return visit_node(pool, tree, tree->root, tree->levels - 1u, (struct tree_key){0}, TREE_KEY_END,
                      visit);
}
