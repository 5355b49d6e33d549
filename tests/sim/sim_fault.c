/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mode "matrix": each fault that there is, at each phase, while records of all types are at stake.
 *
 * One pool is brought to where a checkpoint would have records of every type to write, or nearly
 * so. Then, for each pair of phase and fault, a process does operations until the fault has hit,
 * and sees what became of the pool. Step i of a run is pair i, so pairs can be left out.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "lun/pool/format.h"
#include "tests/sim/sim.h"

enum
{
    FAULT_NOT_MET = 42, /* exit status of a child whose fault never hit */
    FAULT_TRIES = 60,   /* for a pair, until records of all types were hit */
    FAULT_OPS_MAX = 60, /* until it hits */
    FAULT_OPS_AFTER = 6,
    FAULT_CHECKPOINTS = 8,
    FAULT_DAMAGES = 5,        /* tries at least, of faults that damage metadata */
    FAULT_CHANGES_MAX = 1500, /* until records of all types are at stake */
};

/* ---- phases */

static uint32_t fault_magic(const uint8_t *head)
{
    struct disk_header header = {0};
    memcpy(&header, head, 16);
    return le32_get(header.magic);
}

static enum coverage_phase fault_written(uint32_t magic)
{
    switch (magic)
    {
    case DISK_MAGIC_SUPER:
        return COVERAGE_SUPER;
    case DISK_MAGIC_BITMAP:
    case DISK_MAGIC_TABLE:
        return COVERAGE_SPACE;
    case DISK_MAGIC_NODE:
        return COVERAGE_NODES;
    case DISK_MAGIC_PAGE:
        return COVERAGE_PAGES;
    case DISK_MAGIC_BATCH:
        return COVERAGE_JOURNAL;
    }
    return COVERAGE_IO;
}

/* A sync belongs to what was written before it. */
static enum coverage_phase fault_synced(enum coverage_phase written)
{
    bool is_barrier =
        written == COVERAGE_NODES || written == COVERAGE_PAGES || written == COVERAGE_SPACE;
    return is_barrier ? COVERAGE_BARRIER : written;
}

/* The phase of a call, whose place is noted. */
static enum coverage_phase fault_phase(struct sim *sim, const struct simdev_call *call)
{
    enum coverage_phase phase = COVERAGE_NO_PHASE;
    switch (call->op)
    {
    case SIMDEV_WRITE:
        phase = sim->written = fault_written(fault_magic(call->head));
        if (phase == COVERAGE_JOURNAL)
            coverage_note_batch();
        break;
    case SIMDEV_SYNC:
        phase = fault_synced(sim->written);
        sim->written = COVERAGE_IO;
        break;
    case SIMDEV_READ:
        phase = COVERAGE_IO;
        break;
    case SIMDEV_ALLOCATE:
    case SIMDEV_GROW:
    case SIMDEV_SHRINK:
    case SIMDEV_DISCARD:
    case SIMDEV_OP_COUNT:
        break;
    }
    return sim->activity != COVERAGE_NO_PHASE ? sim->activity : phase;
}

/* ---- faults */

bool sim_fault_suits(enum coverage_fault fault, const struct simdev_call *call)
{
    bool is_write = call->op == SIMDEV_WRITE;
    switch (fault)
    {
    case COVERAGE_DROP:
    case COVERAGE_REORDER:
    case COVERAGE_TEAR:
        return is_write || call->op == SIMDEV_SYNC;
    case COVERAGE_READ_EIO:
        return call->op == SIMDEV_READ;
    case COVERAGE_SYNC_EIO:
        return call->op == SIMDEV_SYNC;
    case COVERAGE_ENOSPC:
        return is_write || call->op == SIMDEV_ALLOCATE || call->op == SIMDEV_GROW;
    case COVERAGE_WRITE_EIO:
    case COVERAGE_SHORT:
        return is_write;
    case COVERAGE_SLOW:
    case COVERAGE_ROT:
        return is_write || call->op == SIMDEV_SYNC || call->op == SIMDEV_READ;
    case COVERAGE_LOSE:
    case COVERAGE_MISDIRECT:
        return is_write && fault_written(fault_magic(call->head)) != COVERAGE_IO;
    case COVERAGE_FAULTS:
        break;
    }
    return false;
}

