/* SPDX-License-Identifier: BSD-3-Clause */
/* LUNs that are deleted while snapshots of their volume hold them, and where LUNs were. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/pool/journal.h"
#include "lun/volume/catalog.h"
#include "lun/volume/command.h"
#include "lun/volume/draft.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

enum
{
    MANY = 2000
};

static struct engine_host host;

static int snapshot_volume(const char *name)
{
    const char *volume = "v";
    struct volume_snapshot_args args = {.name = name};
    return volume_snapshot_create(host.pool, &volume, 1, &args, &host.why);
}

static int restore(const char *lun, const char *snapshot)
{
    return snapshot_restore(host.pool, lun, snapshot, 0, &host.why);
}

static int delete_lun(const char *name)
{
    return lun_delete(host.pool, name, false, 0, &host.why);
}

static int delete_set(const char *name)
{
    return volume_snapshot_delete(host.pool, "v", name, 0, &host.why);
}

static bool is_there(const char *name)
{
    struct lun_info info;
    return lun_get_info(host.pool, name, &info, NULL) == 0;
}

static struct volume_info volume_of(const char *name)
{
    struct volume_info info = {0};
    CU_ASSERT_EQUAL(volume_get_info(host.pool, name, &info, &host.why), 0);
    return info;
}

/* Volume v: the LUN a with one block of 1, and in the qtree q the LUN b with one of 2. */
static void start(void)
{
    struct volume_attributes attributes = {0};
    host_start(&host, NULL);
    CU_ASSERT_EQUAL_FATAL(volume_create(host.pool, "v", &attributes, &host.why), 0);
    CU_ASSERT_EQUAL_FATAL(qtree_create(host.pool, "v/q", "a comment", &host.why), 0);
    host_create(&host, "v/a", 16);
    host_create(&host, "v/q/b", 16);
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 0, 1, 1, 0), 0);
    CU_ASSERT_EQUAL(host_write(&host, "v/q/b", 0, 1, 2, 0), 0);
}

