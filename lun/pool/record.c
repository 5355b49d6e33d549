/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/pool/record.h"

#include <errno.h>
#include <stdbool.h>

#include "lun/base/checked.h"
#include "lun/jobs/jobs.h"
#include "lun/map/change.h"
#include "lun/map/emap.h"
#include "lun/map/lineage.h"
#include "lun/pool/pool_internal.h"
#include "lun/volume/catalog.h"

/* One action, decoded. Which fields mean something depends on the kind. */
struct action
{
    enum action_kind kind;
    uint64_t id, other_id;
    uint64_t lba, blk;
    uint64_t len_blks;
    uint32_t flags, crc;
    uint32_t birth, phase;
    struct tree_key key;
    unsigned object_kind;
    struct reader bytes;
};

/* ---- encoding ------------------------------------------------------------------------------ */

void action_write(struct writer *writer, uint64_t line_id, uint64_t lba, uint64_t blk,
                  uint32_t len_blks, bool has_crc, uint32_t crc)
{
    writer_u8(writer, ACTION_WRITE);
    writer_u8(writer, has_crc ? ACTION_WRITE_HAS_CRC : 0);
    writer_le64(writer, line_id);
    writer_le64(writer, lba);
    writer_le64(writer, blk);
    writer_le32(writer, len_blks);
    writer_le32(writer, crc);
}

void action_unmap(struct writer *writer, uint64_t line_id, uint64_t lba, uint64_t len_blks)
{
    writer_u8(writer, ACTION_UNMAP);
    writer_le64(writer, line_id);
    writer_le64(writer, lba);
    writer_le64(writer, len_blks);
}

static void action_ids(struct writer *writer, enum action_kind kind, uint64_t id)
{
    writer_u8(writer, (uint8_t)kind);
    writer_le64(writer, id);
}

void action_line_new(struct writer *writer, uint64_t line_id)
{
    action_ids(writer, ACTION_LINE_NEW, line_id);
}

void action_freeze(struct writer *writer, uint64_t line_id, uint64_t new_head_id)
{
    action_ids(writer, ACTION_FREEZE, line_id);
    writer_le64(writer, new_head_id);
}

void action_head(struct writer *writer, uint64_t new_head_id, uint64_t point_id)
{
    action_ids(writer, ACTION_HEAD, new_head_id);
    writer_le64(writer, point_id);
}

void action_dying(struct writer *writer, uint64_t line_id)
{
    action_ids(writer, ACTION_DYING, line_id);
}

void action_put(struct writer *writer, unsigned object_kind, uint64_t id, const void *bytes,
                size_t len)
{
    action_ids(writer, ACTION_PUT, id);
    writer_le16(writer, (uint16_t)object_kind);
    writer_le16(writer, (uint16_t)len);
    writer_bytes(writer, bytes, len);
}

void action_delete(struct writer *writer, uint64_t id)
{
    action_ids(writer, ACTION_DELETE, id);
}

void action_walk(struct writer *writer, uint64_t line_id, uint32_t phase, struct tree_key key)
{
    action_ids(writer, ACTION_WALK, line_id);
    writer_le32(writer, phase);
    writer_le32(writer, key.hi);
    writer_le64(writer, key.lo);
}

void action_gone(struct writer *writer, uint64_t line_id)
{
    action_ids(writer, ACTION_GONE, line_id);
}

void action_settle(struct writer *writer, uint64_t point_id, uint32_t birth, uint64_t blk,
                   uint32_t len_blks, bool is_node)
{
    action_ids(writer, ACTION_SETTLE, point_id);
    writer_le32(writer, birth);
    writer_le64(writer, blk);
    writer_le32(writer, len_blks);
    writer_u8(writer, is_node);
}

void action_hand_over(struct writer *writer, uint64_t point_id)
{
    action_ids(writer, ACTION_HAND_OVER, point_id);
}

/* ---- decoding ------------------------------------------------------------------------------ */

static int action_read_write(struct reader *reader, struct action *action)
{
    action->flags = reader_u8(reader);
    action->id = reader_le64(reader);
    action->lba = reader_le64(reader);
    action->blk = reader_le64(reader);
    action->len_blks = reader_le32(reader);
    action->crc = reader_le32(reader);
    return reader->failed || action->blk == 0 ? -EBADMSG : 0;
}

