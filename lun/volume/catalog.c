/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/volume/catalog.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "lun/base/log.h"
#include "lun/map/lineage.h"
#include "lun/map/range.h"
#include "lun/pool/pool_internal.h"
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

struct line *catalog_find_line(struct pool *pool, uint64_t id)
{
    struct object *object = catalog_find_any(pool, id);
    if (!object || object->kind != DISK_OBJECT_LINE)
        return NULL;
    return container_of(object, struct line, object);
}

struct lun_object *catalog_find_lun_by_id(struct pool *pool, uint64_t id)
{
    struct object *object = catalog_find_any(pool, id);
    if (!object || (object->kind != DISK_OBJECT_LUN && object->kind != DISK_OBJECT_SNAPSHOT))
        return NULL;
    return container_of(object, struct lun_object, object);
}

struct lun_object *catalog_find_lun(struct pool *pool, const char *full_name)
{
    uint64_t key = hash_string(full_name);
    hash_for_each(link, &pool->luns_by_name, key)
    {
        struct lun_object *lun = container_of(link, struct lun_object, by_name);
        if (strcmp(lun->name, full_name) == 0)
            return lun;
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
    };
    tree_to_disk(&line->map, &disk.map);
    tree_to_disk(&line->drops, &disk.drops);
    writer_bytes(writer, &disk, sizeof(disk));
}

static void lun_encode(const struct lun_object *lun, struct writer *writer)
{
    /* A snapshot's own name stands behind its LUN's, which may change. */
    const char *at = strchr(lun->name, '@');
    const char *name = at ? at + 1 : lun->name;
    const char *comment = lun->comment ? lun->comment : "",
               *origin = lun->origin ? lun->origin : "";
    struct disk_lun disk = {
        .line_id = le64_put(lun->line->object.id),
        .lun_id = le64_put(lun->lun->object.id),
        .size_bytes = le64_put(atomic_load(&lun->size_bytes)),
        .trim_end_bytes = le64_put(lun->trim_end_bytes),
        .created_ns = le64_put(lun->created_ns),
        .sector_bytes = le32_put(lun->sector_bytes),
        .name_len = le16_put(strlen(name)),
        .comment_len = le16_put(strlen(comment)),
        .origin_len = le16_put(strlen(origin)),
    };
    memcpy(disk.uuid, lun->uuid, sizeof(disk.uuid));
    writer_bytes(writer, &disk, sizeof(disk));
    writer_bytes(writer, name, strlen(name));
    writer_bytes(writer, comment, strlen(comment));
    writer_bytes(writer, origin, strlen(origin));
}

static void store_encode(const struct store_object *store, struct writer *writer)
{
    writer_le16(writer, store->key_len);
    writer_le16(writer, store->value_len);
    writer_bytes(writer, store->key, store->key_len);
    writer_bytes(writer, store->value, store->value_len);
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
    case DISK_OBJECT_NONE:
        break;
    }
}

/* ---- pages --------------------------------------------------------------------------------- */

static struct page *page_new(struct pool *pool, uint32_t slot_bytes)
{
    if (pool->page_count == pool->page_capacity)
    {
        uint64_t capacity = max_u64(64, pool->page_capacity * 2);
        struct page **pages = realloc(pool->pages, capacity * sizeof(struct page *));
        INVARIANT(pages); /* apply() cannot fail */
        pool->pages = pages;
        pool->page_capacity = capacity;
    }
    struct page *page = calloc(1, sizeof(*page));
    INVARIANT(page);
    page->number = pool->page_count;
    page->slot_bytes = slot_bytes;
    page->slot_count = DISK_PAGE_LARGE / slot_bytes;
    list_init(&page->free_link);
    list_init(&page->dirty_link);
    list_add_tail(&pool->pages_free[slot_bytes == DISK_PAGE_LARGE], &page->free_link);
    pool->pages[pool->page_count++] = page;
    return page;
}

static void page_mark_dirty(struct pool *pool, struct page *page)
{
    if (page->is_dirty)
        return;
    page->is_dirty = true;
    list_add_tail(&pool->dirty_pages, &page->dirty_link);
    pool->dirty_page_count++;
    space_owe(pool->space, 2);
}

void catalog_mark_dirty(struct pool *pool, struct object *object)
{
    if (atomic_load_explicit(&object->is_dirty, memory_order_relaxed))
        return;
    AUTO_LOCK(&pool->dirty_lock);
    if (atomic_exchange(&object->is_dirty, true))
        return;
    list_add_tail(&pool->dirty_objects, &object->dirty_link);
    if (object->page)
        page_mark_dirty(pool, object->page);
}

