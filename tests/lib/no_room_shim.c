/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Preloaded: threads and descriptors cannot be had. LUNETTE_NO_ROOM names the call that fails and,
 * behind a colon, which of them, counted from 0 in each process: "pthread_create:3". Without a
 * number: all while the file LUNETTE_NO_ROOM_WHILE is there. What has failed is added to the file
 * LUNETTE_NO_ROOM_TOLD.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Atomic long asked;

static bool room_fails(const char *call)
{
    const char *named = getenv("LUNETTE_NO_ROOM"), *told = getenv("LUNETTE_NO_ROOM_TOLD");
    const char *flag = getenv("LUNETTE_NO_ROOM_WHILE");
    size_t len = strlen(call);
    if (!named || !told || strncmp(named, call, len) != 0 || (named[len] && named[len] != ':'))
        return false;
    if (named[len] ? asked++ != strtol(named + len + 1, NULL, 10)
                   : !flag || access(flag, F_OK) != 0)
        return false;
    int fd =
        (int)syscall(SYS_openat, AT_FDCWD, told, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0 && write(fd, "failed\n", 7) == 7)
        close(fd);
    return true;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
                   void *opaque)
{
    return room_fails("pthread_create") ? EAGAIN : REAL(pthread_create)(thread, attr, run, opaque);
}

int socket(int domain, int type, int protocol)
{
    return room_fails("socket") ? (errno = EMFILE, -1) : REAL(socket)(domain, type, protocol);
}

int epoll_create1(int flags)
{
    return room_fails("epoll_create1") ? (errno = EMFILE, -1) : REAL(epoll_create1)(flags);
}

int eventfd(unsigned count, int flags)
{
    return room_fails("eventfd") ? (errno = EMFILE, -1) : REAL(eventfd)(count, flags);
}
