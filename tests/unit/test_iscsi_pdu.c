/* SPDX-License-Identifier: BSD-3-Clause */
/* Lengths, digests, additional header segments, serial numbers, counted buffers. */
#include <string.h>

#include "lun/base/crc32c.h"
#include "server/iscsi/iobuf.h"
#include "server/iscsi/pdu.h"
#include "tests/lib/cunit_main.h"

static void test_lengths(void)
{
    struct wire_bhs bhs = {.opcode = 0x41, .ahs_words = 255, .data_len = {0x12, 0x34, 0x56}};
    CU_ASSERT_EQUAL(pdu_opcode(&bhs), WIRE_SCSI_COMMAND);
    CU_ASSERT(pdu_is_immediate(&bhs));
    CU_ASSERT_EQUAL(pdu_data_len(&bhs), 0x123456);
    CU_ASSERT_EQUAL(pdu_ahs_len(&bhs), 1020);
    pdu_put_data_len(bhs.data_len, WIRE_DATA_BYTES_MAX);
    CU_ASSERT_EQUAL(pdu_data_len(&bhs), WIRE_DATA_BYTES_MAX);
    for (uint32_t len = 0; len < 9; len++)
        CU_ASSERT_EQUAL((len + pdu_pad_len(len)) % 4, 0);
    CU_ASSERT(pdu_pad_len(5) == 3 && pdu_pad_len(8) == 0);
}

/* The examples of RFC 3720 appendix B.4, as bytes on the wire. */
static void test_digests(void)
{
    static const struct
    {
        uint8_t fill[32];
        uint8_t digest[4];
    } cases[] = {
        {{0}, {0xaa, 0x36, 0x91, 0x8a}},
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
          0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
          0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
         {0x43, 0xab, 0xa8, 0x62}},
        {{0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
          16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31},
         {0x4e, 0x79, 0xdd, 0x46}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
    {
        uint8_t digest[4];
        uint32_t crc = crc32c(0, cases[i].fill, 32);
        pdu_put_digest(digest, crc);
        CU_ASSERT_EQUAL(memcmp(digest, cases[i].digest, 4), 0);
        CU_ASSERT(pdu_digest_matches(digest, crc));
        digest[i] ^= 1;
        CU_ASSERT(!pdu_digest_matches(digest, crc));
    }
}

static void test_ahs(void)
{
    static const uint8_t two[] = {0, 5, 2, 0, 0, 0, 16, 0, 0, 2, 1, 9};
    const uint8_t *at = two;
    uint32_t left = sizeof(two);
    struct pdu_ahs ahs;
    bool bad;
    CU_ASSERT(pdu_next_ahs(&at, &left, &ahs, &bad));
    CU_ASSERT(ahs.type == 2 && ahs.len == 5 && ahs.bytes == two + 3);
    CU_ASSERT_EQUAL(left, 4);
    CU_ASSERT(!pdu_next_ahs(&at, &left, &ahs, &bad)); /* says 2 bytes, 1 is there */
    CU_ASSERT(bad);
    static const uint8_t empty[] = {0, 0, 1, 0};
    at = empty;
    left = sizeof(empty);
    CU_ASSERT(!pdu_next_ahs(&at, &left, &ahs, &bad) && bad);
    left = 0;
    CU_ASSERT(!pdu_next_ahs(&at, &left, &ahs, &bad) && !bad);
}

static void test_serial_numbers(void)
{
    CU_ASSERT(sn_before(1, 2) && !sn_before(2, 1) && !sn_before(7, 7));
    CU_ASSERT(sn_before(0xffffffff, 0) && !sn_before(0, 0xffffffff));
    CU_ASSERT(sn_before(0x7fffffff, 0x80000000));
    CU_ASSERT(sn_in_window(5, 5, 5));
    CU_ASSERT(!sn_in_window(4, 5, 5) && !sn_in_window(6, 5, 5));
    CU_ASSERT(!sn_in_window(5, 5, 4)); /* empty */
    CU_ASSERT(sn_in_window(0xfffffffe, 0xfffffffe, 3));
    CU_ASSERT(sn_in_window(0, 0xfffffffe, 3) && sn_in_window(3, 0xfffffffe, 3));
    CU_ASSERT(!sn_in_window(4, 0xfffffffe, 3) && !sn_in_window(0xfffffffd, 0xfffffffe, 3));
}

static void test_iobuf(void)
{
    struct iobuf_pool pool;
    iobuf_pool_init(&pool);
    struct iobuf *small = iobuf_get(&pool, 100), *large = iobuf_get(&pool, (1 << 20) + 1);
    CU_ASSERT_FATAL(small && large);
    CU_ASSERT_EQUAL(small->capacity, 8192);
    CU_ASSERT_EQUAL(large->capacity, (1 << 20) + 4096);
    CU_ASSERT_EQUAL(pool.used_bytes, small->capacity + large->capacity);
    iobuf_put(iobuf_ref(small));
    CU_ASSERT_EQUAL(small->refs, 1);
    const uint8_t *bytes = small->bytes;
    iobuf_put(small);
    iobuf_put(large); /* made to measure: not kept */
    CU_ASSERT_EQUAL(pool.used_bytes, 0);
    CU_ASSERT_EQUAL(pool.kept_bytes, 8192);
    small = iobuf_get(&pool, 8192);
    CU_ASSERT_PTR_EQUAL_FATAL(small ? small->bytes : NULL, bytes);
    iobuf_put(small);
    iobuf_put(NULL);
    iobuf_pool_trim(&pool);
    CU_ASSERT_EQUAL(pool.kept_bytes, 0);
    /* No more than so many are kept. */
    static struct iobuf *many[400];
    for (int i = 0; i < 400; i++)
        many[i] = iobuf_get(&pool, 1);
    for (int i = 0; i < 400; i++)
        iobuf_put(many[i]);
    CU_ASSERT_EQUAL(pool.kept_bytes, 256 * 8192);
    iobuf_pool_trim(&pool);
}

static CU_TestInfo pdu_tests[] = {
    {"lengths", test_lengths},
    {"digests", test_digests},
    {"additional header segments", test_ahs},
    {"serial numbers", test_serial_numbers},
    {"buffers", test_iobuf},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"iscsi_pdu", NULL, NULL, NULL, NULL, pdu_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
