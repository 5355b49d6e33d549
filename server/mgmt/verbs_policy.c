/* SPDX-License-Identifier: BSD-3-Clause */
/* Verbs on what the server does by itself. Dry runs as in verbs_lun.c. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/size_text.h"
#include "server/mgmt/proto.h"
#include "server/mgmt/verbs.h"
#include "server/mgmt/verbs_internal.h"
#include "server/mgmt/view.h"

static int verb_lease_args(struct verb_request *request, struct policy_leases *leases,
                           unsigned *mask)
{
    const char *snapshots = verb_string(request, "lease_snapshots");
    leases->warning_s = verb_number(request, "lease_warning_s", 0);
    leases->force = verb_bool(request, "lease_force");
    leases->takes_volume_snapshots = snapshots && strcmp(snapshots, "all") == 0;
    *mask |= (verb_has(request, "lease_warning_s") ? POLICY_SET_LEASE_WARNING : 0u) |
             (verb_has(request, "lease_force") ? POLICY_SET_LEASE_FORCE : 0u) |
             (snapshots ? POLICY_SET_LEASE_SNAPSHOTS : 0u);
    if (snapshots && !leases->takes_volume_snapshots && strcmp(snapshots, "own") != 0)
        return reason_set(&request->why, -EINVAL,
                          "the snapshots that go with a LUN are \"own\" or \"all\", not \"%.60s\"",
                          snapshots);
    if (leases->warning_s > UINT32_MAX)
        return reason_set(&request->why, -EINVAL, "a warning comes 136 years early at most");
    return 0;
}

static int verb_autogrow_args(struct verb_request *request, struct policy_autogrow *autogrow,
                              unsigned *mask)
{
    struct pool_info info;
    uint64_t bytes, threshold = verb_number(request, "autogrow_threshold", 0);
    autogrow->step_bytes = verb_number(request, "autogrow_step_bytes", 0);
    autogrow->max_bytes = verb_number(request, "autogrow_max_bytes", 0);
    autogrow->threshold_percent = (uint8_t)(threshold < 100 ? threshold : 100);
    *mask |= (verb_has(request, "autogrow_step_bytes") ? POLICY_SET_AUTOGROW_STEP : 0u) |
             (verb_has(request, "autogrow_max_bytes") ? POLICY_SET_AUTOGROW_MAX : 0u) |
             (verb_has(request, "autogrow_threshold") ? POLICY_SET_AUTOGROW_THRESHOLD : 0u);
    pool_get_info(request->pool, &info);
    if (autogrow->step_bytes > 0)
    {
        /* A step that is too small would add nothing; that there is no room now says little. */
        int r = pool_grow_dry_run(request->pool, info.size_bytes + autogrow->step_bytes, &bytes,
                                  &request->why);
        if (r < 0 && r != -ENOSPC)
            return r;
        reason_clear(&request->why);
    }
    if (autogrow->max_bytes > 0 && autogrow->max_bytes <= info.size_bytes)
        return reason_set(&request->why, -EINVAL,
                          "pool '%s' has %s already: a maximum of %s lets it grow no more; 'none' "
                          "or 0 is no maximum",
                          info.name, size_text(info.size_bytes).text,
                          size_text(autogrow->max_bytes).text);
    if (verb_has(request, "autogrow_threshold") && (threshold < 1 || threshold > 99))
        return reason_set(&request->why, -EINVAL, "a pool grows when 1 to 99 percent are used");
    return 0;
}

/* Before anything else is changed: a policy that is not there. */
static int verb_snapshot_policy_arg(struct verb_request *request, struct policy_settings *settings,
                                    unsigned *mask)
{
    struct snapshot_policy there;
    const char *name = verb_string(request, "snapshot_policy");
    if (!name)
        return 0;
    *mask |= POLICY_SET_SNAPSHOT_POLICY;
    if (strcmp(name, "none") == 0)
        return 0;
    int r = snapshot_policy_get(target_policy(request->target), name, &there, &request->why);
    if (r == 0)
        snprintf(settings->snapshot_policy, sizeof(settings->snapshot_policy), "%s", there.name);
    return r;
}

