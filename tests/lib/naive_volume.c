/* SPDX-License-Identifier: BSD-3-Clause */
/* Volumes and qtrees of the naive engine. A LUN is in a volume because its name begins with it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "tests/lib/naive_internal.h"

enum
{
    NV_CONTAINER_MAX = LUN_NAME_MAX - 2
};

size_t nv_count_nodes(const struct list *list)
{
    size_t count = 0;
    for (const struct list *node = list->next; node != list; node = node->next)
        count++;
    return count;
}

/* ---- finding */

struct nv_volume *nv_volume_find(struct pool *pool, const char *name)
{
    name = nv_strip(name);
    list_for_each (volume, &pool->volumes, struct nv_volume, node)
    {
        if (strcmp(volume->name, name) == 0)
            return volume;
    }
    return NULL;
}

/* The volume that the name @path begins with. */
static struct nv_volume *nv_volume_of_path(struct pool *pool, const char *path)
{
    char name[LUN_NAME_MAX + 1];
    const char *slash = strchr(path, '/');
    snprintf(name, sizeof(name), "%.*s", slash ? (int)(slash - path) : 0, path);
    return slash ? nv_volume_find(pool, name) : NULL;
}

struct nv_volume *nv_volume_of(struct pool *pool, const struct nv_object *object)
{
    const struct nv_object *lun = object->lun ? object->lun : object;
    if (lun->is_deleted)
        return container_of(lun->snapshots.next, struct nv_object, node)->set->volume;
    return nv_volume_of_path(pool, lun->name);
}

struct nv_qtree *nv_qtree_find(struct pool *pool, const char *path)
{
    path = nv_strip(path);
    struct nv_volume *volume = nv_volume_of_path(pool, path);
    if (!volume)
        return NULL;
    list_for_each (qtree, &volume->qtrees, struct nv_qtree, node)
    {
        if (strcmp(qtree->name, strchr(path, '/') + 1) == 0)
            return qtree;
    }
    return NULL;
}

int nv_require_volume(struct pool *pool, const char *name, struct nv_volume **volume,
                      struct reason *why)
{
    *volume = nv_volume_find(pool, name);
    return *volume ? 0 : reason_set(why, -ENOENT, "There is no volume '%s'.", name);
}

bool nv_is_in(const struct nv_object *lun, const char *container)
{
    size_t len = strlen(container);
    return strncmp(lun->name, container, len) == 0 && lun->name[len] == '/';
}

int nv_check_free(struct pool *pool, const char *name, struct reason *why)
{
    if (!nv_find(pool, name) && !nv_volume_find(pool, name) && !nv_qtree_find(pool, name))
        return 0;
    return reason_set(why, -EEXIST, "There is a '%s' already.", name);
}

/* ---- locks */

bool nv_is_locked(const struct pool *pool, uint64_t until_ns)
{
    return until_ns > pool->env->now_ns(pool->env);
}

int nv_check_unlocked(struct pool *pool, const struct nv_object *object, struct reason *why)
{
    const struct nv_volume *volume = nv_volume_of(pool, object);
    uint64_t until_ns = object->locked_until_ns;
    if (object->set)
        until_ns = max_u64(until_ns, object->set->locked_until_ns);
    if (volume)
        until_ns = max_u64(until_ns, volume->attributes.locked_until_ns);
    if (!nv_is_locked(pool, until_ns))
        return 0;
    return reason_set(why, -EPERM, "'%s' is locked.", object->name);
}

/* A clone would not be locked: neither it nor what it is part of may be. */
int nv_check_clonable(struct pool *pool, const struct nv_object *object, struct reason *why)
{
    int r = nv_check_unlocked(pool, object, why);
    if (r == 0 && object->lun && nv_is_locked(pool, object->lun->locked_until_ns))
        r = reason_set(why, -EPERM, "'%s' is locked.", object->lun->name);
    return r;
}

