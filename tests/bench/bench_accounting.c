/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What keeping account costs I/O: the same writes and reads to a LUN of a guaranteed volume with
 * quotas on, and to a LUN outside volumes.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lun/base/cleanup.h"
#include "tests/bench/bench.h"
#include "tests/lib/rng.h"

enum
{
    ACCOUNT_MIB = 256,
    ACCOUNT_SLICE = 256, /* operations of one LUN before it is the other's turn */
};

struct account_side
{
    struct lun *lun;
    struct rng rng;
    uint64_t ops;
    double cpu_s;
};

static double account_cpu_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Three writes and a read, at random. Of the writes those that are the first to a block since the
 * snapshot take a new one, which is what there is to account for. */
static void account_slice(struct account_side *side)
{
    static uint8_t buf[BENCH_BLK];
    double began = account_cpu_now();
    for (unsigned i = 0; i < ACCOUNT_SLICE; i++)
    {
        uint64_t offset = rng_below(&side->rng, ACCOUNT_MIB * 256) * BENCH_BLK;
        BENCH_CHECK(i % 4 == 3 ? lun_read(side->lun, buf, sizeof(buf), offset)
                               : lun_write(side->lun, buf, sizeof(buf), offset, 0));
    }
    side->ops += ACCOUNT_SLICE;
    side->cpu_s += account_cpu_now() - began;
}

/* By turns, each first as often as second; one thread, and its processor time, which other work on
 * the machine disturbs least. Both do the very same operations. */
static void account_run(const struct bench *bench, struct pool *pool, uint64_t seed)
{
    static const char *const names[] = {"volume/lun", "lun"};
    struct account_side sides[2];
    for (unsigned i = 0; i < 2; i++)
    {
        BENCH_CHECK_WHY(snapshot_create(pool, names[i], "s", NULL, &why));
        sides[i] =
            (struct account_side){.lun = bench_lun_open(pool, names[i]), .rng = rng_of(seed)};
    }
    double end = bench_now() + 2 * bench->seconds;
    for (unsigned turn = 0; bench_now() < end; turn++)
    {
        account_slice(&sides[turn % 2]);
        account_slice(&sides[1 - turn % 2]);
    }
    bench_print("accounting_on_iops", (double)sides[0].ops / sides[0].cpu_s);
    bench_print("accounting_off_iops", (double)sides[1].ops / sides[1].cpu_s);
    for (unsigned i = 0; i < 2; i++)
    {
        lun_close(sides[i].lun);
        BENCH_CHECK_WHY(snapshot_delete(pool, names[i], "s", 0, &why));
    }
    BENCH_CHECK(job_wait(pool, 0, 0));
}

void bench_accounting(const struct bench *bench)
{
    struct pool *pool = bench_pool_make(bench, "accounting.pool", 8 * BENCH_GIB);
    struct volume_attributes attributes = {.size_bytes = BENCH_GIB, .is_guaranteed = true};
    struct quota_rule rule = {.type = QUOTA_TREE,
                              .hard_bytes = BENCH_GIB,
                              .soft_bytes = UINT64_MAX,
                              .threshold_bytes = UINT64_MAX};
    snprintf(rule.volume, sizeof(rule.volume), "volume");
    BENCH_CHECK_WHY(volume_create(pool, "volume", &attributes, &why));
    BENCH_CHECK_WHY(quota_rule_set(pool, &rule, &why));
    BENCH_CHECK_WHY(quota_set_enabled(pool, "volume", true, &why));
    bench_lun_make(pool, "volume/lun", ACCOUNT_MIB * BENCH_MIB);
    bench_lun_make(pool, "lun", ACCOUNT_MIB * BENCH_MIB);
    bench_fill(pool, "volume/lun");
    bench_fill(pool, "lun");
    for (unsigned i = 0; i < bench->runs; i++)
        account_run(bench, pool, 400 + i);
    BENCH_CHECK(pool_close(pool));
    bench_pool_remove(bench, "accounting.pool");
}
