/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A session: one initiator port towards the target, over its one connection.
 *
 *          session_open             session_end (logout, loss,        last task and task
 *                                   reinstatement, termination)       management function gone
 *   (none) -----------> ACTIVE -----------------------------> ENDING ------------------> freed
 *
 * Always true:
 *  - it is in the server's table from session_open() until it is freed, so that a login with the
 * same initiator name and ISID waits until nothing of the old session runs any more;
 *  - commands are delivered in the order of CmdSN; one outside the window is dropped silently;
 *  - MaxCmdSN never goes back, and never lets in more commands than the limit.
 */
#ifndef SERVER_ISCSI_SESSION_H
#define SERVER_ISCSI_SESSION_H

#include "server/iscsi/conn.h"
#include "server/scsi/scsi.h"

enum
{
    SESSION_HASH_SIZE = 64, /* a power of two */
};

/* Text of an exchange that takes several PDUs. */
struct session_text
{
    struct writer request; /* collected so far */
    struct writer answer;  /* to be sent, from sent on */
    size_t sent;
    uint32_t ttt; /* of the exchange; WIRE_TAG_NONE: none is open */
};

struct session
{
    struct list link;            /* server->sessions; under server->lock */
    struct list waiters;         /* logins that wait for its end; under server->lock */
    struct iscsi_thread *thread; /* immutable, as is all up to tsih */
    struct iscsi_server *server;
    char initiator[LOGIN_NAME_MAX + 1];
    char alias[LOGIN_NAME_MAX + 1];
    char remote[ISCSI_ADDRESS_MAX], local[ISCSI_ADDRESS_MAX];
    uint8_t isid[6];
    uint16_t portal_group_tag, cid;
    bool is_discovery, is_authenticated;
    uint16_t tsih;

    struct conn *conn; /* NULL: lost. Loop thread only, as is the rest */
    struct params params;
    struct scsi_nexus *nexus; /* NULL in a discovery session, and when ENDING */
    bool is_ending;
    bool wants_logout; /* a logout answer is due when all is over */
    uint32_t logout_itt;
    uint8_t logout_response;
    struct loop_call changed_call; /* posted by scsi/ */
    struct loop_call end_call;     /* posted by a login that takes its place */
    struct loop_call over_call;    /* deferred: nothing of it runs any more */
    uint64_t opened_ms;

    uint32_t stat_sn; /* of the next status */
    uint32_t exp_cmd_sn, max_cmd_sn;
    uint32_t next_ttt;
    struct list held; /* PDUs that came before their turn, by CmdSN; struct held_pdu */
    uint64_t held_bytes;

    struct list tasks[SESSION_HASH_SIZE]; /* by initiator task tag, those not done at once */
    uint32_t task_count;                  /* in the table */
    uint32_t window_used;                 /* of these, commands that count against the window */
    uint32_t immediate_count;             /* of these, immediate commands */
    uint32_t running_count;               /* tasks on workers */
    struct work_source work_source;       /* of these, those that no worker has begun */
    uint32_t tmf_count;                   /* task management functions that are not done */
    uint64_t awaited_bytes;               /* of data that is asked for or announced */
    uint64_t pending_in_bytes;            /* Data-In that workers are reading */
    struct list run_queue;                /* tasks that wait for room in the output */
    bool has_aborted;                     /* Data-Out of unknown tasks may be late, not wrong */
    struct session_text text;

    uint64_t command_count, read_bytes, written_bytes;
};

/* ---- life ---------------------------------------------------------------------------------- */

/*
 * Makes the session that @conn's login asks for. -EAGAIN: an old session of the same name is being
 * ended first; conn_resume_login() is called then. -EUSERS: too many sessions.
 */
MUST_CHECK int session_open(struct conn *conn, const struct login *login, struct session **session);
/* @conn waits no more. */
void session_waiter_cancel(struct conn *conn);

/* Ends it: aborts what runs, lets go of the nexus. @why is for the log; NULL: nothing to say. */
void session_end(struct session *session, const char *why);
/* Its connection is closed. */
void session_lose_conn(struct session *session);
/* A command with this tag that waits for its turn becomes nothing. False: there is none. */
bool session_void_held(struct session *session, uint32_t itt);
/* PDUs that wait for their turn are forgotten. */
void session_drop_held(struct session *session);
/* A task or function of an ending session went: is it over? At the end of the turn, if so. */
void session_check_end(struct session *session);
/* What is queued is sent, then the connection closes and the session ends. */
void session_finish_conn(struct session *session, const char *why);
/* Sends an asynchronous message and ends the session. */
void session_drop(struct session *session, const char *why);

/* All sessions of @server, on all threads. From any thread. */
void session_drop_all(struct iscsi_server *server, const char *why);

/* ---- PDUs ---------------------------------------------------------------------------------- */

/* A whole PDU. @buf: holds its data; NULL: the data is in scratch memory. */
void session_receive(struct session *session, const struct pdu *pdu, struct iobuf *buf);
/* Its data digest is wrong. */
void session_data_digest_error(struct session *session, const struct pdu *pdu);
/*
 * Where the data of a PDU whose header has come is to be collected. The buffer is returned with a
 * reference for the caller. NULL: no memory.
 */
struct iobuf *session_data_place(struct session *session, const struct pdu *pdu, uint8_t **at);
/* Whether bulk data is to be expected next. */
static inline bool session_awaits_data(const struct session *session)
{
    return session->awaited_bytes > CONN_SMALL_RECV;
}

void session_reject(struct session *session, const struct wire_bhs *bhs,
                    enum wire_reject_reason reason);
/* Fills in the window and, with @takes_stat_sn, the next status number, of any response. */
void session_stamp(struct session *session, void *bhs, bool takes_stat_sn);
void session_send_async(struct session *session, enum wire_async_event event, uint16_t parameter1,
                        uint16_t parameter2, uint16_t parameter3);
/* Our ping. */
void session_send_nop_in(struct session *session);
/* Output has room again. Runs some of those that waited for it; the connection's next flush comes
 * back for the rest. */
void session_run_queue(struct session *session);

/* ---- parts in other files ------------------------------------------------------------------ */

/* tmf.c */
void tmf_request(struct session *session, const struct pdu *pdu);
/* discovery.c */
void discovery_text_request(struct session *session, const struct pdu *pdu);
/* Text of a record for this target, seen from @local. Public for tests. */
void discovery_send_targets(struct session *session, const char *value, struct writer *out);

#endif
