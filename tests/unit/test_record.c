/* SPDX-License-Identifier: BSD-3-Clause */
/* Records: each action byte by byte, cut off at every place, and impossible ones. */
#include <errno.h>
#include <string.h>

#include "lun/map/change.h"
#include "lun/pool/record.h"
#include "lun/volume/catalog.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

static void make_write(struct writer *writer)
{
    action_write(writer, 1, 2, 3, 4, true, 5);
}

static void make_unmap(struct writer *writer)
{
    action_unmap(writer, 1, 2, 3);
}

static void make_line_new(struct writer *writer)
{
    action_line_new(writer, 1);
}

static void make_freeze(struct writer *writer)
{
    action_freeze(writer, 1, 2);
}

static void make_head(struct writer *writer)
{
    action_head(writer, 1, 2);
}

static void make_dying(struct writer *writer)
{
    action_dying(writer, 1);
}

static void make_put(struct writer *writer)
{
    action_put(writer, DISK_OBJECT_STORE, 1, "seven b", 7);
}

static void make_delete(struct writer *writer)
{
    action_delete(writer, 1);
}

static void make_walk(struct writer *writer)
{
    action_walk(writer, 1, 2, (struct tree_key){.hi = 3, .lo = 4});
}

static void make_gone(struct writer *writer)
{
    action_gone(writer, 1);
}

static void make_settle(struct writer *writer)
{
    action_settle(writer, 1, 2, 3, 4, true);
}

static void make_hand_over(struct writer *writer)
{
    action_hand_over(writer, 1);
}

/* Kind and length as FORMAT.md has them. */
static const struct
{
    void (*make)(struct writer *writer);
    enum action_kind kind;
    size_t len;
} forms[] = {
    {make_write, ACTION_WRITE, 34},      {make_unmap, ACTION_UNMAP, 25},
    {make_line_new, ACTION_LINE_NEW, 9}, {make_freeze, ACTION_FREEZE, 17},
    {make_head, ACTION_HEAD, 17},        {make_dying, ACTION_DYING, 9},
    {make_put, ACTION_PUT, 13 + 7},      {make_delete, ACTION_DELETE, 9},
    {make_walk, ACTION_WALK, 25},        {make_gone, ACTION_GONE, 9},
    {make_settle, ACTION_SETTLE, 26},    {make_hand_over, ACTION_HAND_OVER, 9},
};

static int count_data(void *opaque, const struct record_data *data)
{
    (void)data;
    ++*(unsigned *)opaque;
    return 0;
}

static int decode(const void *actions, size_t len)
{
    unsigned writes = 0;
    return record_each_data(actions, len, count_data, &writes);
}

static void test_forms(void)
{
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
    {
        AUTO_WRITER struct writer writer = {0};
        forms[i].make(&writer);
        CU_ASSERT_EQUAL(writer.len, forms[i].len);
        CU_ASSERT_EQUAL(writer.bytes[0], forms[i].kind);
        CU_ASSERT_EQUAL(decode(writer.bytes, writer.len), 0);
        for (size_t cut = 1; cut < writer.len; cut++)
            CU_ASSERT_EQUAL(decode(writer.bytes, cut), -EBADMSG);
    }
}

static void test_write_bytes(void)
{
    static const uint8_t expected[34] = {
        1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0,
        0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0,
    };
    AUTO_WRITER struct writer writer = {0};
    make_write(&writer);
    CU_ASSERT_EQUAL(memcmp(writer.bytes, expected, sizeof(expected)), 0);
}

struct seen
{
    unsigned count;
    struct record_data data[4];
};

static int see_data(void *opaque, const struct record_data *data)
{
    struct seen *seen = opaque;
    seen->data[seen->count++] = *data;
    return seen->count == 3 ? -ENOBUFS : 0;
}

static void test_each_data(void)
{
    struct seen seen = {0};
    AUTO_WRITER struct writer writer = {0};
    make_put(&writer);
    action_write(&writer, 1, 2, 30, 4, true, 77);
    make_walk(&writer);
    action_write(&writer, 1, 2, 40, 5, false, 0);
    CU_ASSERT_EQUAL(record_each_data(writer.bytes, writer.len, see_data, &seen), 0);
    CU_ASSERT_EQUAL_FATAL(seen.count, 2);
    CU_ASSERT_EQUAL(seen.data[0].blk, 30);
    CU_ASSERT_EQUAL(seen.data[0].len_blks, 4);
    CU_ASSERT_TRUE(seen.data[0].has_crc);
    CU_ASSERT_EQUAL(seen.data[0].crc, 77);
    CU_ASSERT_EQUAL(seen.data[1].blk, 40);
    CU_ASSERT_FALSE(seen.data[1].has_crc);
    /* The callback's error ends it. */
    CU_ASSERT_EQUAL(record_each_data(writer.bytes, writer.len, see_data, &seen), -ENOBUFS);
}

static void test_unknown_kinds(void)
{
    uint8_t bytes[64] = {0};
    CU_ASSERT_EQUAL(decode(bytes, 0), 0); /* nothing is a valid record of nothing */
    for (unsigned kind = 0; kind <= UINT8_MAX; kind++)
    {
        bool is_known = kind >= ACTION_WRITE && kind <= ACTION_HAND_OVER;
        bytes[0] = (uint8_t)kind;
        if (!is_known)
            CU_ASSERT_EQUAL(decode(bytes, sizeof(bytes)), -EBADMSG);
    }
    /* A write to block 0, which holds a superblock. */
    AUTO_WRITER struct writer writer = {0};
    action_write(&writer, 1, 2, 0, 4, false, 0);
    CU_ASSERT_EQUAL(decode(writer.bytes, writer.len), -EBADMSG);
}

