/* SPDX-License-Identifier: BSD-3-Clause */
/* 1b and 1d: how snapshots and clones are made, and how snapshots are named, kept and left behind.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/features/features.h"

/* ---- 1b ------------------------------------------------------------------------------------ */

struct extents
{
    char text[4096];
};

static void note_extent(void *opaque, const char *text)
{
    struct extents *extents = opaque;
    const char *entry = strstr(text, "lba ");
    size_t len = strlen(extents->text);
    if (entry)
        snprintf(extents->text + len, sizeof(extents->text) - len, "%s\n", entry);
}

/* Where the blocks of a LUN lie in the pool. */
static struct extents extents_of(const char *name)
{
    struct extents extents = {""};
    char what[64];
    snprintf(what, sizeof(what), "map %s", name);
    CU_ASSERT_EQUAL(pool_dump(host.pool, what, note_extent, &extents, &host.why), 0);
    return extents;
}

static void test_write_anywhere(void)
{
    feature_start(0);
    host_create(&host, "a", 16);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 16, 1, 0), 0);
    host_clone(&host, "a", "b");
    struct extents before = extents_of("a"), b_before = extents_of("b");
    CU_ASSERT_STRING_EQUAL(before.text, b_before.text);
    CU_ASSERT_NOT_EQUAL(before.text[0], '\0');
    CU_ASSERT_EQUAL(host_write(&host, "b", 4, 4, 2, 0), 0);
    struct extents after = extents_of("a"), b_after = extents_of("b");
    CU_ASSERT_STRING_EQUAL(before.text, after.text);
    CU_ASSERT_STRING_NOT_EQUAL(before.text, b_after.text);
    CU_ASSERT_EQUAL(host_write(&host, "a", 4, 4, 3, 0), 0); /* nor does the source overwrite */
    after = extents_of("a");
    CU_ASSERT_STRING_NOT_EQUAL(before.text, after.text);
    CU_ASSERT_TRUE(host_holds(&host, "a", 4, 4, 3) && host_holds(&host, "b", 4, 4, 2));
    feature_stop();
}

static void test_snapshot_is_metadata(void)
{
    feature_start(0);
    CU_ASSERT_EQUAL(feature_volume("v", 0, false), 0);
    host_create(&host, "v/a", 64);
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 0, 64, 1, 0), 0);
    uint64_t data_blks = host_data_blks(&host);
    CU_ASSERT_EQUAL(feature_volume_snapshot("v", "s", 0), 0);
    host_settle(&host);
    CU_ASSERT_EQUAL(host_data_blks(&host), data_blks);
    struct lun *lun = NULL;
    CU_ASSERT_EQUAL(lun_open(host.pool, "v/a@s", 0, &lun, &host.why), -EROFS);
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 0, 10, 2, 0), 0);
    host_settle(&host);
    CU_ASSERT_EQUAL(host_data_blks(&host), data_blks + 10); /* the old ones stay bound */
    CU_ASSERT_TRUE(host_holds(&host, "v/a@s", 0, 64, 1));
    CU_ASSERT_EQUAL(volume_snapshot_delete(host.pool, "v", "s", 0, &host.why), 0);
    host_settle(&host);
    CU_ASSERT_EQUAL(host_data_blks(&host), data_blks);
    feature_stop();
}

static void test_snapshot_outlives_lun(void)
{
    feature_start(0);
    CU_ASSERT_EQUAL(feature_volume("v", 0, false), 0);
    host_create(&host, "v/a", 64);
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 0, 64, 1, 0), 0);
    CU_ASSERT_EQUAL(feature_volume_snapshot("v", "s", 0), 0);
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 0, 10, 2, 0), 0);
    struct lun_info before = host_info(&host, "v/a");
    CU_ASSERT_EQUAL(lun_delete(host.pool, "v/a", false, 0, &host.why), 0);
    host_settle(&host);
    CU_ASSERT_EQUAL(host_data_blks(&host), 64); /* what only the LUN had is free */
    CU_ASSERT_EQUAL(feature_volume_info("v").snapshot_bytes, 64 * BLK_BYTES);
    CU_ASSERT_EQUAL(feature_freed("v/a@s"), 64 * BLK_BYTES);
    CU_ASSERT_EQUAL(feature_volume_clone("v", "s", "c"), 0);
    CU_ASSERT_TRUE(host_holds(&host, "c/a", 0, 64, 1));
    CU_ASSERT_EQUAL(volume_snapshot_restore(host.pool, "v", "s", 0, &host.why), 0);
    CU_ASSERT_TRUE(host_holds(&host, "v/a", 0, 64, 1));
    CU_ASSERT_EQUAL(memcmp(host_info(&host, "v/a").uuid, before.uuid, sizeof(before.uuid)), 0);
    CU_ASSERT_EQUAL(host_data_blks(&host), 64);
    feature_stop();
}

