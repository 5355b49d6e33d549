/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Event loop on epoll.
 *
 * Timers sit in a wheel of lists by due time. The earliest due time is cached and is only ever too
 * early, never too late: cancelling does not search, it costs one idle wake-up at most.
 */
#include "server/net/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"
#include "lun/base/lock.h"

enum
{
    LOOP_EVENTS_MAX = 128,
    LOOP_WHEEL_SLOTS = 256,
    LOOP_WHEEL_SLOT_MS = 32,
};

struct loop
{
    int epoll_fd;
    int event_fd;
    char name[16];
    pthread_t owner; /* whoever runs it; set by that thread before its first turn */
    bool has_owner;
    pthread_t thread; /* the loop's own, if is_started; of whoever starts and stops it */
    bool is_started;
    struct loop_watch wake_watch;

    struct lock lock;
    struct list posted;    /* under lock */
    unsigned posted_count; /* under lock */
    bool is_stopping;      /* under lock */

    /* The rest: loop thread only. */
    struct list deferred;
    struct list running; /* the deferred calls of this turn */
    struct list wheel[LOOP_WHEEL_SLOTS];
    uint64_t now_ms;
    uint64_t next_due_ms; /* not after the earliest timer; UINT64_MAX: none */
    uint64_t poll_ns;     /* how long it looks for events before it sleeps, when that pays; 0 */
    bool is_polling;      /* it does: the last events came that soon */
    unsigned ready_count;
    struct epoll_event ready[LOOP_EVENTS_MAX];
};

static uint64_t loop_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static uint64_t loop_clock_ms(void)
{
    return loop_clock_ns() / 1000000;
}

/* Takes the count out of the event descriptor; the messages themselves are run by every turn. */
static void loop_wake_ready(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    uint64_t count;
    ssize_t got = read(watch->fd, &count, sizeof(count));
    (void)got; /* EAGAIN: somebody was faster; there is nothing to do in either case */
}

static void loop_wake(struct loop *loop)
{
    uint64_t one = 1;
    ssize_t put = write(loop->event_fd, &one, sizeof(one));
    (void)put; /* EAGAIN: the counter is full, so the loop wakes up anyway */
}

int loop_create(const char *name, struct loop **out)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    if (!loop)
        return -ENOMEM;
    strncpy(loop->name, name, sizeof(loop->name) - 1);
    lock_init(&loop->lock, LOCK_RANK_LEAF);
    list_init(&loop->posted);
    list_init(&loop->deferred);
    list_init(&loop->running);
    for (unsigned i = 0; i < LOOP_WHEEL_SLOTS; i++)
        list_init(&loop->wheel[i]);
    loop->next_due_ms = UINT64_MAX;
    loop->now_ms = loop_clock_ms();
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int r = loop->epoll_fd < 0 || loop->event_fd < 0 ? -errno : 0;
    if (r == 0)
        r = loop_watch_add(loop, &loop->wake_watch, loop->event_fd, EPOLLIN, loop_wake_ready);
    if (r < 0)
    {
        loop_destroy(loop);
        return r;
    }
    *out = loop;
    return 0;
}

void loop_destroy(struct loop *loop)
{
    if (!loop)
        return;
    loop_stop(loop);
    cleanup_close(&loop->event_fd);
    cleanup_close(&loop->epoll_fd);
    lock_destroy(&loop->lock);
    free(loop);
}

bool loop_is_owner(const struct loop *loop)
{
    return !loop->has_owner || pthread_equal(loop->owner, pthread_self());
}

void loop_assert_owner(const struct loop *loop)
{
    INVARIANT(loop_is_owner(loop));
}

uint64_t loop_now_ms(const struct loop *loop)
{
    return loop->now_ms;
}

/* ---- calls --------------------------------------------------------------------------------- */

void loop_call_init(struct loop_call *call, loop_call_fn *run)
{
    list_init(&call->link);
    call->run = run;
}

void loop_post(struct loop *loop, struct loop_call *call)
{
    bool was_empty;
    {
        AUTO_LOCK(&loop->lock);
        if (!list_is_empty(&call->link))
            return;
        was_empty = list_is_empty(&loop->posted);
        list_add_tail(&loop->posted, &call->link);
        loop->posted_count++;
    }
    /* With messages waiting the descriptor is already ready, or the loop is about to look. */
    if (was_empty)
        loop_wake(loop);
}

