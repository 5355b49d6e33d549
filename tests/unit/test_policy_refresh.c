/* SPDX-License-Identifier: BSD-3-Clause */
/* Refreshes: what is set, when they are due, and what is left of one that did not end. */
#include "server/policy/refresh.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "lun/base/checked.h"
#include "server/policy/policy_internal.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/policy_host.h"

enum
{
    HOUR = 3600,
    DAY = 24 * HOUR,
    NOON = 1795780800, /* 2026-11-27 12:00:00 UTC, a Friday */
};

static char folder[] = "/tmp/lunette-refresh-XXXXXX";
static char program[64];

/* A LUN whose refresh somebody deletes while the next hook runs. */
static const char *meanwhile;
/* What hooks write to the LUN that they are given; 0: nothing. */
static uint8_t mask_byte;

int __real_policy_run(struct policy *policy, const struct policy_program *program,
                      struct reason *why);
int __wrap_policy_run(struct policy *policy, const struct policy_program *program,
                      struct reason *why);

int __wrap_policy_run(struct policy *running, const struct policy_program *hook, struct reason *why)
{
    static const char variable[] = "LUNETTE_LUN=";
    if (meanwhile)
        CU_ASSERT_EQUAL(refresh_delete(running, &meanwhile, 1, why), 0);
    meanwhile = NULL;
    for (size_t i = 0; mask_byte && hook->env[i]; i++)
        if (strncmp(hook->env[i], variable, sizeof(variable) - 1) == 0 &&
            host_write(&host, hook->env[i] + sizeof(variable) - 1, 0, 8, mask_byte, LUN_FUA) < 0)
            return -EIO;
    return __real_policy_run(running, hook, why);
}

static const struct policy_options with_folder = {.refresh_folder = folder,
                                                  .nbd_uri = "nbd+unix:///?socket=/nowhere"};

static int set_up(void)
{
    setenv("TZ", "UTC0", 1);
    tzset();
    if (!mkdtemp(folder))
        return 1;
    snprintf(program, sizeof(program), "%s/mask", folder);
    return chmod(folder, 0755) < 0;
}

static int tear_down(void)
{
    unlink(program);
    return rmdir(folder) < 0;
}

static void write_program(const char *body)
{
    unlink(program);
    FILE *file = fopen(program, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fprintf(file, "#!/bin/sh\n%s\n", body);
    fchmod(fileno(file), 0755);
    fclose(file);
}

static int put(const char *name, const struct refresh_args *args, bool is_new)
{
    reason_clear(&host.why);
    return refresh_put(policy, &name, 1, args, is_new, &host.why);
}

static struct refresh get(const char *name)
{
    AUTO_FREE struct refresh *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL_FATAL(refresh_list(policy, &name, 1, &list, &count, &host.why), 0);
    return list[0];
}

static int now(const char *name)
{
    AUTO_FREE struct refresh *list = NULL;
    size_t count = 0;
    policy_host_forget();
    reason_clear(&host.why);
    return refresh_now(policy, &name, 1, false, &list, &count, &host.why);
}

static size_t count_refreshes(void)
{
    AUTO_FREE struct refresh *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL(refresh_list(policy, NULL, 0, &list, &count, &host.why), 0);
    return count;
}

static void look(void)
{
    policy_host_forget();
    policy_step(policy, POLICY_REFRESH);
}

static void look_at(uint64_t seconds)
{
    policy_host_set_time(seconds);
    look();
}

/* The runs that look() made. */
static size_t runs(void)
{
    return policy_host_events("refresh.done", "");
}

/* The first byte of block 0. */
static uint8_t first_byte(const char *name)
{
    static uint8_t data[4096];
    struct lun *lun;
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, name, LUN_READ_ONLY, &lun, &host.why), 0);
    CU_ASSERT_EQUAL(lun_read(lun, data, sizeof(data), 0), 0);
    lun_close(lun);
    return data[0];
}

