/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/pool/tree.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "lun/base/log.h"
#include "lun/pool/pool_internal.h"

/* ---- entries ------------------------------------------------------------------------------- */

uint64_t tree_entry_len(enum disk_tree_kind kind, const union disk_entry *entry)
{
    if (kind == DISK_TREE_MAP)
        return le16_get(entry->map.len_blks);
    return kind == DISK_TREE_DROPS ? le16_get(entry->drop.len_blks) : 1;
}

struct node_ref tree_child_ref(const struct disk_child *child)
{
    return (struct node_ref){.blk = le40_get(child->blk),
                             .cp_id = le48_get(child->cp_id),
                             .birth = le32_get(child->birth)};
}

static struct disk_child tree_child_of(struct tree_key key, struct node_ref ref)
{
    return (struct disk_child){.key_hi = le32_put(key.hi),
                               .key_lo = le40_put(key.lo),
                               .blk = le40_put(ref.blk),
                               .birth = le32_put(ref.birth),
                               .cp_id = le48_put(ref.cp_id)};
}

static unsigned node_count(const struct disk_node *disk)
{
    return le16_get(disk->count);
}

static bool tree_leaf_is_sane(const struct pool *pool, const struct disk_node *disk)
{
    enum disk_tree_kind kind = (enum disk_tree_kind)disk->kind;
    struct tree_key end = {0};
    for (unsigned i = 0; i < node_count(disk); i++)
    {
        const union disk_entry *entry = &disk->entries[i];
        struct tree_key key = tree_entry_key(kind, entry);
        uint64_t len = tree_entry_len(kind, entry);
        uint64_t blk = kind == DISK_TREE_MAP     ? le40_get(entry->map.blk)
                       : kind == DISK_TREE_DROPS ? le40_get(entry->drop.blk)
                                                 : le40_get(entry->page.blk);
        if (len == 0 || tree_key_compare(key, end) < 0 || !space_may_hold(pool, blk, len))
            return false;
        if (kind == DISK_TREE_DROPS && le32_get(entry->drop.count) == 0)
            return false;
        end = (struct tree_key){.hi = key.hi, .lo = key.lo + len};
    }
    return true;
}

bool tree_node_is_sane(const struct pool *pool, const struct disk_node *disk)
{
    if (disk->kind < DISK_TREE_MAP || disk->kind > DISK_TREE_PAGES ||
        disk->level >= DISK_LEVELS_MAX || node_count(disk) == 0)
        return false;
    if (disk->level == 0)
        return node_count(disk) <= DISK_LEAF_ENTRIES && tree_leaf_is_sane(pool, disk);
    if (node_count(disk) > DISK_NODE_CHILDREN)
        return false;
    for (unsigned i = 0; i < node_count(disk); i++)
    {
        if (!space_may_hold(pool, le40_get(disk->children[i].blk), 1))
            return false;
        if (i > 0 && disk->kind != DISK_TREE_DROPS && le32_get(disk->children[i].key_hi) != 0)
            return false; /* only keys of drop lists have two parts */
        if (i > 1 && tree_key_compare(tree_child_key(&disk->children[i - 1]),
                                      tree_child_key(&disk->children[i])) >= 0)
            return false;
    }
    return true;
}

void tree_from_disk(struct tree *tree, enum disk_tree_kind kind, const struct disk_root *disk)
{
    *tree = (struct tree){.kind = kind,
                          .root = {.blk = le48_get(disk->blk),
                                   .cp_id = le48_get(disk->cp_id),
                                   .birth = le32_get(disk->birth)},
                          .levels = disk->levels};
}

void tree_to_disk(const struct tree *tree, struct disk_root *disk)
{
    *disk = (struct disk_root){.blk = le48_put(tree->root.blk),
                               .cp_id = le48_put(tree->root.cp_id),
                               .birth = le32_put(tree->root.birth),
                               .levels = tree->levels};
}

/* ---- ops ----------------------------------------------------------------------------------- */

void tree_op_init(struct tree_op *op, struct pool *pool)
{
    *op = (struct tree_op){.pool = pool, .pinned_capacity = TREE_OP_PINS_FEW};
    op->pinned = op->pinned_few;
}

