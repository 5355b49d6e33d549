/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A pool in a temporary directory, nbdkit serving it, and clients.
 *
 * One at a time: a fixture that a failed test left behind is taken down by the next fixture_start()
 * or at exit. Functions that a test cannot go on without end it (CU_ASSERT_FATAL) when they fail.
 */
#ifndef TESTS_E2E_NBD_NBD_FIXTURE_H
#define TESTS_E2E_NBD_NBD_FIXTURE_H

#include <libnbd.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/lib/nbd_server.h"
#include "tests/lib/pool_verbs.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

struct fixture
{
    char dir[64];
    char pool_path[128];
    char verb_path[128];
    struct nbd_server server;
    char text[POOL_VERB_TEXT_BYTES]; /* what the last verb said */
};

/* Whether pools outlive their process: the engine in memory keeps nothing. */
bool fixture_engine_is_durable(void);

/* The path of the plugin under test. */
const char *fixture_plugin(void);

/* A new pool of @pool_bytes, not served yet. */
void fixture_make(struct fixture *f, uint64_t pool_bytes);
/* Serves it, with more arguments for nbdkit (NULL at the end; or NULL). */
void fixture_serve(struct fixture *f, const char *const *args);
/* Both, without arguments. */
void fixture_start(struct fixture *f, uint64_t pool_bytes);

/* Checks the pool, stops the server, which must end well, and removes everything. */
void fixture_end(struct fixture *f);

/* A verb of pool_verbs.h. */
void fixture_do(struct fixture *f, const char *format, ...) PRINTF_LIKE(2, 3);
/* The same, for a verb that may be refused: its result. */
int fixture_try(struct fixture *f, const char *format, ...) PRINTF_LIKE(2, 3);
/* The number behind @word in what the last verb said. */
uint64_t fixture_said(const struct fixture *f, const char *word);

/* A client of @export, to be closed with nbd_close(). Local checks are off: the server's count. */
struct nbd_handle *fixture_connect(struct fixture *f, const char *export);
/* The same; NULL if it is refused. */
struct nbd_handle *fixture_try_connect(struct fixture *f, const char *export);

/* Tests' data: bytes that follow from @seed and their place. */
void fixture_fill(void *buf, size_t len, uint64_t offset, unsigned seed);
bool fixture_is_filled(const void *buf, size_t len, uint64_t offset, unsigned seed);
bool fixture_is_zero(const void *buf, size_t len);

/* Random numbers that repeat from a seed. */
uint64_t fixture_random(uint64_t *state);

#endif
