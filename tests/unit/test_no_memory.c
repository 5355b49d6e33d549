/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The n-th allocation of a command fails, n = 1, 2, ... until none is asked for any more.
 *
 * What is refused has changed nothing, in memory or on the disk, and is done when it is asked for
 * again. The pool stays in use.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/pool/checkpoint.h"
#include "lun/pool/space_internal.h"
#include "lun/volume/catalog.h"
#include "tests/lib/cunit_main.h"
#include "tests/lib/no_memory.h"
#include "tests/unit/engine_host.h"

static struct engine_host host;

/* ---- the pool ------------------------------------------------------------------------------- */

enum
{
    BLKS = 64,
};

/* "v" with "v/a" and "v/q/b", its snapshot "s" and a clone "w" of that; "l" with snapshot "l@s" and
 * clone "c". Block 0 of "l" is 3, and 2 in snapshot and clone. */
static void start(void)
{
    host_start(&host, NULL);
    memory_spare_disk(host.pool->device);
    struct volume_attributes attributes = {.size_bytes = 4 << 20};
    const char *volume = "v";
    struct volume_snapshot_args snapshot = {.name = "s"};
    struct volume_clone_args clone = {.volume = "v", .snapshot = "s", .name = "w"};
    CU_ASSERT_EQUAL_FATAL(volume_create(host.pool, "v", &attributes, &host.why), 0);
    CU_ASSERT_EQUAL_FATAL(qtree_create(host.pool, "v/q", "a qtree", &host.why), 0);
    host_create(&host, "v/a", BLKS);
    host_create(&host, "v/q/b", BLKS);
    CU_ASSERT_EQUAL_FATAL(volume_snapshot_create(host.pool, &volume, 1, &snapshot, &host.why), 0);
    CU_ASSERT_EQUAL_FATAL(volume_clone(host.pool, &clone, &host.why), 0);
    host_create(&host, "l", BLKS);
    CU_ASSERT_EQUAL_FATAL(host_write(&host, "l", 0, BLKS, 2, 0), 0);
    host_snapshot(&host, "l", "s");
    host_clone(&host, "l@s", "c");
    CU_ASSERT_EQUAL_FATAL(host_write(&host, "l", 0, 1, 3, 0), 0);
    host_settle(&host);
}

/* All that listings tell, as text to be freed. */
static char *state(void)
{
    AUTO_FREE struct lun_info *luns = NULL;
    AUTO_FREE struct volume_info *volumes = NULL;
    AUTO_FREE struct qtree_info *qtrees = NULL;
    AUTO_FREE struct volume_snapshot_info *snapshots = NULL;
    AUTO_FREE struct quota_rule *rules = NULL;
    size_t lun_count = 0, volume_count = 0, qtree_count = 0, snapshot_count = 0, rule_count = 0;
    CU_ASSERT_EQUAL(lun_list(host.pool, NULL, &luns, &lun_count, &host.why), 0);
    CU_ASSERT_EQUAL(volume_list(host.pool, &volumes, &volume_count), 0);
    CU_ASSERT_EQUAL(qtree_list(host.pool, NULL, &qtrees, &qtree_count, &host.why), 0);
    CU_ASSERT_EQUAL(volume_snapshot_list(host.pool, NULL, &snapshots, &snapshot_count, &host.why),
                    0);
    CU_ASSERT_EQUAL(quota_rule_list(host.pool, NULL, &rules, &rule_count, &host.why), 0);
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    for (size_t i = 0; i < lun_count; i++)
        fprintf(out, "%s %" PRIu64 " '%s' %s %d %" PRIu64 "\n", luns[i].name, luns[i].size_bytes,
                luns[i].comment, luns[i].owner, luns[i].is_reserved, luns[i].mapped_bytes);
    for (size_t i = 0; i < volume_count; i++)
        fprintf(out, "%s %" PRIu64 " '%s' %s\n", volumes[i].name, volumes[i].size_bytes,
                volumes[i].comment, volumes[i].parent);
    for (size_t i = 0; i < qtree_count; i++)
        fprintf(out, "%s %" PRIu64 "\n", qtrees[i].path, qtrees[i].lun_count);
    for (size_t i = 0; i < snapshot_count; i++)
        fprintf(out, "%s %u %u\n", snapshots[i].name, snapshots[i].lun_count,
                snapshots[i].clone_count);
    for (size_t i = 0; i < rule_count; i++)
        fprintf(out, "%s %" PRIu64 "\n", rules[i].target, rules[i].hard_bytes);
    fclose(out);
    return text;
}

