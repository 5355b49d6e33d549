/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pipeline: cuts the source into chunks by its map, keeps a bounded number of them under way,
 * retires them in order, flushes the destination now and then.
 *
 *           fill               results         retire (in order)
 *   source -------> window of chunks -------> done -------> counts, retired --flush--> durable
 *
 * A lost source is connected again and the requests that it lost are made again. A lost destination
 * may have lost everything that was not flushed, so the copy goes back to what is durable.
 *
 * Always true: durable <= retired <= next; counts are those of [0, retired).
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"
#include "lun/base/log.h"
#include "server/ctl/transfer_internal.h"

enum
{
    PIPE_POLL_MS = 200,
    PIPE_POLL_WAITING_MS = 20,
    PIPE_RATE_MARK_MS = 2500,
};

/* Of a hole that is zeroed or verified, so that several are under way. */
#define PIPE_HOLE_MAX_BYTES (UINT64_C(64) << 20)

uint64_t transfer_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void transfer_fail(struct transfer *t, int err, const char *format, ...)
{
    if (t->err < 0)
        return;
    t->err = err;
    if (!t->why)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(t->why->text, sizeof(t->why->text), format, args);
    va_end(args);
}

static bool pipe_is_source(const struct transfer *t, const struct endpoint *endpoint)
{
    return endpoint == t->source;
}

/* ---- requests that failed ------------------------------------------------------------------- */

static const char *pipe_doing(const struct request *request)
{
    static const char *const names[] = {
        [REQUEST_READ] = "reading",
        [REQUEST_WRITE] = "writing",
        [REQUEST_ZERO] = "zeroing",
        [REQUEST_FLUSH] = "flushing",
        [REQUEST_MAP] = "asking for the holes of",
    };
    return names[request->kind];
}

static void pipe_fail_request(struct transfer *t, const struct endpoint *endpoint,
                              const struct request *request)
{
    char place[96] = "";
    char full[96] = "";
    if (request->kind != REQUEST_FLUSH)
        snprintf(place, sizeof(place), " at offset %llu, %llu bytes",
                 (unsigned long long)request->offset_bytes, (unsigned long long)request->len_bytes);
    if (request->result == -ENOSPC)
        snprintf(full, sizeof(full), "; %llu of %llu bytes are done",
                 (unsigned long long)t->retired, (unsigned long long)t->size_bytes);
    int err = request->result == -EAGAIN ? -EIO : request->result;
    transfer_fail(t, err, "%s the %s %s failed%s: %s%s%s%s", pipe_doing(request),
                  pipe_is_source(t, endpoint) ? "source" : "destination", endpoint->name, place,
                  request->result == -EAGAIN ? "it is busy" : strerror(-request->result),
                  request->text[0] ? ": " : "", request->text, full);
}

/* ---- the source's map ----------------------------------------------------------------------- */

static void pipe_take_map(struct transfer *t)
{
    struct request *request = &t->map_request;
    t->map_busy = false;
    if (request->result == 0)
    {
        t->map_count = request->extent_count;
        t->map_at = 0;
    }
    else if (request->result == -ENOTSUP ||
             (request->result == -EAGAIN && ++t->map_busy_count > TRANSFER_BUSY_MAX))
        t->source->can_map = false;
    else if (request->result != -ENOTCONN && request->result != -EAGAIN)
        pipe_fail_request(t, t->source, request);
}

