/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/map/emap.h"

#include <errno.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "lun/map/drops.h"
#include "lun/pool/pool_internal.h"
#include "lun/volume/catalog.h"
#include "lun/volume/ledger.h"

enum
{
    EMAP_EXTENT_MAX_BLKS = 32768,
    EMAP_UNMAP_LEAVES = 4, /* of one record: bounds its work and what it pins */
};

static struct emap_run emap_run_of(const union disk_entry *entry)
{
    return (struct emap_run){.lba = le40_get(entry->map.lba),
                             .len_blks = le16_get(entry->map.len_blks),
                             .blk = le40_get(entry->map.blk),
                             .birth = le32_get(entry->map.birth)};
}

static union disk_entry emap_entry_of(struct emap_run run)
{
    return (union disk_entry){.map = {.lba = le40_put(run.lba),
                                      .len_blks = le16_put(run.len_blks),
                                      .blk = le40_put(run.blk),
                                      .birth = le32_put(run.birth)}};
}

static struct tree_key lba_key(uint64_t lba)
{
    return (struct tree_key){.lo = lba};
}

int emap_lookup(struct tree_op *op, const struct line *line, uint64_t lba, uint64_t max_blks,
                struct emap_run *run, struct emap_run *extent)
{
    *run = (struct emap_run){.lba = lba, .len_blks = max_blks};
    *extent = (struct emap_run){.lba = lba};
    union disk_entry entry;
    bool found;
    struct tree_path path;
    int r = tree_seek(op, &line->map, lba_key(lba), &path);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return r;
    const struct disk_node *leaf = path.nodes[0]->disk;
    if (path.index[0] < le16_get(leaf->count))
    {
        entry = leaf->entries[path.index[0]];
        found = true;
    }
    else
    {
        r = tree_next(op, &line->map, lba_key(lba), &entry, &found);
        if (r < 0)
            return r;
    }
    if (!found)
        return 0;
    struct emap_run mapped = emap_run_of(&entry);
    if (mapped.lba > lba)
    {
        run->len_blks = min_u64(max_blks, mapped.lba - lba);
        return 0;
    }
    *extent = mapped;
    uint64_t skip = lba - mapped.lba;
    run->blk = mapped.blk + skip;
    run->birth = mapped.birth;
    run->is_own = line_owns(line, mapped.birth);
    run->len_blks = min_u64(max_blks, mapped.len_blks - skip);
    return 0;
}

/* ---- preparing ----------------------------------------------------------------------------- */

/* Nodes on the path that are not own will be dropped. */
static int emap_prepare_path(struct change *change, struct line *line, const struct tree_path *path)
{
    for (unsigned level = 0; level < path->levels; level++)
    {
        struct node_ref ref = path->nodes[level]->ref;
        if (line_owns(line, ref.birth))
            continue;
        int r = drops_prepare(change, line, ref.birth, ref.blk, 1);
        if (r < 0)
            return r;
    }
    return 0;
}

static int emap_prepare_leaf(struct change *change, struct line *line, const struct tree_path *path,
                             uint64_t from, uint64_t to)
{
    const struct disk_node *leaf = path->nodes[0]->disk;
    for (unsigned i = path->index[0]; i < le16_get(leaf->count); i++)
    {
        struct emap_run run = emap_run_of(&leaf->entries[i]);
        if (run.lba >= to)
            break;
        if (line_owns(line, run.birth))
            continue;
        uint64_t start = max_u64(run.lba, from), end = min_u64(run.lba + run.len_blks, to);
        int r = drops_prepare(change, line, run.birth, run.blk + (start - run.lba), end - start);
        if (r < 0)
            return r;
    }
    return 0;
}

