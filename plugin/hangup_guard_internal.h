/* SPDX-License-Identifier: BSD-3-Clause */
/* What the parts of the preloaded library have in common. */
#ifndef PLUGIN_HANGUP_GUARD_INTERNAL_H
#define PLUGIN_HANGUP_GUARD_INTERNAL_H

#include <stdbool.h>
#include <sys/types.h>

enum
{
    GUARD_REQUEST_BYTES = 28, /* struct nbd_request, which nbdkit reads at once */
};

#define GUARD_EXPORT __attribute__((visibility("default")))

/* Whether code of the program itself, nbdkit, returns to @caller. */
bool guard_is_nbdkits(const void *caller);

/* close() of the library behind this one: a sanitizer's, that has to know of it, or libc's. */
int guard_next_close(int fd);

/* This thread of nbdkit's reads from @fd or sends to it (handshake_guard.c). */
void handshake_note_fd(int fd);

/* As send(), for nbdkit: what has more behind it may leave later, together with that (send_join.c).
 */
ssize_t send_join(int fd, const void *buf, size_t len, int flags);
/* Sends what this thread holds, if there is a client still. */
void send_join_flush(void);

/* What was read from @fd before and not asked for: up to @len bytes, 0 if there is nothing. */
size_t read_ahead_take(int fd, void *buf, size_t len);
/* As recv(), when nothing of that is left; what arrived behind it is kept (read_ahead.c). */
ssize_t read_ahead_recv(int fd, void *buf, size_t len, int flags);
/* Before @fd is closed. */
void read_ahead_end(int fd);

/* nbdkit sends the end of a reply (read_poll.c). */
void read_poll_note_reply(int fd);
/* Before @fd is closed: what was seen of its client is forgotten. */
void read_poll_end(int fd);

#endif
