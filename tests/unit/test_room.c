/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Room in the file system below: a grow, a first promise or a new pool that does not find enough is
 * refused with its figures, and leaves length, room and content as they were, whichever step
 * failed; a crash in between leaves a pool that opens.
 */
#include "lun/pool/room.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/pool/space.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

static struct engine_host host;

enum
{
    POOL_BLKS = HOST_POOL_BYTES / BLK_BYTES,
    GROWN_BYTES = 4 * HOST_POOL_BYTES,
    ROOM_BLKS = 16 * POOL_BLKS, /* more than anything here takes */
};

static uint64_t device_bytes(void)
{
    uint64_t bytes = 0;
    CU_ASSERT_EQUAL(host.pool->device->ops->size(host.pool->device, &bytes), 0);
    return bytes;
}

static uint64_t pool_bytes(void)
{
    struct pool_info info;
    pool_get_info(host.pool, &info);
    return info.size_bytes;
}

static int reserve(const char *name)
{
    struct lun_create_args args = {
        .name = name, .size_bytes = 64 * BLK_BYTES, .attributes = {.is_reserved = true}};
    return lun_create(host.pool, &args, &host.why);
}

/* A pool with "a" in it, of which every second run of 16 blocks was written, some of them at the
 * end; and there is plenty of room. */
static void start(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", 4096);
    for (uint64_t lba = 0; lba < 1024; lba += 32)
        CU_ASSERT_EQUAL(host_write(&host, "a", lba, 16, 1, 0), 0);
    host_settle(&host);
    simdev_set_room(host.disk, ROOM_BLKS);
}

static void stop(void)
{
    for (uint64_t lba = 0; lba < 1024; lba += 32)
        CU_ASSERT_TRUE(host_holds(&host, "a", lba, 16, 1));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    if (host.said[0])
        fprintf(stderr, "%s\n", host.said);
    host_stop(&host);
}

static bool says(const char *text)
{
    if (strstr(host.why.text, text))
        return true;
    fprintf(stderr, "no \"%s\" in: %s\n", text, host.why.text);
    return false;
}

/* All is as it was with @room blocks of room below, and still works. Of free blocks beside a hole
 * the room may have gone back below too. */
static void check_unchanged(uint64_t room)
{
    CU_ASSERT_TRUE(simdev_room(host.disk) >= room && simdev_room(host.disk) < room + 256);
    CU_ASSERT_EQUAL(device_bytes(), HOST_POOL_BYTES);
    CU_ASSERT_EQUAL(pool_bytes(), HOST_POOL_BYTES);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_reopen(&host);
    CU_ASSERT_EQUAL(pool_bytes(), HOST_POOL_BYTES);
}

static void test_grow_is_refused(void)
{
    start();
    simdev_set_room(host.disk, 10);
    uint64_t grows = simdev_count(host.disk, SIMDEV_GROW), would = 7;
    CU_ASSERT_EQUAL(pool_grow(host.pool, GROWN_BYTES, &host.why), -ENOSPC);
    CU_ASSERT_TRUE(says("growing to 128 MiB takes "));
    CU_ASSERT_TRUE(says("40 KiB are free"));
    CU_ASSERT_EQUAL(pool_grow_dry_run(host.pool, GROWN_BYTES, &would, &host.why), -ENOSPC);
    CU_ASSERT_EQUAL(would, 7);
    CU_ASSERT_EQUAL(simdev_count(host.disk, SIMDEV_GROW), grows);
    check_unchanged(10);
    stop();
}

/* What is asked for is what is taken: with exactly that the grow goes through. */
static void test_grow_takes_what_it_says(void)
{
    uint64_t taken;
    start();
    CU_ASSERT_EQUAL(pool_grow(host.pool, GROWN_BYTES, &host.why), 0);
    taken = ROOM_BLKS - simdev_room(host.disk);
    CU_ASSERT_TRUE(taken > 0 && taken < POOL_BLKS);
    stop();
    start();
    simdev_set_room(host.disk, taken - 1);
    CU_ASSERT_EQUAL(pool_grow(host.pool, GROWN_BYTES, &host.why), -ENOSPC);
    check_unchanged(taken - 1);
    simdev_set_room(host.disk, taken);
    CU_ASSERT_EQUAL(pool_grow(host.pool, GROWN_BYTES, &host.why), 0);
    stop();
}

