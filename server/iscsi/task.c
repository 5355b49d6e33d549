/* SPDX-License-Identifier: BSD-3-Clause */
/* Life of a task: from the command PDU to the end, and who runs it. */
#include "server/iscsi/task.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "lun/base/log.h"

enum
{
    TASK_SUSPECT_NS = 100 * 1000, /* an I/O on a loop thread that took so long may have blocked */
    TASK_SLOW_NS = 30 * 1000 * 1000, /* one that took so long did, whatever the kernel says */
    TASK_SLOW_REST_MS = 100,
    TASK_LOAN_BYTES = 16 * 1024,   /* of a read: a smaller one is copied faster than lent */
    TASK_FAIL_PROTOCOL = 0x0b4705, /* ABORTED COMMAND, PROTOCOL SERVICE CRC ERROR */
    TASK_FAIL_UNEXPECTED = 0x0b0c0c,
    TASK_FAIL_AMOUNT = 0x0b0c0d,
};

/* ---- memory and table ---------------------------------------------------------------------- */

static struct task *task_alloc(struct session *session)
{
    struct iscsi_thread *thread = session->thread;
    struct task *task;
    if (thread->free_task_count > 0)
    {
        task = container_of(thread->free_tasks.next, struct task, link);
        list_remove(&task->link);
        thread->free_task_count--;
    }
    else
    {
        task = malloc(sizeof(*task));
        if (!task)
            return NULL;
    }
    /* The SCSI part is set field by field: its sense need not be cleared for each command. */
    task->wait.state = QOS_WAIT_NONE;
    memset(&task->work, 0, sizeof(*task) - offsetof(struct task, work));
    list_init(&task->link);
    list_init(&task->queue_link);
    task->session = session;
    return task;
}

static void task_free(struct task *task)
{
    struct iscsi_thread *thread = task->session->thread;
    iobuf_put(task->in_buf);
    iobuf_put(task->out_buf);
    if (thread->free_task_count >= ISCSI_TASKS_KEPT_MAX)
    {
        free(task);
        return;
    }
    list_add_head(&thread->free_tasks, &task->link);
    thread->free_task_count++;
}

void task_free_kept(struct iscsi_thread *thread)
{
    list_for_each_safe (task, &thread->free_tasks, struct task, link)
    {
        list_remove(&task->link);
        free(task);
    }
    thread->free_task_count = 0;
}

static struct list *task_bucket(struct session *session, uint32_t itt)
{
    return &session->tasks[(itt ^ itt >> 16) & (SESSION_HASH_SIZE - 1)];
}

struct task *task_find(struct session *session, uint32_t itt)
{
    if (session->task_count == 0)
        return NULL;
    list_for_each (task, task_bucket(session, itt), struct task, link)
    {
        if (task->itt == itt)
            return task;
    }
    return NULL;
}

void task_keep(struct task *task)
{
    struct session *session = task->session;
    if (task->is_in_table)
        return;
    task->is_in_table = true;
    list_add_tail(task_bucket(session, task->itt), &task->link);
    session->task_count++;
    if (task->is_immediate)
        session->immediate_count++;
    else
        session->window_used++;
}

static void task_leave_table(struct task *task)
{
    struct session *session = task->session;
    if (!task->is_in_table)
        return;
    task->is_in_table = false;
    list_remove(&task->link);
    session->task_count--;
    if (task->is_immediate)
        session->immediate_count--;
    else
        session->window_used--;
}

uint32_t task_next_ttt(struct session *session)
{
    if (++session->next_ttt == WIRE_TAG_NONE)
        session->next_ttt = 0;
    return session->next_ttt;
}

/* ---- end ----------------------------------------------------------------------------------- */

void task_set_fail_sense(struct task *task)
{
    struct scsi_task *scsi = &task->scsi;
    scsi->status = SCSI_CHECK_CONDITION;
    scsi->in_len = 0;
    scsi->sense_len = 18;
    memset(scsi->sense, 0, scsi->sense_len);
    scsi->sense[0] = 0x70; /* current error, fixed format */
    scsi->sense[2] = (uint8_t)(task->fail >> 16);
    scsi->sense[7] = 10;
    scsi->sense[12] = (uint8_t)(task->fail >> 8);
    scsi->sense[13] = (uint8_t)task->fail;
}

