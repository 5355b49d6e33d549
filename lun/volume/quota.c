/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/volume/quota.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/log.h"
#include "lun/base/size_text.h"
#include "lun/pool/pool_internal.h"
#include "lun/pool/record.h"
#include "lun/volume/catalog.h"
#include "lun/volume/command.h"
#include "lun/volume/quota_internal.h"

enum
{
    QUOTA_ADVICE_MAX = 4 * LUN_NAME_MAX,
};

static const char *const QUOTA_TYPE_NAMES[] = {
    [QUOTA_TREE] = "tree", [QUOTA_USER] = "user", [QUOTA_GROUP] = "group"};

const char *quota_type_name(enum quota_type type)
{
    return QUOTA_TYPE_NAMES[type];
}

struct quota_delta quota_delta_at(const struct volume_object *volume,
                                  const struct qtree_object *qtree, const char *owner,
                                  const char *group, int64_t bytes)
{
    struct quota_delta delta = {.volume = volume, .qtree = qtree, .bytes = bytes};
    snprintf(delta.owner, sizeof(delta.owner), "%s", owner ? owner : "");
    snprintf(delta.group, sizeof(delta.group), "%s", group ? group : "");
    return delta;
}

struct quota_delta quota_delta_of(const struct lun_object *lun, int64_t bytes)
{
    return quota_delta_at(lun->volume, lun->qtree, lun->owner, lun->group, bytes);
}

bool quota_delta_joins(struct quota_delta *sum, const struct quota_delta *delta)
{
    if (sum->volume != delta->volume || sum->qtree != delta->qtree ||
        strcmp(sum->owner, delta->owner) != 0 || strcmp(sum->group, delta->group) != 0)
        return false;
    sum->bytes += delta->bytes;
    return true;
}

/* ---- subjects ------------------------------------------------------------------------------ */

unsigned quota_subjects_of(const struct quota_delta *delta,
                           struct quota_subject subjects[QUOTA_SUBJECTS])
{
    unsigned n = 0;
    if (!delta->volume)
        return 0;
    const struct quota_subject all[QUOTA_SUBJECTS] = {
        {QUOTA_TREE, delta->volume, NULL, ""},
        {QUOTA_TREE, delta->volume, delta->qtree, ""},
        {QUOTA_USER, delta->volume, NULL, delta->owner},
        {QUOTA_GROUP, delta->volume, NULL, delta->group},
        {QUOTA_USER, delta->volume, delta->qtree, delta->owner},
        {QUOTA_GROUP, delta->volume, delta->qtree, delta->group},
    };
    for (unsigned i = 0; i < QUOTA_SUBJECTS; i++)
    {
        bool has_name = all[i].type == QUOTA_TREE || all[i].name[0];
        bool has_tree = i == 0 || i == 2 || i == 3 || all[i].qtree;
        if (has_name && has_tree)
            subjects[n++] = all[i];
    }
    return n;
}

static bool quota_subject_equal(const struct quota_subject *a, const struct quota_subject *b)
{
    return a->type == b->type && a->volume == b->volume && a->qtree == b->qtree &&
           strcmp(a->name, b->name) == 0;
}

/* A snapshot's qtree stands for the volume's of that name: none yet, or the one that was made. */
static bool quota_is_in_qtree(const struct lun_object *lun, const struct qtree_object *qtree)
{
    if (!qtree || !qtree->snapshot)
        return !qtree || lun->qtree == qtree;
    return lun->qtree && strcmp(lun->qtree->name, qtree->name) == 0;
}

static bool quota_counts_for(const struct lun_object *lun, const struct quota_subject *subject)
{
    return quota_is_in_qtree(lun, subject->qtree) &&
           (subject->type != QUOTA_USER || strcmp(lun->owner, subject->name) == 0) &&
           (subject->type != QUOTA_GROUP || strcmp(lun->group, subject->name) == 0);
}

uint64_t quota_used(const struct quota_subject *subject, uint64_t *lun_count)
{
    uint64_t bytes = 0;
    *lun_count = 0;
    list_for_each (lun, &subject->volume->luns, struct lun_object, volume_link)
    {
        if (!quota_counts_for(lun, subject))
            continue;
        bytes += atomic_load(&lun->size_bytes);
        ++*lun_count;
    }
    return bytes;
}

