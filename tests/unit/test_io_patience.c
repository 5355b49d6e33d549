/* SPDX-License-Identifier: BSD-3-Clause */
/* Writes that find no room: they pause where the volume says so, and what ends that. */
#include "lun/map/io_patience.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

enum
{
    LONG_MS = 120000, /* of pauses that something must end */
    DEADLINE_MS = 60000,
};

static struct engine_host host;

static void make_volume(const char *name, uint64_t blks, uint32_t pause_ms)
{
    struct volume_attributes attributes = {
        .size_bytes = blks * BLK_BYTES, .pauses_when_full = true, .pause_ms = pause_ms};
    CU_ASSERT_EQUAL_FATAL(volume_create(host.pool, name, &attributes, &host.why), 0);
}

/* Until there is no room. */
static void fill(const char *name)
{
    int r = 0;
    for (uint64_t at = 0; r == 0; at += 32)
        r = host_write(&host, name, at, 32, 9, 0);
    r = 0;
    for (uint64_t at = 50000; r == 0; at += 2)
        r = host_write(&host, name, at, 1, 9, 0);
    CU_ASSERT_EQUAL(r, -ENOSPC);
}

static uint64_t count_events(const char *name)
{
    struct event *list = NULL;
    size_t count = 0;
    CU_ASSERT_EQUAL(event_list(host.pool, 0, &list, &count), 0);
    uint64_t found = 0;
    for (size_t i = 0; i < count; i++)
        found += strcmp(list[i].name, name) == 0;
    free(list);
    return found;
}

/* A pool that "t" fills, and "p/a", "p/b" in a volume that pauses. */
static void start(uint32_t pause_ms)
{
    host_start(&host, NULL);
    make_volume("p", 0, pause_ms);
    host_create(&host, "t", 200000);
    host_create(&host, "p/a", 1000);
    host_create(&host, "p/b", 1000);
    host_start_threads(&host);
    fill("t");
}

static void stop(void)
{
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

/* ---- a write that waits -------------------------------------------------------------------- */

struct waiter
{
    struct lun *lun;
    pthread_t thread;
    bool is_compare;
    int result;
};

static void *waiter_run(void *opaque)
{
    struct waiter *waiter = opaque;
    static uint8_t bytes[100 * BLK_BYTES], zeros[100 * BLK_BYTES];
    size_t at;
    memset(bytes, 5, sizeof(bytes));
    waiter->result = waiter->is_compare ? lun_compare_and_write(waiter->lun, zeros, bytes,
                                                                sizeof(bytes), 0, 0, &at)
                                        : lun_write(waiter->lun, bytes, sizeof(bytes), 0, 0);
    return NULL;
}

static void waiter_start(struct waiter *waiter, const char *name, bool is_compare)
{
    uint64_t before = count_events("volume.paused");
    *waiter = (struct waiter){.is_compare = is_compare, .result = 1};
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, name, 0, &waiter->lun, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&waiter->thread, NULL, waiter_run, waiter), 0);
    /* It is told after it is counted; and while it looks for room in a volume it is not counted. */
    for (unsigned ms = 0; count_events("volume.paused") == before && ms < DEADLINE_MS; ms++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    CU_ASSERT_EQUAL_FATAL(count_events("volume.paused"), before + 1);
}

static int waiter_end(struct waiter *waiter)
{
    pthread_join(waiter->thread, NULL);
    lun_close(waiter->lun);
    return waiter->result;
}

static void test_room_comes(void)
{
    start(LONG_MS);
    struct waiter a, b;
    waiter_start(&a, "p/a", false);
    waiter_start(&b, "p/b", true);
    CU_ASSERT_EQUAL(count_events("volume.paused"), 2);
    /* It holds nothing: commands on its LUN go through. */
    CU_ASSERT_EQUAL(lun_set_comment(host.pool, "p/a", "waits", &host.why), 0);
    CU_ASSERT_EQUAL(host_unmap(&host, "p/a", 0, 100), 0);
    CU_ASSERT_EQUAL(host_unmap(&host, "p/b", 0, 100), 0);
    CU_ASSERT_EQUAL(lun_delete(host.pool, "t", false, 0, &host.why), 0);
    CU_ASSERT_EQUAL(waiter_end(&a), 0);
    CU_ASSERT_EQUAL(waiter_end(&b), 0);
    CU_ASSERT_TRUE(host_holds(&host, "p/a", 0, 100, 5));
    CU_ASSERT_TRUE(host_holds(&host, "p/b", 0, 100, 5));
    CU_ASSERT_EQUAL(count_events("volume.paused"), 2);
    stop();
}

static void test_time_is_over(void)
{
    start(150);
    CU_ASSERT_EQUAL(host_write(&host, "p/a", 0, 10, 1, 0), -ENOSPC);
    CU_ASSERT_EQUAL(count_events("volume.paused"), 1);
    CU_ASSERT_EQUAL(host_write(&host, "t", 199999, 1, 1, 0), -ENOSPC); /* others do not wait */
    CU_ASSERT_EQUAL(host_unmap(&host, "p/a", 0, 10), 0);
    stop();
}

static void test_handle_stops(void)
{
    start(LONG_MS);
    struct waiter a, b;
    waiter_start(&a, "p/a", false);
    waiter_start(&b, "p/b", false);
    lun_stop_waiting(a.lun);
    CU_ASSERT_EQUAL(waiter_end(&a), -ENOSPC);
    CU_ASSERT_EQUAL(atomic_load(&host_object(&host, "p/b")->paused_writes), 1);
    pool_stop_waiting(host.pool);
    CU_ASSERT_EQUAL(waiter_end(&b), -ENOSPC);
    CU_ASSERT_EQUAL(host_write(&host, "p/a", 0, 10, 1, 0), -ENOSPC); /* at once */
    stop();
}

static void test_forced_delete(void)
{
    start(LONG_MS);
    struct waiter a;
    waiter_start(&a, "p/a", false);
    CU_ASSERT_EQUAL(lun_delete(host.pool, "p/a", false, LUN_FORCE, &host.why), 0);
    CU_ASSERT_EQUAL(waiter_end(&a), -ESTALE);
    stop();
}

static void test_volume_bound(void)
{
    host_start(&host, NULL);
    make_volume("p", 560, LONG_MS);
    host_create(&host, "p/a", 1000);
    host_create(&host, "p/b", 1000);
    host_start_threads(&host);
    CU_ASSERT_EQUAL(host_write(&host, "p/b", 0, 470, 1, 0), 0);
    uint64_t before = count_events("volume.paused"); /* it may have waited for its own claims */
    struct waiter a;
    waiter_start(&a, "p/a", false);
    CU_ASSERT_EQUAL(count_events("volume.paused"), before + 1);
    struct volume_attributes larger = {.size_bytes = 1000 * BLK_BYTES};
    CU_ASSERT_EQUAL(volume_modify(host.pool, "p", VOLUME_SET_SIZE, &larger, &host.why), 0);
    CU_ASSERT_EQUAL(waiter_end(&a), 0);
    CU_ASSERT_TRUE(host_holds(&host, "p/a", 0, 100, 5));
    stop();
}

static CU_TestInfo pause_tests[] = {
    {"room comes", test_room_comes},
    {"the time is over", test_time_is_over},
    {"handle and pool stop it", test_handle_stops},
    {"a forced delete ends it", test_forced_delete},
    {"a volume's bound", test_volume_bound},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"pauses", NULL, NULL, NULL, NULL, pause_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
