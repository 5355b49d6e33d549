/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * QoS in the pool's store.
 *
 *   qos/class/NAME   "max_iops=N max_bps=N burst_ms=N weight=N"; a built-in class that is not there
 *                    is as it was built in
 *   qos/lun/ID       the name of the class that the LUN with this id (16 hexadecimal digits) is in
 *   qos/volume/ID    the same of a volume
 *   qos/pool         the same of the pool
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/qos/qos_internal.h"

#define STORE_CLASS "qos/class/"
#define STORE_LUN "qos/lun/"
#define STORE_VOLUME "qos/volume/"
#define STORE_POOL "qos/pool"

void qos_key_class(const char *name, char key[QOS_KEY_BYTES])
{
    snprintf(key, QOS_KEY_BYTES, STORE_CLASS "%s", name);
}

void qos_key_subject(enum qos_kind kind, uint64_t id, char key[QOS_KEY_BYTES])
{
    if (kind == QOS_POOL)
        snprintf(key, QOS_KEY_BYTES, STORE_POOL);
    else
        snprintf(key, QOS_KEY_BYTES, "%s%016" PRIx64, kind == QOS_LUN ? STORE_LUN : STORE_VOLUME,
                 id);
}

void qos_format_limits(const struct qos_limits *limits, char text[QOS_VALUE_BYTES])
{
    snprintf(text, QOS_VALUE_BYTES,
             "max_iops=%" PRIu64 " max_bps=%" PRIu64 " burst_ms=%" PRIu32 " weight=%" PRIu32,
             limits->max_iops, limits->max_bps, limits->burst_ms, limits->weight);
}

/* "KEY=NUMBER" of [min, max] and what ends it, a blank or the end; *text is behind it then. */
static bool store_parse_number(const char **text, const char *key, uint64_t min, uint64_t max,
                               uint64_t *number)
{
    size_t len = strlen(key);
    if (strncmp(*text, key, len) != 0 || (*text)[len] < '0' || (*text)[len] > '9')
        return false;
    char *end;
    errno = 0;
    *number = strtoull(*text + len, &end, 10);
    *text = end + (*end == ' ');
    return errno == 0 && (*end == ' ' || *end == '\0') && *number >= min && *number <= max;
}

int qos_parse_limits(const char *text, struct qos_limits *limits)
{
    uint64_t iops, bps, burst_ms, weight;
    if (!store_parse_number(&text, "max_iops=", 0, QOS_RATE_MAX, &iops) ||
        !store_parse_number(&text, "max_bps=", 0, QOS_RATE_MAX, &bps) ||
        !store_parse_number(&text, "burst_ms=", QOS_BURST_MS_MIN, QOS_BURST_MS_MAX, &burst_ms) ||
        !store_parse_number(&text, "weight=", 1, QOS_WEIGHT_MAX, &weight) || *text != '\0')
        return -EBADMSG;
    *limits = (struct qos_limits){
        .max_iops = iops,
        .max_bps = bps,
        .burst_ms = (uint32_t)burst_ms,
        .weight = (uint32_t)weight,
    };
    return 0;
}

/* ---- loading ------------------------------------------------------------------------------- */

static int store_refuse(struct qos *qos, const char *key)
{
    event_add(qos->pool, "warning", "qos.unreadable", "",
              "the entry \"%s\" of the pool's store is not understood and does not count", key);
    return 0;
}

static int store_load_class(void *opaque, const char *key, const void *value, size_t len)
{
    struct qos *qos = opaque;
    struct qos_limits limits;
    const char *name = key + strlen(STORE_CLASS);
    (void)len;
    if (!qos_name_ok(name) || qos_parse_limits(value, &limits) < 0)
        return store_refuse(qos, key);
    AUTO_LOCK(&qos->lock);
    struct qos_class *class = qos_find_class_locked(qos, name);
    if (!class)
        class = qos_add_class_locked(qos, name, &limits);
    if (!class)
        return -ENOMEM;
    class->limits = limits;
    return 0;
}

/* The 16 digits behind @prefix. */
static bool store_parse_id(const char *key, const char *prefix, uint64_t *id)
{
    const char *digits = key + strlen(prefix);
    if (strlen(digits) != 16 || strspn(digits, "0123456789abcdef") != 16)
        return false;
    *id = strtoull(digits, NULL, 16);
    return true;
}

static int store_load_lun(void *opaque, const char *key, const void *value, size_t len)
{
    struct qos *qos = opaque;
    uint64_t id;
    (void)len;
    lock_take(&qos->lock);
    struct qos_class *class = qos_find_class_locked(qos, value);
    lock_release(&qos->lock);
    if (!class || !store_parse_id(key, STORE_LUN, &id))
        return store_refuse(qos, key);
    AUTO_LOCK(&qos->lock);
    struct qos_lun *lun = qos_get_lun_locked(qos, id);
    if (!lun)
        return -ENOMEM;
    qos_lun_set_class_locked(lun, class);
    return 0;
}

