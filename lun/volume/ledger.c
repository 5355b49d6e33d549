/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/volume/ledger.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "lun/base/checked.h"
#include "lun/jobs/jobs.h"
#include "lun/map/lineage.h"
#include "lun/pool/space.h"
#include "lun/pool/tree.h"

/* ---- figures ------------------------------------------------------------------------------- */

uint64_t ledger_lun_blks(const struct lun_object *lun)
{
    /* What was cut off is owned until it is unmapped. */
    return div_round_up(max_u64(atomic_load(&lun->size_bytes), lun->trim_end_bytes), BLK_BYTES);
}

uint64_t ledger_volume_blks(const struct volume_object *volume)
{
    return volume->size_bytes / BLK_BYTES;
}

uint64_t ledger_point_blks(const struct line *point)
{
    return point->frozen_blks ? point->frozen_blks : atomic_load(&point->mapped_blks);
}

/*
 * The map has an entry for each block at most. A drop list is begun with a head on a point and
 * lives as long as that point is the predecessor: what is ever put into it are blocks and nodes of
 * the point's map, each once, and of these there are no more than the point showed and the map of
 * as much can have. A LUN that was larger as a point than it is now can drop as much as it was.
 */
uint64_t ledger_nodes_max(uint64_t size_blks, bool has_point, uint64_t point_blks)
{
    uint64_t nodes = tree_nodes_max(size_blks);
    if (!has_point)
        return nodes;
    uint64_t dropped = max_u64(size_blks, point_blks);
    return nodes + tree_nodes_max(dropped + tree_nodes_max(dropped));
}

uint64_t ledger_fresh_needs(uint64_t size_blks, bool has_point, uint64_t point_blks)
{
    return size_blks + ledger_nodes_max(size_blks, has_point, point_blks);
}

static uint64_t ledger_rest(uint64_t of, uint64_t own)
{
    return of > own ? of - own : 0;
}

static uint64_t ledger_needs_beyond(const struct line *line, uint64_t size_blks, uint64_t nodes_max)
{
    return ledger_rest(size_blks, atomic_load_explicit(&line->own_blks, memory_order_relaxed)) +
           ledger_rest(nodes_max, atomic_load_explicit(&line->own_node_blks, memory_order_relaxed));
}

uint64_t ledger_needs(const struct lun_object *lun, const struct line *line)
{
    const struct line *point = line->predecessor;
    uint64_t size = ledger_lun_blks(lun);
    return ledger_needs_beyond(
        line, size, ledger_nodes_max(size, point != NULL, point ? ledger_point_blks(point) : 0));
}

uint64_t ledger_volume_needs(uint64_t size_blks, bool is_guaranteed, uint64_t charged_blks,
                             uint64_t lun_needs_blks)
{
    uint64_t rest = is_guaranteed ? ledger_rest(size_blks, charged_blks) : 0;
    return max_u64(rest, lun_needs_blks);
}

/* ---- booking ------------------------------------------------------------------------------- */

static bool volume_is_guaranteed(const struct volume_object *volume)
{
    return (volume->flags & DISK_VOLUME_GUARANTEED) != 0;
}

static uint64_t ledger_promised(const struct ledger *ledger)
{
    return ledger->needs_blks + ledger->held_blks +
           (ledger->promise_count > 0 ? ledger->slack_blks : 0);
}

void ledger_publish(struct pool *pool)
{
    struct ledger *ledger = &pool->ledger;
    atomic_store(&pool->keeps_space, ledger->promise_count > 0 || ledger->is_holding);
    space_set_promised(pool->space, max_u64(ledger_promised(ledger), ledger->booking_blks));
}

/* Of the volume's bound, but for writes under way. */
static uint64_t ledger_used(const struct volume_object *volume)
{
    const struct volume_books *books = &volume->books;
    uint64_t used = books->charged_blks + books->lun_needs_blks + books->held_blks;
    if (!books->is_booking)
        return used;
    return max_u64(used, ledger_rest(ledger_volume_blks(volume), books->left_max_blks));
}

void ledger_book_begin(struct pool *pool)
{
    struct ledger *ledger = &pool->ledger;
    if (!ledger->is_holding)
        return; /* changes under management alone */
    AUTO_LOCK(&ledger->lock);
    ledger->booking_blks = ledger_promised(ledger);
    ledger->held_blks = 0;
    list_for_each (volume, &pool->volumes, struct volume_object, all_link)
    {
        struct volume_books *books = &volume->books;
        if (books->held_blks == 0)
            continue;
        books->left_max_blks = ledger_rest(ledger_volume_blks(volume), ledger_used(volume));
        books->is_booking = true;
        books->held_blks = 0;
    }
}

