/* SPDX-License-Identifier: BSD-3-Clause */
/* Reasons for the user, and which of two errors counts. */
#include <errno.h>
#include <string.h>

#include "lun/base/err.h"
#include "tests/lib/cunit_main.h"

static void test_reason(void)
{
    struct reason why = {.text = "old"};
    CU_ASSERT_EQUAL(reason_set(&why, -ENOENT, "no LUN '%s', %d others", "vm1", 3), -ENOENT);
    CU_ASSERT_STRING_EQUAL(why.text, "no LUN 'vm1', 3 others");
    reason_clear(&why);
    CU_ASSERT_STRING_EQUAL(why.text, "");
}

static void test_nobody_asks(void)
{
    CU_ASSERT_EQUAL(reason_set(NULL, -EBUSY, "%s is open", "vm1"), -EBUSY);
    reason_clear(NULL);
}

static void test_long_reason(void)
{
    struct
    {
        struct reason why;
        char guard;
    } boxed = {.guard = 'g'};
    char text[3000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    CU_ASSERT_EQUAL(reason_set(&boxed.why, -EINVAL, "%s", text), -EINVAL);
    CU_ASSERT_EQUAL(strlen(boxed.why.text), sizeof(boxed.why.text) - 1);
    CU_ASSERT_EQUAL(boxed.guard, 'g');
}

static void test_keep_first(void)
{
    CU_ASSERT_EQUAL(keep_first(0, 0), 0);
    CU_ASSERT_EQUAL(keep_first(0, -EIO), -EIO);
    CU_ASSERT_EQUAL(keep_first(-EIO, 0), -EIO);
    CU_ASSERT_EQUAL(keep_first(-EIO, -ENOSPC), -EIO);
    CU_ASSERT_EQUAL(keep_first(5, 0), 0); /* only errors are kept */
}

static CU_TestInfo err_tests[] = {
    {"a reason", test_reason},
    {"nobody asks", test_nobody_asks},
    {"too long a reason is cut", test_long_reason},
    {"the first error counts", test_keep_first},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"err", NULL, NULL, NULL, NULL, err_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
