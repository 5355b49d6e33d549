/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/volume/draft.h"

#include <string.h>

#include "lun/base/reader.h"
#include "lun/pool/pool_internal.h"
#include "lun/pool/record.h"
#include "lun/volume/names.h"

static const char *text_of(const char *string)
{
    return string ? string : "";
}

static void text_encode(const char *string, struct writer *writer)
{
    writer_bytes(writer, text_of(string), strlen(text_of(string)));
}

/* ---- beginning ----------------------------------------------------------------------------- */

struct lun_draft lun_draft_new(struct pool *pool, enum disk_object_kind kind, const char *name)
{
    struct lun_draft draft = {.kind = kind,
                              .id = pool->next_id++,
                              .created_ns = pool->env->now_ns(pool->env),
                              .sector_bytes = 512,
                              .name = name};
    draft.lun_id = draft.id;
    pool->env->random_bytes(pool->env, draft.uuid, sizeof(draft.uuid));
    return draft;
}

struct volume_draft volume_draft_new(struct pool *pool, const char *name)
{
    struct volume_draft draft = {
        .id = pool->next_id++, .created_ns = pool->env->now_ns(pool->env), .name = name};
    pool->env->random_bytes(pool->env, draft.uuid, sizeof(draft.uuid));
    return draft;
}

struct qtree_draft qtree_draft_new(struct pool *pool, uint64_t volume_id, const char *name)
{
    return (struct qtree_draft){.id = pool->next_id++,
                                .volume_id = volume_id,
                                .created_ns = pool->env->now_ns(pool->env),
                                .name = name};
}

struct volume_snapshot_draft volume_snapshot_draft_new(struct pool *pool, uint64_t volume_id,
                                                       const char *name)
{
    return (struct volume_snapshot_draft){.id = pool->next_id++,
                                          .volume_id = volume_id,
                                          .created_ns = pool->env->now_ns(pool->env),
                                          .name = name};
}

struct lun_draft lun_draft_of(const struct lun_object *lun)
{
    struct lun_draft draft = {
        .kind = lun->object.kind,
        .id = lun->object.id,
        .lun_id = lun->lun->object.id,
        .line_id = lun->is_deleted ? 0 : lun->line->object.id,
        .volume_id = lun->volume ? lun->volume->object.id : 0,
        .qtree_id = lun->qtree ? lun->qtree->object.id : 0,
        .volume_snapshot_id = lun->volume_snapshot ? lun->volume_snapshot->object.id : 0,
        .size_bytes = atomic_load(&lun->size_bytes),
        .trim_end_bytes = lun->trim_end_bytes,
        .created_ns = lun->created_ns,
        .expire_ns = lun->expire_ns,
        .locked_until_ns = lun->locked_until_ns,
        .sector_bytes = lun->sector_bytes,
        .is_reserved = atomic_load(&lun->is_reserved),
        .is_autodelete = lun->is_autodelete,
        .is_deleted = lun->is_deleted,
        .name = name_own(lun->name),
        .comment = lun->comment,
        .origin = lun->origin,
        .owner = lun->owner,
        .group = lun->group,
    };
    memcpy(draft.uuid, lun->uuid, sizeof(draft.uuid));
    return draft;
}

struct volume_draft volume_draft_of(const struct volume_object *volume)
{
    struct volume_draft draft = {.id = volume->object.id,
                                 .size_bytes = volume->size_bytes,
                                 .created_ns = volume->created_ns,
                                 .locked_until_ns = volume->locked_until_ns,
                                 .parent_snapshot_id = volume->parent_snapshot_id,
                                 .flags = volume->flags,
                                 .pause_ms = volume->pause_ms,
                                 .name = volume->name,
                                 .comment = volume->comment};
    memcpy(draft.uuid, volume->uuid, sizeof(draft.uuid));
    return draft;
}

struct qtree_draft qtree_draft_of(const struct qtree_object *qtree)
{
    return (struct qtree_draft){.id = qtree->object.id,
                                .volume_id = qtree->volume->object.id,
                                .created_ns = qtree->created_ns,
                                .volume_snapshot_id =
                                    qtree->snapshot ? qtree->snapshot->object.id : 0,
                                .name = name_own(qtree->name),
                                .comment = qtree->comment};
}

struct volume_snapshot_draft volume_snapshot_draft_of(const struct volume_snapshot_object *snapshot)
{
    return (struct volume_snapshot_draft){.id = snapshot->object.id,
                                          .volume_id = snapshot->volume->object.id,
                                          .created_ns = snapshot->created_ns,
                                          .locked_until_ns = snapshot->locked_until_ns,
                                          .flags = snapshot->flags,
                                          .name = name_own(snapshot->name),
                                          .comment = snapshot->comment};
}

void lun_draft_set_attributes(struct lun_draft *draft, const struct lun_attributes *attributes,
                              unsigned mask)
{
    if (mask & LUN_SET_RESERVED)
        draft->is_reserved = attributes->is_reserved;
    if (mask & LUN_SET_AUTODELETE)
        draft->is_autodelete = attributes->is_autodelete;
    if (mask & LUN_SET_EXPIRE)
        draft->expire_ns = attributes->expire_ns;
    if (mask & LUN_SET_LOCKED_UNTIL)
        draft->locked_until_ns = attributes->locked_until_ns;
    if (mask & LUN_SET_OWNER)
        draft->owner = attributes->owner;
    if (mask & LUN_SET_GROUP)
        draft->group = attributes->group;
}

/* ---- encoding ------------------------------------------------------------------------------ */

