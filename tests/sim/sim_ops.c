/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random operations, all of them right, so that each must succeed as long as the power is on.
 *
 * A command works on a copy of the oracle first. If it succeeds, the copy is the oracle from then
 * on; if the power goes meanwhile, both are possible.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"
#include "tests/sim/sim.h"

enum
{
    SIM_LUNS = 8,
    SIM_SNAPSHOTS = 4, /* of a LUN */
    SIM_IO_SECTORS_MAX = 256,
};

/* ---- picking */

const struct oracle_object *sim_pick(struct sim *sim, bool want_lun, bool want_snapshot)
{
    const struct oracle_object *picked = NULL;
    uint64_t count = 0;
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        const struct oracle_object *object = &sim->now->objects[i];
        bool is_snapshot = strchr(object->name, '@') != NULL;
        bool is_busy = sim->flusher != 0 && sim_client_of(sim, object) == sim->flusher;
        if (object->name[0] && !is_busy && (is_snapshot ? want_snapshot : want_lun) &&
            rng_below(sim->rng, ++count) == 0)
            picked = object;
    }
    return picked;
}

bool sim_pick_free_lun(struct sim *sim, char name[ORACLE_NAME_BYTES])
{
    const struct oracle_volume *volume = &sim->now->volumes[rng_below(sim->rng, ORACLE_VOLUMES)];
    unsigned count = SIM_LUNS;
    char prefix[16] = "";
    if (sim->has_promises && sim_pick_volume(sim)) /* what has most of them */
        volume = sim_pick_volume(sim);
    if (volume->name[0] && rng_percent(sim->rng, 60))
    {
        count = 3;
        bool in_qtree = volume->has_qtree && rng_percent(sim->rng, 40);
        snprintf(prefix, sizeof(prefix), "%.2s/%s%s", volume->name, in_qtree ? volume->qtree : "",
                 in_qtree ? "/" : "");
    }
    unsigned first = (unsigned)rng_below(sim->rng, count);
    for (unsigned i = 0; i < count; i++)
    {
        snprintf(name, ORACLE_NAME_BYTES, "%sl%u", prefix, (first + i) % count);
        if (!oracle_find(sim->now, name))
            return true;
    }
    return false;
}

bool sim_pick_free_snapshot(struct sim *sim, const char *lun, char name[ORACLE_NAME_BYTES])
{
    for (unsigned i = 0; i < SIM_SNAPSHOTS; i++)
    {
        snprintf(name, ORACLE_NAME_BYTES, "%.8s@s%u", lun, i);
        if (!oracle_find(sim->now, name))
            return true;
    }
    return false;
}

void sim_pick_range(struct sim *sim, const struct oracle_object *object, uint32_t align,
                    uint32_t *sector, uint32_t *count)
{
    uint32_t max =
        (uint32_t)min_u64(object->sectors, rng_percent(sim->rng, 80) ? 32 : SIM_IO_SECTORS_MAX);
    if (rng_percent(sim->rng, 40))
        align = 8;
    *count = (uint32_t)rng_between(sim->rng, 1, max);
    *sector = (uint32_t)rng_below(sim->rng, object->sectors - *count + 1);
    *sector -= *sector % align;
    *count += align - 1;
    *count -= *count % align;
    if (*sector + *count > object->sectors)
        *count = object->sectors - *sector;
}

void sim_split(const char *full, char lun[ORACLE_NAME_BYTES], const char **snapshot)
{
    size_t len = strcspn(full, "@");
    snprintf(lun, ORACLE_NAME_BYTES, "%.*s", (int)len, full);
    *snapshot = full[len] ? full + len + 1 : "";
}

/* ---- results */

bool sim_was_hit(struct sim *sim)
{
    return sim->faults_armed && (sim->odds.hits > 0 || simdev_fault_hits(sim->disk) > 0);
}

void sim_note_all_durable(struct sim *sim)
{
    if (!sim->odds.is_vague)
        oracle_flush(sim->now, NULL);
}

