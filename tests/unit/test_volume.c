/* SPDX-License-Identifier: BSD-3-Clause */
/* What an admin names: names, catalog, info, freed, store, events, dump, pool_create. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/volume/catalog.h"
#include "lun/volume/event.h"
#include "lun/volume/info.h"
#include "lun/volume/names.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

static struct engine_host host;

/* ---- names */

static void test_names(void)
{
    char longest[LUN_NAME_MAX + 2];
    memset(longest, 'x', sizeof(longest));
    longest[LUN_NAME_MAX + 1] = '\0';
    CU_ASSERT_EQUAL(name_check(longest, "LUN", NULL), -EINVAL);
    longest[LUN_NAME_MAX] = '\0';
    CU_ASSERT_EQUAL(name_check(longest, "LUN", NULL), 0);
    static const char *const good[] = {"a", "0", "_x", "a.b-c+d:e_f", "A9"};
    static const char *const bad[] = {"",     "-a",       ".a",  "a b", "a/b", "a@b",
                                      "a..b", "\xc3\xa4", "a\n", "a%d", "+a"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        CU_ASSERT_EQUAL(name_check(good[i], "LUN", NULL), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CU_ASSERT_EQUAL(name_check(bad[i], "LUN", NULL), -EINVAL);
    CU_ASSERT_EQUAL(name_check(NULL, "LUN", NULL), -EINVAL);
    char full[2 * LUN_NAME_MAX + 2];
    CU_ASSERT_EQUAL(name_join(full, sizeof(full), longest, longest, NULL), 0);
    CU_ASSERT_EQUAL(strlen(full), 2 * LUN_NAME_MAX + 1);
    CU_ASSERT_EQUAL(name_join(full, sizeof(full), "a", "b@c", NULL), -EINVAL);
}

static void test_templates(void)
{
    char name[LUN_NAME_MAX + 1];
    static const struct
    {
        const char *template;
        uint32_t number;
        const char *name; /* NULL: refused */
    } cases[] = {
        {"vm-%d", 7, "vm-7"}, {"vm-%u-x", 4294967295, "vm-4294967295-x"},
        {"%03d", 7, "007"},   {"%03d", 12345, "12345"},
        {"a%1d", 5, "a5"},    {"vm", 1, NULL},
        {"vm-%s", 1, NULL},   {"vm-%d-%d", 1, NULL},
        {"vm-%", 1, NULL},    {"vm-%099d", 1, NULL},
        {"vm-%d%", 1, NULL},  {"/%d", 1, NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
    {
        int r = name_from_template(name, sizeof(name), cases[i].template, cases[i].number, NULL);
        CU_ASSERT_EQUAL(r, cases[i].name ? 0 : -EINVAL);
        if (r == 0)
            CU_ASSERT_STRING_EQUAL(name, cases[i].name);
    }
    char template[LUN_NAME_MAX + 2];
    memset(template, 'x', sizeof(template));
    memcpy(template + LUN_NAME_MAX - 2, "%d", 3);
    CU_ASSERT_EQUAL(name_from_template(name, sizeof(name), template, 10, NULL), 0);
    CU_ASSERT_EQUAL(name_from_template(name, sizeof(name), template, 1000, NULL), -EINVAL);
}

/* ---- figures after each operation */

static void expect_info(const char *name, uint64_t mapped, uint64_t own, uint64_t in_snapshots)
{
    struct lun_info info = host_info(&host, name);
    CU_ASSERT_EQUAL(info.mapped_bytes, mapped * BLK_BYTES);
    CU_ASSERT_EQUAL(info.own_bytes, own * BLK_BYTES);
    CU_ASSERT_EQUAL(info.shared_bytes, (mapped - own) * BLK_BYTES);
    CU_ASSERT_EQUAL(info.snapshot_bytes, in_snapshots * BLK_BYTES);
}

static void test_figures(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", 64);
    expect_info("a", 0, 0, 0);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 10, 1, 0), 0);
    expect_info("a", 10, 10, 0);
    host_snapshot(&host, "a", "s");
    expect_info("a", 10, 0, 0);
    expect_info("a@s", 10, 10, 0);
    CU_ASSERT_EQUAL(host_write(&host, "a", 8, 4, 2, 0), 0);
    expect_info("a", 12, 4, 2);
    CU_ASSERT_EQUAL(host_unmap(&host, "a", 0, 3), 0);
    expect_info("a", 9, 4, 5);
    host_clone(&host, "a", "b");
    expect_info("b", 9, 0, 0);
    expect_info("a", 9, 0, 0); /* its next point is hidden, not its own snapshot */
    CU_ASSERT_EQUAL(snapshot_restore(host.pool, "a", "s", 0, &host.why), 0);
    expect_info("a", 10, 0, 0);
    struct lun_info b = host_info(&host, "b"), a = host_info(&host, "a");
    CU_ASSERT_STRING_EQUAL(b.origin, "a");
    CU_ASSERT_EQUAL(a.snapshot_count, 1);
    CU_ASSERT_NOT_EQUAL(memcmp(a.uuid, b.uuid, sizeof(a.uuid)), 0);
    CU_ASSERT_EQUAL(host_info(&host, "a@s").lun_id, a.id);
    host_settle(&host);
    host_crash_open(&host);
    expect_info("a", 10, 0, 0);
    expect_info("b", 9, 4, 0); /* the hidden point has merged into it */
    CU_ASSERT_EQUAL(lun_get_info(host.pool, "x", &a, &host.why), -ENOENT);
    host_stop(&host);
}

/* What is foretold comes back. */
static void expect_freed(const char *const *names, size_t count)
{
    uint64_t data = 0, metadata = 0, before = host_data_blks(&host);
    CU_ASSERT_EQUAL(lun_freed_if_deleted(host.pool, names, count, &data, &metadata, &host.why), 0);
    for (size_t i = 0; i < count; i++)
        host_delete(&host, names[i]);
    host_settle(&host);
    CU_ASSERT_EQUAL(before - host_data_blks(&host), data / BLK_BYTES);
}

static void start_family(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", 64);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 10, 1, 0), 0);
    host_snapshot(&host, "a", "s");
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 4, 2, 0), 0);
    host_clone(&host, "a", "b");
    CU_ASSERT_EQUAL(host_write(&host, "b", 2, 4, 3, 0), 0);
    host_clone(&host, "b", "c");
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 4, 0), 0);
    CU_ASSERT_EQUAL(host_write(&host, "c", 0, 20, 5, 0), 0);
    host_settle(&host);
}

