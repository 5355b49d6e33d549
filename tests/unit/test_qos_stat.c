/* SPDX-License-Identifier: BSD-3-Clause */
/* Counters: where a latency falls, and that threads lose nothing. */
#include <pthread.h>
#include <stddef.h>

#include "lun/base/checked.h"
#include "server/qos/stat.h"
#include "tests/lib/cunit_main.h"

enum
{
    THREADS = 8,
    ROUNDS = 20000,
};

static void test_buckets(void)
{
    static const struct
    {
        uint64_t ns;
        unsigned bucket;
    } cases[] = {
        {0, 0},
        {1, 0},
        {1024, 0},
        {1025, 1},
        {2048, 1},
        {2049, 2},
        {UINT64_C(1) << 34, 24},
        {(UINT64_C(1) << 34) + 1, 25},
        {UINT64_MAX, QOS_LATENCY_BUCKETS - 1},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    {
        struct qos_stat stat = {.shards = {NULL}};
        struct qos_io_sum sums[QOS_IO_KINDS];
        CU_ASSERT_EQUAL_FATAL(qos_stat_init(&stat), 0);
        qos_stat_add(&stat, QOS_WRITE, 17, cases[i].ns);
        qos_stat_sum(&stat, sums);
        CU_ASSERT_EQUAL(sums[QOS_WRITE].latency[cases[i].bucket], 1);
        CU_ASSERT_EQUAL(sums[QOS_WRITE].ops, 1);
        CU_ASSERT_EQUAL(sums[QOS_WRITE].bytes, 17);
        CU_ASSERT_EQUAL(sums[QOS_WRITE].ns, cases[i].ns);
        CU_ASSERT_EQUAL(sums[QOS_READ].ops + sums[QOS_UNMAP].ops + sums[QOS_FLUSH].ops, 0);
        qos_stat_destroy(&stat);
    }
}

static struct qos_stat shared;

static void *count(void *opaque)
{
    enum qos_io io = *(enum qos_io *)opaque;
    for (unsigned i = 0; i < ROUNDS; i++)
        qos_stat_add(&shared, io, 512, 3000);
    return NULL;
}

static void test_threads(void)
{
    pthread_t threads[THREADS];
    enum qos_io kinds[THREADS];
    struct qos_io_sum sums[QOS_IO_KINDS];
    CU_ASSERT_EQUAL_FATAL(qos_stat_init(&shared), 0);
    for (unsigned i = 0; i < THREADS; i++)
    {
        kinds[i] = (enum qos_io)(i % QOS_IO_KINDS);
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, count, &kinds[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    qos_stat_sum(&shared, sums);
    for (unsigned io = 0; io < QOS_IO_KINDS; io++)
    {
        uint64_t ops = (uint64_t)THREADS / QOS_IO_KINDS * ROUNDS;
        CU_ASSERT_EQUAL(sums[io].ops, ops);
        CU_ASSERT_EQUAL(sums[io].latency[2], ops);
        CU_ASSERT_EQUAL(sums[io].bytes, ops * 512);
        CU_ASSERT_EQUAL(sums[io].ns, ops * 3000);
        CU_ASSERT_PTR_NOT_NULL(qos_io_name((enum qos_io)io));
    }
    qos_stat_destroy(&shared);
}

static void test_never_initialised(void)
{
    struct qos_stat stat = {.shards = {NULL}};
    struct qos_io_sum sums[QOS_IO_KINDS];
    qos_stat_sum(&stat, sums);
    CU_ASSERT_EQUAL(sums[QOS_READ].ops, 0);
    qos_stat_destroy(&stat);
}

static CU_TestInfo stat_tests[] = {
    {"a latency falls into the bucket that its bound names", test_buckets},
    {"threads lose nothing", test_threads},
    {"one that was never initialised", test_never_initialised},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"stat", NULL, NULL, NULL, NULL, stat_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
