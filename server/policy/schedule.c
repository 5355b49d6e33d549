/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Snapshots on schedule, and how long they are kept.
 *
 * Of each object and kind the store says which boundary was seen to last; when there is a later
 * one, a snapshot is due: one, however many were missed while the server was down. One that fails
 * is tried again each minute.
 *
 * Of each kind the newest are kept. Older ones go; one that cannot (it is locked, a volume clone
 * depends on it, a client reads it) is reported and left, and stands in nobody's way. Only
 * snapshots with names that a schedule makes are looked at: to keep one for good, rename it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/log.h"
#include "server/import.h"
#include "server/policy/calendar.h"
#include "server/policy/policy_internal.h"

/* One object whose schedule is looked at. */
struct subject
{
    struct policy *policy;
    struct policy_object object;
    const struct snapshot_policy *snapshots;
    uint64_t now_s;
    uint64_t boundaries[POLICY_SCHEDULES_MAX]; /* by schedule */
    bool is_due[POLICY_SCHEDULES_MAX];
    json_t *last; /* kind: boundary */
};

/* ---- its snapshots ------------------------------------------------------------------------- */

struct made
{
    char name[2 * LUN_NAME_MAX + 2]; /* without what it is of */
    uint64_t id;                     /* rises from one to the next */
    uint64_t created_ns;
    bool is_deferred;
};

static int made_compare(const void *a, const void *b)
{
    const struct made *x = a, *y = b;
    /* Not by date: a clock that was set back would make each new one the first to go. */
    return x->id < y->id ? -1 : x->id > y->id;
}

static bool made_is_of(const struct subject *subject, size_t schedule, const char *name)
{
    char head[POLICY_PREFIX_MAX + CALENDAR_KIND_MAX + 2];
    snprintf(head, sizeof(head), "%s%s.", subject->snapshots->prefix,
             subject->snapshots->schedules[schedule].kind);
    size_t len = strlen(head);
    return strncmp(name, head, len) == 0 && calendar_is_stamp(name + len);
}

static void made_fill(struct made *made, const char *full, uint64_t id, uint64_t created_ns)
{
    const char *at = strrchr(full, '@');
    *made = (struct made){.id = id, .created_ns = created_ns};
    snprintf(made->name, sizeof(made->name), "%s", at ? at + 1 : full);
}

static int made_list_volume(const struct subject *subject, struct made **out, size_t *count)
{
    AUTO_FREE struct volume_snapshot_info *list = NULL;
    size_t n = 0;
    int r = volume_snapshot_list(subject->policy->pool, subject->object.name, &list, &n, NULL);
    if (r < 0)
        return r;
    struct made *all = calloc(n + 1, sizeof(*all));
    if (!all)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
    {
        made_fill(&all[i], list[i].name, list[i].id, list[i].created_ns);
        all[i].is_deferred = list[i].is_deferred;
    }
    *out = all;
    *count = n;
    return 0;
}

static int made_list_lun(const struct subject *subject, struct made **out, size_t *count)
{
    AUTO_FREE struct lun_info *list = NULL;
    size_t n = 0, kept = 0;
    int r = lun_list(subject->policy->pool, subject->object.name, &list, &n, NULL);
    if (r < 0)
        return r;
    struct made *all = calloc(n + 1, sizeof(*all));
    if (!all)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        if (list[i].kind == OBJECT_SNAPSHOT && list[i].volume_snapshot_id == 0)
            made_fill(&all[kept++], list[i].name, list[i].id, list[i].created_ns);
    *out = all;
    *count = kept;
    return 0;
}

/* All snapshots of the object, oldest first; free *list. */
static int made_list(const struct subject *subject, struct made **list, size_t *count)
{
    int r = subject->object.scope == POLICY_OF_LUN ? made_list_lun(subject, list, count)
                                                   : made_list_volume(subject, list, count);
    if (r == 0)
        qsort(*list, *count, sizeof(**list), made_compare);
    return r;
}

/* ---- keeping ------------------------------------------------------------------------------- */

static bool keep_is_reported(struct policy *policy, uint64_t id)
{
    for (size_t i = 0; i < policy->schedule.kept_count; i++)
        if (policy->schedule.kept[i] == id)
            return true;
    uint64_t *kept =
        realloc(policy->schedule.kept, (policy->schedule.kept_count + 1) * sizeof(*kept));
    if (!kept)
        return true;
    policy->schedule.kept = kept;
    kept[policy->schedule.kept_count++] = id;
    return false;
}

