/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What goes right, byte by byte: logins, data in every shape, task management, reinstatement,
 * logout.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "server/iscsi/pdu.h"
#include "tests/e2e/iscsi/fixture.h"
#include "tests/lib/cunit_main.h"

enum
{
    TEST_MIB = 1 << 20,
};

static void test_fill(uint8_t *bytes, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251 + seed);
}

/* Receives the status of @itt, asserting that it comes next. */
static uint8_t test_status(struct raw *raw, uint32_t itt)
{
    AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
    CU_ASSERT_EQUAL_FATAL(raw_recv(raw, &pdu), 0);
    CU_ASSERT_EQUAL_FATAL(raw_opcode(&pdu), WIRE_SCSI_RESPONSE);
    const struct wire_scsi_response *bhs = (const struct wire_scsi_response *)pdu.bhs;
    CU_ASSERT_EQUAL(be32_get(bhs->itt), itt);
    return bhs->status;
}

/* READ(10); takes all Data-In and checks its order. The status. */
static uint8_t test_read(struct raw *raw, uint32_t lba, uint16_t blocks, uint8_t control,
                         uint8_t *bytes)
{
    uint8_t cdb[16];
    uint32_t len = blocks * 512U, got = 0, data_sn = 0;
    raw_cdb_rw(cdb, false, lba, blocks, control);
    CU_ASSERT_EQUAL_FATAL(raw_command(raw, WIRE_FINAL | WIRE_CMD_READ, cdb, len, NULL, 0), 0);
    for (;;)
    {
        AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
        CU_ASSERT_EQUAL_FATAL(raw_recv(raw, &pdu), 0);
        if (raw_opcode(&pdu) == WIRE_SCSI_RESPONSE)
            return ((const struct wire_scsi_response *)pdu.bhs)->status;
        const struct wire_data_in *bhs = (const struct wire_data_in *)pdu.bhs;
        CU_ASSERT_EQUAL_FATAL(raw_opcode(&pdu), WIRE_DATA_IN);
        CU_ASSERT_EQUAL_FATAL(be32_get(bhs->itt), raw->itt);
        CU_ASSERT_EQUAL_FATAL(be32_get(bhs->offset), got);
        CU_ASSERT_EQUAL_FATAL(be32_get(bhs->data_sn), data_sn++);
        CU_ASSERT_FATAL(got + pdu.data_len <= len);
        memcpy(bytes + got, pdu.data, pdu.data_len);
        got += pdu.data_len;
        if (!(bhs->flags & WIRE_DATA_IN_STATUS))
            continue;
        CU_ASSERT_EQUAL(got, len);
        return bhs->status;
    }
}

/* Answers R2Ts until the status comes, in Data-Out of @part bytes. */
static uint8_t test_serve_r2t(struct raw *raw, const uint8_t *bytes, uint32_t len, uint32_t part)
{
    uint32_t itt = raw->itt, next_r2t_sn = 0;
    for (;;)
    {
        AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
        CU_ASSERT_EQUAL_FATAL(raw_recv(raw, &pdu), 0);
        if (raw_opcode(&pdu) == WIRE_SCSI_RESPONSE)
            return ((const struct wire_scsi_response *)pdu.bhs)->status;
        const struct wire_r2t *r2t = (const struct wire_r2t *)pdu.bhs;
        CU_ASSERT_EQUAL_FATAL(raw_opcode(&pdu), WIRE_R2T);
        CU_ASSERT_EQUAL_FATAL(be32_get(r2t->itt), itt);
        CU_ASSERT_EQUAL_FATAL(be32_get(r2t->r2t_sn), next_r2t_sn++);
        uint32_t offset = be32_get(r2t->offset), left = be32_get(r2t->desired_bytes), sn = 0;
        CU_ASSERT_FATAL(range_ok(offset, left, len));
        while (left > 0)
        {
            uint32_t piece = left < part ? left : part;
            left -= piece;
            CU_ASSERT_EQUAL_FATAL(raw_data_out(raw, itt, be32_get(r2t->ttt), sn++, offset,
                                               left == 0, bytes + offset, piece),
                                  0);
            offset += piece;
        }
    }
}

/* WRITE(10) with @immediate bytes in the command, @unsolicited more, the rest by R2T. */
static uint8_t test_write(struct raw *raw, uint32_t lba, const uint8_t *bytes, uint32_t len,
                          uint32_t immediate, uint32_t unsolicited, uint8_t control)
{
    uint8_t cdb[16];
    raw_cdb_rw(cdb, true, lba, (uint16_t)(len / 512), control);
    unsigned flags = WIRE_CMD_WRITE | (unsolicited ? 0 : WIRE_FINAL);
    CU_ASSERT_EQUAL_FATAL(raw_command(raw, flags, cdb, len, bytes, immediate), 0);
    uint32_t itt = raw->itt, sn = 0, offset = immediate;
    while (unsolicited > 0)
    {
        uint32_t piece = unsolicited < 8192 ? unsolicited : 8192;
        unsolicited -= piece;
        CU_ASSERT_EQUAL_FATAL(raw_data_out(raw, itt, WIRE_TAG_NONE, sn++, offset, unsolicited == 0,
                                           bytes + offset, piece),
                              0);
        offset += piece;
    }
    return test_serve_r2t(raw, bytes, len, 60000);
}

