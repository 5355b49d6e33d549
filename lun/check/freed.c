/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a delete would bring: the outcome of walks, merges and reclaim, computed without doing them.
 *
 * A line is *gone* if nothing it shows is wanted any more. What a gone line owns comes back; what
 * all other children of a point that nobody sees have dropped comes back as far as the point made
 * it, and is passed down to the point's predecessor otherwise: the rules of lineage.h. The answer
 * is the difference between this for the names asked for and for none, as work may be pending
 * already.
 *
 * A child's id is larger than its predecessor's, so falling ids visit children first.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/check/walk.h"
#include "lun/map/lineage.h"
#include "lun/volume/catalog.h"
#include "lun/volume/info.h"

struct piece
{
    uint32_t birth;
    uint32_t is_node;
    uint64_t blk, len;
};

/* Pieces in order of (birth, blk), none overlapping. */
struct pieces
{
    struct piece *items;
    size_t count, capacity;
};

struct outcome
{
    struct line *line;
    bool is_gone;
    const struct line *shown_by; /* gone: the line whose map still says what it holds; or NULL */
    bool wants_pieces;           /* its predecessor will be hidden: it asks what was dropped */
    struct pieces dropped;
};

struct freed
{
    struct pool *pool;
    const struct lun_object **names; /* sorted by address */
    size_t name_count;
    struct outcome *outcomes; /* by falling id */
    size_t count;
    uint64_t data_blks, node_blks;
};

static int pieces_add(struct pieces *pieces, struct piece piece)
{
    if (pieces->count == pieces->capacity)
    {
        size_t capacity = pieces->capacity ? pieces->capacity * 2 : 64;
        struct piece *items = realloc(pieces->items, capacity * sizeof(*items));
        if (!items)
            return -ENOMEM;
        pieces->items = items;
        pieces->capacity = capacity;
    }
    pieces->items[pieces->count++] = piece;
    return 0;
}

static void pieces_destroy(struct pieces *pieces)
{
    free(pieces->items);
    *pieces = (struct pieces){0};
}

static int compare_pieces(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    if (x->birth != y->birth)
        return x->birth < y->birth ? -1 : 1;
    return x->blk < y->blk ? -1 : x->blk > y->blk;
}

static int pieces_entry(void *opaque, const union disk_entry *entry, struct tree_key low,
                        struct tree_key high)
{
    (void)low, (void)high;
    const struct disk_drop_entry *drop = &entry->drop;
    return pieces_add(opaque, (struct piece){.birth = le32_get(drop->birth),
                                             .is_node = drop->is_node,
                                             .blk = le40_get(drop->blk),
                                             .len = le16_get(drop->len_blks)});
}

/* The map_lock of a head keeps writers away, and reads that have to look at the map; other lines
 * change only under management. */
static void line_lock(const struct line *line)
{
    if (line->lun)
        lock_take(&line->lun->map_lock);
}

static void line_unlock(const struct line *line)
{
    if (line->lun)
        lock_release(&line->lun->map_lock);
}

static int pieces_load(struct pool *pool, const struct line *line, struct pieces *pieces)
{
    struct tree_visit visit = {.entry = pieces_entry, .opaque = pieces};
    line_lock(line);
    int r = tree_visit(pool, &line->drops, &visit);
    line_unlock(line);
    return r;
}

/* What is in both. */
static int pieces_intersect(const struct pieces *a, const struct pieces *b, struct pieces *both)
{
    size_t i = 0, j = 0;
    while (i < a->count && j < b->count)
    {
        const struct piece *x = &a->items[i], *y = &b->items[j];
        uint64_t x_end = x->blk + x->len, y_end = y->blk + y->len;
        if (x->birth == y->birth && x->blk < y_end && y->blk < x_end)
        {
            uint64_t from = max_u64(x->blk, y->blk), to = min_u64(x_end, y_end);
            struct piece piece = {x->birth, x->is_node, from, to - from};
            int r = pieces_add(both, piece);
            if (r < 0)
                return r;
        }
        if (x->birth < y->birth || (x->birth == y->birth && x_end <= y_end))
            i++;
        else
            j++;
    }
    return 0;
}

/* ---- what a map owns ----------------------------------------------------------------------- */

struct own_count
{
    uint32_t after;
    uint64_t data, nodes;
};

static int own_node(void *opaque, const struct node *node, unsigned level, struct tree_key low,
                    struct tree_key high)
{
    (void)level, (void)low, (void)high;
    struct own_count *own = opaque;
    if (node->ref.birth <= own->after)
        return 1;
    own->nodes++;
    return 0;
}

static int own_entry(void *opaque, const union disk_entry *entry, struct tree_key low,
                     struct tree_key high)
{
    (void)low, (void)high;
    struct own_count *own = opaque;
    if (le32_get(entry->map.birth) > own->after)
        own->data += le16_get(entry->map.len_blks);
    return 0;
}

