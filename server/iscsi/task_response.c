/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Data-In and status of a task.
 *
 * A short read is built as one PDU right where it leaves from: scsi/ reads into the output. A good
 * status rides on the last Data-In.
 */
#include <string.h>

#include "lun/base/checked.h"
#include "server/iscsi/task.h"

enum
{
    /* Queued output that is sent before a batch of commands is over: the initiator works on it
     * while the rest is read. Of large reads, and of what is lent, more, as fewer calls cost less
     * then. */
    TASK_FLUSH_BYTES = 64 * 1024,
    TASK_FLUSH_LARGE_BYTES = 512 * 1024,
    TASK_ROOM_OVERHEAD = WIRE_BHS_BYTES + WIRE_DIGEST_BYTES + 3 + WIRE_DIGEST_BYTES,
};

bool task_fits_room(const struct session *session, size_t len)
{
    return session->conn && len <= CONN_RESERVE_MAX - TASK_ROOM_OVERHEAD &&
           len <= session->conn->initiator_recv_bytes &&
           len <= session->params.value[PARAM_MAX_BURST_BYTES];
}

uint8_t *task_reserve_room(struct session *session, size_t len, uint8_t **at)
{
    uint8_t *room = conn_reserve(session->conn, len + TASK_ROOM_OVERHEAD);
    if (room)
        *at = room + WIRE_BHS_BYTES + (session->conn->header_digest ? WIRE_DIGEST_BYTES : 0);
    return room;
}

static uint8_t task_residual_flags(const struct task *task)
{
    if (task->residual == 0)
        return 0;
    return task->residual > 0 ? WIRE_RSP_OVERFLOW : WIRE_RSP_UNDERFLOW;
}

static uint32_t task_residual_count(const struct task *task)
{
    int64_t count = task->residual < 0 ? -task->residual : task->residual;
    return count > UINT32_MAX ? UINT32_MAX : (uint32_t)count;
}

/* The header of the Data-In of @len bytes at @offset. */
static void task_data_in_header(struct task *task, struct wire_data_in *bhs, uint32_t offset,
                                uint32_t len, bool ends_burst, bool with_status)
{
    *bhs = (struct wire_data_in){
        .opcode = WIRE_DATA_IN,
        .flags = ends_burst ? WIRE_FINAL : 0,
        .itt = be32_put(task->itt),
        .ttt = be32_put(WIRE_TAG_NONE),
        .data_sn = be32_put(task->data_in_count++),
        .offset = be32_put(offset),
    };
    pdu_put_data_len(bhs->data_len, len);
    session_stamp(task->session, bhs, with_status);
    if (!with_status)
    {
        bhs->stat_sn = be32_put(0);
        return;
    }
    bhs->flags |= WIRE_DATA_IN_STATUS | task_residual_flags(task);
    bhs->status = task->scsi.status;
    bhs->residual = be32_put(task_residual_count(task));
}

/* The one PDU whose data is in @room already. */
static void task_send_room(struct task *task, uint8_t *room, bool with_status)
{
    struct conn *conn = task->session->conn;
    uint32_t len = (uint32_t)task->scsi.in_len;
    struct wire_data_in bhs;
    task_data_in_header(task, &bhs, 0, len, true, with_status);
    size_t used = conn_put_header(conn, room, &bhs);
    const uint8_t *data = room + used;
    used += len;
    used += conn_put_tail(conn, room + used, data, len);
    conn_commit(conn, room, used);
}

/* One PDU of what lies in task->in_buf or is lent. False: the connection is closed. */
static bool task_send_part(struct task *task, uint32_t offset, uint32_t len, bool ends_burst,
                           bool with_status)
{
    struct conn *conn = task->session->conn;
    struct wire_data_in bhs;
    uint8_t *at = conn_reserve(conn, TASK_ROOM_OVERHEAD);
    if (!at)
        return false;
    task_data_in_header(task, &bhs, offset, len, ends_burst, with_status);
    conn_commit(conn, at, conn_put_header(conn, at, &bhs));
    const uint8_t *data = NULL; /* what is lent has no digest */
    if (task->loan)
        conn_append_loan(conn, task->loan, offset, len);
    else
        conn_append(conn, task->in_buf, data = task->in_buf->bytes + offset, len);
    uint8_t tail[WIRE_DIGEST_BYTES + 4];
    size_t tail_len = conn_put_tail(conn, tail, data, len);
    if (tail_len == 0)
        return conn->state != CONN_CLOSED;
    at = conn_reserve(conn, tail_len);
    if (!at)
        return false;
    memcpy(at, tail, tail_len);
    conn_commit(conn, at, tail_len);
    return conn->state != CONN_CLOSED;
}

static void task_send_data_in(struct task *task, bool with_status)
{
    struct session *session = task->session;
    uint32_t left = (uint32_t)task->scsi.in_len, offset = 0;
    uint32_t burst = session->params.value[PARAM_MAX_BURST_BYTES], burst_left = burst;
    while (left > 0 && session->conn)
    {
        uint32_t len =
            (uint32_t)min_u64(min_u64(left, burst_left), session->conn->initiator_recv_bytes);
        bool is_last = len == left;
        bool ends_burst = is_last || len == burst_left;
        if (!task_send_part(task, offset, len, ends_burst, with_status && is_last))
            return;
        offset += len;
        left -= len;
        burst_left = ends_burst ? burst : burst_left - len;
    }
}

static void task_send_status(struct task *task)
{
    struct session *session = task->session;
    struct wire_scsi_response bhs = {
        .opcode = WIRE_SCSI_RESPONSE,
        .flags = (uint8_t)(WIRE_FINAL | task_residual_flags(task)),
        .response = WIRE_RESPONSE_COMPLETED,
        .status = task->scsi.status,
        .itt = be32_put(task->itt),
        .exp_data_sn = be32_put(task->data_in_count + task->r2t_sn),
        .residual = be32_put(task_residual_count(task)),
    };
    uint8_t data[2 + SCSI_SENSE_MAX];
    size_t len = 0;
    if (task->scsi.sense_len > 0)
    {
        data[0] = 0;
        data[1] = task->scsi.sense_len;
        memcpy(data + 2, task->scsi.sense, task->scsi.sense_len);
        len = 2 + (size_t)task->scsi.sense_len;
    }
    session_stamp(session, &bhs, true);
    conn_send(session->conn, &bhs, data, len);
}

static size_t task_flush_bytes(const struct task *task)
{
    bool is_large = task->scsi.in_len >= CONN_BULK_BYTES ||
                    task->session->thread->borrower == task->session->conn;
    return is_large ? TASK_FLUSH_LARGE_BYTES : TASK_FLUSH_BYTES;
}

void task_respond(struct task *task, uint8_t *room)
{
    struct session *session = task->session;
    struct conn *conn = session->conn;
    struct scsi_task *scsi = &task->scsi;
    bool is_good =
        (scsi->status == SCSI_GOOD || scsi->status == SCSI_CONDITION_MET) && scsi->sense_len == 0;
    session->read_bytes += scsi->in_len;
    session->thread->spent_units += scsi->in_len / ISCSI_UNIT_BYTES;
    if (scsi->in_len > 0 && room)
        task_send_room(task, room, is_good);
    else if (scsi->in_len > 0)
        task_send_data_in(task, is_good);
    if (session->conn && (scsi->in_len == 0 || !is_good))
        task_send_status(task);
    if (!session->conn)
        return;
    if (conn->out_bytes >= task_flush_bytes(task) && !conn->wants_write)
        conn_flush(conn);
    else if (!conn->is_in_input)
        conn_flush_later(conn);
}
