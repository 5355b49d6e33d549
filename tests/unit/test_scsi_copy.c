/* SPDX-License-Identifier: BSD-3-Clause */
/* Copies inside the target (EXTENDED COPY, tokens), SANITIZE, and a full pool. */
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/scsi/cdb.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/scsi_host.h"

enum
{
    TOKEN_BYTES = 512,
    LUN_BLOCKS = HOST_LUN_BYTES / 512,
};

static struct scsi_host host;
static struct scsi_nexus *nexus;
static uint8_t data[64 * 512];

static void set_up(void)
{
    host_start(&host, 512);
    nexus = host_login(&host, HOST_A, 1);
    host_clear(nexus, 0);
    host_clear(nexus, 1);
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 13 + (i >> 9));
}

static void tear_down(void)
{
    scsi_nexus_destroy(nexus);
    host_stop(&host);
}

static const struct outcome *read_lun(uint32_t lun, uint32_t lba, uint16_t blocks)
{
    uint8_t cdb[10] = {0x28};
    wire_put_u32(cdb + 2, lba);
    wire_put_u16(cdb + 7, blocks);
    struct sending sending = {.lun = lun, .cdb = cdb, .cdb_len = 10, .in_len = 512u * blocks};
    return host_send(nexus, &sending);
}

/* ---- EXTENDED COPY ------------------------------------------------------------------------- */

static void put_cscd(uint8_t *at, uint32_t lun)
{
    uint8_t cdb[6] = {0x12, 1, 0x83, 0x10};
    struct sending sending = {.lun = lun, .cdb = cdb, .cdb_len = 6, .in_len = 4096};
    const struct outcome *outcome = host_send(nexus, &sending);
    memset(at, 0, 32);
    at[0] = 0xe4;
    at[4] = 1;
    at[5] = 3;
    at[7] = 16;
    memcpy(at + 8, outcome->in + 8, 16);
    wire_put_u32(at + 28, 512);
}

/* From LUN 0 to LUN @to_lun. Returns the length of the list. */
static size_t put_xcopy(uint8_t *list, uint32_t to_lun, uint64_t from, uint64_t to, uint16_t blocks)
{
    memset(list, 0, 16 + 64 + 28);
    list[0] = 7;
    wire_put_u16(list + 2, 64);
    wire_put_u32(list + 8, 28);
    put_cscd(list + 16, 0);
    put_cscd(list + 48, to_lun);
    uint8_t *segment = list + 80;
    segment[0] = 0x02;
    wire_put_u16(segment + 2, 24);
    wire_put_u16(segment + 6, 1);
    wire_put_u16(segment + 10, blocks);
    wire_put_u64(segment + 12, from);
    wire_put_u64(segment + 20, to);
    return 108;
}

static const struct outcome *xcopy(const uint8_t *list, size_t len)
{
    return host_out(nexus, list, len, 0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, (uint8_t)len, 0, 0);
}

