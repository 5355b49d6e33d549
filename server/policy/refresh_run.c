/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Refreshes, when they are due or asked for.
 *
 * Those with the same settings are one batch: of one moment of the source, with one run of the
 * hook. One batch at a time. A run that fails is an event and waits for the next boundary; a LUN
 * that cannot be refreshed is in nobody's way.
 *
 * Always true:
 *  - a LUN has its old content or all of the new (lun_redeploy() is one step), whenever the server
 *    ends; what a run that ended in between has done is found at the next start
 * (refresh_recover());
 *  - settings that were changed or deleted while a hook ran are not acted on;
 *  - a clock that is set forward makes nothing due for an hour (clock.c), and one however far
 * later.
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
#include "server/policy/refresh_internal.h"

enum
{
    BATCH_REASON_MAX = 130, /* bytes of a reason in an event, before a command that helps */
};

struct batch
{
    struct policy *policy;
    struct refresh *list; /* alike */
    size_t count;
    bool dry_run;
    bool *is_out; /* by list: has its result */
    char point[REFRESH_NAME_MAX + 1];
    uint64_t point_s;
};

/* ---- one at a time ------------------------------------------------------------------------- */

/* False: the server stops. @dry_run: this thread's, from then on. */
static bool refresh_begin(struct policy *policy, bool dry_run)
{
    lock_take(&policy->wake_lock);
    while (policy->refresh.is_busy && !policy->is_stopping)
        condition_wait(&policy->refresh_free, &policy->wake_lock);
    bool is_mine = !policy->is_stopping;
    if (is_mine)
        policy->refresh.is_busy = true;
    lock_release(&policy->wake_lock);
    if (is_mine && !policy->refresh.has_recovered)
    {
        command_dry_run(false);
        refresh_unmask_all(policy);
        refresh_recover(policy);
        policy->refresh.has_recovered = true;
    }
    command_dry_run(dry_run);
    return is_mine;
}

static void refresh_end(struct policy *policy)
{
    AUTO_LOCK(&policy->wake_lock);
    policy->refresh.is_busy = false;
    condition_wake_all(&policy->refresh_free);
}

/* ---- results ------------------------------------------------------------------------------- */

/* A command that helps, to stand behind a reason; "": the reason names one. */
static void batch_hint(const struct refresh *refresh, int r, const char *text, char *hint,
                       size_t size)
{
    const char *lun = refresh->lun;
    hint[0] = '\0';
    if (strlen(text) <= BATCH_REASON_MAX && strstr(text, "lunette "))
        return;
    if (r == -ENOSPC)
        snprintf(hint, size, "; see 'lunette explain space'");
    else if (r == -EDQUOT)
        snprintf(hint, size, "; see 'lunette quota report'");
    else if (r == -ESTALE || r == -ENOENT)
        snprintf(hint, size, "; see 'lunette refresh modify %.60s --from SOURCE'", lun);
    else if (r == -EBUSY)
        snprintf(hint, size, "; see 'lunette lun show %.60s --snapshots'", lun);
    else
        snprintf(hint, size, "; 'lunette refresh run %.60s' tries again", lun);
}

static void batch_fail(struct batch *batch, size_t i, enum refresh_result result, int r,
                       const struct reason *why)
{
    struct refresh *refresh = &batch->list[i];
    char hint[120];
    bool is_skipped = result == REFRESH_SKIPPED;
    batch->is_out[i] = true;
    refresh->last.result = result;
    snprintf(refresh->last.text, sizeof(refresh->last.text), "%.511s",
             why->text[0] ? why->text : strerror(-r));
    /* A program may say anything, and be cut off anywhere; the store takes UTF-8. */
    for (char *at = refresh->last.text; *at; at++)
        if ((unsigned char)*at >= 0x80)
            *at = '?';
    batch_hint(refresh, r, refresh->last.text, hint, sizeof(hint));
    if (!batch->dry_run)
        event_add(batch->policy->pool, is_skipped ? "warning" : "error",
                  is_skipped ? "refresh.skipped" : "refresh.failed", refresh->lun, "%.*s%s",
                  BATCH_REASON_MAX, refresh->last.text, hint);
}

