/* SPDX-License-Identifier: BSD-3-Clause */
/* What the server does by itself: pool modify; autodelete; snapshot policy ... */
#include <stdio.h>
#include <string.h>

#include "server/ctl/ctl.h"
#include "server/units.h"

static const struct field pool_setting_fields[] = {
    {"name", "Pool", FIELD_TEXT, false},
    {"thresholds", "Thresholds (percent used)", FIELD_TEXT, false},
    {"autogrow_step_bytes", "Grows by (0: not)", FIELD_BYTES, false},
    {"autogrow_max_bytes", "Grows to (0: no end)", FIELD_BYTES, false},
    {"autogrow_threshold", "Grows at (percent used)", FIELD_COUNT, false},
    {"lease_warning_s", "Leases: warning (seconds before)", FIELD_COUNT, false},
    {"lease_force", "Leases: also LUNs in use", FIELD_TEXT, false},
    {"lease_snapshots", "Leases: snapshots that go too", FIELD_TEXT, false},
    {0},
};

static const struct field autodelete_fields[] = {
    {"of", "Of", FIELD_TEXT, false},
    {"name", "Name", FIELD_TEXT, false},
    {"enabled", "Enabled", FIELD_TEXT, false},
    {"trigger", "Trigger", FIELD_TEXT, false},
    {"trigger_free_space", "Trigger free space (%)", FIELD_COUNT, false},
    {"target_free_space", "Target free space (%)", FIELD_COUNT, false},
    {"delete_order", "Delete order", FIELD_TEXT, false},
    {"commitment", "Commitment", FIELD_TEXT, false},
    {"defer_delete", "Defer delete", FIELD_TEXT, false},
    {0},
};

static const struct field snapshot_policy_fields[] = {
    {"name", "Policy", FIELD_TEXT, false},
    {"schedule", "Schedule", FIELD_TEXT, false},
    {"prefix", "Prefix", FIELD_TEXT, false},
    {"quiesce", "Quiesce", FIELD_TEXT, false},
    {"comment", "Comment", FIELD_TEXT, false},
    {"quiesce_timeout_ms", "Quiesce timeout (ms)", FIELD_COUNT, true},
    {"quiesce_required", "Quiesce required", FIELD_TEXT, true},
    {0},
};

static void policy_put_dry_run(const struct invocation *in, json_t *args)
{
    if (option_flag(in, "dry-run"))
        ctl_put(args, "dry_run", json_true());
}

static json_t *policy_name_args(const json_t *args)
{
    json_t *name = json_object_get(args, "name");
    return name ? json_pack("{s:O}", "name", name) : json_object();
}

/* A dry run: each of @args beside what it is now, as @show answers. */
static enum ctl_exit policy_plan(const struct invocation *in, const char *verb, const char *show,
                                 json_t *args, const struct field *fields)
{
    AUTO_JSON json_t *wanted = args;
    AUTO_JSON json_t *now = NULL;
    AUTO_JSON json_t *result = NULL;
    json_t *changes = json_object();
    AUTO_JSON json_t *plan = json_pack("{s:o, s:b}", "changes", changes, "dry_run", 1);
    bool json = option_flag(in, "json");
    enum ctl_exit status = ctl_ask(in, show, policy_name_args(wanted), &now);
    if (status == CTL_DONE)
        status = ctl_ask(in, verb, json_incref(wanted), &result);
    if (status != CTL_DONE)
        return status;
    if (json_object_update(plan, now) < 0 || json_object_update(plan, wanted) < 0)
        return ctl_no_memory(in);
    if (!json)
        printf("Would change %s; nothing was changed.\n",
               json_string_value(json_object_get(now, "name")));
    for (const struct field *field = fields; field->key; field++)
    {
        json_t *was = json_object_get(now, field->key), *is = json_object_get(wanted, field->key);
        if (!is || strcmp(field->key, "name") == 0)
            continue;
        AUTO_FREE char *before = table_format(now, field, 'h');
        AUTO_FREE char *after = table_format(wanted, field, 'h');
        ctl_put(changes, field->key,
                json_pack("{s:O, s:O}", "before", was ? was : json_null(), "after", is));
        if (!json && before && after)
            printf("%s: %s -> %s\n", field->title, before, after);
    }
    if (json)
        table_print_json(stdout, plan);
    return CTL_DONE;
}

