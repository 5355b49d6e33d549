/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Promises are kept, whatever is done in whatever order.
 *
 * random: commands and I/O at random; after each step the figures agree, and every refusal had a
 * reason. orders: the pool is filled to the last block by thin writes, promised writes, clones,
 * snapshots, deletes, unmaps, crashes and restarts, in an order that the seed numbers.
 * merges: points that merge while the pool is full, see promises_merge.c.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "tests/model/promises.h"

struct pm_kind
{
    const char *name;
    void (*step)(struct pm *pm);
    unsigned weight;
};

static void pm_step_check(struct pm *pm)
{
    pm_check_pool(pm);
    pm_check_contents(pm);
}

static void pm_step_restart(struct pm *pm)
{
    replay_trace(pm->replay, "restart");
    pm_reopen(pm, false);
}

static void pm_step_crash(struct pm *pm)
{
    replay_trace(pm->replay, "crash");
    pm_flush(pm);
    pm_reopen(pm, true);
}

static const struct pm_kind pm_kinds[] = {
    {"write", pm_step_write, 20},
    {"write to a reserved LUN", pm_step_write_promised, 20},
    {"fill", pm_step_fill, 6},
    {"atomic write", pm_step_atomic, 8},
    {"unmap", pm_step_unmap, 8},
    {"zero", pm_step_zero, 4},
    {"create", pm_step_create, 8},
    {"delete", pm_step_delete, 4},
    {"clone", pm_step_clone, 8},
    {"snapshot", pm_step_snapshot, 6},
    {"delete a snapshot", pm_step_snapshot_delete, 6},
    {"restore", pm_step_restore, 3},
    {"resize", pm_step_resize, 4},
    {"reserve or not", pm_step_reserve, 5},
    {"move", pm_step_move, 4},
    {"make a volume", pm_step_volume, 4},
    {"modify a volume", pm_step_volume_modify, 4},
    {"delete a volume", pm_step_volume_delete, 2},
    {"jobs", pm_step_jobs, 12},
    {"checkpoint", pm_step_checkpoint, 4},
    {"check", pm_step_check, 3},
    {"restart", pm_step_restart, 2},
    {"crash", pm_step_crash, 3},
    {"crash in a write", pm_step_crash_in_write, 3},
    {"crash in jobs", pm_step_crash_in_jobs, 2},
};

static void pm_finish(struct pm *pm)
{
    *pm->rng = rng_of(1);
    for (int r = 1; r > 0;)
        r = pool_run_job_step(pm->pool);
    pm_step_checkpoint(pm);
    pm_check_figures(pm);
    pm_step_check(pm);
    pm_end(pm);
}

static void pm_run_random(struct replay *replay)
{
    struct pm pm;
    struct rng rng;
    uint64_t total = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(pm_kinds); i++)
        total += pm_kinds[i].weight;
    pm_begin(&pm, replay);
    pm.rng = &rng;
    for (uint64_t step = 0; step < replay->steps; step++)
    {
        if (!replay_step(replay, step, &rng))
            continue;
        uint64_t at = rng_below(&rng, total);
        unsigned kind = 0;
        while (at >= pm_kinds[kind].weight)
            at -= pm_kinds[kind++].weight;
        pm.why.text[0] = '\0';
        pm_kinds[kind].step(&pm);
        pm_check_figures(&pm);
    }
    replay_trace(replay, "end");
    pm_finish(&pm);
}

/* ---- orders -------------------------------------------------------------------------------- */

static void order_thin(struct pm *pm)
{
    for (unsigned i = 0; i < PM_LUNS; i++)
    {
        struct pm_lun *lun = &pm->luns[i];
        if (lun->now.is_there && !lun->is_reserved)
            pm_fill(pm, lun);
    }
    while (pm_create(pm, PM_LUN_BLKS, false, -1))
    {
        for (unsigned i = 0; i < PM_LUNS; i++)
        {
            if (pm->luns[i].now.is_there && !pm->luns[i].is_reserved)
                pm_fill(pm, &pm->luns[i]);
        }
    }
}

static void order_promised(struct pm *pm)
{
    for (unsigned i = 0; i < PM_LUNS; i++)
    {
        if (pm->luns[i].now.is_there && pm->luns[i].is_reserved)
            pm_fill(pm, &pm->luns[i]);
    }
}

static void order_clone(struct pm *pm)
{
    while (pm_clone(pm, pm_pick_lun(pm), rng_percent(pm->rng, 50), -1))
        continue;
}

static void order_snapshot(struct pm *pm)
{
    for (unsigned i = 0; i < PM_LUNS; i++)
    {
        if (pm->luns[i].now.is_there)
            pm_snapshot(pm, &pm->luns[i]);
    }
}

/* One goes, with half of the background work. */
static void order_delete(struct pm *pm)
{
    pm_step_delete(pm);
    pm_step_jobs(pm);
}

static void order_unmap(struct pm *pm)
{
    for (unsigned i = 0; i < PM_LUNS; i++)
    {
        struct pm_lun *lun = &pm->luns[i];
        if (lun->now.is_there)
            pm_unmap(pm, lun, lun->now.blks / 3, lun->now.blks - lun->now.blks / 3);
    }
}

