/* SPDX-License-Identifier: BSD-3-Clause */
/* Checkpoints: the order of their writes, lost writes, retries, epochs; the node cache. */
#include "lun/pool/checkpoint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lun/pool/cache.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

static struct engine_host host;

/* "a" with 400 extents, so that its map has several nodes; nothing of it is checkpointed. */
static void start(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", 1024);
    for (uint64_t i = 0; i < 400; i++)
        CU_ASSERT_EQUAL(host_write(&host, "a", 2 * i, 1, 1, 0), 0);
    host_flush(&host);
}

/* One letter for each: S superblock, s sync, m other metadata, d data. */
static char order[512];

static void note_order(void *opaque, enum simdev_op op, const uint8_t *head)
{
    (void)opaque;
    char letter = 's';
    if (op == SIMDEV_WRITE)
    {
        struct le32 magic;
        memcpy(&magic, head + sizeof(magic), sizeof(magic));
        uint32_t value = le32_get(magic);
        letter = value == DISK_MAGIC_SUPER ? 'S' : (value & 0xffffff) == 0x4e554c ? 'm' : 'd';
    }
    size_t len = strlen(order);
    if (len + 1 < sizeof(order))
        order[len] = letter;
}

static void test_order(void)
{
    start();
    memset(order, 0, sizeof(order));
    simdev_set_hook(host.disk, note_order, NULL);
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
    simdev_set_hook(host.disk, NULL, NULL);
    /* Everything, a sync, a copy, a sync, a copy, a sync; and nothing else. */
    const char *last = strrchr(order, 'm');
    CU_ASSERT_PTR_NOT_NULL_FATAL(last);
    CU_ASSERT_STRING_EQUAL(last, "msSsSs");
    CU_ASSERT_PTR_NULL(strchr(order, 'd'));
    CU_ASSERT_EQUAL(strchr(order, 'S') - last, 2); /* no superblock before */
    host_stop(&host);
}

static void test_counts(void)
{
    start();
    struct pool_info before, after;
    pool_get_info(host.pool, &before);
    CU_ASSERT_TRUE(before.dirty_nodes >= 3);
    CU_ASSERT_TRUE(before.journal_used_bytes > 0);
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
    pool_get_info(host.pool, &after);
    CU_ASSERT_EQUAL(after.checkpoint_id, before.checkpoint_id + 1);
    CU_ASSERT_EQUAL(after.checkpoint_count, before.checkpoint_count + 1);
    CU_ASSERT_EQUAL(after.dirty_nodes, 0);
    CU_ASSERT_EQUAL(after.journal_used_bytes, 0);
    host_crash_open(&host);
    CU_ASSERT_TRUE(host_holds(&host, "a", 798, 1, 1));
    host_stop(&host);
}

/* A write that the disk forgets: found when it is needed, never wrong content. */
static void test_lost_writes(void)
{
    unsigned noticed = 0, harmless = 0;
    for (uint64_t nth = 1; nth < 40; nth++)
    {
        start();
        struct simdev_fault fault = {.op = SIMDEV_WRITE, .kind = SIMDEV_LOSE, .nth = nth};
        simdev_arm(host.disk, &fault);
        CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
        bool was_hit = simdev_fault_hits(host.disk) > 0;
        simdev_arm(host.disk, NULL);
        host_crash(&host);
        int r = host_open(&host, NULL);
        bool is_whole = r == 0 && host_check(&host) == 0;
        if (is_whole)
            CU_ASSERT_TRUE(host_holds(&host, "a", 0, 1, 1) && host_holds(&host, "a", 798, 1, 1));
        noticed += was_hit && !is_whole;
        harmless += was_hit && is_whole;
        host_stop(&host);
        if (!was_hit)
            break;
    }
    CU_ASSERT_TRUE(noticed >= 3);  /* nodes, pages, bitmaps, tables */
    CU_ASSERT_TRUE(harmless >= 2); /* either copy of the superblock */
}