/* "v" with "v/a" and "v/q/b", a snapshot "s", and both written since. */
static void start_volume(void)
{
    feature_start(0);
    CU_ASSERT_EQUAL(feature_volume("v", 0, false), 0);
    CU_ASSERT_EQUAL(qtree_create(host.pool, "v/q", NULL, &host.why), 0);
    host_create(&host, "v/a", 16);
    host_create(&host, "v/q/b", 16);
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 0, 16, 1, 0), 0);
    CU_ASSERT_EQUAL(host_write(&host, "v/q/b", 0, 16, 1, 0), 0);
    CU_ASSERT_EQUAL(feature_volume_snapshot("v", "s", 0), 0);
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 0, 4, 2, 0), 0);
    CU_ASSERT_EQUAL(host_write(&host, "v/q/b", 0, 4, 2, 0), 0);
}

static void test_writable_layer(void)
{
    start_volume();
    CU_ASSERT_EQUAL(feature_volume_clone("v", "s", "given"), 0);
    CU_ASSERT_EQUAL(feature_volume_clone("v", NULL, "made"), 0);
    CU_ASSERT_STRING_EQUAL(feature_volume_info("given").parent, "v@s");
    CU_ASSERT_EQUAL(strncmp(feature_volume_info("made").parent, "v@clone_made.", 13), 0);
    CU_ASSERT_TRUE(host_holds(&host, "given/a", 0, 16, 1));
    CU_ASSERT_TRUE(host_holds(&host, "made/a", 0, 4, 2));
    CU_ASSERT_TRUE(host_holds(&host, "made/q/b", 0, 4, 2));
    CU_ASSERT_EQUAL(host_write(&host, "given/a", 0, 16, 3, 0), 0);
    CU_ASSERT_TRUE(host_holds(&host, "given/a", 0, 16, 3));
    CU_ASSERT_TRUE(host_holds(&host, "v/a@s", 0, 16, 1));
    feature_stop();
}

static void test_one_snapshot_many_clones(void)
{
    start_volume();
    for (unsigned i = 0; i < 20; i++)
    {
        char name[16];
        snprintf(name, sizeof(name), "c%u", i);
        CU_ASSERT_EQUAL(feature_volume_clone("v", "s", name), 0);
        CU_ASSERT_STRING_EQUAL(feature_volume_info(name).parent, "v@s");
        CU_ASSERT_EQUAL(feature_volume_info(name).charged_bytes, 0);
    }
    CU_ASSERT_EQUAL(feature_clone("v/a@s", "v/l%02d", 20), 0);
    CU_ASSERT_TRUE(host_holds(&host, "c19/q/b", 0, 16, 1) && host_holds(&host, "v/l19", 0, 16, 1));
    feature_stop();
}

static void test_parent_stays_writable(void)
{
    start_volume();
    CU_ASSERT_EQUAL(feature_volume_clone("v", NULL, "c"), 0);
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 0, 16, 7, 0), 0);
    host_create(&host, "v/new", 16);
    CU_ASSERT_EQUAL(lun_resize(host.pool, "v/q/b", 32 * BLK_BYTES, 0, &host.why), 0);
    CU_ASSERT_TRUE(host_holds(&host, "c/a", 0, 4, 2) && host_holds(&host, "c/a", 4, 12, 1));
    CU_ASSERT_FALSE(feature_is_there("c/new"));
    CU_ASSERT_EQUAL(host_info(&host, "c/q/b").size_bytes, 16 * BLK_BYTES);
    feature_stop();
}

