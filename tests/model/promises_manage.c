/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands of the test of promises. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/volume/catalog.h"
#include "tests/model/promises.h"

/* The most metadata that a LUN of @blks may need, generously. */
static uint64_t pm_nodes(uint64_t blks)
{
    return blks / 30 + 16;
}

static uint64_t pm_slack(struct pm *pm, bool makes_promise)
{
    return makes_promise && !pm_has_promises(pm) ? SPACE_RULES_SLACK_BLKS : 0;
}

static int pm_pick_volume(struct pm *pm)
{
    int volume = (int)rng_below(pm->rng, PM_VOLUMES + 2);
    return volume < PM_VOLUMES && pm->volumes[volume].is_there ? volume : -1;
}

static void pm_name(struct pm *pm, struct pm_lun *lun, int volume)
{
    lun->volume = volume;
    snprintf(lun->name, sizeof(lun->name), "%s%sl%" PRIu64,
             volume >= 0 ? pm->volumes[volume].name : "", volume >= 0 ? "/" : "", pm->made++);
}

/* Whether a tail that was cut off is not unmapped yet: commands do that first, and may not be able
 * to. */
static bool pm_has_tail(struct pm *pm, const struct pm_lun *lun)
{
    const struct lun_object *object = catalog_find_lun(pm->pool, lun->name);
    return object && object->trim_end_bytes != 0;
}

static void pm_cost_tail(struct pm *pm, struct space_rules_cost *cost, const struct pm_lun *lun)
{
    if (pm_has_tail(pm, lun))
        cost->most = cost->most_in = UINT64_MAX / 2;
}

/* ---- LUNs ---------------------------------------------------------------------------------- */

bool pm_create(struct pm *pm, uint64_t blks, bool is_reserved, int volume)
{
    struct pm_lun *lun = pm_pick_free(pm);
    if (!lun)
        return false;
    pm_name(pm, lun, volume);
    lun->is_reserved = false;
    struct space_rules_cost cost = pm_cost(pm, volume);
    if (is_reserved)
        pm_cost_add(pm, &cost, volume, blks, blks + pm_nodes(blks));
    cost.most += pm_slack(pm, is_reserved);
    struct lun_create_args args = {
        .name = lun->name, .size_bytes = blks * PM_BLK, .attributes = {.is_reserved = is_reserved}};
    replay_trace(pm->replay, "create '%s' of %" PRIu64 "%s", lun->name, blks,
                 is_reserved ? ", reserved" : "");
    int r = lun_create(pm->pool, &args, &pm->why);
    if (!pm_agree(pm, is_reserved ? "create reserved" : "create", r, &cost))
        return false;
    lun->is_reserved = is_reserved;
    pm_image_set(&lun->now, blks, NULL);
    return true;
}

void pm_step_create(struct pm *pm)
{
    pm_create(pm, rng_between(pm->rng, 1, PM_LUN_BLKS), rng_percent(pm->rng, 50),
              pm_pick_volume(pm));
}

void pm_delete(struct pm *pm, struct pm_lun *lun)
{
    replay_trace(pm->replay, "delete '%s'", lun->name);
    int r = lun_delete(pm->pool, lun->name, true, 0, &pm->why);
    if (r < 0)
        replay_fail(pm->replay, "deleting '%s' gives %d: %s", lun->name, r, pm->why.text);
    pm_image_clear(&lun->now);
    for (unsigned s = 0; s < PM_SNAPSHOTS; s++)
        pm_image_clear(&lun->snapshots[s]);
}

void pm_step_delete(struct pm *pm)
{
    struct pm_lun *lun = pm_pick_lun(pm);
    if (lun)
        pm_delete(pm, lun);
}

/* What a freeze of the LUN makes it need again. */
static uint64_t pm_freeze_least(struct pm *pm, const struct pm_lun *lun)
{
    return lun->is_reserved ? pm_own_blks(pm, lun) : 0;
}

