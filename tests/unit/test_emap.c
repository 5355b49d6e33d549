/* SPDX-License-Identifier: BSD-3-Clause */
/* Extent maps: joining, splitting, unmapping, leaves. */
#include "lun/map/emap.h"

#include <errno.h>
#include <string.h>

#include "lun/check/walk.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

static struct engine_host host;

static void start(uint64_t blks)
{
    host_start(&host, NULL);
    host_create(&host, "a", blks);
}

static void stop(void)
{
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

static struct emap_run lookup(uint64_t lba, uint64_t max)
{
    AUTO_TREE_OP struct tree_op op;
    tree_op_init(&op, host.pool);
    struct emap_run run = {0}, extent;
    int r;
    while ((r = emap_lookup(&op, host_line(&host, "a"), lba, max, &run, &extent)) == -EAGAIN)
        CU_ASSERT_EQUAL_FATAL(tree_op_load(&op), 0);
    CU_ASSERT_EQUAL(r, 0);
    return run;
}

/* Counts what a map has, and looks that no extent crosses the fences of its leaf. */
struct shape
{
    unsigned entries, leaves;
    uint64_t blks;
};

static int shape_node(void *opaque, const struct node *node, unsigned level, struct tree_key low,
                      struct tree_key high)
{
    (void)node, (void)low, (void)high;
    struct shape *shape = opaque;
    shape->leaves += level == 0;
    return 0;
}

static int shape_entry(void *opaque, const union disk_entry *entry, struct tree_key low,
                       struct tree_key high)
{
    struct shape *shape = opaque;
    uint64_t lba = le40_get(entry->map.lba), end = lba + le16_get(entry->map.len_blks);
    CU_ASSERT_TRUE(lba >= low.lo);
    CU_ASSERT_TRUE(tree_key_compare(high, TREE_KEY_END) == 0 || end <= high.lo);
    shape->entries++;
    shape->blks += end - lba;
    return 0;
}

static struct shape shape_of(const char *name)
{
    struct shape shape = {0};
    struct tree_visit visit = {.node = shape_node, .entry = shape_entry, .opaque = &shape};
    CU_ASSERT_EQUAL(tree_visit(host.pool, &host_line(&host, name)->map, &visit), 0);
    CU_ASSERT_EQUAL(shape.blks, host_line(&host, name)->mapped_blks);
    return shape;
}

static void test_lookup(void)
{
    start(100);
    struct emap_run run = lookup(0, 100);
    CU_ASSERT_EQUAL(run.blk, 0);
    CU_ASSERT_EQUAL(run.len_blks, 100);
    CU_ASSERT_EQUAL(host_write(&host, "a", 10, 5, 1, 0), 0);
    run = lookup(0, 100);
    CU_ASSERT_EQUAL(run.blk, 0);
    CU_ASSERT_EQUAL(run.len_blks, 10); /* the hole ends where data begins */
    run = lookup(12, 100);
    CU_ASSERT_NOT_EQUAL(run.blk, 0);
    CU_ASSERT_EQUAL(run.lba, 12);
    CU_ASSERT_EQUAL(run.len_blks, 3);
    CU_ASSERT_TRUE(run.is_own);
    CU_ASSERT_EQUAL(run.blk, lookup(10, 1).blk + 2);
    CU_ASSERT_EQUAL(lookup(12, 2).len_blks, 2); /* no more than asked for */
    CU_ASSERT_EQUAL(lookup(15, 100).blk, 0);
    CU_ASSERT_EQUAL(lookup(15, 85).len_blks, 85);
    host_snapshot(&host, "a", "s");
    CU_ASSERT_FALSE(lookup(12, 1).is_own);
    stop();
}

static void test_join(void)
{
    start(100);
    for (uint64_t lba = 0; lba < 50; lba++) /* blocks one after another: one extent */
        CU_ASSERT_EQUAL(host_write(&host, "a", lba, 1, 1, 0), 0);
    struct shape shape = shape_of("a");
    CU_ASSERT_EQUAL(shape.blks, 50);
    CU_ASSERT_TRUE(shape.entries <= 3); /* windows of 16, 32, 64 blocks */
    stop();
}

static void test_split(void)
{
    start(100);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 20, 1, 0), 0);
    CU_ASSERT_EQUAL(shape_of("a").entries, 1);
    host_snapshot(&host, "a", "s");
    CU_ASSERT_EQUAL(host_write(&host, "a", 5, 5, 2, 0), 0); /* the middle */
    CU_ASSERT_EQUAL(shape_of("a").entries, 3);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 2, 3, 0), 0); /* the beginning */
    CU_ASSERT_EQUAL(shape_of("a").entries, 4);
    CU_ASSERT_EQUAL(host_write(&host, "a", 18, 4, 4, 0), 0); /* the end and beyond */
    CU_ASSERT_EQUAL(shape_of("a").entries, 5);
    CU_ASSERT_EQUAL(host_line(&host, "a")->mapped_blks, 22);
    CU_ASSERT_EQUAL(host_line(&host, "a")->own_blks, 11);
    CU_ASSERT_TRUE(host_holds(&host, "a", 0, 2, 3));
    CU_ASSERT_TRUE(host_holds(&host, "a", 2, 3, 1));
    CU_ASSERT_TRUE(host_holds(&host, "a", 5, 5, 2));
    CU_ASSERT_TRUE(host_holds(&host, "a", 10, 8, 1));
    CU_ASSERT_TRUE(host_holds(&host, "a", 18, 4, 4));
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 30, 5, 0), 0); /* over all of them */
    CU_ASSERT_TRUE(host_holds(&host, "a", 0, 30, 5));
    CU_ASSERT_TRUE(host_holds(&host, "a@s", 0, 20, 1));
    CU_ASSERT_TRUE(host_holds(&host, "a@s", 20, 10, 0));
    stop();
}

