/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads whose data is lent: that they arrive as others do, that a loan is over when the target goes
 * on to anything else, and what happens when the bytes are not where they were.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "server/iscsi/pdu.h"
#include "tests/e2e/iscsi/fixture.h"
#include "tests/lib/cunit_main.h"

enum
{
    LOAN_BYTES = 64 << 10,
    LOAN_BLOCKS = LOAN_BYTES / 512,
    LOAN_READS = 120, /* more than there are loans, and within FAKE_SCSI_BYTES */
};

uint64_t __wrap_qos_clock_ns(void);

/* A target whose thread was put off for 30 ms in a read takes that for a cold disk: it lends no
 * more for a while, and answers come in any order. By this clock no read takes any time. */
uint64_t __wrap_qos_clock_ns(void)
{
    return 1;
}

static void loan_fill(struct fixture *fixture, unsigned seed)
{
    uint8_t *bytes = fake_scsi_bytes(fixture->scsi);
    for (size_t i = 0; i < FAKE_SCSI_BYTES; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251 + seed);
    memset(bytes + LOAN_BYTES, 0, LOAN_BYTES / 2); /* a hole */
}

/* What a client asked for, and how far it has come. */
struct asked
{
    uint32_t itt, offset, len, got, data_sn;
    uint8_t status;
    bool is_done;
};

static struct asked loan_ask(struct raw *raw, uint32_t lba, uint16_t blocks, uint8_t control,
                             uint32_t expected)
{
    uint8_t cdb[16];
    raw_cdb_rw(cdb, false, lba, blocks, control);
    CU_ASSERT_EQUAL_FATAL(raw_command(raw, WIRE_FINAL | WIRE_CMD_READ, cdb, expected, NULL, 0), 0);
    uint32_t len = (uint32_t)min_u64(blocks * 512U, expected);
    return (struct asked){.itt = raw->itt, .offset = lba * 512, .len = len};
}

/* The next PDU is the next part of this one, as long as it may be, with what is @expected. */
static void loan_take(struct raw *raw, struct asked *asked, const uint8_t *expected,
                      uint32_t max_bytes)
{
    AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
    CU_ASSERT_EQUAL_FATAL(raw_recv(raw, &pdu), 0);
    const struct wire_data_in *bhs = (const struct wire_data_in *)pdu.bhs;
    CU_ASSERT_EQUAL_FATAL(raw_opcode(&pdu), WIRE_DATA_IN);
    CU_ASSERT_EQUAL_FATAL(be32_get(bhs->itt), asked->itt);
    CU_ASSERT_EQUAL(be32_get(bhs->offset), asked->got);
    CU_ASSERT_EQUAL(be32_get(bhs->data_sn), asked->data_sn++);
    CU_ASSERT_EQUAL_FATAL(pdu.data_len, min_u64(max_bytes, asked->len - asked->got));
    CU_ASSERT_EQUAL(memcmp(pdu.data, expected + asked->offset + asked->got, pdu.data_len), 0);
    asked->got += pdu.data_len;
    asked->is_done = asked->got == asked->len;
    CU_ASSERT_EQUAL((bhs->flags & WIRE_DATA_IN_STATUS) != 0, asked->is_done);
    if (asked->is_done)
    {
        CU_ASSERT_NOT_EQUAL(bhs->flags & WIRE_FINAL, 0);
        asked->status = bhs->status;
        CU_ASSERT_EQUAL(asked->status, SCSI_GOOD);
    }
}

static void loan_check(struct raw *raw, struct asked *asked, const uint8_t *expected,
                       uint32_t max_bytes)
{
    while (!asked->is_done)
        loan_take(raw, asked, expected, max_bytes);
}

/* ---- what arrives -------------------------------------------------------------------------- */

