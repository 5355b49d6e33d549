/* SPDX-License-Identifier: BSD-3-Clause */
/* Snapshots of volumes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/pool/journal.h"
#include "lun/volume/catalog.h"
#include "lun/volume/group.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

enum
{
    MANY = 1000
};

static struct engine_host host;

static void make_volume(const char *name)
{
    struct volume_attributes attributes = {0};
    CU_ASSERT_EQUAL_FATAL(volume_create(host.pool, name, &attributes, &host.why), 0);
}

static int snapshot_one(const char *volume, const char *name)
{
    struct volume_snapshot_args args = {.name = name};
    return volume_snapshot_create(host.pool, &volume, 1, &args, &host.why);
}

static bool is_there(const char *name)
{
    struct lun_info info;
    return lun_get_info(host.pool, name, &info, NULL) == 0;
}

static size_t count_snapshots(const char *volume)
{
    struct volume_snapshot_info *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL(volume_snapshot_list(host.pool, volume, &list, &count, &host.why), 0);
    free(list);
    return count;
}

static struct volume_snapshot_info snapshot_of(const char *volume, const char *full)
{
    struct volume_snapshot_info *list = NULL, found = {0};
    size_t count = 0;
    CU_ASSERT_EQUAL(volume_snapshot_list(host.pool, volume, &list, &count, &host.why), 0);
    for (size_t i = 0; i < count; i++)
    {
        if (strcmp(list[i].name, full) == 0)
            found = list[i];
    }
    free(list);
    CU_ASSERT_STRING_EQUAL(found.name, full);
    return found;
}

static void reopen_and_check(void)
{
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_crash_open(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_reopen(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
}

/* "v" with "v/a" (block 0 is 1) and "v/q/b" (block 0 is 2). */
static void start(void)
{
    host_start(&host, NULL);
    make_volume("v");
    CU_ASSERT_EQUAL(qtree_create(host.pool, "v/q", NULL, &host.why), 0);
    host_create(&host, "v/a", 16);
    host_create(&host, "v/q/b", 16);
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 0, 1, 1, 0), 0);
    CU_ASSERT_EQUAL(host_write(&host, "v/q/b", 0, 1, 2, 0), 0);
}

static void test_create(void)
{
    start();
    struct volume_snapshot_args args = {.name = "s", .comment = "before"};
    const char *volumes[] = {"/vol/v"};
    CU_ASSERT_EQUAL(volume_snapshot_create(host.pool, volumes, 1, &args, &host.why), 0);
    CU_ASSERT_EQUAL(volume_snapshot_create(host.pool, volumes, 1, &args, &host.why), -EEXIST);
    CU_ASSERT_EQUAL(volume_snapshot_create(host.pool, volumes, 0, &args, &host.why), -EINVAL);
    CU_ASSERT_EQUAL(snapshot_one("x", "t"), -ENOENT);
    CU_ASSERT_EQUAL(snapshot_one("v", "a/b"), -EINVAL);
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 0, 1, 9, 0), 0);
    CU_ASSERT_EQUAL(host_write(&host, "v/q/b", 0, 1, 9, 0), 0);
    host_flush(&host);
    for (unsigned i = 0; i < 2; i++)
    {
        CU_ASSERT_TRUE(host_holds(&host, "v/a@s", 0, 1, 1));
        CU_ASSERT_TRUE(host_holds(&host, "v/q/b@s", 0, 1, 2));
        CU_ASSERT_TRUE(host_holds(&host, "v/a", 0, 1, 9));
        struct volume_snapshot_info info = snapshot_of("v", "v@s");
        CU_ASSERT_EQUAL(info.lun_count, 2);
        CU_ASSERT_EQUAL(info.clone_count, 0);
        CU_ASSERT_EQUAL(info.logical_bytes, 32 * BLK_BYTES);
        CU_ASSERT_STRING_EQUAL(info.comment, "before");
        CU_ASSERT_FALSE(info.is_automatic);
        CU_ASSERT_EQUAL(host_info(&host, "v/a@s").volume_snapshot_id, info.id);
        reopen_and_check();
    }
    host_stop(&host);
}

