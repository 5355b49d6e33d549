/* SPDX-License-Identifier: BSD-3-Clause */
/* Igroups, mappings, attributes, CHAP: what is allowed, what is stored, what a refusal says. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "server/access.h"
#include "tests/lib/cunit_main.h"

#define HOST_1 "iqn.2001-04.com.example:host1"
#define HOST_2 "iqn.2001-04.com.example:host2"
#define HOST_3 "eui.0123456789abcdef"

static char folder[64], path[96];
static struct pool *pool;
static struct access *access_table;
static struct reason why;
static unsigned hook_count;

static void open_all(void)
{
    CU_ASSERT_EQUAL_FATAL(
        pool_open(env_system(), path, &(struct pool_open_options){0}, &pool, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(access_open(pool, &access_table, &why), 0);
}

static void close_all(void)
{
    access_close(access_table);
    CU_ASSERT_EQUAL(pool_close(pool), 0);
}

static void reopen(void)
{
    close_all();
    open_all();
}

static void set_up(void)
{
    snprintf(folder, sizeof(folder), "/tmp/test-access-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/pool", folder);
    struct pool_create_options create = {.name = "test", .size_bytes = UINT64_C(256) << 20};
    CU_ASSERT_EQUAL_FATAL(pool_create(env_system(), path, &create, NULL), 0);
    open_all();
    for (unsigned i = 0; i < 4; i++)
    {
        char name[16];
        snprintf(name, sizeof(name), "lun%u", i);
        struct lun_create_args args = {.name = name, .size_bytes = 1 << 20};
        CU_ASSERT_EQUAL_FATAL(lun_create(pool, &args, NULL), 0);
    }
    hook_count = 0;
}

static void tear_down(void)
{
    close_all();
    unlink(path);
    rmdir(folder);
}

static int create(const char *group, const char *first, const char *second)
{
    const char *names[] = {first, second};
    return access_igroup_create(access_table, group, names, !first ? 0 : second ? 2 : 1, &why);
}

static int map(const char *lun, const char *group, int number)
{
    uint32_t used = 0;
    int r = access_map(access_table, lun, group, number, &used, &why);
    return r < 0 ? r : (int)used;
}

/* "0=lun1 5=lun2" of what an initiator sees. */
static const char *sees(const char *initiator)
{
    static char text[256];
    AUTO_FREE struct access_mapping *list = NULL;
    size_t count = 0, len = 0;
    CU_ASSERT_EQUAL(access_visible(access_table, initiator, &list, &count), 0);
    text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%u=%s", i ? " " : "",
                                list[i].number, list[i].lun_name);
    return text;
}