static void test_shapes(void)
{
    static const struct
    {
        const char *keys;
        uint32_t max_bytes;
        bool is_lent;
    } kinds[] = {
        {FIXTURE_KEYS, 262144, true},
        {"MaxRecvDataSegmentLength=8192", 8192, true},
        {"MaxRecvDataSegmentLength=65536\nMaxBurstLength=16384", 16384, true},
        {FIXTURE_KEYS "\nHeaderDigest=CRC32C", 262144, true},
        {FIXTURE_KEYS "\nDataDigest=CRC32C", 262144, false},
    };
    /* LBA, blocks: whole, off a border, in the hole, over its end, small. */
    static const uint16_t ranges[][2] = {{0, 128},   {3, 77}, {128, 64},
                                         {150, 100}, {8, 32}, {7, 33}};
    struct fixture fixture;
    fixture_start(&fixture, NULL, NULL);
    loan_fill(&fixture, 1);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
    {
        struct raw raw;
        fixture_login(&fixture, &raw, FIXTURE_INITIATOR, kinds[i].keys);
        for (size_t j = 0; j < ARRAY_SIZE(ranges); j++)
        {
            unsigned before = fake_scsi_loans_given();
            uint16_t blocks = ranges[j][1];
            struct asked asked =
                loan_ask(&raw, ranges[j][0], blocks, FAKE_SCSI_LEND, blocks * 512U);
            loan_check(&raw, &asked, fake_scsi_bytes(fixture.scsi), kinds[i].max_bytes);
            CU_ASSERT_EQUAL(fake_scsi_loans_given() - before, kinds[i].is_lent ? 1 : 0);
        }
        raw_close(&raw);
    }
    fixture_stop(&fixture);
    CU_ASSERT_EQUAL(fake_scsi_loans_out(), 0);
}

/* The residual of what was read and lent; @expected bytes of 128 blocks. */
static void loan_residual(struct fixture *fixture, struct raw *raw, uint32_t expected, uint8_t flag,
                          uint32_t count)
{
    uint8_t cdb[16];
    raw_cdb_rw(cdb, false, 0, 128, FAKE_SCSI_LEND);
    CU_ASSERT_EQUAL_FATAL(raw_command(raw, WIRE_FINAL | WIRE_CMD_READ, cdb, expected, NULL, 0), 0);
    AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
    CU_ASSERT_EQUAL_FATAL(raw_recv(raw, &pdu), 0);
    const struct wire_data_in *bhs = (const struct wire_data_in *)pdu.bhs;
    CU_ASSERT_EQUAL(pdu.data_len, min_u64(expected, LOAN_BYTES));
    CU_ASSERT_EQUAL(bhs->flags, WIRE_FINAL | WIRE_DATA_IN_STATUS | flag);
    CU_ASSERT_EQUAL(be32_get(bhs->residual), count);
    CU_ASSERT_EQUAL(memcmp(pdu.data, fake_scsi_bytes(fixture->scsi), pdu.data_len), 0);
}

static void test_residuals(void)
{
    struct fixture fixture;
    struct raw raw;
    fixture_start(&fixture, NULL, NULL);
    loan_fill(&fixture, 2);
    fixture_login(&fixture, &raw, FIXTURE_INITIATOR, FIXTURE_KEYS);
    unsigned before = fake_scsi_loans_given();
    loan_residual(&fixture, &raw, LOAN_BYTES, 0, 0);
    loan_residual(&fixture, &raw, LOAN_BYTES - 512, WIRE_RSP_OVERFLOW, 512);
    loan_residual(&fixture, &raw, LOAN_BYTES - 30001, WIRE_RSP_OVERFLOW, 30001); /* and padding */
    loan_residual(&fixture, &raw, LOAN_BYTES + 4096, WIRE_RSP_UNDERFLOW, 4096);
    CU_ASSERT_EQUAL(fake_scsi_loans_given() - before, 4);
    raw_close(&raw);
    fixture_stop(&fixture);
}

/* ---- in one batch -------------------------------------------------------------------------- */

/* Several commands that arrive at once. */
struct batch
{
    uint8_t bytes[96 << 10];
    size_t len;
};

static uint32_t batch_add(struct raw *raw, struct batch *batch, bool is_write, uint32_t lba,
                          uint8_t control, const uint8_t *data)
{
    struct wire_scsi_command bhs = {.opcode = WIRE_SCSI_COMMAND,
                                    .flags =
                                        WIRE_FINAL | (is_write ? WIRE_CMD_WRITE : WIRE_CMD_READ),
                                    .itt = be32_put(++raw->itt),
                                    .expected_bytes = be32_put(is_write ? 4096 : LOAN_BYTES),
                                    .cmd_sn = be32_put(raw->cmd_sn++),
                                    .exp_stat_sn = be32_put(raw->exp_stat_sn)};
    raw_cdb_rw(bhs.cdb, is_write, lba, is_write ? 8 : LOAN_BLOCKS, control);
    batch->len += raw_build(raw, &bhs, NULL, 0, data, is_write ? 4096 : 0, 0,
                            batch->bytes + batch->len, sizeof(batch->bytes) - batch->len);
    return raw->itt;
}

