/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Input of a connection: cuts the stream into PDUs.
 *
 * A PDU that lies whole in what was received is handled in place. Of one that does not, the header
 * is kept in the connection and the data goes where the session says, if possible straight from the
 * socket. What is checked here: lengths, digests, and that a login comes first.
 */
#include "server/iscsi/conn.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "lun/base/checked.h"
#include "lun/base/crc32c.h"
#include "lun/base/invariant.h"
#include "server/iscsi/session.h"

bool conn_takes_input(const struct conn *conn)
{
    uint64_t hard_limit = (uint64_t)conn->thread->server->limits.output_bytes * 2;
    if (conn->state == CONN_LAST_WORDS)
        return true; /* read and dropped, until the peer closes */
    return (conn->state == CONN_LOGIN || conn->state == CONN_OPEN) && conn->out_bytes < hard_limit;
}

/* ---- whole PDUs ---------------------------------------------------------------------------- */

static void conn_handle(struct conn *conn, const struct pdu *pdu, struct iobuf *buf)
{
    if (conn->state == CONN_LOGIN)
        conn_login_pdu(conn, pdu);
    else if (conn->state == CONN_OPEN)
        session_receive(conn->session, pdu, buf);
}

/* The header is whole. False: the connection is at its end. */
static bool conn_check_header(struct conn *conn, const uint8_t *head)
{
    const struct wire_bhs *bhs = (const struct wire_bhs *)head;
    uint32_t len = WIRE_BHS_BYTES + pdu_ahs_len(bhs);
    if (conn->header_digest && !pdu_digest_matches(head + len, crc32c(0, head, len)))
    {
        /* Without a header there is no telling where the next one begins. */
        conn_close(conn, "header digest is wrong");
        return false;
    }
    if (conn->state == CONN_LOGIN &&
        (pdu_opcode(bhs) != WIRE_LOGIN_REQUEST || pdu_data_len(bhs) > conn->max_recv_bytes ||
         bhs->ahs_words > 0))
    {
        conn_close(conn, "something else than a login request came first");
        return false;
    }
    if (conn->state == CONN_OPEN && pdu_data_len(bhs) > conn->max_recv_bytes)
    {
        session_reject(conn->session, bhs, WIRE_REJECT_PROTOCOL);
        session_finish_conn(conn->session, "data segment is longer than was agreed");
        return false;
    }
    return conn->state == CONN_LOGIN || conn->state == CONN_OPEN;
}

static uint32_t conn_head_len(const struct conn *conn, const uint8_t *head)
{
    return WIRE_BHS_BYTES + pdu_ahs_len((const struct wire_bhs *)head) +
           (conn->header_digest ? WIRE_DIGEST_BYTES : 0);
}

static uint32_t conn_tail_len(const struct conn *conn, uint32_t data_len)
{
    if (data_len == 0)
        return 0;
    return pdu_pad_len(data_len) + (conn->data_digest ? WIRE_DIGEST_BYTES : 0);
}

static struct pdu conn_pdu_of(const uint8_t *head)
{
    const struct wire_bhs *bhs = (const struct wire_bhs *)head;
    return (struct pdu){
        .bhs = bhs,
        .ahs = head + WIRE_BHS_BYTES,
        .ahs_len = pdu_ahs_len(bhs),
        .data_len = pdu_data_len(bhs),
    };
}

/* A PDU all of whose bytes are here: its header at @head, data with its tail at @data. */
static void conn_take_in_place(struct conn *conn, const uint8_t *head, const uint8_t *data)
{
    struct pdu pdu = conn_pdu_of(head);
    pdu.data = data;
    if (pdu.data_len > 0)
        conn->is_bulk = pdu.data_len >= CONN_BULK_BYTES;
    uint32_t covered = pdu.data_len + pdu_pad_len(pdu.data_len);
    conn_spend(conn, pdu.data_len);
    if (conn->data_digest && pdu.data_len > 0 &&
        !pdu_digest_matches(data + covered, crc32c(0, data, covered)))
        session_data_digest_error(conn->session, &pdu);
    else
        conn_handle(conn, &pdu, NULL);
}

/* ---- PDUs that come in parts --------------------------------------------------------------- */

