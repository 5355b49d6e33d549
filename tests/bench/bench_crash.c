/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kill -9 with a full journal.
 *
 * A child writes random blocks of a fresh clone, each block full of its own number and of the count
 * of writes to it, and flushes now and then. What is flushed it notes in memory shared with the
 * parent. When the journal is as full as it gets (a checkpoint begins at half) it kills itself. The
 * parent opens the pool, checks it, and looks for every write that was flushed.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "tests/bench/bench.h"
#include "tests/lib/rng.h"

enum
{
    CRASH_BATCH = 64,       /* writes between two looks at the journal */
    CRASH_FLUSH_EVERY = 16, /* of these batches: not too often, or the journal is never far ahead */
    CRASH_SECONDS = 30,
    CRASH_CHECKPOINT_MS = 60000, /* so that it is the journal that asks for one */
};

#define CRASH_LUN_BYTES (2 * BENCH_GIB)

struct crash_note
{
    double journal_percent, writes;
    bool is_full;                                  /* the journal, or the time was over before */
    uint32_t written[CRASH_LUN_BYTES / BENCH_BLK]; /* the child's own count of writes */
    uint32_t flushed[CRASH_LUN_BYTES / BENCH_BLK]; /* that a flush has covered */
};

static void crash_write(struct lun *lun, struct crash_note *note, struct rng *rng)
{
    uint64_t block[BENCH_BLK / sizeof(uint64_t)];
    uint64_t lba = rng_below(rng, ARRAY_SIZE(note->written));
    uint64_t stamp = lba << 32 | ++note->written[lba];
    for (size_t i = 0; i < ARRAY_SIZE(block); i++)
        block[i] = stamp;
    BENCH_CHECK(lun_write(lun, block, sizeof(block), lba * BENCH_BLK, 0));
    note->writes++;
}

static void crash_flush(struct lun *lun, struct crash_note *note)
{
    BENCH_CHECK(lun_flush(lun));
    memcpy(note->flushed, note->written, sizeof(note->flushed));
}

/* What the journal's half holds, in percent. */
static double crash_journal_percent(struct pool *pool)
{
    struct pool_info info;
    pool_get_info(pool, &info);
    return 100 * (double)info.journal_used_bytes / (double)info.journal_size_bytes;
}

static _Noreturn void crash_child(const struct bench *bench, struct crash_note *note, uint64_t seed)
{
    struct pool *pool = bench_pool_open(bench, "crash.pool", CRASH_CHECKPOINT_MS);
    struct lun *lun = bench_lun_open(pool, "clone");
    struct rng rng = rng_of(seed);
    double end = bench_now() + CRASH_SECONDS, fullest = 0;
    bool has_fallen = false, is_full = false;
    for (unsigned batch = 1; !is_full && bench_now() < end; batch++)
    {
        for (unsigned i = 0; i < CRASH_BATCH; i++)
            crash_write(lun, note, &rng);
        if (batch % CRASH_FLUSH_EVERY == 0)
            crash_flush(lun, note);
        double percent = crash_journal_percent(pool);
        /* A checkpoint has switched halves at this much: the next time is the time. */
        has_fallen |= percent < fullest / 2;
        is_full = has_fallen && percent >= fullest * 0.9;
        fullest = percent > fullest ? percent : fullest;
    }
    crash_flush(lun, note);
    for (unsigned i = 0; i < CRASH_BATCH; i++)
        crash_write(lun, note, &rng); /* these need not survive */
    note->journal_percent = crash_journal_percent(pool);
    note->is_full = is_full;
    kill(getpid(), SIGKILL);
    abort();
}

static void crash_report(void *opaque, bool is_error, const char *text)
{
    (void)opaque;
    if (is_error)
        fprintf(stderr, "bench_engine: check: %s\n", text);
}

/* The whole of one write that was begun, and not of one before the last flush. A write that was not
 * flushed can be there by sectors: those of two writes are right then. */
static bool crash_is_right(const uint64_t *block, uint64_t lba, const struct crash_note *note)
{
    for (size_t i = 0; i < BENCH_BLK / sizeof(*block); i++)
    {
        uint64_t count = block[i] & UINT32_MAX;
        if (block[i] >> 32 != lba || count < note->flushed[lba] || count > note->written[lba])
            return false;
    }
    return true;
}

/* How many flushed blocks are not there, or not as they were written. */
static uint64_t crash_count_lost(struct lun *lun, const struct crash_note *note)
{
    uint64_t lost = 0;
    for (uint64_t lba = 0; lba < ARRAY_SIZE(note->flushed); lba++)
    {
        uint64_t block[BENCH_BLK / sizeof(uint64_t)];
        if (note->flushed[lba] == 0)
            continue;
        BENCH_CHECK(lun_read(lun, block, sizeof(block), lba * BENCH_BLK));
        lost += !crash_is_right(block, lba, note);
    }
    return lost;
}

static void crash_run(const struct bench *bench, struct crash_note *note, uint64_t seed)
{
    memset(note, 0, sizeof(*note));
    pid_t child = fork();
    if (child < 0)
        bench_fail("fork", -errno, NULL);
    if (child == 0)
        crash_child(bench, note, seed);
    int status;
    if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        bench_fail("the writing process", -ECHILD, NULL);
    if (!note->is_full)
        bench_fail("filling the journal", -ETIME, NULL);
    double began = bench_now();
    struct pool *pool = bench_pool_open(bench, "crash.pool", 0);
    struct lun *lun = bench_lun_open(pool, "clone");
    bench_print("crash_reopen_s", bench_now() - began);
    bench_print("crash_journal_percent", note->journal_percent);
    bench_print("crash_writes", note->writes);
    bench_print("crash_lost", (double)crash_count_lost(lun, note));
    struct check_result result;
    BENCH_CHECK(pool_check(pool, crash_report, NULL, &result));
    bench_print("crash_check_errors", (double)result.errors);
    lun_close(lun);
    BENCH_CHECK(pool_close(pool));
}

void bench_crash(const struct bench *bench)
{
    struct crash_note *note =
        mmap(NULL, sizeof(*note), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (note == MAP_FAILED)
        bench_fail("memory", -errno, NULL);
    for (unsigned i = 0; i < bench->runs; i++)
    {
        struct pool *pool = bench_pool_make(bench, "crash.pool", 8 * BENCH_GIB);
        bench_lun_make(pool, "golden", CRASH_LUN_BYTES);
        bench_fill(pool, "golden");
        bench_clone(pool, "golden", "clone");
        BENCH_CHECK(pool_close(pool));
        crash_run(bench, note, 400 + i);
        bench_pool_remove(bench, "crash.pool");
    }
    munmap(note, sizeof(*note));
}