/* Counts it, if it did what it was to do. */
static void task_account(const struct task *task)
{
    const struct scsi_task *scsi = &task->scsi;
    if (!scsi->qos || task->begun_ns == 0 || task->fail || scsi->status != SCSI_GOOD)
        return;
    uint64_t ended_ns = task->ended_ns ? task->ended_ns : qos_clock_ns();
    qos_account(scsi->qos, scsi->io, scsi->io_bytes, ended_ns - task->begun_ns + task->held_ns);
}

void task_finish(struct task *task, uint8_t *room)
{
    struct session *session = task->session;
    struct iscsi_thread *thread = session->thread;
    if (task->state == TASK_HELD)
        qos_leave(task->scsi.qos, &task->wait);
    task_account(task);
    task->residual = task->fail ? 0 : scsi_task_residual(&task->scsi);
    bool is_to_send = scsi_task_end(&task->scsi);
    list_remove(&task->queue_link);
    task->unsolicited_open = false;
    task->r2t_count = 0;
    task_update_awaited(task);
    task_leave_table(task);
    if (!is_to_send)
        session->has_aborted = true;
    if (task->fail)
        task_set_fail_sense(task);
    if (is_to_send && session->conn)
        task_respond(task, room);
    session->command_count++;
    task_free(task);
    if (session->is_ending)
        session_check_end(session);
    if (!list_is_empty(&thread->starved))
        task_feed_starved(thread);
}

static struct task *task_find_idle(struct list *bucket)
{
    list_for_each (task, bucket, struct task, link)
    {
        if (task->state != TASK_WORKING)
            return task;
    }
    return NULL;
}

/* Looks anew after each: the end of one may end others that waited for its buffers. */
void task_end_all(struct session *session)
{
    struct task *task;
    for (unsigned i = 0; i < SESSION_HASH_SIZE; i++)
        while ((task = task_find_idle(&session->tasks[i])) != NULL)
            task_finish(task, NULL);
}

/* ---- running ------------------------------------------------------------------------------- */

/* On a worker. */
static void task_work(struct work *work)
{
    struct task *task = container_of(work, struct task, work);
    struct iscsi_thread *thread = task->session->thread;
    task->step = (uint8_t)scsi_execute(&task->scsi);
    {
        AUTO_LOCK(&thread->done_lock);
        list_add_tail(&thread->done, &task->queue_link);
    }
    loop_post(thread->loop, &thread->done_call);
}

static void task_submit(struct task *task)
{
    struct session *session = task->session;
    task->state = TASK_WORKING;
    session->running_count++;
    session->pending_in_bytes += task->scsi.in_capacity;
    task->work.run = task_work;
    list_init(&task->work.link);
    workers_submit(session->server->workers, &session->work_source, &task->work);
}

/* Data that lies in scratch memory must last longer than this turn. */
static bool task_save_data(struct task *task, const uint8_t *data)
{
    task_keep(task);
    if (!data || task->out_want == 0)
        return true;
    task->out_buf = iobuf_get(&task->session->thread->buffers, task->out_want);
    if (!task->out_buf)
        return false;
    memcpy(task->out_buf->bytes, data, task->out_want);
    task->scsi.out = task->out_buf->bytes;
    return true;
}

static bool task_get_in_buf(struct task *task, size_t len)
{
    task->scsi.in = NULL;
    task->scsi.in_capacity = len;
    if (len == 0)
        return true;
    if (!task->in_buf)
        task->in_buf = iobuf_get(&task->session->thread->buffers, len);
    task->scsi.in = task->in_buf ? task->in_buf->bytes : NULL;
    return task->in_buf;
}

