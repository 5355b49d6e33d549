/* SPDX-License-Identifier: BSD-3-Clause */
/* What the server does by itself: pool modify. */
#include <stdio.h>
#include <string.h>

#include "server/ctl/ctl.h"
#include "server/units.h"

static const struct field pool_setting_fields[] = {
    {"name", "Pool", FIELD_TEXT, false},
    {"thresholds", "Thresholds (percent used)", FIELD_TEXT, false},
    {"lease_warning_s", "Leases: warning (seconds before)", FIELD_COUNT, false},
    {"lease_force", "Leases: also LUNs in use", FIELD_TEXT, false},
    {"lease_snapshots", "Leases: snapshots that go too", FIELD_TEXT, false},
    {0},
};

static void policy_put_dry_run(const struct invocation *in, json_t *args)
{
    if (option_flag(in, "dry-run"))
        ctl_put(args, "dry_run", json_true());
}

/* Asks, and shows the object it answers. */
static enum ctl_exit policy_show(const struct invocation *in, const char *verb, json_t *args,
                                 const struct field *fields)
{
    AUTO_JSON json_t *result = NULL;
    struct reason why;
    bool dry_run = json_is_true(json_object_get(args, "dry_run"));
    const struct table_options options = {.unit = 'h', .json = option_flag(in, "json")};
    enum ctl_exit status = ctl_ask(in, verb, args, &result);
    if (status == CTL_DONE && !options.json && dry_run)
        puts("Would be done; nothing was changed.");
    else if (status == CTL_DONE && table_print_object(stdout, result, fields, &options, &why) < 0)
        return ctl_refuse(in, why.text, NULL);
    return status;
}

/* A duration, or "none". */
static enum ctl_exit policy_put_seconds(const struct invocation *in, json_t *args, const char *key,
                                        const char *option)
{
    struct reason why;
    uint64_t ms = 0;
    const char *text = option_text(in, option);
    if (!text)
        return CTL_DONE;
    if (strcmp(text, "none") != 0 && units_parse_ms(text, &ms, &why) < 0)
        return ctl_usage(in, why.text);
    ctl_put(args, key, proto_json_uint(ms / 1000));
    return CTL_DONE;
}

enum ctl_exit ctl_pool_modify(struct invocation *in)
{
    AUTO_JSON json_t *args = json_object();
    ctl_put_text(args, "thresholds", option_text(in, "threshold"));
    ctl_put_text(args, "lease_snapshots", option_text(in, "lease-snapshots"));
    enum ctl_exit status = ctl_put_bool(in, args, "lease_force", "lease-force");
    if (status == CTL_DONE)
        status = policy_put_seconds(in, args, "lease_warning_s", "lease-warning");
    if (status != CTL_DONE)
        return status;
    bool changes = json_object_size(args) > 0;
    if (changes)
        policy_put_dry_run(in, args);
    return policy_show(in, changes ? "pool.modify" : "pool.settings.show", take_ptr(&args),
                       pool_setting_fields);
}
