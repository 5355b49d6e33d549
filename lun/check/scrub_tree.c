/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The scrub of trees: nodes of maps, of drop lists and of the pages tree, and the pages.
 *
 * A step looks down a tree from its root, under the gate, to some children of one inner node, and
 * reads them in an epoch that began there. The next step begins at the key behind them, in whatever
 * the tree is by then. Nodes are shared: what was read once is left out. An inner node counts as
 * read only when it was part of the tree from the first to the last of its children; else another
 * tree may still have children of it that this one has left.
 *
 * Lines go by rising ids: what a line has, only younger ones can get from it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/check/scrub_internal.h"
#include "lun/check/walk.h"
#include "lun/map/lineage.h"
#include "lun/volume/catalog.h"

/* A block that a step has found and is going to read. */
struct scrub_target
{
    struct node_ref ref;
    unsigned level;
    struct tree_key low, high;
};

struct scrub_found
{
    struct tree tree;
    bool is_map; /* of a line; else nobody shares it */
    struct scrub_target targets[SCRUB_BATCH + DISK_LEVELS_MAX];
    unsigned count;
    struct scrub_target missing; /* not in memory; blk 0: all was found */
    int missing_error;           /* or it is there, and does not fit */
};

/* ---- what was read ------------------------------------------------------------------------- */

static bool scrub_was_visited(const struct scrub *scrub, uint64_t blk)
{
    uint64_t g = blk / scrub->pool->group_blks, bit = blk % scrub->pool->group_blks;
    return g < scrub->visited_groups && scrub->visited[g] &&
           (scrub->visited[g][bit / 64] >> (bit % 64) & 1);
}

/* Without memory it is read again, if something else has it too. */
static void scrub_set_visited(struct scrub *scrub, uint64_t blk)
{
    uint64_t g = blk / scrub->pool->group_blks, bit = blk % scrub->pool->group_blks;
    if (g >= scrub->visited_groups)
        return; /* the pool has grown meanwhile */
    if (!scrub->visited[g])
        scrub->visited[g] = calloc(div_round_up(scrub->pool->group_blks, 64), 8);
    if (scrub->visited[g])
        scrub->visited[g][bit / 64] |= UINT64_C(1) << (bit % 64);
}

/* ---- who is hit ---------------------------------------------------------------------------- */

/* LUNs and snapshots whose maps have a damaged node, in words. */
struct scrub_users
{
    char text[300];
    char first[2 * LUN_NAME_MAX + 2];
    unsigned named, count;
};

/* A LUN and its line, or two of a group, may be on one page. */
static bool users_has(const struct scrub_users *users, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = users->text; (at = strstr(at, name)); at += len)
    {
        bool begins = at == users->text || at[-1] == ' ';
        if (begins && (at[len] == '\0' || at[len] == ','))
            return true;
    }
    return false;
}

static void users_add(struct scrub_users *users, const char *name)
{
    enum
    {
        NAMED = 3
    };
    size_t len = strlen(users->text);
    if (users_has(users, name))
        return;
    if (users->count++ == 0)
        snprintf(users->first, sizeof(users->first), "%s", name);
    if (users->named >= NAMED || len + strlen(name) + 3 > sizeof(users->text))
        return;
    users->named++;
    snprintf(users->text + len, sizeof(users->text) - len, "%s%s", len ? ", " : "", name);
}

/* Those that show @line; a hidden point or a deleted LUN: none. */
static void users_add_line(struct scrub_users *users, const struct line *line)
{
    if (line->lun)
        users_add(users, line->lun->name);
    list_for_each (snapshot, &line->snapshots, struct lun_object, point_link)
        users_add(users, snapshot->name);
}

static void users_conclude(struct scrub_users *users)
{
    size_t len = strlen(users->text);
    if (users->count > users->named)
        snprintf(users->text + len, sizeof(users->text) - len, "%s%u more", len ? " and " : "",
                 users->count - users->named);
}

static unsigned child_index(const struct disk_node *disk, struct tree_key key)
{
    unsigned count = le16_get(disk->count), i = 0;
    while (i + 1 < count && tree_key_compare(tree_child_key(&disk->children[i + 1]), key) <= 0)
        i++;
    return i;
}

/* Whether @target is in @tree where it was found; under the gate. What is not in memory, or cannot
 * be, counts as it stands above it. */
