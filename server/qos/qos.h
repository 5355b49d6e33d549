/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Quality of service: limits and shares of LUNs, volumes and the pool, and what LUNs are doing.
 *
 * A class has a name, limits and a weight. A LUN, a volume or the pool is put into one; each gets
 * the limits for itself, and a request passes those of its LUN, of the LUN's volume and of the
 * pool. All of it is stored in the pool and takes effect at once, also for requests that wait.
 *
 * Always true:
 *  - NBD and iSCSI pass the same limits, in the order in which their requests came;
 *  - a LUN that nothing limits costs a request one look at a flag and a few counters;
 *  - a LUN that was put into no class is in "default", a volume or the pool in none; "default" and
 *    "background" are always there;
 *  - after qos_close() nothing waits any more.
 *
 * All functions may be called from any thread. Those that change classes and subjects block on I/O;
 * no other does, but qos_enter_blocking(). A struct qos lives on until the last of its LUNs is
 * closed.
 */
#ifndef SERVER_QOS_QOS_H
#define SERVER_QOS_QOS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/lun.h"
#include "server/qos/sched.h"
#include "server/qos/stat.h"

struct qos;

enum
{
    QOS_NAME_MAX = 64, /* bytes of a class's name */
    QOS_PUT_KEY_MAX = 128,
    QOS_CLASSES_MAX = 1024,
    QOS_BURST_MS_MIN = 10,
    QOS_BURST_MS_DEFAULT = 100,
    QOS_BURST_MS_MAX = 3600 * 1000,
};

#define QOS_CLASS_DEFAULT "default"
#define QOS_CLASS_BACKGROUND "background"
#define QOS_RATE_MAX (UINT64_C(1) << 50) /* of either limit */

/* Reads what the pool stores, and drops what it has for LUNs that are gone. */
MUST_CHECK int qos_open(struct pool *pool, struct qos **qos, struct reason *why);
/* Whoever waits goes, and nobody waits from now on. NULL is accepted. */
void qos_close(struct qos *qos);
/* A LUN or a volume is gone: what is stored for it goes too. */
void qos_forget_lun(struct qos *qos, uint64_t lun_id);
void qos_forget_volume(struct qos *qos, uint64_t volume_id);
/* A LUN has another name, and is perhaps in another volume. */
void qos_lun_renamed(struct qos *qos, uint64_t lun_id, const char *name);

/* ---- requests ------------------------------------------------------------------------------ */

/* A LUN that is in use, and what is counted of it; shared by all who use it. */
struct qos_lun
{
    struct list link; /* under the lock of qos, as all below that has no other word */
    struct qos *qos;  /* immutable, as id */
    uint64_t id;
    uint64_t volume_id; /* 0: none */
    struct qos_node node;
    struct qos_class *class;
    uint32_t users;
    bool is_gone;
    uint64_t held_ops, held_ns; /* requests that waited, and how long in all */
    atomic_bool is_limited;     /* written under the lock; read without, a moment late is well */
    struct qos_stat stat;       /* see there */
};

/*
 * The LUN that @handle shows, a snapshot or difference counting as its LUN. @qos NULL: *lun is
 * NULL, which all below accept.
 */
MUST_CHECK int qos_lun_open(struct qos *qos, struct lun *handle, struct qos_lun **lun);
void qos_lun_close(struct qos_lun *lun);

/* The monotonic clock of all durations here. */
uint64_t qos_clock_ns(void);

/* A request is through. */
static inline void qos_account(struct qos_lun *lun, enum qos_io io, uint64_t bytes, uint64_t ns)
{
    if (lun)
        qos_stat_add(&lun->stat, io, bytes, ns);
}

/* Whether qos_enter() need be asked at all. */
static inline bool qos_is_limited(const struct qos_lun *lun, enum qos_io io)
{
    return lun && io != QOS_FLUSH && atomic_load_explicit(&lun->is_limited, memory_order_relaxed);
}

/*
 * Whoever must not block takes the requests that may go from a sink. @wake is called when there is
 * one, with locks held: it may only post.
 */
struct qos_sink
{
    struct qos *qos;   /* once something was queued; the owner's thread only */
    struct list ready; /* under the lock of qos */
    void (*wake)(struct qos_sink *sink);
};

void qos_sink_init(struct qos_sink *sink, void (*wake)(struct qos_sink *sink));

