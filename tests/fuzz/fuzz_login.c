/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A login without a socket. The input is a row of requests: a byte of flags and stages, two bytes
 * of length, text. The first byte of all says what the target asks for.
 */
#include <errno.h>
#include <string.h>

#include "lun/base/invariant.h"
#include "lun/base/log.h"
#include "server/iscsi/login.h"
#include "tests/fuzz/fuzz.h"

static void fuzz_random(struct env *env, void *bytes, size_t len)
{
    (void)env;
    memset(bytes, 7, len);
}

static int fuzz_find_chap(void *opaque, const char *initiator, bool discovery,
                          struct access_chap *chap)
{
    uint8_t choice = *(const uint8_t *)opaque;
    INVARIANT(text_is_iscsi_name(initiator));
    (void)discovery;
    if (!(choice & 1))
        return -ENOENT;
    memset(chap, 0, sizeof(*chap));
    memcpy(chap->user, "user", 5);
    memcpy(chap->secret, "twelve-bytes!", 14);
    if (choice & 2)
    {
        memcpy(chap->mutual_user, "target", 7);
        memcpy(chap->mutual_secret, "other-secret!", 14);
    }
    return 0;
}

static bool fuzz_has_session(void *opaque, const char *initiator, const uint8_t isid[6],
                             uint16_t tsih)
{
    (void)opaque, (void)initiator, (void)isid;
    return tsih & 1;
}

void access_chap_wipe(struct access_chap *chap)
{
    memset(chap, 0, sizeof(*chap));
}

/* What must hold whatever was sent. */
static void fuzz_check(const struct login *login, enum login_step step,
                       const struct login_reply *reply)
{
    INVARIANT(reply->text_len <= LOGIN_DATA_MAX);
    INVARIANT(pdu_data_len((const struct wire_bhs *)&reply->bhs) == reply->text_len);
    if (step == LOGIN_REFUSE)
    {
        INVARIANT(be16_get(reply->bhs.status) != WIRE_LOGIN_SUCCESS);
        return;
    }
    INVARIANT(be16_get(reply->bhs.status) == WIRE_LOGIN_SUCCESS);
    if (step == LOGIN_COMPLETE)
    {
        INVARIANT(login->initiator[0]);
        INVARIANT(!login->needs_chap || login->is_authenticated);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct env env = {.random_bytes = fuzz_random};
    if (size < 1)
        return 0;
    uint8_t choice = data[0];
    struct login_env surroundings = {
        .env = &env,
        .target_name = "iqn.2026-11.io.lunette:t",
        .target_alias = choice & 4 ? "alias" : NULL,
        .portal_group_tag = 1,
        .redirect = choice & 8 ? "10.0.0.1:3260" : NULL,
        .find_chap = fuzz_find_chap,
        .has_session = fuzz_has_session,
        .opaque = &choice,
    };
    struct login login;
    log_set_level(LOG_LEVEL_ERROR);
    login_init(&login, &surroundings);
    enum login_step step = LOGIN_SEND;
    for (size_t at = 1; at + 3 <= size && step == LOGIN_SEND;)
    {
        struct wire_login_request bhs = {
            .opcode = WIRE_LOGIN_REQUEST | WIRE_IMMEDIATE,
            .flags = data[at],
            .tsih = be16_put(choice & 16   ? 1
                             : choice & 32 ? 2
                                           : 0),
        };
        size_t len = (size_t)data[at + 1] << 8 | data[at + 2];
        at += 3;
        len = len < size - at ? len : size - at;
        len = len < LOGIN_DATA_MAX ? len : LOGIN_DATA_MAX;
        struct pdu pdu = {
            .bhs = (const struct wire_bhs *)&bhs, .data = data + at, .data_len = (uint32_t)len};
        struct login_reply reply;
        fuzz_before();
        step = login_handle_pdu(&login, &pdu, &reply);
        fuzz_after();
        fuzz_check(&login, step, &reply);
        at += len;
    }
    login_destroy(&login);
    return 0;
}