/* An error is only right when the power is off, or a fault was armed and hit. */
int sim_result(struct sim *sim, int r)
{
    if (r >= 0)
        return 0;
    sim->has_failed = true;
    if (!simdev_is_off(sim->disk) && !sim->is_damaged && !sim_was_hit(sim))
        replay_fail(sim->replay, "%s gives %d (%s): %s", sim->op, r, strerror(-r), sim->why.text);
    replay_trace(sim->replay, "  %s: %s", sim->op, strerror(-r));
    return r;
}

struct oracle *sim_begin_command(struct sim *sim, const char *op)
{
    sim_look(sim); /* writes since may have taken blocks */
    sim->op = op;
    sim->is_clone = sim->is_freeing = false;
    if (sim->has_promises)
        sim->room = sim_room(sim);
    oracle_assign(sim->maybe, sim->now);
    return sim->maybe;
}

bool sim_is_sure(struct sim *sim)
{
    return !simdev_is_off(sim->disk) && !sim->is_damaged && !sim_was_hit(sim);
}

int sim_end_command(struct sim *sim, int r)
{
    bool is_refused = sim->has_promises && sim_is_sure(sim) && sim_judge(sim, r);
    sim->has_maybe = r < 0 && !is_refused;
    if (is_refused)
        return SIM_NOTHING;
    if (r < 0)
        return sim_result(sim, r);
    struct oracle *done = sim->maybe;
    sim->maybe = sim->now;
    sim->now = done;
    return 0;
}

/* ---- I/O */

int sim_open_lun(struct sim *sim, const char *name, struct lun **lun)
{
    int r = lun_open(sim->pool, name, 0, lun, &sim->why);
    return r < 0 ? sim_result(sim, r) : 0;
}

/* FUA or flush returned: all is durable. */
static void sim_note_durable(struct sim *sim, int r, unsigned flags)
{
    if (r >= 0 && (flags & LUN_FUA) && sim->has_clients)
        oracle_flush_first(sim->now, sim->flushed);
    else if (r >= 0 && (flags & LUN_FUA))
        sim_note_all_durable(sim);
}

static void sim_keep_room(struct sim *sim)
{
    if (sim->now->pending_count + SIM_IO_SECTORS_MAX < ORACLE_PENDING_MAX)
        return;
    if (pool_checkpoint(sim->pool) == 0)
        sim_note_all_durable(sim);
    else
        INVARIANT(simdev_is_off(sim->disk) || sim->faults_armed || sim->is_damaged);
}

struct sim_change
{
    const uint8_t *old, *bytes;
    bool is_other; /* it found something else, when it was called last */
};

static void sim_change_cb(void *opaque, uint8_t *content, size_t len)
{
    struct sim_change *change = opaque;
    change->is_other = memcmp(content, change->old, len) != 0;
    memcpy(content, change->bytes, len);
}

static int sim_do_change(struct sim *sim, struct lun *lun, struct sim_change *change, size_t len,
                         uint64_t offset, unsigned flags)
{
    int r = lun_read_modify_write(lun, len, offset, flags, sim_change_cb, change);
    if (r == 0 && change->is_other && sim_is_sure(sim))
        replay_fail(sim->replay, "%s is given other bytes than were written", sim->op);
    return r;
}

static int sim_do_write(struct sim *sim, struct lun *lun, enum sim_write_kind kind,
                        const uint8_t *old, const uint8_t *bytes, size_t len, uint64_t offset,
                        unsigned flags)
{
    size_t miscompare_at = 0;
    struct sim_change change = {.old = old, .bytes = bytes};
    switch (kind)
    {
    case SIM_WRITE_PLAIN:
        break;
    case SIM_WRITE_ATOMIC:
        return lun_write_atomic(lun, bytes, len, offset, flags);
    case SIM_WRITE_COMPARE:
        return lun_compare_and_write(lun, old, bytes, len, offset, flags, &miscompare_at);
    case SIM_WRITE_CHANGE:
        return sim_do_change(sim, lun, &change, len, offset, flags);
    }
    return lun_write(lun, bytes, len, offset, flags);
}

