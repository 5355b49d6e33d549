/* SPDX-License-Identifier: BSD-3-Clause */
/* What the parts of the preloaded library have in common. */
#ifndef PLUGIN_HANGUP_GUARD_INTERNAL_H
#define PLUGIN_HANGUP_GUARD_INTERNAL_H

#include <stdbool.h>
#include <sys/types.h>

#define GUARD_EXPORT __attribute__((visibility("default")))

/* Whether code of the program itself, nbdkit, returns to @caller. */
bool guard_is_nbdkits(const void *caller);

/* This thread of nbdkit's reads from @fd or sends to it (handshake_guard.c). */
void handshake_note_fd(int fd);

/* As send(), for nbdkit: what has more behind it may leave later, together with that (send_join.c). */
ssize_t send_join(int fd, const void *buf, size_t len, int flags);
/* Sends what this thread holds, if there is a client still. */
void send_join_flush(void);

/* nbdkit sends the end of a reply (read_poll.c). */
void read_poll_note_reply(int fd);

#endif
