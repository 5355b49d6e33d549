/* SPDX-License-Identifier: BSD-3-Clause */
/* Snapshots on schedule: when they are made, which are kept, and with applications that hold still.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "lun/base/checked.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/policy_host.h"

enum
{
    HOUR = 3600,
    DAY = 24 * HOUR,
    NOON = 1795780800, /* 2026-11-27 12:00:00 UTC, a Friday */
};

static char folder[] = "/tmp/lunette-quiesce-XXXXXX";
static char program[64], output[64];

static int set_up(void)
{
    setenv("TZ", "UTC0", 1);
    tzset();
    if (!mkdtemp(folder))
        return 1;
    snprintf(program, sizeof(program), "%s/app", folder);
    snprintf(output, sizeof(output), "%s/output", folder);
    return 0;
}

static int tear_down(void)
{
    unlink(program);
    unlink(output);
    return rmdir(folder) < 0;
}

static void make_policy(const char *name, const char *schedule,
                        const struct policy_quiesce *quiesce)
{
    struct snapshot_policy snapshots = {0};
    snprintf(snapshots.name, sizeof(snapshots.name), "%s", name);
    if (quiesce)
        snapshots.quiesce = *quiesce;
    CU_ASSERT_EQUAL_FATAL(snapshot_policy_parse(schedule, &snapshots, &host.why), 0);
    CU_ASSERT_EQUAL_FATAL(snapshot_policy_put(policy, &snapshots, true, &host.why), 0);
}

static int assign(enum policy_scope scope, uint64_t id, const char *name)
{
    struct policy_settings settings = {0};
    snprintf(settings.snapshot_policy, sizeof(settings.snapshot_policy), "%s", name);
    return policy_set(policy, scope, id, POLICY_SET_SNAPSHOT_POLICY, &settings, &host.why);
}

static void look(void)
{
    policy_host_forget();
    policy_step(policy, POLICY_SCHEDULE);
}

static void look_at(uint64_t seconds)
{
    policy_host_set_time(seconds);
    look();
}

static size_t count(const char *volume, const char *part)
{
    AUTO_FREE struct volume_snapshot_info *list = NULL;
    size_t n = 0, found = 0;
    CU_ASSERT_EQUAL(volume_snapshot_list(host.pool, volume, &list, &n, &host.why), 0);
    for (size_t i = 0; i < n; i++)
        found += strstr(list[i].name, part) != NULL;
    return found;
}

static bool has(const char *volume, const char *name)
{
    return count(volume, name) == 1;
}

/* A volume "db" with a LUN and a policy, at NOON. */
static uint64_t begin(const char *schedule)
{
    policy_host_start(NULL);
    policy_host_set_time(NOON + 100);
    uint64_t id = policy_host_volume("db", 0);
    host_create(&host, "db/data", 64);
    make_policy("p", schedule, NULL);
    CU_ASSERT_EQUAL(assign(POLICY_OF_VOLUME, id, "p"), 0);
    look();
    return id;
}

static void test_parse(void)
{
    struct snapshot_policy snapshots;
    static const char *const bad[] = {"",
                                      "hourly",
                                      "hourly:",
                                      "hourly:0",
                                      "yearly:3",
                                      "hourly:3,",
                                      ",hourly:3",
                                      "hourly:3;daily:2",
                                      "hourly:x",
                                      "hourly:3,hourly:4",
                                      "hourly:99999",
                                      "hourly:-1",
                                      ("1min:1,2min:1,3min:1,4min:1,5min:1,6min:1,10min:1,"
                                       "12min:1,15min:1")};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CU_ASSERT_EQUAL(snapshot_policy_parse(bad[i], &snapshots, NULL), -EINVAL);
    CU_ASSERT_EQUAL(snapshot_policy_parse("hourly:24,daily:7", &snapshots, NULL), 0);
    CU_ASSERT_EQUAL(snapshots.schedule_count, 2);
    CU_ASSERT_STRING_EQUAL(snapshots.schedules[1].kind, "daily");
    CU_ASSERT_EQUAL(snapshots.schedules[0].keep, 24);
}

