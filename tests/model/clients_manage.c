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

bool cl_has_tail(struct cl_client *client, const struct cl_lun *lun)
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

void cl_image_set(struct cl_image *image, uint64_t blks, const struct cl_image *source)
{
    struct cl_image made = {.is_there = true, .blks = blks};
    if (source)
        memcpy(made.values, source->values, min_u64(blks, source->blks) * CL_SECTORS);
    *image = made;
}

void cl_frozen(struct cl_lun *lun)
{
    memset(lun->is_own, false, sizeof(lun->is_own));
    cl_settle(lun);
}

void cl_restored(struct cl_lun *lun, const struct cl_image *image)
{
    lun->now = *image;
    cl_frozen(lun);
}

static unsigned cl_pick_name(struct cl_client *client)
{
    return rng_percent(&client->rng, 40) ? 0 : (unsigned)rng_below(&client->rng, CL_NAMES);
}

void cl_step_create(struct cl_client *client)
{
    struct cl_lun *lun = cl_pick_free(client), made;
    if (!lun)
        return;
    int volume = cl_pick_volume(client);
    cl_name(client, &made, volume, cl_pick_tree(client, volume));
    made.user = cl_pick_name(client);
    made.group = cl_pick_name(client);
    made.is_there = true;
    made.is_reserved = rng_percent(&client->rng, 40);
    cl_image_set(&made.now, rng_between(&client->rng, 1, CL_LUN_BLKS), NULL);
    uint64_t blks = made.now.blks;
    struct lun_create_args args = {.name = made.name,
                                   .size_bytes = blks * CL_BLK,
                                   .attributes = {.is_reserved = made.is_reserved,
                                                  .owner = cl_user(made.user),
                                                  .group = cl_group(made.group)}};
    cl_say(client, "create '%s' of %" PRIu64 " for '%s', '%s'%s", made.name, blks,
           cl_user(made.user), cl_group(made.group), made.is_reserved ? ", reserved" : "");
    cl_call_new(client);
    if (made.is_reserved)
        cl_call_need(client, made.volume, blks + cl_nodes(blks));
    cl_call_quota(client, &made, (int64_t)blks);
    cl_call_sign(client, cl_is_there, 0, "%s", made.name);
    cl_call_begin(client);
    int r = lun_create(client->cl->pool, &args, &client->why);
    if (!cl_call_end(client, made.is_reserved ? "create reserved" : "create", r))
        return;
    cl_settle(&made);
    *lun = made;
}

/* A snapshot of its volume can bring it back as it is now. */
static void cl_keep(struct cl_client *client, const struct cl_lun *lun)
{
    for (unsigned i = 0; i < client->saved.count; i++)
    {
        struct cl_saved_lun *saved = &client->saved.luns[i];
        if (saved->serial != lun->serial)
            continue;
        saved->is_deleted = true;
        saved->is_reserved = lun->is_reserved;
        saved->user = lun->user;
        saved->group = lun->group;
    }
}

/* One that can come back, if there is one: rather one that was promised space. */
static struct cl_lun *cl_pick_saved(struct cl_client *client)
{
    struct cl_lun *best = NULL;
    for (unsigned i = 0; i < CL_LUNS * client->saved.count; i++)
    {
        struct cl_lun *lun = &client->luns[i % CL_LUNS];
        bool is_it = lun->is_there && lun->serial == client->saved.luns[i / CL_LUNS].serial;
        if (is_it && (!best || lun->is_reserved))
            best = lun;
    }
    return best;
}

void cl_step_delete(struct cl_client *client)
{
    struct cl_lun *lun =
        rng_percent(&client->rng, 40) ? cl_pick_saved(client) : cl_pick_lun(client);
    if (!lun)
        return;
    cl_say(client, "delete '%s'", lun->name);
    cl_call_new(client);
    cl_call_quota(client, lun, -(int64_t)lun->now.blks);
    cl_call_sign(client, cl_is_gone, 0, "%s", lun->name);
    cl_call_begin(client);
    int r = lun_delete(client->cl->pool, lun->name, true, 0, &client->why);
    if (cl_call_end(client, "delete", r))
    {
        cl_keep(client, lun);
        lun->is_there = false;
    }
    else if (!client->call.has_crashed)
    {
        cl_fail(client, "deleting '%s' gives %d: %s", lun->name, r, client->why.text);
    }
}

