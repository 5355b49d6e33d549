/* SPDX-License-Identifier: BSD-3-Clause */
/* Verbs on quotas. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/mgmt/proto.h"
#include "server/mgmt/verbs.h"
#include "server/mgmt/verbs_internal.h"
#include "server/mgmt/view.h"

/* The protocol has no number for no limit but its largest. */
static uint64_t verb_limit(const struct verb_request *request, const char *name)
{
    uint64_t bytes = verb_number(request, name, UINT64_MAX);
    return bytes < INT64_MAX ? bytes : UINT64_MAX;
}

/* The rule that the request names, with its limits; what is not given is no limit. */
static int verb_quota_rule(struct verb_request *request, struct quota_rule *rule)
{
    static const char *const types[] = {"tree", "user", "group"};
    const char *type = verb_string(request, "type"), *volume = verb_string(request, "volume");
    const char *target = verb_string(request, "target"), *qtree = verb_string(request, "qtree");
    *rule = (struct quota_rule){
        .hard_bytes = verb_limit(request, "hard_bytes"),
        .soft_bytes = verb_limit(request, "soft_bytes"),
        .threshold_bytes = verb_limit(request, "threshold_bytes"),
    };
    size_t i = 0;
    while (i < ARRAY_SIZE(types) && strcmp(types[i], type) != 0)
        i++;
    if (i == ARRAY_SIZE(types))
        return reason_set(&request->why, -EINVAL,
                          "a quota is of type tree, user or group, not \"%.60s\"", type);
    rule->type = (enum quota_type)i;
    if (strlen(volume) > LUN_NAME_MAX || (target && strlen(target) > LUN_NAME_MAX) ||
        (qtree && strlen(qtree) > LUN_NAME_MAX))
        return reason_set(&request->why, -EINVAL, "a name has at most %d bytes", LUN_NAME_MAX);
    snprintf(rule->volume, sizeof(rule->volume), "%s", volume);
    snprintf(rule->target, sizeof(rule->target), "%s", target ? target : "");
    snprintf(rule->qtree, sizeof(rule->qtree), "%s", qtree ? qtree : "");
    return 0;
}

/* Whether two rules are for the same. */
static bool verb_quota_same(const struct quota_rule *a, const struct quota_rule *b)
{
    return a->type == b->type && strcmp(a->volume, b->volume) == 0 &&
           strcmp(a->target, b->target) == 0 && strcmp(a->qtree, b->qtree) == 0;
}

/* The limits of the rule as it is now. -ENOENT. */
static int verb_quota_present(struct verb_request *request, struct quota_rule *rule)
{
    AUTO_FREE struct quota_rule *list = NULL;
    size_t count;
    int r = quota_rule_list(request->pool, rule->volume, &list, &count, &request->why);
    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++)
        if (verb_quota_same(&list[i], rule))
        {
            *rule = list[i];
            return 0;
        }
    return -ENOENT;
}

/* There is @rule; how it is changed. */
static int verb_quota_say_present(struct verb_request *request, const struct quota_rule *rule)
{
    static const char *const kinds[] = {
        [QUOTA_TREE] = "tree", [QUOTA_USER] = "user", [QUOTA_GROUP] = "group"};
    char target[VERB_WORD_MAX];
    return reason_set(&request->why, -EEXIST,
                      "volume '%s' has that quota rule already; 'lunette quota rule modify %s "
                      "--type %s%s%s%s%s --disk-limit SIZE' changes it",
                      rule->volume, rule->volume, kinds[rule->type],
                      rule->target[0] ? " --target " : "",
                      rule->target[0] ? verb_shell_word(rule->target, target) : "",
                      rule->qtree[0] ? " --qtree " : "", rule->qtree);
}

int verb_quota_rule_create(struct verb_request *request)
{
    struct quota_rule rule, present;
    int r = verb_quota_rule(request, &rule);
    if (r < 0)
        return r;
    present = rule;
    r = verb_quota_present(request, &present);
    if (r == 0)
        return verb_quota_say_present(request, &rule);
    return r != -ENOENT || request->why.text[0]
               ? r
               : quota_rule_set(request->pool, &rule, &request->why);
}

int verb_quota_rule_modify(struct verb_request *request)
{
    struct quota_rule rule, changed;
    int r = verb_quota_rule(request, &rule);
    if (r < 0)
        return r;
    changed = rule;
    r = verb_quota_present(request, &changed);
    if (r == -ENOENT && !request->why.text[0])
        return reason_set(&request->why, r,
                          "volume '%s' has no such quota rule; 'lunette quota rule create' makes "
                          "it",
                          rule.volume);
    if (r < 0)
        return r;
    if (verb_has(request, "hard_bytes"))
        changed.hard_bytes = rule.hard_bytes;
    if (verb_has(request, "soft_bytes"))
        changed.soft_bytes = rule.soft_bytes;
    if (verb_has(request, "threshold_bytes"))
        changed.threshold_bytes = rule.threshold_bytes;
    return quota_rule_set(request->pool, &changed, &request->why);
}

int verb_quota_rule_delete(struct verb_request *request)
{
    struct quota_rule rule;
    int r = verb_quota_rule(request, &rule);
    return r < 0 ? r : quota_rule_delete(request->pool, &rule, &request->why);
}

int verb_quota_rule_show(struct verb_request *request)
{
    AUTO_FREE struct quota_rule *list = NULL;
    size_t count;
    int r = quota_rule_list(request->pool, verb_string(request, "volume"), &list, &count,
                            &request->why);
    if (r < 0)
        return r;
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(array, view_quota_rule(&list[i])) != 0)
            r = -ENOMEM;
    request->result = view_listing("rules", array);
    return request->result ? r : -ENOMEM;
}

int verb_quota_enable(struct verb_request *request)
{
    return quota_set_enabled(request->pool, verb_string(request, "volume"),
                             verb_bool(request, "on"), &request->why);
}

int verb_quota_report(struct verb_request *request)
{
    AUTO_FREE struct quota_usage *list = NULL;
    size_t count;
    int r = quota_report(request->pool, verb_string(request, "path"), &list, &count, &request->why);
    if (r < 0)
        return r;
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(array, view_quota_usage(&list[i])) != 0)
            r = -ENOMEM;
    request->result = view_listing("quotas", array);
    return request->result ? r : -ENOMEM;
}
