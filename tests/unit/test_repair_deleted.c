/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Deleted LUNs and snapshots whose maps are damaged: each node of each map, and any of what has it
 * deleted. Their jobs stop, and a repair gives up what is left of them: all of it is free then, and
 * what was not deleted is as it was. What lives and is damaged is left alone, until it is deleted.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/pool/format.h"
#include "lun/volume/catalog.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

enum
{
    LUN_BLKS = 1536,
    POOL_BLKS = 3 * HOST_GROUP_BLKS,
    READ_BLKS = 64,
};

/* In the volume "v", which is guaranteed. */
enum what
{
    WHAT_A,
    WHAT_A_S,
    WHAT_B, /* of a@s */
    WHAT_B_T,
    WHAT_B_X, /* nothing stands on it: b was restored to b@t */
    WHAT_C,   /* of b@t */
    WHATS
};

enum
{
    WITHOUT_A = 1 << WHAT_B | 1 << WHAT_B_T | 1 << WHAT_B_X | 1 << WHAT_C,
};

static const char *const names[WHATS] = {"v/a", "v/a@s", "v/b", "v/b@t", "v/b@x", "v/c"};

static struct engine_host host;
static uint8_t wanted[WHATS][LUN_BLKS]; /* what each block is full of */
static struct repair_result result;
static char said[8192], said_before[8192];
static bool cuts_journal; /* repair() may give up what cannot be replayed */

static void hear(void *opaque, bool is_error, const char *text)
{
    (void)opaque;
    size_t len = strlen(said);
    snprintf(said + len, sizeof(said) - len, "%s%s\n", is_error ? "LEFT: " : "", text);
}

static bool says(const char *text)
{
    bool found = strstr(said, text) != NULL;
    if (!found)
        fprintf(stderr, "said '%s' instead of '%s'\n", said, text);
    return found;
}

static int repair(bool dry_run)
{
    struct repair_options options = {.dry_run = dry_run, .discard_journal = cuts_journal};
    said[0] = '\0';
    return pool_repair_device(&host.env.env, simdev_open(host.disk), &options, hear, NULL, &result,
                              &host.why);
}

/* ---- the pool ------------------------------------------------------------------------------ */

static void fill(enum what what, uint64_t lba, uint8_t value)
{
    CU_ASSERT_EQUAL_FATAL(host_write(&host, names[what], lba, 1, value, 0), 0);
    wanted[what][lba] = value;
}

static void copy_wanted(enum what to, enum what from)
{
    memcpy(wanted[to], wanted[from], LUN_BLKS);
}