static int store_load_group(void *opaque, const char *key, const void *value, size_t len)
{
    struct qos *qos = opaque;
    uint64_t id = 0;
    bool is_pool = strcmp(key, STORE_POOL) == 0;
    (void)len;
    lock_take(&qos->lock);
    struct qos_class *class = qos_find_class_locked(qos, value);
    lock_release(&qos->lock);
    if (!class || (!is_pool && !store_parse_id(key, STORE_VOLUME, &id)))
        return store_refuse(qos, key);
    AUTO_LOCK(&qos->lock);
    struct qos_group *group = is_pool ? &qos->root : qos_get_volume_locked(qos, id);
    if (!group)
        return -ENOMEM;
    qos_group_set_class_locked(group, class);
    return 0;
}

static int store_compare_ids(const void *a, const void *b)
{
    uint64_t first = *(const uint64_t *)a, second = *(const uint64_t *)b;
    return first < second ? -1 : first > second;
}

/* The ids of all LUNs, sorted; free *ids. */
static int store_list_luns(struct qos *qos, uint64_t **ids, size_t *count)
{
    AUTO_FREE struct lun_info *list = NULL;
    size_t n = 0;
    int r = lun_list(qos->pool, NULL, &list, &n, NULL);
    if (r < 0)
        return r;
    uint64_t *found = calloc(n + 1, sizeof(*found));
    if (!found)
        return -ENOMEM;
    size_t lun_count = 0;
    for (size_t i = 0; i < n; i++)
        if (list[i].kind == OBJECT_LUN)
            found[lun_count++] = list[i].id;
    qsort(found, lun_count, sizeof(*found), store_compare_ids);
    *ids = found;
    *count = lun_count;
    return 0;
}

/* A crash between a LUN's end and qos_forget_lun() leaves an entry. */
static int store_drop_gone(struct qos *qos)
{
    AUTO_FREE uint64_t *ids = NULL;
    size_t count = 0;
    int r = store_list_luns(qos, &ids, &count);
    for (unsigned i = 0; r == 0 && i < QOS_BUCKETS; i++)
        list_for_each_safe (lun, &qos->luns[i], struct qos_lun, link)
            if (!bsearch(&lun->id, ids, count, sizeof(*ids), store_compare_ids))
                qos_forget_lun(qos, lun->id);
    return r;
}

/* The same for volumes, one after the other: the lock is not held over a look at the engine. */
static int store_drop_gone_volumes(struct qos *qos)
{
    AUTO_FREE struct qos_group_info *groups = NULL;
    size_t count = 0;
    struct volume_info info;
    int r = qos_group_list(qos, &groups, &count);
    for (size_t i = 0; r == 0 && i < count; i++)
        if (groups[i].kind == QOS_VOLUME &&
            volume_get_info_by_id(qos->pool, groups[i].id, &info) == -ENOENT)
            qos_forget_volume(qos, groups[i].id);
    return r;
}

static bool store_has_luns(const struct qos *qos)
{
    for (unsigned i = 0; i < QOS_BUCKETS; i++)
        if (!list_is_empty(&qos->luns[i]))
            return true;
    return false;
}

static int store_add_built_in(struct qos *qos)
{
    const struct qos_limits standard = {.burst_ms = QOS_BURST_MS_DEFAULT,
                                        .weight = QOS_WEIGHT_DEFAULT};
    const struct qos_limits background = {
        .max_iops = 500,
        .max_bps = 50 << 20,
        .burst_ms = QOS_BURST_MS_DEFAULT,
        .weight = QOS_WEIGHT_DEFAULT / 10,
    };
    AUTO_LOCK(&qos->lock);
    qos->standard = qos_add_class_locked(qos, QOS_CLASS_DEFAULT, &standard);
    qos->background = qos_add_class_locked(qos, QOS_CLASS_BACKGROUND, &background);
    if (!qos->standard || !qos->background)
        return -ENOMEM;
    qos->standard->is_built_in = qos->background->is_built_in = true;
    return 0;
}

int qos_load(struct qos *qos, struct reason *why)
{
    static const struct
    {
        const char *prefix;
        store_each_fn *each;
    } parts[] = {
        {STORE_CLASS, store_load_class},
        {STORE_LUN, store_load_lun},
        {STORE_VOLUME, store_load_group},
        {STORE_POOL, store_load_group},
    };
    int r = store_add_built_in(qos);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(parts); i++)
        r = store_list(qos->pool, parts[i].prefix, parts[i].each, qos);
    if (r == 0 && store_has_luns(qos))
        r = store_drop_gone(qos);
    if (r == 0)
        r = store_drop_gone_volumes(qos);
    if (r < 0)
        return reason_set(why, r, "the QoS classes of the pool cannot be read: %s", strerror(-r));
    return 0;
}
