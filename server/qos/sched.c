/* SPDX-License-Identifier: BSD-3-Clause */
/* Admission of requests through the limits of LUN, volume and pool. */
#include "server/qos/sched.h"

#include "lun/base/checked.h"
#include "lun/base/invariant.h"

enum
{
    SCHED_NS_PER_MS = 1000000,
    /* So far may a turn lie behind: what waits is let go in steps (admit.c), and turns go by in
     * jumps as large. */
    SCHED_BEHIND_NS = 10000000,
};

/* What a run carries along. */
struct sched_run
{
    uint64_t now_ns, next_ns;
    qos_admit_fn *admit;
    void *opaque;
};

void qos_node_init(struct qos_node *node, struct qos_node *parent, bool is_lun)
{
    *node = (struct qos_node){
        .parent = parent,
        .is_lun = is_lun,
        .limits = {.weight = QOS_WEIGHT_DEFAULT},
    };
    list_init(&node->link);
    list_init(&node->waiting);
}

void qos_node_set_limits(struct qos_node *node, const struct qos_limits *limits, uint64_t now_ns)
{
    uint64_t burst_ns = (uint64_t)limits->burst_ms * SCHED_NS_PER_MS;
    INVARIANT(limits->weight > 0);
    node->limits = *limits;
    qos_rate_set(&node->ops, limits->max_iops, burst_ns, now_ns);
    qos_rate_set(&node->bytes, limits->max_bps, burst_ns, now_ns);
}

static bool node_has_limit(const struct qos_node *node)
{
    return node->limits.max_iops > 0 || node->limits.max_bps > 0;
}

bool qos_node_is_limited(const struct qos_node *node)
{
    for (; node; node = node->parent)
        if (node_has_limit(node))
            return true;
    return false;
}

/* When the limits of this node alone let something through; 0: at any time. */
static uint64_t node_due_ns(const struct qos_node *node)
{
    return max_u64(qos_rate_due_ns(&node->ops), qos_rate_due_ns(&node->bytes));
}

uint64_t qos_sched_due_ns(const struct qos_node *node)
{
    uint64_t due_ns = 0;
    for (; node; node = node->parent)
        due_ns = max_u64(due_ns, node_due_ns(node));
    return due_ns;
}

/* ---- queues -------------------------------------------------------------------------------- */

/* Where @node goes on among its siblings: no turn that has long gone by. */
static uint64_t node_turn(const struct qos_node *node)
{
    uint64_t now = node->parent->now;
    return max_u64(node->turn, now > SCHED_BEHIND_NS ? now - SCHED_BEHIND_NS : 0);
}

/* Something waits at @node now: its parents know. */
static void node_begin_waiting(struct qos_node *node)
{
    for (; node->parent && list_is_empty(&node->link); node = node->parent)
    {
        list_add_tail(&node->parent->waiting, &node->link);
        node->turn = node_turn(node);
    }
}

/* If nothing waits at @node any more, its parents forget it. */
static void node_end_waiting(struct qos_node *node)
{
    for (; node->parent && list_is_empty(&node->waiting); node = node->parent)
        list_remove(&node->link);
}

void qos_node_set_parent(struct qos_node *node, struct qos_node *parent)
{
    struct qos_node *old = node->parent;
    if (old == parent)
        return;
    list_remove(&node->link);
    node_end_waiting(old);
    node->parent = parent;
    node->turn = parent->now;
    if (!list_is_empty(&node->waiting))
        node_begin_waiting(node);
}

void qos_sched_leave(struct qos_wait *wait)
{
    INVARIANT(wait->state == QOS_WAIT_QUEUED);
    list_remove(&wait->link);
    wait->state = QOS_WAIT_NONE;
    node_end_waiting(wait->node);
}

/* ---- paying -------------------------------------------------------------------------------- */

/*
 * Takes the cost from every limit above. A node's turn moves on by what the nearest limit above it
 * has given, since that is what it shares with its siblings.
 */
void qos_sched_charge(struct qos_node *node, uint64_t ops, uint64_t bytes, uint64_t now_ns)
{
    struct qos_node *to_move = node;
    for (; node; node = node->parent)
    {
        uint64_t ops_ns = qos_rate_take(&node->ops, ops, now_ns);
        uint64_t cost_ns = max_u64(ops_ns, qos_rate_take(&node->bytes, bytes, now_ns));
        if (!node_has_limit(node))
            continue;
        for (; to_move != node; to_move = to_move->parent)
        {
            uint64_t begin = node_turn(to_move);
            to_move->parent->now = max_u64(to_move->parent->now, begin);
            to_move->turn = begin + cost_ns * QOS_WEIGHT_DEFAULT / to_move->limits.weight + 1;
        }
    }
}

