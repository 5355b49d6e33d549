/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a PUT of a LUN, a snapshot, a volume, a qtree or a volume snapshot carries: begun from a
 * present object or from nothing, changed, and encoded. The same encoding is in the slots of pages.
 *
 * Strings are whoever's they came from; NULL means "". Names are the own ones, without what stands
 * before the last '/' or '@'.
 */
#ifndef LUN_VOLUME_DRAFT_H
#define LUN_VOLUME_DRAFT_H

#include <stdbool.h>
#include <stdint.h>

#include "lun/lun.h"
#include "lun/pool/format.h"

struct lun_object;
struct pool;
struct qtree_object;
struct volume_object;
struct volume_snapshot_object;
struct writer;

struct lun_draft
{
    enum disk_object_kind kind;
    uint64_t id, lun_id, line_id;
    uint64_t volume_id, qtree_id; /* of a LUN; of a member of a placed set its qtree */
    uint64_t volume_snapshot_id;  /* of a snapshot */
    uint8_t uuid[16];
    uint64_t size_bytes, trim_end_bytes, created_ns, expire_ns, locked_until_ns;
    uint32_t sector_bytes;
    bool is_reserved, is_autodelete, is_deleted;
    const char *name, *comment, *owner, *group;
    const char *origin; /* of a member of a placed set: the own name that its LUN had */
};

struct volume_draft
{
    uint64_t id;
    uint8_t uuid[16];
    uint64_t size_bytes, created_ns, locked_until_ns, parent_snapshot_id;
    uint32_t flags, pause_ms;
    const char *name, *comment;
};

struct qtree_draft
{
    uint64_t id, volume_id, created_ns;
    uint64_t volume_snapshot_id; /* whose it is; 0: the volume's */
    const char *name, *comment;
};

struct volume_snapshot_draft
{
    uint64_t id, volume_id, created_ns, locked_until_ns;
    uint32_t flags;
    const char *name, *comment;
};

/* With a fresh id, a fresh uuid and the present time. Under management. */
struct lun_draft lun_draft_new(struct pool *pool, enum disk_object_kind kind, const char *name);
struct volume_draft volume_draft_new(struct pool *pool, const char *name);
struct qtree_draft qtree_draft_new(struct pool *pool, uint64_t volume_id, const char *name);
struct volume_snapshot_draft volume_snapshot_draft_new(struct pool *pool, uint64_t volume_id,
                                                       const char *name);

struct lun_draft lun_draft_of(const struct lun_object *lun);
struct volume_draft volume_draft_of(const struct volume_object *volume);
struct qtree_draft qtree_draft_of(const struct qtree_object *qtree);
struct volume_snapshot_draft
volume_snapshot_draft_of(const struct volume_snapshot_object *snapshot);

/* What @mask (enum lun_attribute_mask) names. */
void lun_draft_set_attributes(struct lun_draft *draft, const struct lun_attributes *attributes,
                              unsigned mask);

/* The bytes of a slot. */
void lun_draft_encode(const struct lun_draft *draft, struct writer *writer);
void volume_draft_encode(const struct volume_draft *draft, struct writer *writer);
void qtree_draft_encode(const struct qtree_draft *draft, struct writer *writer);
void volume_snapshot_draft_encode(const struct volume_snapshot_draft *draft, struct writer *writer);

/* The action that makes or changes the object. */
void lun_draft_put(const struct lun_draft *draft, struct writer *actions);
void volume_draft_put(const struct volume_draft *draft, struct writer *actions);
void qtree_draft_put(const struct qtree_draft *draft, struct writer *actions);
void volume_snapshot_draft_put(const struct volume_snapshot_draft *draft, struct writer *actions);

#endif
