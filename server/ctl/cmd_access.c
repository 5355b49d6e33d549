/* SPDX-License-Identifier: BSD-3-Clause */
/* igroup create, add, remove, show, delete; lun map, unmap; mapping show. */
#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/access.h"
#include "server/ctl/ctl.h"
#include "server/units.h"

static const struct field igroup_fields[] = {
    {"name", "Igroup", FIELD_TEXT, false},
    {"initiator_count", "Initiators", FIELD_COUNT, false},
    {"mapping_count", "Mappings", FIELD_COUNT, false},
    {"names", "Names", FIELD_TEXT, false},
    {0},
};

static const struct field mapping_fields[] = {
    {"lun", "LUN", FIELD_TEXT, false},
    {"igroup", "Igroup", FIELD_TEXT, false},
    {"lun_id", "LUN id", FIELD_COUNT, false},
    {"object_id", "Object id", FIELD_COUNT, true},
    {"reservation", "Reservation", FIELD_TEXT, true},
    {0},
};

/* ---- a plan, a question, the deed ---------------------------------------------------------- */

/* Which hosts are connected, of what lun.unmap says. */
static void access_print_sessions(const json_t *result, const char *lun, const char *what)
{
    size_t i;
    json_t *session;
    json_array_foreach(json_object_get(result, "sessions"), i, session)
    {
        if (i < CTL_LINES_MAX)
            printf("%s, connected from %s, %s %s.\n",
                   json_string_value(json_object_get(session, "initiator")),
                   json_string_value(json_object_get(session, "address")), what, lun);
    }
    ctl_print_more(json_array_size(json_object_get(result, "sessions")));
}

static void access_print_plan(const struct invocation *in, const json_t *plan)
{
    size_t i;
    json_t *mapping;
    const json_t *mappings = json_object_get(plan, "mappings");
    printf("Would ");
    ctl_print_doing(stdout, in);
    printf(".\n");
    json_array_foreach(mappings, i, mapping)
        printf("Hosts of igroup %s lose LUN %s (number %d).\n",
               json_string_value(json_object_get(mapping, "igroup")),
               json_string_value(json_object_get(mapping, "lun")),
               (int)json_integer_value(json_object_get(mapping, "lun_id")));
    access_print_sessions(plan, in->args[0], "would lose");
}

/* Prints the plan with --dry-run or before a question. *goes_on: it is to be done now. */
static enum ctl_exit access_ask(const struct invocation *in, const char *verb, const json_t *args,
                                bool *goes_on)
{
    AUTO_JSON json_t *plan = NULL;
    bool dry_run = option_flag(in, "dry-run");
    enum ctl_exit status = CTL_DONE;
    *goes_on = false;
    if (dry_run || ctl_asks(in))
    {
        json_t *dry = json_copy((json_t *)args);
        ctl_put(dry, "dry_run", json_true());
        status = ctl_ask(in, verb, dry, &plan);
        if (status == CTL_DONE && option_flag(in, "json"))
            table_print_json(stdout, plan);
        else if (status == CTL_DONE)
            access_print_plan(in, plan);
    }
    if (status != CTL_DONE || dry_run)
        return status;
    status = ctl_confirm(in);
    *goes_on = status == CTL_DONE;
    return status;
}

/* Takes @args over. As access_ask(), and says @said after. */
static enum ctl_exit access_destroy(const struct invocation *in, const char *verb, json_t *args,
                                    const char *said)
{
    AUTO_JSON json_t *real = args;
    bool goes_on;
    enum ctl_exit status = access_ask(in, verb, real, &goes_on);
    return goes_on ? ctl_do(in, verb, take_ptr(&real), "%s", said) : status;
}

/* ---- igroups ------------------------------------------------------------------------------- */

enum ctl_exit ctl_igroup_create(struct invocation *in)
{
    json_t *initiators = json_array();
    for (size_t i = 1; i < in->arg_count; i++)
        if (json_array_append_new(initiators, json_string(in->args[i])) != 0)
        {
            json_decref(initiators);
            return ctl_usage(in, "an initiator's name has to be text");
        }
    json_t *args = json_object();
    ctl_put_text(args, "name", in->args[0]);
    ctl_put(args, "initiators", initiators);
    return ctl_do(in, "igroup.create", args, "Created igroup %s with %zu initiator%s.", in->args[0],
                  in->arg_count - 1, in->arg_count == 2 ? "" : "s");
}

static json_t *igroup_initiator_args(const struct invocation *in)
{
    json_t *args = json_object();
    ctl_put_text(args, "name", in->args[0]);
    ctl_put_text(args, "initiator", in->args[1]);
    return args;
}

enum ctl_exit ctl_igroup_add(struct invocation *in)
{
    return ctl_do(in, "igroup.add", igroup_initiator_args(in), "Added %s to igroup %s.",
                  in->args[1], in->args[0]);
}

