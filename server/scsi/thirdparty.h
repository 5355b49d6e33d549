/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copies inside the target, as EXTENDED COPY and the token commands share them.
 *
 * Data goes through a buffer; copying by reference is the engine's business and comes later. A hole
 * of the source becomes a hole of the destination.
 */
#ifndef SERVER_SCSI_THIRDPARTY_H
#define SERVER_SCSI_THIRDPARTY_H

#include "server/scsi/scsi_internal.h"

enum
{
    COPY_TARGETS_MAX = 16,
    COPY_SEGMENTS_MAX = 32,
    COPY_LIST_BYTES_MAX = 2048,
    TOKEN_RANGES_MAX = 64,
    TOKEN_TIMEOUT_DEFAULT_S = 60,
    TOKEN_TIMEOUT_MAX_S = 300,
    TOKENS_MAX = 64,
    TOKEN_DESIGNATOR = 0xe4, /* CSCD descriptor: identification */
    COPY_BLOCK_TO_BLOCK = 0x02,
};

#define TOKEN_TRANSFER_MAX_BYTES (UINT64_C(256) << 20)
#define TOKEN_TYPE_SNAPSHOT 0x00800000u /* point in time copy */
#define TOKEN_TYPE_ZERO 0xffff0001u

/* Body of VPD page 8Fh. Returns its length. */
size_t thirdparty_vpd(const struct scsi_lu *lu, uint8_t *bytes, size_t room);

/* The unit with this NAA identifier, if @nexus sees it: held until itl_release(). NULL: no. */
struct scsi_itl *thirdparty_find(struct scsi_nexus *nexus, const uint8_t *naa);

/* Why a copy may not read from (or @write to) the unit: a sense code, or 0. */
uint32_t thirdparty_refusal(struct scsi_itl *itl, bool write);

/*
 * Copies @len bytes but for the first *done, which counts on, also on an error; and notes it for
 * the next attempt (room.h). -ECANCELED: @task was aborted. Ranges may overlap, like memmove()'s.
 */
MUST_CHECK int thirdparty_copy(struct scsi_task *task, struct lun *from, uint64_t from_offset,
                               struct lun *to, uint64_t to_offset, uint64_t len, uint64_t *done);

/* Notes of tokens' snapshots: "scsi/odx/" and the snapshot's name. */
#define ODX_STORE_PREFIX "scsi/odx/"

#endif
