/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 1g: the worked example, with MiB for GB: production of 100, a full mirror of it (a real copy, so
 * that clones do not burden production), six clones of the mirror of which each changes a tenth.
 * Eight full copies would take 800; this takes 260, and 250 once a clone is deleted. The figures
 * are those that users see, on a pool in a file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lun/base/cleanup.h"
#include "lun/lun.h"
#include "tests/lib/cunit_main.h"

#define MIB (UINT64_C(1) << 20)

enum
{
    SIZE_MIB = 100,
    CLONES = 6,
    BLKS = SIZE_MIB * 256,
};

static char folder[] = "/tmp/lunette-example-XXXXXX", path[64];
static struct pool *pool;
static struct reason why;
static uint8_t piece[MIB];

/* What is only preparation must not fail: the test could not mean anything. */
static void must(int r, const char *what)
{
    if (r >= 0)
        return;
    fprintf(stderr, "the test cannot go on: %s: %s %s\n", what, strerror(-r), why.text);
    abort();
}

static void example_open(void)
{
    must(pool_open(env_system(), path, NULL, &pool, &why), "open");
}

static void settle(void)
{
    int r;
    while ((r = pool_run_job_step(pool)) > 0)
        continue;
    must(r, "background work");
    must(pool_checkpoint(pool), "checkpoint");
}

static struct lun *handle(const char *name)
{
    struct lun *lun = NULL;
    must(lun_open(pool, name, 0, &lun, &why), "open a LUN");
    return lun;
}

static void create(const char *name)
{
    struct lun_create_args args = {.name = name, .size_bytes = SIZE_MIB * MIB};
    must(lun_create(pool, &args, &why), "create");
}

/* Block @lba of @writer's: no two blocks of the example are alike, and none is of zeros. */
static void fill_block(uint8_t *block, unsigned writer, uint32_t lba)
{
    for (uint32_t i = 0; i < LUN_BLK_BYTES; i += sizeof(i))
    {
        uint32_t word = (writer + 1) << 28 | (lba << 10 | i / 4);
        memcpy(block + i, &word, sizeof(word));
    }
}

static void write_production(void)
{
    struct lun *lun = handle("db/production");
    for (uint32_t lba = 0; lba < BLKS; lba += 256)
    {
        for (uint32_t i = 0; i < 256; i++)
            fill_block(piece + i * LUN_BLK_BYTES, 0, lba + i);
        must(lun_write(lun, piece, sizeof(piece), (uint64_t)lba * LUN_BLK_BYTES, 0), "write");
    }
    lun_close(lun);
}

static void copy_to_mirror(void)
{
    struct lun *from = handle("db/production"), *to = handle("db/mirror");
    for (uint64_t at = 0; at < SIZE_MIB * MIB; at += sizeof(piece))
    {
        must(lun_read(from, piece, sizeof(piece), at), "read");
        must(lun_write(to, piece, sizeof(piece), at, 0), "write");
    }
    lun_close(from);
    lun_close(to);
}

static void clone_name(unsigned clone, char *name, size_t size)
{
    snprintf(name, size, "db/%s%u", clone < 3 ? "developer" : "tester", clone % 3);
}

/* Every tenth block, so that nothing lies together. */
static void change_a_tenth(unsigned clone)
{
    char name[32];
    clone_name(clone, name, sizeof(name));
    struct lun *lun = handle(name);
    for (uint32_t lba = clone; lba < BLKS; lba += 10)
    {
        fill_block(piece, clone + 1, lba);
        must(lun_write(lun, piece, LUN_BLK_BYTES, (uint64_t)lba * LUN_BLK_BYTES, 0), "write");
    }
    must(lun_flush(lun), "flush");
    lun_close(lun);
}

