/* SPDX-License-Identifier: BSD-3-Clause */
/* A pool of threads. Those who have work waiting take turns. */
#include "server/net/workers.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "lun/base/invariant.h"
#include "lun/base/lock.h"

struct workers
{
    struct lock lock;
    struct condition wake; /* work came, or is_stopping */
    struct turns turns;    /* of sources with work that waits; under lock */
    unsigned queued;       /* under lock */
    unsigned idle;         /* threads that wait; under lock */
    unsigned count;        /* threads there are; under lock */
    unsigned max;          /* immutable */
    bool is_stopping;      /* under lock */
    pthread_t threads[];   /* the first count */
};

int workers_create(unsigned max_threads, struct workers **out)
{
    INVARIANT(max_threads > 0);
    struct workers *workers = calloc(1, sizeof(*workers) + max_threads * sizeof(pthread_t));
    if (!workers)
        return -ENOMEM;
    lock_init(&workers->lock, LOCK_RANK_LEAF);
    condition_init(&workers->wake);
    turns_init(&workers->turns);
    workers->max = max_threads;
    *out = workers;
    return 0;
}

void work_source_init(struct work_source *source)
{
    turn_init(&source->turn);
    list_init(&source->queue);
}

static struct work *workers_take_locked(struct workers *workers)
{
    struct work_source *source =
        container_of(turns_next(&workers->turns), struct work_source, turn);
    struct work *work = container_of(source->queue.next, struct work, link);
    list_remove(&work->link);
    workers->queued--;
    turn_charge(&source->turn, 1);
    if (!list_is_empty(&source->queue))
        turns_enter(&workers->turns, &source->turn);
    return work;
}

/* The next piece of work; NULL: stop. */
static struct work *workers_wait(struct workers *workers)
{
    AUTO_LOCK(&workers->lock);
    while (workers->queued == 0)
    {
        if (workers->is_stopping)
            return NULL;
        workers->idle++;
        condition_wait(&workers->wake, &workers->lock);
        workers->idle--;
    }
    return workers_take_locked(workers);
}

static void *workers_main(void *opaque)
{
    struct workers *workers = opaque;
    struct work *work;
    while ((work = workers_wait(workers)) != NULL)
        work->run(work);
    return NULL;
}

/* Whether somebody will come for what is queued. */
static bool workers_grow_locked(struct workers *workers)
{
    if (workers->queued <= workers->idle || workers->count == workers->max)
        return workers->count > 0;
    if (pthread_create(&workers->threads[workers->count], NULL, workers_main, workers) == 0)
    {
        pthread_setname_np(workers->threads[workers->count], "iscsi-io");
        workers->count++;
    }
    return workers->count > 0;
}

void workers_submit(struct workers *workers, struct work_source *source, struct work *work)
{
    {
        AUTO_LOCK(&workers->lock);
        list_add_tail(&source->queue, &work->link);
        turns_enter(&workers->turns, &source->turn);
        workers->queued++;
        if (workers_grow_locked(workers))
        {
            if (workers->idle > 0)
                condition_wake_one(&workers->wake);
            return;
        }
        list_remove(&work->link);
        turns_leave(&workers->turns, &source->turn);
        workers->queued--;
    }
    work->run(work);
}

void workers_destroy(struct workers *workers)
{
    if (!workers)
        return;
    {
        AUTO_LOCK(&workers->lock);
        INVARIANT(workers->queued == 0);
        workers->is_stopping = true;
        condition_wake_all(&workers->wake);
    }
    for (unsigned i = 0; i < workers->count; i++)
        pthread_join(workers->threads[i], NULL);
    condition_destroy(&workers->wake);
    lock_destroy(&workers->lock);
    free(workers);
}
