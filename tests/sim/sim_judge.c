/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The judge of refusals: a command that the model has room for must be done, and one that it has
 * none for must be refused, with a reason. And what new things are promised.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "tests/sim/sim.h"

static const char *const sim_owners[] = {"", "ann", "bob", "root"};
static const char *const sim_groups[] = {"", "dev", "ops"};

/* ---- the judge ----------------------------------------------------------------------------- */

struct judge_volumes
{
    bool may_refuse; /* some volume has more than its bound; and one gets more than that: */
    const struct oracle_volume *over;
    uint64_t used_blks;
};

/* A volume that holds too much already is no reason, as long as it does not get more. */
static struct judge_volumes judge_volumes(const struct oracle *before, const struct oracle *after)
{
    struct judge_volumes judgement = {0};
    for (unsigned i = 0; i < ORACLE_VOLUMES; i++)
    {
        const struct oracle_volume *volume = &after->volumes[i];
        uint64_t used = volume->charged_blks + oracle_volume_lun_needs(after, volume);
        uint64_t used_before = 0, blks_before = 0;
        if (!volume->name[0] || volume->blks == 0 || used <= volume->blks)
            continue;
        for (unsigned j = 0; j < ORACLE_VOLUMES; j++)
        {
            const struct oracle_volume *was = &before->volumes[j];
            if (!was->name[0] || was->serial != volume->serial)
                continue;
            used_before = was->charged_blks + oracle_volume_lun_needs(before, was);
            blks_before = was->blks;
        }
        judgement.may_refuse = true;
        if (used <= used_before && volume->blks == blks_before)
            continue;
        judgement.over = volume;
        judgement.used_blks = used;
    }
    return judgement;
}

static bool judge_has_tails(const struct oracle *oracle)
{
    bool has = false;
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
        has |= oracle->objects[i].name[0] && oracle->objects[i].tail_sectors != 0;
    return has;
}

static struct space_rules_cost judge_cost(struct sim *sim)
{
    uint64_t before = oracle_promised(sim->now), after = oracle_promised(sim->maybe);
    uint64_t growth = after > before ? after - before : 0;
    return (struct space_rules_cost){.least = growth,
                                     .most = growth + sim->room.asked_blks,
                                     .available = sim->room.available_blks,
                                     .left = UINT64_MAX};
}

static void judge_done(struct sim *sim, const struct space_rules_cost *cost, bool is_over_quota,
                       const struct judge_volumes *volumes)
{
    if (is_over_quota)
        replay_fail(sim->replay, "%s is done, and exceeds a quota", sim->op);
    if (judge_has_tails(sim->now)) /* what it has trimmed before was room for it */
        return;
    if (volumes->over)
        replay_fail(sim->replay,
                    "%s is done, and volume %s of %" PRIu32 " blocks needs %" PRIu64 " of them",
                    sim->op, volumes->over->name, volumes->over->blks, volumes->used_blks);
    if (space_rules_is_too_much(cost))
        replay_fail(sim->replay,
                    "%s is done, and promises %" PRIu64 " blocks more, of %" PRIu64
                    " that were available",
                    sim->op, cost->least, cost->available);
}

/* A first promise and a growth need room in the file system below. */
static bool judge_lacks_room_below(struct sim *sim)
{
    bool is_first = !oracle_has_promises(sim->now) && oracle_has_promises(sim->maybe);
    bool is_growth = sim->now->pool_bytes != sim->maybe->pool_bytes;
    return (is_first || is_growth) &&
           (sim->lacks_room_below || simdev_room(sim->disk) != UINT64_MAX);
}

bool sim_judge(struct sim *sim, int r)
{
    struct space_rules_cost cost = judge_cost(sim);
    struct judge_volumes volumes = judge_volumes(sim->now, sim->maybe);
    bool is_over_quota = oracle_quota_refuses(sim->now, sim->maybe, sim->is_clone);
    if (r == 0)
        judge_done(sim, &cost, is_over_quota, &volumes);
    if (r != -ENOSPC && r != -EDQUOT)
        return false;
    replay_trace(sim->replay, "  refused: %s", sim->why.text);
    replay_count(sim->replay, "%s: %s", sim->op, r == -EDQUOT ? "quota" : "no space");
    if (!sim->why.text[0])
        replay_fail(sim->replay, "%s gives %d, and no reason", sim->op, r);
    if (r == -EDQUOT && !is_over_quota)
        replay_fail(sim->replay, "%s is refused, and no quota forbids it: %s", sim->op,
                    sim->why.text);
    bool is_excused =
        volumes.may_refuse || judge_has_tails(sim->now) || judge_lacks_room_below(sim);
    if (r == -ENOSPC && (sim->is_freeing || (!is_excused && space_rules_is_enough(&cost))))
        replay_fail(sim->replay,
                    "%s needs %" PRIu64 " blocks at most, %" PRIu64
                    " are available, and it is refused: %s",
                    sim->op, cost.most, cost.available, sim->why.text);
    return true;
}

