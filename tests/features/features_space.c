/* SPDX-License-Identifier: BSD-3-Clause */
/* 1e: space guarantees, quotas, accounting. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/features/features.h"

static int rule_set(enum quota_type type, const char *target, uint64_t hard_bytes,
                    uint64_t soft_bytes)
{
    struct quota_rule rule = {.type = type,
                              .volume = "v",
                              .hard_bytes = hard_bytes,
                              .soft_bytes = soft_bytes,
                              .threshold_bytes = UINT64_MAX};
    snprintf(rule.target, sizeof(rule.target), "%s", target);
    return quota_rule_set(host.pool, &rule, &host.why);
}

static struct quota_usage usage_of(const char *path)
{
    AUTO_FREE struct quota_usage *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL_FATAL(quota_report(host.pool, path, &list, &count, &host.why), 0);
    CU_ASSERT_EQUAL_FATAL(count, 1);
    return list[0];
}

static void start_volume(uint64_t size_bytes, bool is_guaranteed)
{
    feature_start(64);
    CU_ASSERT_EQUAL(feature_volume("v", size_bytes, is_guaranteed), 0);
    CU_ASSERT_EQUAL(qtree_create(host.pool, "v/q", NULL, &host.why), 0);
    CU_ASSERT_EQUAL(quota_set_enabled(host.pool, "v", true, &host.why), 0);
}

/* A limit tells before it refuses, and tells when it is over. */
static void test_watch_space(void)
{
    start_volume(0, false);
    CU_ASSERT_EQUAL(rule_set(QUOTA_TREE, "q", 10 * MIB, 6 * MIB), 0);
    CU_ASSERT_EQUAL(feature_create("v/q/a", 5 * MIB, false, NULL), 0);
    CU_ASSERT_FALSE(host_has_event(&host, "quota.softlimit.exceeded", "v/q"));
    CU_ASSERT_EQUAL(feature_create("v/q/b", 2 * MIB, false, NULL), 0);
    CU_ASSERT_TRUE(host_has_event(&host, "quota.softlimit.exceeded", "v/q"));
    CU_ASSERT_FALSE(host_has_event(&host, "quota.softlimit.normal", "v/q"));
    host_delete(&host, "v/q/b");
    CU_ASSERT_TRUE(host_has_event(&host, "quota.softlimit.normal", "v/q"));
    struct quota_rule rule = {.type = QUOTA_TREE,
                              .volume = "v",
                              .target = "q",
                              .hard_bytes = UINT64_MAX,
                              .soft_bytes = UINT64_MAX,
                              .threshold_bytes = 6 * MIB};
    CU_ASSERT_EQUAL(quota_rule_set(host.pool, &rule, &host.why), 0);
    CU_ASSERT_EQUAL(feature_create("v/q/c", 1 * MIB, false, NULL), 0);
    CU_ASSERT_FALSE(host_has_event(&host, "quota.threshold.exceeded", "v/q"));
    CU_ASSERT_EQUAL(feature_create("v/q/d", 1 * MIB, false, NULL), 0);
    CU_ASSERT_TRUE(host_has_event(&host, "quota.threshold.exceeded", "v/q"));
    feature_stop();
}

/* Fills the pool with thin data until writes are refused. */
static void fill_thin(void)
{
    int r = 0;
    host_create(&host, "filler", 1 << 20);
    for (uint64_t lba = 0; r == 0; lba += 64)
        r = host_write(&host, "filler", lba, 64, 9, 0);
    CU_ASSERT_EQUAL(r, -ENOSPC);
    r = 0;
    for (uint64_t lba = 1 << 19; r == 0; lba += 2)
        r = host_write(&host, "filler", lba, 1, 9, 0);
    CU_ASSERT_EQUAL(r, -ENOSPC);
}