void ledger_let_go(struct pool *pool)
{
    struct ledger *ledger = &pool->ledger;
    if (!ledger->is_holding)
        return;
    AUTO_LOCK(&ledger->lock);
    ledger_let_go_locked(pool);
}

void ledger_let_go_locked(struct pool *pool)
{
    struct ledger *ledger = &pool->ledger;
    if (!ledger->is_holding)
        return;
    ledger->is_holding = false;
    ledger->held_blks = ledger->booking_blks = 0;
    list_for_each (volume, &pool->volumes, struct volume_object, all_link)
    {
        volume->books.held_blks = 0;
        volume->books.is_booking = false;
    }
    ledger_publish(pool);
}

static void ledger_book_volume(struct pool *pool, struct volume_object *volume)
{
    struct ledger *ledger = &pool->ledger;
    struct volume_books *books = &volume->books;
    uint64_t needs = ledger_volume_needs(ledger_volume_blks(volume), volume_is_guaranteed(volume),
                                         books->charged_blks, books->lun_needs_blks);
    ledger->needs_blks += needs - books->needs_blks;
    books->needs_blks = needs;
    ledger->promise_count +=
        (uint64_t)volume_is_guaranteed(volume) - (uint64_t)books->is_guaranteed;
    books->is_guaranteed = volume_is_guaranteed(volume);
}

static void ledger_add_lun_needs(struct pool *pool, struct volume_object *volume, uint64_t delta)
{
    if (!volume)
    {
        pool->ledger.needs_blks += delta;
        return;
    }
    volume->books.lun_needs_blks += delta;
    ledger_book_volume(pool, volume);
}

/* The most nodes follow from sizes, which seldom change. */
static uint64_t ledger_lun_nodes_max(struct lun_object *lun, uint64_t size_blks)
{
    struct lun_books *books = &lun->books;
    const struct line *point = lun->line->predecessor;
    uint64_t point_blks = point ? ledger_point_blks(point) : 0;
    if (books->size_blks != size_blks || books->point_blks != point_blks ||
        books->has_point != (point != NULL))
    {
        books->size_blks = size_blks;
        books->point_blks = point_blks;
        books->has_point = point != NULL;
        books->nodes_max = ledger_nodes_max(size_blks, point != NULL, point_blks);
    }
    return books->nodes_max;
}

static void ledger_book_lun(struct pool *pool, struct lun_object *lun)
{
    struct lun_books *books = &lun->books;
    bool is_reserved = atomic_load(&lun->is_reserved);
    if (!is_reserved && !books->is_reserved)
        return;
    uint64_t needs = 0, booked = atomic_load(&books->needs_blks);
    if (is_reserved)
    {
        uint64_t size_blks = ledger_lun_blks(lun);
        needs = ledger_needs_beyond(lun->line, size_blks, ledger_lun_nodes_max(lun, size_blks));
    }
    if (books->volume != lun->volume)
    {
        ledger_add_lun_needs(pool, books->volume, -booked);
        books->volume = lun->volume;
        booked = 0;
    }
    ledger_add_lun_needs(pool, books->volume, needs - booked);
    atomic_store(&books->needs_blks, needs);
    pool->ledger.promise_count += (uint64_t)is_reserved - (uint64_t)books->is_reserved;
    books->is_reserved = is_reserved;
}

static void ledger_book_line(struct pool *pool, struct line *line)
{
    struct line_books *books = &line->books;
    struct volume_object *old = books->volume, *volume = line->volume;
    uint64_t charged = 0;
    if (volume)
        charged = atomic_load_explicit(&line->own_blks, memory_order_relaxed) +
                  atomic_load_explicit(&line->own_node_blks, memory_order_relaxed);
    if (old && old != volume)
    {
        old->books.charged_blks -= books->charged_blks;
        ledger_book_volume(pool, old);
        books->charged_blks = 0;
    }
    books->volume = volume;
    if (volume)
    {
        volume->books.charged_blks += charged - books->charged_blks;
        ledger_book_volume(pool, volume);
    }
    books->charged_blks = charged;
    if (line->lun && line->lun->line == line)
        ledger_book_lun(pool, line->lun);
}

/* A merge that waited for the volume's guarantee to end may be possible now. A line that is on its
 * way out has no children any more. */
static void ledger_kick(struct pool *pool, struct line *line)
{
    if (line_is_hidden_point(line) && line->child_count > 0)
        jobs_kick(pool, line);
    if (line->predecessor && line_is_hidden_point(line->predecessor))
        jobs_kick(pool, line->predecessor);
}

void ledger_line(struct pool *pool, struct line *line)
{
    if (pool->is_loading)
        return; /* ledger_load() books all */
    bool is_moved;
    {
        AUTO_LOCK(&pool->ledger.lock);
        is_moved = line->books.volume != line->volume;
        ledger_book_line(pool, line);
        ledger_publish(pool);
    }
    if (is_moved)
        ledger_kick(pool, line);
}

