/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counting requests.
 *
 * Counters are relaxed: each is by itself, nothing is concluded from two of them, and readers
 * (qos_stat_sum) are content with a value of just now. A shard's pointer is released by the thread
 * that made it and acquired by all others, who then find it zeroed.
 */
#include "server/qos/stat.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"

enum
{
    STAT_CACHE_LINE = 64,
};

struct qos_shard
{
    atomic_uint_fast64_t bytes[QOS_IO_KINDS];
    atomic_uint_fast64_t ns[QOS_IO_KINDS];
    atomic_uint_fast64_t latency[QOS_IO_KINDS][QOS_LATENCY_BUCKETS]; /* their sum: requests */
};

const char *qos_io_name(enum qos_io io)
{
    static const char *const names[] = {
        [QOS_READ] = "read",
        [QOS_WRITE] = "write",
        [QOS_UNMAP] = "unmap",
        [QOS_FLUSH] = "flush",
    };
    return names[io];
}

static struct qos_shard *stat_make_shard(void)
{
    size_t size = (sizeof(struct qos_shard) + STAT_CACHE_LINE - 1) / STAT_CACHE_LINE;
    struct qos_shard *shard = aligned_alloc(STAT_CACHE_LINE, size * STAT_CACHE_LINE);
    if (shard)
        memset(shard, 0, sizeof(*shard));
    return shard;
}

int qos_stat_init(struct qos_stat *stat)
{
    struct qos_shard *shard = stat_make_shard();
    if (!shard)
        return -ENOMEM;
    atomic_store_explicit(&stat->shards[0], shard, memory_order_release);
    return 0;
}

void qos_stat_destroy(struct qos_stat *stat)
{
    for (unsigned i = 0; i < QOS_SHARDS; i++)
        free(atomic_load_explicit(&stat->shards[i], memory_order_relaxed));
}

/* The first use on a processor. Without memory the first shard counts for it as well. */
static __attribute__((noinline)) struct qos_shard *stat_add_shard(struct qos_stat *stat, unsigned i)
{
    struct qos_shard *none = NULL, *shard = stat_make_shard();
    if (!shard)
        return atomic_load_explicit(&stat->shards[0], memory_order_acquire);
    if (atomic_compare_exchange_strong_explicit(&stat->shards[i], &none, shard,
                                                memory_order_acq_rel, memory_order_acquire))
        return shard;
    free(shard);
    return none;
}

/* 0: at most 2^QOS_LATENCY_SHIFT ns, 1: at most twice that, ... */
static unsigned stat_bucket(uint64_t ns)
{
    uint64_t above = ns > 0 ? (ns - 1) >> QOS_LATENCY_SHIFT : 0;
    unsigned bucket = above > 0 ? 64 - (unsigned)__builtin_clzll(above) : 0;
    return bucket < QOS_LATENCY_BUCKETS ? bucket : QOS_LATENCY_BUCKETS - 1;
}

static void stat_count(atomic_uint_fast64_t *counter, uint64_t amount)
{
    atomic_fetch_add_explicit(counter, amount, memory_order_relaxed);
}

void qos_stat_add(struct qos_stat *stat, enum qos_io io, uint64_t bytes, uint64_t ns)
{
    int cpu = sched_getcpu();
    unsigned i = cpu > 0 ? (unsigned)cpu % QOS_SHARDS : 0;
    struct qos_shard *shard = atomic_load_explicit(&stat->shards[i], memory_order_acquire);
    if (!shard)
        shard = stat_add_shard(stat, i);
    stat_count(&shard->latency[io][stat_bucket(ns)], 1);
    stat_count(&shard->ns[io], ns);
    if (bytes > 0)
        stat_count(&shard->bytes[io], bytes);
}

static uint64_t stat_value(const atomic_uint_fast64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void stat_sum_shard(const struct qos_shard *shard, struct qos_io_sum sums[QOS_IO_KINDS])
{
    for (unsigned io = 0; io < QOS_IO_KINDS; io++)
    {
        sums[io].bytes += stat_value(&shard->bytes[io]);
        sums[io].ns += stat_value(&shard->ns[io]);
        for (unsigned i = 0; i < QOS_LATENCY_BUCKETS; i++)
        {
            uint64_t count = stat_value(&shard->latency[io][i]);
            sums[io].latency[i] += count;
            sums[io].ops += count;
        }
    }
}

void qos_stat_sum(const struct qos_stat *stat, struct qos_io_sum sums[QOS_IO_KINDS])
{
    memset(sums, 0, QOS_IO_KINDS * sizeof(*sums));
    for (unsigned i = 0; i < QOS_SHARDS; i++)
    {
        const struct qos_shard *shard =
            atomic_load_explicit(&stat->shards[i], memory_order_acquire);
        if (shard)
            stat_sum_shard(shard, sums);
    }
}
