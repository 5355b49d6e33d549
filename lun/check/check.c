/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Proving the invariants of a pool: everything is counted again from the roots.
 *
 * Two bitmaps over all blocks: *expected* (somebody has a reason to hold it) and *own* (a line or a
 * private tree holds it alone). Expected are the maps of visible
 * lines and of leaves that have not begun their walk, what a walk has still to free, every drop
 * list's entries (the predecessor holds them until they are settled), and private trees. The map of
 * a hidden point is dead and is not read.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/reader.h"
#include "lun/base/size_text.h"
#include "lun/check/count.h"
#include "lun/check/objects.h"
#include "lun/check/reach.h"
#include "lun/check/walk.h"
#include "lun/map/lineage.h"
#include "lun/pool/pool_internal.h"
#include "lun/pool/super.h"
#include "lun/volume/catalog.h"
#include "lun/volume/ledger.h"

enum
{
    CHECK_ERRORS_TOLD = 1000
};

struct check
{
    struct pool *pool;
    struct writer said; /* findings: a byte for is_error, the text, a NUL */
    struct check_result *result;
    uint64_t *expected, *own;
    uint64_t bits;
    bool fixes;       /* a repair: counters are set right */
    bool lacks_drops; /* likewise: drop lists are going to be made anew */
    /* Of the line at hand: */
    struct line *line;
    uint64_t mapped, own_data, own_nodes, dropped_data, dropped_nodes;
    struct tree_key end;
    uint64_t data_blks, node_blks;
};

static void check_say(struct check *check, bool is_error, const char *format, ...)
    PRINTF_LIKE(3, 4);

static void check_say(struct check *check, bool is_error, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    check->result->errors += is_error;
    check->result->warnings += check->fixes && !is_error;
    if (check->result->errors > CHECK_ERRORS_TOLD)
        return;
    writer_u8(&check->said, is_error);
    writer_bytes(&check->said, text, strlen(text) + 1);
}

/* Once no lock is held any more: whoever listens may be slow. */
static void check_tell(struct check *check, check_report_fn *report, void *opaque)
{
    struct reader reader = reader_of(check->said.bytes, check->said.len);
    while (report && reader_left(&reader) > 0)
    {
        bool is_error = reader_u8(&reader) != 0;
        const char *text = (const char *)reader.at;
        report(opaque, is_error, text);
        ignore_error(!reader_bytes(&reader, strlen(text) + 1), "we wrote it");
    }
}

static bool mark_get(const uint64_t *bits, uint64_t bit)
{
    return bits[bit / 64] >> (bit % 64) & 1;
}

static void mark_set(uint64_t *bits, uint64_t bit)
{
    bits[bit / 64] |= UINT64_C(1) << (bit % 64);
}

static const char *line_name(const struct line *line)
{
    if (!line)
        return "the pool";
    if (line->lun)
        return line->lun->name;
    if (line->snapshot_count > 0)
        return container_of(line->snapshots.next, struct lun_object, point_link)->name;
    return line->is_dying ? "a deleted LUN" : "a hidden point";
}

/* A counter of the line that should be @found. */
static void check_counter(struct check *check, _Atomic uint64_t *counter, uint64_t found,
                          const char *what)
{
    uint64_t told = atomic_load(counter);
    if (told == found)
        return;
    check_say(check, !check->fixes, "%s counts %" PRIu64 " %s, there are %" PRIu64,
              line_name(check->line), told, what, found);
    if (!check->fixes)
        return;
    atomic_store(counter, found);
    ledger_owns(check->pool, check->line);
    catalog_mark_dirty(check->pool, &check->line->object);
}

/* Every block a map, list or tree names passes here. */
static void check_block(struct check *check, uint64_t blk, bool is_own, bool is_node)
{
    struct check_result *result = check->result;
    result->blks_checked++;
    if (blk >= check->bits)
    {
        check_say(check, true, "%s refers to block %" PRIu64 ", which is outside the pool",
                  line_name(check->line), blk);
        return;
    }
    if (!mark_get(check->expected, blk))
    {
        mark_set(check->expected, blk);
        result->blks_reachable++;
        *(is_node ? &check->node_blks : &check->data_blks) += 1;
    }
    if (!is_own)
        return;
    if (mark_get(check->own, blk))
        check_say(check, true, "block %" PRIu64 " is private to %s and to something else", blk,
                  line_name(check->line));
    mark_set(check->own, blk);
}

