/* SPDX-License-Identifier: BSD-3-Clause */
/* clone create (several LUNs of one instant), lun redeploy, and what LUNs have beside content. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/size_text.h"
#include "server/ctl/ctl.h"
#include "server/ctl/hint.h"
#include "server/units.h"

#define OVERWRITE_UNDO "undo"

/* ---- attributes ---------------------------------------------------------------------------- */

/* --@option as the group that is charged. What has a '=' was meant as SOURCE=NAME. */
static enum ctl_exit clone_put_group(const struct invocation *in, json_t *args, const char *option)
{
    char text[160];
    const char *group = option_text(in, option);
    if (group && strchr(group, '='))
    {
        snprintf(text, sizeof(text), "--%s: \"%.60s\" is no name of a group: it has a \"=\"",
                 option, group);
        return ctl_usage(in, text);
    }
    ctl_put_text(args, "group", group);
    return CTL_DONE;
}

enum ctl_exit ctl_put_class(const struct invocation *in, json_t *args)
{
    const char *name = option_text(in, "qos"), *other = option_text(in, "qos-policy-group");
    if (name && other)
        return ctl_usage(in, "--qos and --qos-policy-group are the same: not both");
    ctl_put_text(args, "qos", name ? name : other);
    return CTL_DONE;
}

enum ctl_exit ctl_put_attributes(const struct invocation *in, json_t *args)
{
    enum ctl_exit status = ctl_put_bool(in, args, "reserve", "space-reserve");
    if (status == CTL_DONE)
        status = ctl_put_bool(in, args, "autodelete", "autodelete");
    if (status == CTL_DONE)
        status = ctl_put_moment(in, args, "expire", "expire");
    if (status == CTL_DONE)
        status = ctl_put_moment(in, args, "locked_until", "lock-until");
    if (status == CTL_DONE)
        status = ctl_put_class(in, args);
    ctl_put_text(args, "owner", option_text(in, "owner"));
    return status == CTL_DONE ? clone_put_group(in, args, "group") : status;
}

enum ctl_exit ctl_put_clone_attributes(const struct invocation *in, json_t *args,
                                       const char *group_option)
{
    enum ctl_exit status = ctl_put_bool(in, args, "autodelete", "autodelete");
    if (status == CTL_DONE)
        status = ctl_put_moment(in, args, "expire", "expire");
    ctl_put_text(args, "owner", option_text(in, "owner"));
    if (status == CTL_DONE)
        status = clone_put_group(in, args, group_option);
    ctl_put_text(args, "igroup", option_text(in, "igroup"));
    if (status == CTL_DONE)
        status = ctl_put_class(in, args);
    if (option_flag(in, "no-reserve"))
        ctl_put(args, "no_reserve", json_true());
    if (option_flag(in, "unlocked"))
        ctl_put(args, "unlocked", json_true());
    return status;
}

/* ---- clone create -------------------------------------------------------------------------- */

/* SOURCE=NAME, into two arrays. */
static enum ctl_exit clone_put_pair(const struct invocation *in, const char *pair, json_t *sources,
                                    json_t *names)
{
    const char *equals = strchr(pair, '=');
    if (!equals || equals == pair || !equals[1])
        return ctl_usage(in, "say what becomes what: SOURCE=NAME");
    if (json_array_append_new(sources, json_stringn(pair, (size_t)(equals - pair))) != 0 ||
        json_array_append_new(names, json_string(equals + 1)) != 0)
        return ctl_usage(in, "a name is not UTF-8");
    return CTL_DONE;
}

void ctl_print_promised(const struct invocation *in, const json_t *result)
{
    char text[UNITS_TEXT_MAX];
    json_int_t bytes = json_integer_value(json_object_get(result, "promised_bytes"));
    if (bytes != 0)
        printf("The pool %s %s %s for promises than %s.\n",
               option_flag(in, "dry-run") ? "would keep" : "keeps",
               units_format_bytes((uint64_t)(bytes > 0 ? bytes : -bytes), 'h', text),
               bytes > 0 ? "more" : "less", option_flag(in, "dry-run") ? "now" : "before");
}