static size_t count_luns(const char *part)
{
    AUTO_FREE struct lun_info *list = NULL;
    size_t n = 0, found = 0;
    CU_ASSERT_EQUAL(lun_list(host.pool, NULL, &list, &n, &host.why), 0);
    for (size_t i = 0; i < n; i++)
        found += strstr(list[i].name, part) != NULL;
    return found;
}

static int any_cb(void *opaque, const char *key, const void *value, size_t len)
{
    (void)opaque, (void)key, (void)value, (void)len;
    return 1;
}

/* LUNs prod (byte 1) and dev (byte 2), which is refreshed from it, at NOON. */
static void begin(const char *schedule)
{
    const struct refresh_args args = {.source = "prod", .schedule = schedule};
    policy_host_start(&with_folder);
    policy_host_set_time(NOON + 100);
    host_create(&host, "prod", 16);
    host_create(&host, "dev", 16);
    CU_ASSERT_EQUAL(host_write(&host, "prod", 0, 8, 1, 0), 0);
    CU_ASSERT_EQUAL(host_write(&host, "dev", 0, 8, 2, 0), 0);
    CU_ASSERT_EQUAL_FATAL(put("dev", &args, true), 0);
    look();
    CU_ASSERT_EQUAL(runs(), 0); /* not at once */
}

static void test_set(void)
{
    begin("daily@02:00");
    struct refresh_args args = {.source = "prod", .schedule = "daily"};
    CU_ASSERT_EQUAL(put("dev", &args, true), -EEXIST);
    CU_ASSERT_EQUAL(put("prod", &args, true), -EINVAL);
    CU_ASSERT_EQUAL(put("nope", &args, true), -ENOENT);
    host_create(&host, "other", 16);
    CU_ASSERT_EQUAL(put("other", &args, false), -ENOENT);
    args.source = "prod@nope";
    CU_ASSERT_EQUAL(put("other", &args, true), -ENOENT);
    args.source = NULL;
    CU_ASSERT_EQUAL(put("other", &args, true), -EINVAL);
    args.source = "prod@latest";
    args.schedule = "hourly@02:00";
    CU_ASSERT_EQUAL(put("other", &args, true), -EINVAL);
    args.schedule = "hourly";
    args.prefix = "nightly.";
    args.undo = "x/y";
    CU_ASSERT_EQUAL(put("other", &args, true), -EINVAL);
    args.undo = "before";
    CU_ASSERT_EQUAL(put("other", &args, true), 0);
    const struct refresh other = get("other");
    CU_ASSERT_STRING_EQUAL(other.source, "prod@latest");
    CU_ASSERT_STRING_EQUAL(other.prefix, "nightly.");
    CU_ASSERT_STRING_EQUAL(other.undo, "before");
    CU_ASSERT_EQUAL(other.next_s, NOON + HOUR);
    CU_ASSERT_EQUAL(get("dev").next_s, NOON + 14 * HOUR);
    /* By id: names change, and settings go with the LUN. */
    CU_ASSERT_EQUAL(lun_rename(host.pool, "other", "another", &host.why), 0);
    CU_ASSERT_EQUAL(lun_rename(host.pool, "prod", "live", &host.why), 0);
    CU_ASSERT_STRING_EQUAL(get("another").source, "live@latest");
    host_delete(&host, "another");
    CU_ASSERT_EQUAL(count_refreshes(), 1);
    const char *name = "dev";
    CU_ASSERT_EQUAL(refresh_delete(policy, &name, 1, &host.why), 0);
    CU_ASSERT_EQUAL(refresh_delete(policy, &name, 1, &host.why), -ENOENT);
    policy_host_advance(2 * HOUR);
    policy_step(policy, POLICY_SPACE); /* sweeps */
    CU_ASSERT_EQUAL(store_list(host.pool, "policy/refresh/", any_cb, NULL), 0);
    policy_host_stop();
}

