/* SPDX-License-Identifier: BSD-3-Clause */
/* 1f: what a clone does not take with it, and what must not be cloned. Mappings: features.sh. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/features/features.h"

static uint64_t in_an_hour(void)
{
    return host.env.env.now_ns(&host.env.env) + UINT64_C(3600) * 1000000000;
}

static void test_new_identity(void)
{
    feature_start(0);
    struct lun_create_args create = {.name = "a",
                                     .size_bytes = MIB,
                                     .attributes = {.is_autodelete = true,
                                                    .expire_ns = in_an_hour(),
                                                    .locked_until_ns = in_an_hour()}};
    CU_ASSERT_EQUAL(lun_create(host.pool, &create, &host.why), 0);
    struct lun_clone_args args = {.source = "a", .name = "b", .unlocked = true};
    CU_ASSERT_EQUAL(lun_clone(host.pool, &args, &host.why), 0);
    struct lun_info a = host_info(&host, "a"), b = host_info(&host, "b");
    CU_ASSERT_NOT_EQUAL(memcmp(a.uuid, b.uuid, sizeof(a.uuid)), 0);
    CU_ASSERT_NOT_EQUAL(a.id, b.id);
    CU_ASSERT_TRUE(a.is_autodelete);
    CU_ASSERT_FALSE(b.is_autodelete); /* off unless asked for, as ONTAP's */
    CU_ASSERT_EQUAL(b.expire_ns, 0);
    CU_ASSERT_EQUAL(b.locked_until_ns, 0);
    feature_stop();
}

static void test_retention(void)
{
    feature_start(0);
    CU_ASSERT_EQUAL(feature_volume("v", 0, false), 0);
    host_create(&host, "v/a", 16);
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 0, 16, 1, 0), 0);
    CU_ASSERT_EQUAL(feature_volume_snapshot("v", "s", in_an_hour()), 0);
    CU_ASSERT_EQUAL(volume_snapshot_delete(host.pool, "v", "s", 0, &host.why), -EPERM);
    CU_ASSERT_EQUAL(volume_delete(host.pool, "v", true, LUN_FORCE, &host.why), -EPERM);
    CU_ASSERT_EQUAL(feature_volume_clone("v", "s", "c"), -EPERM);
    CU_ASSERT_TRUE(feature_said("locked"));
    struct volume_clone_args unlocked = {
        .volume = "v", .snapshot = "s", .name = "c", .unlocked = true};
    CU_ASSERT_EQUAL(volume_clone(host.pool, &unlocked, &host.why), 0);
    CU_ASSERT_EQUAL(feature_volume_info("c").locked_until_ns, 0);

    struct volume_attributes attributes = {.locked_until_ns = in_an_hour()};
    CU_ASSERT_EQUAL(volume_modify(host.pool, "v", VOLUME_SET_LOCKED_UNTIL, &attributes, &host.why),
                    0);
    CU_ASSERT_EQUAL(feature_volume_clone("v", NULL, "d"), -EPERM);
    CU_ASSERT_EQUAL(lun_delete(host.pool, "v/a", true, LUN_FORCE, &host.why), -EPERM);
    struct lun_attributes locked = {.locked_until_ns = in_an_hour()};
    CU_ASSERT_EQUAL(lun_set_attributes(host.pool, "c/a", LUN_SET_LOCKED_UNTIL, &locked, &host.why),
                    0);
    host_crash_open(&host);
    CU_ASSERT_EQUAL(lun_delete(host.pool, "c/a", true, LUN_FORCE, &host.why), -EPERM);
    feature_stop();
}

static int clone_locked(const char *source, bool unlocked, const char *name, uint32_t count)
{
    struct lun_clone_args args = {
        .source = source, .name = name, .count = count, .unlocked = unlocked};
    struct lun_pair pair = {.source = source, .name = "group"};
    if (count > 1)
        return lun_clone(host.pool, &args, &host.why);
    int r = lun_clone_group(host.pool, &pair, 1, &args, &host.why);
    if (r == 0)
        host_delete(&host, "group");
    CU_ASSERT_EQUAL(lun_clone(host.pool, &args, &host.why), r);
    return r;
}

