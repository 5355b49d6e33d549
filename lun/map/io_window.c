/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The window in use and the next one are each one word, so that writers who meet take their blocks
 * from it without a lock. One of them begins the next window, ahead of its need; whoever finds none
 * meanwhile takes blocks without.
 */
#include "lun/map/io_window.h"

#include <stdatomic.h>
#include <stdbool.h>

#include "lun/base/checked.h"
#include "lun/pool/pool_internal.h"

enum
{
    WINDOW_BLKS = 256,
    WINDOW_FIRST_BLKS = 16, /* they double */
    WINDOW_LEN_BITS = 16,
    WINDOW_ZERO_BYTES = 1 << 16,
};

/* Blocks to come, as one word: 0 is none. */
static uint64_t window_pack(uint64_t blk, uint64_t len)
{
    return len == 0 ? 0 : blk << WINDOW_LEN_BITS | min_u64(len, UINT16_MAX);
}

static uint64_t window_blk(uint64_t window)
{
    return window >> WINDOW_LEN_BITS;
}

static uint64_t window_len(uint64_t window)
{
    return window & UINT16_MAX;
}

static uint64_t window_next_blks(const struct line *line)
{
    uint32_t blks = atomic_load_explicit(&line->window_blks, memory_order_relaxed);
    return blks ? blks : WINDOW_FIRST_BLKS;
}

void io_give_back(struct pool *pool, enum space_use use, uint64_t blk, uint64_t len)
{
    space_arrive(pool->space, use, len);
    space_cancel(pool->space, blk, len);
}

static void window_zero(struct pool *pool, uint64_t blk, uint64_t len)
{
    static const uint8_t zeros[WINDOW_ZERO_BYTES];
    uint64_t at = blk * BLK_BYTES, end = at + len * BLK_BYTES;
    for (size_t part; at < end; at += part)
    {
        part = (size_t)min_u64(end - at, WINDOW_ZERO_BYTES);
        if (device_write(pool->device, zeros, part, at) < 0)
            return; /* it only prepares: the write itself tells what is wrong */
    }
}

/* Takes a new window, ready to be used, of @want blocks at least if there are so many together. */
static int window_begin(struct pool *pool, struct line *line, enum space_use use, uint64_t want,
                        uint64_t *blk, uint64_t *got)
{
    uint64_t window = window_next_blks(line);
    int r = space_take(pool->space, use, 0, max_u64(want, window), blk, got);
    if (r < 0)
        return r;
    atomic_store_explicit(&line->window_blks, (uint32_t)min_u64(2 * window, WINDOW_BLKS),
                          memory_order_relaxed);
    space_advance(pool->space, *blk + *got);
    if (want * 2 <= *got)
        window_zero(pool, *blk, *got);
    return 0;
}

static bool window_may_begin(struct line *line)
{
    return !atomic_exchange_explicit(&line->window_is_begun, true, memory_order_acquire);
}

static void window_has_begun(struct line *line)
{
    atomic_store_explicit(&line->window_is_begun, false, memory_order_release);
}

/* Readies the next one while others use up the present one. Without room there is none. */
static void window_prepare(struct pool *pool, struct line *line, enum space_use use)
{
    uint64_t blk, got;
    if (atomic_load_explicit(&line->window_next, memory_order_relaxed) || !window_may_begin(line))
        return;
    if (!atomic_load_explicit(&line->window_next, memory_order_relaxed) &&
        window_begin(pool, line, use, 1, &blk, &got) == 0)
    {
        io_give_back(pool, use, blk, got);
        atomic_store_explicit(&line->window_next, window_pack(blk, got), memory_order_release);
    }
    window_has_begun(line);
}

/* Up to @want blocks of the window in use; 0: there is none. */
static uint64_t window_use(struct line *line, uint64_t want, uint64_t *left)
{
    uint64_t window = atomic_load_explicit(&line->window, memory_order_relaxed);
    for (;;)
    {
        if (window == 0)
        {
            uint64_t next = atomic_exchange_explicit(&line->window_next, 0, memory_order_acquire);
            if (next == 0)
                return 0;
            if (atomic_compare_exchange_strong(&line->window, &window, next))
                window = next;
            continue; /* else somebody has put one there: what is lost was a hint */
        }
        uint64_t blk = window_blk(window), len = window_len(window), n = min_u64(want, len);
        if (atomic_compare_exchange_weak(&line->window, &window, window_pack(blk + n, len - n)))
        {
            *left = len - n;
            return blk;
        }
    }
}

/* Without a window: begins one, if nobody else does and there is no need. */
static int window_take_first(struct pool *pool, struct line *line, enum space_use use,
                             uint64_t want, uint64_t *blk, uint64_t *got)
{
    if (use == SPACE_URGENT || !window_may_begin(line))
        return space_take(pool->space, use, 0, want, blk, got);
    int r = window_begin(pool, line, use, want, blk, got);
    if (r == 0 && *got > want)
    {
        io_give_back(pool, use, *blk + want, *got - want);
        atomic_store_explicit(&line->window, window_pack(*blk + want, *got - want),
                              memory_order_release);
        *got = want;
    }
    window_has_begun(line);
    return r;
}

int io_take(struct pool *pool, struct line *line, enum space_use use, uint64_t want, uint64_t *blk,
            uint64_t *got)
{
    uint64_t left, hint = window_use(line, want, &left);
    if (hint == 0)
        return window_take_first(pool, line, use, want, blk, got);
    if (left <= window_next_blks(line) / 4 && use != SPACE_URGENT)
        window_prepare(pool, line, use);
    return space_take(pool->space, use, hint, want, blk, got);
}

void io_forget_window(struct line *line)
{
    atomic_store(&line->window_next, 0);
    atomic_store(&line->window, 0);
}
