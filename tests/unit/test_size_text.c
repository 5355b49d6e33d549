/* SPDX-License-Identifier: BSD-3-Clause */
/* Sizes in messages: whole units, others, the ends. */
#include "lun/base/size_text.h"

#include "tests/lib/cunit_main.h"

static void test_texts(void)
{
    CU_ASSERT_STRING_EQUAL(size_text(0).text, "0 bytes");
    CU_ASSERT_STRING_EQUAL(size_text(1).text, "1 byte");
    CU_ASSERT_STRING_EQUAL(size_text(1023).text, "1023 bytes");
    CU_ASSERT_STRING_EQUAL(size_text(1024).text, "1 KiB");
    CU_ASSERT_STRING_EQUAL(size_text(1025).text, "1.0 KiB (1025 bytes)");
    CU_ASSERT_STRING_EQUAL(size_text(UINT64_C(96) << 20).text, "96 MiB");
    CU_ASSERT_STRING_EQUAL(size_text(UINT64_C(1536) << 20).text, "1.5 GiB (1610612736 bytes)");
    CU_ASSERT_STRING_EQUAL(size_text(UINT64_C(1) << 60).text, "1 EiB");
    CU_ASSERT_STRING_EQUAL(size_text(UINT64_MAX).text, "16.0 EiB (18446744073709551615 bytes)");
}

static CU_TestInfo size_text_tests[] = {
    {"sizes as people read them", test_texts},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"size_text", NULL, NULL, NULL, NULL, size_text_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
