/* SPDX-License-Identifier: BSD-3-Clause */
/* LUNs and snapshots of the catalog. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/invariant.h"
#include "lun/map/range.h"
#include "lun/pool/pool_internal.h"
#include "lun/volume/catalog_internal.h"
#include "lun/volume/ledger.h"
#include "lun/volume/names.h"
#include "lun/volume/verify.h"

/* ---- objects ------------------------------------------------------------------------------- */

void catalog_free_lun(struct lun_object *lun)
{
    lock_destroy(&lun->map_lock);
    memo_destroy(&lun->memo);
    range_table_destroy(lun->ranges);
    free(lun->name);
    free(lun->comment);
    free(lun->origin);
    free(lun->owner);
    free(lun->group);
    free(lun);
}

void lun_object_get(struct pool *pool, struct lun_object *lun)
{
    AUTO_LOCK(&pool->handle_lock);
    lun->references++;
}

void lun_object_put(struct pool *pool, struct lun_object *lun)
{
    {
        AUTO_LOCK(&pool->handle_lock);
        if (--lun->references > 0)
            return;
    }
    catalog_free_lun(lun);
}

static struct lun_object *lun_alloc(struct pool *pool, enum disk_object_kind kind, uint64_t id)
{
    struct lun_object *lun = calloc(1, sizeof(*lun));
    struct range_table *ranges = range_table_create();
    if (!lun || !ranges)
    {
        free(lun);
        range_table_destroy(ranges);
        return NULL;
    }
    catalog_object_init(pool, &lun->object, kind, id);
    lock_init(&lun->map_lock, LOCK_RANK_MAP);
    lun->ranges = ranges;
    lun->references = 1;
    list_init(&lun->all_link);
    list_init(&lun->snapshots);
    list_init(&lun->lun_link);
    list_init(&lun->point_link);
    list_init(&lun->volume_link);
    list_init(&lun->qtree_link);
    list_init(&lun->member_link);
    if (kind == DISK_OBJECT_LUN)
    {
        lun->lun = lun;
        list_add_tail(&pool->luns, &lun->all_link);
        pool->lun_count++;
    }
    else
    {
        pool->snapshot_count++;
    }
    return lun;
}

/* ---- names --------------------------------------------------------------------------------- */

/* The path of a LUN in @volume and @qtree, NULL where it is in none. */
static int lun_compose_path(const struct volume_object *volume, const struct qtree_object *qtree,
                            const char *own, char path[LUN_NAME_MAX + 1])
{
    const char *above = qtree ? qtree->name : volume ? volume->name : "";
    int len = snprintf(path, LUN_NAME_MAX + 1, "%s%s%s", above, *above ? "/" : "", own);
    return len > LUN_NAME_MAX ? -EBADMSG : 0;
}

/* The full name, from what the LUN is in. */
static int lun_set_name(struct pool *pool, struct lun_object *lun, const char *own,
                        bool *is_changed)
{
    char full[2 * LUN_NAME_MAX + 2], path[LUN_NAME_MAX + 1];
    bool is_snapshot = lun->object.kind == DISK_OBJECT_SNAPSHOT, is_placed = lun_is_placed(lun);
    int r = 0;
    if (!is_snapshot || is_placed)
        r = lun_compose_path(lun->lun->volume, lun->qtree, is_placed ? lun->origin : own, path);
    if (r < 0)
        return r;
    if (is_snapshot)
        snprintf(full, sizeof(full), "%s@%s", is_placed ? path : lun->lun->name, own);
    else
        snprintf(full, sizeof(full), "%s", path);
    *is_changed = !lun->name || strcmp(lun->name, full) != 0;
    if (!*is_changed)
        return 0;
    if (lun->is_deleted)
        return catalog_string_set(&lun->name, full, strlen(full));
    struct lun_object *other = catalog_find_lun(pool, full);
    if (other && other != lun)
        return -EBADMSG;
    return catalog_name_set(&pool->luns_by_name, &lun->by_name, &lun->name, full);
}

int catalog_rename_lun(struct pool *pool, struct lun_object *lun, const char *own)
{
    bool is_changed;
    int r = lun_set_name(pool, lun, own, &is_changed);
    if (r < 0 || !is_changed)
        return r;
    list_for_each (snapshot, &lun->snapshots, struct lun_object, lun_link)
        r = keep_first(r, lun_set_name(pool, snapshot, name_own(snapshot->name), &is_changed));
    return r;
}

/* ---- places -------------------------------------------------------------------------------- */

