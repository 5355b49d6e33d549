/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/jobs/jobs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/log.h"
#include "lun/check/scrub.h"
#include "lun/map/drops.h"
#include "lun/map/lineage.h"
#include "lun/pool/checkpoint.h"
#include "lun/pool/pool_internal.h"
#include "lun/pool/record.h"
#include "lun/volume/catalog.h"
#include "lun/volume/event.h"
#include "lun/volume/ledger.h"
#include "lun/volume/lun_internal.h"

enum
{
    JOBS_WALK_NODES = 8,     /* of one record */
    JOBS_SETTLE_RANGES = 32, /* likewise, divided by the number of children */
    JOBS_SCAN_RANGES = 512,  /* looked at in one step of reclaim */
    JOBS_PAUSE_MS = 20,      /* after an error */
    JOBS_LAZY_MS = 500,
    JOBS_REST_MS = 2, /* while hosts do I/O, after so much work: some 100 us of it */
    JOBS_REST_AFTER = JOBS_WALK_NODES,
    JOBS_RESTS = 16,      /* since the last I/O */
    JOBS_HURRY_MS = 1000, /* since a volume had no room for a write */
};

/* ---- resting ------------------------------------------------------------------------------- */

/* With pool->management. @records: small ones. */
static void jobs_note_work(struct pool *pool, unsigned records)
{
    atomic_fetch_add_explicit(&pool->job_work, records, memory_order_relaxed);
}

/* Who waits for space, or is refused it, waits for this thread. */
static bool jobs_must_hurry(struct pool *pool)
{
    uint64_t refused_ms = atomic_load_explicit(&pool->volume_refused_ms, memory_order_relaxed);
    return atomic_load(&pool->health) == POOL_OUT_OF_SPACE ||
           (refused_ms != 0 && env_passed_ns(pool->env) / 1000000 < refused_ms + JOBS_HURRY_MS);
}

/* I/O that waits for a lock whose holder lost the processor to this thread is not seen to begin, so
 * one look without any says little. */
bool jobs_must_rest(struct pool *pool)
{
    if (atomic_load_explicit(&pool->job_work, memory_order_relaxed) < JOBS_REST_AFTER)
        return false;
    if (jobs_must_hurry(pool))
        return false;
    atomic_store_explicit(&pool->job_work, 0, memory_order_relaxed);
    uint32_t rests = atomic_load_explicit(&pool->job_rests_left, memory_order_relaxed);
    if (atomic_exchange_explicit(&pool->io_came, false, memory_order_relaxed))
        rests = JOBS_RESTS;
    else if (rests > 0)
        rests--;
    atomic_store_explicit(&pool->job_rests_left, rests, memory_order_relaxed);
    return rests > 0;
}

/*
 * A thread that never waits takes a processor from those that do I/O, and more than that: whoever
 * loses the processor while it holds the lock of the cache or of a map stops all others.
 */
static void jobs_give_way(struct pool *pool)
{
    if (!jobs_must_rest(pool))
        return;
    atomic_fetch_add_explicit(&pool->job_rests, 1, memory_order_relaxed);
    AUTO_LOCK(&pool->job_lock);
    if (!pool->job_stop)
        ignore_error(!condition_wait_ms(&pool->job_stop_wake, &pool->job_lock, JOBS_REST_MS),
                     "only a rest");
}

/* ---- the queue ----------------------------------------------------------------------------- */

void jobs_kick(struct pool *pool, struct line *line)
{
    AUTO_LOCK(&pool->job_lock);
    bool was_empty = list_is_empty(&pool->job_lines);
    list_remove(&line->job_link); /* perhaps it was among the lazy ones */
    list_add_tail(&pool->job_lines, &line->job_link);
    if (was_empty)
        condition_wake_all(&pool->job_wake); /* else nobody waits: see jobs_wait_for_work() */
}

void jobs_kick_lazily(struct pool *pool, struct line *line)
{
    AUTO_LOCK(&pool->job_lock);
    if (list_is_empty(&line->job_link))
        list_add_tail(&pool->job_lazy, &line->job_link);
}

void jobs_forget(struct pool *pool, struct line *line)
{
    AUTO_LOCK(&pool->job_lock);
    list_remove(&line->job_link);
}