static void test_names(void)
{
    static const char *const good[][2] = {
        {"iqn.2001-04.com.example:host1", "iqn.2001-04.com.example:host1"},
        {"IQN.2001-04.COM.Example:Host1", "iqn.2001-04.com.example:host1"},
        {"eui.0123456789ABCDEF", "eui.0123456789abcdef"},
        {"naa.0123456789abcdef", "naa.0123456789abcdef"},
        {"naa.0123456789abcdef0123456789abcdef", "naa.0123456789abcdef0123456789abcdef"},
    };
    static const char *const bad[] = {"",
                                      "host1",
                                      "iqn.2001-04.",
                                      "iqn.01-04.com.example",
                                      "iqn.2001-4.com.example",
                                      "iqn.2001-04.com.example:a b",
                                      "iqn.2001-04.com.example/x",
                                      "eui.0123",
                                      "eui.0123456789abcdeg",
                                      "naa.0123456789abcdef0"};
    char normal[ACCESS_INITIATOR_MAX + 1];
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
    {
        CU_ASSERT_EQUAL(access_normalise_name(good[i][0], normal, &why), 0);
        CU_ASSERT_STRING_EQUAL(normal, good[i][1]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CU_ASSERT_EQUAL(access_normalise_name(bad[i], normal, &why), -EINVAL);
    char longest[ACCESS_INITIATOR_MAX + 2];
    memset(longest, 'x', sizeof(longest));
    memcpy(longest, "iqn.2001-04.", 12);
    longest[ACCESS_INITIATOR_MAX + 1] = '\0';
    CU_ASSERT_EQUAL(access_normalise_name(longest, normal, &why), -EINVAL);
    longest[ACCESS_INITIATOR_MAX] = '\0';
    CU_ASSERT_EQUAL(access_normalise_name(longest, normal, &why), 0);
}

static void test_igroups(void)
{
    CU_ASSERT_EQUAL(create("b", HOST_1, "EUI.0123456789ABCDEF"), 0);
    CU_ASSERT_EQUAL(create("a", NULL, NULL), 0);
    CU_ASSERT_EQUAL(create("a", HOST_1, NULL), -EEXIST);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "'a'"));
    CU_ASSERT_EQUAL(create("c", HOST_1, HOST_1), -EINVAL);
    CU_ASSERT_EQUAL(create("no/slash", HOST_1, NULL), -EINVAL);
    CU_ASSERT_EQUAL(create("", HOST_1, NULL), -EINVAL);
    CU_ASSERT_EQUAL(create("d", "no name", NULL), -EINVAL);
    CU_ASSERT_EQUAL(access_igroup_add(access_table, "a", HOST_2, &why), 0);
    CU_ASSERT_EQUAL(access_igroup_add(access_table, "a", HOST_2, &why), -EEXIST);
    CU_ASSERT_EQUAL(access_igroup_add(access_table, "none", HOST_2, &why), -ENOENT);
    CU_ASSERT_EQUAL(access_igroup_remove(access_table, "b", HOST_2, &why), -ENOENT);
    CU_ASSERT_EQUAL(access_igroup_remove(access_table, "b", HOST_1, &why), 0);
    reopen();
    struct access_igroup *groups = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL_FATAL(access_igroup_list(access_table, NULL, &groups, &count, &why), 0);
    CU_ASSERT_EQUAL_FATAL(count, 2);
    CU_ASSERT_STRING_EQUAL(groups[0].name, "a");
    CU_ASSERT_EQUAL_FATAL(groups[0].initiator_count, 1);
    CU_ASSERT_STRING_EQUAL(groups[0].initiators[0], HOST_2);
    CU_ASSERT_EQUAL_FATAL(groups[1].initiator_count, 1);
    CU_ASSERT_STRING_EQUAL(groups[1].initiators[0], HOST_3);
    access_igroups_free(groups, count);
    CU_ASSERT_EQUAL(access_igroup_list(access_table, "none", &groups, &count, &why), -ENOENT);
    /* Slots of the store are reused without a clash. */
    CU_ASSERT_EQUAL(access_igroup_add(access_table, "b", HOST_1, &why), 0);
    reopen();
    CU_ASSERT_EQUAL_FATAL(access_igroup_list(access_table, "b", &groups, &count, &why), 0);
    CU_ASSERT_EQUAL(groups[0].initiator_count, 2);
    access_igroups_free(groups, count);
}

static void test_mappings(void)
{
    CU_ASSERT_EQUAL(create("g", HOST_1, NULL), 0);
    CU_ASSERT_EQUAL(map("lun0", "g", -1), 0);
    CU_ASSERT_EQUAL(map("lun1", "g", 7), 7);
    CU_ASSERT_EQUAL(map("lun2", "g", 7), -EBUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "lun1"));
    CU_ASSERT_EQUAL(map("lun0", "g", 3), -EEXIST);
    CU_ASSERT_EQUAL(map("lun2", "g", 4096), -EINVAL);
    CU_ASSERT_EQUAL(map("none", "g", -1), -ENOENT);
    CU_ASSERT_EQUAL(map("lun2", "none", -1), -ENOENT);
    CU_ASSERT_STRING_EQUAL(sees(HOST_1), "0=lun0 7=lun1");
    CU_ASSERT_STRING_EQUAL(sees(HOST_2), "");
    reopen();
    CU_ASSERT_STRING_EQUAL(sees(HOST_1), "0=lun0 7=lun1");
    CU_ASSERT_EQUAL(access_igroup_delete(access_table, "g", false, &why), -EBUSY);
    CU_ASSERT_EQUAL(access_unmap(access_table, "lun0", "g", &why), 0);
    CU_ASSERT_EQUAL(access_unmap(access_table, "lun0", "g", &why), -ENOENT);
    CU_ASSERT_EQUAL(access_unmap(access_table, "lun0", NULL, &why), -ENOENT);
    CU_ASSERT_EQUAL(access_igroup_delete(access_table, "g", true, &why), 0);
    reopen();
    CU_ASSERT_STRING_EQUAL(sees(HOST_1), "");
}

