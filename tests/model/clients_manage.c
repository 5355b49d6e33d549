/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands on LUNs and their snapshots of the test of several clients. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/volume/catalog.h"
#include "tests/model/clients.h"

uint64_t cl_nodes(uint64_t blks)
{
    return blks / 30 + 16;
}

/* Whether a tail that was cut off is not unmapped yet: commands do that first, and may find no room
 * for it. */
static bool cl_has_tail(struct cl_client *client, const struct cl_lun *lun)
{
    struct pool *pool = client->cl->pool;
    rwlock_take_exclusive(&pool->cp_gate);
    rwlock_take_shared(&pool->catalog_lock);
    const struct lun_object *object = catalog_find_lun(pool, lun->name);
    bool has_tail = object && object->trim_end_bytes != 0;
    rwlock_release(&pool->catalog_lock);
    rwlock_release(&pool->cp_gate);
    return has_tail;
}

void cl_call_freeze(struct cl_client *client, const struct cl_lun *lun)
{
    if (lun->is_reserved)
        cl_call_need(client, lun->volume, lun->now.blks + 2 * cl_nodes(CL_LUN_BLKS));
    client->call.has_tail |= cl_has_tail(client, lun);
}

static void cl_image_set(struct cl_image *image, uint64_t blks, const struct cl_image *source)
{
    struct cl_image made = {.is_there = true, .blks = blks};
    if (source)
        memcpy(made.values, source->values, min_u64(blks, source->blks));
    *image = made;
}

void cl_step_create(struct cl_client *client)
{
    struct cl_lun *lun = cl_pick_free(client), made;
    if (!lun)
        return;
    cl_name(client, &made, cl_pick_volume(client));
    made.is_there = true;
    made.is_reserved = rng_percent(&client->rng, 40);
    cl_image_set(&made.now, rng_between(&client->rng, 1, CL_LUN_BLKS), NULL);
    uint64_t blks = made.now.blks;
    struct lun_create_args args = {.name = made.name,
                                   .size_bytes = blks * CL_BLK,
                                   .attributes = {.is_reserved = made.is_reserved}};
    cl_say(client, "create '%s' of %" PRIu64 "%s", made.name, blks,
           made.is_reserved ? ", reserved" : "");
    cl_call_new(client);
    if (made.is_reserved)
        cl_call_need(client, made.volume, blks + cl_nodes(blks));
    cl_call_quota(client, made.volume, 0, blks * CL_BLK);
    cl_call_begin(client);
    int r = lun_create(client->cl->pool, &args, &client->why);
    if (cl_call_end(client, made.is_reserved ? "create reserved" : "create", r))
        *lun = made;
}

void cl_step_delete(struct cl_client *client)
{
    struct cl_lun *lun = cl_pick_lun(client);
    if (!lun)
        return;
    cl_say(client, "delete '%s'", lun->name);
    cl_call_new(client);
    cl_call_quota(client, lun->volume, lun->now.blks * CL_BLK, 0);
    cl_call_begin(client);
    int r = lun_delete(client->cl->pool, lun->name, true, 0, &client->why);
    if (!cl_call_end(client, "delete", r))
        cl_fail(client, "deleting '%s' gives %d: %s", lun->name, r, client->why.text);
    lun->is_there = false;
}

void cl_step_clone(struct cl_client *client)
{
    struct cl_lun *source = cl_pick_lun(client), *lun = cl_pick_free(client), made;
    if (!source || !lun)
        return;
    int volume = cl_pick_volume(client);
    if (volume == CL_CLOSED_NUMBER || source->volume == CL_CLOSED_NUMBER)
        volume = source->volume;
    cl_name(client, &made, volume);
    bool no_reserve = rng_percent(&client->rng, 40);
    uint64_t blks = source->now.blks;
    made.is_there = true;
    made.is_reserved = source->is_reserved && !no_reserve;
    cl_image_set(&made.now, blks, &source->now);
    struct lun_clone_args args = {
        .source = source->name, .name = made.name, .no_reserve = no_reserve};
    cl_say(client, "clone '%s' to '%s'%s", source->name, made.name,
           no_reserve ? ", not reserved" : "");
    cl_call_new(client);
    if (made.is_reserved)
        cl_call_need(client, made.volume, blks + 2 * cl_nodes(CL_LUN_BLKS));
    cl_call_freeze(client, source);
    cl_call_quota(client, made.volume, 0, blks * CL_BLK);
    cl_call_begin(client);
    int r = lun_clone(client->cl->pool, &args, &client->why);
    if (!cl_call_end(client, made.is_reserved ? "clone reserved" : "clone", r))
        return;
    *lun = made;
    memset(source->is_own, false, sizeof(source->is_own));
}

