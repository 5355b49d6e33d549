/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading: look up, read, without a lock across the I/O.
 *
 * A block that is looked up may be freed while it is read. It is not used again before the epoch of
 * the read is over, so the read gets what was there when it began, which is a right answer. Extents
 * that were looked up lately are found without the map's lock (memo.h).
 *
 * No epoch helps where the line that was looked at goes, since its LUN or snapshot is deleted or
 * gets other content: what it shared may become the own of another LUN, which overwrites it in
 * place. So what was read meanwhile is no answer, see io_confirm(). What is only lent cannot be
 * judged afterwards: there that other LUN waits, see loan.c.
 */
#include <errno.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/map/emap.h"
#include "lun/map/memo.h"
#include "lun/volume/lun_internal.h"

enum
{
    IO_READ_RUNS = 64
};

int io_lookup(struct pool *pool, struct lun_object *object, uint64_t lba, uint64_t end,
              struct emap_run *runs, unsigned max, unsigned *count)
{
    AUTO_TREE_OP struct tree_op op;
    tree_op_init(&op, pool);
    for (;;)
    {
        unsigned n = 0;
        int r = 0;
        lock_take(&object->map_lock);
        uint64_t version = memo_version(&object->memo);
        if (atomic_load(&object->is_dead))
            r = -ESTALE; /* its line may be gone */
        struct emap_run extent = {0};
        for (uint64_t at = lba; at < end && n < max && r == 0; n += r == 0)
        {
            r = emap_lookup(&op, lun_line(object), at, end - at, &runs[n], &extent);
            at += r == 0 ? runs[n].len_blks : 0;
        }
        if (r == 0 && n == 1 && extent.len_blks > 1)
            memo_put(&object->memo, version, &extent, lba,
                     atomic_load(&object->size_bytes) / BLK_BYTES);
        lock_release(&object->map_lock);
        if (r == 0)
        {
            *count = n;
            return 0;
        }
        if (r == -EAGAIN)
            r = tree_op_load(&op);
        if (r < 0)
            return r;
    }
}

/* The bytes of [offset, offset + len) that lie in @run. */
static int io_read_run(struct pool *pool, const struct emap_run *run, uint8_t *buf, size_t len,
                       uint64_t offset)
{
    if (run->blk == 0)
    {
        memset(buf, 0, len);
        return 0;
    }
    return device_read(pool->device, buf, len,
                       run->blk * BLK_BYTES + (offset - run->lba * BLK_BYTES));
}

/* Joins neighbours that are neighbours on the device too: one read for both. */
static unsigned io_join_runs(struct emap_run *runs, unsigned count)
{
    unsigned n = 0;
    for (unsigned i = 1; i < count; i++)
    {
        struct emap_run *last = &runs[n];
        bool both_holes = last->blk == 0 && runs[i].blk == 0;
        bool goes_on = last->blk != 0 && runs[i].blk == last->blk + last->len_blks;
        if (both_holes || goes_on)
            last->len_blks += runs[i].len_blks;
        else
            runs[++n] = runs[i];
    }
    return count ? n + 1 : 0;
}

int io_find_runs(struct pool *pool, struct lun_object *object, uint64_t lba, uint64_t end,
                 struct emap_run *runs, unsigned max, unsigned *count)
{
    *count = 1;
    /* Dead: its blocks are freed without a step of the map's version. */
    if (!atomic_load(&object->is_dead) && memo_find(&object->memo, lba, end - lba, &runs[0]))
        return 0;
    int r = io_lookup(pool, object, lba, end, runs, max, count);
    if (r == 0)
        *count = io_join_runs(runs, *count);
    return r;
}

