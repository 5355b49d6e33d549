/* SPDX-License-Identifier: BSD-3-Clause */
/* Volumes, qtrees and volume snapshots of the catalog. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/pool/pool_internal.h"
#include "lun/volume/catalog_internal.h"
#include "lun/volume/draft.h"
#include "lun/volume/ledger.h"
#include "lun/volume/names.h"

enum
{
    FULL_NAME_BYTES = 2 * LUN_NAME_MAX + 2
};

/* "VOLUME/OWN" or "VOLUME@OWN". */
static int name_below(const char *volume, char between, struct text own, char *full, size_t max)
{
    if (strlen(volume) + 1 + own.len > max)
        return -EBADMSG;
    snprintf(full, FULL_NAME_BYTES, "%s%c%.*s", volume, between, (int)own.len, own.bytes);
    return 0;
}

static struct text text_of_string(const char *string)
{
    return (struct text){.bytes = string, .len = strlen(string)};
}

/* ---- volumes ------------------------------------------------------------------------------- */

void catalog_free_volume(struct volume_object *volume)
{
    free(volume->name);
    free(volume->comment);
    free(volume);
}

static struct volume_object *volume_alloc(struct pool *pool, uint64_t id)
{
    struct volume_object *volume = calloc(1, sizeof(*volume));
    if (!volume)
        return NULL;
    catalog_object_init(pool, &volume->object, DISK_OBJECT_VOLUME, id);
    list_init(&volume->luns);
    list_init(&volume->deleted);
    list_init(&volume->qtrees);
    list_init(&volume->snapshots);
    list_init(&volume->lines);
    list_init(&volume->clone_link);
    list_add_tail(&pool->volumes, &volume->all_link);
    pool->volume_count++;
    return volume;
}

static int qtree_set_name(struct pool *pool, struct qtree_object *qtree, struct text own)
{
    char full[FULL_NAME_BYTES];
    int r = name_below(qtree->volume->name, '/', own, full, LUN_NAME_MAX - 2);
    if (r == 0 && qtree->snapshot)
        return catalog_string_set(&qtree->name, full, strlen(full));
    struct qtree_object *other = r == 0 ? catalog_find_qtree(pool, full) : NULL;
    if (r < 0 || (other && other != qtree))
        return -EBADMSG;
    return catalog_name_set(&pool->qtrees_by_name, &qtree->by_name, &qtree->name, full);
}

static int snapshot_set_name(struct pool *pool, struct volume_snapshot_object *snapshot,
                             struct text own)
{
    char full[FULL_NAME_BYTES];
    int r = name_below(snapshot->volume->name, '@', own, full, FULL_NAME_BYTES - 1);
    struct volume_snapshot_object *other = r == 0 ? catalog_find_volume_snapshot(pool, full) : NULL;
    if (r < 0 || (other && other != snapshot))
        return -EBADMSG;
    return catalog_name_set(&pool->volume_snapshots_by_name, &snapshot->by_name, &snapshot->name,
                            full);
}

/* A volume was renamed: so is all that is in it. Qtrees first: LUNs are named after them. */
static int volume_rename_contents(struct pool *pool, struct volume_object *volume)
{
    int r = 0;
    list_for_each (qtree, &volume->qtrees, struct qtree_object, volume_link)
        r = keep_first(r, qtree_set_name(pool, qtree, text_of_string(name_own(qtree->name))));
    list_for_each (snapshot, &volume->snapshots, struct volume_snapshot_object, volume_link)
    {
        r = keep_first(r,
                       snapshot_set_name(pool, snapshot, text_of_string(name_own(snapshot->name))));
        list_for_each (qtree, &snapshot->qtrees, struct qtree_object, volume_link)
            r = keep_first(r, qtree_set_name(pool, qtree, text_of_string(name_own(qtree->name))));
    }
    list_for_each (lun, &volume->luns, struct lun_object, volume_link)
        r = keep_first(r, catalog_rename_lun(pool, lun, name_own(lun->name)));
    list_for_each (lun, &volume->deleted, struct lun_object, volume_link)
        r = keep_first(r, catalog_rename_lun(pool, lun, name_own(lun->name)));
    return r;
}

static int volume_set_name(struct pool *pool, struct volume_object *volume, struct text own)
{
    char name[LUN_NAME_MAX + 1];
    snprintf(name, sizeof(name), "%.*s", (int)own.len, own.bytes);
    struct volume_object *other = catalog_find_volume(pool, name);
    if (other == volume)
        return 0;
    if (other)
        return -EBADMSG;
    int r = catalog_name_set(&pool->volumes_by_name, &volume->by_name, &volume->name, name);
    return r < 0 ? r : volume_rename_contents(pool, volume);
}

