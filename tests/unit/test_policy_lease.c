/* SPDX-License-Identifier: BSD-3-Clause */
/* Leases: who is deleted when, and who is not. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/policy_host.h"

static uint64_t in_seconds(uint64_t seconds)
{
    return host.env.now_ns + seconds * UINT64_C(1000000000);
}

static void lease(const char *name, uint64_t expire_ns)
{
    const struct lun_attributes attributes = {.expire_ns = expire_ns};
    CU_ASSERT_EQUAL(lun_set_attributes(host.pool, name, LUN_SET_EXPIRE, &attributes, &host.why), 0);
}

static bool is_there(const char *name)
{
    struct lun_info info;
    return lun_get_info(host.pool, name, &info, NULL) == 0;
}

static void look(void)
{
    policy_host_forget();
    policy_step(policy, POLICY_SPACE);
}

static void test_ends(void)
{
    policy_host_start(NULL);
    host_create(&host, "golden", 16);
    host_clone(&host, "golden", "ci");
    lease("ci", in_seconds(3600));
    look();
    CU_ASSERT_EQUAL(policy_host_events("lun.lease.ending", ""), 0);
    policy_host_advance(3600 - 300);
    look();
    CU_ASSERT_EQUAL(policy_host_events("lun.lease.ending", "lunette lun modify ci --expire"), 1);
    look();
    CU_ASSERT_EQUAL(policy_host_events("lun.lease.ending", ""), 0); /* once */
    CU_ASSERT_TRUE(is_there("ci"));
    policy_host_advance(300);
    look();
    CU_ASSERT_FALSE(is_there("ci"));
    CU_ASSERT_EQUAL(policy_host_events("lun.lease.ended", "its lease has ended"), 1);
    CU_ASSERT_TRUE(is_there("golden"));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    policy_host_stop();
}

static void test_prolonged(void)
{
    policy_host_start(NULL);
    host_create(&host, "ci", 16);
    lease("ci", in_seconds(100));
    look();
    CU_ASSERT_EQUAL(policy_host_events("lun.lease.ending", ""), 1);
    lease("ci", in_seconds(1000));
    policy_host_advance(200);
    look();
    CU_ASSERT_TRUE(is_there("ci"));
    policy_host_advance(300);
    look();
    CU_ASSERT_EQUAL(policy_host_events("lun.lease.ending", ""), 1); /* anew */
    lease("ci", 0);
    policy_host_advance(3600);
    look();
    CU_ASSERT_TRUE(is_there("ci"));
    policy_host_stop();
}

/* The engine looks at the lease itself, whatever was so when somebody looked before. */
static void test_prolonged_at_last_moment(void)
{
    policy_host_start(NULL);
    host_create(&host, "ci", 16);
    uint64_t expire_ns = in_seconds(100);
    lease("ci", expire_ns);
    struct lun_delete_condition condition = {.id = host_info(&host, "ci").id,
                                             .expire_ns = expire_ns};
    lease("ci", expire_ns + 1);
    CU_ASSERT_EQUAL(lun_delete_if(host.pool, &condition, LUN_FORCE, &host.why), -ESTALE);
    condition.expire_ns++;
    condition.is_autodelete = true;
    CU_ASSERT_EQUAL(lun_delete_if(host.pool, &condition, LUN_FORCE, &host.why), -ESTALE);
    condition.is_autodelete = false;
    CU_ASSERT_EQUAL(lun_rename(host.pool, "ci", "kept", &host.why), 0);
    host_create(&host, "ci", 16);
    CU_ASSERT_EQUAL(lun_delete_if(host.pool, &condition, 0, &host.why), 0);
    CU_ASSERT_TRUE(is_there("ci")); /* another one by that name */
    CU_ASSERT_FALSE(is_there("kept"));
    CU_ASSERT_EQUAL(lun_delete_if(host.pool, &condition, 0, &host.why), -ENOENT);
    policy_host_stop();
}

/* Refused for a reason: one event, tried again, one event for another reason. */
static void test_locked_and_open(void)
{
    policy_host_start(NULL);
    host_create(&host, "ci", 16);
    const struct lun_attributes attributes = {.expire_ns = in_seconds(10),
                                              .locked_until_ns = in_seconds(1000)};
    CU_ASSERT_EQUAL(lun_set_attributes(host.pool, "ci", LUN_SET_EXPIRE | LUN_SET_LOCKED_UNTIL,
                                       &attributes, &host.why),
                    0);
    policy_host_advance(20);
    look();
    CU_ASSERT_EQUAL(policy_host_events("lun.lease.kept", "locked until"), 1);
    policy_host_advance(100);
    look();
    CU_ASSERT_EQUAL(policy_host_events("lun.lease.kept", ""), 0);
    struct lun *lun;
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "ci", 0, &lun, &host.why), 0);
    policy_host_advance(1000);
    look();
    CU_ASSERT_EQUAL(policy_host_events("lun.lease.kept", "open by 1 client"), 1);
    CU_ASSERT_TRUE(is_there("ci"));
    lun_close(lun);
    look();
    CU_ASSERT_TRUE(is_there("ci")); /* not yet again */
    policy_host_advance(100);
    look();
    CU_ASSERT_FALSE(is_there("ci"));
    policy_host_stop();
}

