/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ends idle clients when nbdkit is told to stop.
 *
 * nbdkit tells a plugin neither that it was asked to stop nor its clients' sockets. So its signal
 * handlers are wrapped, and the sockets are found as what they are: connected sockets of this
 * process whose local address is one that nbdkit listens on. (nbdkit_nanosleep() would tell of the
 * stop too, but logs an error each time.)
 */
#include "plugin/shutdown.h"

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "lun/base/checked.h"
#include "lun/base/lock.h"

enum
{
    SHUTDOWN_LISTENERS_MAX = 64,
    SHUTDOWN_ROUND_MS = 100,
    SHUTDOWN_PATIENT_ROUNDS = 50, /* until clients that do not read their answers are cut off */
};

struct shutdown_address
{
    union
    {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
        struct sockaddr_storage storage;
    } u;
    socklen_t len;
};

/* Written before the thread starts, constant then. */
static struct shutdown_address shutdown_listeners[SHUTDOWN_LISTENERS_MAX];
static size_t shutdown_listener_count;
static pthread_t shutdown_thread;
static bool shutdown_is_started;

static int shutdown_wake_fd = -1;
static atomic_bool shutdown_told; /* set by the handler, before anything else is done */
static struct shutdown_signal
{
    int number;
    bool is_taken;
    struct sigaction nbdkits;
} shutdown_signals[] = {
    {.number = SIGINT}, {.number = SIGQUIT}, {.number = SIGTERM}, {.number = SIGHUP}};

static struct lock shutdown_lock;
static struct condition shutdown_condition;
static bool shutdown_is_over; /* under shutdown_lock: no client is left */

/* ---- sockets ------------------------------------------------------------------------------- */

/* The local address of @fd and whether it listens; false if @fd is no stream socket. */
static bool shutdown_inspect(int fd, struct shutdown_address *address, bool *is_listening)
{
    int listening = 0;
    socklen_t len = sizeof(listening);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0)
        return false;
    *address = (struct shutdown_address){.len = sizeof(address->u)};
    *is_listening = listening != 0;
    return getsockname(fd, &address->u.any, &address->len) == 0;
}

/* Whether a socket with the local address @a was accepted from the listener @b. */
static bool shutdown_same_address(const struct shutdown_address *a,
                                  const struct shutdown_address *b)
{
    if (a->u.any.sa_family != b->u.any.sa_family)
        return false;
    switch (a->u.any.sa_family)
    {
    case AF_INET: /* the listener's may be the wildcard address */
        return a->u.in.sin_port == b->u.in.sin_port;
    case AF_INET6:
        return a->u.in6.sin6_port == b->u.in6.sin6_port;
    default:
        return a->len == b->len && memcmp(&a->u, &b->u, a->len) == 0;
    }
}

typedef void shutdown_each_fn(int fd, const struct shutdown_address *address, bool is_listening,
                              int how);

/* Calls @each for every stream socket of the process. */
static int shutdown_each_socket(shutdown_each_fn *each, int how)
{
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return -errno;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
    {
        char *end = NULL;
        long fd = strtol(entry->d_name, &end, 10);
        struct shutdown_address address;
        bool is_listening = false;
        if (end != entry->d_name && *end == '\0' &&
            shutdown_inspect((int)fd, &address, &is_listening))
            each((int)fd, &address, is_listening, how);
    }
    closedir(dir);
    return 0;
}

static void shutdown_note_listener(int fd, const struct shutdown_address *address,
                                   bool is_listening, int how)
{
    (void)fd;
    (void)how;
    if (is_listening && shutdown_listener_count < SHUTDOWN_LISTENERS_MAX)
        shutdown_listeners[shutdown_listener_count++] = *address;
}

static void shutdown_end_client(int fd, const struct shutdown_address *address, bool is_listening,
                                int how)
{
    if (is_listening)
        return;
    for (size_t i = 0; i < shutdown_listener_count; i++)
        if (shutdown_same_address(address, &shutdown_listeners[i]))
        {
            ignore_error(shutdown(fd, how), "the client may have hung up meanwhile");
            return;
        }
}

/* ---- being told ---------------------------------------------------------------------------- */

