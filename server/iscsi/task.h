/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A SCSI command of a session, from its PDU to its last response.
 *
 *             task_command          all data there        SCSI_WOULD_BLOCK
 *   (none) ---------------> COLLECT ------------> QUEUED ----------------> RUNNING
 *                              |  task_data_out     | ^  task_run             |
 *                              |                    v |  task_take_changes    | task_take_done
 *                              |                 DORMANT                      |
 *                              '--------------------+-------------------------+--> task_finish
 *
 * QUEUED: waits for room in the output. DORMANT: scsi/ makes it wait for other tasks. In COLLECT it
 * may be HELD until the limits of its LUN let it go (qos/qos.h), and asks for no data until then. A
 * short command whose data came with it goes through all of this inside task_command() and never
 * enters a table.
 *
 * Always true:
 *  - scsi_task_end() is called once for each, in task_finish();
 *  - while RUNNING it belongs to a worker, but for the links and the tags;
 *  - data is taken in order only; anything else fails the task, after all of it has come.
 */
#ifndef SERVER_ISCSI_TASK_H
#define SERVER_ISCSI_TASK_H

#include "server/iscsi/session.h"

enum
{
    TASK_R2T_MAX = 8,            /* outstanding of a task; params.c offers as many */
    TASK_PIECE_BYTES = 64 << 10, /* of a write: less is not worth a write of its own */
};

enum task_state
{
    TASK_COLLECTING,
    TASK_HELD,
    TASK_QUEUED,
    TASK_SLEEPING,
    TASK_WORKING,
};

/* A sequence of Data-Out that was asked for. */
struct task_r2t
{
    uint32_t ttt, offset, len, got, data_sn;
};

struct task
{
    struct scsi_task scsi;
    struct qos_wait wait;        /* while HELD */
    struct work work;            /* from here on cleared for each command */
    struct list link;            /* session->tasks, or thread->free_tasks */
    struct list queue_link;      /* session->run_queue, thread->starved, thread->done */
    uint64_t begun_ns, ended_ns; /* of what is accounted for; 0: not yet */
    uint64_t held_ns;            /* since when it is HELD, then how long it was, and its parts */
    struct session *session;
    uint32_t itt, cmd_sn;
    uint8_t state; /* enum task_state */
    bool is_immediate;
    bool is_in_table;
    bool is_decided;  /* its status is known without execution */
    bool is_woken;    /* RUNNABLE came while it was WORKING */
    bool is_dropped;  /* ABORTED came while it was WORKING */
    bool is_admitted; /* by the limits of its LUN */
    bool has_kept;    /* a part of its data that scsi/ did not take: so all of it waits */
    uint8_t step;     /* enum scsi_step of the worker */
    uint32_t fail;    /* sense key, ASC, ASCQ of a broken transfer; 0: none */
    int64_t residual;

    struct iobuf *in_buf, *out_buf;
    const struct lun_loan *loan; /* instead of in_buf; the connection's */
    uint32_t out_want;           /* bytes that the command takes */
    uint32_t out_got;            /* of them, from the first on */
    uint32_t out_taken;          /* of these, taken by scsi/ ahead of the rest */
    uint32_t data_in_count;      /* PDUs sent */

    bool unsolicited_open; /* Data-Out without R2T is still to come */
    uint32_t unsolicited_got, unsolicited_sn;
    struct task_r2t r2t[TASK_R2T_MAX];
    uint32_t r2t_count, r2t_sn;
    uint32_t asked;         /* offset up to which data came unasked or is asked for */
    uint32_t awaited_bytes; /* its part of session->awaited_bytes */
};

/* ---- task.c -------------------------------------------------------------------------------- */

void task_command(struct session *session, const struct pdu *pdu, struct iobuf *buf);
/* The task with this tag that is not done; or NULL. */
struct task *task_find(struct session *session, uint32_t itt);
uint32_t task_next_ttt(struct session *session);
/* True: it is over a limit, and HELD, or ended for want of memory. @data as for the next. */
bool task_is_held(struct task *task, const uint8_t *data);
/* All data is there; @data: where, if not in task->out_buf. */
void task_ready(struct task *task, const uint8_t *data);
/* Whether enough of its data came to go to scsi/ while more is to come. */
bool task_has_piece(const struct task *task);
void task_offer_pieces(struct task *task);
/* Ends it, answers unless it was aborted, and frees it. @room: Data-In is there, in the output. */
void task_finish(struct task *task, uint8_t *room);
/* What scsi/ says about tasks of @session. */
void task_take_changes(struct session *session);
/* The session ends: all that are not on workers. */
void task_end_all(struct session *session);
/* Workers are through with some. */
void task_take_done(struct loop_call *call);
/* Tasks that were held may go. */
void task_take_admitted(struct loop_call *call);
void task_free_kept(struct iscsi_thread *thread);
/* It is kept over this turn: into the table. */
void task_keep(struct task *task);
/* Makes the sense of a task that failed in transport. */
void task_set_fail_sense(struct task *task);
/* How large a buffer for a command's immediate data is best, so that it takes the rest too. */
size_t task_buffer_hint(const struct pdu *pdu);

/* ---- task_data.c --------------------------------------------------------------------------- */

void task_data_out(struct session *session, const struct pdu *pdu, struct iobuf *buf);
/* Its digest was wrong. */
void task_data_out_bad(struct session *session, const struct pdu *pdu);
/* The task's own buffer, if all of the PDU's data belongs there; NULL: collect it elsewhere. */
struct iobuf *task_data_place(struct session *session, const struct pdu *pdu, uint8_t **at);
/* Takes the immediate data. False: no memory. */
bool task_take_immediate(struct task *task, const struct pdu *pdu, struct iobuf *buf);
/* Goes on: asks for more, waits, runs, or fails. */
void task_continue(struct task *task);
/* Buffers came free. */
void task_feed_starved(struct iscsi_thread *thread);
void task_update_awaited(struct task *task);

/* ---- task_response.c ----------------------------------------------------------------------- */

/* Whether @len bytes of Data-In fit into one PDU that is built in the output. */
bool task_fits_room(const struct session *session, size_t len);
/* Room for such a PDU; where the data goes is *at. NULL: no memory, the connection is closed. */
uint8_t *task_reserve_room(struct session *session, size_t len, uint8_t **at);
/* Data-In and status. */
void task_respond(struct task *task, uint8_t *room);

#endif
