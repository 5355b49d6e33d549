/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes that begin while their data still comes.
 *
 * A part is taken only if nothing speaks against it at that moment: what does (an attention, a
 * reservation, an older task, no room, an error) is not judged here. The part is left alone then,
 * and the execution of the whole command comes to it again, says what is wrong, or waits. So there
 * is one place for every status, and a command without a taken part is as if nothing had been
 * asked.
 */
#include "lun/base/checked.h"
#include "server/scsi/room.h"
#include "server/scsi/scsi_internal.h"

bool piece_is_allowed(const struct scsi_task *task)
{
    const struct scsi_command *command = task_command(task);
    bool is_fua = command->cdb_len > 6 && task->cdb[1] & 0x08;
    return command->run == cmd_write && task->lu && !is_fua;
}

static bool piece_may_be_taken(struct scsi_task *task)
{
    struct scsi_lu *lu = task->lu;
    uint32_t code;
    AUTO_LOCK(&lu->lock);
    if (task->is_aborted || task->state != TASK_WAITING || !task_has_turn_locked(task))
        return false;
    /* With the first part the command has begun: what comes up later is for the next one. */
    if (!task->is_resumed && ua_peek_locked(task->itl, &code))
        return false;
    return !lu->mode.write_cache_disabled && !lu_reservation_conflict_locked(task) &&
           lu->sanitize == SANITIZE_IDLE && !lu_not_ready_locked(lu) &&
           !lu_write_protected_locked(lu);
}

bool scsi_take_piece(struct scsi_task *task, const void *bytes, size_t len)
{
    struct scsi_range range;
    if (!task->takes_pieces || task->status != SCSI_GOOD || !piece_may_be_taken(task))
        return false;
    bool is_taken = command_range(task, &range) &&
                    range_ok(task->done_bytes, len, range.len_bytes) &&
                    room_try_write(task, bytes, len, range.offset_bytes + task->done_bytes) == 0;
    task->status = SCSI_GOOD;
    task->sense_len = 0;
    task->is_resumed |= is_taken;
    return is_taken;
}
