/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/model/promises.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"
#include "lun/pool/space.h"
#include "lun/volume/catalog.h"

/* ---- opening and closing ------------------------------------------------------------------- */

void pm_open(struct pm *pm)
{
    struct pool_open_options options = {.cache_bytes = 256 << 10, .checkpoint_ms = 3600000};
    struct device *device = simdev_open(pm->disk);
    int r = pool_open_device(&pm->env.env, device, &options, &pm->pool, &pm->why);
    if (r < 0)
        replay_fail(pm->replay, "pool_open_device() gives %d: %s", r, pm->why.text);
}

void pm_begin(struct pm *pm, struct replay *replay)
{
    *pm = (struct pm){.replay = replay};
    replay_quiet_log(replay);
    rng_env_init(&pm->env, replay->seed);
    pm->buf = malloc((size_t)PM_LUN_BLKS * PM_BLK);
    pm->disk = simdev_new(PM_POOL_BYTES, PM_POOL_BYTES, replay->seed);
    INVARIANT(pm->buf);
    struct pool_create_options options = {.name = "promises",
                                          .size_bytes = PM_POOL_BYTES,
                                          .journal_bytes = 512 << 10,
                                          .group_blks = PM_GROUP_BLKS};
    struct device *device = simdev_open(pm->disk);
    int r = pool_create_on_device(&pm->env.env, device, &options, &pm->why);
    device_close(device);
    if (r < 0)
        replay_fail(replay, "pool_create_on_device() gives %d: %s", r, pm->why.text);
    pm_open(pm);
}

void pm_end(struct pm *pm)
{
    int r = pool_close(pm->pool);
    if (r < 0)
        replay_fail(pm->replay, "pool_close() gives %d", r);
    simdev_destroy(pm->disk);
    for (unsigned i = 0; i < PM_LUNS; i++)
    {
        free(pm->luns[i].now.values);
        for (unsigned s = 0; s < PM_SNAPSHOTS; s++)
            free(pm->luns[i].snapshots[s].values);
    }
    free(pm->buf);
}

void pm_flush(struct pm *pm)
{
    struct pm_lun *lun = pm_pick_lun(pm);
    struct lun *handle;
    if (!lun)
        return;
    int r = lun_open(pm->pool, lun->name, 0, &handle, &pm->why);
    if (r == 0)
    {
        r = lun_flush(handle);
        lun_close(handle);
    }
    if (r < 0)
        replay_fail(pm->replay, "a flush of '%s' gives %d", lun->name, r);
}

void pm_reopen(struct pm *pm, bool with_crash)
{
    if (with_crash)
        simdev_cut_power(pm->disk);
    int r = pool_close(pm->pool);
    if (r < 0 && !with_crash)
        replay_fail(pm->replay, "pool_close() gives %d", r);
    if (with_crash)
    {
        struct simdev_crash_policy policy = simdev_random_policy(pm->rng);
        simdev_restart(pm->disk, pm->rng, &policy);
    }
    pm_open(pm);
}

/* ---- the model ----------------------------------------------------------------------------- */

void pm_image_clear(struct pm_image *image)
{
    free(image->values);
    *image = (struct pm_image){0};
}

void pm_image_set(struct pm_image *image, uint64_t blks, const struct pm_image *source)
{
    uint8_t *values = calloc(PM_LUN_BLKS, 1);
    INVARIANT(values);
    if (source)
        memcpy(values, source->values, min_u64(blks, source->blks));
    free(image->values);
    *image = (struct pm_image){.is_there = true, .blks = blks, .values = values};
}

static struct pm_lun *pm_pick(struct pm *pm, bool (*is_wanted)(struct pm *, struct pm_lun *))
{
    unsigned from = (unsigned)rng_below(pm->rng, PM_LUNS);
    for (unsigned i = 0; i < PM_LUNS; i++)
    {
        struct pm_lun *lun = &pm->luns[(from + i) % PM_LUNS];
        if (is_wanted(pm, lun))
            return lun;
    }
    return NULL;
}

static bool pm_is_there(struct pm *pm, struct pm_lun *lun)
{
    (void)pm;
    return lun->now.is_there;
}

static bool pm_is_free(struct pm *pm, struct pm_lun *lun)
{
    (void)pm;
    return !lun->now.is_there;
}

static bool pm_is_promised(struct pm *pm, struct pm_lun *lun)
{
    (void)pm;
    return lun->now.is_there && lun->is_reserved;
}

static bool pm_is_thin(struct pm *pm, struct pm_lun *lun)
{
    (void)pm;
    return lun->now.is_there && !lun->is_reserved;
}

struct pm_lun *pm_pick_lun(struct pm *pm)
{
    return pm_pick(pm, pm_is_there);
}

struct pm_lun *pm_pick_free(struct pm *pm)
{
    return pm_pick(pm, pm_is_free);
}

