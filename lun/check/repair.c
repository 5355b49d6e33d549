/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/check/repair.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/reader.h"
#include "lun/check/reach.h"
#include "lun/check/repair_deleted.h"
#include "lun/check/repair_drops.h"
#include "lun/check/walk.h"
#include "lun/pool/checkpoint.h"
#include "lun/pool/journal.h"
#include "lun/pool/pool_internal.h"
#include "lun/pool/record.h"
#include "lun/pool/super.h"
#include "lun/volume/catalog.h"

enum
{
    REPAIR_READ_BLKS = 64, /* at once, when pages are looked for */
};

struct page_place
{
    uint64_t blks[PAGE_COPIES], cp_id;
};

struct repair
{
    check_report_fn *report;
    void *opaque;
    struct repair_result *result;
    struct page_place *places; /* by number; NULL: the tree is whole */
    uint64_t place_count;
    uint64_t max_cp_id; /* of what was durable before this repair */
    const struct reach *reach;
    struct repair_options options;
    struct repair_result own_result; /* of repair_create() */
    bool is_whole;                   /* all trees can be read */
    bool is_replayed;                /* the journal */
    bool lacks_drops;                /* drop lists cannot be read */
    struct writer unsaid;            /* what was damaged before that: texts, with their NULs */
    uint64_t cut_seq; /* this record of the journal and all behind it are given up; 0: none */
};

void repair_say(struct repair *repair, bool is_mended, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    *(is_mended ? &repair->result->mended : &repair->result->left) += 1;
    repair->report(repair->opaque, !is_mended, text);
}

const char *repair_is(const struct repair *repair)
{
    return repair->options.dry_run ? "would be" : "is";
}

static const char *repair_are(const struct repair *repair)
{
    return repair->options.dry_run ? "would be" : "are";
}

struct repair *repair_create(check_report_fn *report, void *opaque)
{
    struct repair *repair = calloc(1, sizeof(*repair));
    if (!repair)
        return NULL;
    repair->report = report;
    repair->opaque = opaque;
    repair->result = &repair->own_result;
    repair->options = (struct repair_options){.dry_run = true, .discard_journal = true};
    return repair;
}

void repair_destroy(struct repair *repair)
{
    if (!repair)
        return;
    free(repair->places);
    writer_destroy(&repair->unsaid);
    free(repair);
}

/* What cannot be mended is looked for once more when the journal is replayed, and said then: it may
 * be of a LUN that was deleted since. */
static void repair_report_cb(void *opaque, bool is_error, const char *text)
{
    struct repair *repair = opaque;
    if (is_error && !repair->is_replayed)
        writer_bytes(&repair->unsaid, text, strlen(text) + 1);
    else
        repair_say(repair, !is_error, "%s", text);
}

/* The pool does not open: what is damaged is said all the same. */
static void repair_say_unsaid(struct repair *repair)
{
    struct reader reader = reader_of(repair->unsaid.bytes, repair->unsaid.len);
    while (reader_left(&reader) > 0)
    {
        const char *text = (const char *)reader.at;
        repair_say(repair, false, "%s", text);
        ignore_error(!reader_bytes(&reader, strlen(text) + 1), "we wrote it");
    }
}

/* ---- copies of the superblock -------------------------------------------------------------- */

int repair_begin(struct pool *pool)
{
    struct repair *repair = pool->options.repair;
    repair->max_cp_id = le64_get(pool->super.header.cp_id);
    for (unsigned copy = 0; copy < SUPER_COPIES; copy++)
    {
        int r = super_check_copy(pool, copy, false);
        if (r == -ENOMEM)
            return r;
        if (r < 0)
            repair_say(repair, true,
                       "copy %u of the superblock, block %" PRIu64
                       ", is damaged: it %s written anew",
                       copy, super_copy_blk(pool, copy), repair_is(repair));
    }
    return 0;
}

/* ---- the catalog's index ------------------------------------------------------------------- */

bool repair_page_place(const struct repair *repair, uint64_t number, unsigned copy, uint64_t *blk,
                       uint64_t *cp_id)
{
    if (!repair || !repair->places)
        return false;
    *blk = repair->places[number].blks[copy];
    *cp_id = repair->places[number].cp_id;
    return true;
}