/* ---- what is tried -------------------------------------------------------------------------- */

struct command
{
    const char *name;
    int (*run)(void);
    int (*undo)(void); /* NULL: it may be run again as it is */
};

static uint64_t tries, refusals;

static void complain(const struct command *command, uint64_t n, const char *what)
{
    printf("\n    %s, allocation %" PRIu64 ": %s (%s) ", command->name, n, what, host.said);
    CU_FAIL("see above");
}

/* @before: the state before it. */
static void judge_refusal(const struct command *command, uint64_t n, int r, const char *before)
{
    struct pool_info info;
    pool_get_info(host.pool, &info);
    refusals++;
    if (info.health != POOL_HEALTHY)
        complain(command, n, "the pool is out of use");
    if (r != -ENOMEM)
        complain(command, n, strerror(-r));
    AUTO_FREE char *now = state();
    if (strcmp(now, before) != 0)
        complain(command, n, "it was refused and something was done");
    if (host_check(&host) != 0)
        complain(command, n, "the pool is wrong");
}

static void try_command(const struct command *command, const char *before, const char *after,
                        bool is_for_ever)
{
    for (uint64_t n = 0;; n++)
    {
        memory_arm(n, is_for_ever);
        int r = command->run();
        uint64_t failed = memory_disarm();
        tries++;
        if (r < 0)
        {
            judge_refusal(command, n, r, before);
            r = command->run();
            if (r < 0)
                complain(command, n, "it is refused for ever");
        }
        AUTO_FREE char *now = state();
        if (strcmp(now, after) != 0)
            complain(command, n, "it was not done");
        if (command->undo && command->undo() < 0)
            complain(command, n, "it cannot be undone");
        if (failed == 0 || CU_get_number_of_failures() > 20)
            return;
    }
}

