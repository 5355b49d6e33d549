/* SPDX-License-Identifier: BSD-3-Clause */
/* 1a and 1c: the reasons to have clones, and the limits that there are not. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/features/features.h"

/* ---- 1a ------------------------------------------------------------------------------------ */

/* What a clone asks of the disk and of the metadata: what its time is made of. */
struct clone_cost
{
    uint64_t reads, writes, syncs, bytes, journal_bytes, nodes;
};

static struct clone_cost cost_now(void)
{
    struct pool_info info = feature_pool();
    return (struct clone_cost){.reads = simdev_count(host.disk, SIMDEV_READ),
                               .writes = simdev_count(host.disk, SIMDEV_WRITE),
                               .syncs = simdev_count(host.disk, SIMDEV_SYNC),
                               .bytes = simdev_bytes_written(host.disk),
                               .journal_bytes = info.journal_used_bytes,
                               .nodes = info.cache_hits + info.cache_misses};
}

static struct clone_cost cost_of_clone(const char *source, const char *name)
{
    host_settle(&host);
    struct clone_cost before = cost_now();
    CU_ASSERT_EQUAL(feature_clone(source, name, 0), 0);
    struct clone_cost after = cost_now();
    return (struct clone_cost){.reads = after.reads - before.reads,
                               .writes = after.writes - before.writes,
                               .syncs = after.syncs - before.syncs,
                               .bytes = after.bytes - before.bytes,
                               .journal_bytes = after.journal_bytes - before.journal_bytes,
                               .nodes = after.nodes - before.nodes};
}

static void test_fast(void)
{
    feature_start(0);
    host_create(&host, "one", 1);
    host_create(&host, "all", 4000);
    CU_ASSERT_EQUAL(feature_create("big", UINT64_C(64) << 40, false, NULL), 0);
    CU_ASSERT_EQUAL(host_write(&host, "one", 0, 1, 1, 0), 0);
    CU_ASSERT_EQUAL(host_write(&host, "big", UINT64_C(1) << 33, 1, 1, 0), 0);
    for (uint64_t lba = 0; lba < 4000; lba += 2) /* as many extents as there can be */
        CU_ASSERT_EQUAL(host_write(&host, "all", lba, 1, 1, 0), 0);
    struct clone_cost one = cost_of_clone("one", "c1");
    struct clone_cost all = cost_of_clone("all", "c2");
    struct clone_cost big = cost_of_clone("big", "c3");
    CU_ASSERT_TRUE(one.writes > 0);
    CU_ASSERT_EQUAL(one.reads, 0);
    CU_ASSERT_EQUAL(memcmp(&one, &all, sizeof(one)), 0);
    CU_ASSERT_EQUAL(memcmp(&one, &big, sizeof(one)), 0);
    feature_stop();
}

static void test_space_efficient(void)
{
    feature_start(0);
    host_create(&host, "base", 2000);
    for (uint64_t lba = 0; lba < 2000; lba += 2)
        CU_ASSERT_EQUAL(host_write(&host, "base", lba, 1, 1, 0), 0);
    host_settle(&host);
    struct pool_info before = feature_pool();
    host_clone(&host, "base", "clone");
    host_settle(&host);
    struct pool_info after = feature_pool();
    CU_ASSERT_EQUAL(after.data_bytes, before.data_bytes);
    CU_ASSERT_TRUE(after.metadata_bytes - before.metadata_bytes <= 2 * BLK_BYTES); /* of 1000 */
    CU_ASSERT_EQUAL(after.mapped_bytes, 2 * before.mapped_bytes);
    CU_ASSERT_EQUAL(host_info(&host, "clone").own_bytes, 0);
    CU_ASSERT_EQUAL(host_info(&host, "clone").shared_bytes, 1000 * BLK_BYTES);
    CU_ASSERT_EQUAL(host_write(&host, "clone", 0, 1, 2, 0), 0);
    CU_ASSERT_EQUAL(host_write(&host, "base", 2, 1, 3, 0), 0);
    host_settle(&host);
    CU_ASSERT_EQUAL(feature_pool().data_bytes, before.data_bytes + 2 * BLK_BYTES);
    feature_stop();
}

