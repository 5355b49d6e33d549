/* SPDX-License-Identifier: BSD-3-Clause */
/* The simulated disk: what survives a power cut, and that each fault does what it says. */
#include "tests/lib/simdev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/cleanup.h"
#include "tests/lib/cunit_main.h"

enum
{
    MIB = 1 << 20,
    SECTOR = SIMDEV_SECTOR_BYTES,
};

static const struct simdev_crash_policy keep_all = {.keep_percent = 100};
static const struct simdev_crash_policy keep_none = {.keep_percent = 0};

static uint8_t peek(struct simdev *disk, uint64_t offset)
{
    uint8_t byte = 0;
    simdev_peek(disk, &byte, 1, offset);
    return byte;
}

/* Writes @len bytes of @value through @device. */
static int put(struct device *device, uint8_t value, size_t len, uint64_t offset)
{
    AUTO_FREE uint8_t *bytes = malloc(len);
    memset(bytes, value, len);
    return device_write(device, bytes, len, offset);
}

static void restart(struct simdev *disk, struct device **device,
                    const struct simdev_crash_policy *policy, uint64_t seed)
{
    struct rng rng = rng_of(seed);
    device_close(*device);
    simdev_restart(disk, &rng, policy);
    *device = simdev_open(disk);
}

static void test_read_write(void)
{
    struct simdev *disk = simdev_new(MIB, MIB, 1);
    struct device *device = simdev_open(disk);
    uint8_t buf[5] = {9, 9, 9, 9, 9};
    CU_ASSERT_EQUAL(device_read(device, buf, 5, MIB - 5), 0);
    CU_ASSERT_EQUAL(buf[0], 0);
    CU_ASSERT_EQUAL(put(device, 7, 200000, 65530), 0);
    CU_ASSERT_EQUAL(peek(disk, 65529), 0);
    CU_ASSERT_EQUAL(peek(disk, 65530), 7);
    CU_ASSERT_EQUAL(peek(disk, 265529), 7);
    CU_ASSERT_EQUAL(peek(disk, 265530), 0);
    uint8_t one = 1;
    uint8_t two = 2;
    struct iovec iov[] = {{&one, 1}, {NULL, 0}, {&two, 1}};
    CU_ASSERT_EQUAL(device->ops->writev(device, iov, 3, 10), 0);
    CU_ASSERT_EQUAL(peek(disk, 10), 1);
    CU_ASSERT_EQUAL(peek(disk, 11), 2);
    CU_ASSERT_EQUAL(device_read(device, buf, 5, MIB - 4), -EIO);
    CU_ASSERT_EQUAL(put(device, 1, 5, MIB - 4), -ENOSPC);
    CU_ASSERT_EQUAL(simdev_count(disk, SIMDEV_WRITE), 2);
    device_close(device);
    simdev_destroy(disk);
}

static void test_crash_keeps_synced(void)
{
    struct simdev *disk = simdev_new(MIB, MIB, 1);
    struct device *device = simdev_open(disk);
    CU_ASSERT_EQUAL(put(device, 1, SECTOR, 0), 0);
    CU_ASSERT_EQUAL(device_sync(device), 0);
    CU_ASSERT_EQUAL(put(device, 2, SECTOR, 0), 0);
    CU_ASSERT_EQUAL(put(device, 3, SECTOR, SECTOR), 0);
    CU_ASSERT_EQUAL(peek(disk, 0), 2);
    CU_ASSERT_EQUAL(simdev_unsynced_count(disk), 2);
    restart(disk, &device, &keep_none, 1);
    CU_ASSERT_EQUAL(peek(disk, 0), 1);
    CU_ASSERT_EQUAL(peek(disk, SECTOR), 0);
    CU_ASSERT_EQUAL(put(device, 4, SECTOR, 0), 0);
    restart(disk, &device, &keep_all, 1);
    CU_ASSERT_EQUAL(peek(disk, 0), 4);
    CU_ASSERT_EQUAL(simdev_unsynced_count(disk), 0);
    device_close(device);
    simdev_destroy(disk);
}