static void test_freed(void)
{
    static const char *const sets[][3] = {
        {"a@s"}, {"b"}, {"c"}, {"a@s", "a"}, {"b", "c"}, {"a@s", "b"}, {"a@s", "b", "c"},
    };
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
    {
        start_family();
        size_t count = 0;
        while (count < 3 && sets[i][count])
            count++;
        expect_freed(sets[i], count);
        CU_ASSERT_EQUAL(host_check(&host), 0);
        host_stop(&host);
    }
    start_family();
    static const char *const unknown[] = {"a", "x"};
    uint64_t data, metadata;
    CU_ASSERT_EQUAL(lun_freed_if_deleted(host.pool, unknown, 2, &data, &metadata, &host.why),
                    -ENOENT);
    host_stop(&host);
}

/* ---- catalog */

static void test_catalog(void)
{
    host_start(&host, NULL);
    char comment[LUN_COMMENT_MAX + 1], name[LUN_NAME_MAX + 1];
    memset(comment, 'c', LUN_COMMENT_MAX);
    comment[LUN_COMMENT_MAX] = '\0';
    for (unsigned i = 0; i < 40; i++) /* several pages of small slots */
    {
        snprintf(name, sizeof(name), "lun-%u", i);
        host_create(&host, name, 8 + i);
    }
    memset(name, 'n', LUN_NAME_MAX);
    name[LUN_NAME_MAX] = '\0';
    host_create(&host, name, 8);
    host_snapshot(&host, name, name);
    char full[2 * LUN_NAME_MAX + 2];
    snprintf(full, sizeof(full), "%s@%s", name, name);
    host_clone(&host, full, "of-long"); /* origin and comment: a large slot */
    CU_ASSERT_EQUAL(lun_set_comment(host.pool, "of-long", comment, &host.why), 0);
    CU_ASSERT_EQUAL(lun_set_comment(host.pool, "lun-3", comment, &host.why), 0);
    for (unsigned i = 0; i < 40; i += 2)
    {
        snprintf(name, sizeof(name), "lun-%u", i);
        host_delete(&host, name);
    }
    uint64_t next_id = host.pool->next_id;
    for (unsigned round = 0; round < 2; round++)
    {
        if (round == 0)
            host_crash_open(&host);
        else
            host_reopen(&host);
        CU_ASSERT_EQUAL(host.pool->next_id, next_id); /* ids are not used again */
        CU_ASSERT_PTR_NULL(catalog_find_lun(host.pool, "lun-2"));
        CU_ASSERT_EQUAL(host_info(&host, "lun-39").size_bytes, 47 * BLK_BYTES);
        CU_ASSERT_STRING_EQUAL(host_info(&host, "lun-3").comment, comment);
        CU_ASSERT_STRING_EQUAL(host_info(&host, "of-long").comment, comment);
        CU_ASSERT_STRING_EQUAL(host_info(&host, "of-long").origin, full);
        CU_ASSERT_STRING_EQUAL(host_info(&host, full).name, full);
        CU_ASSERT_EQUAL(host_check(&host), 0);
    }
    host_stop(&host);
}

