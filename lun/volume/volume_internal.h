/* SPDX-License-Identifier: BSD-3-Clause */
/* What commands on volumes, qtrees and volume snapshots share. Under pool->management. */
#ifndef LUN_VOLUME_VOLUME_INTERNAL_H
#define LUN_VOLUME_VOLUME_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "lun/lun.h"
#include "lun/volume/group.h"
#include "lun/volume/news.h"

struct volume_object;
struct volume_snapshot_object;

enum
{
    VOLUME_NAME_MAX = LUN_NAME_MAX - 2 /* there must be room for a LUN's behind it */
};

MUST_CHECK int volume_check_name(const char *name, struct reason *why);

/* Names of volumes for a sentence: "'a', 'b', 'c' and 4 more". */
void volume_list_clones(const struct volume_snapshot_object *snapshot, char *text, size_t size);

MUST_CHECK int volume_snapshot_find(struct pool *pool, const char *volume, const char *snapshot,
                                    struct volume_snapshot_object **object, struct reason *why);

/* Adds what makes a snapshot of @volume to the group's actions; *id is its. -EEXIST, -EINVAL. */
MUST_CHECK int volume_snapshot_plan(struct lun_group *group, struct volume_object *volume,
                                    const struct volume_snapshot_args *args, uint32_t disk_flags,
                                    uint64_t *id, struct reason *why);

/* Adds what deletes it. Whether it may be is the caller's. */
void volume_snapshot_plan_delete(struct lun_group *group, struct volume_snapshot_object *snapshot);

/* @volume stops depending on its parent, as far as the parent is concerned: a deferred snapshot
 * goes with its last clone. *gone: it goes. To be called when the volume's own action is there. */
void volume_plan_leave_parent(struct lun_group *group, const struct volume_object *volume,
                              bool *gone);

#endif
