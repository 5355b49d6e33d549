/* SPDX-License-Identifier: BSD-3-Clause */
/* The world of the test of several clients: pool, names, failures. */
#include "tests/model/clients.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/env.h"

/* ---- saying -------------------------------------------------------------------------------- */

void cl_fail(struct cl_client *client, const char *format, ...)
{
    static atomic_bool is_failing;
    char text[1024];
    va_list args;
    while (atomic_exchange(&is_failing, true))
        pause(); /* one is enough; the process ends */
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    struct cl *cl = client->cl;
    for (unsigned c = 0; c < CL_CLIENTS; c++)
    {
        const struct cl_client *other = &cl->clients[c];
        fprintf(stderr, "The last steps of client %u%s:\n", c,
                other->call.is_active ? ", which is in one" : "");
        uint64_t first = other->said > CL_LAST_STEPS ? other->said - CL_LAST_STEPS : 0;
        for (uint64_t i = first; i < other->said; i++)
            fprintf(stderr, "  %s\n", other->last[i % CL_LAST_STEPS]);
    }
    replay_fail(&client->replay, "seed %" PRIu64 ", client %u: %s", cl->replay->seed,
                client->number, text);
}

void cl_say(struct cl_client *client, const char *format, ...)
{
    char text[140];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    snprintf(client->last[client->said++ % CL_LAST_STEPS], sizeof(client->last[0]),
             "%6" PRIu64 "  %s", client->replay.step, text);
    replay_trace(&client->replay, "%u: %s", client->number, text);
}

void cl_count(struct cl_client *client, const char *format, ...)
{
    char text[48];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    AUTO_LOCK(&client->cl->lock);
    replay_count(client->cl->replay, "%s", text);
}

/* ---- beginning and end --------------------------------------------------------------------- */

static void cl_must(struct cl *cl, int r, const char *what)
{
    if (r < 0)
        cl_fail(&cl->clients[0], "%s gives %d: %s", what, r, cl->clients[0].why.text);
}

/* A disk takes time, in which others are at it: without that a write of data is through at once. Of
 * those, which are full of one value, some do. Nobody waits for anything by it. */
static void cl_take_time(void *opaque, enum simdev_op op, const uint8_t *head)
{
    static atomic_uint count;
    struct timespec moment = {.tv_nsec = 50000};
    (void)opaque;
    bool is_data = op == SIMDEV_WRITE && head[0] != 0 && head[0] == head[1] && head[0] == head[15];
    if (is_data && atomic_fetch_add(&count, 1) % 4 == 0)
        nanosleep(&moment, NULL);
}

int cl_open(struct cl *cl, struct reason *why)
{
    struct env *env = cl->has_threads ? env_system() : &cl->env.env;
    struct pool_open_options options = {.cache_bytes = 256 << 10,
                                        .checkpoint_ms = cl->has_threads ? 200 : 3600000};
    cl->last_event = 0;
    int r = pool_open_device(env, simdev_open(cl->disk), &options, &cl->pool, why);
    if (r == 0)
        cl_policy_open(cl);
    return r == 0 && cl->has_threads ? pool_start(cl->pool) : r;
}

static void cl_create(struct cl *cl)
{
    struct env *env = cl->has_threads ? env_system() : &cl->env.env;
    struct reason *why = &cl->clients[0].why;
    struct pool_create_options create = {.name = "clients",
                                         .size_bytes = CL_POOL_BYTES,
                                         .journal_bytes = 512 << 10,
                                         .group_blks = CL_GROUP_BLKS};
    struct device *device = simdev_open(cl->disk);
    int r = pool_create_on_device(env, device, &create, why);
    device_close(device);
    cl_must(cl, r, "pool_create_on_device()");
    cl_must(cl, cl_open(cl, why), "pool_open_device()");
    if (cl->has_threads)
        simdev_set_hook(cl->disk, cl_take_time, NULL);
}

