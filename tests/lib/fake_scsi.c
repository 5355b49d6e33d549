/* SPDX-License-Identifier: BSD-3-Clause */
/* A SCSI layer in memory. */
#include "tests/lib/fake_scsi.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lun/base/checked.h"
#include "lun/base/endian.h"
#include "lun/base/invariant.h"
#include "lun/base/lock.h"
#include "lun/base/reader.h"

enum
{
    FAKE_BLOCK_BYTES = 512,
    FAKE_INQUIRY_BYTES = 36,
};

enum fake_state
{
    FAKE_NEW,
    FAKE_BEGUN,
    FAKE_CLAIMED,
    FAKE_ASLEEP,
    FAKE_AWAKE,
};

struct scsi_target
{
    struct lock lock;
    struct condition changed;
    uint8_t *bytes;
    struct list tasks;                                             /* set_link; under lock */
    struct list tmfs;                                              /* under lock */
    bool is_open;                                                  /* the gate; under lock */
    unsigned passes, runs;                                         /* under lock */
    uint32_t run_lbas[FAKE_SCSI_RUNS];                             /* under lock */
    unsigned gated, dormant, task_count, begun_count, nexus_count; /* under lock */
};

struct scsi_nexus
{
    struct scsi_target *target;
    struct scsi_nexus_args args;
    struct list changed; /* changed_link; under lock */
    unsigned references; /* tasks, and one for itself; under lock */
    bool is_gone;
};

struct scsi_target *fake_scsi_create(void)
{
    struct scsi_target *target = calloc(1, sizeof(*target));
    INVARIANT(target);
    target->bytes = calloc(1, FAKE_SCSI_BYTES);
    INVARIANT(target->bytes);
    lock_init(&target->lock, LOCK_RANK_LU);
    condition_init(&target->changed);
    list_init(&target->tasks);
    list_init(&target->tmfs);
    return target;
}

void fake_scsi_destroy(struct scsi_target *target)
{
    INVARIANT(target->task_count == 0 && target->nexus_count == 0);
    condition_destroy(&target->changed);
    lock_destroy(&target->lock);
    free(target->bytes);
    free(target);
}

uint8_t *fake_scsi_bytes(struct scsi_target *target)
{
    return target->bytes;
}

void fake_scsi_open_gate(struct scsi_target *target, bool open)
{
    AUTO_LOCK(&target->lock);
    target->is_open = open;
    condition_wake_all(&target->changed);
}

void fake_scsi_pass_gate(struct scsi_target *target)
{
    AUTO_LOCK(&target->lock);
    target->passes++;
    condition_wake_all(&target->changed);
    while (target->passes > 0)
        condition_wait(&target->changed, &target->lock);
}

unsigned fake_scsi_runs(struct scsi_target *target, uint32_t lbas[FAKE_SCSI_RUNS])
{
    AUTO_LOCK(&target->lock);
    memcpy(lbas, target->run_lbas, sizeof(target->run_lbas));
    return target->runs;
}

void fake_scsi_wait_gated(struct scsi_target *target, unsigned count)
{
    AUTO_LOCK(&target->lock);
    while (target->gated < count)
        condition_wait(&target->changed, &target->lock);
}

void fake_scsi_wait_dormant(struct scsi_target *target, unsigned count)
{
    AUTO_LOCK(&target->lock);
    while (target->dormant < count)
        condition_wait(&target->changed, &target->lock);
}

static void fake_change_locked(struct scsi_task *task)
{
    struct scsi_nexus *nexus = task->nexus;
    if (nexus->is_gone)
        return;
    list_remove(&task->changed_link);
    list_add_tail(&nexus->changed, &task->changed_link);
    nexus->args.changed(nexus->args.opaque);
}

void fake_scsi_wake(struct scsi_target *target)
{
    AUTO_LOCK(&target->lock);
    list_for_each (task, &target->tasks, struct scsi_task, set_link)
    {
        if (task->state != FAKE_ASLEEP)
            continue;
        task->state = FAKE_AWAKE;
        target->dormant--;
        fake_change_locked(task);
    }
}