/* A write comes between reads of the same blocks: those before it show what was there, though it is
 * in the batch with them. */
static void test_write_between(void)
{
    struct fixture fixture;
    struct raw raw;
    fixture_start(&fixture, NULL, NULL);
    loan_fill(&fixture, 3);
    uint8_t *bytes = fake_scsi_bytes(fixture.scsi);
    AUTO_FREE uint8_t *before = malloc(LOAN_BYTES);
    memcpy(before, bytes, LOAN_BYTES);
    uint8_t data[4096];
    memset(data, 0x5a, sizeof(data));
    fixture_login(&fixture, &raw, FIXTURE_INITIATOR, FIXTURE_KEYS);
    static struct batch batch;
    batch.len = 0;
    struct asked first = {.len = LOAN_BYTES}, second = {.len = LOAN_BYTES};
    first.itt = batch_add(&raw, &batch, false, 0, FAKE_SCSI_LEND, NULL);
    batch_add(&raw, &batch, true, 8, FAKE_SCSI_INLINE, data);
    second.itt = batch_add(&raw, &batch, false, 0, FAKE_SCSI_LEND, NULL);
    CU_ASSERT_EQUAL(raw_send_bytes(&raw, batch.bytes, batch.len), 0);
    loan_check(&raw, &first, before, 262144);
    AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
    CU_ASSERT_EQUAL_FATAL(raw_recv(&raw, &pdu), 0);
    CU_ASSERT_EQUAL(raw_opcode(&pdu), WIRE_SCSI_RESPONSE);
    loan_check(&raw, &second, bytes, 262144);
    CU_ASSERT_EQUAL(memcmp(bytes + 4096, data, sizeof(data)), 0);
    raw_close(&raw);
    fixture_stop(&fixture);
}

/* Many reads of one batch for a client that takes little. All loans are over while most of the data
 * still waits, so what the disk holds by then does not show. */
static void test_slow_client(void)
{
    struct iscsi_limits limits = {.output_bytes = 64 << 20};
    struct fixture fixture;
    struct raw raw;
    fixture_start(&fixture, &limits, NULL);
    loan_fill(&fixture, 4);
    AUTO_FREE uint8_t *before = malloc(FAKE_SCSI_BYTES);
    memcpy(before, fake_scsi_bytes(fixture.scsi), FAKE_SCSI_BYTES);
    fixture_login(&fixture, &raw, FIXTURE_INITIATOR, FIXTURE_KEYS);
    CU_ASSERT_EQUAL(setsockopt(raw.fd, SOL_SOCKET, SO_RCVBUF, &(int){LOAN_BYTES}, sizeof(int)), 0);
    static struct batch batch;
    struct asked asked[LOAN_READS];
    batch.len = 0;
    unsigned given = fake_scsi_loans_given();
    unsigned begun = fake_scsi_begun_count(fixture.scsi);
    for (uint32_t i = 0; i < LOAN_READS; i++)
    {
        asked[i] = (struct asked){.offset = i * LOAN_BYTES, .len = LOAN_BYTES};
        asked[i].itt = batch_add(&raw, &batch, false, i * LOAN_BLOCKS, FAKE_SCSI_LEND, NULL);
    }
    CU_ASSERT_EQUAL(raw_send_bytes(&raw, batch.bytes, batch.len), 0);
    loan_check(&raw, &asked[0], before, 262144);
    while (fake_scsi_begun_count(fixture.scsi) - begun < LOAN_READS ||
           fake_scsi_task_count(fixture.scsi) > 0 || fake_scsi_loans_out() > 0)
        sched_yield();
    CU_ASSERT(fake_scsi_loans_given() - given > 1);
    loan_fill(&fixture, 77); /* under a loan it would be seen */
    for (uint32_t i = 1; i < LOAN_READS; i++)
        loan_check(&raw, &asked[i], before, 262144);
    raw_close(&raw);
    fixture_stop(&fixture);
}