static int volume_set_parent(struct pool *pool, struct volume_object *volume, uint64_t id)
{
    struct volume_snapshot_object *parent =
        id ? catalog_find_volume_snapshot_by_id(pool, id) : NULL;
    if (id && (!parent || parent->volume == volume))
        return -EBADMSG;
    if (volume->parent == parent)
        return 0;
    if (volume->parent)
    {
        list_remove(&volume->clone_link);
        volume->parent->clone_count--;
    }
    volume->parent = parent;
    if (parent)
    {
        list_add_tail(&parent->clones, &volume->clone_link);
        parent->clone_count++;
    }
    return 0;
}

int catalog_put_volume(struct pool *pool, uint64_t id, struct reader *reader)
{
    const struct disk_volume *disk = reader_bytes(reader, sizeof(*disk));
    if (!disk)
        return -EBADMSG;
    struct text name = catalog_read_text(reader, le16_get(disk->name_len), LUN_NAME_MAX - 2, true);
    struct text comment =
        catalog_read_text(reader, le16_get(disk->comment_len), LUN_COMMENT_MAX, false);
    struct object *object = catalog_find_any(pool, id);
    if (reader->failed || (object && object->kind != DISK_OBJECT_VOLUME))
        return -EBADMSG;
    struct volume_object *volume =
        object ? container_of(object, struct volume_object, object) : volume_alloc(pool, id);
    if (!volume)
        return -ENOMEM;
    memcpy(volume->uuid, disk->uuid, sizeof(volume->uuid));
    volume->size_bytes = le64_get(disk->size_bytes);
    volume->created_ns = le64_get(disk->created_ns);
    volume->locked_until_ns = le64_get(disk->locked_until_ns);
    volume->flags = le32_get(disk->flags);
    volume->pause_ms = le32_get(disk->pause_ms);
    volume->parent_snapshot_id = le64_get(disk->parent_snapshot_id);
    int r = volume_set_name(pool, volume, name);
    r = keep_first(r, catalog_string_set(&volume->comment, comment.bytes, comment.len));
    if (!pool->is_loading) /* catalog_join_volumes() does it when all are there */
        r = keep_first(r, volume_set_parent(pool, volume, volume->parent_snapshot_id));
    ledger_volume(pool, volume);
    if (r == 0)
        catalog_object_settle(pool, &volume->object);
    return r;
}

/* A clone's ancestors end with one that is not a clone, else whoever follows them would hang. */
static bool volume_has_end(const struct pool *pool, const struct volume_object *volume)
{
    uint64_t steps = 0;
    for (const struct volume_object *at = volume; at->parent; at = at->parent->volume)
    {
        if (++steps > pool->volume_count)
            return false;
    }
    return true;
}

int catalog_join_volumes(struct pool *pool)
{
    list_for_each (volume, &pool->volumes, struct volume_object, all_link)
    {
        int r = volume_set_parent(pool, volume, volume->parent_snapshot_id);
        if (r < 0)
            return r;
    }
    list_for_each (volume, &pool->volumes, struct volume_object, all_link)
    {
        if (!volume_has_end(pool, volume))
            return -EBADMSG;
    }
    return 0;
}

void catalog_forget_volume(struct pool *pool, struct volume_object *volume)
{
    hash_remove(&pool->volumes_by_name, &volume->by_name);
    list_remove(&volume->all_link);
    pool->volume_count--;
    ignore_error(volume_set_parent(pool, volume, 0), "none can always be");
    list_for_each_safe (line, &volume->lines, struct line, volume_link)
        catalog_set_line_volume(pool, line, NULL);
    ledger_forget_volume(pool, volume);
    catalog_free_volume(volume);
}

/* ---- qtrees -------------------------------------------------------------------------------- */

void catalog_free_qtree(struct qtree_object *qtree)
{
    free(qtree->name);
    free(qtree->comment);
    free(qtree);
}

static struct qtree_object *qtree_alloc(struct pool *pool, uint64_t id,
                                        struct volume_object *volume,
                                        struct volume_snapshot_object *snapshot)
{
    struct qtree_object *qtree = calloc(1, sizeof(*qtree));
    if (!qtree)
        return NULL;
    catalog_object_init(pool, &qtree->object, DISK_OBJECT_QTREE, id);
    list_init(&qtree->luns);
    qtree->volume = volume;
    qtree->snapshot = snapshot;
    list_add_tail(snapshot ? &snapshot->qtrees : &volume->qtrees, &qtree->volume_link);
    ++*(snapshot ? &snapshot->qtree_count : &volume->qtree_count);
    return qtree;
}

static bool qtree_fits_set(const struct volume_object *volume,
                           const struct volume_snapshot_object *set)
{
    return set && set->volume == volume && (set->flags & DISK_VOLUME_SNAPSHOT_PLACED);
}

