/* SPDX-License-Identifier: BSD-3-Clause */
/* The tasks that wait for room, and the thread that looks for it while there are any. */
#include "server/scsi/room.h"

#include <pthread.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/env.h"

enum
{
    ROOM_LOOK_MS = 100,
    ROOM_WAKE_TASKS = 4, /* of one unit at once, before one of them has found room */
    ROOM_STEP_BYTES = 1 << 20,
};

/* What runs on this thread; NULL on those of background work, which may wait. */
static _Thread_local struct scsi_task *room_task;
static _Thread_local bool room_is_trying; /* a part of it, which is not to wait */

static uint64_t room_now_ns(void)
{
    return env_passed_ns(env_system());
}

/* ---- looking for room ---------------------------------------------------------------------- */

/* Lets up to @max tasks without room in @lu (NULL: any) try again, if their time has come. The
 * caller holds target->lock. */
static void room_wake_locked(struct scsi_target *target, const struct scsi_lu *lu, unsigned max,
                             uint64_t before_ns)
{
    unsigned woken = 0;
    list_for_each (task, &target->roomless, struct scsi_task, room_link)
    {
        if (woken == max)
            return;
        if (lu && task->room_lu != lu)
            continue;
        AUTO_LOCK(&task->lu->lock);
        if (task->state != TASK_DORMANT || task->is_aborted || task->room_end_ns > before_ns)
            continue;
        task_go_on_locked(task);
        woken++;
    }
}

/* The next unit with such tasks that this round has not looked at, for whose look it is in use. */
static struct scsi_lu *room_next_lu(struct scsi_target *target, uint64_t round)
{
    AUTO_LOCK(&target->lock);
    list_for_each (task, &target->roomless, struct scsi_task, room_link)
    {
        struct scsi_lu *lu = task->room_lu;
        if (lu->room_round == round)
            continue;
        lu->room_round = round;
        lu->use_count++;
        return lu;
    }
    return NULL;
}

static void room_look(struct scsi_target *target, uint64_t round)
{
    struct scsi_lu *lu;
    while ((lu = room_next_lu(target, round)) != NULL)
    {
        bool is_to_retry = lun_is_to_retry(lu->handle);
        AUTO_LOCK(&target->lock);
        if (is_to_retry)
            room_wake_locked(target, lu, ROOM_WAKE_TASKS, UINT64_MAX);
        lu_put_locked(lu);
    }
    AUTO_LOCK(&target->lock);
    room_wake_locked(target, NULL, UINT32_MAX, room_now_ns());
}

/* The round to do now, or 0: nobody waits any more. */
static uint64_t room_await_round(struct scsi_target *target)
{
    AUTO_LOCK(&target->lock);
    condition_wait_ms(&target->background_ended, &target->lock, ROOM_LOOK_MS);
    if (!list_is_empty(&target->roomless))
        return ++target->room_round;
    target->is_looking_for_room = false;
    target->background_count--;
    condition_wake_all(&target->background_ended);
    return 0;
}

static void *room_thread(void *opaque)
{
    uint64_t round;
    while ((round = room_await_round(opaque)) != 0)
        room_look(opaque, round);
    return NULL;
}

/* ---- a task -------------------------------------------------------------------------------- */

void room_init(struct scsi_task *task)
{
    task->lacks_room = false;
    task->is_resumed = false;
    task->room_lu = NULL;
    task->room_end_ns = 0;
    task->done_bytes = 0;
}

void room_leave(struct scsi_task *task)
{
    struct scsi_lu *lu = task->room_lu;
    if (!lu)
        return;
    struct scsi_target *target = lu->target;
    lun_wait_end(lu->handle);
    AUTO_LOCK(&target->lock);
    list_remove(&task->room_link);
    task->room_lu = NULL;
    /* Where one found room, the next may. */
    if (task->status == SCSI_GOOD)
        room_wake_locked(target, lu, ROOM_WAKE_TASKS, UINT64_MAX);
    lu_put_locked(lu);
}