static void try_commands(const struct command *commands, size_t count)
{
    start();
    for (size_t i = 0; i < count; i++)
    {
        const struct command *command = &commands[i];
        AUTO_FREE char *before = state();
        CU_ASSERT_EQUAL_FATAL(command->run(), 0);
        AUTO_FREE char *after = state();
        if (command->undo)
            CU_ASSERT_EQUAL_FATAL(command->undo(), 0);
        AUTO_FREE char *again = state();
        CU_ASSERT_STRING_EQUAL(again, before);
        try_command(command, before, after, false);
        try_command(command, before, after, true);
        host_settle(&host);
    }
    CU_ASSERT_TRUE(host_holds(&host, "l", 0, 1, 3));
    CU_ASSERT_TRUE(host_holds(&host, "c", 0, BLKS, 2));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_crash_open(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
    printf("(%" PRIu64 " tries, %" PRIu64 " refused) ", tries, refusals);
}

/* ---- LUNs ----------------------------------------------------------------------------------- */

static int create_run(void)
{
    struct lun_create_args args = {
        .name = "v/q/new",
        .size_bytes = BLKS * BLK_BYTES,
        .comment = "a comment",
        .attributes = {.is_reserved = true, .owner = "me", .group = "us"}};
    return lun_create(host.pool, &args, &host.why);
}

static int create_undo(void)
{
    return lun_delete(host.pool, "v/q/new", false, 0, &host.why);
}

static int clone_run(void)
{
    struct lun_clone_args args = {.source = "l", .name = "n-%d", .count = 3, .comment = "of l"};
    return lun_clone(host.pool, &args, &host.why);
}

static int clone_undo(void)
{
    host_delete(&host, "n-0");
    host_delete(&host, "n-1");
    host_delete(&host, "n-2");
    return 0;
}

static int group_run(void)
{
    const struct lun_pair pairs[] = {{"l", "l2"}, {"v/a", "v/a2"}};
    struct lun_clone_args common = {.comment = "both"};
    return lun_clone_group(host.pool, pairs, 2, &common, &host.why);
}

static int group_undo(void)
{
    host_delete(&host, "l2");
    host_delete(&host, "v/a2");
    return 0;
}

static int snapshot_run(void)
{
    return snapshot_create(host.pool, "l", "t", "a comment", &host.why);
}

static int snapshot_undo(void)
{
    return snapshot_delete(host.pool, "l", "t", 0, &host.why);
}

static int snapshot_rename_run(void)
{
    return snapshot_rename(host.pool, "l", "s", "renamed", &host.why);
}

static int snapshot_rename_undo(void)
{
    return snapshot_rename(host.pool, "l", "renamed", "s", &host.why);
}

static int delete_run(void)
{
    return lun_delete(host.pool, "c", false, 0, &host.why);
}

static int delete_undo(void)
{
    host_clone(&host, "l@s", "c");
    return 0;
}

static int rename_run(void)
{
    return lun_rename(host.pool, "c", "v/q/moved", &host.why);
}

static int rename_undo(void)
{
    return lun_rename(host.pool, "v/q/moved", "c", &host.why);
}

static int resize_run(void)
{
    return lun_resize(host.pool, "c", 2 * BLKS * BLK_BYTES, 0, &host.why);
}

static int resize_undo(void)
{
    return lun_resize(host.pool, "c", BLKS * BLK_BYTES, LUN_FORCE, &host.why);
}

static int comment_run(void)
{
    return lun_set_comment(host.pool, "l", "what it is for", &host.why);
}

static int comment_undo(void)
{
    return lun_set_comment(host.pool, "l", "", &host.why);
}

static int attributes_run(void)
{
    struct lun_attributes attributes = {.is_reserved = true, .owner = "you"};
    return lun_set_attributes(host.pool, "v/a", LUN_SET_RESERVED | LUN_SET_OWNER, &attributes,
                              &host.why);
}

static int attributes_undo(void)
{
    struct lun_attributes attributes = {.owner = ""};
    return lun_set_attributes(host.pool, "v/a", LUN_SET_RESERVED | LUN_SET_OWNER, &attributes,
                              &host.why);
}

static int restore_run(void)
{
    return snapshot_restore(host.pool, "l", "s", 0, &host.why);
}

static int restore_undo(void)
{
    return host_write(&host, "l", 0, 1, 3, 0);
}

static int redeploy_run(void)
{
    const char *names[] = {"c", "v/q/b"};
    return lun_redeploy(host.pool, "l@s", names, 2, "undo", 0, &host.why);
}

static void test_luns(void)
{
    const struct command commands[] = {
        {"create", create_run, create_undo},
        {"clone", clone_run, clone_undo},
        {"clone a group", group_run, group_undo},
        {"snapshot", snapshot_run, snapshot_undo},
        {"rename a snapshot", snapshot_rename_run, snapshot_rename_undo},
        {"delete", delete_run, delete_undo},
        {"rename", rename_run, rename_undo},
        {"resize", resize_run, resize_undo},
        {"comment", comment_run, comment_undo},
        {"attributes", attributes_run, attributes_undo},
        {"restore", restore_run, restore_undo},
    };
    try_commands(commands, ARRAY_SIZE(commands));
}

static void test_redeploy(void)
{
    const struct command command = {"redeploy", redeploy_run, NULL};
    start();
    CU_ASSERT_EQUAL_FATAL(redeploy_run(), 0);
    CU_ASSERT_EQUAL_FATAL(redeploy_run(), 0); /* from now on snapshots of the same are replaced */
    AUTO_FREE char *after = state();
    try_command(&command, after, after, false);
    try_command(&command, after, after, true);
    CU_ASSERT_TRUE(host_holds(&host, "c", 0, BLKS, 2));
    CU_ASSERT_TRUE(host_holds(&host, "v/q/b", 0, BLKS, 2));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

/* ---- volumes -------------------------------------------------------------------------------- */

static int volume_run(void)
{
    struct volume_attributes attributes = {
        .size_bytes = 1 << 20, .is_guaranteed = true, .comment = "new"};
    return volume_create(host.pool, "new", &attributes, &host.why);
}

static int volume_undo(void)
{
    return volume_delete(host.pool, "new", false, 0, &host.why);
}

static int modify_run(void)
{
    struct volume_attributes attributes = {.size_bytes = 5 << 20, .comment = "larger"};
    return volume_modify(host.pool, "v", VOLUME_SET_SIZE | VOLUME_SET_COMMENT, &attributes,
                         &host.why);
}

static int modify_undo(void)
{
    struct volume_attributes attributes = {.size_bytes = 4 << 20, .comment = ""};
    return volume_modify(host.pool, "v", VOLUME_SET_SIZE | VOLUME_SET_COMMENT, &attributes,
                         &host.why);
}

static int volume_rename_run(void)
{
    return volume_rename(host.pool, "v", "renamed", &host.why);
}

static int volume_rename_undo(void)
{
    return volume_rename(host.pool, "renamed", "v", &host.why);
}

static int volume_delete_run(void)
{
    return volume_delete(host.pool, "w", true, 0, &host.why);
}

static int volume_clone_run(void)
{
    struct volume_clone_args clone = {.volume = "v", .snapshot = "s", .name = "w"};
    return volume_clone(host.pool, &clone, &host.why);
}

static int qtree_run(void)
{
    return qtree_create(host.pool, "v/new", "a comment", &host.why);
}

static int qtree_undo(void)
{
    return qtree_delete(host.pool, "v/new", &host.why);
}

static int qtree_rename_run(void)
{
    return qtree_rename(host.pool, "v/q", "renamed", &host.why);
}

static int qtree_rename_undo(void)
{
    return qtree_rename(host.pool, "v/renamed", "q", &host.why);
}

static int set_run(void)
{
    const char *const volumes[] = {"v", "w"};
    struct volume_snapshot_args args = {.name = "t", .comment = "both"};
    return volume_snapshot_create(host.pool, volumes, 2, &args, &host.why);
}

static int set_undo(void)
{
    int r = volume_snapshot_delete(host.pool, "v", "t", 0, &host.why);
    return r < 0 ? r : volume_snapshot_delete(host.pool, "w", "t", 0, &host.why);
}

static int set_rename_run(void)
{
    return volume_snapshot_rename(host.pool, "v", "s", "renamed", &host.why);
}

static int set_rename_undo(void)
{
    return volume_snapshot_rename(host.pool, "v", "renamed", "s", &host.why);
}

static int set_restore_run(void)
{
    return volume_snapshot_restore(host.pool, "v", "s", 0, &host.why);
}

static int quota_run(void)
{
    struct quota_rule rule = {.type = QUOTA_USER,
                              .volume = "v",
                              .target = "me",
                              .hard_bytes = 100 << 20,
                              .soft_bytes = UINT64_MAX,
                              .threshold_bytes = UINT64_MAX};
    return quota_rule_set(host.pool, &rule, &host.why);
}

static int quota_undo(void)
{
    struct quota_rule rule = {.type = QUOTA_USER, .volume = "v", .target = "me"};
    return quota_rule_delete(host.pool, &rule, &host.why);
}

static void test_volumes(void)
{
    const struct command commands[] = {
        {"create a volume", volume_run, volume_undo},
        {"modify a volume", modify_run, modify_undo},
        {"rename a volume", volume_rename_run, volume_rename_undo},
        {"delete a volume", volume_delete_run, volume_clone_run},
        {"create a qtree", qtree_run, qtree_undo},
        {"rename a qtree", qtree_rename_run, qtree_rename_undo},
        {"snapshot volumes", set_run, set_undo},
        {"rename a volume's snapshot", set_rename_run, set_rename_undo},
        {"restore a volume", set_restore_run, NULL},
        {"set a quota", quota_run, quota_undo},
    };
    try_commands(commands, ARRAY_SIZE(commands));
}

/* ---- data, background, listings -------------------------------------------------------------- */

static int io_run(void)
{
    struct lun *lun = NULL;
    int r = lun_open(host.pool, "c", 0, &lun, &host.why);
    static uint8_t bytes[8 * BLK_BYTES];
    memset(bytes, 2, sizeof(bytes));
    if (r == 0)
        r = lun_write(lun, bytes, sizeof(bytes) - 100, 7 * BLK_BYTES + 50, LUN_FUA);
    if (r == 0)
        r = lun_read(lun, bytes, sizeof(bytes), 0);
    if (r == 0)
        r = lun_write_atomic(lun, bytes, 2 * BLK_BYTES, 0, 0);
    if (r == 0)
        r = lun_flush(lun);
    lun_close(lun);
    return r;
}

static int checkpoint_now(void)
{
    return pool_checkpoint(host.pool);
}

static int background_run(void)
{
    for (int r = 1; r != 0;)
    {
        r = pool_run_job_step(host.pool);
        if (r < 0)
            return r;
    }
    return 0;
}

static int listings_run(void)
{
    AUTO_FREE struct lun_info *luns = NULL;
    AUTO_FREE struct line_info *lines = NULL;
    AUTO_FREE struct event *events = NULL;
    AUTO_FREE struct job_info *jobs = NULL;
    AUTO_FREE struct volume_snapshot_info *snapshots = NULL;
    AUTO_FREE struct quota_usage *usages = NULL;
    const char *names[] = {"c", "l@s"};
    uint64_t data_bytes, metadata_bytes;
    size_t count;
    int r = lun_list(host.pool, NULL, &luns, &count, &host.why);
    if (r == 0)
        r = pool_list_lines(host.pool, &lines, &count);
    if (r == 0)
        r = event_list(host.pool, 0, &events, &count);
    if (r == 0)
        r = job_list(host.pool, &jobs, &count);
    if (r == 0)
        r = volume_snapshot_list(host.pool, NULL, &snapshots, &count, &host.why);
    if (r == 0)
        r = quota_report(host.pool, NULL, &usages, &count, &host.why);
    if (r == 0)
        r = lun_freed_if_deleted(host.pool, names, 2, &data_bytes, &metadata_bytes, &host.why);
    return r;
}

static int store_run(void)
{
    const struct store_change changes[] = {{.key = "k", .value = "a value", .len = 7},
                                           {.key = "m", .value = "another", .len = 7}};
    int r = store_apply(host.pool, changes, 2, &host.why);
    AUTO_FREE void *value = NULL;
    size_t len = 0;
    return r < 0 ? r : store_get(host.pool, "k", &value, &len);
}

static int store_undo(void)
{
    const struct store_change changes[] = {{.key = "k"}, {.key = "m"}};
    return store_apply(host.pool, changes, 2, &host.why);
}

static void hear_nothing(void *opaque, bool is_error, const char *text)
{
    (void)opaque, (void)text;
    CU_ASSERT_FALSE(is_error);
}

static int check_run(void)
{
    struct check_result result;
    return pool_check(host.pool, hear_nothing, NULL, &result);
}

static void test_rest(void)
{
    const struct command commands[] = {
        {"read and write", io_run, NULL},          {"checkpoint", checkpoint_now, NULL},
        {"background work", background_run, NULL}, {"listings", listings_run, NULL},
        {"store", store_run, store_undo},          {"check", check_run, NULL},
    };
    try_commands(commands, ARRAY_SIZE(commands));
}

/* A pool that cannot be opened for want of memory opens afterwards, and is as it was. */
static void test_open(void)
{
    start();
    AUTO_FREE char *before = state();
    for (unsigned mode = 0; mode < 2; mode++)
        for (uint64_t n = 0, failed = 1; failed > 0; n++)
        {
            host_crash(&host);
            struct device *device = simdev_open(host.disk);
            memory_spare_disk(device);
            memory_arm(n, mode == 1);
            int r = pool_open_device(&host.env.env, device, NULL, &host.pool, &host.why);
            failed = memory_disarm();
            CU_ASSERT_TRUE_FATAL(r == 0 || failed > 0);
            if (r < 0)
            {
                if (r != -ENOMEM)
                    printf("\n    open, allocation %" PRIu64 ": %s %s ", n, strerror(-r),
                           host.why.text);
                CU_ASSERT_EQUAL(r, -ENOMEM);
                device_close(device);
                CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
            }
            AUTO_FREE char *now = state();
            CU_ASSERT_STRING_EQUAL(now, before);
            CU_ASSERT_EQUAL(host_check(&host), 0);
        }
    host_stop(&host);
}

/* A flush takes no memory: all that it needs was had by the writes. */
static void test_flush(void)
{
    static uint8_t bytes[BLK_BYTES];
    memset(bytes, 9, sizeof(bytes));
    uint64_t failed = 1;
    for (unsigned mode = 0; mode < 2; mode++, failed = 1)
        for (uint64_t n = 0; failed > 0; n++)
        {
            struct lun *lun = NULL;
            start();
            CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "c", 0, &lun, &host.why), 0);
            CU_ASSERT_EQUAL(lun_write(lun, bytes, sizeof(bytes), 0, 0), 0);
            memory_arm(n, mode == 1);
            int r = lun_flush(lun);
            failed = memory_disarm();
            CU_ASSERT_EQUAL(r, 0);
            lun_close(lun);
            host_crash_open(&host);
            CU_ASSERT_TRUE(host_holds(&host, "c", 0, 1, 9));
            CU_ASSERT_EQUAL(host_check(&host), 0);
            host_stop(&host);
        }
}

