/* SPDX-License-Identifier: BSD-3-Clause */
/* Taking and freeing blocks, admission, growing. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "lun/base/log.h"
#include "lun/pool/pool_internal.h"
#include "lun/pool/space_internal.h"

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

uint64_t space_reserve_of(uint64_t size_blks)
{
    return max_u64(SPACE_RESERVE_MIN, min_u64(SPACE_RESERVE_MAX, size_blks / SPACE_RESERVE_SHARE));
}

/* As much as may be written of a catalog at once, beside what settings, jobs and a checkpoint may
 * have. */
static uint64_t space_reserve_with(uint64_t base_blks, uint64_t catalog_blks)
{
    return max_u64(base_blks, catalog_blks + max_u64(base_blks / 2, SPACE_SETTINGS_LEAVE_MIN));
}

/* The node area holds as many blocks as the reserve, from the end of the journal on. */
static uint64_t space_area_end(const struct space_shape *shape)
{
    uint64_t left = space_reserve_of(shape->size_blks);
    uint64_t at = DISK_GROUP_HEAD_BLKS + 2 * shape->journal_half_blks;
    uint64_t group_end = shape->group_blks;
    while (group_end - at < left)
    {
        left -= group_end - at;
        at = group_end + DISK_GROUP_HEAD_BLKS;
        group_end += shape->group_blks;
    }
    return min_u64(at + left, shape->size_blks);
}

static struct space_shape space_shape_of(const struct space *space, uint64_t size_blks)
{
    return (struct space_shape){.size_blks = size_blks,
                                .group_blks = space->group_blks,
                                .journal_half_blks = space->pool->journal_half_blks};
}

bool space_may_hold(const struct pool *pool, uint64_t blk, uint64_t len)
{
    uint64_t fixed = DISK_GROUP_HEAD_BLKS;
    if (blk < pool->group_blks)
        fixed += 2 * pool->journal_half_blks;
    return range_ok(blk, len, atomic_load(&pool->size_blks)) && blk % pool->group_blks >= fixed &&
           blk % pool->group_blks + len <= pool->group_blks;
}

void space_set_reserve(struct space *space)
{
    struct space_shape shape = space_shape_of(space, space->total_blks);
    space->base_blks = space_reserve_of(space->total_blks);
    space->reserve_blks = space_reserve_with(space->base_blks, space->catalog_blks);
    space->area_end = space_area_end(&shape);
    space->area_is_full = false;
}

void space_keep_for_catalog(struct space *space, uint64_t blks)
{
    AUTO_LOCK(&space->lock);
    space->catalog_blks = blks;
    space->reserve_blks = space_reserve_with(space->base_blks, blks);
}

int space_allocate_range(struct device *device, uint64_t len, uint64_t offset)
{
    int r = device_allocate(device, len, offset);
    return r == -EOPNOTSUPP ? 0 : r;
}

int space_each_fixed(const struct space_shape *shape, uint64_t first_group, space_range_fn *fn,
                     void *opaque)
{
    uint64_t area_end = space_area_end(shape);
    int r = fn(opaque, area_end * BLK_BYTES, 0);
    for (uint64_t g = first_group; r == 0 && g < shape->size_blks / shape->group_blks; g++)
    {
        if (g * shape->group_blks >= area_end)
            r = fn(opaque, (uint64_t)DISK_GROUP_HEAD_BLKS * BLK_BYTES,
                   g * shape->group_blks * BLK_BYTES);
    }
    return r;
}

static int space_allocate_cb(void *opaque, uint64_t len, uint64_t offset)
{
    return space_allocate_range(opaque, len, offset);
}

int space_allocate(struct device *device, const struct space_shape *shape, uint64_t first_group)
{
    return space_each_fixed(shape, first_group, space_allocate_cb, device);
}

void space_prepare_area(struct space *space)
{
    uint64_t end = space->area_end;
    struct pool *pool = space->pool;
    for (uint64_t g = 0; g * space->group_blks < end; g++)
        ignore_error(space_load_group(space, g), "whoever needs it is told");
    int r = space_allocate_range(pool->device, end * BLK_BYTES, 0);
    if (r < 0)
        log_warning("pool '%s': no room can be taken for its metadata: %s; it has to be there when "
                    "a checkpoint is written",
                    pool->path, strerror(-r));
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
    space->table = aligned_alloc(BLK_BYTES, BLK_BYTES);
    if (r < 0 || !space->tables1 || !space->tables2 || !space->table || tables2 > DISK_SUPER_TABLES)
    {
        space_destroy(space);
        return -ENOMEM;
    }
    space_init_groups(space, 0, space->group_count);
    *out = space;
    return 0;
}

