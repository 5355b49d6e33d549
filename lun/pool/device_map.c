/* SPDX-License-Identifier: BSD-3-Clause */
/* Windows of a file, lent from. */
#include "lun/pool/device_map.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"

enum
{
    DEVICE_MAP_PAGES = 64, /* that are asked for at a time */
};

void device_map_init(struct device_map *map)
{
    *map = (struct device_map){.windows = {{.at = NULL}}};
    lock_init(&map->lock, LOCK_RANK_LEAF);
}

static void device_map_close(struct device_map_window *window)
{
    INVARIANT(window->loans == 0);
    if (window->at)
        munmap(window->at, DEVICE_MAP_WINDOW_BYTES);
    window->at = NULL;
}

void device_map_destroy(struct device_map *map)
{
    for (unsigned i = 0; i < DEVICE_MAP_WINDOWS; i++)
        device_map_close(&map->windows[i]);
    lock_destroy(&map->lock);
}

/* Without address space there is no window, and what is asked for is read. */
static int device_map_open(struct device_map_window *window, int fd, uint64_t number)
{
    device_map_close(window);
    void *at = mmap(NULL, DEVICE_MAP_WINDOW_BYTES, PROT_READ, MAP_SHARED, fd,
                    (off_t)(number * DEVICE_MAP_WINDOW_BYTES));
    window->misses = 0;
    if (at == MAP_FAILED)
        return -EAGAIN;
    /* Others' data has no place in a core dump, nor its page tables in a child. */
    if (madvise(at, DEVICE_MAP_WINDOW_BYTES, MADV_DONTDUMP) < 0 ||
        madvise(at, DEVICE_MAP_WINDOW_BYTES, MADV_DONTFORK) < 0)
    {
        munmap(at, DEVICE_MAP_WINDOW_BYTES);
        return -EAGAIN;
    }
    window->at = at;
    window->number = number;
    return 0;
}

static struct device_map_window *device_map_place(struct device_map *map, uint64_t offset)
{
    return &map->windows[offset / DEVICE_MAP_WINDOW_BYTES % DEVICE_MAP_WINDOWS];
}

/* Counts the loan. */
static int device_map_borrow(struct device_map *map, int fd, uint64_t offset, const uint8_t **at)
{
    struct device_map_window *window = device_map_place(map, offset);
    uint64_t number = offset / DEVICE_MAP_WINDOW_BYTES;
    AUTO_LOCK(&map->lock);
    if (!window->at || window->number != number)
    {
        bool is_to_go = !window->at || ++window->misses >= DEVICE_MAP_MISSES;
        if (!is_to_go || window->loans > 0 || device_map_open(window, fd, number) < 0)
            return -EAGAIN;
    }
    window->misses = 0;
    window->loans++;
    *at = (const uint8_t *)window->at + offset % DEVICE_MAP_WINDOW_BYTES;
    return 0;
}

/* Whether all is in memory, so that who reads it does not wait for the device. */
static bool device_map_is_there(const uint8_t *at, size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t before = (size_t)((uintptr_t)at % page);
    unsigned char is_there[DEVICE_MAP_PAGES];
    at -= before;
    len += before;
    while (len > 0)
    {
        size_t part = (size_t)min_u64(len, DEVICE_MAP_PAGES * page);
        if (mincore((void *)(uintptr_t)at, part, is_there) < 0)
            return false;
        for (size_t i = 0; i < div_round_up(part, page); i++)
            if (!(is_there[i] & 1))
                return false;
        at += part;
        len -= part;
    }
    return true;
}

int device_map_lend(struct device_map *map, int fd, uint64_t len, uint64_t offset, const void **at)
{
    const uint8_t *bytes;
    if (offset % DEVICE_MAP_WINDOW_BYTES + len > DEVICE_MAP_WINDOW_BYTES)
        return -EAGAIN;
    int r = device_map_borrow(map, fd, offset, &bytes);
    if (r < 0)
        return r;
    if (!device_map_is_there(bytes, (size_t)len))
    {
        device_map_take_back(map, offset);
        return -EAGAIN;
    }
    *at = bytes;
    return 0;
}

void device_map_take_back(struct device_map *map, uint64_t offset)
{
    AUTO_LOCK(&map->lock);
    device_map_place(map, offset)->loans--;
}
