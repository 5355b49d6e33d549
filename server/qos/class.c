/* SPDX-License-Identifier: BSD-3-Clause */
/* Classes, and who is in them: changed in the store first, then in memory. */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/qos/qos_internal.h"

enum
{
    CLASS_CHANGES_AT_ONCE = 256, /* entries of the store that one record changes */
    CLASS_LUNS_SPARE = 256, /* room for LUNs that come while a list is made; more are not in it */
};

/* ---- the table ----------------------------------------------------------------------------- */

bool qos_name_ok(const char *name)
{
    size_t len = strlen(name);
    if (len < 1 || len > QOS_NAME_MAX || !isascii((unsigned char)*name) ||
        !(isalnum((unsigned char)*name) || *name == '_'))
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == len;
}

struct qos_class *qos_find_class_locked(struct qos *qos, const char *name)
{
    list_for_each (class, &qos->classes, struct qos_class, link)
        if (strcmp(class->name, name) == 0)
            return class;
    return NULL;
}

static struct qos_class *class_new(const char *name, const struct qos_limits *limits)
{
    struct qos_class *class = calloc(1, sizeof(*class));
    if (!class)
        return NULL;
    memcpy(class->name, name, strnlen(name, QOS_NAME_MAX));
    class->limits = *limits;
    return class;
}

static void class_link_locked(struct qos *qos, struct qos_class *class)
{
    struct list *before = qos->classes.next;
    while (before != &qos->classes &&
           strcmp(container_of(before, struct qos_class, link)->name, class->name) < 0)
        before = before->next;
    list_add_tail(before, &class->link);
    qos->class_count++;
}

struct qos_class *qos_add_class_locked(struct qos *qos, const char *name,
                                       const struct qos_limits *limits)
{
    struct qos_class *class = class_new(name, limits);
    if (class)
        class_link_locked(qos, class);
    return class;
}

static void class_free_locked(struct qos *qos, struct qos_class *class)
{
    list_remove(&class->link);
    qos->class_count--;
    free(class);
}

void qos_free_classes(struct qos *qos)
{
    list_for_each_safe (class, &qos->classes, struct qos_class, link)
        class_free_locked(qos, class);
}

/* Without the lock: classes come and go only under `change`, which the caller holds. */
static int class_find(struct qos *qos, const char *name, struct qos_class **class,
                      struct reason *why)
{
    AUTO_LOCK(&qos->lock);
    *class = qos_find_class_locked(qos, name);
    if (*class)
        return 0;
    reason_set(why, -ENOENT, "there is no QoS class \"%s\"", name);
    return -ENOENT;
}

/* ---- create, modify, delete ---------------------------------------------------------------- */

static int class_apply(struct qos_limits *limits, const struct qos_class_change *change,
                       struct reason *why)
{
    const struct qos_limits *wanted = &change->limits;
    if (change->has_iops)
        limits->max_iops = wanted->max_iops;
    if (change->has_bps)
        limits->max_bps = wanted->max_bps;
    if (change->has_burst)
        limits->burst_ms = wanted->burst_ms;
    if (change->has_weight)
        limits->weight = wanted->weight;
    if (limits->max_iops > QOS_RATE_MAX || limits->max_bps > QOS_RATE_MAX)
        return reason_set(why, -EINVAL, "a limit is at most %" PRIu64 " a second; 0 is none",
                          QOS_RATE_MAX);
    if (limits->burst_ms < QOS_BURST_MS_MIN || limits->burst_ms > QOS_BURST_MS_MAX)
        return reason_set(why, -EINVAL, "a burst is %dms to %dh long", QOS_BURST_MS_MIN,
                          QOS_BURST_MS_MAX / 3600 / 1000);
    if (limits->weight < 1 || limits->weight > QOS_WEIGHT_MAX)
        return reason_set(why, -EINVAL, "a weight is 1 to %d", QOS_WEIGHT_MAX);
    return 0;
}

static int class_store(struct qos *qos, const char *name, const struct qos_limits *limits,
                       struct reason *why)
{
    char key[QOS_KEY_BYTES], value[QOS_VALUE_BYTES];
    qos_key_class(name, key);
    qos_format_limits(limits, value);
    const struct store_change change = {.key = key, .value = value, .len = strlen(value)};
    return store_apply(qos->pool, &change, 1, why);
}