static void object_place_in(struct object *object, struct page *page, uint32_t slot)
{
    page->objects[slot] = object;
    page->used_count++;
    object->page = page;
    object->slot = slot;
    if (page->used_count == page->slot_count)
        list_remove(&page->free_link);
}

/* Gives a new object its slot: a small one if its bytes fit. */
static void object_place(struct pool *pool, struct object *object, size_t len)
{
    bool is_large = len + sizeof(struct disk_object) > DISK_PAGE_SMALL;
    struct list *with_room = &pool->pages_free[is_large];
    struct page *page = list_is_empty(with_room)
                            ? page_new(pool, is_large ? DISK_PAGE_LARGE : DISK_PAGE_SMALL)
                            : container_of(with_room->next, struct page, free_link);
    uint32_t slot = 0;
    while (page->objects[slot])
        slot++;
    object_place_in(object, page, slot);
}

static void object_leave_page(struct pool *pool, struct object *object)
{
    struct page *page = object->page;
    if (!page)
        return;
    if (page->used_count == page->slot_count)
        list_add_tail(&pool->pages_free[page->slot_bytes == DISK_PAGE_LARGE], &page->free_link);
    page->objects[object->slot] = NULL;
    page->used_count--;
    object->page = NULL;
    AUTO_LOCK(&pool->dirty_lock);
    page_mark_dirty(pool, page);
}

static size_t object_len(const struct object *object)
{
    struct writer writer = {0};
    catalog_encode(object, &writer);
    size_t len = writer.len;
    writer_destroy(&writer);
    return len;
}

/* After a change of an object's bytes: they may have outgrown the slot. */
static void object_settle(struct pool *pool, struct object *object)
{
    if (pool->is_loading)
        return; /* catalog_load() places what it reads */
    size_t len = object_len(object);
    if (object->page && len + sizeof(struct disk_object) > object->page->slot_bytes)
        object_leave_page(pool, object);
    if (!object->page)
        object_place(pool, object, len);
    catalog_mark_dirty(pool, object);
    AUTO_LOCK(&pool->dirty_lock);
    page_mark_dirty(pool, object->page); /* it may be another page than the one marked before */
}

static void object_init(struct pool *pool, struct object *object, enum disk_object_kind kind,
                        uint64_t id)
{
    object->kind = kind;
    object->id = id;
    list_init(&object->dirty_link);
    hash_add(&pool->objects_by_id, &object->by_id, hash_u64(id));
}

/* ---- lines --------------------------------------------------------------------------------- */

static struct line *line_alloc(struct pool *pool, uint64_t id)
{
    struct line *line = calloc(1, sizeof(*line));
    if (!line)
        return NULL;
    object_init(pool, &line->object, DISK_OBJECT_LINE, id);
    list_init(&line->children);
    list_init(&line->child_link);
    list_init(&line->snapshots);
    list_init(&line->job_link);
    line->map.kind = DISK_TREE_MAP;
    line->drops.kind = DISK_TREE_DROPS;
    list_add_tail(&pool->lines, &line->all_link);
    pool->line_count++;
    return line;
}

struct line *catalog_new_line(struct pool *pool, uint64_t id)
{
    struct line *line = line_alloc(pool, id);
    INVARIANT(line); /* apply() cannot fail */
    object_settle(pool, &line->object);
    return line;
}

static int line_decode(struct pool *pool, struct line *line, struct reader *reader,
                       uint64_t *predecessor_id)
{
    const struct disk_line *disk = reader_bytes(reader, sizeof(*disk));
    if (!disk)
        return -EBADMSG;
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
    tree_from_disk(&line->map, DISK_TREE_MAP, &disk->map);
    tree_from_disk(&line->drops, DISK_TREE_DROPS, &disk->drops);
    return verify_line(pool, line);
}

/* ---- LUNs and snapshots -------------------------------------------------------------------- */

static void lun_object_free(struct lun_object *lun)
{
    rwlock_destroy(&lun->map_lock);
    memo_destroy(&lun->memo);
    range_table_destroy(lun->ranges);
    free(lun->name);
    free(lun->comment);
    free(lun->origin);
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
    lun_object_free(lun);
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
    object_init(pool, &lun->object, kind, id);
    rwlock_init(&lun->map_lock, LOCK_RANK_MAP);
    lun->ranges = ranges;
    lun->references = 1;
    list_init(&lun->all_link);
    list_init(&lun->snapshots);
    list_init(&lun->lun_link);
    list_init(&lun->point_link);
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

static int string_set(char **string, const char *bytes, size_t len)
{
    char *copy = malloc(len + 1);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, bytes, len);
    copy[len] = '\0';
    free(*string);
    *string = copy;
    return 0;
}

