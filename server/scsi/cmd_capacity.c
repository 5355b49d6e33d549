/* SPDX-License-Identifier: BSD-3-Clause */
/* READ CAPACITY, GET LBA STATUS, READ DEFECT DATA: what the medium is like. */
#include <string.h>

#include "lun/base/checked.h"
#include "server/scsi/scsi_internal.h"

enum
{
    CAPACITY16_BYTES = 32,
    LBA_STATUS_MAX = 256, /* descriptors of one answer */
    LBA_MAPPED = 0,
    LBA_DEALLOCATED = 1,
    DEFECT_REQUEST_MASK = 0x1f, /* which lists, and their format */
};

void cmd_read_capacity10(struct scsi_task *task)
{
    uint8_t data[8];
    wire_put_u32(data, min_u64(command_block_count(task->lu) - 1, UINT32_MAX));
    wire_put_u32(data + 4, task->lu->sector_bytes);
    command_reply(task, data, sizeof(data));
}

void cmd_read_capacity16(struct scsi_task *task)
{
    struct scsi_lu *lu = task->lu;
    uint8_t data[CAPACITY16_BYTES] = {0};
    wire_put_u64(data, command_block_count(lu) - 1);
    wire_put_u32(data + 8, lu->sector_bytes);
    lock_take(&lu->lock);
    if (!(lu->flags & ACCESS_LUN_NO_PHYSICAL))
        data[13] = (uint8_t)__builtin_ctz(SCSI_PHYSICAL_BYTES >> lu->sector_shift);
    lock_release(&lu->lock);
    data[14] = 0xc0; /* LBPME, LBPRZ; lowest aligned LBA is 0 */
    command_reply(task, data, sizeof(data));
}

/*
 * Descriptors of @extents from @lba on; shared and own extents are one to a host. Returns how many.
 * What does not fit a descriptor's 32 bits is left to the host's next question.
 */
static size_t lba_status_fill(uint8_t *list, uint64_t lba, const struct lun_extent *extents,
                              size_t count, unsigned sector_shift)
{
    size_t used = 0;
    for (size_t i = 0; i < count; i++)
    {
        uint64_t blocks = extents[i].len_bytes >> sector_shift;
        uint8_t status = extents[i].is_hole ? LBA_DEALLOCATED : LBA_MAPPED;
        uint8_t *last = list + 16 * used - 16;
        if (used && last[12] == status && wire_u32(last + 8) + blocks <= UINT32_MAX)
        {
            wire_put_u32(last + 8, wire_u32(last + 8) + blocks);
        }
        else
        {
            uint8_t *entry = list + 16 * used++;
            wire_put_u64(entry, lba);
            wire_put_u32(entry + 8, min_u64(blocks, UINT32_MAX));
            entry[12] = status;
        }
        if (blocks > UINT32_MAX)
            break;
        lba += blocks;
    }
    return used;
}

void cmd_get_lba_status(struct scsi_task *task)
{
    struct scsi_lu *lu = task->lu;
    uint64_t lba = wire_u64(task->cdb + 2);
    uint64_t count = command_block_count(lu);
    if (lba >= count)
    {
        sense_fail(task, SENSE_LBA_OUT_OF_RANGE);
        return;
    }
    struct lun_extent extents[LBA_STATUS_MAX];
    size_t found = 0;
    uint64_t offset = lba << lu->sector_shift;
    uint64_t len = (count - lba) << lu->sector_shift;
    int r = lun_extents(lu->handle, len, offset, extents, LBA_STATUS_MAX, &found);
    if (r < 0)
    {
        sense_fail_errno(task, r, false);
        return;
    }
    uint8_t data[8 + 16 * LBA_STATUS_MAX] = {0};
    size_t used = lba_status_fill(data + 8, lba, extents, found, lu->sector_shift);
    wire_put_u32(data, 4 + 16 * used);
    command_reply(task, data, 8 + 16 * used);
}

/* There are no defects that a host could know of: an empty list, in the format it asked for. */
void cmd_read_defects10(struct scsi_task *task)
{
    uint8_t data[4] = {0};
    data[1] = task->cdb[2] & DEFECT_REQUEST_MASK;
    command_reply(task, data, sizeof(data));
}

void cmd_read_defects12(struct scsi_task *task)
{
    uint8_t data[8] = {0};
    data[1] = task->cdb[1] & DEFECT_REQUEST_MASK;
    command_reply(task, data, sizeof(data));
}
