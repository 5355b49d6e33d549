/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands of the naive engine on many LUNs at once: snapshots and clones of volumes, clones of a
 * group, redeploy. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "tests/lib/naive_internal.h"

/* ---- snapshots of volumes */

static struct nv_set *nv_set_find(struct nv_volume *volume, const char *name)
{
    list_for_each (set, &volume->sets, struct nv_set, node)
    {
        if (strcmp(set->name, name) == 0)
            return set;
    }
    return NULL;
}

static int nv_require_set(struct pool *pool, const char *volume_name, const char *name,
                          struct nv_set **set, struct reason *why)
{
    struct nv_volume *volume = NULL;
    int r = nv_check_path(nv_strip(volume_name), why);
    if (r == 0)
        r = nv_check_name(name, "snapshot", why);
    if (r == 0)
        r = nv_require_volume(pool, volume_name, &volume, why);
    if (r < 0)
        return r;
    *set = nv_set_find(volume, name);
    return *set ? 0
                : reason_set(why, -ENOENT, "Volume '%s' has no snapshot '%s'.", volume_name, name);
}

/* No snapshot of the volume or of a LUN in it has that name. */
static int nv_check_set_name(struct pool *pool, struct nv_volume *volume, const char *name,
                             struct reason *why)
{
    bool is_taken = nv_set_find(volume, name) != NULL;
    list_for_each (lun, &pool->luns, struct nv_object, node)
    {
        is_taken |= nv_is_in(lun, volume->name) && nv_snapshot_of(pool, lun, name);
    }
    if (!is_taken)
        return 0;
    return reason_set(why, -EEXIST, "There is a snapshot '%s' in volume '%s' already.", name,
                      volume->name);
}

static int nv_set_make(struct pool *pool, struct nv_volume *volume,
                       const struct volume_snapshot_args *args, bool is_automatic,
                       struct nv_set **result)
{
    struct nv_set *set = calloc(1, sizeof(*set));
    if (!set)
        return -ENOMEM;
    set->volume = volume;
    set->id = pool->next_id++;
    set->created_ns = pool->env->now_ns(pool->env);
    set->locked_until_ns = args->locked_until_ns;
    set->is_automatic = is_automatic;
    snprintf(set->name, sizeof(set->name), "%s", args->name);
    snprintf(set->comment, sizeof(set->comment), "%s", args->comment ? args->comment : "");
    list_init(&set->qtrees);
    list_add_tail(&volume->sets, &set->node);
    *result = set;
    list_for_each (qtree, &volume->qtrees, struct nv_qtree, node)
    {
        struct nv_qtree *kept = calloc(1, sizeof(*kept));
        if (!kept)
            return -ENOMEM;
        *kept = *qtree;
        list_add_tail(&set->qtrees, &kept->node);
    }
    list_for_each (lun, &pool->luns, struct nv_object, node)
    {
        if (!nv_is_in(lun, volume->name))
            continue;
        struct nv_object *snapshot = nv_object_copy(pool, lun, args->name, args->comment);
        if (!snapshot)
            return -ENOMEM; /* a half of it is left: this engine is for tests */
        snapshot->lun = lun;
        snapshot->set = set;
        snprintf(snapshot->place, sizeof(snapshot->place), "%s",
                 lun->name + strlen(volume->name) + 1);
        list_add_tail(&lun->snapshots, &snapshot->node);
    }
    return 0;
}

int volume_snapshot_create(struct pool *pool, const char *const *volumes, size_t count,
                           const struct volume_snapshot_args *args, struct reason *why)
{
    reason_clear(why);
    AUTO_LOCK(&pool->lock);
    AUTO_FREE struct nv_volume **found = calloc(count + 1, sizeof(struct nv_volume *));
    int r = nv_check_writable(pool, why);
    if (r == 0)
        r = nv_check_comment(args->comment, why);
    if (r == 0)
        r = nv_check_name(args->name, "snapshot", why);
    if (r == 0 && (count == 0 || count > LUN_SET_MAX))
        r = reason_set(why, -EINVAL, "A snapshot is of 1 to %d volumes.", LUN_SET_MAX);
    if (r == 0 && !found)
        r = -ENOMEM;
    for (size_t i = 0; r == 0 && i < count; i++)
    {
        r = nv_require_volume(pool, volumes[i], &found[i], why);
        for (size_t before = 0; r == 0 && before < i; before++)
        {
            if (found[before] == found[i])
                r = reason_set(why, -EINVAL, "Volume '%s' is named twice.", volumes[i]);
        }
        if (r == 0)
            r = nv_check_set_name(pool, found[i], args->name, why);
    }
    pool->generation++;
    struct nv_set *set;
    for (size_t i = 0; r == 0 && i < count; i++)
        r = nv_set_make(pool, found[i], args, false, &set);
    return r;
}

