/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clones of a LUN of 1,000,000 extents: what one takes, what its source's I/O notices, what
 * deleting takes and what a sibling's I/O notices.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/bench/bench.h"

enum
{
    MILLION_EXTENTS = 1000000,
    MILLION_OWN_EXTENTS = 200000, /* of the clone whose deletion takes a while */
    MILLION_CLONES = 20,          /* of one run: their median is less noisy than one clone */
    MILLION_PAUSE_CLONES = 10,
    MILLION_REST_US = 10, /* and what the kernel's timers add: some 20,000 requests a second */
};

static bool million_wants(const struct bench *bench, const char *part)
{
    return !bench->parts || strstr(bench->parts, part) != NULL;
}

static void million_print(const char *prefix, const char *what, double value)
{
    char name[48];
    snprintf(name, sizeof(name), "%s_%s", prefix, what);
    bench_print(name, value);
}

static double million_time_clone(struct pool *pool, const char *source, const char *name)
{
    double began = bench_now();
    bench_clone(pool, source, name);
    return bench_now() - began;
}

static double million_time_delete(struct pool *pool, const char *name)
{
    double began = bench_now();
    bench_delete(pool, name);
    return bench_now() - began;
}

/* So that the next clone has something to freeze: one of a LUN that is as it was freezes nothing.
 */
static void million_touch(struct lun *lun, unsigned value)
{
    uint8_t block[BENCH_BLK];
    memset(block, (int)value, sizeof(block));
    BENCH_CHECK(lun_write(lun, block, sizeof(block), 0, 0));
}

/* Clones of both by turns, each a block after the last, then their deletion. */
static void million_clone_run(const struct bench *bench, struct pool *pool, bool with_clone,
                              bool with_delete)
{
    double small_ms[MILLION_CLONES], large_ms[MILLION_CLONES], delete_ms[MILLION_CLONES];
    struct lun *small = bench_lun_open(pool, "small"), *large = bench_lun_open(pool, "large");
    for (unsigned i = 0; i < MILLION_CLONES; i++)
    {
        million_touch(small, i);
        small_ms[i] = million_time_clone(pool, "small", "small-clone") * 1e3;
        million_touch(large, i);
        large_ms[i] = million_time_clone(pool, "large", "large-clone") * 1e3;
        delete_ms[i] = million_time_delete(pool, "large-clone") * 1e3;
        bench_delete(pool, "small-clone");
    }
    lun_close(small);
    lun_close(large);
    if (with_clone)
    {
        bench_print("clone_small_ms", bench_median(small_ms, MILLION_CLONES));
        bench_print("clone_large_ms", bench_median(large_ms, MILLION_CLONES));
        bench_print("clone_raw_sync_ms", bench_raw_sync_ms(bench));
    }
    if (with_delete)
        bench_print("delete_untouched_ms", bench_median(delete_ms, MILLION_CLONES));
}

/* The longest that an I/O of the source waits while it is cloned ten times; before, without clones,
 * for comparison. The load's two threads rest @rest_us after each request; those that never rest
 * wait for a processor and for the disk as long without any clone. */
