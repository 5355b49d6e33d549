/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/pool/space.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/crc32c.h"
#include "lun/base/invariant.h"
#include "lun/base/log.h"
#include "lun/pool/pool_internal.h"

enum
{
    WORD_BITS = 64,
    NODE_WINDOW_BLKS = 64,
    SPACE_RESERVE_MIN = 96,
    SPACE_RESERVE_MAX = 1 << 17,
    SPACE_RESERVE_SHARE = 64, /* one part in so many */
    SPACE_DIRTY_MAX = 1 << 15,
    SPACE_SEGMENT_GROUPS = 4096,
    SPACE_SEGMENTS = DISK_SUPER_TABLES * DISK_TABLE_FANOUT * DISK_TABLE_FANOUT / SPACE_SEGMENT_GROUPS + 1,
};

/* A slot of a bitmap or table, as on disk. */
struct slot
{
    uint64_t cp_id; /* 0: never written */
    uint32_t crc;
    uint8_t slot;
};

/* Freed while the group's bitmap was not in memory. */
struct late_free
{
    struct late_free *next;
    uint32_t bit, len;
};

struct group
{
    uint32_t blks;
    uint32_t free;  /* not busy; of an unread group: not allocated */
    bool is_dirty;  /* differs from disk */
    uint64_t *busy; /* NULL: not read yet */
    uint64_t *allocated;
    struct late_free *late;
    struct slot slot;
};

struct deferred
{
    uint64_t blk;
    uint64_t len;
};

struct deferred_list
{
    struct deferred *items;
    size_t count, capacity;
    uint64_t blks;
};

/* The image of a bitmap that a checkpoint writes. */
struct image
{
    struct disk_bitmap *disk;
    uint64_t group;
    uint32_t free; /* not allocated */
};

struct space
{
    struct pool *pool;
    struct lock lock; /* LOCK_RANK_SPACE; guards all below */
    uint32_t group_blks;
    uint64_t group_count; /* usable */
    uint64_t group_total; /* with those that a grow adds */
    /* In segments that never move: whoever reads a bitmap holds no lock while it does. */
    struct group *segments[SPACE_SEGMENTS];
    struct slot *tables1, *tables2;
    uint64_t total_blks, fixed_blks, free_blks, loaded_free_blks;
    uint64_t data_blks, node_blks;
    uint64_t reserve_blks;
    uint64_t admitted, owed;
    uint64_t data_cursor, node_cursor, node_window_end;
    struct deferred_list deferred[2]; /* [0]: since the switch, [1]: before it */
    struct image *images;             /* only the checkpoint's thread, from switch to write */
    size_t image_count, image_capacity;
    uint64_t image_cp_id;
    uint64_t dirty_groups;
    uint64_t image_data_blks, image_node_blks;
};

static struct group *space_group(const struct space *space, uint64_t g)
{
    return &space->segments[g / SPACE_SEGMENT_GROUPS][g % SPACE_SEGMENT_GROUPS];
}

/* Memory for groups up to @count. */
static int space_add_segments(struct space *space, uint64_t count)
{
    if (count > (uint64_t)DISK_SUPER_TABLES * DISK_TABLE_FANOUT * DISK_TABLE_FANOUT)
        return -EINVAL; /* more groups than the superblock can lead to */
    for (uint64_t i = 0; i < div_round_up(count, SPACE_SEGMENT_GROUPS); i++)
    {
        if (space->segments[i])
            continue;
        space->segments[i] = calloc(SPACE_SEGMENT_GROUPS, sizeof(struct group));
        if (!space->segments[i])
            return -ENOMEM;
    }
    return 0;
}

static uint64_t words_for(uint32_t blks)
{
    return div_round_up(blks, WORD_BITS);
}

static bool bit_get(const uint64_t *bits, uint64_t bit)
{
    return bits[bit / WORD_BITS] >> (bit % WORD_BITS) & 1;
}

/* Calls for each word of [bit, bit+len) would be faster; runs are short or few. */
static void bits_set(uint64_t *bits, uint64_t bit, uint64_t len)
{
    while (len > 0)
    {
        uint64_t shift = bit % WORD_BITS, n = min_u64(len, WORD_BITS - shift);
        uint64_t mask = n == WORD_BITS ? UINT64_MAX : ((UINT64_C(1) << n) - 1) << shift;
        bits[bit / WORD_BITS] |= mask;
        bit += n;
        len -= n;
    }
}

static void bits_clear(uint64_t *bits, uint64_t bit, uint64_t len)
{
    while (len > 0)
    {
        uint64_t shift = bit % WORD_BITS, n = min_u64(len, WORD_BITS - shift);
        uint64_t mask = n == WORD_BITS ? UINT64_MAX : ((UINT64_C(1) << n) - 1) << shift;
        bits[bit / WORD_BITS] &= ~mask;
        bit += n;
        len -= n;
    }
}

