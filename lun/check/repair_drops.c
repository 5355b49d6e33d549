/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Drop lists made anew.
 *
 * The list of a line is what its predecessor holds and the line no longer uses. What a line holds,
 * its map says; of a hidden point, whose map is dead, one of its children does: what that one uses
 * of it, and what it has dropped. So a list follows from the predecessor's map, or from another
 * child. If there is no other child, nobody can want what the line does not use: its list is empty,
 * what the point made comes back as it is reached from nowhere, and the point's own list is made
 * anew, for it uses less now.
 *
 * A child's id is larger than its predecessor's: falling ids come to children first.
 */
#include "lun/check/repair_drops.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/check/count.h"
#include "lun/check/walk.h"
#include "lun/map/change.h"
#include "lun/map/drops.h"
#include "lun/map/lineage.h"
#include "lun/volume/catalog.h"
#include "lun/volume/ledger.h"

/* ---- what is held -------------------------------------------------------------------------- */

struct holding
{
    uint64_t blk, len;
    uint32_t birth;
    bool is_node;
};

/* Of births up to @until. */
struct holdings
{
    struct holding *items;
    size_t count, capacity;
    uint32_t until;
};

static void holdings_destroy(struct holdings *holdings)
{
    free(holdings->items);
    *holdings = (struct holdings){0};
}
#define AUTO_HOLDINGS CLEANUP(holdings_destroy)

static int holdings_add(struct holdings *holdings, struct holding one)
{
    if (one.birth > holdings->until || one.len == 0)
        return 0;
    if (holdings->count == holdings->capacity)
    {
        size_t capacity = holdings->capacity ? 2 * holdings->capacity : 256;
        struct holding *items = realloc(holdings->items, capacity * sizeof(*items));
        if (!items)
            return -ENOMEM;
        holdings->items = items;
        holdings->capacity = capacity;
    }
    holdings->items[holdings->count++] = one;
    return 0;
}

static int compare_holdings(const void *a, const void *b)
{
    const struct holding *x = a, *y = b;
    if (x->birth != y->birth)
        return x->birth < y->birth ? -1 : 1;
    return x->blk < y->blk ? -1 : x->blk > y->blk;
}

static void holdings_sort(struct holdings *holdings)
{
    if (holdings->count > 0)
        qsort(holdings->items, holdings->count, sizeof(struct holding), compare_holdings);
}

static int holdings_node(void *opaque, const struct node *node, unsigned level, struct tree_key low,
                         struct tree_key high)
{
    (void)level, (void)low, (void)high;
    return holdings_add(
        opaque, (struct holding){
                    .birth = node->ref.birth, .blk = node->ref.blk, .len = 1, .is_node = true});
}

static int holdings_extent(void *opaque, const union disk_entry *entry, struct tree_key low,
                           struct tree_key high)
{
    (void)low, (void)high;
    return holdings_add(opaque, (struct holding){.birth = le32_get(entry->map.birth),
                                                 .blk = le40_get(entry->map.blk),
                                                 .len = le16_get(entry->map.len_blks)});
}

static int holdings_drop(void *opaque, const union disk_entry *entry, struct tree_key low,
                         struct tree_key high)
{
    (void)low, (void)high;
    return holdings_add(opaque, (struct holding){.birth = le32_get(entry->drop.birth),
                                                 .blk = le40_get(entry->drop.blk),
                                                 .len = le16_get(entry->drop.len_blks),
                                                 .is_node = entry->drop.is_node != 0});
}

/* A child of a dead point that tells what is left of it, not @but. */
static struct line *holdings_child(const struct line *point, const struct line *but)
{
    uint64_t but_id = but ? but->object.id : 0;
    list_for_each (child, &point->children, struct line, child_link)
    {
        if (child->object.id != but_id && !child->is_walking && !child->is_drops_lost)
            return child;
    }
    return NULL;
}

