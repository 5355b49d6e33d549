/* SPDX-License-Identifier: BSD-3-Clause */
/* Operations on volumes, their snapshots and clones, and on several LUNs at once; as in sim_ops.c,
 * all of them right. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "tests/sim/sim.h"

enum
{
    SIM_GROUP_MAX = 3
};

/* ---- picking */

const struct oracle_volume *sim_pick_volume(struct sim *sim)
{
    const struct oracle_volume *picked = NULL;
    uint64_t count = 0;
    for (unsigned i = 0; i < ORACLE_VOLUMES; i++)
    {
        const struct oracle_volume *volume = &sim->now->volumes[i];
        if (volume->name[0] && rng_below(sim->rng, ++count) == 0)
            picked = volume;
    }
    return picked;
}

static bool sim_pick_free_volume(struct sim *sim, char name[8])
{
    unsigned first = (unsigned)rng_below(sim->rng, ORACLE_VOLUMES);
    for (unsigned i = 0; i < ORACLE_VOLUMES; i++)
    {
        snprintf(name, 8, "v%u", (first + i) % ORACLE_VOLUMES);
        if (!oracle_find_volume(sim->now, name))
            return true;
    }
    return false;
}

const struct oracle_set *sim_pick_set(struct sim *sim, const struct oracle_volume **volume)
{
    const struct oracle_set *picked = NULL;
    uint64_t count = 0;
    for (unsigned i = 0; i < ORACLE_VOLUMES; i++)
    {
        for (unsigned j = 0; j < ORACLE_SETS && sim->now->volumes[i].name[0]; j++)
        {
            const struct oracle_set *set = &sim->now->volumes[i].sets[j];
            if (!set->name[0] || rng_below(sim->rng, ++count) != 0)
                continue;
            picked = set;
            *volume = &sim->now->volumes[i];
        }
    }
    return picked;
}

/* ---- volumes */

int sim_op_volume_create(struct sim *sim)
{
    char name[8];
    if (!sim_pick_free_volume(sim, name))
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "volume create");
    if (!oracle_add_volume(after, name))
        return SIM_NOTHING;
    struct volume_attributes attributes = {0};
    sim_dress_volume(sim, oracle_find_volume(after, name), &attributes);
    if (sim_would_hang(sim))
        return SIM_NOTHING;
    replay_trace(sim->replay, "volume %s of %" PRIu64 " bytes%s", name, attributes.size_bytes,
                 attributes.is_guaranteed ? ", guaranteed" : "");
    return sim_end_command(sim, volume_create(sim->pool, name, &attributes, &sim->why));
}

int sim_op_volume_rename(struct sim *sim)
{
    char name[8];
    const struct oracle_volume *volume = sim_pick_volume(sim);
    if (!volume || !sim_pick_free_volume(sim, name))
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "volume rename");
    replay_trace(sim->replay, "rename volume %s to %s", volume->name, name);
    oracle_rename_volume(after, volume->name, name);
    return sim_end_command(sim, volume_rename(sim->pool, volume->name, name, &sim->why));
}

int sim_op_volume_delete(struct sim *sim)
{
    const struct oracle_volume *volume = sim_pick_volume(sim);
    for (unsigned i = 0; volume && i < ORACLE_SETS; i++)
    {
        if (volume->sets[i].name[0] &&
            oracle_count_clones(sim->now, volume->name, volume->sets[i].name) > 0)
            return SIM_NOTHING;
    }
    if (!volume)
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "volume delete");
    sim->is_freeing = true;
    replay_trace(sim->replay, "delete volume %s", volume->name);
    oracle_remove_volume(after, volume->name);
    return sim_end_command(sim, volume_delete(sim->pool, volume->name, true, 0, &sim->why));
}