static void test_rename_with_snapshots(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", 8);
    host_snapshot(&host, "a", "one");
    host_snapshot(&host, "a", "two");
    CU_ASSERT_EQUAL(lun_rename(host.pool, "a", "b", &host.why), 0);
    CU_ASSERT_PTR_NULL(catalog_find_lun(host.pool, "a@one"));
    CU_ASSERT_PTR_NOT_NULL(catalog_find_lun(host.pool, "b@one"));
    host_create(&host, "a", 8); /* the name is free again */
    CU_ASSERT_EQUAL(lun_rename(host.pool, "a", "b", &host.why), -EEXIST);
    host_crash_open(&host);
    CU_ASSERT_PTR_NOT_NULL(catalog_find_lun(host.pool, "b@two"));
    struct lun_info *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL(lun_list(host.pool, "b", &list, &count, &host.why), 0);
    CU_ASSERT_EQUAL_FATAL(count, 3);
    CU_ASSERT_STRING_EQUAL(list[1].name, "b@one"); /* oldest first */
    CU_ASSERT_STRING_EQUAL(list[2].name, "b@two");
    free(list);
    host_stop(&host);
}

/* ---- store */

static int collect_cb(void *opaque, const char *key, const void *value, size_t len)
{
    char *text = opaque;
    snprintf(text + strlen(text), 100 - strlen(text), "%s=%.*s;", key, (int)len,
             (const char *)value);
    return strcmp(key, "stop") == 0 ? 7 : 0;
}

static void test_store(void)
{
    host_start(&host, NULL);
    const struct store_change first[] = {
        {"b/2", "two", 3}, {"a/1", "one", 3}, {"b/1", "", 0}, {"gone", "x", 1}};
    CU_ASSERT_EQUAL(store_apply(host.pool, first, 4, &host.why), 0);
    const struct store_change second[] = {
        {"gone", NULL, 0}, {"never", NULL, 0}, {"b/2", "twice", 5}, {"b/2", "thrice", 6}};
    CU_ASSERT_EQUAL(store_apply(host.pool, second, 4, &host.why), 0);
    host_crash_open(&host);
    char text[100] = "";
    CU_ASSERT_EQUAL(store_list(host.pool, "", collect_cb, text), 0);
    CU_ASSERT_STRING_EQUAL(text, "a/1=one;b/1=;b/2=thrice;");
    text[0] = '\0';
    CU_ASSERT_EQUAL(store_list(host.pool, "b/", collect_cb, text), 0);
    CU_ASSERT_STRING_EQUAL(text, "b/1=;b/2=thrice;");
    void *value = NULL;
    size_t len = 0;
    CU_ASSERT_EQUAL(store_get(host.pool, "gone", &value, &len), -ENOENT);
    CU_ASSERT_EQUAL(store_get(host.pool, "b/2", &value, &len), 0);
    CU_ASSERT_EQUAL(len, 6);
    CU_ASSERT_STRING_EQUAL(value, "thrice"); /* with a NUL behind it */
    free(value);
    host_stop(&host);
}

