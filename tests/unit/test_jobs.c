/* SPDX-License-Identifier: BSD-3-Clause */
/* Background jobs that meet damage: they stop and say so, and hold up nothing else. */
#include "lun/jobs/jobs.h"

#include <errno.h>
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
    CU_ASSERT_EQUAL(job_wait(host.pool, id + 100, 0), 0);
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
    CU_ASSERT_EQUAL(pool_start(host.pool), 0);
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
    CU_ASSERT_EQUAL(jobs_in_state("running", ""), 1);
    int r, failures = 0;
    while ((r = pool_run_job_step(host.pool)) != 0)
        failures += r < 0;
    CU_ASSERT_EQUAL(failures, 1);
    CU_ASSERT_EQUAL(jobs_in_state("running", ""), 0);
    CU_ASSERT_TRUE(host_has_event(&host, "job.failed", "a"));
    host_stop(&host);
}

static CU_TestInfo jobs_tests[] = {
    {"a delete of something damaged", test_delete_of_damaged},
    {"the same with threads", test_with_threads},
    {"a shrink of something damaged", test_shrink_of_damaged},
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
