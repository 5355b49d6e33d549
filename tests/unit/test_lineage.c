/* SPDX-License-Identifier: BSD-3-Clause */
/* Lineage: each rule of lun/README.md as a case. Those of 14 and 15 have no code yet. */
#include "lun/map/lineage.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lun/volume/catalog.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

static struct engine_host host;

static struct line *line_of(uint64_t id)
{
    return catalog_find_line(host.pool, id);
}

static uint64_t id_of(const char *name)
{
    return host_line(&host, name)->object.id;
}

/* "a" with 64 blocks, of which the first eight are mapped. */
static void start(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", 64);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 8, 1, 0), 0);
}

static void stop(void)
{
    CU_ASSERT_EQUAL(host_check(&host), 0);
    if (host.said[0])
        fprintf(stderr, "%s\n", host.said);
    host_stop(&host);
}

static void test_rule_1_births(void)
{
    start();
    uint32_t before = host.pool->generation;
    host_clone(&host, "a", "b");
    CU_ASSERT_EQUAL(host.pool->generation, before + 1);
    struct line *point = host_line(&host, "a")->predecessor;
    CU_ASSERT_EQUAL(point->frozen_at, before);
    CU_ASSERT_EQUAL(point->birth, before);
    CU_ASSERT_EQUAL(host_line(&host, "a")->birth, before + 1);
    CU_ASSERT_EQUAL(host_line(&host, "b")->birth, before + 1);
    CU_ASSERT_EQUAL(point->map.root.birth, before);
    CU_ASSERT_EQUAL(host_write(&host, "b", 0, 1, 2, 0), 0);
    CU_ASSERT_EQUAL(host_line(&host, "b")->map.root.birth, before + 1);
    stop();
}

static void test_rule_2_own(void)
{
    start();
    CU_ASSERT_EQUAL(host_data_blks(&host), 8);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 8, 2, 0), 0); /* own: in place */
    CU_ASSERT_EQUAL(host_data_blks(&host), 8);
    host_clone(&host, "a", "b");
    CU_ASSERT_EQUAL(host_info(&host, "a").own_bytes, 0);
    CU_ASSERT_EQUAL(host_write(&host, "a", 2, 3, 3, 0), 0); /* shared: new blocks */
    CU_ASSERT_EQUAL(host_data_blks(&host), 11);
    CU_ASSERT_EQUAL(host_info(&host, "a").own_bytes, 3 * BLK_BYTES);
    CU_ASSERT_EQUAL(host_line(&host, "a")->dropped_data_blks, 3);
    CU_ASSERT_EQUAL(host_write(&host, "a", 2, 3, 4, 0), 0); /* own again */
    CU_ASSERT_EQUAL(host_data_blks(&host), 11);
    CU_ASSERT_EQUAL(host_unmap(&host, "a", 2, 1), 0); /* own: freed, not dropped */
    CU_ASSERT_EQUAL(host_data_blks(&host), 10);
    CU_ASSERT_EQUAL(host_line(&host, "a")->dropped_data_blks, 3);
    CU_ASSERT_TRUE(host_holds(&host, "b", 0, 8, 2));
    CU_ASSERT_TRUE(host_holds(&host, "a", 3, 2, 4));
    CU_ASSERT_TRUE(host_holds(&host, "a", 2, 1, 0));
    stop();
}

/* 4: what is the point's own is freed, what is older becomes its drop. */
static void test_rule_4_settling(void)
{
    start(); /* blocks 0 to 7 of the first generation */
    host_snapshot(&host, "a", "old");
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 2, 2, 0), 0); /* of the second */
    host_snapshot(&host, "a", "new");
    uint64_t new_id = id_of("a@new");
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 4, 3, 0), 0); /* drops 2 of each */
    CU_ASSERT_EQUAL(host_data_blks(&host), 8 + 2 + 4);
    CU_ASSERT_EQUAL(host_line(&host, "a")->dropped_data_blks, 4);
    host_delete(&host, "a@new");
    host_settle(&host);
    CU_ASSERT_PTR_NULL(line_of(new_id));
    CU_ASSERT_EQUAL(host_data_blks(&host), 8 + 4);
    CU_ASSERT_EQUAL(host_line(&host, "a")->dropped_data_blks, 4); /* all of the first generation */
    CU_ASSERT_TRUE(host_holds(&host, "a@old", 0, 8, 1));
    stop();
}

