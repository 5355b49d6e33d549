/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands on LUNs and snapshots in the naive engine, and what it says about them. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "tests/lib/naive_internal.h"

/* ---- LUNs */

static int nv_check_size(uint64_t size_bytes, uint32_t sector_bytes, struct reason *why)
{
    if (sector_bytes != 512 && sector_bytes != 4096)
        return reason_set(why, -EINVAL, "A sector has 512 or 4096 bytes, not %" PRIu32 ".",
                          sector_bytes);
    if (size_bytes == 0 || size_bytes > LUN_SIZE_MAX_BYTES || size_bytes % sector_bytes != 0)
        return reason_set(why, -EINVAL,
                          "A LUN has at most %" PRIu64 " bytes and whole sectors of %" PRIu32
                          " bytes; %" PRIu64 " bytes were asked for.",
                          (uint64_t)LUN_SIZE_MAX_BYTES, sector_bytes, size_bytes);
    return 0;
}

int nv_check_place(struct pool *pool, const char *name, struct reason *why)
{
    char above[LUN_NAME_MAX + 1];
    name = nv_strip(name);
    int r = nv_check_path(name, why);
    if (r < 0)
        return r;
    for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/'))
    {
        snprintf(above, sizeof(above), "%.*s", (int)(slash - name), name);
        if (!(strchr(above, '/') ? (void *)nv_qtree_find(pool, above)
                                 : (void *)nv_volume_find(pool, above)))
            return reason_set(why, -ENOENT, "There is no '%s' for '%s'.", above, name);
    }
    if (nv_find(pool, name) || nv_volume_find(pool, name) || nv_qtree_find(pool, name))
        return reason_set(why, -EEXIST, "There is a '%s' already.", name);
    return 0;
}

static int nv_check_owner(const char *owner, struct reason *why)
{
    if (!owner || strlen(owner) <= LUN_OWNER_MAX)
        return 0;
    return reason_set(why, -EINVAL, "An owner's name has at most %d bytes.", LUN_OWNER_MAX);
}

static void nv_set_attributes(struct nv_object *object, unsigned mask,
                              const struct lun_attributes *attributes)
{
    if (mask & LUN_SET_RESERVED)
        object->is_reserved = attributes->is_reserved;
    if (mask & LUN_SET_AUTODELETE)
        object->is_autodelete = attributes->is_autodelete;
    if (mask & LUN_SET_EXPIRE)
        object->expire_ns = attributes->expire_ns;
    if (mask & LUN_SET_LOCKED_UNTIL)
        object->locked_until_ns = attributes->locked_until_ns;
    if (mask & LUN_SET_OWNER)
        snprintf(object->owner, sizeof(object->owner), "%s",
                 attributes->owner ? attributes->owner : "");
    if (mask & LUN_SET_GROUP)
        snprintf(object->group, sizeof(object->group), "%s",
                 attributes->group ? attributes->group : "");
}

static int nv_check_create_args(const struct lun_create_args *args, uint32_t sector_bytes,
                                struct reason *why)
{
    int r = nv_check_size(args->size_bytes, sector_bytes, why);
    if (r == 0)
        r = nv_check_comment(args->comment, why);
    if (r == 0)
        r = nv_check_owner(args->attributes.owner, why);
    return r == 0 ? nv_check_owner(args->attributes.group, why) : r;
}

static int nv_lun_create(struct pool *pool, const struct lun_create_args *args, uint64_t *id,
                         struct reason *why)
{
    AUTO_LOCK(&pool->lock);
    uint32_t sector_bytes = args->sector_bytes ? args->sector_bytes : 512;
    int r = nv_check_writable(pool, why);
    if (r == 0)
        r = nv_check_create_args(args, sector_bytes, why);
    if (r == 0)
        r = nv_check_place(pool, args->name, why);
    if (r < 0)
        return r;
    struct nv_object *lun = nv_object_new(pool, nv_strip(args->name), args->comment);
    if (!lun)
        return -ENOMEM;
    lun->size_bytes = args->size_bytes;
    lun->sector_bytes = sector_bytes;
    nv_set_attributes(lun, ~0u, &args->attributes);
    nv_insert_lun(pool, lun);
    *id = lun->id;
    return 0;
}

/* Nothing here survives a crash, so that they are two steps shows to nobody. */
static int nv_store_also(struct pool *pool, const struct store_also *also, uint64_t id,
                         struct reason *why)
{
    for (size_t i = 0; i < also->count; i++)
    {
        char key[STORE_KEY_MAX + 1];
        struct store_change change = also->changes[i];
        size_t len = strlen(change.key);
        bool is_of_id = len > 0 && change.key[len - 1] == '/';
        if (is_of_id)
            snprintf(key, sizeof(key), "%s%016" PRIx64, change.key, id);
        else
            snprintf(key, sizeof(key), "%s", change.key);
        change.key = key;
        int r = store_apply(pool, &change, 1, why);
        if (r < 0)
            return r;
    }
    return 0;
}

