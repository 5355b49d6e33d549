/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands on volumes and quotas of the test of several clients. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "tests/model/clients.h"

/* ---- the model's volumes ------------------------------------------------------------------- */

static struct cl_volume cl_volume_get(struct cl_client *client, int v)
{
    AUTO_LOCK(&client->cl->lock);
    return client->cl->volumes[v];
}

/* All but the sum of sizes, which calls keep. */
static void cl_volume_set(struct cl_client *client, int v, const struct cl_volume *volume)
{
    AUTO_LOCK(&client->cl->lock);
    uint64_t logical = volume->is_there ? client->cl->volumes[v].logical : 0;
    client->cl->volumes[v] = *volume;
    client->cl->volumes[v].logical = logical;
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
        volume.rule_bytes = UINT64_MAX;
        cl_volume_set(client, v, &volume);
    }
}

/* ---- commands ------------------------------------------------------------------------------ */

void cl_step_volume_create(struct cl_client *client)
{
    int v = cl_own_volume(client);
    if (cl_volume_get(client, v).is_there)
        return;
    struct cl_volume made = {.is_there = true, .rule_bytes = UINT64_MAX};
    snprintf(made.name, sizeof(made.name), "p%uv%" PRIu64, client->number, client->made++);
    cl_volume_draw(client, &made);
    struct volume_attributes attributes = cl_volume_attributes(&made);
    cl_say(client, "volume '%s' of %" PRIu64 "%s", made.name, made.blks,
           made.is_guaranteed ? ", guaranteed" : "");
    cl_call_new(client);
    client->call.need.pool_blks += made.is_guaranteed ? made.blks : 0;
    cl_call_begin(client);
    int r = volume_create(client->cl->pool, made.name, &attributes, &client->why);
    if (cl_call_end(client, "create volume", r))
        cl_volume_set(client, v, &made);
}

/* The shared one that is its to change, or one of its own; -1: none. */
static int cl_pick_to_change(struct cl_client *client)
{
    int choice = (int)rng_below(&client->rng, 3);
    int v = choice < 2 ? cl_own_volume(client) + choice : (int)client->number;
    bool is_its = v >= CL_SHARED || choice == 2;
    if (v == CL_SHARED && choice == 2) /* the last client has no shared one */
        return -1;
    return is_its && cl_volume_get(client, v).is_there ? v : -1;
}

void cl_step_volume_modify(struct cl_client *client)
{
    int v = cl_pick_to_change(client);
    if (v < 0)
        return;
    struct cl_volume wanted = cl_volume_get(client, v);
    cl_volume_draw(client, &wanted);
    struct volume_attributes attributes = cl_volume_attributes(&wanted);
    struct volume_info info;
    cl_say(client, "volume '%s' becomes of %" PRIu64 "%s", wanted.name, wanted.blks,
           wanted.is_guaranteed ? ", guaranteed" : "");
    cl_call_new(client);
    client->call.need.pool_blks += wanted.is_guaranteed ? wanted.blks : 0;
    /* Others may charge up to all of it: what they claim is subtracted from what is left. */
    client->call.need.in[v] = (struct cl_share){.blks = 1, .modifies = true};
    client->call.left[v] = 0;
    cl_call_begin(client);
    if (volume_get_info(client->cl->pool, wanted.name, &info, &client->why) < 0)
        cl_fail(client, "'%s' is not there", wanted.name);
    uint64_t used = (info.charged_bytes + info.reserved_bytes) / CL_BLK;
    client->call.left[v] = wanted.blks == 0     ? UINT64_MAX
                           : wanted.blks > used ? wanted.blks - used
                                                : 0;
    int r = volume_modify(client->cl->pool, wanted.name, VOLUME_SET_SIZE | VOLUME_SET_GUARANTEE,
                          &attributes, &client->why);
    if (cl_call_end(client, "modify volume", r))
        cl_volume_set(client, v, &wanted);
}

