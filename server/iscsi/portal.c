/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Start and stop of the target, distribution of connections to threads, and questions of
 * management.
 *
 * What management asks is put to every thread as a message, and the asker waits until all have
 * answered: so the data path takes no lock for its sake.
 */
#include "server/iscsi/portal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/log.h"
#include "server/iscsi/task.h"

enum
{
    ISCSI_TRIM_MS = 5000,
    ISCSI_REFUSED_MS = 10000,
    ISCSI_WORKERS_DEFAULT = 16,
    ISCSI_STOP_GRACE_MS = 5000, /* for last words to be read by the initiators */
    ISCSI_POLL_NS = 50000,      /* about what it takes to sleep and be woken in a guest */
};

static const struct iscsi_limits iscsi_default_limits = {
    .connections = 2048,
    .connections_per_source = 512,
    .half_open = 256,
    .sessions = 1024,
    .queue_depth = 128,
    .immediate = 16,
    .login_ms = 15000,
    .idle_ms = 30000,
    .answer_ms = 15000,
    .write_ms = 30000,
    .output_bytes = 4 << 20,
    .data_mib = 1024,
};

/* ---- connections --------------------------------------------------------------------------- */

/* A connection on its way to its thread. */
struct portal_arrival
{
    struct loop_call call;
    struct iscsi_thread *thread;
    int fd;
    struct source_seat seat;
};

/* Of the source that has most of them, if one has; else the oldest of all. */
static struct conn *portal_choose_half_open(struct iscsi_thread *thread)
{
    const struct source *most = NULL;
    unsigned votes = 0;
    list_for_each (conn, &thread->logins, struct conn, login_link)
    {
        if (votes == 0)
            most = conn->seat.source;
        votes = conn->seat.source == most ? votes + 1 : votes - 1;
    }
    list_for_each (conn, &thread->logins, struct conn, login_link)
    {
        if (votes > 0 && conn->seat.source == most)
            return conn;
    }
    return container_of(thread->logins.next, struct conn, login_link);
}

static void portal_adopt(struct iscsi_thread *thread, int fd, struct source_seat *seat)
{
    struct iscsi_server *server = thread->server;
    uint32_t limit = server->limits.half_open / server->thread_count;
    if (thread->login_count > 0 && thread->login_count >= limit)
        conn_close(portal_choose_half_open(thread), "it made room for newer logins");
    struct conn *conn;
    int r = conn_create(thread, fd, &conn);
    if (r < 0)
    {
        sources_leave(&server->sources, seat);
        log_debug("connection dropped: %s", strerror(-r));
        return;
    }
    conn->seat = *seat;
}

static void portal_arrived(struct loop_call *call)
{
    struct portal_arrival *arrival = container_of(call, struct portal_arrival, call);
    if (arrival->thread->is_stopping)
    {
        close(arrival->fd);
        sources_leave(&arrival->thread->server->sources, &arrival->seat);
    }
    else
        portal_adopt(arrival->thread, arrival->fd, &arrival->seat);
    free(arrival);
}

/* Who is refused only sees that he was hung up on, so the log says why; in a storm, now and then.
 */
static void portal_note_refused(struct iscsi_server *server, const struct net_address *address,
                                bool by_source)
{
    const struct iscsi_limits *limits = &server->limits;
    char text[NET_ADDRESS_TEXT_MAX];
    uint64_t now_ms = loop_now_ms(server->threads[0].loop);
    server->refused_count++;
    if (server->refused_ms && now_ms - server->refused_ms < ISCSI_REFUSED_MS)
        return;
    net_address_format(address, text);
    log_warning("iSCSI connection of %s refused: there are %u %s (connections%s in [iscsi]); %llu "
                "refused since this was last said",
                text, by_source ? limits->connections_per_source : limits->connections,
                by_source ? "from that address" : "in all", by_source ? "_per_source" : "",
                (unsigned long long)server->refused_count);
    server->refused_ms = now_ms;
    server->refused_count = 0;
}

static int portal_seat(struct iscsi_server *server, int fd, struct source_seat *seat)
{
    struct net_address address;
    int r = net_address_remote(fd, &address);
    if (r == 0)
        r = sources_enter(&server->sources, (const struct sockaddr *)&address.storage, seat);
    if (r == -EUSERS || r == -EDQUOT)
        portal_note_refused(server, &address, r == -EDQUOT);
    return r;
}