/* Over many seeds, each combination of two writes must be met: none, one, the other, both. */
static void test_crash_reorders(void)
{
    struct simdev_crash_policy half = {.keep_percent = 50};
    bool met[2][2] = {{false}};
    bool same[3] = {false};
    bool has_reordered = false;
    for (uint64_t seed = 0; seed < 64; seed++)
    {
        struct simdev *disk = simdev_new(MIB, MIB, seed);
        struct device *device = simdev_open(disk);
        CU_ASSERT_EQUAL(put(device, 1, SECTOR, 0), 0);
        CU_ASSERT_EQUAL(put(device, 1, SECTOR, 4096), 0);
        CU_ASSERT_EQUAL(put(device, 1, SECTOR, 8192), 0);
        CU_ASSERT_EQUAL(put(device, 2, SECTOR, 8192), 0);
        restart(disk, &device, &half, seed);
        met[peek(disk, 0)][peek(disk, 4096)] = true;
        struct simdev_losses losses = simdev_last_losses(disk);
        CU_ASSERT_TRUE(losses.dropped > 0 || (peek(disk, 0) && peek(disk, 4096)));
        CU_ASSERT_TRUE(losses.reordered > 0 || peek(disk, 0) || !peek(disk, 4096));
        CU_ASSERT_EQUAL(losses.torn, 0);
        has_reordered |= losses.reordered > 0;
        same[peek(disk, 8192)] = true;
        device_close(device);
        simdev_destroy(disk);
    }
    CU_ASSERT_TRUE(met[0][0] && met[0][1] && met[1][0] && met[1][1]);
    CU_ASSERT_TRUE(has_reordered);
    CU_ASSERT_TRUE(same[0] && same[1] && same[2]);
}

static void test_crash_tears(void)
{
    struct simdev_crash_policy tear = {.keep_percent = 100, .tear_percent = 100};
    bool is_torn = false;
    for (uint64_t seed = 0; seed < 16; seed++)
    {
        struct simdev *disk = simdev_new(MIB, MIB, seed);
        struct device *device = simdev_open(disk);
        CU_ASSERT_EQUAL(put(device, 1, 4096, 0), 0);
        restart(disk, &device, &tear, seed);
        unsigned sectors = 0;
        for (uint64_t at = 0; at < 4096; at += SECTOR)
        {
            CU_ASSERT_EQUAL(peek(disk, at), peek(disk, at + SECTOR - 1));
            sectors += peek(disk, at);
        }
        is_torn |= sectors > 0 && sectors < 8;
        CU_ASSERT_EQUAL(simdev_last_losses(disk).torn, sectors > 0 && sectors < 8);
        CU_ASSERT_EQUAL(simdev_last_losses(disk).dropped, sectors == 0);
        device_close(device);
        simdev_destroy(disk);
    }
    CU_ASSERT_TRUE(is_torn);
}

static void test_cut_at(void)
{
    struct simdev *disk = simdev_new(MIB, MIB, 1);
    struct device *device = simdev_open(disk);
    uint8_t byte = 0;
    simdev_cut_power_at(disk, 3);
    CU_ASSERT_EQUAL(put(device, 1, SECTOR, 0), 0);
    CU_ASSERT_EQUAL(device_sync(device), 0);
    CU_ASSERT_EQUAL(put(device, 2, SECTOR, 512), -EIO);
    CU_ASSERT_TRUE(simdev_is_off(disk));
    CU_ASSERT_EQUAL(simdev_last_cut(disk).offset, 512);
    CU_ASSERT_EQUAL(simdev_last_cut(disk).head[0], 2);
    CU_ASSERT_EQUAL(put(device, 3, SECTOR, 1024), -EIO);
    CU_ASSERT_EQUAL(device_sync(device), -EIO);
    CU_ASSERT_EQUAL(device_read(device, &byte, 1, 0), -EIO);
    restart(disk, &device, &keep_all, 1);
    CU_ASSERT_EQUAL(peek(disk, 0), 1);
    CU_ASSERT_EQUAL(peek(disk, 512), 2);
    CU_ASSERT_EQUAL(peek(disk, 1024), 0);
    CU_ASSERT_EQUAL(put(device, 4, SECTOR, 0), 0);

    simdev_cut_power_at(disk, 1);
    CU_ASSERT_EQUAL(device_sync(device), -EIO);
    CU_ASSERT_EQUAL(simdev_last_cut(disk).op, SIMDEV_SYNC);
    restart(disk, &device, &keep_none, 1);
    CU_ASSERT_EQUAL(peek(disk, 0), 1);
    device_close(device);
    simdev_destroy(disk);
}