int lun_create(struct pool *pool, const struct lun_create_args *args, struct reason *why)
{
    reason_clear(why);
    uint64_t id = 0;
    int r = nv_lun_create(pool, args, &id, why);
    if (r == 0)
        r = nv_store_also(pool, &args->attributes.also, id, why);
    if (r == 0)
        nv_tell(pool, LUN_CHANGE_CREATED, "lun.created", id, nv_strip(args->name));
    return r;
}

/* ---- clones */

/* Puts @number where the template has its one %d, %0Nd or %u. */
static int nv_expand(const char *template, uint32_t number, char name[LUN_NAME_MAX + 2])
{
    const char *percent = strchr(template, '%');
    if (!percent)
        return -EINVAL;
    const char *at = percent + 1;
    unsigned width = 0;
    bool has_zero = *at == '0';
    for (; has_zero && *at >= '0' && *at <= '9' && width < 100; at++)
        width = 10 * width + (unsigned)(*at - '0');
    if ((*at != 'd' && *at != 'u') || strchr(at, '%') || width > LUN_NAME_MAX)
        return -EINVAL;
    int len = snprintf(name, LUN_NAME_MAX + 2, "%.*s%0*" PRIu32 "%s", (int)(percent - template),
                       template, (int)width, number, at + 1);
    return len > LUN_NAME_MAX ? -EINVAL : 0;
}

static int nv_clone_name(const struct lun_clone_args *args, uint32_t i, char name[LUN_NAME_MAX + 2],
                         struct reason *why)
{
    if (args->count > 1)
    {
        if (nv_expand(nv_strip(args->name), args->first_number + i, name) < 0)
            return reason_set(why, -EINVAL,
                              "'%s' cannot name %" PRIu32 " clones: one %%d, %%0Nd or %%u must be "
                              "in it, and the names must not be too long.",
                              args->name, args->count);
        return 0;
    }
    int r = nv_check_path(nv_strip(args->name), why);
    if (r == 0)
        snprintf(name, LUN_NAME_MAX + 2, "%s", nv_strip(args->name));
    return r;
}

static int nv_clone_check(struct pool *pool, const struct lun_clone_args *args, struct reason *why)
{
    if (args->count > LUN_CLONES_AT_ONCE_MAX)
        return reason_set(why, -EINVAL, "At most %d clones are made at once, not %" PRIu32 ".",
                          LUN_CLONES_AT_ONCE_MAX, args->count);
    uint32_t count = args->count ? args->count : 1;
    if (args->first_number > UINT32_MAX - count)
        return reason_set(why, -EINVAL, "The numbers of the clones pass %" PRIu32 ".", UINT32_MAX);
    for (uint32_t i = 0; i < count; i++)
    {
        char name[LUN_NAME_MAX + 2];
        int r = nv_clone_name(args, i, name, why);
        if (r == 0)
            r = nv_check_place(pool, name, why);
        if (r < 0)
            return r;
    }
    return 0;
}

int nv_check_clone_args(const struct lun_clone_args *args, struct reason *why)
{
    int r = nv_check_comment(args->comment, why);
    if (r == 0)
        r = nv_check_owner(args->owner, why);
    return r == 0 ? nv_check_owner(args->group, why) : r;
}

struct nv_object *nv_clone_of(struct pool *pool, struct nv_object *source, const char *name,
                              const struct lun_clone_args *args)
{
    struct nv_object *clone = nv_object_copy(pool, source, name, args->comment);
    if (!clone)
        return NULL;
    const struct nv_object *lun = source->lun ? source->lun : source;
    struct lun_attributes attributes = {.is_reserved = lun->is_reserved && !args->no_reserve,
                                        .is_autodelete = args->autodelete,
                                        .expire_ns = args->expire_ns,
                                        .owner = args->owner ? args->owner : lun->owner,
                                        .group = args->group ? args->group : lun->group};
    nv_set_attributes(clone, ~0u, &attributes);
    nv_full_name(source, clone->origin);
    return clone;
}

static int nv_lun_clone(struct pool *pool, const struct lun_clone_args *args, uint64_t *first_id,
                        struct reason *why)
{
    AUTO_LOCK(&pool->lock);
    struct nv_object *source = NULL;
    int r = nv_check_writable(pool, why);
    if (r == 0)
        r = nv_check_clone_args(args, why);
    if (r == 0)
        r = nv_require(pool, args->source, &source, why);
    if (r == 0 && !args->unlocked)
        r = nv_check_clonable(pool, source, why);
    if (r == 0)
        r = nv_clone_check(pool, args, why);
    if (r < 0)
        return r;
    *first_id = pool->next_id;
    pool->generation++;
    struct list made;
    list_init(&made);
    for (uint32_t i = 0; i < (args->count ? args->count : 1); i++)
    {
        char name[LUN_NAME_MAX + 2];
        r = nv_clone_name(args, i, name, why);
        struct nv_object *clone = r == 0 ? nv_clone_of(pool, source, name, args) : NULL;
        if (!clone)
        {
            list_for_each_safe (object, &made, struct nv_object, node)
            {
                nv_object_free(pool, object);
            }
            return -ENOMEM;
        }
        list_add_tail(&made, &clone->node);
    }
    list_for_each_safe (object, &made, struct nv_object, node)
    {
        list_remove(&object->node);
        nv_insert_lun(pool, object);
    }
    return 0;
}

