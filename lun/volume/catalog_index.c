/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The index of the catalog: two trees, each of which leads to one copy of every page.
 *
 * They are changed by checkpoints alone. One that cannot be read is given up and made anew by the
 * next checkpoint: where all copies are is known in memory, from the other tree and from the pages,
 * which name their twins. Nodes below a lost inner one stay taken until a repair.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "lun/base/log.h"
#include "lun/check/repair.h"
#include "lun/pool/pool_internal.h"
#include "lun/volume/catalog_internal.h"
#include "lun/volume/event.h"

void catalog_say_damage(struct pool *pool, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    bool is_mended = pool_may_change(pool) == 0 && !pool->options.read_only;
    if (pool->options.repair)
        repair_say(pool->options.repair, true, "%s; it %s written anew", text,
                   repair_is(pool->options.repair));
    else
        event_add(pool, "error", is_mended ? "metadata.repaired" : "metadata.damaged", NULL, "%s%s",
                  text, is_mended ? "; it is written anew" : "");
}

/* ---- lookups ------------------------------------------------------------------------------- */

int catalog_index_find(struct pool *pool, unsigned copy, uint64_t number, struct tree_op *op,
                       uint64_t *blk, uint64_t *cp_id)
{
    if (repair_page_place(pool->options.repair, number, copy, blk, cp_id))
        return *blk ? 0 : -ENOENT;
    if (pool->index_losses[copy].is_lost)
        return -EBADMSG;
    union disk_entry entry;
    bool found;
    int r;
    while ((r = tree_next(op, &pool->pages_trees[copy], (struct tree_key){.lo = number}, &entry,
                          &found)) == -EAGAIN)
    {
        r = tree_op_load(op);
        if (r < 0)
            return r;
    }
    if (r < 0)
        return r;
    if (!found || le40_get(entry.page.page) != number)
        return -ENOENT;
    *blk = le40_get(entry.page.blk);
    *cp_id = le48_get(entry.page.cp_id);
    return 0;
}

/* ---- losing one ---------------------------------------------------------------------------- */

static int loss_note_node(struct index_loss *loss, struct node_ref ref)
{
    if (loss->count == loss->capacity)
    {
        size_t capacity = loss->capacity ? 2 * loss->capacity : 64;
        struct node_ref *nodes = realloc(loss->nodes, capacity * sizeof(*nodes));
        if (!nodes)
            return -ENOMEM;
        loss->nodes = nodes;
        loss->capacity = capacity;
    }
    loss->nodes[loss->count++] = ref;
    return 0;
}

/* The node and what can be read below it; the depth is bounded by DISK_LEVELS_MAX. One whose bitmap
 * cannot be read now is noted, too: see loss_settle(). -ENOMEM. */
static int loss_note(struct pool *pool, struct index_loss *loss, struct node_ref ref,
                     unsigned level, struct tree_key low, struct tree_key high)
{
    struct node *node;
    bool is_taken = true;
    if (!space_may_hold(pool, ref.blk, 1))
        return 0;
    int r = space_is_allocated(pool->space, ref.blk, &is_taken);
    if (r == -ENOMEM || !is_taken)
        return r;
    r = loss_note_node(loss, ref);
    if (r < 0 || level == 0)
        return r;
    r = cache_load(pool->cache, ref, DISK_TREE_PAGES, &node);
    if (r < 0)
        return r == -ENOMEM ? r : 0;
    const struct disk_node *disk = node->disk;
    unsigned count = tree_verify_place(node, level, low, high) == 0 ? le16_get(disk->count) : 0;
    for (unsigned i = 0; r == 0 && i < count; i++)
        r = loss_note(pool, loss, tree_child_ref(&disk->children[i]), level - 1,
                      i == 0 ? low : tree_child_key(&disk->children[i]),
                      i + 1 < count ? tree_child_key(&disk->children[i + 1]) : high);
    cache_unpin(pool->cache, node);
    return r;
}

int catalog_lose_index(struct pool *pool, unsigned copy)
{
    struct index_loss *loss = &pool->index_losses[copy];
    struct tree *tree = &pool->pages_trees[copy];
    int r = 0;
    if (loss->is_lost)
        return 0;
    /* A repair finds out what is in use without it. */
    if (pool->options.repair)
        *tree = (struct tree){.kind = DISK_TREE_PAGES};
    else if (tree->root.blk != 0 && tree->levels > 0 && tree->levels <= DISK_LEVELS_MAX)
        r = loss_note(pool, loss, tree->root, tree->levels - 1u, (struct tree_key){0},
                      TREE_KEY_END);
    if (r < 0)
    {
        loss->count = 0;
        return r;
    }
    loss->is_lost = true;
    space_owe(pool->space, tree_nodes_max(pool->page_count) + 1);
    return 0;
}

/* Before the nodes are freed: their bitmaps are in memory, and have them as used. One whose bitmap
 * still cannot be read stays taken until a repair. -ENOMEM. */