static void test_boundaries(void)
{
    begin("hourly:3,daily:2");
    CU_ASSERT_EQUAL(count("db", "@"), 0); /* not at once */
    look_at(NOON + HOUR - 1);
    CU_ASSERT_EQUAL(count("db", "@"), 0);
    look_at(NOON + HOUR + 2);
    CU_ASSERT_TRUE(has("db", "db@hourly.2026-11-27_1300"));
    look();
    look_at(NOON + HOUR + 1000);
    CU_ASSERT_EQUAL(count("db", "@"), 1); /* once */
    look_at(NOON + 12 * HOUR + 5);
    CU_ASSERT_TRUE(has("db", "db@daily.2026-11-28_0000"));
    CU_ASSERT_TRUE(has("db", "db@hourly.2026-11-28_0000"));
    struct lun_info info;
    CU_ASSERT_EQUAL(lun_get_info(host.pool, "db/data@daily.2026-11-28_0000", &info, NULL), 0);
    policy_host_stop();
}

/* However long the server was down, one of each kind is made up for. */
static void test_catch_up(void)
{
    begin("hourly:24,daily:7,weekly:4");
    look_at(NOON + HOUR);
    policy_host_restart(NULL);
    look_at(NOON + 3 * DAY + 1234);
    CU_ASSERT_EQUAL(count("db", "hourly"), 2);
    CU_ASSERT_EQUAL(count("db", "daily"), 1);
    CU_ASSERT_EQUAL(count("db", "weekly"), 1);
    CU_ASSERT_TRUE(has("db", "db@daily.2026-11-30_1220")); /* when it was really made */
    policy_host_stop();
}

static void test_clock_set(void)
{
    begin("hourly:24");
    look_at(NOON + 1000 * DAY); /* a wrong clock */
    CU_ASSERT_EQUAL(count("db", "hourly"), 1);
    look_at(NOON + HOUR + 1);
    look_at(NOON + 2 * HOUR + 1);
    CU_ASSERT_TRUE(has("db", "db@hourly.2026-11-27_1400"));
    policy_host_stop();
}

/* Each snapshot that is made then is the newest, and stays while older ones go. */
static void test_clock_set_back(void)
{
    begin("hourly:3");
    for (int i = 1; i <= 3; i++)
        look_at(NOON + (uint64_t)i * HOUR);
    policy_host_set_clock(-1000 * DAY);
    look();
    for (int i = 1; i <= 2; i++)
    {
        policy_host_advance(HOUR);
        look();
        CU_ASSERT_EQUAL(count("db", "hourly.2024"), (size_t)i);
        CU_ASSERT_EQUAL(count("db", "hourly"), 3);
    }
    CU_ASSERT_TRUE(has("db", "hourly.2026-11-27_1500"));
    CU_ASSERT_FALSE(has("db", "hourly.2026-11-27_1300"));
    policy_host_stop();
}

/* However often it is set, there are as many as are to be kept. */
static void test_clock_to_and_fro(void)
{
    begin("5min:4,daily:2");
    for (int i = 0; i < 200; i++)
    {
        policy_host_set_clock((i % 2 ? -1 : 1) * (100 + i) * DAY);
        policy_host_advance(1);
        look();
        look();
        CU_ASSERT(count("db", "5min") <= 4 && count("db", "daily") <= 2);
    }
    CU_ASSERT_EQUAL(host_check(&host), 0);
    policy_host_stop();
}

static void test_retention(void)
{
    begin("hourly:3");
    const struct volume_snapshot_args mine = {.name = "hourly.mine"};
    const char *volume = "db";
    CU_ASSERT_EQUAL(volume_snapshot_create(host.pool, &volume, 1, &mine, &host.why), 0);
    for (int i = 1; i <= 6; i++)
        look_at(NOON + (uint64_t)i * HOUR);
    CU_ASSERT_EQUAL(count("db", "hourly.2026"), 3);
    CU_ASSERT_TRUE(has("db", "_1800") && has("db", "_1700") && has("db", "_1600"));
    CU_ASSERT_TRUE(has("db", "hourly.mine")); /* not its own */
    CU_ASSERT_EQUAL(policy_host_events("snapshot.schedule.deleted", "snapshot policy p"), 1);
    /* To keep one, rename it. */
    CU_ASSERT_EQUAL(
        volume_snapshot_rename(host.pool, "db", "hourly.2026-11-27_1600", "kept", &host.why), 0);
    for (int i = 7; i <= 12; i++)
        look_at(NOON + (uint64_t)i * HOUR);
    CU_ASSERT_EQUAL(count("db", "hourly.2026"), 3);
    CU_ASSERT_TRUE(has("db", "db@kept"));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    policy_host_stop();
}

