/* SPDX-License-Identifier: BSD-3-Clause */
/* What clones take: of the pool, when many are made, when one is written; of reads and memory. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "tests/bench/bench.h"
#include "tests/lib/rng.h"

enum
{
    MANY_CLONES = 10000,
    SPACE_EXTENTS = 265000,
    SPACE_WRITES = 10000,
    DEPTH_CLONES = 1000,
    DEPTH_WRITES = 16, /* of each clone of the chain */
    DEPTH_BLKS = 65536,
    DEPTH_SLICE = 1024, /* reads */
    DEPTH_STEP = 40503,
    SHARED_CLONES = 100,
    SPACE_PATH_MAX = 1024,
};

/* What data and metadata take, as of a checkpoint. */
static uint64_t space_used(struct pool *pool)
{
    struct pool_info info;
    BENCH_CHECK(pool_checkpoint(pool));
    BENCH_CHECK(pool_checkpoint(pool)); /* gives back what the first one freed */
    pool_get_info(pool, &info);
    return info.data_bytes + info.metadata_bytes;
}

/* ---- many clones --------------------------------------------------------------------------- */

static void many_run(const struct bench *bench)
{
    uint32_t count = (uint32_t)bench_scaled(bench, MANY_CLONES);
    struct pool *pool = bench_pool_make(bench, "many.pool", 8 * BENCH_GIB);
    bench_lun_make(pool, "golden", BENCH_GIB);
    bench_fill(pool, "golden");
    uint64_t before = space_used(pool);
    struct lun_clone_args args = {.source = "golden", .name = "vm-%05d", .count = count};
    double began = bench_now();
    BENCH_CHECK_WHY(lun_clone(pool, &args, &why));
    bench_print("many_clone_s", bench_now() - began);
    bench_print("many_bytes_each", (double)(space_used(pool) - before) / count);
    BENCH_CHECK(pool_close(pool));
    began = bench_now();
    pool = bench_pool_open(bench, "many.pool", 0);
    bench_print("many_reopen_s", bench_now() - began);
    lun_close(bench_lun_open(pool, "vm-00007"));
    BENCH_CHECK(pool_close(pool));
    bench_pool_remove(bench, "many.pool");
}

void bench_many(const struct bench *bench)
{
    for (unsigned i = 0; i < bench->runs; i++)
        many_run(bench);
}

/* ---- writes into a clone ------------------------------------------------------------------- */

void bench_space(const struct bench *bench)
{
    uint64_t extents = bench_scaled(bench, SPACE_EXTENTS);
    uint64_t writes = bench_scaled(bench, SPACE_WRITES);
    struct pool *pool = bench_pool_make(bench, "space.pool", 8 * BENCH_GIB);
    bench_lun_make(pool, "golden", 2 * extents * BENCH_BLK);
    bench_fragment(pool, "golden", extents);
    for (unsigned i = 0; i < bench->runs; i++)
    {
        uint64_t before = space_used(pool);
        bench_clone(pool, "golden", "clone");
        struct lun *clone = bench_lun_open(pool, "clone");
        bench_write_distinct(clone, writes, 200 + i);
        BENCH_CHECK(lun_flush(clone));
        lun_close(clone);
        uint64_t taken = space_used(pool) - before;
        bench_print("space_ratio", (double)taken / (double)(writes * BENCH_BLK));
        bench_delete(pool, "clone");
        BENCH_CHECK(job_wait(pool, 0, 0));
    }
    BENCH_CHECK(pool_close(pool));
    bench_pool_remove(bench, "space.pool");
}

/* ---- depth --------------------------------------------------------------------------------- */

struct depth_side
{
    struct lun *lun;
    struct rng rng;
    uint64_t ops;
    double cpu_s;
};

static double depth_cpu_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void depth_read(struct depth_side *side)
{
    uint64_t blks = lun_size_bytes(side->lun) / BENCH_BLK;
    uint8_t buf[BENCH_BLK];
    double began = depth_cpu_now();
    for (unsigned i = 0; i < DEPTH_SLICE; i++)
        BENCH_CHECK(lun_read(side->lun, buf, sizeof(buf), rng_below(&side->rng, blks) * BENCH_BLK));
    side->ops += DEPTH_SLICE;
    side->cpu_s += depth_cpu_now() - began;
}

