/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The scrub as a whole: what is read after what, its pace, its thread, what it says.
 *
 *  BEGIN -> SUPERS -> JOURNAL -> SPACE -> PAGES -> LINES -> REWRITE -> END
 *
 * It runs in bounded steps, which hold the checkpoint's lock or the gate only for moments. Blocks
 * of trees are looked up under the gate and read inside an epoch, as reads of data are: what is
 * freed meanwhile is not written again before the epoch is over, so it must be what its pointer
 * says. What is not part of a durable checkpoint yet is left out: it is going to be written.
 *
 * What memory knows better than the device is written anew by checkpoints: superblocks, pages,
 * the catalog's index, tables, and bitmaps that are loaded. A damaged journal is over with the next
 * one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/log.h"
#include "lun/check/scrub_internal.h"
#include "lun/pool/checkpoint.h"

int scrub_create(struct pool *pool, struct scrub **out)
{
    struct scrub *scrub = calloc(1, sizeof(*scrub));
    if (!scrub)
        return -ENOMEM;
    scrub->pool = pool;
    lock_init(&scrub->lock, LOCK_RANK_LEAF);
    condition_init(&scrub->wake);
    *out = scrub;
    return 0;
}

/* What is of one run. */
static void scrub_forget_run(struct scrub *scrub)
{
    for (uint64_t g = 0; g < scrub->visited_groups; g++)
        free(scrub->visited[g]);
    free(scrub->visited);
    free(scrub->lines);
    free(scrub->bad_slots);
    scrub->visited = NULL;
    scrub->visited_groups = 0;
    scrub->lines = NULL;
    scrub->bad_slots = NULL;
    scrub->line_count = scrub->line_at = scrub->bad_slot_count = 0;
    scrub->last_line = scrub->group = scrub->page = scrub->rewritten_pages = 0;
    scrub->passes = scrub->bad_supers = scrub->index = 0;
    scrub->wants_checkpoint = scrub->bad_journal = false;
    scrub->walk = (struct scrub_walk){.is_over = true};
}

void scrub_destroy(struct scrub *scrub)
{
    if (!scrub)
        return;
    scrub_forget_run(scrub);
    writer_destroy(&scrub->said);
    condition_destroy(&scrub->wake);
    lock_destroy(&scrub->lock);
    free(scrub);
}

/* ---- what it says -------------------------------------------------------------------------- */

static void scrub_note(struct scrub *scrub, bool is_error, const char *text)
{
    AUTO_LOCK(&scrub->lock);
    writer_u8(&scrub->said, is_error);
    writer_bytes(&scrub->said, text, strlen(text) + 1);
}

void scrub_say(struct scrub *scrub, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    scrub_note(scrub, false, text);
}

static void scrub_add_damage(struct scrub *scrub, bool is_error, const char *object,
                             const char *text)
{
    uint64_t count;
    {
        AUTO_LOCK(&scrub->lock);
        count = ++scrub->info.damaged_blks;
    }
    if (count > SCRUB_TOLD_MAX)
        return;
    scrub_note(scrub, is_error, text);
    event_add(scrub->pool, is_error ? "error" : "warning", "scrub.damaged", object, "%.255s", text);
}

void scrub_say_damage(struct scrub *scrub, const char *object, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    scrub_add_damage(scrub, true, object, text);
}

void scrub_warn_damage(struct scrub *scrub, const char *format, ...)
{
    char text[512] = "WARNING: ";
    size_t len = strlen(text);
    va_list args;
    va_start(args, format);
    vsnprintf(text + len, sizeof(text) - len, format, args);
    va_end(args);
    scrub_add_damage(scrub, false, NULL, text);
}

int scrub_read(struct scrub *scrub, uint64_t blk, void *buf)
{
    scrub->step_blks++;
    return device_read(scrub->pool->device, buf, BLK_BYTES, blk * BLK_BYTES);
}

const char *scrub_what(int r)
{
    return r == -EBADMSG ? "holds something else than was written" : "cannot be read";
}

/* ---- steps --------------------------------------------------------------------------------- */

static int scrub_begin(struct scrub *scrub)
{
    return pool_may_change(scrub->pool) == 0 ? checkpoint_wait(scrub->pool) : 0;
}

/* Two: each writes other copies of the superblock, and the other half of the journal. */
static int scrub_rewrite(struct scrub *scrub)
{
    if (!scrub->wants_checkpoint)
        return 0;
    if (pool_may_change(scrub->pool) < 0)
    {
        scrub_say(scrub, "copies that are damaged would be written anew if the pool were open for "
                         "writing");
        return 0;
    }
    int r = checkpoint_wait(scrub->pool);
    if (r == 0)
        r = checkpoint_wait(scrub->pool);
    return r == 0 ? scrub_step_rewritten(scrub) : r;
}

