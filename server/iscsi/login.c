/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Login: a request is collected over its PDUs, its keys are taken in order, and then the stage may
 * change. A refusal is a status; text goes with it only for a redirection.
 */
#include "server/iscsi/login.h"

#include <errno.h>
#include <string.h>

#include "lun/base/cleanup.h"
#include "lun/base/log.h"
#include "server/secret_memory.h"

void login_init(struct login *login, const struct login_env *env)
{
    *login = (struct login){.env = env, .stage = WIRE_STAGE_SECURITY};
    params_init(&login->params);
}

void login_destroy(struct login *login)
{
    explicit_bzero(login->chap_challenge, sizeof(login->chap_challenge));
    writer_destroy(&login->request);
    writer_destroy(&login->answer);
}

/* ---- replies ------------------------------------------------------------------------------- */

static void login_reply_header(struct login *login, enum wire_login_status status,
                               struct login_reply *reply)
{
    *reply = (struct login_reply){.text_len = 0};
    struct wire_login_response *bhs = &reply->bhs;
    bhs->opcode = WIRE_LOGIN_RESPONSE;
    bhs->flags = (uint8_t)(login->stage << 2);
    memcpy(bhs->isid, login->isid, sizeof(bhs->isid));
    bhs->tsih = be16_put(login->tsih);
    bhs->itt = be32_put(login->itt);
    bhs->stat_sn = be32_put(login->stat_sn++);
    bhs->exp_cmd_sn = be32_put(login->cmd_sn);
    bhs->max_cmd_sn = be32_put(login->cmd_sn);
    bhs->status = be16_put(status);
}

static enum login_step login_refuse(struct login *login, enum wire_login_status status,
                                    struct login_reply *reply)
{
    login_reply_header(login, status, reply);
    reply->bhs.flags = 0;
    return LOGIN_REFUSE;
}

/* The next piece of the answer, as much as the initiator takes in one segment. */
static bool login_reply_text(struct login *login, struct login_reply *reply)
{
    size_t left = login->answer.len - login->answer_sent;
    size_t limit = login->params.value[PARAM_MAX_RECV_BYTES];
    limit = limit < LOGIN_DATA_MAX ? limit : LOGIN_DATA_MAX;
    bool is_last = left <= limit;
    reply->text = left ? login->answer.bytes + login->answer_sent : NULL;
    reply->text_len = is_last ? left : limit;
    login->answer_sent += reply->text_len;
    pdu_put_data_len(reply->bhs.data_len, (uint32_t)reply->text_len);
    return is_last;
}

static enum login_step login_send(struct login *login, struct login_reply *reply)
{
    login_reply_header(login, WIRE_LOGIN_SUCCESS, reply);
    if (!login_reply_text(login, reply))
    {
        reply->bhs.flags |= WIRE_TEXT_CONTINUE;
        return LOGIN_SEND;
    }
    bool is_proven = login->auth == LOGIN_AUTH_DONE || !login->needs_chap;
    bool in_midst =
        login->auth == LOGIN_AUTH_CHOSEN || login->auth == LOGIN_AUTH_CHALLENGED || !is_proven;
    if (!login->wants_transit || (login->stage == WIRE_STAGE_SECURITY && in_midst))
        return LOGIN_SEND;
    if (login->next_stage == WIRE_STAGE_FULL_FEATURE)
    {
        login->stat_sn--; /* login_finish() makes the header anew */
        return LOGIN_COMPLETE;
    }
    reply->bhs.flags |= (uint8_t)(WIRE_LOGIN_TRANSIT | login->next_stage);
    login->stage = login->next_stage;
    return LOGIN_SEND;
}

enum login_step login_finish(struct login *login, enum wire_login_status status, uint16_t tsih,
                             struct login_reply *reply)
{
    if (status != WIRE_LOGIN_SUCCESS)
        return login_refuse(login, status, reply);
    const uint8_t *text = reply->text;
    size_t text_len = reply->text_len;
    login->tsih = tsih;
    login_reply_header(login, status, reply);
    reply->text = text;
    reply->text_len = text_len;
    pdu_put_data_len(reply->bhs.data_len, (uint32_t)text_len);
    reply->bhs.flags |= WIRE_LOGIN_TRANSIT | WIRE_STAGE_FULL_FEATURE;
    return LOGIN_COMPLETE;
}