int verb_policy_args(struct verb_request *request, enum policy_scope scope,
                     struct policy_settings *settings, unsigned *mask)
{
    const char *thresholds = verb_string(request, "thresholds");
    int r = 0;
    *settings = (struct policy_settings){0};
    *mask = 0;
    if (scope == POLICY_OF_POOL)
        r = verb_lease_args(request, &settings->leases, mask);
    if (r == 0 && scope == POLICY_OF_POOL)
        r = verb_autogrow_args(request, &settings->autogrow, mask);
    if (r < 0)
        return r;
    if (thresholds)
    {
        *mask |= POLICY_SET_THRESHOLDS;
        r = policy_parse_levels(thresholds, &settings->thresholds, &request->why);
    }
    return r < 0 ? r : verb_snapshot_policy_arg(request, settings, mask);
}

int verb_policy_set(struct verb_request *request, enum policy_scope scope, uint64_t id,
                    unsigned mask, const struct policy_settings *settings)
{
    struct policy *policy = target_policy(request->target);
    return policy_set(policy, scope, id, mask, settings, &request->why);
}

void verb_policy_view(struct verb_request *request, enum policy_scope scope, json_t *view)
{
    uint64_t id = (uint64_t)json_integer_value(json_object_get(view, "id"));
    if (json_is_object(view))
        policy_view(target_policy(request->target), scope, id, view);
}

void verb_view_unset(struct verb_request *request)
{
    static const char *const keys[] = {"expire", "locked_until", "thresholds", "snapshot_policy"};
    for (size_t i = 0; verb_bool(request, "dry_run") && i < ARRAY_SIZE(keys); i++)
    {
        if (verb_has(request, keys[i]) && !json_object_get(request->result, keys[i]))
            ignore_error(json_object_set_new(request->result, keys[i], json_null()),
                         "without memory less is shown");
    }
}

/* ---- pool ---------------------------------------------------------------------------------- */

int verb_pool_settings_show(struct verb_request *request)
{
    struct pool_info info;
    pool_get_info(request->pool, &info);
    request->result = json_pack("{s:s}", "name", info.name);
    if (!request->result)
        return -ENOMEM;
    policy_view(target_policy(request->target), POLICY_OF_POOL, 0, request->result);
    return 0;
}

int verb_pool_modify(struct verb_request *request)
{
    struct policy_settings settings;
    unsigned mask;
    int r = verb_policy_args(request, POLICY_OF_POOL, &settings, &mask);
    if (r == 0 && mask == 0)
        r = reason_set(&request->why, -EINVAL, "nothing of the pool is to be changed");
    if (r == 0)
        r = verb_policy_set(request, POLICY_OF_POOL, 0, mask, &settings);
    request->is_done = r == 0;
    return r < 0 ? r : verb_pool_settings_show(request);
}

/* ---- snapshot policies --------------------------------------------------------------------- */

int verb_quiesce_args(struct verb_request *request, struct policy_quiesce *quiesce)
{
    const char *program = verb_string(request, "quiesce");
    uint64_t timeout_ms = verb_number(request, "quiesce_timeout_ms", quiesce->timeout_ms);
    if (program && strlen(program) > POLICY_NAME_MAX)
        return reason_set(&request->why, -EINVAL, "the name of a program has at most %d bytes",
                          POLICY_NAME_MAX);
    if (program)
        snprintf(quiesce->program, sizeof(quiesce->program), "%s",
                 strcmp(program, "none") == 0 ? "" : program);
    if (timeout_ms > 3600000)
        return reason_set(&request->why, -EINVAL, "freezing takes an hour at most");
    quiesce->timeout_ms = (uint32_t)timeout_ms;
    if (verb_has(request, "quiesce_required"))
        quiesce->is_required = verb_bool(request, "quiesce_required");
    return 0;
}