int lun_clone(struct pool *pool, const struct lun_clone_args *args, struct reason *why)
{
    reason_clear(why);
    uint64_t first_id = 0;
    int r = nv_lun_clone(pool, args, &first_id, why);
    for (uint32_t i = 0; r == 0 && i < (args->count ? args->count : 1); i++)
    {
        char name[LUN_NAME_MAX + 2];
        if (nv_clone_name(args, i, name, NULL) == 0)
            nv_tell(pool, LUN_CHANGE_CREATED, "lun.cloned", first_id + i, name);
    }
    return r;
}

/* ---- changes of LUNs */

int nv_check_unused(const struct nv_object *object, const char *name, unsigned flags,
                    struct reason *why)
{
    if (object->open_handles == 0 || (flags & LUN_FORCE))
        return 0;
    return reason_set(why, -EBUSY, "'%s' is in use by %u handles; use --force to go on anyway.",
                      name, object->open_handles);
}

/* What sets hold of @lun belongs to one that is out of sight, and like it, from then on. */
static int nv_keep_deleted(struct pool *pool, struct nv_object *lun)
{
    struct nv_object *heir = calloc(1, sizeof(*heir));
    if (!heir)
        return -ENOMEM;
    *heir = *lun;
    heir->content = (struct nv_content){0};
    heir->open_handles = 0;
    heir->is_deleted = true;
    heir->expire_ns = heir->locked_until_ns = 0;
    list_init(&heir->node);
    list_init(&heir->snapshots);
    list_for_each_safe (snapshot, &lun->snapshots, struct nv_object, node)
    {
        list_remove(&snapshot->node);
        list_add_tail(&heir->snapshots, &snapshot->node);
        snapshot->lun = heir;
    }
    list_add_tail(&pool->deleted, &heir->node);
    return 0;
}

static int nv_lun_remove(struct pool *pool, struct nv_object *lun)
{
    list_for_each_safe (snapshot, &lun->snapshots, struct nv_object, node)
    {
        if (!snapshot->set)
            nv_object_delete(pool, snapshot);
    }
    int r = list_is_empty(&lun->snapshots) ? 0 : nv_keep_deleted(pool, lun);
    if (r == 0)
        nv_object_delete(pool, lun);
    return r;
}

void nv_snapshot_remove(struct pool *pool, struct nv_object *snapshot)
{
    struct nv_object *lun = snapshot->lun;
    nv_object_delete(pool, snapshot);
    if (lun->is_deleted && list_is_empty(&lun->snapshots))
        nv_object_free(pool, lun);
}

int nv_check_snapshot_names(struct pool *pool, const struct nv_object *lun, const char *new_name,
                            struct reason *why)
{
    list_for_each (snapshot, &lun->snapshots, struct nv_object, node)
    {
        char full[3 * LUN_NAME_MAX];
        snprintf(full, sizeof(full), "%s@%s", new_name, snapshot->name);
        struct nv_object *other = snapshot->set ? NULL : nv_find(pool, full);
        if (other && other != snapshot)
            return reason_set(why, -EEXIST, "There is a '%s' already.", full);
    }
    return 0;
}

static int nv_lun_delete(struct pool *pool, const char *name, bool with_snapshots, unsigned flags,
                         uint64_t *id, struct reason *why)
{
    AUTO_LOCK(&pool->lock);
    struct nv_object *lun = NULL;
    int r = nv_check_writable(pool, why);
    if (r == 0)
        r = nv_require_lun(pool, name, &lun, why);
    if (r == 0)
        r = nv_check_unlocked(pool, lun, why);
    if (r == 0)
        r = nv_check_unused(lun, name, flags, why);
    if (r < 0)
        return r;
    list_for_each (snapshot, &lun->snapshots, struct nv_object, node)
    {
        if (r < 0 || snapshot->set)
            continue; /* its set keeps it */
        if (!with_snapshots)
            r = reason_set(why, -EBUSY,
                           "LUN '%s' has snapshots; use --with-snapshots to delete them.", name);
        if (r == 0)
            r = nv_check_unlocked(pool, snapshot, why);
        if (r == 0)
            r = nv_check_unused(snapshot, snapshot->name, flags, why);
    }
    if (r < 0)
        return r;
    *id = lun->id;
    return nv_lun_remove(pool, lun);
}

