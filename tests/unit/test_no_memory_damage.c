/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The n-th allocation of a repair, a salvage, a scrub fails, n = 1, 2, ... until none is asked for
 * any more. Each says so and has changed nothing that the next one needs; with memory it does all
 * that it does on a pool where nothing failed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "lun/pool/space_internal.h"
#include "lun/volume/catalog.h"
#include "tests/lib/no_memory.h"
#include "tests/unit/damage_host.h"

/* A closed pool, and what is damaged of it. */
struct damaged
{
    const char *name;
    bool with_journal;
    bool bitmap, table, index, index2, page, drops, map;
};

static const struct damaged cases[] = {
    {.name = "a sound pool", .with_journal = true},
    {.name = "free space", .bitmap = true, .table = true, .with_journal = true},
    {.name = "the index", .index = true, .index2 = true},
    {.name = "a page", .page = true, .with_journal = true},
    {.name = "a drop list", .drops = true},
    {.name = "a map", .map = true, .bitmap = true},
};

/* Of the open pool; how many blocks. */
static uint64_t harm_open(const struct damaged *damaged)
{
    struct space *space = host.pool->space;
    const uint64_t blks[] = {
        damaged->bitmap ? slot_blk(space, 0, DISK_HEAD_BITMAP, space_group(space, 0)->slot.slot)
                        : 0,
        damaged->table ? slot_blk(space, 0, DISK_HEAD_TABLE1, space->tables1[0].slot) : 0,
        damaged->index ? host.pool->pages_trees[0].root.blk : 0,
        damaged->index2 ? host.pool->pages_trees[1].root.blk : 0,
        damaged->page ? host.pool->pages[0]->blks[0] : 0,
        damaged->drops ? host_line(&host, "a")->drops.root.blk : 0,
        damaged->map ? host_line(&host, "twin")->map.root.blk : 0,
    };
    uint64_t count = 0;
    for (size_t i = 0; i < ARRAY_SIZE(blks); i++)
    {
        if (blks[i] == 0)
            continue;
        do_harm(blks[i], HARM_FLIP);
        count++;
    }
    return count;
}

static void harm_all(const struct damaged *damaged)
{
    CU_ASSERT_EQUAL_FATAL(host_open(&host, &(struct pool_open_options){.read_only = true}), 0);
    harm_open(damaged);
    host_close(&host);
}

/* Parts of all LUNs that cannot be read. Those that can be are right. */
static unsigned read_all(void)
{
    enum
    {
        PART_BLKS = 64,
    };
    unsigned unreadable = 0;
    bool is_right = true;
    static uint8_t buf[PART_BLKS * LUN_BLK_BYTES];
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    {
        struct lun *lun;
        CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, names[i], LUN_READ_ONLY, &lun, NULL), 0);
        for (uint64_t lba = 0; lba < lun_size_bytes(lun) / LUN_BLK_BYTES; lba += PART_BLKS)
        {
            int r = lun_read(lun, buf, sizeof(buf), lba * LUN_BLK_BYTES);
            unreadable += r < 0;
            for (uint64_t at = 0; r == 0 && at < PART_BLKS; at++)
            {
                const uint8_t *blk = buf + at * LUN_BLK_BYTES;
                is_right &= blk[0] == wanted[i][lba + at] && blk[LUN_BLK_BYTES - 1] == blk[0];
            }
        }
        CU_ASSERT_TRUE(is_right);
        lun_close(lun);
    }
    return unreadable;
}

/* Errors of the check, and unreadable blocks. */
static void examine(uint64_t *errors, unsigned *unreadable)
{
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    *unreadable = read_all();
    *errors = host_check(&host);
    host_close(&host);
}

static uint64_t tries, refusals;

static void complain(const struct damaged *damaged, uint64_t n, const char *what)
{
    printf("\n    %s, allocation %" PRIu64 ": %s (%s) ", damaged->name, n, what, host.why.text);
    CU_FAIL("see above");
}

/* The disk is the test's own, and has all the memory that it needs. */
static struct device *open_disk(void)
{
    bool was_armed = memory_spare();
    struct device *device = simdev_open(host.disk);
    memory_spare_disk(device);
    memory_unspare(was_armed);
    return device;
}

/* ---- repair -------------------------------------------------------------------------------- */

static void hear(void *opaque, bool is_error, const char *text)
{
    (void)opaque, (void)is_error, (void)text;
}

