/* SPDX-License-Identifier: BSD-3-Clause */
/* What hosts ask for seldom: choices and limits of commands that other tests use in one way. */
#include <string.h>

#include "lun/base/checked.h"
#include "server/scsi/scsi_internal.h"
#include "server/scsi/thirdparty.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/scsi_host.h"

enum
{
    LUN_BLOCKS = HOST_LUN_BYTES / 512,
};

static struct scsi_host host;
static struct scsi_nexus *nexus;

static void set_up(void)
{
    host_start(&host, 512);
    nexus = host_login(&host, HOST_A, 1);
    host_clear(nexus, 0);
}

static void tear_down(void)
{
    scsi_nexus_destroy(nexus);
    host_stop(&host);
}

/* ---- REPORT SUPPORTED OPERATION CODES ------------------------------------------------------ */

static const struct outcome *report_opcode(uint8_t options, uint8_t opcode, uint8_t action)
{
    return host_in(nexus, 64, 0xa3, 0x0c, options, opcode, 0, action, 0, 0, 0, 64, 0, 0);
}

/* By opcode with or without a service action, whichever it has. */
static void test_opcode_either(void)
{
    for (size_t i = 0; i < scsi_command_count; i++)
    {
        const struct scsi_command *command = &scsi_commands[i];
        const struct outcome *outcome = report_opcode(3, command->opcode, (uint8_t)command->action);
        CHECK_GOOD(outcome);
        CU_ASSERT_EQUAL(outcome->in[1] & 7, 3);
        CU_ASSERT_EQUAL(wire_u16(outcome->in + 2), command->cdb_len);
    }
    /* An action that the opcode has not, and one for an opcode that has none: not supported. */
    CU_ASSERT_EQUAL(report_opcode(3, 0x9e, 0x1f)->in[1] & 7, 1);
    CU_ASSERT_EQUAL(report_opcode(3, 0x28, 1)->in[1] & 7, 1);
    for (uint8_t options = 4; options < 8; options++)
        CHECK_INVALID_CDB(report_opcode(options, 0x28, 0));
}

/* ---- MODE SELECT ---------------------------------------------------------------------------- */

static const struct outcome *select_6(const uint8_t *list, size_t len)
{
    return host_out(nexus, list, len, 0x15, 0x10, 0, 0, (uint8_t)len, 0);
}

static const struct outcome *select_10(const uint8_t *list, size_t len)
{
    return host_out(nexus, list, len, 0x55, 0x10, 0, 0, 0, 0, 0, 0, (uint8_t)len, 0);
}

/* A block descriptor comes back as it was given, or without the number of blocks; what would change
 * the unit is refused. */
