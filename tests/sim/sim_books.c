/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The books of promises, kept beside the engine's: who is charged for which line, what points
 * showed, and from that what the pool must keep for whom.
 *
 * Counters of lines (what they own) are the engine's: pool_check() recounts them at the same
 * places. A line is charged to the volume of the LUN whose head it is or was last, for as long as
 * that volume is there. The command that gave a LUN another head may have frozen the one before:
 * what it gave up then was seen by nobody, and is charged as what it stands on.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "lun/map/lineage.h"
#include "lun/pool/pool_internal.h"
#include "lun/pool/space.h"
#include "lun/volume/catalog.h"
#include "tests/sim/sim.h"

enum
{
    BOOKS_MAX = 1 << 20 /* of ids */
};

static struct sim_line *books_line(struct sim *sim, uint64_t id)
{
    struct sim_books *books = &sim->books;
    INVARIANT(id < BOOKS_MAX);
    if (id >= books->count)
    {
        uint64_t count = 2 * id + 64;
        books->lines = realloc(books->lines, count * sizeof(*books->lines));
        INVARIANT(books->lines != NULL);
        memset(books->lines + books->count, 0, (count - books->count) * sizeof(*books->lines));
        books->count = count;
    }
    return &books->lines[id];
}

/* ---- reading ------------------------------------------------------------------------------- */

static bool books_is_lun(const struct oracle_object *object)
{
    return object->name[0] && !strchr(object->name, '@');
}

/* Heads are noted as the oracle has their LUNs; @before, what was noted of them. */
static bool books_note_heads(struct sim *sim, struct oracle *oracle, struct pool *pool,
                             struct sim_line before[ORACLE_OBJECTS_MAX],
                             struct oracle_verdict *verdict)
{
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        const struct oracle_object *object = &oracle->objects[i];
        if (!books_is_lun(object))
            continue;
        const struct lun_object *lun = catalog_find_lun(pool, object->name);
        if (!lun)
            return oracle_refuse(verdict, "%s is not there", object->name);
        const struct oracle_volume *volume = oracle_volume_of(oracle, object);
        struct sim_line *line = books_line(sim, lun->line->object.id);
        before[i] = *line;
        *line = (struct sim_line){.is_known = true,
                                  .volume_serial = volume ? volume->serial : 0,
                                  .shown_blks = (uint32_t)oracle_blks(object)};
    }
    return true;
}

static void books_unnote_heads(struct sim *sim, const struct oracle *oracle, struct pool *pool,
                               const struct sim_line before[ORACLE_OBJECTS_MAX])
{
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        const struct lun_object *lun = books_is_lun(&oracle->objects[i])
                                           ? catalog_find_lun(pool, oracle->objects[i].name)
                                           : NULL;
        if (lun)
            *books_line(sim, lun->line->object.id) = before[i];
    }
}

static void books_read_charges(struct sim *sim, struct oracle *oracle, struct pool *pool,
                               bool adopt)
{
    for (unsigned i = 0; i < ORACLE_VOLUMES; i++)
        oracle->volumes[i].charged_blks = 0;
    list_for_each (line, &pool->lines, struct line, all_link)
    {
        struct sim_line known = *books_line(sim, line->object.id);
        if (!known.is_known && line->predecessor)
            known = *books_line(sim, line->predecessor->object.id);
        if (adopt)
            *books_line(sim, line->object.id) = known;
        for (unsigned i = 0; i < ORACLE_VOLUMES; i++)
        {
            struct oracle_volume *volume = &oracle->volumes[i];
            if (volume->name[0] && known.volume_serial == volume->serial)
                volume->charged_blks +=
                    atomic_load(&line->own_blks) + atomic_load(&line->own_node_blks);
        }
    }
}

