/* SPDX-License-Identifier: BSD-3-Clause */
/* quota rule ..., quota report, on, off; explain. */
#include <stdio.h>
#include <string.h>

#include "server/ctl/ctl.h"
#include "server/ctl/hint.h"
#include "server/units.h"

enum
{
    QUOTA_RULE_TEXT_MAX = 1024,
};

static const struct field quota_rule_fields[] = {
    {"volume", "Volume", FIELD_TEXT, false},
    {"type", "Type", FIELD_TEXT, false},
    {"target", "Target", FIELD_TEXT, false},
    {"qtree", "Qtree", FIELD_TEXT, false},
    {"hard_bytes", "Disk Limit", FIELD_BYTES, false},
    {"soft_bytes", "Soft Disk Limit", FIELD_BYTES, false},
    {"threshold_bytes", "Threshold", FIELD_BYTES, false},
    {0},
};

static const struct field quota_report_fields[] = {
    {"volume", "Volume", FIELD_TEXT, false},
    {"type", "Type", FIELD_TEXT, false},
    {"target", "Target", FIELD_TEXT, false},
    {"qtree", "Qtree", FIELD_TEXT, false},
    {"used_bytes", "Disk Used", FIELD_BYTES, false},
    {"hard_bytes", "Disk Limit", FIELD_BYTES, false},
    {"soft_bytes", "Soft Disk Limit", FIELD_BYTES, false},
    {"threshold_bytes", "Threshold", FIELD_BYTES, false},
    {"luns", "LUNs", FIELD_COUNT, false},
    {"state", "State", FIELD_TEXT, false},
    {"default_rule", "By a default rule", FIELD_TEXT, true},
    {0},
};

/* An option that is a size, or "none". */
static enum ctl_exit quota_put_limit(const struct invocation *in, json_t *args, const char *key,
                                     const char *option)
{
    uint64_t bytes = INT64_MAX;
    const char *text = option_text(in, option);
    if (!text)
        return CTL_DONE;
    enum ctl_exit status =
        strcmp(text, "none") == 0 ? CTL_DONE : ctl_size(in, text, UINT64_MAX, &bytes);
    if (status == CTL_DONE)
        ctl_put(args, key, proto_json_uint(bytes));
    return status;
}

/* VOLUME and the options that say which rule. */
static json_t *quota_rule_args(const struct invocation *in)
{
    json_t *args = json_object();
    ctl_put_text(args, "volume", in->args[0]);
    ctl_put_text(args, "type", option_text(in, "type") ? option_text(in, "type") : "tree");
    ctl_put_text(args, "target", option_text(in, "target"));
    ctl_put_text(args, "qtree", option_text(in, "qtree"));
    return args;
}

/* "quota rule of user ana in volume db": what the options name. */
static const char *quota_rule_text(const struct invocation *in, char text[QUOTA_RULE_TEXT_MAX])
{
    const char *type = option_text(in, "type") ? option_text(in, "type") : "tree";
    const char *target = option_text(in, "target"), *qtree = option_text(in, "qtree");
    bool is_for_all = !target || *target == '\0' || strcmp(target, "*") == 0;
    if (strcmp(type, "tree") == 0 && is_for_all)
        snprintf(text, QUOTA_RULE_TEXT_MAX, "quota rule of %s of volume %s",
                 target && *target ? "each qtree" : "all", in->args[0]);
    else if (strcmp(type, "tree") == 0)
        snprintf(text, QUOTA_RULE_TEXT_MAX, "quota rule of qtree %s/%s", in->args[0], target);
    else
        snprintf(text, QUOTA_RULE_TEXT_MAX, "quota rule of %s %s in %s %s%s%s",
                 is_for_all ? "each" : type, is_for_all ? type : target, qtree ? "qtree" : "volume",
                 in->args[0], qtree ? "/" : "", qtree ? qtree : "");
    return text;
}

