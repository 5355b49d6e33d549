/* SPDX-License-Identifier: BSD-3-Clause */
/* Ranges of blocks: how they are written, which are refused, what a copy of them takes and does. */
#include "server/copy.h"

#include <errno.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/moment.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

static struct engine_host host;
static struct reason why;

enum
{
    SECTORS = LUN_BLK_BYTES / 512 /* of a block of the pool */
};

/* ---- how they are written ------------------------------------------------------------------ */

static void test_parse(void)
{
    static const char *const bad[] = {"",
                                      ":",
                                      "::",
                                      "1",
                                      "1:2",
                                      "1:2:",
                                      "1:2:0",
                                      "1:2:3:",
                                      "1:2:3:4",
                                      "-1:2:3",
                                      "+1:2:3",
                                      " 1:2:3",
                                      "1:2:3 ",
                                      "1:2:0x3",
                                      "1k:2:3",
                                      "1:2:3k",
                                      "1.5:2:3",
                                      "a:b:c",
                                      "1,2,3",
                                      "9223372036854775808:0:1",
                                      "18446744073709551616:0:1",
                                      "000000000000000000000000000000000000001:0:1"};
    struct copy_range range = {7, 7, 7};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    {
        reason_clear(&why);
        CU_ASSERT_EQUAL(copy_parse_range(bad[i], &range, &why), -EINVAL);
        CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "SRC-BLOCK:DST-BLOCK:COUNT"));
    }
    CU_ASSERT_EQUAL(range.from_blk + range.to_blk + range.count, 21); /* untouched */
    CU_ASSERT_EQUAL(copy_parse_range("0:010:9223372036854775807", &range, NULL), 0);
    CU_ASSERT_EQUAL(range.from_blk, 0);
    CU_ASSERT_EQUAL(range.to_blk, 10); /* decimal */
    CU_ASSERT_EQUAL(range.count, INT64_MAX);
}

/* ---- which are refused --------------------------------------------------------------------- */

static int check2(struct copy_range a, struct copy_range b, bool is_same)
{
    const struct copy_range ranges[] = {a, b};
    const struct copy_ends ends = {"from", "to", 100, is_same ? 100 : 50, is_same};
    reason_clear(&why);
    return copy_check_ranges(ranges, 2, &ends, &why);
}

static void test_bounds(void)
{
    const struct copy_range good = {0, 0, 1};
    CU_ASSERT_EQUAL(check2(good, (struct copy_range){99, 49, 1}, false), 0);
    CU_ASSERT_EQUAL(check2(good, (struct copy_range){99, 1, 2}, false), -EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "source 'from', which has 100"));
    CU_ASSERT_EQUAL(check2(good, (struct copy_range){1, 49, 2}, false), -EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "destination 'to', which has 50"));
    CU_ASSERT_EQUAL(check2(good, (struct copy_range){INT64_MAX, 1, INT64_MAX}, false), -EINVAL);
    CU_ASSERT_EQUAL(check2(good, (struct copy_range){1, INT64_MAX, INT64_MAX}, false), -EINVAL);
    CU_ASSERT_EQUAL(check2(good, (struct copy_range){100, 1, 1}, false), -EINVAL);
}

static void test_overlaps(void)
{
    /* Sources, destinations: in any order, between any objects. */
    for (int same = 0; same < 2; same++)
    {
        CU_ASSERT_EQUAL(check2((struct copy_range){0, 20, 4}, (struct copy_range){4, 30, 4}, same),
                        0);
        CU_ASSERT_EQUAL(check2((struct copy_range){0, 20, 5}, (struct copy_range){4, 30, 4}, same),
                        -EINVAL);
        CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "the source of range 0:20:5 and the source of "
                                                "range 4:30:4 overlap from block 4 on"));
        CU_ASSERT_EQUAL(check2((struct copy_range){4, 30, 4}, (struct copy_range){0, 20, 5}, same),
                        -EINVAL);
        CU_ASSERT_EQUAL(check2((struct copy_range){0, 20, 4}, (struct copy_range){8, 23, 4}, same),
                        -EINVAL);
        CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "the destination of range 0:20:4 and the "
                                                "destination of range 8:23:4"));
    }
    /* Source and destination: in one object only, also of one range and of different ones. */
    const struct copy_range far = {40, 45, 1};
    CU_ASSERT_EQUAL(check2((struct copy_range){0, 3, 4}, far, false), 0);
    CU_ASSERT_EQUAL(check2((struct copy_range){0, 3, 4}, far, true), -EINVAL);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "of the LUN and range"));
    CU_ASSERT_EQUAL(check2((struct copy_range){0, 0, 4}, far, true), -EINVAL);
    CU_ASSERT_EQUAL(check2((struct copy_range){0, 4, 4}, far, true), 0);
    CU_ASSERT_EQUAL(check2((struct copy_range){4, 0, 4}, far, true), 0);
    CU_ASSERT_EQUAL(check2((struct copy_range){0, 42, 4}, far, true), -EINVAL);
    CU_ASSERT_EQUAL(check2((struct copy_range){0, 42, 4}, far, false), -EINVAL); /* 45 in 42..45 */
}

