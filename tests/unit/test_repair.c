/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each block of metadata of a small pool is damaged in turn. A repair mends it, or says what it
 * cannot mend; what it leaves is clean, or no worse than before; data that can be read is right.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/pool/space_internal.h"
#include "lun/pool/super.h"
#include "lun/volume/catalog.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/damage_host.h"

static struct repair_result result;
static char said[16384];

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

static int repair(const struct repair_options *options)
{
    said[0] = '\0';
    return pool_repair_device(&host.env.env, simdev_open(host.disk), options, hear, NULL, &result,
                              &host.why);
}

static const struct repair_options dry = {.dry_run = true};
static const struct repair_options wet = {0};

/* How many blocks of all LUNs cannot be read; those that can be must be right. */
static unsigned read_all(void)
{
    unsigned unreadable = 0;
    uint8_t buf[LUN_BLK_BYTES];
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    {
        struct lun *lun;
        CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, names[i], LUN_READ_ONLY, &lun, NULL), 0);
        for (uint64_t lba = 0; lba < lun_size_bytes(lun) / LUN_BLK_BYTES; lba++)
        {
            int r = lun_read(lun, buf, sizeof(buf), lba * LUN_BLK_BYTES);
            unreadable += r < 0;
            uint8_t found = buf[0];
            bool is_right = found == wanted[i][lba] || (is_journal_hit && found == before[i][lba]);
            if (r == 0 && (!is_right || buf[LUN_BLK_BYTES - 1] != found))
            {
                CU_FAIL("a block is read wrong");
                fprintf(stderr, "%s, block %" PRIu64 ": %u, not %u\n", names[i], lba, buf[0],
                        wanted[i][lba]);
            }
        }
        lun_close(lun);
    }
    return unreadable;
}

/* Opens it as after any repair, reads and checks it, changes something. Errors that are left. */
static uint64_t examine(unsigned *unreadable)
{
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    *unreadable = read_all();
    uint64_t errors = host_check(&host);
    if (errors == 0)
    {
        host_create(&host, "new", 64);
        CU_ASSERT_EQUAL(host_write(&host, "new", 0, 20, 9, 0), 0);
        host_delete(&host, "new");
        host_settle(&host);
        CU_ASSERT_EQUAL(host_check(&host), 0);
        CU_ASSERT_EQUAL(read_all(), 0);
    }
    host_close(&host);
    return errors;
}

/* A repair left nothing. */
static void stop_whole(void)
{
    unsigned unreadable;
    CU_ASSERT_EQUAL(result.left, 0);
    CU_ASSERT_EQUAL(examine(&unreadable), 0);
    CU_ASSERT_EQUAL(unreadable, 0);
    host_stop(&host);
}

/* ---- a sound pool -------------------------------------------------------------------------- */

static void test_sound(void)
{
    for (int with_journal = 0; with_journal < 2; with_journal++)
    {
        start(with_journal);
        uint64_t writes = simdev_count(host.disk, SIMDEV_WRITE);
        CU_ASSERT_EQUAL(repair(&dry), 0);
        CU_ASSERT_EQUAL(simdev_count(host.disk, SIMDEV_WRITE), writes);
        CU_ASSERT_STRING_EQUAL(said, "");
        CU_ASSERT_EQUAL(result.mended + result.left, 0);
        CU_ASSERT_EQUAL(repair(&wet), 0);
        CU_ASSERT_STRING_EQUAL(said, "");
        unsigned unreadable;
        CU_ASSERT_EQUAL(examine(&unreadable), 0);
        CU_ASSERT_EQUAL(unreadable, 0);
        host_stop(&host);
    }
}

/* ---- each block ---------------------------------------------------------------------------- */

struct outcomes
{
    unsigned sound, mended, left, refused;
};