/* Puts the LUN or snapshot on @line, off the one it was on. */
static void lun_set_line(struct pool *pool, struct lun_object *lun, struct line *line)
{
    if (lun->line == line)
        return;
    if (lun->object.kind == DISK_OBJECT_LUN)
    {
        if (lun->line && lun->line->lun == lun)
            lun->line->lun = NULL;
        if (lun->line && lun->line->left_by == lun)
            lun->line->left_by = NULL;
        lun->line = line;
        if (!line)
            return;
        line->lun = lun;
        memo_step(&lun->memo); /* another map */
        atomic_fetch_add(&lun->replacements, 1);
        loan_note_departure(pool);
        return;
    }
    lun->line = line;
    list_add_tail(&line->snapshots, &lun->point_link);
    line->snapshot_count++;
}

static void lun_set_volume(struct lun_object *lun, struct volume_object *volume)
{
    if (lun->volume == volume)
        return;
    if (lun->volume)
    {
        list_remove(&lun->volume_link);
        --*(lun->is_deleted ? &lun->volume->deleted_count : &lun->volume->lun_count);
    }
    lun->volume = volume;
    if (volume)
    {
        list_add_tail(lun->is_deleted ? &volume->deleted : &volume->luns, &lun->volume_link);
        ++*(lun->is_deleted ? &volume->deleted_count : &volume->lun_count);
    }
}

static void lun_set_qtree(struct lun_object *lun, struct qtree_object *qtree)
{
    if (lun->qtree == qtree)
        return;
    if (lun->qtree)
    {
        list_remove(&lun->qtree_link);
        lun->qtree->lun_count--;
    }
    lun->qtree = qtree;
    if (qtree)
    {
        list_add_tail(&qtree->luns, &lun->qtree_link);
        qtree->lun_count++;
    }
}

/* Oldest first; at open they come in the order of their slots. */
static void lun_add_snapshot(struct lun_object *lun, struct lun_object *snapshot,
                             struct volume_snapshot_object *volume_snapshot)
{
    struct list *before = lun->snapshots.prev;
    while (before != &lun->snapshots &&
           container_of(before, struct lun_object, lun_link)->object.id > snapshot->object.id)
        before = before->prev;
    list_insert_between(&snapshot->lun_link, before, before->next);
    snapshot->lun = lun;
    lun->snapshot_count++;
    snapshot->volume_snapshot = volume_snapshot;
    if (!volume_snapshot)
        return;
    list_add_tail(&volume_snapshot->members, &snapshot->member_link);
    volume_snapshot->member_count++;
}

/* ---- deleted ones -------------------------------------------------------------------------- */

/* Into the lists of deleted LUNs, or out of them: one that no name finds, and nobody has open. */
static void lun_set_deleted(struct pool *pool, struct lun_object *lun, bool is_deleted)
{
    if (lun->is_deleted == is_deleted)
        return;
    struct volume_object *volume = lun->volume;
    lun_set_volume(lun, NULL);
    lun->is_deleted = is_deleted;
    lun_set_volume(lun, volume);
    list_remove(&lun->all_link);
    list_add_tail(is_deleted ? &pool->deleted_luns : &pool->luns, &lun->all_link);
    pool->lun_count += is_deleted ? (uint64_t)-1 : 1;
    free(lun->name); /* the index of names does not have it */
    lun->name = NULL;
}

/*
 * @lun is deleted, and snapshots hold it: another object takes its id and them. Whoever has @lun
 * open keeps an object that is dead for ever, also if the LUN is restored one day.
 */
static struct lun_object *lun_replace_deleted(struct pool *pool, struct lun_object *lun)
{
    uint64_t id = lun->object.id;
    struct object old = {.page = lun->object.page, .slot = lun->object.slot};
    lun->object.page = NULL;
    catalog_object_leave_index(pool, &lun->object);
    struct lun_object *heir = lun_alloc(pool, DISK_OBJECT_LUN, id);
    INVARIANT(heir);                               /* apply() cannot fail */
    catalog_object_take_slot(&heir->object, &old); /* a delete dirties no other page */
    lun_set_deleted(pool, heir, true);
    list_for_each_safe (snapshot, &lun->snapshots, struct lun_object, lun_link)
    {
        list_remove(&snapshot->lun_link);
        list_add_tail(&heir->snapshots, &snapshot->lun_link);
        snapshot->lun = heir;
        heir->snapshot_count++;
        lun->snapshot_count--;
    }
    catalog_forget_lun(pool, lun);
    return heir;
}

/* ---- putting ------------------------------------------------------------------------------- */

