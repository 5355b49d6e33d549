/* SPDX-License-Identifier: BSD-3-Clause */
/* The check finds each kind of damage that is planted, and says what it is. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lun/check/walk.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

static struct engine_host host;

/* "a" with two extents and a snapshot under it, "b" with one; all of it on the disk. */
static void start(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", 64);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 8, 1, 0), 0);
    CU_ASSERT_EQUAL(host_write(&host, "a", 20, 4, 1, 0), 0);
    host_snapshot(&host, "a", "s");
    CU_ASSERT_EQUAL(host_write(&host, "a", 2, 2, 2, 0), 0);
    host_create(&host, "b", 64);
    CU_ASSERT_EQUAL(host_write(&host, "b", 0, 4, 3, 0), 0);
    host_settle(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
}

/* What was planted must not get to the disk. */
static void stop_finding(const char *text)
{
    CU_ASSERT_TRUE(host_check(&host) > 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.said, text));
    if (!strstr(host.said, text))
        fprintf(stderr, "said '%s' instead of '%s'\n", host.said, text);
    host_crash(&host);
    host_stop(&host);
}

/* The only leaf of a small map; the caller unpins it. */
static struct node *leaf_of(const struct tree *tree)
{
    struct node *node = NULL;
    CU_ASSERT_EQUAL_FATAL(tree->levels, 1);
    CU_ASSERT_EQUAL_FATAL(cache_load(host.pool->cache, tree->root, tree->kind, &node), 0);
    return node;
}

static void test_counters(void)
{
    start();
    host_line(&host, "a")->mapped_blks++;
    stop_finding("mapped blocks");
    start();
    host_line(&host, "a")->own_blks++;
    stop_finding("own blocks");
    start();
    host_line(&host, "a")->dropped_data_blks++;
    stop_finding("dropped blocks");
    start();
    host_line(&host, "a")->own_node_blks++;
    stop_finding("own nodes");
    start();
    host_line(&host, "b")->own_node_blks--;
    stop_finding("b counts");
    start();
    host_line(&host, "a@s")->mapped_blks--;
    stop_finding("a@s counts");
}

static void test_children(void)
{
    start();
    host_line(&host, "a@s")->child_count++;
    stop_finding("counts its children");
    start();
    host_line(&host, "a@s")->undropped_children++;
    stop_finding("counts its children");
    start();
    host_line(&host, "a")->own_after = 7;
    stop_finding("frozen at another time");
}

static void test_leak(void)
{
    start();
    uint64_t blk, got;
    CU_ASSERT_EQUAL_FATAL(space_take(host.pool->space, SPACE_THIN, 0, 3, &blk, &got), 0);
    space_commit(host.pool->space, blk, got);
    stop_finding("referred to by nothing");
}

static void test_free_in_use(void)
{
    start();
    struct node *leaf = leaf_of(&host_line(&host, "b")->map);
    space_free(host.pool->space, le40_get(leaf->disk->entries[0].map.blk), 1, false);
    cache_unpin(host.pool->cache, leaf);
    stop_finding("marked free");
}

static void test_held_twice(void)
{
    start();
    struct node *a = leaf_of(&host_line(&host, "a")->map);
    struct node *b = leaf_of(&host_line(&host, "b")->map);
    /* The second entry of "a" are the two blocks of its own. */
    uint64_t blk = le40_get(a->disk->entries[1].map.blk);
    CU_ASSERT_EQUAL(le16_get(a->disk->entries[1].map.len_blks), 2);
    b->disk->entries[0].map.blk = le40_put(blk);
    b->disk->entries[0].map.len_blks = le16_put(2);
    cache_unpin(host.pool->cache, a);
    cache_unpin(host.pool->cache, b);
    stop_finding("private to");
}

static void test_order(void)
{
    start();
    struct node *leaf = leaf_of(&host_line(&host, "a")->map);
    leaf->disk->entries[1].map.lba = le40_put(1); /* inside the first */
    cache_unpin(host.pool->cache, leaf);
    stop_finding("out of order");
}

static void test_outside(void)
{
    start();
    struct node *leaf = leaf_of(&host_line(&host, "b")->map);
    leaf->disk->entries[0].map.blk = le40_put(host.pool->size_blks - 1);
    cache_unpin(host.pool->cache, leaf);
    stop_finding("outside the pool");
}

static void test_dropped_own(void)
{
    start();
    struct node *leaf = leaf_of(&host_line(&host, "a")->drops);
    leaf->disk->entries[0].drop.birth = le32_put(host.pool->generation);
    cache_unpin(host.pool->cache, leaf);
    stop_finding("was its own");
}

static void test_pool_counts(void)
{
    start();
    uint64_t blk, got;
    CU_ASSERT_EQUAL_FATAL(space_take(host.pool->space, SPACE_THIN, 0, 1, &blk, &got), 0);
    space_commit(host.pool->space, blk, got);
    space_free(host.pool->space, blk, got, true); /* as what it was not */
    stop_finding("the pool counts");
}

/* Blocks of the closed pool, to be spoiled. */
struct places
{
    uint64_t map_a, drops_a, page, page_twin;
};

static struct places close_pool(void)
{
    start();
    struct places places = {.map_a = host_line(&host, "a")->map.root.blk,
                            .drops_a = host_line(&host, "a")->drops.root.blk,
                            .page = host.pool->pages[0]->blks[0],
                            .page_twin = host.pool->pages[0]->blks[1]};
    host_close(&host);
    return places;
}

static void rot(uint64_t blk)
{
    struct rng rng = rng_of(blk);
    simdev_rot(host.disk, &rng, 1, BLK_BYTES, blk * BLK_BYTES);
}

