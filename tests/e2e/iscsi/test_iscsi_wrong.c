/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What goes wrong, byte by byte. Each case ends in the reject, status or close that RFC 7143 asks
 * for; a second session goes on all the while; nothing is left behind (fixture_stop() looks).
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

#define WITNESS "iqn.2026-11.test:witness"

/* One target, a client that misbehaves, and one that must not notice. */
struct scene
{
    struct fixture fixture;
    struct raw raw, witness;
};

static void scene_open(struct scene *scene, const struct iscsi_limits *limits, const char *keys)
{
    fixture_start(&scene->fixture, limits, NULL);
    fixture_login(&scene->fixture, &scene->witness, WITNESS, FIXTURE_KEYS);
    fixture_login(&scene->fixture, &scene->raw, FIXTURE_INITIATOR, keys);
}

static void scene_close(struct scene *scene)
{
    CU_ASSERT(raw_is_alive(&scene->witness));
    raw_close(&scene->raw);
    raw_close(&scene->witness);
    fixture_stop(&scene->fixture);
}

/* The next PDU must be a Reject; its reason. */
static uint8_t wrong_reject(struct raw *raw)
{
    AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
    CU_ASSERT_EQUAL_FATAL(raw_recv(raw, &pdu), 0);
    CU_ASSERT_EQUAL_FATAL(raw_opcode(&pdu), WIRE_REJECT);
    CU_ASSERT_EQUAL(pdu.data_len, WIRE_BHS_BYTES);
    return ((const struct wire_reject *)pdu.bhs)->reason;
}

/* The next PDU must be a CHECK CONDITION; its sense key, ASC and ASCQ as one number. */
static uint32_t wrong_sense(struct raw *raw)
{
    AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
    CU_ASSERT_EQUAL_FATAL(raw_recv(raw, &pdu), 0);
    CU_ASSERT_EQUAL_FATAL(raw_opcode(&pdu), WIRE_SCSI_RESPONSE);
    CU_ASSERT_EQUAL(((const struct wire_scsi_response *)pdu.bhs)->status, SCSI_CHECK_CONDITION);
    CU_ASSERT_EQUAL_FATAL(pdu.data_len, 20);
    return (uint32_t)pdu.data[2 + 2] << 16 | (uint32_t)pdu.data[2 + 12] << 8 | pdu.data[2 + 13];
}

static struct wire_r2t wrong_r2t(struct raw *raw)
{
    AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
    CU_ASSERT_EQUAL_FATAL(raw_recv(raw, &pdu), 0);
    CU_ASSERT_EQUAL_FATAL(raw_opcode(&pdu), WIRE_R2T);
    struct wire_r2t r2t;
    memcpy(&r2t, pdu.bhs, sizeof(r2t));
    return r2t;
}

/* A WRITE(10) of @len bytes that sends nothing yet, and its R2T. */
static struct wire_r2t wrong_begin_write(struct raw *raw, uint32_t len)
{
    uint8_t cdb[16];
    raw_cdb_rw(cdb, true, 0, (uint16_t)(len / 512), 0);
    CU_ASSERT_EQUAL_FATAL(raw_command(raw, WIRE_FINAL | WIRE_CMD_WRITE, cdb, len, NULL, 0), 0);
    return wrong_r2t(raw);
}

static struct wire_scsi_command wrong_command(struct raw *raw, unsigned flags, const uint8_t *cdb,
                                              uint32_t len)
{
    struct wire_scsi_command bhs = {
        .opcode = WIRE_SCSI_COMMAND,
        .flags = (uint8_t)(WIRE_FINAL | flags),
        .itt = be32_put(++raw->itt),
        .expected_bytes = be32_put(len),
        .cmd_sn = be32_put(raw->cmd_sn++),
    };
    memcpy(bhs.cdb, cdb, sizeof(bhs.cdb));
    return bhs;
}

/* ---- digests ------------------------------------------------------------------------------- */

static void test_header_digest(void)
{
    struct scene scene;
    uint8_t cdb[16] = {0};
    scene_open(&scene, NULL, FIXTURE_KEYS "\nHeaderDigest=CRC32C");
    struct wire_scsi_command bhs = wrong_command(&scene.raw, 0, cdb, 0);
    CU_ASSERT_EQUAL(raw_send(&scene.raw, &bhs, NULL, 0, RAW_SPOIL_HEADER_DIGEST), 0);
    CU_ASSERT(raw_is_closed(&scene.raw));
    scene_close(&scene);
}

static void test_data_digest(void)
{
    struct scene scene;
    uint8_t cdb[16], data[4096] = {1};
    scene_open(&scene, NULL, FIXTURE_KEYS "\nHeaderDigest=CRC32C\nDataDigest=CRC32C");
    raw_cdb_rw(cdb, true, 0, 8, 0);
    /* Of a command: it is as if it never came, so its number is free again. */
    struct wire_scsi_command bhs = wrong_command(&scene.raw, WIRE_CMD_WRITE, cdb, sizeof(data));
    CU_ASSERT_EQUAL(raw_send(&scene.raw, &bhs, data, sizeof(data), RAW_SPOIL_DATA_DIGEST), 0);
    CU_ASSERT_EQUAL(wrong_reject(&scene.raw), WIRE_REJECT_DATA_DIGEST);
    scene.raw.cmd_sn--;
    CU_ASSERT_EQUAL(fake_scsi_bytes(scene.fixture.scsi)[0], 0);
    /* Of a Data-Out: the command fails. */
    struct wire_r2t r2t = wrong_begin_write(&scene.raw, sizeof(data));
    struct wire_data_out out = {
        .opcode = WIRE_DATA_OUT,
        .flags = WIRE_FINAL,
        .itt = r2t.itt,
        .ttt = r2t.ttt,
    };
    CU_ASSERT_EQUAL(raw_send(&scene.raw, &out, data, sizeof(data), RAW_SPOIL_DATA_DIGEST), 0);
    CU_ASSERT_EQUAL(wrong_reject(&scene.raw), WIRE_REJECT_DATA_DIGEST);
    CU_ASSERT_EQUAL(wrong_sense(&scene.raw), 0x0b4705);
    CU_ASSERT_EQUAL(fake_scsi_bytes(scene.fixture.scsi)[0], 0);
    CU_ASSERT(raw_is_alive(&scene.raw));
    scene_close(&scene);
}

