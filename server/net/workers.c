/* SPDX-License-Identifier: BSD-3-Clause */
/* A pool of threads with one queue. */
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
    struct list queue;     /* under lock */
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
    list_init(&workers->queue);
    workers->max = max_threads;
    *out = workers;
    return 0;
}

/* The next piece of work; NULL: stop. */
static struct work *workers_wait(struct workers *workers)
{
    AUTO_LOCK(&workers->lock);
    while (list_is_empty(&workers->queue))
    {
        if (workers->is_stopping)
            return NULL;
        workers->idle++;
        condition_wait(&workers->wake, &workers->lock);
        workers->idle--;
    }
    struct work *work = container_of(workers->queue.next, struct work, link);
    list_remove(&work->link);
    workers->queued--;
    return work;
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

void workers_submit(struct workers *workers, struct work *work)
{
    {
        AUTO_LOCK(&workers->lock);
        list_add_tail(&workers->queue, &work->link);
        workers->queued++;
        if (workers_grow_locked(workers))
        {
            if (workers->idle > 0)
                condition_wake_one(&workers->wake);
            return;
        }
        list_remove(&work->link);
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
        INVARIANT(list_is_empty(&workers->queue));
        workers->is_stopping = true;
        condition_wake_all(&workers->wake);
    }
    for (unsigned i = 0; i < workers->count; i++)
        pthread_join(workers->threads[i], NULL);
    condition_destroy(&workers->wake);
    lock_destroy(&workers->lock);
    free(workers);
}