static int verb_snapshot_policy_args(struct verb_request *request,
                                     struct snapshot_policy *snapshots)
{
    const char *schedule = verb_string(request, "schedule");
    const char *prefix = verb_string(request, "prefix"), *comment = verb_string(request, "comment");
    if (prefix && strlen(prefix) > POLICY_PREFIX_MAX)
        return reason_set(&request->why, -EINVAL, "a prefix has at most %d bytes",
                          POLICY_PREFIX_MAX);
    if (comment && strlen(comment) > LUN_COMMENT_MAX)
        return reason_set(&request->why, -EINVAL, "a comment has at most %d bytes",
                          LUN_COMMENT_MAX);
    if (prefix)
        snprintf(snapshots->prefix, sizeof(snapshots->prefix), "%s", prefix);
    if (comment)
        snprintf(snapshots->comment, sizeof(snapshots->comment), "%s", comment);
    int r = verb_quiesce_args(request, &snapshots->quiesce);
    return r < 0 || !schedule ? r : snapshot_policy_parse(schedule, snapshots, &request->why);
}

static json_t *verb_view_snapshot_policy(const struct snapshot_policy *snapshots)
{
    char schedule[POLICY_SCHEDULES_MAX * 32] = "";
    size_t at = 0;
    const struct policy_quiesce *quiesce = &snapshots->quiesce;
    for (size_t i = 0; i < snapshots->schedule_count; i++)
        at += (size_t)snprintf(schedule + at, sizeof(schedule) - at, "%s%s:%u", i ? "," : "",
                               snapshots->schedules[i].kind, snapshots->schedules[i].keep);
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:b, s:s}", "name", snapshots->name, "schedule",
                     schedule, "prefix", snapshots->prefix, "quiesce", quiesce->program,
                     "quiesce_timeout_ms",
                     (json_int_t)(quiesce->timeout_ms ? quiesce->timeout_ms : POLICY_QUIESCE_MS),
                     "quiesce_required", quiesce->is_required, "comment", snapshots->comment);
}

static int verb_snapshot_policy_put(struct verb_request *request, bool is_new)
{
    struct snapshot_policy snapshots = {0};
    struct policy *policy = target_policy(request->target);
    const char *name = verb_string(request, "name");
    int r = is_new ? 0 : snapshot_policy_get(policy, name, &snapshots, &request->why);
    if (r == 0 && strlen(name) > POLICY_NAME_MAX)
        r = reason_set(&request->why, -EINVAL, "a snapshot policy's name has at most %d bytes",
                       POLICY_NAME_MAX);
    if (r < 0)
        return r;
    snprintf(snapshots.name, sizeof(snapshots.name), "%s", name);
    r = verb_snapshot_policy_args(request, &snapshots);
    if (r == 0)
        r = snapshot_policy_put(policy, &snapshots, is_new, &request->why);
    if (r < 0)
        return r;
    request->is_done = true;
    request->result = verb_view_snapshot_policy(&snapshots);
    return request->result ? 0 : -ENOMEM;
}

int verb_snapshot_policy_create(struct verb_request *request)
{
    return verb_snapshot_policy_put(request, true);
}

int verb_snapshot_policy_modify(struct verb_request *request)
{
    return verb_snapshot_policy_put(request, false);
}

int verb_snapshot_policy_delete(struct verb_request *request)
{
    return snapshot_policy_delete(target_policy(request->target), verb_string(request, "name"),
                                  &request->why);
}

int verb_snapshot_policy_show(struct verb_request *request)
{
    AUTO_FREE struct snapshot_policy *list = NULL;
    struct snapshot_policy one;
    size_t count = 1;
    const char *name = verb_string(request, "name");
    struct policy *policy = target_policy(request->target);
    int r = name ? snapshot_policy_get(policy, name, &one, &request->why)
                 : snapshot_policy_list(policy, &list, &count);
    if (r < 0)
        return r;
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(array, verb_view_snapshot_policy(name ? &one : &list[i])) != 0)
            r = -ENOMEM;
    request->result = view_listing("policies", array);
    return request->result ? r : -ENOMEM;
}

/* ---- autodelete ---------------------------------------------------------------------------- */

