/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/volume/info.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/map/lineage.h"
#include "lun/pool/pool_internal.h"
#include "lun/volume/catalog.h"
#include "lun/volume/names.h"
#include "lun/volume/promise.h"

static uint64_t bytes_of(uint64_t blks)
{
    return blks * BLK_BYTES;
}

/* What each step down its line dropped, as long as the points are its own snapshots. */
uint64_t lun_snapshot_bytes(const struct lun_object *lun)
{
    uint64_t blks = 0;
    for (const struct line *line = lun->line; line && line->predecessor; line = line->predecessor)
    {
        bool is_ours = false;
        list_for_each (snapshot, &line->predecessor->snapshots, struct lun_object, point_link)
            is_ours |= snapshot->lun == lun;
        if (!is_ours)
            break;
        blks += atomic_load(&line->dropped_data_blks);
    }
    return bytes_of(blks);
}

/* What its snapshots hold: each block belongs to the point that it was written before. */
uint64_t lun_deleted_bytes(const struct lun_object *lun)
{
    uint64_t blks = 0;
    list_for_each (snapshot, &lun->snapshots, struct lun_object, lun_link)
    {
        const struct lun_object *first = NULL; /* of those of one state */
        list_for_each (same, &snapshot->line->snapshots, struct lun_object, point_link)
            first = !first && same->lun == lun ? same : first;
        if (snapshot == first)
            blks += atomic_load(&snapshot->line->own_blks);
    }
    return bytes_of(blks);
}

void lun_fill_info(const struct lun_object *object, struct lun_info *info)
{
    const struct line *line = object->line;
    bool is_lun = object->object.kind == DISK_OBJECT_LUN;
    /* Each changes by itself while writes go on; of the two of one moment, own is never more. */
    uint64_t mapped = atomic_load(&line->mapped_blks);
    uint64_t own = min_u64(atomic_load(&line->own_blks), mapped);
    *info = (struct lun_info){
        .kind = is_lun ? OBJECT_LUN : OBJECT_SNAPSHOT,
        .id = object->object.id,
        .lun_id = object->lun->object.id,
        .line_id = line->object.id,
        .size_bytes = atomic_load(&object->size_bytes),
        .sector_bytes = object->sector_bytes,
        .mapped_bytes = bytes_of(mapped),
        .own_bytes = bytes_of(own),
        .shared_bytes = bytes_of(mapped - own),
        .snapshot_bytes = is_lun ? lun_snapshot_bytes(object) : 0,
        .created_ns = object->created_ns,
        .open_handles = atomic_load(&object->open_handles),
        .snapshot_count = object->snapshot_count,
        .generation = is_lun ? line->birth : line->frozen_at,
        .volume_id = object->lun->volume ? object->lun->volume->object.id : 0,
        .qtree_id = object->lun->qtree ? object->lun->qtree->object.id : 0,
        .volume_snapshot_id = object->volume_snapshot ? object->volume_snapshot->object.id : 0,
        .is_reserved = atomic_load(&object->is_reserved),
        .is_autodelete = object->is_autodelete,
        .is_lun_deleted = object->lun->is_deleted,
        .needed_bytes = promise_needed_bytes(object),
        .expire_ns = object->expire_ns,
        .locked_until_ns = object->locked_until_ns,
    };
    memcpy(info->uuid, object->uuid, sizeof(info->uuid));
    name_copy(info->name, sizeof(info->name), object->name);
    name_copy(info->comment, sizeof(info->comment), object->comment);
    name_copy(info->origin, sizeof(info->origin), is_lun ? object->origin : "");
    name_copy(info->owner, sizeof(info->owner), object->owner);
    name_copy(info->group, sizeof(info->group), object->group);
}

/* Whether a snapshot of the deleted LUN has @path. */
static bool list_is_of(const struct lun_object *lun, const char *path)
{
    size_t len = strlen(path);
    list_for_each (snapshot, &lun->snapshots, struct lun_object, lun_link)
    {
        if (strncmp(snapshot->name, path, len) == 0 && snapshot->name[len] == '@')
            return true;
    }
    return false;
}

bool lun_was_deleted(struct pool *pool, const char *path)
{
    path = name_strip(path);
    list_for_each (lun, &pool->deleted_luns, struct lun_object, all_link)
    {
        if (list_is_of(lun, path))
            return true;
    }
    return false;
}

