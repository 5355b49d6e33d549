/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/copy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "server/units.h"

enum
{
    COPY_EXTENTS = 64
};

int copy_step(struct lun *from, uint64_t from_offset, struct lun *to, uint64_t to_offset,
              size_t len, uint8_t *buf)
{
    struct lun_extent extent;
    size_t count = 0;
    int r = lun_extents(from, len, from_offset, &extent, 1, &count);
    if (r < 0)
        return r;
    if (count == 1 && extent.is_hole && extent.len_bytes >= len)
        return lun_unmap(to, len, to_offset, 0);
    r = lun_read(from, buf, len, from_offset);
    return r < 0 ? r : lun_write(to, buf, len, to_offset, 0);
}

/* ---- ranges -------------------------------------------------------------------------------- */

static int copy_bad_range(const char *text, struct reason *why)
{
    return reason_set(why, -EINVAL,
                      "\"%.80s\" is no range: write SRC-BLOCK:DST-BLOCK:COUNT, three whole numbers "
                      "of blocks, the last at least 1",
                      text);
}

int copy_parse_range(const char *text, struct copy_range *range, struct reason *why)
{
    uint64_t numbers[3];
    const char *at = text;
    for (int i = 0; i < 3; i++)
    {
        char number[24] = "";
        size_t len = strcspn(at, ":");
        if (len >= sizeof(number) || strspn(at, "0123456789") != len)
            return copy_bad_range(text, why);
        memcpy(number, at, len);
        /* A leading zero would make it octal. */
        const char *digits = number + strspn(number, "0");
        if (len == 0 || at[len] != (i < 2 ? ':' : '\0') ||
            units_parse_number(*digits ? digits : "0", 0, INT64_MAX, &numbers[i], NULL) < 0)
            return copy_bad_range(text, why);
        at += len + (i < 2);
    }
    if (numbers[2] == 0)
        return copy_bad_range(text, why);
    *range = (struct copy_range){.from_blk = numbers[0], .to_blk = numbers[1], .count = numbers[2]};
    return 0;
}

static int copy_check_bounds(const struct copy_range *range, const struct copy_ends *ends,
                             struct reason *why)
{
    bool from_ok = range_ok(range->from_blk, range->count, ends->from_blks);
    if (from_ok && range_ok(range->to_blk, range->count, ends->to_blks))
        return 0;
    return reason_set(why, -EINVAL,
                      "range %" PRIu64 ":%" PRIu64 ":%" PRIu64 " goes beyond the end of %s '%s', "
                      "which has %" PRIu64 " blocks",
                      range->from_blk, range->to_blk, range->count,
                      from_ok ? "destination" : "source", from_ok ? ends->to_name : ends->from_name,
                      from_ok ? ends->to_blks : ends->from_blks);
}

/* One side of a range. */
struct copy_side
{
    uint64_t first, end;
    const struct copy_range *range;
    bool is_to;
};

static int copy_compare_sides(const void *a, const void *b)
{
    const struct copy_side *left = a, *right = b;
    return left->first < right->first ? -1 : left->first > right->first;
}

/* Within one LUN what is read is written. */
static int copy_say_own_overlap(const struct copy_side *from, const struct copy_side *to,
                                uint64_t blk, struct reason *why)
{
    return reason_set(
        why, -EINVAL,
        "range %" PRIu64 ":%" PRIu64 ":%" PRIu64 " reads blocks %" PRIu64 " to %" PRIu64
        " of the LUN and range %" PRIu64 ":%" PRIu64 ":%" PRIu64 " writes its blocks %" PRIu64
        " to %" PRIu64 ": they overlap from block %" PRIu64
        " on; a snapshot, which 'lunette snapshot create' makes, can be the source of "
        "this",
        from->range->from_blk, from->range->to_blk, from->range->count, from->first, from->end - 1,
        to->range->from_blk, to->range->to_blk, to->range->count, to->first, to->end - 1, blk);
}

static int copy_say_overlap(const struct copy_side *a, const struct copy_side *b,
                            struct reason *why)
{
    if (a->is_to != b->is_to)
        return copy_say_own_overlap(a->is_to ? b : a, a->is_to ? a : b, b->first, why);
    const char *side = a->is_to ? "destination" : "source";
    return reason_set(why, -EINVAL,
                      "the %s of range %" PRIu64 ":%" PRIu64 ":%" PRIu64 " and the %s of range "
                      "%" PRIu64 ":%" PRIu64 ":%" PRIu64 " overlap from block %" PRIu64 " on",
                      side, a->range->from_blk, a->range->to_blk, a->range->count, side,
                      b->range->from_blk, b->range->to_blk, b->range->count, b->first);
}

/* Sorted by where they begin: if two overlap, then two neighbours do. */
static int copy_check_sides(struct copy_side *sides, size_t count, struct reason *why)
{
    qsort(sides, count, sizeof(*sides), copy_compare_sides);
    for (size_t i = 1; i < count; i++)
        if (sides[i].first < sides[i - 1].end)
            return copy_say_overlap(&sides[i - 1], &sides[i], why);
    return 0;
}

