/* SPDX-License-Identifier: BSD-3-Clause */
/* qos class create, modify, delete, show; qos set, show. */
#include <stdio.h>
#include <string.h>

#include "server/ctl/ctl.h"
#include "server/units.h"

static const struct field class_fields[] = {
    {"name", "Class", FIELD_TEXT, false},           {"max_iops", "Max IOPS", FIELD_COUNT, false},
    {"max_bps", "Max bytes/s", FIELD_BYTES, false}, {"burst_ms", "Burst ms", FIELD_COUNT, false},
    {"weight", "Weight", FIELD_COUNT, false},       {"users", "Members", FIELD_COUNT, false},
    {"built_in", "Built in", FIELD_TEXT, true},     {0},
};

static const struct field subject_fields[] = {
    {"kind", "Kind", FIELD_TEXT, false},
    {"name", "Name", FIELD_TEXT, false},
    {"class", "Class", FIELD_TEXT, false},
    {"max_iops", "Max IOPS", FIELD_COUNT, false},
    {"max_bps", "Max bytes/s", FIELD_BYTES, false},
    {"weight", "Weight", FIELD_COUNT, false},
    {"waiting", "Waiting", FIELD_COUNT, false},
    {"held", "Held", FIELD_COUNT, false},
    {"burst_ms", "Burst ms", FIELD_COUNT, true},
    {0},
};

/* In a table, no limit is no number. */
static void qos_mark_unlimited(const struct invocation *in, json_t *result, const char *key)
{
    static const char *const limits[] = {"max_iops", "max_bps"};
    size_t i;
    json_t *entry;
    if (option_flag(in, "json"))
        return;
    json_array_foreach(json_object_get(result, key), i, entry)
    {
        for (size_t limit = 0; limit < 2; limit++)
            if (ctl_get(entry, limits[limit]) == 0)
                ctl_put_text(entry, limits[limit], "none");
    }
}

/* ---- classes ------------------------------------------------------------------------------- */

static bool qos_is_none(const char *text)
{
    return text && strcmp(text, "none") == 0;
}

/* Adds the options that were given to @args. CTL_USAGE has been said. */
static enum ctl_exit qos_put_limits(const struct invocation *in, json_t *args)
{
    uint64_t number = 0;
    const char *iops = option_text(in, "max-iops"), *bps = option_text(in, "max-bps");
    const char *burst = option_text(in, "burst");
    enum ctl_exit status = CTL_DONE;
    if (iops && !qos_is_none(iops))
        status = ctl_number(in, "max-iops", 0, INT64_MAX, &number);
    if (status == CTL_DONE && iops)
        ctl_put(args, "max_iops", proto_json_uint(number));
    number = 0;
    if (status == CTL_DONE && bps && !qos_is_none(bps))
        status = ctl_size(in, bps, UINT64_MAX, &number);
    if (status == CTL_DONE && bps)
        ctl_put(args, "max_bps", proto_json_uint(number));
    if (status == CTL_DONE)
        status = ctl_duration(in, "burst", &number);
    if (status == CTL_DONE && burst)
        ctl_put(args, "burst_ms", proto_json_uint(number));
    if (status == CTL_DONE)
        status = ctl_number(in, "weight", 0, INT64_MAX, &number);
    if (status == CTL_DONE && option_text(in, "weight"))
        ctl_put(args, "weight", proto_json_uint(number));
    return status;
}

/* "Max 500 IOPS, 50.00MiB/s ..." of the one class in @result. */
static void qos_print_class(const struct invocation *in, const json_t *result, const char *did)
{
    char bps[UNITS_TEXT_MAX];
    const json_t *class = json_array_get(json_object_get(result, "classes"), 0);
    uint64_t max_iops = ctl_get(class, "max_iops"), max_bps = ctl_get(class, "max_bps");
    printf("%s class %s: ", did, in->args[0]);
    if (max_iops > 0)
        printf("%ju IOPS, ", (uintmax_t)max_iops);
    if (max_bps > 0)
        printf("%s/s, ", units_format_bytes(max_bps, 'h', bps));
    if (max_iops + max_bps == 0)
        printf("no limit, ");
    printf("weight %ju.\n", (uintmax_t)ctl_get(class, "weight"));
}

