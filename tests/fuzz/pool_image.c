/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fuzz/pool_image.h"

#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/crc32c.h"
#include "lun/base/invariant.h"
#include "lun/base/log.h"
#include "tests/unit/engine_host.h"

enum
{
    IMAGE_GROUP_BLKS = 512,
    IMAGE_BLKS = 4 * IMAGE_GROUP_BLKS,
    IMAGE_GROWN_BLKS = 2 * IMAGE_BLKS, /* as far as a pool can be grown */
    IMAGE_JOURNAL_BYTES = 256 << 10,
    IMAGE_HALF_BYTES = IMAGE_JOURNAL_BYTES / 2,
    IMAGE_USED_ROOM = 32,
};

struct image_block
{
    uint64_t blk;
    unsigned used_bytes;
    bool is_spoiled;
    uint8_t bytes[BLK_BYTES];
};

/* Metadata blocks that count, by rising number. */
struct image_blocks
{
    struct image_block *items;
    unsigned count;
    uint16_t index[IMAGE_BLKS]; /* of a block in items, plus 1; 0: it is not there */
};

struct pool_image
{
    struct simdev *disk;
    struct image_blocks blocks;
};

struct pool_copy
{
    const struct pool_image *image;
    struct image_blocks blocks;
};

static struct pool_image images[POOL_IMAGES];

/* ---- making -------------------------------------------------------------------------------- */

static void must(int r)
{
    INVARIANT(r == 0);
}

static void image_store(struct engine_host *host, const char *key, size_t len)
{
    static const char value[STORE_VALUE_MAX];
    struct store_change change = {.key = key, .value = value, .len = len};
    must(store_apply(host->pool, &change, 1, NULL));
}

/* Trees of two levels, drop lists, a hidden point, all kinds of objects. */
static void image_make_first_part(struct engine_host *host)
{
    host_create(host, "golden", 2048);
    for (uint64_t i = 0; i < 260; i++) /* more than a leaf holds */
        must(host_write(host, "golden", 2 * i, 1, 1, 0));
    host_snapshot(host, "golden", "monday");
    must(host_write(host, "golden", 510, 20, 2, 0));
    must(host_unmap(host, "golden", 100, 40));
    host_clone(host, "golden", "vm-a");
    host_clone(host, "golden", "vm-b");
    host_clone(host, "golden@monday", "vm-c");
    must(host_write(host, "vm-a", 0, 12, 3, 0));
    must(host_write(host, "vm-b", 6, 12, 4, 0));
    must(host_write(host, "golden", 4, 3, 5, 0));
    host_clone(host, "vm-a", "vm-d");
    must(host_write(host, "vm-d", 2, 2, 6, 0));
    host_create(host, "small", 16);
    must(host_write(host, "small", 0, 8, 7, 0));
    must(lun_resize(host->pool, "small", 4 * BLK_BYTES, LUN_FORCE, NULL));
    image_store(host, "map/large", STORE_VALUE_MAX);
    image_store(host, "chap/small", 12);
    host_delete(host, "vm-c");
    must(pool_checkpoint(host->pool));
}

/* Each action at least once. */
static void image_make_journal_part(struct engine_host *host)
{
    must(host_write(host, "vm-b", 600, 3, 8, 0));
    host_flush(host);
    must(host_unmap(host, "vm-a", 0, 9));
    host_clone(host, "vm-b", "late");
    must(host_write(host, "late", 601, 4, 9, 0));
    host_snapshot(host, "vm-a", "tuesday");
    must(host_write(host, "vm-a", 3, 2, 9, 0));
    host_delete(host, "golden@monday");
    host_delete(host, "vm-d");
    must(lun_rename(host->pool, "late", "renamed", NULL));
    must(snapshot_restore(host->pool, "vm-a", "tuesday", 0, NULL));
    host_create(host, "fresh", 4);
    must(host_write(host, "fresh", 0, 2, 10, 0));
    image_store(host, "chap/small", 3);
    struct store_change gone = {.key = "map/large"};
    must(store_apply(host->pool, &gone, 1, NULL));
    for (unsigned steps = 0; steps < 12; steps++) /* some work is left to do */
        INVARIANT(pool_run_job_step(host->pool) >= 0);
    must(host_write(host, "fresh", 3, 1, 12, 0));
    host_flush(host); /* the last batch is verified by its data */
}

