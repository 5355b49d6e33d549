/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ledger of promises: what reserved LUNs and guaranteed volumes may still take of the pool, and
 * what volumes are charged.
 *
 *   needs of a reserved LUN       size - own, and the most nodes that its map and drop list can
 * have, less those that it owns charged to a volume           blocks and nodes that its lines own
 *   needs of a guaranteed volume  size - charged, or the needs of its reserved LUNs if these are
 * more
 *
 * Every figure is kept as records are applied, in constant time, and made anew from the objects at
 * open. The sum is what space.c keeps for promises. Always true:
 *  - what is free or will be after a checkpoint covers the sum, but for blocks on their way to
 * those that they were promised to;
 *  - a block that is owned no more is in the sum before it is free, and one that is newly owned
 *    leaves the sum after it was taken: nobody ever sees more room than there is;
 *  - a volume with a bound is never charged more than that, less the needs of its reserved LUNs,
 *    save by jobs and by what gives space back.
 *
 * LUNs that are promised nothing, outside volumes, are not in it and cost nothing.
 */
#ifndef LUN_VOLUME_LEDGER_H
#define LUN_VOLUME_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "lun/pool/pool_internal.h"

enum
{
    /*
     * Kept for all promises together while there is one: what a write takes and gives back again in
     * its course. A WRITE ATOMIC of 1 MiB on blocks of its own takes 256 before it frees as many;
     * nodes are copied before the old ones are freed.
     */
    LEDGER_SLACK_BLKS = 512,
};

/* The line owns more or less, or its volume is another. In apply(). */
void ledger_line(struct pool *pool, struct line *line);

/* The same for changes of what it owns: nothing to do for most. */
static inline void ledger_owns(struct pool *pool, struct line *line)
{
    if (line->volume ||
        (line->lun && atomic_load_explicit(&line->lun->is_reserved, memory_order_relaxed)))
        ledger_line(pool, line);
}

/* The LUN's size, line, volume or reservation may be another. In apply(). */
void ledger_lun(struct pool *pool, struct lun_object *lun);
void ledger_forget_lun(struct pool *pool, struct lun_object *lun);

/* The volume's size or guarantee may be another. In apply(). */
void ledger_volume(struct pool *pool, struct volume_object *volume);
/* It has no lines and LUNs any more. */
void ledger_forget_volume(struct pool *pool, struct volume_object *volume);

/* At open, before the replay: books everything. */
void ledger_load(struct pool *pool);

/*
 * The record that was promised room is applied now, with the gate exclusive: what it books is no
 * more beside what was held for it, but in its place. ledger_let_go(): it was, or will not be.
 */
void ledger_book_begin(struct pool *pool);
void ledger_let_go(struct pool *pool);
void ledger_let_go_locked(struct pool *pool);

/* With the ledger's lock: tells space.c what is promised and held. */
void ledger_publish(struct pool *pool);

/* Whether anything is promised at all. */
bool ledger_has_promises(struct pool *pool);

/* ---- figures */

/* The most nodes that map and drop list of a LUN can have, on a point that showed as much. */
uint64_t ledger_nodes_max(uint64_t size_blks, bool has_point, uint64_t point_blks);
/* What a LUN that owns nothing yet needs. */
uint64_t ledger_fresh_needs(uint64_t size_blks, bool has_point, uint64_t point_blks);
/* What a reserved LUN on @line would need, with what that line owns. */
uint64_t ledger_needs(const struct lun_object *lun, const struct line *line);
uint64_t ledger_lun_blks(const struct lun_object *lun);
uint64_t ledger_point_blks(const struct line *point);
uint64_t ledger_volume_needs(uint64_t size_blks, bool is_guaranteed, uint64_t charged_blks,
                             uint64_t lun_needs_blks);
uint64_t ledger_volume_blks(const struct volume_object *volume);

/* Tells @say of each figure that is not what the objects make it. With everything standing still.
 */
typedef void ledger_say_fn(void *opaque, const char *text);
void ledger_check(struct pool *pool, ledger_say_fn *say, void *opaque);

/* ---- writes */

/* As whose the LUN takes blocks. */
enum space_use ledger_use(const struct lun_object *lun);

/* What a write is going to charge to a volume with a bound. */
struct ledger_claim
{
    struct volume_object *volume; /* NULL: there is no bound. It stays while the LUN is in it */
    uint64_t blks;
};

/*
 * Before a LUN that is not reserved takes @blks; ledger_give() when they are its own, or given
 * back. With its range locked. -EDQUOT: the volume may not be charged as much. Nothing for others.
 */
MUST_CHECK int ledger_take(struct pool *pool, const struct lun_object *lun, uint64_t blks,
                           struct ledger_claim *claim);
void ledger_give(struct pool *pool, const struct ledger_claim *claim);

/* Whether the point's own blocks may become its only child's. -EBUSY: they are promised to the
 * point's volume. -ENOSPC: the child would need more than there is, or that volume if the child is
 * dying. Raises what is promised. */
MUST_CHECK int ledger_may_merge(struct pool *pool, const struct line *point);
/* The first reason alone. */
bool ledger_is_bound(const struct line *point);

#endif