static int lun_set_name(struct pool *pool, struct lun_object *lun, const char *own_name, size_t len)
{
    char full[2 * LUN_NAME_MAX + 2];
    size_t at = 0;
    if (lun->object.kind == DISK_OBJECT_SNAPSHOT)
    {
        at = strlen(lun->lun->name);
        memcpy(full, lun->lun->name, at);
        full[at++] = '@';
    }
    memcpy(full + at, own_name, len);
    full[at + len] = '\0';
    if (lun->name && strcmp(lun->name, full) == 0)
        return 0;
    if (catalog_find_lun(pool, full))
        return -EBADMSG;
    if (lun->name)
        hash_remove(&pool->luns_by_name, &lun->by_name);
    int r = string_set(&lun->name, full, at + len);
    INVARIANT(r == 0 || !lun->name);
    if (r < 0)
        return r;
    hash_add(&pool->luns_by_name, &lun->by_name, hash_string(lun->name));
    return 0;
}

/* A LUN was renamed: so are its snapshots. */
static int lun_rename_snapshots(struct pool *pool, struct lun_object *lun)
{
    list_for_each (snapshot, &lun->snapshots, struct lun_object, lun_link)
    {
        char own[LUN_NAME_MAX + 1];
        const char *at = strchr(snapshot->name, '@');
        size_t len = strlen(at + 1);
        memcpy(own, at + 1, len);
        int r = lun_set_name(pool, snapshot, own, len);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Puts the LUN or snapshot on @line, off the one it was on. */
static void lun_set_line(struct lun_object *lun, struct line *line)
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
        line->lun = lun;
        memo_step(&lun->memo); /* another map */
        return;
    }
    lun->line = line;
    list_add_tail(&line->snapshots, &lun->point_link);
    line->snapshot_count++;
}

/* Oldest first; at open they come in the order of their slots. */
static void lun_add_snapshot(struct lun_object *lun, struct lun_object *snapshot)
{
    struct list *before = lun->snapshots.prev;
    while (before != &lun->snapshots &&
           container_of(before, struct lun_object, lun_link)->object.id > snapshot->object.id)
        before = before->prev;
    list_insert_between(&snapshot->lun_link, before, before->next);
    lun->snapshot_count++;
}

static int lun_put(struct pool *pool, enum disk_object_kind kind, uint64_t id,
                   struct reader *reader)
{
    const struct disk_lun *disk = reader_bytes(reader, sizeof(*disk));
    if (!disk || verify_lun(pool, kind, id, disk) < 0)
        return -EBADMSG;
    const char *name = reader_bytes(reader, le16_get(disk->name_len));
    const char *comment = reader_bytes(reader, le16_get(disk->comment_len));
    const char *origin = reader_bytes(reader, le16_get(disk->origin_len));
    if (reader->failed || verify_name(name, le16_get(disk->name_len)) < 0)
        return -EBADMSG;
    struct object *object = catalog_find_any(pool, id);
    struct lun_object *lun =
        object ? container_of(object, struct lun_object, object) : lun_alloc(pool, kind, id);
    if (!lun)
        return -ENOMEM;
    if (!object && kind == DISK_OBJECT_SNAPSHOT)
    {
        lun->lun = catalog_find_lun_by_id(pool, le64_get(disk->lun_id));
        lun_add_snapshot(lun->lun, lun);
    }
    memcpy(lun->uuid, disk->uuid, sizeof(lun->uuid));
    atomic_store(&lun->size_bytes, le64_get(disk->size_bytes));
    lun->trim_end_bytes = le64_get(disk->trim_end_bytes);
    lun->created_ns = le64_get(disk->created_ns);
    lun->sector_bytes = le32_get(disk->sector_bytes);
    int r = lun_set_name(pool, lun, name, le16_get(disk->name_len));
    r = keep_first(r, string_set(&lun->comment, comment, le16_get(disk->comment_len)));
    r = keep_first(r, string_set(&lun->origin, origin, le16_get(disk->origin_len)));
    if (kind == DISK_OBJECT_LUN)
        r = keep_first(r, lun_rename_snapshots(pool, lun));
    lun_set_line(lun, catalog_find_line(pool, le64_get(disk->line_id)));
    if (r == 0)
        object_settle(pool, &lun->object);
    return r;
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
        int r = string_set(&store->key, key, key_len);
        if (r < 0)
            return r;
        store->key_len = key_len;
        object_init(pool, &store->object, DISK_OBJECT_STORE, id);
        hash_add(&pool->store_by_key, &store->by_name, hash_string(store->key));
    }
    free(store->value);
    store->value = take_ptr(&copy);
    store->value_len = value_len;
    object_settle(pool, &store->object);
    return 0;
}