static void batch_fail_all(struct batch *batch, int r, const struct reason *why)
{
    for (size_t i = 0; i < batch->count; i++)
        if (!batch->is_out[i])
            batch_fail(batch, i, REFRESH_FAILED, r, why);
}

static void batch_done(struct batch *batch, size_t i)
{
    struct refresh_run *last = &batch->list[i].last;
    batch->is_out[i] = true;
    last->result = REFRESH_DONE;
    last->text[0] = '\0';
    if (!batch->dry_run)
        event_add(batch->policy->pool, "info", "refresh.done", batch->list[i].lun,
                  "got the content of %.80s; what it held is in snapshot %.80s", last->point,
                  batch->list[i].undo);
}

static size_t batch_left(const struct batch *batch)
{
    size_t left = 0;
    for (size_t i = 0; i < batch->count; i++)
        left += !batch->is_out[i];
    return left;
}

/* ---- what is taken ------------------------------------------------------------------------- */

/* Of LUN @source the newest snapshot that fits. */
static int batch_find_latest(struct batch *batch, const struct lun_info *source,
                             struct lun_info *latest, struct reason *why)
{
    AUTO_FREE struct lun_info *list = NULL;
    struct refresh own; /* the source may be refreshed itself: what it held before is not meant */
    size_t count = 0, prefix_len = strlen(batch->list[0].prefix);
    int r = refresh_load(batch->policy, source->id, &own);
    if (r < 0 && r != -ENOENT)
        return r;
    bool is_refreshed = r == 0;
    r = lun_list(batch->policy->pool, source->name, &list, &count, why);
    latest->id = 0;
    for (size_t i = 0; r == 0 && i < count; i++)
    {
        const char *at = strrchr(list[i].name, '@');
        if (list[i].kind != OBJECT_SNAPSHOT || list[i].lun_id != source->id || !at ||
            strncmp(at + 1, batch->list[0].prefix, prefix_len) != 0 ||
            (is_refreshed && strcmp(at + 1, own.undo) == 0))
            continue;
        /* Not by date, which may have been set. */
        if (list[i].id > latest->id)
            *latest = list[i];
    }
    if (r == 0 && latest->id == 0)
        r = reason_set(
            why, -ESTALE,
            "LUN '%.80s' has no snapshot%s%s; 'lunette snapshot create %.80s@%sNAME' makes one",
            source->name, prefix_len > 0 ? " that begins with " : "", batch->list[0].prefix,
            source->name, batch->list[0].prefix);
    return r;
}

static int batch_find_point(struct batch *batch, struct reason *why)
{
    struct policy *policy = batch->policy;
    struct lun_info source, found;
    int r = lun_get_info_by_id(policy->pool, batch->list[0].source_id, &source);
    if (r < 0)
        return reason_set(why, -ESTALE, "what it was refreshed from is gone");
    found = source;
    r = import_check(policy->pool, &source, why);
    if (r < 0)
        return r;
    if (batch->list[0].is_latest)
        r = batch_find_latest(batch, &source, &found, why);
    if (r < 0)
        return r;
    snprintf(batch->point, sizeof(batch->point), "%s", found.name);
    batch->point_s = found.kind == OBJECT_SNAPSHOT ? found.created_ns / POLICY_SECOND_NS
                                                   : policy_now_ns(policy) / POLICY_SECOND_NS;
    for (size_t i = 0; i < batch->count; i++)
    {
        snprintf(batch->list[i].last.point, sizeof(batch->list[i].last.point), "%s", batch->point);
        batch->list[i].last.point_s = batch->point_s;
    }
    return 0;
}

/* ---- what it goes to ----------------------------------------------------------------------- */

static int batch_redeploy(struct batch *batch, const char *source, const char *const *names,
                          size_t count, bool dry_run, struct reason *why)
{
    const struct refresh *refresh = &batch->list[0];
    reason_clear(why);
    command_dry_run(dry_run);
    int r = lun_redeploy(batch->policy->pool, source, names, count, refresh->undo,
                         refresh->force ? LUN_FORCE : 0, why);
    command_dry_run(batch->dry_run);
    return r;
}