/* Random reads of both by turns, a slice of some milliseconds each. One thread that never waits:
 * its processor time tells what other work on the machine disturbs least. */
static void depth_run(const struct bench *bench, struct lun *top, struct lun *golden, uint64_t seed)
{
    struct depth_side sides[2] = {{.lun = top, .rng = rng_of(seed)},
                                  {.lun = golden, .rng = rng_of(seed)}};
    double end = bench_now() + 2 * bench->seconds;
    while (bench_now() < end)
    {
        depth_read(&sides[0]);
        depth_read(&sides[1]);
    }
    bench_print("depth_top_iops", (double)sides[0].ops / sides[0].cpu_s);
    bench_print("depth_golden_iops", (double)sides[1].ops / sides[1].cpu_s);
}

static void depth_write(struct lun *lun, uint64_t lba, uint64_t n)
{
    static uint8_t buf[BENCH_MIB];
    while (n > 0)
    {
        uint64_t part = min_u64(n, BENCH_MIB / BENCH_BLK);
        BENCH_CHECK(lun_write(lun, buf, part * BENCH_BLK, lba * BENCH_BLK, 0));
        lba += part;
        n -= part;
    }
}

/* Makes "c-1" of "base", "c-2" of "c-1" ..., each with some blocks of its own, which are marked.
 * The last one's name goes to @name. */
static void depth_make_chain(const struct bench *bench, struct pool *pool, uint8_t *marks,
                             char *name, size_t size)
{
    char source[32] = "base";
    struct rng rng = rng_of(3);
    uint64_t clones = bench_scaled(bench, DEPTH_CLONES);
    for (uint64_t i = 1; i <= clones; i++)
    {
        snprintf(name, size, "c-%" PRIu64, i);
        bench_clone(pool, source, name);
        struct lun *clone = bench_lun_open(pool, name);
        for (unsigned n = 0; n < DEPTH_WRITES; n++)
        {
            uint64_t lba = rng_below(&rng, DEPTH_BLKS);
            depth_write(clone, lba, 1);
            marks[lba] = 1;
        }
        lun_close(clone);
        snprintf(source, sizeof(source), "%s", name);
    }
}

/* Fills "golden" so that it is in as many pieces as the end of the chain: what the chain wrote lies
 * elsewhere. Else a long map would be compared with a short one, not deep with flat. */
static void depth_fill_golden(struct pool *pool, const uint8_t *marks)
{
    struct lun *golden = bench_lun_open(pool, "golden");
    for (uint64_t lba = 0, n; lba < DEPTH_BLKS; lba += n)
    {
        for (n = 1; lba + n < DEPTH_BLKS && marks[lba + n] == marks[lba];)
            n++;
        if (!marks[lba])
            depth_write(golden, lba, n);
    }
    struct rng rng = rng_of(4);
    for (uint64_t i = 0, at = rng_below(&rng, DEPTH_BLKS); i < DEPTH_BLKS; i++)
    {
        at = (at + DEPTH_STEP) % DEPTH_BLKS; /* every block once, no neighbours in a row */
        if (marks[at])
            depth_write(golden, at, 1);
    }
    lun_close(golden);
}

void bench_depth(const struct bench *bench)
{
    char name[32];
    struct pool *pool = bench_pool_make(bench, "depth.pool", 8 * BENCH_GIB);
    AUTO_FREE uint8_t *marks = calloc(DEPTH_BLKS, 1);
    if (!marks)
        bench_fail("memory", -ENOMEM, NULL);
    bench_lun_make(pool, "base", (uint64_t)DEPTH_BLKS * BENCH_BLK);
    bench_fill(pool, "base");
    depth_make_chain(bench, pool, marks, name, sizeof(name));
    bench_lun_make(pool, "golden", (uint64_t)DEPTH_BLKS * BENCH_BLK);
    depth_fill_golden(pool, marks);
    BENCH_CHECK(pool_checkpoint(pool));
    struct lun *golden = bench_lun_open(pool, "golden"), *top = bench_lun_open(pool, name);
    for (unsigned i = 0; i < bench->runs; i++)
        depth_run(bench, top, golden, 300 + i);
    lun_close(golden);
    lun_close(top);
    BENCH_CHECK(pool_close(pool));
    bench_pool_remove(bench, "depth.pool");
}

