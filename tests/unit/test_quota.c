/* SPDX-License-Identifier: BSD-3-Clause */
/* Quotas: which rule binds, what is refused and what is let through, events, what is forgotten. */
#include "lun/volume/quota.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

#define MIB (UINT64_C(1) << 20)

static struct engine_host host;

static void start(void)
{
    host_start(&host, NULL);
    CU_ASSERT_EQUAL(volume_create(host.pool, "v", &(struct volume_attributes){0}, &host.why), 0);
    CU_ASSERT_EQUAL(qtree_create(host.pool, "v/q", NULL, &host.why), 0);
    CU_ASSERT_EQUAL(quota_set_enabled(host.pool, "v", true, &host.why), 0);
}

static void stop(void)
{
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

static int rule_set(enum quota_type type, const char *target, const char *qtree, uint64_t hard,
                    uint64_t soft)
{
    struct quota_rule rule = {.type = type,
                              .volume = "v",
                              .hard_bytes = hard,
                              .soft_bytes = soft,
                              .threshold_bytes = UINT64_MAX};
    snprintf(rule.target, sizeof(rule.target), "%s", target);
    snprintf(rule.qtree, sizeof(rule.qtree), "%s", qtree);
    return quota_rule_set(host.pool, &rule, &host.why);
}

static int create(const char *name, uint64_t size, const char *owner, const char *group)
{
    struct lun_create_args args = {
        .name = name, .size_bytes = size, .attributes = {.owner = owner, .group = group}};
    return lun_create(host.pool, &args, &host.why);
}

static int make_clone(const char *source, const char *name, uint32_t count)
{
    struct lun_clone_args args = {.source = source, .name = name, .count = count};
    return lun_clone(host.pool, &args, &host.why);
}

/* How many events of that name there are. */
static unsigned events(const char *name)
{
    struct event *list = NULL;
    size_t count = 0;
    unsigned n = 0;
    CU_ASSERT_EQUAL_FATAL(event_list(host.pool, 0, &list, &count), 0);
    for (size_t i = 0; i < count; i++)
        n += strcmp(list[i].name, name) == 0;
    free(list);
    return n;
}

static void test_tree(void)
{
    start();
    CU_ASSERT_EQUAL(rule_set(QUOTA_TREE, "q", "", 10 * MIB, 6 * MIB), 0);
    CU_ASSERT_EQUAL(create("v/q/a", 4 * MIB, "eve", ""), 0);
    CU_ASSERT_EQUAL(events("quota.softlimit.exceeded"), 0);
    CU_ASSERT_EQUAL(make_clone("v/q/a", "v/q/b", 0), 0);
    CU_ASSERT_EQUAL(events("quota.softlimit.exceeded"), 1);
    CU_ASSERT_EQUAL(make_clone("v/q/a", "v/q/c", 0), -EDQUOT);
    CU_ASSERT_EQUAL(events("quota.tree.exceeded"), 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "is 10 MiB"));
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "8 MiB are used"));
    CU_ASSERT_EQUAL(make_clone("v/q/a", "v/q/n%d", 3), -EDQUOT);
    CU_ASSERT_EQUAL(make_clone("v/q/a", "v/out%d", 3), 0); /* beside the qtree */
    CU_ASSERT_EQUAL(create("v/q/c", 2 * MIB + 512, NULL, NULL), -EDQUOT);
    CU_ASSERT_EQUAL(lun_resize(host.pool, "v/q/b", 6 * MIB + 512, 0, &host.why), -EDQUOT);
    CU_ASSERT_EQUAL(lun_resize(host.pool, "v/q/b", 6 * MIB, 0, &host.why), 0); /* all of it */
    CU_ASSERT_EQUAL(lun_rename(host.pool, "v/out0", "v/q/out0", &host.why), -EDQUOT);
    CU_ASSERT_EQUAL(lun_rename(host.pool, "v/q/b", "v/q/bb", &host.why), 0); /* adds nothing */
    host_delete(&host, "v/q/bb");
    CU_ASSERT_EQUAL(events("quota.softlimit.normal"), 1);
    CU_ASSERT_EQUAL(lun_rename(host.pool, "v/out0", "v/q/out0", &host.why), 0);
    stop();
}