/* A number that was freed comes again last, also after a restart. */
static void test_numbers_go_round(void)
{
    CU_ASSERT_EQUAL(create("g", HOST_1, NULL), 0);
    for (int i = 0; i < 1024; i++)
    {
        CU_ASSERT_EQUAL(map("lun0", "g", -1), i);
        CU_ASSERT_EQUAL(access_unmap(access_table, "lun0", "g", &why), 0);
        if (i % 100 == 0)
            reopen();
    }
    CU_ASSERT_EQUAL(map("lun0", "g", -1), 0);
    CU_ASSERT_EQUAL(map("lun1", "g", 1), 1);
    CU_ASSERT_EQUAL(map("lun2", "g", -1), 2);
}

/* Two igroups with a host in common must agree on its numbers. */
static void test_common_initiators(void)
{
    CU_ASSERT_EQUAL(create("one", HOST_1, NULL), 0);
    CU_ASSERT_EQUAL(create("both", HOST_1, HOST_2), 0);
    CU_ASSERT_EQUAL(map("lun0", "one", 5), 5);
    CU_ASSERT_EQUAL(map("lun1", "both", 5), -EBUSY);
    CU_ASSERT_EQUAL(map("lun0", "both", 6), -EBUSY);
    CU_ASSERT_EQUAL(map("lun0", "both", -1), 5); /* the number it has already */
    CU_ASSERT_STRING_EQUAL(sees(HOST_1), "5=lun0");
    CU_ASSERT_EQUAL(create("other", HOST_3, NULL), 0);
    CU_ASSERT_EQUAL(map("lun2", "other", 5), 5); /* nobody in common */
    CU_ASSERT_EQUAL(access_igroup_add(access_table, "other", HOST_1, &why), -EBUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "lun2"));
    CU_ASSERT_EQUAL(access_unmap(access_table, "lun0", NULL, &why), 0);
    CU_ASSERT_EQUAL(access_igroup_add(access_table, "other", HOST_1, &why), 0);
    CU_ASSERT_STRING_EQUAL(sees(HOST_1), "5=lun2");
}

