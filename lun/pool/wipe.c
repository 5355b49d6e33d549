/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/pool/wipe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/pool/checkpoint.h"
#include "lun/pool/pool_internal.h"

enum
{
    WIPE_READ_BLKS = 256, /* at a time */
    WIPE_PASSES = 2,
};

struct wipe
{
    struct pool *pool;
    uint8_t *bytes;       /* of WIPE_READ_BLKS blocks */
    const uint8_t *zeros; /* as many */
    uint64_t end_blk;     /* of the pool, as large as it was at the start */
    pool_wipe_fn *goes_on;
    void *opaque;
    struct pool_wipe *result;
    unsigned pass;
};

static bool wipe_is_old(const struct wipe *wipe, uint64_t blk, const uint8_t *bytes)
{
    const struct disk_header *header = (const void *)bytes;
    if (le32_get(header->magic) == DISK_MAGIC_PAGE)
        return true;
    return space_is_in_area(wipe->pool->space, blk) && memcmp(bytes, wipe->zeros, BLK_BYTES) != 0;
}

/* Zeroes [blk, blk + len) as far as it is free still. */
static int wipe_zero(struct wipe *wipe, uint64_t blk, uint64_t len)
{
    struct pool *pool = wipe->pool;
    while (len > 0)
    {
        bool is_crowded;
        uint64_t got = space_take_free(pool->space, blk, len, &is_crowded);
        if (got > 0)
        {
            int r = device_write(pool->device, wipe->zeros, got * BLK_BYTES, blk * BLK_BYTES);
            space_cancel(pool->space, blk, got);
            if (r < 0)
                return r;
            wipe->result->wiped_blks += got;
        }
        else if (is_crowded)
            wipe->result->left_blks++;
        uint64_t done = max_u64(got, 1); /* one that is in use by now is written by who took it */
        blk += done;
        len -= done;
    }
    return 0;
}

/* Free blocks when they were looked for. */
static int wipe_run(struct wipe *wipe, uint64_t blk, uint64_t len)
{
    int r = device_read(wipe->pool->device, wipe->bytes, len * BLK_BYTES, blk * BLK_BYTES);
    for (uint64_t i = 0; r == 0 && i < len;)
    {
        uint64_t count = 0;
        while (i + count < len &&
               wipe_is_old(wipe, blk + i + count, wipe->bytes + (i + count) * BLK_BYTES))
            count++;
        if (count > 0)
            r = wipe_zero(wipe, blk + i, count);
        i += count + 1;
    }
    return r;
}

static bool wipe_goes_on(struct wipe *wipe, uint64_t at_blk)
{
    wipe->result->done_bytes = (wipe->pass * wipe->end_blk + at_blk) * BLK_BYTES;
    return !wipe->goes_on || wipe->goes_on(wipe->opaque, wipe->result);
}

/* The free blocks of a part that has room below. */
static int wipe_part(struct wipe *wipe, uint64_t from, uint64_t end)
{
    uint64_t blk = from, len;
    for (;;)
    {
        int r = space_find_free(wipe->pool->space, &blk, end, WIPE_READ_BLKS, &len);
        if (r < 0 || len == 0)
            return r;
        if (!wipe_goes_on(wipe, blk))
            return -ECANCELED;
        r = wipe_run(wipe, blk, len);
        if (r < 0)
            return r;
        blk += len;
    }
}

/* What has no room in the file below has no bytes: most of a sparse pool. */
static int wipe_pass(struct wipe *wipe)
{
    struct device *device = wipe->pool->device;
    uint64_t end = wipe->end_blk * BLK_BYTES;
    wipe->result->left_blks = 0;
    for (uint64_t at = 0; at < end;)
    {
        uint64_t hole, len;
        if (device->ops->find_hole(device, at, end, &hole, &len) < 0)
        {
            hole = end;
            len = 0;
        }
        int r = wipe_part(wipe, at / BLK_BYTES, div_round_up(hole, BLK_BYTES));
        if (r < 0)
            return r;
        at = len > 0 ? hole + len : end;
    }
    return pool_sync(wipe->pool);
}

static int wipe_all(struct wipe *wipe)
{
    int r = pool_may_change(wipe->pool);
    if (r == 0)
        r = checkpoint_wipe_journal(wipe->pool);
    for (wipe->pass = 0; r == 0 && wipe->pass < WIPE_PASSES; wipe->pass++)
    {
        if (wipe->pass > 0)
            r = checkpoint_wait(wipe->pool);
        if (r == 0)
            r = wipe_pass(wipe);
    }
    return r;
}

int pool_wipe_old(struct pool *pool, pool_wipe_fn *goes_on, void *opaque, struct pool_wipe *result,
                  struct reason *why)
{
    AUTO_FREE uint8_t *bytes = aligned_alloc(BLK_BYTES, (size_t)WIPE_READ_BLKS * BLK_BYTES);
    AUTO_FREE uint8_t *zeros = calloc(WIPE_READ_BLKS, BLK_BYTES);
    struct wipe wipe = {
        .pool = pool,
        .bytes = bytes,
        .zeros = zeros,
        .end_blk = atomic_load(&pool->size_blks),
        .goes_on = goes_on,
        .opaque = opaque,
        .result = result,
    };
    *result = (struct pool_wipe){.total_bytes = WIPE_PASSES * wipe.end_blk * BLK_BYTES};
    int r = bytes && zeros ? wipe_all(&wipe) : -ENOMEM;
    if (bytes)
        explicit_bzero(bytes, (size_t)WIPE_READ_BLKS * BLK_BYTES);
    if (r < 0)
        return reason_set(why, r,
                          "what older states of the pool have left could not be overwritten: %s",
                          r == -ECANCELED ? "it was ended before" : strerror(-r));
    result->done_bytes = result->total_bytes;
    return 0;
}
