/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of commands.
 *
 * Dispatch, the check of reserved bits, data lengths, reservation conflicts, write protection and
 * REPORT SUPPORTED OPERATION CODES all read it, so that they cannot disagree. A bit that is not in
 * a command's usage mask must be zero: that is how RDPROTECT, WRPROTECT (no protection information
 * here), ANCHOR and NACA are refused. Order: by operation code and service action.
 */
#include <string.h>

#include "lun/base/checked.h"
#include "server/scsi/scsi_internal.h"

#define ALL4 0xff, 0xff, 0xff, 0xff
#define ALL8 ALL4, ALL4
#define GROUP                                                                                      \
    0x1f /* group numbers are allowed, and nothing is counted by them (GROUP_SUP is 0)             \
          */
/* Usage masks of the common shapes; byte 0 is the opcode, put in when it is reported. */
#define USAGE_NONE                                                                                 \
    {                                                                                              \
        0                                                                                          \
    }
#define USAGE_RW6                                                                                  \
    {                                                                                              \
        0, 0x1f, 0xff, 0xff, 0xff                                                                  \
    }
#define USAGE_RW10(flags)                                                                          \
    {                                                                                              \
        0, flags, ALL4, GROUP, 0xff, 0xff                                                          \
    }
#define USAGE_RW12(flags)                                                                          \
    {                                                                                              \
        0, flags, ALL4, ALL4, GROUP                                                                \
    }
#define USAGE_RW16(flags)                                                                          \
    {                                                                                              \
        0, flags, ALL8, ALL4, GROUP                                                                \
    }
/* A service action in byte 1 and a four byte length at byte 6 or 10. */
#define USAGE_SA6(byte2, byte3, byte4, byte5)                                                      \
    {                                                                                              \
        0, 0x1f, byte2, byte3, byte4, byte5, ALL4                                                  \
    }
#define USAGE_SA10                                                                                 \
    {                                                                                              \
        0, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, ALL4                                                      \
    }

#define DPO_FUA 0x18
#define WRITE_SAME_UNMAP 0x08
#define WRITE_SAME_NDOB 0x01
#define VERIFY_FLAGS 0x16 /* DPO, BYTCHK */
#define READ_FLAGS CMD_MEDIUM | CMD_SMALL_INLINE
#define WRITE_FLAGS CMD_MEDIUM | CMD_WRITES | CMD_SMALL_INLINE
#define SLOW_READ_FLAGS CMD_MEDIUM | CMD_BLOCKS
#define SLOW_WRITE_FLAGS CMD_MEDIUM | CMD_WRITES | CMD_BLOCKS

/* opcode, service action or -1, name, CDB length, data, where its length is, reservation, flags,
 * handler, usage */
#define ROW(code, sa, text, cdb, len, at, bytes, reserve, flag, handler, ...)                      \
    {                                                                                              \
        .opcode = code, .has_action = (sa) >= 0, .action = (sa) >= 0 ? (sa) : 0, .name = text,     \
        .cdb_len = cdb, .length = len, .length_at = at, .length_bytes = bytes,                     \
        .reservation = reserve, .flags = flag, .run = handler, .usage = __VA_ARGS__                \
    }

