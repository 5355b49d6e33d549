/* SPDX-License-Identifier: BSD-3-Clause */
/* lun reservation show, clear. */
#include <stdio.h>

#include "server/ctl/ctl.h"

static const struct field reservation_fields[] = {
    {"initiator", "Initiator", FIELD_TEXT, false},
    {"key", "Key", FIELD_TEXT, false},
    {"holder", "Holder", FIELD_TEXT, false},
    {"type", "Reservation", FIELD_TEXT, false},
    {"connected", "Connected", FIELD_TEXT, false},
    {"persists", "Persists", FIELD_TEXT, false},
    {"lun", "LUN", FIELD_TEXT, true},
    {"isid", "ISID", FIELD_TEXT, true},
    {"target_port", "Target port", FIELD_COUNT, true},
    {"generation", "Generation", FIELD_COUNT, true},
    {0},
};

enum ctl_exit ctl_reservation_show(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    struct table_options options;
    enum ctl_exit status = ctl_table_options(in, reservation_fields, &options);
    if (status != CTL_DONE)
        return status;
    json_t *args = json_object();
    ctl_put_text(args, "name", in->args[0]);
    status = ctl_ask(in, "lun.reservation.show", args, &result);
    return status == CTL_DONE ? ctl_list(in, result, "registrations", reservation_fields) : status;
}

static void reservation_print_plan(const json_t *plan)
{
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(plan, "registrations"), i, one)
    {
        const char *key = json_string_value(json_object_get(one, "key"));
        printf("Would clear %s%s of %s", key ? "registration " : "the RESERVE", key ? key : "",
               json_string_value(json_object_get(one, "initiator")));
        if (key && json_is_true(json_object_get(one, "holder")))
            printf(", which holds the reservation (%s)",
                   json_string_value(json_object_get(one, "type")));
        printf("%s.\n", json_is_true(json_object_get(one, "connected"))
                            ? "; it is connected, and its cluster may stop using the LUN"
                            : "");
    }
}

enum ctl_exit ctl_reservation_clear(struct invocation *in)
{
    static const char verb[] = "lun.reservation.clear";
    AUTO_JSON json_t *result = NULL;
    AUTO_JSON json_t *args = json_object();
    bool dry_run = option_flag(in, "dry-run");
    enum ctl_exit status = CTL_DONE;
    ctl_put_text(args, "name", in->args[0]);
    ctl_put_text(args, "initiator", option_text(in, "initiator"));
    if (dry_run || ctl_asks(in))
    {
        AUTO_JSON json_t *plan = NULL;
        json_t *dry = json_copy(args);
        ctl_put(dry, "dry_run", json_true());
        status = ctl_ask(in, verb, dry, &plan);
        if (status == CTL_DONE && option_flag(in, "json"))
            table_print_json(stdout, plan);
        else if (status == CTL_DONE)
            reservation_print_plan(plan);
    }
    if (status == CTL_DONE && !dry_run)
        status = ctl_confirm(in);
    if (status != CTL_DONE || dry_run)
        return status;
    status = ctl_ask(in, verb, take_ptr(&args), &result);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "json"))
        table_print_json(stdout, result);
    else
        printf("Cleared on %s: %d.\n", in->args[0], (int)ctl_get(result, "cleared"));
    return CTL_DONE;
}
