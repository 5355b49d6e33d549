/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Settings in the pool's store: JSON objects under "policy/".
 *
 *   policy/set/pool, policy/set/volume/ID, policy/set/lun/ID     what an admin set
 *   policy/snapshot/NAME                                         a snapshot policy
 *   policy/last/volume/ID, policy/last/lun/ID                    when its schedule was last due
 *   policy/frozen/ID                                             programs that have to thaw
 *   policy/split/volume/ID                                       how far a physical split is
 *   policy/refresh/lun/ID                                        from what a LUN is refreshed, when
 *   policy/masking/ID                                            a clone that a hook works on
 *
 * A pool may come from elsewhere, so what is read is looked at closely: a value that makes no sense
 * counts as not set.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/log.h"
#include "server/policy/policy_internal.h"
#include "server/units.h"

static const char *const settings_scopes[] = {
    [POLICY_OF_POOL] = "pool", [POLICY_OF_VOLUME] = "volume", [POLICY_OF_LUN] = "lun"};

/* ---- the store ----------------------------------------------------------------------------- */

void policy_key(char key[POLICY_KEY_MAX], const char *kind, enum policy_scope scope, uint64_t id)
{
    if (scope == POLICY_OF_POOL)
        snprintf(key, POLICY_KEY_MAX, "policy/%s/pool", kind);
    else
        snprintf(key, POLICY_KEY_MAX, "policy/%s/%s/%016" PRIx64, kind, settings_scopes[scope], id);
}

uint64_t policy_key_id(const char *key)
{
    const char *slash = strrchr(key, '/');
    char *end = NULL;
    uint64_t id = slash && strlen(slash) == 17 ? strtoull(slash + 1, &end, 16) : 0;
    return end && !*end ? id : 0;
}

/* -ENOMEM, or *json may be NULL. */
static int settings_parse(struct policy *policy, const char *key, const void *value, size_t len,
                          json_t **json)
{
    json_error_t error;
    *json = NULL;
    int r = proto_load(value, len, json, &error);
    if (json_is_object(*json) || r == -ENOMEM)
        return r;
    json_decref(*json);
    *json = NULL;
    lock_take(&policy->wake_lock);
    bool is_first = !policy->has_warned;
    policy->has_warned = true;
    lock_release(&policy->wake_lock);
    if (is_first)
        log_warning("the pool's store: %s cannot be read and counts as not set", key);
    return 0;
}

json_t *policy_parse(struct policy *policy, const char *key, const void *value, size_t len)
{
    json_t *json;
    return settings_parse(policy, key, value, len, &json) < 0 ? NULL : json;
}

int policy_load(struct policy *policy, const char *key, json_t **json)
{
    AUTO_FREE void *value = NULL;
    size_t len;
    *json = NULL;
    int r = store_get(policy->pool, key, &value, &len);
    if (r < 0)
        return r == -ENOMEM ? r : 0;
    return settings_parse(policy, key, value, len, json);
}

int policy_save(struct policy *policy, const char *key, json_t *value, struct reason *why)
{
    AUTO_FREE char *text = value ? proto_dump(value, JSON_COMPACT) : NULL;
    bool has_text = !value || text;
    json_decref(value);
    if (!has_text)
        return reason_set(why, -ENOMEM, "no memory");
    const struct store_change change = {.key = key, .value = text, .len = text ? strlen(text) : 0};
    return store_apply(policy->pool, &change, 1, why);
}

/* ---- thresholds ---------------------------------------------------------------------------- */

/* The pool's own default, so that nobody learns of a full pool from failed writes alone. */
static const struct policy_levels settings_pool_levels = {.count = 3, .percent = {80, 90, 95}};

static bool levels_add(struct policy_levels *levels, uint64_t percent)
{
    if (percent < 1 || percent > 99 || levels->count == POLICY_LEVELS_MAX ||
        (levels->count > 0 && levels->percent[levels->count - 1] >= percent))
        return false;
    levels->percent[levels->count++] = (uint8_t)percent;
    return true;
}