/* @locked names what is locked, and --unlocked is the way out: of one, of several, of a group. */
static void expect_locked(const char *source, const char *locked)
{
    char until[80];
    snprintf(until, sizeof(until), "'%s' is locked until 20", locked);
    CU_ASSERT_EQUAL(clone_locked(source, false, "copy", 0), -EPERM);
    CU_ASSERT_TRUE(feature_said(until));
    CU_ASSERT_TRUE(feature_said("--unlocked"));
    CU_ASSERT_EQUAL(clone_locked(source, false, "copy%d", 3), -EPERM);
    CU_ASSERT_EQUAL(clone_locked(source, true, "copy", 0), 0);
    CU_ASSERT_EQUAL(clone_locked(source, true, "copy%d", 3), 0);
    const char *names[] = {"copy", "copy0", "copy1", "copy2"};
    for (size_t i = 0; i < 4; i++)
    {
        CU_ASSERT_EQUAL(host_info(&host, names[i]).locked_until_ns, 0);
        host_delete(&host, names[i]);
    }
}

static void test_locked_luns(void)
{
    feature_start(0);
    struct lun_attributes locked = {.locked_until_ns = in_an_hour()};
    host_create(&host, "a", 16);
    host_snapshot(&host, "a", "s");
    host_create(&host, "b", 16);
    host_snapshot(&host, "b", "s");
    CU_ASSERT_EQUAL(lun_set_attributes(host.pool, "a@s", LUN_SET_LOCKED_UNTIL, &locked, &host.why),
                    0);
    expect_locked("a@s", "a@s");
    CU_ASSERT_EQUAL(clone_locked("a", false, "free", 0), 0); /* only its snapshot is locked */
    CU_ASSERT_EQUAL(lun_set_attributes(host.pool, "b", LUN_SET_LOCKED_UNTIL, &locked, &host.why),
                    0);
    expect_locked("b", "b");
    expect_locked("b@s", "b"); /* no way round */
    CU_ASSERT_EQUAL(feature_volume("v", 0, false), 0);
    host_create(&host, "v/a", 16);
    CU_ASSERT_EQUAL(feature_volume_snapshot("v", "s", in_an_hour()), 0);
    expect_locked("v/a@s", "v@s");
    CU_ASSERT_EQUAL(lun_set_attributes(host.pool, "v/a", LUN_SET_LOCKED_UNTIL, &locked, &host.why),
                    0);
    CU_ASSERT_EQUAL(feature_volume_clone("v", NULL, "w"), -EPERM); /* nor by the volume */
    struct volume_attributes attributes = {.locked_until_ns = in_an_hour()};
    CU_ASSERT_EQUAL(feature_volume("x", 0, false), 0);
    host_create(&host, "x/a", 16);
    CU_ASSERT_EQUAL(volume_modify(host.pool, "x", VOLUME_SET_LOCKED_UNTIL, &attributes, &host.why),
                    0);
    expect_locked("x/a", "x");
    /* Content of LUNs that are there may come from what is locked. */
    const char *names[] = {"free"};
    CU_ASSERT_EQUAL(lun_redeploy(host.pool, "b", names, 1, "undo", 0, &host.why), 0);
    feature_stop();
}