/* A durable write: its own bytes and no others, whatever lay unsynced under it. */
static void test_write_durable(void)
{
    struct simdev *disk = simdev_new(MIB, MIB, 1);
    struct device *device = simdev_open(disk);
    uint8_t sector[SECTOR];
    memset(sector, 2, sizeof(sector));
    CU_ASSERT_EQUAL(put(device, 1, 4096, 0), 0);
    CU_ASSERT_EQUAL(put(device, 1, SECTOR, 8192), 0);
    uint64_t written = simdev_count(disk, SIMDEV_WRITE), synced = simdev_count(disk, SIMDEV_SYNC);
    CU_ASSERT_EQUAL(device_write_durable(device, sector, SECTOR, 1024), 0);
    CU_ASSERT_EQUAL(simdev_count(disk, SIMDEV_WRITE) - written, 1);
    CU_ASSERT_EQUAL(simdev_count(disk, SIMDEV_SYNC) - synced, 1);
    CU_ASSERT_EQUAL(simdev_unsynced_count(disk), 3); /* what is left of the first on both sides */
    simdev_cut_power(disk);
    restart(disk, &device, &keep_none, 1);
    CU_ASSERT_EQUAL(peek(disk, 1024 - 1), 0);
    CU_ASSERT_EQUAL(peek(disk, 1024), 2);
    CU_ASSERT_EQUAL(peek(disk, 1024 + SECTOR - 1), 2);
    CU_ASSERT_EQUAL(peek(disk, 1024 + SECTOR), 0);
    CU_ASSERT_EQUAL(peek(disk, 8192), 0);

    CU_ASSERT_EQUAL(put(device, 3, 4096, 0), 0);
    CU_ASSERT_EQUAL(device_write_durable(device, sector, SECTOR, 512), 0);
    simdev_cut_power_at(disk, 2); /* between the write and its sync */
    memset(sector, 4, sizeof(sector));
    CU_ASSERT_EQUAL(device_write_durable(device, sector, SECTOR, 512), -EIO);
    restart(disk, &device, &keep_none, 1);
    CU_ASSERT_EQUAL(peek(disk, 0), 0);
    CU_ASSERT_EQUAL(peek(disk, 512), 2);
    device_close(device);
    simdev_destroy(disk);
}

