/* SPDX-License-Identifier: BSD-3-Clause */
/* What the oracle promises to whom, and what its quotas allow: sums over what it knows anyway. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "tests/sim/oracle.h"

/* ---- promises ------------------------------------------------------------------------------ */

static bool oracle_is_lun(const struct oracle_object *object)
{
    return object->name[0] && !strchr(object->name, '@');
}

uint64_t oracle_blks(const struct oracle_object *object)
{
    return div_round_up(object->sectors, ORACLE_BLK_SECTORS);
}

void oracle_freeze(struct oracle_object *lun)
{
    lun->tail_sectors = 0; /* which is unmapped before */
    if (lun->is_unchanged)
        return;
    lun->head =
        (struct space_rules_head){.has_point = true, .point_blks = (uint32_t)oracle_blks(lun)};
    lun->is_unchanged = true;
}

const struct oracle_volume *oracle_volume_of(const struct oracle *oracle,
                                             const struct oracle_object *object)
{
    for (unsigned i = 0; i < ORACLE_VOLUMES; i++)
    {
        const struct oracle_volume *volume = &oracle->volumes[i];
        if (volume->name[0] && oracle_is_in(object, volume->name))
            return volume;
    }
    return NULL;
}

uint64_t oracle_lun_needs(const struct oracle_object *lun)
{
    if (!lun->is_reserved)
        return 0;
    uint64_t tail_blks = div_round_up(lun->tail_sectors, ORACLE_BLK_SECTORS);
    return space_rules_lun_needs(max_u64(oracle_blks(lun), tail_blks), &lun->head);
}

uint64_t oracle_volume_lun_needs(const struct oracle *oracle, const struct oracle_volume *volume)
{
    uint64_t needs = 0;
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        const struct oracle_object *object = &oracle->objects[i];
        if (object->is_reserved && oracle_is_lun(object) &&
            oracle_volume_of(oracle, object) == volume)
            needs += oracle_lun_needs(object);
    }
    return needs;
}

uint64_t oracle_volume_needs(const struct oracle *oracle, const struct oracle_volume *volume)
{
    return space_rules_volume_needs(volume->blks, volume->is_guaranteed, volume->charged_blks,
                                    oracle_volume_lun_needs(oracle, volume));
}

bool oracle_has_promises(const struct oracle *oracle)
{
    bool has = false;
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
        has |= oracle->objects[i].is_reserved && oracle_is_lun(&oracle->objects[i]);
    for (unsigned i = 0; i < ORACLE_VOLUMES; i++)
        has |= oracle->volumes[i].name[0] && oracle->volumes[i].is_guaranteed;
    return has;
}

uint64_t oracle_promised(const struct oracle *oracle)
{
    uint64_t blks = oracle_has_promises(oracle) ? SPACE_RULES_SLACK_BLKS : 0;
    for (unsigned i = 0; i < ORACLE_VOLUMES; i++)
    {
        if (oracle->volumes[i].name[0])
            blks += oracle_volume_needs(oracle, &oracle->volumes[i]);
    }
    return blks + oracle_volume_lun_needs(oracle, NULL);
}

uint64_t oracle_volume_left(const struct oracle *oracle, const struct oracle_volume *volume)
{
    if (!volume || volume->blks == 0)
        return UINT64_MAX;
    uint64_t used = volume->charged_blks + oracle_volume_lun_needs(oracle, volume);
    return volume->blks > used ? volume->blks - used : 0;
}

void oracle_charge_move(struct oracle *oracle, const struct oracle_object *lun, const char *from,
                        const char *to)
{
    uint64_t own = (uint64_t)lun->head.own_blks + lun->head.node_blks;
    if (from)
        oracle_find_volume(oracle, from)->charged_blks -= own;
    if (to)
        oracle_find_volume(oracle, to)->charged_blks += own;
}

/* ---- quotas -------------------------------------------------------------------------------- */

/* "v0/q/l1" */
static bool oracle_is_in_qtree(const struct oracle_object *object)
{
    const char *slash = strchr(object->name, '/');
    return slash && strchr(slash + 1, '/');
}

uint64_t oracle_quota_used(const struct oracle *oracle, const struct oracle_subject *subject,
                           uint64_t *lun_count)
{
    uint64_t bytes = 0;
    *lun_count = 0;
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        const struct oracle_object *lun = &oracle->objects[i];
        if (!oracle_is_lun(lun) || !oracle_is_in(lun, subject->volume->name) ||
            (subject->of_qtree && !oracle_is_in_qtree(lun)) ||
            (subject->type == QUOTA_USER && strcmp(lun->owner, subject->name) != 0) ||
            (subject->type == QUOTA_GROUP && strcmp(lun->group, subject->name) != 0))
            continue;
        bytes += (uint64_t)lun->sectors * ORACLE_SECTOR_BYTES;
        ++*lun_count;
    }
    return bytes;
}