/* What a repair makes of it; the disk is changed. */
static void repair_one(uint64_t blk, enum harm harm, struct outcomes *outcomes)
{
    bool is_super = magic_of(blk) == DISK_MAGIC_SUPER;
    do_harm(blk, harm);
    bool opened = host_open(&host, &(struct pool_open_options){.read_only = true}) == 0;
    bool was_clean = opened && host_check(&host) == 0;
    unsigned unreadable = opened ? read_all() : 0, after;
    host_close(&host);
    int r = repair(&dry);
    struct repair_result planned = result;
    int done = repair(&wet);
    CU_ASSERT_EQUAL(done, r); /* what would be refused is */
    if (done < 0)
    {
        CU_ASSERT_FALSE(opened); /* then there is nothing to repair */
        CU_ASSERT_TRUE(strlen(host.why.text) > 0);
        outcomes->refused++;
        return;
    }
    CU_ASSERT_EQUAL(planned.mended > 0, result.mended > 0);
    CU_ASSERT_EQUAL(planned.left > 0, result.left > 0);
    if (!was_clean || is_super)
        CU_ASSERT_TRUE(!was_clean ? result.mended + result.left > 0 : true);
    uint64_t errors = examine(&after);
    CU_ASSERT_EQUAL(errors > 0, result.left > 0);
    if (opened)
        CU_ASSERT_EQUAL(after, unreadable); /* it takes nothing away */
    if (result.left > 0)
        outcomes->left++;
    else if (result.mended > 0)
        outcomes->mended++;
    else
        outcomes->sound++;
    /* And a second one has nothing more to do. */
    CU_ASSERT_EQUAL(repair(&wet), 0);
    CU_ASSERT_EQUAL(result.mended, 0);
}

static void test_each(void)
{
    struct outcomes outcomes = {0};
    for (int with_journal = 0; with_journal < 2; with_journal++)
    {
        start(with_journal);
        struct simdev *pristine = host.disk;
        for (uint64_t blk = 0; blk < POOL_BLKS; blk++)
        {
            host.disk = pristine;
            for (enum harm harm = 0; is_metadata(blk) && harm < HARMS; harm++)
            {
                host.disk = simdev_copy(pristine, blk);
                is_journal_hit = false;
                repair_one(blk, harm, &outcomes);
                simdev_destroy(host.disk);
                host.disk = pristine;
            }
        }
        host_stop(&host);
    }
    printf(" %u sound, %u mended, %u left, %u refused ", outcomes.sound, outcomes.mended,
           outcomes.left, outcomes.refused);
    CU_ASSERT_TRUE(outcomes.sound > 0);
    CU_ASSERT_TRUE(outcomes.mended > 10);
    CU_ASSERT_TRUE(outcomes.left > 5);
    CU_ASSERT_TRUE(outcomes.refused > 0);
}

/* ---- what is mended, and how it is said ------------------------------------------------------ */

/* What block @blk of the closed pool's @what is; looked up while it is open. */
static uint64_t find_blk(const char *what)
{
    CU_ASSERT_EQUAL_FATAL(host_open(&host, &(struct pool_open_options){.read_only = true}), 0);
    uint64_t blk = 0;
    struct space *space = host.pool->space;
    if (strcmp(what, "bitmap") == 0)
        blk = slot_blk(space, 0, DISK_HEAD_BITMAP, space_group(space, 0)->slot.slot);
    else if (strcmp(what, "table1") == 0)
        blk = slot_blk(space, 0, DISK_HEAD_TABLE1, space->tables1[0].slot);
    else if (strcmp(what, "table2") == 0)
        blk = slot_blk(space, 0, DISK_HEAD_TABLE2, space->tables2[0].slot);
    else if (strcmp(what, "index") == 0)
        blk = host.pool->pages_trees[0].root.blk;
    else if (strcmp(what, "index2") == 0)
        blk = host.pool->pages_trees[1].root.blk;
    else if (strcmp(what, "drops") == 0)
        blk = host_line(&host, "a")->drops.root.blk;
    else if (strcmp(what, "page2") == 0)
        blk = host.pool->pages[0]->blks[1];
    else if (strcmp(what, "map") == 0)
        blk = host_line(&host, "a@s")->map.root.blk;
    else if (strcmp(what, "page") == 0)
        blk = host.pool->pages[0]->blks[0];
    host_close(&host);
    CU_ASSERT_TRUE_FATAL(blk > 0);
    return blk;
}

static const struct
{
    const char *what, *text;
    const char *deed; /* behind it, and behind "would be" or what it is then */
    const char *is;
} mended[] = {
    {"bitmap", "bitmaps of 1 allocation groups, the first of group 0, cannot be read: they",
     "made anew", "are"},
    {"table1", "the table of allocation groups 0 to 7 is damaged: it", "made anew", "is"},
    {"table2", "the table of allocation groups 0 to 7 is damaged: it", "made anew", "is"},
    {"index", "copy 0 of the index of the catalog cannot be read; it", "written anew", "is"},
    {"index2", "copy 1 of the index of the catalog cannot be read; it", "written anew", "is"},
    {"page", "copy 0 of page 0 of the catalog, holds something else than was written; it",
     "written anew", "is"},
    {"drops", "the drop list of a cannot be read: it", "made anew, with ", "is"},
    {"page2", "copy 1 of page 0 of the catalog, holds something else than was written; it",
     "written anew", "is"},
};