static int io_read_piece(struct pool *pool, struct lun_object *object, uint8_t **buf, size_t *len,
                         uint64_t *offset)
{
    struct emap_run runs[IO_READ_RUNS];
    unsigned count;
    uint64_t lba = *offset / BLK_BYTES, end = div_round_up(*offset + *len, BLK_BYTES);
    int r = io_find_runs(pool, object, lba, end, runs, IO_READ_RUNS, &count);
    if (r < 0)
        return r;
    for (unsigned i = 0; i<count && * len> 0; i++)
    {
        uint64_t run_end = (runs[i].lba + runs[i].len_blks) * BLK_BYTES;
        size_t part = (size_t)min_u64(*len, run_end - *offset);
        r = io_read_run(pool, &runs[i], *buf, part, *offset);
        if (r < 0)
            return r;
        *buf += part;
        *offset += part;
        *len -= part;
    }
    return 0;
}

int io_read(struct pool *pool, struct lun_object *object, void *buf, size_t len, uint64_t offset)
{
    uint8_t *at = buf;
    int r = 0;
    uint32_t epoch = epoch_enter(pool);
    while (len > 0 && r == 0)
        r = io_read_piece(pool, object, &at, &len, &offset);
    epoch_leave(pool, epoch);
    return r;
}

/* ---- lines that go meanwhile --------------------------------------------------------------- */

uint64_t io_replacements(const struct lun *lun)
{
    return atomic_load(&lun->object->replacements) +
           (lun->base ? atomic_load(&lun->base->object->replacements) : 0);
}

int io_confirm(const struct lun *lun, uint64_t replacements)
{
    if (lun_is_gone(lun))
        return -ESTALE;
    return io_replacements(lun) == replacements ? 0 : -EAGAIN;
}

/* ---- differences --------------------------------------------------------------------------- */

/* Whether two runs that begin at one lba show the same; *len: how far that goes. */
static bool diff_same(const struct emap_run *a, const struct emap_run *b, uint64_t *len)
{
    *len = min_u64(a->len_blks, b->len_blks);
    return a->blk == b->blk;
}

/* The runs of A and B at @lba. Beyond A's end there is a hole. In one epoch, so that one block in
 * both is not two, one after the other. */
static int diff_lookup(struct lun *lun, uint64_t lba, uint64_t end, struct emap_run *a,
                       struct emap_run *b)
{
    unsigned count;
    struct lun_object *base = lun->base->object;
    uint64_t base_end = div_round_up(atomic_load(&base->size_bytes), BLK_BYTES);
    *a = (struct emap_run){.lba = lba, .len_blks = end - lba};
    int r = 0;
    uint32_t epoch = epoch_enter(lun->pool);
    if (lba < base_end)
        r = io_lookup(lun->pool, base, lba, min_u64(end, base_end), a, 1, &count);
    if (r == 0)
        r = io_lookup(lun->pool, lun->object, lba, end, b, 1, &count);
    epoch_leave(lun->pool, epoch);
    return r;
}

static int diff_read(struct lun *lun, uint8_t *buf, size_t len, uint64_t offset)
{
    while (len > 0)
    {
        struct emap_run a, b;
        uint64_t lba = offset / BLK_BYTES, same_blks;
        int r = diff_lookup(lun, lba, div_round_up(offset + len, BLK_BYTES), &a, &b);
        if (r < 0)
            return r;
        bool is_same = diff_same(&a, &b, &same_blks);
        size_t part = (size_t)min_u64(len, (lba + same_blks) * BLK_BYTES - offset);
        if (is_same)
            memset(buf, 0, part);
        else
            r = io_read(lun->pool, lun->object, buf, part, offset);
        if (r < 0)
            return r;
        buf += part;
        offset += part;
        len -= part;
    }
    return 0;
}

int lun_read(struct lun *lun, void *buf, size_t len, uint64_t offset)
{
    int r;
    do
    {
        uint64_t replacements = io_replacements(lun);
        r = lun_check_io(lun, len, offset, false);
        if (r < 0)
            return r;
        r = lun->base ? diff_read(lun, buf, len, offset)
                      : io_read(lun->pool, lun->object, buf, len, offset);
        if (r == 0)
            r = io_confirm(lun, replacements);
    } while (r == -EAGAIN);
    return pool_note_damage(lun->pool, lun->object, r);
}