/* Calls @each for all snapshots of LUNs that are part of @set. */
typedef int nv_each_member(struct pool *pool, struct nv_object *member, unsigned flags,
                           struct reason *why);
static int nv_each(struct pool *pool, struct nv_set *set, nv_each_member *each, unsigned flags,
                   struct reason *why)
{
    int r = 0;
    struct list *lists[] = {&pool->luns, &pool->deleted};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
    {
        /* What is brought back moves from one list to the other. */
        list_for_each_safe (lun, lists[i], struct nv_object, node)
        {
            list_for_each (snapshot, &lun->snapshots, struct nv_object, node)
            {
                if (snapshot->set == set && r == 0)
                    r = each(pool, snapshot, flags, why);
            }
        }
    }
    return r;
}

static int nv_member_unlocked(struct pool *pool, struct nv_object *member, unsigned flags,
                              struct reason *why)
{
    (void)flags;
    return nv_check_unlocked(pool, member, why);
}

static int nv_member_clonable(struct pool *pool, struct nv_object *member, unsigned flags,
                              struct reason *why)
{
    (void)flags;
    return nv_check_clonable(pool, member, why);
}

static int nv_member_unused(struct pool *pool, struct nv_object *member, unsigned flags,
                            struct reason *why)
{
    (void)pool;
    return nv_check_unused(member, member->name, flags, why);
}

static int nv_member_lun_unlocked(struct pool *pool, struct nv_object *member, unsigned flags,
                                  struct reason *why)
{
    (void)flags;
    return nv_check_unlocked(pool, member->lun, why);
}

static int nv_member_lun_unused(struct pool *pool, struct nv_object *member, unsigned flags,
                                struct reason *why)
{
    (void)pool;
    return nv_check_unused(member->lun, member->lun->name, flags, why);
}

static int nv_member_revivable(struct pool *pool, struct nv_object *member, unsigned flags,
                               struct reason *why)
{
    (void)flags;
    return member->lun->is_deleted ? nv_check_revival(pool, member, why) : 0;
}

static int nv_member_restore(struct pool *pool, struct nv_object *member, unsigned flags,
                             struct reason *why)
{
    (void)flags, (void)why;
    return member->lun->is_deleted ? nv_revive(pool, member)
                                   : nv_set_content(pool, member->lun, member);
}

int volume_snapshot_delete(struct pool *pool, const char *volume, const char *snapshot,
                           unsigned flags, struct reason *why)
{
    reason_clear(why);
    AUTO_LOCK(&pool->lock);
    struct nv_set *set = NULL;
    int r = nv_check_writable(pool, why);
    if (r == 0)
        r = nv_require_set(pool, volume, snapshot, &set, why);
    if (r == 0 && (nv_is_locked(pool, set->locked_until_ns) ||
                   nv_is_locked(pool, set->volume->attributes.locked_until_ns)))
        r = reason_set(why, -EPERM, "Snapshot '%s' is locked.", snapshot);
    if (r == 0)
        r = nv_each(pool, set, nv_member_unlocked, flags, why);
    bool is_busy = r == 0 && nv_count_clones(pool, set) > 0;
    if (is_busy && !(flags & LUN_DEFER))
        return reason_set(why, -EBUSY, "Volumes depend on snapshot '%s'.", snapshot);
    if (is_busy)
    {
        set->is_deferred = true;
        return 0;
    }
    if (r == 0)
        r = nv_each(pool, set, nv_member_unused, flags, why);
    if (r == 0)
        nv_set_delete(pool, set);
    return r;
}

struct nv_renaming
{
    const char *new_name;
    bool is_taken;
};

