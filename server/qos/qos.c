/* SPDX-License-Identifier: BSD-3-Clause */
/* Beginning and end, and the LUNs that are in use. */
#include "server/qos/qos.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "server/qos/qos_internal.h"

/* ---- tables -------------------------------------------------------------------------------- */

static struct list *qos_bucket(struct qos *qos, uint64_t id)
{
    return &qos->luns[id % QOS_BUCKETS];
}

struct qos_lun *qos_find_lun_locked(struct qos *qos, uint64_t id)
{
    list_for_each (lun, qos_bucket(qos, id), struct qos_lun, link)
        if (lun->id == id)
            return lun;
    return NULL;
}

static void qos_refresh_lun_locked(struct qos_lun *lun)
{
    bool is_limited = !lun->qos->is_let_go && qos_node_is_limited(&lun->node);
    atomic_store_explicit(&lun->is_limited, is_limited, memory_order_relaxed);
}

void qos_lun_set_class_locked(struct qos_lun *lun, struct qos_class *class)
{
    if (lun->class)
        lun->class->users--;
    class->users++;
    lun->class = class;
    qos_node_set_limits(&lun->node, &class->limits, qos_clock_ns());
    qos_refresh_lun_locked(lun);
}

void qos_group_set_class_locked(struct qos_group *group, struct qos_class *class)
{
    const struct qos_limits none = {.weight = QOS_WEIGHT_DEFAULT};
    if (group->class)
        group->class->users--;
    if (class)
        class->users++;
    group->class = class;
    qos_node_set_limits(&group->node, class ? &class->limits : &none, qos_clock_ns());
}

struct qos_lun *qos_get_lun_locked(struct qos *qos, uint64_t id)
{
    struct qos_lun *lun = qos_find_lun_locked(qos, id);
    if (lun)
        return lun;
    lun = calloc(1, sizeof(*lun));
    if (!lun)
        return NULL;
    lun->qos = qos;
    lun->id = id;
    qos_node_init(&lun->node, &qos->root.node, true);
    qos_lun_set_class_locked(lun, qos->standard);
    list_add_tail(qos_bucket(qos, id), &lun->link);
    return lun;
}

static void qos_free_lun(struct qos_lun *lun)
{
    INVARIANT(lun->users == 0 && list_is_empty(&lun->node.waiting));
    list_remove(&lun->link);
    lun->class->users--;
    qos_stat_destroy(&lun->stat);
    free(lun);
}

void qos_drop_lun_locked(struct qos_lun *lun)
{
    if (lun->is_gone && lun->users == 0)
        qos_free_lun(lun);
}

struct qos_group *qos_get_volume_locked(struct qos *qos, uint64_t id)
{
    list_for_each (volume, &qos->volumes, struct qos_group, link)
        if (volume->id == id)
            return volume;
    struct qos_group *volume = calloc(1, sizeof(*volume));
    if (!volume)
        return NULL;
    volume->kind = QOS_VOLUME;
    volume->id = id;
    qos_node_init(&volume->node, &qos->root.node, false);
    list_add_tail(&qos->volumes, &volume->link);
    return volume;
}

void qos_changed_locked(struct qos *qos)
{
    for (unsigned i = 0; i < QOS_BUCKETS; i++)
        list_for_each (lun, &qos->luns[i], struct qos_lun, link)
            qos_refresh_lun_locked(lun);
    qos->planned_ns = 0;
    condition_wake_one(&qos->poke);
}

/* ---- life ---------------------------------------------------------------------------------- */

static void qos_free(struct qos *qos)
{
    for (unsigned i = 0; i < QOS_BUCKETS; i++)
        list_for_each_safe (lun, &qos->luns[i], struct qos_lun, link)
            qos_free_lun(lun);
    list_for_each_safe (volume, &qos->volumes, struct qos_group, link)
        free(volume);
    qos_free_classes(qos);
    condition_destroy(&qos->poke);
    lock_destroy(&qos->lock);
    lock_destroy(&qos->change);
    free(qos);
}

static void qos_put(struct qos *qos)
{
    lock_take(&qos->lock);
    bool is_last = --qos->references == 0;
    lock_release(&qos->lock);
    if (is_last)
        qos_free(qos);
}