/* conn->head holds a header whose data is not all here. False: no memory, closed. */
static bool conn_begin_data(struct conn *conn)
{
    const struct wire_bhs *bhs = (const struct wire_bhs *)conn->head;
    conn->data_len = pdu_data_len(bhs);
    conn->tail_len = conn_tail_len(conn, conn->data_len);
    conn->data_got = conn->tail_got = 0;
    conn->dest = NULL;
    conn->dest_buf = NULL;
    conn->is_bulk = conn->data_len >= CONN_BULK_BYTES;
    if (conn->state == CONN_OPEN)
    {
        struct pdu pdu = conn_pdu_of(conn->head);
        conn->dest_buf = session_data_place(conn->session, &pdu, &conn->dest);
    }
    else
    {
        conn->dest_buf = iobuf_get(&conn->thread->buffers, conn->data_len);
        conn->dest = conn->dest_buf ? conn->dest_buf->bytes : NULL;
    }
    if (!conn->dest_buf && conn->state != CONN_CLOSED)
        conn_close(conn, "out of memory");
    conn->is_in_data = conn->state != CONN_CLOSED;
    return conn->is_in_data;
}

static void conn_end_data(struct conn *conn)
{
    struct iobuf *buf = conn->dest_buf;
    struct pdu pdu = conn_pdu_of(conn->head);
    pdu.data = conn->dest;
    conn->is_in_data = false;
    conn->head_len = 0;
    conn->dest_buf = NULL;
    conn_spend(conn, conn->data_len);
    uint32_t pad = pdu_pad_len(conn->data_len);
    bool is_bad = conn->data_digest &&
                  !pdu_digest_matches(conn->tail + pad,
                                      crc32c(crc32c(0, pdu.data, pdu.data_len), conn->tail, pad));
    if (is_bad)
        session_data_digest_error(conn->session, &pdu);
    else
        conn_handle(conn, &pdu, buf);
    iobuf_put(buf);
}

/* Takes bytes of the data that is being collected; how many. */
static size_t conn_take_data(struct conn *conn, const uint8_t *bytes, size_t len)
{
    size_t used = conn->data_len - conn->data_got;
    used = used < len ? used : len;
    memcpy(conn->dest + conn->data_got, bytes, used);
    conn->data_got += (uint32_t)used;
    size_t tail = conn->tail_len - conn->tail_got;
    tail = tail < len - used ? tail : len - used;
    memcpy(conn->tail + conn->tail_got, bytes + used, tail);
    conn->tail_got += (uint32_t)tail;
    if (conn->data_got == conn->data_len && conn->tail_got == conn->tail_len)
        conn_end_data(conn);
    return used + tail;
}

/* Takes bytes of a header that came in parts; how many. */
static size_t conn_take_head(struct conn *conn, const uint8_t *bytes, size_t len)
{
    size_t used = 0;
    for (;;)
    {
        uint32_t want =
            conn->head_len < WIRE_BHS_BYTES ? WIRE_BHS_BYTES : conn_head_len(conn, conn->head);
        if (conn->head_len == want)
            break;
        size_t part = want - conn->head_len;
        part = part < len - used ? part : len - used;
        if (part == 0)
            return used;
        memcpy(conn->head + conn->head_len, bytes + used, part);
        conn->head_len += (uint32_t)part;
        used += part;
    }
    if (!conn_check_header(conn, conn->head))
        return len;
    if (pdu_data_len((const struct wire_bhs *)conn->head) > 0)
    {
        conn_begin_data(conn);
        return used;
    }
    conn->head_len = 0;
    struct pdu pdu = conn_pdu_of(conn->head);
    conn_spend(conn, 0);
    conn_handle(conn, &pdu, NULL);
    return used;
}

/* Takes one PDU that begins at @bytes, or the part of it that is there; how many bytes. */
static size_t conn_take_pdu(struct conn *conn, const uint8_t *bytes, size_t len)
{
    if (len < WIRE_BHS_BYTES || len < conn_head_len(conn, bytes))
        return conn_take_head(conn, bytes, len);
    uint32_t head_len = conn_head_len(conn, bytes);
    uint32_t data_len = pdu_data_len((const struct wire_bhs *)bytes);
    size_t whole = (size_t)head_len + data_len + conn_tail_len(conn, data_len);
    if (len < whole)
        return conn_take_head(conn, bytes, len);
    if (!conn_check_header(conn, bytes))
        return len;
    conn_take_in_place(conn, bytes, bytes + head_len);
    return whole;
}

