/* SPDX-License-Identifier: BSD-3-Clause */
/* Promises while everybody is at it: writers of reserved LUNs never meet -ENOSPC. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/volume/ledger.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

enum
{
    LUN_BLKS = 800,
    WRITES = 600,
    COMMANDS = 60,
};

static struct engine_host host;

struct worker
{
    pthread_t thread;
    char lun[16];
    uint64_t seed;
    int worst;          /* the last error that is not allowed */
    uint64_t refusals;  /* that are */
    _Atomic bool *full; /* the pool was, for somebody who was promised nothing */
    _Atomic bool *stop; /* for those who go on until the others are through */
};

static int write_some(struct worker *worker, struct rng *rng, struct lun *lun, uint8_t *bytes)
{
    uint64_t lba = rng_below(rng, LUN_BLKS - 64), blks = rng_between(rng, 1, 64);
    memset(bytes, (int)rng_between(rng, 1, 255), blks * BLK_BYTES);
    unsigned kind = (unsigned)rng_below(rng, 10);
    (void)worker;
    if (kind == 0)
        return lun_unmap(lun, blks * BLK_BYTES, lba * BLK_BYTES, 0);
    if (kind == 1)
        return lun_zero(lun, blks * BLK_BYTES, lba * BLK_BYTES, 0);
    if (kind == 2)
        return lun_write_atomic(lun, bytes, blks * BLK_BYTES, lba * BLK_BYTES, 0);
    return lun_write(lun, bytes, blks * BLK_BYTES, lba * BLK_BYTES, 0);
}

static void *work_promised(void *opaque)
{
    struct worker *worker = opaque;
    struct rng rng = rng_of(worker->seed);
    struct lun *lun = NULL;
    uint8_t *bytes = malloc(64 * BLK_BYTES);
    int r = bytes ? lun_open(host.pool, worker->lun, 0, &lun, NULL) : -ENOMEM;
    for (unsigned i = 0; r == 0 && (i < WRITES || !atomic_load(worker->full)); i++)
        r = write_some(worker, &rng, lun, bytes);
    worker->worst = r;
    lun_close(lun);
    free(bytes);
    return NULL;
}

/* Takes all that it gets, and gives some of it back. */
static void *work_thin(void *opaque)
{
    struct worker *worker = opaque;
    struct rng rng = rng_of(worker->seed);
    struct lun *lun = NULL;
    uint8_t *bytes = calloc(64, BLK_BYTES);
    int r = bytes ? lun_open(host.pool, worker->lun, 0, &lun, NULL) : -ENOMEM;
    for (uint64_t i = 0; r == 0 && !atomic_load(worker->stop); i++)
    {
        uint64_t lba = rng_below(&rng, 100000);
        r = lun_write(lun, bytes, 64 * BLK_BYTES, lba * BLK_BYTES, 0);
        if (r != -ENOSPC)
            continue;
        worker->refusals++;
        if (worker->full)
            atomic_store(worker->full, true);
        r = 0;
        if (worker->refusals % 16 == 0)
            r = lun_unmap(lun, UINT64_C(50000) * BLK_BYTES, 0, 0);
        if (r == -ENOSPC)
            r = 0; /* shared: nobody promised it the metadata */
    }
    if (worker->full)
        atomic_store(worker->full, true); /* nobody waits for who has failed */
    worker->worst = r;
    lun_close(lun);
    free(bytes);
    return NULL;
}

static int manage_once(const char *lun, unsigned i, uint64_t *refusals)
{
    char name[16];
    snprintf(name, sizeof(name), "c%u", i);
    struct lun_clone_args args = {.source = lun, .name = name, .no_reserve = i % 2};
    int r = i % 3 == 0 ? snapshot_create(host.pool, lun, name, NULL, NULL)
                       : lun_clone(host.pool, &args, NULL);
    if (r == -ENOSPC)
    {
        ++*refusals;
        return 0;
    }
    if (r == 0 && i % 3 == 0)
        r = snapshot_delete(host.pool, lun, name, 0, NULL);
    else if (r == 0)
        r = lun_delete(host.pool, name, false, 0, NULL);
    return r;
}

static void *work_manage(void *opaque)
{
    struct worker *worker = opaque;
    for (unsigned i = 0; i < COMMANDS && worker->worst == 0; i++)
        worker->worst = manage_once(i % 2 ? "r0" : "r1", i, &worker->refusals);
    return NULL;
}