/* The pool, or the volume "name". */
static int verb_autodelete_object(struct verb_request *request, enum policy_scope *scope,
                                  uint64_t *id)
{
    struct volume_info info;
    const char *name = verb_string(request, "name");
    *scope = name ? POLICY_OF_VOLUME : POLICY_OF_POOL;
    *id = 0;
    int r = name ? volume_get_info(request->pool, name, &info, &request->why) : 0;
    if (r == 0 && name)
        *id = info.id;
    return r;
}

/* Which of @words the argument @name is, into *index; as it was without one. */
static int verb_word(struct verb_request *request, const char *name, const char *const words[],
                     int *index)
{
    const char *text = verb_string(request, name);
    char all[128] = "";
    size_t at = 0;
    for (int i = 0; text && words[i]; i++)
    {
        if (strcmp(text, words[i]) == 0)
        {
            *index = i;
            return 0;
        }
        at += (size_t)snprintf(all + at, sizeof(all) - at, "%s%s", i ? ", " : "", words[i]);
    }
    return text ? reason_set(&request->why, -EINVAL, "%s is one of %s, not \"%.60s\"", name, all,
                             text)
                : 0;
}

static int verb_autodelete_args(struct verb_request *request, enum policy_scope scope,
                                struct policy_autodelete *autodelete)
{
    static const char *const triggers[] = {"volume", "pool", NULL};
    static const char *const orders[] = {"oldest_first", NULL};
    int trigger = scope == POLICY_OF_POOL || autodelete->is_by_pool, order = 0;
    int commitment = (int)autodelete->commitment, defer = (int)autodelete->defer_delete;
    uint64_t trigger_free =
        verb_number(request, "trigger_free_space", autodelete->trigger_free_percent);
    uint64_t target_free =
        verb_number(request, "target_free_space", autodelete->target_free_percent);
    int r = verb_word(request, "trigger", triggers, &trigger);
    if (r == 0)
        r = verb_word(request, "delete_order", orders, &order);
    if (r == 0)
        r = verb_word(request, "commitment", policy_commitments, &commitment);
    if (r == 0)
        r = verb_word(request, "defer_delete", policy_defers, &defer);
    if (r == 0 && scope == POLICY_OF_POOL && trigger == 0)
        r = reason_set(&request->why, -EINVAL, "what triggers it for the pool is the pool");
    if (r < 0)
        return r;
    if (verb_has(request, "enabled"))
        autodelete->is_enabled = verb_bool(request, "enabled");
    autodelete->is_by_pool = scope == POLICY_OF_VOLUME && trigger == 1;
    autodelete->trigger_free_percent = (uint8_t)(trigger_free < 100 ? trigger_free : 100);
    autodelete->target_free_percent = (uint8_t)(target_free < 100 ? target_free : 100);
    autodelete->commitment = (enum policy_commitment)commitment;
    autodelete->defer_delete = (enum policy_defer)defer;
    return 0;
}

static int verb_autodelete_result(struct verb_request *request, enum policy_scope scope,
                                  const struct policy_autodelete *autodelete)
{
    const char *name = verb_string(request, "name");
    struct pool_info info;
    pool_get_info(request->pool, &info);
    bool is_by_pool = scope == POLICY_OF_POOL || autodelete->is_by_pool;
    request->result = json_pack(
        "{s:s, s:s, s:b, s:s, s:i, s:i, s:s, s:s, s:s}", "of", name ? "volume" : "pool", "name",
        name ? name : info.name, "enabled", autodelete->is_enabled, "trigger",
        is_by_pool ? "pool" : "volume", "trigger_free_space", autodelete->trigger_free_percent,
        "target_free_space", autodelete->target_free_percent, "delete_order", "oldest_first",
        "commitment", policy_commitments[autodelete->commitment], "defer_delete",
        policy_defers[autodelete->defer_delete]);
    return request->result ? 0 : -ENOMEM;
}

int verb_autodelete_show(struct verb_request *request)
{
    struct policy_settings settings;
    enum policy_scope scope;
    uint64_t id;
    int r = verb_autodelete_object(request, &scope, &id);
    if (r < 0)
        return r;
    policy_get(target_policy(request->target), scope, id, &settings);
    return verb_autodelete_result(request, scope, &settings.autodelete);
}

