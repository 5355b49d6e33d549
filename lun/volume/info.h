/* SPDX-License-Identifier: BSD-3-Clause */
/* Figures of LUNs, for listings. */
#ifndef LUN_VOLUME_INFO_H
#define LUN_VOLUME_INFO_H

#include "lun/lun.h"

/* The reason why there is no such LUN, of its name twice. */
#define LUN_WAS_DELETED                                                                            \
    "LUN '%s' was deleted, and snapshots of its volume hold it; 'lunette snapshot show %s' lists " \
    "them, 'lunette snapshot restore' brings it back"

struct lun_object;

/* With catalog_lock held. */
void lun_fill_info(const struct lun_object *object, struct lun_info *info);
/* Whether snapshots of its volume hold a deleted LUN that was at @path. With catalog_lock held, or
 * under management. */
bool lun_was_deleted(struct pool *pool, const char *path);
/* -ENOENT, with what to look at in @why: there is no LUN or snapshot @name. Without catalog_lock.
 */
int info_no_such(struct pool *pool, const char *name, struct reason *why);
/* Data that the LUN's own snapshots hold and it no longer uses. With catalog_lock held. */
uint64_t lun_snapshot_bytes(const struct lun_object *lun);
/* Of a deleted LUN: what snapshots of its volume hold of it. Likewise. */
uint64_t lun_deleted_bytes(const struct lun_object *lun);

#endif
