/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * NBD clients that do not end their negotiation are hung up on. Preloaded with hangup_guard.c, as
 * nbdkit has no deadline for it, and no plugin sees the socket.
 *
 * A connection has its deadline from nbdkit's accept4() until the plugin is told of the export
 * that it asks for (lunette_handshake_is_over(), from the thread that negotiates), or nbdkit closes
 * it. Who only asked about the export (NBD_OPT_INFO) goes on negotiating when the plugin is told to
 * close it again: he has his deadline back (lunette_handshake_goes_on()). So has who is at his end,
 * which looks the same, unless nbdkit has closed his socket before: the descriptor may be somebody
 * else's by then, so close() leaves the thread nothing to give back. A thread shuts down what is
 * late: nbdkit reads an end then, over TLS too, and ends the connection in good order.
 *
 * Always true: only a descriptor that nbdkit has accepted and has not closed is shut down. Its
 * entry is taken (HANDSHAKE_LATE) before that, and nbdkit's close() waits while it is.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
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
    HANDSHAKE_FDS = 65536, /* those above have no deadline */
    HANDSHAKE_LATE = 1,    /* instead of a deadline: it is being shut down */
    HANDSHAKE_LOOK_MS = 250,
    HANDSHAKE_GRACE_MS = 2000, /* once, for who has his deadline back when it is over */
};

/* By descriptor, in ms of the monotonic clock; 0: none. */
static atomic_ullong handshake_ends_ms[HANDSHAKE_FDS];
static atomic_int handshake_fd_max = -1;
static atomic_ulong handshake_limit_ms; /* 0: no deadlines */
static atomic_ulong handshake_late;     /* so many were hung up on */
static atomic_flag handshake_has_thread = ATOMIC_FLAG_INIT;

/* What this thread of nbdkit's serves. */
static _Thread_local int handshake_fd = -1;
/* While that has an export open: the deadline that it had. 0: none. */
static _Thread_local uint64_t handshake_before_ms;
static _Thread_local bool handshake_had_grace;

static uint64_t handshake_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void handshake_look_at(int fd, uint64_t now_ms)
{
    unsigned long long end_ms = atomic_load(&handshake_ends_ms[fd]);
    if (end_ms <= HANDSHAKE_LATE || end_ms > now_ms ||
        !atomic_compare_exchange_strong(&handshake_ends_ms[fd], &end_ms, HANDSHAKE_LATE))
        return;
    syscall(SYS_shutdown, fd, SHUT_RDWR);
    atomic_fetch_add(&handshake_late, 1);
    atomic_store(&handshake_ends_ms[fd], 0);
}

static void *handshake_watch(void *opaque)
{
    const struct timespec pause = {.tv_nsec = HANDSHAKE_LOOK_MS * 1000000L};
    for (;;)
    {
        uint64_t now_ms = handshake_now_ms();
        for (int fd = 0; fd <= atomic_load(&handshake_fd_max); fd++)
            handshake_look_at(fd, now_ms);
        nanosleep(&pause, NULL);
    }
    return opaque;
}

/* At the first connection, so that no fork comes after it. Signals are nbdkit's. */
static void handshake_start_thread(void)
{
    pthread_t thread;
    sigset_t all, before;
    if (atomic_flag_test_and_set(&handshake_has_thread))
        return;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&thread, NULL, handshake_watch, NULL) == 0)
        pthread_detach(thread);
    else
        atomic_flag_clear(&handshake_has_thread); /* the next one tries again */
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void handshake_begin(int fd)
{
    uint64_t limit_ms = atomic_load(&handshake_limit_ms);
    if (limit_ms == 0 || fd >= HANDSHAKE_FDS)
        return;
    int max = atomic_load(&handshake_fd_max);
    while (fd > max && !atomic_compare_exchange_weak(&handshake_fd_max, &max, fd))
        continue;
    atomic_store(&handshake_ends_ms[fd], handshake_now_ms() + limit_ms);
    handshake_start_thread();
}

/* Afterwards nobody shuts it down. The deadline that it had; 0: none. */
static uint64_t handshake_end(int fd)
{
    if (fd < 0 || fd >= HANDSHAKE_FDS)
        return 0;
    unsigned long long end_ms = atomic_load(&handshake_ends_ms[fd]);
    while (end_ms != 0)
    {
        if (end_ms == HANDSHAKE_LATE)
        {
            sched_yield();
            end_ms = atomic_load(&handshake_ends_ms[fd]);
            continue;
        }
        if (atomic_compare_exchange_weak(&handshake_ends_ms[fd], &end_ms, 0))
            return end_ms;
    }
    return 0;
}

void handshake_note_fd(int fd)
{
    handshake_fd = fd;
}

GUARD_EXPORT void lunette_handshake_set_limit(unsigned long limit_ms)
{
    atomic_store(&handshake_limit_ms, limit_ms);
}

GUARD_EXPORT void lunette_handshake_is_over(void)
{
    handshake_before_ms = handshake_end(handshake_fd);
}

/* The grace is for the farewell of TLS of who has been connected for long. */
GUARD_EXPORT void lunette_handshake_goes_on(void)
{
    uint64_t end_ms = handshake_before_ms, now_ms = handshake_now_ms();
    if (end_ms == 0)
        return;
    if (end_ms < now_ms + HANDSHAKE_GRACE_MS && !handshake_had_grace)
    {
        handshake_had_grace = true;
        end_ms = now_ms + HANDSHAKE_GRACE_MS;
    }
    handshake_before_ms = 0;
    atomic_store(&handshake_ends_ms[handshake_fd], end_ms);
}

/* This thread serves it no more. */
static void handshake_forget(int fd)
{
    if (fd != handshake_fd)
        return;
    handshake_fd = -1;
    handshake_before_ms = 0;
}

GUARD_EXPORT int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
    int accepted = (int)syscall(SYS_accept4, fd, address, len, flags);
    if (accepted >= 0 && guard_is_nbdkits(__builtin_return_address(0)))
    {
        read_ahead_end(accepted); /* of one that was not closed by nbdkit itself */
        read_poll_end(accepted);
        handshake_begin(accepted);
    }
    return accepted;
}

GUARD_EXPORT int close(int fd)
{
    if (guard_is_nbdkits(__builtin_return_address(0)))
    {
        send_join_flush();
        read_ahead_end(fd);
        read_poll_end(fd);
        handshake_end(fd);
        handshake_forget(fd);
    }
    return guard_next_close(fd);
}