static void test_store_limits(void)
{
    host_start(&host, NULL);
    char key[STORE_KEY_MAX + 2], value[STORE_VALUE_MAX + 1] = {0};
    memset(key, 'k', sizeof(key));
    key[STORE_KEY_MAX + 1] = '\0';
    struct store_change changes[] = {{"fine", "x", 1}, {key, value, STORE_VALUE_MAX}};
    CU_ASSERT_EQUAL(store_apply(host.pool, changes, 2, &host.why), -EINVAL);
    key[STORE_KEY_MAX] = '\0';
    changes[1].len = STORE_VALUE_MAX + 1;
    CU_ASSERT_EQUAL(store_apply(host.pool, changes, 2, &host.why), -EINVAL);
    void *got = NULL;
    size_t len = 0;
    CU_ASSERT_EQUAL(store_get(host.pool, "fine", &got, &len), -ENOENT); /* all or none */
    changes[1].len = STORE_VALUE_MAX;
    CU_ASSERT_EQUAL(store_apply(host.pool, changes, 2, &host.why), 0);
    changes[0].key = "";
    CU_ASSERT_EQUAL(store_apply(host.pool, changes, 1, &host.why), -EINVAL);
    host_reopen(&host);
    CU_ASSERT_EQUAL(store_get(host.pool, key, &got, &len), 0);
    CU_ASSERT_EQUAL(len, STORE_VALUE_MAX);
    free(got);
    const struct store_change stops[] = {{"stop", "1", 1}, {"stopped", "2", 1}};
    CU_ASSERT_EQUAL(store_apply(host.pool, stops, 2, &host.why), 0);
    char text[100] = "";
    CU_ASSERT_EQUAL(store_list(host.pool, "stop", collect_cb, text), 7);
    CU_ASSERT_STRING_EQUAL(text, "stop=1;");
    host_stop(&host);
}

/* ---- events */

static void test_events(void)
{
    host_start(&host, NULL);
    struct event *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL(event_wait(host.pool, UINT64_MAX, 1), -ETIMEDOUT);
    CU_ASSERT_EQUAL(event_list(host.pool, 0, &list, &count), 0);
    uint64_t last = count ? list[count - 1].id : 0;
    free(list);
    for (unsigned i = 0; i < 1500; i++)
        event_add(host.pool, "info", "test.event", i ? "obj" : NULL, "number %u", i);
    CU_ASSERT_EQUAL(event_wait(host.pool, last, 0), 0);
    CU_ASSERT_EQUAL(event_list(host.pool, last, &list, &count), 0);
    CU_ASSERT_EQUAL_FATAL(count, 1024); /* the last ones are kept */
    CU_ASSERT_STRING_EQUAL(list[0].text, "number 476");
    CU_ASSERT_STRING_EQUAL(list[1023].text, "number 1499");
    CU_ASSERT_EQUAL(list[1023].id, last + 1500);
    CU_ASSERT_STRING_EQUAL(list[0].object, "obj");
    free(list);
    CU_ASSERT_EQUAL(event_list(host.pool, last + 1498, &list, &count), 0);
    CU_ASSERT_EQUAL(count, 2);
    free(list);
    CU_ASSERT_EQUAL(event_list(host.pool, last + 9999, &list, &count), 0);
    CU_ASSERT_EQUAL(count, 0);
    free(list);
    host_create(&host, "a", 8);
    CU_ASSERT_EQUAL(event_list(host.pool, last + 1500, &list, &count), 0);
    CU_ASSERT_EQUAL_FATAL(count, 1);
    CU_ASSERT_STRING_EQUAL(list[0].name, "lun.created");
    CU_ASSERT_STRING_EQUAL(list[0].object, "a");
    free(list);
    host_stop(&host);
}

/* ---- dump */

static void hear_line(void *opaque, const char *text)
{
    struct writer *writer = opaque;
    writer_bytes(writer, text, strlen(text));
    writer_bytes(writer, "\n", 1);
}

static void expect_dump(const char *what, const char *part)
{
    AUTO_WRITER struct writer said = {0};
    CU_ASSERT_EQUAL(pool_dump(host.pool, what, hear_line, &said, &host.why), 0);
    writer_u8(&said, 0);
    CU_ASSERT_PTR_NOT_NULL(strstr((char *)said.bytes, part));
    if (!strstr((char *)said.bytes, part))
        fprintf(stderr, "no '%s' in:\n%s", part, (char *)said.bytes);
}

