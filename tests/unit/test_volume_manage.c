/* SPDX-License-Identifier: BSD-3-Clause */
/* Volumes and qtrees: making, changing, renaming, deleting them, and LUNs in them. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/volume/catalog.h"
#include "lun/volume/names.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

static struct engine_host host;

static void make_volume(const char *name)
{
    struct volume_attributes attributes = {0};
    CU_ASSERT_EQUAL_FATAL(volume_create(host.pool, name, &attributes, &host.why), 0);
}

static struct volume_info volume_of(const char *name)
{
    struct volume_info info = {0};
    CU_ASSERT_EQUAL(volume_get_info(host.pool, name, &info, &host.why), 0);
    return info;
}

static bool is_there(const char *name)
{
    struct lun_info info;
    return lun_get_info(host.pool, name, &info, NULL) == 0;
}

/* All that is stored comes back. */
static void reopen_and_check(void)
{
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_crash_open(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_reopen(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
}

/* ---- names */

static void expect_path(const char *path, const char *volume, const char *qtree, const char *lun)
{
    struct name_path parts;
    CU_ASSERT_EQUAL_FATAL(name_split(path, &parts, NULL), 0);
    CU_ASSERT_STRING_EQUAL(parts.volume, volume);
    CU_ASSERT_STRING_EQUAL(parts.qtree, qtree);
    CU_ASSERT_STRING_EQUAL(parts.lun, lun);
}

static void test_paths(void)
{
    expect_path("lun", "", "", "lun");
    expect_path("vol/lun", "vol", "", "lun");
    expect_path("vol/q/lun", "vol", "vol/q", "lun");
    static const char *const bad[] = {"",        "/",   "a/",    "/a",     "a//b", "a/b/",
                                      "a/b/c/d", "a@b", "a/b@c", "a/../b", "a/.b"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
    {
        struct name_path parts;
        CU_ASSERT_EQUAL(name_split(bad[i], &parts, NULL), -EINVAL);
    }
    CU_ASSERT_STRING_EQUAL(name_strip("/vol/a/b"), "a/b");
    CU_ASSERT_STRING_EQUAL(name_strip("vol/a"), "vol/a");
    CU_ASSERT_PTR_NULL(name_strip(NULL));
    CU_ASSERT_STRING_EQUAL(name_own("a/b/c@d"), "d");
    CU_ASSERT_STRING_EQUAL(name_own("a/b/c"), "c");
    CU_ASSERT_STRING_EQUAL(name_own("a@d"), "d");
    CU_ASSERT_STRING_EQUAL(name_own("a"), "a");
    char longest[LUN_NAME_MAX + 2];
    memset(longest, 'x', sizeof(longest));
    longest[3] = '/';
    longest[LUN_NAME_MAX] = '\0';
    struct name_path parts;
    CU_ASSERT_EQUAL(name_split(longest, &parts, NULL), 0);
    longest[LUN_NAME_MAX] = 'x';
    longest[LUN_NAME_MAX + 1] = '\0';
    CU_ASSERT_EQUAL(name_split(longest, &parts, NULL), -EINVAL);
}

/* ---- volumes */

static void test_create(void)
{
    host_start(&host, NULL);
    struct volume_attributes attributes = {
        .size_bytes = 8 << 20, .pauses_when_full = true, .pause_ms = 5, .comment = "for tests"};
    CU_ASSERT_EQUAL(volume_create(host.pool, "/vol/v", &attributes, &host.why), 0);
    CU_ASSERT_EQUAL(volume_create(host.pool, "v", &attributes, &host.why), -EEXIST);
    CU_ASSERT_EQUAL(volume_create(host.pool, "a/b", &attributes, &host.why), -EINVAL);
    attributes = (struct volume_attributes){.is_guaranteed = true};
    CU_ASSERT_EQUAL(volume_create(host.pool, "w", &attributes, &host.why), -EINVAL);
    host_create(&host, "lun", 4);
    CU_ASSERT_EQUAL(volume_create(host.pool, "lun", &attributes, &host.why), -EEXIST);
    for (unsigned i = 0; i < 2; i++)
    {
        struct volume_info info = volume_of("v");
        CU_ASSERT_STRING_EQUAL(info.name, "v");
        CU_ASSERT_STRING_EQUAL(info.comment, "for tests");
        CU_ASSERT_EQUAL(info.size_bytes, 8 << 20);
        CU_ASSERT_TRUE(info.pauses_when_full);
        CU_ASSERT_FALSE(info.is_guaranteed);
        CU_ASSERT_EQUAL(info.pause_ms, 5);
        CU_ASSERT_EQUAL(info.lun_count, 0);
        CU_ASSERT_NOT_EQUAL(info.created_ns, 0);
        reopen_and_check();
    }
    host_stop(&host);
}

static void test_modify(void)
{
    host_start(&host, NULL);
    make_volume("v");
    struct volume_attributes attributes = {
        .size_bytes = 4 << 20, .is_guaranteed = true, .comment = "new"};
    CU_ASSERT_EQUAL(volume_modify(host.pool, "v", VOLUME_SET_GUARANTEE, &attributes, &host.why),
                    -EINVAL); /* without a size */
    CU_ASSERT_EQUAL(volume_modify(host.pool, "v", VOLUME_SET_SIZE | VOLUME_SET_GUARANTEE,
                                  &attributes, &host.why),
                    0);
    CU_ASSERT_EQUAL(volume_modify(host.pool, "v", VOLUME_SET_COMMENT, &attributes, &host.why), 0);
    CU_ASSERT_EQUAL(volume_modify(host.pool, "x", VOLUME_SET_COMMENT, &attributes, &host.why),
                    -ENOENT);
    reopen_and_check();
    struct volume_info info = volume_of("v");
    CU_ASSERT_TRUE(info.is_guaranteed);
    CU_ASSERT_EQUAL(info.size_bytes, 4 << 20);
    CU_ASSERT_STRING_EQUAL(info.comment, "new");
    CU_ASSERT_FALSE(info.pauses_when_full);
    attributes.is_guaranteed = false;
    attributes.pauses_when_full = true;
    CU_ASSERT_EQUAL(volume_modify(host.pool, "v", VOLUME_SET_GUARANTEE | VOLUME_SET_FULL_POLICY,
                                  &attributes, &host.why),
                    0);
    info = volume_of("v");
    CU_ASSERT_FALSE(info.is_guaranteed);
    CU_ASSERT_TRUE(info.pauses_when_full);
    CU_ASSERT_EQUAL(info.pause_ms, 30000);
    host_stop(&host);
}

static void test_list(void)
{
    host_start(&host, NULL);
    make_volume("b");
    make_volume("a");
    host_create(&host, "b/x", 10);
    CU_ASSERT_EQUAL(host_write(&host, "b/x", 0, 3, 1, 0), 0);
    struct volume_info *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL_FATAL(volume_list(host.pool, &list, &count), 0);
    CU_ASSERT_EQUAL_FATAL(count, 2);
    CU_ASSERT_STRING_EQUAL(list[0].name, "a");
    CU_ASSERT_STRING_EQUAL(list[1].name, "b");
    CU_ASSERT_EQUAL(list[1].lun_count, 1);
    CU_ASSERT_EQUAL(list[1].logical_bytes, 10 * BLK_BYTES);
    CU_ASSERT_EQUAL(list[1].mapped_bytes, 3 * BLK_BYTES);
    CU_ASSERT_TRUE(list[1].charged_bytes >= 3 * BLK_BYTES);
    CU_ASSERT_EQUAL(list[0].charged_bytes, 0);
    free(list);
    struct pool_info info;
    pool_get_info(host.pool, &info);
    CU_ASSERT_EQUAL(info.volume_count, 2);
    host_stop(&host);
}

static void test_volume_rename(void)
{
    host_start(&host, NULL);
    make_volume("v");
    CU_ASSERT_EQUAL(qtree_create(host.pool, "v/q", NULL, &host.why), 0);
    host_create(&host, "v/a", 4);
    host_create(&host, "v/q/b", 4);
    host_snapshot(&host, "v/q/b", "s");
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 0, 1, 7, 0), 0);
    struct lun *handle = NULL;
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "v/a", 0, &handle, &host.why), 0);
    CU_ASSERT_EQUAL(volume_rename(host.pool, "v", "a/b", &host.why), -EINVAL);
    CU_ASSERT_EQUAL(volume_rename(host.pool, "v", "longer-name", &host.why), 0);
    struct lun_info info;
    CU_ASSERT_EQUAL(lun_describe(handle, &info), 0);
    CU_ASSERT_STRING_EQUAL(info.name, "longer-name/a");
    lun_close(handle);
    for (unsigned i = 0; i < 2; i++)
    {
        CU_ASSERT_FALSE(is_there("v/a"));
        CU_ASSERT_TRUE(is_there("longer-name/q/b@s"));
        CU_ASSERT_TRUE(is_there("/vol/longer-name/q/b"));
        CU_ASSERT_TRUE(host_holds(&host, "longer-name/a", 0, 1, 7));
        reopen_and_check();
    }
    /* What is below must still have a name that is short enough. */
    char longest[LUN_NAME_MAX];
    memset(longest, 'x', sizeof(longest));
    longest[LUN_NAME_MAX - 2] = '\0';
    CU_ASSERT_EQUAL(volume_rename(host.pool, "longer-name", longest, &host.why), -EINVAL);
    CU_ASSERT_TRUE(is_there("longer-name/q/b@s"));
    host_stop(&host);
}