/* What a record or slot says, and what it refers to. */
struct lun_bytes
{
    const struct disk_lun *disk;
    struct disk_lun_more more;
    struct text name, comment, origin, owner, group;
    struct line *line;
    struct lun_object *lun; /* of a snapshot */
    struct volume_object *volume;
    struct qtree_object *qtree;
    struct volume_snapshot_object *volume_snapshot;
};

static int lun_read_bytes(struct reader *reader, struct lun_bytes *bytes)
{
    *bytes = (struct lun_bytes){.disk = reader_bytes(reader, sizeof(*bytes->disk))};
    const struct disk_lun *disk = bytes->disk;
    if (!disk)
        return -EBADMSG;
    bytes->name = catalog_read_text(reader, le16_get(disk->name_len), LUN_NAME_MAX, true);
    bytes->comment = catalog_read_text(reader, le16_get(disk->comment_len), LUN_COMMENT_MAX, false);
    bytes->origin =
        catalog_read_text(reader, le16_get(disk->origin_len), 2 * LUN_NAME_MAX + 1, false);
    if (reader_left(reader) > 0)
    {
        const void *more = reader_bytes(reader, sizeof(bytes->more));
        if (!more)
            return -EBADMSG;
        memcpy(&bytes->more, more, sizeof(bytes->more));
        bytes->owner =
            catalog_read_text(reader, le16_get(bytes->more.owner_len), LUN_OWNER_MAX, false);
        bytes->group =
            catalog_read_text(reader, le16_get(bytes->more.group_len), LUN_OWNER_MAX, false);
    }
    const uint32_t known = DISK_LUN_RESERVED | DISK_LUN_AUTODELETE | DISK_LUN_DELETED;
    bool is_possible = (le32_get(disk->flags) & ~known) == 0;
    if (reader->failed || reader_left(reader) > 0 || !is_possible || !bytes->name.bytes)
        return -EBADMSG;
    return verify_name(bytes->name.bytes, bytes->name.len);
}

/* Of a snapshot: if its set is placed, the place must be right, else there is none. */
static int lun_find_member_place(struct pool *pool, struct lun_bytes *bytes, uint64_t qtree_id)
{
    const struct volume_snapshot_object *set = bytes->volume_snapshot;
    bool is_placed = set && (set->flags & DISK_VOLUME_SNAPSHOT_PLACED);
    if (!is_placed)
        return qtree_id != 0 || bytes->lun->is_deleted ? -EBADMSG : 0;
    bytes->qtree = qtree_id ? catalog_find_qtree_by_id(pool, qtree_id) : NULL;
    bool is_whole = qtree_id == 0 || (bytes->qtree && bytes->qtree->snapshot == set);
    if (!is_whole || bytes->origin.len == 0 || bytes->origin.len > LUN_NAME_MAX)
        return -EBADMSG;
    return verify_name(bytes->origin.bytes, bytes->origin.len);
}

/* What it refers to must be there, and fit. */
static int lun_find_references(struct pool *pool, enum disk_object_kind kind,
                               struct lun_bytes *bytes)
{
    bool is_lun = kind == DISK_OBJECT_LUN;
    uint64_t volume_id = le64_get(bytes->more.volume_id), qtree_id = le64_get(bytes->more.qtree_id),
             set_id = le64_get(bytes->more.volume_snapshot_id);
    bytes->line = catalog_find_line(pool, le64_get(bytes->disk->line_id));
    if (is_lun)
    {
        bytes->volume = catalog_find_volume_by_id(pool, volume_id);
        bytes->qtree = catalog_find_qtree_by_id(pool, qtree_id);
        bool is_whole =
            (volume_id == 0 || bytes->volume) && (qtree_id == 0 || bytes->qtree) &&
            (!bytes->qtree || (bytes->qtree->volume == bytes->volume && !bytes->qtree->snapshot));
        bool is_deleted = le32_get(bytes->disk->flags) & DISK_LUN_DELETED;
        is_whole &= !is_deleted || (bytes->volume && !bytes->qtree);
        return is_whole && set_id == 0 ? 0 : -EBADMSG;
    }
    bytes->lun = catalog_find_lun_by_id(pool, le64_get(bytes->disk->lun_id));
    bytes->volume_snapshot = catalog_find_volume_snapshot_by_id(pool, set_id);
    if (volume_id || (set_id != 0 && !bytes->volume_snapshot))
        return -EBADMSG;
    if (bytes->volume_snapshot && bytes->volume_snapshot->volume != bytes->lun->volume)
        return -EBADMSG;
    return lun_find_member_place(pool, bytes, qtree_id);
}

