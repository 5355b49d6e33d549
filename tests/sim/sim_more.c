/* SPDX-License-Identifier: BSD-3-Clause */
/* Operations that the first runs of the simulator did not know; as in sim_ops.c, all of them right.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"
#include "tests/sim/sim.h"

enum
{
    SIM_LEND_SECTORS_MAX = 256,
    SIM_WIPED_BYTES = 200, /* of a value of the store, which repeats one number */
};

/* ---- names and comments */

static int sim_op_comment(struct sim *sim)
{
    char text[16];
    const struct oracle_object *lun = sim_pick(sim, true, false);
    if (!lun)
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "comment");
    struct oracle_object *changed = oracle_find(after, lun->name);
    changed->note = (uint32_t)rng_below(sim->rng, 100);
    oracle_note_text(changed->note, text);
    replay_trace(sim->replay, "comment of %s: '%s'", lun->name, text);
    return sim_end_command(sim, lun_set_comment(sim->pool, lun->name, text, &sim->why));
}

static int sim_op_snapshot_rename(struct sim *sim)
{
    char lun[ORACLE_NAME_BYTES], name[ORACLE_NAME_BYTES];
    const char *old, *new;
    const struct oracle_object *snapshot = sim_pick(sim, false, true);
    if (!snapshot || snapshot->is_member)
        return SIM_NOTHING;
    sim_split(snapshot->name, lun, &old);
    if (!sim_pick_free_snapshot(sim, lun, name))
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "snapshot rename");
    replay_trace(sim->replay, "rename snapshot %s to %s", snapshot->name, name);
    memcpy(oracle_find(after, snapshot->name)->name, name, sizeof(name));
    new = strchr(name, '@') + 1;
    return sim_end_command(sim, snapshot_rename(sim->pool, lun, old, new, &sim->why));
}

/* Where snapshots of the volume have it, they would go on to have it by its old name. */
static int sim_op_qtree_rename(struct sim *sim)
{
    char path[16];
    const struct oracle_volume *volume = sim_pick_volume(sim);
    if (!volume || !volume->has_qtree)
        return SIM_NOTHING;
    for (unsigned i = 0; i < ORACLE_SETS; i++)
    {
        if (volume->sets[i].name[0])
            return SIM_NOTHING;
    }
    struct oracle *after = sim_begin_command(sim, "qtree rename");
    const char *name = strcmp(volume->qtree, "q") == 0 ? "r" : "q";
    snprintf(path, sizeof(path), "%s/%s", volume->name, volume->qtree);
    replay_trace(sim->replay, "rename qtree %s to %s", path, name);
    oracle_rename_qtree(after, volume->name, name);
    return sim_end_command(sim, qtree_rename(sim->pool, path, name, &sim->why));
}

static int sim_op_set_rename(struct sim *sim)
{
    char name[8];
    const struct oracle_volume *volume;
    const struct oracle_set *set = sim_pick_set(sim, &volume);
    if (!set)
        return SIM_NOTHING;
    snprintf(name, sizeof(name), "t%u", (unsigned)rng_below(sim->rng, ORACLE_SETS));
    if (oracle_find_set(sim->now, volume->name, name))
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "volume snapshot rename");
    replay_trace(sim->replay, "rename volume snapshot %s@%s to %s", volume->name, set->name, name);
    oracle_rename_set(after, volume->name, set->name, name);
    return sim_end_command(
        sim, volume_snapshot_rename(sim->pool, volume->name, set->name, name, &sim->why));
}

/* ---- locks */

/* What is locked cannot be deleted; then the time is over, so that others need not know. */
static int sim_op_set_lock(struct sim *sim)
{
    const struct oracle_volume *volume;
    const struct oracle_set *set = sim_pick_set(sim, &volume);
    if (!set || set->is_deferred)
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "volume snapshot lock");
    uint64_t until_ns = sim->env.now_ns + UINT64_C(36000000000000); /* slow calls take minutes */
    replay_trace(sim->replay, "lock volume snapshot %s@%s", volume->name, set->name);
    oracle_find_set(after, volume->name, set->name)->locked_until_ns = until_ns;
    int r = volume_snapshot_lock(sim->pool, volume->name, set->name, until_ns, &sim->why);
    int refused =
        r < 0 ? -EPERM
              : volume_snapshot_delete(sim->pool, volume->name, set->name, LUN_DEFER, &sim->why);
    if (refused != -EPERM && (refused == 0 || sim_is_sure(sim)))
        replay_fail(sim->replay, "deleting locked %s@%s gives %d", volume->name, set->name,
                    refused);
    sim->env.now_ns = until_ns + 1;
    return sim_end_command(sim, r);
}

/* ---- content */

static int sim_op_change(struct sim *sim)
{
    if (sim_was_hit(sim))
        return SIM_NOTHING; /* what it would find is not known any more */
    return sim_write(sim, SIM_WRITE_CHANGE, "read and write");
}