static void test_volume_delete(void)
{
    host_start(&host, NULL);
    make_volume("v");
    CU_ASSERT_EQUAL(volume_delete(host.pool, "x", false, 0, &host.why), -ENOENT);
    CU_ASSERT_EQUAL(volume_delete(host.pool, "v", false, 0, &host.why), 0);
    make_volume("v");
    CU_ASSERT_EQUAL(qtree_create(host.pool, "v/q", NULL, &host.why), 0);
    host_create(&host, "v/q/a", 64);
    host_create(&host, "v/b", 64);
    CU_ASSERT_EQUAL(host_write(&host, "v/q/a", 0, 20, 1, 0), 0);
    host_snapshot(&host, "v/q/a", "s");
    CU_ASSERT_EQUAL(host_write(&host, "v/q/a", 0, 20, 2, 0), 0);
    host_clone(&host, "v/q/a", "outside");
    CU_ASSERT_EQUAL(volume_delete(host.pool, "v", false, 0, &host.why), -EBUSY);
    struct lun *handle = NULL;
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "v/q/a@s", LUN_READ_ONLY, &handle, &host.why), 0);
    CU_ASSERT_EQUAL(volume_delete(host.pool, "v", true, 0, &host.why), -EBUSY);
    CU_ASSERT_EQUAL(volume_delete(host.pool, "v", true, LUN_FORCE, &host.why), 0);
    char byte;
    CU_ASSERT_EQUAL(lun_read(handle, &byte, 1, 0), -ESTALE);
    lun_close(handle);
    struct volume_info info;
    CU_ASSERT_EQUAL(volume_get_info(host.pool, "v", &info, &host.why), -ENOENT);
    CU_ASSERT_FALSE(is_there("v/b"));
    CU_ASSERT_TRUE(host_holds(&host, "outside", 0, 20, 2));
    reopen_and_check();
    host_settle(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    CU_ASSERT_EQUAL(host_data_blks(&host), 20);
    host_delete(&host, "outside");
    host_settle(&host);
    CU_ASSERT_EQUAL(host_data_blks(&host), 0);
    reopen_and_check();
    host_stop(&host);
}

