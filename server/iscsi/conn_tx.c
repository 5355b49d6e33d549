/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Output of a connection.
 *
 * Small things are built one behind the other in an arena, a 64 KiB buffer, and so leave as one
 * piece; large data stays in the buffer that it was read into, or where it lies in the page cache,
 * lent by the engine. One sendmsg() takes as many pieces as it can. The kernel copies what it
 * takes: a loan is over when it returns.
 */
#include "server/iscsi/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "lun/base/crc32c.h"
#include "lun/base/invariant.h"
#include "server/iscsi/task.h"

/*
 * No memory for output. Whoever sends is in the midst of something, so the end comes when he is
 * through.
 */
static void conn_break(struct conn *conn)
{
    conn->is_broken = true;
    conn_flush_later(conn);
}

static bool conn_grow_pieces(struct conn *conn)
{
    size_t capacity = conn->piece_capacity ? conn->piece_capacity * 2 : 32;
    struct conn_piece *pieces = malloc(capacity * sizeof(*pieces));
    if (!pieces)
        return false;
    for (size_t i = 0; conn->pieces && i < conn->piece_count; i++)
        pieces[i] = conn->pieces[(conn->piece_first + i) % conn->piece_capacity];
    free(conn->pieces);
    conn->pieces = pieces;
    conn->piece_first = 0;
    conn->piece_capacity = capacity;
    return true;
}

static struct conn_piece *conn_last_piece(struct conn *conn)
{
    if (conn->piece_count == 0)
        return NULL;
    return &conn->pieces[(conn->piece_first + conn->piece_count - 1) % conn->piece_capacity];
}

/* With its reference to a buffer. False: no memory, the connection will be closed. */
static bool conn_push(struct conn *conn, struct conn_piece piece)
{
    if (conn->out_bytes == 0)
        conn->progress_ms = loop_now_ms(conn->thread->loop);
    if (conn->piece_count == conn->piece_capacity && !conn_grow_pieces(conn))
    {
        conn_break(conn);
        return false;
    }
    INVARIANT(conn->pieces);
    size_t slot = (conn->piece_first + conn->piece_count) % conn->piece_capacity;
    conn->pieces[slot] = piece;
    conn->piece_count++;
    conn->out_bytes += piece.len;
    return true;
}

void conn_append(struct conn *conn, struct iobuf *buf, const uint8_t *at, size_t len)
{
    if (conn->state == CONN_CLOSED || conn->is_broken || len == 0)
        return;
    struct conn_piece *last = conn_last_piece(conn);
    if (last && last->buf == buf && last->at + last->len == at)
    {
        last->len += len;
        conn->out_bytes += len;
        return;
    }
    if (conn_push(conn, (struct conn_piece){.buf = buf, .at = at, .len = len}))
        iobuf_ref(buf);
}

/* ---- loans --------------------------------------------------------------------------------- */

/* What holes are read from. Never written, so it is no memory. */
static const uint8_t conn_zeros[CONN_ZEROS_BYTES];

struct lun_loan *conn_next_loan(struct conn *conn)
{
    struct iscsi_thread *thread = conn->thread;
    bool may = conn->may_borrow && conn->state == CONN_OPEN && !conn->is_broken &&
               !conn->wants_write && !conn->data_digest && thread->loan_count < ISCSI_LOANS_MAX;
    return may ? &thread->loans[thread->loan_count] : NULL;
}

void conn_take_loan(struct conn *conn)
{
    conn->thread->borrower = conn;
    conn->thread->loan_count++;
}

/* @len bytes of one part of a loan. False: the connection will be closed. */
static bool conn_append_part(struct conn *conn, const struct lun_loan *loan, size_t from,
                             const uint8_t *at, size_t len)
{
    if (at)
        return conn_push(
            conn, (struct conn_piece){.at = at, .len = len, .loan = loan, .loan_from = from});
    while (len > 0)
    {
        size_t step = len < CONN_ZEROS_BYTES ? len : CONN_ZEROS_BYTES;
        if (!conn_push(conn, (struct conn_piece){.at = conn_zeros, .len = step}))
            return false;
        len -= step;
    }
    return true;
}

