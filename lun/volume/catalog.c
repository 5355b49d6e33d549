/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/volume/catalog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/invariant.h"
#include "lun/pool/pool_internal.h"
#include "lun/volume/catalog_internal.h"
#include "lun/volume/draft.h"
#include "lun/volume/ledger.h"
#include "lun/volume/names.h"
#include "lun/volume/verify.h"

/* ---- finding ------------------------------------------------------------------------------- */

struct object *catalog_find_any(struct pool *pool, uint64_t id)
{
    uint64_t key = hash_u64(id);
    hash_for_each(link, &pool->objects_by_id, key)
    {
        struct object *object = container_of(link, struct object, by_id);
        if (object->id == id)
            return object;
    }
    return NULL;
}

static struct object *catalog_find_kind(struct pool *pool, uint64_t id, enum disk_object_kind kind)
{
    struct object *object = catalog_find_any(pool, id);
    return object && object->kind == kind ? object : NULL;
}

struct line *catalog_find_line(struct pool *pool, uint64_t id)
{
    struct object *object = catalog_find_kind(pool, id, DISK_OBJECT_LINE);
    return object ? container_of(object, struct line, object) : NULL;
}

struct lun_object *catalog_find_lun_by_id(struct pool *pool, uint64_t id)
{
    struct object *object = catalog_find_any(pool, id);
    if (!object || (object->kind != DISK_OBJECT_LUN && object->kind != DISK_OBJECT_SNAPSHOT))
        return NULL;
    return container_of(object, struct lun_object, object);
}

struct volume_object *catalog_find_volume_by_id(struct pool *pool, uint64_t id)
{
    struct object *object = catalog_find_kind(pool, id, DISK_OBJECT_VOLUME);
    return object ? container_of(object, struct volume_object, object) : NULL;
}

struct qtree_object *catalog_find_qtree_by_id(struct pool *pool, uint64_t id)
{
    struct object *object = catalog_find_kind(pool, id, DISK_OBJECT_QTREE);
    return object ? container_of(object, struct qtree_object, object) : NULL;
}

struct volume_snapshot_object *catalog_find_volume_snapshot_by_id(struct pool *pool, uint64_t id)
{
    struct object *object = catalog_find_kind(pool, id, DISK_OBJECT_VOLUME_SNAPSHOT);
    return object ? container_of(object, struct volume_snapshot_object, object) : NULL;
}

struct lun_object *catalog_find_lun(struct pool *pool, const char *full_name)
{
    full_name = name_strip(full_name);
    uint64_t key = hash_string(full_name);
    hash_for_each(link, &pool->luns_by_name, key)
    {
        struct lun_object *lun = container_of(link, struct lun_object, by_name);
        if (strcmp(lun->name, full_name) == 0)
            return lun;
    }
    return NULL;
}

struct volume_object *catalog_find_volume(struct pool *pool, const char *name)
{
    name = name_strip(name);
    uint64_t key = hash_string(name);
    hash_for_each(link, &pool->volumes_by_name, key)
    {
        struct volume_object *volume = container_of(link, struct volume_object, by_name);
        if (strcmp(volume->name, name) == 0)
            return volume;
    }
    return NULL;
}

struct qtree_object *catalog_find_qtree(struct pool *pool, const char *path)
{
    path = name_strip(path);
    uint64_t key = hash_string(path);
    hash_for_each(link, &pool->qtrees_by_name, key)
    {
        struct qtree_object *qtree = container_of(link, struct qtree_object, by_name);
        if (strcmp(qtree->name, path) == 0)
            return qtree;
    }
    return NULL;
}

struct volume_snapshot_object *catalog_find_volume_snapshot(struct pool *pool, const char *name)
{
    name = name_strip(name);
    uint64_t key = hash_string(name);
    hash_for_each(link, &pool->volume_snapshots_by_name, key)
    {
        struct volume_snapshot_object *snapshot =
            container_of(link, struct volume_snapshot_object, by_name);
        if (strcmp(snapshot->name, name) == 0)
            return snapshot;
    }
    return NULL;
}

