/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The n-th read, write, sync fails: for n = 1, 2, ... until a script of operations passes
 * untouched.
 *
 * A seed is a script. After a fault the pool is usable, or says that it is READ_ONLY or FAILED;
 * nothing that was acknowledged is lost when it is opened again, with or without a power cut. No
 * step hangs or aborts. A failed data write may have left old or new in each of its sectors.
 *
 * Mode "no-room": the file system below is full. Data that needs room gets ENOSPC; checkpoints,
 * recovery and deletes go on.
 *
 * Mode "damage": one metadata block of a closed pool is flipped or lost. The pool opens or is
 * refused; what it serves is right, or an error. Mode "damage-each": the same with a bit of each
 * metadata block in turn; neither the check nor, where the pool opens, the scrub misses what is
 * read at all, and the scrub finds nothing where nothing is.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/pool/format.h"
#include "tests/sim/sim.h"

enum
{
    FAULTS_NTH_MAX = 2000
};

static const struct
{
    const char *mode;
    struct simdev_fault fault;
} faults_modes[] = {
    {"read-eio", {.op = SIMDEV_READ, .kind = SIMDEV_FAIL, .error = -EIO}},
    {"write-eio", {.op = SIMDEV_WRITE, .kind = SIMDEV_FAIL, .error = -EIO}},
    {"write-enospc", {.op = SIMDEV_WRITE, .kind = SIMDEV_FAIL, .error = -ENOSPC}},
    {"write-partial", {.op = SIMDEV_WRITE, .kind = SIMDEV_PARTIAL, .error = -EIO}},
    {"write-short", {.op = SIMDEV_WRITE, .kind = SIMDEV_PARTIAL, .error = -ENOSPC}},
    {"allocate-enospc", {.op = SIMDEV_ALLOCATE, .kind = SIMDEV_FAIL, .error = -ENOSPC}},
    {"allocate-eio", {.op = SIMDEV_ALLOCATE, .kind = SIMDEV_FAIL, .error = -EIO}},
    {"write-eio-all", {.op = SIMDEV_WRITE, .kind = SIMDEV_FAIL, .error = -EIO, .is_sticky = true}},
    {"sync-eio", {.op = SIMDEV_SYNC, .kind = SIMDEV_FAIL, .error = -EIO}},
    {"discard-eio", {.op = SIMDEV_DISCARD, .kind = SIMDEV_FAIL, .error = -EIO, .is_sticky = true}},
    {"grow-enospc", {.op = SIMDEV_GROW, .kind = SIMDEV_FAIL, .error = -ENOSPC, .is_sticky = true}},
};

/* A healthy pool goes on working after the fault; reads work unless it FAILED. */
static void faults_probe(struct sim *sim)
{
    struct pool_info info;
    pool_get_info(sim->pool, &info);
    replay_count(sim->replay, "%s: %s", sim->replay->mode, pool_health_name(info.health));
    replay_trace(sim->replay, "  the pool is %s", pool_health_name(info.health));
    if (info.health != POOL_HEALTHY)
        return;
    struct lun_create_args args = {.name = "probe", .size_bytes = 1 << 20};
    struct lun *lun = NULL;
    char bytes[4096] = "probe";
    int r = lun_create(sim->pool, &args, &sim->why);
    if (r == 0)
        r = lun_open(sim->pool, "probe", 0, &lun, &sim->why);
    if (r == 0)
        r = lun_write(lun, bytes, sizeof(bytes), 4096, LUN_FUA);
    lun_close(lun);
    if (r == 0)
        r = lun_delete(sim->pool, "probe", false, 0, &sim->why);
    if (r == -ENOSPC && sim_may_lack(sim))
        return; /* all room is spoken for */
    if (r < 0)
        replay_fail(sim->replay, "the pool says it is healthy, and fails: %d, %s", r,
                    sim->why.text);
}

