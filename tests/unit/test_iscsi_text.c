/* SPDX-License-Identifier: BSD-3-Clause */
/* key=value text, and the values in it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "server/iscsi/text.h"
#include "tests/lib/cunit_main.h"

/* Splits a copy of @text. */
static int split(const char *text, size_t len, struct text_pair *pairs, size_t *count)
{
    static char copy[TEXT_BYTES_MAX + 1];
    memcpy(copy, text, len);
    return text_split(copy, len, pairs, 4, count);
}

static void test_split(void)
{
    struct text_pair pairs[4];
    size_t count;
    CU_ASSERT_EQUAL(split("", 0, pairs, &count), 0);
    CU_ASSERT_EQUAL(count, 0);
    CU_ASSERT_EQUAL(split("A=1\0B=\0C=x=y\0", 13, pairs, &count), 0);
    CU_ASSERT_EQUAL(count, 3);
    CU_ASSERT_STRING_EQUAL(pairs[0].key, "A");
    CU_ASSERT_STRING_EQUAL(pairs[0].value, "1");
    CU_ASSERT_STRING_EQUAL(pairs[1].value, "");
    CU_ASSERT_STRING_EQUAL(pairs[2].value, "x=y");
    /* The last NUL missing; padding that was counted. */
    CU_ASSERT_EQUAL(split("A=12", 4, pairs, &count), 0);
    CU_ASSERT_STRING_EQUAL(pairs[0].value, "12");
    CU_ASSERT_EQUAL(split("\0\0A=1\0\0\0", 8, pairs, &count), 0);
    CU_ASSERT_EQUAL(count, 1);
}