static void crash_and_check(void)
{
    host_crash_open(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    CU_ASSERT_STRING_EQUAL(host.said, "");
}

static void finish(void)
{
    CU_ASSERT_EQUAL(host_check(&host), 0);
    CU_ASSERT_STRING_EQUAL(host.said, "");
    host_reopen(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

/* It lives on, takes its space, and goes with the last set that has it. */
static void test_space(void)
{
    start();
    CU_ASSERT_EQUAL(snapshot_volume("s"), 0);
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 1, 1, 3, 0), 0);
    CU_ASSERT_EQUAL(snapshot_volume("t"), 0);
    CU_ASSERT_EQUAL(delete_lun("v/a"), 0);
    host_settle(&host);
    for (unsigned i = 0; i < 2; i++)
    {
        CU_ASSERT_FALSE(is_there("v/a"));
        CU_ASSERT_TRUE(host_holds(&host, "v/a@s", 0, 1, 1));
        CU_ASSERT_TRUE(host_holds(&host, "v/a@t", 1, 1, 3));
        CU_ASSERT_TRUE(host_info(&host, "v/a@t").is_lun_deleted);
        struct volume_info volume = volume_of("v");
        CU_ASSERT_EQUAL(volume.lun_count, 1);
        CU_ASSERT_EQUAL(volume.deleted_lun_count, 1);
        CU_ASSERT_EQUAL(volume.snapshot_bytes, 2 * BLK_BYTES);
        CU_ASSERT_EQUAL(host_data_blks(&host), 3);
        crash_and_check();
    }
    const char *names[] = {"v/a@s", "v/a@t"};
    uint64_t data = 0, nodes = 0;
    CU_ASSERT_EQUAL(lun_freed_if_deleted(host.pool, names, 2, &data, &nodes, &host.why), 0);
    CU_ASSERT_EQUAL(data, 2 * BLK_BYTES);
    CU_ASSERT_EQUAL(delete_set("t"), 0);
    CU_ASSERT_EQUAL(volume_of("v").deleted_lun_count, 1);
    crash_and_check();
    host_settle(&host);
    CU_ASSERT_EQUAL(host_data_blks(&host), 2);
    CU_ASSERT_EQUAL(delete_set("s"), 0);
    CU_ASSERT_EQUAL(volume_of("v").deleted_lun_count, 0);
    crash_and_check();
    host_settle(&host);
    CU_ASSERT_EQUAL(host_data_blks(&host), 1);
    CU_ASSERT_TRUE(list_is_empty(&host.pool->deleted_luns));
    finish();
}

/* Lists have it, by every name that it had. */
static void test_lists(void)
{
    start();
    CU_ASSERT_EQUAL(snapshot_volume("s"), 0);
    CU_ASSERT_EQUAL(lun_rename(host.pool, "v/a", "v/b", &host.why), 0);
    CU_ASSERT_EQUAL(snapshot_volume("t"), 0);
    CU_ASSERT_TRUE(is_there("v/a@s"));
    CU_ASSERT_TRUE(is_there("v/b@t"));
    CU_ASSERT_EQUAL(delete_lun("v/b"), 0);
    host_create(&host, "v/a", 4);
    struct lun_info *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL(lun_list(host.pool, "/vol/v/a", &list, &count, &host.why), 0);
    CU_ASSERT_EQUAL_FATAL(count, 3);
    CU_ASSERT_STRING_EQUAL(list[0].name, "v/a");
    CU_ASSERT_STRING_EQUAL(list[1].name, "v/a@s");
    CU_ASSERT_STRING_EQUAL(list[2].name, "v/b@t");
    CU_ASSERT_EQUAL(list[1].lun_id, list[2].lun_id);
    CU_ASSERT_NOT_EQUAL(list[0].lun_id, list[1].lun_id);
    CU_ASSERT_TRUE(list[1].is_lun_deleted && !list[0].is_lun_deleted);
    struct lun_info info;
    CU_ASSERT_EQUAL(lun_get_info_by_id(host.pool, list[1].lun_id, &info), -ENOENT);
    free(list);
    CU_ASSERT_EQUAL(lun_list(host.pool, NULL, &list, &count, &host.why), 0);
    CU_ASSERT_EQUAL(count, 1 + 2 + 3);
    free(list);
    CU_ASSERT_EQUAL(lun_list(host.pool, "v/none", &list, &count, &host.why), -ENOENT);
    finish();
}

/* It comes back with its identity, its attributes and its place, and without what was its lease. */
static void test_restore(void)
{
    start();
    struct lun_attributes attributes = {
        .is_reserved = true, .expire_ns = UINT64_MAX, .owner = "me", .group = "us"};
    CU_ASSERT_EQUAL(
        lun_set_attributes(host.pool, "v/q/b",
                           LUN_SET_RESERVED | LUN_SET_EXPIRE | LUN_SET_OWNER | LUN_SET_GROUP,
                           &attributes, &host.why),
        0);
    CU_ASSERT_EQUAL(lun_set_comment(host.pool, "v/q/b", "mine", &host.why), 0);
    struct lun_info before = host_info(&host, "v/q/b");
    CU_ASSERT_EQUAL(snapshot_volume("s"), 0);
    struct lun *handle = NULL;
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "v/q/b", 0, &handle, &host.why), 0);
    CU_ASSERT_EQUAL(delete_lun("v/q/b"), -EBUSY);
    CU_ASSERT_EQUAL(lun_delete(host.pool, "v/q/b", false, LUN_FORCE, &host.why), 0);
    CU_ASSERT_EQUAL(volume_of("v").reserved_bytes, 0);
    CU_ASSERT_EQUAL(qtree_delete(host.pool, "v/q", &host.why), 0);
    lun_close(handle);
    crash_and_check();
    CU_ASSERT_EQUAL(restore("v/q/b", "s"), 0);
    struct lun_info after = host_info(&host, "v/q/b");
    CU_ASSERT_EQUAL(after.id, before.id);
    CU_ASSERT_EQUAL(memcmp(after.uuid, before.uuid, sizeof(after.uuid)), 0);
    CU_ASSERT_EQUAL(after.size_bytes, before.size_bytes);
    CU_ASSERT_STRING_EQUAL(after.comment, "mine");
    CU_ASSERT_STRING_EQUAL(after.owner, "me");
    CU_ASSERT_STRING_EQUAL(after.group, "us");
    CU_ASSERT_TRUE(after.is_reserved);
    CU_ASSERT_TRUE(after.needed_bytes > 0);
    CU_ASSERT_EQUAL(after.expire_ns, 0);
    CU_ASSERT_EQUAL(after.snapshot_count, 1);
    CU_ASSERT_FALSE(host_info(&host, "v/q/b@s").is_lun_deleted);
    CU_ASSERT_TRUE(host_holds(&host, "v/q/b", 0, 1, 2));
    CU_ASSERT_EQUAL(host_write(&host, "v/q/b", 0, 1, 7, 0), 0);
    CU_ASSERT_TRUE(host_holds(&host, "v/q/b@s", 0, 1, 2));
    CU_ASSERT_EQUAL(volume_of("v").deleted_lun_count, 0);
    CU_ASSERT_EQUAL(volume_of("v").qtree_count, 1);
    host_flush(&host);
    crash_and_check();
    CU_ASSERT_TRUE(host_holds(&host, "v/q/b", 0, 1, 7));
    finish();
}