static int action_read_put(struct reader *reader, struct action *action)
{
    action->object_kind = reader_le16(reader);
    size_t len = reader_le16(reader);
    const void *bytes = reader_bytes(reader, len);
    if (!bytes)
        return -EBADMSG;
    action->bytes = reader_of(bytes, len);
    return 0;
}

/* Numbers that an object can have: the next one to be given stays behind all. */
static bool action_id_is_possible(uint64_t id)
{
    return id != 0 && id != UINT64_MAX;
}

/* Its fields, whatever ids are in them. */
static int action_read_fields(struct reader *reader, struct action *action)
{
    *action = (struct action){.kind = (enum action_kind)reader_u8(reader)};
    if (action->kind == ACTION_WRITE)
        return action_read_write(reader, action);
    action->id = reader_le64(reader);
    switch (action->kind)
    {
    case ACTION_UNMAP:
        action->lba = reader_le64(reader);
        action->len_blks = reader_le64(reader);
        break;
    case ACTION_FREEZE:
    case ACTION_HEAD:
        action->other_id = reader_le64(reader);
        break;
    case ACTION_WALK:
        action->phase = reader_le32(reader);
        action->key.hi = reader_le32(reader);
        action->key.lo = reader_le64(reader);
        break;
    case ACTION_SETTLE:
        action->birth = reader_le32(reader);
        action->blk = reader_le64(reader);
        action->len_blks = reader_le32(reader);
        action->flags = reader_u8(reader);
        break;
    case ACTION_PUT:
        return action_read_put(reader, action);
    case ACTION_LINE_NEW:
    case ACTION_DYING:
    case ACTION_DELETE:
    case ACTION_GONE:
    case ACTION_HAND_OVER:
        break;
    case ACTION_WRITE:
    default:
        return -EBADMSG;
    }
    return reader->failed ? -EBADMSG : 0;
}

static int action_read(struct reader *reader, struct action *action)
{
    int r = action_read_fields(reader, action);
    if (r < 0 || action->kind == ACTION_WRITE)
        return r;
    bool has_other = action->kind == ACTION_FREEZE || action->kind == ACTION_HEAD;
    return action_id_is_possible(action->id) &&
                   (!has_other || action_id_is_possible(action->other_id))
               ? 0
               : -EBADMSG;
}

/* ---- preparing and applying ---------------------------------------------------------------- */

/* The head of a write or unmap, and a range that cannot be nonsense. */
static int action_head_line(struct change *change, const struct action *action, struct line **line)
{
    *line = catalog_find_line(change->pool, action->id);
    if (!*line || (*line)->frozen_at != 0 || (*line)->is_dying || action->len_blks == 0 ||
        !range_ok(action->lba, action->len_blks, LUN_SIZE_MAX_BYTES / BLK_BYTES))
        return -EBADMSG;
    return 0;
}

static int action_prepare(struct change *change, const struct action *action)
{
    struct line *line;
    int r;
    switch (action->kind)
    {
    case ACTION_WRITE:
        if (!range_ok(action->blk, action->len_blks, atomic_load(&change->pool->size_blks)))
            return -EBADMSG;
        /* fall through */
    case ACTION_UNMAP:
        r = action_head_line(change, action, &line);
        return r < 0 ? r : emap_prepare(change, line, action->lba, action->len_blks);
    case ACTION_WALK:
        return lineage_prepare_walk(change, action->id, action->phase, action->key);
    case ACTION_SETTLE:
        if (action->len_blks == 0 || !space_may_hold(change->pool, action->blk, action->len_blks))
            return -EBADMSG;
        return lineage_prepare_settle(change, action->id, action->birth, action->blk,
                                      action->len_blks);
    case ACTION_HAND_OVER:
        return lineage_prepare_hand_over(change, action->id);
    case ACTION_LINE_NEW:
    case ACTION_FREEZE:
    case ACTION_HEAD:
    case ACTION_DYING:
    case ACTION_PUT:
    case ACTION_DELETE:
    case ACTION_GONE:
        break;
    }
    return 0;
}

static int action_apply_delete(struct change *change, const struct action *action)
{
    struct object *object = catalog_find_any(change->pool, action->id);
    if (!object || !catalog_may_delete(object))
        return -EBADMSG;
    struct lun_object *lun = catalog_find_lun_by_id(change->pool, action->id);
    struct line *point = lun && object->kind == DISK_OBJECT_SNAPSHOT ? lun->line : NULL;
    struct lun_object *its = point ? lun->lun : NULL;
    catalog_delete(change->pool, object);
    if (its && its->is_deleted && its->snapshot_count == 0)
        catalog_delete(change->pool, &its->object);
    if (point)
        jobs_kick(change->pool, point);
    return 0;
}