/* ---- clones that read the same ------------------------------------------------------------- */

/* Bytes that this process has had read from devices. */
static uint64_t shared_read_bytes(void)
{
    char line[128];
    uint64_t bytes = 0;
    FILE *file = fopen("/proc/self/io", "re");
    if (!file)
        bench_fail("/proc/self/io", -errno, NULL);
    while (fgets(line, sizeof(line), file))
        if (strncmp(line, "read_bytes: ", 12) == 0)
            bytes = strtoull(line + 12, NULL, 10);
    fclose(file);
    return bytes;
}

/* Bytes of the pool file in the page cache. */
static uint64_t shared_cached_bytes(const char *path)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        bench_fail(path, -errno, NULL);
    size_t size = (size_t)st.st_size, pages = div_round_up(size, BENCH_BLK), cached = 0;
    void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    AUTO_FREE unsigned char *in_core = malloc(pages);
    if (map == MAP_FAILED || !in_core || mincore(map, size, in_core) < 0)
        bench_fail("mincore", -errno, NULL);
    for (size_t i = 0; i < pages; i++)
        cached += in_core[i] & 1;
    munmap(map, size);
    return cached * BENCH_BLK;
}

static void shared_drop_cache(const char *path)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        bench_fail(path, -errno, NULL);
    BENCH_CHECK(-posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
}

static uint64_t shared_anonymous_bytes(void)
{
    char line[128];
    uint64_t kib = 0;
    FILE *file = fopen("/proc/self/status", "re");
    if (!file)
        bench_fail("/proc/self/status", -errno, NULL);
    while (fgets(line, sizeof(line), file))
        if (strncmp(line, "RssAnon:", 8) == 0)
            kib = strtoull(line + 8, NULL, 10);
    fclose(file);
    return kib << 10;
}

/* Reads clones [0, count) whole, on a cold cache, and prints what that took of device and memory.
 */
static void shared_run(struct pool *pool, const char *path, unsigned count, const char *label)
{
    char name[64];
    AUTO_FREE uint8_t *buf = malloc(BENCH_MIB);
    if (!buf)
        bench_fail("memory", -ENOMEM, NULL);
    BENCH_CHECK(pool_checkpoint(pool));
    shared_drop_cache(path);
    uint64_t before = shared_read_bytes();
    struct lun *luns[SHARED_CLONES];
    for (unsigned i = 0; i < count; i++)
    {
        snprintf(name, sizeof(name), "vm-%03u", i);
        luns[i] = bench_lun_open(pool, name);
        for (uint64_t at = 0; at < lun_size_bytes(luns[i]); at += BENCH_MIB)
            BENCH_CHECK(lun_read(luns[i], buf, BENCH_MIB, at));
    }
    snprintf(name, sizeof(name), "shared_%s_read_mib", label);
    bench_print(name, (double)(shared_read_bytes() - before) / (double)BENCH_MIB);
    snprintf(name, sizeof(name), "shared_%s_memory_mib", label);
    bench_print(name,
                (double)(shared_cached_bytes(path) + shared_anonymous_bytes()) / (double)BENCH_MIB);
    for (unsigned i = 0; i < count; i++)
        lun_close(luns[i]);
}

void bench_shared(const struct bench *bench)
{
    char path[SPACE_PATH_MAX];
    bench_path(bench, "shared.pool", path, sizeof(path));
    struct pool *pool = bench_pool_make(bench, "shared.pool", 8 * BENCH_GIB);
    bench_lun_make(pool, "golden", bench->is_quick ? BENCH_GIB / 8 : BENCH_GIB);
    bench_fill(pool, "golden");
    struct lun_clone_args args = {.source = "golden", .name = "vm-%03d", .count = SHARED_CLONES};
    BENCH_CHECK_WHY(lun_clone(pool, &args, &why));
    for (unsigned i = 0; i < min_u64(bench->runs, 3); i++) /* 100 GiB are read in each */
    {
        shared_run(pool, path, 1, "one");
        shared_run(pool, path, SHARED_CLONES, "all");
    }
    BENCH_CHECK(pool_close(pool));
    bench_pool_remove(bench, "shared.pool");
}
