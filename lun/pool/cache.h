/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tree nodes in memory.
 *
 * A node is named by its block and known by the checkpoint it was made in. It is DIRTY from its
 * making until the switch of a checkpoint, WRITING until that has written it, CLEAN from then on;
 * its content changes only while it is DIRTY, under the lock of its tree. CLEAN nodes that nobody
 * has pinned leave when the cache is over its size.
 *
 * Loading is separate from finding: whoever holds locks only finds, and on a miss lets go of them,
 * loads, and comes again (struct tree_op in tree.h does this).
 */
#ifndef LUN_POOL_CACHE_H
#define LUN_POOL_CACHE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "lun/base/list.h"
#include "lun/pool/format.h"
#include "lun/pool/hash.h"

struct cache;
struct pool;

enum node_state
{
    NODE_CLEAN,
    NODE_DIRTY,
    NODE_WRITING,
};

/* Where a node is, and what is expected there. */
struct node_ref
{
    uint64_t blk; /* 0: none */
    uint64_t cp_id;
    uint32_t birth;
};

struct node
{
    struct hash_link link;  /* cache lock */
    struct list lru_link;   /* cache lock: the list of its state, or alone */
    struct node_ref ref;    /* immutable */
    uint32_t pins;          /* cache lock */
    bool is_detached;       /* cache lock: freed by its tree; goes with the last pin */
    bool is_sealed;         /* replay: DIRTY, but of before a checkpoint that never was */
    _Atomic int state;      /* enum node_state; changes under the cache lock */
    _Atomic bool was_used;  /* since the sweep last came by */
    struct disk_node *disk; /* BLK_BYTES */
};

MUST_CHECK int cache_create(struct pool *pool, uint64_t limit_bytes, struct cache **cache);
void cache_destroy(struct cache *cache);

/* The node, pinned, or NULL if it is not in memory. */
struct node *cache_find(struct cache *cache, struct node_ref ref);

/* Reads the node if it is not there, and pins it. -EBADMSG, logged, if it is not what @ref says. */
MUST_CHECK int cache_load(struct cache *cache, struct node_ref ref, enum disk_tree_kind kind,
                          struct node **node);

/* A new DIRTY node at @ref, pinned, empty but for kind, level and birth. Aborts without memory:
 * called from apply(), which cannot fail; see cache_reserve(). */
struct node *cache_add(struct cache *cache, struct node_ref ref, enum disk_tree_kind kind,
                       unsigned level);

/* Makes sure that the next @count cache_add() find memory. */
MUST_CHECK int cache_reserve(struct cache *cache, unsigned count);

void cache_pin(struct cache *cache, struct node *node);
void cache_unpin(struct cache *cache, struct node *node);

/* The node's block was freed: it is not written any more and is forgotten with its last pin. */
void cache_forget(struct cache *cache, struct node *node);

/* Switch of a checkpoint: all DIRTY nodes become WRITING. How many. */
uint64_t cache_begin_writing(struct cache *cache);

/* Replay passes where a checkpoint switched that did not become durable: what is dirty is copied
 * from now on when it changes, as it was then. */
void cache_seal(struct cache *cache);

/* Writes all WRITING nodes and makes them CLEAN. */
MUST_CHECK int cache_write(struct cache *cache);

struct cache_stats
{
    uint64_t dirty, writing, total, hits, misses;
};
void cache_get_stats(struct cache *cache, struct cache_stats *stats);
uint64_t cache_dirty_count(struct cache *cache);

/* 0, or -EBADMSG: whether @disk is a valid node at @ref. The same check before writing and after
 * reading. */
MUST_CHECK int disk_node_verify(const struct pool *pool, const struct disk_node *disk,
                                struct node_ref ref, enum disk_tree_kind kind);

/* Fills in header and checksum of any metadata block; disk_header_verify() checks them. */
void disk_header_seal(const struct pool *pool, struct disk_header *header, enum disk_magic magic,
                      uint64_t blk, uint64_t cp_id);
MUST_CHECK int disk_header_verify(const struct pool *pool, const struct disk_header *header,
                                  enum disk_magic magic, uint64_t blk, uint64_t cp_id);

#endif
