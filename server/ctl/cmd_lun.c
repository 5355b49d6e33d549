/* SPDX-License-Identifier: BSD-3-Clause */
/* lun create, show, clone, resize, rename, delete, comment; freed. */
#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/ctl/ctl.h"
#include "server/units.h"

static const struct field lun_fields[] = {
    {"name", "Name", FIELD_TEXT, false},
    {"size_bytes", "Size", FIELD_BYTES, false},
    {"mapped_bytes", "Mapped", FIELD_BYTES, false},
    {"own_bytes", "Own", FIELD_BYTES, false},
    {"shared_bytes", "Shared", FIELD_BYTES, false},
    {"snapshot_bytes", "Snapshots", FIELD_BYTES, false},
    {"open", "Open", FIELD_COUNT, false},
    {"origin", "Cloned from", FIELD_TEXT, false},
    {"comment", "Comment", FIELD_TEXT, true},
    {"logical_bytes", "Logical", FIELD_BYTES, true},
    {"available_bytes", "Available", FIELD_BYTES, true},
    {"reserved", "Reserved", FIELD_TEXT, true},
    {"needed_bytes", "Still needed of the pool", FIELD_BYTES, true},
    {"importing", "Importing", FIELD_TEXT, true},
    {"autodelete", "Autodelete", FIELD_TEXT, true},
    {"expire", "Expires", FIELD_TIME, true},
    {"locked_until", "Locked until", FIELD_TIME, true},
    {"thresholds", "Thresholds", FIELD_TEXT, true},
    {"snapshot_policy", "Snapshot policy", FIELD_TEXT, true},
    {"qos", "QoS class", FIELD_TEXT, true},
    {"owner", "Owner", FIELD_TEXT, true},
    {"group", "Group", FIELD_TEXT, true},
    {"kind", "Kind", FIELD_TEXT, true},
    {"snapshots", "Snapshot count", FIELD_COUNT, true},
    {"sector_bytes", "Sector", FIELD_BYTES, true},
    {"created", "Created", FIELD_TIME, true},
    {"serial", "Serial", FIELD_TEXT, true},
    {"uuid", "UUID", FIELD_TEXT, true},
    {"id", "Id", FIELD_COUNT, true},
    {"lun_id", "LUN id", FIELD_COUNT, true},
    {"line", "Line", FIELD_COUNT, true},
    {"generation", "Generation", FIELD_COUNT, true},
    {0},
};

static const char *lun_would(const struct invocation *in, const char *would, const char *did)
{
    return option_flag(in, "dry-run") ? would : did;
}

static void lun_put_dry_run(const struct invocation *in, json_t *args)
{
    if (option_flag(in, "dry-run"))
        ctl_put(args, "dry_run", json_true());
}

/* ---- create -------------------------------------------------------------------------------- */

enum ctl_exit ctl_lun_create(struct invocation *in)
{
    enum ctl_exit status;
    uint64_t size_bytes = 0, sector_bytes;
    char text[UNITS_TEXT_MAX], available[UNITS_TEXT_MAX];
    const char *size = ctl_arg_or_option(in, 1, "size", &status);
    if (status == CTL_DONE)
        status = ctl_size(in, size, UINT64_MAX, &size_bytes);
    if (status == CTL_DONE)
        status = ctl_sector(in, &sector_bytes);
    if (status != CTL_DONE)
        return status;
    AUTO_JSON json_t *result = NULL;
    json_t *args = json_object();
    ctl_put_text(args, "name", in->args[0]);
    ctl_put(args, "size_bytes", proto_json_uint(size_bytes));
    ctl_put(args, "sector_bytes", proto_json_uint(sector_bytes));
    ctl_put_text(args, "comment", option_text(in, "comment"));
    lun_put_dry_run(in, args);
    status = ctl_put_attributes(in, args);
    if (status == CTL_DONE)
        status = ctl_ask(in, "lun.create", json_incref(args), &result);
    json_decref(args);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "json"))
        table_print_json(stdout, result);
    else if (json_is_true(json_object_get(result, "reserved")))
    {
        printf("%s LUN %s of %s; that space is reserved for it (%s available to others%s).\n",
               lun_would(in, "Would create", "Created"), in->args[0],
               units_format_bytes(size_bytes, 'h', text),
               units_format_bytes(ctl_get(result, "available_bytes"), 'h', available),
               lun_would(in, " now", ""));
        ctl_print_promised(in, result);
    }
    else
        printf("%s LUN %s of %s; it takes no space until it is written (%s available).\n",
               lun_would(in, "Would create", "Created"), in->args[0],
               units_format_bytes(size_bytes, 'h', text),
               units_format_bytes(ctl_get(result, "available_bytes"), 'h', available));
    return CTL_DONE;
}