int nv_check_lock_change(const struct pool *pool, uint64_t until_ns, uint64_t new_until_ns,
                         struct reason *why)
{
    if (new_until_ns >= until_ns || !nv_is_locked(pool, until_ns))
        return 0;
    return reason_set(why, -EPERM, "A lock is only ever made longer.");
}

int nv_check_restorable(struct pool *pool, const struct nv_object *lun, unsigned flags,
                        struct reason *why)
{
    int r = nv_check_unlocked(pool, lun, why);
    return r < 0 ? r : nv_check_unused(lun, lun->name, flags, why);
}

/* ---- volumes */

int nv_check_volume_name(const char *name, struct reason *why)
{
    int r = nv_check_name(name, "volume", why);
    if (r == 0 && strlen(name) > NV_CONTAINER_MAX)
        r = reason_set(why, -EINVAL, "A volume's name has at most %d bytes.", NV_CONTAINER_MAX);
    return r;
}

static int nv_set_volume(struct nv_volume *volume, unsigned mask,
                         const struct volume_attributes *attributes, struct reason *why)
{
    struct volume_attributes *has = &volume->attributes;
    struct volume_attributes wanted = *has;
    if (mask & VOLUME_SET_SIZE)
        wanted.size_bytes = attributes->size_bytes;
    if (mask & VOLUME_SET_GUARANTEE)
        wanted.is_guaranteed = attributes->is_guaranteed;
    if (mask & VOLUME_SET_FULL_POLICY)
    {
        wanted.pauses_when_full = attributes->pauses_when_full;
        wanted.pause_ms = attributes->pause_ms ? attributes->pause_ms : 30000;
    }
    if (mask & VOLUME_SET_LOCKED_UNTIL)
        wanted.locked_until_ns = attributes->locked_until_ns;
    if ((mask & (VOLUME_SET_SIZE | VOLUME_SET_GUARANTEE)) && wanted.is_guaranteed &&
        wanted.size_bytes == 0)
        return reason_set(why, -EINVAL, "A guarantee needs a size.");
    *has = wanted;
    if (mask & VOLUME_SET_COMMENT)
        snprintf(volume->comment, sizeof(volume->comment), "%s",
                 attributes->comment ? attributes->comment : "");
    return 0;
}

struct nv_volume *nv_volume_new(struct pool *pool, const char *name)
{
    struct nv_volume *volume = calloc(1, sizeof(*volume));
    if (!volume)
        return NULL;
    list_init(&volume->node);
    list_init(&volume->qtrees);
    list_init(&volume->sets);
    volume->id = pool->next_id++;
    volume->created_ns = pool->env->now_ns(pool->env);
    pool->env->random_bytes(pool->env, volume->uuid, sizeof(volume->uuid));
    snprintf(volume->name, sizeof(volume->name), "%s", name);
    return volume;
}

int volume_create(struct pool *pool, const char *name, const struct volume_attributes *attributes,
                  struct reason *why)
{
    reason_clear(why);
    AUTO_LOCK(&pool->lock);
    name = nv_strip(name);
    int r = nv_check_writable(pool, why);
    if (r == 0)
        r = nv_check_volume_name(name, why);
    if (r == 0)
        r = nv_check_comment(attributes->comment, why);
    if (r == 0)
        r = nv_check_free(pool, name, why);
    if (r < 0)
        return r;
    AUTO_FREE struct nv_volume *volume = nv_volume_new(pool, name);
    if (!volume)
        return -ENOMEM;
    r = nv_set_volume(volume, ~0u, attributes, why);
    if (r < 0)
        return r;
    list_add_tail(&pool->volumes, &volume->node);
    volume = NULL;
    return 0;
}