static int users_tree_has(struct tree_op *op, const struct tree *tree,
                          const struct scrub_target *target, bool *has)
{
    struct node_ref ref = tree->root;
    *has = false;
    if (ref.blk == 0)
        return 0;
    for (unsigned level = tree->levels - 1u; level >= target->level; level--)
    {
        if (ref.blk == target->ref.blk && ref.cp_id == target->ref.cp_id)
            *has = true;
        if (*has || level == target->level || level == 0)
            return 0;
        struct node *node;
        int r = tree_op_get(op, ref, tree->kind, &node);
        if (r < 0)
            return r;
        if (node->disk->level != level)
            return 0;
        ref = tree_child_ref(&node->disk->children[child_index(node->disk, target->low)]);
    }
    return 0;
}

static int users_look(struct scrub *scrub, uint64_t line_id, const struct scrub_target *target,
                      struct scrub_users *users)
{
    struct pool *pool = scrub->pool;
    AUTO_TREE_OP struct tree_op op;
    tree_op_init(&op, pool);
    for (;;)
    {
        bool has = false;
        rwlock_take_exclusive(&pool->cp_gate);
        const struct line *line = catalog_find_line(pool, line_id);
        bool is_seen = line && (line->lun || line->snapshot_count > 0);
        int r = is_seen ? users_tree_has(&op, &line->map, target, &has) : 0;
        if (has)
            users_add_line(users, line);
        rwlock_release(&pool->cp_gate);
        if (r == -EAGAIN)
            r = tree_op_load(&op);
        else
            return r;
        if (r == -EBADMSG || r == -EIO)
            return 0; /* it has a finding of its own */
        if (r < 0)
            return r;
    }
}

/* All users of a node of a map, as long as there are not too many findings to look for them all. */
static int users_find(struct scrub *scrub, const struct scrub_target *target, bool is_map,
                      struct scrub_users *users)
{
    struct pool *pool = scrub->pool;
    *users = (struct scrub_users){.text = ""};
    int r = 0;
    if (is_map && scrub->info.damaged_blks < SCRUB_NAMED_MAX)
    {
        for (size_t i = 0; r == 0 && i < scrub->line_count; i++)
            r = users_look(scrub, scrub->lines[i], target, users);
    }
    else
    {
        rwlock_take_exclusive(&pool->cp_gate);
        const struct line *line = catalog_find_line(pool, scrub->walk.line_id);
        if (line)
            users_add_line(users, line);
        rwlock_release(&pool->cp_gate);
    }
    users_conclude(users);
    return r;
}

/* ---- findings ------------------------------------------------------------------------------ */

/* The part of a LUN that [low, high) of its map is. */
static void scrub_range_text(const struct scrub_target *target, char *text, size_t size)
{
    uint64_t from = target->low.lo * BLK_BYTES;
    if (target->high.hi == UINT32_MAX)
        snprintf(text, size, "bytes %" PRIu64 " to the end", from);
    else
        snprintf(text, size, "bytes %" PRIu64 " to %" PRIu64, from,
                 target->high.lo * BLK_BYTES - 1);
}

/* The index follows from what memory has. */
static int scrub_say_index(struct scrub *scrub, const struct scrub_target *target, int damage)
{
    struct pool *pool = scrub->pool;
    if (pool_may_change(pool) == 0)
    {
        rwlock_take_exclusive(&pool->cp_gate);
        int r = catalog_lose_index(pool, scrub->index);
        rwlock_release(&pool->cp_gate);
        if (r < 0)
            return r;
        scrub->rewritten_pages++;
    }
    scrub->wants_checkpoint = true;
    scrub_say_damage(scrub, NULL, "block %" PRIu64 ", a node of copy %u of the catalog's index, %s",
                     target->ref.blk, scrub->index, scrub_what(damage));
    return 0;
}

