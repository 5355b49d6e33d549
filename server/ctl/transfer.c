/* SPDX-License-Identifier: BSD-3-Clause */
/* Options in, endpoints opened, pipeline run, resume file kept, result out. */
#include "server/ctl/transfer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "server/ctl/transfer_internal.h"

enum
{
    TRANSFER_FLUSH_BYTES_DEFAULT = 256 << 20,
};

int transfer_size(const char *source, const char *format, uint64_t *size_bytes, struct reason *why)
{
    struct endpoint_open_args args = {
        .place = source, .format = format, .connections = 1, .depth = 1};
    struct endpoint *endpoint = NULL;
    int r = endpoint_open(&args, &endpoint, why);
    if (r < 0)
        return r;
    *size_bytes = endpoint->size_bytes;
    endpoint_destroy(endpoint, false);
    return 0;
}

static int transfer_check_options(const struct transfer_options *options, struct reason *why)
{
    uint32_t block = options->block_bytes;
    if (!options->source || !options->destination)
        return reason_set(why, -EINVAL, "a transfer needs a source and a destination");
    if (block && (block < TRANSFER_BLOCK_BYTES_MIN || block > TRANSFER_BLOCK_BYTES_MAX ||
                  (block & (block - 1)) != 0))
        return reason_set(why, -EINVAL,
                          "a block size of %u bytes is not possible: a power of two from %d to %d",
                          block, TRANSFER_BLOCK_BYTES_MIN, TRANSFER_BLOCK_BYTES_MAX);
    if (options->depth > TRANSFER_DEPTH_MAX)
        return reason_set(why, -EINVAL, "a depth of %u is too much: at most %d", options->depth,
                          TRANSFER_DEPTH_MAX);
    struct stat a, b;
    if (stat(options->source, &a) == 0 && stat(options->destination, &b) == 0 &&
        a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        return reason_set(why, -EINVAL, "%s is both the source and the destination",
                          options->source);
    return 0;
}

/* Whether what the resume file tells is about this transfer. */
static int transfer_check_state(const struct transfer_options *options,
                                const struct transfer_state *state, const struct endpoint *source,
                                const struct endpoint *destination, struct reason *why)
{
    const char *path = options->resume_file;
    if (strcmp(state->source, source->name) != 0)
        return reason_set(why, -ESTALE,
                          "%s is about the source %s, not %s: remove it to begin anew", path,
                          state->source, source->name);
    if (strcmp(state->destination, destination->name) != 0)
        return reason_set(why, -ESTALE,
                          "%s is about the destination %s, not %s: remove it to begin anew", path,
                          state->destination, destination->name);
    if (state->size_bytes != source->size_bytes)
        return reason_set(
            why, -ESTALE,
            "%s has changed since: it had %llu bytes, now %llu; remove %s to begin anew",
            source->name, (unsigned long long)state->size_bytes,
            (unsigned long long)source->size_bytes, path);
    if (strcmp(state->source_identity, source->identity) != 0)
        return reason_set(why, -ESTALE, "%s was changed since: remove %s to begin anew",
                          source->name, path);
    return 0;
}

static void transfer_fill_result(const struct transfer *t, struct transfer_result *result)
{
    /* On failure: what a resumed transfer would begin with, or what is done if it would not. */
    bool is_resumable = t->err < 0 && t->options->resume_file && t->phase == TRANSFER_COPYING;
    const struct transfer_counts *counts = is_resumable ? &t->durable_counts : &t->counts;
    *result = (struct transfer_result){
        .total_bytes = t->size_bytes,
        .read_bytes = counts->read,
        .hole_bytes = counts->hole,
        .written_bytes = counts->written,
        .zeroed_bytes = counts->zeroed,
        .skipped_bytes = counts->skipped,
        .verified_bytes = counts->verified,
        .resumed_from_bytes = t->resumed_from,
        .durable_bytes = t->durable,
        .elapsed_ms = t->started_ms ? transfer_now_ms() - t->started_ms : 0,
        .reconnects = t->reconnects,
    };
}

static int transfer_check_sizes(const struct endpoint *source, const struct endpoint *destination,
                                struct reason *why)
{
    uint64_t needed = round_up(source->size_bytes, destination->align_bytes);
    if (destination->size_bytes >= needed)
        return 0;
    return reason_set(why, -ENOSPC, "%s is too small: it has %llu bytes, %s needs %llu (%llu more)",
                      destination->name, (unsigned long long)destination->size_bytes, source->name,
                      (unsigned long long)needed,
                      (unsigned long long)(needed - destination->size_bytes));
}

static void transfer_apply_options(struct transfer *t)
{
    const struct transfer_options *options = t->options;
    t->depth = options->depth ? options->depth : TRANSFER_DEPTH_DEFAULT;
    t->block_bytes = options->block_bytes ? options->block_bytes : TRANSFER_BLOCK_BYTES_DEFAULT;
    t->flush_bytes = options->flush_bytes ? options->flush_bytes : TRANSFER_FLUSH_BYTES_DEFAULT;
    t->retries = options->retries == 0                     ? TRANSFER_RETRIES_DEFAULT
                 : options->retries == TRANSFER_NO_RETRIES ? 0
                                                           : options->retries;
}

int transfer_run_endpoints(const struct transfer_options *options, struct endpoint *source,
                           struct endpoint *destination, const struct transfer_state *state,
                           struct transfer_result *result, struct reason *why)
{
    struct transfer t = {
        .options = options,
        .source = source,
        .destination = destination,
        .why = why,
        .size_bytes = source->size_bytes,
        .skips_zeros = options->destination_is_zero || destination->reads_as_zero,
    };
    transfer_apply_options(&t);
    int r = transfer_check_sizes(source, destination, why);
    if (r == 0 && state)
    {
        r = transfer_check_state(options, state, source, destination, why);
        t.durable = t.resumed_from = state->durable;
        t.durable_counts = state->counts;
        t.skips_zeros = state->skips_zeros;
    }
    if (r == 0 && options->resume_file)
        r = transfer_save(&t, why); /* that it can be written shows now, not after an hour */
    if (r == 0)
        r = transfer_pipe_run(&t);
    t.err = r;
    if (r == 0 && options->resume_file)
        unlink(options->resume_file);
    if (result)
        transfer_fill_result(&t, result);
    transfer_pipe_destroy(&t);
    return r;
}

static int transfer_open_both(const struct transfer_options *options, bool is_resumed,
                              struct endpoint **source, struct endpoint **destination,
                              struct reason *why)
{
    struct endpoint_open_args args = {
        .place = options->source,
        .format = options->source_format,
        .connections = options->connections,
        .depth = options->depth ? options->depth : TRANSFER_DEPTH_DEFAULT,
    };
    int r = endpoint_open(&args, source, why);
    if (r < 0)
        return r;
    args.place = options->destination;
    args.format = options->destination_format;
    args.is_destination = true;
    args.overwrite = options->overwrite;
    args.resume = is_resumed;
    args.size_bytes = (*source)->size_bytes;
    return endpoint_open(&args, destination, why);
}

int transfer_run(const struct transfer_options *options, struct transfer_result *result,
                 struct reason *why)
{
    struct transfer_state state = {0};
    struct endpoint *source = NULL;
    struct endpoint *destination = NULL;
    if (result)
        *result = (struct transfer_result){0};
    int r = transfer_check_options(options, why);
    if (r < 0)
        return r;
    bool is_resumed = false;
    if (options->resume_file)
    {
        r = transfer_state_load(options->resume_file, &state, why);
        if (r < 0 && r != -ENOENT)
            return r;
        is_resumed = r == 0;
    }
    r = transfer_open_both(options, is_resumed, &source, &destination, why);
    if (r == 0)
        r = transfer_run_endpoints(options, source, destination, is_resumed ? &state : NULL, result,
                                   why);
    if (r == 0 && destination->is_created)
        r = endpoint_sync_folder(options->destination, why);
    bool is_resumable = options->resume_file && access(options->resume_file, F_OK) == 0;
    endpoint_destroy(destination, r < 0 && !is_resumable);
    endpoint_destroy(source, false);
    transfer_state_destroy(&state);
    return r;
}