/* All shapes of one write, each read back, under the digests of @raw. */
static void test_shapes(struct fixture *fixture, struct raw *raw, uint8_t control)
{
    static const struct
    {
        uint32_t len, immediate, unsolicited;
    } shapes[] = {
        {512, 0, 0},          {512, 512, 0},           {4096, 4096, 0},
        {4096, 512, 3584},    {4096, 0, 4096},         {65536, 65536, 0},
        {65536, 512, 0},      {65536, 4096, 16384},    {131072, 0, 65536},
        {TEST_MIB, 65536, 0}, {TEST_MIB, 1024, 60000}, {3 * TEST_MIB, 65536, 0},
        {3 * TEST_MIB, 0, 0},
    };
    AUTO_FREE uint8_t *wrote = malloc(4 * TEST_MIB), *read = malloc(4 * TEST_MIB);
    for (size_t i = 0; i < ARRAY_SIZE(shapes); i++)
    {
        uint32_t len = shapes[i].len;
        test_fill(wrote, len, (unsigned)i + control);
        CU_ASSERT_EQUAL(
            test_write(raw, 8, wrote, len, shapes[i].immediate, shapes[i].unsolicited, control),
            SCSI_GOOD);
        CU_ASSERT_EQUAL(memcmp(fake_scsi_bytes(fixture->scsi) + 4096, wrote, len), 0);
        memset(read, 0, len);
        CU_ASSERT_EQUAL(test_read(raw, 8, (uint16_t)(len / 512), control, read), SCSI_GOOD);
        CU_ASSERT_EQUAL(memcmp(read, wrote, len), 0);
    }
}

static void test_data(void)
{
    static const char *const digests[] = {"", "HeaderDigest=CRC32C", "DataDigest=CRC32C,None",
                                          "HeaderDigest=CRC32C,None\nDataDigest=CRC32C"};
    static const char *const sizes[] = {
        "MaxRecvDataSegmentLength=262144", "MaxRecvDataSegmentLength=8192\nMaxOutstandingR2T=4",
        "MaxRecvDataSegmentLength=262144\nMaxBurstLength=1048576\nMaxOutstandingR2T=8"};
    struct fixture fixture;
    fixture_start(&fixture, NULL, NULL);
    for (size_t d = 0; d < ARRAY_SIZE(digests); d++)
    {
        for (size_t s = 0; s < ARRAY_SIZE(sizes); s++)
        {
            char keys[512];
            struct raw raw;
            snprintf(keys, sizeof(keys), "InitialR2T=No\nFirstBurstLength=65536\n%s\n%s",
                     digests[d], sizes[s]);
            fixture_login(&fixture, &raw, FIXTURE_INITIATOR, keys);
            test_shapes(&fixture, &raw, FAKE_SCSI_INLINE);
            test_shapes(&fixture, &raw, FAKE_SCSI_BLOCK);
            test_shapes(&fixture, &raw, FAKE_SCSI_PIECES);
            test_shapes(&fixture, &raw, FAKE_SCSI_ONE_PIECE);
            CU_ASSERT(raw_is_alive(&raw));
            raw_close(&raw);
        }
    }
    fixture_stop(&fixture);
}

/* With tiny segments and bursts. */
static void test_small_bursts(void)
{
    struct fixture fixture;
    struct raw raw;
    AUTO_FREE uint8_t *wrote = malloc(TEST_MIB), *read = malloc(TEST_MIB);
    fixture_start(&fixture, NULL, NULL);
    fixture_login(&fixture, &raw, FIXTURE_INITIATOR,
                  "InitialR2T=No\nMaxRecvDataSegmentLength=512\nMaxBurstLength=9216\n"
                  "FirstBurstLength=65536\nMaxOutstandingR2T=3");
    for (uint32_t len = 512; len <= 65536; len += 7 * 512)
    {
        test_fill(wrote, len, len);
        CU_ASSERT_EQUAL(test_write(&raw, 16, wrote, len, len < 9216 ? len : 9216, 0, 0), SCSI_GOOD);
        CU_ASSERT_EQUAL(test_read(&raw, 16, (uint16_t)(len / 512), 0, read), SCSI_GOOD);
        CU_ASSERT_EQUAL(memcmp(read, wrote, len), 0);
    }
    raw_close(&raw);
    fixture_stop(&fixture);
}

/* Without negotiation the defaults hold: R2T first, 8192 byte segments. */
static void test_defaults(void)
{
    struct fixture fixture;
    struct raw raw;
    AUTO_FREE uint8_t *wrote = malloc(TEST_MIB), *read = malloc(TEST_MIB);
    fixture_start(&fixture, NULL, NULL);
    fixture_login(&fixture, &raw, FIXTURE_INITIATOR, "");
    test_fill(wrote, TEST_MIB, 3);
    CU_ASSERT_EQUAL(test_write(&raw, 0, wrote, TEST_MIB, 0, 0, 0), SCSI_GOOD);
    CU_ASSERT_EQUAL(test_read(&raw, 0, TEST_MIB / 512, 0, read), SCSI_GOOD);
    CU_ASSERT_EQUAL(memcmp(read, wrote, TEST_MIB), 0);
    raw_close(&raw);
    fixture_stop(&fixture);
}

