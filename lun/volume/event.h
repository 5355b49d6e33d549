/* SPDX-License-Identifier: BSD-3-Clause */
/* The last events of a pool, in memory. */
#ifndef LUN_VOLUME_EVENT_H
#define LUN_VOLUME_EVENT_H

struct event_ring;

struct event_ring *event_ring_create(void); /* NULL without memory */
void event_ring_destroy(struct event_ring *ring);

#endif
