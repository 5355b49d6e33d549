/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of verbs, the check of their arguments, and the table of hints. */
#include "server/mgmt/verbs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"

#define NAME                                                                                       \
    {                                                                                              \
        "name", VERB_STRING, true                                                                  \
    }
#define FLAG(key)                                                                                  \
    {                                                                                              \
        key, VERB_BOOL, false                                                                      \
    }
#define TEXT(key, required)                                                                        \
    {                                                                                              \
        key, VERB_STRING, required                                                                 \
    }
#define NUMBER(key, required)                                                                      \
    {                                                                                              \
        key, VERB_NUMBER, required                                                                 \
    }

/* Attributes of a LUN; times are seconds since 1970. */
#define ATTRIBUTES                                                                                 \
    FLAG("reserve"), FLAG("autodelete"), NUMBER("expire", false), NUMBER("locked_until", false),   \
        TEXT("owner", false), TEXT("group", false), TEXT("qos", false)
#define CLONE_ATTRIBUTES                                                                           \
    FLAG("no_reserve"), FLAG("unlocked"), FLAG("autodelete"), NUMBER("expire", false),             \
        TEXT("owner", false), TEXT("group", false), TEXT("igroup", false), TEXT("qos", false)
#define VOLUME_ATTRIBUTES                                                                          \
    FLAG("guarantee"), TEXT("full_policy", false), NUMBER("pause_ms", false),                      \
        NUMBER("locked_until", false), TEXT("comment", false), TEXT("thresholds", false),          \
        TEXT("snapshot_policy", false), TEXT("qos", false), FLAG("dry_run")
#define QUIESCE                                                                                    \
    TEXT("quiesce", false), NUMBER("quiesce_timeout_ms", false), FLAG("quiesce_required")
#define SNAPSHOT_POLICY TEXT("prefix", false), TEXT("comment", false), QUIESCE, FLAG("dry_run")
#define NAMES                                                                                      \
    {                                                                                              \
        "names", VERB_STRINGS, true                                                                \
    }
#define REFRESH                                                                                    \
    TEXT("prefix", false), TEXT("undo", false), TEXT("hook", false), FLAG("force"), FLAG("dry_run")
#define QUOTA_RULE                                                                                 \
    TEXT("volume", true), TEXT("type", true), TEXT("target", false), TEXT("qtree", false)
#define QUOTA_LIMITS                                                                               \
    NUMBER("hard_bytes", false), NUMBER("soft_bytes", false), NUMBER("threshold_bytes", false)

