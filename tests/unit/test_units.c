/* SPDX-License-Identifier: BSD-3-Clause */
/* Sizes, numbers and durations as people write them. */
#include "server/units.h"

#include <errno.h>
#include <string.h>

#include "lun/base/checked.h"
#include "tests/lib/cunit_main.h"

static void test_bytes(void)
{
    static const struct
    {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0},
        {"512", 512},
        {"512B", 512},
        {"1K", 1024},
        {"512M", UINT64_C(512) << 20},
        {"10G", UINT64_C(10) << 30},
        {"10g", UINT64_C(10) << 30},
        {"10GB", UINT64_C(10) << 30},
        {"10GiB", UINT64_C(10) << 30},
        {"1.5T", UINT64_C(3) << 39},
        {"0.1K", 4096}, /* rounded up to a block */
        {"1.000000001G", (UINT64_C(1) << 30) + 4096},
        {"15.999E", UINT64_C(18445591152204947456)},
        {"18446744073709551615", UINT64_MAX},
    };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
    {
        uint64_t bytes = 1;
        int r = units_parse_bytes(good[i].text, &bytes, NULL);
        CU_ASSERT_EQUAL(r, 0);
        if (bytes != good[i].bytes)
            printf("\n%s: %llu, not %llu\n", good[i].text, (unsigned long long)bytes,
                   (unsigned long long)good[i].bytes);
        CU_ASSERT_EQUAL(bytes, good[i].bytes);
    }
}

static void test_bad_bytes(void)
{
    static const char *const bad[] = {"",     "G",    "-1",   "1.5", "1 G",  "10Q",
                                      "10GG", "1e3",  "0x10", ".5G", "1.G1", "1.0000000001G",
                                      " 1",   "10Gi", "1,5G", "10iB"};
    static const char *const big[] = {"18446744073709551616", "16E", "17592186044416M",
                                      "99999999999999999999999G"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    {
        uint64_t bytes = 77;
        struct reason why = {.text = ""};
        CU_ASSERT_EQUAL(units_parse_bytes(bad[i], &bytes, &why), -EINVAL);
        CU_ASSERT_PTR_NOT_NULL(strstr(why.text, bad[i]));
        CU_ASSERT_EQUAL(bytes, 77);
    }
    for (size_t i = 0; i < ARRAY_SIZE(big); i++)
    {
        uint64_t bytes = 77;
        CU_ASSERT_EQUAL(units_parse_bytes(big[i], &bytes, NULL), -ERANGE);
        CU_ASSERT_EQUAL(bytes, 77);
    }
}

static void test_number(void)
{
    uint64_t number = 0;
    CU_ASSERT_EQUAL(units_parse_number("0660", 0, 0777, &number, NULL), 0);
    CU_ASSERT_EQUAL(number, 0660);
    CU_ASSERT_EQUAL(units_parse_number("0x10", 0, 100, &number, NULL), 0);
    CU_ASSERT_EQUAL(number, 16);
    CU_ASSERT_EQUAL(units_parse_number("101", 0, 100, &number, NULL), -ERANGE);
    CU_ASSERT_EQUAL(units_parse_number("0", 1, 100, &number, NULL), -ERANGE);
    CU_ASSERT_EQUAL(units_parse_number("99999999999999999999", 0, UINT64_MAX, &number, NULL),
                    -ERANGE);
    CU_ASSERT_EQUAL(units_parse_number("-1", 0, 100, &number, NULL), -EINVAL);
    CU_ASSERT_EQUAL(units_parse_number("", 0, 100, &number, NULL), -EINVAL);
    CU_ASSERT_EQUAL(units_parse_number("1x", 0, 100, &number, NULL), -EINVAL);
    CU_ASSERT_EQUAL(number, 16);
}

static void test_durations(void)
{
    uint64_t ms = 0;
    CU_ASSERT_EQUAL(units_parse_ms("500ms", &ms, NULL), 0);
    CU_ASSERT_EQUAL(ms, 500);
    CU_ASSERT_EQUAL(units_parse_ms("5", &ms, NULL), 0);
    CU_ASSERT_EQUAL(ms, 5000);
    CU_ASSERT_EQUAL(units_parse_ms("2m", &ms, NULL), 0);
    CU_ASSERT_EQUAL(ms, 120000);
    CU_ASSERT_EQUAL(units_parse_ms("1h", &ms, NULL), 0);
    CU_ASSERT_EQUAL(ms, 3600000);
    CU_ASSERT_EQUAL(units_parse_ms("1d", &ms, NULL), 0);
    CU_ASSERT_EQUAL(ms, 86400000);
    CU_ASSERT_EQUAL(units_parse_ms("4w", &ms, NULL), 0);
    CU_ASSERT_EQUAL(ms, 4 * UINT64_C(604800000));
    CU_ASSERT_EQUAL(units_parse_ms("1y", &ms, NULL), -EINVAL);
    CU_ASSERT_EQUAL(units_parse_ms("ms", &ms, NULL), -EINVAL);
    CU_ASSERT_EQUAL(units_parse_ms("18446744073709551615h", &ms, NULL), -EINVAL);
}

static void test_bool(void)
{
    bool value = false;
    CU_ASSERT_EQUAL(units_parse_bool("Yes", &value, NULL), 0);
    CU_ASSERT_TRUE(value);
    CU_ASSERT_EQUAL(units_parse_bool("off", &value, NULL), 0);
    CU_ASSERT_FALSE(value);
    CU_ASSERT_EQUAL(units_parse_bool("maybe", &value, NULL), -EINVAL);
    CU_ASSERT_EQUAL(units_parse_bool("", &value, NULL), -EINVAL);
}

static void test_format(void)
{
    static const struct
    {
        uint64_t bytes;
        char unit;
        const char *text;
    } cases[] = {
        {0, 'h', "0 B"},
        {1023, 'h', "1023 B"},
        {1024, 'h', "1 KiB"},
        {1536, 'h', "1.5 KiB"},
        {(UINT64_C(1) << 30) - 1, 'h', "1023.99 MiB"},
        {UINT64_C(10) << 30, 'h', "10 GiB"},
        {UINT64_MAX, 'h', "15.99 EiB"},
        {UINT64_C(10) << 30, 'M', "10240.00 MiB"},
        {1 << 20, 'G', "0.00 GiB"},
        {12345, 'B', "12345 B"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    {
        char text[UNITS_TEXT_MAX];
        CU_ASSERT_STRING_EQUAL(units_format_bytes(cases[i].bytes, cases[i].unit, text),
                               cases[i].text);
    }
}

static CU_TestInfo units_tests[] = {
    {"sizes", test_bytes},     {"sizes that are none", test_bad_bytes},
    {"numbers", test_number},  {"durations", test_durations},
    {"yes and no", test_bool}, {"sizes for people", test_format},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"units", NULL, NULL, NULL, NULL, units_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
