/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands on LUNs and snapshots: each decides under pool->management, becomes one record, and is
 * durable before it returns.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/map/change.h"
#include "lun/map/lineage.h"
#include "lun/pool/checkpoint.h"
#include "lun/pool/record.h"
#include "lun/volume/catalog.h"
#include "lun/volume/lun_internal.h"
#include "lun/volume/names.h"

/* ---- records of commands ------------------------------------------------------------------- */

/* What a PUT of a LUN or snapshot carries; begun from a present object or from nothing. */
struct lun_draft
{
    enum disk_object_kind kind;
    uint64_t id, lun_id, line_id;
    uint8_t uuid[16];
    uint64_t size_bytes, trim_end_bytes, created_ns;
    uint32_t sector_bytes;
    const char *name, *comment, *origin; /* name: the own one */
};

static const char *own_name(const struct lun_object *lun)
{
    const char *at = strchr(lun->name, '@');
    return at ? at + 1 : lun->name;
}

static struct lun_draft draft_of(const struct lun_object *lun)
{
    struct lun_draft draft = {.kind = lun->object.kind,
                              .id = lun->object.id,
                              .lun_id = lun->lun->object.id,
                              .line_id = lun->line->object.id,
                              .size_bytes = atomic_load(&lun->size_bytes),
                              .trim_end_bytes = lun->trim_end_bytes,
                              .created_ns = lun->created_ns,
                              .sector_bytes = lun->sector_bytes,
                              .name = own_name(lun),
                              .comment = lun->comment,
                              .origin = lun->origin};
    memcpy(draft.uuid, lun->uuid, sizeof(draft.uuid));
    return draft;
}

static struct lun_draft draft_new(struct pool *pool, enum disk_object_kind kind, const char *name)
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

static void draft_put(struct writer *writer, const struct lun_draft *draft)
{
    const char *comment = draft->comment ? draft->comment : "";
    const char *origin = draft->origin ? draft->origin : "";
    struct disk_lun disk = {.line_id = le64_put(draft->line_id),
                            .lun_id = le64_put(draft->lun_id),
                            .size_bytes = le64_put(draft->size_bytes),
                            .trim_end_bytes = le64_put(draft->trim_end_bytes),
                            .created_ns = le64_put(draft->created_ns),
                            .sector_bytes = le32_put(draft->sector_bytes),
                            .name_len = le16_put(strlen(draft->name)),
                            .comment_len = le16_put(strlen(comment)),
                            .origin_len = le16_put(strlen(origin))};
    memcpy(disk.uuid, draft->uuid, sizeof(disk.uuid));
    struct writer bytes = {0};
    writer_bytes(&bytes, &disk, sizeof(disk));
    writer_bytes(&bytes, draft->name, strlen(draft->name));
    writer_bytes(&bytes, comment, strlen(comment));
    writer_bytes(&bytes, origin, strlen(origin));
    if (bytes.failed)
        writer->failed = true;
    else
        action_put(writer, draft->kind, draft->id, bytes.bytes, bytes.len);
    writer_destroy(&bytes);
}

/* Carries the record out and makes it durable. With management held. */
static int command_run(struct pool *pool, struct lun_object *lun, struct writer *writer,
                       bool is_freeing, struct reason *why)
{
    if (writer->failed)
        return -ENOMEM;
    int r =
        change_run_waiting(pool, CHANGE_MANAGEMENT, lun, writer->bytes, writer->len, is_freeing);
    if (r == -EMSGSIZE)
        return reason_set(why, r,
                          "this is too much for one step: the pool's journal takes records of at "
                          "most %" PRIu64 " bytes, this one has %zu; do it in several commands",
                          pool->journal_half_blks * BLK_BYTES, writer->len);
    if (r == -ENOSPC)
        return reason_set(why, r,
                          "pool '%s' is full, no metadata can be added; 'lunette df' shows what "
                          "uses it, 'lunette pool grow' enlarges it",
                          pool->name);
    return r;
}