static void test_residuals(void)
{
    struct fixture fixture;
    struct raw raw;
    uint8_t cdb[16], data[2048] = {0};
    fixture_start(&fixture, NULL, NULL);
    fixture_login(&fixture, &raw, FIXTURE_INITIATOR, FIXTURE_KEYS);

    AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
    raw_cdb_rw(cdb, false, 0, 2, 0);
    CU_ASSERT_EQUAL(raw_command(&raw, WIRE_FINAL | WIRE_CMD_READ, cdb, 512, NULL, 0), 0);
    CU_ASSERT_EQUAL_FATAL(raw_recv(&raw, &pdu), 0);
    const struct wire_data_in *in = (const struct wire_data_in *)pdu.bhs;
    CU_ASSERT_EQUAL(pdu.data_len, 512);
    CU_ASSERT_EQUAL(in->flags, WIRE_FINAL | WIRE_DATA_IN_STATUS | WIRE_RSP_OVERFLOW);
    CU_ASSERT_EQUAL(be32_get(in->residual), 512);

    AUTO_RAW_PDU struct raw_pdu under = {.data = NULL};
    CU_ASSERT_EQUAL(raw_command(&raw, WIRE_FINAL | WIRE_CMD_READ, cdb, 4096, NULL, 0), 0);
    CU_ASSERT_EQUAL_FATAL(raw_recv(&raw, &under), 0);
    in = (const struct wire_data_in *)under.bhs;
    CU_ASSERT_EQUAL(under.data_len, 1024);
    CU_ASSERT_EQUAL(in->flags, WIRE_FINAL | WIRE_DATA_IN_STATUS | WIRE_RSP_UNDERFLOW);
    CU_ASSERT_EQUAL(be32_get(in->residual), 3072);

    AUTO_RAW_PDU struct raw_pdu out = {.data = NULL};
    raw_cdb_rw(cdb, true, 0, 1, 0);
    CU_ASSERT_EQUAL(raw_command(&raw, WIRE_FINAL | WIRE_CMD_WRITE, cdb, 2048, data, 2048), 0);
    CU_ASSERT_EQUAL_FATAL(raw_recv(&raw, &out), 0);
    const struct wire_scsi_response *response = (const struct wire_scsi_response *)out.bhs;
    CU_ASSERT_EQUAL(raw_opcode(&out), WIRE_SCSI_RESPONSE);
    CU_ASSERT_EQUAL(response->flags, WIRE_FINAL | WIRE_RSP_UNDERFLOW);
    CU_ASSERT_EQUAL(be32_get(response->residual), 1536);
    raw_close(&raw);
    fixture_stop(&fixture);
}

static void test_sense(void)
{
    struct fixture fixture;
    struct raw raw;
    uint8_t cdb[16] = {0xee};
    AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
    fixture_start(&fixture, NULL, NULL);
    fixture_login(&fixture, &raw, FIXTURE_INITIATOR, FIXTURE_KEYS);
    CU_ASSERT_EQUAL(raw_command(&raw, WIRE_FINAL, cdb, 0, NULL, 0), 0);
    CU_ASSERT_EQUAL_FATAL(raw_recv(&raw, &pdu), 0);
    CU_ASSERT_EQUAL(((const struct wire_scsi_response *)pdu.bhs)->status, SCSI_CHECK_CONDITION);
    CU_ASSERT_EQUAL_FATAL(pdu.data_len, 20);
    CU_ASSERT_EQUAL(pdu.data[1], 18);
    CU_ASSERT_EQUAL(pdu.data[2 + 2], 5);
    raw_close(&raw);
    fixture_stop(&fixture);
}

/* A write from and a read into every split of the stream. */
static void test_every_cut(void)
{
    struct fixture fixture;
    struct raw raw;
    uint8_t cdb[16], data[512], stream[1024];
    fixture_start(&fixture, NULL, NULL);
    fixture_login(&fixture, &raw, FIXTURE_INITIATOR,
                  FIXTURE_KEYS "\nHeaderDigest=CRC32C\nDataDigest=CRC32C");
    size_t len = WIRE_BHS_BYTES + 2;
    for (size_t cut = 1; cut < len; cut++)
    {
        test_fill(data, sizeof(data), (unsigned)cut);
        raw_cdb_rw(cdb, true, 1, 1, 0);
        struct wire_scsi_command bhs = {
            .opcode = WIRE_SCSI_COMMAND,
            .flags = WIRE_FINAL | WIRE_CMD_WRITE,
            .itt = be32_put(++raw.itt),
            .expected_bytes = be32_put(sizeof(data)),
            .cmd_sn = be32_put(raw.cmd_sn++),
        };
        memcpy(bhs.cdb, cdb, sizeof(bhs.cdb));
        len = raw_build(&raw, &bhs, NULL, 0, data, sizeof(data), 0, stream, sizeof(stream));
        /* The answer to the NOP-Out says that the first part was taken. */
        uint32_t itt = raw.itt;
        CU_ASSERT_EQUAL_FATAL(raw_send_bytes(&raw, stream, cut), 0);
        struct raw other;
        fixture_login(&fixture, &other, "iqn.2026-11.test:other", "");
        raw_close(&other);
        CU_ASSERT_EQUAL_FATAL(raw_send_bytes(&raw, stream + cut, len - cut), 0);
        CU_ASSERT_EQUAL_FATAL(test_status(&raw, itt), SCSI_GOOD);
        CU_ASSERT_EQUAL(memcmp(fake_scsi_bytes(fixture.scsi) + 512, data, sizeof(data)), 0);
    }
    CU_ASSERT(len > 512);
    raw_close(&raw);
    fixture_stop(&fixture);
}