int catalog_put_qtree(struct pool *pool, uint64_t id, struct reader *reader)
{
    const struct disk_qtree *disk = reader_bytes(reader, sizeof(*disk));
    if (!disk)
        return -EBADMSG;
    struct text name = catalog_read_text(reader, le16_get(disk->name_len), LUN_NAME_MAX, true);
    struct text comment =
        catalog_read_text(reader, le16_get(disk->comment_len), LUN_COMMENT_MAX, false);
    uint64_t set_id = reader_left(reader) > 0 ? reader_le64(reader) : 0;
    struct volume_object *volume = catalog_find_volume_by_id(pool, le64_get(disk->volume_id));
    struct volume_snapshot_object *set = catalog_find_volume_snapshot_by_id(pool, set_id);
    struct object *object = catalog_find_any(pool, id);
    if (reader->failed || !volume || (object && object->kind != DISK_OBJECT_QTREE) ||
        (set_id && !qtree_fits_set(volume, set)))
        return -EBADMSG;
    struct qtree_object *qtree = object ? container_of(object, struct qtree_object, object)
                                        : qtree_alloc(pool, id, volume, set);
    if (!qtree)
        return -ENOMEM;
    if (qtree->volume != volume || qtree->snapshot != set)
        return -EBADMSG;
    qtree->created_ns = le64_get(disk->created_ns);
    int r = qtree_set_name(pool, qtree, name);
    r = keep_first(r, catalog_string_set(&qtree->comment, comment.bytes, comment.len));
    list_for_each (lun, &qtree->luns, struct lun_object, qtree_link)
        r = keep_first(r, catalog_rename_lun(pool, lun, name_own(lun->name)));
    if (r == 0)
        catalog_object_settle(pool, &qtree->object);
    return r;
}

void catalog_forget_qtree(struct pool *pool, struct qtree_object *qtree)
{
    struct volume_snapshot_object *set = qtree->snapshot;
    if (!set)
        hash_remove(&pool->qtrees_by_name, &qtree->by_name);
    list_remove(&qtree->volume_link);
    --*(set ? &set->qtree_count : &qtree->volume->qtree_count);
    catalog_free_qtree(qtree);
}

/* ---- volume snapshots ---------------------------------------------------------------------- */

void catalog_free_volume_snapshot(struct volume_snapshot_object *snapshot)
{
    free(snapshot->name);
    free(snapshot->comment);
    free(snapshot);
}

static struct volume_snapshot_object *snapshot_alloc(struct pool *pool, uint64_t id,
                                                     struct volume_object *volume)
{
    struct volume_snapshot_object *snapshot = calloc(1, sizeof(*snapshot));
    if (!snapshot)
        return NULL;
    catalog_object_init(pool, &snapshot->object, DISK_OBJECT_VOLUME_SNAPSHOT, id);
    list_init(&snapshot->members);
    list_init(&snapshot->qtrees);
    list_init(&snapshot->clones);
    snapshot->volume = volume;
    /* Oldest first; at open they come in the order of their slots. */
    struct list *before = volume->snapshots.prev;
    while (before != &volume->snapshots &&
           container_of(before, struct volume_snapshot_object, volume_link)->object.id > id)
        before = before->prev;
    list_insert_between(&snapshot->volume_link, before, before->next);
    volume->snapshot_count++;
    return snapshot;
}

int catalog_put_volume_snapshot(struct pool *pool, uint64_t id, struct reader *reader)
{
    const struct disk_volume_snapshot *disk = reader_bytes(reader, sizeof(*disk));
    if (!disk)
        return -EBADMSG;
    struct text name = catalog_read_text(reader, le16_get(disk->name_len), LUN_NAME_MAX, true);
    struct text comment =
        catalog_read_text(reader, le16_get(disk->comment_len), LUN_COMMENT_MAX, false);
    struct volume_object *volume = catalog_find_volume_by_id(pool, le64_get(disk->volume_id));
    struct object *object = catalog_find_any(pool, id);
    if (reader->failed || !volume || (object && object->kind != DISK_OBJECT_VOLUME_SNAPSHOT))
        return -EBADMSG;
    struct volume_snapshot_object *snapshot =
        object ? container_of(object, struct volume_snapshot_object, object)
               : snapshot_alloc(pool, id, volume);
    if (!snapshot)
        return -ENOMEM;
    if (snapshot->volume != volume)
        return -EBADMSG;
    snapshot->created_ns = le64_get(disk->created_ns);
    snapshot->locked_until_ns = le64_get(disk->locked_until_ns);
    snapshot->flags = le32_get(disk->flags);
    int r = snapshot_set_name(pool, snapshot, name);
    r = keep_first(r, catalog_string_set(&snapshot->comment, comment.bytes, comment.len));
    if (r == 0)
        catalog_object_settle(pool, &snapshot->object);
    return r;
}

void catalog_forget_volume_snapshot(struct pool *pool, struct volume_snapshot_object *snapshot)
{
    list_for_each_safe (qtree, &snapshot->qtrees, struct qtree_object, volume_link)
        catalog_delete(pool, &qtree->object);
    hash_remove(&pool->volume_snapshots_by_name, &snapshot->by_name);
    list_remove(&snapshot->volume_link);
    snapshot->volume->snapshot_count--;
    catalog_free_volume_snapshot(snapshot);
}