static int sim_switch_qtree(struct sim *sim, const struct oracle_volume *volume)
{
    char path[16];
    snprintf(path, sizeof(path), "%s/%s", volume->name, volume->has_qtree ? volume->qtree : "q");
    bool has_luns = false;
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        const struct oracle_object *object = &sim->now->objects[i];
        has_luns |= !strchr(object->name, '@') && oracle_is_in(object, path);
    }
    if (volume->has_qtree && has_luns)
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "qtree");
    replay_trace(sim->replay, "%s qtree %s", volume->has_qtree ? "delete" : "make", path);
    struct oracle_volume *changed = oracle_find_volume(after, volume->name);
    changed->has_qtree = !volume->has_qtree;
    snprintf(changed->qtree, sizeof(changed->qtree), "q");
    if (volume->has_qtree)
        oracle_forget_rules(after, volume->name, true);
    return sim_end_command(sim, volume->has_qtree ? qtree_delete(sim->pool, path, &sim->why)
                                                  : qtree_create(sim->pool, path, NULL, &sim->why));
}

int sim_op_qtree(struct sim *sim)
{
    const struct oracle_volume *volume = sim_pick_volume(sim);
    return volume ? sim_switch_qtree(sim, volume) : SIM_NOTHING;
}

int sim_end_qtree(struct sim *sim, const char *volume)
{
    const struct oracle_volume *found = oracle_find_volume(sim->now, volume);
    return found && found->has_qtree ? sim_switch_qtree(sim, found) : SIM_NOTHING;
}

/* ---- snapshots of volumes */

int sim_op_set_create(struct sim *sim)
{
    char name[8];
    const struct oracle_volume *first = sim_pick_volume(sim), *second = sim_pick_volume(sim);
    if (!first)
        return SIM_NOTHING;
    const char *volumes[] = {first->name, second->name};
    size_t count = first == second ? 1 : 2;
    struct oracle *after = sim_begin_command(sim, "volume snapshot");
    snprintf(name, sizeof(name), "t%u", (unsigned)rng_below(sim->rng, ORACLE_SETS));
    for (size_t i = 0; i < count; i++)
    {
        const char *qtree = oracle_find_volume(after, volumes[i])->qtree;
        if (strcmp(qtree, "r") == 0 || oracle_find_set(after, volumes[i], name) ||
            !oracle_add_set(after, volumes[i], name))
            return SIM_NOTHING;
    }
    replay_trace(sim->replay, "volume snapshot %s of %s%s%s", name, volumes[0],
                 count > 1 ? " and " : "", count > 1 ? volumes[1] : "");
    struct volume_snapshot_args args = {.name = name};
    return sim_end_command(sim,
                           volume_snapshot_create(sim->pool, volumes, count, &args, &sim->why));
}

int sim_op_set_delete(struct sim *sim)
{
    const struct oracle_volume *volume;
    const struct oracle_set *set = sim_pick_set(sim, &volume);
    if (!set)
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "volume snapshot delete");
    sim->is_freeing = true;
    replay_trace(sim->replay, "delete volume snapshot %s@%s", volume->name, set->name);
    if (oracle_count_clones(after, volume->name, set->name) > 0)
        oracle_find_set(after, volume->name, set->name)->is_deferred = true;
    else
        oracle_remove_set(after, volume->name, set->name);
    return sim_end_command(
        sim, volume_snapshot_delete(sim->pool, volume->name, set->name, LUN_DEFER, &sim->why));
}

int sim_op_set_restore(struct sim *sim)
{
    const struct oracle_volume *volume;
    const struct oracle_set *set = sim_pick_set(sim, &volume);
    if (!set)
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "volume restore");
    replay_trace(sim->replay, "restore volume %s@%s", volume->name, set->name);
    if (!oracle_restore_set(after, volume->name, set->name) || sim_would_hang(sim))
        return SIM_NOTHING;
    return sim_end_command(
        sim, volume_snapshot_restore(sim->pool, volume->name, set->name, 0, &sim->why));
}

/* ---- clones of volumes */

int sim_op_volume_clone(struct sim *sim)
{
    char name[8];
    const struct oracle_volume *volume;
    const struct oracle_set *set = sim_pick_set(sim, &volume);
    if (!set || !sim_pick_free_volume(sim, name))
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "volume clone");
    if (!oracle_clone_volume(after, volume->name, set->name, name))
        return SIM_NOTHING;
    struct volume_clone_args args = {.volume = volume->name, .snapshot = set->name, .name = name};
    sim_draw_volume_clone(sim, after, &args);
    if (sim_would_hang(sim))
        return SIM_NOTHING;
    replay_trace(sim->replay, "volume clone %s of %s@%s%s%s", name, volume->name, set->name,
                 args.unguaranteed ? ", not guaranteed" : "",
                 args.no_reserve ? ", nothing of it reserved" : "");
    return sim_end_command(sim, volume_clone(sim->pool, &args, &sim->why));
}