/* ---- show ---------------------------------------------------------------------------------- */

static bool lun_is_wanted(const struct invocation *in, const char *name)
{
    for (size_t i = 0; i < in->arg_count; i++)
    {
        const char *wanted = in->args[i];
        wanted += strncmp(wanted, "/vol/", 5) == 0 ? 5 : 0;
        if (fnmatch(wanted, name, 0) == 0)
            return true;
        /* A LUN's snapshots go with it. */
        size_t len = strlen(wanted);
        if (strncmp(name, wanted, len) == 0 && name[len] == '@')
            return true;
    }
    return in->arg_count == 0;
}

/* Leaves of result["luns"] what the arguments name. */
static void lun_filter(const struct invocation *in, json_t *result)
{
    json_t *luns = json_object_get(result, "luns");
    json_t *wanted = json_array();
    size_t i;
    json_t *lun;
    json_array_foreach(luns, i, lun)
    {
        const char *name = json_string_value(json_object_get(lun, "name"));
        if (name && lun_is_wanted(in, name) && json_array_append(wanted, lun) != 0)
            break;
    }
    ctl_put(result, "count", proto_json_uint(json_array_size(wanted)));
    ctl_put(result, "luns", wanted);
}

/* Below the table, which has no column for what hardly ever is. */
static void lun_print_not_whole(const json_t *luns)
{
    size_t i;
    const json_t *lun;
    json_array_foreach(luns, i, lun)
    {
        if (json_is_true(json_object_get(lun, "importing")))
            printf("%s is not whole: an import is filling it, or was interrupted.\n",
                   json_string_value(json_object_get(lun, "name")));
    }
}

enum ctl_exit ctl_check_whole(const struct invocation *in, const json_t *shown)
{
    char text[2 * LUN_NAME_MAX + 128];
    const json_t *lun = json_array_get(json_object_get(shown, "luns"), 0);
    if (!json_is_true(json_object_get(lun, "importing")))
        return CTL_DONE;
    snprintf(text, sizeof(text), "%.*s is not whole: an import is filling it, or was interrupted",
             2 * LUN_NAME_MAX, json_string_value(json_object_get(lun, "name")));
    return ctl_fail(in, -EBUSY, text, "lunette lun import --help");
}

enum ctl_exit ctl_lun_show(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    struct table_options options;
    bool is_one = in->arg_count == 1 && !strpbrk(in->args[0], "*?[");
    enum ctl_exit status = ctl_table_options(in, lun_fields, &options);
    if (status != CTL_DONE)
        return status;
    json_t *args = json_object();
    ctl_put(args, "snapshots", json_boolean(option_flag(in, "snapshots")));
    if (is_one)
        ctl_put_text(args, "name", in->args[0]);
    status = ctl_ask(in, "lun.show", args, &result);
    if (status != CTL_DONE)
        return status;
    if (!is_one)
        lun_filter(in, result);
    status = ctl_list(in, result, "luns", lun_fields);
    if (status == CTL_DONE && !options.json && !options.fields)
        lun_print_not_whole(json_object_get(result, "luns"));
    return status;
}

/* ---- clone --------------------------------------------------------------------------------- */

/* SOURCE and NAME, given in one of the ways there are. */
static enum ctl_exit lun_clone_names(const struct invocation *in, const char **source,
                                     const char **name)
{
    enum ctl_exit status;
    *source = ctl_arg_or_option(in, 0, "source-path", &status);
    if (status != CTL_DONE)
        return status;
    *name = option_text(in, "name");
    if (*name && (in->arg_count > 1 || option_text(in, "destination-path")))
        return ctl_usage(in, "the clone's name is given twice");
    if (!*name)
        *name = ctl_arg_or_option(in, 1, "destination-path", &status);
    return status;
}

