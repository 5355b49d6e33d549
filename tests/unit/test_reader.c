/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Parsing and building byte strings: a reader that never leaves its bytes and remembers its first
 * failure, a writer that grows and remembers ENOMEM. Linked with --wrap=realloc.
 */
#include <stdlib.h>
#include <string.h>

#include "lun/base/cleanup.h"
#include "lun/base/reader.h"
#include "tests/lib/cunit_main.h"

static bool realloc_fails;
static unsigned realloc_calls;

void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_realloc(void *old, size_t size)
{
    realloc_calls++;
    return realloc_fails ? NULL : __real_realloc(old, size);
}

static const uint8_t counting[32] = {
    1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16,
    17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32,
};

static void test_values(void)
{
    struct reader reader = reader_of(counting, sizeof(counting));
    CU_ASSERT_EQUAL(reader_left(&reader), 32);
    CU_ASSERT_EQUAL(reader_u8(&reader), 1);
    CU_ASSERT_EQUAL(reader_le16(&reader), 0x0302);
    CU_ASSERT_EQUAL(reader_le32(&reader), 0x07060504);
    CU_ASSERT_EQUAL(reader_le64(&reader), UINT64_C(0x0f0e0d0c0b0a0908));
    CU_ASSERT_EQUAL(reader_be16(&reader), 0x1011);
    CU_ASSERT_EQUAL(reader_be32(&reader), 0x12131415);
    CU_ASSERT_EQUAL(reader_be64(&reader), UINT64_C(0x161718191a1b1c1d));
    CU_ASSERT_EQUAL(reader_left(&reader), 3);
    CU_ASSERT_PTR_EQUAL(reader_bytes(&reader, 3), counting + 29);
    CU_ASSERT_EQUAL(reader_left(&reader), 0);
    CU_ASSERT_FALSE(reader.failed);
}

static void test_end_is_allowed(void)
{
    struct reader reader = reader_of(counting, 4);
    CU_ASSERT_EQUAL(reader_le32(&reader), 0x04030201);
    CU_ASSERT_PTR_NOT_NULL(reader_bytes(&reader, 0));
    CU_ASSERT_FALSE(reader.failed);
    CU_ASSERT_EQUAL(reader_u8(&reader), 0);
    CU_ASSERT_TRUE(reader.failed);
}

/* Each kind of read, one byte short: zero, and the failure stays. */
#define CHECK_SHORT(kind, size)                                                                    \
    do                                                                                             \
    {                                                                                              \
        AUTO_FREE uint8_t *exact = malloc(size);                                                   \
        CU_ASSERT_PTR_NOT_NULL_FATAL(exact);                                                       \
        memset(exact, 0xff, size);                                                                 \
        struct reader reader = reader_of(exact + 1, (size)-1);                                     \
        CU_ASSERT_EQUAL(reader_##kind(&reader), 0);                                                \
        CU_ASSERT_TRUE(reader.failed);                                                             \
        CU_ASSERT_EQUAL(reader_left(&reader), 0);                                                  \
        CU_ASSERT_EQUAL(reader_u8(&reader), 0);                                                    \
        CU_ASSERT_PTR_NULL(reader_bytes(&reader, 0));                                              \
    } while (0)

static void test_short(void)
{
    CHECK_SHORT(u8, 1);
    CHECK_SHORT(le16, 2);
    CHECK_SHORT(le32, 4);
    CHECK_SHORT(le64, 8);
    CHECK_SHORT(be16, 2);
    CHECK_SHORT(be32, 4);
    CHECK_SHORT(be64, 8);
}

static void test_huge_length(void)
{
    struct reader reader = reader_of(counting, sizeof(counting));
    CU_ASSERT_EQUAL(reader_u8(&reader), 1);
    CU_ASSERT_PTR_NULL(reader_bytes(&reader, SIZE_MAX));
    CU_ASSERT_TRUE(reader.failed);
    struct reader empty = reader_of(NULL, 0);
    CU_ASSERT_EQUAL(reader_left(&empty), 0);
    CU_ASSERT_FALSE(empty.failed);
    CU_ASSERT_EQUAL(reader_le16(&empty), 0);
    CU_ASSERT_TRUE(empty.failed);
}

static void test_writer_values(void)
{
    AUTO_WRITER struct writer writer = {0};
    writer_u8(&writer, 0x11);
    writer_le16(&writer, 0x2233);
    writer_le32(&writer, 0x44556677);
    writer_le64(&writer, UINT64_C(0x8899aabbccddeeff));
    writer_bytes(&writer, "xyz", 3);
    writer_bytes(&writer, NULL, 0);
    static const uint8_t expected[] = {0x11, 0x33, 0x22, 0x77, 0x66, 0x55, 0x44, 0xff, 0xee,
                                       0xdd, 0xcc, 0xbb, 0xaa, 0x99, 0x88, 'x',  'y',  'z'};
    CU_ASSERT_FALSE(writer.failed);
    CU_ASSERT_EQUAL_FATAL(writer.len, sizeof(expected));
    CU_ASSERT_EQUAL(memcmp(writer.bytes, expected, sizeof(expected)), 0);
}

static void test_writer_grows(void)
{
    AUTO_WRITER struct writer writer = {0};
    CU_ASSERT_PTR_NOT_NULL(writer_room(&writer, 0)); /* NULL would say that it failed */
    realloc_calls = 0;
    for (uint32_t i = 0; i < 100000; i++)
        writer_le32(&writer, i);
    CU_ASSERT_FALSE(writer.failed);
    CU_ASSERT_EQUAL_FATAL(writer.len, 400000);
    CU_ASSERT_TRUE(realloc_calls < 20); /* doubling, not a step per value */
    struct reader reader = reader_of(writer.bytes, writer.len);
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < 100000; i++)
        wrong += reader_le32(&reader) != i;
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_FALSE(reader.failed);
    CU_ASSERT_EQUAL(reader_left(&reader), 0);
    /* One piece that is larger than twice what there is. */
    uint8_t *room = writer_room(&writer, 5000000);
    CU_ASSERT_PTR_NOT_NULL_FATAL(room);
    memset(room, 0, 5000000);
    CU_ASSERT_EQUAL(writer.len, 5400000);
    CU_ASSERT_PTR_EQUAL(room, writer.bytes + 400000);
}