static uint32_t fault_magic_of_blk(struct sim *sim, uint64_t blk)
{
    uint8_t head[16];
    simdev_peek(sim->disk, head, sizeof(head), blk * BLK_BYTES);
    return fault_magic(head);
}

/* A random block of metadata, of each kind with the same odds; false: none was found. */
static bool fault_pick_metadata(struct sim *sim, uint64_t *blk)
{
    static const enum coverage_phase kinds[] = {COVERAGE_JOURNAL, COVERAGE_NODES, COVERAGE_PAGES,
                                                COVERAGE_SPACE, COVERAGE_SUPER};
    enum coverage_phase kind = kinds[rng_below(sim->rng, ARRAY_SIZE(kinds))];
    uint64_t count = 0;
    for (uint64_t i = 0; i < sim->now->pool_bytes / BLK_BYTES; i++)
    {
        if (fault_written(fault_magic_of_blk(sim, i)) == kind && rng_below(sim->rng, ++count) == 0)
            *blk = i;
    }
    return count > 0;
}

/* A block of the same kind and of the same checkpoint as the write: only its place tells them
 * apart. */
static bool fault_pick_sibling(struct sim *sim, const struct simdev_call *call, uint64_t *blk)
{
    struct disk_header header;
    struct disk_header other;
    uint64_t count = 0;
    INVARIANT(call->len >= sizeof(header));
    memcpy(&header, call->head, sizeof(header));
    for (uint64_t i = 0; i < sim->now->pool_bytes / BLK_BYTES; i++)
    {
        simdev_peek(sim->disk, &other, sizeof(other), i * BLK_BYTES);
        if (le32_get(other.magic) == le32_get(header.magic) &&
            le64_get(other.cp_id) == le64_get(header.cp_id) && i != call->offset / BLK_BYTES &&
            rng_below(sim->rng, ++count) == 0)
            *blk = i;
    }
    return count > 0;
}

/* A place of metadata only, as long as the write. */
static uint64_t fault_pick_place(struct sim *sim, const struct simdev_call *call)
{
    uint64_t blk = 0;
    for (unsigned tries = 0; tries < 8; tries++)
    {
        bool is_metadata = rng_percent(sim->rng, 50) ? fault_pick_sibling(sim, call, &blk)
                                                     : fault_pick_metadata(sim, &blk);
        for (uint64_t i = 0; is_metadata && i * BLK_BYTES < call->len; i++)
        {
            uint32_t magic = fault_magic_of_blk(sim, blk + i);
            is_metadata &= fault_written(magic) != COVERAGE_IO;
            sim->target.hits_journal |= magic == DISK_MAGIC_BATCH;
        }
        if (is_metadata && blk * BLK_BYTES != call->offset)
            return blk * BLK_BYTES;
    }
    return 0;
}

static void fault_rot(struct sim *sim)
{
    uint64_t blk = 0;
    sim->is_damaged = true;
    if (!fault_pick_metadata(sim, &blk))
        return;
    sim->target.hits_journal |= fault_magic_of_blk(sim, blk) == DISK_MAGIC_BATCH;
    simdev_rot(sim->disk, sim->rng, 1, BLK_BYTES, blk * BLK_BYTES);
}

static void fault_damage(struct sim *sim, const struct simdev_call *call,
                         enum simdev_fault_kind kind)
{
    struct simdev_fault fault = {.op = call->op, .kind = kind, .nth = 1};
    sim->is_damaged = true;
    sim->target.hits_journal |= fault_magic(call->head) == DISK_MAGIC_BATCH;
    if (kind == SIMDEV_MISDIRECT)
        fault.to = fault_pick_place(sim, call);
    if (fault.to == 0)
        fault.kind = SIMDEV_LOSE;
    simdev_arm(sim->disk, &fault);
    if (kind == SIMDEV_LOSE || fault.to != 0)
        sim_note_fault(sim, sim->target.fault);
}

