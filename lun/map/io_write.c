/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writing, unmapping, and what is built of them.
 *
 * A range is locked from the look at the map until data and record are through. What the LUN owns
 * is overwritten in place, no metadata changes. All else goes to new blocks, whole and zero filled
 * or completed from the old ones, and then a record maps them: so an unflushed write that is lost
 * leaves the old content, and nobody ever sees what was in a block before.
 *
 * Without room for a moment (-EAGAIN inside), the range is let go, a checkpoint awaited, and the
 * piece begun anew (io_patience.c says how often).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/crc32c.h"
#include "lun/base/invariant.h"
#include "lun/map/change.h"
#include "lun/map/emap.h"
#include "lun/map/io_patience.h"
#include "lun/map/io_window.h"
#include "lun/pool/checkpoint.h"
#include "lun/pool/record.h"
#include "lun/volume/ledger.h"
#include "lun/volume/lun_internal.h"

enum
{
    IO_PIECE_BLKS = 256, /* one look-up and record at a time */
    IO_PIECE_RUNS = IO_PIECE_BLKS + 2,
    IO_ATOMIC_MAX_BYTES = 1 << 20,
    IO_EDIT_MAX_BYTES = 1 << 20,
    IO_RECORD_BYTES = 64,
    IO_CRC_MAX_BLKS = 16, /* larger writes take the way with two syncs */
    IO_ZERO_BYTES = 1 << 18,
};

static const uint8_t io_zeros[IO_ZERO_BYTES];

/* One piece of a write in progress: bytes [offset, offset + len) of @buf. */
struct piece
{
    struct pool *pool;
    struct lun_object *object;
    const uint8_t *buf;
    size_t len;
    uint64_t offset;
    bool skips_holes;   /* what is a hole stays one */
    enum space_use use; /* of this attempt */
};

/* ---- new blocks ---------------------------------------------------------------------------- */

/*
 * @r of a write to blocks that were taken. If the file system below has no room there, the next
 * ones are looked for from the start: blocks that were freed have room still, as far as they were
 * not discarded.
 */
static int io_note_room(struct pool *pool, struct line *line, int r)
{
    if (r == -ENOSPC)
    {
        atomic_store(&pool->no_room_below, true);
        io_forget_window(line);
        space_rewind(pool->space);
    }
    return r;
}

/* Whether to try again after that, once. */
static bool io_may_rewind(struct pool *pool, int r, bool *has_rewound)
{
    bool may = r == -ENOSPC && !*has_rewound && atomic_load(&pool->no_room_below);
    *has_rewound |= may;
    return may;
}

/* Fills @block with what @lba holds now. */
static int io_read_block(struct piece *piece, uint64_t lba, uint8_t *block)
{
    return io_read(piece->pool, piece->object, block, BLK_BYTES, lba * BLK_BYTES);
}

/* The whole blocks [lba, lba + n) as they must become: the piece's bytes, completed at its ends by
 * what is there now. */
struct whole
{
    uint8_t *first, *last; /* completed blocks, or NULL where the piece covers them */
    struct iovec iov[3];
    int iov_count;
};

static void whole_destroy(struct whole *whole)
{
    free(whole->first);
    free(whole->last);
}

static int whole_complete(struct piece *piece, uint64_t lba, uint8_t **block)
{
    *block = malloc(BLK_BYTES);
    if (!*block)
        return -ENOMEM;
    int r = io_read_block(piece, lba, *block);
    if (r < 0)
        return r;
    uint64_t start = lba * BLK_BYTES, end = start + BLK_BYTES;
    uint64_t from = max_u64(start, piece->offset), to = min_u64(end, piece->offset + piece->len);
    memcpy(*block + (from - start), piece->buf + (from - piece->offset), to - from);
    return 0;
}