/* ---- qtrees */

static void test_qtrees(void)
{
    host_start(&host, NULL);
    make_volume("v");
    CU_ASSERT_EQUAL(qtree_create(host.pool, "q", NULL, &host.why), -EINVAL);
    CU_ASSERT_EQUAL(qtree_create(host.pool, "v/a/b", NULL, &host.why), -EINVAL);
    CU_ASSERT_EQUAL(qtree_create(host.pool, "w/q", NULL, &host.why), -ENOENT);
    CU_ASSERT_EQUAL(qtree_create(host.pool, "/vol/v/q", "first", &host.why), 0);
    CU_ASSERT_EQUAL(qtree_create(host.pool, "v/q", NULL, &host.why), -EEXIST);
    host_create(&host, "v/lun", 4);
    CU_ASSERT_EQUAL(qtree_create(host.pool, "v/lun", NULL, &host.why), -EEXIST);
    CU_ASSERT_EQUAL(qtree_create(host.pool, "v/o", NULL, &host.why), 0);
    host_create(&host, "v/q/a", 8);
    CU_ASSERT_EQUAL(qtree_delete(host.pool, "v/q", &host.why), -EBUSY);
    CU_ASSERT_EQUAL(qtree_rename(host.pool, "v/q", "o", &host.why), -EEXIST);
    CU_ASSERT_EQUAL(qtree_rename(host.pool, "v/q", "p", &host.why), 0);
    CU_ASSERT_TRUE(is_there("v/p/a"));
    CU_ASSERT_EQUAL(qtree_rename(host.pool, "/vol/v/p", "v/r", &host.why), 0);
    reopen_and_check();
    struct qtree_info *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL_FATAL(qtree_list(host.pool, "v", &list, &count, &host.why), 0);
    CU_ASSERT_EQUAL_FATAL(count, 2);
    CU_ASSERT_STRING_EQUAL(list[0].path, "v/o");
    CU_ASSERT_STRING_EQUAL(list[1].path, "v/r");
    CU_ASSERT_STRING_EQUAL(list[1].comment, "first");
    CU_ASSERT_EQUAL(list[1].lun_count, 1);
    CU_ASSERT_EQUAL(list[1].logical_bytes, 8 * BLK_BYTES);
    free(list);
    CU_ASSERT_EQUAL(qtree_list(host.pool, "w", &list, &count, &host.why), -ENOENT);
    CU_ASSERT_EQUAL(qtree_delete(host.pool, "v/q", &host.why), -ENOENT);
    host_delete(&host, "v/r/a");
    CU_ASSERT_EQUAL(qtree_delete(host.pool, "v/r", &host.why), 0);
    reopen_and_check();
    CU_ASSERT_EQUAL(volume_of("v").qtree_count, 1);
    host_stop(&host);
}

