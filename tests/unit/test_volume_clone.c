/* SPDX-License-Identifier: BSD-3-Clause */
/* Clones of volumes: what they hold, what they depend on, and how that ends. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/volume/catalog.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

static struct engine_host host;

static int clone_volume(const char *volume, const char *snapshot, const char *name)
{
    struct volume_clone_args args = {.volume = volume, .snapshot = snapshot, .name = name};
    return volume_clone(host.pool, &args, &host.why);
}

static int snapshot_one(const char *volume, const char *name)
{
    struct volume_snapshot_args args = {.name = name};
    return volume_snapshot_create(host.pool, &volume, 1, &args, &host.why);
}

static struct volume_info volume_of(const char *name)
{
    struct volume_info info = {0};
    CU_ASSERT_EQUAL(volume_get_info(host.pool, name, &info, &host.why), 0);
    return info;
}

static size_t count_snapshots(const char *volume)
{
    struct volume_snapshot_info *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL(volume_snapshot_list(host.pool, volume, &list, &count, &host.why), 0);
    free(list);
    return count;
}

static bool is_there(const char *name)
{
    struct lun_info info;
    return lun_get_info(host.pool, name, &info, NULL) == 0;
}

static void reopen_and_check(void)
{
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_crash_open(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_reopen(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
}

/* "v" with "v/a" (block 0 is 1) and "v/q/b" (block 0 is 2), its snapshot "s", then block 0 of "v/a"
 * is 9. */
static void start(void)
{
    host_start(&host, NULL);
    struct volume_attributes attributes = {
        .size_bytes = 1 << 20, .is_guaranteed = true, .pauses_when_full = true, .pause_ms = 7};
    CU_ASSERT_EQUAL_FATAL(volume_create(host.pool, "v", &attributes, &host.why), 0);
    CU_ASSERT_EQUAL(qtree_create(host.pool, "v/p", NULL, &host.why), 0);
    CU_ASSERT_EQUAL(qtree_create(host.pool, "v/q", "the second", &host.why), 0);
    host_create(&host, "v/a", 16);
    struct lun_create_args args = {
        .name = "v/q/b",
        .size_bytes = 16 * BLK_BYTES,
        .comment = "of b",
        .attributes = {.is_reserved = true, .owner = "me", .group = "us"}};
    CU_ASSERT_EQUAL(lun_create(host.pool, &args, &host.why), 0);
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 0, 1, 1, 0), 0);
    CU_ASSERT_EQUAL(host_write(&host, "v/q/b", 0, 1, 2, 0), 0);
    CU_ASSERT_EQUAL(snapshot_one("v", "s"), 0);
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 0, 1, 9, 0), 0);
}

