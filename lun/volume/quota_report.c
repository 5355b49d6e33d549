/* SPDX-License-Identifier: BSD-3-Clause */
/* Quota rules and what is used of them, as lists for people. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/pool/pool_internal.h"
#include "lun/volume/catalog.h"
#include "lun/volume/command.h"
#include "lun/volume/quota_internal.h"

/* A list that grows. */
struct quota_rows
{
    struct quota_usage *rows;
    size_t count, capacity;
    bool no_memory;
};

static struct quota_usage *quota_rows_add(struct quota_rows *rows)
{
    if (rows->count == rows->capacity)
    {
        size_t capacity = rows->capacity ? 2 * rows->capacity : 16;
        struct quota_usage *more = realloc(rows->rows, capacity * sizeof(*more));
        if (!more)
        {
            rows->no_memory = true;
            return NULL;
        }
        rows->rows = more;
        rows->capacity = capacity;
    }
    struct quota_usage *row = &rows->rows[rows->count++];
    *row = (struct quota_usage){0};
    return row;
}

static int quota_rows_compare(const void *a, const void *b)
{
    const struct quota_rule *x = &((const struct quota_usage *)a)->rule;
    const struct quota_rule *y = &((const struct quota_usage *)b)->rule;
    int order = strcmp(x->volume, y->volume);
    if (order == 0)
        order = (int)x->type - (int)y->type;
    if (order == 0)
        order = strcmp(x->qtree, y->qtree);
    return order ? order : strcmp(x->target, y->target);
}

/* Sorts, and hands the rows over; or frees them after a failure. */
static int quota_rows_take(struct quota_rows *rows, int r, struct quota_usage **list, size_t *count)
{
    if (r == 0 && rows->no_memory)
        r = -ENOMEM;
    if (r == 0 && rows->count > 0)
        qsort(rows->rows, rows->count, sizeof(*rows->rows), quota_rows_compare);
    if (r < 0)
    {
        free(rows->rows);
        return r;
    }
    *list = rows->rows;
    *count = rows->count;
    return 0;
}

struct quota_collect
{
    struct pool *pool;
    const struct volume_object *volume;
    struct quota_rows *rows;
};

/* The rule of a key; false if what it is for is not there (any more). */
static bool quota_rule_from(const struct quota_collect *collect, const struct store_object *store,
                            struct quota_rule *rule)
{
    *rule = (struct quota_rule){0};
    struct quota_limits limits;
    char type[8], tree[24];
    int name_at = 0;
    if (sscanf(store->key, "quota/%*[0-9]/%7[a-z]/%23[0-9*]/%n", type, tree, &name_at) != 2 ||
        name_at == 0 || !quota_parse((const char *)store->value, &limits))
        return false;
    while (strcmp(quota_type_name(rule->type), type) != 0)
    {
        if (rule->type == QUOTA_GROUP)
            return false;
        rule->type++;
    }
    char *tree_name = rule->type == QUOTA_TREE ? rule->target : rule->qtree;
    uint64_t qtree_id = strtoull(tree, NULL, 10);
    const struct qtree_object *qtree =
        qtree_id ? catalog_find_qtree_by_id(collect->pool, qtree_id) : NULL;
    if (qtree_id && !qtree)
        return false;
    if (qtree)
        snprintf(tree_name, LUN_NAME_MAX + 1, "%s", name_own(qtree->name));
    else if (tree[0] == '*')
        snprintf(tree_name, LUN_NAME_MAX + 1, QUOTA_DEFAULT);
    if (rule->type != QUOTA_TREE)
        snprintf(rule->target, sizeof(rule->target), "%.*s", LUN_OWNER_MAX, store->key + name_at);
    snprintf(rule->volume, sizeof(rule->volume), "%s", collect->volume->name);
    rule->hard_bytes = limits.hard_bytes;
    rule->soft_bytes = limits.soft_bytes;
    rule->threshold_bytes = limits.threshold_bytes;
    return true;
}

static void quota_collect_rule(const struct store_object *store, void *opaque)
{
    const struct quota_collect *collect = opaque;
    struct quota_rule rule;
    if (!quota_rule_from(collect, store, &rule))
        return;
    struct quota_usage *row = quota_rows_add(collect->rows);
    if (row)
        row->rule = rule;
}

static void quota_collect_volume(struct pool *pool, const struct volume_object *volume,
                                 struct quota_rows *rows)
{
    char prefix[STORE_KEY_MAX + 1];
    struct quota_collect collect = {.pool = pool, .volume = volume, .rows = rows};
    snprintf(prefix, sizeof(prefix), "quota/%" PRIu64 "/", volume->object.id);
    quota_each_store(pool, prefix, quota_collect_rule, &collect);
}

int quota_rule_list(struct pool *pool, const char *volume_name, struct quota_rule **list,
                    size_t *count, struct reason *why)
{
    struct quota_rows rows = {0};
    reason_clear(why);
    int r = 0;
    rwlock_take_shared(&pool->catalog_lock);
    struct volume_object *only = NULL;
    if (volume_name)
        r = volume_find(pool, volume_name, &only, why);
    list_for_each (volume, &pool->volumes, struct volume_object, all_link)
    {
        if (r == 0 && (!only || only == volume))
            quota_collect_volume(pool, volume, &rows);
    }
    rwlock_release(&pool->catalog_lock);
    struct quota_usage *usages = NULL;
    size_t n = 0;
    r = quota_rows_take(&rows, r, &usages, &n);
    struct quota_rule *rules = r == 0 ? calloc(n + 1, sizeof(*rules)) : NULL;
    for (size_t i = 0; rules && i < n; i++)
        rules[i] = usages[i].rule;
    free(usages);
    if (r == 0 && !rules)
        r = -ENOMEM;
    if (r < 0)
        return r;
    *list = rules;
    *count = n;
    return 0;
}

