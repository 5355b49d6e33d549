/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Quotas: limits on the sum of the logical sizes of LUNs.
 *
 * Rules are values in the configuration store, so they move with the pool and change like all else.
 * What is used is never stored: it is summed up where it is asked for, so it cannot be wrong. A
 * command that changes sums says so beforehand (quota_check()) and, once its record is applied,
 * again (quota_note()), both under pool->management: nothing comes between.
 *
 * The rules that bind a LUN, in the order in which they are looked at: tree of the volume, tree of
 * its qtree, user and group in the volume, user and group in the qtree.
 */
#ifndef LUN_VOLUME_QUOTA_H
#define LUN_VOLUME_QUOTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/lun.h"

struct lun_object;
struct qtree_object;
struct volume_object;
struct writer;

/* What a command adds to the sums that a LUN counts for. */
struct quota_delta
{
    const struct volume_object *volume; /* NULL: outside volumes there are no quotas */
    const struct qtree_object *qtree;   /* a snapshot's: the one of its name that is to be made */
    char owner[LUN_OWNER_MAX + 1], group[LUN_OWNER_MAX + 1]; /* "": nobody's */
    int64_t bytes;
};

/* Of a LUN as it is now; of one at that place, with NULL for no owner. */
struct quota_delta quota_delta_of(const struct lun_object *lun, int64_t bytes);
struct quota_delta quota_delta_at(const struct volume_object *volume,
                                  const struct qtree_object *qtree, const char *owner,
                                  const char *group, int64_t bytes);

/* Whether @delta counts for the same as @sum; then its bytes are added there. */
bool quota_delta_joins(struct quota_delta *sum, const struct quota_delta *delta);

/*
 * All @deltas together. -EDQUOT with the rule, what is used, asked for and allowed in @why, and an
 * event. @is_clone: user and group rules let it through.
 */
MUST_CHECK int quota_check(struct pool *pool, const struct quota_delta *deltas, size_t count,
                           bool is_clone, struct reason *why);

/* They have been applied: events of limits that were crossed, either way. */
void quota_note(struct pool *pool, const struct quota_delta *deltas, size_t count);

/* Actions that delete the rules of a volume, or of one of its qtrees (else NULL), which goes. */
void quota_forget(struct pool *pool, const struct volume_object *volume,
                  const struct qtree_object *qtree, struct writer *writer);

#endif