void cl_step_clone(struct cl_client *client)
{
    struct cl_lun *source = cl_pick_lun(client), *lun = cl_pick_free(client), made;
    if (!source || !lun)
        return;
    int volume = cl_pick_volume(client);
    if (volume == CL_CLOSED_NUMBER || source->volume == CL_CLOSED_NUMBER)
        volume = source->volume;
    cl_name(client, &made, volume, cl_pick_tree(client, volume));
    bool is_given = rng_percent(&client->rng, 30);
    made.user = is_given ? cl_pick_name(client) : source->user;
    made.group = is_given ? cl_pick_name(client) : source->group;
    bool no_reserve = rng_percent(&client->rng, 40);
    uint64_t blks = source->now.blks;
    made.is_there = true;
    made.is_reserved = source->is_reserved && !no_reserve;
    cl_image_set(&made.now, blks, &source->now);
    struct lun_clone_args args = {.source = source->name,
                                  .name = made.name,
                                  .no_reserve = no_reserve,
                                  .owner = is_given ? cl_user(made.user) : NULL,
                                  .group = is_given ? cl_group(made.group) : NULL};
    cl_say(client, "clone '%s' to '%s' for '%s', '%s'%s", source->name, made.name,
           cl_user(made.user), cl_group(made.group), no_reserve ? ", not reserved" : "");
    cl_call_new(client);
    if (made.is_reserved)
        cl_call_need(client, made.volume, blks + 2 * cl_nodes(CL_LUN_BLKS));
    cl_call_freeze(client, source);
    cl_call_quota(client, &made, (int64_t)blks);
    client->call.is_clone = true;
    cl_call_sign(client, cl_is_there, 0, "%s", made.name);
    cl_call_begin(client);
    int r = lun_clone(client->cl->pool, &args, &client->why);
    if (!cl_call_end(client, made.is_reserved ? "clone reserved" : "clone", r))
        return;
    cl_settle(&made);
    *lun = made;
    cl_frozen(source);
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
    cl_call_quota(client, lun, (int64_t)blks - (int64_t)old);
    cl_call_sign(client, cl_has_size, blks, "%s", lun->name);
    cl_call_begin(client);
    int r = lun_resize(client->cl->pool, lun->name, blks * CL_BLK, LUN_FORCE, &client->why);
    if (!cl_call_end(client, blks < old ? "shrink" : "grow", r))
        return;
    cl_image_set(&lun->now, blks, &lun->now);
    for (uint64_t i = min_u64(old, blks); i < CL_LUN_BLKS; i++)
    {
        lun->is_own[i] = false;
        memcpy(lun->may[i], (uint64_t[4]){1}, sizeof(lun->may[i])); /* zeros */
    }
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
    struct cl_lun wanted = {
        .user = lun->user, .group = lun->group, .is_reserved = attributes.is_reserved};
    cl_call_sign(client, cl_is_like, cl_likeness(&wanted), "%s", lun->name);
    cl_call_begin(client);
    int r = lun_set_attributes(client->cl->pool, lun->name, LUN_SET_RESERVED, &attributes,
                               &client->why);
    if (cl_call_end(client, attributes.is_reserved ? "reserve" : "no reserve", r))
        lun->is_reserved = attributes.is_reserved;
}

/* Another user and group. */
void cl_step_owner(struct cl_client *client)
{
    struct cl_lun *lun = cl_pick_lun(client), wanted;
    if (!lun)
        return;
    wanted = *lun;
    wanted.user = (unsigned)rng_below(&client->rng, CL_NAMES);
    wanted.group =
        rng_percent(&client->rng, 50) ? lun->group : (unsigned)rng_below(&client->rng, CL_NAMES);
    struct lun_attributes attributes = {.owner = cl_user(wanted.user),
                                        .group = cl_group(wanted.group)};
    cl_say(client, "'%s' becomes that of '%s', '%s'", lun->name, attributes.owner,
           attributes.group);
    cl_call_new(client);
    cl_call_quota(client, lun, -(int64_t)lun->now.blks);
    cl_call_quota(client, &wanted, (int64_t)lun->now.blks);
    cl_call_sign(client, cl_is_like, cl_likeness(&wanted), "%s", lun->name);
    cl_call_begin(client);
    int r = lun_set_attributes(client->cl->pool, lun->name, LUN_SET_OWNER | LUN_SET_GROUP,
                               &attributes, &client->why);
    if (!cl_call_end(client, "change owner", r))
        return;
    lun->user = wanted.user;
    lun->group = wanted.group;
}

static bool cl_has_snapshots(const struct cl_client *client, const struct cl_lun *lun)
{
    bool has = false;
    for (unsigned s = 0; s < CL_SNAPSHOTS; s++)
        has |= lun->snapshots[s].is_there;
    for (unsigned i = 0; i < client->saved.count; i++)
        has |= client->saved.luns[i].serial == lun->serial;
    return has;
}

/* Into another qtree, or another volume if it has no snapshots; with a new name. */
void cl_step_move(struct cl_client *client)
{
    struct cl_lun *lun = cl_pick_lun(client), moved;
    if (!lun)
        return;
    int volume = cl_has_snapshots(client, lun) || rng_percent(&client->rng, 50)
                     ? lun->volume
                     : cl_pick_volume(client);
    if (volume == CL_CLOSED_NUMBER || lun->volume == CL_CLOSED_NUMBER)
        volume = lun->volume;
    moved = *lun;
    moved.volume = volume;
    moved.tree = cl_pick_tree(client, volume);
    snprintf(moved.leaf, sizeof(moved.leaf), "c%ul%" PRIu64, client->number, client->made++);
    cl_name_again(client, &moved);
    cl_say(client, "move '%s' to '%s'", lun->name, moved.name);
    cl_call_new(client);
    cl_call_quota(client, lun, -(int64_t)lun->now.blks);
    cl_call_quota(client, &moved, (int64_t)lun->now.blks);
    if (volume != lun->volume) /* what it owns and what it needs, a tail included */
        cl_call_need(client, volume, 2 * (CL_LUN_BLKS + 2 * cl_nodes(CL_LUN_BLKS)));
    cl_call_sign(client, cl_is_there, 0, "%s", moved.name);
    cl_call_begin(client);
    int r = lun_rename(client->cl->pool, lun->name, moved.name, &client->why);
    if (cl_call_end(client, volume != lun->volume ? "move away" : "move", r))
        *lun = moved;
}