/* Runs as a signal handler: wakes the thread, then does what nbdkit does. */
static void shutdown_on_signal(int number)
{
    int saved_errno = errno;
    atomic_store_explicit(&shutdown_told, true, memory_order_relaxed);
    ignore_error(eventfd_write(shutdown_wake_fd, 1), "it is full when the thread was woken before");
    errno = saved_errno;
    for (size_t i = 0; i < ARRAY_SIZE(shutdown_signals); i++)
        if (shutdown_signals[i].number == number)
            shutdown_signals[i].nbdkits.sa_handler(number);
}

bool shutdown_is_told(void)
{
    return atomic_load_explicit(&shutdown_told, memory_order_relaxed);
}

/* nbdkit's handlers are in place before .after_fork; what it ignores or leaves alone stays so. */
static void shutdown_take_signals(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(shutdown_signals); i++)
    {
        struct shutdown_signal *signal = &shutdown_signals[i];
        signal->is_taken = sigaction(signal->number, NULL, &signal->nbdkits) == 0 &&
                           signal->nbdkits.sa_handler != SIG_DFL &&
                           signal->nbdkits.sa_handler != SIG_IGN &&
                           !(signal->nbdkits.sa_flags & SA_SIGINFO);
        struct sigaction own = signal->nbdkits;
        own.sa_handler = shutdown_on_signal;
        if (signal->is_taken && sigaction(signal->number, &own, NULL) < 0)
            signal->is_taken = false;
    }
}

static void shutdown_give_signals_back(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(shutdown_signals); i++)
        if (shutdown_signals[i].is_taken)
            ignore_error(sigaction(shutdown_signals[i].number, &shutdown_signals[i].nbdkits, NULL),
                         "it worked the other way round");
}

/* ---- the thread ---------------------------------------------------------------------------- */

static bool shutdown_over(void)
{
    AUTO_LOCK(&shutdown_lock);
    return shutdown_is_over;
}

/*
 * Every round looks again: a client may just have been accepted. A socket can be closed, and its
 * number used anew, between the look and the shutdown; by then nbdkit accepts no more, and the
 * others in the process only lose a connection that the stop would end anyway.
 */
static void *shutdown_run(void *unused)
{
    (void)unused;
    eventfd_t count;
    while (eventfd_read(shutdown_wake_fd, &count) < 0 && errno == EINTR)
    {
    }
    for (unsigned round = 0; !shutdown_over(); round++)
    {
        ignore_error(shutdown_each_socket(shutdown_end_client,
                                          round < SHUTDOWN_PATIENT_ROUNDS ? SHUT_RD : SHUT_RDWR),
                     "without /proc nbdkit waits for its clients");
        AUTO_LOCK(&shutdown_lock);
        if (!shutdown_is_over)
            condition_wait_ms(&shutdown_condition, &shutdown_lock, SHUTDOWN_ROUND_MS);
    }
    return NULL;
}

int shutdown_watch_start(void)
{
    int r = shutdown_each_socket(shutdown_note_listener, 0);
    if (r < 0)
        return r;
    shutdown_wake_fd = eventfd(0, EFD_CLOEXEC);
    if (shutdown_wake_fd < 0)
        return -errno;
    lock_init(&shutdown_lock, LOCK_RANK_LEAF);
    condition_init(&shutdown_condition);
    shutdown_is_over = false;
    r = pthread_create(&shutdown_thread, NULL, shutdown_run, NULL);
    shutdown_is_started = r == 0;
    if (shutdown_is_started)
        shutdown_take_signals();
    return -r;
}

void shutdown_watch_stop(void)
{
    if (!shutdown_is_started)
        return;
    shutdown_give_signals_back();
    lock_take(&shutdown_lock);
    shutdown_is_over = true;
    condition_wake_all(&shutdown_condition);
    lock_release(&shutdown_lock);
    ignore_error(eventfd_write(shutdown_wake_fd, 1), "it is full when the thread was woken before");
    pthread_join(shutdown_thread, NULL);
    shutdown_is_started = false;
    /* The event stays open: a handler may be running in a thread of nbdkit's right now. */
    condition_destroy(&shutdown_condition);
    lock_destroy(&shutdown_lock);
}