/* clang-format off */
const struct scsi_command scsi_commands[] = {
    ROW(0x00, -1, "TEST UNIT READY", 6, LEN_NONE, 0, 0, RESERVE_ALLOWED,
        CMD_MEDIUM, cmd_test_unit_ready, USAGE_NONE),
    ROW(0x03, -1, "REQUEST SENSE", 6, LEN_ALLOCATION, 4, 1, RESERVE_ALLOWED,
        CMD_NO_LUN | CMD_IGNORES_ATTENTION | CMD_OLD_RESERVE_OK | CMD_WHILE_SANITIZE,
        cmd_request_sense, {0, 0x01, 0, 0, 0xff}),
    ROW(0x08, -1, "READ(6)", 6, LEN_READ, 4, 1, RESERVE_READ, READ_FLAGS, cmd_read, USAGE_RW6),
    ROW(0x0a, -1, "WRITE(6)", 6, LEN_WRITE, 4, 1, RESERVE_WRITE, WRITE_FLAGS, cmd_write, USAGE_RW6),
    ROW(0x12, -1, "INQUIRY", 6, LEN_ALLOCATION, 3, 2, RESERVE_ALLOWED,
        CMD_NO_LUN | CMD_IGNORES_ATTENTION | CMD_OLD_RESERVE_OK | CMD_WHILE_SANITIZE,
        cmd_inquiry, {0, 0x01, 0xff, 0xff, 0xff}),
    ROW(0x15, -1, "MODE SELECT(6)", 6, LEN_PARAMETERS, 4, 1, RESERVE_WRITE, 0,
        cmd_mode_select, {0, 0x11, 0, 0, 0xff}),
    ROW(0x16, -1, "RESERVE(6)", 6, LEN_NONE, 0, 0, RESERVE_SELF, 0, cmd_reserve, USAGE_NONE),
    ROW(0x17, -1, "RELEASE(6)", 6, LEN_NONE, 0, 0, RESERVE_SELF, CMD_OLD_RESERVE_OK,
        cmd_release, USAGE_NONE),
    ROW(0x1a, -1, "MODE SENSE(6)", 6, LEN_ALLOCATION, 4, 1, RESERVE_WRITE, 0,
        cmd_mode_sense, {0, 0x08, 0xff, 0xff, 0xff}),
    ROW(0x1b, -1, "START STOP UNIT", 6, LEN_NONE, 0, 0, RESERVE_WRITE,
        CMD_BLOCKS | CMD_RESERVE_BY_START | CMD_OLD_RESERVE_OK,
        cmd_start_stop, {0, 0x01, 0, 0x0f, 0xf7}),
    ROW(0x1e, -1, "PREVENT ALLOW MEDIUM REMOVAL", 6, LEN_NONE, 0, 0, RESERVE_WRITE,
        CMD_RESERVE_BY_START | CMD_OLD_RESERVE_OK, cmd_prevent_allow, {0, 0, 0, 0, 0x03}),
    ROW(0x25, -1, "READ CAPACITY(10)", 10, LEN_FIXED, 8, 0, RESERVE_ALLOWED,
        CMD_MEDIUM | CMD_OLD_RESERVE_OK, cmd_read_capacity10, USAGE_NONE),
    ROW(0x28, -1, "READ(10)", 10, LEN_READ, 7, 2, RESERVE_READ, READ_FLAGS, cmd_read,
        USAGE_RW10(DPO_FUA)),
    ROW(0x2a, -1, "WRITE(10)", 10, LEN_WRITE, 7, 2, RESERVE_WRITE, WRITE_FLAGS, cmd_write,
        USAGE_RW10(DPO_FUA)),
    ROW(0x2e, -1, "WRITE AND VERIFY(10)", 10, LEN_WRITE, 7, 2, RESERVE_WRITE, SLOW_WRITE_FLAGS,
        cmd_write_verify, USAGE_RW10(VERIFY_FLAGS)),
    ROW(0x2f, -1, "VERIFY(10)", 10, LEN_VERIFY, 7, 2, RESERVE_READ, SLOW_READ_FLAGS, cmd_verify,
        USAGE_RW10(VERIFY_FLAGS)),
    ROW(0x34, -1, "PRE-FETCH(10)", 10, LEN_RANGE, 7, 2, RESERVE_READ, SLOW_READ_FLAGS,
        cmd_prefetch, USAGE_RW10(0x02)),
    ROW(0x35, -1, "SYNCHRONIZE CACHE(10)", 10, LEN_RANGE, 7, 2, RESERVE_WRITE, SLOW_READ_FLAGS,
        cmd_synchronize_cache, USAGE_RW10(0x06)),
    ROW(0x37, -1, "READ DEFECT DATA(10)", 10, LEN_ALLOCATION, 7, 2, RESERVE_READ, CMD_MEDIUM,
        cmd_read_defects10, {0, 0, 0x1f, 0, 0, 0, 0, 0xff, 0xff}),
    ROW(0x41, -1, "WRITE SAME(10)", 10, LEN_WRITE_SAME, 7, 2, RESERVE_WRITE, SLOW_WRITE_FLAGS,
        cmd_write_same, USAGE_RW10(0x08)),
    ROW(0x42, -1, "UNMAP", 10, LEN_PARAMETERS, 7, 2, RESERVE_WRITE, SLOW_WRITE_FLAGS, cmd_unmap,
        {0, 0, 0, 0, 0, 0, GROUP, 0xff, 0xff}),
    ROW(0x48, 0x01, "SANITIZE (OVERWRITE)", 10, LEN_PARAMETERS, 7, 2, RESERVE_WRITE,
        SLOW_WRITE_FLAGS | CMD_WHILE_SANITIZE, cmd_sanitize, {0, 0xbf, 0, 0, 0, 0, 0, 0xff, 0xff}),
    ROW(0x48, 0x02, "SANITIZE (BLOCK ERASE)", 10, LEN_PARAMETERS, 7, 2, RESERVE_WRITE,
        SLOW_WRITE_FLAGS | CMD_WHILE_SANITIZE, cmd_sanitize, {0, 0xbf, 0, 0, 0, 0, 0, 0xff, 0xff}),
    ROW(0x48, 0x1f, "SANITIZE (EXIT FAILURE MODE)", 10, LEN_PARAMETERS, 7, 2, RESERVE_WRITE,
        CMD_MEDIUM | CMD_WRITES | CMD_WHILE_SANITIZE, cmd_sanitize,
        {0, 0xbf, 0, 0, 0, 0, 0, 0xff, 0xff}),
    ROW(0x4d, -1, "LOG SENSE", 10, LEN_ALLOCATION, 7, 2, RESERVE_ALLOWED,
        CMD_OLD_RESERVE_OK | CMD_WHILE_SANITIZE, cmd_log_sense,
        {0, 0x01, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff}),
    ROW(0x55, -1, "MODE SELECT(10)", 10, LEN_PARAMETERS, 7, 2, RESERVE_WRITE, 0, cmd_mode_select,
        {0, 0x11, 0, 0, 0, 0, 0, 0xff, 0xff}),
    ROW(0x56, -1, "RESERVE(10)", 10, LEN_NONE, 0, 0, RESERVE_SELF, 0, cmd_reserve, USAGE_NONE),
    ROW(0x57, -1, "RELEASE(10)", 10, LEN_NONE, 0, 0, RESERVE_SELF, CMD_OLD_RESERVE_OK,
        cmd_release, USAGE_NONE),
    ROW(0x5a, -1, "MODE SENSE(10)", 10, LEN_ALLOCATION, 7, 2, RESERVE_WRITE, 0, cmd_mode_sense,
        {0, 0x18, 0xff, 0xff, 0, 0, 0, 0xff, 0xff}),
    ROW(0x5e, 0x00, "PERSISTENT RESERVE IN (READ KEYS)", 10, LEN_ALLOCATION, 7, 2,
        RESERVE_ALLOWED, CMD_WHILE_SANITIZE, cmd_pr_in, {0, 0x1f, 0, 0, 0, 0, 0, 0xff, 0xff}),
    ROW(0x5e, 0x01, "PERSISTENT RESERVE IN (READ RESERVATION)", 10, LEN_ALLOCATION, 7, 2,
        RESERVE_ALLOWED, CMD_WHILE_SANITIZE, cmd_pr_in, {0, 0x1f, 0, 0, 0, 0, 0, 0xff, 0xff}),
    ROW(0x5e, 0x02, "PERSISTENT RESERVE IN (REPORT CAPABILITIES)", 10, LEN_ALLOCATION, 7, 2,
        RESERVE_ALLOWED, CMD_WHILE_SANITIZE, cmd_pr_in, {0, 0x1f, 0, 0, 0, 0, 0, 0xff, 0xff}),
    ROW(0x5e, 0x03, "PERSISTENT RESERVE IN (READ FULL STATUS)", 10, LEN_ALLOCATION, 7, 2,
        RESERVE_ALLOWED, CMD_WHILE_SANITIZE, cmd_pr_in, {0, 0x1f, 0, 0, 0, 0, 0, 0xff, 0xff}),
    ROW(0x5f, 0x00, "PERSISTENT RESERVE OUT (REGISTER)", 10, LEN_PARAMETERS, 5, 4,
        RESERVE_SELF, CMD_BLOCKS | CMD_WHILE_SANITIZE, cmd_pr_out, {0, 0x1f, 0xff, 0, 0, ALL4}),
    ROW(0x5f, 0x01, "PERSISTENT RESERVE OUT (RESERVE)", 10, LEN_PARAMETERS, 5, 4,
        RESERVE_SELF, CMD_BLOCKS | CMD_WHILE_SANITIZE, cmd_pr_out, {0, 0x1f, 0xff, 0, 0, ALL4}),
    ROW(0x5f, 0x02, "PERSISTENT RESERVE OUT (RELEASE)", 10, LEN_PARAMETERS, 5, 4,
        RESERVE_SELF, CMD_BLOCKS | CMD_WHILE_SANITIZE, cmd_pr_out, {0, 0x1f, 0xff, 0, 0, ALL4}),
    ROW(0x5f, 0x03, "PERSISTENT RESERVE OUT (CLEAR)", 10, LEN_PARAMETERS, 5, 4,
        RESERVE_SELF, CMD_BLOCKS | CMD_WHILE_SANITIZE, cmd_pr_out, {0, 0x1f, 0xff, 0, 0, ALL4}),
    ROW(0x5f, 0x04, "PERSISTENT RESERVE OUT (PREEMPT)", 10, LEN_PARAMETERS, 5, 4,
        RESERVE_SELF, CMD_BLOCKS | CMD_WHILE_SANITIZE, cmd_pr_out, {0, 0x1f, 0xff, 0, 0, ALL4}),
    ROW(0x5f, 0x05, "PERSISTENT RESERVE OUT (PREEMPT AND ABORT)", 10, LEN_PARAMETERS, 5, 4,
        RESERVE_SELF, CMD_BLOCKS | CMD_WHILE_SANITIZE, cmd_pr_out, {0, 0x1f, 0xff, 0, 0, ALL4}),
    ROW(0x5f, 0x06, "PERSISTENT RESERVE OUT (REGISTER AND IGNORE EXISTING KEY)", 10,
        LEN_PARAMETERS, 5, 4, RESERVE_SELF, CMD_BLOCKS | CMD_WHILE_SANITIZE, cmd_pr_out,
        {0, 0x1f, 0xff, 0, 0, ALL4}),
    ROW(0x5f, 0x07, "PERSISTENT RESERVE OUT (REGISTER AND MOVE)", 10, LEN_PARAMETERS, 5, 4,
        RESERVE_SELF, CMD_BLOCKS | CMD_WHILE_SANITIZE, cmd_pr_out, {0, 0x1f, 0xff, 0, 0, ALL4}),
    ROW(0x83, 0x00, "EXTENDED COPY(LID1)", 16, LEN_PARAMETERS, 10, 4, RESERVE_WRITE,
        CMD_MEDIUM | CMD_BLOCKS, cmd_extended_copy, USAGE_SA10),
    ROW(0x83, 0x10, "POPULATE TOKEN", 16, LEN_PARAMETERS, 10, 4, RESERVE_READ,
        CMD_MEDIUM | CMD_BLOCKS, cmd_populate_token, {0, 0x1f, 0, 0, 0, 0, ALL8, GROUP}),
    ROW(0x83, 0x11, "WRITE USING TOKEN", 16, LEN_PARAMETERS, 10, 4, RESERVE_WRITE,
        SLOW_WRITE_FLAGS, cmd_write_using_token, {0, 0x1f, 0, 0, 0, 0, ALL8, GROUP}),
    ROW(0x84, 0x00, "RECEIVE COPY STATUS(LID1)", 16, LEN_ALLOCATION, 10, 4, RESERVE_WRITE, 0,
        cmd_copy_status, {0, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, ALL4}),
    ROW(0x84, 0x01, "RECEIVE COPY DATA(LID1)", 16, LEN_ALLOCATION, 10, 4, RESERVE_WRITE, 0,
        cmd_receive_copy_data, {0, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, ALL4}),
    ROW(0x84, 0x03, "RECEIVE COPY OPERATING PARAMETERS", 16, LEN_ALLOCATION, 10, 4,
        RESERVE_WRITE, 0, cmd_copy_operating_parameters, USAGE_SA10),
    ROW(0x84, 0x04, "RECEIVE COPY FAILURE DETAILS(LID1)", 16, LEN_ALLOCATION, 10, 4,
        RESERVE_WRITE, 0, cmd_failed_segment_details,
        {0, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, ALL4}),
    ROW(0x84, 0x07, "RECEIVE ROD TOKEN INFORMATION", 16, LEN_ALLOCATION, 10, 4, RESERVE_WRITE, 0,
        cmd_rod_token_information, {0, 0x1f, ALL4, 0, 0, 0, 0, ALL4}),
    ROW(0x88, -1, "READ(16)", 16, LEN_READ, 10, 4, RESERVE_READ, READ_FLAGS, cmd_read,
        USAGE_RW16(DPO_FUA)),
    ROW(0x89, -1, "COMPARE AND WRITE", 16, LEN_COMPARE, 13, 1, RESERVE_WRITE, SLOW_WRITE_FLAGS,
        cmd_compare_and_write, {0, DPO_FUA, ALL8, 0, 0, 0, 0xff, GROUP}),
    ROW(0x8a, -1, "WRITE(16)", 16, LEN_WRITE, 10, 4, RESERVE_WRITE, WRITE_FLAGS, cmd_write,
        USAGE_RW16(DPO_FUA)),
    ROW(0x8b, -1, "ORWRITE(16)", 16, LEN_WRITE, 10, 4, RESERVE_WRITE, SLOW_WRITE_FLAGS,
        cmd_orwrite, USAGE_RW16(DPO_FUA)),
    ROW(0x8e, -1, "WRITE AND VERIFY(16)", 16, LEN_WRITE, 10, 4, RESERVE_WRITE, SLOW_WRITE_FLAGS,
        cmd_write_verify, USAGE_RW16(VERIFY_FLAGS)),
    ROW(0x8f, -1, "VERIFY(16)", 16, LEN_VERIFY, 10, 4, RESERVE_READ, SLOW_READ_FLAGS, cmd_verify,
        USAGE_RW16(VERIFY_FLAGS)),
    ROW(0x90, -1, "PRE-FETCH(16)", 16, LEN_RANGE, 10, 4, RESERVE_READ, SLOW_READ_FLAGS,
        cmd_prefetch, USAGE_RW16(0x02)),
    ROW(0x91, -1, "SYNCHRONIZE CACHE(16)", 16, LEN_RANGE, 10, 4, RESERVE_WRITE, SLOW_READ_FLAGS,
        cmd_synchronize_cache, USAGE_RW16(0x06)),
    ROW(0x93, -1, "WRITE SAME(16)", 16, LEN_WRITE_SAME, 10, 4, RESERVE_WRITE, SLOW_WRITE_FLAGS,
        cmd_write_same, USAGE_RW16(0x09)),
    ROW(0x9c, -1, "WRITE ATOMIC(16)", 16, LEN_WRITE, 12, 2, RESERVE_WRITE, SLOW_WRITE_FLAGS,
        cmd_write_atomic, USAGE_RW16(DPO_FUA)),
    ROW(0x9e, 0x10, "READ CAPACITY(16)", 16, LEN_ALLOCATION, 10, 4, RESERVE_ALLOWED,
        CMD_MEDIUM | CMD_OLD_RESERVE_OK, cmd_read_capacity16, USAGE_SA10),
    ROW(0x9e, 0x12, "GET LBA STATUS", 16, LEN_ALLOCATION, 10, 4, RESERVE_READ, SLOW_READ_FLAGS,
        cmd_get_lba_status, {0, 0x1f, ALL8, ALL4}),
    ROW(0xa0, -1, "REPORT LUNS", 12, LEN_ALLOCATION, 6, 4, RESERVE_ALLOWED,
        CMD_NO_LUN | CMD_IGNORES_ATTENTION | CMD_OLD_RESERVE_OK | CMD_WHILE_SANITIZE,
        cmd_report_luns, {0, 0, 0xff, 0, 0, 0, ALL4}),
    ROW(0xa3, 0x0a, "REPORT TARGET PORT GROUPS", 12, LEN_ALLOCATION, 6, 4, RESERVE_ALLOWED,
        CMD_WHILE_SANITIZE, cmd_report_port_groups, {0, 0xff, 0, 0, 0, 0, ALL4}),
    ROW(0xa3, 0x0c, "REPORT SUPPORTED OPERATION CODES", 12, LEN_ALLOCATION, 6, 4, RESERVE_ALLOWED,
        CMD_WHILE_SANITIZE, cmd_report_opcodes, USAGE_SA6(0x87, 0xff, 0xff, 0xff)),
    ROW(0xa3, 0x0d, "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", 12, LEN_ALLOCATION, 6, 4,
        RESERVE_ALLOWED, CMD_WHILE_SANITIZE, cmd_report_tmfs, USAGE_SA6(0x80, 0, 0, 0)),
    ROW(0xa8, -1, "READ(12)", 12, LEN_READ, 6, 4, RESERVE_READ, READ_FLAGS, cmd_read,
        USAGE_RW12(DPO_FUA)),
    ROW(0xaa, -1, "WRITE(12)", 12, LEN_WRITE, 6, 4, RESERVE_WRITE, WRITE_FLAGS, cmd_write,
        USAGE_RW12(DPO_FUA)),
    ROW(0xae, -1, "WRITE AND VERIFY(12)", 12, LEN_WRITE, 6, 4, RESERVE_WRITE, SLOW_WRITE_FLAGS,
        cmd_write_verify, USAGE_RW12(VERIFY_FLAGS)),
    ROW(0xaf, -1, "VERIFY(12)", 12, LEN_VERIFY, 6, 4, RESERVE_READ, SLOW_READ_FLAGS, cmd_verify,
        USAGE_RW12(VERIFY_FLAGS)),
    ROW(0xb7, -1, "READ DEFECT DATA(12)", 12, LEN_ALLOCATION, 6, 4, RESERVE_READ, CMD_MEDIUM,
        cmd_read_defects12, {0, 0x1f, ALL4, ALL4}),
};
/* clang-format on */

