/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes that wait for room, in a volume that pauses when it is full: they hold up no other LUN and
 * no login, whether they are short or long and however many they are; they end at once when they
 * are aborted or their session goes; and when there is room, every kind of write does what it would
 * have done.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"
#include "server/scsi/cdb.h"
#include "tests/e2e/iscsi/client.h"
#include "tests/lib/cunit_main.h"

enum
{
    MIB = 1 << 20,
    ROOM_PAUSE_MS = 3600 * 1000, /* a test that waits for it fails by its time limit */
    ROOM_WRITES = 40,            /* more than there are workers */
    ROOM_OTHER_WRITES = 8,
    ROOM_LOOKS = 6000,
    ROOM_LOOK_MS = 10,
    COPY_LIST_BYTES = 16 + 2 * 32 + 28,
    TOKEN_BYTES = 512,
    TOKEN_LIST_BYTES = 552,
};

struct sent
{
    struct scsi_task *task;
    int status; /* -1: there is none yet */
    bool is_done;
};

static struct stage stage;
static struct iscsi_context *client, *other;
static struct sent sent[ROOM_WRITES];
static const struct choice client_choice = {.initiator = STAGE_INITIATOR};
static const struct choice other_choice = {.initiator = STAGE_INITIATOR ":1"};

static unsigned count_pauses(void)
{
    AUTO_FREE struct event *list = NULL;
    size_t count = 0;
    unsigned found = 0;
    INVARIANT(event_list(stage.pool, 0, &list, &count) == 0);
    for (size_t i = 0; i < count; i++)
        found += strcmp(list[i].name, "volume.paused") == 0;
    return found;
}

/* LUN a is in volume p, which is small, b in q, which is not; both pause. */
static void start(uint64_t p_bytes)
{
    const struct volume_attributes p = {
        .size_bytes = p_bytes, .pauses_when_full = true, .pause_ms = ROOM_PAUSE_MS};
    const struct volume_attributes q = {
        .size_bytes = 256 * MIB, .pauses_when_full = true, .pause_ms = ROOM_PAUSE_MS};
    stage_open(&stage);
    INVARIANT(volume_create(stage.pool, "p", &p, NULL) == 0);
    INVARIANT(volume_create(stage.pool, "q", &q, NULL) == 0);
    INVARIANT(lun_rename(stage.pool, "a", "p/a", NULL) == 0);
    INVARIANT(lun_rename(stage.pool, "b", "q/b", NULL) == 0);
    client = client_login(&stage, &client_choice);
    CU_ASSERT_PTR_NOT_NULL_FATAL(client);
    CU_ASSERT_EQUAL(client_settle(client, 0), SCSI_STATUS_GOOD);
    CU_ASSERT_EQUAL(client_settle(client, 1), SCSI_STATUS_GOOD);
    for (unsigned i = 0; i < ROOM_WRITES; i++)
        sent[i] = (struct sent){.status = -1};
}

static void free_tasks(void)
{
    for (unsigned i = 0; i < ROOM_WRITES; i++)
        if (sent[i].task)
            scsi_free_scsi_task(sent[i].task);
}

static void stop(void)
{
    free_tasks();
    stage_close(&stage);
}

static void sent_cb(struct iscsi_context *iscsi, int status, void *command, void *opaque)
{
    struct sent *of = opaque;
    (void)iscsi, (void)command;
    of->status = status;
    of->is_done = true;
}

static void service(struct iscsi_context *iscsi)
{
    struct pollfd fds = {.fd = iscsi_get_fd(iscsi), .events = (short)iscsi_which_events(iscsi)};
    if (poll(&fds, 1, ROOM_LOOK_MS) >= 0)
        CU_ASSERT_EQUAL_FATAL(iscsi_service(iscsi, fds.revents), 0);
}

static unsigned count_done(unsigned of)
{
    unsigned done = 0;
    for (unsigned i = 0; i < of; i++)
        done += sent[i].is_done;
    return done;
}

static void await_pause(void)
{
    for (unsigned i = 0; i < ROOM_LOOKS && count_pauses() == 0; i++)
        service(client);
    CU_ASSERT_FATAL(count_pauses() > 0);
}

