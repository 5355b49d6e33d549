/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the measurements of the engine share. Each prints lines "NAME VALUE", one for each run,
 * which tests/bench/run collects. They end the process when anything fails: a benchmark that goes
 * on after an error would print the time of something else.
 */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/lun.h"

enum
{
    BENCH_BLK = LUN_BLK_BYTES,
};

#define BENCH_MIB (UINT64_C(1) << 20)
#define BENCH_GIB (UINT64_C(1) << 30)

/* What the command line asks for. */
struct bench
{
    const char *dir; /* for pools, which are removed again */
    unsigned runs;
    double seconds; /* of a timed load */
    bool is_quick;  /* a tenth of the sizes: to try the program, not to be quoted */
    const char *parts;
    bool keeps_pool; /* of "million", for what is measured from outside */
};

/* Leaves with a message. @r: negative errno. */
__attribute__((noreturn)) void bench_fail(const char *what, int r, const struct reason *why);

#define BENCH_CHECK(call)                                                                          \
    do                                                                                             \
    {                                                                                              \
        int bench_r_ = (call);                                                                     \
        if (bench_r_ < 0)                                                                          \
            bench_fail(#call, bench_r_, NULL);                                                     \
    } while (0)

/* The same for functions that explain themselves in a struct reason named why. */
#define BENCH_CHECK_WHY(call)                                                                      \
    do                                                                                             \
    {                                                                                              \
        struct reason why;                                                                         \
        reason_clear(&why);                                                                        \
        int bench_r_ = (call);                                                                     \
        if (bench_r_ < 0)                                                                          \
            bench_fail(#call, bench_r_, &why);                                                     \
    } while (0)

void bench_print(const char *name, double value);
double bench_median(double *values, unsigned count); /* sorts them */
/* What nothing that is durable can beat: a 4 KiB write in place to a file beside the pools, and
 * fdatasync(2), in milliseconds; the median of 20. */
double bench_raw_sync_ms(const struct bench *bench);
double bench_now(void); /* seconds, monotonic */

/* @full, or a tenth of it when the run is quick. */
uint64_t bench_scaled(const struct bench *bench, uint64_t full);

/* ---- pools and LUNs ------------------------------------------------------------------------- */

/* Makes and opens a pool on a sparse file @name of @bench->dir, with its threads. */
struct pool *bench_pool_make(const struct bench *bench, const char *name, uint64_t size_bytes);
/* @checkpoint_ms 0: the default. */
struct pool *bench_pool_open(const struct bench *bench, const char *name, uint32_t checkpoint_ms);
void bench_pool_remove(const struct bench *bench, const char *name);
/* Writes the path of @name to @path. */
void bench_path(const struct bench *bench, const char *name, char *path, size_t size);

void bench_lun_make(struct pool *pool, const char *name, uint64_t size_bytes);
struct lun *bench_lun_open(struct pool *pool, const char *name);
void bench_clone(struct pool *pool, const char *source, const char *name);
void bench_delete(struct pool *pool, const char *name);

/* Writes all of it, 1 MiB at a time. */
void bench_fill(struct pool *pool, const char *name);
/* Makes it @extents extents of one block each: every second block is written. Needs @extents * 8
 * KiB. */
void bench_fragment(struct pool *pool, const char *name, uint64_t extents);
/* Writes @count different blocks of @lun in random order. */
void bench_write_distinct(struct lun *lun, uint64_t count, uint64_t seed);

/* ---- loads ---------------------------------------------------------------------------------- */

/* Random 4 KiB reads and writes by some threads until stopped; keeps every latency. */
struct load;

struct load_options
{
    unsigned threads;
    unsigned write_percent;
    /* Of the LUN's blocks only each @stride-th is touched; 0: each. */
    uint64_t stride;
    unsigned pause_us; /* of each thread between two requests */
};

struct load *load_start(struct pool *pool, const char *name, const struct load_options *options);
/* Forgets the latencies until now; what is in flight counts from its true beginning. */
void load_reset(struct load *load);
struct load_result
{
    uint64_t ops;
    double seconds;
    double longest_ms, p99_ms;
};
/* What was measured since the start or the reset, without stopping. */
void load_look(struct load *load, struct load_result *result);
void load_stop(struct load *load);

void bench_sleep(double seconds);

/* ---- the measurements ----------------------------------------------------------------------- */

void bench_million(const struct bench *bench);
void bench_many(const struct bench *bench);
void bench_space(const struct bench *bench);
void bench_depth(const struct bench *bench);
void bench_shared(const struct bench *bench);
void bench_crash(const struct bench *bench);
void bench_volume(const struct bench *bench);
void bench_accounting(const struct bench *bench);

#endif
