/* SPDX-License-Identifier: BSD-3-Clause */
/* Figures of volumes, qtrees and volume snapshots, for listings. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/pool/pool_internal.h"
#include "lun/volume/catalog.h"
#include "lun/volume/info.h"
#include "lun/volume/names.h"
#include "lun/volume/promise.h"

/* ---- volumes ------------------------------------------------------------------------------- */

static void volume_fill_info(struct pool *pool, const struct volume_object *volume,
                             struct volume_info *info)
{
    const struct volume_snapshot_object *parent = volume->parent;
    *info = (struct volume_info){
        .id = volume->object.id,
        .size_bytes = volume->size_bytes,
        .is_guaranteed = volume->flags & DISK_VOLUME_GUARANTEED,
        .pauses_when_full = volume->flags & DISK_VOLUME_PAUSES,
        .pause_ms = volume->pause_ms,
        .locked_until_ns = volume->locked_until_ns,
        .created_ns = volume->created_ns,
        .lun_count = volume->lun_count,
        .qtree_count = volume->qtree_count,
        .snapshot_count = volume->snapshot_count,
        .deleted_lun_count = volume->deleted_count,
        .parent_volume_id = parent ? parent->volume->object.id : 0,
        .parent_snapshot_id = parent ? parent->object.id : 0,
    };
    memcpy(info->uuid, volume->uuid, sizeof(info->uuid));
    name_copy(info->name, sizeof(info->name), volume->name);
    name_copy(info->comment, sizeof(info->comment), volume->comment);
    name_copy(info->parent, sizeof(info->parent), parent ? parent->name : "");
    list_for_each (lun, &volume->luns, struct lun_object, volume_link)
    {
        info->logical_bytes += atomic_load(&lun->size_bytes);
        /* Of the two of one moment own is never more. */
        uint64_t mapped = atomic_load(&lun->line->mapped_blks);
        info->mapped_bytes += mapped * BLK_BYTES;
        info->own_bytes += min_u64(atomic_load(&lun->line->own_blks), mapped) * BLK_BYTES;
        info->snapshot_bytes += lun_snapshot_bytes(lun);
    }
    list_for_each (lun, &volume->deleted, struct lun_object, volume_link)
        info->snapshot_bytes += lun_deleted_bytes(lun);
    promise_fill_volume(pool, volume, info);
}

static int volume_is_missing(const char *name, struct reason *why)
{
    return reason_set(why, -ENOENT, "there is no volume '%s'; 'lunette volume show' lists them",
                      name);
}

int volume_get_info(struct pool *pool, const char *name, struct volume_info *info,
                    struct reason *why)
{
    rwlock_take_shared(&pool->catalog_lock);
    const struct volume_object *volume = catalog_find_volume(pool, name);
    if (volume)
        volume_fill_info(pool, volume, info);
    rwlock_release(&pool->catalog_lock);
    return volume ? 0 : volume_is_missing(name, why);
}

int volume_get_info_by_id(struct pool *pool, uint64_t id, struct volume_info *info)
{
    rwlock_take_shared(&pool->catalog_lock);
    const struct volume_object *volume = catalog_find_volume_by_id(pool, id);
    if (volume)
        volume_fill_info(pool, volume, info);
    rwlock_release(&pool->catalog_lock);
    return volume ? 0 : -ENOENT;
}

int volume_next_lun(struct pool *pool, uint64_t volume_id, uint64_t after_id, struct lun_info *info)
{
    const struct lun_object *next = NULL;
    rwlock_take_shared(&pool->catalog_lock);
    const struct volume_object *volume = catalog_find_volume_by_id(pool, volume_id);
    if (volume)
    {
        list_for_each (lun, &volume->luns, struct lun_object, volume_link)
        {
            if (lun->object.id > after_id && (!next || lun->object.id < next->object.id))
                next = lun;
        }
    }
    if (next)
        lun_fill_info(next, info);
    rwlock_release(&pool->catalog_lock);
    return next ? 0 : -ENOENT;
}

static int compare_volumes(const void *a, const void *b)
{
    return strcmp(((const struct volume_info *)a)->name, ((const struct volume_info *)b)->name);
}

int volume_list(struct pool *pool, struct volume_info **out, size_t *count)
{
    size_t n = 0;
    rwlock_take_shared(&pool->catalog_lock);
    struct volume_info *list = calloc(pool->volume_count + 1, sizeof(*list));
    list_for_each (volume, &pool->volumes, struct volume_object, all_link)
    {
        if (list)
            volume_fill_info(pool, volume, &list[n++]);
    }
    rwlock_release(&pool->catalog_lock);
    if (!list)
        return -ENOMEM;
    qsort(list, n, sizeof(*list), compare_volumes);
    *out = list;
    *count = n;
    return 0;
}

/* ---- qtrees -------------------------------------------------------------------------------- */

