/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "tests/lib/rng.h"

enum
{
    BENCH_PATH_MAX = 1024,
};

void bench_fail(const char *what, int r, const struct reason *why)
{
    fprintf(stderr, "bench_engine: %s: %s%s%s\n", what, strerror(-r), why ? ": " : "",
            why ? why->text : "");
    exit(1);
}

void bench_print(const char *name, double value)
{
    printf("%s %.9g\n", name, value);
    fflush(stdout);
}

static int compare_values(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double bench_median(double *values, unsigned count)
{
    qsort(values, count, sizeof(*values), compare_values);
    return values[count / 2];
}

double bench_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void bench_sleep(double seconds)
{
    usleep((useconds_t)(seconds * 1e6));
}

uint64_t bench_scaled(const struct bench *bench, uint64_t full)
{
    return bench->is_quick ? max_u64(1, full / 10) : full;
}

/* ---- pools --------------------------------------------------------------------------------- */

void bench_path(const struct bench *bench, const char *name, char *path, size_t size)
{
    int len = snprintf(path, size, "%s/%s", bench->dir, name);
    if (len < 0 || (size_t)len >= size)
        bench_fail("the folder's name", -ENAMETOOLONG, NULL);
}

struct pool *bench_pool_open(const struct bench *bench, const char *name, uint32_t checkpoint_ms)
{
    char path[BENCH_PATH_MAX];
    bench_path(bench, name, path, sizeof(path));
    struct pool_open_options options = {.checkpoint_ms = checkpoint_ms};
    struct pool *pool;
    BENCH_CHECK_WHY(pool_open(env_system(), path, &options, &pool, &why));
    BENCH_CHECK(pool_start(pool));
    return pool;
}

struct pool *bench_pool_make(const struct bench *bench, const char *name, uint64_t size_bytes)
{
    char path[BENCH_PATH_MAX];
    bench_path(bench, name, path, sizeof(path));
    struct pool_create_options options = {.size_bytes = size_bytes};
    BENCH_CHECK_WHY(pool_create(env_system(), path, &options, &why));
    return bench_pool_open(bench, name, 0);
}

void bench_pool_remove(const struct bench *bench, const char *name)
{
    char path[BENCH_PATH_MAX];
    bench_path(bench, name, path, sizeof(path));
    if (unlink(path) < 0)
        bench_fail("removing the pool", -errno, NULL);
}

double bench_raw_sync_ms(const struct bench *bench)
{
    enum
    {
        TIMES = 20
    };
    char path[BENCH_PATH_MAX];
    uint8_t buf[BENCH_BLK] = "raw";
    double took_ms[TIMES];
    bench_path(bench, "raw-sync", path, sizeof(path));
    AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        bench_fail(path, -errno, NULL);
    for (int i = -1; i < TIMES; i++) /* the first one gets the room */
    {
        double began = bench_now();
        if (pwrite(fd, buf, sizeof(buf), 0) != sizeof(buf) || fdatasync(fd) < 0)
            bench_fail(path, -errno, NULL);
        if (i >= 0)
            took_ms[i] = (bench_now() - began) * 1e3;
    }
    if (unlink(path) < 0)
        bench_fail(path, -errno, NULL);
    return bench_median(took_ms, TIMES);
}

/* ---- LUNs ---------------------------------------------------------------------------------- */

void bench_lun_make(struct pool *pool, const char *name, uint64_t size_bytes)
{
    struct lun_create_args args = {.name = name, .size_bytes = size_bytes};
    BENCH_CHECK_WHY(lun_create(pool, &args, &why));
}

struct lun *bench_lun_open(struct pool *pool, const char *name)
{
    struct lun *lun;
    BENCH_CHECK_WHY(lun_open(pool, name, 0, &lun, &why));
    return lun;
}

void bench_clone(struct pool *pool, const char *source, const char *name)
{
    struct lun_clone_args args = {.source = source, .name = name};
    BENCH_CHECK_WHY(lun_clone(pool, &args, &why));
}

void bench_delete(struct pool *pool, const char *name)
{
    BENCH_CHECK_WHY(lun_delete(pool, name, true, 0, &why));
}

void bench_fill(struct pool *pool, const char *name)
{
    struct lun *lun = bench_lun_open(pool, name);
    AUTO_FREE uint8_t *buf = malloc(BENCH_MIB);
    if (!buf)
        bench_fail("memory", -ENOMEM, NULL);
    struct rng rng = rng_of(1);
    rng_fill(&rng, buf, BENCH_MIB);
    for (uint64_t at = 0; at < lun_size_bytes(lun); at += BENCH_MIB)
        BENCH_CHECK(lun_write(lun, buf, min_u64(BENCH_MIB, lun_size_bytes(lun) - at), at, 0));
    BENCH_CHECK(lun_flush(lun));
    lun_close(lun);
}

void bench_fragment(struct pool *pool, const char *name, uint64_t extents)
{
    struct lun *lun = bench_lun_open(pool, name);
    uint8_t buf[BENCH_BLK];
    struct rng rng = rng_of(2);
    rng_fill(&rng, buf, sizeof(buf));
    for (uint64_t i = 0; i < extents; i++)
        BENCH_CHECK(lun_write(lun, buf, sizeof(buf), 2 * i * BENCH_BLK, 0));
    BENCH_CHECK(lun_flush(lun));
    lun_close(lun);
    BENCH_CHECK(pool_checkpoint(pool));
}

void bench_write_distinct(struct lun *lun, uint64_t count, uint64_t seed)
{
    uint64_t blks = lun_size_bytes(lun) / BENCH_BLK;
    AUTO_FREE uint8_t *done = calloc(blks, 1);
    if (!done || count > blks)
        bench_fail("choosing blocks", -ENOMEM, NULL);
    struct rng rng = rng_of(seed);
    uint8_t buf[BENCH_BLK];
    rng_fill(&rng, buf, sizeof(buf));
    while (count > 0)
    {
        uint64_t lba = rng_below(&rng, blks);
        if (done[lba])
            continue;
        done[lba] = 1;
        count--;
        BENCH_CHECK(lun_write(lun, buf, sizeof(buf), lba * BENCH_BLK, 0));
    }
}
