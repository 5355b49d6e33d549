/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/pool/cache.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/crc32c.h"
#include "lun/base/invariant.h"
#include "lun/base/log.h"
#include "lun/pool/pool_internal.h"
#include "lun/pool/tree.h"

enum
{
    CACHE_WRITE_BATCH = 64
};

struct cache
{
    struct pool *pool;
    struct lock lock; /* LOCK_RANK_CACHE; guards all below */
    struct hash nodes;
    struct list clean, dirty, writing; /* clean: oldest first */
    uint64_t limit_nodes;
    struct list spare; /* memory for cache_add(), by lru_link */
    uint64_t spare_count;
    _Atomic uint64_t dirty_count;
    uint64_t writing_count, total;
    _Atomic uint64_t hits, misses;
};

int cache_create(struct pool *pool, uint64_t limit_bytes, struct cache **out)
{
    struct cache *cache = calloc(1, sizeof(*cache));
    if (!cache)
        return -ENOMEM;
    cache->pool = pool;
    cache->limit_nodes = max_u64(limit_bytes / BLK_BYTES, 64);
    lock_init(&cache->lock, LOCK_RANK_CACHE);
    list_init(&cache->clean);
    list_init(&cache->dirty);
    list_init(&cache->writing);
    list_init(&cache->spare);
    int r = hash_init(&cache->nodes, 4096);
    if (r < 0)
    {
        free(cache);
        return r;
    }
    *out = cache;
    return 0;
}

static void node_free(struct node *node)
{
    free(node->disk);
    free(node);
}

static struct node *node_alloc(void)
{
    struct node *node = calloc(1, sizeof(*node));
    if (!node)
        return NULL;
    node->disk = aligned_alloc(BLK_BYTES, BLK_BYTES);
    if (!node->disk)
    {
        free(node);
        return NULL;
    }
    list_init(&node->lru_link);
    return node;
}

static void cache_free_list(struct list *list)
{
    list_for_each_safe (node, list, struct node, lru_link)
        node_free(node);
}

void cache_destroy(struct cache *cache)
{
    if (!cache)
        return;
    cache_free_list(&cache->clean);
    cache_free_list(&cache->dirty);
    cache_free_list(&cache->writing);
    cache_free_list(&cache->spare);
    hash_destroy(&cache->nodes);
    lock_destroy(&cache->lock);
    free(cache);
}

static struct node *cache_lookup_locked(struct cache *cache, struct node_ref ref)
{
    uint64_t key = hash_u64(ref.blk);
    hash_for_each(link, &cache->nodes, key)
    {
        struct node *node = container_of(link, struct node, link);
        if (node->ref.blk == ref.blk && node->ref.cp_id == ref.cp_id)
            return node;
    }
    return NULL;
}

static void cache_remove_locked(struct cache *cache, struct node *node)
{
    hash_remove(&cache->nodes, &node->link);
    list_remove(&node->lru_link);
    cache->total--;
}

/* Second chance: a node that was used since the sweep goes to the end of the list once. */
static void cache_evict_locked(struct cache *cache)
{
    unsigned budget = 16;
    while (cache->total > cache->limit_nodes && budget-- > 0 && !list_is_empty(&cache->clean))
    {
        struct node *node = container_of(cache->clean.next, struct node, lru_link);
        if (node->pins > 0 || atomic_exchange(&node->was_used, false))
        {
            list_remove(&node->lru_link);
            list_add_tail(&cache->clean, &node->lru_link);
            continue;
        }
        cache_remove_locked(cache, node);
        node_free(node);
    }
}

struct node *cache_find(struct cache *cache, struct node_ref ref)
{
    AUTO_LOCK(&cache->lock);
    struct node *node = cache_lookup_locked(cache, ref);
    if (!node)
        return NULL;
    node->pins++;
    atomic_store_explicit(&node->was_used, true, memory_order_relaxed);
    atomic_fetch_add_explicit(&cache->hits, 1, memory_order_relaxed);
    return node;
}

void disk_header_seal(const struct pool *pool, struct disk_header *header, enum disk_magic magic,
                      uint64_t blk, uint64_t cp_id)
{
    header->magic = le32_put(magic);
    header->pool_id = le64_put(pool->pool_id);
    header->blk = le64_put(blk);
    header->cp_id = le64_put(cp_id);
    header->crc32c = le32_put(0);
    header->crc32c = le32_put(crc32c(0, header, BLK_BYTES));
}

