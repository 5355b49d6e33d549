/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * B+trees of 16-byte entries, copy-on-write.
 *
 * A node is written at most once. Changing one that is not DIRTY makes a copy with a block of its
 * own, and so on up to the root. The old block is freed if the node is the tree's own (born after
 * tree->own_after), else handed to the op's drop callback: an ancestor still reads it. Only extent
 * maps share nodes; in all other trees every node is own.
 *
 * Entries are ranges of keys; none crosses the key range of its leaf. A leaf that becomes empty is
 * removed, and its neighbour covers its keys; nodes are not merged otherwise. So every leaf covers
 * at least TREE_LEAF_KEYS_MIN keys that can have entries, and every other node has as many times as
 * much as it has children at least: all but the last node of each level.
 *
 * Changes happen in two steps, so that apply() cannot fail: tree_prepare_range() pins what a change
 * of a key range may touch, in the op; then tree_change_*() finds all of it in memory.
 */
#ifndef LUN_POOL_TREE_H
#define LUN_POOL_TREE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "lun/pool/cache.h"
#include "lun/pool/format.h"

struct pool;

struct tree_key
{
    uint32_t hi;
    uint64_t lo;
};

static inline int tree_key_compare(struct tree_key a, struct tree_key b)
{
    if (a.hi != b.hi)
        return a.hi < b.hi ? -1 : 1;
    return a.lo < b.lo ? -1 : a.lo > b.lo;
}

enum
{
    TREE_LEAF_KEYS_MIN = DISK_LEAF_ENTRIES / 2,
    TREE_CHILDREN_MIN = DISK_NODE_CHILDREN / 2,
};

/*
 * How many nodes a tree may ever have whose entries are all of @keys single keys at most: an extent
 * map of a LUN of so many blocks, or a drop list of a line whose predecessor holds so many.
 */
uint64_t tree_nodes_max(uint64_t keys);

#define TREE_KEY_END ((struct tree_key){.hi = UINT32_MAX, .lo = UINT64_MAX})

struct tree
{
    enum disk_tree_kind kind;
    struct node_ref root; /* blk 0: empty */
    uint8_t levels;       /* 0: empty, 1: the root is a leaf */
};

/*
 * Where the nodes of one record go: noted when it is applied, and given back in the same order when
 * it is replayed, so that recovery builds the very same trees. Later records name blocks of nodes
 * (what reclaim settles) and keys of trees whose entries are such blocks.
 */
struct placements
{
    uint64_t *blks; /* owned unless is_replay */
    unsigned count, capacity;
    bool is_replay;
    unsigned next;  /* is_replay: the first that was not given back yet */
    bool failed;    /* is_replay: more were asked for than there are */
    unsigned extra; /* ... so many more */
};

enum
{
    TREE_OP_PINS_FEW = 12
};

/* One change in preparation or in progress: what is pinned for it, what it makes and drops. */
struct tree_op
{
    struct pool *pool;
    struct node **pinned; /* pinned_few, or allocated */
    unsigned pinned_count, pinned_capacity;
    struct node *pinned_few[TREE_OP_PINS_FEW];
    /* A miss: load this after letting go of all locks, then prepare again (tree_op_load()). */
    struct node_ref missing;
    enum disk_tree_kind missing_kind;
    /* For changes: births of what is made, and what counts as own. */
    uint32_t birth;
    uint32_t own_after;
    /* Takes over the block of a node that is not own; NULL for private trees. */
    void (*drop_node)(struct tree_op *op, uint64_t blk, uint32_t birth);
    void *drop_opaque;
    struct placements *placements; /* NULL: nobody needs to know */
    uint64_t far_from;             /* what is made goes far from this block; 0: anywhere */
    _Atomic uint64_t *own_nodes;   /* goes with the tree's own nodes; NULL: nobody counts */
};

void placements_destroy(struct placements *placements);

void tree_op_init(struct tree_op *op, struct pool *pool);
void tree_op_finish(struct tree_op *op);
#define AUTO_TREE_OP CLEANUP(tree_op_finish)