/* Maps of two levels that share nodes of several lines, and drop lists. Closed in the end. */
static void start(void)
{
    struct pool_create_options options = {.name = "deleted",
                                          .size_bytes = (uint64_t)POOL_BLKS * LUN_BLK_BYTES,
                                          .group_blks = HOST_GROUP_BLKS,
                                          .journal_bytes = 1 << 20};
    struct volume_attributes volume = {.size_bytes = 7 << 20, .is_guaranteed = true};
    memset(wanted, 0, sizeof(wanted));
    host_start(&host, &options);
    CU_ASSERT_EQUAL_FATAL(volume_create(host.pool, "v", &volume, &host.why), 0);
    host_create(&host, "v/a", LUN_BLKS);
    for (uint64_t i = 0; i < 600; i++)
        fill(WHAT_A, i * 5 % 1499, (uint8_t)(i % 250 + 1));
    host_snapshot(&host, "v/a", "s");
    copy_wanted(WHAT_A_S, WHAT_A);
    host_clone(&host, "v/a@s", "v/b");
    copy_wanted(WHAT_B, WHAT_A);
    for (uint64_t i = 0; i < 30; i++)
        fill(WHAT_A, i * 50, 251);
    for (uint64_t i = 0; i < 300; i++)
        fill(WHAT_B, (800 + i * 2) % 1499, 252);
    host_snapshot(&host, "v/b", "t");
    copy_wanted(WHAT_B_T, WHAT_B);
    host_clone(&host, "v/b@t", "v/c");
    copy_wanted(WHAT_C, WHAT_B);
    for (uint64_t i = 0; i < 60; i++)
        fill(WHAT_B, 300 + i * 3, 250);
    host_snapshot(&host, "v/b", "x");
    copy_wanted(WHAT_B_X, WHAT_B);
    CU_ASSERT_EQUAL_FATAL(snapshot_restore(host.pool, "v/b", "t", 0, &host.why), 0);
    copy_wanted(WHAT_B, WHAT_B_T);
    for (uint64_t i = 0; i < 40; i++)
        fill(WHAT_B, 1200 + i * 3, 253);
    for (uint64_t i = 0; i < 200; i++)
        fill(WHAT_C, (i * 13 + 7) % 1499, 254);
    host_settle(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_close(&host);
}

static bool is_tree_node(uint64_t blk)
{
    struct disk_node node;
    simdev_peek(host.disk, &node, sizeof(node), blk * BLK_BYTES);
    return le32_get(node.header.magic) == DISK_MAGIC_NODE && le64_get(node.header.blk) == blk &&
           (node.kind == DISK_TREE_MAP || node.kind == DISK_TREE_DROPS);
}

static void do_harm(uint64_t blk)
{
    uint8_t bytes[BLK_BYTES];
    simdev_peek(host.disk, bytes, sizeof(bytes), blk * BLK_BYTES);
    bytes[100] ^= 4;
    simdev_poke(host.disk, bytes, sizeof(bytes), blk * BLK_BYTES);
}

/* How many blocks of what is there cannot be read; those that can must be right. */
static unsigned read_all(void)
{
    unsigned unreadable = 0;
    static uint8_t buf[READ_BLKS * LUN_BLK_BYTES];
    for (enum what what = 0; what < WHATS; what++)
    {
        struct lun *lun;
        if (!catalog_find_lun(host.pool, names[what]))
            continue;
        CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, names[what], LUN_READ_ONLY, &lun, NULL), 0);
        for (uint64_t lba = 0, len; lba < LUN_BLKS; lba += len)
        {
            /* Block by block where there is an error. */
            len = lba % READ_BLKS == 0 ? READ_BLKS : 1;
            int r = lun_read(lun, buf, len * LUN_BLK_BYTES, lba * LUN_BLK_BYTES);
            if (r < 0 && len > 1)
                r = lun_read(lun, buf, (len = 1) * LUN_BLK_BYTES, lba * LUN_BLK_BYTES);
            unreadable += r < 0;
            for (uint64_t i = 0; r == 0 && i < len; i++)
            {
                const uint8_t *block = &buf[i * LUN_BLK_BYTES];
                if (block[0] == wanted[what][lba + i] &&
                    memcmp(block, block + 1, LUN_BLK_BYTES - 1) == 0)
                    continue;
                fprintf(stderr, "%s, block %" PRIu64 ": %u\n", names[what], lba + i, block[0]);
                CU_FAIL("a block is read wrong");
            }
        }
        lun_close(lun);
    }
    return unreadable;
}

/* Does the jobs' work as far as it goes. True: one has failed. */
static bool run_jobs(void)
{
    AUTO_FREE struct job_info *jobs = NULL;
    size_t count;
    bool failed = false;
    int r;
    while ((r = pool_run_job_step(host.pool)) > 0 || r == -EBADMSG)
        continue;
    CU_ASSERT_EQUAL(r, 0);
    CU_ASSERT_EQUAL_FATAL(job_list(host.pool, &jobs, &count), 0);
    for (size_t i = 0; i < count; i++)
        failed |= strcmp(jobs[i].state, "failed") == 0;
    return failed;
}

/* Deletes what is in @set, a bit for each; with jobs each is gone before the next one. */
static void delete_set(unsigned set, bool with_jobs)
{
    static const enum what order[] = {WHAT_A_S, WHAT_B_X, WHAT_B_T, WHAT_A, WHAT_B, WHAT_C};
    for (size_t i = 0; i < ARRAY_SIZE(order); i++)
    {
        if (!(set >> order[i] & 1) || !catalog_find_lun(host.pool, names[order[i]]))
            continue;
        host_delete(&host, names[order[i]]);
        if (with_jobs)
            ignore_error(run_jobs(), "it may fail or not");
    }
}

/* A LUN goes with its snapshots only. */
static bool set_is_possible(unsigned set)
{
    return (!(set >> WHAT_A & 1) || (set >> WHAT_A_S & 1)) &&
           (!(set >> WHAT_B & 1) || ((set >> WHAT_B_T & 1) && (set >> WHAT_B_X & 1)));
}

/* ---- one case ------------------------------------------------------------------------------ */

static unsigned given_up, cleaned, cut;

static uint64_t data_blks(void)
{
    CU_ASSERT_EQUAL_FATAL(host_open(&host, &(struct pool_open_options){.read_only = true}), 0);
    uint64_t blks = host_data_blks(&host);
    host_close(&host);
    return blks;
}

/* What was said to be given up of data. */
static uint64_t given_data_blks(void)
{
    static const char before[] = "what is left of it, ";
    uint64_t blks = 0;
    for (const char *at = said; (at = strstr(at, before)) != NULL; at++)
        blks += strtoull(at + strlen(before), NULL, 10);
    return blks;
}

