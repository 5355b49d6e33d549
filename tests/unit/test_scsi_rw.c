/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands that move data: what they do, and how they refuse. Each on 512 and 4096 byte sectors. */
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/scsi/cdb.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/scsi_host.h"

static struct scsi_host host;
static struct scsi_nexus *nexus;
static uint32_t sector;
static uint32_t end_lba; /* the number of blocks */
static uint8_t data[HOST_IN_BYTES];

static void start(uint32_t sector_bytes)
{
    sector = sector_bytes;
    host_start(&host, sector);
    end_lba = HOST_LUN_BYTES / sector;
    nexus = host_login(&host, HOST_A, 1);
    host_clear(nexus, 0);
}

static void stop(void)
{
    scsi_nexus_destroy(nexus);
    host_stop(&host);
}

static int start_512(void)
{
    start(512);
    return 0;
}

static int start_4096(void)
{
    start(4096);
    return 0;
}

static int stop_suite(void)
{
    stop();
    return 0;
}

static void fill(uint8_t *bytes, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 9));
}

/* A CDB of 6, 10, 12 or 16 bytes. */
static void put_cdb(uint8_t cdb[16], size_t cdb_len, uint8_t opcode, uint8_t flags, uint64_t lba,
                    uint32_t blocks)
{
    memset(cdb, 0, 16);
    if (cdb_len == 6)
        wire_put_u32(cdb, lba);
    else if (cdb_len == 16)
        wire_put_u64(cdb + 2, lba);
    else
        wire_put_u32(cdb + 2, lba);
    cdb[0] = opcode;
    cdb[1] |= flags;
    if (cdb_len == 6)
        cdb[4] = (uint8_t)blocks;
    else if (cdb_len == 10)
        wire_put_u16(cdb + 7, blocks);
    else
        wire_put_u32(cdb + (cdb_len == 12 ? 6 : 10), blocks);
}

static const struct outcome *send_in(size_t cdb_len, uint8_t opcode, uint8_t flags, uint64_t lba,
                                     uint32_t blocks, size_t in_len)
{
    uint8_t cdb[16];
    put_cdb(cdb, cdb_len, opcode, flags, lba, blocks);
    return host_simple(nexus, NULL, 0, in_len, cdb, cdb_len);
}

static const struct outcome *send_out(size_t cdb_len, uint8_t opcode, uint8_t flags, uint64_t lba,
                                      uint32_t blocks, const void *bytes, size_t len)
{
    uint8_t cdb[16];
    put_cdb(cdb, cdb_len, opcode, flags, lba, blocks);
    return host_simple(nexus, bytes, len, 0, cdb, cdb_len);
}

static bool reads_as(uint32_t lba, uint32_t blocks, const uint8_t *expected)
{
    const struct outcome *outcome = host_read(nexus, lba, (uint16_t)blocks, sector);
    return outcome->status == SCSI_GOOD && outcome->len == (size_t)blocks * sector &&
           memcmp(outcome->in, expected, outcome->len) == 0;
}

static bool reads_zero(uint32_t lba, uint32_t blocks)
{
    static const uint8_t zeros[HOST_IN_BYTES];
    return reads_as(lba, blocks, zeros);
}

static const struct
{
    size_t cdb_len;
    uint8_t read, write, verify, write_verify;
} widths[] = {
    {6, 0x08, 0x0a, 0, 0},
    {10, 0x28, 0x2a, 0x2f, 0x2e},
    {12, 0xa8, 0xaa, 0xaf, 0xae},
    {16, 0x88, 0x8a, 0x8f, 0x8e},
};

static void test_read_write(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(widths); i++)
    {
        uint32_t lba = 100 + 16 * (uint32_t)i;
        fill(data, 3 * sector, (unsigned)i);
        const struct outcome *outcome =
            send_out(widths[i].cdb_len, widths[i].write, 0, lba, 3, data, 3 * sector);
        CHECK_GOOD(outcome);
        CU_ASSERT_EQUAL(outcome->residual, 0);
        outcome = send_in(widths[i].cdb_len, widths[i].read, 0, lba, 3, 3 * sector);
        CHECK_GOOD(outcome);
        CU_ASSERT_EQUAL(outcome->residual, 0);
        CU_ASSERT_EQUAL(memcmp(outcome->in, data, 3 * sector), 0);
    }
}