/* Of several, by a template that the server took. */
static void lun_print_clone_names(const struct invocation *in, const json_t *result)
{
    char first[LUN_NAME_MAX + 1], last[LUN_NAME_MAX + 1];
    const char *name = json_string_value(json_object_get(result, "name"));
    uint64_t count = ctl_get(result, "count"), from = ctl_get(result, "first_number");
    printf("%s %s %" PRIu64 " times, as ", lun_would(in, "Would clone", "Cloned"),
           json_string_value(json_object_get(result, "source")), count);
    if (lun_clone_name(name, (uint32_t)from, first, sizeof(first), NULL) == 0 &&
        lun_clone_name(name, (uint32_t)(from + count - 1), last, sizeof(last), NULL) == 0)
        printf("%s to %s.\n", first, last);
    else
        printf("%s.\n", name);
}

static void lun_print_clone(const struct invocation *in, const json_t *result)
{
    const char *source = json_string_value(json_object_get(result, "source"));
    const char *name = json_string_value(json_object_get(result, "name"));
    uint64_t count = ctl_get(result, "count");
    char size[UNITS_TEXT_MAX], shared[UNITS_TEXT_MAX];
    if (count == 1)
        printf("%s %s to %s.\n", lun_would(in, "Would clone", "Cloned"), source, name);
    else
        lun_print_clone_names(in, result);
    if (option_flag(in, "dry-run"))
        printf("Each has %s, of which %s is shared; no data is copied.\n",
               units_format_bytes(ctl_get(result, "size_bytes"), 'h', size),
               units_format_bytes(ctl_get(result, "shared_bytes"), 'h', shared));
    ctl_print_promised(in, result);
    if (option_flag(in, "dry-run") && option_text(in, "igroup"))
        printf("Would map %s to igroup %s.\n", count == 1 ? "it" : "each",
               option_text(in, "igroup"));
    ctl_print_mappings(result);
}

/* @source with --from-snapshot, in *text, which is to be freed. */
static enum ctl_exit lun_clone_snapshot(const struct invocation *in, const char **source,
                                        char **text)
{
    const char *snapshot = option_text(in, "from-snapshot");
    if (!snapshot)
        return CTL_DONE;
    if (strchr(*source, '@'))
        return ctl_usage(in, "the source's snapshot is given twice");
    if (asprintf(text, "%s@%s", *source, snapshot) < 0)
    {
        *text = NULL;
        return ctl_no_memory(in);
    }
    *source = *text;
    return CTL_DONE;
}

enum ctl_exit ctl_lun_clone(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    AUTO_FREE char *text = NULL;
    const char *source, *name = NULL;
    uint64_t count = 1, first = 0;
    bool is_there = false;
    enum ctl_exit status = lun_clone_names(in, &source, &name);
    if (status == CTL_DONE)
        status = lun_clone_snapshot(in, &source, &text);
    bool overwrites = status == CTL_DONE && option_flag(in, "overwrite-destination");
    if (overwrites && option_flag(in, "force") && !option_flag(in, "range"))
        return ctl_usage(in, "--force is for --range; 'lunette lun redeploy --force' puts content "
                             "into a LUN that is open");
    if (overwrites)
        status = ctl_lun_overwrite(in, source, name, &is_there);
    if (is_there)
        return status;
    if (status == CTL_DONE && option_flag(in, "range"))
        return ctl_lun_clone_range(in, source, name);
    if (status == CTL_DONE && option_flag(in, "force"))
        return ctl_usage(in, "--force is for --range: a clone disturbs nobody");
    if (status == CTL_DONE && option_flag(in, "if-not-exists") && option_flag(in, "count"))
        return ctl_usage(in, "--if-not-exists is for one clone, not for --count");
    if (status == CTL_DONE)
        status = ctl_number(in, "count", 1, LUN_CLONES_AT_ONCE_MAX, &count);
    if (status == CTL_DONE)
        status = ctl_number(in, "first", 0, INT32_MAX, &first);
    if (status != CTL_DONE)
        return status;
    if (option_text(in, "count") && !strchr(name, '%'))
        return ctl_usage(in, "--count needs a name with %d or %05d for the number, as in "
                             "--name 'vm-%05d'");
    if (!option_text(in, "count") && strchr(name, '%'))
        return ctl_usage(in, "a name with % needs --count");
    json_t *args = json_object();
    ctl_put_text(args, "source", source);
    ctl_put_text(args, "name", name);
    ctl_put_text(args, "comment", option_text(in, "comment"));
    status = ctl_put_clone_attributes(in, args, "group");
    if (option_text(in, "count"))
    {
        ctl_put(args, "count", proto_json_uint(count));
        ctl_put(args, "first_number", proto_json_uint(first));
    }
    lun_put_dry_run(in, args);
    if (status == CTL_DONE)
        status = ctl_ask(in, "lun.clone", json_incref(args), &result);
    json_decref(args);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "json"))
        table_print_json(stdout, result);
    else
        lun_print_clone(in, result);
    return CTL_DONE;
}