static int action_apply_io(struct change *change, const struct action *action)
{
    struct line *line;
    int r = action_head_line(change, action, &line);
    if (r < 0)
        return r;
    if (action->kind == ACTION_WRITE)
        space_arrive(change->pool->space, change->use, action->len_blks);
    if (action->kind == ACTION_WRITE)
        space_commit(change->pool->space, action->blk, action->len_blks);
    emap_replace(change, line, action->lba, action->len_blks, action->blk);
    return 0;
}

static int action_apply(struct change *change, const struct action *action)
{
    struct pool *pool = change->pool;
    struct reader bytes = action->bytes;
    switch (action->kind)
    {
    case ACTION_WRITE:
    case ACTION_UNMAP:
        return action_apply_io(change, action);
    case ACTION_LINE_NEW:
        return lineage_apply_new(pool, action->id);
    case ACTION_FREEZE:
        return lineage_apply_freeze(pool, action->id, action->other_id);
    case ACTION_HEAD:
        return lineage_apply_head(pool, action->id, action->other_id);
    case ACTION_DYING:
        return lineage_apply_dying(pool, action->id);
    case ACTION_PUT:
        pool->next_id = max_u64(pool->next_id, action->id + 1);
        return catalog_put(pool, (enum disk_object_kind)action->object_kind, action->id, &bytes);
    case ACTION_DELETE:
        return action_apply_delete(change, action);
    case ACTION_WALK:
        return lineage_apply_walk(change, action->id, action->phase, action->key);
    case ACTION_GONE:
        return lineage_apply_gone(change, action->id);
    case ACTION_SETTLE:
        return lineage_apply_settle(change, action->id, action->birth, action->blk,
                                    action->len_blks, action->flags != 0);
    case ACTION_HAND_OVER:
        return lineage_apply_hand_over(change, action->id);
    }
    return -EBADMSG;
}

typedef int action_fn(struct change *change, const struct action *action);

static int record_each(struct change *change, const void *actions, size_t len, action_fn *each)
{
    struct reader reader = reader_of(actions, len);
    while (reader_left(&reader) > 0)
    {
        struct action action;
        int r = action_read(&reader, &action);
        if (r == 0)
            r = each(change, &action);
        if (r < 0)
            return r;
    }
    return 0;
}

int record_prepare(struct change *change, const void *actions, size_t len)
{
    change->nodes = change->drop_inserts = 0;
    change->map.missing.blk = change->drops.missing.blk = 0;
    return record_each(change, actions, len, action_prepare);
}

int record_apply(struct change *change, const void *actions, size_t len)
{
    return record_each(change, actions, len, action_apply);
}

int record_each_data(const void *actions, size_t len, record_data_fn *each, void *opaque)
{
    struct reader reader = reader_of(actions, len);
    while (reader_left(&reader) > 0)
    {
        struct action action;
        int r = action_read(&reader, &action);
        if (r == 0 && action.kind == ACTION_WRITE)
        {
            struct record_data data = {.blk = action.blk,
                                       .len_blks = action.len_blks,
                                       .has_crc = (action.flags & ACTION_WRITE_HAS_CRC) != 0,
                                       .crc = action.crc};
            r = each(opaque, &data);
        }
        if (r < 0)
            return r;
    }
    return 0;
}

int record_each_kind(const void *actions, size_t len, record_kind_fn *each, void *opaque)
{
    struct reader reader = reader_of(actions, len);
    while (reader_left(&reader) > 0)
    {
        struct action action;
        int r = action_read(&reader, &action);
        if (r < 0)
            return r;
        each(opaque, action.kind);
    }
    return 0;
}

struct record_blocks
{
    record_blocks_fn *each;
    void *opaque;
};

static int record_data_blocks(void *opaque, const struct record_data *data)
{
    struct record_blocks *blocks = opaque;
    return blocks->each(blocks->opaque, data->blk, data->len_blks);
}

int record_each_block(const void *actions, size_t len, record_blocks_fn *each, void *opaque)
{
    struct record_blocks blocks = {.each = each, .opaque = opaque};
    return record_each_data(actions, len, record_data_blocks, &blocks);
}