static void test_short_descriptor(void)
{
    uint8_t list[4 + 8 + 12] = {[3] = 8, [12] = 0x0a, [13] = 0x0a, [14] = 0, [15] = 0x10};
    const struct outcome *outcome = host_in(nexus, 255, 0x1a, 0, 0x0a, 0, 255, 0);
    CHECK_GOOD(outcome);
    memcpy(list + 4, outcome->in + 4, 8);
    memcpy(list + 12, outcome->in + 12, 12);
    list[12] &= 0x7f; /* PS is for the other direction */
    CHECK_GOOD(select_6(list, sizeof(list)));
    wire_put_u32(list + 4, 0);
    CHECK_GOOD(select_6(list, sizeof(list)));
    wire_put_u32(list + 4, LUN_BLOCKS - 1);
    CHECK_SENSE(select_6(list, sizeof(list)), 5, 0x26, 0);
    wire_put_u32(list + 4, LUN_BLOCKS);
    CHECK_GOOD(select_6(list, sizeof(list)));
    list[4 + 6] ^= 1; /* another sector */
    CHECK_SENSE(select_6(list, sizeof(list)), 5, 0x26, 0);
    list[4 + 6] ^= 1;
    for (size_t cut = 5; cut < 12; cut++)
        CHECK_SENSE(select_6(list, cut), 5, 0x1a, 0);
    CHECK_GOOD(select_6(list, 12)); /* the descriptor alone */
    CHECK_GOOD(host_in(nexus, 8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    CU_ASSERT_EQUAL(host_in(nexus, 8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0)->len, 8);
}

static void test_long_descriptor(void)
{
    uint8_t list[8 + 16] = {[4] = 1, [7] = 16};
    const struct outcome *outcome = host_in(nexus, 255, 0x5a, 0x10, 0x0a, 0, 0, 0, 0, 0, 255, 0);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(wire_u16(outcome->in + 6), 16);
    memcpy(list + 8, outcome->in + 8, 16);
    CHECK_GOOD(select_10(list, sizeof(list)));
    wire_put_u64(list + 8, UINT64_C(1) << 40);
    CHECK_SENSE(select_10(list, sizeof(list)), 5, 0x26, 0);
    wire_put_u64(list + 8, 0);
    CHECK_GOOD(select_10(list, sizeof(list)));
    wire_put_u32(list + 8 + 12, 4096);
    CHECK_SENSE(select_10(list, sizeof(list)), 5, 0x26, 0);
    list[4] = 0; /* a long one is announced as a short one */
    CHECK_SENSE(select_10(list, sizeof(list)), 5, 0x26, 0);
}

/* ---- tokens --------------------------------------------------------------------------------- */

/* POPULATE TOKEN of @count ranges of one block each. */
static const struct outcome *populate(unsigned count, uint8_t list_id)
{
    static uint8_t list[16 + 16 * (TOKEN_RANGES_MAX + 1)];
    size_t len = 16 + 16 * count;
    memset(list, 0, sizeof(list));
    wire_put_u16(list, len - 2);
    wire_put_u16(list + 14, 16 * count);
    for (unsigned i = 0; i < count; i++)
    {
        wire_put_u64(list + 16 + 16 * i, 2 * i);
        wire_put_u32(list + 24 + 16 * i, 1);
    }
    uint8_t cdb[16] = {0x83, 0x10};
    cdb[9] = list_id;
    wire_put_u32(cdb + 10, (uint32_t)len);
    struct sending sending = {.cdb = cdb, .cdb_len = 16, .out = list, .out_len = len};
    return host_send(nexus, &sending);
}

static void test_token_ranges(void)
{
    CHECK_GOOD(populate(TOKEN_RANGES_MAX, 1));
    CHECK_SENSE(populate(TOKEN_RANGES_MAX + 1, 2), 5, 0x26, 8);
    CHECK_GOOD(populate(1, 3)); /* the refused one holds nothing */
}

/* ---- SANITIZE ------------------------------------------------------------------------------ */

/* Two passes with the pattern turned round between them: what is left is the opposite of it. */
static void test_sanitize_inverts(void)
{
    static const uint8_t list[] = {0x82, 0, 0, 4, 0x12, 0x34, 0x56, 0x78};
    CHECK_GOOD(host_out(nexus, list, sizeof(list), 0x48, 0x01, 0, 0, 0, 0, 0, 0, sizeof(list), 0));
    const uint32_t places[] = {0, LUN_BLOCKS / 2 + 1, LUN_BLOCKS - 1};
    for (size_t i = 0; i < ARRAY_SIZE(places); i++)
    {
        const struct outcome *outcome = host_read(nexus, places[i], 1, 512);
        CHECK_GOOD(outcome);
        for (size_t at = 0; at < 512; at++)
            CU_ASSERT_EQUAL_FATAL(outcome->in[at], (uint8_t)~list[4 + at % 4]);
    }
    CHECK_GOOD(host_none(nexus, 0x00, 0, 0, 0, 0, 0));
}

static CU_TestInfo rare_tests[] = {
    {"REPORT SUPPORTED OPERATION CODES of either kind", test_opcode_either},
    {"a short block descriptor", test_short_descriptor},
    {"a long block descriptor", test_long_descriptor},
    {"ranges of a token", test_token_ranges},
    {"SANITIZE with a pattern turned round", test_sanitize_inverts},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"rare", NULL, NULL, set_up, tear_down, rare_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
