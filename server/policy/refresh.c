/* SPDX-License-Identifier: BSD-3-Clause */
/* Refreshes: what they say, and where it is stored. refresh_run.c acts on them. */
#include "server/policy/refresh.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/log.h"
#include "server/policy/calendar.h"
#include "server/policy/refresh_internal.h"

static const char refresh_default_undo[] = "refresh-undo";
const char *const refresh_results[] = {"never", "done", "skipped", "failed", NULL};

/* ---- the store ----------------------------------------------------------------------------- */

static json_t *refresh_encode(const struct refresh *refresh)
{
    const struct refresh_run *last = &refresh->last;
    return json_pack("{s:I, s:b, s:s, s:s, s:s, s:s, s:b, s:I, s:{s:s, s:I, s:s, s:I, s:s}}",
                     "source_id", (json_int_t)refresh->source_id, "latest", refresh->is_latest,
                     "prefix", refresh->prefix, "schedule", refresh->schedule, "undo",
                     refresh->undo, "hook", refresh->hook, "force", refresh->force, "boundary_s",
                     (json_int_t)refresh->boundary_s, "last", "result",
                     refresh_results[last->result], "start_s", (json_int_t)last->start_s, "point",
                     last->point, "point_s", (json_int_t)last->point_s, "text", last->text);
}

static void refresh_decode_run(const json_t *json, struct refresh_run *run)
{
    const char *result = json_string_value(json_object_get(json, "result"));
    *run = (struct refresh_run){0};
    for (int i = 0; result && refresh_results[i]; i++)
        if (strcmp(result, refresh_results[i]) == 0)
            run->result = (enum refresh_result)i;
    policy_get_number(json, "start_s", INT64_MAX, &run->start_s);
    policy_get_number(json, "point_s", INT64_MAX, &run->point_s);
    policy_get_text(json, "point", run->point, sizeof(run->point));
    policy_get_text(json, "text", run->text, sizeof(run->text));
}

/* False: what is stored makes no sense. */
static bool refresh_decode(uint64_t lun_id, const json_t *json, struct refresh *refresh)
{
    *refresh = (struct refresh){.lun_id = lun_id};
    policy_get_number(json, "source_id", INT64_MAX, &refresh->source_id);
    refresh->is_latest = json_is_true(json_object_get(json, "latest"));
    refresh->force = json_is_true(json_object_get(json, "force"));
    policy_get_text(json, "prefix", refresh->prefix, sizeof(refresh->prefix));
    policy_get_text(json, "schedule", refresh->schedule, sizeof(refresh->schedule));
    policy_get_text(json, "undo", refresh->undo, sizeof(refresh->undo));
    policy_get_text(json, "hook", refresh->hook, sizeof(refresh->hook));
    policy_get_number(json, "boundary_s", INT64_MAX, &refresh->boundary_s);
    refresh_decode_run(json_object_get(json, "last"), &refresh->last);
    return refresh->source_id > 0 && refresh->undo[0] &&
           calendar_check_time(refresh->schedule, NULL) == 0;
}

/* What has to be looked up. */
static void refresh_fill(struct policy *policy, const struct policy_object *object,
                         struct refresh *refresh)
{
    struct lun_info source;
    snprintf(refresh->lun, sizeof(refresh->lun), "%s", object->name);
    refresh->source[0] = '\0';
    if (lun_get_info_by_id(policy->pool, refresh->source_id, &source) == 0)
        snprintf(refresh->source, sizeof(refresh->source), "%.*s%s",
                 (int)(sizeof(refresh->source) - sizeof("@latest")), source.name,
                 refresh->is_latest ? "@latest" : "");
    refresh->next_s = calendar_next(refresh->schedule, policy_now_ns(policy) / POLICY_SECOND_NS);
}

static bool refresh_read(struct policy *policy, const char *key, const json_t *json,
                         struct refresh *refresh)
{
    struct policy_object object;
    if (!json || !policy_find_object(policy, key, &object) || object.scope != POLICY_OF_LUN ||
        !refresh_decode(object.id, json, refresh))
        return false;
    refresh_fill(policy, &object, refresh);
    return true;
}

int refresh_load(struct policy *policy, uint64_t lun_id, struct refresh *refresh)
{
    char key[POLICY_KEY_MAX];
    policy_key(key, "refresh", POLICY_OF_LUN, lun_id);
    AUTO_JSON json_t *json = NULL;
    int r = policy_load(policy, key, &json);
    return r < 0 ? r : refresh_read(policy, key, json, refresh) ? 0 : -ENOENT;
}

