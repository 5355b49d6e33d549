/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several clients of one small pool, which is nearly full most of the time, and loses its power now
 * and then.
 *
 * After each step nothing is promised that is not there, and all books are what a recount makes
 * them; every refusal had a reason; no promised write met -ENOSPC. Every CL_CHECK_STEPS steps all
 * clients pause, and everything that was acknowledged is compared, as after each power cut.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "tests/model/clients.h"

enum
{
    CL_CUT_EVERY_STEPS = 50,
    CL_TURNS = 4, /* of a step in mode turns */
};

struct cl_kind
{
    void (*step)(struct cl_client *client);
    unsigned weight;
};

static const struct cl_kind cl_kinds[] = {
    {cl_step_write, 24},
    {cl_step_write_promised, 20},
    {cl_step_fill, 16},
    {cl_step_unmap, 8},
    {cl_step_zero, 6},
    {cl_step_read, 6},
    {cl_step_create, 12},
    {cl_step_delete, 7},
    {cl_step_clone, 8},
    {cl_step_resize, 5},
    {cl_step_reserve, 6},
    {cl_step_snapshot, 6},
    {cl_step_snapshot_delete, 6},
    {cl_step_restore, 4},
    {cl_step_redeploy, 4},
    {cl_step_move, 6},
    {cl_step_owner, 5},
    {cl_step_flush, 4},
    {cl_step_tree, 6},
    {cl_step_policy, 3},
    {cl_step_volume_snapshot, 5},
    {cl_step_volume_restore, 6},
    {cl_step_volume_restore_lun, 6},
    {cl_step_volume_create, 3},
    {cl_step_volume_modify, 5},
    {cl_step_volume_clone, 3},
    {cl_step_volume_split, 3},
    {cl_step_volume_delete, 2},
    {cl_step_quota, 12},
    {cl_step_churn, 2},
};

static void cl_step(struct cl_client *client)
{
    uint64_t total = 0;
    unsigned kind = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(cl_kinds); i++)
        total += cl_kinds[i].weight;
    uint64_t at = rng_below(&client->rng, total);
    while (at >= cl_kinds[kind].weight)
        at -= cl_kinds[kind++].weight;
    client->call.has_crashed = false;
    cl_kinds[kind].step(client);
    cl_look(client);
}

/* The power goes once in so many steps of all. */
static bool cl_cuts(struct cl_client *client)
{
    return rng_below(&client->rng, CL_CUT_EVERY_STEPS) == 0;
}

/* ---- with threads -------------------------------------------------------------------------- */

/* At the end of a step: the pool was opened anew meanwhile, or is to be. */
static void cl_mind_power(struct cl_client *client)
{
    if (cl_is_off(client->cl))
        cl_crash(client);
    if (client->must_check)
        cl_after_crash(client);
}

/* All at once into one volume, which has room for some of it. */
static void cl_rush(struct cl_client *client)
{
    cl_meet(client);
    client->rng = rng_of(client->replay.seed * client->replay.steps + client->replay.step);
    for (unsigned i = 0; i < CL_RUSH_STEPS; i++)
    {
        cl_step_write_closed(client);
        cl_look(client);
        cl_mind_power(client);
    }
}

static void *cl_client_main(void *opaque)
{
    struct cl_client *client = opaque;
    for (uint64_t step = 0; step < client->replay.steps; step++)
    {
        if (replay_step(&client->replay, step, &client->rng))
        {
            if (client->number == 0 && cl_cuts(client))
                cl_step_power_cut(client);
            cl_step(client);
            cl_mind_power(client);
        }
        if ((step + 1) % CL_CHECK_STEPS != 0)
            continue;
        cl_meet(client);
        if (client->number == 0)
            cl_check(client);
        cl_meet(client);
        cl_check_contents(client);
        cl_rush(client);
    }
    cl_meet(client);
    return NULL;
}