void tree_op_finish(struct tree_op *op)
{
    for (unsigned i = 0; i < op->pinned_count; i++)
        cache_unpin(op->pool->cache, op->pinned[i]);
    if (op->pinned != op->pinned_few)
        free(op->pinned);
    op->pinned = op->pinned_few;
    op->pinned_count = 0;
    op->pinned_capacity = TREE_OP_PINS_FEW;
}

static int tree_op_make_room(struct tree_op *op)
{
    if (op->pinned_count < op->pinned_capacity)
        return 0;
    bool was_few = op->pinned == op->pinned_few;
    INVARIANT(op->pinned_capacity >= TREE_OP_PINS_FEW);
    unsigned capacity = op->pinned_capacity * 2;
    struct node **pinned = realloc(was_few ? NULL : op->pinned, capacity * sizeof(struct node *));
    if (!pinned)
        return -ENOMEM;
    if (was_few)
        memcpy(pinned, op->pinned_few, sizeof(op->pinned_few));
    op->pinned = pinned;
    op->pinned_capacity = capacity;
    return 0;
}

int tree_op_load(struct tree_op *op)
{
    struct node *node;
    int r = tree_op_make_room(op);
    if (r < 0)
        return r;
    r = cache_load(op->pool->cache, op->missing, op->missing_kind, &node);
    if (r == 0)
        op->pinned[op->pinned_count++] = node;
    return r;
}

/* The op's own pins are few and mostly recent: looked at first, they spare the cache's lock. */
static struct node *tree_op_pinned(const struct tree_op *op, struct node_ref ref)
{
    for (unsigned i = op->pinned_count; i-- > 0;)
    {
        struct node *node = op->pinned[i];
        if (node->ref.blk == ref.blk && node->ref.cp_id == ref.cp_id)
            return node;
    }
    return NULL;
}

int tree_op_get(struct tree_op *op, struct node_ref ref, enum disk_tree_kind kind,
                struct node **out)
{
    struct node *node = tree_op_pinned(op, ref);
    if (!node)
    {
        int r = tree_op_make_room(op);
        if (r < 0)
            return r;
        node = cache_find(op->pool->cache, ref);
        if (!node)
        {
            op->missing = ref;
            op->missing_kind = kind;
            return -EAGAIN;
        }
        op->pinned[op->pinned_count++] = node;
    }
    if (node->disk->kind != kind)
        return -EBADMSG;
    *out = node;
    return 0;
}

/* ---- looking ------------------------------------------------------------------------------- */

/* Whether the keys of a node are those of its place: else it is another's child, or two nodes'. */
static bool node_fits(const struct disk_node *disk, struct tree_key low, struct tree_key high)
{
    unsigned count = node_count(disk);
    if (count == 0)
        return true; /* just made */
    if (disk->level > 0)
        return count == 1 ||
               (tree_key_compare(low, tree_child_key(&disk->children[1])) < 0 &&
                tree_key_compare(tree_child_key(&disk->children[count - 1]), high) < 0);
    enum disk_tree_kind kind = (enum disk_tree_kind)disk->kind;
    struct tree_key end = tree_entry_key(kind, &disk->entries[count - 1]);
    end.lo += tree_entry_len(kind, &disk->entries[count - 1]);
    return tree_key_compare(low, tree_entry_key(kind, &disk->entries[0])) <= 0 &&
           tree_key_compare(end, high) <= 0;
}

int tree_verify_place(const struct node *node, unsigned level, struct tree_key low,
                      struct tree_key high)
{
    if (node->disk->level == level && node_fits(node->disk, low, high))
        return 0;
    log_error("tree node %" PRIu64 " is damaged: it does not belong where it is referred to",
              node->ref.blk);
    return -EBADMSG;
}

/* @a <= @b, without a branch: in a search it would be guessed wrongly every second time. */
static inline bool tree_key_is_upto(struct tree_key a, struct tree_key b)
{
    return (a.hi < b.hi) | ((a.hi == b.hi) & (a.lo <= b.lo));
}

/* The child whose range covers @key. */
static unsigned node_child_index(const struct disk_node *disk, struct tree_key key)
{
    unsigned at = 0; /* the first child covers what lies before it, too */
    for (unsigned left = node_count(disk); left > 1;)
    {
        unsigned half = left / 2;
        at += tree_key_is_upto(tree_child_key(&disk->children[at + half]), key) ? half : 0;
        left -= half;
    }
    return at;
}