/* What @deltas add to the subject together. */
static int64_t quota_added(const struct quota_subject *subject, const struct quota_delta *deltas,
                           size_t count)
{
    int64_t bytes = 0;
    for (size_t i = 0; i < count; i++)
    {
        struct quota_subject others[QUOTA_SUBJECTS];
        unsigned n = quota_subjects_of(&deltas[i], others);
        for (unsigned k = 0; k < n; k++)
            bytes += quota_subject_equal(&others[k], subject) ? deltas[i].bytes : 0;
    }
    return bytes;
}

static bool quota_is_in(const struct quota_subject *subject, const struct quota_delta *deltas,
                        size_t count)
{
    for (size_t i = 0; i < count; i++)
    {
        struct quota_subject others[QUOTA_SUBJECTS];
        unsigned n = quota_subjects_of(&deltas[i], others);
        for (unsigned k = 0; k < n; k++)
        {
            if (quota_subject_equal(&others[k], subject))
                return true;
        }
    }
    return false;
}

/* In words, for messages: "user 'eve' in volume 'db'". */
static void quota_subject_text(const struct quota_subject *subject, char *text, size_t size)
{
    const char *tree = subject->qtree ? subject->qtree->name : subject->volume->name;
    const char *kind = subject->qtree ? "qtree" : "volume";
    if (subject->type == QUOTA_TREE)
        snprintf(text, size, "%s '%s'", kind, tree);
    else
        snprintf(text, size, "%s '%s' in %s '%s'", QUOTA_TYPE_NAMES[subject->type], subject->name,
                 kind, tree);
}

/* ---- rules --------------------------------------------------------------------------------- */

/* "quota/VOLUME-ID/TYPE/QTREE-ID/NAME", ids as numbers; the default of qtrees has "*" for one. */
static void quota_key(char key[STORE_KEY_MAX + 1], uint64_t volume_id, enum quota_type type,
                      const char *tree, const char *name)
{
    snprintf(key, STORE_KEY_MAX + 1, "quota/%" PRIu64 "/%s/%s/%s", volume_id,
             QUOTA_TYPE_NAMES[type], tree, name);
}

bool quota_parse(const char *value, struct quota_limits *limits)
{
    char *end;
    limits->hard_bytes = strtoull(value, &end, 10);
    limits->soft_bytes = strtoull(end, &end, 10);
    limits->threshold_bytes = strtoull(end, &end, 10);
    return *end == '\0' && end != value;
}

static bool quota_find(struct pool *pool, const char *key, struct quota_limits *limits)
{
    const struct store_object *store = catalog_find_store(pool, key);
    if (!store)
        return false;
    if (quota_parse((const char *)store->value, limits))
        return true;
    log_error("the quota rule '%s' cannot be read, and is not enforced", key);
    return false;
}

bool quota_rule_of(struct pool *pool, const struct quota_subject *subject,
                   struct quota_limits *limits, bool *is_default)
{
    char key[STORE_KEY_MAX + 1], tree[24];
    uint64_t volume_id = subject->volume->object.id;
    snprintf(tree, sizeof(tree), "%" PRIu64, subject->qtree ? subject->qtree->object.id : 0);
    quota_key(key, volume_id, subject->type, tree, subject->name);
    *is_default = false;
    if (quota_find(pool, key, limits))
        return true;
    *is_default = true;
    if (subject->type != QUOTA_TREE)
        quota_key(key, volume_id, subject->type, tree, QUOTA_DEFAULT);
    else if (subject->qtree)
        quota_key(key, volume_id, QUOTA_TREE, QUOTA_DEFAULT, "");
    else
        return false; /* the default of trees is for qtrees */
    return quota_find(pool, key, limits);
}

bool quota_is_on(const struct volume_object *volume)
{
    return volume && (volume->flags & DISK_VOLUME_QUOTAS);
}

/* ---- what commands ask --------------------------------------------------------------------- */

/* Calls @each for every subject of @deltas once, until it returns an error. */
typedef int quota_each_fn(struct pool *pool, const struct quota_subject *subject, int64_t added,
                          void *opaque);

