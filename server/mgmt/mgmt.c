/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The management thread and its connections.
 *
 * Always true:
 *  - a connection is in mgmt->connections from before its thread starts until the thread is done
 *    with mgmt, and mgmt_stop() returns only when there is none;
 *  - mgmt->lock is never held while a verb runs or a socket is read or written;
 *  - a verb sees only arguments that its row in verbs.c allows, and a client without the right to
 *    change things reaches no handler that changes any.
 */
#include "server/mgmt/mgmt.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "lun/base/checked.h"
#include "lun/base/list.h"
#include "lun/base/lock.h"
#include "lun/base/log.h"
#include "server/mgmt/listen.h"
#include "server/mgmt/proto.h"
#include "server/mgmt/verbs.h"
#include "server/units.h"

enum
{
    MGMT_CONNECTIONS = 256,
    MGMT_REQUEST_MS = 60000,
    MGMT_REPLY_MS = 30000,
    MGMT_REFUSE_MS = 100, /* for a client that is turned away: the accepting thread waits */
    MGMT_STACK_BYTES = 2 << 20,
};

struct mgmt
{
    struct target *target; /* immutable, as all up to lock */
    struct mgmt_limits limits;
    struct mgmt_listener listener;
    int stop_fd; /* readable once mgmt_stop() has begun */
    bool has_group;
    gid_t group;
    pthread_t thread;

    struct lock lock;
    struct condition none_left;
    struct list connections; /* under lock, as all below */
    size_t connection_count;
    size_t looker_count;
};

struct mgmt_connection
{
    struct mgmt *mgmt;
    struct list node; /* under mgmt->lock */
    int fd;
    struct verb_peer peer;
    struct proto_stream stream;
    json_t *id; /* of the request being served, borrowed; NULL: null */
};

/* ---- who is it? ---------------------------------------------------------------------------- */

static bool mgmt_peer_in_group(int fd, gid_t gid, gid_t group)
{
    if (gid == group)
        return true;
    gid_t groups[256];
    socklen_t len = sizeof(groups);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
        return false; /* more groups than that: then the primary one has to do */
    for (size_t i = 0; i < len / sizeof(*groups); i++)
        if (groups[i] == group)
            return true;
    return false;
}

static int mgmt_identify(const struct mgmt *mgmt, int fd, struct verb_peer *peer)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
        return -errno;
    *peer = (struct verb_peer){.uid = cred.uid, .gid = cred.gid, .pid = cred.pid};
    peer->may_change = cred.uid == 0 || cred.uid == geteuid() ||
                       (mgmt->has_group && mgmt_peer_in_group(fd, cred.gid, mgmt->group));
    return 0;
}

static int mgmt_find_group(struct mgmt *mgmt, const char *name, struct reason *why)
{
    if (!name)
        return 0;
    uint64_t number;
    const struct group *group = getgrnam(name);
    if (group)
        mgmt->group = group->gr_gid;
    else if (units_parse_number(name, 0, UINT32_MAX - 1, &number, NULL) == 0)
        mgmt->group = (gid_t)number;
    else
        return reason_set(why, -EINVAL, "there is no group '%s' for management: groupadd %s", name,
                          name);
    mgmt->has_group = true;
    return 0;
}

/* ---- one request --------------------------------------------------------------------------- */

static int mgmt_send(struct mgmt_connection *connection, const char *key, json_t *value)
{
    AUTO_JSON json_t *message = json_object();
    json_t *id = connection->id ? json_incref(connection->id) : json_null();
    int r = json_object_set_new(message, "id", id);
    if (strcmp(key, "progress") != 0)
        r |= json_object_set_new(message, "ok", json_boolean(strcmp(key, "result") == 0));
    r |= json_object_set_new(message, key, value);
    if (r != 0)
        return -ENOMEM;
    return proto_write(&connection->stream, message, connection->mgmt->limits.reply_ms);
}

/* What can be said without memory: whether it is done. */
static int mgmt_send_short(struct mgmt_connection *connection, bool is_ok, int err)
{
    char text[256], id[32] = "null";
    if (json_is_integer(connection->id))
        snprintf(id, sizeof(id), "%" JSON_INTEGER_FORMAT, json_integer_value(connection->id));
    if (is_ok)
        snprintf(text, sizeof(text), "{\"id\":%s,\"ok\":true,\"result\":{}}\n", id);
    else
        snprintf(text, sizeof(text),
                 "{\"id\":%s,\"ok\":false,\"error\":{\"errno\":\"%s\",\"text\":\"the server has no "
                 "memory for this\"}}\n",
                 id, proto_error_name(err));
    return proto_write_text(&connection->stream, text, connection->mgmt->limits.reply_ms);
}