/* One that was reserved comes back reserved, or not at all: of the pool, and of a bound. */
static void test_promises(void)
{
    const uint64_t blks = 1000;
    struct lun_attributes reserved = {.is_reserved = true};
    struct lun_create_args args = {
        .name = "v/r", .size_bytes = blks * BLK_BYTES, .attributes = reserved};
    struct pool_info before, info;
    start();
    CU_ASSERT_EQUAL_FATAL(lun_create(host.pool, &args, &host.why), 0);
    CU_ASSERT_EQUAL(host_write(&host, "v/r", 0, 1, 5, 0), 0);
    CU_ASSERT_EQUAL(snapshot_volume("s"), 0);
    uint64_t needed_bytes = host_info(&host, "v/r").needed_bytes;
    CU_ASSERT_EQUAL(delete_lun("v/r"), 0);
    host_settle(&host);
    pool_get_info(host.pool, &info);
    CU_ASSERT_EQUAL(info.promised_bytes, 0);
    crash_and_check();
    pool_get_info(host.pool, &info);
    CU_ASSERT_EQUAL(info.promised_bytes, 0);
    /* No room in the pool. */
    args.name = "x";
    args.size_bytes = info.available_bytes - 900 * BLK_BYTES;
    CU_ASSERT_EQUAL_FATAL(lun_create(host.pool, &args, &host.why), 0);
    pool_get_info(host.pool, &before);
    CU_ASSERT_TRUE(before.available_bytes < needed_bytes);
    CU_ASSERT_EQUAL(restore("v/r", "s"), -ENOSPC);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "are needed, "));
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "comes back reserved"));
    CU_ASSERT_EQUAL(volume_snapshot_restore(host.pool, "v", "s", 0, &host.why), -ENOSPC);
    CU_ASSERT_FALSE(is_there("v/r"));
    pool_get_info(host.pool, &info);
    CU_ASSERT_EQUAL(info.promised_bytes, before.promised_bytes);
    CU_ASSERT_EQUAL(lun_delete(host.pool, "x", false, 0, &host.why), 0);
    /* None in the volume. */
    struct volume_attributes bound = {.size_bytes = blks * BLK_BYTES};
    CU_ASSERT_EQUAL(volume_modify(host.pool, "v", VOLUME_SET_SIZE, &bound, &host.why), 0);
    CU_ASSERT_EQUAL(restore("v/r", "s"), -ENOSPC);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "volume 'v' has"));
    bound.size_bytes = 2 * blks * BLK_BYTES;
    CU_ASSERT_EQUAL(volume_modify(host.pool, "v", VOLUME_SET_SIZE, &bound, &host.why), 0);
    CU_ASSERT_EQUAL(restore("v/r", "s"), 0); /* the pool's first promise again */
    CU_ASSERT_TRUE(host_info(&host, "v/r").is_reserved);
    CU_ASSERT_EQUAL(host_info(&host, "v/r").needed_bytes, needed_bytes);
    CU_ASSERT_EQUAL(volume_of("v").reserved_bytes, needed_bytes);
    pool_get_info(host.pool, &info);
    CU_ASSERT_TRUE(info.promised_bytes >= needed_bytes);
    crash_and_check();
    CU_ASSERT_EQUAL(host_info(&host, "v/r").needed_bytes, needed_bytes);
    CU_ASSERT_TRUE(host_holds(&host, "v/r", 0, 1, 5));
    finish();
}