/* Locked, busy, open: each stays, is reported once, and no other stays longer or shorter for it. */
static void test_stuck(void)
{
    begin("hourly:2");
    look_at(NOON + 1 * HOUR);
    look_at(NOON + 2 * HOUR);
    CU_ASSERT_EQUAL(volume_snapshot_lock(host.pool, "db", "hourly.2026-11-27_1300",
                                         (NOON + 10 * HOUR) * UINT64_C(1000000000), &host.why),
                    0);
    const struct volume_clone_args clone = {
        .volume = "db", .snapshot = "hourly.2026-11-27_1400", .name = "test"};
    CU_ASSERT_EQUAL(volume_clone(host.pool, &clone, &host.why), 0);
    look_at(NOON + 3 * HOUR);
    CU_ASSERT_EQUAL(policy_host_events("snapshot.schedule.kept", "locked"), 1);
    struct lun *lun;
    CU_ASSERT_EQUAL_FATAL(
        lun_open(host.pool, "db/data@hourly.2026-11-27_1500", LUN_READ_ONLY, &lun, &host.why), 0);
    look_at(NOON + 4 * HOUR);
    CU_ASSERT_EQUAL(policy_host_events("snapshot.schedule.kept", "is busy"), 1);
    look_at(NOON + 5 * HOUR);
    CU_ASSERT_EQUAL(policy_host_events("snapshot.schedule.kept", "open by"), 1);
    CU_ASSERT_EQUAL(policy_host_events("snapshot.schedule.kept", ""), 1);
    look_at(NOON + 6 * HOUR);
    CU_ASSERT_EQUAL(policy_host_events("snapshot.schedule.kept", ""), 0);
    CU_ASSERT_EQUAL(count("db", "hourly"), 5); /* three that are stuck, the newest two */
    CU_ASSERT_TRUE(has("db", "_1700") && has("db", "_1800"));
    lun_close(lun);
    look_at(NOON + 11 * HOUR); /* the lock is over */
    CU_ASSERT_EQUAL(count("db", "hourly"), 3);
    CU_ASSERT_TRUE(has("db", "_1400"));
    policy_host_stop();
}