/* Whether t->map[t->map_at] covers t->next now; else it has been asked for. */
static bool pipe_has_map(struct transfer *t)
{
    while (t->map_at < t->map_count &&
           t->map[t->map_at].offset_bytes + t->map[t->map_at].len_bytes <= t->next)
        t->map_at++;
    if (t->map_at < t->map_count)
        return true;
    if (!t->source->can_map || t->options->ignore_map)
    {
        t->map[0] =
            (struct block_extent){.offset_bytes = t->next, .len_bytes = t->size_bytes - t->next};
        t->map_at = 0;
        t->map_count = 1;
        return true;
    }
    if (t->map_busy || t->source->lost)
        return false;
    uint64_t from = round_down(t->next, t->source->align_bytes);
    t->map_request = (struct request){.kind = REQUEST_MAP,
                                      .offset_bytes = from,
                                      .len_bytes = t->size_bytes - from,
                                      .extents = t->map};
    t->map_count = t->map_at = 0;
    t->map_busy = true;
    endpoint_submit(t->source, &t->map_request);
    return false;
}

/* The longest hole that makes one chunk. */
static uint64_t pipe_hole_max(const struct transfer *t)
{
    if (t->phase == TRANSFER_VERIFYING)
        return t->destination->can_map ? PIPE_HOLE_MAX_BYTES : t->block_bytes;
    if (t->skips_zeros)
        return UINT64_MAX;
    return t->destination->can_zero ? PIPE_HOLE_MAX_BYTES : t->block_bytes;
}

/* What chunk begins at t->next: holes shrink to whole granules, data grows to them. */
static void pipe_cut(const struct transfer *t, struct chunk *chunk)
{
    const struct block_extent *one = &t->map[t->map_at];
    uint64_t end = min_u64(one->offset_bytes + one->len_bytes, t->size_bytes);
    uint64_t hole_end = end == t->size_bytes ? end : round_down(end, t->granule_bytes);
    chunk->offset = t->next;
    chunk->is_hole = one->is_zero && hole_end > t->next;
    if (chunk->is_hole)
        chunk->len = min_u64(hole_end - t->next, pipe_hole_max(t));
    else
        chunk->len = min_u64(min_u64(round_up(end, t->granule_bytes), t->size_bytes) - t->next,
                             t->block_bytes);
    chunk->counts = (struct transfer_counts){0};
    if (t->phase == TRANSFER_COPYING && chunk->is_hole)
        chunk->counts.hole = chunk->len;
}

static void pipe_fill(struct transfer *t)
{
    while (t->err == 0 && t->next < t->size_bytes && !list_is_empty(&t->spare) && !t->must_rewind &&
           !t->source->lost && !t->destination->lost && pipe_has_map(t))
    {
        struct chunk *chunk = container_of(t->spare.next, struct chunk, link);
        pipe_cut(t, chunk);
        chunk->is_read = false;
        chunk->progress = chunk->plain_until = 0;
        chunk->busy_count = 0;
        if (!chunk_alloc_buffers(t, chunk))
        {
            transfer_fail(t, -ENOMEM, "out of memory: %u blocks of %llu bytes are too much",
                          t->depth, (unsigned long long)t->block_bytes);
            return;
        }
        list_remove(&chunk->link);
        list_add_tail(&t->window, &chunk->link);
        t->next += chunk->len;
        chunk_step(t, chunk);
    }
}

/* ---- results -------------------------------------------------------------------------------- */

static void pipe_wait_busy(struct transfer *t, struct endpoint *endpoint, struct chunk *chunk)
{
    if (++chunk->busy_count > TRANSFER_BUSY_MAX)
        pipe_fail_request(t, endpoint, &chunk->request);
    chunk->wait_until_ms = transfer_now_ms() + TRANSFER_BUSY_MS;
}

static void pipe_take_chunk(struct transfer *t, struct endpoint *endpoint, struct chunk *chunk)
{
    const struct request *request = &chunk->request;
    chunk->state = CHUNK_WAITING;
    chunk->wait_until_ms = 0;
    switch (request->result)
    {
    case 0:
        chunk->busy_count = 0;
        chunk_take_result(t, chunk);
        break;
    case -ENOTCONN: /* goes on when it is connected again */
        return;
    case -EAGAIN:
        pipe_wait_busy(t, endpoint, chunk);
        return;
    case -ENOTSUP:
        if (request->kind == REQUEST_ZERO)
            endpoint->can_zero = false;
        else if (request->kind == REQUEST_MAP)
            endpoint->can_map = false;
        else
            pipe_fail_request(t, endpoint, request);
        break;
    default:
        pipe_fail_request(t, endpoint, request);
    }
    bool is_whole = chunk->progress == chunk->len && (chunk->is_hole || chunk->is_read);
    if (t->err == 0 || (is_whole && request->result == 0))
        chunk_step(t, chunk);
}

