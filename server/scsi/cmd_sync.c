/* SPDX-License-Identifier: BSD-3-Clause */
/* SYNCHRONIZE CACHE, PRE-FETCH, START STOP UNIT, PREVENT ALLOW MEDIUM REMOVAL. */
#include "lun/base/checked.h"
#include "server/scsi/scsi_internal.h"

enum
{
    START_BIT = 0x01,
    LOEJ_BIT = 0x02,
    NO_FLUSH_BIT = 0x04,
};

/* With IMMED too it ends when it is done: sooner is only allowed, not asked. */
void cmd_synchronize_cache(struct scsi_task *task)
{
    struct scsi_range range;
    if (!command_range(task, &range))
        return;
    int r = lun_flush(task->lu->handle);
    if (r < 0)
        sense_fail_errno(task, r, true);
}

/* GOOD and not CONDITION MET, since the page cache promises nothing. */
void cmd_prefetch(struct scsi_task *task)
{
    struct scsi_lu *lu = task->lu;
    struct scsi_range range;
    if (!command_range(task, &range))
        return;
    uint64_t len = range.len_bytes;
    if (range.blocks == 0)
        len = (command_block_count(lu) << lu->sector_shift) - range.offset_bytes;
    int r = len ? lun_cache(lu->handle, len, range.offset_bytes) : 0;
    if (r < 0)
        sense_fail_errno(task, r, false);
}

/* The medium of a removable unit goes, or comes back. The caller holds the unit's lock. */
static uint32_t start_stop_move_locked(struct scsi_task *task, bool load)
{
    struct scsi_lu *lu = task->lu;
    if (!(lu->flags & ACCESS_LUN_REMOVABLE))
        return 0;
    if (lu->prevent_count > 0)
        return SENSE_REMOVAL_PREVENTED;
    if (lu->is_ejected == !load)
        return 0;
    lu->is_ejected = !load;
    if (load)
        ua_add_all_locked(lu, ATTENTION_MEDIUM_CHANGED, task->nexus);
    return 0;
}

/*
 * Other hosts may use the unit, so a STOP only flushes, as they cannot know of it. No power
 * condition has anything to act on; with one, START and LOEJ do not count.
 */
void cmd_start_stop(struct scsi_task *task)
{
    uint8_t bits = task->cdb[4], condition = bits >> 4;
    bool start = bits & START_BIT;
    if (!start && !(bits & NO_FLUSH_BIT) && !lun_is_read_only(task->lu->handle))
    {
        int r = lun_flush(task->lu->handle);
        if (r < 0)
        {
            sense_fail_errno(task, r, true);
            return;
        }
    }
    if (condition || !(bits & LOEJ_BIT))
        return;
    AUTO_LOCK(&task->lu->lock);
    uint32_t code = start_stop_move_locked(task, start);
    if (code)
        sense_fail(task, code);
}

void cmd_prevent_allow(struct scsi_task *task)
{
    uint8_t prevent = task->cdb[4] & 3;
    if (prevent > 1)
    {
        sense_fail_cdb(task, 4, 1);
        return;
    }
    struct scsi_lu *lu = task->lu;
    AUTO_LOCK(&lu->lock);
    if (task->itl->prevents_removal == (prevent == 1) || task->itl->is_detached)
        return;
    task->itl->prevents_removal = prevent == 1;
    if (prevent)
        lu->prevent_count++;
    else
        lu->prevent_count--;
}