/* ---- LUNs in volumes */

static void test_lun_places(void)
{
    host_start(&host, NULL);
    make_volume("v");
    make_volume("w");
    CU_ASSERT_EQUAL(qtree_create(host.pool, "v/q", NULL, &host.why), 0);
    struct lun_create_args args = {.name = "x/a", .size_bytes = BLK_BYTES};
    CU_ASSERT_EQUAL(lun_create(host.pool, &args, &host.why), -ENOENT);
    args.name = "v/x/a";
    CU_ASSERT_EQUAL(lun_create(host.pool, &args, &host.why), -ENOENT);
    args.name = "v/q";
    CU_ASSERT_EQUAL(lun_create(host.pool, &args, &host.why), -EEXIST);
    args.name = "v";
    CU_ASSERT_EQUAL(lun_create(host.pool, &args, &host.why), -EEXIST);
    host_create(&host, "/vol/v/q/a", 16);
    CU_ASSERT_EQUAL(host_write(&host, "v/q/a", 0, 4, 3, 0), 0);
    host_clone(&host, "/vol/v/q/a", "w/a");
    host_create(&host, "a", 4);
    struct lun_info info = host_info(&host, "v/q/a");
    CU_ASSERT_EQUAL(info.volume_id, volume_of("v").id);
    CU_ASSERT_NOT_EQUAL(info.qtree_id, 0);
    CU_ASSERT_EQUAL(host_info(&host, "w/a").volume_id, volume_of("w").id);
    CU_ASSERT_EQUAL(host_info(&host, "a").volume_id, 0);
    CU_ASSERT_PTR_EQUAL(host_line(&host, "w/a")->volume, catalog_find_volume(host.pool, "w"));
    /* The point is charged to the source's volume, whoever stands on it. */
    CU_ASSERT_PTR_EQUAL(host_line(&host, "w/a")->predecessor->volume,
                        catalog_find_volume(host.pool, "v"));
    reopen_and_check();
    CU_ASSERT_PTR_EQUAL(host_line(&host, "w/a")->predecessor->volume,
                        catalog_find_volume(host.pool, "v"));
    CU_ASSERT_TRUE(host_holds(&host, "w/a", 0, 4, 3));
    host_stop(&host);
}