unsigned fake_scsi_begun_count(struct scsi_target *target)
{
    AUTO_LOCK(&target->lock);
    return target->begun_count;
}

unsigned fake_scsi_task_count(struct scsi_target *target)
{
    AUTO_LOCK(&target->lock);
    return target->task_count;
}

unsigned fake_scsi_nexus_count(struct scsi_target *target)
{
    AUTO_LOCK(&target->lock);
    return target->nexus_count;
}

/* ---- nexus --------------------------------------------------------------------------------- */

int scsi_nexus_create(struct scsi_target *target, const struct scsi_nexus_args *args,
                      struct scsi_nexus **out)
{
    struct scsi_nexus *nexus = calloc(1, sizeof(*nexus));
    if (!nexus)
        return -ENOMEM;
    nexus->target = target;
    nexus->args = *args;
    nexus->references = 1;
    list_init(&nexus->changed);
    AUTO_LOCK(&target->lock);
    target->nexus_count++;
    *out = nexus;
    return 0;
}

static void fake_nexus_put_locked(struct scsi_nexus *nexus)
{
    if (--nexus->references > 0)
        return;
    nexus->target->nexus_count--;
    free(nexus);
}

static void fake_abort_locked(struct scsi_task *task)
{
    if (task->is_aborted)
        return;
    task->is_aborted = true;
    if (task->state == FAKE_ASLEEP)
        task->nexus->target->dormant--;
    if (task->state != FAKE_CLAIMED)
        fake_change_locked(task);
}

void scsi_target_check_space(struct scsi_target *target)
{
    (void)target;
}

void scsi_nexus_destroy(struct scsi_nexus *nexus)
{
    struct scsi_target *target = nexus->target;
    AUTO_LOCK(&target->lock);
    nexus->is_gone = true;
    list_for_each (task, &target->tasks, struct scsi_task, set_link)
    {
        if (task->nexus == nexus)
            fake_abort_locked(task);
    }
    fake_nexus_put_locked(nexus);
}

enum scsi_change scsi_nexus_next_changed(struct scsi_nexus *nexus, struct scsi_task **task)
{
    AUTO_LOCK(&nexus->target->lock);
    if (list_is_empty(&nexus->changed))
        return SCSI_CHANGE_NONE;
    *task = container_of(nexus->changed.next, struct scsi_task, changed_link);
    list_remove(&(*task)->changed_link);
    return (*task)->is_aborted ? SCSI_CHANGE_ABORTED : SCSI_CHANGE_RUNNABLE;
}

/* ---- tasks --------------------------------------------------------------------------------- */

static uint64_t fake_offset(const struct scsi_task *task)
{
    struct reader reader = reader_of(task->cdb + 2, 4);
    return (uint64_t)reader_be32(&reader) * FAKE_BLOCK_BYTES;
}

static uint64_t fake_len(const struct scsi_task *task)
{
    struct reader reader = reader_of(task->cdb + 7, 2);
    return (uint64_t)reader_be16(&reader) * FAKE_BLOCK_BYTES;
}

static bool fake_is_read(const struct scsi_task *task)
{
    return task->cdb[0] == 0x28;
}

static bool fake_is_write(const struct scsi_task *task)
{
    return task->cdb[0] == 0x2a;
}

static void fake_sense(struct scsi_task *task, uint8_t key, uint8_t asc)
{
    task->status = SCSI_CHECK_CONDITION;
    task->sense_len = 18;
    memset(task->sense, 0, 18);
    task->sense[0] = 0x70;
    task->sense[2] = key;
    task->sense[7] = 10;
    task->sense[12] = asc;
    task->in_len = 0;
}

