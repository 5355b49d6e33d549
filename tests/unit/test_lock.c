/* SPDX-License-Identifier: BSD-3-Clause */
/* Locks: exclusion between threads, wake-ups, and the order of ranks that debug builds enforce. */
#include <stdlib.h>

#include "lun/base/checked.h"
#include "lun/base/lock.h"
#include "tests/lib/aborts.h"
#include "tests/lib/cunit_main.h"

#define THREADS UINT64_C(4)
#define ROUNDS UINT64_C(20000)

static struct lock lock_a;
static struct lock lock_b;
static struct rwlock rwlock;
static struct condition condition;
static uint64_t counter;
static bool ready;
static pthread_barrier_t barrier;

/* Runs @body in THREADS threads, each given its number, and waits for all. */
static void in_threads(void *(*body)(void *number))
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, body, (void *)i), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void *count_with_lock(void *number)
{
    (void)number;
    for (unsigned i = 0; i < ROUNDS; i++)
    {
        AUTO_LOCK(&lock_a);
        counter = counter + 1;
    }
    return NULL;
}

static void test_exclusion(void)
{
    counter = 0;
    lock_init(&lock_a, LOCK_RANK_MAP);
    in_threads(count_with_lock);
    CU_ASSERT_EQUAL(counter, THREADS * ROUNDS);
    lock_destroy(&lock_a);
}

/* Two locks named in either order never deadlock. */
static void *count_with_two(void *number)
{
    bool swapped = (uintptr_t)number % 2;
    for (unsigned i = 0; i < ROUNDS; i++)
    {
        lock_take2(swapped ? &lock_b : &lock_a, swapped ? &lock_a : &lock_b);
        counter = counter + 1;
        lock_release(&lock_a);
        lock_release(&lock_b);
    }
    return NULL;
}

static void test_two_of_a_rank(void)
{
    counter = 0;
    lock_init(&lock_a, LOCK_RANK_MAP);
    lock_init(&lock_b, LOCK_RANK_MAP);
    in_threads(count_with_two);
    CU_ASSERT_EQUAL(counter, THREADS * ROUNDS);
    lock_destroy(&lock_a);
    lock_destroy(&lock_b);
}

/* All readers meet inside: were it exclusive, the barrier would never open. */
static void *meet_as_reader(void *number)
{
    (void)number;
    rwlock_take_shared(&rwlock);
    pthread_barrier_wait(&barrier);
    rwlock_release(&rwlock);
    return NULL;
}

static void test_readers_share(void)
{
    rwlock_init(&rwlock, LOCK_RANK_CP_GATE);
    CU_ASSERT_EQUAL_FATAL(pthread_barrier_init(&barrier, NULL, THREADS), 0);
    in_threads(meet_as_reader);
    pthread_barrier_destroy(&barrier);
    rwlock_destroy(&rwlock);
}

static void *count_as_writer(void *number)
{
    (void)number;
    for (unsigned i = 0; i < ROUNDS; i++)
    {
        if (i % 16)
        {
            rwlock_take_shared(&rwlock);
            if (counter % 2)
                abort(); /* a writer was half-way */
        }
        else
        {
            rwlock_take_exclusive(&rwlock);
            counter = counter + 1;
            counter = counter + 1;
        }
        rwlock_release(&rwlock);
    }
    return NULL;
}

static void test_writers_exclude(void)
{
    counter = 0;
    rwlock_init(&rwlock, LOCK_RANK_CP_GATE);
    in_threads(count_as_writer);
    CU_ASSERT_EQUAL(counter, 2 * THREADS * (ROUNDS / 16));
    rwlock_destroy(&rwlock);
}

static void *make_ready(void *unused)
{
    (void)unused;
    AUTO_LOCK(&lock_a);
    ready = true;
    condition_wake_all(&condition);
    return NULL;
}

static void *wait_for_ready(void *number)
{
    AUTO_LOCK(&lock_a);
    while (!ready)
    {
        if ((uintptr_t)number % 2)
            condition_wait(&condition, &lock_a);
        else
            CU_ASSERT_TRUE(condition_wait_ms(&condition, &lock_a, 3600000));
    }
    counter++;
    return NULL;
}

static void *wait_or_wake(void *number)
{
    return (uintptr_t)number == THREADS - 1 ? make_ready(NULL) : wait_for_ready(number);
}

static void test_wake_up(void)
{
    lock_init(&lock_a, LOCK_RANK_LEAF);
    condition_init(&condition);
    ready = false;
    counter = 0;
    in_threads(wait_or_wake);
    CU_ASSERT_EQUAL(counter, THREADS - 1);
    condition_destroy(&condition);
    lock_destroy(&lock_a);
}

