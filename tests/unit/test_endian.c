/* SPDX-License-Identifier: BSD-3-Clause */
/* Byte orders: where each byte goes, what is cut off, and that fields have no alignment. */
#include <stdalign.h>
#include <string.h>

#include "lun/base/endian.h"
#include "tests/lib/cunit_main.h"

#define X UINT64_C(0x0123456789abcdef)

/* Puts X, compares with @bytes, and reads back its low bits. */
#define CHECK_FIELD(type, low_bits, ...)                                                           \
    do                                                                                             \
    {                                                                                              \
        const uint8_t expected[] = {__VA_ARGS__};                                                  \
        struct type field = type##_put(X);                                                         \
        CU_ASSERT_EQUAL_FATAL(sizeof(field), sizeof(expected));                                    \
        CU_ASSERT_EQUAL(alignof(struct type), 1);                                                  \
        CU_ASSERT_EQUAL(memcmp(&field, expected, sizeof(expected)), 0);                            \
        CU_ASSERT_EQUAL(type##_get(field), (low_bits));                                            \
    } while (0)

static void test_little_endian(void)
{
    CHECK_FIELD(le16, 0xcdef, 0xef, 0xcd);
    CHECK_FIELD(le24, 0xabcdef, 0xef, 0xcd, 0xab);
    CHECK_FIELD(le32, 0x89abcdef, 0xef, 0xcd, 0xab, 0x89);
    CHECK_FIELD(le40, UINT64_C(0x6789abcdef), 0xef, 0xcd, 0xab, 0x89, 0x67);
    CHECK_FIELD(le48, UINT64_C(0x456789abcdef), 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45);
    CHECK_FIELD(le64, X, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01);
}

static void test_big_endian(void)
{
    CHECK_FIELD(be16, 0xcdef, 0xcd, 0xef);
    CHECK_FIELD(be24, 0xabcdef, 0xab, 0xcd, 0xef);
    CHECK_FIELD(be32, 0x89abcdef, 0x89, 0xab, 0xcd, 0xef);
    CHECK_FIELD(be48, UINT64_C(0x456789abcdef), 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef);
    CHECK_FIELD(be64, X, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef);
}

static void test_extremes(void)
{
    CU_ASSERT_EQUAL(le64_get(le64_put(UINT64_MAX)), UINT64_MAX);
    CU_ASSERT_EQUAL(be64_get(be64_put(UINT64_MAX)), UINT64_MAX);
    CU_ASSERT_EQUAL(le40_get(le40_put(UINT64_MAX)), (UINT64_C(1) << 40) - 1);
    CU_ASSERT_EQUAL(be24_get(be24_put(UINT64_MAX)), 0xffffff);
    CU_ASSERT_EQUAL(le32_get(le32_put(0)), 0);
    CU_ASSERT_EQUAL(be16_get(be16_put(0x80)), 0x80);
}

/* A field in a struct leaves no hole, wherever it stands. */
static void test_no_padding(void)
{
    struct mixed
    {
        uint8_t first;
        struct le64 second;
        struct be24 third;
        struct le32 fourth;
    };
    CU_ASSERT_EQUAL(sizeof(struct mixed), 1 + 8 + 3 + 4);
    uint8_t raw[sizeof(struct mixed)] = {9, 1, 2, 3, 4, 5, 6, 7, 8, 0xa, 0xb, 0xc, 1, 0, 0, 0x80};
    struct mixed mixed;
    memcpy(&mixed, raw, sizeof(mixed));
    CU_ASSERT_EQUAL(le64_get(mixed.second), UINT64_C(0x0807060504030201));
    CU_ASSERT_EQUAL(be24_get(mixed.third), 0xa0b0c);
    CU_ASSERT_EQUAL(le32_get(mixed.fourth), 0x80000001);
}

static CU_TestInfo endian_tests[] = {
    {"little-endian fields", test_little_endian},
    {"big-endian fields", test_big_endian},
    {"extreme values", test_extremes},
    {"no padding", test_no_padding},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"endian", NULL, NULL, NULL, NULL, endian_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
