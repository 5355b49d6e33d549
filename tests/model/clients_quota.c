/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Quotas of the test of several clients.
 *
 * A LUN counts for up to six sums: of its volume and of its qtree, and in each of the two for its
 * user and for its group. A rule limits a sum; the default rules, those of qtrees, of users and of
 * groups of a tree, limit each sum that has no rule of its own. Clones are let through by rules of
 * users and groups, and so is whoever is named root.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "tests/model/clients.h"

enum
{
    CL_ROOT = CL_NAMES - 1,
    CL_RULE_BLKS = 3 * CL_LUN_BLKS, /* that a rule allows at most, if there is a limit */
};

static const char *const cl_users[CL_NAMES] = {"", "ann", "bob", "root"};
static const char *const cl_groups[CL_NAMES] = {"", "ops", "dev", "root"};
static const char *const cl_types[] = {
    [QUOTA_TREE] = "tree", [QUOTA_USER] = "user", [QUOTA_GROUP] = "group"};

const char *cl_user(unsigned number)
{
    return cl_users[number];
}

const char *cl_group(unsigned number)
{
    return cl_groups[number];
}

static enum quota_type cl_type(unsigned who)
{
    if (who == CL_WHO_TREE)
        return QUOTA_TREE;
    return who < CL_WHO_GROUP || who == CL_WHO_ANY_USER ? QUOTA_USER : QUOTA_GROUP;
}

static const char *cl_who_name(unsigned who)
{
    if (who >= CL_WHOS)
        return "*";
    return who < CL_WHO_GROUP ? cl_users[who - CL_WHO_USER + 1] : cl_groups[who - CL_WHO_GROUP + 1];
}

static bool cl_is_root(unsigned who)
{
    return who == CL_WHO_USER + CL_ROOT - 1 || who == CL_WHO_GROUP + CL_ROOT - 1;
}

static unsigned cl_default(unsigned who)
{
    return cl_type(who) == QUOTA_USER ? CL_WHO_ANY_USER : CL_WHO_ANY_GROUP;
}

/* The rule that limits the sum; NULL: none does. */
static const struct cl_rule *cl_rule_of(const struct cl_volume *volume, unsigned tree, unsigned who)
{
    const struct cl_rule *own = &volume->rules[tree][who], *any = NULL;
    if (who != CL_WHO_TREE)
        any = &volume->rules[tree][cl_default(who)];
    else if (tree > 0)
        any = &volume->rules[CL_ANY_TREE][CL_WHO_TREE];
    return own->is_there ? own : any && any->is_there ? any : NULL;
}

/* ---- sums ---------------------------------------------------------------------------------- */

/* Which sums @lun counts for. */
static bool cl_counts_for(const struct cl_lun *lun, unsigned tree, unsigned who)
{
    bool is_users = lun->user > 0 && who == CL_WHO_USER + lun->user - 1;
    bool is_groups = lun->group > 0 && who == CL_WHO_GROUP + lun->group - 1;
    return (tree == 0 || tree == lun->tree) && (who == CL_WHO_TREE || is_users || is_groups);
}

void cl_call_quota(struct cl_client *client, const struct cl_lun *lun, int64_t blks)
{
    for (unsigned i = 0; lun->volume >= 0 && i < CL_TREES * CL_WHOS; i++)
    {
        unsigned tree = i / CL_WHOS, who = i % CL_WHOS;
        if (cl_counts_for(lun, tree, who))
            client->call.need.in[lun->volume].sums[tree][who].bytes += blks * CL_BLK;
    }
}

/* ---- judging ------------------------------------------------------------------------------- */

static bool cl_is_over(const struct cl_call *call, const struct cl_volume *volume, unsigned tree,
                       unsigned who, uint64_t used, int64_t add)
{
    const struct cl_rule *rule = cl_rule_of(volume, tree, who);
    bool is_exempt = who != CL_WHO_TREE && (call->is_clone || cl_is_root(who));
    return volume->is_enforced && rule && !is_exempt && rule->hard != UINT64_MAX && add > 0 &&
           used + (uint64_t)add > rule->hard;
}