void sim_judge_io(struct sim *sim, const struct oracle_object *object, uint64_t blks)
{
    sim_look(sim); /* what writes have taken of the volume since */
    const struct oracle_volume *volume = oracle_volume_of(sim->now, object);
    uint64_t available = sim->room.available_blks, left = oracle_volume_left(sim->now, volume);
    replay_count(sim->replay, "%s: no space", sim->op);
    replay_trace(sim->replay, "  no space");
    if (object->is_reserved)
        replay_fail(sim->replay, "%s to a reserved LUN finds no space", sim->op);
    if (!space_rules_may_lack(blks + sim->room.asked_blks, volume && volume->is_guaranteed,
                              available, left))
        replay_fail(sim->replay,
                    "%s of %" PRIu64 " blocks finds no space: %" PRIu64
                    " blocks are available, %" PRIu64 " in its volume",
                    sim->op, blks, available, left);
}

bool sim_may_lack(struct sim *sim)
{
    return sim->has_promises && space_rules_may_lack(0, false, sim_room(sim).available_blks, 0);
}

bool sim_would_hang(struct sim *sim)
{
    return sim->in_overlap && !oracle_has_promises(sim->now) && oracle_has_promises(sim->maybe);
}

/* ---- what new things have ------------------------------------------------------------------ */

const char *sim_draw_owner(struct sim *sim, bool or_nobody)
{
    return sim_owners[rng_between(sim->rng, or_nobody ? 0 : 1, ARRAY_SIZE(sim_owners) - 1)];
}

const char *sim_draw_group(struct sim *sim, bool or_nobody)
{
    return sim_groups[rng_between(sim->rng, or_nobody ? 0 : 1, ARRAY_SIZE(sim_groups) - 1)];
}

void sim_set_name(char to[ORACLE_OWNER_BYTES], const char *name)
{
    snprintf(to, ORACLE_OWNER_BYTES, "%s", name);
}

void sim_dress_lun(struct sim *sim, struct oracle_object *lun, struct lun_attributes *attributes)
{
    if (!sim->has_promises)
        return;
    lun->is_reserved = attributes->is_reserved = rng_percent(sim->rng, sim->is_tight ? 50 : 25);
    attributes->owner = sim_draw_owner(sim, true);
    attributes->group = sim_draw_group(sim, true);
    sim_set_name(lun->owner, attributes->owner);
    sim_set_name(lun->group, attributes->group);
}

void sim_draw_clone(struct sim *sim, struct lun_clone_args *args)
{
    sim->is_clone = true;
    if (!sim->has_promises)
        return;
    args->no_reserve = rng_percent(sim->rng, 40);
    if (rng_percent(sim->rng, 20))
        args->owner = sim_draw_owner(sim, true);
    if (rng_percent(sim->rng, 20))
        args->group = sim_draw_group(sim, true);
}

void sim_dress_clone(struct oracle_object *clone, const struct lun_clone_args *args)
{
    clone->is_reserved &= !args->no_reserve;
    if (args->owner)
        sim_set_name(clone->owner, args->owner);
    if (args->group)
        sim_set_name(clone->group, args->group);
}

void sim_dress_size(struct sim *sim, struct oracle_volume *volume)
{
    bool has_bound = rng_percent(sim->rng, 70);
    uint64_t most = sim->is_tight ? 1800 : 300;
    volume->blks = has_bound ? (uint32_t)rng_between(sim->rng, 40, most) : 0;
    volume->is_guaranteed = has_bound && rng_percent(sim->rng, 60);
}

void sim_dress_volume(struct sim *sim, struct oracle_volume *volume,
                      struct volume_attributes *attributes)
{
    if (!sim->has_promises)
        return;
    sim_dress_size(sim, volume);
    attributes->size_bytes = (uint64_t)volume->blks * LUN_BLK_BYTES;
    attributes->is_guaranteed = volume->is_guaranteed;
}

void sim_draw_volume_clone(struct sim *sim, struct oracle *after, struct volume_clone_args *args)
{
    if (!sim->has_promises)
        return;
    args->unguaranteed = rng_percent(sim->rng, 40);
    args->no_reserve = rng_percent(sim->rng, 40);
    if (args->unguaranteed)
        oracle_find_volume(after, args->name)->is_guaranteed = false;
    for (unsigned i = 0; args->no_reserve && i < ORACLE_OBJECTS_MAX; i++)
    {
        if (after->objects[i].name[0] && oracle_is_in(&after->objects[i], args->name))
            after->objects[i].is_reserved = false;
    }
}