/* ---- numbers ------------------------------------------------------------------------------- */

static void test_cmd_sn(void)
{
    struct scene scene;
    uint8_t cdb[16] = {0};
    scene_open(&scene, NULL, FIXTURE_KEYS);
    struct raw *raw = &scene.raw;
    CU_ASSERT(raw_is_alive(raw));
    uint32_t right = raw->cmd_sn;
    const uint32_t wrong[] = {right - 1, right - 1000, raw->max_cmd_sn + 1, right + 0x7fffffff,
                              right + 0x80000000};
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
    {
        raw->cmd_sn = wrong[i];
        CU_ASSERT_EQUAL(raw_command(raw, WIRE_FINAL, cdb, 0, NULL, 0), 0);
        raw->cmd_sn = right;
        /* The answer to a ping comes next: the command is ignored, and no more. */
        AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
        CU_ASSERT_EQUAL(raw_nop(raw), 0);
        CU_ASSERT_EQUAL_FATAL(raw_recv(raw, &pdu), 0);
        CU_ASSERT_EQUAL(raw_opcode(&pdu), WIRE_NOP_IN);
    }
    CU_ASSERT_EQUAL(raw_command(raw, WIRE_FINAL, cdb, 0, NULL, 0), 0);
    AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
    CU_ASSERT_EQUAL_FATAL(raw_recv(raw, &pdu), 0);
    CU_ASSERT_EQUAL(raw_opcode(&pdu), WIRE_SCSI_RESPONSE);
    scene_close(&scene);
}

static void test_data_sn(void)
{
    struct scene scene;
    uint8_t data[4096] = {7};
    scene_open(&scene, NULL, FIXTURE_KEYS);
    struct raw *raw = &scene.raw;
    struct wire_r2t r2t = wrong_begin_write(raw, 8192);
    uint32_t itt = be32_get(r2t.itt), ttt = be32_get(r2t.ttt);
    CU_ASSERT_EQUAL(raw_data_out(raw, itt, ttt, 1, 0, false, data, 4096), 0);
    CU_ASSERT_EQUAL(raw_data_out(raw, itt, ttt, 2, 4096, true, data, 4096), 0);
    CU_ASSERT_EQUAL(wrong_sense(raw), 0x0b4705);
    /* The same for data that comes unasked. */
    uint8_t cdb[16];
    raw_cdb_rw(cdb, true, 0, 16, 0);
    CU_ASSERT_EQUAL(raw_command(raw, WIRE_CMD_WRITE, cdb, 8192, data, 4096), 0);
    CU_ASSERT_EQUAL(raw_data_out(raw, raw->itt, WIRE_TAG_NONE, 27, 4096, true, data, 4096), 0);
    CU_ASSERT_EQUAL(wrong_sense(raw), 0x0b4705);
    CU_ASSERT_EQUAL(fake_scsi_bytes(scene.fixture.scsi)[0], 0);
    CU_ASSERT(raw_is_alive(raw));
    scene_close(&scene);
}

/* ---- a write that has begun while its data comes ------------------------------------------- */

enum
{
    BURST_BYTES = 256 << 10,
    BURSTS = 3,
};

/* The first burst of such a write is sent and taken; the R2T of the second. */
static struct wire_r2t wrong_begin_pieces(struct raw *raw, const uint8_t *data)
{
    uint8_t cdb[16];
    raw_cdb_rw(cdb, true, 0, BURSTS * (BURST_BYTES / 512), FAKE_SCSI_PIECES);
    CU_ASSERT_EQUAL_FATAL(
        raw_command(raw, WIRE_FINAL | WIRE_CMD_WRITE, cdb, BURSTS * BURST_BYTES, NULL, 0), 0);
    struct wire_r2t r2t = wrong_r2t(raw);
    CU_ASSERT_EQUAL_FATAL(be32_get(r2t.desired_bytes), BURST_BYTES);
    CU_ASSERT_EQUAL_FATAL(
        raw_data_out(raw, be32_get(r2t.itt), be32_get(r2t.ttt), 0, 0, true, data, BURST_BYTES), 0);
    r2t = wrong_r2t(raw);
    CU_ASSERT_EQUAL_FATAL(be32_get(r2t.offset), BURST_BYTES);
    return r2t;
}