struct pm_lun *pm_pick_kind(struct pm *pm, bool is_promised)
{
    return pm_pick(pm, is_promised ? pm_is_promised : pm_is_thin);
}

bool pm_has_promises(struct pm *pm)
{
    bool has = false;
    for (unsigned i = 0; i < PM_LUNS; i++)
        has |= pm_is_promised(pm, &pm->luns[i]);
    for (unsigned i = 0; i < PM_VOLUMES; i++)
        has |= pm->volumes[i].is_there && pm->volumes[i].is_guaranteed;
    return has;
}

/* ---- figures ------------------------------------------------------------------------------- */

static struct lun_info pm_lun_info(struct pm *pm, const struct pm_lun *lun)
{
    struct lun_info info = {0};
    if (lun_get_info(pm->pool, lun->name, &info, &pm->why) < 0)
        replay_fail(pm->replay, "'%s' is not there: %s", lun->name, pm->why.text);
    return info;
}

static struct volume_info pm_volume_info(struct pm *pm, int volume)
{
    struct volume_info info = {0};
    if (volume_get_info(pm->pool, pm->volumes[volume].name, &info, &pm->why) < 0)
        replay_fail(pm->replay, "'%s' is not there: %s", pm->volumes[volume].name, pm->why.text);
    return info;
}

uint64_t pm_available_blks(struct pm *pm)
{
    struct pool_info info;
    pool_get_info(pm->pool, &info);
    return info.available_bytes / PM_BLK;
}

uint64_t pm_volume_left_blks(struct pm *pm, int volume)
{
    if (volume < 0 || pm->volumes[volume].blks == 0)
        return UINT64_MAX;
    struct volume_info info = pm_volume_info(pm, volume);
    uint64_t used = info.charged_bytes + info.reserved_bytes;
    return used < info.size_bytes ? (info.size_bytes - used) / PM_BLK : 0;
}

uint64_t pm_own_blks(struct pm *pm, const struct pm_lun *lun)
{
    return pm_lun_info(pm, lun).own_bytes / PM_BLK;
}

/* What the LUN needs, which must be what its size and what its head owns make it. */
static uint64_t pm_check_lun(struct pm *pm, const struct pm_lun *lun)
{
    struct lun_info info = pm_lun_info(pm, lun);
    uint64_t needed = info.needed_bytes / PM_BLK, wanted = 0;
    if (info.is_reserved != lun->is_reserved || info.size_bytes != lun->now.blks * PM_BLK)
        replay_fail(pm->replay, "'%s' has %" PRIu64 " bytes and is %sreserved", lun->name,
                    info.size_bytes, info.is_reserved ? "" : "not ");
    if (lun->is_reserved)
    {
        const struct lun_object *object = catalog_find_lun(pm->pool, lun->name);
        const struct line *line = object->line, *point = line->predecessor;
        struct space_rules_head head = {.own_blks = (uint32_t)atomic_load(&line->own_blks),
                                        .node_blks = (uint32_t)atomic_load(&line->own_node_blks),
                                        .has_point = point != NULL,
                                        .point_blks = point ? (uint32_t)point->frozen_blks : 0};
        /* What a shrink has cut off and is not unmapped yet is needed until then. */
        uint64_t blks = max_u64(lun->now.blks, object->trim_end_bytes / PM_BLK);
        wanted = space_rules_lun_needs(blks, &head);
    }
    if (needed != wanted)
        replay_fail(pm->replay, "'%s' of %" PRIu64 " blocks needs %" PRIu64 ", must be %" PRIu64,
                    lun->name, lun->now.blks, needed, wanted);
    return needed;
}

static uint64_t pm_check_volume(struct pm *pm, int volume)
{
    const struct pm_volume *of = &pm->volumes[volume];
    struct volume_info info = pm_volume_info(pm, volume);
    uint64_t lun_needs = 0;
    for (unsigned i = 0; i < PM_LUNS; i++)
    {
        const struct pm_lun *lun = &pm->luns[i];
        if (lun->now.is_there && lun->volume == volume)
            lun_needs += pm_check_lun(pm, lun);
    }
    uint64_t charged = info.charged_bytes / PM_BLK;
    uint64_t needs = space_rules_volume_needs(of->blks, of->is_guaranteed, charged, lun_needs);
    if (info.size_bytes != of->blks * PM_BLK || info.is_guaranteed != of->is_guaranteed ||
        info.reserved_bytes != lun_needs * PM_BLK ||
        info.needed_bytes != (of->is_guaranteed ? needs * PM_BLK : 0))
        replay_fail(pm->replay,
                    "volume '%s' of %" PRIu64 " blocks, charged %" PRIu64 ", needs %" PRIu64
                    ", its LUNs %" PRIu64 ": must be %" PRIu64 " and %" PRIu64,
                    of->name, info.size_bytes / PM_BLK, charged, info.needed_bytes / PM_BLK,
                    info.reserved_bytes / PM_BLK, needs, lun_needs);
    return needs;
}

