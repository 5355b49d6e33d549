/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SANITIZE: OVERWRITE and BLOCK ERASE, by a thread of its own that outlives tasks, resets and
 * sessions. Other commands are told NOT READY meanwhile.
 *
 * It is refused for a LUN that shares blocks or has snapshots: what they hold would stay readable,
 * and the command promises that nothing does. Block erase overwrites with zeros before it unmaps,
 * since unmapping alone leaves the bytes in the pool file. There is no CRYPTO ERASE, as there is no
 * key. The rate is limited, so that others on the pool go on; holes hold nothing and cost nothing.
 * One that was interrupted by the end of the server counts as failed when the LUN is opened next.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/log.h"
#include "server/scsi/sanitize.h"

enum
{
    SANITIZE_OVERWRITE = 0x01,
    SANITIZE_BLOCK_ERASE = 0x02,
    SANITIZE_EXIT_FAILURE = 0x1f,
    SANITIZE_IMMEDIATE = 0x80,
    SANITIZE_AUSE = 0x20,
    SANITIZE_HEADER_BYTES = 4,
    SANITIZE_STEP_BYTES = 8 << 20,
    SANITIZE_STEP_MS = 62, /* 128 MiB/s */
    SANITIZE_EXTENTS = 64,
};

struct sanitize_job
{
    struct scsi_lu *lu;
    unsigned passes;
    bool erase, invert;
    uint8_t *pattern; /* SANITIZE_STEP_BYTES; NULL: zeros */
};

/* ---- the record of one that runs ------------------------------------------------------------ */

static void sanitize_key(const struct scsi_lu *lu, char key[64])
{
    snprintf(key, 64, SANITIZE_STORE_PREFIX "%016" PRIx64, lu->lun_id);
}

bool sanitize_was_interrupted(struct scsi_lu *lu)
{
    char key[64];
    sanitize_key(lu, key);
    AUTO_FREE void *value = NULL;
    size_t len;
    return store_get(lu->target->pool, key, &value, &len) == 0;
}

static int sanitize_note(struct scsi_lu *lu, bool running)
{
    char key[64];
    sanitize_key(lu, key);
    struct store_change change = {.key = key, .value = running ? "1" : NULL, .len = 1};
    return store_apply(lu->target->pool, &change, 1, NULL);
}

/* ---- the work ------------------------------------------------------------------------------ */

/* False: the target is to stop, or the LUN is gone. */
static bool sanitize_pause(struct scsi_lu *lu)
{
    struct scsi_target *target = lu->target;
    AUTO_LOCK(&target->lock);
    if (!target->is_stopping && !lu->is_gone)
        condition_wait_ms(&target->background_ended, &target->lock, SANITIZE_STEP_MS);
    return !target->is_stopping && !lu->is_gone;
}

/* How much from @offset on is a hole; 0 if it holds data. */
static uint64_t sanitize_hole(struct scsi_lu *lu, uint64_t offset, uint64_t end)
{
    struct lun_extent extents[SANITIZE_EXTENTS];
    size_t count = 0;
    uint64_t len = 0;
    if (lun_extents(lu->handle, end - offset, offset, extents, SANITIZE_EXTENTS, &count) < 0)
        return 0;
    for (size_t i = 0; i < count && extents[i].is_hole; i++)
        len += extents[i].len_bytes;
    return len;
}

static void sanitize_progress(struct scsi_lu *lu, unsigned pass, unsigned passes, uint64_t at,
                              uint64_t end)
{
    double done = (pass + (double)at / (double)end) / passes;
    AUTO_LOCK(&lu->lock);
    lu->sanitize_progress = (uint16_t)(done * 65535.0);
}

