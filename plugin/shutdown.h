/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ends idle clients when nbdkit is told to stop.
 *
 * nbdkit (1.32) waits for its clients before it calls .cleanup, without end: its threads sit in
 * read(2), and a connected VM that asks nothing keeps the server, and so the pool's lock, for ever.
 * A thread here waits for the stop and then shuts the receiving side of the clients' sockets, which
 * to nbdkit is a client that hung up: requests in flight end and are answered. Clients that do not
 * take their answers are cut off after a few seconds.
 */
#ifndef PLUGIN_SHUTDOWN_H
#define PLUGIN_SHUTDOWN_H

#include "lun/base/err.h"

/*
 * Notes which sockets nbdkit listens on, and starts the thread. After the fork; before anything
 * else in the process listens.
 */
MUST_CHECK int shutdown_watch_start(void);

/* Ends the thread. Harmless when it was not started. */
void shutdown_watch_stop(void);

/* Whether nbdkit was told to stop. */
bool shutdown_is_told(void);

#endif
