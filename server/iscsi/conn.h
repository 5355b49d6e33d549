/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection: bytes in, PDUs out of them; PDUs in, bytes out of them.
 *
 *            accept              last login reply          closing PDU sent
 *   (none) ----------> LOGIN ---------------------> OPEN ---------------> LAST_WORDS --.
 *     conn_create        |    conn_login_complete    |     conn_finish                 |
 *                        |      ^                    |                                 |
 *              conn_wait |      | conn_resume_login  |  error, end of file, timeout    v
 *                        v      |                    '---------------------------> CLOSED
 *                     WAITING --'                              conn_close
 *
 * WAITING: the session it reinstates is being taken down; nothing is read meanwhile.
 *
 * Always true:
 *  - what is received lies in the thread's scratch buffer or goes straight to its destination; an
 *    idle connection owns no buffer;
 *  - output is a queue of pieces of counted buffers, sent at the end of what produced it;
 *  - pieces that are lent (lun_lend()) are in it while one batch of input is handled, of reads
 *    only: before anything else is done they are sent, or copied, and returned;
 *  - with too much output queued nothing more is read, so a peer that does not read its answers
 *    holds up itself only;
 *  - after conn_close() the struct lives until the end of the turn.
 */
#ifndef SERVER_ISCSI_CONN_H
#define SERVER_ISCSI_CONN_H

#include "server/iscsi/iscsi_internal.h"
#include "server/iscsi/login.h"
#include "server/iscsi/pdu.h"

struct session;

enum conn_state
{
    CONN_LOGIN,
    CONN_WAITING,
    CONN_OPEN,
    CONN_LAST_WORDS,
    CONN_CLOSED,
};

enum
{
    CONN_HEAD_MAX = WIRE_BHS_BYTES + WIRE_AHS_BYTES_MAX + WIRE_DIGEST_BYTES,
    CONN_SMALL_RECV =
        8192, /* when bulk data is due, so that it goes to its place, not to scratch */
    CONN_BULK_BYTES = 64 * 1024, /* of one PDU: more such are likely to follow */
    CONN_STASH_COPY_MAX = 8192,  /* of input to be handled later: more is kept where it is */
    CONN_IOV_MAX = 64,
    CONN_ZEROS_BYTES = 64 * 1024,
    CONN_DRAIN_MS = 2000,         /* for the peer to close after our last words */
    CONN_RESERVE_MAX = 16 * 1024, /* largest room that conn_reserve() gives */
};

/* A piece of output. */
struct conn_piece
{
    struct iobuf *buf; /* NULL: it is lent, or zeros that are always there */
    const uint8_t *at; /* what is lent only the kernel touches */
    size_t len;
    const struct lun_loan *loan; /* or NULL */
    size_t loan_from;            /* where in it */
};

struct conn
{
    struct list link;       /* thread->connections */
    struct list login_link; /* thread->logins */
    struct iscsi_thread *thread;
    struct loop_watch watch;
    struct loop_timer timer; /* login, silence, output without progress */
    struct loop_call free_call;
    struct loop_call flush_call;
    struct turn turn; /* waits in thread->turns while it has input to be handled */
    int fd;           /* -1: none, input comes by conn_input() */
    struct source_seat seat;
    enum conn_state state;
    struct login *login; /* in CONN_LOGIN and CONN_WAITING */
    struct login_env login_env;
    struct login_reply login_reply;        /* the last one, while WAITING */
    struct session_waiter *session_waiter; /* while WAITING */
    struct session *session;               /* from CONN_OPEN on */
    char redirect[ISCSI_ADDRESS_MAX];
    char remote[ISCSI_ADDRESS_MAX], local[ISCSI_ADDRESS_MAX];
    bool header_digest, data_digest;
    bool is_in_input;        /* conn_input() is on the stack */
    bool is_in_turn;         /* it has the turn, which ends with a flush or leads to another */
    bool may_borrow;         /* conn_flush() comes right after the input */
    uint32_t max_recv_bytes; /* largest data segment that we take */
    uint32_t initiator_recv_bytes; /* largest that the initiator takes */
    uint64_t opened_ms;
    uint64_t heard_ms; /* when the last bytes came */
    uint64_t asked_ms; /* when our NOP-In went out; 0: none is open */

