/* SPDX-License-Identifier: BSD-3-Clause */
/* A snapshot of a volume of 1,000 LUNs: what it takes, and how long writes to its LUNs wait. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/bench.h"

enum
{
    VOLUME_LUNS = 1000,
    VOLUME_SNAPSHOTS = 100, /* of one run */
    VOLUME_LOADS = 4,       /* LUNs that are written meanwhile */
};

static int volume_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void volume_make(struct pool *pool, unsigned luns)
{
    char name[32];
    struct volume_attributes attributes = {0};
    BENCH_CHECK_WHY(volume_create(pool, "volume", &attributes, &why));
    for (unsigned i = 0; i < luns; i++)
    {
        snprintf(name, sizeof(name), "volume/lun-%04u", i);
        bench_lun_make(pool, name, 4 * BENCH_MIB);
    }
}

static double volume_snapshot(struct pool *pool)
{
    const char *volumes[] = {"volume"};
    struct volume_snapshot_args args = {.name = "s"};
    double began = bench_now();
    BENCH_CHECK_WHY(volume_snapshot_create(pool, volumes, 1, &args, &why));
    return (bench_now() - began) * 1e3;
}

static void volume_run(const struct bench *bench, struct pool *pool, struct load **loads)
{
    static double took[VOLUME_SNAPSHOTS], longest[VOLUME_SNAPSHOTS];
    unsigned count = (unsigned)bench_scaled(bench, VOLUME_SNAPSHOTS);
    for (unsigned i = 0; i < count; i++)
    {
        for (unsigned j = 0; j < VOLUME_LOADS; j++)
            load_reset(loads[j]);
        took[i] = volume_snapshot(pool);
        longest[i] = 0;
        for (unsigned j = 0; j < VOLUME_LOADS; j++)
        {
            struct load_result result;
            load_look(loads[j], &result);
            longest[i] = result.longest_ms > longest[i] ? result.longest_ms : longest[i];
        }
        BENCH_CHECK_WHY(volume_snapshot_delete(pool, "volume", "s", 0, &why));
        bench_sleep(0.01);
    }
    qsort(took, count, sizeof(took[0]), volume_compare);
    qsort(longest, count, sizeof(longest[0]), volume_compare);
    bench_print("volume_snapshot_ms", took[count / 2]);
    bench_print("volume_snapshot_max_ms", took[count - 1]);
    bench_print("volume_pause_p50_ms", longest[count / 2]);
    bench_print("volume_pause_p99_ms", longest[(count * 99 - 1) / 100]);
}

void bench_volume(const struct bench *bench)
{
    struct pool *pool = bench_pool_make(bench, "volume.pool", 8 * BENCH_GIB);
    volume_make(pool, VOLUME_LUNS);
    struct load_options options = {.threads = 1, .write_percent = 100, .stride = 1};
    struct load *loads[VOLUME_LOADS];
    for (unsigned i = 0; i < VOLUME_LOADS; i++)
    {
        char name[32];
        snprintf(name, sizeof(name), "volume/lun-%04u", i * VOLUME_LUNS / VOLUME_LOADS);
        loads[i] = load_start(pool, name, &options);
    }
    bench_sleep(bench->seconds / 2);
    for (unsigned i = 0; i < bench->runs; i++)
        volume_run(bench, pool, loads);
    for (unsigned i = 0; i < VOLUME_LOADS; i++)
        load_stop(loads[i]);
    BENCH_CHECK(pool_close(pool));
    bench_pool_remove(bench, "volume.pool");
}
