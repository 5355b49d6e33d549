/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each block of metadata of a small pool is damaged in turn. A salvage finds what can be read:
 * right or told as lost, exactly where the engine, if it opens the pool at all, cannot read it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/cunit_main.h"
#include "tests/unit/damage_host.h"

enum
{
    UNTOLD,
    TOLD_RIGHT,
    TOLD_LOST,
    TOLD_WRONG,
};

struct told
{
    size_t i; /* of names */
    bool may_be_old;
    uint8_t blocks[LUN_BLKS];
    unsigned lost, wrong;
    uint64_t end;
};

static int tell(void *opaque, uint64_t offset, uint64_t len, const void *bytes)
{
    struct told *told = opaque;
    CU_ASSERT_TRUE(offset >= told->end); /* ascending */
    CU_ASSERT_EQUAL(offset % BLK_BYTES, 0);
    CU_ASSERT_TRUE_FATAL(offset + len <= (uint64_t)LUN_BLKS * BLK_BYTES);
    told->end = offset + len;
    for (uint64_t lba = offset / BLK_BYTES; lba < (offset + len) / BLK_BYTES; lba++)
    {
        const uint8_t *at = bytes ? (const uint8_t *)bytes + lba * BLK_BYTES - offset : NULL;
        bool is_right = at && (at[0] == wanted[told->i][lba] ||
                               (told->may_be_old && at[0] == before[told->i][lba]));
        told->blocks[lba] = (uint8_t)(!at ? TOLD_LOST : is_right ? TOLD_RIGHT : TOLD_WRONG);
        told->lost += !at;
        told->wrong += at && !is_right;
    }
    return 0;
}

/* Reads names[i]; false: it is not there, or lost as a whole. */
static bool salvage_one(struct salvage *salvage, size_t i, struct told *told)
{
    const struct salvage_item *item = NULL;
    for (size_t n = 0; n < salvage_count(salvage); n++)
    {
        if (strcmp(salvage_item(salvage, n)->name, names[i]) == 0)
            item = salvage_item(salvage, n);
    }
    if (!item || !item->is_there)
        return false;
    *told = (struct told){.i = i,
                          .may_be_old = is_journal_hit || salvage_way(salvage) != SALVAGE_WHOLE};
    CU_ASSERT_EQUAL(salvage_read(salvage, names[i], tell, told, &host.why), 0);
    if (item->is_old)
        return true; /* parts of it may be others' */
    CU_ASSERT_EQUAL(told->wrong, 0);
    /* What was not told was never written. */
    for (uint64_t lba = 0; lba < LUN_BLKS; lba++)
    {
        bool is_zero = wanted[i][lba] == 0 || (told->may_be_old && before[i][lba] == 0);
        CU_ASSERT_FALSE(told->blocks[lba] == UNTOLD && !is_zero);
    }
    return true;
}

/* Whether the engine cannot read what was told as lost, and nothing else. */
static void compare_with_engine(size_t i, const struct told *told)
{
    struct lun *lun;
    uint8_t buf[LUN_BLK_BYTES];
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, names[i], LUN_READ_ONLY, &lun, NULL), 0);
    for (uint64_t lba = 0; lba < lun_size_bytes(lun) / LUN_BLK_BYTES; lba++)
    {
        int r = lun_read(lun, buf, sizeof(buf), lba * LUN_BLK_BYTES);
        bool is_lost = told->blocks[lba] == TOLD_LOST;
        /* Of a hole before a lost node the engine does not know where it ends. */
        bool is_hole = told->blocks[lba] == UNTOLD && wanted[i][lba] == 0;
        CU_ASSERT_TRUE(r < 0 ? is_lost || is_hole : !is_lost);
    }
    lun_close(lun);
}

struct outcomes
{
    unsigned ways[3], whole, partly, gone;
};