/* No memory: the host is to try again. */
static void task_finish_busy(struct task *task)
{
    task->scsi.status = SCSI_BUSY;
    task->scsi.sense_len = 0;
    task->scsi.in_len = 0;
    task_finish(task, NULL);
}

/*
 * Writes that wait for room may wait for long: they get half of the memory for data, so that others
 * find some. True: it was told to come again.
 */
static bool task_is_sent_away(struct task *task)
{
    const struct iscsi_thread *thread = task->session->thread;
    if (!task->out_buf || !scsi_lacks_room(&task->scsi) ||
        thread->buffers.used_bytes <= thread->buffer_limit_bytes / 2)
        return false;
    task_finish_busy(task);
    return true;
}

/* What scsi_execute_inline() did not do goes elsewhere. */
static void task_run_later(struct task *task, const uint8_t *data, size_t in_len,
                           enum scsi_step step)
{
    if (!task_save_data(task, data) || !task_get_in_buf(task, in_len))
    {
        task_finish_busy(task);
        return;
    }
    if (task->begun_ns == 0)
        task->begun_ns = qos_clock_ns();
    if (step != SCSI_DORMANT)
        task_submit(task);
    else if (!task_is_sent_away(task))
        task->state = TASK_SLEEPING;
}

/*
 * Whether this thread has waited for a disk since it last looked. Wall time does not tell: the
 * thread may have lost its processor to another.
 */
static bool task_has_read_disk(struct iscsi_thread *thread)
{
    struct rusage usage;
    if (getrusage(RUSAGE_THREAD, &usage) < 0)
        return false;
    bool has_read = usage.ru_inblock != thread->disk_reads;
    thread->disk_reads = usage.ru_inblock;
    return has_read;
}

/*
 * I/O on this thread took so long. If that was a mistake, the workers get what comes in the next
 * moments, so that cold data is read by many at a time and holds up no other connection.
 */
static void task_note_inline(struct iscsi_thread *thread, uint64_t took)
{
    if (took > TASK_SUSPECT_NS && (took > TASK_SLOW_NS || task_has_read_disk(thread)))
        thread->slow_until_ms = loop_now_ms(thread->loop) + TASK_SLOW_REST_MS;
}

/* Where the data of a read may be lent. */
static struct lun_loan *task_find_loan(const struct task *task, size_t in_len)
{
    struct conn *conn = task->session->conn;
    bool may = conn && in_len >= TASK_LOAN_BYTES && scsi_is_read(task->scsi.cdb);
    return may ? conn_next_loan(conn) : NULL;
}

/* It may be that the connection is to be closed, and the loan of no use; it is returned there. */
static void task_take_loan(struct task *task)
{
    task->loan = task->scsi.loan;
    conn_take_loan(task->session->conn);
}

static enum scsi_step task_try_inline(struct task *task, bool has_data)
{
    struct iscsi_thread *thread = task->session->thread;
    if (!has_data)
        return scsi_execute_inline(&task->scsi);
    uint64_t begin = qos_clock_ns();
    enum scsi_step step = scsi_execute_inline(&task->scsi);
    uint64_t end = qos_clock_ns();
    if (task->begun_ns == 0)
        task->begun_ns = begin;
    if (step == SCSI_DONE)
        task->ended_ns = end;
    task_note_inline(thread, end - begin);
    return step;
}

static bool task_is_slow(const struct iscsi_thread *thread)
{
    return loop_now_ms(thread->loop) < thread->slow_until_ms;
}

bool task_has_piece(const struct task *task)
{
    return task->scsi.takes_pieces && !task->has_kept &&
           task->out_got - task->out_taken >= TASK_PIECE_BYTES;
}

void task_offer_pieces(struct task *task)
{
    struct iscsi_thread *thread = task->session->thread;
    while (task_has_piece(task))
    {
        size_t len = min_u64(task->out_got - task->out_taken, SCSI_PIECE_MAX_BYTES);
        uint64_t begin = qos_clock_ns();
        task->has_kept = task_is_slow(thread) ||
                         !scsi_take_piece(&task->scsi, task->out_buf->bytes + task->out_taken, len);
        uint64_t took = qos_clock_ns() - begin;
        task->held_ns += took;
        task_note_inline(thread, took);
        if (!task->has_kept)
            task->out_taken += (uint32_t)len;
    }
}