void jobs_kick_all(struct pool *pool)
{
    list_for_each (line, &pool->lines, struct line, all_link)
    {
        if (lineage_is_leaf(line) || line_is_hidden_point(line))
            jobs_kick(pool, line);
    }
    atomic_store(&pool->job_trims, true);
}

/* What was put off is to be done now. With pool->job_lock. */
static void jobs_end_delay_locked(struct pool *pool)
{
    list_splice_tail(&pool->job_lines, &pool->job_lazy);
    if (atomic_exchange(&pool->job_lazy_trims, false))
        atomic_store(&pool->job_trims, true);
}

static struct line *jobs_take(struct pool *pool, bool with_lazy)
{
    AUTO_LOCK(&pool->job_lock);
    if (with_lazy && list_is_empty(&pool->job_lines))
        list_splice_tail(&pool->job_lines, &pool->job_lazy);
    if (list_is_empty(&pool->job_lines))
        return NULL;
    struct line *line = container_of(pool->job_lines.next, struct line, job_link);
    list_remove(&line->job_link);
    return line;
}

/* ---- walking ------------------------------------------------------------------------------- */

/* Where the step after (phase, key) begins; like lineage_apply_walk(), but without changing. */
static int jobs_walk(struct pool *pool, struct line *line)
{
    AUTO_WRITER struct writer writer = {0};
    if (line->walk_phase >= lineage_walk_phases(line))
    {
        action_gone(&writer, line->object.id);
        jobs_note_work(pool, 1);
        return change_run_waiting(pool, CHANGE_MANAGEMENT, NULL, writer.bytes, writer.len,
                                  SPACE_FREEING);
    }
    uint64_t id = line->object.id;
    for (unsigned i = 0; i < JOBS_WALK_NODES; i++)
    {
        writer.len = 0;
        action_walk(&writer, id, line->walk_phase, line->walk_key);
        jobs_note_work(pool, 1);
        int r = change_run_waiting(pool, CHANGE_MANAGEMENT, NULL, writer.bytes, writer.len,
                                   SPACE_FREEING);
        if (r < 0 || line->walk_phase >= lineage_walk_phases(line))
            return r;
    }
    return 0;
}

/* ---- settling ------------------------------------------------------------------------------ */

/* A tree_op that loads what is missing at once: for looking, with locks held only while it looks.
 */
static int jobs_next_drop(struct pool *pool, struct tree_op *op, struct line *line, uint32_t birth,
                          uint64_t blk, struct drop *drop, bool *found)
{
    for (;;)
    {
        /* Under management only its own LUN's writes change the list: they are kept out, others
         * are not. */
        rwlock_take_shared(&pool->cp_gate);
        if (line->lun)
            lock_take(&line->lun->map_lock);
        int r = drops_next(op, line, birth, blk, drop, found);
        if (line->lun)
            lock_release(&line->lun->map_lock);
        rwlock_release(&pool->cp_gate);
        if (r != -EAGAIN)
            return r;
        r = tree_op_load(op);
        if (r < 0)
            return r;
    }
}

static uint64_t line_dropped(const struct line *line)
{
    return atomic_load(&line->dropped_data_blks) + atomic_load(&line->dropped_node_blks);
}

static struct line *jobs_smallest_child(struct line *point)
{
    struct line *smallest = NULL;
    list_for_each (child, &point->children, struct line, child_link)
    {
        if (!smallest || line_dropped(child) < line_dropped(smallest))
            smallest = child;
    }
    return smallest;
}

/* Cuts @drop down to its first part that every child has dropped; false: not even its beginning,
 * and *skip_blks of it are surely not common. */
static int jobs_common_part(struct pool *pool, struct tree_op *op, struct line *point,
                            const struct line *smallest, struct drop *drop, uint64_t *skip_blks,
                            bool *is_common)
{
    *is_common = true;
    list_for_each (child, &point->children, struct line, child_link)
    {
        if (child == smallest)
            continue;
        struct drop other;
        bool found;
        int r = jobs_next_drop(pool, op, child, drop->birth, drop->blk, &other, &found);
        if (r < 0)
            return r;
        if (!found || other.birth != drop->birth || other.blk >= drop->blk + drop->len_blks)
        {
            *skip_blks = drop->len_blks;
            *is_common = false;
            return 0;
        }
        if (other.blk > drop->blk)
        {
            *skip_blks = other.blk - drop->blk;
            *is_common = false;
            return 0;
        }
        drop->len_blks = min_u64(drop->len_blks, other.blk + other.len_blks - drop->blk);
    }
    *skip_blks = drop->len_blks;
    return 0;
}