static void check_order(struct check *check, enum disk_tree_kind kind,
                        const union disk_entry *entry, struct tree_key low, struct tree_key high)
{
    struct tree_key key = tree_entry_key(kind, entry);
    uint64_t len = tree_entry_len(kind, entry);
    struct tree_key last = {.hi = key.hi, .lo = key.lo + len - 1};
    if (tree_key_compare(key, check->end) < 0 || tree_key_compare(key, low) < 0 ||
        tree_key_compare(last, high) >= 0)
        check_say(check, true,
                  "a tree of %s is out of order at key (%u, %" PRIu64 ") of length %" PRIu64,
                  line_name(check->line), key.hi, key.lo, len);
    check->end = (struct tree_key){.hi = key.hi, .lo = key.lo + len};
}

/* ---- maps ---------------------------------------------------------------------------------- */

static int check_map_node(void *opaque, const struct node *node, unsigned level,
                          struct tree_key low, struct tree_key high)
{
    (void)level, (void)low, (void)high;
    struct check *check = opaque;
    check->result->nodes_checked++;
    bool is_own = line_owns(check->line, node->ref.birth);
    check->own_nodes += is_own;
    check_block(check, node->ref.blk, is_own, true);
    return 0;
}

static int check_map_entry(void *opaque, const union disk_entry *entry, struct tree_key low,
                           struct tree_key high)
{
    struct check *check = opaque;
    check_order(check, DISK_TREE_MAP, entry, low, high);
    uint64_t blk = le40_get(entry->map.blk), len = le16_get(entry->map.len_blks);
    bool is_own = line_owns(check->line, le32_get(entry->map.birth));
    check->result->extents_checked++;
    check->mapped += len;
    check->own_data += is_own ? len : 0;
    for (uint64_t i = 0; i < len; i++)
        check_block(check, blk + i, is_own, false);
    return 0;
}

/* What a begun walk has still to free. */
static int check_unwalked_node(void *opaque, const struct node *node, unsigned level,
                               struct tree_key low, struct tree_key high)
{
    (void)level, (void)low, (void)high;
    struct check *check = opaque;
    check->result->nodes_checked++;
    check->own_nodes++;
    check_block(check, node->ref.blk, true, true);
    return 0;
}

static int check_unwalked_entry(void *opaque, const union disk_entry *entry, struct tree_key low,
                                struct tree_key high)
{
    (void)low, (void)high;
    struct check *check = opaque;
    uint64_t len = le16_get(entry->map.len_blks);
    if (!line_owns(check->line, le32_get(entry->map.birth)))
        return 0;
    check->own_data += len;
    for (uint64_t i = 0; i < len; i++)
        check_block(check, le40_get(entry->map.blk) + i, true, false);
    return 0;
}

static int check_unwalked(struct check *check, const struct tree *tree)
{
    struct tree_visit visit = {.node = check_unwalked_node,
                               .entry = tree->kind == DISK_TREE_MAP ? check_unwalked_entry : NULL,
                               .opaque = check};
    return tree_visit_unwalked(check->pool, check->line, tree, &visit);
}

static int check_map(struct check *check, struct line *line)
{
    check->mapped = 0;
    check->end = (struct tree_key){0};
    if (line->is_walking)
        return check_unwalked(check, &line->map);
    struct tree_visit visit = {.node = check_map_node, .entry = check_map_entry, .opaque = check};
    int r = tree_visit(check->pool, &line->map, &visit);
    if (r < 0)
        return r;
    check_counter(check, &line->mapped_blks, check->mapped, "mapped blocks");
    return 0;
}

/* ---- drop lists ---------------------------------------------------------------------------- */

static int check_private_node(void *opaque, const struct node *node, unsigned level,
                              struct tree_key low, struct tree_key high)
{
    (void)level, (void)low, (void)high;
    struct check *check = opaque;
    check->result->nodes_checked++;
    check->own_nodes++; /* of the line's drop list; of the catalog nobody asks */
    check_block(check, node->ref.blk, true, true);
    return 0;
}

static int check_drop_entry(void *opaque, const union disk_entry *entry, struct tree_key low,
                            struct tree_key high)
{
    struct check *check = opaque;
    check_order(check, DISK_TREE_DROPS, entry, low, high);
    uint64_t blk = le40_get(entry->drop.blk), len = le16_get(entry->drop.len_blks);
    uint64_t count = le32_get(entry->drop.count);
    bool is_node = entry->drop.is_node != 0;
    *(is_node ? &check->dropped_nodes : &check->dropped_data) += len * count;
    if (line_owns(check->line, le32_get(entry->drop.birth)))
        check_say(check, true, "%s has dropped block %" PRIu64 ", which was its own",
                  line_name(check->line), blk);
    for (uint64_t i = 0; i < len; i++)
        check_block(check, blk + i, false, is_node);
    return 0;
}

