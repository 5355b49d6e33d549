/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SCSI logical units on the LUNs of a pool: the contract between a transport and the commands.
 *
 * A transport (iSCSI) makes a nexus for each session and a task for each command. It sees lengths,
 * buffers, status and sense, never the inside of a CDB; this side never sees a PDU or a socket.
 *
 * The life of a task, all steps by the transport, which owns its memory throughout:
 *
 *     fill in          nexus, lun, cdb, attribute, tag, edtl_*
 *     scsi_task_begin()          SCSI_DONE ------------------------------------------.
 *         | SCSI_GO: out_wanted, in_max are known                                    |
 *     collect min(edtl_out, out_wanted) bytes into out[], provide in[]               |
 *         | (scsi_take_piece() with parts of them, as they come)                     |
 *     scsi_execute_inline() -- SCSI_DONE ------------------------------------------->|
 *         |   | SCSI_DORMANT: wait for it in scsi_nexus_next_changed(), try again    |
 *         | SCSI_WOULD_BLOCK: on a worker                                            |
 *     scsi_execute() -- SCSI_DONE (or SCSI_DORMANT, as above) ---------------------->|
 *                                                                                    v
 *     scsi_task_end(): true: send Data-In, status, sense, residual; false: aborted, send nothing
 *
 * scsi_task_end() is called exactly once for every task that scsi_task_begin() saw; also for one
 * that is given up before it was executed (connection lost, abort).
 *
 * Always true:
 *  - every task is in the task set of its logical unit from begin to end, so that ordering, aborts
 *    and resets see it;
 *  - a command passes the checks in the order of SAM: LUN, unit attention, reservation, CDB;
 *  - what a nexus sees is what access.h maps for its initiator at this moment.
 *
 * Locks: LOCK_RANK_SERVER (set of nexuses and units), then LOCK_RANK_SESSION (a nexus), then
 * LOCK_RANK_LU. The transport calls in with nothing of these ranks held, except where allowed.
 */
#ifndef SERVER_SCSI_SCSI_H
#define SERVER_SCSI_SCSI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/base/list.h"
#include "lun/lun.h"

struct access;
struct qos;
struct qos_lun;
struct scsi_target;
struct scsi_nexus;
struct scsi_itl; /* one nexus towards one logical unit */

enum
{
    SCSI_CDB_MAX = 32,
    SCSI_SENSE_MAX = 64,
    SCSI_NAME_MAX = 223,                  /* iSCSI name, without the NUL */
    SCSI_INLINE_MAX_BYTES = 65536,        /* reads and writes up to here may run on a loop thread */
    SCSI_PIECE_MAX_BYTES = 256 << 10,     /* parts of a write, too */
    SCSI_TRANSFER_MAX_BYTES = 16 << 20,   /* of one read or write; in VPD B0h */
    SCSI_PARAMETER_MAX_BYTES = 256 << 10, /* of any other Data-In */
    SCSI_TASK_SET_MAX = 8192,             /* tasks in one logical unit; above: TASK SET FULL */
};

/* ---- target -------------------------------------------------------------------------------- */

struct scsi_target_options
{
    const char *target_name; /* iSCSI name; the SCSI device name. Copied */
    uint16_t port_count;     /* target ports = portal groups, numbered 1 to port_count; 0: 1 */
    struct qos *qos;         /* outlives the target; NULL: nothing is limited or counted */
};

/*
 * Takes @pool and @access by reference; both outlive the target. Loads reservations on demand. It
 * sets itself as @access's hook.
 */
MUST_CHECK int scsi_target_create(struct pool *pool, struct access *access,
                                  const struct scsi_target_options *options,
                                  struct scsi_target **target, struct reason *why);

/* All nexuses must have been destroyed and their tasks ended. Waits for a SANITIZE. NULL is fine.
 */
void scsi_target_destroy(struct scsi_target *target);

/* For pool_set_change_hook(), @opaque is the target: raises the unit attentions. */
void scsi_target_lun_changed(void *opaque, enum lun_change change, uint64_t lun_id,
                             const char *name);

