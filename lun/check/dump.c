/* SPDX-License-Identifier: BSD-3-Clause */
/* Printing structures, for people who look for what went wrong. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/reader.h"
#include "lun/check/walk.h"
#include "lun/map/lineage.h"
#include "lun/volume/catalog.h"

struct dump
{
    struct pool *pool;
    struct writer *said; /* lines, each with a NUL: told once no lock is held any more */
};

static void dump_say(const struct dump *dump, const char *format, ...) PRINTF_LIKE(2, 3);

static void dump_say(const struct dump *dump, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    writer_bytes(dump->said, text, strlen(text) + 1);
}

static int dump_superblock(const struct dump *dump, const char *argument, struct reason *why)
{
    (void)argument, (void)why;
    const struct disk_super *super = &dump->pool->super;
    dump_say(dump, "name                 %s", (const char *)super->name);
    dump_say(dump, "format version       %u", le32_get(super->version));
    dump_say(dump,
             "features             compat 0x%" PRIx64 " ro_compat 0x%" PRIx64
             " incompat 0x%" PRIx64,
             le64_get(super->feature_compat), le64_get(super->feature_ro_compat),
             le64_get(super->feature_incompat));
    dump_say(dump, "checkpoint           %" PRIu64, le64_get(super->header.cp_id));
    dump_say(dump, "opens                %" PRIu64, le64_get(super->opens));
    dump_say(dump, "size                 %" PRIu64 " blocks, groups of %u",
             le64_get(super->size_blks), le32_get(super->group_blks));
    dump_say(dump, "journal              blocks %" PRIu64 " to %" PRIu64 ", half %u in use",
             le64_get(super->journal_blk),
             le64_get(super->journal_blk) + 2 * le64_get(super->journal_half_blks),
             le32_get(super->journal_half));
    dump_say(dump, "last record          %" PRIu64, le64_get(super->last_seq));
    dump_say(dump, "generation           %u", le32_get(super->generation));
    dump_say(dump, "next id              %" PRIu64, le64_get(super->next_id));
    dump_say(dump, "data, node blocks    %" PRIu64 ", %" PRIu64, le64_get(super->data_blks),
             le64_get(super->node_blks));
    dump_say(dump, "pages                %" PRIu64 ", tree at block %" PRIu64 " with %u levels",
             le64_get(super->page_count), le48_get(super->pages.blk), super->pages.levels);
    dump_say(dump, "their copies         tree at block %" PRIu64 " with %u levels",
             le48_get(super->pages_twin.blk), super->pages_twin.levels);
    dump_say(dump, "held by              %s %" PRIu64,
             super->holder_host[0] ? (const char *)super->holder_host : "nobody",
             le64_get(super->holder_pid));
    return 0;
}

static int dump_groups(const struct dump *dump, const char *argument, struct reason *why)
{
    (void)argument, (void)why;
    struct pool *pool = dump->pool;
    uint64_t groups = atomic_load(&pool->size_blks) / pool->group_blks;
    for (uint64_t g = 0; g < groups; g++)
    {
        uint64_t used = 0;
        for (uint64_t i = 0; i < pool->group_blks; i++)
        {
            bool is_allocated;
            int r = space_is_allocated(pool->space, g * pool->group_blks + i, &is_allocated);
            if (r < 0)
                return r;
            used += is_allocated;
        }
        dump_say(dump,
                 "group %" PRIu64 ": blocks %" PRIu64 " to %" PRIu64 ", %" PRIu64
                 " allocated, %" PRIu64 " free",
                 g, g * pool->group_blks, (g + 1) * pool->group_blks - 1, used,
                 pool->group_blks - used);
    }
    return 0;
}

static int dump_lines(const struct dump *dump, const char *argument, struct reason *why)
{
    (void)argument, (void)why;
    list_for_each (line, &dump->pool->lines, struct line, all_link)
    {
        dump_say(
            dump,
            "line %" PRIu64 "%s%s%s%s on %" PRIu64 ": birth %u frozen %u, %u children, "
            "%u snapshots, mapped %" PRIu64 ", own %" PRIu64 ", dropped %" PRIu64 " + %" PRIu64
            ", map %" PRIu64 "/%u, drops %" PRIu64 "/%u, volume %" PRIu64 "%s%s",
            line->object.id, line->frozen_at ? " point" : " head", line->is_dying ? " dying" : "",
            line->is_walking ? " walking" : "", atomic_load(&line->is_touched) ? " touched" : "",
            line->predecessor ? line->predecessor->object.id : 0, line->birth, line->frozen_at,
            line->child_count, line->snapshot_count, atomic_load(&line->mapped_blks),
            atomic_load(&line->own_blks), atomic_load(&line->dropped_data_blks),
            atomic_load(&line->dropped_node_blks), line->map.root.blk, line->map.levels,
            line->drops.root.blk, line->drops.levels, line->volume ? line->volume->object.id : 0,
            line->lun ? " of " : "", line->lun ? line->lun->name : "");
    }
    return 0;
}

