/* SPDX-License-Identifier: BSD-3-Clause */
/* volume create, show, modify, resize, rename, delete; volume clone ...; qtree ... */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lun/base/checked.h"
#include "lun/base/size_text.h"
#include "server/ctl/ctl.h"
#include "server/ctl/hint.h"
#include "server/units.h"

static const struct field volume_fields[] = {
    {"name", "Volume", FIELD_TEXT, false},
    {"size_bytes", "Size", FIELD_BYTES, false},
    {"guarantee", "Guarantee", FIELD_TEXT, false},
    {"luns", "LUNs", FIELD_COUNT, false},
    {"logical_bytes", "Logical", FIELD_BYTES, false},
    {"charged_bytes", "Used", FIELD_BYTES, false},
    {"snapshot_bytes", "Snapshots", FIELD_BYTES, false},
    {"available_bytes", "Available", FIELD_BYTES, false},
    {"parent_volume", "Clone of", FIELD_TEXT, false},
    {"parent", "Parent", FIELD_TEXT, true},
    {"mapped_bytes", "Mapped", FIELD_BYTES, true},
    {"own_bytes", "Own", FIELD_BYTES, true},
    {"shared_bytes", "Shared", FIELD_BYTES, true},
    {"used_bytes", "Used", FIELD_BYTES, true},
    {"reserved_bytes", "Reserved", FIELD_BYTES, true},
    {"clone_volume", "Clone", FIELD_TEXT, true},
    {"needed_bytes", "Still needed of the pool", FIELD_BYTES, true},
    {"savings_ratio", "Savings", FIELD_RATIO, true},
    {"qtrees", "Qtrees", FIELD_COUNT, true},
    {"snapshots", "Snapshot count", FIELD_COUNT, true},
    {"deleted_luns", "Deleted LUNs", FIELD_COUNT, true},
    {"full_policy", "When full", FIELD_TEXT, true},
    {"pause_ms", "Pause (ms)", FIELD_COUNT, true},
    {"locked_until", "Locked until", FIELD_TIME, true},
    {"thresholds", "Thresholds", FIELD_TEXT, true},
    {"snapshot_policy", "Snapshot policy", FIELD_TEXT, true},
    {"qos", "QoS class", FIELD_TEXT, true},
    {"created", "Created", FIELD_TIME, true},
    {"comment", "Comment", FIELD_TEXT, true},
    {"uuid", "UUID", FIELD_TEXT, true},
    {"id", "Id", FIELD_COUNT, true},
    {0},
};

static const struct field qtree_fields[] = {
    {"path", "Qtree", FIELD_TEXT, false},
    {"luns", "LUNs", FIELD_COUNT, false},
    {"logical_bytes", "Logical", FIELD_BYTES, false},
    {"comment", "Comment", FIELD_TEXT, false},
    {"created", "Created", FIELD_TIME, true},
    {"id", "Id", FIELD_COUNT, true},
    {0},
};

static void volume_put_dry_run(const struct invocation *in, json_t *args)
{
    if (option_flag(in, "dry-run"))
        ctl_put(args, "dry_run", json_true());
}

/* ---- create, modify, resize ---------------------------------------------------------------- */

/* --space-guarantee volume|none, as was checked when it was parsed. */
static enum ctl_exit volume_put_guarantee(const struct invocation *in, json_t *args)
{
    const char *guarantee = option_text(in, "space-guarantee");
    if (!guarantee)
        return CTL_DONE;
    ctl_put(args, "guarantee", json_boolean(strcmp(guarantee, "volume") == 0));
    return CTL_DONE;
}

/* The options that create and modify share. */
static enum ctl_exit volume_put_options(const struct invocation *in, json_t *args)
{
    uint64_t pause_ms = 0;
    enum ctl_exit status = volume_put_guarantee(in, args);
    if (status == CTL_DONE)
        status = ctl_put_moment(in, args, "locked_until", "lock-until");
    if (status == CTL_DONE)
        status = ctl_duration(in, "pause", &pause_ms);
    if (status == CTL_DONE)
        status = ctl_put_class(in, args);
    if (status != CTL_DONE)
        return status;
    if (option_text(in, "pause"))
        ctl_put(args, "pause_ms", proto_json_uint(pause_ms));
    ctl_put_text(args, "full_policy", option_text(in, "when-full"));
    ctl_put_text(args, "comment", option_text(in, "comment"));
    ctl_put_text(args, "thresholds", option_text(in, "threshold"));
    ctl_put_text(args, "snapshot_policy", option_text(in, "snapshot-policy"));
    volume_put_dry_run(in, args);
    return CTL_DONE;
}

