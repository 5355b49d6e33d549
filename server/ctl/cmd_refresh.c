/* SPDX-License-Identifier: BSD-3-Clause */
/* refresh create, modify, show, run, delete. */
#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/ctl/ctl.h"

static const struct field refresh_fields[] = {
    {"name", "LUN", FIELD_TEXT, false},          {"source", "Source", FIELD_TEXT, false},
    {"schedule", "Schedule", FIELD_TEXT, false}, {"next", "Next", FIELD_TIME, false},
    {"last", "Last", FIELD_TIME, false},         {"result", "Result", FIELD_TEXT, false},
    {"point", "Content of", FIELD_TEXT, false},  {"point_time", "Of when", FIELD_TIME, false},
    {"reason", "Reason", FIELD_TEXT, false},     {"prefix", "Prefix", FIELD_TEXT, true},
    {"undo", "Undo", FIELD_TEXT, true},          {"hook", "Hook", FIELD_TEXT, true},
    {"force", "Force", FIELD_TEXT, true},        {0},
};

static json_t *refresh_args(const struct invocation *in)
{
    json_t *args = json_object(), *names = json_array();
    for (size_t i = 0; i < in->arg_count; i++)
        ignore_error(json_array_append_new(names, json_string(in->args[i])),
                     "the server misses it then, and refuses");
    ctl_put(args, "names", names);
    if (in->command->flags & COMMAND_DRY_RUN && option_flag(in, "dry-run"))
        ctl_put(args, "dry_run", json_true());
    return args;
}

static void refresh_put_settings(const struct invocation *in, json_t *args)
{
    ctl_put_text(args, "source", option_text(in, "from"));
    ctl_put_text(args, "schedule", option_text(in, "schedule"));
    ctl_put_text(args, "prefix", option_text(in, "prefix"));
    ctl_put_text(args, "undo", option_text(in, "undo"));
    ctl_put_text(args, "hook", option_text(in, "hook"));
}

/* "3 LUNs", or the name of one. */
static const char *refresh_whom(const struct invocation *in, char *text, size_t size)
{
    if (in->arg_count == 1)
        return in->args[0];
    snprintf(text, size, "%zu LUNs", in->arg_count);
    return text;
}

enum ctl_exit ctl_refresh_create(struct invocation *in)
{
    char whom[32];
    const char *source = option_text(in, "from"), *schedule = option_text(in, "schedule");
    if (!source || !schedule)
        return ctl_usage(in, "a refresh needs --from SOURCE and --schedule, as daily@02:00");
    json_t *args = refresh_args(in);
    refresh_put_settings(in, args);
    if (option_flag(in, "force"))
        ctl_put(args, "force", json_true());
    return ctl_do(in, "refresh.create", args, "%s %s from %s: %s.",
                  option_flag(in, "dry-run") ? "Would refresh" : "Refreshes",
                  refresh_whom(in, whom, sizeof(whom)), source, schedule);
}

enum ctl_exit ctl_refresh_modify(struct invocation *in)
{
    char whom[32];
    AUTO_JSON json_t *args = refresh_args(in);
    refresh_put_settings(in, args);
    enum ctl_exit status = ctl_put_bool(in, args, "force", "force");
    if (status != CTL_DONE)
        return status;
    size_t nothing = option_flag(in, "dry-run") ? 2 : 1;
    if (json_object_size(args) == nothing)
        return ctl_usage(in, "nothing of the refresh is to be changed");
    return ctl_do(in, "refresh.modify", take_ptr(&args), "%s the refresh of %s.",
                  option_flag(in, "dry-run") ? "Would change" : "Changed",
                  refresh_whom(in, whom, sizeof(whom)));
}

enum ctl_exit ctl_refresh_delete(struct invocation *in)
{
    char whom[32];
    return ctl_do(in, "refresh.delete", refresh_args(in),
                  "%s the refresh of %s; the content stays.",
                  option_flag(in, "dry-run") ? "Would delete" : "Deleted",
                  refresh_whom(in, whom, sizeof(whom)));
}

enum ctl_exit ctl_refresh_show(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    struct table_options options;
    enum ctl_exit status = ctl_table_options(in, refresh_fields, &options);
    if (status == CTL_DONE)
        status = ctl_ask(in, "refresh.show", refresh_args(in), &result);
    return status == CTL_DONE ? ctl_list(in, result, "refreshes", refresh_fields) : status;
}

/* ---- now ----------------------------------------------------------------------------------- */

static const char *refresh_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static size_t refresh_count_failed(const json_t *result)
{
    size_t i, failed = 0;
    json_t *one;
    json_array_foreach(json_object_get(result, "refreshes"), i, one) failed +=
        strcmp(refresh_text(one, "result"), "done") != 0;
    return failed;
}

static void refresh_print(const json_t *result, bool would)
{
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(result, "refreshes"), i, one)
    {
        const char *name = refresh_text(one, "name"), *outcome = refresh_text(one, "result");
        const char *hook = refresh_text(one, "hook");
        if (strcmp(outcome, "done") == 0)
            printf("%s %s into LUN %s%s%s; what it held is%s snapshot %s.\n",
                   would ? "Would put the content of" : "Put the content of",
                   refresh_text(one, "point"), name, *hook ? ", changed by " : "", hook,
                   would ? " then" : "", refresh_text(one, "undo"));
        else if (strcmp(outcome, "never") == 0)
            printf("LUN %s: its refresh was changed meanwhile; nothing was done.\n", name);
        else
            printf("LUN %s %s: %s\n", name, would ? "would stay as it is" : outcome,
                   refresh_text(one, "reason"));
    }
}

static enum ctl_exit refresh_ask(const struct invocation *in, bool dry_run, json_t **result)
{
    json_t *args = refresh_args(in);
    if (dry_run)
        ctl_put(args, "dry_run", json_true());
    return ctl_ask(in, "refresh.run", args, result);
}

enum ctl_exit ctl_refresh_run(struct invocation *in)
{
    AUTO_JSON json_t *plan = NULL;
    AUTO_JSON json_t *result = NULL;
    bool dry_run = option_flag(in, "dry-run"), json = option_flag(in, "json");
    enum ctl_exit status = CTL_DONE;
    if (dry_run || ctl_asks(in))
        status = refresh_ask(in, true, &plan);
    if (plan && json)
        table_print_json(stdout, plan);
    else if (plan)
        refresh_print(plan, true);
    if (status == CTL_DONE && !dry_run)
        status = ctl_confirm(in);
    if (status == CTL_DONE && !dry_run)
        status = refresh_ask(in, false, &result);
    if (status != CTL_DONE || dry_run)
        return status;
    if (json)
        table_print_json(stdout, result);
    else
        refresh_print(result, false);
    return refresh_count_failed(result) == 0
               ? CTL_DONE
               : ctl_conclude(in, "not all LUNs were refreshed", "lunette event show");
}
