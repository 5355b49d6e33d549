/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads and writes of the test of promises. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "tests/model/promises.h"

static struct lun *pm_handle(struct pm *pm, const struct pm_lun *lun)
{
    struct lun *handle = NULL;
    int r = lun_open(pm->pool, lun->name, 0, &handle, &pm->why);
    if (r < 0)
        replay_fail(pm->replay, "'%s' cannot be opened: %d %s", lun->name, r, pm->why.text);
    return handle;
}

/* After a failed or interrupted write: each block is as it was or as it was to be. */
static void pm_adopt(struct pm *pm, struct pm_lun *lun, uint64_t lba, uint64_t blks, uint8_t value,
                     bool may_be_torn)
{
    bool is_torn[PM_LUN_BLKS] = {0};
    struct lun *handle = pm_handle(pm, lun);
    int r = lun_read(handle, pm->buf, blks * PM_BLK, lba * PM_BLK);
    lun_close(handle);
    if (r < 0)
        replay_fail(pm->replay, "'%s' cannot be read: %d", lun->name, r);
    for (uint64_t i = 0; i < blks; i++)
    {
        uint8_t is = pm->buf[i * PM_BLK], was = lun->now.values[lba + i];
        for (uint64_t at = 0; at < PM_BLK; at++)
        {
            uint8_t byte = pm->buf[i * PM_BLK + at];
            if (byte != was && byte != value)
                replay_fail(pm->replay, "'%s' holds %u in block %" PRIu64 ", not %u or %u",
                            lun->name, byte, lba + i, was, value);
            is_torn[i] |= byte != is;
            if (byte != is && !may_be_torn)
                replay_fail(pm->replay, "block %" PRIu64 " of '%s' is torn", lba + i, lun->name);
        }
        lun->now.values[lba + i] = is;
    }
    /* Torn are blocks that it owns: they are written again in place. */
    for (uint64_t i = 0; i < blks; i++)
    {
        if (is_torn[i] && pm_write(pm, lun, lba + i, 1, value) < 0)
            replay_fail(pm->replay, "a torn block cannot be written again");
    }
}

/* Whether a write may meet -ENOSPC: nobody promised it the space, and there is little left. */
static void pm_check_no_space(struct pm *pm, const struct pm_lun *lun, const char *what,
                              uint64_t blks, uint64_t available, uint64_t left)
{
    replay_count(pm->replay, "%s: no space", what);
    if (lun->is_reserved)
        replay_fail(pm->replay, "a reserved LUN's %s has met -ENOSPC", what);
    if (!space_rules_may_lack(blks, pm_is_guaranteed(pm, lun->volume), available, left))
        replay_fail(pm->replay,
                    "%s of %" PRIu64 " blocks to '%s' finds no space: %" PRIu64
                    " blocks are available, %" PRIu64 " in its volume",
                    what, blks, lun->name, available, left);
}

static int pm_write_how(struct pm *pm, struct pm_lun *lun, uint64_t lba, uint64_t blks,
                        uint8_t value, bool is_atomic)
{
    uint64_t available = pm_available_blks(pm), left = pm_volume_left_blks(pm, lun->volume);
    const char *what = is_atomic ? "atomic write" : "write";
    replay_trace(pm->replay, "%s %" PRIu64 " + %" PRIu64 " of '%s': %u", what, lba, blks, lun->name,
                 value);
    struct lun *handle = pm_handle(pm, lun);
    memset(pm->buf, value, blks * PM_BLK);
    int r = is_atomic ? lun_write_atomic(handle, pm->buf, blks * PM_BLK, lba * PM_BLK, 0)
                      : lun_write(handle, pm->buf, blks * PM_BLK, lba * PM_BLK, 0);
    lun_close(handle);
    if (r == 0)
    {
        memset(lun->now.values + lba, value, blks);
        replay_count(pm->replay, "%s: done%s", what, lun->is_reserved ? ", promised" : "");
        return 0;
    }
    if (r != -ENOSPC)
        replay_fail(pm->replay, "%s of '%s' gives %d", what, lun->name, r);
    pm_check_no_space(pm, lun, what, blks, available, left);
    if (!is_atomic)
        pm_adopt(pm, lun, lba, blks, value, false);
    return r;
}

int pm_write(struct pm *pm, struct pm_lun *lun, uint64_t lba, uint64_t blks, uint8_t value)
{
    return pm_write_how(pm, lun, lba, blks, value, false);
}

static uint8_t pm_value(struct pm *pm)
{
    return (uint8_t)rng_between(pm->rng, 1, 255);
}

static void pm_range(struct pm *pm, const struct pm_lun *lun, uint64_t *lba, uint64_t *blks)
{
    uint64_t most = rng_percent(pm->rng, 50) ? 4 : PM_IO_BLKS;
    *lba = rng_below(pm->rng, lun->now.blks);
    *blks = rng_between(pm->rng, 1, min_u64(most, lun->now.blks - *lba));
}