static int quota_each(struct pool *pool, const struct quota_delta *deltas, size_t count,
                      quota_each_fn *each, void *opaque)
{
    for (size_t i = 0; i < count; i++)
    {
        struct quota_subject subjects[QUOTA_SUBJECTS];
        unsigned n = quota_is_on(deltas[i].volume) ? quota_subjects_of(&deltas[i], subjects) : 0;
        for (unsigned k = 0; k < n; k++)
        {
            if (quota_is_in(&subjects[k], deltas, i))
                continue; /* its turn was with an earlier delta */
            int r = each(pool, &subjects[k], quota_added(&subjects[k], deltas, count), opaque);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

/* Whether a shell takes @name as it is. */
static bool quota_is_plain(const char *name)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "._-+:@%,";
    return name[strspn(name, plain)] == '\0';
}

/* The command that makes room for @bytes in all, to be typed. One that a default rule limits gets
 * a rule of its own. */
static void quota_advise(const struct quota_subject *subject, bool is_default, uint64_t bytes,
                         char advice[QUOTA_ADVICE_MAX])
{
    const char *slash = subject->qtree ? strchr(subject->qtree->name, '/') : NULL;
    const char *qtree = slash ? slash + 1 : "";
    bool is_tree = subject->type == QUOTA_TREE;
    const char *target = is_tree ? qtree : subject->name;
    bool is_gone = subject->qtree && subject->qtree->snapshot;
    if (is_gone || !quota_is_plain(target) || !quota_is_plain(qtree) ||
        !quota_is_plain(subject->volume->name))
        snprintf(advice, QUOTA_ADVICE_MAX, "and the command that raises the limit");
    else
        snprintf(advice, QUOTA_ADVICE_MAX,
                 "'lunette quota rule %s %s --type %s%s%s%s%s --disk-limit %" PRIu64
                 "M' makes room for this",
                 is_default ? "create" : "modify", subject->volume->name,
                 QUOTA_TYPE_NAMES[subject->type], *target ? " --target " : "", target,
                 !is_tree && *qtree ? " --qtree " : "", is_tree ? "" : qtree,
                 div_round_up(bytes, 1 << 20));
}

struct quota_question
{
    bool is_clone;
    struct reason *why;
};

static int quota_check_subject(struct pool *pool, const struct quota_subject *subject,
                               int64_t added, void *opaque)
{
    const struct quota_question *question = opaque;
    struct quota_limits limits;
    bool is_default;
    uint64_t luns;
    if (added <= 0 || !quota_rule_of(pool, subject, &limits, &is_default) ||
        limits.hard_bytes == QUOTA_NO_LIMIT)
        return 0;
    bool only_counts =
        subject->type != QUOTA_TREE && (question->is_clone || strcmp(subject->name, "root") == 0);
    uint64_t used = quota_used(subject, &luns);
    if (only_counts || (used <= limits.hard_bytes && (uint64_t)added <= limits.hard_bytes - used))
        return 0;
    char text[3 * LUN_NAME_MAX];
    bool is_there = subject->qtree && !subject->qtree->snapshot;
    quota_subject_text(subject, text, sizeof(text));
    event_add(pool, "warning",
              subject->type == QUOTA_TREE   ? "quota.tree.exceeded"
              : subject->type == QUOTA_USER ? "quota.user.exceeded"
                                            : "quota.group.exceeded",
              subject->qtree ? subject->qtree->name : subject->volume->name,
              "%s: %s used and %s asked for exceed the quota of %s", text, size_text(used).text,
              size_text((uint64_t)added).text, size_text(limits.hard_bytes).text);
    char advice[QUOTA_ADVICE_MAX];
    quota_advise(subject, is_default, used + (uint64_t)added, advice);
    return reason_set(question->why, -EDQUOT,
                      "the quota of %s%s is %s; %s are used and %s more are asked for; 'lunette "
                      "explain quota %s' shows what counts, %s",
                      text, is_default ? " (a default rule)" : "",
                      size_text(limits.hard_bytes).text, size_text(used).text,
                      size_text((uint64_t)added).text,
                      is_there ? subject->qtree->name : subject->volume->name, advice);
}

int quota_check(struct pool *pool, const struct quota_delta *deltas, size_t count, bool is_clone,
                struct reason *why)
{
    struct quota_question question = {.is_clone = is_clone, .why = why};
    return quota_each(pool, deltas, count, quota_check_subject, &question);
}

static bool quota_crossed(uint64_t limit, uint64_t below, uint64_t above)
{
    return limit != QUOTA_NO_LIMIT && below <= limit && above > limit;
}

static void quota_event(struct pool *pool, const struct quota_subject *subject,
                        const char *severity, const char *name, const char *limit_name,
                        uint64_t limit, uint64_t used)
{
    char text[3 * LUN_NAME_MAX];
    quota_subject_text(subject, text, sizeof(text));
    event_add(pool, severity, name, subject->qtree ? subject->qtree->name : subject->volume->name,
              "%s uses %s; the %s is %s", text, size_text(used).text, limit_name,
              size_text(limit).text);
}

static int quota_note_subject(struct pool *pool, const struct quota_subject *subject, int64_t added,
                              void *opaque)
{
    (void)opaque;
    static const char *const over_names[] = {[QUOTA_TREE] = "quota.tree.overallocated",
                                             [QUOTA_USER] = "quota.user.overallocated",
                                             [QUOTA_GROUP] = "quota.group.overallocated"};
    struct quota_limits limits;
    bool is_default;
    uint64_t luns;
    if (added == 0 || !quota_rule_of(pool, subject, &limits, &is_default))
        return 0;
    uint64_t now = quota_used(subject, &luns), before = now - (uint64_t)added;
    if (quota_crossed(limits.threshold_bytes, before, now))
        quota_event(pool, subject, "warning", "quota.threshold.exceeded", "threshold",
                    limits.threshold_bytes, now);
    if (quota_crossed(limits.soft_bytes, before, now))
        quota_event(pool, subject, "warning", "quota.softlimit.exceeded", "soft limit",
                    limits.soft_bytes, now);
    if (quota_crossed(limits.soft_bytes, now, before))
        quota_event(pool, subject, "info", "quota.softlimit.normal", "soft limit",
                    limits.soft_bytes, now);
    if (quota_crossed(limits.hard_bytes, before, now))
        quota_event(pool, subject, "warning", over_names[subject->type], "limit", limits.hard_bytes,
                    now);
    return 0;
}

void quota_note(struct pool *pool, const struct quota_delta *deltas, size_t count)
{
    ignore_error(quota_each(pool, deltas, count, quota_note_subject, NULL), "it only makes events");
}

void quota_each_store(struct pool *pool, const char *prefix, quota_store_fn *each, void *opaque)
{
    for (size_t i = 0; i < pool->store_by_key.bucket_count; i++)
    {
        for (struct hash_link *link = pool->store_by_key.buckets[i]; link; link = link->next)
        {
            struct store_object *store = container_of(link, struct store_object, by_name);
            if (strncmp(store->key, prefix, strlen(prefix)) == 0)
                each(store, opaque);
        }
    }
}

static void quota_forget_one(const struct store_object *store, void *opaque)
{
    action_delete(opaque, store->object.id);
}

void quota_forget(struct pool *pool, const struct volume_object *volume,
                  const struct qtree_object *qtree, struct writer *writer)
{
    char prefix[STORE_KEY_MAX + 1];
    if (!qtree)
    {
        snprintf(prefix, sizeof(prefix), "quota/%" PRIu64 "/", volume->object.id);
        quota_each_store(pool, prefix, quota_forget_one, writer);
        return;
    }
    for (size_t type = 0; type < ARRAY_SIZE(QUOTA_TYPE_NAMES); type++)
    {
        snprintf(prefix, sizeof(prefix), "quota/%" PRIu64 "/%s/%" PRIu64 "/", volume->object.id,
                 QUOTA_TYPE_NAMES[type], qtree->object.id);
        quota_each_store(pool, prefix, quota_forget_one, writer);
    }
}

/* ---- rules for people ---------------------------------------------------------------------- */

/* A rule that people gave, found: its key. */
static int quota_rule_key(struct pool *pool, const struct quota_rule *rule,
                          char key[STORE_KEY_MAX + 1], struct reason *why)
{
    bool is_tree = rule->type == QUOTA_TREE;
    const char *name = is_tree ? rule->target : rule->qtree;
    struct volume_object *volume;
    int r = volume_find(pool, rule->volume, &volume, why);
    if (r < 0)
        return r;
    char tree[24] = "0";
    if (is_tree && strcmp(name, QUOTA_DEFAULT) == 0)
    {
        snprintf(tree, sizeof(tree), QUOTA_DEFAULT);
    }
    else if (name[0])
    {
        char path[2 * LUN_NAME_MAX + 2];
        snprintf(path, sizeof(path), "%s/%s", volume->name, name);
        const struct qtree_object *qtree = catalog_find_qtree(pool, path);
        if (!qtree)
            return reason_set(why, -ENOENT,
                              "there is no qtree '%s'; 'lunette qtree show' lists them", path);
        snprintf(tree, sizeof(tree), "%" PRIu64, qtree->object.id);
    }
    quota_key(key, volume->object.id, rule->type, tree, is_tree ? "" : rule->target);
    return 0;
}

static int quota_rule_check(const struct quota_rule *rule, struct reason *why)
{
    const char *type = QUOTA_TYPE_NAMES[rule->type];
    if (rule->type != QUOTA_TREE && rule->target[0] == '\0')
        return reason_set(why, -EINVAL, "a %s quota needs the name of a %s, or '*' for all", type,
                          type);
    if (rule->type != QUOTA_TREE && strlen(rule->target) > LUN_OWNER_MAX)
        return reason_set(why, -EINVAL, "the name of a %s has at most %d bytes", type,
                          LUN_OWNER_MAX);
    if (rule->soft_bytes != QUOTA_NO_LIMIT && rule->soft_bytes > rule->hard_bytes)
        return reason_set(why, -EINVAL, "the soft limit, %s, is above the limit, %s",
                          size_text(rule->soft_bytes).text, size_text(rule->hard_bytes).text);
    if (rule->threshold_bytes != QUOTA_NO_LIMIT && rule->threshold_bytes > rule->hard_bytes)
        return reason_set(why, -EINVAL, "the threshold, %s, is above the limit, %s",
                          size_text(rule->threshold_bytes).text, size_text(rule->hard_bytes).text);
    return 0;
}

/* Stores @value under the rule's key, or deletes it (NULL). */
static int quota_rule_store(struct pool *pool, const struct quota_rule *rule, const char *value,
                            struct reason *why)
{
    int r = command_begin(pool, why);
    if (r < 0)
        return r;
    {
        AUTO_LOCK(&pool->management);
        char key[STORE_KEY_MAX + 1];
        r = quota_rule_key(pool, rule, key, why);
        if (r == 0 && !value && !catalog_find_store(pool, key))
            r = reason_set(why, -ENOENT,
                           "volume '%s' has no such quota rule; 'lunette quota rule show' lists "
                           "them",
                           rule->volume);
        if (r < 0)
            return r;
        struct store_change change = {.key = key, .value = value, .len = value ? strlen(value) : 0};
        r = store_apply_locked(pool, &change, 1, why);
    }
    return r < 0 ? r : journal_commit(pool->journal);
}

int quota_rule_set(struct pool *pool, const struct quota_rule *rule, struct reason *why)
{
    reason_clear(why);
    int r = quota_rule_check(rule, why);
    if (r < 0)
        return r;
    char value[80];
    snprintf(value, sizeof(value), "%" PRIu64 " %" PRIu64 " %" PRIu64, rule->hard_bytes,
             rule->soft_bytes, rule->threshold_bytes);
    return quota_rule_store(pool, rule, value, why);
}

int quota_rule_delete(struct pool *pool, const struct quota_rule *rule, struct reason *why)
{
    return quota_rule_store(pool, rule, NULL, why);
}

int quota_set_enabled(struct pool *pool, const char *volume_name, bool on, struct reason *why)
{
    int r = command_begin(pool, why);
    if (r < 0)
        return r;
    {
        AUTO_LOCK(&pool->management);
        struct volume_object *volume;
        r = volume_find(pool, volume_name, &volume, why);
        if (r < 0 || quota_is_on(volume) == on)
            return r;
        struct volume_draft draft = volume_draft_of(volume);
        draft.flags =
            on ? draft.flags | DISK_VOLUME_QUOTAS : draft.flags & ~(uint32_t)DISK_VOLUME_QUOTAS;
        AUTO_WRITER struct writer writer = {0};
        volume_draft_put(&draft, &writer);
        r = command_run(pool, NULL, &writer, true, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r == 0)
        event_add(pool, "info", on ? "quota.on" : "quota.off", volume_name,
                  "quotas of volume '%s' are %s", volume_name, on ? "on" : "off");
    return r;
}