bool pm_clone(struct pm *pm, struct pm_lun *source, bool no_reserve, int volume)
{
    struct pm_lun *lun = pm_pick_free(pm);
    if (!source || !lun)
        return false;
    pm_name(pm, lun, volume);
    bool is_reserved = source->is_reserved && !no_reserve;
    uint64_t blks = source->now.blks, own = pm_freeze_least(pm, source);
    struct space_rules_cost cost = pm_cost(pm, volume);
    if (is_reserved)
        pm_cost_add(pm, &cost, volume, blks, blks + pm_nodes(blks));
    if (source->is_reserved)
        pm_cost_add(pm, &cost, source->volume, 0, own + pm_nodes(blks));
    cost.left = min_u64(cost.left, pm_volume_left_blks(pm, source->volume));
    /* What is in another volume than the one whose room counts is no promise in that one. */
    if (volume != source->volume)
        cost.least_in = 0;
    struct lun_clone_args args = {
        .source = source->name, .name = lun->name, .no_reserve = no_reserve};
    pm_cost_tail(pm, &cost, source);
    replay_trace(pm->replay, "clone '%s' to '%s'%s", source->name, lun->name,
                 no_reserve ? ", not reserved" : "");
    int r = lun_clone(pm->pool, &args, &pm->why);
    if (!pm_agree(pm, is_reserved ? "clone reserved" : "clone", r, &cost))
        return false;
    lun->is_reserved = is_reserved;
    pm_image_set(&lun->now, blks, &source->now);
    return true;
}

void pm_step_clone(struct pm *pm)
{
    struct pm_lun *source = pm_pick_lun(pm);
    pm_clone(pm, source, rng_percent(pm->rng, 40), pm_pick_volume(pm));
}

void pm_step_resize(struct pm *pm)
{
    struct pm_lun *lun = pm_pick_lun(pm);
    if (!lun)
        return;
    uint64_t blks = rng_between(pm->rng, 1, PM_LUN_BLKS), old = lun->now.blks;
    struct space_rules_cost cost = pm_cost(pm, lun->volume);
    /* A tail that is still there counts already. */
    if (lun->is_reserved && blks > old)
        pm_cost_add(pm, &cost, lun->volume, 0, blks - old + pm_nodes(blks));
    pm_cost_tail(pm, &cost, lun);
    replay_trace(pm->replay, "resize '%s' from %" PRIu64 " to %" PRIu64, lun->name, old, blks);
    int r = lun_resize(pm->pool, lun->name, blks * PM_BLK, LUN_FORCE, &pm->why);
    if (pm_agree(pm, "resize", r, &cost))
        pm_image_set(&lun->now, blks, &lun->now);
}

void pm_step_reserve(struct pm *pm)
{
    struct pm_lun *lun = pm_pick_lun(pm);
    if (!lun)
        return;
    struct lun_attributes attributes = {.is_reserved = !lun->is_reserved};
    uint64_t own = pm_own_blks(pm, lun), rest = lun->now.blks > own ? lun->now.blks - own : 0;
    struct space_rules_cost cost = pm_cost(pm, lun->volume);
    /* A tail that was cut off and is not unmapped yet is needed, too. */
    if (attributes.is_reserved)
        pm_cost_add(pm, &cost, lun->volume, rest, PM_LUN_BLKS + pm_nodes(PM_LUN_BLKS));
    cost.most += pm_slack(pm, attributes.is_reserved);
    replay_trace(pm->replay, "'%s' becomes %s", lun->name,
                 attributes.is_reserved ? "reserved" : "thin");
    int r = lun_set_attributes(pm->pool, lun->name, LUN_SET_RESERVED, &attributes, &pm->why);
    if (pm_agree(pm, attributes.is_reserved ? "reserve" : "no reserve", r, &cost))
        lun->is_reserved = attributes.is_reserved;
}

void pm_step_move(struct pm *pm)
{
    struct pm_lun *lun = pm_pick_lun(pm);
    int volume = pm_pick_volume(pm);
    if (!lun || lun->volume == volume)
        return;
    for (unsigned s = 0; s < PM_SNAPSHOTS; s++)
    {
        if (lun->snapshots[s].is_there)
            return; /* snapshots stay where they are */
    }
    struct space_rules_cost cost = pm_cost(pm, volume);
    /* What a guaranteed volume loses it is promised again; what it was charged for may be more. */
    cost.most = cost.most_in = 2 * (uint64_t)PM_LUN_BLKS + 2 * pm_nodes(PM_LUN_BLKS);
    struct pm_lun moved = *lun;
    pm_name(pm, &moved, volume);
    replay_trace(pm->replay, "move '%s' to '%s'", lun->name, moved.name);
    int r = lun_rename(pm->pool, lun->name, moved.name, &pm->why);
    if (pm_agree(pm, "move", r, &cost))
        *lun = moved;
}