const size_t scsi_command_count = ARRAY_SIZE(scsi_commands);

/* ---- look-up ------------------------------------------------------------------------------- */

/* The first row of an opcode: the table is in order. NULL: there is none. */
static const struct scsi_command *dispatch_first(uint8_t opcode)
{
    size_t low = 0, high = ARRAY_SIZE(scsi_commands);
    while (low < high)
    {
        size_t middle = (low + high) / 2;
        if (scsi_commands[middle].opcode < opcode)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == ARRAY_SIZE(scsi_commands) || scsi_commands[low].opcode != opcode)
        return NULL;
    return &scsi_commands[low];
}

const struct scsi_command *dispatch_lookup(uint8_t opcode, uint16_t action)
{
    const struct scsi_command *end = scsi_commands + ARRAY_SIZE(scsi_commands);
    for (const struct scsi_command *command = dispatch_first(opcode);
         command && command < end && command->opcode == opcode; command++)
        if (!command->has_action || command->action == action)
            return command;
    return NULL;
}

const struct scsi_command *dispatch_find(struct scsi_task *task)
{
    uint8_t opcode = task->cdb[0];
    const struct scsi_command *command = dispatch_lookup(opcode, task->cdb[1] & 0x1f);
    if (command)
        return command;
    if (dispatch_first(opcode))
        sense_fail_cdb(task, 1, 4);
    else
        sense_fail(task, SENSE_INVALID_OPCODE);
    return NULL;
}