static void test_as_many_as_wanted(void)
{
    feature_start(0);
    host_create(&host, "golden", 64);
    CU_ASSERT_EQUAL(host_write(&host, "golden", 0, 64, 1, 0), 0);
    CU_ASSERT_EQUAL(feature_clone("golden", "vm-%03d", 200), 0);
    CU_ASSERT_TRUE(host_holds(&host, "vm-199", 0, 64, 1));
    CU_ASSERT_EQUAL(host_write(&host, "vm-007", 0, 64, 0xee, 0), 0); /* it breaks */
    const char *names[] = {"vm-007"};
    struct lun_info before = host_info(&host, "vm-007");
    CU_ASSERT_EQUAL(lun_redeploy(host.pool, "golden", names, 1, "undo", 0, &host.why), 0);
    struct lun_info after = host_info(&host, "vm-007");
    CU_ASSERT_TRUE(host_holds(&host, "vm-007", 0, 64, 1));
    CU_ASSERT_TRUE(host_holds(&host, "vm-007@undo", 0, 64, 0xee));
    CU_ASSERT_EQUAL(memcmp(before.uuid, after.uuid, sizeof(after.uuid)), 0);
    feature_stop();
}

/* Ten times as many clones take ten times as much, in making, in memory of the pool and in lists.
 */
static void test_nine_thousand_seats(void)
{
    enum
    {
        FEW = 1000,
        MANY = 10000
    };
    feature_start(256);
    host_create(&host, "golden", 16);
    CU_ASSERT_EQUAL(host_write(&host, "golden", 0, 16, 1, 0), 0);
    uint64_t bytes[2];
    for (unsigned i = 0; i < 2; i++)
    {
        host_settle(&host);
        uint64_t before = simdev_bytes_written(host.disk);
        CU_ASSERT_EQUAL(
            feature_clone("golden", i == 0 ? "few-%05d" : "vm-%05d", i == 0 ? FEW : MANY), 0);
        bytes[i] = simdev_bytes_written(host.disk) - before;
    }
    CU_ASSERT_TRUE(bytes[1] <= bytes[0] * 11);
    struct lun_info *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL_FATAL(lun_list(host.pool, NULL, &list, &count, &host.why), 0);
    CU_ASSERT_EQUAL(count, FEW + MANY + 1);
    for (size_t i = 1; i < count; i++)
        if (strcmp(list[i - 1].name, list[i].name) >= 0)
            CU_FAIL("the list is not in order");
    free(list);
    CU_ASSERT_EQUAL(feature_pool().data_bytes, 16 * BLK_BYTES);
    CU_ASSERT_TRUE(host_holds(&host, "vm-09999", 0, 16, 1));
    feature_stop();
}

static unsigned changes_of_source, changes_of_others;

static void note_change(void *opaque, enum lun_change change, uint64_t lun_id, const char *name)
{
    (void)change, (void)lun_id, (void)opaque;
    if (strcmp(name, "source") == 0)
        changes_of_source++;
    else
        changes_of_others++;
}

/* The handle of a client goes on, and front ends hear of nothing that they would have to tell it.
 * How long writes wait is measured by tests/bench (clone-pause). */
static void test_no_client_impact(void)
{
    uint8_t block[BLK_BYTES];
    struct lun *lun = NULL;
    feature_start(0);
    changes_of_source = changes_of_others = 0;
    host_create(&host, "source", 64);
    pool_set_change_hook(host.pool, note_change, NULL);
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "source", 0, &lun, &host.why), 0);
    for (unsigned i = 0; i < 20; i++)
    {
        char name[16];
        memset(block, (int)i + 1, sizeof(block));
        CU_ASSERT_EQUAL(lun_write(lun, block, sizeof(block), 0, 0), 0);
        snprintf(name, sizeof(name), "c%u", i);
        CU_ASSERT_EQUAL(feature_clone("source", name, 0), 0);
    }
    memset(block, 99, sizeof(block));
    CU_ASSERT_EQUAL(lun_write(lun, block, sizeof(block), 0, 0), 0);
    for (unsigned i = 0; i < 20; i++)
    {
        char name[16];
        snprintf(name, sizeof(name), "c%u", i);
        CU_ASSERT_TRUE(host_holds(&host, name, 0, 1, (uint8_t)(i + 1)));
    }
    lun_close(lun);
    CU_ASSERT_EQUAL(changes_of_source, 0);
    CU_ASSERT_EQUAL(changes_of_others, 20);
    pool_set_change_hook(host.pool, NULL, NULL);
    feature_stop();
}