static const struct verb verbs[] = {
    {"pool.show", VERB_LOOKS, verb_pool_show, {{0}}},
    {"pool.grow", VERB_CHANGES, verb_pool_grow, {NUMBER("size_bytes", true), FLAG("dry_run")}},
    {"pool.modify",
     VERB_CHANGES,
     verb_pool_modify,
     {TEXT("thresholds", false), NUMBER("lease_warning_s", false), FLAG("lease_force"),
      TEXT("lease_snapshots", false), NUMBER("autogrow_step_bytes", false),
      NUMBER("autogrow_max_bytes", false), NUMBER("autogrow_threshold", false), FLAG("dry_run")}},
    {"pool.settings.show", VERB_LOOKS, verb_pool_settings_show, {{0}}},
    {"pool.check", VERB_CHANGES, verb_pool_check, {{0}}},
    {"pool.scrub", VERB_CHANGES, verb_pool_scrub, {NUMBER("rate_bytes", false)}},
    {"pool.scrub.show", VERB_LOOKS, verb_pool_scrub_show, {{0}}},
    {"pool.scrub.wait", VERB_LOOKS, verb_pool_scrub_wait, {NUMBER("id", true)}},
    {"pool.dump", VERB_CHANGES, verb_pool_dump, {TEXT("what", true)}},

    {"lun.create",
     VERB_CHANGES,
     verb_lun_create,
     {NAME, NUMBER("size_bytes", true), NUMBER("sector_bytes", false), TEXT("comment", false),
      ATTRIBUTES, TEXT("import", false), FLAG("resume"), FLAG("dry_run")}},
    {"lun.import.end", VERB_CHANGES, verb_import_end, {NAME, NUMBER("id", false), FLAG("dry_run")}},
    {"lun.show",
     VERB_LOOKS,
     verb_lun_show,
     {TEXT("name", false), FLAG("snapshots"), FLAG("exact")}},
    {"lun.clone",
     VERB_CHANGES,
     verb_lun_clone,
     {TEXT("source", true), NAME, NUMBER("count", false), NUMBER("first_number", false),
      TEXT("comment", false), CLONE_ATTRIBUTES, FLAG("dry_run")}},
    {"lun.clone_group",
     VERB_CHANGES,
     verb_lun_clone_group,
     {{"sources", VERB_STRINGS, true},
      {"names", VERB_STRINGS, true},
      TEXT("comment", false),
      CLONE_ATTRIBUTES,
      FLAG("dry_run")}},
    {"lun.clone_ranges",
     VERB_CHANGES,
     verb_lun_clone_ranges,
     {TEXT("source", true), NAME, {"ranges", VERB_STRINGS, true}, FLAG("force"), FLAG("dry_run")}},
    {"lun.redeploy",
     VERB_CHANGES,
     verb_lun_redeploy,
     {TEXT("source", true),
      {"names", VERB_STRINGS, true},
      TEXT("undo", true),
      FLAG("force"),
      FLAG("dry_run")}},
    {"lun.attributes",
     VERB_CHANGES,
     verb_lun_attributes,
     {NAME, ATTRIBUTES, TEXT("thresholds", false), TEXT("snapshot_policy", false),
      FLAG("dry_run")}},
    {"lun.resize",
     VERB_CHANGES,
     verb_lun_resize,
     {NAME, NUMBER("size_bytes", true), FLAG("force"), FLAG("dry_run")}},
    {"lun.rename", VERB_CHANGES, verb_lun_rename, {NAME, TEXT("new_name", true)}},
    {"lun.delete",
     VERB_CHANGES,
     verb_lun_delete,
     {NAME, NUMBER("id", false), FLAG("with_snapshots"), FLAG("force"), FLAG("dry_run"),
      FLAG("only_check")}},
    {"lun.comment", VERB_CHANGES, verb_lun_comment, {NAME, TEXT("comment", true)}},
    {"lun.freed", VERB_LOOKS, verb_lun_freed, {{"names", VERB_STRINGS, true}}},

    {"snapshot.create",
     VERB_CHANGES,
     verb_snapshot_create,
     {TEXT("lun", true),
      TEXT("snapshot", true),
      TEXT("comment", false),
      NUMBER("locked_until", false),
      {"with", VERB_STRINGS, false},
      QUIESCE,
      FLAG("dry_run")}},
    {"snapshot.show", VERB_LOOKS, verb_snapshot_show, {TEXT("lun", false), FLAG("orphaned")}},
    {"snapshot.delete",
     VERB_CHANGES,
     verb_snapshot_delete,
     {TEXT("lun", true), TEXT("snapshot", true), FLAG("force"), FLAG("defer"), FLAG("dry_run")}},
    {"snapshot.lock",
     VERB_CHANGES,
     verb_snapshot_lock,
     {TEXT("lun", true), TEXT("snapshot", true), NUMBER("locked_until", true)}},
    {"snapshot.rename",
     VERB_CHANGES,
     verb_snapshot_rename,
     {TEXT("lun", true), TEXT("snapshot", true), TEXT("new_snapshot", true)}},
    {"snapshot.restore",
     VERB_CHANGES,
     verb_snapshot_restore,
     {TEXT("lun", true), TEXT("snapshot", true), FLAG("force"), FLAG("dry_run")}},

    {"autodelete.show", VERB_LOOKS, verb_autodelete_show, {TEXT("name", false)}},
    {"autodelete.modify",
     VERB_CHANGES,
     verb_autodelete_modify,
     {TEXT("name", false), FLAG("enabled"), TEXT("trigger", false),
      NUMBER("trigger_free_space", false), NUMBER("target_free_space", false),
      TEXT("delete_order", false), TEXT("commitment", false), TEXT("defer_delete", false),
      FLAG("dry_run")}},
    {"snapshot.policy.create",
     VERB_CHANGES,
     verb_snapshot_policy_create,
     {NAME, TEXT("schedule", true), SNAPSHOT_POLICY}},
    {"snapshot.policy.modify",
     VERB_CHANGES,
     verb_snapshot_policy_modify,
     {NAME, TEXT("schedule", false), SNAPSHOT_POLICY}},
    {"snapshot.policy.delete", VERB_CHANGES, verb_snapshot_policy_delete, {NAME, FLAG("dry_run")}},
    {"snapshot.policy.show", VERB_LOOKS, verb_snapshot_policy_show, {TEXT("name", false)}},

    {"refresh.create",
     VERB_CHANGES,
     verb_refresh_create,
     {NAMES, TEXT("source", true), TEXT("schedule", true), REFRESH}},
    {"refresh.modify",
     VERB_CHANGES,
     verb_refresh_modify,
     {NAMES, TEXT("source", false), TEXT("schedule", false), REFRESH}},
    {"refresh.delete", VERB_CHANGES, verb_refresh_delete, {NAMES, FLAG("dry_run")}},
    {"refresh.show", VERB_LOOKS, verb_refresh_show, {{"names", VERB_STRINGS, false}}},
    {"refresh.run", VERB_CHANGES, verb_refresh_run, {NAMES, FLAG("dry_run")}},

    {"volume.create",
     VERB_CHANGES,
     verb_volume_create,
     {NAME, NUMBER("size_bytes", false), VOLUME_ATTRIBUTES}},
    {"volume.modify",
     VERB_CHANGES,
     verb_volume_modify,
     {NAME, NUMBER("size_bytes", false), VOLUME_ATTRIBUTES}},
    {"volume.show", VERB_LOOKS, verb_volume_show, {TEXT("name", false)}},
    {"volume.rename", VERB_CHANGES, verb_volume_rename, {NAME, TEXT("new_name", true)}},
    {"volume.delete",
     VERB_CHANGES,
     verb_volume_delete,
     {NAME, FLAG("with_contents"), FLAG("force"), FLAG("delete_backing_snapshot"),
      FLAG("dry_run")}},
    {"volume.clone",
     VERB_CHANGES,
     verb_volume_clone,
     {TEXT("volume", true), NAME, TEXT("snapshot", false), FLAG("no_guarantee"), FLAG("no_reserve"),
      FLAG("unlocked"), TEXT("comment", false), TEXT("qos", false), FLAG("dry_run")}},
    {"volume.split",
     VERB_CHANGES,
     verb_volume_split,
     {NAME, FLAG("physical"), NUMBER("rate_bytes", false), FLAG("delete_backing_snapshot"),
      FLAG("dry_run")}},
    {"volume.split.show", VERB_LOOKS, verb_volume_split_show, {{0}}},
    {"volume.split.pause", VERB_CHANGES, verb_volume_split_pause, {NAME, FLAG("dry_run")}},
    {"volume.split.stop", VERB_CHANGES, verb_volume_split_stop, {NAME, FLAG("dry_run")}},
    {"volume.split_estimate", VERB_LOOKS, verb_volume_split_estimate, {NAME}},
    {"qtree.create", VERB_CHANGES, verb_qtree_create, {TEXT("path", true), TEXT("comment", false)}},
    {"qtree.show", VERB_LOOKS, verb_qtree_show, {TEXT("volume", false)}},
    {"qtree.rename", VERB_CHANGES, verb_qtree_rename, {TEXT("path", true), TEXT("new_name", true)}},
    {"qtree.delete", VERB_CHANGES, verb_qtree_delete, {TEXT("path", true), FLAG("dry_run")}},

    {"quota.rule.create", VERB_CHANGES, verb_quota_rule_create, {QUOTA_RULE, QUOTA_LIMITS}},
    {"quota.rule.modify", VERB_CHANGES, verb_quota_rule_modify, {QUOTA_RULE, QUOTA_LIMITS}},
    {"quota.rule.delete", VERB_CHANGES, verb_quota_rule_delete, {QUOTA_RULE, FLAG("dry_run")}},
    {"quota.rule.show", VERB_LOOKS, verb_quota_rule_show, {TEXT("volume", false)}},
    {"quota.enable", VERB_CHANGES, verb_quota_enable, {TEXT("volume", true), FLAG("on")}},
    {"quota.report", VERB_LOOKS, verb_quota_report, {TEXT("path", false)}},
    {"explain.space",
     VERB_LOOKS,
     verb_explain_space,
     {TEXT("name", false), NUMBER("wanted_bytes", false)}},
    {"explain.quota",
     VERB_LOOKS,
     verb_explain_quota,
     {TEXT("path", true), NUMBER("wanted_bytes", false)}},

    {"igroup.create",
     VERB_CHANGES,
     verb_igroup_create,
     {NAME, {"initiators", VERB_STRINGS, false}}},
    {"igroup.add", VERB_CHANGES, verb_igroup_add, {NAME, TEXT("initiator", true)}},
    {"igroup.remove",
     VERB_CHANGES,
     verb_igroup_remove,
     {NAME, TEXT("initiator", true), FLAG("dry_run")}},
    {"igroup.show", VERB_LOOKS, verb_igroup_show, {TEXT("name", false)}},
    {"igroup.delete", VERB_CHANGES, verb_igroup_delete, {NAME, FLAG("force"), FLAG("dry_run")}},

    {"lun.map",
     VERB_CHANGES,
     verb_lun_map,
     {NAME, TEXT("igroup", true), NUMBER("lun_id", false), FLAG("dry_run")}},
    {"lun.unmap", VERB_CHANGES, verb_lun_unmap, {NAME, TEXT("igroup", true), FLAG("dry_run")}},
    {"lun.modify",
     VERB_CHANGES,
     verb_lun_modify,
     {NAME, NUMBER("id", false), FLAG("read_only"), FLAG("removable"), FLAG("native_512"),
      FLAG("dry_run")}},
    {"lun.attribute.show", VERB_LOOKS, verb_attribute_show, {NAME}},
    {"lun.reservation.show", VERB_LOOKS, verb_reservation_show, {NAME}},
    {"lun.reservation.clear",
     VERB_CHANGES,
     verb_reservation_clear,
     {NAME, TEXT("initiator", false), FLAG("dry_run")}},
    {"mapping.show", VERB_LOOKS, verb_mapping_show, {TEXT("name", false), TEXT("igroup", false)}},

    {"iscsi.chap.set",
     VERB_CHANGES,
     verb_chap_set,
     {TEXT("subject", true), TEXT("user", true), TEXT("secret", true), TEXT("mutual_user", false),
      TEXT("mutual_secret", false)}},
    {"iscsi.chap.show", VERB_LOOKS, verb_chap_show, {{0}}},
    {"iscsi.chap.delete", VERB_CHANGES, verb_chap_delete, {TEXT("subject", true), FLAG("dry_run")}},
    {"iscsi.chap.rewrap",
     VERB_CHANGES,
     verb_chap_rewrap,
     {TEXT("old_key", false), FLAG("dry_run")}},
    {"iscsi.session.show", VERB_LOOKS, verb_session_show, {{0}}},
    {"iscsi.session.terminate",
     VERB_CHANGES,
     verb_session_terminate,
     {TEXT("initiator", false), NUMBER("tsih", false), FLAG("dry_run")}},
    {"iscsi.portal.show", VERB_LOOKS, verb_portal_show, {{0}}},

    {"qos.class.create",
     VERB_CHANGES,
     verb_qos_class_create,
     {NAME, NUMBER("max_iops", false), NUMBER("max_bps", false), NUMBER("burst_ms", false),
      NUMBER("weight", false)}},
    {"qos.class.modify",
     VERB_CHANGES,
     verb_qos_class_modify,
     {NAME, NUMBER("max_iops", false), NUMBER("max_bps", false), NUMBER("burst_ms", false),
      NUMBER("weight", false)}},
    {"qos.class.delete", VERB_CHANGES, verb_qos_class_delete, {NAME, FLAG("dry_run")}},
    {"qos.class.show", VERB_LOOKS, verb_qos_class_show, {TEXT("name", false)}},
    {"qos.set",
     VERB_CHANGES,
     verb_qos_set,
     {{"names", VERB_STRINGS, false}, FLAG("pool"), TEXT("class", true)}},
    {"qos.show", VERB_LOOKS, verb_qos_show, {TEXT("name", false)}},
    {"stats.show", VERB_LOOKS, verb_stats_show, {TEXT("name", false)}},

    {"tree", VERB_LOOKS, verb_tree, {{0}}},
    {"df", VERB_LOOKS, verb_df, {{0}}},

    {"event.list", VERB_LOOKS, verb_event_list, {NUMBER("after", false)}},
    {"event.follow", VERB_LOOKS, verb_event_follow, {NUMBER("after", false)}},

    {"job.list", VERB_LOOKS, verb_job_list, {{0}}},
    {"job.wait", VERB_LOOKS, verb_job_wait, {NUMBER("id", false), NUMBER("timeout_ms", false)}},
    {"job.cancel", VERB_CHANGES, verb_job_cancel, {NUMBER("id", true)}},

    {"server.status", VERB_LOOKS, verb_server_status, {{0}}},
    {"server.stop", VERB_CHANGES, verb_server_stop, {{0}}},

    /* The store holds secrets (CHAP), so looking into it needs the right to change. */
    {"store.get", VERB_CHANGES, verb_store_get, {TEXT("key", true)}},
    {"store.list", VERB_CHANGES, verb_store_list, {TEXT("prefix", false)}},
};