static void cl_run_threads(struct cl *cl)
{
    for (unsigned c = 0; c < CL_CLIENTS; c++)
        INVARIANT(pthread_create(&cl->clients[c].thread, NULL, cl_client_main, &cl->clients[c]) ==
                  0);
    for (unsigned c = 0; c < CL_CLIENTS; c++)
        INVARIANT(pthread_join(cl->clients[c].thread, NULL) == 0);
}

/* ---- in turns ------------------------------------------------------------------------------ */

/* What the pool's threads do otherwise. */
static void cl_step_background(struct cl_client *client)
{
    uint64_t count = rng_percent(&client->rng, 20) ? 100 : rng_between(&client->rng, 1, 10);
    int r = 1;
    cl_say(client, "up to %" PRIu64 " steps of jobs", count);
    while (count-- > 0 && r > 0)
        r = pool_run_job_step(client->cl->pool);
    if (rng_percent(&client->rng, 20))
        r = pool_checkpoint(client->cl->pool);
    if (r < 0 && r != -ENOSPC && !cl_is_off(client->cl))
        cl_fail(client, "background work gives %d", r);
    if (rng_percent(&client->rng, 30) && !cl_is_off(client->cl))
        cl_policy_work(client);
    cl_look(client);
}

static void cl_check_turns(struct cl *cl)
{
    cl_check(&cl->clients[0]);
    for (unsigned c = 0; c < CL_CLIENTS; c++)
        cl_check_contents(&cl->clients[c]);
}

/* As cl_mind_power(), for all. */
static void cl_mind_power_turns(struct cl *cl, struct cl_client *client)
{
    if (cl_is_off(cl))
        cl_crash(client);
    if (!client->must_check)
        return;
    for (unsigned c = 0; c < CL_CLIENTS; c++)
    {
        cl->clients[c].must_check = false;
        cl_adopt_all(&cl->clients[c]);
    }
    cl_check_turns(cl);
}

static void cl_run_turns(struct cl *cl)
{
    for (uint64_t step = 0; step < cl->replay->steps; step++)
    {
        struct rng rng;
        bool is_kept = replay_step(cl->replay, step, &rng);
        for (unsigned turn = 0; is_kept && turn < CL_TURNS; turn++)
        {
            struct cl_client *client = &cl->clients[rng_below(&rng, CL_CLIENTS)];
            client->rng = rng_fork(&rng);
            client->replay.step = step;
            if (cl_cuts(client))
                cl_step_power_cut(client);
            if (rng_percent(&client->rng, 15))
                cl_step_background(client);
            else
                cl_step(client);
            cl_mind_power_turns(cl, client);
        }
        if ((step + 1) % CL_CHECK_STEPS != 0)
            continue;
        simdev_cut_power_at(cl->disk, 0);
        cl_check_turns(cl);
    }
}

static void cl_run(struct replay *replay)
{
    static struct cl cl;
    cl_begin(&cl, replay);
    if (cl.has_threads)
        cl_run_threads(&cl);
    else
        cl_run_turns(&cl);
    simdev_cut_power_at(cl.disk, 0);
    for (unsigned c = 0; c < CL_CLIENTS; c++)
    {
        cl.clients[c].rng = rng_of(1);
        cl_say(&cl.clients[c], "the end");
        cl_fill_promised(&cl.clients[c]);
    }
    cl_check_turns(&cl);
    cl_end(&cl);
}

/* ---- the program --------------------------------------------------------------------------- */

static uint64_t cl_counter(const struct replay_stats *stats, const char *label)
{
    for (unsigned j = 0; j < REPLAY_COUNTERS; j++)
    {
        if (strcmp(stats->counters[j].label, label) == 0)
            return stats->counters[j].count;
    }
    return 0;
}

static void cl_print_share(const struct replay_stats *stats, const char *what)
{
    char label[48];
    snprintf(label, sizeof(label), "%s: by figures", what);
    uint64_t figures = cl_counter(stats, label);
    snprintf(label, sizeof(label), "%s: only by what others claim", what);
    uint64_t others = cl_counter(stats, label);
    printf("refusals for %s: %" PRIu64 ", of which %" PRIu64
           " (%.1f %%) are explained only by what others may have held at once\n",
           what, figures + others, others,
           figures + others ? 100.0 * (double)others / (double)(figures + others) : 0.0);
}