static void test_from_snapshot(void)
{
    start();
    CU_ASSERT_EQUAL(clone_volume("v", "x", "c"), -ENOENT);
    CU_ASSERT_EQUAL(clone_volume("x", "s", "c"), -ENOENT);
    CU_ASSERT_EQUAL(clone_volume("v", "s", "v"), -EEXIST);
    CU_ASSERT_EQUAL(clone_volume("v", "s", "a/b"), -EINVAL);
    CU_ASSERT_EQUAL(clone_volume("/vol/v", "s", "/vol/c"), 0);
    for (unsigned i = 0; i < 2; i++)
    {
        CU_ASSERT_TRUE(host_holds(&host, "c/a", 0, 1, 1));
        CU_ASSERT_TRUE(host_holds(&host, "c/q/b", 0, 1, 2));
        CU_ASSERT_TRUE(host_holds(&host, "v/a", 0, 1, 9));
        struct volume_info v = volume_of("v"), c = volume_of("c");
        CU_ASSERT_EQUAL(c.parent_volume_id, v.id);
        CU_ASSERT_STRING_EQUAL(c.parent, "v@s");
        CU_ASSERT_EQUAL(c.size_bytes, v.size_bytes);
        CU_ASSERT_TRUE(c.is_guaranteed);
        CU_ASSERT_TRUE(c.pauses_when_full);
        CU_ASSERT_EQUAL(c.pause_ms, 7);
        CU_ASSERT_EQUAL(c.lun_count, 2);
        CU_ASSERT_EQUAL(c.qtree_count, 2);
        CU_ASSERT_EQUAL(c.charged_bytes, 0);
        CU_ASSERT_NOT_EQUAL(memcmp(c.uuid, v.uuid, sizeof(c.uuid)), 0);
        struct lun_info b = host_info(&host, "c/q/b");
        CU_ASSERT_TRUE(b.is_reserved);
        CU_ASSERT_STRING_EQUAL(b.owner, "me");
        CU_ASSERT_STRING_EQUAL(b.group, "us");
        CU_ASSERT_STRING_EQUAL(b.comment, "of b");
        CU_ASSERT_STRING_EQUAL(b.origin, "v/q/b@s");
        CU_ASSERT_EQUAL(b.own_bytes, 0);
        CU_ASSERT_NOT_EQUAL(memcmp(b.uuid, host_info(&host, "v/q/b").uuid, sizeof(b.uuid)), 0);
        reopen_and_check();
    }
    CU_ASSERT_EQUAL(host_write(&host, "c/a", 0, 1, 5, 0), 0);
    CU_ASSERT_TRUE(host_holds(&host, "v/a@s", 0, 1, 1));
    CU_ASSERT_EQUAL(volume_of("c").charged_bytes / BLK_BYTES >= 1, 1);
    host_stop(&host);
}

static void test_automatic(void)
{
    start();
    CU_ASSERT_EQUAL(clone_volume("v", NULL, "c"), 0);
    CU_ASSERT_EQUAL(clone_volume("v", NULL, "d"), 0);
    struct volume_info c = volume_of("c");
    CU_ASSERT_EQUAL(strncmp(c.parent, "v@clone_c.", 10), 0);
    CU_ASSERT_TRUE(host_holds(&host, "c/a", 0, 1, 9));
    CU_ASSERT_EQUAL(count_snapshots("v"), 3);
    CU_ASSERT_EQUAL(volume_delete(host.pool, "c", true, 0, &host.why), 0);
    CU_ASSERT_EQUAL(count_snapshots("v"), 3); /* it stays */
    CU_ASSERT_EQUAL(clone_volume("v", NULL, "c"), 0);
    reopen_and_check();
    struct volume_snapshot_info *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL(volume_snapshot_list(host.pool, "v", &list, &count, &host.why), 0);
    CU_ASSERT_EQUAL_FATAL(count, 4);
    CU_ASSERT_FALSE(list[0].is_automatic);
    for (size_t i = 1; i < count; i++)
        CU_ASSERT_TRUE(list[i].is_automatic);
    free(list);
    host_stop(&host);
}

static void test_busy(void)
{
    start();
    CU_ASSERT_EQUAL(clone_volume("v", "s", "c"), 0);
    CU_ASSERT_EQUAL(clone_volume("v", "s", "d"), 0);
    CU_ASSERT_EQUAL(volume_snapshot_delete(host.pool, "v", "s", 0, &host.why), -EBUSY);
    static const char *const told[] = {"'c'", "'d'", "volume clone split start c",
                                       "volume delete c", "snapshot delete v@s --defer"};
    for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++)
        CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, told[i]));
    CU_ASSERT_EQUAL(volume_delete(host.pool, "v", true, LUN_FORCE, &host.why), -EBUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "volume clone split start c"));
    CU_ASSERT_EQUAL(volume_delete(host.pool, "d", true, 0, &host.why), 0);
    CU_ASSERT_EQUAL(volume_snapshot_delete(host.pool, "v", "s", 0, &host.why), -EBUSY);
    CU_ASSERT_EQUAL(volume_clone_split(host.pool, "c", &host.why), 0);
    CU_ASSERT_EQUAL(volume_clone_split(host.pool, "c", &host.why), -EINVAL);
    CU_ASSERT_EQUAL(volume_clone_split(host.pool, "v", &host.why), -EINVAL);
    CU_ASSERT_EQUAL(volume_of("c").parent_snapshot_id, 0);
    CU_ASSERT_STRING_EQUAL(volume_of("c").parent, "");
    CU_ASSERT_EQUAL(count_snapshots("v"), 1);
    CU_ASSERT_EQUAL(volume_snapshot_delete(host.pool, "v", "s", 0, &host.why), 0);
    reopen_and_check();
    /* Any order from here on: the parent goes first. */
    CU_ASSERT_EQUAL(volume_delete(host.pool, "v", true, 0, &host.why), 0);
    host_settle(&host);
    CU_ASSERT_TRUE(host_holds(&host, "c/a", 0, 1, 1));
    CU_ASSERT_EQUAL(host_data_blks(&host), 2);
    reopen_and_check();
    host_stop(&host);
}