/* "none" for a volume without a size. */
static const char *volume_size_text(uint64_t size_bytes, char *text)
{
    return size_bytes ? units_format_bytes(size_bytes, 'h', text) : "none";
}

/* "none" for no moment. */
static const char *volume_time_text(const json_t *seconds, char text[UNITS_TEXT_MAX])
{
    time_t at = (time_t)json_number_value(seconds);
    struct tm tm;
    snprintf(text, UNITS_TEXT_MAX, "none");
    if (at > 0 && localtime_r(&at, &tm))
        strftime(text, UNITS_TEXT_MAX, "%Y-%m-%d %H:%M:%S", &tm);
    return text;
}

static void volume_print_change(const char *what, const char *before, const char *after)
{
    printf("%s: %s -> %s\n", what, before ? before : "-", after ? after : "-");
}

/* What the pool keeps for the guarantee of the volume, now and with the options in @args. */
static void volume_print_need(const json_t *args, const json_t *now)
{
    char available[UNITS_TEXT_MAX], before[UNITS_TEXT_MAX], after[UNITS_TEXT_MAX];
    const json_t *guarantee = json_object_get(args, "guarantee");
    const char *kind = json_string_value(json_object_get(now, "guarantee"));
    bool was = kind && strcmp(kind, "volume") == 0, is = guarantee ? json_is_true(guarantee) : was;
    uint64_t size_bytes = ctl_get(json_object_get(args, "size_bytes") ? args : now, "size_bytes");
    uint64_t charged_bytes = ctl_get(now, "charged_bytes");
    printf("%s are available in it now, and its guarantee needs %s of the pool",
           units_format_bytes(ctl_get(now, "available_bytes"), 'h', available),
           units_format_bytes(was ? ctl_get(now, "needed_bytes") : 0, 'h', before));
    if (guarantee || json_object_get(args, "size_bytes"))
        printf("; afterwards %s",
               units_format_bytes(is && size_bytes > charged_bytes ? size_bytes - charged_bytes : 0,
                                  'h', after));
    printf(".\n");
}

/* What the options in @args would make of the volume as it is. */
static void volume_print_changes(const struct invocation *in, const json_t *args, const json_t *now)
{
    char before[UNITS_TEXT_MAX], after[UNITS_TEXT_MAX];
    const json_t *guarantee = json_object_get(args, "guarantee");
    if (json_object_get(args, "size_bytes"))
        volume_print_change("size", volume_size_text(ctl_get(now, "size_bytes"), before),
                            volume_size_text(ctl_get(args, "size_bytes"), after));
    if (guarantee)
        volume_print_change("guarantee", json_string_value(json_object_get(now, "guarantee")),
                            json_is_true(guarantee) ? "volume" : "none");
    static const struct field others[] = {
        {"full_policy", "when full", FIELD_TEXT, false},
        {"comment", "comment", FIELD_TEXT, false},
        {"thresholds", "thresholds", FIELD_TEXT, false},
        {"snapshot_policy", "snapshot policy", FIELD_TEXT, false},
        {"qos", "QoS class", FIELD_TEXT, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
    {
        AUTO_FREE char *was = table_format(now, &others[i], 'h');
        AUTO_FREE char *is = table_format(args, &others[i], 'h');
        if (json_object_get(args, others[i].key))
            volume_print_change(others[i].title, was, is);
    }
    if (json_object_get(args, "locked_until"))
        volume_print_change("locked until",
                            volume_time_text(json_object_get(now, "locked_until"), before),
                            volume_time_text(json_object_get(args, "locked_until"), after));
    if (json_object_get(args, "pause_ms"))
        printf("pause: %" PRIu64 " ms -> %" PRIu64 " ms\n", ctl_get(now, "pause_ms"),
               ctl_get(args, "pause_ms"));
    volume_print_need(args, now);
    ctl_print_promised(in, now);
}

static void volume_print_dry_run(const struct invocation *in, const char *would, const json_t *args,
                                 const json_t *result)
{
    char size[UNITS_TEXT_MAX], available[UNITS_TEXT_MAX];
    printf("%s volume %s", would, in->args[0]);
    if (json_object_get(result, "id"))
    {
        printf("; nothing was changed.\n");
        volume_print_changes(in, args, result);
        return;
    }
    if (ctl_get(args, "size_bytes"))
        printf(" of %s%s", units_format_bytes(ctl_get(args, "size_bytes"), 'h', size),
               json_is_true(json_object_get(args, "guarantee")) ? ", promised to it by the pool"
                                                                : "");
    printf("; the pool has %s available now.\n",
           units_format_bytes(ctl_get(result, "available_bytes"), 'h', available));
    ctl_print_promised(in, result);
}

static void volume_print(const struct invocation *in, const char *did, const json_t *result)
{
    char size[UNITS_TEXT_MAX], available[UNITS_TEXT_MAX];
    uint64_t size_bytes = ctl_get(result, "size_bytes");
    if (size_bytes)
        printf("%s volume %s of %s (%s available in it).\n", did, in->args[0],
               units_format_bytes(size_bytes, 'h', size),
               units_format_bytes(ctl_get(result, "available_bytes"), 'h', available));
    else
        printf("%s volume %s, without a size of its own.\n", did, in->args[0]);
    ctl_print_promised(in, result);
}

/* Asks @verb with @args, which it takes over, and says what was done. */
static enum ctl_exit volume_ask(const struct invocation *in, const char *verb, json_t *args,
                                const char *did, const char *would)
{
    AUTO_JSON json_t *result = NULL;
    AUTO_JSON json_t *asked = json_incref(args);
    enum ctl_exit status = ctl_ask(in, verb, args, &result);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "json"))
        table_print_json(stdout, result);
    else if (option_flag(in, "dry-run"))
        volume_print_dry_run(in, would, asked, result);
    else
        volume_print(in, did, result);
    return CTL_DONE;
}

