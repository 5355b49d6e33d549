/* SPDX-License-Identifier: BSD-3-Clause */
/* snapshot create, show, delete, rename, restore. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/ctl/ctl.h"
#include "server/units.h"

static const struct field snapshot_fields[] = {
    {"name", "Name", FIELD_TEXT, false},
    {"size_bytes", "Size", FIELD_BYTES, false},
    {"mapped_bytes", "Mapped", FIELD_BYTES, false},
    {"own_bytes", "Own", FIELD_BYTES, true},
    {"created", "Created", FIELD_TIME, false},
    {"open", "Open", FIELD_COUNT, true},
    {"busy", "Busy", FIELD_TEXT, false},
    {"owners", "Owners", FIELD_TEXT, false},
    {"comment", "Comment", FIELD_TEXT, false},
    {"consistency", "Consistency", FIELD_TEXT, true},
    {"kind", "Kind", FIELD_TEXT, true},
    {"lun_deleted", "LUN deleted", FIELD_TEXT, true},
    {"luns", "LUNs", FIELD_COUNT, true},
    {"automatic", "Automatic", FIELD_TEXT, true},
    {"deferred", "Deferred", FIELD_TEXT, true},
    {"locked_until", "Locked until", FIELD_TIME, true},
    {"shared_bytes", "Shared", FIELD_BYTES, true},
    {"sector_bytes", "Sector", FIELD_BYTES, true},
    {"uuid", "UUID", FIELD_TEXT, true},
    {"id", "Id", FIELD_COUNT, true},
    {"lun_id", "LUN id", FIELD_COUNT, true},
    {"line", "Line", FIELD_COUNT, true},
    {"generation", "Generation", FIELD_COUNT, true},
    {0},
};

/* {"lun":..,"snapshot":..} of the first argument or two, *used of them. */
static enum ctl_exit snapshot_args(const struct invocation *in, json_t **args, size_t *used)
{
    AUTO_FREE char *lun = NULL;
    AUTO_FREE char *snapshot = NULL;
    enum ctl_exit status = ctl_snapshot_name(in, 0, &lun, &snapshot, used);
    if (status != CTL_DONE)
        return status;
    *args = json_object();
    ctl_put_text(*args, "lun", lun);
    ctl_put_text(*args, "snapshot", snapshot);
    return CTL_DONE;
}

/* The same where nothing may follow. */
static enum ctl_exit snapshot_only_args(const struct invocation *in, json_t **args)
{
    size_t used;
    enum ctl_exit status = snapshot_args(in, args, &used);
    if (status != CTL_DONE || used == in->arg_count)
        return status;
    json_decref(*args);
    return ctl_usage(in, "one snapshot at a time, as LUN@SNAPSHOT");
}

/* "LUN@SNAPSHOT", in one argument or two. */
static void snapshot_print_name(const struct invocation *in)
{
    printf("%s%s%s", in->args[0], in->arg_count > 1 ? "@" : "",
           in->arg_count > 1 ? in->args[1] : "");
}

static void snapshot_print_create(const struct invocation *in, const json_t *result)
{
    char mapped[UNITS_TEXT_MAX];
    uint64_t luns = ctl_get(result, "luns");
    bool dry_run = option_flag(in, "dry-run");
    bool several = in->arg_count > 1 && strchr(in->args[0], '@');
    printf("%s snapshot%s ", dry_run ? "Would create" : "Created", several ? "s" : "");
    if (!several)
        snapshot_print_name(in);
    for (size_t i = 0; several && i < in->arg_count; i++)
        printf("%s%s", i > 0 ? ", " : "", in->args[i]);
    printf(several ? ", all of one instant.\n" : ".\n");
    if (dry_run)
        printf("It would keep the %s that %" PRIu64 " LUN%s hold%s now; no data is copied.\n",
               units_format_bytes(ctl_get(result, "mapped_bytes"), 'h', mapped), luns,
               luns == 1 ? "" : "s", luns == 1 ? "s" : "");
    ctl_print_promised(in, result);
}