/* Against a look at each pair of blocks. */
static bool overlaps_slowly(const struct copy_range *ranges, size_t count, bool is_same)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++)
        {
            const struct copy_range *a = &ranges[i], *b = &ranges[j];
            bool from =
                a->from_blk < b->from_blk + b->count && b->from_blk < a->from_blk + a->count;
            bool to = a->to_blk < b->to_blk + b->count && b->to_blk < a->to_blk + a->count;
            bool cross = a->from_blk < b->to_blk + b->count && b->to_blk < a->from_blk + a->count;
            if ((i != j && (from || to)) || (is_same && cross))
                return true;
        }
    return false;
}

static void test_random_overlaps(void)
{
    struct rng rng = rng_of(4);
    unsigned refused = 0, wrong = 0;
    for (int n = 0; n < 20000; n++)
    {
        struct copy_range ranges[5];
        const struct copy_ends ends = {"from", "to", 1000, 1000, rng_below(&rng, 2)};
        size_t count = 1 + rng_below(&rng, 5);
        for (size_t i = 0; i < count; i++)
            ranges[i] = (struct copy_range){rng_below(&rng, 60), rng_below(&rng, 60),
                                            1 + rng_below(&rng, 8)};
        bool is_refused = copy_check_ranges(ranges, count, &ends, NULL) < 0;
        refused += is_refused;
        wrong += is_refused != overlaps_slowly(ranges, count, ends.is_same);
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT(refused > 4000 && refused < 19000);
}

/* ---- what it takes and does ---------------------------------------------------------------- */

struct gate
{
    unsigned steps, last; /* last: so many may be made; 0: all */
};

static int gate_cb(void *opaque, uint64_t bytes)
{
    struct gate *gate = opaque;
    (void)bytes;
    return gate->last && gate->steps == gate->last ? -ECANCELED : ((void)gate->steps++, 0);
}

static void open_both(struct copy *copy, const char *from, const char *to)
{
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, from, LUN_READ_ONLY, &copy->from, &why), 0);
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, to, 0, &copy->to, &why), 0);
}

static void close_both(struct copy *copy)
{
    lun_close(copy->from);
    lun_close(copy->to);
}

static void test_copy(void)
{
    struct gate gate = {0};
    /* Data, a hole, data; the destination owns some of it, and shares some. */
    const struct copy_range ranges[] = {{0, 40 * SECTORS, 30 * SECTORS},
                                        {30 * SECTORS, 0, 5 * SECTORS}};
    struct copy copy = {
        .ranges = ranges, .count = 2, .sector_bytes = 512, .admit = gate_cb, .opaque = &gate};
    struct copy_plan plan;
    host_start(&host, NULL);
    host_create(&host, "a", 100);
    host_create(&host, "b", 100);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 10, 1, 0), 0);
    CU_ASSERT_EQUAL(host_write(&host, "a", 20, 12, 2, 0), 0);
    CU_ASSERT_EQUAL(host_write(&host, "b", 0, 45, 3, 0), 0);
    host_snapshot(&host, "b", "s");
    CU_ASSERT_EQUAL(host_write(&host, "b", 40, 2, 4, 0), 0); /* own */
    open_both(&copy, "a", "b");
    CU_ASSERT_EQUAL(copy_plan(&copy, &plan), 0);
    CU_ASSERT_EQUAL(plan.data_bytes, (20 + 2) * LUN_BLK_BYTES);
    CU_ASSERT_EQUAL(plan.hole_bytes, (10 + 3) * LUN_BLK_BYTES);
    CU_ASSERT_EQUAL(plan.new_bytes, (20 - 2 + 2) * LUN_BLK_BYTES);
    uint64_t before = host_data_blks(&host);
    CU_ASSERT_EQUAL(copy_run(&copy), 0);
    CU_ASSERT_EQUAL(host_data_blks(&host) - before, 20); /* as planned */
    CU_ASSERT_EQUAL(copy.data_bytes, plan.data_bytes);
    CU_ASSERT_EQUAL(copy.hole_bytes, plan.hole_bytes);
    close_both(&copy);
    CU_ASSERT(host_holds(&host, "b", 40, 10, 1));
    CU_ASSERT(host_holds(&host, "b", 50, 10, 0));
    CU_ASSERT(host_holds(&host, "b", 60, 10, 2));
    CU_ASSERT(host_holds(&host, "b", 0, 2, 2));
    CU_ASSERT(host_holds(&host, "b", 2, 3, 0));
    CU_ASSERT(host_holds(&host, "b", 5, 35, 3));
    CU_ASSERT_EQUAL(host_info(&host, "b").mapped_bytes, (22 + 35) * LUN_BLK_BYTES);
    CU_ASSERT(host_holds(&host, "b@s", 0, 45, 3));
    CU_ASSERT(host_holds(&host, "a", 0, 10, 1));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