/* Asks, and shows the object it answers. */
static enum ctl_exit policy_show(const struct invocation *in, const char *verb, json_t *args,
                                 const struct field *fields)
{
    AUTO_JSON json_t *result = NULL;
    struct reason why;
    const struct table_options options = {.unit = 'h', .json = option_flag(in, "json")};
    enum ctl_exit status = ctl_ask(in, verb, args, &result);
    if (status == CTL_DONE && table_print_object(stdout, result, fields, &options, &why) < 0)
        return ctl_no_memory(in);
    return status;
}

/* A duration, or "none". */
static enum ctl_exit policy_put_seconds(const struct invocation *in, json_t *args, const char *key,
                                        const char *option)
{
    uint64_t ms = 0;
    const char *text = option_text(in, option);
    if (!text)
        return CTL_DONE;
    enum ctl_exit status = strcmp(text, "none") == 0 ? CTL_DONE : ctl_duration(in, option, &ms);
    if (status == CTL_DONE)
        ctl_put(args, key, proto_json_uint(ms / 1000));
    return status;
}

/* "20" or "20%". */
static enum ctl_exit policy_put_percent(const struct invocation *in, json_t *args, const char *key,
                                        const char *option)
{
    struct reason why;
    char text[16], said[sizeof(why.text) + 64];
    uint64_t percent;
    const char *given = option_text(in, option);
    if (!given)
        return CTL_DONE;
    size_t len = strlen(given);
    snprintf(text, sizeof(text), "%.*s", (int)(len > 0 && given[len - 1] == '%' ? len - 1 : len),
             given);
    if (units_parse_number(text, 1, 99, &percent, &why) < 0)
    {
        snprintf(said, sizeof(said), "--%s: %s", option, why.text);
        return ctl_usage(in, said);
    }
    ctl_put(args, key, proto_json_uint(percent));
    return CTL_DONE;
}

/* A size, or "none". */
static enum ctl_exit policy_put_size(const struct invocation *in, json_t *args, const char *key,
                                     const char *option)
{
    uint64_t bytes = 0;
    const char *text = option_text(in, option);
    if (!text)
        return CTL_DONE;
    enum ctl_exit status =
        strcmp(text, "none") == 0 ? CTL_DONE : ctl_size(in, text, UINT64_MAX, &bytes);
    if (status == CTL_DONE)
        ctl_put(args, key, proto_json_uint(bytes));
    return status;
}

enum ctl_exit ctl_pool_modify(struct invocation *in)
{
    AUTO_JSON json_t *args = json_object();
    ctl_put_text(args, "thresholds", option_text(in, "threshold"));
    ctl_put_text(args, "lease_snapshots", option_text(in, "lease-snapshots"));
    enum ctl_exit status = ctl_put_bool(in, args, "lease_force", "lease-force");
    if (status == CTL_DONE)
        status = policy_put_seconds(in, args, "lease_warning_s", "lease-warning");
    if (status == CTL_DONE)
        status = policy_put_size(in, args, "autogrow_step_bytes", "autogrow-step");
    if (status == CTL_DONE)
        status = policy_put_size(in, args, "autogrow_max_bytes", "autogrow-max");
    if (status == CTL_DONE)
        status = policy_put_percent(in, args, "autogrow_threshold", "autogrow-threshold");
    if (status != CTL_DONE)
        return status;
    bool changes = json_object_size(args) > 0;
    if (changes)
        policy_put_dry_run(in, args);
    if (changes && option_flag(in, "dry-run"))
        return policy_plan(in, "pool.modify", "pool.settings.show", take_ptr(&args),
                           pool_setting_fields);
    return policy_show(in, changes ? "pool.modify" : "pool.settings.show", take_ptr(&args),
                       pool_setting_fields);
}

/* ---- snapshot policies --------------------------------------------------------------------- */

enum ctl_exit ctl_put_quiesce(const struct invocation *in, json_t *args)
{
    uint64_t ms = 0;
    enum ctl_exit status = ctl_duration(in, "quiesce-timeout", &ms);
    if (status != CTL_DONE)
        return status;
    if (option_text(in, "quiesce-timeout"))
        ctl_put(args, "quiesce_timeout_ms", proto_json_uint(ms));
    ctl_put_text(args, "quiesce", option_text(in, "quiesce"));
    return CTL_DONE;
}