/* One run of the script with fault @n. False: it was not reached. */
static bool faults_run_nth(struct replay *replay, const struct simdev_fault *fault, uint64_t n)
{
    struct sim sim;
    struct rng rng = rng_of(replay->seed);
    struct simdev_fault armed = *fault;
    armed.nth = n;
    sim_begin(&sim, replay);
    sim.rng = &rng;
    sim_prepare(&sim);
    simdev_arm(sim.disk, &armed);
    sim.faults_armed = true;
    bool is_hit = false;
    int r = 0;
    for (uint64_t step = 0; step < replay->steps; step++)
    {
        if (!replay_step(replay, step, &rng))
            continue;
        r = sim_random_op(&sim);
        is_hit = simdev_fault_hits(sim.disk) > 0;
        /* A command that failed may be there after all, so there is not one oracle any more. */
        if (is_hit && (r < 0 || rng_percent(&rng, 10)))
            break;
    }
    replay_trace(replay, "n = %" PRIu64 ": %s", n, is_hit ? "hit" : "not reached");
    simdev_arm(sim.disk, NULL);
    if (is_hit)
        faults_probe(&sim);
    else
        sim_verify_live(&sim);
    struct simdev_crash_policy keep = {.keep_percent = 100};
    struct simdev_crash_policy policy = n % 2 ? keep : simdev_random_policy(&rng);
    sim.faults_armed = false;
    sim_recover(&sim, &policy, false);
    sim_drain(&sim);
    sim_verify_live(&sim);
    sim_end(&sim);
    return is_hit;
}

static void faults_run_script(struct replay *replay)
{
    unsigned mode = 0;
    while (strcmp(faults_modes[mode].mode, replay->mode) != 0)
        mode++;
    for (uint64_t n = 1; n < FAULTS_NTH_MAX; n++)
    {
        if (!faults_run_nth(replay, &faults_modes[mode].fault, n))
            return;
        replay_count(replay, "%s", replay->mode);
    }
    replay_fail(replay, "more than %d calls: give fewer steps", FAULTS_NTH_MAX);
}

/* ---- no room below */

/* The pool goes on although what is below gives no room any more. */
static void faults_need_healthy(struct sim *sim)
{
    struct pool_info info;
    int r = pool_checkpoint(sim->pool);
    pool_get_info(sim->pool, &info);
    if (r < 0 || info.health >= POOL_READ_ONLY)
        replay_fail(sim->replay, "without room below, a checkpoint gives %d, the pool is %s", r,
                    pool_health_name(info.health));
}

static void faults_delete_all(struct sim *sim)
{
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        const char *name = sim->now->objects[i].name;
        if (!name[0] || strchr(name, '@'))
            continue;
        int r = lun_delete(sim->pool, name, true, 0, &sim->why);
        if (r < 0)
            replay_fail(sim->replay, "without room below, deleting %s gives %d: %s", name, r,
                        sim->why.text);
    }
    memset(sim->now->objects, 0, sizeof(sim->now->objects));
}

static void faults_run_no_room(struct replay *replay)
{
    struct sim sim;
    struct rng rng = rng_of(replay->seed);
    sim_begin(&sim, replay);
    sim.rng = &rng;
    sim_prepare(&sim);
    simdev_set_room(sim.disk, rng_below(&rng, 400));
    sim.faults_armed = true;
    int r = 0;
    for (uint64_t step = 0; r >= 0 && step < replay->steps; step++)
    {
        if (replay_step(replay, step, &rng))
            r = sim_random_op(&sim);
    }
    replay_count(replay, "no-room: %s", r < 0 ? "an operation was refused" : "all done");
    simdev_set_room(sim.disk, 0);
    faults_need_healthy(&sim);
    sim.faults_armed = false;
    struct simdev_crash_policy policy = simdev_random_policy(&rng);
    sim_recover(&sim, &policy, false);
    faults_need_healthy(&sim);
    faults_delete_all(&sim);
    sim_drain(&sim);
    faults_need_healthy(&sim);
    sim_end(&sim);
}