/* As a plan, or as what is done. */
static bool says_mended(size_t i, const char *is)
{
    char text[256];
    snprintf(text, sizeof(text), "%s %s %s", mended[i].text, is, mended[i].deed);
    return says(text);
}

static void test_says(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(mended); i++)
    {
        start(i % 2);
        do_harm(find_blk(mended[i].what), HARM_FLIP);
        struct pool_open_options look = {.read_only = true};
        CU_ASSERT_TRUE(host_open(&host, &look) < 0 || host_check(&host) > 0);
        host_close(&host);
        CU_ASSERT_EQUAL(repair(&dry), 0);
        CU_ASSERT_TRUE(says_mended(i, "would be"));
        CU_ASSERT_EQUAL(result.left, 0);
        CU_ASSERT_EQUAL(repair(&wet), 0);
        CU_ASSERT_TRUE(says_mended(i, mended[i].is));
        stop_whole();
    }
}

/* Whether @blk of the closed pool is of the catalog: a page, or a node of its index. */
static bool is_catalog(uint64_t blk)
{
    struct disk_node node;
    simdev_peek(host.disk, &node, sizeof(node), blk * BLK_BYTES);
    uint32_t magic = le32_get(node.header.magic);
    return magic == DISK_MAGIC_PAGE || (magic == DISK_MAGIC_NODE && node.kind == DISK_TREE_PAGES);
}

static void scrub(void)
{
    uint64_t id;
    int r;
    CU_ASSERT_EQUAL_FATAL(pool_scrub_start(host.pool, &(struct scrub_options){0}, &id, NULL), 0);
    while ((r = pool_scrub_step(host.pool)) > 0)
        continue;
    CU_ASSERT_EQUAL(r, 0);
}

/* One block of the catalog is lost: the pool serves all that it has; the check names what is
 * damaged, and opening for writing, or a scrub, mends it. True: it was in use. */
static bool lose_one(void)
{
    unsigned unreadable;
    CU_ASSERT_EQUAL_FATAL(host_open(&host, &(struct pool_open_options){.read_only = true}), 0);
    CU_ASSERT_EQUAL(read_all(), 0);
    bool is_used = host_check(&host) > 0;
    host_close(&host);
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    bool is_told = host_has_event(&host, "metadata.repaired", "");
    CU_ASSERT_TRUE(!is_told || host_check(&host) == 0);
    scrub(); /* of a copy that opening did not need */
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_close(&host);
    CU_ASSERT_EQUAL(examine(&unreadable), 0);
    CU_ASSERT_EQUAL(unreadable, 0);
    return is_used;
}

static void test_twice(void)
{
    unsigned used = 0;
    for (int with_journal = 0; with_journal < 2; with_journal++)
    {
        start(with_journal);
        struct simdev *pristine = host.disk;
        for (uint64_t blk = 0; blk < POOL_BLKS; blk++)
        {
            host.disk = pristine;
            for (enum harm harm = HARM_FLIP; is_catalog(blk) && harm <= HARM_ZERO; harm++)
            {
                host.disk = simdev_copy(pristine, blk);
                do_harm(blk, harm);
                used += lose_one();
                simdev_destroy(host.disk);
                host.disk = pristine;
            }
        }
        host_stop(&host);
    }
    CU_ASSERT_EQUAL(used, 2 * 2 * (2 * 2 + 2)); /* two pages and a node, twice each */
}

/* Both copies of the index: the pages are looked for. Both of a page: refused. */
static void test_both_copies(void)
{
    static const char *const both[][2] = {{"index", "index2"}, {"page", "page2"}};
    unsigned unreadable;
    for (size_t i = 0; i < ARRAY_SIZE(both); i++)
    {
        start(true);
        uint64_t blks[] = {find_blk(both[i][0]), find_blk(both[i][1])};
        CU_ASSERT_TRUE(blks[1] > blks[0] + 16 || blks[0] > blks[1] + 16); /* far apart */
        do_harm(blks[0], HARM_ZERO);
        do_harm(blks[1], HARM_ZERO);
        CU_ASSERT_EQUAL(host_open(&host, NULL), -EBADMSG);
        CU_ASSERT_EQUAL(repair(&wet), i == 0 ? 0 : -EBADMSG);
        if (i == 0)
        {
            CU_ASSERT_TRUE(says("damaged in both copies: 2 of 2 pages were found without it"));
            CU_ASSERT_EQUAL(result.left, 0);
            CU_ASSERT_EQUAL(examine(&unreadable), 0);
            CU_ASSERT_EQUAL(unreadable, 0);
        }
        host_stop(&host);
    }
}