static bool books_read_heads(struct sim *sim, struct oracle *oracle, struct pool *pool,
                             struct oracle_verdict *verdict)
{
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        struct oracle_object *object = &oracle->objects[i];
        const struct lun_object *lun =
            object->name[0] ? catalog_find_lun(pool, object->name) : NULL;
        if (!lun)
            continue;
        const struct line *line = lun->line;
        const struct line *point = books_is_lun(object) ? line->predecessor : line;
        object->head = (struct space_rules_head){
            .own_blks = (uint32_t)atomic_load(&line->own_blks),
            .node_blks = (uint32_t)atomic_load(&line->own_node_blks),
            .has_point = point != NULL,
            .point_blks = point ? books_line(sim, point->object.id)->shown_blks : 0};
        object->is_unchanged = books_is_lun(object) && lineage_is_unchanged(line);
        object->tail_sectors = (uint32_t)(lun->trim_end_bytes / ORACLE_SECTOR_BYTES);
        if (object->tail_sectors != 0 &&
            (object->tail_sectors <= object->sectors || object->tail_sectors > ORACLE_SECTORS_MAX))
            return oracle_refuse(verdict, "%s has %" PRIu32 " sectors and a tail up to %" PRIu32,
                                 object->name, object->sectors, object->tail_sectors);
    }
    return true;
}

/* ---- points that may not merge -------------------------------------------------------------- */

/* A hidden point that is charged to a guaranteed volume, and whose only child, which lives, is not.
 */
static bool books_is_bound(struct sim *sim, const struct oracle *oracle, const struct line *line)
{
    if (!line_is_hidden_point(line) || line->child_count != 1)
        return false;
    const struct line *child = container_of(line->children.next, struct line, child_link);
    uint32_t serial = books_line(sim, line->object.id)->volume_serial;
    bool is_guaranteed = false;
    for (unsigned i = 0; i < ORACLE_VOLUMES; i++)
    {
        const struct oracle_volume *volume = &oracle->volumes[i];
        is_guaranteed |= volume->name[0] && volume->serial == serial && volume->is_guaranteed;
    }
    return is_guaranteed && !lineage_is_leaf(child) &&
           books_line(sim, child->object.id)->volume_serial != serial;
}

/* Those that were bound at the last look are there, and may have become others. */
static bool books_see_bound(struct sim *sim, const struct oracle *oracle, struct pool *pool,
                            struct oracle_verdict *verdict)
{
    list_for_each (line, &pool->lines, struct line, all_link)
        books_line(sim, line->object.id)->is_bound = false;
    for (uint64_t id = 0; id < sim->books.count; id++)
    {
        if (sim->books.lines[id].is_bound)
            return oracle_refuse(verdict,
                                 "point %" PRIu64 " is gone, and a guaranteed volume was charged "
                                 "for what another volume's LUN has now",
                                 id);
    }
    list_for_each (line, &pool->lines, struct line, all_link)
        books_line(sim, line->object.id)->is_bound = books_is_bound(sim, oracle, line);
    return true;
}

/* ---- comparing ----------------------------------------------------------------------------- */

static bool books_fit_lun(const struct oracle_object *lun, struct pool *pool,
                          struct oracle_verdict *verdict)
{
    struct lun_info info;
    int r = lun_get_info(pool, lun->name, &info, NULL);
    uint64_t needs = oracle_lun_needs(lun);
    if (r == 0 && info.needed_bytes == needs * LUN_BLK_BYTES)
        return true;
    return oracle_refuse(verdict,
                         "%s of %" PRIu32 " sectors owns %" PRIu32 " blocks and %" PRIu32
                         " nodes, and needs %" PRIu64 ", must be %" PRIu64,
                         lun->name, lun->sectors, lun->head.own_blks, lun->head.node_blks,
                         r == 0 ? info.needed_bytes / LUN_BLK_BYTES : 0, needs);
}

