/* SPDX-License-Identifier: BSD-3-Clause */
/* Free space in checkpoints: what is copied at the switch, written, and released. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "lun/pool/pool_internal.h"
#include "lun/pool/space_internal.h"

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

/* Reads the bitmaps in which something was freed unread. *dirty: how many there are to write. */
static int space_load_late(struct space *space, uint64_t *dirty)
{
    for (;;)
    {
        uint64_t load = UINT64_MAX;
        {
            AUTO_LOCK(&space->lock);
            *dirty = space->dirty_groups;
            for (uint64_t g = 0; g < space->group_total && load == UINT64_MAX; g++)
            {
                if (space_group(space, g)->late)
                    load = g;
            }
        }
        if (load == UINT64_MAX)
            return 0;
        int r = space_load_group(space, load);
        if (r < 0)
            return r;
    }
}

int space_prepare_switch(struct space *space)
{
    uint64_t dirty;
    int r = space_load_late(space, &dirty);
    if (r < 0)
        return r;
    r = space_reserve_images(space, dirty + SPACE_IMAGES_SPARE);
    return r == -ENOMEM && dirty <= space->image_capacity ? 0 : r;
}

int space_prepare_free(struct space *space, uint64_t blk)
{
    bool is_taken; /* a contradiction is for space_free() to find */
    return space_is_allocated(space, blk, &is_taken);
}

bool space_write_again(struct space *space, uint64_t g)
{
    AUTO_LOCK(&space->lock);
    struct group *group = space_group(space, g);
    if (group->busy && !group->is_dirty)
    {
        group->is_dirty = true;
        space->dirty_groups++;
    }
    return group->busy != NULL;
}

/* The first dirty bitmap from *g on becomes an image, and is dirty no more. */
static void space_fill_image_locked(struct space *space, uint64_t *g, struct image *image)
{
    while (!space_group(space, *g)->is_dirty)
        ++*g;
    struct group *group = space_group(space, *g);
    memset(image->disk, 0, sizeof(*image->disk));
    memcpy(image->disk->bits, group->allocated, words_for(space->group_blks) * 8);
    image->group = *g;
    image->free = count_clear(group->allocated, space->group_blks);
    group->is_dirty = false;
    space->dirty_groups--;
}

void space_switch(struct space *space, uint64_t cp_id)
{
    AUTO_LOCK(&space->lock);
    INVARIANT(space->dirty_groups <= space->image_capacity);
    space->image_count = 0;
    space->image_cp_id = cp_id;
    for (uint64_t g = 0; space->dirty_groups > 0; g++)
        space_fill_image_locked(space, &g, &space->images[space->image_count++]);
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
    AUTO_LOCK(&space->lock); /* space_load_group() copies groups, whatever it needs of them */
    *slot = (struct slot){.cp_id = space->image_cp_id,
                          .crc = le32_get(((struct disk_header *)block)->crc32c),
                          .slot = (uint8_t)other};
    return 0;
}

static int space_write_image(struct space *space, const struct image *image)
{
    struct group *group = space_group(space, image->group);
    int r = space_write_slot(space, &group->slot, image->group, DISK_HEAD_BITMAP, DISK_MAGIC_BITMAP,
                             image->disk);
    if (r < 0)
        return r;
    AUTO_LOCK(&space->lock);
    group->slot_free = image->free;
    return 0;
}

int space_write_excess(struct space *space, uint64_t cp_id)
{
    uint64_t g = 0, dirty;
    static_assert(sizeof(struct disk_bitmap) == sizeof(struct disk_table), "one serves as other");
    struct image image = {.disk = (void *)space->table}; /* which is not in use yet */
    int r = space_load_late(space, &dirty); /* there are none: see space_prepare_free() */
    if (r < 0)
        return r;
    ignore_error(space_reserve_images(space, dirty), "what there is no memory for is written");
    space->image_cp_id = cp_id;
    for (;;)
    {
        {
            AUTO_LOCK(&space->lock);
            if (space->dirty_groups <= space->image_capacity)
                return 0;
            space_fill_image_locked(space, &g, &image);
        }
        r = space_write_image(space, &image);
        if (r < 0)
            return r;
    }
}

static void space_fill_table1(struct space *space, uint64_t index, struct disk_table *table)
{
    memset(table, 0, sizeof(*table));
    table->level = le32_put(1);
    uint64_t first = index * DISK_TABLE_FANOUT;
    for (uint64_t i = 0; i < DISK_TABLE_FANOUT && first + i < space->group_total; i++)
    {
        const struct group *group = space_group(space, first + i);
        table->slots[i] = slot_to_disk(&group->slot, group->slot_free);
    }
}

/* Whether this checkpoint wrote a bitmap of table @index. */
static bool space_has_written(const struct space *space, uint64_t index)
{
    uint64_t first = index * DISK_TABLE_FANOUT;
    for (uint64_t i = 0; i < DISK_TABLE_FANOUT && first + i < space->group_total; i++)
    {
        if (space_group(space, first + i)->slot.cp_id == space->image_cp_id)
            return true;
    }
    return false;
}

static int space_write_tables(struct space *space)
{
    struct disk_table *table = space->table;
    uint64_t tables1 = div_round_up(space->group_total, DISK_TABLE_FANOUT);
    for (uint64_t index = 0; index < tables1; index++)
    {
        if (!space_has_written(space, index))
            continue;
        space_fill_table1(space, index, table);
        int r = space_write_slot(space, &space->tables1[index], index * DISK_TABLE_FANOUT,
                                 DISK_HEAD_TABLE1, DISK_MAGIC_TABLE, table);
        if (r < 0)
            return r;
    }
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
        int r = space_write_image(space, &space->images[i]);
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
        /* The node area keeps its room. */
        uint64_t end = list->items[i].blk + list->items[i].len;
        uint64_t blk = max_u64(list->items[i].blk, space->area_end);
        if (blk + DISCARD_MIN_BLKS <= end)
            ignore_error(space->pool->device->ops->discard(
                             space->pool->device, (end - blk) * BLK_BYTES, blk * BLK_BYTES),
                         "a hint: the space stays taken below, and is used again by us");
    }
    AUTO_LOCK(&space->lock);
    for (size_t i = 0; i < list->count; i++)
    {
        uint64_t blk = list->items[i].blk, len = list->items[i].len;
        while (len > 0)
        {
            uint64_t here = min_u64(len, space->group_blks - blk % space->group_blks);
            space_free_again_locked(space, blk, here);
            blk += here;
            len -= here;
        }
    }
    list->count = 0;
    list->blks = 0;
}