/* Deferred, it goes with its last clone: by a split here, by a delete there. */
static void test_defer(void)
{
    for (unsigned i = 0; i < 2; i++)
    {
        start();
        CU_ASSERT_EQUAL(clone_volume("v", "s", "c"), 0);
        CU_ASSERT_EQUAL(clone_volume("v", "s", "d"), 0);
        CU_ASSERT_EQUAL(volume_snapshot_delete(host.pool, "v", "s", LUN_DEFER, &host.why), 0);
        CU_ASSERT_EQUAL(count_snapshots("v"), 1);
        CU_ASSERT_TRUE(is_there("v/a@s"));
        reopen_and_check();
        CU_ASSERT_EQUAL(volume_clone_split(host.pool, "c", &host.why), 0);
        CU_ASSERT_EQUAL(count_snapshots("v"), 1);
        CU_ASSERT_EQUAL(i == 0 ? volume_clone_split(host.pool, "d", &host.why)
                               : volume_delete(host.pool, "d", true, 0, &host.why),
                        0);
        CU_ASSERT_EQUAL(count_snapshots("v"), 0);
        CU_ASSERT_FALSE(is_there("v/a@s"));
        reopen_and_check();
        CU_ASSERT_TRUE(host_holds(&host, "c/q/b", 0, 1, 2));
        host_stop(&host);
    }
    start();
    CU_ASSERT_EQUAL(volume_snapshot_delete(host.pool, "v", "s", LUN_DEFER, &host.why), 0);
    CU_ASSERT_EQUAL(count_snapshots("v"), 0); /* nothing to wait for */
    host_stop(&host);
}

static void test_clone_of_clone(void)
{
    start();
    char name[16], parent[16] = "v";
    for (unsigned i = 0; i < 20; i++)
    {
        snprintf(name, sizeof(name), "c%u", i);
        CU_ASSERT_EQUAL(clone_volume(parent, NULL, name), 0);
        char lun[32];
        snprintf(lun, sizeof(lun), "%s/a", name);
        CU_ASSERT_EQUAL(host_write(&host, lun, i + 1 < 16 ? i + 1 : 1, 1, (uint8_t)(i + 10), 0), 0);
        snprintf(parent, sizeof(parent), "%s", name);
    }
    CU_ASSERT_TRUE(host_holds(&host, "c19/a", 0, 1, 9));
    CU_ASSERT_TRUE(host_holds(&host, "c19/a", 5, 1, 14));
    reopen_and_check();
    CU_ASSERT_EQUAL(volume_delete(host.pool, "c3", true, 0, &host.why), -EBUSY);
    CU_ASSERT_EQUAL(volume_clone_split(host.pool, "c4", &host.why), 0);
    CU_ASSERT_EQUAL(volume_delete(host.pool, "c3", true, 0, &host.why), 0);
    reopen_and_check();
    CU_ASSERT_TRUE(host_holds(&host, "c19/a", 2, 1, 11));
    host_stop(&host);
}