int policy_parse_levels(const char *text, struct policy_levels *levels, struct reason *why)
{
    struct policy_levels parsed = {0};
    if (strcmp(text, "none") == 0)
    {
        *levels = parsed;
        return 0;
    }
    for (const char *at = text;; at++)
    {
        char *end;
        unsigned long percent = strtoul(at, &end, 10);
        bool ok = *at >= '0' && *at <= '9' && levels_add(&parsed, percent);
        at = *end == '%' ? end + 1 : end;
        if (!ok || (*at && *at != ','))
            return reason_set(why, -EINVAL,
                              "\"%.60s\" are no thresholds: write up to %d percentages of 1 to 99, "
                              "rising, as 80,90,95; or none",
                              text, POLICY_LEVELS_MAX);
        if (!*at)
            break;
    }
    *levels = parsed;
    return 0;
}

static json_t *levels_encode(const struct policy_levels *levels)
{
    json_t *array = json_array();
    for (size_t i = 0; i < levels->count; i++)
        if (json_array_append_new(array, json_integer(levels->percent[i])) != 0)
            return json_decref(array), NULL;
    return array;
}

static void levels_decode(const json_t *array, struct policy_levels *levels)
{
    struct policy_levels decoded = {0};
    bool ok = json_is_array(array);
    for (size_t i = 0; ok && i < json_array_size(array); i++)
        ok = levels_add(&decoded, (uint64_t)json_integer_value(json_array_get(array, i)));
    if (ok)
        *levels = decoded;
}

/* ---- settings ------------------------------------------------------------------------------ */

enum
{
    SETTINGS_LEASE_WARNING_S = 600,
    SETTINGS_TRIGGER_PERCENT = 5,
    SETTINGS_TARGET_PERCENT = 20,
    SETTINGS_GROW_PERCENT = 90,
};

void policy_get_number(const json_t *json, const char *key, uint64_t max, uint64_t *value)
{
    const json_t *number = json_object_get(json, key);
    json_int_t n = json_integer_value(number);
    if (json_is_integer(number) && n >= 0 && (uint64_t)n <= max)
        *value = (uint64_t)n;
}

void policy_get_text(const json_t *json, const char *key, char *text, size_t size)
{
    const char *value = json_string_value(json_object_get(json, key));
    snprintf(text, size, "%s", value ? value : "");
}

static bool settings_get_bool(const json_t *json, const char *key)
{
    return json_is_true(json_object_get(json, key));
}

static void leases_decode(const json_t *json, struct policy_leases *leases)
{
    leases->warning_s = SETTINGS_LEASE_WARNING_S;
    policy_get_number(json, "lease_warning_s", UINT32_MAX, &leases->warning_s);
    leases->force = settings_get_bool(json, "lease_force");
    leases->takes_volume_snapshots = settings_get_bool(json, "lease_takes_volume_snapshots");
}

const char *const policy_commitments[] = {"try", "disrupt", "destroy", NULL};
const char *const policy_defers[] = {"user_created", "scheduled", "none", NULL};

/* Which of @words the text under @key is; 0 if it is none. */
static int settings_get_word(const json_t *json, const char *key, const char *const words[])
{
    const char *text = json_string_value(json_object_get(json, key));
    for (int i = 0; text && words[i]; i++)
        if (strcmp(text, words[i]) == 0)
            return i;
    return 0;
}

bool policy_autodelete_is_sound(const struct policy_autodelete *autodelete)
{
    return autodelete->trigger_free_percent >= 1 && autodelete->target_free_percent <= 99 &&
           autodelete->trigger_free_percent < autodelete->target_free_percent;
}