struct refresh_batch
{
    size_t count;
    char (*keys)[POLICY_KEY_MAX];
    char **texts;
    struct store_change *changes;
};

static void batch_destroy(struct refresh_batch *batch)
{
    for (size_t i = 0; batch->texts && i < batch->count; i++)
        free(batch->texts[i]);
    free(batch->texts);
    free(batch->keys);
    free(batch->changes);
}

static int batch_init(struct refresh_batch *batch, size_t max)
{
    *batch = (struct refresh_batch){.keys = calloc(max + 1, sizeof(*batch->keys)),
                                    .texts = calloc(max + 1, sizeof(*batch->texts)),
                                    .changes = calloc(max + 1, sizeof(*batch->changes))};
    return batch->keys && batch->texts && batch->changes ? 0 : -ENOMEM;
}

/* Takes @json over; NULL deletes. */
static int batch_add(struct refresh_batch *batch, uint64_t lun_id, json_t *json)
{
    size_t i = batch->count++;
    policy_key(batch->keys[i], "refresh", POLICY_OF_LUN, lun_id);
    batch->texts[i] = json ? proto_dump(json, JSON_COMPACT) : NULL;
    bool has_text = !json || batch->texts[i];
    json_decref(json);
    batch->changes[i] = (struct store_change){.key = batch->keys[i],
                                              .value = batch->texts[i],
                                              .len = batch->texts[i] ? strlen(batch->texts[i]) : 0};
    return has_text ? 0 : -ENOMEM;
}

/* ---- setting ------------------------------------------------------------------------------- */

static int put_text(char *to, size_t size, const char *text, const char *what, struct reason *why)
{
    if (strlen(text) >= size)
        return reason_set(why, -EINVAL, "%s has at most %zu bytes", what, size - 1);
    snprintf(to, size, "%s", text);
    return 0;
}

static int put_source(struct policy *policy, const char *source, struct refresh *refresh,
                      struct reason *why)
{
    static const char latest[] = "@latest";
    struct lun_info info;
    char name[REFRESH_NAME_MAX + 1];
    size_t len = strlen(source), tail = sizeof(latest) - 1;
    if (len >= sizeof(name))
        return reason_set(why, -EINVAL, "the name of the source is too long");
    snprintf(name, sizeof(name), "%s", source);
    refresh->is_latest = len > tail && strcmp(source + len - tail, latest) == 0;
    if (refresh->is_latest)
        name[len - tail] = '\0';
    int r = lun_get_info(policy->pool, name, &info, why);
    if (r < 0)
        return r;
    if (refresh->is_latest && info.kind != OBJECT_LUN)
        return reason_set(why, -EINVAL, "'%s' is a snapshot and has none of its own", info.name);
    refresh->source_id = info.id;
    return put_text(refresh->source, sizeof(refresh->source), source, "a source", why);
}

static int put_args(struct policy *policy, const struct refresh_args *args, struct refresh *refresh,
                    struct reason *why)
{
    int r = args->source ? put_source(policy, args->source, refresh, why) : 0;
    if (r == 0 && args->schedule)
        r = calendar_check_time(args->schedule, why);
    if (r == 0 && args->schedule)
        r = put_text(refresh->schedule, sizeof(refresh->schedule), args->schedule, "a schedule",
                     why);
    if (r == 0 && args->prefix)
        r = put_text(refresh->prefix, sizeof(refresh->prefix), args->prefix, "a prefix", why);
    if (r == 0 && args->undo)
        r = put_text(refresh->undo, sizeof(refresh->undo), args->undo, "a snapshot's name", why);
    if (r == 0 && args->hook)
        r = put_text(refresh->hook, sizeof(refresh->hook),
                     strcmp(args->hook, "none") == 0 ? "" : args->hook, "the name of a program",
                     why);
    if (args->force)
        refresh->force = *args->force;
    return r;
}

int refresh_get_undo(struct policy *policy, const struct refresh *refresh, struct lun_info *info)
{
    char full[2 * LUN_NAME_MAX + 2];
    int n = snprintf(full, sizeof(full), "%s@%s", refresh->lun, refresh->undo);
    return n < 0 || (size_t)n >= sizeof(full) ? -ENAMETOOLONG
                                              : lun_get_info(policy->pool, full, info, NULL);
}