/* How many entries begin at or below @key. */
static inline unsigned leaf_entries_upto(enum disk_tree_kind kind, const struct disk_node *disk,
                                         struct tree_key key)
{
    unsigned at = 0, left = node_count(disk);
    while (left > 1)
    {
        unsigned half = left / 2;
        at += tree_key_is_upto(tree_entry_key(kind, &disk->entries[at + half - 1]), key) ? half : 0;
        left -= half;
    }
    return at + (left > 0 && tree_key_is_upto(tree_entry_key(kind, &disk->entries[at]), key));
}

/* The first entry that ends above @key. */
static unsigned leaf_entry_index(const struct disk_node *disk, struct tree_key key)
{
    enum disk_tree_kind kind = (enum disk_tree_kind)disk->kind;
    unsigned low = kind == DISK_TREE_MAP ? leaf_entries_upto(DISK_TREE_MAP, disk, key)
                                         : leaf_entries_upto(kind, disk, key);
    if (low == 0)
        return 0;
    struct tree_key start = tree_entry_key(kind, &disk->entries[low - 1]);
    uint64_t len = tree_entry_len(kind, &disk->entries[low - 1]);
    return start.hi == key.hi && start.lo + len > key.lo ? low - 1 : low;
}

int tree_seek(struct tree_op *op, const struct tree *tree, struct tree_key key,
              struct tree_path *path)
{
    if (tree->root.blk == 0)
        return -ENOENT;
    if (tree->levels == 0 || tree->levels > DISK_LEVELS_MAX)
        return -EBADMSG;
    path->levels = tree->levels;
    path->upper = TREE_KEY_END;
    struct tree_key lower = {0};
    struct node_ref ref = tree->root;
    for (unsigned level = tree->levels; level-- > 0;)
    {
        struct node *node;
        int r = tree_op_get(op, ref, tree->kind, &node);
        if (r == 0)
            r = tree_verify_place(node, level, lower, path->upper);
        if (r == 0 && level == DISK_LEVELS_MAX - 1 && node_count(node->disk) == DISK_NODE_CHILDREN)
            r = -EBADMSG; /* no pool is so large that it needs another level */
        if (r < 0)
            return r;
        path->nodes[level] = node;
        if (level == 0)
        {
            path->index[0] = leaf_entry_index(node->disk, key);
            break;
        }
        unsigned i = node_child_index(node->disk, key);
        path->index[level] = i;
        if (i > 0)
            lower = tree_child_key(&node->disk->children[i]);
        if (i + 1 < node_count(node->disk))
            path->upper = tree_child_key(&node->disk->children[i + 1]);
        ref = tree_child_ref(&node->disk->children[i]);
    }
    return 0;
}

int tree_next(struct tree_op *op, const struct tree *tree, struct tree_key key,
              union disk_entry *entry, bool *found)
{
    for (;;)
    {
        struct tree_path path;
        int r = tree_seek(op, tree, key, &path);
        if (r == -ENOENT)
        {
            *found = false;
            return 0;
        }
        if (r < 0)
            return r;
        const struct disk_node *disk = path.nodes[0]->disk;
        if (path.index[0] < node_count(disk))
        {
            *entry = disk->entries[path.index[0]];
            *found = true;
            return 0;
        }
        if (tree_key_compare(path.upper, TREE_KEY_END) == 0)
        {
            *found = false;
            return 0;
        }
        key = path.upper;
    }
}

int tree_prepare_range(struct tree_op *op, const struct tree *tree, struct tree_key from,
                       struct tree_key to, unsigned max_leaves, struct tree_key *end)
{
    struct tree_key key = from;
    while (tree_key_compare(key, to) < 0 && max_leaves-- > 0)
    {
        struct tree_path path;
        int r = tree_seek(op, tree, key, &path);
        if (r == -ENOENT)
            key = to;
        else if (r < 0)
            return r;
        else
            key = path.upper;
    }
    if (end)
        *end = tree_key_compare(key, to) < 0 ? key : to;
    return 0;
}

/* ---- changing ------------------------------------------------------------------------------ */

static struct node *tree_op_must_get(struct tree_op *op, const struct tree *tree,
                                     struct node_ref ref)
{
    struct node *node = NULL;
    int r = tree_op_get(op, ref, tree->kind, &node);
    INVARIANT(r == 0); /* prepared, so in memory */
    return node;
}