static void test_space_is_separate(void)
{
    start_volume();
    CU_ASSERT_EQUAL(feature_volume_clone("v", "s", "c"), 0);
    CU_ASSERT_EQUAL(host_write(&host, "c/a", 8, 2, 5, 0), 0);
    host_settle(&host);
    struct lun_info parent = host_info(&host, "v/a"), clone = host_info(&host, "c/a");
    CU_ASSERT_EQUAL(parent.own_bytes, 4 * BLK_BYTES);
    CU_ASSERT_EQUAL(parent.shared_bytes, 12 * BLK_BYTES);
    CU_ASSERT_EQUAL(parent.snapshot_bytes, 4 * BLK_BYTES); /* what only the snapshot has left */
    CU_ASSERT_EQUAL(clone.own_bytes, 2 * BLK_BYTES);
    CU_ASSERT_EQUAL(clone.shared_bytes, 14 * BLK_BYTES);
    struct volume_info v = feature_volume_info("v"), c = feature_volume_info("c");
    CU_ASSERT_EQUAL(v.snapshot_bytes, 8 * BLK_BYTES); /* of a and of b */
    CU_ASSERT_TRUE(v.charged_bytes >= 40 * BLK_BYTES);
    CU_ASSERT_TRUE(c.charged_bytes >= 2 * BLK_BYTES && c.charged_bytes < 8 * BLK_BYTES);
    feature_stop();
}

static void test_lun_clone_without_snapshot(void)
{
    feature_start(0);
    CU_ASSERT_EQUAL(feature_volume("v", 0, false), 0);
    host_create(&host, "v/a", 16);
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 0, 16, 1, 0), 0);
    CU_ASSERT_EQUAL(feature_clone("v/a", "v/b", 0), 0);
    CU_ASSERT_EQUAL(feature_pool().snapshot_count, 0);
    CU_ASSERT_EQUAL(host_info(&host, "v/a").snapshot_count, 0);
    CU_ASSERT_EQUAL(feature_volume_info("v").snapshot_count, 0);
    CU_ASSERT_EQUAL(host_info(&host, "v/b").shared_bytes, 16 * BLK_BYTES);
    feature_stop();
}

/* ---- 1d ------------------------------------------------------------------------------------ */

static void test_naming(void)
{
    unsigned year, month, day, number;
    char end;
    start_volume();
    CU_ASSERT_EQUAL(feature_volume_clone("v", NULL, "dev"), 0);
    struct volume_snapshot_info *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL_FATAL(volume_snapshot_list(host.pool, "v", &list, &count, &host.why), 0);
    CU_ASSERT_EQUAL_FATAL(count, 2);
    CU_ASSERT_EQUAL(sscanf(list[1].name, "v@clone_dev.%4u-%2u-%2u%*[^.].%u%c", &year, &month, &day,
                           &number, &end),
                    4);
    CU_ASSERT_TRUE(list[1].is_automatic);
    CU_ASSERT_EQUAL(list[1].clone_count, 1);
    free(list);
    feature_stop();
}

static void test_rename(void)
{
    start_volume();
    CU_ASSERT_EQUAL(feature_volume_clone("v", "s", "c"), 0);
    CU_ASSERT_EQUAL(volume_snapshot_rename(host.pool, "v", "s", "released", &host.why), 0);
    CU_ASSERT_STRING_EQUAL(feature_volume_info("c").parent, "v@released");
    CU_ASSERT_EQUAL(volume_rename(host.pool, "v", "w", &host.why), 0);
    host_crash_open(&host);
    CU_ASSERT_STRING_EQUAL(feature_volume_info("c").parent, "w@released");
    CU_ASSERT_EQUAL(volume_snapshot_delete(host.pool, "w", "released", 0, &host.why), -EBUSY);
    CU_ASSERT_TRUE(host_holds(&host, "c/a", 0, 16, 1));
    feature_stop();
}

static bool has_snapshot(const char *volume, const char *name)
{
    AUTO_FREE struct volume_snapshot_info *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL_FATAL(volume_snapshot_list(host.pool, volume, &list, &count, &host.why), 0);
    for (size_t i = 0; i < count; i++)
        if (strcmp(strchr(list[i].name, '@') + 1, name) == 0)
            return true;
    return false;
}