static int check_drops(struct check *check, struct line *line)
{
    check->dropped_data = check->dropped_nodes = 0;
    check->end = (struct tree_key){0};
    /* What it dropped is forgotten then; the nodes of the list are being freed. */
    if (line->is_walking && line->walk_phase >= line->map.levels)
        return check_unwalked(check, &line->drops);
    struct tree_visit visit = {
        .node = check_private_node, .entry = check_drop_entry, .opaque = check};
    int r = tree_visit(check->pool, &line->drops, &visit);
    if (r < 0)
        return r;
    check_counter(check, &line->dropped_data_blks, check->dropped_data, "dropped blocks");
    check_counter(check, &line->dropped_node_blks, check->dropped_nodes, "dropped nodes");
    return 0;
}

/* ---- lines --------------------------------------------------------------------------------- */

static void check_line_counts(struct check *check, const struct line *line)
{
    uint32_t children = 0, undropped = 0, walking = 0;
    list_for_each (child, &line->children, struct line, child_link)
    {
        children++;
        undropped +=
            atomic_load(&child->dropped_data_blks) + atomic_load(&child->dropped_node_blks) == 0;
        walking += child->is_walking;
        if (atomic_load(&child->own_after) != line->frozen_at)
            check_say(check, true, "%s takes its predecessor to be frozen at another time",
                      line_name(child));
    }
    if (children != line->child_count || undropped != atomic_load(&line->undropped_children) ||
        walking != line->walking_children)
        check_say(check, true, "%s counts its children wrongly", line_name(line));
    if (walking == children && children > 0 && line_is_hidden_point(line))
        check_say(check, true, "every child of a hidden point walks: nobody frees what it holds");
}

/* A dead map says nothing of what is left of it: those behind it do. */
static int check_own(struct check *check, struct line *line, bool is_dead)
{
    uint64_t data = check->own_data, nodes = check->own_nodes;
    int r = is_dead ? count_own(check->pool, line, &data, &nodes) : 0;
    if (r < 0)
        return r;
    check_counter(check, &line->own_blks, data, "own blocks");
    check_counter(check, &line->own_node_blks, nodes, "own nodes");
    return 0;
}

static int check_lines(struct check *check)
{
    list_for_each (line, &check->pool->lines, struct line, all_link)
    {
        check->line = line;
        check->result->lines_checked++;
        check->own_data = check->own_nodes = 0;
        check_line_counts(check, line);
        /* A hidden point that is about to be walked was never reclaimed from: its map is whole. */
        bool is_dead = line_is_hidden_point(line) && line->child_count > 0;
        int r = is_dead ? 0 : check_map(check, line);
        if (r == 0 && !line->is_drops_lost)
            r = check_drops(check, line);
        /* A list that is lost says nothing of its point either. */
        if (r == 0 && !line->is_drops_lost && !(is_dead && check->lacks_drops))
            r = check_own(check, line, is_dead);
        if (r == -ENOMEM)
        {
            check->line = NULL;
            return r;
        }
        if (r < 0)
            check_say(check, true, "a tree of %s cannot be read: %s", line_name(line),
                      strerror(-r));
    }
    check->line = NULL;
    return 0;
}

static int check_page_entry(void *opaque, const union disk_entry *entry, struct tree_key low,
                            struct tree_key high)
{
    struct check *check = opaque;
    check_order(check, DISK_TREE_PAGES, entry, low, high);
    check_block(check, le40_get(entry->page.blk), true, true);
    return 0;
}

static void check_say_object(void *opaque, bool is_error, const char *text)
{
    check_say(opaque, is_error, "%s", text);
}

/* Whether both copies of a page are on the device. What is not written yet is left out, and what a
 * repair that only looks would write. */
static int check_page_copies(struct check *check, const struct page *page)
{
    struct pool *pool = check->pool;
    bool is_left_out;
    {
        AUTO_LOCK(&pool->dirty_lock);
        is_left_out = page->is_dirty && pool->options.repair;
    }
    for (unsigned copy = 0; copy < PAGE_COPIES; copy++)
    {
        if (is_left_out || page->blks[copy] == 0 || page->cp_id > atomic_load(&pool->durable_cp_id))
            continue;
        int r = catalog_verify_copy(pool, page, copy);
        if (r == -ENOMEM)
            return r;
        if (r < 0)
            check_say(check, true,
                      "block %" PRIu64 ", copy %u of page %" PRIu64
                      " of the catalog, is damaged (%s); the other one has the same",
                      page->blks[copy], copy, page->number, strerror(-r));
    }
    return 0;
}

