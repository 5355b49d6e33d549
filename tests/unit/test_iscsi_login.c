/* SPDX-License-Identifier: BSD-3-Clause */
/* Login without a socket: stages, names, CHAP in all its turns, long texts. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "server/iscsi/login.h"
#include "tests/lib/cunit_main.h"

#define TARGET "iqn.2026-11.io.lunette:t"
#define NAMES "InitiatorName=iqn.2026-11.test:I\nTargetName=" TARGET "\n"

enum
{
    S = WIRE_STAGE_SECURITY,
    O = WIRE_STAGE_OPERATIONAL,
    F = WIRE_STAGE_FULL_FEATURE,
    T = WIRE_LOGIN_TRANSIT,
    C = WIRE_TEXT_CONTINUE,
};

/* A login and what came of its last request. */
struct trial
{
    struct login login;
    struct login_env env;
    struct access_chap chap;
    bool has_chap;
    bool has_session;
    int chap_error;
    enum login_step step;
    struct login_reply reply;
    char text[65536];
};

/* Counts up, so that challenges are known. */
static void trial_random(struct env *env, void *bytes, size_t len)
{
    (void)env;
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)bytes)[i] = (uint8_t)(i + 1);
}

static struct env trial_env = {.random_bytes = trial_random};

static int trial_find_chap(void *opaque, const char *initiator, bool discovery,
                           struct access_chap *chap)
{
    struct trial *trial = opaque;
    (void)discovery;
    CU_ASSERT_STRING_EQUAL(initiator, "iqn.2026-11.test:i");
    if (trial->chap_error)
        return trial->chap_error;
    if (!trial->has_chap)
        return -ENOENT;
    *chap = trial->chap;
    return 0;
}

static bool trial_has_session(void *opaque, const char *initiator, const uint8_t isid[6],
                              uint16_t tsih)
{
    (void)initiator, (void)isid, (void)tsih;
    return ((struct trial *)opaque)->has_session;
}

void access_chap_wipe(struct access_chap *chap)
{
    memset(chap, 0, sizeof(*chap));
}

static void trial_begin(struct trial *trial)
{
    trial->env = (struct login_env){
        .env = &trial_env,
        .target_name = TARGET,
        .portal_group_tag = 1,
        .find_chap = trial_find_chap,
        .has_session = trial_has_session,
        .opaque = trial,
    };
    login_init(&trial->login, &trial->env);
}

static struct trial *trial_new(void)
{
    struct trial *trial = calloc(1, sizeof(*trial));
    CU_ASSERT_PTR_NOT_NULL_FATAL(trial);
    trial_begin(trial);
    return trial;
}

static void trial_free(struct trial *trial)
{
    login_destroy(&trial->login);
    free(trial);
}

