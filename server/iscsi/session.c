/* SPDX-License-Identifier: BSD-3-Clause */
/* Life of a session, and the table of them. */
#include "server/iscsi/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/invariant.h"
#include "lun/base/log.h"
#include "server/iscsi/task.h"

/* A login that waits for an old session to end. */
struct session_waiter
{
    struct list link; /* session->waiters; under server->lock */
    struct loop_call call;
    struct loop *loop;
    struct conn *conn; /* NULL: given up; loop thread only */
};

/* ---- beginning ----------------------------------------------------------------------------- */

static void session_waiter_run(struct loop_call *call)
{
    struct session_waiter *waiter = container_of(call, struct session_waiter, call);
    struct conn *conn = waiter->conn;
    free(waiter);
    if (!conn)
        return;
    conn->session_waiter = NULL;
    conn_resume_login(conn);
}

void session_waiter_cancel(struct conn *conn)
{
    if (!conn->session_waiter)
        return;
    conn->session_waiter->conn = NULL;
    conn->session_waiter = NULL;
}

static struct session *session_find_locked(struct iscsi_server *server, const char *initiator,
                                           const uint8_t isid[6])
{
    list_for_each (session, &server->sessions, struct session, link)
    {
        if (!session->is_discovery && memcmp(session->isid, isid, sizeof(session->isid)) == 0 &&
            strcmp(session->initiator, initiator) == 0)
            return session;
    }
    return NULL;
}

static bool session_tsih_is_used_locked(struct iscsi_server *server, uint16_t tsih)
{
    list_for_each (session, &server->sessions, struct session, link)
    {
        if (session->tsih == tsih)
            return true;
    }
    return false;
}

/* Puts @session into the table. -EAGAIN: another of the same name is there, and was told to end. */
static int session_register(struct session *session, struct session_waiter *waiter)
{
    struct iscsi_server *server = session->server;
    AUTO_LOCK(&server->lock);
    struct session *old = session->is_discovery
                              ? NULL
                              : session_find_locked(server, session->initiator, session->isid);
    if (old)
    {
        list_add_tail(&old->waiters, &waiter->link);
        loop_post(old->thread->loop, &old->end_call);
        return -EAGAIN;
    }
    if (server->session_count >= server->limits.sessions)
        return -EUSERS;
    do
        server->last_tsih++;
    while (server->last_tsih == 0 || session_tsih_is_used_locked(server, server->last_tsih));
    session->tsih = server->last_tsih;
    list_add_tail(&server->sessions, &session->link);
    server->session_count++;
    return 0;
}

/* Out of the table; who waited for that goes on. */
static void session_unregister(struct session *session)
{
    struct iscsi_server *server = session->server;
    AUTO_LOCK(&server->lock);
    list_remove(&session->link);
    while (!list_is_empty(&session->waiters))
    {
        struct session_waiter *waiter =
            container_of(session->waiters.next, struct session_waiter, link);
        list_remove(&waiter->link);
        loop_post(waiter->loop, &waiter->call);
    }
    server->session_count--;
    condition_wake_all(&server->gone);
}

/* Called by scsi/ from any thread. */
static void session_changed_cb(void *opaque)
{
    struct session *session = opaque;
    loop_post(session->thread->loop, &session->changed_call);
}

static void session_changed(struct loop_call *call)
{
    struct session *session = container_of(call, struct session, changed_call);
    if (!session->nexus)
        return;
    task_take_changes(session);
    if (session->conn)
        conn_flush_later(session->conn);
}

static void session_replaced(struct loop_call *call)
{
    struct session *session = container_of(call, struct session, end_call);
    session_drop(session, "replaced by a new login of the same initiator port");
}

static void session_over(struct loop_call *call);

static struct session *session_make(struct conn *conn, const struct login *login)
{
    struct session *session = calloc(1, sizeof(*session));
    if (!session)
        return NULL;
    session->thread = conn->thread;
    session->server = conn->thread->server;
    memcpy(session->initiator, login->initiator, sizeof(session->initiator));
    memcpy(session->alias, login->initiator_alias, sizeof(session->alias));
    memcpy(session->remote, conn->remote, sizeof(session->remote));
    memcpy(session->local, conn->local, sizeof(session->local));
    memcpy(session->isid, login->isid, sizeof(session->isid));
    session->portal_group_tag = login->env->portal_group_tag;
    session->cid = login->cid;
    session->is_discovery = login->is_discovery;
    session->is_authenticated = login->is_authenticated;
    session->params = login->params;
    params_settle(&session->params);
    params_new_phase(&session->params);
    session->conn = conn;
    session->opened_ms = loop_now_ms(conn->thread->loop);
    session->exp_cmd_sn = login->cmd_sn;
    session->max_cmd_sn = login->cmd_sn - 1;
    session->text.ttt = WIRE_TAG_NONE;
    list_init(&session->link);
    list_init(&session->waiters);
    list_init(&session->held);
    list_init(&session->run_queue);
    work_source_init(&session->work_source);
    for (unsigned i = 0; i < SESSION_HASH_SIZE; i++)
        list_init(&session->tasks[i]);
    loop_call_init(&session->changed_call, session_changed);
    loop_call_init(&session->end_call, session_replaced);
    loop_call_init(&session->over_call, session_over);
    return session;
}

