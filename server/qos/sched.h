/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who may go when: LUNs below volumes below the pool, each with its limits, and the requests that
 * wait there.
 *
 *     pool (one)  <--  volume  <--  LUN  <--  request, request, ...
 *                 <--  LUN without a volume  <--  request
 *
 * A request passes the limits of its LUN, of the volume and of the pool, at one instant. The
 * requests of a LUN go in the order in which they came. Where a volume or the pool has a limit and
 * several of the nodes below it wait for that limit, they share it by weight: each admission moves
 * the node's turn on by its cost over its weight, and the lowest turn is next (start-time fair
 * queueing). Who did not wait saves nothing up, but for a moment. A node that waits for a limit of
 * its own is passed over.
 *
 * A LUN that uses less than its share does not wait for those that use more: while others wait for
 * the limit of a volume or the pool, its requests go at once as long as its turn has come, on
 * credit, which those pay that wait. So such a limit may be exceeded for a moment, by what each LUN
 * gets in 10 ms and a request of each, and by nothing in the long run; those of a LUN itself never
 * are.
 *
 * Nothing here takes a lock or reads a clock: the caller has one lock around all nodes of a tree.
 * Costs: a request that need not wait costs a few comparisons; under a limit that several wait for,
 * one look at each node that waits.
 */
#ifndef SERVER_QOS_SCHED_H
#define SERVER_QOS_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/base/list.h"
#include "server/qos/rate.h"

enum
{
    QOS_WEIGHT_DEFAULT = 100,
    QOS_WEIGHT_MAX = 10000,
};

struct qos_limits
{
    uint64_t max_iops; /* 0: no limit, as the next */
    uint64_t max_bps;
    uint32_t burst_ms; /* what is not used may be saved up for so long */
    uint32_t weight;
};

struct qos_node
{
    struct qos_node *parent; /* NULL: the pool */
    struct list link;        /* in parent->waiting, if something waits below it */
    struct list waiting;     /* of a LUN: qos_waits; else nodes */
    bool is_lun;
    struct qos_limits limits;
    struct qos_rate ops, bytes;
    uint64_t turn; /* towards its siblings */
    uint64_t now;  /* the turn of the node below it that went last */
};

enum qos_wait_state
{
    QOS_WAIT_NONE,
    QOS_WAIT_QUEUED,
    QOS_WAIT_READY, /* admitted; nobody has taken note yet */
};

/* A request that may have to wait. Zeroed at first; its fields are the scheduler's. */
struct qos_wait
{
    struct list link; /* in the LUN's queue, or with whoever admitted it */
    struct qos_node *node;
    void *taker; /* the user's */
    uint64_t bytes;
    uint64_t since_ns;
    uint8_t state; /* enum qos_wait_state */
};

/* @parent NULL: the pool itself. No limits, default weight. */
void qos_node_init(struct qos_node *node, struct qos_node *parent, bool is_lun);
void qos_node_set_limits(struct qos_node *node, const struct qos_limits *limits, uint64_t now_ns);
/* What waits there comes along. */
void qos_node_set_parent(struct qos_node *node, struct qos_node *parent);
/* Whether a request there may ever have to wait. */
bool qos_node_is_limited(const struct qos_node *node);

/* True: it goes now, and is paid for. False: it waits in the queue of the LUN @node. */
bool qos_sched_enter(struct qos_node *node, struct qos_wait *wait, uint64_t bytes, uint64_t now_ns);
/* From when on the limits of @node and of those above it let something through. */
uint64_t qos_sched_due_ns(const struct qos_node *node);
/* Takes a queued @wait out. */
void qos_sched_leave(struct qos_wait *wait);

/* @wait goes: it is out of the queue, QOS_WAIT_READY and paid for. It may not call the scheduler.
 */
typedef void qos_admit_fn(void *opaque, struct qos_wait *wait, uint64_t now_ns);

/*
 * Admits all that may go at @now_ns. Returns when there may be more, UINT64_MAX: nothing waits.
 */
uint64_t qos_sched_run(struct qos_node *pool, uint64_t now_ns, qos_admit_fn *admit, void *opaque);
/* Admits all that waits below @node, limits or not. */
void qos_sched_release(struct qos_node *node, uint64_t now_ns, qos_admit_fn *admit, void *opaque);

/* Pays for @bytes and @ops that went without asking; those that come next wait for it. */
void qos_sched_charge(struct qos_node *node, uint64_t ops, uint64_t bytes, uint64_t now_ns);

#endif
