/* SPDX-License-Identifier: BSD-3-Clause */
/* Copies inside the target: what is offered (VPD 8Fh), who may, and the copying. */
#include "server/scsi/thirdparty.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"
#include "server/copy.h"
#include "server/scsi/room.h"
#include "server/scsi/vpd.h"

enum
{
    LIMITS_BYTES = 36,
    PARAMETERS_BYTES = 32,
    TOKEN_FEATURES_BYTES = 48,
    ROD_TYPE_BYTES = 64,
    ROD_TYPES_BYTES = 2 * ROD_TYPE_BYTES,
    GENERAL_BYTES = 36,
    TOKEN_IN_OUT = 0x03, /* TOKEN_IN, TOKEN_OUT */
    SEGMENT_GRANULARITY_LOG2 = 9,
};

/* ---- VPD ----------------------------------------------------------------------------------- */

static uint8_t *thirdparty_descriptor(uint8_t *bytes, size_t *len, uint16_t type, size_t bytes_len)
{
    uint8_t *at = bytes + *len;
    wire_put_u16(at, type);
    wire_put_u16(at + 2, bytes_len - 4);
    *len += bytes_len;
    return at;
}

/* The opcodes and service actions that the command table has of this family. */
static void thirdparty_commands(uint8_t *bytes, size_t *len)
{
    uint8_t *at = thirdparty_descriptor(bytes, len, 0x0001, 4);
    size_t used = 5;
    for (unsigned opcode = 0x83; opcode <= 0x84; opcode++)
    {
        uint8_t *entry = at + used;
        entry[0] = (uint8_t)opcode;
        used += 2;
        for (size_t i = 0; i < scsi_command_count; i++)
            if (scsi_commands[i].opcode == opcode)
                at[used + entry[1]++] = (uint8_t)scsi_commands[i].action;
        used += entry[1];
    }
    at[4] = (uint8_t)(used - 5);
    size_t padded = round_up(used, 4);
    wire_put_u16(at + 2, padded - 4);
    *len += padded - 4;
}

size_t thirdparty_vpd(const struct scsi_lu *lu, uint8_t *bytes, size_t room)
{
    INVARIANT(room >= 512);
    size_t len = 0;
    uint8_t *at = thirdparty_descriptor(bytes, &len, 0x0000, LIMITS_BYTES);
    wire_put_u16(at + 10, TOKEN_RANGES_MAX);
    wire_put_u32(at + 12, TOKEN_TIMEOUT_MAX_S);
    wire_put_u32(at + 16, TOKEN_TIMEOUT_DEFAULT_S);
    wire_put_u64(at + 20, TOKEN_TRANSFER_MAX_BYTES >> lu->sector_shift);
    wire_put_u64(at + 28, TOKEN_TRANSFER_MAX_BYTES >> lu->sector_shift);
    thirdparty_commands(bytes, &len);
    at = thirdparty_descriptor(bytes, &len, 0x0004, PARAMETERS_BYTES);
    wire_put_u16(at + 8, COPY_TARGETS_MAX);
    wire_put_u16(at + 10, COPY_SEGMENTS_MAX);
    wire_put_u32(at + 12, COPY_LIST_BYTES_MAX);
    at = thirdparty_descriptor(bytes, &len, 0x0008, 8);
    at[4] = 2;
    at[5] = COPY_BLOCK_TO_BLOCK;
    at[6] = TOKEN_DESIGNATOR;
    at = thirdparty_descriptor(bytes, &len, 0x0106, TOKEN_FEATURES_BYTES);
    wire_put_u32(at + 16, 1);
    wire_put_u32(at + 20, TOKEN_TIMEOUT_MAX_S);
    wire_put_u32(at + 24, TOKEN_TIMEOUT_MAX_S);
    at = thirdparty_descriptor(bytes, &len, 0x0108, 8 + ROD_TYPES_BYTES);
    wire_put_u16(at + 6, ROD_TYPES_BYTES);
    wire_put_u32(at + 8, TOKEN_TYPE_SNAPSHOT);
    at[8 + 4] = TOKEN_IN_OUT;
    wire_put_u32(at + 8 + ROD_TYPE_BYTES, TOKEN_TYPE_ZERO);
    at[8 + ROD_TYPE_BYTES + 4] = TOKEN_IN_OUT & 2;
    at = thirdparty_descriptor(bytes, &len, 0x8001, GENERAL_BYTES);
    wire_put_u32(at + 4, TOKENS_MAX);
    wire_put_u32(at + 8, TOKENS_MAX);
    wire_put_u32(at + 12, UINT32_C(0xffff) << lu->sector_shift);
    at[16] = SEGMENT_GRANULARITY_LOG2;
    return len;
}