static void check_content(const char *name, unsigned clone)
{
    static uint8_t wanted[LUN_BLK_BYTES];
    struct lun *lun = handle(name);
    unsigned wrong = 0;
    for (uint32_t lba = 0; lba < BLKS; lba++)
    {
        bool changed = clone < CLONES && lba % 10 == clone;
        if (lba % 256 == 0)
            must(lun_read(lun, piece, sizeof(piece), (uint64_t)lba * LUN_BLK_BYTES), "read");
        fill_block(wanted, changed ? clone + 1 : 0, lba);
        wrong += memcmp(piece + lba % 256 * LUN_BLK_BYTES, wanted, sizeof(wanted)) != 0;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    lun_close(lun);
}

static uint64_t used_by_quota(void)
{
    AUTO_FREE struct quota_usage *list = NULL;
    size_t count = 0;
    must(quota_report(pool, "db", &list, &count, &why), "quota report");
    CU_ASSERT_EQUAL_FATAL(count, 1);
    return list[0].used_bytes;
}

static struct pool_info figures(void)
{
    struct pool_info info;
    settle();
    pool_get_info(pool, &info);
    return info;
}

/* What all this takes beside the data. */
static void print_metadata(const char *when, const struct pool_info *empty)
{
    struct pool_info info = figures();
    printf("\n    %s: data %.2f MiB, metadata %.2f MiB", when,
           (double)info.data_bytes / (double)MIB,
           (double)(info.metadata_bytes - empty->metadata_bytes) / (double)MIB);
}

static void make_example(void)
{
    struct volume_attributes none = {0};
    struct quota_rule rule = {.type = QUOTA_TREE,
                              .volume = "db",
                              .hard_bytes = 800 * MIB,
                              .soft_bytes = UINT64_MAX,
                              .threshold_bytes = UINT64_MAX};
    must(volume_create(pool, "db", &none, &why), "volume");
    must(quota_rule_set(pool, &rule, &why), "rule");
    must(quota_set_enabled(pool, "db", true, &why), "quotas on");
    create("db/production");
    create("db/mirror");
    write_production();
    copy_to_mirror();
    for (unsigned i = 0; i < CLONES; i++)
    {
        char name[32];
        clone_name(i, name, sizeof(name));
        struct lun_clone_args args = {.source = "db/mirror", .name = name};
        must(lun_clone(pool, &args, &why), "clone");
    }
}

static void check_clones(uint64_t own_mib)
{
    for (unsigned i = 0; i < CLONES; i++)
    {
        char name[32];
        struct lun_info info;
        clone_name(i, name, sizeof(name));
        const char *set[] = {name};
        uint64_t data_bytes = UINT64_MAX, metadata_bytes;
        must(lun_get_info(pool, name, &info, &why), "info");
        CU_ASSERT_EQUAL(info.own_bytes, own_mib * MIB);
        CU_ASSERT_EQUAL(info.shared_bytes, (SIZE_MIB - own_mib) * MIB);
        must(lun_freed_if_deleted(pool, set, 1, &data_bytes, &metadata_bytes, &why), "freed");
        CU_ASSERT_EQUAL(data_bytes, own_mib * MIB);
    }
}

static void test_example(void)
{
    struct pool_info empty = figures();
    make_example();
    print_metadata("production, mirror, 6 clones", &empty);
    CU_ASSERT_EQUAL(figures().data_bytes, 200 * MIB);
    CU_ASSERT_EQUAL(used_by_quota(), 800 * MIB);
    check_clones(0);
    struct lun_clone_args one_more = {.source = "db/mirror", .name = "db/more"};
    CU_ASSERT_EQUAL(lun_clone(pool, &one_more, &why), -EDQUOT); /* 800 is all that it may */

    for (unsigned i = 0; i < CLONES; i++)
        change_a_tenth(i);
    print_metadata("each clone has changed a tenth", &empty);
    struct pool_info info = figures();
    CU_ASSERT_EQUAL(info.data_bytes, 260 * MIB);
    CU_ASSERT_EQUAL(info.logical_bytes, 800 * MIB);
    CU_ASSERT_EQUAL(info.mapped_bytes, 800 * MIB); /* what eight copies would need */
    CU_ASSERT_DOUBLE_EQUAL(1 - (double)info.data_bytes / (double)info.mapped_bytes, 0.675, 1e-9);
    CU_ASSERT_TRUE(info.metadata_bytes - empty.metadata_bytes < 260 * MIB / 100);
    CU_ASSERT_EQUAL(used_by_quota(), 800 * MIB);
    check_clones(10);
    check_content("db/production", CLONES);
    check_content("db/mirror", CLONES);
    check_content("db/tester2", 5);

    must(lun_delete(pool, "db/developer0", false, 0, &why), "delete");
    print_metadata("one clone deleted", &empty);
    CU_ASSERT_EQUAL(figures().data_bytes, 250 * MIB);
    CU_ASSERT_EQUAL(used_by_quota(), 700 * MIB);
    must(pool_close(pool), "close");
    example_open();
    CU_ASSERT_EQUAL(figures().data_bytes, 250 * MIB);
    check_content("db/developer1", 1);
    struct check_result check;
    must(pool_check(pool, NULL, NULL, &check), "check");
    CU_ASSERT_EQUAL(check.errors, 0);
}

static CU_TestInfo example_tests[] = {
    {"1g: Worked example", test_example},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"worked example", NULL, NULL, NULL, NULL, example_tests},
        CU_SUITE_INFO_NULL,
    };
    struct pool_create_options options = {.size_bytes = 512 * MIB};
    if (!mkdtemp(folder))
        return cunit_skip("no folder in /tmp: %s", strerror(errno));
    snprintf(path, sizeof(path), "%s/pool", folder);
    must(pool_create(env_system(), path, &options, &why), "create the pool");
    example_open();
    int status = cunit_main(suites, argc, argv);
    must(pool_close(pool), "close");
    unlink(path);
    rmdir(folder);
    return status;
}