const struct verb *verb_at(size_t i)
{
    return i < ARRAY_SIZE(verbs) ? &verbs[i] : NULL;
}

const struct verb *verb_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

/* ---- arguments ----------------------------------------------------------------------------- */

static bool verb_is_strings(const json_t *value)
{
    if (!json_is_array(value))
        return false;
    for (size_t i = 0; i < json_array_size(value); i++)
        if (!json_is_string(json_array_get(value, i)))
            return false;
    return true;
}

static int verb_check_arg(const struct verb *verb, const struct verb_arg *arg, const json_t *value,
                          struct reason *why)
{
    static const char *const wanted[] = {
        [VERB_STRING] = "a string",
        [VERB_NUMBER] = "a whole number, 0 or more",
        [VERB_BOOL] = "true or false",
        [VERB_STRINGS] = "an array of strings",
    };
    bool ok = false;
    switch (arg->type)
    {
    case VERB_STRING:
        ok = json_is_string(value);
        break;
    case VERB_NUMBER:
        ok = json_is_integer(value) && json_integer_value(value) >= 0;
        break;
    case VERB_BOOL:
        ok = json_is_boolean(value);
        break;
    case VERB_STRINGS:
        ok = verb_is_strings(value);
        break;
    }
    if (ok)
        return 0;
    return reason_set(why, -EINVAL, "%s: \"%s\" has to be %s", verb->name, arg->name,
                      wanted[arg->type]);
}