/* A name that one LUN's snapshot has already: nothing is made at all. */
static void test_all_or_none(void)
{
    start();
    host_snapshot(&host, "v/q/b", "s");
    CU_ASSERT_EQUAL(snapshot_one("v", "s"), -EEXIST);
    CU_ASSERT_FALSE(is_there("v/a@s"));
    CU_ASSERT_EQUAL(count_snapshots("v"), 0);
    CU_ASSERT_EQUAL(snapshot_one("v", "t"), 0);
    CU_ASSERT_EQUAL(snapshot_create(host.pool, "v/a", "t", NULL, &host.why), -EEXIST);
    host_create(&host, "v/c", 4);
    CU_ASSERT_EQUAL(snapshot_create(host.pool, "v/c", "t", NULL, &host.why), 0);
    CU_ASSERT_EQUAL(snapshot_of("v", "v@t").lun_count, 2); /* it is not part of that */
    reopen_and_check();
    host_stop(&host);
}

static void test_several_volumes(void)
{
    start();
    make_volume("w");
    make_volume("empty");
    host_create(&host, "w/c", 4);
    CU_ASSERT_EQUAL(host_write(&host, "w/c", 0, 1, 3, 0), 0);
    const char *volumes[] = {"v", "w", "empty"}, *twice[] = {"v", "w", "/vol/v"};
    struct volume_snapshot_args args = {.name = "s"};
    CU_ASSERT_EQUAL(volume_snapshot_create(host.pool, twice, 3, &args, &host.why), -EINVAL);
    CU_ASSERT_EQUAL(count_snapshots(NULL), 0);
    uint64_t seq = journal_last_seq(host.pool->journal);
    CU_ASSERT_EQUAL(volume_snapshot_create(host.pool, volumes, 3, &args, &host.why), 0);
    CU_ASSERT_EQUAL(journal_last_seq(host.pool->journal), seq + 1);
    CU_ASSERT_EQUAL(count_snapshots(NULL), 3);
    CU_ASSERT_EQUAL(snapshot_of("empty", "empty@s").lun_count, 0);
    CU_ASSERT_TRUE(host_holds(&host, "w/c@s", 0, 1, 3));
    reopen_and_check();
    host_stop(&host);
}

static void test_delete(void)
{
    start();
    CU_ASSERT_EQUAL(snapshot_one("v", "s"), 0);
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 0, 1, 9, 0), 0);
    CU_ASSERT_EQUAL(volume_snapshot_delete(host.pool, "v", "x", 0, &host.why), -ENOENT);
    CU_ASSERT_EQUAL(volume_snapshot_delete(host.pool, "x", "s", 0, &host.why), -ENOENT);
    /* Its members go with it, not alone. */
    CU_ASSERT_EQUAL(snapshot_delete(host.pool, "v/a", "s", 0, &host.why), -EBUSY);
    CU_ASSERT_EQUAL(snapshot_rename(host.pool, "v/a", "s", "t", &host.why), -EBUSY);
    struct lun *handle = NULL;
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "v/a@s", LUN_READ_ONLY, &handle, &host.why), 0);
    CU_ASSERT_EQUAL(volume_snapshot_delete(host.pool, "v", "s", 0, &host.why), -EBUSY);
    CU_ASSERT_EQUAL(volume_snapshot_delete(host.pool, "v", "s", LUN_FORCE, &host.why), 0);
    char byte;
    CU_ASSERT_EQUAL(lun_read(handle, &byte, 1, 0), -ESTALE);
    lun_close(handle);
    CU_ASSERT_FALSE(is_there("v/a@s"));
    CU_ASSERT_EQUAL(count_snapshots("v"), 0);
    host_settle(&host);
    CU_ASSERT_EQUAL(host_data_blks(&host), 2);
    reopen_and_check();
    host_stop(&host);
}

/* A LUN that is deleted stays in the sets it is in; its own snapshots have to be asked for. */
static void test_delete_lun(void)
{
    start();
    CU_ASSERT_EQUAL(snapshot_one("v", "s"), 0);
    host_snapshot(&host, "v/a", "own");
    CU_ASSERT_EQUAL(lun_delete(host.pool, "v/a", false, 0, &host.why), -EBUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "has 1 snapshot;"));
    CU_ASSERT_EQUAL(lun_delete(host.pool, "v/a", true, 0, &host.why), 0);
    CU_ASSERT_FALSE(is_there("v/a@own"));
    CU_ASSERT_TRUE(is_there("v/a@s"));
    CU_ASSERT_EQUAL(snapshot_of("v", "v@s").lun_count, 2);
    reopen_and_check();
    CU_ASSERT_EQUAL(lun_delete(host.pool, "v/q/b", false, 0, &host.why), 0);
    CU_ASSERT_EQUAL(volume_snapshot_delete(host.pool, "v", "s", 0, &host.why), 0);
    reopen_and_check();
    host_stop(&host);
}