int emap_prepare(struct change *change, struct line *line, uint64_t lba, uint64_t len_blks)
{
    uint64_t end = lba + len_blks;
    change->nodes += DISK_LEVELS_MAX; /* a first root; splits up to a new root */
    while (lba < end)
    {
        struct tree_path path;
        int r = tree_seek(&change->map, &line->map, lba_key(lba), &path);
        if (r == -ENOENT)
            return 0;
        if (r < 0)
            return r;
        change->nodes += UINT64_C(2) * path.levels; /* a copy of each, and a split of each */
        r = emap_prepare_path(change, line, &path);
        if (r == 0)
            r = emap_prepare_leaf(change, line, &path, lba, end);
        if (r < 0)
            return r;
        lba = path.upper.hi != 0 ? end : path.upper.lo;
    }
    return 0;
}

int emap_plan_unmap(struct tree_op *op, const struct line *line, uint64_t lba, uint64_t end,
                    uint64_t *stop, bool *has_shared)
{
    *has_shared = false;
    for (unsigned leaves = 0; lba < end && leaves < EMAP_UNMAP_LEAVES; leaves++)
    {
        struct tree_path path;
        int r = tree_seek(op, &line->map, lba_key(lba), &path);
        if (r == -ENOENT)
        {
            lba = end;
            break;
        }
        if (r < 0)
            return r;
        const struct disk_node *leaf = path.nodes[0]->disk;
        for (unsigned i = path.index[0]; i < le16_get(leaf->count); i++)
        {
            struct emap_run run = emap_run_of(&leaf->entries[i]);
            if (run.lba >= end)
                break;
            *has_shared |= !line_owns(line, run.birth);
        }
        lba = path.upper.hi != 0 ? end : min_u64(end, path.upper.lo);
    }
    *stop = lba;
    return 0;
}

/* ---- changing ------------------------------------------------------------------------------ */

static void counter_add(_Atomic uint64_t *counter, uint64_t delta)
{
    atomic_fetch_add_explicit(counter, delta, memory_order_relaxed);
}

/* What the map no longer names: freed if it is own, else the predecessor's. */
static void emap_unlink(struct change *change, struct line *line, struct emap_run run)
{
    counter_add(&line->mapped_blks, -run.len_blks);
    if (line_owns(line, run.birth))
    {
        counter_add(&line->own_blks, -run.len_blks);
        ledger_owns(change->pool, line);
        space_free(change->pool->space, run.blk, run.len_blks, false);
        return;
    }
    drops_add(change, line, run.birth, run.blk, run.len_blks, false);
}

/* A leaf's entries around the place of a change. */
struct emap_edit
{
    union disk_entry new[3];
    unsigned new_count;
    unsigned remove;
    struct emap_run removed[DISK_LEAF_ENTRIES];
    unsigned removed_count;
};

static void edit_put(struct emap_edit *edit, struct emap_run run)
{
    edit->new[edit->new_count++] = emap_entry_of(run);
}

/* Entries of @leaf that overlap [from, to): what goes of them, what stays left and right. */
static void edit_collect(struct emap_edit *edit, const struct disk_node *leaf, unsigned first,
                         struct emap_run put, uint64_t to)
{
    struct emap_run right = {0};
    uint64_t from = put.lba;
    for (unsigned i = first; i < le16_get(leaf->count); i++)
    {
        struct emap_run run = emap_run_of(&leaf->entries[i]);
        if (run.lba >= to)
            break;
        edit->remove++;
        uint64_t end = run.lba + run.len_blks;
        uint64_t cut_from = max_u64(run.lba, from), cut_to = min_u64(end, to);
        if (run.lba < from)
            edit_put(edit, (struct emap_run){.lba = run.lba,
                                             .len_blks = from - run.lba,
                                             .blk = run.blk,
                                             .birth = run.birth});
        if (end > to)
            right = (struct emap_run){.lba = to,
                                      .len_blks = end - to,
                                      .blk = run.blk + (to - run.lba),
                                      .birth = run.birth};
        edit->removed[edit->removed_count++] =
            (struct emap_run){.lba = cut_from,
                              .len_blks = cut_to - cut_from,
                              .blk = run.blk + (cut_from - run.lba),
                              .birth = run.birth};
    }
    if (put.blk)
        edit_put(edit, put);
    if (right.len_blks)
        edit_put(edit, right);
}

