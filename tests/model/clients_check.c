/* SPDX-License-Identifier: BSD-3-Clause */
/* What must be so at any time, and what while all clients pause. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/pool/space.h"
#include "lun/volume/catalog.h"
#include "lun/volume/ledger.h"
#include "tests/model/clients.h"

enum
{
    CL_NEARLY_FULL_BLKS = 256,
    CL_OVER_BLKS = 8, /* nodes by which jobs, and what gives space back, may exceed a bound */
};

/* ---- a recount ----------------------------------------------------------------------------- */

/* The books of the engine, recounted from lines and LUNs by rules said apart from it. */
struct cl_recount
{
    struct cl_client *client;
    uint64_t needs_blks, promise_count;
};

static void cl_same(struct cl_client *client, const char *whose, const char *what, uint64_t is,
                    uint64_t wanted)
{
    if (is != wanted)
        cl_fail(client, "%s: %s is %" PRIu64 ", must be %" PRIu64, whose, what, is, wanted);
}

static uint64_t cl_recount_lun(struct cl_recount *recount, const struct lun_object *lun)
{
    bool is_reserved = lun->object.kind == DISK_OBJECT_LUN && atomic_load(&lun->is_reserved);
    uint64_t needs = 0;
    if (is_reserved)
    {
        const struct line *line = lun->line, *point = line->predecessor;
        struct space_rules_head head = {.own_blks = (uint32_t)atomic_load(&line->own_blks),
                                        .node_blks = (uint32_t)atomic_load(&line->own_node_blks),
                                        .has_point = point != NULL,
                                        .point_blks = point ? (uint32_t)point->frozen_blks : 0};
        /* What a shrink has cut off and is not unmapped yet is needed until then. */
        uint64_t bytes = max_u64(atomic_load(&lun->size_bytes), lun->trim_end_bytes);
        needs = space_rules_lun_needs(div_round_up(bytes, CL_BLK), &head);
        recount->promise_count++;
    }
    cl_same(recount->client, lun->name, "what the LUN needs", atomic_load(&lun->books.needs_blks),
            needs);
    return needs;
}

static void cl_recount_volume(struct cl_recount *recount, const struct volume_object *volume)
{
    uint64_t charged = 0, lun_needs = 0;
    list_for_each (line, &volume->lines, struct line, volume_link)
        charged += atomic_load(&line->own_blks) + atomic_load(&line->own_node_blks);
    list_for_each (lun, &volume->luns, struct lun_object, volume_link)
        lun_needs += cl_recount_lun(recount, lun);
    bool is_guaranteed = (volume->flags & DISK_VOLUME_GUARANTEED) != 0;
    uint64_t needs =
        space_rules_volume_needs(volume->size_bytes / CL_BLK, is_guaranteed, charged, lun_needs);
    struct cl_client *client = recount->client;
    cl_same(client, volume->name, "what it is charged", volume->books.charged_blks, charged);
    cl_same(client, volume->name, "what its LUNs need", volume->books.lun_needs_blks, lun_needs);
    cl_same(client, volume->name, "what it needs", volume->books.needs_blks, needs);
    if (volume->books.taken_blks > CL_POOL_BYTES / CL_BLK ||
        volume->books.held_blks > CL_POOL_BYTES / CL_BLK)
        cl_fail(client, "%s: %" PRIu64 " blocks are taken by writes, %" PRIu64 " held",
                volume->name, volume->books.taken_blks, volume->books.held_blks);
    /* Background work may charge a volume more than its bound, where lines of others merge into its
     * own: not in this one, which no clone enters or leaves. */
    uint64_t used = charged + lun_needs;
    if (strcmp(volume->name, CL_CLOSED) == 0 && volume->size_bytes > 0 &&
        used > volume->size_bytes / CL_BLK + CL_OVER_BLKS)
        cl_fail(client, "%s holds %" PRIu64 " blocks, its bound is %" PRIu64, volume->name, used,
                volume->size_bytes / CL_BLK);
    recount->needs_blks += needs;
    recount->promise_count += is_guaranteed;
}

/* With the gate exclusively: no record is half applied. @is_still: nor is a command or job under
 * way. */