static void tree_op_keep(struct tree_op *op, struct node *node)
{
    INVARIANT(tree_op_make_room(op) == 0);
    op->pinned[op->pinned_count++] = node;
}

void placements_destroy(struct placements *placements)
{
    if (!placements->is_replay)
        free(placements->blks);
    *placements = (struct placements){0};
}

static uint64_t placements_replay(struct placements *placements, struct space *space)
{
    if (placements->next == placements->count)
    {
        /* The record is refused after all; the last blocks there could be serve until then. */
        placements->failed = true;
        return DISK_BLKS_MAX - ++placements->extra;
    }
    uint64_t blk = placements->blks[placements->next++];
    space_take_node_at(space, blk);
    return blk;
}

static uint64_t tree_take_blk(struct tree_op *op)
{
    struct placements *placements = op->placements;
    if (placements && placements->is_replay)
        return placements_replay(placements, op->pool->space);
    uint64_t blk = op->far_from ? space_take_node_far(op->pool->space, op->far_from)
                                : space_take_node(op->pool->space);
    if (!placements)
        return blk;
    if (placements->count == placements->capacity)
    {
        unsigned capacity = placements->capacity ? placements->capacity * 2 : 16;
        uint64_t *blks = realloc(placements->blks, capacity * sizeof(*blks));
        INVARIANT(blks); /* apply() cannot fail */
        placements->blks = blks;
        placements->capacity = capacity;
    }
    placements->blks[placements->count++] = blk;
    return blk;
}

static void tree_op_count(struct tree_op *op, uint64_t delta)
{
    if (op->own_nodes)
        atomic_fetch_add_explicit(op->own_nodes, delta, memory_order_relaxed);
}

static struct node *tree_new_node(struct tree_op *op, const struct tree *tree, unsigned level)
{
    struct node_ref ref = {
        .blk = tree_take_blk(op), .cp_id = atomic_load(&op->pool->cp_id), .birth = op->birth};
    struct node *node = cache_add(op->pool->cache, ref, tree->kind, level);
    tree_op_keep(op, node);
    tree_op_count(op, 1);
    return node;
}

static bool tree_op_owns(const struct tree_op *op, uint32_t birth)
{
    return birth > op->own_after;
}

/* The tree stops using a node: own ones are freed, others are an ancestor's. */
static void tree_leave_node(struct tree_op *op, struct node *node)
{
    if (tree_op_owns(op, node->ref.birth))
    {
        tree_op_count(op, UINT64_MAX);
        space_free(op->pool->space, node->ref.blk, 1, true);
        cache_forget(op->pool->cache, node);
    }
    else
    {
        op->drop_node(op, node->ref.blk, node->ref.birth);
    }
}

void tree_free_node(struct tree_op *op, struct node_ref ref)
{
    tree_op_count(op, UINT64_MAX);
    space_free(op->pool->space, ref.blk, 1, true);
    struct node *node = cache_find(op->pool->cache, ref);
    if (!node)
        return;
    cache_forget(op->pool->cache, node);
    cache_unpin(op->pool->cache, node);
}

/* The node itself if it may be changed, else a copy that takes its place. */
static struct node *tree_writable(struct tree_op *op, const struct tree *tree, struct node *node)
{
    if (tree_op_owns(op, node->ref.birth) && atomic_load(&node->state) == NODE_DIRTY &&
        !node->is_sealed)
        return node;
    struct node *copy = tree_new_node(op, tree, node->disk->level);
    copy->disk->count = node->disk->count;
    memcpy(copy->disk->entries, node->disk->entries, sizeof(node->disk->entries));
    tree_leave_node(op, node);
    return copy;
}

static void node_set_child_ref(struct disk_node *disk, unsigned i, struct node_ref ref)
{
    disk->children[i] = tree_child_of(tree_child_key(&disk->children[i]), ref);
}