/* The third limit refuses nothing: it tells, of each target, whenever it is passed upwards. */
static void test_threshold(void)
{
    struct quota_rule rule = {.type = QUOTA_TREE,
                              .volume = "v",
                              .target = "q",
                              .hard_bytes = 10 * MIB,
                              .soft_bytes = 8 * MIB,
                              .threshold_bytes = 6 * MIB};
    start();
    CU_ASSERT_EQUAL(quota_rule_set(host.pool, &rule, &host.why), 0);
    CU_ASSERT_EQUAL(create("v/q/a", 6 * MIB, NULL, NULL), 0);
    CU_ASSERT_EQUAL(events("quota.threshold.exceeded"), 0); /* all of it, and no more */
    CU_ASSERT_EQUAL(make_clone("v/q/a", "v/out", 0), 0);    /* beside it */
    command_dry_run(true);
    CU_ASSERT_EQUAL(lun_resize(host.pool, "v/q/a", 7 * MIB, 0, &host.why), 0);
    command_dry_run(false);
    CU_ASSERT_EQUAL(events("quota.threshold.exceeded"), 0);
    CU_ASSERT_EQUAL(lun_resize(host.pool, "v/q/a", 7 * MIB, 0, &host.why), 0);
    CU_ASSERT_EQUAL(events("quota.threshold.exceeded"), 1);
    CU_ASSERT_TRUE(host_has_event(&host, "quota.threshold.exceeded", "v/q"));
    CU_ASSERT_EQUAL(events("quota.softlimit.exceeded"), 0);
    CU_ASSERT_EQUAL(create("v/q/b", 512, NULL, NULL), 0); /* above already */
    CU_ASSERT_EQUAL(events("quota.threshold.exceeded"), 1);
    CU_ASSERT_EQUAL(lun_resize(host.pool, "v/q/a", 5 * MIB, LUN_FORCE, &host.why), 0);
    CU_ASSERT_EQUAL(events("quota.threshold.exceeded"), 1); /* there is no event of the way back */
    CU_ASSERT_EQUAL(lun_resize(host.pool, "v/q/a", 9 * MIB, 0, &host.why), 0);
    CU_ASSERT_EQUAL(events("quota.threshold.exceeded"), 2);
    CU_ASSERT_EQUAL(events("quota.softlimit.exceeded"), 1);
    rule = (struct quota_rule){.type = QUOTA_USER,
                               .volume = "v",
                               .target = "*",
                               .hard_bytes = UINT64_MAX,
                               .soft_bytes = UINT64_MAX,
                               .threshold_bytes = MIB};
    CU_ASSERT_EQUAL(quota_rule_set(host.pool, &rule, &host.why), 0);
    CU_ASSERT_EQUAL(create("v/ann", 2 * MIB, "ann", NULL), 0);
    CU_ASSERT_EQUAL(create("v/bob", 2 * MIB, "bob", NULL), 0);
    CU_ASSERT_EQUAL(events("quota.threshold.exceeded"), 4); /* a default rule counts for each */
    stop();
}

/* Deltas of one command are summed: a move within a volume adds nothing to the volume's tree. */
static void test_sums(void)
{
    start();
    CU_ASSERT_EQUAL(rule_set(QUOTA_TREE, "", "", 8 * MIB, UINT64_MAX), 0);
    CU_ASSERT_EQUAL(create("v/a", 4 * MIB, "", ""), 0);
    CU_ASSERT_EQUAL(create("v/b", 4 * MIB, "", ""), 0);
    CU_ASSERT_EQUAL(lun_rename(host.pool, "v/a", "v/q/a", &host.why), 0);
    const struct lun_pair pairs[] = {{"v/b", "v/b2"}, {"v/q/a", "v/q/a2"}};
    const struct lun_clone_args common = {0};
    CU_ASSERT_EQUAL(lun_clone_group(host.pool, pairs, 2, &common, &host.why), -EDQUOT);
    host_delete(&host, "v/b");
    CU_ASSERT_EQUAL(make_clone("v/q/a", "v/x", 0), 0);
    CU_ASSERT_EQUAL(make_clone("v/q/a", "outside", 0), 0); /* outside volumes */
    CU_ASSERT_EQUAL(lun_rename(host.pool, "outside", "v/outside", &host.why), -EDQUOT);
    stop();
}

