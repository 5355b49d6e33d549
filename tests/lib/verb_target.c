/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A target (server/target.h) for tests: the lines of pool_verbs.h on the management socket.
 *
 * Linked into the plugin in place of the real one, it lets a test change LUNs that clients have
 * open, with no more between the two than lun.h. A connection is one line; its answer is the
 * result, a blank and the text. One connection at a time.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "lun/base/cleanup.h"
#include "server/target.h"
#include "tests/lib/pool_verbs.h"

struct target
{
    struct pool *pool;
    int listen_fd;
    pthread_t thread;
};

static void verb_target_serve(struct pool *pool, int fd)
{
    char line[POOL_VERB_TEXT_BYTES];
    ssize_t len = recv(fd, line, sizeof(line) - 1, MSG_WAITALL);
    if (len <= 0)
        return;
    line[len] = '\0';
    char text[POOL_VERB_TEXT_BYTES];
    int r = pool_verb(pool, line, text);
    char answer[POOL_VERB_TEXT_BYTES + 16];
    int answer_len = snprintf(answer, sizeof(answer), "%d %s", r, text);
    ignore_error((int)send(fd, answer, (size_t)answer_len, MSG_NOSIGNAL),
                 "the test sees no answer");
}

/* Ends when target_stop() shuts the listening socket. */
static void *verb_target_run(void *opaque)
{
    struct target *target = opaque;
    for (;;)
    {
        AUTO_CLOSE int fd = accept4(target->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0 && errno != EINTR)
            return NULL;
        if (fd >= 0)
            verb_target_serve(target->pool, fd);
    }
}

static int verb_target_listen(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    unlink(path);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 8) < 0)
        return -errno;
    return take_fd(&fd);
}

int target_start(struct pool *pool, const struct target_options *options, struct target **target,
                 struct reason *why)
{
    if (!options->mgmt_socket)
        return 0;
    AUTO_FREE struct target *started = calloc(1, sizeof(*started));
    if (!started)
        return -ENOMEM;
    started->pool = pool;
    started->listen_fd = verb_target_listen(options->mgmt_socket);
    if (started->listen_fd < 0)
        return reason_set(why, started->listen_fd, "cannot listen on %s", options->mgmt_socket);
    int r = pthread_create(&started->thread, NULL, verb_target_run, started);
    if (r != 0)
    {
        close(started->listen_fd);
        return -r;
    }
    *target = take_ptr(&started);
    return 0;
}

struct qos *target_qos(struct target *target)
{
    (void)target;
    return NULL;
}

void target_stop(struct target *target)
{
    if (!target)
        return;
    shutdown(target->listen_fd, SHUT_RDWR);
    pthread_join(target->thread, NULL);
    close(target->listen_fd);
    free(target);
}

int target_check_nbd(struct target *target, uint64_t lun_id, bool write, struct reason *why)
{
    (void)target, (void)lun_id, (void)write, (void)why; /* no iSCSI, so no reservations */
    return 0;
}
