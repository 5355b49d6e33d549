/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/map/drops.h"

#include <errno.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "lun/map/lineage.h"
#include "lun/pool/pool_internal.h"
#include "lun/volume/catalog.h"
#include "lun/volume/ledger.h"

enum
{
    DROPS_RANGE_MAX_BLKS = 32768
};

static struct drop drop_of(const union disk_entry *entry)
{
    return (struct drop){.birth = le32_get(entry->drop.birth),
                         .blk = le40_get(entry->drop.blk),
                         .len_blks = le16_get(entry->drop.len_blks),
                         .count = le32_get(entry->drop.count),
                         .is_node = entry->drop.is_node != 0};
}

static union disk_entry drop_entry(struct drop drop)
{
    return (union disk_entry){.drop = {.birth = le32_put(drop.birth),
                                       .blk = le40_put(drop.blk),
                                       .len_blks = le16_put(drop.len_blks),
                                       .count = le32_put(drop.count),
                                       .is_node = drop.is_node}};
}

static struct tree_key drop_key(uint32_t birth, uint64_t blk)
{
    return (struct tree_key){.hi = birth, .lo = blk};
}

int drops_next(struct tree_op *op, const struct line *line, uint32_t birth, uint64_t blk,
               struct drop *drop, bool *found)
{
    union disk_entry entry;
    int r = tree_next(op, &line->drops, drop_key(birth, blk), &entry, found);
    if (r == 0 && *found)
        *drop = drop_of(&entry);
    return r;
}

int drops_prepare(struct change *change, struct line *line, uint32_t birth, uint64_t blk,
                  uint64_t len_blks)
{
    /* Copies of the path and splits of it, shared by neighbours; entries beyond one per leaf's
     * worth of inserts cannot split more. */
    change->nodes += change->drop_inserts++ == 0 ? UINT64_C(3) * DISK_LEVELS_MAX : 0;
    unsigned before = change->drops.pinned_count;
    int r = tree_prepare_range(&change->drops, &line->drops, drop_key(birth, blk),
                               drop_key(birth, blk + len_blks), UINT32_MAX, NULL);
    change->nodes += UINT64_C(2) * (change->drops.pinned_count - before) + 1;
    return r;
}

/* Where the part that begins at @blk must end in this leaf. */
static uint64_t drops_leaf_end(const struct tree_path *path, uint32_t birth, uint64_t end)
{
    return path->upper.hi == birth ? min_u64(end, path->upper.lo) : end;
}

/* Joins new[0] to the entry before it where it goes on from there. */
static unsigned drops_join_left(const struct disk_node *leaf, struct tree_path *path,
                                union disk_entry *first)
{
    if (path->index[0] == 0)
        return 0;
    struct drop left = drop_of(&leaf->entries[path->index[0] - 1]);
    struct drop new = drop_of(first);
    if (left.birth != new.birth || left.blk + left.len_blks != new.blk || left.count != new.count ||
        left.is_node != new.is_node || left.len_blks + new.len_blks > DROPS_RANGE_MAX_BLKS)
        return 0;
    left.len_blks += new.len_blks;
    *first = drop_entry(left);
    path->index[0]--;
    return 1;
}

/*
 * Changes the count of the first part of [blk, end) that is alike: a gap, or (a part of) one entry.
 * Returns its end. @delta is +1 or -1.
 */
static uint64_t drops_step(struct change *change, struct line *line, struct drop add, uint64_t end,
                           int delta)
{
    struct tree_path path;
    tree_change_seek(&change->drops, &line->drops, drop_key(add.birth, add.blk), &path);
    const struct disk_node *leaf = path.nodes[0]->disk;
    uint64_t stop = drops_leaf_end(&path, add.birth, min_u64(end, add.blk + DROPS_RANGE_MAX_BLKS));
    bool has_entry = path.index[0] < le16_get(leaf->count);
    struct drop there = has_entry ? drop_of(&leaf->entries[path.index[0]]) : (struct drop){0};
    has_entry = has_entry && there.birth == add.birth && there.blk < stop;
    union disk_entry new[3];
    unsigned n = 0, remove = 0;
    if (!has_entry || there.blk > add.blk)
    {
        INVARIANT(delta > 0);
        stop = has_entry ? there.blk : stop;
        add.len_blks = stop - add.blk;
        add.count = 1;
        new[n++] = drop_entry(add);
    }
    else
    {
        uint64_t there_end = there.blk + there.len_blks;
        stop = min_u64(stop, there_end);
        remove = 1;
        struct drop left = there, middle = there, right = there;
        left.len_blks = add.blk - there.blk;
        middle.blk = add.blk;
        middle.len_blks = stop - add.blk;
        middle.count = there.count + (uint32_t)delta;
        right.blk = stop;
        right.len_blks = there_end - stop;
        if (left.len_blks)
            new[n++] = drop_entry(left);
        if (middle.count)
            new[n++] = drop_entry(middle);
        if (right.len_blks)
            new[n++] = drop_entry(right);
    }
    if (n > 0)
        remove += drops_join_left(leaf, &path, &new[0]);
    tree_change_replace(&change->drops, &line->drops, &path, remove, new, n);
    return stop;
}

static void drops_count(struct change *change, struct line *line, bool is_node, uint64_t delta)
{
    uint64_t before = atomic_load(&line->dropped_data_blks) + atomic_load(&line->dropped_node_blks);
    atomic_fetch_add(is_node ? &line->dropped_node_blks : &line->dropped_data_blks, delta);
    lineage_drops_changed(change->pool, line, before == 0, before + delta == 0);
    ledger_owns(change->pool, line);
    catalog_mark_dirty(change->pool, &line->object);
}

static void drops_begin(struct change *change, struct line *line)
{
    change->drops.own_nodes = &line->own_node_blks;
    change->drops.birth = 1;
    change->drops.own_after = 0;
}

void drops_add(struct change *change, struct line *line, uint32_t birth, uint64_t blk,
               uint64_t len_blks, bool is_node)
{
    drops_begin(change, line);
    uint64_t end = blk + len_blks;
    for (uint64_t at = blk; at < end;)
    {
        struct drop add = {.birth = birth, .blk = at, .is_node = is_node};
        at = drops_step(change, line, add, end, 1);
    }
    drops_count(change, line, is_node, len_blks);
}

/* Whether all of the range is in the list: found in what was prepared. */
static bool drops_has(struct change *change, const struct line *line, uint32_t birth, uint64_t blk,
                      uint64_t len_blks, bool *is_node)
{
    uint64_t end = blk + len_blks;
    while (blk < end)
    {
        struct drop drop = {0};
        bool found = false;
        if (drops_next(&change->drops, line, birth, blk, &drop, &found) < 0 || !found ||
            drop.birth != birth || drop.blk > blk)
            return false;
        *is_node = drop.is_node;
        blk = drop.blk + drop.len_blks;
    }
    return true;
}

int drops_remove(struct change *change, struct line *line, uint32_t birth, uint64_t blk,
                 uint64_t len_blks)
{
    bool is_node = false;
    if (!drops_has(change, line, birth, blk, len_blks, &is_node))
        return -EBADMSG;
    const _Atomic uint64_t *count = is_node ? &line->dropped_node_blks : &line->dropped_data_blks;
    if (atomic_load(count) < len_blks)
        return -EBADMSG;
    drops_begin(change, line);
    uint64_t end = blk + len_blks;
    for (uint64_t at = blk; at < end;)
    {
        struct drop take = {.birth = birth, .blk = at, .is_node = is_node};
        at = drops_step(change, line, take, end, -1);
    }
    drops_count(change, line, is_node, -len_blks);
    return 0;
}