/* @data: where the data is, if not in task->out_buf. */
static void task_run(struct task *task, const uint8_t *data)
{
    struct session *session = task->session;
    struct scsi_task *scsi = &task->scsi;
    size_t in_len = min_u64(scsi->edtl_in, scsi->in_max);
    uint8_t *room = NULL, *at = NULL;
    scsi->out = data ? data : task->out_buf ? task->out_buf->bytes : NULL;
    scsi->out_len = task->out_want;
    bool has_data = in_len > 0 || task->out_want > 0;
    if (has_data && task_is_slow(session->thread))
    {
        task_run_later(task, data, in_len, SCSI_WOULD_BLOCK);
        return;
    }
    if (in_len > 0 && task_fits_room(session, in_len))
    {
        room = task_reserve_room(session, in_len, &at);
        scsi->in = at;
        scsi->in_capacity = in_len;
    }
    if (!room && !task_get_in_buf(task, in_len))
    {
        task_finish_busy(task);
        return;
    }
    scsi->loan = room ? NULL : task_find_loan(task, in_len);
    enum scsi_step step = task_try_inline(task, has_data);
    if (scsi->is_lent)
        task_take_loan(task);
    scsi->loan = NULL;
    if (step == SCSI_DONE)
        task_finish(task, room);
    else
        task_run_later(task, data, in_len, step);
}

static bool task_must_queue(const struct session *session)
{
    return !list_is_empty(&session->run_queue) ||
           session->conn->out_bytes + session->pending_in_bytes >=
               session->server->limits.output_bytes;
}

/* It goes on in task_take_admitted(). */
bool task_is_held(struct task *task, const uint8_t *data)
{
    struct qos_lun *lun = task->scsi.qos;
    if (task->is_admitted || !qos_is_limited(lun, task->scsi.io))
        return false;
    task->is_admitted =
        qos_enter(lun, task->scsi.io_bytes, &task->wait, &task->session->thread->admitted);
    if (task->is_admitted)
        return false;
    task->state = TASK_HELD;
    task->held_ns = qos_clock_ns();
    if (!task_save_data(task, data))
        task_finish_busy(task);
    else if (data)
        task->out_got = task->out_want;
    return true;
}

void task_ready(struct task *task, const uint8_t *data)
{
    struct session *session = task->session;
    if (task->is_decided)
    {
        task_finish(task, NULL);
        return;
    }
    if (task_is_held(task, data))
        return;
    if (!session->conn || !task_must_queue(session))
    {
        task_run(task, data);
        return;
    }
    if (!task_save_data(task, data))
    {
        task_finish_busy(task);
        return;
    }
    task->state = TASK_QUEUED;
    list_add_tail(&session->run_queue, &task->queue_link);
}

void session_run_queue(struct session *session)
{
    struct iscsi_thread *thread = session->thread;
    uint64_t end = thread->spent_units + ISCSI_RUN_UNITS;
    while (session->conn && !list_is_empty(&session->run_queue) && thread->spent_units < end &&
           session->conn->out_bytes + session->pending_in_bytes <
               session->server->limits.output_bytes)
    {
        struct task *task = container_of(session->run_queue.next, struct task, queue_link);
        list_remove(&task->queue_link);
        thread->spent_units++;
        task_run(task, NULL);
    }
}

/* A worker is through with it. */
static void task_worked(struct task *task)
{
    struct session *session = task->session;
    session->running_count--;
    session->pending_in_bytes -= task->scsi.in_capacity;
    bool is_woken = task->is_woken;
    task->is_woken = false;
    task->state = TASK_SLEEPING;
    if (task->step == SCSI_DONE || task->is_dropped || session->is_ending)
        task_finish(task, NULL);
    else if (is_woken)
        task_ready(task, NULL);
    else if (task_is_sent_away(task))
        return;
    /* else scsi/ makes it wait, and will say when it may go on */
}