static void autodelete_decode(const json_t *json, struct policy_autodelete *autodelete)
{
    uint64_t trigger = SETTINGS_TRIGGER_PERCENT, target = SETTINGS_TARGET_PERCENT;
    policy_get_number(json, "trigger_free", 99, &trigger);
    policy_get_number(json, "target_free", 99, &target);
    *autodelete = (struct policy_autodelete){
        .is_enabled = settings_get_bool(json, "enabled"),
        .is_by_pool = settings_get_bool(json, "by_pool"),
        .trigger_free_percent = (uint8_t)trigger,
        .target_free_percent = (uint8_t)target,
        .commitment =
            (enum policy_commitment)settings_get_word(json, "commitment", policy_commitments),
        .defer_delete = (enum policy_defer)settings_get_word(json, "defer_delete", policy_defers),
    };
    /* Deleting on what makes no sense is the one thing that must not be. */
    if (!policy_autodelete_is_sound(autodelete))
        autodelete->is_enabled = false;
}

static json_t *autodelete_encode(const struct policy_autodelete *autodelete)
{
    return json_pack("{s:b, s:b, s:i, s:i, s:s, s:s}", "enabled", autodelete->is_enabled, "by_pool",
                     autodelete->is_by_pool, "trigger_free", autodelete->trigger_free_percent,
                     "target_free", autodelete->target_free_percent, "commitment",
                     policy_commitments[autodelete->commitment], "defer_delete",
                     policy_defers[autodelete->defer_delete]);
}

/* Takes @value over; NULL fails. */
static int settings_put(json_t *json, const char *key, json_t *value)
{
    return json_object_set_new(json, key, value) == 0 ? 0 : -ENOMEM;
}

static void autogrow_decode(const json_t *json, struct policy_autogrow *autogrow)
{
    uint64_t threshold = SETTINGS_GROW_PERCENT;
    policy_get_number(json, "autogrow_step", INT64_MAX, &autogrow->step_bytes);
    policy_get_number(json, "autogrow_max", INT64_MAX, &autogrow->max_bytes);
    policy_get_number(json, "autogrow_threshold", 99, &threshold);
    autogrow->threshold_percent = (uint8_t)threshold;
}

static int autogrow_put(json_t *json, unsigned mask, const struct policy_autogrow *autogrow)
{
    int r = 0;
    if (mask & POLICY_SET_AUTOGROW_STEP)
        r = settings_put(json, "autogrow_step", proto_json_uint(autogrow->step_bytes));
    if (r == 0 && (mask & POLICY_SET_AUTOGROW_MAX))
        r = settings_put(json, "autogrow_max", proto_json_uint(autogrow->max_bytes));
    if (r == 0 && (mask & POLICY_SET_AUTOGROW_THRESHOLD))
        r = settings_put(json, "autogrow_threshold", proto_json_uint(autogrow->threshold_percent));
    return r;
}

void policy_settings_decode(enum policy_scope scope, const json_t *json,
                            struct policy_settings *settings)
{
    *settings = (struct policy_settings){0};
    if (scope == POLICY_OF_POOL)
        settings->thresholds = settings_pool_levels;
    levels_decode(json_object_get(json, "thresholds"), &settings->thresholds);
    leases_decode(json, &settings->leases);
    autogrow_decode(json, &settings->autogrow);
    autodelete_decode(json_object_get(json, "autodelete"), &settings->autodelete);
    policy_get_text(json, "snapshot_policy", settings->snapshot_policy,
                    sizeof(settings->snapshot_policy));
}

void policy_get(struct policy *policy, enum policy_scope scope, uint64_t id,
                struct policy_settings *settings)
{
    char key[POLICY_KEY_MAX];
    policy_key(key, "set", scope, id);
    AUTO_JSON json_t *json = NULL;
    ignore_error(policy_load(policy, key, &json), "by default the server does little by itself");
    policy_settings_decode(scope, json, settings);
}

