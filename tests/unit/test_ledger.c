/* SPDX-License-Identifier: BSD-3-Clause */
/* The ledger: worst cases of nodes, volumes and what they are charged, merges that wait. */
#include "lun/volume/ledger.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/pool/tree.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

static struct engine_host host;

static void stop(void)
{
    CU_ASSERT_EQUAL(host_check(&host), 0);
    if (host.said[0])
        fprintf(stderr, "%s\n", host.said);
    host_stop(&host);
}

static struct pool_info pool_info(void)
{
    struct pool_info info;
    pool_get_info(host.pool, &info);
    return info;
}

/* ---- the most nodes ------------------------------------------------------------------------ */

enum
{
    NODES_LUN_BLKS = 6000,
    NODES_LOW = 226, /* what a node that grew at its end keeps */
};

static void start_large(void)
{
    static const struct pool_create_options options = {
        .name = "unit", .size_bytes = 160 << 20, .group_blks = 4096};
    host_start(&host, &options);
}

static void put(const char *name, uint64_t lba)
{
    CU_ASSERT_EQUAL(host_write(&host, name, lba, 1, 7, 0), 0);
}

/*
 * The pattern that makes the most leaves where a leaf may be divided late anywhere: the first leaf
 * keeps its 226 entries and loses 27 at its end, again and again. Blocks of a run are written from
 * its end on, so that no two of them join.
 */
static void chop(const char *name)
{
    for (uint64_t i = 0; i < NODES_LOW; i++)
        put(name, 2 * i);
    for (uint64_t end = NODES_LUN_BLKS; end > 2 * NODES_LOW + 27; end -= 27)
    {
        for (uint64_t lba = end - 2; lba >= end - 27; lba--)
            put(name, lba);
        put(name, end - 1);
    }
}

static void test_nodes_of_a_map(void)
{
    uint64_t most = ledger_nodes_max(NODES_LUN_BLKS, false, 0);
    CU_ASSERT_TRUE(most < NODES_LUN_BLKS / 100);
    start_large();
    host_create(&host, "a", NODES_LUN_BLKS);
    host.pool->splits_narrowly = true; /* as it was once: the pattern is what it takes */
    chop("a");
    CU_ASSERT_TRUE(host_line(&host, "a")->own_node_blks > 3 * most);
    host.pool->splits_narrowly = false;
    host_create(&host, "b", NODES_LUN_BLKS);
    chop("b");
    CU_ASSERT_TRUE(host_line(&host, "b")->own_node_blks <= most);
    stop();
}

/* Random writes and unmaps, so that leaves become nearly empty and are filled again. */
static void churn(const char *name, struct rng *rng, uint64_t most)
{
    for (unsigned round = 0; round < 6; round++)
    {
        for (unsigned i = 0; i < 3000; i++)
            put(name, rng_below(rng, NODES_LUN_BLKS));
        CU_ASSERT_TRUE(host_line(&host, name)->own_node_blks <= most);
        for (unsigned i = 0; i < 60; i++)
            CU_ASSERT_EQUAL(
                host_unmap(&host, name, rng_below(rng, NODES_LUN_BLKS - 90), rng_below(rng, 90)),
                0);
        CU_ASSERT_TRUE(host_line(&host, name)->own_node_blks <= most);
    }
}

static void test_nodes_after_churn(void)
{
    struct rng rng = rng_of(5);
    start_large();
    host_create(&host, "a", NODES_LUN_BLKS);
    churn("a", &rng, ledger_nodes_max(NODES_LUN_BLKS, false, 0));
    host_snapshot(&host, "a", "s");
    churn("a", &rng, ledger_nodes_max(NODES_LUN_BLKS, true, NODES_LUN_BLKS));
    stop();
}

/* Every block of a clone is dropped, in orders that fill leaves of the list in their middle and at
 * their ends. */
static void test_nodes_of_a_drop_list(void)
{
    static const uint64_t steps[] = {1, 7, NODES_LUN_BLKS - 1, 2999, 127, 253};
    start_large();
    host_create(&host, "a", NODES_LUN_BLKS);
    for (uint64_t i = 0; i < NODES_LUN_BLKS; i++)
        put("a", i * 1009 % NODES_LUN_BLKS);
    uint64_t most = ledger_nodes_max(NODES_LUN_BLKS, true, NODES_LUN_BLKS), seen = 0;
    for (size_t s = 0; s < sizeof(steps) / sizeof(steps[0]); s++)
    {
        char name[8];
        snprintf(name, sizeof(name), "c%zu", s);
        host_clone(&host, "a", name);
        for (uint64_t i = 0; i < NODES_LUN_BLKS; i++)
            put(name, i * steps[s] % NODES_LUN_BLKS);
        uint64_t nodes = host_line(&host, name)->own_node_blks;
        CU_ASSERT_TRUE(nodes <= most);
        seen = nodes > seen ? nodes : seen;
        host_delete(&host, name);
        host_settle(&host);
    }
    CU_ASSERT_TRUE(seen > most / 3);
    stop();
}