void cl_judge_quota(struct cl_client *client, const char *what)
{
    const struct cl_call *call = &client->call;
    bool is_over = false, is_over_with_others = false;
    for (unsigned i = 0; i < CL_VOLUMES * CL_TREES * CL_WHOS; i++)
    {
        unsigned v = i / (CL_TREES * CL_WHOS), tree = i / CL_WHOS % CL_TREES, who = i % CL_WHOS;
        const struct cl_volume *volume = &call->volumes[v];
        const struct cl_share *others = &call->overlap.in[v];
        int64_t add = call->need.in[v].sums[tree][who].bytes;
        uint64_t used = volume->sums[tree][who];
        bool is_this = cl_is_over(call, volume, tree, who, used, add);
        if (is_this && !is_over)
            cl_count(client, "quota: %s%s", cl_types[cl_type(who)],
                     volume->rules[tree][who].is_there ? "" : ", by a default rule");
        is_over |= is_this;
        is_over_with_others |=
            add > 0 && (others->modifies || cl_is_over(call, volume, tree, who,
                                                       used + others->sums[tree][who].add, add));
    }
    if (!is_over && !is_over_with_others)
        cl_fail(client, "%s is refused by a quota that was not reached: %s", what,
                client->why.text);
    cl_count(client, "quota: %s", is_over ? "by figures" : "only by what others claim");
}

void cl_judge_done(struct cl_client *client, const char *what)
{
    const struct cl_call *call = &client->call;
    for (unsigned i = 0; i < CL_VOLUMES * CL_TREES * CL_WHOS; i++)
    {
        unsigned v = i / (CL_TREES * CL_WHOS), tree = i / CL_WHOS % CL_TREES, who = i % CL_WHOS;
        const struct cl_volume *volume = &call->volumes[v];
        const struct cl_share *need = &call->need.in[v], *others = &call->overlap.in[v];
        uint64_t used = volume->sums[tree][who], drop = others->sums[tree][who].drop;
        uint64_t least = used > drop ? used - drop : 0;
        if (!need->modifies && !others->modifies &&
            cl_is_over(call, volume, tree, who, least, need->sums[tree][who].bytes))
            cl_fail(client,
                    "%s is done, although %" PRIu64
                    " bytes were used at least of the %s quota '%s' of '%s/%s', and %" PRId64
                    " more exceed it",
                    what, least, cl_types[cl_type(who)], who ? cl_who_name(who) : "", volume->name,
                    volume->trees[tree].name, need->sums[tree][who].bytes);
    }
}

/* ---- events -------------------------------------------------------------------------------- */

static bool cl_rises(uint64_t limit, uint64_t before, uint64_t after)
{
    return limit != UINT64_MAX && before <= limit && after > limit;
}

enum cl_event
{
    CL_EVENT_THRESHOLD,
    CL_EVENT_SOFT,
    CL_EVENT_NORMAL,
    CL_EVENT_OVER,                         /* + type */
    CL_EVENT_EXCEEDED = CL_EVENT_OVER + 3, /* + type */
    CL_EVENTS = CL_EVENT_EXCEEDED + 3,
};

static const char *const cl_event_names[CL_EVENTS] = {
    "quota.threshold.exceeded", "quota.softlimit.exceeded", "quota.softlimit.normal",
    "quota.tree.overallocated", "quota.user.overallocated", "quota.group.overallocated",
    "quota.tree.exceeded",      "quota.user.exceeded",      "quota.group.exceeded",
};

/* Those of one sum that a command which was done has changed. */
static void cl_await_events(const struct cl_volume *volume, unsigned tree, unsigned who,
                            int64_t bytes, unsigned awaited[CL_EVENTS])
{
    const struct cl_rule *rule = cl_rule_of(volume, tree, who);
    uint64_t before = volume->sums[tree][who], after = before + (uint64_t)bytes;
    if (!volume->is_enforced || !rule)
        return;
    awaited[CL_EVENT_THRESHOLD] += cl_rises(rule->threshold, before, after);
    awaited[CL_EVENT_SOFT] += cl_rises(rule->soft, before, after);
    awaited[CL_EVENT_NORMAL] += cl_rises(rule->soft, after, before);
    awaited[CL_EVENT_OVER + cl_type(who)] += cl_rises(rule->hard, before, after);
}