/* ---- resize -------------------------------------------------------------------------------- */

static json_t *lun_resize_args(const struct invocation *in, uint64_t size_bytes, bool dry_run)
{
    json_t *args = json_object();
    ctl_put_text(args, "name", in->args[0]);
    ctl_put(args, "size_bytes", proto_json_uint(size_bytes));
    ctl_put(args, "force", json_boolean(option_flag(in, "force")));
    ctl_put(args, "dry_run", json_boolean(dry_run));
    return args;
}

static void lun_print_resize(const struct invocation *in, const json_t *result, bool dry_run)
{
    char before[UNITS_TEXT_MAX], after[UNITS_TEXT_MAX], cut[UNITS_TEXT_MAX];
    uint64_t old_bytes = ctl_get(result, "old_size_bytes"),
             new_bytes = ctl_get(result, "size_bytes");
    printf("%s LUN %s from %s to %s.\n", dry_run ? "Would resize" : "Resized",
           json_string_value(json_object_get(result, "name")),
           units_format_bytes(old_bytes, 'h', before), units_format_bytes(new_bytes, 'h', after));
    if (dry_run && new_bytes < old_bytes)
        printf("That cuts off %s of data.\n",
               units_format_bytes(ctl_get(result, "cut_bytes"), 'h', cut));
    ctl_print_promised(in, result);
}

/* Shows on a terminal what a shrink cuts off, and asks. */
static enum ctl_exit lun_confirm_shrink(const struct invocation *in, struct client *client,
                                        uint64_t size_bytes)
{
    AUTO_JSON json_t *plan = NULL;
    if (!ctl_asks(in))
        return CTL_DONE;
    enum ctl_exit status =
        ctl_call(in, client, "lun.resize", lun_resize_args(in, size_bytes, true), &plan);
    if (status != CTL_DONE)
        return status;
    lun_print_resize(in, plan, true);
    return ctl_confirm(in);
}

static enum ctl_exit lun_resize_with(const struct invocation *in, struct client *client,
                                     const char *size)
{
    AUTO_JSON json_t *now = NULL;
    AUTO_JSON json_t *result = NULL;
    uint64_t size_bytes = 0;
    bool dry_run = option_flag(in, "dry-run");
    enum ctl_exit status =
        ctl_call(in, client, "lun.show", json_pack("{s:s}", "name", in->args[0]), &now);
    if (status != CTL_DONE)
        return status;
    uint64_t now_bytes = ctl_get(json_array_get(json_object_get(now, "luns"), 0), "size_bytes");
    status = ctl_size(in, size, now_bytes, &size_bytes);
    if (status == CTL_DONE && size_bytes < now_bytes && !dry_run && option_flag(in, "force"))
        status = lun_confirm_shrink(in, client, size_bytes);
    if (status == CTL_DONE)
        status =
            ctl_call(in, client, "lun.resize", lun_resize_args(in, size_bytes, dry_run), &result);
    if (status != CTL_DONE)
        return status;
    if (dry_run && size_bytes < now_bytes && !option_flag(in, "force"))
    {
        ctl_put_text(result, "refused", "only --force makes a LUN smaller");
        ctl_put(result, "needs", json_pack("[s]", "--force"));
    }
    if (option_flag(in, "json"))
        table_print_json(stdout, result);
    else
        lun_print_resize(in, result, dry_run);
    return ctl_conclude_plan(in, result);
}