static void test_split_bad(void)
{
    struct text_pair pairs[4];
    size_t count = 99;
    static const char *const bad[] = {"A", "=1", "A B=1", "A\n=1", "\xff=1"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CU_ASSERT_EQUAL(split(bad[i], strlen(bad[i]) + 1, pairs, &count), -EINVAL);
    /* A key of 63 bytes is the longest; four pairs are the most here. */
    char text[128];
    memset(text, 'k', sizeof(text));
    memcpy(text + 63, "=", 2);
    CU_ASSERT_EQUAL(split(text, 65, pairs, &count), 0);
    text[63] = 'k';
    memcpy(text + 64, "=", 2);
    count = 99;
    CU_ASSERT_EQUAL(split(text, 66, pairs, &count), -EINVAL);
    CU_ASSERT_EQUAL(split("a=\0b=\0c=\0d=\0e=\0", 15, pairs, &count), -EINVAL);
    CU_ASSERT_EQUAL(count, 99);
    /* So is a value of 8192. */
    static char value[TEXT_VALUE_MAX + 8] = "v=";
    memset(value + 2, 'x', TEXT_VALUE_MAX);
    CU_ASSERT_EQUAL(split(value, TEXT_VALUE_MAX + 3, pairs, &count), 0);
    value[TEXT_VALUE_MAX + 2] = 'x';
    CU_ASSERT_EQUAL(split(value, TEXT_VALUE_MAX + 4, pairs, &count), -EINVAL);
}

static void test_numbers(void)
{
    static const struct
    {
        const char *text;
        int result;
        uint64_t number;
    } cases[] = {
        {"0", 0, 0},           {"42", 0, 42},
        {"0x2a", 0, 42},       {"0X2A", 0, 42},
        {"1000", 0, 1000},     {"1001", -EINVAL, 0},
        {"0x3e9", -EINVAL, 0}, {"", -EINVAL, 0},
        {"0x", -EINVAL, 0},    {"-1", -EINVAL, 0},
        {" 1", -EINVAL, 0},    {"1 ", -EINVAL, 0},
        {"1a", -EINVAL, 0},    {"18446744073709551617", -EINVAL, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    {
        uint64_t number = 0;
        CU_ASSERT_EQUAL(text_get_number(cases[i].text, 1000, &number), cases[i].result);
        CU_ASSERT_EQUAL(number, cases[i].number);
    }
    bool yes = false;
    CU_ASSERT_EQUAL(text_get_bool("Yes", &yes), 0);
    CU_ASSERT(yes);
    CU_ASSERT_EQUAL(text_get_bool("No", &yes), 0);
    CU_ASSERT(!yes);
    CU_ASSERT_EQUAL(text_get_bool("yes", &yes), -EINVAL);
    CU_ASSERT_EQUAL(text_get_bool("", &yes), -EINVAL);
}

static void test_binary(void)
{
    static const struct
    {
        const char *text;
        int result;
        const char *bytes;
        size_t len;
    } cases[] = {
        {"0x00ff10", 0, "\x00\xff\x10", 3},
        {"0XABC", 0, "\x0a\xbc", 2},
        {"0bAP8Q", 0, "\x00\xff\x10", 3},
        {"0bAP8=", 0, "\x00\xff", 2},
        {"0bAA==", 0, "\x00", 1},
        {"0BYWJj", 0, "abc", 3},
        {"0b+/+/", 0, "\xfb\xff\xbf", 3},
        {"0x0011223344", -EINVAL, "", 0}, /* more than 4 */
        {"0bAAAAAAAA", -EINVAL, "", 0},
        {"0x", -EINVAL, "", 0},
        {"0b", -EINVAL, "", 0},
        {"0xzz", -EINVAL, "", 0},
        {"0x0g1", -EINVAL, "", 0},
        {"0bA", -EINVAL, "", 0},
        {"0b====", -EINVAL, "", 0},
        {"0bA===", -EINVAL, "", 0},
        {"0bAA=A", -EINVAL, "", 0},
        {"0b?AAA", -EINVAL, "", 0},
        {"1234", -EINVAL, "", 0},
        {"", -EINVAL, "", 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    {
        uint8_t bytes[4];
        size_t len = 0;
        CU_ASSERT_EQUAL(text_get_binary(cases[i].text, bytes, sizeof(bytes), &len),
                        cases[i].result);
        CU_ASSERT_EQUAL(len, cases[i].len);
        CU_ASSERT_EQUAL(memcmp(bytes, cases[i].bytes, cases[i].len), 0);
    }
}

static void test_put(void)
{
    AUTO_WRITER struct writer out = {.bytes = NULL};
    text_put(&out, "Key", "value");
    text_put_number(&out, "Number", 4294967295U);
    text_put_binary(&out, "Bytes", (const uint8_t *)"\x01\xfe", 2);
    static const char expected[] = "Key=value\0Number=4294967295\0Bytes=0x01fe";
    CU_ASSERT_EQUAL(out.len, sizeof(expected));
    CU_ASSERT_EQUAL(memcmp(out.bytes, expected, sizeof(expected)), 0);
}

static void test_lists(void)
{
    const char *list = "a,bc,,d";
    char item[3];
    static const char *const items[] = {"a", "bc", "", "d"};
    for (size_t i = 0; i < ARRAY_SIZE(items); i++)
    {
        CU_ASSERT(text_next_item(&list, item, sizeof(item)));
        CU_ASSERT_STRING_EQUAL(item, items[i]);
    }
    CU_ASSERT(!text_next_item(&list, item, sizeof(item)));
    CU_ASSERT(text_list_has("CHAP,None", "None"));
    CU_ASSERT(!text_list_has("CHAP,None", "CHA"));
    CU_ASSERT(!text_list_has("", "None"));
}

static void test_names(void)
{
    static const char *const good[] = {
        "iqn.2026-11.io.lunette:a",   "iqn.1993-08.org.debian:01:0123456789ab",
        "iqn.2001-04.com.x",          "eui.02004567A425678D",
        "naa.52004567BA64678D",       "naa.62004567BA64678D0123456789ABCDEF",
        "iqn.2026-11.io.LUNETTE:Big",
    };
    static const char *const bad[] = {
        "",
        "iqn.",
        "iqn.2026.io.x:a",
        "iqn.202a-11.io.x",
        "iqn.2026-11.",
        "eui.0200456",
        "naa.5200",
        "foo.bar.baz",
        "iqn.2026-11.io.x:a b",
        "iqn.2026-11.io.x:a/b",
        "eui.02004567A425678Z",
    };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        CU_ASSERT(text_is_iscsi_name(good[i]));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CU_ASSERT(!text_is_iscsi_name(bad[i]));
    char name[256];
    memset(name, 'x', sizeof(name));
    memcpy(name, "iqn.2026-11.io.", 15);
    name[223] = '\0';
    CU_ASSERT(text_is_iscsi_name(name));
    memcpy(name + 223, "x", 2);
    CU_ASSERT(!text_is_iscsi_name(name));
}

static CU_TestInfo text_tests[] = {
    {"pairs", test_split},       {"what is no pair", test_split_bad},
    {"numbers", test_numbers},   {"binary values", test_binary},
    {"building", test_put},      {"lists", test_lists},
    {"iSCSI names", test_names}, CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"iscsi_text", NULL, NULL, NULL, NULL, text_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