/* ---- pages --------------------------------------------------------------------------------- */

static void pages_note_object(struct pool *pool, const struct object *object,
                              struct record_pages *pages)
{
    if (!object || !object->page || object->page->count_mark == pool->page_count_mark)
        return;
    object->page->count_mark = pool->page_count_mark;
    pages->changed++;
}

/* What changes, or goes, with what is deleted. */
static void pages_note_contents(struct pool *pool, struct object *object,
                                struct record_pages *pages)
{
    if (object && object->kind == DISK_OBJECT_VOLUME)
    {
        const struct volume_object *volume = container_of(object, struct volume_object, object);
        list_for_each (line, &volume->lines, struct line, volume_link)
            pages_note_object(pool, &line->object, pages);
    }
    if (object && object->kind == DISK_OBJECT_VOLUME_SNAPSHOT)
    {
        const struct volume_snapshot_object *snapshot =
            container_of(object, struct volume_snapshot_object, object);
        list_for_each (qtree, &snapshot->qtrees, struct qtree_object, volume_link)
            pages_note_object(pool, &qtree->object, pages);
    }
}

/* What exists of what the action names, and what goes with that. */
static void pages_note(struct pool *pool, const struct action *action, struct record_pages *pages)
{
    const struct line *line = catalog_find_line(pool, action->id);
    const struct lun_object *lun = catalog_find_lun_by_id(pool, action->id);
    pages_note_object(pool, catalog_find_any(pool, action->id), pages);
    if (action->kind == ACTION_HEAD)
        pages_note_object(pool, catalog_find_any(pool, action->other_id), pages);
    if (line && line->lun)
        pages_note_object(pool, &line->lun->object, pages);
    if (line && line->predecessor)
        pages_note_object(pool, &line->predecessor->object, pages);
    if (lun && lun->line)
        pages_note_object(pool, &lun->line->object, pages);
    if (lun && lun->lun)
        pages_note_object(pool, &lun->lun->object, pages);
    if (line && (action->kind == ACTION_SETTLE || action->kind == ACTION_HAND_OVER))
    {
        list_for_each (child, &line->children, struct line, child_link)
            pages_note_object(pool, &child->object, pages);
    }
    if (action->kind == ACTION_DELETE)
        pages_note_contents(pool, catalog_find_any(pool, action->id), pages);
}

/* Where @count new objects will be: pages with an empty slot come first, in this order. */
static void pages_note_new(struct pool *pool, uint64_t count, bool is_large,
                           struct record_pages *pages)
{
    uint64_t in_page = is_large ? 1 : DISK_PAGE_LARGE / DISK_PAGE_SMALL;
    list_for_each (page, &pool->pages_free[is_large], struct page, free_link)
    {
        if (count == 0)
            return;
        count -= min_u64(count, page->slot_count - page->used_count);
        pages->added += page->used_count == 0;
        if (page->used_count > 0 && page->count_mark != pool->page_count_mark)
            pages->changed++;
        page->count_mark = pool->page_count_mark;
    }
    pages->added += div_round_up(count, in_page);
}

void record_count_pages(struct pool *pool, const void *actions, size_t len,
                        struct record_pages *pages)
{
    *pages = (struct record_pages){0};
    uint64_t small = 0, large = 0;
    struct reader reader = reader_of(actions, len);
    struct action action;
    pool->page_count_mark++;
    while (reader_left(&reader) > 0 && action_read_fields(&reader, &action) == 0)
    {
        if (action.kind == ACTION_WRITE || action.kind == ACTION_UNMAP)
            continue;
        pages_note(pool, &action, pages);
        bool is_put = action.kind == ACTION_PUT;
        bool is_line = action.kind == ACTION_LINE_NEW || action.kind == ACTION_FREEZE ||
                       action.kind == ACTION_HEAD;
        const struct object *object = catalog_find_any(pool, action.id);
        const struct page *page = object ? object->page : NULL;
        pages->has_deletes |= action.kind == ACTION_DYING || action.kind == ACTION_DELETE;
        if (is_put && reader_left(&action.bytes) + sizeof(struct disk_object) > DISK_PAGE_SMALL)
            large += !page || page->slot_bytes != DISK_PAGE_LARGE;
        else
            small += is_line || (is_put && !page);
    }
    pages_note_new(pool, small, false, pages);
    pages_note_new(pool, large, true, pages);
}