int info_no_such(struct pool *pool, const char *name, struct reason *why)
{
    char lun[2 * LUN_NAME_MAX + 2];
    const char *at = strchr(name, '@');
    snprintf(lun, sizeof(lun), "%.*s", at ? (int)(at - name) : 0, name);
    rwlock_take_shared(&pool->catalog_lock);
    bool has_lun = at && catalog_find_lun(pool, lun);
    bool was_deleted = lun_was_deleted(pool, at ? lun : name);
    rwlock_release(&pool->catalog_lock);
    if (was_deleted && !has_lun)
        return reason_set(why, -ENOENT, LUN_WAS_DELETED, at ? lun : name, at ? lun : name);
    if (has_lun)
        return reason_set(why, -ENOENT,
                          "LUN '%s' has no snapshot '%s'; 'lunette snapshot show %s' lists those "
                          "it has",
                          lun, at + 1, lun);
    return reason_set(why, -ENOENT,
                      "there is no LUN or snapshot '%s'; 'lunette lun show --snapshots' lists them",
                      name);
}

int lun_get_info(struct pool *pool, const char *name, struct lun_info *info, struct reason *why)
{
    rwlock_take_shared(&pool->catalog_lock);
    struct lun_object *object = catalog_find_lun(pool, name);
    if (object)
        lun_fill_info(object, info);
    rwlock_release(&pool->catalog_lock);
    return object ? 0 : info_no_such(pool, name, why);
}

int lun_get_info_by_id(struct pool *pool, uint64_t id, struct lun_info *info)
{
    rwlock_take_shared(&pool->catalog_lock);
    const struct lun_object *object = catalog_find_lun_by_id(pool, id);
    bool is_there = object && !object->is_deleted;
    if (is_there)
        lun_fill_info(object, info);
    rwlock_release(&pool->catalog_lock);
    return is_there ? 0 : -ENOENT;
}

/* The expendable ones of a LUN and its snapshots; into @list unless it is NULL. */
static size_t list_fill_expendable(const struct lun_object *lun, enum lun_expendable kind,
                                   struct lun_info *list)
{
    size_t n = 0;
    if (kind == LUN_EXPENDABLE_LUNS)
    {
        if (lun->expire_ns == 0 && !lun->is_autodelete)
            return 0;
        if (list)
            lun_fill_info(lun, list);
        return 1;
    }
    list_for_each (snapshot, &lun->snapshots, struct lun_object, lun_link)
    {
        if (snapshot->volume_snapshot)
            continue;
        if (list)
            lun_fill_info(snapshot, &list[n]);
        n++;
    }
    return n;
}

int lun_list_expendable(struct pool *pool, enum lun_expendable kind, struct lun_info **out,
                        size_t *count)
{
    size_t total = 0, n = 0;
    rwlock_take_shared(&pool->catalog_lock);
    list_for_each (lun, &pool->luns, struct lun_object, all_link)
        total += list_fill_expendable(lun, kind, NULL);
    struct lun_info *list = calloc(total + 1, sizeof(*list));
    list_for_each (lun, &pool->luns, struct lun_object, all_link)
    {
        if (list)
            n += list_fill_expendable(lun, kind, &list[n]);
    }
    rwlock_release(&pool->catalog_lock);
    if (!list)
        return -ENOMEM;
    *out = list;
    *count = n;
    return 0;
}

/* A LUN for a list, with its snapshots; of a deleted one there are only these. */
struct listed
{
    const struct lun_object *lun;
    const char *name;
};

static int compare_listed(const void *a, const void *b)
{
    const struct listed *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    if (order != 0)
        return order;
    return x->lun->object.id < y->lun->object.id ? -1 : x->lun->object.id > y->lun->object.id;
}

/* A deleted LUN is among the others where the last snapshot that has it says that it was. */
static struct listed listed_of(const struct lun_object *lun)
{
    bool has_place = lun->is_deleted && lun->snapshot_count > 0;
    const struct lun_object *named =
        has_place ? container_of(lun->snapshots.prev, struct lun_object, lun_link) : lun;
    return (struct listed){.lun = lun, .name = named->name};
}

static size_t list_fill_lun(struct lun_info *list, const struct lun_object *lun)
{
    size_t n = 0;
    if (!lun->is_deleted)
        lun_fill_info(lun, &list[n++]);
    list_for_each (snapshot, &lun->snapshots, struct lun_object, lun_link)
        lun_fill_info(snapshot, &list[n++]);
    return n;
}

