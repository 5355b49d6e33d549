/* SPDX-License-Identifier: BSD-3-Clause */
/* Task sets, task management, unit attentions, and what a nexus sees. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/qos/qos.h"
#include "server/scsi/cdb.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/scsi_host.h"

static struct scsi_host host;
static struct scsi_nexus *a, *b;
static unsigned done_count;

static void set_up(void)
{
    host_start(&host, 512);
    a = host_login(&host, HOST_A, 1);
    b = host_login(&host, HOST_B, 2);
    host_clear(a, 0);
    host_clear(b, 0);
    host_clear(a, 1);
    host_clear(b, 1);
    done_count = 0;
}

static void tear_down(void)
{
    scsi_nexus_destroy(a);
    scsi_nexus_destroy(b);
    host_stop(&host);
}

static const uint8_t cdb_ready[6];

/* A task that has begun; TEST UNIT READY. */
static void begin(struct scsi_task *task, struct scsi_nexus *nexus, enum scsi_attribute attribute)
{
    struct sending sending = {.cdb = cdb_ready, .cdb_len = sizeof(cdb_ready)};
    host_fill_task(task, nexus, &sending);
    task->attribute = (uint8_t)attribute;
    CU_ASSERT_EQUAL(scsi_task_begin(task), SCSI_GO);
}

static void finish(struct scsi_task *task)
{
    CU_ASSERT_EQUAL(scsi_execute_inline(task), SCSI_DONE);
    CU_ASSERT_EQUAL(task->status, SCSI_GOOD);
    CU_ASSERT_TRUE(scsi_task_end(task));
}

static void tmf_done(struct scsi_tmf *tmf)
{
    (void)tmf;
    done_count++;
}

/* Starts it and returns what it said, if it is done at once. */
static enum scsi_tmf_response tmf(struct scsi_tmf *tmf, struct scsi_nexus *nexus,
                                  enum scsi_tmf_function function, struct scsi_task *task)
{
    *tmf = (struct scsi_tmf){
        .nexus = nexus, .function = (uint8_t)function, .task = task, .done = tmf_done};
    scsi_tmf_start(tmf);
    return tmf->response;
}

static unsigned attention(struct scsi_nexus *nexus, uint32_t lun)
{
    struct sending sending = {.lun = lun, .cdb = cdb_ready, .cdb_len = sizeof(cdb_ready)};
    const struct outcome *outcome = host_send(nexus, &sending);
    return outcome->key == 6 ? (unsigned)(outcome->asc << 8 | outcome->ascq) : 0;
}

/* ---- order --------------------------------------------------------------------------------- */

static void test_ordered(void)
{
    struct scsi_task first, ordered, last, *changed = NULL;
    begin(&first, a, SCSI_SIMPLE);
    begin(&ordered, b, SCSI_ORDERED);
    begin(&last, a, SCSI_SIMPLE);
    CU_ASSERT_EQUAL(scsi_execute_inline(&ordered), SCSI_DORMANT);
    CU_ASSERT_EQUAL(scsi_execute(&last), SCSI_DORMANT);
    CU_ASSERT_EQUAL(scsi_nexus_next_changed(b, &changed), SCSI_CHANGE_NONE);
    finish(&first);
    CU_ASSERT_EQUAL(scsi_nexus_next_changed(b, &changed), SCSI_CHANGE_RUNNABLE);
    CU_ASSERT_PTR_EQUAL(changed, &ordered);
    CU_ASSERT_EQUAL(scsi_nexus_next_changed(a, &changed), SCSI_CHANGE_NONE);
    finish(&ordered);
    CU_ASSERT_EQUAL(scsi_nexus_next_changed(a, &changed), SCSI_CHANGE_RUNNABLE);
    CU_ASSERT_PTR_EQUAL(changed, &last);
    finish(&last);
}