struct store_object *catalog_find_store(struct pool *pool, const char *key_text)
{
    uint64_t key = hash_string(key_text);
    hash_for_each(link, &pool->store_by_key, key)
    {
        struct store_object *store = container_of(link, struct store_object, by_name);
        if (strcmp(store->key, key_text) == 0)
            return store;
    }
    return NULL;
}

/* ---- encoding ------------------------------------------------------------------------------ */

static void line_encode(const struct line *line, struct writer *writer)
{
    struct disk_line disk = {
        .predecessor_id = le64_put(line->predecessor ? line->predecessor->object.id : 0),
        .birth = le32_put(line->birth),
        .frozen_at = le32_put(line->frozen_at),
        .flags = le32_put((atomic_load(&line->is_touched) ? DISK_LINE_TOUCHED : 0u) |
                          (line->is_dying ? DISK_LINE_DYING : 0u) |
                          (line->is_walking ? DISK_LINE_WALKING : 0u)),
        .walk_phase = le32_put(line->walk_phase),
        .walk_key_hi = le32_put(line->walk_key.hi),
        .walk_key_lo = le64_put(line->walk_key.lo),
        .mapped_blks = le64_put(atomic_load(&line->mapped_blks)),
        .own_blks = le64_put(atomic_load(&line->own_blks)),
        .dropped_data_blks = le64_put(atomic_load(&line->dropped_data_blks)),
        .dropped_node_blks = le64_put(atomic_load(&line->dropped_node_blks)),
        .volume_id = le64_put(line->volume ? line->volume->object.id : 0),
        .own_node_blks = le64_put(atomic_load(&line->own_node_blks)),
        .frozen_blks = le64_put(line->frozen_blks),
    };
    tree_to_disk(&line->map, &disk.map);
    tree_to_disk(&line->drops, &disk.drops);
    writer_bytes(writer, &disk, sizeof(disk));
}

static void store_encode(const struct store_object *store, struct writer *writer)
{
    writer_le16(writer, store->key_len);
    writer_le16(writer, store->value_len);
    writer_bytes(writer, store->key, store->key_len);
    writer_bytes(writer, store->value, store->value_len);
}

static void lun_encode(const struct lun_object *lun, struct writer *writer)
{
    struct lun_draft draft = lun_draft_of(lun);
    lun_draft_encode(&draft, writer);
}

static void volume_encode(const struct volume_object *volume, struct writer *writer)
{
    struct volume_draft draft = volume_draft_of(volume);
    volume_draft_encode(&draft, writer);
}

static void qtree_encode(const struct qtree_object *qtree, struct writer *writer)
{
    struct qtree_draft draft = qtree_draft_of(qtree);
    qtree_draft_encode(&draft, writer);
}

static void volume_snapshot_encode(const struct volume_snapshot_object *snapshot,
                                   struct writer *writer)
{
    struct volume_snapshot_draft draft = volume_snapshot_draft_of(snapshot);
    volume_snapshot_draft_encode(&draft, writer);
}

void catalog_encode(const struct object *object, struct writer *writer)
{
    switch (object->kind)
    {
    case DISK_OBJECT_LINE:
        line_encode(container_of(object, struct line, object), writer);
        break;
    case DISK_OBJECT_LUN:
    case DISK_OBJECT_SNAPSHOT:
        lun_encode(container_of(object, struct lun_object, object), writer);
        break;
    case DISK_OBJECT_STORE:
        store_encode(container_of(object, struct store_object, object), writer);
        break;
    case DISK_OBJECT_VOLUME:
        volume_encode(container_of(object, struct volume_object, object), writer);
        break;
    case DISK_OBJECT_QTREE:
        qtree_encode(container_of(object, struct qtree_object, object), writer);
        break;
    case DISK_OBJECT_VOLUME_SNAPSHOT:
        volume_snapshot_encode(container_of(object, struct volume_snapshot_object, object), writer);
        break;
    case DISK_OBJECT_NONE:
        break;
    }
}