/* The thread that makes checkpoints has no memory for one: the next one makes up for it. */
static void test_checkpoint_thread(void)
{
    struct pool_info info;
    start();
    host_start_threads(&host);
    CU_ASSERT_EQUAL(host_write(&host, "c", 0, BLKS, 9, 0), 0);
    memory_starve_others(true);
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), -ENOMEM);
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), -ENOMEM);
    memory_starve_others(false);
    pool_get_info(host.pool, &info);
    CU_ASSERT_EQUAL(info.health, POOL_HEALTHY);
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_crash_open(&host);
    CU_ASSERT_TRUE(host_holds(&host, "c", 0, BLKS, 9));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

/* ---- a checkpoint of many bitmaps ----------------------------------------------------------- */

enum
{
    PAGES = 40, /* with one value each, and in another allocation group each */
    SMALL_GROUP_BLKS = 256,
    FIRST_GROUP = 8, /* of theirs, behind the node area */
};

static void set_values(uint8_t first)
{
    static uint8_t value[3000]; /* there is no room for two of them on a page */
    char key[16];
    for (unsigned i = 0; i < PAGES; i++)
    {
        snprintf(key, sizeof(key), "k%u", i);
        memset(value, (uint8_t)(first + i), sizeof(value));
        struct store_change change = {.key = key, .value = value, .len = sizeof(value)};
        CU_ASSERT_EQUAL_FATAL(store_apply(host.pool, &change, 1, &host.why), 0);
    }
}

