/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Salvage: what can still be read of a pool, however it is damaged; nothing is ever written to it.
 *
 * The pool is opened the mildest way that works: as always; as a repair would open it, which finds
 * lost bitmaps, tables and the index again, and follows the journal as far as it goes; or not at
 * all: then pages are parsed one by one, as of the last checkpoint. Maps are gone through node by
 * node in any case, and what is below a node that is lost is told as lost.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/check/salvage_internal.h"
#include "lun/pool/pool_internal.h"
#include "lun/pool/super.h"

enum
{
    SALVAGE_PIECE_BLKS = 256, /* read at once */
};

struct salvaged *salvage_add(struct salvage *salvage)
{
    if (salvage->count == salvage->capacity)
    {
        size_t capacity = salvage->capacity ? 2 * salvage->capacity : 64;
        struct salvaged *found = realloc(salvage->found, capacity * sizeof(*found));
        if (!found)
            return NULL;
        salvage->found = found;
        salvage->capacity = capacity;
    }
    struct salvaged *one = &salvage->found[salvage->count++];
    *one = (struct salvaged){.item = {.name = ""}};
    return one;
}

/* ---- opening ------------------------------------------------------------------------------- */

static int salvage_add_lun(struct salvage *salvage, const struct lun_object *lun)
{
    struct salvaged *one = salvage_add(salvage);
    if (!one)
        return -ENOMEM;
    snprintf(one->item.name, sizeof(one->item.name), "%s", lun->name);
    one->item.size_bytes = one->size_bytes = atomic_load(&lun->size_bytes);
    one->item.mapped_bytes = atomic_load(&lun->line->mapped_blks) * BLK_BYTES;
    one->item.is_there = true;
    one->map = lun->line->map;
    return 0;
}

static int salvage_list_luns(struct salvage *salvage)
{
    int r = 0;
    list_for_each (lun, &salvage->pool->luns, struct lun_object, all_link)
    {
        r = keep_first(r, salvage_add_lun(salvage, lun));
        list_for_each (snapshot, &lun->snapshots, struct lun_object, lun_link)
            r = keep_first(r, salvage_add_lun(salvage, snapshot));
    }
    list_for_each (lun, &salvage->pool->deleted_luns, struct lun_object, all_link)
    {
        list_for_each (snapshot, &lun->snapshots, struct lun_object, lun_link)
            r = keep_first(r, salvage_add_lun(salvage, snapshot));
    }
    return r;
}

static void salvage_forget_finding(void *opaque, bool is_error, const char *text)
{
    (void)opaque, (void)is_error, (void)text;
}

/* One way after the other; @device goes with the pool. */
static int salvage_open_pool(struct salvage *salvage, struct env *env, struct device *device,
                             struct reason *why)
{
    struct pool_open_options options = {.read_only = true};
    salvage->way = SALVAGE_WHOLE;
    int r = pool_open_device(env, device, &options, &salvage->pool, why);
    if (r == 0 || r == -ENOMEM)
        return r;
    salvage->way = SALVAGE_REPAIRED;
    salvage->repair = options.repair = repair_create(salvage_forget_finding, NULL);
    if (!salvage->repair)
        return -ENOMEM;
    r = pool_open_device(env, device, &options, &salvage->pool, why);
    if (r == 0 || r == -ENOMEM)
        return r;
    salvage->way = SALVAGE_RAW;
    options.repair = NULL;
    options.super_only = true;
    return pool_open_device(env, device, &options, &salvage->pool, why);
}

static int compare_items(const void *a, const void *b)
{
    return strcmp(((const struct salvaged *)a)->item.name, ((const struct salvaged *)b)->item.name);
}

int salvage_open_device(struct env *env, struct device *device, struct salvage **out,
                        struct reason *why)
{
    reason_clear(why);
    struct salvage *salvage = calloc(1, sizeof(*salvage));
    int r = salvage ? salvage_open_pool(salvage, env, device, why) : -ENOMEM;
    if (r < 0)
    {
        device_close(device);
        salvage_close(salvage);
        return r;
    }
    r = salvage->way == SALVAGE_RAW ? salvage_read_pages(salvage) : salvage_list_luns(salvage);
    if (r < 0)
    {
        salvage_close(salvage);
        return reason_set(why, r, "the catalog of the pool cannot be read: %s", strerror(-r));
    }
    if (salvage->count > 0)
        qsort(salvage->found, salvage->count, sizeof(*salvage->found), compare_items);
    reason_clear(why);
    *out = salvage;
    return 0;
}

int salvage_open(struct env *env, const char *path, struct salvage **salvage, struct reason *why)
{
    reason_clear(why);
    struct device_file_options options = {.read_only = true};
    struct device *device;
    int r = device_file_open(path, &options, &device, why);
    if (r == -EBUSY)
        return super_explain_busy(path, why);
    return r < 0 ? r : salvage_open_device(env, device, salvage, why);
}

void salvage_close(struct salvage *salvage)
{
    if (!salvage)
        return;
    ignore_error(pool_close(salvage->pool), "opened read-only: nothing to write");
    repair_destroy(salvage->repair);
    free(salvage->found);
    free(salvage);
}

enum salvage_way salvage_way(const struct salvage *salvage)
{
    return salvage->way;
}

size_t salvage_count(const struct salvage *salvage)
{
    return salvage->count;
}

const struct salvage_item *salvage_item(const struct salvage *salvage, size_t i)
{
    return &salvage->found[i].item;
}

/* ---- reading ------------------------------------------------------------------------------- */