static void start(void)
{
    static const struct pool_create_options options = {
        .name = "unit", .size_bytes = 24 << 20, .group_blks = 1024, .journal_bytes = 1 << 20};
    host_start(&host, &options);
    struct lun_attributes reserved = {.is_reserved = true};
    for (unsigned i = 0; i < 2; i++)
    {
        char name[8];
        snprintf(name, sizeof(name), "r%u", i);
        host_create(&host, name, LUN_BLKS);
        CU_ASSERT_EQUAL(lun_set_attributes(host.pool, name, LUN_SET_RESERVED, &reserved, &host.why),
                        0);
        snprintf(name, sizeof(name), "t%u", i);
        host_create(&host, name, 200000);
    }
    struct volume_attributes volume = {.size_bytes = UINT64_C(600) * BLK_BYTES,
                                       .is_guaranteed = true};
    CU_ASSERT_EQUAL(volume_create(host.pool, "v", &volume, &host.why), 0);
    host_start_threads(&host);
}

static void test_threads(void)
{
    start();
    _Atomic bool stop = false, full = false;
    struct worker workers[5] = {
        {.lun = "r0", .seed = 1},
        {.lun = "r1", .seed = 2},
        {.lun = "t0", .seed = 3},
        {.lun = "t1", .seed = 4},
        {.seed = 5},
    };
    void *(*const runs[])(void *) = {work_promised, work_promised, work_thin, work_thin,
                                     work_manage};
    for (unsigned i = 0; i < 5; i++)
    {
        workers[i].stop = &stop;
        workers[i].full = &full;
        CU_ASSERT_EQUAL_FATAL(pthread_create(&workers[i].thread, NULL, runs[i], &workers[i]), 0);
    }
    static const unsigned order[] = {0, 1, 4, 2, 3};
    for (unsigned i = 0; i < 5; i++)
    {
        if (i == 3)
            atomic_store(&stop, true);
        pthread_join(workers[order[i]].thread, NULL);
    }
    for (unsigned i = 0; i < 5; i++)
    {
        CU_ASSERT_EQUAL(workers[i].worst, 0);
        if (workers[i].worst < 0)
            fprintf(stderr, "worker %u ended with %d\n", i, workers[i].worst);
    }
    CU_ASSERT_TRUE(workers[2].refusals + workers[3].refusals > 0);
    struct space_stats stats;
    space_get_stats(host.pool->space, &stats);
    CU_ASSERT_TRUE(stats.promised_blks <= stats.free_blks + stats.deferred_blks);
    CU_ASSERT_EQUAL(stats.taken_blks, 0);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    if (host.said[0])
        fprintf(stderr, "%s\n", host.said);
    host_stop(&host);
}

/* What is promised at most whenever somebody looks. */
static void *work_look(void *opaque)
{
    struct worker *worker = opaque;
    while (!atomic_load(worker->stop))
    {
        struct space_stats stats;
        space_get_stats(host.pool->space, &stats);
        if (stats.promised_blks > worker->refusals)
            worker->refusals = stats.promised_blks;
    }
    return NULL;
}

/* A promise is held, then booked, and at no moment both; nor is it gone before it is taken back. */
static void test_counted_once(void)
{
    start();
    struct lun_attributes attributes = {0};
    struct space_stats stats;
    _Atomic bool stop = false;
    struct worker looker = {.stop = &stop}, writer = {.lun = "t0", .seed = 6, .stop = &stop};
    /* With "r0" reserved, as it is now; who is slow finds the pool full, and reserves it never. */
    space_get_stats(host.pool->space, &stats);
    uint64_t most = stats.promised_blks;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&looker.thread, NULL, work_look, &looker), 0);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&writer.thread, NULL, work_thin, &writer), 0);
    for (unsigned i = 0; i < 20 * COMMANDS; i++)
    {
        attributes.is_reserved = i % 2;
        int r = lun_set_attributes(host.pool, "r0", LUN_SET_RESERVED, &attributes, NULL);
        CU_ASSERT_TRUE(r == 0 || r == -ENOSPC);
        space_get_stats(host.pool->space, &stats);
        most = stats.promised_blks > most ? stats.promised_blks : most;
    }
    atomic_store(&stop, true);
    pthread_join(looker.thread, NULL);
    pthread_join(writer.thread, NULL);
    CU_ASSERT_EQUAL(writer.worst, 0);
    CU_ASSERT_TRUE(looker.refusals <= most);
    host_stop(&host);
}

static CU_TestInfo threads_tests[] = {
    {"a promise counts once", test_counted_once},
    {"reserved and thin writers, clones and snapshots", test_threads},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"threads", NULL, NULL, NULL, NULL, threads_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