int verb_autodelete_modify(struct verb_request *request)
{
    struct policy_settings settings;
    enum policy_scope scope;
    uint64_t id;
    int r = verb_autodelete_object(request, &scope, &id);
    if (r < 0)
        return r;
    policy_get(target_policy(request->target), scope, id, &settings);
    r = verb_autodelete_args(request, scope, &settings.autodelete);
    if (r == 0)
        r = verb_policy_set(request, scope, id, POLICY_SET_AUTODELETE, &settings);
    request->is_done = r == 0;
    return r < 0 ? r : verb_autodelete_result(request, scope, &settings.autodelete);
}

/* ---- physical splits ----------------------------------------------------------------------- */

static json_t *verb_view_split(const struct policy_split *split)
{
    return json_pack("{s:I, s:s, s:s, s:I, s:I, s:I, s:s}", "id", (json_int_t)split->volume_id,
                     "volume", split->volume, "state", split->is_paused ? "paused" : "running",
                     "copied_bytes", (json_int_t)split->copied_bytes, "total_bytes",
                     (json_int_t)split->total_bytes, "rate_bytes", (json_int_t)split->rate_bytes,
                     "reason", split->reason);
}

int verb_volume_split_physical(struct verb_request *request)
{
    const char *name = verb_string(request, "name");
    struct volume_info info;
    int r = volume_get_info(request->pool, name, &info, &request->why);
    if (r < 0)
        return r;
    request->result = json_pack("{s:s, s:I, s:b}", "name", info.name, "job", (json_int_t)info.id,
                                "dry_run", verb_bool(request, "dry_run"));
    if (!request->result)
        return -ENOMEM;
    return policy_split_start(target_policy(request->target), name,
                              verb_number(request, "rate_bytes", 0), verb_bool(request, "dry_run"),
                              &request->why);
}

int verb_volume_split_show(struct verb_request *request)
{
    AUTO_FREE struct policy_split *list = NULL;
    size_t count = 0;
    int r = policy_split_list(target_policy(request->target), &list, &count);
    if (r < 0)
        return r;
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(array, verb_view_split(&list[i])) != 0)
            r = -ENOMEM;
    request->result = view_listing("splits", array);
    return request->result ? r : -ENOMEM;
}

int verb_volume_split_pause(struct verb_request *request)
{
    return policy_split_pause(target_policy(request->target), verb_string(request, "name"),
                              verb_bool(request, "dry_run"), &request->why);
}

int verb_volume_split_stop(struct verb_request *request)
{
    return policy_split_stop(target_policy(request->target), verb_string(request, "name"),
                             verb_bool(request, "dry_run"), &request->why);
}

int verb_add_split_jobs(struct verb_request *request, json_t *array)
{
    AUTO_FREE struct policy_split *list = NULL;
    size_t count = 0;
    int r = policy_split_list(target_policy(request->target), &list, &count);
    for (size_t i = 0; r == 0 && i < count; i++)
    {
        struct job_info job = {
            .id = list[i].volume_id,
            .kind = "split",
            .done_blks = list[i].copied_bytes / LUN_BLK_BYTES,
            .total_blks = list[i].total_bytes / LUN_BLK_BYTES,
        };
        snprintf(job.subject, sizeof(job.subject), "%s", list[i].volume);
        snprintf(job.state, sizeof(job.state), "%s", list[i].is_paused ? "paused" : "running");
        if (json_array_append_new(array, view_job(&job)) != 0)
            r = -ENOMEM;
    }
    return r;
}

bool verb_split_runs(struct verb_request *request, uint64_t id)
{
    AUTO_FREE struct policy_split *list = NULL;
    size_t count = 0;
    bool runs = false;
    if (policy_split_list(target_policy(request->target), &list, &count) < 0)
        return false;
    for (size_t i = 0; i < count; i++)
        runs |= !list[i].is_paused && (id == 0 || list[i].volume_id == id);
    return runs;
}