void cl_check_events(struct cl_client *client, int r)
{
    struct cl *cl = client->cl;
    const struct cl_call *call = &client->call;
    unsigned awaited[CL_EVENTS] = {0}, found[CL_EVENTS] = {0}, refusals = 0;
    if (cl->has_threads)
        return;
    struct event *events = NULL;
    size_t count = 0;
    int listed = event_list(cl->pool, cl->last_event, &events, &count);
    AUTO_FREE struct event *list = events;
    if (listed < 0)
        cl_fail(client, "event_list() gives %d", listed);
    for (size_t i = 0; i < count; i++)
    {
        cl->last_event = list[i].id;
        for (unsigned e = 0; e < CL_EVENTS; e++)
            found[e] += strcmp(list[i].name, cl_event_names[e]) == 0;
    }
    for (unsigned i = 0; r == 0 && i < CL_VOLUMES * CL_TREES * CL_WHOS; i++)
    {
        unsigned v = i / (CL_TREES * CL_WHOS), tree = i / CL_WHOS % CL_TREES, who = i % CL_WHOS;
        cl_await_events(&call->volumes[v], tree, who, call->need.in[v].sums[tree][who].bytes,
                        awaited);
    }
    for (unsigned e = 0; e < CL_EVENTS; e++)
    {
        bool is_refusal = e >= CL_EVENT_EXCEEDED;
        refusals += is_refusal ? found[e] : 0;
        if (found[e] > 0)
            cl_count(client, "event: %s", cl_event_names[e]);
        if (!is_refusal && found[e] != awaited[e])
            cl_fail(client, "there are %u events %s, not %u", found[e], cl_event_names[e],
                    awaited[e]);
    }
    if (refusals != (r == -EDQUOT))
        cl_fail(client, "there are %u events of a quota that refuses, and the call gives %d",
                refusals, r);
}

/* ---- what is reported ---------------------------------------------------------------------- */

static void cl_rule_name(struct quota_rule *rule, const struct cl_volume *volume, unsigned tree,
                         unsigned who)
{
    const char *in = tree == CL_ANY_TREE ? "*" : volume->trees[tree].name;
    *rule = (struct quota_rule){.type = cl_type(who)};
    snprintf(rule->volume, sizeof(rule->volume), "%s", volume->name);
    snprintf(who == CL_WHO_TREE ? rule->target : rule->qtree, sizeof(rule->target), "%s", in);
    if (who != CL_WHO_TREE)
        snprintf(rule->target, sizeof(rule->target), "%s", cl_who_name(who));
}

static bool cl_is_named(const struct quota_rule *rule, const struct quota_rule *as)
{
    return rule->type == as->type && strcmp(rule->target, as->target) == 0 &&
           strcmp(rule->qtree, as->qtree) == 0;
}

static void cl_check_limits(struct cl_client *client, const struct quota_rule *is,
                            const struct cl_rule *rule)
{
    if (is->hard_bytes != rule->hard || is->soft_bytes != rule->soft ||
        is->threshold_bytes != rule->threshold)
        cl_fail(client,
                "the %s rule '%s' of '%s/%s' has limits of %" PRIu64 ", %" PRIu64 ", %" PRIu64
                ", not %" PRIu64 ", %" PRIu64 ", %" PRIu64,
                cl_types[is->type], is->target, is->volume, is->qtree, is->hard_bytes,
                is->soft_bytes, is->threshold_bytes, rule->hard, rule->soft, rule->threshold);
}