/* Numbers of the window over the wrap of 32 bits; many commands in one send. */
static void test_window_wraps(void)
{
    struct fixture fixture;
    struct raw raw;
    uint8_t cdb[16] = {0}, stream[100 * WIRE_BHS_BYTES];
    fixture_start(&fixture, NULL, NULL);
    raw_connect(&raw, fixture_address(&fixture));
    raw.cmd_sn = 0xffffffe0;
    CU_ASSERT_EQUAL_FATAL(raw_login(&raw, FIXTURE_INITIATOR, FIXTURE_TARGET, FIXTURE_KEYS), 0);
    uint32_t first_itt = raw.itt + 1;
    size_t at = 0;
    for (int i = 0; i < 100; i++)
    {
        struct wire_scsi_command bhs = {
            .opcode = WIRE_SCSI_COMMAND,
            .flags = WIRE_FINAL,
            .itt = be32_put(++raw.itt),
            .cmd_sn = be32_put(raw.cmd_sn++),
        };
        memcpy(bhs.cdb, cdb, sizeof(bhs.cdb));
        memcpy(stream + at, &bhs, sizeof(bhs));
        at += sizeof(bhs);
    }
    CU_ASSERT_EQUAL(raw_send_bytes(&raw, stream, at), 0);
    for (uint32_t i = 0; i < 100; i++)
        CU_ASSERT_EQUAL_FATAL(test_status(&raw, first_itt + i), SCSI_GOOD);
    CU_ASSERT_EQUAL(raw.exp_cmd_sn, 0xffffffe0 + 100);
    CU_ASSERT_EQUAL(raw.max_cmd_sn, 0xffffffe0 + 100 + 127);
    raw_close(&raw);
    fixture_stop(&fixture);
}

/* Commands that come before their turn wait for it, with their data. */
static void test_held_commands(void)
{
    struct fixture fixture;
    struct raw raw;
    uint8_t cdb[16], data[1024];
    fixture_start(&fixture, NULL, NULL);
    fixture_login(&fixture, &raw, FIXTURE_INITIATOR, FIXTURE_KEYS);
    test_fill(data, sizeof(data), 9);
    uint32_t first = raw.cmd_sn;
    raw.cmd_sn = first + 1;
    raw_cdb_rw(cdb, true, 4, 2, 0);
    CU_ASSERT_EQUAL(raw_command(&raw, WIRE_CMD_WRITE, cdb, 1024, data, 512), 0);
    uint32_t later = raw.itt;
    CU_ASSERT_EQUAL(raw_data_out(&raw, later, WIRE_TAG_NONE, 0, 512, true, data + 512, 512), 0);
    CU_ASSERT(raw_is_alive(&raw)); /* and nothing else came */
    raw.cmd_sn = first;
    memset(cdb, 0, sizeof(cdb));
    CU_ASSERT_EQUAL(raw_command(&raw, WIRE_FINAL, cdb, 0, NULL, 0), 0);
    CU_ASSERT_EQUAL(test_status(&raw, raw.itt), SCSI_GOOD);
    CU_ASSERT_EQUAL(test_status(&raw, later), SCSI_GOOD);
    CU_ASSERT_EQUAL(memcmp(fake_scsi_bytes(fixture.scsi) + 2048, data, sizeof(data)), 0);
    raw_close(&raw);
    fixture_stop(&fixture);
}

static uint8_t test_tmf_response(struct raw *raw)
{
    AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
    CU_ASSERT_EQUAL_FATAL(raw_recv(raw, &pdu), 0);
    CU_ASSERT_EQUAL_FATAL(raw_opcode(&pdu), WIRE_TASK_RESPONSE);
    CU_ASSERT_EQUAL(be32_get(((const struct wire_bhs *)pdu.bhs)->itt), raw->itt);
    return ((const struct wire_task_response_pdu *)pdu.bhs)->response;
}