static void test_clone_inherits_guarantee(void)
{
    feature_start(64);
    CU_ASSERT_EQUAL(feature_create("a", 12 * MIB, true, NULL), 0);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 3072, 1, 0), 0);
    uint64_t available = feature_pool().available_bytes;
    CU_ASSERT_EQUAL(feature_clone("a", "b", 0), 0);
    CU_ASSERT_TRUE(host_info(&host, "b").is_reserved);
    CU_ASSERT_TRUE(host_info(&host, "b").needed_bytes >= 12 * MIB);
    CU_ASSERT_TRUE(feature_pool().available_bytes <= available - 24 * MIB); /* both may diverge */

    CU_ASSERT_EQUAL(feature_clone("a", "c%d", 2), -ENOSPC);
    CU_ASSERT_TRUE(feature_said("are needed") && feature_said("are available"));
    CU_ASSERT_FALSE(feature_is_there("c0") || feature_is_there("c1"));
    struct lun_clone_args args = {.source = "a", .name = "c", .no_reserve = true};
    CU_ASSERT_EQUAL(lun_clone(host.pool, &args, &host.why), 0);
    CU_ASSERT_FALSE(host_info(&host, "c").is_reserved);

    fill_thin(); /* what was promised is there on a full pool */
    CU_ASSERT_EQUAL(host_write(&host, "b", 0, 3072, 2, 0), 0);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 3072, 3, 0), 0);
    CU_ASSERT_EQUAL(host_write(&host, "c", 0, 1, 4, 0), -ENOSPC);
    CU_ASSERT_TRUE(host_holds(&host, "c", 0, 3072, 1));
    feature_stop();
}

static void test_volume_clone_inherits_guarantee(void)
{
    start_volume(24 * MIB, true);
    host_create(&host, "v/a", 1024);
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 0, 1024, 1, 0), 0);
    CU_ASSERT_EQUAL(feature_volume_clone("v", NULL, "c"), 0);
    CU_ASSERT_TRUE(feature_volume_info("c").is_guaranteed);
    CU_ASSERT_EQUAL(feature_volume_clone("v", NULL, "d"), -ENOSPC);
    CU_ASSERT_TRUE(feature_said("are needed") && feature_said("are available"));
    struct volume_clone_args args = {.volume = "v", .name = "d", .unguaranteed = true};
    CU_ASSERT_EQUAL(volume_clone(host.pool, &args, &host.why), 0);
    CU_ASSERT_FALSE(feature_volume_info("d").is_guaranteed);
    feature_stop();
}

static void test_guarantee_and_sharing(void)
{
    feature_start(64);
    CU_ASSERT_EQUAL(feature_create("a", 8 * MIB, true, NULL), 0);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 2048, 1, 0), 0);
    host_settle(&host);
    uint64_t data_bytes = feature_pool().data_bytes;
    CU_ASSERT_EQUAL(data_bytes, 8 * MIB);
    CU_ASSERT_EQUAL(feature_clone("a", "b", 0), 0);
    host_settle(&host);
    CU_ASSERT_EQUAL(feature_pool().data_bytes, data_bytes); /* shared, and promised */
    CU_ASSERT_EQUAL(host_info(&host, "b").shared_bytes, 8 * MIB);
    uint64_t needed = host_info(&host, "b").needed_bytes;
    CU_ASSERT_EQUAL(host_write(&host, "b", 0, 256, 2, 0), 0);
    uint64_t left = host_info(&host, "b").needed_bytes; /* less what is its own now */
    CU_ASSERT_TRUE(left <= needed - 256 * BLK_BYTES && left + 260 * BLK_BYTES >= needed);
    feature_stop();
}

static void test_quota_is_logical(void)
{
    start_volume(0, false);
    CU_ASSERT_EQUAL(rule_set(QUOTA_TREE, "q", UINT64_MAX, UINT64_MAX), 0);
    CU_ASSERT_EQUAL(feature_create("v/q/a", 10 * MIB, false, NULL), 0);
    CU_ASSERT_EQUAL(host_write(&host, "v/q/a", 0, 16, 1, 0), 0);
    CU_ASSERT_EQUAL(usage_of("v/q").used_bytes, 10 * MIB);
    CU_ASSERT_EQUAL(feature_clone("v/q/a", "v/q/b", 0), 0);
    CU_ASSERT_EQUAL(usage_of("v/q").used_bytes, 20 * MIB);
    CU_ASSERT_EQUAL(usage_of("v/q").lun_count, 2);
    CU_ASSERT_EQUAL(feature_pool().data_bytes, 16 * BLK_BYTES);
    CU_ASSERT_EQUAL(host_write(&host, "v/q/b", 0, 16, 2, 0), 0); /* writing charges nothing */
    CU_ASSERT_EQUAL(usage_of("v/q").used_bytes, 20 * MIB);
    feature_stop();
}