static void test_users(void)
{
    start();
    CU_ASSERT_EQUAL(rule_set(QUOTA_USER, "eve", "", 5 * MIB, UINT64_MAX), 0);
    CU_ASSERT_EQUAL(rule_set(QUOTA_USER, "*", "", 3 * MIB, UINT64_MAX), 0);
    CU_ASSERT_EQUAL(rule_set(QUOTA_GROUP, "dev", "q", 4 * MIB, UINT64_MAX), 0);
    CU_ASSERT_EQUAL(create("v/a", 4 * MIB, "bob", ""), -EDQUOT); /* the default */
    CU_ASSERT_EQUAL(create("v/a", 4 * MIB, "eve", "dev"), 0);
    CU_ASSERT_EQUAL(create("v/r", 40 * MIB, "root", "dev"), 0); /* is only counted */
    CU_ASSERT_EQUAL(make_clone("v/a", "v/b", 0), 0);            /* lets a clone through */
    CU_ASSERT_EQUAL(events("quota.user.overallocated"), 2);     /* root's default, too */
    CU_ASSERT_EQUAL(lun_resize(host.pool, "v/b", 4 * MIB + 512, 0, &host.why), -EDQUOT);
    CU_ASSERT_EQUAL(lun_resize(host.pool, "v/b", 2 * MIB, LUN_FORCE, &host.why), 0);
    CU_ASSERT_EQUAL(create("v/q/g", 4 * MIB + 512, "", "dev"), -EDQUOT);
    CU_ASSERT_EQUAL(create("v/q/g", 4 * MIB, "", "dev"), 0);
    struct lun_attributes attributes = {.owner = "bob"};
    CU_ASSERT_EQUAL(lun_set_attributes(host.pool, "v/a", LUN_SET_OWNER, &attributes, &host.why),
                    -EDQUOT);
    CU_ASSERT_EQUAL(lun_set_attributes(host.pool, "v/b", LUN_SET_OWNER, &attributes, &host.why), 0);
    CU_ASSERT_STRING_EQUAL(host_info(&host, "v/b").owner, "bob");
    stop();
}

static void test_report(void)
{
    struct quota_usage *list = NULL;
    size_t count = 0;
    start();
    CU_ASSERT_EQUAL(rule_set(QUOTA_TREE, "*", "", 10 * MIB, UINT64_MAX), 0);
    CU_ASSERT_EQUAL(rule_set(QUOTA_USER, "*", "", 3 * MIB, UINT64_MAX), 0);
    CU_ASSERT_EQUAL(rule_set(QUOTA_USER, "ann", "", 9 * MIB, UINT64_MAX), 0);
    CU_ASSERT_EQUAL(create("v/q/a", 2 * MIB, "eve", ""), 0);
    CU_ASSERT_EQUAL(create("v/b", 1 * MIB, "eve", ""), 0);
    CU_ASSERT_EQUAL_FATAL(quota_report(host.pool, NULL, &list, &count, &host.why), 0);
    CU_ASSERT_EQUAL_FATAL(count, 3); /* tree q and eve by defaults; ann, who has nothing */
    CU_ASSERT_STRING_EQUAL(list[0].rule.target, "q");
    CU_ASSERT_TRUE(list[0].is_default);
    CU_ASSERT_EQUAL(list[0].used_bytes, 2 * MIB);
    CU_ASSERT_STRING_EQUAL(list[1].rule.target, "ann");
    CU_ASSERT_EQUAL(list[1].used_bytes, 0);
    CU_ASSERT_STRING_EQUAL(list[2].rule.target, "eve");
    CU_ASSERT_EQUAL(list[2].used_bytes, 3 * MIB);
    CU_ASSERT_EQUAL(list[2].lun_count, 2);
    free(list);
    CU_ASSERT_EQUAL_FATAL(quota_report(host.pool, "v/b", &list, &count, &host.why), 0);
    CU_ASSERT_EQUAL(count, 1);
    free(list);
    CU_ASSERT_EQUAL(quota_report(host.pool, "v/none", &list, &count, &host.why), -ENOENT);
    stop();
}

