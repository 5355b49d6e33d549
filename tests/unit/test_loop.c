/* SPDX-License-Identifier: BSD-3-Clause */
/* Event loop, workers, listening addresses. */
#include "server/net/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "lun/base/lock.h"
#include "server/net/listen.h"
#include "server/net/workers.h"
#include "tests/lib/cunit_main.h"

/* ---- loop ---------------------------------------------------------------------------------- */

struct counter
{
    struct loop_watch watch, other;
    struct loop_call call;
    struct loop_timer timer;
    struct loop *loop;
    int fired;
};

static void counter_ready(struct loop_watch *watch, uint32_t events)
{
    struct counter *counter = container_of(watch, struct counter, watch);
    CU_ASSERT(events & EPOLLIN);
    counter->fired++;
    loop_watch_remove(&counter->other);
}

static void counter_other_ready(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    struct counter *counter = container_of(watch, struct counter, other);
    counter->fired++;
    loop_watch_remove(&counter->watch);
}

static void counter_call(struct loop_call *call)
{
    struct counter *counter = container_of(call, struct counter, call);
    counter->fired++;
}

static void counter_timer(struct loop_timer *timer)
{
    struct counter *counter = container_of(timer, struct counter, timer);
    counter->fired++;
}

/* Whichever of two ready ones is called first removes the other, which must not be called then. */
static void test_watch_removes_other(void)
{
    struct counter counter = {.fired = 0};
    int a = eventfd(1, EFD_NONBLOCK), b = eventfd(1, EFD_NONBLOCK);
    CU_ASSERT_EQUAL_FATAL(loop_create("test", &counter.loop), 0);
    CU_ASSERT_EQUAL(loop_watch_add(counter.loop, &counter.watch, a, EPOLLIN, counter_ready), 0);
    CU_ASSERT_EQUAL(loop_watch_add(counter.loop, &counter.other, b, EPOLLIN, counter_other_ready),
                    0);
    loop_run_once(counter.loop, 0);
    CU_ASSERT_EQUAL(counter.fired, 1);
    loop_watch_remove(&counter.watch);
    loop_watch_remove(&counter.other);
    loop_run_once(counter.loop, 0);
    CU_ASSERT_EQUAL(counter.fired, 1);
    close(a);
    close(b);
    loop_destroy(counter.loop);
}

static void test_calls(void)
{
    struct counter counter = {.fired = 0};
    CU_ASSERT_EQUAL_FATAL(loop_create("test", &counter.loop), 0);
    loop_call_init(&counter.call, counter_call);
    loop_post(counter.loop, &counter.call);
    loop_post(counter.loop, &counter.call); /* once is enough */
    loop_run_once(counter.loop, 0);
    CU_ASSERT_EQUAL(counter.fired, 1);
    loop_post(counter.loop, &counter.call);
    loop_unpost(counter.loop, &counter.call);
    loop_run_once(counter.loop, 0);
    CU_ASSERT_EQUAL(counter.fired, 1);
    loop_defer(counter.loop, &counter.call);
    loop_defer(counter.loop, &counter.call);
    loop_run_once(counter.loop, -1); /* does not wait */
    CU_ASSERT_EQUAL(counter.fired, 2);
    loop_defer(counter.loop, &counter.call);
    loop_call_cancel(&counter.call);
    loop_run_once(counter.loop, 0);
    CU_ASSERT_EQUAL(counter.fired, 2);
    loop_destroy(counter.loop);
}

static void test_timers(void)
{
    struct counter soon = {.fired = 0}, late = {.fired = 0};
    struct loop *loop;
    CU_ASSERT_EQUAL_FATAL(loop_create("test", &loop), 0);
    loop_timer_init(&soon.timer, counter_timer);
    loop_timer_init(&late.timer, counter_timer);
    loop_timer_set(loop, &late.timer, 3600 * 1000);
    loop_timer_set(loop, &soon.timer, 20);
    uint64_t begin = loop_now_ms(loop);
    while (soon.fired == 0)
        loop_run_once(loop, -1);
    CU_ASSERT(loop_now_ms(loop) >= begin + 20);
    CU_ASSERT_EQUAL(late.fired, 0);
    /* Set anew: once. Cancelled: never. */
    loop_timer_set(loop, &soon.timer, 1);
    loop_timer_set(loop, &soon.timer, 5);
    loop_timer_set(loop, &late.timer, 1);
    loop_timer_cancel(&late.timer);
    while (soon.fired == 1)
        loop_run_once(loop, -1);
    loop_run_once(loop, 0);
    CU_ASSERT_EQUAL(soon.fired, 2);
    CU_ASSERT_EQUAL(late.fired, 0);
    loop_destroy(loop);
}

