/* SPDX-License-Identifier: BSD-3-Clause */
/* Store, events, jobs, check and dump of the naive engine. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "tests/lib/naive_internal.h"

/* ---- store */

static struct nv_value *nv_value_find(struct pool *pool, const char *key)
{
    list_for_each (value, &pool->values, struct nv_value, node)
    {
        if (strcmp(value->key, key) == 0)
            return value;
    }
    return NULL;
}

static void nv_value_put(struct pool *pool, const struct store_change *change,
                         struct nv_value *fresh)
{
    struct nv_value *old = nv_value_find(pool, change->key);
    if (old)
    {
        list_remove(&old->node);
        free(old);
    }
    if (!fresh)
        return;
    struct list *before = &pool->values;
    list_for_each (value, &pool->values, struct nv_value, node)
    {
        before = &value->node;
        if (strcmp(value->key, change->key) > 0)
            break;
        before = &pool->values;
    }
    list_add_tail(before, &fresh->node);
}

static int nv_change_check(const struct store_change *change, struct reason *why)
{
    size_t key_len = strnlen(change->key, STORE_KEY_MAX + 1);
    if (key_len == 0 || key_len > STORE_KEY_MAX)
        return reason_set(why, -EINVAL, "A key of the store has 1 to %d bytes; this one has %zu.",
                          STORE_KEY_MAX, key_len);
    if (change->value && change->len > STORE_VALUE_MAX)
        return reason_set(why, -EINVAL, "The value of '%s' has %zu bytes; at most %d fit.",
                          change->key, change->len, STORE_VALUE_MAX);
    return 0;
}

int store_apply(struct pool *pool, const struct store_change *changes, size_t count,
                struct reason *why)
{
    reason_clear(why);
    AUTO_LOCK(&pool->lock);
    for (size_t i = 0; i < count; i++)
    {
        int r = nv_change_check(&changes[i], why);
        if (r < 0)
            return r;
    }
    if (pool->is_read_only)
        return reason_set(why, -EROFS, "Pool '%s' is open for reading only.", pool->name);
    AUTO_FREE struct nv_value **fresh = calloc(count + 1, sizeof(struct nv_value *));
    if (!fresh)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
    {
        if (!changes[i].value)
            continue;
        fresh[i] = calloc(1, sizeof(struct nv_value));
        if (!fresh[i])
        {
            while (i-- > 0)
                free(fresh[i]);
            return -ENOMEM;
        }
        snprintf(fresh[i]->key, sizeof(fresh[i]->key), "%s", changes[i].key);
        fresh[i]->len = changes[i].len;
        memcpy(fresh[i]->bytes, changes[i].value, changes[i].len);
    }
    for (size_t i = 0; i < count; i++)
        nv_value_put(pool, &changes[i], fresh[i]);
    return 0;
}

int store_get(struct pool *pool, const char *key, void **value, size_t *len)
{
    AUTO_LOCK(&pool->lock);
    struct nv_value *found = nv_value_find(pool, key);
    if (!found)
        return -ENOENT;
    char *copy = malloc(found->len + 1);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, found->bytes, found->len);
    copy[found->len] = '\0';
    *value = copy;
    *len = found->len;
    return 0;
}

/* Copies of all values under @prefix, in order. */
static int nv_values_copy(struct pool *pool, const char *prefix, struct nv_value **copy,
                          size_t *count)
{
    AUTO_LOCK(&pool->lock);
    size_t total = 0;
    list_for_each (value, &pool->values, struct nv_value, node)
    {
        total++;
    }
    *copy = calloc(total + 1, sizeof(**copy));
    if (!*copy)
        return -ENOMEM;
    *count = 0;
    list_for_each (value, &pool->values, struct nv_value, node)
    {
        if (strncmp(value->key, prefix, strlen(prefix)) == 0)
            (*copy)[(*count)++] = *value;
    }
    return 0;
}

int store_list(struct pool *pool, const char *prefix, store_each_fn *each, void *opaque)
{
    AUTO_FREE struct nv_value *copy = NULL;
    size_t count = 0;
    int r = nv_values_copy(pool, prefix, &copy, &count);
    for (size_t i = 0; r == 0 && i < count; i++)
        r = each(opaque, copy[i].key, copy[i].bytes, copy[i].len);
    return r;
}

/* ---- jobs: everything is done at once, so there are none */

int job_list(struct pool *pool, struct job_info **list, size_t *count)
{
    (void)pool;
    *list = calloc(1, sizeof(**list));
    if (!*list)
        return -ENOMEM;
    *count = 0;
    return 0;
}

int job_wait(struct pool *pool, uint64_t id, uint64_t timeout_ms)
{
    (void)pool, (void)id, (void)timeout_ms;
    return 0;
}

int pool_run_job_step(struct pool *pool)
{
    (void)pool;
    return 0;
}

/* ---- events */

void event_add(struct pool *pool, const char *severity, const char *name, const char *object,
               const char *format, ...)
{
    AUTO_LOCK(&pool->lock);
    uint64_t id = ++pool->last_event;
    struct event *event = &pool->events[id % NV_EVENTS_KEPT];
    *event = (struct event){.id = id, .time_ns = pool->env->now_ns(pool->env)};
    snprintf(event->severity, sizeof(event->severity), "%s", severity);
    snprintf(event->name, sizeof(event->name), "%s", name);
    snprintf(event->object, sizeof(event->object), "%s", object ? object : "");
    va_list args;
    va_start(args, format);
    vsnprintf(event->text, sizeof(event->text), format, args);
    va_end(args);
    condition_wake_all(&pool->event_added);
}

