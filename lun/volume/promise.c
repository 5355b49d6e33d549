/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/volume/promise.h"

#include "lun/pool/pool_internal.h"

int promise_check(struct pool *pool, const struct promise_delta *deltas, size_t count,
                  struct reason *why)
{
    (void)pool, (void)deltas, (void)count, (void)why;
    return 0; /* nothing is enforced yet */
}

uint64_t promise_needed_bytes(const struct lun_object *lun)
{
    (void)lun;
    return 0;
}

void promise_fill_volume(const struct pool *pool, const struct volume_object *volume,
                         struct volume_info *info)
{
    uint64_t blks = 0, point_blks = 0;
    list_for_each (line, &volume->lines, struct line, volume_link)
    {
        uint64_t own = atomic_load(&line->own_blks) + atomic_load(&line->own_node_blks);
        blks += own;
        point_blks += line->frozen_at != 0 ? own : 0;
    }
    struct space_stats stats;
    space_get_stats(pool->space, &stats);
    info->charged_bytes = blks * BLK_BYTES;
    info->snapshot_bytes = point_blks * BLK_BYTES;
    info->available_bytes = stats.free_blks > stats.reserve_blks
                                ? (stats.free_blks - stats.reserve_blks) * BLK_BYTES
                                : 0;
}