static void keep_delete(const struct subject *subject, const struct made *made)
{
    struct policy *policy = subject->policy;
    struct reason why;
    char full[4 * LUN_NAME_MAX + 8];
    bool is_lun = subject->object.scope == POLICY_OF_LUN;
    snprintf(full, sizeof(full), "%s@%s", subject->object.name, made->name);
    reason_clear(&why);
    int r = is_lun
                ? snapshot_delete(policy->pool, subject->object.name, made->name, 0, &why)
                : volume_snapshot_delete(policy->pool, subject->object.name, made->name, 0, &why);
    if (r == 0)
        event_add(policy->pool, "info", "snapshot.schedule.deleted", full,
                  "older than what snapshot policy %s keeps", subject->snapshots->name);
    else if (r != -ENOENT && !keep_is_reported(policy, made->id))
        event_add(policy->pool, "warning", "snapshot.schedule.kept", full,
                  "older than what snapshot policy %s keeps, but: %.150s", subject->snapshots->name,
                  why.text[0] ? why.text : strerror(-r));
}

static void keep_newest(const struct subject *subject, size_t schedule)
{
    AUTO_FREE struct made *list = NULL;
    size_t count = 0, newer = 0;
    if (made_list(subject, &list, &count) < 0)
        return;
    for (size_t i = count; i-- > 0;)
    {
        if (!made_is_of(subject, schedule, list[i].name))
            continue;
        if (++newer > subject->snapshots->schedules[schedule].keep && !list[i].is_deferred)
            keep_delete(subject, &list[i]);
    }
}

/* ---- making -------------------------------------------------------------------------------- */

static int make_named(const struct subject *subject, const char *name, const char *comment,
                      struct reason *why)
{
    struct policy *policy = subject->policy;
    const char *object = subject->object.name;
    const struct volume_snapshot_args args = {.name = name, .comment = comment};
    struct lun_info lun;
    if (subject->object.scope == POLICY_OF_LUN &&
        lun_get_info_by_id(policy->pool, subject->object.id, &lun) == 0)
    {
        int r = import_check(policy->pool, &lun, why);
        if (r < 0)
            return r;
    }
    return subject->object.scope == POLICY_OF_LUN
               ? snapshot_create(policy->pool, object, name, comment, why)
               : volume_snapshot_create(policy->pool, &object, 1, &args, why);
}

/* Whether the snapshot was made for this boundary already: the server ended before it noted that.
 */
static bool make_is_made(const struct subject *subject, size_t schedule, const char *name)
{
    AUTO_FREE struct made *list = NULL;
    size_t count = 0;
    if (made_list(subject, &list, &count) < 0)
        return false;
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].name, name) == 0)
            return list[i].created_ns / POLICY_SECOND_NS >= subject->boundaries[schedule];
    return false;
}

static int make_one(const struct subject *subject, size_t schedule, const char *comment,
                    struct reason *why)
{
    char stamp[CALENDAR_STAMP_MAX],
        name[POLICY_PREFIX_MAX + CALENDAR_KIND_MAX + CALENDAR_STAMP_MAX + 16];
    const char *kind = subject->snapshots->schedules[schedule].kind;
    calendar_stamp(kind, subject->now_s, stamp);
    snprintf(name, sizeof(name), "%s%s.%s", subject->snapshots->prefix, kind, stamp);
    int r = make_named(subject, name, comment, why);
    if (r == -EEXIST && make_is_made(subject, schedule, name))
        return 0;
    /* When clocks are set back an hour, a name comes twice. */
    for (int i = 2; r == -EEXIST && i <= 9; i++)
    {
        snprintf(name, sizeof(name), "%s%s.%s.%d", subject->snapshots->prefix, kind, stamp, i);
        r = make_named(subject, name, comment, why);
    }
    return r;
}

static void make_report(const struct subject *subject, size_t schedule, const struct reason *why,
                        int r)
{
    struct policy *policy = subject->policy;
    uint64_t boundary_s = subject->boundaries[schedule];
    if (policy->schedule.failed_id == subject->object.id &&
        policy->schedule.failed_boundary_s == boundary_s)
        return; /* tried again each minute, said once */
    policy->schedule.failed_id = subject->object.id;
    policy->schedule.failed_boundary_s = boundary_s;
    event_add(policy->pool, "error", "snapshot.schedule.failed", subject->object.name,
              "the %s snapshot of %.60s was not made, and is tried again: %.130s",
              subject->snapshots->schedules[schedule].kind, subject->object.name,
              why->text[0] ? why->text : strerror(-r));
}

/* All that are due, within one freeze. */
static void make_due(struct subject *subject)
{
    struct policy *policy = subject->policy;
    const struct policy_quiesce *quiesce = &subject->snapshots->quiesce;
    const char *object = subject->object.name, *comment = NULL;
    struct policy_freeze freeze = {0};
    struct reason why;
    int frozen = 0;
    reason_clear(&why);
    if (quiesce->program[0])
    {
        frozen =
            policy_freeze(policy, quiesce, &object, 1, subject->snapshots->name, &freeze, &why);
        comment = policy_consistency(&freeze);
        if (frozen < 0 && frozen != -ECANCELED && !quiesce->is_required)
            event_add(policy->pool, "warning", "snapshot.freeze.failed", object,
                      "the snapshots are only crash-consistent: %.200s", why.text);
    }
    bool goes_on = frozen == 0 || (!quiesce->is_required && frozen != -ECANCELED);
    for (size_t i = 0; i < subject->snapshots->schedule_count; i++)
    {
        if (!subject->is_due[i])
            continue;
        int r = goes_on ? make_one(subject, i, comment, &why) : frozen;
        if (r < 0)
        {
            subject->is_due[i] = false; /* it stays so in the store */
            if (r != -ECANCELED)
                make_report(subject, i, &why, r);
        }
    }
    policy_thaw(policy, &freeze);
}