static int settings_put_all(json_t *json, unsigned mask, const struct policy_settings *settings)
{
    const struct policy_leases *leases = &settings->leases;
    int r = 0;
    if (mask & POLICY_SET_THRESHOLDS)
        r = settings_put(json, "thresholds", levels_encode(&settings->thresholds));
    if (r == 0 && (mask & POLICY_SET_LEASE_WARNING))
        r = settings_put(json, "lease_warning_s", proto_json_uint(leases->warning_s));
    if (r == 0 && (mask & POLICY_SET_LEASE_FORCE))
        r = settings_put(json, "lease_force", json_boolean(leases->force));
    if (r == 0 && (mask & POLICY_SET_LEASE_SNAPSHOTS))
        r = settings_put(json, "lease_takes_volume_snapshots",
                         json_boolean(leases->takes_volume_snapshots));
    if (r == 0)
        r = autogrow_put(json, mask, &settings->autogrow);
    if (r == 0 && (mask & POLICY_SET_AUTODELETE))
        r = settings_put(json, "autodelete", autodelete_encode(&settings->autodelete));
    if (r == 0 && (mask & POLICY_SET_SNAPSHOT_POLICY))
        r = settings_put(json, "snapshot_policy", json_string(settings->snapshot_policy));
    return r;
}

/* The key of an object, or (@id 0) the part before the id of one that is going to be. */
static void settings_key(char key[POLICY_KEY_MAX], const char *kind, enum policy_scope scope,
                         uint64_t id)
{
    policy_key(key, kind, scope, id);
    if (scope != POLICY_OF_POOL && id == 0)
        strrchr(key, '/')[1] = '\0';
}

/* What is to be stored, into @put. */
static int settings_prepare(struct policy *policy, enum policy_scope scope, uint64_t id,
                            unsigned mask, const struct policy_settings *settings,
                            struct policy_put *put, struct reason *why)
{
    struct snapshot_policy snapshots;
    settings_key(put->keys[0], "set", scope, id);
    settings_key(put->keys[1], "last", scope, id);
    AUTO_JSON json_t *json = NULL;
    int r = id || scope == POLICY_OF_POOL ? policy_load(policy, put->keys[0], &json) : 0;
    if (r == 0 && !json)
        json = json_object();
    if (!json || settings_put_all(json, mask, settings) < 0)
        return reason_set(why, -ENOMEM, "no memory");
    if ((mask & POLICY_SET_AUTODELETE) && !policy_autodelete_is_sound(&settings->autodelete))
        r = reason_set(why, -EINVAL,
                       "what triggers deleting, %u %% free, has to be 1 or more and less than what "
                       "it aims at, %u %%, which is 99 at most",
                       settings->autodelete.trigger_free_percent,
                       settings->autodelete.target_free_percent);
    bool begins = mask & POLICY_SET_SNAPSHOT_POLICY;
    if (r == 0 && begins && settings->snapshot_policy[0])
        r = snapshot_policy_get(policy, settings->snapshot_policy, &snapshots, why);
    if (r < 0)
        return r;
    put->text = proto_dump(json, JSON_COMPACT);
    if (!put->text)
        return reason_set(why, -ENOMEM, "no memory");
    put->changes[0] =
        (struct store_change){.key = put->keys[0], .value = put->text, .len = strlen(put->text)};
    /* What another snapshot policy missed is not made up for. */
    put->changes[1] = (struct store_change){.key = put->keys[1]};
    put->also = (struct store_also){.changes = put->changes, .count = begins ? 2 : 1};
    return 0;
}

int policy_put_begin(struct policy *policy, enum policy_scope scope, uint64_t id, unsigned mask,
                     const struct policy_settings *settings, struct policy_put *put,
                     struct reason *why)
{
    *put = (struct policy_put){.policy = mask ? policy : NULL};
    if (mask == 0)
        return 0;
    lock_take(&policy->settings_lock);
    return settings_prepare(policy, scope, id, mask, settings, put, why);
}

void policy_put_end(struct policy_put *put)
{
    if (!put->policy)
        return;
    lock_release(&put->policy->settings_lock);
    policy_poke(put->policy, POLICY_SPACE);
    policy_poke(put->policy, POLICY_SCHEDULE);
    free(put->text);
    *put = (struct policy_put){0};
}