static void pipe_take_flush(struct transfer *t)
{
    const struct request *request = &t->flush_request;
    t->flush_busy = false;
    if (request->result == 0)
    {
        t->durable = t->flush_to;
        t->durable_counts = t->flush_counts;
        struct reason why = {0};
        if (t->options->resume_file && transfer_save(t, &why) < 0)
            log_warning("%s: an interrupted transfer would begin at an earlier place", why.text);
    }
    else if (request->result == -EAGAIN)
        t->flush_wait_until_ms = transfer_now_ms() + TRANSFER_BUSY_MS;
    else if (request->result != -ENOTCONN)
    {
        t->flush_failed = true; /* what it left behind is unknown: never tried again */
        pipe_fail_request(t, t->destination, request);
    }
}

static void pipe_take_completed(struct transfer *t, struct endpoint *endpoint, uint64_t *alive_ms)
{
    struct request *request = endpoint_take_completed(endpoint);
    while (request)
    {
        *alive_ms = transfer_now_ms();
        if (request == &t->map_request)
            pipe_take_map(t);
        else if (request == &t->flush_request)
            pipe_take_flush(t);
        else
            pipe_take_chunk(t, endpoint, request->owner);
        request = endpoint_take_completed(endpoint);
    }
}

static void pipe_add_counts(struct transfer_counts *to, const struct transfer_counts *from)
{
    to->read += from->read;
    to->hole += from->hole;
    to->written += from->written;
    to->zeroed += from->zeroed;
    to->skipped += from->skipped;
    to->verified += from->verified;
}

static void pipe_retire(struct transfer *t)
{
    while (!list_is_empty(&t->window))
    {
        struct chunk *chunk = container_of(t->window.next, struct chunk, link);
        if (chunk->state != CHUNK_DONE)
            break;
        list_remove(&chunk->link);
        list_add_head(&t->spare, &chunk->link);
        pipe_add_counts(&t->counts, &chunk->counts);
        t->retired = chunk->offset + chunk->len;
    }
    if (t->retired > t->high_water)
    {
        t->high_water = t->retired;
        t->attempts = 0;
    }
}

/* ---- flush ---------------------------------------------------------------------------------- */

static bool pipe_is_idle(const struct transfer *t)
{
    return t->source->in_flight == 0 && t->destination->in_flight == 0;
}

/* Whether what is done should be made durable now. */
static bool pipe_wants_flush(const struct transfer *t)
{
    if (t->phase != TRANSFER_COPYING || t->flush_busy || t->flush_failed || t->must_rewind ||
        t->destination->lost || transfer_now_ms() < t->flush_wait_until_ms)
        return false;
    if (t->err < 0) /* so that a resumed one has less to do */
        return t->options->resume_file && !t->last_flush_tried && pipe_is_idle(t) &&
               t->retired > t->durable;
    if (t->retired == t->size_bytes)
        return t->durable < t->size_bytes || !t->last_flush_tried;
    return t->retired - t->durable >= t->flush_bytes;
}

static void pipe_flush(struct transfer *t)
{
    if (!pipe_wants_flush(t))
        return;
    if (t->err < 0 || t->retired == t->size_bytes)
        t->last_flush_tried = true;
    t->flush_busy = true;
    t->flush_to = t->retired;
    t->flush_counts = t->counts;
    t->flush_request = (struct request){.kind = REQUEST_FLUSH};
    endpoint_submit(t->destination, &t->flush_request);
}

/* ---- lost connections ----------------------------------------------------------------------- */