static enum ctl_exit qos_change_class(const struct invocation *in, const char *verb,
                                      const char *did)
{
    AUTO_JSON json_t *args = json_object();
    AUTO_JSON json_t *result = NULL;
    ctl_put_text(args, "name", in->args[0]);
    enum ctl_exit status = qos_put_limits(in, args);
    if (status == CTL_DONE)
        status = ctl_ask(in, verb, take_ptr(&args), &result);
    if (status == CTL_DONE && option_flag(in, "json"))
        table_print_json(stdout, result);
    else if (status == CTL_DONE)
        qos_print_class(in, result, did);
    return status;
}

enum ctl_exit ctl_qos_class_create(struct invocation *in)
{
    return qos_change_class(in, "qos.class.create", "Created");
}

enum ctl_exit ctl_qos_class_modify(struct invocation *in)
{
    return qos_change_class(in, "qos.class.modify", "Modified");
}

enum ctl_exit ctl_qos_class_delete(struct invocation *in)
{
    bool dry_run = option_flag(in, "dry-run");
    json_t *args = json_object();
    ctl_put_text(args, "name", in->args[0]);
    ctl_put(args, "dry_run", json_boolean(dry_run));
    return ctl_do(in, "qos.class.delete", args, "%s class %s.",
                  dry_run ? "Would delete" : "Deleted", in->args[0]);
}

/* A listing of what @verb knows, or of the one that the argument names. */
static enum ctl_exit qos_show(const struct invocation *in, const char *verb, const char *key,
                              const struct field *fields)
{
    AUTO_JSON json_t *result = NULL;
    struct table_options options;
    enum ctl_exit status = ctl_table_options(in, fields, &options);
    if (status != CTL_DONE)
        return status;
    json_t *args = json_object();
    if (in->arg_count > 0)
        ctl_put_text(args, "name", in->args[0]);
    status = ctl_ask(in, verb, args, &result);
    if (status != CTL_DONE)
        return status;
    qos_mark_unlimited(in, result, key);
    return ctl_list(in, result, key, fields);
}

enum ctl_exit ctl_qos_class_show(struct invocation *in)
{
    return qos_show(in, "qos.class.show", "classes", class_fields);
}

/* ---- subjects ------------------------------------------------------------------------------ */

enum ctl_exit ctl_qos_set(struct invocation *in)
{
    bool is_pool = option_flag(in, "pool");
    size_t names = in->arg_count - 1;
    if (is_pool && names > 0)
        return ctl_usage(in, "name either LUNs and volumes or, with --pool, the pool");
    if (!is_pool && names == 0)
        return ctl_usage(in, "\"qos set\" needs NAME... CLASS, or --pool CLASS");
    const char *class_name = in->args[names];
    json_t *args = json_object();
    ctl_put_text(args, "class", class_name);
    if (is_pool)
    {
        ctl_put(args, "pool", json_true());
        return ctl_do(in, "qos.set", args, "Put the pool into class %s.", class_name);
    }
    json_t *list = json_array();
    for (size_t i = 0; i < names; i++)
        if (json_array_append_new(list, json_string(in->args[i])) != 0)
            return json_decref(list), json_decref(args), ctl_usage(in, "a name is not UTF-8");
    ctl_put(args, "names", list);
    if (names == 1)
        return ctl_do(in, "qos.set", args, "Put %s into class %s.", in->args[0], class_name);
    return ctl_do(in, "qos.set", args, "Put %zu LUNs and volumes into class %s.", names,
                  class_name);
}

enum ctl_exit ctl_qos_show(struct invocation *in)
{
    return qos_show(in, "qos.show", "subjects", subject_fields);
}