static bool bits_all(const uint64_t *bits, uint64_t bit, uint64_t len, bool value)
{
    while (len > 0)
    {
        uint64_t shift = bit % WORD_BITS, n = min_u64(len, WORD_BITS - shift);
        uint64_t mask = n == WORD_BITS ? UINT64_MAX : ((UINT64_C(1) << n) - 1) << shift;
        if ((bits[bit / WORD_BITS] & mask) != (value ? mask : 0))
            return false;
        bit += n;
        len -= n;
    }
    return true;
}

/* First clear bit in [from, end), or end. */
static uint64_t bits_find_clear(const uint64_t *bits, uint64_t from, uint64_t end)
{
    while (from < end)
    {
        uint64_t word = ~bits[from / WORD_BITS] >> (from % WORD_BITS);
        if (word)
            return min_u64(from + (uint64_t)__builtin_ctzll(word), end);
        from = (from / WORD_BITS + 1) * WORD_BITS;
    }
    return end;
}

/* First set bit in [from, end), or end. */
static uint64_t bits_find_set(const uint64_t *bits, uint64_t from, uint64_t end)
{
    while (from < end)
    {
        uint64_t word = bits[from / WORD_BITS] >> (from % WORD_BITS);
        if (word)
            return min_u64(from + (uint64_t)__builtin_ctzll(word), end);
        from = (from / WORD_BITS + 1) * WORD_BITS;
    }
    return end;
}

uint64_t space_journal_first_blk(void)
{
    return DISK_GROUP_HEAD_BLKS;
}

static uint64_t space_group_count(uint64_t size_blks, uint32_t group_blks)
{
    return size_blks / group_blks;
}

uint64_t space_usable_blks(uint64_t size_blks, uint32_t group_blks)
{
    return space_group_count(size_blks, group_blks) * group_blks;
}

static uint32_t space_fixed_in_group(const struct space *space, uint64_t group)
{
    uint64_t journal = 2 * le64_get(space->pool->super.journal_half_blks);
    return (uint32_t)(DISK_GROUP_HEAD_BLKS + (group == 0 ? journal : 0));
}

static void space_set_reserve(struct space *space)
{
    space->reserve_blks = max_u64(
        SPACE_RESERVE_MIN, min_u64(SPACE_RESERVE_MAX, space->total_blks / SPACE_RESERVE_SHARE));
}

/* Pristine groups [from, to). */
static void space_init_groups(struct space *space, uint64_t from, uint64_t to)
{
    for (uint64_t g = from; g < to; g++)
        *space_group(space, g) = (struct group){
            .blks = space->group_blks, .free = space->group_blks - space_fixed_in_group(space, g)};
}

int space_create(struct pool *pool, uint64_t size_blks, struct space **out)
{
    struct space *space = calloc(1, sizeof(*space));
    if (!space)
        return -ENOMEM;
    space->pool = pool;
    space->group_blks = pool->group_blks;
    lock_init(&space->lock, LOCK_RANK_SPACE);
    space->group_count = space->group_total = space_group_count(size_blks, pool->group_blks);
    uint64_t tables1 = div_round_up(space->group_count, DISK_TABLE_FANOUT);
    uint64_t tables2 = div_round_up(tables1, DISK_TABLE_FANOUT);
    int r = space_add_segments(space, space->group_count);
    space->tables1 = calloc(tables1, sizeof(*space->tables1));
    space->tables2 = calloc(DISK_SUPER_TABLES, sizeof(*space->tables2));
    if (r < 0 || !space->tables1 || !space->tables2 || tables2 > DISK_SUPER_TABLES)
    {
        space_destroy(space);
        return -ENOMEM;
    }
    space_init_groups(space, 0, space->group_count);
    *out = space;
    return 0;
}

static void group_drop_late(struct group *group)
{
    while (group->late)
    {
        struct late_free *next = group->late->next;
        free(group->late);
        group->late = next;
    }
}

void space_destroy(struct space *space)
{
    if (!space)
        return;
    for (uint64_t g = 0; g < space->group_total && space->segments[g / SPACE_SEGMENT_GROUPS]; g++)
    {
        free(space_group(space, g)->busy);
        free(space_group(space, g)->allocated);
        group_drop_late(space_group(space, g));
    }
    for (size_t i = 0; i < space->image_capacity; i++)
        free(space->images[i].disk);
    free(space->images);
    for (unsigned i = 0; i < SPACE_SEGMENTS; i++)
        free(space->segments[i]);
    free(space->tables1);
    free(space->tables2);
    free(space->deferred[0].items);
    free(space->deferred[1].items);
    lock_destroy(&space->lock);
    free(space);
}

/* ---- reading ------------------------------------------------------------------------------- */

static uint64_t slot_blk(const struct space *space, uint64_t group, enum disk_group_head head,
                         unsigned slot)
{
    return group * space->group_blks + (uint64_t)head + slot;
}

static struct slot slot_from_disk(const struct disk_slot *disk)
{
    return (struct slot){.cp_id = le48_get(disk->cp_id),
                         .crc = le32_get(disk->crc32c),
                         .slot = (uint8_t)(le16_get(disk->slot) & 1)};
}