/* Rules are found after a crash and a rename, and go with what they are for. */
static void test_stored(void)
{
    struct quota_rule *rules = NULL;
    size_t count = 0;
    start();
    CU_ASSERT_EQUAL(rule_set(QUOTA_TREE, "q", "", 2 * MIB, UINT64_MAX), 0);
    CU_ASSERT_EQUAL(rule_set(QUOTA_USER, "eve", "q", 2 * MIB, UINT64_MAX), 0);
    CU_ASSERT_EQUAL(rule_set(QUOTA_USER, "eve", "nope", 2 * MIB, UINT64_MAX), -ENOENT);
    CU_ASSERT_EQUAL(rule_set(QUOTA_USER, "", "", 2 * MIB, UINT64_MAX), -EINVAL);
    host_crash_open(&host);
    CU_ASSERT_EQUAL(create("v/q/a", 3 * MIB, "", ""), -EDQUOT);
    CU_ASSERT_EQUAL(qtree_rename(host.pool, "v/q", "p", &host.why), 0);
    CU_ASSERT_EQUAL(create("v/p/a", 3 * MIB, "", ""), -EDQUOT);
    CU_ASSERT_EQUAL(qtree_delete(host.pool, "v/p", &host.why), 0);
    CU_ASSERT_EQUAL_FATAL(quota_rule_list(host.pool, NULL, &rules, &count, &host.why), 0);
    CU_ASSERT_EQUAL(count, 0);
    free(rules);
    CU_ASSERT_EQUAL(rule_set(QUOTA_TREE, "", "", 2 * MIB, UINT64_MAX), 0);
    CU_ASSERT_EQUAL(volume_delete(host.pool, "v", false, 0, &host.why), 0);
    void *value;
    size_t len;
    CU_ASSERT_EQUAL(volume_create(host.pool, "v", &(struct volume_attributes){0}, &host.why), 0);
    CU_ASSERT_EQUAL_FATAL(quota_rule_list(host.pool, "v", &rules, &count, &host.why), 0);
    CU_ASSERT_EQUAL(count, 0);
    free(rules);
    CU_ASSERT_EQUAL(store_get(host.pool, "quota/1/tree/0/", &value, &len), -ENOENT);
    stop();
}

static int snapshot_volume(const char *name)
{
    const char *volume = "v";
    const struct volume_snapshot_args args = {.name = name};
    return volume_snapshot_create(host.pool, &volume, 1, &args, &host.why);
}

static int restore_set(const char *name)
{
    return volume_snapshot_restore(host.pool, "v", name, 0, &host.why);
}

/* A deleted LUN counts for nothing; one that a restore brings back counts as a new one. */
static void test_deleted(void)
{
    start();
    CU_ASSERT_EQUAL(rule_set(QUOTA_TREE, "", "", 10 * MIB, UINT64_MAX), 0);
    CU_ASSERT_EQUAL(rule_set(QUOTA_USER, "eve", "", 7 * MIB, UINT64_MAX), 0);
    CU_ASSERT_EQUAL(create("v/a", 4 * MIB, "eve", ""), 0);
    CU_ASSERT_EQUAL(create("v/b", 4 * MIB, "", ""), 0);
    CU_ASSERT_EQUAL(snapshot_volume("s"), 0);
    host_delete(&host, "v/a");
    CU_ASSERT_EQUAL(create("v/c", 6 * MIB, "", ""), 0); /* in its place */
    CU_ASSERT_EQUAL(snapshot_restore(host.pool, "v/a", "s", 0, &host.why), -EDQUOT);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "is 10 MiB; 10 MiB are used and 4 MiB more"));
    CU_ASSERT_EQUAL(events("quota.tree.exceeded"), 1);
    CU_ASSERT_EQUAL(restore_set("s"), -EDQUOT);
    host_crash_open(&host);
    CU_ASSERT_EQUAL(restore_set("s"), -EDQUOT);
    host_delete(&host, "v/c");
    CU_ASSERT_EQUAL(create("v/d", 4 * MIB, "eve", ""), 0);
    CU_ASSERT_EQUAL(restore_set("s"), -EDQUOT); /* eve has 4 of 7 MiB */
    CU_ASSERT_EQUAL(lun_resize(host.pool, "v/d", 2 * MIB, LUN_FORCE, &host.why), 0);
    CU_ASSERT_EQUAL(restore_set("s"), 0);
    CU_ASSERT_EQUAL(create("v/e", 512, "", ""), -EDQUOT); /* 10 MiB are used again */
    stop();
}

