/* SPDX-License-Identifier: BSD-3-Clause */
/* Making room: in which order, who never goes, when it ends. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/policy_host.h"

enum
{
    STEPS_MAX = 100
};

static void autodelete(enum policy_scope scope, uint64_t id, struct policy_autodelete autodelete)
{
    const struct policy_settings settings = {.autodelete = autodelete};
    CU_ASSERT_EQUAL(policy_set(policy, scope, id, POLICY_SET_AUTODELETE, &settings, &host.why), 0);
}

/* Deletes all that may go. */
static const struct policy_autodelete greedy = {
    .is_enabled = true, .trigger_free_percent = 98, .target_free_percent = 99};

static void step(void)
{
    policy_step(policy, POLICY_SPACE);
    host_settle(&host);
    policy_host_advance(1);
}

static void snapshot(const char *volume, const char *name)
{
    const struct volume_snapshot_args args = {.name = name};
    policy_host_advance(1);
    CU_ASSERT_EQUAL_FATAL(volume_snapshot_create(host.pool, &volume, 1, &args, &host.why), 0);
}

static void mark(const char *name, uint64_t expire_s)
{
    const struct lun_attributes attributes = {
        .is_autodelete = true,
        .expire_ns = expire_s ? host.env.now_ns + expire_s * UINT64_C(1000000000) : 0};
    CU_ASSERT_EQUAL(lun_set_attributes(host.pool, name, LUN_SET_AUTODELETE | LUN_SET_EXPIRE,
                                       &attributes, &host.why),
                    0);
}

static bool is_there(const char *name)
{
    struct lun_info info;
    return lun_get_info(host.pool, name, &info, NULL) == 0;
}

static bool has_snapshot(const char *volume, const char *full)
{
    AUTO_FREE struct volume_snapshot_info *list = NULL;
    size_t count = 0;
    bool found = false;
    CU_ASSERT_EQUAL(volume_snapshot_list(host.pool, volume, &list, &count, &host.why), 0);
    for (size_t i = 0; i < count; i++)
        found |= strcmp(list[i].name, full) == 0;
    return found;
}

/* Names that were deleted to make room, in order, "a b c". */
static const char *deleted(void)
{
    static char text[2048];
    AUTO_FREE struct event *list = NULL;
    size_t count = 0, at = 0;
    text[0] = '\0';
    CU_ASSERT_EQUAL(event_list(host.pool, 0, &list, &count), 0);
    for (size_t i = 0; i < count && at < sizeof(text); i++)
        if (strcmp(list[i].name, "autodelete.deleted") == 0)
            at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", at ? " " : "",
                                   list[i].object);
    return text;
}

/* A volume with something of every kind. */
static uint64_t begin(void)
{
    policy_host_start(NULL);
    uint64_t id = policy_host_volume("db", 8 << 20);
    host_create(&host, "db/golden", 64);
    CU_ASSERT_EQUAL(host_write(&host, "db/golden", 0, 60, 1, 0), 0);
    host_clone(&host, "db/golden", "db/off");
    static const char *const clones[] = {"db/old", "db/late", "db/soon", "db/new"};
    for (size_t i = 0; i < ARRAY_SIZE(clones); i++)
    {
        policy_host_advance(1);
        host_clone(&host, "db/golden", clones[i]);
    }
    mark("db/old", 0);
    mark("db/new", 0);
    mark("db/late", 100000);
    mark("db/soon", 50000);
    host_create(&host, "db/own", 16);
    mark("db/own", 10000);
    snapshot("db", "mine");
    snapshot("db", "hourly.2026-11-27_1300");
    host_snapshot(&host, "db/golden", "hand");
    snapshot("db", "daily.2026-11-28_0000");
    return id;
}

static void run(void)
{
    for (int i = 0; i < STEPS_MAX && policy_host_events("autodelete.exhausted", "") == 0; i++)
        step();
    CU_ASSERT_EQUAL(policy_host_events("autodelete.exhausted", "nothing is left"), 1);
}

