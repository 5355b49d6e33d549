/* SPDX-License-Identifier: BSD-3-Clause */
/* Free space made anew from what is in use: a repair's. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/check/reach.h"
#include "lun/pool/pool_internal.h"
#include "lun/pool/space_internal.h"

/* The bitmap that group @g should have. */
static void rebuild_bits(struct space *space, const struct reach *reach, uint64_t g, uint64_t *bits)
{
    const struct group *group = space_group(space, g);
    uint64_t first = g * space->group_blks;
    uint64_t all = words_for(space->group_blks) * WORD_BITS;
    memset(bits, 0, words_for(space->group_blks) * 8);
    for (uint64_t i = 0; i < group->blks; i++)
    {
        if (bit_get(reach->bits, first + i))
            bits_set(bits, i, 1);
    }
    bits_set(bits, 0, space_fixed_in_group(space, g));
    bits_set(bits, group->blks, all - group->blks);
}

/* Counts what differs between @old and @bits; true: something. */
static bool rebuild_compare(struct space *space, const uint64_t *old, const uint64_t *bits,
                            struct space_rebuilt *result)
{
    uint64_t missing = 0, leaked = 0;
    for (uint64_t i = 0; i < words_for(space->group_blks); i++)
    {
        missing += (uint64_t)__builtin_popcountll(bits[i] & ~old[i]);
        leaked += (uint64_t)__builtin_popcountll(old[i] & ~bits[i]);
    }
    result->missing_blks += missing;
    result->leaked_blks += leaked;
    return missing + leaked > 0;
}

static void rebuild_install(struct space *space, uint64_t g, uint64_t *allocated, uint64_t *busy)
{
    AUTO_LOCK(&space->lock);
    struct group *group = space_group(space, g);
    free(group->allocated);
    free(group->busy);
    group_drop_late(group);
    group->allocated = allocated;
    group->busy = busy;
    group->free = count_clear(busy, space->group_blks);
    space->dirty_groups += !group->is_dirty;
    group->is_dirty = true;
    group->is_lost = false;
}

/* What group @g has as used, in memory or else on disk. */
static int rebuild_read(struct space *space, uint64_t g, uint64_t *bits)
{
    const struct group *group = space_group(space, g);
    if (group->allocated)
    {
        memcpy(bits, group->allocated, words_for(space->group_blks) * 8);
        return 0;
    }
    int r = space_read_group(space, g, bits);
    for (const struct late_free *late = group->late; r == 0 && late; late = late->next)
        bits_clear(bits, late->bit, late->len);
    return r;
}

/* Of a pool whose trees are not whole: what was used stays so, but for what was given up. */
static void rebuild_keep(struct space *space, const struct reach *reach, uint64_t g,
                         const uint64_t *old, uint64_t *bits)
{
    uint64_t first = g * space->group_blks;
    for (uint64_t i = 0; i < space_group(space, g)->blks; i++)
    {
        if (bit_get(bits, i) || !bit_get(old, i))
            continue;
        bool was_data = reach->given_data && bit_get(reach->given_data, first + i);
        bool was_node = reach->given_nodes && bit_get(reach->given_nodes, first + i);
        if (!was_data && !was_node)
            bits_set(bits, i, 1);
        space->data_blks -= was_data;
        space->node_blks -= was_node && !was_data;
    }
}

/* The bitmap of @g cannot be read: what it may have had, and says so once. */
static void rebuild_guess(struct space *space, const struct reach *reach, uint64_t g,
                          const uint64_t *bits, uint64_t *old, struct space_rebuilt *result)
{
    struct group *group = space_group(space, g);
    if (result->lost_groups == 0 && !group->is_lost)
        result->first_lost = g;
    result->lost_groups += !group->is_lost;
    group->is_guess = !reach->is_whole;
    if (reach->is_whole)
        memcpy(old, bits, words_for(space->group_blks) * 8);
    else
        memset(old, 0xff, words_for(space->group_blks) * 8);
}

static int rebuild_group(struct space *space, const struct reach *reach, uint64_t g,
                         struct space_rebuilt *result)
{
    size_t words = words_for(space->group_blks);
    AUTO_FREE uint64_t *old = calloc(words + 1, 8);
    AUTO_FREE uint64_t *bits = calloc(words + 1, 8);
    AUTO_FREE uint64_t *busy = calloc(words + 1, 8);
    if (!old || !bits || !busy)
        return -ENOMEM;
    struct group *group = space_group(space, g);
    rebuild_bits(space, reach, g, bits);
    int r = rebuild_read(space, g, old);
    if (r == -ENOMEM)
        return r;
    if (r < 0)
        rebuild_guess(space, reach, g, bits, old, result);
    if (!reach->is_whole)
        rebuild_keep(space, reach, g, old, bits);
    struct space_rebuilt unsaid = {0}; /* of a guess nobody knows what leaked */
    if (r == 0 && !rebuild_compare(space, old, bits, group->is_guess ? &unsaid : result))
        return 0;
    group->is_guess &= !reach->is_whole;
    for (size_t i = 0; i < words; i++)
        busy[i] = bits[i] | old[i] | (group->busy ? group->busy[i] : 0);
    rebuild_install(space, g, take_ptr(&bits), take_ptr(&busy));
    return 0;
}

/* What is busy for no other reason. */
static uint64_t rebuild_count_held(const struct space *space)
{
    uint64_t blks = 0;
    for (uint64_t g = 0; g < space->group_count; g++)
    {
        const struct group *group = space_group(space, g);
        for (uint64_t i = 0; group->busy && i < words_for(space->group_blks); i++)
            blks += (uint64_t)__builtin_popcountll(group->busy[i] & ~group->allocated[i]);
    }
    uint64_t others = space->taken;
    for (size_t i = 0; i < ARRAY_SIZE(space->deferred); i++)
    {
        const struct deferred_list *list = &space->deferred[i];
        for (size_t j = 0; j < list->count; j++)
            others += space_group(space, list->items[j].blk / space->group_blks)->busy
                          ? list->items[j].len
                          : 0;
    }
    return blks - min_u64(blks, others);
}

int space_rebuild(struct space *space, const struct reach *reach, struct space_rebuilt *result)
{
    *result = (struct space_rebuilt){0};
    for (uint64_t g = 0; g < space->group_count; g++)
    {
        int r = rebuild_group(space, reach, g, result);
        if (r < 0)
            return r;
    }
    AUTO_LOCK(&space->lock);
    if (reach->is_whole)
    {
        space->data_blks = reach->data_blks;
        space->node_blks = reach->node_blks;
    }
    space->held_blks = rebuild_count_held(space);
    space_recount(space);
    return 0;
}

void space_rebuild_room(struct space *space, const struct reach *reach, uint64_t blk, uint64_t len)
{
    for (uint64_t at = blk; at < blk + len && at < space->group_count * space->group_blks; at++)
    {
        struct group *group = space_group(space, at / space->group_blks);
        uint64_t bit = at % space->group_blks;
        AUTO_LOCK(&space->lock);
        if (!group->busy || !bit_get(group->busy, bit) || bit_get(reach->bits, at) ||
            bit < space_fixed_in_group(space, at / space->group_blks))
            continue;
        space->held_blks -= !bit_get(group->allocated, bit);
        bits_clear(group->busy, bit, 1);
        bits_clear(group->allocated, bit, 1);
        group->free++;
        space->free_blks++;
        space->loaded_free_blks++;
    }
}
