/* SPDX-License-Identifier: BSD-3-Clause */
/* Pages of object slots: where objects are, and how a checkpoint writes and an open reads them. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "lun/base/log.h"
#include "lun/map/lineage.h"
#include "lun/pool/pool_internal.h"
#include "lun/volume/catalog_internal.h"
#include "lun/volume/verify.h"

/* ---- pages --------------------------------------------------------------------------------- */

/* NULL: no memory. */
static struct page *page_make(struct pool *pool, uint32_t slot_bytes)
{
    if (pool->page_count == pool->page_capacity)
    {
        uint64_t capacity = max_u64(64, pool->page_capacity * 2);
        struct page **pages = realloc(pool->pages, capacity * sizeof(struct page *));
        if (!pages)
            return NULL;
        pool->pages = pages;
        pool->page_capacity = capacity;
    }
    struct page *page = calloc(1, sizeof(*page));
    if (!page)
        return NULL;
    page->number = pool->page_count;
    page->slot_bytes = slot_bytes;
    page->slot_count = DISK_PAGE_LARGE / slot_bytes;
    list_init(&page->free_link);
    list_init(&page->dirty_link);
    list_add_tail(&pool->pages_free[slot_bytes == DISK_PAGE_LARGE], &page->free_link);
    pool->pages[pool->page_count++] = page;
    return page;
}

static struct page *page_new(struct pool *pool, uint32_t slot_bytes)
{
    struct page *page = page_make(pool, slot_bytes);
    INVARIANT(page); /* apply() cannot fail */
    return page;
}

static void page_mark_dirty(struct pool *pool, struct page *page)
{
    if (page->is_dirty)
        return;
    page->is_dirty = true;
    list_add_tail(&pool->dirty_pages, &page->dirty_link);
    pool->dirty_page_count++;
    uint64_t owed = catalog_blks_to_write(pool->dirty_page_count, pool->page_count);
    space_owe(pool->space, owed - pool->pages_owed_blks);
    pool->pages_owed_blks = owed;
}