static int sanitize_pass(struct sanitize_job *job, unsigned pass)
{
    struct scsi_lu *lu = job->lu;
    uint64_t end = lun_size_bytes(lu->handle);
    for (uint64_t at = 0; at < end;)
    {
        uint64_t hole = job->pattern ? 0 : sanitize_hole(lu, at, end);
        if (hole)
        {
            at += hole;
            continue;
        }
        uint64_t len = min_u64(end - at, SANITIZE_STEP_BYTES);
        int r = job->pattern ? lun_write(lu->handle, job->pattern, (size_t)len, at, 0)
                             : lun_zero(lu->handle, len, at, 0);
        if (r < 0)
            return r;
        at += len;
        sanitize_progress(lu, pass, job->passes, at, end);
        if (!sanitize_pause(lu))
            return -ECANCELED;
    }
    return lun_flush(lu->handle);
}

static int sanitize_work(struct sanitize_job *job)
{
    struct scsi_lu *lu = job->lu;
    int r = 0;
    for (unsigned pass = 0; r == 0 && pass < job->passes; pass++)
    {
        for (size_t i = 0; pass && job->invert && job->pattern && i < SANITIZE_STEP_BYTES; i++)
            job->pattern[i] = (uint8_t)~job->pattern[i];
        r = sanitize_pass(job, pass);
    }
    if (r == 0 && job->erase)
        r = lun_unmap(lu->handle, lun_size_bytes(lu->handle), 0, LUN_FUA);
    return r;
}

static void sanitize_job_free(struct sanitize_job *job)
{
    if (!job)
        return;
    free(job->pattern);
    free(job);
}

static void *sanitize_thread(void *opaque)
{
    struct sanitize_job *job = opaque;
    struct scsi_lu *lu = job->lu;
    struct scsi_target *target = lu->target;
    int r = sanitize_work(job);
    if (r == 0)
        r = sanitize_note(lu, false);
    if (r < 0 && r != -ECANCELED && r != -ESTALE)
        log_error("SANITIZE of LUN id %" PRIu64 " failed: %s", lu->lun_id, strerror(-r));
    lock_take(&lu->lock);
    lu->sanitize = r < 0 ? SANITIZE_FAILED : SANITIZE_IDLE;
    condition_wake_all(&lu->changed);
    lock_release(&lu->lock);
    sanitize_job_free(job);
    AUTO_LOCK(&target->lock);
    lu_put_locked(lu);
    target->background_count--;
    condition_wake_all(&target->background_ended);
    return NULL;
}

/* ---- the command --------------------------------------------------------------------------- */

/* The parameter list of OVERWRITE. False: sense is set. */
static bool sanitize_read_overwrite(struct scsi_task *task, struct sanitize_job *job)
{
    const uint8_t *list = task->out;
    size_t sector = task->lu->sector_bytes;
    if (task->out_wanted <= SANITIZE_HEADER_BYTES ||
        task->out_wanted > SANITIZE_HEADER_BYTES + sector)
    {
        sense_fail_cdb(task, 7, -1);
        return false;
    }
    if (!command_has_parameters(task))
        return false;
    size_t pattern_len = wire_u16(list + 2);
    job->passes = list[0] & 0x1f;
    job->invert = list[0] & 0x80;
    if (list[0] & 0x60 || list[1] || job->passes == 0 || pattern_len == 0 ||
        pattern_len != task->out_len - SANITIZE_HEADER_BYTES)
    {
        sense_fail_cdb(task, 7, -1);
        return false;
    }
    bool zeros = !job->invert;
    for (size_t i = 0; zeros && i < pattern_len; i++)
        zeros = list[SANITIZE_HEADER_BYTES + i] == 0;
    if (zeros)
        return true;
    job->pattern = malloc(SANITIZE_STEP_BYTES);
    if (!job->pattern)
    {
        task->status = SCSI_BUSY;
        return false;
    }
    /* The pattern begins anew in each block. */
    for (size_t at = 0; at < SANITIZE_STEP_BYTES; at++)
        job->pattern[at] = list[SANITIZE_HEADER_BYTES + at % sector % pattern_len];
    return true;
}

