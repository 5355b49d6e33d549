/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands of three initiators to two small LUNs. The input is a row of records of 22 bytes and the
 * Data-Out behind each:
 *
 *   0     kind: 0 command, 1 begin only, 2 task management, 3 logout and login, 4 LUN attributes
 *   1     bits 0-1 initiator, bits 2-3 LUN (3: one that is not there), bits 4-6 task attribute
 *   2-3   length of Data-Out that is sent and announced
 *   4-5   length of Data-In that is announced, in units of 16 bytes
 *   6-21  CDB; for task management byte 6 is the function; for attributes the flags
 *
 * make_cdb_corpus.py writes the corpus. The engine is the one in memory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "lun/base/log.h"
#include "lun/base/reader.h"
#include "server/access.h"
#include "server/scsi/cdb.h"
#include "server/scsi/scsi.h"
#include "tests/fuzz/fuzz.h"

enum
{
    NEXUSES = 3,
    LUNS = 2,
    OPEN_TASKS_MAX = 16,
    LUN_BYTES = 1 << 20,
    IN_BYTES = 1 << 20,
};

enum record_kind
{
    RECORD_COMMAND,
    RECORD_BEGIN,
    RECORD_TMF,
    RECORD_RELOGIN,
    RECORD_ATTRIBUTES,
};

static const char *const initiators[NEXUSES] = {
    "iqn.2001-04.com.example:a", "iqn.2001-04.com.example:b", "iqn.2001-04.com.example:c"};
static const char *const lun_names[LUNS] = {"zero", "one"};

static struct pool *pool; /* one for all inputs; each makes its own LUNs in it */
static struct access *access_table;
static struct scsi_target *target;
static struct scsi_nexus *nexuses[NEXUSES];
static struct scsi_task open_tasks[OPEN_TASKS_MAX]; /* begun and left so */
static size_t open_count;
static unsigned tmf_done_count;
static uint8_t in[IN_BYTES];

static void fuzz_open_pool(void)
{
    char path[] = "/tmp/fuzz-cdb-XXXXXX";
    int fd = mkstemp(path);
    INVARIANT(fd >= 0);
    close(fd);
    unlink(path);
    struct pool_create_options options = {.name = "fuzz", .size_bytes = 64 << 20};
    INVARIANT(pool_create(env_system(), path, &options, NULL) == 0);
    INVARIANT(pool_open(env_system(), path, &(struct pool_open_options){0}, &pool, NULL) == 0);
    unlink(path);
    INVARIANT(access_open(pool, &access_table, NULL) == 0);
    INVARIANT(access_igroup_create(access_table, "hosts", initiators, NEXUSES, NULL) == 0);
    log_set_level(LOG_LEVEL_ERROR);
}

static void fuzz_changed(void *opaque)
{
    (void)opaque;
}

static void fuzz_login(unsigned who)
{
    struct scsi_nexus_args args = {.initiator_name = initiators[who],
                                   .isid = {0x80, 0, 0, 0, 0, (uint8_t)who},
                                   .portal_group_tag = (uint16_t)(1 + who % 2),
                                   .changed = fuzz_changed};
    INVARIANT(scsi_nexus_create(target, &args, &nexuses[who]) == 0);
}

static void fuzz_start(void)
{
    if (!pool)
        fuzz_open_pool();
    struct scsi_target_options options = {.target_name = "iqn.2001-04.com.example:target",
                                          .port_count = 2};
    INVARIANT(scsi_target_create(pool, access_table, &options, &target, NULL) == 0);
    pool_set_change_hook(pool, scsi_target_lun_changed, target);
    for (unsigned i = 0; i < LUNS; i++)
    {
        struct lun_create_args args = {
            .name = lun_names[i], .size_bytes = LUN_BYTES, .sector_bytes = i ? 4096 : 512};
        INVARIANT(lun_create(pool, &args, NULL) == 0);
        INVARIANT(access_map(access_table, lun_names[i], "hosts", (int32_t)i, NULL, NULL) == 0);
    }
    for (unsigned i = 0; i < NEXUSES; i++)
        fuzz_login(i);
}

/* Ends what was begun; of @nexus, or of all (NULL). */
static void fuzz_end_open(const struct scsi_nexus *nexus)
{
    size_t kept = 0;
    for (size_t i = 0; i < open_count; i++)
    {
        struct scsi_task *task = &open_tasks[i];
        if (!task->nexus)
            continue;
        if (nexus && task->nexus != nexus)
        {
            kept = i + 1;
            continue;
        }
        ignore_error(scsi_task_end(task), "aborted or not");
        task->nexus = NULL;
    }
    open_count = kept;
}

static void fuzz_stop(void)
{
    fuzz_end_open(NULL);
    for (unsigned i = 0; i < NEXUSES; i++)
        scsi_nexus_destroy(nexuses[i]);
    for (unsigned i = 0; i < LUNS; i++)
        INVARIANT(lun_delete(pool, lun_names[i], true, LUN_FORCE, NULL) == 0);
    pool_set_change_hook(pool, NULL, NULL);
    scsi_target_destroy(target);
}