/* Where no space was found, each block is as it was or as it was to be. */
static int sim_adopt_io(struct sim *sim, struct lun *lun, const struct oracle_object *object,
                        uint32_t sector, uint32_t count, const uint32_t *old)
{
    AUTO_FREE uint8_t *bytes = malloc((size_t)count * ORACLE_SECTOR_BYTES);
    AUTO_FREE bool *is_done = calloc(count, sizeof(*is_done));
    INVARIANT(bytes && is_done);
    sim_judge_io(sim, object, div_round_up(count, ORACLE_BLK_SECTORS) + 1);
    int r = lun_read(lun, bytes, (size_t)count * ORACLE_SECTOR_BYTES,
                     (uint64_t)sector * ORACLE_SECTOR_BYTES);
    if (r < 0)
        return sim_result(sim, r);
    for (uint32_t i = 0; i < count; i++)
    {
        uint8_t wanted[ORACLE_SECTOR_BYTES];
        oracle_fill(wanted, object->current[sector + i], sector + i);
        is_done[i] = memcmp(bytes + (size_t)i * sizeof(wanted), wanted, sizeof(wanted)) == 0;
        bool is_torn = i > 0 && (sector + i) % ORACLE_BLK_SECTORS != 0 &&
                       is_done[i] != is_done[i - 1] && old[i] != object->current[sector + i] &&
                       old[i - 1] != object->current[sector + i - 1];
        if (is_torn)
            replay_fail(sim->replay, "%s to %s is done in a part of a block, at sector %" PRIu32,
                        sim->op, object->name, sector + i);
    }
    oracle_write_in_part(sim->now, object->name, sector, count, is_done, old);
    return SIM_NOTHING; /* what is not as it was written is as it was: the next look tells */
}

/* What the engine said of a write or the like, which the oracle has noted already. */
static int sim_end_io(struct sim *sim, struct lun *lun, const struct oracle_object *object,
                      uint32_t sector, uint32_t count, const uint32_t *old, int r)
{
    if (r == -ENOSPC && sim->has_promises && sim_is_sure(sim))
        r = sim_adopt_io(sim, lun, object, sector, count, old);
    lun_close(lun);
    return sim_result(sim, r);
}

int sim_write_range(struct sim *sim, const struct oracle_object *object, uint32_t sector,
                    uint32_t count, enum sim_write_kind kind, unsigned flags)
{
    struct lun *lun = NULL;
    replay_trace(sim->replay, "%s %s sector %" PRIu32 "+%" PRIu32 "%s as version %" PRIu32, sim->op,
                 object->name, sector, count, flags ? " FUA" : "", sim->now->next_version + 1);
    int r = sim_open_lun(sim, object->name, &lun);
    if (r < 0)
        return r;
    if (sim->has_promises)
        sim->room = sim_room(sim);
    AUTO_FREE uint8_t *bytes = malloc((size_t)count * ORACLE_SECTOR_BYTES);
    AUTO_FREE uint8_t *old = malloc((size_t)count * ORACLE_SECTOR_BYTES);
    AUTO_FREE uint32_t *versions = calloc(count, sizeof(*versions));
    AUTO_FREE uint32_t *old_versions = calloc(count, sizeof(*versions));
    INVARIANT(bytes && old && versions && old_versions);
    memcpy(old_versions, object->current + sector, count * sizeof(*versions));
    for (uint32_t i = 0; i < count; i++)
    {
        versions[i] = ++sim->now->next_version;
        oracle_fill(bytes + (size_t)i * ORACLE_SECTOR_BYTES, versions[i], sector + i);
        oracle_fill(old + (size_t)i * ORACLE_SECTOR_BYTES, old_versions[i], sector + i);
    }
    oracle_write(sim->now, object->name, sector, count, versions, kind == SIM_WRITE_ATOMIC);
    if (flags & LUN_FUA)
        sim_begin_flush(sim, object);
    r = sim_do_write(sim, lun, kind, old, bytes, (size_t)count * ORACLE_SECTOR_BYTES,
                     (uint64_t)sector * ORACLE_SECTOR_BYTES, flags);
    if (flags & LUN_FUA)
        sim_end_flush(sim);
    sim_note_durable(sim, r, flags);
    return sim_end_io(sim, lun, object, sector, count, old_versions, r);
}

