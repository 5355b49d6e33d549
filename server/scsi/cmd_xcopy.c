/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * EXTENDED COPY(LID1) and RECEIVE COPY RESULTS: block to block segments between units of this
 * target that the initiator sees, named by their NAA identifiers.
 */
#include <errno.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/scsi/thirdparty.h"

enum
{
    XCOPY_HEADER_BYTES = 16,
    CSCD_BYTES = 32,
    SEGMENT_BYTES = 28,
    LIST_ID_USAGE_NONE = 3,
    COPY_STATUS_DONE = 1,
    COPY_STATUS_FAILED = 2,
};

struct xcopy
{
    struct scsi_itl *units[COPY_TARGETS_MAX]; /* held; NULL: not reachable */
    size_t unit_count;
    const uint8_t *segments;
    size_t segment_count;
    uint16_t segments_done;
    uint64_t bytes_done;
    uint64_t bytes_before; /* were copied before there was no room, and are not again */
};

/* ---- parameter list ------------------------------------------------------------------------ */

/* False: sense is set. */
static bool xcopy_read_units(struct scsi_task *task, struct xcopy *copy, const uint8_t *list)
{
    for (size_t i = 0; i < copy->unit_count; i++)
    {
        const uint8_t *at = list + i * CSCD_BYTES;
        if (at[0] != TOKEN_DESIGNATOR)
        {
            sense_fail(task, SENSE_UNSUPPORTED_TARGET_TYPE);
            return false;
        }
        bool is_naa = (at[4] & 0xf) == 1 && (at[5] & 0x3f) == 3 && at[7] == 16;
        copy->units[i] = is_naa ? thirdparty_find(task->nexus, at + 8) : NULL;
    }
    return true;
}

static bool xcopy_check_segments(struct scsi_task *task, const struct xcopy *copy)
{
    for (size_t i = 0; i < copy->segment_count; i++)
    {
        const uint8_t *at = copy->segments + i * SEGMENT_BYTES;
        if (at[0] == COPY_BLOCK_TO_BLOCK && wire_u16(at + 2) == SEGMENT_BYTES - 4)
            continue;
        sense_fail(task, SENSE_UNSUPPORTED_SEGMENT_TYPE);
        return false;
    }
    return true;
}

/* A list of segments ends where its length says; other types may have other lengths. */
static bool xcopy_first_segment_known(struct scsi_task *task, const uint8_t *segments, size_t len)
{
    if (len == 0 || segments[0] == COPY_BLOCK_TO_BLOCK)
        return true;
    sense_fail(task, SENSE_UNSUPPORTED_SEGMENT_TYPE);
    return false;
}

/* False: sense is set, or there is nothing to do. */
static bool xcopy_read(struct scsi_task *task, struct xcopy *copy)
{
    const uint8_t *list = task->out;
    if (!command_has_parameters(task) || task->out_len == 0)
        return false;
    if (task->out_len < XCOPY_HEADER_BYTES)
    {
        sense_fail(task, SENSE_PARAMETER_LIST_LENGTH);
        return false;
    }
    uint64_t units_len = wire_u16(list + 2), segments_len = wire_u32(list + 8);
    uint64_t inline_len = wire_u32(list + 12);
    if (units_len + segments_len > COPY_LIST_BYTES_MAX ||
        units_len + segments_len + inline_len > task->out_len - XCOPY_HEADER_BYTES)
    {
        sense_fail(task, SENSE_PARAMETER_LIST_LENGTH);
        return false;
    }
    uint32_t code = 0;
    copy->segments = list + XCOPY_HEADER_BYTES + units_len;
    if (units_len % CSCD_BYTES)
        code = SENSE_PARAMETER_LIST_LENGTH;
    else if (units_len / CSCD_BYTES > COPY_TARGETS_MAX)
        code = SENSE_TOO_MANY_TARGETS;
    else if (segments_len / SEGMENT_BYTES > COPY_SEGMENTS_MAX)
        code = SENSE_TOO_MANY_SEGMENTS;
    else if (inline_len)
        code = SENSE_INLINE_DATA_LENGTH;
    if (code)
    {
        sense_fail(task, code);
        return false;
    }
    copy->unit_count = (size_t)units_len / CSCD_BYTES;
    copy->segment_count = (size_t)segments_len / SEGMENT_BYTES;
    if (!xcopy_read_units(task, copy, list + XCOPY_HEADER_BYTES) ||
        !xcopy_first_segment_known(task, copy->segments, (size_t)segments_len))
        return false;
    if (segments_len % SEGMENT_BYTES)
    {
        sense_fail(task, SENSE_PARAMETER_LIST_LENGTH);
        return false;
    }
    return xcopy_check_segments(task, copy);
}

/* ---- work ---------------------------------------------------------------------------------- */