static void fault_fail(struct sim *sim, const struct simdev_call *call, enum simdev_fault_kind kind,
                       int error)
{
    sim->faults_armed = true;
    sim->odds.hits++;
    simdev_arm(sim->disk,
               &(struct simdev_fault){.op = call->op, .kind = kind, .error = error, .nth = 1});
    sim_note_fault(sim, sim->target.fault);
}

static void fault_inject(struct sim *sim, const struct simdev_call *call)
{
    sim->target.is_hit = true;
    sim->target.countdown = 0;
    replay_trace(sim->replay, "  %s hits %s (%s of block %" PRIu64 ")",
                 coverage_fault_name(sim->target.fault), coverage_phase_name(sim->phase),
                 simdev_op_name(call->op), call->offset / BLK_BYTES);
    switch (sim->target.fault)
    {
    case COVERAGE_DROP:
    case COVERAGE_REORDER:
    case COVERAGE_TEAR:
        simdev_cut_power_at(sim->disk, 1); /* what it does is noted in sim_restart() */
        break;
    case COVERAGE_READ_EIO:
    case COVERAGE_WRITE_EIO:
    case COVERAGE_SYNC_EIO:
        fault_fail(sim, call, SIMDEV_FAIL, -EIO);
        break;
    case COVERAGE_ENOSPC:
        fault_fail(sim, call, SIMDEV_FAIL, -ENOSPC);
        break;
    case COVERAGE_SHORT:
        fault_fail(sim, call, SIMDEV_PARTIAL, rng_percent(sim->rng, 50) ? -EIO : -ENOSPC);
        break;
    case COVERAGE_SLOW:
        sim->env.now_ns += UINT64_C(60000000000);
        sim_note_fault(sim, COVERAGE_SLOW);
        break;
    case COVERAGE_ROT:
        fault_rot(sim);
        sim_note_fault(sim, COVERAGE_ROT);
        break;
    case COVERAGE_LOSE:
        fault_damage(sim, call, SIMDEV_LOSE);
        break;
    case COVERAGE_MISDIRECT:
        fault_damage(sim, call, SIMDEV_MISDIRECT);
        break;
    case COVERAGE_FAULTS:
        break;
    }
}

void sim_inject(struct sim *sim, const struct simdev_call *call, enum coverage_fault fault)
{
    sim->target.fault = fault;
    fault_inject(sim, call);
}

void sim_watch_cb(void *opaque, const struct simdev_call *call)
{
    struct sim *sim = opaque;
    if (simdev_is_off(sim->disk))
        return;
    if (call->op == SIMDEV_ALLOCATE && sim->cuts_allocation)
    {
        sim->was_allocating = true;
        sim->phase = COVERAGE_NO_PHASE;
        simdev_cut_power(sim->disk);
        return;
    }
    enum coverage_phase phase = fault_phase(sim, call);
    if (sim->odds.is_on)
        sim_odds_cb(sim, call);
    if (phase == COVERAGE_NO_PHASE)
        return;
    sim->phase = phase;
    sim->at_stake = coverage_at_stake(phase);
    if (sim->target.countdown > 0 && sim->target.phase == phase &&
        sim_fault_suits(sim->target.fault, call) && --sim->target.countdown == 0)
        fault_inject(sim, call);
}

void sim_aim(struct sim *sim, enum coverage_phase phase, enum coverage_fault fault,
             uint64_t countdown)
{
    sim->target = (struct sim_target){.phase = phase, .fault = fault, .countdown = countdown};
}

static bool fault_is_cut(enum coverage_fault fault)
{
    return fault <= COVERAGE_TEAR;
}

/* ---- what a phase is made of */

/* Reads all, so that a fault of reading can hit. */
static int fault_read_all(struct sim *sim)
{
    struct oracle_verdict verdict;
    if (!sim->target.is_hit && !oracle_fits(sim->now, sim->pool, true, NULL, &verdict) &&
        !sim->target.is_hit)
        replay_fail(sim->replay, "while the power is on: %s", verdict.text);
    return 0;
}