int policy_set(struct policy *policy, enum policy_scope scope, uint64_t id, unsigned mask,
               const struct policy_settings *settings, struct reason *why)
{
    CLEANUP(policy_put_end) struct policy_put put;
    int r = policy_put_begin(policy, scope, id, mask, settings, &put, why);
    if (r == 0 && put.also.count > 0)
        r = store_apply(policy->pool, put.changes, put.also.count, why);
    return r;
}

/* ---- showing ------------------------------------------------------------------------------- */

static void settings_show(json_t *view, const char *key, json_t *value)
{
    ignore_error(json_object_set_new(view, key, value), "without memory less is shown");
}

static void leases_show(json_t *view, const struct policy_leases *leases)
{
    settings_show(view, "lease_warning_s", proto_json_uint(leases->warning_s));
    settings_show(view, "lease_force", json_boolean(leases->force));
    settings_show(view, "lease_snapshots",
                  json_string(leases->takes_volume_snapshots ? "all" : "own"));
}

void policy_view(struct policy *policy, enum policy_scope scope, uint64_t id, json_t *view)
{
    struct policy_settings settings;
    char key[POLICY_KEY_MAX], levels[POLICY_LEVELS_MAX * 4 + 1] = "";
    size_t at = 0;
    policy_key(key, "set", scope, id);
    AUTO_JSON json_t *json = NULL;
    ignore_error(policy_load(policy, key, &json), "what is shown is what holds: the default");
    if (!json && scope == POLICY_OF_LUN)
        return; /* as nearly all of them */
    policy_settings_decode(scope, json, &settings);
    for (size_t i = 0; i < settings.thresholds.count; i++)
        at += (size_t)snprintf(levels + at, sizeof(levels) - at, "%s%u", i ? "," : "",
                               settings.thresholds.percent[i]);
    settings_show(view, "thresholds", json_string(at ? levels : "none"));
    if (scope == POLICY_OF_POOL)
    {
        leases_show(view, &settings.leases);
        settings_show(view, "autogrow_step_bytes", proto_json_uint(settings.autogrow.step_bytes));
        settings_show(view, "autogrow_max_bytes", proto_json_uint(settings.autogrow.max_bytes));
        settings_show(view, "autogrow_threshold",
                      proto_json_uint(settings.autogrow.threshold_percent));
    }
    else
        settings_show(view, "snapshot_policy",
                      json_string(settings.snapshot_policy[0] ? settings.snapshot_policy : "none"));
}

/* ---- forgetting ---------------------------------------------------------------------------- */

bool policy_find_object(struct policy *policy, const char *key, struct policy_object *object)
{
    struct lun_info lun;
    struct volume_info volume;
    *object = (struct policy_object){.id = policy_key_id(key)};
    if (strstr(key, "/lun/"))
    {
        object->scope = POLICY_OF_LUN;
        if (lun_get_info_by_id(policy->pool, object->id, &lun) < 0 || lun.kind != OBJECT_LUN)
            return false;
        snprintf(object->name, sizeof(object->name), "%s", lun.name);
        return true;
    }
    object->scope = POLICY_OF_VOLUME;
    if (!strstr(key, "/volume/") || volume_get_info_by_id(policy->pool, object->id, &volume) < 0)
        return false;
    snprintf(object->name, sizeof(object->name), "%s", volume.name);
    return true;
}

static int sweep_key_cb(void *opaque, const char *key, const void *value, size_t len)
{
    struct policy *policy = opaque;
    struct policy_object object;
    (void)value, (void)len;
    bool is_of_object = strstr(key, "/lun/") || strstr(key, "/volume/");
    if (!is_of_object || policy_find_object(policy, key, &object))
        return 0;
    return policy_save(policy, key, NULL, NULL);
}

void policy_sweep(struct policy *policy)
{
    static const char *const prefixes[] = {"policy/set/", "policy/last/", "policy/split/",
                                           "policy/refresh/"};
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(prefixes); i++)
        r = store_list(policy->pool, prefixes[i], sweep_key_cb, policy);
    if (r == 0)
        r = policy_sweep_imports(policy);
    if (r < 0)
        log_warning("settings of deleted objects stay for now: %s", strerror(-r));
}
