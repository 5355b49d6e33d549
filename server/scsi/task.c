/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tasks and task sets: who may run when (SAM-5 section 8), and the checks before a command runs.
 *
 *     NEW -- begin --> WAITING -- execute_inline --> CLAIMED -- execute --> RUNNING -- end --> gone
 *                        |  ^ \_______________________ execute ______________^
 *             not its turn  | task_wake_locked()                         |
 *                        v  |                                            |
 *                      DORMANT <------------- no room (room.c) ----------'
 *
 * Abort (task_abort_locked) sets is_aborted in any state; who is not on a worker is put into the
 * nexus's changed list, so that its transport drops it.
 */
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "server/scsi/room.h"
#include "server/scsi/scsi_internal.h"

/* ---- order --------------------------------------------------------------------------------- */

static bool task_is_strict(const struct scsi_task *task)
{
    return task->attribute == SCSI_ORDERED || task->attribute == SCSI_HEAD_OF_QUEUE;
}

/*
 * HEAD OF QUEUE runs at once; ORDERED when nothing is older; SIMPLE when nothing older is ORDERED
 * or HEAD OF QUEUE. The list has the older ones first. Aborted ones count until they have ended:
 * they may still be writing.
 */
bool task_has_turn_locked(const struct scsi_task *task)
{
    const struct scsi_lu *lu = task->lu;
    if (lu->strict_count == 0 || task->attribute == SCSI_HEAD_OF_QUEUE)
        return true;
    if (task->attribute == SCSI_ORDERED)
        return lu->tasks.next == &task->set_link;
    list_for_each (older, &lu->tasks, struct scsi_task, set_link)
    {
        if (older == task)
            break;
        if (task_is_strict(older))
            return false;
    }
    return true;
}

static void task_announce(struct scsi_task *task)
{
    struct scsi_nexus *nexus = task->nexus;
    AUTO_LOCK(&nexus->changed_lock);
    if (nexus->is_detached)
        return;
    if (list_is_empty(&task->changed_link))
        list_add_tail(&nexus->changed_tasks, &task->changed_link);
    nexus->changed(nexus->opaque);
}

void task_go_on_locked(struct scsi_task *task)
{
    task->state = TASK_WAITING;
    task_announce(task);
}

void task_wake_locked(struct scsi_lu *lu)
{
    list_for_each (task, &lu->tasks, struct scsi_task, set_link)
    {
        if (task->state != TASK_DORMANT || task->is_aborted || !task_has_turn_locked(task))
            continue;
        task_go_on_locked(task);
    }
}

void task_abort_locked(struct scsi_task *task)
{
    if (task->is_aborted)
        return;
    task->is_aborted = true;
    struct scsi_target *target = task->lu->target;
    lock_take(&target->wait_lock);
    task->lu->aborted_count++;
    target->aborted_count++;
    lock_release(&target->wait_lock);
    condition_wake_all(&task->lu->changed);
    if (task->state == TASK_WAITING || task->state == TASK_DORMANT)
        task_announce(task);
}

void task_abort_all_locked(struct scsi_lu *lu, const struct scsi_nexus *only,
                           const struct scsi_task *except)
{
    list_for_each (task, &lu->tasks, struct scsi_task, set_link)
        if ((!only || task->nexus == only) && task != except)
            task_abort_locked(task);
}

enum scsi_change scsi_nexus_next_changed(struct scsi_nexus *nexus, struct scsi_task **task)
{
    lock_take(&nexus->changed_lock);
    struct scsi_task *found = NULL;
    if (!list_is_empty(&nexus->changed_tasks))
    {
        found = container_of(nexus->changed_tasks.next, struct scsi_task, changed_link);
        list_remove(&found->changed_link);
    }
    lock_release(&nexus->changed_lock);
    if (!found)
        return SCSI_CHANGE_NONE;
    *task = found;
    AUTO_LOCK(&found->lu->lock);
    return found->is_aborted ? SCSI_CHANGE_ABORTED : SCSI_CHANGE_RUNNABLE;
}

/* ---- begin --------------------------------------------------------------------------------- */

/* Puts the task into the set of the unit it is for. False: the set is full. */
static bool task_enter_locked(struct scsi_task *task, struct scsi_itl *itl)
{
    struct scsi_lu *lu = itl->lu;
    AUTO_LOCK(&lu->lock);
    if (lu->task_count >= SCSI_TASK_SET_MAX)
        return false;
    task->itl = itl;
    task->lu = lu;
    task->descriptor_sense = lu->mode.descriptor_sense;
    itl->task_count++;
    lu->task_count++;
    if (task_is_strict(task))
        lu->strict_count++;
    if (task->attribute == SCSI_HEAD_OF_QUEUE)
        list_add_head(&lu->tasks, &task->set_link);
    else
        list_add_tail(&lu->tasks, &task->set_link);
    task->state = TASK_WAITING;
    return true;
}