/* Whether @planned is what was @done, but for "would be" where that has "is" or "are". */
static bool is_planned(const char *planned, const char *done)
{
    static const char would_be[] = "would be ";
    while (*planned)
    {
        if (strncmp(planned, would_be, strlen(would_be)) == 0)
        {
            size_t len = strncmp(done, "is ", 3) == 0 ? 3 : strncmp(done, "are ", 4) == 0 ? 4 : 0;
            if (len == 0)
                return false;
            planned += strlen(would_be);
            done += len;
        }
        else if (*planned++ != *done++)
            return false;
    }
    return *done == '\0';
}

/* A repair of the closed pool, which is planned first; what it says before is what it does.
 * @has_leaks: an earlier one did not know what was below a lost node. */
static void repair_planned(bool has_leaks)
{
    uint64_t before_blks = cuts_journal ? 0 : data_blks();
    uint64_t writes = simdev_count(host.disk, SIMDEV_WRITE);
    CU_ASSERT_EQUAL_FATAL(repair(true), 0);
    CU_ASSERT_EQUAL(simdev_count(host.disk, SIMDEV_WRITE), writes);
    struct repair_result planned = result;
    memcpy(said_before, said, sizeof(said));
    CU_ASSERT_EQUAL_FATAL(repair(false), 0);
    CU_ASSERT_TRUE(is_planned(said_before, said));
    if (!is_planned(said_before, said))
        fprintf(stderr, "planned:\n%sdone:\n%s", said_before, said);
    CU_ASSERT_EQUAL(result.mended, planned.mended);
    CU_ASSERT_EQUAL(result.left, planned.left);
    given_up += strstr(said, "is given up") != NULL;
    if (has_leaks)
        return;
    /* The figures are exact: nothing is free beside what is given up, or was in a lost drop list.
     */
    if (!cuts_journal && result.left == 0 && !strstr(said, "the drop list of"))
        CU_ASSERT_EQUAL(data_blks() + given_data_blks(), before_blks);
    if (strstr(said, "is given up"))
    {
        CU_ASSERT_PTR_NULL(strstr(said, "the pool counts"));
        CU_ASSERT_PTR_NULL(strstr(said, "that nothing refers to"));
    }
}

/* Nothing is damaged any more: jobs go through, and with the last LUN the last block is free. */
static void expect_clean(void)
{
    cleaned++;
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    CU_ASSERT_FALSE(run_jobs());
    CU_ASSERT_EQUAL(host_check(&host), 0);
    if (host.said[0])
        fprintf(stderr, "check: %s\n", host.said);
    CU_ASSERT_EQUAL(read_all(), 0);
    delete_set(UINT32_MAX, false);
    CU_ASSERT_FALSE(run_jobs());
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    CU_ASSERT_EQUAL(host_data_blks(&host), 0);
    CU_ASSERT_EQUAL(host.pool->line_count, 0);
    host_close(&host);
}

/* The pool is closed and damaged, with something deleted. */
static void mend_and_examine(void)
{
    unsigned unreadable = 0;
    cuts_journal = host_open(&host, &(struct pool_open_options){.read_only = true}) < 0;
    if (cuts_journal)
    {
        cuts_journal = false;
        CU_ASSERT_EQUAL(repair(false), -EBADMSG); /* until it is told to */
        cuts_journal = true;
        cut++;
    }
    else
    {
        unreadable = read_all();
        host_close(&host);
    }
    repair_planned(false);
    bool is_left = result.left > 0, has_given = strstr(said, "is given up") != NULL;
    if (cuts_journal)
    {
        CU_ASSERT_EQUAL_FATAL(host_open(&host, &(struct pool_open_options){.read_only = true}), 0);
        unreadable = read_all();
        host_close(&host);
    }
    CU_ASSERT_EQUAL(is_left, unreadable > 0); /* a deleted one is no reason */
    if (is_left)
    {
        CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
        CU_ASSERT_EQUAL(read_all(), unreadable); /* no zeros where something is lost */
        CU_ASSERT_FALSE(run_jobs());
        CU_ASSERT_EQUAL(read_all(), unreadable);
        delete_set(UINT32_MAX, true);
        host_close(&host);
        repair_planned(has_given);
        CU_ASSERT_EQUAL(result.left, 0);
    }
    expect_clean();
}

/* ---- all of them --------------------------------------------------------------------------- */