int volume_modify(struct pool *pool, const char *name, unsigned mask,
                  const struct volume_attributes *attributes, struct reason *why)
{
    reason_clear(why);
    AUTO_LOCK(&pool->lock);
    struct nv_volume *volume = NULL;
    int r = nv_check_writable(pool, why);
    if (r == 0 && (mask & VOLUME_SET_COMMENT))
        r = nv_check_comment(attributes->comment, why);
    if (r == 0)
        r = nv_require_volume(pool, name, &volume, why);
    if (r == 0 && (mask & VOLUME_SET_LOCKED_UNTIL))
        r = nv_check_lock_change(pool, volume->attributes.locked_until_ns,
                                 attributes->locked_until_ns, why);
    return r < 0 ? r : nv_set_volume(volume, mask, attributes, why);
}

/* Puts @to in place of @from at the head of the names of all LUNs below; only looks unless
 * @for_real. */
static int nv_rename_below(struct pool *pool, const char *from, const char *to, bool for_real,
                           struct reason *why)
{
    struct list renamed;
    list_init(&renamed);
    list_for_each_safe (lun, &pool->luns, struct nv_object, node)
    {
        char name[2 * LUN_NAME_MAX + 2];
        if (!nv_is_in(lun, from))
            continue;
        int len = snprintf(name, sizeof(name), "%s%s", to, lun->name + strlen(from));
        if (len > LUN_NAME_MAX)
            return reason_set(why, -EINVAL, "The name of '%s' would be too long.", lun->name);
        if (!for_real)
            continue;
        memcpy(lun->name, name, (size_t)len + 1);
        list_remove(&lun->node);
        list_add_tail(&renamed, &lun->node);
    }
    list_for_each_safe (lun, &renamed, struct nv_object, node)
    {
        list_remove(&lun->node);
        nv_insert_lun(pool, lun);
    }
    return 0;
}

/* The longest path below the volume that one of its sets knows. */
static size_t nv_longest_kept(struct pool *pool, const struct nv_volume *volume)
{
    size_t longest = 0;
    struct list *lists[] = {&pool->luns, &pool->deleted};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
    {
        list_for_each (lun, lists[i], struct nv_object, node)
        {
            list_for_each (snapshot, &lun->snapshots, struct nv_object, node)
            {
                if (snapshot->set && snapshot->set->volume == volume)
                    longest = max_u64(longest, strlen(snapshot->place));
            }
        }
    }
    list_for_each (set, &volume->sets, struct nv_set, node)
    {
        list_for_each (qtree, &set->qtrees, struct nv_qtree, node)
        {
            longest = max_u64(longest, strlen(qtree->name) + 2);
        }
    }
    return longest;
}

int volume_rename(struct pool *pool, const char *name, const char *new_name, struct reason *why)
{
    reason_clear(why);
    AUTO_LOCK(&pool->lock);
    new_name = nv_strip(new_name);
    struct nv_volume *volume = NULL;
    int r = nv_check_writable(pool, why);
    if (r == 0)
        r = nv_check_volume_name(new_name, why);
    if (r == 0)
        r = nv_require_volume(pool, name, &volume, why);
    if (r == 0)
        r = nv_check_free(pool, new_name, why);
    if (r == 0)
        r = nv_rename_below(pool, volume->name, new_name, false, why);
    if (r < 0)
        return r;
    if (nv_longest_kept(pool, volume) + 1 + strlen(new_name) > LUN_NAME_MAX)
        return reason_set(why, -EINVAL, "A snapshot holds a path that would be too long.");
    list_for_each (qtree, &volume->qtrees, struct nv_qtree, node)
    {
        if (strlen(qtree->name) + 1 + strlen(new_name) > NV_CONTAINER_MAX)
            return reason_set(why, -EINVAL, "The name of qtree '%s' would be too long.",
                              qtree->name);
    }
    r = nv_rename_below(pool, volume->name, new_name, true, why);
    snprintf(volume->name, sizeof(volume->name), "%s", new_name);
    return r;
}

/* ---- deleting */

uint64_t nv_count_clones(struct pool *pool, const struct nv_set *set)
{
    uint64_t count = 0;
    list_for_each (volume, &pool->volumes, struct nv_volume, node)
    {
        count += volume->parent == set;
    }
    return count;
}

