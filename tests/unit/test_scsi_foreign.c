/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is mapped to others looks like what is not there: whatever a host asks, byte for byte,
 * whatever the others do meanwhile. LUN 5 is the others', LUN 9 nobody's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/scsi/scsi_internal.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/scsi_host.h"

#define HOST_THEIRS "iqn.2001-04.com.example:theirs"

enum
{
    THEIRS = 5,
    NOBODYS = 9,
    ROOM = 1024,
};

static struct scsi_host host;
static struct scsi_nexus *ours, *theirs;

static void set_up(void)
{
    static const char *const initiators[] = {HOST_THEIRS};
    struct lun_create_args args = {.name = "hidden", .size_bytes = HOST_LUN_BYTES};
    host_start(&host, 512);
    CU_ASSERT_EQUAL_FATAL(lun_create(host.pool, &args, NULL), 0);
    CU_ASSERT_EQUAL(access_igroup_create(host.access, "theirs", initiators, 1, NULL), 0);
    CU_ASSERT_EQUAL(access_map(host.access, "hidden", "theirs", THEIRS, NULL, NULL), 0);
    ours = host_login(&host, HOST_A, 1);
    theirs = host_login(&host, HOST_THEIRS, 1);
    host_clear(ours, 0);
    host_clear(ours, 1);
    host_clear(theirs, THEIRS);
}

static void tear_down(void)
{
    scsi_nexus_destroy(ours);
    scsi_nexus_destroy(theirs);
    host_stop(&host);
}

/* Each command that there is, and with its length filled in: what @nexus hears at @lun. */
static const struct outcome *send_command(struct scsi_nexus *nexus, uint32_t lun,
                                          const struct scsi_command *command, bool is_out)
{
    static const uint8_t zeros[ROOM];
    uint8_t cdb[16] = {command->opcode};
    if (command->has_action && command->cdb_len == 32)
        return NULL;
    if (command->has_action)
        cdb[1] = (uint8_t)command->action;
    for (unsigned i = 0; i < command->length_bytes; i++)
        cdb[command->length_at + i] = i + 1 == command->length_bytes ? 64 : 0;
    struct sending sending = {.lun = lun, .cdb = cdb, .cdb_len = 16};
    if (is_out)
        sending.out = zeros, sending.out_len = 64;
    else
        sending.in_len = 64;
    return host_send(nexus, &sending);
}

static bool looks_the_same(const struct outcome *a, const struct outcome *b)
{
    return a->status == b->status && a->key == b->key && a->asc == b->asc && a->ascq == b->ascq &&
           a->has_information == b->has_information && a->field_byte == b->field_byte &&
           a->residual == b->residual && a->len == b->len && memcmp(a->in, b->in, a->len) == 0;
}

static void compare_all(void)
{
    static struct outcome first;
    unsigned refused = 0, count = 0;
    for (size_t i = 0; i < scsi_command_count; i++)
        for (int is_out = 0; is_out < 2; is_out++)
        {
            const struct scsi_command *command = &scsi_commands[i];
            const struct outcome *outcome = send_command(ours, THEIRS, command, is_out);
            if (!outcome)
                continue;
            first = *outcome;
            outcome = send_command(ours, NOBODYS, command, is_out);
            if (!looks_the_same(&first, outcome))
                fprintf(stderr, "%s tells one from the other\n", command->name);
            CU_ASSERT_TRUE(looks_the_same(&first, outcome));
            refused += outcome->asc == 0x25;
            count++;
        }
    CU_ASSERT(refused + 10 > count && refused > 60); /* all but INQUIRY, REPORT LUNS and the like */
}

static void say_done(struct scsi_tmf *tmf)
{
    (void)tmf;
}