/* Back to what is durable. Everything that was under way has come back. */
static void pipe_rewind(struct transfer *t)
{
    INVARIANT(t->phase == TRANSFER_COPYING);
    list_for_each_safe (chunk, &t->window, struct chunk, link)
    {
        list_remove(&chunk->link);
        list_add_tail(&t->spare, &chunk->link);
    }
    t->next = t->retired = t->durable;
    t->counts = t->durable_counts;
    t->map_at = t->map_count = 0;
    t->must_rewind = false;
}

static void pipe_fail_lost(struct transfer *t, struct endpoint *endpoint, const char *detail)
{
    char text[256] = "";
    if (endpoint->companion)
        endpoint->companion->explain(endpoint->companion, text, sizeof(text));
    else
        snprintf(text, sizeof(text), "%u attempts to connect again failed%s%s", t->attempts,
                 detail[0] ? ": " : "", detail);
    transfer_fail(t, -ENOTCONN,
                  "the connection to the %s %s was lost with %llu of %llu bytes done: %s",
                  pipe_is_source(t, endpoint) ? "source" : "destination", endpoint->name,
                  (unsigned long long)t->retired, (unsigned long long)t->size_bytes, text);
}

static void pipe_check_size(struct transfer *t, const struct endpoint *endpoint)
{
    if (pipe_is_source(t, endpoint) && endpoint->size_bytes != t->size_bytes)
        transfer_fail(t, -EIO, "the source %s has changed: it had %llu bytes, now %llu",
                      endpoint->name, (unsigned long long)t->size_bytes,
                      (unsigned long long)endpoint->size_bytes);
    else if (endpoint->size_bytes < t->size_bytes)
        transfer_fail(t, -ENOSPC,
                      "the destination %s has shrunk: it has %llu bytes now, %llu are "
                      "needed",
                      endpoint->name, (unsigned long long)endpoint->size_bytes,
                      (unsigned long long)t->size_bytes);
}

static void pipe_reconnect(struct transfer *t, struct endpoint *endpoint)
{
    uint64_t now_ms = transfer_now_ms();
    if (!endpoint->lost || t->err < 0 || endpoint->in_flight > 0 || now_ms < t->retry_at_ms)
        return;
    struct reason why = {0};
    if (endpoint->no_reconnect || t->attempts >= t->retries)
    {
        pipe_fail_lost(t, endpoint, "");
        return;
    }
    if (!pipe_is_source(t, endpoint) && t->phase == TRANSFER_COPYING)
        t->must_rewind = true;
    t->attempts++;
    int r = endpoint->ops->reconnect(endpoint, &why);
    if (r == 0)
    {
        t->reconnects++;
        t->retry_at_ms = 0;
        t->source_alive_ms = t->destination_alive_ms = transfer_now_ms();
        pipe_check_size(t, endpoint);
        return;
    }
    uint64_t backoff_ms = min_u64((uint64_t)TRANSFER_BACKOFF_MS << min_u64(t->attempts - 1, 10),
                                  TRANSFER_BACKOFF_MAX_MS);
    t->retry_at_ms = transfer_now_ms() + backoff_ms;
    if (t->attempts >= t->retries)
        pipe_fail_lost(t, endpoint, why.text);
}

/* A side that owes answers and gives none is lost too. */
static void pipe_watch(struct transfer *t, struct endpoint *endpoint, uint64_t *alive_ms)
{
    uint64_t limit_ms = t->err == -ECANCELED ? TRANSFER_STALL_CANCELLED_MS : TRANSFER_STALL_MS;
    if (endpoint->in_flight == 0)
        *alive_ms = transfer_now_ms();
    else if (endpoint->ops->disconnect && !endpoint->lost &&
             transfer_now_ms() - *alive_ms > limit_ms)
    {
        log_warning("%s has not answered for %llu s: connecting again", endpoint->name,
                    (unsigned long long)limit_ms / 1000);
        endpoint->ops->disconnect(endpoint);
    }
}