void cl_step_resize(struct cl_client *client)
{
    struct cl_lun *lun = cl_pick_lun(client);
    if (!lun)
        return;
    uint64_t blks = rng_between(&client->rng, 1, CL_LUN_BLKS), old = lun->now.blks;
    cl_say(client, "resize '%s' from %" PRIu64 " to %" PRIu64, lun->name, old, blks);
    cl_call_new(client);
    if (lun->is_reserved && blks > old)
        cl_call_need(client, lun->volume, blks - old + cl_nodes(blks));
    client->call.has_tail = cl_has_tail(client, lun);
    cl_call_quota(client, lun->volume, old * CL_BLK, blks * CL_BLK);
    cl_call_begin(client);
    int r = lun_resize(client->cl->pool, lun->name, blks * CL_BLK, LUN_FORCE, &client->why);
    if (!cl_call_end(client, blks < old ? "shrink" : "grow", r))
        return;
    cl_image_set(&lun->now, blks, &lun->now);
    for (uint64_t i = blks; i < CL_LUN_BLKS; i++)
        lun->is_own[i] = false;
}

void cl_step_reserve(struct cl_client *client)
{
    struct cl_lun *lun = cl_pick_lun(client);
    if (!lun)
        return;
    struct lun_attributes attributes = {.is_reserved = !lun->is_reserved};
    cl_say(client, "'%s' becomes %s", lun->name, attributes.is_reserved ? "reserved" : "thin");
    cl_call_new(client);
    /* A tail that was cut off and is not unmapped yet is needed, too. */
    if (attributes.is_reserved)
        cl_call_need(client, lun->volume, CL_LUN_BLKS + 2 * cl_nodes(CL_LUN_BLKS));
    cl_call_begin(client);
    int r = lun_set_attributes(client->cl->pool, lun->name, LUN_SET_RESERVED, &attributes,
                               &client->why);
    if (cl_call_end(client, attributes.is_reserved ? "reserve" : "no reserve", r))
        lun->is_reserved = attributes.is_reserved;
}

/* ---- snapshots ----------------------------------------------------------------------------- */

void cl_step_snapshot(struct cl_client *client)
{
    struct cl_lun *lun = cl_pick_lun(client);
    unsigned s = 0;
    char name[8];
    while (lun && s < CL_SNAPSHOTS && lun->snapshots[s].is_there)
        s++;
    if (!lun || s == CL_SNAPSHOTS)
        return;
    snprintf(name, sizeof(name), "s%u", s);
    cl_say(client, "snapshot %s of '%s'", name, lun->name);
    cl_call_new(client);
    cl_call_freeze(client, lun);
    cl_call_begin(client);
    int r = snapshot_create(client->cl->pool, lun->name, name, NULL, &client->why);
    if (!cl_call_end(client, lun->is_reserved ? "snapshot, reserved" : "snapshot", r))
        return;
    lun->snapshots[s] = lun->now;
    memset(lun->is_own, false, sizeof(lun->is_own));
}

static struct cl_image *cl_pick_snapshot(struct cl_client *client, struct cl_lun *lun, char name[8])
{
    unsigned from = (unsigned)rng_below(&client->rng, CL_SNAPSHOTS);
    for (unsigned i = 0; lun && i < CL_SNAPSHOTS; i++)
    {
        unsigned s = (from + i) % CL_SNAPSHOTS;
        snprintf(name, 8, "s%u", s);
        if (lun->snapshots[s].is_there)
            return &lun->snapshots[s];
    }
    return NULL;
}

void cl_step_snapshot_delete(struct cl_client *client)
{
    struct cl_lun *lun = cl_pick_lun(client);
    char name[8];
    struct cl_image *image = cl_pick_snapshot(client, lun, name);
    if (!image)
        return;
    cl_say(client, "delete snapshot %s of '%s'", name, lun->name);
    cl_call_new(client);
    cl_call_begin(client);
    int r = snapshot_delete(client->cl->pool, lun->name, name, 0, &client->why);
    if (!cl_call_end(client, "delete a snapshot", r))
        cl_fail(client, "deleting a snapshot gives %d: %s", r, client->why.text);
    image->is_there = false;
}

void cl_step_restore(struct cl_client *client)
{
    struct cl_lun *lun = cl_pick_lun(client);
    char name[8];
    struct cl_image *image = cl_pick_snapshot(client, lun, name);
    if (!image)
        return;
    cl_say(client, "restore '%s' from %s", lun->name, name);
    cl_call_new(client);
    if (lun->is_reserved)
        cl_call_need(client, lun->volume, image->blks + 2 * cl_nodes(CL_LUN_BLKS));
    client->call.has_tail = cl_has_tail(client, lun);
    cl_call_quota(client, lun->volume, lun->now.blks * CL_BLK, image->blks * CL_BLK);
    cl_call_begin(client);
    int r = snapshot_restore(client->cl->pool, lun->name, name, 0, &client->why);
    if (!cl_call_end(client, "restore", r))
        return;
    lun->now = *image;
    memset(lun->is_own, false, sizeof(lun->is_own));
}
