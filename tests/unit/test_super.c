/* SPDX-License-Identifier: BSD-3-Clause */
/* Superblock: copies lost in turn, versions and features, holders, nonsense. */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "lun/pool/super.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

static struct engine_host host;
static const uint64_t copies[] = {0, 1, HOST_GROUP_BLKS, HOST_GROUP_BLKS + 1};

/* A pool with something in it, closed. */
static void start_closed(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", 16);
    CU_ASSERT_EQUAL(host_write(&host, "a", 3, 2, 7, 0), 0);
    host_close(&host);
}

static void damage(uint64_t blk)
{
    uint8_t junk[BLK_BYTES];
    memset(junk, 0xa5, sizeof(junk));
    simdev_poke(host.disk, junk, sizeof(junk), blk * BLK_BYTES);
}

static uint64_t cp_id_of(uint64_t blk)
{
    struct disk_header header;
    simdev_peek(host.disk, &header, sizeof(header), blk * BLK_BYTES);
    CU_ASSERT_EQUAL(le64_get(header.blk), blk);
    return le64_get(header.cp_id);
}

static void test_copies_lost(void)
{
    /* Each non-empty set of the four, all four last. */
    for (unsigned set = 1; set < 16; set++)
    {
        start_closed();
        uint64_t newest = 0, left = 0;
        for (unsigned i = 0; i < 4; i++)
            newest = cp_id_of(copies[i]) > newest ? cp_id_of(copies[i]) : newest;
        for (unsigned i = 0; i < 4; i++)
        {
            if (set >> i & 1)
                damage(copies[i]);
            else if (cp_id_of(copies[i]) > left)
                left = cp_id_of(copies[i]);
        }
        int r = host_open(&host, NULL);
        bool can_find = set != 15;
        CU_ASSERT_EQUAL(r, can_find ? 0 : -EBADMSG);
        CU_ASSERT_TRUE(!can_find || left + 1 >= newest);
        if (r == 0)
        {
            CU_ASSERT_TRUE(host_holds(&host, "a", 3, 2, 7));
            CU_ASSERT_EQUAL(host_check(&host), 0);
        }
        else
        {
            CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "all copies"));
        }
        host_stop(&host);
    }
}

/* The write of one of the newest copies hits the other: without a trace, the checkpoint before
 * would be opened. */
static void test_misplaced(void)
{
    for (unsigned i = 0; i < 4; i++)
    {
        start_closed();
        uint8_t bytes[BLK_BYTES];
        unsigned other = i ^ 2;
        bool is_newest = cp_id_of(copies[i]) > cp_id_of(copies[i ^ 1]);
        simdev_peek(host.disk, bytes, sizeof(bytes), copies[i] * BLK_BYTES);
        simdev_poke(host.disk, bytes, sizeof(bytes), copies[other] * BLK_BYTES);
        damage(copies[i]);
        CU_ASSERT_EQUAL(host_open(&host, NULL), is_newest ? -EBADMSG : 0);
        CU_ASSERT_TRUE(!is_newest || strstr(host.why.text, "misplaced a write"));
        host_stop(&host);
    }
}

static void test_group_1_of_small_pool(void)
{
    struct pool_create_options options = {.size_bytes = (uint64_t)32 << 20};
    host_start(&host, &options);
    host_create(&host, "a", 16);
    host_close(&host);
    damage(0);
    damage(1);
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    CU_ASSERT_EQUAL(host_info(&host, "a").size_bytes, 16 * BLK_BYTES);
    host_stop(&host);
}

static void test_group_1_at_default_place(void)
{
    struct pool_create_options options = {.size_bytes =
                                              (uint64_t)DISK_GROUP_BLKS_MAX * 8 * BLK_BYTES};
    host_start(&host, &options);
    host_create(&host, "a", 16);
    host_close(&host);
    damage(0);
    damage(1);
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    CU_ASSERT_EQUAL(host_info(&host, "a").size_bytes, 16 * BLK_BYTES);
    host_stop(&host);
}

static void test_two_generations(void)
{
    start_closed();
    for (unsigned round = 0; round < 4; round++)
    {
        uint64_t a = cp_id_of(copies[0]), b = cp_id_of(copies[1]);
        CU_ASSERT_EQUAL(cp_id_of(copies[2]), a);
        CU_ASSERT_EQUAL(cp_id_of(copies[3]), b);
        CU_ASSERT_EQUAL(a > b ? a - b : b - a, 1);
        CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
        for (unsigned i = 0; i < round; i++)
            CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
        host_close(&host);
    }
    host_stop(&host);
}

/* Changes all copies, as another program would have written them. */
static void forge_all(size_t offset, const void *bytes, size_t len)
{
    for (unsigned i = 0; i < 4; i++)
        host_forge(&host, copies[i], offset, bytes, len);
}

#define FORGE(field, value)                                                                        \
    do                                                                                             \
    {                                                                                              \
        struct disk_super forged = {.field = value};                                               \
        forge_all(offsetof(struct disk_super, field), &forged.field, sizeof(forged.field));        \
    } while (0)

static void test_features(void)
{
    start_closed();
    FORGE(feature_compat, le64_put(UINT64_C(1) << 63));
    CU_ASSERT_EQUAL(host_open(&host, NULL), 0);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 1, LUN_FUA), 0);
    host_close(&host);

    FORGE(feature_ro_compat, le64_put(4));
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
    struct pool_info info;
    pool_get_info(host.pool, &info);
    CU_ASSERT_TRUE(info.read_only);
    CU_ASSERT_EQUAL(lun_delete(host.pool, "a", false, 0, &host.why), -EROFS);
    CU_ASSERT_TRUE(host_holds(&host, "a", 0, 1, 1));
    host_close(&host);

    FORGE(feature_incompat, le64_put(0x10));
    CU_ASSERT_EQUAL(host_open(&host, NULL), -ENOTSUP);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "0x10"));
    host_stop(&host);
}