/* "a@x b@x": the first in @args, the volumes of the others, and of --with, as "with". */
static enum ctl_exit snapshot_create_args(const struct invocation *in, json_t **args)
{
    size_t used, count;
    char text[256];
    enum ctl_exit status = snapshot_args(in, args, &used);
    if (status != CTL_DONE)
        return status;
    json_t *volumes = json_array();
    char *const *with = option_texts(in, "with", &count);
    const char *snapshot = json_string_value(json_object_get(*args, "snapshot"));
    for (size_t i = 0; i < count; i++)
        ignore_error(json_array_append_new(volumes, json_string(with[i])),
                     "the server misses it then, and refuses");
    for (size_t i = used; status == CTL_DONE && i < in->arg_count; i++)
    {
        const char *at = strchr(in->args[i], '@');
        if (at && strcmp(at + 1, snapshot) == 0)
        {
            ignore_error(json_array_append_new(
                             volumes, json_stringn(in->args[i], (size_t)(at - in->args[i]))),
                         "the server misses it then, and refuses");
            continue;
        }
        snprintf(text, sizeof(text),
                 "of one instant are snapshots of one name: write \"%.60s@%.60s\", or make two "
                 "of them one after the other",
                 in->args[i], snapshot);
        status = ctl_usage(in, at ? "of one instant are snapshots of one name" : text);
    }
    if (status == CTL_DONE && json_array_size(volumes) > 0)
        ctl_put(*args, "with", json_incref(volumes));
    json_decref(volumes);
    if (status != CTL_DONE)
        json_decref(*args);
    return status;
}

enum ctl_exit ctl_snapshot_create(struct invocation *in)
{
    json_t *args;
    enum ctl_exit status = snapshot_create_args(in, &args);
    if (status != CTL_DONE)
        return status;
    ctl_put_text(args, "comment", option_text(in, "comment"));
    if (option_flag(in, "dry-run"))
        ctl_put(args, "dry_run", json_true());
    if (option_flag(in, "quiesce-required"))
        ctl_put(args, "quiesce_required", json_true());
    status = ctl_put_moment(in, args, "locked_until", "lock-until");
    if (status == CTL_DONE)
        status = ctl_put_quiesce(in, args);
    if (status != CTL_DONE)
    {
        json_decref(args);
        return status;
    }
    AUTO_JSON json_t *result = NULL;
    status = ctl_ask(in, "snapshot.create", args, &result);
    if (status == CTL_DONE && option_flag(in, "json"))
        table_print_json(stdout, result);
    else if (status == CTL_DONE)
        snapshot_print_create(in, result);
    return status;
}

/* Leaves of result["snapshots"] those that are called @snapshot. */
static enum ctl_exit snapshot_choose(const struct invocation *in, json_t *result,
                                     const char *snapshot)
{
    AUTO_JSON json_t *chosen = json_array();
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(result, "snapshots"), i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        const char *at = name ? strchr(name, '@') : NULL;
        if (at && strcmp(at + 1, snapshot) == 0 && json_array_append(chosen, entry) != 0)
            return ctl_no_memory(in);
    }
    ctl_put(result, "count", proto_json_uint(json_array_size(chosen)));
    ctl_put(result, "snapshots", take_ptr(&chosen));
    return CTL_DONE;
}

enum ctl_exit ctl_snapshot_show(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    AUTO_FREE char *lun = in->arg_count > 0 ? strdup(in->args[0]) : NULL;
    struct table_options options;
    enum ctl_exit status = ctl_table_options(in, snapshot_fields, &options);
    if (status != CTL_DONE)
        return status;
    json_t *args = json_object();
    char *at = lun ? strchr(lun, '@') : NULL;
    if (at)
        *at = '\0';
    ctl_put_text(args, "lun", lun);
    if (option_flag(in, "orphaned"))
        ctl_put(args, "orphaned", json_true());
    status = ctl_ask(in, "snapshot.show", args, &result);
    if (status == CTL_DONE && at)
        status = snapshot_choose(in, result, at + 1);
    if (status == CTL_DONE && at && ctl_get(result, "count") == 0)
    {
        /* The server says best what there is not. */
        json_decref(result);
        result = NULL;
        status = ctl_ask(in, "snapshot.show", json_pack("{s:s}", "lun", in->args[0]), &result);
    }
    return status == CTL_DONE ? ctl_list(in, result, "snapshots", snapshot_fields) : status;
}

