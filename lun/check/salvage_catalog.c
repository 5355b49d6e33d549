/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The catalog of a pool that does not open, page by page.
 *
 * Where a page is, the index says; one that it does not lead to, or that is damaged, is looked for
 * on the whole device. What is found there may be of an older checkpoint: then its maps may lead to
 * blocks that are others' by now, and whoever asks is told.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/reader.h"
#include "lun/check/salvage_internal.h"
#include "lun/pool/pool_internal.h"

enum
{
    SCAN_BLKS = 256, /* read at once */
};

struct found_page
{
    struct disk_page *disk; /* NULL: not found */
    bool is_old;            /* perhaps of an older checkpoint */
};

struct pages
{
    struct salvage *salvage;
    struct found_page *list;
    uint64_t count, missing;
};

/* ---- finding pages ------------------------------------------------------------------------- */

static bool page_is_it(const struct pool *pool, const struct disk_page *page, uint64_t blk,
                       uint64_t count)
{
    uint32_t slot_bytes = le16_get(page->slot_bytes);
    return le32_get(page->header.magic) == DISK_MAGIC_PAGE && le64_get(page->header.blk) == blk &&
           le64_get(page->header.pool_id) == pool->pool_id &&
           (slot_bytes == DISK_PAGE_SMALL || slot_bytes == DISK_PAGE_LARGE) &&
           le64_get(page->page) < count &&
           le64_get(page->header.cp_id) <= le64_get(pool->super.header.cp_id) &&
           disk_header_verify(pool, &page->header, DISK_MAGIC_PAGE, blk,
                              le64_get(page->header.cp_id)) == 0;
}

/* Keeps the page if it is the newest of its number. */
static int pages_take(struct pages *pages, const struct disk_page *page, bool is_old)
{
    struct found_page *at = &pages->list[le64_get(page->page)];
    if (at->disk &&
        (!at->is_old || le64_get(at->disk->header.cp_id) >= le64_get(page->header.cp_id)))
        return 0;
    if (!at->disk)
        at->disk = malloc(sizeof(*at->disk));
    if (!at->disk)
        return -ENOMEM;
    *at->disk = *page;
    at->is_old = is_old;
    return 0;
}

static int pages_take_entry(struct pages *pages, const struct disk_page_entry *entry)
{
    struct pool *pool = pages->salvage->pool;
    uint64_t blk = le40_get(entry->blk);
    AUTO_FREE struct disk_page *page = aligned_alloc(BLK_BYTES, BLK_BYTES);
    if (!page)
        return -ENOMEM;
    if (le40_get(entry->page) >= pages->count || !space_may_hold(pool, blk, 1) ||
        device_read(pool->device, page, BLK_BYTES, blk * BLK_BYTES) < 0 ||
        !page_is_it(pool, page, blk, pages->count) ||
        le64_get(page->header.cp_id) != le48_get(entry->cp_id) ||
        le64_get(page->page) != le40_get(entry->page))
        return 0;
    return pages_take(pages, page, false);
}

/* What the index leads to, as far as it can be read. */
static int pages_follow(struct pages *pages, struct node_ref ref, unsigned level,
                        struct tree_key low, struct tree_key high)
{
    struct cache *cache = pages->salvage->pool->cache;
    struct node *node;
    int r = cache_load(cache, ref, DISK_TREE_PAGES, &node);
    if (r < 0)
        return r == -ENOMEM ? r : 0;
    const struct disk_node *disk = node->disk;
    unsigned count = tree_verify_place(node, level, low, high) == 0 ? le16_get(disk->count) : 0;
    for (unsigned i = 0; r == 0 && i < count; i++)
    {
        if (level == 0)
            r = pages_take_entry(pages, &disk->entries[i].page);
        else
            r = pages_follow(pages, tree_child_ref(&disk->children[i]), level - 1,
                             i == 0 ? low : tree_child_key(&disk->children[i]),
                             i + 1 < count ? tree_child_key(&disk->children[i + 1]) : high);
    }
    cache_unpin(cache, node);
    return r;
}

static int pages_follow_index(struct pages *pages, const struct disk_root *root)
{
    struct tree tree;
    tree_from_disk(&tree, DISK_TREE_PAGES, root);
    if (tree.root.blk == 0 || tree.levels == 0 || tree.levels > DISK_LEVELS_MAX)
        return 0;
    return pages_follow(pages, tree.root, tree.levels - 1u, (struct tree_key){0}, TREE_KEY_END);
}

