/* SPDX-License-Identifier: BSD-3-Clause */
/* Drop lists: counted ranges, against an array of counts. */
#include "lun/map/drops.h"

#include <errno.h>
#include <string.h>

#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

enum
{
    BLKS = 1500,
    FIRST = 2000, /* the list does not care what these blocks are */
    ROOM = 200,
};

static struct engine_host host;
static struct line *line;

static void start(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", 64);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 8, 1, 0), 0);
    host_snapshot(&host, "a", "s");
    line = host_line(&host, "a");
}

/* The list names blocks that it has not dropped: nothing of it may be kept. */
static void stop(void)
{
    host_crash(&host);
    host_stop(&host);
}

static int change_list(uint32_t birth, uint64_t blk, uint64_t len, bool is_node, bool is_add)
{
    AUTO_CHANGE struct change change;
    change_init(&change, host.pool);
    CU_ASSERT_EQUAL_FATAL(space_admit(host.pool->space, ROOM, SPACE_FREEING), 0);
    int r;
    while ((r = drops_prepare(&change, line, birth, blk, len)) == -EAGAIN)
        CU_ASSERT_EQUAL_FATAL(tree_op_load(&change.drops), 0);
    CU_ASSERT_EQUAL_FATAL(r, 0);
    if (is_add)
        drops_add(&change, line, birth, blk, len, is_node);
    else
        r = drops_remove(&change, line, birth, blk, len);
    space_leave(host.pool->space, ROOM);
    return r;
}

static bool next(uint32_t birth, uint64_t blk, struct drop *drop)
{
    AUTO_TREE_OP struct tree_op op;
    tree_op_init(&op, host.pool);
    bool found = false;
    CU_ASSERT_EQUAL(drops_next(&op, line, birth, blk, drop, &found), 0);
    return found;
}

static void test_counts(void)
{
    start();
    struct drop drop = {0};
    CU_ASSERT_FALSE(next(0, 0, &drop));
    CU_ASSERT_EQUAL(change_list(1, FIRST, 10, false, true), 0);
    CU_ASSERT_EQUAL(change_list(1, FIRST + 4, 2, false, true), 0); /* once more, of the middle */
    static const struct
    {
        uint64_t blk, len;
        uint32_t count;
    } expected[] = {{FIRST, 4, 1}, {FIRST + 4, 2, 2}, {FIRST + 6, 4, 1}};
    uint64_t at = 0;
    for (unsigned i = 0; i < 3; i++)
    {
        CU_ASSERT_TRUE_FATAL(next(1, at, &drop));
        CU_ASSERT_EQUAL(drop.blk, expected[i].blk);
        CU_ASSERT_EQUAL(drop.len_blks, expected[i].len);
        CU_ASSERT_EQUAL(drop.count, expected[i].count);
        at = drop.blk + drop.len_blks;
    }
    CU_ASSERT_FALSE(next(1, at, &drop));
    CU_ASSERT_EQUAL(line->dropped_data_blks, 12);
    CU_ASSERT_EQUAL(change_list(1, FIRST, 10, false, false), 0);
    CU_ASSERT_TRUE(next(0, 0, &drop)); /* what was there twice is there once */
    CU_ASSERT_EQUAL(drop.blk, FIRST + 4);
    CU_ASSERT_EQUAL(drop.len_blks, 2);
    CU_ASSERT_EQUAL(drop.count, 1);
    CU_ASSERT_EQUAL(change_list(1, FIRST + 4, 2, false, false), 0);
    CU_ASSERT_FALSE(next(0, 0, &drop));
    CU_ASSERT_EQUAL(line->drops.root.blk, 0);
    stop();
}

static void test_joins(void)
{
    start();
    struct drop drop = {0};
    CU_ASSERT_EQUAL(change_list(1, FIRST, 2, false, true), 0);
    CU_ASSERT_EQUAL(change_list(1, FIRST + 2, 2, false, true), 0); /* goes on: one range */
    CU_ASSERT_TRUE(next(0, 0, &drop));
    CU_ASSERT_EQUAL(drop.len_blks, 4);
    CU_ASSERT_EQUAL(change_list(1, FIRST + 4, 1, true, true), 0);  /* a node is another thing */
    CU_ASSERT_EQUAL(change_list(2, FIRST + 5, 1, false, true), 0); /* and so is another birth */
    CU_ASSERT_TRUE(next(1, FIRST + 4, &drop));
    CU_ASSERT_TRUE(drop.is_node);
    CU_ASSERT_EQUAL(drop.len_blks, 1);
    CU_ASSERT_TRUE(next(1, FIRST + 5, &drop));
    CU_ASSERT_EQUAL(drop.birth, 2);
    CU_ASSERT_EQUAL(line->dropped_data_blks, 5);
    CU_ASSERT_EQUAL(line->dropped_node_blks, 1);
    stop();
}