static void test_order(void)
{
    uint64_t id = begin();
    autodelete(POLICY_OF_VOLUME, id, greedy);
    run();
    CU_ASSERT_STRING_EQUAL(deleted(), "db@hourly.2026-11-27_1300 db@daily.2026-11-28_0000 db@mine "
                                      "db/golden@hand db/soon db/late db/old db/new db/own");
    CU_ASSERT_TRUE(is_there("db/golden") && is_there("db/off")); /* autodelete is off */
    CU_ASSERT_EQUAL(policy_host_events("autodelete.began", "volume db has"), 1);
    for (int i = 0; i < 10; i++)
        step();
    CU_ASSERT_EQUAL(policy_host_events("autodelete.exhausted", ""), 1); /* once */
    CU_ASSERT_EQUAL(host_check(&host), 0);
    policy_host_stop();
}

static void test_defer(void)
{
    uint64_t id = begin();
    struct policy_autodelete settings = greedy;
    settings.defer_delete = POLICY_DEFER_NONE;
    autodelete(POLICY_OF_VOLUME, id, settings);
    step();
    step();
    CU_ASSERT_STRING_EQUAL(deleted(), "db@mine db@hourly.2026-11-27_1300");
    settings.defer_delete = POLICY_DEFER_SCHEDULED;
    autodelete(POLICY_OF_VOLUME, id, settings);
    step();
    CU_ASSERT_STRING_EQUAL(deleted(), "db@mine db@hourly.2026-11-27_1300 db/golden@hand");
    policy_host_stop();
}

/* Locked, busy, deferred, open: each stays with "try", and what comes after it goes. */
static void test_never(void)
{
    uint64_t id = begin();
    CU_ASSERT_EQUAL(volume_snapshot_lock(host.pool, "db", "hourly.2026-11-27_1300",
                                         host.env.now_ns + UINT64_C(1000000000000), &host.why),
                    0);
    snapshot("db", "base");
    snapshot("db", "going");
    struct volume_clone_args clone = {.volume = "db", .snapshot = "base", .name = "test"};
    CU_ASSERT_EQUAL(volume_clone(host.pool, &clone, &host.why), 0);
    clone = (struct volume_clone_args){.volume = "db", .snapshot = "going", .name = "test2"};
    CU_ASSERT_EQUAL(volume_clone(host.pool, &clone, &host.why), 0);
    CU_ASSERT_EQUAL(volume_snapshot_delete(host.pool, "db", "going", LUN_DEFER, &host.why), 0);
    struct lun *reader, *writer;
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "db/golden@hand", LUN_READ_ONLY, &reader, &host.why),
                          0);
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "db/soon", 0, &writer, &host.why), 0);
    autodelete(POLICY_OF_VOLUME, id, greedy);
    run();
    CU_ASSERT_TRUE(has_snapshot("db", "db@hourly.2026-11-27_1300"));
    CU_ASSERT_TRUE(has_snapshot("db", "db@base"));
    CU_ASSERT_TRUE(has_snapshot("db", "db@going"));
    CU_ASSERT_FALSE(has_snapshot("db", "db@mine"));
    CU_ASSERT_FALSE(has_snapshot("db", "db@daily.2026-11-28_0000"));
    CU_ASSERT_TRUE(is_there("db/golden@hand") && is_there("db/soon"));
    /* All LUNs are in one of these snapshots, so none may go. */
    CU_ASSERT_TRUE(is_there("db/late") && is_there("db/old") && is_there("db/own"));
    lun_close(reader);
    lun_close(writer);
    policy_host_stop();
}

static void test_commitment(void)
{
    uint64_t id = begin();
    struct policy_autodelete settings = greedy;
    struct lun *reader, *writer;
    char byte;
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "db/golden@hand", LUN_READ_ONLY, &reader, &host.why),
                          0);
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "db/soon", 0, &writer, &host.why), 0);
    settings.commitment = POLICY_COMMIT_DISRUPT;
    autodelete(POLICY_OF_VOLUME, id, settings);
    run();
    CU_ASSERT_FALSE(is_there("db/golden@hand"));
    CU_ASSERT_EQUAL(lun_read(reader, &byte, 1, 0), -ESTALE);
    CU_ASSERT_TRUE(is_there("db/soon"));
    CU_ASSERT_FALSE(is_there("db/late"));
    settings.commitment = POLICY_COMMIT_DESTROY;
    autodelete(POLICY_OF_VOLUME, id, settings);
    policy_host_advance(100);
    step();
    CU_ASSERT_FALSE(is_there("db/soon"));
    CU_ASSERT_TRUE(is_there("db/golden") && is_there("db/off")); /* whatever is committed to */
    lun_close(reader);
    lun_close(writer);
    policy_host_stop();
}