/* ---- damage */

static const struct
{
    uint32_t magic;
    const char *name;
} faults_kinds[] = {
    {DISK_MAGIC_SUPER, "superblock"}, {DISK_MAGIC_BITMAP, "bitmap"}, {DISK_MAGIC_TABLE, "table"},
    {DISK_MAGIC_NODE, "node"},        {DISK_MAGIC_PAGE, "page"},     {DISK_MAGIC_BATCH, "journal"},
};

/* The name of what the magic of block @blk says that it is; NULL: no metadata. */
static const char *faults_kind(struct simdev *disk, uint64_t blk)
{
    struct disk_header header;
    simdev_peek(disk, &header, sizeof(header), blk * BLK_BYTES);
    for (unsigned kind = 0; kind < ARRAY_SIZE(faults_kinds); kind++)
        if (le32_get(header.magic) == faults_kinds[kind].magic)
            return faults_kinds[kind].name;
    return NULL;
}

/* A random block whose magic says that it is metadata, and its name; false: none was found. */
static bool faults_pick_metadata(struct sim *sim, uint64_t *blk, const char **what)
{
    unsigned kind = (unsigned)rng_below(sim->rng, ARRAY_SIZE(faults_kinds));
    uint64_t count = 0;
    *what = faults_kinds[kind].name;
    for (uint64_t i = 0; i < sim->now->pool_bytes / BLK_BYTES; i++)
        if (faults_kind(sim->disk, i) == *what && rng_below(sim->rng, ++count) == 0)
            *blk = i;
    return count > 0;
}

/* Every sector that can be read must be right. Returns how many cannot. */
static uint64_t faults_read_all(struct sim *sim)
{
    uint64_t unreadable = 0;
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        const struct oracle_object *object = &sim->now->objects[i];
        struct lun *lun = NULL;
        if (!object->name[0] || lun_open(sim->pool, object->name, LUN_READ_ONLY, &lun, NULL) < 0)
            continue;
        uint64_t sectors = min_u64(object->sectors, lun_size_bytes(lun) / ORACLE_SECTOR_BYTES);
        for (uint32_t sector = 0; sector < sectors; sector++)
        {
            uint8_t found[ORACLE_SECTOR_BYTES];
            uint8_t wanted[ORACLE_SECTOR_BYTES];
            oracle_fill(wanted, object->current[sector], sector);
            int r = lun_read(lun, found, sizeof(found), (uint64_t)sector * sizeof(found));
            unreadable += r < 0;
            if (r == 0 && memcmp(found, wanted, sizeof(found)) != 0)
                replay_fail(sim->replay, "%s: sector %" PRIu32 " is served wrong after damage",
                            object->name, sector);
        }
        lun_close(lun);
    }
    return unreadable;
}

static void faults_report_cb(void *opaque, bool is_error, const char *text)
{
    (void)is_error;
    replay_trace(opaque, "  check: %s", text);
}

/* Flips a bit, loses the block, or puts another block of metadata in its place. */
static void faults_damage_block(struct sim *sim, uint64_t blk)
{
    uint8_t bytes[BLK_BYTES] = {0};
    uint64_t other = 0;
    const char *what;
    unsigned kind = (unsigned)rng_below(sim->rng, 3);
    if (kind == 0)
    {
        simdev_rot(sim->disk, sim->rng, 1, BLK_BYTES, blk * BLK_BYTES);
        return;
    }
    if (kind == 1 && faults_pick_metadata(sim, &other, &what))
        simdev_peek(sim->disk, bytes, sizeof(bytes), other * BLK_BYTES);
    simdev_poke(sim->disk, bytes, sizeof(bytes), blk * BLK_BYTES);
}