static int check_index(struct check *check, unsigned copy)
{
    struct pool *pool = check->pool;
    const struct index_loss *loss = &pool->index_losses[copy];
    struct tree_visit visit = {
        .node = check_private_node, .entry = check_page_entry, .opaque = check};
    check->end = (struct tree_key){0};
    int r = loss->is_lost ? 0 : tree_visit(pool, &pool->pages_trees[copy], &visit);
    if (r == -ENOMEM)
        return r;
    if ((r < 0 || loss->is_lost) && !check->fixes)
        check_say(check, true,
                  "copy %u of the index of the catalog cannot be read; it follows from the other",
                  copy);
    for (size_t i = 0; i < loss->count; i++)
        check_block(check, loss->nodes[i].blk, true, true);
    for (uint64_t i = 0; i < pool->page_count; i++) /* a lost index does not lead to them */
    {
        uint64_t blk = pool->pages[i]->blks[copy];
        if (blk != 0 && blk < check->bits && !mark_get(check->expected, blk))
            check_block(check, blk, true, true);
    }
    return 0;
}

static int check_catalog(struct check *check)
{
    int r = 0;
    for (unsigned copy = 0; r == 0 && copy < PAGE_COPIES; copy++)
        r = check_index(check, copy);
    return r;
}

static int check_objects(struct check *check)
{
    struct pool *pool = check->pool;
    check->result->objects_checked = pool->objects_by_id.count;
    objects_check(pool, check_say_object, check);
    int r = check_catalog(check);
    for (uint64_t i = 0; r == 0 && i < pool->page_count; i++)
        r = check_page_copies(check, pool->pages[i]);
    return r;
}

/* ---- bitmaps ------------------------------------------------------------------------------- */

static bool check_is_fixed(const struct pool *pool, uint64_t blk)
{
    uint64_t in_group = blk % pool->group_blks;
    uint64_t journal = 2 * pool->journal_half_blks;
    return in_group < DISK_GROUP_HEAD_BLKS ||
           (blk < pool->group_blks && in_group < DISK_GROUP_HEAD_BLKS + journal);
}

static int check_bitmaps(struct check *check)
{
    struct pool *pool = check->pool;
    uint64_t lost = 0, leaked = 0, first_lost = 0, first_leaked = 0;
    for (uint64_t blk = 0; blk < check->bits; blk++)
    {
        bool is_allocated;
        int r = space_is_allocated(pool->space, blk, &is_allocated);
        if (r == -ENOMEM)
            return r;
        if (r < 0)
        {
            uint64_t group = blk / pool->group_blks;
            check_say(check, true,
                      "the bitmap of allocation group %" PRIu64 ", from block %" PRIu64
                      " on, cannot be read: %s",
                      group, group * pool->group_blks, strerror(-r));
            blk = (group + 1) * pool->group_blks - 1;
            continue;
        }
        check->result->blks_allocated += is_allocated;
        bool is_expected = mark_get(check->expected, blk) || check_is_fixed(pool, blk);
        if (is_expected && !is_allocated && lost++ == 0)
            first_lost = blk;
        if (!is_expected && is_allocated && leaked++ == 0)
            first_leaked = blk;
    }
    check->result->blks_leaked = leaked;
    if (lost)
        check_say(check, true, "%" PRIu64 " block%s in use but marked free, the first is %" PRIu64,
                  lost, lost == 1 ? " is" : "s are", first_lost);
    if (leaked)
        check_say(check, true,
                  "%" PRIu64
                  " block%s marked used and referred to by nothing, the first is %" PRIu64,
                  leaked, leaked == 1 ? " is" : "s are", first_leaked);
    struct space_stats stats;
    space_get_stats(pool->space, &stats);
    if (stats.data_blks != check->data_blks || stats.node_blks != check->node_blks)
        check_say(check, true,
                  "the pool counts %" PRIu64 " data and %" PRIu64 " metadata blocks, there are "
                  "%" PRIu64 " and %" PRIu64,
                  stats.data_blks, stats.node_blks, check->data_blks, check->node_blks);
    return 0;
}

static void check_say_ledger(void *opaque, const char *text)
{
    check_say(opaque, true, "%s", text);
}

