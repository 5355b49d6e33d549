/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Data-Out: what comes unasked, what is asked for by R2T.
 *
 * The data of a command is taken strictly from its first byte to its last. A break of the rules
 * fails the task, but its status waits until the sequences that are open have come to their end, as
 * the initiator will send them anyway.
 */
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "lun/base/log.h"
#include "server/iscsi/task.h"

enum
{
    TASK_FAIL_SEQUENCE = 0x0b4705, /* ABORTED COMMAND, PROTOCOL SERVICE CRC ERROR */
    TASK_FAIL_AMOUNT = 0x0b0c0d,   /* ABORTED COMMAND, NOT ENOUGH UNSOLICITED DATA */
};

/* A Data-Out PDU and what it belongs to. */
struct task_data
{
    struct task *task;
    struct task_r2t *r2t; /* NULL: unsolicited */
    uint32_t offset, len, data_sn;
    bool is_final;
    enum wire_reject_reason reject; /* if task is NULL; 0: drop it silently */
};

void task_update_awaited(struct task *task)
{
    uint32_t awaited = 0;
    if (task->unsolicited_open)
    {
        uint64_t limit =
            min_u64(task->session->params.value[PARAM_FIRST_BURST_BYTES], task->scsi.edtl_out);
        awaited = limit > task->unsolicited_got ? (uint32_t)(limit - task->unsolicited_got) : 0;
    }
    for (uint32_t i = 0; i < task->r2t_count; i++)
        awaited += task->r2t[i].len - task->r2t[i].got;
    task->session->awaited_bytes += awaited;
    task->session->awaited_bytes -= task->awaited_bytes;
    task->awaited_bytes = awaited;
}

/* ---- asking -------------------------------------------------------------------------------- */

static bool task_get_out_buf(struct task *task)
{
    if (!task->out_buf && task->out_want > 0)
        task->out_buf = iobuf_get(&task->session->thread->buffers, task->out_want);
    return task->out_buf || task->out_want == 0;
}

static void task_send_r2t(struct task *task)
{
    struct session *session = task->session;
    struct task_r2t *r2t = &task->r2t[task->r2t_count++];
    uint32_t left = task->out_want - task->asked;
    *r2t = (struct task_r2t){
        .ttt = task_next_ttt(session),
        .offset = task->asked,
        .len = (uint32_t)min_u64(left, session->params.value[PARAM_MAX_BURST_BYTES]),
    };
    task->asked += r2t->len;
    struct wire_r2t bhs = {
        .opcode = WIRE_R2T,
        .flags = WIRE_FINAL,
        .itt = be32_put(task->itt),
        .ttt = be32_put(r2t->ttt),
        .r2t_sn = be32_put(task->r2t_sn++),
        .offset = be32_put(r2t->offset),
        .desired_bytes = be32_put(r2t->len),
    };
    memcpy(bhs.lun, task->scsi.lun, sizeof(bhs.lun));
    session_stamp(session, &bhs, false);
    conn_send(session->conn, &bhs, NULL, 0);
}

/* False: no memory. */
static bool task_ask(struct task *task)
{
    struct session *session = task->session;
    struct iscsi_thread *thread = session->thread;
    if (!task->out_buf && thread->buffers.used_bytes >= thread->buffer_limit_bytes)
    {
        if (list_is_empty(&task->queue_link))
            list_add_tail(&thread->starved, &task->queue_link);
        return true;
    }
    if (!task_get_out_buf(task))
        return false;
    uint32_t max = session->params.value[PARAM_MAX_R2T];
    max = max < TASK_R2T_MAX ? max : TASK_R2T_MAX;
    while (session->conn && task->r2t_count < max && task->asked < task->out_want)
        task_send_r2t(task);
    return true;
}