/* ---- bits and lengths ---------------------------------------------------------------------- */

static bool dispatch_check_bits(struct scsi_task *task)
{
    const struct scsi_command *command = task_command(task);
    for (unsigned i = 1; i < command->cdb_len; i++)
    {
        unsigned unknown = task->cdb[i] & ~command->usage[i];
        if (!unknown)
            continue;
        sense_fail_cdb(task, i, 31 - __builtin_clz(unknown));
        return false;
    }
    if (task->attribute == SCSI_ACA)
    {
        sense_fail_cdb(task, command->cdb_len - 1u, 2);
        return false;
    }
    return true;
}

uint64_t command_length_field(const struct scsi_command *command, const uint8_t *cdb)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < command->length_bytes; i++)
        value = value << 8 | cdb[command->length_at + i];
    if (command->cdb_len == 6 && value == 0 &&
        (command->length == LEN_READ || command->length == LEN_WRITE))
        return 256;
    return value;
}

static uint64_t dispatch_verify_blocks(const struct scsi_task *task, uint64_t blocks)
{
    switch (task->cdb[1] >> 1 & 3)
    {
    case 1:
        return blocks;
    case 3:
        return blocks ? 1 : 0;
    default:
        return 0;
    }
}

bool dispatch_measure(struct scsi_task *task)
{
    const struct scsi_command *command = task_command(task);
    if (!dispatch_check_bits(task))
        return false;
    uint64_t field = command_length_field(command, task->cdb);
    uint64_t sector = task->lu ? task->lu->sector_bytes : 0;
    switch ((enum command_length)command->length)
    {
    case LEN_NONE:
    case LEN_RANGE:
        break;
    case LEN_ALLOCATION:
        task->in_max = min_u64(field, SCSI_PARAMETER_MAX_BYTES);
        break;
    case LEN_FIXED:
        task->in_max = command->length_at;
        break;
    case LEN_PARAMETERS:
        task->out_wanted = field;
        break;
    case LEN_READ:
        task->in_max = field * sector;
        task->transfer_len = task->in_max;
        break;
    case LEN_WRITE:
        task->out_wanted = field * sector;
        break;
    case LEN_COMPARE:
        task->out_wanted = 2 * field * sector;
        break;
    case LEN_WRITE_SAME:
        task->out_wanted = command->cdb_len == 16 && task->cdb[1] & 1 ? 0 : sector;
        break;
    case LEN_VERIFY:
        task->out_wanted = dispatch_verify_blocks(task, field) * sector;
        break;
    }
    uint64_t most =
        command->length == LEN_PARAMETERS ? SCSI_PARAMETER_MAX_BYTES : SCSI_TRANSFER_MAX_BYTES;
    if (task->out_wanted > most || task->in_max > most)
    {
        sense_fail_cdb(task, command->length_at, -1);
        return false;
    }
    if (task->out_wanted)
        task->transfer_len = task->out_wanted;
    return true;
}