static int nv_check_delete_sets(struct pool *pool, const struct nv_volume *volume,
                                struct reason *why)
{
    list_for_each (set, &volume->sets, struct nv_set, node)
    {
        if (nv_count_clones(pool, set) > 0)
            return reason_set(why, -EBUSY, "A clone depends on the snapshot '%s'.", set->name);
        if (nv_is_locked(pool, set->locked_until_ns))
            return reason_set(why, -EPERM, "The snapshot '%s' is locked.", set->name);
    }
    return 0;
}

/* What is locked comes before what is in use. */
static int nv_check_delete_luns(struct pool *pool, const struct nv_volume *volume, unsigned flags,
                                struct reason *why)
{
    int locked = 0, busy = 0;
    list_for_each (lun, &pool->luns, struct nv_object, node)
    {
        if (!nv_is_in(lun, volume->name))
            continue;
        locked = keep_first(locked, nv_check_unlocked(pool, lun, why));
        busy = keep_first(busy, nv_check_unused(lun, lun->name, flags, why));
        list_for_each (snapshot, &lun->snapshots, struct nv_object, node)
        {
            locked = keep_first(locked, nv_check_unlocked(pool, snapshot, why));
            busy = keep_first(busy, nv_check_unused(snapshot, snapshot->name, flags, why));
        }
    }
    list_for_each (lun, &pool->deleted, struct nv_object, node)
    {
        list_for_each (snapshot, &lun->snapshots, struct nv_object, node)
        {
            if (snapshot->set->volume != volume)
                continue;
            locked = keep_first(locked, nv_check_unlocked(pool, snapshot, why));
            busy = keep_first(busy, nv_check_unused(snapshot, snapshot->name, flags, why));
        }
    }
    return keep_first(locked, busy);
}

static bool nv_is_empty(struct pool *pool, const struct nv_volume *volume)
{
    bool is_empty = list_is_empty(&volume->qtrees) && list_is_empty(&volume->sets);
    list_for_each (lun, &pool->luns, struct nv_object, node)
    {
        is_empty &= !nv_is_in(lun, volume->name);
    }
    return is_empty;
}

static void nv_volume_free(struct nv_volume *volume)
{
    list_for_each_safe (qtree, &volume->qtrees, struct nv_qtree, node)
    {
        list_remove(&qtree->node);
        free(qtree);
    }
    list_for_each_safe (set, &volume->sets, struct nv_set, node)
    {
        nv_set_free(set);
    }
    list_remove(&volume->node);
    free(volume);
}

void nv_volumes_clear(struct pool *pool)
{
    list_for_each_safe (volume, &pool->volumes, struct nv_volume, node)
    {
        nv_volume_free(volume);
    }
}

void nv_set_free(struct nv_set *set)
{
    list_for_each_safe (qtree, &set->qtrees, struct nv_qtree, node)
    {
        list_remove(&qtree->node);
        free(qtree);
    }
    list_remove(&set->node);
    free(set);
}

/* With the snapshots of LUNs that are part of it. */
void nv_set_delete(struct pool *pool, struct nv_set *set)
{
    struct list *lists[] = {&pool->luns, &pool->deleted};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
    {
        list_for_each_safe (lun, lists[i], struct nv_object, node)
        {
            struct nv_object *member = NULL;
            list_for_each (snapshot, &lun->snapshots, struct nv_object, node)
            {
                member = snapshot->set == set ? snapshot : member;
            }
            if (member)
                nv_snapshot_remove(pool, member);
        }
    }
    nv_set_free(set);
}

/* A deferred snapshot goes with its last clone. */
void nv_leave_parent(struct pool *pool, struct nv_volume *volume)
{
    struct nv_set *set = volume->parent;
    volume->parent = NULL;
    if (set && set->is_deferred && nv_count_clones(pool, set) == 0)
        nv_set_delete(pool, set);
}

