/* SPDX-License-Identifier: BSD-3-Clause */
/* Operations on promises and quotas; as in sim_ops.c, all of them right, though not all are
 * allowed. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "tests/sim/sim.h"

enum
{
    SIM_FILLER_BYTES = 1 << 30,
    SIM_FILL_BLKS = 64, /* of one write */
};

/* ---- promises ------------------------------------------------------------------------------ */

/* Reservation, owner and group, some of them or all. */
static int sim_op_promise(struct sim *sim)
{
    const struct oracle_object *lun = sim_pick(sim, true, false);
    if (!lun)
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "promise");
    struct oracle_object *changed = oracle_find(after, lun->name);
    struct lun_attributes attributes = {.is_reserved = rng_percent(sim->rng, 40),
                                        .owner = sim_draw_owner(sim, true),
                                        .group = sim_draw_group(sim, true)};
    unsigned mask = (rng_percent(sim->rng, 60) ? LUN_SET_RESERVED : 0u) |
                    (rng_percent(sim->rng, 40) ? LUN_SET_OWNER : 0u) |
                    (rng_percent(sim->rng, 40) ? LUN_SET_GROUP : 0u);
    if (mask & LUN_SET_RESERVED)
        changed->is_reserved = attributes.is_reserved;
    if (mask & LUN_SET_OWNER)
        sim_set_name(changed->owner, attributes.owner);
    if (mask & LUN_SET_GROUP)
        sim_set_name(changed->group, attributes.group);
    if (mask == 0 || sim_would_hang(sim))
        return SIM_NOTHING;
    replay_trace(sim->replay, "%s is %sreserved, of '%s' and '%s'", lun->name,
                 changed->is_reserved ? "" : "not ", changed->owner, changed->group);
    return sim_end_command(sim,
                           lun_set_attributes(sim->pool, lun->name, mask, &attributes, &sim->why));
}

static int sim_op_guarantee(struct sim *sim)
{
    const struct oracle_volume *volume = sim_pick_volume(sim);
    if (!volume)
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "guarantee");
    struct oracle_volume *changed = oracle_find_volume(after, volume->name);
    sim_dress_size(sim, changed);
    if (sim_would_hang(sim))
        return SIM_NOTHING;
    struct volume_attributes attributes = {.size_bytes = (uint64_t)changed->blks * LUN_BLK_BYTES,
                                           .is_guaranteed = changed->is_guaranteed};
    replay_trace(sim->replay, "volume %s has %" PRIu32 " blocks%s", volume->name, changed->blks,
                 changed->is_guaranteed ? ", guaranteed" : "");
    return sim_end_command(sim, volume_modify(sim->pool, volume->name,
                                              VOLUME_SET_SIZE | VOLUME_SET_GUARANTEE, &attributes,
                                              &sim->why));
}

int sim_end_promises(struct sim *sim)
{
    int r = 0;
    for (unsigned i = 0; r == 0 && i < ORACLE_OBJECTS_MAX; i++)
    {
        const struct oracle_object *lun = &sim->now->objects[i];
        struct lun_attributes attributes = {0};
        if (!lun->name[0] || !lun->is_reserved)
            continue;
        struct oracle *after = sim_begin_command(sim, "no promise");
        after->objects[i].is_reserved = false;
        r = sim_end_command(sim, lun_set_attributes(sim->pool, lun->name, LUN_SET_RESERVED,
                                                    &attributes, &sim->why));
    }
    for (unsigned i = 0; r == 0 && i < ORACLE_VOLUMES; i++)
    {
        const struct oracle_volume *volume = &sim->now->volumes[i];
        struct volume_attributes attributes = {0};
        if (!volume->name[0] || !volume->is_guaranteed)
            continue;
        struct oracle *after = sim_begin_command(sim, "no promise");
        after->volumes[i].is_guaranteed = false;
        r = sim_end_command(sim, volume_modify(sim->pool, volume->name, VOLUME_SET_GUARANTEE,
                                               &attributes, &sim->why));
    }
    return r;
}

/* What can go wrong while the pool's file is made whole. */
enum first_way
{
    FIRST_PLAIN,
    FIRST_NO_ROOM, /* the file system below says so, */
    FIRST_FAILS,   /* or turns out not to have it */
    FIRST_CUT,
    FIRST_WAYS,
};

int sim_make_first_promise(struct sim *sim)
{
    const struct oracle_object *lun = sim_pick(sim, true, false);
    if (!lun)
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "first promise");
    struct lun_attributes attributes = {.is_reserved = true};
    oracle_find(after, lun->name)->is_reserved = true;
    replay_trace(sim->replay, "the first promise is to %s", lun->name);
    sim->activity = COVERAGE_PROMISE;
    int r = lun_set_attributes(sim->pool, lun->name, LUN_SET_RESERVED, &attributes, &sim->why);
    sim->activity = COVERAGE_NO_PHASE;
    return sim_end_command(sim, r);
}

