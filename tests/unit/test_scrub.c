/* SPDX-License-Identifier: BSD-3-Clause */
/* The scrub reads all metadata of an open pool, finds damage, says whom it hits, mends what it can.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/check/scrub_internal.h"
#include "lun/pool/space_internal.h"
#include "lun/pool/super.h"
#include "lun/volume/catalog.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

static struct engine_host host;
static struct scrub_info info;
static char said[16384]; /* all findings of the last scrub, a line each */

static void hear(void *opaque, bool is_error, const char *text)
{
    (void)opaque;
    size_t len = strlen(said);
    snprintf(said + len, sizeof(said) - len, "%s%s\n", is_error ? "ERROR: " : "", text);
}

static bool says(const char *text)
{
    bool found = strstr(said, text) != NULL;
    if (!found)
        fprintf(stderr, "said '%s' instead of '%s'\n", said, text);
    return found;
}

/* Runs a whole one; how many damaged blocks it found. */
static uint64_t scrub(void)
{
    uint64_t id;
    int r;
    CU_ASSERT_EQUAL_FATAL(pool_scrub_start(host.pool, &(struct scrub_options){0}, &id, &host.why),
                          0);
    while ((r = pool_scrub_step(host.pool)) > 0)
        continue;
    said[0] = '\0';
    CU_ASSERT_EQUAL(r, 0);
    CU_ASSERT_EQUAL(pool_scrub_get(host.pool, &info, hear, NULL), 0);
    CU_ASSERT_EQUAL(info.id, id);
    CU_ASSERT_FALSE(info.is_running);
    CU_ASSERT_EQUAL(info.done_blks, info.total_blks);
    return info.damaged_blks;
}