void task_take_done(struct loop_call *call)
{
    struct iscsi_thread *thread = container_of(call, struct iscsi_thread, done_call);
    struct list done;
    list_init(&done);
    {
        AUTO_LOCK(&thread->done_lock);
        list_splice_tail(&done, &thread->done);
    }
    while (!list_is_empty(&done))
    {
        struct task *task = container_of(done.next, struct task, queue_link);
        struct session *session = task->session;
        list_remove(&task->queue_link);
        task_worked(task);
        if (session->conn)
            conn_flush_later(session->conn);
    }
}

void task_take_admitted(struct loop_call *call)
{
    struct iscsi_thread *thread = container_of(call, struct iscsi_thread, admitted_call);
    struct qos_wait *wait;
    while ((wait = qos_sink_next(&thread->admitted)) != NULL)
    {
        struct task *task = container_of(wait, struct task, wait);
        struct session *session = task->session;
        task->is_admitted = true;
        task->held_ns = qos_clock_ns() - task->held_ns;
        task_continue(task);
        if (session->conn)
            conn_flush_later(session->conn);
    }
}

void task_take_changes(struct session *session)
{
    struct scsi_task *scsi;
    for (;;)
    {
        enum scsi_change change =
            session->nexus ? scsi_nexus_next_changed(session->nexus, &scsi) : SCSI_CHANGE_NONE;
        if (change == SCSI_CHANGE_NONE)
            return;
        struct task *task = container_of(scsi, struct task, scsi);
        if (task->state == TASK_WORKING)
        {
            task->is_woken |= change == SCSI_CHANGE_RUNNABLE;
            task->is_dropped |= change == SCSI_CHANGE_ABORTED;
        }
        else if (change == SCSI_CHANGE_ABORTED)
        {
            task_finish(task, NULL);
        }
        else if (task->state == TASK_SLEEPING)
        {
            task_ready(task, NULL);
        }
    }
}

/* ---- the command PDU ----------------------------------------------------------------------- */

size_t task_buffer_hint(const struct pdu *pdu)
{
    const struct wire_scsi_command *bhs = (const struct wire_scsi_command *)pdu->bhs;
    uint32_t edtl = be32_get(bhs->expected_bytes);
    if (edtl > pdu->data_len && edtl <= SCSI_TRANSFER_MAX_BYTES && bhs->flags & WIRE_CMD_WRITE)
        return edtl;
    return pdu->data_len;
}

/* What additional header segments say. False: not understood. */
static bool task_take_ahs(struct task *task, const struct pdu *pdu, uint64_t *bidi_read)
{
    const uint8_t *at = pdu->ahs;
    uint32_t left = pdu->ahs_len;
    struct pdu_ahs ahs;
    bool bad;
    while (pdu_next_ahs(&at, &left, &ahs, &bad))
    {
        if (ahs.type == WIRE_AHS_EXTENDED_CDB && ahs.len > 1 && ahs.len - 1 <= SCSI_CDB_MAX - 16)
        {
            memcpy(task->scsi.cdb + 16, ahs.bytes + 1, ahs.len - 1);
            task->scsi.cdb_len = (uint8_t)(16 + ahs.len - 1);
        }
        else if (ahs.type == WIRE_AHS_BIDI_READ_LENGTH && ahs.len == 5)
        {
            struct be32 len;
            memcpy(len.b, ahs.bytes + 1, sizeof(len.b));
            *bidi_read = be32_get(len);
        }
        else
        {
            return false;
        }
    }
    return !bad;
}