/* The n-th call that could fail does, in all n; @run is what is tried. */
static void fail_each(enum simdev_op op, int error, int (*run)(void))
{
    uint64_t n = 1;
    for (;; n++)
    {
        start();
        struct simdev_fault fault = {.op = op, .error = error, .nth = n};
        simdev_arm(host.disk, &fault);
        int r = run();
        uint64_t hits = simdev_fault_hits(host.disk);
        simdev_arm(host.disk, NULL);
        if (hits == 0)
        {
            CU_ASSERT_EQUAL(r, 0);
            stop();
            break;
        }
        if (r == 0) /* of what is only made ready for later */
        {
            stop();
            continue;
        }
        CU_ASSERT_EQUAL(r, error);
        check_unchanged(ROOM_BLKS);
        CU_ASSERT_EQUAL(run(), 0);
        stop();
    }
    CU_ASSERT_TRUE(n > 1);
}

static int run_grow(void)
{
    return pool_grow(host.pool, GROWN_BYTES, &host.why);
}

static int run_reserve(void)
{
    return reserve("r");
}

static void test_grow_fails(void)
{
    fail_each(SIMDEV_ALLOCATE, -ENOSPC, run_grow);
    fail_each(SIMDEV_GROW, -ENOSPC, run_grow);
}

static void test_promise_fails(void)
{
    fail_each(SIMDEV_ALLOCATE, -ENOSPC, run_reserve);
}

/* With promises, the file is whole before and after. */
static void test_grow_with_promises(void)
{
    static const struct simdev_fault fault = {.op = SIMDEV_ALLOCATE, .error = -ENOSPC, .nth = 2};
    start();
    CU_ASSERT_EQUAL(reserve("r"), 0);
    host_settle(&host);
    simdev_set_room(host.disk, 3 * POOL_BLKS - 1);
    CU_ASSERT_EQUAL(pool_grow(host.pool, GROWN_BYTES, &host.why), -ENOSPC);
    CU_ASSERT_TRUE(says("takes 96 MiB there"));
    CU_ASSERT_EQUAL(simdev_room(host.disk), 3 * POOL_BLKS - 1);
    CU_ASSERT_EQUAL(device_bytes(), HOST_POOL_BYTES);
    simdev_set_room(host.disk, 3 * POOL_BLKS);
    simdev_arm(host.disk, &fault);
    CU_ASSERT_EQUAL(pool_grow(host.pool, GROWN_BYTES, &host.why), -ENOSPC);
    simdev_arm(host.disk, NULL);
    CU_ASSERT_EQUAL(simdev_room(host.disk), 3 * POOL_BLKS);
    CU_ASSERT_EQUAL(device_bytes(), HOST_POOL_BYTES);
    CU_ASSERT_EQUAL(pool_grow(host.pool, GROWN_BYTES, &host.why), 0);
    CU_ASSERT_EQUAL(simdev_room(host.disk), 0);
    stop();
}

static void test_promise_is_refused(void)
{
    start();
    simdev_set_room(host.disk, 100);
    uint64_t allocates = simdev_count(host.disk, SIMDEV_ALLOCATE);
    CU_ASSERT_EQUAL(reserve("r"), -ENOSPC);
    CU_ASSERT_TRUE(says("lacks "));
    CU_ASSERT_TRUE(says("has 400 KiB free"));
    CU_ASSERT_EQUAL(simdev_count(host.disk, SIMDEV_ALLOCATE), allocates);
    check_unchanged(100);
    stop();
}

/* A device whose allocate() takes @partial_blks and then finds nothing more: the file system was
 * filled by somebody else after it was asked. */
