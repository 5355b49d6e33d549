/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands on volumes and their snapshots of the test of several clients. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/err.h"
#include "tests/model/clients.h"

/* ---- the model's volumes ------------------------------------------------------------------- */

struct cl_volume cl_volume_get(struct cl_client *client, int v)
{
    AUTO_LOCK(&client->cl->lock);
    return client->cl->volumes[v];
}

/* All but the sums of sizes, which calls keep. */
void cl_volume_set(struct cl_client *client, int v, const struct cl_volume *volume)
{
    AUTO_LOCK(&client->cl->lock);
    struct cl_volume *now = &client->cl->volumes[v], made = *volume;
    memset(made.sums, 0, sizeof(made.sums));
    if (made.is_there)
        memcpy(made.sums, now->sums, sizeof(made.sums));
    made.trees[0].is_there = true;
    *now = made;
}

static void cl_volume_draw(struct cl_client *client, struct cl_volume *volume)
{
    volume->is_guaranteed = rng_percent(&client->rng, 50);
    volume->blks = volume->is_guaranteed || rng_percent(&client->rng, 60)
                       ? rng_between(&client->rng, 1, 4 * (uint64_t)CL_LUN_BLKS)
                       : 0;
}

static struct volume_attributes cl_volume_attributes(const struct cl_volume *volume)
{
    return (struct volume_attributes){.size_bytes = volume->blks * CL_BLK,
                                      .is_guaranteed = volume->is_guaranteed};
}

void cl_make_shared(struct cl_client *client)
{
    static const struct cl_volume made[CL_SHARED] = {
        {.is_there = true, .name = "v0", .blks = 600, .is_guaranteed = true},
        {.is_there = true, .name = "v1", .blks = 700},
        {.is_there = true, .name = "v2"},
    };
    for (int v = 0; v < CL_SHARED; v++)
    {
        struct volume_attributes attributes = cl_volume_attributes(&made[v]);
        int r = volume_create(client->cl->pool, made[v].name, &attributes, &client->why);
        if (r < 0)
            cl_fail(client, "volume_create() gives %d: %s", r, client->why.text);
        struct cl_volume volume = made[v];
        for (unsigned t = 1; t < CL_TREES; t++)
        {
            char path[48];
            volume.trees[t].is_there = true;
            snprintf(volume.trees[t].name, sizeof(volume.trees[t].name), "t%u", t);
            snprintf(path, sizeof(path), "%s/t%u", volume.name, t);
            r = qtree_create(client->cl->pool, path, NULL, &client->why);
            if (r < 0)
                cl_fail(client, "qtree_create() gives %d: %s", r, client->why.text);
        }
        r = quota_set_enabled(client->cl->pool, volume.name, true, &client->why);
        if (r < 0)
            cl_fail(client, "quota_set_enabled() gives %d: %s", r, client->why.text);
        volume.is_enforced = true;
        cl_volume_set(client, v, &volume);
    }
}

/* ---- commands ------------------------------------------------------------------------------ */

void cl_step_volume_create(struct cl_client *client)
{
    int v = cl_own_volume(client);
    if (cl_volume_get(client, v).is_there)
        return;
    struct cl_volume made = {.is_there = true};
    snprintf(made.name, sizeof(made.name), "p%uv%" PRIu64, client->number, client->made++);
    cl_volume_draw(client, &made);
    struct volume_attributes attributes = cl_volume_attributes(&made);
    cl_say(client, "volume '%s' of %" PRIu64 "%s", made.name, made.blks,
           made.is_guaranteed ? ", guaranteed" : "");
    cl_call_new(client);
    client->call.need.pool_blks += made.is_guaranteed ? made.blks : 0;
    cl_call_sign(client, cl_volume_is_there, 0, "%s", made.name);
    cl_call_begin(client);
    int r = volume_create(client->cl->pool, made.name, &attributes, &client->why);
    if (cl_call_end(client, "create volume", r))
        cl_volume_set(client, v, &made);
}

/* The shared one that is its to change, or one of its own. */
int cl_pick_to_change(struct cl_client *client)
{
    int choice = (int)rng_below(&client->rng, 3);
    int v = choice < 2 ? cl_own_volume(client) + choice : (int)client->number;
    bool is_its = v >= CL_SHARED || choice == 2;
    if (v == CL_SHARED && choice == 2) /* the last client has no shared one */
        return -1;
    return is_its && cl_volume_get(client, v).is_there ? v : -1;
}

