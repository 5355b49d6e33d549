/* SPDX-License-Identifier: BSD-3-Clause */
/* Invariants: always compiled in, evaluated once, and they say what broke and where. */
#include "lun/base/invariant.h"
#include "tests/lib/aborts.h"
#include "tests/lib/cunit_main.h"

static int evaluated;

static void break_one(void *opaque)
{
    int *count = opaque;
    INVARIANT(*count == 4);
}

static void break_debug_one(void *opaque)
{
    int *count = opaque;
    DEBUG_INVARIANT(*count == 4);
}

static void test_holds(void)
{
    evaluated = 0;
    INVARIANT(++evaluated == 1);
    CU_ASSERT_EQUAL(evaluated, 1);
}

static void test_broken(void)
{
    int three = 3;
    CU_ASSERT_TRUE(aborts_with(break_one, &three, "invariant failed: *count == 4 (break_one, "));
    CU_ASSERT_TRUE(aborts_with(break_one, &three, "test_invariant.c:"));
}

static void test_debug(void)
{
    int three = 3;
#ifdef LUNETTE_DEBUG_CHECKS
    CU_ASSERT_TRUE(aborts_with(break_debug_one, &three, "invariant failed: *count == 4"));
#else
    break_debug_one(&three); /* goes on */
    evaluated = 0;
    DEBUG_INVARIANT(++evaluated == 1);
    CU_ASSERT_EQUAL(evaluated, 0);
#endif
}

static CU_TestInfo invariant_tests[] = {
    {"one that holds", test_holds},
    {"one that does not", test_broken},
    {"debug invariants", test_debug},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"invariant", NULL, NULL, NULL, NULL, invariant_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