static void cl_recount(struct cl_client *client, bool is_still, struct space_stats *stats)
{
    struct pool *pool = client->cl->pool;
    struct cl_recount recount = {.client = client};
    AUTO_LOCK(&pool->ledger.lock);
    const struct ledger *ledger = &pool->ledger;
    list_for_each (volume, &pool->volumes, struct volume_object, all_link)
        cl_recount_volume(&recount, volume);
    list_for_each (lun, &pool->luns, struct lun_object, all_link)
    {
        if (!lun->volume)
            recount.needs_blks += cl_recount_lun(&recount, lun);
    }
    cl_same(client, "the pool", "what is needed", ledger->needs_blks, recount.needs_blks);
    cl_same(client, "the pool", "the number of promises", ledger->promise_count,
            recount.promise_count);
    space_get_stats(pool->space, stats);
    uint64_t promised = ledger->needs_blks + ledger->held_blks + SPACE_RULES_SLACK_BLKS;
    cl_same(client, "the pool", "what is promised", stats->promised_blks, promised);
    uint64_t there = stats->free_blks + stats->deferred_blks + stats->taken_blks;
    if (there > stats->total_blks)
        cl_fail(client,
                "%" PRIu64 " blocks free, %" PRIu64 " deferred, %" PRIu64 " taken of %" PRIu64,
                stats->free_blks, stats->deferred_blks, stats->taken_blks, stats->total_blks);
    if (promised > there)
        cl_fail(client,
                "%" PRIu64 " blocks are promised, %" PRIu64 " are there: %" PRIu64 " free, %" PRIu64
                " deferred, %" PRIu64 " on their way; %" PRIu64 " are held",
                promised, there, stats->free_blks, stats->deferred_blks, stats->taken_blks,
                ledger->held_blks);
    if (is_still)
    {
        cl_same(client, "the pool", "what is held by nobody", ledger->held_blks, 0);
        cl_same(client, "the pool", "what is taken by nobody", stats->taken_blks, 0);
        list_for_each (volume, &pool->volumes, struct volume_object, all_link)
            cl_same(client, volume->name, "what is taken and held by nobody",
                    volume->books.taken_blks + volume->books.held_blks, 0);
    }
}

static void cl_look_locked(struct cl_client *client, bool is_still)
{
    struct pool *pool = client->cl->pool;
    struct space_stats stats;
    rwlock_take_exclusive(&pool->cp_gate);
    rwlock_take_shared(&pool->catalog_lock);
    cl_recount(client, is_still, &stats);
    rwlock_release(&pool->catalog_lock);
    rwlock_release(&pool->cp_gate);
    uint64_t all = stats.free_blks + stats.deferred_blks;
    uint64_t kept = stats.promised_blks + stats.reserve_blks + stats.asked_blks;
    uint64_t available = all > kept ? all - kept : 0;
    cl_count(client, "looked: %s", available < CL_NEARLY_FULL_BLKS ? "nearly full" : "room");
    AUTO_LOCK(&client->cl->lock);
    for (unsigned c = 0; c < CL_CLIENTS; c++)
    {
        struct cl_call *call = &client->cl->clients[c].call;
        if (call->is_active)
            call->least_available = min_u64(call->least_available, available);
    }
}

void cl_look(struct cl_client *client)
{
    if (!cl_is_off(client->cl))
        cl_look_locked(client, false);
}

/* ---- what was acknowledged ----------------------------------------------------------------- */

static void cl_check_lun(struct cl_client *client, const struct cl_lun *lun)
{
    struct lun_info info;
    if (lun_get_info(client->cl->pool, lun->name, &info, &client->why) < 0)
        cl_fail(client, "'%s' is not there: %s", lun->name, client->why.text);
    uint64_t snapshots = 0, own = 0;
    for (unsigned s = 0; s < CL_SNAPSHOTS; s++)
        snapshots += lun->snapshots[s].is_there;
    for (unsigned i = 0; i < lun->now.blks; i++)
        own += lun->is_own[i];
    cl_same(client, lun->name, "its size", info.size_bytes, lun->now.blks * CL_BLK);
    cl_same(client, lun->name, "its reservation", info.is_reserved, lun->is_reserved);
    if (strcmp(info.owner, cl_user(lun->user)) != 0 ||
        strcmp(info.group, cl_group(lun->group)) != 0)
        cl_fail(client, "'%s' is of '%s', '%s', must be of '%s', '%s'", lun->name, info.owner,
                info.group, cl_user(lun->user), cl_group(lun->group));
    if (info.snapshot_count < snapshots || info.own_bytes / CL_BLK < own)
        cl_fail(client,
                "'%s' has %u snapshots and %" PRIu64 " blocks of its own, must have %" PRIu64
                " and %" PRIu64 " at least",
                lun->name, info.snapshot_count, info.own_bytes / CL_BLK, snapshots, own);
}

static void cl_check_trees(struct cl_client *client, const struct cl_volume *volume)
{
    struct qtree_info *trees = NULL;
    size_t count = 0, found = 0;
    int r = qtree_list(client->cl->pool, volume->name, &trees, &count, &client->why);
    AUTO_FREE struct qtree_info *list = trees;
    if (r < 0)
        cl_fail(client, "qtree_list() gives %d: %s", r, client->why.text);
    for (size_t i = 0; i < count; i++)
        found += cl_find_tree(volume, list[i].path + strlen(volume->name) + 1) > 0;
    size_t wanted = 0;
    for (unsigned t = 1; t < CL_TREES; t++)
        wanted += volume->trees[t].is_there;
    cl_same(client, volume->name, "the number of its qtrees", count, wanted);
    cl_same(client, volume->name, "how many of its qtrees are known", found, wanted);
}