/* No object has them: a pool with one would not open again. */
static void test_impossible_ids(void)
{
    const uint64_t ids[] = {0, UINT64_MAX};
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
    {
        AUTO_WRITER struct writer writer = {0};
        action_line_new(&writer, ids[i]);
        CU_ASSERT_EQUAL(decode(writer.bytes, writer.len), -EBADMSG);
        writer.len = 0;
        action_freeze(&writer, 1, ids[i]);
        CU_ASSERT_EQUAL(decode(writer.bytes, writer.len), -EBADMSG);
        writer.len = 0;
        action_head(&writer, ids[i], 1);
        CU_ASSERT_EQUAL(decode(writer.bytes, writer.len), -EBADMSG);
        writer.len = 0;
        action_put(&writer, DISK_OBJECT_STORE, ids[i], "", 0);
        CU_ASSERT_EQUAL(decode(writer.bytes, writer.len), -EBADMSG);
    }
}

static struct engine_host host;

/* What preparing says of a record for the present state. */
static int prepare(const struct writer *writer)
{
    AUTO_CHANGE struct change change;
    change_init(&change, host.pool);
    return record_prepare(&change, writer->bytes, writer->len);
}

static void test_impossible_io(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", 16);
    host_snapshot(&host, "a", "s");
    uint64_t head = host_line(&host, "a")->object.id, point = host_line(&host, "a@s")->object.id;
    uint64_t end = host.pool->size_blks, most = LUN_SIZE_MAX_BYTES / BLK_BYTES;
    const struct
    {
        uint64_t line, lba, blk;
        uint32_t len;
        int result;
    } cases[] = {
        {head, 0, end - 1, 1, 0},        {head, 0, end, 1, -EBADMSG},
        {head, 0, end - 1, 2, -EBADMSG}, {head, most - 1, 100, 1, 0},
        {head, most, 100, 1, -EBADMSG},  {head, UINT64_MAX, 100, 1, -EBADMSG},
        {head, 0, 100, 0, -EBADMSG},     {point, 0, 100, 1, -EBADMSG},
        {999, 0, 100, 1, -EBADMSG},      {head, 0, UINT64_MAX, 1, -EBADMSG},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
    {
        AUTO_WRITER struct writer writer = {0};
        action_write(&writer, cases[i].line, cases[i].lba, cases[i].blk, cases[i].len, false, 0);
        CU_ASSERT_EQUAL(prepare(&writer), cases[i].result);
    }
    host_stop(&host);
}

/* Applies to the pool as it is; what is refused changes nothing that the check would see. */
static int apply(const struct writer *writer)
{
    AUTO_CHANGE struct change change;
    change_init(&change, host.pool);
    return record_apply(&change, writer->bytes, writer->len);
}

static void test_impossible_lineage(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", 16);
    host_snapshot(&host, "a", "s");
    uint64_t head = host_line(&host, "a")->object.id, point = host_line(&host, "a@s")->object.id;
    uint64_t lun = host_object(&host, "a")->object.id;
    struct tree_key key = {0};
    struct writer w = {0};
#define REFUSED(call)                                                                              \
    do                                                                                             \
    {                                                                                              \
        w.len = 0;                                                                                 \
        call;                                                                                      \
        CU_ASSERT_EQUAL(apply(&w), -EBADMSG);                                                      \
    } while (0)
    REFUSED(action_line_new(&w, head));     /* the id is taken */
    REFUSED(action_freeze(&w, point, 900)); /* frozen already */
    REFUSED(action_freeze(&w, 901, 902));   /* no such line */
    REFUSED(action_head(&w, 900, head));    /* not a point */
    REFUSED(action_head(&w, head, point));  /* the id is taken */
    REFUSED(action_dying(&w, point));       /* a point is not deleted so */
    REFUSED(action_delete(&w, lun));        /* its head still lives */
    REFUSED(action_delete(&w, 900));        /* nothing there */
    REFUSED(action_delete(&w, head));       /* a line is not deleted so */
    REFUSED(action_gone(&w, head));         /* not a leaf */
    REFUSED(action_hand_over(&w, point));   /* not hidden */
    REFUSED(action_put(&w, DISK_OBJECT_LUN, 900, "short", 5));
    REFUSED(action_put(&w, DISK_OBJECT_LINE, 900, "", 0));
#undef REFUSED
    w.len = 0;
    action_walk(&w, head, 0, key);
    CU_ASSERT_EQUAL(prepare(&w), -EBADMSG); /* not a leaf */
    w.len = 0;
    action_settle(&w, point, 1, 100, 1, false);
    CU_ASSERT_EQUAL(prepare(&w), -EBADMSG); /* not hidden */
    writer_destroy(&w);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

static CU_TestInfo record_tests[] = {
    {"every action, and every place to cut it", test_forms},
    {"bytes of a write", test_write_bytes},
    {"data of a record", test_each_data},
    {"unknown kinds", test_unknown_kinds},
    {"numbers that no object has", test_impossible_ids},
    {"writes that cannot be meant", test_impossible_io},
    {"lineage changes that cannot be meant", test_impossible_lineage},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"record", NULL, NULL, NULL, NULL, record_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