/* READ(6) and WRITE(6) of "0" blocks mean 256. */
static void test_six_byte_zero(void)
{
    size_t len = 256 * (size_t)sector;
    fill(data, len, 9);
    CHECK_GOOD(send_out(6, 0x0a, 0, 0, 0, data, len));
    const struct outcome *outcome = send_in(6, 0x08, 0, 0, 0, len);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(outcome->len, len);
    CU_ASSERT_EQUAL(memcmp(outcome->in, data, len), 0);
}

static void test_out_of_range(void)
{
    fill(data, 4 * sector, 1);
    for (size_t i = 1; i < ARRAY_SIZE(widths); i++)
    {
        size_t len = widths[i].cdb_len;
        CHECK_SENSE(send_in(len, widths[i].read, 0, end_lba, 1, sector), 5, 0x21, 0);
        CHECK_SENSE(send_in(len, widths[i].read, 0, end_lba - 1, 2, 2 * sector), 5, 0x21, 0);
        CHECK_SENSE(send_in(len, widths[i].read, 0, 0xffffffff, 1, sector), 5, 0x21, 0);
        CHECK_SENSE(send_in(len, widths[i].read, 0, end_lba + 1, 0, 0), 5, 0x21, 0);
        CHECK_SENSE(send_out(len, widths[i].write, 0, end_lba - 1, 2, data, 2 * sector), 5, 0x21,
                    0);
        CHECK_SENSE(send_out(len, widths[i].write_verify, 0, end_lba, 1, data, sector), 5, 0x21, 0);
        CHECK_SENSE(send_in(len, widths[i].verify, 0, end_lba, 1, 0), 5, 0x21, 0);
        CHECK_GOOD(send_in(len, widths[i].read, 0, end_lba - 1, 1, sector));
    }
    CHECK_SENSE(send_in(16, 0x88, 0, UINT64_MAX, 2, 2 * sector), 5, 0x21, 0);
    CHECK_SENSE(send_in(16, 0x88, 0, UINT64_C(1) << 63, 1, sector), 5, 0x21, 0);
    CHECK_SENSE(send_out(16, 0x8b, 0, end_lba, 1, data, sector), 5, 0x21, 0);
    CHECK_SENSE(send_out(16, 0x93, 0, end_lba, 1, data, sector), 5, 0x21, 0);
    CHECK_SENSE(send_in(10, 0x34, 0, end_lba, 1, 0), 5, 0x21, 0);
    CHECK_SENSE(send_in(10, 0x35, 0, end_lba, 1, 0), 5, 0x21, 0);
    /* What was refused was not written. */
    CU_ASSERT_TRUE(reads_zero(end_lba - 1, 1));
}

static void test_zero_length(void)
{
    for (size_t i = 1; i < ARRAY_SIZE(widths); i++)
    {
        size_t len = widths[i].cdb_len;
        CHECK_GOOD(send_in(len, widths[i].read, 0, 0, 0, 0));
        CHECK_GOOD(send_in(len, widths[i].read, 0, end_lba, 0, 0));
        CHECK_GOOD(send_out(len, widths[i].write, 0, 0, 0, NULL, 0));
        CHECK_GOOD(send_out(len, widths[i].write_verify, 0, 0, 0, NULL, 0));
        CHECK_GOOD(send_in(len, widths[i].verify, 0, 0, 0, 0));
    }
    CHECK_GOOD(send_out(16, 0x8b, 0, 0, 0, NULL, 0));
    CHECK_GOOD(send_out(16, 0x9c, 0, 0, 0, NULL, 0));
    CHECK_GOOD(send_out(16, 0x89, 0, 0, 0, NULL, 0));
    /* WSNZ: no "to the end". */
    CHECK_INVALID_CDB(send_out(16, 0x93, 0, 0, 0, data, sector));
}

/* RDPROTECT, WRPROTECT, VRPROTECT, reserved bits, NACA: refused, with a pointer to the byte. */
static void test_protect_bits(void)
{
    for (size_t i = 1; i < ARRAY_SIZE(widths); i++)
        for (unsigned protect = 1; protect < 8; protect++)
        {
            size_t len = widths[i].cdb_len;
            uint8_t flags = (uint8_t)(protect << 5);
            const struct outcome *outcome = send_in(len, widths[i].read, flags, 0, 1, sector);
            CHECK_INVALID_CDB(outcome);
            CU_ASSERT_EQUAL(outcome->field_byte, 1);
            CHECK_INVALID_CDB(send_out(len, widths[i].write, flags, 0, 1, data, sector));
            CHECK_INVALID_CDB(send_out(len, widths[i].write_verify, flags, 0, 1, data, sector));
            CHECK_INVALID_CDB(send_in(len, widths[i].verify, flags, 0, 1, 0));
        }
    const struct outcome *outcome = host_in(nexus, sector, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0x04);
    CHECK_INVALID_CDB(outcome);
    CU_ASSERT_EQUAL(outcome->field_byte, 9);
    CHECK_INVALID_CDB(host_in(nexus, sector, 0x28, 0x04, 0, 0, 0, 0, 0, 0, 1, 0));
}