/* After -EAGAIN with op->missing: loads it and keeps it pinned. Call without locks. */
MUST_CHECK int tree_op_load(struct tree_op *op);

/* The node if it is in memory (pinned in the op), else -EAGAIN and op->missing. */
MUST_CHECK int tree_op_get(struct tree_op *op, struct node_ref ref, enum disk_tree_kind kind,
                           struct node **node);

/* Keys and lengths of entries. */
static inline struct tree_key tree_entry_key(enum disk_tree_kind kind,
                                             const union disk_entry *entry)
{
    switch (kind)
    {
    case DISK_TREE_MAP:
        return (struct tree_key){.lo = le40_get(entry->map.lba)};
    case DISK_TREE_DROPS:
        return (struct tree_key){.hi = le32_get(entry->drop.birth),
                                 .lo = le40_get(entry->drop.blk)};
    case DISK_TREE_PAGES:
    case DISK_TREE_REFS:
        break;
    }
    return (struct tree_key){.lo = le40_get(entry->page.page)};
}

static inline struct tree_key tree_child_key(const struct disk_child *child)
{
    return (struct tree_key){.hi = le32_get(child->key_hi), .lo = le40_get(child->key_lo)};
}

uint64_t tree_entry_len(enum disk_tree_kind kind, const union disk_entry *entry);
struct node_ref tree_child_ref(const struct disk_child *child);
bool tree_node_is_sane(const struct pool *pool, const struct disk_node *disk);

/* Whether @node can be at @level of a tree and have keys from @low to below @high: -EBADMSG. So a
 * tree that is damaged is never looked at twice in one place, nor changed. */
MUST_CHECK int tree_verify_place(const struct node *node, unsigned level, struct tree_key low,
                                 struct tree_key high);

/* A place in a tree: the path from the root to a leaf. Valid while nothing changes. */
struct tree_path
{
    unsigned levels;
    struct node *nodes[DISK_LEVELS_MAX]; /* [0] the leaf, [levels - 1] the root; pinned by the op */
    unsigned index[DISK_LEVELS_MAX];     /* which child; [0]: see the function */
    struct tree_key upper;               /* first key beyond the leaf; TREE_KEY_END at the last */
};

/*
 * The leaf whose range covers @key; path->index[0] is the first entry that ends above @key, perhaps
 * the count. -EAGAIN on a miss. -ENOENT if the tree is empty.
 */
MUST_CHECK int tree_seek(struct tree_op *op, const struct tree *tree, struct tree_key key,
                         struct tree_path *path);

/* The first entry that ends above @key, and whether there is one. Skips to further leaves. */
MUST_CHECK int tree_next(struct tree_op *op, const struct tree *tree, struct tree_key key,
                         union disk_entry *entry, bool *found);

/*
 * Pins the leaves and paths that cover [from, to), at most @max_leaves of them, and appends their
 * count to *leaves. *end (if not NULL) is the first key not covered.
 */
MUST_CHECK int tree_prepare_range(struct tree_op *op, const struct tree *tree, struct tree_key from,
                                  struct tree_key to, unsigned max_leaves, struct tree_key *end);

/*
 * Makes the leaf that covers @key writable, with the path above it; makes a root if the tree is
 * empty. path->index[0] as in tree_seek().
 */
void tree_change_seek(struct tree_op *op, struct tree *tree, struct tree_key key,
                      struct tree_path *path);

/*
 * In the writable leaf of @path: takes out @remove entries at path->index[0] and puts @insert ones
 * (at most 4) there. Splits and removes nodes as needed; the path is not valid afterwards.
 */
void tree_change_replace(struct tree_op *op, struct tree *tree, struct tree_path *path,
                         unsigned remove, const union disk_entry *entries, unsigned insert);

/* Frees one node of a tree that is going, forgets it in the cache. */
void tree_free_node(struct tree_op *op, struct node_ref ref);

void tree_from_disk(struct tree *tree, enum disk_tree_kind kind, const struct disk_root *disk);
void tree_to_disk(const struct tree *tree, struct disk_root *disk);

#endif