static void test_version(void)
{
    start_closed();
    FORGE(version, le32_put(2));
    CU_ASSERT_EQUAL(host_open(&host, NULL), -ENOTSUP);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "version 2"));
    host_stop(&host);
}

static void test_nonsense(void)
{
    start_closed();
    FORGE(generation, le32_put(0));
    CU_ASSERT_EQUAL(host_open(&host, NULL), -EBADMSG);
    FORGE(generation, le32_put(1));
    FORGE(group_blks, le32_put(DISK_GROUP_BLKS_MIN - 1));
    CU_ASSERT_EQUAL(host_open(&host, NULL), -EBADMSG);
    FORGE(group_blks, le32_put(HOST_GROUP_BLKS));
    FORGE(size_blks, le64_put(HOST_POOL_BYTES / BLK_BYTES - 1)); /* not whole groups */
    CU_ASSERT_EQUAL(host_open(&host, NULL), -EBADMSG);
    FORGE(size_blks, le64_put(HOST_POOL_BYTES / BLK_BYTES + HOST_GROUP_BLKS));
    CU_ASSERT_EQUAL(host_open(&host, NULL), -EBADMSG);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "cut off"));
    FORGE(size_blks, le64_put(HOST_POOL_BYTES / BLK_BYTES));
    FORGE(journal_half_blks, le64_put(HOST_GROUP_BLKS));
    CU_ASSERT_EQUAL(host_open(&host, NULL), -EBADMSG);
    host_stop(&host);
}

static void test_holder(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", 16);
    CU_ASSERT_NOT_EQUAL(host.pool->super.holder_host[0], 0);
    host_close(&host);
    struct disk_super super;
    simdev_peek(host.disk, &super, sizeof(super), 0);
    CU_ASSERT_EQUAL(super.holder_host[0], 0);

    char elsewhere[64] = "some-other-host.example";
    forge_all(offsetof(struct disk_super, holder_host), elsewhere, sizeof(elsewhere));
    CU_ASSERT_EQUAL(host_open(&host, NULL), -EBUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, elsewhere));
    CU_ASSERT_EQUAL(host_open(&host, &(struct pool_open_options){.read_only = true}), 0);
    host_close(&host);
    CU_ASSERT_EQUAL(host_open(&host, NULL), -EBUSY); /* looking took nothing over */
    CU_ASSERT_EQUAL(host_open(&host, &(struct pool_open_options){.take_over = true}), 0);
    host_crash(&host); /* of this host: the lock says that it is gone */
    CU_ASSERT_EQUAL(host_open(&host, NULL), 0);
    host_stop(&host);
}

static void test_read_only_writes_nothing(void)
{
    start_closed();
    uint64_t writes = simdev_count(host.disk, SIMDEV_WRITE);
    CU_ASSERT_EQUAL(host_open(&host, &(struct pool_open_options){.read_only = true}), 0);
    CU_ASSERT_TRUE(host_holds(&host, "a", 3, 2, 7));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_close(&host);
    CU_ASSERT_EQUAL(simdev_count(host.disk, SIMDEV_WRITE), writes);
    host_stop(&host);
}

/* The reads of these copies fail, at each opening. */
static unsigned unreadable_set;

static void fail_reads(void *opaque, const struct simdev_call *call)
{
    (void)opaque;
    const struct simdev_fault fault = {
        .op = SIMDEV_READ, .kind = SIMDEV_FAIL, .error = -EIO, .nth = 1};
    for (unsigned i = 0; i < 4; i++)
    {
        if (call->op == SIMDEV_READ && call->offset == copies[i] * BLK_BYTES &&
            (unreadable_set >> i & 1))
            simdev_arm(host.disk, &fault);
    }
}

/* If neither copy of what may be the newest one can be read now, the one before is not taken for
 * the last: what was done since would be lost, and the error may be over the next time. */
static void test_unreadable(void)
{
    for (unsigned set = 1; set < 15; set++)
    {
        start_closed();
        bool is_unknown = (set & 5) == 5 || (set & 10) == 10; /* those of one checkpoint */
        unreadable_set = set;
        simdev_set_watch(host.disk, fail_reads, NULL);
        int r = host_open(&host, NULL);
        CU_ASSERT_EQUAL(r, is_unknown ? -EIO : 0);
        simdev_set_watch(host.disk, NULL, NULL);
        simdev_arm(host.disk, NULL);
        if (r < 0)
            CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
        CU_ASSERT_TRUE(host_holds(&host, "a", 3, 2, 7));
        CU_ASSERT_EQUAL(host_check(&host), 0);
        host_stop(&host);
    }
}

static CU_TestInfo super_tests[] = {
    {"each set of lost copies", test_copies_lost},
    {"each set of copies that cannot be read", test_unreadable},
    {"copies misplaced", test_misplaced},
    {"group 1 is found without group 0", test_group_1_at_default_place},
    {"group 1 of a small pool is found without group 0", test_group_1_of_small_pool},
    {"copies are of the last two checkpoints", test_two_generations},
    {"feature words", test_features},
    {"another version", test_version},
    {"figures that contradict each other", test_nonsense},
    {"the holder", test_holder},
    {"read-only writes nothing", test_read_only_writes_nothing},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"super", NULL, NULL, NULL, NULL, super_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