/* Puts aside those that cannot be refreshed now; twice, since a hook takes its time. */
static void batch_check(struct batch *batch)
{
    struct policy *policy = batch->policy;
    for (size_t i = 0; i < batch->count; i++)
    {
        struct refresh *refresh = &batch->list[i], now;
        struct lun_info lun, undo;
        struct reason why;
        if (batch->is_out[i])
            continue;
        reason_clear(&why);
        batch->is_out[i] = refresh_load(policy, refresh->lun_id, &now) < 0 ||
                           !refresh_is_alike(refresh, &now) ||
                           lun_get_info_by_id(policy->pool, refresh->lun_id, &lun) < 0;
        if (batch->is_out[i])
            continue; /* nobody wants it any more */
        snprintf(refresh->lun, sizeof(refresh->lun), "%s", lun.name);
        const char *name = refresh->lun;
        if (lun.open_handles > 0 && !refresh->force)
        {
            ignore_error(
                reason_set(&why, -EBUSY, "LUN '%.60s' is open and was left as it is", name),
                "noted below");
            batch_fail(batch, i, REFRESH_SKIPPED, -EBUSY, &why);
            continue;
        }
        int r = import_check(policy->pool, &lun, &why);
        if (r == 0 && refresh_get_undo(policy, refresh, &undo) == 0 && undo.open_handles > 0)
            r = reason_set(&why, -EBUSY, "clients have '%.100s' open, which it would replace",
                           undo.name);
        if (r == 0)
            r = batch_redeploy(batch, batch->point, &name, 1, true, &why);
        if (r < 0)
            batch_fail(batch, i, REFRESH_FAILED, r, &why);
    }
}

/* Those that are left: together, or if one of them forbids that after all, each by itself. */
static void batch_apply(struct batch *batch, const char *source)
{
    size_t count = 0;
    struct reason why;
    AUTO_FREE const char **names = calloc(batch->count + 1, sizeof(*names));
    reason_clear(&why);
    int r = names ? refresh_note_begin(batch->policy, batch->list, batch->count, &why) : -ENOMEM;
    if (r < 0)
    {
        batch_fail_all(batch, r, &why);
        return;
    }
    for (size_t i = 0; i < batch->count; i++)
        if (!batch->is_out[i])
            names[count++] = batch->list[i].lun;
    if (count <= LUN_SET_MAX)
        r = batch_redeploy(batch, source, names, count, batch->dry_run, &why);
    bool is_whole = r == 0 && count <= LUN_SET_MAX;
    for (size_t i = 0; i < batch->count; i++)
    {
        const char *name = batch->list[i].lun;
        if (batch->is_out[i])
            continue;
        r = is_whole ? 0 : batch_redeploy(batch, source, &name, 1, batch->dry_run, &why);
        if (r < 0)
            batch_fail(batch, i, REFRESH_FAILED, r, &why);
        else
            batch_done(batch, i);
    }
}

/* -ECANCELED: the server stops, and it is as if it had not begun. */
static int batch_work(struct batch *batch)
{
    struct refresh_mask mask = {.key = ""};
    struct reason why;
    reason_clear(&why);
    uint64_t now_s = policy_now_ns(batch->policy) / POLICY_SECOND_NS;
    bool has_hook = batch->list[0].hook[0] && !batch->dry_run;
    for (size_t i = 0; i < batch->count; i++)
        batch->list[i].last = (struct refresh_run){.start_s = now_s};
    int r = batch_find_point(batch, &why);
    if (r == 0)
        batch_check(batch);
    if (r == 0 && batch->list[0].hook[0] && batch->dry_run)
        r = refresh_check_hook(batch->policy, batch->list[0].hook, &why);
    if (r == 0 && has_hook && batch_left(batch) > 0)
    {
        r = refresh_mask(batch->policy, batch->point, batch->list, batch->count, &mask, &why);
        if (r == 0)
            batch_check(batch);
    }
    if (r < 0 && r != -ECANCELED)
        batch_fail_all(batch, r, &why);
    if (r == 0 && batch_left(batch) > 0)
        batch_apply(batch, has_hook ? mask.name : batch->point);
    refresh_unmask(batch->policy, &mask);
    return r == -ECANCELED ? r : 0;
}