/* What is not wholly there is not taken away at all. */
static void test_remove_refused(void)
{
    start();
    CU_ASSERT_EQUAL(change_list(1, FIRST, 4, false, true), 0);
    CU_ASSERT_EQUAL(change_list(1, FIRST + 6, 4, false, true), 0);
    CU_ASSERT_EQUAL(change_list(1, FIRST, 10, false, false), -EBADMSG);
    CU_ASSERT_EQUAL(change_list(1, FIRST - 1, 2, false, false), -EBADMSG);
    CU_ASSERT_EQUAL(change_list(1, FIRST + 3, 2, false, false), -EBADMSG);
    CU_ASSERT_EQUAL(change_list(2, FIRST, 1, false, false), -EBADMSG);
    CU_ASSERT_EQUAL(line->dropped_data_blks, 8);
    CU_ASSERT_EQUAL(change_list(1, FIRST, 4, false, false), 0);
    CU_ASSERT_EQUAL(change_list(1, FIRST + 6, 4, false, false), 0);
    stop();
}

/* The predecessor knows how many of its children have dropped nothing. */
static void test_undropped(void)
{
    start();
    struct line *point = line->predecessor;
    CU_ASSERT_EQUAL(point->undropped_children, 1);
    CU_ASSERT_EQUAL(change_list(1, FIRST, 1, true, true), 0);
    CU_ASSERT_EQUAL(point->undropped_children, 0);
    CU_ASSERT_EQUAL(change_list(1, FIRST + 9, 1, false, true), 0);
    CU_ASSERT_EQUAL(change_list(1, FIRST, 1, true, false), 0);
    CU_ASSERT_EQUAL(point->undropped_children, 0);
    CU_ASSERT_EQUAL(change_list(1, FIRST + 9, 1, false, false), 0);
    CU_ASSERT_EQUAL(point->undropped_children, 1);
    stop();
}

static void test_random(void)
{
    start();
    static uint32_t counts[BLKS];
    memset(counts, 0, sizeof(counts));
    struct rng rng = rng_of(3);
    uint64_t total = 0;
    for (unsigned i = 0; i < 4000; i++)
    {
        uint64_t at = rng_below(&rng, BLKS), len = 1 + rng_below(&rng, 3);
        len = at + len > BLKS ? BLKS - at : len;
        bool is_add = rng_percent(&rng, 60), can = true;
        for (uint64_t n = at; n < at + len; n++)
            can &= is_add || counts[n] > 0;
        CU_ASSERT_EQUAL(change_list(1, FIRST + at, len, false, is_add), can ? 0 : -EBADMSG);
        for (uint64_t n = at; can && n < at + len; n++)
            counts[n] += is_add ? 1 : UINT32_MAX;
        total += !can ? 0 : is_add ? len : -len;
    }
    CU_ASSERT_TRUE(line->drops.levels > 1);
    CU_ASSERT_EQUAL(line->dropped_data_blks, total);
    uint64_t at = 0;
    struct drop drop = {0};
    while (next(1, FIRST + at, &drop))
    {
        for (; at < drop.blk - FIRST; at++)
            CU_ASSERT_EQUAL(counts[at], 0);
        for (; at < drop.blk - FIRST + drop.len_blks; at++)
            CU_ASSERT_EQUAL(counts[at], drop.count);
    }
    for (; at < BLKS; at++)
        CU_ASSERT_EQUAL(counts[at], 0);
    stop();
}

static CU_TestInfo drops_tests[] = {
    {"counts", test_counts},
    {"neighbours become one range", test_joins},
    {"taking what is not there", test_remove_refused},
    {"children without drops", test_undropped},
    {"random ranges against an array", test_random},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"drops", NULL, NULL, NULL, NULL, drops_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