/* All end well. */
static void await_done(unsigned count)
{
    for (unsigned i = 0; i < ROOM_LOOKS && count_done(count) < count; i++)
        service(client);
    CU_ASSERT_EQUAL_FATAL(count_done(count), count);
    for (unsigned i = 0; i < count; i++)
        CU_ASSERT_EQUAL(sent[i].status, SCSI_STATUS_GOOD);
}

/* Writes one after the other to @lun, and waits until some wait. */
static void write_until_full(uint8_t *bytes, uint32_t write_bytes)
{
    client_fill(bytes, write_bytes, 1);
    for (uint32_t i = 0; i < ROOM_WRITES; i++)
    {
        sent[i].task = iscsi_write10_task(client, 0, i * (write_bytes / 512), bytes, write_bytes,
                                          512, 0, 0, 0, 0, 0, sent_cb, &sent[i]);
        CU_ASSERT_PTR_NOT_NULL_FATAL(sent[i].task);
    }
    await_pause();
}

static void enlarge(void)
{
    struct volume_attributes larger = {.size_bytes = 128 * MIB};
    CU_ASSERT_EQUAL(volume_modify(stage.pool, "p", VOLUME_SET_SIZE, &larger, NULL), 0);
}

static void check_holds(uint64_t lba, const uint8_t *bytes, uint32_t len)
{
    struct scsi_task *task = iscsi_read16_sync(client, 0, lba, len, 512, 0, 0, 0, 0, 0);
    INVARIANT(task);
    CU_ASSERT_EQUAL(task->status, SCSI_STATUS_GOOD);
    CU_ASSERT_EQUAL_FATAL(task->datain.size, (int)len);
    CU_ASSERT_EQUAL(memcmp(task->datain.data, bytes, len), 0);
    scsi_free_scsi_task(task);
}

/* ---- others go on -------------------------------------------------------------------------- */

static void check_others(void)
{
    other = client_login(&stage, &other_choice);
    CU_ASSERT_PTR_NOT_NULL_FATAL(other);
    CU_ASSERT_EQUAL(client_settle(other, 0), SCSI_STATUS_GOOD);
    CU_ASSERT_EQUAL(client_settle(other, 1), SCSI_STATUS_GOOD);
    client_verify(other, 1, 4096, 0, 8192, 2);
    client_verify(other, 1, 4096, 100, MIB, 3);
    /* What is the LUN's own needs no room. */
    client_verify(other, 0, 512, 100000, 8192, 4);
    client_logout(other);
}

static void check_others_go_on(uint32_t write_bytes)
{
    AUTO_FREE uint8_t *bytes = malloc(write_bytes);
    start(MIB);
    client_verify(client, 0, 512, 100000, 8192, 5);
    write_until_full(bytes, write_bytes);
    check_others();
    client_verify(client, 1, 4096, 500, 8192, 4);
    CU_ASSERT_EQUAL(client_ready(client, 0), SCSI_STATUS_GOOD);
    /* All that went on while the first still waited. */
    CU_ASSERT(count_done(ROOM_WRITES) < ROOM_WRITES);
    CU_ASSERT_EQUAL(count_pauses(), 1);
    enlarge();
    await_done(ROOM_WRITES);
    for (uint32_t i = 0; i < ROOM_WRITES; i++)
        check_holds(i * (write_bytes / 512), bytes, write_bytes);
    client_logout(client);
    stop();
}

static void test_short(void)
{
    check_others_go_on(65536);
}

static void test_long(void)
{
    check_others_go_on(1 << 18);
}

