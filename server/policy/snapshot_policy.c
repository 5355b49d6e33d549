/* SPDX-License-Identifier: BSD-3-Clause */
/* Snapshot policies: what they say, and where it is stored. schedule.c acts on them. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/policy/calendar.h"
#include "server/policy/policy_internal.h"

/* ---- checks -------------------------------------------------------------------------------- */

static int snapshots_check_text(const char *text, const char *what, size_t max, struct reason *why)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:+-";
    if (strlen(text) > max)
        return reason_set(why, -EINVAL, "%s has at most %zu bytes", what, max);
    if (text[strspn(text, allowed)] || strchr(".:+-", text[0]) || strstr(text, ".."))
        return reason_set(why, -EINVAL,
                          "%s \"%.80s\" may hold letters, digits and . _ : + -, begins with a "
                          "letter, a digit or _, and has no ..",
                          what, text);
    return 0;
}

static bool snapshots_has_kind(const struct snapshot_policy *snapshots, const char *kind)
{
    for (size_t i = 0; i < snapshots->schedule_count; i++)
        if (strcmp(snapshots->schedules[i].kind, kind) == 0)
            return true;
    return false;
}

static int snapshots_add(struct snapshot_policy *snapshots, const char *kind, uint64_t keep,
                         struct reason *why)
{
    int r = calendar_check(kind, why);
    if (r < 0)
        return r;
    if (keep < 1 || keep > POLICY_KEEP_MAX)
        return reason_set(why, -EINVAL, "a schedule keeps 1 to %d snapshots", POLICY_KEEP_MAX);
    if (snapshots_has_kind(snapshots, kind))
        return reason_set(why, -EINVAL, "\"%s\" is given twice", kind);
    if (snapshots->schedule_count == POLICY_SCHEDULES_MAX)
        return reason_set(why, -EINVAL, "a snapshot policy has at most %d kinds of schedule",
                          POLICY_SCHEDULES_MAX);
    size_t i = snapshots->schedule_count++;
    snprintf(snapshots->schedules[i].kind, sizeof(snapshots->schedules[i].kind), "%s", kind);
    snapshots->schedules[i].keep = (uint32_t)keep;
    return 0;
}

int snapshot_policy_parse(const char *text, struct snapshot_policy *snapshots, struct reason *why)
{
    snapshots->schedule_count = 0;
    for (const char *at = text;; at++)
    {
        char kind[64];
        char *end;
        size_t len = strcspn(at, ":,");
        snprintf(kind, sizeof(kind), "%.*s", (int)min_u64(len, sizeof(kind) - 1), at);
        at += len;
        bool has_digit = *at == ':' && at[1] >= '0' && at[1] <= '9';
        uint64_t keep = has_digit ? strtoull(at + 1, &end, 10) : 0;
        if (!has_digit || (*end && *end != ','))
            return reason_set(why, -EINVAL,
                              "\"%.100s\" is no list of schedules: write KIND:COUNT, as "
                              "hourly:24,daily:7,weekly:4",
                              text);
        int r = snapshots_add(snapshots, kind, keep, why);
        if (r < 0 || !*end)
            return r;
        at = end;
    }
}

static int snapshots_check(const struct snapshot_policy *snapshots, struct reason *why)
{
    if (!snapshots->name[0] || strcmp(snapshots->name, "none") == 0)
        return reason_set(why, -EINVAL, "a snapshot policy needs a name, and not \"none\"");
    int r = snapshots_check_text(snapshots->name, "a snapshot policy's name", POLICY_NAME_MAX, why);
    if (r == 0 && snapshots->prefix[0])
        r = snapshots_check_text(snapshots->prefix, "a prefix", POLICY_PREFIX_MAX, why);
    if (r == 0 && snapshots->schedule_count == 0)
        r = reason_set(why, -EINVAL, "a snapshot policy needs a schedule, as hourly:24,daily:7");
    return r;
}

bool snapshot_policy_made(const char *name)
{
    for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.'))
    {
        if (!calendar_is_stamp(dot + 1))
            continue;
        /* What stands before the dot ends in a kind; a prefix may stand before that. */
        char kind[CALENDAR_KIND_MAX + 1];
        for (size_t len = 1; len <= CALENDAR_KIND_MAX && len <= (size_t)(dot - name); len++)
        {
            snprintf(kind, sizeof(kind), "%.*s", (int)len, dot - len);
            if (calendar_check(kind, NULL) == 0)
                return true;
        }
    }
    return false;
}

/* ---- the store ----------------------------------------------------------------------------- */

static void snapshots_key(char key[POLICY_KEY_MAX], const char *name)
{
    snprintf(key, POLICY_KEY_MAX, "policy/snapshot/%s", name);
}

static json_t *snapshots_encode(const struct snapshot_policy *snapshots)
{
    json_t *schedules = json_array();
    for (size_t i = 0; i < snapshots->schedule_count; i++)
        if (json_array_append_new(schedules,
                                  json_pack("{s:s, s:I}", "kind", snapshots->schedules[i].kind,
                                            "keep", (json_int_t)snapshots->schedules[i].keep)))
            return json_decref(schedules), NULL;
    const struct policy_quiesce *quiesce = &snapshots->quiesce;
    return json_pack("{s:o, s:s, s:s, s:s, s:I, s:b}", "schedules", schedules, "prefix",
                     snapshots->prefix, "comment", snapshots->comment, "quiesce", quiesce->program,
                     "quiesce_timeout_ms", (json_int_t)quiesce->timeout_ms, "quiesce_required",
                     quiesce->is_required);
}