/* An inner node of one index: what is below it is not found, and leaks until a repair. */
static void test_inner_index(void)
{
    enum
    {
        VALUES = 300, /* each on a page of its own */
    };
    static uint8_t value[1000];
    char key[16];
    unsigned unreadable;
    for (unsigned copy = 0; copy < PAGE_COPIES; copy++)
    {
        start(false);
        CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
        for (unsigned i = 0; i < VALUES; i++)
        {
            snprintf(key, sizeof(key), "k%u", i);
            struct store_change change = {.key = key, .value = value, .len = sizeof(value)};
            CU_ASSERT_EQUAL_FATAL(store_apply(host.pool, &change, 1, NULL), 0);
        }
        CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
        struct tree tree = host.pool->pages_trees[copy];
        CU_ASSERT_EQUAL_FATAL(tree.levels, 2);
        host_close(&host);
        do_harm(tree.root.blk, HARM_FLIP);
        struct check_result check;
        CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
        CU_ASSERT_TRUE(host_has_event(&host, "metadata.repaired", ""));
        CU_ASSERT_EQUAL(read_all(), 0);
        CU_ASSERT_EQUAL(pool_check(host.pool, NULL, NULL, &check), 0);
        CU_ASSERT_TRUE(check.blks_leaked > 0 && check.blks_leaked < 4);
        host_close(&host);
        CU_ASSERT_EQUAL(repair(&wet), 0);
        CU_ASSERT_EQUAL(result.left, 0);
        CU_ASSERT_EQUAL(examine(&unreadable), 0);
        host_stop(&host);
    }
}

/* Blocks that cannot be read, each once; 0: none. */
static uint64_t unreadable_blks[2];

static void fail_once(void *opaque, const struct simdev_call *call)
{
    (void)opaque;
    const struct simdev_fault fault = {
        .op = SIMDEV_READ, .kind = SIMDEV_FAIL, .error = -EIO, .nth = 1};
    for (size_t i = 0; i < ARRAY_SIZE(unreadable_blks); i++)
    {
        if (unreadable_blks[i] == 0 || call->op != SIMDEV_READ ||
            call->offset != unreadable_blks[i] * BLK_BYTES)
            continue;
        unreadable_blks[i] = 0;
        simdev_arm(host.disk, &fault);
        return;
    }
}

/* The index of one copy is lost, and at the same opening what only it led to, or what tells that it
 * is in use: nothing stays taken for it. */
static void test_index_and_more(void)
{
    static const struct
    {
        const char *index, *other;
        bool is_damage; /* else it is over after the first time */
    } cases[] = {
        {"index", "page", false},  {"index2", "page2", false}, {"index", "page", true},
        {"index2", "page2", true}, {"index", "bitmap", false}, {"index2", "bitmap", false},
    };
    unsigned unreadable;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    {
        start(i % 2);
        uint64_t blks[] = {find_blk(cases[i].index), find_blk(cases[i].other)};
        for (size_t k = 0; k < ARRAY_SIZE(blks); k++)
        {
            if (cases[i].is_damage)
                do_harm(blks[k], HARM_FLIP);
            else
                unreadable_blks[k] = blks[k];
        }
        simdev_set_watch(host.disk, fail_once, NULL);
        CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
        simdev_set_watch(host.disk, NULL, NULL);
        CU_ASSERT_TRUE(unreadable_blks[0] == 0 && unreadable_blks[1] == 0);
        CU_ASSERT_TRUE(host_has_event(&host, "metadata.repaired", ""));
        CU_ASSERT_EQUAL(host_check(&host), 0);
        host_close(&host);
        CU_ASSERT_EQUAL(examine(&unreadable), 0);
        CU_ASSERT_EQUAL(unreadable, 0);
        host_stop(&host);
    }
}

/* ---- drop lists ---------------------------------------------------------------------------- */

