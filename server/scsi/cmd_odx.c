/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * POPULATE TOKEN, WRITE USING TOKEN, RECEIVE ROD TOKEN INFORMATION: copies that a host (Windows)
 * leaves to the target. They end before status is sent; IMMED only allows sooner.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "server/scsi/odx.h"
#include "server/scsi/room.h"
#include "server/scsi/vpd.h"

enum
{
    POPULATE_HEADER_BYTES = 16,
    WRITE_HEADER_BYTES = 536,
    RANGE_BYTES = 16,
    TOKEN_LENGTH = ODX_TOKEN_BYTES - 8,
    TOKEN_SECRET_AT = 128,
    STATUS_DONE = 0x01,
    STATUS_FAILED = 0x02,
    INFORMATION_BYTES = 32,
    COUNT_IN_BLOCKS = 0xf1,
};

/* ---- ranges -------------------------------------------------------------------------------- */

/* Checks and reads block device range descriptors. False: sense is set. */
static bool odx_read_ranges(struct scsi_task *task, size_t at, size_t len, struct odx_range *ranges,
                            size_t *count, uint64_t *sum)
{
    const uint8_t *list = task->out;
    struct scsi_lu *lu = task->lu;
    if (len % RANGE_BYTES || len > task->out_len - at)
    {
        sense_fail_parameter(task, SENSE_INVALID_PARAMETER, (unsigned)(at - 2));
        return false;
    }
    *count = len / RANGE_BYTES;
    *sum = 0;
    if (*count > TOKEN_RANGES_MAX)
    {
        sense_fail(task, SENSE_TOO_MANY_SEGMENTS);
        return false;
    }
    for (size_t i = 0; i < *count; i++)
    {
        const uint8_t *range = list + at + i * RANGE_BYTES;
        uint64_t lba = wire_u64(range), blocks = wire_u32(range + 8);
        if (!range_ok(lba, blocks, command_block_count(lu)))
        {
            sense_fail(task, SENSE_LBA_OUT_OF_RANGE);
            return false;
        }
        ranges[i].offset_bytes = lba << lu->sector_shift;
        ranges[i].len_bytes = blocks << lu->sector_shift;
        *sum += ranges[i].len_bytes;
    }
    if (*sum > 0 && *sum <= TOKEN_TRANSFER_MAX_BYTES)
        return true;
    sense_fail_parameter(task, SENSE_INVALID_PARAMETER, (unsigned)(at - 2));
    return false;
}

/* The lengths at the start of the list agree with what came. False: sense is set. */
static bool odx_check_list(struct scsi_task *task, size_t header)
{
    const uint8_t *list = task->out;
    if (!command_has_parameters(task))
        return false;
    if (task->out_len >= header && wire_u16(list) + 2u <= task->out_len)
        return true;
    sense_fail(task, SENSE_PARAMETER_LIST_LENGTH);
    return false;
}

static void odx_note(struct scsi_task *task, struct odx_result *result, uint64_t bytes)
{
    result->port = task->nexus->port;
    result->lun_id = task->lu->lun_id;
    result->list_id = wire_u32(task->cdb + 6);
    result->action = (uint8_t)task_command(task)->action;
    result->status = task->status == SCSI_GOOD ? STATUS_DONE : STATUS_FAILED;
    result->blocks = bytes >> task->lu->sector_shift;
    result->sense_len = task->sense_len;
    memcpy(result->sense, task->sense, sizeof(result->sense));
    odx_result_put(task->lu->target->tokens, result);
}

/* ---- POPULATE TOKEN ------------------------------------------------------------------------ */

static void odx_write_token(const struct scsi_lu *lu, const struct odx_token *token, uint8_t *at)
{
    memset(at, 0, ODX_TOKEN_BYTES);
    wire_put_u32(at, TOKEN_TYPE_SNAPSHOT);
    wire_put_u16(at + 6, TOKEN_LENGTH);
    wire_put_u64(at + 8, token->id);
    at[16] = TOKEN_DESIGNATOR; /* who made it */
    at[20] = 1;
    at[21] = 3;
    at[23] = VPD_NAA_BYTES;
    vpd_naa(lu, at + 24);
    wire_put_u64(at + 56, token->len_bytes);
    wire_put_u32(at + 96, token->sector_bytes);
    memcpy(at + TOKEN_SECRET_AT, token->secret, ODX_SECRET_BYTES);
}