/* ---- who ----------------------------------------------------------------------------------- */

struct scsi_itl *thirdparty_find(struct scsi_nexus *nexus, const uint8_t *naa)
{
    AUTO_LOCK(&nexus->lock);
    for (size_t i = 0; i < nexus->itl_count; i++)
    {
        uint8_t own[VPD_NAA_BYTES];
        vpd_naa(nexus->itls[i]->lu, own);
        if (memcmp(own, naa, sizeof(own)) != 0)
            continue;
        itl_hold(nexus->itls[i]);
        return nexus->itls[i];
    }
    return NULL;
}

uint32_t thirdparty_refusal(struct scsi_itl *itl, bool write)
{
    struct scsi_lu *lu = itl->lu;
    AUTO_LOCK(&lu->lock);
    bool reserved = lu->reserved_by && lu->reserved_by != itl;
    if (lu->pr.type != PR_NONE && !itl->is_holder &&
        !(itl->is_registered && pr_type_registrants(lu->pr.type)))
        reserved = reserved || write || pr_type_exclusive_access(lu->pr.type);
    if (reserved || lu->sanitize != SANITIZE_IDLE)
        return SENSE_COPY_TARGET_UNREACHABLE;
    uint32_t code = lu_not_ready_locked(lu);
    return code || !write ? code : lu_write_protected_locked(lu);
}

/* ---- copying ------------------------------------------------------------------------------- */

static bool copy_is_aborted(struct scsi_task *task)
{
    AUTO_LOCK(&task->lu->lock);
    return task->is_aborted;
}

/* A step that finds no room is done again, so it must not change what it reads. */
static uint64_t copy_step_bytes(const struct lun *from, uint64_t from_offset, const struct lun *to,
                                uint64_t to_offset)
{
    uint64_t apart = to_offset > from_offset ? to_offset - from_offset : from_offset - to_offset;
    if (from != to || apart == 0 || apart >= SCSI_COPY_STEP_BYTES || lun_pause_ms(to) == 0)
        return SCSI_COPY_STEP_BYTES;
    return apart;
}

int thirdparty_copy(struct scsi_task *task, struct lun *from, uint64_t from_offset, struct lun *to,
                    uint64_t to_offset, uint64_t len, uint64_t *done)
{
    AUTO_FREE uint8_t *buf = malloc(SCSI_COPY_STEP_BYTES);
    if (!buf)
        return -ENOMEM;
    /* From the end if the destination lies behind the source in it. */
    bool backwards = to_offset > from_offset && to_offset - from_offset < len;
    uint64_t step_max = copy_step_bytes(from, from_offset, to, to_offset);
    for (uint64_t copied = *done; copied < len;)
    {
        if (copy_is_aborted(task))
            return -ECANCELED;
        size_t step = (size_t)min_u64(len - copied, step_max);
        uint64_t at = backwards ? len - copied - step : copied;
        int r = copy_step(from, from_offset + at, to, to_offset + at, step, buf);
        if (r < 0)
            return r;
        copied += step;
        *done += step;
        room_note_done(task, step);
    }
    return 0;
}