static bool image_is_metadata(const uint8_t *bytes, uint64_t blk)
{
    const struct disk_header *header = (const void *)bytes;
    uint32_t magic = le32_get(header->magic);
    return (magic == DISK_MAGIC_SUPER || magic == DISK_MAGIC_BITMAP || magic == DISK_MAGIC_TABLE ||
            magic == DISK_MAGIC_NODE || magic == DISK_MAGIC_PAGE) &&
           le64_get(header->blk) == blk;
}

static bool image_is_journal(uint64_t blk)
{
    return range_ok(blk - DISK_GROUP_HEAD_BLKS, 1, IMAGE_JOURNAL_BYTES / BLK_BYTES);
}

static unsigned image_used(const uint8_t *bytes)
{
    unsigned used = BLK_BYTES;
    while (used > 0 && bytes[used - 1] == 0)
        used--;
    return used ? (unsigned)min_u64(BLK_BYTES, used + IMAGE_USED_ROOM) : 0;
}

/* Notes the metadata that the open pool has on the disk. */
static void image_take(struct engine_host *host, enum pool_image_number number)
{
    struct pool_image *image = &images[number];
    image->disk = simdev_copy(host->disk, 1);
    image->blocks.items = calloc(IMAGE_BLKS, sizeof(*image->blocks.items));
    INVARIANT(image->blocks.items);
    for (uint64_t blk = 0; blk < IMAGE_BLKS; blk++)
    {
        struct image_block *block = &image->blocks.items[image->blocks.count];
        bool is_allocated;
        simdev_peek(image->disk, block->bytes, BLK_BYTES, blk * BLK_BYTES);
        must(space_is_allocated(host->pool->space, blk, &is_allocated));
        block->blk = blk;
        block->used_bytes = image_used(block->bytes);
        bool counts = image_is_journal(blk) ? block->used_bytes > 0
                                            : is_allocated && image_is_metadata(block->bytes, blk);
        if (counts)
            image->blocks.index[blk] = (uint16_t)++image->blocks.count;
    }
}

static void image_make_all(void)
{
    static const struct pool_create_options options = {.name = "fuzz",
                                                       .size_bytes = IMAGE_BLKS * BLK_BYTES,
                                                       .group_blks = IMAGE_GROUP_BLKS,
                                                       .journal_bytes = IMAGE_JOURNAL_BYTES};
    struct engine_host host = {.disk =
                                   simdev_new(options.size_bytes, IMAGE_GROWN_BLKS * BLK_BYTES, 1)};
    rng_env_init(&host.env, 1);
    struct device *device = simdev_open(host.disk);
    must(pool_create_on_device(&host.env.env, device, &options, NULL));
    device_close(device);
    must(host_open(&host, NULL));
    image_make_first_part(&host);
    image_take(&host, POOL_IMAGE_PENDING);
    uint64_t cp_id = atomic_load(&host.pool->cp_id);
    image_make_journal_part(&host);
    INVARIANT(cp_id == atomic_load(&host.pool->cp_id)); /* else the journal was too small */
    image_take(&host, POOL_IMAGE_CRASHED);
    INVARIANT(host_check(&host) == 0);
    host_reopen(&host);
    image_take(&host, POOL_IMAGE_CLOSED);
    host_close(&host);
    simdev_destroy(images[POOL_IMAGE_CLOSED].disk);
    images[POOL_IMAGE_CLOSED].disk = simdev_copy(host.disk, 1);
    simdev_destroy(host.disk);
}

const struct pool_image *pool_image(enum pool_image_number number)
{
    if (!images[0].disk)
        image_make_all();
    return &images[number];
}

/* ---- copies -------------------------------------------------------------------------------- */