/* The data of those that wait does not take all memory for data. */
static void test_memory(void)
{
    AUTO_FREE uint8_t *bytes = malloc(65536);
    unsigned busy = 0;
    stage.data_mib = 1;
    start(MIB);
    client_verify(client, 0, 512, 100000, 8192, 5);
    write_until_full(bytes, 65536);
    check_others();
    client_verify(client, 1, 4096, 500, MIB, 4);
    for (unsigned i = 0; i < ROOM_WRITES; i++)
    {
        CU_ASSERT(sent[i].status == -1 || sent[i].status == SCSI_STATUS_GOOD ||
                  sent[i].status == SCSI_STATUS_BUSY);
        busy += sent[i].status == SCSI_STATUS_BUSY;
    }
    CU_ASSERT(busy > 0 && busy < ROOM_WRITES);
    client_logout(client);
    stop();
    stage.data_mib = 0;
}

/* The server stops while they wait, and their client is still there. */
static void test_shutdown(void)
{
    AUTO_FREE uint8_t *bytes = malloc(65536);
    start(MIB);
    write_until_full(bytes, 65536);
    stage_close(&stage);
    iscsi_destroy_context(client);
    free_tasks();
}

static void test_stop(void)
{
    AUTO_FREE uint8_t *bytes = malloc(65536);
    start(MIB);
    write_until_full(bytes, 65536);
    pool_stop_waiting(stage.pool);
    for (unsigned i = 0; i < ROOM_LOOKS && count_done(ROOM_WRITES) < ROOM_WRITES; i++)
        service(client);
    CU_ASSERT_EQUAL(count_done(ROOM_WRITES), ROOM_WRITES);
    CU_ASSERT_EQUAL(sent[ROOM_WRITES - 1].status, SCSI_STATUS_CHECK_CONDITION);
    client_logout(client);
    stop();
}

static void test_time_is_over(void)
{
    AUTO_FREE uint8_t *bytes = malloc(65536);
    struct volume_attributes patience = {.pauses_when_full = true, .pause_ms = 300};
    start(MIB);
    CU_ASSERT_EQUAL(volume_modify(stage.pool, "p", VOLUME_SET_FULL_POLICY, &patience, NULL), 0);
    write_until_full(bytes, 65536);
    for (unsigned i = 0; i < ROOM_LOOKS && count_done(ROOM_WRITES) < ROOM_WRITES; i++)
        service(client);
    CU_ASSERT_EQUAL(count_done(ROOM_WRITES), ROOM_WRITES);
    CU_ASSERT_EQUAL(sent[ROOM_WRITES - 1].status, SCSI_STATUS_CHECK_CONDITION);
    client_logout(client);
    stop();
}

/* ---- aborts -------------------------------------------------------------------------------- */

/* Nobody has it open any more, soon. */
static void check_may_be_deleted(void)
{
    int r = lun_delete(stage.pool, "p/a", false, 0, NULL);
    for (unsigned i = 0; i < ROOM_LOOKS && r == -EBUSY; i++)
    {
        poll(NULL, 0, ROOM_LOOK_MS);
        r = lun_delete(stage.pool, "p/a", false, 0, NULL);
    }
    CU_ASSERT_EQUAL(r, 0);
}

static void test_disconnect(void)
{
    AUTO_FREE uint8_t *bytes = malloc(1 << 18);
    start(MIB);
    write_until_full(bytes, 1 << 18);
    iscsi_destroy_context(client);
    check_may_be_deleted();
    stop();
}

static void test_logout(void)
{
    AUTO_FREE uint8_t *bytes = malloc(65536);
    start(MIB);
    write_until_full(bytes, 65536);
    CU_ASSERT_EQUAL(lun_delete(stage.pool, "p/a", false, 0, NULL), -EBUSY);
    client_logout(client);
    check_may_be_deleted();
    stop();
}

/* The answer comes when what was aborted has ended. */
static void test_abort_task(void)
{
    AUTO_FREE uint8_t *bytes = malloc(65536);
    start(MIB);
    write_until_full(bytes, 65536);
    check_others();
    struct sent *last = &sent[ROOM_WRITES - 1];
    /* It is out: an abort would overtake it. */
    for (unsigned i = 0; i < ROOM_LOOKS && iscsi_out_queue_length(client) > 0; i++)
        service(client);
    CU_ASSERT_EQUAL_FATAL(iscsi_out_queue_length(client), 0);
    CU_ASSERT_FALSE_FATAL(last->is_done);
    CU_ASSERT_EQUAL(iscsi_task_mgmt_abort_task_sync(client, last->task), 0);
    enlarge();
    await_done(ROOM_WRITES - 1);
    CU_ASSERT_EQUAL(client_ready(client, 0), SCSI_STATUS_GOOD);
    /* No response came for it, and nothing was written. */
    CU_ASSERT_NOT_EQUAL(last->status, SCSI_STATUS_GOOD);
    memset(bytes, 0, 65536);
    check_holds((ROOM_WRITES - 1) * (65536 / 512), bytes, 65536);
    client_logout(client);
    check_may_be_deleted();
    stop();
}