static struct disk_slot slot_to_disk(const struct slot *slot, uint32_t free_blks)
{
    return (struct disk_slot){.cp_id = le48_put(slot->cp_id),
                              .slot = le16_put(slot->slot),
                              .crc32c = le32_put(slot->crc),
                              .free_blks = le32_put(free_blks)};
}

/* Reads the block that @slot says is at @head of @group. */
static int space_read_slot(struct space *space, const struct slot *slot, uint64_t group,
                           enum disk_group_head head, enum disk_magic magic, void *buf)
{
    struct pool *pool = space->pool;
    uint64_t blk = slot_blk(space, group, head, slot->slot);
    int r = device_read(pool->device, buf, BLK_BYTES, blk * BLK_BYTES);
    if (r < 0)
        return r;
    r = disk_header_verify(pool, buf, magic, blk, slot->cp_id);
    if (r == 0 && le32_get(((struct disk_header *)buf)->crc32c) != slot->crc)
        r = -EBADMSG;
    return r;
}

static int space_load_table1(struct space *space, uint64_t index)
{
    if (space->tables1[index].cp_id == 0)
        return 0;
    AUTO_FREE struct disk_table *table = aligned_alloc(BLK_BYTES, BLK_BYTES);
    if (!table)
        return -ENOMEM;
    uint64_t first = index * DISK_TABLE_FANOUT;
    int r = space_read_slot(space, &space->tables1[index], first, DISK_HEAD_TABLE1,
                            DISK_MAGIC_TABLE, table);
    if (r < 0)
        return r;
    for (uint64_t i = 0; i < DISK_TABLE_FANOUT && first + i < space->group_total; i++)
    {
        struct group *group = space_group(space, first + i);
        group->slot = slot_from_disk(&table->slots[i]);
        if (group->slot.cp_id == 0)
            continue;
        uint32_t free_blks = le32_get(table->slots[i].free_blks);
        if (free_blks > group->blks)
            return -EBADMSG;
        group->free = free_blks;
    }
    return 0;
}

static int space_load_table2(struct space *space, uint64_t index)
{
    if (space->tables2[index].cp_id == 0)
        return 0;
    AUTO_FREE struct disk_table *table = aligned_alloc(BLK_BYTES, BLK_BYTES);
    if (!table)
        return -ENOMEM;
    uint64_t first = index * DISK_TABLE_FANOUT;
    uint64_t tables1 = div_round_up(space->group_total, DISK_TABLE_FANOUT);
    int r = space_read_slot(space, &space->tables2[index], first * DISK_TABLE_FANOUT,
                            DISK_HEAD_TABLE2, DISK_MAGIC_TABLE, table);
    for (uint64_t i = 0; r == 0 && i < DISK_TABLE_FANOUT && first + i < tables1; i++)
    {
        space->tables1[first + i] = slot_from_disk(&table->slots[i]);
        r = space_load_table1(space, first + i);
    }
    return r;
}

/* Sums that follow from the groups. */
static void space_recount(struct space *space)
{
    space->total_blks = space->fixed_blks = space->free_blks = space->loaded_free_blks = 0;
    for (uint64_t g = 0; g < space->group_count; g++)
    {
        space->total_blks += space_group(space, g)->blks;
        space->fixed_blks += space_fixed_in_group(space, g);
        space->free_blks += space_group(space, g)->free;
        if (space_group(space, g)->busy)
            space->loaded_free_blks += space_group(space, g)->free;
    }
    space_set_reserve(space);
}

int space_load(struct space *space, const struct disk_super *super)
{
    uint64_t tables1 = div_round_up(space->group_total, DISK_TABLE_FANOUT);
    uint64_t tables2 = div_round_up(tables1, DISK_TABLE_FANOUT);
    for (uint64_t i = 0; i < tables2; i++)
    {
        space->tables2[i] = slot_from_disk(&super->tables[i]);
        int r = space_load_table2(space, i);
        if (r < 0)
            return r;
    }
    space->data_blks = le64_get(super->data_blks);
    space->node_blks = le64_get(super->node_blks);
    space_recount(space);
    return 0;
}

/*
 * A tree frees what the bitmap says is free. One of them is wrong, and the block may be somebody
 * else's by now: stop changing anything. The last checkpoint on disk stays as it is.
 */
static void space_contradiction(struct space *space, uint64_t blk)
{
    log_error("block %llu is freed, but it is not allocated", (unsigned long long)blk);
    pool_degrade(space->pool, POOL_READ_ONLY, "free space contradicts a tree", -EBADMSG);
}

static void group_apply_free_locked(struct space *space, struct group *group, uint32_t bit,
                                    uint32_t len)
{
    bits_clear(group->allocated, bit, len);
    if (!group->is_dirty)
    {
        group->is_dirty = true;
        space->dirty_groups++;
    }
}