static void salvage_all(struct outcomes *outcomes)
{
    struct salvage *salvage;
    struct told told;
    uint64_t writes = simdev_count(host.disk, SIMDEV_WRITE);
    int r = salvage_open_device(&host.env.env, simdev_open(host.disk), &salvage, &host.why);
    CU_ASSERT_EQUAL_FATAL(r, 0); /* one block is never enough to lose all */
    outcomes->ways[salvage_way(salvage)]++;
    bool opens = salvage_way(salvage) == SALVAGE_WHOLE;
    if (opens)
        CU_ASSERT_EQUAL_FATAL(host_open(&host, &(struct pool_open_options){.read_only = true}), 0);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    {
        bool is_there = salvage_one(salvage, i, &told);
        *(!is_there ? &outcomes->gone : told.lost > 0 ? &outcomes->partly : &outcomes->whole) += 1;
        if (opens)
            CU_ASSERT_TRUE_FATAL(is_there);
        if (opens)
            compare_with_engine(i, &told);
    }
    salvage_close(salvage);
    if (opens)
        host_close(&host);
    CU_ASSERT_EQUAL(simdev_count(host.disk, SIMDEV_WRITE), writes);
}

static void test_each(void)
{
    struct outcomes outcomes = {0};
    for (int with_journal = 0; with_journal < 2; with_journal++)
    {
        start(with_journal);
        struct simdev *pristine = host.disk;
        salvage_all(&outcomes);
        CU_ASSERT_EQUAL(outcomes.partly + outcomes.gone, 0);
        for (uint64_t blk = 0; blk < POOL_BLKS; blk++)
        {
            host.disk = pristine;
            for (enum harm harm = 0; is_metadata(blk) && harm < HARMS; harm++)
            {
                host.disk = simdev_copy(pristine, blk);
                is_journal_hit = false;
                do_harm(blk, harm);
                salvage_all(&outcomes);
                simdev_destroy(host.disk);
                host.disk = pristine;
            }
        }
        host_stop(&host);
        if (!with_journal)
            outcomes.partly = outcomes.gone = 0;
    }
    printf(" %u whole, %u repaired, %u raw; %u LUNs whole, %u partly, %u gone ", outcomes.ways[0],
           outcomes.ways[1], outcomes.ways[2], outcomes.whole, outcomes.partly, outcomes.gone);
    CU_ASSERT_TRUE(outcomes.ways[SALVAGE_WHOLE] > 0);
    CU_ASSERT_TRUE(outcomes.ways[SALVAGE_REPAIRED] > 0);
    CU_ASSERT_EQUAL(outcomes.ways[SALVAGE_RAW], 0); /* no block alone costs so much */
    CU_ASSERT_TRUE(outcomes.whole > outcomes.partly + outcomes.gone);
    CU_ASSERT_TRUE(outcomes.partly > 0);
}

/* The page that names a LUN is lost: its line is there without a name, unless both were on it. */
static void test_lost_page(void)
{
    start(false);
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    for (unsigned i = 0; i < 20; i++) /* more pages */
    {
        char name[16];
        snprintf(name, sizeof(name), "more%u", i);
        host_create(&host, name, 64);
        CU_ASSERT_EQUAL(host_write(&host, name, i, 1, 77, 0), 0);
    }
    host_settle(&host);
    CU_ASSERT_TRUE(host.pool->page_count > 4);
    struct page page = *host_object(&host, "more19")->object.page;
    host_close(&host);
    struct salvage *salvage;
    struct told told;
    do_harm(page.blks[0], HARM_ZERO); /* the other copy is enough */
    CU_ASSERT_EQUAL_FATAL(
        salvage_open_device(&host.env.env, simdev_open(host.disk), &salvage, &host.why), 0);
    CU_ASSERT_EQUAL(salvage_way(salvage), SALVAGE_WHOLE);
    salvage_close(salvage);
    do_harm(page.blks[1], HARM_ZERO);
    CU_ASSERT_EQUAL_FATAL(
        salvage_open_device(&host.env.env, simdev_open(host.disk), &salvage, &host.why), 0);
    CU_ASSERT_EQUAL(salvage_way(salvage), SALVAGE_RAW);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    {
        CU_ASSERT_TRUE(salvage_one(salvage, i, &told));
        CU_ASSERT_EQUAL(told.lost, 0);
    }
    CU_ASSERT_EQUAL(salvage_read(salvage, "nothing", tell, &told, &host.why), -ENOENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "nothing"));
    salvage_close(salvage);
    host_stop(&host);
}

