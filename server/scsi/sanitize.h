/* SPDX-License-Identifier: BSD-3-Clause */
/* SANITIZE leaves a note in the store while it runs. */
#ifndef SERVER_SCSI_SANITIZE_H
#define SERVER_SCSI_SANITIZE_H

#include "server/scsi/scsi_internal.h"

/* Keys begin so: "scsi/sanitize/" and 16 digits of the LUN's id. */
#define SANITIZE_STORE_PREFIX "scsi/sanitize/"

/* Whether one ran when the server ended: the LUN is partly overwritten. */
bool sanitize_was_interrupted(struct scsi_lu *lu);

#endif
