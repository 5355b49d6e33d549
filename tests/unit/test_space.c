/* SPDX-License-Identifier: BSD-3-Clause */
/* Free space: taking, freeing, what a checkpoint gives back, the reserve, pins, growing. */
#include "lun/pool/space.h"

#include <errno.h>
#include <string.h>

#include "lun/pool/space_internal.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

static struct engine_host host;

static struct space_stats stats(void)
{
    struct space_stats now;
    space_get_stats(host.pool->space, &now);
    return now;
}

static void test_bits(void)
{
    struct rng rng = rng_of(1);
    enum
    {
        BITS = 300
    };
    uint64_t bits[8] = {0};
    bool naive[BITS] = {0};
    for (unsigned round = 0; round < 2000; round++)
    {
        uint64_t at = rng_below(&rng, BITS), len = rng_below(&rng, BITS - at + 1);
        bool value = rng_percent(&rng, 50), is_all = true;
        for (uint64_t i = at; i < at + len; i++)
            is_all &= naive[i] == value;
        CU_ASSERT_EQUAL(bits_all(bits, at, len, value), is_all);
        if (value)
            bits_set(bits, at, len);
        else
            bits_clear(bits, at, len);
        for (uint64_t i = at; i < at + len; i++)
            naive[i] = value;
        uint64_t from = rng_below(&rng, BITS), clear = from, set = from, count = 0;
        while (clear < BITS && naive[clear])
            clear++;
        while (set < BITS && !naive[set])
            set++;
        for (unsigned i = 0; i < BITS; i++)
            count += naive[i];
        CU_ASSERT_EQUAL(bits_find_clear(bits, from, BITS), clear);
        CU_ASSERT_EQUAL(bits_find_set(bits, from, BITS), set);
        CU_ASSERT_EQUAL(count_clear(bits, BITS), 320 - count);
    }
}

static void test_take_and_cancel(void)
{
    host_start(&host, NULL);
    struct space *space = host.pool->space;
    struct space_stats before = stats();
    uint64_t blk, got, other, other_got;
    CU_ASSERT_EQUAL_FATAL(space_take(space, SPACE_THIN, 0, 10, &blk, &got), 0);
    CU_ASSERT_EQUAL(got, 10);
    CU_ASSERT_EQUAL(stats().free_blks, before.free_blks - 10);
    CU_ASSERT_EQUAL(stats().data_blks, before.data_blks);
    CU_ASSERT_EQUAL_FATAL(space_take(space, SPACE_THIN, blk, 5, &other, &other_got),
                          0); /* the hint is taken */
    CU_ASSERT_EQUAL(other, blk + 10);
    space_cancel(space, other, other_got);
    space_cancel(space, blk, got);
    CU_ASSERT_EQUAL(stats().free_blks, before.free_blks);
    CU_ASSERT_EQUAL_FATAL(space_take(space, SPACE_THIN, blk, 3, &other, &other_got), 0);
    CU_ASSERT_EQUAL(other, blk); /* free at once: no checkpoint knows it */
    space_cancel(space, other, other_got);
    host_stop(&host);
}