/* Clones of its snapshots have what it had. */
static void test_clone_attributes(void)
{
    start();
    struct lun_attributes attributes = {.is_reserved = true, .owner = "me", .group = "us"};
    CU_ASSERT_EQUAL(lun_set_attributes(host.pool, "v/a",
                                       LUN_SET_RESERVED | LUN_SET_OWNER | LUN_SET_GROUP,
                                       &attributes, &host.why),
                    0);
    CU_ASSERT_EQUAL(snapshot_volume("s"), 0);
    CU_ASSERT_EQUAL(delete_lun("v/a"), 0);
    host_create(&host, "v/a", 4); /* another one */
    crash_and_check();
    host_clone(&host, "v/a@s", "v/new");
    struct volume_clone_args args = {.volume = "v", .snapshot = "s", .name = "c"};
    CU_ASSERT_EQUAL(volume_clone(host.pool, &args, &host.why), 0);
    args.name = "d";
    args.no_reserve = true;
    CU_ASSERT_EQUAL(volume_clone(host.pool, &args, &host.why), 0);
    const char *clones[] = {"v/new", "c/a", "d/a"};
    for (unsigned i = 0; i < 3; i++)
    {
        struct lun_info info = host_info(&host, clones[i]);
        CU_ASSERT_STRING_EQUAL(info.owner, "me");
        CU_ASSERT_STRING_EQUAL(info.group, "us");
        CU_ASSERT_EQUAL(info.is_reserved, i < 2);
        CU_ASSERT_EQUAL(info.needed_bytes > 0, i < 2);
    }
    finish();
}

/* Who had it open before it was deleted never gets what was restored. */
static void test_handles(void)
{
    char byte;
    start();
    CU_ASSERT_EQUAL(snapshot_volume("s"), 0);
    struct lun *old = NULL, *member = NULL;
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "v/a", 0, &old, &host.why), 0);
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "v/a@s", LUN_READ_ONLY, &member, &host.why), 0);
    CU_ASSERT_EQUAL(lun_delete(host.pool, "v/a", false, LUN_FORCE, &host.why), 0);
    CU_ASSERT_EQUAL(lun_read(old, &byte, 1, 0), -ESTALE);
    CU_ASSERT_EQUAL(lun_read(member, &byte, 1, 0), 0);
    CU_ASSERT_EQUAL(byte, 1);
    CU_ASSERT_EQUAL(restore("v/a", "s"), 0);
    CU_ASSERT_EQUAL(lun_read(old, &byte, 1, 0), -ESTALE);
    CU_ASSERT_EQUAL(lun_write(old, "x", 1, 0, 0), -ESTALE);
    CU_ASSERT_EQUAL(lun_read(member, &byte, 1, 0), 0);
    CU_ASSERT_EQUAL(host_info(&host, "v/a").open_handles, 0);
    CU_ASSERT_TRUE(host_holds(&host, "v/a", 0, 1, 1));
    /* The set cannot go while somebody reads it. */
    CU_ASSERT_EQUAL(delete_set("s"), -EBUSY);
    lun_close(old);
    lun_close(member);
    finish();
}