static void test_lun_moves(void)
{
    host_start(&host, NULL);
    make_volume("v");
    make_volume("w");
    CU_ASSERT_EQUAL(qtree_create(host.pool, "v/q", NULL, &host.why), 0);
    host_create(&host, "a", 16);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 4, 3, 0), 0);
    CU_ASSERT_EQUAL(lun_rename(host.pool, "a", "v/a", &host.why), 0);
    CU_ASSERT_EQUAL(volume_of("v").charged_bytes / BLK_BYTES >= 4, 1);
    host_snapshot(&host, "v/a", "s");
    CU_ASSERT_EQUAL(lun_rename(host.pool, "v/a", "w/a", &host.why), -EBUSY);
    CU_ASSERT_EQUAL(lun_rename(host.pool, "v/a", "v/q/a", &host.why), 0); /* it stays in v */
    CU_ASSERT_TRUE(is_there("v/q/a@s"));
    reopen_and_check();
    CU_ASSERT_EQUAL(snapshot_delete(host.pool, "v/q/a", "s", 0, &host.why), 0);
    CU_ASSERT_EQUAL(lun_rename(host.pool, "v/q/a", "w/a", &host.why), 0);
    host_create(&host, "v/a", 4);
    CU_ASSERT_EQUAL(lun_rename(host.pool, "v/a", "w/a", &host.why), -EEXIST);
    CU_ASSERT_EQUAL(lun_rename(host.pool, "w/a", "b", &host.why), 0);
    CU_ASSERT_EQUAL(volume_of("w").lun_count, 0);
    CU_ASSERT_TRUE(host_holds(&host, "b", 0, 4, 3));
    reopen_and_check();
    CU_ASSERT_EQUAL(host_info(&host, "b").volume_id, 0);
    host_stop(&host);
}

/* ---- the change hook */

static unsigned told[5];
static char told_name[2 * LUN_NAME_MAX + 2];

static void tell(void *opaque, enum lun_change change, uint64_t lun_id, const char *name)
{
    (void)opaque;
    CU_ASSERT_NOT_EQUAL(lun_id, 0);
    told[change]++;
    snprintf(told_name, sizeof(told_name), "%s", name);
}

static void test_hook(void)
{
    host_start(&host, NULL);
    memset(told, 0, sizeof(told));
    pool_set_change_hook(host.pool, tell, NULL);
    make_volume("v");
    host_create(&host, "v/a", 4);
    host_create(&host, "v/b", 4);
    CU_ASSERT_EQUAL(told[LUN_CHANGE_CREATED], 2);
    CU_ASSERT_EQUAL(volume_rename(host.pool, "v", "w", &host.why), 0);
    CU_ASSERT_EQUAL(told[LUN_CHANGE_RENAMED], 2);
    CU_ASSERT_STRING_EQUAL(told_name, "w/b");
    CU_ASSERT_EQUAL(volume_delete(host.pool, "w", true, 0, &host.why), 0);
    CU_ASSERT_EQUAL(told[LUN_CHANGE_DELETED], 2);
    CU_ASSERT_STRING_EQUAL(told_name, "w/b");
    host_stop(&host);
}

/* ---- what an older version left */

static void test_short_line(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", 16);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 4, 3, 0), 0);
    struct writer writer = {0};
    catalog_encode(&host_line(&host, "a")->object, &writer);
    CU_ASSERT_EQUAL(writer.len, sizeof(struct disk_line));
    writer_destroy(&writer);
    /* A LUN about which nothing new is to be said keeps its old length. */
    writer = (struct writer){0};
    catalog_encode(&host_object(&host, "a")->object, &writer);
    CU_ASSERT_EQUAL(writer.len, sizeof(struct disk_lun) + 1);
    writer_destroy(&writer);
    host_stop(&host);
}

