/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * READ, WRITE, WRITE AND VERIFY, VERIFY, ORWRITE, WRITE ATOMIC.
 *
 * When the initiator announced less data than the CDB asks to write, what came is written, be it a
 * part of a block, and the rest is a residual overflow. Reads take a look at no more than what goes
 * out.
 */
#include <errno.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "server/scsi/room.h"
#include "server/scsi/scsi_internal.h"

enum
{
    VERIFY_STEP_BYTES = 256 << 10,
};

/* FUA in a CDB that has it, or a cache that is switched off. */
static unsigned write_flags(const struct scsi_task *task)
{
    struct scsi_lu *lu = task->lu;
    if (task_command(task)->cdb_len > 6 && task->cdb[1] & 0x08)
        return LUN_FUA;
    AUTO_LOCK(&lu->lock);
    return lu->mode.write_cache_disabled ? LUN_FUA : 0;
}

static void count_read(struct scsi_lu *lu, uint64_t blocks)
{
    AUTO_LOCK(&lu->lock);
    lu->counters.reads++;
    lu->counters.read_blocks += blocks;
}

/* Looks at the pool's space now and then, too. */
static void count_write(struct scsi_lu *lu, uint64_t blocks)
{
    lock_take(&lu->lock);
    lu->counters.writes++;
    lu->counters.written_blocks += blocks;
    lu->written_unchecked_bytes += blocks << lu->sector_shift;
    bool check = lu->written_unchecked_bytes >= SCSI_THRESHOLD_CHECK_BYTES;
    if (check)
        lu->written_unchecked_bytes = 0;
    lock_release(&lu->lock);
    if (check)
        scsi_target_check_space(lu->target);
}

void cmd_read(struct scsi_task *task)
{
    struct scsi_lu *lu = task->lu;
    struct scsi_range range;
    if (!command_range(task, &range))
        return;
    size_t len = (size_t)min_u64(range.len_bytes, task->in_capacity);
    /* FUA: what another initiator's cache would hold is here; nothing is older than the medium. */
    /* What is wrong with a loan is said by the read. */
    task->is_lent =
        len && task->loan && lun_lend(lu->handle, len, range.offset_bytes, task->loan) == 0;
    int r = 0;
    if (len && !task->is_lent)
        r = lun_read(lu->handle, task->in, len, range.offset_bytes);
    if (r < 0)
    {
        sense_fail_errno(task, r, false);
        return;
    }
    task->in_len = len;
    task->transfer_len = range.len_bytes;
    count_read(lu, range.blocks);
}

/* Cuts the range to what came. False: sense is set. */
static bool write_range(struct scsi_task *task, struct scsi_range *range)
{
    if (!command_range(task, range))
        return false;
    range->len_bytes = min_u64(range->len_bytes, task->out_len);
    return true;
}

static bool write_plain(struct scsi_task *task, struct scsi_range *range, unsigned flags)
{
    if (!write_range(task, range))
        return false;
    int r = range->len_bytes
                ? room_write(task, task->out, (size_t)range->len_bytes, range->offset_bytes, flags)
                : 0;
    if (r < 0)
    {
        sense_fail_errno(task, r, true);
        return false;
    }
    count_write(task->lu, range->blocks);
    return true;
}

void cmd_write(struct scsi_task *task)
{
    struct scsi_range range;
    ignore_error(write_plain(task, &range, write_flags(task)), "sense is set");
}

/* ---- verification -------------------------------------------------------------------------- */

/* The first difference, or len. */
static size_t first_difference(const uint8_t *a, const uint8_t *b, size_t len)
{
    if (memcmp(a, b, len) == 0)
        return len;
    size_t at = 0;
    while (a[at] == b[at])
        at++;
    return at;
}

/*
 * Reads the range, and compares it with @expected (NULL: with nothing), of which @period bytes are
 * repeated. False: sense is set, of a miscompare with the offset of its first byte.
 */
static bool verify_range(struct scsi_task *task, const struct scsi_range *range,
                         const uint8_t *expected, size_t period)
{
    AUTO_FREE uint8_t *buf = malloc(VERIFY_STEP_BYTES);
    if (!buf)
    {
        sense_fail_errno(task, -ENOMEM, false);
        return false;
    }
    size_t sector = task->lu->sector_bytes;
    for (uint64_t at = 0; at < range->len_bytes;)
    {
        size_t step = (size_t)min_u64(range->len_bytes - at, VERIFY_STEP_BYTES);
        int r = lun_read(task->lu->handle, buf, step, range->offset_bytes + at);
        if (r < 0)
        {
            sense_fail_errno(task, r, false);
            return false;
        }
        for (size_t i = 0; expected && i < step; i += sector)
        {
            size_t len = (size_t)min_u64(sector, step - i);
            size_t bad = first_difference(buf + i, expected + (at + i) % period, len);
            if (bad == len)
                continue;
            sense_fail_information(task, SENSE_MISCOMPARE, at + i + bad);
            return false;
        }
        at += step;
    }
    return true;
}