/* All of the device, for pages that are missing. */
static int pages_scan(struct pages *pages)
{
    struct pool *pool = pages->salvage->pool;
    AUTO_FREE uint8_t *buf = aligned_alloc(BLK_BYTES, (size_t)SCAN_BLKS * BLK_BYTES);
    if (!buf)
        return -ENOMEM;
    uint64_t size_blks = atomic_load(&pool->size_blks);
    for (uint64_t at = 0; at < size_blks; at += SCAN_BLKS)
    {
        uint64_t len = min_u64(SCAN_BLKS, size_blks - at);
        if (device_read(pool->device, buf, len * BLK_BYTES, at * BLK_BYTES) < 0)
            continue;
        for (uint64_t i = 0; i < len; i++)
        {
            const struct disk_page *page = (const void *)(buf + i * BLK_BYTES);
            bool is_wanted = page_is_it(pool, page, at + i, pages->count);
            int r = is_wanted ? pages_take(pages, page, true) : 0;
            if (r < 0)
                return r;
        }
    }
    return 0;
}

static int pages_find(struct pages *pages)
{
    const struct disk_super *super = &pages->salvage->pool->super;
    bool is_twice = le64_get(super->feature_incompat) & DISK_FEATURE_TWICE;
    int r = pages_follow_index(pages, &super->pages);
    if (r == 0 && is_twice)
        r = pages_follow_index(pages, &super->pages_twin);
    for (uint64_t i = 0; i < pages->count; i++)
        pages->missing += pages->list[i].disk == NULL;
    return r == 0 && pages->missing > 0 ? pages_scan(pages) : r;
}

/* ---- objects ------------------------------------------------------------------------------- */

struct found_object
{
    enum disk_object_kind kind;
    uint64_t id;
    bool is_old;
    const uint8_t *bytes;
    size_t len;
};

struct objects
{
    struct found_object *list;
    size_t count;
};

static const struct found_object *object_find(const struct objects *objects, uint64_t id,
                                              enum disk_object_kind kind)
{
    for (size_t i = 0; id != 0 && i < objects->count; i++)
    {
        if (objects->list[i].id == id && objects->list[i].kind == kind)
            return &objects->list[i];
    }
    return NULL;
}

static int objects_collect(const struct pages *pages, struct objects *objects)
{
    objects->list = calloc(pages->count * DISK_PAGE_SLOTS_MAX + 1, sizeof(*objects->list));
    if (!objects->list)
        return -ENOMEM;
    for (uint64_t p = 0; p < pages->count; p++)
    {
        const struct disk_page *page = pages->list[p].disk;
        size_t slot_bytes = page ? le16_get(page->slot_bytes) : DISK_PAGE_LARGE;
        for (size_t at = 0; page && at + slot_bytes <= DISK_PAGE_LARGE; at += slot_bytes)
        {
            const struct disk_object *head = (const void *)(page->slots + at);
            size_t len = le16_get(head->len);
            if (le16_get(head->kind) == DISK_OBJECT_NONE || len + sizeof(*head) > slot_bytes)
                continue;
            objects->list[objects->count++] =
                (struct found_object){.kind = (enum disk_object_kind)le16_get(head->kind),
                                      .id = le64_get(head->id),
                                      .is_old = pages->list[p].is_old,
                                      .bytes = (const uint8_t *)(head + 1),
                                      .len = len};
        }
    }
    return 0;
}

/* ---- names --------------------------------------------------------------------------------- */

/* The text of @len bytes at @offset of the object; "" if it is not there. */
static void object_text(const struct found_object *object, size_t offset, size_t len, char *text,
                        size_t size)
{
    bool fits = range_ok(offset, len, object->len);
    snprintf(text, size, "%.*s", fits ? (int)min_u64(len, size - 1) : 0,
             fits ? (const char *)object->bytes + offset : "");
}

static const struct disk_lun *object_lun(const struct found_object *object)
{
    return object->len >= sizeof(struct disk_lun) ? (const void *)object->bytes : NULL;
}