/* What is stored beside a change is there if the change is, and only then, also after a crash. */
static void test_store_also(void)
{
    static const struct store_change changes[] = {
        {"mark/", "a", 1}, {"mark2/", "b", 1}, {"fixed", "c", 1}};
    AUTO_FREE void *value = NULL;
    struct lun_create_args args = {.name = "a", .size_bytes = 10 * BLK_BYTES};
    struct lun_info info;
    char key[64];
    size_t len;
    host_start(&host, NULL);
    args.attributes.also = (struct store_also){.changes = changes, .count = 3};
    CU_ASSERT_EQUAL(lun_create(host.pool, &args, &host.why), 0);
    CU_ASSERT_EQUAL(lun_create(host.pool, &args, &host.why), -EEXIST);
    host_crash_open(&host);
    CU_ASSERT_EQUAL(lun_get_info(host.pool, "a", &info, &host.why), 0);
    snprintf(key, sizeof(key), "mark/%016" PRIx64, info.id);
    CU_ASSERT_EQUAL(store_get(host.pool, key, &value, &len), 0);
    snprintf(key, sizeof(key), "mark2/%016" PRIx64, info.id);
    free(take_ptr(&value));
    CU_ASSERT_EQUAL(store_get(host.pool, key, &value, &len), 0);
    free(take_ptr(&value));
    CU_ASSERT_EQUAL(store_get(host.pool, "fixed", &value, &len), 0);
    host_stop(&host);
}

/* Who has found something by its name changes that, or nothing. */
static void test_only_id(void)
{
    struct lun_attributes lun = {.owner = "o"};
    struct volume_attributes volume = {.comment = "c"};
    struct lun_info info;
    struct volume_info found;
    host_start(&host, NULL);
    host_create(&host, "a", 10);
    CU_ASSERT_EQUAL(volume_create(host.pool, "v", &(struct volume_attributes){0}, &host.why), 0);
    CU_ASSERT_EQUAL(lun_get_info(host.pool, "a", &info, &host.why), 0);
    CU_ASSERT_EQUAL(volume_get_info(host.pool, "v", &found, &host.why), 0);
    lun.only_id = info.id + 1;
    volume.only_id = found.id + 1;
    CU_ASSERT_EQUAL(lun_set_attributes(host.pool, "a", LUN_SET_OWNER, &lun, &host.why), -ESTALE);
    CU_ASSERT_EQUAL(volume_modify(host.pool, "v", VOLUME_SET_COMMENT, &volume, &host.why), -ESTALE);
    CU_ASSERT_EQUAL(lun_get_info(host.pool, "a", &info, &host.why), 0);
    CU_ASSERT_EQUAL(volume_get_info(host.pool, "v", &found, &host.why), 0);
    CU_ASSERT_STRING_EQUAL(info.owner, "");
    CU_ASSERT_STRING_EQUAL(found.comment, "");
    lun.only_id = info.id;
    volume.only_id = found.id;
    CU_ASSERT_EQUAL(lun_set_attributes(host.pool, "a", LUN_SET_OWNER, &lun, &host.why), 0);
    CU_ASSERT_EQUAL(volume_modify(host.pool, "v", VOLUME_SET_COMMENT, &volume, &host.why), 0);
    host_stop(&host);
}

static CU_TestInfo volume_tests[] = {
    {"paths", test_paths},
    {"create", test_create},
    {"modify", test_modify},
    {"what is stored with a change", test_store_also},
    {"whose id it is", test_only_id},
    {"list", test_list},
    {"rename", test_volume_rename},
    {"delete", test_volume_delete},
    {"qtrees", test_qtrees},
    {"LUNs in volumes", test_lun_places},
    {"LUNs move", test_lun_moves},
    {"the change hook", test_hook},
    {"lengths of objects", test_short_line},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"volume_manage", NULL, NULL, NULL, NULL, volume_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
