/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the transfer module share: the pipeline's state, the resume file. */
#ifndef SERVER_CTL_TRANSFER_INTERNAL_H
#define SERVER_CTL_TRANSFER_INTERNAL_H

#include "server/ctl/transfer.h"
#include "server/ctl/transfer_endpoint.h"

enum
{
    TRANSFER_GRANULE_BYTES = 4096, /* zeros are looked for, and blocks cut, in these units */
    TRANSFER_STALL_MS = 90000,     /* without any answer a connection counts as lost */
    TRANSFER_STALL_CANCELLED_MS = 5000,
    TRANSFER_BUSY_MAX = 100, /* times that one block is sent again to a busy side */
    TRANSFER_BUSY_MS = 100,
    TRANSFER_BACKOFF_MS = 100, /* before the second reconnect; doubles */
    TRANSFER_BACKOFF_MAX_MS = 5000,
};

/* See struct transfer_result. */
struct transfer_counts
{
    uint64_t read, hole, written, zeroed, skipped, verified;
};

enum chunk_state
{
    CHUNK_BUSY,    /* a request is under way */
    CHUNK_WAITING, /* for a connection, or until wait_until_ms; then it goes on where it was */
    CHUNK_DONE,
};

/*
 * A range of the image on its way. What it does next follows from these fields alone (chunk_step),
 * so a request that failed for a passing reason is simply made again.
 */
struct chunk
{
    struct list link; /* window, by offset; or spare */
    enum chunk_state state;
    uint64_t offset, len;
    bool is_hole;         /* the source says: zeros */
    bool is_read;         /* buffer holds the source's bytes */
    uint64_t progress;    /* bytes of it that the destination has */
    uint64_t plain_until; /* verify, of a hole: up to here the destination has to be read */
    uint32_t busy_count;
    uint64_t wait_until_ms;
    struct transfer_counts counts;
    struct request request;
    uint8_t *buffer; /* block_bytes; made when first needed */
    uint8_t *other;  /* the same, for verify */
    struct block_extent *extents;
};

struct transfer
{
    const struct transfer_options *options;
    struct endpoint *source, *destination;
    struct reason *why;
    int err; /* the first; then nothing new is begun */

    enum transfer_phase phase;
    uint64_t size_bytes;
    uint64_t block_bytes;
    uint64_t granule_bytes;
    uint32_t depth, retries;
    uint64_t flush_bytes;
    bool skips_zeros; /* the destination reads as zeros */

    struct chunk *chunks; /* depth of them */
    uint8_t *zeros;       /* block_bytes of them */
    struct list window, spare;
    uint64_t next;                 /* where the next chunk begins */
    uint64_t retired;              /* every chunk below is done */
    uint64_t high_water;           /* the highest retired ever */
    struct transfer_counts counts; /* of what is retired */

    struct request map_request; /* asks the source for its holes */
    bool map_busy;
    uint32_t map_busy_count;
    struct block_extent map[ENDPOINT_EXTENTS_MAX];
    size_t map_count, map_at;

    struct request flush_request;
    bool flush_busy, last_flush_tried, flush_failed;
    uint64_t flush_wait_until_ms;
    uint64_t flush_to, durable;
    struct transfer_counts flush_counts, durable_counts;

    bool must_rewind; /* the destination was lost: what was not flushed is copied again */
    uint32_t attempts;
    uint32_t reconnects;
    uint64_t retry_at_ms;
    uint64_t source_alive_ms, destination_alive_ms;

    uint64_t started_ms, reported_ms;
    uint64_t rate_ms[2], rate_done[2]; /* two marks some seconds apart */
    uint64_t resumed_from;
};

/*
 * Runs the pipeline between two open endpoints, which stay the caller's. @t holds options, source,
 * destination and why, and durable and durable_counts if it is resumed; the rest is zero.
 */
MUST_CHECK int transfer_pipe_run(struct transfer *t);
void transfer_pipe_destroy(struct transfer *t);
uint64_t transfer_now_ms(void);

/* Notes the first error; @format says what was done where. */
void transfer_fail(struct transfer *t, int err, const char *format, ...) PRINTF_LIKE(3, 4);

/* Lets @chunk do what comes next, or marks it done. */
void chunk_step(struct transfer *t, struct chunk *chunk);
/* Takes in what its request has brought; chunk_step() comes next. */
void chunk_take_result(struct transfer *t, struct chunk *chunk);
bool chunk_alloc_buffers(struct transfer *t, struct chunk *chunk);

/* What the resume file says. */
struct transfer_state
{
    char *source, *destination; /* without secrets; owned */
    char *source_identity;      /* owned */
    uint64_t size_bytes;
    uint64_t durable;
    bool skips_zeros;
    struct transfer_counts counts;
};

/* -ENOENT: there is none. -EBADMSG: it is not readable as one. */
MUST_CHECK int transfer_state_load(const char *path, struct transfer_state *state,
                                   struct reason *why);
MUST_CHECK int transfer_state_save(const char *path, const struct transfer_state *state,
                                   struct reason *why);
void transfer_state_destroy(struct transfer_state *state);
/* Saves where @t has come to. */
MUST_CHECK int transfer_save(struct transfer *t, struct reason *why);

/* Between open endpoints, resume file and result included: what transfer_run() does, and tests. */
MUST_CHECK int transfer_run_endpoints(const struct transfer_options *options,
                                      struct endpoint *source, struct endpoint *destination,
                                      const struct transfer_state *state,
                                      struct transfer_result *result, struct reason *why);

#endif