/*
 * Keeps what cannot be taken now. Much of it stays where it is: it lies in the stash that it came
 * from, or in the thread's scratch buffer, which becomes the stash then.
 */
static bool conn_stash(struct conn *conn, struct iobuf *from, const uint8_t *bytes, size_t len)
{
    uint8_t **scratch = &conn->thread->scratch;
    bool is_in_scratch = bytes >= *scratch && bytes < *scratch + ISCSI_SCRATCH_BYTES;
    bool is_large = is_in_scratch && len > CONN_STASH_COPY_MAX;
    struct iobuf *buf =
        from ? iobuf_ref(from)
             : iobuf_get(&conn->thread->buffers, is_large ? (size_t)ISCSI_SCRATCH_BYTES : len);
    if (!buf)
        return false;
    conn->stash = buf;
    conn->stash_len = len;
    if (is_large)
    {
        uint8_t *fresh = buf->bytes;
        buf->bytes = *scratch;
        *scratch = fresh;
    }
    else if (!from)
    {
        memcpy(buf->bytes, bytes, len);
        bytes = buf->bytes;
    }
    conn->stash_at = (size_t)(bytes - buf->bytes);
    return true;
}

/* Its turn is over. What is lent must have left before anybody else's comes. */
static bool conn_turn_is_over(const struct conn *conn)
{
    const struct iscsi_thread *thread = conn->thread;
    return thread->spent_units >= thread->turn_end && !thread->borrower;
}

/* @from: the stash that has the bytes; or NULL. */
static void conn_input_from(struct conn *conn, struct iobuf *from, const uint8_t *bytes, size_t len)
{
    INVARIANT(!conn->is_in_input && !conn->stash);
    conn->is_in_input = true;
    size_t at = 0;
    while (at < len && conn_takes_input(conn) && conn->state != CONN_LAST_WORDS &&
           !conn_turn_is_over(conn))
    {
        if (conn->is_in_data)
            at += conn_take_data(conn, bytes + at, len - at);
        else if (conn->head_len > 0)
            at += conn_take_head(conn, bytes + at, len - at);
        else
            at += conn_take_pdu(conn, bytes + at, len - at);
    }
    conn->is_in_input = false;
    bool is_kept = at < len && conn->state != CONN_LAST_WORDS && conn->state != CONN_CLOSED;
    if (is_kept && !conn_stash(conn, from, bytes + at, len - at))
        conn_close(conn, "out of memory");
}

void conn_input(struct conn *conn, const uint8_t *bytes, size_t len)
{
    conn->heard_ms = loop_now_ms(conn->thread->loop);
    conn_input_from(conn, NULL, bytes, len);
}

/* ---- socket -------------------------------------------------------------------------------- */

/* Fills the destination of the data that is being collected, and some scratch behind it. */
static ssize_t conn_recv_data(struct conn *conn, size_t scratch_len)
{
    struct iovec iov[3] = {
        {conn->dest + conn->data_got, conn->data_len - conn->data_got},
        {conn->tail + conn->tail_got, conn->tail_len - conn->tail_got},
        {conn->thread->scratch, scratch_len},
    };
    ssize_t got = readv(conn->fd, iov, 3);
    if (got <= 0)
        return got;
    conn->heard_ms = loop_now_ms(conn->thread->loop);
    size_t left = (size_t)got;
    size_t part = left < iov[0].iov_len ? left : iov[0].iov_len;
    conn->data_got += (uint32_t)part;
    left -= part;
    part = left < iov[1].iov_len ? left : iov[1].iov_len;
    conn->tail_got += (uint32_t)part;
    left -= part;
    if (conn->data_got == conn->data_len && conn->tail_got == conn->tail_len)
        conn_end_data(conn);
    if (left > 0 && conn->state == CONN_OPEN)
        conn_input(conn, conn->thread->scratch, left);
    return got;
}