int disk_header_verify(const struct pool *pool, const struct disk_header *header,
                       enum disk_magic magic, uint64_t blk, uint64_t cp_id)
{
    struct disk_header zeroed = *header;
    zeroed.crc32c = le32_put(0);
    uint32_t crc = crc32c(0, &zeroed, sizeof(zeroed));
    crc = crc32c(crc, (const uint8_t *)header + sizeof(zeroed), BLK_BYTES - sizeof(zeroed));
    const char *what = NULL;
    if (le32_get(header->crc32c) != crc)
        what = "its checksum is wrong";
    else if (le32_get(header->magic) != (uint32_t)magic)
        what = "it is of another kind";
    else if (le64_get(header->pool_id) != pool->pool_id)
        what = "it belongs to another pool";
    else if (le64_get(header->blk) != blk)
        what = "it was meant for another block";
    else if (le64_get(header->cp_id) != cp_id)
        what = "it is not of the checkpoint that its pointer names";
    if (!what)
        return 0;
    log_error("metadata block %" PRIu64 " (kind %08x, checkpoint %" PRIu64 ") is damaged: %s", blk,
              (unsigned)magic, cp_id, what);
    return -EBADMSG;
}

int disk_node_verify(const struct pool *pool, const struct disk_node *disk, struct node_ref ref,
                     enum disk_tree_kind kind)
{
    int r = disk_header_verify(pool, &disk->header, DISK_MAGIC_NODE, ref.blk, ref.cp_id);
    if (r < 0)
        return r;
    if (disk->kind == kind && le32_get(disk->birth) == ref.birth && tree_node_is_sane(pool, disk))
        return 0;
    log_error("tree node %" PRIu64 " is damaged: its content is impossible", ref.blk);
    return -EBADMSG;
}

int cache_load(struct cache *cache, struct node_ref ref, enum disk_tree_kind kind,
               struct node **out)
{
    *out = cache_find(cache, ref);
    if (*out)
        return (*out)->disk->kind == kind ? 0 : (cache_unpin(cache, *out), -EBADMSG);
    atomic_fetch_add_explicit(&cache->misses, 1, memory_order_relaxed);
    struct pool *pool = cache->pool;
    /* Nodes of the checkpoint in the making are in memory. */
    if (!space_may_hold(pool, ref.blk, 1) || ref.cp_id >= atomic_load(&pool->cp_id))
    {
        log_error("a pointer to tree node %" PRIu64 " (checkpoint %" PRIu64 ") is damaged", ref.blk,
                  ref.cp_id);
        return -EBADMSG;
    }
    struct node *node = node_alloc();
    if (!node)
        return -ENOMEM;
    int r = device_read(pool->device, node->disk, BLK_BYTES, ref.blk * BLK_BYTES);
    if (r == 0)
        r = disk_node_verify(pool, node->disk, ref, kind);
    if (r < 0)
    {
        node_free(node);
        return r;
    }
    node->ref = ref;
    node->pins = 1;
    atomic_store(&node->state, NODE_CLEAN);
    AUTO_LOCK(&cache->lock);
    struct node *other = cache_lookup_locked(cache, ref);
    if (other) /* somebody else was faster */
    {
        other->pins++;
        node_free(node);
        *out = other;
        return 0;
    }
    hash_add(&cache->nodes, &node->link, hash_u64(ref.blk));
    list_add_tail(&cache->clean, &node->lru_link);
    cache->total++;
    cache_evict_locked(cache);
    *out = node;
    return 0;
}

int cache_reserve(struct cache *cache, unsigned count)
{
    for (;;)
    {
        {
            AUTO_LOCK(&cache->lock);
            if (cache->spare_count >= count)
                return 0;
        }
        struct node *node = node_alloc();
        if (!node)
            return -ENOMEM;
        AUTO_LOCK(&cache->lock);
        list_add_tail(&cache->spare, &node->lru_link);
        cache->spare_count++;
    }
}

static struct node *cache_take_spare_locked(struct cache *cache)
{
    INVARIANT(!list_is_empty(&cache->spare));
    struct node *node = container_of(cache->spare.next, struct node, lru_link);
    list_remove(&node->lru_link);
    cache->spare_count--;
    return node;
}

struct node *cache_add(struct cache *cache, struct node_ref ref, enum disk_tree_kind kind,
                       unsigned level)
{
    struct node *node = node_alloc();
    AUTO_LOCK(&cache->lock);
    if (!node)
        node = cache_take_spare_locked(cache);
    node->ref = ref;
    node->pins = 1;
    node->is_sealed = node->is_detached = false;
    memset(node->disk, 0, BLK_BYTES);
    node->disk->birth = le32_put(ref.birth);
    node->disk->kind = (uint8_t)kind;
    node->disk->level = (uint8_t)level;
    atomic_store(&node->state, NODE_DIRTY);
    INVARIANT(cache_lookup_locked(cache, ref) == NULL);
    hash_add(&cache->nodes, &node->link, hash_u64(ref.blk));
    list_add_tail(&cache->dirty, &node->lru_link);
    atomic_fetch_add(&cache->dirty_count, 1);
    cache->total++;
    cache_evict_locked(cache);
    return node;
}

void cache_pin(struct cache *cache, struct node *node)
{
    AUTO_LOCK(&cache->lock);
    node->pins++;
}