static void test_unmap(void)
{
    start(100);
    CU_ASSERT_EQUAL(host_write(&host, "a", 10, 20, 1, 0), 0);
    CU_ASSERT_EQUAL(host_unmap(&host, "a", 15, 5), 0);
    CU_ASSERT_EQUAL(shape_of("a").entries, 2);
    CU_ASSERT_EQUAL(shape_of("a").blks, 15);
    CU_ASSERT_TRUE(host_holds(&host, "a", 15, 5, 0));
    CU_ASSERT_TRUE(host_holds(&host, "a", 10, 5, 1));
    CU_ASSERT_TRUE(host_holds(&host, "a", 20, 10, 1));
    CU_ASSERT_EQUAL(host_unmap(&host, "a", 0, 100), 0);
    CU_ASSERT_EQUAL(shape_of("a").entries, 0);
    CU_ASSERT_EQUAL(host_line(&host, "a")->map.root.blk, 0);
    CU_ASSERT_EQUAL(host_data_blks(&host), 0);
    stop();
}

/* Extents of several leaves, and what goes over their borders. */
static void test_leaves(void)
{
    start(8192);
    for (uint64_t i = 0; i < 2000; i++)
        CU_ASSERT_EQUAL(host_write(&host, "a", 4 * i, 1, 1, 0), 0);
    struct shape shape = shape_of("a");
    CU_ASSERT_EQUAL(shape.entries, 2000);
    CU_ASSERT_TRUE(shape.leaves >= 8);
    host_snapshot(&host, "a", "s");
    CU_ASSERT_EQUAL(host_write(&host, "a", 100, 5000, 2, 0), 0); /* fences stay: split there */
    shape_of("a");
    CU_ASSERT_TRUE(host_holds(&host, "a", 100, 5000, 2));
    CU_ASSERT_TRUE(host_holds(&host, "a", 96, 1, 1));
    CU_ASSERT_TRUE(host_holds(&host, "a", 5100, 1, 1));
    CU_ASSERT_EQUAL(host_unmap(&host, "a", 50, 8000), 0); /* most leaves go */
    shape = shape_of("a");
    CU_ASSERT_TRUE(shape.leaves <= 2);
    CU_ASSERT_TRUE(host_holds(&host, "a", 52, 7000, 0));
    CU_ASSERT_TRUE(host_holds(&host, "a", 48, 1, 1));
    CU_ASSERT_EQUAL(shape_of("a@s").entries, 2000);
    stop();
}

static void test_plan_unmap(void)
{
    start(8192);
    for (uint64_t i = 0; i < 2000; i++)
        CU_ASSERT_EQUAL(host_write(&host, "a", 4 * i, 1, 1, 0), 0);
    AUTO_TREE_OP struct tree_op op;
    tree_op_init(&op, host.pool);
    uint64_t stop_lba = 0;
    bool has_shared = true;
    struct line *line = host_line(&host, "a");
    CU_ASSERT_EQUAL(emap_plan_unmap(&op, line, 0, 8192, &stop_lba, &has_shared), 0);
    CU_ASSERT_TRUE(stop_lba > 252 && stop_lba < 8192); /* bounded: a few leaves */
    CU_ASSERT_FALSE(has_shared);
    CU_ASSERT_EQUAL(emap_plan_unmap(&op, line, 10, 20, &stop_lba, &has_shared), 0);
    CU_ASSERT_EQUAL(stop_lba, 20);
    tree_op_finish(&op);
    host_snapshot(&host, "a", "s");
    tree_op_init(&op, host.pool);
    CU_ASSERT_EQUAL(emap_plan_unmap(&op, host_line(&host, "a"), 0, 20, &stop_lba, &has_shared), 0);
    CU_ASSERT_TRUE(has_shared);
    tree_op_finish(&op);
    stop();
}

/* No extent is longer than its 16-bit length may say. */
static void test_longest(void)
{
    struct pool_create_options options = {.size_bytes = UINT64_C(320) << 20};
    host_start(&host, &options);
    host_create(&host, "a", 70000);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 8192, 1, 0), 0);
    for (uint64_t lba = 8192; lba < 65536; lba += 8192)
        CU_ASSERT_EQUAL(host_write(&host, "a", lba, 8192, 1, 0), 0);
    struct shape shape = shape_of("a");
    CU_ASSERT_EQUAL(shape.blks, 65536);
    CU_ASSERT_TRUE(host_holds(&host, "a", 60000, 5536, 1));
    host_reopen(&host);
    CU_ASSERT_EQUAL(shape_of("a").entries, shape.entries);
    stop();
}

static CU_TestInfo emap_tests[] = {
    {"looking up", test_lookup},       {"neighbours become one extent", test_join},
    {"extents are split", test_split}, {"unmapping", test_unmap},
    {"many leaves", test_leaves},      {"how far an unmap goes", test_plan_unmap},
    {"long extents", test_longest},    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"emap", NULL, NULL, NULL, NULL, emap_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
