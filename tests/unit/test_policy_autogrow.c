/* SPDX-License-Identifier: BSD-3-Clause */
/* The pool grows by itself. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/pool/device.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/policy_host.h"

enum
{
    MIB = 1 << 20
};

static void autogrow(uint64_t step_bytes, uint64_t max_bytes, uint8_t threshold)
{
    const struct policy_settings settings = {.autogrow = {.step_bytes = step_bytes,
                                                          .max_bytes = max_bytes,
                                                          .threshold_percent = threshold}};
    unsigned mask = POLICY_SET_AUTOGROW_STEP | POLICY_SET_AUTOGROW_MAX |
                    (threshold ? POLICY_SET_AUTOGROW_THRESHOLD : 0u);
    CU_ASSERT_EQUAL(policy_set(policy, POLICY_OF_POOL, 0, mask, &settings, &host.why), 0);
}

static uint64_t pool_bytes(void)
{
    struct pool_info info;
    pool_get_info(host.pool, &info);
    return info.size_bytes;
}

static void step(void)
{
    policy_host_forget();
    policy_step(policy, POLICY_SPACE);
}

/* Writes on until the pool is full; how far it came. */
static uint64_t fill(uint64_t lba)
{
    while (host_write(&host, "big", lba, 32, 7, 0) == 0)
        lba += 32;
    return lba;
}

static void test_grows(void)
{
    policy_host_start(NULL);
    host_create(&host, "big", 100000);
    uint64_t lba = fill(0);
    step();
    CU_ASSERT_EQUAL(pool_bytes(), HOST_POOL_BYTES); /* not unless told to */
    autogrow(8 * MIB, 48 * MIB, 0);
    step();
    CU_ASSERT_EQUAL(pool_bytes(), 40 * MIB);
    CU_ASSERT_EQUAL(policy_host_events("pool.autogrow", "40 MiB now"), 1);
    step();
    CU_ASSERT_EQUAL(pool_bytes(), 40 * MIB); /* it is not so full any more */
    uint64_t further = fill(lba);
    CU_ASSERT_TRUE(further >= lba + 1500);
    step();
    CU_ASSERT_EQUAL(pool_bytes(), 48 * MIB);
    fill(further);
    step();
    CU_ASSERT_EQUAL(pool_bytes(), 48 * MIB);
    CU_ASSERT_EQUAL(policy_host_events("pool.autogrow.failed", "--autogrow-max"), 1);
    step();
    CU_ASSERT_EQUAL(policy_host_events("pool.autogrow.failed", ""), 0); /* once */
    CU_ASSERT_TRUE(host_holds(&host, "big", 0, 1000, 7));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_reopen(&host);
    CU_ASSERT_EQUAL(pool_bytes(), 48 * MIB);
    policy_host_stop();
}

static void test_threshold(void)
{
    policy_host_start(NULL);
    autogrow(8 * MIB, 0, 50);
    host_create(&host, "big", 100000);
    CU_ASSERT_EQUAL(host_write(&host, "big", 0, 2000, 7, 0), 0);
    step();
    CU_ASSERT_EQUAL(pool_bytes(), HOST_POOL_BYTES);
    CU_ASSERT_EQUAL(host_write(&host, "big", 2000, 2500, 7, 0), 0);
    step();
    CU_ASSERT_EQUAL(pool_bytes(), 40 * MIB);
    policy_host_stop();
}

/* Room is made only where growing was not enough. */
static void test_before_autodelete(void)
{
    policy_host_start(NULL);
    autogrow(32 * MIB, 64 * MIB, 0);
    const struct policy_settings settings = {
        .autodelete = {.is_enabled = true, .trigger_free_percent = 20, .target_free_percent = 30}};
    CU_ASSERT_EQUAL(
        policy_set(policy, POLICY_OF_POOL, 0, POLICY_SET_AUTODELETE, &settings, &host.why), 0);
    host_create(&host, "big", 100000);
    CU_ASSERT_EQUAL(host_write(&host, "big", 0, 1000, 7, 0), 0);
    host_snapshot(&host, "big", "s");
    uint64_t lba = fill(0);
    step();
    CU_ASSERT_EQUAL(pool_bytes(), 64 * MIB);
    CU_ASSERT_EQUAL(host_info(&host, "big").snapshot_count, 1);
    fill(lba);
    step();
    CU_ASSERT_EQUAL(host_info(&host, "big").snapshot_count, 0);
    policy_host_stop();
}

/* What is below has grown further than a step: all of it is used. */
static void test_device_has_grown(void)
{
    policy_host_start(NULL);
    autogrow(4 * MIB, 0, 0);
    CU_ASSERT_EQUAL(host.pool->device->ops->grow(host.pool->device, 60 * MIB), 0);
    host_create(&host, "big", 100000);
    fill(0);
    step();
    CU_ASSERT_EQUAL(pool_bytes(), 60 * MIB);
    policy_host_stop();
}

/* A file system without room, or a block device: one event, tried again. */
static void test_fails(void)
{
    const struct simdev_fault fault = {
        .op = SIMDEV_GROW, .error = -ENOSPC, .nth = 1, .is_sticky = true};
    policy_host_start(NULL);
    autogrow(8 * MIB, 0, 0);
    host_create(&host, "big", 100000);
    fill(0);
    simdev_arm(host.disk, &fault);
    step();
    CU_ASSERT_EQUAL(pool_bytes(), HOST_POOL_BYTES);
    CU_ASSERT_EQUAL(policy_host_events("pool.autogrow.failed", "No space left"), 1);
    uint64_t hits = simdev_fault_hits(host.disk);
    step();
    CU_ASSERT_EQUAL(policy_host_events("pool.autogrow.failed", ""), 0);
    CU_ASSERT_EQUAL(simdev_fault_hits(host.disk), hits); /* nor tried */
    simdev_arm(host.disk, NULL);
    policy_host_advance(100);
    step();
    CU_ASSERT_EQUAL(pool_bytes(), 40 * MIB);
    policy_host_stop();
}

/* A block device that has grown by less than a step. */
static void test_device_has_grown_less(void)
{
    const struct simdev_fault fault = {
        .op = SIMDEV_GROW, .error = -ENOTSUP, .nth = 1, .is_sticky = true};
    policy_host_start(NULL);
    autogrow(16 * MIB, 0, 0);
    CU_ASSERT_EQUAL(host.pool->device->ops->grow(host.pool->device, 40 * MIB), 0);
    simdev_arm(host.disk, &fault);
    host_create(&host, "big", 100000);
    fill(0);
    step();
    CU_ASSERT_EQUAL(pool_bytes(), 40 * MIB);
    CU_ASSERT_EQUAL(policy_host_events("pool.autogrow", ""), 1);
    policy_host_stop();
}

static CU_TestInfo autogrow_tests[] = {
    {"it grows by steps, to the maximum", test_grows},
    {"from its threshold on", test_threshold},
    {"it grows before anything is deleted", test_before_autodelete},
    {"what is below has grown", test_device_has_grown},
    {"what is below cannot grow", test_fails},
    {"a device that has grown by less than a step", test_device_has_grown_less},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"policy autogrow", NULL, NULL, NULL, NULL, autogrow_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