static void test_nodes_max(void)
{
    CU_ASSERT_EQUAL(tree_nodes_max(0), 0);
    CU_ASSERT_EQUAL(tree_nodes_max(1), 1);
    CU_ASSERT_EQUAL(tree_nodes_max(125), 1);
    CU_ASSERT_EQUAL(tree_nodes_max(126), 3);
    for (uint64_t keys = 1; keys < UINT64_C(1) << 38; keys = keys * 3 / 2 + 1)
    {
        CU_ASSERT_TRUE(tree_nodes_max(keys) >= keys / 126);
        CU_ASSERT_TRUE(tree_nodes_max(keys) <= keys / 124 + DISK_LEVELS_MAX);
        CU_ASSERT_TRUE(tree_nodes_max(keys) <= tree_nodes_max(keys + 1));
    }
}

/* ---- volumes ------------------------------------------------------------------------------- */

enum
{
    VOLUME_BLKS = 2000
};

static int make_volume(const char *name, uint64_t blks, bool is_guaranteed)
{
    struct volume_attributes attributes = {.size_bytes = blks * BLK_BYTES,
                                           .is_guaranteed = is_guaranteed};
    return volume_create(host.pool, name, &attributes, &host.why);
}

static int set_guarantee(const char *name, bool is_guaranteed)
{
    struct volume_attributes attributes = {.is_guaranteed = is_guaranteed};
    return volume_modify(host.pool, name, VOLUME_SET_GUARANTEE, &attributes, &host.why);
}

static int reserve(const char *name, uint64_t blks)
{
    struct lun_create_args args = {
        .name = name, .size_bytes = blks * BLK_BYTES, .attributes = {.is_reserved = true}};
    return lun_create(host.pool, &args, &host.why);
}

static struct volume_info volume_info(const char *name)
{
    struct volume_info info = {0};
    CU_ASSERT_EQUAL(volume_get_info(host.pool, name, &info, &host.why), 0);
    return info;
}

static bool has_event(const char *name)
{
    struct event *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL(event_list(host.pool, 0, &list, &count), 0);
    bool found = false;
    for (size_t i = 0; i < count; i++)
        found |= strcmp(list[i].name, name) == 0;
    free(list);
    return found;
}

/* Until not one block is left for it. */
static void fill(const char *name, uint64_t from)
{
    int r = 0;
    for (uint64_t at = from; r == 0; at += 32)
        r = host_write(&host, name, at, 32, 9, 0);
    r = 0;
    for (uint64_t at = from + 50000; r == 0; at += 2)
        r = host_write(&host, name, at, 1, 9, 0);
    CU_ASSERT_EQUAL(r, -ENOSPC);
}

static void test_guarantee(void)
{
    host_start(&host, NULL);
    CU_ASSERT_EQUAL(make_volume("v", VOLUME_BLKS, true), 0);
    CU_ASSERT_EQUAL(volume_info("v").needed_bytes, VOLUME_BLKS * BLK_BYTES);
    CU_ASSERT_EQUAL(pool_info().promised_bytes, (VOLUME_BLKS + LEDGER_SLACK_BLKS) * BLK_BYTES);
    host_create(&host, "v/a", 100000);
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 0, 100, 1, 0), 0);
    CU_ASSERT_EQUAL(volume_info("v").charged_bytes, 101 * BLK_BYTES);
    CU_ASSERT_EQUAL(volume_info("v").needed_bytes, (VOLUME_BLKS - 101) * BLK_BYTES);
    host_create(&host, "t", 200000);
    fill("t", 0);
    /* Its thin LUN still gets what it was promised, and not more. */
    for (uint64_t at = 0; at < 1900; at += 50)
        CU_ASSERT_EQUAL(host_write(&host, "v/a", at, 50, 2, 0), 0);
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 5000, 200, 3, 0), -ENOSPC);
    CU_ASSERT_TRUE(has_event("volume.full"));
    CU_ASSERT_TRUE(volume_info("v").charged_bytes <= VOLUME_BLKS * BLK_BYTES);
    CU_ASSERT_TRUE(host_holds(&host, "v/a", 0, 1900, 2));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    /* What is deleted in it is promised to it again. */
    CU_ASSERT_EQUAL(host_unmap(&host, "v/a", 0, 1900), 0);
    fill("t", 10000);
    host_crash_open(&host);
    for (uint64_t at = 0; at < 1900; at += 50)
        CU_ASSERT_EQUAL(host_write(&host, "v/a", at, 50, 4, 0), 0);
    fill("t", 20000); /* the crash has lost what was not flushed */
    host_delete(&host, "v/a");
    host_settle(&host);
    CU_ASSERT_EQUAL(volume_info("v").charged_bytes, 0);
    host_create(&host, "v/b", 3000);
    fill("t", 80000);
    CU_ASSERT_EQUAL(volume_info("v").available_bytes, VOLUME_BLKS * BLK_BYTES);
    for (uint64_t at = 0; at < 1900; at += 50)
        CU_ASSERT_EQUAL(host_write(&host, "v/b", at, 50, 4, 0), 0);
    host_delete(&host, "v/b");
    CU_ASSERT_EQUAL(volume_delete(host.pool, "v", false, 0, &host.why), 0);
    CU_ASSERT_EQUAL(pool_info().promised_bytes, 0);
    CU_ASSERT_EQUAL(host_write(&host, "t", 150000, 1, 1, 0), 0);
    stop();
}