static void test_never_fixed(void)
{
    host_start(&host, NULL);
    struct space *space = host.pool->space;
    uint64_t journal_end = DISK_GROUP_HEAD_BLKS + 2 * host.pool->journal_half_blks, blk, got;
    int r;
    uint64_t taken = 0;
    while ((r = space_take(space, SPACE_THIN, 0, 64, &blk, &got)) == 0)
    {
        taken += got;
        CU_ASSERT_TRUE(blk % HOST_GROUP_BLKS >= DISK_GROUP_HEAD_BLKS);
        CU_ASSERT_TRUE(blk % HOST_GROUP_BLKS + got <= HOST_GROUP_BLKS); /* in one group */
        CU_ASSERT_TRUE(blk >= journal_end);
    }
    CU_ASSERT_EQUAL(r, -ENOSPC);
    struct space_stats now = stats();
    CU_ASSERT_TRUE(taken > 0 && now.free_blks >= now.reserve_blks);
    CU_ASSERT_EQUAL(now.total_blks, HOST_POOL_BYTES / BLK_BYTES);
    CU_ASSERT_EQUAL(now.fixed_blks + now.node_blks + taken + now.free_blks + now.deferred_blks,
                    now.total_blks);
    /* The reserve is for what frees. */
    CU_ASSERT_EQUAL(space_admit(space, 10, SPACE_THIN), -ENOSPC);
    CU_ASSERT_EQUAL(space_admit(space, 10, SPACE_FREEING), 0);
    CU_ASSERT_TRUE(space_admit(space, now.free_blks, SPACE_FREEING) <
                   0); /* ten of them are promised */
    space_leave(space, 10);
    host_crash(&host);
    host_stop(&host);
}

static void test_deferred(void)
{
    host_start(&host, NULL);
    struct space *space = host.pool->space;
    struct space_stats before = stats();
    uint64_t blk, got, other, other_got;
    bool is_allocated;
    CU_ASSERT_EQUAL_FATAL(space_take(space, SPACE_THIN, 0, 8, &blk, &got), 0);
    space_commit(space, blk, got);
    CU_ASSERT_EQUAL(stats().data_blks, before.data_blks + 8);
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
    uint64_t free_blks = stats().free_blks;
    space_free(space, blk, got, false);
    CU_ASSERT_EQUAL(space_is_allocated(space, blk, &is_allocated), 0);
    CU_ASSERT_FALSE(is_allocated); /* the next checkpoint will say so */
    CU_ASSERT_EQUAL(stats().free_blks, free_blks);
    CU_ASSERT_EQUAL(stats().deferred_blks, 8);
    CU_ASSERT_EQUAL_FATAL(space_take(space, SPACE_THIN, blk, 8, &other, &other_got), 0);
    CU_ASSERT_TRUE(other >= blk + 8 || other + other_got <= blk);
    space_cancel(space, other, other_got);
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
    CU_ASSERT_EQUAL(stats().deferred_blks, 0);
    CU_ASSERT_EQUAL(stats().free_blks, free_blks + 8);
    CU_ASSERT_EQUAL_FATAL(space_take(space, SPACE_THIN, blk, 8, &other, &other_got), 0);
    CU_ASSERT_EQUAL(other, blk);
    space_cancel(space, other, other_got);
    host_stop(&host);
}

/* Full, but something will be free after a checkpoint: not the same as full. */
static void test_again_or_full(void)
{
    host_start(&host, NULL);
    struct space *space = host.pool->space;
    uint64_t blk = 0, got = 0, last = 0, last_got = 0;
    while (space_take(space, SPACE_THIN, 0, 64, &blk, &got) == 0)
    {
        space_commit(space, blk, got);
        last = blk;
        last_got = got;
    }
    CU_ASSERT_EQUAL(space_take(space, SPACE_THIN, 0, 1, &blk, &got), -ENOSPC);
    CU_ASSERT_EQUAL(blk + got, last + last_got); /* untouched by failures */
    space_free(space, last, last_got, false);
    CU_ASSERT_EQUAL(space_take(space, SPACE_THIN, 0, 1, &blk, &got), -EAGAIN);
    CU_ASSERT_EQUAL(space_admit(space, 1, SPACE_THIN), -EAGAIN);
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
    CU_ASSERT_EQUAL(space_take(space, SPACE_THIN, 0, 1, &blk, &got), 0);
    host_crash(&host);
    host_stop(&host);
}