static int scrub_say_node(struct scrub *scrub, const struct scrub_found *found,
                          const struct scrub_target *target, int damage)
{
    struct scrub_users users;
    char range[96] = "";
    int r = users_find(scrub, target, found->is_map, &users);
    if (r < 0)
        return r;
    scrub_range_text(target, range, sizeof(range));
    const char *object = users.count ? users.first : NULL;
    const char *names = users.count ? users.text : "what was deleted";
    if (found->tree.kind == DISK_TREE_PAGES)
        return scrub_say_index(scrub, target, damage);
    else if (scrub->walk.in_drops)
        scrub_say_damage(scrub, object,
                         "block %" PRIu64 ", a node of the drop list of %s, %s: its data is whole, "
                         "but not all of its space can be given back",
                         target->ref.blk, names, scrub_what(damage));
    else
        scrub_say_damage(scrub, object,
                         "block %" PRIu64 ", a node of level %u of the map of %s, %s: %s are lost",
                         target->ref.blk, target->level, names, scrub_what(damage), range);
    return 0;
}

/* ---- looking down a tree ------------------------------------------------------------------- */

/* Whether a node is left out: read already, not on the device yet, or free by now. */
static bool scrub_is_left_out(const struct scrub *scrub, const struct line *line,
                              const struct scrub_target *target)
{
    if (line && line->is_walking &&
        walk_has_freed(line, !scrub->walk.in_drops, target->level, target->high))
        return true;
    /* What others have too is theirs to keep: a walk may be the last that still names it. */
    if (line && line->is_walking && !scrub->walk.in_drops && !line_owns(line, target->ref.birth))
        return true;
    return scrub_was_visited(scrub, target->ref.blk);
}

static bool scrub_is_durable(const struct scrub *scrub, struct node_ref ref)
{
    return ref.cp_id <= atomic_load(&scrub->pool->durable_cp_id);
}

static void found_add(struct scrub *scrub, struct scrub_found *found, struct scrub_target target)
{
    if (!scrub_is_durable(scrub, target.ref))
        return;
    if (target.level == 0)
        scrub_set_visited(scrub, target.ref.blk);
    found->targets[found->count++] = target;
}

/* The walk comes to inner node @target, or is in it still. */
static void scrub_enter(struct scrub *scrub, struct scrub_found *found, struct scrub_target target)
{
    struct scrub_inner *inner = &scrub->walk.inner[target.level];
    if (inner->ref.blk == target.ref.blk && inner->ref.cp_id == target.ref.cp_id)
        return;
    *inner = (struct scrub_inner){.ref = target.ref,
                                  .is_whole = tree_key_compare(scrub->walk.at, target.low) <= 0};
    found_add(scrub, found, target);
}

/* The walk goes on at @at, which is the end of the inner nodes that end there. */
static void scrub_go_to(struct scrub *scrub, const struct scrub_target *path, unsigned lowest,
                        unsigned levels, struct tree_key at)
{
    struct scrub_walk *walk = &scrub->walk;
    for (unsigned level = lowest ? lowest : 1; level < levels; level++)
    {
        if (tree_key_compare(path[level].high, at) > 0)
            break;
        if (walk->inner[level].is_whole && scrub_is_durable(scrub, walk->inner[level].ref))
            scrub_set_visited(scrub, walk->inner[level].ref.blk);
        walk->inner[level] = (struct scrub_inner){0};
    }
    walk->at = at;
    walk->is_over = tree_key_compare(at, TREE_KEY_END) == 0;
}

static struct scrub_target child_target(const struct disk_node *disk, unsigned i,
                                        const struct scrub_target *parent)
{
    return (struct scrub_target){
        .ref = tree_child_ref(&disk->children[i]),
        .level = parent->level - 1,
        .low = i == 0 ? parent->low : tree_child_key(&disk->children[i]),
        .high =
            i + 1u < le16_get(disk->count) ? tree_child_key(&disk->children[i + 1]) : parent->high,
    };
}

/* Some leaves below @path[1]. */
static void scrub_take_leaves(struct scrub *scrub, struct scrub_found *found,
                              const struct line *line, const struct disk_node *disk,
                              const struct scrub_target *path, unsigned levels)
{
    struct tree_key at = scrub->walk.at;
    unsigned count = le16_get(disk->count);
    for (unsigned i = child_index(disk, at), taken = 0; i < count && taken < SCRUB_BATCH;
         i++, taken++)
    {
        struct scrub_target target = child_target(disk, i, &path[1]);
        if (!scrub_is_left_out(scrub, line, &target))
            found_add(scrub, found, target);
        at = target.high;
    }
    scrub_go_to(scrub, path, 1, levels, at);
}