static int fault_io(struct sim *sim)
{
    switch (rng_below(sim->rng, 4))
    {
    case 0:
        return sim_op_unmap(sim);
    case 1:
        return sim_op_flush(sim);
    case 2:
        return sim->target.fault == COVERAGE_READ_EIO ? fault_read_all(sim) : sim_op_write(sim);
    default:
        return sim_op_write(sim);
    }
}

/* Job steps, and what makes them durable. */
static int fault_jobs(struct sim *sim)
{
    int r = sim_op_jobs(sim);
    sim->activity = COVERAGE_JOBS;
    if (r == 0)
        r = rng_percent(sim->rng, 50) ? sim_op_flush(sim) : sim_op_checkpoint(sim);
    sim->activity = COVERAGE_NO_PHASE;
    return r < 0 ? r : sim_random_change(sim);
}

/* Changes one at a time, up to @count of them. */
static int fault_change(struct sim *sim, uint64_t count)
{
    int r = 0;
    for (uint64_t i = 0; r >= 0 && !sim->target.is_hit && i < count; i++)
        r = sim_random_change(sim);
    return r;
}

/* What leaves records in memory, to be committed together. */
static int fault_leave_records(struct sim *sim, uint64_t count, bool with_jobs)
{
    int r = 0;
    sim->without_fua = true;
    for (uint64_t i = 0; r >= 0 && !sim->target.is_hit && i < count; i++)
    {
        if (with_jobs && rng_percent(sim->rng, 40))
            r = sim_op_jobs(sim);
        else
            r = rng_percent(sim->rng, 50) ? sim_op_unmap(sim) : sim_op_write(sim);
    }
    sim->without_fua = false;
    return r;
}

/*
 * Some changes that the fault spares, so that each try is another, and then a batch that it does
 * not: of writes alone, which go with their data under one sync, or with whatever there is.
 */
static int fault_commit(struct sim *sim)
{
    struct sim_target target = sim->target;
    bool writes_alone = sim->target.fault == COVERAGE_REORDER || rng_percent(sim->rng, 20);
    sim->target.countdown = 0;
    int r = fault_change(sim, rng_below(sim->rng, 20));
    if (r >= 0 && writes_alone)
        r = sim_op_flush(sim);
    if (r >= 0 && target.fault == COVERAGE_TEAR) /* one sector cannot be torn */
        r = fault_leave_records(sim, 12, true);
    sim->target = target;
    if (r >= 0)
        r = fault_leave_records(sim, rng_between(sim->rng, 1, 5), !writes_alone);
    if (r < 0 || sim->target.is_hit)
        return r;
    if (writes_alone)
        return sim_op_flush(sim);
    switch (rng_below(sim->rng, 5))
    {
    case 0:
        return sim_op_flush(sim);
    case 1:
        return sim_op_create(sim);
    case 2:
        return sim_op_redeploy(sim); /* freezes, heads, dying ones, puts, deletes */
    case 3:
        return sim_op_delete(sim);
    default:
        return sim_random_change(sim);
    }
}

static int fault_growth(struct sim *sim)
{
    int r = sim_op_grow(sim);
    return r < 0 ? r : fault_change(sim, rng_between(sim->rng, 1, 40));
}

/* Data that waits for its sync, and then the first promise, once all others have ended. */
static int fault_promise(struct sim *sim)
{
    int r = sim_end_promises(sim);
    if (r == 0)
        r = fault_leave_records(sim, rng_between(sim->rng, 1, 4), false);
    if (r >= 0)
        r = sim_make_first_promise(sim);
    return r < 0 ? r : fault_change(sim, rng_between(sim->rng, 1, 10));
}

static int fault_checkpoint(struct sim *sim)
{
    int r = sim_op_checkpoint(sim);
    return r < 0 ? r : sim_random_change(sim);
}