static bool quota_has_row(const struct quota_rows *rows, const struct quota_rule *rule)
{
    for (size_t i = 0; i < rows->count; i++)
    {
        if (quota_rows_compare(&rows->rows[i], &(struct quota_usage){.rule = *rule}) == 0)
            return true;
    }
    return false;
}

/* A row for the subject, if a rule binds it and it has none yet. */
static void quota_report_subject(struct pool *pool, const struct quota_subject *subject,
                                 struct quota_rows *rows)
{
    struct quota_limits limits;
    bool is_default;
    if (!quota_rule_of(pool, subject, &limits, &is_default))
        return;
    struct quota_rule rule = {.type = subject->type,
                              .hard_bytes = limits.hard_bytes,
                              .soft_bytes = limits.soft_bytes,
                              .threshold_bytes = limits.threshold_bytes};
    snprintf(rule.volume, sizeof(rule.volume), "%s", subject->volume->name);
    char *tree_name = rule.type == QUOTA_TREE ? rule.target : rule.qtree;
    if (subject->qtree)
        snprintf(tree_name, LUN_NAME_MAX + 1, "%s", name_own(subject->qtree->name));
    if (subject->type != QUOTA_TREE)
        snprintf(rule.target, sizeof(rule.target), "%s", subject->name);
    if (quota_has_row(rows, &rule))
        return;
    struct quota_usage *row = quota_rows_add(rows);
    if (!row)
        return;
    *row = (struct quota_usage){
        .rule = rule, .is_default = is_default, .is_enabled = quota_is_on(subject->volume)};
    row->used_bytes = quota_used(subject, &row->lun_count);
}

static void quota_report_delta(struct pool *pool, const struct quota_delta *delta,
                               struct quota_rows *rows)
{
    struct quota_subject subjects[QUOTA_SUBJECTS];
    unsigned n = quota_subjects_of(delta, subjects);
    for (unsigned i = 0; i < n; i++)
        quota_report_subject(pool, &subjects[i], rows);
}

/* Rules of owners and groups that have nothing. */
static void quota_report_unused(struct pool *pool, const struct volume_object *volume,
                                struct quota_rows *rows)
{
    struct quota_rows rules = {0};
    quota_collect_volume(pool, volume, &rules);
    rows->no_memory |= rules.no_memory;
    for (size_t i = 0; i < rules.count; i++)
    {
        const struct quota_rule *rule = &rules.rows[i].rule;
        if (quota_has_row(rows, rule) || strcmp(rule->target, QUOTA_DEFAULT) == 0)
            continue;
        struct quota_usage *row = quota_rows_add(rows);
        if (row)
            *row = (struct quota_usage){.rule = *rule, .is_enabled = quota_is_on(volume)};
    }
    free(rules.rows);
}

static void quota_report_volume(struct pool *pool, const struct volume_object *volume,
                                struct quota_rows *rows)
{
    struct quota_delta delta = quota_delta_at(volume, NULL, NULL, NULL, 0);
    quota_report_delta(pool, &delta, rows);
    list_for_each (qtree, &volume->qtrees, struct qtree_object, volume_link)
    {
        delta = quota_delta_at(volume, qtree, NULL, NULL, 0);
        quota_report_delta(pool, &delta, rows);
    }
    list_for_each (lun, &volume->luns, struct lun_object, volume_link)
    {
        if (!lun->owner[0] && !lun->group[0])
            continue;
        delta = quota_delta_of(lun, 0);
        quota_report_delta(pool, &delta, rows);
    }
    quota_report_unused(pool, volume, rows);
}

static int quota_report_path(struct pool *pool, const char *path, struct quota_rows *rows,
                             struct reason *why)
{
    const struct lun_object *lun = catalog_find_lun(pool, path);
    const struct qtree_object *qtree = catalog_find_qtree(pool, path);
    const struct volume_object *volume = catalog_find_volume(pool, path);
    if (!lun && !qtree && !volume)
        return reason_set(why, -ENOENT,
                          "there is no LUN, qtree or volume '%s'; 'lunette lun show' and 'lunette "
                          "volume show' list them",
                          path);
    if (volume)
    {
        quota_report_volume(pool, volume, rows);
        return 0;
    }
    struct quota_delta delta =
        lun ? quota_delta_of(lun->lun, 0) : quota_delta_at(qtree->volume, qtree, NULL, NULL, 0);
    quota_report_delta(pool, &delta, rows);
    return 0;
}

int quota_report(struct pool *pool, const char *path, struct quota_usage **list, size_t *count,
                 struct reason *why)
{
    struct quota_rows rows = {0};
    reason_clear(why);
    int r = 0;
    rwlock_take_shared(&pool->catalog_lock);
    if (path)
        r = quota_report_path(pool, path, &rows, why);
    else
        list_for_each (volume, &pool->volumes, struct volume_object, all_link)
            quota_report_volume(pool, volume, &rows);
    rwlock_release(&pool->catalog_lock);
    return quota_rows_take(&rows, r, list, count);
}