int sim_write(struct sim *sim, enum sim_write_kind kind, const char *op)
{
    const struct oracle_object *object = sim_pick(sim, true, false);
    uint32_t sector;
    uint32_t count;
    sim->op = op;
    if (!object)
        return SIM_NOTHING;
    sim_keep_room(sim);
    sim_pick_range(sim, object, kind == SIM_WRITE_ATOMIC ? 8 : 1, &sector, &count);
    if (kind == SIM_WRITE_ATOMIC && ((count % 8) != 0 || (sector % 8) != 0))
        return SIM_NOTHING;
    unsigned flags =
        rng_percent(sim->rng, 20) && !sim->without_fua && sim->flusher == 0 ? LUN_FUA : 0;
    return sim_write_range(sim, object, sector, count, kind, flags);
}

int sim_write_all(struct sim *sim, const struct oracle_object *object)
{
    uint32_t blks = (uint32_t)oracle_blks(object), step = 1, piece = 1;
    int r = 0;
    sim->op = "write all";
    if (rng_percent(sim->rng, 50))
        piece = 32;
    else /* far from each other: the most metadata */
        step = blks % 61 ? 61 : 59;
    for (uint32_t i = 0; r == 0 && i < blks; i += piece)
    {
        uint32_t sector = (uint32_t)((uint64_t)i * step % blks) * ORACLE_BLK_SECTORS;
        uint32_t count = piece * ORACLE_BLK_SECTORS;
        sim_keep_room(sim);
        if (sector + count > object->sectors)
            count = object->sectors - sector;
        r = sim_write_range(sim, object, sector, count, SIM_WRITE_PLAIN, 0);
    }
    return r;
}

int sim_op_write(struct sim *sim)
{
    return sim_write(sim, SIM_WRITE_PLAIN, "write");
}

static int sim_op_write_atomic(struct sim *sim)
{
    return sim_write(sim, SIM_WRITE_ATOMIC, "write atomic");
}

static int sim_op_compare_and_write(struct sim *sim)
{
    if (sim_was_hit(sim))
        return SIM_NOTHING; /* what it would have to compare with is not known any more */
    return sim_write(sim, SIM_WRITE_COMPARE, "compare and write");
}

int sim_op_unmap(struct sim *sim)
{
    const struct oracle_object *object = sim_pick(sim, true, false);
    uint32_t sector;
    uint32_t count;
    struct lun *lun = NULL;
    sim->op = "unmap";
    if (!object)
        return SIM_NOTHING;
    sim_keep_room(sim);
    sim_pick_range(sim, object, 1, &sector, &count);
    unsigned flags = rng_percent(sim->rng, 20) && !sim->without_fua ? LUN_FUA : 0;
    unsigned kind = (unsigned)rng_below(sim->rng, 3);
    replay_trace(sim->replay, "%s %s sector %" PRIu32 "+%" PRIu32 "%s", kind ? "zero" : "unmap",
                 object->name, sector, count, flags ? " FUA" : "");
    int r = sim_open_lun(sim, object->name, &lun);
    if (r < 0)
        return r;
    if (sim->has_promises)
        sim->room = sim_room(sim);
    uint64_t len = (uint64_t)count * ORACLE_SECTOR_BYTES;
    uint64_t offset = (uint64_t)sector * ORACLE_SECTOR_BYTES;
    uint32_t old[SIM_IO_SECTORS_MAX];
    memcpy(old, object->current + sector, count * sizeof(old[0]));
    oracle_write(sim->now, object->name, sector, count, NULL, false);
    sim->flushed = sim->now->pending_count; /* nobody comes between */
    if (kind == 0)
        r = lun_unmap(lun, len, offset, flags);
    else
        r = lun_zero(lun, len, offset, flags | (kind == 1 ? LUN_MAY_UNMAP : 0));
    sim_note_durable(sim, r, flags);
    return sim_end_io(sim, lun, object, sector, count, old, r);
}