/* Whether the bytes of block @blk are a page that the last checkpoint may have. */
static bool repair_is_page(struct pool *pool, const struct disk_page *page, uint64_t blk)
{
    const struct disk_header *header = &page->header;
    return le32_get(header->magic) == DISK_MAGIC_PAGE && le64_get(header->blk) == blk &&
           le64_get(header->pool_id) == pool->pool_id &&
           le64_get(header->cp_id) <= pool->options.repair->max_cp_id &&
           le64_get(page->page) < pool->options.repair->place_count &&
           disk_header_verify(pool, header, DISK_MAGIC_PAGE, blk, le64_get(header->cp_id)) == 0;
}

/* Of two versions of a page one is free by the bitmap; where that is lost too, nobody knows. */
static int repair_note_page(struct repair *repair, const struct disk_page *page, uint64_t blk)
{
    struct page_place *place = &repair->places[le64_get(page->page)];
    uint64_t cp_id = le64_get(page->header.cp_id);
    if (place->blks[0] == 0)
    {
        *place = (struct page_place){.blks = {blk}, .cp_id = cp_id};
        return 0;
    }
    if (place->blks[1] != 0 || place->cp_id != cp_id || le64_get(page->twin) != place->blks[0])
        return -EBADMSG;
    place->blks[1] = blk;
    return 0;
}

static int repair_scan_run(struct pool *pool, uint64_t blk, uint64_t len, uint8_t *buf)
{
    int r = device_read(pool->device, buf, len * BLK_BYTES, blk * BLK_BYTES);
    for (uint64_t i = 0; r == 0 && i < len; i++)
    {
        const struct disk_page *page = (const void *)(buf + i * BLK_BYTES);
        if (repair_is_page(pool, page, blk + i))
            r = repair_note_page(pool->options.repair, page, blk + i);
    }
    return r == -EIO ? 0 : r; /* a page that cannot be read is missed in the end */
}

static int repair_scan_group(struct pool *pool, uint64_t g, uint64_t *bits, uint8_t *buf)
{
    uint64_t first = g * pool->group_blks;
    int r = space_read_group(pool->space, g, bits);
    if (r == -ENOMEM)
        return r;
    if (r < 0)
        memset(bits, 0xff, DISK_GROUP_BLKS_MAX / 8 + 8);
    r = 0;
    for (uint64_t bit = 0; r == 0 && bit < pool->group_blks;)
    {
        uint64_t len = 0;
        while (bit + len < pool->group_blks && len < REPAIR_READ_BLKS &&
               bits[(bit + len) / 64] >> ((bit + len) % 64) & 1)
            len++;
        if (len > 0)
            r = repair_scan_run(pool, first + bit, len, buf);
        bit += max_u64(len, 1);
    }
    return r;
}

static bool is_twice(const struct pool *pool)
{
    return le64_get(pool->super.feature_incompat) & DISK_FEATURE_TWICE;
}

/* Looks for the pages in all that is in use. */
static int repair_scan(struct pool *pool)
{
    struct repair *repair = pool->options.repair;
    AUTO_FREE uint64_t *bits = malloc(DISK_GROUP_BLKS_MAX / 8 + 8);
    AUTO_FREE uint8_t *buf = aligned_alloc(BLK_BYTES, (size_t)REPAIR_READ_BLKS * BLK_BYTES);
    repair->place_count = le64_get(pool->super.page_count);
    repair->places = calloc(repair->place_count + 1, sizeof(*repair->places));
    if (!bits || !buf || !repair->places)
        return -ENOMEM;
    int r = 0;
    uint64_t groups = atomic_load(&pool->size_blks) / pool->group_blks, found = 0;
    for (uint64_t g = 0; r == 0 && g < groups; g++)
        r = repair_scan_group(pool, g, bits, buf);
    for (uint64_t i = 0; i < repair->place_count; i++)
        found += repair->places[i].blks[0] != 0;
    if (r == 0 && found < repair->place_count)
        r = -EBADMSG;
    repair_say(repair, r == 0,
               "the index of the catalog is damaged%s: %" PRIu64 " of %" PRIu64
               " pages were found without it%s%s%s",
               is_twice(pool) ? " in both copies" : "", found, repair->place_count,
               r == 0 ? "; it " : "", r == 0 ? repair_is(repair) : "", r == 0 ? " made anew" : "");
    return r;
}

static int repair_count_page(void *opaque, const union disk_entry *entry, struct tree_key low,
                             struct tree_key high)
{
    (void)entry, (void)low, (void)high;
    ++*(uint64_t *)opaque;
    return 0;
}