int sim_first_promise(struct sim *sim, uint64_t number)
{
    enum first_way way = sim->expects_cuts ? (enum first_way)(number % FIRST_WAYS) : FIRST_PLAIN;
    struct simdev_fault fault = {.op = SIMDEV_ALLOCATE, .error = -ENOSPC, .nth = 1};
    replay_trace(sim->replay, "no promises any more");
    int r = sim_end_promises(sim);
    if (r != 0 || simdev_is_off(sim->disk))
        return r;
    if (way == FIRST_NO_ROOM)
        simdev_set_room(sim->disk, rng_below(sim->rng, 100));
    if (way == FIRST_FAILS)
        simdev_arm(sim->disk, &fault);
    sim->lacks_room_below |= way == FIRST_NO_ROOM || way == FIRST_FAILS;
    sim->cuts_allocation = way == FIRST_CUT;
    r = sim_make_first_promise(sim);
    sim->cuts_allocation = false;
    if (way == FIRST_PLAIN || way == FIRST_CUT)
        return r;
    simdev_arm(sim->disk, NULL);
    simdev_set_room(sim->disk, UINT64_MAX);
    sim->lacks_room_below = false;
    return r;
}

static int sim_op_first_promise(struct sim *sim)
{
    return sim_first_promise(sim, rng_below(sim->rng, FIRST_WAYS));
}

/* ---- quotas -------------------------------------------------------------------------------- */

static void sim_draw_rule(struct sim *sim, const struct oracle_volume *volume,
                          struct oracle_rule *rule)
{
    *rule = (struct oracle_rule){.is_there = true,
                                 .type = (enum quota_type)rng_below(sim->rng, 3),
                                 .of_qtree = volume->has_qtree && rng_percent(sim->rng, 40),
                                 .hard_bytes = UINT64_MAX,
                                 .soft_bytes = UINT64_MAX,
                                 .threshold_bytes = UINT64_MAX};
    memcpy(rule->volume, volume->name, sizeof(rule->volume));
    rule->is_default = rng_percent(sim->rng, 30);
    if (rule->type == QUOTA_TREE)
        rule->of_qtree &= !rule->is_default;
    else if (!rule->is_default && rule->type == QUOTA_USER)
        sim_set_name(rule->name, sim_draw_owner(sim, false));
    else if (!rule->is_default)
        sim_set_name(rule->name, sim_draw_group(sim, false));
    if (rng_percent(sim->rng, 80))
        rule->hard_bytes =
            rng_between(sim->rng, 1, rng_percent(sim->rng, 30) ? 2 << 20 : 256 << 10);
    if (rng_percent(sim->rng, 30))
        rule->soft_bytes = rule->hard_bytes / 2;
    if (rng_percent(sim->rng, 30))
        rule->threshold_bytes = rule->hard_bytes / 3;
}

static struct quota_rule sim_quota_rule(struct sim *sim, const struct oracle_rule *rule)
{
    struct quota_rule given = {.type = rule->type,
                               .hard_bytes = rule->hard_bytes,
                               .soft_bytes = rule->soft_bytes,
                               .threshold_bytes = rule->threshold_bytes};
    const char *tree = oracle_qtree(sim->now, rule->volume, rule->of_qtree);
    const char *name = rule->is_default ? "*" : rule->name;
    bool is_tree = rule->type == QUOTA_TREE;
    snprintf(given.volume, sizeof(given.volume), "%s", rule->volume);
    snprintf(given.qtree, sizeof(given.qtree), "%s", is_tree ? "" : tree);
    snprintf(given.target, sizeof(given.target), "%s", is_tree && !rule->is_default ? tree : name);
    return given;
}

static int sim_op_quota_rule(struct sim *sim)
{
    struct oracle_rule rule;
    const struct oracle_volume *volume = sim_pick_volume(sim);
    if (!volume)
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "quota rule");
    sim_draw_rule(sim, volume, &rule);
    if (!oracle_put_rule(after, &rule))
        return SIM_NOTHING;
    struct quota_rule given = sim_quota_rule(sim, &rule);
    replay_trace(sim->replay, "quota of volume %s, type %d, '%s' in '%s': %" PRIu64, given.volume,
                 (int)given.type, given.target, given.qtree, given.hard_bytes);
    return sim_end_command(sim, quota_rule_set(sim->pool, &given, &sim->why));
}

static int sim_op_quota_forget(struct sim *sim)
{
    unsigned i = (unsigned)rng_below(sim->rng, ORACLE_RULES);
    if (!sim->now->rules[i].is_there)
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "quota rule delete");
    struct quota_rule given = sim_quota_rule(sim, &after->rules[i]);
    replay_trace(sim->replay, "no quota of volume %s, type %d, '%s' in '%s' any more", given.volume,
                 (int)given.type, given.target, given.qtree);
    after->rules[i] = (struct oracle_rule){0};
    return sim_end_command(sim, quota_rule_delete(sim->pool, &given, &sim->why));
}

static int sim_op_quota_switch(struct sim *sim)
{
    const struct oracle_volume *volume = sim_pick_volume(sim);
    if (!volume)
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "quotas on, off");
    bool on = rng_percent(sim->rng, 75);
    replay_trace(sim->replay, "quotas of volume %s are %s", volume->name, on ? "on" : "off");
    oracle_find_volume(after, volume->name)->has_quotas = on;
    return sim_end_command(sim, quota_set_enabled(sim->pool, volume->name, on, &sim->why));
}

