/* SPDX-License-Identifier: BSD-3-Clause */
/* Arithmetic on numbers from outside: every edge where a wrap would pass for a small number. */
#include "lun/base/checked.h"
#include "tests/lib/cunit_main.h"

#define MAX UINT64_MAX

static void test_add(void)
{
    uint64_t r = 7;
    CU_ASSERT_TRUE(checked_add(2, 3, &r));
    CU_ASSERT_EQUAL(r, 5);
    CU_ASSERT_TRUE(checked_add(MAX - 1, 1, &r));
    CU_ASSERT_EQUAL(r, MAX);
    CU_ASSERT_TRUE(checked_add(MAX, 0, &r));
    CU_ASSERT_FALSE(checked_add(MAX, 1, &r));
    CU_ASSERT_FALSE(checked_add(MAX, MAX, &r));
    CU_ASSERT_FALSE(checked_add(UINT64_C(1) << 63, UINT64_C(1) << 63, &r));
}

static void test_mul(void)
{
    uint64_t r = 7;
    CU_ASSERT_TRUE(checked_mul(6, 7, &r));
    CU_ASSERT_EQUAL(r, 42);
    CU_ASSERT_TRUE(checked_mul(MAX, 1, &r));
    CU_ASSERT_EQUAL(r, MAX);
    CU_ASSERT_TRUE(checked_mul(MAX, 0, &r));
    CU_ASSERT_EQUAL(r, 0);
    CU_ASSERT_TRUE(checked_mul(UINT64_C(0xffffffff), UINT64_C(0x100000001), &r));
    CU_ASSERT_EQUAL(r, MAX);
    CU_ASSERT_FALSE(checked_mul(UINT64_C(1) << 32, UINT64_C(1) << 32, &r));
    CU_ASSERT_FALSE(checked_mul(MAX, 2, &r));
}

static void test_range(void)
{
    CU_ASSERT_TRUE(range_ok(0, 10, 10));
    CU_ASSERT_TRUE(range_ok(9, 1, 10));
    CU_ASSERT_TRUE(range_ok(10, 0, 10));
    CU_ASSERT_TRUE(range_ok(0, 0, 0));
    CU_ASSERT_TRUE(range_ok(0, MAX, MAX));
    CU_ASSERT_FALSE(range_ok(0, 11, 10));
    CU_ASSERT_FALSE(range_ok(10, 1, 10));
    CU_ASSERT_FALSE(range_ok(11, 0, 10));
    CU_ASSERT_FALSE(range_ok(0, 1, 0));
    /* Sums that wrap to something small. */
    CU_ASSERT_FALSE(range_ok(MAX, 2, 10));
    CU_ASSERT_FALSE(range_ok(5, MAX - 3, 10));
    CU_ASSERT_FALSE(range_ok(MAX, MAX, MAX));
}

static void test_min_max(void)
{
    CU_ASSERT_EQUAL(min_u64(1, 2), 1);
    CU_ASSERT_EQUAL(min_u64(MAX, 0), 0);
    CU_ASSERT_EQUAL(min_u64(4, 4), 4);
    CU_ASSERT_EQUAL(max_u64(1, 2), 2);
    CU_ASSERT_EQUAL(max_u64(MAX, 0), MAX);
    CU_ASSERT_EQUAL(max_u64(UINT64_C(1) << 32, 1), UINT64_C(1) << 32);
}

static void test_rounding(void)
{
    CU_ASSERT_EQUAL(div_round_up(0, 8), 0);
    CU_ASSERT_EQUAL(div_round_up(1, 8), 1);
    CU_ASSERT_EQUAL(div_round_up(8, 8), 1);
    CU_ASSERT_EQUAL(div_round_up(9, 8), 2);
    CU_ASSERT_EQUAL(div_round_up(MAX, 2), UINT64_C(1) << 63);
    CU_ASSERT_EQUAL(div_round_up(MAX, MAX), 1);
    CU_ASSERT_EQUAL(round_down(4095, 4096), 0);
    CU_ASSERT_EQUAL(round_down(4096, 4096), 4096);
    CU_ASSERT_EQUAL(round_down(MAX, 4096), MAX - 4095);
    CU_ASSERT_EQUAL(round_up(0, 4096), 0);
    CU_ASSERT_EQUAL(round_up(1, 4096), 4096);
    CU_ASSERT_EQUAL(round_up(4096, 4096), 4096);
    CU_ASSERT_EQUAL(round_up(UINT64_C(1) << 40, 512), UINT64_C(1) << 40);
    CU_ASSERT_EQUAL(round_up(5, 1), 5);
}

static void test_array_size(void)
{
    int three[3];
    struct le
    {
        char c[7];
    } five[5];
    CU_ASSERT_EQUAL(ARRAY_SIZE(three), 3);
    CU_ASSERT_EQUAL(ARRAY_SIZE(five), 5);
}

static CU_TestInfo checked_tests[] = {
    {"sums", test_add},          {"products", test_mul},
    {"ranges", test_range},      {"minimum and maximum", test_min_max},
    {"rounding", test_rounding}, {"array sizes", test_array_size},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"checked", NULL, NULL, NULL, NULL, checked_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