/* Whether @usage, of a report, is under @rule, or one of those that a default rule is for. */
static bool quota_is_under(const json_t *usage, const json_t *rule)
{
    const char *target = json_string_value(json_object_get(rule, "target"));
    const char *qtree = json_string_value(json_object_get(rule, "qtree"));
    const char *of = json_string_value(json_object_get(usage, "target"));
    const char *in_qtree = json_string_value(json_object_get(usage, "qtree"));
    bool is_default = json_is_true(json_object_get(usage, "default_rule"));
    if (!json_equal(json_object_get(usage, "type"), json_object_get(rule, "type")) ||
        strcmp(in_qtree ? in_qtree : "", qtree ? qtree : "") != 0)
        return false;
    return target && strcmp(target, "*") == 0
               ? is_default
               : !is_default && strcmp(of ? of : "", target ? target : "") == 0;
}

/* What is over the limit already: nothing takes it away, so whoever lowers a limit is told. */
static void quota_warn(const json_t *usages, const json_t *rule)
{
    size_t i;
    json_t *usage;
    char used[UNITS_TEXT_MAX], limit[UNITS_TEXT_MAX];
    json_array_foreach(usages, i, usage)
    {
        const json_t *hard = json_object_get(usage, "hard_bytes");
        if (!quota_is_under(usage, rule) || !json_is_integer(hard) ||
            ctl_get(usage, "used_bytes") <= ctl_get(usage, "hard_bytes"))
            continue;
        const char *target = json_string_value(json_object_get(usage, "target"));
        ctl_note("warning: %s %s uses %s already, more than %s; what is there stays, and nothing "
                 "can be added",
                 target && *target ? json_string_value(json_object_get(usage, "type"))
                                   : "the volume",
                 target && *target ? target : json_string_value(json_object_get(usage, "volume")),
                 units_format_bytes(ctl_get(usage, "used_bytes"), 'h', used),
                 units_format_bytes(ctl_get(usage, "hard_bytes"), 'h', limit));
    }
}

/* After a rule was made or changed: whether it is enforced, and what it finds. */
static enum ctl_exit quota_conclude(const struct invocation *in, const char *did,
                                    const json_t *rule, const json_t *result)
{
    AUTO_JSON json_t *report = NULL;
    char text[QUOTA_RULE_TEXT_MAX];
    enum ctl_exit status =
        ctl_ask(in, "quota.report", json_pack("{s:s}", "path", in->args[0]), &report);
    if (status != CTL_DONE)
        return status;
    const json_t *usages = json_object_get(report, "quotas");
    const char *state = json_string_value(json_object_get(json_array_get(usages, 0), "state"));
    if (option_flag(in, "json"))
        table_print_json(stdout, result);
    else if (state && strcmp(state, "off") != 0)
        printf("%s the %s. It is enforced: quotas of volume %s are on.\n", did,
               quota_rule_text(in, text), in->args[0]);
    else
        hint_printf(stdout, "%s the %s. 'lunette quota on %s' enforces it.\n", did,
                    quota_rule_text(in, text), in->args[0]);
    quota_warn(usages, rule);
    return CTL_DONE;
}

static enum ctl_exit quota_rule_do(const struct invocation *in, const char *verb, const char *did)
{
    AUTO_JSON json_t *args = quota_rule_args(in);
    enum ctl_exit status = quota_put_limit(in, args, "hard_bytes", "disk-limit");
    if (status == CTL_DONE)
        status = quota_put_limit(in, args, "soft_bytes", "soft-disk-limit");
    if (status == CTL_DONE)
        status = quota_put_limit(in, args, "threshold_bytes", "threshold");
    if (status != CTL_DONE)
        return status;
    AUTO_JSON json_t *rule = json_deep_copy(args);
    AUTO_JSON json_t *result = NULL;
    status = ctl_ask(in, verb, take_ptr(&args), &result);
    return status == CTL_DONE ? quota_conclude(in, did, rule, result) : status;
}

enum ctl_exit ctl_quota_rule_create(struct invocation *in)
{
    return quota_rule_do(in, "quota.rule.create", "Created");
}