static void sim_check_lent(struct sim *sim, const struct oracle_object *object, uint32_t sector,
                           uint32_t count, const uint8_t *bytes)
{
    uint8_t wanted[ORACLE_SECTOR_BYTES];
    for (uint32_t i = 0; i < count; i++)
    {
        oracle_fill(wanted, object->current[sector + i], sector + i);
        if (memcmp(bytes + (size_t)i * sizeof(wanted), wanted, sizeof(wanted)) != 0)
            replay_fail(sim->replay, "%s: sector %" PRIu32 " is lent with other bytes",
                        object->name, sector + i);
    }
}

static int sim_op_lend(struct sim *sim)
{
    uint8_t bytes[SIM_LEND_SECTORS_MAX * ORACLE_SECTOR_BYTES];
    struct lun *lun = NULL;
    struct lun_loan loan;
    uint32_t sector, count;
    const struct oracle_object *object = sim_pick(sim, true, true);
    sim->op = "lend";
    if (!object || !sim_is_sure(sim))
        return SIM_NOTHING;
    sim_pick_range(sim, object, 1, &sector, &count);
    size_t len = (size_t)count * ORACLE_SECTOR_BYTES;
    uint64_t offset = (uint64_t)sector * ORACLE_SECTOR_BYTES;
    int r = lun_open(sim->pool, object->name, LUN_READ_ONLY, &lun, &sim->why);
    if (r < 0)
        return sim_result(sim, r);
    r = lun_lend(lun, len, offset, &loan);
    replay_trace(sim->replay, "lend %s sector %" PRIu32 "+%" PRIu32 ": %d", object->name, sector,
                 count, r);
    bool is_lent = r == 0;
    if (is_lent)
        r = lun_loan_read(&loan, bytes, len, 0);
    if (r == 0)
        sim_check_lent(sim, object, sector, count, bytes);
    if (is_lent)
        lun_return(&loan);
    lun_close(lun);
    replay_count(sim->replay, "loans: %s", is_lent ? "given" : "refused");
    return r == -EAGAIN || r == -ENOTSUP ? SIM_NOTHING : sim_result(sim, r);
}

/* ---- wiping */

/* Whether the store has, or may have, what repeats in these bytes. */
static bool sim_is_in_store(struct sim *sim, uint32_t value)
{
    bool found = value == 0 || value > sim->now->next_version;
    for (unsigned i = 0; i < ORACLE_KEYS; i++)
        found |= sim->now->store[i] == value;
    return found;
}

/* No value that the store once had is anywhere. */
static void sim_look_for_remains(struct sim *sim)
{
    size_t len = (size_t)sim->now->pool_bytes;
    AUTO_FREE uint8_t *bytes = malloc(len);
    INVARIANT(bytes != NULL);
    simdev_peek(sim->disk, bytes, len, 0);
    size_t run = 0;
    for (size_t i = sizeof(uint32_t); i < len; i++)
    {
        uint32_t value;
        run = bytes[i] == bytes[i - sizeof(value)] ? run + 1 : 0;
        if (run != SIM_WIPED_BYTES)
            continue;
        memcpy(&value, bytes + i - run - sizeof(value) + 1, sizeof(value));
        /* Where it begins among the four bytes is not known. */
        bool is_known = false;
        for (unsigned turn = 0; turn < 4; turn++)
        {
            is_known |= sim_is_in_store(sim, value);
            value = value >> 8 | value << 24;
        }
        if (!is_known)
            replay_fail(sim->replay, "after a wipe, block %zu has a value that was deleted",
                        i / LUN_BLK_BYTES);
    }
}

static bool sim_wipe_cb(void *opaque, const struct pool_wipe *progress)
{
    struct pool_wipe *last = opaque;
    *last = *progress;
    return true;
}

static int sim_op_wipe(struct sim *sim)
{
    struct pool_wipe wipe = {0};
    struct pool_wipe last = {0};
    if (sim->is_tried)
        return SIM_NOTHING; /* it writes all that is free */
    sim->op = "wipe";
    replay_trace(sim->replay, "wipe");
    int r = pool_wipe_old(sim->pool, sim_wipe_cb, &last, &wipe, &sim->why);
    if (r < 0)
        return r == -ENOSPC && sim_is_sure(sim) && sim_may_lack(sim) ? SIM_NOTHING
                                                                     : sim_result(sim, r);
    sim_note_all_durable(sim);
    if (sim_is_sure(sim) && !sim->has_failed && !sim->faults_armed && !sim->odds.is_on)
        sim_verify_live(sim);
    if (sim_is_sure(sim) && wipe.left_blks == 0)
        sim_look_for_remains(sim);
    return 0;
}

const struct sim_op sim_more_ops[] = {
    {sim_op_comment, 8, true},    {sim_op_snapshot_rename, 6, true}, {sim_op_qtree_rename, 6, true},
    {sim_op_set_rename, 6, true}, {sim_op_set_lock, 6, true},        {sim_op_change, 10, true},
    {sim_op_lend, 12, true},      {sim_op_wipe, 2, false},
};
const size_t sim_more_op_count = ARRAY_SIZE(sim_more_ops);