/* With the gate: what is to be read next in @tree. Goes on only if nothing is missing. */
static void scrub_look_down(struct scrub *scrub, const struct line *line, const struct tree *tree,
                            struct scrub_found *found)
{
    struct scrub_target path[DISK_LEVELS_MAX];
    unsigned level = tree->levels - 1u;
    path[level] = (struct scrub_target){.ref = tree->root, .level = level, .high = TREE_KEY_END};
    for (;; level--)
    {
        if (scrub_is_left_out(scrub, line, &path[level]))
        {
            scrub_go_to(scrub, path, level + 1, tree->levels, path[level].high);
            return;
        }
        if (level == 0) /* the root is a leaf */
        {
            found_add(scrub, found, path[0]);
            scrub_go_to(scrub, path, 1, tree->levels, path[0].high);
            return;
        }
        struct node *node = cache_find(scrub->pool->cache, path[level].ref);
        int r = node ? tree_verify_place(node, level, path[level].low, path[level].high) : -EAGAIN;
        if (r < 0)
        {
            if (node)
                cache_unpin(scrub->pool->cache, node);
            found->count = 0;
            found->missing = path[level];
            found->missing_error = r;
            memset(scrub->walk.inner, 0, sizeof(scrub->walk.inner)); /* it comes here again */
            return;
        }
        scrub_enter(scrub, found, path[level]);
        if (level == 1)
            scrub_take_leaves(scrub, found, line, node->disk, path, tree->levels);
        else
            path[level - 1] =
                child_target(node->disk, child_index(node->disk, scrub->walk.at), &path[level]);
        cache_unpin(scrub->pool->cache, node);
        if (level == 1)
            return;
    }
}

/* ---- steps --------------------------------------------------------------------------------- */

static int scrub_read_node(struct scrub *scrub, const struct scrub_found *found,
                           const struct scrub_target *target, void *buf)
{
    int r = scrub_read(scrub, target->ref.blk, buf);
    if (r == 0)
        r = disk_node_verify(scrub->pool, buf, target->ref, found->tree.kind);
    struct node node = {.ref = target->ref, .disk = buf};
    return r == 0 ? tree_verify_place(&node, target->level, target->low, target->high) : r;
}

/* An inner node that cannot be read: what is below it is left out. */
static int scrub_skip_missing(struct scrub *scrub, const struct scrub_found *found, int damage)
{
    const struct scrub_target *missing = &found->missing;
    scrub_set_visited(scrub, missing->ref.blk);
    scrub->walk.at = missing->high;
    scrub->walk.is_over = tree_key_compare(missing->high, TREE_KEY_END) == 0;
    memset(scrub->walk.inner, 0, sizeof(scrub->walk.inner));
    return scrub_say_node(scrub, found, missing, damage);
}

/* Inside the epoch: brings in what is missing, or reads what was found. Results go to @damage. */
static int scrub_read_found(struct scrub *scrub, const struct scrub_found *found, int *damage)
{
    struct node *node;
    if (found->missing.ref.blk != 0)
    {
        *damage = found->missing_error;
        if (found->missing_error != -EAGAIN)
            return 0;
        scrub->step_blks++;
        *damage = cache_load(scrub->pool->cache, found->missing.ref, found->tree.kind, &node);
        if (*damage == 0)
            cache_unpin(scrub->pool->cache, node);
        return *damage == -ENOMEM ? *damage : 0;
    }
    AUTO_FREE void *buf = aligned_alloc(BLK_BYTES, BLK_BYTES);
    if (!buf)
        return -ENOMEM;
    for (unsigned i = 0; i < found->count; i++)
        damage[i] = scrub_read_node(scrub, found, &found->targets[i], buf);
    return 0;
}

/* The tree of the walk as it is now; false: there is none any more, or it is dead. */
static bool scrub_tree_now(const struct scrub *scrub, const struct line *line, struct tree *tree)
{
    const struct scrub_walk *walk = &scrub->walk;
    if (walk->line_id == 0)
    {
        /* A root that is impossible counts as lost: the other index leads to all pages. */
        *tree = scrub->pool->pages_trees[scrub->index];
        return tree->root.blk != 0 && tree->levels > 0 && tree->levels <= DISK_LEVELS_MAX;
    }
    if (!line)
        return false;
    *tree = walk->in_drops ? line->drops : line->map;
    bool is_dead = !walk->in_drops && line_is_hidden_point(line) && line->child_count > 0;
    return tree->root.blk != 0 && !is_dead;
}

