/* SPDX-License-Identifier: BSD-3-Clause */
/* Background jobs: their steps are bounded, they rest while hosts do I/O. Those that meet damage
 * stop and say so, those that find no room wait; both hold up nothing else. */
#include "lun/jobs/jobs.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

static struct engine_host host;

/* "a", whose map is damaged, and "b", which is well; nothing of them is in memory. */
static void start(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", 1024);
    host_create(&host, "b", 1024);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 200, 1, 0), 0);
    CU_ASSERT_EQUAL(host_write(&host, "b", 0, 200, 2, 0), 0);
    host_settle(&host);
    uint64_t root = host_line(&host, "a")->map.root.blk;
    host_close(&host);
    simdev_poke(host.disk, "damaged", 8, root * BLK_BYTES + 200);
    CU_ASSERT_EQUAL_FATAL(host_open(&host, NULL), 0);
}

static size_t jobs_in_state(const char *state, const char *problem)
{
    struct job_info *list = NULL;
    size_t count = 0, found = 0;
    CU_ASSERT_EQUAL(job_list(host.pool, &list, &count), 0);
    for (size_t i = 0; i < count; i++)
        found += strcmp(list[i].state, state) == 0 && strstr(list[i].problem, problem) != NULL;
    free(list);
    return found;
}

static void test_delete_of_damaged(void)
{
    start();
    uint64_t id = host_line(&host, "a")->object.id;
    host_delete(&host, "a");
    CU_ASSERT_EQUAL(jobs_in_state("running", ""), 1);
    CU_ASSERT_EQUAL(pool_run_job_step(host.pool), -EBADMSG);
    CU_ASSERT_EQUAL(pool_run_job_step(host.pool), 0); /* it is not tried again */
    CU_ASSERT_EQUAL(jobs_in_state("failed", "pool check"), 1);
    CU_ASSERT_TRUE(host_has_event(&host, "job.failed", ""));
    CU_ASSERT_EQUAL(job_wait(host.pool, id, 0), -EBADMSG);
    CU_ASSERT_EQUAL(job_wait(host.pool, 0, 0), -EBADMSG);
    CU_ASSERT_EQUAL(job_wait(host.pool, id + 100, 0), -ENOENT);
    /* Others go on. */
    host_delete(&host, "b");
    CU_ASSERT_EQUAL(jobs_in_state("running", ""), 1);
    CU_ASSERT_EQUAL(job_wait(host.pool, 0, 0), -EBADMSG);
    CU_ASSERT_EQUAL(jobs_in_state("running", ""), 0);
    CU_ASSERT_EQUAL(jobs_in_state("failed", ""), 1);
    /* The next server tries once more. */
    host_reopen(&host);
    CU_ASSERT_EQUAL(jobs_in_state("running", ""), 1);
    CU_ASSERT_EQUAL(job_wait(host.pool, 0, 0), -EBADMSG);
    CU_ASSERT_EQUAL(jobs_in_state("failed", ""), 1);
    CU_ASSERT_EQUAL(host.pool->health, POOL_HEALTHY);
    host_stop(&host);
}

/* With threads: waiting ends, and so does the pool. */
static void test_with_threads(void)
{
    start();
    host_start_threads(&host);
    host_delete(&host, "a");
    host_delete(&host, "b");
    CU_ASSERT_EQUAL(job_wait(host.pool, 0, 0), -EBADMSG);
    CU_ASSERT_EQUAL(jobs_in_state("failed", ""), 1);
    CU_ASSERT_EQUAL(jobs_in_state("running", ""), 0);
    CU_ASSERT_EQUAL(pool_close(host.pool), 0);
    host.pool = NULL;
    host_stop(&host);
}

/* A tail that cannot be unmapped keeps no delete from its turn. */
static void test_shrink_of_damaged(void)
{
    start();
    struct reason why;
    CU_ASSERT_EQUAL(lun_resize(host.pool, "a", 100 * BLK_BYTES, true, &why), 0);
    host_delete(&host, "b");
    CU_ASSERT_EQUAL(jobs_in_state("running", ""), 2);
    int r, failures = 0;
    while ((r = pool_run_job_step(host.pool)) != 0)
        failures += r < 0;
    CU_ASSERT_EQUAL(failures, 1);
    CU_ASSERT_EQUAL(jobs_in_state("running", ""), 0);
    CU_ASSERT_EQUAL(jobs_in_state("failed", "pool check"), 1);
    CU_ASSERT_EQUAL(job_wait(host.pool, host_object(&host, "a")->object.id, 0), -EBADMSG);
    CU_ASSERT_EQUAL(job_wait(host.pool, 0, 0), -EBADMSG);
    CU_ASSERT_TRUE(host_has_event(&host, "job.failed", "a"));
    host_stop(&host);
}

