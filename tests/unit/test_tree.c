/* SPDX-License-Identifier: BSD-3-Clause */
/* Trees: entries against an array, copies, drops, placements, what is not in memory. */
#include "lun/pool/tree.h"

#include <errno.h>
#include <string.h>

#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

enum
{
    KEYS = 3000,
    ROOM = 64,
    ENTRY_BLK = HOST_GROUP_BLKS - 1, /* of all entries: it only has to be possible */
};

static struct engine_host host;
static struct tree tree;
static unsigned dropped;

static union disk_entry entry_of(uint64_t key)
{
    return (union disk_entry){.page = {.page = le40_put(key), .blk = le40_put(ENTRY_BLK)}};
}

static struct tree_key key_of(uint64_t key)
{
    return (struct tree_key){.lo = key};
}

static void start(void)
{
    host_start(&host, NULL);
    tree = (struct tree){.kind = DISK_TREE_PAGES};
    dropped = 0;
}

/* The tree is nobody's: no checkpoint may keep its blocks. */
static void stop(void)
{
    host_crash(&host);
    host_stop(&host);
}

static void drop_node(struct tree_op *op, uint64_t blk, uint32_t birth)
{
    (void)op, (void)blk, (void)birth;
    dropped++;
}

static void begin(struct tree_op *op, uint64_t key)
{
    tree_op_init(op, host.pool);
    op->birth = 2;
    op->drop_node = drop_node;
    CU_ASSERT_EQUAL_FATAL(space_admit(host.pool->space, ROOM, SPACE_FREEING), 0);
    int r;
    while ((r = tree_prepare_range(op, &tree, key_of(key), key_of(key + 1), 1, NULL)) == -EAGAIN)
        CU_ASSERT_EQUAL_FATAL(tree_op_load(op), 0);
    CU_ASSERT_EQUAL_FATAL(r, 0);
}

static void end(struct tree_op *op)
{
    tree_op_finish(op);
    space_leave(host.pool->space, ROOM);
}

static void change(struct tree_op *op, uint64_t key, bool is_there, bool put)
{
    struct tree_path path;
    union disk_entry entry = entry_of(key);
    tree_change_seek(op, &tree, key_of(key), &path);
    tree_change_replace(op, &tree, &path, is_there, &entry, put);
}

static void put(uint64_t key)
{
    struct tree_op op;
    begin(&op, key);
    change(&op, key, false, true);
    end(&op);
}

static void take(uint64_t key)
{
    struct tree_op op;
    begin(&op, key);
    change(&op, key, true, false);
    end(&op);
}

static bool find(uint64_t key, uint64_t *found_key)
{
    AUTO_TREE_OP struct tree_op op;
    tree_op_init(&op, host.pool);
    union disk_entry entry;
    bool found = false;
    int r;
    while ((r = tree_next(&op, &tree, key_of(key), &entry, &found)) == -EAGAIN)
        CU_ASSERT_EQUAL_FATAL(tree_op_load(&op), 0);
    CU_ASSERT_EQUAL_FATAL(r, 0);
    if (found)
        *found_key = le40_get(entry.page.page);
    return found;
}

static void compare(const bool *there)
{
    uint64_t key = 0, found = 0;
    for (;;)
    {
        bool has = find(key, &found);
        while (key < KEYS && !there[key])
            key++;
        CU_ASSERT_EQUAL(has, key < KEYS);
        if (!has || key == KEYS)
            return;
        CU_ASSERT_EQUAL(found, key);
        key++;
    }
}

static uint64_t node_blks(void)
{
    struct space_stats stats;
    space_get_stats(host.pool->space, &stats);
    return stats.node_blks;
}

static void test_random(void)
{
    start();
    static bool there[KEYS];
    memset(there, 0, sizeof(there));
    struct rng rng = rng_of(7);
    uint64_t before = node_blks();
    for (unsigned i = 0; i < 6000; i++)
    {
        uint64_t key = rng_below(&rng, KEYS);
        if (there[key])
            take(key);
        else
            put(key);
        there[key] = !there[key];
        if (i % 1500 == 0)
            compare(there);
    }
    compare(there);
    CU_ASSERT_EQUAL(tree.levels, 2);
    for (uint64_t key = 0; key < KEYS; key++)
    {
        if (there[key])
            take(key);
    }
    CU_ASSERT_EQUAL(tree.root.blk, 0);
    CU_ASSERT_EQUAL(tree.levels, 0);
    CU_ASSERT_EQUAL(node_blks(), before); /* all nodes were its own */
    CU_ASSERT_EQUAL(dropped, 0);
    stop();
}

