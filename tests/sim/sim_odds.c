/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mode "odds": each call of the disk meets a fault of each kind with a small probability, in
 * operations, checkpoints, jobs and recoveries alike: several in one life of the pool.
 *
 * What fails for a reason is right. A command that failed may have been done, so its life ends soon
 * and the pool is opened again, with faults at first; then it must be as after any power cut. After
 * reads and writes that failed, some more follow: what is flushed then is not counted on.
 *
 * Half of the runs have rot, and lost and misplaced writes of metadata, too. They have one life,
 * and at its end the pool is refused, or what it serves is right or an error.
 */
#include <inttypes.h>
#include <string.h>

#include "lun/base/checked.h"
#include "tests/sim/sim.h"

enum
{
    ODDS_OF_THOUSAND = 6, /* calls that meet a fault, of some kind that suits them */
    ODDS_OPS_VAGUE = 6,   /* after one that failed */
};

void sim_odds_cb(struct sim *sim, const struct simdev_call *call)
{
    enum coverage_fault fault =
        (enum coverage_fault)rng_between(sim->rng, COVERAGE_READ_EIO, COVERAGE_MISDIRECT);
    if (rng_below(sim->rng, 1000) >= ODDS_OF_THOUSAND * 3)
        return;
    if ((fault >= COVERAGE_ROT && !sim->odds.damages) || !sim_fault_suits(fault, call))
        return;
    sim->faults_armed = true;
    sim->odds.hits++;
    replay_count(sim->replay, "odds: %s", coverage_fault_name(fault));
    sim_inject(sim, call, fault);
}

static void odds_begin_life(struct sim *sim)
{
    sim->odds = (struct sim_odds){.is_on = true, .damages = sim->odds.damages};
    sim->faults_armed = false;
    simdev_arm(sim->disk, NULL);
}

/* Reads, writes and what makes them durable, after something failed. */
static void odds_go_on(struct sim *sim)
{
    sim->odds.is_vague = true;
    for (unsigned i = 0; i < ODDS_OPS_VAGUE && !simdev_is_off(sim->disk); i++)
    {
        static int (*const ops[])(struct sim *) = {sim_op_write, sim_op_unmap, sim_op_flush,
                                                   sim_op_jobs, sim_op_checkpoint};
        ignore_error(ops[rng_below(sim->rng, ARRAY_SIZE(ops))](sim), "it may fail for a reason");
        sim->has_failed = true; /* nobody looks */
    }
}

/* The pool is closed or loses its power, and is opened again. */
static void odds_end_life(struct sim *sim)
{
    struct simdev_crash_policy policy = simdev_random_policy(sim->rng);
    bool damages = sim->odds.damages;
    if (sim->odds.hits > 1)
        replay_count(sim->replay, "odds: lives with several faults");
    replay_trace(sim->replay, "the end of a life with %u faults", sim->odds.hits);
    simdev_arm(sim->disk, NULL);
    if (!simdev_is_off(sim->disk))
        simdev_cut_power(sim->disk);
    sim->phase = COVERAGE_NO_PHASE;
    sim->odds.is_on = true;
    sim->odds.damages = false; /* what is damaged has another end */
    sim_recover(sim, &policy, false);
    sim->odds.damages = damages;
    odds_begin_life(sim);
}

static void odds_end_damaged(struct sim *sim)
{
    for (bool again = rng_percent(sim->rng, 50); sim->pool || again; again = false)
    {
        sim_end_damaged(sim);
        if (again) /* which may meet faults */
            ignore_error(sim_open(sim, sim->disk, &sim->pool), "it may be damaged");
    }
    simdev_arm(sim->disk, NULL);
    sim->odds.is_on = false;
    sim->target.hits_journal = true; /* of several faults, one may have */
    replay_count(sim->replay, "odds: damaged by %u", sim->odds.hits > 4 ? 5 : sim->odds.hits);
    sim_examine(sim);
}

/* Whether the run is over. */
static bool odds_after_op(struct sim *sim, int r)
{
    bool has_failed = r < 0 || simdev_is_off(sim->disk);
    if (r < 0 && !sim->has_maybe && !sim->is_damaged && !simdev_is_off(sim->disk))
        odds_go_on(sim);
    if (sim->is_damaged && (has_failed || rng_percent(sim->rng, 1)))
    {
        odds_end_damaged(sim);
        return true;
    }
    if (sim->is_damaged)
        return false;
    if (has_failed || rng_percent(sim->rng, 4))
        odds_end_life(sim);
    return false;
}

void sim_run_odds(struct replay *replay)
{
    struct sim sim;
    struct rng rng = rng_of(replay->seed);
    bool is_over = false;
    sim_begin(&sim, replay);
    sim.rng = &rng;
    sim.expects_cuts = true;
    sim_prepare(&sim);
    sim.odds.damages = rng_percent(&rng, 50);
    odds_begin_life(&sim);
    for (uint64_t step = 0; !is_over && step < replay->steps; step++)
    {
        if (!replay_step(replay, step, &rng))
            continue;
        sim.rng = &rng;
        if (rng_percent(&rng, 4))
            simdev_cut_power_at(sim.disk, rng_between(&rng, 1, 40));
        is_over = odds_after_op(&sim, sim_random_op(&sim));
    }
    simdev_cut_power_at(sim.disk, 0);
    if (!is_over && sim.is_damaged)
        odds_end_damaged(&sim);
    else if (!is_over)
    {
        odds_end_life(&sim);
        sim.odds.is_on = false;
        sim_drain(&sim);
        sim_verify_live(&sim);
    }
    sim_end(&sim);
}