static int mgmt_send_error(struct mgmt_connection *connection, int err, const char *text,
                           const char *hint)
{
    if (!*text)
        text = strerror(-err);
    json_t *error = json_pack("{s:s, s:s}", "errno", proto_error_name(err), "text", text);
    if (error && *hint)
        ignore_error(json_object_set_new(error, "hint", json_string(hint)),
                     "without memory the hint is left out");
    int r = error ? mgmt_send(connection, "error", error) : -ENOMEM;
    return r == -ENOMEM ? mgmt_send_short(connection, false, err) : r;
}

/* A verb's request and the connection behind it. */
struct mgmt_call
{
    struct verb_request request;
    struct mgmt_connection *connection;
};

static int mgmt_send_progress(struct verb_request *request, json_t *progress)
{
    struct mgmt_call *call = container_of(request, struct mgmt_call, request);
    return progress ? mgmt_send(call->connection, "progress", progress) : -ENOMEM;
}

static bool mgmt_is_cancelled(struct verb_request *request)
{
    struct mgmt_call *call = container_of(request, struct mgmt_call, request);
    struct pollfd fds[2] = {{.fd = call->connection->fd, .events = POLLRDHUP},
                            {.fd = call->connection->mgmt->stop_fd, .events = POLLIN}};
    return poll(fds, 2, 0) > 0 && (fds[1].revents || fds[0].revents & (POLLRDHUP | POLLHUP));
}

static int mgmt_call(struct mgmt_connection *connection, const struct verb *verb, json_t *args)
{
    struct mgmt *mgmt = connection->mgmt;
    struct mgmt_call call = {.connection = connection,
                             .request = {.target = mgmt->target,
                                         .pool = target_pool(mgmt->target),
                                         .peer = connection->peer,
                                         .args = args,
                                         .send_progress = mgmt_send_progress,
                                         .is_cancelled = mgmt_is_cancelled}};
    lock_take(&mgmt->lock);
    call.request.connections = mgmt->connection_count;
    lock_release(&mgmt->lock);
    int r = verb_run(verb, &call.request);
    AUTO_JSON json_t *result = call.request.result;
    if (r < 0)
    {
        char hint[512];
        verb_hint(verb, r, args, call.request.why.text, hint, sizeof(hint));
        return mgmt_send_error(connection, r, call.request.why.text, hint);
    }
    r = mgmt_send(connection, "result", take_ptr(&result));
    if (r == -ENOMEM)
        r = mgmt_send_short(connection, call.request.is_done, -ENOMEM);
    if (call.request.stop_server)
    {
        log_info("stopping: asked by uid %u, pid %d", connection->peer.uid, connection->peer.pid);
        kill(getpid(), SIGTERM);
    }
    return r;
}

/* Answers one parsed request. An error means that the connection is of no more use. */
static int mgmt_serve_request(struct mgmt_connection *connection, json_t *message)
{
    struct reason why = {.text = ""};
    connection->id = json_object_get(message, "id");
    const char *name = json_string_value(json_object_get(message, "verb"));
    const struct verb *verb = name ? verb_find(name) : NULL;
    if (!verb)
    {
        reason_set(&why, -EINVAL, name ? "the server knows no verb \"%.60s\"" : "no verb given",
                   name);
        return mgmt_send_error(connection, -EINVAL, why.text, "lunette help");
    }
    AUTO_JSON json_t *none = json_object();
    json_t *args = json_object_get(message, "args");
    int r = verb_check_args(verb, args ? args : none, &why);
    if (r < 0)
        return mgmt_send_error(connection, r, why.text, "");
    if (verb->access == VERB_CHANGES && !connection->peer.may_change)
    {
        const char *group = target_options_of(connection->mgmt->target)->management_group;
        reason_set(&why, -EPERM,
                   "user %u may look but not change: that is for root, the user of the server%s%s",
                   connection->peer.uid, group ? " and group " : "", group ? group : "");
        return mgmt_send_error(connection, -EPERM, why.text, "");
    }
    return mgmt_call(connection, verb, args ? args : none);
}