/* Another LUN has the name. */
static void test_names(void)
{
    start();
    CU_ASSERT_EQUAL(snapshot_volume("s"), 0);
    CU_ASSERT_EQUAL(delete_lun("v/a"), 0);
    host_create(&host, "v/a", 4);
    CU_ASSERT_EQUAL(restore("v/a", "s"), -EEXIST);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "lun rename"));
    CU_ASSERT_EQUAL(volume_snapshot_restore(host.pool, "v", "s", 0, &host.why), -EEXIST);
    /* A snapshot of the new one cannot be named as the member of the old one. */
    CU_ASSERT_EQUAL(snapshot_create(host.pool, "v/a", "s", NULL, &host.why), -EEXIST);
    CU_ASSERT_EQUAL(snapshot_create(host.pool, "v/a", "x", NULL, &host.why), 0);
    CU_ASSERT_EQUAL(snapshot_rename(host.pool, "v/a", "x", "s", &host.why), -EEXIST);
    CU_ASSERT_EQUAL(volume_snapshot_rename(host.pool, "v", "s", "x", &host.why), -EEXIST);
    CU_ASSERT_EQUAL(snapshot_volume("t"), 0);
    CU_ASSERT_TRUE(is_there("v/a@s") && is_there("v/a@t"));
    CU_ASSERT_NOT_EQUAL(host_info(&host, "v/a@s").lun_id, host_info(&host, "v/a@t").lun_id);
    /* Nor can one get there by a rename of its LUN or qtree. */
    host_create(&host, "v/c", 4);
    host_snapshot(&host, "v/c", "s");
    CU_ASSERT_EQUAL(delete_lun("v/a"), -EBUSY); /* x is its own */
    CU_ASSERT_EQUAL(lun_delete(host.pool, "v/a", true, 0, &host.why), 0);
    CU_ASSERT_EQUAL(lun_rename(host.pool, "v/c", "v/a", &host.why), -EEXIST);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "snapshot rename"));
    CU_ASSERT_EQUAL(delete_lun("v/q/b"), 0);
    CU_ASSERT_EQUAL(qtree_delete(host.pool, "v/q", &host.why), 0);
    CU_ASSERT_EQUAL(qtree_create(host.pool, "v/p", NULL, &host.why), 0);
    host_create(&host, "v/p/b", 4);
    host_snapshot(&host, "v/p/b", "s");
    CU_ASSERT_EQUAL(qtree_rename(host.pool, "v/p", "q", &host.why), -EEXIST);
    /* A LUN may be where a qtree was. */
    host_create(&host, "v/q", 4);
    CU_ASSERT_EQUAL(restore("v/q/b", "s"), -EEXIST);
    CU_ASSERT_EQUAL(delete_lun("v/q"), 0);
    CU_ASSERT_EQUAL(restore("v/q/b", "s"), 0);
    CU_ASSERT_EQUAL(restore("v/a", "t"), 0); /* the second one; the first then cannot */
    CU_ASSERT_EQUAL(host_info(&host, "v/a").size_bytes, 4 * BLK_BYTES);
    CU_ASSERT_EQUAL(restore("v/a", "s"), -EEXIST);
    finish();
}

/* A restored volume has what the snapshot holds, all of it or nothing, and what was made since. */
static void test_restore_volume(void)
{
    start();
    CU_ASSERT_EQUAL(snapshot_volume("s"), 0);
    CU_ASSERT_EQUAL(delete_lun("v/q/b"), 0);
    CU_ASSERT_EQUAL(qtree_delete(host.pool, "v/q", &host.why), 0);
    CU_ASSERT_EQUAL(delete_lun("v/a"), 0);
    CU_ASSERT_EQUAL(volume_rename(host.pool, "v", "w", &host.why), 0);
    CU_ASSERT_TRUE(is_there("w/q/b@s"));
    crash_and_check();
    CU_ASSERT_EQUAL(volume_rename(host.pool, "w", "v", &host.why), 0);
    host_create(&host, "v/new", 4);
    CU_ASSERT_EQUAL(volume_snapshot_restore(host.pool, "v", "s", 0, &host.why), 0);
    crash_and_check();
    CU_ASSERT_TRUE(is_there("v/new"));
    CU_ASSERT_TRUE(host_holds(&host, "v/a", 0, 1, 1));
    CU_ASSERT_TRUE(host_holds(&host, "v/q/b", 0, 1, 2));
    CU_ASSERT_EQUAL(volume_of("v").lun_count, 3);
    CU_ASSERT_EQUAL(volume_of("v").qtree_count, 1);
    struct qtree_info *qtrees = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL(qtree_list(host.pool, "v", &qtrees, &count, &host.why), 0);
    CU_ASSERT_EQUAL_FATAL(count, 1);
    CU_ASSERT_STRING_EQUAL(qtrees[0].path, "v/q");
    CU_ASSERT_STRING_EQUAL(qtrees[0].comment, "a comment");
    CU_ASSERT_EQUAL(qtrees[0].lun_count, 1);
    free(qtrees);
    finish();
}

