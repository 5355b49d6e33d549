/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A few threads for work that may block, fed by loops.
 *
 * Threads are started as they are needed, up to a limit, and stay. Work runs in the order it was
 * given, on whichever thread is free.
 */
#ifndef SERVER_NET_WORKERS_H
#define SERVER_NET_WORKERS_H

#include "lun/base/err.h"
#include "lun/base/list.h"

struct workers;
struct work;

/* Runs on a worker. It may give @work on, free it, or post it back to a loop. */
typedef void work_fn(struct work *work);

struct work
{
    struct list link;
    work_fn *run;
};

MUST_CHECK int workers_create(unsigned max_threads, struct workers **workers);
/* All work must have been done. NULL is accepted. */
void workers_destroy(struct workers *workers);

/* Any thread. Never fails: with no thread to be had and none there, the caller runs it itself. */
void workers_submit(struct workers *workers, struct work *work);

#endif