static int command_begin(struct pool *pool, struct reason *why)
{
    reason_clear(why);
    int r = pool_may_change(pool);
    if (r < 0)
        return reason_set(why, r, "pool '%s' takes no changes: it is %s", pool->name,
                          pool->is_read_only ? "opened read-only"
                                             : pool_health_name(atomic_load(&pool->health)));
    return 0;
}

static int lun_find(struct pool *pool, const char *name, struct lun_object **lun,
                    struct reason *why)
{
    *lun = catalog_find_lun(pool, name);
    if (*lun)
        return 0;
    return reason_set(why, -ENOENT,
                      strchr(name, '@')
                          ? "there is no snapshot '%s'; 'lunette snapshot show' lists them"
                          : "there is no LUN '%s'; 'lunette lun show' lists them",
                      name);
}

static int lun_find_kind(struct pool *pool, const char *name, enum disk_object_kind kind,
                         struct lun_object **lun, struct reason *why)
{
    int r = lun_find(pool, name, lun, why);
    if (r == 0 && (*lun)->object.kind != kind)
        r = reason_set(why, -EINVAL, "'%s' is a snapshot, not a LUN", name);
    return r;
}

static int name_is_free(struct pool *pool, const char *full, const char *what, struct reason *why)
{
    if (!catalog_find_lun(pool, full))
        return 0;
    return reason_set(why, -EEXIST, "a %s named '%s' is there already", what, full);
}

static int comment_check(const char *comment, struct reason *why)
{
    if (comment && strlen(comment) > LUN_COMMENT_MAX)
        return reason_set(why, -EINVAL, "a comment has at most %d bytes, this one %zu",
                          LUN_COMMENT_MAX, strlen(comment));
    return 0;
}

void lun_drain(struct lun_object *object, struct range *range)
{
    range_lock(object->ranges, range, 0, RANGE_ALL);
}

/* ---- create, delete ------------------------------------------------------------------------ */

static int lun_check_size(uint64_t size_bytes, uint32_t sector_bytes, struct reason *why)
{
    if (sector_bytes != 512 && sector_bytes != 4096)
        return reason_set(why, -EINVAL, "a sector has 512 or 4096 bytes, not %u", sector_bytes);
    if (size_bytes == 0 || size_bytes % sector_bytes != 0)
        return reason_set(why, -EINVAL,
                          "a size of %" PRIu64 " bytes is not a multiple of the sector size %u",
                          size_bytes, sector_bytes);
    if (size_bytes > LUN_SIZE_MAX_BYTES)
        return reason_set(why, -EINVAL, "%" PRIu64 " bytes are more than a LUN can have, 1 PiB",
                          size_bytes);
    return 0;
}

