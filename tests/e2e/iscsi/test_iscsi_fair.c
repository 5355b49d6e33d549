/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who is served when, of busy clients and a quiet one on the same thread. By counting: the thread
 * is held up in the midst of a command while all that is to compete for it arrives.
 */
#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "server/iscsi/pdu.h"
#include "tests/e2e/iscsi/fixture.h"
#include "tests/lib/cunit_main.h"

enum
{
    FAIR_BUSY = 4,
    FAIR_COMMANDS = 32, /* of a busy client, 4 KiB of data with each: less than a socket takes */
    FAIR_BYTES = 4096,
    FAIR_BLOCKS = FAIR_BYTES / 512,
    FAIR_HOLD_EVERY = 8,
    FAIR_HOLDS = FAIR_COMMANDS / FAIR_HOLD_EVERY,
    FAIR_QUIET_LBA = 8192,
    /* Turns are whole commands, and the loop looks around after one turn's worth: so much may come
     * before who came while a turn was on. */
    FAIR_AHEAD = 8,
};

/* The target's clock stands still: a thread that the machine puts off in a read would take the disk
 * for cold, and give commands to workers, which nobody holds up. */
uint64_t __wrap_qos_clock_ns(void);

uint64_t __wrap_qos_clock_ns(void)
{
    return 1;
}

/* Each client writes to blocks of its own, so that an LBA tells whose command it is. */
static uint32_t fair_lba(unsigned client, unsigned command)
{
    return (client * FAIR_COMMANDS + command) * FAIR_BLOCKS;
}

static void fair_fill(uint8_t data[FAIR_BYTES], unsigned client, unsigned command)
{
    for (unsigned i = 0; i < FAIR_BYTES; i++)
        data[i] = (uint8_t)(i * 7 + client * 31 + command);
}

/* All commands of a busy client at once. With @with_holds some of them hold up the thread. */
static void fair_send_all(struct raw *raw, unsigned client, bool with_holds)
{
    static uint8_t bytes[FAIR_COMMANDS * (FAIR_BYTES + 128)];
    uint8_t data[FAIR_BYTES];
    size_t len = 0;
    for (unsigned i = 0; i < FAIR_COMMANDS; i++)
    {
        struct wire_scsi_command bhs = {
            .opcode = WIRE_SCSI_COMMAND,
            .flags = WIRE_FINAL | WIRE_CMD_WRITE,
            .itt = be32_put(++raw->itt),
            .expected_bytes = be32_put(FAIR_BYTES),
            .cmd_sn = be32_put(raw->cmd_sn++),
            .exp_stat_sn = be32_put(raw->exp_stat_sn),
        };
        bool is_hold = with_holds && i % FAIR_HOLD_EVERY == 0;
        raw_cdb_rw(bhs.cdb, true, fair_lba(client, i), FAIR_BLOCKS,
                   is_hold ? FAKE_SCSI_HOLD : FAKE_SCSI_INLINE);
        fair_fill(data, client, i);
        len += raw_build(raw, &bhs, NULL, 0, data, FAIR_BYTES, 0, bytes + len, sizeof(bytes) - len);
    }
    CU_ASSERT_EQUAL_FATAL(raw_send_bytes(raw, bytes, len), 0);
}

static void fair_take_all(struct raw *raw)
{
    for (unsigned i = 0; i < FAIR_COMMANDS; i++)
    {
        AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
        CU_ASSERT_EQUAL_FATAL(raw_recv(raw, &pdu), 0);
        CU_ASSERT_EQUAL_FATAL(raw_opcode(&pdu), WIRE_SCSI_RESPONSE);
        CU_ASSERT_EQUAL(((const struct wire_scsi_response *)pdu.bhs)->status, SCSI_GOOD);
    }
}

static void fair_check_data(struct fixture *fixture)
{
    uint8_t data[FAIR_BYTES];
    for (unsigned client = 0; client < FAIR_BUSY; client++)
        for (unsigned i = 0; i < FAIR_COMMANDS; i++)
        {
            const uint8_t *there = fake_scsi_bytes(fixture->scsi) + 512UL * fair_lba(client, i);
            fair_fill(data, client, i);
            CU_ASSERT_EQUAL(memcmp(there, data, FAIR_BYTES), 0);
        }
}

static void fair_start(struct fixture *fixture, struct raw *busy, struct raw *quiet,
                       const char *keys)
{
    fixture_start_threads(fixture, NULL, NULL, 1);
    for (unsigned i = 0; i < FAIR_BUSY; i++)
    {
        char name[64];
        snprintf(name, sizeof(name), "iqn.2026-11.test:busy%u", i);
        fixture_login(fixture, &busy[i], name, keys);
    }
    fixture_login(fixture, quiet, "iqn.2026-11.test:quiet", keys);
}

static void fair_stop(struct fixture *fixture, struct raw *busy, struct raw *quiet)
{
    for (unsigned i = 0; i < FAIR_BUSY; i++)
        raw_close(&busy[i]);
    raw_close(quiet);
    fixture_stop(fixture);
}

/* Where in the order the @nth command with an LBA from @first to before @end is. */
static unsigned fair_find(const uint32_t *lbas, unsigned count, uint32_t first, uint32_t end,
                          unsigned nth)
{
    for (unsigned i = 0; i < count; i++)
        if (lbas[i] >= first && lbas[i] < end && nth-- == 0)
            return i;
    CU_FAIL_FATAL("it was not run");
    return count;
}

static void fair_ask_quiet(struct raw *quiet)
{
    uint8_t cdb[16];
    raw_cdb_rw(cdb, false, FAIR_QUIET_LBA, FAIR_BLOCKS, FAKE_SCSI_INLINE);
    CU_ASSERT_EQUAL_FATAL(raw_command(quiet, WIRE_FINAL | WIRE_CMD_READ, cdb, FAIR_BYTES, NULL, 0),
                          0);
}