/* Collects SETTLE actions of one step, @budget at most. *scanned_all: the smallest list was looked
 * at to its end. */
static int jobs_collect(struct pool *pool, struct line *point, unsigned budget,
                        struct writer *writer, bool *scanned_all)
{
    AUTO_TREE_OP struct tree_op op;
    tree_op_init(&op, pool);
    struct line *smallest = jobs_smallest_child(point);
    uint32_t birth = point->scan_birth;
    uint64_t blk = point->scan_blk;
    *scanned_all = false;
    for (unsigned scanned = 0; scanned < JOBS_SCAN_RANGES && budget > 0; scanned++)
    {
        struct drop drop;
        bool found, is_common;
        uint64_t skip;
        int r = jobs_next_drop(pool, &op, smallest, birth, blk, &drop, &found);
        if (r < 0)
            return r;
        if (!found)
        {
            *scanned_all = true;
            point->scan_birth = 0;
            point->scan_blk = 0;
            return 0;
        }
        if (drop.birth == birth && drop.blk < blk)
        {
            drop.len_blks -= blk - drop.blk;
            drop.blk = blk;
        }
        r = jobs_common_part(pool, &op, point, smallest, &drop, &skip, &is_common);
        if (r < 0)
            return r;
        if (is_common)
        {
            action_settle(writer, point->object.id, drop.birth, drop.blk, (uint32_t)drop.len_blks,
                          drop.is_node);
            budget--;
        }
        birth = drop.birth;
        blk = drop.blk + skip;
    }
    point->scan_birth = birth;
    point->scan_blk = blk;
    return 0;
}

/* Settles what is common, @budget ranges at most. If it cannot, the scan stands where it was. */
static int jobs_settle_common(struct pool *pool, struct line *point, unsigned budget,
                              struct writer *writer, bool *scanned_all)
{
    uint32_t birth = point->scan_birth;
    uint64_t blk = point->scan_blk;
    writer->len = 0;
    int r = jobs_collect(pool, point, budget, writer, scanned_all);
    if (r == 0 && writer->len > 0)
        r = change_run_waiting(pool, CHANGE_MANAGEMENT, NULL, writer->bytes, writer->len,
                               SPACE_FREEING);
    if (r < 0)
    {
        point->scan_birth = birth;
        point->scan_blk = blk;
    }
    return r;
}

/* One step on a hidden point. *more: look again at once. */
static int jobs_settle(struct pool *pool, struct line *point, bool *more)
{
    *more = false;
    jobs_note_work(pool, JOBS_REST_AFTER);
    AUTO_WRITER struct writer writer = {0};
    if (atomic_load(&point->undropped_children) == 0)
    {
        /* What became common behind the scan meanwhile is found by one more from the start. */
        bool from_start = point->scan_birth == 0 && point->scan_blk == 0, scanned_all;
        unsigned budget = (unsigned)max_u64(1, JOBS_SETTLE_RANGES / point->child_count);
        int r = jobs_settle_common(pool, point, budget, &writer, &scanned_all);
        if (r == -ENOSPC) /* what one may take is less */
            r = jobs_settle_common(pool, point, 1, &writer, &scanned_all);
        *more = !scanned_all || writer.len > 0 || !from_start;
        return r;
    }
    if (point->child_count != 1)
        return 0;
    if (!loan_is_awaited(pool))
    {
        *more = true; /* the next step begins with that */
        return 0;
    }
    action_hand_over(&writer, point->object.id);
    int r =
        change_run_waiting(pool, CHANGE_MANAGEMENT, NULL, writer.bytes, writer.len, SPACE_FREEING);
    /* A write has put something into the child's list since the look at it. */
    *more = r == -EBUSY;
    return *more ? 0 : r;
}

/* ---- steps --------------------------------------------------------------------------------- */

static const char *jobs_kind(const struct line *line)
{
    if (lineage_is_leaf(line))
        return "delete";
    return line->child_count == 1 ? "merge" : "reclaim";
}

/* What is damaged now is damaged the next time: the line rests until the pool is opened again, or
 * something beside it changes. */