struct pool_copy *pool_copy_new(const struct pool_image *image)
{
    struct pool_copy *copy = calloc(1, sizeof(*copy));
    INVARIANT(copy);
    copy->image = image;
    copy->blocks = image->blocks;
    size_t room = IMAGE_JOURNAL_BYTES / BLK_BYTES; /* for journal blocks that are not in use yet */
    copy->blocks.items = malloc((image->blocks.count + room) * sizeof(*copy->blocks.items));
    INVARIANT(copy->blocks.items);
    memcpy(copy->blocks.items, image->blocks.items,
           image->blocks.count * sizeof(*copy->blocks.items));
    return copy;
}

void pool_copy_free(struct pool_copy *copy)
{
    free(copy->blocks.items);
    free(copy);
}

unsigned pool_copy_count(const struct pool_copy *copy)
{
    return copy->image->blocks.count;
}

uint8_t *pool_copy_block(struct pool_copy *copy, unsigned index, unsigned *used_bytes)
{
    struct image_block *block = &copy->blocks.items[index % copy->image->blocks.count];
    *used_bytes = block->used_bytes;
    return block->bytes;
}

void pool_copy_spoil(struct pool_copy *copy, unsigned index)
{
    copy->blocks.items[index % copy->image->blocks.count].is_spoiled = true;
}

static uint8_t *copy_find(struct pool_copy *copy, uint64_t blk)
{
    unsigned index = blk < IMAGE_BLKS ? copy->blocks.index[blk] : 0;
    return index ? copy->blocks.items[index - 1].bytes : NULL;
}

/* ---- sealing ------------------------------------------------------------------------------- */

static void seal_block(uint8_t *bytes)
{
    struct disk_header *header = (void *)bytes;
    header->crc32c = le32_put(0);
    header->crc32c = le32_put(crc32c(0, bytes, BLK_BYTES));
}

/* The slots that point to what is at @head of group @first, @first + @step, ... */
static void seal_slots(struct pool_copy *copy, struct disk_slot *slots, unsigned count,
                       uint64_t step, enum disk_group_head head)
{
    for (unsigned i = 0; i < count; i++)
    {
        uint64_t group = i * step;
        if (le48_get(slots[i].cp_id) == 0)
            continue;
        uint64_t blk = group * IMAGE_GROUP_BLKS + head + (le16_get(slots[i].slot) & 1);
        const uint8_t *bytes = copy_find(copy, blk);
        if (bytes)
            slots[i].crc32c = ((const struct disk_header *)bytes)->crc32c;
    }
}

/* In the order in which checksums go into others: 0 what holds none, 1 and 2 tables, 3 supers. */
static unsigned seal_order(uint64_t blk)
{
    switch (blk % IMAGE_GROUP_BLKS)
    {
    case DISK_HEAD_SUPER:
    case DISK_HEAD_SUPER + 1:
        return 3;
    case DISK_HEAD_TABLE1:
    case DISK_HEAD_TABLE1 + 1:
        return 1;
    case DISK_HEAD_TABLE2:
    case DISK_HEAD_TABLE2 + 1:
        return 2;
    default:
        return 0;
    }
}

static void seal_pass(struct pool_copy *copy, unsigned order)
{
    for (unsigned i = 0; i < copy->blocks.count; i++)
    {
        struct image_block *block = &copy->blocks.items[i];
        if (seal_order(block->blk) != order || image_is_journal(block->blk))
            continue;
        struct disk_table *table = (void *)block->bytes;
        struct disk_super *super = (void *)block->bytes;
        if (order == 1)
            seal_slots(copy, table->slots, DISK_TABLE_FANOUT, 1, DISK_HEAD_BITMAP);
        else if (order == 2)
            seal_slots(copy, table->slots, DISK_TABLE_FANOUT, DISK_TABLE_FANOUT, DISK_HEAD_TABLE1);
        else if (order == 3)
            seal_slots(copy, super->tables, DISK_SUPER_TABLES,
                       (uint64_t)DISK_TABLE_FANOUT * DISK_TABLE_FANOUT, DISK_HEAD_TABLE2);
        if (!block->is_spoiled)
            seal_block(block->bytes);
    }
}

/* ---- the journal --------------------------------------------------------------------------- */

