/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hosts on threads of their own, while LUNs are mapped, unmapped, resized and reset below them.
 *
 * Nothing is asserted about which command wins, only that each ends once, that what a host wrote
 * last to its own blocks is there, and that nothing is left at the end. Made for ThreadSanitizer.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "server/scsi/cdb.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/scsi_host.h"

enum
{
    HOSTS = 3,
    COMMANDS = 1500,
    CHANGES = 150,
    BLOCKS_OF_HOST = 64,
};

struct runner
{
    struct scsi_host *host;
    const char *initiator;
    unsigned index;
    pthread_t thread;
    sem_t changed;
    struct scsi_nexus *nexus;
    unsigned seed;
    unsigned good, aborted, tmfs;
    uint8_t data[8 * 512];
};

static struct scsi_host host;
static atomic_bool changes_are_over;

static void runner_changed(void *opaque)
{
    struct runner *runner = opaque;
    sem_post(&runner->changed);
}

static void runner_tmf_done(struct scsi_tmf *tmf)
{
    sem_post(tmf->opaque);
}

static void runner_login(struct runner *runner)
{
    struct scsi_nexus_args args = {.initiator_name = runner->initiator,
                                   .isid = {0x80, 0, 0, 0, 0, (uint8_t)runner->index},
                                   .portal_group_tag = 1,
                                   .changed = runner_changed,
                                   .opaque = runner};
    INVARIANT(scsi_nexus_create(runner->host->target, &args, &runner->nexus) == 0);
}

static unsigned runner_random(struct runner *runner, unsigned below)
{
    return (unsigned)rand_r(&runner->seed) % below;
}

/* Waits for its turn. False: aborted meanwhile. */
static bool runner_await_turn(struct runner *runner, struct scsi_task *task)
{
    for (;;)
    {
        struct scsi_task *changed;
        enum scsi_change change = scsi_nexus_next_changed(runner->nexus, &changed);
        if (change != SCSI_CHANGE_NONE)
        {
            INVARIANT(changed == task);
            return change == SCSI_CHANGE_RUNNABLE;
        }
        while (sem_wait(&runner->changed) < 0)
            continue;
    }
}

/* One command to its end; true if it was answered. */
static bool runner_send(struct runner *runner, struct scsi_task *task,
                        const struct sending *sending, enum scsi_attribute attribute, void *in)
{
    host_fill_task(task, runner->nexus, sending);
    task->attribute = (uint8_t)attribute;
    enum scsi_step step = scsi_task_begin(task);
    task->out = sending->out;
    task->out_len = (size_t)min_u64(task->edtl_out, task->out_wanted);
    task->in = in;
    task->in_capacity = (size_t)min_u64(task->edtl_in, task->in_max);
    while (step != SCSI_DONE)
    {
        step = scsi_execute_inline(task);
        if (step == SCSI_WOULD_BLOCK)
            step = scsi_execute(task);
        if (step == SCSI_DORMANT && !runner_await_turn(runner, task))
            step = SCSI_DONE;
    }
    return scsi_task_end(task);
}

/* Writes to blocks of its own and reads them back. */
static void runner_write_and_read(struct runner *runner)
{
    uint8_t back[sizeof(runner->data)];
    uint32_t lba = runner->index * BLOCKS_OF_HOST + runner_random(runner, BLOCKS_OF_HOST - 8);
    memset(runner->data, (int)runner_random(runner, 256), sizeof(runner->data));
    uint8_t cdb[10] = {0x2a};
    wire_put_u32(cdb + 2, lba);
    cdb[8] = 8;
    cdb[1] = runner_random(runner, 8) ? 0 : 0x08;
    struct sending sending = {
        .cdb = cdb, .cdb_len = 10, .out = runner->data, .out_len = sizeof(runner->data)};
    struct scsi_task task;
    enum scsi_attribute attribute = runner_random(runner, 4) ? SCSI_SIMPLE : SCSI_ORDERED;
    if (!runner_send(runner, &task, &sending, attribute, NULL))
    {
        runner->aborted++;
        return;
    }
    if (task.status != SCSI_GOOD)
        return;
    cdb[0] = 0x28;
    cdb[1] = 0;
    sending = (struct sending){.cdb = cdb, .cdb_len = 10, .in_len = sizeof(back)};
    if (!runner_send(runner, &task, &sending, SCSI_SIMPLE, back) || task.status != SCSI_GOOD)
        return;
    INVARIANT(memcmp(back, runner->data, sizeof(back)) == 0);
    runner->good++;
}

