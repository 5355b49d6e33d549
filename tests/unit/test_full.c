/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A full pool: whatever was added to it while there was room or no room, what frees is done, and a
 * command for whose checkpoint there is no room is refused, not done and then lost with the pool.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lun/volume/command.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

enum
{
    CLONES = 600,
    FAT_BLKS = 16384,
};

static struct engine_host host;

static void start(void)
{
    static const struct pool_create_options options = {
        .size_bytes = HOST_POOL_BYTES, .group_blks = HOST_GROUP_BLKS, .journal_bytes = 4 << 20};
    host_start(&host, &options);
}

/* Until not one block more is taken. */
static void fill(void)
{
    host_create(&host, "fat", FAT_BLKS);
    for (uint64_t step = 64; step > 0; step /= 8)
    {
        uint64_t lba = 0;
        while (lba + step <= FAT_BLKS && host_write(&host, "fat", lba, step, 1, 0) == 0)
            lba += step;
        CU_ASSERT_TRUE_FATAL(lba + step <= FAT_BLKS);
    }
    CU_ASSERT_EQUAL_FATAL(pool_checkpoint(host.pool), 0);
}

static void expect_usable(void)
{
    struct pool_info info;
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
    pool_get_info(host.pool, &info);
    CU_ASSERT_TRUE(info.health <= POOL_OUT_OF_SPACE);
    CU_ASSERT_EQUAL(host_check(&host), 0);
}

static void name_clone(char name[64], int number)
{
    snprintf(name, 64, "v/a-clone-whose-name-takes-some-room-%04d", number);
}

static void make_volume(void)
{
    struct volume_attributes attributes = {0};
    struct lun_clone_args args = {
        .source = "v/golden", .name = "v/a-clone-whose-name-takes-some-room-%04d", .count = CLONES};
    CU_ASSERT_EQUAL_FATAL(volume_create(host.pool, "v", &attributes, &host.why), 0);
    host_create(&host, "v/golden", 16);
    CU_ASSERT_EQUAL_FATAL(lun_clone(host.pool, &args, &host.why), 0);
}

/* ---- settings */

static int put_setting(int number, size_t len)
{
    char key[32];
    static const char value[2000];
    snprintf(key, sizeof(key), "test/%d", number);
    struct store_change change = {.key = key, .value = len ? value : NULL, .len = len};
    return store_apply(host.pool, &change, 1, &host.why);
}

static void check_settings(bool is_promised)
{
    start();
    if (is_promised)
    {
        struct volume_attributes attributes = {.size_bytes = 8 << 20, .is_guaranteed = true};
        CU_ASSERT_EQUAL_FATAL(volume_create(host.pool, "v", &attributes, &host.why), 0);
    }
    fill();
    int count = 0;
    while (put_setting(count, 2000) == 0)
        count++;
    CU_ASSERT_TRUE(count > 0);
    CU_ASSERT_TRUE(count < 1000);
    /* Those that there are can be changed and deleted, and so can the LUN. */
    CU_ASSERT_EQUAL(put_setting(0, 1000), 0);
    CU_ASSERT_EQUAL(put_setting(0, 0), 0);
    CU_ASSERT_EQUAL(lun_delete(host.pool, "fat", false, 0, &host.why), 0);
    host_settle(&host);
    expect_usable();
    CU_ASSERT_EQUAL(host_data_blks(&host), 0);
    host_stop(&host);
}

static void test_settings(void)
{
    check_settings(false);
}

static void test_settings_beside_promise(void)
{
    check_settings(true);
}

/* ---- commands that change much of the catalog at once */

static int delete_volume(void)
{
    return volume_delete(host.pool, "v", true, 0, &host.why);
}

static int snapshot_volume(void)
{
    const char *volumes[] = {"v"};
    struct volume_snapshot_args args = {.name = "s"};
    return volume_snapshot_create(host.pool, volumes, 1, &args, &host.why);
}

static int redeploy_clones(void)
{
    static char names[CLONES][64];
    const char *pointers[CLONES];
    for (int i = 0; i < CLONES; i++)
    {
        name_clone(names[i], i);
        pointers[i] = names[i];
    }
    return lun_redeploy(host.pool, "v/golden", pointers, CLONES, "undo", 0, &host.why);
}