static bool holds_values(uint8_t first)
{
    bool is_right = true;
    char key[16];
    for (unsigned i = 0; i < PAGES; i++)
    {
        AUTO_FREE uint8_t *value = NULL;
        size_t len = 0;
        snprintf(key, sizeof(key), "k%u", i);
        CU_ASSERT_EQUAL_FATAL(store_get(host.pool, key, (void **)&value, &len), 0);
        is_right &= len > 0 && value[0] == (uint8_t)(first + i) && value[len - 1] == value[0];
    }
    return is_right;
}

/* Each page that has a value is moved into a group where nothing else of the catalog is. */
static void scatter_pages(void)
{
    struct space *space = host.pool->space;
    uint64_t groups = 0, seen = UINT64_MAX;
    for (uint64_t g = 0; g < space->group_count; g++)
        CU_ASSERT_EQUAL_FATAL(space_load_group(space, g), 0); /* only these are taken from */
    for (uint64_t i = 0; i < host.pool->page_count; i++)
    {
        space->area_is_full = true;
        space->node_cursor = (FIRST_GROUP + i) * SMALL_GROUP_BLKS;
        catalog_write_again(host.pool, i);
        CU_ASSERT_EQUAL_FATAL(pool_checkpoint(host.pool), 0);
    }
    for (uint64_t i = 0; i < host.pool->page_count; i++)
    {
        uint64_t group = host.pool->pages[i]->blks[0] / SMALL_GROUP_BLKS;
        groups += group != seen;
        seen = group;
    }
    CU_ASSERT_TRUE_FATAL(groups >= PAGES);
}