static int mgmt_serve_line(struct mgmt_connection *connection, const char *line, size_t len)
{
    AUTO_JSON json_t *message = NULL;
    struct reason why;
    connection->id = NULL;
    int r = proto_parse(line, len, PROTO_DEPTH_MAX, &message, &why);
    if (r < 0)
    {
        /* Where one line is no request, the next cannot be trusted to be one. */
        ignore_error(mgmt_send_error(connection, r, why.text, ""), "the connection ends anyway");
        return r;
    }
    r = mgmt_serve_request(connection, message);
    connection->id = NULL;
    return r;
}

/* ---- connections --------------------------------------------------------------------------- */

static void mgmt_serve(struct mgmt_connection *connection)
{
    int r = 0;
    while (r == 0)
    {
        char *line;
        size_t len;
        r = proto_read_line(&connection->stream, connection->mgmt->limits.request_ms, &line, &len);
        if (r == 0)
            r = mgmt_serve_line(connection, line, len);
        else if (r == -EMSGSIZE)
        {
            struct reason why;
            reason_set(&why, r, "the request is longer than %zu bytes", connection->stream.max);
            ignore_error(mgmt_send_error(connection, r, why.text, ""), "it ends anyway");
        }
    }
}

static void *mgmt_connection_thread(void *opaque)
{
    struct mgmt_connection *connection = opaque;
    struct mgmt *mgmt = connection->mgmt;
    mgmt_serve(connection);
    proto_stream_destroy(&connection->stream);
    close(connection->fd);

    AUTO_LOCK(&mgmt->lock);
    list_remove(&connection->node);
    mgmt->connection_count--;
    if (!connection->peer.may_change)
        mgmt->looker_count--;
    free(connection);
    if (mgmt->connection_count == 0)
        condition_wake_all(&mgmt->none_left);
    return NULL;
}

static int mgmt_start_thread(pthread_t *thread, bool detached, void *(*run)(void *), void *opaque)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, MGMT_STACK_BYTES);
    if (detached)
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    /* Signals are for the thread that the process handles them in. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = -pthread_create(thread, &attr, run, opaque);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return r;
}

/* Whether one more of its kind fits; counts it in if so. */
static bool mgmt_admit(struct mgmt *mgmt, struct mgmt_connection *connection)
{
    AUTO_LOCK(&mgmt->lock);
    bool looks = !connection->peer.may_change;
    if (mgmt->connection_count >= mgmt->limits.connections ||
        (looks && mgmt->looker_count >= mgmt->limits.looker_connections))
        return false;
    list_add_tail(&mgmt->connections, &connection->node);
    mgmt->connection_count++;
    mgmt->looker_count += looks;
    return true;
}

static void mgmt_forget(struct mgmt *mgmt, struct mgmt_connection *connection)
{
    AUTO_LOCK(&mgmt->lock);
    list_remove(&connection->node);
    mgmt->connection_count--;
    mgmt->looker_count -= !connection->peer.may_change;
}

static void mgmt_turn_away(struct mgmt_connection *connection, const char *why)
{
    AUTO_JSON json_t *message = json_pack("{s:n, s:b, s:{s:s, s:s}}", "id", "ok", 0, "error",
                                          "errno", "EAGAIN", "text", why);
    if (message)
        ignore_error(proto_write(&connection->stream, message, MGMT_REFUSE_MS), "turned away");
}

/* Takes over @fd. */
static void mgmt_accept(struct mgmt *mgmt, int fd)
{
    AUTO_CLOSE int owned_fd = fd;
    AUTO_FREE struct mgmt_connection *connection = calloc(1, sizeof(*connection));
    if (!connection || mgmt_identify(mgmt, fd, &connection->peer) < 0)
        return;
    connection->mgmt = mgmt;
    connection->fd = fd;
    list_init(&connection->node);
    proto_stream_init(&connection->stream, fd, mgmt->stop_fd,
                      connection->peer.may_change ? PROTO_REQUEST_MAX_BYTES
                                                  : PROTO_LOOKER_MAX_BYTES);
    pthread_t thread;
    int r = mgmt_admit(mgmt, connection) ? 0 : -EAGAIN;
    if (r < 0)
    {
        mgmt_turn_away(connection,
                       "the server has as many management connections as it takes; try again");
        return;
    }
    r = mgmt_start_thread(&thread, true, mgmt_connection_thread, connection);
    if (r < 0)
    {
        log_error("management: cannot start a thread: %s", strerror(-r));
        mgmt_turn_away(connection, "the server can start no thread for a connection; try again");
        mgmt_forget(mgmt, connection);
        return;
    }
    ignore_error(take_fd(&owned_fd), "the thread closes it");
    connection = NULL;
}