/* Only where it says something: LUNs of older pools keep their length, and so their slots. */
static void lun_draft_encode_more(const struct lun_draft *draft, struct writer *writer)
{
    size_t owner_len = strlen(text_of(draft->owner)), group_len = strlen(text_of(draft->group));
    if (!draft->volume_id && !draft->qtree_id && !draft->volume_snapshot_id && !draft->expire_ns &&
        !draft->locked_until_ns && owner_len == 0 && group_len == 0)
        return;
    struct disk_lun_more more = {.volume_id = le64_put(draft->volume_id),
                                 .qtree_id = le64_put(draft->qtree_id),
                                 .volume_snapshot_id = le64_put(draft->volume_snapshot_id),
                                 .expire_ns = le64_put(draft->expire_ns),
                                 .locked_until_ns = le64_put(draft->locked_until_ns),
                                 .owner_len = le16_put(owner_len),
                                 .group_len = le16_put(group_len)};
    writer_bytes(writer, &more, sizeof(more));
    text_encode(draft->owner, writer);
    text_encode(draft->group, writer);
}

void lun_draft_encode(const struct lun_draft *draft, struct writer *writer)
{
    struct disk_lun disk = {.line_id = le64_put(draft->line_id),
                            .lun_id = le64_put(draft->lun_id),
                            .size_bytes = le64_put(draft->size_bytes),
                            .trim_end_bytes = le64_put(draft->trim_end_bytes),
                            .created_ns = le64_put(draft->created_ns),
                            .sector_bytes = le32_put(draft->sector_bytes),
                            .flags = le32_put((draft->is_reserved ? DISK_LUN_RESERVED : 0u) |
                                              (draft->is_autodelete ? DISK_LUN_AUTODELETE : 0u) |
                                              (draft->is_deleted ? DISK_LUN_DELETED : 0u)),
                            .name_len = le16_put(strlen(draft->name)),
                            .comment_len = le16_put(strlen(text_of(draft->comment))),
                            .origin_len = le16_put(strlen(text_of(draft->origin)))};
    memcpy(disk.uuid, draft->uuid, sizeof(disk.uuid));
    writer_bytes(writer, &disk, sizeof(disk));
    text_encode(draft->name, writer);
    text_encode(draft->comment, writer);
    text_encode(draft->origin, writer);
    lun_draft_encode_more(draft, writer);
}

void volume_draft_encode(const struct volume_draft *draft, struct writer *writer)
{
    struct disk_volume disk = {.size_bytes = le64_put(draft->size_bytes),
                               .created_ns = le64_put(draft->created_ns),
                               .locked_until_ns = le64_put(draft->locked_until_ns),
                               .parent_snapshot_id = le64_put(draft->parent_snapshot_id),
                               .flags = le32_put(draft->flags),
                               .pause_ms = le32_put(draft->pause_ms),
                               .name_len = le16_put(strlen(draft->name)),
                               .comment_len = le16_put(strlen(text_of(draft->comment)))};
    memcpy(disk.uuid, draft->uuid, sizeof(disk.uuid));
    writer_bytes(writer, &disk, sizeof(disk));
    text_encode(draft->name, writer);
    text_encode(draft->comment, writer);
}

void qtree_draft_encode(const struct qtree_draft *draft, struct writer *writer)
{
    struct disk_qtree disk = {.volume_id = le64_put(draft->volume_id),
                              .created_ns = le64_put(draft->created_ns),
                              .name_len = le16_put(strlen(draft->name)),
                              .comment_len = le16_put(strlen(text_of(draft->comment)))};
    writer_bytes(writer, &disk, sizeof(disk));
    text_encode(draft->name, writer);
    text_encode(draft->comment, writer);
    if (draft->volume_snapshot_id)
        writer_le64(writer, draft->volume_snapshot_id);
}

void volume_snapshot_draft_encode(const struct volume_snapshot_draft *draft, struct writer *writer)
{
    struct disk_volume_snapshot disk = {
        .volume_id = le64_put(draft->volume_id),
        .created_ns = le64_put(draft->created_ns),
        .locked_until_ns = le64_put(draft->locked_until_ns),
        .flags = le32_put(draft->flags),
        .name_len = le16_put(strlen(draft->name)),
        .comment_len = le16_put(strlen(text_of(draft->comment))),
    };
    writer_bytes(writer, &disk, sizeof(disk));
    text_encode(draft->name, writer);
    text_encode(draft->comment, writer);
}

/* ---- actions ------------------------------------------------------------------------------- */

static void put_bytes(struct writer *actions, enum disk_object_kind kind, uint64_t id,
                      struct writer *bytes)
{
    if (bytes->failed)
        actions->failed = true;
    else
        action_put(actions, kind, id, bytes->bytes, bytes->len);
    writer_destroy(bytes);
}

void lun_draft_put(const struct lun_draft *draft, struct writer *actions)
{
    struct writer bytes = {0};
    lun_draft_encode(draft, &bytes);
    put_bytes(actions, draft->kind, draft->id, &bytes);
}

void volume_draft_put(const struct volume_draft *draft, struct writer *actions)
{
    struct writer bytes = {0};
    volume_draft_encode(draft, &bytes);
    put_bytes(actions, DISK_OBJECT_VOLUME, draft->id, &bytes);
}

void qtree_draft_put(const struct qtree_draft *draft, struct writer *actions)
{
    struct writer bytes = {0};
    qtree_draft_encode(draft, &bytes);
    put_bytes(actions, DISK_OBJECT_QTREE, draft->id, &bytes);
}

void volume_snapshot_draft_put(const struct volume_snapshot_draft *draft, struct writer *actions)
{
    struct writer bytes = {0};
    volume_snapshot_draft_encode(draft, &bytes);
    put_bytes(actions, DISK_OBJECT_VOLUME_SNAPSHOT, draft->id, &bytes);
}