/* A clone has the volume as it was. */
static void test_clone(void)
{
    start();
    CU_ASSERT_EQUAL(qtree_create(host.pool, "v/empty", NULL, &host.why), 0);
    CU_ASSERT_EQUAL(snapshot_volume("s"), 0);
    CU_ASSERT_EQUAL(delete_lun("v/a"), 0);
    CU_ASSERT_EQUAL(qtree_rename(host.pool, "v/q", "r", &host.why), 0);
    CU_ASSERT_EQUAL(lun_rename(host.pool, "v/r/b", "v/moved", &host.why), 0);
    CU_ASSERT_EQUAL(qtree_delete(host.pool, "v/empty", &host.why), 0);
    CU_ASSERT_EQUAL(qtree_create(host.pool, "v/later", NULL, &host.why), 0);
    host_create(&host, "v/later/c", 4);
    CU_ASSERT_TRUE(is_there("v/q/b@s"));
    crash_and_check();
    struct volume_clone_args args = {.volume = "v", .snapshot = "s", .name = "c"};
    CU_ASSERT_EQUAL(volume_clone(host.pool, &args, &host.why), 0);
    crash_and_check();
    CU_ASSERT_TRUE(host_holds(&host, "c/a", 0, 1, 1));
    CU_ASSERT_TRUE(host_holds(&host, "c/q/b", 0, 1, 2));
    CU_ASSERT_STRING_EQUAL(host_info(&host, "c/q/b").origin, "v/q/b@s");
    CU_ASSERT_EQUAL(volume_of("c").lun_count, 2);
    CU_ASSERT_EQUAL(volume_of("c").qtree_count, 2);
    struct qtree_info *qtrees = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL(qtree_list(host.pool, "c", &qtrees, &count, &host.why), 0);
    CU_ASSERT_EQUAL_FATAL(count, 2);
    CU_ASSERT_STRING_EQUAL(qtrees[0].path, "c/empty");
    CU_ASSERT_STRING_EQUAL(qtrees[1].path, "c/q");
    free(qtrees);
    /* A clone of a member of the deleted LUN, and a difference to it. */
    host_clone(&host, "v/a@s", "v/new");
    CU_ASSERT_TRUE(host_holds(&host, "v/new", 0, 1, 1));
    struct lun *difference = NULL;
    CU_ASSERT_EQUAL(lun_open(host.pool, "v/a@s..v/new", LUN_READ_ONLY, &difference, &host.why), 0);
    lun_close(difference);
    /* A LUN that was renamed is restored where it is. */
    CU_ASSERT_EQUAL(host_write(&host, "v/moved", 0, 1, 9, 0), 0);
    CU_ASSERT_EQUAL(restore("v/q/b", "s"), 0);
    CU_ASSERT_TRUE(host_holds(&host, "v/moved", 0, 1, 2));
    CU_ASSERT_EQUAL(qtree_create(host.pool, "v/q", NULL, &host.why), 0);
    host_create(&host, "v/q/b", 4);
    CU_ASSERT_EQUAL(restore("v/q/b", "s"), -EBUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "v/moved"));
    finish();
}

