/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading all metadata of an open pool from its device, beside all else: what lun.h calls a scrub.
 */
#ifndef LUN_CHECK_SCRUB_H
#define LUN_CHECK_SCRUB_H

#include <stdbool.h>
#include <stdint.h>

#include "lun/base/err.h"

struct job_info;
struct pool;
struct scrub;

MUST_CHECK int scrub_create(struct pool *pool, struct scrub **scrub);
/* It does not run any more. NULL is accepted. */
void scrub_destroy(struct scrub *scrub);

/* Ends the one that runs, before the pool closes. */
void scrub_stop(struct pool *pool);

/* Whether one runs with this id (0: any). */
bool scrub_runs(struct pool *pool, uint64_t id);
/* As job_list() shows it; false: none runs. */
bool scrub_describe(struct pool *pool, struct job_info *job);

#endif