static void test_fails_and_again(void)
{
    begin("hourly:2");
    /* A LUN's own snapshots have the names that the volume's member would get. */
    static const char *const names[] = {"", ".2", ".3", ".4", ".5", ".6", ".7", ".8", ".9"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    {
        char name[64];
        snprintf(name, sizeof(name), "hourly.2026-11-27_1300%s", names[i]);
        host_snapshot(&host, "db/data", name);
    }
    look_at(NOON + HOUR);
    CU_ASSERT_EQUAL(policy_host_events("snapshot.schedule.failed", "is tried again"), 1);
    look_at(NOON + HOUR + 30);
    CU_ASSERT_EQUAL(policy_host_events("snapshot.schedule.failed", ""), 0);
    look_at(NOON + HOUR + 60);
    CU_ASSERT_TRUE(has("db", "db@hourly.2026-11-27_1301"));
    policy_host_stop();
}

/* The server ended between the snapshot and the note that it was made. */
static void test_made_already(void)
{
    uint64_t id = begin("hourly:5");
    char key[64];
    void *value = NULL;
    size_t len;
    snprintf(key, sizeof(key), "policy/last/volume/%016llx", (unsigned long long)id);
    CU_ASSERT_EQUAL_FATAL(store_get(host.pool, key, &value, &len), 0);
    look_at(NOON + HOUR);
    const struct store_change before = {.key = key, .value = value, .len = len};
    CU_ASSERT_EQUAL(store_apply(host.pool, &before, 1, &host.why), 0);
    look_at(NOON + HOUR + 1);
    CU_ASSERT_EQUAL(count("db", "hourly"), 1);
    free(value);
    policy_host_stop();
}

static void test_lun(void)
{
    policy_host_start(NULL);
    policy_host_set_time(NOON);
    host_create(&host, "one", 16);
    make_policy("p", "hourly:2", NULL);
    CU_ASSERT_EQUAL(assign(POLICY_OF_LUN, host_info(&host, "one").id, "p"), 0);
    for (int i = 0; i <= 5; i++)
        look_at(NOON + (uint64_t)i * HOUR);
    CU_ASSERT_EQUAL(host_info(&host, "one").snapshot_count, 2);
    CU_ASSERT_EQUAL(host_info(&host, "one@hourly.2026-11-27_1700").kind, OBJECT_SNAPSHOT);
    CU_ASSERT_EQUAL(lun_rename(host.pool, "one", "two", &host.why), 0);
    look_at(NOON + 6 * HOUR);
    CU_ASSERT_EQUAL(host_info(&host, "two@hourly.2026-11-27_1800").kind, OBJECT_SNAPSHOT);
    policy_host_stop();
}

static void test_assignment(void)
{
    uint64_t id = begin("hourly:2");
    CU_ASSERT_EQUAL(assign(POLICY_OF_VOLUME, id, "nope"), -ENOENT);
    CU_ASSERT_EQUAL(snapshot_policy_delete(policy, "p", &host.why), -EBUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "'db'"));
    CU_ASSERT_EQUAL(assign(POLICY_OF_VOLUME, id, ""), 0);
    look_at(NOON + 5 * HOUR);
    CU_ASSERT_EQUAL(count("db", "@"), 0);
    CU_ASSERT_EQUAL(assign(POLICY_OF_VOLUME, id, "p"), 0);
    look(); /* what was missed before it was set is not made up for */
    CU_ASSERT_EQUAL(count("db", "@"), 0);
    CU_ASSERT_EQUAL(volume_delete(host.pool, "db", true, 0, &host.why), 0);
    CU_ASSERT_EQUAL(snapshot_policy_delete(policy, "p", &host.why), 0);
    CU_ASSERT_EQUAL(snapshot_policy_delete(policy, "p", &host.why), -ENOENT);
    struct snapshot_policy bad = {.name = "x/y"};
    CU_ASSERT_EQUAL(snapshot_policy_put(policy, &bad, true, &host.why), -EINVAL);
    snprintf(bad.name, sizeof(bad.name), "good");
    CU_ASSERT_EQUAL(snapshot_policy_put(policy, &bad, true, &host.why), -EINVAL); /* no schedule */
    policy_host_stop();
}

static void test_names(void)
{
    CU_ASSERT_TRUE(snapshot_policy_made("hourly.2026-11-27_1300"));
    CU_ASSERT_TRUE(snapshot_policy_made("app-15min.2026-11-27_1300.2"));
    CU_ASSERT_FALSE(snapshot_policy_made("kept"));
    CU_ASSERT_FALSE(snapshot_policy_made("before.2026-11-27_1300"));
    CU_ASSERT_FALSE(snapshot_policy_made("hourly.mine"));
}

/* ---- quiesce ------------------------------------------------------------------------------- */

static const struct policy_options with_folder = {.quiesce_folder = folder};

static void write_program(const char *body)
{
    unlink(program);
    unlink(output);
    FILE *file = fopen(program, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fprintf(file, "#!/bin/sh\nout=%s\n%s\n", output, body);
    fchmod(fileno(file), 0755);
    fclose(file);
}

static const char *read_output(void)
{
    static char text[4096];
    FILE *file = fopen(output, "r");
    size_t len = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
    text[len] = '\0';
    if (file)
        fclose(file);
    return text;
}

static int snapshot_with(const struct policy_quiesce *quiesce, const char *name)
{
    const char *objects[] = {"db", "logs"};
    const struct policy_snapshot_args args = {
        .objects = objects, .count = 2, .name = name, .comment = "mine", .quiesce = quiesce};
    policy_host_forget();
    return policy_snapshot(policy, &args, &host.why);
}

static const char *comment_of(const char *full)
{
    static struct volume_snapshot_info found;
    AUTO_FREE struct volume_snapshot_info *list = NULL;
    size_t n = 0;
    found.comment[0] = '\0';
    CU_ASSERT_EQUAL(volume_snapshot_list(host.pool, NULL, &list, &n, &host.why), 0);
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, full) == 0)
            found = list[i];
    return found.comment;
}

static int any_cb(void *opaque, const char *key, const void *value, size_t len)
{
    (void)opaque, (void)key, (void)value, (void)len;
    return 1;
}