/* What must hold whatever was sent. */
static void fuzz_check(const struct scsi_task *task)
{
    INVARIANT(task->in_len <= task->in_capacity);
    INVARIANT((task->status == SCSI_CHECK_CONDITION) == (task->sense_len > 0));
    INVARIANT(task->sense_len <= SCSI_SENSE_MAX);
    INVARIANT(task->status == SCSI_GOOD || task->in_len == 0);
    int64_t residual = scsi_task_residual(task);
    INVARIANT(residual <= (int64_t)task->transfer_len);
    if (task->sense_len)
    {
        uint8_t format = task->sense[0] & 0x7f;
        INVARIANT(format == 0x70 || format == 0x72);
        INVARIANT(task->sense_len == 8u + task->sense[7]);
    }
}

static void fuzz_run(struct scsi_task *task, const uint8_t *out)
{
    enum scsi_step step = scsi_task_begin(task);
    if (step == SCSI_GO)
    {
        task->out = out;
        task->out_len = (size_t)min_u64(task->edtl_out, task->out_wanted);
        task->in = in;
        task->in_capacity = (size_t)min_u64(task->edtl_in, task->in_max);
        step = scsi_execute_inline(task);
        if (step == SCSI_WOULD_BLOCK)
            step = scsi_execute(task);
    }
    if (step == SCSI_DONE)
        fuzz_check(task);
    else
        INVARIANT(step == SCSI_DORMANT); /* behind one that was begun and left */
    ignore_error(scsi_task_end(task), "nothing aborts it here");
}

static void fuzz_begin(const struct scsi_task *task)
{
    if (open_count == OPEN_TASKS_MAX)
        return;
    struct scsi_task *kept = &open_tasks[open_count++];
    *kept = *task;
    ignore_error((int)scsi_task_begin(kept), "it is left so");
}

static void fuzz_tmf_done(struct scsi_tmf *tmf)
{
    (void)tmf;
    tmf_done_count++;
}

/* Starts it, then ends what it aborted: it must be done by then. */
static void fuzz_tmf(const struct scsi_task *task)
{
    struct scsi_tmf tmf = {.nexus = task->nexus,
                           .function = task->cdb[0] % (SCSI_TMF_QUERY_ASYNC_EVENT + 1),
                           .done = fuzz_tmf_done};
    memcpy(tmf.lun, task->lun, sizeof(tmf.lun));
    for (size_t i = 0; i < open_count && !tmf.task; i++)
        if (open_tasks[i].nexus == task->nexus)
            tmf.task = &open_tasks[i];
    unsigned before = tmf_done_count;
    scsi_tmf_start(&tmf);
    for (unsigned i = 0; i < NEXUSES; i++)
    {
        struct scsi_task *changed;
        enum scsi_change change;
        while ((change = scsi_nexus_next_changed(nexuses[i], &changed)) != SCSI_CHANGE_NONE)
        {
            if (change != SCSI_CHANGE_ABORTED)
                continue;
            INVARIANT(!scsi_task_end(changed));
            changed->nexus = NULL;
        }
    }
    INVARIANT(tmf_done_count == before + 1);
}

/* Many passes over a LUN take their time by design: nobody waits for them here. */
static void fuzz_hurry(struct scsi_task *task, const uint8_t *out)
{
    bool is_overwrite = task->cdb[0] == 0x48 && (task->cdb[1] & 0x1f) == 1;
    if (is_overwrite && task->edtl_out > 0 && (out[0] & 0x1f) > 2)
        task->cdb[1] |= 0x80; /* IMMED */
}

static void fuzz_record(uint8_t kind, const struct scsi_task *record, unsigned who,
                        const uint8_t *out)
{
    struct scsi_task task = *record;
    switch ((enum record_kind)(kind % 5))
    {
    case RECORD_COMMAND:
        fuzz_hurry(&task, out);
        fuzz_before();
        fuzz_run(&task, out);
        fuzz_after();
        break;
    case RECORD_BEGIN:
        fuzz_before();
        fuzz_begin(&task);
        fuzz_after();
        break;
    case RECORD_TMF:
        fuzz_before();
        fuzz_tmf(&task);
        fuzz_after();
        break;
    case RECORD_RELOGIN:
        fuzz_end_open(nexuses[who]);
        scsi_nexus_destroy(nexuses[who]);
        fuzz_login(who);
        break;
    case RECORD_ATTRIBUTES:
        ignore_error(access_set_lun_flags(access_table, lun_names[task.lun[1] % LUNS],
                                          task.cdb[0] & 7, NULL),
                     "flags of any kind are fine");
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader reader = reader_of(data, size);
    fuzz_start();
    while (reader_left(&reader) > 0)
    {
        uint8_t kind = reader_u8(&reader), flags = reader_u8(&reader);
        size_t out_len = reader_be16(&reader);
        size_t in_len = (size_t)reader_be16(&reader) * 16;
        const uint8_t *cdb = reader_bytes(&reader, 16);
        const uint8_t *out = reader_bytes(&reader, out_len);
        if (reader.failed)
            break;
        unsigned who = (flags & 3) % NEXUSES;
        struct scsi_task task = {.nexus = nexuses[who],
                                 .lun = {0, flags >> 2 & 3},
                                 .cdb_len = 16,
                                 .attribute = (flags >> 4 & 7) % (SCSI_ACA + 1),
                                 .edtl_out = out_len,
                                 .edtl_in = in_len};
        memcpy(task.cdb, cdb, 16);
        fuzz_record(kind, &task, who, out);
    }
    fuzz_stop();
    return 0;
}
