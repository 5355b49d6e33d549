/* SPDX-License-Identifier: BSD-3-Clause */
/* PERSISTENT RESERVE IN and OUT: parameter lists, TransportIDs, and what others are told. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/reader.h"
#include "server/scsi/scsi_internal.h"

enum
{
    PR_OUT_BYTES = 24,
    PR_APTPL = 0x01,
    PR_ALL_TG_PT = 0x04,
    PR_SPEC_I_PT = 0x08,
    PR_UNREG = 0x02,
    TRANSPORT_ID_ISCSI_PORT = 0x45, /* format 01b: name and ISID */
    TRANSPORT_ID_MIN = 24,
    PR_PORTS_MAX = 128, /* of one REGISTER */
};

enum pr_action
{
    PR_OUT_REGISTER,
    PR_OUT_RESERVE,
    PR_OUT_RELEASE,
    PR_OUT_CLEAR,
    PR_OUT_PREEMPT,
    PR_OUT_PREEMPT_AND_ABORT,
    PR_OUT_REGISTER_AND_IGNORE,
    PR_OUT_REGISTER_AND_MOVE,
};

/* ---- TransportIDs -------------------------------------------------------------------------- */

static size_t transport_id_put(uint8_t *at, const struct pr_port *port)
{
    char text[PR_NAME_MAX + 32];
    const uint8_t *i = port->isid;
    int len = snprintf(text, sizeof(text), "%s,i,0x%02x%02x%02x%02x%02x%02x", port->name, i[0],
                       i[1], i[2], i[3], i[4], i[5]);
    size_t padded = max_u64(round_up((size_t)len + 1, 4), TRANSPORT_ID_MIN - 4);
    memset(at, 0, 4 + padded);
    at[0] = TRANSPORT_ID_ISCSI_PORT;
    wire_put_u16(at + 2, padded);
    memcpy(at + 4, text, (size_t)len);
    return 4 + padded;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* "NAME,i,0xISID", @len bytes at most, ended by a NUL. */
static bool transport_id_parse(const char *text, size_t len, struct pr_port *port)
{
    size_t text_len = strnlen(text, len);
    const char *comma = memmem(text, text_len, ",i,0x", 5);
    if (text_len == len || !comma)
        return false;
    size_t name_len = (size_t)(comma - text);
    const char *isid = comma + 5;
    if (name_len == 0 || name_len > PR_NAME_MAX || text_len - name_len - 5 != 12)
        return false;
    memset(port->name, 0, sizeof(port->name));
    memcpy(port->name, text, name_len);
    for (size_t i = 0; i < sizeof(port->isid); i++)
    {
        int high = hex_digit(isid[2 * i]), low = hex_digit(isid[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        port->isid[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool transport_id_read(struct reader *reader, struct pr_port *port)
{
    uint8_t format = reader_u8(reader);
    reader_u8(reader);
    size_t len = reader_be16(reader);
    const char *text = reader_bytes(reader, len);
    if (!text || format != TRANSPORT_ID_ISCSI_PORT || len % 4 || len < TRANSPORT_ID_MIN - 4)
        return false;
    return transport_id_parse(text, len, port);
}

/* ---- PERSISTENT RESERVE IN ----------------------------------------------------------------- */

static size_t pr_in_keys(const struct pr_state *pr, uint8_t *data)
{
    for (uint32_t i = 0; i < pr->count; i++)
        wire_put_u64(data + 8 + 8 * (size_t)i, pr->list[i].key);
    return 8 + 8 * (size_t)pr->count;
}

static size_t pr_in_reservation(const struct pr_state *pr, uint8_t *data)
{
    if (pr->type == PR_NONE)
        return 8;
    if (pr->holder != PR_NO_HOLDER) /* else the key is 0: all registrants */
        wire_put_u64(data + 8, pr->list[pr->holder].key);
    data[21] = pr->type;
    return 24;
}

static size_t pr_in_full_status(const struct pr_state *pr, uint8_t *data)
{
    size_t len = 8;
    for (uint32_t i = 0; i < pr->count; i++)
    {
        const struct pr_registration *registration = &pr->list[i];
        uint8_t *at = data + len;
        wire_put_u64(at, registration->key);
        if (pr_is_holder(pr, i))
        {
            at[12] = 0x01;
            at[13] = pr->type;
        }
        wire_put_u16(at + 18, registration->port.target_port);
        size_t id_len = transport_id_put(at + 24, &registration->port);
        wire_put_u32(at + 20, id_len);
        len += 24 + id_len;
    }
    return len;
}

static void pr_in_capabilities(struct scsi_task *task, bool is_persistent)
{
    uint8_t data[8] = {0};
    wire_put_u16(data, sizeof(data));
    data[2] = 0x08 | 0x04 | 0x01;                        /* SIP_C, ATP_C, PTPL_C */
    data[3] = (uint8_t)(0x80 | (is_persistent ? 1 : 0)); /* TMV, PTPL_A */
    data[4] = 0xea;                                      /* all types */
    data[5] = 0x01;
    command_reply(task, data, sizeof(data));
}

void cmd_pr_in(struct scsi_task *task)
{
    struct scsi_lu *lu = task->lu;
    AUTO_LOCK(&lu->lock);
    const struct pr_state *pr = &lu->pr;
    uint16_t action = task_command(task)->action;
    if (action == 2)
    {
        pr_in_capabilities(task, pr->is_persistent);
        return;
    }
    size_t room = 24 + pr->count * (24 + 4 + sizeof(struct pr_port) + 32);
    AUTO_FREE uint8_t *data = calloc(1, room);
    if (!data)
    {
        task->status = SCSI_BUSY;
        return;
    }
    size_t len = action == 0   ? pr_in_keys(pr, data)
                 : action == 1 ? pr_in_reservation(pr, data)
                               : pr_in_full_status(pr, data);
    wire_put_u32(data, pr->generation);
    wire_put_u32(data + 4, len - 8);
    command_reply(task, data, len);
}

/* ---- PERSISTENT RESERVE OUT: the parameter list -------------------------------------------- */

struct pr_out
{
    enum pr_action action;
    uint64_t key, action_key;
    bool aptpl, unregister;
    struct pr_port *ports; /* to register: PR_PORTS_MAX, the first is the nexus's own */
    uint32_t port_count;
    struct pr_port move_to;
};

static bool pr_out_add_port(const struct scsi_task *task, struct pr_out *out,
                            const struct pr_port *port, bool all_target_ports)
{
    uint16_t count = all_target_ports ? task->lu->target->port_count : 1;
    for (uint16_t i = 0; i < count; i++)
    {
        struct pr_port each = *port;
        if (all_target_ports)
            each.target_port = (uint16_t)(i + 1);
        bool known = false;
        for (uint32_t j = 0; j < out->port_count; j++)
            known = known || pr_port_equal(&out->ports[j], &each);
        if (known)
            continue;
        if (out->port_count == PR_PORTS_MAX)
            return false;
        out->ports[out->port_count++] = each;
    }
    return true;
}

/* REGISTER and its kin: who is to be registered. False: sense is set. */
static bool pr_out_read_ports(struct scsi_task *task, struct pr_out *out, uint8_t flags)
{
    bool all = flags & PR_ALL_TG_PT;
    struct pr_port own = task->nexus->port;
    out->ports[0] = own;
    out->port_count = 1;
    bool fits = pr_out_add_port(task, out, &own, all);
    if (flags & PR_SPEC_I_PT)
    {
        if (out->action != PR_OUT_REGISTER)
        {
            sense_fail_parameter(task, SENSE_INVALID_PARAMETER, 20);
            return false;
        }
        struct reader reader =
            reader_of((const uint8_t *)task->out + PR_OUT_BYTES, task->out_len - PR_OUT_BYTES);
        uint32_t len = reader_be32(&reader);
        if (reader.failed || len != reader_left(&reader))
        {
            sense_fail_parameter(task, SENSE_INVALID_PARAMETER, PR_OUT_BYTES);
            return false;
        }
        while (fits && reader_left(&reader) > 0)
        {
            struct pr_port port = {.target_port = own.target_port};
            if (!transport_id_read(&reader, &port))
            {
                sense_fail_parameter(task, SENSE_INVALID_PARAMETER, PR_OUT_BYTES + 4);
                return false;
            }
            fits = pr_out_add_port(task, out, &port, all);
        }
    }
    if (!fits)
        sense_fail(task, SENSE_NO_REGISTRATION_RESOURCES);
    return fits;
}

static bool pr_out_read_move(struct scsi_task *task, struct pr_out *out)
{
    const uint8_t *list = task->out;
    out->aptpl = list[17] & PR_APTPL;
    out->unregister = list[17] & PR_UNREG;
    out->move_to.target_port = wire_u16(list + 18);
    uint32_t len = wire_u32(list + 20);
    struct reader reader = reader_of(list + PR_OUT_BYTES, task->out_len - PR_OUT_BYTES);
    if (len != reader_left(&reader))
    {
        sense_fail(task, SENSE_PARAMETER_LIST_LENGTH);
        return false;
    }
    if (out->move_to.target_port == 0 || out->move_to.target_port > task->lu->target->port_count)
    {
        sense_fail_parameter(task, SENSE_INVALID_PARAMETER, 18);
        return false;
    }
    if (transport_id_read(&reader, &out->move_to) && reader_left(&reader) == 0)
        return true;
    sense_fail_parameter(task, SENSE_INVALID_PARAMETER, PR_OUT_BYTES);
    return false;
}

static bool pr_out_has_type(enum pr_action action)
{
    return action == PR_OUT_RESERVE || action == PR_OUT_RELEASE || action == PR_OUT_PREEMPT ||
           action == PR_OUT_PREEMPT_AND_ABORT;
}

/* False: sense is set. */
static bool pr_out_read(struct scsi_task *task, struct pr_out *out)
{
    const uint8_t *list = task->out;
    if (task->out_len < PR_OUT_BYTES || task->out_len != task->out_wanted)
    {
        sense_fail(task, SENSE_PARAMETER_LIST_LENGTH);
        return false;
    }
    /* Scope: the logical unit is the only one left. */
    if (pr_out_has_type(out->action) && (task->cdb[2] >> 4 || !pr_type_valid(task->cdb[2] & 0xf)))
    {
        sense_fail_cdb(task, 2, -1);
        return false;
    }
    out->key = wire_u64(list);
    out->action_key = wire_u64(list + 8);
    if (out->action == PR_OUT_REGISTER_AND_MOVE)
        return pr_out_read_move(task, out);
    uint8_t flags = list[20];
    bool registers = out->action == PR_OUT_REGISTER || out->action == PR_OUT_REGISTER_AND_IGNORE;
    if (!(registers && flags & PR_SPEC_I_PT) && task->out_len != PR_OUT_BYTES)
    {
        sense_fail(task, SENSE_PARAMETER_LIST_LENGTH);
        return false;
    }
    out->aptpl = flags & PR_APTPL;
    return !registers || pr_out_read_ports(task, out, flags);
}

/* ---- PERSISTENT RESERVE OUT: the change ---------------------------------------------------- */

static enum pr_result pr_out_change(const struct pr_out *out, struct pr_change *change)
{
    switch (out->action)
    {
    case PR_OUT_REGISTER:
    case PR_OUT_REGISTER_AND_IGNORE:
        return pr_register(change, out->action == PR_OUT_REGISTER_AND_IGNORE, out->ports,
                           out->port_count);
    case PR_OUT_RESERVE:
        return pr_reserve(change);
    case PR_OUT_RELEASE:
        return pr_release(change);
    case PR_OUT_CLEAR:
        return pr_clear(change);
    case PR_OUT_PREEMPT:
    case PR_OUT_PREEMPT_AND_ABORT:
        return pr_preempt(change);
    case PR_OUT_REGISTER_AND_MOVE:
        return pr_register_and_move(change, &out->move_to, out->unregister);
    }
    return PR_CONFLICT;
}

static void pr_out_fail(struct scsi_task *task, enum pr_result result)
{
    switch (result)
    {
    case PR_DONE:
        break;
    case PR_CONFLICT:
        task->status = SCSI_RESERVATION_CONFLICT;
        break;
    case PR_INVALID_RELEASE:
        sense_fail(task, SENSE_INVALID_RELEASE);
        break;
    case PR_INVALID_KEY:
        sense_fail_parameter(task, SENSE_INVALID_PARAMETER, 8);
        break;
    case PR_INVALID_PORT:
        sense_fail_parameter(task, SENSE_INVALID_PARAMETER, PR_OUT_BYTES);
        break;
    case PR_NO_RESOURCES:
        sense_fail(task, SENSE_NO_REGISTRATION_RESOURCES);
        break;
    case PR_NO_MEMORY:
        task->status = SCSI_BUSY;
        break;
    }
}

static bool pr_out_others_run_locked(const struct scsi_task *own)
{
    list_for_each (task, &own->lu->tasks, struct scsi_task, set_link)
        if (task != own && task->is_aborted && task->state == TASK_RUNNING)
            return true;
    return false;
}

/*
 * PREEMPT AND ABORT fences: when it returns, nothing of those it put out writes any more. Those on
 * their way to a worker will see that they are aborted.
 */
static void pr_out_await_aborted(struct scsi_task *task)
{
    struct scsi_lu *lu = task->lu;
    AUTO_LOCK(&lu->lock);
    while (pr_out_others_run_locked(task))
        condition_wait(&lu->changed, &lu->lock);
}

/* Prepares, stores, switches; the caller holds pr_lock. */
static void pr_out_apply_locked(struct scsi_task *task, const struct pr_out *out)
{
    struct scsi_lu *lu = task->lu;
    struct pr_state after;
    pr_state_init(&after);
    AUTO_FREE uint8_t *notices = calloc(lu->pr.count + 1, 1);
    if (!notices || pr_state_copy(&lu->pr, &after) < 0)
    {
        task->status = SCSI_BUSY;
        return;
    }
    struct pr_change change = {.before = &lu->pr,
                               .after = &after,
                               .port = &task->nexus->port,
                               .key = out->key,
                               .action_key = out->action_key,
                               .type = task->cdb[2] & 0xf,
                               .aptpl = out->aptpl,
                               .notices = notices};
    enum pr_result result = pr_out_change(out, &change);
    int r = 0;
    if (result == PR_DONE && (after.is_persistent || lu->pr.is_persistent))
        r = pr_store(lu->target->pool, lu->lun_id, &after);
    if (r < 0)
    {
        sense_fail_errno(task, r, true);
    }
    else if (result != PR_DONE)
    {
        pr_out_fail(task, result);
    }
    else
    {
        lock_take(&lu->lock);
        lu_switch_pr_locked(lu, &change, out->action == PR_OUT_PREEMPT_AND_ABORT ? task : NULL);
        lock_release(&lu->lock);
    }
    pr_state_clear(&after);
}

void cmd_pr_out(struct scsi_task *task)
{
    struct scsi_lu *lu = task->lu;
    AUTO_FREE struct pr_port *ports = calloc(PR_PORTS_MAX, sizeof(*ports));
    if (!ports)
    {
        task->status = SCSI_BUSY;
        return;
    }
    struct pr_out out = {.action = (enum pr_action)task_command(task)->action, .ports = ports};
    if (!pr_out_read(task, &out))
        return;
    lock_take(&lu->pr_lock);
    lock_take(&lu->lock);
    bool is_aborted = task->is_aborted; /* perhaps by the PREEMPT AND ABORT that we waited for */
    lock_release(&lu->lock);
    if (!is_aborted)
        pr_out_apply_locked(task, &out);
    lock_release(&lu->pr_lock);
    if (out.action == PR_OUT_PREEMPT_AND_ABORT && task->status == SCSI_GOOD)
        pr_out_await_aborted(task);
}
