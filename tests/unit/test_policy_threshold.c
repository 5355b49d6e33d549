/* SPDX-License-Identifier: BSD-3-Clause */
/* Thresholds of space, and the settings in the pool's store. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/policy_host.h"

static struct policy_settings levels(const char *text)
{
    struct policy_settings settings = {0};
    CU_ASSERT_EQUAL(policy_parse_levels(text, &settings.thresholds, &host.why), 0);
    return settings;
}

static void set_levels(enum policy_scope scope, uint64_t id, const char *text)
{
    const struct policy_settings settings = levels(text);
    CU_ASSERT_EQUAL(policy_set(policy, scope, id, POLICY_SET_THRESHOLDS, &settings, &host.why), 0);
}

static void look(void)
{
    policy_host_forget();
    policy_step(policy, POLICY_SPACE);
}

static int count_cb(void *opaque, const char *key, const void *value, size_t len)
{
    (void)key, (void)value, (void)len;
    ++*(size_t *)opaque;
    return 0;
}

static size_t count_keys(const char *prefix)
{
    size_t count = 0;
    CU_ASSERT_EQUAL(store_list(host.pool, prefix, count_cb, &count), 0);
    return count;
}

static void test_parse(void)
{
    struct policy_levels parsed;
    static const char *const bad[] = {"",
                                      "0",
                                      "100",
                                      "90,80",
                                      "80,80",
                                      "80,",
                                      "80;90",
                                      "eighty",
                                      "-5",
                                      "80 90",
                                      ",80",
                                      "8.5",
                                      "1,2,3,4,5,6,7,8,9",
                                      "80,none"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CU_ASSERT_EQUAL(policy_parse_levels(bad[i], &parsed, NULL), -EINVAL);
    CU_ASSERT_EQUAL(policy_parse_levels("80%,90%", &parsed, NULL), 0);
    CU_ASSERT_EQUAL(parsed.count, 2);
    CU_ASSERT_EQUAL(parsed.percent[1], 90);
    CU_ASSERT_EQUAL(policy_parse_levels("none", &parsed, NULL), 0);
    CU_ASSERT_EQUAL(parsed.count, 0);
}

/* Crossing, rising further, falling a little, falling below. */
static void test_lun(void)
{
    policy_host_start(NULL);
    host_create(&host, "one", 100);
    uint64_t id = host_info(&host, "one").id;
    set_levels(POLICY_OF_LUN, id, "50,80");
    look();
    CU_ASSERT_EQUAL(policy_host_events("lun.threshold", ""), 0);
    CU_ASSERT_EQUAL(host_write(&host, "one", 0, 60, 1, 0), 0);
    look();
    CU_ASSERT_EQUAL(policy_host_events("lun.threshold", "above 50 %"), 1);
    CU_ASSERT_TRUE(host_has_event(&host, "lun.threshold", "one"));
    look();
    CU_ASSERT_EQUAL(policy_host_events("lun.threshold", ""), 0); /* once */
    CU_ASSERT_EQUAL(host_write(&host, "one", 0, 95, 1, 0), 0);
    look();
    CU_ASSERT_EQUAL(policy_host_events("lun.threshold", "above 80 %"), 1);
    CU_ASSERT_EQUAL(host_unmap(&host, "one", 79, 21), 0); /* 79 %: not yet left */
    look();
    CU_ASSERT_EQUAL(policy_host_events("lun.threshold", ""), 0);
    CU_ASSERT_EQUAL(host_write(&host, "one", 79, 2, 1, 0), 0);
    look();
    CU_ASSERT_EQUAL(policy_host_events("lun.threshold", ""), 0); /* nor crossed again */
    CU_ASSERT_EQUAL(host_unmap(&host, "one", 78, 22), 0);
    look();
    CU_ASSERT_EQUAL(policy_host_events("lun.threshold", "below 80 % again"), 1);
    CU_ASSERT_EQUAL(host_unmap(&host, "one", 0, 100), 0);
    look();
    CU_ASSERT_EQUAL(policy_host_events("lun.threshold", "below 50 % again"), 1);
    policy_host_stop();
}

static void test_follows_object(void)
{
    policy_host_start(NULL);
    host_create(&host, "one", 100);
    set_levels(POLICY_OF_LUN, host_info(&host, "one").id, "50");
    CU_ASSERT_EQUAL(lun_rename(host.pool, "one", "two", &host.why), 0);
    CU_ASSERT_EQUAL(host_write(&host, "two", 0, 60, 1, 0), 0);
    host_flush(&host);
    host_crash(&host);
    policy_stop(policy);
    policy = NULL;
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    policy_host_restart(NULL);
    policy_step(policy, POLICY_SPACE);
    CU_ASSERT_TRUE(host_has_event(&host, "lun.threshold", "two"));
    host_delete(&host, "two");
    policy_host_advance(3600);
    policy_step(policy, POLICY_SPACE);
    CU_ASSERT_EQUAL(count_keys("policy/"), 0);
    policy_host_stop();
}