static const struct verb_arg *verb_find_arg(const struct verb *verb, const char *name)
{
    for (const struct verb_arg *arg = verb->args; arg < verb->args + VERB_ARGS_MAX && arg->name;
         arg++)
        if (strcmp(arg->name, name) == 0)
            return arg;
    return NULL;
}

int verb_check_args(const struct verb *verb, const json_t *args, struct reason *why)
{
    if (!json_is_object(args))
        return reason_set(why, -EINVAL, "%s: \"args\" has to be an object", verb->name);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)args, key, value)
    {
        const struct verb_arg *arg = verb_find_arg(verb, key);
        if (!arg)
            return reason_set(why, -EINVAL, "%s takes no argument \"%.60s\"", verb->name, key);
        int r = verb_check_arg(verb, arg, value, why);
        if (r < 0)
            return r;
    }
    for (const struct verb_arg *arg = verb->args; arg < verb->args + VERB_ARGS_MAX && arg->name;
         arg++)
        if (arg->required && !json_object_get(args, arg->name))
            return reason_set(why, -EINVAL, "%s needs \"%s\"", verb->name, arg->name);
    return 0;
}

const char *verb_string(const struct verb_request *request, const char *name)
{
    return json_string_value(json_object_get(request->args, name));
}

uint64_t verb_number(const struct verb_request *request, const char *name, uint64_t otherwise)
{
    const json_t *value = json_object_get(request->args, name);
    return value ? (uint64_t)json_integer_value(value) : otherwise;
}

