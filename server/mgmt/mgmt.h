/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The management thread: serves the verbs of verbs.h to clients of a Unix socket (proto.h).
 *
 * One thread accepts; each connection has a thread of its own, up to a limit, so a client that is
 * slow, silent or waits for a long verb holds up nobody else. Who the kernel says the client is
 * decides what it may do: root, the server's own user and members of the management group may
 * change things, everybody who can connect may look.
 */
#ifndef SERVER_MGMT_MGMT_H
#define SERVER_MGMT_MGMT_H

#include "server/target.h"

struct mgmt;

/* Limits; tests make them small. Zeroed fields take the defaults. */
struct mgmt_limits
{
    size_t connections;        /* at the same time; 256 */
    size_t looker_connections; /* of those, for clients that may only look; half of connections */
    uint64_t request_ms;       /* for a request to arrive once a client is served; 60000 */
    uint64_t reply_ms;         /* for a client to take a reply; 30000 */
};

/* Errors as target_start(). @limits may be NULL. */
MUST_CHECK int mgmt_start(struct target *target, const struct mgmt_limits *limits,
                          struct mgmt **mgmt, struct reason *why);
void mgmt_stop(struct mgmt *mgmt); /* NULL is accepted */

#endif