/* Joins the new extent to the entry before it, if it goes on where that ends. */
static void edit_join_left(struct emap_edit *edit, const struct disk_node *leaf,
                           struct tree_path *path)
{
    if (edit->new_count == 0 || path->index[0] == 0)
        return;
    struct emap_run left = emap_run_of(&leaf->entries[path->index[0] - 1]);
    struct emap_run first = emap_run_of(&(union disk_entry){.map = edit->new[0].map});
    if (left.lba + left.len_blks != first.lba || left.blk + left.len_blks != first.blk ||
        left.birth != first.birth || left.len_blks + first.len_blks > EMAP_EXTENT_MAX_BLKS)
        return;
    left.len_blks += first.len_blks;
    edit->new[0] = emap_entry_of(left);
    edit->remove++;
    path->index[0]--;
}

/* One leaf's part of emap_replace(); returns where it stopped. */
static uint64_t emap_replace_in_leaf(struct change *change, struct line *line, struct emap_run put)
{
    struct tree_path path;
    tree_change_seek(&change->map, &line->map, lba_key(put.lba), &path);
    uint64_t to = put.lba + put.len_blks;
    if (path.upper.hi == 0)
        to = min_u64(to, path.upper.lo);
    put.len_blks = to - put.lba;
    struct emap_edit edit = {0};
    const struct disk_node *leaf = path.nodes[0]->disk;
    edit_collect(&edit, leaf, path.index[0], put, to);
    edit_join_left(&edit, leaf, &path);
    tree_change_replace(&change->map, &line->map, &path, edit.remove, edit.new, edit.new_count);
    for (unsigned i = 0; i < edit.removed_count; i++)
        emap_unlink(change, line, edit.removed[i]);
    if (put.blk)
    {
        counter_add(&line->mapped_blks, put.len_blks);
        counter_add(&line->own_blks, put.len_blks);
    }
    return to;
}

/* Where the next mapped block is: unmapping must not copy leaves in which there is nothing. */
static bool emap_skip_hole(struct change *change, const struct line *line, uint64_t *lba,
                           uint64_t end)
{
    union disk_entry entry;
    bool found;
    int r = tree_next(&change->map, &line->map, lba_key(*lba), &entry, &found);
    if (r < 0)
        return false; /* beyond what was prepared: so beyond @end */
    if (!found || le40_get(entry.map.lba) >= end)
        return false;
    *lba = max_u64(*lba, le40_get(entry.map.lba));
    return true;
}

struct emap_drop_context
{
    struct change *change;
    struct line *line;
};

static void emap_drop_node(struct tree_op *op, uint64_t blk, uint32_t birth)
{
    struct emap_drop_context *context = op->drop_opaque;
    drops_add(context->change, context->line, birth, blk, 1, true);
}

void emap_replace(struct change *change, struct line *line, uint64_t lba, uint64_t len_blks,
                  uint64_t blk)
{
    struct emap_drop_context context = {.change = change, .line = line};
    change->map.birth = line->birth;
    change->map.own_after = atomic_load_explicit(&line->own_after, memory_order_relaxed);
    change->map.drop_node = emap_drop_node;
    change->map.drop_opaque = &context;
    change->map.own_nodes = &line->own_node_blks;
    uint64_t at = lba, end = lba + len_blks;
    bool has_changed = false;
    while (at < end)
    {
        if (!blk && !emap_skip_hole(change, line, &at, end))
            break;
        has_changed = true;
        struct emap_run put = {.lba = at,
                               .len_blks = min_u64(end - at, EMAP_EXTENT_MAX_BLKS),
                               .blk = blk ? blk + (at - lba) : 0,
                               .birth = line->birth};
        at = emap_replace_in_leaf(change, line, put);
    }
    change->map.drop_opaque = NULL;
    if (!has_changed)
        return;
    ledger_owns(change->pool, line);
    atomic_store_explicit(&line->is_touched, true, memory_order_relaxed);
    catalog_mark_dirty(change->pool, &line->object);
}