int qos_class_create(struct qos *qos, const char *name, const struct qos_class_change *change,
                     struct reason *why)
{
    struct qos_limits limits = {.burst_ms = QOS_BURST_MS_DEFAULT, .weight = QOS_WEIGHT_DEFAULT};
    AUTO_LOCK(&qos->change);
    if (!qos_name_ok(name))
        return reason_set(why, -EINVAL,
                          "a class's name has 1 to %d letters, digits, '.', '_' and '-', and "
                          "begins with one of the first two",
                          QOS_NAME_MAX);
    int r = class_apply(&limits, change, why);
    if (r < 0)
        return r;
    lock_take(&qos->lock);
    bool is_there = qos_find_class_locked(qos, name), is_full = qos->class_count == QOS_CLASSES_MAX;
    lock_release(&qos->lock);
    if (is_there)
        return reason_set(why, -EEXIST, "there is a QoS class \"%s\" already", name);
    if (is_full)
        return reason_set(why, -EINVAL, "there are %d QoS classes, the most there can be",
                          QOS_CLASSES_MAX);
    AUTO_FREE struct qos_class *class = class_new(name, &limits);
    if (!class)
        return reason_set(why, -ENOMEM, "no memory");
    r = class_store(qos, name, &limits, why);
    if (r < 0)
        return r;
    AUTO_LOCK(&qos->lock);
    class_link_locked(qos, take_ptr(&class));
    return 0;
}

/* Everything in @class gets its limits anew. */
static void class_enforce_locked(struct qos *qos, struct qos_class *class)
{
    for (unsigned i = 0; i < QOS_BUCKETS; i++)
        list_for_each (lun, &qos->luns[i], struct qos_lun, link)
            if (lun->class == class)
                qos_lun_set_class_locked(lun, class);
    list_for_each (volume, &qos->volumes, struct qos_group, link)
        if (volume->class == class)
            qos_group_set_class_locked(volume, class);
    if (qos->root.class == class)
        qos_group_set_class_locked(&qos->root, class);
    qos_changed_locked(qos);
}

int qos_class_modify(struct qos *qos, const char *name, const struct qos_class_change *change,
                     struct reason *why)
{
    struct qos_class *class;
    AUTO_LOCK(&qos->change);
    int r = class_find(qos, name, &class, why);
    if (r < 0)
        return r;
    struct qos_limits limits = class->limits;
    r = class_apply(&limits, change, why);
    if (r == 0)
        r = class_store(qos, name, &limits, why);
    if (r < 0)
        return r;
    AUTO_LOCK(&qos->lock);
    class->limits = limits;
    class_enforce_locked(qos, class);
    return 0;
}

int qos_class_delete(struct qos *qos, const char *name, bool dry_run, struct reason *why)
{
    struct qos_class *class;
    char key[QOS_KEY_BYTES];
    AUTO_LOCK(&qos->change);
    int r = class_find(qos, name, &class, why);
    if (r < 0)
        return r;
    if (class->is_built_in)
        return reason_set(why, -EPERM,
                          "the class \"%s\" is built in: it can be modified, not deleted", name);
    lock_take(&qos->lock);
    uint32_t users = class->users;
    lock_release(&qos->lock);
    if (users > 0)
        return reason_set(why, -EBUSY, "%" PRIu32 " %s in the class \"%s\"", users,
                          users == 1 ? "LUN, volume or pool is" : "LUNs, volumes or pools are",
                          name);
    qos_key_class(name, key);
    const struct store_change change = {.key = key};
    if (!dry_run)
        r = store_apply(qos->pool, &change, 1, why);
    if (r < 0 || dry_run)
        return r;
    AUTO_LOCK(&qos->lock);
    class_free_locked(qos, class);
    return 0;
}

/* ---- who is in them ------------------------------------------------------------------------ */

/* A part of the ids, as one record. */
static int subject_store(struct qos *qos, enum qos_kind kind, const uint64_t *ids, size_t count,
                         const struct qos_class *class, struct reason *why)
{
    AUTO_FREE struct store_change *changes = calloc(count, sizeof(*changes));
    AUTO_FREE char(*keys)[QOS_KEY_BYTES] = calloc(count, sizeof(*keys));
    if (!changes || !keys)
        return reason_set(why, -ENOMEM, "no memory");
    for (size_t i = 0; i < count; i++)
    {
        qos_key_subject(kind, ids[i], keys[i]);
        changes[i].key = keys[i];
        if (class != qos->standard)
        {
            changes[i].value = class->name;
            changes[i].len = strlen(class->name);
        }
    }
    return store_apply(qos->pool, changes, count, why);
}

