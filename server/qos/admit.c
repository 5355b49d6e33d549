/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests that wait, and the thread that lets them go. Nothing here knows the engine, so that the
 * front ends' own tests need none.
 */
#include <time.h>

#include "lun/base/checked.h"
#include "server/qos/qos_internal.h"

enum
{
    ADMIT_STEP_MS = 1, /* the thread lets go what has come due in such steps */
    ADMIT_SLEEP_MS_MAX = 60 * 1000,
    ADMIT_GIVEN_UP_MS = 100, /* between two questions whether a blocked request is given up */
    ADMIT_NS_PER_MS = 1000000,
};

uint64_t qos_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* ---- the thread ---------------------------------------------------------------------------- */

void qos_admit_cb(void *opaque, struct qos_wait *wait, uint64_t now_ns)
{
    struct qos_lun *lun = container_of(wait->node, struct qos_lun, node);
    struct qos_sink *sink = wait->taker;
    (void)opaque;
    lun->held_ops++;
    lun->held_ns += now_ns - wait->since_ns;
    list_add_tail(&sink->ready, &wait->link);
    sink->wake(sink);
}

static uint64_t qos_run_locked(struct qos *qos)
{
    return qos_sched_run(&qos->root.node, qos_clock_ns(), qos_admit_cb, NULL);
}

void *qos_thread_main(void *opaque)
{
    struct qos *qos = opaque;
    AUTO_LOCK(&qos->lock);
    while (!qos->is_stopping)
    {
        qos->planned_ns = qos_run_locked(qos);
        if (qos->planned_ns == UINT64_MAX)
        {
            condition_wait(&qos->poke, &qos->lock);
            continue;
        }
        uint64_t now_ns = qos_clock_ns();
        uint64_t left_ns = qos->planned_ns > now_ns ? qos->planned_ns - now_ns : 0;
        uint64_t ms = min_u64(left_ns / ADMIT_NS_PER_MS + ADMIT_STEP_MS, ADMIT_SLEEP_MS_MAX);
        condition_wait_ms(&qos->poke, &qos->lock, ms);
    }
    return NULL;
}

/* ---- requests ------------------------------------------------------------------------------ */

void qos_sink_init(struct qos_sink *sink, void (*wake)(struct qos_sink *sink))
{
    sink->qos = NULL;
    list_init(&sink->ready);
    sink->wake = wake;
}

static bool qos_enter_locked(struct qos_lun *lun, uint64_t bytes, struct qos_wait *wait,
                             struct qos_sink *sink)
{
    struct qos *qos = lun->qos;
    if (qos->is_let_go)
        return true;
    uint64_t now_ns = qos_clock_ns();
    wait->taker = sink;
    sink->qos = qos;
    if (qos_sched_enter(&lun->node, wait, bytes, now_ns))
        return true;
    uint64_t next_ns = qos_sched_due_ns(&lun->node);
    /* If only others that wait were in the way, it may be this one's turn. */
    if (next_ns <= now_ns)
        next_ns = qos_sched_run(&qos->root.node, now_ns, qos_admit_cb, NULL);
    if (next_ns < qos->planned_ns)
        condition_wake_one(&qos->poke);
    return false;
}

bool qos_enter(struct qos_lun *lun, uint64_t bytes, struct qos_wait *wait, struct qos_sink *sink)
{
    AUTO_LOCK(&lun->qos->lock);
    return qos_enter_locked(lun, bytes, wait, sink);
}

static struct qos_wait *qos_sink_next_locked(struct qos_sink *sink)
{
    if (list_is_empty(&sink->ready))
        return NULL;
    struct qos_wait *wait = container_of(sink->ready.next, struct qos_wait, link);
    list_remove(&wait->link);
    wait->state = QOS_WAIT_NONE;
    return wait;
}

struct qos_wait *qos_sink_next(struct qos_sink *sink)
{
    if (!sink->qos)
        return NULL;
    AUTO_LOCK(&sink->qos->lock);
    return qos_sink_next_locked(sink);
}

static void qos_leave_locked(struct qos_wait *wait)
{
    if (wait->state == QOS_WAIT_QUEUED)
        qos_sched_leave(wait);
    else if (wait->state == QOS_WAIT_READY)
        list_remove(&wait->link);
    wait->state = QOS_WAIT_NONE;
}

void qos_leave(struct qos_lun *lun, struct qos_wait *wait)
{
    AUTO_LOCK(&lun->qos->lock);
    qos_leave_locked(wait);
}

struct qos_sleeper
{
    struct qos_sink sink;
    struct condition woken;
};

static void qos_sleeper_wake(struct qos_sink *sink)
{
    condition_wake_one(&container_of(sink, struct qos_sleeper, sink)->woken);
}

/* False: given up. */
static bool qos_sleep(struct qos_sleeper *sleeper, struct qos_wait *wait,
                      bool (*is_given_up)(void *opaque), void *opaque)
{
    struct qos *qos = sleeper->sink.qos;
    for (;;)
    {
        {
            AUTO_LOCK(&qos->lock);
            if (list_is_empty(&sleeper->sink.ready))
                condition_wait_ms(&sleeper->woken, &qos->lock, ADMIT_GIVEN_UP_MS);
            if (qos_sink_next_locked(&sleeper->sink))
                return true;
        }
        if (!is_given_up(opaque))
            continue;
        AUTO_LOCK(&qos->lock);
        qos_leave_locked(wait);
        return false;
    }
}

bool qos_enter_blocking(struct qos_lun *lun, uint64_t bytes, bool (*is_given_up)(void *opaque),
                        void *opaque)
{
    struct qos_wait wait = {0};
    struct qos_sleeper sleeper;
    qos_sink_init(&sleeper.sink, qos_sleeper_wake);
    condition_init(&sleeper.woken);
    bool may_go = qos_enter(lun, bytes, &wait, &sleeper.sink) ||
                  qos_sleep(&sleeper, &wait, is_given_up, opaque);
    condition_destroy(&sleeper.woken);
    return may_go;
}

void qos_charge(struct qos_lun *lun, uint64_t bytes)
{
    if (!qos_is_limited(lun, QOS_WRITE))
        return;
    AUTO_LOCK(&lun->qos->lock);
    qos_sched_charge(&lun->node, 0, bytes, qos_clock_ns());
}