/* False: its status is set already. */
static bool task_enter(struct scsi_task *task)
{
    struct scsi_nexus *nexus = task->nexus;
    AUTO_LOCK(&nexus->lock);
    struct scsi_itl *itl = nexus_find_itl_locked(nexus, task->lun);
    if (itl && task_enter_locked(task, itl))
        return true;
    nexus->references++;
    task->state = TASK_WAITING;
    if (!itl)
        return true;
    task->status = SCSI_TASK_SET_FULL;
    return false;
}

enum scsi_step scsi_task_begin(struct scsi_task *task)
{
    task->command = NULL;
    task->itl = NULL;
    task->lu = NULL;
    task->state = TASK_NEW;
    task->is_aborted = false;
    task->descriptor_sense = false;
    task->out_wanted = task->in_max = task->transfer_len = 0;
    task->takes_pieces = false;
    task->out = task->in = NULL;
    task->out_len = task->in_capacity = task->in_len = 0;
    task->loan = NULL;
    task->is_lent = false;
    task->qos = NULL;
    task->io = 0;
    task->io_bytes = 0;
    task->status = SCSI_GOOD;
    task->sense_len = 0;
    list_init(&task->set_link);
    list_init(&task->changed_link);
    room_init(task);
    if (!task_enter(task))
        return SCSI_DONE;
    const struct scsi_command *command = dispatch_find(task);
    if (!task->lu && !(command && command->flags & CMD_NO_LUN))
    {
        sense_fail(task, SENSE_LUN_NOT_SUPPORTED);
        return SCSI_DONE;
    }
    /*
     * A CDB that is refused still waits for its turn: a unit attention or a reservation conflict
     * is to be reported in its place. It takes no data.
     */
    if (!command)
        return SCSI_GO;
    task->command = command;
    if (!dispatch_measure(task))
    {
        task->out_wanted = task->in_max = 0;
        return SCSI_GO;
    }
    task->takes_pieces = piece_is_allowed(task);
    if (task->lu && task->lu->qos)
        dispatch_weigh(task);
    return SCSI_GO;
}

/* ---- checks and execution ------------------------------------------------------------------ */

static bool task_may_run_inline_locked(const struct scsi_task *task)
{
    const struct scsi_command *command = task_command(task);
    if (!command || task->status != SCSI_GOOD)
        return true;
    if (command->flags & CMD_BLOCKS)
        return false;
    if (!(command->flags & CMD_SMALL_INLINE))
        return true;
    /* What is left of a write that was taken in pieces is one more of them. */
    uint64_t out_max = task->done_bytes ? SCSI_PIECE_MAX_BYTES : SCSI_INLINE_MAX_BYTES;
    if (task->out_wanted - task->done_bytes > out_max || task->in_max > SCSI_INLINE_MAX_BYTES)
        return false;
    /* A write that must be durable waits for a flush. FUA is this bit in all CDBs but 6 byte ones.
     */
    bool is_fua =
        (command->cdb_len > 6 && task->cdb[1] & 0x08) || task->lu->mode.write_cache_disabled;
    return !(command->flags & CMD_WRITES && is_fua);
}

/*
 * Everything that can stop a command before it begins, in the order of SAM-5 and SPC-4: unit
 * attention, reservation, CDB, state of the medium. False: status is set.
 */
static bool task_check_locked(struct scsi_task *task)
{
    struct scsi_lu *lu = task->lu;
    const struct scsi_command *command = task_command(task);
    uint32_t code;
    task->descriptor_sense = lu->mode.descriptor_sense;
    unsigned flags = command ? command->flags : 0;
    if (!task->is_resumed && !(flags & CMD_IGNORES_ATTENTION) && ua_take_locked(task->itl, &code))
    {
        sense_fail(task, code);
        return false;
    }
    if (!command)
        return false;
    if (lu_reservation_conflict_locked(task))
    {
        task->status = SCSI_RESERVATION_CONFLICT;
        task->sense_len = 0;
        return false;
    }
    if (task->status != SCSI_GOOD)
        return false;
    if (lu->sanitize != SANITIZE_IDLE && !(flags & CMD_WHILE_SANITIZE))
    {
        sense_set(task, &(struct sense){.code = lu->sanitize == SANITIZE_RUNNING
                                                    ? SENSE_SANITIZE_IN_PROGRESS
                                                    : SENSE_SANITIZE_FAILED,
                                        .has_progress = lu->sanitize == SANITIZE_RUNNING,
                                        .progress = lu->sanitize_progress});
        return false;
    }
    code = flags & CMD_MEDIUM ? lu_not_ready_locked(lu) : 0;
    if (!code && flags & CMD_WRITES)
        code = lu_write_protected_locked(lu);
    if (code)
        sense_fail(task, code);
    return !code;
}