static void begin_quiesce(void)
{
    policy_host_start(&with_folder);
    policy_host_volume("db", 0);
    policy_host_volume("logs", 0);
    host_create(&host, "db/data", 16);
}

static void test_quiesce(void)
{
    const struct policy_quiesce quiesce = {.program = "app", .is_required = true};
    begin_quiesce();
    write_program("echo \"$1 $LUNETTE_SNAPSHOT of $LUNETTE_OBJECTS\" >>$out");
    CU_ASSERT_EQUAL(snapshot_with(&quiesce, "clean"), 0);
    CU_ASSERT_STRING_EQUAL(read_output(), "freeze clean of db logs\nthaw clean of db logs\n");
    CU_ASSERT_STRING_EQUAL(comment_of("db@clean"), "[application-consistent] mine");
    CU_ASSERT_STRING_EQUAL(comment_of("logs@clean"), "[application-consistent] mine");
    CU_ASSERT_EQUAL(snapshot_with(&quiesce, "clean"), -EEXIST); /* thawed all the same */
    CU_ASSERT_STRING_EQUAL(read_output(), "freeze clean of db logs\nthaw clean of db logs\n"
                                          "freeze clean of db logs\nthaw clean of db logs\n");
    CU_ASSERT_EQUAL(store_list(host.pool, "policy/frozen/", any_cb, NULL), 0);
    policy_host_stop();
}

static void test_freeze_fails(void)
{
    struct policy_quiesce quiesce = {.program = "app", .is_required = true};
    begin_quiesce();
    write_program("echo $1 >>$out; [ $1 = thaw ] || { echo busy >&2; exit 1; }");
    CU_ASSERT_EQUAL(snapshot_with(&quiesce, "one"), -EIO);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "ended with status 1: busy"));
    CU_ASSERT_STRING_EQUAL(comment_of("db@one"), "");
    CU_ASSERT_STRING_EQUAL(read_output(), "freeze\nthaw\n");
    quiesce.is_required = false;
    CU_ASSERT_EQUAL(snapshot_with(&quiesce, "one"), 0);
    CU_ASSERT_STRING_EQUAL(comment_of("db@one"), "[crash-consistent] mine");
    CU_ASSERT_EQUAL(policy_host_events("snapshot.freeze.failed", "busy"), 1);
    /* It hangs. */
    quiesce = (struct policy_quiesce){.program = "app", .timeout_ms = 200, .is_required = true};
    write_program("[ $1 = thaw ] && echo thaw >>$out && exit 0; sleep 1000");
    CU_ASSERT_EQUAL(snapshot_with(&quiesce, "two"), -ETIMEDOUT);
    CU_ASSERT_STRING_EQUAL(comment_of("db@two"), "");
    policy_host_forget(); /* the thaw has as little time, and may take longer */
    quiesce.timeout_ms = 0;
    write_program("[ $1 = freeze ]");
    CU_ASSERT_EQUAL(snapshot_with(&quiesce, "three"), 0);
    CU_ASSERT_EQUAL(policy_host_events("snapshot.thaw.failed", "may still be"), 1);
    policy_host_stop();
}

static void test_program_names(void)
{
    begin_quiesce();
    write_program("exit 0");
    static const char *const bad[] = {"../app", "/bin/true", ".", "..", "", ".hidden"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    {
        struct policy_quiesce quiesce = {0};
        snprintf(quiesce.program, sizeof(quiesce.program), "%s", bad[i]);
        CU_ASSERT_EQUAL(snapshot_with(&quiesce, "one"), -EINVAL);
    }
    CU_ASSERT_EQUAL(snapshot_with(&(struct policy_quiesce){.program = "none-such"}, "one"),
                    -ENOENT);
    policy_host_restart(NULL); /* a host without a folder */
    CU_ASSERT_EQUAL(snapshot_with(&(struct policy_quiesce){.program = "app"}, "one"), -ENOENT);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "[quiesce]"));
    policy_host_stop();
}

