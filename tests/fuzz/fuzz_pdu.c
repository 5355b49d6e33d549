/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The stream of PDUs behind a login, into a connection without a socket.
 *
 * The first byte says which digests are on and how the rest is cut into pieces. Digests are not
 * checked for real, or no input would get past them: they are off in most inputs.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/invariant.h"
#include "lun/base/log.h"
#include "server/iscsi/session.h"
#include "server/iscsi/task.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/fake_scsi.h"

static struct fuzz_target
{
    struct iscsi_server server;
    struct iscsi_thread thread;
} target;

static void fuzz_init(void)
{
    struct iscsi_server *server = &target.server;
    struct iscsi_thread *thread = &target.thread;
    log_set_level(LOG_LEVEL_ERROR);
    server->scsi = fake_scsi_create();
    server->access = fake_access_create(NULL, true);
    fake_scsi_open_gate(server->scsi, true);
    server->limits = (struct iscsi_limits){
        .connections = 10,
        .half_open = 10,
        .sessions = 10,
        .queue_depth = 8,
        .immediate = 4,
        .login_ms = 3600000,
        .idle_ms = 3600000,
        .answer_ms = 3600000,
        .write_ms = 3600000,
        .output_bytes = 1 << 20,
    };
    memcpy(server->target_name, "iqn.2026-11.io.lunette:fake", 28);
    server->threads = thread;
    server->thread_count = 1;
    lock_init(&server->lock, LOCK_RANK_SERVER);
    condition_init(&server->gone);
    list_init(&server->sessions);
    INVARIANT(workers_create(1, &server->workers) == 0);
    thread->server = server;
    thread->buffer_limit_bytes = 8 << 20;
    thread->scratch = malloc(ISCSI_SCRATCH_BYTES);
    iobuf_pool_init(&thread->buffers);
    list_init(&thread->starved);
    turns_init(&thread->turns);
    thread->turn_end = UINT64_MAX;
    loop_call_init(&thread->turn_call, conn_take_turns);
    list_init(&thread->connections);
    list_init(&thread->logins);
    list_init(&thread->free_tasks);
    list_init(&thread->done);
    lock_init(&thread->done_lock, LOCK_RANK_LEAF);
    loop_call_init(&thread->done_call, task_take_done);
    INVARIANT(thread->scratch && loop_create("fuzz", &thread->loop) == 0);
}

static void fuzz_log_in(struct conn *conn, uint8_t choice)
{
    char text[256];
    uint8_t pdu[WIRE_BHS_BYTES + sizeof(text)];
    struct wire_login_request bhs = {
        .opcode = WIRE_LOGIN_REQUEST | WIRE_IMMEDIATE,
        .flags = WIRE_LOGIN_TRANSIT | WIRE_STAGE_OPERATIONAL << 2 | WIRE_STAGE_FULL_FEATURE,
        .cmd_sn = be32_put(1),
    };
    int len = snprintf(text, sizeof(text),
                       "InitiatorName=iqn.2026-11.test:fuzz%c"
                       "SessionType=%s%cTargetName=iqn.2026-11.io.lunette:fake%c"
                       "InitialR2T=No%cMaxOutstandingR2T=4%ciSCSIProtocolLevel=2%c"
                       "DataDigest=%s%c",
                       0, choice & 1 ? "Discovery" : "Normal", 0, 0, 0, 0, 0,
                       choice & 2 ? "CRC32C" : "None", 0);
    pdu_put_data_len(bhs.data_len, (uint32_t)len);
    memcpy(pdu, &bhs, sizeof(bhs));
    memcpy(pdu + sizeof(bhs), text, (size_t)len);
    size_t whole = sizeof(bhs) + (size_t)len;
    while (whole % 4)
        pdu[whole++] = 0;
    conn_input(conn, pdu, whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool is_ready;
    if (!is_ready)
        fuzz_init();
    is_ready = true;
    if (size < 1 || size > 65536)
        return 0;
    struct conn *conn;
    INVARIANT(conn_create(&target.thread, -1, &conn) == 0);
    fuzz_before();
    fuzz_log_in(conn, data[0]);
    loop_run_once(target.thread.loop, 0);
    size_t piece = data[0] >> 2 ? (size_t)(data[0] >> 2) * 5 : size;
    bool is_there = !list_is_empty(&target.thread.connections);
    for (size_t at = 1; is_there && at < size && conn->state != CONN_CLOSED;)
    {
        size_t len = size - at < piece ? size - at : piece;
        if (conn_takes_input(conn) && !conn->stash)
        {
            conn_input(conn, data + at, len);
            at += len;
        }
        /* A closed connection's memory goes at the end of the turn, so look first. */
        if (conn->state == CONN_CLOSED)
            break;
        loop_run_once(target.thread.loop, 0);
        if (list_is_empty(&target.thread.connections))
            break;
    }
    if (!list_is_empty(&target.thread.connections))
        conn_close(conn, NULL);
    while (target.server.session_count > 0)
        loop_run_once(target.thread.loop, -1);
    loop_run_once(target.thread.loop, 0);
    fuzz_after();
    INVARIANT(target.thread.buffers.used_bytes == 0);
    INVARIANT(fake_scsi_task_count(target.server.scsi) == 0);
    INVARIANT(fake_scsi_nexus_count(target.server.scsi) == 0);
    return 0;
}