static void group_install_locked(struct space *space, struct group *group, uint64_t *allocated,
                                 uint64_t *busy)
{
    group->allocated = allocated;
    group->busy = busy;
    space->loaded_free_blks += group->free;
    for (struct late_free *late = group->late; late; late = late->next)
    {
        if (bits_all(group->allocated, late->bit, late->len, true))
            group_apply_free_locked(space, group, late->bit, late->len);
        else
            space_contradiction(space, late->bit);
    }
    group_drop_late(group);
}

static uint32_t count_clear(const uint64_t *bits, uint32_t blks)
{
    uint32_t set = 0;
    for (uint64_t i = 0; i < words_for(blks); i++)
        set += (uint32_t)__builtin_popcountll(bits[i]);
    return (uint32_t)words_for(blks) * WORD_BITS - set;
}

/* The bitmap of @g as its slot has it, with all bits beyond the group's end set. */
static int space_read_bitmap(struct space *space, uint64_t g, const struct group *group,
                             uint64_t *bits)
{
    memset(bits, 0, words_for(space->group_blks) * 8);
    bits_set(bits, 0, space_fixed_in_group(space, g));
    if (group->slot.cp_id != 0)
    {
        AUTO_FREE struct disk_bitmap *disk = aligned_alloc(BLK_BYTES, BLK_BYTES);
        if (!disk)
            return -ENOMEM;
        int r = space_read_slot(space, &group->slot, g, DISK_HEAD_BITMAP, DISK_MAGIC_BITMAP, disk);
        if (r < 0)
            return r;
        memcpy(bits, disk->bits, words_for(space->group_blks) * 8);
    }
    uint64_t all = words_for(space->group_blks) * WORD_BITS;
    bits_set(bits, group->blks, all - group->blks);
    if (!bits_all(bits, 0, space_fixed_in_group(space, g), true) ||
        count_clear(bits, space->group_blks) != group->free)
    {
        log_error("bitmap of allocation group %llu contradicts its table", (unsigned long long)g);
        return -EBADMSG;
    }
    return 0;
}

/* Brings the bitmap of a group into memory. Called without the lock. */
static int space_load_group(struct space *space, uint64_t g)
{
    size_t bytes = words_for(space->group_blks) * 8;
    AUTO_FREE uint64_t *allocated = malloc(bytes);
    AUTO_FREE uint64_t *busy = malloc(bytes);
    if (!allocated || !busy)
        return -ENOMEM;
    struct group unloaded;
    {
        /* Once it is loaded, its figures are those of memory, which the disk does not know. */
        AUTO_LOCK(&space->lock);
        unloaded = *space_group(space, g);
        if (unloaded.busy)
            return 0;
    }
    int r = space_read_bitmap(space, g, &unloaded, allocated);
    if (r < 0)
        return r;
    memcpy(busy, allocated, bytes);
    AUTO_LOCK(&space->lock);
    struct group *group = space_group(space, g);
    if (!group->busy)
        group_install_locked(space, group, take_ptr(&allocated), take_ptr(&busy));
    return 0;
}

/* ---- taking -------------------------------------------------------------------------------- */

static void group_take_locked(struct space *space, struct group *group, uint64_t bit, uint64_t len)
{
    bits_set(group->busy, bit, len);
    group->free -= (uint32_t)len;
    space->free_blks -= len;
    space->loaded_free_blks -= len;
}

static void group_mark_allocated_locked(struct space *space, struct group *group, uint64_t bit,
                                        uint64_t len)
{
    bits_set(group->allocated, bit, len);
    if (!group->is_dirty)
    {
        group->is_dirty = true;
        space->dirty_groups++;
    }
}

/* Finds a free run in loaded group @g at or after @bit: a long one if the first is much too short.
 */
static bool group_find_run(const struct group *group, uint64_t bit, uint64_t want, uint64_t *found,
                           uint64_t *len)
{
    uint64_t good = min_u64(want, 16), best_len = 0;
    for (unsigned tries = 0; tries < 32 && bit < group->blks; tries++)
    {
        uint64_t start = bits_find_clear(group->busy, bit, group->blks);
        if (start >= group->blks)
            break;
        uint64_t end = bits_find_set(group->busy, start, min_u64(group->blks, start + want));
        if (end - start > best_len)
        {
            best_len = end - start;
            *found = start;
            *len = best_len;
        }
        if (best_len >= good)
            break;
        bit = end;
    }
    return best_len > 0;
}

/* -EAGAIN with *load set to a group that must be read first. */
static int space_find_locked(struct space *space, uint64_t hint, uint64_t want, uint64_t *g_out,
                             uint64_t *bit, uint64_t *len, uint64_t *load)
{
    uint64_t first = hint / space->group_blks, offset = hint % space->group_blks;
    if (first >= space->group_count)
        first = offset = 0;
    for (uint64_t i = 0; i <= space->group_count; i++)
    {
        uint64_t g = (first + i) % space->group_count;
        struct group *group = space_group(space, g);
        if (group->free == 0)
            continue;
        if (!group->busy)
        {
            *load = g;
            return -EAGAIN;
        }
        if (group_find_run(group, i == 0 ? offset : 0, want, bit, len))
        {
            *g_out = g;
            return 0;
        }
    }
    return -ENOSPC;
}