/* Only as many as it takes, and then no more. */
static void test_target(void)
{
    policy_host_start(NULL);
    uint64_t id = policy_host_volume("db", 16 << 20); /* 4096 blocks */
    host_create(&host, "db/data", 512);
    for (int i = 0; i < 6; i++)
    {
        char name[32];
        CU_ASSERT_EQUAL_FATAL(host_write(&host, "db/data", 0, 512, (uint8_t)i, 0), 0);
        snprintf(name, sizeof(name), "s%d", i);
        snapshot("db", name);
    }
    CU_ASSERT_EQUAL_FATAL(host_write(&host, "db/data", 0, 512, 9, 0), 0); /* 7 of 8 parts used */
    autodelete(POLICY_OF_VOLUME, id,
               (struct policy_autodelete){
                   .is_enabled = true, .trigger_free_percent = 5, .target_free_percent = 30});
    step();
    CU_ASSERT_STRING_EQUAL(deleted(), ""); /* above what triggers it */
    autodelete(POLICY_OF_VOLUME, id,
               (struct policy_autodelete){
                   .is_enabled = true, .trigger_free_percent = 20, .target_free_percent = 30});
    for (int i = 0; i < 20; i++)
        step();
    CU_ASSERT_STRING_EQUAL(deleted(), "db@s0 db@s1");
    CU_ASSERT_EQUAL(policy_host_events("autodelete.done", "2 were deleted"), 1);
    CU_ASSERT_TRUE(host_holds(&host, "db/data", 0, 512, 9));
    CU_ASSERT_TRUE(host_holds(&host, "db/data@s2", 0, 512, 2));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    policy_host_stop();
}

/* Space that is coming back is waited for, but not for ever. */
static void test_waits(void)
{
    policy_host_start(NULL);
    uint64_t id = policy_host_volume("db", 16 << 20);
    host_create(&host, "db/data", 512);
    for (int i = 0; i < 4; i++)
    {
        char name[32];
        CU_ASSERT_EQUAL_FATAL(host_write(&host, "db/data", 0, 512, (uint8_t)i, 0), 0);
        snprintf(name, sizeof(name), "s%d", i);
        snapshot("db", name);
    }
    autodelete(POLICY_OF_VOLUME, id, greedy);
    for (int i = 0; i < 10; i++)
        policy_step(policy, POLICY_SPACE); /* and no background work */
    CU_ASSERT_STRING_EQUAL(deleted(), "db@s0");
    /* A clock that is set does not make it impatient. */
    policy_host_set_clock(3600);
    policy_step(policy, POLICY_SPACE);
    policy_host_set_clock(-86400);
    policy_step(policy, POLICY_SPACE);
    CU_ASSERT_STRING_EQUAL(deleted(), "db@s0");
    policy_host_advance(60);
    policy_step(policy, POLICY_SPACE);
    CU_ASSERT_STRING_EQUAL(deleted(), "db@s0 db@s1");
    policy_host_stop();
}

static int fill(const char *name)
{
    int r = 0;
    for (uint64_t lba = 0; r == 0; lba += 32)
        r = host_write(&host, name, lba, 32, 7, 0);
    return r;
}