/* More bitmaps change than a checkpoint knows of beforehand, and there is no memory for them when
 * it is too late to refuse it. */
static void test_many_bitmaps(void)
{
    const struct pool_create_options options = {.name = "small",
                                                .size_bytes =
                                                    UINT64_C(64) * SMALL_GROUP_BLKS * BLK_BYTES,
                                                .group_blks = SMALL_GROUP_BLKS};
    struct pool_info info;
    unsigned starved = 0, refused = 0;
    host_start(&host, &options);
    set_values(1);
    scatter_pages();
    host_close(&host);
    struct simdev *pristine = host.disk;
    for (unsigned mode = 0; mode < 2; mode++)
        for (uint64_t n = 0, failed = 1; failed > 0; n++)
        {
            host.disk = simdev_copy(pristine, n);
            CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
            memory_spare_disk(host.pool->device);
            set_values(101);
            memory_arm(n, mode == 1);
            int r = pool_checkpoint(host.pool);
            failed = memory_disarm();
            CU_ASSERT_TRUE(r == 0 || (r == -ENOMEM && failed > 0));
            refused += r < 0;
            starved += r == 0 && failed > 0;
            pool_get_info(host.pool, &info);
            CU_ASSERT_EQUAL_FATAL(info.health, POOL_HEALTHY);
            CU_ASSERT_EQUAL(host_check(&host), 0);
            host_crash_open(&host);
            CU_ASSERT_TRUE(holds_values(101));
            CU_ASSERT_EQUAL(host_check(&host), 0);
            host_close(&host);
            simdev_destroy(host.disk);
        }
    CU_ASSERT_TRUE(starved > 0 && refused > 0);
    printf("(%u refused, %u done without) ", refused, starved);
    host.disk = pristine;
    simdev_destroy(host.disk);
}