static int space_no_room(const struct space *space)
{
    return space->deferred[0].blks + space->deferred[1].blks > 0 ? -EAGAIN : -ENOSPC;
}

int space_take(struct space *space, uint64_t hint, uint64_t want, uint64_t *blk, uint64_t *got)
{
    for (;;)
    {
        uint64_t load = UINT64_MAX;
        {
            AUTO_LOCK(&space->lock);
            uint64_t kept = space->reserve_blks + space->admitted + space->owed;
            if (space->free_blks <= kept)
                return space_no_room(space);
            want = min_u64(want, space->free_blks - kept);
            uint64_t g, bit, len;
            int r = space_find_locked(space, hint ? hint : space->data_cursor, want, &g, &bit, &len,
                                      &load);
            if (r == 0)
            {
                group_take_locked(space, space_group(space, g), bit, len);
                *blk = g * space->group_blks + bit;
                *got = len;
                if (!hint)
                    space->data_cursor = *blk + len;
                return 0;
            }
            if (r != -EAGAIN)
                return r;
        }
        int r = space_load_group(space, load);
        if (r < 0)
            return r;
    }
}

void space_cancel(struct space *space, uint64_t blk, uint64_t len)
{
    AUTO_LOCK(&space->lock);
    struct group *group = space_group(space, blk / space->group_blks);
    bits_clear(group->busy, blk % space->group_blks, len);
    group->free += (uint32_t)len;
    space->free_blks += len;
    space->loaded_free_blks += len;
}

int space_cancel_cb(void *opaque, uint64_t blk, uint64_t len)
{
    space_cancel(opaque, blk, len);
    return 0;
}

void space_advance(struct space *space, uint64_t blk)
{
    AUTO_LOCK(&space->lock);
    if (blk > space->data_cursor)
        space->data_cursor = blk;
}

void space_commit(struct space *space, uint64_t blk, uint64_t len)
{
    AUTO_LOCK(&space->lock);
    struct group *group = space_group(space, blk / space->group_blks);
    uint64_t bit = blk % space->group_blks;
    INVARIANT(bits_all(group->busy, bit, len, true));
    INVARIANT(bits_all(group->allocated, bit, len, false));
    group_mark_allocated_locked(space, group, bit, len);
    space->data_blks += len;
}

uint64_t space_take_node(struct space *space)
{
    AUTO_LOCK(&space->lock);
    uint64_t first = space->node_cursor / space->group_blks;
    uint64_t offset = space->node_cursor % space->group_blks;
    for (uint64_t i = 0; i <= space->group_count; i++)
    {
        uint64_t g = (first + i) % space->group_count;
        struct group *group = space_group(space, g);
        if (!group->busy || group->free == 0)
            continue;
        uint64_t bit = bits_find_clear(group->busy, i == 0 ? offset : 0, group->blks);
        if (bit >= group->blks)
            continue;
        group_take_locked(space, group, bit, 1);
        group_mark_allocated_locked(space, group, bit, 1);
        space->node_blks++;
        space->node_cursor = g * space->group_blks + bit + 1;
        /* Data steps over the window, so that nodes stay together. */
        if (space->node_cursor >= space->node_window_end)
            space->node_window_end = space->node_cursor + NODE_WINDOW_BLKS;
        if (space->data_cursor >= space->node_cursor && space->data_cursor < space->node_window_end)
            space->data_cursor = space->node_window_end;
        return space->node_cursor - 1;
    }
    INVARIANT(!"no block for a tree node, although the operation was admitted");
    return 0;
}

void space_take_node_at(struct space *space, uint64_t blk)
{
    AUTO_LOCK(&space->lock);
    struct group *group = space_group(space, blk / space->group_blks);
    uint64_t bit = blk % space->group_blks;
    INVARIANT(bits_all(group->busy, bit, 1, true) && bits_all(group->allocated, bit, 1, false));
    group_mark_allocated_locked(space, group, bit, 1);
    space->node_blks++;
}

/* ---- freeing ------------------------------------------------------------------------------- */