int sim_op_flush(struct sim *sim)
{
    const struct oracle_object *object = sim_pick(sim, true, false);
    struct lun *lun = NULL;
    sim->op = "flush";
    if (!object)
        return SIM_NOTHING;
    replay_trace(sim->replay, "flush");
    int r = sim_open_lun(sim, object->name, &lun);
    if (r < 0)
        return r;
    sim_begin_flush(sim, object);
    r = lun_flush(lun);
    sim_end_flush(sim);
    lun_close(lun);
    sim_note_durable(sim, r, LUN_FUA);
    return sim_result(sim, r);
}

/* ---- commands on LUNs */

int sim_op_create(struct sim *sim)
{
    char name[ORACLE_NAME_BYTES];
    if (!sim_pick_free_lun(sim, name))
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "create");
    uint32_t sectors = (uint32_t)rng_between(sim->rng, 8, ORACLE_SECTORS_MAX);
    struct oracle_object *lun = oracle_add(after, name, sectors);
    if (!lun)
        return SIM_NOTHING;
    struct lun_create_args args = {.name = name,
                                   .size_bytes = (uint64_t)sectors * ORACLE_SECTOR_BYTES};
    sim_dress_lun(sim, lun, &args.attributes);
    if (sim_would_hang(sim))
        return SIM_NOTHING;
    replay_trace(sim->replay, "create %s of %" PRIu32 " sectors%s, of '%s' and '%s'", name, sectors,
                 lun->is_reserved ? ", reserved" : "", lun->owner, lun->group);
    return sim_end_command(sim, lun_create(sim->pool, &args, &sim->why));
}

static int sim_op_clone(struct sim *sim)
{
    char name[ORACLE_NAME_BYTES];
    const struct oracle_object *source = sim_pick(sim, true, rng_percent(sim->rng, 50));
    if (!source || !sim_pick_free_lun(sim, name))
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "clone");
    struct oracle_object *clone = oracle_copy(after, source->name, name);
    if (!clone)
        return SIM_NOTHING;
    struct lun_clone_args args = {.source = source->name, .name = name};
    sim_draw_clone(sim, &args);
    sim_dress_clone(clone, &args);
    if (sim_would_hang(sim))
        return SIM_NOTHING;
    replay_trace(sim->replay, "clone %s as %s%s", source->name, name,
                 clone->is_reserved ? ", reserved" : "");
    return sim_end_command(sim, lun_clone(sim->pool, &args, &sim->why));
}

static int sim_op_clone_many(struct sim *sim)
{
    const struct oracle_object *source = sim_pick(sim, true, true);
    uint32_t first = (uint32_t)rng_below(sim->rng, SIM_LUNS);
    uint32_t count = (uint32_t)rng_between(sim->rng, 2, 4);
    if (!source)
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "clone many");
    struct lun_clone_args args = {
        .source = source->name, .name = "l%d", .count = count, .first_number = first};
    sim_draw_clone(sim, &args);
    for (uint32_t i = 0; i < count; i++)
    {
        char name[ORACLE_NAME_BYTES];
        snprintf(name, sizeof(name), "l%" PRIu32, first + i);
        if (oracle_find(after, name) || !oracle_copy(after, source->name, name))
            return SIM_NOTHING;
        sim_dress_clone(oracle_find(after, name), &args);
    }
    if (sim_would_hang(sim))
        return SIM_NOTHING;
    replay_trace(sim->replay, "clone %s as l%" PRIu32 " to l%" PRIu32, source->name, first,
                 first + count - 1);
    return sim_end_command(sim, lun_clone(sim->pool, &args, &sim->why));
}

static int sim_delete(struct sim *sim, const struct oracle_object *object)
{
    struct oracle *after = sim_begin_command(sim, "delete");
    sim->is_freeing = true;
    replay_trace(sim->replay, "delete %s", object->name);
    oracle_remove(after, object->name);
    return sim_end_command(sim, lun_delete(sim->pool, object->name, true, 0, &sim->why));
}

int sim_op_delete(struct sim *sim)
{
    const struct oracle_object *object = sim_pick(sim, true, false);
    return object ? sim_delete(sim, object) : SIM_NOTHING;
}