void dispatch_weigh(struct scsi_task *task)
{
    const struct scsi_command *command = task_command(task);
    uint64_t bytes = command_length_field(command, task->cdb) * task->lu->sector_bytes;
    enum qos_io io = QOS_READ;
    switch ((enum command_length)command->length)
    {
    case LEN_READ:
    case LEN_VERIFY: /* all of the range is read, whatever comes with it */
        break;
    case LEN_WRITE:
    case LEN_COMPARE:
        io = QOS_WRITE;
        break;
    case LEN_WRITE_SAME:
        io = task->cdb[1] & (WRITE_SAME_UNMAP | WRITE_SAME_NDOB) ? QOS_UNMAP : QOS_WRITE;
        break;
    default:
        if (command->run != cmd_unmap && command->run != cmd_synchronize_cache)
            return;
        io = command->run == cmd_unmap ? QOS_UNMAP : QOS_FLUSH;
        break;
    }
    task->qos = task->lu->qos;
    task->io = (uint8_t)io;
    task->io_bytes = io == QOS_READ || io == QOS_WRITE ? bytes : 0;
}

/* ---- reservations -------------------------------------------------------------------------- */

/* START STOP UNIT that only starts, PREVENT ALLOW that allows: harm nobody. */
static bool command_is_harmless_start(const struct scsi_task *task)
{
    if (task->cdb[0] == 0x1e)
        return (task->cdb[4] & 3) == 0;
    return (task->cdb[4] & 0xf3) == 0x01;
}

