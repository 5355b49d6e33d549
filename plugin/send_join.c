/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The parts of a reply leave in one call. Preloaded with hangup_guard.c, and like it only for what
 * nbdkit itself sends.
 *
 * nbdkit sends the header of a reply, the offset of a chunk and the data one by one, all but the
 * last with MSG_MORE. TCP waits for the rest then; a Unix socket does not, and wakes the client
 * for each. So what is small and has more behind it is held, by thread, until that comes.
 *
 * Always true: a thread holds bytes for one descriptor only, and nbdkit has that connection's
 * lock for sending meanwhile. They leave before anything else that the thread sends, and before it
 * reads, shuts down or closes: nbdkit says "more" where nothing follows, too (the export without a
 * description in a list).
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "plugin/hangup_guard_internal.h"

enum
{
    JOIN_HELD_BYTES = 64, /* the headers of a reply have 28 */
};

static _Thread_local struct
{
    int fd;
    size_t len;
    uint8_t bytes[JOIN_HELD_BYTES];
} join_held;

static void join_forget(size_t len)
{
    join_held.len -= len;
    memmove(join_held.bytes, join_held.bytes + len, join_held.len);
}

/* What is held and then @buf. Returns how much of @buf was sent, or -1, when what is held still is
 * in part, and @buf was not begun. */
static ssize_t join_send_both(int fd, const void *buf, size_t len, int flags)
{
    while (join_held.len > 0)
    {
        struct iovec iov[2] = {{.iov_base = join_held.bytes, .iov_len = join_held.len},
                               {.iov_base = (void *)(uintptr_t)buf, .iov_len = len}};
        struct msghdr message = {.msg_iov = iov, .msg_iovlen = len > 0 ? 2 : 1};
        ssize_t sent = sendmsg(fd, &message, flags);
        if (sent < 0)
            return -1;
        size_t of_held = (size_t)sent < join_held.len ? (size_t)sent : join_held.len;
        join_forget(of_held);
        if ((size_t)sent > of_held)
            return sent - (ssize_t)of_held;
    }
    return len > 0 ? sendto(fd, buf, len, flags, NULL, 0) : 0;
}

void send_join_flush(void)
{
    while (join_held.len > 0 && join_send_both(join_held.fd, NULL, 0, MSG_NOSIGNAL) < 0)
    {
        if (errno != EINTR)
            join_held.len = 0; /* the client is gone: whoever reads or sends next is told */
    }
}

ssize_t send_join(int fd, const void *buf, size_t len, int flags)
{
    if (join_held.len > 0 && join_held.fd != fd)
        send_join_flush();
    if (!(flags & MSG_MORE) || len > sizeof(join_held.bytes) - join_held.len)
        return join_send_both(fd, buf, len, flags);
    memcpy(join_held.bytes + join_held.len, buf, len);
    join_held.len += len;
    join_held.fd = fd;
    return (ssize_t)len;
}