enum when
{
    WHEN_BEFORE,  /* damaged, then deleted; jobs go as far as they can */
    WHEN_UNBEGUN, /* deleted, then damaged; no job has run */
    WHEN_BEGUN,   /* the same, amid a walk */
    WHEN_CRASHED, /* damaged, deleted, and the power fails */
    WHEN_AFTER,   /* deleted, the power fails amid a walk, and then something is damaged */
    WHENS
};

static void delete_at(enum when when, unsigned set, unsigned steps)
{
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    delete_set(set, when == WHEN_BEFORE);
    for (unsigned i = 0; (when == WHEN_BEGUN || when == WHEN_AFTER) && i < steps; i++)
        CU_ASSERT_TRUE(pool_run_job_step(host.pool) >= 0);
    if (when == WHEN_CRASHED || when == WHEN_AFTER)
    {
        host_flush(&host);
        host_crash(&host);
        return;
    }
    host_close(&host);
}

static void run_case(enum when when, unsigned set, unsigned steps, uint64_t blk)
{
    bool is_first = when == WHEN_BEFORE || when == WHEN_CRASHED;
    if (is_first)
        do_harm(blk);
    delete_at(when, set, steps);
    if (!is_first)
        do_harm(blk);
    mend_and_examine();
}

/* Every node of a tree, on a disk as @when and @set make it. */
static void run_all(enum when when, unsigned set, unsigned steps)
{
    struct simdev *pristine = host.disk;
    host.disk = simdev_copy(pristine, 1);
    if (when == WHEN_UNBEGUN || when == WHEN_BEGUN || when == WHEN_AFTER)
        delete_at(when, set, steps);
    struct simdev *deleted = host.disk;
    for (uint64_t blk = 0; blk < POOL_BLKS; blk++)
    {
        host.disk = deleted;
        if ((blk + set) % 5 != 0 || !is_tree_node(blk)) /* all, with one set or another */
            continue;
        host.disk = simdev_copy(pristine, blk);
        run_case(when, set, steps, blk);
        simdev_destroy(host.disk);
    }
    simdev_destroy(deleted);
    host.disk = pristine;
}

static void test_each(void)
{
    for (enum when when = 0; when < WHENS; when++)
    {
        given_up = cleaned = cut = 0;
        start();
        for (unsigned set = 1; set < 1u << WHATS; set++)
        {
            for (unsigned steps = 1; set_is_possible(set) &&
                                     steps <= (when == WHEN_BEGUN || when == WHEN_AFTER ? 3u : 1u);
                 steps += 2)
                run_all(when, set, steps);
        }
        host_stop(&host);
        printf(" %u of %u given up", given_up, cleaned);
        CU_ASSERT_TRUE(given_up > 20 && given_up < cleaned);
        CU_ASSERT_EQUAL(cut > 0, when == WHEN_AFTER);
    }
    printf(" ");
}

/* ---- beside what lives --------------------------------------------------------------------- */

/* The first leaf of the map of @name that the line owns, which has more such leaves. */
static uint64_t own_leaf(const char *name)
{
    CU_ASSERT_EQUAL_FATAL(host_open(&host, &(struct pool_open_options){.read_only = true}), 0);
    const struct line *line = host_line(&host, name);
    struct node *root;
    uint64_t blk = 0, leaves = 0;
    CU_ASSERT_EQUAL_FATAL(line->map.levels, 2);
    CU_ASSERT_EQUAL_FATAL(cache_load(host.pool->cache, line->map.root, DISK_TREE_MAP, &root), 0);
    for (unsigned i = 0; i < le16_get(root->disk->count); i++)
    {
        struct node_ref ref = tree_child_ref(&root->disk->children[i]);
        leaves += line_owns(line, ref.birth);
        if (line_owns(line, ref.birth) && blk == 0)
            blk = ref.blk;
    }
    cache_unpin(host.pool->cache, root);
    host_close(&host);
    CU_ASSERT_TRUE_FATAL(leaves > 1);
    return blk;
}

/* While a tree of a LUN that lives is lost too, what is known of the deleted one is free at once,
 * and the rest of it later. */