enum ctl_exit ctl_volume_create(struct invocation *in)
{
    uint64_t size_bytes = 0;
    enum ctl_exit status = CTL_DONE;
    bool has_size = in->arg_count > 1 || option_text(in, "size");
    const char *size = has_size ? ctl_arg_or_option(in, 1, "size", &status) : NULL;
    if (status == CTL_DONE && size)
        status = ctl_size(in, size, UINT64_MAX, &size_bytes);
    if (status != CTL_DONE)
        return status;
    AUTO_JSON json_t *args = json_object();
    ctl_put_text(args, "name", in->args[0]);
    if (size)
        ctl_put(args, "size_bytes", proto_json_uint(size_bytes));
    status = volume_put_options(in, args);
    return status == CTL_DONE
               ? volume_ask(in, "volume.create", take_ptr(&args), "Created", "Would create")
               : status;
}

enum ctl_exit ctl_volume_modify(struct invocation *in)
{
    AUTO_JSON json_t *args = json_object();
    ctl_put_text(args, "name", in->args[0]);
    enum ctl_exit status = volume_put_options(in, args);
    return status == CTL_DONE
               ? volume_ask(in, "volume.modify", take_ptr(&args), "Changed", "Would change")
               : status;
}

enum ctl_exit ctl_volume_resize(struct invocation *in)
{
    AUTO_JSON json_t *now = NULL;
    uint64_t size_bytes = 0;
    enum ctl_exit status;
    const char *size = ctl_arg_or_option(in, 1, "size", &status);
    if (status == CTL_DONE)
        status = ctl_ask(in, "volume.show", json_pack("{s:s}", "name", in->args[0]), &now);
    if (status != CTL_DONE)
        return status;
    const json_t *volume = json_array_get(json_object_get(now, "volumes"), 0);
    status = ctl_size(in, size, ctl_get(volume, "size_bytes"), &size_bytes);
    if (status != CTL_DONE)
        return status;
    json_t *args = json_object();
    ctl_put_text(args, "name", in->args[0]);
    ctl_put(args, "size_bytes", proto_json_uint(size_bytes));
    volume_put_dry_run(in, args);
    return volume_ask(in, "volume.modify", args, "Resized", "Would resize");
}

/* ---- show, rename, delete ------------------------------------------------------------------ */

/* Without a size there is no bound; 0B in a table would say that nothing fits. */
static void volume_drop_sizes(json_t *result)
{
    size_t i;
    json_t *volume;
    json_array_foreach(json_object_get(result, "volumes"), i, volume)
    {
        if (ctl_get(volume, "size_bytes") == 0)
            ctl_put(volume, "size_bytes", json_null());
    }
}