static void test_bound(void)
{
    host_start(&host, NULL);
    CU_ASSERT_EQUAL(make_volume("v", VOLUME_BLKS, false), 0);
    CU_ASSERT_EQUAL(pool_info().promised_bytes, 0);
    host_create(&host, "v/a", 100000);
    CU_ASSERT_EQUAL(reserve("v/r", 1000), 0);
    CU_ASSERT_EQUAL(reserve("v/x", 1000), -ENOSPC);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "volume 'v'"));
    uint64_t needs = volume_info("v").reserved_bytes / BLK_BYTES;
    CU_ASSERT_EQUAL(needs, ledger_fresh_needs(1000, false, 0));
    CU_ASSERT_EQUAL(volume_info("v").available_bytes, (VOLUME_BLKS - needs) * BLK_BYTES);
    fill("v/a", 0);
    CU_ASSERT_NOT_EQUAL(pool_info().health, POOL_OUT_OF_SPACE);
    struct volume_info info = volume_info("v");
    CU_ASSERT_TRUE(info.charged_bytes + info.reserved_bytes <= VOLUME_BLKS * BLK_BYTES);
    for (uint64_t at = 0; at < 1000; at += 40)
        CU_ASSERT_EQUAL(host_write(&host, "v/r", at, 40, 5, 0), 0);
    info = volume_info("v");
    CU_ASSERT_TRUE(info.charged_bytes + info.reserved_bytes <= VOLUME_BLKS * BLK_BYTES);
    CU_ASSERT_EQUAL(snapshot_create(host.pool, "v/r", "s", NULL, &host.why), -ENOSPC);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "volume 'v'"));
    struct volume_attributes smaller = {.size_bytes = 1000 * BLK_BYTES};
    CU_ASSERT_EQUAL(volume_modify(host.pool, "v", VOLUME_SET_SIZE, &smaller, &host.why), -ENOSPC);
    struct volume_attributes larger = {.size_bytes = 4000 * BLK_BYTES};
    CU_ASSERT_EQUAL(volume_modify(host.pool, "v", VOLUME_SET_SIZE, &larger, &host.why), 0);
    CU_ASSERT_EQUAL(snapshot_create(host.pool, "v/r", "s", NULL, &host.why), 0);
    stop();
}

static void test_move(void)
{
    host_start(&host, NULL);
    CU_ASSERT_EQUAL(make_volume("v", VOLUME_BLKS, true), 0);
    CU_ASSERT_EQUAL(make_volume("small", 300, true), 0);
    CU_ASSERT_EQUAL(reserve("v/r", 1000), 0);
    CU_ASSERT_EQUAL(host_write(&host, "v/r", 0, 200, 1, 0), 0);
    uint64_t promised = pool_info().promised_bytes;
    CU_ASSERT_EQUAL(lun_rename(host.pool, "v/r", "small/r", &host.why), -ENOSPC);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "'small'"));
    CU_ASSERT_EQUAL(pool_info().promised_bytes, promised);
    CU_ASSERT_EQUAL(lun_rename(host.pool, "v/r", "r", &host.why), 0);
    CU_ASSERT_EQUAL(volume_info("v").charged_bytes, 0);
    CU_ASSERT_EQUAL(volume_info("v").reserved_bytes, 0);
    CU_ASSERT_EQUAL(volume_info("v").needed_bytes, VOLUME_BLKS * BLK_BYTES);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    CU_ASSERT_EQUAL(lun_rename(host.pool, "r", "v/r", &host.why), 0);
    CU_ASSERT_EQUAL(pool_info().promised_bytes, promised);
    stop();
}