static void test_force(void)
{
    const struct policy_settings settings = {.leases = {.force = true}};
    policy_host_start(NULL);
    CU_ASSERT_EQUAL(
        policy_set(policy, POLICY_OF_POOL, 0, POLICY_SET_LEASE_FORCE, &settings, &host.why), 0);
    host_create(&host, "ci", 16);
    lease("ci", in_seconds(1));
    struct lun *lun;
    char byte;
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "ci", 0, &lun, &host.why), 0);
    policy_host_advance(10);
    look();
    CU_ASSERT_FALSE(is_there("ci"));
    CU_ASSERT_EQUAL(lun_read(lun, &byte, 1, 0), -ESTALE);
    lun_close(lun);
    policy_host_stop();
}

static void test_snapshots(void)
{
    policy_host_start(NULL);
    host_create(&host, "own", 16);
    host_snapshot(&host, "own", "s");
    lease("own", in_seconds(1));
    policy_host_volume("db", 0);
    host_create(&host, "db/ci", 16);
    const char *volume = "db";
    const struct volume_snapshot_args args = {.name = "nightly"};
    CU_ASSERT_EQUAL(volume_snapshot_create(host.pool, &volume, 1, &args, &host.why), 0);
    lease("db/ci", in_seconds(1));
    policy_host_advance(10);
    look();
    CU_ASSERT_FALSE(is_there("own")); /* with its own snapshots */
    CU_ASSERT_FALSE(is_there("own@s"));
    CU_ASSERT_TRUE(is_there("db/ci")); /* that would take it from the volume's */
    CU_ASSERT_EQUAL(policy_host_events("lun.lease.kept", "part of snapshot 'db@nightly'"), 1);
    const struct policy_settings settings = {.leases = {.takes_volume_snapshots = true}};
    CU_ASSERT_EQUAL(
        policy_set(policy, POLICY_OF_POOL, 0, POLICY_SET_LEASE_SNAPSHOTS, &settings, &host.why), 0);
    policy_host_advance(100);
    look();
    CU_ASSERT_FALSE(is_there("db/ci"));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    policy_host_stop();
}

/* A server that was down deletes what ended meanwhile. */
static void test_after_downtime(void)
{
    policy_host_start(NULL);
    for (int i = 0; i < 50; i++)
    {
        char name[32];
        snprintf(name, sizeof(name), "ci-%d", i);
        host_create(&host, name, 16);
        lease(name, in_seconds(i % 2 ? 100 : 100000));
    }
    policy_host_advance(5000);
    policy_host_restart(NULL);
    look();
    struct pool_info info;
    pool_get_info(host.pool, &info);
    CU_ASSERT_EQUAL(info.lun_count, 25);
    CU_ASSERT_EQUAL(policy_host_events("lun.lease.ended", ""), 25);
    policy_host_stop();
}

enum
{
    YEAR = 365 * 86400
};

/* Leases that a clock set forward would end are kept for an hour, in which it may be put right. */
static void test_clock_forward(void)
{
    policy_host_start(NULL);
    host_create(&host, "short", 16);
    host_create(&host, "long", 16);
    lease("short", in_seconds(600));
    lease("long", in_seconds(10 * 86400));
    look();
    policy_host_set_clock(10 * YEAR);
    look();
    CU_ASSERT_EQUAL(policy_host_events("clock.set.forward", "by 3650 days"), 1);
    CU_ASSERT_TRUE(is_there("short") && is_there("long"));
    look();
    CU_ASSERT_EQUAL(policy_host_events("clock.set.forward", ""), 0); /* once */
    /* Meanwhile leases end when they would have ended. */
    policy_host_advance(700);
    look();
    CU_ASSERT_FALSE(is_there("short"));
    CU_ASSERT_TRUE(is_there("long"));
    /* It is put right. */
    policy_host_set_clock(-10 * YEAR);
    look();
    CU_ASSERT_EQUAL(policy_host_events("clock.set.back", "by 3650 days"), 1);
    policy_host_advance(2 * 3600);
    look();
    CU_ASSERT_TRUE(is_there("long"));
    /* It is not put right. */
    policy_host_set_clock(YEAR);
    look();
    policy_host_advance(3500);
    look();
    CU_ASSERT_TRUE(is_there("long"));
    policy_host_advance(200);
    look();
    CU_ASSERT_FALSE(is_there("long"));
    policy_host_stop();
}

/* Each time that it is set forward again, the hour begins again; small corrections are followed. */
static void test_clock_steps(void)
{
    policy_host_start(NULL);
    host_create(&host, "ci", 16);
    lease("ci", in_seconds(86400));
    look();
    for (int i = 0; i < 40; i++)
    {
        policy_host_set_clock(i % 2 ? -5 * YEAR : 5 * YEAR);
        policy_host_advance(1800);
        look();
        CU_ASSERT_TRUE(is_there("ci"));
    }
    CU_ASSERT_EQUAL(policy_host_events("clock.set.back", ""), 1);
    lease("ci", in_seconds(1000));
    for (int i = 0; i < 10; i++)
    {
        policy_host_set_clock(110);
        look();
        CU_ASSERT_EQUAL(policy_host_events("clock.set.forward", ""), 0);
    }
    CU_ASSERT_FALSE(is_there("ci"));
    policy_host_stop();
}

