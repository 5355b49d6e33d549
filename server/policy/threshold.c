/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Thresholds of space: an event when use rises above one, and one when it is below all of them
 * again.
 *
 * What is crossed is crossed until use has fallen well below it, so that a LUN that is written and
 * trimmed around a threshold makes one event and not a stream of them. Which are crossed is known
 * only while the server runs: after a start it says again what is too full.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/policy/policy_internal.h"
#include "server/units.h"

enum
{
    WATCH_HYSTERESIS = 2, /* percent below a threshold at which it is left again */
};

static const char *const watch_kinds[] = {
    [POLICY_OF_POOL] = "pool", [POLICY_OF_VOLUME] = "volume", [POLICY_OF_LUN] = "LUN"};
static const char *const watch_events[] = {[POLICY_OF_POOL] = "pool.threshold",
                                           [POLICY_OF_VOLUME] = "volume.threshold",
                                           [POLICY_OF_LUN] = "lun.threshold"};

/* NULL: no memory. */
static struct policy_alarm *watch_alarm(struct policy *policy, enum policy_scope scope, uint64_t id)
{
    for (size_t i = 0; i < policy->space.alarm_count; i++)
        if (policy->space.alarms[i].scope == scope && policy->space.alarms[i].id == id)
            return &policy->space.alarms[i];
    size_t count = policy->space.alarm_count + 1;
    struct policy_alarm *alarms = realloc(policy->space.alarms, count * sizeof(*alarms));
    if (!alarms)
        return NULL;
    policy->space.alarms = alarms;
    policy->space.alarm_count = count;
    alarms[count - 1] = (struct policy_alarm){.scope = scope, .id = id};
    return &alarms[count - 1];
}

/* The highest level that counts as crossed at @used, when @now was until now. */
static uint8_t watch_level(const struct policy_levels *levels, double used, uint8_t now)
{
    uint8_t crossed = 0;
    for (size_t i = 0; i < levels->count; i++)
    {
        uint8_t level = levels->percent[i];
        if (used >= level || (level <= now && used > level - WATCH_HYSTERESIS))
            crossed = level;
    }
    return crossed;
}

/* @size_bytes of which @free_bytes are left. */
static void watch_object(struct policy *policy, enum policy_scope scope, uint64_t id,
                         const char *name, const struct policy_levels *levels, uint64_t size_bytes,
                         uint64_t free_bytes)
{
    char left[UNITS_TEXT_MAX];
    struct policy_alarm *alarm =
        size_bytes > 0 && levels->count > 0 ? watch_alarm(policy, scope, id) : NULL;
    if (!alarm)
        return;
    alarm->is_looked_at = true;
    free_bytes = free_bytes < size_bytes ? free_bytes : size_bytes;
    double used = 100.0 - (double)free_bytes * 100.0 / (double)size_bytes;
    uint8_t before = alarm->percent;
    alarm->percent = watch_level(levels, used, before);
    units_format_bytes(free_bytes, 'h', left);
    const char *object = scope == POLICY_OF_POOL ? "" : name;
    if (alarm->percent > before)
        event_add(policy->pool, "warning", watch_events[scope], object,
                  "%s %.150s is %.1f %% used, above %u %%; %s are left", watch_kinds[scope], name,
                  used, alarm->percent, left);
    else if (alarm->percent < before)
        event_add(policy->pool, "info", watch_events[scope], object,
                  "%s %.150s is %.1f %% used, below %u %% again; %s are left", watch_kinds[scope],
                  name, used, before, left);
}

static void watch_pool(struct policy *policy)
{
    struct policy_settings settings;
    struct pool_info info;
    policy_get(policy, POLICY_OF_POOL, 0, &settings);
    pool_get_info(policy->pool, &info);
    watch_object(policy, POLICY_OF_POOL, 0, info.name, &settings.thresholds, info.size_bytes,
                 info.available_bytes);
}

static void watch_volumes(struct policy *policy)
{
    AUTO_FREE struct volume_info *list = NULL;
    size_t count = 0;
    if (volume_list(policy->pool, &list, &count) < 0)
        return;
    for (size_t i = 0; i < count; i++)
    {
        struct policy_settings settings;
        uint64_t used_bytes = list[i].charged_bytes + list[i].reserved_bytes;
        policy_get(policy, POLICY_OF_VOLUME, list[i].id, &settings);
        watch_object(policy, POLICY_OF_VOLUME, list[i].id, list[i].name, &settings.thresholds,
                     list[i].size_bytes,
                     used_bytes < list[i].size_bytes ? list[i].size_bytes - used_bytes : 0);
    }
}

static int watch_lun_cb(void *opaque, const char *key, const void *value, size_t len)
{
    struct policy *policy = opaque;
    struct policy_settings settings;
    struct lun_info info;
    uint64_t id = policy_key_id(key);
    if (lun_get_info_by_id(policy->pool, id, &info) < 0)
        return 0;
    AUTO_JSON json_t *json = policy_parse(policy, key, value, len);
    policy_settings_decode(POLICY_OF_LUN, json, &settings);
    watch_object(policy, POLICY_OF_LUN, id, info.name, &settings.thresholds, info.size_bytes,
                 info.size_bytes > info.mapped_bytes ? info.size_bytes - info.mapped_bytes : 0);
    return 0;
}

/* Objects and thresholds that are gone. */
static void watch_forget(struct policy *policy)
{
    size_t kept = 0;
    for (size_t i = 0; i < policy->space.alarm_count; i++)
        if (policy->space.alarms[i].is_looked_at)
            policy->space.alarms[kept++] = policy->space.alarms[i];
    policy->space.alarm_count = kept;
}

void policy_watch(struct policy *policy)
{
    for (size_t i = 0; i < policy->space.alarm_count; i++)
        policy->space.alarms[i].is_looked_at = false;
    watch_pool(policy);
    watch_volumes(policy);
    ignore_error(store_list(policy->pool, "policy/set/lun/", watch_lun_cb, policy),
                 "without memory it is looked at next time");
    watch_forget(policy);
}