struct list_choice
{
    struct listed *luns; /* or NULL */
    size_t count, total;
};

static void list_add_choice(struct list_choice *choice, const struct lun_object *lun)
{
    if (choice->luns)
        choice->luns[choice->count] = listed_of(lun);
    choice->count++;
    choice->total += lun->snapshot_count + !lun->is_deleted;
}

/* LUNs, into @luns unless that is NULL; *total: how many entries they make. @path: only those that
 * are there, or were before they were deleted. With catalog_lock held. */
static size_t list_choose(struct pool *pool, const char *path, struct listed *luns, size_t *total)
{
    struct list_choice choice = {.luns = luns};
    const struct lun_object *only = path ? catalog_find_lun(pool, path) : NULL;
    if (only && only->object.kind == DISK_OBJECT_LUN)
        list_add_choice(&choice, only);
    list_for_each (lun, &pool->luns, struct lun_object, all_link)
    {
        if (path)
            break;
        list_add_choice(&choice, lun);
    }
    list_for_each (lun, &pool->deleted_luns, struct lun_object, all_link)
    {
        if (!path || list_is_of(lun, path))
            list_add_choice(&choice, lun);
    }
    *total = choice.total;
    return choice.count;
}

/* With catalog_lock held. */
static int list_fill(struct pool *pool, const char *path, struct lun_info **out, size_t *count)
{
    size_t total, n = 0, lun_count = list_choose(pool, path, NULL, &total);
    AUTO_FREE struct lun_info *list = calloc(total + 1, sizeof(*list));
    AUTO_FREE struct listed *luns = calloc(lun_count + 1, sizeof(*luns));
    if (!list || !luns)
        return -ENOMEM;
    lun_count = list_choose(pool, path, luns, &total);
    qsort(luns, lun_count, sizeof(*luns), compare_listed);
    for (size_t i = 0; i < lun_count; i++)
        n += list_fill_lun(&list[n], luns[i].lun);
    *out = take_ptr(&list);
    *count = n;
    return 0;
}

int lun_list(struct pool *pool, const char *lun_name, struct lun_info **list, size_t *count,
             struct reason *why)
{
    lun_name = name_strip(lun_name);
    rwlock_take_shared(&pool->catalog_lock);
    int r = list_fill(pool, lun_name, list, count);
    rwlock_release(&pool->catalog_lock);
    if (r < 0 || !lun_name || *count > 0)
        return r;
    free(*list);
    *list = NULL;
    return reason_set(why, -ENOENT, "there is no LUN '%s'; 'lunette lun show' lists them",
                      lun_name);
}

static int compare_lines(const void *a, const void *b)
{
    const struct line_info *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void line_fill_info(const struct line *line, struct line_info *info)
{
    *info = (struct line_info){
        .id = line->object.id,
        .predecessor_id = line->predecessor ? line->predecessor->object.id : 0,
        .is_head = line->frozen_at == 0,
        .is_dying = lineage_is_leaf(line),
        .is_hidden = line_is_hidden_point(line),
        .birth = line->birth,
        .frozen_at = line->frozen_at,
        .child_count = line->child_count,
        .snapshot_count = line->snapshot_count,
        .mapped_bytes = bytes_of(atomic_load(&line->mapped_blks)),
        .own_bytes = bytes_of(atomic_load(&line->own_blks)),
        .dropped_bytes = bytes_of(atomic_load(&line->dropped_data_blks)),
    };
    if (line->lun)
        name_copy(info->name, sizeof(info->name), line->lun->name);
    else if (line->snapshot_count > 0)
        name_copy(info->name, sizeof(info->name),
                  container_of(line->snapshots.next, struct lun_object, point_link)->name);
}

int pool_list_lines(struct pool *pool, struct line_info **out, size_t *count)
{
    rwlock_take_shared(&pool->catalog_lock);
    struct line_info *list = calloc(pool->line_count + 1, sizeof(*list));
    size_t n = 0;
    list_for_each (line, &pool->lines, struct line, all_link)
    {
        if (list)
            line_fill_info(line, &list[n++]);
    }
    rwlock_release(&pool->catalog_lock);
    if (!list)
        return -ENOMEM;
    qsort(list, n, sizeof(*list), compare_lines);
    *out = list;
    *count = n;
    return 0;
}