static enum ctl_exit snapshot_policy_put(const struct invocation *in, const char *verb,
                                         const char *said)
{
    AUTO_JSON json_t *args = json_object();
    ctl_put_text(args, "name", in->args[0]);
    ctl_put_text(args, "schedule", option_text(in, "schedule"));
    ctl_put_text(args, "prefix", option_text(in, "prefix"));
    ctl_put_text(args, "comment", option_text(in, "comment"));
    enum ctl_exit status = ctl_put_quiesce(in, args);
    if (status == CTL_DONE)
        status = ctl_put_bool(in, args, "quiesce_required", "quiesce-required");
    if (status == CTL_DONE && json_object_size(args) == 1)
        status = ctl_usage(in, "nothing of the snapshot policy is to be changed");
    if (status != CTL_DONE)
        return status;
    policy_put_dry_run(in, args);
    AUTO_JSON json_t *result = NULL;
    status = ctl_ask(in, verb, take_ptr(&args), &result);
    if (status == CTL_DONE && option_flag(in, "json"))
        table_print_json(stdout, result);
    else if (status == CTL_DONE)
        printf("%s snapshot policy %s: %s%s.\n", said, in->args[0],
               json_string_value(json_object_get(result, "schedule")),
               option_flag(in, "dry-run") ? "; nothing was changed" : "");
    return status;
}

enum ctl_exit ctl_snapshot_policy_create(struct invocation *in)
{
    if (!option_text(in, "schedule"))
        return ctl_usage(in, "a snapshot policy needs --schedule, as hourly:24,daily:7,weekly:4");
    return snapshot_policy_put(in, "snapshot.policy.create",
                               option_flag(in, "dry-run") ? "Would create" : "Created");
}

enum ctl_exit ctl_snapshot_policy_modify(struct invocation *in)
{
    return snapshot_policy_put(in, "snapshot.policy.modify",
                               option_flag(in, "dry-run") ? "Would change" : "Changed");
}

enum ctl_exit ctl_snapshot_policy_delete(struct invocation *in)
{
    json_t *args = json_object();
    ctl_put_text(args, "name", in->args[0]);
    policy_put_dry_run(in, args);
    return ctl_do(in, "snapshot.policy.delete", args,
                  "%s snapshot policy %s; the snapshots it made stay.",
                  option_flag(in, "dry-run") ? "Would delete" : "Deleted", in->args[0]);
}

enum ctl_exit ctl_snapshot_policy_show(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    struct table_options options;
    enum ctl_exit status = ctl_table_options(in, snapshot_policy_fields, &options);
    if (status != CTL_DONE)
        return status;
    json_t *args = json_object();
    if (in->arg_count > 0)
        ctl_put_text(args, "name", in->args[0]);
    status = ctl_ask(in, "snapshot.policy.show", args, &result);
    return status == CTL_DONE ? ctl_list(in, result, "policies", snapshot_policy_fields) : status;
}

/* ---- autodelete ---------------------------------------------------------------------------- */

static enum ctl_exit autodelete_ask(const struct invocation *in, const char *verb, json_t *args)
{
    if (in->arg_count > 0)
        ctl_put_text(args, "name", in->args[0]);
    return policy_show(in, verb, args, autodelete_fields);
}

static enum ctl_exit ctl_autodelete_modify(const struct invocation *in)
{
    AUTO_JSON json_t *args = json_object();
    enum ctl_exit status = ctl_put_bool(in, args, "enabled", "enabled");
    if (status == CTL_DONE)
        status = policy_put_percent(in, args, "trigger_free_space", "trigger-free-space");
    if (status == CTL_DONE)
        status = policy_put_percent(in, args, "target_free_space", "target-free-space");
    if (status != CTL_DONE)
        return status;
    ctl_put_text(args, "trigger", option_text(in, "trigger"));
    ctl_put_text(args, "delete_order", option_text(in, "delete-order"));
    ctl_put_text(args, "commitment", option_text(in, "commitment"));
    ctl_put_text(args, "defer_delete", option_text(in, "defer-delete"));
    policy_put_dry_run(in, args);
    if (!option_flag(in, "dry-run"))
        return autodelete_ask(in, "autodelete.modify", take_ptr(&args));
    if (in->arg_count > 0)
        ctl_put_text(args, "name", in->args[0]);
    return policy_plan(in, "autodelete.modify", "autodelete.show", take_ptr(&args),
                       autodelete_fields);
}

enum ctl_exit ctl_volume_autodelete_modify(struct invocation *in)
{
    return ctl_autodelete_modify(in);
}

enum ctl_exit ctl_pool_autodelete_modify(struct invocation *in)
{
    return ctl_autodelete_modify(in);
}

enum ctl_exit ctl_volume_autodelete_show(struct invocation *in)
{
    return autodelete_ask(in, "autodelete.show", json_object());
}

enum ctl_exit ctl_pool_autodelete_show(struct invocation *in)
{
    return autodelete_ask(in, "autodelete.show", json_object());
}