static int all_nodes(void *opaque, const struct node *node, unsigned level, struct tree_key low,
                     struct tree_key high)
{
    (void)node, (void)level, (void)low, (void)high;
    ++*(uint64_t *)opaque;
    return 0;
}

/* A gone line: what was made after @after in its map comes back, and the nodes of its list. */
static int freed_take_map(struct freed *freed, const struct outcome *outcome, uint32_t after)
{
    const struct line *line = outcome->shown_by;
    if (!line)
        return 0; /* it walks already: the same with and without the names */
    struct own_count own = {.after = after};
    struct tree_visit visit = {.node = own_node, .entry = own_entry, .opaque = &own};
    line_lock(line);
    int r = tree_visit(freed->pool, &line->map, &visit);
    line_unlock(line);
    freed->data_blks += own.data;
    freed->node_blks += own.nodes;
    return r;
}

static int freed_take_list(struct freed *freed, const struct line *line)
{
    struct tree_visit visit = {.node = all_nodes, .opaque = &freed->node_blks};
    line_lock(line);
    int r = tree_visit(freed->pool, &line->drops, &visit);
    line_unlock(line);
    return r;
}

/* ---- outcomes ------------------------------------------------------------------------------ */

static bool freed_is_named(const struct freed *freed, const struct lun_object *object)
{
    for (size_t i = 0; i < freed->name_count; i++)
    {
        if (freed->names[i] == object)
            return true;
    }
    return false;
}

static bool freed_is_seen(const struct freed *freed, const struct line *line)
{
    if (line->lun)
        return !freed_is_named(freed, line->lun);
    list_for_each (snapshot, &line->snapshots, struct lun_object, point_link)
    {
        if (!freed_is_named(freed, snapshot))
            return true;
    }
    return false;
}

static struct outcome *freed_outcome(struct freed *freed, const struct line *line)
{
    size_t low = 0, high = freed->count;
    while (low < high)
    {
        size_t middle = (low + high) / 2;
        if (freed->outcomes[middle].line->object.id > line->object.id)
            low = middle + 1;
        else
            high = middle;
    }
    return &freed->outcomes[low];
}

/* @dropped: of a point that nobody sees, by everyone behind it. Own ones come back, others are
 * passed on with what the point itself has dropped. */
static int freed_settle(struct freed *freed, struct outcome *outcome, const struct pieces *dropped)
{
    for (size_t i = 0; i < dropped->count; i++)
    {
        const struct piece *piece = &dropped->items[i];
        if (line_owns(outcome->line, piece->birth))
            *(piece->is_node ? &freed->node_blks : &freed->data_blks) += piece->len;
        else if (pieces_add(&outcome->dropped, *piece) < 0)
            return -ENOMEM;
    }
    int r = pieces_load(freed->pool, outcome->line, &outcome->dropped);
    if (outcome->dropped.count > 0)
        qsort(outcome->dropped.items, outcome->dropped.count, sizeof(struct piece), compare_pieces);
    return r;
}

/* A point that nobody sees and whose children all go: one of them stands for it. */
static int freed_point_gone(struct freed *freed, struct outcome *outcome)
{
    struct outcome *heir = NULL;
    int r = 0;
    list_for_each (child, &outcome->line->children, struct line, child_link)
    {
        struct outcome *of_child = freed_outcome(freed, child);
        if (!heir && of_child->shown_by)
        {
            heir = of_child;
            continue;
        }
        r = keep_first(r, freed_take_map(freed, of_child, outcome->line->frozen_at));
    }
    outcome->is_gone = true;
    outcome->shown_by = heir ? heir->shown_by : outcome->line->is_walking ? NULL : outcome->line;
    if (r == 0 && heir)
        r = freed_settle(freed, outcome, &heir->dropped);
    else if (r == 0 && outcome->shown_by && outcome->wants_pieces)
        r = pieces_load(freed->pool, outcome->line, &outcome->dropped);
    return r;
}

/* A point that nobody sees and that somebody still stands on. */
static int freed_point_hidden(struct freed *freed, struct outcome *outcome)
{
    struct pieces common = {0};
    bool is_first = true;
    int r = 0;
    list_for_each (child, &outcome->line->children, struct line, child_link)
    {
        struct outcome *of_child = freed_outcome(freed, child);
        if (of_child->is_gone)
        {
            r = keep_first(r, freed_take_map(freed, of_child, outcome->line->frozen_at));
            continue;
        }
        struct pieces both = {0};
        r = keep_first(r, pieces_intersect(is_first ? &of_child->dropped : &common,
                                           &of_child->dropped, &both));
        pieces_destroy(&common);
        common = both;
        is_first = false;
    }
    if (r == 0)
        r = freed_settle(freed, outcome, &common);
    pieces_destroy(&common);
    return r;
}