static void test_retry(void)
{
    start();
    unsigned tries = CHECKPOINT_TRIES;
    uint64_t before = host.pool->cp_count;
    for (unsigned i = 0; i < 3 * CHECKPOINT_TRIES; i++) /* a full journal: as often as it takes */
        CU_ASSERT_EQUAL(checkpoint_retry(host.pool, -ERESTART, &tries), 0);
    CU_ASSERT_EQUAL(host.pool->cp_count, before + 3 * CHECKPOINT_TRIES);
    for (unsigned i = 1; i < CHECKPOINT_TRIES; i++)
        CU_ASSERT_EQUAL(checkpoint_retry(host.pool, -EAGAIN, &tries), 0);
    CU_ASSERT_EQUAL(checkpoint_retry(host.pool, -EAGAIN, &tries), -ENOSPC);
    CU_ASSERT_TRUE(checkpoint_may_retry(-EAGAIN) && checkpoint_may_retry(-ERESTART));
    CU_ASSERT_FALSE(checkpoint_may_retry(0) || checkpoint_may_retry(-ENOSPC));
    host_stop(&host);
}

static void test_epochs(void)
{
    start();
    uint32_t epoch = epoch_enter(host.pool);
    CU_ASSERT_EQUAL(host.pool->reads.counts[epoch & 1], 1);
    epoch_leave(host.pool, epoch);
    epoch_drain(host.pool); /* waits for nobody */
    uint32_t next = epoch_enter(host.pool);
    CU_ASSERT_NOT_EQUAL(next & 1, epoch & 1);
    CU_ASSERT_EQUAL(host.pool->reads.counts[epoch & 1], 0);
    epoch_leave(host.pool, next);
    host_stop(&host);
}

/* ---- the node cache */

static void test_states(void)
{
    start();
    struct cache *cache = host.pool->cache;
    struct tree *map = &host_line(&host, "a")->map;
    struct node *node = cache_find(cache, map->root);
    CU_ASSERT_PTR_NOT_NULL_FATAL(node);
    CU_ASSERT_EQUAL(node->state, NODE_DIRTY);
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
    CU_ASSERT_EQUAL(node->state, NODE_CLEAN);
    CU_ASSERT_EQUAL(disk_node_verify(host.pool, node->disk, map->root, DISK_TREE_MAP), 0);
    struct node_ref other = map->root;
    other.birth++;
    CU_ASSERT_EQUAL(disk_node_verify(host.pool, node->disk, other, DISK_TREE_MAP), -EBADMSG);
    CU_ASSERT_EQUAL(disk_node_verify(host.pool, node->disk, map->root, DISK_TREE_DROPS), -EBADMSG);
    other = map->root;
    other.cp_id++;
    CU_ASSERT_PTR_NULL(cache_find(cache, other));
    other.blk = host.pool->size_blks;
    struct node *none = NULL;
    CU_ASSERT_EQUAL(cache_load(cache, other, DISK_TREE_MAP, &none), -EBADMSG);
    CU_ASSERT_EQUAL(cache_load(cache, map->root, DISK_TREE_DROPS, &none), -EBADMSG);
    cache_unpin(cache, node);
    host_stop(&host);
}