enum scsi_step scsi_task_begin(struct scsi_task *task)
{
    struct scsi_target *target = task->nexus->target;
    task->out_wanted = task->in_max = task->transfer_len = 0;
    task->out = task->in = NULL;
    task->out_len = task->in_capacity = task->in_len = 0;
    task->loan = NULL;
    task->is_lent = false;
    task->qos = NULL;
    task->takes_pieces = false;
    task->done_bytes = 0;
    task->status = SCSI_GOOD;
    task->sense_len = 0;
    task->is_aborted = false;
    task->state = FAKE_BEGUN;
    list_init(&task->set_link);
    list_init(&task->changed_link);
    {
        AUTO_LOCK(&target->lock);
        list_add_tail(&target->tasks, &task->set_link);
        target->task_count++;
        target->begun_count++;
        task->nexus->references++;
    }
    if (task->lun[1] != 0)
    {
        fake_sense(task, 5, 0x25);
        return SCSI_DONE;
    }
    if (fake_is_read(task))
        task->in_max = fake_len(task);
    else if (fake_is_write(task))
        task->out_wanted = fake_len(task);
    else if (task->cdb[0] == 0x12)
        task->in_max = FAKE_INQUIRY_BYTES;
    task->transfer_len = task->in_max + task->out_wanted;
    task->takes_pieces = fake_is_write(task) &&
                         (task->cdb[9] == FAKE_SCSI_PIECES || task->cdb[9] == FAKE_SCSI_ONE_PIECE);
    return SCSI_GO;
}

bool scsi_take_piece(struct scsi_task *task, const void *bytes, size_t len)
{
    struct scsi_target *target = task->nexus->target;
    INVARIANT(task->takes_pieces && len <= SCSI_PIECE_MAX_BYTES &&
              task->done_bytes + len < min_u64(task->edtl_out, task->out_wanted));
    if (!range_ok(fake_offset(task), fake_len(task), FAKE_SCSI_BYTES) ||
        (task->cdb[9] == FAKE_SCSI_ONE_PIECE && task->done_bytes > 0))
        return false;
    AUTO_LOCK(&target->lock);
    if (task->is_aborted)
        return false;
    memcpy(target->bytes + fake_offset(task) + task->done_bytes, bytes, len);
    task->done_bytes += len;
    return true;
}

/* ---- lending ------------------------------------------------------------------------------- */

static _Atomic unsigned fake_loans_out, fake_loans_given;

unsigned fake_scsi_loans_out(void)
{
    return atomic_load(&fake_loans_out);
}

unsigned fake_scsi_loans_given(void)
{
    return atomic_load(&fake_loans_given);
}

static bool fake_is_zero(const uint8_t *bytes, size_t len)
{
    return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}