static int put_check(struct policy *policy, const struct refresh *refresh,
                     const struct lun_info *lun, struct reason *why)
{
    struct lun_info source;
    int r = lun_get_info_by_id(policy->pool, refresh->source_id, &source);
    if (r < 0)
        return reason_set(why, r, "what LUN '%s' was refreshed from is gone; --from names another",
                          lun->name);
    if (source.lun_id == lun->id)
        return reason_set(why, -EINVAL, "LUN '%s' cannot be refreshed from itself", lun->name);
    if (source.sector_bytes != lun->sector_bytes)
        return reason_set(why, -EINVAL,
                          "LUN '%s' has sectors of %u bytes, '%s' has %u: clients would not "
                          "understand the content",
                          lun->name, lun->sector_bytes, source.name, source.sector_bytes);
    if (refresh->prefix[0] && !refresh->is_latest)
        return reason_set(why, -EINVAL,
                          "--prefix is for a source that is the latest snapshot of a LUN, as "
                          "prod@latest");
    return refresh->hook[0] ? refresh_check_hook(policy, refresh->hook, why) : 0;
}

/* A snapshot that somebody else made is not to be replaced. */
static int put_check_undo(struct policy *policy, const struct refresh *refresh, struct reason *why)
{
    struct lun_info undo;
    if (refresh->undo[strspn(refresh->undo, " ")] == '\0' || strpbrk(refresh->undo, "@/"))
        return reason_set(why, -EINVAL, "\"%.60s\" is no name for a snapshot", refresh->undo);
    int r = refresh_get_undo(policy, refresh, &undo);
    if (r == 0)
        return reason_set(
            why, -EEXIST,
            "there is a snapshot '%s' already, and a refresh would replace it; --undo "
            "chooses another name",
            undo.name);
    return r == -ENOENT ? 0
                        : reason_set(why, r, "\"%.60s\" is no name for a snapshot", refresh->undo);
}

static int put_one(struct policy *policy, const char *name, const struct refresh_args *args,
                   bool is_new, struct refresh *refresh, struct reason *why)
{
    struct lun_info lun;
    int r = lun_get_info(policy->pool, name, &lun, why);
    if (r < 0)
        return r;
    if (lun.kind != OBJECT_LUN)
        return reason_set(why, -EINVAL, "'%s' is a snapshot, which never changes", lun.name);
    r = refresh_load(policy, lun.id, refresh);
    if (r < 0 && r != -ENOENT)
        return r;
    bool is_there = r == 0;
    if (is_there && is_new)
        return reason_set(why, -EEXIST,
                          "LUN '%s' has a refresh already; 'lunette refresh modify %s' changes it",
                          lun.name, lun.name);
    if (!is_there && !is_new)
        return reason_set(why, -ENOENT,
                          "LUN '%s' has no refresh; 'lunette refresh show' lists those that have",
                          lun.name);
    if (is_new)
        *refresh = (struct refresh){.lun_id = lun.id};
    char undo[sizeof(refresh->undo)];
    snprintf(undo, sizeof(undo), "%s", refresh->undo);
    snprintf(refresh->lun, sizeof(refresh->lun), "%s", lun.name);
    if (is_new)
        snprintf(refresh->undo, sizeof(refresh->undo), "%s", refresh_default_undo);
    r = put_args(policy, args, refresh, why);
    if (r == 0)
        r = put_check(policy, refresh, &lun, why);
    if (r == 0 && strcmp(undo, refresh->undo) != 0)
        r = put_check_undo(policy, refresh, why);
    /* Begins at the next boundary: what it missed before is not made up for. */
    if (args->schedule)
        refresh->boundary_s =
            calendar_boundary(refresh->schedule, policy_now_ns(policy) / POLICY_SECOND_NS);
    return r;
}

static void put_cleanup(struct refresh_batch *batch)
{
    batch_destroy(batch);
}

static int refresh_check_count(size_t count, struct reason *why)
{
    return count > 0 && count <= LUN_SET_MAX
               ? 0
               : reason_set(why, -EINVAL, "%zu names; 1 to %d are possible", count, LUN_SET_MAX);
}

