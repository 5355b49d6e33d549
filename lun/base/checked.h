/* SPDX-License-Identifier: BSD-3-Clause */
/* Arithmetic on numbers from outside, and the few sums that everybody needs. */
#ifndef LUN_BASE_CHECKED_H
#define LUN_BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* true and *result set, or false on overflow. */
static inline bool checked_add(uint64_t a, uint64_t b, uint64_t *result)
{
    return !__builtin_add_overflow(a, b, result);
}

static inline bool checked_mul(uint64_t a, uint64_t b, uint64_t *result)
{
    return !__builtin_mul_overflow(a, b, result);
}

/* Whether [start, start + len) lies within [0, end). An empty range at end is within. */
static inline bool range_ok(uint64_t start, uint64_t len, uint64_t end)
{
    return start <= end && len <= end - start;
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static inline uint64_t div_round_up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

/* @unit is a power of two. */
static inline uint64_t round_down(uint64_t a, uint64_t unit)
{
    return a & ~(unit - 1);
}

static inline uint64_t round_up(uint64_t a, uint64_t unit)
{
    return round_down(a + unit - 1, unit);
}

#endif