int repair_find_pages(struct pool *pool)
{
    uint64_t wanted = le64_get(pool->super.page_count);
    if (wanted > atomic_load(&pool->size_blks))
        return -EBADMSG;
    /* Where one of them is whole, loading the pages meets what the other lacks. */
    for (unsigned copy = 0; copy < PAGE_COPIES; copy++)
    {
        uint64_t count = 0;
        struct tree_visit visit = {.entry = repair_count_page, .opaque = &count};
        int r = tree_visit(pool, &pool->pages_trees[copy], &visit);
        if (r == -ENOMEM || (r == 0 && count == wanted))
            return r;
    }
    int r = repair_scan(pool);
    for (unsigned copy = 0; r == 0 && copy < PAGE_COPIES; copy++)
        r = catalog_lose_index(pool, copy);
    return r;
}

/* ---- the journal --------------------------------------------------------------------------- */

bool repair_may_cut_journal(struct repair *repair, uint64_t seq)
{
    if (!repair || !repair->options.discard_journal)
        return false;
    if (repair->cut_seq == 0)
        repair_say(repair, true,
                   "the journal cannot be followed from record %" PRIu64
                   " on: it and all behind it %s given up",
                   seq, repair_are(repair));
    repair->cut_seq = repair->cut_seq ? min_u64(repair->cut_seq, seq) : seq;
    return true;
}

bool repair_has_cut(const struct repair *repair, uint64_t seq)
{
    return repair && repair->cut_seq != 0 && seq >= repair->cut_seq;
}

/* ---- counters, bitmaps, tables ------------------------------------------------------------- */

static int repair_free_replayed(void *opaque, uint64_t blk, uint64_t len)
{
    struct pool *pool = opaque;
    space_rebuild_room(pool->space, pool->options.repair->reach, blk, len);
    return 0;
}

static int repair_free_record(void *opaque, const struct journal_record *record)
{
    struct pool *pool = opaque;
    int r = record_each_block(record->actions, record->len, repair_free_replayed, pool);
    for (unsigned i = 0; r == 0 && i < record->node_count; i++)
        r = repair_free_replayed(pool, record->nodes[i], 1);
    return r;
}

static void repair_say_space(struct repair *repair, const struct space_rebuilt *found,
                             bool is_whole, uint64_t given_blks)
{
    if (found->lost_groups > 0)
        repair_say(repair, true,
                   "bitmaps of %" PRIu64 " allocation groups, the first of group %" PRIu64
                   ", cannot be read: they %s made anew",
                   found->lost_groups, found->first_lost, repair_are(repair));
    if (found->missing_blks > 0)
        repair_say(repair, true,
                   "%" PRIu64 " blocks that are in use were marked free: they %s marked used",
                   found->missing_blks, repair_are(repair));
    if (!is_whole && found->leaked_blks > 0)
        repair_say(repair, true, "%" PRIu64 " blocks of what is given up %s free",
                   found->leaked_blks, repair_are(repair));
    else if (found->leaked_blks > given_blks)
        repair_say(repair, true,
                   "%" PRIu64 " blocks that nothing refers to were marked used: they %s free",
                   found->leaked_blks - given_blks, repair_are(repair));
    if (!is_whole && !(repair->lacks_drops && !repair->is_replayed))
        repair_report_cb(repair, true,
                         "space is not given back while trees cannot be read: blocks below them "
                         "stay marked used");
}

/* What is in use, and free space as it follows from that. @given: what lines counted that are gone.
 */
static int repair_make_space(struct pool *pool, struct reach *reach, const struct given_up *given)
{
    struct repair *repair = pool->options.repair;
    struct space_rebuilt found;
    struct space_stats before;
    space_get_stats(pool->space, &before);
    int r = check_reach(pool, reach, repair_report_cb, repair);
    if (r < 0)
        return r;
    reach->given_data = given->data;
    reach->given_nodes = given->nodes;
    r = space_rebuild(pool->space, reach, &found);
    if (r < 0)
    {
        free(reach->bits);
        return r;
    }
    uint64_t data_blks = before.data_blks - min_u64(given->data_blks, before.data_blks);
    uint64_t node_blks = before.node_blks - min_u64(given->node_blks, before.node_blks);
    if (reach->is_whole && (data_blks != reach->data_blks || node_blks != reach->node_blks) &&
        !pool->index_losses[0].is_lost && !pool->index_losses[1].is_lost)
        repair_say(repair, true,
                   "the pool counts %" PRIu64 " data and %" PRIu64
                   " metadata blocks, there are %" PRIu64 " and %" PRIu64,
                   data_blks, node_blks, reach->data_blks, reach->node_blks);
    repair_say_space(repair, &found, reach->is_whole, given->data_blks + given->node_blks);
    return 0;
}