/* Looks whether the new names of members are taken, or gives them. */
static void nv_rename_members(struct pool *pool, struct nv_set *set, struct nv_renaming *renaming,
                              bool for_real)
{
    struct list *lists[] = {&pool->luns, &pool->deleted};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
    {
        list_for_each (lun, lists[i], struct nv_object, node)
        {
            list_for_each (member, &lun->snapshots, struct nv_object, node)
            {
                char full[3 * LUN_NAME_MAX], path[2 * LUN_NAME_MAX + 2];
                if (member->set != set)
                    continue;
                nv_path_of(member, path);
                snprintf(full, sizeof(full), "%s@%s", path, renaming->new_name);
                renaming->is_taken |= nv_find(pool, full) != NULL;
                if (for_real)
                    snprintf(member->name, sizeof(member->name), "%s", renaming->new_name);
            }
        }
    }
}

int volume_snapshot_rename(struct pool *pool, const char *volume, const char *snapshot,
                           const char *new_snapshot, struct reason *why)
{
    reason_clear(why);
    AUTO_LOCK(&pool->lock);
    struct nv_set *set = NULL;
    int r = nv_check_writable(pool, why);
    if (r == 0)
        r = nv_check_name(new_snapshot, "snapshot", why);
    if (r == 0)
        r = nv_require_set(pool, volume, snapshot, &set, why);
    if (r < 0)
        return r;
    struct nv_renaming renaming = {.new_name = new_snapshot};
    renaming.is_taken = nv_set_find(set->volume, new_snapshot) != NULL;
    /* Only those LUNs matter that the snapshot holds. */
    nv_rename_members(pool, set, &renaming, false);
    if (renaming.is_taken)
        return reason_set(why, -EEXIST, "There is a snapshot '%s' already.", new_snapshot);
    nv_rename_members(pool, set, &renaming, true);
    snprintf(set->name, sizeof(set->name), "%s", new_snapshot);
    return 0;
}

int volume_snapshot_restore(struct pool *pool, const char *volume, const char *snapshot,
                            unsigned flags, struct reason *why)
{
    reason_clear(why);
    AUTO_LOCK(&pool->lock);
    struct nv_set *set = NULL;
    int r = nv_check_writable(pool, why);
    if (r == 0)
        r = nv_require_set(pool, volume, snapshot, &set, why);
    if (r == 0)
        r = nv_each(pool, set, nv_member_lun_unlocked, flags, why);
    if (r == 0)
        r = nv_each(pool, set, nv_member_lun_unused, flags, why);
    if (r == 0)
        r = nv_each(pool, set, nv_member_revivable, flags, why);
    return r < 0 ? r : nv_each(pool, set, nv_member_restore, flags, why);
}

int volume_snapshot_lock(struct pool *pool, const char *volume, const char *snapshot,
                         uint64_t locked_until_ns, struct reason *why)
{
    reason_clear(why);
    AUTO_LOCK(&pool->lock);
    struct nv_set *set = NULL;
    int r = nv_check_writable(pool, why);
    if (r == 0)
        r = nv_require_set(pool, volume, snapshot, &set, why);
    if (r == 0)
        r = nv_check_lock_change(pool, set->locked_until_ns, locked_until_ns, why);
    if (r == 0)
        set->locked_until_ns = locked_until_ns;
    return r;
}

static void nv_fill_set(struct pool *pool, const struct nv_set *set,
                        struct volume_snapshot_info *info)
{
    *info = (struct volume_snapshot_info){.id = set->id,
                                          .volume_id = set->volume->id,
                                          .created_ns = set->created_ns,
                                          .locked_until_ns = set->locked_until_ns,
                                          .clone_count = (uint32_t)nv_count_clones(pool, set),
                                          .is_automatic = set->is_automatic,
                                          .is_deferred = set->is_deferred};
    snprintf(info->name, sizeof(info->name), "%s@%s", set->volume->name, set->name);
    snprintf(info->comment, sizeof(info->comment), "%s", set->comment);
    struct list *lists[] = {&pool->luns, &pool->deleted};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
    {
        list_for_each (lun, lists[i], struct nv_object, node)
        {
            list_for_each (member, &lun->snapshots, struct nv_object, node)
            {
                info->lun_count += member->set == set;
                info->logical_bytes += member->set == set ? member->size_bytes : 0;
            }
        }
    }
}