static void compare_management(void)
{
    for (unsigned function = SCSI_TMF_ABORT_TASK; function <= SCSI_TMF_QUERY_ASYNC_EVENT;
         function++)
    {
        uint8_t responses[2];
        if (function == SCSI_TMF_TARGET_WARM_RESET || function == SCSI_TMF_TARGET_COLD_RESET)
            continue; /* name no LUN */
        for (int i = 0; i < 2; i++)
        {
            struct scsi_tmf tmf = {.nexus = ours, .function = (uint8_t)function, .done = say_done};
            wire_put_u16(tmf.lun, i ? NOBODYS : THEIRS);
            scsi_tmf_start(&tmf);
            responses[i] = tmf.response;
        }
        CU_ASSERT_EQUAL(responses[0], responses[1]);
    }
    host_clear(ours, 0);
    host_clear(ours, 1);
}

/* REPORT LUNS of all kinds has two LUNs, and nothing waits to be told. */
static void check_quiet(void)
{
    CU_ASSERT_EQUAL(host_clear(ours, 0), 0);
    CU_ASSERT_EQUAL(host_clear(ours, 1), 0);
    for (uint8_t select = 0; select < 3; select++)
    {
        const struct outcome *outcome =
            host_in(ours, ROOM, 0xa0, 0, select, 0, 0, 0, 0, 0, 4, 0, 0, 0);
        CHECK_GOOD(outcome);
        CU_ASSERT_EQUAL(wire_u32(outcome->in), select == 1 ? 0 : 16);
        if (select != 1)
            CU_ASSERT_EQUAL(outcome->in[8 + 1] + outcome->in[16 + 1], 1);
    }
}

static void theirs_send(const uint8_t *cdb, size_t cdb_len, const void *out, size_t out_len)
{
    const struct sending sending = {
        .lun = THEIRS, .cdb = cdb, .cdb_len = cdb_len, .out = out, .out_len = out_len};
    CHECK_GOOD(host_send(theirs, &sending));
}

static void test_commands(void)
{
    compare_all();
    compare_management();
    check_quiet();
}

/* While they write, register, reserve; while their LUN grows, is restored, unmapped, gone. */
static void test_changes(void)
{
    static const uint8_t write[10] = {0x2a, 0, 0, 0, 0, 8, 0, 0, 1}, bytes[512] = "theirs";
    static const uint8_t pr_register[10] = {0x5f, 6, 0, 0, 0, 0, 0, 0, 24};
    static const uint8_t pr_reserve[10] = {0x5f, 1, 3, 0, 0, 0, 0, 0, 24};
    static const uint8_t new_key[24] = {[15] = 7}, key[24] = {[7] = 7};
    theirs_send(write, sizeof(write), bytes, sizeof(bytes));
    theirs_send(pr_register, sizeof(pr_register), new_key, sizeof(new_key));
    theirs_send(pr_reserve, sizeof(pr_reserve), key, sizeof(key));
    compare_all();
    check_quiet();
    CU_ASSERT_EQUAL(snapshot_create(host.pool, "hidden", "before", NULL, NULL), 0);
    CU_ASSERT_EQUAL(lun_resize(host.pool, "hidden", 2 * HOST_LUN_BYTES, 0, NULL), 0);
    CU_ASSERT(host_clear(theirs, THEIRS) > 0);
    check_quiet();
    CU_ASSERT_EQUAL(access_unmap(host.access, "hidden", NULL, NULL), 0);
    CU_ASSERT_EQUAL(access_map(host.access, "hidden", "theirs", THEIRS, NULL, NULL), 0);
    compare_all();
    compare_management();
    check_quiet();
    CU_ASSERT_EQUAL(access_unmap(host.access, "hidden", NULL, NULL), 0);
    compare_all();
    check_quiet();
}