int catalog_put(struct pool *pool, enum disk_object_kind kind, uint64_t id, struct reader *reader)
{
    switch (kind)
    {
    case DISK_OBJECT_LUN:
    case DISK_OBJECT_SNAPSHOT:
        return lun_put(pool, kind, id, reader);
    case DISK_OBJECT_STORE:
        return store_put(pool, id, reader);
    case DISK_OBJECT_LINE:
    case DISK_OBJECT_NONE:
        break;
    }
    return -EBADMSG;
}

/* ---- deleting ------------------------------------------------------------------------------ */

static void lun_forget(struct pool *pool, struct lun_object *lun)
{
    hash_remove(&pool->luns_by_name, &lun->by_name);
    atomic_store(&lun->is_dead, true);
    if (lun->object.kind == DISK_OBJECT_LUN)
    {
        list_remove(&lun->all_link);
        pool->lun_count--;
        if (lun->line->lun == lun)
            lun->line->lun = NULL;
        if (lun->line->left_by == lun)
            lun->line->left_by = NULL;
    }
    else
    {
        list_remove(&lun->lun_link);
        lun->lun->snapshot_count--;
        list_remove(&lun->point_link);
        lun->line->snapshot_count--;
        pool->snapshot_count--;
    }
    lun_object_put(pool, lun);
}

void catalog_delete(struct pool *pool, struct object *object)
{
    object_leave_page(pool, object);
    {
        AUTO_LOCK(&pool->dirty_lock);
        list_remove(&object->dirty_link);
    }
    hash_remove(&pool->objects_by_id, &object->by_id);
    switch (object->kind)
    {
    case DISK_OBJECT_LINE:
    {
        struct line *line = container_of(object, struct line, object);
        list_remove(&line->all_link);
        pool->line_count--;
        free(line);
        break;
    }
    case DISK_OBJECT_LUN:
    case DISK_OBJECT_SNAPSHOT:
        lun_forget(pool, container_of(object, struct lun_object, object));
        break;
    case DISK_OBJECT_STORE:
    {
        struct store_object *store = container_of(object, struct store_object, object);
        hash_remove(&pool->store_by_key, &store->by_name);
        free(store->key);
        free(store->value);
        free(store);
        break;
    }
    case DISK_OBJECT_NONE:
        break;
    }
}

/* ---- checkpoints --------------------------------------------------------------------------- */

struct page_image
{
    struct disk_page *disk;
    uint64_t blk;
};

int catalog_prepare_switch(struct pool *pool, struct tree_op *op)
{
    size_t count = pool->dirty_page_count;
    if (count > pool->page_image_capacity)
    {
        struct page_image *images = realloc(pool->page_images, count * sizeof(*images));
        if (!images)
            return -ENOMEM;
        pool->page_images = images;
        while (pool->page_image_capacity < count)
        {
            struct disk_page *disk = aligned_alloc(BLK_BYTES, BLK_BYTES);
            if (!disk)
                return -ENOMEM;
            images[pool->page_image_capacity++] = (struct page_image){.disk = disk};
        }
    }
    list_for_each (page, &pool->dirty_pages, struct page, dirty_link)
    {
        struct tree_key key = {.lo = page->number}, end = {.lo = page->number + 1};
        int r = tree_prepare_range(op, &pool->pages_tree, key, end, 1, NULL);
        if (r < 0)
            return r;
    }
    return 0;
}

static void page_fill_image(const struct page *page, struct disk_page *disk)
{
    memset(disk, 0, sizeof(*disk));
    disk->page = le64_put(page->number);
    disk->slot_bytes = le16_put(page->slot_bytes);
    struct writer writer = {0};
    for (uint32_t i = 0; i < page->slot_count; i++)
    {
        const struct object *object = page->objects[i];
        if (!object)
            continue;
        writer.len = 0;
        catalog_encode(object, &writer);
        INVARIANT(!writer.failed && writer.len + sizeof(struct disk_object) <= page->slot_bytes);
        struct disk_object head = {.kind = le16_put(object->kind),
                                   .len = le16_put(writer.len),
                                   .id = le64_put(object->id)};
        uint8_t *slot = disk->slots + (size_t)i * page->slot_bytes;
        memcpy(slot, &head, sizeof(head));
        if (writer.len > 0)
            memcpy(slot + sizeof(head), writer.bytes, writer.len);
    }
    writer_destroy(&writer);
}

