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

/* ---- many tables at once */

enum
{
    TABLES = 5
};

static struct range_table *tables[TABLES];
static _Atomic unsigned inside[TABLES];

/* Locks some or all of random tables. */
static void *meet_in_tables(void *opaque)
{
    struct rng rng = rng_of((uint64_t)(uintptr_t)opaque);
    for (unsigned i = 0; i < ROUNDS; i++)
    {
        struct range range;
        unsigned at = (unsigned)rng_below(&rng, TABLES);
        range_lock(tables[at], &range, 0, rng_percent(&rng, 10) ? RANGE_ALL : 8);
        collisions += atomic_fetch_add(&inside[at], 1) != 0;
        if (i % 8 == 0)
            sched_yield();
        atomic_fetch_sub(&inside[at], 1);
        range_unlock(&range);
    }
    return NULL;
}

/* While all are held nobody is in any of them, and afterwards all who waited go on: else the test
 * hangs. */
static void test_hold(void)
{
    pthread_t threads[THREADS];
    struct range_hold hold;
    range_hold_init(&hold);
    for (unsigned t = 0; t < TABLES; t++)
        tables[t] = range_table_create();
    collisions = 0;
    for (uintptr_t i = 0; i < THREADS; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, meet_in_tables, (void *)(i + 1)),
                              0);
    for (unsigned i = 0; i < ROUNDS / 10; i++)
    {
        struct range ranges[TABLES];
        for (unsigned t = 0; t < TABLES; t++)
            range_hold_ask(&hold, tables[t], &ranges[t]);
        for (unsigned t = 0; t < TABLES; t++)
            range_hold_wait(&ranges[t]);
        sched_yield();
        for (unsigned t = 0; t < TABLES; t++)
            collisions += atomic_load(&inside[t]);
        for (unsigned t = 0; t < TABLES; t++)
            range_hold_leave(&ranges[t]);
        range_hold_end(&hold);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CU_ASSERT_EQUAL(collisions, 0);
    for (unsigned t = 0; t < TABLES; t++)
        range_table_destroy(tables[t]);
    range_hold_destroy(&hold);
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
    {"many tables at once", test_hold},
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
