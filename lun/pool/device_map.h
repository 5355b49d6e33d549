/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Windows of a pool's file in the address space, made when somebody wants to lend from there. Read
 * by system calls only, see device.h.
 *
 * A part of the file has one place for its window. So there are few of them, however large the pool
 * is, and with them the page tables and the address space are bounded: 16 GiB of it, and 32 MiB. A
 * window may reach behind the end of the file; when the file grows, it shows what is new.
 */
#ifndef LUN_POOL_DEVICE_MAP_H
#define LUN_POOL_DEVICE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "lun/base/lock.h"

enum
{
    DEVICE_MAP_WINDOW_BYTES = 64 << 20,
    DEVICE_MAP_WINDOWS = 256,
    DEVICE_MAP_MISSES = 16, /* without a hit between them: the window gives way to another */
};

struct device_map
{
    struct lock lock; /* LOCK_RANK_LEAF */
    struct device_map_window
    {
        void *at; /* NULL: none */
        uint64_t number;
        uint32_t loans, misses;
    } windows[DEVICE_MAP_WINDOWS];
};

void device_map_init(struct device_map *map);
/* When nothing is lent. */
void device_map_destroy(struct device_map *map);

/* As device_ops.lend. */
MUST_CHECK int device_map_lend(struct device_map *map, int fd, uint64_t len, uint64_t offset,
                               const void **at);
void device_map_take_back(struct device_map *map, uint64_t offset);

#endif