void tree_change_seek(struct tree_op *op, struct tree *tree, struct tree_key key,
                      struct tree_path *path)
{
    if (tree->root.blk == 0)
    {
        struct node *root = tree_new_node(op, tree, 0);
        tree->root = root->ref;
        tree->levels = 1;
    }
    path->levels = tree->levels;
    path->upper = TREE_KEY_END;
    struct node_ref ref = tree->root;
    for (unsigned level = tree->levels; level-- > 0;)
    {
        struct node *old = tree_op_must_get(op, tree, ref);
        struct node *node = tree_writable(op, tree, old);
        path->nodes[level] = node;
        if (node != old && level + 1 == tree->levels)
            tree->root = node->ref;
        else if (node != old)
            node_set_child_ref(path->nodes[level + 1]->disk, path->index[level + 1], node->ref);
        if (level == 0)
        {
            path->index[0] = leaf_entry_index(node->disk, key);
            break;
        }
        unsigned i = node_child_index(node->disk, key);
        path->index[level] = i;
        if (i + 1 < node_count(node->disk))
            path->upper = tree_child_key(&node->disk->children[i + 1]);
        ref = tree_child_ref(&node->disk->children[i]);
    }
}

static void node_set_count(struct disk_node *disk, unsigned count)
{
    disk->count = le16_put(count);
}

static void array_open(void *items, size_t item_bytes, unsigned count, unsigned at, unsigned remove,
                       unsigned insert)
{
    uint8_t *base = items;
    memmove(base + (at + insert) * item_bytes, base + (at + remove) * item_bytes,
            (count - at - remove) * item_bytes);
}

/* The first key beyond the node of @path at @level. */
static struct tree_key tree_path_upper(const struct tree_path *path, unsigned level)
{
    while (++level < path->levels)
    {
        const struct disk_node *disk = path->nodes[level]->disk;
        unsigned i = path->index[level];
        if (i + 1 < node_count(disk))
            return tree_child_key(&disk->children[i + 1]);
    }
    return TREE_KEY_END;
}

static uint64_t tree_keys_min(unsigned level)
{
    uint64_t keys = TREE_LEAF_KEYS_MIN;
    while (level-- > 0)
        keys *= TREE_CHILDREN_MIN;
    return keys;
}

/*
 * Whether a node that grew at its end may keep most of what it has, so that the part from
 * @separator on begins nearly empty. Ascending writes then fill nodes instead of leaving halves
 * behind. But the part must be the last of its level, or cover enough keys of a map, of which each
 * is there once: else nodes that stay nearly empty could become many, and tree_nodes_max(), on
 * which promises of space rest, would be ten times as much.
 */
static bool tree_may_split_late(const struct tree_op *op, const struct tree *tree,
                                const struct tree_path *path, unsigned level,
                                struct tree_key separator)
{
    struct tree_key upper = tree_path_upper(path, level);
    if (op->pool->splits_narrowly || tree_key_compare(upper, TREE_KEY_END) == 0)
        return true;
    return tree->kind == DISK_TREE_MAP && upper.lo - separator.lo >= tree_keys_min(level);
}

/*
 * A node divided in the middle leaves TREE_LEAF_KEYS_MIN entries, or TREE_CHILDREN_MIN children, on
 * either side. Entries are of different keys, so both parts cover as many keys, and in a map a part
 * that covers fewer is never made (tree_may_split_late()). A node covers more keys when a neighbour
 * goes, never fewer but by being divided. In a drop list keys are counted that had an entry at some
 * time since it was begun: each part has had its share of them.
 * The last node of a level may cover less: one more for each level.
 */
uint64_t tree_nodes_max(uint64_t keys)
{
    uint64_t nodes = 0, of_level = keys ? 2 : 0, covers = TREE_LEAF_KEYS_MIN;
    for (unsigned level = 0; of_level > 1 && level < DISK_LEVELS_MAX; level++)
    {
        of_level = keys / covers + 1;
        nodes += of_level;
        covers *= TREE_CHILDREN_MIN;
    }
    return nodes;
}