/* All LUNs and snapshots go; blocks that are still taken for data then. */
static uint64_t delete_all(void)
{
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    if (catalog_find_lun(host.pool, "a@s"))
        CU_ASSERT_EQUAL(snapshot_delete(host.pool, "a", "s", 0, NULL), 0);
    const char *const luns[] = {"a", "twin", "other"};
    for (size_t i = 0; i < ARRAY_SIZE(luns); i++)
    {
        if (catalog_find_lun(host.pool, luns[i]))
            host_delete(&host, luns[i]);
    }
    host_settle(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    struct space_stats stats;
    space_get_stats(host.pool->space, &stats);
    host_close(&host);
    return stats.data_blks;
}

/* A list with many entries, of a LUN whose predecessor is what @hidden says; no job has run.
 * The expected list is what the damaged one was. */
enum below
{
    BELOW_VISIBLE,
    BELOW_HIDDEN_TWO, /* two children */
    BELOW_HIDDEN_ONE, /* one: a merge is under way */
    BELOW_CHAIN,      /* the same, on a point that is seen no more either */
    BELOWS
};

static void start_drops(enum below below)
{
    start(false);
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    for (uint64_t i = 0; i < 500; i++)
    {
        fill(0, i * 5 % 2999, 253);
        fill(2, i * 3 % 2999, 254);
    }
    if (below == BELOW_CHAIN)
    {
        host_snapshot(&host, "a", "t");
        for (uint64_t i = 0; i < 300; i++)
            fill(0, (i * 7 + 899) % 2999, 255);
        CU_ASSERT_EQUAL(snapshot_delete(host.pool, "a", "t", 0, NULL), 0);
    }
    if (below == BELOW_HIDDEN_TWO)
        CU_ASSERT_EQUAL(snapshot_delete(host.pool, "a", "s", 0, NULL), 0);
    if (below == BELOW_HIDDEN_ONE)
    {
        host_delete(&host, "twin");
        while (host_line(&host, "a@s")->child_count > 1)
            CU_ASSERT_TRUE_FATAL(pool_run_job_step(host.pool) > 0);
        CU_ASSERT_EQUAL(snapshot_delete(host.pool, "a", "s", 0, NULL), 0);
    }
    host_close(&host);
}

static void read_as_written(const char *name, size_t i)
{
    uint8_t buf[LUN_BLK_BYTES];
    struct lun *lun;
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, name, LUN_READ_ONLY, &lun, NULL), 0);
    for (uint64_t lba = 0; lba < lun_size_bytes(lun) / LUN_BLK_BYTES; lba++)
    {
        CU_ASSERT_EQUAL(lun_read(lun, buf, sizeof(buf), lba * LUN_BLK_BYTES), 0);
        CU_ASSERT_EQUAL(buf[0], wanted[i][lba]);
    }
    lun_close(lun);
}

/* Every entry of a list that is made anew is what it was, where the point is as it was. */
static void test_drops(void)
{
    for (enum below below = 0; below < BELOWS; below++)
    {
        start_drops(below);
        CU_ASSERT_EQUAL_FATAL(host_open(&host, &(struct pool_open_options){.read_only = true}), 0);
        const struct line *line = host_line(&host, "a");
        uint64_t data = line->dropped_data_blks, nodes = line->dropped_node_blks;
        uint64_t blk = line->drops.root.blk;
        bool is_alone =
            line->predecessor->child_count == 1 && line->predecessor->snapshot_count == 0;
        CU_ASSERT_EQUAL(is_alone, below == BELOW_HIDDEN_ONE || below == BELOW_CHAIN);
        host_close(&host);
        CU_ASSERT_TRUE_FATAL(blk != 0 && data > 50 && nodes > 0);
        do_harm(blk, HARM_ZERO);
        CU_ASSERT_EQUAL(repair(&dry), 0);
        CU_ASSERT_TRUE(result.mended > 0 && result.left == 0);
        CU_ASSERT_EQUAL(repair(&wet), 0);
        CU_ASSERT_TRUE(says("the drop list of a cannot be read: it is made anew"));
        CU_ASSERT_EQUAL(result.left, 0);
        CU_ASSERT_EQUAL_FATAL(host_open(&host, &(struct pool_open_options){.read_only = true}), 0);
        CU_ASSERT_EQUAL(host_check(&host), 0);
        line = host_line(&host, "a");
        CU_ASSERT_EQUAL(line->dropped_data_blks, is_alone ? 0 : data);
        CU_ASSERT_EQUAL(line->dropped_node_blks, is_alone ? 0 : nodes);
        host_close(&host);
        CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
        host_settle(&host);
        CU_ASSERT_EQUAL(host_check(&host), 0);
        read_as_written("a", 0);
        if (catalog_find_lun(host.pool, "twin"))
            read_as_written("twin", 2);
        if (catalog_find_lun(host.pool, "a@s"))
        {
            read_as_written("a@s", 1);
            CU_ASSERT_EQUAL(snapshot_delete(host.pool, "a", "s", 0, NULL), 0);
        }
        host_settle(&host);
        CU_ASSERT_EQUAL(host_check(&host), 0);
        if (catalog_find_lun(host.pool, "twin"))
            host_delete(&host, "twin");
        host_settle(&host);
        CU_ASSERT_EQUAL(host_check(&host), 0);
        read_as_written("a", 0);
        struct space_stats stats;
        space_get_stats(host.pool->space, &stats);
        CU_ASSERT_EQUAL(stats.data_blks, host_line(&host, "a")->mapped_blks +
                                             host_line(&host, "other")->mapped_blks);
        host_close(&host);
        CU_ASSERT_EQUAL(delete_all(), 0);
        host_stop(&host);
    }
}