void group_drop_late(struct group *group)
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
    free(space->table);
    free(space->deferred[0].items);
    free(space->deferred[1].items);
    lock_destroy(&space->lock);
    free(space);
}

/* ---- taking -------------------------------------------------------------------------------- */

void group_take_locked(struct space *space, struct group *group, uint64_t bit, uint64_t len)
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

/*
 * Finds a free run in loaded group @g at or after @bit: a long one if the first is much too short.
 * One that is long enough begins at a multiple of SPACE_ALIGN_BLKS, so that 64 KiB of a LUN that
 * was written in order are one folio of the page cache, and one stripe of many devices.
 */
static bool group_find_run(const struct group *group, uint64_t bit, uint64_t want, uint64_t *found,
                           uint64_t *len)
{
    uint64_t good = min_u64(want, SPACE_ALIGN_BLKS), best_len = 0;
    for (unsigned tries = 0; tries < 32 && bit < group->blks; tries++)
    {
        uint64_t start = bits_find_clear(group->busy, bit, group->blks);
        if (start >= group->blks)
            break;
        uint64_t end = bits_find_set(group->busy, start, min_u64(group->blks, start + want));
        uint64_t aligned = round_up(start, SPACE_ALIGN_BLKS);
        if (want >= SPACE_ALIGN_BLKS && aligned < end)
        {
            uint64_t aligned_end =
                bits_find_set(group->busy, end, min_u64(group->blks, aligned + want));
            if (aligned_end - aligned >= SPACE_ALIGN_BLKS)
            {
                start = aligned;
                end = aligned_end;
            }
        }
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

/* At or behind @from only. -EAGAIN with *load set to a group that must be read first. */
static int space_find_from_locked(struct space *space, uint64_t from, uint64_t hint, uint64_t want,
                                  uint64_t *g_out, uint64_t *bit, uint64_t *len, uint64_t *load)
{
    uint64_t first = hint / space->group_blks, offset = hint % space->group_blks;
    if (first >= space->group_count)
        first = offset = 0;
    for (uint64_t i = 0; i <= space->group_count; i++)
    {
        uint64_t g = (first + i) % space->group_count;
        struct group *group = space_group(space, g);
        uint64_t start = i == 0 ? offset : 0;
        if (group->free == 0 || (g + 1) * space->group_blks <= from)
            continue;
        if (g * space->group_blks < from)
            start = max_u64(start, from - g * space->group_blks);
        if (!group->busy)
        {
            *load = g;
            return -EAGAIN;
        }
        if (group_find_run(group, start, want, bit, len))
        {
            *g_out = g;
            return 0;
        }
    }
    return -ENOSPC;
}

/* Data goes to the node area only when nodes have spilt out of it. */
static int space_find_locked(struct space *space, uint64_t hint, uint64_t want, uint64_t *g_out,
                             uint64_t *bit, uint64_t *len, uint64_t *load)
{
    int r = space_find_from_locked(space, space->area_end, hint, want, g_out, bit, len, load);
    return r == -ENOSPC ? space_find_from_locked(space, 0, hint, want, g_out, bit, len, load) : r;
}

static uint64_t space_deferred(const struct space *space)
{
    return space->deferred[0].blks + space->deferred[1].blks;
}

/* What a use leaves of the blocks that are free now. */
static uint64_t space_stays_free(const struct space *space, enum space_use use)
{
    switch (use)
    {
    case SPACE_FREEING:
        return SPACE_CHECKPOINT_BLKS;
    case SPACE_SETTINGS:
        return space->reserve_blks -
               min_u64(space->base_blks / 4, space->base_blks - SPACE_SETTINGS_LEAVE_MIN);
    case SPACE_URGENT:
        return min_u64(space->base_blks / 2, SPACE_URGENT_RESERVE_MAX);
    case SPACE_THIN:
    case SPACE_PROMISED:
        break;
    }
    return space->reserve_blks;
}

/* What it leaves of these and of those that will be free after the next checkpoint. */
static uint64_t space_stays(const struct space *space, enum space_use use)
{
    if (space_use_is_promised(use))
        return 0;
    uint64_t promised = space->promised - min_u64(space->promised, space->taken_promised);
    bool has_part = use == SPACE_THIN || use == SPACE_SETTINGS;
    return promised + (has_part ? space_stays_free(space, use) : 0);
}

/*
 * @wanted: what is held already and what more is asked for. What others are admitted for is the
 * worst case; most of it comes back when they leave, a moment from now. So does what is owed: the
 * checkpoint that takes it frees the blocks of the pages that it moves. A promise is waited for as
 * long as all promises are covered by what is free, will be, or is on its way to those it was
 * promised to.
 */
static int space_no_room(const struct space *space, enum space_use use, uint64_t wanted)
{
    uint64_t deferred = space_deferred(space), all = space->free_blks + deferred;
    if (space_use_is_promised(use))
        return all + space->taken < space->promised ? -ENOSPC : -EAGAIN;
    if (all < wanted + space_stays(space, use) && (space->promised > 0 || deferred == 0))
        return -ENOSPC;
    bool others_have_it = space->free_blks >= wanted + space_stays_free(space, use);
    return others_have_it || deferred > 0 ? -EAGAIN : -ENOSPC;
}

/* How many blocks @use may have now, beside those that are admitted and owed. */
static uint64_t space_room(const struct space *space, enum space_use use)
{
    uint64_t asked = space->admitted + space->owed;
    uint64_t now = asked + space_stays_free(space, use), ever = asked + space_stays(space, use);
    uint64_t all = space->free_blks + space_deferred(space);
    if (space->free_blks <= now || all <= ever)
        return 0;
    return min_u64(space->free_blks - now, all - ever);
}

int space_take(struct space *space, enum space_use use, uint64_t hint, uint64_t want, uint64_t *blk,
               uint64_t *got)
{
    for (;;)
    {
        uint64_t load = UINT64_MAX;
        {
            AUTO_LOCK(&space->lock);
            uint64_t room = space_room(space, use);
            if (room == 0)
                return space_no_room(space, use, 1);
            want = min_u64(want, room);
            uint64_t g, bit, len;
            int r = space_find_locked(space, hint ? hint : space->data_cursor, want, &g, &bit, &len,
                                      &load);
            if (r == 0)
            {
                group_take_locked(space, space_group(space, g), bit, len);
                space->taken += len;
                space->taken_promised += space_use_is_promised(use) ? len : 0;
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

/* ---- giving room back below ---------------------------------------------------------------- */

/* Takes some free blocks at *blk or behind it, before @end, and sets *blk to where they are; 0: no
 * more. They count as taken, so at least half of what anybody may take now is left. */
static uint64_t space_take_idle(struct space *space, uint64_t *blk, uint64_t end)
{
    while (*blk < end)
    {
        uint64_t g = *blk / space->group_blks, first = g * space->group_blks;
        bool is_loaded = space_load_group(space, g) == 0;
        AUTO_LOCK(&space->lock);
        struct group *group = space_group(space, g);
        uint64_t here = is_loaded ? min_u64(end - first, group->blks) : 0;
        uint64_t bit = is_loaded ? bits_find_clear(group->busy, *blk - first, here) : 0;
        if (bit >= here)
        {
            *blk = first + space->group_blks;
            continue;
        }
        uint64_t asked = space->admitted + space->owed, loaded = space->loaded_free_blks;
        uint64_t most = min_u64(space_room(space, SPACE_THIN), loaded > asked ? loaded - asked : 0);
        uint64_t len = min_u64(bits_find_set(group->busy, bit, here) - bit, most / 2);
        if (len > 0)
        {
            group_take_locked(space, group, bit, len);
            space->taken += len;
        }
        *blk = first + bit;
        return len;
    }
    return 0;
}

void space_discard_free(struct space *space, uint64_t blk, uint64_t len)
{
    struct device *device = space->pool->device;
    uint64_t end = blk + len, got;
    blk = max_u64(blk, space->area_end);
    while ((got = space_take_idle(space, &blk, end)) > 0)
    {
        ignore_error(device->ops->discard(device, got * BLK_BYTES, blk * BLK_BYTES),
                     "a hint: the space stays taken below, and is used again by us");
        space_cancel(space, blk, got);
        blk += got;
    }
}

/* ---- looking at what is free ---------------------------------------------------------------- */

bool space_is_in_area(const struct space *space, uint64_t blk)
{
    return blk < atomic_load(&space->area_end);
}

int space_find_free(struct space *space, uint64_t *blk, uint64_t end, uint64_t max, uint64_t *len)
{
    *len = 0;
    while (*blk < end)
    {
        uint64_t g = *blk / space->group_blks, first = g * space->group_blks;
        int r = space_load_group(space, g);
        if (r < 0)
            return r;
        AUTO_LOCK(&space->lock);
        const struct group *group = space_group(space, g);
        uint64_t here = min_u64(end - first, group->blks);
        uint64_t bit = bits_find_clear(group->busy, *blk - first, here);
        *blk = first + bit;
        if (bit < here)
        {
            *len = bits_find_set(group->busy, bit, min_u64(here, bit + max)) - bit;
            return 0;
        }
        *blk = first + space->group_blks;
    }
    return 0;
}

uint64_t space_take_free(struct space *space, uint64_t blk, uint64_t len, bool *is_crowded)
{
    AUTO_LOCK(&space->lock);
    struct group *group = space_group(space, blk / space->group_blks);
    uint64_t bit = blk % space->group_blks, end = min_u64(group->blks, bit + len);
    uint64_t idle = min_u64(space->free_blks, space->loaded_free_blks);
    uint64_t kept = space->admitted + space->owed + SPACE_CHECKPOINT_BLKS;
    uint64_t most = idle > kept ? min_u64((idle - kept + 1) / 2, SPACE_IDLE_BLKS) : 0;
    uint64_t found = group->busy ? bits_find_set(group->busy, bit, end) - bit : 0;
    uint64_t got = min_u64(found, most);
    *is_crowded = found > 0 && most == 0;
    if (got > 0)
    {
        group_take_locked(space, group, bit, got);
        space->taken += got;
    }
    return got;
}

void space_arrive(struct space *space, enum space_use use, uint64_t blks)
{
    if (!space_use_is_promised(use))
        return;
    AUTO_LOCK(&space->lock);
    INVARIANT(space->taken_promised >= blks);
    space->taken_promised -= blks;
}

void space_free_again_locked(struct space *space, uint64_t blk, uint64_t len)
{
    struct group *group = space_group(space, blk / space->group_blks);
    uint64_t bit = blk % space->group_blks;
    INVARIANT(bits_all(group->busy, bit, len, true));
    bits_clear(group->busy, bit, len);
    group->free += (uint32_t)len;
    space->free_blks += len;
    space->loaded_free_blks += len;
    if (blk < space->area_end)
        space->area_is_full = false;
}

void space_cancel(struct space *space, uint64_t blk, uint64_t len)
{
    AUTO_LOCK(&space->lock);
    space_free_again_locked(space, blk, len);
    space->taken -= len;
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

void space_rewind(struct space *space)
{
    AUTO_LOCK(&space->lock);
    space->data_cursor = space->area_end;
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
    space->taken -= len;
}

/* The first free block of [from, end) in a group that is in memory; 0: none. */
static uint64_t space_find_node_locked(const struct space *space, uint64_t from, uint64_t end)
{
    while (from < end)
    {
        uint64_t g = from / space->group_blks, first = g * space->group_blks;
        const struct group *group = space_group(space, g);
        uint64_t here = min_u64(end - first, group->blks);
        if (group->busy && group->free > 0)
        {
            uint64_t bit = bits_find_clear(group->busy, from - first, here);
            if (bit < here)
                return first + bit;
        }
        from = first + space->group_blks;
    }
    return 0;
}

/* From the cursor on, and around, in the node area first. */
static uint64_t space_choose_node_locked(struct space *space)
{
    uint64_t area = space->area_end, all = space->group_count * space->group_blks, blk = 0;
    if (!space->area_is_full)
    {
        uint64_t cursor = space->node_cursor < area ? space->node_cursor : 0;
        blk = space_find_node_locked(space, cursor, area);
        if (blk == 0)
            blk = space_find_node_locked(space, 0, cursor);
        space->area_is_full = blk == 0;
    }
    if (blk == 0)
        blk = space_find_node_locked(space, max_u64(space->node_cursor, area), all);
    return blk ? blk : space_find_node_locked(space, area, all);
}

/* Far from @from, so that what hits the one does not hit the other. */
static uint64_t space_choose_far_locked(struct space *space, uint64_t from)
{
    uint64_t area = space->area_end, all = space->group_count * space->group_blks, blk = 0;
    if (!space->area_is_full && from < area)
    {
        uint64_t first = DISK_GROUP_HEAD_BLKS + 2 * space->pool->journal_half_blks;
        uint64_t len = area - first;
        uint64_t at = first + (from - first + len / 2) % len;
        blk = space_find_node_locked(space, at, area);
        if (blk == 0)
            blk = space_find_node_locked(space, 0, at);
        space->area_is_full = blk == 0;
    }
    if (blk == 0)
        blk = space_find_node_locked(space, (from + space->group_blks) % all, all);
    return blk ? blk : space_find_node_locked(space, 0, all);
}

static void space_give_node_locked(struct space *space, uint64_t blk)
{
    struct group *group = space_group(space, blk / space->group_blks);
    group_take_locked(space, group, blk % space->group_blks, 1);
    group_mark_allocated_locked(space, group, blk % space->group_blks, 1);
    space->node_blks++;
}

uint64_t space_take_node_far(struct space *space, uint64_t from)
{
    AUTO_LOCK(&space->lock);
    uint64_t blk = space_choose_far_locked(space, from);
    INVARIANT(blk != 0); /* the operation was admitted */
    space_give_node_locked(space, blk);
    return blk;
}

uint64_t space_try_node(struct space *space)
{
    AUTO_LOCK(&space->lock);
    uint64_t blk = space_choose_node_locked(space);
    if (blk == 0)
        return 0;
    space_give_node_locked(space, blk);
    space->node_cursor = blk + 1;
    /* Data steps over the window, so that nodes stay together. */
    if (space->node_cursor >= space->node_window_end)
        space->node_window_end = space->node_cursor + NODE_WINDOW_BLKS;
    if (space->data_cursor >= space->node_cursor && space->data_cursor < space->node_window_end)
        space->data_cursor = space->node_window_end;
    return blk;
}

uint64_t space_take_node(struct space *space)
{
    uint64_t blk = space_try_node(space);
    INVARIANT(blk != 0); /* the operation was admitted */
    return blk;
}

void space_take_node_at(struct space *space, uint64_t blk)
{
    AUTO_LOCK(&space->lock);
    struct group *group = space_group(space, blk / space->group_blks);
    uint64_t bit = blk % space->group_blks;
    INVARIANT(bits_all(group->busy, bit, 1, true) && bits_all(group->allocated, bit, 1, false));
    group_mark_allocated_locked(space, group, bit, 1);
    space->node_blks++;
    space->taken--;
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
        if (blk / space->group_blks >= space->group_total)
        {
            space_contradiction(space, blk);
            return;
        }
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

int space_admit_more(struct space *space, uint64_t nodes, uint64_t held, enum space_use use)
{
    for (;;)
    {
        uint64_t load;
        {
            AUTO_LOCK(&space->lock);
            if (space_room(space, use) < nodes)
                return space_no_room(space, use, held + nodes);
            if (space->loaded_free_blks >= space->admitted + space->owed + nodes)
            {
                space->admitted += nodes;
                return 0;
            }
            load = space_unloaded_locked(space);
            if (load == UINT64_MAX)
                return space_no_room(space, use, held + nodes);
        }
        int r = space_load_group(space, load);
        if (r < 0)
            return r;
    }
}

int space_admit(struct space *space, uint64_t nodes, enum space_use use)
{
    return space_admit_more(space, nodes, 0, use);
}

/* ---- promises ------------------------------------------------------------------------------ */

void space_set_promised(struct space *space, uint64_t blks)
{
    AUTO_LOCK(&space->lock);
    space->promised = blks;
}

int space_raise_promised(struct space *space, uint64_t blks, uint64_t margin, uint64_t *available)
{
    AUTO_LOCK(&space->lock);
    uint64_t stays = space->admitted + space->owed + space_stays(space, SPACE_THIN);
    uint64_t all = space->free_blks + space_deferred(space);
    *available = all > stays ? all - stays : 0;
    if (*available < blks + margin)
        return -ENOSPC;
    space->promised += blks;
    return 0;
}

int space_prepare_pages(struct space *space, uint64_t inner_nodes)
{
    for (;;)
    {
        uint64_t load;
        {
            AUTO_LOCK(&space->lock);
            uint64_t need = space->owed + inner_nodes;
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
    return min_u64(SPACE_DIRTY_MAX, max_u64(space->base_blks / 2, 32));
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

void space_grow_undo(struct space *space)
{
    AUTO_LOCK(&space->lock);
    space->group_total = space->group_count;
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
        .deferred_blks = space_deferred(space) + space->held_blks,
        .reserve_blks = space->reserve_blks,
        .promised_blks = space->promised,
        .taken_blks = space->taken,
        .asked_blks = space->admitted + space->owed,
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
    for (;;)
    {
        {
            /* Writers load groups too, before they take the gate. */
            AUTO_LOCK(&space->lock);
            const struct group *group = space_group(space, g);
            if (group->busy)
            {
                *is_allocated = bit_get(group->allocated, blk % space->group_blks);
                return 0;
            }
        }
        int r = space_load_group(space, g);
        if (r < 0)
            return r;
    }
}