/* Another size, guarantee, or both; returns what changes. */
static unsigned cl_volume_redraw(struct cl_client *client, struct cl_volume *volume)
{
    struct cl_volume was = *volume;
    unsigned kind = (unsigned)rng_below(&client->rng, 3);
    cl_volume_draw(client, volume);
    if (kind == 0 && (volume->blks > 0 || !was.is_guaranteed))
    {
        volume->is_guaranteed = was.is_guaranteed;
        return VOLUME_SET_SIZE;
    }
    if (kind == 1 && was.blks > 0)
    {
        volume->blks = was.blks;
        return VOLUME_SET_GUARANTEE;
    }
    return VOLUME_SET_SIZE | VOLUME_SET_GUARANTEE;
}

void cl_step_volume_modify(struct cl_client *client)
{
    int v = cl_pick_to_change(client);
    if (v < 0)
        return;
    struct cl_volume wanted = cl_volume_get(client, v);
    unsigned mask = cl_volume_redraw(client, &wanted);
    struct volume_attributes attributes = cl_volume_attributes(&wanted);
    struct volume_info info;
    cl_say(client, "volume '%s' becomes of %" PRIu64 "%s", wanted.name, wanted.blks,
           wanted.is_guaranteed ? ", guaranteed" : "");
    cl_call_new(client);
    client->call.need.pool_blks += wanted.is_guaranteed ? wanted.blks : 0;
    /* Others may charge up to all of it: what they claim is subtracted from what is left. */
    client->call.need.in[v] = (struct cl_share){.blks = 1, .modifies = true};
    client->call.left[v] = 0;
    cl_call_sign(client, cl_volume_is_like, cl_volume_likeness(&wanted), "%s", wanted.name);
    cl_call_begin(client);
    if (volume_get_info(client->cl->pool, wanted.name, &info, &client->why) < 0)
        cl_fail(client, "'%s' is not there", wanted.name);
    uint64_t used = (info.charged_bytes + info.reserved_bytes) / CL_BLK;
    client->call.left[v] = wanted.blks == 0     ? UINT64_MAX
                           : wanted.blks > used ? wanted.blks - used
                                                : 0;
    int r = volume_modify(client->cl->pool, wanted.name, mask, &attributes, &client->why);
    if (cl_call_end(client, "modify volume", r))
        cl_volume_set(client, v, &wanted);
}

static bool cl_delete_volume_snapshot(struct cl_client *client, int v)
{
    struct cl_volume volume = cl_volume_get(client, v);
    bool is_needed = cl_volume_get(client, cl_own_clone(client)).is_dependent;
    cl_say(client, "delete snapshot 'vs' of volume '%s'", volume.name);
    if (is_needed)
    {
        int r = volume_snapshot_delete(client->cl->pool, volume.name, "vs", 0, &client->why);
        if (r != -EBUSY && !cl_is_off(client->cl))
            cl_fail(client, "deleting a snapshot that is needed gives %d", r);
        return false;
    }
    cl_call_new(client);
    cl_call_sign(client, cl_saved_are, 0, "%s", volume.name);
    cl_call_begin(client);
    int r = volume_snapshot_delete(client->cl->pool, volume.name, "vs", 0, &client->why);
    if (!cl_call_end(client, "delete a snapshot of a volume", r))
    {
        if (!client->call.has_crashed)
            cl_fail(client, "deleting a snapshot of a volume gives %d: %s", r, client->why.text);
        return false;
    }
    volume.has_snapshot = false;
    client->saved.count = 0;
    cl_volume_set(client, v, &volume);
    return true;
}

/* Of the volume's LUNs, with what a freeze of all of them may need. */
static unsigned cl_call_freeze_all(struct cl_client *client, int v)
{
    unsigned count = 0;
    for (unsigned i = 0; i < CL_LUNS; i++)
    {
        if (!client->luns[i].is_there || client->luns[i].volume != v)
            continue;
        cl_call_freeze(client, &client->luns[i]);
        count++;
    }
    return count;
}