static void jobs_fail(struct pool *pool, struct line *line, int r)
{
    if (atomic_exchange(&line->job_error, r) == r)
        return;
    log_error("job %" PRIu64 " (%s) met damaged metadata and stops", line->object.id,
              jobs_kind(line));
    event_add(pool, "error", "job.failed", NULL,
              "job %" PRIu64 " (%s) met damaged metadata and stops, its space stays taken until "
              "'lunette pool repair'; 'lunette pool check' shows what is damaged",
              line->object.id, jobs_kind(line));
}

/* The line has more to do, or failed with @r. */
static void jobs_go_on(struct pool *pool, struct line *line, int r)
{
    if (r == -EBADMSG)
        jobs_fail(pool, line, r);
    else
        jobs_kick(pool, line);
}

/* With pool->management. 1: did something. */
static int jobs_step_line(struct pool *pool, struct line *line)
{
    if (lineage_is_leaf(line))
    {
        if (!lineage_may_walk(line))
        {
            /* Kicked again when its neighbours change. The point may have waited for this. */
            if (line->predecessor->child_count == 1)
                jobs_kick(pool, line->predecessor);
            return 0;
        }
        bool is_last = line->walk_phase >= lineage_walk_phases(line);
        int r = jobs_walk(pool, line);
        if (r < 0 || !is_last)
            jobs_go_on(pool, line, r);
        return r < 0 ? r : 1;
    }
    if (!lineage_may_settle(line))
        return 0;
    /* A single child ends the point; several share one only when all have dropped something. */
    if (atomic_load(&line->undropped_children) > 0 && line->child_count != 1)
        return 0;
    bool is_merge = line->child_count == 1 && atomic_load(&line->undropped_children) > 0;
    if (is_merge && ledger_is_bound(line))
        return 0; /* kicked again when the guarantee ends */
    bool more;
    int r = jobs_settle(pool, line, &more);
    if (r < 0 || more)
        jobs_go_on(pool, line, r);
    return r < 0 ? r : is_merge || more;
}

static void jobs_fail_trim(struct pool *pool, struct lun_object *lun)
{
    atomic_store(&lun->trim_failed, true);
    event_add(pool, "error", "job.failed", lun->name,
              "what '%s' was shrunk by stays taken: its metadata is damaged; 'lunette pool check' "
              "shows what is damaged",
              lun->name);
}

/*
 * A tail that is shared frees nothing, and takes nodes as a write does. The reserve is for what
 * frees, so without room for these the tail waits, and neither other tails nor lines wait for it.
 * 1: did something.
 */
static int jobs_step_trims(struct pool *pool)
{
    bool waits = false;
    list_for_each (lun, &pool->luns, struct lun_object, all_link)
    {
        if (lun->trim_end_bytes == 0 || atomic_load(&lun->trim_failed))
            continue;
        jobs_note_work(pool, JOBS_REST_AFTER);
        unsigned tries = CHECKPOINT_TRIES;
        int r = lun_trim_tail_step(pool, lun, &tries);
        if (r == -EBADMSG)
            jobs_fail_trim(pool, lun);
        if (r != 0 && r != -ENOSPC)
            return r;
        waits |= r == -ENOSPC;
    }
    atomic_store(&pool->job_trims, false);
    atomic_store(&pool->job_lazy_trims, waits);
    return 0;
}

static int jobs_step(struct pool *pool, bool with_lazy)
{
    int r = pool_may_change(pool);
    if (r < 0)
        return r;
    loan_await(pool);
    AUTO_LOCK(&pool->management);
    bool with_waiting = with_lazy && atomic_load(&pool->job_lazy_trims);
    if (atomic_load(&pool->job_trims))
    {
        with_waiting = false; /* they are among these */
        r = jobs_step_trims(pool);
        if (r != 0)
            return r;
    }
    for (;;)
    {
        struct line *line = jobs_take(pool, with_lazy);
        if (!line)
            return with_waiting ? jobs_step_trims(pool) : 0;
        r = jobs_step_line(pool, line);
        if (r != 0)
            return r;
    }
}

int pool_run_job_step(struct pool *pool)
{
    return jobs_step(pool, true);
}

/* Waits for work; lazy work becomes due after a while without any other. False: stop. */
static bool jobs_wait_for_work(struct pool *pool)
{
    AUTO_LOCK(&pool->job_lock);
    while (!pool->job_stop && list_is_empty(&pool->job_lines) && !atomic_load(&pool->job_trims))
    {
        pool->job_is_idle = true;
        condition_wake_all(&pool->job_idle);
        if (!condition_wait_ms(&pool->job_wake, &pool->job_lock, JOBS_LAZY_MS))
            jobs_end_delay_locked(pool);
    }
    pool->job_is_idle = false;
    return !pool->job_stop;
}