void ledger_lun(struct pool *pool, struct lun_object *lun)
{
    if (pool->is_loading || lun->object.kind != DISK_OBJECT_LUN)
        return;
    AUTO_LOCK(&pool->ledger.lock);
    ledger_book_lun(pool, lun);
    ledger_publish(pool);
}

void ledger_forget_lun(struct pool *pool, struct lun_object *lun)
{
    struct lun_books *books = &lun->books;
    AUTO_LOCK(&pool->ledger.lock);
    ledger_add_lun_needs(pool, books->volume, -atomic_load(&books->needs_blks));
    atomic_store(&books->needs_blks, 0);
    pool->ledger.promise_count -= books->is_reserved;
    books->is_reserved = false;
    books->volume = NULL;
    ledger_publish(pool);
}

void ledger_volume(struct pool *pool, struct volume_object *volume)
{
    if (pool->is_loading)
        return;
    bool is_released;
    {
        AUTO_LOCK(&pool->ledger.lock);
        is_released = volume->books.is_guaranteed && !volume_is_guaranteed(volume);
        ledger_book_volume(pool, volume);
        ledger_publish(pool);
    }
    list_for_each (line, &volume->lines, struct line, volume_link)
    {
        if (is_released)
            ledger_kick(pool, line);
    }
}

void ledger_forget_volume(struct pool *pool, struct volume_object *volume)
{
    AUTO_LOCK(&pool->ledger.lock);
    pool->ledger.needs_blks -= volume->books.needs_blks;
    pool->ledger.promise_count -= volume->books.is_guaranteed;
    ledger_publish(pool);
}

void ledger_load(struct pool *pool)
{
    AUTO_LOCK(&pool->ledger.lock);
    list_for_each (line, &pool->lines, struct line, all_link)
        ledger_book_line(pool, line);
    list_for_each (volume, &pool->volumes, struct volume_object, all_link)
        ledger_book_volume(pool, volume);
    ledger_publish(pool);
}

bool ledger_has_promises(struct pool *pool)
{
    AUTO_LOCK(&pool->ledger.lock);
    return pool->ledger.promise_count > 0;
}

/* ---- checking ------------------------------------------------------------------------------ */

struct ledger_recount
{
    uint64_t needs_blks, promise_count;
    ledger_say_fn *say;
    void *opaque;
};

static void ledger_compare(const struct ledger_recount *recount, const char *whose,
                           const char *what, uint64_t booked, uint64_t is)
{
    char text[512];
    if (booked == is)
        return;
    snprintf(text, sizeof(text),
             "%s: %s is %" PRIu64 " in the ledger of promises, must be %" PRIu64, whose, what,
             booked, is);
    recount->say(recount->opaque, text);
}

static uint64_t ledger_recount_lun(struct ledger_recount *recount, const struct lun_object *lun)
{
    bool is_reserved = atomic_load(&lun->is_reserved);
    uint64_t needs = is_reserved ? ledger_needs(lun, lun->line) : 0;
    recount->promise_count += is_reserved;
    ledger_compare(recount, lun->name, "what the LUN needs", atomic_load(&lun->books.needs_blks),
                   needs);
    return needs;
}

static void ledger_recount_volume(struct ledger_recount *recount,
                                  const struct volume_object *volume)
{
    uint64_t charged = 0, lun_needs = 0;
    list_for_each (line, &volume->lines, struct line, volume_link)
        charged += atomic_load(&line->own_blks) + atomic_load(&line->own_node_blks);
    list_for_each (lun, &volume->luns, struct lun_object, volume_link)
        lun_needs += ledger_recount_lun(recount, lun);
    const struct volume_books *books = &volume->books;
    bool is_guaranteed = volume_is_guaranteed(volume);
    uint64_t needs =
        ledger_volume_needs(ledger_volume_blks(volume), is_guaranteed, charged, lun_needs);
    ledger_compare(recount, volume->name, "what the volume is charged", books->charged_blks,
                   charged);
    ledger_compare(recount, volume->name, "what its LUNs need", books->lun_needs_blks, lun_needs);
    ledger_compare(recount, volume->name, "what the volume needs", books->needs_blks, needs);
    recount->needs_blks += needs;
    recount->promise_count += is_guaranteed;
}

