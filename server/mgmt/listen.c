/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A listening Unix socket at a path.
 *
 * The socket is bound under another name and renamed to its own, so nobody can connect before the
 * permissions are right, and a path never vanishes in between.
 */
#include "server/mgmt/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "lun/base/cleanup.h"

enum
{
    LISTEN_BACKLOG = 256
};

static int mgmt_address(const char *path, struct sockaddr_un *address, struct reason *why)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len == 0 || len + sizeof(".new") > sizeof(address->sun_path))
        return reason_set(why, -EINVAL,
                          "the socket path \"%s\" has %zu bytes; 1 to %zu are possible", path, len,
                          sizeof(address->sun_path) - sizeof(".new"));
    memcpy(address->sun_path, path, len + 1);
    return 0;
}

/* Whether @path is the file that @fd is open on. */
static bool mgmt_is_same_file(const char *path, int fd)
{
    struct stat there, here;
    return stat(path, &there) == 0 && fstat(fd, &here) == 0 && there.st_dev == here.st_dev &&
           there.st_ino == here.st_ino;
}

/* Takes PATH.lock. The one who had it may have removed it since it was opened: then once more. */
static int mgmt_lock_path(const char *path, int *lock_fd, struct reason *why)
{
    char lock_path[sizeof(((struct sockaddr_un *)0)->sun_path) + sizeof(".lock")];
    snprintf(lock_path, sizeof(lock_path), "%s.lock", path);
    for (;;)
    {
        AUTO_CLOSE int fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
        {
            int r = -errno;
            return reason_set(why, r, "cannot make %s: %s", lock_path, strerror(-r));
        }
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
            return reason_set(why, -EBUSY, "another server has the management socket %s", path);
        if (!mgmt_is_same_file(lock_path, fd))
            continue;
        *lock_fd = take_fd(&fd);
        return 0;
    }
}

static void mgmt_unlock_path(const char *path, int lock_fd)
{
    char lock_path[sizeof(((struct sockaddr_un *)0)->sun_path) + sizeof(".lock")];
    snprintf(lock_path, sizeof(lock_path), "%s.lock", path);
    if (mgmt_is_same_file(lock_path, lock_fd))
        unlink(lock_path);
    close(lock_fd);
}

/* Whether @path is free to be replaced: nothing there, or a socket that nobody listens on. */
static int mgmt_check_path(const struct sockaddr_un *address, struct reason *why)
{
    struct stat stat;
    if (lstat(address->sun_path, &stat) < 0)
        return 0;
    if (!S_ISSOCK(stat.st_mode))
        return reason_set(why, -EEXIST, "%s exists and is not a socket; it is left alone",
                          address->sun_path);
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 &&
        errno == ECONNREFUSED)
        return 0;
    return reason_set(why, -EBUSY, "a live server listens on %s", address->sun_path);
}

static int mgmt_bind(const struct sockaddr_un *address, unsigned mode, int *fd, struct reason *why)
{
    struct sockaddr_un fresh = *address;
    strncat(fresh.sun_path, ".new", sizeof(fresh.sun_path) - strlen(fresh.sun_path) - 1);
    unlink(fresh.sun_path); /* left by one that died here; we have the lock */
    AUTO_CLOSE int bound = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (bound < 0 || bind(bound, (struct sockaddr *)&fresh, sizeof(fresh)) < 0)
    {
        int r = -errno;
        return reason_set(why, r, "cannot make the socket %s: %s", address->sun_path, strerror(-r));
    }
    if (chmod(fresh.sun_path, mode) < 0 || listen(bound, LISTEN_BACKLOG) < 0 ||
        rename(fresh.sun_path, address->sun_path) < 0)
    {
        int r = -errno;
        unlink(fresh.sun_path);
        return reason_set(why, r, "cannot make the socket %s: %s", address->sun_path, strerror(-r));
    }
    *fd = take_fd(&bound);
    return 0;
}

int mgmt_listen(const char *path, unsigned mode, struct mgmt_listener *listener, struct reason *why)
{
    struct sockaddr_un address;
    int lock_fd = -1, fd = -1;
    int r = mgmt_address(path, &address, why);
    if (r < 0)
        return r;
    AUTO_FREE char *copy = strdup(path);
    if (!copy)
        return reason_set(why, -ENOMEM, "no memory");
    r = mgmt_lock_path(path, &lock_fd, why);
    if (r < 0)
        return r;
    r = mgmt_check_path(&address, why);
    if (r == 0)
        r = mgmt_bind(&address, mode, &fd, why);
    if (r < 0)
    {
        mgmt_unlock_path(path, lock_fd);
        return r;
    }
    *listener = (struct mgmt_listener){.fd = fd, .lock_fd = lock_fd, .path = take_ptr(&copy)};
    return 0;
}

void mgmt_unlisten(struct mgmt_listener *listener)
{
    if (listener->fd < 0)
        return;
    close(listener->fd);
    unlink(listener->path);
    mgmt_unlock_path(listener->path, listener->lock_fd);
    free(listener->path);
    *listener = MGMT_LISTENER_NONE;
}
