/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A worker of nbdkit that waits for the next request stays awake for a moment if the last ones came
 * that soon. Preloaded with hangup_guard.c, and like it only for the reads of nbdkit itself.
 *
 * To sleep and to be woken takes longer than a request of 4 KiB does: a client that asks for one
 * thing after another gets half as many again. It is the rule that server/net/loop.c has for iSCSI.
 * No more threads stay awake than half the processors, so that there is one left for the work that
 * they wait for. On one processor none does.
 */
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "plugin/hangup_guard.h"
#include "plugin/hangup_guard_internal.h"

enum
{
    READ_POLL_NS = 40000,
    READ_POLL_SLOTS = 4096, /* descriptors that are alike in this are one here */
};

/* By descriptor: the last wait was shorter than READ_POLL_NS. A wrong guess costs one such time. */
static atomic_bool read_was_soon[READ_POLL_SLOTS];

static atomic_int read_pollers;
static atomic_int read_pollers_max; /* 0: not known yet */
static atomic_ulong read_poll_hits;

GUARD_EXPORT unsigned long lunette_read_poll_hits(void)
{
    return atomic_load(&read_poll_hits);
}

/* -1: none may. */
static int read_poll_max(void)
{
    int max = atomic_load_explicit(&read_pollers_max, memory_order_relaxed);
    if (max != 0)
        return max;
    cpu_set_t cpus;
    int count = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    max = count > 1 ? count / 2 : -1;
    atomic_store(&read_pollers_max, max);
    return max;
}

static uint64_t read_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static bool read_would_wait(ssize_t r)
{
    return r < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

static ssize_t read_now(int fd, void *buf, size_t len)
{
    return recvfrom(fd, buf, len, MSG_DONTWAIT, NULL, NULL);
}

/* As read_now(), for READ_POLL_NS from @begun_ns at most. */
static ssize_t read_poll(int fd, void *buf, size_t len, uint64_t begun_ns)
{
    ssize_t r = -1;
    errno = EAGAIN;
    if (atomic_fetch_add(&read_pollers, 1) < read_poll_max())
    {
        do
            r = read_now(fd, buf, len);
        while (read_would_wait(r) && read_clock_ns() - begun_ns < READ_POLL_NS);
        if (!read_would_wait(r))
            atomic_fetch_add_explicit(&read_poll_hits, 1, memory_order_relaxed);
    }
    int error = errno;
    atomic_fetch_sub(&read_pollers, 1);
    errno = error;
    return r;
}

GUARD_EXPORT ssize_t read(int fd, void *buf, size_t len)
{
    if (fd < 0 || !guard_is_nbdkits(__builtin_return_address(0)))
        return syscall(SYS_read, fd, buf, len);
    ssize_t r = read_now(fd, buf, len);
    if (r < 0 && errno == ENOTSOCK)
        return syscall(SYS_read, fd, buf, len);
    if (!read_would_wait(r))
        return r;
    atomic_bool *was_soon = &read_was_soon[(unsigned)fd % READ_POLL_SLOTS];
    uint64_t begun_ns = read_clock_ns();
    if (atomic_load_explicit(was_soon, memory_order_relaxed))
        r = read_poll(fd, buf, len, begun_ns);
    if (read_would_wait(r))
        r = syscall(SYS_read, fd, buf, len);
    int error = errno;
    atomic_store_explicit(was_soon, read_clock_ns() - begun_ns < READ_POLL_NS,
                          memory_order_relaxed);
    errno = error;
    return r;
}