static bool cl_delete_volume_snapshot(struct cl_client *client, int v)
{
    struct cl_volume volume = cl_volume_get(client, v);
    bool is_needed = cl_volume_get(client, cl_own_clone(client)).is_dependent;
    cl_say(client, "delete snapshot 'vs' of volume '%s'", volume.name);
    int r = volume_snapshot_delete(client->cl->pool, volume.name, "vs", 0, &client->why);
    if (r != (is_needed ? -EBUSY : 0))
        cl_fail(client, "deleting a snapshot of a volume gives %d: %s", r, client->why.text);
    volume.has_snapshot = is_needed;
    cl_volume_set(client, v, &volume);
    return !is_needed;
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

static bool cl_snapshot_volume(struct cl_client *client, int v)
{
    struct cl_volume volume = cl_volume_get(client, v);
    const char *names[] = {volume.name};
    struct volume_snapshot_args args = {.name = "vs"};
    cl_say(client, "snapshot 'vs' of volume '%s'", volume.name);
    cl_call_new(client);
    cl_call_freeze_all(client, v);
    cl_call_begin(client);
    int r = volume_snapshot_create(client->cl->pool, names, 1, &args, &client->why);
    if (!cl_call_end(client, "snapshot of a volume", r))
        return false;
    volume.has_snapshot = true;
    cl_volume_set(client, v, &volume);
    for (unsigned i = 0; i < CL_LUNS; i++)
    {
        if (client->luns[i].volume == v)
            memset(client->luns[i].is_own, false, sizeof(client->luns[i].is_own));
    }
    return true;
}

static void cl_adopt_clones(struct cl_client *client, int v, int c, bool no_reserve)
{
    struct cl_lun *sources[CL_LUNS] = {0};
    unsigned count = 0;
    for (unsigned i = 0; i < CL_LUNS; i++)
    {
        if (client->luns[i].is_there && client->luns[i].volume == v)
            sources[count++] = &client->luns[i];
    }
    struct cl_volume clone = cl_volume_get(client, c);
    for (unsigned i = 0; i < count; i++)
    {
        struct cl_lun *lun = cl_pick_free(client);
        *lun = (struct cl_lun){.is_there = true,
                               .volume = c,
                               .is_reserved = sources[i]->is_reserved && !no_reserve,
                               .now = sources[i]->now};
        memcpy(lun->leaf, sources[i]->leaf, sizeof(lun->leaf));
        snprintf(lun->name, sizeof(lun->name), "%s/%s", clone.name, lun->leaf);
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
        cl_call_quota(client, c, 0, lun->now.blks * CL_BLK);
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
                             .is_dependent = true,
                             .rule_bytes = UINT64_MAX};
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
    int r = volume_delete(client->cl->pool, volume.name, true, 0, &client->why);
    if (r != (is_needed ? -EBUSY : 0))
        cl_fail(client, "deleting a volume gives %d: %s", r, client->why.text);
    cl_count(client, "delete volume: %s", is_needed ? "refused" : "done");
    if (is_needed)
        return;
    for (unsigned i = 0; i < CL_LUNS; i++)
        client->luns[i].is_there &= client->luns[i].volume != v;
    cl_volume_set(client, v, &(struct cl_volume){0});
}

/* ---- quotas -------------------------------------------------------------------------------- */

/* Rules are set and deleted, and turned on and off. */
void cl_step_quota(struct cl_client *client)
{
    int v = cl_pick_to_change(client), r;
    if (v < 0)
        return;
    struct cl_volume volume = cl_volume_get(client, v);
    struct quota_rule rule = {
        .type = QUOTA_TREE, .soft_bytes = UINT64_MAX, .threshold_bytes = UINT64_MAX};
    snprintf(rule.volume, sizeof(rule.volume), "%s", volume.name);
    unsigned kind = (unsigned)rng_below(&client->rng, 4);
    cl_call_new(client);
    client->call.need.in[v].modifies = true;
    cl_call_begin(client);
    if (kind == 0)
    {
        volume.is_enforced = !volume.is_enforced;
        cl_say(client, "quotas of '%s' are turned %s", volume.name,
               volume.is_enforced ? "on" : "off");
        r = quota_set_enabled(client->cl->pool, volume.name, volume.is_enforced, &client->why);
    }
    else if (kind == 1 && volume.rule_bytes != UINT64_MAX)
    {
        volume.rule_bytes = UINT64_MAX;
        cl_say(client, "delete the quota of '%s'", volume.name);
        r = quota_rule_delete(client->cl->pool, &rule, &client->why);
    }
    else
    {
        rule.hard_bytes = volume.rule_bytes =
            rng_between(&client->rng, 1, 6 * (uint64_t)CL_LUN_BLKS) * CL_BLK;
        cl_say(client, "the quota of '%s' is %" PRIu64 " blocks", volume.name,
               volume.rule_bytes / CL_BLK);
        r = quota_rule_set(client->cl->pool, &rule, &client->why);
    }
    if (cl_call_end(client, "quota rule", r))
        cl_volume_set(client, v, &volume);
}
