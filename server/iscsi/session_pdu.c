/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PDUs of a session: the command window, order of delivery, and the small ones (NOP, Logout,
 * Reject, asynchronous message). SCSI commands are in task.c, task management in tmf.c, text in
 * discovery.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"
#include "lun/base/log.h"
#include "server/iscsi/session.h"
#include "server/iscsi/task.h"

enum
{
    SESSION_HELD_MAX_BYTES = 32 << 20,
};

/* A PDU that waits for those before it. Data-Out stands behind the command it belongs to. */
struct held_pdu
{
    struct list link;
    uint32_t cmd_sn;
    bool is_data;
    struct pdu pdu;
    uint8_t bytes[]; /* header, AHS, data */
};

/* ---- answers ------------------------------------------------------------------------------- */

/* Opens the window as far as commands and buffers allow. It never closes behind what was promised.
 */
static void session_update_window(struct session *session)
{
    struct iscsi_thread *thread = session->thread;
    uint32_t depth = session->server->limits.queue_depth;
    /* Few enough that unsolicited data of all sessions cannot go far beyond the limit. */
    if (thread->buffers.used_bytes > thread->buffer_limit_bytes && depth > 2)
        depth = 2;
    uint32_t room = depth > session->window_used ? depth - session->window_used : 0;
    uint32_t max = session->exp_cmd_sn + room - 1;
    if (sn_before(session->max_cmd_sn, max))
        session->max_cmd_sn = max;
}

void session_stamp(struct session *session, void *bhs, bool takes_stat_sn)
{
    struct wire_plain_response *any = bhs;
    session_update_window(session);
    any->stat_sn = be32_put(session->stat_sn);
    if (takes_stat_sn)
        session->stat_sn++;
    any->exp_cmd_sn = be32_put(session->exp_cmd_sn);
    any->max_cmd_sn = be32_put(session->max_cmd_sn);
}

void session_reject(struct session *session, const struct wire_bhs *bhs,
                    enum wire_reject_reason reason)
{
    if (!session->conn)
        return;
    struct wire_reject reject = {
        .opcode = WIRE_REJECT,
        .flags = WIRE_FINAL,
        .reason = (uint8_t)reason,
        .itt = be32_put(WIRE_TAG_NONE),
    };
    log_debug("%s from %s rejected, reason %02x", pdu_opcode_name(pdu_opcode(bhs)),
              session->initiator, (unsigned)reason);
    session_stamp(session, &reject, true);
    conn_send(session->conn, &reject, bhs, WIRE_BHS_BYTES);
}

void session_send_async(struct session *session, enum wire_async_event event, uint16_t parameter1,
                        uint16_t parameter2, uint16_t parameter3)
{
    struct wire_async async = {
        .opcode = WIRE_ASYNC,
        .flags = WIRE_FINAL,
        .itt = be32_put(WIRE_TAG_NONE),
        .event = (uint8_t)event,
        .parameter1 = be16_put(parameter1),
        .parameter2 = be16_put(parameter2),
        .parameter3 = be16_put(parameter3),
    };
    session_stamp(session, &async, true);
    conn_send(session->conn, &async, NULL, 0);
}

void session_send_nop_in(struct session *session)
{
    struct wire_plain_response nop = {
        .opcode = WIRE_NOP_IN,
        .flags = WIRE_FINAL,
        .itt = be32_put(WIRE_TAG_NONE),
        .ttt = be32_put(task_next_ttt(session)),
    };
    session_stamp(session, &nop, false);
    conn_send(session->conn, &nop, NULL, 0);
}

static void session_nop_out(struct session *session, const struct pdu *pdu)
{
    /* Without a tag it answers our ping, or just acknowledges; that bytes came is all we want. */
    if (be32_get(pdu->bhs->itt) == WIRE_TAG_NONE)
        return;
    struct wire_plain_response nop = {
        .opcode = WIRE_NOP_IN,
        .flags = WIRE_FINAL,
        .itt = pdu->bhs->itt,
        .ttt = be32_put(WIRE_TAG_NONE),
    };
    uint32_t len = pdu->data_len;
    if (len > session->conn->initiator_recv_bytes)
        len = session->conn->initiator_recv_bytes;
    session_stamp(session, &nop, true);
    conn_send(session->conn, &nop, pdu->data, len);
}

static void session_logout(struct session *session, const struct pdu *pdu)
{
    const struct wire_logout_request *bhs = (const struct wire_logout_request *)pdu->bhs;
    uint8_t reason = bhs->reason & WIRE_LOGOUT_REASON_MASK;
    session->logout_itt = be32_get(bhs->itt);
    session->wants_logout = true;
    if (reason == WIRE_LOGOUT_SESSION ||
        (reason == WIRE_LOGOUT_CONNECTION && be16_get(bhs->cid) == session->cid))
    {
        session->logout_response = WIRE_LOGOUT_CLOSED;
        session_end(session, session->is_discovery ? NULL : "it logged out");
        return;
    }
    struct wire_logout_response_pdu response = {
        .opcode = WIRE_LOGOUT_RESPONSE,
        .flags = WIRE_FINAL,
        .response = reason == WIRE_LOGOUT_CONNECTION ? WIRE_LOGOUT_NO_CID : WIRE_LOGOUT_NO_RECOVERY,
        .itt = bhs->itt,
    };
    session->wants_logout = false;
    session_stamp(session, &response, true);
    conn_send(session->conn, &response, NULL, 0);
}

