/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keeps nbdkit alive when a client goes away in the middle of things. Preloaded into it by `lunette
 * serve`; a library of its own, as a plugin comes too late to stand before libc.
 *
 * nbdkit 1.32.4 to 1.33.10, and so Debian 12's, has this fault (mended by its commit 9d82aa4f,
 * "server: Don't assert on send if client hangs up early"): the first worker that fails to send, or
 * to read a request, gives up the connection's socket, and workers that were about to send then
 * fail the assertion `sock >= 0' in raw_send_socket(), which ends the server for everybody. So, for
 * the sockets of nbdkit itself:
 *
 * - A failing send() is said to have succeeded, and the connection is shut down. No worker gives up
 *   the socket then; the reader finds the end of the stream, and the connection ends in good order.
 *   Nothing can be lost by it, as nothing is sent after what was not.
 * - shutdown() comes when a reader gives up, over a wrong request for example. It returns, and so
 *   lets the socket be given up, only when no worker has been sending for a while.
 *
 * Over TLS nbdkit does not have the fault. A newer nbdkit (it has nbdkit_disconnect()) is not
 * guarded.
 */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "plugin/hangup_guard.h"
#include "plugin/hangup_guard_internal.h"

enum
{
    GUARD_ROUND_MS = 50,
    GUARD_QUIET_ROUNDS = 4,
    GUARD_ROUNDS_MAX = 200, /* 10 s */
    GUARD_SLOTS = 4096,     /* descriptors that are alike in this are counted together */
};

/* Where nbdkit's own code lies. Constant after the start, as is the next. */
static uintptr_t guard_from, guard_to;
static bool guard_is_needed;
static int (*guard_close)(int fd);

/* How many sends have begun, by descriptor. */
static atomic_uint guard_sends[GUARD_SLOTS];

GUARD_EXPORT bool lunette_hangup_guard_is_active(void)
{
    return guard_is_needed;
}

static atomic_uint *guard_sends_of(int fd)
{
    return &guard_sends[(unsigned)fd % GUARD_SLOTS];
}

bool guard_is_nbdkits(const void *caller)
{
    return (uintptr_t)caller >= guard_from && (uintptr_t)caller < guard_to;
}

/* The first object is the program itself. */
static int guard_note_program(struct dl_phdr_info *info, size_t size, void *opaque)
{
    (void)size, (void)opaque;
    guard_from = UINTPTR_MAX;
    for (unsigned i = 0; i < info->dlpi_phnum; i++)
    {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type != PT_LOAD || !(header->p_flags & PF_X))
            continue;
        uintptr_t start = (uintptr_t)(info->dlpi_addr + header->p_vaddr);
        uintptr_t end = start + header->p_memsz;
        guard_from = start < guard_from ? start : guard_from;
        guard_to = end > guard_to ? end : guard_to;
    }
    return 1;
}

/* Programs that nbdkit starts are not to have it. Others may be preloaded too. */
static void guard_leave_environment(void)
{
    const char *list = getenv("LD_PRELOAD");
    const char *own = list ? strstr(list, HANGUP_GUARD_FILE) : NULL;
    if (!own)
        return;
    const char *start = own;
    while (start > list && !strchr(": ", start[-1]))
        start--;
    const char *end = own + strlen(HANGUP_GUARD_FILE);
    end += *end != '\0';
    char *rest = malloc(strlen(list) + 1);
    if (!rest)
        return;
    memcpy(rest, list, (size_t)(start - list));
    memcpy(rest + (start - list), end, strlen(end) + 1);
    if (*rest)
        setenv("LD_PRELOAD", rest, 1);
    else
        unsetenv("LD_PRELOAD");
    free(rest);
}

__attribute__((constructor)) static void guard_begin(void)
{
    guard_leave_environment();
    dl_iterate_phdr(guard_note_program, NULL);
    guard_is_needed = !dlsym(RTLD_DEFAULT, "nbdkit_disconnect");
    guard_close = (int (*)(int))(uintptr_t)dlsym(RTLD_NEXT, "close");
}

int guard_next_close(int fd)
{
    return guard_close ? guard_close(fd) : (int)syscall(SYS_close, fd);
}

GUARD_EXPORT ssize_t send(int fd, const void *buf, size_t len, int flags)
{
    bool is_nbdkits = guard_is_nbdkits(__builtin_return_address(0));
    bool is_guarded = guard_is_needed && is_nbdkits;
    if (is_nbdkits)
        handshake_note_fd(fd);
    if (is_nbdkits && !(flags & MSG_MORE))
        read_poll_note_reply(fd);
    if (is_guarded)
        atomic_fetch_add(guard_sends_of(fd), 1);
    ssize_t sent =
        is_nbdkits ? send_join(fd, buf, len, flags) : sendto(fd, buf, len, flags, NULL, 0);
    if (sent >= 0 || !is_guarded || errno == EINTR || errno == EAGAIN)
        return sent;
    syscall(SYS_shutdown, fd, SHUT_RDWR);
    return (ssize_t)len;
}

GUARD_EXPORT int shutdown(int fd, int how)
{
    send_join_flush();
    int r = (int)syscall(SYS_shutdown, fd, how);
    if (how != SHUT_WR || !guard_is_needed || !guard_is_nbdkits(__builtin_return_address(0)))
        return r;
    /* Those who wait in send() have failed by now; those behind them have their turns. */
    const struct timespec round = {.tv_nsec = GUARD_ROUND_MS * 1000000L};
    unsigned last = atomic_load(guard_sends_of(fd));
    for (int i = 0, quiet = 0; i < GUARD_ROUNDS_MAX && quiet < GUARD_QUIET_ROUNDS; i++)
    {
        nanosleep(&round, NULL);
        unsigned now = atomic_load(guard_sends_of(fd));
        quiet = now == last ? quiet + 1 : 0;
        last = now;
    }
    return r;
}