/* ---- tails that find no room --------------------------------------------------------------- */

enum
{
    TAIL_BLKS = 1024,
    DOOMED_BLKS = 2048,
    SMALL_LUNS = 8,
};

/* "a", all of which a snapshot shares, and "doomed", in a pool that has no room for an unmap of
 * what is shared. That asks for less than a write, so small LUNs take what writes have left. */
static void start_full(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", TAIL_BLKS);
    host_create(&host, "doomed", DOOMED_BLKS);
    host_create(&host, "filler", 1 << 20);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, TAIL_BLKS, 1, 0), 0);
    CU_ASSERT_EQUAL(host_write(&host, "doomed", 0, DOOMED_BLKS, 2, 0), 0);
    host_snapshot(&host, "a", "s");
    char name[16];
    for (unsigned i = 0; i < SMALL_LUNS; i++)
    {
        snprintf(name, sizeof(name), "small%u", i);
        host_create(&host, name, 4);
        CU_ASSERT_EQUAL(host_write(&host, name, 0, 4, 5, 0), 0);
        host_snapshot(&host, name, "s");
    }
    uint64_t lba = 0;
    for (uint64_t blks = 64; blks > 0; blks /= 2)
        while (host_write(&host, "filler", lba, blks, 3, 0) == 0)
            lba += blks;
    host_settle(&host);
    int r = 0;
    for (unsigned i = 0; r == 0 && i < SMALL_LUNS; i++)
    {
        snprintf(name, sizeof(name), "small%u", i);
        r = host_unmap(&host, name, 0, 4);
    }
    CU_ASSERT_EQUAL_FATAL(r, -ENOSPC);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 4, 0), -ENOSPC);
}

static size_t jobs_of_kind(const char *kind, const char *state)
{
    struct job_info *list = NULL;
    size_t count = 0, found = 0;
    CU_ASSERT_EQUAL(job_list(host.pool, &list, &count), 0);
    for (size_t i = 0; i < count; i++)
        found += strcmp(list[i].kind, kind) == 0 && strcmp(list[i].state, state) == 0;
    free(list);
    return found;
}

/* To let go of what is shared takes nodes: without room for them the tail stays, and waits. */
static void test_tail_waits(void)
{
    start_full();
    CU_ASSERT_EQUAL(jobs_of_kind("shrink", "running"), 0);
    CU_ASSERT_EQUAL(lun_resize(host.pool, "a", 10 * BLK_BYTES, LUN_FORCE, &host.why), 0);
    CU_ASSERT_EQUAL(jobs_of_kind("shrink", "running"), 1);
    CU_ASSERT_EQUAL(pool_run_job_step(host.pool), 0);
    CU_ASSERT_EQUAL(jobs_of_kind("shrink", "waiting"), 1);
    CU_ASSERT_EQUAL(job_wait(host.pool, 0, 0), 0); /* what waits for room is not waited for */
    CU_ASSERT_EQUAL(host_info(&host, "a").mapped_bytes, TAIL_BLKS * BLK_BYTES);
    host_reopen(&host);
    CU_ASSERT_EQUAL(jobs_of_kind("shrink", "running"), 1);
    CU_ASSERT_EQUAL(pool_run_job_step(host.pool), 0);
    CU_ASSERT_EQUAL(jobs_of_kind("shrink", "waiting"), 1);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

/* It keeps no delete from giving back, and gets on as soon as one has. */
static void test_tail_lets_others_go_on(void)
{
    start_full();
    uint64_t before = host_data_blks(&host);
    CU_ASSERT_EQUAL(lun_resize(host.pool, "a", 10 * BLK_BYTES, LUN_FORCE, &host.why), 0);
    CU_ASSERT_EQUAL(pool_run_job_step(host.pool), 0);
    host_delete(&host, "doomed");
    int r, failures = 0;
    while ((r = pool_run_job_step(host.pool)) != 0 && failures < 3)
        failures += r < 0;
    CU_ASSERT_EQUAL(failures, 0);
    CU_ASSERT_EQUAL(host_data_blks(&host), before - DOOMED_BLKS);
    CU_ASSERT_EQUAL(host_object(&host, "a")->trim_end_bytes, 0);
    CU_ASSERT_EQUAL(host_info(&host, "a").mapped_bytes, 10 * BLK_BYTES);
    CU_ASSERT_EQUAL(jobs_of_kind("shrink", "waiting"), 0);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 4, 0), 0);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