enum ctl_exit ctl_lun_resize(struct invocation *in)
{
    struct client client;
    enum ctl_exit status;
    const char *size = ctl_arg_or_option(in, 1, "size", &status);
    if (status == CTL_DONE)
        status = ctl_connect(in, &client);
    if (status != CTL_DONE)
        return status;
    status = lun_resize_with(in, &client, size);
    client_close(&client);
    return status;
}

/* ---- rename, comment ----------------------------------------------------------------------- */

enum ctl_exit ctl_lun_rename(struct invocation *in)
{
    json_t *args = json_object();
    ctl_put_text(args, "name", in->args[0]);
    ctl_put_text(args, "new_name", in->args[1]);
    return ctl_do(in, "lun.rename", args, "Renamed LUN %s to %s.", in->args[0], in->args[1]);
}

enum ctl_exit ctl_lun_comment(struct invocation *in)
{
    json_t *args = json_object();
    ctl_put_text(args, "name", in->args[0]);
    ctl_put_text(args, "comment", in->args[1]);
    return ctl_do(in, "lun.comment", args, "Set the comment of LUN %s.", in->args[0]);
}

/* ---- delete, freed ------------------------------------------------------------------------- */

void ctl_print_more(size_t count)
{
    if (count > CTL_LINES_MAX)
        printf("and %zu more; --json names all\n", count - CTL_LINES_MAX);
}

void ctl_print_freed(const json_t *result, const char *verb)
{
    char all[UNITS_TEXT_MAX], data[UNITS_TEXT_MAX], metadata[UNITS_TEXT_MAX];
    size_t i;
    json_t *name;
    const json_t *goes = json_object_get(result, "goes");
    json_array_foreach(goes, i, name)
    {
        if (i < CTL_LINES_MAX)
            printf("%s %s\n", verb, json_string_value(name));
    }
    ctl_print_more(json_array_size(goes));
    if (!json_object_get(result, "freed_bytes"))
        return;
    printf("Frees %s: %s of data, %s of metadata.\n",
           units_format_bytes(ctl_get(result, "freed_bytes"), 'h', all),
           units_format_bytes(ctl_get(result, "freed_data_bytes"), 'h', data),
           units_format_bytes(ctl_get(result, "freed_metadata_bytes"), 'h', metadata));
}

/* @mode: NULL, or the flag that makes it a look ahead. */
static json_t *lun_delete_args(const struct invocation *in, const char *name, const char *mode)
{
    json_t *args = json_object();
    ctl_put_text(args, "name", name);
    ctl_put(args, "with_snapshots", json_boolean(option_flag(in, "with-snapshots")));
    ctl_put(args, "force", json_boolean(option_flag(in, "force")));
    if (mode)
        ctl_put(args, mode, json_true());
    return args;
}

/* One of the arguments, so that a refusal speaks of it and not of the first. */
static enum ctl_exit lun_delete_one(const struct invocation *in, struct client *client, size_t i,
                                    const char *mode, json_t **result)
{
    struct invocation one = *in;
    one.args = in->args + i;
    one.arg_count = 1;
    return ctl_call(&one, client, "lun.delete", lun_delete_args(&one, one.args[0], mode), result);
}

/* ---- patterns */

static bool lun_is_pattern(const char *name)
{
    return strpbrk(name, "*?[") != NULL; /* no LUN's name has these */
}