enum ctl_exit ctl_volume_show(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    struct table_options options;
    enum ctl_exit status = ctl_table_options(in, volume_fields, &options);
    if (status != CTL_DONE)
        return status;
    json_t *args = json_object();
    if (in->arg_count > 0)
        ctl_put_text(args, "name", in->args[0]);
    status = ctl_ask(in, "volume.show", args, &result);
    if (status != CTL_DONE)
        return status;
    if (!options.json)
        volume_drop_sizes(result);
    return ctl_list(in, result, "volumes", volume_fields);
}

enum ctl_exit ctl_volume_rename(struct invocation *in)
{
    json_t *args = json_object();
    ctl_put_text(args, "name", in->args[0]);
    ctl_put_text(args, "new_name", in->args[1]);
    return ctl_do(in, "volume.rename", args, "Renamed volume %s to %s.", in->args[0], in->args[1]);
}

/* The snapshot that a clone depends on goes with it, or with the last of those that do. */
static void volume_put_backing(const struct invocation *in, json_t *args)
{
    if (option_flag(in, "delete-backing-snapshot"))
        ctl_put(args, "delete_backing_snapshot", json_true());
}

static json_t *volume_delete_args(const struct invocation *in, bool dry_run)
{
    json_t *args = json_object();
    ctl_put_text(args, "name", in->args[0]);
    ctl_put(args, "with_contents", json_boolean(option_flag(in, "with-contents")));
    ctl_put(args, "force", json_boolean(option_flag(in, "force")));
    volume_put_backing(in, args);
    if (dry_run)
        ctl_put(args, "dry_run", json_true());
    return args;
}

/* What becomes of the snapshot that a clone depended on, if @result says so. */
static void volume_print_backing(const json_t *result, bool would)
{
    const char *name = json_string_value(json_object_get(result, "backing_snapshot"));
    uint64_t clones = ctl_get(result, "backing_clones");
    if (!name)
        return;
    if (clones > 0)
        printf("Snapshot %s %s: %" PRIu64 " other clone%s on it; it goes with the last of them.\n",
               name, would ? "would stay" : "stays", clones, clones == 1 ? " depends" : "s depend");
    else
        printf("%s snapshot %s, which nothing else depends on.\n",
               would ? "Would delete" : "Deleted", name);
}

static enum ctl_exit volume_delete_now(const struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    enum ctl_exit status = ctl_ask(in, "volume.delete", volume_delete_args(in, false), &result);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "json"))
    {
        table_print_json(stdout, result);
        return CTL_DONE;
    }
    printf("Deleted volume %s.\n", in->args[0]);
    volume_print_backing(result, false);
    ctl_print_freed(result, "Deleted");
    return CTL_DONE;
}

enum ctl_exit ctl_volume_delete(struct invocation *in)
{
    AUTO_JSON json_t *plan = NULL;
    bool dry_run = option_flag(in, "dry-run");
    enum ctl_exit status = CTL_DONE;
    if (dry_run || ctl_asks(in))
        status = ctl_ask(in, "volume.delete", volume_delete_args(in, true), &plan);
    if (plan && option_flag(in, "json"))
        table_print_json(stdout, plan);
    else if (plan)
    {
        printf("Would delete volume %s.\n", in->args[0]);
        volume_print_backing(plan, true);
        ctl_print_freed(plan, "Would delete");
    }
    if (status == CTL_DONE && plan && json_object_get(plan, "needs"))
        return ctl_conclude_plan(in, plan);
    if (status != CTL_DONE || dry_run)
        return status;
    status = ctl_confirm(in);
    return status == CTL_DONE ? volume_delete_now(in) : status;
}

/* ---- clones -------------------------------------------------------------------------------- */

static void volume_print_clone(const struct invocation *in, const char *volume, const char *name,
                               const json_t *result)
{
    char mapped[UNITS_TEXT_MAX];
    uint64_t luns = ctl_get(result, "luns");
    printf("%s volume %s to %s; no data is copied.\n",
           option_flag(in, "dry-run") ? "Would clone" : "Cloned", volume, name);
    if (option_flag(in, "dry-run"))
        printf("%" PRIu64 " LUN%s would share %s with it.\n", luns, plural_s(luns),
               units_format_bytes(ctl_get(result, "mapped_bytes"), 'h', mapped));
    ctl_print_promised(in, result);
}

