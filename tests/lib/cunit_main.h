/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The main program of every CUnit test.
 *
 * A test file lists its suites in a table and ends with
 *
 *     static CU_TestInfo frobnicate_tests[] = {
 *         {"empty input is refused", test_empty},
 *         CU_TEST_INFO_NULL,
 *     };
 *
 *     int main(int argc, char **argv)
 *     {
 *         CU_SuiteInfo suites[] = {
 *             {"frobnicate", NULL, NULL, NULL, NULL, frobnicate_tests},
 *             CU_SUITE_INFO_NULL,
 *         };
 *         return cunit_main(suites, argc, argv);
 *     }
 */
#ifndef TESTS_LIB_CUNIT_MAIN_H
#define TESTS_LIB_CUNIT_MAIN_H

#include <CUnit/CUnit.h>

#include "lun/base/err.h"

/* The exit status with which a test says that it cannot run here. */
enum
{
    CUNIT_SKIP = 77
};

/*
 * Runs all tests of @suites, or those whose name contains argv[1], and prints each. Returns the
 * exit status: 0 when all passed and at least one ran. CUnit's own return value says only whether
 * its machinery worked, so the status comes from its counts of failures.
 */
MUST_CHECK int cunit_main(CU_SuiteInfo *suites, int argc, char **argv);

/* Says why a program cannot run here; `return cunit_skip("...")` ends main(). */
MUST_CHECK int cunit_skip(const char *why, ...) PRINTF_LIKE(1, 2);

#endif