/* How many blocks a scrub finds damaged. */
static uint64_t faults_scrub(struct sim *sim)
{
    uint64_t id;
    struct scrub_info info = {0};
    int r = pool_scrub_start(sim->pool, &(struct scrub_options){0}, &id, NULL);
    while (r == 0 && pool_scrub_step(sim->pool) > 0)
        continue;
    if (r == 0)
        r = pool_scrub_get(sim->pool, &info, faults_report_cb, sim->replay);
    if (r < 0 || info.error < 0)
        replay_fail(sim->replay, "a scrub gives %d", r < 0 ? r : info.error);
    return info.damaged_blks;
}

/* Whether opening has mended something: of the catalog, of which there is all twice. */
static bool faults_open_mended(struct sim *sim)
{
    AUTO_FREE struct event *list = NULL;
    size_t count = 0;
    bool found = false;
    if (event_list(sim->pool, 0, &list, &count) < 0)
        return false;
    for (size_t i = 0; i < count; i++)
        found |= strcmp(list[i].name, "metadata.repaired") == 0;
    return found;
}

/* Opens the closed pool, reads all of it, checks it and closes it again. Whether anything was found
 * wrong, by a scrub (*by_scrub, also true if the pool is refused, or was mended by opening it) or
 * else; what is served wrong ends the run. */
static bool faults_examine(struct sim *sim, const char *what, uint64_t blk, bool *by_scrub)
{
    struct check_result result = {0};
    bool no_matter = false;
    bool *found = by_scrub ? by_scrub : &no_matter;
    *found = by_scrub != NULL;
    int r = sim_open(sim, sim->disk, &sim->pool);
    replay_trace(sim->replay, "%s in block %" PRIu64 " was damaged: open gives %d %s", what, blk, r,
                 r < 0 ? sim->why.text : "");
    replay_count(sim->replay, "%s: %s: %s", sim->replay->mode, what, r < 0 ? "refused" : "opened");
    if (r < 0 && sim->why.text[0] == '\0')
        replay_fail(sim->replay, "the pool is refused (%d) without a reason", r);
    if (r < 0)
        return true;
    bool is_mended = faults_open_mended(sim);
    uint64_t unreadable = faults_read_all(sim);
    *found = by_scrub && (faults_scrub(sim) > 0 || is_mended);
    r = pool_check(sim->pool, faults_report_cb, sim->replay, &result);
    if (unreadable > 0 && r == 0 && result.errors == 0)
        replay_fail(sim->replay, "%" PRIu64 " sectors cannot be read, and the check finds nothing",
                    unreadable);
    ignore_error((int)faults_read_all(sim), "what can be read must be right still");
    ignore_error(pool_close(sim->pool), "it may be damaged");
    sim->pool = NULL;
    return r < 0 || result.errors > 0 || *found || is_mended;
}

static void faults_run_damage(struct replay *replay)
{
    struct sim sim;
    struct rng rng = rng_of(replay->seed);
    sim_begin(&sim, replay);
    sim.rng = &rng;
    sim_prepare(&sim);
    for (uint64_t step = 0; step < replay->steps; step++)
    {
        if (replay_step(replay, step, &rng))
            ignore_error(sim_random_op(&sim), "what fails here is a failure of its own");
    }
    bool with_journal = rng_percent(&rng, 50);
    sim.op = "close";
    if (with_journal)
        ignore_error(sim_random_op(&sim), "a last change for the journal");
    int r = pool_checkpoint(sim.pool);
    if (with_journal && r == 0)
    {
        struct store_change change = {.key = "last", .value = "1", .len = 1};
        ignore_error(store_apply(sim.pool, &change, 1, NULL), "it is only there to be a record");
        simdev_cut_power(sim.disk);
    }
    ignore_error(pool_close(sim.pool), "the power may be off");
    simdev_restart(sim.disk, &rng, &(struct simdev_crash_policy){.keep_percent = 100});
    uint64_t blk = 0;
    const char *what = NULL;
    if (faults_pick_metadata(&sim, &blk, &what))
        faults_damage_block(&sim, blk);
    sim.faults_armed = true;
    sim.pool = NULL;
    bool by_scrub;
    if (faults_examine(&sim, what, blk, &by_scrub))
        replay_count(replay, "damage: %s: noticed", what);
    sim_end(&sim);
}