/* --space-guarantee, which a clone has from its parent or not at all. */
static enum ctl_exit volume_check_guarantee(const struct invocation *in, const char *parent,
                                            bool *is_without)
{
    AUTO_JSON json_t *result = NULL;
    const char *guarantee = option_text(in, "space-guarantee");
    *is_without = option_flag(in, "no-guarantee");
    if (!guarantee)
        return CTL_DONE;
    if (strcmp(guarantee, "volume") == 0 && *is_without)
        return ctl_usage(in, "--space-guarantee volume and --no-guarantee contradict each other");
    *is_without |= strcmp(guarantee, "none") == 0;
    if (*is_without)
        return CTL_DONE;
    enum ctl_exit status = ctl_ask(in, "volume.show", json_pack("{s:s}", "name", parent), &result);
    const json_t *volume = json_array_get(json_object_get(result, "volumes"), 0);
    const char *has = json_string_value(json_object_get(volume, "guarantee"));
    if (status == CTL_DONE && (!has || strcmp(has, "volume") != 0))
        return ctl_refuse(in,
                          "its parent has no guarantee that the clone could have; give the clone "
                          "one with 'lunette volume modify NAME --space-guarantee volume'",
                          NULL);
    return status;
}

enum ctl_exit ctl_volume_clone_create(struct invocation *in)
{
    enum ctl_exit status;
    const char *volume = ctl_arg_or_option(in, 0, "parent-volume", &status);
    const char *name = NULL;
    if (status == CTL_DONE)
        name = ctl_arg_or_option(in, 1, "flexclone", &status);
    if (status != CTL_DONE)
        return status;
    AUTO_JSON json_t *args = json_object();
    const char *at = strchr(volume, '@');
    if (at && option_text(in, "parent-snapshot"))
        return ctl_usage(in, "the parent's snapshot is given twice");
    AUTO_FREE char *parent = strndup(volume, at ? (size_t)(at - volume) : strlen(volume));
    ctl_put_text(args, "volume", parent);
    ctl_put_text(args, "snapshot", at ? at + 1 : option_text(in, "parent-snapshot"));
    ctl_put_text(args, "name", name);
    ctl_put_text(args, "comment", option_text(in, "comment"));
    bool is_without;
    status = volume_check_guarantee(in, parent, &is_without);
    if (status != CTL_DONE)
        return status;
    ctl_put(args, "no_guarantee", json_boolean(is_without));
    ctl_put(args, "no_reserve", json_boolean(option_flag(in, "no-reserve")));
    ctl_put(args, "unlocked", json_boolean(option_flag(in, "unlocked")));
    status = ctl_put_class(in, args);
    if (status != CTL_DONE)
        return status;
    volume_put_dry_run(in, args);
    AUTO_JSON json_t *result = NULL;
    status = ctl_ask(in, "volume.clone", take_ptr(&args), &result);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "json"))
        table_print_json(stdout, result);
    else
        volume_print_clone(in, volume, name, result);
    return CTL_DONE;
}

/* What a physical split of each of @clones would take, beside what it is. */
static enum ctl_exit volume_estimate(const struct invocation *in, json_t *clones)
{
    size_t i;
    json_t *clone;
    enum ctl_exit status = CTL_DONE;
    json_array_foreach(clones, i, clone)
    {
        AUTO_JSON json_t *estimate = NULL;
        if (status == CTL_DONE)
            status = ctl_ask(in, "volume.split_estimate",
                             json_pack("{s:O}", "name", json_object_get(clone, "name")), &estimate);
        if (status == CTL_DONE)
        {
            ctl_put(clone, "split_bytes", proto_json_uint(ctl_get(estimate, "shared_bytes")));
            ctl_put(clone, "available_bytes",
                    proto_json_uint(ctl_get(estimate, "available_bytes")));
        }
    }
    return status;
}