static void portal_accept_cb(void *opaque, int fd)
{
    struct iscsi_server *server = opaque;
    struct iscsi_thread *thread = &server->threads[server->next_thread++ % server->thread_count];
    struct source_seat seat = {0};
    struct portal_arrival *arrival = NULL;
    if (portal_seat(server, fd, &seat) == 0)
        arrival = malloc(sizeof(*arrival));
    if (!arrival)
    {
        sources_leave(&server->sources, &seat);
        close(fd);
        return;
    }
    arrival->seat = seat;
    arrival->thread = thread;
    arrival->fd = fd;
    loop_call_init(&arrival->call, portal_arrived);
    loop_post(thread->loop, &arrival->call);
}

/* ---- questions to all threads -------------------------------------------------------------- */

typedef void portal_ask_fn(struct iscsi_thread *thread, void *opaque);

struct portal_question
{
    portal_ask_fn *ask;
    void *opaque;
    struct lock lock;
    struct condition answered;
    unsigned left; /* under lock */
};

struct portal_ask
{
    struct loop_call call;
    struct iscsi_thread *thread;
    struct portal_question *question;
};

static void portal_ask_run(struct loop_call *call)
{
    struct portal_ask *ask = container_of(call, struct portal_ask, call);
    struct portal_question *question = ask->question;
    question->ask(ask->thread, question->opaque);
    AUTO_LOCK(&question->lock);
    question->left--;
    condition_wake_all(&question->answered);
}

/* @ask runs on each thread, one after the other, and is over when this returns. */
static void portal_ask_all(struct iscsi_server *server, portal_ask_fn *ask, void *opaque)
{
    struct portal_question question = {.ask = ask, .opaque = opaque};
    lock_init(&question.lock, LOCK_RANK_LEAF);
    condition_init(&question.answered);
    for (unsigned i = 0; i < server->thread_count; i++)
    {
        struct portal_ask one = {.thread = &server->threads[i], .question = &question};
        loop_call_init(&one.call, portal_ask_run);
        question.left = 1;
        loop_post(one.thread->loop, &one.call);
        AUTO_LOCK(&question.lock);
        while (question.left > 0)
            condition_wait(&question.answered, &question.lock);
    }
    condition_destroy(&question.answered);
    lock_destroy(&question.lock);
}

/* ---- sessions ------------------------------------------------------------------------------ */

struct portal_list
{
    struct iscsi_session_info *list;
    size_t count, capacity;
    int error;
};

static void portal_describe(const struct session *session, struct iscsi_session_info *info)
{
    *info = (struct iscsi_session_info){
        .tsih = session->tsih,
        .is_discovery = session->is_discovery,
        .is_authenticated = session->is_authenticated,
        .header_digest = session->conn && session->conn->header_digest,
        .data_digest = session->conn && session->conn->data_digest,
        .age_ms = loop_now_ms(session->thread->loop) - session->opened_ms,
        .command_count = session->command_count,
        .read_bytes = session->read_bytes,
        .written_bytes = session->written_bytes,
        .outstanding = session->task_count,
    };
    memcpy(info->isid, session->isid, sizeof(info->isid));
    memcpy(info->initiator, session->initiator, sizeof(info->initiator));
    memcpy(info->alias, session->alias, sizeof(info->alias));
    memcpy(info->remote_address, session->remote, sizeof(info->remote_address));
    memcpy(info->local_address, session->local, sizeof(info->local_address));
}

static void portal_collect(struct iscsi_thread *thread, void *opaque)
{
    struct portal_list *found = opaque;
    list_for_each (conn, &thread->connections, struct conn, link)
    {
        if (!conn->session || found->error)
            continue;
        if (found->count == found->capacity)
        {
            size_t capacity = found->capacity ? found->capacity * 2 : 16;
            struct iscsi_session_info *list =
                reallocarray(found->list, capacity, sizeof(*found->list));
            if (!list)
            {
                found->error = -ENOMEM;
                return;
            }
            found->list = list;
            found->capacity = capacity;
        }
        portal_describe(conn->session, &found->list[found->count++]);
    }
}

static int portal_older_first(const void *a, const void *b)
{
    const struct iscsi_session_info *x = a, *y = b;
    return x->age_ms < y->age_ms ? 1 : x->age_ms > y->age_ms ? -1 : (int)x->tsih - (int)y->tsih;
}

int iscsi_session_list(struct iscsi_server *server, struct iscsi_session_info **list, size_t *count)
{
    struct portal_list found = {.count = 0};
    portal_ask_all(server, portal_collect, &found);
    if (found.error)
    {
        free(found.list);
        return found.error;
    }
    if (found.count > 1)
        qsort(found.list, found.count, sizeof(*found.list), portal_older_first);
    *list = found.list;
    *count = found.count;
    return 0;
}