void cmd_verify(struct scsi_task *task)
{
    struct scsi_range range;
    uint8_t check = task->cdb[1] >> 1 & 3;
    if (check == 2)
    {
        sense_fail_cdb(task, 1, 2);
        return;
    }
    if (!command_range(task, &range))
        return;
    if (check && task->out_len != task->out_wanted)
    {
        sense_fail(task, SENSE_INVALID_IN_INFORMATION_UNIT);
        return;
    }
    const uint8_t *expected = check ? task->out : NULL;
    size_t period = check == 3 ? task->lu->sector_bytes : (size_t)range.len_bytes;
    if (range.len_bytes)
        ignore_error(verify_range(task, &range, expected, period), "sense is set");
}

/* What was written is read back and compared, whatever BYTCHK is: more than is asked is allowed. */
void cmd_write_verify(struct scsi_task *task)
{
    struct scsi_range range;
    uint8_t check = task->cdb[1] >> 1 & 3;
    if (check >= 2)
    {
        sense_fail_cdb(task, 1, 2);
        return;
    }
    /* FUA: verified must mean on the medium. */
    if (!write_plain(task, &range, LUN_FUA) || range.len_bytes == 0)
        return;
    ignore_error(verify_range(task, &range, check ? task->out : NULL, (size_t)range.len_bytes),
                 "sense is set");
}

/* ---- atomic ones --------------------------------------------------------------------------- */

static void orwrite_change(void *opaque, uint8_t *content, size_t len)
{
    const uint8_t *mask = opaque;
    for (size_t i = 0; i < len; i++)
        content[i] |= mask[i];
}

void cmd_orwrite(struct scsi_task *task)
{
    struct scsi_range range;
    if (task->out_wanted > SCSI_ORWRITE_MAX_BYTES)
    {
        sense_fail_cdb(task, 10, -1);
        return;
    }
    if (!write_range(task, &range) || range.len_bytes == 0)
        return;
    int r = lun_read_modify_write(task->lu->handle, (size_t)range.len_bytes, range.offset_bytes,
                                  write_flags(task), orwrite_change, (void *)task->out);
    if (r < 0)
        sense_fail_errno(task, r, true);
    else
        count_write(task->lu, range.blocks);
}

void cmd_write_atomic(struct scsi_task *task)
{
    struct scsi_range range;
    if (!command_range(task, &range))
        return;
    if (range.len_bytes > SCSI_ATOMIC_MAX_BYTES)
    {
        sense_fail_cdb(task, 12, -1);
        return;
    }
    /* Block limits VPD: alignment and granularity; and no boundary, which only larger ones need. */
    if (range.offset_bytes % SCSI_PHYSICAL_BYTES || wire_u16(task->cdb + 10))
    {
        sense_fail_cdb(task, wire_u16(task->cdb + 10) ? 10 : 2, -1);
        return;
    }
    if (range.len_bytes % SCSI_PHYSICAL_BYTES)
    {
        sense_fail_cdb(task, 12, -1);
        return;
    }
    /* Half of what is to be atomic is nothing. */
    if (task->out_len != task->out_wanted)
    {
        sense_fail(task, SENSE_INVALID_IN_INFORMATION_UNIT);
        return;
    }
    int r = range.len_bytes ? lun_write_atomic(task->lu->handle, task->out, (size_t)range.len_bytes,
                                               range.offset_bytes, write_flags(task))
                            : 0;
    if (r < 0)
        sense_fail_errno(task, r, true);
    else
        count_write(task->lu, range.blocks);
}

void cmd_compare_and_write(struct scsi_task *task)
{
    struct scsi_range range;
    if (!command_range(task, &range))
        return;
    /* A number of blocks that does not fit the data was cut off on its way into its byte. */
    if (range.len_bytes > SCSI_CAW_MAX_BYTES || task->out_len != task->out_wanted ||
        task->edtl_out != task->out_wanted)
    {
        sense_fail_cdb(task, 13, -1);
        return;
    }
    if (range.len_bytes == 0)
        return;
    const uint8_t *data = task->out;
    size_t len = (size_t)range.len_bytes, miscompare_at = 0;
    int r = lun_compare_and_write(task->lu->handle, data, data + len, len, range.offset_bytes,
                                  write_flags(task), &miscompare_at);
    if (r == -EILSEQ)
        sense_fail_information(task, SENSE_MISCOMPARE, miscompare_at);
    else if (r < 0)
        sense_fail_errno(task, r, true);
    else
        count_write(task->lu, range.blocks);
}