static struct
{
    const struct device_ops *inner;
    struct device_ops ops;
    uint64_t blks;
} partial;

static int partial_allocate(struct device *device, uint64_t len, uint64_t offset)
{
    uint64_t part = partial.blks * BLK_BYTES < len ? partial.blks * BLK_BYTES : len;
    CU_ASSERT_EQUAL(partial.inner->allocate(device, part, offset), 0);
    partial.blks -= part / BLK_BYTES;
    return part == len ? 0 : -ENOSPC;
}

static void allocate_partially(uint64_t blks)
{
    struct device *device = host.pool->device;
    partial.inner = device->ops;
    partial.ops = *device->ops;
    partial.ops.allocate = partial_allocate;
    partial.blks = blks;
    device->ops = &partial.ops;
}

static void allocate_wholly(void)
{
    host.pool->device->ops = partial.inner;
}

/* What had no room before has none afterwards. Written blocks keep theirs, and so does the part of
 * the file that was given room on purpose. */
static void test_partly_taken(void)
{
    for (uint64_t blks = 0; blks < POOL_BLKS; blks += 509)
    {
        start();
        struct device *device = host.pool->device;
        uint64_t own = HOST_POOL_BYTES - (4 << 20);
        CU_ASSERT_EQUAL(device->ops->allocate(device, 4 << 20, own), 0);
        uint64_t room = simdev_room(host.disk);
        allocate_partially(blks);
        CU_ASSERT_EQUAL(reserve("r"), -ENOSPC);
        allocate_wholly();
        /* Those beside a hole, of the chunk that was half taken, may have been given back too. */
        CU_ASSERT_TRUE(simdev_room(host.disk) >= room);
        CU_ASSERT_TRUE(simdev_room(host.disk) < room + 256);
        uint64_t hole, len;
        CU_ASSERT_EQUAL(device->ops->find_hole(device, own, HOST_POOL_BYTES, &hole, &len), 0);
        CU_ASSERT_EQUAL(len, 0);
        CU_ASSERT_EQUAL(host_write(&host, "a", 2048, 100, 2, 0), 0);
        CU_ASSERT_EQUAL(reserve("r"), 0);
        stop();
    }
}

static void test_grow_partly_taken(void)
{
    for (uint64_t blks = 0; blks < 600; blks += 37)
    {
        start();
        allocate_partially(blks);
        int r = pool_grow(host.pool, GROWN_BYTES, &host.why);
        allocate_wholly();
        CU_ASSERT_TRUE(r == 0 || r == -ENOSPC);
        if (r < 0)
            check_unchanged(ROOM_BLKS);
        CU_ASSERT_TRUE(r < 0 || blks > 0);
        stop();
    }
}

/* A file that is longer than its pool is left alone when it is opened, and used by a grow. */
static void test_longer_file(void)
{
    start();
    CU_ASSERT_EQUAL(host.pool->device->ops->grow(host.pool->device, GROWN_BYTES), 0);
    simdev_set_room(host.disk, 2);
    CU_ASSERT_EQUAL(pool_grow(host.pool, 0, &host.why), -ENOSPC);
    CU_ASSERT_EQUAL(device_bytes(), GROWN_BYTES); /* it was that long before */
    CU_ASSERT_EQUAL(simdev_room(host.disk), 2);
    simdev_set_room(host.disk, ROOM_BLKS);
    allocate_partially(100);
    CU_ASSERT_EQUAL(pool_grow(host.pool, 0, &host.why), -ENOSPC);
    allocate_wholly();
    CU_ASSERT_EQUAL(device_bytes(), GROWN_BYTES);
    /* Free blocks beside a hole that a window had zeroed may have been given back too. */
    CU_ASSERT_TRUE(simdev_room(host.disk) >= ROOM_BLKS);
    CU_ASSERT_TRUE(simdev_room(host.disk) < ROOM_BLKS + 256);
    host_reopen(&host);
    CU_ASSERT_EQUAL(device_bytes(), GROWN_BYTES);
    CU_ASSERT_EQUAL(pool_bytes(), HOST_POOL_BYTES);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    CU_ASSERT_EQUAL(pool_grow(host.pool, 0, &host.why), 0);
    CU_ASSERT_EQUAL(pool_bytes(), GROWN_BYTES);
    stop();
}