static void test_faults(void)
{
    struct simdev *disk = simdev_new(MIB, MIB, 1);
    struct device *device = simdev_open(disk);
    simdev_arm(disk, &(struct simdev_fault){
                         .op = SIMDEV_WRITE, .kind = SIMDEV_FAIL, .error = -ENOSPC, .nth = 2});
    CU_ASSERT_EQUAL(put(device, 1, SECTOR, 0), 0);
    CU_ASSERT_EQUAL(put(device, 2, SECTOR, 0), -ENOSPC);
    CU_ASSERT_EQUAL(peek(disk, 0), 1);
    CU_ASSERT_EQUAL(put(device, 3, SECTOR, 0), 0);
    CU_ASSERT_EQUAL(simdev_fault_hits(disk), 1);

    simdev_arm(
        disk,
        &(struct simdev_fault){
            .op = SIMDEV_READ, .kind = SIMDEV_FAIL, .error = -EIO, .nth = 1, .is_sticky = true});
    uint8_t byte = 0;
    CU_ASSERT_EQUAL(device_read(device, &byte, 1, 0), -EIO);
    CU_ASSERT_EQUAL(device_read(device, &byte, 1, 0), -EIO);
    CU_ASSERT_EQUAL(put(device, 4, SECTOR, 0), 0);

    simdev_arm(disk, &(struct simdev_fault){.op = SIMDEV_WRITE, .kind = SIMDEV_LOSE, .nth = 1});
    CU_ASSERT_EQUAL(put(device, 5, SECTOR, 0), 0);
    CU_ASSERT_EQUAL(peek(disk, 0), 4);

    simdev_arm(disk,
               &(struct simdev_fault){.op = SIMDEV_WRITE, .kind = SIMDEV_MISDIRECT, .nth = 1});
    CU_ASSERT_EQUAL(put(device, 6, SECTOR, 0), 0);
    CU_ASSERT_EQUAL(peek(disk, 0), 4);
    uint64_t found = 0;
    for (uint64_t at = 0; at < MIB; at += SECTOR)
        found += peek(disk, at) == 6;
    CU_ASSERT_EQUAL(found, 1);

    simdev_arm(disk, &(struct simdev_fault){
                         .op = SIMDEV_WRITE, .kind = SIMDEV_PARTIAL, .error = -EIO, .nth = 1});
    CU_ASSERT_EQUAL(put(device, 8, 4096, 4096), -EIO);
    CU_ASSERT_EQUAL(peek(disk, 8191), 0);
    simdev_arm(disk, &(struct simdev_fault){
                         .op = SIMDEV_ALLOCATE, .kind = SIMDEV_FAIL, .error = -ENOSPC, .nth = 1});
    CU_ASSERT_EQUAL(device->ops->allocate(device, 4096, 0), -ENOSPC);
    CU_ASSERT_EQUAL(device->ops->allocate(device, 4096, 0), 0);
    device_close(device);
    simdev_destroy(disk);
}

/* After a failed sync, a write is durable or lost for good: the next sync does not bring it back.
 */
static void test_failed_sync(void)
{
    bool was_kept = false;
    bool was_lost = false;
    bool was_seen_and_lost = false;
    for (uint64_t seed = 0; seed < 32; seed++)
    {
        struct simdev *disk = simdev_new(MIB, MIB, seed);
        struct device *device = simdev_open(disk);
        CU_ASSERT_EQUAL(put(device, 1, SECTOR, 0), 0);
        simdev_arm(disk, &(struct simdev_fault){
                             .op = SIMDEV_SYNC, .kind = SIMDEV_FAIL, .error = -EIO, .nth = 1});
        CU_ASSERT_EQUAL(device_sync(device), -EIO);
        uint8_t seen = peek(disk, 0);
        CU_ASSERT_EQUAL(device_sync(device), 0);
        restart(disk, &device, &keep_all, seed);
        uint8_t kept = peek(disk, 0);
        was_kept |= kept == 1;
        was_lost |= kept == 0;
        was_seen_and_lost |= seen == 1 && kept == 0;
        device_close(device);
        simdev_destroy(disk);
    }
    CU_ASSERT_TRUE(was_kept && was_lost && was_seen_and_lost);
}