int volume_delete(struct pool *pool, const char *name, bool with_contents, unsigned flags,
                  struct reason *why)
{
    reason_clear(why);
    AUTO_LOCK(&pool->lock);
    struct nv_volume *volume = NULL;
    int r = nv_check_writable(pool, why);
    if (r == 0)
        r = nv_require_volume(pool, name, &volume, why);
    if (r == 0 && nv_is_locked(pool, volume->attributes.locked_until_ns))
        r = reason_set(why, -EPERM, "Volume '%s' is locked.", name);
    if (r == 0 && !with_contents && !nv_is_empty(pool, volume))
        r = reason_set(why, -EBUSY, "Volume '%s' is not empty; use --with-contents.", name);
    if (r == 0)
        r = nv_check_delete_sets(pool, volume, why);
    if (r == 0)
        r = nv_check_delete_luns(pool, volume, flags, why);
    if (r < 0)
        return r;
    list_for_each_safe (lun, &pool->luns, struct nv_object, node)
    {
        if (!nv_is_in(lun, volume->name))
            continue;
        list_for_each_safe (snapshot, &lun->snapshots, struct nv_object, node)
        {
            nv_object_delete(pool, snapshot);
        }
        nv_object_delete(pool, lun);
    }
    list_for_each_safe (set, &volume->sets, struct nv_set, node)
    {
        nv_set_delete(pool, set); /* and deleted LUNs with them */
    }
    nv_leave_parent(pool, volume);
    nv_volume_free(volume);
    return 0;
}

static void nv_fill_volume(struct pool *pool, struct nv_volume *volume, struct volume_info *info)
{
    const struct volume_attributes *has = &volume->attributes;
    *info = (struct volume_info){.id = volume->id,
                                 .size_bytes = has->size_bytes,
                                 .is_guaranteed = has->is_guaranteed,
                                 .pauses_when_full = has->pauses_when_full,
                                 .pause_ms = has->pause_ms,
                                 .locked_until_ns = has->locked_until_ns,
                                 .created_ns = volume->created_ns,
                                 .qtree_count = nv_count_nodes(&volume->qtrees),
                                 .snapshot_count = nv_count_nodes(&volume->sets)};
    snprintf(info->name, sizeof(info->name), "%s", volume->name);
    snprintf(info->comment, sizeof(info->comment), "%s", volume->comment);
    memcpy(info->uuid, volume->uuid, sizeof(info->uuid));
    list_for_each (lun, &pool->luns, struct nv_object, node)
    {
        if (!nv_is_in(lun, volume->name))
            continue;
        info->lun_count++;
        info->logical_bytes += lun->size_bytes;
        info->mapped_bytes += lun->content.mapped_pages * LUN_BLK_BYTES;
    }
    list_for_each (lun, &pool->deleted, struct nv_object, node)
    {
        info->deleted_lun_count += nv_volume_of(pool, lun) == volume;
    }
    if (!volume->parent)
        return;
    info->parent_volume_id = volume->parent->volume->id;
    info->parent_snapshot_id = volume->parent->id;
    snprintf(info->parent, sizeof(info->parent), "%s@%s", volume->parent->volume->name,
             volume->parent->name);
}

int volume_get_info(struct pool *pool, const char *name, struct volume_info *info,
                    struct reason *why)
{
    reason_clear(why);
    AUTO_LOCK(&pool->lock);
    struct nv_volume *volume = NULL;
    int r = nv_require_volume(pool, name, &volume, why);
    if (r == 0)
        nv_fill_volume(pool, volume, info);
    return r;
}

int volume_get_info_by_id(struct pool *pool, uint64_t id, struct volume_info *info)
{
    AUTO_LOCK(&pool->lock);
    list_for_each (volume, &pool->volumes, struct nv_volume, node)
        if (volume->id == id)
        {
            nv_fill_volume(pool, volume, info);
            return 0;
        }
    return -ENOENT;
}

static int nv_compare_volumes(const void *a, const void *b)
{
    return strcmp(((const struct volume_info *)a)->name, ((const struct volume_info *)b)->name);
}