/* The volume is as it was saved from now on, whatever is done to it. */
static void cl_save(struct cl_client *client, int v, const struct cl_volume *volume)
{
    struct cl_saved *saved = &client->saved;
    saved->count = 0;
    for (unsigned i = 0; i < CL_LUNS; i++)
    {
        struct cl_lun *lun = &client->luns[i];
        if (!lun->is_there || lun->volume != v)
            continue;
        struct cl_saved_lun *of = &saved->luns[saved->count++];
        *of = (struct cl_saved_lun){.serial = lun->serial, .image = lun->now};
        snprintf(of->path, sizeof(of->path), "%s", lun->name);
        snprintf(of->leaf, sizeof(of->leaf), "%s", lun->leaf);
        snprintf(of->tree, sizeof(of->tree), "%s", lun->tree ? volume->trees[lun->tree].name : "");
        cl_frozen(lun);
    }
}

static bool cl_snapshot_volume(struct cl_client *client, int v)
{
    struct cl_volume volume = cl_volume_get(client, v);
    const char *names[] = {volume.name};
    struct volume_snapshot_args args = {.name = "vs"};
    cl_say(client, "snapshot 'vs' of volume '%s'", volume.name);
    cl_call_new(client);
    cl_call_freeze_all(client, v);
    cl_call_sign(client, cl_saved_are, 1, "%s", volume.name);
    cl_call_begin(client);
    int r = volume_snapshot_create(client->cl->pool, names, 1, &args, &client->why);
    if (!cl_call_end(client, "snapshot of a volume", r))
        return false;
    volume.has_snapshot = true;
    cl_volume_set(client, v, &volume);
    cl_save(client, v, &volume);
    return true;
}

void cl_step_volume_snapshot(struct cl_client *client)
{
    int v = cl_own_volume(client);
    struct cl_volume volume = cl_volume_get(client, v);
    if (volume.is_there && volume.has_snapshot && rng_percent(&client->rng, 40))
        ignore_error(cl_delete_volume_snapshot(client, v), "a clone may need it");
    else if (volume.is_there && !volume.has_snapshot)
        ignore_error(cl_snapshot_volume(client, v), "it was judged");
}

/* ---- restores ------------------------------------------------------------------------------ */

static struct cl_lun *cl_find_saved(struct cl_client *client, const struct cl_saved_lun *saved)
{
    for (unsigned i = 0; i < CL_LUNS; i++)
    {
        struct cl_lun *lun = &client->luns[i];
        if (lun->is_there && lun->serial == saved->serial)
            return lun;
    }
    return NULL;
}

/* The LUN as it comes back, in @volume as that will be; false: there is no number for its qtree. */
static bool cl_revive(struct cl_client *client, const struct cl_saved_lun *saved,
                      struct cl_volume *volume, struct cl_lun *lun)
{
    unsigned tree = saved->tree[0] ? cl_find_tree(volume, saved->tree) : 0;
    *lun = (struct cl_lun){.is_there = true,
                           .serial = saved->serial,
                           .volume = cl_own_volume(client),
                           .user = saved->user,
                           .group = saved->group,
                           .is_reserved = saved->is_reserved};
    snprintf(lun->leaf, sizeof(lun->leaf), "%s", saved->leaf);
    snprintf(lun->name, sizeof(lun->name), "%s", saved->path);
    if (saved->tree[0] && tree == 0)
    {
        tree = 1;
        while (tree < CL_TREES && volume->trees[tree].is_there)
            tree++;
        if (tree == CL_TREES)
            return false;
        volume->trees[tree].is_there = true;
        snprintf(volume->trees[tree].name, sizeof(volume->trees[tree].name), "%s", saved->tree);
    }
    lun->tree = tree;
    cl_restored(lun, &saved->image);
    return true;
}

/* What the restore of one needs; false: there is no room in the model. */
static bool cl_call_restore(struct cl_client *client, const struct cl_saved_lun *saved,
                            struct cl_volume *volume, struct cl_lun *revived)
{
    const struct cl_lun *lun = cl_find_saved(client, saved);
    int64_t blks = (int64_t)saved->image.blks;
    revived->is_there = false;
    if (!lun && !cl_revive(client, saved, volume, revived))
        return false;
    const struct cl_lun *of = lun ? lun : revived;
    if (of->is_reserved)
        cl_call_need(client, of->volume, saved->image.blks + 2 * cl_nodes(CL_LUN_BLKS));
    client->call.has_tail |= lun && cl_has_tail(client, lun);
    cl_call_quota(client, of, lun ? blks - (int64_t)lun->now.blks : blks);
    return true;
}