enum ctl_exit ctl_volume_clone_show(struct invocation *in)
{
    static const struct field fields[] = {
        {"name", "Clone", FIELD_TEXT, false},
        {"parent", "Parent", FIELD_TEXT, false},
        {"luns", "LUNs", FIELD_COUNT, false},
        {"mapped_bytes", "Mapped", FIELD_BYTES, false},
        {"charged_bytes", "Own", FIELD_BYTES, false},
        {"split_bytes", "Split takes", FIELD_BYTES, true},
        {"available_bytes", "Available", FIELD_BYTES, true},
        {0},
    };
    AUTO_JSON json_t *result = NULL;
    AUTO_JSON json_t *clones = json_array();
    struct table_options options;
    struct reason why = {.text = ""};
    size_t i;
    json_t *volume;
    enum ctl_exit status = ctl_table_options(in, fields, &options);
    if (status == CTL_DONE)
        status =
            ctl_ask(in, "volume.show",
                    in->arg_count > 0 ? json_pack("{s:s}", "name", in->args[0]) : NULL, &result);
    if (status != CTL_DONE)
        return status;
    json_array_foreach(json_object_get(result, "volumes"), i, volume)
    {
        if (json_is_true(json_object_get(volume, "clone_volume")) &&
            json_array_append(clones, volume) != 0)
            return ctl_no_memory(in);
    }
    if (in->arg_count > 0 && json_array_size(clones) == 0)
        return ctl_refuse(in, "it is no clone, or was split", "lunette volume clone show");
    if (option_flag(in, "estimate") || (options.fields && strstr(options.fields, "split")))
        status = volume_estimate(in, clones);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "estimate") && !options.fields && !options.json)
        options.fields = "name,parent,split_bytes,available_bytes";
    ctl_put(result, "count", proto_json_uint(json_array_size(clones)));
    ctl_put(result, "volumes", take_ptr(&clones));
    return table_print(stdout, result, "volumes", fields, &options, &why) < 0 ? ctl_no_memory(in)
                                                                              : CTL_DONE;
}

enum ctl_exit ctl_volume_split_estimate(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    char shared[UNITS_TEXT_MAX], available[UNITS_TEXT_MAX];
    enum ctl_exit status =
        ctl_ask(in, "volume.split_estimate", json_pack("{s:s}", "name", in->args[0]), &result);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "json"))
    {
        table_print_json(stdout, result);
        return CTL_DONE;
    }
    printf("Splitting %s from %s takes no space: its %" PRIu64 " LUN%s on sharing %s with "
           "others.\nCopies of all of that would take as much again; %s are available.\n",
           in->args[0], json_string_value(json_object_get(result, "parent")),
           ctl_get(result, "luns"), ctl_get(result, "luns") == 1 ? " goes" : "s go",
           units_format_bytes(ctl_get(result, "shared_bytes"), 'h', shared),
           units_format_bytes(ctl_get(result, "available_bytes"), 'h', available));
    return CTL_DONE;
}

static void volume_print_split(const struct invocation *in, const json_t *result)
{
    char needed[UNITS_TEXT_MAX], available[UNITS_TEXT_MAX];
    bool dry_run = option_flag(in, "dry-run");
    if (!option_flag(in, "physical"))
        printf("%s volume %s from its parent; blocks stay shared, and each is freed when the last "
               "that uses it goes.\n",
               dry_run ? "Would split" : "Split", in->args[0]);
    else if (dry_run)
        printf("Would copy what LUNs of %s share, which takes %s; %s are available.\n", in->args[0],
               units_format_bytes(ctl_get(result, "needed_bytes"), 'h', needed),
               units_format_bytes(ctl_get(result, "available_bytes"), 'h', available));
    else
        hint_printf(
            stdout,
            "Copying what LUNs of %s share, %s; 'lunette volume clone split show' tells how "
            "far it is.\n",
            in->args[0], units_format_bytes(ctl_get(result, "needed_bytes"), 'h', needed));
}

/* Takes @args over. */
static enum ctl_exit volume_split_ask(const struct invocation *in, json_t *args)
{
    AUTO_JSON json_t *result = NULL;
    bool dry_run = option_flag(in, "dry-run");
    enum ctl_exit status = ctl_ask(in, "volume.split", args, &result);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "json"))
    {
        table_print_json(stdout, result);
        return CTL_DONE;
    }
    volume_print_split(in, result);
    if (option_flag(in, "physical") && json_object_get(result, "backing_snapshot"))
        printf("Snapshot %s goes when the copy is done, unless other clones depend on it.\n",
               json_string_value(json_object_get(result, "backing_snapshot")));
    else
        volume_print_backing(result, dry_run);
    if (dry_run && json_object_get(result, "goes"))
        ctl_print_freed(result, "Would delete");
    return CTL_DONE;
}

