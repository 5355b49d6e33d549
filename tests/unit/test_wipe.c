/* SPDX-License-Identifier: BSD-3-Clause */
/* After a wipe no byte of the pool is of a value that is gone; nothing else has changed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/cleanup.h"
#include "lun/pool/space_internal.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

#define SECRET "correct-horse-battery"

static struct engine_host host;
static struct pool_wipe result;

static void put(const char *key, const char *value)
{
    struct store_change change = {key, value, value ? strlen(value) : 0};
    CU_ASSERT_EQUAL_FATAL(store_apply(host.pool, &change, 1, NULL), 0);
}

/* How often the secret is on the disk. */
static size_t copies(void)
{
    struct device *device = host.pool->device;
    AUTO_FREE uint8_t *bytes = malloc(HOST_POOL_BYTES);
    size_t found = 0;
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    CU_ASSERT_EQUAL_FATAL(device_read(device, bytes, HOST_POOL_BYTES, 0), 0);
    for (const uint8_t *at = bytes; at; found += at != NULL)
    {
        const uint8_t *from = at == bytes ? at : at + 1;
        at = memmem(from, HOST_POOL_BYTES - (size_t)(from - bytes), SECRET, strlen(SECRET));
    }
    return found;
}

static int wipe(void)
{
    return pool_wipe_old(host.pool, NULL, NULL, &result, &host.why);
}

/* A pool whose catalog moved often while the secret was in it; the secret is gone now. */
static void start(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", 512);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 256, 7, 0), 0);
    for (unsigned i = 0; i < 12; i++)
    {
        char key[32];
        put("access/chap/web", "web " SECRET);
        snprintf(key, sizeof(key), "other/%u", i);
        put(key, "a neighbour");
        if (i % 3 == 0)
            host_settle(&host);
        if (i % 4 == 1)
            host_crash_open(&host);
    }
    put("access/chap/web", NULL);
    host_flush(&host);
}

static void expect_whole(void)
{
    AUTO_FREE void *value = NULL;
    size_t len;
    CU_ASSERT_EQUAL(store_get(host.pool, "other/3", &value, &len), 0);
    CU_ASSERT(value && strcmp(value, "a neighbour") == 0);
    CU_ASSERT_TRUE(host_holds(&host, "a", 0, 256, 7));
    CU_ASSERT_TRUE(host_holds(&host, "a", 256, 256, 0));
    CU_ASSERT_EQUAL(host_check(&host), 0);
}

static void test_gone(void)
{
    start();
    host_settle(&host);
    CU_ASSERT(copies() > 4); /* in both halves of the journal, and in pages of both kinds */
    CU_ASSERT_EQUAL(wipe(), 0);
    CU_ASSERT_EQUAL(copies(), 0);
    CU_ASSERT(result.wiped_blks > 0);
    CU_ASSERT_EQUAL(result.left_blks, 0);
    CU_ASSERT_EQUAL(result.done_bytes, result.total_bytes);
    expect_whole();
    host_crash_open(&host);
    expect_whole();
    CU_ASSERT_EQUAL(copies(), 0);
    host_stop(&host);
}

/* What is in force stays, with both its copies. */
static void test_in_force(void)
{
    start();
    put("access/chap/db", "db " SECRET);
    CU_ASSERT_EQUAL(wipe(), 0);
    CU_ASSERT_EQUAL(copies(), 2);
    host_crash_open(&host);
    AUTO_FREE void *value = NULL;
    size_t len;
    CU_ASSERT_EQUAL(store_get(host.pool, "access/chap/db", &value, &len), 0);
    expect_whole();
    host_stop(&host);
}