/* Nothing else may hold what is to be destroyed. False: sense is set. */
static bool sanitize_may_destroy(struct scsi_task *task)
{
    struct lun_info info;
    int r = lun_describe(task->lu->handle, &info);
    if (r < 0)
    {
        sense_fail_errno(task, r, true);
        return false;
    }
    if (info.shared_bytes == 0 && info.snapshot_count == 0)
        return true;
    sense_fail(task, SENSE_SANITIZE_FAILED);
    return false;
}

/* False: one runs already. */
static bool sanitize_claim(struct scsi_task *task)
{
    struct scsi_lu *lu = task->lu;
    AUTO_LOCK(&lu->lock);
    if (lu->sanitize == SANITIZE_RUNNING)
    {
        sense_set(task, &(struct sense){.code = SENSE_SANITIZE_IN_PROGRESS,
                                        .has_progress = true,
                                        .progress = lu->sanitize_progress});
        return false;
    }
    lu->sanitize = SANITIZE_RUNNING;
    lu->sanitize_progress = 0;
    lu->sanitize_ause = task->cdb[1] & SANITIZE_AUSE;
    return true;
}

static void sanitize_start(struct scsi_task *task, struct sanitize_job *job)
{
    struct scsi_lu *lu = task->lu;
    struct scsi_target *target = lu->target;
    int r = sanitize_note(lu, true);
    if (r == 0)
    {
        AUTO_LOCK(&target->lock);
        pthread_t thread;
        r = -pthread_create(&thread, NULL, sanitize_thread, job);
        if (r == 0)
        {
            pthread_detach(thread);
            lu->use_count++;
            target->background_count++;
            return;
        }
    }
    lock_take(&lu->lock);
    lu->sanitize = SANITIZE_IDLE;
    lock_release(&lu->lock);
    ignore_error(sanitize_note(lu, false), "the LUN is refused at its next opening, no worse");
    sanitize_job_free(job);
    sense_fail_errno(task, r, true);
}

static void sanitize_await(struct scsi_task *task)
{
    struct scsi_lu *lu = task->lu;
    AUTO_LOCK(&lu->lock);
    while (lu->sanitize == SANITIZE_RUNNING && !task->is_aborted)
        condition_wait(&lu->changed, &lu->lock);
    if (lu->sanitize == SANITIZE_FAILED)
        sense_fail(task, SENSE_SANITIZE_FAILED);
}

static void sanitize_exit_failure(struct scsi_task *task)
{
    struct scsi_lu *lu = task->lu;
    lock_take(&lu->lock);
    bool may_exit = lu->sanitize == SANITIZE_FAILED && lu->sanitize_ause;
    bool is_idle = lu->sanitize == SANITIZE_IDLE;
    if (may_exit)
        lu->sanitize = SANITIZE_IDLE;
    lock_release(&lu->lock);
    if (may_exit)
        ignore_error(sanitize_note(lu, false), "the LUN is refused at its next opening, no worse");
    else if (!is_idle)
        sense_fail_cdb(task, 1, 4);
}

void cmd_sanitize(struct scsi_task *task)
{
    uint16_t action = task_command(task)->action;
    if (action != SANITIZE_OVERWRITE && task->out_wanted)
    {
        sense_fail_cdb(task, 7, -1);
        return;
    }
    if (action == SANITIZE_EXIT_FAILURE)
    {
        sanitize_exit_failure(task);
        return;
    }
    struct sanitize_job *job = calloc(1, sizeof(*job));
    if (!job)
    {
        task->status = SCSI_BUSY;
        return;
    }
    *job = (struct sanitize_job){.lu = task->lu, .passes = 1};
    job->erase = action == SANITIZE_BLOCK_ERASE;
    if ((action == SANITIZE_OVERWRITE && !sanitize_read_overwrite(task, job)) ||
        !sanitize_may_destroy(task) || !sanitize_claim(task))
    {
        sanitize_job_free(job);
        return;
    }
    sanitize_start(task, job);
    if (task->status == SCSI_GOOD && !(task->cdb[1] & SANITIZE_IMMEDIATE))
        sanitize_await(task);
}