int refresh_put(struct policy *policy, const char *const *names, size_t count,
                const struct refresh_args *args, bool is_new, struct reason *why)
{
    CLEANUP(put_cleanup) struct refresh_batch batch = {0};
    int r = refresh_check_count(count, why);
    if (r == 0)
        r = batch_init(&batch, count);
    if (r < 0)
        return r;
    if (is_new && (!args->source || !args->schedule))
        return reason_set(why, -EINVAL, "a refresh needs a source and a schedule");
    AUTO_LOCK(&policy->settings_lock);
    for (size_t i = 0; r == 0 && i < count; i++)
    {
        struct refresh refresh = {0};
        r = put_one(policy, names[i], args, is_new, &refresh, why);
        json_t *json = r == 0 ? refresh_encode(&refresh) : NULL;
        if (r == 0)
            r = json ? batch_add(&batch, refresh.lun_id, json) : -ENOMEM;
    }
    if (r == 0)
        r = store_apply(policy->pool, batch.changes, batch.count, why);
    policy_poke(policy, POLICY_REFRESH);
    return r;
}

int refresh_delete(struct policy *policy, const char *const *names, size_t count,
                   struct reason *why)
{
    CLEANUP(put_cleanup) struct refresh_batch batch = {0};
    AUTO_FREE struct refresh *list = NULL;
    size_t list_count = 0;
    int r = refresh_check_count(count, why);
    if (r == 0)
        r = batch_init(&batch, count);
    if (r < 0)
        return r;
    AUTO_LOCK(&policy->settings_lock);
    r = refresh_list(policy, names, count, &list, &list_count, why);
    for (size_t i = 0; r == 0 && i < list_count; i++)
        r = batch_add(&batch, list[i].lun_id, NULL);
    return r < 0 ? r : store_apply(policy->pool, batch.changes, batch.count, why);
}

/* ---- listing ------------------------------------------------------------------------------- */

struct refresh_listing
{
    struct policy *policy;
    struct refresh *list;
    size_t count, size;
};

static int list_cb(void *opaque, const char *key, const void *value, size_t len)
{
    struct refresh_listing *listing = opaque;
    if (listing->count == listing->size)
    {
        size_t size = 2 * listing->size + 16;
        struct refresh *list = realloc(listing->list, size * sizeof(*list));
        if (!list)
            return -ENOMEM;
        listing->list = list;
        listing->size = size;
    }
    AUTO_JSON json_t *json = policy_parse(listing->policy, key, value, len);
    listing->count += refresh_read(listing->policy, key, json, &listing->list[listing->count]);
    return 0;
}

static int list_compare(const void *a, const void *b)
{
    return strcmp(((const struct refresh *)a)->lun, ((const struct refresh *)b)->lun);
}

static int list_all(struct policy *policy, struct refresh **list, size_t *count)
{
    struct refresh_listing listing = {.policy = policy};
    int r = store_list(policy->pool, REFRESH_PREFIX, list_cb, &listing);
    if (r < 0)
    {
        free(listing.list);
        return r;
    }
    if (listing.count > 0)
        qsort(listing.list, listing.count, sizeof(*listing.list), list_compare);
    *list = listing.list;
    *count = listing.count;
    return 0;
}

static int list_one(struct policy *policy, const char *name, struct refresh *refresh,
                    struct reason *why)
{
    struct lun_info lun;
    int r = lun_get_info(policy->pool, name, &lun, why);
    if (r < 0)
        return r;
    r = lun.kind == OBJECT_LUN ? refresh_load(policy, lun.id, refresh) : -ENOENT;
    return r != -ENOENT
               ? r
               : reason_set(why, r,
                            "'%s' has no refresh; 'lunette refresh show' lists those that have",
                            lun.name);
}

int refresh_list(struct policy *policy, const char *const *names, size_t count,
                 struct refresh **list, size_t *list_count, struct reason *why)
{
    if (count == 0)
        return list_all(policy, list, list_count);
    int r = refresh_check_count(count, why);
    AUTO_FREE struct refresh *found = r == 0 ? calloc(count, sizeof(*found)) : NULL;
    if (r == 0 && !found)
        r = -ENOMEM;
    for (size_t i = 0; r == 0 && i < count; i++)
    {
        r = list_one(policy, names[i], &found[i], why);
        for (size_t j = 0; r == 0 && j < i; j++)
            if (found[j].lun_id == found[i].lun_id)
                r = reason_set(why, -EINVAL, "LUN '%s' is named twice", found[i].lun);
    }
    if (r < 0)
        return r;
    *list = take_ptr(&found);
    *list_count = count;
    return 0;
}

/* ---- runs ---------------------------------------------------------------------------------- */

bool refresh_is_alike(const struct refresh *a, const struct refresh *b)
{
    return a->source_id == b->source_id && a->is_latest == b->is_latest && a->force == b->force &&
           strcmp(a->prefix, b->prefix) == 0 && strcmp(a->undo, b->undo) == 0 &&
           strcmp(a->hook, b->hook) == 0;
}