static void test_rule_5_merge(void)
{
    start();
    host_snapshot(&host, "a", "s");
    uint64_t point = id_of("a@s"), head = id_of("a");
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 2, 0), 0);
    host_delete(&host, "a@s");
    CU_ASSERT_TRUE(line_is_hidden_point(line_of(point)));
    host_settle(&host);
    CU_ASSERT_PTR_NULL(line_of(point));
    struct line *line = line_of(head);
    CU_ASSERT_PTR_NULL(line->predecessor);
    CU_ASSERT_EQUAL(line->own_after, 0);
    CU_ASSERT_EQUAL(line->own_blks, 8); /* the point's seven and its one */
    CU_ASSERT_EQUAL(line->dropped_data_blks, 0);
    CU_ASSERT_EQUAL(host_data_blks(&host), 8);
    stop();
}

static void test_rule_6_reclaim(void)
{
    start();
    host_clone(&host, "a", "b");
    host_clone(&host, "a", "c");
    CU_ASSERT_EQUAL(host_line(&host, "a")->predecessor->child_count, 3);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 4, 2, 0), 0);
    CU_ASSERT_EQUAL(host_write(&host, "b", 2, 4, 3, 0), 0);
    host_settle(&host);
    CU_ASSERT_EQUAL(host_data_blks(&host), 8 + 8); /* "c" still reads all of it */
    CU_ASSERT_EQUAL(host_write(&host, "c", 3, 2, 4, 0), 0);
    host_settle(&host);
    /* All three have dropped block 3, and nothing else. */
    CU_ASSERT_EQUAL(host_data_blks(&host), 8 + 8 + 2 - 1);
    CU_ASSERT_EQUAL(host_line(&host, "a")->dropped_data_blks, 3);
    CU_ASSERT_EQUAL(host_line(&host, "b")->dropped_data_blks, 3);
    CU_ASSERT_EQUAL(host_line(&host, "c")->dropped_data_blks, 1);
    stop();
}

static void test_rule_7_walk(void)
{
    start();
    struct space_stats before, after;
    space_get_stats(host.pool->space, &before);
    uint64_t pages = host.pool->page_count;
    host_create(&host, "b", 100000);
    for (uint64_t i = 0; i < 600; i++) /* three leaves and a root */
        CU_ASSERT_EQUAL(host_write(&host, "b", 2 * i, 1, 2, 0), 0);
    uint64_t id = id_of("b");
    CU_ASSERT_EQUAL(line_of(id)->map.levels, 2);
    host_delete(&host, "b");
    CU_ASSERT_TRUE(lineage_is_leaf(line_of(id)));
    CU_ASSERT_EQUAL(host_data_blks(&host), 608); /* the command itself frees nothing */
    CU_ASSERT_EQUAL(pool_run_job_step(host.pool), 1);
    CU_ASSERT_EQUAL(line_of(id)->walk_phase, 2);
    CU_ASSERT_EQUAL(host_data_blks(&host), 8);
    CU_ASSERT_EQUAL(pool_run_job_step(host.pool), 1);
    CU_ASSERT_PTR_NULL(line_of(id));
    host_settle(&host);
    space_get_stats(host.pool->space, &after);
    CU_ASSERT_EQUAL(host.pool->page_count, pages);
    CU_ASSERT_EQUAL(after.data_blks, before.data_blks);
    stop();
}