/* What stands behind the strings of a LUN or snapshot; zeros if nothing does. */
static struct disk_lun_more object_more(const struct found_object *object)
{
    const struct disk_lun *disk = object_lun(object);
    size_t at = sizeof(*disk) + le16_get(disk->name_len) + le16_get(disk->comment_len) +
                le16_get(disk->origin_len);
    struct disk_lun_more more = {0};
    if (range_ok(at, sizeof(more), object->len))
        memcpy(&more, object->bytes + at, sizeof(more));
    return more;
}

/* Volume and qtree of a LUN, as "VOLUME/QTREE/"; a name that is lost is made of its id. */
static void place_text(const struct objects *objects, uint64_t volume_id, uint64_t qtree_id,
                       char *text, size_t size)
{
    char volume[LUN_NAME_MAX + 1], qtree[LUN_NAME_MAX + 1];
    text[0] = '\0';
    if (volume_id == 0)
        return;
    snprintf(volume, sizeof(volume), "volume-%" PRIu64, volume_id);
    snprintf(qtree, sizeof(qtree), "qtree-%" PRIu64, qtree_id);
    const struct found_object *found = object_find(objects, volume_id, DISK_OBJECT_VOLUME);
    if (found && found->len >= sizeof(struct disk_volume))
        object_text(found, sizeof(struct disk_volume),
                    le16_get(((const struct disk_volume *)found->bytes)->name_len), volume,
                    sizeof(volume));
    found = object_find(objects, qtree_id, DISK_OBJECT_QTREE);
    if (found && found->len >= sizeof(struct disk_qtree))
        object_text(found, sizeof(struct disk_qtree),
                    le16_get(((const struct disk_qtree *)found->bytes)->name_len), qtree,
                    sizeof(qtree));
    snprintf(text, size, "%s/%s%s", volume, qtree_id ? qtree : "", qtree_id ? "/" : "");
}

/* The volume of a volume snapshot that @more names, or (its object is lost) of the LUN @its. */
static uint64_t member_volume_id(const struct objects *objects, const struct disk_lun_more *more,
                                 const struct found_object *its)
{
    const struct found_object *set =
        object_find(objects, le64_get(more->volume_snapshot_id), DISK_OBJECT_VOLUME_SNAPSHOT);
    if (set && set->len >= sizeof(struct disk_volume_snapshot))
        return le64_get(((const struct disk_volume_snapshot *)(const void *)set->bytes)->volume_id);
    if (!its || !object_lun(its))
        return 0;
    struct disk_lun_more of_lun = object_more(its);
    return le64_get(of_lun.volume_id);
}

/* "VOLUME/LUN" or "VOLUME/LUN@SNAPSHOT". */
static void lun_name(const struct objects *objects, const struct found_object *object, char *text,
                     size_t size)
{
    const struct disk_lun *disk = object_lun(object);
    char own[LUN_NAME_MAX + 1], place[2 * LUN_NAME_MAX + 4], lun[2 * LUN_NAME_MAX + 8];
    object_text(object, sizeof(*disk), le16_get(disk->name_len), own, sizeof(own));
    struct disk_lun_more more = object_more(object);
    if (object->kind == DISK_OBJECT_LUN)
    {
        place_text(objects, le64_get(more.volume_id), le64_get(more.qtree_id), place,
                   sizeof(place));
        snprintf(text, size, "%s%s", place, own);
        return;
    }
    uint64_t lun_id = le64_get(disk->lun_id);
    const struct found_object *its = object_find(objects, lun_id, DISK_OBJECT_LUN);
    snprintf(lun, sizeof(lun), "lun-%" PRIu64, lun_id);
    if (le64_get(more.volume_snapshot_id) != 0 && le16_get(disk->origin_len) > 0)
    {
        char then[LUN_NAME_MAX + 1];
        object_text(object, sizeof(*disk) + le16_get(disk->name_len) + le16_get(disk->comment_len),
                    le16_get(disk->origin_len), then, sizeof(then));
        place_text(objects, member_volume_id(objects, &more, its), le64_get(more.qtree_id), place,
                   sizeof(place));
        snprintf(lun, sizeof(lun), "%.*s%s", (int)(sizeof(lun) - sizeof(then)), place, then);
    }
    else if (its && object_lun(its))
        lun_name(objects, its, lun, sizeof(lun));
    snprintf(text, size, "%s@%s", lun, own);
}