/* ---- held PDUs ----------------------------------------------------------------------------- */

static void session_free_held(struct session *session, struct held_pdu *held)
{
    list_remove(&held->link);
    session->held_bytes -= held->pdu.data_len + CONN_HEAD_MAX;
    free(held);
}

void session_drop_held(struct session *session)
{
    list_for_each_safe (held, &session->held, struct held_pdu, link)
    {
        session_free_held(session, held);
    }
}

static struct held_pdu *session_copy_pdu(const struct pdu *pdu, uint32_t cmd_sn)
{
    struct held_pdu *held =
        malloc(sizeof(*held) + WIRE_BHS_BYTES + pdu->ahs_len + (size_t)pdu->data_len);
    if (!held)
        return NULL;
    uint8_t *ahs = held->bytes + WIRE_BHS_BYTES, *data = ahs + pdu->ahs_len;
    memcpy(held->bytes, pdu->bhs, WIRE_BHS_BYTES);
    memcpy(ahs, pdu->ahs, pdu->ahs_len);
    if (pdu->data_len > 0)
        memcpy(data, pdu->data, pdu->data_len);
    held->cmd_sn = cmd_sn;
    held->is_data = pdu_opcode(pdu->bhs) == WIRE_DATA_OUT;
    held->pdu = *pdu;
    held->pdu.bhs = (const struct wire_bhs *)held->bytes;
    held->pdu.ahs = ahs;
    held->pdu.data = data;
    return held;
}

/* Behind the last one that is not after @cmd_sn. */
static void session_insert_held(struct session *session, struct held_pdu *held)
{
    struct list *at = session->held.prev;
    while (at != &session->held &&
           sn_before(held->cmd_sn, container_of(at, struct held_pdu, link)->cmd_sn))
        at = at->prev;
    list_add_head(at, &held->link);
}

static void session_hold(struct session *session, const struct pdu *pdu, uint32_t cmd_sn)
{
    if (session->held_bytes + pdu->data_len > SESSION_HELD_MAX_BYTES)
    {
        session_finish_conn(session, "too much came out of order");
        return;
    }
    struct held_pdu *held = session_copy_pdu(pdu, cmd_sn);
    if (!held)
    {
        session_finish_conn(session, "out of memory");
        return;
    }
    session->held_bytes += pdu->data_len + CONN_HEAD_MAX;
    session_insert_held(session, held);
}

/* The held command that @bhs has the tag of. */
static struct held_pdu *session_find_held(struct session *session, const struct wire_bhs *bhs)
{
    list_for_each (held, &session->held, struct held_pdu, link)
    {
        if (!held->is_data && pdu_opcode(held->pdu.bhs) == WIRE_SCSI_COMMAND &&
            be32_get(held->pdu.bhs->itt) == be32_get(bhs->itt))
            return held;
    }
    return NULL;
}

bool session_void_held(struct session *session, uint32_t itt)
{
    struct wire_bhs tag = {.itt = be32_put(itt)};
    struct held_pdu *held = session_find_held(session, &tag);
    if (!held)
        return false;
    /* Its number must still be counted: a NOP-Out that asks for no answer takes its place. */
    struct wire_bhs *bhs = (struct wire_bhs *)held->bytes;
    bhs->opcode = WIRE_NOP_OUT;
    bhs->itt = be32_put(WIRE_TAG_NONE);
    session->has_aborted = true;
    return true;
}

static bool session_holds_cmd_sn(struct session *session, uint32_t cmd_sn)
{
    list_for_each (held, &session->held, struct held_pdu, link)
    {
        if (held->cmd_sn == cmd_sn)
            return true;
    }
    return false;
}

/* ---- delivery ------------------------------------------------------------------------------ */

/* What is lent is sent before anything else than a read is done. False: the session is over. */
static bool session_end_loans(struct session *session, const struct pdu *pdu)
{
    const struct wire_scsi_command *bhs = (const struct wire_scsi_command *)pdu->bhs;
    bool is_read = pdu_opcode(pdu->bhs) == WIRE_SCSI_COMMAND && scsi_is_read(bhs->cdb);
    struct conn *borrower = session->thread->borrower;
    if (borrower && !is_read)
        conn_flush(borrower);
    return !session->is_ending;
}

static void session_deliver(struct session *session, const struct pdu *pdu, struct iobuf *buf)
{
    if (!session_end_loans(session, pdu))
        return;
    switch (pdu_opcode(pdu->bhs))
    {
    case WIRE_SCSI_COMMAND:
        task_command(session, pdu, buf);
        break;
    case WIRE_TASK_REQUEST:
        tmf_request(session, pdu);
        break;
    case WIRE_TEXT_REQUEST:
        discovery_text_request(session, pdu);
        break;
    case WIRE_LOGOUT_REQUEST:
        session_logout(session, pdu);
        break;
    case WIRE_NOP_OUT:
        session_nop_out(session, pdu);
        break;
    case WIRE_DATA_OUT:
        task_data_out(session, pdu, buf);
        break;
    default:
        INVARIANT(!"session_receive() lets through only these");
    }
}