/* ---- snapshots ----------------------------------------------------------------------------- */

bool pm_snapshot(struct pm *pm, struct pm_lun *lun)
{
    unsigned s = 0;
    while (lun && s < PM_SNAPSHOTS && lun->snapshots[s].is_there)
        s++;
    if (!lun || s == PM_SNAPSHOTS)
        return false;
    char name[8];
    snprintf(name, sizeof(name), "s%u", s);
    uint64_t own = pm_freeze_least(pm, lun), blks = lun->now.blks;
    struct space_rules_cost cost = pm_cost(pm, lun->volume);
    if (lun->is_reserved)
        pm_cost_add(pm, &cost, lun->volume, 0, own + pm_nodes(blks));
    pm_cost_tail(pm, &cost, lun);
    replay_trace(pm->replay, "snapshot %s of '%s'", name, lun->name);
    int r = snapshot_create(pm->pool, lun->name, name, NULL, &pm->why);
    if (!pm_agree(pm, lun->is_reserved ? "snapshot of a reserved LUN" : "snapshot", r, &cost))
        return false;
    pm_image_set(&lun->snapshots[s], blks, &lun->now);
    return true;
}

void pm_step_snapshot(struct pm *pm)
{
    pm_snapshot(pm, pm_pick_lun(pm));
}

static struct pm_image *pm_pick_snapshot(struct pm *pm, struct pm_lun *lun, char name[8])
{
    unsigned from = (unsigned)rng_below(pm->rng, PM_SNAPSHOTS);
    for (unsigned i = 0; lun && i < PM_SNAPSHOTS; i++)
    {
        unsigned s = (from + i) % PM_SNAPSHOTS;
        snprintf(name, 8, "s%u", s);
        if (lun->snapshots[s].is_there)
            return &lun->snapshots[s];
    }
    return NULL;
}

void pm_step_snapshot_delete(struct pm *pm)
{
    struct pm_lun *lun = pm_pick_lun(pm);
    char name[8];
    struct pm_image *image = pm_pick_snapshot(pm, lun, name);
    if (!image)
        return;
    replay_trace(pm->replay, "delete snapshot %s of '%s'", name, lun->name);
    int r = snapshot_delete(pm->pool, lun->name, name, 0, &pm->why);
    if (r < 0)
        replay_fail(pm->replay, "deleting a snapshot gives %d: %s", r, pm->why.text);
    pm_image_clear(image);
    replay_count(pm->replay, "snapshot deleted");
}

void pm_step_restore(struct pm *pm)
{
    struct pm_lun *lun = pm_pick_lun(pm);
    char name[8];
    struct pm_image *image = pm_pick_snapshot(pm, lun, name);
    if (!image)
        return;
    uint64_t own = pm_freeze_least(pm, lun);
    uint64_t more = image->blks > lun->now.blks ? image->blks - lun->now.blks : 0;
    struct space_rules_cost cost = pm_cost(pm, lun->volume);
    if (lun->is_reserved)
        pm_cost_add(pm, &cost, lun->volume, 0, own + more + pm_nodes(image->blks));
    pm_cost_tail(pm, &cost, lun);
    replay_trace(pm->replay, "restore '%s' from %s", lun->name, name);
    int r = snapshot_restore(pm->pool, lun->name, name, 0, &pm->why);
    if (pm_agree(pm, "restore", r, &cost))
        pm_image_set(&lun->now, image->blks, image);
}

/* ---- volumes ------------------------------------------------------------------------------- */

void pm_step_volume(struct pm *pm)
{
    unsigned v = (unsigned)rng_below(pm->rng, PM_VOLUMES);
    struct pm_volume *volume = &pm->volumes[v];
    if (volume->is_there)
        return;
    *volume = (struct pm_volume){.is_guaranteed = rng_percent(pm->rng, 50)};
    volume->blks = volume->is_guaranteed || rng_percent(pm->rng, 60)
                       ? rng_between(pm->rng, 1, 2 * (uint64_t)PM_LUN_BLKS)
                       : 0;
    snprintf(volume->name, sizeof(volume->name), "v%" PRIu64, pm->made++);
    struct volume_attributes attributes = {.size_bytes = volume->blks * PM_BLK,
                                           .is_guaranteed = volume->is_guaranteed};
    struct space_rules_cost cost = pm_cost(pm, -1);
    cost.least = volume->is_guaranteed ? volume->blks : 0;
    cost.most = cost.least + pm_slack(pm, volume->is_guaranteed);
    replay_trace(pm->replay, "volume '%s' of %" PRIu64 "%s", volume->name, volume->blks,
                 volume->is_guaranteed ? ", guaranteed" : "");
    int r = volume_create(pm->pool, volume->name, &attributes, &pm->why);
    volume->is_there = pm_agree(pm, "create volume", r, &cost);
}