static void check_reset(int (*reset)(struct iscsi_context *iscsi), bool by_other)
{
    AUTO_FREE uint8_t *bytes = malloc(65536);
    start(MIB);
    write_until_full(bytes, 65536);
    other = client_login(&stage, &other_choice);
    CU_ASSERT_PTR_NOT_NULL_FATAL(other);
    CU_ASSERT_EQUAL(client_settle(other, 0), SCSI_STATUS_GOOD);
    CU_ASSERT_EQUAL(reset(by_other ? other : client), 0);
    /* Their place is free: the LUN goes on as soon as there is room. */
    CU_ASSERT_EQUAL(client_settle(other, 0), SCSI_STATUS_GOOD);
    enlarge();
    client_verify(other, 0, 512, 100000, 8192, 4);
    iscsi_destroy_context(client);
    iscsi_destroy_context(other);
    check_may_be_deleted();
    stop();
}

static int reset_lun(struct iscsi_context *iscsi)
{
    return iscsi_task_mgmt_lun_reset_sync(iscsi, 0);
}

static void test_lun_reset(void)
{
    check_reset(reset_lun, false);
    check_reset(reset_lun, true);
}

static void test_target_reset(void)
{
    check_reset(iscsi_task_mgmt_target_warm_reset_sync, true);
}

/* The LUN is somebody else's now, who finds all of it free. */
static void check_next_session(const struct choice *choice)
{
    struct iscsi_context *next = client_login(&stage, choice);
    CU_ASSERT_PTR_NOT_NULL_FATAL(next);
    CU_ASSERT_EQUAL(client_settle(next, 0), SCSI_STATUS_GOOD);
    enlarge();
    client_verify(next, 0, 512, 100000, 8192, 4);
    iscsi_destroy_context(next);
    check_may_be_deleted();
}

/* It ends all sessions, also of who sent it. */
static void test_cold_reset(void)
{
    AUTO_FREE uint8_t *bytes = malloc(65536);
    start(MIB);
    write_until_full(bytes, 65536);
    other = client_login(&stage, &other_choice);
    CU_ASSERT_PTR_NOT_NULL_FATAL(other);
    CU_ASSERT_EQUAL(client_settle(other, 0), SCSI_STATUS_GOOD);
    CU_ASSERT_EQUAL(iscsi_task_mgmt_target_cold_reset_sync(other), 0);
    for (unsigned i = 0; i < ROOM_LOOKS && stage_session_count(&stage) > 0; i++)
        poll(NULL, 0, ROOM_LOOK_MS);
    CU_ASSERT_EQUAL(stage_session_count(&stage), 0);
    check_next_session(&other_choice);
    iscsi_destroy_context(client);
    iscsi_destroy_context(other);
    stop();
}

/* The same initiator logs in anew, without having logged out: its writes do not keep it out. */
static void check_reinstated(uint32_t write_bytes)
{
    const struct choice again = {.initiator = STAGE_INITIATOR, .isid = 7};
    AUTO_FREE uint8_t *bytes = malloc(write_bytes);
    start(MIB);
    client_logout(client);
    client = client_login(&stage, &again);
    CU_ASSERT_PTR_NOT_NULL_FATAL(client);
    CU_ASSERT_EQUAL(client_settle(client, 0), SCSI_STATUS_GOOD);
    write_until_full(bytes, write_bytes);
    CU_ASSERT_EQUAL(stage_session_count(&stage), 1);
    check_next_session(&again);
    iscsi_destroy_context(client);
    stop();
}