/* ---- threads ------------------------------------------------------------------------------- */

enum
{
    TEST_JOBS = 2000,
};

struct shared
{
    struct lock lock;
    struct condition changed;
    struct loop *loop;
    unsigned done;
};

struct job
{
    struct work work;
    struct loop_call call;
    struct shared *shared;
};

static void job_back(struct loop_call *call)
{
    struct job *job = container_of(call, struct job, call);
    loop_assert_owner(job->shared->loop);
    AUTO_LOCK(&job->shared->lock);
    job->shared->done++;
    condition_wake_all(&job->shared->changed);
}

static void job_run(struct work *work)
{
    struct job *job = container_of(work, struct job, work);
    loop_post(job->shared->loop, &job->call);
}

/* Everything that is given to workers comes back to the loop, once. */
static void test_workers(void)
{
    struct shared shared = {.done = 0};
    struct workers *workers;
    struct work_source sources[3];
    struct job *jobs = calloc(TEST_JOBS, sizeof(*jobs));
    INVARIANT(jobs);
    lock_init(&shared.lock, LOCK_RANK_SERVER);
    condition_init(&shared.changed);
    CU_ASSERT_EQUAL_FATAL(loop_create("test", &shared.loop), 0);
    CU_ASSERT_EQUAL_FATAL(loop_start(shared.loop), 0);
    CU_ASSERT_EQUAL_FATAL(workers_create(4, &workers), 0);
    for (unsigned i = 0; i < ARRAY_SIZE(sources); i++)
        work_source_init(&sources[i]);
    for (unsigned i = 0; i < TEST_JOBS; i++)
    {
        jobs[i].shared = &shared;
        jobs[i].work.run = job_run;
        list_init(&jobs[i].work.link);
        loop_call_init(&jobs[i].call, job_back);
        workers_submit(workers, &sources[i % ARRAY_SIZE(sources)], &jobs[i].work);
    }
    {
        AUTO_LOCK(&shared.lock);
        while (shared.done < TEST_JOBS)
            condition_wait(&shared.changed, &shared.lock);
    }
    workers_destroy(workers);
    loop_destroy(shared.loop);
    condition_destroy(&shared.changed);
    lock_destroy(&shared.lock);
    free(jobs);
}

/* A piece of work that notes when it ran; the first one waits until all were given. */
struct errand
{
    struct work work;
    struct errands *errands;
    unsigned ran; /* as the how many-th, from 1 on; under lock */
};

struct errands
{
    struct lock lock;
    struct condition changed;
    bool is_open;     /* under lock */
    unsigned started; /* under lock */
    unsigned count;   /* under lock */
    struct errand all[1 + 40 + 2];
};

static void errand_run(struct work *work)
{
    struct errand *errand = container_of(work, struct errand, work);
    struct errands *errands = errand->errands;
    AUTO_LOCK(&errands->lock);
    errands->started++;
    condition_wake_all(&errands->changed);
    while (!errands->is_open)
        condition_wait(&errands->changed, &errands->lock);
    errand->ran = ++errands->count;
    condition_wake_all(&errands->changed);
}

/* Of one who gave much and one who gave little later, the latter's work is next. */
static void test_workers_fair(void)
{
    static struct errands errands;
    struct work_source busy, quiet;
    struct workers *workers;
    lock_init(&errands.lock, LOCK_RANK_SERVER);
    condition_init(&errands.changed);
    work_source_init(&busy);
    work_source_init(&quiet);
    CU_ASSERT_EQUAL_FATAL(workers_create(1, &workers), 0);
    for (unsigned i = 0; i < ARRAY_SIZE(errands.all); i++)
    {
        struct errand *errand = &errands.all[i];
        errand->errands = &errands;
        errand->work.run = errand_run;
        list_init(&errand->work.link);
        workers_submit(workers, i <= 40 ? &busy : &quiet, &errand->work);
        AUTO_LOCK(&errands.lock);
        while (errands.started == 0)
            condition_wait(&errands.changed, &errands.lock);
    }
    {
        AUTO_LOCK(&errands.lock);
        errands.is_open = true;
        condition_wake_all(&errands.changed);
        while (errands.count < ARRAY_SIZE(errands.all))
            condition_wait(&errands.changed, &errands.lock);
    }
    workers_destroy(workers);
    /* The two have little more to come than one each by then, and each keeps its own order. */
    CU_ASSERT_EQUAL(errands.all[0].ran, 1);
    CU_ASSERT(errands.all[41].ran <= 3 && errands.all[42].ran <= 5);
    for (unsigned i = 1; i <= 40; i++)
        CU_ASSERT(errands.all[i].ran > errands.all[i - 1].ran);
    CU_ASSERT(errands.all[42].ran > errands.all[41].ran);
    condition_destroy(&errands.changed);
    lock_destroy(&errands.lock);
}