static void cl_put_back(struct cl_client *client, struct cl_saved_lun *saved,
                        const struct cl_lun *revived)
{
    struct cl_lun *lun = cl_find_saved(client, saved);
    if (lun)
    {
        cl_restored(lun, &saved->image);
        return;
    }
    saved->is_deleted = false;
    lun = cl_pick_free(client);
    *lun = *revived;
    cl_name_again(client, lun);
}

/* The saved LUNs from @first on: all, or one that a command names. */
static void cl_restore(struct cl_client *client, unsigned first, unsigned count)
{
    struct cl_saved *saved = &client->saved;
    int v = cl_own_volume(client);
    struct cl_volume volume = cl_volume_get(client, v);
    static _Thread_local struct cl_lun revived[CL_LUNS];
    unsigned missing = 0, room = 0;
    for (unsigned i = 0; i < CL_LUNS; i++)
        room += !client->luns[i].is_there;
    bool is_all = count == saved->count;
    const char *path = saved->luns[first].path;
    cl_say(client, "restore %s '%s' from 'vs'", is_all ? "volume" : "the LUN of",
           is_all ? volume.name : path);
    cl_call_new(client);
    for (unsigned i = first; i < first + count; i++)
    {
        if (!cl_call_restore(client, &saved->luns[i], &volume, &revived[i]))
            return;
        missing += revived[i].is_there;
    }
    if (missing > room)
        return;
    const struct cl_lun *lun = cl_find_saved(client, &saved->luns[first]);
    const char *name = lun ? lun->name : path;
    cl_call_sign(client, cl_is_new, cl_newness(client, name), "%s", name);
    cl_call_begin(client);
    int r = is_all ? volume_snapshot_restore(client->cl->pool, volume.name, "vs", 0, &client->why)
                   : snapshot_restore(client->cl->pool, path, "vs", 0, &client->why);
    if (!cl_call_end(client,
                     missing  ? "restore, from a delete"
                     : is_all ? "restore volume"
                              : "restore from a volume's",
                     r))
        return;
    cl_volume_set(client, v, &volume);
    for (unsigned i = first; i < first + count; i++)
        cl_put_back(client, &saved->luns[i], &revived[i]);
}

void cl_step_volume_restore(struct cl_client *client)
{
    if (client->saved.count > 0)
        cl_restore(client, 0, client->saved.count);
}

void cl_step_volume_restore_lun(struct cl_client *client)
{
    const struct cl_saved *saved = &client->saved;
    if (saved->count < 2)
        return;
    unsigned at = (unsigned)rng_below(&client->rng, saved->count);
    for (unsigned i = 0; i < saved->count && !saved->luns[at].is_deleted; i++)
        at = (at + 1) % saved->count;
    cl_restore(client, at, 1);
}

/* ---- clones -------------------------------------------------------------------------------- */

static void cl_adopt_clones(struct cl_client *client, int v, int c, bool no_reserve)
{
    struct cl_lun *sources[CL_LUNS] = {0};
    unsigned count = 0;
    for (unsigned i = 0; i < CL_LUNS; i++)
    {
        if (client->luns[i].is_there && client->luns[i].volume == v)
            sources[count++] = &client->luns[i];
    }
    for (unsigned i = 0; i < count; i++)
    {
        struct cl_lun *lun = cl_pick_free(client);
        *lun = (struct cl_lun){.is_there = true,
                               .serial = client->made++,
                               .volume = c,
                               .tree = sources[i]->tree,
                               .user = sources[i]->user,
                               .group = sources[i]->group,
                               .is_reserved = sources[i]->is_reserved && !no_reserve};
        memcpy(lun->leaf, sources[i]->leaf, sizeof(lun->leaf));
        cl_restored(lun, &sources[i]->now);
        cl_name_again(client, lun);
    }
}

/* What the clone of a volume needs beside the volume's own freeze, which was before. */
static void cl_call_clone_all(struct cl_client *client, int v, int c, bool no_reserve)
{
    for (unsigned i = 0; i < CL_LUNS; i++)
    {
        const struct cl_lun *lun = &client->luns[i];
        if (!lun->is_there || lun->volume != v)
            continue;
        struct cl_lun clone = {
            .volume = c, .tree = lun->tree, .user = lun->user, .group = lun->group};
        cl_call_quota(client, &clone, (int64_t)lun->now.blks);
        if (lun->is_reserved && !no_reserve)
            cl_call_need(client, c, lun->now.blks + 2 * cl_nodes(CL_LUN_BLKS));
    }
}