bool verb_bool(const struct verb_request *request, const char *name)
{
    return json_is_true(json_object_get(request->args, name));
}

bool verb_has(const struct verb_request *request, const char *name)
{
    return json_object_get(request->args, name) != NULL;
}

int verb_strings(const struct verb_request *request, const char *name, const char ***list,
                 size_t *count)
{
    const json_t *array = json_object_get(request->args, name);
    size_t n = json_array_size(array);
    const char **strings = calloc(n + 1, sizeof(*strings));
    if (!strings)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        strings[i] = json_string_value(json_array_get(array, i));
    *list = strings;
    *count = n;
    return 0;
}

/* ---- results ------------------------------------------------------------------------------- */

static bool verb_is_secret(const char *name)
{
    return strcmp(name, "secret") == 0 || strcmp(name, "mutual_secret") == 0 ||
           strcmp(name, "old_key") == 0;
}

/* Says of what it is the result, so that none is empty. */
static void verb_complete_result(const struct verb *verb, struct verb_request *request)
{
    if (!request->result)
        request->result = json_object();
    if (verb->access != VERB_CHANGES)
        return;
    for (const struct verb_arg *arg = verb->args; arg < verb->args + VERB_ARGS_MAX && arg->name;
         arg++)
    {
        json_t *value = json_object_get(request->args, arg->name);
        bool is_dry_run = strcmp(arg->name, "dry_run") == 0;
        if (json_object_get(request->result, arg->name) || verb_is_secret(arg->name) ||
            (!value && !is_dry_run))
            continue;
        ignore_error(json_object_set_new(request->result, arg->name,
                                         value ? json_incref(value) : json_false()),
                     "the handler's own part is there");
    }
}