/* ---- what can be salvaged ------------------------------------------------------------------ */

static void salvaged_set_line(struct salvaged *one, const struct found_object *line)
{
    if (!line || line->len < DISK_LINE_BYTES_1)
        return;
    struct disk_line disk = {0};
    memcpy(&disk, line->bytes, min_u64(line->len, sizeof(disk)));
    tree_from_disk(&one->map, DISK_TREE_MAP, &disk.map);
    one->item.is_there = true;
    one->item.is_old |= line->is_old;
    one->item.mapped_bytes = le64_get(disk.mapped_blks) * BLK_BYTES;
}

static int salvage_take_lun(struct salvage *salvage, const struct objects *objects,
                            const struct found_object *object)
{
    const struct disk_lun *disk = object_lun(object);
    if (!disk || (le32_get(disk->flags) & DISK_LUN_DELETED))
        return 0; /* its snapshots have all that is left of it */
    struct salvaged *one = salvage_add(salvage);
    if (!one)
        return -ENOMEM;
    lun_name(objects, object, one->item.name, sizeof(one->item.name));
    one->item.size_bytes = one->size_bytes =
        min_u64(le64_get(disk->size_bytes), LUN_SIZE_MAX_BYTES);
    one->item.is_old = object->is_old;
    salvaged_set_line(one, object_find(objects, le64_get(disk->line_id), DISK_OBJECT_LINE));
    return 0;
}

/* A line that no LUN or snapshot found has: the name went with another page, or it was deleted. */
static int salvage_take_line(struct salvage *salvage, const struct objects *objects,
                             const struct found_object *object)
{
    for (size_t i = 0; i < objects->count; i++)
    {
        const struct found_object *other = &objects->list[i];
        if ((other->kind == DISK_OBJECT_LUN || other->kind == DISK_OBJECT_SNAPSHOT) &&
            object_lun(other) && le64_get(object_lun(other)->line_id) == object->id)
            return 0;
    }
    struct disk_line disk = {0};
    if (object->len < DISK_LINE_BYTES_1)
        return 0;
    memcpy(&disk, object->bytes, min_u64(object->len, sizeof(disk)));
    struct tree map;
    tree_from_disk(&map, DISK_TREE_MAP, &disk.map);
    if (map.root.blk == 0)
        return 0;
    struct salvaged *one = salvage_add(salvage);
    if (!one)
        return -ENOMEM;
    snprintf(one->item.name, sizeof(one->item.name), "line-%" PRIu64, object->id);
    salvaged_set_line(one, object);
    /* How large it was is lost with the name, unless it froze. */
    one->item.size_bytes =
        min_u64(le64_get(disk.frozen_blks), LUN_SIZE_MAX_BYTES / BLK_BYTES) * BLK_BYTES;
    one->item.is_old |= object->is_old;
    one->item.is_unnamed = true;
    one->size_bytes = one->item.size_bytes ? one->item.size_bytes : LUN_SIZE_MAX_BYTES;
    return 0;
}

static int salvage_take_objects(struct salvage *salvage, const struct objects *objects)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < objects->count; i++)
    {
        const struct found_object *object = &objects->list[i];
        if (object->kind == DISK_OBJECT_LUN || object->kind == DISK_OBJECT_SNAPSHOT)
            r = salvage_take_lun(salvage, objects, object);
        if (object->kind == DISK_OBJECT_LINE)
            r = salvage_take_line(salvage, objects, object);
    }
    return r;
}

int salvage_read_pages(struct salvage *salvage)
{
    struct pages pages = {.salvage = salvage, .count = le64_get(salvage->pool->super.page_count)};
    if (pages.count > atomic_load(&salvage->pool->size_blks))
        return -EBADMSG;
    pages.list = calloc(pages.count + 1, sizeof(*pages.list));
    struct objects objects = {0};
    int r = pages.list ? pages_find(&pages) : -ENOMEM;
    if (r == 0)
        r = objects_collect(&pages, &objects);
    if (r == 0)
        r = salvage_take_objects(salvage, &objects);
    for (uint64_t i = 0; pages.list && i < pages.count; i++)
        free(pages.list[i].disk);
    free(pages.list);
    free(objects.list);
    return r;
}