void ctl_print_mappings(const json_t *result)
{
    const json_t *mappings = json_object_get(result, "mappings");
    size_t i, count = json_array_size(mappings);
    json_t *one;
    const char *igroup = json_string_value(json_object_get(json_array_get(mappings, 0), "igroup"));
    uint64_t first = UINT64_MAX, last = 0;
    json_array_foreach(mappings, i, one)
    {
        first = min_u64(first, ctl_get(one, "lun_id"));
        last = max_u64(last, ctl_get(one, "lun_id"));
    }
    if (count == 1)
        printf("Mapped to igroup %s as LUN %" PRIu64 ".\n", igroup, first);
    else if (count > 1 && last - first == count - 1)
        printf("Mapped to igroup %s as LUNs %" PRIu64 " to %" PRIu64 ".\n", igroup, first, last);
    else if (count > 1)
        hint_printf(
            stdout,
            "Mapped to igroup %s; 'lunette mapping show --igroup %s' lists as which LUNs.\n",
            igroup, igroup);
}

static void clone_print(const struct invocation *in, const json_t *result)
{
    char size[UNITS_TEXT_MAX], shared[UNITS_TEXT_MAX];
    size_t i;
    json_t *clone;
    if (!option_flag(in, "dry-run"))
    {
        printf("Cloned %zu LUN%s, all of one instant.\n", in->arg_count,
               in->arg_count == 1 ? "" : "s");
        ctl_print_promised(in, result);
        ctl_print_mappings(result);
        return;
    }
    json_array_foreach(json_object_get(result, "clones"), i, clone)
        printf("Would clone %s to %s: %s, of which %s is shared\n",
               json_string_value(json_object_get(clone, "source")),
               json_string_value(json_object_get(clone, "name")),
               units_format_bytes(ctl_get(clone, "size_bytes"), 'h', size),
               units_format_bytes(ctl_get(clone, "shared_bytes"), 'h', shared));
    if (option_text(in, "igroup"))
        printf("Would map %s to igroup %s.\n", in->arg_count == 1 ? "it" : "each",
               option_text(in, "igroup"));
    printf("All of one instant; no data is copied.\n");
    ctl_print_promised(in, result);
}

enum ctl_exit ctl_clone_create(struct invocation *in)
{
    AUTO_JSON json_t *args = json_object();
    AUTO_JSON json_t *sources = json_array();
    AUTO_JSON json_t *names = json_array();
    enum ctl_exit status = CTL_DONE;
    for (size_t i = 0; status == CTL_DONE && i < in->arg_count; i++)
        status = clone_put_pair(in, in->args[i], sources, names);
    if (status == CTL_DONE)
        status = ctl_put_clone_attributes(in, args, "quota-group");
    if (status != CTL_DONE)
        return status;
    ctl_put(args, "sources", take_ptr(&sources));
    ctl_put(args, "names", take_ptr(&names));
    ctl_put_text(args, "comment", option_text(in, "comment"));
    if (option_flag(in, "dry-run"))
        ctl_put(args, "dry_run", json_true());
    AUTO_JSON json_t *result = NULL;
    status = ctl_ask(in, "lun.clone_group", take_ptr(&args), &result);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "json"))
        table_print_json(stdout, result);
    else
        clone_print(in, result);
    return CTL_DONE;
}

/* ---- redeploy ------------------------------------------------------------------------------ */

static json_t *redeploy_args(const struct invocation *in, bool dry_run)
{
    json_t *args = json_object();
    json_t *names = json_array();
    for (size_t i = 1; i < in->arg_count; i++)
        ignore_error(json_array_append_new(names, json_string(in->args[i])),
                     "the server misses it then, and refuses");
    ctl_put_text(args, "source", in->args[0]);
    ctl_put(args, "names", names);
    ctl_put_text(args, "undo", option_text(in, "undo") ? option_text(in, "undo") : "undo");
    ctl_put(args, "force", json_boolean(option_flag(in, "force")));
    if (dry_run)
        ctl_put(args, "dry_run", json_true());
    return args;
}

static void redeploy_print_plan(const struct invocation *in, const json_t *plan, const char *undo)
{
    char size[UNITS_TEXT_MAX], shared[UNITS_TEXT_MAX];
    size_t i;
    json_t *lun;
    printf("Would put the content of %s (%s, of which %s is shared) into %zu LUN%s; what they hold "
           "now becomes their snapshot %s.\n",
           in->args[0], units_format_bytes(ctl_get(plan, "size_bytes"), 'h', size),
           units_format_bytes(ctl_get(plan, "shared_bytes"), 'h', shared), in->arg_count - 1,
           in->arg_count == 2 ? "" : "s", undo);
    json_array_foreach(json_object_get(plan, "luns"), i, lun) printf(
        "LUN %s of %s keeps %s in %s@%s%s\n", json_string_value(json_object_get(lun, "name")),
        units_format_bytes(ctl_get(lun, "old_size_bytes"), 'h', size),
        units_format_bytes(ctl_get(lun, "kept_bytes"), 'h', shared),
        json_string_value(json_object_get(lun, "name")), undo,
        json_is_true(json_object_get(lun, "replaces_undo"))
            ? ", in place of the snapshot of that name, which goes"
            : "");
    ctl_print_promised(in, plan);
}

