/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs a table of CUnit suites and turns the result into an exit status. */
#include "tests/lib/cunit_main.h"

#include <CUnit/Basic.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Leaves only tests whose name contains @filter. */
static void cunit_select(const char *filter)
{
    CU_pTestRegistry registry = CU_get_registry();
    for (CU_pSuite suite = registry->pSuite; suite; suite = suite->pNext)
        for (CU_pTest test = suite->pTest; test; test = test->pNext)
            CU_set_test_active(test, strstr(test->pName, filter) ? CU_TRUE : CU_FALSE);
    /* A test left out is not a failure; none left at all is (nothing ran). */
    CU_set_fail_on_inactive(CU_FALSE);
}

int cunit_main(CU_SuiteInfo *suites, int argc, char **argv)
{
    if (CU_initialize_registry() != CUE_SUCCESS || CU_register_suites(suites) != CUE_SUCCESS)
    {
        fprintf(stderr, "cannot register the tests: %s\n", CU_get_error_msg());
        return 1;
    }
    if (argc > 1)
        cunit_select(argv[1]);
    CU_basic_set_mode(CU_BRM_VERBOSE);
    CU_ErrorCode error = CU_basic_run_tests();
    unsigned ran = CU_get_number_of_tests_run();
    unsigned failed = CU_get_number_of_failures() + CU_get_number_of_suites_failed();
    CU_cleanup_registry();
    if (error != CUE_SUCCESS)
        fprintf(stderr, "CUnit stopped: error %d\n", (int)error);
    if (ran == 0)
        fprintf(stderr, "no test ran\n");
    return error != CUE_SUCCESS || ran == 0 || failed > 0;
}

int cunit_skip(const char *why, ...)
{
    va_list args;
    va_start(args, why);
    printf("SKIP: ");
    vprintf(why, args);
    va_end(args);
    printf("\n");
    return CUNIT_SKIP;
}