static void test_due(void)
{
    begin("daily@02:00");
    look_at(NOON + 14 * HOUR - 1);
    CU_ASSERT_EQUAL(runs(), 0);
    CU_ASSERT_EQUAL(first_byte("dev"), 2);
    look_at(NOON + 14 * HOUR + 1);
    CU_ASSERT_EQUAL(runs(), 1);
    CU_ASSERT_EQUAL(first_byte("dev"), 1);
    CU_ASSERT_EQUAL(first_byte("dev@refresh-undo"), 2);
    const struct refresh refresh = get("dev");
    CU_ASSERT_EQUAL(refresh.last.result, REFRESH_DONE);
    CU_ASSERT_EQUAL(refresh.last.start_s, NOON + 14 * HOUR + 1);
    CU_ASSERT_STRING_EQUAL(refresh.last.point, "prod");
    look();
    look_at(NOON + 20 * HOUR);
    CU_ASSERT_EQUAL(runs(), 0); /* once */
    policy_host_stop();
}

/* However long the server was down, one run makes up for it. */
static void test_catch_up(void)
{
    begin("daily@02:00");
    policy_host_set_time(NOON + 5 * DAY);
    policy_host_restart(&with_folder);
    look();
    CU_ASSERT_EQUAL(runs(), 1);
    look();
    CU_ASSERT_EQUAL(runs(), 0);
    policy_host_stop();
}

/* A wrong clock makes no run for an hour, so the content of before stays in the snapshot. */
static void test_clock_to_and_fro(void)
{
    begin("daily");
    for (int i = 0; i < 50; i++)
    {
        policy_host_set_clock((i % 2 ? -1 : 1) * (100 + i / 2) * DAY);
        policy_host_advance(1);
        look();
        CU_ASSERT_EQUAL(runs(), 0);
    }
    CU_ASSERT_EQUAL(first_byte("dev"), 2);
    /* A date that stays is followed then, by one run; set back, it waits for the next day. */
    policy_host_set_clock(100 * DAY);
    look();
    CU_ASSERT_EQUAL(runs(), 0);
    policy_host_advance(HOUR + 1);
    look();
    CU_ASSERT_EQUAL(runs(), 1);
    policy_host_set_clock(-100 * DAY);
    look();
    CU_ASSERT_EQUAL(runs(), 0);
    policy_host_advance(DAY);
    look();
    CU_ASSERT_EQUAL(runs(), 1);
    policy_host_stop();
}

static void test_latest(void)
{
    const struct refresh_args args = {.source = "prod@latest", .prefix = "n."};
    begin("daily");
    CU_ASSERT_EQUAL(put("dev", &args, false), 0);
    CU_ASSERT_EQUAL(now("dev"), 0);
    CU_ASSERT_EQUAL(policy_host_events("refresh.failed", "has no snapshot that begins with n."), 1);
    CU_ASSERT_EQUAL(policy_host_events("refresh.failed", "'lunette snapshot create prod@n.NAME'"),
                    1);
    host_snapshot(&host, "prod", "n.1");
    CU_ASSERT_EQUAL(host_write(&host, "prod", 0, 8, 3, 0), 0);
    policy_host_set_clock(-DAY); /* newest is who was made last */
    host_snapshot(&host, "prod", "n.2");
    CU_ASSERT_EQUAL(host_write(&host, "prod", 0, 8, 4, 0), 0);
    host_snapshot(&host, "prod", "other");
    CU_ASSERT_EQUAL(now("dev"), 0);
    CU_ASSERT_EQUAL(first_byte("dev"), 3);
    CU_ASSERT_STRING_EQUAL(get("dev").last.point, "prod@n.2");
    /* What a source that is refreshed itself held before is not the newest of it. */
    const struct refresh_args chain = {.source = "dev@latest", .schedule = "daily"};
    host_create(&host, "test", 16);
    CU_ASSERT_EQUAL(put("test", &chain, true), 0);
    CU_ASSERT_EQUAL(now("test"), 0);
    CU_ASSERT_EQUAL(policy_host_events("refresh.failed", "has no snapshot"), 1);
    policy_host_stop();
}