static bool odx_populate_check(struct scsi_task *task, struct odx_token *token)
{
    const uint8_t *list = task->out;
    if (!odx_check_list(task, POPULATE_HEADER_BYTES))
        return false;
    if (list[2] & 0x02 && wire_u32(list + 8) != TOKEN_TYPE_SNAPSHOT)
    {
        sense_fail_parameter(task, SENSE_INVALID_PARAMETER, 8);
        return false;
    }
    token->timeout_s = wire_u32(list + 4);
    if (token->timeout_s > TOKEN_TIMEOUT_MAX_S)
    {
        sense_fail_parameter(task, SENSE_INVALID_PARAMETER, 4);
        return false;
    }
    if (token->timeout_s == 0)
        token->timeout_s = TOKEN_TIMEOUT_DEFAULT_S;
    return odx_read_ranges(task, POPULATE_HEADER_BYTES, wire_u16(list + 14), token->ranges,
                           &token->range_count, &token->len_bytes);
}

void cmd_populate_token(struct scsi_task *task)
{
    struct scsi_lu *lu = task->lu;
    AUTO_FREE struct odx_token *token = calloc(1, sizeof(*token));
    AUTO_FREE struct odx_result *result = calloc(1, sizeof(*result));
    if (!token || !result)
    {
        task->status = SCSI_BUSY;
        return;
    }
    if (!odx_populate_check(task, token))
        return;
    uint64_t bytes = token->len_bytes;
    odx_write_token(lu, token, result->token);
    int r = odx_token_create(lu->target->tokens, lu, token);
    if (r < 0)
    {
        sense_fail_errno(task, r, true);
        bytes = 0;
    }
    else
    {
        wire_put_u64(result->token + 8, token->id);
        memcpy(result->token + TOKEN_SECRET_AT, token->secret, ODX_SECRET_BYTES);
        result->has_token = true;
        take_ptr(&token); /* the table's now */
    }
    odx_note(task, result, bytes);
}

/* ---- WRITE USING TOKEN --------------------------------------------------------------------- */

/* Where the token's byte @at lies, and how many bytes are there in one piece. */
static uint64_t odx_locate(const struct odx_token *token, uint64_t at, uint64_t *run)
{
    size_t i = 0;
    while (at >= token->ranges[i].len_bytes)
        at -= token->ranges[i++].len_bytes;
    *run = token->ranges[i].len_bytes - at;
    return token->ranges[i].offset_bytes + at;
}

/* All of it or nothing; *done was 0 or is all of it. */
static int odx_zero(struct scsi_task *task, uint64_t offset, uint64_t len, uint64_t *done)
{
    int r = *done < len ? lun_zero(task->lu->handle, len, offset, LUN_MAY_UNMAP) : 0;
    if (r == 0 && *done < len)
        room_note_done(task, len);
    if (r == 0)
        *done = len;
    return r;
}

/* Fills @ranges from the token's byte @at on. @token NULL: with zeros. */
static int odx_fill(struct scsi_task *task, const struct odx_token *token, uint64_t at,
                    const struct odx_range *ranges, size_t count, uint64_t *done)
{
    struct lun *to = task->lu->handle;
    uint64_t before = task->done_bytes; /* done before there was no room, and not again */
    for (size_t i = 0; i < count; i++)
    {
        uint64_t offset = ranges[i].offset_bytes, left = ranges[i].len_bytes;
        while (left > 0)
        {
            uint64_t run = left;
            uint64_t from = token ? odx_locate(token, at, &run) : 0;
            run = min_u64(run, left);
            uint64_t run_before = min_u64(before, run), run_done = run_before;
            int r = token ? thirdparty_copy(task, token->handle, from, to, offset, run, &run_done)
                          : odx_zero(task, offset, run, &run_done);
            before -= run_before;
            *done += run_done;
            if (token)
                qos_charge(task->lu->qos, run_done - run_before);
            if (r < 0)
                return r;
            at += run;
            offset += run;
            left -= run;
        }
    }
    return 0;
}