/* The power goes at each write or sync of a grow: the pool has its old size or the new one. */
static void test_crash_in_grow(void)
{
    static const unsigned keeps[] = {0, 50, 100};
    unsigned old = 0, grown = 0;
    for (unsigned n = 1; n < 200; n++)
    {
        start();
        host_flush(&host);
        simdev_cut_power_at(host.disk, n);
        int r = pool_grow(host.pool, GROWN_BYTES, &host.why);
        bool is_cut = simdev_is_off(host.disk);
        CU_ASSERT_TRUE(is_cut || r == 0);
        struct simdev_crash_policy policy = {.keep_percent = keeps[n % 3]};
        struct rng rng = rng_of(n);
        simdev_cut_power(host.disk);
        host_close(&host);
        simdev_restart(host.disk, &rng, &policy);
        CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
        uint64_t bytes = pool_bytes();
        CU_ASSERT_TRUE(bytes == GROWN_BYTES || (bytes == HOST_POOL_BYTES && r < 0));
        CU_ASSERT_TRUE(device_bytes() >= bytes);
        old += bytes == HOST_POOL_BYTES;
        grown += bytes == GROWN_BYTES;
        CU_ASSERT_EQUAL(host_check(&host), 0);
        if (bytes == HOST_POOL_BYTES)
            CU_ASSERT_EQUAL(pool_grow(host.pool, GROWN_BYTES, &host.why), 0);
        stop();
        if (!is_cut)
            break;
    }
    CU_ASSERT_TRUE(old > 0 && grown > 0);
}

/* Neither a new file nor one that was there is left longer. */
static void test_create(void)
{
    struct rng_env env;
    struct reason why;
    struct pool_create_options options = {
        .name = "unit", .size_bytes = HOST_POOL_BYTES, .group_blks = HOST_GROUP_BLKS};
    struct simdev *disk = simdev_new(BLK_BYTES, UINT64_C(1) << 40, 1);
    rng_env_init(&env, 1);
    struct device *device = simdev_open(disk);
    simdev_set_room(disk, POOL_BLKS - 1);
    options.preallocate = true;
    CU_ASSERT_EQUAL(pool_create_on_device(&env.env, device, &options, &why), -ENOSPC);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "it takes 32 MiB"));
    options.preallocate = false;
    for (uint64_t n = 1; n <= 2; n++)
    {
        struct simdev_fault fault = {.op = SIMDEV_ALLOCATE, .error = -ENOSPC, .nth = n};
        simdev_arm(disk, &fault);
        CU_ASSERT_EQUAL(pool_create_on_device(&env.env, device, &options, &why), -ENOSPC);
        uint64_t bytes = 0;
        CU_ASSERT_EQUAL(device->ops->size(device, &bytes), 0);
        CU_ASSERT_EQUAL(bytes, BLK_BYTES);
    }
    simdev_arm(disk, NULL);
    CU_ASSERT_EQUAL(pool_create_on_device(&env.env, device, &options, &why), 0);
    device_close(device);
    simdev_destroy(disk);
}

static CU_TestInfo room_tests[] = {
    {"a grow without room is refused", test_grow_is_refused},
    {"a grow takes what it says", test_grow_takes_what_it_says},
    {"each step of a grow fails", test_grow_fails},
    {"a grow with promises", test_grow_with_promises},
    {"a grow finds only a part", test_grow_partly_taken},
    {"a promise without room is refused", test_promise_is_refused},
    {"each step of a promise fails", test_promise_fails},
    {"a promise finds only a part", test_partly_taken},
    {"a file longer than its pool", test_longer_file},
    {"a crash in a grow", test_crash_in_grow},
    {"a new pool", test_create},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"room", NULL, NULL, NULL, NULL, room_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
