/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests are read together. Preloaded with hangup_guard.c, and like it only for the reads of
 * nbdkit itself (read_poll.c calls it).
 *
 * nbdkit reads the 28 bytes of a request, then the data of a write, and then the next request, each
 * with a call of its own. Here a call takes what has arrived behind that, too, and the next reads
 * are served from memory.
 *
 * A connection reads ahead from its first request on, not while it negotiates: what follows
 * NBD_OPT_STARTTLS is for the TLS library, which reads by itself.
 *
 * Locks: none. nbdkit lets one worker of a connection read at a time, behind its lock, and closes
 * the descriptor when the last one has ended.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "plugin/hangup_guard_internal.h"

enum
{
    READ_AHEAD_FDS = 65536, /* those above do not read ahead */
    READ_AHEAD_BYTES = 16 << 10,
};

struct read_ahead
{
    size_t from, len; /* of @bytes: what was read, and not yet asked for */
    uint8_t bytes[READ_AHEAD_BYTES];
};

/* By descriptor; NULL: does not read ahead. */
static struct read_ahead *read_ahead_by_fd[READ_AHEAD_FDS];

static struct read_ahead *read_ahead_of(int fd)
{
    return fd >= 0 && fd < READ_AHEAD_FDS ? read_ahead_by_fd[fd] : NULL;
}

/* Without memory for it, it is done without. */
static struct read_ahead *read_ahead_begin(int fd)
{
    if (fd < 0 || fd >= READ_AHEAD_FDS)
        return NULL;
    struct read_ahead *ahead = malloc(sizeof(*ahead));
    if (ahead)
        ahead->from = ahead->len = 0;
    return read_ahead_by_fd[fd] = ahead;
}

void read_ahead_end(int fd)
{
    free(read_ahead_of(fd));
    if (fd >= 0 && fd < READ_AHEAD_FDS)
        read_ahead_by_fd[fd] = NULL;
}

size_t read_ahead_take(int fd, void *buf, size_t len)
{
    struct read_ahead *ahead = read_ahead_of(fd);
    if (!ahead || ahead->len == 0)
        return 0;
    size_t n = len < ahead->len ? len : ahead->len;
    memcpy(buf, ahead->bytes + ahead->from, n);
    ahead->from += n;
    ahead->len -= n;
    return n;
}

ssize_t read_ahead_recv(int fd, void *buf, size_t len, int flags)
{
    struct read_ahead *ahead = read_ahead_of(fd);
    if (!ahead && len == GUARD_REQUEST_BYTES)
        ahead = read_ahead_begin(fd);
    if (!ahead)
        return recvfrom(fd, buf, len, flags, NULL, NULL);
    struct iovec iov[2] = {{.iov_base = buf, .iov_len = len},
                           {.iov_base = ahead->bytes, .iov_len = sizeof(ahead->bytes)}};
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2};
    ssize_t got = recvmsg(fd, &message, flags);
    if (got <= 0 || (size_t)got <= len)
        return got;
    ahead->from = 0;
    ahead->len = (size_t)got - len;
    return (ssize_t)len;
}