int sim_op_volume_split(struct sim *sim)
{
    const struct oracle_volume *volume = sim_pick_volume(sim);
    if (!volume || !volume->parent[0])
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "volume split");
    sim->is_freeing = true;
    replay_trace(sim->replay, "split volume %s", volume->name);
    oracle_split_volume(after, volume->name);
    return sim_end_command(sim, volume_clone_split(sim->pool, volume->name, &sim->why));
}

/* ---- several LUNs */

int sim_op_group_clone(struct sim *sim)
{
    char names[SIM_GROUP_MAX][ORACLE_NAME_BYTES];
    struct lun_pair pairs[SIM_GROUP_MAX];
    bool of_luns = rng_percent(sim->rng, 70);
    struct oracle *after = sim_begin_command(sim, "group clone");
    struct lun_clone_args common = {0};
    sim_draw_clone(sim, &common);
    size_t count = (size_t)rng_between(sim->rng, 1, SIM_GROUP_MAX);
    for (size_t i = 0; i < count; i++)
    {
        const struct oracle_object *source = sim_pick(sim, of_luns, !of_luns);
        if (!source || !sim_pick_free_lun(sim, names[i]) || oracle_find(after, names[i]) ||
            !oracle_copy(after, source->name, names[i]))
            return SIM_NOTHING;
        sim_dress_clone(oracle_find(after, names[i]), &common);
        pairs[i] = (struct lun_pair){.source = source->name, .name = names[i]};
    }
    if (sim_would_hang(sim))
        return SIM_NOTHING;
    for (size_t i = 0; i < count; i++)
        replay_trace(sim->replay, "%s clone %s as %s", i ? "  and" : "group:", pairs[i].source,
                     names[i]);
    return sim_end_command(sim, lun_clone_group(sim->pool, pairs, count, &common, &sim->why));
}

int sim_op_redeploy(struct sim *sim)
{
    const struct oracle_object *source = sim_pick(sim, true, true);
    const char *names[2];
    size_t count = 0;
    if (!source)
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "redeploy");
    for (unsigned i = 0; i < 2; i++)
    {
        const struct oracle_object *lun = sim_pick(sim, true, false);
        char undo[2 * ORACLE_NAME_BYTES];
        snprintf(undo, sizeof(undo), "%s@u", lun ? lun->name : "");
        if (!lun || lun == source || strcmp(undo, source->name) == 0 ||
            (count > 0 && lun->name == names[0]) || strlen(undo) >= ORACLE_NAME_BYTES)
            continue;
        if (oracle_find(after, undo))
            oracle_remove(after, undo);
        if (!oracle_copy(after, lun->name, undo))
            return SIM_NOTHING;
        oracle_flush(after, source->name); /* frozen, if it is a LUN; else it is durable anyway */
        if (!strchr(source->name, '@'))
            oracle_freeze(oracle_find(after, source->name));
        oracle_restore(after, lun->name, source->name);
        names[count++] = lun->name;
    }
    if (count == 0)
        return SIM_NOTHING;
    replay_trace(sim->replay, "redeploy %s%s%s from %s", names[0], count > 1 ? " and " : "",
                 count > 1 ? names[1] : "", source->name);
    return sim_end_command(sim,
                           lun_redeploy(sim->pool, source->name, names, count, "u", 0, &sim->why));
}

int sim_op_attributes(struct sim *sim)
{
    const struct oracle_object *lun = sim_pick(sim, true, false);
    if (!lun)
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "attributes");
    struct lun_attributes attributes = {.is_autodelete = !lun->is_autodelete};
    replay_trace(sim->replay, "autodelete of %s: %d", lun->name, attributes.is_autodelete);
    oracle_find(after, lun->name)->is_autodelete = attributes.is_autodelete;
    return sim_end_command(
        sim, lun_set_attributes(sim->pool, lun->name, LUN_SET_AUTODELETE, &attributes, &sim->why));
}