static bool salvage_lists(const struct salvage *salvage, const char *name)
{
    for (size_t i = 0; i < salvage_count(salvage); i++)
    {
        if (strcmp(salvage_item(salvage, i)->name, name) == 0)
            return salvage_item(salvage, i)->is_there;
    }
    return false;
}

/* What a volume's snapshot has of a LUN that was deleted has the name of then, also from pages. */
static void test_deleted_lun(void)
{
    const struct volume_attributes attributes = {0};
    const struct volume_snapshot_args args = {.name = "s"};
    const char *volume = "v";
    start(false);
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    CU_ASSERT_EQUAL(volume_create(host.pool, volume, &attributes, &host.why), 0);
    CU_ASSERT_EQUAL(qtree_create(host.pool, "v/q", NULL, &host.why), 0);
    host_create(&host, "v/q/b", 16);
    CU_ASSERT_EQUAL(host_write(&host, "v/q/b", 0, 1, 77, 0), 0);
    CU_ASSERT_EQUAL(volume_snapshot_create(host.pool, &volume, 1, &args, &host.why), 0);
    host_delete(&host, "v/q/b");
    CU_ASSERT_EQUAL(qtree_rename(host.pool, "v/q", "r", &host.why), 0);
    for (unsigned i = 0; i < 20; i++) /* more pages */
    {
        char name[16];
        snprintf(name, sizeof(name), "more%u", i);
        host_create(&host, name, 16);
    }
    host_settle(&host);
    struct page page = *host_object(&host, "more19")->object.page;
    host_close(&host);
    for (unsigned round = 0; round < 2; round++)
    {
        struct salvage *salvage;
        CU_ASSERT_EQUAL_FATAL(
            salvage_open_device(&host.env.env, simdev_open(host.disk), &salvage, &host.why), 0);
        CU_ASSERT_EQUAL(salvage_way(salvage), round == 0 ? SALVAGE_WHOLE : SALVAGE_RAW);
        CU_ASSERT_TRUE(salvage_lists(salvage, "v/q/b@s"));
        CU_ASSERT_FALSE(salvage_lists(salvage, "v/b"));
        salvage_close(salvage);
        for (unsigned copy = 0; copy < PAGE_COPIES; copy++)
            do_harm(page.blks[copy], HARM_ZERO);
    }
    host_stop(&host);
}

/* Blocks of data that cannot be read are lost one by one. */
static void test_unreadable_data(void)
{
    start(false);
    struct salvage *salvage;
    struct told told;
    CU_ASSERT_EQUAL_FATAL(
        salvage_open_device(&host.env.env, simdev_open(host.disk), &salvage, &host.why), 0);
    CU_ASSERT_TRUE(salvage_one(salvage, 3, &told));
    CU_ASSERT_EQUAL(told.lost, 0);
    /* The first read of its one data block, and the second, of each block by itself. */
    struct simdev_fault fault = {
        .op = SIMDEV_READ, .kind = SIMDEV_FAIL, .error = -EIO, .nth = 1, .is_sticky = true};
    simdev_arm(host.disk, &fault);
    CU_ASSERT_TRUE(salvage_one(salvage, 3, &told));
    CU_ASSERT_EQUAL(told.lost, 1);
    CU_ASSERT_EQUAL(told.blocks[4], TOLD_LOST);
    simdev_arm(host.disk, NULL);
    salvage_close(salvage);
    host_stop(&host);
}

static void test_nothing(void)
{
    start(false);
    struct salvage *salvage;
    for (uint64_t blk = 0; blk < 2; blk++)
    {
        do_harm(blk, HARM_ZERO);
        do_harm(blk + HOST_GROUP_BLKS, HARM_ZERO);
    }
    CU_ASSERT_EQUAL(salvage_open_device(&host.env.env, simdev_open(host.disk), &salvage, &host.why),
                    -EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "superblock"));
    host_stop(&host);
}

static CU_TestInfo salvage_tests[] = {
    {"each block of metadata", test_each},
    {"a page that is lost", test_lost_page},
    {"a LUN that was deleted", test_deleted_lun},
    {"data that cannot be read", test_unreadable_data},
    {"no superblock", test_nothing},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"salvage", NULL, NULL, NULL, NULL, salvage_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
