/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What becomes of one range of the image.
 *
 *   copy, data:   read the source -> for each run of zeros or data in it: skip, zero or write
 *   copy, hole:   skip, or zero, or write zeros
 *   verify, data: read the source -> read the destination -> compare
 *   verify, hole: ask the destination's map -> read what it does not call zeros -> compare
 *
 * One request at a time per range; many ranges are under way at once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "server/ctl/transfer_internal.h"

/* Zeros between data are zeroed by a command of their own only if they are that many. */
enum
{
    CHUNK_ZERO_RUN_MIN = 64 << 10
};

static bool chunk_is_zero(const uint8_t *bytes, uint64_t len)
{
    return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}

static uint64_t chunk_first_difference(const uint8_t *a, const uint8_t *b, uint64_t len)
{
    uint64_t at = 0;
    while (at < len && a[at] == b[at])
        at++;
    return at;
}

bool chunk_alloc_buffers(struct transfer *t, struct chunk *chunk)
{
    bool is_verifying = t->phase == TRANSFER_VERIFYING;
    void *bytes = NULL;
    if ((!chunk->is_hole && !chunk->buffer) &&
        posix_memalign(&bytes, TRANSFER_GRANULE_BYTES, t->block_bytes) == 0)
        chunk->buffer = bytes;
    if (is_verifying && !chunk->other &&
        posix_memalign(&bytes, TRANSFER_GRANULE_BYTES, t->block_bytes) == 0)
        chunk->other = bytes;
    if (is_verifying && !chunk->extents)
        chunk->extents = calloc(ENDPOINT_EXTENTS_MAX, sizeof(*chunk->extents));
    return (chunk->is_hole || chunk->buffer) && (!is_verifying || (chunk->other && chunk->extents));
}

static void chunk_submit(struct chunk *chunk, struct endpoint *endpoint, enum request_kind kind,
                         uint64_t offset, uint64_t len, uint8_t *data)
{
    chunk->state = CHUNK_BUSY;
    chunk->request.kind = kind;
    chunk->request.offset_bytes = offset;
    chunk->request.len_bytes = len;
    chunk->request.data = data;
    chunk->request.extents = chunk->extents;
    chunk->request.extent_count = 0;
    chunk->request.owner = chunk;
    endpoint_submit(endpoint, &chunk->request);
}

/* How many bytes from @from on are zeros, in whole granules (or to the end). */
static uint64_t chunk_zero_len(const struct transfer *t, const struct chunk *chunk, uint64_t from)
{
    uint64_t at = from;
    while (at < chunk->len)
    {
        uint64_t len = min_u64(t->granule_bytes, chunk->len - at);
        if (!chunk_is_zero(chunk->buffer + at, len))
            break;
        at += len;
    }
    return at - from;
}

/*
 * The length of the run of zeros or of data that begins at chunk->progress. Runs of zeros that are
 * shorter than @zero_min count as data.
 */
static uint64_t chunk_run_len(const struct transfer *t, const struct chunk *chunk,
                              uint64_t zero_min, bool *is_zero)
{
    uint64_t at = chunk->progress;
    uint64_t zeros = chunk_zero_len(t, chunk, at);
    *is_zero = zeros >= zero_min;
    if (*is_zero)
        return zeros;
    while (at < chunk->len && zeros < zero_min)
    {
        at += zeros > 0 ? zeros : t->granule_bytes;
        zeros = at < chunk->len ? chunk_zero_len(t, chunk, at) : 0;
    }
    return min_u64(at, chunk->len) - chunk->progress;
}

/* The destination may want whole sectors where the source ends within one; the rest are zeros. */
static uint64_t chunk_pad(const struct transfer *t, struct chunk *chunk, uint64_t len)
{
    uint64_t padded = round_up(len, t->destination->align_bytes);
    if (padded > len && !chunk->is_hole)
        memset(chunk->buffer + chunk->progress + len, 0, padded - len);
    return padded;
}