static int repair(const struct repair_options *options, struct repair_result *result)
{
    struct device *device = open_disk();
    return pool_repair_device(&host.env.env, device, options, hear, NULL, result, &host.why);
}

static const struct repair_options wet = {0};

struct repaired
{
    struct repair_result result;
    uint64_t errors;
    unsigned unreadable;
};

/* Of the damaged disk; whether no allocation failed. */
static bool repair_without(const struct damaged *damaged, uint64_t n, bool is_for_ever,
                           const struct repaired *wanted_end)
{
    struct repaired end;
    memory_arm(n, is_for_ever);
    int r = repair(&wet, &end.result);
    uint64_t failed = memory_disarm();
    tries++;
    if (r < 0)
    {
        refusals++;
        if (r != -ENOMEM || failed == 0)
            complain(damaged, n, strerror(-r));
        r = repair(&wet, &end.result);
        if (r < 0)
            complain(damaged, n, "it is refused for ever");
    }
    if (end.result.left != wanted_end->result.left)
        complain(damaged, n, "something else is left");
    if (failed > 0 && n % 8 != 0) /* the repair has checked it itself: what is left */
        return false;
    examine(&end.errors, &end.unreadable);
    if (end.errors != wanted_end->errors || end.unreadable != wanted_end->unreadable)
        complain(damaged, n, "the pool is not what a repair makes of it");
    return failed == 0;
}

static void test_repair(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    {
        const struct damaged *damaged = &cases[i];
        struct repaired end;
        start(damaged->with_journal);
        harm_all(damaged);
        struct simdev *pristine = host.disk;
        host.disk = simdev_copy(pristine, i);
        CU_ASSERT_EQUAL_FATAL(repair(&wet, &end.result), 0);
        examine(&end.errors, &end.unreadable);
        CU_ASSERT_TRUE(damaged->map || (end.errors == 0 && end.unreadable == 0));
        simdev_destroy(host.disk);
        for (int is_for_ever = 0; is_for_ever < 2; is_for_ever++)
        {
            bool is_done = false;
            for (uint64_t n = 0; !is_done && CU_get_number_of_failures() < 20; n++)
            {
                host.disk = simdev_copy(pristine, n);
                is_done = repair_without(damaged, n, is_for_ever, &end);
                simdev_destroy(host.disk);
            }
        }
        host.disk = pristine;
        host_stop(&host);
    }
    printf("(%" PRIu64 " tries, %" PRIu64 " refused) ", tries, refusals);
}

/* ---- salvage ------------------------------------------------------------------------------- */

struct told
{
    uint64_t data_blks, lost_blks;
    size_t i;
};

static int tell_map(void *opaque, uint64_t offset, uint64_t len, const void *bytes)
{
    struct told *told = opaque;
    (void)offset;
    *(bytes ? &told->data_blks : &told->lost_blks) += len / LUN_BLK_BYTES;
    return 0;
}

static int tell(void *opaque, uint64_t offset, uint64_t len, const void *bytes)
{
    struct told *told = opaque;
    *(bytes ? &told->data_blks : &told->lost_blks) += len / LUN_BLK_BYTES;
    bool is_right = true;
    for (uint64_t at = 0; bytes && at < len; at += LUN_BLK_BYTES)
        is_right &= ((const uint8_t *)bytes)[at] == wanted[told->i][(offset + at) / LUN_BLK_BYTES];
    CU_ASSERT_TRUE(is_right);
    return 0;
}

/* Reads all that there is. */
static int salvage_all(struct told told[ARRAY_SIZE(names)])
{
    struct device *device = open_disk();
    struct salvage *salvage;
    int r = salvage_open_device(&host.env.env, device, &salvage, &host.why);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(names); i++)
    {
        told[i] = (struct told){.i = i};
        r = salvage_read(salvage, names[i], tell, &told[i], &host.why);
        if (r == 0)
            r = salvage_read_map(salvage, names[i], tell_map, &(struct told){.i = i}, &host.why);
    }
    salvage_close(salvage);
    return r;
}