static const struct pm_kind order_kinds[] = {
    {"thin", order_thin, 0},         {"promised", order_promised, 0}, {"clone", order_clone, 0},
    {"snapshot", order_snapshot, 0}, {"delete", order_delete, 0},     {"unmap", order_unmap, 0},
    {"crash", pm_step_crash, 0},     {"restart", pm_step_restart, 0},
};

enum
{
    ORDERS = 40320 /* 8! */
};

/* The kinds in the order that @number has among all. */
static void order_of(uint64_t number, unsigned order[ARRAY_SIZE(order_kinds)])
{
    unsigned left[ARRAY_SIZE(order_kinds)], count = ARRAY_SIZE(order_kinds);
    for (unsigned i = 0; i < count; i++)
        left[i] = i;
    for (unsigned n = count; n > 0; n--)
    {
        unsigned at = (unsigned)(number % n);
        number /= n;
        order[count - n] = left[at];
        memmove(&left[at], &left[at + 1], (n - 1 - at) * sizeof(left[0]));
    }
}

/* A thin LUN, one that is promised its size and one in a guaranteed volume; then the order, twice,
 * so that each kind comes upon what all others have left. */
static void pm_run_order(struct replay *replay)
{
    struct pm pm;
    struct rng rng = rng_of(replay->seed);
    unsigned order[ARRAY_SIZE(order_kinds)];
    order_of(replay->seed * 7919 % ORDERS, order);
    pm_begin(&pm, replay);
    pm.rng = &rng;
    struct volume_attributes attributes = {.size_bytes = UINT64_C(300) * PM_BLK,
                                           .is_guaranteed = true};
    pm.volumes[0] =
        (struct pm_volume){.is_there = true, .name = "v", .blks = 300, .is_guaranteed = true};
    if (volume_create(pm.pool, "v", &attributes, &pm.why) < 0 ||
        !pm_create(&pm, PM_LUN_BLKS, false, -1) || !pm_create(&pm, 500, true, -1) ||
        !pm_create(&pm, 400, false, 0))
        replay_fail(replay, "the beginning fails: %s", pm.why.text);
    for (uint64_t step = 0; step < 2 * ARRAY_SIZE(order_kinds); step++)
    {
        if (!replay_step(replay, step, &rng))
            continue;
        unsigned kind = order[step % ARRAY_SIZE(order_kinds)];
        replay_trace(replay, "%s", order_kinds[kind].name);
        order_kinds[kind].step(&pm);
        pm_check_figures(&pm);
        pm_check_pool(&pm);
        pm_check_contents(&pm);
        replay_count(replay, "order: %s", order_kinds[kind].name);
    }
    pm_finish(&pm);
}

static void pm_run_merge(struct replay *replay)
{
    struct pm pm;
    struct rng rng;
    pm_begin(&pm, replay);
    pm.rng = &rng;
    pm_run_merges(&pm);
    pm_finish(&pm);
}

static void pm_run(struct replay *replay)
{
    if (strcmp(replay->mode, "merges") == 0)
        pm_run_merge(replay);
    else if (strcmp(replay->mode, "orders") == 0)
        pm_run_order(replay);
    else
        pm_run_random(replay);
}

static bool pm_has_counter(const struct replay_stats *stats, const char *label)
{
    for (unsigned j = 0; j < REPLAY_COUNTERS; j++)
    {
        if (strcmp(stats->counters[j].label, label) == 0)
            return true;
    }
    return false;
}

/* What must have happened, or the test proves little. */
static const char *const pm_wanted[] = {
    "write: no space",
    "write: done, promised",
    "atomic write: done, promised",
    "create reserved: done",
    "create reserved: no space",
    "clone reserved: done",
    "clone reserved: no space",
    "snapshot of a reserved LUN: no space",
    "modify volume: no space",
    "merge: a clone elsewhere is left",
    "merge: a reserved LUN that was larger once",
};

/* Of a few runs, or of one mode alone, it cannot be expected. */
static bool pm_is_whole(const struct replay_stats *stats)
{
    return stats->runs >= 40 && pm_has_counter(stats, "order: thin") &&
           pm_has_counter(stats, "create volume: done");
}

static bool pm_is_covered(const struct replay_stats *stats)
{
    bool is_covered = true;
    for (unsigned i = 0; i < ARRAY_SIZE(pm_wanted) && pm_is_whole(stats); i++)
        is_covered &= pm_has_counter(stats, pm_wanted[i]);
    return is_covered;
}

static bool pm_summary(const struct replay_stats *stats)
{
    for (unsigned j = 0; j < REPLAY_COUNTERS && stats->counters[j].label[0]; j++)
        printf("%10" PRIu64 " %s\n", stats->counters[j].count, stats->counters[j].label);
    for (unsigned i = 0; i < ARRAY_SIZE(pm_wanted) && pm_is_whole(stats); i++)
    {
        if (!pm_has_counter(stats, pm_wanted[i]))
            printf("It never came to this: %s\n", pm_wanted[i]);
    }
    return pm_is_covered(stats);
}

int main(int argc, char **argv)
{
    static const char *const modes[] = {"random", "orders", "merges", NULL};
    static const struct replay_program program = {
        .name = "test_promises",
        .modes = modes,
        .runs = 60,
        .steps = 200,
        .seeds_path = PROMISES_SEEDS,
        .run = pm_run,
        .is_covered = pm_is_covered,
        .summary = pm_summary,
    };
    return replay_main(&program, argc, argv);
}