static int save_put(json_t *json, const struct refresh *refresh)
{
    AUTO_JSON json_t *whole = refresh_encode(refresh);
    const char *schedule = json_string_value(json_object_get(json, "schedule"));
    if (!whole || json_object_set(json, "last", json_object_get(whole, "last")) < 0)
        return -ENOMEM;
    /* One that was changed meanwhile begins anew. */
    if (schedule && strcmp(schedule, refresh->schedule) == 0 &&
        json_object_set(json, "boundary_s", json_object_get(whole, "boundary_s")) < 0)
        return -ENOMEM;
    json_object_del(json, "begun");
    return 0;
}

static int begin_put(struct policy *policy, json_t *json, const struct refresh *refresh)
{
    struct lun_info undo;
    const struct refresh_run *last = &refresh->last;
    uint64_t undo_id = refresh_get_undo(policy, refresh, &undo) == 0 ? undo.id : 0;
    return json_object_set_new(json, "begun",
                               json_pack("{s:I, s:I, s:s, s:I, s:s, s:I}", "undo_id",
                                         (json_int_t)undo_id, "boundary_s",
                                         (json_int_t)refresh->boundary_s, "result", "done",
                                         "start_s", (json_int_t)last->start_s, "point", last->point,
                                         "point_s", (json_int_t)last->point_s)) == 0
               ? 0
               : -ENOMEM;
}

/* Changes what is stored of those of @list whose settings are still there. */
static int refresh_change(struct policy *policy, const struct refresh *list, size_t count,
                          bool is_begin, struct reason *why)
{
    CLEANUP(put_cleanup) struct refresh_batch batch = {0};
    int r = batch_init(&batch, count);
    if (r < 0)
        return r;
    AUTO_LOCK(&policy->settings_lock);
    for (size_t i = 0; r == 0 && i < count; i++)
    {
        char key[POLICY_KEY_MAX];
        policy_key(key, "refresh", POLICY_OF_LUN, list[i].lun_id);
        AUTO_JSON json_t *json = NULL;
        r = policy_load(policy, key, &json);
        if (r < 0 || !json)
            continue;
        r = is_begin ? begin_put(policy, json, &list[i]) : save_put(json, &list[i]);
        if (r == 0)
            r = batch_add(&batch, list[i].lun_id, take_ptr(&json));
    }
    if (r == 0 && batch.count > 0)
        r = store_apply(policy->pool, batch.changes, batch.count, why);
    return r;
}

int refresh_save_runs(struct policy *policy, const struct refresh *list, size_t count,
                      struct reason *why)
{
    return refresh_change(policy, list, count, false, why);
}

int refresh_note_begin(struct policy *policy, const struct refresh *list, size_t count,
                       struct reason *why)
{
    return refresh_change(policy, list, count, true, why);
}

/*
 * Content and snapshot change in one step of the engine, so whether the snapshot is another one
 * says whether a run was done. It must not be done twice: the second would keep the new content,
 * and what the LUN held before would be lost.
 */
static int recover_cb(void *opaque, const char *key, const void *value, size_t len)
{
    struct policy *policy = opaque;
    struct refresh refresh;
    struct lun_info undo;
    uint64_t undo_id = 0;
    AUTO_JSON json_t *json = policy_parse(policy, key, value, len);
    const json_t *begun = json_object_get(json, "begun");
    if (!begun || !refresh_read(policy, key, json, &refresh))
        return 0;
    policy_get_number(begun, "undo_id", INT64_MAX, &undo_id);
    if (refresh_get_undo(policy, &refresh, &undo) == 0 && undo.id != undo_id)
    {
        policy_get_number(begun, "boundary_s", INT64_MAX, &refresh.boundary_s);
        refresh_decode_run(begun, &refresh.last);
        event_add(policy->pool, "info", "refresh.done", refresh.lun,
                  "got the content of %.60s before the server ended", refresh.last.point);
    }
    int r = refresh_save_runs(policy, &refresh, 1, NULL);
    if (r < 0)
        log_warning("refresh of %s: what was done before is not noted: %s", refresh.lun,
                    strerror(-r));
    return 0;
}

void refresh_recover(struct policy *policy)
{
    ignore_error(store_list(policy->pool, REFRESH_PREFIX, recover_cb, policy),
                 "without memory: at the next start");
}