static void test_pins(void)
{
    host_start(&host, NULL);
    struct space *space = host.pool->space;
    uint64_t end = HOST_POOL_BYTES / BLK_BYTES, blk = 5 * HOST_GROUP_BLKS - 4, other, got;
    CU_ASSERT_EQUAL(space_pin_replayed(space, 0, 1), -EBADMSG); /* a superblock */
    CU_ASSERT_EQUAL(space_pin_replayed(space, end, 1), -EBADMSG);
    CU_ASSERT_EQUAL(space_pin_replayed(space, end - 1, 2), -EBADMSG);
    CU_ASSERT_EQUAL(space_pin_replayed(space, UINT64_MAX, 2), -EBADMSG);
    CU_ASSERT_EQUAL(space_pin_replayed(space, blk, 8), -EBADMSG); /* over the next group's head */
    CU_ASSERT_EQUAL(space_pin_replayed(space, blk - 8, 4), 0);
    CU_ASSERT_EQUAL(space_pin_replayed(space, blk - 5, 1), -EBADMSG); /* named twice */
    CU_ASSERT_EQUAL_FATAL(space_take(space, SPACE_THIN, blk - 8, 1, &other, &got), 0);
    CU_ASSERT_TRUE(other >= blk - 4);
    space_take_node_at(space, blk - 8);
    space_commit(space, blk - 7, 3);
    bool is_allocated = false;
    CU_ASSERT_EQUAL(space_is_allocated(space, blk - 5, &is_allocated), 0);
    CU_ASSERT_TRUE(is_allocated);
    host_crash(&host);
    host_stop(&host);
}

/* Freeing what is free: a tree is wrong, so nothing is changed any more. */
static void test_contradiction(void)
{
    host_start(&host, NULL);
    uint64_t blk, got;
    CU_ASSERT_EQUAL_FATAL(space_take(host.pool->space, SPACE_THIN, 0, 1, &blk, &got), 0);
    space_cancel(host.pool->space, blk, got);
    space_free(host.pool->space, blk, 1, false);
    struct pool_info info;
    pool_get_info(host.pool, &info);
    CU_ASSERT_EQUAL(info.health, POOL_READ_ONLY);
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), -EROFS);
    host_stop(&host);
}

static void test_on_disk(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", 2048);
    for (uint64_t i = 0; i < 200; i++)
        CU_ASSERT_EQUAL(host_write(&host, "a", 5 * i, 1 + i % 5, 1, 0), 0);
    host_settle(&host);
    struct space_stats before = stats();
    for (unsigned i = 0; i < 3; i++) /* each of the two slots of each bitmap in turn */
    {
        host_reopen(&host);
        CU_ASSERT_EQUAL(stats().data_blks, before.data_blks);
        CU_ASSERT_EQUAL(stats().node_blks, before.node_blks);
        CU_ASSERT_EQUAL(stats().free_blks, before.free_blks);
        CU_ASSERT_EQUAL(host_check(&host), 0);
        CU_ASSERT_EQUAL(host_write(&host, "a", 2000 + i, 1, 1, 0), 0);
        host_settle(&host);
        before = stats();
    }
    host_stop(&host);
}

static void test_damaged_bitmap(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", 64);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 4, 1, 0), 0);
    host_close(&host);
    struct rng rng = rng_of(1);
    for (unsigned slot = 0; slot < 2; slot++)
        simdev_rot(host.disk, &rng, 1, BLK_BYTES, (DISK_HEAD_BITMAP + slot) * BLK_BYTES);
    /* Found when the pool is opened or when the bitmap is needed, never used. */
    int r = host_open(&host, NULL);
    if (r == 0)
        r = host_write(&host, "a", 20, 4, 1, LUN_FUA);
    CU_ASSERT_EQUAL(r, -EBADMSG);
    host_stop(&host);
}

static void test_usable(void)
{
    CU_ASSERT_EQUAL(space_usable_blks(1023, 256), 768);
    CU_ASSERT_EQUAL(space_usable_blks(1024, 256), 1024);
    CU_ASSERT_EQUAL(space_usable_blks(255, 256), 0);
}