/* Every order of deleting a source, its clone and the clone's clone. */
static void test_free_deletion(void)
{
    static const unsigned orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                          {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static const char *const names[] = {"a", "b", "c"};
    for (unsigned o = 0; o < 6; o++)
    {
        feature_start(0);
        host_create(&host, "a", 32);
        CU_ASSERT_EQUAL(host_write(&host, "a", 0, 32, 1, 0), 0);
        host_clone(&host, "a", "b");
        CU_ASSERT_EQUAL(host_write(&host, "b", 0, 8, 2, 0), 0);
        host_clone(&host, "b", "c");
        CU_ASSERT_EQUAL(host_write(&host, "c", 4, 8, 3, 0), 0);
        for (unsigned i = 0; i < 3; i++)
        {
            CU_ASSERT_EQUAL(lun_delete(host.pool, names[orders[o][i]], false, 0, &host.why), 0);
            host_settle(&host);
            CU_ASSERT_TRUE(!feature_is_there("a") || host_holds(&host, "a", 0, 32, 1));
            CU_ASSERT_TRUE(!feature_is_there("b") ||
                           (host_holds(&host, "b", 0, 8, 2) && host_holds(&host, "b", 8, 24, 1)));
            CU_ASSERT_TRUE(!feature_is_there("c") ||
                           (host_holds(&host, "c", 0, 4, 2) && host_holds(&host, "c", 4, 8, 3) &&
                            host_holds(&host, "c", 12, 20, 1)));
        }
        CU_ASSERT_EQUAL(feature_pool().data_bytes, 0);
        feature_stop();
    }
}

static void test_first_class(void)
{
    feature_start(0);
    host_create(&host, "a", 32);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 32, 1, 0), 0);
    host_clone(&host, "a", "b");
    CU_ASSERT_EQUAL(lun_resize(host.pool, "b", 64 * BLK_BYTES, 0, &host.why), 0);
    CU_ASSERT_EQUAL(host_write(&host, "b", 60, 4, 2, 0), 0);
    host_snapshot(&host, "b", "s");
    host_clone(&host, "b@s", "c");
    host_clone(&host, "b", "d");
    CU_ASSERT_TRUE(host_holds(&host, "c", 60, 4, 2) && host_holds(&host, "d", 0, 32, 1));
    CU_ASSERT_EQUAL(lun_resize(host.pool, "d", 16 * BLK_BYTES, LUN_FORCE, &host.why), 0);
    CU_ASSERT_EQUAL(lun_rename(host.pool, "d", "e", &host.why), 0);
    CU_ASSERT_EQUAL(snapshot_restore(host.pool, "b", "s", 0, &host.why), 0);
    CU_ASSERT_EQUAL(host_info(&host, "a").size_bytes, 32 * BLK_BYTES);
    CU_ASSERT_EQUAL(host_info(&host, "c").size_bytes, 64 * BLK_BYTES);
    CU_ASSERT_EQUAL(host_info(&host, "e").size_bytes, 16 * BLK_BYTES);
    feature_stop();
}

enum
{
    NODES = 6,
    NODE_BLKS = 48
};

/* All LUNs of one family, written at random: each holds what was written to it alone. */
static void test_isolation(void)
{
    static const char *const names[NODES] = {"a", "a@s", "b", "c", "d", "e"};
    static const char *const sources[NODES] = {NULL, NULL, "a", "a@s", "b", "d"};
    static uint8_t content[NODES][NODE_BLKS];
    struct rng rng = rng_of(7);
    feature_start(0);
    host_create(&host, "a", NODE_BLKS);
    memset(content, 1, sizeof(content));
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, NODE_BLKS, 1, 0), 0);
    host_snapshot(&host, "a", "s");
    for (unsigned i = 2; i < NODES; i++)
        host_clone(&host, sources[i], names[i]);
    for (unsigned round = 0; round < 30; round++)
    {
        for (unsigned i = 0; i < 10; i++)
        {
            unsigned node = (unsigned)rng_below(&rng, NODES);
            uint64_t lba = rng_below(&rng, NODE_BLKS), n = 1 + rng_below(&rng, NODE_BLKS - lba);
            uint8_t value = (uint8_t)rng_below(&rng, 255);
            if (node == 1) /* the snapshot: nobody can */
                continue;
            CU_ASSERT_EQUAL(value == 0 ? host_unmap(&host, names[node], lba, n)
                                       : host_write(&host, names[node], lba, n, value, 0),
                            0);
            memset(content[node] + lba, value, n);
        }
        for (unsigned node = 0; node < NODES; node++)
            for (uint64_t lba = 0; lba < NODE_BLKS; lba++)
                CU_ASSERT_TRUE(host_holds(&host, names[node], lba, 1, content[node][lba]));
    }
    feature_stop();
}

/* ---- 1c ------------------------------------------------------------------------------------ */

