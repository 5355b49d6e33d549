/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Metadata that nobody but a forger writes: every checksum is right, and the content impossible.
 * It is refused where it is read, and never acted upon.
 */
#include <errno.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/pool/record.h"
#include "lun/volume/catalog.h"
#include "lun/volume/verify.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

enum
{
    EXTENTS = 300, /* more than a leaf holds */
};

static struct engine_host host;

/* "a" with a map of two levels, a snapshot and a clone; "b" small. All of it on the disk. */
static void start(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", 1024);
    for (uint64_t i = 0; i < EXTENTS; i++)
        CU_ASSERT_EQUAL(host_write(&host, "a", 2 * i, 1, 1, 0), 0);
    host_snapshot(&host, "a", "s");
    host_clone(&host, "a@s", "c");
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 2, 2, 0), 0);
    host_create(&host, "b", 64);
    CU_ASSERT_EQUAL(host_write(&host, "b", 0, 4, 3, 0), 0);
    host_settle(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
}

/* ---- trees --------------------------------------------------------------------------------- */

/* Root of the map of "c", closed, with its two children. */
static uint64_t close_with_root(struct disk_node *root)
{
    start();
    uint64_t blk = host_line(&host, "c")->map.root.blk;
    CU_ASSERT_EQUAL_FATAL(host_line(&host, "c")->map.levels, 2);
    host_close(&host);
    simdev_peek(host.disk, root, sizeof(*root), blk * BLK_BYTES);
    CU_ASSERT_EQUAL_FATAL(le16_get(root->count), 2);
    return blk;
}

/* The map of "c" is refused for reading, writing, unmapping and by the check. */
static void expect_refused_map(void)
{
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    CU_ASSERT_EQUAL(host_write(&host, "c", 598, 1, 9, 0), -EBADMSG);
    CU_ASSERT_EQUAL(host_unmap(&host, "c", 598, 1), -EBADMSG);
    CU_ASSERT_FALSE(host_holds(&host, "c", 598, 1, 1));
    CU_ASSERT_TRUE(host_check(&host) > 0);
    CU_ASSERT_TRUE(host_holds(&host, "b", 0, 4, 3)); /* others go on */
    CU_ASSERT_EQUAL(host_write(&host, "b", 0, 1, 4, LUN_FUA), 0);
    host_crash(&host);
    host_stop(&host);
}

/* The first child in the place of the second as well: what is below a node may be there twice, and
 * so be looked at an endless number of times. */
static void test_child_twice(void)
{
    struct disk_node root;
    uint64_t blk = close_with_root(&root);
    struct disk_child second = root.children[0];
    second.key_hi = root.children[1].key_hi;
    second.key_lo = root.children[1].key_lo;
    host_forge(&host, blk, offsetof(struct disk_node, children) + sizeof(second), &second,
               sizeof(second));
    expect_refused_map();
}

/* The second begins where entries of the first are. */
static void test_child_out_of_place(void)
{
    struct disk_node root;
    uint64_t blk = close_with_root(&root);
    struct le40 low = le40_put(le40_get(root.children[1].key_lo) + 100);
    host_forge(&host, blk,
               offsetof(struct disk_node, children) + sizeof(struct disk_child) +
                   offsetof(struct disk_child, key_lo),
               &low, sizeof(low));
    expect_refused_map();
}

/* Keys of maps are block addresses, and have no upper part; the first child's key does not count.
 */
static void test_child_key(void)
{
    struct disk_node root;
    CU_ASSERT_TRUE(close_with_root(&root) > 0);
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    root.children[0].key_hi = le32_put(1);
    CU_ASSERT_TRUE(tree_node_is_sane(host.pool, &root));
    root.children[1].key_hi = le32_put(1);
    CU_ASSERT_FALSE(tree_node_is_sane(host.pool, &root));
    host_stop(&host);
}

/* Pointers to a superblock, into the journal, and to a checkpoint that has not been. */
static void test_pointers(void)
{
    static const uint64_t blks[] = {0, 9, HOST_GROUP_BLKS, HOST_POOL_BYTES / BLK_BYTES};
    struct disk_node root;
    size_t at = offsetof(struct disk_node, children) + sizeof(struct disk_child);
    for (size_t i = 0; i < ARRAY_SIZE(blks); i++)
    {
        uint64_t blk = close_with_root(&root);
        struct le40 child = le40_put(blks[i]);
        host_forge(&host, blk, at + offsetof(struct disk_child, blk), &child, sizeof(child));
        expect_refused_map();
    }
    uint64_t blk = close_with_root(&root);
    struct le48 cp_id = le48_put(1000);
    host_forge(&host, blk, at + offsetof(struct disk_child, cp_id), &cp_id, sizeof(cp_id));
    expect_refused_map();
}