int lun_create(struct pool *pool, const struct lun_create_args *args, struct reason *why)
{
    int r = command_begin(pool, why);
    uint32_t sector = args->sector_bytes ? args->sector_bytes : 512;
    if (r == 0)
        r = name_check(args->name, "LUN", why);
    if (r == 0)
        r = lun_check_size(args->size_bytes, sector, why);
    if (r == 0)
        r = comment_check(args->comment, why);
    if (r < 0)
        return r;
    uint64_t id;
    {
        AUTO_LOCK(&pool->management);
        r = name_is_free(pool, args->name, "LUN", why);
        if (r < 0)
            return r;
        struct lun_draft draft = draft_new(pool, DISK_OBJECT_LUN, args->name);
        id = draft.id;
        draft.line_id = pool->next_id++;
        draft.size_bytes = args->size_bytes;
        draft.sector_bytes = sector;
        draft.comment = args->comment;
        AUTO_WRITER struct writer writer = {0};
        action_line_new(&writer, draft.line_id);
        draft_put(&writer, &draft);
        r = command_run(pool, NULL, &writer, false, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r < 0)
        return r;
    event_add(pool, "info", "lun.created", args->name, "LUN '%s' of %" PRIu64 " bytes created",
              args->name, args->size_bytes);
    pool_notify(pool, LUN_CHANGE_CREATED, id, args->name);
    return 0;
}

static int lun_check_idle(const struct lun_object *lun, const char *what, unsigned flags,
                          struct reason *why)
{
    uint32_t handles = atomic_load(&lun->open_handles);
    if (handles == 0 || (flags & LUN_FORCE))
        return 0;
    return reason_set(why, -EBUSY,
                      "'%s' is open by %u client%s; %s needs them to go first, or --force, which "
                      "gives them errors",
                      lun->name, handles, handles == 1 ? "" : "s", what);
}

/*
 * Reads of the snapshots that go with it hold no lock of ours: once each has been locked out,
 * nobody looks at their lines any more, and jobs, which wait for management, may free them.
 */
static int lun_delete_run(struct pool *pool, struct lun_object *lun, struct writer *writer,
                          struct reason *why)
{
    size_t count = 0;
    AUTO_FREE struct lun_object **snapshots =
        calloc(lun->snapshot_count + 1u, sizeof(struct lun_object *));
    if (!snapshots)
        return -ENOMEM;
    list_for_each (snapshot, &lun->snapshots, struct lun_object, lun_link)
    {
        lun_object_get(pool, snapshot);
        snapshots[count++] = snapshot;
    }
    lun_object_get(pool, lun);
    struct range all;
    lun_drain(lun, &all);
    int r = command_run(pool, lun, writer, true, why);
    range_unlock(&all);
    for (size_t i = 0; i < count; i++)
    {
        rwlock_take_exclusive(&snapshots[i]->map_lock);
        rwlock_release(&snapshots[i]->map_lock);
        lun_object_put(pool, snapshots[i]);
    }
    lun_object_put(pool, lun);
    return r;
}

static int lun_delete_locked(struct pool *pool, const char *name, bool with_snapshots,
                             unsigned flags, uint64_t *id, struct reason *why)
{
    struct lun_object *lun;
    int r = lun_find_kind(pool, name, DISK_OBJECT_LUN, &lun, why);
    if (r == 0)
        r = lun_check_idle(lun, "deleting it", flags, why);
    if (r < 0)
        return r;
    if (lun->snapshot_count > 0 && !with_snapshots)
        return reason_set(why, -EBUSY,
                          "LUN '%s' has %u snapshot%s; 'lunette lun delete %s --with-snapshots' "
                          "deletes them too",
                          name, lun->snapshot_count, lun->snapshot_count == 1 ? "" : "s", name);
    AUTO_WRITER struct writer writer = {0};
    list_for_each (snapshot, &lun->snapshots, struct lun_object, lun_link)
    {
        r = lun_check_idle(snapshot, "deleting it", flags, why);
        if (r < 0)
            return r;
        action_delete(&writer, snapshot->object.id);
    }
    *id = lun->object.id;
    action_dying(&writer, lun->line->object.id);
    action_delete(&writer, lun->object.id);
    return lun_delete_run(pool, lun, &writer, why);
}

int lun_delete(struct pool *pool, const char *name, bool with_snapshots, unsigned flags,
               struct reason *why)
{
    int r = command_begin(pool, why);
    if (r < 0)
        return r;
    uint64_t id = 0;
    {
        AUTO_LOCK(&pool->management);
        r = lun_delete_locked(pool, name, with_snapshots, flags, &id, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r < 0)
        return r;
    event_add(pool, "info", "lun.deleted", name, "LUN '%s' deleted", name);
    pool_notify(pool, LUN_CHANGE_DELETED, id, name);
    return 0;
}

/* ---- clone --------------------------------------------------------------------------------- */

static int clone_check_names(struct pool *pool, const struct lun_clone_args *args, uint32_t count,
                             struct reason *why)
{
    char name[LUN_NAME_MAX + 1];
    if (count <= 1)
    {
        int r = name_check(args->name, "LUN", why);
        return r < 0 ? r : name_is_free(pool, args->name, "LUN", why);
    }
    for (uint32_t i = 0; i < count; i++)
    {
        int r = name_from_template(name, sizeof(name), args->name, args->first_number + i, why);
        if (r == 0)
            r = name_is_free(pool, name, "LUN", why);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The point that clones of @source stand on: a snapshot's, or the LUN's present state. */
static uint64_t clone_point(struct pool *pool, const struct lun_object *source,
                            struct writer *writer)
{
    struct line *line = source->line;
    if (source->object.kind == DISK_OBJECT_SNAPSHOT)
        return line->object.id;
    if (lineage_is_unchanged(line))
        return line->predecessor->object.id;
    action_freeze(writer, line->object.id, pool->next_id++);
    return line->object.id;
}

static int clone_write_record(struct pool *pool, const struct lun_clone_args *args, uint32_t count,
                              const struct lun_object *source, struct writer *writer)
{
    uint64_t point_id = clone_point(pool, source, writer);
    for (uint32_t i = 0; i < count; i++)
    {
        char name[LUN_NAME_MAX + 1];
        const char *clone_name = args->name;
        if (args->count > 1)
        {
            int r =
                name_from_template(name, sizeof(name), args->name, args->first_number + i, NULL);
            if (r < 0)
                return r;
            clone_name = name;
        }
        struct lun_draft draft = draft_new(pool, DISK_OBJECT_LUN, clone_name);
        draft.line_id = pool->next_id++;
        draft.size_bytes = atomic_load(&source->size_bytes);
        draft.sector_bytes = source->sector_bytes;
        draft.comment = args->comment;
        draft.origin = source->name;
        action_head(writer, draft.line_id, point_id);
        draft_put(writer, &draft);
    }
    return 0;
}

static int lun_clone_locked(struct pool *pool, const struct lun_clone_args *args, uint32_t count,
                            struct reason *why)
{
    struct lun_object *source;
    int r = lun_find(pool, args->source, &source, why);
    if (r == 0)
        r = clone_check_names(pool, args, count, why);
    if (r == 0)
        r = lun_trim_tail(pool, source->lun);
    if (r < 0)
        return r;
    bool is_lun = source->object.kind == DISK_OBJECT_LUN;
    AUTO_WRITER struct writer writer = {0};
    struct range all;
    if (is_lun)
        lun_drain(source, &all);
    r = clone_write_record(pool, args, count, source, &writer);
    if (r == 0)
        r = command_run(pool, is_lun ? source : NULL, &writer, false, why);
    if (is_lun)
        range_unlock(&all);
    return r;
}

int lun_clone(struct pool *pool, const struct lun_clone_args *args, struct reason *why)
{
    int r = command_begin(pool, why);
    uint32_t count = args->count > 1 ? args->count : 1;
    if (r == 0)
        r = comment_check(args->comment, why);
    if (r == 0 && count > LUN_CLONES_AT_ONCE_MAX)
        r = reason_set(why, -EINVAL, "one command makes at most %d clones, not %u",
                       LUN_CLONES_AT_ONCE_MAX, count);
    if (r < 0)
        return r;
    {
        AUTO_LOCK(&pool->management);
        r = lun_clone_locked(pool, args, count, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r < 0)
        return r;
    event_add(pool, "info", "lun.cloned", args->source, "%u clone%s '%s' of '%s' made", count,
              count == 1 ? "" : "s", args->name, args->source);
    pool_notify(pool, LUN_CHANGE_CREATED, 0, args->name);
    return 0;
}

/* ---- rename, resize, comment --------------------------------------------------------------- */

/* Puts a changed draft of @lun and makes it durable. */
static int lun_put_draft(struct pool *pool, struct lun_object *lun, const struct lun_draft *draft,
                         struct reason *why)
{
    AUTO_WRITER struct writer writer = {0};
    draft_put(&writer, draft);
    return command_run(pool, lun, &writer, true, why);
}

int lun_rename(struct pool *pool, const char *name, const char *new_name, struct reason *why)
{
    int r = command_begin(pool, why);
    if (r == 0)
        r = name_check(new_name, "LUN", why);
    if (r < 0)
        return r;
    uint64_t id = 0;
    {
        AUTO_LOCK(&pool->management);
        struct lun_object *lun;
        r = lun_find_kind(pool, name, DISK_OBJECT_LUN, &lun, why);
        if (r == 0)
            r = name_is_free(pool, new_name, "LUN", why);
        if (r < 0)
            return r;
        id = lun->object.id;
        struct lun_draft draft = draft_of(lun);
        draft.name = new_name;
        r = lun_put_draft(pool, lun, &draft, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r < 0)
        return r;
    event_add(pool, "info", "lun.renamed", new_name, "LUN '%s' is now '%s'", name, new_name);
    pool_notify(pool, LUN_CHANGE_RENAMED, id, new_name);
    return 0;
}

int lun_set_comment(struct pool *pool, const char *name, const char *comment, struct reason *why)
{
    int r = command_begin(pool, why);
    if (r == 0)
        r = comment_check(comment, why);
    if (r < 0)
        return r;
    {
        AUTO_LOCK(&pool->management);
        struct lun_object *lun;
        r = lun_find(pool, name, &lun, why);
        if (r < 0)
            return r;
        struct lun_draft draft = draft_of(lun);
        draft.comment = comment;
        r = lun_put_draft(pool, lun, &draft, why);
    }
    return r < 0 ? r : journal_commit(pool->journal);
}

int lun_trim_tail_step(struct pool *pool, struct lun_object *object, unsigned *tries)
{
    uint64_t end_bytes = object->trim_end_bytes;
    if (end_bytes == 0)
        return 0;
    uint64_t first = div_round_up(atomic_load(&object->size_bytes), BLK_BYTES);
    uint64_t end = div_round_up(end_bytes, BLK_BYTES), stop = first;
    int r = 0;
    /* From the front on: what is unmapped is skipped at once the next time. */
    for (unsigned i = 0; i < 64 && r == 0 && stop < end; i++)
        r = io_unmap_blks(pool, object, stop, end, &stop);
    if (checkpoint_may_retry(r))
    {
        r = checkpoint_retry(pool, r, tries);
        return r < 0 ? r : 1;
    }
    if (r < 0 || stop < end)
        return r < 0 ? r : 1;
    struct lun_draft draft = draft_of(object);
    draft.trim_end_bytes = 0;
    r = lun_put_draft(pool, object, &draft, NULL);
    return r < 0 ? r : 1;
}

int lun_trim_tail(struct pool *pool, struct lun_object *object)
{
    unsigned tries = CHECKPOINT_TRIES;
    int r;
    do
        r = lun_trim_tail_step(pool, object, &tries);
    while (r > 0);
    return r;
}

/* The record: the block that the LUN will end in, and the size. With the LUN drained. */
static int lun_shrink_drained(struct pool *pool, struct lun_object *lun, uint64_t size_bytes,
                              struct reason *why)
{
    AUTO_WRITER struct writer writer = {0};
    int r = io_cut_block(pool, lun, size_bytes, &writer);
    if (checkpoint_may_retry(r))
    {
        r = checkpoint_wait(pool);
        if (r == 0)
            r = io_cut_block(pool, lun, size_bytes, &writer);
    }
    if (r < 0)
        return reason_set(why, r, "the last block of LUN '%s' cannot be rewritten: %s", lun->name,
                          strerror(-r));
    size_t cut_len = writer.len;
    struct lun_draft draft = draft_of(lun);
    draft.size_bytes = size_bytes;
    draft.trim_end_bytes = max_u64(atomic_load(&lun->size_bytes), lun->trim_end_bytes);
    draft_put(&writer, &draft);
    r = command_run(pool, lun, &writer, true, why);
    if (r < 0)
        ignore_error(record_each_block(writer.bytes, cut_len, space_cancel_cb, pool->space),
                     "we made the record ourselves");
    return r;
}

/* Cuts the LUN short: size first, then the tail, so that a crash leaves work, not old data. */
static int lun_shrink_locked(struct pool *pool, struct lun_object *lun, uint64_t size_bytes,
                             struct reason *why)
{
    struct range all;
    lun_drain(lun, &all);
    int r = lun_shrink_drained(pool, lun, size_bytes, why);
    range_unlock(&all);
    if (r < 0)
        return r;
    atomic_store(&pool->job_trims, true);
    /* The LUN is short from here on. What cannot be unmapped now is unmapped by the job. */
    ignore_error(lun_trim_tail(pool, lun), "the job tries again");
    return 0;
}

static int lun_resize_locked(struct pool *pool, struct lun_object *lun, uint64_t size_bytes,
                             unsigned flags, struct reason *why)
{
    uint64_t old_bytes = atomic_load(&lun->size_bytes);
    int r = lun_check_size(size_bytes, lun->sector_bytes, why);
    if (r < 0 || size_bytes == old_bytes)
        return r;
    if (size_bytes < old_bytes && !(flags & LUN_FORCE))
        return reason_set(why, -EPERM,
                          "shrinking LUN '%s' from %" PRIu64 " to %" PRIu64
                          " bytes would cut off data beyond; --force does it",
                          lun->name, old_bytes, size_bytes);
    if (size_bytes < old_bytes)
        return lun_shrink_locked(pool, lun, size_bytes, why);
    r = lun_trim_tail(pool, lun);
    if (r < 0)
        return r;
    struct lun_draft draft = draft_of(lun);
    draft.size_bytes = size_bytes;
    return lun_put_draft(pool, lun, &draft, why);
}

int lun_resize(struct pool *pool, const char *name, uint64_t size_bytes, unsigned flags,
               struct reason *why)
{
    int r = command_begin(pool, why);
    if (r < 0)
        return r;
    uint64_t id = 0;
    {
        AUTO_LOCK(&pool->management);
        struct lun_object *lun;
        r = lun_find_kind(pool, name, DISK_OBJECT_LUN, &lun, why);
        if (r < 0)
            return r;
        id = lun->object.id;
        r = lun_resize_locked(pool, lun, size_bytes, flags, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r < 0)
        return r;
    event_add(pool, "info", "lun.resized", name, "LUN '%s' has %" PRIu64 " bytes now", name,
              size_bytes);
    pool_notify(pool, LUN_CHANGE_RESIZED, id, name);
    return 0;
}

/* ---- snapshots ----------------------------------------------------------------------------- */

static int snapshot_create_locked(struct pool *pool, const char *lun_name, const char *snapshot,
                                  const char *full, const char *comment, struct reason *why)
{
    struct lun_object *lun;
    int r = lun_find_kind(pool, lun_name, DISK_OBJECT_LUN, &lun, why);
    if (r == 0)
        r = name_is_free(pool, full, "snapshot", why);
    if (r == 0)
        r = lun_trim_tail(pool, lun);
    if (r < 0)
        return r;
    AUTO_WRITER struct writer writer = {0};
    struct range all;
    lun_drain(lun, &all);
    struct lun_draft draft = draft_new(pool, DISK_OBJECT_SNAPSHOT, snapshot);
    draft.line_id = clone_point(pool, lun, &writer);
    draft.lun_id = lun->object.id;
    draft.size_bytes = atomic_load(&lun->size_bytes);
    draft.sector_bytes = lun->sector_bytes;
    draft.comment = comment;
    draft_put(&writer, &draft);
    r = command_run(pool, lun, &writer, false, why);
    range_unlock(&all);
    return r;
}

int snapshot_create(struct pool *pool, const char *lun_name, const char *snapshot,
                    const char *comment, struct reason *why)
{
    char full[2 * LUN_NAME_MAX + 2];
    int r = command_begin(pool, why);
    if (r == 0)
        r = name_join(full, sizeof(full), lun_name, snapshot, why);
    if (r == 0)
        r = comment_check(comment, why);
    if (r < 0)
        return r;
    {
        AUTO_LOCK(&pool->management);
        r = snapshot_create_locked(pool, lun_name, snapshot, full, comment, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r == 0)
        event_add(pool, "info", "snapshot.created", full, "snapshot '%s' made", full);
    return r;
}

static int snapshot_find(struct pool *pool, const char *lun_name, const char *snapshot,
                         struct lun_object **object, struct reason *why)
{
    char full[2 * LUN_NAME_MAX + 2];
    int r = name_join(full, sizeof(full), lun_name, snapshot, why);
    return r < 0 ? r : lun_find(pool, full, object, why);
}

int snapshot_delete(struct pool *pool, const char *lun_name, const char *snapshot, unsigned flags,
                    struct reason *why)
{
    int r = command_begin(pool, why);
    if (r < 0)
        return r;
    char full[2 * LUN_NAME_MAX + 2];
    {
        AUTO_LOCK(&pool->management);
        struct lun_object *object;
        r = snapshot_find(pool, lun_name, snapshot, &object, why);
        if (r == 0)
            r = lun_check_idle(object, "deleting it", flags, why);
        if (r < 0)
            return r;
        snprintf(full, sizeof(full), "%s", object->name);
        AUTO_WRITER struct writer writer = {0};
        action_delete(&writer, object->object.id);
        lun_object_get(pool, object);
        struct range all;
        lun_drain(object, &all);
        r = command_run(pool, object, &writer, true, why);
        range_unlock(&all);
        lun_object_put(pool, object);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r == 0)
        event_add(pool, "info", "snapshot.deleted", full, "snapshot '%s' deleted", full);
    return r;
}

int snapshot_rename(struct pool *pool, const char *lun_name, const char *snapshot,
                    const char *new_snapshot, struct reason *why)
{
    char full[2 * LUN_NAME_MAX + 2];
    int r = command_begin(pool, why);
    if (r == 0)
        r = name_join(full, sizeof(full), lun_name, new_snapshot, why);
    if (r < 0)
        return r;
    {
        AUTO_LOCK(&pool->management);
        struct lun_object *object;
        r = snapshot_find(pool, lun_name, snapshot, &object, why);
        if (r == 0)
            r = name_is_free(pool, full, "snapshot", why);
        if (r < 0)
            return r;
        struct lun_draft draft = draft_of(object);
        draft.name = new_snapshot;
        r = lun_put_draft(pool, object, &draft, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r == 0)
        event_add(pool, "info", "snapshot.renamed", full, "snapshot '%s@%s' is now '%s'", lun_name,
                  snapshot, full);
    return r;
}

static int snapshot_restore_locked(struct pool *pool, const char *lun_name, const char *snapshot,
                                   unsigned flags, uint64_t *id, struct reason *why)
{
    struct lun_object *object, *lun;
    int r = snapshot_find(pool, lun_name, snapshot, &object, why);
    if (r < 0)
        return r;
    lun = object->lun;
    *id = lun->object.id;
    uint32_t handles = atomic_load(&lun->open_handles);
    if (handles > 0 && !(flags & LUN_FORCE))
        return reason_set(why, -EBUSY,
                          "LUN '%s' is open by %u client%s, whose caches would not notice that its "
                          "content changes; detach them, or use --force",
                          lun->name, handles, handles == 1 ? "" : "s");
    r = lun_trim_tail(pool, lun);
    if (r < 0)
        return r;
    AUTO_WRITER struct writer writer = {0};
    struct range all;
    lun_drain(lun, &all);
    struct lun_draft draft = draft_of(lun);
    draft.line_id = pool->next_id++;
    draft.size_bytes = atomic_load(&object->size_bytes);
    action_head(&writer, draft.line_id, object->line->object.id);
    action_dying(&writer, lun->line->object.id);
    draft_put(&writer, &draft);
    r = command_run(pool, lun, &writer, false, why);
    range_unlock(&all);
    return r;
}

int snapshot_restore(struct pool *pool, const char *lun_name, const char *snapshot, unsigned flags,
                     struct reason *why)
{
    int r = command_begin(pool, why);
    if (r < 0)
        return r;
    uint64_t id = 0;
    {
        AUTO_LOCK(&pool->management);
        r = snapshot_restore_locked(pool, lun_name, snapshot, flags, &id, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r < 0)
        return r;
    event_add(pool, "info", "lun.restored", lun_name, "LUN '%s' restored from snapshot '%s'",
              lun_name, snapshot);
    pool_notify(pool, LUN_CHANGE_RESTORED, id, lun_name);
    return 0;
}