static void session_free(struct session *session)
{
    writer_destroy(&session->text.request);
    writer_destroy(&session->text.answer);
    free(session);
}

static int session_make_nexus(struct session *session)
{
    if (session->is_discovery)
        return 0;
    struct scsi_nexus_args args = {
        .initiator_name = session->initiator,
        .portal_group_tag = session->portal_group_tag,
        .changed = session_changed_cb,
        .opaque = session,
    };
    memcpy(args.isid, session->isid, sizeof(args.isid));
    return scsi_nexus_create(session->server->scsi, &args, &session->nexus);
}

int session_open(struct conn *conn, const struct login *login, struct session **out)
{
    struct session *session = session_make(conn, login);
    struct session_waiter *waiter = calloc(1, sizeof(*waiter));
    int r = session && waiter ? 0 : -ENOMEM;
    if (r == 0)
    {
        waiter->loop = conn->thread->loop;
        waiter->conn = conn;
        list_init(&waiter->link);
        loop_call_init(&waiter->call, session_waiter_run);
        r = session_register(session, waiter);
    }
    if (r == -EAGAIN)
        conn->session_waiter = take_ptr(&waiter);
    free(waiter);
    if (r < 0)
    {
        if (session)
            session_free(session);
        return r;
    }
    r = session_make_nexus(session);
    if (r < 0)
    {
        session_unregister(session);
        loop_unpost(session->thread->loop, &session->end_call);
        session_free(session);
        return r;
    }
    *out = session;
    return 0;
}

/* ---- end ----------------------------------------------------------------------------------- */

static void session_send_logout_response(struct session *session)
{
    struct wire_logout_response_pdu bhs = {
        .opcode = WIRE_LOGOUT_RESPONSE,
        .flags = WIRE_FINAL,
        .response = session->logout_response,
        .itt = be32_put(session->logout_itt),
        .time2wait = be16_put(session->params.value[PARAM_TIME2WAIT_S]),
    };
    session_stamp(session, &bhs, true);
    conn_send(session->conn, &bhs, NULL, 0);
}

static void session_over(struct loop_call *call)
{
    struct session *session = container_of(call, struct session, over_call);
    struct conn *conn = session->conn;
    if (conn && session->wants_logout)
        session_send_logout_response(session);
    /* Sending may have closed it, which took it out of the session. */
    conn = session->conn;
    if (conn)
    {
        conn->session = NULL;
        session->conn = NULL;
        conn_finish(conn);
        conn_flush(conn);
    }
    session_unregister(session);
    loop_unpost(session->thread->loop, &session->end_call);
    loop_unpost(session->thread->loop, &session->changed_call);
    session_free(session);
}

void session_check_end(struct session *session)
{
    if (session->is_ending && session->task_count == 0 && session->running_count == 0 &&
        session->tmf_count == 0)
        loop_defer(session->thread->loop, &session->over_call);
}

void session_end(struct session *session, const char *why)
{
    if (session->is_ending)
        return;
    session->is_ending = true;
    if (why)
        log_info("session of %s from %s ends: %s", session->initiator, session->remote, why);
    if (session->nexus)
        scsi_nexus_destroy(session->nexus);
    session->nexus = NULL;
    session_drop_held(session);
    task_end_all(session);
    session_check_end(session);
}

void session_lose_conn(struct session *session)
{
    session->conn = NULL;
    session_end(session, NULL);
}

void session_finish_conn(struct session *session, const char *why)
{
    struct conn *conn = session->conn;
    if (!conn)
        return;
    session->conn = NULL;
    conn->session = NULL;
    conn_finish(conn);
    session_end(session, why);
}

void session_drop(struct session *session, const char *why)
{
    if (session->is_ending && !session->conn)
        return;
    if (session->conn && session->conn->state == CONN_OPEN && !session->is_discovery)
        session_send_async(session, WIRE_ASYNC_DROP_SESSION, 0,
                           (uint16_t)session->params.value[PARAM_TIME2WAIT_S], 0);
    if (session->conn)
        session_finish_conn(session, why);
    else
        session_end(session, why);
}