void task_feed_starved(struct iscsi_thread *thread)
{
    if (thread->borrower)
    {
        conn_flush(thread->borrower); /* which comes here again when all is returned */
        return;
    }
    while (!list_is_empty(&thread->starved) &&
           thread->buffers.used_bytes < thread->buffer_limit_bytes)
    {
        struct task *task = container_of(thread->starved.next, struct task, queue_link);
        list_remove(&task->queue_link);
        if (!task->session->is_ending)
            task_continue(task);
    }
}

/*
 * What came is written while the rest comes. The initiator is told first what to send. False: the
 * connection closed meanwhile, the task is gone.
 */
static bool task_write_ahead(struct task *task)
{
    struct session *session = task->session;
    if (!task_has_piece(task) || !session->conn)
        return true;
    if (session->conn->out_bytes > 0 && !session->conn->wants_write)
        conn_flush(session->conn);
    if (!session->conn || session->is_ending)
        return false;
    task_offer_pieces(task);
    return true;
}

void task_continue(struct task *task)
{
    bool is_open = task->unsolicited_open || task->r2t_count > 0;
    task->state = TASK_COLLECTING;
    if (task->fail)
    {
        if (!is_open)
        {
            task_finish(task, NULL);
            return;
        }
    }
    else if (!task->unsolicited_open && task->out_got >= task->out_want)
    {
        task_ready(task, NULL);
        return;
    }
    else if (!task->unsolicited_open)
    {
        if (task_is_held(task, NULL))
            return;
        if (task->asked < task->out_got)
            task->asked = task->out_got;
        if (task->asked < task->out_want && !task_ask(task))
        {
            task->fail = TASK_FAIL_AMOUNT;
            task_finish(task, NULL);
            return;
        }
        task_update_awaited(task);
        if (!task_write_ahead(task))
            return;
    }
    task_update_awaited(task);
}

/* ---- taking -------------------------------------------------------------------------------- */

/* Copies what the command wants of it, unless it is in place already. */
static void task_store(struct task *task, uint32_t offset, const uint8_t *data, uint32_t len)
{
    if (offset < task->out_want && task->out_buf)
    {
        uint32_t part = task->out_want - offset;
        part = part < len ? part : len;
        uint8_t *to = task->out_buf->bytes + offset;
        if (part > 0 && to != data)
            memcpy(to, data, part);
        task->out_got = offset + part;
    }
}

bool task_take_immediate(struct task *task, const struct pdu *pdu, struct iobuf *buf)
{
    if (pdu->data_len == 0 || task->out_want == 0 || task->fail)
        return true;
    /* The buffer that the data came in is as good as one of ours if all fits. */
    if (buf && buf->bytes == pdu->data && buf->capacity >= task->out_want)
        task->out_buf = iobuf_ref(buf);
    else if (!task_get_out_buf(task))
        return false;
    task_store(task, 0, pdu->data, pdu->data_len);
    return true;
}

static struct task_r2t *task_find_r2t(struct task *task, uint32_t ttt)
{
    for (uint32_t i = 0; i < task->r2t_count; i++)
        if (task->r2t[i].ttt == ttt)
            return &task->r2t[i];
    return NULL;
}

/* What a Data-Out belongs to. Changes nothing. */
static struct task_data task_match_data(struct session *session, const struct pdu *pdu)
{
    const struct wire_data_out *bhs = (const struct wire_data_out *)pdu->bhs;
    struct task_data found = {
        .task = task_find(session, be32_get(bhs->itt)),
        .offset = be32_get(bhs->offset),
        .len = pdu->data_len,
        .data_sn = be32_get(bhs->data_sn),
        .is_final = bhs->flags & WIRE_FINAL,
    };
    uint32_t ttt = be32_get(bhs->ttt);
    bool is_known = found.task && found.task->state == TASK_COLLECTING;
    if (is_known && ttt == WIRE_TAG_NONE)
        is_known = found.task->unsolicited_open;
    else if (is_known)
        is_known = (found.r2t = task_find_r2t(found.task, ttt)) != NULL;
    if (!is_known)
    {
        found.task = NULL;
        /* Data of a task that was aborted meanwhile is still on its way. */
        found.reject = session->has_aborted ? 0 : WIRE_REJECT_INVALID_FIELD;
    }
    return found;
}