/* ---- looking ------------------------------------------------------------------------------- */

/* Notes a boundary as seen to. */
static void look_note(struct subject *subject, size_t schedule)
{
    ignore_error(json_object_set_new(subject->last, subject->snapshots->schedules[schedule].kind,
                                     proto_json_uint(subject->boundaries[schedule])),
                 "without memory there is one more");
}

/* Which are due; whether anything has to be noted without a snapshot. */
static bool look_due(struct subject *subject, bool *is_any_due)
{
    bool is_noted = false;
    for (size_t i = 0; i < subject->snapshots->schedule_count; i++)
    {
        const char *kind = subject->snapshots->schedules[i].kind;
        const json_t *last = json_object_get(subject->last, kind);
        uint64_t last_s = json_is_integer(last) ? (uint64_t)json_integer_value(last) : 0;
        subject->boundaries[i] = calendar_boundary(kind, subject->now_s);
        subject->is_due[i] = last_s > 0 && last_s < subject->boundaries[i];
        *is_any_due |= subject->is_due[i];
        /* Newly set, or the clock was ahead when it was noted. */
        if (last_s == 0 || last_s > subject->now_s)
        {
            look_note(subject, i);
            is_noted = true;
        }
    }
    return is_noted;
}

static void look_at(struct subject *subject)
{
    struct policy *policy = subject->policy;
    struct reason why;
    char key[POLICY_KEY_MAX];
    bool is_any_due = false;
    policy_key(key, "last", subject->object.scope, subject->object.id);
    AUTO_JSON json_t *last = NULL;
    int r = policy_load(policy, key, &last);
    if (r == 0 && !last)
        last = json_object();
    if (!last)
        return; /* no memory: the next look makes up for it */
    subject->last = last;
    bool is_noted = look_due(subject, &is_any_due);
    if (is_any_due)
        make_due(subject);
    for (size_t i = 0; i < subject->snapshots->schedule_count; i++)
        if (subject->is_due[i])
        {
            look_note(subject, i);
            is_noted = true;
        }
    if (!is_noted)
        return;
    reason_clear(&why);
    r = policy_save(policy, key, json_incref(last), &why);
    if (r < 0)
        log_warning("snapshots of %s: %s", subject->object.name, why.text);
    for (size_t i = 0; i < subject->snapshots->schedule_count; i++)
        if (subject->is_due[i])
            keep_newest(subject, i);
}

struct look
{
    struct policy *policy;
    struct snapshot_policy *list;
    size_t count;
    uint64_t now_s, wait_s;
};

static int look_cb(void *opaque, const char *key, const void *value, size_t len)
{
    struct look *look = opaque;
    struct subject subject = {.policy = look->policy, .now_s = look->now_s};
    AUTO_JSON json_t *json = policy_parse(look->policy, key, value, len);
    const char *name = json_string_value(json_object_get(json, "snapshot_policy"));
    for (size_t i = 0; name && *name && i < look->count; i++)
        if (strcmp(look->list[i].name, name) == 0)
            subject.snapshots = &look->list[i];
    if (!subject.snapshots || !policy_find_object(look->policy, key, &subject.object))
        return 0;
    if (policy_is_stopping(look->policy))
        return -ECANCELED;
    look_at(&subject);
    for (size_t i = 0; i < subject.snapshots->schedule_count; i++)
        look->wait_s =
            min_u64(look->wait_s, calendar_wait(subject.snapshots->schedules[i].kind, look->now_s));
    return 0;
}

uint64_t policy_step_schedule(struct policy *policy)
{
    struct look look = {.policy = policy, .wait_s = POLICY_IDLE_MS / 1000};
    if (!policy->schedule.has_thawed)
        policy_thaw_all(policy);
    policy->schedule.has_thawed = true;
    look.now_s = policy_now_ns(policy) / POLICY_SECOND_NS;
    int r = snapshot_policy_list(policy, &look.list, &look.count);
    if (r == 0 && look.count > 0)
        r = store_list(policy->pool, "policy/set/", look_cb, &look);
    free(look.list);
    if (r < 0 && r != -ECANCELED)
        log_warning("schedules of snapshots: %s", strerror(-r));
    return look.wait_s * 1000;
}
