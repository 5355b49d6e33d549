/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes that begin while their data still comes: which commands do, what stops a part of one, and
 * what a command ends with for which something came up between two parts.
 */
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "server/scsi/cdb.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/scsi_host.h"

enum
{
    PIECE_BYTES = 256 << 10,
    PIECES = 4,
    WRITE_BYTES = PIECES * PIECE_BYTES,
    LATER = 1 << 19, /* an LBA beyond what LUNs here have */
};

static struct scsi_host host;
static struct scsi_nexus *a, *b;
static uint8_t bytes[2 * WRITE_BYTES], found[2 * WRITE_BYTES];

static void set_up(void)
{
    host_start(&host, 512);
    a = host_login(&host, HOST_A, 1);
    b = host_login(&host, HOST_B, 2);
    host_clear(a, 0);
    host_clear(b, 0);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7 + i / 4096 + 1);
}

static void tear_down(void)
{
    scsi_nexus_destroy(a);
    scsi_nexus_destroy(b);
    host_stop(&host);
}

/* WRITE(10) of @len bytes of bytes[] at block 0; @announced: by the transport. */
static void begin(struct scsi_task *task, uint32_t lba, size_t len, size_t announced)
{
    uint8_t cdb[10] = {0x2a};
    wire_put_u32(cdb + 2, lba);
    wire_put_u16(cdb + 7, (uint16_t)(len / 512));
    struct sending sending = {
        .cdb = cdb, .cdb_len = sizeof(cdb), .out = bytes, .out_len = announced};
    host_fill_task(task, a, &sending);
    CU_ASSERT_EQUAL(scsi_task_begin(task), SCSI_GO);
    CU_ASSERT_TRUE(task->takes_pieces);
    host_give_buffers(task, &sending);
}

static bool take(struct scsi_task *task, unsigned piece)
{
    return scsi_take_piece(task, bytes + (size_t)piece * PIECE_BYTES, PIECE_BYTES);
}

/* Runs what is left of it; the status. */
static uint8_t execute(struct scsi_task *task)
{
    enum scsi_step step = scsi_execute_inline(task);
    if (step == SCSI_WOULD_BLOCK)
        step = scsi_execute(task);
    CU_ASSERT_EQUAL(step, SCSI_DONE);
    return task->status;
}

static void finish(struct scsi_task *task)
{
    CU_ASSERT_EQUAL(execute(task), SCSI_GOOD);
    CU_ASSERT_TRUE(scsi_task_end(task));
}

static void fail(struct scsi_task *task, uint8_t key, uint8_t asc, uint8_t ascq)
{
    CU_ASSERT_EQUAL(execute(task), SCSI_CHECK_CONDITION);
    CU_ASSERT_EQUAL(task->sense[2] & 0xf, key);
    CU_ASSERT_EQUAL(task->sense[12], asc);
    CU_ASSERT_EQUAL(task->sense[13], ascq);
    CU_ASSERT_TRUE(scsi_task_end(task));
}

/* The first @len bytes of the LUN are bytes[], the rest of a write is zeros. */
static void check_holds(const char *name, size_t len)
{
    struct lun *lun;
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, name, 0, &lun, NULL), 0);
    CU_ASSERT_EQUAL(lun_read(lun, found, sizeof(found), 0), 0);
    lun_close(lun);
    CU_ASSERT_EQUAL(memcmp(found, bytes, len), 0);
    for (size_t i = len; i < sizeof(found); i++)
    {
        if (found[i] == 0)
            continue;
        CU_FAIL("more was written");
        break;
    }
}

/* ---- what goes well ------------------------------------------------------------------------ */

static void test_pieces(void)
{
    struct scsi_task task;
    begin(&task, 0, WRITE_BYTES, WRITE_BYTES);
    for (unsigned i = 0; i + 1 < PIECES; i++)
    {
        CU_ASSERT_TRUE(take(&task, i));
        check_holds("disk", (i + 1) * (size_t)PIECE_BYTES);
    }
    /* What was taken is not looked at again, and what is left is short. */
    uint8_t first = bytes[0];
    bytes[0] = (uint8_t)~first;
    CU_ASSERT_EQUAL(scsi_execute_inline(&task), SCSI_DONE);
    bytes[0] = first;
    CU_ASSERT_EQUAL(task.status, SCSI_GOOD);
    CU_ASSERT_EQUAL(scsi_task_residual(&task), 0);
    CU_ASSERT_TRUE(scsi_task_end(&task));
    check_holds("disk", WRITE_BYTES);
}