/* With the volume goes all that its snapshots hold. */
static void test_delete_volume(void)
{
    start();
    CU_ASSERT_EQUAL(snapshot_volume("s"), 0);
    CU_ASSERT_EQUAL(snapshot_volume("t"), 0);
    CU_ASSERT_EQUAL(delete_lun("v/a"), 0);
    CU_ASSERT_EQUAL(delete_lun("v/q/b"), 0);
    CU_ASSERT_EQUAL(qtree_delete(host.pool, "v/q", &host.why), 0);
    CU_ASSERT_EQUAL(volume_delete(host.pool, "v", false, 0, &host.why), -EBUSY);
    struct lun *member = NULL;
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "v/a@s", LUN_READ_ONLY, &member, &host.why), 0);
    CU_ASSERT_EQUAL(volume_delete(host.pool, "v", true, 0, &host.why), -EBUSY);
    lun_close(member);
    CU_ASSERT_EQUAL(volume_delete(host.pool, "v", true, 0, &host.why), 0);
    crash_and_check();
    host_settle(&host);
    CU_ASSERT_EQUAL(host_data_blks(&host), 0);
    CU_ASSERT_TRUE(list_is_empty(&host.pool->deleted_luns));
    finish();
}

/* A volume's new name must leave room for the longest path that a snapshot holds. */
static void test_long_names(void)
{
    char path[LUN_NAME_MAX + 1] = "v/", name[LUN_NAME_MAX + 1] = "";
    start();
    memset(path + 2, 'x', LUN_NAME_MAX - 2);
    host_create(&host, path, 4);
    CU_ASSERT_EQUAL(snapshot_volume("s"), 0);
    CU_ASSERT_EQUAL(delete_lun(path), 0);
    memset(name, 'y', 2);
    CU_ASSERT_EQUAL(volume_rename(host.pool, "v", name, &host.why), -EINVAL);
    CU_ASSERT_EQUAL(volume_rename(host.pool, "v", "y", &host.why), 0);
    CU_ASSERT_EQUAL(volume_snapshot_delete(host.pool, "y", "s", 0, &host.why), 0);
    CU_ASSERT_EQUAL(volume_rename(host.pool, "y", name, &host.why), 0);
    finish();
}

/* A snapshot as versions before made it: no places, no qtrees. */
static void make_old(const char *snapshot)
{
    AUTO_WRITER struct writer writer = {0};
    struct volume_snapshot_object *set = catalog_find_volume_snapshot(host.pool, snapshot);
    struct volume_object *volume = set->volume;
    struct volume_snapshot_draft draft =
        volume_snapshot_draft_new(host.pool, volume->object.id, "old");
    AUTO_LOCK(&host.pool->management);
    volume_snapshot_draft_put(&draft, &writer);
    list_for_each (member, &set->members, struct lun_object, member_link)
    {
        struct lun_draft old = lun_draft_of(member);
        struct lun_draft fresh = lun_draft_new(host.pool, DISK_OBJECT_SNAPSHOT, "old");
        old.id = fresh.id;
        old.name = "old";
        old.origin = NULL;
        old.qtree_id = 0;
        old.volume_snapshot_id = draft.id;
        lun_draft_put(&old, &writer);
    }
    CU_ASSERT_EQUAL(command_run(host.pool, NULL, &writer, true, &host.why), 0);
}

