/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Limits on iSCSI: commands over the limit of their LUN are held, and others of the same session
 * are not; changes, aborts and ends reach those that are held.
 *
 * "stuck" is a class that lets nothing more through for days, so that a held command stays held.
 * Rates are checked by an upper bound only, which a slow machine cannot break.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"
#include "server/qos/qos.h"
#include "tests/e2e/iscsi/client.h"
#include "tests/lib/cunit_main.h"

enum
{
    QOS_WAIT_MS = 60000,
    QOS_BIG_BYTES = 1 << 20,
    QOS_RATE = 40,
    QOS_RATE_DEPTH = 8,
};

static struct stage stage;
static uint64_t ids[2]; /* of LUNs a and b */

static void add_class(const char *name, uint64_t iops, uint64_t bps)
{
    const struct qos_class_change change = {
        .has_iops = true,
        .has_bps = true,
        .limits = {.max_iops = iops, .max_bps = bps},
    };
    INVARIANT(qos_class_create(stage.qos, name, &change, NULL) == 0);
}

static void put(unsigned lun, const char *class_name)
{
    INVARIANT(qos_set(stage.qos, QOS_LUN, &ids[lun], 1, class_name, NULL) == 0);
}

static struct qos_lun_info figures(unsigned lun)
{
    AUTO_FREE struct qos_lun_info *list = NULL;
    size_t count = 0;
    INVARIANT(qos_lun_list(stage.qos, &list, &count) == 0);
    for (size_t i = 0; i < count; i++)
        if (list[i].id == ids[lun])
            return list[i];
    return (struct qos_lun_info){0};
}

static struct iscsi_context *start(void)
{
    static const char *const names[] = {"a", "b"};
    const struct choice choice = {.initiator = STAGE_INITIATOR};
    stage_open(&stage);
    for (unsigned i = 0; i < 2; i++)
    {
        struct lun_info info;
        INVARIANT(lun_get_info(stage.pool, names[i], &info, NULL) == 0);
        ids[i] = info.id;
    }
    struct iscsi_context *iscsi = client_login(&stage, &choice);
    CU_ASSERT_PTR_NOT_NULL_FATAL(iscsi);
    CU_ASSERT_EQUAL(client_settle(iscsi, 0), SCSI_STATUS_GOOD);
    CU_ASSERT_EQUAL(client_settle(iscsi, 1), SCSI_STATUS_GOOD);
    return iscsi;
}

/* LUN a goes into a class that it owes for days to. */
static void make_stuck(struct iscsi_context *iscsi)
{
    uint8_t bytes[4096] = {1};
    add_class("stuck", 0, 1);
    put(0, "stuck");
    CU_ASSERT_EQUAL(
        client_result(iscsi_write10_sync(iscsi, 0, 4096, bytes, sizeof(bytes), 512, 0, 0, 0, 0, 0)),
        SCSI_STATUS_GOOD);
}

/* What became of commands sent with done_cb(). */
struct done
{
    unsigned good, failed, cancelled;
    uint8_t *data; /* of the last read, if not NULL: copied here */
};

static void done_cb(struct iscsi_context *iscsi, int status, void *command, void *opaque)
{
    struct done *done = opaque;
    struct scsi_task *task = command;
    (void)iscsi;
    if (status == SCSI_STATUS_GOOD)
        done->good++;
    else if (status == SCSI_STATUS_CANCELLED)
        done->cancelled++;
    else
        done->failed++;
    if (status == SCSI_STATUS_GOOD && done->data && task->datain.size > 0)
        memcpy(done->data, task->datain.data, (size_t)task->datain.size);
    if (task)
        scsi_free_scsi_task(task);
}

static void service(struct iscsi_context *iscsi, int ms)
{
    struct pollfd fds = {.fd = iscsi_get_fd(iscsi), .events = (short)iscsi_which_events(iscsi)};
    if (poll(&fds, 1, ms) < 0)
        return;
    CU_ASSERT_EQUAL_FATAL(iscsi_service(iscsi, fds.revents), 0);
}

/* Until @count are done, one way or the other. */
static void wait_done(struct iscsi_context *iscsi, const struct done *done, unsigned count)
{
    uint64_t end_ns = qos_clock_ns() + (uint64_t)QOS_WAIT_MS * 1000000;
    while (done->good + done->failed + done->cancelled < count && qos_clock_ns() < end_ns)
        service(iscsi, 50);
    CU_ASSERT_EQUAL_FATAL(done->good + done->failed + done->cancelled, count);
}

/* Until so many requests of LUN a wait. */
static void wait_waiting(struct iscsi_context *iscsi, uint32_t count)
{
    uint64_t end_ns = qos_clock_ns() + (uint64_t)QOS_WAIT_MS * 1000000;
    while (figures(0).waiting != count && qos_clock_ns() < end_ns)
    {
        if (iscsi)
            service(iscsi, 5);
        else
            poll(NULL, 0, 5);
    }
    CU_ASSERT_EQUAL_FATAL(figures(0).waiting, count);
}

