/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A line's own blocks and nodes are in its map and its drop list, save for a hidden point with
 * children: its map is dead. What is left of it, each of its children either still uses or has
 * dropped, and so on with the children's children: one way up to a map that is not dead, and the
 * drop lists on this way, name every block once.
 */
#include "lun/check/count.h"

#include <errno.h>
#include <string.h>

#include "lun/base/log.h"
#include "lun/check/walk.h"
#include "lun/map/lineage.h"

struct count
{
    uint32_t after, until; /* births that are counted: above and up to */
    uint64_t data_blks, node_blks;
};

static bool count_is_born(const struct count *count, uint32_t birth)
{
    return birth > count->after && birth <= count->until;
}

static int count_map_node(void *opaque, const struct node *node, unsigned level,
                          struct tree_key low, struct tree_key high)
{
    (void)level, (void)low, (void)high;
    struct count *count = opaque;
    count->node_blks += count_is_born(count, node->ref.birth);
    return node->ref.birth <= count->after; /* and nothing below is younger */
}

static int count_map_entry(void *opaque, const union disk_entry *entry, struct tree_key low,
                           struct tree_key high)
{
    (void)low, (void)high;
    struct count *count = opaque;
    if (count_is_born(count, le32_get(entry->map.birth)))
        count->data_blks += le16_get(entry->map.len_blks);
    return 0;
}

static int count_drop_entry(void *opaque, const union disk_entry *entry, struct tree_key low,
                            struct tree_key high)
{
    (void)low, (void)high;
    struct count *count = opaque;
    const struct disk_drop_entry *drop = &entry->drop;
    if (count_is_born(count, le32_get(drop->birth)))
        *(drop->is_node ? &count->node_blks : &count->data_blks) +=
            (uint64_t)le16_get(drop->len_blks) * le32_get(drop->count);
    return 0;
}

/* All nodes of a private tree. */
static int count_private_node(void *opaque, const struct node *node, unsigned level,
                              struct tree_key low, struct tree_key high)
{
    (void)node, (void)level, (void)low, (void)high;
    struct count *count = opaque;
    count->node_blks++;
    return 0;
}

static bool count_is_dead(const struct line *line)
{
    return line_is_hidden_point(line) && line->child_count > 0;
}

/* A child that tells all: one that has not begun its walk. There is always one (rule 9). */
static const struct line *count_child(const struct line *point)
{
    list_for_each (child, &point->children, struct line, child_link)
    {
        if (!child->is_walking)
            return child;
    }
    return NULL;
}

/* With @count's births set: what lines behind the dead @point say of it. */
static int count_dead(struct pool *pool, const struct line *point, struct count *count)
{
    const struct line *line = point;
    while (count_is_dead(line))
    {
        line = count_child(line);
        if (!line)
            return -EBADMSG;
        struct tree_visit drops = {.entry = count_drop_entry, .opaque = count};
        int r = tree_visit(pool, &line->drops, &drops);
        if (r < 0)
            return r;
    }
    struct tree_visit map = {.node = count_map_node, .entry = count_map_entry, .opaque = count};
    return tree_visit(pool, &line->map, &map);
}

int count_own(struct pool *pool, const struct line *line, uint64_t *data_blks, uint64_t *node_blks)
{
    struct count count = {.after = atomic_load(&line->own_after),
                          .until = line->frozen_at ? line->frozen_at : UINT32_MAX};
    struct tree_visit map = {.node = count_map_node, .entry = count_map_entry, .opaque = &count};
    struct tree_visit drops = {.node = count_private_node, .opaque = &count};
    int r;
    if (count_is_dead(line))
        r = count_dead(pool, line, &count);
    else if (line->is_walking)
        r = tree_visit_unwalked(pool, line, &line->map, &map);
    else
        r = tree_visit(pool, &line->map, &map);
    if (r == 0)
        r = line->is_walking ? tree_visit_unwalked(pool, line, &line->drops, &drops)
                             : tree_visit(pool, &line->drops, &drops);
    if (r < 0)
        return r;
    *data_blks = count.data_blks;
    *node_blks = count.node_blks;
    return 0;
}

void count_own_nodes(struct pool *pool)
{
    list_for_each (line, &pool->lines, struct line, all_link)
    {
        if (!line->is_uncounted)
            continue;
        uint64_t data_blks, node_blks;
        int r = count_own(pool, line, &data_blks, &node_blks);
        if (r == 0)
            atomic_store(&line->own_node_blks, node_blks);
        else
            log_warning("the nodes of line %llu cannot be counted: %s",
                        (unsigned long long)line->object.id, strerror(-r));
    }
}