/* False: there is nobody to look for room. */
static bool room_enter(struct scsi_task *task, struct scsi_lu *lu)
{
    struct scsi_target *target = lu->target;
    AUTO_LOCK(&target->lock);
    if (!target->is_looking_for_room)
    {
        pthread_t thread;
        if (target->is_stopping || pthread_create(&thread, NULL, room_thread, target) != 0)
            return false;
        pthread_detach(thread);
        target->is_looking_for_room = true;
        target->background_count++;
    }
    lu->use_count++;
    task->room_lu = lu;
    list_add_tail(&target->roomless, &task->room_link);
    return true;
}

/* It found none once more: others of its unit are looked at before it again. */
static void room_requeue(struct scsi_task *task)
{
    struct scsi_target *target = task->room_lu->target;
    AUTO_LOCK(&target->lock);
    list_remove(&task->room_link);
    list_add_tail(&target->roomless, &task->room_link);
}

static bool room_is_aborted(struct scsi_task *task)
{
    AUTO_LOCK(&task->lu->lock);
    return task->is_aborted;
}

bool room_is_over_cb(void *opaque, int reason)
{
    struct scsi_lu *lu = opaque;
    struct scsi_task *task = room_task;
    if (!task)
        return false;
    if (room_is_trying)
        return true;
    uint64_t now = room_now_ns();
    if (room_is_aborted(task) ||
        (task->room_lu == lu && task->room_end_ns && now >= task->room_end_ns))
        return true;
    if (task->room_lu == lu)
    {
        room_requeue(task);
    }
    else
    {
        room_leave(task);
        task->room_end_ns = 0;
        if (!room_enter(task, lu))
            return true;
        lun_wait_begin(lu->handle, reason);
    }
    if (task->room_end_ns == 0)
        task->room_end_ns = now + lun_pause_ms(lu->handle) * 1000000;
    task->lacks_room = true;
    return true;
}

enum scsi_step room_run(struct scsi_task *task)
{
    task->lacks_room = false;
    room_task = task;
    task_command(task)->run(task);
    room_task = NULL;
    if (!task->lacks_room || task->status == SCSI_GOOD)
        return SCSI_DONE;
    AUTO_LOCK(&task->lu->lock);
    if (task->is_aborted)
        return SCSI_DONE;
    task->status = SCSI_GOOD;
    task->sense_len = 0;
    task->is_resumed = true;
    task->state = TASK_DORMANT;
    return SCSI_DORMANT;
}

bool scsi_lacks_room(const struct scsi_task *task)
{
    return task->room_lu;
}

void room_note_done(struct scsi_task *task, uint64_t bytes)
{
    task->done_bytes += bytes;
    task->room_end_ns = 0;
}

int room_write(struct scsi_task *task, const void *buf, size_t len, uint64_t offset, unsigned flags)
{
    struct lun *handle = task->lu->handle;
    size_t at = (size_t)task->done_bytes;
    bool in_steps = len - at > ROOM_STEP_BYTES && lun_pause_ms(handle) != 0;
    if (at == 0 && !in_steps)
        return lun_write(handle, buf, len, offset, flags);
    const uint8_t *bytes = buf;
    int r = 0;
    while (r == 0 && at < len)
    {
        size_t step = in_steps ? (size_t)min_u64(len - at, ROOM_STEP_BYTES) : len - at;
        r = lun_write(handle, bytes + at, step, offset + at, 0);
        at += step;
        if (r == 0)
            room_note_done(task, step);
    }
    return r == 0 && flags & LUN_FUA ? lun_flush(handle) : r;
}

int room_try_write(struct scsi_task *task, const void *buf, size_t len, uint64_t offset)
{
    room_task = task;
    room_is_trying = true;
    int r = lun_write(task->lu->handle, buf, len, offset, 0);
    room_is_trying = false;
    room_task = NULL;
    if (r == 0)
        room_note_done(task, len);
    return r;
}
