/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of lun/volume and lun/map share about open LUNs. */
#ifndef LUN_VOLUME_LUN_INTERNAL_H
#define LUN_VOLUME_LUN_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "lun/lun.h"
#include "lun/map/emap.h"
#include "lun/map/range.h"
#include "lun/pool/pool_internal.h"

struct writer;

/* A handle. Of a difference: object is B, base is a handle on A. */
struct lun
{
    struct pool *pool;
    struct lun_object *object; /* holds a reference */
    struct lun *base;          /* owned; NULL but for a difference */
    bool is_read_only;
    _Atomic bool stops_waiting; /* for room */
    bool is_background;         /* not in the object's open_handles */
    lun_is_over_fn *is_over;    /* whoever waits need not any more; or NULL */
    void *is_over_opaque;
};

/* The line whose map @object shows now. Under its map_lock, or by whoever keeps it from changing.
 */
static inline const struct line *lun_line(const struct lun_object *object)
{
    return object->line;
}

/* Takes all ranges of the LUN: no write is in flight until lun_release_all(). */
void lun_drain(struct lun_object *object, struct range *range);

/* Unmaps a part of what a shrink cut off; with management held. 1: some, 0: nothing left. *tries as
 * checkpoint_retry(). */
MUST_CHECK int lun_trim_tail_step(struct pool *pool, struct lun_object *object, unsigned *tries);
/* All of it. */
MUST_CHECK int lun_trim_tail(struct pool *pool, struct lun_object *object);

/* Unmaps whole blocks [lba, end) of a LUN whose range is locked. @use: for what is not its own.
 * -EAGAIN as change_run(). *stop: how far it came. */
MUST_CHECK int io_unmap_blks(struct pool *pool, struct lun_object *object, enum space_use use,
                             uint64_t lba, uint64_t end, uint64_t *stop);

/*
 * Adds to a record what makes the block that a LUN of @end_bytes ends in zero behind that end: a
 * copy in a new block, since the present one must stay as it is if the record is lost. Nothing if
 * the LUN ends between blocks or in a hole. With the LUN drained; -EAGAIN as change_run(). If the
 * record is not applied, space_cancel_cb() is due for its block.
 */
MUST_CHECK int io_cut_block(struct pool *pool, struct lun_object *object, uint64_t end_bytes,
                            struct writer *writer);

/* Whether what the handle shows was deleted. */
bool lun_is_gone(const struct lun *lun);

/* 0, or why I/O on this handle cannot be: -ESTALE, -EINVAL, -EROFS. */
MUST_CHECK int lun_check_io(const struct lun *lun, uint64_t len, uint64_t offset, bool is_write);

/* Looks up runs of @object's map, loading what is missing; takes map_lock itself. At most @max runs
 * from @lba on, to @end at most. */
MUST_CHECK int io_lookup(struct pool *pool, struct lun_object *object, uint64_t lba, uint64_t end,
                         struct emap_run *runs, unsigned max, unsigned *count);

/* The same by memo or map for reading, in an epoch; what is in one place is one run. */
MUST_CHECK int io_find_runs(struct pool *pool, struct lun_object *object, uint64_t lba,
                            uint64_t end, struct emap_run *runs, unsigned max, unsigned *count);

/* Taken before the first look at the maps of the handle. */
uint64_t io_replacements(const struct lun *lun);
/* Whether what was found since stands: 0, -EAGAIN: it is to be looked at once more, -ESTALE. */
MUST_CHECK int io_confirm(const struct lun *lun, uint64_t replacements);

/* Lets writes that wait for room look again. */
void io_wake(struct pool *pool);

/* Reads [offset, offset + len) as it is mapped now, in an epoch. */
MUST_CHECK int io_read(struct pool *pool, struct lun_object *object, void *buf, size_t len,
                       uint64_t offset);

#endif