static void *mgmt_thread(void *opaque)
{
    struct mgmt *mgmt = opaque;
    bool was_full = false;
    for (;;)
    {
        struct pollfd fds[2] = {{.fd = mgmt->stop_fd, .events = POLLIN},
                                {.fd = mgmt->listener.fd, .events = POLLIN}};
        /* Out of descriptors: let some connections end before trying again. */
        int n = poll(fds, was_full ? 1 : 2, was_full ? 200 : -1);
        if (n > 0 && fds[0].revents)
            return NULL;
        was_full = false;
        int fd = accept4(mgmt->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            mgmt_accept(mgmt, fd);
        else
            was_full = errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS;
    }
}

/* ---- start and stop ------------------------------------------------------------------------ */

static void mgmt_destroy(struct mgmt *mgmt)
{
    mgmt_unlisten(&mgmt->listener);
    if (mgmt->stop_fd >= 0)
        close(mgmt->stop_fd);
    condition_destroy(&mgmt->none_left);
    lock_destroy(&mgmt->lock);
    free(mgmt);
}

static struct mgmt_limits mgmt_defaults(const struct mgmt_limits *limits)
{
    struct mgmt_limits all = limits ? *limits : (struct mgmt_limits){0};
    if (all.connections == 0)
        all.connections = MGMT_CONNECTIONS;
    if (all.looker_connections == 0)
        all.looker_connections = (all.connections + 1) / 2;
    if (all.request_ms == 0)
        all.request_ms = MGMT_REQUEST_MS;
    if (all.reply_ms == 0)
        all.reply_ms = MGMT_REPLY_MS;
    return all;
}

static int mgmt_open(struct mgmt *mgmt, struct reason *why)
{
    const struct target_options *options = target_options_of(mgmt->target);
    mgmt->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (mgmt->stop_fd < 0)
        return reason_set(why, -errno, "eventfd: %s", strerror(errno));
    int r = mgmt_find_group(mgmt, options->management_group, why);
    if (r == 0)
        r = mgmt_listen(options->mgmt_socket, options->mgmt_mode ? options->mgmt_mode : 0666,
                        &mgmt->listener, why);
    if (r < 0)
        return r;
    r = mgmt_start_thread(&mgmt->thread, false, mgmt_thread, mgmt);
    if (r < 0)
        return reason_set(why, r, "cannot start the management thread: %s", strerror(-r));
    return 0;
}

int mgmt_start(struct target *target, const struct mgmt_limits *limits, struct mgmt **mgmt,
               struct reason *why)
{
    proto_wipe_json();
    struct mgmt *started = calloc(1, sizeof(*started));
    if (!started)
        return reason_set(why, -ENOMEM, "no memory");
    started->target = target;
    started->limits = mgmt_defaults(limits);
    started->listener = MGMT_LISTENER_NONE;
    started->stop_fd = -1;
    list_init(&started->connections);
    lock_init(&started->lock, LOCK_RANK_SERVER);
    condition_init(&started->none_left);
    int r = mgmt_open(started, why);
    if (r < 0)
    {
        mgmt_destroy(started);
        return r;
    }
    *mgmt = started;
    return 0;
}

void mgmt_stop(struct mgmt *mgmt)
{
    if (!mgmt)
        return;
    uint64_t one = 1;
    ignore_error((int)write(mgmt->stop_fd, &one, sizeof(one)), "an eventfd at 0 takes a 1");
    pthread_join(mgmt->thread, NULL);
    /* Wakes who waits for an event, so that it asks whether it is cancelled. */
    event_add(target_pool(mgmt->target), "info", "server.stopping", "", "management is stopping");
    lock_take(&mgmt->lock);
    while (mgmt->connection_count > 0)
        condition_wait(&mgmt->none_left, &mgmt->lock);
    lock_release(&mgmt->lock);
    mgmt_destroy(mgmt);
}
