/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads that are overtaken: while one is on its way, the line that it looked at goes, what that
 * shared becomes another LUN's own, and is overwritten in place. The read must not show that.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lun/pool/device.h"
#include "lun/volume/lun_internal.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

static struct engine_host host;

/* ---- a device that does something before it reads a block ---------------------------------- */

static struct
{
    const struct device_ops *inner;
    struct device_ops ops;
    void (*overtake)(void); /* once */
    uint64_t blk;           /* before this one is read */
} trap;

static int trap_read(struct device *device, void *buf, size_t len, uint64_t offset)
{
    uint64_t first = offset / BLK_BYTES, end = (offset + len + BLK_BYTES - 1) / BLK_BYTES;
    void (*overtake)(void) = trap.overtake;
    if (overtake && first <= trap.blk && trap.blk < end)
    {
        trap.overtake = NULL;
        overtake();
    }
    return trap.inner->read(device, buf, len, offset);
}

static void trap_set(uint64_t blk, void (*overtake)(void))
{
    struct device *device = host.pool->device;
    if (device->ops != &trap.ops)
    {
        trap.inner = device->ops;
        trap.ops = *device->ops;
        trap.ops.read = trap_read;
        device->ops = &trap.ops;
    }
    trap.overtake = overtake;
    trap.blk = blk;
}

/* ---- what all have in common --------------------------------------------------------------- */

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

static struct lun *open_lun(const char *name)
{
    struct lun *lun = NULL;
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, name, LUN_READ_ONLY, &lun, &host.why), 0);
    return lun;
}

/* Where block @lba of the LUN is. */
static uint64_t blk_of(const char *name, uint64_t lba)
{
    struct emap_run run;
    unsigned count;
    CU_ASSERT_EQUAL(io_lookup(host.pool, host_object(&host, name), lba, lba + 1, &run, 1, &count),
                    0);
    return run.blk;
}

/* Jobs only: a checkpoint would wait for the read. */
static void work(void)
{
    int r;
    while ((r = pool_run_job_step(host.pool)) > 0)
        continue;
    CU_ASSERT_EQUAL(r, 0);
}

/* Block 3 of @name becomes 2, in place: it is not shared any more. */
static void overwrite(const char *name)
{
    uint64_t blk = blk_of(name, 3);
    work();
    CU_ASSERT_EQUAL(host_write(&host, name, 3, 1, 2, 0), 0);
    CU_ASSERT_EQUAL(blk_of(name, 3), blk);
}

/* Reads block 3, which @overtake happens to; the result, and what it holds in *value. */
static int read_overtaken(struct lun *lun, uint64_t blk, void (*overtake)(void), uint8_t *value)
{
    static uint8_t bytes[BLK_BYTES];
    memset(bytes, 0xee, sizeof(bytes));
    trap_set(blk, overtake);
    int r = lun_read(lun, bytes, sizeof(bytes), 3 * BLK_BYTES);
    CU_ASSERT_PTR_NULL(trap.overtake);
    *value = bytes[0];
    for (size_t i = 0; i < sizeof(bytes); i++)
        CU_ASSERT_EQUAL(bytes[i], *value);
    return r;
}

/* ---- deletes ------------------------------------------------------------------------------- */

static void delete_b(void)
{
    CU_ASSERT_EQUAL(lun_delete(host.pool, "b", false, LUN_FORCE, &host.why), 0);
    overwrite("a");
}

static void test_clone_deleted(void)
{
    start();
    host_clone(&host, "a", "b");
    struct lun *lun = open_lun("b");
    uint8_t value;
    CU_ASSERT_EQUAL(read_overtaken(lun, blk_of("b", 3), delete_b, &value), -ESTALE);
    lun_close(lun);
    CU_ASSERT_TRUE(host_holds(&host, "a", 3, 1, 2));
    stop();
}

static void delete_s(void)
{
    CU_ASSERT_EQUAL(snapshot_delete(host.pool, "a", "s", LUN_FORCE, &host.why), 0);
    overwrite("a");
}