static void qtree_fill_info(const struct qtree_object *qtree, struct qtree_info *info)
{
    *info = (struct qtree_info){.id = qtree->object.id,
                                .volume_id = qtree->volume->object.id,
                                .lun_count = qtree->lun_count,
                                .created_ns = qtree->created_ns};
    name_copy(info->path, sizeof(info->path), qtree->name);
    name_copy(info->comment, sizeof(info->comment), qtree->comment);
    list_for_each (lun, &qtree->luns, struct lun_object, qtree_link)
        info->logical_bytes += atomic_load(&lun->size_bytes);
}

static int compare_qtrees(const void *a, const void *b)
{
    return strcmp(((const struct qtree_info *)a)->path, ((const struct qtree_info *)b)->path);
}

/* With catalog_lock held. @only NULL: of all volumes. */
static int qtree_list_fill(struct pool *pool, const struct volume_object *only,
                           struct qtree_info **out, size_t *count)
{
    size_t total = 0, n = 0;
    list_for_each (volume, &pool->volumes, struct volume_object, all_link)
        total += !only || volume == only ? volume->qtree_count : 0;
    struct qtree_info *list = calloc(total + 1, sizeof(*list));
    if (!list)
        return -ENOMEM;
    list_for_each (volume, &pool->volumes, struct volume_object, all_link)
    {
        if (only && volume != only)
            continue;
        list_for_each (qtree, &volume->qtrees, struct qtree_object, volume_link)
            qtree_fill_info(qtree, &list[n++]);
    }
    qsort(list, n, sizeof(*list), compare_qtrees);
    *out = list;
    *count = n;
    return 0;
}

int qtree_list(struct pool *pool, const char *volume, struct qtree_info **list, size_t *count,
               struct reason *why)
{
    rwlock_take_shared(&pool->catalog_lock);
    const struct volume_object *only = volume ? catalog_find_volume(pool, volume) : NULL;
    int r =
        volume && !only ? volume_is_missing(volume, why) : qtree_list_fill(pool, only, list, count);
    rwlock_release(&pool->catalog_lock);
    return r;
}

/* ---- volume snapshots ---------------------------------------------------------------------- */

static void snapshot_fill_info(const struct volume_snapshot_object *snapshot,
                               struct volume_snapshot_info *info)
{
    *info = (struct volume_snapshot_info){
        .id = snapshot->object.id,
        .volume_id = snapshot->volume->object.id,
        .created_ns = snapshot->created_ns,
        .locked_until_ns = snapshot->locked_until_ns,
        .lun_count = snapshot->member_count,
        .clone_count = snapshot->clone_count,
        .is_automatic = snapshot->flags & DISK_VOLUME_SNAPSHOT_AUTOMATIC,
        .is_deferred = snapshot->flags & DISK_VOLUME_SNAPSHOT_DEFERRED,
    };
    name_copy(info->name, sizeof(info->name), snapshot->name);
    name_copy(info->comment, sizeof(info->comment), snapshot->comment);
    list_for_each (member, &snapshot->members, struct lun_object, member_link)
        info->logical_bytes += atomic_load(&member->size_bytes);
}

static int compare_volume_objects(const void *a, const void *b)
{
    const struct volume_object *x = *(const struct volume_object *const *)a;
    const struct volume_object *y = *(const struct volume_object *const *)b;
    return strcmp(x->name, y->name);
}

/* With catalog_lock held; volumes by name. @only NULL: of all. */
static int snapshot_list_fill(struct pool *pool, const struct volume_object *only,
                              struct volume_snapshot_info **out, size_t *count)
{
    size_t total = 0, n = 0, volume_count = 0;
    AUTO_FREE const struct volume_object **volumes =
        calloc(pool->volume_count + 1, sizeof(struct volume_object *));
    if (!volumes)
        return -ENOMEM;
    list_for_each (volume, &pool->volumes, struct volume_object, all_link)
    {
        if (only && volume != only)
            continue;
        volumes[volume_count++] = volume;
        total += volume->snapshot_count;
    }
    struct volume_snapshot_info *list = calloc(total + 1, sizeof(*list));
    if (!list)
        return -ENOMEM;
    qsort(volumes, volume_count, sizeof(struct volume_object *), compare_volume_objects);
    for (size_t i = 0; i < volume_count; i++)
    {
        list_for_each (snapshot, &volumes[i]->snapshots, struct volume_snapshot_object, volume_link)
            snapshot_fill_info(snapshot, &list[n++]);
    }
    *out = list;
    *count = n;
    return 0;
}

int volume_snapshot_list(struct pool *pool, const char *volume, struct volume_snapshot_info **list,
                         size_t *count, struct reason *why)
{
    rwlock_take_shared(&pool->catalog_lock);
    const struct volume_object *only = volume ? catalog_find_volume(pool, volume) : NULL;
    int r = volume && !only ? volume_is_missing(volume, why)
                            : snapshot_list_fill(pool, only, list, count);
    rwlock_release(&pool->catalog_lock);
    return r;
}