static void check_conclude(struct check *check)
{
    const struct check_result *result = check->result;
    if (result->errors)
        return;
    check_say(check, false,
              "every allocated block is reached from a LUN, a snapshot, metadata or a pending job "
              "(%" PRIu64 " block%s)",
              result->blks_reachable, plural_s(result->blks_reachable));
    check_say(check, false,
              "no private block is held twice (%" PRIu64 " extent%s, %" PRIu64 " node%s)",
              result->extents_checked, plural_s(result->extents_checked), result->nodes_checked,
              plural_s(result->nodes_checked));
    check_say(check, false, "counters of %" PRIu64 " line%s equal a recount", result->lines_checked,
              plural_s(result->lines_checked));
    check_say(check, false, "%" PRIu64 " objects that agree, trees in order, checksums %sright",
              result->objects_checked, result->warnings ? "of all that is needed " : "");
}

/*
 * A lost copy of the superblock is no error: nothing needs it as long as there is another, a power
 * cut leaves one half written, and whoever opens the pool for writing writes all of them.
 */
static int check_supers(struct check *check)
{
    struct pool *pool = check->pool;
    unsigned bad = 0;
    AUTO_LOCK(&pool->cp_lock);
    int r = super_find_bad(pool, !pool->is_read_only, &bad);
    for (unsigned copy = 0; copy < SUPER_COPIES; copy++)
    {
        if (!(bad >> copy & 1))
            continue;
        if (bad == (1u << SUPER_COPIES) - 1)
        {
            check_say(check, true,
                      "copy %u of the superblock, block %" PRIu64
                      ", is damaged, and so are the others; 'lunette pool scrub' writes them anew",
                      copy, super_copy_blk(pool, copy));
            continue;
        }
        check->result->warnings++;
        if (pool->is_read_only)
            check_say(check, false,
                      "WARNING: copy %u of the superblock, block %" PRIu64
                      ", is damaged; another is whole, and the next 'lunette serve', or "
                      "'lunette pool repair %.200s', writes this one anew",
                      copy, super_copy_blk(pool, copy), pool->path);
        else
            check_say(check, false,
                      "WARNING: copy %u of the superblock, block %" PRIu64
                      ", is damaged; another is whole, and 'lunette pool scrub' writes this one "
                      "anew",
                      copy, super_copy_blk(pool, copy));
    }
    return r;
}

static int check_run(struct check *check)
{
    int r = check_lines(check);
    if (r == 0)
        r = check_objects(check);
    if (r == 0)
        r = check_bitmaps(check);
    ledger_check(check->pool, check_say_ledger, check);
    check_conclude(check);
    return r;
}

static int check_run_locked(struct check *check)
{
    struct pool *pool = check->pool;
    AUTO_LOCK(&pool->management);
    int r = check_supers(check);
    if (r < 0)
        return r;
    rwlock_take_exclusive(&pool->cp_gate);
    check->bits = atomic_load(&pool->size_blks);
    size_t words = (size_t)div_round_up(check->bits, 64);
    AUTO_FREE uint64_t *expected = calloc(words, 8);
    AUTO_FREE uint64_t *own = calloc(words, 8);
    check->expected = expected;
    check->own = own;
    r = expected && own ? check_run(check) : -ENOMEM;
    rwlock_release(&pool->cp_gate);
    return r;
}

int pool_check(struct pool *pool, check_report_fn *report, void *opaque,
               struct check_result *result)
{
    *result = (struct check_result){0};
    struct check check = {.pool = pool, .result = result};
    int r = check_run_locked(&check);
    check_tell(&check, report, opaque);
    writer_destroy(&check.said);
    return r;
}

/* ---- for a repair -------------------------------------------------------------------------- */

int check_reach(struct pool *pool, struct reach *reach, check_report_fn *report, void *opaque)
{
    struct check_result result = {0};
    uint64_t bits = atomic_load(&pool->size_blks);
    size_t words = (size_t)div_round_up(bits, 64);
    AUTO_FREE uint64_t *expected = calloc(words, 8);
    AUTO_FREE uint64_t *own = calloc(words, 8);
    if (!expected || !own)
        return -ENOMEM;
    struct check check = {.pool = pool,
                          .result = &result,
                          .expected = expected,
                          .own = own,
                          .bits = bits,
                          .fixes = true};
    list_for_each (line, &pool->lines, struct line, all_link)
        check.lacks_drops |= line->is_drops_lost;
    int r = check_lines(&check);
    if (r == 0)
        r = check_catalog(&check);
    check_tell(&check, report, opaque);
    writer_destroy(&check.said);
    if (r < 0)
        return r;
    *reach = (struct reach){.bits = take_ptr(&expected),
                            .data_blks = check.data_blks,
                            .node_blks = check.node_blks,
                            .is_whole = result.errors == 0 && !check.lacks_drops};
    return 0;
}