static void test_salvage(void)
{
    tries = refusals = 0;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    {
        const struct damaged *damaged = &cases[i];
        struct told all[ARRAY_SIZE(names)], told[ARRAY_SIZE(names)];
        start(damaged->with_journal);
        harm_all(damaged);
        uint64_t writes = simdev_count(host.disk, SIMDEV_WRITE);
        CU_ASSERT_EQUAL_FATAL(salvage_all(all), 0);
        for (int is_for_ever = 0; is_for_ever < 2; is_for_ever++)
        {
            uint64_t failed = 1;
            for (uint64_t n = 0; failed > 0 && CU_get_number_of_failures() < 20; n++)
            {
                memory_arm(n, is_for_ever);
                int r = salvage_all(told);
                failed = memory_disarm();
                tries++;
                refusals += r < 0;
                if (r < 0 && (r != -ENOMEM || failed == 0))
                    complain(damaged, n, strerror(-r));
                if (r == 0 && memcmp(all, told, sizeof(all)) != 0)
                    complain(damaged, n, "it told something else");
            }
        }
        CU_ASSERT_EQUAL(simdev_count(host.disk, SIMDEV_WRITE), writes);
        host_stop(&host);
    }
    printf("(%" PRIu64 " tries, %" PRIu64 " refused) ", tries, refusals);
}

/* ---- scrub --------------------------------------------------------------------------------- */

static int scrub(struct scrub_info *info)
{
    uint64_t id;
    int step = 1;
    int r = pool_scrub_start(host.pool, &(struct scrub_options){0}, &id, &host.why);
    while (r == 0 && step > 0)
        step = pool_scrub_step(host.pool);
    bool was_armed = memory_spare();
    CU_ASSERT_EQUAL(pool_scrub_get(host.pool, info, NULL, NULL), 0);
    memory_unspare(was_armed);
    return r < 0 ? r : step;
}

/* A checkpoint that has no memory takes the pool out of use, before the scrub has mended it. */
static void mend_closed(void)
{
    struct repair_result result;
    host_crash(&host);
    CU_ASSERT_EQUAL(repair(&wet, &result), 0);
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    memory_spare_disk(host.pool->device);
}

/* Of the open pool, of which @damaged_blks were damaged; whether no allocation failed. */
static bool scrub_without(const struct damaged *damaged, uint64_t n, bool is_for_ever,
                          uint64_t damaged_blks)
{
    struct scrub_info info;
    struct pool_info pool;
    memory_arm(n, is_for_ever);
    int r = scrub(&info);
    uint64_t failed = memory_disarm();
    tries++;
    refusals += r < 0;
    pool_get_info(host.pool, &pool);
    if (r < 0 && (r != -ENOMEM || failed == 0))
        complain(damaged, n, strerror(-r));
    if (r == 0 && info.damaged_blks != damaged_blks)
        complain(damaged, n, "it found something else");
    if (pool.health != POOL_HEALTHY)
    {
        mend_closed();
        return failed == 0;
    }
    CU_ASSERT_EQUAL(scrub(&info), 0);
    CU_ASSERT_TRUE(info.damaged_blks <= damaged_blks);
    CU_ASSERT_EQUAL(scrub(&info), 0);
    if (info.damaged_blks != damaged->drops)
        complain(damaged, n, "what can be mended is not");
    return failed == 0;
}

static void test_scrub(void)
{
    static const struct damaged damage[] = {
        {.name = "a sound pool", .with_journal = true},
        {.name = "pages and space", .page = true, .bitmap = true, .table = true},
        {.name = "a drop list", .drops = true},
    };
    tries = refusals = 0;
    for (size_t i = 0; i < ARRAY_SIZE(damage); i++)
    {
        start(damage[i].with_journal);
        struct simdev *pristine = host.disk;
        for (int is_for_ever = 0; is_for_ever < 2; is_for_ever++)
        {
            bool is_done = false;
            for (uint64_t n = 0; !is_done && CU_get_number_of_failures() < 20; n++)
            {
                host.disk = simdev_copy(pristine, n);
                CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
                memory_spare_disk(host.pool->device);
                uint64_t blks = harm_open(&damage[i]);
                is_done = scrub_without(&damage[i], n, is_for_ever, blks);
                CU_ASSERT_TRUE(host_check(&host) == 0 || damage[i].drops);
                CU_ASSERT_EQUAL(read_all(), 0);
                host_close(&host);
                simdev_destroy(host.disk);
            }
        }
        host.disk = pristine;
        host_stop(&host);
    }
    printf("(%" PRIu64 " tries, %" PRIu64 " refused) ", tries, refusals);
}

static CU_TestInfo no_memory_damage_tests[] = {
    {"repairs", test_repair},
    {"salvages", test_salvage},
    {"scrubs", test_scrub},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"no memory, damage", NULL, NULL, NULL, NULL, no_memory_damage_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
