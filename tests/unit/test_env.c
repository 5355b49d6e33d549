/* SPDX-License-Identifier: BSD-3-Clause */
/* The real clock and the real source of random bytes. */
#include <stdlib.h>
#include <string.h>

#include "lun/base/cleanup.h"
#include "lun/base/env.h"
#include "tests/lib/cunit_main.h"

static void test_clock(void)
{
    struct env *env = env_system();
    uint64_t now = env->now_ns(env);
    /* Nanoseconds since 1970: between 2020 and 2200, so neither seconds nor another epoch. */
    CU_ASSERT_TRUE(now > UINT64_C(1577836800) * 1000000000);
    CU_ASSERT_TRUE(now < UINT64_C(7258118400) * 1000000000);
}

static void test_one_environment(void)
{
    CU_ASSERT_PTR_EQUAL(env_system(), env_system());
}

static void test_random(void)
{
    struct env *env = env_system();
    uint8_t a[32] = {0};
    uint8_t b[32] = {0};
    env->random_bytes(env, a, sizeof(a));
    env->random_bytes(env, b, sizeof(b));
    CU_ASSERT_NOT_EQUAL(memcmp(a, b, sizeof(a)), 0);
}

/* All of a large buffer is filled, and nothing around it. */
static void test_random_large(void)
{
    enum
    {
        LEN = 100000,
        GUARD = 64
    };
    struct env *env = env_system();
    AUTO_FREE uint8_t *bytes = calloc(1, LEN + 2 * GUARD);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    env->random_bytes(env, bytes + GUARD, LEN);
    static const uint8_t zeros[GUARD];
    CU_ASSERT_EQUAL(memcmp(bytes, zeros, GUARD), 0);
    CU_ASSERT_EQUAL(memcmp(bytes + GUARD + LEN, zeros, GUARD), 0);
    /* 32 zero bytes in a row come once in 10^72 tries. */
    for (size_t at = 0; at < LEN; at += 32)
        CU_ASSERT_NOT_EQUAL(memcmp(bytes + GUARD + at, zeros, 32), 0);
    uint8_t untouched = 7;
    env->random_bytes(env, &untouched, 0);
    CU_ASSERT_EQUAL(untouched, 7);
}

static CU_TestInfo env_tests[] = {
    {"clock", test_clock},
    {"one environment", test_one_environment},
    {"random bytes differ", test_random},
    {"many random bytes", test_random_large},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"env", NULL, NULL, NULL, NULL, env_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