void pm_fill(struct pm *pm, struct pm_lun *lun)
{
    uint8_t value = pm_value(pm);
    int r = 0;
    if (rng_percent(pm->rng, 50))
    {
        for (uint64_t at = 0; at < lun->now.blks && r == 0; at += PM_IO_BLKS)
            r = pm_write(pm, lun, at, min_u64(PM_IO_BLKS, lun->now.blks - at), value);
        return;
    }
    /* Block by block, far from each other: the most metadata. */
    uint64_t step = 61;
    while (lun->now.blks % step == 0)
        step += 2;
    for (uint64_t i = 0; i < lun->now.blks && r == 0; i++)
        r = pm_write(pm, lun, i * step % lun->now.blks, 1, value);
}

static void pm_write_random(struct pm *pm, struct pm_lun *lun, bool is_atomic)
{
    uint64_t lba, blks;
    if (!lun)
        return;
    pm_range(pm, lun, &lba, &blks);
    ignore_error(pm_write_how(pm, lun, lba, blks, pm_value(pm), is_atomic), "it was checked");
}

void pm_step_write(struct pm *pm)
{
    pm_write_random(pm, pm_pick_lun(pm), false);
}

void pm_step_write_promised(struct pm *pm)
{
    pm_write_random(pm, pm_pick_kind(pm, true), false);
}

void pm_step_fill(struct pm *pm)
{
    struct pm_lun *lun = pm_pick_kind(pm, rng_percent(pm->rng, 50));
    if (lun)
        pm_fill(pm, lun);
}

void pm_step_atomic(struct pm *pm)
{
    struct pm_lun *lun = pm_pick_lun(pm);
    if (lun && rng_percent(pm->rng, 30) && lun->now.blks >= 256)
    {
        uint64_t lba = rng_below(pm->rng, lun->now.blks - 255);
        ignore_error(pm_write_how(pm, lun, lba, 256, pm_value(pm), true), "it was checked");
        return;
    }
    pm_write_random(pm, lun, true);
}

void pm_unmap(struct pm *pm, struct pm_lun *lun, uint64_t lba, uint64_t blks)
{
    uint64_t available = pm_available_blks(pm), left = pm_volume_left_blks(pm, lun->volume);
    replay_trace(pm->replay, "unmap %" PRIu64 " + %" PRIu64 " of '%s'", lba, blks, lun->name);
    struct lun *handle = pm_handle(pm, lun);
    int r = lun_unmap(handle, blks * PM_BLK, lba * PM_BLK, 0);
    lun_close(handle);
    if (r < 0 && r != -ENOSPC)
        replay_fail(pm->replay, "an unmap gives %d", r);
    if (r == 0)
    {
        memset(lun->now.values + lba, 0, blks);
        return;
    }
    pm_check_no_space(pm, lun, "unmap", blks, available, left);
    pm_adopt(pm, lun, lba, blks, 0, false);
}

void pm_step_unmap(struct pm *pm)
{
    struct pm_lun *lun = pm_pick_lun(pm);
    uint64_t lba, blks;
    if (!lun)
        return;
    pm_range(pm, lun, &lba, &blks);
    if (rng_percent(pm->rng, 15))
    {
        lba = 0;
        blks = lun->now.blks;
    }
    pm_unmap(pm, lun, lba, blks);
}

/* Zeros with allocation on a reserved LUN: what it owns, it keeps. */
void pm_step_zero(struct pm *pm)
{
    struct pm_lun *lun = pm_pick_kind(pm, true);
    uint64_t lba, blks;
    if (!lun)
        return;
    pm_range(pm, lun, &lba, &blks);
    uint64_t own = pm_own_blks(pm, lun);
    struct lun *handle = pm_handle(pm, lun);
    int r = lun_zero(handle, blks * PM_BLK, lba * PM_BLK, 0);
    lun_close(handle);
    replay_trace(pm->replay, "zero %" PRIu64 " + %" PRIu64 " of '%s'", lba, blks, lun->name);
    if (r < 0)
        replay_fail(pm->replay, "zeros on a reserved LUN give %d", r);
    memset(lun->now.values + lba, 0, blks);
    if (pm_own_blks(pm, lun) < own)
        replay_fail(pm->replay, "zeros with allocation have made holes");
}

void pm_step_crash_in_write(struct pm *pm)
{
    struct pm_lun *lun = pm_pick_lun(pm);
    uint64_t lba, blks;
    if (!lun)
        return;
    pm_range(pm, lun, &lba, &blks);
    uint8_t value = pm_value(pm);
    pm_flush(pm);
    replay_trace(pm->replay, "power cut while %" PRIu64 " + %" PRIu64 " of '%s' are written: %u",
                 lba, blks, lun->name, value);
    struct lun *handle = pm_handle(pm, lun);
    memset(pm->buf, value, blks * PM_BLK);
    simdev_cut_power_at(pm->disk, rng_between(pm->rng, 1, 12));
    int r = lun_write(handle, pm->buf, blks * PM_BLK, lba * PM_BLK, LUN_FUA);
    lun_close(handle);
    bool was_off = simdev_is_off(pm->disk);
    if (r == -ENOSPC && lun->is_reserved && !was_off)
        replay_fail(pm->replay, "a reserved LUN's write has met -ENOSPC");
    pm_reopen(pm, true);
    pm_adopt(pm, lun, lba, blks, value, true);
    for (uint64_t i = 0; r == 0 && i < blks; i++)
    {
        if (lun->now.values[lba + i] != value)
            replay_fail(pm->replay, "a write with FUA is lost");
    }
}