/* In two parts, each of which may be zeros. What is lost is behind a page that nobody may read. */
static bool fake_lend(struct scsi_task *task)
{
    const uint8_t *bytes = task->nexus->target->bytes + fake_offset(task);
    uint8_t control = task->cdb[9];
    struct lun_loan *loan = task->loan;
    if (!loan || control < FAKE_SCSI_LEND || control > FAKE_SCSI_LEND_GONE)
        return false;
    size_t half = task->in_capacity / 2;
    *loan = (struct lun_loan){
        .count = 2,
        .pool = (struct pool *)task->nexus->target,
        .loan_epoch = control,
        .parts = {{bytes, half, fake_offset(task)},
                  {bytes + half, task->in_capacity - half, fake_offset(task) + half}}};
    for (unsigned i = 0; i < 2; i++)
    {
        struct lun_loan_part *part = &loan->parts[i];
        if (fake_is_zero(part->at, part->len))
            part->at = NULL;
        else if (control != FAKE_SCSI_LEND)
            part->at = mmap(NULL, part->len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        INVARIANT(part->at != MAP_FAILED);
    }
    atomic_fetch_add(&fake_loans_out, 1);
    atomic_fetch_add(&fake_loans_given, 1);
    return true;
}

int lun_loan_read(const struct lun_loan *loan, void *buf, size_t len, size_t from)
{
    const struct scsi_target *target = (struct scsi_target *)loan->pool;
    if (loan->loan_epoch == FAKE_SCSI_LEND_GONE)
        return -EIO;
    memcpy(buf, target->bytes + loan->parts[0].device_offset + from, len);
    return 0;
}

void lun_return(struct lun_loan *loan)
{
    for (unsigned i = 0; i < loan->count && loan->loan_epoch != FAKE_SCSI_LEND; i++)
        if (loan->parts[i].at)
            munmap((void *)(uintptr_t)loan->parts[i].at, loan->parts[i].len);
    atomic_fetch_sub(&fake_loans_out, 1);
}

/* ---- running ------------------------------------------------------------------------------- */

static void fake_run(struct scsi_task *task)
{
    struct scsi_target *target = task->nexus->target;
    uint64_t offset = fake_offset(task);
    bool is_medium = fake_is_read(task) || fake_is_write(task);
    if (is_medium && !range_ok(offset, fake_len(task), FAKE_SCSI_BYTES))
    {
        fake_sense(task, 5, 0x21);
        return;
    }
    if (is_medium)
    {
        AUTO_LOCK(&target->lock);
        target->run_lbas[target->runs++ % FAKE_SCSI_RUNS] = (uint32_t)(offset / FAKE_BLOCK_BYTES);
    }
    if (fake_is_write(task))
    {
        size_t done = (size_t)task->done_bytes;
        if (task->out_len > done)
            memcpy(target->bytes + offset + done, (const uint8_t *)task->out + done,
                   task->out_len - done);
    }
    else if (fake_is_read(task))
    {
        task->is_lent = fake_lend(task);
        if (task->in_capacity > 0 && !task->is_lent)
            memcpy(task->in, target->bytes + offset, task->in_capacity);
        task->in_len = task->in_capacity;
    }
    else if (task->cdb[0] == 0x12)
    {
        static const uint8_t inquiry[FAKE_INQUIRY_BYTES] = {0, 0, 6, 2, 31, 0, 0, 2, 'F', 'A'};
        if (task->in_capacity > 0)
            memcpy(task->in, inquiry, task->in_capacity);
        task->in_len = task->in_capacity;
    }
    else if (task->cdb[0] != 0x00)
    {
        fake_sense(task, 5, 0x20);
    }
}

static void fake_wait_at_gate(struct scsi_target *target)
{
    AUTO_LOCK(&target->lock);
    target->gated++;
    condition_wake_all(&target->changed);
    while (!target->is_open && target->passes == 0)
        condition_wait(&target->changed, &target->lock);
    target->gated--;
    if (!target->is_open)
        target->passes--;
    condition_wake_all(&target->changed);
}

enum scsi_step scsi_execute_inline(struct scsi_task *task)
{
    struct scsi_target *target = task->nexus->target;
    uint8_t control = task->cdb[task->cdb[0] == 0x12 ? 5 : 9];
    {
        AUTO_LOCK(&target->lock);
        if (task->is_aborted)
            return SCSI_DONE;
        if (control == FAKE_SCSI_DORMANT && task->state == FAKE_BEGUN)
        {
            task->state = FAKE_ASLEEP;
            target->dormant++;
            condition_wake_all(&target->changed);
            return SCSI_DORMANT;
        }
        task->state = FAKE_CLAIMED;
    }
    if (control == FAKE_SCSI_BLOCK || control == FAKE_SCSI_GATE)
        return SCSI_WOULD_BLOCK;
    if (control == FAKE_SCSI_HOLD)
        fake_wait_at_gate(target);
    fake_run(task);
    return SCSI_DONE;
}

enum scsi_step scsi_execute(struct scsi_task *task)
{
    struct scsi_target *target = task->nexus->target;
    if (task->cdb[9] == FAKE_SCSI_GATE)
        fake_wait_at_gate(target);
    fake_run(task);
    return SCSI_DONE;
}

/* Whether a task that @tmf waits for is still there. */
static bool fake_is_waiting_locked(struct scsi_target *target)
{
    list_for_each (task, &target->tasks, struct scsi_task, set_link)
    {
        if (task->is_aborted)
            return true;
    }
    return false;
}

static void fake_check_tmfs_locked(struct scsi_target *target)
{
    if (fake_is_waiting_locked(target))
        return;
    while (!list_is_empty(&target->tmfs))
    {
        struct scsi_tmf *tmf = container_of(target->tmfs.next, struct scsi_tmf, link);
        list_remove(&tmf->link);
        tmf->done(tmf);
    }
}

bool scsi_lacks_room(const struct scsi_task *task)
{
    (void)task;
    return false;
}

bool scsi_task_end(struct scsi_task *task)
{
    struct scsi_target *target = task->nexus->target;
    AUTO_LOCK(&target->lock);
    INVARIANT(task->state != FAKE_NEW);
    if (task->state == FAKE_ASLEEP && !task->is_aborted)
        target->dormant--;
    task->state = FAKE_NEW;
    list_remove(&task->set_link);
    list_remove(&task->changed_link);
    target->task_count--;
    bool was_aborted = task->is_aborted;
    fake_nexus_put_locked(task->nexus);
    fake_check_tmfs_locked(target);
    condition_wake_all(&target->changed);
    return !was_aborted;
}

int64_t scsi_task_residual(const struct scsi_task *task)
{
    uint64_t expected = task->edtl_out + task->edtl_in;
    uint64_t wanted = task->status == SCSI_GOOD ? task->transfer_len : 0;
    return (int64_t)wanted - (int64_t)expected;
}

void scsi_tmf_start(struct scsi_tmf *tmf)
{
    struct scsi_target *target = tmf->nexus->target;
    AUTO_LOCK(&target->lock);
    list_init(&tmf->link);
    tmf->response = SCSI_TMF_COMPLETE;
    bool is_one = tmf->function == SCSI_TMF_ABORT_TASK || tmf->function == SCSI_TMF_QUERY_TASK;
    if (is_one && !tmf->task)
        tmf->response = SCSI_TMF_NO_TASK;
    else if (tmf->function == SCSI_TMF_QUERY_TASK)
        tmf->response = SCSI_TMF_SUCCEEDED;
    else if (tmf->function == SCSI_TMF_CLEAR_ACA)
        tmf->response = SCSI_TMF_NOT_SUPPORTED;
    else if (tmf->function == SCSI_TMF_ABORT_TASK)
        fake_abort_locked(tmf->task);
    else
        list_for_each (task, &target->tasks, struct scsi_task, set_link)
        {
            if (tmf->function != SCSI_TMF_ABORT_TASK_SET || task->nexus == tmf->nexus)
                fake_abort_locked(task);
        }
    list_add_tail(&target->tmfs, &tmf->link);
    fake_check_tmfs_locked(target);
}

/* ---- access -------------------------------------------------------------------------------- */

struct access
{
    bool has_chap, is_visible;
    struct access_chap chap;
};

struct access *fake_access_create(const struct access_chap *chap, bool is_visible)
{
    struct access *access = calloc(1, sizeof(*access));
    INVARIANT(access);
    access->has_chap = chap;
    access->is_visible = is_visible;
    if (chap)
        access->chap = *chap;
    return access;
}

void fake_access_destroy(struct access *access)
{
    free(access);
}

const char *access_target_name(struct access *access)
{
    (void)access;
    return "iqn.2026-11.io.lunette:fake";
}

int access_find_chap(struct access *access, const char *initiator, bool discovery,
                     struct access_chap *chap)
{
    (void)initiator, (void)discovery;
    if (!access->has_chap)
        return -ENOENT;
    *chap = access->chap;
    return 0;
}

void access_chap_wipe(struct access_chap *chap)
{
    explicit_bzero(chap, sizeof(*chap));
}

int access_visible(struct access *access, const char *initiator, struct access_mapping **list,
                   size_t *count)
{
    (void)initiator;
    *list = access->is_visible ? calloc(1, sizeof(**list)) : NULL;
    *count = *list ? 1 : 0;
    return 0;
}