/* ---- snapshots ----------------------------------------------------------------------------- */

void cl_step_snapshot(struct cl_client *client)
{
    struct cl_lun *lun = cl_pick_lun(client);
    unsigned s = 0;
    char name[8];
    while (lun && s < CL_UNDO && lun->snapshots[s].is_there)
        s++;
    if (!lun || s == CL_UNDO)
        return;
    cl_snapshot_name(name, sizeof(name), NULL, s);
    cl_say(client, "snapshot %s of '%s'", name, lun->name);
    cl_call_new(client);
    cl_call_freeze(client, lun);
    cl_call_sign(client, cl_is_there, 0, "%s@%s", lun->name, name);
    cl_call_begin(client);
    int r = snapshot_create(client->cl->pool, lun->name, name, NULL, &client->why);
    if (!cl_call_end(client, lun->is_reserved ? "snapshot, reserved" : "snapshot", r))
        return;
    lun->snapshots[s] = lun->now;
    cl_frozen(lun);
}

void cl_snapshot_name(char *name, size_t size, const struct cl_lun *lun, unsigned s)
{
    static const char *const names[CL_SNAPSHOTS] = {"s0", "s1", "undo"};
    snprintf(name, size, "%s%s%s", lun ? lun->name : "", lun ? "@" : "", names[s]);
}

static struct cl_image *cl_pick_snapshot(struct cl_client *client, struct cl_lun *lun, char name[8])
{
    unsigned from = (unsigned)rng_below(&client->rng, CL_SNAPSHOTS);
    for (unsigned i = 0; lun && i < CL_SNAPSHOTS; i++)
    {
        unsigned s = (from + i) % CL_SNAPSHOTS;
        cl_snapshot_name(name, 8, NULL, s);
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
    cl_call_sign(client, cl_is_gone, 0, "%s@%s", lun->name, name);
    cl_call_begin(client);
    int r = snapshot_delete(client->cl->pool, lun->name, name, 0, &client->why);
    if (cl_call_end(client, "delete a snapshot", r))
        image->is_there = false;
    else if (!client->call.has_crashed)
        cl_fail(client, "deleting a snapshot gives %d: %s", r, client->why.text);
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
    cl_call_quota(client, lun, (int64_t)image->blks - (int64_t)lun->now.blks);
    cl_call_sign(client, cl_is_new, cl_newness(client, lun->name), "%s", lun->name);
    cl_call_begin(client);
    int r = snapshot_restore(client->cl->pool, lun->name, name, 0, &client->why);
    if (cl_call_end(client, "restore", r))
        cl_restored(lun, image);
}

/* It gets what another one or a snapshot of that holds. What it held becomes its last snapshot. */
void cl_step_redeploy(struct cl_client *client)
{
    struct cl_lun *lun = cl_pick_lun(client), *source = cl_pick_lun(client);
    char of[8], from[64], undo[64];
    bool crosses = lun && lun->volume != source->volume;
    if (!lun || lun == source ||
        (crosses && (lun->volume == CL_CLOSED_NUMBER || source->volume == CL_CLOSED_NUMBER)))
        return;
    const struct cl_image *image =
        rng_percent(&client->rng, 50) ? cl_pick_snapshot(client, source, of) : NULL;
    bool is_live = !image;
    snprintf(from, sizeof(from), "%s%s%s", source->name, is_live ? "" : "@", is_live ? "" : of);
    snprintf(undo, sizeof(undo), "%s@undo", lun->name);
    image = is_live ? &source->now : image;
    cl_say(client, "redeploy '%s' from '%s'", lun->name, from);
    cl_call_new(client);
    cl_call_freeze(client, lun);
    if (is_live)
        cl_call_freeze(client, source);
    if (lun->is_reserved)
        cl_call_need(client, lun->volume, image->blks + 2 * cl_nodes(CL_LUN_BLKS));
    cl_call_quota(client, lun, (int64_t)image->blks - (int64_t)lun->now.blks);
    cl_call_sign(client, cl_is_new, cl_newness(client, undo), "%s", undo);
    cl_call_begin(client);
    const char *names[] = {lun->name};
    int r = lun_redeploy(client->cl->pool, from, names, 1, "undo", 0, &client->why);
    if (!cl_call_end(client, "redeploy", r))
        return;
    lun->snapshots[CL_UNDO] = lun->now;
    if (is_live)
        cl_frozen(source);
    cl_restored(lun, image);
}
