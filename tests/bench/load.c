/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A load of random I/O whose latencies are all kept: in a histogram of 1 us steps up to 100 ms, and
 * the longest exactly. What still waits when one looks counts with the time it has waited, so a
 * pause cannot hide behind its own end.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "tests/bench/bench.h"
#include "tests/lib/rng.h"

enum
{
    LOAD_THREADS_MAX = 16,
    LOAD_STEPS = 100000, /* of 1 us; the last one takes all that is longer */
};

struct load_thread
{
    struct load *load;
    pthread_t thread;
    uint64_t seed;
    _Atomic uint64_t began_ns; /* of the request in flight; 0: none */
    _Atomic uint64_t longest_ns;
    _Atomic uint64_t ops;
    _Atomic uint32_t *steps;
};

struct load
{
    struct lun *lun;
    struct load_options options;
    atomic_bool stop;
    double began;
    struct load_thread threads[LOAD_THREADS_MAX];
};

static uint64_t load_now_ns(void)
{
    return (uint64_t)(bench_now() * 1e9);
}

static void load_note(struct load_thread *thread, uint64_t ns)
{
    uint64_t step = min_u64(ns / 1000, LOAD_STEPS - 1);
    atomic_fetch_add_explicit(&thread->steps[step], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&thread->ops, 1, memory_order_relaxed);
    if (ns > atomic_load_explicit(&thread->longest_ns, memory_order_relaxed))
        atomic_store_explicit(&thread->longest_ns, ns, memory_order_relaxed);
}

static void *load_run(void *opaque)
{
    struct load_thread *thread = opaque;
    struct load *load = thread->load;
    uint64_t stride = max_u64(1, load->options.stride);
    uint64_t blks = lun_size_bytes(load->lun) / BENCH_BLK / stride;
    struct rng rng = rng_of(thread->seed);
    uint8_t buf[BENCH_BLK];
    rng_fill(&rng, buf, sizeof(buf));
    while (!atomic_load(&load->stop))
    {
        if (load->options.pause_us > 0)
            usleep(load->options.pause_us);
        uint64_t offset = rng_below(&rng, blks) * stride * BENCH_BLK;
        bool is_write = rng_percent(&rng, load->options.write_percent);
        uint64_t began = load_now_ns();
        atomic_store(&thread->began_ns, began);
        int r = is_write ? lun_write(load->lun, buf, sizeof(buf), offset, 0)
                         : lun_read(load->lun, buf, sizeof(buf), offset);
        if (r < 0)
            bench_fail("the load", r, NULL);
        load_note(thread, load_now_ns() - began);
        atomic_store(&thread->began_ns, 0);
    }
    return NULL;
}

struct load *load_start(struct pool *pool, const char *name, const struct load_options *options)
{
    struct load *load = calloc(1, sizeof(*load));
    if (!load || options->threads > LOAD_THREADS_MAX)
        bench_fail("the load", -ENOMEM, NULL);
    load->lun = bench_lun_open(pool, name);
    load->options = *options;
    load->began = bench_now();
    for (unsigned i = 0; i < options->threads; i++)
    {
        struct load_thread *thread = &load->threads[i];
        thread->load = load;
        thread->seed = 1000 + i;
        thread->steps = calloc(LOAD_STEPS, sizeof(*thread->steps));
        if (!thread->steps)
            bench_fail("the load", -ENOMEM, NULL);
        BENCH_CHECK(-pthread_create(&thread->thread, NULL, load_run, thread));
    }
    return load;
}

void load_reset(struct load *load)
{
    for (unsigned i = 0; i < load->options.threads; i++)
    {
        struct load_thread *thread = &load->threads[i];
        for (unsigned step = 0; step < LOAD_STEPS; step++)
            atomic_store_explicit(&thread->steps[step], 0, memory_order_relaxed);
        atomic_store(&thread->longest_ns, 0);
        atomic_store(&thread->ops, 0);
    }
    load->began = bench_now();
}

void load_look(struct load *load, struct load_result *result)
{
    uint64_t now = load_now_ns(), longest = 0, ops = 0, above = 0;
    for (unsigned i = 0; i < load->options.threads; i++)
    {
        struct load_thread *thread = &load->threads[i];
        uint64_t began = atomic_load(&thread->began_ns);
        longest = max_u64(longest, atomic_load(&thread->longest_ns));
        if (began != 0 && began < now)
            longest = max_u64(longest, now - began);
        ops += atomic_load(&thread->ops);
    }
    unsigned step = LOAD_STEPS;
    while (step > 0 && above <= ops / 100)
    {
        step--;
        for (unsigned i = 0; i < load->options.threads; i++)
            above += atomic_load_explicit(&load->threads[i].steps[step], memory_order_relaxed);
    }
    *result = (struct load_result){.ops = ops,
                                   .seconds = bench_now() - load->began,
                                   .longest_ms = (double)longest / 1e6,
                                   .p99_ms = (double)step / 1e3};
}

void load_stop(struct load *load)
{
    atomic_store(&load->stop, true);
    for (unsigned i = 0; i < load->options.threads; i++)
    {
        BENCH_CHECK(-pthread_join(load->threads[i].thread, NULL));
        free(load->threads[i].steps);
    }
    lun_close(load->lun);
    free(load);
}