static void test_dpo_fua(void)
{
    fill(data, sector, 4);
    for (size_t i = 1; i < ARRAY_SIZE(widths); i++)
    {
        CHECK_GOOD(send_out(widths[i].cdb_len, widths[i].write, 0x18, 5, 1, data, sector));
        CHECK_GOOD(send_in(widths[i].cdb_len, widths[i].read, 0x18, 5, 1, sector));
        CHECK_GOOD(send_in(widths[i].cdb_len, widths[i].verify, 0x10, 5, 1, 0));
        CHECK_INVALID_CDB(send_in(widths[i].cdb_len, widths[i].verify, 0x08, 5, 1, 0));
    }
}

/* More than the block limits page allows in one command. */
static void test_too_long(void)
{
    CHECK_INVALID_CDB(send_in(16, 0x88, 0, 0, SCSI_TRANSFER_MAX_BYTES / sector + 1, sector));
    CHECK_INVALID_CDB(send_out(16, 0x8a, 0, 0, UINT32_MAX, data, sector));
    if (end_lba > 65536)
        CHECK_INVALID_CDB(send_out(16, 0x93, 0, 0, 65536, data, sector));
}

static void test_residuals(void)
{
    fill(data, 4 * sector, 6);
    CHECK_GOOD(host_write(nexus, 20, 4, data, sector));
    const struct outcome *outcome = send_in(10, 0x28, 0, 20, 2, 0);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(outcome->residual, 2 * (int64_t)sector);
    outcome = send_in(10, 0x28, 0, 20, 2, sector + 100);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(outcome->residual, (int64_t)sector - 100);
    CU_ASSERT_EQUAL(outcome->len, sector + 100);
    CU_ASSERT_EQUAL(memcmp(outcome->in, data, outcome->len), 0);
    outcome = send_in(10, 0x28, 0, 20, 1, 3 * sector);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(outcome->residual, -2 * (int64_t)sector);
    CU_ASSERT_EQUAL(outcome->len, sector);
    /* Nothing comes with an error: all that was announced is left over. */
    outcome = send_in(10, 0x28, 0, end_lba, 1, sector);
    CU_ASSERT_EQUAL(outcome->residual, -(int64_t)sector);
}

/* What came is written, and nothing beyond is touched. */
static void test_write_residuals(void)
{
    fill(data, 4 * sector, 7);
    static const uint8_t zeros[4096];
    CHECK_GOOD(send_out(16, 0x93, 0, 40, 4, zeros, sector));
    const struct outcome *outcome = send_out(10, 0x2a, 0, 40, 2, data, sector);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(outcome->residual, (int64_t)sector);
    CU_ASSERT_TRUE(reads_as(40, 1, data));
    CU_ASSERT_TRUE(reads_zero(41, 3));
    outcome = send_out(10, 0x2a, 0, 42, 1, data, 200);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(outcome->residual, (int64_t)sector - 200);
    outcome = host_read(nexus, 42, 1, sector);
    CU_ASSERT_EQUAL(memcmp(outcome->in, data, 200), 0);
    for (size_t i = 200; i < sector; i++)
        CU_ASSERT_EQUAL(outcome->in[i], 0);
    outcome = send_out(10, 0x2a, 0, 42, 1, data, 2 * sector);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(outcome->residual, -(int64_t)sector);
    CU_ASSERT_TRUE(reads_as(42, 1, data));
    CU_ASSERT_TRUE(reads_zero(43, 1));
    outcome = send_out(10, 0x2a, 0, 43, 1, NULL, 0);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(outcome->residual, (int64_t)sector);
    CU_ASSERT_TRUE(reads_zero(43, 1));
}