void loop_unpost(struct loop *loop, struct loop_call *call)
{
    AUTO_LOCK(&loop->lock);
    if (list_is_empty(&call->link))
        return;
    list_remove(&call->link);
    loop->posted_count--;
}

void loop_defer(struct loop *loop, struct loop_call *call)
{
    DEBUG_INVARIANT(loop_is_owner(loop));
    if (list_is_empty(&call->link))
        list_add_tail(&loop->deferred, &call->link);
}

void loop_call_cancel(struct loop_call *call)
{
    list_remove(&call->link);
}

static struct loop_call *loop_take_posted(struct loop *loop)
{
    AUTO_LOCK(&loop->lock);
    if (list_is_empty(&loop->posted))
        return NULL;
    struct loop_call *call = container_of(loop->posted.next, struct loop_call, link);
    list_remove(&call->link);
    loop->posted_count--;
    return call;
}

/* Only as many as there are now: what these post in turn waits until descriptors had theirs. */
static void loop_run_posted(struct loop *loop)
{
    unsigned count;
    {
        AUTO_LOCK(&loop->lock);
        count = loop->posted_count;
    }
    for (; count > 0; count--)
    {
        struct loop_call *call = loop_take_posted(loop);
        if (!call)
            return;
        call->run(call);
    }
    AUTO_LOCK(&loop->lock);
    if (!list_is_empty(&loop->posted))
        loop_wake(loop);
}

static void loop_run_deferred(struct loop *loop)
{
    list_splice_tail(&loop->running, &loop->deferred);
    while (!list_is_empty(&loop->running))
    {
        struct loop_call *call = container_of(loop->running.next, struct loop_call, link);
        list_remove(&call->link);
        call->run(call);
    }
}

/* ---- descriptors --------------------------------------------------------------------------- */

int loop_watch_add(struct loop *loop, struct loop_watch *watch, int fd, uint32_t events,
                   loop_ready_fn *ready)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        return -errno;
    *watch = (struct loop_watch){.ready = ready, .loop = loop, .fd = fd, .events = events};
    return 0;
}

void loop_watch_change(struct loop_watch *watch, uint32_t events)
{
    if (watch->events == events)
        return;
    struct epoll_event event = {.events = events, .data.ptr = watch};
    watch->events = events;
    INVARIANT(epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) == 0);
}

void loop_watch_remove(struct loop_watch *watch)
{
    if (!watch->loop)
        return;
    struct loop *loop = watch->loop;
    DEBUG_INVARIANT(loop_is_owner(loop));
    ignore_error(epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL),
                 "closing the descriptor takes it out as well");
    /* It may be among the ready ones that this turn has yet to call. */
    if (watch->slot > 0)
        loop->ready[watch->slot - 1].data.ptr = NULL;
    watch->loop = NULL;
    watch->slot = 0;
}

static void loop_run_ready(struct loop *loop)
{
    for (unsigned i = 0; i < loop->ready_count; i++)
    {
        struct loop_watch *watch = loop->ready[i].data.ptr;
        watch->slot = i + 1;
    }
    for (unsigned i = 0; i < loop->ready_count; i++)
    {
        struct loop_watch *watch = loop->ready[i].data.ptr;
        if (!watch)
            continue;
        watch->slot = 0;
        watch->ready(watch, loop->ready[i].events);
    }
    loop->ready_count = 0;
}

/* ---- timers -------------------------------------------------------------------------------- */

void loop_timer_init(struct loop_timer *timer, loop_timer_fn *fire)
{
    *timer = (struct loop_timer){.fire = fire};
    list_init(&timer->link);
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t delay_ms)
{
    list_remove(&timer->link);
    timer->loop = loop;
    timer->due_ms = loop->now_ms + delay_ms;
    unsigned slot = (unsigned)(timer->due_ms / LOOP_WHEEL_SLOT_MS % LOOP_WHEEL_SLOTS);
    list_add_tail(&loop->wheel[slot], &timer->link);
    if (timer->due_ms < loop->next_due_ms)
        loop->next_due_ms = timer->due_ms;
}

void loop_timer_cancel(struct loop_timer *timer)
{
    if (!timer->loop)
        return;
    list_remove(&timer->link);
    timer->loop = NULL;
}