void ledger_check(struct pool *pool, ledger_say_fn *say, void *opaque)
{
    struct ledger_recount recount = {.say = say, .opaque = opaque};
    AUTO_LOCK(&pool->ledger.lock);
    list_for_each (volume, &pool->volumes, struct volume_object, all_link)
        ledger_recount_volume(&recount, volume);
    list_for_each (lun, &pool->luns, struct lun_object, all_link)
    {
        if (!lun->volume)
            recount.needs_blks += ledger_recount_lun(&recount, lun);
    }
    const struct ledger *ledger = &pool->ledger;
    ledger_compare(&recount, "the pool", "what is promised", ledger->needs_blks,
                   recount.needs_blks);
    ledger_compare(&recount, "the pool", "the number of promises", ledger->promise_count,
                   recount.promise_count);
    struct space_stats stats;
    space_get_stats(pool->space, &stats);
    if (ledger->promise_count > 0 &&
        stats.promised_blks > stats.free_blks + stats.deferred_blks + stats.taken_blks)
        ledger_compare(&recount, "the pool", "the space that all promises need",
                       stats.promised_blks,
                       stats.free_blks + stats.deferred_blks + stats.taken_blks);
}

/* ---- writes -------------------------------------------------------------------------------- */

enum space_use ledger_use(const struct lun_object *lun)
{
    if (atomic_load_explicit(&lun->is_reserved, memory_order_relaxed))
        return SPACE_PROMISED;
    return lun->volume && volume_is_guaranteed(lun->volume) ? SPACE_PROMISED : SPACE_THIN;
}

static bool ledger_has_bound(const struct lun_object *lun)
{
    return lun->volume && lun->volume->size_bytes > 0 &&
           !atomic_load_explicit(&lun->is_reserved, memory_order_relaxed);
}

int ledger_take(struct pool *pool, const struct lun_object *lun, uint64_t blks,
                struct ledger_claim *claim)
{
    *claim = (struct ledger_claim){0};
    if (!ledger_has_bound(lun))
        return 0;
    struct volume_books *books = &lun->volume->books;
    AUTO_LOCK(&pool->ledger.lock);
    uint64_t bound = ledger_volume_blks(lun->volume);
    if (bound == 0)
        return 0; /* there is none since */
    if (ledger_used(lun->volume) + books->taken_blks + blks > bound)
    {
        atomic_store(&pool->volume_refused_ms, env_passed_ns(pool->env) / 1000000);
        return -EDQUOT;
    }
    books->taken_blks += blks;
    *claim = (struct ledger_claim){.volume = lun->volume, .blks = blks};
    return 0;
}

void ledger_give(struct pool *pool, const struct ledger_claim *claim)
{
    if (!claim->volume)
        return;
    AUTO_LOCK(&pool->ledger.lock);
    claim->volume->books.taken_blks -= claim->blks;
}

/* ---- merging ------------------------------------------------------------------------------- */

static struct line *ledger_only_child(const struct line *point)
{
    return container_of(point->children.next, struct line, child_link);
}

bool ledger_is_bound(const struct line *point)
{
    return point->child_count == 1 && point->volume && volume_is_guaranteed(point->volume) &&
           ledger_only_child(point)->volume != point->volume &&
           !lineage_is_leaf(ledger_only_child(point));
}

/* What leaves a volume's charge with a dying line becomes free only behind it: until then the
 * volume is promised as much elsewhere. */
static int ledger_may_leave(struct pool *pool, const struct line *point, const struct line *child)
{
    const struct volume_object *volume = point->volume;
    uint64_t more, available;
    if (!volume || child->volume == volume)
        return 0;
    {
        AUTO_LOCK(&pool->ledger.lock);
        const struct volume_books *books = &volume->books;
        uint64_t needs = ledger_volume_needs(
            ledger_volume_blks(volume), volume_is_guaranteed(volume),
            books->charged_blks - point->books.charged_blks, books->lun_needs_blks);
        more = needs - books->needs_blks;
    }
    return more == 0 ? 0 : space_raise_promised(pool->space, more, 0, &available);
}

int ledger_may_merge(struct pool *pool, const struct line *point)
{
    if (ledger_is_bound(point))
        return -EBUSY;
    const struct line *child = ledger_only_child(point);
    const struct lun_object *lun = child->lun;
    if (lineage_is_leaf(child) && !pool->is_recovering)
        return ledger_may_leave(pool, point, child);
    if (pool->is_recovering || !lun || !atomic_load(&lun->is_reserved))
        return 0;
    /* Its drops are the point's from then on, and so is what it may still drop. */
    struct line merged = {.predecessor = point->predecessor};
    atomic_store(&merged.own_blks, atomic_load(&child->own_blks) + atomic_load(&point->own_blks));
    atomic_store(&merged.own_node_blks,
                 atomic_load(&child->own_node_blks) + atomic_load(&point->own_node_blks));
    uint64_t needs = ledger_needs(lun, &merged), booked = atomic_load(&lun->books.needs_blks);
    uint64_t available;
    return needs <= booked ? 0 : space_raise_promised(pool->space, needs - booked, 0, &available);
}