int event_list(struct pool *pool, uint64_t after, struct event **list, size_t *count)
{
    AUTO_LOCK(&pool->lock);
    uint64_t last = pool->last_event;
    uint64_t first = max_u64(after + 1, last >= NV_EVENTS_KEPT ? last - NV_EVENTS_KEPT + 1 : 1);
    size_t found = first <= last ? (size_t)(last - first + 1) : 0;
    *list = calloc(found + 1, sizeof(**list));
    if (!*list)
        return -ENOMEM;
    for (size_t i = 0; i < found; i++)
        (*list)[i] = pool->events[(first + i) % NV_EVENTS_KEPT];
    *count = found;
    return 0;
}

int event_wait(struct pool *pool, uint64_t after, uint64_t timeout_ms)
{
    AUTO_LOCK(&pool->lock);
    uint64_t deadline_ns = pool->env->now_ns(pool->env) + timeout_ms * 1000000;
    while (pool->last_event <= after)
    {
        uint64_t now_ns = pool->env->now_ns(pool->env);
        if (now_ns >= deadline_ns)
            return -ETIMEDOUT;
        uint64_t left_ms = div_round_up(deadline_ns - now_ns, 1000000);
        if (!condition_wait_ms(&pool->event_added, &pool->lock, left_ms) &&
            pool->last_event <= after)
            return -ETIMEDOUT;
    }
    return 0;
}

/* ---- check and dump */

int pool_check(struct pool *pool, check_report_fn *report, void *opaque,
               struct check_result *result)
{
    *result = (struct check_result){0};
    {
        AUTO_LOCK(&pool->lock);
        result->blks_checked = result->blks_allocated = pool->page_count;
        result->blks_reachable = pool->page_count;
        list_for_each (lun, &pool->luns, struct nv_object, node)
        {
            result->objects_checked++;
            list_for_each (snapshot, &lun->snapshots, struct nv_object, node)
            {
                result->objects_checked++;
            }
        }
        result->lines_checked = result->objects_checked;
    }
    if (report)
        report(opaque, false, "A pool in memory has nothing that could be damaged.");
    return 0;
}

int pool_dump(struct pool *pool, const char *what, dump_line_fn *line, void *opaque,
              struct reason *why)
{
    reason_clear(why);
    char text[2 * LUN_NAME_MAX + 64];
    if (strcmp(what, "superblock") == 0)
    {
        snprintf(text, sizeof(text), "pool %s", pool->name);
        line(opaque, text);
        return 0;
    }
    if (strcmp(what, "objects") != 0)
        return reason_set(why, -EINVAL,
                          "A pool in memory has no '%s'; try 'superblock' or 'objects'.", what);
    AUTO_FREE struct lun_info *list = NULL;
    size_t count = 0;
    int r = lun_list(pool, NULL, &list, &count, why);
    for (size_t i = 0; r == 0 && i < count; i++)
    {
        snprintf(text, sizeof(text), "object %llu %s", (unsigned long long)list[i].id,
                 list[i].name);
        line(opaque, text);
    }
    return r;
}

/* ---- scrub: there is nothing on a disk that it could read ---- */

int pool_scrub_start(struct pool *pool, const struct scrub_options *options, uint64_t *id,
                     struct reason *why)
{
    (void)options;
    reason_clear(why);
    AUTO_LOCK(&pool->lock);
    *id = pool->scrub_id = ++pool->checkpoints;
    return 0;
}

int pool_scrub_step(struct pool *pool)
{
    (void)pool;
    return 0;
}

int pool_scrub_cancel(struct pool *pool, uint64_t id)
{
    (void)pool, (void)id;
    return -ENOENT;
}

int pool_scrub_get(struct pool *pool, struct scrub_info *info, check_report_fn *report,
                   void *opaque)
{
    (void)report, (void)opaque;
    AUTO_LOCK(&pool->lock);
    *info = (struct scrub_info){.id = pool->scrub_id};
    return 0;
}

/* ---- repair: nor is there anything to repair ---- */

int pool_repair(struct env *env, const char *path, const struct repair_options *options,
                check_report_fn *report, void *opaque, struct repair_result *result,
                struct reason *why)
{
    (void)env, (void)path, (void)options, (void)report, (void)opaque;
    reason_clear(why);
    *result = (struct repair_result){0};
    return 0;
}

/* ---- salvage: nor to salvage ---- */

int salvage_open(struct env *env, const char *path, struct salvage **salvage, struct reason *why)
{
    (void)env, (void)salvage;
    return reason_set(why, -EBADMSG, "'%s' has nothing on a disk", path);
}

void salvage_close(struct salvage *salvage)
{
    (void)salvage;
}

enum salvage_way salvage_way(const struct salvage *salvage)
{
    (void)salvage;
    return SALVAGE_RAW;
}

size_t salvage_count(const struct salvage *salvage)
{
    (void)salvage;
    return 0;
}

const struct salvage_item *salvage_item(const struct salvage *salvage, size_t i)
{
    (void)salvage, (void)i;
    return NULL;
}

int salvage_read(struct salvage *salvage, const char *name, salvage_fn *each, void *opaque,
                 struct reason *why)
{
    (void)salvage, (void)each, (void)opaque;
    return reason_set(why, -ENOENT, "'%s' was not found", name);
}