static void chunk_step_copy(struct transfer *t, struct chunk *chunk)
{
    struct endpoint *to = t->destination;
    if (!chunk->is_hole && !chunk->is_read)
    {
        chunk_submit(chunk, t->source, REQUEST_READ, chunk->offset, chunk->len, chunk->buffer);
        return;
    }
    while (chunk->progress < chunk->len)
    {
        bool is_zero = chunk->is_hole;
        uint64_t len = chunk->len - chunk->progress;
        if (!chunk->is_hole && !t->options->keep_zeros)
            len = chunk_run_len(t, chunk, t->skips_zeros ? 1 : CHUNK_ZERO_RUN_MIN, &is_zero);
        uint64_t at = chunk->offset + chunk->progress;
        if (is_zero && t->skips_zeros)
        {
            chunk->counts.skipped += len;
            chunk->progress += len;
            continue;
        }
        if (is_zero && to->can_zero)
        {
            len = min_u64(len, round_down(to->max_zero_bytes, t->granule_bytes));
            chunk_submit(chunk, to, REQUEST_ZERO, at, round_up(len, to->align_bytes), NULL);
            return;
        }
        len = min_u64(len, t->block_bytes);
        uint8_t *data = chunk->is_hole ? t->zeros : chunk->buffer + chunk->progress;
        chunk_submit(chunk, to, REQUEST_WRITE, at, chunk_pad(t, chunk, len), data);
        return;
    }
    chunk->state = CHUNK_DONE;
}

static void chunk_step_verify(struct transfer *t, struct chunk *chunk)
{
    struct endpoint *to = t->destination;
    uint64_t at = chunk->offset + chunk->progress;
    uint64_t left = chunk->len - chunk->progress;
    if (left == 0)
    {
        chunk->counts.verified = chunk->len;
        chunk->state = CHUNK_DONE;
    }
    else if (!chunk->is_hole && !chunk->is_read)
        chunk_submit(chunk, t->source, REQUEST_READ, chunk->offset, chunk->len, chunk->buffer);
    else if (!chunk->is_hole)
        chunk_submit(chunk, to, REQUEST_READ, at, round_up(left, to->align_bytes), chunk->other);
    else if (chunk->plain_until <= chunk->progress && to->can_map)
        chunk_submit(chunk, to, REQUEST_MAP, at, round_up(left, to->align_bytes), NULL);
    else
    {
        uint64_t until = to->can_map ? chunk->plain_until : chunk->len;
        uint64_t len = min_u64(until - chunk->progress, t->block_bytes);
        chunk_submit(chunk, to, REQUEST_READ, at, round_up(len, to->align_bytes), chunk->other);
    }
}

void chunk_step(struct transfer *t, struct chunk *chunk)
{
    INVARIANT(chunk->progress <= chunk->len);
    if (t->phase == TRANSFER_COPYING)
        chunk_step_copy(t, chunk);
    else
        chunk_step_verify(t, chunk);
}

/* The destination's map of a hole: zeros are verified, what follows them has to be read. */
static void chunk_take_map(struct transfer *t, struct chunk *chunk)
{
    const struct request *request = &chunk->request;
    for (size_t i = 0; i < request->extent_count; i++)
    {
        const struct block_extent *one = &request->extents[i];
        uint64_t end = min_u64(one->offset_bytes + one->len_bytes - chunk->offset, chunk->len);
        if (end < chunk->len)
            end =
                one->is_zero ? round_down(end, t->granule_bytes) : round_up(end, t->granule_bytes);
        end = min_u64(end, chunk->len);
        if (!one->is_zero || end <= chunk->progress)
        {
            chunk->plain_until =
                max_u64(end, min_u64(chunk->progress + t->granule_bytes, chunk->len));
            return;
        }
        chunk->progress = end;
    }
}

static void chunk_compare(struct transfer *t, struct chunk *chunk)
{
    uint64_t len = min_u64(chunk->request.len_bytes, chunk->len - chunk->progress);
    const uint8_t *expected = chunk->is_hole ? t->zeros : chunk->buffer;
    uint64_t same = chunk_first_difference(expected, chunk->other, len);
    if (same < len)
        transfer_fail(t, -EILSEQ, "%s differs from %s at offset %llu: 0x%02x, should be 0x%02x",
                      t->destination->name, t->source->name,
                      (unsigned long long)(chunk->offset + chunk->progress + same),
                      chunk->other[same], expected[same]);
    else
        chunk->progress += len;
}

void chunk_take_result(struct transfer *t, struct chunk *chunk)
{
    uint64_t len = min_u64(chunk->request.len_bytes, chunk->len - chunk->progress);
    switch (chunk->request.kind)
    {
    case REQUEST_READ:
        if (!chunk->is_hole && !chunk->is_read)
        {
            chunk->is_read = true;
            chunk->counts.read = t->phase == TRANSFER_COPYING ? chunk->len : 0;
        }
        else
            chunk_compare(t, chunk);
        break;
    case REQUEST_WRITE:
        chunk->counts.written += len;
        chunk->progress += len;
        break;
    case REQUEST_ZERO:
        chunk->counts.zeroed += len;
        chunk->progress += len;
        break;
    case REQUEST_MAP:
        chunk_take_map(t, chunk);
        break;
    case REQUEST_FLUSH:
        break;
    }
}