static void test_head_of_queue(void)
{
    struct scsi_task ordered, head, simple;
    begin(&simple, a, SCSI_SIMPLE);
    begin(&ordered, a, SCSI_ORDERED);
    begin(&head, b, SCSI_HEAD_OF_QUEUE);
    CU_ASSERT_EQUAL(scsi_execute_inline(&ordered), SCSI_DORMANT);
    CU_ASSERT_EQUAL(scsi_execute_inline(&simple), SCSI_DORMANT); /* behind the head now */
    finish(&head);
    finish(&simple);
    finish(&ordered);
}

static void test_simple_any_order(void)
{
    struct scsi_task one, two;
    begin(&one, a, SCSI_SIMPLE);
    begin(&two, a, SCSI_UNTAGGED);
    finish(&two);
    finish(&one);
}

static void test_aca(void)
{
    struct scsi_task task;
    begin(&task, a, SCSI_ACA);
    CU_ASSERT_EQUAL(scsi_execute_inline(&task), SCSI_DONE);
    CU_ASSERT_EQUAL(task.status, SCSI_CHECK_CONDITION);
    CU_ASSERT_TRUE(scsi_task_end(&task));
    CHECK_INVALID_CDB(host_none(a, 0, 0, 0, 0, 0, 0x04));
}

