/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where LUNs were when their volume was snapshotted.
 *
 * A snapshot of a volume keeps the volume's qtrees as they were, and each of its members the own
 * name that its LUN had: a member is named after the path of its LUN at that instant, whatever
 * becomes of the LUN. Snapshots made by versions that did not know that are named after where their
 * LUNs are now, until one of those is to be renamed or deleted: then they are placed where they
 * are, before that.
 *
 * A LUN that is deleted while such a snapshot holds it stays as a deleted LUN, with its identity
 * and its attributes: nobody finds it, and it goes with the last of these snapshots. A restore
 * brings it back.
 *
 * All under pool->management.
 */
#ifndef LUN_VOLUME_PLACE_H
#define LUN_VOLUME_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "lun/limits.h"

struct lun_draft;
struct lun_group;
struct lun_news;
struct lun_object;
struct pool;
struct qtree_object;
struct reader;
struct volume_object;
struct writer;

/* The path of the LUN that @snapshot is of, when that was made. */
void place_path(const struct lun_object *snapshot, char path[LUN_NAME_MAX + 1]);

/* Before the first record that makes or keeps a place: that the pool can. */
MUST_CHECK int place_prepare(struct pool *pool, struct reason *why);

/* Actions that keep the qtrees of @volume for its new snapshot @set_id. */
void place_keep_qtrees(struct pool *pool, const struct volume_object *volume, uint64_t set_id,
                       struct writer *actions);
/* What @draft, the member of @lun in it, says of its place. */
void place_draft(struct lun_draft *draft, const struct lun_object *lun);

/* Snapshots that hold @lun and are not placed are, durable or not. */
MUST_CHECK int place_old_snapshots(struct pool *pool, const struct lun_object *lun,
                                   struct reason *why);

/* -EEXIST: @lun is going to be at @new_path, and a snapshot of its own would be named as another.
 */
MUST_CHECK int place_check_snapshots(struct pool *pool, const struct lun_object *lun,
                                     const char *new_path, struct reason *why);

/*
 * Adds to the group what brings back the deleted LUN of @member: it is as it was when it was
 * deleted, at the path and with the content and size of the member. Its qtree is made anew if there
 * is none of that name. -EEXIST: something else has the name.
 */
MUST_CHECK int place_plan_revival(struct lun_group *group, struct lun_object *member,
                                  struct lun_news *news, struct reason *why);

#endif
