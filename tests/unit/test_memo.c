/* SPDX-License-Identifier: BSD-3-Clause */
/* Extents found again without a lock: never one of an older map. */
#include "lun/map/memo.h"

#include <pthread.h>
#include <stdatomic.h>

#include "tests/lib/cunit_main.h"
#include "tests/lib/rng.h"
#include "tests/unit/engine_host.h"

enum
{
    LUN_BLKS = 1 << 18,
    READERS = 3,
    CHANGES = 2000,
    FOUND = 20000, /* that entries are found between the changes */
    THREAD_BLKS = 4096,
};

static const struct emap_run EXTENT = {.lba = 1000, .len_blks = 100, .blk = 5000};

static void test_find(void)
{
    struct memo_place place = {.memo = NULL};
    struct emap_run run = {0};
    CU_ASSERT_FALSE(memo_find(&place, 1000, 1, &run));
    memo_put(&place, memo_version(&place), &EXTENT, 1010, LUN_BLKS);
    CU_ASSERT_TRUE(memo_find(&place, 1000, 1, &run));
    CU_ASSERT_EQUAL(run.blk, 5000);
    CU_ASSERT_EQUAL(run.len_blks, 1);
    CU_ASSERT_TRUE(memo_find(&place, 1010, 1000, &run));
    CU_ASSERT_EQUAL(run.lba, 1010);
    CU_ASSERT_EQUAL(run.blk, 5010);
    CU_ASSERT_EQUAL(run.len_blks, 90);
    CU_ASSERT_FALSE(memo_find(&place, 999, 1, &run));
    CU_ASSERT_FALSE(memo_find(&place, 1100, 1, &run));
    memo_destroy(&place);
    CU_ASSERT_FALSE(memo_find(&place, 1000, 1, &run));
    memo_destroy(&place);
}

static void test_step(void)
{
    struct memo_place place = {.memo = NULL};
    struct emap_run run, moved = EXTENT;
    moved.blk = 9000;
    memo_put(&place, memo_version(&place), &EXTENT, 1000, LUN_BLKS);
    memo_step(&place);
    CU_ASSERT_FALSE(memo_find(&place, 1000, 1, &run));
    memo_put(&place, memo_version(&place), &moved, 1000, LUN_BLKS);
    CU_ASSERT_TRUE(memo_find(&place, 1000, 1, &run));
    CU_ASSERT_EQUAL(run.blk, 9000);
    memo_destroy(&place);
}

/* What was looked up before a step is not taken for what is there after it. */
static void test_late_put(void)
{
    struct memo_place place = {.memo = NULL};
    struct emap_run run;
    uint64_t version = memo_version(&place);
    memo_step(&place);
    memo_put(&place, version, &EXTENT, 1000, LUN_BLKS);
    CU_ASSERT_FALSE(memo_find(&place, 1000, 1, &run));
    memo_destroy(&place);
}

/* Every size finds a slot for its last block, and keeps many regions apart. */
static void test_sizes(void)
{
    static const uint64_t sizes[] = {0, 1, 63, 64, 65, 32768, 32769, LUN_BLKS, UINT64_C(1) << 38};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
    {
        struct memo_place place = {.memo = NULL};
        uint64_t last = sizes[i] ? sizes[i] - 1 : 0;
        struct emap_run first = {.lba = 0, .len_blks = 1, .blk = 77};
        struct emap_run end = {.lba = last, .len_blks = 1, .blk = 78}, run = {0};
        memo_put(&place, memo_version(&place), &first, 0, sizes[i]);
        memo_put(&place, memo_version(&place), &end, last, sizes[i]);
        CU_ASSERT_TRUE(memo_find(&place, last, 1, &run));
        CU_ASSERT_EQUAL(run.blk, 78);
        CU_ASSERT_EQUAL(memo_find(&place, 0, 1, &run), sizes[i] > 64 || last == 0);
        memo_destroy(&place);
    }
}

/* The map of the threads' test: block 1 + lba + n * THREAD_BLKS after n changes. */
static struct memo_place shared;
static _Atomic uint64_t changes;
static _Atomic bool is_over;
static _Atomic unsigned wrong;
static struct rwlock map_lock;
static _Atomic uint64_t found;