/* Of a LUN that a snapshot of its volume holds, and of its qtree if nothing else is there. */
int sim_op_delete_held(struct sim *sim)
{
    const struct oracle_object *picked = NULL;
    uint64_t count = 0;
    bool is_reserved = rng_percent(sim->rng, 60); /* whose way back may be barred */
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        const struct oracle_object *lun = &sim->now->objects[i];
        if (lun->name[0] && !strchr(lun->name, '@') && oracle_is_held(sim->now, lun) &&
            (lun->is_reserved || !is_reserved) && rng_below(sim->rng, ++count) == 0)
            picked = lun;
    }
    if (!picked)
        return SIM_NOTHING;
    const struct oracle_volume volume = *oracle_volume_of(sim->now, picked);
    bool is_in_qtree = strchr(picked->name, '/') != strrchr(picked->name, '/');
    int r = sim_delete(sim, picked);
    return r == 0 && is_in_qtree ? sim_end_qtree(sim, volume.name) : r;
}

static int sim_op_rename(struct sim *sim)
{
    char name[ORACLE_NAME_BYTES];
    const struct oracle_object *object = sim_pick(sim, true, false);
    if (!object || !sim_pick_free_lun(sim, name))
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "rename");
    replay_trace(sim->replay, "rename %s to %s", object->name, name);
    bool has_snapshots = oracle_is_held(sim->now, object);
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
        has_snapshots |=
            strchr(sim->now->objects[i].name, '@') &&
            strncmp(sim->now->objects[i].name, object->name, strlen(object->name)) == 0;
    if (has_snapshots && strncmp(object->name, name, 3) != 0)
        return SIM_NOTHING; /* it stays where it is */
    oracle_rename(after, object->name, name);
    return sim_end_command(sim, lun_rename(sim->pool, object->name, name, &sim->why));
}

static int sim_op_resize(struct sim *sim)
{
    const struct oracle_object *object = sim_pick(sim, true, false);
    if (!object)
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "resize");
    uint32_t sectors = (uint32_t)rng_between(sim->rng, 8, ORACLE_SECTORS_MAX);
    replay_trace(sim->replay, "resize %s from %" PRIu32 " to %" PRIu32 " sectors", object->name,
                 object->sectors, sectors);
    oracle_resize(after, object->name, sectors);
    return sim_end_command(sim, lun_resize(sim->pool, object->name,
                                           (uint64_t)sectors * ORACLE_SECTOR_BYTES, LUN_FORCE,
                                           &sim->why));
}

/* ---- commands on snapshots */

static int sim_op_snapshot(struct sim *sim)
{
    char name[ORACLE_NAME_BYTES];
    const char *snapshot;
    char lun[ORACLE_NAME_BYTES];
    const struct oracle_object *object = sim_pick(sim, true, false);
    if (!object || !sim_pick_free_snapshot(sim, object->name, name))
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "snapshot");
    if (!oracle_copy(after, object->name, name))
        return SIM_NOTHING;
    replay_trace(sim->replay, "snapshot %s", name);
    sim_split(name, lun, &snapshot);
    return sim_end_command(sim, snapshot_create(sim->pool, lun, snapshot, NULL, &sim->why));
}

static int sim_op_snapshot_delete(struct sim *sim)
{
    char lun[ORACLE_NAME_BYTES];
    const char *snapshot;
    const struct oracle_object *object = sim_pick(sim, false, true);
    if (!object || object->is_member)
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "snapshot delete");
    sim->is_freeing = true;
    replay_trace(sim->replay, "delete snapshot %s", object->name);
    sim_split(object->name, lun, &snapshot);
    oracle_remove(after, object->name);
    return sim_end_command(sim, snapshot_delete(sim->pool, lun, snapshot, 0, &sim->why));
}

static int sim_restore(struct sim *sim, const struct oracle_object *object)
{
    char lun[ORACLE_NAME_BYTES];
    const char *snapshot;
    struct oracle *after = sim_begin_command(sim, "restore");
    replay_trace(sim->replay, "restore %s", object->name);
    sim_split(object->name, lun, &snapshot);
    if (!oracle_restore_snapshot(after, object->name) || sim_would_hang(sim))
        return SIM_NOTHING;
    return sim_end_command(sim, snapshot_restore(sim->pool, lun, snapshot, 0, &sim->why));
}