int verb_run(const struct verb *verb, struct verb_request *request)
{
    bool is_dry = verb_bool(request, "dry_run");
    command_dry_run(is_dry);
    int r = verb->handler(request);
    command_dry_run(false);
    request->is_done &= !is_dry; /* what it would do is all that there is to say */
    if (r == -ENOMEM && request->is_done)
        r = 0;
    if (r < 0)
        return r;
    if (verb->access == VERB_CHANGES && !request->result && !is_dry)
        request->is_done = true; /* no more to say */
    verb_complete_result(verb, request);
    return r;
}

/* ---- hints --------------------------------------------------------------------------------- */

struct verb_hint_row
{
    const char *verb; /* a trailing '*' stands for any rest */
    int err;
    const char *mentions; /* only if the reason contains it; NULL: always */
    const char *hint;     /* {key} is replaced by that argument */
};

/* The first row that fits counts. */
static const struct verb_hint_row verb_hints[] = {
    {"lun.delete", -EBUSY, "--with-snapshots",
     "lunette lun delete {name} --with-snapshots --dry-run"},
    {"lun.delete", -EBUSY, NULL, "lunette lun delete {name} --force --dry-run"},
    {"lun.resize", -EBUSY, NULL, "lunette lun resize --help"},
    {"lun.resize", -EINVAL, NULL, "lunette lun resize --help"},
    {"lun.create", -EEXIST, NULL, "lunette lun show {name}"},
    {"lun.create", -ENOENT, "QoS class", "lunette qos class show"},
    {"lun.attributes", -ENOENT, "QoS class", "lunette qos class show"},
    {"lun.clone", -EEXIST, NULL, "lunette lun show"},
    {"lun.clone", -ENOENT, "QoS class", "lunette qos class show"},
    {"lun.clone", -ENOENT, NULL, "lunette lun show --snapshots"},
    {"lun.clone_group", -EEXIST, NULL, "lunette lun show"},
    {"lun.resize", -EPERM, "--force", "lunette lun resize {name} SIZE --force --dry-run"},
    {"lun.clone_ranges", -ENOENT, NULL, "lunette lun show --snapshots"},
    {"lun.clone_ranges", -EBUSY, NULL, "lunette lun show {name} --fields name,open"},
    {"lun.clone_ranges", -EINVAL, NULL, "lunette lun clone --help"},
    {"lun.clone_ranges", -EPERM, "reserv", "lunette lun reservation show {name}"},
    {"lun.clone_ranges", -ENOSPC, NULL, "lunette explain space {name}"},
    {"lun.clone_ranges", -EDQUOT, NULL, "lunette explain space {name}"},
    {"lun.freed", -ENOENT, NULL, "lunette lun show --snapshots"},
    {"lun.rename", -EEXIST, NULL, "lunette lun show {new_name}"},
    {"igroup.create", -EEXIST, NULL, "lunette igroup show {name}"},
    {"igroup.create", -EINVAL, NULL, "lunette igroup create --help"},
    {"igroup.add", -EINVAL, NULL, "lunette igroup add --help"},
    {"igroup.*", -EEXIST, NULL, "lunette igroup show {name}"},
    {"igroup.*", -EBUSY, NULL, "lunette mapping show"},
    {"igroup.*", -ENOENT, NULL, "lunette igroup show"},
    {"lun.map", -EEXIST, NULL, "lunette mapping show {name}"},
    {"lun.map", -EBUSY, NULL, "lunette mapping show --igroup {igroup}"},
    {"lun.map", -EINVAL, NULL, "lunette lun map --help"},
    {"lun.modify", -EINVAL, NULL, "lunette lun modify --help"},
    {"lun.unmap", -ENOENT, "is not mapped", "lunette mapping show"},
    {"iscsi.chap.set", -EINVAL, NULL, "lunette iscsi chap set --help"},
    {"qos.class.create", -EEXIST, NULL, "lunette qos class modify {name} --help"},
    {"qos.class.create", -EINVAL, NULL, "lunette qos class create --help"},
    {"qos.class.modify", -EINVAL, NULL, "lunette qos class modify --help"},
    {"qos.class.delete", -EBUSY, NULL, "lunette qos show"},
    {"qos.class.delete", -EPERM, NULL, "lunette qos class modify {name} --help"},
    {"qos.*", -ENOENT, "QoS class", "lunette qos class show"},
    {"qos.*", -ENOENT, NULL, "lunette lun show"},
    {"stats.*", -ENOENT, NULL, "lunette lun show"},
    {"iscsi.*", -ENOTSUP, NULL, "lunette serve --help"},
    {"lun.*", -ENOENT, NULL, "lunette lun show"},
    {"snapshot.policy.*", -EEXIST, NULL, "lunette snapshot policy show {name}"},
    {"snapshot.policy.*", -EINVAL, NULL, "lunette snapshot policy create --help"},
    {"snapshot.*", -ENOENT, "[quiesce]", ""},
    {"snapshot.*", -ENOENT, "cannot be run", ""},
    {"snapshot.create", -ENOENT, NULL, "lunette lun show"},
    {"snapshot.create", -EEXIST, NULL, "lunette snapshot show {lun}"},
    {"snapshot.restore", -EBUSY, NULL, "lunette snapshot restore {lun}@{snapshot} --force"},
    {"snapshot.delete", -EBUSY, NULL, "lunette snapshot delete {lun}@{snapshot} --force"},
    {"snapshot.*", -ENOENT, NULL, "lunette snapshot show"},
    {"refresh.*", -ENOENT, "[refresh]", ""},
    {"refresh.*", -ENOENT, "cannot be run", ""},
    {"refresh.*", -ENOENT, NULL, "lunette lun show --snapshots"},
    {"refresh.*", -EEXIST, NULL, "lunette refresh create --help"},
    {"refresh.*", -EINVAL, NULL, "lunette refresh create --help"},
    {"volume.*", -ENOENT, "QoS class", "lunette qos class show"},
    {"volume.create", -EEXIST, NULL, "lunette volume show {name}"},
    {"volume.delete", -EBUSY, NULL, "lunette volume delete {name} --with-contents --dry-run"},
    {"volume.*", -ENOENT, NULL, "lunette volume show"},
    {"autodelete.*", -ENOENT, NULL, "lunette volume show"},
    {"autodelete.*", -EINVAL, NULL, "lunette volume autodelete modify --help"},
    {"qtree.create", -EEXIST, NULL, "lunette qtree show"},
    {"qtree.*", -ENOENT, NULL, "lunette qtree show"},
    {"quota.*", -ENOENT, NULL, "lunette quota rule show"},
    {"explain.*", -ENOENT, NULL, "lunette lun show"},
    {"job.*", -ENOENT, NULL, "lunette job show"},
    {"pool.modify", -EINVAL, NULL, "lunette pool modify --help"},
    {"pool.dump", -EINVAL, NULL, "lunette pool dump --help"},
    {"*", -ENOSPC, NULL, "lunette explain space"},
    {"*", -EDQUOT, NULL, "lunette quota report"},
    {"*", -EROFS, NULL, "lunette pool show"},
};

