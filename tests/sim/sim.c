/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/sim.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/invariant.h"
#include "lun/pool/format.h"

enum
{
    SIM_RECOVERY_CUTS_MAX = 400,
    SIM_FAULTY_RECOVERIES = 4, /* of one life; then the disk is as it should be */
};

/* ---- opening and closing */

int sim_open(struct sim *sim, struct simdev *disk, struct pool **pool)
{
    struct device *device = simdev_open(disk);
    struct pool_open_options options = {.cache_bytes = 256 << 10, .checkpoint_ms = 3600000};
    coverage_stake = (struct coverage_stake){0};
    sim->activity = COVERAGE_RECOVERY;
    int r = pool_open_device(&sim->env.env, device, &options, pool, &sim->why);
    sim->activity = COVERAGE_NO_PHASE;
    for (unsigned fault = 0; r == 0 && fault < COVERAGE_FAULTS; fault++)
    {
        if (sim->owed >> fault & 1)
            coverage_note(coverage_stake.applied, COVERAGE_RECOVERY, (enum coverage_fault)fault);
    }
    sim->owed = r == 0 ? 0 : sim->owed;
    if (r < 0)
        device_close(device);
    return r;
}

/* The first snapshot of a volume waits for a checkpoint, so it cannot be made while one runs. */
static void sim_make_first_set(struct sim *sim)
{
    const char *volume = "first";
    const struct volume_attributes attributes = {0};
    const struct volume_snapshot_args args = {.name = "first"};
    int r = volume_create(sim->pool, volume, &attributes, &sim->why);
    if (r == 0)
        r = volume_snapshot_create(sim->pool, &volume, 1, &args, &sim->why);
    if (r == 0)
        r = volume_delete(sim->pool, volume, true, 0, &sim->why);
    if (r < 0)
        replay_fail(sim->replay, "the first volume snapshot: %d, %s", r, sim->why.text);
}

void sim_begin(struct sim *sim, struct replay *replay)
{
    *sim = (struct sim){.replay = replay,
                        .op = "create pool",
                        .activity = COVERAGE_NO_PHASE,
                        .written = COVERAGE_IO,
                        .phase = COVERAGE_NO_PHASE};
    replay_quiet_log(replay);
    rng_env_init(&sim->env, replay->seed);
    sim->now = calloc(1, sizeof(*sim->now));
    sim->maybe = calloc(1, sizeof(*sim->maybe));
    INVARIANT(sim->now && sim->maybe);
    /* Operations that overlap a checkpoint must not have to wait for one: they get more room. */
    sim->has_clients = strcmp(replay->mode, "clients") == 0;
    sim->may_overlap = sim->has_clients || strcmp(replay->mode, "overlap") == 0;
    struct pool_create_options options = {
        .name = "sim",
        .size_bytes = sim->may_overlap ? 128 << 20 : 24 << 20,
        .journal_bytes = sim->may_overlap ? 2 << 20 : 256 << 10,
        .group_blks = sim->may_overlap ? 2048 : 512,
    };
    /* Seeds with an odd number do what they did before there were promises. Of mode matrix, which
     * takes its time, every other one. */
    bool is_matrix = strcmp(replay->mode, "matrix") == 0;
    sim->has_promises =
        sim_promise_op_count > 0 && (is_matrix ? replay->seed % 4 == 2 : replay->seed % 2 == 0);
    sim->has_more = replay->seed % 3 == 0;
    sim->now->pool_bytes = options.size_bytes;
    sim->disk = simdev_new(options.size_bytes, UINT64_C(1) << 30, replay->seed);
    simdev_set_watch(sim->disk, sim_watch_cb, sim);
    simdev_set_lending(sim->disk, true);
    if (sim->may_overlap)
        simdev_set_hook(sim->disk, sim_overlap_cb, sim);
    if (sim->has_clients)
        simdev_set_synced(sim->disk, sim_clients_cb, sim);
    struct device *device = simdev_open(sim->disk);
    int r = pool_create_on_device(&sim->env.env, device, &options, &sim->why);
    if (r < 0)
        replay_fail(replay, "pool_create_on_device() gives %d: %s", r, sim->why.text);
    device_close(device);
    r = sim_open(sim, sim->disk, &sim->pool);
    if (r < 0)
        replay_fail(replay, "the new pool cannot be opened: %d, %s", r, sim->why.text);
    if (sim->may_overlap)
        sim_make_first_set(sim);
}

void sim_end(struct sim *sim)
{
    int r = pool_close(sim->pool);
    if (r < 0 && !sim->faults_armed)
        replay_fail(sim->replay, "pool_close() gives %d", r);
    simdev_destroy(sim->disk);
    free(sim->now);
    free(sim->maybe);
    free(sim->books.lines);
}

/* ---- what a cut hit */