/* ---- authentication ------------------------------------------------------------------------ */

static enum wire_login_status login_auth_method(struct login *login, const char *list)
{
    if (login->auth != LOGIN_AUTH_OPEN)
        return WIRE_LOGIN_INITIATOR_ERROR;
    if (login->needs_chap && text_list_has(list, "CHAP"))
    {
        login->auth = LOGIN_AUTH_CHOSEN;
        text_put(&login->answer, "AuthMethod", "CHAP");
        return WIRE_LOGIN_SUCCESS;
    }
    if (!login->needs_chap && text_list_has(list, "None"))
    {
        login->auth = LOGIN_AUTH_DONE;
        text_put(&login->answer, "AuthMethod", "None");
        return WIRE_LOGIN_SUCCESS;
    }
    return WIRE_LOGIN_AUTHENTICATION_FAILED;
}

/* CHAP_A: choose, and challenge. */
static enum wire_login_status login_chap_start(struct login *login, const char *algorithms)
{
    if (login->auth != LOGIN_AUTH_CHOSEN)
        return WIRE_LOGIN_INITIATOR_ERROR;
    if (chap_choose_algorithm(algorithms, &login->chap_algorithm) < 0)
        return WIRE_LOGIN_AUTHENTICATION_FAILED;
    struct env *env = login->env->env;
    env->random_bytes(env, &login->chap_id, 1);
    env->random_bytes(env, login->chap_challenge, sizeof(login->chap_challenge));
    text_put_number(&login->answer, "CHAP_A", login->chap_algorithm);
    text_put_number(&login->answer, "CHAP_I", login->chap_id);
    text_put_binary(&login->answer, "CHAP_C", login->chap_challenge, sizeof(login->chap_challenge));
    login->auth = LOGIN_AUTH_CHALLENGED;
    return WIRE_LOGIN_SUCCESS;
}

/* The CHAP keys of one request. */
struct login_chap_keys
{
    const char *algorithms, *name, *response, *id, *challenge;
};

SECRET_CLEANUP(login_free_chap, struct access_chap)
#define AUTO_CHAP CLEANUP(login_free_chap)

static int login_find_chap(struct login *login, struct access_chap *chap)
{
    return login->env->find_chap(login->env->opaque, login->initiator, login->is_discovery, chap);
}

/* The initiator wants us to prove ourselves too. */
static enum wire_login_status login_chap_mutual(struct login *login, const struct access_chap *chap,
                                                const struct login_chap_keys *keys)
{
    uint8_t challenge[CHAP_CHALLENGE_MAX], digest[CHAP_DIGEST_MAX];
    size_t len;
    uint64_t id;
    if (!keys->id || !keys->challenge || text_get_number(keys->id, 255, &id) < 0 ||
        text_get_binary(keys->challenge, challenge, sizeof(challenge), &len) < 0)
        return WIRE_LOGIN_AUTHENTICATION_FAILED;
    /* Answering our own challenge would hand the initiator what it must find itself. */
    if (len == sizeof(login->chap_challenge) && memcmp(challenge, login->chap_challenge, len) == 0)
    {
        log_warning("%s sent our own CHAP challenge back to us: login refused", login->initiator);
        return WIRE_LOGIN_AUTHENTICATION_FAILED;
    }
    if (!chap->mutual_user[0] || chap_respond(login->chap_algorithm, (uint8_t)id,
                                              chap->mutual_secret, challenge, len, digest) < 0)
        return WIRE_LOGIN_AUTHENTICATION_FAILED;
    text_put(&login->answer, "CHAP_N", chap->mutual_user);
    text_put_binary(&login->answer, "CHAP_R", digest, chap_digest_len(login->chap_algorithm));
    explicit_bzero(digest, sizeof(digest));
    return WIRE_LOGIN_SUCCESS;
}