static int snapshots_decode(const char *name, const json_t *json, struct snapshot_policy *snapshots)
{
    size_t i;
    json_t *schedule;
    uint64_t timeout_ms = 0;
    *snapshots = (struct snapshot_policy){0};
    snprintf(snapshots->name, sizeof(snapshots->name), "%s", name);
    policy_get_text(json, "prefix", snapshots->prefix, sizeof(snapshots->prefix));
    policy_get_text(json, "comment", snapshots->comment, sizeof(snapshots->comment));
    policy_get_text(json, "quiesce", snapshots->quiesce.program,
                    sizeof(snapshots->quiesce.program));
    policy_get_number(json, "quiesce_timeout_ms", UINT32_MAX, &timeout_ms);
    snapshots->quiesce.timeout_ms = (uint32_t)timeout_ms;
    snapshots->quiesce.is_required = json_is_true(json_object_get(json, "quiesce_required"));
    json_array_foreach(json_object_get(json, "schedules"), i, schedule)
    {
        const char *kind = json_string_value(json_object_get(schedule, "kind"));
        uint64_t keep = 0;
        policy_get_number(schedule, "keep", POLICY_KEEP_MAX, &keep);
        if (!kind || snapshots_add(snapshots, kind, keep, NULL) < 0)
            return -EBADMSG;
    }
    return snapshots_check(snapshots, NULL) < 0 ? -EBADMSG : 0;
}

int snapshot_policy_get(struct policy *policy, const char *name, struct snapshot_policy *snapshots,
                        struct reason *why)
{
    char key[POLICY_KEY_MAX];
    snapshots_key(key, name);
    AUTO_JSON json_t *json = NULL;
    int r = strlen(name) <= POLICY_NAME_MAX ? policy_load(policy, key, &json) : 0;
    if (r < 0)
        return reason_set(why, r, "no memory for snapshot policy '%.80s'", name);
    if (json && snapshots_decode(name, json, snapshots) == 0)
        return 0;
    return reason_set(why, -ENOENT,
                      "there is no snapshot policy '%.80s'; 'lunette snapshot policy show' lists "
                      "them",
                      name);
}

int snapshot_policy_put(struct policy *policy, const struct snapshot_policy *snapshots, bool is_new,
                        struct reason *why)
{
    char key[POLICY_KEY_MAX];
    struct snapshot_policy there;
    int r = snapshots_check(snapshots, why);
    if (r == 0 && snapshots->quiesce.program[0])
        r = policy_check_quiesce(policy, &snapshots->quiesce, why);
    if (r < 0)
        return r;
    AUTO_LOCK(&policy->settings_lock);
    r = snapshot_policy_get(policy, snapshots->name, &there, is_new ? NULL : why);
    if (r < 0 && (!is_new || r != -ENOENT))
        return r;
    if (r == 0 && is_new)
        return reason_set(why, -EEXIST, "there is a snapshot policy '%s' already", snapshots->name);
    json_t *json = snapshots_encode(snapshots);
    snapshots_key(key, snapshots->name);
    r = json ? policy_save(policy, key, json, why) : reason_set(why, -ENOMEM, "no memory");
    policy_poke(policy, POLICY_SCHEDULE);
    return r;
}

struct snapshots_users
{
    struct policy *policy;
    const char *name;
    size_t count;
    char first[2 * LUN_NAME_MAX + 2];
};

static int snapshots_user_cb(void *opaque, const char *key, const void *value, size_t len)
{
    struct snapshots_users *users = opaque;
    AUTO_JSON json_t *json = policy_parse(users->policy, key, value, len);
    const char *name = json_string_value(json_object_get(json, "snapshot_policy"));
    struct policy_object object;
    if (!name || strcmp(name, users->name) != 0 || !policy_find_object(users->policy, key, &object))
        return 0;
    if (users->count++ == 0)
        snprintf(users->first, sizeof(users->first), "%s", object.name);
    return 0;
}

int snapshot_policy_delete(struct policy *policy, const char *name, struct reason *why)
{
    char key[POLICY_KEY_MAX];
    struct snapshot_policy there;
    struct snapshots_users users = {.policy = policy, .name = name};
    AUTO_LOCK(&policy->settings_lock);
    int r = snapshot_policy_get(policy, name, &there, why);
    if (r == 0)
        r = store_list(policy->pool, "policy/set/", snapshots_user_cb, &users);
    if (r < 0)
        return r;
    if (users.count > 0)
        return reason_set(why, -EBUSY,
                          "snapshot policy '%s' is that of '%s'%s; 'lunette volume modify "
                          "%s --snapshot-policy none' (of a LUN: lunette lun modify) takes it off",
                          name, users.first, users.count > 1 ? " and of others" : "", users.first);
    snapshots_key(key, name);
    return policy_save(policy, key, NULL, why);
}

struct snapshots_listing
{
    struct policy *policy;
    struct snapshot_policy *list;
    size_t count;
};

static int snapshots_list_cb(void *opaque, const char *key, const void *value, size_t len)
{
    struct snapshots_listing *listing = opaque;
    AUTO_JSON json_t *json = policy_parse(listing->policy, key, value, len);
    struct snapshot_policy *list =
        realloc(listing->list, (listing->count + 1) * sizeof(*listing->list));
    if (!list)
        return -ENOMEM;
    listing->list = list;
    const char *name = key + strlen("policy/snapshot/");
    if (json && strlen(name) <= POLICY_NAME_MAX &&
        snapshots_decode(name, json, &list[listing->count]) == 0)
        listing->count++;
    return 0;
}

int snapshot_policy_list(struct policy *policy, struct snapshot_policy **list, size_t *count)
{
    struct snapshots_listing listing = {.policy = policy};
    int r = store_list(policy->pool, "policy/snapshot/", snapshots_list_cb, &listing);
    if (r < 0)
    {
        free(listing.list);
        return r;
    }
    *list = listing.list;
    *count = listing.count;
    return 0;
}