/* Three levels: more children than a node holds. */
static void test_three_levels(void)
{
    start();
    uint64_t keys = 252 * 170, found = 0;
    for (uint64_t key = 0; key < keys; key++)
        put(2 * key);
    CU_ASSERT_EQUAL(tree.levels, 3);
    CU_ASSERT_TRUE(find(2 * keys - 3, &found));
    CU_ASSERT_EQUAL(found, 2 * keys - 2);
    CU_ASSERT_FALSE(find(2 * keys - 1, &found));
    for (uint64_t key = 1; key < 2 * keys; key += 30011)
    {
        CU_ASSERT_TRUE(find(key, &found));
        CU_ASSERT_EQUAL(found, key + key % 2);
    }
    stop();
}

static void test_copy_on_write(void)
{
    start();
    for (uint64_t key = 0; key < 600; key++)
        put(key);
    struct node_ref root = tree.root;
    uint64_t nodes = node_blks();
    put(1000);
    CU_ASSERT_EQUAL(tree.root.blk, root.blk); /* dirty: changed where it is */
    CU_ASSERT_EQUAL(node_blks(), nodes);
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
    nodes = node_blks();
    put(1001);
    CU_ASSERT_NOT_EQUAL(tree.root.blk, root.blk);
    CU_ASSERT_EQUAL(tree.root.birth, 2);
    CU_ASSERT_EQUAL(tree.root.cp_id, host.pool->cp_id);
    CU_ASSERT_EQUAL(node_blks(), nodes); /* two copied, two freed */
    CU_ASSERT_EQUAL(dropped, 0);
    root = tree.root;
    put(1002);
    CU_ASSERT_EQUAL(tree.root.blk, root.blk);
    stop();
}

/* Nodes that are not own are handed over instead of freed, whether dirty or not. */
static void test_drops(void)
{
    start();
    for (uint64_t key = 0; key < 600; key++)
        put(key);
    uint64_t nodes = node_blks();
    struct tree_op op;
    begin(&op, 1000);
    op.own_after = 2;
    op.birth = 3;
    change(&op, 1000, false, true);
    end(&op);
    CU_ASSERT_EQUAL(dropped, 2); /* leaf and root */
    CU_ASSERT_EQUAL(node_blks(), nodes + 2);
    CU_ASSERT_EQUAL(tree.root.birth, 3);
    begin(&op, 1001);
    op.own_after = 2;
    op.birth = 3;
    change(&op, 1001, false, true);
    end(&op);
    CU_ASSERT_EQUAL(dropped, 2);
    stop();
}

static void test_missing(void)
{
    start();
    for (uint64_t key = 0; key < 600; key++)
        put(key);
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
    AUTO_TREE_OP struct tree_op op;
    tree_op_init(&op, host.pool);
    struct tree elsewhere = tree;
    elsewhere.root.cp_id += 1; /* as if another checkpoint had written it */
    struct tree_path path;
    CU_ASSERT_EQUAL(tree_seek(&op, &elsewhere, key_of(5), &path), -EAGAIN);
    CU_ASSERT_EQUAL(op.missing.blk, tree.root.blk);
    CU_ASSERT_EQUAL(tree_op_load(&op), -EBADMSG); /* that is not what is there */
    elsewhere = tree;
    elsewhere.kind = DISK_TREE_MAP;
    CU_ASSERT_EQUAL(tree_seek(&op, &elsewhere, key_of(5), &path), -EBADMSG);
    elsewhere = tree;
    elsewhere.levels = 1;
    CU_ASSERT_EQUAL(tree_seek(&op, &elsewhere, key_of(5), &path), -EBADMSG);
    elsewhere.levels = DISK_LEVELS_MAX + 1;
    CU_ASSERT_EQUAL(tree_seek(&op, &elsewhere, key_of(5), &path), -EBADMSG);
    elsewhere = (struct tree){.kind = DISK_TREE_PAGES};
    CU_ASSERT_EQUAL(tree_seek(&op, &elsewhere, key_of(5), &path), -ENOENT);
    tree_op_finish(&op);
    stop();
}