/* 0 or the sense code with which the copy ends. */
static uint32_t xcopy_segment(struct scsi_task *task, struct xcopy *copy, const uint8_t *at)
{
    uint16_t from_index = wire_u16(at + 4), to_index = wire_u16(at + 6);
    if (from_index >= copy->unit_count || to_index >= copy->unit_count ||
        !copy->units[from_index] || !copy->units[to_index])
        return SENSE_COPY_TARGET_UNREACHABLE;
    struct scsi_itl *from = copy->units[from_index], *to = copy->units[to_index];
    if (thirdparty_refusal(from, false) || thirdparty_refusal(to, true))
        return SENSE_COPY_TARGET_UNREACHABLE;
    /* DC: the number of blocks is the destination's. */
    unsigned shift = (at[1] & 0x02 ? to : from)->lu->sector_shift;
    uint64_t len = (uint64_t)wire_u16(at + 10) << shift;
    uint64_t from_lba = wire_u64(at + 12), to_lba = wire_u64(at + 20);
    uint64_t from_blocks = div_round_up(len, from->lu->sector_bytes);
    uint64_t to_blocks = div_round_up(len, to->lu->sector_bytes);
    if (len % from->lu->sector_bytes || len % to->lu->sector_bytes ||
        !range_ok(from_lba, from_blocks, command_block_count(from->lu)) ||
        !range_ok(to_lba, to_blocks, command_block_count(to->lu)))
        return SENSE_COPY_ABORTED;
    uint64_t before = min_u64(copy->bytes_before, len), done = before;
    int r = thirdparty_copy(task, from->lu->handle, from_lba << from->lu->sector_shift,
                            to->lu->handle, to_lba << to->lu->sector_shift, len, &done);
    copy->bytes_before -= before;
    copy->bytes_done += done;
    qos_charge(from->lu->qos, done - before);
    qos_charge(to->lu->qos, done - before);
    return r < 0 ? SENSE_COPY_ABORTED : 0;
}

static void xcopy_note(struct scsi_task *task, const struct xcopy *copy, bool failed)
{
    const uint8_t *list = task->out;
    struct scsi_lu *lu = task->lu;
    AUTO_LOCK(&lu->lock);
    task->itl->copy = (struct copy_record){.is_valid = true,
                                           .list_id = list[0],
                                           .has_failed = failed,
                                           .segments = copy->segments_done,
                                           .bytes = copy->bytes_done};
}

void cmd_extended_copy(struct scsi_task *task)
{
    struct xcopy copy = {.bytes_before = task->done_bytes};
    if (xcopy_read(task, &copy))
    {
        uint32_t code = 0;
        for (size_t i = 0; !code && i < copy.segment_count; i++)
        {
            code = xcopy_segment(task, &copy, copy.segments + i * SEGMENT_BYTES);
            if (!code)
                copy.segments_done++;
        }
        if (code)
            sense_fail_information(task, code, copy.segments_done);
        if (!task->lacks_room)
            xcopy_note(task, &copy, code != 0);
    }
    for (size_t i = 0; i < copy.unit_count; i++)
        if (copy.units[i])
            itl_release(copy.units[i]);
}

/* ---- RECEIVE COPY RESULTS ------------------------------------------------------------------ */

void cmd_copy_operating_parameters(struct scsi_task *task)
{
    uint8_t data[46] = {0};
    wire_put_u32(data, sizeof(data) - 4);
    data[4] = 0x01; /* SNLID: a list without an identifier is supported */
    wire_put_u16(data + 8, COPY_TARGETS_MAX);
    wire_put_u16(data + 10, COPY_SEGMENTS_MAX);
    wire_put_u32(data + 12, COPY_LIST_BYTES_MAX);
    wire_put_u32(data + 16, UINT32_C(0xffff) * SCSI_PHYSICAL_BYTES); /* of one segment */
    wire_put_u16(data + 34, TOKENS_MAX); /* concurrent copies in total */
    data[36] = TOKENS_MAX;               /* of one initiator */
    data[37] = 9;                        /* data segment granularity: 512 */
    data[43] = 2;                        /* descriptor types */
    data[44] = COPY_BLOCK_TO_BLOCK;
    data[45] = TOKEN_DESIGNATOR;
    command_reply(task, data, sizeof(data));
}

void cmd_copy_status(struct scsi_task *task)
{
    struct scsi_lu *lu = task->lu;
    lock_take(&lu->lock);
    struct copy_record record = task->itl->copy;
    lock_release(&lu->lock);
    if (!record.is_valid || record.list_id != task->cdb[2])
    {
        sense_fail_cdb(task, 2, -1);
        return;
    }
    uint8_t data[12] = {0};
    wire_put_u32(data, sizeof(data) - 4);
    data[4] = record.has_failed ? COPY_STATUS_FAILED : COPY_STATUS_DONE;
    wire_put_u16(data + 5, record.segments);
    data[7] = 1; /* the count is in KiB */
    wire_put_u32(data + 8, min_u64(record.bytes >> 10, UINT32_MAX));
    command_reply(task, data, sizeof(data));
}

/* No segment keeps data for the host. */
void cmd_receive_copy_data(struct scsi_task *task)
{
    sense_fail_cdb(task, 2, -1);
}

/* The details went with the sense data of the copy. */
void cmd_failed_segment_details(struct scsi_task *task)
{
    sense_fail_cdb(task, 2, -1);
}