/* A server that ended while all was frozen: the next one thaws. */
static void test_thaw_after_crash(void)
{
    begin_quiesce();
    write_program("echo \"$1 $LUNETTE_OBJECTS\" >>$out");
    const char *note =
        "{\"program\":\"app\",\"snapshot\":\"s\",\"objects\":\"db\",\"timeout_ms\":0}";
    const struct store_change change = {
        .key = "policy/frozen/0000000000000001", .value = note, .len = strlen(note)};
    CU_ASSERT_EQUAL(store_apply(host.pool, &change, 1, &host.why), 0);
    host_crash_open(&host);
    policy_host_restart(&with_folder);
    look();
    CU_ASSERT_STRING_EQUAL(read_output(), "thaw db\n");
    CU_ASSERT_EQUAL(policy_host_events("snapshot.thaw", "it is thawed now"), 1);
    look();
    CU_ASSERT_STRING_EQUAL(read_output(), "thaw db\n");
    /* Nor does a pool from elsewhere call what it likes. */
    note = "{\"program\":\"../../bin/sh\",\"objects\":\"db\"}";
    const struct store_change evil = {
        .key = "policy/frozen/0000000000000002", .value = note, .len = strlen(note)};
    CU_ASSERT_EQUAL(store_apply(host.pool, &evil, 1, &host.why), 0);
    policy_host_restart(&with_folder);
    look();
    CU_ASSERT_EQUAL(policy_host_events("snapshot.thaw.failed", "is no program"), 1);
    CU_ASSERT_EQUAL(store_list(host.pool, "policy/frozen/", any_cb, NULL), 0);
    policy_host_stop();
}

/* What is due at one moment is made within one freeze. */
static void test_scheduled_quiesce(void)
{
    struct policy_quiesce quiesce = {.program = "app"};
    policy_host_start(&with_folder);
    policy_host_set_time(NOON);
    write_program("echo $1 >>$out");
    uint64_t id = policy_host_volume("db", 0);
    make_policy("p", "hourly:2,daily:2", &quiesce);
    CU_ASSERT_EQUAL(assign(POLICY_OF_VOLUME, id, "p"), 0);
    look();
    CU_ASSERT_STRING_EQUAL(read_output(), "");
    look_at(NOON + 12 * HOUR);
    CU_ASSERT_STRING_EQUAL(read_output(), "freeze\nthaw\n");
    CU_ASSERT_STRING_EQUAL(comment_of("db@daily.2026-11-28_0000"), "[application-consistent]");
    CU_ASSERT_STRING_EQUAL(comment_of("db@hourly.2026-11-28_0000"), "[application-consistent]");
    write_program("[ $1 = thaw ]");
    look_at(NOON + 13 * HOUR);
    CU_ASSERT_STRING_EQUAL(comment_of("db@hourly.2026-11-28_0100"), "[crash-consistent]");
    struct snapshot_policy snapshots;
    CU_ASSERT_EQUAL(snapshot_policy_get(policy, "p", &snapshots, &host.why), 0);
    snapshots.quiesce.is_required = true;
    CU_ASSERT_EQUAL(snapshot_policy_put(policy, &snapshots, false, &host.why), 0);
    look_at(NOON + 14 * HOUR);
    CU_ASSERT_EQUAL(count("db", "_0200"), 0);
    CU_ASSERT_EQUAL(policy_host_events("snapshot.schedule.failed", "ended with status 1"), 1);
    write_program("exit 0");
    look_at(NOON + 14 * HOUR + 60);
    CU_ASSERT_EQUAL(count("db", "_0201"), 1);
    policy_host_stop();
}

static CU_TestInfo schedule_tests[] = {
    {"what schedules are", test_parse},
    {"one at each boundary, of all LUNs", test_boundaries},
    {"what was missed is made up for once", test_catch_up},
    {"a clock that was wrong", test_clock_set},
    {"the clock is set back", test_clock_set_back},
    {"the clock is set to and fro", test_clock_to_and_fro},
    {"the newest are kept", test_retention},
    {"locked, busy and open ones stay and block nobody", test_stuck},
    {"one that fails is tried again, and reported once", test_fails_and_again},
    {"the server ended before it noted one", test_made_already},
    {"of a single LUN", test_lun},
    {"setting, taking off, deleting", test_assignment},
    {"names that a schedule makes", test_names},
    {"a program freezes and thaws", test_quiesce},
    {"a program that fails, hangs, does not thaw", test_freeze_fails},
    {"only programs of the folder", test_program_names},
    {"a server that ended while all was frozen", test_thaw_after_crash},
    {"schedules with a program", test_scheduled_quiesce},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"policy schedules", set_up, tear_down, NULL, NULL, schedule_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