static void test_rot_and_grow(void)
{
    struct simdev *disk = simdev_new(MIB, 2 * MIB, 1);
    struct device *device = simdev_open(disk);
    struct rng rng = rng_of(1);
    simdev_watch_reads(disk);
    uint8_t byte;
    CU_ASSERT_EQUAL(device_read(device, &byte, 1, 2 * 4096 - 1), 0);
    CU_ASSERT_TRUE(simdev_was_read(disk, 1) && !simdev_was_read(disk, 0) &&
                   !simdev_was_read(disk, 2));
    simdev_rot(disk, &rng, 1, 1, 100);
    CU_ASSERT_NOT_EQUAL(peek(disk, 100), 0);
    uint64_t size_bytes = 0;
    CU_ASSERT_EQUAL(device->ops->grow(device, 3 * MIB), -ENOSPC);
    CU_ASSERT_EQUAL(device->ops->grow(device, 2 * MIB), 0);
    CU_ASSERT_EQUAL(device->ops->size(device, &size_bytes), 0);
    CU_ASSERT_EQUAL(size_bytes, 2 * MIB);
    CU_ASSERT_EQUAL(put(device, 1, SECTOR, MIB), 0);
    restart(disk, &device, &keep_none, 1);
    CU_ASSERT_EQUAL(device->ops->size(device, &size_bytes), 0);
    CU_ASSERT_EQUAL(size_bytes, MIB);
    CU_ASSERT_EQUAL(device->ops->grow(device, 2 * MIB), 0);
    CU_ASSERT_EQUAL(device_sync(device), 0);
    restart(disk, &device, &keep_none, 1);
    CU_ASSERT_EQUAL(device->ops->size(device, &size_bytes), 0);
    CU_ASSERT_EQUAL(size_bytes, 2 * MIB);
    device_close(device);
    simdev_destroy(disk);
}

/* Only what was never written needs room; a discard gives it back. */
static void test_room(void)
{
    struct simdev *disk = simdev_new(MIB, MIB, 1);
    struct device *device = simdev_open(disk);
    CU_ASSERT_EQUAL(put(device, 1, 4096, 4096), 0);
    CU_ASSERT_EQUAL(device->ops->allocate(device, 2 * 4096, 2 * 4096), 0);
    simdev_set_room(disk, 2);
    CU_ASSERT_EQUAL(put(device, 2, 3 * 4096, 4096), 0);
    CU_ASSERT_EQUAL(put(device, 3, 4 * 4096, 2 * 4096), 0); /* two of them are new */
    simdev_set_room(disk, 1);
    CU_ASSERT_EQUAL(put(device, 4, 3 * 4096, 5 * 4096), -ENOSPC);
    CU_ASSERT_EQUAL(peek(disk, 5 * 4096), 3); /* nothing of it was done */
    CU_ASSERT_EQUAL(put(device, 4, 4096, 6 * 4096), 0);
    CU_ASSERT_EQUAL(device->ops->allocate(device, 1, MIB - 1), -ENOSPC);
    struct simdev *copy = simdev_copy(disk, 2);
    CU_ASSERT_EQUAL(device->ops->discard(device, 2 * 4096, 4096 + 1), 0);
    CU_ASSERT_EQUAL(put(device, 5, SECTOR, MIB - SECTOR), 0);
    CU_ASSERT_EQUAL(put(device, 5, SECTOR, 2 * 4096), -ENOSPC);
    struct device *other = simdev_open(copy);
    CU_ASSERT_EQUAL(put(other, 5, SECTOR, MIB - SECTOR), -ENOSPC);
    simdev_set_room(copy, UINT64_MAX);
    CU_ASSERT_EQUAL(put(other, 5, SECTOR, MIB - SECTOR), 0);
    device_close(other);
    device_close(device);
    simdev_destroy(copy);
    simdev_destroy(disk);
}

static void test_copy_is_apart(void)
{
    struct simdev *disk = simdev_new(UINT64_C(1) << 40, UINT64_C(1) << 40, 1);
    struct device *device = simdev_open(disk);
    CU_ASSERT_EQUAL(put(device, 1, SECTOR, UINT64_C(1) << 39), 0);
    struct simdev *copy = simdev_copy(disk, 2);
    CU_ASSERT_EQUAL(put(device, 2, SECTOR, UINT64_C(1) << 39), 0);
    CU_ASSERT_EQUAL(peek(copy, UINT64_C(1) << 39), 1);
    CU_ASSERT_EQUAL(simdev_unsynced_count(copy), 1);
    struct device *other = simdev_open(copy);
    restart(copy, &other, &keep_none, 1);
    CU_ASSERT_EQUAL(peek(copy, UINT64_C(1) << 39), 0);
    CU_ASSERT_EQUAL(peek(disk, UINT64_C(1) << 39), 2);
    device_close(other);
    device_close(device);
    simdev_destroy(copy);
    simdev_destroy(disk);
}