static int freed_point(struct freed *freed, struct outcome *outcome)
{
    struct line *line = outcome->line;
    bool all_gone = true;
    list_for_each (child, &line->children, struct line, child_link)
        all_gone &= freed_outcome(freed, child)->is_gone;
    if (!freed_is_seen(freed, line))
        return all_gone ? freed_point_gone(freed, outcome) : freed_point_hidden(freed, outcome);
    int r = 0;
    list_for_each (child, &line->children, struct line, child_link)
    {
        struct outcome *of_child = freed_outcome(freed, child);
        if (of_child->is_gone)
            r = keep_first(r, freed_take_map(freed, of_child, line->frozen_at));
    }
    if (r == 0 && outcome->wants_pieces)
        r = pieces_load(freed->pool, line, &outcome->dropped);
    return r;
}

static int freed_line(struct freed *freed, struct outcome *outcome)
{
    struct line *line = outcome->line;
    int r = 0;
    outcome->wants_pieces = line->predecessor && !freed_is_seen(freed, line->predecessor);
    if (line->frozen_at != 0)
        r = freed_point(freed, outcome);
    else if (!freed_is_seen(freed, line))
        outcome->is_gone = true, outcome->shown_by = line->is_walking ? NULL : line;
    if (r == 0 && line->frozen_at == 0 && outcome->wants_pieces)
        r = pieces_load(freed->pool, line, &outcome->dropped);
    if (r == 0 && outcome->is_gone && !line->is_walking)
        r = freed_take_list(freed, line);
    /* Nothing below it: all that its map made comes back. */
    if (r == 0 && outcome->is_gone && !line->predecessor)
        r = freed_take_map(freed, outcome, 0);
    return r;
}

/* ---- the question -------------------------------------------------------------------------- */

static int compare_outcomes(const void *a, const void *b)
{
    const struct outcome *x = a, *y = b;
    return x->line->object.id > y->line->object.id ? -1 : x->line->object.id < y->line->object.id;
}

static int freed_run(struct freed *freed, size_t name_count, uint64_t *data, uint64_t *nodes)
{
    freed->name_count = name_count;
    freed->data_blks = freed->node_blks = 0;
    int r = 0;
    for (size_t i = 0; r == 0 && i < freed->count; i++)
    {
        struct line *line = freed->outcomes[i].line;
        freed->outcomes[i] = (struct outcome){.line = line};
        r = freed_line(freed, &freed->outcomes[i]);
    }
    for (size_t i = 0; i < freed->count; i++)
        pieces_destroy(&freed->outcomes[i].dropped);
    *data = freed->data_blks;
    *nodes = freed->node_blks;
    return r;
}

/* All lines, falling ids. Lines of other trees cost no more than a look: nothing of them is gone.
 */
static int freed_collect(struct freed *freed)
{
    freed->outcomes = calloc(freed->pool->line_count + 1, sizeof(*freed->outcomes));
    if (!freed->outcomes)
        return -ENOMEM;
    list_for_each (line, &freed->pool->lines, struct line, all_link)
        freed->outcomes[freed->count++].line = line;
    qsort(freed->outcomes, freed->count, sizeof(*freed->outcomes), compare_outcomes);
    return 0;
}

static int freed_find_names(struct freed *freed, const char *const *names, size_t count,
                            struct reason *why)
{
    for (size_t i = 0; i < count; i++)
    {
        freed->names[i] = catalog_find_lun(freed->pool, names[i]);
        if (!freed->names[i])
            return info_no_such(freed->pool, names[i], why);
    }
    return 0;
}

int lun_freed_if_deleted(struct pool *pool, const char *const *names, size_t count,
                         uint64_t *data_bytes, uint64_t *metadata_bytes, struct reason *why)
{
    reason_clear(why);
    if (count > LUN_SET_MAX)
        return reason_set(why, -EINVAL, "at most %d names can be asked about at once", LUN_SET_MAX);
    AUTO_FREE const struct lun_object **objects = calloc(count + 1, sizeof(*objects));
    if (!objects)
        return -ENOMEM;
    struct freed freed = {.pool = pool, .names = objects};
    AUTO_LOCK(&pool->management);
    int r = freed_find_names(&freed, names, count, why);
    if (r == 0)
        r = freed_collect(&freed);
    uint64_t data = 0, nodes = 0, data_before = 0, nodes_before = 0;
    if (r == 0)
        r = freed_run(&freed, 0, &data_before, &nodes_before);
    if (r == 0)
        r = freed_run(&freed, count, &data, &nodes);
    free(freed.outcomes);
    if (r < 0)
        return r;
    *data_bytes = (data - data_before) * BLK_BYTES;
    *metadata_bytes = (nodes > nodes_before ? nodes - nodes_before : 0) * BLK_BYTES;
    return 0;
}