static void test_reinstatement(void)
{
    check_reinstated(65536);
    check_reinstated(1 << 18);
}

/* ---- every kind of write ------------------------------------------------------------------- */

static void put_unit(uint8_t *at, int lun, uint32_t sector_bytes)
{
    struct scsi_task *task = iscsi_inquiry_sync(client, lun, 1, 0x83, 255);
    INVARIANT(task);
    CU_ASSERT_FATAL(task->datain.size >= 24);
    at[0] = 0xe4;
    at[4] = 1;
    at[5] = 3;
    at[7] = 16;
    memcpy(at + 8, task->datain.data + 8, 16);
    wire_put_u32(at + 28, sector_bytes);
    scsi_free_scsi_task(task);
}

/* EXTENDED COPY from b (or a) to a, in their own sectors; its length is in those of the source. */
static void send_copy(struct sent *of, bool within, uint64_t from, uint64_t to, uint16_t blocks)
{
    uint8_t list[COPY_LIST_BYTES] = {0};
    wire_put_u16(list + 2, 64);
    wire_put_u32(list + 8, 28);
    put_unit(list + 16, within ? 0 : 1, within ? 512 : 4096);
    put_unit(list + 48, 0, 512);
    uint8_t *segment = list + 80;
    segment[0] = 0x02;
    wire_put_u16(segment + 2, 24);
    wire_put_u16(segment + 6, 1);
    wire_put_u16(segment + 10, blocks);
    wire_put_u64(segment + 12, from);
    wire_put_u64(segment + 20, to);
    struct iscsi_data data = {.data = list, .size = sizeof(list)};
    of->task = iscsi_extended_copy_task(client, 0, &data, sent_cb, of);
    CU_ASSERT_PTR_NOT_NULL_FATAL(of->task);
    /* The list must be out before it goes. */
    CU_ASSERT_EQUAL(client_ready(client, 1), SCSI_STATUS_GOOD);
}

/* A command of third-party copy with an action. @data: of @len bytes out, or NULL: @len come in. */
static struct scsi_task *make_token_command(uint8_t opcode, uint8_t action, const uint8_t *data,
                                            uint32_t len)
{
    uint8_t cdb[16] = {opcode, action};
    wire_put_u32(cdb + 10, len);
    struct scsi_task *task =
        scsi_create_task(sizeof(cdb), cdb, data ? SCSI_XFER_WRITE : SCSI_XFER_READ, (int)len);
    INVARIANT(task);
    return task;
}

/* A token of @blocks of b from the first on. */
static void make_token(uint8_t token[TOKEN_BYTES], uint32_t blocks)
{
    uint8_t list[32] = {0, sizeof(list) - 2};
    list[7] = 30; /* seconds */
    list[15] = 16;
    wire_put_u32(list + 24, blocks);
    struct iscsi_data data = {.data = list, .size = sizeof(list)};
    struct scsi_task *task = make_token_command(0x83, 0x10, list, sizeof(list));
    CU_ASSERT_PTR_NOT_NULL_FATAL(iscsi_scsi_command_sync(client, 1, task, &data));
    CU_ASSERT_EQUAL_FATAL(client_result(task), SCSI_STATUS_GOOD);
    task = make_token_command(0x84, 0x07, NULL, 1024);
    CU_ASSERT_PTR_NOT_NULL_FATAL(iscsi_scsi_command_sync(client, 1, task, NULL));
    CU_ASSERT_EQUAL_FATAL(task->status, SCSI_STATUS_GOOD);
    CU_ASSERT_FATAL(task->datain.size >= 38 + TOKEN_BYTES);
    memcpy(token, task->datain.data + 38, TOKEN_BYTES);
    scsi_free_scsi_task(task);
}