enum ctl_exit ctl_snapshot_rename(struct invocation *in)
{
    json_t *args;
    size_t used;
    enum ctl_exit status = snapshot_args(in, &args, &used);
    if (status != CTL_DONE)
        return status;
    if (used + 1 != in->arg_count)
    {
        json_decref(args);
        return ctl_usage(in, "\"snapshot rename\" needs LUN@SNAPSHOT NEW-SNAPSHOT");
    }
    /* The new name may be written with its LUN too. */
    const char *new_name = in->args[used];
    size_t lun_len = strlen(json_string_value(json_object_get(args, "lun")));
    if (strncmp(new_name, in->args[0], lun_len) == 0 && new_name[lun_len] == '@')
        new_name += lun_len + 1;
    ctl_put_text(args, "new_snapshot", new_name);
    return ctl_do(in, "snapshot.rename", args, "Renamed the snapshot to %s.", new_name);
}

/* LUNs that a snapshot of a volume does not have. */
static void snapshot_print_kept(const json_t *result)
{
    uint64_t count = ctl_get(result, "kept");
    if (count > 0)
        printf("%" PRIu64 " LUN%s made since stay%s as %s.\n", count, count == 1 ? "" : "s",
               count == 1 ? "s" : "", count == 1 ? "it is" : "they are");
}

static void snapshot_print_volume_restore(const json_t *plan)
{
    char text[UNITS_TEXT_MAX];
    const char *volume = json_string_value(json_object_get(plan, "volume"));
    size_t i;
    json_t *lun;
    printf("Would put volume %s back to %s@%s; loses %s written since.\n", volume, volume,
           json_string_value(json_object_get(plan, "snapshot")),
           units_format_bytes(ctl_get(plan, "lost_bytes"), 'h', text));
    const json_t *luns = json_object_get(plan, "luns");
    json_array_foreach(luns, i, lun)
    {
        const char *name = json_string_value(json_object_get(lun, "lun"));
        if (i == CTL_LINES_MAX)
            break;
        if (json_is_true(json_object_get(lun, "returns")))
            printf("LUN %s, which was deleted, comes back\n", name);
        else
            printf("LUN %s loses %s\n", name,
                   units_format_bytes(ctl_get(lun, "lost_bytes"), 'h', text));
    }
    ctl_print_more(json_array_size(luns));
    snapshot_print_kept(plan);
}

/* What a restore of a volume did beside putting LUNs back. */
static void snapshot_print_restored(const json_t *result)
{
    size_t i;
    json_t *lun;
    json_array_foreach(json_object_get(result, "luns"), i,
                       lun) if (json_is_true(json_object_get(lun, "returns")))
        printf("LUN %s, which was deleted, is back; it is mapped to nobody.\n",
               json_string_value(json_object_get(lun, "lun")));
    snapshot_print_kept(result);
}

/* @result of a deletion: whether it waits for volume clones. */
static bool snapshot_print_deferred(const struct invocation *in, const json_t *result, bool would)
{
    if (!json_is_true(json_object_get(result, "deferred")))
        return false;
    uint64_t clones = ctl_get(result, "clones");
    printf("Snapshot ");
    snapshot_print_name(in);
    printf("%s when the last volume clone of it goes or is split; there %s %" PRIu64 ".\n",
           would ? " would be deleted" : " will be deleted", clones == 1 ? "is" : "are", clones);
    return true;
}

/* The one that was named is no news in a list of what goes with it. */
static void snapshot_forget_itself(const struct invocation *in, json_t *goes)
{
    AUTO_FREE char *name = NULL;
    if (asprintf(&name, "%s%s%s", in->args[0], in->arg_count > 1 ? "@" : "",
                 in->arg_count > 1 ? in->args[1] : "") < 0)
        name = NULL;
    for (size_t i = json_array_size(goes); name && i-- > 0;)
        if (strcmp(json_string_value(json_array_get(goes, i)), name) == 0)
            ignore_error(json_array_remove(goes, i), "it is there");
}