void pm_check_figures(struct pm *pm)
{
    uint64_t needs = pm_has_promises(pm) ? SPACE_RULES_SLACK_BLKS : 0;
    for (unsigned i = 0; i < PM_LUNS; i++)
    {
        if (pm->luns[i].now.is_there && pm->luns[i].volume < 0)
            needs += pm_check_lun(pm, &pm->luns[i]);
    }
    for (int i = 0; i < PM_VOLUMES; i++)
    {
        if (pm->volumes[i].is_there)
            needs += pm_check_volume(pm, i);
    }
    struct space_stats stats;
    space_get_stats(pm->pool->space, &stats);
    if (stats.promised_blks != needs)
        replay_fail(pm->replay, "%" PRIu64 " blocks are promised, must be %" PRIu64,
                    stats.promised_blks, needs);
    if (needs > stats.free_blks + stats.deferred_blks)
        replay_fail(pm->replay, "%" PRIu64 " blocks are promised, %" PRIu64 " are there", needs,
                    stats.free_blks + stats.deferred_blks);
    if (stats.taken_blks != 0 || pm->pool->ledger.held_blks != 0)
        replay_fail(pm->replay, "%" PRIu64 " blocks are taken, %" PRIu64 " held, by nobody",
                    stats.taken_blks, pm->pool->ledger.held_blks);
}

static void pm_hear(void *opaque, bool is_error, const char *text)
{
    struct pm *pm = opaque;
    if (is_error)
        replay_fail(pm->replay, "the check finds: %s", text);
}

void pm_check_pool(struct pm *pm)
{
    struct check_result result;
    int r = pool_check(pm->pool, pm_hear, pm, &result);
    if (r < 0)
        replay_fail(pm->replay, "pool_check() gives %d", r);
}

static void pm_check_content(struct pm *pm, const char *name, const struct pm_image *image)
{
    struct lun *lun;
    int r = lun_open(pm->pool, name, LUN_READ_ONLY, &lun, &pm->why);
    if (r == 0)
    {
        r = lun_read(lun, pm->buf, image->blks * PM_BLK, 0);
        lun_close(lun);
    }
    if (r < 0)
        replay_fail(pm->replay, "'%s' cannot be read: %d %s", name, r, pm->why.text);
    for (uint64_t i = 0; i < image->blks; i++)
    {
        const uint8_t *block = pm->buf + i * PM_BLK;
        if (block[0] != image->values[i] || memcmp(block, block + 1, PM_BLK - 1) != 0)
            replay_fail(pm->replay, "'%s' holds %u in block %" PRIu64 ", or several, must be %u",
                        name, block[0], i, image->values[i]);
    }
}

void pm_check_contents(struct pm *pm)
{
    for (unsigned i = 0; i < PM_LUNS; i++)
    {
        const struct pm_lun *lun = &pm->luns[i];
        if (!lun->now.is_there)
            continue;
        pm_check_content(pm, lun->name, &lun->now);
        for (unsigned s = 0; s < PM_SNAPSHOTS; s++)
        {
            char name[48];
            snprintf(name, sizeof(name), "%s@s%u", lun->name, s);
            if (lun->snapshots[s].is_there)
                pm_check_content(pm, name, &lun->snapshots[s]);
        }
    }
}

bool pm_is_guaranteed(const struct pm *pm, int volume)
{
    return volume >= 0 && pm->volumes[volume].is_guaranteed;
}

struct space_rules_cost pm_cost(struct pm *pm, int volume)
{
    return (struct space_rules_cost){.available = pm_available_blks(pm),
                                     .left = pm_volume_left_blks(pm, volume)};
}

void pm_cost_add(struct pm *pm, struct space_rules_cost *cost, int volume, uint64_t least,
                 uint64_t most)
{
    cost->least_in += least;
    cost->most_in += most;
    if (pm_is_guaranteed(pm, volume))
        return;
    cost->least += least;
    cost->most += most;
}

bool pm_agree(struct pm *pm, const char *what, int r, const struct space_rules_cost *cost)
{
    replay_count(pm->replay, "%s: %s", what, r == 0 ? "done" : "no space");
    if (r == 0 && space_rules_is_too_much(cost))
        replay_fail(pm->replay,
                    "%s promises %" PRIu64 " blocks more, but %" PRIu64 " are available, %" PRIu64
                    " in its volume",
                    what, cost->least_in, cost->available, cost->left);
    if (r == 0)
        return true;
    if (r != -ENOSPC || !pm->why.text[0])
        replay_fail(pm->replay, "%s gives %d: %s", what, r, pm->why.text);
    replay_trace(pm->replay, "  refused: %s", pm->why.text);
    if (space_rules_is_enough(cost))
        replay_fail(pm->replay,
                    "%s needs %" PRIu64 " blocks at most, %" PRIu64 " are available, %" PRIu64
                    " in its volume, and it is refused: %s",
                    what, cost->most_in, cost->available, cost->left, pm->why.text);
    return false;
}