static void fair_take_quiet(struct raw *quiet)
{
    AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
    CU_ASSERT_EQUAL_FATAL(raw_recv(quiet, &pdu), 0);
    CU_ASSERT_EQUAL(raw_opcode(&pdu), WIRE_DATA_IN);
    CU_ASSERT_EQUAL(pdu.data_len, FAIR_BYTES);
}

/*
 * The quiet client asks each time when the others have many commands there, and comes last. It need
 * not wait for more than the turn that is on.
 */
static void fair_quiet(const char *keys)
{
    static uint32_t lbas[FAKE_SCSI_RUNS];
    struct fixture fixture;
    struct raw busy[FAIR_BUSY], quiet;
    unsigned asked[FAIR_HOLDS];
    fair_start(&fixture, busy, &quiet, keys);
    for (unsigned hold = 0; hold < FAIR_HOLDS; hold++)
    {
        if (hold == 0)
            fair_send_all(&busy[0], 0, true);
        fake_scsi_wait_gated(fixture.scsi, 1);
        for (unsigned i = 1; hold == 0 && i < FAIR_BUSY; i++)
            fair_send_all(&busy[i], i, false);
        asked[hold] = fake_scsi_runs(fixture.scsi, lbas);
        fair_ask_quiet(&quiet);
        fake_scsi_pass_gate(fixture.scsi);
        fair_take_quiet(&quiet);
    }
    for (unsigned i = 0; i < FAIR_BUSY; i++)
        fair_take_all(&busy[i]);
    unsigned count = fake_scsi_runs(fixture.scsi, lbas);
    CU_ASSERT_EQUAL(count, FAIR_BUSY * FAIR_COMMANDS + FAIR_HOLDS);
    for (unsigned hold = 0; hold < FAIR_HOLDS; hold++)
    {
        unsigned ran = fair_find(lbas, count, FAIR_QUIET_LBA, FAIR_QUIET_LBA + 1, hold);
        /* At first all have had as much, and each busy one came before. */
        CU_ASSERT(ran - asked[hold] <= (hold == 0 ? FAIR_BUSY * FAIR_AHEAD : FAIR_AHEAD));
    }
    fair_check_data(&fixture);
    fair_stop(&fixture, busy, &quiet);
}

static void test_quiet(void)
{
    fair_quiet(FIXTURE_KEYS);
}

static void test_quiet_digests(void)
{
    fair_quiet(FIXTURE_KEYS "\nHeaderDigest=CRC32C\nDataDigest=CRC32C");
}

/* Who sent all his commands first does not have all of them done first. */
static void test_shares(void)
{
    static uint32_t lbas[FAKE_SCSI_RUNS];
    struct fixture fixture;
    struct raw busy[FAIR_BUSY], quiet;
    fair_start(&fixture, busy, &quiet, FIXTURE_KEYS);
    uint8_t cdb[16], data[512] = {0};
    raw_cdb_rw(cdb, true, FAIR_QUIET_LBA, 1, FAKE_SCSI_HOLD);
    CU_ASSERT_EQUAL_FATAL(
        raw_command(&quiet, WIRE_FINAL | WIRE_CMD_WRITE, cdb, sizeof(data), data, sizeof(data)), 0);
    fake_scsi_wait_gated(fixture.scsi, 1);
    for (unsigned i = 0; i < FAIR_BUSY; i++)
        fair_send_all(&busy[i], i, false);
    fake_scsi_pass_gate(fixture.scsi);
    for (unsigned i = 0; i < FAIR_BUSY; i++)
        fair_take_all(&busy[i]);
    unsigned count = fake_scsi_runs(fixture.scsi, lbas), done[FAIR_BUSY] = {0};
    CU_ASSERT_EQUAL(count, FAIR_BUSY * FAIR_COMMANDS + 1);
    for (unsigned i = 1; i < count; i++)
    {
        unsigned most = 0, least = FAIR_COMMANDS;
        done[lbas[i] / (FAIR_COMMANDS * FAIR_BLOCKS)]++;
        for (unsigned k = 0; k < FAIR_BUSY; k++)
        {
            most = done[k] > most ? done[k] : most;
            least = done[k] < least ? done[k] : least;
        }
        CU_ASSERT(most - least <= FAIR_AHEAD);
    }
    fair_check_data(&fixture);
    fair_stop(&fixture, busy, &quiet);
}

/* A client goes, and another is ended, while they wait for their turn with input that is kept. */
static void test_ends(void)
{
    struct fixture fixture;
    struct raw busy[FAIR_BUSY], quiet;
    for (unsigned round = 0; round < 5; round++)
    {
        fair_start(&fixture, busy, &quiet, FIXTURE_KEYS);
        fair_send_all(&busy[0], 0, true);
        fake_scsi_wait_gated(fixture.scsi, 1);
        for (unsigned i = 1; i < FAIR_BUSY; i++)
            fair_send_all(&busy[i], i, false);
        raw_close(&busy[round % FAIR_BUSY]);
        if (round == 0)
            raw_close(&quiet);
        fake_scsi_open_gate(fixture.scsi, true);
        if (round % 2)
            CU_ASSERT(raw_is_alive(&quiet));
        fair_stop(&fixture, busy, &quiet);
    }
}

static CU_TestInfo fair_tests[] = {
    {"a quiet client does not wait for busy ones", test_quiet},
    {"nor with digests", test_quiet_digests},
    {"busy ones share", test_shares},
    {"clients that go while others have their turn", test_ends},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"iscsi_fair", NULL, NULL, NULL, NULL, fair_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