/* ---- lines --------------------------------------------------------------------------------- */

struct line *catalog_line_alloc(struct pool *pool, uint64_t id)
{
    struct line *line = calloc(1, sizeof(*line));
    if (!line)
        return NULL;
    catalog_object_init(pool, &line->object, DISK_OBJECT_LINE, id);
    list_init(&line->children);
    list_init(&line->child_link);
    list_init(&line->snapshots);
    list_init(&line->job_link);
    list_init(&line->volume_link);
    line->map.kind = DISK_TREE_MAP;
    line->drops.kind = DISK_TREE_DROPS;
    list_add_tail(&pool->lines, &line->all_link);
    pool->line_count++;
    return line;
}

struct line *catalog_new_line(struct pool *pool, uint64_t id)
{
    struct line *line = catalog_line_alloc(pool, id);
    INVARIANT(line); /* apply() cannot fail */
    catalog_object_settle(pool, &line->object);
    return line;
}

void catalog_set_line_volume(struct pool *pool, struct line *line, struct volume_object *volume)
{
    if (line->volume == volume)
        return;
    if (line->volume)
    {
        list_remove(&line->volume_link);
        line->volume->line_count--;
    }
    line->volume = volume;
    if (volume)
    {
        list_add_tail(&volume->lines, &line->volume_link);
        volume->line_count++;
    }
    ledger_line(pool, line);
    if (line->object.page)
        catalog_mark_dirty(pool, &line->object);
}

int catalog_line_decode(struct pool *pool, struct line *line, struct reader *reader,
                        uint64_t *predecessor_id)
{
    /* Pools without DISK_FEATURE_VOLUMES have lines without its fields. */
    size_t len = reader_left(reader) < sizeof(struct disk_line) ? DISK_LINE_BYTES_1
                                                                : sizeof(struct disk_line);
    struct disk_line copy = {0}, *disk = &copy;
    const void *bytes = reader_bytes(reader, len);
    if (!bytes)
        return -EBADMSG;
    memcpy(&copy, bytes, len);
    *predecessor_id = le64_get(disk->predecessor_id);
    uint32_t flags = le32_get(disk->flags);
    line->birth = le32_get(disk->birth);
    line->frozen_at = le32_get(disk->frozen_at);
    atomic_store(&line->is_touched, flags & DISK_LINE_TOUCHED);
    line->is_dying = flags & DISK_LINE_DYING;
    line->is_walking = flags & DISK_LINE_WALKING;
    line->walk_phase = le32_get(disk->walk_phase);
    line->walk_key =
        (struct tree_key){.hi = le32_get(disk->walk_key_hi), .lo = le64_get(disk->walk_key_lo)};
    atomic_store(&line->mapped_blks, le64_get(disk->mapped_blks));
    atomic_store(&line->own_blks, le64_get(disk->own_blks));
    atomic_store(&line->dropped_data_blks, le64_get(disk->dropped_data_blks));
    atomic_store(&line->dropped_node_blks, le64_get(disk->dropped_node_blks));
    atomic_store(&line->own_node_blks, le64_get(disk->own_node_blks));
    line->is_uncounted = len == DISK_LINE_BYTES_1;
    line->frozen_blks = le64_get(disk->frozen_blks);
    uint64_t volume_id = le64_get(disk->volume_id);
    struct volume_object *volume = volume_id ? catalog_find_volume_by_id(pool, volume_id) : NULL;
    if (volume_id && !volume)
        return -EBADMSG;
    catalog_set_line_volume(pool, line, volume);
    tree_from_disk(&line->map, DISK_TREE_MAP, &disk->map);
    tree_from_disk(&line->drops, DISK_TREE_DROPS, &disk->drops);
    return verify_line(pool, line);
}

/* ---- strings ------------------------------------------------------------------------------- */

int catalog_string_set(char **string, const char *bytes, size_t len)
{
    char *copy = malloc(len + 1);
    if (!copy)
        return -ENOMEM;
    if (len > 0)
        memcpy(copy, bytes, len);
    copy[len] = '\0';
    free(*string);
    *string = copy;
    return 0;
}