/* A part that was refused, and all behind it, is written by the execution. */
static void test_rest(void)
{
    struct scsi_task task;
    begin(&task, 0, WRITE_BYTES, WRITE_BYTES);
    CU_ASSERT_TRUE(take(&task, 0));
    CU_ASSERT_EQUAL(scsi_execute_inline(&task), SCSI_WOULD_BLOCK);
    CU_ASSERT_FALSE(take(&task, 1)); /* it is on its way */
    CU_ASSERT_EQUAL(scsi_execute(&task), SCSI_DONE);
    CU_ASSERT_EQUAL(task.status, SCSI_GOOD);
    CU_ASSERT_TRUE(scsi_task_end(&task));
    check_holds("disk", WRITE_BYTES);
}

static void test_residual(void)
{
    struct scsi_task task;
    begin(&task, 0, WRITE_BYTES, WRITE_BYTES - 1000);
    for (unsigned i = 0; i + 1 < PIECES; i++)
        CU_ASSERT_TRUE(take(&task, i));
    CU_ASSERT_EQUAL(execute(&task), SCSI_GOOD);
    CU_ASSERT_EQUAL(scsi_task_residual(&task), 1000);
    CU_ASSERT_TRUE(scsi_task_end(&task));
    check_holds("disk", WRITE_BYTES - 1000);
    begin(&task, 0, WRITE_BYTES, WRITE_BYTES + 1000);
    CU_ASSERT_TRUE(take(&task, 0));
    CU_ASSERT_EQUAL(execute(&task), SCSI_GOOD);
    CU_ASSERT_EQUAL(scsi_task_residual(&task), -1000);
    CU_ASSERT_TRUE(scsi_task_end(&task));
}

/* Two that overlap: each block is of the one or the other, and who comes later wins. */
static void test_overlap(void)
{
    struct scsi_task one, two;
    begin(&one, 0, WRITE_BYTES, WRITE_BYTES);
    CU_ASSERT_TRUE(take(&one, 0));
    begin(&two, 0, WRITE_BYTES, WRITE_BYTES);
    CU_ASSERT_TRUE(scsi_take_piece(&two, bytes + WRITE_BYTES, PIECE_BYTES));
    finish(&one);
    check_holds("other", 0);
    struct lun *lun;
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "disk", 0, &lun, NULL), 0);
    CU_ASSERT_EQUAL(lun_read(lun, found, WRITE_BYTES, 0), 0);
    lun_close(lun);
    CU_ASSERT_EQUAL(memcmp(found, bytes + WRITE_BYTES, PIECE_BYTES), 0);
    CU_ASSERT_EQUAL(memcmp(found + PIECE_BYTES, bytes + PIECE_BYTES, WRITE_BYTES - PIECE_BYTES), 0);
    finish(&two);
}

/* ---- commands ------------------------------------------------------------------------------ */

