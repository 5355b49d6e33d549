/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a write does that finds no room: waits for a checkpoint, or for room.
 *
 *  - Nothing was promised: a few checkpoints, while something is freed that they would bring.
 *  - It was promised: as many as it takes. The promise says that there is room; it may be freed and
 *    not usable yet, or asked for by others for a moment.
 *  - In a volume that pauses when it is full: then until there is room, for a bounded time.
 */
#ifndef LUN_MAP_IO_PATIENCE_H
#define LUN_MAP_IO_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "lun/pool/space.h"

struct lun;
struct lun_object;
struct pool;

/* Of one write; zeros at first, but for may_pause. */
struct io_patience
{
    bool may_pause; /* nothing is held between two attempts */
    bool was_paused;
    bool
        is_urgent; /* promised, and a checkpoint did not help: the next attempt takes what it can */
    unsigned checkpoints;
    unsigned refusals; /* of what was promised */
    uint64_t paused_ms;
};

/*
 * After an attempt, with @use, that ended with @r < 0. 0: try again. Else the error to end with;
 * -EDQUOT: the volume's bound, not the pool. Waits; no locks may be held, ranges only without
 * may_pause.
 */
MUST_CHECK int io_be_patient(struct lun *lun, int r, enum space_use use,
                             struct io_patience *patience);

/* Whether writes to the LUN wait for room. */
bool io_pauses(struct pool *pool, const struct lun_object *lun);

/* A write met the bound of its volume: an event, not too often. */
void io_note_volume_full(struct pool *pool, const struct lun_object *lun);

#endif