/* The first burst is on the disk, and nothing of what came later. */
static void wrong_check_first(const struct scene *scene, const uint8_t *data)
{
    uint8_t *disk = fake_scsi_bytes(scene->fixture.scsi);
    CU_ASSERT_EQUAL(memcmp(disk, data, BURST_BYTES), 0);
    for (size_t i = BURST_BYTES; i < (size_t)BURSTS * BURST_BYTES; i += 512)
        CU_ASSERT_EQUAL(disk[i], 0);
    memset(disk, 0, BURST_BYTES);
}

static void test_second_burst_wrong(void)
{
    static const struct
    {
        unsigned spoil;
        uint32_t data_sn, offset, len, sense;
        uint8_t reject; /* 0: none */
    } rows[] = {
        {RAW_SPOIL_DATA_DIGEST, 0, BURST_BYTES, BURST_BYTES, 0x0b4705, WIRE_REJECT_DATA_DIGEST},
        {0, 1, BURST_BYTES, BURST_BYTES, 0x0b4705, 0},
        {0, 0, 0, BURST_BYTES, 0x0b0c0d, WIRE_REJECT_PROTOCOL},
        {0, 0, 2 * BURST_BYTES, BURST_BYTES, 0x0b0c0d, WIRE_REJECT_PROTOCOL},
        {0, 0, BURST_BYTES, BURST_BYTES - 512, 0x0b0c0d, WIRE_REJECT_PROTOCOL},
    };
    struct scene scene;
    AUTO_FREE uint8_t *data = malloc(BURST_BYTES);
    memset(data, 0x5a, BURST_BYTES);
    scene_open(&scene, NULL, FIXTURE_KEYS "\nDataDigest=CRC32C");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
    {
        struct wire_r2t r2t = wrong_begin_pieces(&scene.raw, data);
        struct wire_data_out out = {.opcode = WIRE_DATA_OUT,
                                    .flags = WIRE_FINAL,
                                    .itt = r2t.itt,
                                    .ttt = r2t.ttt,
                                    .data_sn = be32_put(rows[i].data_sn),
                                    .offset = be32_put(rows[i].offset)};
        CU_ASSERT_EQUAL(raw_send(&scene.raw, &out, data, rows[i].len, rows[i].spoil), 0);
        if (rows[i].reject)
            CU_ASSERT_EQUAL(wrong_reject(&scene.raw), rows[i].reject);
        CU_ASSERT_EQUAL(wrong_sense(&scene.raw), rows[i].sense);
        wrong_check_first(&scene, data);
    }
    CU_ASSERT(raw_is_alive(&scene.raw));
    scene_close(&scene);
}

static void test_abort_between_bursts(void)
{
    static const uint8_t functions[] = {WIRE_TASK_ABORT, WIRE_TASK_ABORT_SET, WIRE_TASK_LUN_RESET};
    struct scene scene;
    AUTO_FREE uint8_t *data = malloc(BURST_BYTES);
    memset(data, 0x5a, BURST_BYTES);
    scene_open(&scene, NULL, FIXTURE_KEYS);
    for (size_t i = 0; i < ARRAY_SIZE(functions); i++)
    {
        struct wire_r2t r2t = wrong_begin_pieces(&scene.raw, data);
        AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
        CU_ASSERT_EQUAL(raw_tmf(&scene.raw, functions[i], be32_get(r2t.itt), true), 0);
        CU_ASSERT_EQUAL_FATAL(raw_recv(&scene.raw, &pdu), 0);
        CU_ASSERT_EQUAL(raw_opcode(&pdu), WIRE_TASK_RESPONSE);
        /* What was on its way is late, not wrong. */
        CU_ASSERT_EQUAL(raw_data_out(&scene.raw, be32_get(r2t.itt), be32_get(r2t.ttt), 0,
                                     BURST_BYTES, true, data, BURST_BYTES),
                        0);
        CU_ASSERT(raw_is_alive(&scene.raw));
        wrong_check_first(&scene, data);
    }
    scene_close(&scene);
}

static void test_gone_between_bursts(void)
{
    struct scene scene;
    AUTO_FREE uint8_t *data = malloc(BURST_BYTES);
    memset(data, 0x5a, BURST_BYTES);
    scene_open(&scene, NULL, FIXTURE_KEYS);
    wrong_begin_pieces(&scene.raw, data);
    raw_close(&scene.raw);
    while (fake_scsi_nexus_count(scene.fixture.scsi) > 1)
        CU_ASSERT_FATAL(raw_is_alive(&scene.witness));
    wrong_check_first(&scene, data);
    fixture_login(&scene.fixture, &scene.raw, FIXTURE_INITIATOR, FIXTURE_KEYS);
    scene_close(&scene);
}

/* ---- data ---------------------------------------------------------------------------------- */