int lun_delete(struct pool *pool, const char *name, bool with_snapshots, unsigned flags,
               struct reason *why)
{
    reason_clear(why);
    uint64_t id = 0;
    int r = nv_lun_delete(pool, name, with_snapshots, flags, &id, why);
    if (r == 0)
        nv_tell(pool, LUN_CHANGE_DELETED, "lun.deleted", id, name);
    return r;
}

static int nv_check_move(struct pool *pool, const struct nv_object *lun, const char *new_name,
                         struct reason *why)
{
    struct nv_object there = {0};
    snprintf(there.name, sizeof(there.name), "%s", new_name);
    struct nv_volume *from = nv_volume_of(pool, lun);
    if (from == nv_volume_of(pool, &there))
        return 0;
    if (from && nv_is_locked(pool, from->attributes.locked_until_ns))
        return reason_set(why, -EPERM, "Volume '%s' is locked.", from->name);
    if (!list_is_empty(&lun->snapshots))
        return reason_set(why, -EBUSY, "LUN '%s' has snapshots and cannot move.", lun->name);
    return 0;
}

static int nv_lun_rename(struct pool *pool, const char *name, const char *new_name, uint64_t *id,
                         struct reason *why)
{
    AUTO_LOCK(&pool->lock);
    struct nv_object *lun = NULL;
    new_name = nv_strip(new_name);
    int r = nv_check_writable(pool, why);
    if (r == 0)
        r = nv_check_path(new_name, why);
    if (r == 0)
        r = nv_require_lun(pool, name, &lun, why);
    if (r == 0)
        r = nv_check_place(pool, new_name, why);
    if (r == 0)
        r = nv_check_move(pool, lun, new_name, why);
    if (r == 0)
        r = nv_check_snapshot_names(pool, lun, new_name, why);
    if (r < 0)
        return r;
    list_remove(&lun->node);
    snprintf(lun->name, sizeof(lun->name), "%s", new_name);
    nv_insert_lun(pool, lun);
    *id = lun->id;
    return 0;
}

int lun_rename(struct pool *pool, const char *name, const char *new_name, struct reason *why)
{
    reason_clear(why);
    uint64_t id = 0;
    int r = nv_lun_rename(pool, name, new_name, &id, why);
    if (r == 0)
        nv_tell(pool, LUN_CHANGE_RENAMED, "lun.renamed", id, new_name);
    return r;
}

static void nv_set_size(struct pool *pool, struct nv_object *lun, uint64_t size_bytes)
{
    uint64_t tail = size_bytes % LUN_BLK_BYTES;
    if (size_bytes < lun->size_bytes)
    {
        nv_content_cut(pool, &lun->content, div_round_up(size_bytes, LUN_BLK_BYTES), UINT64_MAX);
        if (tail > 0)
            ignore_error(nv_content_zero(pool, &lun->content, LUN_BLK_BYTES - tail, size_bytes),
                         "on a full pool the tail of a shared page cannot be zeroed");
    }
    lun->size_bytes = size_bytes;
}

static int nv_lun_resize(struct pool *pool, const char *name, uint64_t size_bytes, unsigned flags,
                         uint64_t *id, struct reason *why)
{
    AUTO_LOCK(&pool->lock);
    struct nv_object *lun = NULL;
    int r = nv_check_writable(pool, why);
    if (r == 0)
        r = nv_require_lun(pool, name, &lun, why);
    if (r == 0)
        r = nv_check_size(size_bytes, lun->sector_bytes, why);
    if (r == 0 && size_bytes < lun->size_bytes && !(flags & LUN_FORCE))
        r = reason_set(why, -EPERM,
                       "Shrinking '%s' from %" PRIu64 " to %" PRIu64
                       " bytes cuts data off; use --force.",
                       name, lun->size_bytes, size_bytes);
    if (r == 0 && size_bytes < lun->size_bytes)
        r = nv_check_unlocked(pool, lun, why);
    if (r < 0)
        return r;
    nv_set_size(pool, lun, size_bytes);
    *id = lun->id;
    return 0;
}

int lun_resize(struct pool *pool, const char *name, uint64_t size_bytes, unsigned flags,
               struct reason *why)
{
    reason_clear(why);
    uint64_t id = 0;
    int r = nv_lun_resize(pool, name, size_bytes, flags, &id, why);
    if (r == 0)
        nv_tell(pool, LUN_CHANGE_RESIZED, "lun.resized", id, name);
    return r;
}

