/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Power cuts: random operations on a pool on a simulated disk, cut at random writes and syncs.
 *
 *   crash     a cut after a random number of writes and syncs, again and again; now and then one
 *             more in the recovery
 *   recovery  the same, and each recovery is cut at each of its writes and syncs
 *   overlap   the same as crash, and operations go on while a checkpoint is written
 *   matrix    not only power cuts: each fault at each phase, see sim_fault.c
 *   clients   the same as overlap, of several clients, who also write while another flushes; see
 *             sim_clients.c
 *   odds      each call of the disk may meet a fault of any kind, see sim_odds.c
 *   every     for chosen operations, a cut at each of their writes and syncs, in processes of their
 *             own, with three policies of what survives
 */
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "tests/sim/sim.h"

enum
{
    SIM_NOT_CUT = 42, /* exit status of a child whose cut lies behind the operation */
    SIM_EVERY_MAX = 300,
};

static void sim_count_cut(struct sim *sim, const char *how)
{
    replay_count(sim->replay, "%s|%s", sim->op, how);
}

/* ---- every cut of one operation */

static void sim_try_cut(struct sim *sim, struct rng *rng, uint64_t k,
                        const struct simdev_crash_policy *policy)
{
    simdev_cut_power_at(sim->disk, k);
    sim->rng = rng;
    sim->is_tried = true;
    ignore_error(sim_random_op(sim), "the power may be off");
    if (!simdev_is_off(sim->disk))
        _exit(SIM_NOT_CUT);
    sim_count_cut(sim, sim_cut_phase(sim->disk));
    *rng = rng_of(k);
    sim_recover(sim, policy, false);
    sim_drain(sim);
    sim_verify_live(sim);
    _exit(0);
}

/* The operation is not done here: all happens in children. */
static void sim_try_all_cuts(struct sim *sim, const struct rng *rng)
{
    struct simdev_crash_policy policies[] = {
        {.keep_percent = 0}, {.keep_percent = 100}, {.keep_percent = 50, .tear_percent = 30}};
    for (unsigned i = 0; i < ARRAY_SIZE(policies); i++)
    {
        for (uint64_t k = 1; k < SIM_EVERY_MAX; k++)
        {
            struct rng own = *rng;
            fflush(stdout);
            pid_t pid = fork();
            INVARIANT(pid >= 0);
            if (pid == 0)
                sim_try_cut(sim, &own, k, &policies[i]);
            int status = 0;
            while (waitpid(pid, &status, 0) < 0)
                INVARIANT(errno == EINTR);
            if (WIFEXITED(status) && WEXITSTATUS(status) == SIM_NOT_CUT)
                break;
            if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                replay_fail(sim->replay,
                            "a cut at write or sync %" PRIu64 " of the operation, %u %% kept", k,
                            policies[i].keep_percent);
        }
    }
}

/* ---- runs */

static void sim_after_op(struct sim *sim, bool in_depth)
{
    if (!simdev_is_off(sim->disk))
    {
        if (rng_percent(sim->rng, 15))
            sim_verify_live(sim);
        if (!rng_percent(sim->rng, 4))
            return;
        sim->op = "idle";
        simdev_cut_power(sim->disk);
        sim->phase = COVERAGE_NO_PHASE;
        sim_count_cut(sim, "between operations");
    }
    else
        sim_count_cut(sim, sim->was_allocating ? "allocation" : sim_cut_phase(sim->disk));
    sim->was_allocating = false;
    struct simdev_crash_policy policy = simdev_random_policy(sim->rng);
    replay_trace(sim->replay, "POWER CUT in %s, keeps %u %%, tears %u %%", sim->op,
                 policy.keep_percent, policy.tear_percent);
    sim_recover(sim, &policy, in_depth);
    if (rng_percent(sim->rng, 20))
        sim_drain(sim);
}

static void sim_close_and_open(struct sim *sim)
{
    sim->op = "close";
    replay_trace(sim->replay, "close and open");
    simdev_cut_power_at(sim->disk, 0);
    int r = pool_close(sim->pool);
    if (r == 0)
        r = sim_open(sim, sim->disk, &sim->pool);
    if (r < 0)
        replay_fail(sim->replay, "close and open give %d: %s", r, sim->why.text);
    oracle_flush(sim->now, NULL);
    sim_verify_live(sim);
    sim_check_pool(sim, sim->pool);
}

