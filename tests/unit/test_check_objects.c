/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the check says when objects contradict each other. No command makes them so: one field is
 * changed in memory, the check must name it, and must be content again when the field is as it was.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/volume/catalog.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

static struct engine_host host;

static struct hearing
{
    const char *text;
    unsigned errors;
    bool is_said;
} hearing;

static void hear(void *opaque, bool is_error, const char *text)
{
    (void)opaque;
    hearing.errors += is_error;
    hearing.is_said |= is_error && hearing.text && strcmp(text, hearing.text) == 0;
}

static void check(const char *text)
{
    struct check_result result;
    hearing = (struct hearing){.text = text};
    CU_ASSERT_EQUAL_FATAL(pool_check(host.pool, hear, NULL, &result), 0);
}

/* With @len bytes of @field as in @wrong the check says @text. */
static void expect(const char *text, void *field, const void *wrong, size_t len)
{
    uint8_t right[64];
    CU_ASSERT_FATAL(len <= sizeof(right));
    memcpy(right, field, len);
    CU_ASSERT_NOT_EQUAL(memcmp(right, wrong, len), 0);
    memcpy(field, wrong, len);
    check(text);
    memcpy(field, right, len);
    if (!hearing.is_said)
    {
        printf("\n    not said: %s ", text);
        CU_FAIL("see above");
    }
    check(NULL);
    CU_ASSERT_EQUAL(hearing.errors, 0);
}

#define EXPECT(text, field, ...)                                                                   \
    do                                                                                             \
    {                                                                                              \
        const __typeof__(field) wrong_ = (__VA_ARGS__);                                            \
        expect(text, &(field), &wrong_, sizeof(wrong_));                                           \
    } while (0)

static void snapshot_volume(const char *volume, const char *name)
{
    struct volume_snapshot_args args = {.name = name};
    CU_ASSERT_EQUAL_FATAL(volume_snapshot_create(host.pool, &volume, 1, &args, &host.why), 0);
}

/* "v" with "v/a" and "v/q/b" and the snapshots "s" and "t"; "w" is a clone of "s". "v/a" has a
 * snapshot of its own, and so has "l", which is outside volumes. */
static void start(void)
{
    struct volume_attributes attributes = {.size_bytes = 4 << 20};
    struct volume_clone_args clone = {.volume = "v", .snapshot = "s", .name = "w"};
    host_start(&host, NULL);
    CU_ASSERT_EQUAL_FATAL(volume_create(host.pool, "v", &attributes, &host.why), 0);
    CU_ASSERT_EQUAL_FATAL(qtree_create(host.pool, "v/q", NULL, &host.why), 0);
    host_create(&host, "v/a", 16);
    host_create(&host, "v/q/b", 16);
    host_create(&host, "l", 16);
    snapshot_volume("v", "s");
    snapshot_volume("v", "t");
    host_snapshot(&host, "v/a", "own");
    host_snapshot(&host, "l", "own");
    CU_ASSERT_EQUAL_FATAL(volume_clone(host.pool, &clone, &host.why), 0);
    host_settle(&host);
    check(NULL);
    CU_ASSERT_EQUAL_FATAL(hearing.errors, 0);
}

static void test_luns(void)
{
    start();
    struct volume_object *w = catalog_find_volume(host.pool, "w");
    struct qtree_object *q = catalog_find_qtree(host.pool, "v/q");
    struct lun_object *a = host_object(&host, "v/a"), *l = host_object(&host, "l");
    EXPECT("LUN v/a counts 4 snapshots, there are 3", a->snapshot_count, 4);
    EXPECT("the blocks of LUN v/a are charged to another volume than its own",
           atomic_load(&a->line)->volume, w);
    EXPECT("LUN v/q/b is in a qtree of another volume", q->volume, w);
    EXPECT("LUN v is named like a volume or qtree", l->name[0], 'v');
    EXPECT("LUN x/a does not have the name of its place", a->name[0], 'x');
    EXPECT("LUN v/x does not have the name of its place", a->name[2], 'x'); /* found by another */
    host_stop(&host);
}

static void test_snapshots(void)
{
    start();
    struct volume_object *v = catalog_find_volume(host.pool, "v");
    struct volume_snapshot_object *s = catalog_find_volume_snapshot(host.pool, "v@s");
    struct volume_snapshot_object *t = catalog_find_volume_snapshot(host.pool, "v@t");
    struct lun_object *member = host_object(&host, "v/a@t"), *own = host_object(&host, "v/a@own");
    EXPECT("v/a@t is not what a member of the volume snapshot v@s can be", member->volume_snapshot,
           s);
    EXPECT("snapshot v/a@own is in a volume by itself", own->volume, v);
    EXPECT("volume snapshot v@t counts its members or clones wrongly", t->member_count, 3);
    EXPECT("volume snapshot v@s counts its members or clones wrongly", s->clone_count, 0);
    EXPECT("volume snapshot v@t holds LUN v/a 2 times", own->volume_snapshot, t);
    EXPECT("volume snapshot v@t should have gone with its last clone", t->flags,
           t->flags | DISK_VOLUME_SNAPSHOT_DEFERRED);
    host_stop(&host);
}

static void test_volumes(void)
{
    start();
    struct volume_object *v = catalog_find_volume(host.pool, "v");
    struct volume_object *w = catalog_find_volume(host.pool, "w");
    struct volume_snapshot_object *s = catalog_find_volume_snapshot(host.pool, "v@s");
    struct qtree_object *q = catalog_find_qtree(host.pool, "v/q");
    EXPECT("volume v descends from itself", v->parent, s);
    EXPECT("volume w depends on another snapshot than is stored", w->parent_snapshot_id, 999);
    EXPECT("qtree v/q counts its LUNs wrongly", q->lun_count, 2);
    EXPECT("volume v counts what is in it wrongly", v->lun_count, 3);
    EXPECT("volume v counts what is in it wrongly", v->qtree_count, 0);
    EXPECT("volume v counts what is in it wrongly", v->snapshot_count, 1);
    EXPECT("volume v counts what is in it wrongly", v->line_count, v->line_count + 1);
    const char *pool = "the pool counts its LUNs, snapshots or volumes wrongly";
    EXPECT(pool, host.pool->lun_count, host.pool->lun_count + 1);
    EXPECT(pool, host.pool->snapshot_count, host.pool->snapshot_count - 1);
    EXPECT(pool, host.pool->volume_count, host.pool->volume_count + 1);
    host_stop(&host);
}

static CU_TestInfo check_objects_tests[] = {
    {"LUNs", test_luns},
    {"snapshots", test_snapshots},
    {"volumes", test_volumes},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"check of objects", NULL, NULL, NULL, NULL, check_objects_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