static void test_lock_and_guarantee(void)
{
    start();
    uint64_t later = host.env.env.now_ns(&host.env.env) + UINT64_C(3600000000000);
    CU_ASSERT_EQUAL(volume_snapshot_lock(host.pool, "v", "s", later, &host.why), 0);
    CU_ASSERT_EQUAL(clone_volume("v", "s", "c"), -EPERM);
    CU_ASSERT_EQUAL(clone_volume("v", NULL, "c"), 0); /* another snapshot, which is not locked */
    struct volume_clone_args args = {.volume = "v",
                                     .snapshot = "s",
                                     .name = "d",
                                     .unlocked = true,
                                     .unguaranteed = true,
                                     .comment = "to play with"};
    CU_ASSERT_EQUAL(volume_clone(host.pool, &args, &host.why), 0);
    struct volume_info d = volume_of("d");
    CU_ASSERT_FALSE(d.is_guaranteed);
    CU_ASSERT_EQUAL(d.size_bytes, 1 << 20);
    CU_ASSERT_STRING_EQUAL(d.comment, "to play with");
    CU_ASSERT_TRUE(host_info(&host, "d/q/b").is_reserved); /* a promise of its own */
    struct volume_clone_args thin = {
        .volume = "v", .snapshot = "s", .name = "thin", .unlocked = true, .no_reserve = true};
    CU_ASSERT_EQUAL(volume_clone(host.pool, &thin, &host.why), 0);
    CU_ASSERT_FALSE(host_info(&host, "thin/q/b").is_reserved);
    CU_ASSERT_TRUE(volume_of("thin").is_guaranteed);
    CU_ASSERT_EQUAL(volume_delete(host.pool, "thin", true, 0, &host.why), 0);
    struct volume_attributes attributes = {.locked_until_ns = later};
    CU_ASSERT_EQUAL(volume_modify(host.pool, "v", VOLUME_SET_LOCKED_UNTIL, &attributes, &host.why),
                    0);
    CU_ASSERT_EQUAL(clone_volume("v", NULL, "e"), -EPERM);
    CU_ASSERT_EQUAL(volume_delete(host.pool, "d", true, 0, &host.why), 0); /* it is not locked */
    reopen_and_check();
    host_stop(&host);
}

/* A clone of a volume that is full of clones keeps all sharing. */
static void test_keeps_sharing(void)
{
    start();
    struct lun_clone_args args = {.source = "v/a", .name = "v/vm-%02d", .count = 30};
    CU_ASSERT_EQUAL(lun_clone(host.pool, &args, &host.why), 0);
    uint64_t before = host_data_blks(&host);
    CU_ASSERT_EQUAL(clone_volume("v", NULL, "c"), 0);
    CU_ASSERT_EQUAL(host_data_blks(&host), before);
    CU_ASSERT_EQUAL(volume_of("c").lun_count, 32);
    CU_ASSERT_TRUE(host_holds(&host, "c/vm-17", 0, 1, 9));
    reopen_and_check();
    host_stop(&host);
}

static void test_long_names(void)
{
    start();
    char longest[LUN_NAME_MAX];
    memset(longest, 'x', sizeof(longest));
    longest[LUN_NAME_MAX - 2] = '\0';
    CU_ASSERT_EQUAL(clone_volume("v", "s", longest), -EINVAL); /* no room for "/q/b" */
    longest[LUN_NAME_MAX - 4] = '\0';
    CU_ASSERT_EQUAL(clone_volume("v", NULL, longest), 0);
    CU_ASSERT_EQUAL(count_snapshots("v"), 2);
    reopen_and_check();
    host_stop(&host);
}

static CU_TestInfo clone_tests[] = {
    {"of a snapshot", test_from_snapshot},
    {"of the present state", test_automatic},
    {"a busy snapshot", test_busy},
    {"a deferred snapshot", test_defer},
    {"of a clone", test_clone_of_clone},
    {"locks and guarantees", test_lock_and_guarantee},
    {"of a volume full of clones", test_keeps_sharing},
    {"long names", test_long_names},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"volume_clone", NULL, NULL, NULL, NULL, clone_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