static void test_in_use(void)
{
    struct lun *lun;
    const bool force = true;
    const struct refresh_args forced = {.force = &force};
    begin("daily");
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "dev", 0, &lun, &host.why), 0);
    look_at(NOON + DAY);
    CU_ASSERT_EQUAL(policy_host_events("refresh.skipped", "is open"), 1);
    CU_ASSERT_EQUAL(get("dev").last.result, REFRESH_SKIPPED);
    look();
    CU_ASSERT_EQUAL(policy_host_events("refresh.skipped", ""), 0); /* until the next day */
    CU_ASSERT_EQUAL(put("dev", &forced, false), 0);
    look_at(NOON + 2 * DAY);
    CU_ASSERT_EQUAL(runs(), 1);
    lun_close(lun);
    CU_ASSERT_EQUAL(first_byte("dev"), 1);
    /* The snapshot of before, if somebody reads it, is not taken from him. */
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "dev@refresh-undo", LUN_READ_ONLY, &lun, &host.why),
                          0);
    CU_ASSERT_EQUAL(now("dev"), 0);
    CU_ASSERT_EQUAL(policy_host_events("refresh.failed", "'dev@refresh-undo' open"), 1);
    lun_close(lun);
    CU_ASSERT_EQUAL(first_byte("dev@refresh-undo"), 2);
    policy_host_stop();
}

static void test_fails(void)
{
    const struct lun_attributes locked = {.locked_until_ns =
                                              (NOON + 9 * DAY) * UINT64_C(1000000000)};
    const struct refresh_args args = {.source = "prod", .schedule = "daily"};
    begin("daily");
    host_create(&host, "dev2", 16);
    CU_ASSERT_EQUAL(put("dev2", &args, true), 0);
    CU_ASSERT_EQUAL(lun_set_attributes(host.pool, "dev", LUN_SET_LOCKED_UNTIL, &locked, &host.why),
                    0);
    look_at(NOON + DAY);
    CU_ASSERT_EQUAL(policy_host_events("refresh.failed", "is locked"), 1);
    CU_ASSERT_EQUAL(runs(), 1); /* the other one */
    CU_ASSERT_EQUAL(first_byte("dev"), 2);
    CU_ASSERT_EQUAL(first_byte("dev2"), 1);
    /* More than the pool can promise. */
    const struct lun_attributes reserved = {.is_reserved = true};
    CU_ASSERT_EQUAL(lun_set_attributes(host.pool, "dev2", LUN_SET_RESERVED, &reserved, &host.why),
                    0);
    CU_ASSERT_EQUAL(lun_resize(host.pool, "prod", UINT64_C(1) << 40, 0, &host.why), 0);
    CU_ASSERT_EQUAL(now("dev2"), 0);
    CU_ASSERT_EQUAL(policy_host_events("refresh.failed", "lunette explain space"), 1);
    host_delete(&host, "prod");
    look_at(NOON + 2 * DAY);
    CU_ASSERT_EQUAL(policy_host_events("refresh.failed", "lunette refresh modify dev2 --from"), 1);
    CU_ASSERT_STRING_EQUAL(get("dev2").source, "");
    policy_host_stop();
}

/* Only what a refresh made is replaced; who renames that keeps it. */
static void test_undo_is_mine(void)
{
    const struct refresh_args args = {.undo = "mine"};
    begin("daily");
    host_snapshot(&host, "dev", "mine");
    CU_ASSERT_EQUAL(put("dev", &args, false), -EEXIST);
    CU_ASSERT_EQUAL(now("dev"), 0);
    CU_ASSERT_EQUAL(snapshot_rename(host.pool, "dev", "refresh-undo", "kept", &host.why), 0);
    CU_ASSERT_EQUAL(now("dev"), 0);
    CU_ASSERT_EQUAL(now("dev"), 0);
    CU_ASSERT_EQUAL(count_luns("dev@"), 3); /* mine, kept and one more */
    CU_ASSERT_EQUAL(first_byte("dev@kept"), 2);
    policy_host_stop();
}