/* The pool is nearly full: SOFT THRESHOLD REACHED to everybody that sees a LUN of it. */
void scsi_target_space_threshold(struct scsi_target *target);
/*
 * Does so, once, when the space has sunk below the threshold. Writes of SCSI hosts look by
 * themselves; the transport asks now and then, since others (NBD, clones) fill the pool too.
 */
void scsi_target_check_space(struct scsi_target *target);

/*
 * Whether somebody outside of SCSI (NBD) may write to (or with @write false read from) @lun_id, or
 * a persistent or old reservation excludes him. 0 or -EPERM, then @why names the holder. Without
 * reservations it costs a moment, so it may be asked before each request.
 */
MUST_CHECK int scsi_target_check_foreign(struct scsi_target *target, uint64_t lun_id, bool write,
                                         struct reason *why);

/* What one logical unit holds, for `mapping show` and tests. -ENOENT: no such LUN is in use. */
struct scsi_lu_info
{
    uint32_t nexus_count, task_count, registration_count;
    uint8_t reservation_type; /* 0: none */
    uint32_t pr_generation;
    char holder[SCSI_NAME_MAX + 32];
};
MUST_CHECK int scsi_target_lu_info(struct scsi_target *target, uint64_t lun_id,
                                   struct scsi_lu_info *info);

/* ---- persistent reservations, for the administrator ------------------------------------------ */

struct scsi_registration
{
    char initiator[SCSI_NAME_MAX + 1];
    uint8_t isid[6];
    uint16_t target_port;
    uint64_t key;
    bool is_holder;    /* of the reservation; several with an "all registrants" type */
    bool is_connected; /* it has a session now */
};

struct scsi_reservation
{
    uint8_t type;       /* as in PERSISTENT RESERVE IN; 0: there are registrations at most */
    bool is_persistent; /* outlives a restart of the server (APTPL) */
    uint32_t generation;
    char reserved_by[SCSI_NAME_MAX + 1]; /* by the old RESERVE command, until its session ends */
    struct scsi_registration *list;
    size_t count;
};

/* Also of a LUN that nobody uses, from the store. The caller frees list. */
MUST_CHECK int scsi_reservation_get(struct scsi_target *target, uint64_t lun_id,
                                    struct scsi_reservation *reservation);
/*
 * For an initiator that is gone, or all (NULL): takes its registrations of the LUN away, with the
 * reservation if it is its own, and what the old RESERVE holds. Durable when it returns. Hosts with
 * sessions are told by unit attentions, NBD clients are kept out no longer. *cleared: how many; 0:
 * there was nothing, and nothing changed.
 */
MUST_CHECK int scsi_reservation_clear(struct scsi_target *target, uint64_t lun_id,
                                      const char *initiator, size_t *cleared);

/* ---- nexus --------------------------------------------------------------------------------- */

struct scsi_nexus_args
{
    const char *initiator_name; /* normalised iSCSI name; copied */
    uint8_t isid[6];
    uint16_t portal_group_tag; /* relative target port identifier, 1 to port_count */
    /*
     * Something is to be had from scsi_nexus_next_changed(). Called from any thread, with locks
     * held: it may only post to the loop that owns the session.
     */
    void (*changed)(void *opaque);
    void *opaque;
};

/* At the end of a normal login. It brings POWER ON, RESET, OR BUS DEVICE RESET OCCURRED to each
 * LUN. */
MUST_CHECK int scsi_nexus_create(struct scsi_target *target, const struct scsi_nexus_args *args,
                                 struct scsi_nexus **nexus);

/*
 * Logout or loss of the session: aborts its tasks, drops RESERVE, prevented removal and unit
 * attentions, keeps persistent reservations. No call to changed() comes after it returned, and
 * scsi_nexus_next_changed() may not be called any more. All its tasks are still to be ended, those
 * on workers when they come back; the nexus's memory goes with the last of them.
 */
void scsi_nexus_destroy(struct scsi_nexus *nexus);

/* ---- tasks --------------------------------------------------------------------------------- */

enum scsi_attribute
{
    SCSI_UNTAGGED, /* as SIMPLE */
    SCSI_SIMPLE,
    SCSI_ORDERED,
    SCSI_HEAD_OF_QUEUE,
    SCSI_ACA, /* refused */
};