/* Takes @args over. */
static enum ctl_exit volume_split_physical(const struct invocation *in, json_t *args)
{
    AUTO_JSON json_t *owned = args;
    uint64_t rate_bytes = 0;
    const char *rate = option_text(in, "rate");
    enum ctl_exit status =
        rate && strcmp(rate, "none") != 0 ? ctl_size(in, rate, UINT64_MAX, &rate_bytes) : CTL_DONE;
    if (status != CTL_DONE)
        return status;
    ctl_put(owned, "physical", json_true());
    if (rate_bytes > 0)
        ctl_put(owned, "rate_bytes", proto_json_uint(rate_bytes));
    return volume_split_ask(in, take_ptr(&owned));
}

static enum ctl_exit volume_split_change(const struct invocation *in, const char *verb,
                                         const char *said)
{
    json_t *args = json_object();
    ctl_put_text(args, "name", in->args[0]);
    volume_put_dry_run(in, args);
    return ctl_do(in, verb, args, "%s the split of %s%s.", said, in->args[0],
                  option_flag(in, "dry-run") ? "; nothing was changed" : "");
}

enum ctl_exit ctl_volume_split_pause(struct invocation *in)
{
    return volume_split_change(in, "volume.split.pause",
                               option_flag(in, "dry-run") ? "Would pause" : "Paused");
}

enum ctl_exit ctl_volume_split_stop(struct invocation *in)
{
    return volume_split_change(in, "volume.split.stop",
                               option_flag(in, "dry-run") ? "Would stop" : "Stopped");
}

enum ctl_exit ctl_volume_split_show(struct invocation *in)
{
    static const struct field fields[] = {
        {"volume", "Volume", FIELD_TEXT, false},
        {"state", "State", FIELD_TEXT, false},
        {"copied_bytes", "Copied", FIELD_BYTES, false},
        {"total_bytes", "Total", FIELD_BYTES, false},
        {"rate_bytes", "Rate (a second)", FIELD_BYTES, false},
        {"reason", "Reason", FIELD_TEXT, false},
        {"id", "Job", FIELD_COUNT, true},
        {0},
    };
    AUTO_JSON json_t *result = NULL;
    struct table_options options;
    enum ctl_exit status = ctl_table_options(in, fields, &options);
    if (status == CTL_DONE)
        status = ctl_ask(in, "volume.split.show", NULL, &result);
    return status == CTL_DONE ? ctl_list(in, result, "splits", fields) : status;
}

enum ctl_exit ctl_volume_split_start(struct invocation *in)
{
    json_t *args = json_object();
    ctl_put_text(args, "name", in->args[0]);
    volume_put_dry_run(in, args);
    volume_put_backing(in, args);
    if (option_flag(in, "physical"))
        return volume_split_physical(in, args);
    if (option_text(in, "rate"))
    {
        json_decref(args);
        return ctl_usage(in, "--rate is for --physical: else nothing is copied");
    }
    return volume_split_ask(in, args);
}

/* ---- qtrees -------------------------------------------------------------------------------- */

enum ctl_exit ctl_qtree_create(struct invocation *in)
{
    json_t *args = json_object();
    ctl_put_text(args, "path", in->args[0]);
    ctl_put_text(args, "comment", option_text(in, "comment"));
    return ctl_do(in, "qtree.create", args, "Created qtree %s.", in->args[0]);
}

enum ctl_exit ctl_qtree_show(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    struct table_options options;
    enum ctl_exit status = ctl_table_options(in, qtree_fields, &options);
    if (status != CTL_DONE)
        return status;
    json_t *args = json_object();
    if (in->arg_count > 0)
        ctl_put_text(args, "volume", in->args[0]);
    status = ctl_ask(in, "qtree.show", args, &result);
    return status == CTL_DONE ? ctl_list(in, result, "qtrees", qtree_fields) : status;
}

enum ctl_exit ctl_qtree_rename(struct invocation *in)
{
    json_t *args = json_object();
    ctl_put_text(args, "path", in->args[0]);
    ctl_put_text(args, "new_name", in->args[1]);
    return ctl_do(in, "qtree.rename", args, "Renamed qtree %s to %s.", in->args[0], in->args[1]);
}

enum ctl_exit ctl_qtree_delete(struct invocation *in)
{
    json_t *args = json_object();
    ctl_put_text(args, "path", in->args[0]);
    volume_put_dry_run(in, args);
    return ctl_do(in, "qtree.delete", args, "%s qtree %s.",
                  option_flag(in, "dry-run") ? "Would delete" : "Deleted", in->args[0]);
}
