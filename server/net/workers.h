/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A few threads for work that may block, fed by loops.
 *
 * Threads are started as they are needed, up to a limit, and stay. Work comes from sources. A
 * thread that is free takes the next of a source that has had least of late (turns.h), so that one
 * who gives much at once holds up himself only; work of one source begins in the order in which it
 * was given.
 */
#ifndef SERVER_NET_WORKERS_H
#define SERVER_NET_WORKERS_H

#include "lun/base/err.h"
#include "server/net/turns.h"

struct workers;
struct work;

/* Runs on a worker. It may give @work on, free it, or post it back to a loop. */
typedef void work_fn(struct work *work);

struct work
{
    struct list link;
    work_fn *run;
};

/* Whoever has work to give; it stays until all of it was begun. */
struct work_source
{
    struct turn turn;  /* under the lock of the workers, as the next */
    struct list queue; /* work that waits */
};

void work_source_init(struct work_source *source);

MUST_CHECK int workers_create(unsigned max_threads, struct workers **workers);
/* All work must have been done. NULL is accepted. */
void workers_destroy(struct workers *workers);

/* Any thread. Never fails: with no thread to be had and none there, the caller runs it itself. */
void workers_submit(struct workers *workers, struct work_source *source, struct work *work);

#endif