static void test_verify(void)
{
    fill(data, 4 * sector, 8);
    CHECK_GOOD(host_write(nexus, 60, 4, data, sector));
    for (size_t i = 1; i < ARRAY_SIZE(widths); i++)
    {
        size_t len = widths[i].cdb_len;
        CHECK_GOOD(send_in(len, widths[i].verify, 0, 60, 4, 0));
        CHECK_GOOD(send_out(len, widths[i].verify, 0x02, 60, 4, data, 4 * sector));
        CHECK_INVALID_CDB(send_out(len, widths[i].verify, 0x04, 60, 4, data, 4 * sector));
        data[2 * sector + 17] ^= 1;
        const struct outcome *outcome =
            send_out(len, widths[i].verify, 0x02, 60, 4, data, 4 * sector);
        CHECK_SENSE(outcome, 0xe, 0x1d, 0);
        CU_ASSERT_TRUE(outcome->has_information);
        CU_ASSERT_EQUAL(outcome->information, 2 * sector + 17);
        data[2 * sector + 17] ^= 1;
        /* BYTCHK 11b: one block for all of them. */
        CHECK_SENSE(send_out(len, widths[i].verify, 0x06, 60, 2, data, sector), 0xe, 0x1d, 0);
        CHECK_GOOD(send_out(len, widths[i].verify, 0x06, 60, 1, data, sector));
        CHECK_SENSE(send_out(len, widths[i].verify, 0x02, 60, 4, data, sector), 5, 0x0e, 3);
    }
}

static void test_write_verify(void)
{
    for (size_t i = 1; i < ARRAY_SIZE(widths); i++)
    {
        fill(data, 2 * sector, 30 + (unsigned)i);
        size_t len = widths[i].cdb_len;
        CHECK_GOOD(send_out(len, widths[i].write_verify, 0x02, 70, 2, data, 2 * sector));
        CU_ASSERT_TRUE(reads_as(70, 2, data));
        CHECK_GOOD(send_out(len, widths[i].write_verify, 0, 72, 2, data, 2 * sector));
        CHECK_INVALID_CDB(send_out(len, widths[i].write_verify, 0x04, 72, 2, data, 2 * sector));
    }
}

static void test_orwrite(void)
{
    memset(data, 0x0f, 2 * sector);
    CHECK_GOOD(host_write(nexus, 80, 2, data, sector));
    memset(data, 0x30, 2 * sector);
    CHECK_GOOD(send_out(16, 0x8b, 0x08, 80, 2, data, 2 * sector));
    memset(data, 0x3f, 2 * sector);
    CU_ASSERT_TRUE(reads_as(80, 2, data));
    CHECK_INVALID_CDB(send_out(16, 0x8b, 0, 0, (1 << 20) / sector + 1, data, sector));
}

static void test_compare_and_write(void)
{
    uint8_t cdb[16];
    put_cdb(cdb, 16, 0x89, 0, 90, 0);
    cdb[13] = 2;
    static uint8_t pair[4 * 4096];
    fill(data, 2 * sector, 10);
    CHECK_GOOD(host_write(nexus, 90, 2, data, sector));
    memcpy(pair, data, 2 * sector);
    fill(pair + 2 * sector, 2 * sector, 11);
    CHECK_GOOD(host_simple(nexus, pair, 4 * sector, 0, cdb, 16));
    CU_ASSERT_TRUE(reads_as(90, 2, pair + 2 * sector));
    /* Again: it differs now, from the first byte that does. */
    const struct outcome *outcome = host_simple(nexus, pair, 4 * sector, 0, cdb, 16);
    CHECK_SENSE(outcome, 0xe, 0x1d, 0);
    CU_ASSERT_TRUE(outcome->has_information);
    CU_ASSERT_EQUAL(outcome->information, 0);
    memcpy(pair, pair + 2 * sector, 2 * sector);
    pair[sector + 5] ^= 0x80;
    outcome = host_simple(nexus, pair, 4 * sector, 0, cdb, 16);
    CHECK_SENSE(outcome, 0xe, 0x1d, 0);
    CU_ASSERT_EQUAL(outcome->information, sector + 5);
    /* The data does not fit the number of blocks. */
    CHECK_INVALID_CDB(host_simple(nexus, pair, 3 * sector, 0, cdb, 16));
    CHECK_INVALID_CDB(host_simple(nexus, pair, 4 * sector + 8, 0, cdb, 16));
    put_cdb(cdb, 16, 0x89, 0, end_lba - 1, 0);
    cdb[13] = 2;
    CHECK_SENSE(host_simple(nexus, pair, 4 * sector, 0, cdb, 16), 5, 0x21, 0);
}