/* By volume; stable, so that the age decides within one. */
static int nv_compare_sets(const void *a, const void *b)
{
    const struct volume_snapshot_info *x = a, *y = b;
    size_t len_x = strcspn(x->name, "@"), len_y = strcspn(y->name, "@");
    int order = strncmp(x->name, y->name, len_x < len_y ? len_x : len_y);
    if (order == 0 && len_x != len_y)
        order = len_x < len_y ? -1 : 1;
    return order != 0 ? order : x->id < y->id ? -1 : 1;
}

int volume_snapshot_list(struct pool *pool, const char *volume_name,
                         struct volume_snapshot_info **list, size_t *count, struct reason *why)
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
        total += nv_count_nodes(&volume->sets);
    }
    struct volume_snapshot_info *infos = calloc(total + 1, sizeof(*infos));
    if (!infos)
        return -ENOMEM;
    list_for_each (volume, &pool->volumes, struct nv_volume, node)
    {
        if (only && volume != only)
            continue;
        list_for_each (set, &volume->sets, struct nv_set, node)
        {
            nv_fill_set(pool, set, &infos[found++]);
        }
    }
    qsort(infos, found, sizeof(*infos), nv_compare_sets);
    *list = infos;
    *count = found;
    return 0;
}

/* ---- clones of volumes */

static int nv_clone_lun(struct pool *pool, const struct volume_clone_args *args,
                        struct nv_object *member)
{
    char path[2 * LUN_NAME_MAX + 2];
    snprintf(path, sizeof(path), "%s/%s", nv_strip(args->name), member->place);
    struct lun_clone_args clone_args = {.no_reserve = args->no_reserve,
                                        .comment = member->lun->comment};
    struct nv_object *clone = nv_clone_of(pool, member, path, &clone_args);
    if (!clone)
        return -ENOMEM;
    nv_insert_lun(pool, clone);
    return 0;
}

static int nv_clone_luns(struct pool *pool, const struct volume_clone_args *args,
                         struct nv_set *set)
{
    struct list *lists[] = {&pool->luns, &pool->deleted};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
    {
        /* The new ones come into the same list: they are in another volume. */
        list_for_each_safe (lun, lists[i], struct nv_object, node)
        {
            struct nv_object *member = NULL;
            list_for_each (snapshot, &lun->snapshots, struct nv_object, node)
            {
                member = snapshot->set == set ? snapshot : member;
            }
            int r = member ? nv_clone_lun(pool, args, member) : 0;
            if (r < 0)
                return r;
        }
    }
    return 0;
}

/* Whether the clone of what is at @place in its volume would have too long a name. */
static bool nv_is_too_long(const struct volume_clone_args *args, const char *place)
{
    return strlen(nv_strip(args->name)) + 1 + strlen(place) > LUN_NAME_MAX;
}

static int nv_check_clone_paths(struct pool *pool, const struct volume_clone_args *args,
                                const struct nv_volume *parent, const struct nv_set *set,
                                struct reason *why)
{
    bool is_too_long = false;
    struct list *lists[] = {&pool->luns, &pool->deleted};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
    {
        list_for_each (lun, lists[i], struct nv_object, node)
        {
            if (!set && !lun->is_deleted && nv_is_in(lun, parent->name))
                is_too_long |= nv_is_too_long(args, strchr(lun->name, '/') + 1);
            list_for_each (snapshot, &lun->snapshots, struct nv_object, node)
            {
                is_too_long |= set && snapshot->set == set && nv_is_too_long(args, snapshot->place);
            }
        }
    }
    return is_too_long ? reason_set(why, -EINVAL, "The name of a clone would be too long.") : 0;
}

static int nv_clone_qtrees(struct pool *pool, const struct nv_set *set, struct nv_volume *clone)
{
    list_for_each (qtree, &set->qtrees, struct nv_qtree, node)
    {
        if (!nv_qtree_new(pool, clone, qtree->name, qtree->comment))
            return -ENOMEM;
    }
    return 0;
}