void cl_step_volume_clone(struct cl_client *client)
{
    int v = cl_own_volume(client), c = cl_own_clone(client);
    struct cl_volume parent = cl_volume_get(client, v);
    unsigned count = 0, room = 0;
    for (unsigned i = 0; i < CL_LUNS; i++)
    {
        count += client->luns[i].is_there && client->luns[i].volume == v;
        room += !client->luns[i].is_there;
    }
    if (!parent.is_there || cl_volume_get(client, c).is_there || count > room ||
        (parent.has_snapshot && !cl_delete_volume_snapshot(client, v)) ||
        !cl_snapshot_volume(client, v))
        return;
    bool unguaranteed = rng_percent(&client->rng, 50), no_reserve = rng_percent(&client->rng, 50);
    struct cl_volume made = {.is_there = true,
                             .blks = parent.blks,
                             .is_guaranteed = parent.is_guaranteed && !unguaranteed,
                             .is_dependent = true};
    memcpy(made.trees, parent.trees, sizeof(made.trees));
    snprintf(made.name, sizeof(made.name), "q%uv%" PRIu64, client->number, client->made++);
    struct volume_clone_args args = {.volume = parent.name,
                                     .snapshot = "vs",
                                     .name = made.name,
                                     .unguaranteed = unguaranteed,
                                     .no_reserve = no_reserve};
    cl_say(client, "clone volume '%s' to '%s'%s%s", parent.name, made.name,
           unguaranteed ? ", not guaranteed" : "", no_reserve ? ", not reserved" : "");
    cl_call_new(client);
    cl_call_clone_all(client, v, c, no_reserve);
    client->call.need.pool_blks += made.is_guaranteed ? made.blks : 0;
    client->call.left[c] = made.blks ? made.blks : UINT64_MAX;
    cl_call_sign(client, cl_volume_is_there, 0, "%s", made.name);
    cl_call_begin(client);
    int r = volume_clone(client->cl->pool, &args, &client->why);
    if (!cl_call_end(client, "clone volume", r))
        return;
    cl_volume_set(client, c, &made);
    cl_adopt_clones(client, v, c, no_reserve);
}

void cl_step_volume_split(struct cl_client *client)
{
    int c = cl_own_clone(client);
    struct cl_volume clone = cl_volume_get(client, c);
    if (!clone.is_dependent)
        return;
    cl_say(client, "split volume '%s'", clone.name);
    cl_call_new(client);
    cl_call_sign(client, cl_volume_is_split, 0, "%s", clone.name);
    cl_call_begin(client);
    int r = volume_clone_split(client->cl->pool, clone.name, &client->why);
    if (!cl_call_end(client, "split volume", r))
        return;
    clone.is_dependent = false;
    cl_volume_set(client, c, &clone);
}

void cl_step_volume_delete(struct cl_client *client)
{
    int c = cl_own_clone(client), v = rng_percent(&client->rng, 70) ? c : cl_own_volume(client);
    struct cl_volume volume = cl_volume_get(client, v);
    if (!volume.is_there)
        return;
    bool is_needed = v != c && cl_volume_get(client, c).is_dependent;
    cl_say(client, "delete volume '%s'", volume.name);
    if (is_needed)
    {
        int r = volume_delete(client->cl->pool, volume.name, true, 0, &client->why);
        if (r != -EBUSY && !cl_is_off(client->cl))
            cl_fail(client, "deleting a volume that is needed gives %d", r);
        cl_count(client, "delete volume: refused");
        return;
    }
    cl_call_new(client);
    cl_call_sign(client, cl_volume_is_gone, 0, "%s", volume.name);
    cl_call_begin(client);
    int r = volume_delete(client->cl->pool, volume.name, true, 0, &client->why);
    if (!cl_call_end(client, "delete volume", r))
    {
        if (!client->call.has_crashed)
            cl_fail(client, "deleting a volume gives %d: %s", r, client->why.text);
        return;
    }
    for (unsigned i = 0; i < CL_LUNS; i++)
        client->luns[i].is_there &= client->luns[i].volume != v;
    if (v != c)
        client->saved.count = 0;
    cl_volume_set(client, v, &(struct cl_volume){0});
}