/*
 * True: go on. False: @wait, zeroed at first, is queued; it comes out of qos_sink_next() when its
 * time has come. Until then it belongs to @lun, which stays open, or to qos_leave().
 */
MUST_CHECK bool qos_enter(struct qos_lun *lun, uint64_t bytes, struct qos_wait *wait,
                          struct qos_sink *sink);
/* The next that may go; NULL: none. */
struct qos_wait *qos_sink_next(struct qos_sink *sink);
/* @wait is given up, or nothing if it does not wait. */
void qos_leave(struct qos_lun *lun, struct qos_wait *wait);

/* Waits until the request may go; false: @is_given_up said so, which is asked now and then. */
MUST_CHECK bool qos_enter_blocking(struct qos_lun *lun, uint64_t bytes,
                                   bool (*is_given_up)(void *opaque), void *opaque);

/* Bytes that the server moved on a request's behalf: those that come next wait for them. */
void qos_charge(struct qos_lun *lun, uint64_t bytes);

/* ---- classes and who is in them ------------------------------------------------------------ */

struct qos_class_info
{
    char name[QOS_NAME_MAX + 1];
    struct qos_limits limits;
    bool is_built_in;
    uint32_t users; /* LUNs, volumes, the pool; 0 for "default", where all others are */
};

/* What is to be changed of a class; a new one has no limits and the default weight. */
struct qos_class_change
{
    bool has_iops, has_bps, has_burst, has_weight;
    struct qos_limits limits;
};

MUST_CHECK int qos_class_create(struct qos *qos, const char *name,
                                const struct qos_class_change *change, struct reason *why);
MUST_CHECK int qos_class_modify(struct qos *qos, const char *name,
                                const struct qos_class_change *change, struct reason *why);
/* -EBUSY: something is in it. -EPERM: built in. */
MUST_CHECK int qos_class_delete(struct qos *qos, const char *name, bool dry_run,
                                struct reason *why);
/* By name; @name NULL: all. Free *list. -ENOENT. */
MUST_CHECK int qos_class_list(struct qos *qos, const char *name, struct qos_class_info **list,
                              size_t *count, struct reason *why);

enum qos_kind
{
    QOS_POOL,
    QOS_VOLUME,
    QOS_LUN,
};

/* "default" takes it out of its class. -ENOENT: no such class. */
MUST_CHECK int qos_set(struct qos *qos, enum qos_kind kind, const uint64_t *ids, size_t count,
                       const char *class_name, struct reason *why);

/*
 * The same of one LUN or volume in two steps, for who changes it otherwise too: in between
 * @put->change is stored in the same record (lun.h). @class_name NULL: there is nothing to store.
 * qos_put_end() also after a failure, with whether it was stored; until then nobody else changes
 * classes.
 */
struct qos_class;
struct qos_put
{
    struct qos *qos; /* NULL: nothing, or it has ended */
    enum qos_kind kind;
    uint64_t id;
    struct qos_class *class;
    struct store_change change;
    char key[QOS_PUT_KEY_MAX];
};
MUST_CHECK int qos_put_begin(struct qos *qos, enum qos_kind kind, uint64_t id,
                             const char *class_name, struct qos_put *put, struct reason *why);
void qos_put_end(struct qos_put *put, bool is_stored);

struct qos_lun_info
{
    uint64_t id, volume_id;
    char class_name[QOS_NAME_MAX + 1];
    struct qos_limits limits;
    bool is_assigned; /* not in "default" because nothing else was said */
    uint32_t users;   /* NBD connections, logical units */
    uint32_t waiting; /* requests, at this moment */
    uint64_t held_ops, held_ns;
    struct qos_io_sum io[QOS_IO_KINDS];
};

/* LUNs that have a class or were in use since the server started, by id. Free *list. */
MUST_CHECK int qos_lun_list(struct qos *qos, struct qos_lun_info **list, size_t *count);

struct qos_group_info
{
    enum qos_kind kind; /* QOS_POOL or QOS_VOLUME */
    uint64_t id;
    char class_name[QOS_NAME_MAX + 1];
    struct qos_limits limits;
};

/* The pool and the volumes that have a class. Free *list. */
MUST_CHECK int qos_group_list(struct qos *qos, struct qos_group_info **list, size_t *count);

#endif