/* Gives the page a new block and makes the pages tree say so. */
static void page_move(struct pool *pool, struct tree_op *op, struct page *page)
{
    if (page->blk)
        space_free(pool->space, page->blk, 1, true);
    page->blk = space_take_node(pool->space);
    union disk_entry entry = {.page = {.page = le40_put(page->number),
                                       .blk = le40_put(page->blk),
                                       .cp_id = le48_put(atomic_load(&pool->cp_id))}};
    struct tree_key key = {.lo = page->number};
    struct tree_path path;
    tree_change_seek(op, &pool->pages_tree, key, &path);
    const struct disk_node *leaf = path.nodes[0]->disk;
    bool is_there =
        path.index[0] < le16_get(leaf->count) &&
        tree_key_compare(tree_entry_key(DISK_TREE_PAGES, &leaf->entries[path.index[0]]), key) == 0;
    tree_change_replace(op, &pool->pages_tree, &path, is_there, &entry, 1);
}

void catalog_switch(struct pool *pool, struct tree_op *op)
{
    AUTO_LOCK(&pool->dirty_lock);
    list_for_each_safe (object, &pool->dirty_objects, struct object, dirty_link)
    {
        list_remove(&object->dirty_link);
        atomic_store(&object->is_dirty, false);
    }
    pool->page_image_count = 0;
    list_for_each_safe (page, &pool->dirty_pages, struct page, dirty_link)
    {
        page_move(pool, op, page);
        struct page_image *image = &pool->page_images[pool->page_image_count++];
        page_fill_image(page, image->disk);
        image->blk = page->blk;
        page->is_dirty = false;
        list_remove(&page->dirty_link);
    }
    pool->dirty_page_count = 0;
    pool->page_images_cp_id = atomic_load(&pool->cp_id);
}