/* In the node area what is left of a torn page goes too; beyond it only what looks like a page. */
static void test_area(void)
{
    uint8_t block[BLK_BYTES];
    start();
    uint64_t at = host.pool->space->area_end, len;
    uint64_t blk = at - 3; /* not one that a checkpoint takes next */
    CU_ASSERT_EQUAL_FATAL(space_find_free(host.pool->space, &blk, at, 1, &len), 0);
    CU_ASSERT_EQUAL_FATAL(len, 1);
    memset(block, 0, sizeof(block));
    memcpy(block + 2000, SECRET, strlen(SECRET));
    CU_ASSERT_EQUAL(device_write(host.pool->device, block, BLK_BYTES, blk * BLK_BYTES), 0);
    blk = at;
    CU_ASSERT_EQUAL_FATAL(space_find_free(host.pool->space, &blk, at + 900, 2, &len), 0);
    CU_ASSERT_EQUAL_FATAL(len, 2);
    memset(block, 0x5a, sizeof(block));
    CU_ASSERT_EQUAL(device_write(host.pool->device, block, BLK_BYTES, blk * BLK_BYTES), 0);
    memcpy(block + 100, SECRET, strlen(SECRET));
    ((struct disk_header *)block)->magic = le32_put(DISK_MAGIC_PAGE);
    CU_ASSERT_EQUAL(device_write(host.pool->device, block, BLK_BYTES, (blk + 1) * BLK_BYTES), 0);
    CU_ASSERT_EQUAL(wipe(), 0);
    CU_ASSERT_EQUAL(copies(), 0);
    CU_ASSERT_EQUAL(device_read(host.pool->device, block, BLK_BYTES, blk * BLK_BYTES), 0);
    CU_ASSERT_EQUAL(block[4095], 0x5a);
    CU_ASSERT_EQUAL(device_read(host.pool->device, block, BLK_BYTES, (blk + 1) * BLK_BYTES), 0);
    CU_ASSERT_EQUAL(block[4095], 0);
    expect_whole();
    host_stop(&host);
}

/* The power is cut at each of its writes and syncs: nothing is lost, and it can be done again. */
static void test_power_cut(void)
{
    bool was_cut = true;
    for (uint64_t cut = 0; was_cut; cut += cut < 40 ? 1 : 7)
    {
        start();
        simdev_cut_power_at(host.disk, cut);
        int r = wipe();
        was_cut = simdev_is_off(host.disk);
        CU_ASSERT_EQUAL(r == 0, !was_cut);
        host_crash_open(&host);
        expect_whole();
        CU_ASSERT_EQUAL(wipe(), 0);
        CU_ASSERT_EQUAL(copies(), 0);
        expect_whole();
        host_stop(&host);
    }
}

/* In a pool that is full to the last block. */
static void test_full(void)
{
    start();
    host_create(&host, "filler", 8192);
    int r = 0;
    for (uint64_t lba = 0; r == 0 && lba < 8192; lba += 4)
        r = host_write(&host, "filler", lba, 4, 1, 0);
    CU_ASSERT_EQUAL(r, -ENOSPC);
    CU_ASSERT_EQUAL(wipe(), 0);
    CU_ASSERT_EQUAL(result.left_blks, 0); /* the reserve is enough */
    CU_ASSERT_EQUAL(copies(), 0);
    expect_whole();
    host_delete(&host, "filler");
    host_settle(&host);
    expect_whole();
    host_stop(&host);
}

static bool stop_at_third(void *opaque, const struct pool_wipe *progress)
{
    CU_ASSERT(progress->done_bytes <= progress->total_bytes);
    return ++*(unsigned *)opaque < 3;
}

static void test_refused(void)
{
    unsigned calls = 0;
    start();
    CU_ASSERT_EQUAL(pool_wipe_old(host.pool, stop_at_third, &calls, &result, &host.why),
                    -ECANCELED);
    CU_ASSERT_EQUAL(calls, 3);
    expect_whole();
    host_close(&host);
    CU_ASSERT_EQUAL_FATAL(host_open(&host, &(struct pool_open_options){.read_only = true}), 0);
    CU_ASSERT_EQUAL(wipe(), -EROFS);
    host_stop(&host);
}

/* Beside the pool's own threads, and changes that take and free blocks between any two looks. */
static bool change_something(void *opaque, const struct pool_wipe *progress)
{
    unsigned *i = opaque;
    char name[16];
    (void)progress;
    snprintf(name, sizeof(name), "c%u", ++*i);
    host_clone(&host, "a", name);
    CU_ASSERT_EQUAL(host_write(&host, name, *i % 200, 8, 9, 0), 0);
    if (*i > 2)
    {
        snprintf(name, sizeof(name), "c%u", *i - 2);
        host_delete(&host, name);
    }
    return true;
}

static void test_busy(void)
{
    unsigned i = 0;
    start();
    host_start_threads(&host);
    CU_ASSERT_EQUAL(pool_wipe_old(host.pool, change_something, &i, &result, &host.why), 0);
    CU_ASSERT(i > 2);
    CU_ASSERT_EQUAL(copies(), 0);
    expect_whole();
    host_stop(&host);
}

static CU_TestInfo wipe_tests[] = {
    {"gone", test_gone},
    {"what is in force stays", test_in_force},
    {"inside and outside the node area", test_area},
    {"power cuts", test_power_cut},
    {"a full pool", test_full},
    {"ended, and read-only", test_refused},
    {"beside others", test_busy},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"wipe", NULL, NULL, NULL, NULL, wipe_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
