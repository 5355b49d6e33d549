/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/pool/room.h"

#include <errno.h>
#include <stdlib.h>

#include "lun/base/checked.h"
#include "lun/pool/device.h"
#include "lun/pool/pool_internal.h"
#include "lun/pool/space.h"

#define ROOM_CHUNK_BYTES (UINT64_C(1) << 20)

enum
{
    ROOM_WORD_BITS = 64,
};

int room_begin(struct room *room, struct device *device, struct pool *pool)
{
    *room = (struct room){.device = device, .pool = pool};
    int r = device->ops->size(device, &room->device_bytes);
    if (r == 0)
        r = device->ops->free_below(device, &room->free_bytes);
    if (r < 0 || room->free_bytes == UINT64_MAX)
        return r;
    uint64_t words = room->device_bytes / ROOM_CHUNK_BYTES / ROOM_WORD_BITS + 1;
    room->had_holes = calloc(words, sizeof(*room->had_holes));
    return room->had_holes ? 0 : -ENOMEM;
}

static void room_mark(struct room *room, uint64_t from, uint64_t end)
{
    for (uint64_t chunk = from / ROOM_CHUNK_BYTES; chunk * ROOM_CHUNK_BYTES < end; chunk++)
        room->had_holes[chunk / ROOM_WORD_BITS] |= UINT64_C(1) << (chunk % ROOM_WORD_BITS);
}

static bool room_is_marked(const struct room *room, uint64_t chunk)
{
    return room->had_holes[chunk / ROOM_WORD_BITS] >> (chunk % ROOM_WORD_BITS) & 1;
}

int room_add(struct room *room, uint64_t len, uint64_t offset)
{
    if (room->free_bytes == UINT64_MAX)
        return 0;
    uint64_t end = offset + len, at = offset, inside = min_u64(end, room->device_bytes);
    while (at < inside)
    {
        uint64_t hole, hole_len;
        int r = room->device->ops->find_hole(room->device, at, inside, &hole, &hole_len);
        if (r == -EOPNOTSUPP)
        {
            room_mark(room, at, inside);
            break;
        }
        if (r < 0)
            return r;
        if (hole_len == 0)
            break;
        room->needed_bytes += hole_len;
        room_mark(room, hole, hole + hole_len);
        at = hole + hole_len;
    }
    room->needed_bytes += end - max_u64(offset, inside);
    return 0;
}

bool room_is_enough(const struct room *room)
{
    return room->needed_bytes <= room->free_bytes;
}

/* Of the pool only what is free; behind it there is nobody's data. */
static void room_discard(struct room *room, uint64_t from, uint64_t end)
{
    uint64_t pool_end = atomic_load(&room->pool->size_blks) * BLK_BYTES;
    if (from < pool_end)
        space_discard_free(room->pool->space, from / BLK_BYTES,
                           (min_u64(end, pool_end) - from) / BLK_BYTES);
    from = max_u64(from, pool_end);
    if (from < end)
        ignore_error(room->device->ops->discard(room->device, end - from, from),
                     "it is found again by the next grow");
}

void room_give_back(struct room *room)
{
    if (room->free_bytes == UINT64_MAX)
        return;
    ignore_error(room->device->ops->shrink(room->device, room->device_bytes),
                 "a file that stays longer is a pool that opens");
    uint64_t chunks = div_round_up(room->device_bytes, ROOM_CHUNK_BYTES);
    for (uint64_t chunk = 0; room->pool && chunk < chunks; chunk++)
    {
        uint64_t from = chunk * ROOM_CHUNK_BYTES;
        if (room_is_marked(room, chunk))
            room_discard(room, from, min_u64(from + ROOM_CHUNK_BYTES, room->device_bytes));
    }
}

void room_end(struct room *room)
{
    free(room->had_holes);
    room->had_holes = NULL;
}