/* Settings of what is deleted are forgotten, others are not. */
static void test_sweep(void)
{
    policy_host_start(NULL);
    host_create(&host, "one", 8);
    host_create(&host, "two", 8);
    uint64_t volume = policy_host_volume("db", 4 << 20), other = policy_host_volume("web", 4 << 20);
    set_levels(POLICY_OF_LUN, host_info(&host, "one").id, "50");
    set_levels(POLICY_OF_LUN, host_info(&host, "two").id, "50");
    set_levels(POLICY_OF_VOLUME, volume, "50");
    set_levels(POLICY_OF_VOLUME, other, "50");
    set_levels(POLICY_OF_POOL, 0, "50");
    host_delete(&host, "one");
    CU_ASSERT_EQUAL(volume_delete(host.pool, "db", false, 0, &host.why), 0);
    CU_ASSERT_EQUAL(count_keys("policy/"), 5);
    policy_host_advance(3600);
    policy_step(policy, POLICY_SPACE);
    CU_ASSERT_EQUAL(count_keys("policy/"), 3);
    policy_host_stop();
}

static void test_pool_and_volume(void)
{
    policy_host_start(NULL);
    uint64_t id = policy_host_volume("db", 4 << 20); /* 1024 blocks */
    host_create(&host, "db/one", 8192);
    set_levels(POLICY_OF_VOLUME, id, "70");
    look();
    CU_ASSERT_EQUAL(policy_host_events("volume.threshold", ""), 0);
    CU_ASSERT_EQUAL(host_write(&host, "db/one", 0, 900, 1, 0), 0);
    look();
    CU_ASSERT_EQUAL(policy_host_events("volume.threshold", "volume db is"), 1);
    host_create(&host, "big", 8192);
    int r = 0;
    for (uint64_t lba = 0; r == 0 && lba < 8192; lba += 64)
        r = host_write(&host, "big", lba, 64, 1, 0);
    CU_ASSERT_EQUAL(r, -ENOSPC);
    look();
    CU_ASSERT_EQUAL(policy_host_events("pool.threshold", "above 95 %"), 1); /* by default */
    host_delete(&host, "big");
    host_settle(&host);
    look();
    CU_ASSERT_EQUAL(policy_host_events("pool.threshold", "again"), 1);
    set_levels(POLICY_OF_POOL, 0, "none");
    host_create(&host, "big", 8192);
    for (r = 0; r == 0;)
        r = host_write(&host, "big", host_info(&host, "big").mapped_bytes / BLK_BYTES, 64, 1, 0);
    look();
    CU_ASSERT_EQUAL(policy_host_events("pool.threshold", ""), 0);
    policy_host_stop();
}

static void test_dry_run(void)
{
    policy_host_start(NULL);
    struct policy_settings settings = levels("10");
    command_dry_run(true);
    CU_ASSERT_EQUAL(policy_set(policy, POLICY_OF_POOL, 0, POLICY_SET_THRESHOLDS, &settings, NULL),
                    0);
    command_dry_run(false);
    policy_get(policy, POLICY_OF_POOL, 0, &settings);
    CU_ASSERT_EQUAL(settings.thresholds.count, 3);
    CU_ASSERT_EQUAL(settings.thresholds.percent[0], 80);
    policy_host_stop();
}

/* What somebody else's pool holds is not trusted. */
static void test_hostile_store(void)
{
    static const char *const values[] = {"",
                                         "{",
                                         "[]",
                                         "{\"thresholds\":5}",
                                         "{\"thresholds\":[200]}",
                                         "\xff\xfe",
                                         "{\"thresholds\":[90,80]}",
                                         "{\"thresholds\":[1,2,3,4,5,6,7,8,9]}",
                                         "{\"thresholds\":[-1]}",
                                         "{\"thresholds\":[\"x\"]}"};
    policy_host_start(NULL);
    for (size_t i = 0; i < ARRAY_SIZE(values); i++)
    {
        struct policy_settings settings;
        const struct store_change changes[] = {
            {.key = "policy/set/pool", .value = values[i], .len = strlen(values[i])},
            {.key = "policy/set/lun/nonsense", .value = values[i], .len = strlen(values[i])},
            {.key = "policy/set/lun/00000000000000zz",
             .value = values[i],
             .len = strlen(values[i])},
        };
        CU_ASSERT_EQUAL(store_apply(host.pool, changes, ARRAY_SIZE(changes), &host.why), 0);
        policy_get(policy, POLICY_OF_POOL, 0, &settings);
        CU_ASSERT_EQUAL(settings.thresholds.count, 3);
        policy_step(policy, POLICY_SPACE);
        set_levels(POLICY_OF_POOL, 0, "33");
        policy_get(policy, POLICY_OF_POOL, 0, &settings);
        CU_ASSERT_EQUAL(settings.thresholds.percent[0], 33);
    }
    policy_host_stop();
}

static CU_TestInfo threshold_tests[] = {
    {"what thresholds are", test_parse},
    {"a LUN crosses and leaves its thresholds", test_lun},
    {"settings follow the object through rename and crash", test_follows_object},
    {"settings of deleted objects are forgotten", test_sweep},
    {"pool and volume", test_pool_and_volume},
    {"a dry run changes nothing", test_dry_run},
    {"a store that makes no sense", test_hostile_store},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"policy thresholds", NULL, NULL, NULL, NULL, threshold_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
