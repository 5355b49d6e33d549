/* SPDX-License-Identifier: BSD-3-Clause */
/* Free space as the disk has it: reading tables and bitmaps, pinning for replay. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "lun/base/log.h"
#include "lun/check/repair.h"
#include "lun/pool/pool_internal.h"
#include "lun/pool/space_internal.h"

/* ---- reading ------------------------------------------------------------------------------- */

/* Reads the block that @slot says is at @head of @group. */
int space_read_slot(struct space *space, const struct slot *slot, uint64_t group,
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

/* A table of groups from @first on cannot be read. A repair goes on without it. */
static int space_lose_table(struct space *space, uint64_t first, uint64_t count, int r)
{
    struct repair *repair = space->pool->options.repair;
    if (!repair || (r != -EBADMSG && r != -EIO))
        return r;
    uint64_t end = min_u64(first + count, space->group_total);
    repair_say(repair, true,
               "the table of allocation groups %llu to %llu is damaged: it %s made anew",
               (unsigned long long)first, (unsigned long long)(end - 1), repair_is(repair));
    for (uint64_t g = first; g < end; g++)
        space_group(space, g)->is_lost = true;
    return 0;
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
        return space_lose_table(space, first, DISK_TABLE_FANOUT, r);
    for (uint64_t i = 0; i < DISK_TABLE_FANOUT && first + i < space->group_total; i++)
    {
        struct group *group = space_group(space, first + i);
        group->slot = slot_from_disk(&table->slots[i]);
        if (group->slot.cp_id == 0)
            continue;
        uint32_t free_blks = le32_get(table->slots[i].free_blks);
        if (free_blks > group->blks)
            return -EBADMSG;
        group->free = group->slot_free = free_blks;
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
    if (r < 0)
        return space_lose_table(space, first * DISK_TABLE_FANOUT,
                                (uint64_t)DISK_TABLE_FANOUT * DISK_TABLE_FANOUT, r);
    for (uint64_t i = 0; r == 0 && i < DISK_TABLE_FANOUT && first + i < tables1; i++)
    {
        space->tables1[first + i] = slot_from_disk(&table->slots[i]);
        r = space_load_table1(space, first + i);
    }
    return r;
}

/* Sums that follow from the groups. */
void space_recount(struct space *space)
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
void space_contradiction(struct space *space, uint64_t blk)
{
    log_error("block %llu is freed, but it is not allocated", (unsigned long long)blk);
    pool_degrade(space->pool, POOL_READ_ONLY, "free space contradicts a tree", -EBADMSG);
}

void group_apply_free_locked(struct space *space, struct group *group, uint32_t bit, uint32_t len)
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
    space->area_is_full = false; /* it may be one of its groups */
    for (struct late_free *late = group->late; late; late = late->next)
    {
        if (bits_all(group->allocated, late->bit, late->len, true))
            group_apply_free_locked(space, group, late->bit, late->len);
        else
            space_contradiction(space, late->bit);
    }
    group_drop_late(group);
}

/* The bitmap of @g as its slot has it, with all bits beyond the group's end set. */
static int space_read_bitmap(struct space *space, uint64_t g, const struct group *group,
                             uint64_t *bits)
{
    if (group->is_lost)
        return -EBADMSG;
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

int space_read_group(struct space *space, uint64_t g, uint64_t *bits)
{
    return space_read_bitmap(space, g, space_group(space, g), bits);
}

/* Brings the bitmap of a group into memory. Called without the lock. */
int space_load_group(struct space *space, uint64_t g)
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
        space->taken += here;
        blk += here;
        len -= here;
    }
    return 0;
}