static void test_rename(void)
{
    start();
    CU_ASSERT_EQUAL(snapshot_one("v", "s"), 0);
    CU_ASSERT_EQUAL(snapshot_one("v", "t"), 0);
    host_snapshot(&host, "v/a", "u");
    CU_ASSERT_EQUAL(volume_snapshot_rename(host.pool, "v", "s", "t", &host.why), -EEXIST);
    CU_ASSERT_EQUAL(volume_snapshot_rename(host.pool, "v", "s", "u", &host.why), -EEXIST);
    CU_ASSERT_EQUAL(volume_snapshot_rename(host.pool, "v", "s", "a@b", &host.why), -EINVAL);
    CU_ASSERT_EQUAL(volume_snapshot_rename(host.pool, "v", "s", "n", &host.why), 0);
    CU_ASSERT_TRUE(is_there("v/q/b@n"));
    CU_ASSERT_FALSE(is_there("v/q/b@s"));
    reopen_and_check();
    CU_ASSERT_TRUE(host_holds(&host, "v/q/b@n", 0, 1, 2));
    CU_ASSERT_EQUAL(volume_snapshot_delete(host.pool, "v", "n", 0, &host.why), 0);
    host_stop(&host);
}

static void test_restore(void)
{
    start();
    CU_ASSERT_EQUAL(snapshot_one("v", "s"), 0);
    host_create(&host, "v/later", 4);
    CU_ASSERT_EQUAL(host_write(&host, "v/later", 0, 1, 5, 0), 0);
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 0, 2, 9, 0), 0);
    CU_ASSERT_EQUAL(lun_resize(host.pool, "v/q/b", 8 * BLK_BYTES, LUN_FORCE, &host.why), 0);
    struct lun *handle = NULL;
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "v/q/b", 0, &handle, &host.why), 0);
    CU_ASSERT_EQUAL(volume_snapshot_restore(host.pool, "v", "s", 0, &host.why), -EBUSY);
    CU_ASSERT_TRUE(host_holds(&host, "v/a", 0, 2, 9)); /* all or none */
    CU_ASSERT_EQUAL(volume_snapshot_restore(host.pool, "v", "s", LUN_FORCE, &host.why), 0);
    CU_ASSERT_EQUAL(lun_size_bytes(handle), 16 * BLK_BYTES);
    lun_close(handle);
    for (unsigned i = 0; i < 2; i++)
    {
        CU_ASSERT_TRUE(host_holds(&host, "v/a", 0, 1, 1));
        CU_ASSERT_TRUE(host_holds(&host, "v/a", 1, 15, 0));
        CU_ASSERT_TRUE(host_holds(&host, "v/q/b", 0, 1, 2));
        CU_ASSERT_TRUE(host_holds(&host, "v/later", 0, 1, 5));
        CU_ASSERT_TRUE(host_holds(&host, "v/a@s", 0, 1, 1));
        reopen_and_check();
    }
    host_settle(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    CU_ASSERT_EQUAL(host_data_blks(&host), 3);
    host_stop(&host);
}

