/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/volume/event.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/pool/pool_internal.h"
#include "lun/volume/command.h"

enum
{
    EVENTS_KEPT = 1024
};

struct event_ring
{
    struct lock lock; /* LOCK_RANK_EVENT */
    struct condition added;
    uint64_t last_id;
    struct event events[EVENTS_KEPT]; /* of id at (id - 1) % EVENTS_KEPT */
};

struct event_ring *event_ring_create(void)
{
    struct event_ring *ring = calloc(1, sizeof(*ring));
    if (!ring)
        return NULL;
    lock_init(&ring->lock, LOCK_RANK_EVENT);
    condition_init(&ring->added);
    return ring;
}

void event_ring_destroy(struct event_ring *ring)
{
    if (!ring)
        return;
    condition_destroy(&ring->added);
    lock_destroy(&ring->lock);
    free(ring);
}

void event_add(struct pool *pool, const char *severity, const char *name, const char *object,
               const char *format, ...)
{
    struct event_ring *ring = pool->events;
    if (!ring || (command_is_dry() && strcmp(severity, "error") != 0))
        return; /* a pool in the making, or nothing happened */
    struct event event = {.time_ns = pool->env->now_ns(pool->env)};
    snprintf(event.severity, sizeof(event.severity), "%s", severity);
    snprintf(event.name, sizeof(event.name), "%s", name);
    snprintf(event.object, sizeof(event.object), "%s", object ? object : "");
    va_list args;
    va_start(args, format);
    vsnprintf(event.text, sizeof(event.text), format, args);
    va_end(args);
    AUTO_LOCK(&ring->lock);
    event.id = ++ring->last_id;
    ring->events[(event.id - 1) % EVENTS_KEPT] = event;
    condition_wake_all(&ring->added);
}

int event_list(struct pool *pool, uint64_t after, struct event **list, size_t *count)
{
    struct event_ring *ring = pool->events;
    AUTO_LOCK(&ring->lock);
    uint64_t oldest = ring->last_id > EVENTS_KEPT ? ring->last_id - EVENTS_KEPT : 0;
    uint64_t from = max_u64(after, oldest);
    size_t n = ring->last_id > from ? (size_t)(ring->last_id - from) : 0;
    struct event *events = calloc(n + 1, sizeof(*events));
    if (!events)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        events[i] = ring->events[(from + i) % EVENTS_KEPT];
    *list = events;
    *count = n;
    return 0;
}

int event_wait(struct pool *pool, uint64_t after, uint64_t timeout_ms)
{
    struct event_ring *ring = pool->events;
    AUTO_LOCK(&ring->lock);
    if (ring->last_id > after)
        return 0;
    ignore_error(!condition_wait_ms(&ring->added, &ring->lock, timeout_ms), "looked at below");
    return ring->last_id > after ? 0 : -ETIMEDOUT;
}