int lun_set_comment(struct pool *pool, const char *name, const char *comment, struct reason *why)
{
    reason_clear(why);
    AUTO_LOCK(&pool->lock);
    struct nv_object *object = NULL;
    int r = nv_check_writable(pool, why);
    if (r == 0)
        r = nv_check_comment(comment, why);
    if (r == 0)
        r = nv_require(pool, name, &object, why);
    if (r == 0)
        snprintf(object->comment, sizeof(object->comment), "%s", comment ? comment : "");
    return r;
}

static int nv_lun_set_attributes(struct pool *pool, const char *name, unsigned mask,
                                 const struct lun_attributes *attributes, uint64_t *id,
                                 struct reason *why)
{
    AUTO_LOCK(&pool->lock);
    struct nv_object *object = NULL;
    int r = nv_check_writable(pool, why);
    if (r == 0 && (mask & LUN_SET_OWNER))
        r = nv_check_owner(attributes->owner, why);
    if (r == 0 && (mask & LUN_SET_GROUP))
        r = nv_check_owner(attributes->group, why);
    if (r == 0)
        r = nv_require(pool, name, &object, why);
    if (r == 0 && object->lun && mask != LUN_SET_LOCKED_UNTIL)
        r = reason_set(why, -EINVAL, "Only the lock of the snapshot '%s' can be changed.", name);
    if (r == 0 && (mask & LUN_SET_LOCKED_UNTIL))
        r = nv_check_lock_change(pool, object->locked_until_ns, attributes->locked_until_ns, why);
    if (r == 0 && attributes->only_id && object->id != attributes->only_id)
        r = reason_set(why, -ESTALE, "'%s' is another one.", name);
    if (r < 0)
        return r;
    nv_set_attributes(object, mask, attributes);
    *id = object->id;
    return 0;
}

int lun_set_attributes(struct pool *pool, const char *name, unsigned mask,
                       const struct lun_attributes *attributes, struct reason *why)
{
    uint64_t id = 0;
    reason_clear(why);
    int r = nv_lun_set_attributes(pool, name, mask, attributes, &id, why);
    return r == 0 ? nv_store_also(pool, &attributes->also, id, why) : r;
}

/* ---- snapshots */

struct nv_object *nv_snapshot_of(struct pool *pool, const struct nv_object *lun,
                                 const char *snapshot)
{
    char full[2 * LUN_NAME_MAX + 2];
    snprintf(full, sizeof(full), "%s@%s", lun->name, snapshot);
    return nv_find(pool, full);
}

static int nv_check_new_snapshot(struct pool *pool, struct nv_object *lun, const char *snapshot,
                                 struct reason *why)
{
    int r = nv_check_name(snapshot, "snapshot", why);
    if (r == 0 && nv_snapshot_of(pool, lun, snapshot))
        r = reason_set(why, -EEXIST, "LUN '%s' has a snapshot '%s' already.", lun->name, snapshot);
    return r;
}

static int nv_snapshot_create(struct pool *pool, const char *lun_name, const char *snapshot,
                              const char *comment, uint64_t locked_until_ns, struct reason *why)
{
    AUTO_LOCK(&pool->lock);
    struct nv_object *lun = NULL;
    int r = nv_check_writable(pool, why);
    if (r == 0)
        r = nv_check_name(snapshot, "snapshot", why);
    if (r == 0)
        r = nv_check_comment(comment, why);
    if (r == 0)
        r = nv_require_lun(pool, lun_name, &lun, why);
    if (r == 0)
        r = nv_check_new_snapshot(pool, lun, snapshot, why);
    if (r < 0)
        return r;
    pool->generation++;
    struct nv_object *object = nv_object_copy(pool, lun, snapshot, comment);
    if (!object)
        return -ENOMEM;
    object->lun = lun;
    object->locked_until_ns = locked_until_ns;
    list_add_tail(&lun->snapshots, &object->node);
    return 0;
}

static void nv_tell_snapshot(struct pool *pool, const char *event, const char *lun_name,
                             const char *snapshot)
{
    char name[2 * LUN_NAME_MAX + 2];
    snprintf(name, sizeof(name), "%s@%s", lun_name, snapshot);
    event_add(pool, "info", event, name, "%s: %s", event, name);
}

int snapshot_create(struct pool *pool, const char *lun_name, const char *snapshot,
                    const char *comment, struct reason *why)
{
    return snapshot_create_until(pool, lun_name, snapshot, comment, 0, why);
}

int snapshot_create_until(struct pool *pool, const char *lun_name, const char *snapshot,
                          const char *comment, uint64_t locked_until_ns, struct reason *why)
{
    reason_clear(why);
    int r = nv_snapshot_create(pool, lun_name, snapshot, comment, locked_until_ns, why);
    if (r == 0)
        nv_tell_snapshot(pool, "snapshot.created", lun_name, snapshot);
    return r;
}

static int nv_check_alone(const struct nv_object *object, struct reason *why)
{
    if (!object->set)
        return 0;
    return reason_set(why, -EBUSY, "Snapshot '%s' is part of one of a volume.", object->name);
}