/* ---- repair */

static int faults_repair(struct sim *sim, struct repair_result *result)
{
    struct repair_options options = {0};
    reason_clear(&sim->why);
    return pool_repair_device(&sim->env.env, simdev_open(sim->disk), &options, faults_report_cb,
                              sim->replay, result, &sim->why);
}

/* Up to three attempts lose their power; the last one does not. */
static int faults_repair_cutting(struct sim *sim, struct repair_result *result)
{
    for (uint64_t cuts = rng_below(sim->rng, 4); cuts > 0; cuts--)
    {
        struct simdev_crash_policy policy = simdev_random_policy(sim->rng);
        simdev_cut_power_at(sim->disk, rng_between(sim->rng, 1, 40));
        int r = faults_repair(sim, result);
        replay_trace(sim->replay, "a repair with a power cut gives %d", r);
        replay_count(sim->replay, "repair: %s", simdev_is_off(sim->disk) ? "cut off" : "too short");
        simdev_cut_power_at(sim->disk, 0);
        simdev_restart(sim->disk, sim->rng, &policy);
    }
    return faults_repair(sim, result);
}

static void faults_run_repair(struct replay *replay)
{
    struct sim sim;
    struct rng rng = rng_of(replay->seed);
    sim_begin(&sim, replay);
    sim.rng = &rng;
    sim_prepare(&sim);
    for (uint64_t step = 0; step < replay->steps; step++)
    {
        if (replay_step(replay, step, &rng))
            ignore_error(sim_random_op(&sim), "what fails here is a failure of its own");
    }
    ignore_error(pool_close(sim.pool), "the power may be off");
    sim.pool = NULL;
    uint64_t blk = 0;
    const char *what = "nothing";
    if (faults_pick_metadata(&sim, &blk, &what))
        faults_damage_block(&sim, blk);
    sim.faults_armed = true;
    struct repair_result result;
    int r = faults_repair_cutting(&sim, &result);
    replay_trace(replay, "%s in block %" PRIu64 " was damaged: the repair gives %d, %s", what, blk,
                 r, sim.why.text);
    replay_count(replay, "repair: %s: %s", what,
                 r < 0             ? "refused"
                 : result.left > 0 ? "something is left"
                                   : "clean");
    if (r < 0 && (r != -EBADMSG || sim.why.text[0] == '\0'))
        replay_fail(replay, "a repair gives %d, '%s'", r, sim.why.text);
    bool by_scrub, is_wrong = faults_examine(&sim, what, blk, &by_scrub);
    if (r == 0 && is_wrong != (result.left > 0))
        replay_fail(replay, "after a repair that left %" PRIu64 " findings the pool is %s",
                    result.left, is_wrong ? "wrong" : "right");
    sim_end(&sim);
}

/* Whether @blk is of the catalog: a page, or a node of its index. */
static bool faults_is_catalog(struct simdev *disk, uint64_t blk)
{
    struct disk_node node;
    simdev_peek(disk, &node, sizeof(node), blk * BLK_BYTES);
    uint32_t magic = le32_get(node.header.magic);
    return magic == DISK_MAGIC_PAGE || (magic == DISK_MAGIC_NODE && node.kind == DISK_TREE_PAGES);
}

/* A bit of each metadata block in turn. Of the catalog no single one matters: opening or the scrub
 * has mended it. */
