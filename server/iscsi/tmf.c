/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Task management: the requests of RFC 7143 section 11.5 and RFC 7144.
 *
 * scsi/ does the work and knows which tasks of which sessions are meant. This file finds the task
 * of an ABORT TASK and answers when all that was affected has ended.
 */
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/log.h"
#include "server/iscsi/task.h"

struct tmf
{
    struct scsi_tmf scsi;
    struct loop_call done_call;
    struct session *session;
    uint32_t itt;
};

static const struct tmf_function
{
    uint8_t wire, scsi;
    bool only_level2; /* RFC 7144: iSCSIProtocolLevel 2 must have been agreed */
    const char *name;
} tmf_functions[] = {
    {WIRE_TASK_ABORT, SCSI_TMF_ABORT_TASK, false, "ABORT TASK"},
    {WIRE_TASK_ABORT_SET, SCSI_TMF_ABORT_TASK_SET, false, "ABORT TASK SET"},
    {WIRE_TASK_CLEAR_ACA, SCSI_TMF_CLEAR_ACA, false, "CLEAR ACA"},
    {WIRE_TASK_CLEAR_SET, SCSI_TMF_CLEAR_TASK_SET, false, "CLEAR TASK SET"},
    {WIRE_TASK_LUN_RESET, SCSI_TMF_LUN_RESET, false, "LOGICAL UNIT RESET"},
    {WIRE_TASK_WARM_RESET, SCSI_TMF_TARGET_WARM_RESET, false, "TARGET WARM RESET"},
    {WIRE_TASK_COLD_RESET, SCSI_TMF_TARGET_COLD_RESET, false, "TARGET COLD RESET"},
    {WIRE_TASK_QUERY, SCSI_TMF_QUERY_TASK, true, "QUERY TASK"},
    {WIRE_TASK_QUERY_SET, SCSI_TMF_QUERY_TASK_SET, true, "QUERY TASK SET"},
    {WIRE_TASK_NEXUS_RESET, SCSI_TMF_I_T_NEXUS_RESET, true, "I_T NEXUS RESET"},
    {WIRE_TASK_QUERY_ASYNC, SCSI_TMF_QUERY_ASYNC_EVENT, true, "QUERY ASYNCHRONOUS EVENT"},
};

static const uint8_t tmf_responses[] = {
    [SCSI_TMF_COMPLETE] = WIRE_TASK_COMPLETE,
    [SCSI_TMF_SUCCEEDED] = WIRE_TASK_SUCCEEDED,
    [SCSI_TMF_NO_TASK] = WIRE_TASK_NO_TASK,
    [SCSI_TMF_NO_LUN] = WIRE_TASK_NO_LUN,
    [SCSI_TMF_NOT_SUPPORTED] = WIRE_TASK_NOT_SUPPORTED,
    [SCSI_TMF_REJECTED] = WIRE_TASK_REJECTED,
};

static void tmf_respond(struct session *session, uint32_t itt, uint8_t response)
{
    if (!session->conn)
        return;
    struct wire_task_response_pdu bhs = {
        .opcode = WIRE_TASK_RESPONSE,
        .flags = WIRE_FINAL,
        .response = response,
        .itt = be32_put(itt),
    };
    session_stamp(session, &bhs, true);
    conn_send(session->conn, &bhs, NULL, 0);
}

/* From any thread, with locks held. */
static void tmf_done_cb(struct scsi_tmf *scsi)
{
    struct tmf *tmf = container_of(scsi, struct tmf, scsi);
    loop_post(tmf->session->thread->loop, &tmf->done_call);
}

static void tmf_done(struct loop_call *call)
{
    struct tmf *tmf = container_of(call, struct tmf, done_call);
    struct session *session = tmf->session;
    uint8_t response = tmf->scsi.response;
    /* What the function aborted in this session goes first. */
    task_take_changes(session);
    tmf_respond(session, tmf->itt,
                response < ARRAY_SIZE(tmf_responses) ? tmf_responses[response]
                                                     : WIRE_TASK_REJECTED);
    bool is_cold =
        tmf->scsi.function == SCSI_TMF_TARGET_COLD_RESET && response == SCSI_TMF_COMPLETE;
    free(tmf);
    session->tmf_count--;
    if (is_cold)
        session_drop_all(session->server, "TARGET COLD RESET");
    session_check_end(session);
}

static const struct tmf_function *tmf_find_function(const struct session *session, uint8_t wire)
{
    for (size_t i = 0; i < ARRAY_SIZE(tmf_functions); i++)
    {
        const struct tmf_function *function = &tmf_functions[i];
        if (function->wire != wire)
            continue;
        bool is_allowed =
            !function->only_level2 || session->params.value[PARAM_PROTOCOL_LEVEL] >= 2;
        return is_allowed ? function : NULL;
    }
    return NULL;
}

void tmf_request(struct session *session, const struct pdu *pdu)
{
    const struct wire_task_request *bhs = (const struct wire_task_request *)pdu->bhs;
    uint8_t wire = bhs->function & WIRE_TASK_FUNCTION_MASK;
    uint32_t itt = be32_get(bhs->itt), ref_itt = be32_get(bhs->ref_itt);
    const struct tmf_function *function = tmf_find_function(session, wire);
    if (!function)
    {
        /* Reassignment needs ErrorRecoveryLevel 2. */
        tmf_respond(session, itt,
                    wire == WIRE_TASK_REASSIGN ? WIRE_TASK_NO_REASSIGN : WIRE_TASK_NOT_SUPPORTED);
        return;
    }
    log_info("%s from %s", function->name, session->initiator);
    if (wire == WIRE_TASK_ABORT && session_void_held(session, ref_itt))
    {
        tmf_respond(session, itt, WIRE_TASK_COMPLETE);
        return;
    }
    struct tmf *tmf = calloc(1, sizeof(*tmf));
    if (!tmf)
    {
        tmf_respond(session, itt, WIRE_TASK_REJECTED);
        return;
    }
    struct task *task = task_find(session, ref_itt);
    tmf->session = session;
    tmf->itt = itt;
    loop_call_init(&tmf->done_call, tmf_done);
    tmf->scsi.nexus = session->nexus;
    tmf->scsi.function = function->scsi;
    memcpy(tmf->scsi.lun, bhs->lun, sizeof(tmf->scsi.lun));
    tmf->scsi.task = task ? &task->scsi : NULL;
    tmf->scsi.done = tmf_done_cb;
    session->tmf_count++;
    scsi_tmf_start(&tmf->scsi);
}