struct portal_ending
{
    const char *initiator; /* NULL: any */
    uint16_t tsih;         /* 0: any */
    const char *why;
    size_t count;
};

static void portal_end_some(struct iscsi_thread *thread, void *opaque)
{
    struct portal_ending *ending = opaque;
    list_for_each_safe (conn, &thread->connections, struct conn, link)
    {
        struct session *session = conn->session;
        if (!session || session->is_ending || (ending->tsih && session->tsih != ending->tsih) ||
            (ending->initiator && strcasecmp(session->initiator, ending->initiator) != 0))
            continue;
        session_drop(session, ending->why);
        ending->count++;
    }
}

int iscsi_session_terminate(struct iscsi_server *server, const char *initiator, uint16_t tsih,
                            size_t *ended, struct reason *why)
{
    struct portal_ending ending = {
        .initiator = initiator, .tsih = tsih, .why = "ended by the administrator"};
    portal_ask_all(server, portal_end_some, &ending);
    if (ending.count == 0)
        return reason_set(why, -ENOENT,
                          "%s%s%s has no such session; 'lunette iscsi session show' lists those "
                          "that are there",
                          initiator ? "initiator '" : "", initiator ? initiator : "the target",
                          initiator ? "'" : "");
    if (ended)
        *ended = ending.count;
    return 0;
}

/* A message that ends the sessions of one thread. */
struct portal_drop
{
    struct loop_call call;
    struct iscsi_thread *thread;
    const char *why;
};

static void portal_drop_run(struct loop_call *call)
{
    struct portal_drop *drop = container_of(call, struct portal_drop, call);
    struct portal_ending ending = {.why = drop->why};
    portal_end_some(drop->thread, &ending);
    free(drop);
}

void session_drop_all(struct iscsi_server *server, const char *why)
{
    for (unsigned i = 0; i < server->thread_count; i++)
    {
        struct portal_drop *drop = malloc(sizeof(*drop));
        if (!drop)
            return;
        drop->thread = &server->threads[i];
        drop->why = why;
        loop_call_init(&drop->call, portal_drop_run);
        loop_post(drop->thread->loop, &drop->call);
    }
}

/* ---- threads ------------------------------------------------------------------------------- */

/* Gives back what an idle thread keeps for reuse; one of them looks at the pool's space, too. */
static void portal_trim(struct loop_timer *timer)
{
    struct iscsi_thread *thread = container_of(timer, struct iscsi_thread, trim_timer);
    if (thread->buffers.used_bytes == 0)
        iobuf_pool_trim(&thread->buffers);
    if (thread->free_task_count > 64)
        task_free_kept(thread);
    if (thread == &thread->server->threads[0])
        scsi_target_check_space(thread->server->scsi);
    loop_timer_set(thread->loop, &thread->trim_timer, ISCSI_TRIM_MS);
}

/* From any thread, with locks held. */
static void portal_wake_admitted(struct qos_sink *sink)
{
    struct iscsi_thread *thread = container_of(sink, struct iscsi_thread, admitted);
    loop_post(thread->loop, &thread->admitted_call);
}

static int portal_init_thread(struct iscsi_server *server, struct iscsi_thread *thread,
                              unsigned number)
{
    char name[16];
    snprintf(name, sizeof(name), "iscsi-%u", number % 1000);
    thread->server = server;
    iobuf_pool_init(&thread->buffers);
    thread->buffer_limit_bytes = ((uint64_t)server->limits.data_mib << 20) / server->thread_count;
    list_init(&thread->starved);
    turns_init(&thread->turns);
    thread->turn_end = UINT64_MAX;
    loop_call_init(&thread->turn_call, conn_take_turns);
    list_init(&thread->connections);
    list_init(&thread->logins);
    list_init(&thread->free_tasks);
    list_init(&thread->done);
    lock_init(&thread->done_lock, LOCK_RANK_LEAF);
    loop_call_init(&thread->done_call, task_take_done);
    loop_call_init(&thread->admitted_call, task_take_admitted);
    qos_sink_init(&thread->admitted, portal_wake_admitted);
    loop_timer_init(&thread->trim_timer, portal_trim);
    void *scratch; /* aligned as the buffers that it may change places with */
    if (posix_memalign(&scratch, 4096, ISCSI_SCRATCH_BYTES) != 0)
        return -ENOMEM;
    thread->scratch = scratch;
    int r = loop_create(name, &thread->loop);
    if (r == 0)
        loop_set_poll_ns(thread->loop, ISCSI_POLL_NS);
    if (r == 0)
        loop_timer_set(thread->loop, &thread->trim_timer, ISCSI_TRIM_MS);
    return r;
}