static void test_grow(void)
{
    host_start(&host, NULL);
    struct space_stats before = stats();
    struct reason why;
    uint64_t would = 0;
    CU_ASSERT_EQUAL(pool_grow(host.pool, HOST_POOL_BYTES / 2, &why), -EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "never shrinks"));
    CU_ASSERT_EQUAL(pool_grow_dry_run(host.pool, HOST_POOL_BYTES, &would, &why), -EINVAL);
    CU_ASSERT_EQUAL(pool_grow_dry_run(host.pool, 2 * HOST_POOL_BYTES + 1, &would, &why), 0);
    CU_ASSERT_EQUAL(would, 2 * HOST_POOL_BYTES);
    CU_ASSERT_EQUAL(pool_grow(host.pool, HOST_POOL_BYTES + BLK_BYTES, &why), -EINVAL);
    CU_ASSERT_EQUAL(stats().total_blks, before.total_blks); /* not a whole group */
    CU_ASSERT_EQUAL(pool_grow(host.pool, 2 * HOST_POOL_BYTES, &why), 0);
    CU_ASSERT_EQUAL(stats().total_blks, 2 * before.total_blks);
    uint64_t groups = HOST_POOL_BYTES / BLK_BYTES / HOST_GROUP_BLKS;
    CU_ASSERT_EQUAL(stats().fixed_blks, before.fixed_blks + groups * DISK_GROUP_HEAD_BLKS);
    host_create(&host, "a", 16384);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 10000, 1, 0), 0); /* more than there was */
    host_flush(&host);
    host_crash_open(&host);
    CU_ASSERT_EQUAL(stats().total_blks, 2 * before.total_blks);
    CU_ASSERT_TRUE(host_holds(&host, "a", 0, 10000, 1));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

/* Nodes go to their area, data does not; what lies below it keeps its room. */
static void test_node_area(void)
{
    host_start(&host, NULL);
    struct space *space = host.pool->space;
    uint64_t begin = DISK_GROUP_HEAD_BLKS + 2 * host.pool->journal_half_blks;
    uint64_t end = space->area_end, blk, got, area_blks = stats().reserve_blks;
    CU_ASSERT_EQUAL(end, begin + area_blks);
    CU_ASSERT_EQUAL_FATAL(space_take(space, SPACE_THIN, begin, 8, &blk, &got),
                          0); /* whatever the hint */
    CU_ASSERT_TRUE(blk >= end);
    space_cancel(space, blk, got);
    uint64_t nodes = 0;
    while ((blk = space_try_node(space)) < end)
    {
        CU_ASSERT_TRUE(blk >= begin);
        nodes++;
    }
    CU_ASSERT_TRUE(nodes > 0 && nodes <= area_blks);
    CU_ASSERT_TRUE(space_try_node(space) > end); /* there is none left in it */
    space_free(space, begin, area_blks, true);
    simdev_set_room(host.disk, 0);
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
    blk = space_try_node(space);
    CU_ASSERT_TRUE(blk >= begin && blk < end); /* and there are some again */
    host_crash(&host);
    host_stop(&host);
}

/* The file system below is full: data gets ENOSPC, everything else goes on, and a delete helps. */
static void test_no_room_below(void)
{
    host_start(&host, NULL);
    struct reason why;
    host_create(&host, "a", 4096);
    host_create(&host, "b", 4096);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1024, 1, 0), 0);
    host_settle(&host);
    simdev_set_room(host.disk, 0);
    CU_ASSERT_EQUAL(host_write(&host, "b", 0, 1024, 2, 0), -ENOSPC);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 8, 3, 0), 0); /* its own blocks have room */
    CU_ASSERT_TRUE(host_has_event(&host, "pool.no-room-below", "b"));
    for (unsigned i = 0; i < 3; i++)
    {
        host_clone(&host, "a", "c");
        host_snapshot(&host, "c", "s");
        host_reopen(&host);
        CU_ASSERT_EQUAL(host_write(&host, "c", 64 * i, 1, 2, LUN_FUA), -ENOSPC);
        CU_ASSERT_EQUAL(lun_delete(host.pool, "c", true, 0, &why), 0);
        host_settle(&host);
        CU_ASSERT_EQUAL(host_check(&host), 0);
    }
    host_crash_open(&host);
    CU_ASSERT_TRUE(host_holds(&host, "a", 0, 8, 3) && host_holds(&host, "a", 8, 1016, 1));
    CU_ASSERT_EQUAL(pool_grow(host.pool, 2 * HOST_POOL_BYTES, &why), -ENOSPC);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "no room for its metadata"));
    host_delete(&host, "a");
    host_settle(&host);
    CU_ASSERT_EQUAL(host_write(&host, "b", 0, 512, 2, 0), 0);
    host_reopen(&host);
    CU_ASSERT_TRUE(host_holds(&host, "b", 0, 512, 2));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

