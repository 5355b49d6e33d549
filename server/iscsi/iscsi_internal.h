/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the .c files of iscsi/ share: the server, and one of its threads.
 *
 * A connection, its session, tasks and buffers belong to one thread and are touched by it alone.
 * The table of sessions is the server's, under its lock, so that a login finds the session that it
 * reinstates on another thread.
 */
#ifndef SERVER_ISCSI_INTERNAL_H
#define SERVER_ISCSI_INTERNAL_H

#include "lun/base/lock.h"
#include "server/iscsi/iobuf.h"
#include "server/iscsi/portal.h"
#include "server/net/listen.h"
#include "server/net/loop.h"
#include "server/net/sources.h"
#include "server/net/turns.h"
#include "server/net/workers.h"
#include "server/qos/qos.h"

enum
{
    ISCSI_SCRATCH_BYTES = 256 * 1024,
    ISCSI_THREADS_MAX = 64,
    ISCSI_TASKS_KEPT_MAX = 1024,
    ISCSI_LOANS_MAX = 32,
    /* Work is counted in units: one for a PDU, one for so many bytes of data in it or of Data-In.
     */
    ISCSI_UNIT_BYTES = 16 * 1024,
    ISCSI_TURN_UNITS = 4, /* what a connection may do before others are looked at */
    ISCSI_RUN_UNITS = 32, /* the same of commands that waited for room in the output */
};

struct conn;
struct iscsi_server;

struct iscsi_thread
{
    struct iscsi_server *server;
    struct loop *loop;
    uint8_t *scratch; /* what recv() fills for whichever connection is ready */
    struct iobuf_pool buffers;
    uint64_t buffer_limit_bytes; /* above it no more data is asked for, and windows close */
    struct conn *borrower;       /* whose output has the loans; NULL: there are none */
    unsigned loan_count;
    struct lun_loan loans[ISCSI_LOANS_MAX];
    struct list starved; /* tasks that wait for buffers */
    struct turns turns;  /* connections with input to be handled */
    struct loop_call turn_call;
    uint64_t spent_units; /* in all, for whomever */
    uint64_t turn_end;    /* the count at which the turn that is on ends; UINT64_MAX: none is */
    struct list connections;
    struct list logins; /* connections in login, oldest first */
    unsigned login_count;
    struct list free_tasks;
    unsigned free_task_count;
    struct loop_timer trim_timer;
    uint64_t
        slow_until_ms; /* the device was slow just now: all I/O goes to the workers till then */
    long disk_reads;   /* blocks that this thread had read from disks when it last looked */
    bool is_stopping;  /* nothing new */
    struct lock done_lock;
    struct list done; /* tasks that workers are through with; under done_lock */
    struct loop_call done_call;
    struct qos_sink admitted; /* tasks that were held and may go */
    struct loop_call admitted_call;
};

struct iscsi_server
{
    struct scsi_target *scsi;
    struct access *access;
    struct iscsi_limits limits; /* immutable, all set */
    char target_name[SCSI_NAME_MAX + 1];
    char target_alias[SCSI_NAME_MAX + 1];
    struct workers *workers;
    struct iscsi_thread *threads;
    unsigned thread_count;
    struct listener *listeners[ISCSI_PORTALS_MAX];
    char addresses[ISCSI_PORTALS_MAX][ISCSI_ADDRESS_MAX];
    size_t portal_count;
    unsigned next_thread;   /* for the next connection; first thread only, as both below */
    uint64_t refused_ms;    /* when the log was last told of connections without a seat */
    uint64_t refused_count; /* since then */

    struct lock lock;
    struct list sessions;             /* oldest first; under lock */
    uint32_t session_count;           /* under lock */
    uint32_t connection_count;        /* under lock */
    struct sources sources;           /* of connections that there are or will be */
    uint16_t last_tsih;               /* under lock */
    char redirect[ISCSI_ADDRESS_MAX]; /* "": none; under lock */
    bool redirect_permanently;        /* under lock */
    struct condition gone;            /* a connection or session went; under lock */
};

#endif
