/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The target on the real engine, with libiscsi for a client: logins with every choice, CHAP,
 * discovery, verified data, several sessions, and changes of LUNs that reach the sessions.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"
#include "tests/e2e/iscsi/client.h"
#include "tests/lib/cunit_main.h"

enum
{
    CLIENT_MIB = 1 << 20,
    CLIENT_SESSIONS = 8,
};

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
        {{STAGE_INITIATOR, 0, 0, NULL, NULL, NULL, NULL, 0, 0}, false},
        {{STAGE_INITIATOR, 0, 0, "alice", "secret-of-alice", NULL, NULL, 0, 0}, true},
        {{STAGE_INITIATOR, 0, 0, "alice", "secret-of-alica", NULL, NULL, 0, 0}, false},
        {{STAGE_INITIATOR, 0, 0, "alicf", "secret-of-alice", NULL, NULL, 0, 0}, false},
        {{STAGE_INITIATOR, 0, 0, "alice", "secret-of-alice", "target", "secret-of-target", 0, 0},
         true},
        {{STAGE_INITIATOR, 0, 0, "alice", "secret-of-alice", "target", "another-secret-x", 0, 0},
         false},
        {{STAGE_INITIATOR ":1", 0, 0, NULL, NULL, NULL, NULL, 0, 0}, true}, /* need not */
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