int catalog_name_set(struct hash *hash, struct hash_link *link, char **name, const char *full)
{
    if (*name && strcmp(*name, full) == 0)
        return 0;
    if (*name)
        hash_remove(hash, link);
    int r = catalog_string_set(name, full, strlen(full));
    INVARIANT(r == 0 || !*name); /* apply() cannot fail */
    if (r == 0)
        hash_add(hash, link, hash_string(*name));
    return r;
}

struct text catalog_read_text(struct reader *reader, size_t len, size_t max, bool is_name)
{
    struct text text = {.bytes = reader_bytes(reader, len), .len = len};
    if (!text.bytes)
        return text;
    bool is_wrong = len > max || memchr(text.bytes, 0, len);
    if (is_name)
        is_wrong |= len == 0 || memchr(text.bytes, '@', len) || memchr(text.bytes, '/', len);
    reader->failed |= is_wrong;
    return text;
}

/* ---- configuration ------------------------------------------------------------------------- */

static int store_put(struct pool *pool, uint64_t id, struct reader *reader)
{
    uint16_t key_len = reader_le16(reader), value_len = reader_le16(reader);
    const char *key = reader_bytes(reader, key_len);
    const uint8_t *value = reader_bytes(reader, value_len);
    if (reader->failed || key_len == 0 || key_len > STORE_KEY_MAX || value_len > STORE_VALUE_MAX ||
        memchr(key, 0, key_len))
        return -EBADMSG;
    struct object *object = catalog_find_any(pool, id);
    if (object && object->kind != DISK_OBJECT_STORE)
        return -EBADMSG;
    struct store_object *store =
        object ? container_of(object, struct store_object, object) : calloc(1, sizeof(*store));
    AUTO_FREE uint8_t *copy = malloc(value_len + 1u);
    if (!store || !copy)
        return -ENOMEM;
    memcpy(copy, value, value_len);
    copy[value_len] = 0;
    if (!object)
    {
        int r = catalog_string_set(&store->key, key, key_len);
        if (r < 0)
            return r;
        store->key_len = key_len;
        catalog_object_init(pool, &store->object, DISK_OBJECT_STORE, id);
        hash_add(&pool->store_by_key, &store->by_name, hash_string(store->key));
    }
    free(store->value);
    store->value = take_ptr(&copy);
    store->value_len = value_len;
    catalog_object_settle(pool, &store->object);
    return 0;
}

int catalog_put(struct pool *pool, enum disk_object_kind kind, uint64_t id, struct reader *reader)
{
    switch (kind)
    {
    case DISK_OBJECT_LUN:
    case DISK_OBJECT_SNAPSHOT:
        return catalog_put_lun(pool, kind, id, reader);
    case DISK_OBJECT_STORE:
        return store_put(pool, id, reader);
    case DISK_OBJECT_VOLUME:
        return catalog_put_volume(pool, id, reader);
    case DISK_OBJECT_QTREE:
        return catalog_put_qtree(pool, id, reader);
    case DISK_OBJECT_VOLUME_SNAPSHOT:
        return catalog_put_volume_snapshot(pool, id, reader);
    case DISK_OBJECT_LINE:
    case DISK_OBJECT_NONE:
        break;
    }
    return -EBADMSG;
}

/* ---- deleting ------------------------------------------------------------------------------ */