static void scrub_conclude(struct scrub *scrub)
{
    struct scrub_info info;
    {
        AUTO_LOCK(&scrub->lock);
        scrub->info.total_blks = scrub->info.done_blks;
        info = scrub->info;
    }
    if (info.damaged_blks > SCRUB_TOLD_MAX)
        scrub_say(scrub, "%" PRIu64 " more damaged blocks are not listed",
                  info.damaged_blks - SCRUB_TOLD_MAX);
    event_add(scrub->pool,
              info.damaged_blks > info.repaired_blks + info.spare_blks ? "error" : "info",
              "scrub.finished", NULL,
              "%" PRIu64 " blocks of metadata were read, %" PRIu64 " of them are damaged, %" PRIu64
              " of these were written anew",
              info.done_blks, info.damaged_blks, info.repaired_blks);
}

/* One step of the present phase; 0: the last one is over. */
static int scrub_step_phase(struct scrub *scrub)
{
    static int (*const steps[])(struct scrub * scrub) = {
        [SCRUB_BEGIN] = scrub_begin,          [SCRUB_SUPERS] = scrub_step_supers,
        [SCRUB_JOURNAL] = scrub_step_journal, [SCRUB_SPACE] = scrub_step_space,
        [SCRUB_PAGES] = scrub_step_pages,     [SCRUB_LINES] = scrub_step_lines,
        [SCRUB_REWRITE] = scrub_rewrite,
    };
    int r = steps[scrub->phase](scrub);
    if (r == 0)
        scrub->phase++;
    if (r < 0)
        return r;
    return scrub->phase < SCRUB_END;
}

static void scrub_end(struct scrub *scrub, int r)
{
    uint64_t now_ns = scrub->pool->env->now_ns(scrub->pool->env);
    scrub_forget_run(scrub);
    AUTO_LOCK(&scrub->lock);
    scrub->info.is_running = false;
    scrub->info.is_cancelled = r == -ECANCELED;
    scrub->info.error = r == -ECANCELED ? 0 : r;
    scrub->info.ended_ns = now_ns;
    condition_wake_all(&scrub->wake);
}

/* 1: go on; 0: it is over; an error ends it too. */
static int scrub_step(struct scrub *scrub)
{
    bool is_stopped;
    {
        AUTO_LOCK(&scrub->lock);
        if (!scrub->info.is_running)
            return 0;
        is_stopped = scrub->is_stopped;
    }
    scrub->step_blks = 0;
    int r = is_stopped ? -ECANCELED : scrub_step_phase(scrub);
    {
        AUTO_LOCK(&scrub->lock);
        scrub->info.done_blks += scrub->step_blks;
        scrub->info.total_blks = max_u64(scrub->info.total_blks, scrub->info.done_blks + 1);
    }
    if (r == 0)
        scrub_conclude(scrub);
    if (r <= 0)
        scrub_end(scrub, r);
    return r;
}

/* ---- its thread ---------------------------------------------------------------------------- */

/* So long that what was read makes up its rate. */
static void scrub_pause(struct scrub *scrub, uint64_t *debt_bytes)
{
    if (scrub->rate_bytes == 0)
        return;
    *debt_bytes += scrub->step_blks * BLK_BYTES;
    uint64_t pause_ms = *debt_bytes * 1000 / scrub->rate_bytes;
    if (pause_ms == 0)
        return;
    *debt_bytes -= pause_ms * scrub->rate_bytes / 1000;
    AUTO_LOCK(&scrub->lock);
    if (!scrub->is_stopped)
        ignore_error(!condition_wait_ms(&scrub->wake, &scrub->lock, pause_ms), "a pause");
}

static void *scrub_thread(void *opaque)
{
    struct scrub *scrub = opaque;
    uint64_t debt_bytes = 0;
    int r;
    while ((r = scrub_step(scrub)) > 0)
        scrub_pause(scrub, &debt_bytes);
    if (r < 0 && r != -ECANCELED)
    {
        log_error("the scrub of pool '%s' ended early: %s", scrub->pool->path, strerror(-r));
        event_add(scrub->pool, "error", "scrub.failed", NULL, "the scrub ended early: %s",
                  strerror(-r));
    }
    return NULL;
}

static void scrub_join(struct scrub *scrub)
{
    bool has_thread;
    {
        AUTO_LOCK(&scrub->lock);
        has_thread = scrub->has_thread;
        scrub->has_thread = false;
    }
    if (has_thread)
        pthread_join(scrub->thread, NULL);
}

static void scrub_tell_to_stop(struct scrub *scrub)
{
    AUTO_LOCK(&scrub->lock);
    scrub->is_stopped = true;
    condition_wake_all(&scrub->wake);
}

void scrub_stop(struct pool *pool)
{
    if (!pool->scrub)
        return;
    scrub_tell_to_stop(pool->scrub);
    scrub_join(pool->scrub);
}