static bool lun_is_among(char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* Adds what @pattern matches of @luns to the *count names in @names; whether it matches anything.
 */
static bool lun_add_matching(const json_t *luns, const char *pattern, char **names, size_t *count)
{
    size_t i, before = *count;
    const json_t *lun;
    bool has_any = false;
    pattern += strncmp(pattern, "/vol/", 5) == 0 ? 5 : 0;
    json_array_foreach(luns, i, lun)
    {
        char *name = (char *)json_string_value(json_object_get(lun, "name"));
        if (!name || fnmatch(pattern, name, 0) != 0)
            continue;
        has_any = true;
        if (!lun_is_among(names, before, name))
            names[(*count)++] = name;
    }
    return has_any;
}

/*
 * The LUNs that the arguments name or match into *names, to be freed, *count of them; the names
 * themselves are the arguments' or @shown's, to be released.
 */
static enum ctl_exit lun_match_names(const struct invocation *in, struct client *client,
                                     json_t **shown, char ***names, size_t *count)
{
    char text[256];
    bool has_pattern = false;
    *count = 0;
    for (size_t i = 0; i < in->arg_count; i++)
        has_pattern |= lun_is_pattern(in->args[i]);
    enum ctl_exit status =
        has_pattern ? ctl_call(in, client, "lun.show", json_object(), shown) : CTL_DONE;
    if (status != CTL_DONE)
        return status;
    const json_t *luns = json_object_get(*shown, "luns");
    *names = calloc(in->arg_count + json_array_size(luns) + 1, sizeof(**names));
    if (!*names)
        return ctl_no_memory(in);
    for (size_t i = 0; i < in->arg_count; i++)
    {
        char *name = in->args[i];
        snprintf(text, sizeof(text), "no LUN matches %.180s", name);
        if (!lun_is_pattern(name) && !lun_is_among(*names, *count, name))
            (*names)[(*count)++] = name;
        else if (lun_is_pattern(name) && !lun_add_matching(luns, name, *names, count))
            return ctl_fail(in, -ENOENT, text, "lunette lun show");
    }
    return CTL_DONE;
}

static enum ctl_exit lun_check_names(const struct invocation *in)
{
    for (size_t i = 0; i < in->arg_count; i++)
    {
        for (size_t j = 0; j < i; j++)
        {
            char text[LUN_NAME_MAX + 64];
            snprintf(text, sizeof(text), "%.*s is named twice", LUN_NAME_MAX, in->args[i]);
            if (strcmp(in->args[i], in->args[j]) == 0)
                return ctl_usage(in, text);
        }
    }
    return CTL_DONE;
}

/* All or none, as far as it can be known: nothing is deleted before each may be. @names: all that
 * goes. */
static enum ctl_exit lun_check_delete(const struct invocation *in, struct client *client,
                                      json_t *names)
{
    enum ctl_exit status = CTL_DONE;
    for (size_t i = 0; status == CTL_DONE && i < in->arg_count; i++)
    {
        AUTO_JSON json_t *result = NULL;
        status = lun_delete_one(in, client, i, "only_check", &result);
        if (status == CTL_DONE && json_array_extend(names, json_object_get(result, "goes")) != 0)
            return ctl_no_memory(in);
    }
    return status;
}

/* What deleting @names is going to free; an empty object if that cannot be told. */
static json_t *lun_freed_by(struct client *client, json_t *names)
{
    json_t *freed = NULL;
    struct client_refusal refusal;
    if (json_array_size(names) <= LUN_SET_MAX &&
        client_call(client, "lun.freed", json_pack("{s:O}", "names", names), NULL, NULL, &freed,
                    &refusal) == 0)
        ignore_error(json_object_del(freed, "goes"), "it is going to be gone");
    return freed ? freed : json_object();
}

/* Adds to @plan of all what @one says: without which options it is refused, and the first reason.
 */
static void lun_add_needs(json_t *plan, const json_t *one)
{
    size_t i, j;
    json_t *need, *known, *needs = json_object_get(plan, "needs");
    if (!json_object_get(one, "needs"))
        return;
    if (!needs)
    {
        ctl_put(plan, "refused", json_incref(json_object_get(one, "refused")));
        ctl_put(plan, "needs", needs = json_array());
    }
    json_array_foreach(json_object_get(one, "needs"), i, need)
    {
        bool is_known = false;
        json_array_foreach(needs, j, known) is_known |= json_equal(known, need);
        if (!is_known)
            ignore_error(json_array_append(needs, need), "one of several hints");
    }
}

/* What deleting all arguments would take away: each is asked for, so that a refusal comes up. */
static enum ctl_exit lun_plan_delete(const struct invocation *in, struct client *client,
                                     json_t **plan)
{
    AUTO_JSON json_t *names = json_array();
    AUTO_JSON json_t *all = json_object();
    for (size_t i = 0; i < in->arg_count; i++)
    {
        AUTO_JSON json_t *one = NULL;
        enum ctl_exit status = lun_delete_one(in, client, i, "dry_run", &one);
        if (status != CTL_DONE)
            return status;
        if (json_array_extend(names, json_object_get(one, "goes")) != 0)
            return ctl_no_memory(in);
        lun_add_needs(all, one);
    }
    enum ctl_exit status = CTL_DONE;
    if (json_array_size(names) <= LUN_SET_MAX)
        status = ctl_call(in, client, "lun.freed", json_pack("{s:O}", "names", names), plan);
    else /* of so many it cannot be told together */
        *plan =
            json_pack("{s:O, s:o}", "goes", names, "luns", proto_json_uint(json_array_size(names)));
    if (status == CTL_DONE && json_object_update(*plan, all) != 0)
        return ctl_no_memory(in);
    return status;
}

static enum ctl_exit lun_delete_now(const struct invocation *in, struct client *client,
                                    json_t *names)
{
    AUTO_JSON json_t *deleted = json_array();
    AUTO_JSON json_t *result = lun_freed_by(client, names);
    bool json = option_flag(in, "json");
    for (size_t i = 0; i < in->arg_count; i++)
    {
        AUTO_JSON json_t *one = NULL;
        enum ctl_exit status = lun_delete_one(in, client, i, NULL, &one);
        if (status != CTL_DONE && i > 0)
            ctl_note("%zu of %zu LUNs were deleted, up to %s; the others are still there", i,
                     in->arg_count, in->args[i - 1]);
        if (status != CTL_DONE)
            return status;
        if (json_array_extend(deleted, json_object_get(one, "deleted")) < 0)
            return ctl_no_memory(in);
        if (!json)
            printf("Deleted LUN %s.\n", in->args[i]);
    }
    ctl_put(result, "deleted", take_ptr(&deleted));
    ctl_put(result, "dry_run", json_false());
    if (json)
        table_print_json(stdout, result);
    else
        ctl_print_freed(result, "Deleted");
    return CTL_DONE;
}

static enum ctl_exit lun_delete_all(const struct invocation *in, struct client *client)
{
    AUTO_JSON json_t *plan = NULL;
    AUTO_JSON json_t *names = json_array();
    bool dry_run = option_flag(in, "dry-run");
    enum ctl_exit status = CTL_DONE;
    if (!dry_run)
        status = lun_check_delete(in, client, names);
    if (status == CTL_DONE && (dry_run || ctl_asks(in)))
    {
        status = lun_plan_delete(in, client, &plan);
        if (status == CTL_DONE)
            ctl_put(plan, "dry_run", json_true());
        if (status == CTL_DONE && option_flag(in, "json"))
            table_print_json(stdout, plan);
        else if (status == CTL_DONE)
            ctl_print_freed(plan, "Would delete");
    }
    if (status == CTL_DONE && dry_run)
        return ctl_conclude_plan(in, plan);
    if (status == CTL_DONE)
        status = ctl_confirm(in);
    return status == CTL_DONE ? lun_delete_now(in, client, names) : status;
}

static enum ctl_exit lun_delete_with(const struct invocation *in, struct client *client)
{
    AUTO_JSON json_t *shown = NULL;
    AUTO_FREE char **names = NULL;
    struct invocation matched = *in;
    enum ctl_exit status = lun_check_names(in);
    if (status == CTL_DONE)
        status = lun_match_names(in, client, &shown, &names, &matched.arg_count);
    matched.args = names;
    return status == CTL_DONE ? lun_delete_all(&matched, client) : status;
}

enum ctl_exit ctl_lun_delete(struct invocation *in)
{
    struct client client;
    enum ctl_exit status = ctl_connect(in, &client);
    if (status != CTL_DONE)
        return status;
    status = lun_delete_with(in, &client);
    client_close(&client);
    return status;
}

enum ctl_exit ctl_freed(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    json_t *names = json_array();
    for (size_t i = 0; i < in->arg_count; i++)
        if (json_array_append_new(names, json_string(in->args[i])) != 0)
            return json_decref(names), ctl_usage(in, "a name is not UTF-8");
    enum ctl_exit status = ctl_ask(in, "lun.freed", json_pack("{s:o}", "names", names), &result);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "json"))
        table_print_json(stdout, result);
    else
    {
        if (in->arg_count > 1)
            printf("If deleted together:\n");
        ctl_print_freed(result, in->arg_count > 1 ? " " : "If deleted:");
    }
    return CTL_DONE;
}