static const char *object_name(const struct object *object)
{
    switch (object->kind)
    {
    case DISK_OBJECT_LUN:
    case DISK_OBJECT_SNAPSHOT:
        return container_of(object, struct lun_object, object)->name;
    case DISK_OBJECT_STORE:
        return container_of(object, struct store_object, object)->key;
    case DISK_OBJECT_VOLUME:
        return container_of(object, struct volume_object, object)->name;
    case DISK_OBJECT_QTREE:
        return container_of(object, struct qtree_object, object)->name;
    case DISK_OBJECT_VOLUME_SNAPSHOT:
        return container_of(object, struct volume_snapshot_object, object)->name;
    case DISK_OBJECT_LINE:
    case DISK_OBJECT_NONE:
        break;
    }
    return "";
}

static int dump_objects(const struct dump *dump, const char *argument, struct reason *why)
{
    (void)argument, (void)why;
    static const char *const kinds[] = {"empty",         "line",   "LUN",   "snapshot",
                                        "configuration", "volume", "qtree", "volume snapshot"};
    struct pool *pool = dump->pool;
    for (uint64_t p = 0; p < pool->page_count; p++)
    {
        const struct page *page = pool->pages[p];
        dump_say(dump,
                 "page %" PRIu64 " at blocks %" PRIu64 " and %" PRIu64
                 ": %u of %u slots of %u bytes%s",
                 page->number, page->blks[0], page->blks[1], page->used_count, page->slot_count,
                 page->slot_bytes, page->is_dirty ? ", dirty" : "");
        for (uint32_t i = 0; i < page->slot_count; i++)
        {
            const struct object *object = page->objects[i];
            if (object)
                dump_say(dump, "  slot %u: %s %" PRIu64 " %s", i, kinds[object->kind], object->id,
                         object_name(object));
        }
    }
    return 0;
}

static int dump_node(void *opaque, const struct node *node, unsigned level, struct tree_key low,
                     struct tree_key high)
{
    (void)high;
    dump_say(opaque,
             "%*snode %" PRIu64 " level %u birth %u checkpoint %" PRIu64 " from (%u, %" PRIu64
             "), %u entries",
             (int)(2 * (DISK_LEVELS_MAX - level)), "", node->ref.blk, level, node->ref.birth,
             node->ref.cp_id, low.hi, low.lo, le16_get(node->disk->count));
    return 0;
}

static int dump_map_entry(void *opaque, const union disk_entry *entry, struct tree_key low,
                          struct tree_key high)
{
    (void)low, (void)high;
    dump_say(opaque, "%*slba %" PRIu64 " len %u blk %" PRIu64 " birth %u", 2 * DISK_LEVELS_MAX + 2,
             "", le40_get(entry->map.lba), le16_get(entry->map.len_blks), le40_get(entry->map.blk),
             le32_get(entry->map.birth));
    return 0;
}

static int dump_drop_entry(void *opaque, const union disk_entry *entry, struct tree_key low,
                           struct tree_key high)
{
    (void)low, (void)high;
    dump_say(opaque, "%*sbirth %u blk %" PRIu64 " len %u count %u%s", 2 * DISK_LEVELS_MAX + 2, "",
             le32_get(entry->drop.birth), le40_get(entry->drop.blk), le16_get(entry->drop.len_blks),
             le32_get(entry->drop.count), entry->drop.is_node ? " node" : "");
    return 0;
}

static int dump_map(const struct dump *dump, const char *argument, struct reason *why)
{
    struct lun_object *lun = catalog_find_lun(dump->pool, argument);
    if (!lun)
        return reason_set(why, -ENOENT, "there is no LUN or snapshot '%s'", argument);
    struct tree_visit visit = {
        .node = dump_node, .entry = dump_map_entry, .opaque = (void *)(uintptr_t)dump};
    return tree_visit(dump->pool, &lun->line->map, &visit);
}