static int nv_snapshot_delete(struct pool *pool, const char *lun_name, const char *snapshot,
                              unsigned flags, struct reason *why)
{
    AUTO_LOCK(&pool->lock);
    struct nv_object *object = NULL;
    int r = nv_check_writable(pool, why);
    if (r == 0)
        r = nv_require_snapshot(pool, lun_name, snapshot, &object, why);
    if (r == 0)
        r = nv_check_alone(object, why);
    if (r == 0)
        r = nv_check_unlocked(pool, object, why);
    if (r == 0)
        r = nv_check_unused(object, snapshot, flags, why);
    if (r == 0)
        nv_object_delete(pool, object);
    return r;
}

int snapshot_delete(struct pool *pool, const char *lun_name, const char *snapshot, unsigned flags,
                    struct reason *why)
{
    reason_clear(why);
    int r = nv_snapshot_delete(pool, lun_name, snapshot, flags, why);
    if (r == 0)
        nv_tell_snapshot(pool, "snapshot.deleted", lun_name, snapshot);
    return r;
}

static int nv_snapshot_rename(struct pool *pool, const char *lun_name, const char *snapshot,
                              const char *new_snapshot, struct reason *why)
{
    AUTO_LOCK(&pool->lock);
    struct nv_object *object = NULL;
    int r = nv_check_writable(pool, why);
    if (r == 0)
        r = nv_check_name(new_snapshot, "snapshot", why);
    if (r == 0)
        r = nv_require_snapshot(pool, lun_name, snapshot, &object, why);
    if (r == 0)
        r = nv_check_alone(object, why);
    if (r == 0)
        r = nv_check_new_snapshot(pool, object->lun, new_snapshot, why);
    if (r == 0)
        snprintf(object->name, sizeof(object->name), "%s", new_snapshot);
    return r;
}

int snapshot_rename(struct pool *pool, const char *lun_name, const char *snapshot,
                    const char *new_snapshot, struct reason *why)
{
    reason_clear(why);
    int r = nv_snapshot_rename(pool, lun_name, snapshot, new_snapshot, why);
    if (r == 0)
        nv_tell_snapshot(pool, "snapshot.renamed", lun_name, new_snapshot);
    return r;
}

int nv_set_content(struct pool *pool, struct nv_object *lun, const struct nv_object *from)
{
    struct nv_content copy;
    int r = nv_content_copy(&copy, &from->content);
    if (r < 0)
        return r;
    nv_content_cut(pool, &lun->content, 0, UINT64_MAX);
    lun->content = copy;
    lun->size_bytes = from->size_bytes;
    return 0;
}

/* "VOLUME/QTREE" of a path in a qtree; else "". */
static void nv_qtree_of(const char *path, char qtree[LUN_NAME_MAX + 1])
{
    const char *slash = strrchr(path, '/');
    snprintf(qtree, LUN_NAME_MAX + 1, "%.*s", slash ? (int)(slash - path) : 0, path);
    if (!strchr(qtree, '/'))
        qtree[0] = '\0';
}

int nv_check_revival(struct pool *pool, const struct nv_object *member, struct reason *why)
{
    char path[2 * LUN_NAME_MAX + 2], qtree[LUN_NAME_MAX + 1];
    nv_path_of(member, path);
    nv_qtree_of(path, qtree);
    int r = nv_check_unlocked(pool, member->lun, why);
    if (r == 0)
        r = nv_check_free(pool, path, why);
    return r == 0 && qtree[0] && !nv_qtree_find(pool, qtree) ? nv_check_free(pool, qtree, why) : r;
}

int nv_revive(struct pool *pool, struct nv_object *member)
{
    char path[2 * LUN_NAME_MAX + 2], qtree[LUN_NAME_MAX + 1];
    struct nv_object *lun = member->lun;
    nv_path_of(member, path);
    nv_qtree_of(path, qtree);
    list_for_each (kept, &member->set->qtrees, struct nv_qtree, node)
    {
        if (qtree[0] && strcmp(kept->name, strchr(qtree, '/') + 1) == 0 &&
            !nv_qtree_find(pool, qtree) &&
            !nv_qtree_new(pool, member->set->volume, kept->name, kept->comment))
            return -ENOMEM;
    }
    list_remove(&lun->node);
    lun->is_deleted = false;
    snprintf(lun->name, sizeof(lun->name), "%.*s", LUN_NAME_MAX, path);
    nv_insert_lun(pool, lun);
    return nv_set_content(pool, lun, member);
}

