/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The target on the real engine, with libiscsi for a client: logins with every choice, CHAP,
 * discovery, verified data, several sessions, and changes of LUNs that reach the sessions.
 */
#include <errno.h>
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"
#include "tests/e2e/iscsi/stage.h"
#include "tests/lib/cunit_main.h"

enum
{
    CLIENT_MIB = 1 << 20,
    CLIENT_SESSIONS = 8,
};

/* ---- clients ------------------------------------------------------------------------------- */

struct choice
{
    const char *initiator;
    enum iscsi_header_digest digest;
    enum iscsi_immediate_data immediate;
    const char *user, *secret, *target_user, *target_secret;
    size_t portal;
};

/* Connected and logged in, or NULL. */
static struct iscsi_context *client_login(const struct stage *stage, const struct choice *choice)
{
    struct iscsi_context *iscsi = iscsi_create_context(choice->initiator);
    INVARIANT(iscsi);
    iscsi_set_noautoreconnect(iscsi, 1);
    iscsi_set_timeout(iscsi, 30);
    iscsi_set_targetname(iscsi, stage_target(stage));
    iscsi_set_session_type(iscsi, ISCSI_SESSION_NORMAL);
    iscsi_set_header_digest(iscsi, choice->digest);
    iscsi_set_immediate_data(iscsi, choice->immediate);
    if (choice->user)
        iscsi_set_initiator_username_pwd(iscsi, choice->user, choice->secret);
    if (choice->target_user)
        iscsi_set_target_username_pwd(iscsi, choice->target_user, choice->target_secret);
    if (iscsi_connect_sync(iscsi, stage_address(stage, choice->portal)) == 0 &&
        iscsi_login_sync(iscsi) == 0)
        return iscsi;
    iscsi_destroy_context(iscsi);
    return NULL;
}

static void client_logout(struct iscsi_context *iscsi)
{
    CU_ASSERT_EQUAL(iscsi_logout_sync(iscsi), 0);
    iscsi_destroy_context(iscsi);
}

/* Status, and with CHECK CONDITION sense key << 16 | ASC and ASCQ. */
static int client_result(struct scsi_task *task)
{
    if (!task)
        return -1;
    int result = task->status;
    if (task->status == SCSI_STATUS_CHECK_CONDITION)
        result = (int)task->sense.key << 16 | task->sense.ascq;
    scsi_free_scsi_task(task);
    return result;
}

static int client_ready(struct iscsi_context *iscsi, int lun)
{
    return client_result(iscsi_testunitready_sync(iscsi, lun));
}

/* Takes the unit attentions that a new session has; the last result. */
static int client_settle(struct iscsi_context *iscsi, int lun)
{
    int result = client_ready(iscsi, lun);
    for (int i = 0; i < 4 && result >> 16 == SCSI_SENSE_UNIT_ATTENTION; i++)
        result = client_ready(iscsi, lun);
    return result;
}

static void client_fill(uint8_t *bytes, size_t len, uint32_t seed)
{
    for (size_t i = 0; i + 4 <= len; i += 4)
    {
        seed = seed * 1664525 + 1013904223;
        memcpy(bytes + i, &seed, 4);
    }
}