/* It does not follow from maps that are lost too. */
static void test_drops_and_map(void)
{
    start_drops(BELOW_VISIBLE);
    uint64_t drops = find_blk("drops"), map = find_blk("map");
    uint8_t sound[BLK_BYTES];
    simdev_peek(host.disk, sound, sizeof(sound), map * BLK_BYTES);
    do_harm(drops, HARM_FLIP);
    do_harm(map, HARM_FLIP);
    CU_ASSERT_EQUAL(repair(&dry), 0);
    CU_ASSERT_TRUE(says("LEFT: the drop list of a cannot be read, and does not follow"));
    CU_ASSERT_EQUAL(repair(&wet), 0);
    CU_ASSERT_TRUE(says("LEFT: the drop list of a cannot be read, and does not follow"));
    CU_ASSERT_TRUE(says("LEFT: space is not given back"));
    /* Nothing was given away: the map as it was is whole, and then the list follows. */
    simdev_poke(host.disk, sound, sizeof(sound), map * BLK_BYTES);
    CU_ASSERT_EQUAL(repair(&wet), 0);
    CU_ASSERT_TRUE(says("the drop list of a cannot be read: it is made anew"));
    CU_ASSERT_EQUAL(result.left, 0);
    CU_ASSERT_EQUAL(delete_all(), 0);
    host_stop(&host);
}

/* All of the fixed metadata at once but one superblock: the trees say it all. */
static void test_all_fixed(void)
{
    unsigned unreadable;
    start(true);
    for (uint64_t g = 0; g < POOL_BLKS / HOST_GROUP_BLKS; g++)
    {
        for (uint64_t head = DISK_HEAD_BITMAP; head < DISK_GROUP_HEAD_BLKS; head++)
            do_harm(g * HOST_GROUP_BLKS + head, HARM_ZERO);
    }
    do_harm(0, HARM_ZERO);
    do_harm(1, HARM_ZERO);
    CU_ASSERT_EQUAL(repair(&wet), 0);
    CU_ASSERT_EQUAL(result.left, 0);
    CU_ASSERT_TRUE(says("copy 0 of the superblock"));
    CU_ASSERT_TRUE(says("copy 1 of the superblock"));
    CU_ASSERT_EQUAL(examine(&unreadable), 0);
    CU_ASSERT_EQUAL(unreadable, 0);
    host_stop(&host);
}

/* Both slots of what says what is free, of all groups: bitmaps, the tables of bitmaps, the tables
 * of tables, all of them. It follows from the trees. */
static void free_space_lost(uint64_t first_head, uint64_t end_head, enum harm harm,
                            bool with_journal)
{
    start(with_journal);
    for (uint64_t g = 0; g < POOL_BLKS / HOST_GROUP_BLKS; g++)
    {
        for (uint64_t head = first_head; head < end_head; head++)
            do_harm(g * HOST_GROUP_BLKS + head, harm);
    }
    struct pool_open_options look = {.read_only = true};
    CU_ASSERT_TRUE(host_open(&host, &look) < 0 || host_check(&host) > 0);
    host_close(&host);
    CU_ASSERT_EQUAL(repair(&dry), 0);
    CU_ASSERT_TRUE(result.mended > 0);
    CU_ASSERT_EQUAL(repair(&wet), 0);
    stop_whole();
}