const struct oracle_rule *oracle_quota_rule(const struct oracle *oracle,
                                            const struct oracle_subject *subject)
{
    const struct oracle_rule *by_default = NULL;
    for (unsigned i = 0; i < ORACLE_RULES; i++)
    {
        const struct oracle_rule *rule = &oracle->rules[i];
        if (!rule->is_there || rule->type != subject->type ||
            strcmp(rule->volume, subject->volume->name) != 0)
            continue;
        bool is_for_all =
            rule->type == QUOTA_TREE ? subject->of_qtree : rule->of_qtree == subject->of_qtree;
        if (rule->is_default)
            by_default = is_for_all ? rule : by_default;
        else if (rule->of_qtree == subject->of_qtree && strcmp(rule->name, subject->name) == 0)
            return rule;
    }
    return by_default;
}

bool oracle_each_subject(const struct oracle *oracle, oracle_subject_fn *each, void *opaque)
{
    static const struct
    {
        enum quota_type type;
        const char *name;
    } whose[] = {{QUOTA_TREE, ""},     {QUOTA_USER, "ann"},  {QUOTA_USER, "bob"},
                 {QUOTA_USER, "root"}, {QUOTA_GROUP, "dev"}, {QUOTA_GROUP, "ops"}};
    for (unsigned i = 0; i < ORACLE_VOLUMES; i++)
    {
        for (unsigned j = 0; j < 2 * ARRAY_SIZE(whose) && oracle->volumes[i].name[0]; j++)
        {
            struct oracle_subject subject = {.type = whose[j / 2].type,
                                             .volume = &oracle->volumes[i],
                                             .of_qtree = j % 2 != 0,
                                             .name = whose[j / 2].name};
            if (subject.of_qtree && !subject.volume->has_qtree)
                continue;
            if (!each(&subject, opaque))
                return false;
        }
    }
    return true;
}

struct oracle_question
{
    const struct oracle *before, *after;
    bool is_clone;
};

/* Volumes are known by their serial number: a command may rename one. */
static bool oracle_is_allowed(const struct oracle_subject *subject, void *opaque)
{
    const struct oracle_question *question = opaque;
    struct oracle_subject was = *subject;
    if (!subject->volume->has_quotas)
        return true;
    uint64_t luns, used = oracle_quota_used(question->after, subject, &luns), used_before = 0;
    const struct oracle_rule *rule = oracle_quota_rule(question->after, subject);
    for (unsigned i = 0; i < ORACLE_VOLUMES; i++)
    {
        was.volume = &question->before->volumes[i];
        if (was.volume->name[0] && was.volume->serial == subject->volume->serial)
            used_before = oracle_quota_used(question->before, &was, &luns);
    }
    bool only_counts =
        subject->type != QUOTA_TREE && (question->is_clone || strcmp(subject->name, "root") == 0);
    return !rule || only_counts || used <= used_before || used <= rule->hard_bytes;
}

bool oracle_quota_refuses(const struct oracle *before, const struct oracle *after, bool is_clone)
{
    struct oracle_question question = {.before = before, .after = after, .is_clone = is_clone};
    return !oracle_each_subject(after, oracle_is_allowed, &question);
}

struct oracle_rule *oracle_put_rule(struct oracle *oracle, const struct oracle_rule *rule)
{
    struct oracle_rule *place = NULL;
    for (unsigned i = 0; i < ORACLE_RULES; i++)
    {
        struct oracle_rule *at = &oracle->rules[i];
        bool is_it = at->is_there && at->type == rule->type && at->of_qtree == rule->of_qtree &&
                     at->is_default == rule->is_default && strcmp(at->volume, rule->volume) == 0 &&
                     strcmp(at->name, rule->name) == 0;
        if (is_it || (!place && !at->is_there))
            place = at;
        if (is_it)
            break;
    }
    if (place)
        *place = *rule;
    return place;
}

void oracle_forget_rules(struct oracle *oracle, const char *volume, bool of_qtree)
{
    for (unsigned i = 0; i < ORACLE_RULES; i++)
    {
        struct oracle_rule *rule = &oracle->rules[i];
        if (rule->is_there && strcmp(rule->volume, volume) == 0 && (!of_qtree || rule->of_qtree))
            *rule = (struct oracle_rule){0};
    }
}
