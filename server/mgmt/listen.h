/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A listening Unix socket at a path, without taking a live server's.
 *
 * Always true: who has the lock on PATH.lock owns PATH. So of two servers that start at once one
 * gets -EBUSY, a socket that a dead server left is replaced, and one server never removes
 * another's.
 */
#ifndef SERVER_MGMT_LISTEN_H
#define SERVER_MGMT_LISTEN_H

#include "lun/base/err.h"

struct mgmt_listener
{
    int fd;
    int lock_fd;
    char *path;
};

#define MGMT_LISTENER_NONE ((struct mgmt_listener){.fd = -1, .lock_fd = -1})

/*
 * Listens at @path with permissions @mode; they hold from the first moment. -EBUSY: a live server
 * listens there. -EEXIST: something else than a socket is there. *listener is untouched on failure.
 */
MUST_CHECK int mgmt_listen(const char *path, unsigned mode, struct mgmt_listener *listener,
                           struct reason *why);

/* Closes and removes the socket and its lock. MGMT_LISTENER_NONE is accepted. */
void mgmt_unlisten(struct mgmt_listener *listener);

#endif