static void test_locking(void)
{
    start_volume();
    CU_ASSERT_EQUAL(feature_volume_clone("v", "s", "c"), 0);
    CU_ASSERT_EQUAL(feature_volume_clone("v", "s", "d"), 0);
    CU_ASSERT_EQUAL(volume_snapshot_delete(host.pool, "v", "s", 0, &host.why), -EBUSY);
    CU_ASSERT_TRUE(feature_said("'c'") && feature_said("'d'"));
    CU_ASSERT_TRUE(feature_said("volume clone split start") && feature_said("--defer"));
    CU_ASSERT_EQUAL(volume_snapshot_delete(host.pool, "v", "s", LUN_DEFER, &host.why), 0);
    CU_ASSERT_TRUE(has_snapshot("v", "s"));
    CU_ASSERT_EQUAL(volume_clone_split(host.pool, "c", &host.why), 0);
    CU_ASSERT_TRUE(has_snapshot("v", "s"));
    CU_ASSERT_TRUE(host_holds(&host, "c/a", 0, 16, 1) && host_holds(&host, "d/a", 0, 16, 1));
    CU_ASSERT_EQUAL(volume_delete(host.pool, "d", true, 0, &host.why), 0);
    CU_ASSERT_FALSE(has_snapshot("v", "s")); /* with the last that needed it */
    CU_ASSERT_TRUE(host_holds(&host, "c/a", 0, 16, 1));
    feature_stop();
}

/* What a snapshot's deletion would make of its clones is known before, and exactly. */
static void test_keep_the_original(void)
{
    feature_start(0);
    host_create(&host, "a", 64);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 64, 1, 0), 0);
    host_snapshot(&host, "a", "s");
    host_clone(&host, "a@s", "c");
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 64, 2, 0), 0);
    CU_ASSERT_EQUAL(feature_freed("c"), 0);   /* the snapshot has it too */
    CU_ASSERT_EQUAL(feature_freed("a@s"), 0); /* the clone has it too */
    uint64_t before = feature_pool().data_bytes;
    host_delete(&host, "a@s");
    host_settle(&host);
    CU_ASSERT_EQUAL(feature_pool().data_bytes, before);
    CU_ASSERT_EQUAL(feature_freed("c"), 64 * BLK_BYTES); /* became unique to it */
    CU_ASSERT_TRUE(host_holds(&host, "c", 0, 64, 1));
    feature_stop();
}

static void test_not_removed_with_the_clone(void)
{
    start_volume();
    CU_ASSERT_EQUAL(feature_volume_clone("v", "s", "c"), 0);
    CU_ASSERT_EQUAL(feature_volume_clone("v", "s", "d"), 0);
    CU_ASSERT_EQUAL(volume_clone_split(host.pool, "c", &host.why), 0);
    CU_ASSERT_TRUE(has_snapshot("v", "s"));
    CU_ASSERT_EQUAL(volume_delete(host.pool, "d", true, 0, &host.why), 0);
    CU_ASSERT_TRUE(has_snapshot("v", "s"));
    CU_ASSERT_EQUAL(volume_snapshot_delete(host.pool, "v", "s", 0, &host.why), 0);
    CU_ASSERT_FALSE(has_snapshot("v", "s"));
    feature_stop();
}

CU_TestInfo snapshot_feature_tests[] = {
    {"1b: Write-anywhere", test_write_anywhere},
    {"1b: Snapshot = metadata only", test_snapshot_is_metadata},
    {"1b: Snapshot of a volume = the volume at that instant", test_snapshot_outlives_lun},
    {"1b: Volume clone = writable layer over a snapshot", test_writable_layer},
    {"1b: One snapshot, many clones", test_one_snapshot_many_clones},
    {"1b: Parent stays writable", test_parent_stays_writable},
    {"1b: Space of snapshot and clone is separate from the parent's data", test_space_is_separate},
    {"1b: File/LUN clone without snapshot", test_lun_clone_without_snapshot},
    {"1d: Naming", test_naming},
    {"1d: No rename", test_rename},
    {"1d: Locking", test_locking},
    {"1d: Do not delete the original snapshot", test_keep_the_original},
    {"1d: Not removed with the clone", test_not_removed_with_the_clone},
    CU_TEST_INFO_NULL,
};
