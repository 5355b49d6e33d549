/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Promises of space: reserved LUNs and guaranteed volumes.
 *
 * A command that makes, moves or raises a promise says beforehand what it is going to do, as a list
 * of deltas, and is refused if the promises would no longer be kept. It asks under
 * pool->management, when all that could still change the answer is done: tails are trimmed, and
 * LUNs that freeze, move or are restored are drained. What it is allowed is held for it against
 * writes of others, until its record is applied, which books it instead (ledger_book_begin()).
 */
#ifndef LUN_VOLUME_PROMISE_H
#define LUN_VOLUME_PROMISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/base/err.h"

struct lun_object;
struct pool;
struct pool_info;
struct volume_info;
struct volume_object;

enum promise_kind
{
    PROMISE_NEW_LUN,      /* an empty LUN of size_bytes in volume; is_reserved */
    PROMISE_FREEZE,       /* lun: nothing of it is own any more, unless it is unchanged */
    PROMISE_RESIZE,       /* lun gets size_bytes */
    PROMISE_SET_RESERVED, /* lun becomes is_reserved */
    PROMISE_CLONE,   /* count heads of size_bytes on what lun (a LUN or snapshot) holds, nothing
                        of them own, in volume; is_reserved */
    PROMISE_REVIVAL, /* the same, one head, of the deleted LUN of the snapshot lun */
    PROMISE_RESTORE, /* lun gets size_bytes and a head on what source holds, nothing of it is own
                        any more, what it had is left */
    PROMISE_VOLUME,  /* volume (NULL: a new one) gets size_bytes and is_guaranteed */
    PROMISE_MOVE,    /* lun, and what is its own, into volume */
};

struct promise_delta
{
    enum promise_kind kind;
    const struct lun_object *lun, *source;
    const struct volume_object *volume; /* NULL: outside volumes */
    bool in_new_volume; /* volume is the one that a PROMISE_VOLUME before it in the list makes */
    bool is_reserved, is_guaranteed;
    uint64_t size_bytes;
    uint32_t count;
};

/*
 * All @deltas together. -ENOSPC with what is needed and what is available in @why: of the pool, of
 * a volume with a bound, or of the file system below, on which the first promise takes all that the
 * pool's file may need. Under pool->management. Ends what was held before.
 */
MUST_CHECK int promise_check(struct pool *pool, const struct promise_delta *deltas, size_t count,
                             struct reason *why);

/* The record will not be run: nothing is held any more, as after one that was. */
void promise_end(struct pool *pool);

/* What the promise of a reserved LUN still needs of the pool; else 0. With catalog_lock held. */
uint64_t promise_needed_bytes(const struct lun_object *lun);

/* Fills in charged_bytes, reserved_bytes, needed_bytes and available_bytes. With catalog_lock held.
 */
void promise_fill_volume(struct pool *pool, const struct volume_object *volume,
                         struct volume_info *info);
/* Fills in promised_bytes and available_bytes. */
void promise_fill_pool(struct pool *pool, struct pool_info *info);

/* At open: whether the promises can be kept with what there is; an error event if not. */
void promise_check_open(struct pool *pool);
/* Before the pool grows to @size_bytes: the new part of its file is allocated while promises exist.
 */
MUST_CHECK int promise_allocate_grown(struct pool *pool, uint64_t size_bytes, struct reason *why);
/* A write found that what was promised is not there. An error event, not too often. */
void promise_note_broken(struct pool *pool, const struct lun_object *lun, const char *what);

#endif