/* A lease lasts longer then, what is refused is tried again each minute, and a start asks nobody.
 */
static void test_clock_back(void)
{
    policy_host_start(NULL);
    host_create(&host, "ci", 16);
    lease("ci", in_seconds(100));
    struct lun *lun;
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "ci", 0, &lun, &host.why), 0);
    policy_host_advance(200);
    look();
    CU_ASSERT_EQUAL(policy_host_events("lun.lease.kept", ""), 1);
    policy_host_set_clock(-YEAR);
    lun_close(lun);
    policy_host_advance(100);
    look();
    CU_ASSERT_TRUE(is_there("ci"));
    policy_host_set_clock(YEAR);
    look();
    CU_ASSERT_TRUE(is_there("ci")); /* that was forward */
    policy_host_restart(NULL);
    look();
    CU_ASSERT_FALSE(is_there("ci"));
    policy_host_stop();
}

/* No lock ends because the clock was set, in either direction. */
static void test_clock_and_locks(void)
{
    policy_host_start(NULL);
    host_create(&host, "kept", 16);
    const struct lun_attributes attributes = {.locked_until_ns = in_seconds(86400)};
    CU_ASSERT_EQUAL(
        lun_set_attributes(host.pool, "kept", LUN_SET_LOCKED_UNTIL, &attributes, &host.why), 0);
    uint64_t volume = policy_host_volume("db", 0);
    host_create(&host, "db/data", 16);
    const char *of = "db";
    const struct volume_snapshot_args snapshot = {.name = "s",
                                                  .locked_until_ns = in_seconds(86400)};
    CU_ASSERT_EQUAL(volume_snapshot_create(host.pool, &of, 1, &snapshot, &host.why), 0);
    policy_host_set_clock(20 * YEAR);
    CU_ASSERT_EQUAL(lun_delete(host.pool, "kept", false, LUN_FORCE, &host.why), -EPERM);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "set forward"));
    const struct lun_attributes none = {.locked_until_ns = 0};
    CU_ASSERT_EQUAL(lun_set_attributes(host.pool, "kept", LUN_SET_LOCKED_UNTIL, &none, &host.why),
                    -EPERM);
    CU_ASSERT_EQUAL(volume_snapshot_delete(host.pool, "db", "s", LUN_FORCE, &host.why), -EPERM);
    const struct volume_clone_args clone = {.volume = "db", .snapshot = "s", .name = "copy"};
    CU_ASSERT_EQUAL(volume_clone(host.pool, &clone, &host.why), -EPERM);
    /* Nor does what makes room take it. */
    const struct policy_settings settings = {
        .autodelete = {.is_enabled = true, .trigger_free_percent = 98, .target_free_percent = 99}};
    CU_ASSERT_EQUAL(
        policy_set(policy, POLICY_OF_VOLUME, volume, POLICY_SET_AUTODELETE, &settings, &host.why),
        0);
    look();
    CU_ASSERT(is_there("db/data@s"));
    policy_host_set_clock(-40 * YEAR);
    CU_ASSERT_EQUAL(lun_delete(host.pool, "kept", false, LUN_FORCE, &host.why), -EPERM);
    /* The time that passes counts, whatever the clock says. */
    policy_host_set_clock(30 * YEAR);
    policy_host_advance(86400 + 400);
    CU_ASSERT_EQUAL(lun_delete(host.pool, "kept", false, 0, &host.why), 0);
    policy_host_stop();
}

static void test_no_warning(void)
{
    struct policy_settings settings = {0};
    policy_host_start(NULL);
    CU_ASSERT_EQUAL(
        policy_set(policy, POLICY_OF_POOL, 0, POLICY_SET_LEASE_WARNING, &settings, &host.why), 0);
    host_create(&host, "ci", 16);
    lease("ci", in_seconds(10));
    look();
    CU_ASSERT_EQUAL(policy_host_events("lun.lease.ending", ""), 0);
    policy_host_stop();
}

static CU_TestInfo lease_tests[] = {
    {"a lease ends: a warning, then it is deleted", test_ends},
    {"a lease is prolonged, or taken off", test_prolonged},
    {"a lease that is prolonged at the last moment holds", test_prolonged_at_last_moment},
    {"locked, or in use: kept, said once, tried again", test_locked_and_open},
    {"in use, and forced", test_force},
    {"snapshots of its own go with it, those of its volume keep it", test_snapshots},
    {"leases that ended while the server was down", test_after_downtime},
    {"the clock is set forward", test_clock_forward},
    {"the clock is set again and again", test_clock_steps},
    {"the clock is set back", test_clock_back},
    {"no lock ends by a clock that is set", test_clock_and_locks},
    {"no warning", test_no_warning},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"policy leases", NULL, NULL, NULL, NULL, lease_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