void *jobs_thread(void *opaque)
{
    struct pool *pool = opaque;
    while (jobs_wait_for_work(pool))
    {
        int r = jobs_step(pool, false);
        if (r >= 0)
        {
            jobs_give_way(pool);
            continue;
        }
        if (r != -ENOSPC && r != -EAGAIN && r != -EBADMSG)
            pool_note_job(pool, r);
        AUTO_LOCK(&pool->job_lock);
        if (!pool->job_stop)
            ignore_error(!condition_wait_ms(&pool->job_stop_wake, &pool->job_lock,
                                            r == -ENOSPC ? JOBS_PAUSE_MS : 1000),
                         "only a pause");
    }
    return NULL;
}

/* ---- listing, waiting ---------------------------------------------------------------------- */

/* Whether there is work on the line that will end by itself, or failed. */
static bool jobs_has_work(const struct line *line)
{
    if (lineage_is_leaf(line))
        return true;
    if (!line_is_hidden_point(line) || line->child_count != 1)
        return false;
    return atomic_load(&line->undropped_children) == 0 || !ledger_is_bound(line);
}

static bool jobs_has_failed(const struct line *line)
{
    return atomic_load(&line->job_error) != 0;
}

static const char *jobs_state(const struct line *line)
{
    if (jobs_has_failed(line))
        return "failed";
    return lineage_is_leaf(line) && !lineage_may_walk(line) ? "waiting" : "running";
}

/* A repair gives up lines, and makes drop lists anew; a LUN that lives stays as it is. */
static void jobs_describe_problem(struct job_info *job, bool is_mended)
{
    snprintf(job->problem, sizeof(job->problem),
             "it met damaged metadata, its space stays taken%s; 'lunette pool check' shows what is "
             "damaged",
             is_mended ? " until 'lunette pool repair'" : "");
}

static void jobs_describe_line(const struct line *line, struct job_info *job)
{
    job->id = line->object.id;
    snprintf(job->kind, sizeof(job->kind), "%s", jobs_kind(line));
    snprintf(job->state, sizeof(job->state), "%s", jobs_state(line));
    if (jobs_has_failed(line))
        jobs_describe_problem(job, true);
    job->total_blks = atomic_load(&line->own_blks);
}

/* By the LUN's id: a LUN has one tail, and lines have other ids. */
static void jobs_describe_trim(const struct pool *pool, const struct lun_object *lun,
                               struct job_info *job)
{
    bool has_failed = atomic_load(&lun->trim_failed), is_due = atomic_load(&pool->job_trims);
    job->id = lun->object.id;
    snprintf(job->kind, sizeof(job->kind), "shrink");
    snprintf(job->subject, sizeof(job->subject), "%s", lun->name);
    snprintf(job->state, sizeof(job->state), "%s",
             has_failed ? "failed"
             : is_due   ? "running"
                        : "waiting");
    if (has_failed)
        jobs_describe_problem(job, false);
}

static size_t jobs_count_trims(const struct pool *pool)
{
    size_t count = 0;
    list_for_each (lun, &pool->luns, struct lun_object, all_link)
        count += lun->trim_end_bytes != 0;
    return count;
}

int job_list(struct pool *pool, struct job_info **list, size_t *count)
{
    rwlock_take_shared(&pool->catalog_lock);
    struct job_info *jobs = calloc(pool->line_count + jobs_count_trims(pool) + 1, sizeof(*jobs));
    size_t n = 0;
    list_for_each (line, &pool->lines, struct line, all_link)
    {
        if (jobs && jobs_has_work(line))
            jobs_describe_line(line, &jobs[n++]);
    }
    list_for_each (lun, &pool->luns, struct lun_object, all_link)
    {
        if (jobs && lun->trim_end_bytes != 0)
            jobs_describe_trim(pool, lun, &jobs[n++]);
    }
    rwlock_release(&pool->catalog_lock);
    if (!jobs)
        return -ENOMEM;
    n += scrub_describe(pool, &jobs[n]);
    *list = jobs;
    *count = n;
    return 0;
}

/* What there is of job @id (0: of any). */
struct jobs_seen
{
    bool goes_on, has_failed;
};