/* It ends where it is told to, and where there is no more room; what was not copied is as it was.
 */
static void test_ends(void)
{
    struct gate gate = {.last = 2};
    const struct copy_range ranges[] = {{0, 0, 1000 * SECTORS}};
    struct copy copy = {
        .ranges = ranges, .count = 1, .sector_bytes = 512, .admit = gate_cb, .opaque = &gate};
    host_start(&host, NULL);
    host_create(&host, "a", 1000);
    host_create(&host, "b", 1000);
    host_create(&host, "c", 8000);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1000, 1, 0), 0);
    open_both(&copy, "a", "b");
    CU_ASSERT_EQUAL(copy_run(&copy), -ECANCELED);
    CU_ASSERT_EQUAL(copy.data_bytes, 2 * COPY_STEP_BYTES);
    close_both(&copy);
    CU_ASSERT(host_holds(&host, "b", 0, 512, 1));
    CU_ASSERT(host_holds(&host, "b", 512, 488, 0));
    uint64_t lba = 0;
    while (lba < 8000 && host_write(&host, "c", lba, 10, 9, 0) == 0)
        lba += 10;
    gate = (struct gate){0};
    copy.data_bytes = 0;
    open_both(&copy, "a", "b");
    CU_ASSERT_EQUAL(copy_run(&copy), -ENOSPC);
    CU_ASSERT_EQUAL(copy.data_bytes, 2 * COPY_STEP_BYTES); /* in place */
    close_both(&copy);
    CU_ASSERT(host_holds(&host, "b", 0, 512, 1));
    host_delete(&host, "c");
    host_settle(&host);
    copy.data_bytes = 0;
    open_both(&copy, "a", "b");
    CU_ASSERT_EQUAL(copy_run(&copy), 0);
    close_both(&copy);
    CU_ASSERT(host_holds(&host, "b", 0, 1000, 1));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

/* ---- points in time ------------------------------------------------------------------------ */

/* A crash leaves one; the next server removes it, whatever its LUN is called by then. */
static void test_moments(void)
{
    struct lun *lun;
    host_start(&host, NULL);
    host_create(&host, "a", 100);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 10, 1, 0), 0);
    const struct moment moment = {
        .prefix = COPY_STORE_PREFIX, .lun_id = host_info(&host, "a").id, .snapshot = "copy-1"};
    CU_ASSERT_EQUAL_FATAL(moment_create(host.pool, &moment, "for a test", &why), 0);
    CU_ASSERT_EQUAL_FATAL(moment_open(host.pool, &moment, &lun, &why), 0);
    CU_ASSERT_EQUAL(lun_rename(host.pool, "a", "b", &why), 0);
    lun_close(lun);
    host_crash_open(&host);
    CU_ASSERT_EQUAL(host_info(&host, "b").snapshot_count, 1);
    CU_ASSERT_EQUAL(moment_delete_left(host.pool, "scsi/odx/"), 0); /* not theirs */
    CU_ASSERT_EQUAL(host_info(&host, "b").snapshot_count, 1);
    CU_ASSERT_EQUAL(moment_delete_left(host.pool, COPY_STORE_PREFIX), 0);
    CU_ASSERT_EQUAL(host_info(&host, "b").snapshot_count, 0);
    /* Notes of an older server have the name. */
    host_snapshot(&host, "b", "odx-2");
    const struct store_change note = {.key = "scsi/odx/odx-2", .value = "b", .len = 1};
    CU_ASSERT_EQUAL(store_apply(host.pool, &note, 1, NULL), 0);
    CU_ASSERT_EQUAL(moment_delete_left(host.pool, "scsi/odx/"), 0);
    CU_ASSERT_EQUAL(host_info(&host, "b").snapshot_count, 0);
    void *value;
    size_t len;
    CU_ASSERT_EQUAL(store_get(host.pool, "scsi/odx/odx-2", &value, &len), -ENOENT);
    CU_ASSERT_EQUAL(store_get(host.pool, "copy/copy-1", &value, &len), -ENOENT);
    host_stop(&host);
}

static CU_TestInfo copy_tests[] = {
    {"how ranges are written", test_parse},
    {"ranges beyond the end", test_bounds},
    {"ranges that overlap", test_overlaps},
    {"the same at random", test_random_overlaps},
    {"what a copy takes and does", test_copy},
    {"how it ends early", test_ends},
    {"points in time that a crash leaves", test_moments},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"copy", NULL, NULL, NULL, NULL, copy_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
