/* SPDX-License-Identifier: BSD-3-Clause */
/* Locked ranges: who waits for whom, in order of arrival, and that nobody meets anybody. */
#include "lun/map/range.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "tests/lib/cunit_main.h"
#include "tests/lib/rng.h"

enum
{
    THREADS = 4,
    ROUNDS = 3000,
    CELLS = 32,
};

static struct range_table *table;

static void test_apart(void)
{
    struct range a, b, c;
    table = range_table_create();
    range_lock(table, &a, 0, 10); /* none of these waits: the test would hang */
    range_lock(table, &b, 10, 20);
    range_lock(table, &c, 25, RANGE_ALL);
    range_unlock(&b);
    range_lock(table, &b, 10, 25);
    range_unlock(&a);
    range_unlock(&b);
    range_unlock(&c);
    range_lock(table, &a, 0, RANGE_ALL);
    range_unlock(&a);
    range_table_destroy(table);
    range_table_destroy(NULL);
}

static _Atomic unsigned users[CELLS];
static _Atomic unsigned collisions;

static void *meet(void *opaque)
{
    struct rng rng = rng_of((uint64_t)(uintptr_t)opaque);
    for (unsigned i = 0; i < ROUNDS; i++)
    {
        struct range range;
        uint64_t start = rng_below(&rng, CELLS), end = start + 1 + rng_below(&rng, CELLS - start);
        range_lock(table, &range, start, rng_percent(&rng, 5) ? RANGE_ALL : end);
        for (uint64_t cell = start; cell < end; cell++)
            collisions += atomic_fetch_add(&users[cell], 1) != 0;
        if (i % 8 == 0) /* not each time: on a busy machine it takes long to come back */
            sched_yield();
        for (uint64_t cell = start; cell < end; cell++)
            atomic_fetch_sub(&users[cell], 1);
        range_unlock(&range);
    }
    return NULL;
}

static void test_exclusion(void)
{
    pthread_t threads[THREADS];
    table = range_table_create();
    for (uintptr_t i = 0; i < THREADS; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, meet, (void *)(i + 1)), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CU_ASSERT_EQUAL(collisions, 0);
    range_table_destroy(table);
}

/* Writers that go on and on do not hold up whoever wants everything. */
static _Atomic bool is_over;

static void *write_on(void *opaque)
{
    (void)opaque;
    while (!atomic_load(&is_over))
    {
        struct range range;
        range_lock(table, &range, 3, 5);
        sched_yield();
        range_unlock(&range);
    }
    return NULL;
}

static void test_fairness(void)
{
    pthread_t threads[THREADS];
    table = range_table_create();
    for (unsigned i = 0; i < THREADS; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, write_on, NULL), 0);
    for (unsigned i = 0; i < 200; i++) /* each of these ends, or the test does not */
    {
        struct range all;
        range_lock(table, &all, 0, RANGE_ALL);
        range_unlock(&all);
    }
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    range_table_destroy(table);
}

static CU_TestInfo range_tests[] = {
    {"ranges apart", test_apart},
    {"ranges that meet", test_exclusion},
    {"all of it, against a stream of writes", test_fairness},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"range", NULL, NULL, NULL, NULL, range_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