static int dump_drops(const struct dump *dump, const char *argument, struct reason *why)
{
    struct line *line = catalog_find_line(dump->pool, strtoull(argument, NULL, 10));
    if (!line)
        return reason_set(why, -ENOENT, "there is no line '%s'; 'lines' lists them", argument);
    struct tree_visit visit = {
        .node = dump_node, .entry = dump_drop_entry, .opaque = (void *)(uintptr_t)dump};
    return tree_visit(dump->pool, &line->drops, &visit);
}

static int dump_journal(const struct dump *dump, const char *argument, struct reason *why)
{
    (void)argument, (void)why;
    struct journal_stats stats;
    journal_get_stats(dump->pool->journal, &stats);
    dump_say(dump,
             "records up to %" PRIu64 ", durable up to %" PRIu64 ", %" PRIu64 " of %" PRIu64
             " bytes of this half used",
             stats.last_seq, stats.durable_seq, stats.used_bytes, stats.half_bytes);
    return 0;
}

static int dump_block(const struct dump *dump, const char *argument, struct reason *why)
{
    char *end;
    uint64_t blk = strtoull(argument, &end, 0);
    AUTO_FREE uint8_t *bytes = aligned_alloc(BLK_BYTES, BLK_BYTES);
    if (!bytes)
        return -ENOMEM;
    if (*end)
        return reason_set(why, -EINVAL, "'%s' is no number of a block", argument);
    if (blk >= atomic_load(&dump->pool->size_blks))
        return reason_set(why, -EINVAL, "the pool has no block %" PRIu64, blk);
    int r = device_read(dump->pool->device, bytes, BLK_BYTES, blk * BLK_BYTES);
    for (unsigned at = 0; r == 0 && at < BLK_BYTES; at += 16)
    {
        char text[64];
        for (unsigned i = 0; i < 16; i++)
            snprintf(text + (size_t)3 * i, 4, "%02x ", bytes[at + i]);
        dump_say(dump, "%04x  %s", at, text);
    }
    return r;
}

static const struct
{
    const char *what;
    bool has_argument;
    bool super_suffices;
    int (*run)(const struct dump *dump, const char *argument, struct reason *why);
} dump_kinds[] = {
    {"superblock", false, true, dump_superblock},
    {"groups", false, false, dump_groups},
    {"objects", false, false, dump_objects},
    {"lines", false, false, dump_lines},
    {"map", true, false, dump_map},
    {"drops", true, false, dump_drops},
    {"journal", false, false, dump_journal},
    {"block", true, true, dump_block},
};

static int dump_run(const struct dump *dump, const char *what, struct reason *why)
{
    struct pool *pool = dump->pool;
    for (size_t i = 0; i < ARRAY_SIZE(dump_kinds); i++)
    {
        size_t len = strlen(dump_kinds[i].what);
        if (strncmp(what, dump_kinds[i].what, len) != 0 || (what[len] != '\0' && what[len] != ' '))
            continue;
        const char *argument = what[len] == ' ' ? what + len + 1 : "";
        if (dump_kinds[i].has_argument && !*argument)
            return reason_set(why, -EINVAL, "'%s' needs to be told which", what);
        if (pool->options.super_only && !dump_kinds[i].super_suffices)
            return reason_set(why, -EINVAL, "'%s' needs more than the superblock", what);
        AUTO_LOCK(&pool->management);
        AUTO_LOCK(&pool->cp_lock); /* the superblock is the last checkpoint's */
        rwlock_take_exclusive(&pool->cp_gate);
        int r = dump_kinds[i].run(dump, argument, why);
        rwlock_release(&pool->cp_gate);
        return r;
    }
    return reason_set(why, -EINVAL,
                      "'%s' is not known; it can be superblock, groups, objects, lines, map NAME, "
                      "drops ID, journal or block NUMBER",
                      what);
}

int pool_dump(struct pool *pool, const char *what, dump_line_fn *line, void *opaque,
              struct reason *why)
{
    reason_clear(why);
    AUTO_WRITER struct writer said = {0};
    struct dump dump = {.pool = pool, .said = &said};
    int r = dump_run(&dump, what, why);
    for (size_t at = 0; at < said.len; at += strlen((char *)said.bytes + at) + 1)
        line(opaque, (char *)said.bytes + at);
    return r < 0 ? r : said.failed ? -ENOMEM : 0;
}