/* What there is in memory of subjects, before anything is stored of them. */
static int subjects_prepare(struct qos *qos, enum qos_kind kind, const uint64_t *ids, size_t count)
{
    bool ok = true;
    AUTO_LOCK(&qos->lock);
    for (size_t i = 0; ok && kind != QOS_POOL && i < count; i++)
        ok = kind == QOS_LUN ? qos_get_lun_locked(qos, ids[i]) != NULL
                             : qos_get_volume_locked(qos, ids[i]) != NULL;
    return ok ? 0 : -ENOMEM;
}

/* A prepared one: under `change` they stay. */
static void subject_put_locked(struct qos *qos, enum qos_kind kind, uint64_t id,
                               struct qos_class *class)
{
    if (kind == QOS_LUN)
    {
        qos_lun_set_class_locked(qos_get_lun_locked(qos, id), class);
        return;
    }
    struct qos_group *group = kind == QOS_POOL ? &qos->root : qos_get_volume_locked(qos, id);
    /* "default" is for LUNs: it would be no limit of a volume's or the pool's. */
    qos_group_set_class_locked(group, class == qos->standard ? NULL : class);
}

int qos_set(struct qos *qos, enum qos_kind kind, const uint64_t *ids, size_t count,
            const char *class_name, struct reason *why)
{
    struct qos_class *class;
    AUTO_LOCK(&qos->change);
    int r = class_find(qos, class_name, &class, why);
    if (r == 0 && subjects_prepare(qos, kind, ids, count) < 0)
        r = reason_set(why, -ENOMEM, "no memory");
    size_t stored = 0;
    while (r == 0 && stored < count)
    {
        size_t part = min_u64(count - stored, CLASS_CHANGES_AT_ONCE);
        r = subject_store(qos, kind, ids + stored, part, class, why);
        stored += r == 0 ? part : 0;
    }
    if (stored == 0)
        return r;
    {
        AUTO_LOCK(&qos->lock);
        for (size_t i = 0; i < stored; i++)
            subject_put_locked(qos, kind, ids[i], class);
        qos_changed_locked(qos);
    }
    return r == 0 ? 0
                  : reason_set(why, r, "only %zu of %zu are in the class \"%s\" now: %s", stored,
                               count, class->name, strerror(-r));
}

int qos_put_begin(struct qos *qos, enum qos_kind kind, uint64_t id, const char *class_name,
                  struct qos_put *put, struct reason *why)
{
    static_assert((int)QOS_PUT_KEY_MAX >= (int)QOS_KEY_BYTES, "a key fits");
    *put = (struct qos_put){.kind = kind, .id = id};
    if (!class_name)
        return 0;
    put->qos = qos;
    lock_take(&qos->change);
    int r = class_find(qos, class_name, &put->class, why);
    if (r == 0 && subjects_prepare(qos, kind, &id, 1) < 0)
        r = reason_set(why, -ENOMEM, "no memory");
    if (r < 0)
        return r;
    qos_key_subject(kind, id, put->key);
    put->change.key = put->key;
    if (put->class != qos->standard)
    {
        put->change.value = put->class->name;
        put->change.len = strlen(put->class->name);
    }
    return 0;
}

void qos_put_end(struct qos_put *put, bool is_stored)
{
    struct qos *qos = put->qos;
    if (!qos)
        return;
    put->qos = NULL;
    if (is_stored)
    {
        AUTO_LOCK(&qos->lock);
        subject_put_locked(qos, put->kind, put->id, put->class);
        qos_changed_locked(qos);
    }
    lock_release(&qos->change);
}

void qos_forget_lun(struct qos *qos, uint64_t lun_id)
{
    char key[QOS_KEY_BYTES];
    if (!qos)
        return;
    AUTO_LOCK(&qos->change);
    bool is_stored = false;
    {
        AUTO_LOCK(&qos->lock);
        struct qos_lun *lun = qos_find_lun_locked(qos, lun_id);
        if (!lun)
            return;
        is_stored = lun->class != qos->standard;
        lun->is_gone = true;
        qos_lun_set_class_locked(lun, qos->standard);
        qos_drop_lun_locked(lun);
    }
    qos_key_subject(QOS_LUN, lun_id, key);
    const struct store_change change = {.key = key};
    if (is_stored)
        ignore_error(store_apply(qos->pool, &change, 1, NULL),
                     "ids are not used again, and the next start drops it");
}