static enum scsi_step task_run_without_lu(struct scsi_task *task)
{
    if (task->status == SCSI_GOOD)
        task_command(task)->run(task);
    return SCSI_DONE;
}

/* False: *step is what to return. True: the command is to be run. */
static bool task_start(struct scsi_task *task, bool may_block, enum scsi_step *step)
{
    *step = SCSI_DONE;
    AUTO_LOCK(&task->lu->lock);
    if (task->is_aborted)
        return false;
    if (task->state != TASK_CLAIMED && !task_has_turn_locked(task))
    {
        task->state = TASK_DORMANT;
        *step = SCSI_DORMANT;
        return false;
    }
    if (!may_block && !task_may_run_inline_locked(task))
    {
        task->state = TASK_CLAIMED;
        *step = SCSI_WOULD_BLOCK;
        return false;
    }
    task->state = TASK_RUNNING;
    return task_check_locked(task);
}

static enum scsi_step task_execute(struct scsi_task *task, bool may_block)
{
    if (!task->lu)
        return task_run_without_lu(task);
    enum scsi_step step;
    return task_start(task, may_block, &step) ? room_run(task) : step;
}

enum scsi_step scsi_execute_inline(struct scsi_task *task)
{
    return task_execute(task, false);
}

enum scsi_step scsi_execute(struct scsi_task *task)
{
    return task_execute(task, true);
}

/* ---- end ----------------------------------------------------------------------------------- */

/* True: it was the last task of a detached ITL, which is then to be freed. */
static bool task_leave_locked(struct scsi_task *task)
{
    struct scsi_lu *lu = task->lu;
    bool somebody_waits = lu->strict_count > 0; /* perhaps; without such tasks nobody does */
    task->state = TASK_NEW;
    list_remove(&task->set_link);
    lu->task_count--;
    if (task_is_strict(task))
        lu->strict_count--;
    struct scsi_nexus *nexus = task->nexus;
    lock_take(&nexus->changed_lock);
    list_remove(&task->changed_link);
    lock_release(&nexus->changed_lock);
    if (task->is_aborted)
    {
        lock_take(&lu->target->wait_lock);
        lu->aborted_count--;
        lu->target->aborted_count--;
        lock_release(&lu->target->wait_lock);
        condition_wake_all(&lu->changed);
    }
    if (somebody_waits)
        task_wake_locked(lu);
    return --task->itl->task_count == 0 && task->itl->is_detached;
}

bool scsi_task_end(struct scsi_task *task)
{
    struct scsi_lu *lu = task->lu;
    if (!lu)
    {
        INVARIANT(task->state != TASK_NEW);
        task->state = TASK_NEW;
        nexus_put(task->nexus);
        return true;
    }
    struct scsi_target *target = lu->target;
    room_leave(task);
    lock_take(&lu->lock);
    INVARIANT(task->state != TASK_NEW);
    bool was_aborted = task->is_aborted;
    bool is_last = task_leave_locked(task);
    lock_release(&lu->lock);
    if (was_aborted)
        tmf_check_waiting(target); /* before the unit may be freed, which they point to */
    if (is_last)
        itl_free(task->itl);
    return !was_aborted;
}

static bool task_takes_data(const struct scsi_task *task)
{
    switch (task->command ? task_command(task)->length : LEN_NONE)
    {
    case LEN_PARAMETERS:
    case LEN_WRITE:
    case LEN_COMPARE:
    case LEN_WRITE_SAME:
    case LEN_VERIFY:
        return true;
    default:
        return false;
    }
}

int64_t scsi_task_residual(const struct scsi_task *task)
{
    uint64_t expected = task_takes_data(task) ? task->edtl_out : task->edtl_in;
    /* Data announced in the wrong direction was not moved either. */
    if (task->transfer_len == 0)
        expected = max_u64(task->edtl_out, task->edtl_in);
    return (int64_t)task->transfer_len - (int64_t)expected;
}
