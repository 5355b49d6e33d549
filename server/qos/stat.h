/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a LUN's requests were and how long they took, since the server started.
 *
 * Counted in shards, one for each of a few processors, so that threads do not pass a cache line to
 * and fro; a reader adds them up. Sums are not of one instant, but each only grows.
 */
#ifndef SERVER_QOS_STAT_H
#define SERVER_QOS_STAT_H

#include <stdint.h>

#include "lun/base/err.h"

enum qos_io
{
    QOS_READ,
    QOS_WRITE,
    QOS_UNMAP, /* unmap, trim, zero: no data moves */
    QOS_FLUSH, /* never waits */
    QOS_IO_KINDS,
};

enum
{
    QOS_SHARDS = 16,
    /*
     * Bucket i has what took at most 2^(QOS_LATENCY_SHIFT + i) ns and more than the bucket before:
     * 1.024 us, 2.048 us, ... 17.2 s; the last one all that took longer.
     */
    QOS_LATENCY_SHIFT = 10,
    QOS_LATENCY_BUCKETS = 26,
};

/* "read", "write", "unmap", "flush". */
const char *qos_io_name(enum qos_io io);

struct qos_shard;

struct qos_stat
{
    struct qos_shard *_Atomic shards[QOS_SHARDS]; /* the first is there from the beginning */
};

struct qos_io_sum
{
    uint64_t ops, bytes, ns;
    uint64_t latency[QOS_LATENCY_BUCKETS];
};

MUST_CHECK int qos_stat_init(struct qos_stat *stat);
void qos_stat_destroy(struct qos_stat *stat); /* a zeroed one too */

/* A request that took @ns and moved @bytes. Any thread, no lock. */
void qos_stat_add(struct qos_stat *stat, enum qos_io io, uint64_t bytes, uint64_t ns);

/* Zeros of one that was never initialised. */
void qos_stat_sum(const struct qos_stat *stat, struct qos_io_sum sums[QOS_IO_KINDS]);

#endif