const char *sim_phase_of(const uint8_t *head)
{
    struct disk_header header;
    memset(&header, 0, sizeof(header));
    memcpy(&header, head, 16);
    switch (le32_get(header.magic))
    {
    case DISK_MAGIC_SUPER:
        return "superblock";
    case DISK_MAGIC_BITMAP:
        return "bitmap";
    case DISK_MAGIC_TABLE:
        return "table";
    case DISK_MAGIC_NODE:
        return "node";
    case DISK_MAGIC_PAGE:
        return "page";
    case DISK_MAGIC_BATCH:
        return "journal";
    }
    return "data";
}

const char *sim_cut_phase(struct simdev *disk)
{
    struct simdev_cut cut = simdev_last_cut(disk);
    return cut.op == SIMDEV_SYNC ? "sync" : sim_phase_of(cut.head);
}

/* ---- checking */

static void sim_report_cb(void *opaque, bool is_error, const char *text)
{
    (void)opaque;
    if (is_error)
        fprintf(stderr, "check: %s\n", text);
}

void sim_check_pool(struct sim *sim, struct pool *pool)
{
    struct check_result result;
    int r = pool_check(pool, sim_report_cb, NULL, &result);
    if (r < 0 || result.errors > 0)
        replay_fail(sim->replay, "after '%s', pool_check() gives %d with %" PRIu64 " errors",
                    sim->op, r, result.errors);
}

/* What must be true of the pool's size: it grew, or not if that was cut off. */
static bool sim_fits_size(const struct oracle *oracle, struct pool *pool)
{
    struct pool_info info;
    pool_get_info(pool, &info);
    return info.size_bytes == oracle->pool_bytes;
}

static bool sim_fits_one(struct sim *sim, struct oracle *oracle, struct pool *pool, bool adopt,
                         struct oracle_verdict *verdict)
{
    if (!sim_fits_size(oracle, pool))
        return oracle_refuse(verdict, "the pool has another size");
    if (!oracle_fits(oracle, pool, false, adopt ? sim->now : NULL, verdict))
        return false;
    struct oracle *found = adopt ? sim->now : oracle;
    return !sim->has_promises || sim_fits_books(sim, found, pool, adopt, verdict);
}

bool sim_fits(struct sim *sim, struct pool *pool, bool adopt)
{
    struct oracle_verdict first;
    struct oracle_verdict second = {.text = "no command was cut off"};
    if (sim_fits_one(sim, sim->now, pool, adopt, &first))
        return true;
    if (sim->has_maybe && sim_fits_one(sim, sim->maybe, pool, adopt, &second))
        return true;
    fprintf(stderr, "as if '%s' had not been: %s\nas if it had: %s\n", sim->op, first.text,
            second.text);
    return false;
}

void sim_look(struct sim *sim)
{
    struct oracle_verdict verdict;
    if (sim->has_promises && !sim->has_failed && !sim->is_damaged && !simdev_is_off(sim->disk) &&
        !sim_fits_books(sim, sim->now, sim->pool, true, &verdict))
        replay_fail(sim->replay, "after '%s': %s", sim->op, verdict.text);
}

void sim_verify_live(struct sim *sim)
{
    struct oracle_verdict verdict;
    if (!oracle_fits(sim->now, sim->pool, true, NULL, &verdict))
        replay_fail(sim->replay, "while the power is on: %s", verdict.text);
    sim_look(sim);
    sim_check_whole(sim);
}

void sim_drain(struct sim *sim)
{
    int r = 1;
    sim_look(sim);
    sim->op = "drain";
    sim->activity = COVERAGE_JOBS;
    for (uint64_t steps = 0; r > 0; steps++)
    {
        r = pool_run_job_step(sim->pool);
        if (r >= 0)
            sim_look(sim);
        if (steps > 1000000)
            replay_fail(sim->replay, "the jobs come to no end");
    }
    if (r == -ENOSPC && sim_may_lack(sim))
        r = 0; /* some must wait for room */
    if (r == 0)
        r = pool_checkpoint(sim->pool);
    sim->activity = COVERAGE_NO_PHASE;
    if (r < 0)
        replay_fail(sim->replay, "jobs and a checkpoint give %d", r);
    oracle_flush(sim->now, NULL);
    struct check_result result;
    r = pool_check(sim->pool, sim_report_cb, NULL, &result);
    if (r < 0 || result.errors > 0 || result.blks_leaked > 0)
        replay_fail(sim->replay,
                    "after all jobs, pool_check() gives %d, %" PRIu64 " errors, %" PRIu64
                    " blocks leaked",
                    r, result.errors, result.blks_leaked);
    sim_look(sim);
}

/* ---- recovery */