/* Lets chunks go on whose side is back, or whose pause is over. */
static bool pipe_wake_waiting(struct transfer *t)
{
    bool any = false;
    if (t->must_rewind && pipe_is_idle(t) && t->err == 0)
        pipe_rewind(t);
    list_for_each (chunk, &t->window, struct chunk, link)
    {
        if (chunk->state != CHUNK_WAITING)
            continue;
        any = true;
        if (t->err == 0 && !t->must_rewind && !t->source->lost && !t->destination->lost &&
            transfer_now_ms() >= chunk->wait_until_ms)
            chunk_step(t, chunk);
    }
    return any;
}

/* ---- progress ------------------------------------------------------------------------------- */

static uint64_t pipe_rate(struct transfer *t, uint64_t now_ms)
{
    /* Two marks, so that the rate is always that of at least one whole interval. */
    if (t->retired < t->rate_done[0] || t->retired < t->rate_done[1])
        t->rate_ms[0] = t->rate_ms[1] = now_ms, t->rate_done[0] = t->rate_done[1] = t->retired;
    if (now_ms - t->rate_ms[1] >= PIPE_RATE_MARK_MS)
    {
        t->rate_ms[0] = t->rate_ms[1];
        t->rate_done[0] = t->rate_done[1];
        t->rate_ms[1] = now_ms;
        t->rate_done[1] = t->retired;
    }
    uint64_t elapsed_ms = now_ms - t->rate_ms[0];
    if (elapsed_ms == 0)
        return 0;
    return (uint64_t)((double)(t->retired - t->rate_done[0]) * 1000 / (double)elapsed_ms);
}

static void pipe_report(struct transfer *t, bool is_last)
{
    uint64_t now_ms = transfer_now_ms();
    uint32_t interval_ms = t->options->progress_ms ? t->options->progress_ms : 200;
    if (!t->options->progress || (!is_last && now_ms - t->reported_ms < interval_ms))
        return;
    t->reported_ms = now_ms;
    struct transfer_progress progress = {
        .phase = t->phase,
        .total_bytes = t->size_bytes,
        .done_bytes = t->retired,
        .durable_bytes = t->phase == TRANSFER_COPYING ? t->durable : t->size_bytes,
        .read_bytes = t->counts.read,
        .written_bytes = t->counts.written,
        .skipped_bytes = t->counts.skipped,
        .rate_bytes_per_s = pipe_rate(t, now_ms),
        .elapsed_ms = now_ms - t->started_ms,
        .reconnects = t->reconnects,
    };
    t->options->progress(t->options->progress_opaque, &progress);
}

/* ---- the loop ------------------------------------------------------------------------------- */

static void pipe_poll(struct transfer *t, bool is_waiting)
{
    struct pollfd fds[2 * ENDPOINT_FDS_MAX];
    bool is_paused = is_waiting || t->source->lost || t->destination->lost ||
                     transfer_now_ms() < t->flush_wait_until_ms;
    bool has_results =
        !list_is_empty(&t->source->completed) || !list_is_empty(&t->destination->completed);
    int timeout_ms = is_paused ? PIPE_POLL_WAITING_MS : PIPE_POLL_MS;
    if (has_results || (pipe_is_idle(t) && !is_paused))
        timeout_ms = 0;
    size_t source_count = t->source->ops->pollfds(t->source, fds, &timeout_ms);
    size_t count = t->destination->ops->pollfds(t->destination, fds + source_count, &timeout_ms);
    INVARIANT(source_count <= ENDPOINT_FDS_MAX && count <= ENDPOINT_FDS_MAX);
    int r = poll(fds, source_count + count, timeout_ms);
    for (size_t i = 0; r <= 0 && i < source_count + count; i++)
        fds[i].revents = 0;
    t->source->ops->service(t->source, fds, source_count);
    t->destination->ops->service(t->destination, fds + source_count, count);
}

