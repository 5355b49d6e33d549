/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Task management.
 *
 * A function marks the tasks that it is about, which takes effect at once, and is done when all
 * aborted tasks of its unit (or of all units) have ended: a bit more than it must wait for, never
 * less.
 */
#include "lun/base/cleanup.h"
#include "server/scsi/scsi_internal.h"

/* Of every unit that the nexus sees. */
typedef void tmf_itl_fn(struct scsi_itl *itl, struct scsi_tmf *tmf);

static void tmf_abort_task_set_locked(struct scsi_itl *itl, struct scsi_tmf *tmf)
{
    task_abort_all_locked(itl->lu, tmf->nexus, NULL);
}

/* Others whose tasks go learn it by a unit attention (TAS is 0). */
static void tmf_clear_task_set_locked(struct scsi_itl *itl, struct scsi_tmf *tmf)
{
    list_for_each (task, &itl->lu->tasks, struct scsi_task, set_link)
        if (task->nexus != tmf->nexus && !task->is_aborted && !task->itl->is_detached)
            ua_add_locked(task->itl, ATTENTION_COMMANDS_CLEARED);
    task_abort_all_locked(itl->lu, NULL, NULL);
}

static void tmf_reset_locked(struct scsi_itl *itl, struct scsi_tmf *tmf)
{
    task_abort_all_locked(itl->lu, NULL, NULL);
    lu_reset_locked(itl->lu);
    ua_add_all_locked(
        itl->lu, tmf->function == SCSI_TMF_LUN_RESET ? ATTENTION_LUN_RESET : ATTENTION_TARGET_RESET,
        NULL);
}

static void tmf_nexus_reset_locked(struct scsi_itl *itl, struct scsi_tmf *tmf)
{
    struct scsi_lu *lu = itl->lu;
    task_abort_all_locked(lu, tmf->nexus, NULL);
    if (lu->reserved_by == itl)
        lu->reserved_by = NULL;
    lu_update_fence_locked(lu);
    if (itl->prevents_removal)
    {
        itl->prevents_removal = false;
        lu->prevent_count--;
    }
    ua_add_locked(itl, ATTENTION_POWER_ON);
}

static void tmf_for_each_itl(struct scsi_tmf *tmf, tmf_itl_fn *each)
{
    AUTO_LOCK(&tmf->nexus->lock);
    for (size_t i = 0; i < tmf->nexus->itl_count; i++)
    {
        struct scsi_itl *itl = tmf->nexus->itls[i];
        lock_take(&itl->lu->lock);
        each(itl, tmf);
        lock_release(&itl->lu->lock);
    }
}

static void tmf_on_lun(struct scsi_tmf *tmf, tmf_itl_fn *each)
{
    AUTO_LOCK(&tmf->nexus->lock);
    struct scsi_itl *itl = nexus_find_itl_locked(tmf->nexus, tmf->lun);
    if (!itl)
    {
        tmf->response = SCSI_TMF_NO_LUN;
        return;
    }
    tmf->lu = itl->lu;
    lock_take(&itl->lu->lock);
    each(itl, tmf);
    lock_release(&itl->lu->lock);
}

static void tmf_query_task_set_locked(struct scsi_itl *itl, struct scsi_tmf *tmf)
{
    list_for_each (task, &itl->lu->tasks, struct scsi_task, set_link)
        if (task->nexus == tmf->nexus && !task->is_aborted)
            tmf->response = SCSI_TMF_SUCCEEDED;
}

static void tmf_on_task(struct scsi_tmf *tmf)
{
    struct scsi_task *task = tmf->task;
    bool query = tmf->function == SCSI_TMF_QUERY_TASK;
    if (!task || !task->lu)
    {
        tmf->response = query ? SCSI_TMF_COMPLETE : SCSI_TMF_NO_TASK;
        return;
    }
    AUTO_LOCK(&task->lu->lock);
    if (query)
    {
        tmf->response = task->is_aborted ? SCSI_TMF_COMPLETE : SCSI_TMF_SUCCEEDED;
        return;
    }
    task_abort_locked(task);
    tmf->lu = task->lu;
}

static void tmf_apply(struct scsi_tmf *tmf)
{
    switch ((enum scsi_tmf_function)tmf->function)
    {
    case SCSI_TMF_ABORT_TASK:
    case SCSI_TMF_QUERY_TASK:
        tmf_on_task(tmf);
        return;
    case SCSI_TMF_ABORT_TASK_SET:
        tmf_on_lun(tmf, tmf_abort_task_set_locked);
        return;
    case SCSI_TMF_CLEAR_TASK_SET:
        tmf_on_lun(tmf, tmf_clear_task_set_locked);
        return;
    case SCSI_TMF_QUERY_TASK_SET:
        tmf_on_lun(tmf, tmf_query_task_set_locked);
        return;
    case SCSI_TMF_LUN_RESET:
        tmf_on_lun(tmf, tmf_reset_locked);
        return;
    case SCSI_TMF_TARGET_WARM_RESET:
    case SCSI_TMF_TARGET_COLD_RESET:
        tmf_for_each_itl(tmf, tmf_reset_locked);
        return;
    case SCSI_TMF_I_T_NEXUS_RESET:
        tmf_for_each_itl(tmf, tmf_nexus_reset_locked);
        return;
    case SCSI_TMF_CLEAR_ACA:
    case SCSI_TMF_QUERY_ASYNC_EVENT:
        break;
    }
    tmf->response = SCSI_TMF_NOT_SUPPORTED;
}

/* Does not look at the nexus, which may be gone. The caller holds wait_lock. */
static bool tmf_waits_locked(const struct scsi_target *target, const struct scsi_tmf *tmf)
{
    if (tmf->response != SCSI_TMF_COMPLETE || tmf->function == SCSI_TMF_QUERY_TASK ||
        tmf->function == SCSI_TMF_QUERY_TASK_SET)
        return false;
    return (tmf->lu ? tmf->lu->aborted_count : target->aborted_count) > 0;
}

void scsi_tmf_start(struct scsi_tmf *tmf)
{
    struct scsi_target *target = tmf->nexus->target;
    tmf->response = SCSI_TMF_COMPLETE;
    tmf->lu = NULL;
    list_init(&tmf->link);
    tmf_apply(tmf);
    lock_take(&target->wait_lock);
    bool waits = tmf_waits_locked(target, tmf);
    if (waits)
        list_add_tail(&target->waiting, &tmf->link);
    lock_release(&target->wait_lock);
    if (!waits)
        tmf->done(tmf);
}

void tmf_check_waiting(struct scsi_target *target)
{
    struct list done;
    list_init(&done);
    lock_take(&target->wait_lock);
    list_for_each_safe (tmf, &target->waiting, struct scsi_tmf, link)
    {
        if (tmf_waits_locked(target, tmf))
            continue;
        list_remove(&tmf->link);
        list_add_tail(&done, &tmf->link);
    }
    lock_release(&target->wait_lock);
    while (!list_is_empty(&done))
    {
        struct scsi_tmf *tmf = container_of(done.next, struct scsi_tmf, link);
        list_remove(&tmf->link);
        tmf->done(tmf);
    }
}