static void test_commands(void)
{
    static const struct
    {
        uint8_t cdb[16];
        bool takes;
    } rows[] = {
        {{0x0a, 0, 0, 0, 128}, true},
        {{0x2a, 0, 0, 0, 0, 0, 0, 4}, true},
        {{0xaa, 0, 0, 0, 0, 0, 0, 0, 4}, true},
        {{0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4}, true},
        {{0x8a, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4}, true},  /* DPO */
        {{0x2a, 0x08, 0, 0, 0, 0, 0, 4}, false},                /* FUA */
        {{0x8a, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4}, false}, /* WRPROTECT */
        {{0x2e, 0, 0, 0, 0, 0, 0, 4}, false},
        {{0x8b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4}, false},
        {{0x9c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4}, false},
        {{0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255}, false},
        {{0x2f, 0x02, 0, 0, 0, 0, 0, 4}, false},
        {{0x15, 0x10, 0, 0, 24}, false},
        {{0x28, 0, 0, 0, 0, 0, 0, 4}, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
    {
        struct sending sending = {
            .cdb = rows[i].cdb, .cdb_len = 16, .out = bytes, .out_len = WRITE_BYTES};
        struct scsi_task task;
        host_fill_task(&task, a, &sending);
        CU_ASSERT_EQUAL(scsi_task_begin(&task), SCSI_GO);
        CU_ASSERT_EQUAL(task.takes_pieces, rows[i].takes);
        CU_ASSERT_EQUAL(scsi_take_piece(&task, bytes, 4096), rows[i].takes);
        CU_ASSERT_TRUE(scsi_task_end(&task));
    }
}

/* ---- what stops the first part -------------------------------------------------------------- */

static void test_attention(void)
{
    struct scsi_task task;
    struct scsi_nexus *c = host_login(&host, HOST_C, 3);
    begin(&task, 0, WRITE_BYTES, WRITE_BYTES);
    CU_ASSERT_TRUE(scsi_task_end(&task));
    struct scsi_nexus *kept = a;
    a = c; /* who has not seen its attention yet */
    begin(&task, 0, WRITE_BYTES, WRITE_BYTES);
    CU_ASSERT_FALSE(take(&task, 0));
    CU_ASSERT_EQUAL(task.status, SCSI_GOOD);
    fail(&task, 6, 0x29, 0);
    check_holds("disk", 0);
    a = kept;
    scsi_nexus_destroy(c);
}

static void test_order(void)
{
    struct scsi_task ordered, task;
    struct sending sending = {.cdb = (const uint8_t[6]){0}, .cdb_len = 6};
    host_fill_task(&ordered, b, &sending);
    ordered.attribute = SCSI_ORDERED;
    CU_ASSERT_EQUAL(scsi_task_begin(&ordered), SCSI_GO);
    begin(&task, 0, WRITE_BYTES, WRITE_BYTES);
    CU_ASSERT_FALSE(take(&task, 0));
    check_holds("disk", 0);
    CU_ASSERT_EQUAL(scsi_execute_inline(&ordered), SCSI_DONE);
    CU_ASSERT_TRUE(scsi_task_end(&ordered));
    CU_ASSERT_TRUE(take(&task, 0));
    finish(&task);
}

static void test_range(void)
{
    struct scsi_task task;
    begin(&task, LATER, WRITE_BYTES, WRITE_BYTES);
    CU_ASSERT_FALSE(take(&task, 0));
    CU_ASSERT_EQUAL(task.status, SCSI_GOOD);
    CU_ASSERT_EQUAL(task.sense_len, 0);
    fail(&task, 5, 0x21, 0);
    begin(&task, 0, PIECE_BYTES, PIECE_BYTES);
    CU_ASSERT_FALSE(scsi_take_piece(&task, bytes, PIECE_BYTES + 512));
    finish(&task);
    check_holds("disk", PIECE_BYTES);
}

static void test_write_through(void)
{
    uint8_t list[4 + 20] = {0, 0, 0, 0, 0x08, 0x12}; /* the caching page, WCE 0 */
    CHECK_GOOD(host_out(a, list, sizeof(list), 0x15, 0x10, 0, 0, sizeof(list), 0));
    host_clear(a, 0);
    struct scsi_task task;
    begin(&task, 0, WRITE_BYTES, WRITE_BYTES);
    CU_ASSERT_FALSE(take(&task, 0));
    finish(&task);
    check_holds("disk", WRITE_BYTES);
}

/* ---- what comes between two parts ------------------------------------------------------------ */

/* The write had begun: its host learns of it with the next command. */
static void test_later_attention(void)
{
    struct scsi_task task;
    begin(&task, 0, WRITE_BYTES, WRITE_BYTES);
    CU_ASSERT_TRUE(take(&task, 0));
    scsi_target_space_threshold(host.target);
    CU_ASSERT_TRUE(take(&task, 1));
    finish(&task);
    check_holds("disk", WRITE_BYTES);
    CHECK_SENSE(host_none(a, 0, 0, 0, 0, 0, 0), 6, 0x38, 0x07);
}

static void test_later_reservation(void)
{
    struct scsi_task task;
    begin(&task, 0, WRITE_BYTES, WRITE_BYTES);
    CU_ASSERT_TRUE(take(&task, 0));
    CHECK_GOOD(host_none(b, 0x16, 0, 0, 0, 0, 0));
    CU_ASSERT_FALSE(take(&task, 1));
    CU_ASSERT_EQUAL(execute(&task), SCSI_RESERVATION_CONFLICT);
    CU_ASSERT_TRUE(scsi_task_end(&task));
    check_holds("disk", PIECE_BYTES);
}

static void test_deleted(void)
{
    struct scsi_task task;
    begin(&task, 0, WRITE_BYTES, WRITE_BYTES);
    CU_ASSERT_TRUE(take(&task, 0));
    CU_ASSERT_EQUAL(lun_delete(host.pool, "disk", false, LUN_FORCE, NULL), 0);
    CU_ASSERT_FALSE(take(&task, 1));
    CU_ASSERT_NOT_EQUAL(execute(&task), SCSI_GOOD);
    ignore_error(scsi_task_end(&task), "its LUN is gone");
}

static void test_shrunk(void)
{
    struct scsi_task task;
    uint32_t lba = (HOST_LUN_BYTES - WRITE_BYTES) / 512;
    begin(&task, lba, WRITE_BYTES, WRITE_BYTES);
    CU_ASSERT_TRUE(take(&task, 0));
    CU_ASSERT_EQUAL(lun_resize(host.pool, "disk", HOST_LUN_BYTES - PIECE_BYTES, LUN_FORCE, NULL),
                    0);
    CU_ASSERT_FALSE(take(&task, 1));
    fail(&task, 5, 0x21, 0);
}

static void test_unmapped(void)
{
    struct scsi_task task;
    begin(&task, 0, WRITE_BYTES, WRITE_BYTES);
    CU_ASSERT_TRUE(take(&task, 0));
    CU_ASSERT_EQUAL(access_unmap(host.access, "disk", "hosts", NULL), 0);
    /* A command that has begun goes on, as without parts; the next one finds nothing. */
    CU_ASSERT_TRUE(take(&task, 1));
    finish(&task);
    check_holds("disk", WRITE_BYTES);
    CHECK_SENSE(host_none(a, 0, 0, 0, 0, 0, 0), 5, 0x25, 0);
}

static void tmf_done(struct scsi_tmf *tmf)
{
    *(bool *)tmf->opaque = true;
}

static void check_aborted(struct scsi_nexus *by, enum scsi_tmf_function function)
{
    struct scsi_task task, *changed = NULL;
    bool is_done = false;
    begin(&task, 0, WRITE_BYTES, WRITE_BYTES);
    CU_ASSERT_TRUE(take(&task, 0));
    struct scsi_tmf tmf = {.nexus = by,
                           .function = (uint8_t)function,
                           .task = function == SCSI_TMF_ABORT_TASK ? &task : NULL,
                           .done = tmf_done,
                           .opaque = &is_done};
    scsi_tmf_start(&tmf);
    CU_ASSERT_FALSE(is_done); /* a part could still be under way */
    CU_ASSERT_FALSE(take(&task, 1));
    CU_ASSERT_EQUAL(scsi_nexus_next_changed(a, &changed), SCSI_CHANGE_ABORTED);
    CU_ASSERT_PTR_EQUAL(changed, &task);
    CU_ASSERT_FALSE(scsi_task_end(&task));
    CU_ASSERT_TRUE(is_done);
    check_holds("disk", PIECE_BYTES);
    host_clear(a, 0);
    host_clear(b, 0);
}

static void test_aborted(void)
{
    check_aborted(a, SCSI_TMF_ABORT_TASK);
    check_aborted(a, SCSI_TMF_ABORT_TASK_SET);
    check_aborted(b, SCSI_TMF_LUN_RESET);
    check_aborted(b, SCSI_TMF_TARGET_WARM_RESET);
}

/* In a volume that fills up meanwhile; one that pauses has to wait with the rest. */
static void check_full(bool pauses)
{
    struct volume_attributes small = {
        .size_bytes = 1 << 20, .pauses_when_full = pauses, .pause_ms = 3600 * 1000};
    struct volume_attributes large = {.size_bytes = 64 << 20};
    struct scsi_task task, *changed = NULL;
    CU_ASSERT_EQUAL_FATAL(volume_create(host.pool, "v", &small, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(lun_rename(host.pool, "disk", "v/disk", NULL), 0);
    host_clear(a, 0);
    begin(&task, 0, 2 * WRITE_BYTES, 2 * WRITE_BYTES);
    unsigned taken = 0;
    while (taken < 2 * PIECES - 1 && take(&task, taken))
        taken++;
    CU_ASSERT(taken > 0 && taken < PIECES);
    CU_ASSERT_EQUAL(task.status, SCSI_GOOD);
    CU_ASSERT_FALSE(scsi_lacks_room(&task));
    if (!pauses)
    {
        fail(&task, 7, 0x27, 0x07);
        return;
    }
    CU_ASSERT_EQUAL(scsi_execute(&task), SCSI_DORMANT);
    CU_ASSERT_TRUE(scsi_lacks_room(&task));
    CU_ASSERT_EQUAL(volume_modify(host.pool, "v", VOLUME_SET_SIZE, &large, NULL), 0);
    while (scsi_nexus_next_changed(a, &changed) != SCSI_CHANGE_RUNNABLE)
        continue;
    finish(&task);
    check_holds("v/disk", 2 * WRITE_BYTES);
}

static void test_full(void)
{
    check_full(false);
}

static void test_pause(void)
{
    check_full(true);
}

static CU_TestInfo piece_tests[] = {
    {"parts, then the rest", test_pieces},
    {"the rest is long", test_rest},
    {"residual counts", test_residual},
    {"two that overlap", test_overlap},
    {"commands that do and do not", test_commands},
    {"an attention before", test_attention},
    {"an older ordered task", test_order},
    {"range", test_range},
    {"the write cache is off", test_write_through},
    {"an attention between", test_later_attention},
    {"a reservation between", test_later_reservation},
    {"the LUN is deleted between", test_deleted},
    {"the LUN is shrunk between", test_shrunk},
    {"the LUN is unmapped between", test_unmapped},
    {"aborts and resets between", test_aborted},
    {"the volume is full between", test_full},
    {"the volume pauses between", test_pause},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"scsi_piece", NULL, NULL, set_up, tear_down, piece_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