static void test_no_255(void)
{
    feature_start(64);
    CU_ASSERT_EQUAL(feature_volume("v", 0, false), 0);
    host_create(&host, "v/a", 16);
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 0, 16, 1, 0), 0);
    CU_ASSERT_EQUAL(feature_volume_snapshot("v", "s", 0), 0);
    for (unsigned i = 0; i < 300; i++) /* of one volume, and so 301 users of each block */
    {
        char name[16];
        snprintf(name, sizeof(name), "v%u", i);
        CU_ASSERT_EQUAL(feature_volume_clone("v", "s", name), 0);
    }
    CU_ASSERT_EQUAL(feature_clone("v/a", "v/c%d", 600), 0);
    host_settle(&host);
    CU_ASSERT_EQUAL(feature_pool().data_bytes, 16 * BLK_BYTES); /* not one physical copy */
    CU_ASSERT_TRUE(host_holds(&host, "v299/a", 0, 16, 1));
    CU_ASSERT_TRUE(host_holds(&host, "v/c599", 0, 16, 1));
    CU_ASSERT_EQUAL(host_write(&host, "v/c255", 0, 1, 2, 0), 0);
    host_settle(&host);
    CU_ASSERT_EQUAL(feature_pool().data_bytes, 17 * BLK_BYTES);
    feature_stop();
}

static void test_chain_in_a_volume(void)
{
    feature_start(64);
    CU_ASSERT_EQUAL(feature_volume("v", 0, false), 0);
    host_create(&host, "v/a", 16);
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 0, 16, 1, 0), 0);
    CU_ASSERT_EQUAL(feature_clone("v/a", "v/b%03d", 256), 0);
    CU_ASSERT_EQUAL(feature_clone("v/b255", "v/c%03d", 256), 0);
    CU_ASSERT_EQUAL(feature_clone("v/c255", "v/d%03d", 256), 0);
    host_settle(&host);
    CU_ASSERT_EQUAL(feature_pool().data_bytes, 16 * BLK_BYTES);
    CU_ASSERT_TRUE(host_holds(&host, "v/d255", 0, 16, 1));
    feature_stop();
}

static void test_chain_by_volumes(void)
{
    feature_start(64);
    CU_ASSERT_EQUAL(feature_volume("v", 0, false), 0);
    host_create(&host, "v/a", 16);
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 0, 16, 1, 0), 0);
    CU_ASSERT_EQUAL(feature_clone("v/a", "v/b%03d", 255), 0);
    CU_ASSERT_EQUAL(feature_volume_clone("v", NULL, "w"), 0);
    CU_ASSERT_EQUAL(feature_volume_clone("v", NULL, "x"), 0);
    CU_ASSERT_EQUAL(feature_volume_clone("x", NULL, "y"), 0);
    host_settle(&host);
    CU_ASSERT_EQUAL(feature_volume_info("y").lun_count, 256);
    CU_ASSERT_EQUAL(feature_pool().data_bytes, 16 * BLK_BYTES);
    CU_ASSERT_TRUE(host_holds(&host, "y/b254", 0, 16, 1));
    feature_stop();
}

/* What one read of a LUN that nobody looked at before asks of the disk. */
static uint64_t reads_of_cold(const char *name)
{
    host_reopen(&host);
    uint64_t before = simdev_count(host.disk, SIMDEV_READ);
    CU_ASSERT_TRUE(host_holds(&host, name, 500, 1, 1));
    return simdev_count(host.disk, SIMDEV_READ) - before;
}

static void test_clone_of_clone(void)
{
    feature_start(0);
    host_create(&host, "c0", 1000);
    for (uint64_t lba = 0; lba < 1000; lba += 2) /* a map of two levels */
        CU_ASSERT_EQUAL(host_write(&host, "c0", lba, 1, 1, 0), 0);
    for (unsigned i = 1; i <= 100; i++)
    {
        char source[16], name[16];
        snprintf(source, sizeof(source), "c%u", i - 1);
        snprintf(name, sizeof(name), "c%u", i);
        host_clone(&host, source, name);
        CU_ASSERT_EQUAL(host_write(&host, name, i, 1, 2, 0), 0);
    }
    host_settle(&host);
    CU_ASSERT_EQUAL(reads_of_cold("c100"), reads_of_cold("c0"));
    feature_stop();
}

CU_TestInfo clone_feature_tests[] = {
    {"1a: Fast", test_fast},
    {"1a: Space efficient", test_space_efficient},
    {"1a: As many copies as wanted", test_as_many_as_wanted},
    {"1a: 9 000-seat VDI reference", test_nine_thousand_seats},
    {"1a: No client impact", test_no_client_impact},
    {"1a: Free deletion", test_free_deletion},
    {"1a: Clones are first-class", test_first_class},
    {"1a: Destructive tests isolated", test_isolation},
    {"1c: Clones per volume; Pointers per block; Beyond 255", test_no_255},
    {"1c: Chaining past the limit, same volume", test_chain_in_a_volume},
    {"1c: Chaining past the limit, via volumes", test_chain_by_volumes},
    {"1c: Clone of clone", test_clone_of_clone},
    CU_TEST_INFO_NULL,
};