/* Receives and handles what came, as much as one call gives. */
static void conn_recv(struct conn *conn)
{
    size_t len = ISCSI_SCRATCH_BYTES;
    if (conn->is_bulk || (conn->session && session_awaits_data(conn->session)))
        len = CONN_SMALL_RECV;
    ssize_t got;
    if (conn->is_in_data && conn->state == CONN_OPEN)
    {
        got = conn_recv_data(conn, len);
    }
    else
    {
        got = recv(conn->fd, conn->thread->scratch, len, MSG_DONTWAIT);
        if (got > 0)
            conn_input(conn, conn->thread->scratch, (size_t)got);
        /* The rest of it is there as a rule. */
        if (got == (ssize_t)len && conn->is_in_data && conn->state == CONN_OPEN && !conn->stash)
            got = conn_recv_data(conn, len);
    }
    if (got == 0)
        conn_close(conn, conn->state == CONN_LAST_WORDS ? NULL : "the initiator closed it");
    else if (got < 0 && errno != EAGAIN && errno != EINTR)
        conn_close(conn, strerror(errno));
}

/* ---- turns --------------------------------------------------------------------------------- */

static void conn_want_turn(struct conn *conn)
{
    struct iscsi_thread *thread = conn->thread;
    turns_enter(&thread->turns, &conn->turn);
    loop_defer(thread->loop, &thread->turn_call);
}

static void conn_take_turn(struct conn *conn)
{
    struct iscsi_thread *thread = conn->thread;
    uint64_t begin = thread->spent_units;
    thread->turn_end = begin + ISCSI_TURN_UNITS;
    conn->is_in_turn = conn->may_borrow = true;
    if (conn->stash)
    {
        struct iobuf *stash = take_ptr(&conn->stash);
        conn_input_from(conn, stash, stash->bytes + conn->stash_at, conn->stash_len);
        iobuf_put(stash);
    }
    else if (conn_takes_input(conn))
    {
        conn_recv(conn);
    }
    conn->is_in_turn = conn->may_borrow = false;
    thread->turn_end = UINT64_MAX;
    turn_charge(&conn->turn, max_u64(thread->spent_units - begin, 1));
    /* The answers of one batch of input leave together, if there is nothing else to be done. */
    if (conn->stash && conn_takes_input(conn) && thread->borrower != conn)
        conn_want_turn(conn);
    else
        conn_flush(conn);
}

/*
 * So much as one turn is worth, for one connection or several: then the loop looks who else has
 * something to do.
 */
void conn_take_turns(struct loop_call *call)
{
    struct iscsi_thread *thread = container_of(call, struct iscsi_thread, turn_call);
    uint64_t end = thread->spent_units + ISCSI_TURN_UNITS;
    while (thread->spent_units < end)
    {
        struct turn *turn = turns_next(&thread->turns);
        if (!turn)
            return;
        conn_take_turn(container_of(turn, struct conn, turn));
    }
    if (!turns_are_empty(&thread->turns))
        loop_defer(thread->loop, &thread->turn_call);
}

void conn_update_events(struct conn *conn)
{
    if (conn->state == CONN_CLOSED)
        return;
    bool takes = conn_takes_input(conn);
    if (takes && conn->stash)
        conn_want_turn(conn);
    if (conn->session && !list_is_empty(&conn->session->run_queue) && !conn_is_full(conn))
        conn_flush_later(conn);
    if (conn->fd >= 0)
        loop_watch_change(&conn->watch, (takes && !conn->stash ? EPOLLIN : 0U) |
                                            (conn->wants_write ? EPOLLOUT : 0U));
}

void conn_ready(struct loop_watch *watch, uint32_t events)
{
    struct conn *conn = container_of(watch, struct conn, watch);
    bool is_readable = events & (EPOLLIN | EPOLLHUP | EPOLLERR);
    if (is_readable && turn_is_waiting(&conn->turn))
        loop_watch_change(watch, watch->events & ~(uint32_t)EPOLLIN); /* until it had its turn */
    else if (is_readable && conn_takes_input(conn) && !conn->stash)
        conn_want_turn(conn);
    else if (events & (EPOLLHUP | EPOLLERR))
        conn_close(conn, "the connection broke");
    if (events & EPOLLOUT)
    {
        conn->wants_write = false;
        conn_flush(conn);
    }
}