static void test_data_out_wrong(void)
{
    struct scene scene;
    AUTO_FREE uint8_t *data = calloc(1, 16384);
    scene_open(&scene, NULL, FIXTURE_KEYS);
    struct raw *raw = &scene.raw;

    /* More than was asked for. */
    struct wire_r2t r2t = wrong_begin_write(raw, 8192);
    CU_ASSERT_EQUAL(
        raw_data_out(raw, be32_get(r2t.itt), be32_get(r2t.ttt), 0, 0, true, data, 16384), 0);
    CU_ASSERT_EQUAL(wrong_reject(raw), WIRE_REJECT_PROTOCOL);
    CU_ASSERT_EQUAL(wrong_sense(raw), 0x0b0c0d);

    /* At another place, also one that overflows. */
    const uint32_t offsets[] = {512, 8192, 0xfffff000};
    for (size_t i = 0; i < ARRAY_SIZE(offsets); i++)
    {
        r2t = wrong_begin_write(raw, 8192);
        CU_ASSERT_EQUAL(raw_data_out(raw, be32_get(r2t.itt), be32_get(r2t.ttt), 0, offsets[i], true,
                                     data, 8192),
                        0);
        CU_ASSERT_EQUAL(wrong_reject(raw), WIRE_REJECT_PROTOCOL);
        CU_ASSERT_EQUAL(wrong_sense(raw), 0x0b0c0d);
    }

    /* Less than was asked for. */
    r2t = wrong_begin_write(raw, 8192);
    CU_ASSERT_EQUAL(raw_data_out(raw, be32_get(r2t.itt), be32_get(r2t.ttt), 0, 0, true, data, 512),
                    0);
    CU_ASSERT_EQUAL(wrong_reject(raw), WIRE_REJECT_PROTOCOL);
    CU_ASSERT_EQUAL(wrong_sense(raw), 0x0b0c0d);

    /* Of no task; of no R2T. */
    CU_ASSERT_EQUAL(raw_data_out(raw, 0xdead, 0xbeef, 0, 0, true, data, 512), 0);
    CU_ASSERT_EQUAL(wrong_reject(raw), WIRE_REJECT_INVALID_FIELD);
    r2t = wrong_begin_write(raw, 8192);
    CU_ASSERT_EQUAL(
        raw_data_out(raw, be32_get(r2t.itt), be32_get(r2t.ttt) + 1, 0, 0, true, data, 8192), 0);
    CU_ASSERT_EQUAL(wrong_reject(raw), WIRE_REJECT_INVALID_FIELD);
    CU_ASSERT_EQUAL(raw_data_out(raw, be32_get(r2t.itt), WIRE_TAG_NONE, 0, 0, true, data, 8192), 0);
    CU_ASSERT_EQUAL(wrong_reject(raw), WIRE_REJECT_INVALID_FIELD);
    CU_ASSERT(raw_is_alive(raw));
    scene_close(&scene);
}

static void test_unsolicited(void)
{
    struct scene scene;
    uint8_t cdb[16];
    AUTO_FREE uint8_t *data = calloc(1, 131072);
    scene_open(&scene, NULL, "ImmediateData=No\nInitialR2T=Yes");
    struct raw *raw = &scene.raw;
    raw_cdb_rw(cdb, true, 0, 8, 0);
    CU_ASSERT_EQUAL(raw_command(raw, WIRE_FINAL | WIRE_CMD_WRITE, cdb, 4096, data, 4096), 0);
    CU_ASSERT_EQUAL(wrong_sense(raw), 0x0b0c0c);
    CU_ASSERT_EQUAL(raw_command(raw, WIRE_CMD_WRITE, cdb, 4096, NULL, 0), 0);
    CU_ASSERT_EQUAL(raw_data_out(raw, raw->itt, WIRE_TAG_NONE, 0, 0, true, data, 4096), 0);
    CU_ASSERT_EQUAL(wrong_sense(raw), 0x0b0c0c);
    raw_close(raw);
    /* More than FirstBurstLength, at once and in pieces; more than the command says. */
    fixture_login(&scene.fixture, raw, FIXTURE_INITIATOR, FIXTURE_KEYS "\nFirstBurstLength=8192");
    raw_cdb_rw(cdb, true, 0, 64, 0);
    CU_ASSERT_EQUAL(raw_command(raw, WIRE_FINAL | WIRE_CMD_WRITE, cdb, 32768, data, 16384), 0);
    CU_ASSERT_EQUAL(wrong_sense(raw), 0x0b0c0d);
    CU_ASSERT_EQUAL(raw_command(raw, WIRE_CMD_WRITE, cdb, 32768, data, 8192), 0);
    CU_ASSERT_EQUAL(raw_data_out(raw, raw->itt, WIRE_TAG_NONE, 0, 8192, true, data, 512), 0);
    CU_ASSERT_EQUAL(wrong_reject(raw), WIRE_REJECT_PROTOCOL);
    CU_ASSERT_EQUAL(wrong_sense(raw), 0x0b0c0d);
    CU_ASSERT_EQUAL(raw_command(raw, WIRE_FINAL | WIRE_CMD_WRITE, cdb, 512, data, 4096), 0);
    CU_ASSERT_EQUAL(wrong_sense(raw), 0x0b0c0d);
    /* Data with a command that says it has none. */
    CU_ASSERT_EQUAL(raw_command(raw, WIRE_FINAL | WIRE_CMD_READ, cdb, 512, data, 512), 0);
    CU_ASSERT_EQUAL(wrong_reject(raw), WIRE_REJECT_INVALID_FIELD);
    CU_ASSERT(raw_is_alive(raw));
    scene_close(&scene);
}

static void test_oversized(void)
{
    struct scene scene;
    struct wire_nop_out bhs = {
        .opcode = WIRE_NOP_OUT | WIRE_IMMEDIATE,
        .flags = WIRE_FINAL,
        .itt = be32_put(5),
        .ttt = be32_put(WIRE_TAG_NONE),
        .data_len = {4, 0, 1}, /* 262145 */
    };
    scene_open(&scene, NULL, FIXTURE_KEYS);
    CU_ASSERT_EQUAL(raw_send(&scene.raw, &bhs, NULL, 0, RAW_KEEP_DATA_LEN), 0);
    CU_ASSERT_EQUAL(wrong_reject(&scene.raw), WIRE_REJECT_PROTOCOL);
    CU_ASSERT(raw_is_closed(&scene.raw));
    scene_close(&scene);
}