static int clone_again(void)
{
    struct lun_clone_args args = {.source = "v/golden", .name = "v/another-%04d", .count = CLONES};
    return lun_clone(host.pool, &args, &host.why);
}

static void test_large_commands(void)
{
    int (*const commands[])(void) = {snapshot_volume, redeploy_clones, clone_again};
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
    {
        start();
        make_volume();
        fill();
        CU_ASSERT_EQUAL(commands[i](), -ENOSPC);
        CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "kept for deleting what there is"));
        expect_usable();
        /* What is there can be deleted, one by one and all at once. */
        for (int number = 0; number < CLONES / 2; number++)
        {
            char name[64];
            name_clone(name, number);
            CU_ASSERT_EQUAL_FATAL(lun_delete(host.pool, name, false, 0, &host.why), 0);
        }
        expect_usable();
        CU_ASSERT_EQUAL(delete_volume(), 0);
        host_delete(&host, "fat");
        host_settle(&host);
        expect_usable();
        CU_ASSERT_EQUAL(host_data_blks(&host), 0);
        /* And at once where there is room. */
        make_volume();
        CU_ASSERT_EQUAL(commands[i](), 0);
        expect_usable();
        host_stop(&host);
    }
}

/* All of the largest that there can be: what a full pool is made of is set aside for deleting it.
 */
static void test_delete_at_once(void)
{
    for (int with_snapshot = 0; with_snapshot < 2; with_snapshot++)
    {
        start();
        make_volume();
        if (with_snapshot)
            CU_ASSERT_EQUAL(snapshot_volume(), 0);
        fill();
        if (with_snapshot)
            CU_ASSERT_EQUAL(volume_snapshot_delete(host.pool, "v", "s", 0, &host.why), 0);
        expect_usable();
        CU_ASSERT_EQUAL(delete_volume(), 0);
        expect_usable();
        host_delete(&host, "fat");
        host_settle(&host);
        expect_usable();
        CU_ASSERT_EQUAL(host_data_blks(&host), 0);
        host_stop(&host);
    }
}

/*
 * Clones are refused when there is no room for their pages, and for writing these once more when
 * they are deleted; not much before.
 */
static void test_clone_count(void)
{
    start();
    make_volume();
    fill();
    CU_ASSERT_EQUAL_FATAL(host_unmap(&host, "fat", 0, 1024), 0);
    CU_ASSERT_EQUAL_FATAL(pool_checkpoint(host.pool), 0);
    struct space_stats before, after;
    space_get_stats(host.pool->space, &before);
    uint32_t least = 1, most = 10000; /* done, refused */
    while (most - least > 1)
    {
        uint32_t count = (least + most) / 2;
        struct lun_clone_args args = {
            .source = "v/golden", .name = "v/another-%04d", .count = count};
        command_dry_run(true);
        int r = lun_clone(host.pool, &args, &host.why);
        command_dry_run(false);
        *(r == 0 ? &least : &most) = count;
    }
    struct lun_clone_args args = {.source = "v/golden", .name = "v/another-%04d", .count = least};
    CU_ASSERT_EQUAL_FATAL(lun_clone(host.pool, &args, &host.why), 0);
    CU_ASSERT_EQUAL_FATAL(pool_checkpoint(host.pool), 0);
    space_get_stats(host.pool->space, &after);
    uint64_t had = before.free_blks - before.reserve_blks;
    uint64_t needed = had - (after.free_blks - after.reserve_blks);
    printf("%u clones, %" PRIu64 " blocks of %" PRIu64 " ", least, needed, had);
    CU_ASSERT_TRUE(needed <= had);
    CU_ASSERT_TRUE(had * 10 <= needed * 12);
    expect_usable();
    CU_ASSERT_EQUAL(delete_volume(), 0);
    expect_usable();
    host_stop(&host);
}

static CU_TestInfo full_tests[] = {
    {"settings leave room for deletes", test_settings},
    {"the same beside what is promised", test_settings_beside_promise},
    {"commands whose checkpoint has no room", test_large_commands},
    {"all of a volume is deleted at once", test_delete_at_once},
    {"clones are not refused early", test_clone_count},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"full", NULL, NULL, NULL, NULL, full_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