static void whole_add(struct whole *whole, const void *bytes, size_t len)
{
    whole->iov[whole->iov_count++] =
        (struct iovec){.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
}

static int whole_make(struct whole *whole, struct piece *piece, uint64_t lba, uint64_t n)
{
    uint64_t end = piece->offset + piece->len;
    bool cut_first = lba * BLK_BYTES < piece->offset || (lba + 1) * BLK_BYTES > end;
    bool cut_last = n > 1 && (lba + n) * BLK_BYTES > end;
    int r = 0;
    if (cut_first)
        r = whole_complete(piece, lba, &whole->first);
    if (r == 0 && cut_last)
        r = whole_complete(piece, lba + n - 1, &whole->last);
    if (r < 0)
        return r;
    uint64_t from = lba + cut_first, to = lba + n - cut_last;
    if (cut_first)
        whole_add(whole, whole->first, BLK_BYTES);
    if (to > from)
        whole_add(whole, piece->buf + (from * BLK_BYTES - piece->offset), (to - from) * BLK_BYTES);
    if (cut_last)
        whole_add(whole, whole->last, BLK_BYTES);
    return 0;
}

/* Writes blocks [lba, lba + n) of the piece to new blocks and maps them. */
static int io_write_new_run(struct piece *piece, uint64_t lba, uint64_t n, uint64_t blk)
{
    CLEANUP(whole_destroy) struct whole whole = {0};
    int r = whole_make(&whole, piece, lba, n);
    bool has_crc = n <= IO_CRC_MAX_BLKS && journal_wants_crc(piece->pool->journal);
    uint32_t crc = 0;
    for (int i = 0; r == 0 && has_crc && i < whole.iov_count; i++)
        crc = crc32c(crc, whole.iov[i].iov_base, whole.iov[i].iov_len);
    if (r == 0)
        r = io_note_room(
            piece->pool, piece->object->line,
            device_writev(piece->pool->device, whole.iov, whole.iov_count, blk * BLK_BYTES));
    if (r < 0)
        return r;
    uint8_t bytes[IO_RECORD_BYTES];
    struct writer writer = {.bytes = bytes, .capacity = sizeof(bytes)};
    action_write(&writer, piece->object->line->object.id, lba, blk, (uint32_t)n, has_crc, crc);
    return change_run(piece->pool, CHANGE_IO, piece->object, bytes, writer.len, piece->use);
}

static int io_write_new_claimed(struct piece *piece, uint64_t lba, uint64_t n)
{
    while (n > 0)
    {
        uint64_t blk, got;
        int r = io_take(piece->pool, piece->object->line, piece->use, n, &blk, &got);
        if (r < 0)
            return r;
        r = io_write_new_run(piece, lba, got, blk);
        if (r < 0)
        {
            io_give_back(piece->pool, piece->use, blk, got);
            return r;
        }
        lba += got;
        n -= got;
    }
    return 0;
}

static int io_write_new(struct piece *piece, uint64_t lba, uint64_t n)
{
    struct ledger_claim claim;
    int r = ledger_take(piece->pool, piece->object, n, &claim);
    if (r < 0)
        return r;
    r = io_write_new_claimed(piece, lba, n);
    ledger_give(piece->pool, &claim);
    return r;
}

/* ---- pieces -------------------------------------------------------------------------------- */

/* The part of the piece in blocks [lba, lba + n), which the LUN owns at @blk. */
static int io_write_in_place(struct piece *piece, uint64_t lba, uint64_t n, uint64_t blk)
{
    uint64_t from = max_u64(lba * BLK_BYTES, piece->offset);
    uint64_t to = min_u64((lba + n) * BLK_BYTES, piece->offset + piece->len);
    int r = journal_touch(piece->pool->journal, blk, n);
    if (r < 0)
        return r;
    return device_write(piece->pool->device, piece->buf + (from - piece->offset), to - from,
                        blk * BLK_BYTES + (from - lba * BLK_BYTES));
}

static bool io_is_new(const struct piece *piece, const struct emap_run *run)
{
    return !run->is_own && !(piece->skips_holes && run->blk == 0);
}

static int io_write_runs(struct piece *piece)
{
    struct emap_run runs[IO_PIECE_RUNS];
    unsigned count;
    uint64_t lba = piece->offset / BLK_BYTES;
    uint64_t end = div_round_up(piece->offset + piece->len, BLK_BYTES);
    int r = io_lookup(piece->pool, piece->object, lba, end, runs, IO_PIECE_RUNS, &count);
    for (unsigned i = 0; r == 0 && i < count;)
    {
        if (runs[i].is_own)
            r = io_write_in_place(piece, runs[i].lba, runs[i].len_blks, runs[i].blk);
        if (!io_is_new(piece, &runs[i]))
        {
            i++;
            continue;
        }
        uint64_t first = runs[i].lba, n = 0;
        while (i < count && io_is_new(piece, &runs[i]))
            n += runs[i++].len_blks;
        r = io_write_new(piece, first, n);
    }
    return r;
}

/*
 * With the range locked, so that neither map nor line change under it. In need, block by block:
 * what a record of one block may take is little, and each gets the write further.
 */
static int io_write_piece(struct piece *piece)
{
    if (piece->use != SPACE_URGENT)
        return io_write_runs(piece);
    struct piece part = *piece;
    uint64_t end = piece->offset + piece->len;
    int r = 0;
    while (r == 0 && part.offset < end)
    {
        part.len = min_u64(end, (part.offset / BLK_BYTES + 1) * BLK_BYTES) - part.offset;
        part.buf = piece->buf + (part.offset - piece->offset);
        r = io_write_runs(&part);
        part.offset += part.len;
    }
    return r;
}

typedef int io_work_fn(void *opaque);

/* What is done under the lock of a range, and how patient it is. */
struct attempt
{
    struct lun *lun;
    io_work_fn *work;
    void *opaque;
    enum space_use *use; /* where the work looks for it */
    bool holds_range;    /* from one attempt to the next: it has written a part */
    bool has_rewound;
    struct io_patience patience;
};

static void io_set_use(struct attempt *attempt)
{
    enum space_use use = ledger_use(attempt->lun->object);
    *attempt->use = use == SPACE_PROMISED && attempt->patience.is_urgent ? SPACE_URGENT : use;
}

/* Again and again as long as there is hope, without letting the range go. */
static int io_try_holding(struct attempt *attempt)
{
    for (;;)
    {
        io_set_use(attempt);
        int r = attempt->work(attempt->opaque);
        if (!attempt->holds_range || r >= 0)
            return r;
        r = io_be_patient(attempt->lun, r, *attempt->use, &attempt->patience);
        if (r < 0)
            return r;
    }
}

/* One attempt under the lock of the range. */
static int io_try_range(struct attempt *attempt, uint64_t len, uint64_t offset)
{
    struct lun_object *object = attempt->lun->object;
    int r = checkpoint_throttle(attempt->lun->pool);
    if (r < 0)
        return r;
    struct range range;
    range_lock(object->ranges, &range, offset / BLK_BYTES, div_round_up(offset + len, BLK_BYTES));
    /* A delete or a shrink may have gone through while this waited. */
    r = atomic_load(&object->is_dead) || !range_ok(offset, len, atomic_load(&object->size_bytes))
            ? -ESTALE
            : io_try_holding(attempt);
    range_unlock(&range);
    return r;
}

/* Runs the work under the lock of the range, again after a checkpoint where there was no room. */
static int io_with_range(struct attempt *attempt, uint64_t len, uint64_t offset)
{
    for (;;)
    {
        int r = io_try_range(attempt, len, offset);
        if (r >= 0)
            return r;
        if (io_may_rewind(attempt->lun->pool, r, &attempt->has_rewound))
            continue;
        if (attempt->holds_range)
            return r;
        r = io_be_patient(attempt->lun, r, *attempt->use, &attempt->patience);
        if (r < 0)
            return r;
    }
}

static int io_write_piece_work(void *opaque)
{
    return io_write_piece(opaque);
}

static int io_finish(struct pool *pool, int r, struct lun_object *object, unsigned flags)
{
    if (r == -EDQUOT)
    {
        io_note_volume_full(pool, object);
        return -ENOSPC;
    }
    if (r == -ENOSPC)
        pool_note_full(pool, object);
    r = pool_note_damage(pool, object, r);
    if (r == 0 && (flags & LUN_FUA))
        r = journal_commit(pool->journal);
    return r;
}

/* All of a buffer, in pieces. */
static int io_write_pieces(struct lun *lun, const void *buf, size_t len, uint64_t offset,
                           bool skips_holes)
{
    const uint8_t *at = buf;
    int r = 0;
    while (r == 0 && len > 0)
    {
        uint64_t piece_end = (offset / BLK_BYTES + IO_PIECE_BLKS) * BLK_BYTES;
        size_t part = (size_t)min_u64(len, piece_end - offset);
        struct piece piece = {.pool = lun->pool,
                              .object = lun->object,
                              .buf = at,
                              .len = part,
                              .offset = offset,
                              .skips_holes = skips_holes};
        struct attempt attempt = {.lun = lun,
                                  .work = io_write_piece_work,
                                  .opaque = &piece,
                                  .use = &piece.use,
                                  .patience = {.may_pause = true}};
        r = io_with_range(&attempt, part, offset);
        at += part;
        offset += part;
        len -= part;
    }
    return r;
}

int lun_write(struct lun *lun, const void *buf, size_t len, uint64_t offset, unsigned flags)
{
    int r = lun_check_io(lun, len, offset, true);
    if (r == 0)
        r = io_write_pieces(lun, buf, len, offset, false);
    return io_finish(lun->pool, r, lun->object, flags);
}

int lun_flush(struct lun *lun)
{
    int r = lun_check_io(lun, 0, 0, false);
    if (r < 0 || lun->is_read_only)
        return r;
    r = pool_may_change(lun->pool);
    return r < 0 ? r : journal_commit(lun->pool->journal);
}

/* ---- unmapping ----------------------------------------------------------------------------- */

static int io_plan_unmap(struct pool *pool, struct lun_object *object, uint64_t lba, uint64_t end,
                         uint64_t *stop, bool *has_shared)
{
    AUTO_TREE_OP struct tree_op op;
    tree_op_init(&op, pool);
    for (;;)
    {
        lock_take(&object->map_lock);
        int r = emap_plan_unmap(&op, object->line, lba, end, stop, has_shared);
        lock_release(&object->map_lock);
        if (r == -EAGAIN)
            r = tree_op_load(&op);
        else
            return r;
        if (r < 0)
            return r;
    }
}

int io_unmap_blks(struct pool *pool, struct lun_object *object, enum space_use use, uint64_t lba,
                  uint64_t end, uint64_t *stop)
{
    struct emap_run hole;
    unsigned count;
    *stop = lba;
    int r = io_lookup(pool, object, lba, end, &hole, 1, &count);
    if (r < 0 || count == 0)
        return r;
    if (hole.blk == 0)
    {
        *stop = hole.lba + hole.len_blks;
        return 0;
    }
    /* In need, one by one, as writes are: the record of many may drop many. */
    if (use == SPACE_URGENT)
        end = lba + 1;
    bool has_shared;
    r = io_plan_unmap(pool, object, lba, end, stop, &has_shared);
    if (r < 0)
        return r;
    uint8_t bytes[IO_RECORD_BYTES];
    struct writer writer = {.bytes = bytes, .capacity = sizeof(bytes)};
    action_unmap(&writer, object->line->object.id, lba, *stop - lba);
    r = change_run(pool, CHANGE_IO, object, bytes, writer.len, has_shared ? use : SPACE_FREEING);
    if (r < 0)
        *stop = lba;
    return r;
}

struct unmap_work
{
    struct pool *pool;
    struct lun_object *object;
    uint64_t lba, end;
    uint64_t end_bytes; /* that was asked for; may be inside the last block */
    enum space_use use;
};

/* As far as it comes in one go; goes on where it stopped. */
static int io_unmap_work(void *opaque)
{
    struct unmap_work *work = opaque;
    int r = 0;
    /* The LUN was made larger meanwhile: what is behind the end may have been written since. */
    if (work->end * BLK_BYTES > work->end_bytes &&
        atomic_load(&work->object->size_bytes) > work->end_bytes)
        work->end = work->end_bytes / BLK_BYTES;
    for (unsigned i = 0; i < 16 && r == 0 && work->lba < work->end; i++)
        r = io_unmap_blks(work->pool, work->object, work->use, work->lba, work->end, &work->lba);
    return r;
}

/* Blocks [lba, *end), all of them; the last one stays, and *end is less, if @end_bytes is inside it
 * and no longer the end of the LUN. */
static int io_unmap_range(struct lun *lun, uint64_t lba, uint64_t *end, uint64_t end_bytes,
                          bool may_pause)
{
    struct unmap_work work = {
        .pool = lun->pool, .object = lun->object, .lba = lba, .end = *end, .end_bytes = end_bytes};
    struct attempt attempt = {.lun = lun, .work = io_unmap_work, .opaque = &work, .use = &work.use};
    int r = 0;
    while (r == 0 && work.lba < work.end)
    {
        uint64_t offset = work.lba * BLK_BYTES;
        uint64_t len = min_u64(work.end * BLK_BYTES, atomic_load(&lun->object->size_bytes));
        if (len <= offset)
            return -ESTALE;
        /* It got further. What is short of room stays so for the rest of it. */
        attempt.patience =
            (struct io_patience){.may_pause = may_pause, .is_urgent = attempt.patience.is_urgent};
        r = io_with_range(&attempt, len - offset, offset);
    }
    *end = work.end;
    return r;
}

/* Zeros in a part of one block: nothing to do on a hole. */
static int io_zero_part_work(void *opaque)
{
    struct piece *piece = opaque;
    struct emap_run run;
    unsigned count;
    uint64_t lba = piece->offset / BLK_BYTES;
    int r = io_lookup(piece->pool, piece->object, lba, lba + 1, &run, 1, &count);
    if (r < 0 || run.blk == 0)
        return r;
    return io_write_piece(piece);
}

int io_cut_block(struct pool *pool, struct lun_object *object, uint64_t end_bytes,
                 struct writer *writer)
{
    struct emap_run run;
    unsigned count;
    enum space_use use = ledger_use(object);
    uint64_t lba = end_bytes / BLK_BYTES, in_block = end_bytes % BLK_BYTES, blk, got;
    int r = in_block ? io_lookup(pool, object, lba, lba + 1, &run, 1, &count) : 0;
    if (r < 0 || in_block == 0 || run.blk == 0)
        return r;
    AUTO_FREE uint8_t *block = malloc(BLK_BYTES);
    if (!block)
        return -ENOMEM;
    r = io_read(pool, object, block, in_block, lba * BLK_BYTES);
    if (r == 0)
        r = io_take(pool, object->line, use, 1, &blk, &got);
    if (r < 0)
        return r;
    space_arrive(pool->space, use, 1); /* its record is a command's, not a write's */
    memset(block + in_block, 0, BLK_BYTES - in_block);
    r = io_note_room(pool, object->line,
                     device_write(pool->device, block, BLK_BYTES, blk * BLK_BYTES));
    if (r < 0)
        space_cancel(pool->space, blk, 1);
    else
        action_write(writer, object->line->object.id, lba, blk, 1, false, 0);
    return r;
}

static int io_zero_part_locked(struct lun *lun, size_t len, uint64_t offset, bool may_pause)
{
    static const uint8_t zeros[BLK_BYTES];
    struct piece piece = {
        .pool = lun->pool, .object = lun->object, .buf = zeros, .len = len, .offset = offset};
    if (len == 0)
        return 0;
    struct attempt attempt = {.lun = lun,
                              .work = io_zero_part_work,
                              .opaque = &piece,
                              .use = &piece.use,
                              .patience = {.may_pause = may_pause}};
    return io_with_range(&attempt, len, offset);
}

/* @may_pause: the caller needs the zeros, and does not merely give space back. */
static int io_unmap(struct lun *lun, uint64_t len, uint64_t offset, bool may_pause)
{
    uint64_t end = offset + len;
    uint64_t size_bytes = atomic_load(&lun->object->size_bytes);
    uint64_t first = div_round_up(offset, BLK_BYTES), last = end / BLK_BYTES;
    /* The last block of a LUN that ends inside it is whole when all that there is of it goes. */
    if (end == size_bytes)
        last = div_round_up(end, BLK_BYTES);
    if (first >= last) /* inside one block, or across the border of two */
    {
        uint64_t middle = min_u64(end, max_u64(offset, first * BLK_BYTES));
        int r = io_zero_part_locked(lun, (size_t)(middle - offset), offset, may_pause);
        return r < 0 ? r : io_zero_part_locked(lun, (size_t)(end - middle), middle, may_pause);
    }
    int r = io_zero_part_locked(lun, (size_t)(first * BLK_BYTES - offset), offset, may_pause);
    if (r == 0)
        r = io_unmap_range(lun, first, &last, end, may_pause);
    if (r == 0 && end > last * BLK_BYTES)
        r = io_zero_part_locked(lun, (size_t)(end - last * BLK_BYTES), last * BLK_BYTES, may_pause);
    return r;
}

int lun_unmap(struct lun *lun, uint64_t len, uint64_t offset, unsigned flags)
{
    int r = lun_check_io(lun, len, offset, true);
    if (r < 0 || len == 0)
        return r;
    return io_finish(lun->pool, io_unmap(lun, len, offset, false), lun->object, flags);
}

/* Blocks of its own stay and get zeros, as do blocks that it shares; what is a hole reads as zeros,
 * and is promised. */
static int io_zero_reserved(struct lun *lun, uint64_t len, uint64_t offset)
{
    int r = 0;
    while (r == 0 && len > 0)
    {
        size_t part = (size_t)min_u64(len, IO_ZERO_BYTES);
        r = io_write_pieces(lun, io_zeros, part, offset, true);
        offset += part;
        len -= part;
    }
    return r;
}

int lun_zero(struct lun *lun, uint64_t len, uint64_t offset, unsigned flags)
{
    int r = lun_check_io(lun, len, offset, true);
    if (r < 0 || len == 0)
        return r;
    /* A thin LUN stores zeros as holes, whatever was asked for. */
    bool may_unmap = (flags & LUN_MAY_UNMAP) || !atomic_load(&lun->object->is_reserved);
    if (!may_unmap && (flags & LUN_FAST_ONLY))
        return -ENOTSUP;
    r = may_unmap ? io_unmap(lun, len, offset, true) : io_zero_reserved(lun, len, offset);
    return io_finish(lun->pool, r, lun->object, flags);
}

/* ---- compare and write, atomic write, read-modify-write ------------------------------------ */

struct edit_work
{
    struct piece piece;
    bool is_edited; /* what is to be written is known; a part of it may be written already */
    uint8_t *content;
    const uint8_t *compare;
    size_t *miscompare_at;
    lun_change_fn *change;
    void *opaque;
};

/* Gives the blocks of the range that are not the LUN's own, and with !@skips_holes those that are
 * not there, a copy of their content. With the range locked. */
static int io_own_locked(struct piece *of, bool skips_holes)
{
    uint64_t size_bytes = atomic_load(&of->object->size_bytes);
    uint64_t at = round_down(of->offset, BLK_BYTES), end = of->offset + of->len;
    uint8_t block[BLK_BYTES];
    int r = 0;
    for (; r == 0 && at < end; at += BLK_BYTES)
    {
        struct emap_run run;
        unsigned count;
        uint64_t lba = at / BLK_BYTES;
        r = io_lookup(of->pool, of->object, lba, lba + 1, &run, 1, &count);
        if (r < 0 || run.is_own || (run.blk == 0 && skips_holes))
            continue;
        struct piece piece = {.pool = of->pool,
                              .object = of->object,
                              .buf = block,
                              .len = (size_t)min_u64(BLK_BYTES, size_bytes - at),
                              .offset = at,
                              .use = of->use};
        r = io_read(of->pool, of->object, block, piece.len, at);
        if (r == 0)
            r = io_write_piece(&piece);
    }
    return r;
}

static int io_own_work(void *opaque)
{
    return io_own_locked(opaque, false);
}

static int io_own_range(struct lun *lun, size_t len, uint64_t offset)
{
    struct piece piece = {.pool = lun->pool, .object = lun->object, .len = len, .offset = offset};
    struct attempt attempt = {.lun = lun,
                              .work = io_own_work,
                              .opaque = &piece,
                              .use = &piece.use,
                              .patience = {.may_pause = true}};
    return io_with_range(&attempt, len, offset);
}

static int io_edit_work(void *opaque)
{
    struct edit_work *work = opaque;
    struct piece *piece = &work->piece;
    if (work->is_edited)
        return io_write_piece(piece);
    int r = io_read(piece->pool, piece->object, work->content, piece->len, piece->offset);
    if (r < 0)
        return r;
    if (work->compare && memcmp(work->content, work->compare, piece->len) != 0)
    {
        *work->miscompare_at = 0;
        while (work->content[*work->miscompare_at] == work->compare[*work->miscompare_at])
            ++*work->miscompare_at;
        return -EILSEQ;
    }
    if (!work->compare)
        work->change(work->opaque, work->content, piece->len);
    work->is_edited = true;
    return io_write_piece(piece);
}

static int io_edit(struct lun *lun, struct edit_work *work, size_t len, uint64_t offset,
                   unsigned flags)
{
    int r = lun_check_io(lun, len, offset, true);
    if (r < 0 || len == 0)
        return r;
    if (len > IO_EDIT_MAX_BYTES)
        return -EINVAL;
    AUTO_FREE uint8_t *content = malloc(len);
    if (!content)
        return -ENOMEM;
    work->content = content;
    work->piece.pool = lun->pool;
    work->piece.object = lun->object;
    work->piece.len = len;
    work->piece.offset = offset;
    if (!work->piece.buf)
        work->piece.buf = content;
    /* It holds its range to the end, and a pause may hold nothing: so it gets its blocks before. */
    r = io_pauses(lun->pool, lun->object) ? io_own_range(lun, len, offset) : 0;
    struct attempt attempt = {.lun = lun,
                              .work = io_edit_work,
                              .opaque = work,
                              .use = &work->piece.use,
                              .holds_range = true};
    if (r == 0)
        r = io_with_range(&attempt, len, offset);
    return io_finish(lun->pool, r, lun->object, flags);
}

int lun_compare_and_write(struct lun *lun, const void *compare, const void *write, size_t len,
                          uint64_t offset, unsigned flags, size_t *miscompare_at)
{
    struct edit_work work = {
        .piece = {.buf = write}, .compare = compare, .miscompare_at = miscompare_at};
    return io_edit(lun, &work, len, offset, flags);
}

int lun_read_modify_write(struct lun *lun, size_t len, uint64_t offset, unsigned flags,
                          lun_change_fn *change, void *opaque)
{
    struct edit_work work = {.change = change, .opaque = opaque};
    return io_edit(lun, &work, len, offset, flags);
}

static int io_give_back_cb(void *opaque, uint64_t blk, uint64_t len)
{
    const struct piece *piece = opaque;
    io_give_back(piece->pool, piece->use, blk, len);
    return 0;
}

/* All blocks first, then one record for all of them. */
static int io_write_atomic_claimed(struct piece *piece)
{
    struct pool *pool = piece->pool;
    uint64_t lba = piece->offset / BLK_BYTES, n = piece->len / BLK_BYTES, done = 0;
    AUTO_WRITER struct writer writer = {0};
    int r = 0;
    while (r == 0 && done < n)
    {
        uint64_t blk, got;
        r = io_take(pool, piece->object->line, piece->use, n - done, &blk, &got);
        if (r < 0)
            break;
        action_write(&writer, piece->object->line->object.id, lba + done, blk, (uint32_t)got, false,
                     0);
        r = io_note_room(pool, piece->object->line,
                         device_write(pool->device, piece->buf + done * BLK_BYTES, got * BLK_BYTES,
                                      blk * BLK_BYTES));
        done += got;
    }
    if (r == 0 && writer.failed)
        r = -ENOMEM;
    if (r == 0)
        r = change_run(pool, CHANGE_IO, piece->object, writer.bytes, writer.len, piece->use);
    if (r < 0)
        ignore_error(record_each_block(writer.bytes, writer.len, io_give_back_cb, piece),
                     "we made the record ourselves");
    return r;
}

/*
 * In need, what is shared is copied first, block by block: the one record of all then drops
 * nothing, and takes few nodes. And one at a time, else several could each hold a part of what one
 * needs.
 */
static int io_write_atomic_work(void *opaque)
{
    struct piece *piece = opaque;
    bool is_urgent = piece->use == SPACE_URGENT;
    int r = is_urgent ? io_own_locked(piece, true) : 0;
    struct ledger_claim claim;
    if (r == 0)
        r = ledger_take(piece->pool, piece->object, piece->len / BLK_BYTES, &claim);
    if (r < 0)
        return r;
    if (is_urgent)
        lock_take(&piece->pool->atomic_lock);
    r = io_write_atomic_claimed(piece);
    if (is_urgent)
        lock_release(&piece->pool->atomic_lock);
    ledger_give(piece->pool, &claim);
    return r;
}

int lun_write_atomic(struct lun *lun, const void *buf, size_t len, uint64_t offset, unsigned flags)
{
    int r = lun_check_io(lun, len, offset, true);
    if (r == 0 && (len > IO_ATOMIC_MAX_BYTES || len % BLK_BYTES || offset % BLK_BYTES))
        r = -EINVAL;
    if (r < 0 || len == 0)
        return r;
    struct piece piece = {
        .pool = lun->pool, .object = lun->object, .buf = buf, .len = len, .offset = offset};
    struct attempt attempt = {.lun = lun,
                              .work = io_write_atomic_work,
                              .opaque = &piece,
                              .use = &piece.use,
                              .patience = {.may_pause = true}};
    r = io_with_range(&attempt, len, offset);
    return io_finish(lun->pool, r, lun->object, flags);
}