/* Moves what is due to @due and finds the next due time. */
static void loop_collect_due(struct loop *loop, struct list *due)
{
    uint64_t next = UINT64_MAX;
    for (unsigned i = 0; i < LOOP_WHEEL_SLOTS; i++)
    {
        list_for_each_safe (timer, &loop->wheel[i], struct loop_timer, link)
        {
            if (timer->due_ms <= loop->now_ms)
            {
                list_remove(&timer->link);
                list_add_tail(due, &timer->link);
            }
            else if (timer->due_ms < next)
            {
                next = timer->due_ms;
            }
        }
    }
    loop->next_due_ms = next;
}

static void loop_run_timers(struct loop *loop)
{
    if (loop->now_ms < loop->next_due_ms)
        return;
    struct list due;
    list_init(&due);
    loop_collect_due(loop, &due);
    while (!list_is_empty(&due))
    {
        struct loop_timer *timer = container_of(due.next, struct loop_timer, link);
        loop_timer_cancel(timer);
        timer->fire(timer);
    }
}

/* How long epoll may sleep: until the next timer, at most @limit_ms (-1: no limit). */
static int loop_timeout_ms(const struct loop *loop, int limit_ms)
{
    if (loop->next_due_ms == UINT64_MAX)
        return limit_ms;
    uint64_t left = loop->next_due_ms > loop->now_ms ? loop->next_due_ms - loop->now_ms : 0;
    if (left > 60000)
        left = 60000;
    return limit_ms >= 0 && (uint64_t)limit_ms < left ? limit_ms : (int)left;
}

/* ---- turns --------------------------------------------------------------------------------- */

void loop_set_poll_ns(struct loop *loop, uint64_t poll_ns)
{
    loop->poll_ns = poll_ns;
}

bool loop_is_polling(const struct loop *loop)
{
    return loop->is_polling;
}

static int loop_epoll(struct loop *loop, int timeout)
{
    return epoll_wait(loop->epoll_fd, loop->ready, LOOP_EVENTS_MAX, timeout);
}

/* Waits for events: awake for a moment if the last ones came that soon, and asleep then. */
static int loop_wait(struct loop *loop, int timeout)
{
    if (loop->poll_ns == 0 || timeout == 0)
        return loop_epoll(loop, timeout);
    uint64_t begun_ns = loop_clock_ns();
    int n = 0;
    while (loop->is_polling && n == 0 && loop_clock_ns() - begun_ns < loop->poll_ns)
        n = loop_epoll(loop, 0);
    if (n == 0)
        n = loop_epoll(loop, timeout);
    loop->is_polling = loop_clock_ns() - begun_ns < loop->poll_ns;
    return n;
}

void loop_run_once(struct loop *loop, int timeout_ms)
{
    loop->owner = pthread_self();
    loop->has_owner = true;
    int timeout = list_is_empty(&loop->deferred) ? loop_timeout_ms(loop, timeout_ms) : 0;
    int n = loop_wait(loop, timeout);
    INVARIANT(n >= 0 || errno == EINTR);
    loop->now_ms = loop_clock_ms();
    loop->ready_count = n > 0 ? (unsigned)n : 0;
    loop_run_ready(loop);
    loop_run_posted(loop);
    loop_run_timers(loop);
    loop_run_deferred(loop);
}

static bool loop_must_stop(struct loop *loop)
{
    AUTO_LOCK(&loop->lock);
    return loop->is_stopping;
}

static void *loop_thread_main(void *opaque)
{
    struct loop *loop = opaque;
    while (!loop_must_stop(loop))
        loop_run_once(loop, -1);
    return NULL;
}

int loop_start(struct loop *loop)
{
    INVARIANT(!loop->is_started);
    loop->is_stopping = false;
    loop->has_owner = false;
    int r = pthread_create(&loop->thread, NULL, loop_thread_main, loop);
    if (r != 0)
        return -r;
    loop->is_started = true;
    pthread_setname_np(loop->thread, loop->name);
    return 0;
}

void loop_stop(struct loop *loop)
{
    if (!loop->is_started)
        return;
    {
        AUTO_LOCK(&loop->lock);
        loop->is_stopping = true;
    }
    loop_wake(loop);
    pthread_join(loop->thread, NULL);
    loop->is_started = false;
    loop->has_owner = false;
}