/* The tail of one keeps that of another from nothing either: what is own takes no room. */
static void test_tail_behind_another(void)
{
    start_full();
    CU_ASSERT_EQUAL(lun_resize(host.pool, "a", 10 * BLK_BYTES, LUN_FORCE, &host.why), 0);
    /* As a crash between the shrink and its tail leaves it. */
    host_object(&host, "doomed")->trim_end_bytes = DOOMED_BLKS * BLK_BYTES;
    atomic_store(&host_object(&host, "doomed")->size_bytes, BLK_BYTES);
    uint64_t before = host_data_blks(&host);
    CU_ASSERT_EQUAL(pool_run_job_step(host.pool), 1);
    CU_ASSERT(host_data_blks(&host) < before);
    host_settle(&host);
    CU_ASSERT_EQUAL(host_object(&host, "a")->trim_end_bytes, 0);
    CU_ASSERT_EQUAL(host_object(&host, "doomed")->trim_end_bytes, 0);
    host_stop(&host);
}

/* The thread tries again by itself, and whoever waits for the job waits for that. */
static void test_tail_with_threads(void)
{
    start_full();
    host_start_threads(&host);
    uint64_t id = host_object(&host, "a")->object.id;
    CU_ASSERT_EQUAL(lun_resize(host.pool, "a", 10 * BLK_BYTES, LUN_FORCE, &host.why), 0);
    CU_ASSERT_EQUAL(job_wait(host.pool, 0, 0), 0);
    CU_ASSERT_EQUAL(jobs_of_kind("shrink", "waiting"), 1);
    CU_ASSERT_EQUAL(job_wait(host.pool, id, 1), -ETIMEDOUT);
    host_delete(&host, "doomed");
    CU_ASSERT_EQUAL(job_wait(host.pool, id, 0), 0);
    CU_ASSERT_EQUAL(host_object(&host, "a")->trim_end_bytes, 0);
    CU_ASSERT_EQUAL(pool_close(host.pool), 0);
    host.pool = NULL;
    host_stop(&host);
}

/* ---- steps and rests ----------------------------------------------------------------------- */

enum
{
    PIECES = 4200,      /* more than two steps' worth of leaves */
    STEP_NODES = 8,     /* that a step frees at most */
    LEAF_ENTRIES = 252, /* of a node */
    RESTS_AFTER_IO = 16,
};

/* "doomed", every second block of which is written, and "other". */
static void start_with_pieces(void)
{
    host_start(&host, NULL);
    host_create(&host, "other", 64);
    host_create(&host, "doomed", 2 * PIECES);
    CU_ASSERT_EQUAL(host_write(&host, "other", 0, 64, 1, 0), 0);
    for (uint64_t i = 0; i < PIECES; i++)
        CU_ASSERT_EQUAL_FATAL(host_write(&host, "doomed", 2 * i, 1, 2, 0), 0);
    host_settle(&host);
    for (unsigned i = 0; i <= RESTS_AFTER_IO; i++) /* what the writes were is over */
    {
        atomic_store(&host.pool->job_work, STEP_NODES);
        (void)jobs_must_rest(host.pool);
    }
}

static void test_step_is_bounded(void)
{
    start_with_pieces();
    host_delete(&host, "doomed");
    struct space_stats before, after;
    unsigned steps = 0;
    space_get_stats(host.pool->space, &before);
    while (pool_run_job_step(host.pool) > 0)
    {
        space_get_stats(host.pool->space, &after);
        CU_ASSERT(before.node_blks - after.node_blks <= STEP_NODES);
        CU_ASSERT(before.data_blks - after.data_blks <= STEP_NODES * LEAF_ENTRIES);
        before = after;
        steps++;
    }
    CU_ASSERT(steps > 1);
    CU_ASSERT_EQUAL(host_data_blks(&host), 64);
    host_stop(&host);
}

static void read_other(unsigned flags)
{
    struct lun *lun;
    struct reason why;
    uint8_t block[BLK_BYTES];
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "other", flags, &lun, &why), 0);
    CU_ASSERT_EQUAL(lun_read(lun, block, sizeof(block), 0), 0);
    lun_close(lun);
}