/* WRITE USING TOKEN to a. */
static void send_token(struct sent *of, const uint8_t token[TOKEN_BYTES], uint64_t lba,
                       uint32_t blocks)
{
    uint8_t list[TOKEN_LIST_BYTES] = {0};
    wire_put_u16(list, TOKEN_LIST_BYTES - 2);
    memcpy(list + 16, token, TOKEN_BYTES);
    wire_put_u16(list + 534, 16);
    wire_put_u64(list + 536, lba);
    wire_put_u32(list + 544, blocks);
    struct iscsi_data data = {.data = list, .size = sizeof(list)};
    of->task = make_token_command(0x83, 0x11, list, sizeof(list));
    CU_ASSERT_EQUAL_FATAL(iscsi_scsi_command_async(client, 0, of->task, sent_cb, &data, of), 0);
    /* The list must be out before it goes. */
    CU_ASSERT_EQUAL(client_ready(client, 1), SCSI_STATUS_GOOD);
}

static uint64_t lba_of_mib(uint64_t mib)
{
    return mib * (MIB / 512);
}

/* Leaves no room in p, and then sends what must wait for some. */
static void fill_and_send(struct sent *of, uint8_t *bytes)
{
    struct volume_attributes attributes = {.pauses_when_full = false};
    struct lun *lun;
    INVARIANT(volume_modify(stage.pool, "p", VOLUME_SET_FULL_POLICY, &attributes, NULL) == 0);
    INVARIANT(lun_open(stage.pool, "p/a", LUN_BACKGROUND, &lun, NULL) == 0);
    int r = 0;
    for (uint64_t at = 56 * MIB; r == 0; at += 4096)
        r = lun_write(lun, bytes, 4096, at, 0);
    CU_ASSERT_EQUAL(r, -ENOSPC);
    lun_close(lun);
    attributes = (struct volume_attributes){.pauses_when_full = true, .pause_ms = ROOM_PAUSE_MS};
    INVARIANT(volume_modify(stage.pool, "p", VOLUME_SET_FULL_POLICY, &attributes, NULL) == 0);
    of->task = iscsi_write16_task(client, 0, 0, bytes, 8 * MIB, 512, 0, 0, 1, 0, 0, sent_cb, of);
    await_pause();
}

static void test_every_kind(void)
{
    AUTO_FREE uint8_t *bytes = malloc(8 * MIB);
    AUTO_FREE uint8_t *block = malloc(2 * MIB);
    uint8_t pair[2 * 65536] = {0};
    INVARIANT(bytes && block);
    start(4 * MIB);
    client_fill(bytes, 8 * MIB, 7);
    client_fill(pair + 65536, 65536, 8);
    for (unsigned i = 0; i < 2 * MIB; i++)
        block[i] = bytes[i % 512];
    client_verify(client, 1, 4096, 0, 3 * MIB, 9);
    client_verify(client, 0, 512, lba_of_mib(40), 65536, 10);
    fill_and_send(&sent[0], bytes);

    sent[1].task = iscsi_write16_task(client, 0, lba_of_mib(16), bytes, 3 * MIB, 512, 0, 0, 0, 0, 0,
                                      sent_cb, &sent[1]);
    sent[2].task = iscsi_writesame10_task(client, 0, (uint32_t)lba_of_mib(24), block, 512,
                                          2 * MIB / 512, 0, 0, 0, 0, sent_cb, &sent[2]);
    sent[3].task = iscsi_compareandwrite_task(client, 0, lba_of_mib(28), pair, sizeof(pair), 512, 0,
                                              0, 0, 0, 0, sent_cb, &sent[3]);
    sent[4].task = iscsi_orwrite_task(client, 0, lba_of_mib(29), bytes, 65536, 512, 0, 0, 0, 0, 0,
                                      sent_cb, &sent[4]);
    sent[5].task = iscsi_writeatomic16_task(client, 0, lba_of_mib(30), bytes, 65536, 512, 0, 0, 0,
                                            0, sent_cb, &sent[5]);
    sent[6].task = iscsi_writeverify16_task(client, 0, lba_of_mib(31), bytes, 65536, 512, 0, 0, 1,
                                            0, sent_cb, &sent[6]);
    send_copy(&sent[7], false, 0, lba_of_mib(32), 3 * MIB / 4096);
    send_copy(&sent[ROOM_OTHER_WRITES], true, lba_of_mib(40), lba_of_mib(40) + 8, 65536 / 512);
    CU_ASSERT_EQUAL(count_done(ROOM_OTHER_WRITES + 1), 0);

    enlarge();
    await_done(ROOM_OTHER_WRITES + 1);
    check_holds(0, bytes, 8 * MIB);
    check_holds(lba_of_mib(16), bytes, 3 * MIB);
    check_holds(lba_of_mib(24), block, 2 * MIB);
    check_holds(lba_of_mib(28), pair + 65536, 65536);
    for (unsigned at = 29; at <= 31; at++)
        check_holds(lba_of_mib(at), bytes, 65536);
    client_fill(bytes, 3 * MIB, 9);
    check_holds(lba_of_mib(32), bytes, 3 * MIB);
    client_fill(bytes, 65536, 10);
    check_holds(lba_of_mib(40), bytes, 4096);
    check_holds(lba_of_mib(40) + 8, bytes, 65536);
    client_logout(client);
    stop();
}