static int nv_volume_clone(struct pool *pool, const struct volume_clone_args *args,
                           struct nv_volume *parent, struct nv_set *set, struct reason *why)
{
    (void)why;
    int r = 0;
    if (!set)
    {
        char name[LUN_NAME_MAX + 1];
        snprintf(name, sizeof(name), "clone_%.100s.%" PRIu64, nv_strip(args->name), pool->next_id);
        struct volume_snapshot_args snapshot = {.name = name};
        r = nv_set_make(pool, parent, &snapshot, true, &set);
    }
    struct nv_volume *clone = r == 0 ? nv_volume_new(pool, nv_strip(args->name)) : NULL;
    if (!clone)
        return -ENOMEM;
    clone->parent = set;
    clone->attributes = parent->attributes;
    clone->attributes.locked_until_ns = 0;
    clone->attributes.is_guaranteed &= !args->unguaranteed;
    snprintf(clone->comment, sizeof(clone->comment), "%s", args->comment ? args->comment : "");
    list_add_tail(&pool->volumes, &clone->node);
    r = nv_clone_qtrees(pool, set, clone);
    return r < 0 ? r : nv_clone_luns(pool, args, set);
}

int volume_clone(struct pool *pool, const struct volume_clone_args *args, struct reason *why)
{
    reason_clear(why);
    AUTO_LOCK(&pool->lock);
    struct nv_volume *parent = NULL;
    struct nv_set *set = NULL;
    int r = nv_check_writable(pool, why);
    if (r == 0)
        r = nv_check_volume_name(nv_strip(args->name), why);
    if (r == 0)
        r = nv_check_comment(args->comment, why);
    if (r == 0)
        r = nv_require_volume(pool, args->volume, &parent, why);
    if (r == 0)
        r = nv_check_free(pool, nv_strip(args->name), why);
    if (r == 0 && args->snapshot)
        r = nv_require_set(pool, args->volume, args->snapshot, &set, why);
    if (r == 0 && !args->unlocked &&
        (nv_is_locked(pool, parent->attributes.locked_until_ns) ||
         (set && nv_is_locked(pool, set->locked_until_ns))))
        r = reason_set(why, -EPERM, "What is locked has no clones that are not.");
    if (r == 0 && !args->unlocked && set)
        r = nv_each(pool, set, nv_member_clonable, 0, why);
    list_for_each (lun, &pool->luns, struct nv_object, node)
    {
        if (r == 0 && !args->unlocked && !set && nv_volume_of(pool, lun) == parent)
            r = nv_check_clonable(pool, lun, why);
    }
    if (r == 0)
        r = nv_check_clone_paths(pool, args, parent, set, why);
    return r < 0 ? r : nv_volume_clone(pool, args, parent, set, why);
}

int volume_clone_split(struct pool *pool, const char *name, struct reason *why)
{
    reason_clear(why);
    AUTO_LOCK(&pool->lock);
    struct nv_volume *volume = NULL;
    int r = nv_check_writable(pool, why);
    if (r == 0)
        r = nv_require_volume(pool, name, &volume, why);
    if (r == 0 && !volume->parent)
        r = reason_set(why, -EINVAL, "Volume '%s' is not a clone.", name);
    if (r == 0)
        nv_leave_parent(pool, volume);
    return r;
}

/* ---- clones of a group */

int lun_clone_group(struct pool *pool, const struct lun_pair *pairs, size_t count,
                    const struct lun_clone_args *common, struct reason *why)
{
    reason_clear(why);
    AUTO_LOCK(&pool->lock);
    AUTO_FREE struct nv_object **sources = calloc(count + 1, sizeof(struct nv_object *));
    int r = nv_check_writable(pool, why);
    if (r == 0)
        r = nv_check_clone_args(common, why);
    if (r == 0 && (count == 0 || count > LUN_CLONES_AT_ONCE_MAX))
        r = reason_set(why, -EINVAL, "A group has 1 to %d LUNs.", LUN_CLONES_AT_ONCE_MAX);
    for (size_t i = 0; r == 0 && i < count; i++)
    {
        for (size_t j = 0; r == 0 && j < i; j++)
        {
            if (strcmp(nv_strip(pairs[i].name), nv_strip(pairs[j].name)) == 0)
                r = reason_set(why, -EEXIST, "Two clones would be '%s'.", pairs[i].name);
        }
    }
    for (size_t i = 0; r == 0 && i < count; i++)
    {
        r = nv_require(pool, pairs[i].source, &sources[i], why);
        if (r == 0 && !sources[i]->lun != !sources[0]->lun)
            r = reason_set(why, -EINVAL, "A group is of LUNs or of snapshots.");
        if (r == 0 && !common->unlocked)
            r = nv_check_clonable(pool, sources[i], why);
        if (r == 0)
            r = nv_check_place(pool, pairs[i].name, why);
    }
    for (size_t i = 0; r == 0 && i < count; i++)
    {
        struct nv_object *clone = nv_clone_of(pool, sources[i], nv_strip(pairs[i].name), common);
        if (!clone)
            return -ENOMEM;
        nv_insert_lun(pool, clone);
    }
    return r;
}