/* A walk that a crash interrupts goes on where it was. */
static void test_rule_7_resumes(void)
{
    start();
    host_create(&host, "b", 100000);
    for (uint64_t i = 0; i < 252 * 20; i++)
        CU_ASSERT_EQUAL(host_write(&host, "b", 2 * i, 1, 2, 0), 0);
    uint64_t id = id_of("b");
    host_delete(&host, "b");
    CU_ASSERT_EQUAL(pool_run_job_step(host.pool), 1);
    host_flush(&host);
    uint64_t left = host_data_blks(&host);
    struct tree_key key = line_of(id)->walk_key;
    CU_ASSERT_TRUE(left > 8 && left < 8 + 252 * 20);
    host_crash_open(&host);
    CU_ASSERT_EQUAL(host_data_blks(&host), left);
    CU_ASSERT_EQUAL(tree_key_compare(line_of(id)->walk_key, key), 0);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_settle(&host);
    CU_ASSERT_EQUAL(host_data_blks(&host), 8);
    stop();
}

/* 9, 10, 11, 12: both heads on a hidden point are deleted. The first to walk keeps the other from
 * walking until the point has merged into it. */
static void test_rules_9_to_12(void)
{
    start();
    host_clone(&host, "a", "b");
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 2, 2, 0), 0);
    CU_ASSERT_EQUAL(host_write(&host, "b", 1, 2, 3, 0), 0);
    struct line *a = host_line(&host, "a"), *b = host_line(&host, "b");
    struct line *point = a->predecessor;
    uint64_t a_id = a->object.id, b_id = b->object.id, point_id = point->object.id;
    host_delete(&host, "a");
    host_delete(&host, "b");
    CU_ASSERT_TRUE(lineage_may_walk(a) && lineage_may_walk(b) && lineage_may_settle(point));
    a->is_walking = true; /* as after its first step */
    point->walking_children++;
    CU_ASSERT_TRUE(lineage_may_walk(a));  /* may go on */
    CU_ASSERT_FALSE(lineage_may_walk(b)); /* 9 */
    CU_ASSERT_TRUE(lineage_may_settle(point));
    CU_ASSERT_EQUAL(point->child_count, 2); /* 12: it counts until its walk is over */
    a->is_walking = false;
    point->walking_children--;
    b->is_walking = a->is_walking = true;
    point->walking_children = 2;
    CU_ASSERT_FALSE(lineage_may_settle(point)); /* 10, 11 */
    b->is_walking = a->is_walking = false;
    point->walking_children = 0;
    for (unsigned steps = 0; steps < 100 && pool_run_job_step(host.pool) > 0; steps++)
        CU_ASSERT_EQUAL(host_check(&host), 0);
    CU_ASSERT_PTR_NULL(line_of(a_id));
    CU_ASSERT_PTR_NULL(line_of(b_id));
    CU_ASSERT_PTR_NULL(line_of(point_id));
    CU_ASSERT_EQUAL(host_data_blks(&host), 0);
    CU_ASSERT_EQUAL(host.pool->line_count, 0);
    stop();
}

static void test_rule_13_unchanged(void)
{
    start();
    host_clone(&host, "a", "b");
    uint32_t generation = host.pool->generation;
    uint64_t lines = host.pool->line_count;
    struct line *point = host_line(&host, "a")->predecessor;
    host_snapshot(&host, "a", "s");
    host_clone(&host, "b", "c");
    host_clone(&host, "a", "d");
    CU_ASSERT_EQUAL(host.pool->generation, generation);
    CU_ASSERT_EQUAL(host.pool->line_count, lines + 2);
    CU_ASSERT_PTR_EQUAL(host_line(&host, "a@s"), point);
    CU_ASSERT_PTR_EQUAL(host_line(&host, "d")->predecessor, point);
    /* A hole stays a hole: nothing was changed. */
    CU_ASSERT_EQUAL(host_unmap(&host, "a", 40, 8), 0);
    CU_ASSERT_TRUE(lineage_is_unchanged(host_line(&host, "a")));
    /* The mark stays when neither drops nor own blocks are left. */
    CU_ASSERT_EQUAL(host_write(&host, "a", 40, 1, 9, 0), 0);
    CU_ASSERT_EQUAL(host_unmap(&host, "a", 40, 1), 0);
    CU_ASSERT_EQUAL(host_line(&host, "a")->own_blks, 0);
    CU_ASSERT_FALSE(lineage_is_unchanged(host_line(&host, "a")));
    host_crash_open(&host);
    stop();
}