/* Puts @child behind children[at - 1] of the node at @level, splitting upwards as needed. */
static void tree_insert_child(struct tree_op *op, struct tree *tree, struct tree_path *path,
                              unsigned level, unsigned at, struct disk_child child)
{
    if (level == tree->levels)
    {
        INVARIANT(tree->levels < DISK_LEVELS_MAX); /* tree_seek() */
        struct node *root = tree_new_node(op, tree, level);
        root->disk->children[0] = tree_child_of((struct tree_key){0}, tree->root);
        root->disk->children[1] = child;
        node_set_count(root->disk, 2);
        tree->root = root->ref;
        tree->levels++;
        return;
    }
    struct disk_node *disk = path->nodes[level]->disk;
    unsigned count = node_count(disk);
    if (count < DISK_NODE_CHILDREN)
    {
        array_open(disk->children, sizeof(child), count, at, 0, 1);
        disk->children[at] = child;
        node_set_count(disk, count + 1);
        return;
    }
    bool is_late = at == count && tree_may_split_late(op, tree, path, level,
                                                      tree_child_key(&disk->children[count - 1]));
    unsigned left = is_late ? count - 1 : count / 2;
    struct node *right = tree_new_node(op, tree, level);
    memcpy(right->disk->children, &disk->children[left], (count - left) * sizeof(child));
    node_set_count(right->disk, count - left);
    node_set_count(disk, left);
    struct disk_node *target = at <= left ? disk : right->disk;
    unsigned target_at = at <= left ? at : at - left;
    array_open(target->children, sizeof(child), node_count(target), target_at, 0, 1);
    target->children[target_at] = child;
    node_set_count(target, node_count(target) + 1);
    struct tree_key separator = tree_child_key(&right->disk->children[0]);
    tree_insert_child(op, tree, path, level + 1, path->index[level + 1] + 1,
                      tree_child_of(separator, right->ref));
}

/* Takes the empty node at @level out of its parent, and so on upwards. */
static void tree_remove_node(struct tree_op *op, struct tree *tree, struct tree_path *path,
                             unsigned level)
{
    tree_leave_node(op, path->nodes[level]);
    if (level + 1 == tree->levels)
    {
        tree->root = (struct node_ref){0};
        tree->levels = 0;
        return;
    }
    struct disk_node *parent = path->nodes[level + 1]->disk;
    unsigned count = node_count(parent), at = path->index[level + 1];
    array_open(parent->children, sizeof(parent->children[0]), count, at, 1, 0);
    node_set_count(parent, count - 1);
    if (count == 1)
        tree_remove_node(op, tree, path, level + 1);
}

/* The entries of an overfull leaf, before they are divided. */
struct tree_overflow
{
    union disk_entry entries[DISK_LEAF_ENTRIES + 4];
    unsigned count;
};

void tree_change_replace(struct tree_op *op, struct tree *tree, struct tree_path *path,
                         unsigned remove, const union disk_entry *entries, unsigned insert)
{
    struct disk_node *leaf = path->nodes[0]->disk;
    unsigned count = node_count(leaf), at = path->index[0];
    INVARIANT(at + remove <= count && insert <= 4);
    unsigned after = count - remove + insert;
    if (after == 0)
    {
        tree_remove_node(op, tree, path, 0);
        return;
    }
    if (after <= DISK_LEAF_ENTRIES)
    {
        array_open(leaf->entries, sizeof(leaf->entries[0]), count, at, remove, insert);
        if (insert > 0)
            memcpy(&leaf->entries[at], entries, insert * sizeof(*entries));
        node_set_count(leaf, after);
        return;
    }
    struct tree_overflow all = {.count = after};
    memcpy(all.entries, leaf->entries, at * sizeof(*entries));
    memcpy(&all.entries[at], entries, insert * sizeof(*entries));
    memcpy(&all.entries[at + insert], &leaf->entries[at + remove],
           (count - at - remove) * sizeof(*entries));
    /*
     * Ascending writes fill leaves, all but a tenth: a whole leaf would split at the first write in
     * its middle, and a clone that is written here and there would take two nodes for each.
     */
    unsigned late = DISK_LEAF_ENTRIES * 9 / 10;
    bool is_late =
        at + remove == count &&
        tree_may_split_late(op, tree, path, 0, tree_entry_key(tree->kind, &all.entries[late]));
    unsigned left = is_late ? late : after / 2;
    struct node *right = tree_new_node(op, tree, 0);
    memcpy(leaf->entries, all.entries, left * sizeof(*entries));
    node_set_count(leaf, left);
    memcpy(right->disk->entries, &all.entries[left], (after - left) * sizeof(*entries));
    node_set_count(right->disk, after - left);
    tree_insert_child(
        op, tree, path, 1, tree->levels > 1 ? path->index[1] + 1 : 0,
        tree_child_of(tree_entry_key(tree->kind, &right->disk->entries[0]), right->ref));
}