/* ---- PDUs ---------------------------------------------------------------------------------- */

static void test_unknown_opcodes(void)
{
    struct scene scene;
    scene_open(&scene, NULL, FIXTURE_KEYS);
    for (unsigned opcode = 0; opcode < 64; opcode++)
    {
        if (opcode <= WIRE_LOGOUT_REQUEST || opcode == WIRE_SNACK)
            continue;
        struct wire_bhs bhs = {.opcode = (uint8_t)opcode, .itt = be32_put(1)};
        CU_ASSERT_EQUAL(raw_send(&scene.raw, &bhs, "abcd", opcode % 5, 0), 0);
        CU_ASSERT_EQUAL(wrong_reject(&scene.raw), WIRE_REJECT_NOT_SUPPORTED);
    }
    struct wire_snack snack = {.opcode = WIRE_SNACK, .type = WIRE_FINAL};
    CU_ASSERT_EQUAL(raw_send(&scene.raw, &snack, NULL, 0, 0), 0);
    CU_ASSERT_EQUAL(wrong_reject(&scene.raw), WIRE_REJECT_SNACK);
    CU_ASSERT(raw_is_alive(&scene.raw));
    /* A second login on the same connection ends it. */
    CU_ASSERT_EQUAL(raw_login_send(&scene.raw, 1, 3, WIRE_LOGIN_TRANSIT, "InitiatorName=iqn.x"), 0);
    CU_ASSERT_EQUAL(wrong_reject(&scene.raw), WIRE_REJECT_PROTOCOL);
    CU_ASSERT(raw_is_closed(&scene.raw));
    scene_close(&scene);
}