static void test_tree_quota(void)
{
    start_volume(0, false);
    CU_ASSERT_EQUAL(rule_set(QUOTA_TREE, "q", 10 * MIB, UINT64_MAX), 0);
    CU_ASSERT_EQUAL(feature_create("v/q/a", 4 * MIB, false, NULL), 0);
    CU_ASSERT_EQUAL(feature_clone("v/q/a", "v/q/b", 0), 0);
    CU_ASSERT_EQUAL(feature_clone("v/q/a", "v/q/c", 0), -EDQUOT);
    CU_ASSERT_FALSE(feature_is_there("v/q/c"));
    CU_ASSERT_EQUAL(feature_clone("v/q/a", "v/q/d%d", 2), -EDQUOT); /* all or none */
    CU_ASSERT_FALSE(feature_is_there("v/q/d0"));
    CU_ASSERT_EQUAL(usage_of("v/q").used_bytes, 8 * MIB);
    CU_ASSERT_EQUAL(quota_set_enabled(host.pool, "v", false, &host.why), 0);
    CU_ASSERT_EQUAL(feature_clone("v/q/a", "v/q/c", 0), 0); /* off: nothing binds */
    feature_stop();
}

static void test_user_and_group_quota(void)
{
    start_volume(0, false);
    CU_ASSERT_EQUAL(rule_set(QUOTA_USER, "eve", 5 * MIB, UINT64_MAX), 0);
    CU_ASSERT_EQUAL(feature_create("v/a", 4 * MIB, false, "eve"), 0);
    CU_ASSERT_EQUAL(feature_clone("v/a", "v/b", 0), 0); /* goes through */
    struct quota_usage usage = usage_of("v/b");
    CU_ASSERT_EQUAL(usage.used_bytes, 8 * MIB);
    CU_ASSERT_TRUE(usage.used_bytes > usage.rule.hard_bytes); /* over-allocated */
    CU_ASSERT_TRUE(host_has_event(&host, "quota.user.overallocated", "v"));
    CU_ASSERT_EQUAL(lun_resize(host.pool, "v/b", 4 * MIB + 4096, 0, &host.why), -EDQUOT);
    CU_ASSERT_EQUAL(feature_create("v/c", MIB, false, "eve"), -EDQUOT);
    CU_ASSERT_EQUAL(feature_create("v/c", MIB, false, "bob"), 0);

    CU_ASSERT_EQUAL(rule_set(QUOTA_GROUP, "dev", 1 * MIB, UINT64_MAX), 0);
    struct lun_clone_args args = {.source = "v/c", .name = "v/d%d", .count = 2, .group = "dev"};
    CU_ASSERT_EQUAL(lun_clone(host.pool, &args, &host.why), 0);
    CU_ASSERT_TRUE(host_has_event(&host, "quota.group.overallocated", "v"));
    CU_ASSERT_EQUAL(lun_resize(host.pool, "v/d0", 2 * MIB, 0, &host.why), -EDQUOT);
    feature_stop();
}

/* What is unique to a clone is told exactly, and is what its deletion gives back. */
static void test_du(void)
{
    feature_start(0);
    host_create(&host, "a", 256);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 256, 1, 0), 0);
    host_clone(&host, "a", "b");
    host_clone(&host, "a", "c");
    CU_ASSERT_EQUAL(feature_freed("b"), 0);
    CU_ASSERT_EQUAL(host_write(&host, "b", 10, 37, 2, 0), 0);
    CU_ASSERT_EQUAL(host_info(&host, "b").own_bytes, 37 * BLK_BYTES);
    CU_ASSERT_EQUAL(feature_freed("b"), 37 * BLK_BYTES);
    CU_ASSERT_EQUAL(feature_freed("a"), 0);
    const char *set[] = {"a", "c"};
    uint64_t data_bytes, metadata_bytes;
    CU_ASSERT_EQUAL(lun_freed_if_deleted(host.pool, set, 2, &data_bytes, &metadata_bytes, NULL), 0);
    CU_ASSERT_EQUAL(data_bytes, 37 * BLK_BYTES); /* what b has replaced */
    host_settle(&host);
    uint64_t before = feature_pool().data_bytes;
    host_delete(&host, "a");
    host_delete(&host, "c");
    host_settle(&host);
    CU_ASSERT_EQUAL(feature_pool().data_bytes, before - 37 * BLK_BYTES);
    feature_stop();
}

CU_TestInfo space_feature_tests[] = {
    {"1e: Watch space", test_watch_space},
    {"1e: LUN clone inherits guarantee", test_clone_inherits_guarantee},
    {"1e: LUN clone inherits guarantee (of a volume)", test_volume_clone_inherits_guarantee},
    {"1e: Guarantee and sharing coexist", test_guarantee_and_sharing},
    {"1e: Quota is logical", test_quota_is_logical},
    {"1e: Tree quota (qtree)", test_tree_quota},
    {"1e: User/group quota", test_user_and_group_quota},
    {"1e: du -k", test_du},
    CU_TEST_INFO_NULL,
};