void cl_begin(struct cl *cl, struct replay *replay)
{
    cl->replay = replay;
    cl->has_threads = strcmp(replay->mode, "threads") == 0;
    lock_init(&cl->lock, LOCK_RANK_LEAF);
    rng_env_init(&cl->env, replay->seed);
    cl->crash_rng = rng_of(replay->seed + 1);
    lock_init(&cl->meeting.lock, LOCK_RANK_LEAF);
    condition_init(&cl->meeting.changed);
    cl->disk = simdev_new(CL_POOL_BYTES, CL_POOL_BYTES, replay->seed);
    for (unsigned c = 0; c < CL_CLIENTS; c++)
    {
        struct cl_client *client = &cl->clients[c];
        client->cl = cl;
        client->number = c;
        client->replay = *replay;
        if (cl->has_threads)
            client->replay.seed = replay->seed * CL_CLIENTS + c;
    }
    replay_quiet_log(replay);
    cl_create(cl);
    /* One promise is always there, so what all share is kept for them throughout. */
    struct lun_create_args args = {
        .name = "keep", .size_bytes = CL_BLK, .attributes = {.is_reserved = true}};
    cl_must(cl, lun_create(cl->pool, &args, &cl->clients[0].why), "the first promise");
    cl_make_shared(&cl->clients[0]);
}

void cl_end(struct cl *cl)
{
    cl_policy_close(cl);
    cl_must(cl, pool_close(cl->pool), "pool_close()");
    simdev_destroy(cl->disk);
    lock_destroy(&cl->lock);
    condition_destroy(&cl->meeting.changed);
    lock_destroy(&cl->meeting.lock);
}

/* ---- picking ------------------------------------------------------------------------------- */

int cl_own_volume(const struct cl_client *client)
{
    return CL_SHARED + 2 * (int)client->number;
}

int cl_own_clone(const struct cl_client *client)
{
    return cl_own_volume(client) + 1;
}

static struct cl_lun *cl_pick(struct cl_client *client, bool is_there)
{
    unsigned from = (unsigned)rng_below(&client->rng, CL_LUNS);
    for (unsigned i = 0; i < CL_LUNS; i++)
    {
        struct cl_lun *lun = &client->luns[(from + i) % CL_LUNS];
        if (lun->is_there == is_there)
            return lun;
    }
    return NULL;
}

struct cl_lun *cl_pick_lun(struct cl_client *client)
{
    return cl_pick(client, true);
}

struct cl_lun *cl_pick_free(struct cl_client *client)
{
    return cl_pick(client, false);
}

int cl_pick_volume(struct cl_client *client)
{
    int v = (int)rng_below(&client->rng, CL_SHARED + 4);
    if (v == CL_SHARED + 3)
        return -1;
    if (v >= CL_SHARED) /* its own ones */
        v = v == CL_SHARED + 2 ? cl_own_clone(client) : cl_own_volume(client);
    AUTO_LOCK(&client->cl->lock);
    return client->cl->volumes[v].is_there ? v : -1;
}

void cl_name_again(struct cl_client *client, struct cl_lun *lun)
{
    AUTO_LOCK(&client->cl->lock);
    const struct cl_volume *volume = lun->volume >= 0 ? &client->cl->volumes[lun->volume] : NULL;
    snprintf(lun->name, sizeof(lun->name), "%s%s%s%s%s", volume ? volume->name : "",
             volume ? "/" : "", lun->tree ? volume->trees[lun->tree].name : "",
             lun->tree ? "/" : "", lun->leaf);
}

void cl_name(struct cl_client *client, struct cl_lun *lun, int volume, unsigned tree)
{
    memset(lun, 0, sizeof(*lun));
    lun->volume = volume;
    lun->tree = tree;
    lun->serial = client->made++;
    snprintf(lun->leaf, sizeof(lun->leaf), "c%ul%" PRIu64, client->number, lun->serial);
    cl_name_again(client, lun);
}