struct reading
{
    struct pool *pool;
    uint64_t end_blk; /* of the LUN */
    uint64_t size_bytes;
    bool is_map_only;
    salvage_fn *each;
    void *opaque;
    uint8_t *buf; /* SALVAGE_PIECE_BLKS */
};

/* Blocks [lba, lba + len) with @bytes; NULL: they are lost. Cut off where the LUN ends. */
static int reading_tell(struct reading *reading, uint64_t lba, uint64_t len, const void *bytes)
{
    uint64_t from = lba * BLK_BYTES;
    if (lba >= reading->end_blk || len == 0)
        return 0;
    uint64_t to = min_u64(min_u64(lba + len, reading->end_blk) * BLK_BYTES, reading->size_bytes);
    return reading->each(reading->opaque, from, to - from, bytes);
}

static int reading_blocks(struct reading *reading, uint64_t lba, uint64_t blk, uint64_t len)
{
    struct device *device = reading->pool->device;
    if (device_read(device, reading->buf, len * BLK_BYTES, blk * BLK_BYTES) == 0)
        return reading_tell(reading, lba, len, reading->buf);
    int r = 0;
    for (uint64_t i = 0; r == 0 && i < len; i++)
    {
        bool is_read = device_read(device, reading->buf, BLK_BYTES, (blk + i) * BLK_BYTES) == 0;
        r = reading_tell(reading, lba + i, 1, is_read ? reading->buf : NULL);
    }
    return r;
}

static int reading_extent(struct reading *reading, const struct disk_map_entry *entry)
{
    uint64_t lba = le40_get(entry->lba), blk = le40_get(entry->blk),
             len = le16_get(entry->len_blks);
    if (lba >= reading->end_blk)
        return 0;
    len = min_u64(len, reading->end_blk - lba);
    if (!space_may_hold(reading->pool, blk, len))
        return reading_tell(reading, lba, len, NULL);
    if (reading->is_map_only)
        return reading_tell(reading, lba, len, reading->buf);
    int r = 0;
    for (uint64_t at = 0; r == 0 && at < len; at += SALVAGE_PIECE_BLKS)
        r = reading_blocks(reading, lba + at, blk + at, min_u64(len - at, SALVAGE_PIECE_BLKS));
    return r;
}

/* The depth is bounded by DISK_LEVELS_MAX. */
static int reading_node(struct reading *reading, struct node_ref ref, unsigned level,
                        struct tree_key low, struct tree_key high)
{
    struct cache *cache = reading->pool->cache;
    struct node *node;
    if (low.lo >= reading->end_blk)
        return 0;
    int r = cache_load(cache, ref, DISK_TREE_MAP, &node);
    if (r == -ENOMEM)
        return r;
    if (r < 0)
        return reading_tell(reading, low.lo, min_u64(high.lo, reading->end_blk) - low.lo, NULL);
    const struct disk_node *disk = node->disk;
    unsigned count = le16_get(disk->count);
    if (tree_verify_place(node, level, low, high) < 0)
    {
        r = reading_tell(reading, low.lo, min_u64(high.lo, reading->end_blk) - low.lo, NULL);
        count = 0;
    }
    for (unsigned i = 0; r == 0 && i < count; i++)
    {
        struct tree_key from = i == 0 || level == 0 ? low : tree_child_key(&disk->children[i]);
        if (level == 0)
            r = reading_extent(reading, &disk->entries[i].map);
        else
            r = reading_node(reading, tree_child_ref(&disk->children[i]), level - 1, from,
                             i + 1 < count ? tree_child_key(&disk->children[i + 1]) : high);
    }
    cache_unpin(cache, node);
    return r;
}

static int salvage_run(struct salvage *salvage, const char *name, bool is_map_only,
                       salvage_fn *each, void *opaque, struct reason *why)
{
    reason_clear(why);
    const struct salvaged *one = NULL;
    for (size_t i = 0; i < salvage->count; i++)
    {
        if (strcmp(salvage->found[i].item.name, name) == 0)
            one = &salvage->found[i];
    }
    if (!one)
        return reason_set(why, -ENOENT, "nothing that is called '%s' was found", name);
    if (!one->item.is_there)
        return reason_set(why, -EBADMSG, "the map of '%s' is lost as a whole", name);
    AUTO_FREE uint8_t *buf = aligned_alloc(BLK_BYTES, (size_t)SALVAGE_PIECE_BLKS * BLK_BYTES);
    if (!buf)
        return -ENOMEM;
    struct reading reading = {.pool = salvage->pool,
                              .end_blk = div_round_up(one->size_bytes, BLK_BYTES),
                              .size_bytes = one->size_bytes,
                              .is_map_only = is_map_only,
                              .each = each,
                              .opaque = opaque,
                              .buf = buf};
    const struct tree *map = &one->map;
    if (map->root.blk == 0)
        return 0;
    if (map->levels == 0 || map->levels > DISK_LEVELS_MAX)
        return reason_set(why, -EBADMSG, "the map of '%s' is lost as a whole", name);
    return reading_node(&reading, map->root, map->levels - 1u, (struct tree_key){0}, TREE_KEY_END);
}

int salvage_read(struct salvage *salvage, const char *name, salvage_fn *each, void *opaque,
                 struct reason *why)
{
    return salvage_run(salvage, name, false, each, opaque, why);
}

int salvage_read_map(struct salvage *salvage, const char *name, salvage_fn *each, void *opaque,
                     struct reason *why)
{
    return salvage_run(salvage, name, true, each, opaque, why);
}