static void test_write_same(void)
{
    static const uint8_t zeros[4096];
    fill(data, sector, 12);
    CHECK_GOOD(send_out(16, 0x93, 0, 100, 8, data, sector));
    for (unsigned i = 0; i < 8; i++)
        CU_ASSERT_TRUE(reads_as(100 + i, 1, data));
    CHECK_GOOD(send_out(10, 0x41, 0, 102, 2, zeros, sector));
    CU_ASSERT_TRUE(reads_zero(102, 2));
    CU_ASSERT_TRUE(reads_as(104, 1, data));
    CHECK_GOOD(send_out(10, 0x41, 0x08, 104, 1, zeros, sector));
    CU_ASSERT_TRUE(reads_zero(104, 1));
    /* UNMAP with other data writes it: reads must return what was sent. */
    CHECK_GOOD(send_out(16, 0x93, 0x08, 102, 1, data, sector));
    CU_ASSERT_TRUE(reads_as(102, 1, data));
    /* NDOB: zeros, and no data goes out. */
    CHECK_GOOD(send_out(16, 0x93, 0x01, 100, 2, NULL, 0));
    CU_ASSERT_TRUE(reads_zero(100, 2));
    CHECK_INVALID_CDB(send_out(10, 0x41, 0x01, 100, 2, data, sector));
    CHECK_INVALID_CDB(send_out(16, 0x93, 0x18, 100, 2, zeros, sector)); /* ANCHOR */
    CHECK_SENSE(send_out(16, 0x93, 0, 100, 2, data, sector / 2), 5, 0x0e, 3);
    CHECK_SENSE(send_out(16, 0x93, 0, 100, 2, data, 2 * sector), 5, 0x0e, 3);
    CU_ASSERT_TRUE(reads_zero(100, 2));
}

static void test_write_atomic(void)
{
    uint32_t step = 4096 / sector;
    uint8_t cdb[16];
    fill(data, 8192, 13);
    put_cdb(cdb, 16, 0x9c, 0x08, 4 * (uint64_t)step, 0);
    wire_put_u16(cdb + 12, 2 * step);
    CHECK_GOOD(host_simple(nexus, data, 8192, 0, cdb, 16));
    CU_ASSERT_TRUE(reads_as(4 * step, 2 * step, data));
    CHECK_SENSE(host_simple(nexus, data, 4096, 0, cdb, 16), 5, 0x0e, 3);
    wire_put_u16(cdb + 12, (1 << 20) / sector + step);
    CHECK_INVALID_CDB(host_simple(nexus, data, 8192, 0, cdb, 16));
    if (step == 1)
        return;
    wire_put_u16(cdb + 12, 2 * step - 1);
    CHECK_INVALID_CDB(host_simple(nexus, data, 8192, 0, cdb, 16));
    wire_put_u64(cdb + 2, 4 * step + 1);
    wire_put_u16(cdb + 12, step);
    CHECK_INVALID_CDB(host_simple(nexus, data, 4096, 0, cdb, 16));
}

/* An UNMAP list of @count descriptors of one block each, from @lba on. */
static size_t put_unmap(uint8_t *list, unsigned count, uint64_t lba, uint32_t blocks)
{
    memset(list, 0, 8 + 16 * (size_t)count);
    wire_put_u16(list, 6 + 16 * count);
    wire_put_u16(list + 2, 16 * count);
    for (unsigned i = 0; i < count; i++)
    {
        wire_put_u64(list + 8 + 16 * (size_t)i, lba + i);
        wire_put_u32(list + 16 + 16 * (size_t)i, blocks);
    }
    return 8 + 16 * (size_t)count;
}

static const struct outcome *send_unmap(const uint8_t *list, size_t announced, size_t len)
{
    uint8_t cdb[10] = {0x42};
    wire_put_u16(cdb + 7, announced);
    return host_simple(nexus, list, len, 0, cdb, sizeof(cdb));
}