void cache_unpin(struct cache *cache, struct node *node)
{
    AUTO_LOCK(&cache->lock);
    INVARIANT(node->pins > 0);
    if (--node->pins == 0 && node->is_detached)
        node_free(node);
}

void cache_forget(struct cache *cache, struct node *node)
{
    AUTO_LOCK(&cache->lock);
    if (atomic_load(&node->state) == NODE_WRITING)
        return; /* the checkpoint that is being written still needs it on disk */
    if (node->is_detached)
        return;
    if (atomic_load(&node->state) == NODE_DIRTY)
        atomic_fetch_sub(&cache->dirty_count, 1);
    cache_remove_locked(cache, node);
    node->is_detached = true;
    if (node->pins == 0)
        node_free(node);
}

uint64_t cache_begin_writing(struct cache *cache)
{
    AUTO_LOCK(&cache->lock);
    INVARIANT(list_is_empty(&cache->writing));
    list_for_each (node, &cache->dirty, struct node, lru_link)
        atomic_store(&node->state, NODE_WRITING);
    list_splice_tail(&cache->writing, &cache->dirty);
    cache->writing_count = atomic_exchange(&cache->dirty_count, 0);
    return cache->writing_count;
}

void cache_seal(struct cache *cache)
{
    AUTO_LOCK(&cache->lock);
    list_for_each (node, &cache->dirty, struct node, lru_link)
        node->is_sealed = true;
}

static int compare_nodes(const void *a, const void *b)
{
    uint64_t x = (*(struct node *const *)a)->ref.blk, y = (*(struct node *const *)b)->ref.blk;
    return x < y ? -1 : x > y;
}

/* Neighbours in one write, so best sorted. Nobody changes or frees a WRITING node, so no lock is
 * needed. */
static int cache_write_nodes(struct cache *cache, struct node **nodes, size_t count)
{
    struct pool *pool = cache->pool;
    for (size_t i = 0; i < count;)
    {
        struct iovec iov[CACHE_WRITE_BATCH];
        int n = 0;
        uint64_t first_blk = nodes[i]->ref.blk;
        while (i < count && n < CACHE_WRITE_BATCH && nodes[i]->ref.blk == first_blk + (unsigned)n)
        {
            struct node *node = nodes[i++];
            disk_header_seal(pool, &node->disk->header, DISK_MAGIC_NODE, node->ref.blk,
                             node->ref.cp_id);
            DEBUG_INVARIANT(disk_node_verify(pool, node->disk, node->ref,
                                             (enum disk_tree_kind)node->disk->kind) == 0);
            iov[n++] = (struct iovec){.iov_base = node->disk, .iov_len = BLK_BYTES};
        }
        int r = device_writev(pool->device, iov, n, first_blk * BLK_BYTES);
        if (r < 0)
            return r;
    }
    return 0;
}

static int cache_write_sorted(struct cache *cache, struct node **nodes)
{
    size_t count = 0;
    {
        AUTO_LOCK(&cache->lock);
        list_for_each (node, &cache->writing, struct node, lru_link)
            nodes[count++] = node;
    }
    INVARIANT(count == cache->writing_count);
    qsort(nodes, count, sizeof(struct node *), compare_nodes);
    return cache_write_nodes(cache, nodes, count);
}

/* For want of memory: slower. Only checkpoints change the list. */
static int cache_write_one_by_one(struct cache *cache)
{
    int r = 0;
    list_for_each (node, &cache->writing, struct node, lru_link)
    {
        struct node *one = node;
        if (r == 0)
            r = cache_write_nodes(cache, &one, 1);
    }
    return r;
}

int cache_write(struct cache *cache)
{
    if (cache->writing_count == 0)
        return 0;
    AUTO_FREE struct node **nodes = malloc(cache->writing_count * sizeof(struct node *));
    int r = nodes ? cache_write_sorted(cache, nodes) : cache_write_one_by_one(cache);
    if (r < 0)
        return r;
    AUTO_LOCK(&cache->lock);
    list_for_each (node, &cache->writing, struct node, lru_link)
        atomic_store(&node->state, NODE_CLEAN);
    list_splice_tail(&cache->clean, &cache->writing);
    cache->writing_count = 0;
    cache_evict_locked(cache);
    return 0;
}

uint64_t cache_dirty_count(struct cache *cache)
{
    return atomic_load_explicit(&cache->dirty_count, memory_order_relaxed);
}

void cache_get_stats(struct cache *cache, struct cache_stats *stats)
{
    AUTO_LOCK(&cache->lock);
    *stats = (struct cache_stats){
        .dirty = atomic_load(&cache->dirty_count),
        .writing = cache->writing_count,
        .total = cache->total,
        .hits = atomic_load(&cache->hits),
        .misses = atomic_load(&cache->misses),
    };
}