/* ---- what is lost -------------------------------------------------------------------------- */

/* The kernel cannot read what was lent; it can be read otherwise. */
static void test_lost(void)
{
    struct fixture fixture;
    struct raw raw;
    fixture_start(&fixture, NULL, NULL);
    loan_fill(&fixture, 5);
    fixture_login(&fixture, &raw, FIXTURE_INITIATOR, FIXTURE_KEYS);
    static struct batch batch;
    struct asked asked[4];
    static const uint8_t controls[] = {FAKE_SCSI_LEND, FAKE_SCSI_LEND_LOST, FAKE_SCSI_LEND,
                                       FAKE_SCSI_LEND_LOST};
    batch.len = 0;
    for (uint32_t i = 0; i < ARRAY_SIZE(asked); i++)
    {
        asked[i] = (struct asked){.offset = i * LOAN_BYTES, .len = LOAN_BYTES};
        asked[i].itt = batch_add(&raw, &batch, false, i * LOAN_BLOCKS, controls[i], NULL);
    }
    CU_ASSERT_EQUAL(raw_send_bytes(&raw, batch.bytes, batch.len), 0);
    for (uint32_t i = 0; i < ARRAY_SIZE(asked); i++)
        loan_check(&raw, &asked[i], fake_scsi_bytes(fixture.scsi), 262144);
    CU_ASSERT(raw_is_alive(&raw));
    raw_close(&raw);
    fixture_stop(&fixture);
    CU_ASSERT_EQUAL(fake_scsi_loans_out(), 0);
}

/* It cannot be had at all any more: a good status may be out already, so the connection ends. */
static void test_gone(void)
{
    struct fixture fixture;
    struct raw raw;
    fixture_start(&fixture, NULL, NULL);
    loan_fill(&fixture, 6);
    fixture_login(&fixture, &raw, FIXTURE_INITIATOR, FIXTURE_KEYS);
    loan_ask(&raw, 0, LOAN_BLOCKS, FAKE_SCSI_LEND_GONE, LOAN_BYTES);
    AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
    CU_ASSERT_TRUE(raw_recv(&raw, &pdu) < 0);
    raw_close(&raw);
    /* Others go on. */
    fixture_login(&fixture, &raw, FIXTURE_INITIATOR, FIXTURE_KEYS);
    struct asked asked = loan_ask(&raw, 0, LOAN_BLOCKS, FAKE_SCSI_LEND, LOAN_BYTES);
    loan_check(&raw, &asked, fake_scsi_bytes(fixture.scsi), 262144);
    raw_close(&raw);
    fixture_stop(&fixture);
    CU_ASSERT_EQUAL(fake_scsi_loans_out(), 0);
}

/* The client goes with all of it on its way. */
static void test_closed(void)
{
    struct fixture fixture;
    struct raw raw;
    fixture_start(&fixture, NULL, NULL);
    loan_fill(&fixture, 7);
    for (unsigned round = 0; round < 20; round++)
    {
        fixture_login(&fixture, &raw, FIXTURE_INITIATOR, FIXTURE_KEYS);
        static struct batch batch;
        batch.len = 0;
        for (uint32_t i = 0; i < LOAN_READS; i++)
            batch_add(&raw, &batch, false, i * LOAN_BLOCKS, FAKE_SCSI_LEND, NULL);
        CU_ASSERT_EQUAL(raw_send_bytes(&raw, batch.bytes, batch.len), 0);
        raw_close(&raw);
    }
    fixture_stop(&fixture);
    CU_ASSERT_EQUAL(fake_scsi_loans_out(), 0);
}

static CU_TestInfo loan_tests[] = {
    {"what is lent arrives as the rest does, in all shapes", test_shapes},
    {"residuals", test_residuals},
    {"a write between reads", test_write_between},
    {"no loan waits for a slow client", test_slow_client},
    {"what the kernel cannot read is read otherwise", test_lost},
    {"what cannot be read ends the connection", test_gone},
    {"a client that goes", test_closed},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"iscsi_loan", NULL, NULL, NULL, NULL, loan_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