static int sim_op_restore(struct sim *sim)
{
    const struct oracle_object *object = sim_pick(sim, false, true);
    return object ? sim_restore(sim, object) : SIM_NOTHING;
}

/* Of a LUN that was deleted. */
int sim_op_revive(struct sim *sim)
{
    const struct oracle_object *picked = NULL;
    uint64_t count = 0;
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        const struct oracle_object *member = &sim->now->objects[i];
        if (member->name[0] && member->is_member && !oracle_find_age(sim->now, member->lun_age) &&
            rng_below(sim->rng, ++count) == 0)
            picked = member;
    }
    return picked ? sim_restore(sim, picked) : SIM_NOTHING;
}

/* ---- the rest */

static int sim_op_store(struct sim *sim)
{
    struct oracle *after = sim_begin_command(sim, "store");
    struct store_change changes[3];
    char keys[ARRAY_SIZE(changes)][16];
    uint32_t values[ARRAY_SIZE(changes)][64];
    size_t count = (size_t)rng_between(sim->rng, 1, ARRAY_SIZE(changes));
    for (size_t i = 0; i < count; i++)
    {
        unsigned key = (unsigned)rng_below(sim->rng, ORACLE_KEYS);
        bool is_put = rng_percent(sim->rng, 75);
        after->store[key] = is_put ? ++after->next_version : 0;
        oracle_store_key(key, keys[i]);
        for (unsigned j = 0; j < ARRAY_SIZE(values[i]); j++)
            values[i][j] = after->store[key];
        changes[i] = (struct store_change){
            .key = keys[i], .value = is_put ? values[i] : NULL, .len = sizeof(values[i])};
    }
    replay_trace(sim->replay, "store %zu changes", count);
    return sim_end_command(sim, store_apply(sim->pool, changes, count, &sim->why));
}

int sim_op_checkpoint(struct sim *sim)
{
    sim->op = "checkpoint";
    replay_trace(sim->replay, "checkpoint");
    sim->in_checkpoint = true;
    sim->has_switched = false;
    uint32_t version = sim->now->next_version;
    int r = pool_checkpoint(sim->pool);
    sim->in_checkpoint = false;
    if (r == 0)
        sim->checkpointed = version;
    if (r == 0 && !sim->may_overlap) /* else there may be newer writes, which it does not cover */
        sim_note_all_durable(sim);
    return sim_result(sim, r);
}

int sim_op_jobs(struct sim *sim)
{
    uint64_t count = rng_between(sim->rng, 1, 12);
    sim_look(sim); /* jobs may free what a command has just let go */
    sim->op = "jobs";
    replay_trace(sim->replay, "up to %" PRIu64 " job steps", count);
    int r = 1;
    sim->activity = COVERAGE_JOBS;
    while (r > 0 && count-- > 0)
    {
        r = pool_run_job_step(sim->pool);
        if (r >= 0)
            sim_look(sim);
    }
    sim->activity = COVERAGE_NO_PHASE;
    if (r == -ENOSPC && sim_is_sure(sim) && sim_may_lack(sim))
        return SIM_NOTHING; /* it waits for room */
    return sim_result(sim, r);
}

int sim_op_grow(struct sim *sim)
{
    struct oracle *after = sim_begin_command(sim, "grow");
    if (after->pool_bytes >= (64 << 20))
        return SIM_NOTHING;
    after->pool_bytes += 2 << 20; /* a whole allocation group */
    replay_trace(sim->replay, "grow the pool to %" PRIu64, after->pool_bytes);
    sim->activity = COVERAGE_GROWTH;
    int r = pool_grow(sim->pool, after->pool_bytes, &sim->why);
    sim->activity = COVERAGE_NO_PHASE;
    return sim_end_command(sim, r);
}