static void sim_run(struct replay *replay)
{
    if (strcmp(replay->mode, "odds") == 0)
    {
        sim_run_odds(replay);
        return;
    }
    if (strcmp(replay->mode, "matrix") == 0)
    {
        sim_run_matrix(replay);
        return;
    }
    struct sim sim;
    struct rng rng = rng_of(replay->seed);
    bool in_depth = strcmp(replay->mode, "recovery") == 0;
    bool every = strcmp(replay->mode, "every") == 0;
    sim_begin(&sim, replay);
    sim.rng = &rng;
    sim.expects_cuts = true;
    sim.is_tight = sim.has_promises && !sim.may_overlap && replay->seed % 4 == 0;
    sim_prepare(&sim);
    for (uint64_t step = 0; step < replay->steps; step++)
    {
        if (!replay_step(replay, step, &rng))
            continue;
        sim.rng = &rng;
        if (rng_percent(&rng, 2))
            sim_close_and_open(&sim);
        if (rng_percent(&rng, 12))
            simdev_cut_power_at(sim.disk, rng_between(&rng, 1, 1 + rng_below(&rng, 40)));
        if (every && rng_percent(&rng, 8))
        {
            struct rng op_rng = rng_fork(&rng);
            simdev_cut_power_at(sim.disk, 0);
            sim_try_all_cuts(&sim, &op_rng);
        }
        /* Once in each run, and in each way in some of a few. */
        bool is_first = sim.has_promises && step == 0;
        int r = is_first ? sim_first_promise(&sim, replay->seed / 2) : sim_random_op(&sim);
        ignore_error(r, "the power may be off; all else is a failure inside");
        sim_after_op(&sim, in_depth);
    }
    simdev_cut_power_at(sim.disk, 0);
    sim_drain(&sim);
    sim_verify_live(&sim);
    sim.rng = &rng;
    sim_prove_promises(&sim);
    sim_drain(&sim);
    sim_verify_live(&sim);
    sim_end(&sim);
}

/* ---- coverage */

static const char *const sim_phases[] = {
    "data",  "journal",    "node", "page",       "bitmap",
    "table", "superblock", "sync", "allocation", "between operations"};

static uint64_t sim_count_of(const struct replay_stats *stats, const char *label)
{
    for (unsigned i = 0; i < REPLAY_COUNTERS; i++)
    {
        if (strcmp(stats->counters[i].label, label) == 0)
            return stats->counters[i].count;
    }
    return 0;
}

static uint64_t sim_count_phase(const struct replay_stats *stats, const char *phase)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < REPLAY_COUNTERS; i++)
    {
        const char *bar = strchr(stats->counters[i].label, '|');
        if (bar && strcmp(bar + 1, phase) == 0)
            count += stats->counters[i].count;
    }
    return count;
}

static bool sim_is_covered(const struct replay_stats *stats)
{
    for (unsigned i = 0; i < ARRAY_SIZE(sim_phases); i++)
    {
        if (sim_count_phase(stats, sim_phases[i]) == 0)
            return false;
    }
    return coverage_count_empty() == 0;
}

/* A table of operation by phase. Phases that no cut ever hit are a gap. */
static bool sim_summary(const struct replay_stats *stats)
{
    uint64_t totals[ARRAY_SIZE(sim_phases)] = {0};
    char seen[REPLAY_COUNTERS][32];
    unsigned seen_count = 0;
    printf("%-24s", "cut in");
    for (unsigned i = 0; i < ARRAY_SIZE(sim_phases); i++)
        printf(" %10.10s", sim_phases[i]);
    putchar('\n');
    for (unsigned i = 0; i < REPLAY_COUNTERS && stats->counters[i].label[0]; i++)
    {
        char op[32];
        snprintf(op, sizeof(op), "%.*s", (int)strcspn(stats->counters[i].label, "|"),
                 stats->counters[i].label);
        if (strchr(stats->counters[i].label, ':'))
            continue;
        bool is_new = true;
        for (unsigned j = 0; j < seen_count; j++)
            is_new &= strcmp(seen[j], op) != 0;
        if (!is_new)
            continue;
        memcpy(seen[seen_count++], op, sizeof(op));
        printf("%-24.24s", op);
        for (unsigned j = 0; j < ARRAY_SIZE(sim_phases); j++)
        {
            char label[64];
            snprintf(label, sizeof(label), "%s|%s", op, sim_phases[j]);
            uint64_t count = sim_count_of(stats, label);
            totals[j] += count;
            printf(" %10" PRIu64, count);
        }
        putchar('\n');
    }
    for (unsigned i = 0; i < REPLAY_COUNTERS && stats->counters[i].label[0]; i++)
    {
        if (strchr(stats->counters[i].label, ':'))
            printf("%10" PRIu64 " %s\n", stats->counters[i].count, stats->counters[i].label);
    }
    printf("%" PRIu64 " power cuts, each with a recovery, a comparison and a check\n",
           sim_count_of(stats, SIM_CRASHES));
    bool is_covered = true;
    for (unsigned j = 0; j < ARRAY_SIZE(sim_phases); j++)
    {
        if (totals[j] == 0)
            printf("No cut ever hit: %s\n", sim_phases[j]);
        is_covered &= totals[j] > 0;
    }
    return coverage_print(true) == 0 && is_covered;
}

int main(int argc, char **argv)
{
    /* What one simulated crash freed serves the next; else a third of the time goes into pages. */
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    coverage_init();
    static const char *const modes[] = {"crash",  "overlap", "recovery", "every",
                                        "matrix", "odds",    "clients",  NULL};
    static const struct replay_program program = {
        .name = "test_sim",
        .modes = modes,
        .runs = 28,
        .steps = 150,
        .seeds_path = SIM_SEEDS,
        .run = sim_run,
        .is_covered = sim_is_covered,
        .summary = sim_summary,
    };
    return replay_main(&program, argc, argv);
}
