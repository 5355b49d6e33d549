/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A snapshot of a volume of 1,000 LUNs: what it takes, and how long writes to its LUNs wait.
 *
 * What it takes is measured beside four threads that write on and on. They take all processors of a
 * small machine, and then wait for these longer than for any snapshot; so the waits are measured
 * with the same threads pausing between writes. Both are done once more without snapshots, in
 * windows as long as a snapshot takes: "idle" is what the machine alone makes writes wait.
 */
#include <errno.h>
#include <stdio.h>

#include "tests/bench/bench.h"

enum
{
    VOLUME_LUNS = 1000,
    VOLUME_SNAPSHOTS = 100, /* of one run */
    VOLUME_LOADS = 4,       /* LUNs that are written meanwhile */
    VOLUME_PAUSE_US = 100,
};

/* Writers that rest, or do not, and how what is measured beside them is called. */
struct volume_part
{
    unsigned pause_us;
    const char *snapshot_prefix, *wait_prefix;
};

static const struct volume_part volume_busy = {.snapshot_prefix = "", .wait_prefix = "busy_"};
static const struct volume_part volume_calm = {
    .pause_us = VOLUME_PAUSE_US, .snapshot_prefix = "calm_", .wait_prefix = ""};

struct volume_loads
{
    struct load *loads[VOLUME_LOADS];
};

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

static void volume_loads_start(struct volume_loads *loads, struct pool *pool, unsigned pause_us)
{
    struct load_options options = {
        .threads = 1, .write_percent = 100, .stride = 1, .pause_us = pause_us};
    for (unsigned i = 0; i < VOLUME_LOADS; i++)
    {
        char name[32];
        snprintf(name, sizeof(name), "volume/lun-%04u", i * VOLUME_LUNS / VOLUME_LOADS);
        loads->loads[i] = load_start(pool, name, &options);
    }
}

static void volume_loads_stop(struct volume_loads *loads)
{
    for (unsigned i = 0; i < VOLUME_LOADS; i++)
        load_stop(loads->loads[i]);
}

static void volume_loads_reset(struct volume_loads *loads)
{
    for (unsigned i = 0; i < VOLUME_LOADS; i++)
        load_reset(loads->loads[i]);
}

/* The longest that a write of any has taken since. */
static double volume_loads_longest_ms(struct volume_loads *loads)
{
    double longest_ms = 0;
    for (unsigned i = 0; i < VOLUME_LOADS; i++)
    {
        struct load_result result;
        load_look(loads->loads[i], &result);
        longest_ms = result.longest_ms > longest_ms ? result.longest_ms : longest_ms;
    }
    return longest_ms;
}

static void volume_print(const char *prefix, const char *name, double value)
{
    char full[64];
    snprintf(full, sizeof(full), "volume_%s%s", prefix, name);
    bench_print(full, value);
}

static double percentile_99(double *values, unsigned count)
{
    bench_median(values, count); /* sorts them */
    return values[(count * 99 - 1) / 100];
}

static double volume_snapshot_ms(struct pool *pool)
{
    const char *volumes[] = {"volume"};
    struct volume_snapshot_args args = {.name = "s"};
    double began = bench_now();
    BENCH_CHECK_WHY(volume_snapshot_create(pool, volumes, 1, &args, &why));
    return (bench_now() - began) * 1e3;
}

/* Snapshots. Returns the median of what they took. */
static double volume_run_snapshots(const struct bench *bench, struct pool *pool,
                                   const struct volume_part *part, struct volume_loads *loads)
{
    static double took_ms[VOLUME_SNAPSHOTS], longest_ms[VOLUME_SNAPSHOTS];
    unsigned count = (unsigned)bench_scaled(bench, VOLUME_SNAPSHOTS);
    for (unsigned i = 0; i < count; i++)
    {
        volume_loads_reset(loads);
        took_ms[i] = volume_snapshot_ms(pool);
        longest_ms[i] = volume_loads_longest_ms(loads);
        BENCH_CHECK_WHY(volume_snapshot_delete(pool, "volume", "s", 0, &why));
        bench_sleep(0.01);
    }
    double median_ms = bench_median(took_ms, count);
    volume_print(part->snapshot_prefix, "snapshot_ms", median_ms);
    volume_print(part->snapshot_prefix, "snapshot_max_ms", took_ms[count - 1]);
    volume_print(part->wait_prefix, "pause_p50_ms", bench_median(longest_ms, count));
    volume_print(part->wait_prefix, "pause_p99_ms", percentile_99(longest_ms, count));
    return median_ms;
}

/* The same without snapshots. */
static void volume_run_idle(const struct bench *bench, const struct volume_part *part,
                            struct volume_loads *loads, double window_ms)
{
    static double longest_ms[VOLUME_SNAPSHOTS];
    unsigned count = (unsigned)bench_scaled(bench, VOLUME_SNAPSHOTS);
    for (unsigned i = 0; i < count; i++)
    {
        volume_loads_reset(loads);
        bench_sleep(window_ms / 1e3);
        longest_ms[i] = volume_loads_longest_ms(loads);
    }
    volume_print(part->wait_prefix, "idle_p50_ms", bench_median(longest_ms, count));
    volume_print(part->wait_prefix, "idle_p99_ms", percentile_99(longest_ms, count));
}

static void volume_run(const struct bench *bench, struct pool *pool, const struct volume_part *part)
{
    struct volume_loads loads;
    volume_loads_start(&loads, pool, part->pause_us);
    bench_sleep(bench->seconds / 2);
    double window_ms = volume_run_snapshots(bench, pool, part, &loads);
    volume_run_idle(bench, part, &loads, window_ms);
    volume_loads_stop(&loads);
}

void bench_volume(const struct bench *bench)
{
    struct pool *pool = bench_pool_make(bench, "volume.pool", 8 * BENCH_GIB);
    volume_make(pool, VOLUME_LUNS);
    /* The busy ones last, as the disk writes back for seconds what they leave. */
    for (unsigned i = 0; i < bench->runs; i++)
        volume_run(bench, pool, &volume_calm);
    for (unsigned i = 0; i < bench->runs; i++)
        volume_run(bench, pool, &volume_busy);
    BENCH_CHECK(pool_close(pool));
    bench_pool_remove(bench, "volume.pool");
}