static void test_task_management(void)
{
    struct fixture fixture;
    struct raw raw;
    uint8_t cdb[16], read[512];
    fixture_start(&fixture, NULL, NULL);
    fixture_login(&fixture, &raw, FIXTURE_INITIATOR, FIXTURE_KEYS "\niSCSIProtocolLevel=2");

    /* One that waits for other tasks. */
    raw_cdb_rw(cdb, false, 0, 1, FAKE_SCSI_DORMANT);
    CU_ASSERT_EQUAL(raw_command(&raw, WIRE_FINAL | WIRE_CMD_READ, cdb, 512, NULL, 0), 0);
    uint32_t itt = raw.itt;
    fake_scsi_wait_dormant(fixture.scsi, 1);
    CU_ASSERT_EQUAL(raw_tmf(&raw, WIRE_TASK_QUERY, itt, true), 0);
    CU_ASSERT_EQUAL(test_tmf_response(&raw), WIRE_TASK_SUCCEEDED);
    CU_ASSERT_EQUAL(raw_tmf(&raw, WIRE_TASK_ABORT, itt, false), 0);
    CU_ASSERT_EQUAL(test_tmf_response(&raw), WIRE_TASK_COMPLETE);
    CU_ASSERT_EQUAL(raw_tmf(&raw, WIRE_TASK_ABORT, itt, true), 0);
    CU_ASSERT_EQUAL(test_tmf_response(&raw), WIRE_TASK_NO_TASK);

    /* One that collects data: what comes late is dropped without a word. */
    raw_cdb_rw(cdb, true, 0, 16, 0);
    CU_ASSERT_EQUAL(raw_command(&raw, WIRE_FINAL | WIRE_CMD_WRITE, cdb, 8192, NULL, 0), 0);
    itt = raw.itt;
    AUTO_RAW_PDU struct raw_pdu r2t = {.data = NULL};
    CU_ASSERT_EQUAL_FATAL(raw_recv(&raw, &r2t), 0);
    CU_ASSERT_EQUAL_FATAL(raw_opcode(&r2t), WIRE_R2T);
    CU_ASSERT_EQUAL(raw_tmf(&raw, WIRE_TASK_LUN_RESET, 0, true), 0);
    CU_ASSERT_EQUAL(test_tmf_response(&raw), WIRE_TASK_COMPLETE);
    uint8_t data[8192] = {0};
    CU_ASSERT_EQUAL(raw_data_out(&raw, itt, be32_get(((struct wire_r2t *)r2t.bhs)->ttt), 0, 0, true,
                                 data, sizeof(data)),
                    0);
    AUTO_RAW_PDU struct raw_pdu nop = {.data = NULL};
    CU_ASSERT_EQUAL(raw_nop(&raw), 0);
    CU_ASSERT_EQUAL_FATAL(raw_recv(&raw, &nop), 0);
    CU_ASSERT_EQUAL(raw_opcode(&nop), WIRE_NOP_IN);

    /* One that runs: the answer waits for it, and it sends nothing. */
    raw_cdb_rw(cdb, false, 0, 1, FAKE_SCSI_GATE);
    CU_ASSERT_EQUAL(raw_command(&raw, WIRE_FINAL | WIRE_CMD_READ, cdb, 512, NULL, 0), 0);
    fake_scsi_wait_gated(fixture.scsi, 1);
    CU_ASSERT_EQUAL(raw_tmf(&raw, WIRE_TASK_ABORT_SET, 0, true), 0);
    uint32_t tmf = raw.itt;
    CU_ASSERT(raw_is_alive(&raw));
    fake_scsi_open_gate(fixture.scsi, true);
    raw.itt = tmf;
    CU_ASSERT_EQUAL(test_tmf_response(&raw), WIRE_TASK_COMPLETE);
    raw.itt += 10;

    CU_ASSERT_EQUAL(raw_tmf(&raw, WIRE_TASK_REASSIGN, itt, true), 0);
    CU_ASSERT_EQUAL(test_tmf_response(&raw), WIRE_TASK_NO_REASSIGN);
    CU_ASSERT_EQUAL(raw_tmf(&raw, WIRE_TASK_CLEAR_ACA, 0, true), 0);
    CU_ASSERT_EQUAL(test_tmf_response(&raw), WIRE_TASK_NOT_SUPPORTED);
    CU_ASSERT_EQUAL(raw_tmf(&raw, 99, 0, true), 0);
    CU_ASSERT_EQUAL(test_tmf_response(&raw), WIRE_TASK_NOT_SUPPORTED);
    CU_ASSERT_EQUAL(test_read(&raw, 0, 1, 0, read), SCSI_GOOD);
    raw_close(&raw);
    fixture_stop(&fixture);
}

/* Dormant tasks go on when scsi/ says so. */
static void test_dormant(void)
{
    struct fixture fixture;
    struct raw raw;
    uint8_t cdb[16], data[512];
    fixture_start(&fixture, NULL, NULL);
    fixture_login(&fixture, &raw, FIXTURE_INITIATOR, FIXTURE_KEYS);
    test_fill(data, sizeof(data), 1);
    raw_cdb_rw(cdb, true, 3, 1, FAKE_SCSI_DORMANT);
    CU_ASSERT_EQUAL(raw_command(&raw, WIRE_FINAL | WIRE_CMD_WRITE, cdb, 512, data, 512), 0);
    fake_scsi_wait_dormant(fixture.scsi, 1);
    CU_ASSERT(raw_is_alive(&raw));
    uint32_t itt = raw.itt - 1;
    fake_scsi_wake(fixture.scsi);
    CU_ASSERT_EQUAL(test_status(&raw, itt), SCSI_GOOD);
    CU_ASSERT_EQUAL(memcmp(fake_scsi_bytes(fixture.scsi) + 1536, data, 512), 0);
    raw_close(&raw);
    fixture_stop(&fixture);
}