/* Data where the pool keeps its own: a write in place would destroy it. */
static void test_data_on_metadata(void)
{
    static const uint64_t blks[] = {0, 9, HOST_GROUP_BLKS - 2, HOST_GROUP_BLKS};
    for (size_t i = 0; i < ARRAY_SIZE(blks); i++)
    {
        start();
        uint64_t leaf = host_line(&host, "b")->map.root.blk;
        host_close(&host);
        struct le40 blk = le40_put(blks[i]);
        host_forge(&host, leaf,
                   offsetof(struct disk_node, entries) + offsetof(struct disk_map_entry, blk), &blk,
                   sizeof(blk));
        CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
        CU_ASSERT_EQUAL(host_write(&host, "b", 0, 1, 9, 0), -EBADMSG);
        CU_ASSERT_TRUE(host_check(&host) > 0);
        host_crash(&host);
        host_stop(&host);
    }
}

/* ---- objects ------------------------------------------------------------------------------- */

/* Forges @len bytes of an object on its page, and expects that the pool does not open. */
static void expect_refused_object(const struct object *object, size_t offset, const void *bytes,
                                  size_t len)
{
    uint64_t blk = object->page->blks[0];
    size_t at = offsetof(struct disk_page, slots) +
                (size_t)object->slot * object->page->slot_bytes + sizeof(struct disk_object) +
                offset;
    host_close(&host);
    host_forge(&host, blk, at, bytes, len);
    CU_ASSERT_EQUAL(host_open(&host, NULL), -EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "damaged"));
    host_close(&host);
    host_stop(&host);
}

static void expect_refused_line(const char *name, size_t offset, uint64_t value, size_t len)
{
    start();
    struct le64 bytes[2] = {le64_put(value), le64_put(0)};
    expect_refused_object(&host_line(&host, name)->object, offset, bytes, len);
}

static void test_lines(void)
{
    expect_refused_line("a", offsetof(struct disk_line, birth), 0, 4);
    expect_refused_line("a", offsetof(struct disk_line, birth), 1, 4); /* as old as the point */
    expect_refused_line("a", offsetof(struct disk_line, birth), 99, 4);
    expect_refused_line("a@s", offsetof(struct disk_line, frozen_at), 99, 4);
    expect_refused_line("a@s", offsetof(struct disk_line, flags), DISK_LINE_DYING, 4);
    expect_refused_line("a@s", offsetof(struct disk_line, flags), DISK_LINE_WALKING, 4);
    expect_refused_line("a", offsetof(struct disk_line, flags), DISK_LINE_WALKING, 4);
    expect_refused_line("a", offsetof(struct disk_line, dropped_data_blks), 0, 16);
    expect_refused_line("b", offsetof(struct disk_line, dropped_data_blks), 1, 8);
    expect_refused_line("b", offsetof(struct disk_line, predecessor_id), 3, 8);
    expect_refused_line("a", offsetof(struct disk_line, map) + offsetof(struct disk_root, levels),
                        0, 1);
}

static void expect_refused_lun(const char *name, size_t offset, uint64_t value, size_t len)
{
    start();
    struct le64 bytes = le64_put(value);
    expect_refused_object(&host_object(&host, name)->object, offset, &bytes, len);
}

static void test_luns(void)
{
    expect_refused_lun("b", offsetof(struct disk_lun, size_bytes), 0, 8);
    expect_refused_lun("b", offsetof(struct disk_lun, size_bytes), 1000, 8);
    expect_refused_lun("b", offsetof(struct disk_lun, size_bytes), UINT64_C(1) << 51, 8);
    expect_refused_lun("b", offsetof(struct disk_lun, trim_end_bytes), UINT64_MAX, 8);
    expect_refused_lun("b", offsetof(struct disk_lun, lun_id), 1, 8);
    expect_refused_lun("b", sizeof(struct disk_lun), '/', 1); /* the name */
    start();
    struct le64 line_id = le64_put(host_line(&host, "a")->object.id); /* two LUNs on a line */
    expect_refused_object(&host_object(&host, "b")->object, offsetof(struct disk_lun, line_id),
                          &line_id, sizeof(line_id));
}

static void test_names(void)
{
    static const char *const bad[] = {"", "a/b", "a@b", "a..b", "-a", "a b", "\xc3\xa9"};
    CU_ASSERT_EQUAL(verify_name("vm-1.a_b:c+d", 12), 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CU_ASSERT_EQUAL(verify_name(bad[i], strlen(bad[i])), -EBADMSG);
    CU_ASSERT_EQUAL(verify_name("a\0b", 3), -EBADMSG);
}

/* Ids that would be given out again. */
static void test_next_id(void)
{
    start();
    host_close(&host);
    struct le64 low = le64_put(2);
    const uint64_t copies[] = {0, 1, HOST_GROUP_BLKS, HOST_GROUP_BLKS + 1};
    for (size_t i = 0; i < ARRAY_SIZE(copies); i++)
        host_forge(&host, copies[i], offsetof(struct disk_super, next_id), &low, sizeof(low));
    CU_ASSERT_EQUAL(host_open(&host, NULL), -EBADMSG);
    host_stop(&host);
}

/* ---- records ------------------------------------------------------------------------------- */

/* Appends a record without applying it, and expects that recovery refuses it. */
static void expect_refused_record(struct writer *writer, const uint64_t *nodes, unsigned count)
{
    journal_append(host.pool->journal, writer->bytes, writer->len, nodes, count, true);
    writer_destroy(writer);
    host_flush(&host);
    host_crash(&host);
    CU_ASSERT_EQUAL(host_open(&host, NULL), -EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "journal"));
    host_close(&host);
    host_stop(&host);
}