/* A sync that failed is not forgotten, whatever works afterwards. */
static void test_checkpoint_thread_sync(void)
{
    const struct simdev_fault fault = {
        .op = SIMDEV_SYNC, .kind = SIMDEV_FAIL, .error = -EIO, .nth = 1};
    struct pool_info info;
    start();
    host_start_threads(&host);
    memory_starve_others(true);
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), -ENOMEM);
    memory_starve_others(false);
    CU_ASSERT_EQUAL(host_write(&host, "c", 0, BLKS, 9, 0), 0);
    simdev_arm(host.disk, &fault);
    CU_ASSERT_TRUE(pool_checkpoint(host.pool) < 0);
    simdev_arm(host.disk, NULL);
    CU_ASSERT_TRUE(pool_checkpoint(host.pool) < 0);
    CU_ASSERT_TRUE(checkpoint_wait(host.pool) < 0);
    pool_get_info(host.pool, &info);
    CU_ASSERT_EQUAL(info.health, POOL_FAILED);
    host_crash_open(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

static CU_TestInfo no_memory_tests[] = {
    {"LUNs and snapshots", test_luns},
    {"a redeploy", test_redeploy},
    {"volumes", test_volumes},
    {"data, background work, listings", test_rest},
    {"opening", test_open},
    {"a flush", test_flush},
    {"a checkpoint of many bitmaps", test_many_bitmaps},
    {"the checkpoints' thread", test_checkpoint_thread},
    {"the same, and a sync that fails", test_checkpoint_thread_sync},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"no memory", NULL, NULL, NULL, NULL, no_memory_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
