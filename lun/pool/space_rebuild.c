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
    group->allocated = allocated;
    group->busy = busy;
    group->free = count_clear(busy, space->group_blks);
    space->dirty_groups += !group->is_dirty;
    group->is_dirty = true;
    group->is_lost = false;
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
    rebuild_bits(space, reach, g, bits);
    bool was_lost = space_group(space, g)->is_lost;
    int r = space_read_group(space, g, old);
    if (r == -ENOMEM)
        return r;
    if (r < 0)
    {
        if (result->lost_groups == 0 && !was_lost)
            result->first_lost = g;
        result->lost_groups += !was_lost;
        if (reach->is_whole)
            memcpy(old, bits, words * 8);
        else
            memset(old, 0xff, words * 8);
    }
    for (size_t i = 0; !reach->is_whole && i < words; i++)
        bits[i] |= old[i];
    if (r == 0 && !rebuild_compare(space, old, bits, result))
        return 0;
    for (size_t i = 0; i < words; i++)
        busy[i] = bits[i] | old[i];
    rebuild_install(space, g, take_ptr(&bits), take_ptr(&busy));
    return 0;
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
        bits_clear(group->busy, bit, 1);
        bits_clear(group->allocated, bit, 1);
        group->free++;
        space->free_blks++;
        space->loaded_free_blks++;
    }
}