/* A cut with all records durable, and the recovery from it. */
static int fault_recovery(struct sim *sim)
{
    struct simdev_crash_policy keep = {.keep_percent = 100};
    struct sim_target target = sim->target;
    sim->target.countdown = 0;
    int r = sim_op_flush(sim);
    if (r < 0)
        return r;
    simdev_cut_power(sim->disk);
    sim->phase = COVERAGE_NO_PHASE;
    ignore_error(pool_close(sim->pool), "the power is off");
    sim->pool = NULL;
    sim_restart(sim, &keep);
    oracle_flush(sim->now, NULL);
    sim->op = "recovery";
    sim->target = target;
    return sim_open(sim, sim->disk, &sim->pool);
}

/* Changes until all records are at stake, or nearly all after a while. */
static void fault_put_at_stake(struct sim *sim)
{
    for (unsigned i = 0; i < FAULT_CHANGES_MAX && coverage_stake.since != COVERAGE_ALL_KINDS; i++)
        ignore_error(sim_random_change(sim), "all is well still");
}

/* With a cache that holds little but what was changed since: else jobs read nothing. */
static int fault_cool(struct sim *sim)
{
    struct sim_target target = sim->target;
    int r = fault_recovery(sim);
    sim->target.countdown = 0;
    fault_put_at_stake(sim);
    sim->target = target;
    return r;
}

static int fault_do(struct sim *sim)
{
    switch (sim->target.phase)
    {
    case COVERAGE_IO:
        return fault_io(sim);
    case COVERAGE_JOURNAL:
        return fault_commit(sim);
    case COVERAGE_NODES:
    case COVERAGE_PAGES:
    case COVERAGE_SPACE:
    case COVERAGE_BARRIER:
    case COVERAGE_SUPER:
        return fault_checkpoint(sim);
    case COVERAGE_RECOVERY:
        return fault_recovery(sim);
    case COVERAGE_GROWTH:
        return fault_growth(sim);
    case COVERAGE_PROMISE:
        return fault_promise(sim);
    case COVERAGE_JOBS:
        return fault_jobs(sim);
    case COVERAGE_PHASES:
        break;
    }
    return 0;
}

/* ---- what became of it */

/* Whether one of the two oracles, of before and after the command in hand, allows the sector. */
static bool fault_allows(struct sim *sim, const char *name, uint32_t sector, const uint8_t *bytes)
{
    const struct oracle_object *now = oracle_find(sim->now, name);
    const struct oracle_object *maybe = sim->has_maybe ? oracle_find(sim->maybe, name) : NULL;
    if (sim->target.hits_journal)
        return oracle_once_wrote(sim->now, sector, bytes);
    return (now && sector < now->sectors && oracle_allows(sim->now, now, sector, bytes)) ||
           (maybe && sector < maybe->sectors && oracle_allows(sim->maybe, maybe, sector, bytes));
}

/* Every sector that can be read must be right. Returns how many cannot. */
static uint64_t fault_examine_object(struct sim *sim, const char *name)
{
    uint8_t bytes[8][ORACLE_SECTOR_BYTES];
    uint64_t unreadable = 0;
    struct lun *lun = NULL;
    int r = lun_open(sim->pool, name, LUN_READ_ONLY, &lun, NULL);
    bool may_be_gone =
        sim->target.hits_journal || (sim->has_maybe && !oracle_find(sim->maybe, name));
    if (r == -ENOENT && !may_be_gone)
        replay_fail(sim->replay, "%s is not there any more, and nothing is said of it", name);
    if (r < 0)
        return r != -ENOENT;
    uint64_t sectors = lun_size_bytes(lun) / ORACLE_SECTOR_BYTES;
    for (uint32_t first = 0; first < sectors; first += ARRAY_SIZE(bytes))
    {
        uint32_t count = (uint32_t)min_u64(sectors - first, ARRAY_SIZE(bytes));
        r = lun_read(lun, bytes, (size_t)count * ORACLE_SECTOR_BYTES,
                     (uint64_t)first * ORACLE_SECTOR_BYTES);
        unreadable += r < 0 ? count : 0;
        for (uint32_t i = 0; r == 0 && i < count; i++)
        {
            if (!fault_allows(sim, name, first + i, bytes[i]))
                replay_fail(sim->replay, "%s: sector %" PRIu32 " is served wrong after damage",
                            name, first + i);
        }
    }
    lun_close(lun);
    return unreadable;
}