/* Some blocks of the walk's tree. */
static int scrub_step_tree(struct scrub *scrub)
{
    struct pool *pool = scrub->pool;
    struct scrub_found found = {.is_map = scrub->walk.line_id != 0 && !scrub->walk.in_drops};
    rwlock_take_exclusive(&pool->cp_gate);
    const struct line *line =
        scrub->walk.line_id ? catalog_find_line(pool, scrub->walk.line_id) : NULL;
    if (scrub_tree_now(scrub, line, &found.tree))
        scrub_look_down(scrub, line, &found.tree, &found);
    else
        scrub->walk.is_over = true;
    uint32_t epoch = epoch_enter(pool);
    rwlock_release(&pool->cp_gate);
    int damage[ARRAY_SIZE(found.targets)] = {0};
    int r = scrub_read_found(scrub, &found, damage);
    epoch_leave(pool, epoch);
    if (r == 0 && found.missing.ref.blk != 0 && damage[0] < 0)
        return scrub_skip_missing(scrub, &found, damage[0]);
    for (unsigned i = 0; r == 0 && i < found.count; i++)
    {
        /* An inner one is in memory: what is below it is looked at all the same. */
        if (damage[i] < 0)
            r = scrub_say_node(scrub, &found, &found.targets[i], damage[i]);
    }
    return r;
}

/* ---- pages --------------------------------------------------------------------------------- */

/* A copy of a page. */
struct scrub_page
{
    uint64_t number, blk, cp_id;
    unsigned copy;
    int damage;
};

/* Some copies of the pages from number @from on, all copies of each. With the gate. */
static unsigned pages_find(const struct pool *pool, uint64_t from, struct scrub_page *pages)
{
    unsigned count = 0;
    for (uint64_t number = from; number < pool->page_count && count + PAGE_COPIES <= SCRUB_BATCH;
         number++)
    {
        const struct page *page = pool->pages[number];
        for (unsigned copy = 0; copy < PAGE_COPIES; copy++)
        {
            if (page->blks[copy] != 0)
                pages[count++] = (struct scrub_page){
                    .number = number, .blk = page->blks[copy], .cp_id = page->cp_id, .copy = copy};
        }
    }
    return count;
}

static void users_add_object(struct scrub_users *users, const struct object *object)
{
    switch (object->kind)
    {
    case DISK_OBJECT_LINE:
        users_add_line(users, container_of(object, struct line, object));
        break;
    case DISK_OBJECT_LUN:
    case DISK_OBJECT_SNAPSHOT:
        users_add(users, container_of(object, struct lun_object, object)->name);
        break;
    case DISK_OBJECT_VOLUME:
        users_add(users, container_of(object, struct volume_object, object)->name);
        break;
    case DISK_OBJECT_QTREE:
        users_add(users, container_of(object, struct qtree_object, object)->name);
        break;
    case DISK_OBJECT_VOLUME_SNAPSHOT:
        users_add(users, container_of(object, struct volume_snapshot_object, object)->name);
        break;
    case DISK_OBJECT_STORE:
        users_add(users, "settings"); /* whose names not everybody may see */
        break;
    case DISK_OBJECT_NONE:
        break;
    }
}

/* All objects are in memory, so their page can be written anew. */
static void scrub_say_page(struct scrub *scrub, const struct scrub_page *at)
{
    struct pool *pool = scrub->pool;
    struct scrub_users users = {.text = ""};
    bool may_write = pool_may_change(pool) == 0;
    rwlock_take_exclusive(&pool->cp_gate);
    const struct page *page = at->number < pool->page_count ? pool->pages[at->number] : NULL;
    for (uint32_t i = 0; page && i < page->slot_count; i++)
    {
        if (page->objects[i])
            users_add_object(&users, page->objects[i]);
    }
    if (page && may_write)
        catalog_write_again(pool, at->number);
    rwlock_release(&pool->cp_gate);
    users_conclude(&users);
    scrub->rewritten_pages += may_write;
    scrub->wants_checkpoint = true;
    scrub_say_damage(scrub, users.count ? users.first : NULL,
                     "block %" PRIu64 ", copy %u of page %" PRIu64 " of the catalog (%s), %s",
                     at->blk, at->copy, at->number, users.count ? users.text : "empty",
                     scrub_what(at->damage));
}