static void test_hook(void)
{
    const struct refresh_args args = {.hook = "mask"};
    begin("daily");
    CU_ASSERT_EQUAL(put("dev", &args, false), -ENOENT);
    write_program(
        "[ \"$LUNETTE_SOURCE $LUNETTE_TARGETS\" = 'prod dev' ] || exit 9\n"
        "case $LUNETTE_URI in nbd+unix:///$LUNETTE_LUN?socket=/nowhere) ;; *) exit 8;; esac");
    CU_ASSERT_EQUAL(chmod(program, 0775), 0);
    CU_ASSERT_EQUAL(put("dev", &args, false), -EPERM);
    CU_ASSERT_EQUAL(chmod(program, 0755), 0);
    CU_ASSERT_EQUAL(chmod(folder, 0777), 0);
    CU_ASSERT_EQUAL(put("dev", &args, false), -EPERM);
    CU_ASSERT_EQUAL(chmod(folder, 0755), 0);
    CU_ASSERT_EQUAL(put("dev", &args, false), 0);
    CU_ASSERT_EQUAL(now("dev"), 0);
    CU_ASSERT_EQUAL(runs(), 1);
    CU_ASSERT_STRING_EQUAL(get("dev").last.text, "");
    CU_ASSERT_EQUAL(first_byte("dev"), 1);
    CU_ASSERT_EQUAL(count_luns("refresh-1"), 0);
    mask_byte = 9;
    CU_ASSERT_EQUAL(now("dev"), 0);
    mask_byte = 0;
    CU_ASSERT_EQUAL(first_byte("dev"), 9);
    CU_ASSERT_EQUAL(first_byte("prod"), 1);
    CU_ASSERT_EQUAL(host_write(&host, "prod", 0, 8, 5, 0), 0);
    write_program("printf 'caf\\303' >&2; exit 3");
    CU_ASSERT_EQUAL(now("dev"), 0);
    CU_ASSERT_EQUAL(policy_host_events("refresh.failed", "ended with status 3"), 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(get("dev").last.text, "status 3: caf?"));
    CU_ASSERT_EQUAL(first_byte("dev"), 9);
    CU_ASSERT_EQUAL(count_luns("refresh-1"), 0);
    CU_ASSERT_EQUAL(store_list(host.pool, "policy/masking/", any_cb, NULL), 0);
    policy_host_stop();
}

static void test_hook_hangs(void)
{
    struct policy_options options = with_folder;
    const struct refresh_args args = {.hook = "mask"};
    options.refresh_ms = 100;
    begin("daily");
    policy_host_restart(&options);
    write_program("sleep 1000");
    CU_ASSERT_EQUAL(put("dev", &args, false), 0);
    CU_ASSERT_EQUAL(now("dev"), 0);
    CU_ASSERT_EQUAL(policy_host_events("refresh.failed", "took longer than 100 ms"), 1);
    CU_ASSERT_EQUAL(first_byte("dev"), 2);
    /* The server stops: as if it had not begun, so it is due as before. */
    policy_host_set_time(NOON + DAY);
    policy_begin_stop(policy);
    look();
    CU_ASSERT_EQUAL(policy_host_events("refresh.failed", ""), 0);
    CU_ASSERT_EQUAL(now("dev"), -ECANCELED);
    write_program("exit 0");
    options.refresh_ms = 0; /* this one is to end, however slow the machine is */
    policy_host_restart(&options);
    look();
    CU_ASSERT_EQUAL(runs(), 1);
    CU_ASSERT_EQUAL(count_luns("refresh-1"), 0);
    policy_host_stop();
}

/* What somebody changes while a hook runs is not overrun by it. */
static void test_changed_meanwhile(void)
{
    const struct refresh_args args = {.hook = "mask"};
    begin("daily");
    write_program("exit 0");
    CU_ASSERT_EQUAL(put("dev", &args, false), 0);
    meanwhile = "dev";
    CU_ASSERT_EQUAL(now("dev"), 0);
    CU_ASSERT_PTR_NULL(meanwhile); /* it was deleted */
    CU_ASSERT_EQUAL(runs(), 0);
    CU_ASSERT_EQUAL(first_byte("dev"), 2);
    CU_ASSERT_EQUAL(count_refreshes(), 0);
    CU_ASSERT_EQUAL(count_luns("refresh-1"), 0);
    policy_host_stop();
}

