/* SPDX-License-Identifier: BSD-3-Clause */
/* UNMAP and WRITE SAME. All of a request is checked before any of it is done. */
#include <errno.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "server/scsi/room.h"
#include "server/scsi/scsi_internal.h"

enum
{
    UNMAP_HEADER_BYTES = 8,
    UNMAP_DESCRIPTOR_BYTES = 16,
    WRITE_SAME_UNMAP = 0x08,
    WRITE_SAME_NDOB = 0x01,
};

/* ---- UNMAP --------------------------------------------------------------------------------- */

/* The number of whole descriptors. False: sense is set. */
static bool unmap_count(struct scsi_task *task, size_t *count)
{
    if (!command_has_parameters(task))
        return false;
    *count = 0;
    if (task->out_len == 0)
        return true;
    const uint8_t *list = task->out;
    size_t len = task->out_len < UNMAP_HEADER_BYTES ? 0 : wire_u16(list + 2);
    if (task->out_len < UNMAP_HEADER_BYTES || len > task->out_len - UNMAP_HEADER_BYTES)
    {
        sense_fail(task, SENSE_PARAMETER_LIST_LENGTH);
        return false;
    }
    *count = len / UNMAP_DESCRIPTOR_BYTES;
    if (*count <= SCSI_UNMAP_DESCRIPTORS_MAX)
        return true;
    sense_fail_parameter(task, SENSE_INVALID_PARAMETER, 2);
    return false;
}

static bool unmap_check(struct scsi_task *task, const uint8_t *descriptors, size_t count)
{
    uint64_t end = command_block_count(task->lu), sum = 0;
    for (size_t i = 0; i < count; i++)
    {
        const uint8_t *at = descriptors + i * UNMAP_DESCRIPTOR_BYTES;
        sum += wire_u32(at + 8);
        if (range_ok(wire_u64(at), wire_u32(at + 8), end))
            continue;
        sense_fail(task, SENSE_LBA_OUT_OF_RANGE);
        return false;
    }
    if (sum <= SCSI_UNMAP_BLOCKS_MAX)
        return true;
    sense_fail_parameter(task, SENSE_INVALID_PARAMETER, UNMAP_HEADER_BYTES + 8);
    return false;
}

void cmd_unmap(struct scsi_task *task)
{
    size_t count = 0;
    if (!unmap_count(task, &count) || count == 0)
        return;
    const uint8_t *descriptors = (const uint8_t *)task->out + UNMAP_HEADER_BYTES;
    if (!unmap_check(task, descriptors, count))
        return;
    unsigned shift = task->lu->sector_shift;
    for (size_t i = 0; i < count; i++)
    {
        const uint8_t *at = descriptors + i * UNMAP_DESCRIPTOR_BYTES;
        uint64_t blocks = wire_u32(at + 8);
        int r = blocks ? lun_unmap(task->lu->handle, blocks << shift, wire_u64(at) << shift, 0) : 0;
        if (r < 0)
        {
            sense_fail_errno(task, r, true);
            return;
        }
    }
}

/* ---- WRITE SAME ---------------------------------------------------------------------------- */

static bool is_zero(const uint8_t *bytes, size_t len)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

static int write_same_pattern(struct scsi_task *task, const struct scsi_range *range,
                              const uint8_t *block, unsigned flags)
{
    const struct scsi_lu *lu = task->lu;
    size_t room = (size_t)min_u64(range->len_bytes, SCSI_COPY_STEP_BYTES);
    AUTO_FREE uint8_t *buf = malloc(room);
    if (!buf)
        return -ENOMEM;
    for (size_t at = 0; at < room; at += lu->sector_bytes)
        memcpy(buf + at, block, lu->sector_bytes);
    int r = 0;
    for (uint64_t at = task->done_bytes; r == 0 && at < range->len_bytes; at += room)
    {
        size_t len = (size_t)min_u64(range->len_bytes - at, room);
        r = lun_write(lu->handle, buf, len, range->offset_bytes + at, flags);
        if (r == 0)
            room_note_done(task, len);
    }
    return r;
}

/* WSNZ: a number of 0 blocks is not taken for "to the end". False: sense is set. */
static bool write_same_range(struct scsi_task *task, struct scsi_range *range)
{
    if (!command_range(task, range))
        return false;
    if (range->blocks > 0 && range->blocks <= SCSI_WRITE_SAME_BLOCKS_MAX)
        return true;
    sense_fail_cdb(task, task_command(task)->length_at, -1);
    return false;
}

/*
 * The UNMAP bit may unmap where reading brings what was to be written, which is zeros. With other
 * data the blocks are written, as reads must return it.
 */
void cmd_write_same(struct scsi_task *task)
{
    struct scsi_lu *lu = task->lu;
    struct scsi_range range;
    if (!write_same_range(task, &range))
        return;
    if (task->out_len != task->out_wanted || task->edtl_out != task->out_wanted)
    {
        sense_fail(task, SENSE_INVALID_IN_INFORMATION_UNIT);
        return;
    }
    lock_take(&lu->lock);
    unsigned flags = lu->mode.write_cache_disabled ? LUN_FUA : 0;
    lock_release(&lu->lock);
    const uint8_t *block = task->out_len ? task->out : NULL;
    bool zeros = !block || is_zero(block, lu->sector_bytes);
    bool unmap = task->cdb[1] & WRITE_SAME_UNMAP;
    int r;
    if (!zeros)
        r = write_same_pattern(task, &range, block, flags);
    else if (unmap)
        r = lun_unmap(lu->handle, range.len_bytes, range.offset_bytes, flags);
    else
        r = lun_zero(lu->handle, range.len_bytes, range.offset_bytes, flags);
    if (r < 0)
        sense_fail_errno(task, r, true);
}