static void *reader(void *opaque)
{
    struct rng rng = rng_of((uint64_t)(uintptr_t)opaque);
    while (!atomic_load(&is_over))
    {
        uint64_t lba = rng_below(&rng, THREAD_BLKS);
        uint64_t before = atomic_load(&changes);
        struct emap_run run;
        if (memo_find(&shared, lba, 1, &run))
        {
            found++;
            uint64_t after = atomic_load(&changes) + 1; /* one may be under way */
            uint64_t n = (run.blk - 1) / THREAD_BLKS;
            wrong += n < before || n > after || (run.blk - 1) % THREAD_BLKS != lba;
            continue;
        }
        rwlock_take_shared(&map_lock);
        uint64_t version = memo_version(&shared);
        uint64_t first = lba / 16 * 16, n = atomic_load(&changes);
        struct emap_run extent = {.lba = first, .len_blks = 16, .blk = 1 + first + n * THREAD_BLKS};
        memo_put(&shared, version, &extent, lba, THREAD_BLKS);
        rwlock_release(&map_lock);
    }
    return NULL;
}

static void test_threads(void)
{
    pthread_t threads[READERS];
    rwlock_init(&map_lock, LOCK_RANK_MAP);
    for (uintptr_t i = 0; i < READERS; i++)
        CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, reader, (void *)(i + 1)), 0);
    while (atomic_load(&changes) < CHANGES || atomic_load(&found) < FOUND)
    {
        rwlock_take_exclusive(&map_lock);
        memo_step(&shared);
        atomic_fetch_add(&changes, 1);
        rwlock_release(&map_lock);
    }
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    CU_ASSERT_EQUAL(wrong, 0);
    rwlock_destroy(&map_lock);
    memo_destroy(&shared);
}

/* Reads of a LUN after each kind of change of its map. */
static void test_engine(void)
{
    struct engine_host host;
    host_start(&host, NULL);
    host_create(&host, "a", 512);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 512, 1, 0), 0);
    CU_ASSERT_TRUE(host_holds(&host, "a", 0, 512, 1));
    CU_ASSERT_TRUE(host_holds(&host, "a", 7, 1, 1)); /* now it is known */
    host_snapshot(&host, "a", "s");
    CU_ASSERT_EQUAL(host_write(&host, "a", 7, 1, 2, 0), 0);
    CU_ASSERT_TRUE(host_holds(&host, "a", 7, 1, 2));
    CU_ASSERT_TRUE(host_holds(&host, "a@s", 7, 1, 1));
    CU_ASSERT_EQUAL(host_unmap(&host, "a", 4, 8), 0);
    CU_ASSERT_TRUE(host_holds(&host, "a", 7, 1, 0));
    CU_ASSERT_TRUE(host_holds(&host, "a", 12, 4, 1));
    CU_ASSERT_EQUAL(snapshot_restore(host.pool, "a", "s", 0, &host.why), 0);
    CU_ASSERT_TRUE(host_holds(&host, "a", 7, 1, 1));
    struct lun *lun;
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "a@s", LUN_READ_ONLY, &lun, &host.why), 0);
    uint8_t block[LUN_BLK_BYTES];
    CU_ASSERT_EQUAL(lun_read(lun, block, sizeof(block), 0), 0);
    CU_ASSERT_EQUAL(lun_delete(host.pool, "a", true, LUN_FORCE, &host.why), 0);
    CU_ASSERT_EQUAL(lun_read(lun, block, sizeof(block), 0), -ESTALE);
    lun_close(lun);
    host_settle(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

static CU_TestInfo memo_tests[] = {
    {"finding the rest of an extent", test_find},
    {"a step of the version", test_step},
    {"an extent looked up before a step", test_late_put},
    {"LUNs of all sizes", test_sizes},
    {"readers beside changes", test_threads},
    {"reads of a LUN whose map changes", test_engine},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"memo", NULL, NULL, NULL, NULL, memo_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