/* The same port logs in again: the old session ends first, also when its command still runs. */
static void test_reinstatement(void)
{
    struct fixture fixture;
    struct raw old, new;
    uint8_t cdb[16];
    fixture_start(&fixture, NULL, NULL);
    fixture_login(&fixture, &old, FIXTURE_INITIATOR, FIXTURE_KEYS);
    raw_cdb_rw(cdb, false, 0, 1, FAKE_SCSI_GATE);
    CU_ASSERT_EQUAL(raw_command(&old, WIRE_FINAL | WIRE_CMD_READ, cdb, 512, NULL, 0), 0);
    fake_scsi_wait_gated(fixture.scsi, 1);
    raw_connect(&new, fixture_address(&fixture));
    CU_ASSERT_EQUAL(
        raw_login_send(&new, WIRE_STAGE_OPERATIONAL, WIRE_STAGE_FULL_FEATURE, WIRE_LOGIN_TRANSIT,
                       "InitiatorName=" FIXTURE_INITIATOR "\nTargetName=" FIXTURE_TARGET),
        0);
    /* Told to go, then closed. */
    AUTO_RAW_PDU struct raw_pdu async = {.data = NULL};
    CU_ASSERT_EQUAL_FATAL(raw_recv(&old, &async), 0);
    CU_ASSERT_EQUAL(raw_opcode(&async), WIRE_ASYNC);
    CU_ASSERT_EQUAL(((struct wire_async *)async.bhs)->event, WIRE_ASYNC_DROP_SESSION);
    CU_ASSERT(raw_is_closed(&old));
    CU_ASSERT_EQUAL(fake_scsi_task_count(fixture.scsi), 1);
    fake_scsi_open_gate(fixture.scsi, true);
    char text[RAW_TEXT_MAX];
    uint8_t flags;
    CU_ASSERT_EQUAL(raw_login_recv(&new, &flags, text), WIRE_LOGIN_SUCCESS);
    CU_ASSERT(raw_is_alive(&new));
    CU_ASSERT_EQUAL(fake_scsi_nexus_count(fixture.scsi), 1);
    raw_close(&old);
    raw_close(&new);
    fixture_stop(&fixture);
}

static void test_logout(void)
{
    struct fixture fixture;
    struct raw raw;
    fixture_start(&fixture, NULL, NULL);
    for (uint8_t reason = 0; reason < 3; reason++)
    {
        AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
        fixture_login(&fixture, &raw, FIXTURE_INITIATOR, FIXTURE_KEYS);
        CU_ASSERT_EQUAL(raw_logout(&raw, reason), 0);
        CU_ASSERT_EQUAL_FATAL(raw_recv(&raw, &pdu), 0);
        CU_ASSERT_EQUAL(raw_opcode(&pdu), WIRE_LOGOUT_RESPONSE);
        CU_ASSERT_EQUAL(((struct wire_logout_response_pdu *)pdu.bhs)->response,
                        reason == WIRE_LOGOUT_RECOVERY ? WIRE_LOGOUT_NO_RECOVERY
                                                       : WIRE_LOGOUT_CLOSED);
        bool is_as_asked =
            reason == WIRE_LOGOUT_RECOVERY ? raw_is_alive(&raw) : raw_is_closed(&raw);
        CU_ASSERT(is_as_asked);
        raw_close(&raw);
    }
    fixture_stop(&fixture);
}

/* Sends SendTargets=@value; the answer in @text. The opcode of what came. */
static uint8_t test_send_targets(struct raw *raw, const char *value, char text[RAW_TEXT_MAX])
{
    struct wire_text bhs = {
        .opcode = WIRE_TEXT_REQUEST | WIRE_IMMEDIATE,
        .flags = WIRE_FINAL,
        .itt = be32_put(++raw->itt),
        .ttt = be32_put(WIRE_TAG_NONE),
        .cmd_sn = be32_put(raw->cmd_sn),
    };
    char request[512];
    int len = snprintf(request, sizeof(request), "SendTargets=%s", value) + 1;
    CU_ASSERT_EQUAL(raw_send(raw, &bhs, request, (uint32_t)len, 0), 0);
    AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
    CU_ASSERT_EQUAL_FATAL(raw_recv(raw, &pdu), 0);
    for (uint32_t i = 0; i < pdu.data_len; i++)
        text[i] = pdu.data[i] ? (char)pdu.data[i] : '\n';
    text[pdu.data_len] = '\0';
    return raw_opcode(&pdu);
}

static void test_discovery(void)
{
    struct fixture fixture;
    struct raw raw;
    char text[RAW_TEXT_MAX], expected[256];
    fixture_start(&fixture, NULL, NULL);
    raw_connect(&raw, fixture_address(&fixture));
    CU_ASSERT_EQUAL_FATAL(raw_login(&raw, FIXTURE_INITIATOR, NULL, ""), 0);
    snprintf(expected, sizeof(expected), "TargetName=%s\nTargetAddress=%s,1\n", FIXTURE_TARGET,
             fixture_address(&fixture));
    CU_ASSERT_EQUAL(test_send_targets(&raw, "All", text), WIRE_TEXT_RESPONSE);
    CU_ASSERT_STRING_EQUAL(text, expected);
    CU_ASSERT_EQUAL(test_send_targets(&raw, FIXTURE_TARGET, text), WIRE_TEXT_RESPONSE);
    CU_ASSERT_STRING_EQUAL(text, expected);
    CU_ASSERT_EQUAL(test_send_targets(&raw, "iqn.2026-11.test:nobody", text), WIRE_TEXT_RESPONSE);
    CU_ASSERT_STRING_EQUAL(text, "");
    /* Commands have no place here. */
    uint8_t cdb[16] = {0};
    AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
    CU_ASSERT_EQUAL(raw_command(&raw, WIRE_FINAL, cdb, 0, NULL, 0), 0);
    CU_ASSERT_EQUAL_FATAL(raw_recv(&raw, &pdu), 0);
    CU_ASSERT_EQUAL(raw_opcode(&pdu), WIRE_REJECT);
    raw_close(&raw);

    fixture_login(&fixture, &raw, FIXTURE_INITIATOR, FIXTURE_KEYS);
    CU_ASSERT_EQUAL(test_send_targets(&raw, "", text), WIRE_TEXT_RESPONSE);
    CU_ASSERT_STRING_EQUAL(text, expected);
    CU_ASSERT_EQUAL(test_send_targets(&raw, "All", text), WIRE_TEXT_RESPONSE);
    CU_ASSERT_STRING_EQUAL(text, "SendTargets=Reject\n");
    raw_close(&raw);
    fixture_stop(&fixture);
}