int copy_check_ranges(const struct copy_range *ranges, size_t count, const struct copy_ends *ends,
                      struct reason *why)
{
    AUTO_FREE struct copy_side *sides = calloc(2 * count + 1, sizeof(*sides));
    if (!sides)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
    {
        const struct copy_range *range = &ranges[i];
        int r = copy_check_bounds(range, ends, why);
        if (r < 0)
            return r;
        sides[i] =
            (struct copy_side){range->from_blk, range->from_blk + range->count, range, false};
        sides[count + i] =
            (struct copy_side){range->to_blk, range->to_blk + range->count, range, true};
    }
    /* Each kind by itself first, so that what is said is about the plainest fault. */
    int r = copy_check_sides(sides, count, why);
    if (r == 0)
        r = copy_check_sides(sides + count, count, why);
    if (r == 0 && ends->is_same)
        r = copy_check_sides(sides, 2 * count, why);
    return r;
}

/* ---- the copy ------------------------------------------------------------------------------ */

/* A range in bytes. */
struct copy_span
{
    uint64_t from_offset, to_offset, len;
};

static struct copy_span copy_span_of(const struct copy *copy, const struct copy_range *range)
{
    return (struct copy_span){.from_offset = range->from_blk * copy->sector_bytes,
                              .to_offset = range->to_blk * copy->sector_bytes,
                              .len = range->count * copy->sector_bytes};
}

/* Adds what of [offset, offset + len) @to does not own, in whole blocks of the pool. */
static int copy_count_new(struct lun *to, uint64_t offset, uint64_t len, uint64_t *new_bytes)
{
    struct lun_extent extents[COPY_EXTENTS];
    uint64_t at = round_down(offset, LUN_BLK_BYTES);
    uint64_t end = min_u64(round_up(offset + len, LUN_BLK_BYTES), lun_size_bytes(to));
    while (at < end)
    {
        size_t count = 0;
        int r = lun_extents(to, end - at, at, extents, COPY_EXTENTS, &count);
        if (r == 0 && count == 0)
            r = -EIO;
        if (r < 0)
            return r;
        for (size_t i = 0; i < count; i++)
        {
            *new_bytes += extents[i].is_hole || extents[i].is_shared ? extents[i].len_bytes : 0;
            at = extents[i].offset_bytes + extents[i].len_bytes;
        }
    }
    return 0;
}

static int copy_plan_range(const struct copy *copy, struct copy_span span, struct copy_plan *plan)
{
    struct lun_extent extents[COPY_EXTENTS];
    while (span.len > 0)
    {
        size_t count = 0;
        int r = copy->admit(copy->opaque, 0);
        if (r == 0)
            r = lun_extents(copy->from, span.len, span.from_offset, extents, COPY_EXTENTS, &count);
        if (r == 0 && count == 0)
            r = -EIO;
        for (size_t i = 0; r == 0 && i < count; i++)
        {
            uint64_t len = extents[i].len_bytes;
            if (extents[i].is_hole)
                plan->hole_bytes += len;
            else
            {
                plan->data_bytes += len;
                r = copy_count_new(copy->to, span.to_offset, len, &plan->new_bytes);
            }
            span.from_offset += len;
            span.to_offset += len;
            span.len -= len;
        }
        if (r < 0)
            return r;
    }
    return 0;
}

int copy_plan(const struct copy *copy, struct copy_plan *plan)
{
    struct copy_plan sum = {0};
    for (size_t i = 0; i < copy->count; i++)
    {
        int r = copy_plan_range(copy, copy_span_of(copy, &copy->ranges[i]), &sum);
        if (r < 0)
            return r;
    }
    *plan = sum;
    return 0;
}

/* The extent at the span's beginning, or as much of it as one step takes. */
static int copy_next(const struct copy *copy, const struct copy_span *span, size_t *len,
                     bool *is_hole)
{
    struct lun_extent extent;
    size_t count = 0;
    int r = lun_extents(copy->from, span->len, span->from_offset, &extent, 1, &count);
    if (r < 0 || count == 0)
        return r < 0 ? r : -EIO;
    *is_hole = extent.is_hole;
    *len = (size_t)min_u64(extent.len_bytes, extent.is_hole ? COPY_HOLE_BYTES : COPY_STEP_BYTES);
    return 0;
}

static int copy_run_range(struct copy *copy, struct copy_span span, uint8_t *buf)
{
    while (span.len > 0)
    {
        size_t len;
        bool is_hole;
        int r = copy_next(copy, &span, &len, &is_hole);
        if (r == 0)
            r = copy->admit(copy->opaque, is_hole ? 0 : len);
        if (r == 0 && is_hole)
            r = lun_unmap(copy->to, len, span.to_offset, 0);
        else if (r == 0)
            r = copy_step(copy->from, span.from_offset, copy->to, span.to_offset, len, buf);
        if (r < 0)
            return r;
        *(is_hole ? &copy->hole_bytes : &copy->data_bytes) += len;
        span.from_offset += len;
        span.to_offset += len;
        span.len -= len;
    }
    return 0;
}

int copy_run(struct copy *copy)
{
    AUTO_FREE uint8_t *buf = malloc(COPY_STEP_BYTES);
    if (!buf)
        return -ENOMEM;
    for (size_t i = 0; i < copy->count; i++)
    {
        int r = copy_run_range(copy, copy_span_of(copy, &copy->ranges[i]), buf);
        if (r < 0)
            return r;
    }
    return 0;
}