static void test_xcopy(void)
{
    uint8_t list[256];
    CHECK_GOOD(host_write(nexus, 8, 64, data, 512));
    size_t len = put_xcopy(list, 1, 8, 1000, 64);
    CHECK_GOOD(xcopy(list, len));
    CU_ASSERT_EQUAL(memcmp(read_lun(1, 1000, 64)->in, data, sizeof(data)), 0);
    /* Within one LUN, and onto itself a bit further. */
    len = put_xcopy(list, 0, 8, 20, 64);
    CHECK_GOOD(xcopy(list, len));
    CU_ASSERT_EQUAL(memcmp(read_lun(0, 20, 64)->in, data, sizeof(data)), 0);
    len = put_xcopy(list, 0, 20, 16, 64);
    CHECK_GOOD(xcopy(list, len));
    CU_ASSERT_EQUAL(memcmp(read_lun(0, 16, 64)->in, data, sizeof(data)), 0);
    /* A hole makes a hole. */
    len = put_xcopy(list, 1, 4096, 1000, 64);
    CHECK_GOOD(xcopy(list, len));
    for (size_t i = 0; i < 64 * 512; i++)
        if (i == 0 || i == 64 * 512 - 1)
            CU_ASSERT_EQUAL(read_lun(1, 1000, 64)->in[i], 0);
    const struct outcome *outcome =
        host_in(nexus, 64, 0x84, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(outcome->in[4], 1);
    CU_ASSERT_EQUAL(wire_u16(outcome->in + 5), 1);
    CU_ASSERT_EQUAL(wire_u32(outcome->in + 8), 32); /* KiB */
    CHECK_INVALID_CDB(host_in(nexus, 64, 0x84, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0));
}

static void test_xcopy_wrong(void)
{
    uint8_t list[256];
    size_t len = put_xcopy(list, 1, 0, LUN_BLOCKS - 1, 2);
    CHECK_SENSE(xcopy(list, len), 0xa, 0, 0);
    len = put_xcopy(list, 1, LUN_BLOCKS, 0, 2);
    CHECK_SENSE(xcopy(list, len), 0xa, 0, 0);
    len = put_xcopy(list, 1, 0, 0, 2);
    for (size_t cut = 1; cut < len; cut++)
        CHECK_SENSE(xcopy(list, cut), 5, 0x1a, 0);
    list[24] ^= 1; /* nobody's identifier */
    CHECK_SENSE(xcopy(list, len), 0xa, 0x0d, 2);
    list[24] ^= 1;
    list[16] = 0xe0;
    CHECK_SENSE(xcopy(list, len), 5, 0x26, 7);
    list[16] = 0xe4;
    list[80] = 0x01;
    CHECK_SENSE(xcopy(list, len), 5, 0x26, 9);
    list[80] = 0x02;
    wire_put_u16(list + 86, 5); /* no such descriptor */
    CHECK_SENSE(xcopy(list, len), 0xa, 0x0d, 2);
    wire_put_u16(list + 86, 1);
    wire_put_u32(list + 8, UINT32_MAX);
    CHECK_SENSE(xcopy(list, len), 5, 0x1a, 0);
    /* Not onto a LUN that another has reserved, or that is protected. */
    len = put_xcopy(list, 1, 0, 0, 2);
    struct scsi_nexus *other = host_login(&host, HOST_B, 2);
    host_clear(other, 1);
    struct sending reserve = {.lun = 1, .cdb = (const uint8_t[6]){0x16}, .cdb_len = 6};
    CHECK_GOOD(host_send(other, &reserve));
    CHECK_SENSE(xcopy(list, len), 0xa, 0x0d, 2);
    scsi_nexus_destroy(other);
    CHECK_GOOD(xcopy(list, len));
    CU_ASSERT_EQUAL(access_set_lun_flags(host.access, "other", ACCESS_LUN_READ_ONLY, NULL), 0);
    CHECK_SENSE(xcopy(list, len), 0xa, 0x0d, 2);
}

/* Who knows the identifier of a LUN that it does not see gets nothing from it, nor into it, and is
 * told what one is told that made the identifier up. */
static void test_xcopy_of_others(void)
{
    uint8_t list[256];
    CHECK_GOOD(host_write(nexus, 8, 64, data, 512));
    size_t len = put_xcopy(list, 1, 8, 1000, 64);
    CHECK_GOOD(xcopy(list, len));
    CU_ASSERT_EQUAL(access_unmap(host.access, "other", NULL, NULL), 0);
    host_clear(nexus, 0);
    CHECK_SENSE(xcopy(list, len), 0xa, 0x0d, 2);
    wire_put_u16(list + 84, 1); /* from there */
    wire_put_u16(list + 86, 0);
    CHECK_SENSE(xcopy(list, len), 0xa, 0x0d, 2);
    list[56] ^= 1;
    CHECK_SENSE(xcopy(list, len), 0xa, 0x0d, 2);
}

/* ---- tokens -------------------------------------------------------------------------------- */

static size_t put_populate(uint8_t *list, uint64_t lba, uint32_t blocks)
{
    memset(list, 0, 32);
    wire_put_u16(list, 30);
    wire_put_u32(list + 4, 30); /* seconds */
    wire_put_u16(list + 14, 16);
    wire_put_u64(list + 16, lba);
    wire_put_u32(list + 24, blocks);
    return 32;
}

static const struct outcome *token_command(uint32_t lun, uint8_t action, uint8_t list_id,
                                           const uint8_t *list, size_t len)
{
    uint8_t cdb[16] = {0x83, action};
    cdb[9] = list_id;
    wire_put_u32(cdb + 10, len);
    struct sending sending = {.lun = lun, .cdb = cdb, .cdb_len = 16, .out = list, .out_len = len};
    return host_send(nexus, &sending);
}

static const struct outcome *token_information(uint32_t lun, uint8_t list_id)
{
    uint8_t cdb[16] = {0x84, 0x07};
    cdb[5] = list_id;
    wire_put_u32(cdb + 10, 1024);
    struct sending sending = {.lun = lun, .cdb = cdb, .cdb_len = 16, .in_len = 1024};
    return host_send(nexus, &sending);
}

static size_t put_use(uint8_t *list, const uint8_t *token, uint64_t offset, uint64_t lba,
                      uint32_t blocks)
{
    memset(list, 0, 552);
    wire_put_u16(list, 550);
    wire_put_u64(list + 8, offset);
    memcpy(list + 16, token, TOKEN_BYTES);
    wire_put_u16(list + 534, 16);
    wire_put_u64(list + 536, lba);
    wire_put_u32(list + 544, blocks);
    return 552;
}

/* A token of @blocks at @lba of LUN 0. */
static void make_token(uint8_t *token, uint64_t lba, uint32_t blocks)
{
    uint8_t list[64];
    size_t len = put_populate(list, lba, blocks);
    CHECK_GOOD(token_command(0, 0x10, 1, list, len));
    const struct outcome *outcome = token_information(0, 1);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(outcome->in[4], 0x10);
    CU_ASSERT_EQUAL(outcome->in[5], 1);
    CU_ASSERT_EQUAL(wire_u64(outcome->in + 16), blocks);
    CU_ASSERT_EQUAL_FATAL(wire_u32(outcome->in + 32), 514);
    memcpy(token, outcome->in + 38, TOKEN_BYTES);
}

static size_t snapshot_count(void)
{
    struct lun_info *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL(lun_list(host.pool, "disk", &list, &count, NULL), 0);
    free(list);
    return count - 1;
}

/* A token stands for the data of when it was made. */
static void test_token(void)
{
    uint8_t token[TOKEN_BYTES], list[600];
    CHECK_GOOD(host_write(nexus, 8, 64, data, 512));
    make_token(token, 8, 64);
    CU_ASSERT_EQUAL(snapshot_count(), 1);
    static uint8_t other[64 * 512];
    CHECK_GOOD(host_write(nexus, 8, 64, other, 512));
    size_t len = put_use(list, token, 0, 500, 64);
    CHECK_GOOD(token_command(1, 0x11, 2, list, len));
    CU_ASSERT_EQUAL(memcmp(read_lun(1, 500, 64)->in, data, sizeof(data)), 0);
    const struct outcome *outcome = token_information(1, 2);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(outcome->in[4], 0x11);
    CU_ASSERT_EQUAL(wire_u64(outcome->in + 16), 64);
    CU_ASSERT_EQUAL(wire_u32(outcome->in + 32), 0);
    /* A part, from an offset. */
    len = put_use(list, token, 10, 900, 4);
    CHECK_GOOD(token_command(1, 0x11, 3, list, len));
    CU_ASSERT_EQUAL(memcmp(read_lun(1, 900, 4)->in, data + 10 * 512, 4 * 512), 0);
    CHECK_INVALID_CDB(token_information(1, 77));
}

static void test_token_wrong(void)
{
    uint8_t token[TOKEN_BYTES], list[600];
    CHECK_GOOD(host_write(nexus, 8, 64, data, 512));
    make_token(token, 8, 64);
    size_t len = put_use(list, token, 1, 500, 64);
    CHECK_SENSE(token_command(1, 0x11, 2, list, len), 5, 0x26, 0); /* beyond its end */
    len = put_use(list, token, UINT64_MAX, 500, 64);
    CHECK_SENSE(token_command(1, 0x11, 2, list, len), 5, 0x26, 0);
    len = put_use(list, token, 0, LUN_BLOCKS - 1, 64);
    CHECK_SENSE(token_command(1, 0x11, 2, list, len), 5, 0x21, 0);
    /* A secret that is guessed, a length that is wrong. */
    len = put_use(list, token, 0, 500, 64);
    list[16 + 130] ^= 1;
    CHECK_SENSE(token_command(1, 0x11, 2, list, len), 5, 0x23, 4);
    list[16 + 130] ^= 1;
    list[16 + 7] ^= 1;
    CHECK_SENSE(token_command(1, 0x11, 2, list, len), 5, 0x23, 0x0a);
    list[16 + 7] ^= 1;
    for (size_t cut = 1; cut < len; cut += 7)
        CHECK_SENSE(token_command(1, 0x11, 2, list, cut), 5, 0x1a, 0);
    CHECK_GOOD(token_command(1, 0x11, 2, list, len));
    /* DEL_TKN: it is gone afterwards. */
    list[2] = 0x02;
    CHECK_GOOD(token_command(1, 0x11, 2, list, len));
    CHECK_SENSE(token_command(1, 0x11, 2, list, len), 5, 0x23, 4);
    len = put_populate(list, LUN_BLOCKS - 1, 2);
    CHECK_SENSE(token_command(0, 0x10, 1, list, len), 5, 0x21, 0);
    len = put_populate(list, 0, 1);
    wire_put_u32(list + 4, 100000); /* too long a life */
    CHECK_SENSE(token_command(0, 0x10, 1, list, len), 5, 0x26, 0);
}

static void test_zero_token(void)
{
    uint8_t token[TOKEN_BYTES] = {0xff, 0xff, 0x00, 0x01, 0, 0, 0x01, 0xf8}, list[600];
    CHECK_GOOD(host_write(nexus, 8, 64, data, 512));
    size_t len = put_use(list, token, 0, 8, 32);
    CHECK_GOOD(token_command(0, 0x11, 2, list, len));
    static const uint8_t zeros[32 * 512];
    CU_ASSERT_EQUAL(memcmp(read_lun(0, 8, 32)->in, zeros, sizeof(zeros)), 0);
    CU_ASSERT_EQUAL(memcmp(read_lun(0, 40, 32)->in, data + 32 * 512, 32 * 512), 0);
}

/* The snapshots of tokens do not outlive the target. */
static void test_token_restart(void)
{
    uint8_t token[TOKEN_BYTES], list[600];
    make_token(token, 8, 64);
    CU_ASSERT_EQUAL(snapshot_count(), 1);
    scsi_nexus_destroy(nexus);
    host_restart(&host);
    CU_ASSERT_EQUAL(snapshot_count(), 0);
    nexus = host_login(&host, HOST_A, 1);
    host_clear(nexus, 1);
    size_t len = put_use(list, token, 0, 500, 64);
    CHECK_SENSE(token_command(1, 0x11, 2, list, len), 5, 0x23, 4);
}

/* ---- SANITIZE ------------------------------------------------------------------------------ */

static const struct outcome *sanitize(uint8_t action, const uint8_t *list, size_t len)
{
    return host_out(nexus, list, len, 0x48, action, 0, 0, 0, 0, 0, 0, (uint8_t)len, 0);
}

static void test_sanitize(void)
{
    CHECK_GOOD(host_write(nexus, 8, 64, data, 512));
    CHECK_GOOD(sanitize(0x02, NULL, 0));
    const struct outcome *outcome =
        host_in(nexus, 56, 0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 56, 0, 0);
    CU_ASSERT_EQUAL(wire_u32(outcome->in + 16), LUN_BLOCKS); /* one hole */
    CU_ASSERT_EQUAL(outcome->in[20], 1);
    /* Overwriting holes with zeros leaves them. */
    static const uint8_t zeros[] = {1, 0, 0, 4, 0, 0, 0, 0};
    CHECK_GOOD(host_write(nexus, 8, 64, data, 512));
    CHECK_GOOD(sanitize(0x01, zeros, sizeof(zeros)));
    CU_ASSERT_EQUAL(read_lun(0, 8, 1)->in[0], 0);
    static const uint8_t wrong[][8] = {
        {0, 0, 0, 4}, {1, 0, 0, 0}, {1, 0, 0, 5}, {0x61, 0, 0, 4}, {1, 1, 0, 4}};
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        CHECK_INVALID_CDB(sanitize(0x01, wrong[i], 8));
    for (uint8_t len = 0; len < 5; len++)
        CHECK_INVALID_CDB(sanitize(0x01, zeros, len));
    CHECK_INVALID_CDB(sanitize(0x02, zeros, 8));
    CHECK_INVALID_CDB(sanitize(0x03, NULL, 0)); /* CRYPTO ERASE */
    CHECK_GOOD(sanitize(0x1f, NULL, 0));
}

/* What a snapshot shares cannot be destroyed, so nothing is. */
static void test_sanitize_shared(void)
{
    CHECK_GOOD(host_write(nexus, 8, 64, data, 512));
    CU_ASSERT_EQUAL(snapshot_create(host.pool, "disk", "before", NULL, NULL), 0);
    CHECK_SENSE(sanitize(0x02, NULL, 0), 3, 0x31, 3);
    CU_ASSERT_EQUAL(memcmp(read_lun(0, 8, 64)->in, data, sizeof(data)), 0);
}

/* A pattern over the whole LUN; others are told meanwhile, and it goes on without its session. */
static void test_sanitize_immediate(void)
{
    static const uint8_t list[] = {1, 0, 0, 4, 0xde, 0xad, 0xbe, 0xef};
    struct scsi_nexus *other = host_login(&host, HOST_B, 2);
    host_clear(other, 0);
    CHECK_GOOD(sanitize(0x81, list, sizeof(list)));
    CHECK_SENSE(host_none(other, 0, 0, 0, 0, 0, 0), 2, 0x04, 0x1b);
    CHECK_SENSE(host_read(nexus, 0, 1, 512), 2, 0x04, 0x1b);
    CHECK_SENSE(sanitize(0x02, NULL, 0), 2, 0x04, 0x1b);
    CHECK_GOOD(host_in(other, 96, 0x12, 0, 0, 0, 96, 0));
    const struct outcome *outcome = host_in(other, 18, 0x03, 0, 0, 0, 18, 0);
    CU_ASSERT_EQUAL(outcome->in[12], 0x04);
    CU_ASSERT_EQUAL(outcome->in[15] & 0x80, 0x80); /* a progress */
    scsi_nexus_destroy(nexus);
    scsi_nexus_destroy(other);
    /* The server ends in the middle: the LUN is partly overwritten, and says so. */
    host_restart(&host);
    nexus = host_login(&host, HOST_A, 1);
    struct sending ready = {.cdb = (const uint8_t[6]){0}, .cdb_len = 6};
    CU_ASSERT_EQUAL(host_send(nexus, &ready)->asc, 0x29);
    CHECK_SENSE(host_send(nexus, &ready), 3, 0x31, 3);
    CHECK_SENSE(host_read(nexus, 0, 1, 512), 3, 0x31, 3);
    CHECK_GOOD(sanitize(0x02, NULL, 0)); /* the way out */
    CHECK_GOOD(host_read(nexus, 0, 1, 512));
}

/* ---- a full pool --------------------------------------------------------------------------- */

/* DATA PROTECT, SPACE ALLOCATION FAILED; reading, unmapping and then writing go on. */
static void test_full_pool(void)
{
    struct lun_create_args args = {.name = "big", .size_bytes = UINT64_C(4) << 30};
    CU_ASSERT_EQUAL(lun_create(host.pool, &args, NULL), 0);
    CU_ASSERT_EQUAL(access_map(host.access, "big", "hosts", 2, NULL, NULL), 0);
    host_clear(nexus, 0);
    host_clear(nexus, 2);
    static uint8_t bulk[8 << 20];
    memset(bulk, 0x5a, sizeof(bulk));
    uint8_t cdb[16] = {0x8a};
    wire_put_u32(cdb + 10, sizeof(bulk) / 512);
    struct sending sending = {
        .lun = 2, .cdb = cdb, .cdb_len = 16, .out = bulk, .out_len = sizeof(bulk)};
    const struct outcome *outcome;
    unsigned warnings = 0;
    uint64_t at = 0;
    do
    {
        wire_put_u64(cdb + 2, at / 512);
        at += sizeof(bulk);
        outcome = host_send(nexus, &sending);
        if (outcome->status != SCSI_GOOD && outcome->key == 6)
        {
            CHECK_SENSE(outcome, 6, 0x38, 0x07); /* long before: the soft threshold */
            warnings++;
            outcome = host_send(nexus, &sending);
        }
    } while (outcome->status == SCSI_GOOD && at < args.size_bytes);
    CHECK_SENSE(outcome, 7, 0x27, 7);
    CU_ASSERT_EQUAL(warnings, 1);
    host_clear(nexus, 2);
    CHECK_GOOD(read_lun(2, 0, 8));
    static uint8_t list[24] = {0, 22, 0, 16};
    wire_put_u32(list + 16, 65536);
    cdb[0] = 0x42;
    uint8_t unmap[10] = {0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0};
    struct sending free_some = {
        .lun = 2, .cdb = unmap, .cdb_len = 10, .out = list, .out_len = sizeof(list)};
    CHECK_GOOD(host_send(nexus, &free_some));
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
    CU_ASSERT_EQUAL(host_clear(nexus, 0), 1); /* the threshold is the pool's: all LUNs are told */
    CHECK_GOOD(host_write(nexus, 0, 64, data, 512));
}

/* Somebody who is no SCSI host (NBD) fills the pool: hosts are told all the same, once. */
static void test_threshold_by_others(void)
{
    struct lun_create_args args = {.name = "bulk", .size_bytes = UINT64_C(4) << 30};
    struct lun *bulk = NULL;
    struct pool_info info;
    static uint8_t bytes[4 << 20];
    memset(bytes, 0xa5, sizeof(bytes));
    CU_ASSERT_EQUAL(lun_create(host.pool, &args, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "bulk", 0, &bulk, NULL), 0);
    host_clear(nexus, 0);
    scsi_target_check_space(host.target);
    CU_ASSERT_EQUAL(host_clear(nexus, 0), 0);
    for (uint64_t at = 0;; at += sizeof(bytes))
    {
        pool_get_info(host.pool, &info);
        if (info.available_bytes < info.size_bytes / 10)
            break;
        CU_ASSERT_EQUAL_FATAL(lun_write(bulk, bytes, sizeof(bytes), at, 0), 0);
    }
    scsi_target_check_space(host.target);
    for (uint32_t lun = 0; lun < 2; lun++)
    {
        const uint8_t ready[6] = {0};
        const struct sending sending = {.lun = lun, .cdb = ready, .cdb_len = 6};
        CHECK_SENSE(host_send(nexus, &sending), 6, 0x38, 0x07);
        CHECK_GOOD(host_send(nexus, &sending));
    }
    scsi_target_check_space(host.target);
    CU_ASSERT_EQUAL(host_clear(nexus, 0), 0);
    lun_close(bulk);
}

static CU_TestInfo copy_tests[] = {
    {"EXTENDED COPY", test_xcopy},
    {"EXTENDED COPY that is wrong", test_xcopy_wrong},
    {"EXTENDED COPY of LUNs of others", test_xcopy_of_others},
    {"a token is a point in time", test_token},
    {"tokens that are wrong", test_token_wrong},
    {"the token of zeros", test_zero_token},
    {"tokens across a restart", test_token_restart},
    {"SANITIZE", test_sanitize},
    {"SANITIZE of what is shared", test_sanitize_shared},
    {"SANITIZE on its own", test_sanitize_immediate},
    {"a full pool", test_full_pool},
    {"the threshold, when others fill the pool", test_threshold_by_others},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"copies", NULL, NULL, set_up, tear_down, copy_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