static uint64_t line_id(const char *name)
{
    return host_line(&host, name)->object.id;
}

/* Lines that would be nobody's, or of a LUN that is gone. */
static void test_records_of_lines(void)
{
    struct writer writer = {0};
    start();
    action_line_new(&writer, 1000);
    action_freeze(&writer, 1000, 1001);
    expect_refused_record(&writer, NULL, 0);

    writer = (struct writer){0};
    start();
    action_line_new(&writer, 1000);
    expect_refused_record(&writer, NULL, 0);

    writer = (struct writer){0};
    start();
    action_dying(&writer, line_id("b"));
    expect_refused_record(&writer, NULL, 0);

    writer = (struct writer){0};
    start();
    host_create(&host, "empty", 4);
    action_dying(&writer, line_id("empty"));
    action_gone(&writer, line_id("empty"));
    expect_refused_record(&writer, NULL, 0);

    writer = (struct writer){0};
    start();
    action_line_new(&writer, host_object(&host, "b")->object.id);
    expect_refused_record(&writer, NULL, 0);
}

static void test_records_of_work(void)
{
    struct writer writer = {0};
    start();
    host_delete(&host, "b");
    uint64_t dying = 0;
    list_for_each (line, &host.pool->lines, struct line, all_link)
        dying = line->is_dying ? line->object.id : dying;
    action_walk(&writer, dying, 0, (struct tree_key){.lo = 5}); /* not where the walk is */
    expect_refused_record(&writer, NULL, 0);

    static const uint64_t blks[] = {0, 9, UINT64_MAX - 1};
    for (size_t i = 0; i < ARRAY_SIZE(blks); i++)
    {
        writer = (struct writer){0};
        start();
        uint64_t point = line_id("a@s");
        host_delete(&host, "a@s");
        action_settle(&writer, point, 1, blks[i], 3, false);
        expect_refused_record(&writer, NULL, 0);
    }
}

/* Fewer nodes than it takes, with no bitmap in memory to take others from. */
static void test_records_without_nodes(void)
{
    struct writer writer = {0};
    start();
    action_unmap(&writer, line_id("c"), 2, 1);
    expect_refused_record(&writer, NULL, 0);
}

/* A snapshot does not move, neither to another point nor to another LUN. */
static void test_records_of_snapshots(void)
{
    start();
    host_snapshot(&host, "b", "t");
    struct lun_object *snapshot = host_object(&host, "a@s");
    struct writer bytes = {0}, writer = {0};
    catalog_encode(&snapshot->object, &bytes);
    struct disk_lun *disk = (void *)bytes.bytes;
    disk->line_id = le64_put(line_id("b@t"));
    action_put(&writer, DISK_OBJECT_SNAPSHOT, snapshot->object.id, bytes.bytes, bytes.len);
    writer_destroy(&bytes);
    expect_refused_record(&writer, NULL, 0);
}

/* ---- free space ---------------------------------------------------------------------------- */

/* Two trees free one block while its bitmap is not in memory: nothing may be written any more. */
static void test_freed_twice(void)
{
    start();
    host_reopen(&host);
    uint64_t last = HOST_POOL_BYTES / BLK_BYTES - 1;
    space_free(host.pool->space, last, 1, false);
    space_free(host.pool->space, last, 1, false);
    CU_ASSERT_TRUE(pool_checkpoint(host.pool) < 0);
    CU_ASSERT_EQUAL(host_write(&host, "b", 0, 1, 9, 0), -EROFS);
    host_close(&host);
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

/* A record that was prepared and cannot be applied. */
static void test_contradiction(void)
{
    start();
    host.pool->next_id = line_id("a"); /* the next LUN's line gets an id that is taken */
    struct lun_create_args args = {.name = "new", .size_bytes = BLK_BYTES};
    CU_ASSERT_TRUE(lun_create(host.pool, &args, NULL) < 0);
    CU_ASSERT_EQUAL(host_write(&host, "b", 0, 1, 9, 0), -EROFS);
    host_close(&host);
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

static CU_TestInfo hostile_tests[] = {
    {"a child in two places", test_child_twice},
    {"a child out of its place", test_child_out_of_place},
    {"a child with an impossible key", test_child_key},
    {"pointers", test_pointers},
    {"data on metadata", test_data_on_metadata},
    {"lines", test_lines},
    {"LUNs and snapshots", test_luns},
    {"names", test_names},
    {"ids", test_next_id},
    {"records of lines", test_records_of_lines},
    {"records of background work", test_records_of_work},
    {"records without their nodes", test_records_without_nodes},
    {"records of snapshots", test_records_of_snapshots},
    {"a block freed twice", test_freed_twice},
    {"a contradiction in memory", test_contradiction},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"hostile", NULL, NULL, NULL, NULL, hostile_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
