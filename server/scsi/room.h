/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes that find no room, in a volume that pauses when it is full.
 *
 * Such a task waits without a thread: its attempt ends, the task becomes dormant, and when there
 * may be room (or the volume's time for waiting is over) it is run again from its beginning. So one
 * LUN without room holds up no other, however many tasks wait, and an abort ends it at once.
 *
 * What a command must keep to, therefore:
 *  - run once more, it does the same; what has been done for good it notes by room_note_done(), and
 *    leaves out the first task->done_bytes the next time;
 *  - with task->lacks_room after a failed write it leaves no trace but status and sense.
 */
#ifndef SERVER_SCSI_ROOM_H
#define SERVER_SCSI_ROOM_H

#include "server/scsi/scsi_internal.h"

/* The lun_is_over_fn of all units' handles, @opaque is the unit. */
bool room_is_over_cb(void *opaque, int reason);

void room_init(struct scsi_task *task);
/* Runs the command. SCSI_DONE, or SCSI_DORMANT: it waits for room. */
MUST_CHECK enum scsi_step room_run(struct scsi_task *task);
/* At the end of a task. */
void room_leave(struct scsi_task *task);

/* The next time a command is run it leaves these out, too; and it may wait anew. */
void room_note_done(struct scsi_task *task, uint64_t bytes);
/* lun_write() to the task's unit, for commands that do nothing else. */
MUST_CHECK int room_write(struct scsi_task *task, const void *buf, size_t len, uint64_t offset,
                          unsigned flags);
/* A part of such a write, before the command is run. It waits for no room, and notes what is done.
 */
MUST_CHECK int room_try_write(struct scsi_task *task, const void *buf, size_t len, uint64_t offset);

#endif