void pm_step_volume_modify(struct pm *pm)
{
    struct pm_volume *volume = &pm->volumes[rng_below(pm->rng, PM_VOLUMES)];
    if (!volume->is_there)
        return;
    struct pm_volume wanted = *volume;
    wanted.is_guaranteed = rng_percent(pm->rng, 50);
    wanted.blks = rng_between(pm->rng, 1, 2 * (uint64_t)PM_LUN_BLKS);
    struct volume_attributes attributes = {.size_bytes = wanted.blks * PM_BLK,
                                           .is_guaranteed = wanted.is_guaranteed};
    struct volume_info info;
    if (volume_get_info(pm->pool, volume->name, &info, &pm->why) < 0)
        replay_fail(pm->replay, "'%s' is not there", volume->name);
    uint64_t used = (info.charged_bytes + info.reserved_bytes) / PM_BLK;
    struct space_rules_cost cost = pm_cost(pm, -1);
    cost.most = wanted.is_guaranteed ? wanted.blks + pm_slack(pm, true) : 0;
    cost.most_in = used;
    cost.left = wanted.blks;
    replay_trace(pm->replay, "volume '%s' becomes of %" PRIu64 "%s", volume->name, wanted.blks,
                 wanted.is_guaranteed ? ", guaranteed" : "");
    int r = volume_modify(pm->pool, volume->name, VOLUME_SET_SIZE | VOLUME_SET_GUARANTEE,
                          &attributes, &pm->why);
    if (r == 0 && used > wanted.blks)
        replay_fail(pm->replay, "volume '%s' became smaller than what it holds", volume->name);
    if (pm_agree(pm, "modify volume", r, &cost))
        *volume = wanted;
}

void pm_step_volume_delete(struct pm *pm)
{
    int v = (int)rng_below(pm->rng, PM_VOLUMES);
    struct pm_volume *volume = &pm->volumes[v];
    if (!volume->is_there)
        return;
    for (unsigned i = 0; i < PM_LUNS; i++)
    {
        if (pm->luns[i].now.is_there && pm->luns[i].volume == v)
            return;
    }
    replay_trace(pm->replay, "delete volume '%s'", volume->name);
    int r = volume_delete(pm->pool, volume->name, false, 0, &pm->why);
    if (r < 0)
        replay_fail(pm->replay, "deleting a volume gives %d: %s", r, pm->why.text);
    volume->is_there = false;
    replay_count(pm->replay, "volume deleted");
}

/* ---- background work ----------------------------------------------------------------------- */

static void pm_run_jobs(struct pm *pm, uint64_t count)
{
    int r = 1;
    while (count-- > 0 && r > 0)
        r = pool_run_job_step(pm->pool);
    if (r < 0 && r != -ENOSPC && !simdev_is_off(pm->disk))
        replay_fail(pm->replay, "a step of background work gives %d", r);
    if (r == -ENOSPC)
        replay_count(pm->replay, "jobs: no space");
}

void pm_step_jobs(struct pm *pm)
{
    uint64_t count = rng_percent(pm->rng, 20) ? 200 : rng_between(pm->rng, 1, 10);
    replay_trace(pm->replay, "up to %" PRIu64 " steps of jobs", count);
    pm_run_jobs(pm, count);
}

void pm_step_checkpoint(struct pm *pm)
{
    replay_trace(pm->replay, "checkpoint");
    int r = pool_checkpoint(pm->pool);
    if (r < 0)
        replay_fail(pm->replay, "pool_checkpoint() gives %d", r);
}

void pm_step_crash_in_jobs(struct pm *pm)
{
    pm_flush(pm);
    replay_trace(pm->replay, "power cut in background work");
    simdev_cut_power_at(pm->disk, rng_between(pm->rng, 1, 60));
    pm_run_jobs(pm, 20);
    ignore_error(pool_checkpoint(pm->pool), "the power may be off");
    pm_reopen(pm, true);
}