/* Blocks that were freed keep their room unless they were discarded, and are found again. */
static void test_room_of_freed(void)
{
    struct pool_info info;
    host_start(&host, NULL);
    host_create(&host, "a", 4096);
    host_create(&host, "b", 4096);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 512, 1, 0), 0);
    host_settle(&host);
    simdev_set_room(host.disk, 0);
    CU_ASSERT_EQUAL(host_write(&host, "b", 0, 1, 2, 0), -ENOSPC);
    pool_get_info(host.pool, &info);
    CU_ASSERT_EQUAL(info.health, POOL_HEALTHY); /* it has space; who lacks it is another one */
    for (uint64_t lba = 0; lba < 512; lba += 64)
        CU_ASSERT_EQUAL(host_unmap(&host, "a", lba, 32), 0);
    host_settle(&host);
    for (uint64_t lba = 0; lba < 200; lba += 8)
        CU_ASSERT_EQUAL(host_write(&host, "b", lba, 8, 2, 0), 0);
    CU_ASSERT_EQUAL(host_write(&host, "b", 300, 300, 2, 0), -ENOSPC);
    host_reopen(&host);
    CU_ASSERT_TRUE(host_holds(&host, "b", 0, 200, 2) && host_holds(&host, "a", 32, 32, 1));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

/* A pool that was made without it, or copied as a sparse file, gets its room when it is opened. */
static void test_room_at_open(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", 4096);
    uint64_t begin = DISK_GROUP_HEAD_BLKS + 2 * host.pool->journal_half_blks;
    uint64_t end = host.pool->space->area_end;
    host_close(&host);
    struct device *device = simdev_open(host.disk);
    CU_ASSERT_EQUAL(device->ops->discard(device, BLK_BYTES, (end - 1) * BLK_BYTES), 0);
    device_close(device);
    simdev_set_room(host.disk, 1);
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    host_close(&host);
    device = simdev_open(host.disk);
    CU_ASSERT_EQUAL(device->ops->allocate(device, BLK_BYTES, (end - 1) * BLK_BYTES), 0);
    CU_ASSERT_EQUAL(device->ops->discard(device, BLK_BYTES, (end - 1) * BLK_BYTES), 0);
    device_close(device);
    simdev_set_room(host.disk, 0); /* not even that: it is opened all the same */
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    CU_ASSERT_TRUE(begin < end);
    host_stop(&host);
}

static CU_TestInfo space_tests[] = {
    {"bits", test_bits},
    {"taking and giving back", test_take_and_cancel},
    {"until it is full", test_never_fixed},
    {"freed blocks wait for a checkpoint", test_deferred},
    {"full for now, or full", test_again_or_full},
    {"pins of replay", test_pins},
    {"freeing what is free", test_contradiction},
    {"on the disk", test_on_disk},
    {"a damaged bitmap", test_damaged_bitmap},
    {"whole groups", test_usable},
    {"growing", test_grow},
    {"the area for nodes", test_node_area},
    {"a full file system below", test_no_room_below},
    {"room of what was freed", test_room_of_freed},
    {"room is taken when a pool is opened", test_room_at_open},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"space", NULL, NULL, NULL, NULL, space_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