/* The mark is handed over in a merge. */
static void test_rule_13_merge(void)
{
    start();
    host_snapshot(&host, "a", "old");
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 2, 0), 0);
    host_snapshot(&host, "a", "new");
    CU_ASSERT_TRUE(lineage_is_unchanged(host_line(&host, "a")));
    host_delete(&host, "a@new");
    host_settle(&host);
    CU_ASSERT_PTR_EQUAL(host_line(&host, "a")->predecessor, host_line(&host, "a@old"));
    CU_ASSERT_FALSE(lineage_is_unchanged(host_line(&host, "a")));
    host_clone(&host, "a", "b");
    CU_ASSERT_TRUE(host_holds(&host, "b", 0, 1, 2));
    CU_ASSERT_TRUE(host_holds(&host, "b", 1, 7, 1));
    stop();
}

static void test_rule_16_restore(void)
{
    start();
    host_snapshot(&host, "a", "s");
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 4, 2, 0), 0);
    uint64_t old = id_of("a");
    CU_ASSERT_EQUAL(snapshot_restore(host.pool, "a", "s", 0, &host.why), 0);
    CU_ASSERT_TRUE(line_of(old)->is_dying);
    CU_ASSERT_PTR_EQUAL(host_line(&host, "a")->predecessor, host_line(&host, "a@s"));
    CU_ASSERT_TRUE(host_holds(&host, "a", 0, 8, 1));
    host_settle(&host);
    CU_ASSERT_PTR_NULL(line_of(old));
    CU_ASSERT_EQUAL(host_data_blks(&host), 8);
    stop();
}

/* A long chain of clones of clones, deleted in every order of three. */
static void test_any_order(void)
{
    static const char *const orders[][3] = {{"a", "b", "c"}, {"a", "c", "b"}, {"b", "a", "c"},
                                            {"b", "c", "a"}, {"c", "a", "b"}, {"c", "b", "a"}};
    for (unsigned i = 0; i < 6; i++)
    {
        start();
        host_clone(&host, "a", "b");
        CU_ASSERT_EQUAL(host_write(&host, "b", 1, 3, 2, 0), 0);
        host_clone(&host, "b", "c");
        CU_ASSERT_EQUAL(host_write(&host, "b", 2, 1, 3, 0), 0);
        CU_ASSERT_EQUAL(host_write(&host, "c", 0, 2, 4, 0), 0);
        for (unsigned n = 0; n < 3; n++)
        {
            host_delete(&host, orders[i][n]);
            host_settle(&host);
            CU_ASSERT_EQUAL(host_check(&host), 0);
        }
        CU_ASSERT_EQUAL(host_data_blks(&host), 0);
        CU_ASSERT_EQUAL(host.pool->line_count, 0);
        stop();
    }
}

static CU_TestInfo lineage_tests[] = {
    {"1: births", test_rule_1_births},
    {"2: own is overwritten, shared is copied", test_rule_2_own},
    {"4: settling", test_rule_4_settling},
    {"5: merging", test_rule_5_merge},
    {"6: reclaim", test_rule_6_reclaim},
    {"7: walk", test_rule_7_walk},
    {"7: a walk goes on after a crash", test_rule_7_resumes},
    {"9 to 12: both children of a hidden point go", test_rules_9_to_12},
    {"13: unchanged", test_rule_13_unchanged},
    {"13: touched by a merge", test_rule_13_merge},
    {"16: restore", test_rule_16_restore},
    {"deleted in any order", test_any_order},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"lineage", NULL, NULL, NULL, NULL, lineage_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