static void portal_free_thread(struct iscsi_thread *thread)
{
    loop_destroy(thread->loop);
    if (thread->server)
    {
        task_free_kept(thread);
        iobuf_pool_trim(&thread->buffers);
        lock_destroy(&thread->done_lock);
    }
    free(thread->scratch);
}

/* ---- start --------------------------------------------------------------------------------- */

static uint32_t portal_limit(uint32_t asked, uint32_t standard)
{
    return asked ? asked : standard;
}

static void portal_set_limits(struct iscsi_limits *limits, const struct iscsi_limits *asked)
{
    const struct iscsi_limits *standard = &iscsi_default_limits;
    *limits = (struct iscsi_limits){
        .connections = portal_limit(asked->connections, standard->connections),
        .connections_per_source =
            portal_limit(asked->connections_per_source, standard->connections_per_source),
        .half_open = portal_limit(asked->half_open, standard->half_open),
        .sessions = portal_limit(asked->sessions, standard->sessions),
        .queue_depth = portal_limit(asked->queue_depth, standard->queue_depth),
        .immediate = portal_limit(asked->immediate, standard->immediate),
        .login_ms = portal_limit(asked->login_ms, standard->login_ms),
        .idle_ms = portal_limit(asked->idle_ms, standard->idle_ms),
        .answer_ms = portal_limit(asked->answer_ms, standard->answer_ms),
        .write_ms = portal_limit(asked->write_ms, standard->write_ms),
        .output_bytes = portal_limit(asked->output_bytes, standard->output_bytes),
        .data_mib = portal_limit(asked->data_mib, standard->data_mib),
    };
    limits->sessions = limits->sessions < 60000 ? limits->sessions : 60000; /* TSIH has 16 bits */
}

static int portal_check_options(const struct iscsi_options *options, struct reason *why)
{
    if (options->portal_count == 0 || options->portal_count > ISCSI_PORTALS_MAX)
        return reason_set(why, -EINVAL, "%zu iSCSI portals: there may be 1 to %d",
                          options->portal_count, ISCSI_PORTALS_MAX);
    if (options->target_name && !text_is_iscsi_name(options->target_name))
        return reason_set(why, -EINVAL,
                          "\"%s\" is not an iSCSI name. One looks like "
                          "iqn.2026-11.io.lunette:pool.",
                          options->target_name);
    return 0;
}

static unsigned portal_thread_count(unsigned asked)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned count = asked ? asked : (unsigned)(processors > 1 ? processors / 2 : 1);
    return count < ISCSI_THREADS_MAX ? count : ISCSI_THREADS_MAX;
}

static int portal_listen(struct iscsi_server *server, const struct iscsi_options *options,
                         struct reason *why)
{
    for (size_t i = 0; i < options->portal_count; i++)
    {
        struct net_address address;
        int r = net_address_parse(options->portals[i], ISCSI_DEFAULT_PORT, &address, why);
        if (r == 0)
            r = listener_open(server->threads[0].loop, &address, portal_accept_cb, server,
                              &server->listeners[i], why);
        if (r < 0)
            return r;
        server->portal_count++;
        net_address_format(listener_address(server->listeners[i]), server->addresses[i]);
    }
    return 0;
}

static int portal_prepare(struct iscsi_server *server, const struct iscsi_options *options,
                          struct reason *why)
{
    unsigned count = portal_thread_count(options->threads);
    server->threads = calloc(count, sizeof(*server->threads));
    if (!server->threads)
        return reason_set(why, -ENOMEM, "no memory");
    server->thread_count = count;
    for (unsigned i = 0; i < count; i++)
    {
        int r = portal_init_thread(server, &server->threads[i], i);
        if (r < 0)
            return reason_set(why, r, "cannot make an event loop: %s", strerror(-r));
    }
    int r = workers_create(options->workers ? options->workers : ISCSI_WORKERS_DEFAULT,
                           &server->workers);
    if (r < 0)
        return reason_set(why, r, "no memory");
    return portal_listen(server, options, why);
}

static int portal_run(struct iscsi_server *server, struct reason *why)
{
    for (unsigned i = 0; i < server->thread_count; i++)
    {
        int r = loop_start(server->threads[i].loop);
        if (r < 0)
            return reason_set(why, r, "cannot start a thread: %s", strerror(-r));
    }
    return 0;
}

static void portal_free(struct iscsi_server *server)
{
    for (unsigned i = 0; i < server->thread_count; i++)
        if (server->threads[i].loop)
            loop_stop(server->threads[i].loop);
    for (size_t i = 0; i < ISCSI_PORTALS_MAX; i++)
        listener_close(server->listeners[i]);
    workers_destroy(server->workers);
    for (unsigned i = 0; i < server->thread_count; i++)
        portal_free_thread(&server->threads[i]);
    free(server->threads);
    condition_destroy(&server->gone);
    lock_destroy(&server->lock);
    sources_destroy(&server->sources);
    free(server);
}

