/* SPDX-License-Identifier: BSD-3-Clause */
/* Life of a connection: accept, login, timers, end. */
#include "server/iscsi/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "lun/base/log.h"
#include "server/iscsi/session.h"

/* ---- what a login asks --------------------------------------------------------------------- */

static int conn_find_chap(void *opaque, const char *initiator, bool discovery,
                          struct access_chap *chap)
{
    struct conn *conn = opaque;
    return access_find_chap(conn->thread->server->access, initiator, discovery, chap);
}

static bool conn_has_session(void *opaque, const char *initiator, const uint8_t isid[6],
                             uint16_t tsih)
{
    struct conn *conn = opaque;
    struct iscsi_server *server = conn->thread->server;
    AUTO_LOCK(&server->lock);
    list_for_each (session, &server->sessions, struct session, link)
    {
        if (session->tsih == tsih && memcmp(session->isid, isid, sizeof(session->isid)) == 0 &&
            strcmp(session->initiator, initiator) == 0)
            return true;
    }
    return false;
}

static void conn_fill_login_env(struct conn *conn)
{
    struct iscsi_server *server = conn->thread->server;
    conn->login_env = (struct login_env){
        .env = env_system(),
        .target_name = server->target_name,
        .target_alias = server->target_alias[0] ? server->target_alias : NULL,
        .portal_group_tag = 1,
        .find_chap = conn_find_chap,
        .has_session = conn_has_session,
        .opaque = conn,
    };
    AUTO_LOCK(&server->lock);
    if (!server->redirect[0])
        return;
    memcpy(conn->redirect, server->redirect, sizeof(conn->redirect));
    conn->login_env.redirect = conn->redirect;
    conn->login_env.redirect_permanently = server->redirect_permanently;
}

/* ---- creation and end ---------------------------------------------------------------------- */

static void conn_free_call(struct loop_call *call)
{
    struct conn *conn = container_of(call, struct conn, free_call);
    free(conn);
}

static void conn_flush_call(struct loop_call *call)
{
    struct conn *conn = container_of(call, struct conn, flush_call);
    if (conn->session)
        session_run_queue(conn->session);
    conn_flush(conn);
}

static int conn_open_socket(struct conn *conn)
{
    struct net_address address;
    int one = 1;
    int r = net_address_remote(conn->fd, &address);
    if (r < 0)
        return r;
    net_address_format(&address, conn->remote);
    r = net_address_local(conn->fd, &address);
    if (r < 0)
        return r;
    net_address_format(&address, conn->local);
    if (setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0 ||
        setsockopt(conn->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)) < 0)
        return -errno;
    return loop_watch_add(conn->thread->loop, &conn->watch, conn->fd, EPOLLIN, conn_ready);
}

int conn_create(struct iscsi_thread *thread, int fd, struct conn **out)
{
    struct conn *conn = calloc(1, sizeof(*conn));
    struct login *login = malloc(sizeof(*login));
    int r = conn && login ? 0 : -ENOMEM;
    if (r == 0)
    {
        conn->thread = thread;
        conn->fd = fd;
        if (fd >= 0)
            r = conn_open_socket(conn);
    }
    if (r < 0)
    {
        cleanup_close(&fd);
        free(login);
        free(conn);
        return r;
    }
    loop_call_init(&conn->free_call, conn_free_call);
    loop_call_init(&conn->flush_call, conn_flush_call);
    turn_init(&conn->turn);
    loop_timer_init(&conn->timer, conn_timer_fire);
    conn->state = CONN_LOGIN;
    conn->login = login;
    conn_fill_login_env(conn);
    login_init(login, &conn->login_env);
    conn->max_recv_bytes = LOGIN_DATA_MAX;
    conn->opened_ms = conn->heard_ms = loop_now_ms(thread->loop);
    list_add_tail(&thread->connections, &conn->link);
    list_add_tail(&thread->logins, &conn->login_link);
    thread->login_count++;
    loop_timer_set(thread->loop, &conn->timer, thread->server->limits.login_ms);
    {
        AUTO_LOCK(&thread->server->lock);
        thread->server->connection_count++;
    }
    *out = conn;
    return 0;
}

/* It is no longer one of those in login. */
static void conn_leave_login(struct conn *conn)
{
    if (!conn->login)
        return;
    session_waiter_cancel(conn);
    login_destroy(conn->login);
    free(conn->login);
    conn->login = NULL;
    list_remove(&conn->login_link);
    conn->thread->login_count--;
}

void conn_close(struct conn *conn, const char *why)
{
    if (conn->state == CONN_CLOSED)
        return;
    conn->state = CONN_CLOSED;
    if (why && conn->session)
        log_info("session of %s from %s: %s", conn->session->initiator, conn->remote, why);
    else if (why)
        log_debug("connection from %s: %s", conn->remote, why);
    conn_leave_login(conn);
    loop_watch_remove(&conn->watch);
    loop_timer_cancel(&conn->timer);
    loop_call_cancel(&conn->flush_call);
    turns_leave(&conn->thread->turns, &conn->turn);
    cleanup_close(&conn->fd);
    conn->fd = -1;
    conn_drop_output(conn);
    iobuf_put(take_ptr(&conn->stash));
    iobuf_put(take_ptr(&conn->dest_buf));
    list_remove(&conn->link);
    struct iscsi_server *server = conn->thread->server;
    sources_leave(&server->sources, &conn->seat);
    if (conn->session)
        session_lose_conn(take_ptr(&conn->session));
    loop_defer(conn->thread->loop, &conn->free_call);
    AUTO_LOCK(&server->lock);
    server->connection_count--;
    condition_wake_all(&server->gone);
}