static struct scsi_task *send_write(struct iscsi_context *iscsi, uint8_t *bytes, uint32_t len,
                                    struct done *done)
{
    struct scsi_task *task =
        iscsi_write10_task(iscsi, 0, 0, bytes, len, 512, 0, 0, 0, 0, 0, done_cb, done);
    CU_ASSERT_PTR_NOT_NULL_FATAL(task);
    return task;
}

static void send_read(struct iscsi_context *iscsi, uint32_t len, struct done *done)
{
    CU_ASSERT_PTR_NOT_NULL_FATAL(
        iscsi_read10_task(iscsi, 0, 0, len, 512, 0, 0, 0, 0, 0, done_cb, done));
}

/* ---- tests --------------------------------------------------------------------------------- */

/*
 * A short and a long write and a read are held; meanwhile the other LUN serves, and so do commands
 * that move no data. Then the limit goes, and they come through in order, with the right bytes.
 */
static void test_held_and_let_go(void)
{
    static uint8_t big[QOS_BIG_BYTES], small[512], got[512];
    struct iscsi_context *iscsi = start();
    struct done writes = {0}, reads = {.data = got};
    make_stuck(iscsi);
    client_fill(big, sizeof(big), 1);
    client_fill(small, sizeof(small), 2);
    send_write(iscsi, big, sizeof(big), &writes);
    send_write(iscsi, small, sizeof(small), &writes);
    send_read(iscsi, sizeof(got), &reads);
    wait_waiting(iscsi, 3);
    for (unsigned i = 0; i < 50; i++)
        client_verify(iscsi, 1, 4096, i, 8192, i);
    CU_ASSERT_EQUAL(client_ready(iscsi, 0), SCSI_STATUS_GOOD);
    CU_ASSERT_EQUAL(client_result(iscsi_synchronizecache10_sync(iscsi, 0, 0, 0, 0, 0)),
                    SCSI_STATUS_GOOD);
    CU_ASSERT_EQUAL(writes.good + writes.failed + reads.good + reads.failed, 0);
    CU_ASSERT_EQUAL(figures(1).held_ops, 0);
    put(0, "default");
    wait_done(iscsi, &writes, 2);
    wait_done(iscsi, &reads, 1);
    CU_ASSERT_EQUAL(writes.good, 2);
    CU_ASSERT_EQUAL(reads.good, 1);
    CU_ASSERT_EQUAL(figures(0).held_ops, 3);
    struct qos_lun_info info = figures(0);
    CU_ASSERT_EQUAL(info.io[QOS_WRITE].ops, 3);
    CU_ASSERT_EQUAL(info.io[QOS_WRITE].bytes, sizeof(big) + sizeof(small) + 4096);
    CU_ASSERT_EQUAL(info.io[QOS_READ].ops, 1);
    CU_ASSERT_EQUAL(info.io[QOS_FLUSH].ops, 1);
    /* The long write's data was asked for late, and is all there. */
    struct scsi_task *task = iscsi_read10_sync(iscsi, 0, 8, sizeof(big) - 4096, 512, 0, 0, 0, 0, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(task);
    CU_ASSERT_EQUAL_FATAL(task->datain.size, (int)sizeof(big) - 4096);
    CU_ASSERT_EQUAL(memcmp(task->datain.data, big + 4096, sizeof(big) - 4096), 0);
    scsi_free_scsi_task(task);
    client_logout(iscsi);
    stage_close(&stage);
}

static void tmf_cb(struct iscsi_context *iscsi, int status, void *command, void *opaque)
{
    (void)iscsi, (void)status;
    *(int *)opaque = command ? (int)*(uint32_t *)command : -1;
}

static int wait_tmf(struct iscsi_context *iscsi, const int *response)
{
    uint64_t end_ns = qos_clock_ns() + (uint64_t)QOS_WAIT_MS * 1000000;
    while (*response == -2 && qos_clock_ns() < end_ns)
        service(iscsi, 50);
    return *response;
}

static void test_abort(void)
{
    static uint8_t big[QOS_BIG_BYTES];
    struct iscsi_context *iscsi = start();
    struct done writes = {0}, reads = {0};
    int response = -2;
    make_stuck(iscsi);
    struct scsi_task *write = send_write(iscsi, big, sizeof(big), &writes);
    send_read(iscsi, 512, &reads);
    wait_waiting(iscsi, 2);
    CU_ASSERT_EQUAL_FATAL(iscsi_task_mgmt_abort_task_async(iscsi, write, tmf_cb, &response), 0);
    CU_ASSERT_EQUAL(wait_tmf(iscsi, &response), ISCSI_TMR_FUNC_COMPLETE);
    wait_waiting(iscsi, 1);
    CU_ASSERT_EQUAL(writes.good, 0);
    response = -2;
    CU_ASSERT_EQUAL_FATAL(iscsi_task_mgmt_lun_reset_async(iscsi, 0, tmf_cb, &response), 0);
    CU_ASSERT_EQUAL(wait_tmf(iscsi, &response), ISCSI_TMR_FUNC_COMPLETE);
    wait_waiting(iscsi, 0);
    CU_ASSERT_EQUAL(reads.good, 0);
    CU_ASSERT_EQUAL(client_settle(iscsi, 0), SCSI_STATUS_GOOD);
    iscsi_destroy_context(iscsi);
    stage_close(&stage);
}

/* The connection goes, and with it what is held. */
static void test_session_ends(void)
{
    static uint8_t big[QOS_BIG_BYTES];
    struct iscsi_context *iscsi = start();
    struct done done = {0};
    make_stuck(iscsi);
    for (int i = 0; i < 8; i++)
        send_write(iscsi, big, sizeof(big), &done);
    wait_waiting(iscsi, 8);
    iscsi_destroy_context(iscsi);
    wait_waiting(NULL, 0);
    uint64_t end_ns = qos_clock_ns() + (uint64_t)QOS_WAIT_MS * 1000000;
    while (stage_session_count(&stage) > 0 && qos_clock_ns() < end_ns)
        poll(NULL, 0, 5);
    CU_ASSERT_EQUAL(stage_session_count(&stage), 0);
    CU_ASSERT_EQUAL(done.good, 0);
    stage_close(&stage);
}

/* The server stops while commands are held. */
static void test_server_ends(void)
{
    struct iscsi_context *iscsi = start();
    struct done done = {0};
    make_stuck(iscsi);
    for (int i = 0; i < 8; i++)
        send_read(iscsi, 4096, &done);
    wait_waiting(iscsi, 8);
    stage_close(&stage);
    iscsi_destroy_context(iscsi);
    CU_ASSERT_EQUAL(done.good, 0);
}

struct pump
{
    struct iscsi_context *iscsi;
    uint64_t end_ns;
    unsigned done;
};

static void pump_cb(struct iscsi_context *iscsi, int status, void *command, void *opaque)
{
    struct pump *pump = opaque;
    CU_ASSERT_EQUAL(status, SCSI_STATUS_GOOD);
    scsi_free_scsi_task(command);
    pump->done++;
    if (qos_clock_ns() < pump->end_ns)
        CU_ASSERT_PTR_NOT_NULL_FATAL(
            iscsi_read10_task(iscsi, 0, 0, 512, 512, 0, 0, 0, 0, 0, pump_cb, pump));
}

/* Two sessions on one LUN pass one limit; a LUN beside it is not held up. */
static void test_rate(void)
{
    struct iscsi_context *first = start();
    const struct choice choice = {.initiator = STAGE_INITIATOR ":1"};
    struct iscsi_context *second = client_login(&stage, &choice);
    CU_ASSERT_PTR_NOT_NULL_FATAL(second);
    CU_ASSERT_EQUAL(client_settle(second, 0), SCSI_STATUS_GOOD);
    add_class("slow", QOS_RATE, 0);
    uint64_t begun_ns = qos_clock_ns();
    put(0, "slow");
    struct pump pumps[2] = {{.iscsi = first}, {.iscsi = second}};
    for (unsigned i = 0; i < 2 * QOS_RATE_DEPTH; i++)
    {
        struct pump *pump = &pumps[i % 2];
        pump->end_ns = begun_ns + UINT64_C(2000000000);
        CU_ASSERT_PTR_NOT_NULL_FATAL(
            iscsi_read10_task(pump->iscsi, 0, 0, 512, 512, 0, 0, 0, 0, 0, pump_cb, pump));
    }
    uint64_t late_ns = begun_ns + (uint64_t)QOS_WAIT_MS * 1000000;
    while (qos_clock_ns() < pumps[0].end_ns ||
           ((pumps[0].done == 0 || pumps[1].done == 0) && qos_clock_ns() < late_ns))
    {
        service(first, 10);
        service(second, 10);
    }
    unsigned done = pumps[0].done + pumps[1].done;
    uint64_t took_ms = (qos_clock_ns() - begun_ns) / 1000000;
    uint64_t most = QOS_RATE * (took_ms + QOS_BURST_MS_DEFAULT) / 1000 + 2;
    CU_ASSERT(done <= most);
    CU_ASSERT(pumps[0].done > 0 && pumps[1].done > 0);
    /* More than the limit would let through in all this time: the sibling has none. */
    for (unsigned i = 0; i < 100; i++)
        client_verify(first, 1, 4096, i, 4096, i);
    CU_ASSERT_EQUAL(figures(1).held_ops, 0);
    put(0, "default");
    uint64_t end_ns = qos_clock_ns() + (uint64_t)QOS_WAIT_MS * 1000000;
    while (pumps[0].done + pumps[1].done < figures(0).io[QOS_READ].ops || figures(0).waiting > 0)
    {
        CU_ASSERT_FATAL(qos_clock_ns() < end_ns);
        service(first, 10);
        service(second, 10);
    }
    client_logout(first);
    client_logout(second);
    stage_close(&stage);
}

static CU_TestInfo qos_tests[] = {
    {"commands are held and let go; others are not held", test_held_and_let_go},
    {"aborts reach those that are held", test_abort},
    {"a session ends with commands held", test_session_ends},
    {"the server stops with commands held", test_server_ends},
    {"a rate is kept over two sessions", test_rate},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"qos", NULL, NULL, NULL, NULL, qos_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