int volume_list(struct pool *pool, struct volume_info **list, size_t *count)
{
    AUTO_LOCK(&pool->lock);
    struct volume_info *infos = calloc(nv_count_nodes(&pool->volumes) + 1, sizeof(*infos));
    size_t found = 0;
    if (!infos)
        return -ENOMEM;
    list_for_each (volume, &pool->volumes, struct nv_volume, node)
    {
        nv_fill_volume(pool, volume, &infos[found++]);
    }
    qsort(infos, found, sizeof(*infos), nv_compare_volumes);
    *list = infos;
    *count = found;
    return 0;
}

/* ---- qtrees */

/* @path is VOLUME/QTREE, and the volume is there. */
static int nv_check_qtree_path(struct pool *pool, const char *path, struct nv_volume **volume,
                               struct reason *why)
{
    int r = nv_check_path(path, why);
    const char *slash = r == 0 ? strchr(path, '/') : NULL;
    if (r == 0 && (!slash || strchr(slash + 1, '/') || strlen(path) > NV_CONTAINER_MAX))
        r = reason_set(why, -EINVAL, "A qtree is named VOLUME/QTREE, not '%s'.", path);
    if (r < 0)
        return r;
    *volume = nv_volume_of_path(pool, path);
    return *volume ? 0 : reason_set(why, -ENOENT, "There is no volume for '%s'.", path);
}

struct nv_qtree *nv_qtree_new(struct pool *pool, struct nv_volume *volume, const char *name,
                              const char *comment)
{
    struct nv_qtree *qtree = calloc(1, sizeof(*qtree));
    if (!qtree)
        return NULL;
    qtree->id = pool->next_id++;
    qtree->created_ns = pool->env->now_ns(pool->env);
    snprintf(qtree->name, sizeof(qtree->name), "%s", name);
    snprintf(qtree->comment, sizeof(qtree->comment), "%s", comment ? comment : "");
    list_add_tail(&volume->qtrees, &qtree->node);
    return qtree;
}

int qtree_create(struct pool *pool, const char *path, const char *comment, struct reason *why)
{
    reason_clear(why);
    AUTO_LOCK(&pool->lock);
    path = nv_strip(path);
    struct nv_volume *volume = NULL;
    int r = nv_check_writable(pool, why);
    if (r == 0)
        r = nv_check_comment(comment, why);
    if (r == 0)
        r = nv_check_qtree_path(pool, path, &volume, why);
    if (r == 0)
        r = nv_check_free(pool, path, why);
    if (r < 0)
        return r;
    return nv_qtree_new(pool, volume, strchr(path, '/') + 1, comment) ? 0 : -ENOMEM;
}

static int nv_require_qtree(struct pool *pool, const char *path, struct nv_qtree **qtree,
                            struct nv_volume **volume, struct reason *why)
{
    *qtree = nv_qtree_find(pool, path);
    *volume = nv_volume_of_path(pool, path);
    return *qtree ? 0 : reason_set(why, -ENOENT, "There is no qtree '%s'.", path);
}