static void half_read(struct pool_copy *copy, unsigned index, uint8_t *half)
{
    for (uint64_t i = 0; i < IMAGE_HALF_BYTES / BLK_BYTES; i++)
    {
        uint64_t blk = DISK_GROUP_HEAD_BLKS + index * (IMAGE_HALF_BYTES / BLK_BYTES) + i;
        const uint8_t *bytes = copy_find(copy, blk);
        if (bytes)
            memcpy(half + i * BLK_BYTES, bytes, BLK_BYTES);
        else
            memset(half + i * BLK_BYTES, 0, BLK_BYTES);
    }
}

/* The bytes of a block that the copy had not; pool_copy_new() made room. */
static uint8_t *copy_add(struct pool_copy *copy, uint64_t blk)
{
    INVARIANT(copy->blocks.items);
    struct image_block *block = &copy->blocks.items[copy->blocks.count++];
    *block = (struct image_block){.blk = blk};
    copy->blocks.index[blk] = (uint16_t)copy->blocks.count;
    return block->bytes;
}

static void half_write(struct pool_copy *copy, unsigned index, const uint8_t *half)
{
    for (uint64_t i = 0; i < IMAGE_HALF_BYTES / BLK_BYTES; i++)
    {
        uint64_t blk = DISK_GROUP_HEAD_BLKS + index * (IMAGE_HALF_BYTES / BLK_BYTES) + i;
        uint8_t *bytes = copy_find(copy, blk);
        memcpy(bytes ? bytes : copy_add(copy, blk), half + i * BLK_BYTES, BLK_BYTES);
    }
}

/* The batch at @at, however wrong its checksum is, or NULL. */
static struct disk_batch *half_batch(uint8_t *half, uint64_t at)
{
    struct disk_batch *batch = (void *)(half + at);
    if (!range_ok(at, sizeof(*batch), IMAGE_HALF_BYTES) ||
        le32_get(batch->magic) != DISK_MAGIC_BATCH ||
        !range_ok(at + sizeof(*batch), le32_get(batch->payload_bytes), IMAGE_HALF_BYTES))
        return NULL;
    return batch;
}

static uint64_t batch_end(const struct disk_batch *batch, uint64_t at)
{
    return round_up(at + sizeof(*batch) + le32_get(batch->payload_bytes), DISK_SECTOR);
}

static uint32_t seal_batch(struct disk_batch *batch, uint32_t chain)
{
    batch->chain = le32_put(chain);
    batch->crc32c = le32_put(0);
    uint32_t crc = crc32c(0, batch, sizeof(*batch) + le32_get(batch->payload_bytes));
    batch->crc32c = le32_put(crc);
    return crc;
}

/* Seals the batches of a half; *end is where they end, *last the last one. */
static void seal_half(uint8_t *half, uint64_t *end, struct disk_batch **last)
{
    uint32_t chain = 0;
    uint64_t at = 0;
    struct disk_batch *batch;
    *last = NULL;
    while ((batch = half_batch(half, at)) != NULL)
    {
        chain = seal_batch(batch, chain);
        at = batch_end(batch, at);
        *last = batch;
    }
    *end = at;
}

static const struct disk_super *copy_super(const struct pool_copy *copy)
{
    const struct disk_super *newest = NULL;
    for (unsigned i = 0; i < copy->image->blocks.count; i++)
    {
        const struct disk_super *super = (const void *)copy->image->blocks.items[i].bytes;
        if (le32_get(super->header.magic) == DISK_MAGIC_SUPER &&
            (!newest || le64_get(super->header.cp_id) > le64_get(newest->header.cp_id)))
            newest = super;
    }
    INVARIANT(newest);
    return newest;
}

static unsigned copy_half(const struct pool_copy *copy)
{
    return le32_get(copy_super(copy)->journal_half) & 1;
}

uint64_t pool_copy_next_seq(struct pool_copy *copy)
{
    uint8_t *half = malloc(IMAGE_HALF_BYTES);
    INVARIANT(half);
    uint64_t end;
    struct disk_batch *last;
    half_read(copy, copy_half(copy), half);
    seal_half(half, &end, &last);
    uint64_t seq = last ? le64_get(last->last_seq) : le64_get(copy_super(copy)->last_seq);
    free(half);
    return seq + 1;
}