static void test_rot_in_trees(void)
{
    struct places places = close_pool();
    rot(places.map_a);
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    CU_ASSERT_FALSE(host_holds(&host, "a", 0, 1, 1)); /* an error, and no wrong data */
    CU_ASSERT_TRUE(host_has_event(&host, "pool.damaged", "a"));
    CU_ASSERT_TRUE(host_holds(&host, "b", 0, 4, 3));
    stop_finding("a tree of a cannot be read");

    places = close_pool();
    rot(places.drops_a);
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    CU_ASSERT_TRUE(host_holds(&host, "a", 0, 2, 1));
    stop_finding("a tree of a cannot be read");
}

/* A right node in the wrong place, and an old one in the right place. */
static void test_misplaced(void)
{
    uint8_t block[BLK_BYTES];
    struct places places = close_pool();
    simdev_peek(host.disk, block, sizeof(block), places.drops_a * BLK_BYTES);
    simdev_poke(host.disk, block, sizeof(block), places.map_a * BLK_BYTES);
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    stop_finding("a tree of a cannot be read");

    places = close_pool();
    struct le64 earlier = le64_put(1);
    host_forge(&host, places.map_a, offsetof(struct disk_header, cp_id), &earlier, 8);
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    stop_finding("a tree of a cannot be read");

    places = close_pool();
    struct le64 stranger = le64_put(1);
    host_forge(&host, places.map_a, offsetof(struct disk_header, pool_id), &stranger, 8);
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    stop_finding("a tree of a cannot be read");
}

/* A node whose checksum is right, and whose content cannot be. */
static void test_forged_nodes(void)
{
    static const struct
    {
        size_t offset;
        uint8_t byte;
    } cases[] = {
        {offsetof(struct disk_node, kind), DISK_TREE_DROPS},
        {offsetof(struct disk_node, level), 1},
        {offsetof(struct disk_node, count), 0},
        {offsetof(struct disk_node, count), 253},
        {offsetof(struct disk_node, birth), 99},
        {offsetof(struct disk_node, entries) + 4, 0x80},  /* lba: beyond the next */
        {offsetof(struct disk_node, entries) + 5, 0},     /* no length */
        {offsetof(struct disk_node, entries) + 11, 0x80}, /* block: outside the pool */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
    {
        struct places places = close_pool();
        host_forge(&host, places.map_a, cases[i].offset, &cases[i].byte, 1);
        CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
        stop_finding("a tree of a cannot be read");
    }
}

static void test_rot_in_catalog(void)
{
    struct places places = close_pool();
    rot(places.page);
    rot(places.page_twin);
    CU_ASSERT_EQUAL(host_open(&host, NULL), -EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "its metadata is damaged"));
    host_stop(&host);
}

/* What is left of it is checked all the same. */
static void test_rot_in_bitmap(void)
{
    start();
    host_close(&host);
    for (uint64_t slot = 0; slot < 2; slot++)
        rot(DISK_HEAD_BITMAP + slot);
    struct pool_open_options options = {.read_only = true};
    CU_ASSERT_EQUAL_FATAL(host_open(&host, &options), 0);
    stop_finding("the bitmap of allocation group 0");
}

static int count_node(void *opaque, const struct node *node, unsigned level, struct tree_key low,
                      struct tree_key high)
{
    (void)node, (void)level;
    CU_ASSERT_TRUE(tree_key_compare(low, high) < 0);
    unsigned *counts = opaque;
    counts[0]++;
    return 0;
}

static int count_entry(void *opaque, const union disk_entry *entry, struct tree_key low,
                       struct tree_key high)
{
    (void)entry, (void)low, (void)high;
    unsigned *counts = opaque;
    counts[1]++;
    return counts[1] == counts[2] ? -ECANCELED : 0;
}

static void test_visit(void)
{
    start();
    unsigned counts[3] = {0};
    struct tree_visit visit = {.node = count_node, .entry = count_entry, .opaque = counts};
    struct tree empty = {.kind = DISK_TREE_MAP};
    CU_ASSERT_EQUAL(tree_visit(host.pool, &empty, &visit), 0);
    CU_ASSERT_EQUAL(counts[0], 0);
    CU_ASSERT_EQUAL(tree_visit(host.pool, &host_line(&host, "a")->map, &visit), 0);
    CU_ASSERT_EQUAL(counts[0], 1);
    CU_ASSERT_EQUAL(counts[1], 4); /* 0-1, 2-3, 4-7, 20-23 */
    counts[2] = counts[1] + 2;
    CU_ASSERT_EQUAL(tree_visit(host.pool, &host_line(&host, "a")->map, &visit), -ECANCELED);
    host_stop(&host);
}

static CU_TestInfo check_tests[] = {
    {"wrong counters of lines", test_counters},
    {"wrong counts of children", test_children},
    {"a leak", test_leak},
    {"a free block in use", test_free_in_use},
    {"a block held twice", test_held_twice},
    {"entries out of order", test_order},
    {"a block outside the pool", test_outside},
    {"an own block dropped", test_dropped_own},
    {"wrong counts of the pool", test_pool_counts},
    {"rot in maps and drop lists", test_rot_in_trees},
    {"misplaced, stale and foreign nodes", test_misplaced},
    {"nodes that cannot be", test_forged_nodes},
    {"rot in the catalog", test_rot_in_catalog},
    {"rot in a bitmap", test_rot_in_bitmap},
    {"visiting a tree", test_visit},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"check", NULL, NULL, NULL, NULL, check_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
