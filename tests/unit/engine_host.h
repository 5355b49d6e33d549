/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A pool on a simulated disk, for the engine's unit tests: no threads, time and randomness from a
 * seed. A failure of what is only preparation ends the program: the test could not mean anything.
 */
#ifndef TESTS_UNIT_ENGINE_HOST_H
#define TESTS_UNIT_ENGINE_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "lun/lun.h"
#include "lun/pool/pool_internal.h"
#include "tests/lib/rng.h"
#include "tests/lib/simdev.h"

enum
{
    HOST_GROUP_BLKS = 1024,
    HOST_POOL_BYTES = 32 << 20,
};

struct engine_host
{
    struct simdev *disk;
    struct rng_env env;
    struct pool *pool; /* NULL: closed */
    struct reason why; /* of the last refusal */
    char said[512];    /* the first error that host_check() met */
};

/* A new pool, open. @options NULL: HOST_POOL_BYTES in groups of HOST_GROUP_BLKS. */
void host_start(struct engine_host *host, const struct pool_create_options *options);
void host_stop(struct engine_host *host);

/* Opens the closed pool: 0 or the error. */
int host_open(struct engine_host *host, const struct pool_open_options *options);
void host_close(struct engine_host *host);
/* Starts the pool's threads. Time and randomness are the system's from now on, as what comes from a
 * seed is for one thread. */
void host_start_threads(struct engine_host *host);
/* Cuts the power: all that was not synced is lost. Then the pool is closed. */
void host_crash(struct engine_host *host);
/* The same, and opens it again, which must succeed. */
void host_crash_open(struct engine_host *host);
void host_reopen(struct engine_host *host);

/* Errors that pool_check() finds. */
uint64_t host_check(struct engine_host *host);
/* Does all background work, then makes a checkpoint. */
void host_settle(struct engine_host *host);

void host_create(struct engine_host *host, const char *name, uint64_t blks);
void host_clone(struct engine_host *host, const char *source, const char *name);
void host_snapshot(struct engine_host *host, const char *lun, const char *snapshot);
void host_delete(struct engine_host *host, const char *name);
/* Writes blocks full of @value; 0 or the error. */
int host_write(struct engine_host *host, const char *name, uint64_t lba, uint64_t blks,
               uint8_t value, unsigned flags);
int host_unmap(struct engine_host *host, const char *name, uint64_t lba, uint64_t blks);
/* Whether all bytes of these blocks are @value. */
bool host_holds(struct engine_host *host, const char *name, uint64_t lba, uint64_t blks,
                uint8_t value);
/* Whether there is an event @name about @object. */
bool host_has_event(struct engine_host *host, const char *name, const char *object);
/* Makes all that was done durable. */
void host_flush(struct engine_host *host);

struct line *host_line(struct engine_host *host, const char *name);
struct lun_object *host_object(struct engine_host *host, const char *name);
struct lun_info host_info(struct engine_host *host, const char *name);
uint64_t host_data_blks(struct engine_host *host);

/* Changes @len bytes of block @blk, and makes its header's checksum right again. */
void host_forge(struct engine_host *host, uint64_t blk, uint64_t offset, const void *bytes,
                size_t len);

#endif