/* What a checkpoint takes that writes every page with objects: so much is kept for deletes. */
static void pages_note_use(struct pool *pool, bool is_used)
{
    pool->used_page_count += is_used ? 1 : (uint64_t)-1;
    space_keep_for_catalog(pool->space,
                           catalog_blks_to_write(pool->used_page_count, pool->page_count));
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

void catalog_write_again(struct pool *pool, uint64_t number)
{
    AUTO_LOCK(&pool->dirty_lock);
    page_mark_dirty(pool, pool->pages[number]);
}

void catalog_write_twice(struct pool *pool)
{
    struct space_stats stats;
    space_get_stats(pool->space, &stats);
    uint64_t room = stats.free_blks > stats.reserve_blks ? stats.free_blks - stats.reserve_blks : 0;
    for (uint64_t i = 0; i < pool->page_count && room >= UINT64_C(4) * PAGE_COPIES; i++)
    {
        if (pool->pages[i]->blks[PAGE_COPIES - 1] != 0)
            continue;
        catalog_write_again(pool, i);
        room -= UINT64_C(2) * PAGE_COPIES;
    }
}

static void object_place_in(struct pool *pool, struct object *object, struct page *page,
                            uint32_t slot)
{
    page->objects[slot] = object;
    if (page->used_count++ == 0)
        pages_note_use(pool, true);
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
    object_place_in(pool, object, page, slot);
}

void catalog_object_leave_page(struct pool *pool, struct object *object)
{
    struct page *page = object->page;
    if (!page)
        return;
    if (page->used_count == page->slot_count)
        list_add_tail(&pool->pages_free[page->slot_bytes == DISK_PAGE_LARGE], &page->free_link);
    page->objects[object->slot] = NULL;
    if (--page->used_count == 0)
        pages_note_use(pool, false);
    object->page = NULL;
    AUTO_LOCK(&pool->dirty_lock);
    page_mark_dirty(pool, page);
}

void catalog_object_take_slot(struct object *object, struct object *from)
{
    object->page = from->page;
    object->slot = from->slot;
    if (object->page)
        object->page->objects[object->slot] = object;
    from->page = NULL;
}

/* apply() asks this of many objects at once, while writes wait: the buffer is kept, and a line is
 * not encoded for it, as all are alike. */
static size_t object_len(struct pool *pool, const struct object *object)
{
    if (object->kind == DISK_OBJECT_LINE)
        return sizeof(struct disk_line);
    pool->encoded.len = 0;
    catalog_encode(object, &pool->encoded);
    INVARIANT(!pool->encoded.failed); /* apply() cannot fail */
    return pool->encoded.len;
}

/* After a change of an object's bytes: they may have outgrown the slot. */
void catalog_object_settle(struct pool *pool, struct object *object)
{
    if (pool->is_loading)
        return; /* catalog_load() places what it reads */
    size_t len = object_len(pool, object);
    if (object->page && len + sizeof(struct disk_object) > object->page->slot_bytes)
        catalog_object_leave_page(pool, object);
    if (!object->page)
        object_place(pool, object, len);
    catalog_mark_dirty(pool, object);
    AUTO_LOCK(&pool->dirty_lock);
    page_mark_dirty(pool, object->page); /* it may be another page than the one marked before */
}

void catalog_object_init(struct pool *pool, struct object *object, enum disk_object_kind kind,
                         uint64_t id)
{
    object->kind = kind;
    object->id = id;
    list_init(&object->dirty_link);
    hash_add(&pool->objects_by_id, &object->by_id, hash_u64(id));
}

/* ---- checkpoints --------------------------------------------------------------------------- */

struct page_image
{
    struct disk_page *disk;
    uint64_t blks[PAGE_COPIES];
};

/* Room for the images of @count pages, whose memory has been touched. */
static int images_grow(struct pool *pool, size_t count)
{
    if (count <= pool->page_image_capacity)
        return 0;
    struct page_image *images = realloc(pool->page_images, count * sizeof(*images));
    if (!images)
        return -ENOMEM;
    pool->page_images = images;
    while (pool->page_image_capacity < count)
    {
        struct disk_page *disk = aligned_alloc(BLK_BYTES, BLK_BYTES);
        if (!disk)
            return -ENOMEM;
        memset(disk, 0, sizeof(*disk));
        images[pool->page_image_capacity++] = (struct page_image){.disk = disk};
    }
    return 0;
}

int catalog_make_room(struct pool *pool)
{
    uint64_t count;
    {
        AUTO_LOCK(&pool->dirty_lock);
        count = pool->dirty_page_count;
    }
    return images_grow(pool, count + count / 8);
}

/* So that no object is too long for the buffer that objects are encoded in. */
static int encoded_grow(struct pool *pool)
{
    pool->encoded.len = 0;
    bool has_room = writer_room(&pool->encoded, DISK_PAGE_LARGE) != NULL;
    pool->encoded.failed = false;
    return has_room ? 0 : -ENOMEM;
}

int catalog_prepare_switch(struct pool *pool, struct tree_op *op)
{
    int r = images_grow(pool, pool->dirty_page_count);
    if (r == 0)
        r = encoded_grow(pool);
    if (r == 0)
        r = catalog_index_prepare(pool, op);
    return r == 0 ? catalog_index_reserve(pool) : r;
}

static void page_fill_image(struct pool *pool, const struct page *page, struct disk_page *disk)
{
    memset(disk, 0, sizeof(*disk));
    disk->page = le64_put(page->number);
    disk->slot_bytes = le16_put(page->slot_bytes);
    struct writer *writer = &pool->encoded; /* whoever applies a record waits at the gate */
    for (uint32_t i = 0; i < page->slot_count; i++)
    {
        const struct object *object = page->objects[i];
        if (!object)
            continue;
        writer->len = 0;
        catalog_encode(object, writer);
        INVARIANT(!writer->failed && writer->len + sizeof(struct disk_object) <= page->slot_bytes);
        struct disk_object head = {.kind = le16_put(object->kind),
                                   .len = le16_put(writer->len),
                                   .id = le64_put(object->id)};
        uint8_t *slot = disk->slots + (size_t)i * page->slot_bytes;
        memcpy(slot, &head, sizeof(head));
        if (writer->len > 0)
            memcpy(slot + sizeof(head), writer->bytes, writer->len);
    }
}

/* Gives the page new blocks and makes the index say so. */
static void page_move(struct pool *pool, struct tree_op *op, struct page *page)
{
    page->cp_id = atomic_load(&pool->cp_id);
    for (unsigned copy = 0; copy < PAGE_COPIES; copy++)
    {
        if (page->blks[copy])
            space_free(pool->space, page->blks[copy], 1, true);
        page->blks[copy] = copy == 0 ? space_take_node(pool->space)
                                     : space_take_node_far(pool->space, page->blks[0]);
        catalog_index_put(pool, op, copy, page);
    }
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
    catalog_index_renew(pool, op);
    list_for_each_safe (page, &pool->dirty_pages, struct page, dirty_link)
    {
        page_move(pool, op, page);
        struct page_image *image = &pool->page_images[pool->page_image_count++];
        page_fill_image(pool, page, image->disk);
        memcpy(image->blks, page->blks, sizeof(image->blks));
        page->is_dirty = false;
        list_remove(&page->dirty_link);
    }
    pool->dirty_page_count = pool->pages_owed_blks = 0;
    pool->page_images_cp_id = atomic_load(&pool->cp_id);
}

int catalog_write(struct pool *pool)
{
    for (size_t i = 0; i < PAGE_COPIES * pool->page_image_count; i++)
    {
        struct page_image *image = &pool->page_images[i / PAGE_COPIES];
        unsigned copy = i % PAGE_COPIES;
        uint64_t blk = image->blks[copy];
        image->disk->twin = le64_put(image->blks[PAGE_COPIES - 1 - copy]);
        disk_header_seal(pool, &image->disk->header, DISK_MAGIC_PAGE, blk, pool->page_images_cp_id);
        int r = device_write(pool->device, image->disk, BLK_BYTES, blk * BLK_BYTES);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- opening ------------------------------------------------------------------------------- */

/* Slots of one kind on one page. */
static int page_load_kind(struct pool *pool, struct page *page, const struct disk_page *disk,
                          enum disk_object_kind wanted, uint64_t *predecessors)
{
    for (uint32_t i = 0; i < page->slot_count; i++)
    {
        const uint8_t *slot = disk->slots + (size_t)i * page->slot_bytes;
        const struct disk_object *head = (const void *)slot;
        enum disk_object_kind kind = (enum disk_object_kind)le16_get(head->kind);
        if (kind > DISK_OBJECT_VOLUME_SNAPSHOT)
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
            struct line *line = catalog_line_alloc(pool, id);
            r = line ? catalog_line_decode(pool, line, &reader, &predecessors[i]) : -ENOMEM;
        }
        else
        {
            r = catalog_put(pool, kind, id, &reader);
        }
        if (r < 0)
            return r;
        object_place_in(pool, catalog_find_any(pool, id), page, i);
    }
    return 0;
}

struct loaded_page
{
    struct page *page;
    struct disk_page *disk;
    uint64_t predecessors[DISK_PAGE_SLOTS_MAX];
};

/* The bytes of page @number at @blk, if they are there. */
static int page_read_at(struct pool *pool, uint64_t number, uint64_t blk, uint64_t cp_id,
                        struct disk_page *disk)
{
    if (!space_may_hold(pool, blk, 1))
        return -EBADMSG;
    int r = device_read(pool->device, disk, BLK_BYTES, blk * BLK_BYTES);
    if (r == 0)
        r = disk_header_verify(pool, &disk->header, DISK_MAGIC_PAGE, blk, cp_id);
    if (r < 0)
        return r;
    uint32_t slot_bytes = le16_get(disk->slot_bytes);
    if ((slot_bytes != DISK_PAGE_SMALL && slot_bytes != DISK_PAGE_LARGE) ||
        le64_get(disk->page) != number)
        return -EBADMSG;
    return 0;
}

int catalog_verify_copy(struct pool *pool, const struct page *page, unsigned copy)
{
    AUTO_FREE struct disk_page *disk = aligned_alloc(BLK_BYTES, BLK_BYTES);
    if (!disk)
        return -ENOMEM;
    int r = page_read_at(pool, page->number, page->blks[copy], page->cp_id, disk);
    uint64_t twin = page->blks[PAGE_COPIES - 1 - copy];
    return r == 0 && twin != 0 && le64_get(disk->twin) != twin ? -EBADMSG : r;
}

/* What is known of one copy of a page that is being loaded. */
struct copy_found
{
    int at;   /* 0: the index says where it is; -ENOENT: there is none; else the index is damaged */
    int read; /* 0: it is sound, or was not looked at */
    uint64_t blk, cp_id;
};

static bool page_is_same(const struct disk_page *a, const struct disk_page *b)
{
    return le16_get(a->slot_bytes) == le16_get(b->slot_bytes) &&
           memcmp(a->slots, b->slots, sizeof(a->slots)) == 0;
}

static bool page_is_damage(int r)
{
    return r == -EBADMSG || r == -EIO;
}

/* Looks for the copies of page @number and reads them: one that is sound is enough, save for a
 * repair. */
static int page_read_copies(struct pool *pool, uint64_t number, struct tree_op *op,
                            struct copy_found *copies, struct disk_page *disk)
{
    AUTO_FREE struct disk_page *other = aligned_alloc(BLK_BYTES, BLK_BYTES);
    bool is_read = false;
    if (!other)
        return -ENOMEM;
    for (unsigned i = 0; i < PAGE_COPIES; i++)
    {
        struct copy_found *copy = &copies[i];
        copy->at = catalog_index_find(pool, i, number, op, &copy->blk, &copy->cp_id);
        if (copy->at < 0 && copy->at != -ENOENT && !page_is_damage(copy->at))
            return copy->at;
        if (page_is_damage(copy->at) && !pool->index_losses[i].is_lost)
        {
            int r = catalog_lose_index(pool, i);
            if (r < 0)
                return r;
            catalog_say_damage(pool, "copy %u of the index of the catalog cannot be read", i);
        }
        if (copy->at < 0 || (is_read && !pool->options.repair))
            continue;
        copy->read = page_read_at(pool, number, copy->blk, copy->cp_id, is_read ? other : disk);
        if (copy->read < 0 && !page_is_damage(copy->read))
            return copy->read;
        if (copy->read == 0 && is_read && !page_is_same(disk, other))
            copy->read = -EBADMSG;
        is_read |= copy->read == 0;
    }
    return is_read ? 0 : keep_first(copies[0].read, -EBADMSG);
}

/* Where the index does not say it, the other copy does, and is as sure: who cannot be read is the
 * page's nevertheless, and freed when the page is written anew. */
static int page_follow_twin(struct pool *pool, uint64_t number, const struct disk_page *disk,
                            struct copy_found *copy)
{
    AUTO_FREE struct disk_page *twin = aligned_alloc(BLK_BYTES, BLK_BYTES);
    uint64_t blk = le64_get(disk->twin), cp_id = le64_get(disk->header.cp_id);
    bool is_taken = true;
    if (!twin)
        return -ENOMEM;
    if (blk == 0 || !space_may_hold(pool, blk, 1))
        return 0;
    int r = space_is_allocated(pool->space, blk, &is_taken);
    if (r == -ENOMEM || !is_taken)
        return r;
    r = page_read_at(pool, number, blk, cp_id, twin);
    if (r < 0 && !page_is_damage(r))
        return r;
    if (r == 0 && (le64_get(twin->twin) != le64_get(disk->header.blk) || !page_is_same(disk, twin)))
        r = -EBADMSG;
    *copy = (struct copy_found){.read = r, .blk = blk, .cp_id = cp_id};
    return 0;
}

static int page_read(struct pool *pool, uint64_t number, struct tree_op *op,
                     struct loaded_page *loaded)
{
    struct copy_found copies[PAGE_COPIES] = {{0}};
    loaded->disk = aligned_alloc(BLK_BYTES, BLK_BYTES);
    if (!loaded->disk)
        return -ENOMEM;
    int r = page_read_copies(pool, number, op, copies, loaded->disk);
    if (r < 0)
        return r;
    struct page *page = loaded->page = page_make(pool, le16_get(loaded->disk->slot_bytes));
    if (!page)
        return -ENOMEM;
    page->cp_id = le64_get(loaded->disk->header.cp_id);
    bool is_damaged = false;
    for (unsigned i = 0; i < PAGE_COPIES; i++)
    {
        struct copy_found *copy = &copies[i];
        r = page_is_damage(copy->at) ? page_follow_twin(pool, number, loaded->disk, copy) : 0;
        if (r < 0)
            return r;
        is_damaged |= page_is_damage(copy->at) || (copy->at == -ENOENT && i == 0);
        page->blks[i] = copy->at == 0 ? copy->blk : 0;
        if (copy->at < 0 || (copy->read == 0 && copy->cp_id == page->cp_id))
            continue;
        is_damaged = true;
        catalog_say_damage(
            pool, "block %" PRIu64 ", copy %u of page %" PRIu64 " of the catalog, %s", copy->blk, i,
            number,
            copy->read == -EIO ? "cannot be read" : "holds something else than was written");
    }
    if (is_damaged && (!pool->is_read_only || pool->options.repair))
        catalog_write_again(pool, number);
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
    /* What is referred to comes before what refers to it. */
    static const enum disk_object_kind order[] = {
        DISK_OBJECT_VOLUME, DISK_OBJECT_LINE, DISK_OBJECT_VOLUME_SNAPSHOT,
        DISK_OBJECT_QTREE,  DISK_OBJECT_LUN,  DISK_OBJECT_SNAPSHOT,
        DISK_OBJECT_STORE};
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
    int r = catalog_join_volumes(pool);
    return r < 0 ? r : verify_lines(pool);
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

void catalog_free_pages(struct pool *pool)
{
    for (uint64_t i = 0; i < pool->page_count; i++)
        free(pool->pages[i]);
    for (size_t i = 0; i < pool->page_image_capacity; i++)
        free(pool->page_images[i].disk);
    for (unsigned copy = 0; copy < PAGE_COPIES; copy++)
        free(pool->index_losses[copy].nodes);
    free(pool->page_images);
    free(pool->pages);
    writer_destroy(&pool->encoded);
}