static void fault_say_cb(void *opaque, bool is_error, const char *text)
{
    (void)is_error;
    replay_trace(opaque, "  check: %s", text);
}

/* A pool with metadata that is wrong is refused with a reason, or serves what is right or an error,
 * and a check finds what cannot be read. */
void sim_examine(struct sim *sim)
{
    uint64_t unreadable = 0;
    struct check_result result = {0};
    if (simdev_is_off(sim->disk))
        replay_fail(sim->replay, "the power is off");
    sim->why.text[0] = '\0';
    int r = sim_open(sim, sim->disk, &sim->pool);
    replay_trace(sim->replay, "open gives %d %s", r, sim->why.text);
    replay_count(sim->replay, "damage: %s", r < 0 ? "refused" : "opened");
    if (r < 0 && sim->why.text[0] == '\0')
        replay_fail(sim->replay, "the pool is refused (%d) without a reason", r);
    if (r < 0)
        return;
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        if (sim->now->objects[i].name[0])
            unreadable += fault_examine_object(sim, sim->now->objects[i].name);
    }
    r = pool_check(sim->pool, fault_say_cb, sim->replay, &result);
    if (unreadable > 0 && r == 0 && result.errors == 0)
        replay_fail(sim->replay, "%" PRIu64 " sectors cannot be read, and the check finds nothing",
                    unreadable);
    ignore_error(pool_close(sim->pool), "it may be damaged");
    sim->pool = NULL;
}

static struct simdev_crash_policy fault_policy(struct sim *sim)
{
    switch (sim->target.fault)
    {
    case COVERAGE_DROP:
        return (struct simdev_crash_policy){.keep_percent = rng_percent(sim->rng, 50) ? 0 : 10};
    case COVERAGE_REORDER:
        return (struct simdev_crash_policy){.keep_percent = 50};
    case COVERAGE_TEAR:
        return (struct simdev_crash_policy){.keep_percent = 90, .tear_percent = 100};
    default:
        return simdev_random_policy(sim->rng);
    }
}

void sim_end_damaged(struct sim *sim)
{
    struct simdev_crash_policy keep = {.keep_percent = 100};
    simdev_arm(sim->disk, NULL);
    if (sim->pool && rng_percent(sim->rng, 50))
        simdev_cut_power(sim->disk);
    sim->phase = COVERAGE_NO_PHASE;
    ignore_error(pool_close(sim->pool), "it may be damaged");
    sim->pool = NULL;
    sim_restart(sim, &keep);
}

/* The pool ends, and is looked at. */
static void fault_end_damaged(struct sim *sim)
{
    sim_end_damaged(sim);
    sim_examine(sim);
}

static void fault_end(struct sim *sim)
{
    struct simdev_crash_policy policy = fault_policy(sim);
    simdev_arm(sim->disk, NULL);
    if (!fault_is_cut(sim->target.fault))
        sim->phase = COVERAGE_NO_PHASE;
    sim->faults_armed = false;
    sim_recover(sim, &policy, false);
    sim_drain(sim);
    sim_verify_live(sim);
    int r = pool_close(sim->pool);
    if (r < 0)
        replay_fail(sim->replay, "pool_close() gives %d", r);
    sim->pool = NULL;
}