/* ---- redeploy */

static int nv_check_undo(struct pool *pool, struct nv_object *lun, const char *undo, unsigned flags,
                         struct reason *why)
{
    struct nv_object *old = nv_snapshot_of(pool, lun, undo);
    if (!old)
        return 0;
    if (old->set)
        return reason_set(why, -EEXIST, "'%s' is part of a snapshot of a volume.", undo);
    int r = nv_check_unlocked(pool, old, why);
    return r < 0 ? r : nv_check_unused(old, undo, flags, why);
}

/* @content: what the source holds. */
static int nv_redeploy(struct pool *pool, struct nv_object *lun, const struct nv_object *content,
                       const char *origin, const char *undo)
{
    struct nv_object *old = nv_snapshot_of(pool, lun, undo);
    if (old)
        nv_object_delete(pool, old);
    struct nv_object *snapshot = nv_object_copy(pool, lun, undo, NULL);
    if (!snapshot)
        return -ENOMEM;
    snapshot->lun = lun;
    list_add_tail(&lun->snapshots, &snapshot->node);
    snprintf(lun->origin, sizeof(lun->origin), "%s", origin);
    return nv_set_content(pool, lun, content);
}

static int nv_redeploy_check(struct pool *pool, const struct nv_object *source,
                             const char *const *names, size_t count, const char *undo,
                             unsigned flags, struct reason *why)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < count; i++)
    {
        struct nv_object *lun = NULL;
        r = nv_require_lun(pool, names[i], &lun, why);
        for (size_t j = 0; r == 0 && j < i; j++)
        {
            if (nv_find(pool, names[j]) == lun)
                r = reason_set(why, -EINVAL, "LUN '%s' is named twice.", names[i]);
        }
        if (r == 0 && (lun == source || lun->sector_bytes != source->sector_bytes))
            r = reason_set(why, -EINVAL, "LUN '%s' cannot take that content.", names[i]);
        if (r == 0)
            r = nv_check_restorable(pool, lun, flags, why);
        if (r == 0)
            r = nv_check_undo(pool, lun, undo, flags, why);
    }
    return r;
}

int lun_redeploy(struct pool *pool, const char *source_name, const char *const *names, size_t count,
                 const char *undo, unsigned flags, struct reason *why)
{
    reason_clear(why);
    AUTO_LOCK(&pool->lock);
    struct nv_object *source = NULL;
    int r = nv_check_writable(pool, why);
    if (r == 0)
        r = nv_check_name(undo, "snapshot", why);
    if (r == 0 && (count == 0 || count > LUN_SET_MAX))
        r = reason_set(why, -EINVAL, "1 to %d LUNs are redeployed at once.", LUN_SET_MAX);
    if (r == 0)
        r = nv_require(pool, source_name, &source, why);
    if (r == 0)
        r = nv_redeploy_check(pool, source, names, count, undo, flags, why);
    if (r < 0)
        return r;
    /* The source may be an undo snapshot that is replaced. */
    char origin[2 * LUN_NAME_MAX + 2];
    nv_full_name(source, origin);
    struct nv_object *content = nv_object_copy(pool, source, "content", NULL);
    if (!content)
        return -ENOMEM;
    for (size_t i = 0; r == 0 && i < count; i++)
        r = nv_redeploy(pool, nv_find(pool, names[i]), content, origin, undo);
    nv_object_free(pool, content);
    return r;
}