static bool books_fit_volume(const struct oracle *oracle, const struct oracle_volume *volume,
                             struct pool *pool, struct oracle_verdict *verdict)
{
    struct volume_info info;
    int r = volume_get_info(pool, volume->name, &info, NULL);
    uint64_t lun_needs = oracle_volume_lun_needs(oracle, volume);
    uint64_t needs = volume->is_guaranteed ? oracle_volume_needs(oracle, volume) : 0;
    if (r == 0 && info.charged_bytes == volume->charged_blks * LUN_BLK_BYTES &&
        info.reserved_bytes == lun_needs * LUN_BLK_BYTES &&
        info.needed_bytes == needs * LUN_BLK_BYTES)
        return true;
    return oracle_refuse(verdict,
                         "volume %s is charged %" PRIu64 " bytes, its LUNs need %" PRIu64
                         ", it needs %" PRIu64 "; in blocks it must be %" PRIu64 ", %" PRIu64
                         ", %" PRIu64,
                         volume->name, info.charged_bytes, info.reserved_bytes, info.needed_bytes,
                         volume->charged_blks, lun_needs, needs);
}

/* Nothing is promised twice, and nothing but what it must be. */
static bool books_fit_pool(const struct oracle *oracle, struct pool *pool,
                           struct oracle_verdict *verdict)
{
    struct pool_info info;
    struct space_stats stats;
    uint64_t promised = oracle_promised(oracle);
    pool_get_info(pool, &info);
    space_get_stats(pool->space, &stats);
    if (info.promised_bytes != promised * LUN_BLK_BYTES)
        return oracle_refuse(verdict,
                             "the pool promises %" PRIu64 " blocks, must be %" PRIu64 " (%" PRIu64
                             " are held for a command)",
                             info.promised_bytes / LUN_BLK_BYTES, promised, pool->ledger.held_blks);
    if (promised > stats.free_blks + stats.deferred_blks)
        return oracle_refuse(verdict, "%" PRIu64 " blocks are promised, %" PRIu64 " are there",
                             promised, stats.free_blks + stats.deferred_blks);
    return true;
}

static bool books_fit(const struct oracle *oracle, struct pool *pool,
                      struct oracle_verdict *verdict)
{
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        if (books_is_lun(&oracle->objects[i]) && !books_fit_lun(&oracle->objects[i], pool, verdict))
            return false;
    }
    for (unsigned i = 0; i < ORACLE_VOLUMES; i++)
    {
        if (oracle->volumes[i].name[0] &&
            !books_fit_volume(oracle, &oracle->volumes[i], pool, verdict))
            return false;
    }
    return books_fit_pool(oracle, pool, verdict);
}

bool sim_fits_books(struct sim *sim, struct oracle *oracle, struct pool *pool, bool adopt,
                    struct oracle_verdict *verdict)
{
    struct sim_line before[ORACLE_OBJECTS_MAX] = {0};
    verdict->text[0] = '\0';
    bool fits = books_note_heads(sim, oracle, pool, before, verdict);
    if (fits)
    {
        books_read_charges(sim, oracle, pool, adopt);
        fits = books_read_heads(sim, oracle, pool, verdict) && books_fit(oracle, pool, verdict);
    }
    if (fits && adopt)
        fits = books_see_bound(sim, oracle, pool, verdict);
    if (!adopt)
        books_unnote_heads(sim, oracle, pool, before);
    return fits;
}

struct sim_room sim_room(struct sim *sim)
{
    struct pool_info info;
    struct space_stats stats;
    pool_get_info(sim->pool, &info);
    space_get_stats(sim->pool->space, &stats);
    return (struct sim_room){.available_blks = info.available_bytes / LUN_BLK_BYTES,
                             .asked_blks = stats.asked_blks};
}

void sim_check_whole(struct sim *sim)
{
    const struct device *device = sim->pool->device;
    uint64_t hole = 0, len = 0;
    if (!sim->has_promises || !sim_is_sure(sim) || !oracle_has_promises(sim->now))
        return;
    int r = device->ops->find_hole(sim->pool->device, 0, sim->now->pool_bytes, &hole, &len);
    if (r < 0 || len != 0)
        replay_fail(sim->replay,
                    "space is promised, and the pool's file has a hole of %" PRIu64
                    " bytes at %" PRIu64 " (%d)",
                    len, hole, r);
}