/* A merge made a volume larger than its size: what leaves it must still be able to go. */
static void test_move_out_of_overfull(void)
{
    host_start(&host, NULL);
    CU_ASSERT_EQUAL(make_volume("v", 300, true), 0);
    host_create(&host, "a", 1000);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 600, 1, 0), 0);
    host_clone(&host, "a", "v/b");
    host_create(&host, "v/c", 1000);
    host_delete(&host, "a");
    host_settle(&host);
    CU_ASSERT_TRUE(volume_info("v").charged_bytes >= 600 * BLK_BYTES);
    CU_ASSERT_EQUAL(reserve("v/r", 10), -ENOSPC);
    CU_ASSERT_EQUAL(lun_rename(host.pool, "v/c", "c", &host.why), 0);
    CU_ASSERT_EQUAL(lun_rename(host.pool, "v/b", "b", &host.why), 0);
    CU_ASSERT_EQUAL(volume_info("v").charged_bytes, 0);
    CU_ASSERT_TRUE(host_holds(&host, "b", 0, 600, 1));
    stop();
}

/* What the point of a guaranteed volume owns must stay its, or the promise would grow from nothing.
 */
static void test_merge_waits(void)
{
    host_start(&host, NULL);
    CU_ASSERT_EQUAL(make_volume("v", VOLUME_BLKS, true), 0);
    CU_ASSERT_EQUAL(make_volume("w", VOLUME_BLKS, false), 0);
    host_create(&host, "v/a", 1000);
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 0, 200, 1, 0), 0);
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 200, 200, 2, 0), 0);
    host_clone(&host, "v/a", "w/b");
    host_delete(&host, "v/a");
    CU_ASSERT_EQUAL(host_write(&host, "w/b", 0, 200, 3, 0), 0);
    host_settle(&host);
    CU_ASSERT_EQUAL(pool_info().hidden_point_count, 1);
    CU_ASSERT_EQUAL(host_line(&host, "w/b")->dropped_data_blks, 0); /* reclaimed all the same */
    CU_ASSERT_TRUE(volume_info("v").charged_bytes >= 200 * BLK_BYTES);
    CU_ASSERT_EQUAL(job_wait(host.pool, 0, 1000), 0);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_reopen(&host);
    host_settle(&host);
    CU_ASSERT_EQUAL(pool_info().hidden_point_count, 1);
    CU_ASSERT_EQUAL(set_guarantee("v", false), 0);
    host_settle(&host);
    CU_ASSERT_EQUAL(pool_info().hidden_point_count, 0);
    CU_ASSERT_EQUAL(volume_info("v").charged_bytes, 0);
    CU_ASSERT_TRUE(volume_info("w").charged_bytes >= 400 * BLK_BYTES);

    /* The same when the volume goes. */
    CU_ASSERT_EQUAL(make_volume("x", VOLUME_BLKS, true), 0);
    host_create(&host, "x/a", 1000);
    CU_ASSERT_EQUAL(host_write(&host, "x/a", 0, 300, 1, 0), 0);
    host_clone(&host, "x/a", "c");
    host_delete(&host, "x/a");
    host_settle(&host);
    CU_ASSERT_EQUAL(pool_info().hidden_point_count, 1);
    CU_ASSERT_EQUAL(volume_delete(host.pool, "x", false, 0, &host.why), 0);
    host_settle(&host);
    CU_ASSERT_EQUAL(pool_info().hidden_point_count, 0);
    CU_ASSERT_TRUE(host_holds(&host, "c", 0, 300, 1));
    stop();
}

static void test_check_finds(void)
{
    host_start(&host, NULL);
    CU_ASSERT_EQUAL(make_volume("v", VOLUME_BLKS, true), 0);
    CU_ASSERT_EQUAL(reserve("v/r", 100), 0);
    struct volume_object *volume = host_object(&host, "v/r")->volume;
    uint64_t *figures[] = {&volume->books.charged_blks, &volume->books.lun_needs_blks,
                           &volume->books.needs_blks, &host.pool->ledger.needs_blks,
                           &host.pool->ledger.promise_count};
    for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++)
    {
        CU_ASSERT_EQUAL(host_check(&host), 0);
        ++*figures[i];
        CU_ASSERT_TRUE(host_check(&host) > 0);
        CU_ASSERT_PTR_NOT_NULL(strstr(host.said, "ledger"));
        --*figures[i];
    }
    stop();
}

static CU_TestInfo nodes_tests[] = {
    {"the most nodes", test_nodes_max},
    {"of a map: leaves cut at their ends", test_nodes_of_a_map},
    {"of a map: churn", test_nodes_after_churn},
    {"of a drop list", test_nodes_of_a_drop_list},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo volume_tests[] = {
    {"a guarantee", test_guarantee},
    {"a bound", test_bound},
    {"moving a LUN", test_move},
    {"moving LUNs out of what is larger than its size", test_move_out_of_overfull},
    {"a merge waits for the guarantee to end", test_merge_waits},
    {"the check finds wrong figures", test_check_finds},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"nodes", NULL, NULL, NULL, NULL, nodes_tests},
        {"volumes", NULL, NULL, NULL, NULL, volume_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
