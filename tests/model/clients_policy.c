/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Policies that delete snapshots to make room, in mode turns: only who has one loses snapshots, one
 * in each look, and only while there is less room than it asks for.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/policy/policy.h"
#include "tests/model/clients.h"

enum
{
    CL_LOOK_AGAIN_S = 61, /* by then a policy has waited long enough for whatever it waits for */
};

void cl_policy_open(struct cl *cl)
{
    struct policy_options options = {.no_threads = true};
    struct reason *why = &cl->clients[0].why;
    int r = cl->has_threads ? 0 : policy_start(cl->pool, &options, &cl->policy, why);
    if (r < 0)
        cl_fail(&cl->clients[0], "policy_start() gives %d: %s", r, why->text);
}

void cl_policy_close(struct cl *cl)
{
    policy_stop(cl->policy);
    cl->policy = NULL;
}

static struct volume_info cl_policy_volume(struct cl_client *client, int v)
{
    struct volume_info info;
    const char *name = client->cl->volumes[v].name;
    if (volume_get_info(client->cl->pool, name, &info, &client->why) < 0)
        cl_fail(client, "'%s' is not there", name);
    return info;
}

static struct policy_autodelete cl_policy_of(struct cl_client *client, int v)
{
    struct policy_settings settings;
    policy_get(client->cl->policy, POLICY_OF_VOLUME, cl_policy_volume(client, v).id, &settings);
    return settings.autodelete;
}

static bool cl_policy_is_so(struct cl_client *client, const struct cl_sign *sign)
{
    struct policy_autodelete is = cl_policy_of(client, cl_own_volume(client));
    return sign->number == (is.is_enabled ? is.target_free_percent : 0);
}

void cl_check_policy(struct cl_client *client, int v)
{
    if (!client->cl->policy)
        return;
    struct policy_autodelete is = cl_policy_of(client, v);
    uint64_t percent = is.is_enabled ? is.target_free_percent : 0;
    if (percent != client->cl->volumes[v].free_percent)
        cl_fail(client, "the policy of '%s' frees %" PRIu64 " %%, not %u",
                client->cl->volumes[v].name, percent, client->cl->volumes[v].free_percent);
}

void cl_step_policy(struct cl_client *client)
{
    int v = cl_own_volume(client);
    struct cl_volume volume = cl_volume_get(client, v);
    if (!volume.is_there || !client->cl->policy)
        return;
    bool is_off = rng_percent(&client->rng, 30);
    unsigned percent = (unsigned)rng_between(&client->rng, 2, 90);
    volume.free_percent = is_off ? 0 : percent;
    volume.is_freed_by_pool = rng_percent(&client->rng, 50);
    struct policy_settings settings = {
        .autodelete = {.is_enabled = !is_off,
                       .is_by_pool = volume.is_freed_by_pool,
                       .trigger_free_percent = (uint8_t)(percent - 1),
                       .target_free_percent = (uint8_t)percent}};
    cl_say(client, "a policy is to free %u %% of '%s'", volume.free_percent,
           volume.is_freed_by_pool ? "the pool" : volume.name);
    uint64_t id = cl_policy_volume(client, v).id;
    cl_call_new(client);
    cl_call_sign(client, cl_policy_is_so, volume.free_percent, "%s", volume.name);
    cl_call_begin(client);
    int r = policy_set(client->cl->policy, POLICY_OF_VOLUME, id, POLICY_SET_AUTODELETE, &settings,
                       &client->why);
    if (cl_call_end(client, "policy", r))
        cl_volume_set(client, v, &volume);
}

/* ---- what policies do ---------------------------------------------------------------------- */

/* Whether the volume has less room than its policy is to make. */
static bool cl_lacks_room(struct cl_client *client, int v)
{
    const struct cl_volume *volume = &client->cl->volumes[v];
    struct volume_info info = cl_policy_volume(client, v);
    struct pool_info pool;
    pool_get_info(client->cl->pool, &pool);
    uint64_t used = info.charged_bytes + info.reserved_bytes;
    uint64_t all = volume->is_freed_by_pool ? pool.size_bytes : info.size_bytes;
    uint64_t left = volume->is_freed_by_pool ? pool.available_bytes : used < all ? all - used : 0;
    return left * 100 < all * volume->free_percent;
}

/* What is gone of the client's own volume; returns how much. */
static unsigned cl_lose_snapshots(struct cl_client *client, int v)
{
    unsigned lost = 0;
    for (unsigned i = 0; i < CL_LUNS * CL_SNAPSHOTS; i++)
    {
        struct cl_lun *lun = &client->luns[i / CL_SNAPSHOTS];
        struct cl_image *image = &lun->snapshots[i % CL_SNAPSHOTS];
        struct cl_sign sign = {0};
        if (!lun->is_there || lun->volume != v || !image->is_there)
            continue;
        cl_snapshot_name(sign.name, sizeof(sign.name), lun, i % CL_SNAPSHOTS);
        if (!cl_is_gone(client, &sign))
            continue;
        cl_say(client, "a policy has deleted '%s'", sign.name);
        image->is_there = false;
        lost++;
    }
    struct cl_volume volume = cl_volume_get(client, v);
    if (volume.has_snapshot && cl_policy_volume(client, v).snapshot_count == 0)
    {
        cl_say(client, "a policy has deleted '%s@vs'", volume.name);
        client->saved.count = 0;
        volume.has_snapshot = false;
        cl_volume_set(client, v, &volume);
        lost++;
    }
    return lost;
}

void cl_policy_work(struct cl_client *client)
{
    struct cl *cl = client->cl;
    bool may[CL_CLIENTS] = {false};
    if (!cl->policy)
        return;
    cl_say(client, "policies look at their volumes");
    for (unsigned c = 0; c < CL_CLIENTS; c++)
    {
        int v = cl_own_volume(&cl->clients[c]);
        may[c] = cl->volumes[v].is_there && cl->volumes[v].free_percent > 0 &&
                 cl_lacks_room(&cl->clients[c], v);
    }
    cl->env.now_ns += CL_LOOK_AGAIN_S * UINT64_C(1000000000);
    ignore_error((int)policy_step(cl->policy, POLICY_SPACE), "it says when it wants to look again");
    if (cl_is_off(cl))
        cl_crash(client);
    for (unsigned c = 0; c < CL_CLIENTS; c++)
    {
        struct cl_client *owner = &cl->clients[c];
        int v = cl_own_volume(owner);
        unsigned lost = cl->volumes[v].is_there ? cl_lose_snapshots(owner, v) : 0;
        if (lost > may[c])
            cl_fail(owner, "policies have deleted %u snapshots of '%s', and might %s", lost,
                    cl->volumes[v].name, may[c] ? "one" : "none");
        if (lost > 0)
            cl_count(client, "a policy deletes a snapshot");
    }
}