/* Its members follow their LUNs, until one of these is renamed or deleted. */
static void test_old_snapshots(void)
{
    start();
    CU_ASSERT_EQUAL(snapshot_volume("s"), 0);
    make_old("v@s");
    CU_ASSERT_TRUE(is_there("v/a@old") && is_there("v/q/b@old"));
    CU_ASSERT_EQUAL(volume_rename(host.pool, "v", "w", &host.why), 0);
    CU_ASSERT_EQUAL(volume_rename(host.pool, "w", "v", &host.why), 0);
    host_reopen(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    CU_ASSERT_FALSE(catalog_find_volume_snapshot(host.pool, "v@old")->flags &
                    DISK_VOLUME_SNAPSHOT_PLACED);
    struct volume_clone_args args = {.volume = "v", .snapshot = "old", .name = "c"};
    CU_ASSERT_EQUAL(volume_clone(host.pool, &args, &host.why), 0);
    CU_ASSERT_TRUE(host_holds(&host, "c/q/b", 0, 1, 2));
    CU_ASSERT_EQUAL(lun_rename(host.pool, "v/q/b", "v/b", &host.why), 0);
    CU_ASSERT_TRUE(is_there("v/a@old") && is_there("v/q/b@old"));
    CU_ASSERT_EQUAL(qtree_delete(host.pool, "v/q", &host.why), 0);
    CU_ASSERT_EQUAL(delete_lun("v/a"), 0);
    crash_and_check();
    CU_ASSERT_EQUAL(volume_snapshot_restore(host.pool, "v", "old", 0, &host.why), 0);
    CU_ASSERT_TRUE(is_there("v/a") && is_there("v/b"));
    finish();
}

/* Only a pool that needs it says that it does. */
static void test_feature(void)
{
    start();
    CU_ASSERT_FALSE(le64_get(host.pool->super.feature_incompat) & DISK_FEATURE_PLACES);
    uint64_t checkpoints = atomic_load(&host.pool->cp_count);
    CU_ASSERT_EQUAL(snapshot_volume("s"), 0);
    CU_ASSERT_TRUE(le64_get(host.pool->super.feature_incompat) & DISK_FEATURE_PLACES);
    CU_ASSERT_EQUAL(atomic_load(&host.pool->cp_count), checkpoints + 1);
    CU_ASSERT_EQUAL(snapshot_volume("t"), 0);
    CU_ASSERT_EQUAL(atomic_load(&host.pool->cp_count), checkpoints + 1);
    host_reopen(&host);
    CU_ASSERT_EQUAL(snapshot_volume("u"), 0);
    CU_ASSERT_TRUE(le64_get(host.pool->super.feature_incompat) & DISK_FEATURE_PLACES);
    finish();
}

/* Too many LUNs for the journal: a refusal that says what would do, and it does. */
static void test_too_many(void)
{
    struct pool_create_options small = {
        .name = "small", .size_bytes = HOST_POOL_BYTES, .group_blks = 256};
    struct volume_attributes attributes = {0};
    for (unsigned round = 0; round < 2; round++)
    {
        host_start(&host, &small);
        CU_ASSERT_EQUAL_FATAL(volume_create(host.pool, "v", &attributes, &host.why), 0);
        host_create(&host, "v/a", 4);
        struct lun_clone_args args = {.source = "v/a", .name = "v/c-%04d", .count = 500};
        for (args.first_number = 0; args.first_number < MANY; args.first_number += args.count)
            CU_ASSERT_EQUAL(lun_clone(host.pool, &args, &host.why), 0);
        unsigned journal_kib = 0;
        int r = snapshot_volume("s");
        CU_ASSERT_EQUAL(r, round == 0 ? -EMSGSIZE : 0);
        if (round == 1)
            break;
        const char *advice = strstr(host.why.text, "--journal ");
        CU_ASSERT_PTR_NOT_NULL_FATAL(advice);
        CU_ASSERT_EQUAL(sscanf(advice, "--journal %uK", &journal_kib), 1);
        CU_ASSERT_EQUAL(host_check(&host), 0);
        host_stop(&host);
        small.journal_bytes = (uint64_t)journal_kib * 1024;
        small.group_blks = 512;
    }
    finish();
}

static CU_TestInfo deleted_tests[] = {
    {"space", test_space},
    {"lists", test_lists},
    {"restore", test_restore},
    {"promises", test_promises},
    {"attributes of clones", test_clone_attributes},
    {"handles", test_handles},
    {"names", test_names},
    {"restore of a volume", test_restore_volume},
    {"clone of a volume", test_clone},
    {"delete of a volume", test_delete_volume},
    {"long names", test_long_names},
    {"snapshots of older versions", test_old_snapshots},
    {"feature", test_feature},
    {"too many LUNs", test_too_many},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"volume_deleted", NULL, NULL, NULL, NULL, deleted_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