/* Adds what @line holds; of a dead point not as @but says it. -EBADMSG: nobody says it. */
static int holdings_of(struct pool *pool, const struct line *line, const struct line *but,
                       struct holdings *holdings)
{
    while (line_is_hidden_point(line) && line->child_count > 0)
    {
        if (line->frozen_at < holdings->until)
            holdings->until = line->frozen_at;
        line = holdings_child(line, but);
        if (!line)
            return -EBADMSG;
        struct tree_visit drops = {.entry = holdings_drop, .opaque = holdings};
        int r = tree_visit(pool, &line->drops, &drops);
        if (r < 0)
            return r;
    }
    if (line->is_walking)
        return -EBADMSG;
    struct tree_visit map = {.node = holdings_node, .entry = holdings_extent, .opaque = holdings};
    return tree_visit(pool, &line->map, &map);
}

/* What is in @from and not in @used; both in order. */
static int holdings_subtract(const struct holdings *from, const struct holdings *used,
                             struct holdings *left)
{
    left->until = from->until;
    size_t j = 0;
    for (size_t i = 0; i < from->count; i++)
    {
        struct holding rest = from->items[i];
        uint64_t end = rest.blk + rest.len;
        int r = 0;
        while (j < used->count && (used->items[j].birth < rest.birth ||
                                   (used->items[j].birth == rest.birth &&
                                    used->items[j].blk + used->items[j].len <= rest.blk)))
            j++;
        for (size_t k = j; r == 0 && k < used->count && used->items[k].birth == rest.birth &&
                           used->items[k].blk < end;
             k++)
        {
            struct holding part = rest;
            part.len = used->items[k].blk > rest.blk ? used->items[k].blk - rest.blk : 0;
            r = holdings_add(left, part);
            rest.blk = max_u64(rest.blk, used->items[k].blk + used->items[k].len);
        }
        rest.len = end > rest.blk ? end - rest.blk : 0;
        if (r == 0)
            r = holdings_add(left, rest);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- one list ------------------------------------------------------------------------------ */

static bool line_is_only_child(const struct line *line)
{
    const struct line *point = line->predecessor;
    return line_is_hidden_point(point) && point->child_count == 1;
}

/* What the list of @line should be. -EBADMSG: it does not follow from what can be read. */
static int drops_compute(struct pool *pool, struct line *line, struct holdings *drops)
{
    struct line *point = line->predecessor;
    if (!point || line->is_walking)
        return 0; /* what a walking one dropped is forgotten when its map is walked */
    if (line_is_only_child(line))
    {
        point->is_drops_lost = true;
        return 0;
    }
    AUTO_HOLDINGS struct holdings held = {.until = point->frozen_at};
    AUTO_HOLDINGS struct holdings used = {.until = point->frozen_at};
    int r = holdings_of(pool, point, line, &held);
    if (r == 0)
        r = holdings_of(pool, line, NULL, &used);
    if (r < 0)
        return r;
    holdings_sort(&held);
    holdings_sort(&used);
    return holdings_subtract(&held, &used, drops);
}

static void drops_clear(struct pool *pool, struct line *line)
{
    bool was_empty =
        atomic_load(&line->dropped_data_blks) + atomic_load(&line->dropped_node_blks) == 0;
    atomic_store(&line->dropped_data_blks, 0);
    atomic_store(&line->dropped_node_blks, 0);
    line->drops = (struct tree){.kind = DISK_TREE_DROPS};
    lineage_drops_changed(pool, line, was_empty, true);
    catalog_mark_dirty(pool, &line->object);
}

/* With the gate: nobody else is there. Nodes of the old list are reached from nowhere then. */
static int drops_install(struct pool *pool, struct line *line, const struct holdings *drops)
{
    uint64_t nodes = 2 * tree_nodes_max(drops->count) + UINT64_C(2) * DISK_LEVELS_MAX;
    int r = space_admit(pool->space, nodes, SPACE_FREEING);
    if (r < 0)
        return r;
    drops_clear(pool, line);
    AUTO_CHANGE struct change change;
    change_init(&change, pool);
    change.drops.placements = NULL; /* a checkpoint follows, and no record */
    for (size_t i = 0; i < drops->count; i++)
    {
        const struct holding *one = &drops->items[i];
        drops_add(&change, line, one->birth, one->blk, one->len, one->is_node);
    }
    space_leave(pool->space, nodes);
    line->is_drops_lost = false;
    return 0;
}

/* Its counters as they are now; the check tells of what cannot be counted. */
static void drops_recount(struct pool *pool, struct line *line)
{
    uint64_t data_blks, node_blks;
    if (count_own(pool, line, &data_blks, &node_blks) < 0)
        return;
    atomic_store(&line->own_blks, data_blks);
    atomic_store(&line->own_node_blks, node_blks);
    ledger_owns(pool, line);
    catalog_mark_dirty(pool, &line->object);
}

/* ---- all of them --------------------------------------------------------------------------- */

int repair_find_lost_drops(struct pool *pool, bool *found)
{
    bool is_any = false;
    struct tree_visit visit = {0};
    list_for_each (line, &pool->lines, struct line, all_link)
    {
        int r = tree_visit(pool, &line->drops, &visit);
        line->is_drops_lost = r == -EBADMSG || r == -EIO;
        /* Of a list that is being freed, what is freed already cannot be read. */
        if (line->is_drops_lost && line->is_walking && line->walk_phase >= line->map.levels)
        {
            r = tree_visit_unwalked(pool, line, &line->drops, &visit);
            line->is_drops_lost = r < 0;
        }
        if (r == -ENOMEM)
            return r;
        is_any |= line->is_drops_lost;
    }
    *found = is_any;
    return 0;
}

static int compare_lines(const void *a, const void *b)
{
    const struct line *x = *(struct line *const *)a, *y = *(struct line *const *)b;
    return x->object.id > y->object.id ? -1 : x->object.id < y->object.id;
}

static void drops_name(const struct line *line, char *text, size_t size)
{
    const struct lun_object *shown = line->lun;
    if (!shown && line->snapshot_count > 0)
        shown = container_of(line->snapshots.next, struct lun_object, point_link);
    snprintf(text, size, "%s",
             shown            ? shown->name
             : line->is_dying ? "a deleted LUN"
                              : "a hidden point");
}

static int drops_remake_line(struct pool *pool, struct line *line)
{
    AUTO_HOLDINGS struct holdings drops = {.until = UINT32_MAX};
    char name[2 * LUN_NAME_MAX + 2];
    drops_name(line, name, sizeof(name));
    int r = drops_compute(pool, line, &drops);
    if (r == 0)
        r = drops_install(pool, line, &drops);
    if (r == -ENOMEM)
        return r;
    if (r < 0)
    {
        repair_say(pool->options.repair, false,
                   "the drop list of %s cannot be read, and does not follow from what can be: what "
                   "was deleted there keeps its space",
                   name);
        return 0;
    }
    drops_recount(pool, line);
    repair_say(pool->options.repair, true,
               "the drop list of %s cannot be read: it %s made anew, with %" PRIu64 " blocks", name,
               repair_is(pool->options.repair),
               atomic_load(&line->dropped_data_blks) + atomic_load(&line->dropped_node_blks));
    return 0;
}

int repair_remake_drops(struct pool *pool)
{
    size_t count = 0;
    AUTO_FREE struct line **lines = calloc(pool->line_count + 1, sizeof(struct line *));
    if (!lines)
        return -ENOMEM;
    list_for_each (line, &pool->lines, struct line, all_link)
        lines[count++] = line;
    qsort(lines, count, sizeof(struct line *), compare_lines);
    rwlock_take_exclusive(&pool->cp_gate);
    int r = 0;
    for (size_t i = 0; r == 0 && i < count; i++)
    {
        if (lines[i]->is_drops_lost)
            r = drops_remake_line(pool, lines[i]);
    }
    for (size_t i = 0; i < count; i++)
        lines[i]->is_drops_lost = false;
    rwlock_release(&pool->cp_gate);
    return r;
}