static void test_dump(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", 64);
    CU_ASSERT_EQUAL(host_write(&host, "a", 3, 4, 1, 0), 0);
    host_snapshot(&host, "a", "s");
    CU_ASSERT_EQUAL(host_write(&host, "a", 4, 1, 1, 0), 0);
    char drops[64];
    snprintf(drops, sizeof(drops), "drops %llu",
             (unsigned long long)host_line(&host, "a")->object.id);
    expect_dump("superblock", "format version       1\n");
    expect_dump("groups", "group 7: blocks 7168 to 8191");
    expect_dump("objects", "snapshot");
    expect_dump("lines", " of a\n");
    expect_dump("map a", "lba 4 len 1 ");
    expect_dump("map a@s", "lba 3 len 4 ");
    expect_dump(drops, "len 1 count 1\n");
    expect_dump("journal", "durable up to");
    expect_dump("block 0", "0000  ");
    static const char *const bad[] = {"",         "nonsense",      "map", "map x", "drops 999999",
                                      "blocks 1", "block 99999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
    {
        AUTO_WRITER struct writer said = {0};
        CU_ASSERT_TRUE(pool_dump(host.pool, bad[i], hear_line, &said, &host.why) < 0);
        CU_ASSERT_NOT_EQUAL(host.why.text[0], '\0');
    }
    host_stop(&host);
}

/* ---- making pools */

static int try_create(uint64_t device_bytes, const struct pool_create_options *options)
{
    struct rng_env env;
    rng_env_init(&env, 1);
    struct simdev *disk = simdev_new(device_bytes, device_bytes, 1);
    struct device *device = simdev_open(disk);
    int r = pool_create_on_device(&env.env, device, options, &host.why);
    if (r < 0) /* and it is as it was */
        CU_ASSERT_EQUAL(simdev_count(disk, SIMDEV_WRITE), 0);
    device_close(device);
    simdev_destroy(disk);
    return r;
}

static void test_create(void)
{
    uint64_t mib = 1 << 20;
    CU_ASSERT_EQUAL(try_create(8 * mib, &(struct pool_create_options){0}), 0);
    CU_ASSERT_EQUAL(try_create(8 * mib - 4096, &(struct pool_create_options){0}), -EINVAL);
    struct pool_create_options options = {.group_blks = DISK_GROUP_BLKS_MIN - 1};
    CU_ASSERT_EQUAL(try_create(16 * mib, &options), -EINVAL);
    options.group_blks = DISK_GROUP_BLKS_MAX + 1;
    CU_ASSERT_EQUAL(try_create(16 * mib, &options), -EINVAL);
    options.group_blks = 4096; /* one group only */
    CU_ASSERT_EQUAL(try_create(16 * mib, &options), -EINVAL);
    options.group_blks = 2048;
    CU_ASSERT_EQUAL(try_create(16 * mib, &options), 0);
    options.name = "not a name";
    CU_ASSERT_EQUAL(try_create(16 * mib, &options), -EINVAL);
}

static void test_create_over(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", 8);
    host_close(&host);
    struct device *device = simdev_open(host.disk);
    struct pool_create_options options = {.group_blks = HOST_GROUP_BLKS};
    CU_ASSERT_EQUAL(pool_create_on_device(&host.env.env, device, &options, &host.why), -EEXIST);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "a Lunette pool"));
    CU_ASSERT_EQUAL(host_open(&host, NULL), 0); /* unharmed */
    host_close(&host);
    options.overwrite = true;
    CU_ASSERT_EQUAL(pool_create_on_device(&host.env.env, device, &options, &host.why), 0);
    device_close(device);
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    CU_ASSERT_PTR_NULL(catalog_find_lun(host.pool, "a"));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

static CU_TestInfo names_tests[] = {
    {"names", test_names},
    {"templates", test_templates},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo volume_tests[] = {
    {"figures after each operation", test_figures},
    {"freed if deleted", test_freed},
    {"objects survive", test_catalog},
    {"snapshots follow their LUN's name", test_rename_with_snapshots},
    {"store", test_store},
    {"limits of the store", test_store_limits},
    {"events", test_events},
    {"dump", test_dump},
    {"making pools", test_create},
    {"making a pool over another", test_create_over},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"names", NULL, NULL, NULL, NULL, names_tests},
        {"volume", NULL, NULL, NULL, NULL, volume_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