static void test_repeatable(void)
{
    uint8_t images[2][64];
    for (unsigned run = 0; run < 2; run++)
    {
        struct simdev *disk = simdev_new(MIB, MIB, 5);
        struct device *device = simdev_open(disk);
        struct simdev_crash_policy policy = {.keep_percent = 50, .tear_percent = 50};
        for (unsigned i = 0; i < 64; i++)
            CU_ASSERT_EQUAL(put(device, 1, SECTOR, (uint64_t)i * SECTOR), 0);
        restart(disk, &device, &policy, 6);
        for (unsigned i = 0; i < 64; i++)
            images[run][i] = peek(disk, (uint64_t)i * SECTOR);
        device_close(device);
        simdev_destroy(disk);
    }
    CU_ASSERT_EQUAL(memcmp(images[0], images[1], 64), 0);
}

static void test_lends(void)
{
    struct simdev *disk = simdev_new(MIB, MIB, 1);
    struct device *device = simdev_open(disk);
    const void *at = NULL;
    CU_ASSERT(device->ops->lend(device, SECTOR, 0, &at) == -EAGAIN);
    simdev_set_lending(disk, true);
    CU_ASSERT(device->ops->lend(device, SECTOR, 0, &at) == 0 && at != NULL);
    device->ops->take_back(device, 0);
    simdev_cut_power(disk);
    CU_ASSERT(device->ops->lend(device, SECTOR, 0, &at) == -EAGAIN);
    device_close(device);
    simdev_destroy(disk);
}

struct late
{
    struct device *device;
    unsigned calls;
};

static void late_cb(void *opaque)
{
    struct late *late = opaque;
    if (late->calls++ == 0)
        CU_ASSERT(put(late->device, 2, SECTOR, SECTOR) == 0);
}

/* What is written once a sync is done is not covered by it. */
static void test_synced(void)
{
    struct simdev *disk = simdev_new(MIB, MIB, 1);
    struct late late = {.device = simdev_open(disk)};
    simdev_set_synced(disk, late_cb, &late);
    CU_ASSERT(put(late.device, 1, SECTOR, 0) == 0);
    CU_ASSERT(device_sync(late.device) == 0);
    CU_ASSERT(late.calls == 1 && simdev_unsynced_count(disk) == 1);
    CU_ASSERT(device_sync(late.device) == 0);
    CU_ASSERT(late.calls == 2 && simdev_unsynced_count(disk) == 0);
    device_close(late.device);
    simdev_destroy(disk);
}

static CU_TestInfo simdev_tests[] = {
    {"reads see writes, within the size", test_read_write},
    {"a power cut takes only what was not synced", test_crash_keeps_synced},
    {"unsynced writes survive in any combination", test_crash_reorders},
    {"an unsynced write is torn between sectors", test_crash_tears},
    {"the power goes at a given write or sync", test_cut_at},
    {"each fault does what it says", test_faults},
    {"durable writes", test_write_durable},
    {"a failed sync loses writes for good", test_failed_sync},
    {"rot flips a bit, growth is not durable before a sync", test_rot_and_grow},
    {"room", test_room},
    {"lends when it is told to", test_lends},
    {"what comes after a sync, before its caller knows", test_synced},
    {"a copy is a disk of its own", test_copy_is_apart},
    {"the same seed gives the same image", test_repeatable},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"simdev", NULL, NULL, NULL, NULL, simdev_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