enum ctl_exit ctl_igroup_remove(struct invocation *in)
{
    char said[ACCESS_NAME_MAX + ACCESS_INITIATOR_MAX + 64];
    snprintf(said, sizeof(said), "Removed %s from igroup %s.", in->args[1], in->args[0]);
    return access_destroy(in, "igroup.remove", igroup_initiator_args(in), said);
}

enum ctl_exit ctl_igroup_delete(struct invocation *in)
{
    char said[ACCESS_NAME_MAX + 64];
    json_t *args = json_object();
    ctl_put_text(args, "name", in->args[0]);
    ctl_put(args, "force", json_boolean(option_flag(in, "force")));
    snprintf(said, sizeof(said), "Deleted igroup %s.", in->args[0]);
    return access_destroy(in, "igroup.delete", args, said);
}

/* The initiators' names of @igroup in one text, for the table. */
static void igroup_join_names(json_t *igroup)
{
    char *text = NULL;
    size_t size, i;
    json_t *name;
    FILE *file = open_memstream(&text, &size);
    if (!file)
        return;
    json_array_foreach(json_object_get(igroup, "initiators"), i, name)
        fprintf(file, "%s%s", i > 0 ? " " : "", json_string_value(name));
    if (fclose(file) == 0)
        ctl_put_text(igroup, "names", text);
    free(text);
}

enum ctl_exit ctl_igroup_show(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    struct table_options options;
    enum ctl_exit status = ctl_table_options(in, igroup_fields, &options);
    if (status != CTL_DONE)
        return status;
    json_t *args = json_object();
    if (in->arg_count > 0)
        ctl_put_text(args, "name", in->args[0]);
    status = ctl_ask(in, "igroup.show", args, &result);
    if (status != CTL_DONE)
        return status;
    size_t i;
    json_t *igroup;
    if (!options.json || options.fields)
        json_array_foreach(json_object_get(result, "igroups"), i, igroup) igroup_join_names(igroup);
    return ctl_list(in, result, "igroups", igroup_fields);
}

/* ---- mappings ------------------------------------------------------------------------------ */

/* {"name":..,"igroup":..}; CTL_USAGE has been said. */
static enum ctl_exit mapping_args(const struct invocation *in, json_t **args)
{
    char text[128];
    const char *igroup = option_text(in, "igroup");
    if (!igroup)
    {
        snprintf(text, sizeof(text), "\"%s\" needs --igroup", in->command->words);
        return ctl_usage(in, text);
    }
    *args = json_object();
    ctl_put_text(*args, "name", in->args[0]);
    ctl_put_text(*args, "igroup", igroup);
    return CTL_DONE;
}

enum ctl_exit ctl_lun_map(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    json_t *args = NULL;
    uint64_t number = 0;
    enum ctl_exit status = ctl_number(in, "lun-id", 0, ACCESS_LUN_NUMBER_MAX, &number);
    if (status == CTL_DONE)
        status = mapping_args(in, &args);
    if (status != CTL_DONE)
        return status;
    if (option_text(in, "lun-id"))
        ctl_put(args, "lun_id", json_integer((json_int_t)number));
    if (option_flag(in, "dry-run"))
        ctl_put(args, "dry_run", json_true());
    status = ctl_ask(in, "lun.map", args, &result);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "json"))
        table_print_json(stdout, result);
    else
        printf("%s %s to igroup %s as LUN %d.\n",
               option_flag(in, "dry-run") ? "Would map" : "Mapped", in->args[0],
               option_text(in, "igroup"), (int)ctl_get(result, "lun_id"));
    return CTL_DONE;
}

enum ctl_exit ctl_lun_unmap(struct invocation *in)
{
    AUTO_JSON json_t *args = NULL;
    AUTO_JSON json_t *result = NULL;
    bool goes_on;
    enum ctl_exit status = mapping_args(in, &args);
    if (status == CTL_DONE)
        status = access_ask(in, "lun.unmap", args, &goes_on);
    if (status != CTL_DONE || !goes_on)
        return status;
    status = ctl_ask(in, "lun.unmap", json_incref(args), &result);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "json"))
    {
        table_print_json(stdout, result);
        return CTL_DONE;
    }
    printf("Unmapped %s from igroup %s.\n", in->args[0], option_text(in, "igroup"));
    access_print_sessions(result, in->args[0], "has lost");
    return CTL_DONE;
}

enum ctl_exit ctl_mapping_show(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    struct table_options options;
    enum ctl_exit status = ctl_table_options(in, mapping_fields, &options);
    if (status != CTL_DONE)
        return status;
    json_t *args = json_object();
    if (in->arg_count > 0)
        ctl_put_text(args, "name", in->args[0]);
    ctl_put_text(args, "igroup", option_text(in, "igroup"));
    status = ctl_ask(in, "mapping.show", args, &result);
    return status == CTL_DONE ? ctl_list(in, result, "mappings", mapping_fields) : status;
}