static void test_management(void)
{
    struct fixture fixture;
    struct raw one, two;
    struct iscsi_session_info *list;
    size_t count, ended;
    fixture_start(&fixture, NULL, NULL);
    fixture_login(&fixture, &one, "iqn.2026-11.test:one", FIXTURE_KEYS);
    fixture_login(&fixture, &two, "iqn.2026-11.test:Two", FIXTURE_KEYS "\nDataDigest=CRC32C");
    CU_ASSERT_EQUAL_FATAL(iscsi_session_list(fixture.server, &list, &count), 0);
    CU_ASSERT_EQUAL_FATAL(count, 2);
    const struct iscsi_session_info *second =
        strcmp(list[0].initiator, "iqn.2026-11.test:two") == 0 ? &list[0] : &list[1];
    CU_ASSERT_STRING_EQUAL(second->initiator, "iqn.2026-11.test:two");
    CU_ASSERT(second->data_digest && !second->header_digest);
    CU_ASSERT_EQUAL(second->tsih, two.tsih);
    free(list);
    struct reason why;
    CU_ASSERT_EQUAL(
        iscsi_session_terminate(fixture.server, "iqn.2026-11.test:three", 0, NULL, &why), -ENOENT);
    CU_ASSERT_EQUAL(
        iscsi_session_terminate(fixture.server, "iqn.2026-11.test:two", 0, &ended, &why), 0);
    CU_ASSERT_EQUAL(ended, 1);
    CU_ASSERT(raw_is_closed(&two));
    CU_ASSERT(raw_is_alive(&one));
    raw_close(&one);
    raw_close(&two);
    fixture_stop(&fixture);
}

static void test_redirect(void)
{
    struct fixture fixture;
    struct raw raw;
    char text[RAW_TEXT_MAX];
    uint8_t flags;
    struct reason why;
    fixture_start(&fixture, NULL, NULL);
    CU_ASSERT_EQUAL(iscsi_set_redirect(fixture.server, "10.1.2.3:3260", false, &why), 0);
    raw_connect(&raw, fixture_address(&fixture));
    CU_ASSERT_EQUAL(
        raw_login_send(&raw, WIRE_STAGE_OPERATIONAL, WIRE_STAGE_FULL_FEATURE, WIRE_LOGIN_TRANSIT,
                       "InitiatorName=" FIXTURE_INITIATOR "\nTargetName=" FIXTURE_TARGET),
        0);
    CU_ASSERT_EQUAL(raw_login_recv(&raw, &flags, text), WIRE_LOGIN_MOVED_TEMPORARILY);
    CU_ASSERT_STRING_EQUAL(text, "TargetAddress=10.1.2.3:3260\n");
    CU_ASSERT(raw_is_closed(&raw));
    raw_close(&raw);
    CU_ASSERT_EQUAL(iscsi_set_redirect(fixture.server, NULL, false, &why), 0);
    fixture_login(&fixture, &raw, FIXTURE_INITIATOR, "");
    raw_close(&raw);
    fixture_stop(&fixture);
}

/* A reader that does not read holds up nobody but itself, and gets all of it later. */
static void test_slow_reader(void)
{
    struct fixture fixture;
    struct raw slow, other;
    struct iscsi_limits limits = {.output_bytes = 65536};
    uint8_t cdb[16], read[512];
    fixture_start(&fixture, &limits, NULL);
    fixture_login(&fixture, &slow, FIXTURE_INITIATOR, FIXTURE_KEYS);
    fixture_login(&fixture, &other, "iqn.2026-11.test:other", FIXTURE_KEYS);
    test_fill(fake_scsi_bytes(fixture.scsi), FAKE_SCSI_BYTES, 4);
    uint32_t first = slow.itt + 1;
    for (int i = 0; i < 100; i++)
    {
        raw_cdb_rw(cdb, false, 0, 512, i % 2 ? FAKE_SCSI_BLOCK : 0);
        CU_ASSERT_EQUAL(raw_command(&slow, WIRE_FINAL | WIRE_CMD_READ, cdb, 262144, NULL, 0), 0);
    }
    for (int i = 0; i < 100; i++)
        CU_ASSERT_EQUAL(test_read(&other, (uint32_t)i, 1, 0, read), SCSI_GOOD);
    unsigned done = 0;
    while (done < 100)
    {
        AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
        CU_ASSERT_EQUAL_FATAL(raw_recv(&slow, &pdu), 0);
        const struct wire_data_in *bhs = (const struct wire_data_in *)pdu.bhs;
        CU_ASSERT_EQUAL_FATAL(raw_opcode(&pdu), WIRE_DATA_IN);
        CU_ASSERT_EQUAL(
            memcmp(pdu.data, fake_scsi_bytes(fixture.scsi) + be32_get(bhs->offset), pdu.data_len),
            0);
        CU_ASSERT(be32_get(bhs->itt) - first < 100);
        done += bhs->flags & WIRE_DATA_IN_STATUS ? 1 : 0;
    }
    raw_close(&slow);
    raw_close(&other);
    fixture_stop(&fixture);
}