int iscsi_start(struct scsi_target *scsi, struct access *access,
                const struct iscsi_options *options, struct iscsi_server **out, struct reason *why)
{
    int r = portal_check_options(options, why);
    if (r < 0)
        return r;
    struct iscsi_server *server = calloc(1, sizeof(*server));
    if (!server)
        return reason_set(why, -ENOMEM, "no memory");
    lock_init(&server->lock, LOCK_RANK_SERVER);
    condition_init(&server->gone);
    list_init(&server->sessions);
    server->scsi = scsi;
    server->access = access;
    portal_set_limits(&server->limits, &options->limits);
    sources_init(&server->sources, server->limits.connections,
                 server->limits.connections_per_source);
    const char *name = options->target_name ? options->target_name : access_target_name(access);
    strncpy(server->target_name, name, SCSI_NAME_MAX);
    if (options->target_alias)
        strncpy(server->target_alias, options->target_alias, SCSI_NAME_MAX);
    r = iscsi_set_redirect(server, options->redirect, options->redirect_permanently, why);
    if (r == 0)
        r = portal_prepare(server, options, why);
    if (r == 0)
        r = portal_run(server, why);
    if (r < 0)
    {
        portal_free(server);
        return r;
    }
    for (size_t i = 0; i < server->portal_count; i++)
        log_info("iSCSI target %s on %s", server->target_name, server->addresses[i]);
    *out = server;
    return 0;
}

/* ---- stop ---------------------------------------------------------------------------------- */

/* Takes in nothing new, and ends what there is. Sessions first, as they say good-bye. */
static void portal_stop_thread(struct iscsi_thread *thread, void *opaque)
{
    struct portal_ending ending = {.why = opaque};
    struct iscsi_server *server = thread->server;
    thread->is_stopping = true;
    if (thread == &server->threads[0])
    {
        for (size_t i = 0; i < ISCSI_PORTALS_MAX; i++)
            listener_close(take_ptr(&server->listeners[i]));
    }
    portal_end_some(thread, &ending);
    list_for_each_safe (conn, &thread->connections, struct conn, link)
    {
        if (conn->state == CONN_LOGIN || conn->state == CONN_WAITING)
            conn_close(conn, NULL);
    }
}

static void portal_close_rest(struct iscsi_thread *thread, void *opaque)
{
    (void)opaque;
    list_for_each_safe (conn, &thread->connections, struct conn, link)
    {
        conn_close(conn, NULL);
    }
}

static void portal_nothing(struct iscsi_thread *thread, void *opaque)
{
    (void)thread, (void)opaque;
}

void iscsi_stop(struct iscsi_server *server)
{
    if (!server)
        return;
    portal_ask_all(server, portal_stop_thread, "the target stops");
    {
        AUTO_LOCK(&server->lock);
        while (server->connection_count > 0 &&
               condition_wait_ms(&server->gone, &server->lock, ISCSI_STOP_GRACE_MS))
            continue;
    }
    portal_ask_all(server, portal_close_rest, NULL);
    {
        AUTO_LOCK(&server->lock);
        while (server->session_count > 0 || server->connection_count > 0)
            condition_wait(&server->gone, &server->lock);
    }
    /* What the last of them deferred or posted must have run. */
    portal_ask_all(server, portal_nothing, NULL);
    portal_ask_all(server, portal_nothing, NULL);
    portal_free(server);
}

/* ---- small questions ----------------------------------------------------------------------- */

const char *iscsi_portal_address(const struct iscsi_server *server, size_t index)
{
    return server->addresses[index];
}

size_t iscsi_portal_count(const struct iscsi_server *server)
{
    return server->portal_count;
}

const char *iscsi_target_name(const struct iscsi_server *server)
{
    return server->target_name;
}

int iscsi_set_redirect(struct iscsi_server *server, const char *address, bool permanently,
                       struct reason *why)
{
    struct net_address parsed;
    char text[ISCSI_ADDRESS_MAX] = "";
    if (address)
    {
        int r = net_address_parse(address, ISCSI_DEFAULT_PORT, &parsed, why);
        if (r < 0)
            return r;
        net_address_format(&parsed, text);
    }
    AUTO_LOCK(&server->lock);
    memcpy(server->redirect, text, sizeof(server->redirect));
    server->redirect_permanently = permanently;
    return 0;
}