/* Patch day: new content under the same identity, the old one kept. */
static void test_redeploy(void)
{
    feature_start(0);
    host_create(&host, "golden-v1", 16);
    host_create(&host, "golden-v2", 32);
    CU_ASSERT_EQUAL(host_write(&host, "golden-v1", 0, 16, 1, 0), 0);
    CU_ASSERT_EQUAL(host_write(&host, "golden-v2", 0, 32, 2, 0), 0);
    CU_ASSERT_EQUAL(feature_clone("golden-v1", "vm%d", 3), 0);
    const char *names[] = {"vm0", "vm1", "vm2"};
    struct lun_info before = host_info(&host, "vm1");
    uint64_t data_blks = host_data_blks(&host);
    CU_ASSERT_EQUAL(lun_redeploy(host.pool, "golden-v2", names, 3, "undo", 0, &host.why), 0);
    struct lun_info after = host_info(&host, "vm1");
    CU_ASSERT_EQUAL(memcmp(before.uuid, after.uuid, sizeof(after.uuid)), 0);
    CU_ASSERT_EQUAL(before.id, after.id);
    CU_ASSERT_EQUAL(after.size_bytes, 32 * BLK_BYTES);
    CU_ASSERT_TRUE(host_holds(&host, "vm2", 0, 32, 2) && host_holds(&host, "vm2@undo", 0, 16, 1));
    CU_ASSERT_EQUAL(host_data_blks(&host), data_blks);
    CU_ASSERT_EQUAL(snapshot_restore(host.pool, "vm0", "undo", 0, &host.why), 0);
    CU_ASSERT_TRUE(host_holds(&host, "vm0", 0, 16, 1));
    feature_stop();
}

/* Golden copy, masked in a clone, which becomes the golden one; the unmasked one can go. */
static void test_masking(void)
{
    feature_start(0);
    host_create(&host, "prod", 64);
    CU_ASSERT_EQUAL(host_write(&host, "prod", 0, 64, 1, 0), 0);
    host_clone(&host, "prod", "masked");
    CU_ASSERT_EQUAL(host_write(&host, "masked", 8, 8, 0xff, 0), 0);
    CU_ASSERT_EQUAL(feature_clone("masked", "dev%d", 5), 0);
    CU_ASSERT_EQUAL(host_write(&host, "prod", 0, 1, 2, 0), 0); /* production goes on */
    host_delete(&host, "prod");
    host_settle(&host);
    CU_ASSERT_TRUE(host_holds(&host, "dev4", 0, 8, 1) && host_holds(&host, "dev4", 8, 8, 0xff));
    CU_ASSERT_EQUAL(host_data_blks(&host), 64); /* the secret blocks are gone with production */
    feature_stop();
}

/* Developers' clones are refreshed from last night's snapshot of production, in one command. */
static void test_refresh(void)
{
    feature_start(0);
    host_create(&host, "prod", 16);
    CU_ASSERT_EQUAL(host_write(&host, "prod", 0, 16, 1, 0), 0);
    CU_ASSERT_EQUAL(feature_clone("prod", "dev%d", 2), 0);
    const char *names[] = {"dev0", "dev1"};
    for (uint8_t night = 2; night < 6; night++)
    {
        char source[32] = "prod@", *snapshot = source + 5;
        snapshot[0] = (char)('a' + night);
        CU_ASSERT_EQUAL(host_write(&host, "prod", 0, 16, night, 0), 0);
        host_snapshot(&host, "prod", snapshot);
        CU_ASSERT_EQUAL(host_write(&host, "dev1", 3, 1, 99, 0), 0);
        CU_ASSERT_EQUAL(lun_redeploy(host.pool, source, names, 2, "undo", 0, &host.why), 0);
        CU_ASSERT_TRUE(host_holds(&host, "dev1", 0, 16, night));
        CU_ASSERT_TRUE(host_holds(&host, "dev1@undo", 3, 1, 99)); /* one undo, the last */
        CU_ASSERT_EQUAL(host_info(&host, "dev1").snapshot_count, 1);
    }
    feature_stop();
}

CU_TestInfo security_feature_tests[] = {
    {"1f: File clone copies no ACL/streams", test_new_identity},
    {"1f: SnapLock", test_retention},
    {"1f: SnapLock (LUNs)", test_locked_luns},
    {"1f: VMware (redeploy)", test_redeploy},
    {"1f: Oracle dev with masking", test_masking},
    {"1f: Refresh rate", test_refresh},
    CU_TEST_INFO_NULL,
};
