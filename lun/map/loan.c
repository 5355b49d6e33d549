/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loans: a read whose bytes stay where they are until a system call has copied them.
 *
 * A read looks whether its line is still there after it has read (io_confirm()). What is lent may
 * be on the wire by then, so here it is the other way round: the loan is counted first, then it
 * looks that nothing departed, and from then on others wait for it:
 *
 *  - blocks that are freed are not used again before its epoch is over, as for any read;
 *  - a line that nothing is shown by any more shares its blocks on until ACTION_HAND_OVER makes
 *    them another line's own. The job for that waits for all loans of before (loan_await()), with
 *    nothing held, as a borrower may wait for a lock whose holder waits for a command.
 *
 * Either the borrower finds the departure, or the job finds the loan in its count: the departure is
 * noted before the job changes the epoch, and the loan is in an epoch before it looks.
 */
#include <errno.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/map/emap.h"
#include "lun/volume/lun_internal.h"

/* ---- waiting for them ---------------------------------------------------------------------- */

void loan_await(struct pool *pool)
{
    if (loan_is_awaited(pool))
        return;
    AUTO_LOCK(&pool->loan_lock);
    uint64_t departures = atomic_load(&pool->departures); /* partner: loan_note_departure() */
    epochs_drain(&pool->loans);
    atomic_store(&pool->departures_alone, departures);
}

bool loan_is_awaited(const struct pool *pool)
{
    return atomic_load(&pool->departures_alone) == atomic_load(&pool->departures);
}

void pool_stop_lending(struct pool *pool)
{
    atomic_fetch_add(&pool->lending_stops, 1); /* partner: loan_begin() */
    AUTO_LOCK(&pool->loan_lock);
    epochs_drain(&pool->loans);
}

void pool_allow_lending(struct pool *pool)
{
    atomic_fetch_sub(&pool->lending_stops, 1);
}

/* ---- lending ------------------------------------------------------------------------------- */

static int loan_begin(struct lun_loan *loan, struct pool *pool)
{
    *loan = (struct lun_loan){.pool = pool};
    loan->loan_epoch = epochs_enter(&pool->loans);
    loan->epoch = epoch_enter(pool);
    return atomic_load(&pool->lending_stops) ? -EAGAIN : 0;
}

void lun_return(struct lun_loan *loan)
{
    struct device *device = loan->pool->device;
    for (unsigned i = 0; i < loan->count; i++)
        if (loan->parts[i].at)
            device->ops->take_back(device, loan->parts[i].device_offset);
    loan->count = 0;
    epoch_leave(loan->pool, loan->epoch);
    epochs_leave(&loan->pool->loans, loan->loan_epoch);
}

/* The bytes of [offset, offset + len) that lie in @run. */
static int loan_add(struct lun_loan *loan, const struct emap_run *run, size_t len, uint64_t offset)
{
    struct device *device = loan->pool->device;
    struct lun_loan_part *part = &loan->parts[loan->count];
    *part = (struct lun_loan_part){.len = len};
    if (run->blk != 0)
    {
        part->device_offset = run->blk * BLK_BYTES + (offset - run->lba * BLK_BYTES);
        int r = device->ops->lend(device, len, part->device_offset, &part->at);
        if (r < 0)
            return r;
    }
    loan->count++;
    return 0;
}

static int loan_fill(struct lun_loan *loan, const struct lun *lun, size_t len, uint64_t offset)
{
    struct emap_run runs[LUN_LOAN_PARTS];
    unsigned count;
    uint64_t end = offset + len;
    while (offset < end)
    {
        if (loan->count == LUN_LOAN_PARTS)
            return -EAGAIN;
        int r =
            io_find_runs(lun->pool, lun->object, offset / BLK_BYTES, div_round_up(end, BLK_BYTES),
                         runs, LUN_LOAN_PARTS - loan->count, &count);
        for (unsigned i = 0; r == 0 && i < count && offset < end; i++)
        {
            uint64_t run_end = min_u64((runs[i].lba + runs[i].len_blks) * BLK_BYTES, end);
            r = loan_add(loan, &runs[i], (size_t)(run_end - offset), offset);
            offset = run_end;
        }
        if (r < 0)
            return r;
    }
    return 0;
}

int lun_lend(struct lun *lun, size_t len, uint64_t offset, struct lun_loan *loan)
{
    if (lun->base || !lun->pool->device->ops->lend)
        return -ENOTSUP;
    int r = loan_begin(loan, lun->pool);
    uint64_t replacements = io_replacements(lun);
    if (r == 0)
        r = lun_check_io(lun, len, offset, false);
    if (r == 0)
        r = loan_fill(loan, lun, len, offset);
    if (r == 0)
        r = io_confirm(lun, replacements);
    if (r < 0)
        lun_return(loan);
    return r;
}

int lun_loan_read(const struct lun_loan *loan, void *buf, size_t len, size_t from)
{
    uint8_t *at = buf;
    for (unsigned i = 0; i < loan->count && len > 0; i++)
    {
        const struct lun_loan_part *part = &loan->parts[i];
        if (from >= part->len)
        {
            from -= part->len;
            continue;
        }
        size_t step = (size_t)min_u64(part->len - from, len);
        int r = 0;
        if (part->at)
            r = device_read(loan->pool->device, at, step, part->device_offset + from);
        else
            memset(at, 0, step);
        if (r < 0)
            return r;
        at += step;
        len -= step;
        from = 0;
    }
    return len == 0 ? 0 : -EINVAL;
}