static int cl_by_label(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* In how many runs it must have been met. */
static const struct
{
    const char *label;
    uint64_t runs;
} cl_wanted[] = {
    {"checked", 1},
    {"looked: nearly full", 1},
    {"write: no space", 10},
    {"write: done, promised", 10},
    {"write: no space, promised", 10}, /* by the bound of a guaranteed volume */
    {"unmap: done, promised", 10},
    {"create reserved: done", 10},
    {"create reserved: no space", 10},
    {"clone reserved: done", 10},
    {"reserve: no space", 10},
    {"modify volume: no space", 10},
    {"clone volume: done", 10},
    {"split volume: done", 10},
    {"quota rule: done", 10},
    {"clone volume: no space", 60},
    {"snapshot, reserved: no space", 60},
    {"clone reserved: no space", 60},
    {"restore: no space", 60},
    {"crashed", 10},
    {"quota: tree", 20},
    {"quota: user", 20},
    {"quota: tree, by a default rule", 20},
    {"quota: user, by a default rule", 20},
    {"create: quota", 20},
    {"change owner: quota", 20},
    {"redeploy: done", 20},
    {"move: done", 20},
    {"move away: done", 20},
    {"create qtree: done", 20},
    {"rename qtree: done", 20},
    {"delete qtree: done", 20},
    {"restore volume: done", 20},
    {"restore from a volume's: done", 20},
    {"restore, from a delete: done", 20},
    {"event: quota.softlimit.exceeded", 20},
    {"event: quota.softlimit.normal", 20},
    {"event: quota.threshold.exceeded", 20},
    {"policy: done", 20},
    {"a policy deletes a snapshot", 20},
    {"create: done, in a crash", 60},
    {"create: not done, in a crash", 60},
    {"quota rule: done, in a crash", 60},
    {"quota rule: not done, in a crash", 60},
    {"restore volume: quota", 60},
    {"redeploy: quota", 60},
    {"quota: group", 60},
    {"quota: group, by a default rule", 60},
    {"event: quota.user.overallocated", 60},
    {"grow: no space", 60},
    {"grow: quota", 60},
    {"clone: quota", 60},
    {"create reserved: quota", 60},
};

/* Whether it came to this, or need not in so few runs. */
static bool cl_has(const struct replay_stats *stats, unsigned i)
{
    return stats->runs < cl_wanted[i].runs || cl_counter(stats, cl_wanted[i].label) > 0;
}

/* What must have happened, or the test proves little. */
static bool cl_is_covered(const struct replay_stats *stats)
{
    bool is_covered = true;
    for (unsigned i = 0; i < ARRAY_SIZE(cl_wanted); i++)
        is_covered &= cl_has(stats, i);
    return is_covered;
}

static bool cl_summary(const struct replay_stats *stats)
{
    struct replay_stats sorted = *stats;
    unsigned count = 0;
    while (count < REPLAY_COUNTERS && sorted.counters[count].label[0])
        count++;
    qsort(sorted.counters, count, sizeof(sorted.counters[0]), cl_by_label);
    for (unsigned j = 0; j < count; j++)
        printf("%10" PRIu64 " %s\n", sorted.counters[j].count, sorted.counters[j].label);
    cl_print_share(stats, "no space");
    cl_print_share(stats, "quota");
    for (unsigned i = 0; i < ARRAY_SIZE(cl_wanted); i++)
    {
        if (!cl_has(stats, i))
            printf("It never came to this: %s\n", cl_wanted[i].label);
    }
    return cl_is_covered(stats);
}

int main(int argc, char **argv)
{
    static const char *const modes[] = {"threads", "turns", NULL};
    static const struct replay_program program = {
        .name = "clients",
        .modes = modes,
        .runs = 20,
        .steps = 300,
        .seeds_path = CLIENTS_SEEDS,
        .run = cl_run,
        .is_covered = cl_is_covered,
        .summary = cl_summary,
    };
    return replay_main(&program, argc, argv);
}