static enum ctl_exit redeploy_now(const struct invocation *in, const char *undo)
{
    AUTO_JSON json_t *result = NULL;
    size_t i, replaced = 0;
    json_t *lun;
    enum ctl_exit status = ctl_ask(in, "lun.redeploy", redeploy_args(in, false), &result);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "json"))
    {
        table_print_json(stdout, result);
        return CTL_DONE;
    }
    json_array_foreach(json_object_get(result, "luns"), i, lun) replaced +=
        json_is_true(json_object_get(lun, "replaces_undo"));
    hint_printf(stdout,
                "Put the content of %s into %zu LUN%s; 'lunette snapshot restore LUN@%s' takes one "
                "back.\n",
                in->args[0], in->arg_count - 1, plural_s(in->arg_count - 1), undo);
    if (replaced > 0)
        printf("%zu of them had a snapshot %s already, which is gone; --undo names another one.\n",
               replaced, undo);
    return CTL_DONE;
}

enum ctl_exit ctl_lun_redeploy(struct invocation *in)
{
    AUTO_JSON json_t *plan = NULL;
    bool dry_run = option_flag(in, "dry-run");
    const char *undo = option_text(in, "undo") ? option_text(in, "undo") : "undo";
    enum ctl_exit status = CTL_DONE;
    if (dry_run || ctl_asks(in))
        status = ctl_ask(in, "lun.redeploy", redeploy_args(in, true), &plan);
    if (plan && option_flag(in, "json"))
        table_print_json(stdout, plan);
    else if (plan)
        redeploy_print_plan(in, plan, undo);
    if (status != CTL_DONE || dry_run)
        return status;
    status = ctl_confirm(in);
    return status == CTL_DONE ? redeploy_now(in, undo) : status;
}

/* ---- lun clone --overwrite-destination ------------------------------------------------------ */

static json_t *overwrite_args(const char *source, const char *name, bool dry_run)
{
    json_t *args =
        json_pack("{s:s, s:[s], s:s}", "source", source, "names", name, "undo", OVERWRITE_UNDO);
    if (dry_run)
        ctl_put(args, "dry_run", json_true());
    return args;
}

/* What only a new clone can get. */
static enum ctl_exit overwrite_check_options(const struct invocation *in)
{
    static const char *const others[] = {
        "count",      "name",  "first", "range",  "group",   "no-reserve",      "expire",
        "autodelete", "owner", "qos",   "igroup", "comment", "qos-policy-group"};
    char text[160];
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
    {
        if (!option_flag(in, others[i]))
            continue;
        snprintf(text, sizeof(text),
                 "--%s is for a new clone; the one that is there keeps what it has", others[i]);
        return ctl_usage(in, text);
    }
    return CTL_DONE;
}

enum ctl_exit ctl_lun_overwrite(const struct invocation *in, const char *source, const char *name,
                                bool *is_there)
{
    struct client client;
    struct client_refusal refusal;
    AUTO_JSON json_t *now = NULL;
    AUTO_JSON json_t *result = NULL;
    bool dry_run = option_flag(in, "dry-run");
    *is_there = false;
    enum ctl_exit status = ctl_connect(in, &client);
    if (status != CTL_DONE)
        return status;
    int r = client_call(&client, "lun.show", json_pack("{s:s}", "name", name), NULL, NULL, &now,
                        &refusal);
    *is_there = r == 0;
    if (*is_there)
        status = overwrite_check_options(in);
    if (*is_there && status == CTL_DONE)
        status =
            ctl_call(in, &client, "lun.redeploy", overwrite_args(source, name, dry_run), &result);
    client_close(&client);
    if (!*is_there || status != CTL_DONE)
        return status;
    const json_t *lun = json_array_get(json_object_get(result, "luns"), 0);
    if (option_flag(in, "json"))
        table_print_json(stdout, result);
    else
        printf("%s the content of %s into %s; what it %s its snapshot %s@%s%s.\n",
               dry_run ? "Would put" : "Put", source, name,
               dry_run ? "holds now would stay as" : "held stays as", name, OVERWRITE_UNDO,
               json_is_true(json_object_get(lun, "replaces_undo"))
                   ? ", in place of the one of that name"
                   : "");
    return CTL_DONE;
}
