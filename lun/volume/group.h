/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands on many LUNs at one instant.
 *
 * The LUNs are collected, and the record is written but for what only their state at the instant
 * tells: the points that they are frozen to. Then their writes are drained side by side, the record
 * is completed and applied, and the writes go on. Nothing else is waited for in between: room for
 * the record is taken before. All under pool->management.
 *
 *   lun_group_begin(); lun_group_add(), action_...(&group.actions), ...; lun_group_run();
 */
#ifndef LUN_VOLUME_GROUP_H
#define LUN_VOLUME_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "lun/base/reader.h"
#include "lun/map/change.h"

struct group_fill;
struct group_lun;
struct lun_draft;
struct lun_object;
struct pool;
struct promise_delta;
struct quota_delta;

struct lun_group
{
    struct pool *pool;
    struct group_lun *luns; /* each once; with references */
    size_t count, capacity;
    struct group_fill *fills; /* what of the actions is filled in at the instant */
    size_t fill_count, fill_capacity;
    struct promise_delta *deltas;
    size_t delta_count, delta_capacity;
    struct quota_delta *quotas;
    size_t quota_count, quota_capacity;
    bool is_clone;         /* of the quotas' deltas, as in quota_check() */
    struct writer actions; /* of the record, behind the freezes */
    bool is_drained, failed;
    struct change_room room;
};

/* One at a time. */
void lun_group_begin(struct lun_group *group, struct pool *pool);
void lun_group_end(struct lun_group *group);
#define AUTO_LUN_GROUP CLEANUP(lun_group_end)

/* Drains the LUN or snapshot, and locks its readers out afterwards: what its line is changes, or it
 * goes. One that is in the group already is not added again. */
void lun_group_add(struct lun_group *group, struct lun_object *lun);

/* Adds @source, and an action that makes a head on its point: on a snapshot's, or on the one that
 * is the present state of a LUN. */
void lun_group_head(struct lun_group *group, uint64_t new_head_id, struct lun_object *source);
/* Adds @lun, and an action that makes a snapshot of it. */
void lun_group_snapshot(struct lun_group *group, const struct lun_draft *draft,
                        struct lun_object *lun);
/* Adds @lun, which gets another head, on what @source (a LUN or snapshot) holds, and its size: an
 * action that gives up its present head (if the group freezes it, the new one). Before any
 * lun_group_snapshot() of it. */
void lun_group_restore(struct lun_group *group, struct lun_object *lun,
                       const struct lun_object *source);

/* What the command promises beside that (a copy is kept). */
void lun_group_promise(struct lun_group *group, const struct promise_delta *delta);

/* What the command adds to logical sums (a copy is kept). */
void lun_group_quota(struct lun_group *group, const struct quota_delta *delta);

/*
 * Checks promises and quotas, drains, carries the record out, and lets the writes go on. The caller
 * commits, without management. @is_freeing as in change_run().
 */
MUST_CHECK int lun_group_run(struct lun_group *group, bool is_freeing, struct reason *why);

#endif