/* In a child: does operations until the fault has hit and beyond, and looks. */
__attribute__((noreturn)) static void fault_try(struct sim *sim, enum coverage_phase phase,
                                                enum coverage_fault fault)
{
    int r = 0;
    static const uint64_t calls[COVERAGE_PHASES] = {
        [COVERAGE_IO] = 5,    [COVERAGE_JOURNAL] = 2,   [COVERAGE_NODES] = 5,
        [COVERAGE_PAGES] = 5, [COVERAGE_SPACE] = 5,     [COVERAGE_BARRIER] = 1,
        [COVERAGE_SUPER] = 4, [COVERAGE_RECOVERY] = 16, [COVERAGE_GROWTH] = 16,
        [COVERAGE_JOBS] = 16, [COVERAGE_PROMISE] = 2,
    };
    sim_aim(sim, phase, fault, rng_between(sim->rng, 1, calls[phase]));
    if (phase == COVERAGE_JOBS && fault == COVERAGE_READ_EIO)
        r = fault_cool(sim);
    for (unsigned ops = 0; r >= 0 && !sim->target.is_hit && ops < FAULT_OPS_MAX; ops++)
    {
        sim->target.countdown = sim->target.countdown > 1 && ops > 4 ? 1 : sim->target.countdown;
        r = fault_do(sim);
        if (phase == COVERAGE_RECOVERY && r < 0)
            break;
    }
    if (!sim->target.is_hit)
        _exit(FAULT_NOT_MET);
    for (unsigned ops = 0; sim->pool && r >= 0 && ops < FAULT_OPS_AFTER; ops++)
        r = sim_random_op(sim);
    if (sim->is_damaged)
        fault_end_damaged(sim);
    else
        fault_end(sim);
    _exit(0);
}

/* A pool that has had some checkpoints, so that each place has held something before. */
static void fault_prepare(struct sim *sim, struct rng *rng)
{
    sim->rng = rng;
    sim_prepare(sim);
    for (unsigned i = 0; i < FAULT_CHECKPOINTS; i++)
    {
        ignore_error(fault_change(sim, 15), "all is well still");
        ignore_error(sim_op_checkpoint(sim), "all is well still");
    }
    fault_put_at_stake(sim);
    replay_trace(sim->replay, "at stake: %#x", coverage_stake.since);
}

static void fault_fork(struct sim *sim, struct rng *rng, enum coverage_phase phase,
                       enum coverage_fault fault)
{
    fflush(stdout);
    pid_t pid = fork();
    INVARIANT(pid >= 0);
    if (pid == 0)
    {
        sim->rng = rng;
        fault_try(sim, phase, fault);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        INVARIANT(errno == EINTR);
    if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != FAULT_NOT_MET))
        replay_fail(sim->replay, "%s in %s", coverage_fault_name(fault),
                    coverage_phase_name(phase));
}

/* Until it has hit records of all types that it can. */
static void fault_try_pair(struct sim *sim, struct rng *rng, enum coverage_phase phase,
                           enum coverage_fault fault)
{
    uint32_t possible = coverage_possible(phase, fault);
    unsigned least = fault >= COVERAGE_ROT && possible != 0 ? FAULT_DAMAGES : 0;
    /* With so many more kinds of operations it takes longer, and other runs hit them, too. */
    unsigned tries = sim->has_promises ? FAULT_TRIES / 4 : FAULT_TRIES;
    for (unsigned i = 0; i < tries; i++)
    {
        if (i >= least && (possible & ~coverage_of_run(phase, fault)) == 0)
            break;
        struct rng own = rng_fork(rng);
        fault_fork(sim, &own, phase, fault);
    }
}

void sim_run_matrix(struct replay *replay)
{
    struct sim sim;
    struct rng rng = rng_of(replay->seed);
    sim_begin(&sim, replay);
    coverage_begin_run();
    fault_prepare(&sim, &rng);
    for (uint64_t step = 0; step < min_u64(replay->steps, COVERAGE_PHASES * COVERAGE_FAULTS);
         step++)
    {
        if (replay_step(replay, step, &rng))
            fault_try_pair(&sim, &rng, (enum coverage_phase)(step / COVERAGE_FAULTS),
                           (enum coverage_fault)(step % COVERAGE_FAULTS));
    }
    sim.rng = &rng;
    sim_verify_live(&sim);
    sim_end(&sim);
}