void pool_copy_seal(struct pool_copy *copy)
{
    for (unsigned order = 0; order < 4; order++)
        seal_pass(copy, order);
    uint8_t *half = malloc(IMAGE_HALF_BYTES);
    INVARIANT(half);
    for (unsigned index = 0; index < 2; index++)
    {
        uint64_t end;
        struct disk_batch *last;
        half_read(copy, index, half);
        seal_half(half, &end, &last);
        if (last)
            half_write(copy, index, half);
    }
    free(half);
}

bool pool_copy_add_batch(struct pool_copy *copy, const struct writer *payload, uint64_t records,
                         uint32_t flags)
{
    unsigned index = copy_half(copy);
    uint8_t *half = malloc(IMAGE_HALF_BYTES);
    INVARIANT(half);
    uint64_t end;
    struct disk_batch *last;
    half_read(copy, index, half);
    seal_half(half, &end, &last);
    struct disk_batch *batch = (void *)(half + end);
    bool fits = range_ok(end, sizeof(*batch) + payload->len, IMAGE_HALF_BYTES);
    if (fits)
    {
        uint64_t first = 1 + le64_get(last ? last->last_seq : copy_super(copy)->last_seq);
        *batch = (struct disk_batch){.magic = le32_put(DISK_MAGIC_BATCH),
                                     .journal_id = copy_super(copy)->journal_id,
                                     .first_seq = le64_put(first),
                                     .last_seq = le64_put(first + records - 1),
                                     .synced_seq = le64_put(first - 1),
                                     .payload_bytes = le32_put(payload->len),
                                     .flags = le32_put(flags)};
        memcpy(batch + 1, payload->bytes, payload->len);
        seal_batch(batch, last ? le32_get(last->crc32c) : 0);
        half_write(copy, index, half);
    }
    free(half);
    return fits;
}

struct simdev *pool_copy_disk(const struct pool_copy *copy)
{
    struct simdev *disk = simdev_copy(copy->image->disk, 1);
    for (unsigned i = 0; i < copy->blocks.count; i++)
    {
        const struct image_block *block = &copy->blocks.items[i];
        bool is_same = i < copy->image->blocks.count &&
                       memcmp(block->bytes, copy->image->blocks.items[i].bytes, BLK_BYTES) == 0;
        if (!is_same)
            simdev_poke(disk, block->bytes, BLK_BYTES, block->blk * BLK_BYTES);
    }
    return disk;
}

/* ---- records of the journal ---------------------------------------------------------------- */

static void each_record(struct reader *reader, pool_record_fn *each, void *opaque)
{
    while (reader_left(reader) > 0)
    {
        uint32_t len = reader_le32(reader), node_count = reader_le32(reader);
        ignore_error((int)reader_le64(reader), "sequence numbers are given anew");
        const uint8_t *actions = reader_bytes(reader, len);
        uint64_t *nodes = calloc(node_count + 1u, sizeof(*nodes));
        INVARIANT(nodes);
        for (uint32_t i = 0; i < node_count; i++)
            nodes[i] = reader_le64(reader);
        INVARIANT(!reader->failed);
        each(opaque, actions, len, nodes, node_count);
        free(nodes);
    }
}

void pool_image_each_record(pool_record_fn *each, void *opaque)
{
    struct pool_copy *copy = pool_copy_new(pool_image(POOL_IMAGE_CRASHED));
    uint8_t *half = malloc(IMAGE_HALF_BYTES);
    INVARIANT(half);
    half_read(copy, copy_half(copy), half);
    uint64_t at = 0;
    for (struct disk_batch *batch; (batch = half_batch(half, at)) != NULL;)
    {
        struct reader reader = reader_of(batch + 1, le32_get(batch->payload_bytes));
        each_record(&reader, each, opaque);
        at = batch_end(batch, at);
    }
    free(half);
    pool_copy_free(copy);
}