/* More than there are workers, to a LUN that is not the one that gets the command's data. */
static void test_copies(void)
{
    AUTO_FREE uint8_t *bytes = malloc(8 * MIB);
    start(4 * MIB);
    client_verify(client, 1, 4096, 0, MIB, 9);
    client_verify(client, 0, 512, 100000, 8192, 5);
    client_fill(bytes, 8 * MIB, 7);
    fill_and_send(&sent[0], bytes);
    for (unsigned i = 1; i < ROOM_WRITES; i++)
        send_copy(&sent[i], false, 0, lba_of_mib(10 + i), MIB / 4096);
    check_others();
    client_verify(client, 1, 4096, 500, MIB, 4);
    CU_ASSERT_EQUAL(count_done(ROOM_WRITES), 0);
    iscsi_destroy_context(client);
    check_may_be_deleted();
    stop();
}

/* A token that is written, and waits with parts done; one that is aborted leaves nothing open. */
static void test_token(void)
{
    AUTO_FREE uint8_t *bytes = malloc(8 * MIB);
    uint8_t token[TOKEN_BYTES];
    INVARIANT(bytes);
    start(4 * MIB);
    client_verify(client, 1, 4096, 0, 3 * MIB, 9);
    client_verify(client, 0, 512, 100000, 8192, 5);
    make_token(token, 3 * MIB / 4096);
    client_fill(bytes, 8 * MIB, 7);
    fill_and_send(&sent[0], bytes);
    send_token(&sent[1], token, lba_of_mib(16), 3 * MIB / 512);
    send_token(&sent[2], token, lba_of_mib(24), MIB / 512);
    CU_ASSERT_EQUAL(iscsi_task_mgmt_abort_task_sync(client, sent[2].task), 0);
    CU_ASSERT_EQUAL(count_done(2), 0);
    check_others();
    enlarge();
    await_done(2);
    CU_ASSERT_NOT_EQUAL(sent[2].status, SCSI_STATUS_GOOD);
    client_fill(bytes, 3 * MIB, 9);
    check_holds(lba_of_mib(16), bytes, 3 * MIB);
    memset(bytes, 0, MIB);
    check_holds(lba_of_mib(24), bytes, MIB);
    client_logout(client);
    check_may_be_deleted();
    stop();
}

static CU_TestInfo room_tests[] = {
    {"short writes wait, others go on", test_short},
    {"long writes wait, others go on", test_long},
    {"memory is left for others", test_memory},
    {"the server stops", test_shutdown},
    {"the pool stops it", test_stop},
    {"the time is over", test_time_is_over},
    {"a lost connection", test_disconnect},
    {"logout", test_logout},
    {"ABORT TASK", test_abort_task},
    {"LOGICAL UNIT RESET", test_lun_reset},
    {"TARGET WARM RESET", test_target_reset},
    {"TARGET COLD RESET", test_cold_reset},
    {"session reinstatement", test_reinstatement},
    {"every kind of write", test_every_kind},
    {"copies", test_copies},
    {"WRITE USING TOKEN", test_token},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"room", NULL, NULL, NULL, NULL, room_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