bool catalog_may_delete(const struct object *object)
{
    switch (object->kind)
    {
    case DISK_OBJECT_LUN:
    {
        /* Its head must have become dying before. */
        const struct lun_object *lun = container_of(object, struct lun_object, object);
        return !lun->is_deleted && lun->snapshot_count == 0 && lun->line->lun != lun;
    }
    case DISK_OBJECT_SNAPSHOT:
    case DISK_OBJECT_STORE:
        return true;
    case DISK_OBJECT_VOLUME:
    {
        const struct volume_object *volume = container_of(object, struct volume_object, object);
        return volume->lun_count + volume->qtree_count + volume->snapshot_count == 0;
    }
    case DISK_OBJECT_QTREE:
    {
        const struct qtree_object *qtree = container_of(object, struct qtree_object, object);
        return !qtree->snapshot && qtree->lun_count == 0;
    }
    case DISK_OBJECT_VOLUME_SNAPSHOT:
    {
        const struct volume_snapshot_object *snapshot =
            container_of(object, struct volume_snapshot_object, object);
        return snapshot->member_count + snapshot->clone_count == 0;
    }
    case DISK_OBJECT_LINE:
    case DISK_OBJECT_NONE:
        break;
    }
    return false;
}

static void store_free(struct store_object *store)
{
    free(store->key);
    free(store->value);
    free(store);
}

void catalog_object_leave_index(struct pool *pool, struct object *object)
{
    catalog_object_leave_page(pool, object);
    {
        AUTO_LOCK(&pool->dirty_lock);
        list_remove(&object->dirty_link);
    }
    hash_remove(&pool->objects_by_id, &object->by_id);
}

void catalog_delete(struct pool *pool, struct object *object)
{
    catalog_object_leave_index(pool, object);
    switch (object->kind)
    {
    case DISK_OBJECT_LINE:
    {
        struct line *line = container_of(object, struct line, object);
        catalog_set_line_volume(pool, line, NULL);
        list_remove(&line->all_link);
        pool->line_count--;
        free(line);
        break;
    }
    case DISK_OBJECT_LUN:
    case DISK_OBJECT_SNAPSHOT:
        catalog_forget_lun(pool, container_of(object, struct lun_object, object));
        break;
    case DISK_OBJECT_STORE:
    {
        struct store_object *store = container_of(object, struct store_object, object);
        hash_remove(&pool->store_by_key, &store->by_name);
        store_free(store);
        break;
    }
    case DISK_OBJECT_VOLUME:
        catalog_forget_volume(pool, container_of(object, struct volume_object, object));
        break;
    case DISK_OBJECT_QTREE:
        catalog_forget_qtree(pool, container_of(object, struct qtree_object, object));
        break;
    case DISK_OBJECT_VOLUME_SNAPSHOT:
        catalog_forget_volume_snapshot(pool,
                                       container_of(object, struct volume_snapshot_object, object));
        break;
    case DISK_OBJECT_NONE:
        break;
    }
}

static void catalog_free_object(struct object *object)
{
    switch (object->kind)
    {
    case DISK_OBJECT_LINE:
        free(container_of(object, struct line, object));
        break;
    case DISK_OBJECT_LUN:
    case DISK_OBJECT_SNAPSHOT:
        catalog_free_lun(container_of(object, struct lun_object, object));
        break;
    case DISK_OBJECT_STORE:
        store_free(container_of(object, struct store_object, object));
        break;
    case DISK_OBJECT_VOLUME:
        catalog_free_volume(container_of(object, struct volume_object, object));
        break;
    case DISK_OBJECT_QTREE:
        catalog_free_qtree(container_of(object, struct qtree_object, object));
        break;
    case DISK_OBJECT_VOLUME_SNAPSHOT:
        catalog_free_volume_snapshot(container_of(object, struct volume_snapshot_object, object));
        break;
    case DISK_OBJECT_NONE:
        break;
    }
}

void catalog_destroy(struct pool *pool)
{
    for (size_t i = 0; i < pool->objects_by_id.bucket_count; i++)
    {
        for (struct hash_link *link = pool->objects_by_id.buckets[i], *next; link; link = next)
        {
            next = link->next;
            catalog_free_object(container_of(link, struct object, by_id));
        }
    }
    catalog_free_pages(pool);
    hash_destroy(&pool->objects_by_id);
    hash_destroy(&pool->luns_by_name);
    hash_destroy(&pool->store_by_key);
    hash_destroy(&pool->volumes_by_name);
    hash_destroy(&pool->qtrees_by_name);
    hash_destroy(&pool->volume_snapshots_by_name);
}