static void test_free_space(void)
{
    static const struct
    {
        uint64_t first, end;
    } parts[] = {{DISK_HEAD_BITMAP, DISK_HEAD_TABLE1},
                 {DISK_HEAD_TABLE1, DISK_HEAD_TABLE2},
                 {DISK_HEAD_TABLE2, DISK_GROUP_HEAD_BLKS},
                 {DISK_HEAD_BITMAP, DISK_GROUP_HEAD_BLKS}};
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
    {
        for (enum harm harm = HARM_FLIP; harm <= HARM_ZERO; harm++)
        {
            free_space_lost(parts[i].first, parts[i].end, harm, false);
            free_space_lost(parts[i].first, parts[i].end, harm, true);
        }
    }
}

/* A tree that cannot be read keeps what it had: nothing is written over it. */
static void test_lost_map(void)
{
    for (int without_bitmaps = 0; without_bitmaps < 2; without_bitmaps++)
    {
        start(true);
        uint64_t blk = find_blk("map");
        uint8_t sound[BLK_BYTES];
        simdev_peek(host.disk, sound, sizeof(sound), blk * BLK_BYTES);
        do_harm(blk, HARM_ZERO);
        for (uint64_t head = DISK_HEAD_BITMAP; without_bitmaps && head < DISK_HEAD_TABLE1; head++)
            do_harm(head, HARM_ZERO);
        /* Records in the journal speak of it. */
        CU_ASSERT_EQUAL(repair(&wet), -EBADMSG);
        CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "--discard-journal"));
        CU_ASSERT_EQUAL(repair(&(struct repair_options){.discard_journal = true}), 0);
        is_journal_hit = true;
        CU_ASSERT_TRUE(says("the journal cannot be followed from record"));
        CU_ASSERT_TRUE(result.left > 0);
        CU_ASSERT_TRUE(says("LEFT: a tree of a@s cannot be read"));
        CU_ASSERT_TRUE(says("LEFT: space is not given back"));
        /* Much is written, and then the map is there again: all of it is as it was. */
        CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
        CU_ASSERT_TRUE(host_check(&host) > 0);
        host_create(&host, "big", 2048);
        for (uint64_t i = 0; i < 2048; i += 64)
            ignore_error(host_write(&host, "big", i, 64, 7, 0), "until it is full");
        host_close(&host);
        simdev_poke(host.disk, sound, sizeof(sound), blk * BLK_BYTES);
        CU_ASSERT_EQUAL(repair(&wet), 0);
        stop_whole();
    }
}

/* All bitmaps are lost, and a tree: nobody knows of any block that it is free. What is there stays,
 * for the day on which the tree can be read again, and the way out is named. */
static void test_no_room(void)
{
    start(false);
    uint64_t blk = find_blk("map");
    uint8_t sound[BLK_BYTES];
    simdev_peek(host.disk, sound, sizeof(sound), blk * BLK_BYTES);
    do_harm(blk, HARM_ZERO);
    for (uint64_t g = 0; g < POOL_BLKS / HOST_GROUP_BLKS; g++)
        for (uint64_t head = DISK_HEAD_BITMAP; head < DISK_GROUP_HEAD_BLKS; head++)
            do_harm(g * HOST_GROUP_BLKS + head, HARM_ZERO);
    CU_ASSERT_EQUAL(repair(&wet), -ENOSPC);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "'lunette lun salvage"));
    CU_ASSERT_EQUAL(repair(&wet), -ENOSPC);
    simdev_poke(host.disk, sound, sizeof(sound), blk * BLK_BYTES);
    CU_ASSERT_EQUAL(repair(&wet), 0);
    stop_whole();
}

static void test_counters(void)
{
    unsigned unreadable;
    start(false);
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    host_line(&host, "a")->mapped_blks++;
    host_line(&host, "a")->own_blks += 2;
    host_line(&host, "a")->own_node_blks += 3;
    host_line(&host, "a")->dropped_data_blks += 4;
    CU_ASSERT_EQUAL(host_write(&host, "a", 3000, 1, 5, 0), 0);
    wanted[0][3000] = 5;
    host.pool->space->data_blks += 7;
    uint64_t taken, got;
    CU_ASSERT_EQUAL(space_take(host.pool->space, SPACE_THIN, 0, 1, &taken, &got), 0);
    space_commit(host.pool->space, taken, 1); /* a leak */
    catalog_mark_dirty(host.pool, &host_line(&host, "a")->object);
    host_close(&host);
    CU_ASSERT_EQUAL(repair(&wet), 0);
    CU_ASSERT_TRUE(says("mapped blocks, there are"));
    CU_ASSERT_TRUE(says("own blocks, there are"));
    CU_ASSERT_TRUE(says("own nodes, there are"));
    CU_ASSERT_TRUE(says("dropped blocks, there are"));
    CU_ASSERT_TRUE(says("the pool counts"));
    CU_ASSERT_TRUE(says("1 blocks that nothing refers to were marked used"));
    CU_ASSERT_EQUAL(result.left, 0);
    CU_ASSERT_EQUAL(examine(&unreadable), 0);
    host_stop(&host);
}