int lun_cache(struct lun *lun, uint64_t len, uint64_t offset)
{
    int r = lun_check_io(lun, len, offset, false);
    uint64_t lba = offset / BLK_BYTES, end = div_round_up(offset + len, BLK_BYTES);
    while (r == 0 && lba < end)
    {
        struct emap_run runs[IO_READ_RUNS];
        unsigned count;
        r = io_lookup(lun->pool, lun->object, lba, end, runs, IO_READ_RUNS, &count);
        for (unsigned i = 0; r == 0 && i < count; i++)
        {
            if (runs[i].blk != 0)
                ignore_error(lun->pool->device->ops->prefetch(lun->pool->device,
                                                              runs[i].len_blks * BLK_BYTES,
                                                              runs[i].blk * BLK_BYTES),
                             "a hint");
            lba = runs[i].lba + runs[i].len_blks;
        }
    }
    return r;
}

/* ---- extents ------------------------------------------------------------------------------- */

static struct lun_extent extent_of(const struct emap_run *run)
{
    return (struct lun_extent){.offset_bytes = run->lba * BLK_BYTES,
                               .len_bytes = run->len_blks * BLK_BYTES,
                               .is_hole = run->blk == 0,
                               .is_shared = run->blk != 0 && !run->is_own};
}

/* Adds @extent, clipped to [from, to), joined to the last if alike. False: no room. */
static bool extents_add(struct lun_extent *extents, size_t max, size_t *count,
                        struct lun_extent extent, uint64_t from, uint64_t to)
{
    uint64_t start = max_u64(extent.offset_bytes, from);
    uint64_t end = min_u64(extent.offset_bytes + extent.len_bytes, to);
    struct lun_extent *last = *count ? &extents[*count - 1] : NULL;
    if (last && last->is_hole == extent.is_hole && last->is_shared == extent.is_shared)
    {
        last->len_bytes = end - last->offset_bytes;
        return true;
    }
    if (*count == max)
        return false;
    extent.offset_bytes = start;
    extent.len_bytes = end - start;
    extents[(*count)++] = extent;
    return true;
}

static int diff_next_extent(struct lun *lun, uint64_t lba, uint64_t end, struct lun_extent *extent)
{
    struct emap_run a, b;
    int r = diff_lookup(lun, lba, end, &a, &b);
    if (r < 0)
        return r;
    uint64_t len;
    bool is_same = diff_same(&a, &b, &len);
    *extent = (struct lun_extent){.offset_bytes = lba * BLK_BYTES,
                                  .len_bytes = len * BLK_BYTES,
                                  .is_hole = is_same,
                                  .is_shared = !is_same && b.blk != 0};
    return 0;
}

static int extents_look(struct lun *lun, uint64_t len, uint64_t offset, struct lun_extent *extents,
                        size_t max, size_t *count)
{
    *count = 0;
    int r = lun_check_io(lun, len, offset, false);
    uint64_t lba = offset / BLK_BYTES, end = div_round_up(offset + len, BLK_BYTES);
    while (r == 0 && lba < end)
    {
        struct emap_run runs[IO_READ_RUNS];
        unsigned n = 1;
        struct lun_extent extent;
        if (lun->base)
            r = diff_next_extent(lun, lba, end, &extent);
        else
            r = io_lookup(lun->pool, lun->object, lba, end, runs, IO_READ_RUNS, &n);
        for (unsigned i = 0; r == 0 && i < n; i++)
        {
            if (!lun->base)
                extent = extent_of(&runs[i]);
            if (!extents_add(extents, max, count, extent, offset, offset + len))
                return 0;
            lba = (extent.offset_bytes + extent.len_bytes) / BLK_BYTES;
        }
    }
    return r;
}

int lun_extents(struct lun *lun, uint64_t len, uint64_t offset, struct lun_extent *extents,
                size_t max, size_t *count)
{
    int r;
    do
    {
        uint64_t replacements = io_replacements(lun);
        r = extents_look(lun, len, offset, extents, max, count);
        if (r == 0)
            r = io_confirm(lun, replacements);
    } while (r == -EAGAIN);
    return r;
}