/* LUNs that only a snapshot of the volume still holds. */
static uint64_t cl_count_deleted(struct cl_client *client, int v)
{
    uint64_t count = 0;
    for (unsigned c = 0; c < CL_CLIENTS; c++)
    {
        const struct cl_client *owner = &client->cl->clients[c];
        for (unsigned i = 0; v == cl_own_volume(owner) && i < owner->saved.count; i++)
            count += owner->saved.luns[i].is_deleted;
    }
    return count;
}

static void cl_check_volume(struct cl_client *client, int v)
{
    const struct cl_volume *volume = &client->cl->volumes[v];
    struct volume_info info;
    uint64_t logical = 0, luns = 0;
    if (volume_get_info(client->cl->pool, volume->name, &info, &client->why) < 0)
        cl_fail(client, "'%s' is not there: %s", volume->name, client->why.text);
    for (unsigned i = 0; i < CL_CLIENTS * CL_LUNS; i++)
    {
        const struct cl_lun *lun = &client->cl->clients[i / CL_LUNS].luns[i % CL_LUNS];
        if (!lun->is_there || lun->volume != v)
            continue;
        logical += lun->now.blks * CL_BLK;
        luns++;
    }
    cl_same(client, volume->name, "the sum of sizes", info.logical_bytes, logical);
    cl_same(client, volume->name, "the number of LUNs", info.lun_count, luns);
    cl_same(client, volume->name, "its bound", info.size_bytes, volume->blks * CL_BLK);
    cl_same(client, volume->name, "its guarantee", info.is_guaranteed, volume->is_guaranteed);
    cl_same(client, volume->name, "whether it depends", info.parent_volume_id != 0,
            volume->is_dependent);
    cl_same(client, volume->name, "its snapshots", info.snapshot_count, volume->has_snapshot);
    cl_same(client, volume->name, "its deleted LUNs", info.deleted_lun_count,
            cl_count_deleted(client, v));
    cl_check_trees(client, volume);
    cl_check_policy(client, v);
    cl_check_quota(client, v);
}

static void cl_check_image(struct cl_client *client, const char *name, const struct cl_image *image)
{
    struct lun *lun;
    int r = lun_open(client->cl->pool, name, LUN_READ_ONLY, &lun, &client->why);
    if (r == 0)
    {
        r = lun_read(lun, client->buf, image->blks * CL_BLK, 0);
        lun_close(lun);
    }
    if (r < 0)
        cl_fail(client, "'%s' cannot be read: %d %s", name, r, client->why.text);
    for (uint64_t i = 0; i < image->blks * CL_SECTORS; i++)
    {
        const uint8_t *sector = client->buf + i * SIMDEV_SECTOR_BYTES;
        if (sector[0] != image->values[i] ||
            memcmp(sector, sector + 1, SIMDEV_SECTOR_BYTES - 1) != 0)
            cl_fail(client, "'%s' holds %u in block %" PRIu64 ", or several, must be %u", name,
                    sector[0], i / CL_SECTORS, image->values[i]);
    }
}

void cl_check_contents(struct cl_client *client)
{
    for (unsigned i = 0; i < CL_LUNS; i++)
    {
        const struct cl_lun *lun = &client->luns[i];
        if (!lun->is_there)
            continue;
        cl_check_image(client, lun->name, &lun->now);
        for (unsigned s = 0; s < CL_SNAPSHOTS; s++)
        {
            char name[64];
            cl_snapshot_name(name, sizeof(name), lun, s);
            if (lun->snapshots[s].is_there)
                cl_check_image(client, name, &lun->snapshots[s]);
        }
    }
    for (unsigned i = 0; i < client->saved.count; i++)
    {
        char name[64];
        snprintf(name, sizeof(name), "%s@vs", client->saved.luns[i].path);
        cl_check_image(client, name, &client->saved.luns[i].image);
    }
}

static void cl_hear(void *opaque, bool is_error, const char *text)
{
    if (is_error)
        cl_fail(opaque, "the check finds: %s", text);
}

void cl_check(struct cl_client *client)
{
    struct cl *cl = client->cl;
    struct check_result result;
    {
        AUTO_LOCK(&cl->pool->management);
        cl_look_locked(client, true);
    }
    int r = pool_check(cl->pool, cl_hear, client, &result);
    if (r < 0)
        cl_fail(client, "pool_check() gives %d", r);
    uint64_t logical = CL_BLK, luns = 1; /* of the LUN whose promise is always there */
    for (unsigned i = 0; i < CL_CLIENTS * CL_LUNS; i++)
    {
        struct cl_client *owner = &cl->clients[i / CL_LUNS];
        const struct cl_lun *lun = &owner->luns[i % CL_LUNS];
        if (!lun->is_there)
            continue;
        cl_check_lun(client, lun);
        logical += lun->now.blks * CL_BLK;
        luns++;
    }
    for (int v = 0; v < CL_VOLUMES; v++)
    {
        if (cl->volumes[v].is_there)
            cl_check_volume(client, v);
    }
    struct pool_info info;
    pool_get_info(cl->pool, &info);
    cl_same(client, "the pool", "the sum of sizes", info.logical_bytes, logical);
    cl_same(client, "the pool", "the number of LUNs", info.lun_count, luns);
    cl_count(client, "checked");
}