static void test_prepare_range(void)
{
    start();
    for (uint64_t key = 0; key < 1000; key++)
        put(key);
    AUTO_TREE_OP struct tree_op op;
    tree_op_init(&op, host.pool);
    struct tree_key stop_key, first_end;
    CU_ASSERT_EQUAL(tree_prepare_range(&op, &tree, key_of(0), key_of(1000), 1, &first_end), 0);
    CU_ASSERT_TRUE(first_end.lo > 100 && first_end.lo < 300); /* one leaf */
    CU_ASSERT_EQUAL(tree_prepare_range(&op, &tree, key_of(0), key_of(1000), 2, &stop_key), 0);
    CU_ASSERT_TRUE(tree_key_compare(first_end, stop_key) < 0);
    CU_ASSERT_EQUAL(tree_prepare_range(&op, &tree, key_of(0), key_of(1000), 99, &stop_key), 0);
    CU_ASSERT_EQUAL(stop_key.lo, 1000);
    CU_ASSERT_EQUAL(tree_prepare_range(&op, &tree, key_of(3), key_of(4), 99, &stop_key), 0);
    CU_ASSERT_EQUAL(stop_key.lo, 4);
    tree_op_finish(&op);
    stop();
}

/* What a record notes of its nodes rebuilds the same tree. */
static void test_placements(void)
{
    start();
    struct placements noted = {0};
    struct tree_op op;
    begin(&op, 5);
    op.placements = &noted;
    change(&op, 5, false, true);
    end(&op);
    CU_ASSERT_EQUAL_FATAL(noted.count, 1);
    CU_ASSERT_EQUAL(noted.blks[0], tree.root.blk);
    placements_destroy(&noted);

    uint64_t blk = 7 * HOST_GROUP_BLKS + 100;
    CU_ASSERT_EQUAL_FATAL(space_pin_replayed(host.pool->space, blk, 1), 0);
    struct placements replay = {.blks = &blk, .count = 1, .is_replay = true};
    tree = (struct tree){.kind = DISK_TREE_PAGES};
    begin(&op, 5);
    op.placements = &replay;
    change(&op, 5, false, true);
    CU_ASSERT_EQUAL(tree.root.blk, blk);
    CU_ASSERT_FALSE(replay.failed);
    tree = (struct tree){.kind = DISK_TREE_PAGES};
    change(&op, 6, false, true); /* one more than the record has */
    CU_ASSERT_TRUE(replay.failed);
    end(&op);
    stop();
}

static void test_root_on_disk(void)
{
    struct tree before = {.kind = DISK_TREE_MAP,
                          .root = {.blk = 0xabcdef012345, .cp_id = 0x123456789abc, .birth = 77},
                          .levels = 3};
    struct disk_root disk;
    struct tree after;
    tree_to_disk(&before, &disk);
    tree_from_disk(&after, DISK_TREE_MAP, &disk);
    CU_ASSERT_EQUAL(after.root.blk, before.root.blk);
    CU_ASSERT_EQUAL(after.root.cp_id, before.root.cp_id);
    CU_ASSERT_EQUAL(after.root.birth, 77);
    CU_ASSERT_EQUAL(after.levels, 3);
    CU_ASSERT_EQUAL(after.kind, DISK_TREE_MAP);
}

static CU_TestInfo tree_tests[] = {
    {"random entries against an array", test_random},
    {"three levels", test_three_levels},
    {"copies once written", test_copy_on_write},
    {"nodes of others are dropped", test_drops},
    {"nodes not in memory, or not what they should be", test_missing},
    {"preparing a range", test_prepare_range},
    {"placements", test_placements},
    {"roots on disk", test_root_on_disk},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"tree", NULL, NULL, NULL, NULL, tree_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