bool lu_reservation_conflict_locked(const struct scsi_task *task)
{
    const struct scsi_lu *lu = task->lu;
    const struct scsi_command *command = task_command(task);
    bool by_start = command->flags & CMD_RESERVE_BY_START;
    if (lu->reserved_by && lu->reserved_by != task->itl)
    {
        if (!(command->flags & CMD_OLD_RESERVE_OK))
            return true;
        if (by_start && !command_is_harmless_start(task))
            return true;
    }
    if (lu->pr.type == PR_NONE || task->itl->is_holder)
        return false;
    if (task->itl->is_registered && pr_type_registrants(lu->pr.type))
        return false;
    if (by_start && command_is_harmless_start(task))
        return false;
    switch ((enum command_reservation)command->reservation)
    {
    case RESERVE_READ:
        return pr_type_exclusive_access(lu->pr.type);
    case RESERVE_WRITE:
        return true;
    case RESERVE_ALLOWED:
    case RESERVE_SELF:
        break;
    }
    return false;
}

/* ---- helpers of the handlers --------------------------------------------------------------- */

uint64_t command_block_count(const struct scsi_lu *lu)
{
    return lun_size_bytes(lu->handle) >> lu->sector_shift;
}

static uint64_t command_lba(const struct scsi_command *command, const uint8_t *cdb)
{
    switch (command->cdb_len)
    {
    case 6:
        return wire_u24(cdb + 1) & 0x1fffff;
    case 16:
        return wire_u64(cdb + 2);
    default:
        return wire_u32(cdb + 2);
    }
}

bool command_range(struct scsi_task *task, struct scsi_range *range)
{
    const struct scsi_command *command = task_command(task);
    range->lba = command_lba(command, task->cdb);
    range->blocks = command_length_field(command, task->cdb);
    if (!range_ok(range->lba, range->blocks, command_block_count(task->lu)))
    {
        sense_fail(task, SENSE_LBA_OUT_OF_RANGE);
        return false;
    }
    range->offset_bytes = range->lba << task->lu->sector_shift;
    range->len_bytes = range->blocks << task->lu->sector_shift;
    return true;
}

void command_reply(struct scsi_task *task, const void *bytes, size_t len)
{
    const struct scsi_command *command = task_command(task);
    uint64_t most = command->length == LEN_FIXED ? command->length_at
                                                 : command_length_field(command, task->cdb);
    task->transfer_len = min_u64(len, most);
    task->in_len = (size_t)min_u64(task->transfer_len, task->in_capacity);
    if (task->in_len)
        memcpy(task->in, bytes, task->in_len);
}

bool command_has_parameters(struct scsi_task *task)
{
    if (task->out_len == task->out_wanted)
        return true;
    sense_fail(task, SENSE_PARAMETER_LIST_LENGTH);
    return false;
}