static int nv_snapshot_restore(struct pool *pool, const char *lun_name, const char *snapshot,
                               unsigned flags, uint64_t *id, struct reason *why)
{
    AUTO_LOCK(&pool->lock);
    struct nv_object *object = NULL;
    int r = nv_check_writable(pool, why);
    if (r == 0)
        r = nv_require_snapshot(pool, lun_name, snapshot, &object, why);
    if (r == 0)
        *id = object->lun->id;
    if (r == 0 && object->lun->is_deleted)
    {
        r = nv_check_revival(pool, object, why);
        return r < 0 ? r : nv_revive(pool, object);
    }
    char path[2 * LUN_NAME_MAX + 2];
    if (r == 0)
        nv_path_of(object, path);
    struct nv_object *other = r == 0 ? nv_find(pool, path) : NULL;
    if (other && other != object->lun)
        r = reason_set(why, -EBUSY, "'%s' is another LUN than the one of the snapshot.", path);
    if (r == 0)
        r = nv_check_restorable(pool, object->lun, flags, why);
    if (r == 0)
        r = nv_set_content(pool, object->lun, object);
    return r;
}

int snapshot_restore(struct pool *pool, const char *lun_name, const char *snapshot, unsigned flags,
                     struct reason *why)
{
    reason_clear(why);
    uint64_t id = 0;
    int r = nv_snapshot_restore(pool, lun_name, snapshot, flags, &id, why);
    if (r == 0)
        nv_tell(pool, LUN_CHANGE_RESTORED, "lun.restored", id, lun_name);
    return r;
}

/* ---- what it says about them */

/* Counts in its pages how often @content holds each. */
static void nv_content_mark(struct pool *pool, const struct nv_content *content)
{
    for (size_t i = 0; i < content->count; i++)
    {
        for (unsigned j = 0; j < NV_CHUNK_PAGES; j++)
        {
            struct nv_page *page = content->chunks[i]->pages[j];
            if (page && page->mark_round != pool->mark_round)
                page->marks = 0;
            if (page)
                page->mark_round = pool->mark_round;
            if (page)
                page->marks++;
        }
    }
}

/* Pages of @content that nobody outside the marked ones holds; each is counted once. */
static uint64_t nv_content_count_freed(const struct nv_content *content)
{
    uint64_t freed = 0;
    for (size_t i = 0; i < content->count; i++)
    {
        for (unsigned j = 0; j < NV_CHUNK_PAGES; j++)
        {
            struct nv_page *page = content->chunks[i]->pages[j];
            if (!page || page->marks != page->refs)
                continue;
            freed++;
            page->marks = 0;
        }
    }
    return freed;
}

void nv_fill_info(struct pool *pool, struct nv_object *object, struct lun_info *info)
{
    *info = (struct lun_info){0};
    info->kind = object->lun ? OBJECT_SNAPSHOT : OBJECT_LUN;
    info->id = info->line_id = object->id;
    info->lun_id = object->lun ? object->lun->id : object->id;
    nv_full_name(object, info->name);
    snprintf(info->comment, sizeof(info->comment), "%s", object->comment);
    snprintf(info->origin, sizeof(info->origin), "%s", object->origin);
    memcpy(info->uuid, object->uuid, sizeof(info->uuid));
    info->size_bytes = object->size_bytes;
    info->sector_bytes = object->sector_bytes;
    info->mapped_bytes = object->content.mapped_pages * LUN_BLK_BYTES;
    info->own_bytes = nv_content_own_pages(&object->content) * LUN_BLK_BYTES;
    info->shared_bytes = info->mapped_bytes - info->own_bytes;
    info->created_ns = object->created_ns;
    info->open_handles = object->open_handles;
    info->snapshot_count = (uint32_t)nv_count_objects(&object->snapshots);
    info->generation = object->generation;
    struct nv_object *lun = object->lun ? object->lun : object;
    struct nv_volume *volume = nv_volume_of(pool, lun);
    char qtree[LUN_NAME_MAX + 1];
    const char *slash = strrchr(lun->name, '/');
    snprintf(qtree, sizeof(qtree), "%.*s", slash ? (int)(slash - lun->name) : 0, lun->name);
    info->volume_id = volume ? volume->id : 0;
    info->qtree_id = strchr(qtree, '/') && !lun->is_deleted ? nv_qtree_find(pool, qtree)->id : 0;
    info->is_lun_deleted = lun->is_deleted;
    info->volume_snapshot_id = object->set ? object->set->id : 0;
    info->is_reserved = object->is_reserved;
    info->is_autodelete = object->is_autodelete;
    info->expire_ns = object->expire_ns;
    info->locked_until_ns = object->locked_until_ns;
    snprintf(info->owner, sizeof(info->owner), "%s", object->owner);
    snprintf(info->group, sizeof(info->group), "%s", object->group);
}

/* Pages that only snapshots of @lun hold. */
static uint64_t nv_snapshot_pages(struct pool *pool, struct nv_object *lun)
{
    pool->mark_round++;
    list_for_each (snapshot, &lun->snapshots, struct nv_object, node)
    {
        nv_content_mark(pool, &snapshot->content);
    }
    uint64_t freed = 0;
    list_for_each (snapshot, &lun->snapshots, struct nv_object, node)
    {
        freed += nv_content_count_freed(&snapshot->content);
    }
    return freed;
}