static int batch_run(struct policy *policy, struct refresh *list, size_t count, bool dry_run)
{
    struct reason why;
    AUTO_FREE bool *is_out = calloc(count, sizeof(*is_out));
    struct batch batch = {
        .policy = policy, .list = list, .count = count, .dry_run = dry_run, .is_out = is_out};
    if (!is_out)
        return -ENOMEM;
    int r = batch_work(&batch);
    if (r < 0 || dry_run)
        return r;
    /* Not of those whose settings were changed meanwhile: by what they say now they are still due.
     */
    for (size_t i = 0; i < count;)
    {
        if (list[i].last.result != REFRESH_NEVER)
        {
            i++;
            continue;
        }
        struct refresh moved = list[--count];
        list[count] = list[i];
        list[i] = moved;
    }
    reason_clear(&why);
    r = refresh_save_runs(policy, list, count, &why);
    if (r < 0)
        log_warning("refreshes that were run are not noted: %s",
                    why.text[0] ? why.text : strerror(-r));
    return 0;
}

/* ---- all of them --------------------------------------------------------------------------- */

/* Those of @list in batches; they are put in order for it. */
static int refresh_run_all(struct policy *policy, struct refresh *list, size_t count, bool dry_run)
{
    int r = 0;
    for (size_t at = 0; r == 0 && at < count;)
    {
        size_t end = at + 1;
        for (size_t i = end; i < count; i++)
        {
            if (!refresh_is_alike(&list[at], &list[i]))
                continue;
            struct refresh moved = list[i];
            list[i] = list[end];
            list[end++] = moved;
        }
        r = policy_is_stopping(policy) ? -ECANCELED
                                       : batch_run(policy, &list[at], end - at, dry_run);
        at = end;
    }
    return r;
}

int refresh_now(struct policy *policy, const char *const *names, size_t count, bool dry_run,
                struct refresh **list, size_t *list_count, struct reason *why)
{
    AUTO_FREE struct refresh *found = NULL;
    size_t found_count = 0;
    if (count == 0)
        return reason_set(why, -EINVAL, "no LUN is named");
    if (!refresh_begin(policy, dry_run))
        return reason_set(why, -ECANCELED, "the server stops");
    int r = refresh_list(policy, names, count, &found, &found_count, why);
    if (r == 0)
        r = refresh_run_all(policy, found, found_count, dry_run);
    refresh_end(policy);
    command_dry_run(false);
    if (r < 0)
        return why && why->text[0]
                   ? r
                   : reason_set(why, r, "%s", r == -ECANCELED ? "the server stops" : strerror(-r));
    *list = take_ptr(&found);
    *list_count = found_count;
    return 0;
}

/* Puts those that are due at the head of @list, their number in *due; notes what is new. */
static int refresh_look(struct policy *policy, struct refresh *list, size_t count, uint64_t now_s,
                        size_t *due)
{
    int r = 0;
    *due = 0;
    for (size_t i = 0; i < count; i++)
    {
        uint64_t boundary_s = calendar_boundary(list[i].schedule, now_s);
        bool is_due = list[i].boundary_s > 0 && list[i].boundary_s < boundary_s;
        /* The clock was ahead when it was noted. */
        bool is_new = list[i].boundary_s == 0 || list[i].boundary_s > now_s;
        list[i].boundary_s = boundary_s;
        if (is_new)
            r = keep_first(r, refresh_save_runs(policy, &list[i], 1, NULL));
        if (!is_due)
            continue;
        struct refresh moved = list[i];
        list[i] = list[*due];
        list[(*due)++] = moved;
    }
    return r;
}

uint64_t policy_step_refresh(struct policy *policy)
{
    AUTO_FREE struct refresh *list = NULL;
    size_t count = 0, due = 0;
    uint64_t wait_s = POLICY_IDLE_MS / 1000;
    if (!refresh_begin(policy, false))
        return 0;
    uint64_t now_s = policy_trusted_now_ns(policy, &policy->refresh.clock) / POLICY_SECOND_NS;
    int r = refresh_list(policy, NULL, 0, &list, &count, NULL);
    if (r == 0)
        r = refresh_look(policy, list, count, now_s, &due);
    for (size_t i = 0; i < count; i++)
        wait_s = min_u64(wait_s, calendar_wait(list[i].schedule, now_s));
    if (r == 0)
        r = refresh_run_all(policy, list, due, false);
    refresh_end(policy);
    if (r < 0 && r != -ECANCELED)
        log_warning("refreshes on schedule: %s", strerror(-r));
    return wait_s * 1000;
}