static struct jobs_seen jobs_see(struct pool *pool, uint64_t id)
{
    struct jobs_seen seen = {0};
    rwlock_take_shared(&pool->catalog_lock);
    list_for_each (line, &pool->lines, struct line, all_link)
    {
        if (!jobs_has_work(line) || (id != 0 && line->object.id != id))
            continue;
        bool has_failed = jobs_has_failed(line);
        seen.has_failed |= has_failed;
        seen.goes_on |= !has_failed;
    }
    list_for_each (lun, &pool->luns, struct lun_object, all_link)
    {
        if (lun->trim_end_bytes == 0 || (id != 0 && lun->object.id != id))
            continue;
        bool has_failed = atomic_load(&lun->trim_failed);
        seen.has_failed |= has_failed;
        seen.goes_on |= !has_failed;
    }
    rwlock_release(&pool->catalog_lock);
    return seen;
}

/* 1: job @id (0: any) is not done; -EBADMSG: it (0: at least one) failed, and no other is; 0: gone.
 */
static int jobs_look(struct pool *pool, uint64_t id)
{
    struct jobs_seen seen = jobs_see(pool, id);
    if (seen.goes_on || scrub_runs(pool, id))
        return 1;
    return seen.has_failed ? -EBADMSG : 0;
}

/*
 * Whether a job has, or can have had, the number @id. Numbers are ids of objects, never used again:
 * what is gone may have been a job, however long ago; what is there is none unless it is of a kind
 * that jobs work on.
 */
static bool jobs_can_have_been(struct pool *pool, uint64_t id)
{
    bool can = id < atomic_load(&pool->next_id);
    rwlock_take_shared(&pool->catalog_lock);
    const struct object *object = can ? catalog_find_any(pool, id) : NULL;
    const struct line *line =
        object && object->kind == DISK_OBJECT_LINE ? catalog_find_line(pool, id) : NULL;
    if (line)
        can = lineage_is_leaf(line) || line_is_hidden_point(line);
    else if (object)
        can = object->kind == DISK_OBJECT_LUN || object->kind == DISK_OBJECT_VOLUME;
    rwlock_release(&pool->catalog_lock);
    return can;
}

static bool jobs_any_failed(struct pool *pool)
{
    return jobs_see(pool, 0).has_failed;
}

static int jobs_run_inline(struct pool *pool, uint64_t id)
{
    int r;
    while ((r = jobs_look(pool, id)) > 0)
    {
        r = scrub_runs(pool, id) ? pool_scrub_step(pool) : 0;
        if (r < 0)
            return r;
        if (r > 0)
            continue;
        r = pool_run_job_step(pool);
        if (r <= 0 && r != -EBADMSG)
            return r;
    }
    return r;
}

/* Somebody waits for what was put off. */
static void jobs_hurry(struct pool *pool)
{
    AUTO_LOCK(&pool->job_lock);
    jobs_end_delay_locked(pool);
    condition_wake_all(&pool->job_wake);
}

/* The thread may have been woken, and not know it yet. */
static bool jobs_are_idle_locked(const struct pool *pool)
{
    return pool->job_is_idle && list_is_empty(&pool->job_lines) && !atomic_load(&pool->job_trims);
}

int job_wait(struct pool *pool, uint64_t id, uint64_t timeout_ms)
{
    if (id != 0 && !jobs_can_have_been(pool, id))
        return -ENOENT;
    if (!atomic_load(&pool->threads_running))
        return jobs_run_inline(pool, id);
    jobs_hurry(pool);
    enum
    {
        POLL_MS = 10
    };
    for (uint64_t waited = 0;; waited += POLL_MS)
    {
        int r = pool_may_change(pool);
        if (r == 0)
            r = jobs_look(pool, id);
        if (r <= 0)
            return r;
        if (timeout_ms && waited >= timeout_ms)
            return -ETIMEDOUT;
        bool any_failed = id == 0 && jobs_any_failed(pool), scrubs = scrub_runs(pool, 0);
        AUTO_LOCK(&pool->job_lock);
        if (id == 0 && !scrubs && jobs_are_idle_locked(pool))
            return any_failed ? -EBADMSG : 0; /* what is left waits for other things than time */
        ignore_error(!condition_wait_ms(&pool->job_idle, &pool->job_lock, POLL_MS), "a pause");
    }
}
