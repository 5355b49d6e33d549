/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An event loop: one thread, its descriptors, its timers, and messages from other threads.
 *
 * Always true:
 *  - everything registered with a loop is touched by the loop's thread only, without a lock; other
 *    threads reach it through loop_post();
 *  - callbacks may remove any watch, timer or deferred call, also their own;
 *  - deferred calls run once per turn, after all ready descriptors and messages, so that what one
 *    wake-up produced goes out together.
 *
 * The structs below are embedded by their users; their fields belong to loop.c.
 */
#ifndef SERVER_NET_LOOP_H
#define SERVER_NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "lun/base/list.h"

struct loop;
struct loop_watch;
struct loop_timer;
struct loop_call;

/* @events are EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR. */
typedef void loop_ready_fn(struct loop_watch *watch, uint32_t events);
typedef void loop_timer_fn(struct loop_timer *timer);
typedef void loop_call_fn(struct loop_call *call);

struct loop_watch
{
    loop_ready_fn *ready;
    struct loop *loop;
    int fd;
    uint32_t events;
    uint32_t slot; /* of the turn's list of ready ones, plus 1; 0: in none */
};

struct loop_timer
{
    struct list link;
    loop_timer_fn *fire;
    struct loop *loop; /* NULL: not set */
    uint64_t due_ms;
};

/* A function to be called by the loop's thread: a message, or a deferred call. */
struct loop_call
{
    struct list link;
    loop_call_fn *run;
};

/* Made without a thread; loop_start() gives it one, or the caller runs loop_run_once(). */
MUST_CHECK int loop_create(const char *name, struct loop **loop);
/* Stops and joins the thread; messages not yet run are dropped. NULL is accepted. */
void loop_destroy(struct loop *loop);
MUST_CHECK int loop_start(struct loop *loop);
/* Ends the thread after the turn it is in, and joins it. What is registered stays. */
void loop_stop(struct loop *loop);

/* One turn by the calling thread, which becomes the owner; waits at most @timeout_ms (-1: for
 * ever). */
void loop_run_once(struct loop *loop, int timeout_ms);

/*
 * Before it started: the loop looks for events for up to @poll_ns before it sleeps, as long as they
 * come that soon. To sleep and be woken takes longer than most requests, in a virtual machine above
 * all. A loop with nothing to do, or less often, sleeps at once. 0: it never looks.
 */
void loop_set_poll_ns(struct loop *loop, uint64_t poll_ns);
/* Whether it would look first now. For tests, between two turns. */
bool loop_is_polling(const struct loop *loop);

bool loop_is_owner(const struct loop *loop);
void loop_assert_owner(const struct loop *loop);

/*
 * Any thread. @call, initialised by loop_call_init(), is the loop's until it runs; nothing if it is
 * already posted. May be called with any lock held.
 */
void loop_post(struct loop *loop, struct loop_call *call);

/* The rest is for the loop's own thread, or before it started. */

/* @call runs at the end of this turn; nothing if it is already to run. */
void loop_defer(struct loop *loop, struct loop_call *call);
/* A posted @call does not run after this, unless it is posted again. */
void loop_unpost(struct loop *loop, struct loop_call *call);
/* A deferred @call, initialised by loop_call_init(), does not run after this. Not for posted ones.
 */
void loop_call_cancel(struct loop_call *call);
void loop_call_init(struct loop_call *call, loop_call_fn *run);

MUST_CHECK int loop_watch_add(struct loop *loop, struct loop_watch *watch, int fd, uint32_t events,
                              loop_ready_fn *ready);
void loop_watch_change(struct loop_watch *watch, uint32_t events);
/* Safe on one that is zeroed or already removed. Does not close the descriptor. */
void loop_watch_remove(struct loop_watch *watch);

void loop_timer_init(struct loop_timer *timer, loop_timer_fn *fire);
/* Sets it, or sets it anew. It fires once, never early, up to a few dozen ms late. */
void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t delay_ms);
void loop_timer_cancel(struct loop_timer *timer);

/* The monotonic clock as it was when this turn began. */
uint64_t loop_now_ms(const struct loop *loop);

#endif