/* ---- addresses ----------------------------------------------------------------------------- */

static void test_addresses(void)
{
    static const struct
    {
        const char *text, *formatted; /* NULL: refused */
    } cases[] = {
        {"10.0.0.1:3261", "10.0.0.1:3261"},
        {"10.0.0.1", "10.0.0.1:3260"},
        {"[::1]:0", "[::1]:0"},
        {"[fd00::1]", "[fd00::1]:3260"},
        {"[::ffff:10.0.0.1]:5", "10.0.0.1:5"},
        {":3260", "[::]:3260"},
        {"3261", "[::]:3261"},
        {"0.0.0.0:1", "0.0.0.0:1"},
        {"", NULL},
        {"localhost:1", NULL},
        {"10.0.0.1:", NULL},
        {"10.0.0.1:65536", NULL},
        {"10.0.0.1:-1", NULL},
        {"10.0.0:1", NULL},
        {"[::1:5", NULL},
        {"[::1]5", NULL},
        {"[10.0.0.1]:5", NULL},
        {"::1", NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    {
        struct net_address address;
        struct reason why = {.text = ""};
        char text[NET_ADDRESS_TEXT_MAX] = "";
        int r = net_address_parse(cases[i].text, 3260, &address, &why);
        CU_ASSERT_EQUAL(r, cases[i].formatted ? 0 : -EINVAL);
        if (r == 0)
            net_address_format(&address, text);
        CU_ASSERT_STRING_EQUAL(text, cases[i].formatted ? cases[i].formatted : "");
        CU_ASSERT_EQUAL(why.text[0] == '\0', r == 0);
    }
}

static void test_port_taken(void)
{
    struct loop *loop;
    struct listener *first, *second;
    struct net_address address;
    struct reason why;
    CU_ASSERT_EQUAL_FATAL(loop_create("test", &loop), 0);
    CU_ASSERT_EQUAL(net_address_parse("127.0.0.1:0", 1, &address, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(listener_open(loop, &address, NULL, NULL, &first, &why), 0);
    CU_ASSERT(net_address_port(listener_address(first)) != 0);
    CU_ASSERT_EQUAL(listener_open(loop, listener_address(first), NULL, NULL, &second, &why),
                    -EADDRINUSE);
    CU_ASSERT_PTR_NOT_NULL(strstr(why.text, "cannot listen on 127.0.0.1:"));
    listener_close(first);
    loop_destroy(loop);
}

/* It stays awake for the next events only where the last ones came soon. */
static void test_polling(void)
{
    struct counter counter = {.fired = 0};
    int fd = eventfd(0, EFD_NONBLOCK);
    uint64_t one = 1;
    CU_ASSERT_EQUAL_FATAL(loop_create("test", &counter.loop), 0);
    CU_ASSERT_EQUAL(loop_watch_add(counter.loop, &counter.watch, fd, EPOLLIN, counter_ready), 0);
    CU_ASSERT_EQUAL(write(fd, &one, sizeof(one)), sizeof(one));
    loop_run_once(counter.loop, 1000);
    CU_ASSERT_FALSE(loop_is_polling(counter.loop)); /* not asked for */
    loop_set_poll_ns(counter.loop, UINT64_C(60000000000));
    loop_run_once(counter.loop, 1000);
    CU_ASSERT_TRUE(loop_is_polling(counter.loop));
    loop_run_once(counter.loop, 1000); /* found while it looks */
    CU_ASSERT_TRUE(loop_is_polling(counter.loop));
    CU_ASSERT_EQUAL(counter.fired, 3);
    loop_set_poll_ns(counter.loop, 1000);
    CU_ASSERT_EQUAL(read(fd, &one, sizeof(one)), sizeof(one));
    loop_run_once(counter.loop, 1); /* nothing comes: it sleeps, and will do so at once */
    CU_ASSERT_FALSE(loop_is_polling(counter.loop));
    CU_ASSERT_EQUAL(counter.fired, 3);
    loop_watch_remove(&counter.watch);
    close(fd);
    loop_destroy(counter.loop);
}

static CU_TestInfo loop_tests[] = {
    {"staying awake", test_polling},
    {"a watch removes another", test_watch_removes_other},
    {"posted and deferred calls", test_calls},
    {"timers", test_timers},
    {"workers", test_workers},
    {"workers take turns among those who give work", test_workers_fair},
    {"addresses", test_addresses},
    {"a port that is taken", test_port_taken},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"loop", NULL, NULL, NULL, NULL, loop_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