static void test_ahs(void)
{
    struct scene scene;
    uint8_t cdb[16] = {0}, ahs[WIRE_AHS_BYTES_MAX], stream[2048];
    scene_open(&scene, NULL, FIXTURE_KEYS "\nHeaderDigest=CRC32C");
    struct raw *raw = &scene.raw;
    static const struct
    {
        uint16_t len; /* in the first segment's header */
        uint8_t type;
        uint32_t bytes;
        bool is_good;
    } cases[] = {
        {1017, 1, 1020, false}, /* a CDB of a kilobyte */
        {0, 1, 4, false},       /* says it is empty */
        {65535, 1, 8, false},   /* says it is longer than there is */
        {5, 77, 8, false},      /* of no known type */
        {17, 1, 20, true},      /* a CDB of 32 bytes */
        {5, 2, 8, true},        /* a length for a read that is not asked for */
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    {
        memset(ahs, 0, sizeof(ahs));
        ahs[0] = (uint8_t)(cases[i].len >> 8);
        ahs[1] = (uint8_t)cases[i].len;
        ahs[2] = cases[i].type;
        struct wire_scsi_command bhs = wrong_command(raw, 0, cdb, 0);
        size_t len = raw_build(raw, &bhs, ahs, cases[i].bytes, NULL, 0, 0, stream, sizeof(stream));
        CU_ASSERT_EQUAL(raw_send_bytes(raw, stream, len), 0);
        AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
        CU_ASSERT_EQUAL_FATAL(raw_recv(raw, &pdu), 0);
        CU_ASSERT_EQUAL(raw_opcode(&pdu), cases[i].is_good ? WIRE_SCSI_RESPONSE : WIRE_REJECT);
    }
    CU_ASSERT(raw_is_alive(raw));
    scene_close(&scene);
}

static void test_tag_reuse(void)
{
    struct scene scene;
    uint8_t cdb[16];
    scene_open(&scene, NULL, FIXTURE_KEYS);
    struct raw *raw = &scene.raw;
    raw_cdb_rw(cdb, false, 0, 1, FAKE_SCSI_GATE);
    CU_ASSERT_EQUAL(raw_command(raw, WIRE_FINAL | WIRE_CMD_READ, cdb, 512, NULL, 0), 0);
    raw->itt--;
    CU_ASSERT_EQUAL(raw_command(raw, WIRE_FINAL | WIRE_CMD_READ, cdb, 512, NULL, 0), 0);
    CU_ASSERT_EQUAL(wrong_reject(raw), WIRE_REJECT_PROTOCOL);
    raw->itt = WIRE_TAG_NONE - 1;
    CU_ASSERT_EQUAL(raw_command(raw, WIRE_FINAL | WIRE_CMD_READ, cdb, 512, NULL, 0), 0);
    CU_ASSERT_EQUAL(wrong_reject(raw), WIRE_REJECT_PROTOCOL);
    raw->itt = 5000;
    fake_scsi_open_gate(scene.fixture.scsi, true);
    CU_ASSERT(raw_is_alive(raw));
    scene_close(&scene);
}

static void test_too_many_immediate(void)
{
    struct scene scene;
    uint8_t cdb[16];
    const struct iscsi_limits limits = {.immediate = 4};
    scene_open(&scene, &limits, FIXTURE_KEYS);
    struct raw *raw = &scene.raw;
    raw_cdb_rw(cdb, false, 0, 1, FAKE_SCSI_GATE);
    for (int i = 0; i < 5; i++)
    {
        struct wire_scsi_command bhs = wrong_command(raw, WIRE_CMD_READ, cdb, 512);
        bhs.opcode |= WIRE_IMMEDIATE;
        raw->cmd_sn--;
        CU_ASSERT_EQUAL(raw_send(raw, &bhs, NULL, 0, 0), 0);
    }
    CU_ASSERT_EQUAL(wrong_reject(raw), WIRE_REJECT_TOO_MANY_IMMEDIATE);
    fake_scsi_open_gate(scene.fixture.scsi, true);
    CU_ASSERT(raw_is_alive(raw));
    scene_close(&scene);
}

static void test_text_wrong(void)
{
    struct scene scene;
    static const struct
    {
        const char *text;
        uint32_t len;
        uint8_t flags;
        uint32_t ttt;
    } cases[] = {
        {"no key", 7, WIRE_FINAL, WIRE_TAG_NONE},
        {"=x", 3, WIRE_FINAL, WIRE_TAG_NONE},
        {"a b=x", 6, WIRE_FINAL, WIRE_TAG_NONE},
        {"SendTargets=All", 16, WIRE_FINAL | WIRE_TEXT_CONTINUE, WIRE_TAG_NONE},
        {"SendTargets=All", 16, WIRE_FINAL, 0x4242},
    };
    scene_open(&scene, NULL, FIXTURE_KEYS);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    {
        struct wire_text bhs = {
            .opcode = WIRE_TEXT_REQUEST | WIRE_IMMEDIATE,
            .flags = cases[i].flags,
            .itt = be32_put(77),
            .ttt = be32_put(cases[i].ttt),
        };
        CU_ASSERT_EQUAL(raw_send(&scene.raw, &bhs, cases[i].text, cases[i].len, 0), 0);
        CU_ASSERT_EQUAL(wrong_reject(&scene.raw), WIRE_REJECT_PROTOCOL);
    }
    CU_ASSERT(raw_is_alive(&scene.raw));
    scene_close(&scene);
}

/* ---- streams ------------------------------------------------------------------------------- */

/* Each cut of a login and a write with digests; then the client is gone. */
static void test_cut_and_gone(void)
{
    struct scene scene;
    uint8_t cdb[16], data[1024] = {0}, stream[2048];
    scene_open(&scene, NULL, FIXTURE_KEYS);
    size_t len = WIRE_BHS_BYTES;
    for (size_t cut = 1; cut < len; cut += 3)
    {
        struct raw raw;
        fixture_login(&scene.fixture, &raw, "iqn.2026-11.test:cut",
                      FIXTURE_KEYS "\nHeaderDigest=CRC32C\nDataDigest=CRC32C");
        raw_cdb_rw(cdb, true, 0, 2, cut % 2 ? FAKE_SCSI_BLOCK : 0);
        struct wire_scsi_command bhs = wrong_command(&raw, WIRE_CMD_WRITE, cdb, sizeof(data));
        len = raw_build(&raw, &bhs, NULL, 0, data, sizeof(data), 0, stream, sizeof(stream));
        CU_ASSERT_EQUAL(raw_send_bytes(&raw, stream, cut), 0);
        raw_close(&raw);
        raw_connect(&raw, fixture_address(&scene.fixture));
        CU_ASSERT_EQUAL(raw_send_bytes(&raw, stream, cut < 48 ? cut : 48), 0);
        raw_close(&raw);
    }
    CU_ASSERT(raw_is_alive(&scene.raw));
    scene_close(&scene);
}

/* Bytes without sense, behind a login and instead of one. */
static void test_noise(void)
{
    struct scene scene;
    unsigned seed = 1;
    uint8_t noise[4096];
    scene_open(&scene, NULL, FIXTURE_KEYS);
    for (int round = 0; round < 200; round++)
    {
        struct raw raw;
        for (size_t i = 0; i < sizeof(noise); i++)
            noise[i] = (uint8_t)(rand_r(&seed) >> 7);
        /* Mostly lengths that fit, so that more than the first header is looked at. */
        for (size_t i = 0; i < sizeof(noise); i += WIRE_BHS_BYTES)
            if (round % 4 && i + 8 < sizeof(noise))
                memset(noise + i + 4, 0, 4);
        raw_connect(&raw, fixture_address(&scene.fixture));
        int status =
            round % 2 ? raw_login(&raw, "iqn.2026-11.test:noise", FIXTURE_TARGET, FIXTURE_KEYS) : 0;
        CU_ASSERT_EQUAL(status, 0);
        ignore_error(raw_send_bytes(&raw, noise, sizeof(noise)), "it may be closed by now");
        raw_close(&raw);
    }
    CU_ASSERT(raw_is_alive(&scene.raw));
    scene_close(&scene);
}

/* ---- login --------------------------------------------------------------------------------- */

static void test_half_open(void)
{
    enum
    {
        CLIENTS = 2000,
        TRIES = 3000,
        TRY_AGAIN_US = 20000,
    };
    struct scene scene;
    const struct iscsi_limits limits = {.half_open = 32, .connections = 100};
    AUTO_FREE struct raw *clients = calloc(CLIENTS, sizeof(*clients));
    scene_open(&scene, &limits, FIXTURE_KEYS);
    for (int i = 0; i < CLIENTS; i++)
    {
        raw_connect(&clients[i], fixture_address(&scene.fixture));
        if (i % 2)
            ignore_error(raw_send_bytes(&clients[i], "\x43", 1), "it may have made room already");
        /* Only so many files may be open here. */
        if (i >= 500)
            raw_close(&clients[i - 500]);
    }
    /* Somebody who means it still gets in: at once, or as initiators do by trying again, while
     * those who were hung up on are still being closed and count as connections. */
    struct raw raw;
    int r = -1;
    for (int i = 0; i < TRIES && r != 0; i++)
    {
        raw_connect(&raw, fixture_address(&scene.fixture));
        r = raw_login(&raw, "iqn.2026-11.test:late", FIXTURE_TARGET, FIXTURE_KEYS);
        if (r != 0)
        {
            raw_close(&raw);
            usleep(TRY_AGAIN_US);
        }
    }
    CU_ASSERT_EQUAL_FATAL(r, 0);
    CU_ASSERT(raw_is_alive(&raw));
    raw_close(&raw);
    for (int i = CLIENTS - 500; i < CLIENTS; i++)
        raw_close(&clients[i]);
    CU_ASSERT(raw_is_alive(&scene.raw));
    scene_close(&scene);
}

/* One address floods; who is in the middle of a login from another one is not pushed out. */
static void test_half_open_sources(void)
{
    enum
    {
        CLIENTS = 200
    };
    struct scene scene;
    const struct iscsi_limits limits = {.half_open = 32};
    struct raw slow[4], flood[CLIENTS];
    scene_open(&scene, &limits, FIXTURE_KEYS);
    for (size_t i = 0; i < ARRAY_SIZE(slow); i++)
        raw_connect(&slow[i], fixture_address(&scene.fixture));
    for (int i = 0; i < CLIENTS; i++)
        raw_connect_from(&flood[i], fixture_address(&scene.fixture), "127.0.0.2");
    for (size_t i = 0; i < ARRAY_SIZE(slow); i++)
    {
        char name[64];
        snprintf(name, sizeof(name), "iqn.2026-11.test:slow-%zu", i);
        CU_ASSERT_EQUAL(raw_login(&slow[i], name, FIXTURE_TARGET, FIXTURE_KEYS), 0);
        raw_close(&slow[i]);
    }
    for (int i = 0; i < CLIENTS; i++)
        raw_close(&flood[i]);
    scene_close(&scene);
}

/* One address has as many connections as it may; others get theirs. */
static void test_sources(void)
{
    enum
    {
        EACH = 8
    };
    struct scene scene;
    const struct iscsi_limits limits = {.connections = 40, .connections_per_source = EACH};
    struct raw greedy[EACH], more;
    scene_open(&scene, &limits, FIXTURE_KEYS);
    for (int i = 0; i < EACH; i++)
    {
        char name[64];
        snprintf(name, sizeof(name), "iqn.2026-11.test:greedy-%d", i);
        raw_connect_from(&greedy[i], fixture_address(&scene.fixture), "127.0.0.2");
        CU_ASSERT_EQUAL(raw_login(&greedy[i], name, FIXTURE_TARGET, ""), 0);
    }
    for (int i = 0; i < 100; i++)
    {
        raw_connect_from(&more, fixture_address(&scene.fixture), "127.0.0.2");
        CU_ASSERT(raw_is_closed(&more));
        raw_close(&more);
    }
    fixture_login(&scene.fixture, &more, "iqn.2026-11.test:modest", "");
    CU_ASSERT(raw_is_alive(&more));
    raw_close(&more);
    /* A place that is free again is given again. */
    raw_close(&greedy[0]);
    do
    {
        raw_close(&more);
        raw_connect_from(&more, fixture_address(&scene.fixture), "127.0.0.2");
    } while (raw_login(&more, "iqn.2026-11.test:greedy-0", FIXTURE_TARGET, "") != 0);
    raw_close(&more);
    for (int i = 1; i < EACH; i++)
        raw_close(&greedy[i]);
    scene_close(&scene);
}

static void test_login_timeout(void)
{
    struct scene scene;
    /* Long enough for the scene's own logins, on any machine. */
    const struct iscsi_limits limits = {.login_ms = 3000};
    struct raw silent, slow;
    scene_open(&scene, &limits, FIXTURE_KEYS);
    raw_connect(&silent, fixture_address(&scene.fixture));
    raw_connect(&slow, fixture_address(&scene.fixture));
    CU_ASSERT_EQUAL(raw_login_send(&slow, 0, 0, 0,
                                   "InitiatorName=" FIXTURE_INITIATOR "\nSessionType=Discovery"),
                    0);
    CU_ASSERT(raw_is_closed(&silent));
    CU_ASSERT(raw_is_closed(&slow));
    raw_close(&silent);
    raw_close(&slow);
    CU_ASSERT(raw_is_alive(&scene.raw));
    scene_close(&scene);
}

static void test_first_pdu(void)
{
    struct scene scene;
    scene_open(&scene, NULL, FIXTURE_KEYS);
    for (unsigned opcode = 0; opcode < 64; opcode++)
    {
        struct raw raw;
        struct wire_bhs bhs = {.opcode = (uint8_t)(opcode | WIRE_IMMEDIATE)};
        if (opcode == WIRE_LOGIN_REQUEST)
            pdu_put_data_len(bhs.data_len, 8193); /* longer than a login may be */
        raw_connect(&raw, fixture_address(&scene.fixture));
        CU_ASSERT_EQUAL(raw_send(&raw, &bhs, NULL, 0, RAW_KEEP_DATA_LEN), 0);
        CU_ASSERT(raw_is_closed(&raw));
        raw_close(&raw);
    }
    scene_close(&scene);
}

static void test_limits(void)
{
    struct scene scene;
    const struct iscsi_limits limits = {.sessions = 3};
    struct raw raw, more;
    scene_open(&scene, &limits, FIXTURE_KEYS);
    fixture_login(&scene.fixture, &raw, "iqn.2026-11.test:third", "");
    raw_connect(&more, fixture_address(&scene.fixture));
    CU_ASSERT_EQUAL(raw_login(&more, "iqn.2026-11.test:fourth", FIXTURE_TARGET, ""),
                    WIRE_LOGIN_OUT_OF_RESOURCES);
    CU_ASSERT(raw_is_closed(&more));
    raw_close(&more);
    /* A connection more for a session that there is; one for a session that is not. */
    raw_connect(&more, fixture_address(&scene.fixture));
    more.tsih = raw.tsih;
    CU_ASSERT_EQUAL(raw_login(&more, "iqn.2026-11.test:third", FIXTURE_TARGET, ""),
                    WIRE_LOGIN_TOO_MANY_CONNECTIONS);
    raw_close(&more);
    raw_connect(&more, fixture_address(&scene.fixture));
    more.tsih = (uint16_t)(raw.tsih + 1000);
    CU_ASSERT_EQUAL(raw_login(&more, "iqn.2026-11.test:third", FIXTURE_TARGET, ""),
                    WIRE_LOGIN_NO_SUCH_SESSION);
    raw_close(&more);
    raw_close(&raw);
    scene_close(&scene);
}

/* ---- silence ------------------------------------------------------------------------------- */

static void test_keep_alive(void)
{
    struct scene scene;
    /* Long enough for the answers below, on any machine. */
    const struct iscsi_limits limits = {.idle_ms = 200, .answer_ms = 3000};
    scene_open(&scene, &limits, FIXTURE_KEYS);
    for (int i = 0; i < 3; i++)
    {
        AUTO_RAW_PDU struct raw_pdu pdu = {.data = NULL};
        CU_ASSERT_EQUAL_FATAL(raw_recv(&scene.raw, &pdu), 0);
        CU_ASSERT_EQUAL_FATAL(raw_opcode(&pdu), WIRE_NOP_IN);
        const struct wire_plain_response *ping = (const struct wire_plain_response *)pdu.bhs;
        CU_ASSERT_EQUAL(be32_get(ping->itt), WIRE_TAG_NONE);
        CU_ASSERT_NOT_EQUAL(be32_get(ping->ttt), WIRE_TAG_NONE);
        struct wire_nop_out answer = {
            .opcode = WIRE_NOP_OUT | WIRE_IMMEDIATE,
            .flags = WIRE_FINAL,
            .itt = be32_put(WIRE_TAG_NONE),
            .ttt = ping->ttt,
            .cmd_sn = be32_put(scene.raw.cmd_sn),
        };
        CU_ASSERT_EQUAL(raw_send(&scene.raw, &answer, NULL, 0, 0), 0);
        CU_ASSERT(raw_is_alive(&scene.witness));
    }
    /* No answer any more. */
    CU_ASSERT(raw_is_closed(&scene.raw));
    raw_close(&scene.witness);
    fixture_login(&scene.fixture, &scene.witness, WITNESS, FIXTURE_KEYS);
    scene_close(&scene);
}

/* It asks for much and reads nothing: the target gives up on it, and frees what it had. */
static void test_takes_nothing(void)
{
    struct scene scene;
    const struct iscsi_limits limits = {.idle_ms = 100, .write_ms = 300};
    uint8_t cdb[16];
    scene_open(&scene, &limits, FIXTURE_KEYS);
    for (int i = 0; i < 64; i++)
    {
        raw_cdb_rw(cdb, false, 0, 2048, 0);
        CU_ASSERT_EQUAL(raw_command(&scene.raw, WIRE_FINAL | WIRE_CMD_READ, cdb, 1 << 20, NULL, 0),
                        0);
    }
    /* The witness keeps itself alive until the other's nexus is gone. */
    while (fake_scsi_nexus_count(scene.fixture.scsi) > 1)
        CU_ASSERT_FATAL(raw_is_alive(&scene.witness));
    scene_close(&scene);
}

static CU_TestInfo wrong_tests[] = {
    {"header digest", test_header_digest},
    {"data digest", test_data_digest},
    {"CmdSN outside the window", test_cmd_sn},
    {"DataSN", test_data_sn},
    {"Data-Out that was not asked for", test_data_out_wrong},
    {"the second burst is wrong", test_second_burst_wrong},
    {"an abort between two bursts", test_abort_between_bursts},
    {"gone between two bursts", test_gone_between_bursts},
    {"unsolicited data against the rules", test_unsolicited},
    {"a segment longer than agreed", test_oversized},
    {"unknown opcodes", test_unknown_opcodes},
    {"additional header segments", test_ahs},
    {"a tag in use", test_tag_reuse},
    {"too many immediate commands", test_too_many_immediate},
    {"text requests", test_text_wrong},
    {"gone in the middle of a PDU", test_cut_and_gone},
    {"noise", test_noise},
    {"half-open logins", test_half_open},
    {"half-open logins of one address", test_half_open_sources},
    {"connections of one address", test_sources},
    {"a login that takes too long", test_login_timeout},
    {"something else than a login first", test_first_pdu},
    {"limits of sessions", test_limits},
    {"keep-alive", test_keep_alive},
    {"takes nothing", test_takes_nothing},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"iscsi_wrong", NULL, NULL, NULL, NULL, wrong_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