static void pipe_check_cancel(struct transfer *t)
{
    if (t->options->cancel && *t->options->cancel)
        transfer_fail(t, -ECANCELED, "cancelled with %llu of %llu bytes %s",
                      (unsigned long long)t->retired, (unsigned long long)t->size_bytes,
                      t->phase == TRANSFER_COPYING ? "done" : "verified, all of them copied");
}

static bool pipe_is_over(const struct transfer *t)
{
    if (!pipe_is_idle(t))
        return false;
    if (t->err < 0)
        return !pipe_wants_flush(t);
    return t->retired == t->size_bytes &&
           (t->phase == TRANSFER_VERIFYING || (t->durable == t->size_bytes && t->last_flush_tried));
}

static void pipe_run_phase(struct transfer *t)
{
    while (!pipe_is_over(t))
    {
        pipe_check_cancel(t);
        pipe_reconnect(t, t->source);
        pipe_reconnect(t, t->destination);
        bool is_waiting = pipe_wake_waiting(t);
        pipe_fill(t);
        pipe_flush(t);
        pipe_poll(t, is_waiting);
        pipe_take_completed(t, t->source, &t->source_alive_ms);
        pipe_take_completed(t, t->destination, &t->destination_alive_ms);
        pipe_retire(t);
        pipe_watch(t, t->source, &t->source_alive_ms);
        pipe_watch(t, t->destination, &t->destination_alive_ms);
        pipe_report(t, false);
    }
    pipe_report(t, true);
}

static int pipe_start(struct transfer *t)
{
    uint64_t max_bytes = min_u64(t->source->max_io_bytes, t->destination->max_io_bytes);
    t->granule_bytes = max_u64(TRANSFER_GRANULE_BYTES,
                               max_u64(t->source->align_bytes, t->destination->align_bytes));
    t->block_bytes = round_down(min_u64(t->block_bytes, max_bytes), t->granule_bytes);
    if (t->block_bytes == 0)
    {
        transfer_fail(t, -EINVAL,
                      "%s and %s have no request size in common: at most %llu bytes, "
                      "at least %llu",
                      t->source->name, t->destination->name, (unsigned long long)max_bytes,
                      (unsigned long long)t->granule_bytes);
        return t->err;
    }
    list_init(&t->window);
    list_init(&t->spare);
    t->chunks = calloc(t->depth, sizeof(*t->chunks));
    t->zeros = calloc(1, t->block_bytes);
    if (!t->chunks || !t->zeros)
    {
        transfer_fail(t, -ENOMEM, "out of memory");
        return t->err;
    }
    for (uint32_t i = 0; i < t->depth; i++)
        list_add_tail(&t->spare, &t->chunks[i].link);
    return 0;
}

int transfer_pipe_run(struct transfer *t)
{
    if (pipe_start(t) < 0)
        return t->err;
    uint64_t now_ms = transfer_now_ms();
    t->source_alive_ms = t->destination_alive_ms = now_ms;
    t->started_ms = t->reported_ms = now_ms;
    t->next = t->retired = t->high_water = t->durable;
    t->counts = t->durable_counts;
    t->rate_ms[0] = t->rate_ms[1] = now_ms;
    t->rate_done[0] = t->rate_done[1] = t->retired;
    pipe_run_phase(t);
    if (t->err < 0 || !t->options->verify)
        return t->err;
    t->phase = TRANSFER_VERIFYING;
    t->next = t->retired = t->high_water = 0;
    t->map_at = t->map_count = 0;
    pipe_run_phase(t);
    return t->err;
}

void transfer_pipe_destroy(struct transfer *t)
{
    for (uint32_t i = 0; t->chunks && i < t->depth; i++)
    {
        free(t->chunks[i].buffer);
        free(t->chunks[i].other);
        free(t->chunks[i].extents);
    }
    free(t->chunks);
    free(t->zeros);
}