/* Fills in the SCSI part. False: the PDU makes no sense. */
static bool task_fill(struct task *task, const struct pdu *pdu)
{
    const struct wire_scsi_command *bhs = (const struct wire_scsi_command *)pdu->bhs;
    struct scsi_task *scsi = &task->scsi;
    uint64_t expected = be32_get(bhs->expected_bytes), bidi_read = 0;
    task->itt = be32_get(bhs->itt);
    task->cmd_sn = be32_get(bhs->cmd_sn);
    task->is_immediate = pdu_is_immediate(pdu->bhs);
    scsi->nexus = task->session->nexus;
    memcpy(scsi->lun, bhs->lun, sizeof(scsi->lun));
    memcpy(scsi->cdb, bhs->cdb, sizeof(bhs->cdb));
    memset(scsi->cdb + 16, 0, SCSI_CDB_MAX - 16);
    scsi->cdb_len = 16;
    scsi->attribute = bhs->flags & WIRE_CMD_ATTR_MASK;
    scsi->tag = task->itt;
    if (pdu->ahs_len > 0 && !task_take_ahs(task, pdu, &bidi_read))
        return false;
    bool reads = bhs->flags & WIRE_CMD_READ, writes = bhs->flags & WIRE_CMD_WRITE;
    scsi->edtl_out = writes ? expected : 0;
    scsi->edtl_in = !reads ? 0 : writes ? bidi_read : expected;
    return scsi->attribute <= WIRE_ATTR_ACA && (writes || pdu->data_len == 0);
}

/* Whether the data that comes unasked is what was agreed; else the task fails for it. */
static void task_check_unsolicited(struct task *task, const struct pdu *pdu)
{
    const struct params *params = &task->session->params;
    bool is_final = pdu->bhs->flags & WIRE_FINAL;
    task->unsolicited_open = !is_final && task->scsi.edtl_out > 0;
    task->unsolicited_got = pdu->data_len;
    if ((pdu->data_len > 0 && !params->value[PARAM_IMMEDIATE_DATA]) ||
        (task->unsolicited_open && params->value[PARAM_INITIAL_R2T]))
        task->fail = TASK_FAIL_UNEXPECTED;
    else if (pdu->data_len > params->value[PARAM_FIRST_BURST_BYTES] ||
             pdu->data_len > task->scsi.edtl_out)
        task->fail = TASK_FAIL_AMOUNT;
}

/* Begins it in scsi/ and works out how much data it wants. */
static void task_begin(struct task *task)
{
    struct scsi_task *scsi = &task->scsi;
    task->is_decided = scsi_task_begin(scsi) == SCSI_DONE;
    uint64_t want = task->is_decided ? 0 : min_u64(scsi->edtl_out, scsi->out_wanted);
    if (want > SCSI_TRANSFER_MAX_BYTES)
    {
        /* scsi/ takes no such command; should it, this thread would have to find the memory. */
        task->fail = TASK_FAIL_AMOUNT;
        want = 0;
    }
    task->out_want = (uint32_t)want;
}

void task_command(struct session *session, const struct pdu *pdu, struct iobuf *buf)
{
    uint32_t itt = be32_get(pdu->bhs->itt);
    if (itt == WIRE_TAG_NONE || task_find(session, itt))
    {
        session_reject(session, pdu->bhs, WIRE_REJECT_PROTOCOL);
        return;
    }
    if (pdu_is_immediate(pdu->bhs) && session->immediate_count >= session->server->limits.immediate)
    {
        session_reject(session, pdu->bhs, WIRE_REJECT_TOO_MANY_IMMEDIATE);
        return;
    }
    struct task *task = task_alloc(session);
    if (!task || !task_fill(task, pdu))
    {
        session_reject(session, pdu->bhs,
                       task ? WIRE_REJECT_INVALID_FIELD : WIRE_REJECT_TOO_MANY_IMMEDIATE);
        if (task)
            task_free(task);
        return;
    }
    task_begin(task);
    task_check_unsolicited(task, pdu);
    session->written_bytes += pdu->data_len;
    if (!task->fail && !task->unsolicited_open && pdu->data_len >= task->out_want && !buf)
    {
        task_ready(task, pdu->data);
        return;
    }
    task_keep(task);
    if (!task_take_immediate(task, pdu, buf))
        task->fail = TASK_FAIL_AMOUNT;
    task_continue(task);
}