/* Maps of two levels that "a", its snapshot and its clone share in part, and a drop list. */
static void start(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", 8192);
    for (uint64_t i = 0; i < 600; i++)
        CU_ASSERT_EQUAL(host_write(&host, "a", i * 5 % 2999, 1, (uint8_t)(i % 250 + 1), 0), 0);
    host_snapshot(&host, "a", "s");
    host_clone(&host, "a@s", "twin");
    for (uint64_t i = 0; i < 20; i++)
        CU_ASSERT_EQUAL(host_write(&host, "a", i * 5, 1, 3, 0), 0);
    host_create(&host, "other", 64);
    CU_ASSERT_EQUAL(host_write(&host, "other", 0, 4, 3, 0), 0);
    host_settle(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
}

static void flip(uint64_t blk)
{
    uint8_t byte;
    simdev_peek(host.disk, &byte, 1, blk * BLK_BYTES + 300);
    byte ^= 1;
    simdev_poke(host.disk, &byte, 1, blk * BLK_BYTES + 300);
}

static uint32_t magic_of(uint64_t blk)
{
    struct disk_header header;
    simdev_peek(host.disk, &header, sizeof(header), blk * BLK_BYTES);
    return le32_get(header.magic);
}

static void test_sound(void)
{
    start();
    CU_ASSERT_EQUAL(scrub(), 0);
    CU_ASSERT_STRING_EQUAL(said, "");
    CU_ASSERT_TRUE(info.done_blks > 20);
    CU_ASSERT_TRUE(host_has_event(&host, "scrub.finished", ""));
    /* And of a pool that is only looked at, with records in its journal. */
    CU_ASSERT_EQUAL(host_write(&host, "a", 77, 1, 4, LUN_FUA), 0);
    host_crash(&host);
    CU_ASSERT_EQUAL(host_open(&host, &(struct pool_open_options){.read_only = true}), 0);
    CU_ASSERT_EQUAL(scrub(), 0);
    CU_ASSERT_EQUAL(info.repaired_blks, 0);
    host_stop(&host);
}

/* Each block of metadata that is in use is read, though all of it is in memory. */
static void test_reads_all(void)
{
    start();
    simdev_watch_reads(host.disk);
    CU_ASSERT_EQUAL(scrub(), 0);
    unsigned nodes = 0, pages = 0;
    for (uint64_t blk = 0; blk < HOST_POOL_BYTES / BLK_BYTES; blk++)
    {
        bool is_allocated;
        uint32_t magic = magic_of(blk);
        CU_ASSERT_EQUAL(space_is_allocated(host.pool->space, blk, &is_allocated), 0);
        if ((magic != DISK_MAGIC_NODE && magic != DISK_MAGIC_PAGE && magic != DISK_MAGIC_SUPER) ||
            !is_allocated)
            continue;
        nodes += magic == DISK_MAGIC_NODE;
        pages += magic == DISK_MAGIC_PAGE;
        if (!simdev_was_read(host.disk, blk))
            fprintf(stderr, "block %" PRIu64 " is not read\n", blk);
        CU_ASSERT_TRUE(simdev_was_read(host.disk, blk));
    }
    CU_ASSERT_TRUE(nodes > 5);
    CU_ASSERT_TRUE(pages > 0);
    host_stop(&host);
}

static void test_supers(void)
{
    for (unsigned copy = 0; copy < SUPER_COPIES; copy++)
    {
        start();
        CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
        flip(super_copy_blk(host.pool, copy));
        /* The checkpoint that it begins with may write over it. */
        uint64_t found = scrub();
        CU_ASSERT_TRUE(found <= 1);
        CU_ASSERT_EQUAL(info.repaired_blks, found);
        if (found)
            CU_ASSERT_TRUE(says("of the superblock"));
        CU_ASSERT_EQUAL(scrub(), 0);
        host_stop(&host);
    }
}

static void test_supers_read_only(void)
{
    start();
    host_close(&host);
    CU_ASSERT_EQUAL(host_open(&host, &(struct pool_open_options){.read_only = true}), 0);
    for (unsigned copy = 0; copy < SUPER_COPIES; copy++)
        flip(super_copy_blk(host.pool, copy));
    CU_ASSERT_EQUAL(scrub(), SUPER_COPIES);
    CU_ASSERT_EQUAL(info.repaired_blks, 0);
    CU_ASSERT_TRUE(says("copy 3 of the superblock"));
    CU_ASSERT_TRUE(says("if the pool were open for writing"));
    host_stop(&host);
}

/* Both slots of @head in group 0 are damaged: one of them is in force. */
static void damage_slots(unsigned head)
{
    flip(head);
    flip(head + 1);
}

static void test_bitmaps(void)
{
    static const struct
    {
        unsigned head;
        const char *text;
    } cases[] = {{DISK_HEAD_BITMAP, "the bitmap of allocation group 0"},
                 {DISK_HEAD_TABLE1, "the table of level 1"},
                 {DISK_HEAD_TABLE2, "the table of level 2"}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    {
        start();
        damage_slots(cases[i].head);
        /* The checkpoint that it begins with has nothing to write there. */
        CU_ASSERT_EQUAL(scrub(), 1);
        CU_ASSERT_TRUE(says(cases[i].text));
        CU_ASSERT_EQUAL(info.repaired_blks, 1);
        CU_ASSERT_EQUAL(scrub(), 0);
        host_reopen(&host);
        CU_ASSERT_EQUAL(host_check(&host), 0);
        host_stop(&host);
    }
}

/* A table that is damaged while the pool is open does not fail the next checkpoint. */
static void test_checkpoint_without_table(void)
{
    start();
    for (unsigned head = DISK_HEAD_TABLE1; head < DISK_GROUP_HEAD_BLKS; head++)
        flip(head);
    CU_ASSERT_EQUAL(host_write(&host, "other", 30, 4, 8, 0), 0);
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
    host_reopen(&host);
    CU_ASSERT_TRUE(host_holds(&host, "other", 30, 4, 8));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

/* A bitmap that is not in memory cannot be mended. */
static void test_unread_bitmap(void)
{
    start();
    host_reopen(&host);
    uint64_t g = 0;
    while (g < host.pool->space->group_count && (space_group(host.pool->space, g)->busy ||
                                                 space_group(host.pool->space, g)->slot.cp_id == 0))
        g++;
    CU_ASSERT_TRUE_FATAL(g < host.pool->space->group_count);
    flip(g * HOST_GROUP_BLKS + DISK_HEAD_BITMAP);
    flip(g * HOST_GROUP_BLKS + DISK_HEAD_BITMAP + 1);
    CU_ASSERT_EQUAL(scrub(), 1);
    CU_ASSERT_EQUAL(info.repaired_blks, 0);
    CU_ASSERT_TRUE(says("lunette pool repair"));
    host_stop(&host);
}

static void test_journal(void)
{
    start();
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
    CU_ASSERT_EQUAL(host_write(&host, "a", 8000, 1, 3, LUN_FUA), 0);
    struct scrub *scrub_state = host.pool->scrub;
    uint64_t blk = 0;
    for (uint64_t at = DISK_GROUP_HEAD_BLKS; at < 2 * host.pool->journal_half_blks; at++)
    {
        struct disk_batch batch;
        simdev_peek(host.disk, &batch, sizeof(batch), at * BLK_BYTES);
        if (le32_get(batch.magic) == DISK_MAGIC_BATCH &&
            le64_get(batch.journal_id) == le64_get(host.pool->super.journal_id))
            blk = at;
    }
    CU_ASSERT_TRUE_FATAL(blk > 0);
    uint8_t byte = 0xff;
    simdev_poke(host.disk, &byte, 1, blk * BLK_BYTES + 70);
    /* A whole one would begin with a checkpoint, and that ends this half. */
    CU_ASSERT_EQUAL(scrub_step_journal(scrub_state), 0);
    said[0] = '\0';
    CU_ASSERT_EQUAL(pool_scrub_get(host.pool, &info, hear, NULL), 0);
    CU_ASSERT_EQUAL(info.damaged_blks, 1);
    CU_ASSERT_TRUE(says("the journal holds something else"));
    CU_ASSERT_EQUAL(scrub(), 0);
    host_stop(&host);
}

static void test_maps(void)
{
    /* The root of the snapshot's map: level 1, which its clone has too. */
    start();
    struct line *point = host_line(&host, "a@s");
    CU_ASSERT_EQUAL_FATAL(point->map.levels, 2);
    flip(point->map.root.blk);
    CU_ASSERT_EQUAL(scrub(), 1);
    CU_ASSERT_TRUE(says("a node of level 1 of the map of a@s, twin, holds something else"));
    CU_ASSERT_TRUE(says("bytes 0 to the end are lost"));
    CU_ASSERT_TRUE(host_has_event(&host, "scrub.damaged", "a@s"));
    CU_ASSERT_EQUAL(info.repaired_blks, 0);
    host_stop(&host);
    /* A leaf that all three have; and the same when nothing is in memory. */
    for (int is_cold = 0; is_cold < 2; is_cold++)
    {
        start();
        struct node *root;
        point = host_line(&host, "a@s");
        CU_ASSERT_EQUAL_FATAL(cache_load(host.pool->cache, point->map.root, DISK_TREE_MAP, &root),
                              0);
        unsigned last = le16_get(root->disk->count) - 1u;
        struct node_ref leaf = tree_child_ref(&root->disk->children[last]);
        uint64_t from = tree_child_key(&root->disk->children[last]).lo * BLK_BYTES;
        cache_unpin(host.pool->cache, root);
        flip(leaf.blk);
        if (is_cold)
            host_reopen(&host);
        char text[96];
        snprintf(text, sizeof(text), "bytes %" PRIu64 " to the end are lost", from);
        CU_ASSERT_EQUAL(scrub(), 1);
        CU_ASSERT_TRUE(says("of level 0 of the map of a@s, a, twin,"));
        CU_ASSERT_TRUE(says(text));
        host_stop(&host);
    }
}

/* An inner node that is not in memory hides what is below it; the rest is read. */
static void test_cold_inner(void)
{
    start();
    flip(host_line(&host, "a@s")->map.root.blk);
    flip(host_line(&host, "other")->map.root.blk);
    host_reopen(&host);
    CU_ASSERT_EQUAL(scrub(), 2);
    CU_ASSERT_TRUE(says("of level 1 of the map of a@s, twin,"));
    CU_ASSERT_TRUE(says("of level 0 of the map of other,"));
    host_stop(&host);
}

static void test_drops(void)
{
    start();
    struct line *line = host_line(&host, "a");
    CU_ASSERT_NOT_EQUAL_FATAL(line->drops.root.blk, 0);
    flip(line->drops.root.blk);
    CU_ASSERT_EQUAL(scrub(), 1);
    CU_ASSERT_TRUE(says("a node of the drop list of a,"));
    CU_ASSERT_TRUE(says("its data is whole"));
    host_stop(&host);
}

static void test_pages(void)
{
    start();
    uint64_t number = host_object(&host, "a")->object.page->number;
    flip(host.pool->pages[number]->blks[0]);
    CU_ASSERT_EQUAL(scrub(), 1);
    CU_ASSERT_TRUE(says("of the catalog ("));
    CU_ASSERT_EQUAL(info.repaired_blks, 1);
    CU_ASSERT_EQUAL(scrub(), 0);
    host_reopen(&host); /* refused if it were not mended */
    CU_ASSERT_TRUE(host_holds(&host, "other", 0, 4, 3));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    /* So are the trees above them, and the other copy. */
    for (unsigned copy = 0; copy < PAGE_COPIES; copy++)
    {
        flip(host.pool->pages_trees[copy].root.blk);
        CU_ASSERT_EQUAL(scrub(), 1);
        CU_ASSERT_TRUE(says("of the catalog's index"));
        CU_ASSERT_EQUAL(info.repaired_blks, 1);
        flip(host.pool->pages[number]->blks[copy]);
        CU_ASSERT_EQUAL(scrub(), 1);
        CU_ASSERT_TRUE(says("of the catalog ("));
        CU_ASSERT_EQUAL(scrub(), 0);
        host_reopen(&host);
        CU_ASSERT_TRUE(host_holds(&host, "other", 0, 4, 3));
        CU_ASSERT_EQUAL(host_check(&host), 0);
    }
    host_stop(&host);
}

static void test_unreadable(void)
{
    start();
    struct simdev_fault fault = {
        .op = SIMDEV_READ, .kind = SIMDEV_FAIL, .error = -EIO, .nth = 1, .is_sticky = true};
    simdev_arm(host.disk, &fault);
    CU_ASSERT_TRUE(scrub() > 10);
    CU_ASSERT_TRUE(says("cannot be read"));
    simdev_arm(host.disk, NULL);
    CU_ASSERT_EQUAL(scrub(), 0);
    host_stop(&host);
}

/* Whatever happens between two steps, nothing is damaged. */
static void test_beside_changes(void)
{
    start();
    struct rng rng = rng_of(7);
    uint64_t id, steps = 0;
    char name[16], snapshot[16];
    for (unsigned round = 0; round < 60; round++)
    {
        CU_ASSERT_EQUAL(pool_scrub_start(host.pool, &(struct scrub_options){0}, &id, NULL), 0);
        while (pool_scrub_step(host.pool) > 0)
        {
            steps++;
            uint64_t what = rng_below(&rng, 8);
            for (unsigned i = 0; what < 3 && i < 60; i++)
                CU_ASSERT_EQUAL(host_write(&host, "a", rng_below(&rng, 4000), 1, 5, 0), 0);
            if (what == 3)
                CU_ASSERT_EQUAL(host_unmap(&host, "a", rng_below(&rng, 4000), 500), 0);
            if (what == 4)
                host_settle(&host);
            if (what == 5)
                CU_ASSERT_TRUE(pool_run_job_step(host.pool) >= 0);
            if (what == 6)
            {
                snprintf(name, sizeof(name), "c%" PRIu64, steps);
                snprintf(snapshot, sizeof(snapshot), "s%" PRIu64, steps);
                host_clone(&host, "a", name);
                host_snapshot(&host, "a", snapshot);
                CU_ASSERT_EQUAL(host_write(&host, name, rng_below(&rng, 4000), 1, 5, 0), 0);
                if (rng_percent(&rng, 97) || steps > 4000)
                    host_delete(&host, name);
                if (rng_percent(&rng, 97) || steps > 4000)
                    CU_ASSERT_EQUAL(snapshot_delete(host.pool, "a", snapshot, 0, NULL), 0);
            }
            if (what == 7)
                CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
        }
        said[0] = '\0';
        CU_ASSERT_EQUAL(pool_scrub_get(host.pool, &info, hear, NULL), 0);
        CU_ASSERT_EQUAL(info.damaged_blks, 0);
        if (info.damaged_blks)
            fprintf(stderr, "%s", said);
    }
    CU_ASSERT_TRUE(steps > 100);
    host_settle(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

static void test_job(void)
{
    start();
    uint64_t id, other;
    struct job_info *jobs;
    size_t count;
    CU_ASSERT_EQUAL(pool_scrub_cancel(host.pool, 1), -ENOENT);
    CU_ASSERT_EQUAL(pool_scrub_start(host.pool, &(struct scrub_options){0}, &id, &host.why), 0);
    CU_ASSERT_EQUAL(pool_scrub_start(host.pool, &(struct scrub_options){0}, &other, &host.why),
                    -EBUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "lunette job"));
    CU_ASSERT_EQUAL(pool_scrub_step(host.pool), 1);
    CU_ASSERT_EQUAL_FATAL(job_list(host.pool, &jobs, &count), 0);
    CU_ASSERT_EQUAL_FATAL(count, 1);
    CU_ASSERT_EQUAL(jobs[0].id, id);
    CU_ASSERT_STRING_EQUAL(jobs[0].kind, "scrub");
    CU_ASSERT_TRUE(jobs[0].total_blks > jobs[0].done_blks);
    free(jobs);
    CU_ASSERT_EQUAL(pool_scrub_cancel(host.pool, id), 0);
    CU_ASSERT_EQUAL(pool_scrub_step(host.pool), -ECANCELED);
    CU_ASSERT_EQUAL(pool_scrub_get(host.pool, &info, NULL, NULL), 0);
    CU_ASSERT_TRUE(info.is_cancelled);
    CU_ASSERT_FALSE(info.is_running);
    CU_ASSERT_EQUAL(pool_scrub_step(host.pool), 0);
    /* With threads it runs by itself; who waits for all jobs waits for it. */
    host_start_threads(&host);
    CU_ASSERT_EQUAL(
        pool_scrub_start(host.pool, &(struct scrub_options){.rate_bytes = 8 << 20}, &id, NULL), 0);
    CU_ASSERT_EQUAL(job_wait(host.pool, 0, 0), 0);
    CU_ASSERT_EQUAL(pool_scrub_get(host.pool, &info, NULL, NULL), 0);
    CU_ASSERT_FALSE(info.is_running);
    CU_ASSERT_FALSE(info.is_cancelled);
    CU_ASSERT_TRUE(info.done_blks > 20);
    /* Closing does not wait for it. */
    CU_ASSERT_EQUAL(
        pool_scrub_start(host.pool, &(struct scrub_options){.rate_bytes = 1}, &id, NULL), 0);
    host_stop(&host);
}

static CU_TestInfo scrub_tests[] = {
    {"a sound pool", test_sound},
    {"reads all metadata", test_reads_all},
    {"copies of the superblock", test_supers},
    {"the same without writing", test_supers_read_only},
    {"bitmaps and tables", test_bitmaps},
    {"a checkpoint over a damaged table", test_checkpoint_without_table},
    {"a bitmap that is not in memory", test_unread_bitmap},
    {"the journal", test_journal},
    {"nodes of maps", test_maps},
    {"an inner node that is not in memory", test_cold_inner},
    {"drop lists", test_drops},
    {"pages", test_pages},
    {"a device that cannot be read", test_unreadable},
    {"beside changes", test_beside_changes},
    {"as a job", test_job},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"scrub", NULL, NULL, NULL, NULL, scrub_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