enum scsi_status
{
    SCSI_GOOD = 0x00,
    SCSI_CHECK_CONDITION = 0x02,
    SCSI_CONDITION_MET = 0x04,
    SCSI_BUSY = 0x08,
    SCSI_RESERVATION_CONFLICT = 0x18,
    SCSI_TASK_SET_FULL = 0x28,
};

enum scsi_step
{
    SCSI_DONE,        /* status is set */
    SCSI_GO,          /* begin only: collect data, then execute */
    SCSI_WOULD_BLOCK, /* inline only: call scsi_execute() on a worker */
    SCSI_DORMANT,     /* must wait for other tasks, or for room; comes up in
                         scsi_nexus_next_changed() */
};

struct scsi_task
{
    /* Set by the transport before scsi_task_begin(). */
    struct scsi_nexus *nexus;
    uint8_t lun[8];
    uint8_t cdb[SCSI_CDB_MAX]; /* zero beyond cdb_len */
    uint8_t cdb_len;           /* what the initiator sent: 16, more with an extended CDB */
    uint8_t attribute;         /* enum scsi_attribute */
    uint64_t tag;              /* the transport's own, to recognise it */
    uint64_t edtl_out;         /* expected data transfer lengths: 0 for a direction not announced */
    uint64_t edtl_in;

    /* Set by scsi_task_begin() with SCSI_GO. */
    uint64_t out_wanted; /* bytes the command takes; more than edtl_out is an overflow */
    uint64_t in_max;     /* most bytes the command returns; provide min(edtl_in, in_max) */
    bool takes_pieces;   /* of its data: scsi_take_piece() */
    /*
     * What it is to quality of service: the transport asks before it has the task executed, and
     * accounts for it before scsi_task_end(). NULL: neither.
     */
    struct qos_lun *qos;
    uint8_t io;        /* enum qos_io */
    uint64_t io_bytes; /* that it moves from or to the medium */

    /* Set by the transport before execution. */
    const void *out; /* out_len = min(edtl_out, out_wanted) bytes */
    size_t out_len;
    void *in; /* room for in_capacity bytes */
    size_t in_capacity;
    struct lun_loan *loan; /* inline only: what is read may be lent there instead; or NULL */

    /* Set with SCSI_DONE. */
    uint8_t status;                /* enum scsi_status */
    uint8_t sense_len;             /* 0: none */
    uint8_t sense[SCSI_SENSE_MAX]; /* fixed or descriptor format, as the mode page says */
    size_t in_len;                 /* bytes of in[] to send: at most in_capacity */
    bool is_lent;          /* they are not there but in the loan, the transport's to return */
    uint64_t transfer_len; /* what the command wanted to move, for the residual */

    /* Private to server/scsi. */
    const void *command;
    struct scsi_itl *itl;
    struct scsi_lu *lu;
    struct list set_link;     /* in the task set, under the unit's lock */
    struct list changed_link; /* in the nexus's changed list */
    uint8_t state;            /* under the unit's lock, as is_aborted */
    bool is_aborted;
    bool descriptor_sense; /* the format of sense data, as the control page had it */
    bool lacks_room;       /* this and all below: room.h */
    bool is_resumed;
    struct scsi_lu *room_lu; /* in use by this task, too; NULL: it was not short of room yet */
    struct list room_link;   /* with room_lu: in the target's list; under its lock */
    uint64_t room_end_ns;    /* how long it waits; 0: from the next time on */
    uint64_t done_bytes;     /* that need not be written again, from the first on */
};

/* Puts the task into its logical unit's task set; see the head. Never blocks on I/O. */
MUST_CHECK enum scsi_step scsi_task_begin(struct scsi_task *task);

/*
 * Writes the @len bytes that follow those that were taken so far, while the rest of the data still
 * comes; at most SCSI_PIECE_MAX_BYTES, so that it takes moments. The last part is for the
 * execution. True: that needs them no more, only their place in out[]. False: it does not go now,
 * nothing has happened. The caller is on the loop of the nexus.
 */
MUST_CHECK bool scsi_take_piece(struct scsi_task *task, const void *bytes, size_t len);

/* Runs it if that takes no more than moments, else SCSI_WOULD_BLOCK and nothing has happened. */
MUST_CHECK enum scsi_step scsi_execute_inline(struct scsi_task *task);