/* The token of the list, NULL for the one of zeros. False: sense is set. */
static bool odx_find_token(struct scsi_task *task, struct odx_token **token)
{
    const uint8_t *at = (const uint8_t *)task->out + 16;
    uint32_t type = wire_u32(at);
    uint32_t code = 0;
    if (wire_u16(at + 6) != TOKEN_LENGTH)
        code = SENSE_TOKEN_LENGTH;
    else if (type != TOKEN_TYPE_ZERO && type != TOKEN_TYPE_SNAPSHOT)
        code = SENSE_TOKEN_UNSUPPORTED_TYPE;
    else if (type == TOKEN_TYPE_SNAPSHOT &&
             odx_token_get(task->lu->target->tokens, wire_u64(at + 8), at + TOKEN_SECRET_AT,
                           token) < 0)
        code = SENSE_TOKEN_UNKNOWN;
    if (code)
        sense_fail(task, code);
    return !code;
}

static void odx_write(struct scsi_task *task, struct odx_token *token, struct odx_result *result)
{
    const uint8_t *list = task->out;
    struct odx_range ranges[TOKEN_RANGES_MAX];
    size_t count = 0;
    uint64_t sum = 0, done = 0, at = 0;
    if (!odx_read_ranges(task, WRITE_HEADER_BYTES, wire_u16(list + 534), ranges, &count, &sum))
        return;
    if (!checked_mul(wire_u64(list + 8), task->lu->sector_bytes, &at) ||
        (token && !range_ok(at, sum, token->len_bytes)))
    {
        sense_fail_parameter(task, SENSE_INVALID_PARAMETER, 8);
        return;
    }
    int r = odx_fill(task, token, at, ranges, count, &done);
    if (r < 0)
        sense_fail_errno(task, r, true);
    if (!task->lacks_room)
        odx_note(task, result, done);
}

void cmd_write_using_token(struct scsi_task *task)
{
    const uint8_t *list = task->out;
    AUTO_FREE struct odx_result *result = calloc(1, sizeof(*result));
    if (!result)
    {
        task->status = SCSI_BUSY;
        return;
    }
    struct odx_token *token = NULL;
    if (!odx_check_list(task, WRITE_HEADER_BYTES) || !odx_find_token(task, &token))
        return;
    odx_write(task, token, result);
    if (token)
        odx_token_put(task->lu->target->tokens, token, list[2] & 0x02 && task->status == SCSI_GOOD);
}

/* ---- RECEIVE ROD TOKEN INFORMATION --------------------------------------------------------- */

void cmd_rod_token_information(struct scsi_task *task)
{
    AUTO_FREE struct odx_result *result = calloc(1, sizeof(*result));
    if (!result)
    {
        task->status = SCSI_BUSY;
        return;
    }
    if (!odx_result_get(task->lu->target->tokens, &task->nexus->port, task->lu->lun_id,
                        wire_u32(task->cdb + 2), result))
    {
        sense_fail_cdb(task, 2, -1);
        return;
    }
    uint8_t data[INFORMATION_BYTES + SCSI_SENSE_MAX + 4 + 2 + ODX_TOKEN_BYTES] = {0};
    data[4] = result->action;
    data[5] = result->status;
    wire_put_u32(data + 8, UINT32_MAX); /* no estimate is needed: it is over */
    data[13] = result->sense_len;
    data[14] = result->sense_len;
    data[15] = COUNT_IN_BLOCKS;
    wire_put_u64(data + 16, result->blocks);
    size_t len = INFORMATION_BYTES;
    memcpy(data + len, result->sense, result->sense_len);
    len += result->sense_len;
    wire_put_u32(data + len, result->has_token ? 2 + ODX_TOKEN_BYTES : 0);
    len += 4;
    if (result->has_token)
    {
        memcpy(data + len + 2, result->token, ODX_TOKEN_BYTES);
        len += 2 + ODX_TOKEN_BYTES;
    }
    wire_put_u32(data, len - 4);
    command_reply(task, data, len);
}