void conn_append_loan(struct conn *conn, const struct lun_loan *loan, size_t from, size_t len)
{
    if (conn->state == CONN_CLOSED || conn->is_broken)
        return;
    size_t begin = 0;
    for (unsigned i = 0; i < loan->count && len > 0; i++)
    {
        const struct lun_loan_part *part = &loan->parts[i];
        if (from < begin + part->len)
        {
            size_t skip = from - begin;
            size_t step = len < part->len - skip ? len : part->len - skip;
            const uint8_t *at = part->at ? (const uint8_t *)part->at + skip : NULL;
            if (!conn_append_part(conn, loan, from, at, step))
                return;
            from += step;
            len -= step;
        }
        begin += part->len;
    }
}

static void conn_return_loans(struct conn *conn)
{
    struct iscsi_thread *thread = conn->thread;
    if (thread->borrower != conn)
        return;
    while (thread->loan_count > 0)
        lun_return(&thread->loans[--thread->loan_count]);
    thread->borrower = NULL;
}

/* What is lent goes into buffers, and back. 0 or an error: it cannot be sent, as was promised. */
static int conn_copy_loans(struct conn *conn)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < conn->piece_count; i++)
    {
        struct conn_piece *piece = &conn->pieces[(conn->piece_first + i) % conn->piece_capacity];
        if (!piece->loan)
            continue;
        struct iobuf *buf = iobuf_get(&conn->thread->buffers, piece->len);
        r = buf ? lun_loan_read(piece->loan, buf->bytes, piece->len, piece->loan_from) : -ENOMEM;
        if (r < 0)
        {
            iobuf_put(buf);
            return r;
        }
        *piece = (struct conn_piece){.buf = buf, .at = buf->bytes, .len = piece->len};
    }
    conn_return_loans(conn);
    return 0;
}

/* ---- building ------------------------------------------------------------------------------ */

uint8_t *conn_reserve(struct conn *conn, size_t len)
{
    INVARIANT(len <= CONN_RESERVE_MAX);
    if (conn->state == CONN_CLOSED || conn->is_broken)
        return NULL;
    if (conn->arena && conn->arena->capacity - conn->arena_used < len)
    {
        iobuf_put(conn->arena);
        conn->arena = NULL;
    }
    if (!conn->arena)
    {
        conn->arena = iobuf_get(&conn->thread->buffers, IOBUF_ARENA_BYTES);
        conn->arena_used = 0;
    }
    if (!conn->arena)
    {
        conn_break(conn);
        return NULL;
    }
    return conn->arena->bytes + conn->arena_used;
}

void conn_commit(struct conn *conn, const uint8_t *at, size_t len)
{
    if (conn->state == CONN_CLOSED || conn->is_broken)
        return;
    DEBUG_INVARIANT(at == conn->arena->bytes + conn->arena_used);
    conn->arena_used += len;
    conn_append(conn, conn->arena, at, len);
}

size_t conn_put_header(const struct conn *conn, uint8_t *at, const void *bhs)
{
    memcpy(at, bhs, WIRE_BHS_BYTES);
    if (!conn->header_digest)
        return WIRE_BHS_BYTES;
    pdu_put_digest(at + WIRE_BHS_BYTES, crc32c(0, at, WIRE_BHS_BYTES));
    return WIRE_BHS_BYTES + WIRE_DIGEST_BYTES;
}

size_t conn_put_tail(const struct conn *conn, uint8_t *at, const void *data, size_t len)
{
    uint32_t pad = pdu_pad_len((uint32_t)len);
    memset(at, 0, pad);
    if (len == 0 || !conn->data_digest)
        return pad;
    uint32_t crc = crc32c(crc32c(0, data, len), at, pad);
    pdu_put_digest(at + pad, crc);
    return pad + WIRE_DIGEST_BYTES;
}

void conn_send(struct conn *conn, void *bhs, const void *data, size_t len)
{
    enum
    {
        OVERHEAD = WIRE_BHS_BYTES + WIRE_DIGEST_BYTES + 3 + WIRE_DIGEST_BYTES
    };
    pdu_put_data_len(((struct wire_bhs *)bhs)->data_len, (uint32_t)len);
    bool is_small = len <= CONN_RESERVE_MAX - OVERHEAD;
    uint8_t *at = conn_reserve(conn, is_small ? OVERHEAD + len : OVERHEAD);
    if (!at)
        return;
    size_t used = conn_put_header(conn, at, bhs);
    if (is_small)
    {
        if (len > 0)
            memcpy(at + used, data, len);
        used += len;
        used += conn_put_tail(conn, at + used, data, len);
        conn_commit(conn, at, used);
        conn_flush_later(conn);
        return;
    }
    struct iobuf *buf = iobuf_get(&conn->thread->buffers, len + 8);
    if (!buf)
    {
        conn_break(conn);
        return;
    }
    memcpy(buf->bytes, data, len);
    conn_commit(conn, at, used);
    conn_append(conn, buf, buf->bytes, len + conn_put_tail(conn, buf->bytes + len, data, len));
    iobuf_put(buf);
    conn_flush_later(conn);
}