/* ---- for others ---------------------------------------------------------------------------- */

/* Blocks that it is going to read, if nothing changes. */
static uint64_t scrub_estimate(struct pool *pool)
{
    struct space_stats space;
    struct journal_stats journal;
    space_get_stats(pool->space, &space);
    journal_get_stats(pool->journal, &journal);
    uint64_t groups = atomic_load(&pool->size_blks) / pool->group_blks;
    uint64_t tables = div_round_up(groups, DISK_TABLE_FANOUT);
    return 4 + div_round_up(journal.used_bytes, BLK_BYTES) + space.node_blks +
           2 * (groups + tables + div_round_up(tables, DISK_TABLE_FANOUT));
}

static int scrub_begin_run(struct scrub *scrub, const struct scrub_options *options)
{
    struct pool *pool = scrub->pool;
    uint64_t groups = div_round_up(atomic_load(&pool->size_blks), pool->group_blks);
    scrub_forget_run(scrub);
    scrub->visited = calloc(groups, sizeof(*scrub->visited));
    if (!scrub->visited)
        return -ENOMEM;
    scrub->visited_groups = groups;
    scrub->rate_bytes = options->rate_bytes;
    scrub->phase = SCRUB_BEGIN;
    scrub->walk = (struct scrub_walk){0};
    uint64_t total_blks = scrub_estimate(pool);
    uint64_t id = atomic_fetch_add(&pool->next_id, 1);
    uint64_t now_ns = pool->env->now_ns(pool->env);
    AUTO_LOCK(&scrub->lock);
    scrub->is_stopped = false;
    scrub->said.len = 0;
    scrub->info = (struct scrub_info){
        .id = id, .is_running = true, .started_ns = now_ns, .total_blks = total_blks};
    return 0;
}

int pool_scrub_start(struct pool *pool, const struct scrub_options *options, uint64_t *id,
                     struct reason *why)
{
    reason_clear(why);
    struct scrub *scrub = pool->scrub;
    AUTO_LOCK(&pool->management);
    if (scrub_runs(pool, 0))
        return reason_set(why, -EBUSY,
                          "a scrub runs already, as job %" PRIu64
                          "; 'lunette job wait' waits for it, 'lunette job cancel' ends it",
                          scrub->info.id);
    scrub_join(scrub);
    int r = scrub_begin_run(scrub, options);
    if (r < 0)
        return r;
    *id = scrub->info.id;
    if (!atomic_load(&pool->threads_running))
        return 0;
    r = pthread_create(&scrub->thread, NULL, scrub_thread, scrub);
    if (r != 0)
    {
        scrub_end(scrub, -r);
        return reason_set(why, -r, "a thread for the scrub cannot be made: %s", strerror(r));
    }
    AUTO_LOCK(&scrub->lock);
    scrub->has_thread = true;
    return 0;
}

int pool_scrub_step(struct pool *pool)
{
    return scrub_step(pool->scrub);
}

int pool_scrub_cancel(struct pool *pool, uint64_t id)
{
    if (!scrub_runs(pool, id))
        return -ENOENT;
    scrub_tell_to_stop(pool->scrub);
    return 0;
}

bool scrub_runs(struct pool *pool, uint64_t id)
{
    struct scrub *scrub = pool->scrub;
    AUTO_LOCK(&scrub->lock);
    return scrub->info.is_running && (id == 0 || scrub->info.id == id);
}

bool scrub_describe(struct pool *pool, struct job_info *job)
{
    struct scrub *scrub = pool->scrub;
    AUTO_LOCK(&scrub->lock);
    if (!scrub->info.is_running)
        return false;
    *job = (struct job_info){.id = scrub->info.id,
                             .kind = "scrub",
                             .state = "running",
                             .done_blks = scrub->info.done_blks,
                             .total_blks = scrub->info.total_blks};
    snprintf(job->subject, sizeof(job->subject), "%s", pool->name);
    return true;
}

int pool_scrub_get(struct pool *pool, struct scrub_info *info, check_report_fn *report,
                   void *opaque)
{
    struct scrub *scrub = pool->scrub;
    AUTO_WRITER struct writer said = {0};
    {
        AUTO_LOCK(&scrub->lock);
        *info = scrub->info;
        if (scrub->said.len > 0)
            writer_bytes(&said, scrub->said.bytes, scrub->said.len);
    }
    if (said.failed)
        return -ENOMEM;
    struct reader reader = reader_of(said.bytes, said.len);
    while (report && reader_left(&reader) > 0)
    {
        bool is_error = reader_u8(&reader) != 0;
        const char *text = (const char *)reader.at;
        report(opaque, is_error, text);
        ignore_error(!reader_bytes(&reader, strlen(text) + 1), "we wrote it");
    }
    return 0;
}
