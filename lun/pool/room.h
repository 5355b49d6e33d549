/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Room in the file system below a pool's file: whoever is going to take some asks first whether it
 * is there, and gives back what was taken when it was not enough. So a refusal leaves the file
 * system as it was, not full.
 *
 * A room_begin(); room_add() of each range; room_check(); then what enlarges and allocates, with
 * room_give_back() if that fails before anything relies on it; room_end(). Of a block device
 * nothing is asked or given back: it has all its room.
 */
#ifndef LUN_POOL_ROOM_H
#define LUN_POOL_ROOM_H

#include <stdbool.h>
#include <stdint.h>

#include "lun/base/err.h"

struct device;
struct pool;

struct room
{
    struct device *device;
    struct pool *pool;     /* NULL: none is open on it, and only the length is given back */
    uint64_t device_bytes; /* at room_begin() */
    uint64_t needed_bytes; /* what the ranges lack, as far as the file system tells */
    uint64_t free_bytes;   /* below; UINT64_MAX: a block device */
    uint64_t *had_holes; /* a bit for each chunk of the device: something of a range was missing */
};

MUST_CHECK int room_begin(struct room *room, struct device *device, struct pool *pool);
MUST_CHECK int room_add(struct room *room, uint64_t len, uint64_t offset);
/* Whether there is enough, as far as it can be told. */
bool room_is_enough(const struct room *room);
/*
 * The device is as long as it was, and free blocks where the ranges had holes have none again;
 * blocks that were free and had room beside a hole may lose it too. What was taken into use
 * meanwhile is not touched. No checkpoint may know more than the old length.
 */
void room_give_back(struct room *room);
/* Of a zeroed one too. */
void room_end(struct room *room);

#endif