static void test_writer_without_memory(void)
{
    AUTO_WRITER struct writer writer = {0};
    writer_le32(&writer, 7);
    size_t capacity = writer.capacity;
    realloc_fails = true;
    CU_ASSERT_PTR_NULL(writer_room(&writer, capacity));
    realloc_fails = false;
    CU_ASSERT_TRUE(writer.failed);
    CU_ASSERT_EQUAL(writer.len, 4);
    /* It stays failed, so the gap cannot go unseen. */
    writer_u8(&writer, 1);
    CU_ASSERT_EQUAL(writer.len, 4);
    CU_ASSERT_PTR_NULL(writer_room(&writer, 0));
    writer_destroy(&writer);
    CU_ASSERT_PTR_NULL(writer.bytes);
    CU_ASSERT_FALSE(writer.failed);
}

/* A length near the end of size_t: doubling would wrap and never get there. */
static void test_writer_huge_length(void)
{
    AUTO_WRITER struct writer writer = {0};
    CU_ASSERT_PTR_NULL(writer_room(&writer, SIZE_MAX));
    CU_ASSERT_TRUE(writer.failed);
    AUTO_WRITER struct writer second = {0};
    writer_u8(&second, 1);
    CU_ASSERT_PTR_NULL(writer_room(&second, SIZE_MAX - 1));
    CU_ASSERT_TRUE(second.failed);
}

/* What an empty writer holds. */
static void test_nothing(void)
{
    struct writer writer = {0};
    struct reader reader = reader_of(writer.bytes, writer.len);
    CU_ASSERT_EQUAL(reader_left(&reader), 0);
    CU_ASSERT_FALSE(reader.failed);
    CU_ASSERT_EQUAL(reader_u8(&reader), 0);
    CU_ASSERT_TRUE(reader.failed);
}

static CU_TestInfo reader_tests[] = {
    {"values", test_values},        {"up to the end", test_end_is_allowed},
    {"one byte short", test_short}, {"huge length", test_huge_length},
    {"nothing", test_nothing},      CU_TEST_INFO_NULL,
};

static CU_TestInfo writer_tests[] = {
    {"values", test_writer_values},
    {"growth", test_writer_grows},
    {"no memory", test_writer_without_memory},
    {"huge length", test_writer_huge_length},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"reader", NULL, NULL, NULL, NULL, reader_tests},
        {"writer", NULL, NULL, NULL, NULL, writer_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