/* What is pinned stays; what is not makes room for the rest. */
static void test_eviction(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", 1 << 16);
    for (uint64_t i = 0; i < 4000; i++) /* some twenty leaves */
        CU_ASSERT_EQUAL(host_write(&host, "a", 16 * i % 65536, 1, 1, 0), 0);
    for (uint64_t lun = 0; lun < 12; lun++)
    {
        char name[8] = {'c', (char)('a' + lun), 0};
        host_clone(&host, "a", name);
        for (uint64_t i = 0; i < 16; i++) /* each clone copies leaves of its own */
            CU_ASSERT_EQUAL(host_write(&host, name, 4096 * i, 1, 2, 0), 0);
    }
    host_close(&host);
    CU_ASSERT_EQUAL_FATAL(host_open(&host, &(struct pool_open_options){.cache_bytes = 1}), 0);
    struct cache *cache = host.pool->cache;
    struct node *node = NULL;
    struct node_ref ref = host_line(&host, "a")->map.root;
    CU_ASSERT_EQUAL_FATAL(cache_load(cache, ref, DISK_TREE_MAP, &node), 0);
    for (unsigned round = 0; round < 3; round++)
    {
        for (uint64_t lun = 0; lun < 12; lun++)
        {
            char name[8] = {'c', (char)('a' + lun), 0};
            for (uint64_t i = 0; i < 16; i++)
                CU_ASSERT_TRUE(host_holds(&host, name, 4096 * i, 1, 2));
        }
    }
    struct cache_stats stats;
    cache_get_stats(cache, &stats);
    CU_ASSERT_TRUE(stats.total <= 64 + 1);
    CU_ASSERT_TRUE(stats.misses > 64);
    struct node *again = cache_find(cache, ref);
    CU_ASSERT_PTR_EQUAL(again, node);
    cache_unpin(cache, again);
    cache_unpin(cache, node);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

/* ---- jobs */

static void test_jobs(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", 1024);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 500, 1, 0), 0);
    struct job_info *list = NULL;
    size_t count = 9;
    CU_ASSERT_EQUAL(job_list(host.pool, &list, &count), 0);
    CU_ASSERT_EQUAL(count, 0);
    free(list);
    host_delete(&host, "a");
    CU_ASSERT_EQUAL(job_list(host.pool, &list, &count), 0);
    CU_ASSERT_EQUAL_FATAL(count, 1);
    CU_ASSERT_STRING_EQUAL(list[0].kind, "delete");
    CU_ASSERT_STRING_EQUAL(list[0].state, "running");
    CU_ASSERT_EQUAL(list[0].total_blks, 500);
    CU_ASSERT_EQUAL(job_wait(host.pool, list[0].id, 0), 0);
    free(list);
    CU_ASSERT_EQUAL(host_data_blks(&host), 0);
    CU_ASSERT_EQUAL(pool_run_job_step(host.pool), 0);
    host_stop(&host);
}

/* The threads do what the caller does without them. */
static void test_threads(void)
{
    host_start(&host, NULL);
    host_start_threads(&host);
    host_create(&host, "a", 1024);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 500, 1, LUN_FUA), 0);
    for (unsigned i = 0; i < 30; i++) /* also when their thread has not noticed yet */
    {
        host_snapshot(&host, "a", "s");
        CU_ASSERT_EQUAL(host_write(&host, "a", 0, 100, 2, 0), 0);
        host_delete(&host, "a@s");
        CU_ASSERT_EQUAL(job_wait(host.pool, 0, 0), 0);
        CU_ASSERT_EQUAL(host_data_blks(&host), 500);
    }
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_reopen(&host);
    CU_ASSERT_TRUE(host_holds(&host, "a", 0, 100, 2));
    CU_ASSERT_TRUE(host_holds(&host, "a", 100, 400, 1));
    host_stop(&host);
}

/* Who waits right after a delete waits for it, though the thread may not have woken up yet. */
static void test_waiting(void)
{
    host_start(&host, NULL);
    host_start_threads(&host);
    for (unsigned round = 0; round < 100; round++)
    {
        host_create(&host, "a", 64);
        CU_ASSERT_EQUAL(host_write(&host, "a", 0, 50, 1, 0), 0);
        host_delete(&host, "a");
        CU_ASSERT_EQUAL(job_wait(host.pool, 0, 0), 0);
        CU_ASSERT_EQUAL(host_data_blks(&host), 0);
    }
    host_stop(&host);
}

/* A shrink leaves a tail, which a job unmaps; growing again shows zeros. */
static void test_trim(void)
{
    start();
    CU_ASSERT_EQUAL(lun_resize(host.pool, "a", 100 * BLK_BYTES, 0, &host.why), -EPERM);
    CU_ASSERT_EQUAL(lun_resize(host.pool, "a", 100 * BLK_BYTES, LUN_FORCE, &host.why), 0);
    host_settle(&host);
    CU_ASSERT_EQUAL(host_object(&host, "a")->trim_end_bytes, 0);
    CU_ASSERT_EQUAL(host_data_blks(&host), 50);
    CU_ASSERT_EQUAL(lun_resize(host.pool, "a", 1024 * BLK_BYTES, 0, &host.why), 0);
    CU_ASSERT_TRUE(host_holds(&host, "a", 99, 925, 0));
    CU_ASSERT_TRUE(host_holds(&host, "a", 98, 1, 1));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

static CU_TestInfo checkpoint_tests[] = {
    {"order of writes", test_order},  {"figures", test_counts}, {"lost writes", test_lost_writes},
    {"waiting for room", test_retry}, {"epochs", test_epochs},  CU_TEST_INFO_NULL,
};

static CU_TestInfo cache_tests[] = {
    {"states of a node", test_states},
    {"eviction", test_eviction},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo jobs_tests[] = {
    {"listing and waiting", test_jobs},
    {"with threads", test_threads},
    {"waiting for them", test_waiting},
    {"the tail of a shrunken LUN", test_trim},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"checkpoint", NULL, NULL, NULL, NULL, checkpoint_tests},
        {"cache", NULL, NULL, NULL, NULL, cache_tests},
        {"jobs", NULL, NULL, NULL, NULL, jobs_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