/* It rests only beside hosts, after a step that was work, and for some rests after the last I/O. */
static void test_rests_beside_hosts(void)
{
    start_with_pieces();
    host_delete(&host, "doomed");
    CU_ASSERT_EQUAL(pool_run_job_step(host.pool), 1);
    CU_ASSERT_FALSE(jobs_must_rest(host.pool));
    read_other(LUN_BACKGROUND);
    atomic_store(&host.pool->job_work, STEP_NODES);
    CU_ASSERT_FALSE(jobs_must_rest(host.pool));
    read_other(0);
    CU_ASSERT_FALSE(jobs_must_rest(host.pool)); /* no work was done since */
    CU_ASSERT_EQUAL(pool_run_job_step(host.pool), 1);
    atomic_store(&host.pool->health, POOL_OUT_OF_SPACE);
    CU_ASSERT_FALSE(jobs_must_rest(host.pool));
    atomic_store(&host.pool->health, POOL_HEALTHY);
    unsigned rests = 0;
    while (jobs_must_rest(host.pool) && rests <= RESTS_AFTER_IO)
    {
        rests++;
        atomic_store(&host.pool->job_work, STEP_NODES);
    }
    CU_ASSERT_EQUAL(rests, RESTS_AFTER_IO);
    host_stop(&host);
}

/* Not while a volume has no room for what hosts write, and for a second behind it. */
static void test_hurries_for_a_volume(void)
{
    host_start(&host, NULL);
    struct volume_attributes attributes = {.size_bytes = 100 * BLK_BYTES};
    CU_ASSERT_EQUAL(volume_create(host.pool, "v", &attributes, &host.why), 0);
    host_create(&host, "v/a", 1000);
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 0, 50, 1, 0), 0);
    atomic_store(&host.pool->job_work, STEP_NODES);
    CU_ASSERT_TRUE(jobs_must_rest(host.pool));
    CU_ASSERT_EQUAL(host_write(&host, "v/a", 100, 100, 1, 0), -ENOSPC);
    atomic_store(&host.pool->job_work, STEP_NODES);
    CU_ASSERT_FALSE(jobs_must_rest(host.pool));
    host.env.now_ns += UINT64_C(1000000000);
    CU_ASSERT_TRUE(jobs_must_rest(host.pool));
    host_stop(&host);
}

static atomic_bool reader_stops;

static void *reader_run(void *opaque)
{
    struct lun *lun = opaque;
    uint8_t block[BLK_BYTES];
    while (!atomic_load(&reader_stops))
        CU_ASSERT_EQUAL(lun_read(lun, block, sizeof(block), 0), 0);
    return NULL;
}

/* Beside a host that never stops, a delete rests, and ends. */
static void test_delete_beside_load(void)
{
    enum
    {
        ROUNDS = 20 /* the reader may not get a processor in one */
    };
    start_with_pieces();
    struct lun *lun;
    struct reason why;
    pthread_t reader;
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "other", 0, &lun, &why), 0);
    host_start_threads(&host);
    atomic_store(&reader_stops, false);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&reader, NULL, reader_run, lun), 0);
    host_delete(&host, "doomed");
    CU_ASSERT_EQUAL(job_wait(host.pool, 0, 0), 0);
    CU_ASSERT_EQUAL(jobs_in_state("running", ""), 0);
    for (unsigned i = 0; i < ROUNDS && atomic_load(&host.pool->job_rests) == 0; i++)
    {
        host_create(&host, "next", 2 * PIECES);
        for (uint64_t at = 0; at < PIECES; at++)
            CU_ASSERT_EQUAL_FATAL(host_write(&host, "next", 2 * at, 1, 2, 0), 0);
        host_delete(&host, "next");
        CU_ASSERT_EQUAL(job_wait(host.pool, 0, 0), 0);
    }
    CU_ASSERT(atomic_load(&host.pool->job_rests) > 0);
    atomic_store(&reader_stops, true);
    pthread_join(reader, NULL);
    lun_close(lun);
    CU_ASSERT_EQUAL(pool_close(host.pool), 0);
    host.pool = NULL;
    host_stop(&host);
}

static CU_TestInfo jobs_tests[] = {
    {"a step is bounded", test_step_is_bounded},
    {"rests beside hosts", test_rests_beside_hosts},
    {"but not while a volume is full", test_hurries_for_a_volume},
    {"a delete beside load", test_delete_beside_load},
    {"a delete of something damaged", test_delete_of_damaged},
    {"the same with threads", test_with_threads},
    {"a shrink of something damaged", test_shrink_of_damaged},
    {"a tail without room waits", test_tail_waits},
    {"it lets others go on", test_tail_lets_others_go_on},
    {"also other tails", test_tail_behind_another},
    {"also with threads", test_tail_with_threads},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"jobs", NULL, NULL, NULL, NULL, jobs_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