static int loss_settle(struct pool *pool, struct index_loss *loss)
{
    for (size_t i = loss->count; i-- > 0;)
    {
        bool is_taken = false;
        int r = space_is_allocated(pool->space, loss->nodes[i].blk, &is_taken);
        if (r == -ENOMEM)
            return r;
        if (r < 0 || !is_taken)
            loss->nodes[i] = loss->nodes[--loss->count];
    }
    return 0;
}

/* ---- checkpoints --------------------------------------------------------------------------- */

/* What the switch frees is in bitmaps that are in memory: that may be refused now, and not then. */
static int index_prepare_frees(struct pool *pool, const struct tree_op *op)
{
    int r = 0;
    for (unsigned copy = 0; r == 0 && copy < PAGE_COPIES; copy++)
        r = loss_settle(pool, &pool->index_losses[copy]);
    for (unsigned i = 0; r == 0 && i < op->pinned_count; i++)
        r = space_prepare_free(pool->space, op->pinned[i]->ref.blk);
    list_for_each (page, &pool->dirty_pages, struct page, dirty_link)
    {
        for (unsigned copy = 0; r == 0 && copy < PAGE_COPIES; copy++)
            r = page->blks[copy] ? space_prepare_free(pool->space, page->blks[copy]) : 0;
    }
    return r;
}

int catalog_index_prepare(struct pool *pool, struct tree_op *op)
{
    for (unsigned copy = 0; copy < PAGE_COPIES; copy++)
    {
        pool->index_at = copy;
        list_for_each (page, &pool->dirty_pages, struct page, dirty_link)
        {
            if (pool->index_losses[copy].is_lost)
                break;
            struct tree_key key = {.lo = page->number}, end = {.lo = page->number + 1};
            int r = tree_prepare_range(op, &pool->pages_trees[copy], key, end, 1, NULL);
            if (r == -EBADMSG)
                r = catalog_lose_index(pool, copy);
            if (r < 0)
                return r;
        }
    }
    return index_prepare_frees(pool, op);
}

/* A leaf has half its entries at least, but for the last: pages are numbered without a gap and
 * never taken out. That is twice as many as there are, so inner nodes are in it but for a path. */
static uint64_t index_leaves(uint64_t pages)
{
    return pages / (DISK_LEAF_ENTRIES / 4) + 2;
}

uint64_t catalog_blks_to_write(uint64_t dirty, uint64_t pages)
{
    return PAGE_COPIES * (dirty + min_u64(dirty, index_leaves(pages)));
}

int catalog_index_reserve(struct pool *pool)
{
    uint64_t leaves = index_leaves(pool->page_count), nodes = 0;
    for (unsigned copy = 0; copy < PAGE_COPIES; copy++)
    {
        bool is_lost = pool->index_losses[copy].is_lost;
        nodes += is_lost ? leaves + leaves / 8 : min_u64(leaves, pool->dirty_page_count);
        nodes += UINT64_C(2) * DISK_LEVELS_MAX; /* a path, divided */
    }
    return cache_reserve(pool->cache, (unsigned)nodes);
}

void catalog_index_put(struct pool *pool, struct tree_op *op, unsigned copy,
                       const struct page *page)
{
    struct tree *tree = &pool->pages_trees[copy];
    union disk_entry entry = {.page = {.page = le40_put(page->number),
                                       .blk = le40_put(page->blks[copy]),
                                       .cp_id = le48_put(page->cp_id)}};
    struct tree_key key = {.lo = page->number};
    struct tree_path path;
    op->far_from = copy > 0 ? page->blks[0] : 0;
    tree_change_seek(op, tree, key, &path);
    const struct disk_node *leaf = path.nodes[0]->disk;
    bool is_there =
        path.index[0] < le16_get(leaf->count) &&
        tree_key_compare(tree_entry_key(DISK_TREE_PAGES, &leaf->entries[path.index[0]]), key) == 0;
    tree_change_replace(op, tree, &path, is_there, &entry, 1);
    op->far_from = 0;
}

static void index_renew(struct pool *pool, struct tree_op *op, unsigned copy)
{
    struct index_loss *loss = &pool->index_losses[copy];
    for (size_t i = 0; i < loss->count; i++)
        tree_free_node(op, loss->nodes[i]);
    free(loss->nodes);
    *loss = (struct index_loss){0};
    pool->pages_trees[copy] = (struct tree){.kind = DISK_TREE_PAGES};
    for (uint64_t i = 0; i < pool->page_count; i++)
    {
        /* Dirty ones move, and are entered then. */
        if (pool->pages[i]->blks[copy] != 0 && !pool->pages[i]->is_dirty)
            catalog_index_put(pool, op, copy, pool->pages[i]);
    }
}

void catalog_index_renew(struct pool *pool, struct tree_op *op)
{
    for (unsigned copy = 0; copy < PAGE_COPIES; copy++)
    {
        if (pool->index_losses[copy].is_lost)
            index_renew(pool, op, copy);
    }
}