/* A full pool gets by itself to where writes go on. */
static void test_full_pool(void)
{
    policy_host_start(NULL);
    policy_host_volume("db", 0);
    host_create(&host, "db/data", 1024);
    CU_ASSERT_EQUAL_FATAL(host_write(&host, "db/data", 0, 1024, 1, 0), 0);
    snapshot("db", "s1");
    CU_ASSERT_EQUAL_FATAL(host_write(&host, "db/data", 0, 1024, 2, 0), 0);
    host_create(&host, "big", 100000);
    CU_ASSERT_EQUAL(fill("big"), -ENOSPC);
    autodelete(POLICY_OF_POOL, 0,
               (struct policy_autodelete){
                   .is_enabled = true, .trigger_free_percent = 3, .target_free_percent = 10});
    for (int i = 0; i < 20; i++)
        step();
    CU_ASSERT_STRING_EQUAL(deleted(), "db@s1");
    CU_ASSERT_EQUAL(policy_host_events("autodelete.done", "pool unit"), 1);
    CU_ASSERT_EQUAL(host_write(&host, "big", 50000, 100, 7, 0), 0);
    CU_ASSERT_TRUE(host_holds(&host, "db/data", 0, 1024, 2));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    policy_host_stop();
}

/* A volume that makes room for the pool gives only what is its own. */
static void test_by_pool(void)
{
    policy_host_start(NULL);
    uint64_t id = policy_host_volume("scratch", 0);
    policy_host_volume("db", 0);
    host_create(&host, "db/data", 64);
    host_create(&host, "scratch/data", 64);
    CU_ASSERT_EQUAL(host_write(&host, "db/data", 0, 64, 1, 0), 0);
    snapshot("db", "mine");
    snapshot("scratch", "mine");
    struct policy_autodelete settings = greedy;
    autodelete(POLICY_OF_VOLUME, id, settings);
    step();
    CU_ASSERT_STRING_EQUAL(deleted(), ""); /* it has no size of its own */
    settings.is_by_pool = true;
    autodelete(POLICY_OF_VOLUME, id, settings);
    run();
    CU_ASSERT_STRING_EQUAL(deleted(), "scratch@mine");
    settings.is_enabled = false;
    autodelete(POLICY_OF_VOLUME, id, settings);
    autodelete(POLICY_OF_POOL, 0, greedy);
    step();
    CU_ASSERT_STRING_EQUAL(deleted(), "scratch@mine db@mine");
    policy_host_stop();
}

/* Nothing is deleted because of what makes no sense. */
static void test_hostile_store(void)
{
    static const char *const values[] = {
        "{\"autodelete\":{\"enabled\":true,\"trigger_free\":99,\"target_free\":99}}",
        "{\"autodelete\":{\"enabled\":true,\"trigger_free\":0,\"target_free\":50}}",
        "{\"autodelete\":{\"enabled\":\"true\",\"trigger_free\":98,\"target_free\":99}}",
        "{\"autodelete\":{\"enabled\":true,\"trigger_free\":-1,\"target_free\":3}}",
        "{\"autodelete\":true}",
        "{\"autodelete\":[{\"enabled\":true}]}",
    };
    policy_host_start(NULL);
    policy_host_volume("db", 0);
    host_create(&host, "db/data", 8000);
    CU_ASSERT_EQUAL(host_write(&host, "db/data", 0, 3000, 1, 0), 0);
    snapshot("db", "mine");
    for (size_t i = 0; i < ARRAY_SIZE(values); i++)
    {
        const struct store_change change = {
            .key = "policy/set/pool", .value = values[i], .len = strlen(values[i])};
        CU_ASSERT_EQUAL(store_apply(host.pool, &change, 1, &host.why), 0);
        step();
        step();
    }
    CU_ASSERT_STRING_EQUAL(deleted(), "");
    struct policy_settings settings = {.autodelete = greedy};
    settings.autodelete.target_free_percent = 98;
    CU_ASSERT_EQUAL(
        policy_set(policy, POLICY_OF_POOL, 0, POLICY_SET_AUTODELETE, &settings, &host.why),
        -EINVAL);
    policy_host_stop();
}

static CU_TestInfo autodelete_tests[] = {
    {"the documented order, and autodelete off stays", test_order},
    {"which snapshots go after others", test_defer},
    {"locked, busy, deferred, in use: never", test_never},
    {"disrupt and destroy", test_commitment},
    {"it begins at one threshold and ends at the other", test_target},
    {"it waits for what is coming back", test_waits},
    {"a full pool", test_full_pool},
    {"a volume that makes room for the pool", test_by_pool},
    {"settings that make no sense", test_hostile_store},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"policy autodelete", NULL, NULL, NULL, NULL, autodelete_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