static struct qos *qos_make(struct pool *pool)
{
    struct qos *qos = calloc(1, sizeof(*qos));
    if (!qos)
        return NULL;
    qos->pool = pool;
    qos->references = 1;
    qos->planned_ns = UINT64_MAX;
    lock_init(&qos->change, LOCK_RANK_SESSION); /* settings of policies may be held */
    lock_init(&qos->lock, LOCK_RANK_EVENT);
    condition_init(&qos->poke);
    list_init(&qos->classes);
    list_init(&qos->volumes);
    for (unsigned i = 0; i < QOS_BUCKETS; i++)
        list_init(&qos->luns[i]);
    qos->root.kind = QOS_POOL;
    qos_node_init(&qos->root.node, NULL, false);
    return qos;
}

int qos_open(struct pool *pool, struct qos **out, struct reason *why)
{
    struct qos *qos = qos_make(pool);
    if (!qos)
        return reason_set(why, -ENOMEM, "no memory");
    int r = qos_load(qos, why);
    if (r == 0)
    {
        r = -pthread_create(&qos->thread, NULL, qos_thread_main, qos);
        qos->has_thread = r == 0;
        if (r < 0)
            r = reason_set(why, r, "no thread for QoS: %s", strerror(-r));
    }
    if (r < 0)
    {
        qos_close(qos);
        return r;
    }
    *out = qos;
    return 0;
}

void qos_close(struct qos *qos)
{
    if (!qos)
        return;
    {
        AUTO_LOCK(&qos->lock);
        qos->is_let_go = true;
        qos_sched_release(&qos->root.node, qos_clock_ns(), qos_admit_cb, NULL);
        qos_changed_locked(qos);
        qos->is_stopping = true;
    }
    if (qos->has_thread)
        pthread_join(qos->thread, NULL);
    qos_put(qos);
}

/* ---- LUNs in use --------------------------------------------------------------------------- */

/* Puts @lun below the volume that @info names, or below the pool. */
static int qos_place_lun_locked(struct qos_lun *lun, const struct lun_info *info)
{
    struct qos *qos = lun->qos;
    struct qos_group *volume =
        info->volume_id ? qos_get_volume_locked(qos, info->volume_id) : &qos->root;
    if (!volume)
        return -ENOMEM;
    lun->volume_id = info->volume_id;
    qos_node_set_parent(&lun->node, &volume->node);
    qos_refresh_lun_locked(lun);
    return 0;
}

static int qos_lun_open_locked(struct qos *qos, const struct lun_info *info, struct qos_lun **out)
{
    struct qos_lun *lun = qos_get_lun_locked(qos, info->lun_id);
    int r = lun ? 0 : -ENOMEM;
    if (r == 0 && !atomic_load_explicit(&lun->stat.shards[0], memory_order_relaxed))
        r = qos_stat_init(&lun->stat);
    if (r == 0)
        r = qos_place_lun_locked(lun, info);
    if (r < 0)
        return r;
    lun->users++;
    qos->references++;
    *out = lun;
    return 0;
}

void qos_lun_renamed(struct qos *qos, uint64_t lun_id, const char *name)
{
    struct lun_info info;
    /* Not there: renamed or deleted once more, which is told as well. */
    if (lun_get_info(qos->pool, name, &info, NULL) < 0 || info.id != lun_id)
        return;
    AUTO_LOCK(&qos->lock);
    struct qos_lun *lun = qos_find_lun_locked(qos, lun_id);
    if (!lun)
        return;
    ignore_error(qos_place_lun_locked(lun, &info), "without memory it stays below the old volume");
    qos_changed_locked(qos);
}

int qos_lun_open(struct qos *qos, struct lun *handle, struct qos_lun **lun)
{
    struct lun_info info;
    *lun = NULL;
    if (!qos)
        return 0;
    int r = lun_describe(handle, &info);
    if (r < 0)
        return r;
    AUTO_LOCK(&qos->lock);
    return qos_lun_open_locked(qos, &info, lun);
}

void qos_lun_close(struct qos_lun *lun)
{
    if (!lun)
        return;
    struct qos *qos = lun->qos;
    lock_take(&qos->lock);
    lun->users--;
    qos_drop_lun_locked(lun);
    lock_release(&qos->lock);
    qos_put(qos);
}