/* ---- a full pool --------------------------------------------------------------------------- */

/* Until nothing is left that is not spoken for. What power was cut in is seen by the caller. */
static int sim_fill_filler(struct sim *sim)
{
    static const uint8_t bytes[SIM_FILL_BLKS * LUN_BLK_BYTES] = {1};
    struct lun *lun = NULL;
    uint64_t offset = 0, count = SIM_FILL_BLKS;
    int r = lun_open(sim->pool, ORACLE_FILLER, 0, &lun, &sim->why);
    while (r == 0)
    {
        sim->room = sim_room(sim);
        r = lun_write(lun, bytes, count * LUN_BLK_BYTES, offset, 0);
        offset += r == 0 ? count * LUN_BLK_BYTES : 0;
        if (r != -ENOSPC || !sim_is_sure(sim))
            continue;
        sim_judge_io(sim, &(struct oracle_object){.name = ORACLE_FILLER}, count);
        r = count == 1 ? r : 0;
        count = 1;
    }
    lun_close(lun);
    return r == -ENOSPC && sim_is_sure(sim) ? SIM_NOTHING : sim_result(sim, r);
}

static int sim_fill(struct sim *sim)
{
    struct lun_create_args args = {.name = ORACLE_FILLER, .size_bytes = SIM_FILLER_BYTES};
    int r = 0;
    if (!sim->now->has_filler)
    {
        struct oracle *after = sim_begin_command(sim, "fill");
        after->has_filler = true;
        r = sim_end_command(sim, lun_create(sim->pool, &args, &sim->why));
    }
    replay_trace(sim->replay, "fill the pool");
    return r != 0 ? r : sim_fill_filler(sim);
}

/* A guarantee, a snapshot, a full pool, and a clone that would be guaranteed too: by themselves
 * they meet too seldom. */
static int sim_op_fill(struct sim *sim)
{
    static int (*const before[])(struct sim *) = {sim_op_guarantee, sim_op_set_create};
    if (!sim->is_tight || sim->is_tried)
        return SIM_NOTHING;
    for (unsigned i = 0; i < ARRAY_SIZE(before); i++)
    {
        int r = before[i](sim);
        if ((r != 0 && r != SIM_NOTHING) || simdev_is_off(sim->disk))
            return r;
    }
    int r = sim_fill(sim);
    return r == SIM_NOTHING ? sim_op_volume_clone(sim) : r;
}

static int sim_op_unfill(struct sim *sim)
{
    if (!sim->now->has_filler)
        return SIM_NOTHING;
    struct oracle *after = sim_begin_command(sim, "unfill");
    sim->is_freeing = true;
    after->has_filler = false;
    replay_trace(sim->replay, "delete the filler");
    return sim_end_command(sim, lun_delete(sim->pool, ORACLE_FILLER, true, 0, &sim->why));
}

/* All of a LUN: of one that was promised it, whatever else there is. */
static int sim_op_write_all(struct sim *sim)
{
    const struct oracle_object *lun = sim_pick(sim, true, false);
    if (!lun || sim->is_tried)
        return SIM_NOTHING;
    return sim_write_all(sim, lun);
}

void sim_prove_promises(struct sim *sim)
{
    if (!sim->has_promises || sim->may_overlap)
        return;
    int r = sim->is_tight ? sim_fill(sim) : 0; /* which takes its time */
    for (unsigned i = 0; r >= 0 && i < ORACLE_OBJECTS_MAX; i++)
    {
        const struct oracle_object *lun = &sim->now->objects[i];
        const struct oracle_volume *volume = oracle_volume_of(sim->now, lun);
        if (lun->name[0] && !strchr(lun->name, '@') &&
            (lun->is_reserved || (volume && volume->is_guaranteed)))
            r = sim_write_all(sim, lun);
    }
    if (r >= 0)
        r = sim_op_unfill(sim);
    if (r < 0)
        replay_fail(sim->replay, "proving that promises are kept gives %d", r);
    replay_count(sim->replay, "promises: kept at the end%s", sim->is_tight ? ", pool full" : "");
}

const struct sim_op sim_promise_ops[] = {
    {sim_op_promise, 12, true},       {sim_op_guarantee, 6, true},
    {sim_op_first_promise, 2, false}, {sim_op_quota_rule, 14, true},
    {sim_op_quota_forget, 3, true},   {sim_op_quota_switch, 10, true},
    {sim_op_volume_create, 6, true},  {sim_op_set_create, 4, true},
    {sim_op_volume_clone, 10, true},  {sim_op_fill, 14, false},
    {sim_op_unfill, 2, true},         {sim_op_write_all, 2, false},
    {sim_op_grow, 1, false},          {sim_op_delete_held, 14, true},
    {sim_op_revive, 18, true},        {sim_op_qtree, 4, true},
};
const size_t sim_promise_op_count = ARRAY_SIZE(sim_promise_ops);