/* One request; newlines in @text stand for NULs. The status of the reply. */
static unsigned trial_send(struct trial *trial, unsigned stage, unsigned next, unsigned flags,
                           const char *text)
{
    struct wire_login_request bhs = {
        .opcode = WIRE_LOGIN_REQUEST | WIRE_IMMEDIATE,
        .flags = (uint8_t)(flags | stage << 2 | next),
        .tsih = be16_put(trial->has_session ? 5 : 0),
        .itt = be32_put(9),
        .cmd_sn = be32_put(77),
    };
    size_t len = strlen(text);
    AUTO_FREE uint8_t *data = malloc(len + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(data);
    for (size_t i = 0; i < len; i++)
        data[i] = text[i] == '\n' ? 0 : (uint8_t)text[i];
    struct pdu pdu = {
        .bhs = (const struct wire_bhs *)&bhs, .data = data, .data_len = (uint32_t)len};
    trial->step = login_handle_pdu(&trial->login, &pdu, &trial->reply);
    for (size_t i = 0; i < trial->reply.text_len; i++)
        trial->text[i] = trial->reply.text[i] ? (char)trial->reply.text[i] : '\n';
    trial->text[trial->reply.text_len] = '\0';
    CU_ASSERT_EQUAL(be32_get(trial->reply.bhs.itt), 9);
    CU_ASSERT_EQUAL(pdu_data_len((const struct wire_bhs *)&trial->reply.bhs),
                    trial->reply.text_len);
    return be16_get(trial->reply.bhs.status);
}

static bool trial_said(const struct trial *trial, const char *line)
{
    const char *at = strstr(trial->text, line);
    return at && (at == trial->text || at[-1] == '\n') && at[strlen(line)] == '\n';
}

/* ---- stages -------------------------------------------------------------------------------- */

static void test_straight(void)
{
    struct trial *trial = trial_new();
    CU_ASSERT_EQUAL(trial_send(trial, O, F, T, NAMES "DataDigest=CRC32C\n"), 0);
    CU_ASSERT_EQUAL(trial->step, LOGIN_COMPLETE);
    CU_ASSERT_EQUAL(login_finish(&trial->login, WIRE_LOGIN_SUCCESS, 3, &trial->reply),
                    LOGIN_COMPLETE);
    CU_ASSERT_EQUAL(trial->reply.bhs.flags, T | O << 2 | F);
    CU_ASSERT_EQUAL(be16_get(trial->reply.bhs.tsih), 3);
    CU_ASSERT_EQUAL(be32_get(trial->reply.bhs.exp_cmd_sn), 77);
    CU_ASSERT_EQUAL(be32_get(trial->reply.bhs.stat_sn), 0);
    CU_ASSERT(trial_said(trial, "TargetPortalGroupTag=1"));
    CU_ASSERT(trial_said(trial, "DataDigest=CRC32C"));
    CU_ASSERT(trial_said(trial, "MaxRecvDataSegmentLength=262144"));
    CU_ASSERT_STRING_EQUAL(trial->login.initiator, "iqn.2026-11.test:i");
    trial_free(trial);
}

static void test_all_stages(void)
{
    struct trial *trial = trial_new();
    CU_ASSERT_EQUAL(trial_send(trial, S, O, T, NAMES "AuthMethod=CHAP,None\n"), 0);
    CU_ASSERT_EQUAL(trial->step, LOGIN_SEND);
    CU_ASSERT_EQUAL(trial->reply.bhs.flags, T | S << 2 | O);
    CU_ASSERT(trial_said(trial, "AuthMethod=None"));
    CU_ASSERT_EQUAL(trial_send(trial, O, 0, 0, "ErrorRecoveryLevel=2\nX-a=b\n"), 0);
    CU_ASSERT_EQUAL(trial->reply.bhs.flags, O << 2);
    CU_ASSERT(trial_said(trial, "ErrorRecoveryLevel=0"));
    CU_ASSERT(trial_said(trial, "X-a=NotUnderstood"));
    CU_ASSERT_EQUAL(be32_get(trial->reply.bhs.stat_sn), 1);
    CU_ASSERT_EQUAL(trial_send(trial, O, F, T, ""), 0);
    CU_ASSERT_EQUAL(trial->step, LOGIN_COMPLETE);
    CU_ASSERT_STRING_EQUAL(trial->text, "");
    trial_free(trial);
}

/* From security straight to full feature phase, without a word on authentication. */
static void test_short_cut(void)
{
    struct trial *trial = trial_new();
    CU_ASSERT_EQUAL(trial_send(trial, S, F, T, NAMES), 0);
    CU_ASSERT_EQUAL(trial->step, LOGIN_COMPLETE);
    trial_free(trial);
}

static void test_wrong_requests(void)
{
    static const struct
    {
        unsigned stage, next, flags;
        const char *text;
        unsigned status;
    } cases[] = {
        {O, F, T, "TargetName=" TARGET "\n", WIRE_LOGIN_MISSING_PARAMETER},
        {O, F, T, "InitiatorName=iqn.2026-11.test:I\n", WIRE_LOGIN_MISSING_PARAMETER},
        {O, F, T, "", WIRE_LOGIN_MISSING_PARAMETER},
        {O, F, T, "InitiatorName=nobody\n", WIRE_LOGIN_INITIATOR_ERROR},
        {O, F, T, "InitiatorName=iqn.2026-11.test:I\nTargetName=iqn.2026-11.x:y\n",
         WIRE_LOGIN_NOT_FOUND},
        {O, F, T, NAMES "SessionType=Odd\n", WIRE_LOGIN_SESSION_TYPE_UNSUPPORTED},
        {O, F, T, NAMES "InitiatorName=iqn.2026-11.test:J\n", WIRE_LOGIN_INITIATOR_ERROR},
        {O, F, T, NAMES "InitialR2T=No\nInitialR2T=No\n", WIRE_LOGIN_INITIATOR_ERROR},
        {O, F, T, NAMES "SendTargets=All\n", WIRE_LOGIN_INITIATOR_ERROR},
        {O, F, T, NAMES "AuthMethod=None\n", WIRE_LOGIN_INITIATOR_ERROR},
        {O, F, T, NAMES "rubbish\n", WIRE_LOGIN_INITIATOR_ERROR},
        {S, O, T, NAMES "InitialR2T=No\n", WIRE_LOGIN_INITIATOR_ERROR},
        {S, O, T, NAMES "AuthMethod=KRB5\n", WIRE_LOGIN_AUTHENTICATION_FAILED},
        {S, O, T, NAMES "AuthMethod=CHAP\n", WIRE_LOGIN_AUTHENTICATION_FAILED},
        {S, O, T, NAMES "CHAP_A=5\n", WIRE_LOGIN_INITIATOR_ERROR},
        {S, O, T, NAMES "CHAP_N=u\nCHAP_R=0x00\n", WIRE_LOGIN_INITIATOR_ERROR},
        {2, F, T, NAMES, WIRE_LOGIN_INITIATOR_ERROR},
        {F, F, T, NAMES, WIRE_LOGIN_INITIATOR_ERROR},
        {O, O, T, NAMES, WIRE_LOGIN_INITIATOR_ERROR},
        {O, S, T, NAMES, WIRE_LOGIN_INITIATOR_ERROR},
        {S, 2, T, NAMES, WIRE_LOGIN_INITIATOR_ERROR},
        {O, F, T | C, NAMES, WIRE_LOGIN_INITIATOR_ERROR},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    {
        struct trial *trial = trial_new();
        unsigned status =
            trial_send(trial, cases[i].stage, cases[i].next, cases[i].flags, cases[i].text);
        if (status != cases[i].status)
            printf("\ncase %zu: %04x instead of %04x\n", i, status, cases[i].status);
        CU_ASSERT_EQUAL(status, cases[i].status);
        CU_ASSERT_EQUAL(trial->step, LOGIN_REFUSE);
        CU_ASSERT_EQUAL(trial->reply.text_len, 0);
        trial_free(trial);
    }
}

static void test_stage_goes_back(void)
{
    struct trial *trial = trial_new();
    CU_ASSERT_EQUAL(trial_send(trial, S, O, T, NAMES), 0);
    CU_ASSERT_EQUAL(trial_send(trial, S, O, T, ""), WIRE_LOGIN_INVALID_DURING_LOGIN);
    trial_free(trial);
    /* Who it is cannot change later. */
    trial = trial_new();
    CU_ASSERT_EQUAL(trial_send(trial, S, O, T, NAMES), 0);
    CU_ASSERT_EQUAL(trial_send(trial, O, F, T, "SessionType=Discovery\n"),
                    WIRE_LOGIN_INITIATOR_ERROR);
    trial_free(trial);
}

static void test_version(void)
{
    struct trial *trial = trial_new();
    struct wire_login_request bhs = {.opcode = 0x43, .version_min = 1, .version_max = 2};
    struct pdu pdu = {.bhs = (const struct wire_bhs *)&bhs};
    CU_ASSERT_EQUAL(login_handle_pdu(&trial->login, &pdu, &trial->reply), LOGIN_REFUSE);
    CU_ASSERT_EQUAL(be16_get(trial->reply.bhs.status), WIRE_LOGIN_UNSUPPORTED_VERSION);
    trial_free(trial);
}

static void test_endless(void)
{
    struct trial *trial = trial_new();
    unsigned status = trial_send(trial, O, 0, 0, NAMES);
    for (unsigned i = 1; i < LOGIN_REQUESTS_MAX; i++)
    {
        CU_ASSERT_EQUAL(status, 0);
        status = trial_send(trial, O, 0, 0, "");
    }
    CU_ASSERT_EQUAL(trial_send(trial, O, 0, 0, ""), WIRE_LOGIN_OUT_OF_RESOURCES);
    trial_free(trial);
}

static void test_surroundings(void)
{
    struct trial *trial = trial_new();
    trial->has_session = true;
    CU_ASSERT_EQUAL(trial_send(trial, O, F, T, NAMES), WIRE_LOGIN_TOO_MANY_CONNECTIONS);
    trial_free(trial);
    trial = trial_new();
    trial->chap_error = -EIO;
    CU_ASSERT_EQUAL(trial_send(trial, O, F, T, NAMES), WIRE_LOGIN_TARGET_ERROR);
    trial_free(trial);
    /* A secret that the target has not the key for: not let in, whatever is offered. */
    static const char *const offers[] = {"AuthMethod=None\n", "AuthMethod=CHAP,None\n", ""};
    for (size_t i = 0; i < ARRAY_SIZE(offers); i++)
    {
        char text[256];
        trial = trial_new();
        trial->chap_error = -EKEYREJECTED;
        snprintf(text, sizeof(text), "%s%s", NAMES, offers[i]);
        CU_ASSERT_EQUAL(trial_send(trial, *offers[i] ? WIRE_STAGE_SECURITY : O, F, T, text),
                        WIRE_LOGIN_TARGET_ERROR);
        trial_free(trial);
    }
    trial = trial_new();
    trial->env.redirect = "[fd00::1]:3260";
    trial->env.redirect_permanently = true;
    CU_ASSERT_EQUAL(trial_send(trial, O, F, T, NAMES), WIRE_LOGIN_MOVED_PERMANENTLY);
    CU_ASSERT_STRING_EQUAL(trial->text, "TargetAddress=[fd00::1]:3260\n");
    trial_free(trial);
}

/* ---- long texts ---------------------------------------------------------------------------- */

static void test_continued_request(void)
{
    struct trial *trial = trial_new();
    CU_ASSERT_EQUAL(trial_send(trial, O, 0, C, "InitiatorName=iqn.2026-"), 0);
    CU_ASSERT_EQUAL(trial->reply.bhs.flags, O << 2);
    CU_ASSERT_EQUAL(trial->reply.text_len, 0);
    CU_ASSERT_EQUAL(trial_send(trial, O, 0, C, "11.test:I\nTarget"), 0);
    CU_ASSERT_EQUAL(trial_send(trial, O, F, T, "Name=" TARGET "\n"), 0);
    CU_ASSERT_EQUAL(trial->step, LOGIN_COMPLETE);
    trial_free(trial);
    /* Not for ever. */
    trial = trial_new();
    static char much[8193];
    memset(much, 'x', 8192);
    unsigned status = 0;
    for (int i = 0; i < 6 && status == 0; i++)
        status = trial_send(trial, O, 0, C, much);
    CU_ASSERT_EQUAL(status, WIRE_LOGIN_OUT_OF_RESOURCES);
    trial_free(trial);
}

static void test_continued_answer(void)
{
    struct trial *trial = trial_new();
    char text[8192] = NAMES "MaxRecvDataSegmentLength=512\n";
    for (int i = 0; i < 100; i++)
        snprintf(text + strlen(text), 64, "X-com.example.key%d=1\n", i);
    CU_ASSERT_EQUAL(trial_send(trial, O, F, T, text), 0);
    char all[65536] = "";
    unsigned rounds = 0;
    while (trial->step == LOGIN_SEND && rounds++ < 50)
    {
        CU_ASSERT_EQUAL(trial->reply.bhs.flags, C | O << 2);
        CU_ASSERT_EQUAL(trial->reply.text_len, 512);
        strncat(all, trial->text, sizeof(all) - strlen(all) - 1);
        CU_ASSERT_EQUAL(trial_send(trial, O, F, T, ""), 0);
    }
    strncat(all, trial->text, sizeof(all) - strlen(all) - 1);
    CU_ASSERT_EQUAL(trial->step, LOGIN_COMPLETE);
    CU_ASSERT_PTR_NOT_NULL(strstr(all, "\nX-com.example.key0=NotUnderstood\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(all, "\nX-com.example.key99=NotUnderstood\n"));
    trial_free(trial);
}

/* ---- CHAP ---------------------------------------------------------------------------------- */

/* Up to the challenge. */
static struct trial *trial_challenged(unsigned algorithm)
{
    struct trial *trial = trial_new();
    char text[64];
    trial->has_chap = true;
    memcpy(trial->chap.user, "alice", 6);
    memcpy(trial->chap.secret, "secret-of-alice", 16);
    memcpy(trial->chap.mutual_user, "target", 7);
    memcpy(trial->chap.mutual_secret, "secret-of-target", 17);
    CU_ASSERT_EQUAL(trial_send(trial, S, O, 0, NAMES "AuthMethod=None,CHAP\n"), 0);
    CU_ASSERT(trial_said(trial, "AuthMethod=CHAP"));
    snprintf(text, sizeof(text), "CHAP_A=99,%u\n", algorithm);
    CU_ASSERT_EQUAL(trial_send(trial, S, O, 0, text), 0);
    CU_ASSERT(trial_said(trial, "CHAP_I=1"));
    CU_ASSERT_PTR_NOT_NULL(strstr(trial->text, "CHAP_C=0x0102030405"));
    return trial;
}

static void put_response(char *text, size_t size, unsigned algorithm, const char *user,
                         const char *secret, const char *more)
{
    uint8_t challenge[CHAP_CHALLENGE_BYTES], digest[CHAP_DIGEST_MAX];
    trial_random(NULL, challenge, sizeof(challenge));
    CU_ASSERT_EQUAL(chap_respond(algorithm, 1, secret, challenge, sizeof(challenge), digest), 0);
    int at = snprintf(text, size, "CHAP_N=%s\nCHAP_R=0x", user);
    for (size_t i = 0; i < chap_digest_len(algorithm); i++)
        at += snprintf(text + at, size - (size_t)at, "%02X", digest[i]);
    snprintf(text + at, size - (size_t)at, "\n%s", more);
}

static void test_chap(void)
{
    for (unsigned algorithm = CHAP_MD5; algorithm <= CHAP_SHA3_256; algorithm++)
    {
        char text[1024], expected[256] = "CHAP_R=0x";
        struct trial *trial = trial_challenged(algorithm);
        put_response(text, sizeof(text), algorithm, "alice", "secret-of-alice", "");
        CU_ASSERT_EQUAL(trial_send(trial, S, O, T, text), 0);
        CU_ASSERT_EQUAL(trial->reply.bhs.flags, T | S << 2 | O);
        CU_ASSERT(trial->login.is_authenticated);
        CU_ASSERT_EQUAL(trial_send(trial, O, F, T, ""), 0);
        CU_ASSERT_EQUAL(trial->step, LOGIN_COMPLETE);
        trial_free(trial);

        /* And we prove ourselves too. */
        uint8_t digest[CHAP_DIGEST_MAX];
        trial = trial_challenged(algorithm);
        put_response(text, sizeof(text), algorithm, "alice", "secret-of-alice",
                     "CHAP_I=200\nCHAP_C=0x0badcafe\n");
        CU_ASSERT_EQUAL(trial_send(trial, S, F, T, text), 0);
        CU_ASSERT_EQUAL(chap_respond(algorithm, 200, "secret-of-target",
                                     (const uint8_t *)"\x0b\xad\xca\xfe", 4, digest),
                        0);
        for (size_t i = 0; i < chap_digest_len(algorithm); i++)
            snprintf(expected + strlen(expected), 3, "%02x", digest[i]);
        CU_ASSERT(trial_said(trial, "CHAP_N=target"));
        CU_ASSERT(trial_said(trial, expected));
        CU_ASSERT_EQUAL(trial->step, LOGIN_COMPLETE);
        trial_free(trial);
    }
}

static void test_chap_fails(void)
{
    static const struct
    {
        const char *user, *secret, *more;
        unsigned status;
    } cases[] = {
        {"alice", "secret-of-alicf", "", WIRE_LOGIN_AUTHENTICATION_FAILED},
        {"alicf", "secret-of-alice", "", WIRE_LOGIN_AUTHENTICATION_FAILED},
        {"", "secret-of-alice", "", WIRE_LOGIN_AUTHENTICATION_FAILED},
        /* our own challenge back */
        {"alice", "secret-of-alice",
         "CHAP_I=9\nCHAP_C=0x0102030405060708090a0b0c0d0e0f10"
         "1112131415161718191a1b1c1d1e1f20\n",
         WIRE_LOGIN_AUTHENTICATION_FAILED},
        {"alice", "secret-of-alice", "CHAP_I=9\n", WIRE_LOGIN_AUTHENTICATION_FAILED},
        {"alice", "secret-of-alice", "CHAP_C=0x00\n", WIRE_LOGIN_AUTHENTICATION_FAILED},
        {"alice", "secret-of-alice", "CHAP_I=256\nCHAP_C=0x00\n", WIRE_LOGIN_AUTHENTICATION_FAILED},
        {"alice", "secret-of-alice", "CHAP_N=alice\n", WIRE_LOGIN_INITIATOR_ERROR},
        {"alice", "secret-of-alice", "CHAP_A=5\n", WIRE_LOGIN_INITIATOR_ERROR},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    {
        char text[1024];
        struct trial *trial = trial_challenged(CHAP_SHA256);
        put_response(text, sizeof(text), CHAP_SHA256, cases[i].user, cases[i].secret,
                     cases[i].more);
        CU_ASSERT_EQUAL(trial_send(trial, S, O, T, text), cases[i].status);
        CU_ASSERT_EQUAL(trial->step, LOGIN_REFUSE);
        CU_ASSERT(!trial->login.is_authenticated);
        trial_free(trial);
    }
}

/* No way round it. */
static void test_chap_evaded(void)
{
    static const struct
    {
        unsigned stage, next, flags;
        const char *text;
        unsigned status;
    } cases[] = {
        {O, F, T, NAMES, WIRE_LOGIN_AUTHENTICATION_FAILED},
        {S, O, T, NAMES, WIRE_LOGIN_AUTHENTICATION_FAILED},
        {S, F, T, NAMES, WIRE_LOGIN_AUTHENTICATION_FAILED},
        {S, O, T, NAMES "AuthMethod=None\n", WIRE_LOGIN_AUTHENTICATION_FAILED},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    {
        struct trial *trial = trial_new();
        trial->has_chap = true;
        memcpy(trial->chap.user, "alice", 6);
        CU_ASSERT_EQUAL(
            trial_send(trial, cases[i].stage, cases[i].next, cases[i].flags, cases[i].text),
            cases[i].status);
        trial_free(trial);
    }
    /* To leave in the midst of it does not leave. */
    struct trial *trial = trial_new();
    trial->has_chap = true;
    memcpy(trial->chap.user, "alice", 6);
    CU_ASSERT_EQUAL(trial_send(trial, S, F, T, NAMES "AuthMethod=CHAP\n"), 0);
    CU_ASSERT_EQUAL(trial->step, LOGIN_SEND);
    CU_ASSERT_EQUAL(trial->reply.bhs.flags, S << 2);
    CU_ASSERT_EQUAL(trial_send(trial, S, F, T, "CHAP_A=5\n"), 0);
    CU_ASSERT_EQUAL(trial->step, LOGIN_SEND);
    CU_ASSERT_EQUAL(trial->reply.bhs.flags, S << 2);
    CU_ASSERT_EQUAL(trial_send(trial, S, F, T, ""), 0);
    CU_ASSERT_EQUAL(trial->step, LOGIN_SEND);
    CU_ASSERT_EQUAL(trial->reply.bhs.flags, S << 2);
    CU_ASSERT_EQUAL(trial_send(trial, O, F, T, ""), WIRE_LOGIN_INVALID_DURING_LOGIN);
    trial_free(trial);
}

static CU_TestInfo login_tests[] = {
    {"straight to full feature phase", test_straight},
    {"all stages", test_all_stages},
    {"from security to full feature phase", test_short_cut},
    {"wrong requests", test_wrong_requests},
    {"a stage that goes back", test_stage_goes_back},
    {"version", test_version},
    {"an endless login", test_endless},
    {"sessions, errors, redirection", test_surroundings},
    {"a request over several PDUs", test_continued_request},
    {"an answer over several PDUs", test_continued_answer},
    {"CHAP with each algorithm, one-way and mutual", test_chap},
    {"CHAP that fails", test_chap_fails},
    {"CHAP evaded", test_chap_evaded},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"iscsi_login", NULL, NULL, NULL, NULL, login_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
