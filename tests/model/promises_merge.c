/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Points that merge into their last child in a pool without room: what that takes out of one
 * promise and puts into another must be there, or the merge waits. At random, it takes too much at
 * once.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lun/volume/ledger.h"
#include "tests/model/promises.h"

enum
{
    MERGE_SCENES = 20, /* of a run */
    MERGE_JOBS_MAX = 400,
};

/* What is not spoken for, neither by promises nor by nodes that a checkpoint will ask for. */
static uint64_t merge_available(const struct space_stats *stats)
{
    uint64_t there = stats->free_blks + stats->deferred_blks;
    uint64_t stays = stats->promised_blks + stats->reserve_blks + stats->asked_blks;
    return there > stays ? there - stays : 0;
}

/* No job promises more than was available and what it freed. */
static void merge_run_jobs(struct pm *pm)
{
    int r = 1;
    for (unsigned i = 0; r > 0 && i < MERGE_JOBS_MAX; i++)
    {
        struct space_stats before, after;
        space_get_stats(pm->pool->space, &before);
        r = pool_run_job_step(pm->pool);
        space_get_stats(pm->pool->space, &after);
        uint64_t there = before.free_blks + before.deferred_blks;
        uint64_t there_now = after.free_blks + after.deferred_blks;
        uint64_t freed = there_now > there ? there_now - there : 0;
        if (after.promised_blks > before.promised_blks + merge_available(&before) + freed)
            replay_fail(pm->replay,
                        "a job promises %" PRIu64 " blocks more; %" PRIu64
                        " were available, and it freed %" PRIu64,
                        after.promised_blks - before.promised_blks, merge_available(&before),
                        freed);
    }
    replay_trace(pm->replay, "jobs end with %d", r);
}

static struct pm_lun *merge_newest(struct pm *pm)
{
    char end[24];
    snprintf(end, sizeof(end), "l%" PRIu64, pm->made - 1);
    for (unsigned i = 0; i < PM_LUNS; i++)
    {
        const char *name = pm->luns[i].name;
        const char *slash = strchr(name, '/');
        if (pm->luns[i].now.is_there && strcmp(slash ? slash + 1 : name, end) == 0)
            return &pm->luns[i];
    }
    return NULL;
}

static struct pm_lun *merge_create(struct pm *pm, uint64_t blks, bool is_reserved, int volume)
{
    return pm_create(pm, blks, is_reserved, volume) ? merge_newest(pm) : NULL;
}

/* Jobs while all room is spoken for, and then while there is some. */
static void merge_run_jobs_without_room(struct pm *pm)
{
    struct ledger *ledger = &pm->pool->ledger;
    struct space_stats stats;
    uint64_t slack_blks = ledger->slack_blks;
    space_get_stats(pm->pool->space, &stats);
    ledger->slack_blks += merge_available(&stats);
    ledger_publish(pm->pool);
    merge_run_jobs(pm);
    ledger->slack_blks = slack_blks;
    ledger_publish(pm->pool);
    merge_run_jobs(pm);
}

static void merge_make_volume(struct pm *pm)
{
    struct volume_attributes attributes = {.size_bytes = UINT64_C(600) * PM_BLK,
                                           .is_guaranteed = true};
    if (pm->volumes[0].is_there)
        return;
    pm->volumes[0] =
        (struct pm_volume){.is_there = true, .name = "v", .blks = 600, .is_guaranteed = true};
    if (volume_create(pm->pool, "v", &attributes, &pm->why) < 0)
        replay_fail(pm->replay, "the beginning fails: %s", pm->why.text);
}

/* What a guaranteed volume is charged for is left to a clone elsewhere. */
static void merge_leave_volume(struct pm *pm)
{
    merge_make_volume(pm);
    struct pm_lun *lun = merge_create(pm, rng_between(pm->rng, 50, 300), false, 0);
    if (!lun)
        return;
    pm_fill(pm, lun);
    bool is_cloned = pm_clone(pm, lun, true, -1);
    struct pm_lun *clone = is_cloned ? merge_newest(pm) : NULL;
    if (clone && rng_percent(pm->rng, 70)) /* else it merges without having dropped anything */
        pm_write(pm, clone, 0, rng_between(pm->rng, 1, clone->now.blks / 2), 2);
    pm_delete(pm, lun);
    merge_run_jobs_without_room(pm);
    replay_count(pm->replay, "merge: a clone elsewhere is left%s", is_cloned ? "" : ", not cloned");
}

/* A reserved LUN that was larger once gets the point of that time for its predecessor, and may need
 * more nodes for what it drops. */
static void merge_shrunk(struct pm *pm)
{
    char name[8] = "s1";
    struct pm_lun *lun = merge_create(pm, rng_between(pm->rng, 500, PM_LUN_BLKS), true, -1);
    if (!lun)
        return;
    pm_write(pm, lun, 0, rng_between(pm->rng, 1, PM_IO_BLKS), 1);
    if (!pm_snapshot(pm, lun))
        return;
    uint64_t blks = rng_between(pm->rng, 1, 40);
    replay_trace(pm->replay, "shrink '%s' to %" PRIu64, lun->name, blks);
    int r = lun_resize(pm->pool, lun->name, blks * PM_BLK, LUN_FORCE, &pm->why);
    if (r < 0)
        replay_fail(pm->replay, "shrinking gives %d: %s", r, pm->why.text);
    pm_image_set(&lun->now, blks, &lun->now);
    merge_run_jobs(pm);
    if (!pm_snapshot(pm, lun))
        return;
    replay_trace(pm->replay, "delete snapshot %s of '%s'", name, lun->name);
    r = snapshot_delete(pm->pool, lun->name, name, 0, &pm->why);
    if (r < 0)
        replay_fail(pm->replay, "deleting a snapshot gives %d: %s", r, pm->why.text);
    pm_image_clear(&lun->snapshots[1]);
    merge_run_jobs_without_room(pm);
    replay_count(pm->replay, "merge: a reserved LUN that was larger once");
}

static void merge_end_scene(struct pm *pm)
{
    pm_check_figures(pm);
    pm_check_pool(pm);
    pm_check_contents(pm);
    for (unsigned i = 0; i < PM_LUNS; i++)
    {
        if (pm->luns[i].now.is_there)
            pm_delete(pm, &pm->luns[i]);
    }
    merge_run_jobs(pm);
    pm_step_checkpoint(pm);
    pm_check_figures(pm);
    struct volume_info info;
    if (pm->volumes[0].is_there &&
        (volume_get_info(pm->pool, "v", &info, &pm->why) < 0 || info.charged_bytes != 0))
        replay_fail(pm->replay, "'v' is empty, and charged for %" PRIu64 " bytes",
                    info.charged_bytes);
}

void pm_run_merges(struct pm *pm)
{
    for (uint64_t step = 0; step < pm->replay->steps && step < MERGE_SCENES; step++)
    {
        if (!replay_step(pm->replay, step, pm->rng))
            continue;
        if (step % 2 == 0)
            merge_leave_volume(pm);
        else
            merge_shrunk(pm);
        merge_end_scene(pm);
    }
}
