/* SPDX-License-Identifier: BSD-3-Clause */
/* Unmapping the end of a LUN that is inside a block, while the LUN is made larger. */
#include <string.h>

#include "lun/pool/checkpoint.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

enum
{
    SECTOR_BYTES = 512,
    WHOLE_BLKS = 8, /* of the LUN, and then one sector */
    SIZE_BYTES = WHOLE_BLKS * BLK_BYTES + SECTOR_BYTES,
};

static struct engine_host host;
static struct lun *lun;
static unsigned grows_at; /* before so many attempts; 0: not, or not any more */

static void fill(uint64_t len, uint64_t offset, uint8_t value)
{
    uint8_t bytes[SIZE_BYTES];
    memset(bytes, value, (size_t)len);
    CU_ASSERT_EQUAL(lun_write(lun, bytes, (size_t)len, offset, 0), 0);
}

static bool holds(uint64_t len, uint64_t offset, uint8_t value)
{
    uint8_t bytes[SIZE_BYTES];
    int r = lun_read(lun, bytes, (size_t)len, offset);
    for (uint64_t i = 0; i < len; i++)
        if (bytes[i] != value)
            return false;
    return r == 0;
}

/* Each attempt of a write or an unmap begins with it, before it has its range. */
int __real_checkpoint_throttle(struct pool *pool);
int __wrap_checkpoint_throttle(struct pool *pool);
int __wrap_checkpoint_throttle(struct pool *pool)
{
    if (grows_at > 0 && --grows_at == 0)
    {
        CU_ASSERT_EQUAL(lun_resize(host.pool, "a", SIZE_BYTES + SECTOR_BYTES, 0, NULL), 0);
        fill(SECTOR_BYTES, SIZE_BYTES, 7);
    }
    return __real_checkpoint_throttle(pool);
}

static void start(void)
{
    struct lun_create_args args = {
        .name = "a", .size_bytes = SIZE_BYTES, .sector_bytes = SECTOR_BYTES};
    host_start(&host, NULL);
    CU_ASSERT_EQUAL(lun_create(host.pool, &args, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "a", 0, &lun, NULL), 0);
    fill(SIZE_BYTES, 0, 5);
}

static void stop(void)
{
    grows_at = 0;
    lun_close(lun);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

typedef int unmap_fn(struct lun *lun, uint64_t len, uint64_t offset, unsigned flags);

/* What was asked for is gone, and what was written behind it stays. */
static void try_grown(unmap_fn *unmap, uint64_t offset, unsigned at)
{
    start();
    grows_at = at;
    CU_ASSERT_EQUAL(unmap(lun, SIZE_BYTES - offset, offset, 0), 0);
    CU_ASSERT_EQUAL(grows_at, 0);
    CU_ASSERT(offset == 0 || holds(offset, 0, 5));
    CU_ASSERT(holds(SIZE_BYTES - offset, offset, 0));
    CU_ASSERT(holds(SECTOR_BYTES, SIZE_BYTES, 7));
    stop();
}

static void test_grown_meanwhile(void)
{
    try_grown(lun_unmap, 0, 1);
    try_grown(lun_zero, 0, 1);
    try_grown(lun_unmap, SECTOR_BYTES, 1); /* before the part of the first block */
    try_grown(lun_unmap, SECTOR_BYTES, 2); /* after it */
    try_grown(lun_unmap, WHOLE_BLKS * BLK_BYTES, 1);
}

/* Nothing grew: the last block is given back, though it is not whole. */
static void test_last_block(void)
{
    start();
    CU_ASSERT_EQUAL(lun_unmap(lun, SECTOR_BYTES, WHOLE_BLKS * BLK_BYTES, 0), 0);
    CU_ASSERT_EQUAL(host_info(&host, "a").mapped_bytes, WHOLE_BLKS * BLK_BYTES);
    CU_ASSERT(holds(SECTOR_BYTES, WHOLE_BLKS * BLK_BYTES, 0));
    stop();
}

static CU_TestInfo unmap_tests[] = {
    {"what is written behind its end meanwhile stays", test_grown_meanwhile},
    {"the last block goes though it is not whole", test_last_block},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"unmap", NULL, NULL, NULL, NULL, unmap_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