/* Without memory the block stays busy until the pool is opened again: safe, merely not reusable. */
static void deferred_add(struct deferred_list *list, uint64_t blk, uint64_t len)
{
    if (list->count > 0)
    {
        struct deferred *last = &list->items[list->count - 1];
        if (last->blk + last->len == blk)
        {
            last->len += len;
            list->blks += len;
            return;
        }
    }
    if (list->count == list->capacity)
    {
        size_t capacity = list->capacity ? list->capacity * 2 : 256;
        struct deferred *items = realloc(list->items, capacity * sizeof(*items));
        if (!items)
            return;
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = (struct deferred){.blk = blk, .len = len};
    list->blks += len;
}

static void space_free_in_group_locked(struct space *space, uint64_t blk, uint32_t len)
{
    struct group *group = space_group(space, blk / space->group_blks);
    uint32_t bit = (uint32_t)(blk % space->group_blks);
    if (group->busy)
    {
        if (!bits_all(group->allocated, bit, len, true))
        {
            space_contradiction(space, blk);
            return;
        }
        deferred_add(&space->deferred[0], blk, len);
        group_apply_free_locked(space, group, bit, len);
        return;
    }
    deferred_add(&space->deferred[0], blk, len);
    struct late_free *late = malloc(sizeof(*late));
    INVARIANT(late); /* a free cannot fail: better to stop than to leak in silence */
    *late = (struct late_free){.next = group->late, .bit = bit, .len = len};
    group->late = late;
}

void space_free(struct space *space, uint64_t blk, uint64_t len, bool is_node)
{
    AUTO_LOCK(&space->lock);
    *(is_node ? &space->node_blks : &space->data_blks) -= len;
    while (len > 0)
    {
        uint64_t here = min_u64(len, space->group_blks - blk % space->group_blks);
        INVARIANT(blk / space->group_blks < space->group_total);
        space_free_in_group_locked(space, blk, (uint32_t)here);
        blk += here;
        len -= here;
    }
}

/* ---- admission ----------------------------------------------------------------------------- */

/* A group whose free blocks cannot be used because its bitmap is not in memory. */
static uint64_t space_unloaded_locked(const struct space *space)
{
    for (uint64_t g = 0; g < space->group_count; g++)
    {
        if (!space_group(space, g)->busy && space_group(space, g)->free > 0)
            return g;
    }
    return UINT64_MAX;
}

int space_admit(struct space *space, uint64_t nodes, bool is_freeing)
{
    for (;;)
    {
        uint64_t load;
        {
            AUTO_LOCK(&space->lock);
            uint64_t need = space->admitted + space->owed + nodes;
            if (space->free_blks < need + (is_freeing ? 0 : space->reserve_blks))
                return space_no_room(space);
            if (space->loaded_free_blks >= need)
            {
                space->admitted += nodes;
                return 0;
            }
            load = space_unloaded_locked(space);
            if (load == UINT64_MAX)
                return space_no_room(space);
        }
        int r = space_load_group(space, load);
        if (r < 0)
            return r;
    }
}

int space_prepare_pages(struct space *space)
{
    for (;;)
    {
        uint64_t load;
        {
            AUTO_LOCK(&space->lock);
            uint64_t need = space->owed + 2 * DISK_LEVELS_MAX;
            if (space->loaded_free_blks >= need)
                return 0;
            load = space_unloaded_locked(space);
            if (load == UINT64_MAX)
                return -ENOSPC;
        }
        int r = space_load_group(space, load);
        if (r < 0)
            return r;
    }
}

void space_leave(struct space *space, uint64_t nodes)
{
    AUTO_LOCK(&space->lock);
    INVARIANT(space->admitted >= nodes);
    space->admitted -= nodes;
}

void space_owe(struct space *space, uint64_t blks)
{
    AUTO_LOCK(&space->lock);
    space->owed += blks;
}

uint64_t space_dirty_limit(struct space *space)
{
    return min_u64(SPACE_DIRTY_MAX, max_u64(space->reserve_blks / 2, 32));
}

/* ---- replay -------------------------------------------------------------------------------- */

int space_pin_replayed(struct space *space, uint64_t blk, uint64_t len)
{
    if (!range_ok(blk, len, space->group_count * space->group_blks))
        return -EBADMSG;
    while (len > 0)
    {
        uint64_t g = blk / space->group_blks, bit = blk % space->group_blks;
        uint64_t here = min_u64(len, space->group_blks - bit);
        int r = space_load_group(space, g);
        if (r < 0)
            return r;
        AUTO_LOCK(&space->lock);
        struct group *group = space_group(space, g);
        if (!bits_all(group->busy, bit, here, false))
            return -EBADMSG;
        group_take_locked(space, group, bit, here);
        blk += here;
        len -= here;
    }
    return 0;
}

/* ---- checkpoints --------------------------------------------------------------------------- */

static int space_reserve_images(struct space *space, size_t count)
{
    if (count <= space->image_capacity)
        return 0;
    struct image *images = realloc(space->images, count * sizeof(*images));
    if (!images)
        return -ENOMEM;
    space->images = images;
    while (space->image_capacity < count)
    {
        struct disk_bitmap *disk = aligned_alloc(BLK_BYTES, BLK_BYTES);
        if (!disk)
            return -ENOMEM;
        images[space->image_capacity++] = (struct image){.disk = disk};
    }
    return 0;
}

int space_prepare_switch(struct space *space)
{
    for (;;)
    {
        uint64_t load = UINT64_MAX;
        uint64_t dirty;
        {
            AUTO_LOCK(&space->lock);
            dirty = space->dirty_groups;
            for (uint64_t g = 0; g < space->group_total && load == UINT64_MAX; g++)
            {
                if (space_group(space, g)->late)
                    load = g;
            }
        }
        if (load == UINT64_MAX)
            return space_reserve_images(space, dirty + 16);
        int r = space_load_group(space, load);
        if (r < 0)
            return r;
    }
}

void space_switch(struct space *space, uint64_t cp_id)
{
    AUTO_LOCK(&space->lock);
    space->image_count = 0;
    space->image_cp_id = cp_id;
    for (uint64_t g = 0; g < space->group_total && space->dirty_groups > 0; g++)
    {
        struct group *group = space_group(space, g);
        if (!group->is_dirty)
            continue;
        INVARIANT(space->image_count < space->image_capacity);
        struct image *image = &space->images[space->image_count++];
        memset(image->disk, 0, sizeof(*image->disk));
        memcpy(image->disk->bits, group->allocated, words_for(space->group_blks) * 8);
        image->group = g;
        image->free = count_clear(group->allocated, space->group_blks);
        group->is_dirty = false;
        space->dirty_groups--;
    }
    INVARIANT(space->deferred[1].count == 0);
    struct deferred_list emptied = space->deferred[1];
    space->deferred[1] = space->deferred[0];
    space->deferred[0] = emptied;
    space->owed = 0;
    space->image_data_blks = space->data_blks;
    space->image_node_blks = space->node_blks;
}

/* Seals @block for the other slot of @slot, writes it there, and updates @slot. */
static int space_write_slot(struct space *space, struct slot *slot, uint64_t group,
                            enum disk_group_head head, enum disk_magic magic, void *block)
{
    struct pool *pool = space->pool;
    unsigned other = slot->cp_id == 0 ? 0 : slot->slot ^ 1u;
    uint64_t blk = slot_blk(space, group, head, other);
    disk_header_seal(pool, block, magic, blk, space->image_cp_id);
    int r = device_write(pool->device, block, BLK_BYTES, blk * BLK_BYTES);
    if (r < 0)
        return r;
    *slot = (struct slot){.cp_id = space->image_cp_id,
                          .crc = le32_get(((struct disk_header *)block)->crc32c),
                          .slot = (uint8_t)other};
    return 0;
}

/* What the disk knows of a group's free blocks: of images as they were at the switch. */
static void space_fill_table1(struct space *space, uint64_t index, struct disk_table *table,
                              const uint32_t *free_blks)
{
    memset(table, 0, sizeof(*table));
    table->level = le32_put(1);
    uint64_t first = index * DISK_TABLE_FANOUT;
    for (uint64_t i = 0; i < DISK_TABLE_FANOUT && first + i < space->group_total; i++)
        table->slots[i] = slot_to_disk(&space_group(space, first + i)->slot, free_blks[i]);
}

/* Free blocks on disk of the groups under table @index: images override what was there. */
static int space_disk_free(struct space *space, uint64_t index, size_t *image, uint32_t *free_blks)
{
    uint64_t first = index * DISK_TABLE_FANOUT;
    AUTO_FREE struct disk_table *old = aligned_alloc(BLK_BYTES, BLK_BYTES);
    if (!old)
        return -ENOMEM;
    memset(old, 0, sizeof(*old));
    if (space->tables1[index].cp_id != 0)
    {
        int r = space_read_slot(space, &space->tables1[index], first, DISK_HEAD_TABLE1,
                                DISK_MAGIC_TABLE, old);
        if (r < 0)
            return r;
    }
    for (uint64_t i = 0; i < DISK_TABLE_FANOUT; i++)
        free_blks[i] = le32_get(old->slots[i].free_blks);
    for (; *image < space->image_count && space->images[*image].group / DISK_TABLE_FANOUT == index;
         ++*image)
        free_blks[space->images[*image].group - first] = space->images[*image].free;
    return 0;
}

static int space_write_tables(struct space *space)
{
    AUTO_FREE struct disk_table *table = aligned_alloc(BLK_BYTES, BLK_BYTES);
    if (!table)
        return -ENOMEM;
    size_t image = 0;
    while (image < space->image_count)
    {
        uint64_t index = space->images[image].group / DISK_TABLE_FANOUT;
        uint32_t free_blks[DISK_TABLE_FANOUT];
        int r = space_disk_free(space, index, &image, free_blks);
        if (r < 0)
            return r;
        space_fill_table1(space, index, table, free_blks);
        r = space_write_slot(space, &space->tables1[index], index * DISK_TABLE_FANOUT,
                             DISK_HEAD_TABLE1, DISK_MAGIC_TABLE, table);
        if (r < 0)
            return r;
    }
    uint64_t tables1 = div_round_up(space->group_total, DISK_TABLE_FANOUT);
    for (uint64_t index = 0; index < div_round_up(tables1, DISK_TABLE_FANOUT); index++)
    {
        bool is_dirty = false;
        memset(table, 0, sizeof(*table));
        table->level = le32_put(2);
        uint64_t first = index * DISK_TABLE_FANOUT;
        for (uint64_t i = 0; i < DISK_TABLE_FANOUT && first + i < tables1; i++)
        {
            table->slots[i] = slot_to_disk(&space->tables1[first + i], 0);
            is_dirty |= space->tables1[first + i].cp_id == space->image_cp_id;
        }
        if (!is_dirty)
            continue;
        int r = space_write_slot(space, &space->tables2[index], first * DISK_TABLE_FANOUT,
                                 DISK_HEAD_TABLE2, DISK_MAGIC_TABLE, table);
        if (r < 0)
            return r;
    }
    return 0;
}

int space_write(struct space *space, struct disk_super *super)
{
    for (size_t i = 0; i < space->image_count; i++)
    {
        struct image *image = &space->images[i];
        struct group *group = space_group(space, image->group);
        int r = space_write_slot(space, &group->slot, image->group, DISK_HEAD_BITMAP,
                                 DISK_MAGIC_BITMAP, image->disk);
        if (r < 0)
            return r;
    }
    int r = space_write_tables(space);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < DISK_SUPER_TABLES; i++)
        super->tables[i] = slot_to_disk(&space->tables2[i], 0);
    super->data_blks = le64_put(space->image_data_blks);
    super->node_blks = le64_put(space->image_node_blks);
    return 0;
}