static void client_verify(struct iscsi_context *iscsi, int lun, uint32_t sector, uint64_t lba,
                          uint32_t len, uint32_t seed)
{
    AUTO_FREE uint8_t *wrote = malloc(len);
    INVARIANT(wrote);
    client_fill(wrote, len, seed);
    CU_ASSERT_EQUAL(
        client_result(iscsi_write16_sync(iscsi, lun, lba, wrote, len, (int)sector, 0, 0, 0, 0, 0)),
        SCSI_STATUS_GOOD);
    struct scsi_task *task = iscsi_read16_sync(iscsi, lun, lba, len, (int)sector, 0, 0, 0, 0, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(task);
    CU_ASSERT_EQUAL(task->status, SCSI_STATUS_GOOD);
    CU_ASSERT_EQUAL_FATAL(task->datain.size, (int)len);
    CU_ASSERT_EQUAL(memcmp(task->datain.data, wrote, len), 0);
    scsi_free_scsi_task(task);
}

/* ---- tests --------------------------------------------------------------------------------- */

static void test_data(void)
{
    static const uint32_t sizes[] = {4096,   8192,   61440,      65536,
                                     131072, 266240, CLIENT_MIB, 5 * CLIENT_MIB};
    struct stage stage;
    stage_open(&stage);
    for (unsigned variant = 0; variant < 8; variant++)
    {
        struct choice choice = {
            .initiator = STAGE_INITIATOR,
            .digest = variant & 1 ? ISCSI_HEADER_DIGEST_CRC32C : ISCSI_HEADER_DIGEST_NONE,
            .immediate = variant & 2 ? ISCSI_IMMEDIATE_DATA_NO : ISCSI_IMMEDIATE_DATA_YES,
            .portal = (variant >> 2) % stage_portal_count(&stage),
        };
        struct iscsi_context *iscsi = client_login(&stage, &choice);
        CU_ASSERT_PTR_NOT_NULL_FATAL(iscsi);
        CU_ASSERT_EQUAL(client_settle(iscsi, 0), SCSI_STATUS_GOOD);
        CU_ASSERT_EQUAL(client_settle(iscsi, 1), SCSI_STATUS_GOOD);
        client_verify(iscsi, 0, 512, 3, 512, variant);
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
        {
            client_verify(iscsi, 0, 512, 8 * i, sizes[i], variant + 100);
            client_verify(iscsi, 0, 512, 8 * i + 5, sizes[i], variant + 200);
            client_verify(iscsi, 1, 4096, i, sizes[i], variant + 300);
        }
        CU_ASSERT_EQUAL(client_result(iscsi_synchronizecache10_sync(iscsi, 0, 0, 0, 0, 0)),
                        SCSI_STATUS_GOOD);
        client_logout(iscsi);
    }
    stage_close(&stage);
}

static void test_chap(void)
{
    struct stage stage;
    struct reason why;
    struct access_chap chap = {.user = "alice",
                               .secret = "secret-of-alice",
                               .mutual_user = "target",
                               .mutual_secret = "secret-of-target"};
    stage_open(&stage);
    CU_ASSERT_EQUAL(access_chap_set(stage.access, STAGE_INITIATOR, &chap, &why), 0);
    static const struct
    {
        struct choice choice;
        bool is_good;
    } cases[] = {
        {{STAGE_INITIATOR, 0, 0, NULL, NULL, NULL, NULL, 0}, false},
        {{STAGE_INITIATOR, 0, 0, "alice", "secret-of-alice", NULL, NULL, 0}, true},
        {{STAGE_INITIATOR, 0, 0, "alice", "secret-of-alica", NULL, NULL, 0}, false},
        {{STAGE_INITIATOR, 0, 0, "alicf", "secret-of-alice", NULL, NULL, 0}, false},
        {{STAGE_INITIATOR, 0, 0, "alice", "secret-of-alice", "target", "secret-of-target", 0},
         true},
        {{STAGE_INITIATOR, 0, 0, "alice", "secret-of-alice", "target", "another-secret-x", 0},
         false},
        {{STAGE_INITIATOR ":1", 0, 0, NULL, NULL, NULL, NULL, 0}, true}, /* need not */
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    {
        struct iscsi_context *iscsi = client_login(&stage, &cases[i].choice);
        CU_ASSERT_EQUAL(iscsi != NULL, cases[i].is_good);
        if (iscsi)
            client_logout(iscsi);
    }
    stage_close(&stage);
}

/* Number of targets that @initiator finds, and of their addresses. */
static int client_discover(const struct stage *stage, const char *initiator, int *addresses)
{
    struct iscsi_context *iscsi = iscsi_create_context(initiator);
    int found = 0;
    *addresses = 0;
    iscsi_set_session_type(iscsi, ISCSI_SESSION_DISCOVERY);
    iscsi_set_header_digest(iscsi, ISCSI_HEADER_DIGEST_NONE);
    CU_ASSERT_EQUAL_FATAL(iscsi_connect_sync(iscsi, stage_address(stage, 0)), 0);
    CU_ASSERT_EQUAL_FATAL(iscsi_login_sync(iscsi), 0);
    struct iscsi_discovery_address *list = iscsi_discovery_sync(iscsi);
    for (struct iscsi_discovery_address *at = list; at; at = at->next)
    {
        found++;
        CU_ASSERT_STRING_EQUAL(at->target_name, stage_target(stage));
        for (struct iscsi_target_portal *portal = at->portals; portal; portal = portal->next)
            ++*addresses;
    }
    if (list)
        iscsi_free_discovery_data(iscsi, list);
    client_logout(iscsi);
    return found;
}

static void test_discovery(void)
{
    struct stage stage;
    int addresses;
    stage_open(&stage);
    CU_ASSERT_EQUAL(client_discover(&stage, STAGE_INITIATOR, &addresses), 1);
    CU_ASSERT_EQUAL((size_t)addresses, stage_portal_count(&stage));
    CU_ASSERT_EQUAL(client_discover(&stage, "iqn.2026-11.test:stranger", &addresses), 0);
    stage_close(&stage);
}

/* Each of several sessions sees what the others wrote. */
static void test_sessions(void)
{
    struct stage stage;
    struct iscsi_context *clients[CLIENT_SESSIONS];
    const struct choice choice = {.initiator = STAGE_INITIATOR};
    stage_open(&stage);
    for (unsigned i = 0; i < CLIENT_SESSIONS; i++)
    {
        clients[i] = client_login(&stage, &choice);
        CU_ASSERT_PTR_NOT_NULL_FATAL(clients[i]);
        CU_ASSERT_EQUAL(client_settle(clients[i], 0), SCSI_STATUS_GOOD);
    }
    for (uint32_t round = 0; round < 20; round++)
    {
        uint8_t bytes[4096], expected[4096];
        struct iscsi_context *writer = clients[round % CLIENT_SESSIONS];
        struct iscsi_context *reader = clients[(round + 3) % CLIENT_SESSIONS];
        client_fill(bytes, sizeof(bytes), round);
        CU_ASSERT_EQUAL(client_result(iscsi_write10_sync(writer, 0, 16, bytes, sizeof(bytes), 512,
                                                         0, 0, 0, 0, 0)),
                        SCSI_STATUS_GOOD);
        memcpy(expected, bytes, sizeof(bytes));
        struct scsi_task *task =
            iscsi_read10_sync(reader, 0, 16, sizeof(bytes), 512, 0, 0, 0, 0, 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(task);
        CU_ASSERT_EQUAL_FATAL(task->datain.size, (int)sizeof(bytes));
        CU_ASSERT_EQUAL(memcmp(task->datain.data, expected, sizeof(expected)), 0);
        scsi_free_scsi_task(task);
    }
    CU_ASSERT_EQUAL(stage_session_count(&stage), CLIENT_SESSIONS);
    for (unsigned i = 0; i < CLIENT_SESSIONS; i++)
        client_logout(clients[i]);
    stage_close(&stage);
}

/* What management does to LUNs reaches the sessions that see them, as unit attentions. */
static void test_changes(void)
{
    struct stage stage;
    struct reason why;
    uint32_t used;
    const struct choice choice = {.initiator = STAGE_INITIATOR};
    stage_open(&stage);
    struct iscsi_context *iscsi = client_login(&stage, &choice);
    CU_ASSERT_PTR_NOT_NULL_FATAL(iscsi);
    CU_ASSERT_EQUAL(client_settle(iscsi, 0), SCSI_STATUS_GOOD);
    CU_ASSERT_EQUAL(client_settle(iscsi, 1), SCSI_STATUS_GOOD);

    CU_ASSERT_EQUAL(lun_resize(stage.pool, "a", 2 * STAGE_LUN_BYTES, 0, &why), 0);
    CU_ASSERT_EQUAL(client_ready(iscsi, 0), SCSI_SENSE_UNIT_ATTENTION << 16 | 0x2a09);
    CU_ASSERT_EQUAL(client_ready(iscsi, 0), SCSI_STATUS_GOOD);
    CU_ASSERT_EQUAL(client_ready(iscsi, 1), SCSI_STATUS_GOOD);
    client_verify(iscsi, 0, 512, STAGE_LUN_BYTES / 512 + 8, 65536, 1);

    CU_ASSERT_EQUAL(access_unmap(stage.access, "b", "g", &why), 0);
    CU_ASSERT_EQUAL(client_ready(iscsi, 1), SCSI_SENSE_ILLEGAL_REQUEST << 16 | 0x2500);
    CU_ASSERT_EQUAL(client_ready(iscsi, 0), SCSI_SENSE_UNIT_ATTENTION << 16 | 0x3f0e);
    CU_ASSERT_EQUAL(client_ready(iscsi, 0), SCSI_STATUS_GOOD);
    CU_ASSERT_EQUAL(access_map(stage.access, "b", "g", 7, &used, &why), 0);
    CU_ASSERT_EQUAL(client_settle(iscsi, 7), SCSI_STATUS_GOOD);
    client_logout(iscsi);
    stage_close(&stage);
}

/* The server goes and comes back; what was flushed is there. */
static void test_restart(void)
{
    struct stage stage;
    const struct choice choice = {.initiator = STAGE_INITIATOR};
    stage_open(&stage);
    struct iscsi_context *iscsi = client_login(&stage, &choice);
    CU_ASSERT_PTR_NOT_NULL_FATAL(iscsi);
    CU_ASSERT_EQUAL(client_settle(iscsi, 0), SCSI_STATUS_GOOD);
    client_verify(iscsi, 0, 512, 64, CLIENT_MIB, 77);
    stage_restart(&stage);
    CU_ASSERT_NOT_EQUAL(client_ready(iscsi, 0), SCSI_STATUS_GOOD);
    iscsi_destroy_context(iscsi);
    iscsi = client_login(&stage, &choice);
    CU_ASSERT_PTR_NOT_NULL_FATAL(iscsi);
    CU_ASSERT_EQUAL(client_settle(iscsi, 0), SCSI_STATUS_GOOD);
    AUTO_FREE uint8_t *expected = malloc(CLIENT_MIB);
    client_fill(expected, CLIENT_MIB, 77);
    struct scsi_task *task = iscsi_read16_sync(iscsi, 0, 64, CLIENT_MIB, 512, 0, 0, 0, 0, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(task);
    CU_ASSERT_EQUAL_FATAL(task->datain.size, CLIENT_MIB);
    CU_ASSERT_EQUAL(memcmp(task->datain.data, expected, CLIENT_MIB), 0);
    scsi_free_scsi_task(task);
    client_logout(iscsi);
    stage_close(&stage);
}

static CU_TestInfo client_tests[] = {
    {"data by every choice of the login", test_data},
    {"CHAP", test_chap},
    {"discovery", test_discovery},
    {"several sessions", test_sessions},
    {"changes of LUNs", test_changes},
    {"restart", test_restart},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"iscsi_client", NULL, NULL, NULL, NULL, client_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
