/* SPDX-License-Identifier: BSD-3-Clause */
/* CRC32C against published values and against the definition, bit by bit. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/crc32c.h"
#include "tests/lib/cunit_main.h"

/* The definition: reflected polynomial 0x1EDC6F41, all ones in, inverted out. */
static uint32_t crc32c_by_bits(const uint8_t *bytes, size_t len)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < len; i++)
    {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

/* The examples that RFC 7143 takes over from RFC 3720, appendix B.4. */
static void test_rfc_vectors(void)
{
    uint8_t bytes[32];
    memset(bytes, 0, sizeof(bytes));
    CU_ASSERT_EQUAL(crc32c(0, bytes, sizeof(bytes)), 0x8a9136aa);
    memset(bytes, 0xff, sizeof(bytes));
    CU_ASSERT_EQUAL(crc32c(0, bytes, sizeof(bytes)), 0x62a8ab43);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)i;
    CU_ASSERT_EQUAL(crc32c(0, bytes, sizeof(bytes)), 0x46dd794e);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(31 - i);
    CU_ASSERT_EQUAL(crc32c(0, bytes, sizeof(bytes)), 0x113fdb5c);
    static const uint8_t read_pdu[48] = {
        0x01, 0xc0, 0, 0,    0, 0, 0, 0,    0,    0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 4, 0,
        0,    0,    0, 0x14, 0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0, 0,
    };
    CU_ASSERT_EQUAL(crc32c(0, read_pdu, sizeof(read_pdu)), 0xd9963a56);
    CU_ASSERT_EQUAL(crc32c(0, "123456789", 9), 0xe3069283);
}

static void test_empty(void)
{
    CU_ASSERT_EQUAL(crc32c(0, "", 0), 0);
    CU_ASSERT_EQUAL(crc32c(0, NULL, 0), 0);
    CU_ASSERT_EQUAL(crc32c(0x12345678, NULL, 0), 0x12345678);
}

static void test_lengths_and_alignments(void)
{
    uint8_t bytes[700];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 131 + (i >> 3));
    size_t wrong = 0;
    for (size_t start = 0; start < 17; start++)
        for (size_t len = 0; start + len <= sizeof(bytes); len++)
            wrong += crc32c(0, bytes + start, len) != crc32c_by_bits(bytes + start, len);
    CU_ASSERT_EQUAL(wrong, 0);
}

static void test_going_on(void)
{
    uint8_t bytes[300];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7 + 3);
    uint32_t whole = crc32c(0, bytes, sizeof(bytes));
    for (size_t cut = 0; cut <= sizeof(bytes); cut++)
        CU_ASSERT_EQUAL(crc32c(crc32c(0, bytes, cut), bytes + cut, sizeof(bytes) - cut), whole);
}

static void test_sees_each_bit(void)
{
    uint8_t block[512] = {0};
    uint32_t good = crc32c(0, block, sizeof(block));
    for (size_t bit = 0; bit < 8 * sizeof(block); bit++)
    {
        block[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CU_ASSERT_NOT_EQUAL(crc32c(0, block, sizeof(block)), good);
        block[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

/* The library underneath takes an int: a longer input goes in steps. Untouched pages cost nothing.
 */
static void test_longer_than_a_step(void)
{
    const size_t len = (UINT64_C(1) << 30) + 12345;
    const size_t piece = 1 << 20;
    uint8_t *bytes = mmap(NULL, len, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CU_ASSERT_PTR_NOT_EQUAL_FATAL(bytes, MAP_FAILED);
    AUTO_FREE uint8_t *zeros = calloc(1, piece);
    CU_ASSERT_PTR_NOT_NULL_FATAL(zeros);
    uint32_t expected = 0;
    for (size_t at = 0; at < len; at += piece)
        expected = crc32c(expected, zeros, min_u64(piece, len - at));
    CU_ASSERT_EQUAL(crc32c(0, bytes, len), expected);
    CU_ASSERT_EQUAL(munmap(bytes, len), 0);
}

static CU_TestInfo crc32c_tests[] = {
    {"published values", test_rfc_vectors},
    {"nothing", test_empty},
    {"all lengths and alignments", test_lengths_and_alignments},
    {"going on from a value", test_going_on},
    {"each bit counts", test_sees_each_bit},
    {"more than 1 GiB", test_longer_than_a_step},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"crc32c", NULL, NULL, NULL, NULL, crc32c_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
