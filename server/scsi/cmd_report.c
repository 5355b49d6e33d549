/* SPDX-License-Identifier: BSD-3-Clause */
/* REPORT LUNS, REPORT SUPPORTED OPERATION CODES and TASK MANAGEMENT FUNCTIONS, port groups. */
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "server/scsi/scsi_internal.h"

enum
{
    TIMEOUTS_BYTES = 12,
    SELECT_ADDRESSED = 0,
    SELECT_WELL_KNOWN = 1,
    SELECT_ALL = 2,
    PORT_GROUP_SUPPORTS = 0x01, /* active/optimized is the only state there is */
};

/* ---- REPORT LUNS --------------------------------------------------------------------------- */

/* Who asks for the list has learnt of its change, on whichever unit it was pending. */
static void report_luns_clear_attention_locked(struct scsi_nexus *nexus)
{
    for (size_t i = 0; i < nexus->itl_count; i++)
    {
        struct scsi_itl *itl = nexus->itls[i];
        AUTO_LOCK(&itl->lu->lock);
        itl->attentions &= ~(1u << ATTENTION_LUNS_CHANGED);
    }
}

void cmd_report_luns(struct scsi_task *task)
{
    struct scsi_nexus *nexus = task->nexus;
    uint8_t select = task->cdb[2];
    if (select > SELECT_ALL)
    {
        sense_fail_cdb(task, 2, -1);
        return;
    }
    if (wire_u32(task->cdb + 6) < 16)
    {
        sense_fail_cdb(task, 6, -1);
        return;
    }
    AUTO_FREE uint8_t *data = NULL;
    size_t len = 8;
    {
        AUTO_LOCK(&nexus->lock);
        data = calloc(nexus->itl_count + 1, 8);
        if (!data)
        {
            task->status = SCSI_BUSY;
            return;
        }
        for (size_t i = 0; i < nexus->itl_count && select != SELECT_WELL_KNOWN; i++, len += 8)
            lun_number_put(data + len, nexus->itls[i]->number);
        report_luns_clear_attention_locked(nexus);
    }
    wire_put_u32(data, len - 8);
    command_reply(task, data, len);
}

/* ---- REPORT SUPPORTED OPERATION CODES ------------------------------------------------------ */

/* No command has a time after which a host should give up. */
static void opcodes_timeouts(uint8_t *at)
{
    memset(at, 0, TIMEOUTS_BYTES);
    wire_put_u16(at, TIMEOUTS_BYTES - 2);
}

static void opcodes_all(struct scsi_task *task, bool with_timeouts)
{
    size_t entry_len = 8 + (with_timeouts ? TIMEOUTS_BYTES : 0);
    AUTO_FREE uint8_t *data = calloc(1, 4 + scsi_command_count * entry_len);
    if (!data)
    {
        task->status = SCSI_BUSY;
        return;
    }
    for (size_t i = 0; i < scsi_command_count; i++)
    {
        const struct scsi_command *command = &scsi_commands[i];
        uint8_t *entry = data + 4 + i * entry_len;
        entry[0] = command->opcode;
        wire_put_u16(entry + 2, command->action);
        entry[5] = (uint8_t)((with_timeouts ? 2 : 0) | (command->has_action ? 1 : 0));
        wire_put_u16(entry + 6, command->cdb_len);
        if (with_timeouts)
            opcodes_timeouts(entry + 8);
    }
    wire_put_u32(data, scsi_command_count * entry_len);
    command_reply(task, data, 4 + scsi_command_count * entry_len);
}

static void opcodes_one(struct scsi_task *task, const struct scsi_command *command,
                        bool with_timeouts)
{
    uint8_t data[4 + 16 + TIMEOUTS_BYTES] = {0};
    if (!command)
    {
        data[1] = 1; /* not supported */
        command_reply(task, data, 4);
        return;
    }
    data[1] = (uint8_t)((with_timeouts ? 0x80 : 0) | 3); /* as the standard has it */
    wire_put_u16(data + 2, command->cdb_len);
    memcpy(data + 4, command->usage, command->cdb_len);
    data[4] = command->opcode;
    /* The service action is shown by its value, what is beside it in the byte by its mask. */
    if (command->has_action)
        data[5] = (uint8_t)((command->usage[1] & ~0x1f) | command->action);
    size_t len = 4u + command->cdb_len;
    if (with_timeouts)
    {
        opcodes_timeouts(data + len);
        len += TIMEOUTS_BYTES;
    }
    command_reply(task, data, len);
}

void cmd_report_opcodes(struct scsi_task *task)
{
    const uint8_t *cdb = task->cdb;
    bool with_timeouts = cdb[2] & 0x80;
    uint8_t opcode = cdb[3];
    uint16_t action = wire_u16(cdb + 4);
    /* Any row of the opcode says whether it has service actions: all or none do. */
    const struct scsi_command *first = NULL;
    for (size_t i = 0; i < scsi_command_count && !first; i++)
        if (scsi_commands[i].opcode == opcode)
            first = &scsi_commands[i];
    bool has_action = first && first->has_action;
    switch (cdb[2] & 7)
    {
    case 0:
        opcodes_all(task, with_timeouts);
        return;
    case 1:
        if (has_action)
            break;
        opcodes_one(task, first, with_timeouts);
        return;
    case 2:
        if (first && !has_action)
            break;
        opcodes_one(task, dispatch_lookup(opcode, action), with_timeouts);
        return;
    case 3: /* either */
        opcodes_one(task, has_action || action == 0 ? dispatch_lookup(opcode, action) : NULL,
                    with_timeouts);
        return;
    default:
        break;
    }
    sense_fail_cdb(task, 2, 2);
}

void cmd_report_tmfs(struct scsi_task *task)
{
    uint8_t data[16] = {0};
    bool extended = task->cdb[2] & 0x80;
    if (wire_u32(task->cdb + 6) < 4)
    {
        sense_fail_cdb(task, 6, -1);
        return;
    }
    /* ABORT TASK, ABORT TASK SET, CLEAR TASK SET, LUN RESET, QUERY TASK, TARGET RESET */
    data[0] = 0x80 | 0x40 | 0x10 | 0x08 | 0x04 | 0x02;
    data[1] = 0x02 | 0x01; /* QUERY TASK SET, I_T NEXUS RESET */
    data[3] = extended ? 12 : 0;
    command_reply(task, data, extended ? 16 : 4);
}

/* ---- REPORT TARGET PORT GROUPS ------------------------------------------------------------- */

void cmd_report_port_groups(struct scsi_task *task)
{
    struct scsi_target *target = task->lu->target;
    uint8_t format = task->cdb[1] >> 5;
    if (format > 1)
    {
        sense_fail_cdb(task, 1, 7);
        return;
    }
    size_t header = format == 1 ? 8 : 4;
    size_t len = header + 8 + 4 * (size_t)target->port_count;
    AUTO_FREE uint8_t *data = calloc(1, len);
    if (!data)
    {
        task->status = SCSI_BUSY;
        return;
    }
    wire_put_u32(data, len - 4);
    if (format == 1)
        data[4] = 0x10; /* the extended header's format */
    uint8_t *group = data + header;
    group[0] = 0x00; /* active/optimized */
    group[1] = PORT_GROUP_SUPPORTS;
    wire_put_u16(group + 2, SCSI_TARGET_PORT_GROUP);
    group[7] = (uint8_t)min_u64(target->port_count, 255);
    for (unsigned i = 0; i < target->port_count; i++)
        wire_put_u16(group + 8 + (size_t)4 * i + 2, i + 1);
    command_reply(task, data, len);
}