static void snapshot_print_delete_plan(const struct invocation *in, const json_t *plan)
{
    if (snapshot_print_deferred(in, plan, true))
        return;
    printf("Would delete snapshot ");
    snapshot_print_name(in);
    printf(".\n");
    snapshot_forget_itself(in, json_object_get(plan, "goes"));
    ctl_print_freed(plan, "With it goes");
}

static void snapshot_print_plan(const struct invocation *in, const char *verb, const json_t *plan)
{
    char text[UNITS_TEXT_MAX];
    if (strcmp(verb, "snapshot.delete") == 0)
        snapshot_print_delete_plan(in, plan);
    else if (json_object_get(plan, "volume"))
        snapshot_print_volume_restore(plan);
    else if (json_is_true(json_object_get(plan, "returns")))
        printf("Would bring back LUN %s, which was deleted, from %s.\n",
               json_string_value(json_object_get(plan, "lun")),
               json_string_value(json_object_get(plan, "snapshot")));
    else
        printf("Would put LUN %s back to %s; loses %s written since.\n",
               json_string_value(json_object_get(plan, "lun")),
               json_string_value(json_object_get(plan, "snapshot")),
               units_format_bytes(ctl_get(plan, "lost_bytes"), 'h', text));
}

/* delete and restore: a plan with --dry-run or before a question, then the deed. */
static enum ctl_exit snapshot_destroy(const struct invocation *in, const char *verb)
{
    AUTO_JSON json_t *plan = NULL;
    AUTO_JSON json_t *args = NULL;
    bool dry_run = option_flag(in, "dry-run");
    enum ctl_exit status = snapshot_only_args(in, &args);
    if (status != CTL_DONE)
        return status;
    ctl_put(args, "force", json_boolean(option_flag(in, "force")));
    if (strcmp(verb, "snapshot.delete") == 0 && option_flag(in, "defer"))
        ctl_put(args, "defer", json_true());
    if (dry_run || ctl_asks(in))
    {
        json_t *dry = json_copy(args);
        ctl_put(dry, "dry_run", json_true());
        status = ctl_ask(in, verb, dry, &plan);
        if (status == CTL_DONE && option_flag(in, "json"))
            table_print_json(stdout, plan);
        else if (status == CTL_DONE)
            snapshot_print_plan(in, verb, plan);
    }
    if (status != CTL_DONE || dry_run)
        return status;
    status = ctl_confirm(in);
    if (status != CTL_DONE)
        return status;
    AUTO_JSON json_t *result = NULL;
    status = ctl_ask(in, verb, take_ptr(&args), &result);
    if (status == CTL_DONE && option_flag(in, "json"))
        table_print_json(stdout, result);
    else if (status == CTL_DONE && !snapshot_print_deferred(in, result, false))
    {
        printf(strcmp(verb, "snapshot.restore") == 0 ? "Restored snapshot " : "Deleted snapshot ");
        snapshot_print_name(in);
        printf(".\n");
        snapshot_print_restored(result);
        ctl_print_freed(result, "Deleted");
    }
    return status;
}

enum ctl_exit ctl_snapshot_lock(struct invocation *in)
{
    json_t *args;
    enum ctl_exit status = snapshot_only_args(in, &args);
    if (status != CTL_DONE)
        return status;
    if (!option_text(in, "until"))
        status = ctl_usage(in, "\"snapshot lock\" needs --until TIME");
    else
        status = ctl_put_moment(in, args, "locked_until", "until");
    if (status != CTL_DONE)
    {
        json_decref(args);
        return status;
    }
    return ctl_do(in, "snapshot.lock", args, "Locked snapshot %s.", in->args[0]);
}

enum ctl_exit ctl_snapshot_delete(struct invocation *in)
{
    return snapshot_destroy(in, "snapshot.delete");
}

enum ctl_exit ctl_snapshot_restore(struct invocation *in)
{
    return snapshot_destroy(in, "snapshot.restore");
}