/* ---- sending ------------------------------------------------------------------------------- */

/* @len bytes have left. */
static void conn_consume(struct conn *conn, size_t len)
{
    conn->out_bytes -= len;
    while (len > 0)
    {
        struct conn_piece *piece = &conn->pieces[conn->piece_first];
        if (len < piece->len)
        {
            piece->at += len;
            piece->len -= len;
            piece->loan_from += len;
            return;
        }
        len -= piece->len;
        iobuf_put(piece->buf);
        conn->piece_first = (conn->piece_first + 1) % conn->piece_capacity;
        conn->piece_count--;
    }
}

/* Nothing is queued: own nothing. */
static void conn_release_output(struct conn *conn)
{
    iobuf_put(conn->arena);
    conn->arena = NULL;
    conn->piece_first = 0;
    if (conn->piece_capacity > 256)
    {
        free(conn->pieces);
        conn->pieces = NULL;
        conn->piece_capacity = 0;
    }
}

void conn_drop_output(struct conn *conn)
{
    if (conn->piece_count > 0)
        conn_consume(conn, conn->out_bytes);
    conn_return_loans(conn);
    conn_release_output(conn);
    free(conn->pieces);
    conn->pieces = NULL;
    conn->piece_capacity = 0;
}

/* One sendmsg(). Bytes sent, 0: the socket is full, or an error. */
static ssize_t conn_send_some(struct conn *conn)
{
    struct iovec iov[CONN_IOV_MAX];
    size_t count = conn->piece_count < CONN_IOV_MAX ? conn->piece_count : CONN_IOV_MAX;
    for (size_t i = 0; i < count; i++)
    {
        const struct conn_piece *piece =
            &conn->pieces[(conn->piece_first + i) % conn->piece_capacity];
        iov[i] = (struct iovec){.iov_base = (void *)piece->at, .iov_len = piece->len};
    }
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = count};
    ssize_t sent = sendmsg(conn->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0)
        return sent;
    return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

/* What the socket takes. */
static int conn_send_all(struct conn *conn)
{
    while (conn->out_bytes > 0 && !conn->wants_write)
    {
        ssize_t sent = conn_send_some(conn);
        if (sent < 0)
            return (int)sent;
        if (sent > 0)
            conn->progress_ms = loop_now_ms(conn->thread->loop);
        conn_consume(conn, (size_t)sent);
        if (sent == 0)
            conn->wants_write = true;
    }
    return 0;
}

/*
 * All is said. Closing at once could make the kernel throw away what the peer has not read yet, so
 * it is let go first.
 */
static void conn_shut(struct conn *conn)
{
    conn->is_shut = true;
    ignore_error(shutdown(conn->fd, SHUT_WR), "a connection that is gone shows itself on reading");
    loop_timer_set(conn->thread->loop, &conn->timer, CONN_DRAIN_MS);
}

void conn_flush(struct conn *conn)
{
    if (conn->state == CONN_CLOSED)
        return;
    if (conn->is_broken)
    {
        conn_close(conn, "out of memory");
        return;
    }
    if (conn->fd < 0)
        conn_drop_output(conn);
    int r = conn_send_all(conn);
    /* What the socket did not take, and what turned out not to be in memory any more. */
    if (r == -EFAULT || (r == 0 && conn->thread->borrower == conn))
    {
        r = conn_copy_loans(conn);
        if (r == 0)
            r = conn_send_all(conn);
    }
    if (r < 0)
    {
        conn_close(conn, strerror(-r));
        return;
    }
    if (conn->out_bytes == 0)
    {
        conn_release_output(conn);
        if (conn->state == CONN_LAST_WORDS && !conn->is_shut)
            conn_shut(conn);
    }
    conn_update_events(conn);
    if (!list_is_empty(&conn->thread->starved))
        task_feed_starved(conn->thread);
}

void conn_flush_later(struct conn *conn)
{
    if (conn->state != CONN_CLOSED && !conn->is_in_turn)
        loop_defer(conn->thread->loop, &conn->flush_call);
}