/* What a copy command of theirs came to is for them alone, though the list id is the same. */
static void test_copy_results(void)
{
    static const uint8_t list[32] = {0, 30, [4] = 0, 0, 0, 30, [15] = 16, [27] = 8};
    static const uint8_t populate[16] = {0x83, 0x10, [9] = 3, [13] = sizeof(list)};
    static const uint8_t receive[16] = {0x84, 0x07, [5] = 3, [12] = 4};
    theirs_send(populate, sizeof(populate), list, sizeof(list));
    struct sending sending = {.lun = THEIRS, .cdb = receive, .cdb_len = 16, .in_len = ROOM};
    const struct outcome *outcome = host_send(theirs, &sending);
    CHECK_GOOD(outcome);
    CU_ASSERT(outcome->len > 100); /* a token */
    for (sending.lun = 0; sending.lun < 2; sending.lun++)
        CHECK_INVALID_CDB(host_send(ours, &sending));
    sending.lun = THEIRS;
    CHECK_SENSE(host_send(ours, &sending), 5, 0x25, 0);
}

/* REGISTER of further ports takes the name of a host that there is like any other, and tells the
 * one who has it nothing. */
static void test_transport_ids(void)
{
    static const char *const names[] = {HOST_THEIRS, "iqn.2001-04.com.example:madeup"};
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
    {
        uint8_t list[24 + 4 + 4 + 64] = {[15] = 9, [20] = 0x08};
        char text[64] = "";
        snprintf(text, sizeof(text), "%s,i,0x800000000001", names[i]);
        list[27] = 68, list[28] = 0x45, list[31] = 64;
        memcpy(list + 32, text, sizeof(text));
        CHECK_GOOD(host_out(ours, list, sizeof(list), 0x5f, 0, 0, 0, 0, 0, 0, 0, sizeof(list), 0));
        const struct outcome *outcome = host_in(ours, ROOM, 0x5e, 0, 0, 0, 0, 0, 0, 4, 0, 0);
        CU_ASSERT_EQUAL(wire_u32(outcome->in + 4), 16); /* two keys, either way */
        const uint8_t clear[24] = {[7] = 9};
        CHECK_GOOD(host_out(ours, clear, 24, 0x5f, 3, 0, 0, 0, 0, 0, 0, 24, 0));
    }
    CU_ASSERT_EQUAL(host_clear(theirs, THEIRS), 0);
}

/* No page of a LUN that we see names one that we do not, or who sees it. */
static void test_pages(void)
{
    static const char *const foreign[] = {"hidden", "theirs"};
    static uint8_t naa[16];
    struct sending inquiry = {
        .lun = THEIRS, .cdb = (const uint8_t[6]){0x12, 1, 0x83, 4}, .cdb_len = 6, .in_len = ROOM};
    const struct outcome *outcome = host_send(theirs, &inquiry);
    CHECK_GOOD(outcome);
    memcpy(naa, outcome->in + 8, sizeof(naa));
    CU_ASSERT_EQUAL(naa[0] >> 4, 6);
    for (unsigned page = 0; page < 256; page++)
        for (int kind = 0; kind < 3; kind++)
        {
            const uint8_t vpd[6] = {0x12, 1, (uint8_t)page, 4};
            const uint8_t log[10] = {
                0x4d, 0, (uint8_t)(0x40 | (page & 63)), (uint8_t)(page / 64), 0, 0, 0, 4};
            const uint8_t mode[10] = {0x5a, 0, (uint8_t)page, 0xff, 0, 0, 0, 4};
            struct sending sending = {.cdb = kind == 0   ? vpd
                                             : kind == 1 ? log
                                                         : mode,
                                      .cdb_len = kind == 0 ? 6 : 10,
                                      .in_len = ROOM};
            outcome = host_send(ours, &sending);
            CU_ASSERT_PTR_NULL(memmem(outcome->in, outcome->len, naa, sizeof(naa)));
            for (size_t i = 0; i < ARRAY_SIZE(foreign); i++)
                CU_ASSERT_PTR_NULL(
                    memmem(outcome->in, outcome->len, foreign[i], strlen(foreign[i])));
        }
}

static CU_TestInfo foreign_tests[] = {
    {"each command, each task management function", test_commands},
    {"while others do things", test_changes},
    {"results of copies", test_copy_results},
    {"TransportIDs", test_transport_ids},
    {"pages", test_pages},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"LUNs of others", NULL, NULL, set_up, tear_down, foreign_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