enum
{
    DISCARD_MIN_BLKS = 256
};

void space_release_deferred(struct space *space, bool discard)
{
    struct deferred_list *list = &space->deferred[1];
    for (size_t i = 0; discard && i < list->count; i++)
    {
        if (list->items[i].len >= DISCARD_MIN_BLKS)
            ignore_error(space->pool->device->ops->discard(space->pool->device,
                                                           list->items[i].len * BLK_BYTES,
                                                           list->items[i].blk * BLK_BYTES),
                         "a hint: the space stays taken below, and is used again by us");
    }
    AUTO_LOCK(&space->lock);
    for (size_t i = 0; i < list->count; i++)
    {
        uint64_t blk = list->items[i].blk, len = list->items[i].len;
        while (len > 0)
        {
            struct group *group = space_group(space, blk / space->group_blks);
            uint64_t bit = blk % space->group_blks;
            uint64_t here = min_u64(len, space->group_blks - bit);
            INVARIANT(bits_all(group->busy, bit, here, true));
            bits_clear(group->busy, bit, here);
            group->free += (uint32_t)here;
            space->free_blks += here;
            space->loaded_free_blks += here;
            blk += here;
            len -= here;
        }
    }
    list->count = 0;
    list->blks = 0;
}

/* ---- growing, figures ---------------------------------------------------------------------- */