/* Whether the turn of all from @node up to, and without, @limited has come. */
static bool node_is_its_turn(const struct qos_node *node, const struct qos_node *limited)
{
    for (; node != limited; node = node->parent)
        if (node->turn > node->parent->now)
            return false;
    return true;
}

/* Whether all limits let something through, and nobody else waits for the same, or those who do
 * have had more than their share. */
static bool node_is_free(const struct qos_node *node, uint64_t now_ns)
{
    const struct qos_node *below = node;
    for (; node; node = node->parent)
    {
        if (!node_has_limit(node))
            continue;
        bool others_wait = !list_is_empty(&node->waiting);
        if (others_wait ? node->is_lun || !node_is_its_turn(below, node)
                        : node_due_ns(node) > now_ns)
            return false;
        below = node;
    }
    return true;
}

bool qos_sched_enter(struct qos_node *node, struct qos_wait *wait, uint64_t bytes, uint64_t now_ns)
{
    INVARIANT(node->is_lun && wait->state == QOS_WAIT_NONE);
    wait->node = node;
    wait->bytes = bytes;
    wait->since_ns = now_ns;
    if (list_is_empty(&node->waiting) && node_is_free(node, now_ns))
    {
        qos_sched_charge(node, 1, bytes, now_ns);
        return true;
    }
    wait->state = QOS_WAIT_QUEUED;
    list_add_tail(&node->waiting, &wait->link);
    node_begin_waiting(node);
    return false;
}

/* ---- admitting ----------------------------------------------------------------------------- */

static void sched_admit(struct sched_run *run, struct qos_wait *wait)
{
    qos_sched_leave(wait);
    qos_sched_charge(wait->node, 1, wait->bytes, run->now_ns);
    wait->state = QOS_WAIT_READY;
    run->admit(run->opaque, wait, run->now_ns);
}

/* What @node would let go now; NULL: nothing. Notes when that may change. */
static struct qos_wait *sched_first(struct sched_run *run, const struct qos_node *node)
{
    uint64_t due_ns = node_due_ns(node);
    if (due_ns > run->now_ns)
    {
        run->next_ns = min_u64(run->next_ns, due_ns);
        return NULL;
    }
    if (list_is_empty(&node->waiting))
        return NULL;
    if (node->is_lun)
        return container_of(node->waiting.next, struct qos_wait, link);
    struct qos_wait *first = NULL;
    uint64_t lowest = 0;
    list_for_each (below, &node->waiting, struct qos_node, link)
    {
        if (first && below->turn >= lowest)
            continue;
        struct qos_wait *wait = sched_first(run, below);
        if (!wait)
            continue;
        first = wait;
        lowest = below->turn;
    }
    return first;
}

/* Where there is no limit, there is no order to keep, and each node below is served for itself. */
static void sched_serve(struct sched_run *run, struct qos_node *node)
{
    if (!node->is_lun && !node_has_limit(node))
    {
        list_for_each_safe (below, &node->waiting, struct qos_node, link)
            sched_serve(run, below);
        return;
    }
    struct qos_wait *wait;
    while ((wait = sched_first(run, node)) != NULL)
        sched_admit(run, wait);
}

uint64_t qos_sched_run(struct qos_node *pool, uint64_t now_ns, qos_admit_fn *admit, void *opaque)
{
    struct sched_run run = {
        .now_ns = now_ns,
        .next_ns = UINT64_MAX,
        .admit = admit,
        .opaque = opaque,
    };
    sched_serve(&run, pool);
    return list_is_empty(&pool->waiting) ? UINT64_MAX : run.next_ns;
}

void qos_sched_release(struct qos_node *node, uint64_t now_ns, qos_admit_fn *admit, void *opaque)
{
    struct sched_run run = {.now_ns = now_ns, .admit = admit, .opaque = opaque};
    if (!node->is_lun)
    {
        list_for_each_safe (below, &node->waiting, struct qos_node, link)
            qos_sched_release(below, now_ns, admit, opaque);
        return;
    }
    while (!list_is_empty(&node->waiting))
        sched_admit(&run, container_of(node->waiting.next, struct qos_wait, link));
}