/* Reads them while they cannot be written over. */
static int pages_read(struct scrub *scrub, struct scrub_page *pages, unsigned count)
{
    AUTO_FREE void *buf = aligned_alloc(BLK_BYTES, BLK_BYTES);
    if (!buf)
        return -ENOMEM;
    for (unsigned i = 0; i < count; i++)
    {
        struct node_ref ref = {.blk = pages[i].blk, .cp_id = pages[i].cp_id};
        if (!scrub_is_durable(scrub, ref))
            continue;
        int r = scrub_read(scrub, pages[i].blk, buf);
        if (r == 0)
            r = disk_header_verify(scrub->pool, buf, DISK_MAGIC_PAGE, pages[i].blk, pages[i].cp_id);
        pages[i].damage = r;
    }
    return 0;
}

/* 1: there may be more pages behind them. */
static int scrub_step_page_blocks(struct scrub *scrub)
{
    struct pool *pool = scrub->pool;
    struct scrub_page pages[SCRUB_BATCH];
    rwlock_take_exclusive(&pool->cp_gate);
    unsigned count = pages_find(pool, scrub->page, pages);
    uint32_t epoch = epoch_enter(pool);
    rwlock_release(&pool->cp_gate);
    int r = pages_read(scrub, pages, count);
    epoch_leave(pool, epoch);
    for (unsigned i = 0; r == 0 && i < count; i++)
    {
        scrub->page = pages[i].number + 1;
        if (pages[i].damage < 0)
            scrub_say_page(scrub, &pages[i]);
    }
    return r == 0 ? count > 0 : r;
}

int scrub_step_pages(struct scrub *scrub)
{
    if (!scrub->walk.is_over)
    {
        int r = scrub_step_tree(scrub);
        return r < 0 ? r : 1;
    }
    if (scrub->index + 1 < PAGE_COPIES)
    {
        scrub->index++;
        scrub->walk = (struct scrub_walk){0};
        return 1;
    }
    return scrub_step_page_blocks(scrub);
}

/* ---- lines --------------------------------------------------------------------------------- */

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The lines above the last one that was looked at. */
static int scrub_collect_lines(struct scrub *scrub)
{
    struct pool *pool = scrub->pool;
    rwlock_take_shared(&pool->catalog_lock);
    uint64_t *ids = calloc(pool->line_count + 1, sizeof(*ids));
    size_t count = 0;
    list_for_each (line, &pool->lines, struct line, all_link)
    {
        if (ids && line->object.id > scrub->last_line)
            ids[count++] = line->object.id;
    }
    rwlock_release(&pool->catalog_lock);
    if (!ids)
        return -ENOMEM;
    qsort(ids, count, sizeof(*ids), compare_ids);
    free(scrub->lines);
    scrub->lines = ids;
    scrub->line_count = count;
    scrub->line_at = 0;
    scrub->last_line = count ? ids[count - 1] : scrub->last_line;
    return 0;
}

/* To the drop list of the line, or to the next line. False: there is no other. */
static bool scrub_next_tree(struct scrub *scrub)
{
    struct scrub_walk *walk = &scrub->walk;
    if (walk->line_id != 0 && !walk->in_drops)
    {
        *walk = (struct scrub_walk){.line_id = walk->line_id, .in_drops = true};
        return true;
    }
    if (scrub->line_at == scrub->line_count)
        return false;
    *walk = (struct scrub_walk){.line_id = scrub->lines[scrub->line_at++]};
    return true;
}

int scrub_step_lines(struct scrub *scrub)
{
    enum
    {
        LOOKS = 64 /* most lines share all that they have */
    };
    for (unsigned i = 0; i < LOOKS && scrub->step_blks < SCRUB_BATCH; i++)
    {
        if (scrub->walk.is_over && !scrub_next_tree(scrub))
        {
            /* What was made meanwhile may be all that still has what a line had. */
            scrub->walk = (struct scrub_walk){.is_over = true};
            int r = scrub->passes++ < SCRUB_PASSES_MAX ? scrub_collect_lines(scrub) : 0;
            if (r < 0 || scrub->line_at == scrub->line_count)
                return r;
            continue;
        }
        int r = scrub_step_tree(scrub);
        if (r < 0)
            return r;
    }
    return 1;
}