/* The first one, if its turn has come; the caller's to free(). */
static struct held_pdu *session_take_held(struct session *session)
{
    if (list_is_empty(&session->held))
        return NULL;
    struct held_pdu *held = container_of(session->held.next, struct held_pdu, link);
    bool is_next = held->is_data ? sn_before(held->cmd_sn, session->exp_cmd_sn)
                                 : held->cmd_sn == session->exp_cmd_sn;
    if (!is_next)
        return NULL;
    if (!held->is_data)
        session->exp_cmd_sn++;
    session->held_bytes -= held->pdu.data_len + CONN_HEAD_MAX;
    list_remove(&held->link);
    return held;
}

/* Those whose turn has come. Delivery may end the session, which drops what is held. */
static void session_deliver_held(struct session *session)
{
    while (!session->is_ending)
    {
        AUTO_FREE struct held_pdu *held = session_take_held(session);
        if (!held)
            return;
        session_deliver(session, &held->pdu, NULL);
    }
}

static void session_receive_numbered(struct session *session, const struct pdu *pdu,
                                     struct iobuf *buf)
{
    uint32_t cmd_sn = be32_get(((const struct wire_nop_out *)pdu->bhs)->cmd_sn);
    if (pdu_is_immediate(pdu->bhs))
    {
        session_deliver(session, pdu, buf);
        return;
    }
    session_update_window(session);
    if (!sn_in_window(cmd_sn, session->exp_cmd_sn, session->max_cmd_sn))
    {
        log_debug("%s from %s is outside the window and is ignored: CmdSN %u, expected %u to %u",
                  pdu_opcode_name(pdu_opcode(pdu->bhs)), session->initiator, cmd_sn,
                  session->exp_cmd_sn, session->max_cmd_sn);
        return;
    }
    if (cmd_sn != session->exp_cmd_sn)
    {
        if (!session_holds_cmd_sn(session, cmd_sn))
            session_hold(session, pdu, cmd_sn);
        return;
    }
    session->exp_cmd_sn++;
    session_deliver(session, pdu, buf);
    session_deliver_held(session);
}

void session_receive(struct session *session, const struct pdu *pdu, struct iobuf *buf)
{
    uint8_t opcode = pdu_opcode(pdu->bhs);
    if (session->is_ending)
        return;
    switch (opcode)
    {
    case WIRE_SCSI_COMMAND:
    case WIRE_TASK_REQUEST:
    case WIRE_DATA_OUT:
        if (session->is_discovery)
        {
            session_reject(session, pdu->bhs, WIRE_REJECT_PROTOCOL);
            return;
        }
        break;
    case WIRE_TEXT_REQUEST:
    case WIRE_LOGOUT_REQUEST:
    case WIRE_NOP_OUT:
        break;
    case WIRE_SNACK:
        session_reject(session, pdu->bhs, WIRE_REJECT_SNACK);
        return;
    case WIRE_LOGIN_REQUEST:
        session_reject(session, pdu->bhs, WIRE_REJECT_PROTOCOL);
        session_finish_conn(session, "it sent a login request after the login");
        return;
    default:
        session_reject(session, pdu->bhs, WIRE_REJECT_NOT_SUPPORTED);
        return;
    }
    struct held_pdu *held = NULL;
    if (opcode == WIRE_DATA_OUT && !list_is_empty(&session->held))
        held = session_find_held(session, pdu->bhs);
    if (held)
        session_hold(session, pdu, held->cmd_sn);
    else if (opcode == WIRE_DATA_OUT)
        session_deliver(session, pdu, buf);
    else
        session_receive_numbered(session, pdu, buf);
}

void session_data_digest_error(struct session *session, const struct pdu *pdu)
{
    if (session->is_ending)
        return;
    log_warning("data digest of a %s from %s is wrong", pdu_opcode_name(pdu_opcode(pdu->bhs)),
                session->initiator);
    session_reject(session, pdu->bhs, WIRE_REJECT_DATA_DIGEST);
    if (pdu_opcode(pdu->bhs) == WIRE_DATA_OUT)
        task_data_out_bad(session, pdu);
}

struct iobuf *session_data_place(struct session *session, const struct pdu *pdu, uint8_t **at)
{
    size_t len = pdu->data_len;
    struct iobuf *buf = NULL;
    if (pdu_opcode(pdu->bhs) == WIRE_DATA_OUT)
        buf = task_data_place(session, pdu, at);
    else if (pdu_opcode(pdu->bhs) == WIRE_SCSI_COMMAND)
        len = task_buffer_hint(pdu);
    if (buf)
        return buf;
    buf = iobuf_get(&session->thread->buffers, len);
    if (buf)
        *at = buf->bytes;
    return buf;
}