int qtree_rename(struct pool *pool, const char *path, const char *new_name, struct reason *why)
{
    reason_clear(why);
    AUTO_LOCK(&pool->lock);
    char new_path[2 * LUN_NAME_MAX + 2];
    path = nv_strip(path);
    new_name = nv_strip(new_name);
    const char *slash = strchr(path, '/');
    snprintf(new_path, sizeof(new_path), "%.*s%s",
             slash && !strchr(new_name, '/') ? (int)(slash + 1 - path) : 0, path, new_name);
    struct nv_qtree *qtree = NULL;
    struct nv_volume *volume = NULL, *new_volume = NULL;
    int r = nv_check_writable(pool, why);
    if (r == 0)
        r = nv_require_qtree(pool, path, &qtree, &volume, why);
    if (r == 0)
        r = nv_check_qtree_path(pool, new_path, &new_volume, why);
    if (r == 0 && volume != new_volume)
        r = reason_set(why, -EINVAL, "Qtree '%s' stays in its volume.", path);
    if (r == 0)
        r = nv_check_free(pool, new_path, why);
    if (r == 0)
        r = nv_rename_below(pool, path, new_path, false, why);
    list_for_each (lun, &pool->luns, struct nv_object, node)
    {
        char name[3 * LUN_NAME_MAX];
        if (r < 0 || !nv_is_in(lun, path))
            continue;
        snprintf(name, sizeof(name), "%s%s", new_path, lun->name + strlen(path));
        r = nv_check_snapshot_names(pool, lun, name, why);
    }
    if (r == 0)
        r = nv_rename_below(pool, path, new_path, true, why);
    if (r == 0)
        snprintf(qtree->name, sizeof(qtree->name), "%s", strchr(new_path, '/') + 1);
    return r;
}

int qtree_delete(struct pool *pool, const char *path, struct reason *why)
{
    reason_clear(why);
    AUTO_LOCK(&pool->lock);
    path = nv_strip(path);
    struct nv_qtree *qtree = NULL;
    struct nv_volume *volume = NULL;
    int r = nv_check_writable(pool, why);
    if (r == 0)
        r = nv_require_qtree(pool, path, &qtree, &volume, why);
    if (r == 0 && nv_is_locked(pool, volume->attributes.locked_until_ns))
        r = reason_set(why, -EPERM, "Volume '%s' is locked.", volume->name);
    list_for_each (lun, &pool->luns, struct nv_object, node)
    {
        if (r == 0 && nv_is_in(lun, path))
            r = reason_set(why, -EBUSY, "Qtree '%s' holds LUNs.", path);
    }
    if (r < 0)
        return r;
    list_remove(&qtree->node);
    free(qtree);
    return 0;
}

static int nv_compare_qtrees(const void *a, const void *b)
{
    return strcmp(((const struct qtree_info *)a)->path, ((const struct qtree_info *)b)->path);
}

static void nv_fill_qtree(struct pool *pool, const struct nv_volume *volume,
                          const struct nv_qtree *qtree, struct qtree_info *info)
{
    char path[2 * LUN_NAME_MAX + 2];
    *info = (struct qtree_info){
        .id = qtree->id, .volume_id = volume->id, .created_ns = qtree->created_ns};
    snprintf(path, sizeof(path), "%s/%s", volume->name, qtree->name);
    snprintf(info->path, sizeof(info->path), "%.*s", LUN_NAME_MAX, path);
    snprintf(info->comment, sizeof(info->comment), "%s", qtree->comment);
    list_for_each (lun, &pool->luns, struct nv_object, node)
    {
        if (!nv_is_in(lun, path))
            continue;
        info->lun_count++;
        info->logical_bytes += lun->size_bytes;
    }
}

int qtree_list(struct pool *pool, const char *volume_name, struct qtree_info **list, size_t *count,
               struct reason *why)
{
    reason_clear(why);
    AUTO_LOCK(&pool->lock);
    struct nv_volume *only = NULL;
    int r = volume_name ? nv_require_volume(pool, volume_name, &only, why) : 0;
    if (r < 0)
        return r;
    size_t total = 0, found = 0;
    list_for_each (volume, &pool->volumes, struct nv_volume, node)
    {
        total += nv_count_nodes(&volume->qtrees);
    }
    struct qtree_info *infos = calloc(total + 1, sizeof(*infos));
    if (!infos)
        return -ENOMEM;
    list_for_each (volume, &pool->volumes, struct nv_volume, node)
    {
        if (only && volume != only)
            continue;
        list_for_each (qtree, &volume->qtrees, struct nv_qtree, node)
        {
            nv_fill_qtree(pool, volume, qtree, &infos[found++]);
        }
    }
    qsort(infos, found, sizeof(*infos), nv_compare_qtrees);
    *list = infos;
    *count = found;
    return 0;
}