static void test_journal(void)
{
    start(true);
    /* Two synced batches: damage to the first is no torn end. */
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
    uint64_t id = le64_get(host.pool->super.journal_id), first = 0;
    for (uint64_t i = 0; i < 4; i++)
    {
        host_create(&host, i == 0 ? "x" : i == 1 ? "y" : i == 2 ? "z" : "w", 64);
        host_flush(&host);
    }
    host_crash(&host);
    for (uint64_t at = DISK_GROUP_HEAD_BLKS; first == 0; at++)
    {
        struct disk_batch batch;
        simdev_peek(host.disk, &batch, sizeof(batch), at * BLK_BYTES);
        if (le32_get(batch.magic) == DISK_MAGIC_BATCH && le64_get(batch.journal_id) == id)
            first = at;
    }
    uint8_t byte = 0xff;
    simdev_poke(host.disk, &byte, 1, first * BLK_BYTES + 70);
    CU_ASSERT_EQUAL(host_open(&host, NULL), -EBADMSG);
    CU_ASSERT_EQUAL(repair(&wet), -EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "--discard-journal"));
    CU_ASSERT_EQUAL(repair(&(struct repair_options){.discard_journal = true}), 0);
    CU_ASSERT_TRUE(says("and all behind it are given up"));
    stop_whole();
}

/* ---- cut off ------------------------------------------------------------------------------- */

/* Cuts the power at each write of a repair: the next one ends it. */
static void cut_at_each(const uint64_t *blks, size_t count)
{
    struct simdev *pristine = host.disk;
    struct rng rng = rng_of(3);
    bool was_cut = true;
    unsigned cuts = 0, unreadable;
    for (uint64_t n = 1; was_cut; n++)
    {
        host.disk = simdev_copy(pristine, n);
        for (size_t i = 0; i < count; i++)
            do_harm(blks[i], HARM_FLIP);
        for (unsigned time = 0; time < 3; time++)
        {
            struct simdev_crash_policy policy = simdev_random_policy(&rng);
            simdev_cut_power_at(host.disk, time == 0 ? n : n + time);
            ignore_error(repair(&wet), "the power is off");
            was_cut = simdev_is_off(host.disk);
            cuts += was_cut;
            simdev_cut_power_at(host.disk, 0);
            simdev_restart(host.disk, &rng, &policy);
        }
        int r = repair(&wet);
        CU_ASSERT_EQUAL(r, 0);
        if (r < 0)
            fprintf(stderr, "cut at %" PRIu64 ": %s\n%s", n, host.why.text, said);
        CU_ASSERT_EQUAL(result.left, 0);
        if (r == 0)
            CU_ASSERT_EQUAL(examine(&unreadable), 0);
        simdev_destroy(host.disk);
    }
    CU_ASSERT_TRUE(cuts > 15);
    host.disk = pristine;
}

static void test_cut_off(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(mended); i++)
    {
        start(true);
        uint64_t blks[] = {find_blk(mended[i].what), 0};
        cut_at_each(blks, 2);
        host_stop(&host);
    }
}

static CU_TestInfo repair_tests[] = {
    {"a sound pool", test_sound},
    {"each block of metadata", test_each},
    {"what it says", test_says},
    {"one block of the catalog", test_twice},
    {"both copies", test_both_copies},
    {"an inner node of the index", test_inner_index},
    {"the index and what it leads to", test_index_and_more},
    {"drop lists", test_drops},
    {"a drop list and a map", test_drops_and_map},
    {"all fixed metadata at once", test_all_fixed},
    {"free space, both slots", test_free_space},
    {"a map that is lost", test_lost_map},
    {"a lost map, and nothing that says what is free", test_no_room},
    {"counters and leaks", test_counters},
    {"the journal", test_journal},
    {"cut off at each write", test_cut_off},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"repair", NULL, NULL, NULL, NULL, repair_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