static void test_unmap(void)
{
    static uint8_t list[8 + 16 * 300];
    fill(data, 16 * sector, 14);
    CHECK_GOOD(host_write(nexus, 200, 16, data, sector));
    size_t len = put_unmap(list, 2, 203, 1);
    CHECK_GOOD(send_unmap(list, len, len));
    CU_ASSERT_TRUE(reads_as(200, 3, data));
    CU_ASSERT_TRUE(reads_zero(203, 2));
    CU_ASSERT_TRUE(reads_as(205, 1, data + 5 * sector));
    CHECK_GOOD(send_unmap(list, 0, 0));
    len = put_unmap(list, 1, 205, 0);
    CHECK_GOOD(send_unmap(list, len, len));
    CU_ASSERT_TRUE(reads_as(205, 1, data + 5 * sector));
    /* One bad descriptor, and none is done. */
    len = put_unmap(list, 2, 205, 1);
    wire_put_u64(list + 24, end_lba);
    CHECK_SENSE(send_unmap(list, len, len), 5, 0x21, 0);
    CU_ASSERT_TRUE(reads_as(205, 1, data + 5 * sector));
    wire_put_u64(list + 24, UINT64_MAX);
    CHECK_SENSE(send_unmap(list, len, len), 5, 0x21, 0);
    /* Truncated lists. */
    for (size_t cut = 1; cut < len; cut++)
        CHECK_SENSE(send_unmap(list, cut, cut), 5, 0x1a, 0);
    CHECK_SENSE(send_unmap(list, len, len - 1), 5, 0x1a, 0);
    /* More than the block limits page allows. */
    len = put_unmap(list, 257, 0, 0);
    CHECK_SENSE(send_unmap(list, len, len), 5, 0x26, 0);
    len = put_unmap(list, 1, 0, UINT32_MAX);
    CHECK_SENSE(send_unmap(list, len, len), 5, 0x21, 0);
    CHECK_INVALID_CDB(host_out(nexus, list, 8, 0x42, 0x01, 0, 0, 0, 0, 0, 0, 8, 0));
}

static void test_flush_and_prefetch(void)
{
    CHECK_GOOD(send_in(10, 0x35, 0x02, 0, 0, 0));
    CHECK_GOOD(send_in(16, 0x91, 0, 10, 20, 0));
    CHECK_GOOD(send_in(10, 0x34, 0x02, 0, 8, 0));
    CHECK_GOOD(send_in(16, 0x90, 0, 0, 0, 0));
}

/* A handle that is write-protected, by attribute and by the control mode page. */
static void test_write_protected(void)
{
    CU_ASSERT_EQUAL(access_set_lun_flags(host.access, "disk", ACCESS_LUN_READ_ONLY, NULL), 0);
    CU_ASSERT_EQUAL(host_clear(nexus, 0), 1); /* INQUIRY data has changed */
    static uint8_t list[24];
    size_t len = put_unmap(list, 1, 0, 1);
    CHECK_SENSE(host_write(nexus, 0, 1, data, sector), 7, 0x27, 0);
    CHECK_SENSE(send_unmap(list, len, len), 7, 0x27, 0);
    CHECK_SENSE(send_out(16, 0x93, 0, 0, 1, data, sector), 7, 0x27, 0);
    CHECK_SENSE(send_out(16, 0x9c, 0, 0, 0, NULL, 0), 7, 0x27, 0);
    CHECK_GOOD(host_read(nexus, 0, 1, sector));
    CU_ASSERT_EQUAL(access_set_lun_flags(host.access, "disk", 0, NULL), 0);
    host_clear(nexus, 0);
    CHECK_GOOD(host_write(nexus, 0, 1, data, sector));
}

static CU_TestInfo rw_tests[] = {
    {"READ and WRITE of all widths", test_read_write},
    {"READ(6) of 0 blocks is 256", test_six_byte_zero},
    {"LBA out of range", test_out_of_range},
    {"no blocks at all", test_zero_length},
    {"protection and reserved bits", test_protect_bits},
    {"DPO and FUA", test_dpo_fua},
    {"longer than the limits", test_too_long},
    {"residuals of reads", test_residuals},
    {"residuals of writes", test_write_residuals},
    {"VERIFY", test_verify},
    {"WRITE AND VERIFY", test_write_verify},
    {"ORWRITE", test_orwrite},
    {"COMPARE AND WRITE", test_compare_and_write},
    {"WRITE SAME", test_write_same},
    {"WRITE ATOMIC", test_write_atomic},
    {"UNMAP", test_unmap},
    {"SYNCHRONIZE CACHE, PRE-FETCH", test_flush_and_prefetch},
    {"write protection", test_write_protected},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"512-byte sectors", start_512, stop_suite, NULL, NULL, rw_tests},
        {"4096-byte sectors", start_4096, stop_suite, NULL, NULL, rw_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