static void cl_check_rules(struct cl_client *client, const struct cl_volume *volume)
{
    struct quota_rule *rules = NULL, name;
    size_t count = 0, wanted = 0;
    int r = quota_rule_list(client->cl->pool, volume->name, &rules, &count, &client->why);
    AUTO_FREE struct quota_rule *list = rules;
    if (r < 0)
        cl_fail(client, "quota_rule_list() gives %d", r);
    for (unsigned i = 0; i < (CL_TREES + 1) * CL_RULES; i++)
    {
        unsigned tree = i / CL_RULES, who = i % CL_RULES;
        const struct cl_rule *rule = &volume->rules[tree][who];
        if (!rule->is_there)
            continue;
        wanted++;
        cl_rule_name(&name, volume, tree, who);
        size_t at = 0;
        while (at < count && !cl_is_named(&list[at], &name))
            at++;
        if (at == count)
            cl_fail(client, "'%s' has lost the %s rule '%s' '%s'", volume->name,
                    cl_types[name.type], name.qtree, name.target);
        cl_check_limits(client, &list[at], rule);
    }
    if (count != wanted)
        cl_fail(client, "'%s' has %zu rules, must have %zu", volume->name, count, wanted);
}

static uint64_t cl_recount_sum(struct cl *cl, int v, unsigned tree, unsigned who, uint64_t *luns)
{
    uint64_t bytes = 0;
    *luns = 0;
    for (unsigned i = 0; i < CL_CLIENTS * CL_LUNS; i++)
    {
        const struct cl_lun *lun = &cl->clients[i / CL_LUNS].luns[i % CL_LUNS];
        if (!lun->is_there || lun->volume != v || !cl_counts_for(lun, tree, who))
            continue;
        bytes += lun->now.blks * CL_BLK;
        ++*luns;
    }
    return bytes;
}

/* One sum; true: the report must have a line of it. */
static bool cl_check_sum(struct cl_client *client, int v, unsigned tree, unsigned who,
                         const struct quota_usage *list, size_t count)
{
    const struct cl_volume *volume = &client->cl->volumes[v];
    const struct cl_rule *rule = cl_rule_of(volume, tree, who);
    struct quota_rule name;
    uint64_t luns, used = cl_recount_sum(client->cl, v, tree, who, &luns);
    size_t at = 0;
    cl_rule_name(&name, volume, tree, who);
    if (used != volume->sums[tree][who])
        cl_fail(client, "the model's sum of '%s' '%s' '%s' is %" PRIu64 ", not %" PRIu64,
                volume->name, name.qtree, name.target, volume->sums[tree][who], used);
    bool is_own = volume->rules[tree][who].is_there;
    if (!volume->trees[tree].is_there)
        return false;
    bool is_shown = rule && (who == CL_WHO_TREE || luns > 0 || is_own);
    while (at < count && !cl_is_named(&list[at].rule, &name))
        at++;
    if (is_shown != (at < count))
        cl_fail(client, "the report of '%s' has %s line for '%s' '%s'", volume->name,
                is_shown ? "no" : "a", name.qtree, name.target);
    if (!is_shown)
        return false;
    cl_check_limits(client, &list[at].rule, rule);
    if (list[at].used_bytes != used || list[at].lun_count != luns ||
        list[at].is_default == is_own || list[at].is_enabled != volume->is_enforced)
        cl_fail(client,
                "the report of '%s' has %" PRIu64 " bytes in %" PRIu64 " LUNs%s%s for '%s' '%s', "
                "must have %" PRIu64 " in %" PRIu64 "%s%s",
                volume->name, list[at].used_bytes, list[at].lun_count,
                list[at].is_default ? ", default" : "", list[at].is_enabled ? ", on" : "",
                name.qtree, name.target, used, luns, is_own ? "" : ", default",
                volume->is_enforced ? ", on" : "");
    return true;
}

void cl_check_quota(struct cl_client *client, int v)
{
    const struct cl_volume *volume = &client->cl->volumes[v];
    struct quota_usage *usages = NULL;
    size_t count = 0, wanted = 0;
    cl_check_rules(client, volume);
    int r = quota_report(client->cl->pool, volume->name, &usages, &count, &client->why);
    AUTO_FREE struct quota_usage *list = usages;
    if (r < 0)
        cl_fail(client, "the quota report of '%s' gives %d: %s", volume->name, r, client->why.text);
    for (unsigned i = 0; i < CL_TREES * CL_WHOS; i++)
        wanted += cl_check_sum(client, v, i / CL_WHOS, i % CL_WHOS, list, count);
    /* The default rule of qtrees is for none that is named so. */
    for (size_t i = 0; i < count; i++)
        wanted += strcmp(list[i].rule.target, "*") == 0;
    if (count != wanted)
        cl_fail(client, "the quota report of '%s' has %zu lines, must have %zu", volume->name,
                count, wanted);
}

