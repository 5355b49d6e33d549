/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Text requests: SendTargets, and what may be negotiated after the login.
 *
 * An exchange may take several PDUs in either direction; the target transfer tag ties them
 * together.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/cleanup.h"
#include "server/iscsi/task.h"

/* ---- SendTargets --------------------------------------------------------------------------- */

/* Whether a discovering initiator is to learn of the target: only who may see a LUN of it. */
static bool discovery_is_visible(const struct session *session)
{
    AUTO_FREE struct access_mapping *list = NULL;
    size_t count = 0;
    if (access_visible(session->server->access, session->initiator, &list, &count) < 0)
        return false;
    return count > 0;
}

/* The address of a portal as this initiator can reach it. */
static void discovery_address(const struct session *session, const char *portal,
                              char text[ISCSI_ADDRESS_MAX])
{
    struct net_address address;
    memcpy(text, portal, ISCSI_ADDRESS_MAX);
    if (net_address_parse(portal, ISCSI_DEFAULT_PORT, &address, NULL) < 0 ||
        !net_address_is_any(&address))
        return;
    /* The portal listens everywhere: it is where the initiator came to. */
    const char *colon = strrchr(session->local, ':'), *port = strrchr(portal, ':');
    size_t host_len = colon ? (size_t)(colon - session->local) : 0;
    if (!colon || !port || host_len + strlen(port) >= ISCSI_ADDRESS_MAX)
        return;
    memcpy(text, session->local, host_len);
    memcpy(text + host_len, port, strlen(port) + 1);
}

static void discovery_put_address(const struct session *session, const char *address,
                                  struct writer *out)
{
    char value[ISCSI_ADDRESS_MAX + 8];
    snprintf(value, sizeof(value), "%.*s,%u", ISCSI_ADDRESS_MAX - 1, address,
             session->portal_group_tag);
    text_put(out, "TargetAddress", value);
}

void discovery_send_targets(struct session *session, const char *value, struct writer *out)
{
    const struct iscsi_server *server = session->server;
    bool is_all = strcmp(value, "All") == 0;
    /* "All" belongs to discovery sessions, RFC 7143 appendix C. */
    if (is_all && !session->is_discovery)
    {
        text_put(out, "SendTargets", "Reject");
        return;
    }
    bool is_ours = is_all || (value[0] == '\0' && !session->is_discovery) ||
                   strcasecmp(value, server->target_name) == 0;
    if (!is_ours || (session->is_discovery && !discovery_is_visible(session)))
        return;
    text_put(out, "TargetName", server->target_name);
    char said[ISCSI_PORTALS_MAX][ISCSI_ADDRESS_MAX];
    for (size_t i = 0; i < server->portal_count; i++)
    {
        bool is_new = true;
        discovery_address(session, server->addresses[i], said[i]);
        for (size_t j = 0; j < i; j++)
            is_new &= strcmp(said[i], said[j]) != 0;
        if (is_new)
            discovery_put_address(session, said[i], out);
    }
}

/* ---- exchanges ----------------------------------------------------------------------------- */

static void discovery_close(struct session_text *text)
{
    text->request.len = text->answer.len = text->sent = 0;
    text->ttt = WIRE_TAG_NONE;
}

static void discovery_respond(struct session *session, const struct pdu *pdu, bool goes_on)
{
    struct session_text *text = &session->text;
    size_t left = text->answer.len - text->sent;
    size_t limit = session->conn->initiator_recv_bytes;
    limit = limit < CONN_RESERVE_MAX / 2 ? limit : CONN_RESERVE_MAX / 2;
    size_t len = left < limit ? left : limit;
    bool is_whole = len == left;
    bool is_final = is_whole && !goes_on && pdu->bhs->flags & WIRE_FINAL;
    if (!is_final && text->ttt == WIRE_TAG_NONE)
        text->ttt = task_next_ttt(session);
    struct wire_plain_response bhs = {
        .opcode = WIRE_TEXT_RESPONSE,
        .flags = is_final   ? WIRE_FINAL
                 : is_whole ? 0
                            : WIRE_TEXT_CONTINUE,
        .itt = pdu->bhs->itt,
        .ttt = be32_put(is_final ? WIRE_TAG_NONE : text->ttt),
    };
    const uint8_t *from = len ? text->answer.bytes + text->sent : NULL;
    text->sent += len;
    session_stamp(session, &bhs, true);
    conn_send(session->conn, &bhs, from, len);
    if (is_final)
        discovery_close(text);
}

static void discovery_take_key(struct session *session, const struct text_pair *pair)
{
    struct writer *out = &session->text.answer;
    if (strcmp(pair->key, "SendTargets") == 0)
    {
        discovery_send_targets(session, pair->value, out);
        return;
    }
    if (params_answer(&session->params, pair, PARAM_PHASE_FULL_FEATURE, session->is_discovery,
                      out) < 0)
        text_put(out, pair->key, "Reject");
    session->conn->initiator_recv_bytes = session->params.value[PARAM_MAX_RECV_BYTES];
}

/* All the text is there. False: it is no text. */
static bool discovery_take_request(struct session *session)
{
    struct session_text *text = &session->text;
    struct text_pair pairs[TEXT_PAIRS_MAX];
    size_t count = 0, len = text->request.len;
    text->answer.len = text->sent = 0;
    params_new_phase(&session->params);
    writer_u8(&text->request, '\0'); /* text_split() may write there */
    if (text->request.failed ||
        text_split((char *)text->request.bytes, len, pairs, TEXT_PAIRS_MAX, &count) < 0)
        return false;
    for (size_t i = 0; i < count; i++)
        discovery_take_key(session, &pairs[i]);
    text->request.len = 0;
    return !text->answer.failed;
}

void discovery_text_request(struct session *session, const struct pdu *pdu)
{
    const struct wire_text *bhs = (const struct wire_text *)pdu->bhs;
    struct session_text *text = &session->text;
    uint32_t ttt = be32_get(bhs->ttt);
    bool goes_on = bhs->flags & WIRE_TEXT_CONTINUE;
    bool is_bad = goes_on && bhs->flags & WIRE_FINAL;
    if (ttt == WIRE_TAG_NONE)
        discovery_close(text); /* a new exchange; one left open is forgotten */
    else
        is_bad |= ttt != text->ttt;
    is_bad |= text->request.len + pdu->data_len > TEXT_BYTES_MAX;
    if (!is_bad && text->sent < text->answer.len)
    {
        discovery_respond(session, pdu, false); /* the rest of a long answer */
        return;
    }
    if (!is_bad)
    {
        if (pdu->data_len > 0)
            writer_bytes(&text->request, pdu->data, pdu->data_len);
        if (goes_on)
            text->answer.len = text->sent = 0;
        else
            is_bad = !discovery_take_request(session);
    }
    if (is_bad)
    {
        discovery_close(text);
        session_reject(session, pdu->bhs, WIRE_REJECT_PROTOCOL);
        return;
    }
    discovery_respond(session, pdu, goes_on);
}