/* What is wrong with it; 0: nothing. */
static uint32_t task_judge_data(const struct task_data *data)
{
    const struct task *task = data->task;
    const struct task_r2t *r2t = data->r2t;
    uint32_t next_sn = r2t ? r2t->data_sn : task->unsolicited_sn;
    uint32_t next_offset = r2t ? r2t->offset + r2t->got : task->unsolicited_got;
    uint64_t limit =
        r2t ? r2t->len - r2t->got
            : min_u64(task->session->params.value[PARAM_FIRST_BURST_BYTES], task->scsi.edtl_out) -
                  min_u64(task->unsolicited_got, task->scsi.edtl_out);
    if (data->data_sn != next_sn)
        return TASK_FAIL_SEQUENCE;
    if (data->offset != next_offset || data->len > limit)
        return TASK_FAIL_AMOUNT;
    /* A sequence that is asked for comes whole. */
    if (r2t && data->is_final && data->len != limit)
        return TASK_FAIL_AMOUNT;
    return 0;
}

/* Counts it; the sequence may be over with it. */
static void task_advance(const struct task_data *data)
{
    struct task *task = data->task;
    struct task_r2t *r2t = data->r2t;
    if (!r2t)
    {
        task->unsolicited_got += data->len;
        task->unsolicited_sn++;
        task->unsolicited_open = !data->is_final;
        return;
    }
    r2t->data_sn++;
    r2t->got += data->len < r2t->len - r2t->got ? data->len : r2t->len - r2t->got;
    if (!data->is_final && r2t->got < r2t->len)
        return;
    /* They come in order, so it is the first one as a rule. */
    task->r2t_count--;
    uint32_t behind = task->r2t_count - (uint32_t)(r2t - task->r2t);
    memmove(r2t, r2t + 1, behind * sizeof(*r2t));
}

static void task_take_data(struct task_data *data, const uint8_t *bytes, uint32_t fail)
{
    struct task *task = data->task;
    if (!task->fail)
        task->fail = fail;
    if (!task->fail && !task_get_out_buf(task))
        task->fail = TASK_FAIL_AMOUNT;
    if (!task->fail)
        task_store(task, data->offset, bytes, data->len);
    task->session->written_bytes += data->len;
    task_advance(data);
    task_continue(task);
}

void task_data_out(struct session *session, const struct pdu *pdu, struct iobuf *buf)
{
    (void)buf;
    struct task_data data = task_match_data(session, pdu);
    if (!data.task)
    {
        if (data.reject)
            session_reject(session, pdu->bhs, data.reject);
        return;
    }
    uint32_t fail = task_judge_data(&data);
    if (fail && !data.task->fail)
        log_warning("%s broke the order of a transfer: DataSN %u, offset %u, %u bytes",
                    session->initiator, data.data_sn, data.offset, data.len);
    if (fail == TASK_FAIL_AMOUNT)
        session_reject(session, pdu->bhs, WIRE_REJECT_PROTOCOL);
    task_take_data(&data, pdu->data, fail);
}

void task_data_out_bad(struct session *session, const struct pdu *pdu)
{
    struct task_data data = task_match_data(session, pdu);
    if (data.task)
        task_take_data(&data, NULL, TASK_FAIL_SEQUENCE);
}

struct iobuf *task_data_place(struct session *session, const struct pdu *pdu, uint8_t **at)
{
    struct task_data data = task_match_data(session, pdu);
    struct task *task = data.task;
    if (!task || task->fail || task_judge_data(&data) != 0 ||
        !range_ok(data.offset, data.len, task->out_want) || !task_get_out_buf(task))
        return NULL;
    *at = task->out_buf->bytes + data.offset;
    return iobuf_ref(task->out_buf);
}