static void faults_run_damage_each(struct replay *replay)
{
    struct sim sim;
    struct rng rng = rng_of(replay->seed);
    sim_begin(&sim, replay);
    sim.rng = &rng;
    sim_prepare(&sim);
    for (uint64_t step = 0; step < replay->steps; step++)
    {
        if (replay_step(replay, step, &rng))
            ignore_error(sim_random_op(&sim), "what fails here is a failure of its own");
    }
    int r = pool_close(sim.pool);
    sim.pool = NULL;
    if (r < 0)
        replay_fail(replay, "pool_close() gives %d", r);
    struct simdev *pristine = simdev_copy(sim.disk, replay->seed);
    simdev_watch_reads(sim.disk);
    bool by_scrub;
    if (faults_examine(&sim, "nothing", 0, NULL))
        replay_fail(replay, "damage is found where there is none");
    struct sim sound = sim;
    sound.disk = simdev_copy(pristine, replay->seed);
    if (faults_examine(&sound, "nothing", 0, &by_scrub))
        replay_fail(replay, "the scrub finds damage where there is none");
    simdev_destroy(sound.disk);
    for (uint64_t blk = 0; blk < sim.now->pool_bytes / BLK_BYTES; blk++)
    {
        const char *what = faults_kind(pristine, blk);
        if (!what)
            continue;
        bool is_needed = simdev_was_read(sim.disk, blk) && strcmp(what, "superblock") != 0 &&
                         strcmp(what, "journal") != 0; /* of one there are more, one is over */
        struct sim copy = sim;
        copy.disk = simdev_copy(pristine, blk);
        simdev_rot(copy.disk, &rng, 1, BLK_BYTES, blk * BLK_BYTES);
        bool is_noticed = faults_examine(&copy, what, blk, &by_scrub);
        if (is_needed && !is_noticed)
            replay_fail(replay, "damage to block %" PRIu64 ", a %s, is not noticed", blk, what);
        if (is_needed && !by_scrub)
            replay_fail(replay, "the scrub misses damage to block %" PRIu64 ", a %s", blk, what);
        if (faults_is_catalog(pristine, blk) && faults_examine(&copy, "mended", blk, NULL))
            replay_fail(replay, "damage to block %" PRIu64 ", a %s, is not mended", blk, what);
        replay_count(replay, "damage-each: %s: %s", what, is_noticed ? "noticed" : "not needed");
        simdev_destroy(copy.disk);
    }
    simdev_destroy(pristine);
    sim_end(&sim);
}

static void faults_run(struct replay *replay)
{
    if (strcmp(replay->mode, "damage") == 0)
        faults_run_damage(replay);
    else if (strcmp(replay->mode, "damage-each") == 0)
        faults_run_damage_each(replay);
    else if (strcmp(replay->mode, "repair") == 0)
        faults_run_repair(replay);
    else if (strcmp(replay->mode, "no-room") == 0)
        faults_run_no_room(replay);
    else
        faults_run_script(replay);
}

static bool faults_summary(const struct replay_stats *stats)
{
    for (unsigned i = 0; i < REPLAY_COUNTERS && stats->counters[i].label[0]; i++)
        printf("%10" PRIu64 " %s\n", stats->counters[i].count, stats->counters[i].label);
    return true;
}

int main(int argc, char **argv)
{
    static const char *modes[ARRAY_SIZE(faults_modes) + 5];
    for (unsigned i = 0; i < ARRAY_SIZE(faults_modes); i++)
        modes[i] = faults_modes[i].mode;
    modes[ARRAY_SIZE(faults_modes)] = "damage";
    modes[ARRAY_SIZE(faults_modes) + 1] = "no-room";
    modes[ARRAY_SIZE(faults_modes) + 2] = "damage-each";
    modes[ARRAY_SIZE(faults_modes) + 3] = "repair";
    static const struct replay_program program = {
        .name = "test_faults",
        .modes = modes,
        .runs = 45,
        .steps = 40,
        .seeds_path = FAULTS_SEEDS,
        .run = faults_run,
        .summary = faults_summary,
    };
    return replay_main(&program, argc, argv);
}