int space_grow(struct space *space, uint64_t size_blks)
{
    AUTO_LOCK(&space->lock);
    uint64_t count = space_group_count(size_blks, space->group_blks);
    uint64_t tables1 = div_round_up(count, DISK_TABLE_FANOUT);
    if (count <= space->group_total)
        return 0;
    if (div_round_up(tables1, DISK_TABLE_FANOUT) > DISK_SUPER_TABLES)
        return -EINVAL;
    int r = space_add_segments(space, count);
    if (r < 0)
        return r;
    struct slot *tables = realloc(space->tables1, tables1 * sizeof(*tables));
    if (!tables)
        return -ENOMEM;
    space->tables1 = tables;
    uint64_t tables1_old = div_round_up(space->group_total, DISK_TABLE_FANOUT);
    memset(tables + tables1_old, 0, (tables1 - tables1_old) * sizeof(*tables));
    space_init_groups(space, space->group_total, count);
    space->group_total = count;
    return 0;
}

void space_grow_done(struct space *space)
{
    AUTO_LOCK(&space->lock);
    for (uint64_t g = space->group_count; g < space->group_total; g++)
    {
        space->total_blks += space_group(space, g)->blks;
        space->fixed_blks += space_fixed_in_group(space, g);
        space->free_blks += space_group(space, g)->free;
    }
    space->group_count = space->group_total;
    space_set_reserve(space);
}

void space_get_stats(struct space *space, struct space_stats *stats)
{
    AUTO_LOCK(&space->lock);
    *stats = (struct space_stats){
        .total_blks = space->total_blks,
        .fixed_blks = space->fixed_blks,
        .data_blks = space->data_blks,
        .node_blks = space->node_blks,
        .free_blks = space->free_blks,
        .deferred_blks = space->deferred[0].blks + space->deferred[1].blks,
        .reserve_blks = space->reserve_blks,
    };
}

int space_is_allocated(struct space *space, uint64_t blk, bool *is_allocated)
{
    uint64_t g = blk / space->group_blks;
    if (g >= space->group_total)
    {
        *is_allocated = false;
        return 0;
    }
    if (!space_group(space, g)->busy)
    {
        int r = space_load_group(space, g);
        if (r < 0)
            return r;
    }
    *is_allocated = bit_get(space_group(space, g)->allocated, blk % space->group_blks);
    return 0;
}