/* More data is asked for than there is memory: everybody gets his turn. */
static void test_little_memory(void)
{
    enum
    {
        WRITES = 40
    };
    struct fixture fixture;
    struct raw raw;
    struct iscsi_limits limits = {.data_mib = 2};
    uint8_t cdb[16];
    AUTO_FREE uint8_t *data = malloc(TEST_MIB);
    fixture_start(&fixture, &limits, NULL);
    fixture_login(&fixture, &raw, FIXTURE_INITIATOR, "MaxBurstLength=65536");
    test_fill(data, TEST_MIB, 5);
    unsigned done = 0, sent = 0;
    raw_cdb_rw(cdb, true, 0, TEST_MIB / 512, 0);
    while (done < WRITES)
    {
        while (sent < WRITES && !((int32_t)(raw.max_cmd_sn - raw.cmd_sn) < 0 && sent > 0))
        {
            CU_ASSERT_EQUAL(raw_command(&raw, WIRE_FINAL | WIRE_CMD_WRITE, cdb, TEST_MIB, NULL, 0),
                            0);
            if (sent++ == 0)
                break;
        }
        AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
        CU_ASSERT_EQUAL_FATAL(raw_recv(&raw, &pdu), 0);
        if (raw_opcode(&pdu) == WIRE_SCSI_RESPONSE)
        {
            CU_ASSERT_EQUAL(((struct wire_scsi_response *)pdu.bhs)->status, SCSI_GOOD);
            done++;
            continue;
        }
        const struct wire_r2t *r2t = (const struct wire_r2t *)pdu.bhs;
        CU_ASSERT_EQUAL_FATAL(raw_opcode(&pdu), WIRE_R2T);
        uint32_t offset = be32_get(r2t->offset);
        CU_ASSERT_EQUAL(raw_data_out(&raw, be32_get(r2t->itt), be32_get(r2t->ttt), 0, offset, true,
                                     data + offset, be32_get(r2t->desired_bytes)),
                        0);
    }
    CU_ASSERT_EQUAL(memcmp(fake_scsi_bytes(fixture.scsi), data, TEST_MIB), 0);
    raw_close(&raw);
    fixture_stop(&fixture);
}

/* Sessions end while their writes wait for data and for buffers; another one's go on. */
static void test_end_while_waiting(void)
{
    enum
    {
        WRITES = 30
    };
    struct fixture fixture;
    struct iscsi_limits limits = {.data_mib = 2};
    AUTO_FREE uint8_t *data = calloc(1, TEST_MIB);
    uint8_t cdb[16];
    fixture_start(&fixture, &limits, NULL);
    raw_cdb_rw(cdb, true, 0, TEST_MIB / 512, 0);
    for (int round = 0; round < 12; round++)
    {
        struct raw waiting[4];
        for (int i = 0; i < 4; i++)
        {
            char name[64];
            snprintf(name, sizeof(name), "iqn.2026-11.test:w%d", i);
            fixture_login(&fixture, &waiting[i], name, "ImmediateData=Yes");
            for (int j = 0; j < WRITES; j++)
                CU_ASSERT_EQUAL(raw_command(&waiting[i], WIRE_FINAL | WIRE_CMD_WRITE, cdb, TEST_MIB,
                                            data, round % 3 ? 0 : 4096),
                                0);
        }
        for (int i = 0; i < 3; i++)
        {
            int r = round % 2 ? raw_logout(&waiting[i], WIRE_LOGOUT_SESSION) : 0;
            CU_ASSERT_EQUAL(r, 0);
            bool is_closed = round % 2 ? raw_is_closed(&waiting[i]) : true;
            CU_ASSERT(is_closed);
            raw_close(&waiting[i]);
        }
        CU_ASSERT(raw_is_alive(&waiting[3]));
        raw_close(&waiting[3]);
    }
    fixture_stop(&fixture);
}

static CU_TestInfo io_tests[] = {
    {"data in every shape", test_data},
    {"small segments and bursts", test_small_bursts},
    {"defaults without negotiation", test_defaults},
    {"residual counts", test_residuals},
    {"sense data", test_sense},
    {"a PDU cut at every byte", test_every_cut},
    {"the window wraps around", test_window_wraps},
    {"commands before their turn are held", test_held_commands},
    {"task management", test_task_management},
    {"dormant tasks", test_dormant},
    {"reinstatement", test_reinstatement},
    {"logout", test_logout},
    {"discovery", test_discovery},
    {"list and end sessions", test_management},
    {"redirection", test_redirect},
    {"a slow reader", test_slow_reader},
    {"little memory", test_little_memory},
    {"sessions end while writes wait", test_end_while_waiting},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"iscsi_io", NULL, NULL, NULL, NULL, io_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