    /* Input. */
    uint8_t head[CONN_HEAD_MAX]; /* the header being collected, or of the data being collected */
    uint32_t head_len;
    bool is_in_data;
    bool is_bulk; /* what came last was large, so what comes next is to go to its place */
    uint32_t data_len, data_got;
    uint32_t tail_len, tail_got; /* padding and digest */
    uint8_t tail[8];
    uint8_t *dest; /* where the data goes; NULL: nowhere */
    struct iobuf *dest_buf;
    struct iobuf *stash; /* input that could not be taken yet */
    size_t stash_at, stash_len;

    /* Output. */
    struct conn_piece *pieces; /* a ring */
    size_t piece_first, piece_count, piece_capacity;
    uint64_t out_bytes;
    struct iobuf *arena; /* headers and small data are built here */
    size_t arena_used;
    bool is_broken;       /* no memory for output: closes at the end of the turn */
    bool wants_write;     /* the socket was full */
    bool is_shut;         /* our side is closed; waiting for the peer's */
    uint64_t progress_ms; /* when it last took something */
};

/* ---- life ---------------------------------------------------------------------------------- */

/* Takes @fd over, also on failure. @fd -1: for tests, without a socket. */
MUST_CHECK int conn_create(struct iscsi_thread *thread, int fd, struct conn **conn);
/* At once, without last words. @why is for the log; NULL: nothing to say. The session goes too. */
void conn_close(struct conn *conn, const char *why);
/* Sends what is queued, then closes. */
void conn_finish(struct conn *conn);
/* The session that was in the way is gone: try again to set up ours. */
void conn_resume_login(struct conn *conn);
void conn_timer_fire(struct loop_timer *timer);

/* ---- input --------------------------------------------------------------------------------- */

/* The socket is ready. */
void conn_ready(struct loop_watch *watch, uint32_t events);
/* The connections whose turn it is handle input, some of it. */
void conn_take_turns(struct loop_call *call);
/* @bytes of data were moved for a PDU. */
static inline void conn_spend(struct conn *conn, uint64_t bytes)
{
    conn->thread->spent_units += 1 + bytes / ISCSI_UNIT_BYTES;
}
/* @len received bytes. */
void conn_input(struct conn *conn, const uint8_t *bytes, size_t len);
/* Whether the connection takes more input now. */
bool conn_takes_input(const struct conn *conn);
/* Something changed that may let input or waiting commands go on. */
void conn_update_events(struct conn *conn);
/* For a login request in its phase; by conn_input(). */
void conn_login_pdu(struct conn *conn, const struct pdu *pdu);

/* ---- output -------------------------------------------------------------------------------- */

/*
 * Room for @len bytes, at most CONN_RESERVE_MAX, where output is built. It becomes output with
 * conn_commit(); without it the room is given again. NULL: no memory, the connection will be
 * closed.
 */
uint8_t *conn_reserve(struct conn *conn, size_t len);
void conn_commit(struct conn *conn, const uint8_t *at, size_t len);
/* Adds @len bytes of @buf, taking a reference. */
void conn_append(struct conn *conn, struct iobuf *buf, const uint8_t *at, size_t len);
/* Where a loan may be put; NULL: not now. Taken with conn_append_loan(), also with nothing of it.
 */
struct lun_loan *conn_next_loan(struct conn *conn);
void conn_take_loan(struct conn *conn);
/* Adds @len bytes of it, from @from on. */
void conn_append_loan(struct conn *conn, const struct lun_loan *loan, size_t from, size_t len);
/* A whole PDU; copies @data. Sets the data length and the digests. */
void conn_send(struct conn *conn, void *bhs, const void *data, size_t len);
/* The header with its digest to @at; its length. */
size_t conn_put_header(const struct conn *conn, uint8_t *at, const void *bhs);
/* Padding and digest of @len bytes of data to @at, which has room for 7; their length. */
size_t conn_put_tail(const struct conn *conn, uint8_t *at, const void *data, size_t len);
/* Sends at the end of the loop's turn, or when the connection's input is handled. */
void conn_flush_later(struct conn *conn);
/* Sends now what the socket takes. */
void conn_flush(struct conn *conn);
/* Drops all output. */
void conn_drop_output(struct conn *conn);

/* Whether so much is queued that commands with more output must wait. */
static inline bool conn_is_full(const struct conn *conn)
{
    return conn->out_bytes >= conn->thread->server->limits.output_bytes;
}

#endif