/* The qtree that comes back with its LUNs is bound by the default rule, all of them together. */
static void test_deleted_qtree(void)
{
    start();
    CU_ASSERT_EQUAL(create("v/q/a", 4 * MIB, "", ""), 0);
    CU_ASSERT_EQUAL(create("v/q/b", 4 * MIB, "", ""), 0);
    CU_ASSERT_EQUAL(snapshot_volume("s"), 0);
    host_delete(&host, "v/q/a");
    host_delete(&host, "v/q/b");
    CU_ASSERT_EQUAL(qtree_delete(host.pool, "v/q", &host.why), 0);
    CU_ASSERT_EQUAL(rule_set(QUOTA_TREE, "*", "", 3 * MIB, UINT64_MAX), 0);
    CU_ASSERT_EQUAL(snapshot_restore(host.pool, "v/q/a", "s", 0, &host.why), -EDQUOT);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "'v/q' (a default rule) is 3 MiB; 0 "));
    CU_ASSERT_EQUAL(rule_set(QUOTA_TREE, "*", "", 7 * MIB, UINT64_MAX), 0);
    CU_ASSERT_EQUAL(restore_set("s"), -EDQUOT);
    CU_ASSERT_EQUAL(rule_set(QUOTA_TREE, "*", "", 8 * MIB, 3 * MIB), 0);
    CU_ASSERT_EQUAL(events("quota.softlimit.exceeded"), 0);
    CU_ASSERT_EQUAL(snapshot_restore(host.pool, "v/q/a", "s", 0, &host.why), 0);
    CU_ASSERT_EQUAL(events("quota.softlimit.exceeded"), 1); /* of the qtree as it is now */
    CU_ASSERT_EQUAL(events("quota.softlimit.normal"), 0);
    CU_ASSERT_EQUAL(restore_set("s"), 0);
    CU_ASSERT_EQUAL(create("v/q/c", 512, "", ""), -EDQUOT);
    stop();
}

/* A dry run refuses the same, and changes nothing. */
static void test_dry_run(void)
{
    start();
    CU_ASSERT_EQUAL(rule_set(QUOTA_TREE, "q", "", 2 * MIB, UINT64_MAX), 0);
    command_dry_run(true);
    CU_ASSERT_EQUAL(create("v/q/a", 3 * MIB, "", ""), -EDQUOT);
    CU_ASSERT_EQUAL(create("v/q/a", 2 * MIB, "", ""), 0);
    CU_ASSERT_EQUAL(volume_create(host.pool, "w", &(struct volume_attributes){0}, &host.why), 0);
    CU_ASSERT_EQUAL(rule_set(QUOTA_TREE, "q", "", 9 * MIB, UINT64_MAX), 0);
    command_dry_run(false);
    struct lun_info info;
    struct volume_info volume;
    CU_ASSERT_EQUAL(lun_get_info(host.pool, "v/q/a", &info, NULL), -ENOENT);
    CU_ASSERT_EQUAL(volume_get_info(host.pool, "w", &volume, NULL), -ENOENT);
    CU_ASSERT_EQUAL(events("quota.tree.exceeded"), 0);
    CU_ASSERT_EQUAL(create("v/q/a", 3 * MIB, "", ""), -EDQUOT); /* the rule is the old one */
    CU_ASSERT_EQUAL(create("v/q/a", 2 * MIB, "", ""), 0);
    command_dry_run(true);
    CU_ASSERT_EQUAL(lun_resize(host.pool, "v/q/a", 1 * MIB, LUN_FORCE, &host.why), 0);
    CU_ASSERT_EQUAL(snapshot_create(host.pool, "v/q/a", "s", NULL, &host.why), 0);
    CU_ASSERT_EQUAL(lun_delete(host.pool, "v/q/a", false, 0, &host.why), 0);
    command_dry_run(false);
    CU_ASSERT_EQUAL(host_info(&host, "v/q/a").size_bytes, 2 * MIB);
    CU_ASSERT_EQUAL(host_info(&host, "v/q/a").snapshot_count, 0);
    stop();
}

static CU_TestInfo quota_tests[] = {
    {"tree quotas", test_tree},         {"thresholds", test_threshold},
    {"sums of one command", test_sums}, {"user and group quotas", test_users},
    {"reports", test_report},           {"rules stored and forgotten", test_stored},
    {"deleted LUNs", test_deleted},     {"deleted qtrees", test_deleted_qtree},
    {"dry runs", test_dry_run},         CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"quota", NULL, NULL, NULL, NULL, quota_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