static void runner_tmf(struct runner *runner)
{
    static const uint8_t functions[] = {SCSI_TMF_LUN_RESET, SCSI_TMF_CLEAR_TASK_SET,
                                        SCSI_TMF_ABORT_TASK_SET, SCSI_TMF_TARGET_WARM_RESET};
    sem_t done;
    sem_init(&done, 0, 0);
    struct scsi_tmf tmf = {.nexus = runner->nexus,
                           .function = functions[runner_random(runner, ARRAY_SIZE(functions))],
                           .done = runner_tmf_done,
                           .opaque = &done};
    scsi_tmf_start(&tmf);
    while (sem_wait(&done) < 0)
        continue;
    sem_destroy(&done);
    runner->tmfs++;
}

static void runner_register(struct runner *runner)
{
    uint8_t list[24] = {0};
    list[15] = (uint8_t)runner_random(runner, 2);
    uint8_t cdb[10] = {0x5f, 0x06, 0, 0, 0, 0, 0, 0, 24, 0};
    struct sending sending = {.cdb = cdb, .cdb_len = 10, .out = list, .out_len = sizeof(list)};
    struct scsi_task task;
    ignore_error(runner_send(runner, &task, &sending, SCSI_HEAD_OF_QUEUE, NULL), "either way");
}

static void *runner_main(void *opaque)
{
    struct runner *runner = opaque;
    runner_login(runner);
    /* Some are left for when "disk" is mapped for good, however slow the changes were. */
    for (unsigned left = COMMANDS; left > 0; left--)
    {
        if (left == COMMANDS / 10 && !atomic_load(&changes_are_over))
            left++;
        unsigned choice = runner_random(runner, 100);
        if (choice < 2)
        {
            runner_tmf(runner);
        }
        else if (choice < 4)
        {
            scsi_nexus_destroy(runner->nexus);
            runner_login(runner);
        }
        else if (choice < 8)
        {
            runner_register(runner);
        }
        else
        {
            runner_write_and_read(runner);
        }
    }
    scsi_nexus_destroy(runner->nexus);
    return NULL;
}

/* Each is refused or done; "disk" itself is mapped again at the end. */
static void change_things(void)
{
    for (unsigned i = 0; i < CHANGES; i++)
    {
        ignore_error(access_unmap(host.access, "other", "hosts", NULL), "may be unmapped");
        CU_ASSERT_EQUAL(lun_resize(host.pool, "disk", HOST_LUN_BYTES + 4096 * (uint64_t)i, 0, NULL),
                        0);
        CU_ASSERT_EQUAL(access_map(host.access, "other", "hosts", -1, NULL, NULL), 0);
        if (i % 10 == 0)
            CU_ASSERT_EQUAL(access_unmap(host.access, "disk", "hosts", NULL), 0);
        if (i % 10 == 1)
            CU_ASSERT_EQUAL(access_map(host.access, "disk", "hosts", 0, NULL, NULL), 0);
        scsi_target_space_threshold(host.target);
    }
}

static void test_threads(void)
{
    static const char *const initiators[HOSTS] = {HOST_A, HOST_B, HOST_C};
    static struct runner runners[HOSTS];
    host_start(&host, 512);
    atomic_store(&changes_are_over, false);
    CU_ASSERT_EQUAL(access_unmap(host.access, "other", "hosts", NULL), 0);
    for (unsigned i = 0; i < HOSTS; i++)
    {
        runners[i] =
            (struct runner){.host = &host, .initiator = initiators[i], .index = i, .seed = i + 1};
        sem_init(&runners[i].changed, 0, 0);
        INVARIANT(pthread_create(&runners[i].thread, NULL, runner_main, &runners[i]) == 0);
    }
    change_things();
    atomic_store(&changes_are_over, true);
    unsigned good = 0, tmfs = 0;
    for (unsigned i = 0; i < HOSTS; i++)
    {
        pthread_join(runners[i].thread, NULL);
        sem_destroy(&runners[i].changed);
        good += runners[i].good;
        tmfs += runners[i].tmfs;
    }
    CU_ASSERT_TRUE(good > 0);
    CU_ASSERT_TRUE(tmfs > 0);
    struct lun_info info;
    CU_ASSERT_EQUAL(lun_get_info(host.pool, "disk", &info, NULL), 0);
    CU_ASSERT_EQUAL(info.open_handles, 0);
    struct scsi_lu_info unit;
    CU_ASSERT_EQUAL(scsi_target_lu_info(host.target, info.id, &unit), 0);
    CU_ASSERT_EQUAL(unit.task_count, 0);
    CU_ASSERT_EQUAL(unit.nexus_count, 0);
    host_stop(&host);
}

static CU_TestInfo thread_tests[] = {
    {"hosts, resets and changes at once", test_threads},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"threads", NULL, NULL, NULL, NULL, thread_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
