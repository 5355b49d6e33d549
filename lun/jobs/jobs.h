/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Background work: walks of deleted LUNs, merging and reclaiming of hidden points, what a shrink
 * left.
 *
 * Nothing is stored about jobs: what there is to do follows from the lines. Each step is one record
 * and bounded; it takes pool->management, so that steps and commands do not meet. While hosts do
 * I/O the thread rests between steps most of the time; without, it goes at full speed.
 */
#ifndef LUN_JOBS_JOBS_H
#define LUN_JOBS_JOBS_H

#include <stdbool.h>

struct line;
struct pool;

/* There may be something to do on @line. Any locks may be held. */
void jobs_kick(struct pool *pool, struct line *line);

/* The same for reclaim, which is worth a look only now and then: drops come with every write. */
void jobs_kick_lazily(struct pool *pool, struct line *line);

/* The line is going: nothing to do on it any more. */
void jobs_forget(struct pool *pool, struct line *line);

/* At open: looks at every line and LUN. */
void jobs_kick_all(struct pool *pool);

/* The jobs' thread asks after each step. True after work enough for a rest, as long as hosts do I/O
 * and for some rests more. Counts: each call is a new look. */
bool jobs_must_rest(struct pool *pool);

void *jobs_thread(void *pool);

#endif