/* CHAP_N and CHAP_R: check them. */
static enum wire_login_status login_chap_finish(struct login *login,
                                                const struct login_chap_keys *keys)
{
    AUTO_CHAP struct access_chap *chap = secret_alloc(sizeof(*chap));
    uint8_t response[CHAP_DIGEST_MAX + 1];
    size_t len = 0;
    if (login->auth != LOGIN_AUTH_CHALLENGED || !keys->name || !keys->response)
        return WIRE_LOGIN_INITIATOR_ERROR;
    if (text_get_binary(keys->response, response, sizeof(response), &len) < 0)
        return WIRE_LOGIN_AUTHENTICATION_FAILED;
    int r = chap ? login_find_chap(login, chap) : -ENOMEM;
    if (r < 0)
        return r == -ENOENT ? WIRE_LOGIN_AUTHENTICATION_FAILED : WIRE_LOGIN_TARGET_ERROR;
    /* Both are worked out in any case, so that time does not tell which was wrong. */
    bool is_user = chap_equal_text(chap->user, keys->name);
    bool is_secret =
        chap_verify(login->chap_algorithm, login->chap_id, chap->secret, login->chap_challenge,
                    sizeof(login->chap_challenge), response, len);
    if (!(is_user & is_secret))
        return WIRE_LOGIN_AUTHENTICATION_FAILED;
    if (keys->id || keys->challenge)
    {
        enum wire_login_status status = login_chap_mutual(login, chap, keys);
        if (status != WIRE_LOGIN_SUCCESS)
            return status;
    }
    login->auth = LOGIN_AUTH_DONE;
    login->is_authenticated = true;
    return WIRE_LOGIN_SUCCESS;
}

static enum wire_login_status login_chap(struct login *login, const struct login_chap_keys *keys)
{
    if (keys->algorithms)
    {
        /* A challenge may be answered only in the next request. */
        if (keys->name || keys->response || keys->id || keys->challenge)
            return WIRE_LOGIN_INITIATOR_ERROR;
        return login_chap_start(login, keys->algorithms);
    }
    if (keys->name || keys->response || keys->id || keys->challenge)
        return login_chap_finish(login, keys);
    return WIRE_LOGIN_SUCCESS;
}

/* ---- keys ---------------------------------------------------------------------------------- */