void qos_forget_volume(struct qos *qos, uint64_t volume_id)
{
    char key[QOS_KEY_BYTES];
    bool is_stored = false;
    AUTO_LOCK(&qos->change);
    {
        AUTO_LOCK(&qos->lock);
        list_for_each (volume, &qos->volumes, struct qos_group, link)
        {
            if (volume->id != volume_id || !volume->class)
                continue;
            is_stored = true;
            qos_group_set_class_locked(volume, NULL);
        }
        qos_changed_locked(qos);
    }
    qos_key_subject(QOS_VOLUME, volume_id, key);
    const struct store_change change = {.key = key};
    if (is_stored)
        ignore_error(store_apply(qos->pool, &change, 1, NULL),
                     "ids are not used again, and the next start drops it");
}

/* ---- showing ------------------------------------------------------------------------------- */

int qos_class_list(struct qos *qos, const char *name, struct qos_class_info **list, size_t *count,
                   struct reason *why)
{
    AUTO_LOCK(&qos->lock);
    AUTO_FREE struct qos_class_info *found = calloc(qos->class_count + 1, sizeof(*found));
    size_t n = 0;
    if (!found)
        return reason_set(why, -ENOMEM, "no memory");
    list_for_each (class, &qos->classes, struct qos_class, link)
    {
        if (name && strcmp(name, class->name) != 0)
            continue;
        memcpy(found[n].name, class->name, sizeof(found[n].name));
        found[n].limits = class->limits;
        found[n].is_built_in = class->is_built_in;
        found[n].users = class == qos->standard ? 0 : class->users;
        n++;
    }
    if (name && n == 0)
        return reason_set(why, -ENOENT, "there is no QoS class \"%s\"", name);
    *list = take_ptr(&found);
    *count = n;
    return 0;
}

static void lun_fill_info(const struct qos_lun *lun, struct qos_lun_info *info)
{
    info->id = lun->id;
    info->volume_id = lun->volume_id;
    memcpy(info->class_name, lun->class->name, sizeof(info->class_name));
    info->limits = lun->class->limits;
    info->is_assigned = lun->class != lun->qos->standard;
    info->users = lun->users;
    info->held_ops = lun->held_ops;
    info->held_ns = lun->held_ns;
    list_for_each (wait, &lun->node.waiting, struct qos_wait, link)
        info->waiting++;
    qos_stat_sum(&lun->stat, info->io);
}

static int lun_compare_infos(const void *a, const void *b)
{
    const struct qos_lun_info *first = a, *second = b;
    return first->id < second->id ? -1 : first->id > second->id;
}

static size_t lun_count(struct qos *qos)
{
    AUTO_LOCK(&qos->lock);
    size_t n = 0;
    for (unsigned i = 0; i < QOS_BUCKETS; i++)
        list_for_each (lun, &qos->luns[i], struct qos_lun, link)
            n++;
    return n;
}

/* The lock is taken for one bucket at a time: requests wait for it. */
int qos_lun_list(struct qos *qos, struct qos_lun_info **list, size_t *count)
{
    size_t room = lun_count(qos) + CLASS_LUNS_SPARE, at = 0;
    struct qos_lun_info *found = calloc(room, sizeof(*found));
    if (!found)
        return -ENOMEM;
    for (unsigned i = 0; i < QOS_BUCKETS; i++)
    {
        AUTO_LOCK(&qos->lock);
        list_for_each (lun, &qos->luns[i], struct qos_lun, link)
            if (!lun->is_gone && at < room)
                lun_fill_info(lun, &found[at++]);
    }
    qsort(found, at, sizeof(*found), lun_compare_infos);
    *list = found;
    *count = at;
    return 0;
}

static void group_fill_info(const struct qos_group *group, struct qos_group_info *info)
{
    info->kind = group->kind;
    info->id = group->id;
    if (group->class)
        memcpy(info->class_name, group->class->name, sizeof(info->class_name));
    info->limits = group->node.limits;
}

int qos_group_list(struct qos *qos, struct qos_group_info **list, size_t *count)
{
    AUTO_LOCK(&qos->lock);
    size_t n = 1, at = 0;
    list_for_each (volume, &qos->volumes, struct qos_group, link)
        n++;
    struct qos_group_info *found = calloc(n, sizeof(*found));
    if (!found)
        return -ENOMEM;
    group_fill_info(&qos->root, &found[at++]);
    list_for_each (volume, &qos->volumes, struct qos_group, link)
        if (volume->class)
            group_fill_info(volume, &found[at++]);
    *list = found;
    *count = at;
    return 0;
}