enum ctl_exit ctl_quota_rule_modify(struct invocation *in)
{
    return quota_rule_do(in, "quota.rule.modify", "Changed");
}

enum ctl_exit ctl_quota_rule_delete(struct invocation *in)
{
    json_t *args = quota_rule_args(in);
    if (option_flag(in, "dry-run"))
        ctl_put(args, "dry_run", json_true());
    char rule[QUOTA_RULE_TEXT_MAX];
    return ctl_do(in, "quota.rule.delete", args, "%s the %s.",
                  option_flag(in, "dry-run") ? "Would delete" : "Deleted",
                  quota_rule_text(in, rule));
}

enum ctl_exit ctl_quota_rule_show(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    struct table_options options;
    enum ctl_exit status = ctl_table_options(in, quota_rule_fields, &options);
    if (status != CTL_DONE)
        return status;
    json_t *args = json_object();
    if (in->arg_count > 0)
        ctl_put_text(args, "volume", in->args[0]);
    status = ctl_ask(in, "quota.rule.show", args, &result);
    return status == CTL_DONE ? ctl_list(in, result, "rules", quota_rule_fields) : status;
}

static enum ctl_exit quota_enable(const struct invocation *in, bool on)
{
    json_t *args = json_object();
    ctl_put_text(args, "volume", in->args[0]);
    ctl_put(args, "on", json_boolean(on));
    return ctl_do(in, "quota.enable", args, "Quotas of volume %s are %s.", in->args[0],
                  on ? "on" : "off");
}

enum ctl_exit ctl_quota_on(struct invocation *in)
{
    return quota_enable(in, true);
}

enum ctl_exit ctl_quota_off(struct invocation *in)
{
    return quota_enable(in, false);
}

enum ctl_exit ctl_quota_report(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    struct table_options options;
    enum ctl_exit status = ctl_table_options(in, quota_report_fields, &options);
    if (status != CTL_DONE)
        return status;
    json_t *args = json_object();
    if (in->arg_count > 0)
        ctl_put_text(args, "path", in->args[0]);
    status = ctl_ask(in, "quota.report", args, &result);
    return status == CTL_DONE ? ctl_list(in, result, "quotas", quota_report_fields) : status;
}

/* ---- explain ------------------------------------------------------------------------------- */

static enum ctl_exit explain(const struct invocation *in, const char *verb, json_t *args)
{
    AUTO_JSON json_t *result = NULL;
    size_t i;
    json_t *line;
    enum ctl_exit status = ctl_ask(in, verb, args, &result);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "json"))
    {
        table_print_json(stdout, result);
        return CTL_DONE;
    }
    json_array_foreach(json_object_get(result, "lines"), i, line)
    {
        hint_print(stdout, json_string_value(line));
        fputc('\n', stdout);
    }
    json_array_foreach(json_object_get(result, "try"), i, line)
    {
        fputs(i == 0 ? "try: " : "     ", stdout);
        hint_print(stdout, json_string_value(line));
        fputc('\n', stdout);
    }
    return CTL_DONE;
}

/* @key names the argument of the verb that the command's first one is. */
static enum ctl_exit explain_wanted(const struct invocation *in, const char *verb, const char *key)
{
    const char *wanted = option_text(in, "wanted");
    uint64_t wanted_bytes = 0;
    enum ctl_exit status = wanted ? ctl_size(in, wanted, UINT64_MAX, &wanted_bytes) : CTL_DONE;
    if (status != CTL_DONE)
        return status;
    json_t *args = json_object();
    if (in->arg_count > 0)
        ctl_put_text(args, key, in->args[0]);
    if (wanted)
        ctl_put(args, "wanted_bytes", proto_json_uint(wanted_bytes));
    return explain(in, verb, args);
}

enum ctl_exit ctl_explain_space(struct invocation *in)
{
    return explain_wanted(in, "explain.space", "name");
}

enum ctl_exit ctl_explain_quota(struct invocation *in)
{
    return explain_wanted(in, "explain.quota", "path");
}