static const struct sim_op sim_ops[] = {
    {sim_op_write, 50, true},        {sim_op_write_atomic, 8, true},
    {sim_op_unmap, 12, true},        {sim_op_compare_and_write, 4, true},
    {sim_op_flush, 10, true},        {sim_op_create, 8, true},
    {sim_op_clone, 14, true},        {sim_op_clone_many, 4, true},
    {sim_op_delete, 9, true},        {sim_op_rename, 3, true},
    {sim_op_resize, 6, true},        {sim_op_snapshot, 14, true},
    {sim_op_restore, 6, true},       {sim_op_snapshot_delete, 9, true},
    {sim_op_store, 5, true},         {sim_op_checkpoint, 12, false},
    {sim_op_jobs, 25, true},         {sim_op_grow, 1, false},
    {sim_op_volume_create, 4, true}, {sim_op_volume_rename, 2, true},
    {sim_op_volume_delete, 2, true}, {sim_op_qtree, 2, true},
    {sim_op_set_create, 10, true},   {sim_op_set_delete, 7, true},
    {sim_op_set_restore, 4, true},   {sim_op_volume_clone, 4, true},
    {sim_op_volume_split, 2, true},  {sim_op_group_clone, 4, true},
    {sim_op_redeploy, 5, true},      {sim_op_attributes, 2, true},
};

/* Those of promises, and those that came later, only in runs that have them, so that others go on
 * as they did. */
static const struct sim_op *sim_find_op(struct sim *sim, bool overlapping, uint64_t at,
                                        uint64_t *total)
{
    const struct
    {
        const struct sim_op *ops;
        size_t count;
    } tables[] = {{sim_ops, ARRAY_SIZE(sim_ops)},
                  {sim_promise_ops, sim->has_promises ? sim_promise_op_count : 0},
                  {sim_more_ops, sim->has_more ? sim_more_op_count : 0}};
    *total = 0;
    for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
    {
        for (size_t j = 0; j < tables[i].count; j++)
        {
            const struct sim_op *op = &tables[i].ops[j];
            *total += !overlapping || op->may_overlap ? op->weight : 0;
            if (at < *total)
                return op;
        }
    }
    return NULL;
}

static int sim_pick_op(struct sim *sim, bool overlapping)
{
    uint64_t total, no_matter;
    const struct sim_op *op = sim_find_op(sim, overlapping, UINT64_MAX, &total);
    op = sim_find_op(sim, overlapping, rng_below(sim->rng, total), &no_matter);
    sim->why.text[0] = '\0';
    int r = op->op(sim);
    sim_look(sim);
    return r;
}

int sim_random_op(struct sim *sim)
{
    return sim_pick_op(sim, false);
}

int sim_random_change(struct sim *sim)
{
    return sim_pick_op(sim, true);
}

static void *sim_overlap_thread(void *opaque)
{
    struct sim *sim = opaque;
    ignore_error(sim_pick_op(sim, true), "the power may be off; all else is a failure inside");
    return NULL;
}

void sim_overlap_cb(void *opaque, enum simdev_op op, const uint8_t *head)
{
    struct sim *sim = opaque;
    if (!sim->in_checkpoint || sim->in_overlap || simdev_is_off(sim->disk))
        return;
    /* Before its switch, a checkpoint commits the journal, for which operations would wait. */
    sim->has_switched |= op == SIMDEV_WRITE && strcmp(sim_phase_of(head), "data") != 0 &&
                         strcmp(sim_phase_of(head), "journal") != 0;
    pthread_t thread;
    while (sim->has_switched && !simdev_is_off(sim->disk) && rng_percent(sim->rng, 30))
    {
        sim->in_overlap = true;
        replay_trace(sim->replay, "  before a %s of the checkpoint:",
                     op == SIMDEV_SYNC ? "sync" : sim_phase_of(head));
        INVARIANT(pthread_create(&thread, NULL, sim_overlap_thread, sim) == 0);
        INVARIANT(pthread_join(thread, NULL) == 0);
        replay_count(sim->replay, "overlap of %s", sim->op);
        sim->in_overlap = false;
        if (!simdev_is_off(sim->disk))
            sim->op = "checkpoint";
    }
}

void sim_prepare(struct sim *sim)
{
    if (sim_op_volume_create(sim) < 0)
        return;
    for (unsigned i = 0; i < 3; i++)
    {
        if (sim_op_create(sim) < 0)
            return;
        for (unsigned j = 0; j < 4; j++)
        {
            if (sim_op_write(sim) < 0)
                return;
        }
    }
}