static void million_pause_run(const struct bench *bench, struct pool *pool, unsigned rest_us,
                              const char *prefix)
{
    struct load_options options = {
        .threads = 2, .write_percent = 50, .stride = 2, .pause_us = rest_us};
    struct load *load = load_start(pool, "large", &options);
    struct load_result idle, cloning;
    char name[32];
    bench_sleep(bench->seconds / 2);
    load_reset(load);
    bench_sleep(bench->seconds);
    load_look(load, &idle);
    load_reset(load);
    double end = bench_now() + bench->seconds, longest_call = 0;
    for (unsigned i = 0; i < MILLION_PAUSE_CLONES; i++)
    {
        snprintf(name, sizeof(name), "pause-%u", i);
        double call = million_time_clone(pool, "large", name);
        longest_call = call > longest_call ? call : longest_call;
        bench_sleep(bench->seconds / 20);
    }
    while (bench_now() < end)
        bench_sleep(0.01);
    load_look(load, &cloning);
    load_stop(load);
    million_print(prefix, "idle_ms", idle.longest_ms);
    million_print(prefix, "cloning_ms", cloning.longest_ms);
    million_print(prefix, "longest_call_ms", longest_call * 1e3);
    million_print(prefix, "idle_iops", (double)idle.ops / idle.seconds);
    million_print(prefix, "cloning_iops", (double)cloning.ops / cloning.seconds);
    for (unsigned i = 0; i < MILLION_PAUSE_CLONES; i++)
    {
        snprintf(name, sizeof(name), "pause-%u", i);
        bench_delete(pool, name);
    }
    BENCH_CHECK(job_wait(pool, 0, 0));
}

/* A sibling's I/O beside nothing, then beside the background work of a large deletion. */
static void million_sibling_run(const struct bench *bench, struct pool *pool, uint64_t seed)
{
    bench_clone(pool, "large", "doomed");
    struct lun *doomed = bench_lun_open(pool, "doomed");
    bench_write_distinct(doomed, bench_scaled(bench, MILLION_OWN_EXTENTS), seed);
    lun_close(doomed);
    BENCH_CHECK(pool_checkpoint(pool));
    bench_clone(pool, "large", "sibling");
    struct load_options options = {.threads = 2, .write_percent = 50, .stride = 64};
    struct load *load = load_start(pool, "sibling", &options);
    bench_sleep(bench->seconds); /* until its blocks are its own */
    struct load_result before, during;
    load_reset(load);
    bench_sleep(bench->seconds);
    load_look(load, &before);
    load_reset(load);
    double took = million_time_delete(pool, "doomed");
    double began = bench_now();
    BENCH_CHECK(job_wait(pool, 0, 0));
    load_look(load, &during);
    double background = bench_now() - began;
    load_stop(load);
    bench_print("delete_large_ms", took * 1e3);
    bench_print("delete_background_s", background);
    bench_print("sibling_before_p99_ms", before.p99_ms);
    bench_print("sibling_during_p99_ms", during.p99_ms);
    bench_print("sibling_before_longest_ms", before.longest_ms);
    bench_print("sibling_during_longest_ms", during.longest_ms);
    bench_delete(pool, "sibling");
    BENCH_CHECK(job_wait(pool, 0, 0));
}

void bench_million(const struct bench *bench)
{
    uint64_t extents = bench_scaled(bench, MILLION_EXTENTS);
    struct pool *pool = bench_pool_make(bench, "million.pool", 16 * BENCH_GIB);
    bench_lun_make(pool, "small", 2 * extents * BENCH_BLK);
    bench_fragment(pool, "small", 1);
    bench_lun_make(pool, "large", 2 * extents * BENCH_BLK);
    double began = bench_now();
    bench_fragment(pool, "large", extents);
    bench_print("fragment_s", bench_now() - began);
    bool with_clone = million_wants(bench, "clone"), with_delete = million_wants(bench, "delete");
    for (unsigned i = 0; i < bench->runs; i++)
    {
        if (with_clone || with_delete)
            million_clone_run(bench, pool, with_clone, with_delete);
        if (million_wants(bench, "pause"))
            million_pause_run(bench, pool, MILLION_REST_US, "pause");
        if (million_wants(bench, "sibling"))
            million_sibling_run(bench, pool, 100 + i);
    }
    /* Last, as the disk writes back for seconds what this leaves. */
    for (unsigned i = 0; i < bench->runs && million_wants(bench, "pause"); i++)
        million_pause_run(bench, pool, 0, "pause_busy");
    BENCH_CHECK(pool_close(pool));
    if (!bench->keeps_pool)
        bench_pool_remove(bench, "million.pool");
}