static int lun_set_texts(struct lun_object *lun, const struct lun_bytes *bytes)
{
    int r = catalog_string_set(&lun->comment, bytes->comment.bytes, bytes->comment.len);
    r = keep_first(r, catalog_string_set(&lun->origin, bytes->origin.bytes, bytes->origin.len));
    r = keep_first(r, catalog_string_set(&lun->owner, bytes->owner.bytes, bytes->owner.len));
    return keep_first(r, catalog_string_set(&lun->group, bytes->group.bytes, bytes->group.len));
}

static void lun_set_figures(struct lun_object *lun, const struct lun_bytes *bytes)
{
    const struct disk_lun *disk = bytes->disk;
    uint32_t flags = le32_get(disk->flags);
    memcpy(lun->uuid, disk->uuid, sizeof(lun->uuid));
    atomic_store(&lun->size_bytes, le64_get(disk->size_bytes));
    lun->trim_end_bytes = le64_get(disk->trim_end_bytes);
    lun->created_ns = le64_get(disk->created_ns);
    lun->sector_bytes = le32_get(disk->sector_bytes);
    lun->expire_ns = le64_get(bytes->more.expire_ns);
    lun->locked_until_ns = le64_get(bytes->more.locked_until_ns);
    atomic_store(&lun->is_reserved, flags & DISK_LUN_RESERVED);
    lun->is_autodelete = flags & DISK_LUN_AUTODELETE;
}

int catalog_put_lun(struct pool *pool, enum disk_object_kind kind, uint64_t id,
                    struct reader *reader)
{
    struct lun_bytes bytes;
    int r = lun_read_bytes(reader, &bytes);
    if (r == 0)
        r = verify_lun(pool, kind, id, bytes.disk);
    if (r == 0)
        r = lun_find_references(pool, kind, &bytes);
    if (r < 0)
        return r;
    struct object *object = catalog_find_any(pool, id);
    struct lun_object *lun =
        object ? container_of(object, struct lun_object, object) : lun_alloc(pool, kind, id);
    if (!lun)
        return -ENOMEM;
    bool is_deleted = kind == DISK_OBJECT_LUN && (le32_get(bytes.disk->flags) & DISK_LUN_DELETED);
    if (object && is_deleted && !lun->is_deleted)
        lun = lun_replace_deleted(pool, lun);
    if (kind == DISK_OBJECT_LUN)
        lun_set_deleted(pool, lun, is_deleted);
    if (kind == DISK_OBJECT_SNAPSHOT && !object)
        lun_add_snapshot(bytes.lun, lun, bytes.volume_snapshot);
    if (kind == DISK_OBJECT_SNAPSHOT &&
        (lun->lun != bytes.lun || lun->volume_snapshot != bytes.volume_snapshot))
        return -EBADMSG;
    lun_set_figures(lun, &bytes);
    lun_set_volume(lun, bytes.volume);
    lun_set_qtree(lun, bytes.qtree);
    char own[LUN_NAME_MAX + 1];
    memcpy(own, bytes.name.bytes, bytes.name.len);
    own[bytes.name.len] = '\0';
    r = lun_set_texts(lun, &bytes);
    r = keep_first(r, catalog_rename_lun(pool, lun, own));
    lun_set_line(pool, lun, bytes.line);
    if (kind == DISK_OBJECT_LUN && !is_deleted)
    {
        catalog_set_line_volume(pool, lun->line, lun->volume);
        ledger_lun(pool, lun);
    }
    if (r == 0)
        catalog_object_settle(pool, &lun->object);
    return r;
}

/* ---- deleting ------------------------------------------------------------------------------ */

void catalog_forget_lun(struct pool *pool, struct lun_object *lun)
{
    if (!lun->is_deleted)
        hash_remove(&pool->luns_by_name, &lun->by_name);
    atomic_store(&lun->is_dead, true);
    loan_note_departure(pool);
    lun_set_qtree(lun, NULL);
    if (lun->object.kind == DISK_OBJECT_LUN)
    {
        struct line *line = lun->line;
        ledger_forget_lun(pool, lun);
        list_remove(&lun->all_link);
        pool->lun_count -= !lun->is_deleted;
        if (line && line->lun == lun)
            line->lun = NULL;
        if (line && line->left_by == lun)
            line->left_by = NULL;
        lun_set_volume(lun, NULL);
    }
    else
    {
        list_remove(&lun->lun_link);
        lun->lun->snapshot_count--;
        list_remove(&lun->point_link);
        lun->line->snapshot_count--;
        pool->snapshot_count--;
        list_remove(&lun->member_link);
        if (lun->volume_snapshot)
            lun->volume_snapshot->member_count--;
        lun->volume_snapshot = NULL;
    }
    lun_object_put(pool, lun);
}