int catalog_write(struct pool *pool)
{
    for (size_t i = 0; i < pool->page_image_count; i++)
    {
        struct page_image *image = &pool->page_images[i];
        disk_header_seal(pool, &image->disk->header, DISK_MAGIC_PAGE, image->blk,
                         pool->page_images_cp_id);
        int r = device_write(pool->device, image->disk, BLK_BYTES, image->blk * BLK_BYTES);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- opening ------------------------------------------------------------------------------- */

/* Slots of one kind on one page; LUNs need their lines and snapshots their LUNs to be there. */
static int page_load_kind(struct pool *pool, struct page *page, const struct disk_page *disk,
                          enum disk_object_kind wanted, uint64_t *predecessors)
{
    for (uint32_t i = 0; i < page->slot_count; i++)
    {
        const uint8_t *slot = disk->slots + (size_t)i * page->slot_bytes;
        const struct disk_object *head = (const void *)slot;
        enum disk_object_kind kind = (enum disk_object_kind)le16_get(head->kind);
        if (kind > DISK_OBJECT_STORE)
            return -EBADMSG;
        if (kind == DISK_OBJECT_NONE || kind != wanted)
            continue;
        uint64_t id = le64_get(head->id);
        if (le16_get(head->len) + sizeof(*head) > page->slot_bytes || id == 0 ||
            id >= pool->next_id)
            return -EBADMSG;
        struct reader reader = reader_of(head + 1, le16_get(head->len));
        if (catalog_find_any(pool, id))
            return -EBADMSG;
        int r;
        if (kind == DISK_OBJECT_LINE)
        {
            struct line *line = line_alloc(pool, id);
            r = line ? line_decode(pool, line, &reader, &predecessors[i]) : -ENOMEM;
        }
        else
        {
            r = catalog_put(pool, kind, id, &reader);
        }
        if (r < 0)
            return r;
        object_place_in(catalog_find_any(pool, id), page, i);
    }
    return 0;
}

struct loaded_page
{
    struct page *page;
    struct disk_page *disk;
    uint64_t predecessors[DISK_PAGE_SLOTS_MAX];
};

static int page_read(struct pool *pool, uint64_t number, struct tree_op *op,
                     struct loaded_page *loaded)
{
    union disk_entry entry;
    bool found;
    int r;
    while ((r = tree_next(op, &pool->pages_tree, (struct tree_key){.lo = number}, &entry,
                          &found)) == -EAGAIN)
    {
        r = tree_op_load(op);
        if (r < 0)
            return r;
    }
    if (r < 0)
        return r;
    if (!found || le40_get(entry.page.page) != number)
        return -EBADMSG;
    loaded->disk = aligned_alloc(BLK_BYTES, BLK_BYTES);
    if (!loaded->disk)
        return -ENOMEM;
    uint64_t blk = le40_get(entry.page.blk);
    r = device_read(pool->device, loaded->disk, BLK_BYTES, blk * BLK_BYTES);
    if (r == 0)
        r = disk_header_verify(pool, &loaded->disk->header, DISK_MAGIC_PAGE, blk,
                               le48_get(entry.page.cp_id));
    if (r < 0)
        return r;
    uint32_t slot_bytes = le16_get(loaded->disk->slot_bytes);
    if ((slot_bytes != DISK_PAGE_SMALL && slot_bytes != DISK_PAGE_LARGE) ||
        le64_get(loaded->disk->page) != number)
        return -EBADMSG;
    loaded->page = page_new(pool, slot_bytes);
    loaded->page->blk = blk;
    return 0;
}

static int catalog_join_lines(struct pool *pool, struct loaded_page *pages, uint64_t count)
{
    for (uint64_t p = 0; p < count; p++)
    {
        for (uint32_t i = 0; i < pages[p].page->slot_count; i++)
        {
            uint64_t id = pages[p].predecessors[i];
            if (id == 0)
                continue;
            struct line *predecessor = catalog_find_line(pool, id);
            struct line *line = container_of(pages[p].page->objects[i], struct line, object);
            if (!predecessor || predecessor->frozen_at == 0)
                return -EBADMSG;
            lineage_join(line, predecessor);
        }
    }
    return 0;
}

static int catalog_load_pages(struct pool *pool, struct loaded_page *pages, uint64_t count)
{
    AUTO_TREE_OP struct tree_op op;
    tree_op_init(&op, pool);
    for (uint64_t i = 0; i < count; i++)
    {
        int r = page_read(pool, i, &op, &pages[i]);
        if (r < 0)
            return r;
    }
    static const enum disk_object_kind order[] = {DISK_OBJECT_LINE, DISK_OBJECT_LUN,
                                                  DISK_OBJECT_SNAPSHOT, DISK_OBJECT_STORE};
    for (size_t k = 0; k < ARRAY_SIZE(order); k++)
    {
        for (uint64_t i = 0; i < count; i++)
        {
            int r =
                page_load_kind(pool, pages[i].page, pages[i].disk, order[k], pages[i].predecessors);
            if (r < 0)
                return r;
        }
        int r = order[k] == DISK_OBJECT_LINE ? catalog_join_lines(pool, pages, count) : 0;
        if (r < 0)
            return r;
    }
    return verify_lines(pool);
}

int catalog_load(struct pool *pool)
{
    uint64_t count = le64_get(pool->super.page_count);
    if (count > atomic_load(&pool->size_blks))
        return -EBADMSG;
    AUTO_FREE struct loaded_page *pages = calloc(count ? count : 1, sizeof(*pages));
    if (!pages)
        return -ENOMEM;
    pool->is_loading = true;
    int r = catalog_load_pages(pool, pages, count);
    pool->is_loading = false;
    for (uint64_t i = 0; i < count; i++)
        free(pages[i].disk);
    if (r == -EBADMSG)
        log_error("the catalog of the pool is damaged");
    return r;
}

static void catalog_free_object(struct object *object)
{
    if (object->kind == DISK_OBJECT_LINE)
    {
        free(container_of(object, struct line, object));
    }
    else if (object->kind == DISK_OBJECT_STORE)
    {
        struct store_object *store = container_of(object, struct store_object, object);
        free(store->key);
        free(store->value);
        free(store);
    }
    else
    {
        lun_object_free(container_of(object, struct lun_object, object));
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
    for (uint64_t i = 0; i < pool->page_count; i++)
        free(pool->pages[i]);
    for (size_t i = 0; i < pool->page_image_capacity; i++)
        free(pool->page_images[i].disk);
    free(pool->page_images);
    free(pool->pages);
    hash_destroy(&pool->objects_by_id);
    hash_destroy(&pool->luns_by_name);
    hash_destroy(&pool->store_by_key);
}