static enum wire_login_status login_set_initiator(struct login *login, const char *name)
{
    if (login->initiator[0] || !text_is_iscsi_name(name))
        return WIRE_LOGIN_INITIATOR_ERROR;
    for (size_t i = 0; name[i]; i++)
        login->initiator[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
    return WIRE_LOGIN_SUCCESS;
}

static enum wire_login_status login_set_session_type(struct login *login, const char *type)
{
    if (login->has_session_type)
        return WIRE_LOGIN_INITIATOR_ERROR;
    login->has_session_type = true;
    login->is_discovery = strcmp(type, "Discovery") == 0;
    return login->is_discovery || strcmp(type, "Normal") == 0 ? WIRE_LOGIN_SUCCESS
                                                              : WIRE_LOGIN_SESSION_TYPE_UNSUPPORTED;
}

static enum wire_login_status login_set_target(struct login *login, const char *name)
{
    if (login->has_target_name)
        return WIRE_LOGIN_INITIATOR_ERROR;
    login->has_target_name = true;
    return strcasecmp(name, login->env->target_name) == 0 ? WIRE_LOGIN_SUCCESS
                                                          : WIRE_LOGIN_NOT_FOUND;
}

/* Keys that say who wants what. False: not one of them. */
static bool login_identity_key(struct login *login, const struct text_pair *pair,
                               enum wire_login_status *status)
{
    *status = WIRE_LOGIN_SUCCESS;
    if (strcmp(pair->key, "InitiatorName") == 0)
        *status = login_set_initiator(login, pair->value);
    else if (strcmp(pair->key, "SessionType") == 0)
        *status = login_set_session_type(login, pair->value);
    else if (strcmp(pair->key, "TargetName") == 0)
        *status = login_set_target(login, pair->value);
    else if (strcmp(pair->key, "InitiatorAlias") == 0)
        strncpy(login->initiator_alias, pair->value, LOGIN_NAME_MAX);
    else
        return false;
    /* Who it is is settled with the first request. */
    if (login->is_named && strcmp(pair->key, "InitiatorAlias") != 0)
        *status = WIRE_LOGIN_INITIATOR_ERROR;
    return true;
}

static bool login_chap_key(struct login_chap_keys *keys, const struct text_pair *pair,
                           enum wire_login_status *status)
{
    static const char *const names[] = {"CHAP_A", "CHAP_N", "CHAP_R", "CHAP_I", "CHAP_C"};
    const char **const places[] = {&keys->algorithms, &keys->name, &keys->response, &keys->id,
                                   &keys->challenge};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
    {
        if (strcmp(pair->key, names[i]) != 0)
            continue;
        *status = *places[i] ? WIRE_LOGIN_INITIATOR_ERROR : WIRE_LOGIN_SUCCESS;
        *places[i] = pair->value;
        return true;
    }
    return false;
}

/* A key that is neither identity nor CHAP. */
static enum wire_login_status login_other_key(struct login *login, const struct text_pair *pair)
{
    bool is_security = login->stage == WIRE_STAGE_SECURITY;
    if (strcmp(pair->key, "AuthMethod") == 0)
        return is_security ? login_auth_method(login, pair->value) : WIRE_LOGIN_INITIATOR_ERROR;
    if (strcmp(pair->key, "SendTargets") == 0)
        return WIRE_LOGIN_INITIATOR_ERROR;
    enum param_phase phase = is_security ? PARAM_PHASE_SECURITY : PARAM_PHASE_OPERATIONAL;
    return params_answer(&login->params, pair, phase, login->is_discovery, &login->answer) < 0
               ? WIRE_LOGIN_INITIATOR_ERROR
               : WIRE_LOGIN_SUCCESS;
}

/* With the first whole request: who it is, whether it may, whether it must prove itself. */
static enum wire_login_status login_check_names(struct login *login)
{
    login->is_named = true;
    if (!login->initiator[0] || (!login->is_discovery && !login->has_target_name))
        return WIRE_LOGIN_MISSING_PARAMETER;
    if (login->tsih != 0)
        return login->env->has_session(login->env->opaque, login->initiator, login->isid,
                                       login->tsih)
                   ? WIRE_LOGIN_TOO_MANY_CONNECTIONS
                   : WIRE_LOGIN_NO_SUCH_SESSION;
    AUTO_CHAP struct access_chap *chap = secret_alloc(sizeof(*chap));
    int r = chap ? login_find_chap(login, chap) : -ENOMEM;
    if (r < 0 && r != -ENOENT)
        return WIRE_LOGIN_TARGET_ERROR;
    login->needs_chap = r == 0 && chap->user[0];
    if (login->needs_chap && login->stage != WIRE_STAGE_SECURITY)
        return WIRE_LOGIN_AUTHENTICATION_FAILED;
    if (login->is_discovery)
        return WIRE_LOGIN_SUCCESS;
    if (login->env->redirect)
    {
        text_put(&login->answer, "TargetAddress", login->env->redirect);
        return login->env->redirect_permanently ? WIRE_LOGIN_MOVED_PERMANENTLY
                                                : WIRE_LOGIN_MOVED_TEMPORARILY;
    }
    if (login->env->target_alias)
        text_put(&login->answer, "TargetAlias", login->env->target_alias);
    text_put_number(&login->answer, "TargetPortalGroupTag", login->env->portal_group_tag);
    return WIRE_LOGIN_SUCCESS;
}

/* Two passes: what a key means may depend on who it is, and keys come in any order. */
static enum wire_login_status login_take_keys(struct login *login, const struct text_pair *pairs,
                                              size_t count)
{
    struct login_chap_keys chap = {NULL, NULL, NULL, NULL, NULL};
    enum wire_login_status status = WIRE_LOGIN_SUCCESS;
    for (size_t i = 0; i < count && status == WIRE_LOGIN_SUCCESS; i++)
        login_identity_key(login, &pairs[i], &status);
    if (status == WIRE_LOGIN_SUCCESS && !login->is_named)
        status = login_check_names(login);
    for (size_t i = 0; i < count && status == WIRE_LOGIN_SUCCESS; i++)
    {
        bool is_identity = strcmp(pairs[i].key, "InitiatorName") == 0 ||
                           strcmp(pairs[i].key, "InitiatorAlias") == 0 ||
                           strcmp(pairs[i].key, "SessionType") == 0 ||
                           strcmp(pairs[i].key, "TargetName") == 0;
        if (!is_identity && !login_chap_key(&chap, &pairs[i], &status))
            status = login_other_key(login, &pairs[i]);
    }
    return status == WIRE_LOGIN_SUCCESS ? login_chap(login, &chap) : status;
}

/* ---- requests ------------------------------------------------------------------------------ */

/* Stages and flags of one PDU. */
static enum wire_login_status login_check_pdu(struct login *login,
                                              const struct wire_login_request *bhs)
{
    enum wire_stage stage = (enum wire_stage)(bhs->flags >> 2 & 3);
    enum wire_stage next = (enum wire_stage)(bhs->flags & 3);
    bool wants_transit = bhs->flags & WIRE_LOGIN_TRANSIT;
    bool goes_on = bhs->flags & WIRE_TEXT_CONTINUE;
    if (bhs->version_min > WIRE_VERSION)
        return WIRE_LOGIN_UNSUPPORTED_VERSION;
    if (stage > WIRE_STAGE_OPERATIONAL || (wants_transit && goes_on))
        return WIRE_LOGIN_INITIATOR_ERROR;
    if (wants_transit &&
        (next <= stage || (next != WIRE_STAGE_OPERATIONAL && next != WIRE_STAGE_FULL_FEATURE)))
        return WIRE_LOGIN_INITIATOR_ERROR;
    if (login->request_count++ == 0)
    {
        login->stage = stage;
        login->cmd_sn = be32_get(bhs->cmd_sn);
        login->tsih = be16_get(bhs->tsih);
        login->cid = be16_get(bhs->cid);
        memcpy(login->isid, bhs->isid, sizeof(login->isid));
    }
    else if (stage != login->stage || memcmp(bhs->isid, login->isid, sizeof(login->isid)) != 0 ||
             be16_get(bhs->tsih) != login->tsih || be16_get(bhs->cid) != login->cid)
    {
        return WIRE_LOGIN_INVALID_DURING_LOGIN;
    }
    login->next_stage = next;
    login->wants_transit = wants_transit;
    return login->request_count > LOGIN_REQUESTS_MAX ? WIRE_LOGIN_OUT_OF_RESOURCES
                                                     : WIRE_LOGIN_SUCCESS;
}

/* All the text of a request is there. */
static enum wire_login_status login_take_request(struct login *login)
{
    struct text_pair pairs[TEXT_PAIRS_MAX];
    size_t count = 0, len = login->request.len;
    login->answer.len = login->answer_sent = 0;
    writer_u8(&login->request, '\0'); /* text_split() may write there */
    if (login->request.failed)
        return WIRE_LOGIN_OUT_OF_RESOURCES;
    if (text_split((char *)login->request.bytes, len, pairs, TEXT_PAIRS_MAX, &count) < 0)
        return WIRE_LOGIN_INITIATOR_ERROR;
    enum wire_login_status status = login_take_keys(login, pairs, count);
    /* It holds responses to challenges. */
    explicit_bzero(login->request.bytes, login->request.len);
    login->request.len = 0;
    if (status != WIRE_LOGIN_SUCCESS)
        return status;
    bool leaves_security = login->stage == WIRE_STAGE_SECURITY && login->wants_transit;
    if (leaves_security && login->needs_chap && login->auth == LOGIN_AUTH_OPEN)
        return WIRE_LOGIN_AUTHENTICATION_FAILED;
    if (login->stage == WIRE_STAGE_OPERATIONAL && !login->has_declared)
    {
        const struct param_spec *spec = params_spec(PARAM_MAX_RECV_BYTES);
        login->has_declared = true;
        text_put_number(&login->answer, spec->key, spec->ours);
    }
    return login->answer.failed ? WIRE_LOGIN_OUT_OF_RESOURCES : WIRE_LOGIN_SUCCESS;
}

static const struct login_reason
{
    enum wire_login_status status;
    const char *text;
} login_reasons[] = {
    {WIRE_LOGIN_INITIATOR_ERROR, "it broke the rules of the login"},
    {WIRE_LOGIN_AUTHENTICATION_FAILED, "CHAP user or secret wrong or missing. `lunette iscsi chap "
                                       "show` lists who must prove himself"},
    {WIRE_LOGIN_NOT_FOUND, "it asked for a target of another name"},
    {WIRE_LOGIN_UNSUPPORTED_VERSION, "it speaks another version of iSCSI"},
    {WIRE_LOGIN_TOO_MANY_CONNECTIONS, "a session has one connection here"},
    {WIRE_LOGIN_MISSING_PARAMETER, "it did not say its name or the target's"},
    {WIRE_LOGIN_SESSION_TYPE_UNSUPPORTED, "it asked for an unknown type of session"},
    {WIRE_LOGIN_NO_SUCH_SESSION, "the session that it wants to join is gone"},
    {WIRE_LOGIN_INVALID_DURING_LOGIN, "it changed stage or names in the midst of the login"},
    {WIRE_LOGIN_TARGET_ERROR, "the target could not look up what it must prove. `lunette event "
                              "show` says why"},
    {WIRE_LOGIN_OUT_OF_RESOURCES, "its login is too long"},
};

static const char *login_reason_text(enum wire_login_status status)
{
    for (size_t i = 0; i < sizeof(login_reasons) / sizeof(login_reasons[0]); i++)
        if (login_reasons[i].status == status)
            return login_reasons[i].text;
    return "no reason";
}

static enum login_step login_refuse_logged(struct login *login, enum wire_login_status status,
                                           struct login_reply *reply)
{
    const char *who = login->initiator[0] ? login->initiator : "an initiator without a name";
    bool is_redirect = status >> 8 == 1;
    bool is_secret =
        status == WIRE_LOGIN_AUTHENTICATION_FAILED || status == WIRE_LOGIN_TARGET_ERROR;
    if (!is_redirect)
        log_write(is_secret ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO,
                  "login of %s refused: %s (status %04x)", who, login_reason_text(status),
                  (unsigned)status);
    enum login_step step = login_refuse(login, status, reply);
    if (is_redirect && !login_reply_text(login, reply))
        reply->text_len = 0;
    return step;
}

enum login_step login_handle_pdu(struct login *login, const struct pdu *pdu,
                                 struct login_reply *reply)
{
    const struct wire_login_request *bhs = (const struct wire_login_request *)pdu->bhs;
    login->itt = be32_get(bhs->itt);
    enum wire_login_status status = login_check_pdu(login, bhs);
    if (status != WIRE_LOGIN_SUCCESS)
        return login_refuse_logged(login, status, reply);

    /* The rest of a long answer is fetched with empty requests. */
    bool goes_on = bhs->flags & WIRE_TEXT_CONTINUE;
    if (login->answer_sent < login->answer.len)
    {
        if (pdu->data_len > 0 || goes_on)
            return login_refuse_logged(login, WIRE_LOGIN_INITIATOR_ERROR, reply);
        return login_send(login, reply);
    }
    if (login->request.len + pdu->data_len > TEXT_BYTES_MAX)
        return login_refuse_logged(login, WIRE_LOGIN_OUT_OF_RESOURCES, reply);
    if (pdu->data_len > 0)
        writer_bytes(&login->request, pdu->data, pdu->data_len);
    if (goes_on)
    {
        login->answer.len = login->answer_sent = 0;
        return login_send(login, reply);
    }
    status = login_take_request(login);
    if (status != WIRE_LOGIN_SUCCESS)
        return login_refuse_logged(login, status, reply);
    return login_send(login, reply);
}