int repair_rebuild(struct pool *pool)
{
    struct repair *repair = pool->options.repair;
    struct reach reach;
    int r = repair_find_lost_drops(pool, &repair->lacks_drops);
    if (r == 0)
        r = repair_make_space(pool, &reach, &(struct given_up){0});
    if (r < 0)
        return r;
    repair->is_whole = reach.is_whole;
    repair->reach = &reach;
    r = journal_replay(pool->journal, &pool->super, repair_free_record, pool);
    repair->reach = NULL;
    free(reach.bits);
    return r;
}

/*
 * With the pool open and its journal empty, if a tree cannot be read: what is left of deleted LUNs,
 * lost drop lists, and the space that was theirs. All of it is in memory, and one checkpoint will
 * have it, so a repair that is cut off begins anew.
 */
static int repair_trees(struct pool *pool)
{
    struct repair *repair = pool->options.repair;
    repair->is_replayed = true;
    if (repair->is_whole)
        return 0;
    AUTO_GIVEN_UP struct given_up given = {0};
    AUTO_LOCK(&pool->management);
    int r = repair_give_up_deleted(pool, &given);
    if (r == 0 && repair->lacks_drops)
        r = repair_remake_drops(pool);
    if (r < 0)
        return r;
    struct reach reach;
    r = repair_make_space(pool, &reach, &given);
    if (r == 0)
        free(reach.bits);
    return r;
}

/* ---- all of it ----------------------------------------------------------------------------- */

/* What the check says of the pool as it is now. */
static void repair_check_cb(void *opaque, bool is_error, const char *text)
{
    if (is_error)
        repair_say(opaque, false, "%s", text);
}

/* Where trees cannot be read that was said already, and the check has more to say for that. */
static int repair_prove(struct pool *pool, struct repair *repair)
{
    struct check_result check;
    uint64_t left = repair->result->left;
    int r = pool_check(pool, left == 0 ? repair_check_cb : NULL, repair, &check);
    repair->result->left = max_u64(repair->result->left, check.errors);
    return r;
}

static int repair_run(struct env *env, struct device *device, const struct repair_options *options,
                      struct repair *repair, struct reason *why)
{
    struct pool *pool;
    struct pool_open_options open = {.read_only = options->dry_run,
                                     .take_over = options->take_over,
                                     .no_discard = true,
                                     .repair = repair};
    int r = pool_open_device(env, device, &open, &pool, why);
    if (r == -ENOSPC)
        reason_set(why, r,
                   "there is no room for what a repair writes, and nothing was changed: while a "
                   "tree cannot be read, groups whose bitmaps are lost too count as used as a "
                   "whole; 'lunette lun salvage --pool PATH' copies what can be read of the LUNs "
                   "('lunette pool grow' needs a pool that opens)");
    if (r < 0)
    {
        repair_say_unsaid(repair);
        device_close(device);
        return r;
    }
    /* An index that was not written yet leads to no page. */
    bool is_lost = pool->index_losses[0].is_lost || pool->index_losses[1].is_lost;
    r = repair_trees(pool);
    if (r < 0) /* half of it is not written */
        pool_degrade(pool, POOL_READ_ONLY, "it was not repaired", r);
    if (r == 0 && (!options->dry_run || !is_lost))
        r = repair_prove(pool, repair);
    /* One more, so that all copies of the superblock are written. */
    if (r == 0 && !options->dry_run)
        r = pool_checkpoint(pool);
    return keep_first(r, pool_close(pool));
}

int pool_repair_device(struct env *env, struct device *device, const struct repair_options *options,
                       check_report_fn *report, void *opaque, struct repair_result *result,
                       struct reason *why)
{
    reason_clear(why);
    *result = (struct repair_result){0};
    struct repair repair = {
        .report = report, .opaque = opaque, .result = result, .options = *options};
    int r = repair_run(env, device, options, &repair, why);
    free(repair.places);
    writer_destroy(&repair.unsaid);
    return r;
}

int pool_repair(struct env *env, const char *path, const struct repair_options *options,
                check_report_fn *report, void *opaque, struct repair_result *result,
                struct reason *why)
{
    reason_clear(why);
    struct device_file_options device_options = {.read_only = options->dry_run};
    struct device *device;
    int r = device_file_open(path, &device_options, &device, why);
    if (r == -EBUSY)
        return super_explain_busy(path, why);
    if (r < 0)
        return r;
    return pool_repair_device(env, device, options, report, opaque, result, why);
}
