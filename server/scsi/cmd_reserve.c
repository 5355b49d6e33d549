/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RESERVE and RELEASE of SPC-2. A reservation ends with a release, a reset, or the nexus. With
 * persistent registrations there they conflict, and the other way round (CRH is 0).
 */
#include "server/scsi/scsi_internal.h"

void cmd_reserve(struct scsi_task *task)
{
    struct scsi_lu *lu = task->lu;
    AUTO_LOCK(&lu->lock);
    if (lu->pr.count > 0 || task->itl->is_detached)
        task->status = SCSI_RESERVATION_CONFLICT;
    else
        lu->reserved_by = task->itl; /* another's was checked for already */
    lu_update_fence_locked(lu);
}

/* Of another's reservation: without effect, and no error. */
void cmd_release(struct scsi_task *task)
{
    struct scsi_lu *lu = task->lu;
    AUTO_LOCK(&lu->lock);
    if (lu->pr.count > 0)
        task->status = SCSI_RESERVATION_CONFLICT;
    else if (lu->reserved_by == task->itl)
        lu->reserved_by = NULL;
    lu_update_fence_locked(lu);
}