/* What is long goes to a worker, what is short does not. */
static void test_inline(void)
{
    static const struct
    {
        uint8_t cdb[16];
        enum scsi_step step;
    } rows[] = {
        {{0x28, 0, 0, 0, 0, 0, 0, 0, 128}, SCSI_DONE},
        {{0x28, 0, 0, 0, 0, 0, 0, 0, 129}, SCSI_WOULD_BLOCK},
        {{0x35}, SCSI_WOULD_BLOCK},
        {{0x12, 0, 0, 0, 96}, SCSI_DONE},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
    {
        struct sending sending = {.cdb = rows[i].cdb, .cdb_len = 16, .in_len = 1 << 20};
        struct scsi_task task;
        host_fill_task(&task, a, &sending);
        CU_ASSERT_EQUAL(scsi_task_begin(&task), SCSI_GO);
        host_give_buffers(&task, &sending);
        CU_ASSERT_EQUAL(scsi_execute_inline(&task), rows[i].step);
        if (rows[i].step == SCSI_WOULD_BLOCK)
            CU_ASSERT_EQUAL(scsi_execute(&task), SCSI_DONE);
        CU_ASSERT_EQUAL(task.status, SCSI_GOOD);
        CU_ASSERT_TRUE(scsi_task_end(&task));
    }
}

/* ---- task management ----------------------------------------------------------------------- */

static void test_abort_task(void)
{
    struct scsi_task task, *changed = NULL;
    struct scsi_tmf abort;
    begin(&task, a, SCSI_SIMPLE);
    CU_ASSERT_EQUAL(tmf(&abort, a, SCSI_TMF_QUERY_TASK, &task), SCSI_TMF_SUCCEEDED);
    CU_ASSERT_EQUAL(done_count, 1);
    CU_ASSERT_EQUAL(tmf(&abort, a, SCSI_TMF_ABORT_TASK, &task), SCSI_TMF_COMPLETE);
    CU_ASSERT_EQUAL(done_count, 1); /* not before the task has ended */
    CU_ASSERT_EQUAL(scsi_nexus_next_changed(a, &changed), SCSI_CHANGE_ABORTED);
    CU_ASSERT_PTR_EQUAL(changed, &task);
    CU_ASSERT_FALSE(scsi_task_end(&task));
    CU_ASSERT_EQUAL(done_count, 2);
    CU_ASSERT_EQUAL(tmf(&abort, a, SCSI_TMF_ABORT_TASK, NULL), SCSI_TMF_NO_TASK);
    CU_ASSERT_EQUAL(tmf(&abort, a, SCSI_TMF_QUERY_TASK, NULL), SCSI_TMF_COMPLETE);
    CU_ASSERT_EQUAL(done_count, 4);
    CU_ASSERT_EQUAL(tmf(&abort, a, SCSI_TMF_CLEAR_ACA, NULL), SCSI_TMF_NOT_SUPPORTED);
}

/* A task that was aborted on its way to a worker does nothing there. */
static void test_abort_claimed(void)
{
    static uint8_t data[129 * 512];
    static const uint8_t cdb[16] = {0x2a, 0, 0, 0, 0, 0, 0, 0, 129};
    struct sending sending = {.cdb = cdb, .cdb_len = 16, .out = data, .out_len = sizeof(data)};
    memset(data, 0x77, sizeof(data));
    struct scsi_task task, *changed = NULL;
    struct scsi_tmf abort;
    host_fill_task(&task, a, &sending);
    CU_ASSERT_EQUAL(scsi_task_begin(&task), SCSI_GO);
    host_give_buffers(&task, &sending);
    CU_ASSERT_EQUAL(scsi_execute_inline(&task), SCSI_WOULD_BLOCK);
    tmf(&abort, a, SCSI_TMF_ABORT_TASK, &task);
    CU_ASSERT_EQUAL(scsi_nexus_next_changed(a, &changed), SCSI_CHANGE_NONE);
    CU_ASSERT_EQUAL(scsi_execute(&task), SCSI_DONE);
    CU_ASSERT_EQUAL(done_count, 0);
    CU_ASSERT_FALSE(scsi_task_end(&task));
    CU_ASSERT_EQUAL(done_count, 1);
    CU_ASSERT_EQUAL(host_read(a, 0, 1, 512)->in[0], 0);
}

static void test_abort_task_set(void)
{
    struct scsi_task mine, theirs, *changed = NULL;
    struct scsi_tmf abort;
    begin(&mine, a, SCSI_SIMPLE);
    begin(&theirs, b, SCSI_SIMPLE);
    tmf(&abort, a, SCSI_TMF_ABORT_TASK_SET, NULL);
    CU_ASSERT_EQUAL(scsi_nexus_next_changed(a, &changed), SCSI_CHANGE_ABORTED);
    CU_ASSERT_EQUAL(scsi_nexus_next_changed(b, &changed), SCSI_CHANGE_NONE);
    CU_ASSERT_FALSE(scsi_task_end(&mine));
    CU_ASSERT_EQUAL(done_count, 1);
    finish(&theirs);
    CU_ASSERT_EQUAL(attention(b, 0), 0);
    wire_put_u16(abort.lun, 7);
    scsi_tmf_start(&abort);
    CU_ASSERT_EQUAL(abort.response, SCSI_TMF_NO_LUN);
}

static void test_clear_task_set(void)
{
    struct scsi_task mine, theirs, *changed = NULL;
    struct scsi_tmf abort;
    begin(&mine, a, SCSI_SIMPLE);
    begin(&theirs, b, SCSI_ORDERED);
    CU_ASSERT_EQUAL(scsi_execute_inline(&theirs), SCSI_DORMANT);
    tmf(&abort, a, SCSI_TMF_CLEAR_TASK_SET, NULL);
    CU_ASSERT_EQUAL(scsi_nexus_next_changed(b, &changed), SCSI_CHANGE_ABORTED);
    CU_ASSERT_FALSE(scsi_task_end(&theirs));
    CU_ASSERT_EQUAL(done_count, 0);
    CU_ASSERT_FALSE(scsi_task_end(&mine));
    CU_ASSERT_EQUAL(done_count, 1);
    CU_ASSERT_EQUAL(attention(a, 0), 0);
    CU_ASSERT_EQUAL(attention(b, 0), 0x2f00);
}

static void test_lun_reset(void)
{
    struct scsi_task task;
    struct scsi_tmf reset;
    CHECK_GOOD(host_none(b, 0x16, 0, 0, 0, 0, 0)); /* RESERVE */
    begin(&task, b, SCSI_SIMPLE);
    tmf(&reset, a, SCSI_TMF_LUN_RESET, NULL);
    CU_ASSERT_FALSE(scsi_task_end(&task));
    CU_ASSERT_EQUAL(done_count, 1);
    CU_ASSERT_EQUAL(attention(a, 0), 0x2903);
    CU_ASSERT_EQUAL(attention(b, 0), 0x2903);
    CU_ASSERT_EQUAL(attention(b, 0), 0);
    CU_ASSERT_EQUAL(attention(b, 1), 0); /* the other LUN was not reset */
    CHECK_GOOD(host_read(a, 0, 1, 512)); /* nor is it reserved any more */
}

static void test_target_reset(void)
{
    struct scsi_tmf reset;
    tmf(&reset, a, SCSI_TMF_LUN_RESET, NULL);
    tmf(&reset, a, SCSI_TMF_TARGET_WARM_RESET, NULL);
    for (uint32_t lun = 0; lun < 2; lun++)
    {
        CU_ASSERT_EQUAL(attention(b, lun), 0x2902); /* covers the lesser reset */
        CU_ASSERT_EQUAL(attention(b, lun), 0);
    }
    /* Twice the same is one. */
    tmf(&reset, a, SCSI_TMF_TARGET_COLD_RESET, NULL);
    tmf(&reset, a, SCSI_TMF_TARGET_COLD_RESET, NULL);
    CU_ASSERT_EQUAL(attention(b, 0), 0x2902);
    CU_ASSERT_EQUAL(attention(b, 0), 0);
}

/* A session ends with tasks in it: they still have to be ended, and hold up nobody. */
static void test_nexus_loss(void)
{
    struct scsi_task ordered, later, *changed = NULL;
    begin(&ordered, a, SCSI_ORDERED);
    begin(&later, b, SCSI_SIMPLE);
    CU_ASSERT_EQUAL(scsi_execute_inline(&later), SCSI_DORMANT);
    scsi_nexus_destroy(a);
    CU_ASSERT_EQUAL(scsi_execute(&ordered), SCSI_DONE);
    CU_ASSERT_FALSE(scsi_task_end(&ordered));
    CU_ASSERT_EQUAL(scsi_nexus_next_changed(b, &changed), SCSI_CHANGE_RUNNABLE);
    finish(&later);
    a = host_login(&host, HOST_A, 1);
    CU_ASSERT_EQUAL(attention(a, 0), 0x2900);
}

/* PREEMPT AND ABORT takes the tasks of whom it puts out, and of nobody else. */
static void test_preempt_and_abort(void)
{
    uint8_t list[24] = {0};
    struct scsi_task mine, theirs, *changed = NULL;
    wire_put_u64(list + 8, 0xb);
    CHECK_GOOD(host_out(b, list, 24, 0x5f, 6, 0, 0, 0, 0, 0, 0, 24, 0));
    wire_put_u64(list + 8, 0xa);
    CHECK_GOOD(host_out(a, list, 24, 0x5f, 6, 0, 0, 0, 0, 0, 0, 24, 0));
    begin(&mine, a, SCSI_SIMPLE);
    begin(&theirs, b, SCSI_SIMPLE);
    wire_put_u64(list, 0xa);
    wire_put_u64(list + 8, 0xb);
    CHECK_GOOD(host_out(a, list, 24, 0x5f, 5, 1, 0, 0, 0, 0, 0, 24, 0));
    CU_ASSERT_EQUAL(scsi_nexus_next_changed(b, &changed), SCSI_CHANGE_ABORTED);
    CU_ASSERT_FALSE(scsi_task_end(&theirs));
    finish(&mine);
    CU_ASSERT_EQUAL(attention(b, 0), 0x2a05);
}

/* ---- unit attentions ----------------------------------------------------------------------- */

static void test_attention_once(void)
{
    struct scsi_nexus *fresh = host_login(&host, HOST_C, 5);
    /* INQUIRY and REPORT LUNS do not tell it; REQUEST SENSE takes it as data. */
    CHECK_GOOD(host_in(fresh, 96, 0x12, 0, 0, 0, 96, 0));
    CHECK_GOOD(host_in(fresh, 64, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0));
    const struct outcome *outcome = host_in(fresh, 18, 0x03, 0, 0, 0, 18, 0);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(outcome->in[2], 6);
    CU_ASSERT_EQUAL(outcome->in[12], 0x29);
    CU_ASSERT_EQUAL(attention(fresh, 0), 0);
    CU_ASSERT_EQUAL(attention(fresh, 1), 0x2900); /* each LUN has its own */
    CU_ASSERT_EQUAL(attention(fresh, 1), 0);
    /* It comes before a bad CDB and a conflict. */
    struct scsi_tmf reset;
    tmf(&reset, a, SCSI_TMF_LUN_RESET, NULL);
    CHECK_SENSE(host_none(fresh, 0xff, 0, 0, 0, 0, 0), 6, 0x29, 3);
    CHECK_SENSE(host_none(fresh, 0xff, 0, 0, 0, 0, 0), 5, 0x20, 0);
    scsi_nexus_destroy(fresh);
}

static void test_mode_select_attention(void)
{
    static const uint8_t list[4 + 12] = {0,    0, 0, 0, 0x0a, 0x0a, 0x04,
                                         0x10, 0, 0, 0, 0,    0xff, 0xff};
    CHECK_GOOD(host_out(a, list, sizeof(list), 0x15, 0x10, 0, 0, sizeof(list), 0));
    CU_ASSERT_EQUAL(attention(a, 0), 0);
    CU_ASSERT_EQUAL(attention(b, 0), 0x2a01);
    CHECK_GOOD(host_out(a, list, sizeof(list), 0x15, 0x10, 0, 0, sizeof(list), 0));
    CU_ASSERT_EQUAL(attention(b, 0), 0); /* nothing changed */
}

/* ---- what a nexus sees --------------------------------------------------------------------- */

static unsigned lun_count(struct scsi_nexus *nexus)
{
    return wire_u32(host_in(nexus, 1024, 0xa0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0)->in) / 8;
}

static void test_resize(void)
{
    CU_ASSERT_EQUAL(lun_resize(host.pool, "disk", 2 * HOST_LUN_BYTES, 0, NULL), 0);
    CU_ASSERT_EQUAL(attention(a, 0), 0x2a09);
    CU_ASSERT_EQUAL(attention(b, 0), 0x2a09);
    CU_ASSERT_EQUAL(attention(a, 1), 0);
    const struct outcome *outcome = host_in(a, 8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    CU_ASSERT_EQUAL(wire_u32(outcome->in), 2 * HOST_LUN_BYTES / 512 - 1);
    CHECK_GOOD(host_read(a, HOST_LUN_BYTES / 512, 1, 512));
}

/* A restore puts other data, and perhaps another size, below a session that goes on. */
static void test_restore(void)
{
    static uint8_t before[512], after[512];
    memset(before, 1, sizeof(before));
    memset(after, 2, sizeof(after));
    CHECK_GOOD(host_write(a, 0, 1, before, 512));
    CU_ASSERT_EQUAL(snapshot_create(host.pool, "disk", "snap", NULL, NULL), 0);
    CHECK_GOOD(host_write(a, 0, 1, after, 512));
    CU_ASSERT_EQUAL(snapshot_restore(host.pool, "disk", "snap", LUN_FORCE, NULL), 0);
    CU_ASSERT_EQUAL(attention(a, 0), 0x2800);
    CU_ASSERT_EQUAL(attention(a, 0), 0x2a09);
    CU_ASSERT_EQUAL(attention(a, 0), 0);
    CU_ASSERT_EQUAL(attention(b, 1), 0);
    const struct outcome *outcome = host_read(a, 0, 1, 512);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(memcmp(outcome->in, before, 512), 0);
    CHECK_GOOD(host_write(a, 0, 1, after, 512));
}

static void test_map_unmap(void)
{
    struct lun_create_args args = {.name = "third", .size_bytes = 1 << 20};
    CU_ASSERT_EQUAL(lun_create(host.pool, &args, NULL), 0);
    const char *only_a[] = {HOST_A};
    CU_ASSERT_EQUAL(access_igroup_create(host.access, "a-only", only_a, 1, NULL), 0);
    uint32_t number = 99;
    CU_ASSERT_EQUAL(access_map(host.access, "third", "a-only", -1, &number, NULL), 0);
    CU_ASSERT_EQUAL(number, 2);
    /* Exactly the session that sees it is told, on the LUNs it had. */
    CU_ASSERT_EQUAL(attention(a, 0), 0x3f0e);
    CU_ASSERT_EQUAL(attention(b, 0), 0);
    CU_ASSERT_EQUAL(lun_count(a), 3);
    CU_ASSERT_EQUAL(attention(a, 1), 0); /* REPORT LUNS has told all of it */
    CU_ASSERT_EQUAL(lun_count(b), 2);
    CU_ASSERT_EQUAL(attention(a, 2), 0x2900);
    CU_ASSERT_EQUAL(attention(a, 2), 0);
    CU_ASSERT_EQUAL(access_unmap(host.access, "third", "a-only", NULL), 0);
    CU_ASSERT_EQUAL(attention(a, 0), 0x3f0e);
    CU_ASSERT_EQUAL(attention(b, 0), 0);
    struct sending sending = {.lun = 2, .cdb = cdb_ready, .cdb_len = 6};
    struct scsi_task task;
    host_fill_task(&task, a, &sending);
    CU_ASSERT_EQUAL(scsi_task_begin(&task), SCSI_DONE);
    CU_ASSERT_EQUAL(task.status, SCSI_CHECK_CONDITION);
    CU_ASSERT_EQUAL(task.sense[12], 0x25);
    CU_ASSERT_TRUE(scsi_task_end(&task));
}

/* A LUN is unmapped below a running task: it may finish, and nothing is left behind. */
static void test_unmap_below_task(void)
{
    struct scsi_task task;
    begin(&task, a, SCSI_SIMPLE);
    CU_ASSERT_EQUAL(access_unmap(host.access, "disk", NULL, NULL), 0);
    finish(&task);
    struct lun_info info;
    CU_ASSERT_EQUAL(lun_get_info(host.pool, "disk", &info, NULL), 0);
    CU_ASSERT_EQUAL(info.open_handles, 0);
}

static void test_delete(void)
{
    CU_ASSERT_EQUAL(lun_delete(host.pool, "disk", false, 0, NULL), -EBUSY);
    CU_ASSERT_EQUAL(lun_delete(host.pool, "disk", false, LUN_FORCE, NULL), 0);
    CU_ASSERT_EQUAL(lun_count(a), 1);
    CU_ASSERT_EQUAL(host_in(a, 96, 0x12, 0, 0, 0, 96, 0)->in[0], 0x7f);
}

static void test_sees_nothing(void)
{
    struct scsi_nexus *stranger = host_login(&host, "iqn.2001-04.com.example:stranger", 1);
    CU_ASSERT_EQUAL(lun_count(stranger), 0);
    const struct outcome *outcome = host_in(stranger, 96, 0x12, 0, 0, 0, 96, 0);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(outcome->in[0], 0x7f);
    outcome = host_in(stranger, 18, 0x03, 0, 0, 0, 18, 0);
    CHECK_GOOD(outcome);
    CU_ASSERT_EQUAL(outcome->in[12], 0x25);
    scsi_nexus_destroy(stranger);
}

/* What limits and counters are told of a command. */
static void test_quality_of_service(void)
{
    static const struct
    {
        uint8_t cdb[16];
        bool counts;
        enum qos_io io;
        uint64_t bytes;
        size_t out_len, in_len;
    } cases[] = {
        {{0x08, 0, 0, 0, 0}, true, QOS_READ, 256 * 512, 0, 256 * 512}, /* READ(6): 0 is 256 */
        {{0x28, 0, 0, 0, 0, 0, 0, 0, 16}, true, QOS_READ, 8192, 0, 8192},
        {{0x2a, 0, 0, 0, 0, 0, 0, 0, 16}, true, QOS_WRITE, 8192, 8192, 0},
        {{0x89, [13] = 2}, true, QOS_WRITE, 1024, 2048, 0},                /* COMPARE AND WRITE */
        {{0x2f, 0, 0, 0, 0, 0, 0, 1, 0}, true, QOS_READ, 256 * 512, 0, 0}, /* VERIFY: reads it */
        {{0x41, 0, 0, 0, 0, 0, 0, 1, 0}, true, QOS_WRITE, 256 * 512, 512, 0}, /* WRITE SAME */
        {{0x41, 0x08, 0, 0, 0, 0, 0, 1, 0}, true, QOS_UNMAP, 0, 512, 0},
        {{0x93, 0x09, [12] = 1}, true, QOS_UNMAP, 0, 0, 0}, /* NDOB */
        {{0x42, 0, 0, 0, 0, 0, 0, 0, 24}, true, QOS_UNMAP, 0, 24, 0},
        {{0x35}, true, QOS_FLUSH, 0, 0, 0},
        {{0x91}, true, QOS_FLUSH, 0, 0, 0},
        {{0x00}, false, QOS_READ, 0, 0, 0},
        {{0x12, 0, 0, 0, 36}, false, QOS_READ, 0, 0, 36},
        {{0x5e, 0, 0, 0, 0, 0, 0, 0, 8}, false, QOS_READ, 0, 0, 8},
        {{0x34, 0, 0, 0, 0, 0, 0, 0, 8}, false, QOS_READ, 0, 0, 0},      /* PRE-FETCH */
        {{0x28, 0xff, 0, 0, 0, 0, 0, 0, 1}, false, QOS_READ, 0, 0, 512}, /* refused */
        {{0xff}, false, QOS_READ, 0, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    {
        struct scsi_task task;
        struct sending sending = {
            .cdb = cases[i].cdb,
            .cdb_len = 16,
            .out_len = cases[i].out_len,
            .in_len = cases[i].in_len,
        };
        host_fill_task(&task, a, &sending);
        task.qos = (struct qos_lun *)1; /* a transport does not clear it */
        CU_ASSERT_EQUAL(scsi_task_begin(&task), SCSI_GO);
        CU_ASSERT_EQUAL(task.qos != NULL, cases[i].counts);
        if (task.qos)
        {
            CU_ASSERT_EQUAL(task.io, cases[i].io);
            CU_ASSERT_EQUAL(task.io_bytes, cases[i].bytes);
        }
        CU_ASSERT_TRUE(scsi_task_end(&task));
    }
}

static CU_TestInfo task_tests[] = {
    {"ORDERED", test_ordered},
    {"HEAD OF QUEUE", test_head_of_queue},
    {"SIMPLE in any order", test_simple_any_order},
    {"ACA is refused", test_aca},
    {"what runs inline", test_inline},
    {"ABORT TASK, QUERY TASK", test_abort_task},
    {"ABORT TASK on its way to a worker", test_abort_claimed},
    {"ABORT TASK SET", test_abort_task_set},
    {"CLEAR TASK SET", test_clear_task_set},
    {"LUN RESET", test_lun_reset},
    {"TARGET RESET", test_target_reset},
    {"loss of a nexus", test_nexus_loss},
    {"PREEMPT AND ABORT", test_preempt_and_abort},
    {"an attention is told once", test_attention_once},
    {"MODE SELECT tells the others", test_mode_select_attention},
    {"resize", test_resize},
    {"restore of a snapshot", test_restore},
    {"map and unmap", test_map_unmap},
    {"unmap below a task", test_unmap_below_task},
    {"delete", test_delete},
    {"who is in no igroup", test_sees_nothing},
    {"what commands are to quality of service", test_quality_of_service},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"tasks", NULL, NULL, set_up, tear_down, task_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