static void test_beside(void)
{
    start();
    uint64_t dead = own_leaf("v/c"), alive = own_leaf("v/a");
    do_harm(dead);
    do_harm(alive);
    delete_at(WHEN_BEFORE, 1u << WHAT_C, 0);
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    uint64_t before = host_data_blks(&host), all = host.pool->line_count;
    unsigned unreadable = read_all();
    CU_ASSERT_TRUE(run_jobs());
    host_close(&host);
    repair_planned(false);
    CU_ASSERT_TRUE(says("trees of a deleted LUN (line "));
    CU_ASSERT_TRUE(says("blocks of what is given up are free"));
    CU_ASSERT_TRUE(says("LEFT: a tree of v/a cannot be read"));
    CU_ASSERT_TRUE(says("LEFT: space is not given back"));
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    CU_ASSERT_EQUAL(host.pool->line_count, all - 1);
    CU_ASSERT_TRUE(unreadable > 0);
    CU_ASSERT_EQUAL(read_all(), unreadable);
    CU_ASSERT_FALSE(run_jobs());
    uint64_t after = host_data_blks(&host);
    CU_ASSERT_TRUE(after < before);
    struct check_result check;
    CU_ASSERT_EQUAL(pool_check(host.pool, NULL, NULL, &check), 0);
    host_close(&host);
    /* Once more there is nothing to do; and then v/a is deleted. */
    CU_ASSERT_EQUAL(repair(false), 0);
    CU_ASSERT_EQUAL(result.mended, 0);
    delete_at(WHEN_BEFORE, 1u << WHAT_A | 1u << WHAT_A_S, 0);
    repair_planned(true);
    CU_ASSERT_EQUAL(result.left, 0);
    expect_clean();
    host_stop(&host);
}

/* A leaf that lives refers to what the deleted shared with it, and nothing else does: it stays. */
static void test_beside_shared(void)
{
    start();
    uint64_t dead = own_leaf("v/c"), alive = own_leaf("v/a");
    uint8_t sound[LUN_BLK_BYTES];
    simdev_peek(host.disk, sound, sizeof(sound), alive * LUN_BLK_BYTES);
    do_harm(dead);
    do_harm(alive);
    delete_at(WHEN_BEFORE, WITHOUT_A | 1u << WHAT_A_S, 0);
    repair_planned(false);
    CU_ASSERT_TRUE(says("blocks of what is given up are free"));
    CU_ASSERT_TRUE(says("LEFT: a tree of v/a cannot be read"));
    /* The leaf as it was is whole: nothing below it was given away. */
    simdev_poke(host.disk, sound, sizeof(sound), alive * LUN_BLK_BYTES);
    CU_ASSERT_EQUAL(repair(false), 0);
    CU_ASSERT_EQUAL(result.left, 0);
    CU_ASSERT_PTR_NULL(strstr(said, "were marked free"));
    expect_clean();
    host_stop(&host);
}

/* What lives is never given up, whatever is lost of it. */
static void test_alive(void)
{
    for (int with_others = 0; with_others < 2; with_others++)
    {
        start();
        do_harm(own_leaf("v/a"));
        if (with_others)
            delete_at(WHEN_BEFORE, WITHOUT_A, 0);
        repair_planned(false);
        CU_ASSERT_TRUE(says("LEFT: a tree of v/a cannot be read"));
        CU_ASSERT_PTR_NULL(strstr(said, "given up"));
        CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
        CU_ASSERT_TRUE(read_all() > 0);
        CU_ASSERT_PTR_NOT_NULL(catalog_find_lun(host.pool, "v/a"));
        host_close(&host);
        host_stop(&host);
    }
}

/* ---- cut off ------------------------------------------------------------------------------- */

/* At each write of the repair: the next one ends it. */
static void test_cut_off(void)
{
    start();
    do_harm(own_leaf("v/c"));
    delete_at(WHEN_BEFORE, 1u << WHAT_C, 0);
    struct simdev *pristine = host.disk;
    struct rng rng = rng_of(5);
    unsigned cuts = 0;
    bool was_cut = true;
    for (uint64_t n = 1; was_cut; n++)
    {
        host.disk = simdev_copy(pristine, n);
        struct simdev_crash_policy policy = simdev_random_policy(&rng);
        simdev_cut_power_at(host.disk, n);
        ignore_error(repair(false), "the power is off");
        was_cut = simdev_is_off(host.disk);
        cuts += was_cut;
        simdev_cut_power_at(host.disk, 0);
        simdev_restart(host.disk, &rng, &policy);
        CU_ASSERT_EQUAL(repair(false), 0);
        CU_ASSERT_EQUAL(result.left, 0);
        expect_clean();
        simdev_destroy(host.disk);
    }
    CU_ASSERT_TRUE(cuts > 10);
    host.disk = pristine;
    host_stop(&host);
}

static CU_TestInfo deleted_tests[] = {
    {"each node of each tree", test_each},
    {"beside what lives and is damaged", test_beside},
    {"beside what shares its blocks", test_beside_shared},
    {"what lives", test_alive},
    {"cut off at each write", test_cut_off},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"repair of what is deleted", NULL, NULL, NULL, NULL, deleted_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