/* The server ended in a hook: the clone goes, and nothing that only looks like one. */
static void test_leftovers(void)
{
    begin("daily");
    const struct lun_clone_args left = {
        .source = "prod",
        .name = "refresh-000000000000002a",
        .comment = "a refresh works on it, and deletes it: 000000000000002a"};
    const struct store_change changes[] = {
        {.key = "policy/masking/000000000000002a", .value = "{}", .len = 2},
        {.key = "policy/masking/000000000000002b", .value = "{}", .len = 2},
        {.key = "policy/masking/000000000000002c", .value = "{}", .len = 2}};
    CU_ASSERT_EQUAL(store_apply(host.pool, changes, 3, &host.why), 0);
    CU_ASSERT_EQUAL(lun_clone(host.pool, &left, &host.why), 0);
    host_create(&host, "refresh-000000000000002b", 16);
    policy_host_restart(&with_folder);
    look();
    CU_ASSERT_EQUAL(count_luns("refresh-000000000000002a"), 0);
    CU_ASSERT_EQUAL(count_luns("refresh-000000000000002b"), 1);
    CU_ASSERT_EQUAL(store_list(host.pool, "policy/masking/", any_cb, NULL), 0);
    policy_host_stop();
}

/*
 * The power goes at each write of a run in turn. The LUN has its old content or the new (with a
 * hook: what that left), and once the run is made up for, the snapshot has what was there before,
 * not the new content once more.
 */
static void crash_everywhere(const char *hook, uint8_t wanted)
{
    const struct refresh_args args = {.hook = hook};
    bool is_whole = false;
    for (uint64_t writes = 1; !is_whole && writes < 500; writes++)
    {
        begin("daily");
        CU_ASSERT_EQUAL(put("dev", &args, false), 0);
        policy_host_set_time(NOON + DAY);
        simdev_cut_power_at(host.disk, writes);
        policy_step(policy, POLICY_REFRESH);
        is_whole = !simdev_is_off(host.disk);
        host_crash_open(&host);
        policy_host_restart(&with_folder);
        uint8_t byte = first_byte("dev");
        CU_ASSERT(byte == wanted || byte == 2);
        look();
        CU_ASSERT_EQUAL(first_byte("dev"), wanted);
        CU_ASSERT_EQUAL(first_byte("dev@refresh-undo"), 2);
        CU_ASSERT_EQUAL(get("dev").last.result, REFRESH_DONE);
        CU_ASSERT_EQUAL(count_luns("refresh-1"), 0);
        CU_ASSERT_EQUAL(host_check(&host), 0);
        policy_host_stop();
    }
    CU_ASSERT_TRUE(is_whole);
}

static void test_crash(void)
{
    crash_everywhere("none", 1);
}

static void test_crash_hook(void)
{
    write_program("exit 0");
    mask_byte = 9;
    crash_everywhere("mask", 9);
    mask_byte = 0;
}

static CU_TestInfo refresh_tests[] = {
    {"what is set", test_set},
    {"1f: Refresh rate, when it is due", test_due},
    {"a server that was down", test_catch_up},
    {"a clock that is set to and fro", test_clock_to_and_fro},
    {"the latest snapshot", test_latest},
    {"a LUN that is open", test_in_use},
    {"failures", test_fails},
    {"the snapshot that is replaced", test_undo_is_mine},
    {"1f: Oracle dev with masking, by a hook", test_hook},
    {"a hook that hangs, a server that stops", test_hook_hangs},
    {"settings that change while a hook runs", test_changed_meanwhile},
    {"what a hook left", test_leftovers},
    {"a crash at any write", test_crash},
    {"a crash at any write, with a hook", test_crash_hook},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"refreshes", set_up, tear_down, NULL, NULL, refresh_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