static void test_snapshot_deleted(void)
{
    start();
    host_snapshot(&host, "a", "s");
    struct lun *lun = open_lun("a@s");
    uint8_t value;
    CU_ASSERT_EQUAL(read_overtaken(lun, blk_of("a@s", 3), delete_s, &value), -ESTALE);
    lun_close(lun);
    stop();
}

/* A difference finds one block in both, but it is what the snapshot had no more. */
static void test_base_deleted(void)
{
    start();
    host_snapshot(&host, "a", "s");
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 7, 0), 0); /* so that the maps are two */
    host_settle(&host);
    host_reopen(&host); /* nodes are read again */
    uint64_t root = host_line(&host, "a")->map.root.blk;
    struct lun *lun = open_lun("a@s..a");
    uint8_t value;
    CU_ASSERT_EQUAL(read_overtaken(lun, root, delete_s, &value), -ESTALE);
    lun_close(lun);
    host_snapshot(&host, "a", "s");
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 7, 0), 0);
    host_settle(&host);
    host_reopen(&host);
    root = host_line(&host, "a")->map.root.blk;
    lun = open_lun("a@s..a");
    struct lun_extent extents[8];
    size_t count;
    trap_set(root, delete_s);
    CU_ASSERT_EQUAL(lun_extents(lun, 64 * BLK_BYTES, 0, extents, 8, &count), -ESTALE);
    CU_ASSERT_PTR_NULL(trap.overtake);
    lun_close(lun);
    stop();
}

/* ---- other content ------------------------------------------------------------------------- */

static void restore_b(void)
{
    CU_ASSERT_EQUAL(snapshot_restore(host.pool, "b", "s", LUN_FORCE, &host.why), 0);
    overwrite("c");
}

/* "b" goes back to a snapshot; what it had is its clone's alone then. */
static void test_restored(void)
{
    start();
    host_clone(&host, "a", "b");
    host_snapshot(&host, "b", "s");
    CU_ASSERT_EQUAL(host_write(&host, "b", 0, 8, 5, 0), 0);
    host_clone(&host, "b", "c");
    struct lun *lun = open_lun("b");
    uint8_t value;
    CU_ASSERT_EQUAL(read_overtaken(lun, blk_of("b", 3), restore_b, &value), 0);
    CU_ASSERT_TRUE(value == 5 || value == 1); /* before or after */
    lun_close(lun);
    CU_ASSERT_TRUE(host_holds(&host, "b", 0, 8, 1));
    stop();
}

static void redeploy_b(void)
{
    const char *names[] = {"b"};
    /* The second one replaces what the first one kept. */
    CU_ASSERT_EQUAL(lun_redeploy(host.pool, "golden", names, 1, "u", LUN_FORCE, &host.why), 0);
    CU_ASSERT_EQUAL(lun_redeploy(host.pool, "golden", names, 1, "u", LUN_FORCE, &host.why), 0);
    overwrite("a");
}

static void test_redeployed(void)
{
    start();
    host_create(&host, "golden", 64);
    CU_ASSERT_EQUAL(host_write(&host, "golden", 0, 8, 9, 0), 0);
    host_clone(&host, "a", "b");
    struct lun *lun = open_lun("b");
    uint8_t value;
    CU_ASSERT_EQUAL(read_overtaken(lun, blk_of("b", 3), redeploy_b, &value), 0);
    CU_ASSERT_TRUE(value == 1 || value == 9);
    lun_close(lun);
    CU_ASSERT_TRUE(host_holds(&host, "b", 0, 8, 9));
    stop();
}

static CU_TestInfo overtaken_tests[] = {
    {"a clone that is deleted", test_clone_deleted},
    {"a snapshot that is deleted", test_snapshot_deleted},
    {"a difference whose base is deleted", test_base_deleted},
    {"a LUN that is restored", test_restored},
    {"a LUN that is redeployed", test_redeployed},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"io_read", NULL, NULL, NULL, NULL, overtaken_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