void conn_finish(struct conn *conn)
{
    if (conn->state == CONN_CLOSED)
        return;
    conn_leave_login(conn);
    conn->state = CONN_LAST_WORDS;
    conn_flush_later(conn);
}

/* ---- login --------------------------------------------------------------------------------- */

static void conn_send_login(struct conn *conn, struct login_reply *reply)
{
    conn_send(conn, &reply->bhs, reply->text, reply->text_len);
}

static void conn_refuse_login(struct conn *conn, enum wire_login_status status)
{
    struct login_reply *reply = &conn->login_reply;
    if (login_finish(conn->login, status, 0, reply) == LOGIN_REFUSE)
        conn_send_login(conn, reply);
    conn_finish(conn);
}

/* Full feature phase from the next byte on; the digests too. */
static void conn_open_session(struct conn *conn, struct session *session)
{
    struct login *login = conn->login;
    struct login_reply *reply = &conn->login_reply;
    ignore_error((int)login_finish(login, WIRE_LOGIN_SUCCESS, session->tsih, reply),
                 "it cannot refuse a success");
    conn_send_login(conn, reply);
    if (conn->state == CONN_CLOSED)
        return;
    session->stat_sn = login->stat_sn;
    conn->header_digest = login->params.value[PARAM_HEADER_DIGEST];
    conn->data_digest = login->params.value[PARAM_DATA_DIGEST];
    conn->initiator_recv_bytes = login->params.value[PARAM_MAX_RECV_BYTES];
    conn->max_recv_bytes = params_spec(PARAM_MAX_RECV_BYTES)->ours;
    conn->state = CONN_OPEN;
    conn_leave_login(conn);
    loop_timer_set(conn->thread->loop, &conn->timer, conn->thread->server->limits.idle_ms);
    log_info("%s %s logged in from %s to %s%s", session->is_discovery ? "discovery:" : "initiator",
             session->initiator, conn->remote, conn->local,
             session->is_authenticated ? ", CHAP" : "");
}

static void conn_login_complete(struct conn *conn)
{
    struct session *session;
    int r = session_open(conn, conn->login, &session);
    if (r == -EAGAIN)
    {
        conn->state = CONN_WAITING;
        return;
    }
    if (r < 0)
    {
        log_warning("login of %s from %s refused: %s", conn->login->initiator, conn->remote,
                    r == -EUSERS ? "there are too many sessions" : strerror(-r));
        conn_refuse_login(conn, r == -EUSERS || r == -ENOMEM ? WIRE_LOGIN_OUT_OF_RESOURCES
                                                             : WIRE_LOGIN_TARGET_ERROR);
        return;
    }
    conn->session = session;
    conn_open_session(conn, session);
}

void conn_resume_login(struct conn *conn)
{
    conn->state = CONN_LOGIN;
    conn_login_complete(conn);
    conn_flush_later(conn);
}

void conn_login_pdu(struct conn *conn, const struct pdu *pdu)
{
    struct login_reply *reply = &conn->login_reply;
    if (conn->thread->is_stopping)
    {
        conn->login->itt = be32_get(pdu->bhs->itt);
        conn_refuse_login(conn, WIRE_LOGIN_SERVICE_UNAVAILABLE);
        return;
    }
    switch (login_handle_pdu(conn->login, pdu, reply))
    {
    case LOGIN_SEND:
        conn_send_login(conn, reply);
        break;
    case LOGIN_REFUSE:
        conn_send_login(conn, reply);
        conn_finish(conn);
        break;
    case LOGIN_COMPLETE:
        conn_login_complete(conn);
        break;
    }
}

/* ---- time ---------------------------------------------------------------------------------- */

static void conn_fire_open(struct conn *conn, uint64_t now)
{
    const struct iscsi_limits *limits = &conn->thread->server->limits;
    uint64_t silence = now - conn->heard_ms;
    if (conn->asked_ms && conn->heard_ms >= conn->asked_ms)
        conn->asked_ms = 0;
    if (conn->asked_ms && now - conn->asked_ms >= limits->answer_ms)
    {
        conn_close(conn, "it does not answer any more");
        return;
    }
    if (conn->session->is_discovery && silence >= limits->idle_ms + limits->answer_ms)
    {
        conn_close(conn, "discovery session was left open");
        return;
    }
    if (!conn->asked_ms && silence >= limits->idle_ms && !conn->session->is_discovery &&
        conn->out_bytes == 0)
    {
        conn->asked_ms = now;
        session_send_nop_in(conn->session);
    }
    uint64_t next = limits->idle_ms > silence ? limits->idle_ms - silence : limits->answer_ms;
    if (conn->asked_ms)
        next = limits->answer_ms;
    if (conn->out_bytes > 0 && next > limits->write_ms)
        next = limits->write_ms;
    if (conn->state == CONN_OPEN)
        loop_timer_set(conn->thread->loop, &conn->timer, next);
}

void conn_timer_fire(struct loop_timer *timer)
{
    struct conn *conn = container_of(timer, struct conn, timer);
    const struct iscsi_limits *limits = &conn->thread->server->limits;
    uint64_t now = loop_now_ms(conn->thread->loop);
    if (conn->out_bytes > 0 && now - conn->progress_ms >= limits->write_ms)
        conn_close(conn, "it takes no data any more");
    else if (conn->state == CONN_OPEN)
        conn_fire_open(conn, now);
    else if (conn->state == CONN_LAST_WORDS && conn->out_bytes > 0)
        loop_timer_set(conn->thread->loop, &conn->timer, limits->write_ms);
    else
        conn_close(conn, conn->state == CONN_LAST_WORDS ? NULL : "the login took too long");
}
