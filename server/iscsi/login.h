/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The login phase of one connection (RFC 7143 sections 6 and 11.12): stages, keys, authentication.
 *
 * Knows no socket and no session table: it takes login requests and makes login responses; the
 * connection sends them and sets up the session before the last one. So a test or a fuzzer needs
 * nothing else.
 *
 *             AuthMethod=CHAP        CHAP_A            CHAP_N, CHAP_R right
 *   AUTH_OPEN ---------------> CHOSEN ------> CHALLENGED --------------------> AUTH_DONE
 *       '------------- AuthMethod=None, nothing to prove --------------------------^
 *
 * (login_auth_method, login_chap_start, login_chap_finish)
 */
#ifndef SERVER_ISCSI_LOGIN_H
#define SERVER_ISCSI_LOGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "lun/base/env.h"
#include "lun/base/reader.h"
#include "server/access.h"
#include "server/iscsi/chap.h"
#include "server/iscsi/params.h"
#include "server/iscsi/pdu.h"

enum
{
    LOGIN_REQUESTS_MAX = 64, /* PDUs of one login */
    LOGIN_DATA_MAX = 8192,   /* bytes of one login PDU's text: the default segment length */
    LOGIN_NAME_MAX = 223,
};

/* What a login asks of its surroundings. Immutable while it lasts. */
struct login_env
{
    struct env *env;
    const char *target_name;
    const char *target_alias; /* or NULL */
    uint16_t portal_group_tag;
    const char *redirect; /* "ADDRESS:PORT": send initiators there; or NULL */
    bool redirect_permanently;
    /* As access_find_chap(). */
    int (*find_chap)(void *opaque, const char *initiator, bool discovery, struct access_chap *chap);
    /* Whether the session exists to which a connection would be added. */
    bool (*has_session)(void *opaque, const char *initiator, const uint8_t isid[6], uint16_t tsih);
    void *opaque;
};

enum login_auth
{
    LOGIN_AUTH_OPEN,
    LOGIN_AUTH_CHOSEN,
    LOGIN_AUTH_CHALLENGED,
    LOGIN_AUTH_DONE,
};

struct login
{
    const struct login_env *env;
    struct params params;
    char initiator[LOGIN_NAME_MAX + 1]; /* lower case */
    char initiator_alias[LOGIN_NAME_MAX + 1];
    uint8_t isid[6];
    uint16_t tsih, cid;
    uint32_t cmd_sn;  /* of the first request */
    uint32_t stat_sn; /* of the next response */
    uint32_t itt;     /* of the last request */
    unsigned request_count;
    enum wire_stage stage, next_stage;
    bool wants_transit; /* of the last whole request */
    bool is_discovery;
    bool has_target_name, has_session_type;
    bool is_named;         /* the names were checked */
    bool has_declared;     /* our MaxRecvDataSegmentLength is said */
    bool is_authenticated; /* by CHAP */

    enum login_auth auth;
    bool needs_chap; /* asked again for the answer, so that no secret waits for it */
    unsigned chap_algorithm;
    uint8_t chap_id;
    uint8_t chap_challenge[CHAP_CHALLENGE_BYTES];

    struct writer request; /* text collected over PDUs with the C bit */
    struct writer answer;  /* text to be sent, from answer_sent on */
    size_t answer_sent;
};

enum login_step
{
    LOGIN_SEND,     /* send the reply, wait for the next request */
    LOGIN_COMPLETE, /* set up the session, then login_finish() makes the reply */
    LOGIN_REFUSE,   /* send the reply, then close */
};

struct login_reply
{
    struct wire_login_response bhs;
    const uint8_t *text; /* of the login; until its next call */
    size_t text_len;
};

void login_init(struct login *login, const struct login_env *env);
/* Wipes secrets. */
void login_destroy(struct login *login);

/* One login request; @pdu->data as it came. Any other opcode is the caller's affair. */
enum login_step login_handle_pdu(struct login *login, const struct pdu *pdu,
                                 struct login_reply *reply);

/* The last reply: success with the session's @tsih, or a refusal with @status. */
enum login_step login_finish(struct login *login, enum wire_login_status status, uint16_t tsih,
                             struct login_reply *reply);

#endif