static void nv_fill_info_of(struct pool *pool, struct nv_object *object, struct lun_info *info)
{
    nv_fill_info(pool, object, info);
    info->snapshot_bytes = nv_snapshot_pages(pool, object) * LUN_BLK_BYTES;
}

int lun_get_info(struct pool *pool, const char *name, struct lun_info *info, struct reason *why)
{
    reason_clear(why);
    AUTO_LOCK(&pool->lock);
    struct nv_object *object = NULL;
    int r = nv_require(pool, name, &object, why);
    if (r == 0)
        nv_fill_info_of(pool, object, info);
    return r;
}

/* A deleted LUN is among the others by the name of its last snapshot. */
struct nv_listed
{
    struct nv_object *lun;
    char name[2 * LUN_NAME_MAX + 2];
};

static void nv_list_lun(struct nv_listed *listed, struct nv_object *lun)
{
    listed->lun = lun;
    nv_full_name(lun->is_deleted ? container_of(lun->snapshots.prev, struct nv_object, node) : lun,
                 listed->name);
}

static int nv_compare_listed(const void *a, const void *b)
{
    return strcmp(((const struct nv_listed *)a)->name, ((const struct nv_listed *)b)->name);
}

/* Whether the LUN is at @path, or was before it was deleted. */
static bool nv_is_listed(const struct nv_object *lun, const char *path)
{
    bool is_listed = !lun->is_deleted && strcmp(lun->name, path) == 0;
    list_for_each (snapshot, &lun->snapshots, struct nv_object, node)
    {
        char then[2 * LUN_NAME_MAX + 2];
        nv_path_of(snapshot, then);
        is_listed |= lun->is_deleted && strcmp(then, path) == 0;
    }
    return is_listed;
}

int lun_list(struct pool *pool, const char *lun_name, struct lun_info **list, size_t *count,
             struct reason *why)
{
    reason_clear(why);
    AUTO_LOCK(&pool->lock);
    size_t total = 0, lun_count = 0, found = 0;
    struct list *lists[] = {&pool->luns, &pool->deleted};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
    {
        list_for_each (lun, lists[i], struct nv_object, node)
        {
            total += 1 + (size_t)nv_count_objects(&lun->snapshots);
            lun_count++;
        }
    }
    struct lun_info *infos = calloc(total + 1, sizeof(*infos));
    AUTO_FREE struct nv_listed *luns = calloc(lun_count + 1, sizeof(*luns));
    if (!infos || !luns)
    {
        free(infos);
        return -ENOMEM;
    }
    lun_count = 0;
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
    {
        list_for_each (lun, lists[i], struct nv_object, node)
        {
            if (!lun_name || nv_is_listed(lun, nv_strip(lun_name)))
                nv_list_lun(&luns[lun_count++], lun);
        }
    }
    qsort(luns, lun_count, sizeof(*luns), nv_compare_listed);
    for (size_t i = 0; i < lun_count; i++)
    {
        if (!luns[i].lun->is_deleted)
            nv_fill_info_of(pool, luns[i].lun, &infos[found++]);
        list_for_each (snapshot, &luns[i].lun->snapshots, struct nv_object, node)
        {
            nv_fill_info(pool, snapshot, &infos[found++]);
        }
    }
    if (found == 0 && lun_name)
    {
        free(infos);
        return reason_set(why, -ENOENT, "There is no LUN '%s'.", lun_name);
    }
    *list = infos;
    *count = found;
    return 0;
}

int lun_freed_if_deleted(struct pool *pool, const char *const *names, size_t count,
                         uint64_t *data_bytes, uint64_t *metadata_bytes, struct reason *why)
{
    reason_clear(why);
    if (count > LUN_SET_MAX)
        return reason_set(why, -EINVAL, "At most %d names fit in one question, not %zu.",
                          LUN_SET_MAX, count);
    AUTO_FREE struct nv_object **objects = calloc(count + 1, sizeof(struct nv_object *));
    if (!objects)
        return -ENOMEM;
    AUTO_LOCK(&pool->lock);
    pool->mark_round++;
    for (size_t i = 0; i < count; i++)
    {
        int r = nv_require(pool, names[i], &objects[i], why);
        if (r < 0)
            return r;
        bool is_repeated = false;
        for (size_t j = 0; j < i; j++)
            is_repeated |= objects[j] == objects[i];
        if (!is_repeated)
            nv_content_mark(pool, &objects[i]->content);
    }
    uint64_t freed = 0;
    for (size_t i = 0; i < count; i++)
        freed += nv_content_count_freed(&objects[i]->content);
    *data_bytes = freed * LUN_BLK_BYTES;
    *metadata_bytes = 0;
    return 0;
}