static void test_locks(void)
{
    start();
    uint64_t now = host.env.env.now_ns(&host.env.env);
    uint64_t later = now + UINT64_C(3600000000000);
    struct volume_snapshot_args args = {.name = "s", .locked_until_ns = later};
    const char *volume = "v";
    CU_ASSERT_EQUAL(volume_snapshot_create(host.pool, &volume, 1, &args, &host.why), 0);
    CU_ASSERT_EQUAL(volume_snapshot_delete(host.pool, "v", "s", LUN_FORCE, &host.why), -EPERM);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "UTC"));
    CU_ASSERT_EQUAL(volume_snapshot_lock(host.pool, "v", "s", later - 1, &host.why), -EPERM);
    CU_ASSERT_EQUAL(volume_snapshot_lock(host.pool, "v", "s", later + 1, &host.why), 0);
    reopen_and_check();
    CU_ASSERT_EQUAL(snapshot_of("v", "v@s").locked_until_ns, later + 1);
    CU_ASSERT_EQUAL(lun_delete(host.pool, "v/a", false, 0, &host.why), 0); /* the set keeps it */
    CU_ASSERT_TRUE(is_there("v/a@s"));
    CU_ASSERT_EQUAL(volume_delete(host.pool, "v", true, LUN_FORCE, &host.why), -EPERM);
    /* A lock that is over is none. */
    CU_ASSERT_EQUAL(snapshot_one("v", "t"), 0);
    CU_ASSERT_EQUAL(volume_snapshot_lock(host.pool, "v", "t", 1, &host.why), 0);
    CU_ASSERT_EQUAL(volume_snapshot_delete(host.pool, "v", "t", 0, &host.why), 0);
    /* A locked volume: nothing in it is deleted or restored, all else goes on. */
    make_volume("w");
    host_create(&host, "w/c", 4);
    struct volume_attributes attributes = {.locked_until_ns = later};
    CU_ASSERT_EQUAL(snapshot_one("w", "s"), 0);
    CU_ASSERT_EQUAL(volume_modify(host.pool, "w", VOLUME_SET_LOCKED_UNTIL, &attributes, &host.why),
                    0);
    CU_ASSERT_EQUAL(volume_snapshot_delete(host.pool, "w", "s", 0, &host.why), -EPERM);
    CU_ASSERT_EQUAL(volume_snapshot_restore(host.pool, "w", "s", 0, &host.why), -EPERM);
    CU_ASSERT_EQUAL(lun_delete(host.pool, "w/c", true, 0, &host.why), -EPERM);
    CU_ASSERT_EQUAL(lun_resize(host.pool, "w/c", BLK_BYTES, LUN_FORCE, &host.why), -EPERM);
    CU_ASSERT_EQUAL(lun_resize(host.pool, "w/c", 8 * BLK_BYTES, 0, &host.why), 0);
    CU_ASSERT_EQUAL(lun_rename(host.pool, "w/c", "c", &host.why), -EPERM);
    CU_ASSERT_EQUAL(snapshot_one("w", "t"), 0);
    attributes.locked_until_ns = 0;
    CU_ASSERT_EQUAL(volume_modify(host.pool, "w", VOLUME_SET_LOCKED_UNTIL, &attributes, &host.why),
                    -EPERM);
    host_stop(&host);
}

/* A thousand LUNs: one record, and the snapshots are whole after a crash. */
static void test_many(void)
{
    struct pool_create_options options = {.size_bytes = 128 << 20, .journal_bytes = 8 << 20};
    host_start(&host, &options);
    make_volume("v");
    char name[64];
    for (unsigned i = 0; i < MANY; i++)
    {
        snprintf(name, sizeof(name), "v/lun-%u", i);
        host_create(&host, name, 4);
        if (i % 10 == 0)
            CU_ASSERT_EQUAL(host_write(&host, name, 0, 1, (uint8_t)(i / 10), 0), 0);
    }
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
    uint64_t seq = journal_last_seq(host.pool->journal);
    CU_ASSERT_EQUAL(snapshot_one("v", "s"), 0);
    CU_ASSERT_EQUAL(journal_last_seq(host.pool->journal), seq + 1);
    CU_ASSERT_EQUAL(snapshot_of("v", "v@s").lun_count, MANY);
    CU_ASSERT_EQUAL(host_write(&host, "v/lun-10", 0, 1, 99, 0), 0);
    reopen_and_check();
    CU_ASSERT_TRUE(host_holds(&host, "v/lun-10@s", 0, 1, 1));
    CU_ASSERT_TRUE(host_holds(&host, "v/lun-990@s", 0, 1, 99));
    seq = journal_last_seq(host.pool->journal);
    CU_ASSERT_EQUAL(volume_snapshot_delete(host.pool, "v", "s", 0, &host.why), 0);
    CU_ASSERT_EQUAL(journal_last_seq(host.pool->journal), seq + 1);
    reopen_and_check();
    host_stop(&host);
}

static CU_TestInfo snapshot_tests[] = {
    {"create", test_create},
    {"all or none", test_all_or_none},
    {"several volumes", test_several_volumes},
    {"delete", test_delete},
    {"delete a LUN of the set", test_delete_lun},
    {"rename", test_rename},
    {"restore", test_restore},
    {"locks", test_locks},
    {"a thousand LUNs in one record", test_many},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"volume_snapshot", NULL, NULL, NULL, NULL, snapshot_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