/* One more cut at every write and sync of the recovery, each followed by a whole one. */
static void sim_cut_recovery(struct sim *sim)
{
    for (uint64_t k = 1; k < SIM_RECOVERY_CUTS_MAX; k++)
    {
        struct pool *pool = NULL;
        struct simdev *disk = simdev_copy(sim->disk, rng_next(sim->rng)); /* nobody watches it */
        simdev_cut_power_at(disk, k);
        int r = sim_open(sim, disk, &pool);
        bool is_cut = simdev_is_off(disk);
        if (r < 0 && !is_cut)
            replay_fail(sim->replay, "the pool does not open: %d, %s", r, sim->why.text);
        if (r == 0)
            ignore_error(pool_close(pool), "the power may be off");
        if (is_cut)
        {
            struct simdev_crash_policy policy = simdev_random_policy(sim->rng);
            replay_count(sim->replay, "recovery cut at every k|%s", sim_cut_phase(disk));
            simdev_restart(disk, sim->rng, &policy);
            r = sim_open(sim, disk, &pool);
            if (r < 0)
                replay_fail(sim->replay,
                            "after a cut at %" PRIu64 " of recovery the pool does not open: %d, %s",
                            k, r, sim->why.text);
            if (!sim_fits(sim, pool, false))
                replay_fail(sim->replay, "after a cut at %" PRIu64 " of recovery, see above", k);
            sim_check_pool(sim, pool);
            replay_count(sim->replay, SIM_CRASHES);
            ignore_error(pool_close(pool), "this disk is thrown away");
        }
        simdev_destroy(disk);
        if (!is_cut)
            return;
    }
}

void sim_note_fault(struct sim *sim, enum coverage_fault fault)
{
    coverage_note(sim->at_stake, sim->phase, fault);
    if (sim->phase == COVERAGE_RECOVERY)
        sim->owed |= UINT32_C(1) << fault;
}

void sim_restart(struct sim *sim, const struct simdev_crash_policy *policy)
{
    simdev_restart(sim->disk, sim->rng, policy);
    struct simdev_losses losses = simdev_last_losses(sim->disk);
    if (losses.dropped > 0)
        sim_note_fault(sim, COVERAGE_DROP);
    if (losses.reordered > 0)
        sim_note_fault(sim, COVERAGE_REORDER);
    if (losses.torn > 0)
        sim_note_fault(sim, COVERAGE_TEAR);
    sim->phase = COVERAGE_NO_PHASE;
    sim->written = COVERAGE_IO;
}

/* A recovery that met faults: the pool is refused or opens, and has what it must have. */
static void sim_after_faults(struct sim *sim, int r)
{
    struct pool_info info;
    replay_trace(sim->replay, "%u faults in recovery: %d", sim->odds.hits, r);
    replay_count(sim->replay, "odds: recovery with faults: %s", r < 0 ? "refused" : "opened");
    simdev_arm(sim->disk, NULL);
    if (r < 0)
        return;
    sim->odds.is_on = false;
    pool_get_info(sim->pool, &info);
    if (info.health == POOL_HEALTHY && !sim_fits(sim, sim->pool, false))
        replay_fail(sim->replay, "after faults in a recovery, see above");
    sim->odds.is_on = true;
}

void sim_recover(struct sim *sim, const struct simdev_crash_policy *policy, bool in_depth)
{
    bool is_open = false;
    struct simdev_crash_policy again = *policy;
    ignore_error(pool_close(sim->pool), "the power is off");
    for (unsigned cuts = 0; !is_open; cuts++)
    {
        sim_restart(sim, &again);
        if (in_depth && cuts == 0)
            sim_cut_recovery(sim);
        if (cuts < 3 && rng_percent(sim->rng, 30))
            simdev_cut_power_at(sim->disk, rng_between(sim->rng, 1, 24));
        sim->odds.hits = 0;
        int r = sim_open(sim, sim->disk, &sim->pool);
        is_open = !simdev_is_off(sim->disk);
        if (sim->odds.is_on && is_open && sim->odds.hits > 0)
        {
            sim_after_faults(sim, r);
            is_open = false;
        }
        else if (is_open && r < 0)
            replay_fail(sim->replay, "after '%s', the pool does not open: %d, %s", sim->op, r,
                        sim->why.text);
        if (is_open)
            break;
        replay_trace(sim->replay, "cut or failed again in recovery");
        if (simdev_is_off(sim->disk))
            replay_count(sim->replay, "recovery|%s", sim_cut_phase(sim->disk));
        if (r == 0)
            ignore_error(pool_close(sim->pool), "the power is off, or a call may fail");
        simdev_arm(sim->disk, NULL); /* where the power went too, it waits still */
        sim->odds.is_on &= cuts < SIM_FAULTY_RECOVERIES;
        again = simdev_random_policy(sim->rng);
    }
    simdev_cut_power_at(sim->disk, 0);
    sim->odds = (struct sim_odds){.damages = sim->odds.damages};
    if (!sim_fits(sim, sim->pool, true))
        replay_fail(sim->replay, "after a power cut in '%s', see above", sim->op);
    sim->has_maybe = sim->has_failed = false;
    sim_check_whole(sim);
    sim_check_pool(sim, sim->pool);
    replay_count(sim->replay, SIM_CRASHES);
}