/* ---- commands ------------------------------------------------------------------------------ */

static bool cl_quotas_toggle(struct cl_client *client, int v, struct cl_volume *volume)
{
    volume->is_enforced = !volume->is_enforced;
    cl_say(client, "quotas of '%s' are turned %s", volume->name,
           volume->is_enforced ? "on" : "off");
    cl_call_new(client);
    client->call.need.in[v].modifies = true;
    cl_call_sign(client, cl_quotas_are, volume->is_enforced, "%s", volume->name);
    cl_call_begin(client);
    int r = quota_set_enabled(client->cl->pool, volume->name, volume->is_enforced, &client->why);
    return cl_call_end(client, "quotas on or off", r);
}

/* Limits around what is used, or what may soon be. */
static void cl_rule_draw(struct cl_client *client, struct cl_rule *rule)
{
    *rule = (struct cl_rule){.is_there = true, .soft = UINT64_MAX, .threshold = UINT64_MAX};
    rule->hard = rng_percent(&client->rng, 10)
                     ? UINT64_MAX
                     : rng_between(&client->rng, 1, CL_RULE_BLKS) * CL_BLK;
    uint64_t most = min_u64(rule->hard, (uint64_t)CL_RULE_BLKS * CL_BLK);
    if (rng_percent(&client->rng, 60))
        rule->soft = rng_between(&client->rng, 1, most);
    if (rng_percent(&client->rng, 60))
        rule->threshold = rng_between(&client->rng, 1, most);
}

static bool cl_rule_change(struct cl_client *client, int v, struct cl_volume *volume)
{
    unsigned tree, who;
    do
        tree = rng_percent(&client->rng, 40) ? 0 : (unsigned)rng_below(&client->rng, CL_TREES + 1);
    while (tree != CL_ANY_TREE && !volume->trees[tree].is_there);
    who = tree == CL_ANY_TREE ? CL_WHO_TREE : (unsigned)rng_below(&client->rng, CL_RULES);
    struct cl_rule *rule = &volume->rules[tree][who];
    bool is_delete = rule->is_there && rng_percent(&client->rng, 40);
    if (is_delete)
        rule->is_there = false;
    else
        cl_rule_draw(client, rule);
    struct quota_rule wanted;
    cl_rule_name(&wanted, volume, tree, who);
    wanted.hard_bytes = rule->hard;
    wanted.soft_bytes = rule->soft;
    wanted.threshold_bytes = rule->threshold;
    cl_say(client, "%s the %s rule '%s' of '%s/%s': %" PRIu64 " bytes",
           is_delete ? "delete" : "set", cl_types[wanted.type], wanted.target, volume->name,
           wanted.qtree, rule->hard);
    cl_call_new(client);
    client->call.need.in[v].modifies = true;
    cl_call_sign(client, cl_rule_is_so, !is_delete, "%s", volume->name);
    client->call.sign.rule = &wanted;
    cl_call_begin(client);
    int r = is_delete ? quota_rule_delete(client->cl->pool, &wanted, &client->why)
                      : quota_rule_set(client->cl->pool, &wanted, &client->why);
    return cl_call_end(client, is_delete ? "delete a quota rule" : "quota rule", r);
}

/* Rules are set and deleted, and turned on and off. */
void cl_step_quota(struct cl_client *client)
{
    int v = cl_pick_to_change(client);
    if (v < 0)
        return;
    struct cl_volume volume = cl_volume_get(client, v);
    unsigned percent = volume.is_enforced ? 5 : 60;
    if (rng_percent(&client->rng, percent) ? cl_quotas_toggle(client, v, &volume)
                                           : cl_rule_change(client, v, &volume))
        cl_volume_set(client, v, &volume);
}