/*
 * Runs it; may block. Several tasks of a nexus may run at once on several threads. SCSI_DORMANT:
 * scsi_execute_inline() was not asked before, or the task waits for room (room.h); @out is to stay
 * as it is until then.
 */
MUST_CHECK enum scsi_step scsi_execute(struct scsi_task *task);

/*
 * Of a task that was told SCSI_DORMANT: it waits for room, perhaps for an hour, and its data with
 * it. Where that takes too much memory it may be ended with SCSI_BUSY instead.
 */
bool scsi_lacks_room(const struct scsi_task *task);

/* Takes it out of the task set. True: send the response. False: it was aborted, send nothing. */
MUST_CHECK bool scsi_task_end(struct scsi_task *task);

/*
 * The residual of a finished task: > 0: overflow (the command had more than was expected), < 0:
 * underflow, by so many bytes.
 */
int64_t scsi_task_residual(const struct scsi_task *task);

/* Whether it only reads the medium: such a command may be begun, run inline and ended while there
 * are loans, see lun_lend(). */
static inline bool scsi_is_read(const uint8_t *cdb)
{
    return cdb[0] == 0x08 || cdb[0] == 0x28 || cdb[0] == 0x88 || cdb[0] == 0xa8;
}

enum scsi_change
{
    SCSI_CHANGE_NONE,
    SCSI_CHANGE_RUNNABLE, /* was SCSI_DORMANT: call scsi_execute_inline() again */
    SCSI_CHANGE_ABORTED,  /* not running: drop what was collected and call scsi_task_end() now */
};

/*
 * The next task of this nexus whose state was changed by another task's end or by task management.
 * One that runs at this moment does not come up when aborted: scsi_task_end() tells. After
 * SCSI_CHANGE_ABORTED no other call than scsi_task_end() may be made for it.
 */
enum scsi_change scsi_nexus_next_changed(struct scsi_nexus *nexus, struct scsi_task **task);

/* ---- task management ----------------------------------------------------------------------- */

enum scsi_tmf_function
{
    SCSI_TMF_ABORT_TASK,
    SCSI_TMF_ABORT_TASK_SET,
    SCSI_TMF_CLEAR_ACA, /* refused */
    SCSI_TMF_CLEAR_TASK_SET,
    SCSI_TMF_LUN_RESET,
    SCSI_TMF_TARGET_WARM_RESET,
    SCSI_TMF_TARGET_COLD_RESET, /* the transport closes the sessions afterwards */
    SCSI_TMF_QUERY_TASK,
    SCSI_TMF_QUERY_TASK_SET,
    SCSI_TMF_I_T_NEXUS_RESET,
    SCSI_TMF_QUERY_ASYNC_EVENT, /* not supported */
};

enum scsi_tmf_response
{
    SCSI_TMF_COMPLETE,
    SCSI_TMF_SUCCEEDED, /* of a query: there is one */
    SCSI_TMF_NO_TASK,
    SCSI_TMF_NO_LUN,
    SCSI_TMF_NOT_SUPPORTED,
    SCSI_TMF_REJECTED,
};

struct scsi_tmf
{
    /* Set by the transport, which owns the memory until done() was called. */
    struct scsi_nexus *nexus;
    uint8_t function;       /* enum scsi_tmf_function */
    uint8_t lun[8];         /* where the function has one */
    struct scsi_task *task; /* ABORT TASK, QUERY TASK: found by the transport; NULL: none such */
    /*
     * All affected tasks have ended. Called from any thread, exactly once, also when the nexus is
     * gone by then. It may only post.
     */
    void (*done)(struct scsi_tmf *tmf);
    void *opaque;

    uint8_t response; /* enum scsi_tmf_response, valid in done() */

    /* Private to server/scsi. */
    struct list link;   /* in the target's list of those that wait */
    struct scsi_lu *lu; /* whose aborted tasks it waits for; NULL: of all units */
};

/*
 * Aborts what the function names, at once: from then on no response of such a task is sent. done()
 * is called, perhaps before this returns, when all of them have gone through scsi_task_end(), those
 * on workers included. The caller is on the loop of @tmf->nexus and @tmf->task is not ended yet.
 */
void scsi_tmf_start(struct scsi_tmf *tmf);

#endif