static void test_rename_and_delete(void)
{
    CU_ASSERT_EQUAL(create("g", HOST_1, NULL), 0);
    CU_ASSERT_EQUAL(map("lun0", "g", 0), 0);
    CU_ASSERT_EQUAL(map("lun1", "g", 1), 1);
    struct lun_info info;
    CU_ASSERT_EQUAL(lun_get_info(pool, "lun0", &info, NULL), 0);
    /* Another LUN takes the name; the mapping stays with the first. */
    CU_ASSERT_EQUAL(lun_rename(pool, "lun0", "old", NULL), 0);
    CU_ASSERT_EQUAL(lun_rename(pool, "lun2", "lun0", NULL), 0);
    char name[2 * LUN_NAME_MAX + 2];
    CU_ASSERT_EQUAL(access_lun_name(access_table, info.id, name), 0);
    CU_ASSERT_STRING_EQUAL(name, "old");
    struct access_mapping *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL_FATAL(access_mapping_list(access_table, "old", NULL, &list, &count, &why), 0);
    CU_ASSERT_EQUAL(count, 1);
    CU_ASSERT_STRING_EQUAL(list[0].lun_name, "old");
    free(list);
    /* A clone has neither mappings nor attributes. */
    CU_ASSERT_EQUAL(access_set_lun_flags(access_table, "old", ACCESS_LUN_READ_ONLY, &why), 0);
    struct lun_clone_args clone = {.source = "old", .name = "clone"};
    CU_ASSERT_EQUAL(lun_clone(pool, &clone, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(access_mapping_list(access_table, "clone", NULL, &list, &count, &why), 0);
    CU_ASSERT_EQUAL(count, 0);
    free(list);
    CU_ASSERT_EQUAL(access_lun_flags(access_table, info.id), ACCESS_LUN_READ_ONLY);
    CU_ASSERT_EQUAL(lun_delete(pool, "old", false, 0, NULL), 0);
    access_forget_lun(access_table, info.id);
    CU_ASSERT_STRING_EQUAL(sees(HOST_1), "1=lun1");
    CU_ASSERT_EQUAL(access_lun_flags(access_table, info.id), 0);
    reopen();
    CU_ASSERT_STRING_EQUAL(sees(HOST_1), "1=lun1");
    CU_ASSERT_EQUAL(access_lun_flags(access_table, info.id), 0);
}

/* New content changes nothing of who sees the LUN, and as what. */
static void test_redeploy(void)
{
    static const char *const names[] = {"lun0", "lun1"};
    CU_ASSERT_EQUAL(create("g", HOST_1, NULL), 0);
    CU_ASSERT_EQUAL(create("h", HOST_2, NULL), 0);
    CU_ASSERT_EQUAL(map("lun0", "g", 7), 7);
    CU_ASSERT_EQUAL(map("lun1", "g", 2), 2);
    CU_ASSERT_EQUAL(map("lun1", "h", 0), 0);
    CU_ASSERT_EQUAL(map("lun2", "h", 1), 1);
    CU_ASSERT_EQUAL(access_set_lun_flags(access_table, "lun0", ACCESS_LUN_READ_ONLY, &why), 0);
    struct lun_info info;
    CU_ASSERT_EQUAL(lun_get_info(pool, "lun0", &info, NULL), 0);
    CU_ASSERT_EQUAL(lun_redeploy(pool, "lun2", names, 2, "undo", 0, NULL), 0);
    for (unsigned round = 0; round < 2; round++)
    {
        CU_ASSERT_STRING_EQUAL(sees(HOST_1), "2=lun1 7=lun0");
        CU_ASSERT_STRING_EQUAL(sees(HOST_2), "0=lun1 1=lun2");
        CU_ASSERT_EQUAL(access_lun_flags(access_table, info.id), ACCESS_LUN_READ_ONLY);
        reopen();
    }
}

static int set_chap(const char *subject, const char *user, const char *secret, const char *mutual)
{
    struct access_chap chap = {0};
    snprintf(chap.user, sizeof(chap.user), "%s", user);
    snprintf(chap.secret, sizeof(chap.secret), "%s", secret);
    if (mutual)
    {
        snprintf(chap.mutual_user, sizeof(chap.mutual_user), "target");
        snprintf(chap.mutual_secret, sizeof(chap.mutual_secret), "%s", mutual);
    }
    return access_chap_set(access_table, subject, &chap, &why);
}

static const char *chap_user(const char *initiator, bool discovery)
{
    static struct access_chap chap;
    return access_find_chap(access_table, initiator, discovery, &chap) == 0 ? chap.user : NULL;
}

static void test_chap(void)
{
    CU_ASSERT_EQUAL(create("g", HOST_1, NULL), 0);
    CU_ASSERT_PTR_NULL(chap_user(HOST_1, false));
    CU_ASSERT_EQUAL(set_chap("*", "any", "0123456789ab", NULL), 0);
    CU_ASSERT_EQUAL(set_chap("igroup:g", "group", "0123456789ab", NULL), 0);
    CU_ASSERT_EQUAL(set_chap("igroup:none", "group", "0123456789ab", NULL), -ENOENT);
    CU_ASSERT_EQUAL(set_chap("discovery", "finder", "0123456789ab", NULL), 0);
    CU_ASSERT_EQUAL(set_chap(HOST_2, "two", "0123456789ab", "ba9876543210"), 0);
    CU_ASSERT_EQUAL(set_chap(HOST_3, "x", "short", NULL), -EINVAL);
    CU_ASSERT_EQUAL(set_chap(HOST_3, "", "0123456789ab", NULL), -EINVAL);
    CU_ASSERT_EQUAL(set_chap(HOST_3, "x", "0123456789ab", "0123456789ab"), -EINVAL);
    CU_ASSERT_EQUAL(set_chap("nobody", "x", "0123456789ab", NULL), -EINVAL);
    reopen();
    CU_ASSERT_STRING_EQUAL(chap_user(HOST_1, false), "group");
    CU_ASSERT_STRING_EQUAL(chap_user(HOST_2, false), "two");
    CU_ASSERT_STRING_EQUAL(chap_user(HOST_3, false), "any");
    CU_ASSERT_STRING_EQUAL(chap_user(HOST_2, true), "finder");
    struct access_chap chap;
    CU_ASSERT_EQUAL(access_find_chap(access_table, HOST_2, false, &chap), 0);
    CU_ASSERT_STRING_EQUAL(chap.secret, "0123456789ab");
    CU_ASSERT_STRING_EQUAL(chap.mutual_secret, "ba9876543210");
    access_chap_wipe(&chap);
    CU_ASSERT_EQUAL(chap.secret[0], 0);
    struct access_chap_info *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL(access_chap_list(access_table, &list, &count), 0);
    CU_ASSERT_EQUAL(count, 4);
    free(list);
    CU_ASSERT_EQUAL(access_chap_delete(access_table, HOST_2, &why), 0);
    CU_ASSERT_EQUAL(access_chap_delete(access_table, HOST_2, &why), -ENOENT);
    CU_ASSERT_STRING_EQUAL(chap_user(HOST_2, false), "any");
    /* The record of an igroup goes with it, and does not come back with its name. */
    CU_ASSERT_EQUAL(access_igroup_delete(access_table, "g", false, &why), 0);
    CU_ASSERT_EQUAL(create("g", HOST_1, NULL), 0);
    CU_ASSERT_STRING_EQUAL(chap_user(HOST_1, false), "any");
    reopen();
    CU_ASSERT_STRING_EQUAL(chap_user(HOST_1, false), "any");
}

static void count_hook(void *opaque)
{
    (*(unsigned *)opaque)++;
}

static void test_hook(void)
{
    access_set_hook(access_table, count_hook, &hook_count);
    CU_ASSERT_EQUAL(create("g", HOST_1, NULL), 0);
    CU_ASSERT_EQUAL(hook_count, 0); /* nobody sees anything else */
    CU_ASSERT_EQUAL(map("lun0", "g", 0), 0);
    CU_ASSERT_EQUAL(map("lun1", "g", 0), -EBUSY);
    CU_ASSERT_EQUAL(hook_count, 1);
    CU_ASSERT_EQUAL(access_igroup_add(access_table, "g", HOST_2, &why), 0);
    CU_ASSERT_EQUAL(access_igroup_remove(access_table, "g", HOST_2, &why), 0);
    CU_ASSERT_EQUAL(access_unmap(access_table, "lun0", NULL, &why), 0);
    CU_ASSERT_EQUAL(hook_count, 4);
    access_set_hook(access_table, NULL, NULL);
    CU_ASSERT_EQUAL(map("lun0", "g", 0), 0);
    CU_ASSERT_EQUAL(hook_count, 4);
}

static void test_target_name(void)
{
    char name[ACCESS_INITIATOR_MAX + 1];
    snprintf(name, sizeof(name), "%s", access_target_name(access_table));
    char normal[ACCESS_INITIATOR_MAX + 1];
    CU_ASSERT_EQUAL(access_normalise_name(name, normal, &why), 0);
    reopen();
    CU_ASSERT_STRING_EQUAL(access_target_name(access_table), name);
    CU_ASSERT_EQUAL(access_set_target_name(access_table, "bad", &why), -EINVAL);
    CU_ASSERT_EQUAL(access_set_target_name(access_table, "iqn.2001-04.com.example:Target", &why),
                    0);
    CU_ASSERT_STRING_EQUAL(access_target_name(access_table), name); /* from the next start on */
    reopen();
    CU_ASSERT_STRING_EQUAL(access_target_name(access_table), "iqn.2001-04.com.example:target");
}

/* Values that nobody of ours wrote are refused, not guessed at. */
static void test_damaged_store(void)
{
    static const struct store_change changes[] = {
        {"access/igroup/g", "many", 4},
        {"access/igroup/g", "5000", 4},
        {"access/map/none/0000000000000001", "1 lun0", 6},
        {"access/initiator/none/0", HOST_1, sizeof(HOST_1) - 1},
        {"access/lun/xyz", "1", 1},
        {"access/chap/*", "user\0secret", 11},
    };
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
    {
        CU_ASSERT_EQUAL(store_apply(pool, &changes[i], 1, NULL), 0);
        struct access *other = NULL;
        CU_ASSERT_EQUAL(access_open(pool, &other, &why), -EBADMSG);
        CU_ASSERT_PTR_NULL(other);
        struct store_change undo = {.key = changes[i].key};
        CU_ASSERT_EQUAL(store_apply(pool, &undo, 1, NULL), 0);
    }
}

static CU_TestInfo access_tests[] = {
    {"names", test_names},
    {"igroups", test_igroups},
    {"mappings", test_mappings},
    {"numbers go round", test_numbers_go_round},
    {"igroups with hosts in common", test_common_initiators},
    {"rename, clone, delete", test_rename_and_delete},
    {"a redeploy keeps them", test_redeploy},
    {"CHAP", test_chap},
    {"the hook", test_hook},
    {"the target's name", test_target_name},
    {"a damaged store", test_damaged_store},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"access", NULL, NULL, set_up, tear_down, access_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