static bool verb_hint_fits(const struct verb_hint_row *row, const struct verb *verb, int err,
                           const char *why)
{
    const char *star = strchr(row->verb, '*');
    if (row->err != err || (row->mentions && !strstr(why, row->mentions)))
        return false;
    return star ? strncmp(row->verb, verb->name, (size_t)(star - row->verb)) == 0
                : strcmp(row->verb, verb->name) == 0;
}

/* Copies @from to @hint with its {keys} filled in. What does not fit makes no hint at all. */
static void verb_fill_hint(const char *from, const json_t *args, char *hint, size_t hint_size)
{
    size_t at = 0;
    while (*from && at + 1 < hint_size)
    {
        const char *end = *from == '{' ? strchr(from, '}') : NULL;
        if (!end)
        {
            hint[at++] = *from++;
            continue;
        }
        char key[32];
        snprintf(key, sizeof(key), "%.*s", (int)(end - from - 1), from + 1);
        const char *value = json_string_value(json_object_get(args, key));
        int n = snprintf(hint + at, hint_size - at, "%s", value ? value : "...");
        at = min_u64(at + (size_t)n, hint_size);
        from = end + 1;
    }
    hint[*from || at >= hint_size ? 0 : at] = '\0';
}

void verb_hint(const struct verb *verb, int err, const json_t *args, const char *why, char *hint,
               size_t hint_size)
{
    hint[0] = '\0';
    if (strstr(why, "lunette "))
        return; /* it names its own */
    for (size_t i = 0; i < ARRAY_SIZE(verb_hints); i++)
    {
        if (!verb_hint_fits(&verb_hints[i], verb, err, why))
            continue;
        verb_fill_hint(verb_hints[i].hint, args, hint, hint_size);
        return;
    }
}