static void test_wait_ends(void)
{
    lock_init(&lock_a, LOCK_RANK_LEAF);
    condition_init(&condition);
    lock_take(&lock_a);
    /* Nobody wakes it; the loop is for wake-ups without a cause.. */
    while (condition_wait_ms(&condition, &lock_a, 5))
        continue;
    CU_ASSERT_FALSE(condition_wait_ms(&condition, &lock_a, 0));
    lock_release(&lock_a);
    condition_destroy(&condition);
    lock_destroy(&lock_a);
}

static void test_rising_ranks(void)
{
    lock_init(&lock_a, LOCK_RANK_CP);
    lock_init(&lock_b, LOCK_RANK_JOURNAL);
    rwlock_init(&rwlock, LOCK_RANK_CP_GATE);
    /* Released in any order, taken again. */
    for (int i = 0; i < 3; i++)
    {
        lock_take(&lock_a);
        rwlock_take_shared(&rwlock);
        lock_take(&lock_b);
        lock_release(&lock_a);
        lock_release(&lock_b);
        rwlock_release(&rwlock);
        lock_take(&lock_a);
        lock_release(&lock_a);
    }
    CU_PASS("no deadlock, no abort");
    rwlock_destroy(&rwlock);
    lock_destroy(&lock_b);
    lock_destroy(&lock_a);
}

#ifdef LUNETTE_DEBUG_CHECKS

static void init_pair(enum lock_rank a, enum lock_rank b)
{
    lock_init(&lock_a, a);
    lock_init(&lock_b, b);
    rwlock_init(&rwlock, a);
}

static void take_falling(void *unused)
{
    (void)unused;
    init_pair(LOCK_RANK_CP, LOCK_RANK_JOURNAL);
    lock_take(&lock_b);
    lock_take(&lock_a);
}

static void take_equal(void *unused)
{
    (void)unused;
    init_pair(LOCK_RANK_MAP, LOCK_RANK_MAP);
    lock_take(&lock_a);
    lock_take(&lock_b);
}

static void take_twice(void *unused)
{
    (void)unused;
    init_pair(LOCK_RANK_MAP, LOCK_RANK_MAP);
    lock_take(&lock_a);
    lock_take(&lock_a);
}

static void take2_of_one(void *unused)
{
    (void)unused;
    init_pair(LOCK_RANK_MAP, LOCK_RANK_MAP);
    lock_take2(&lock_a, &lock_a);
}

static void take2_under_higher(void *unused)
{
    (void)unused;
    init_pair(LOCK_RANK_MAP, LOCK_RANK_MAP);
    struct lock higher;
    lock_init(&higher, LOCK_RANK_JOURNAL);
    lock_take(&higher);
    lock_take2(&lock_a, &lock_b);
}

static void take_shared_falling(void *unused)
{
    (void)unused;
    init_pair(LOCK_RANK_CP, LOCK_RANK_JOURNAL);
    lock_take(&lock_b);
    rwlock_take_shared(&rwlock);
}

static void take_exclusive_falling(void *unused)
{
    (void)unused;
    init_pair(LOCK_RANK_CP, LOCK_RANK_JOURNAL);
    lock_take(&lock_b);
    rwlock_take_exclusive(&rwlock);
}

/* The highest held counts, also when it was not taken last. */
static void take_below_a_held_one(void *unused)
{
    (void)unused;
    init_pair(LOCK_RANK_CP, LOCK_RANK_JOURNAL);
    struct lock between;
    lock_init(&between, LOCK_RANK_MAP);
    lock_take(&lock_a);
    lock_take(&lock_b);
    lock_release(&lock_a);
    lock_take(&between);
}

static void release_not_held(void *unused)
{
    (void)unused;
    init_pair(LOCK_RANK_CP, LOCK_RANK_JOURNAL);
    lock_take(&lock_a);
    lock_release(&lock_b);
}

static void test_rank_aborts(void)
{
    static void (*const broken[])(void *) = {
        take_falling,
        take_equal,
        take_twice,
        take2_of_one,
        take2_under_higher,
        take_shared_falling,
        take_exclusive_falling,
        take_below_a_held_one,
        release_not_held,
    };
    for (size_t i = 0; i < ARRAY_SIZE(broken); i++)
        CU_ASSERT_TRUE(aborts_with(broken[i], NULL, "lunette: invariant failed: "));
}

#endif

static CU_TestInfo lock_tests[] = {
    {"exclusion", test_exclusion},
    {"two of a rank", test_two_of_a_rank},
    {"readers share", test_readers_share},
    {"writers exclude", test_writers_exclude},
    {"wake-up", test_wake_up},
    {"a wait ends", test_wait_ends},
    {"rising ranks", test_rising_ranks},
#ifdef LUNETTE_DEBUG_CHECKS
    {"broken order aborts", test_rank_aborts},
#endif
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"lock", NULL, NULL, NULL, NULL, lock_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
