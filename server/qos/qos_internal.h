/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of server/qos share: the tables, and what is stored.
 *
 * Two locks: `change` is held by a change of classes or subjects from the first look to the last
 * write, over the store's I/O; `lock` only for moments, over everything in memory.
 */
#ifndef SERVER_QOS_QOS_INTERNAL_H
#define SERVER_QOS_QOS_INTERNAL_H

#include <pthread.h>

#include "lun/base/cleanup.h"
#include "lun/base/lock.h"
#include "server/qos/qos.h"

enum
{
    QOS_BUCKETS = 4096,
    QOS_KEY_BYTES = 32 + QOS_NAME_MAX,
    QOS_VALUE_BYTES = 160,
};

struct qos_class
{
    struct list link; /* by name */
    char name[QOS_NAME_MAX + 1];
    struct qos_limits limits;
    bool is_built_in;
    uint32_t users; /* LUNs, also those that are in "default" by themselves, volumes, the pool */
};

/* The pool, or a volume that has a class or LUNs in use. Lives as long as the struct qos. */
struct qos_group
{
    struct list link;
    enum qos_kind kind;
    uint64_t id;
    struct qos_node node;
    struct qos_class *class; /* NULL: none */
};

struct qos
{
    struct pool *pool; /* immutable */

    struct lock change; /* LOCK_RANK_SERVER */

    struct lock lock; /* LOCK_RANK_EVENT, since sinks post to loops under it: all below */
    struct list classes;
    struct qos_class *standard, *background; /* "default" and "background" */
    uint32_t class_count;
    struct list luns[QOS_BUCKETS]; /* by id */
    struct qos_group root;
    struct list volumes;
    uint32_t references; /* the owner's, and one of each use of a LUN */
    bool is_let_go;
    bool is_stopping;
    struct condition poke; /* for the thread: something waits, or has changed */
    uint64_t planned_ns;   /* when the thread looks next; UINT64_MAX: when it is poked */

    pthread_t thread;
    bool has_thread;
};

/* ---- qos.c --------------------------------------------------------------------------------- */

struct qos_lun *qos_find_lun_locked(struct qos *qos, uint64_t id);
/* The LUN's entry, made if there is none; no use is counted. NULL: no memory. */
struct qos_lun *qos_get_lun_locked(struct qos *qos, uint64_t id);
/* NULL: no memory. */
struct qos_group *qos_get_volume_locked(struct qos *qos, uint64_t id);
/* Puts the class's limits in force. @class NULL, for groups: none. */
void qos_lun_set_class_locked(struct qos_lun *lun, struct qos_class *class);
void qos_group_set_class_locked(struct qos_group *group, struct qos_class *class);
/* Limits have changed: who waits may go now, and who may have to wait is another question. */
void qos_changed_locked(struct qos *qos);
/* Frees the entry if nothing needs it. */
void qos_drop_lun_locked(struct qos_lun *lun);

/* ---- admit.c ------------------------------------------------------------------------------- */

/* Counts that @wait was held and hands it to its sink. */
void qos_admit_cb(void *opaque, struct qos_wait *wait, uint64_t now_ns);
/* Lets go what has come due, until is_stopping. */
void *qos_thread_main(void *opaque);

/* ---- class.c ------------------------------------------------------------------------------- */

struct qos_class *qos_find_class_locked(struct qos *qos, const char *name);
/* In its place in the order. NULL: no memory. */
struct qos_class *qos_add_class_locked(struct qos *qos, const char *name,
                                       const struct qos_limits *limits);
void qos_free_classes(struct qos *qos);
bool qos_name_ok(const char *name);

/* ---- store.c ------------------------------------------------------------------------------- */

void qos_key_class(const char *name, char key[QOS_KEY_BYTES]);
void qos_key_subject(enum qos_kind kind, uint64_t id, char key[QOS_KEY_BYTES]);
void qos_format_limits(const struct qos_limits *limits, char text[QOS_VALUE_BYTES]);
/* -EBADMSG: not understood. */
MUST_CHECK int qos_parse_limits(const char *text, struct qos_limits *limits);
/* Reads all. What is not understood is left out, with an event. */
MUST_CHECK int qos_load(struct qos *qos, struct reason *why);

#endif
