/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is left when the server is killed or stopped.
 *
 * kill -9 loses what the process had in memory, not what it had written; power cuts are simulated
 * below the engine (tests/sim).
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "tests/e2e/nbd/nbd_fixture.h"
#include "tests/lib/cunit_main.h"

static uint64_t crash_seed = 1;

static bool reads_filled(struct fixture *f, const char *export, uint64_t len, uint64_t at,
                         unsigned seed)
{
    AUTO_FREE char *buf = malloc(len);
    struct nbd_handle *nbd = fixture_connect(f, export);
    CU_ASSERT_EQUAL(nbd_pread(nbd, buf, len, at, 0), 0);
    nbd_close(nbd);
    return fixture_is_filled(buf, len, at, seed);
}

static void kill_and_serve(struct fixture *f)
{
    nbd_server_kill(&f->server);
    fixture_serve(f, NULL);
    fixture_do(f, "check");
}

/* A promise of can_multi_conn: a flush on one connection covers the writes answered on another. */
static void test_flush_over_connections(void)
{
    struct fixture f;
    AUTO_FREE char *buf = malloc(MIB);
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
    for (unsigned round = 0; round < 10; round++)
    {
        struct nbd_handle *a = fixture_connect(&f, "golden");
        struct nbd_handle *b = fixture_connect(&f, "golden");
        fixture_fill(buf, MIB, round * MIB + 100, round);
        CU_ASSERT_EQUAL(nbd_pwrite(a, buf, MIB, round * MIB + 100, 0), 0);
        CU_ASSERT_EQUAL(nbd_flush(b, 0), 0);
        kill_and_serve(&f);
        nbd_close(a);
        nbd_close(b);
        CU_ASSERT(reads_filled(&f, "golden", MIB, round * MIB + 100, round));
    }
    fixture_end(&f);
}

/* Written, zeroed and trimmed with FUA, on shared blocks and on own ones. */
static void test_fua(void)
{
    struct fixture f;
    char buf[6000];
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
    fixture_do(&f, "write golden %" PRIu64 " 0 7", 8 * MIB);
    fixture_do(&f, "clone golden vm1");
    for (unsigned round = 0; round < 2; round++)
    {
        struct nbd_handle *nbd = fixture_connect(&f, "vm1");
        fixture_fill(buf, sizeof(buf), 777, round);
        CU_ASSERT_EQUAL(nbd_pwrite(nbd, buf, sizeof(buf), 777, LIBNBD_CMD_FLAG_FUA), 0);
        kill_and_serve(&f);
        nbd_close(nbd);
        CU_ASSERT(reads_filled(&f, "vm1", sizeof(buf), 777, round));

        nbd = fixture_connect(&f, "vm1");
        CU_ASSERT_EQUAL(nbd_zero(nbd, 50000, MIB + 1, LIBNBD_CMD_FLAG_FUA), 0);
        CU_ASSERT_EQUAL(nbd_trim(nbd, 50000, 2 * MIB + 1, LIBNBD_CMD_FLAG_FUA), 0);
        kill_and_serve(&f);
        nbd_close(nbd);
        nbd = fixture_connect(&f, "vm1");
        AUTO_FREE char *zeros = malloc(50002);
        for (uint64_t at = MIB; at <= 2 * MIB; at += MIB)
        {
            CU_ASSERT_EQUAL(nbd_pread(nbd, zeros, 50002, at, 0), 0);
            CU_ASSERT_EQUAL(zeros[0], 7);
            CU_ASSERT(fixture_is_zero(zeros + 1, 50000));
            CU_ASSERT_EQUAL(zeros[50001], 7);
        }
        nbd_close(nbd);
    }
    fixture_end(&f);
}

/* ---- a load that is cut off ---------------------------------------------------------------- */

enum
{
    LOAD_BLKS = 512,
    LOAD_BLK_BYTES = 4096,
    LOAD_SECTOR_BYTES = 512,
    LOAD_DEPTH = 16,
    LOAD_REQUESTS = 600,
    LOAD_VERSIONS_MAX = 64,
};

/*
 * What each block may hold. Version 0 is zeros; a write makes the next one. Versions below the
 * flushed one may not come back; of those at or above it each sector may have any.
 */
struct load
{
    struct nbd_handle *nbd;
    uint64_t random;
    unsigned issued[LOAD_BLKS];  /* newest version sent */
    unsigned flushed[LOAD_BLKS]; /* newest version that a flush covers */
    unsigned at_flush[LOAD_BLKS];
    bool is_flying[LOAD_BLKS]; /* one write to a block at a time, so that versions have an order */
    uint8_t bufs[LOAD_BLKS][LOAD_BLK_BYTES];
};

static int load_written_cb(void *opaque, int *error)
{
    bool *is_flying = opaque;
    *is_flying = *error != 0; /* a failed write stays in doubt */
    return 1;
}

static void load_version(uint8_t *buf, size_t len, uint64_t at, unsigned version)
{
    if (version == 0)
        memset(buf, 0, len);
    else
        fixture_fill(buf, len, at, version);
}

static bool load_write(struct load *load)
{
    uint64_t blk = fixture_random(&load->random) % LOAD_BLKS;
    if (load->is_flying[blk] || load->issued[blk] + 1 >= LOAD_VERSIONS_MAX)
        return true;
    load->is_flying[blk] = true;
    load->issued[blk]++;
    load_version(load->bufs[blk], LOAD_BLK_BYTES, blk * LOAD_BLK_BYTES, load->issued[blk]);
    nbd_completion_callback callback = {.callback = load_written_cb,
                                        .user_data = &load->is_flying[blk]};
    return nbd_aio_pwrite(load->nbd, load->bufs[blk], LOAD_BLK_BYTES, blk * LOAD_BLK_BYTES,
                          callback, 0) != -1;
}

/* What was answered before the flush was sent is covered by it. */
static bool load_flush(struct load *load)
{
    for (size_t blk = 0; blk < LOAD_BLKS; blk++)
        load->at_flush[blk] = load->issued[blk] - load->is_flying[blk];
    if (nbd_flush(load->nbd, 0) < 0)
        return false;
    for (size_t blk = 0; blk < LOAD_BLKS; blk++)
        load->flushed[blk] = load->at_flush[blk];
    return true;
}

/* Sends writes and flushes; leaves up to LOAD_DEPTH writes unanswered. */
static void load_run(struct load *load, unsigned requests)
{
    for (unsigned i = 0; i < requests; i++)
    {
        while (nbd_aio_in_flight(load->nbd) >= LOAD_DEPTH)
            CU_ASSERT_NOT_EQUAL_FATAL(nbd_poll(load->nbd, -1), -1);
        bool ok = fixture_random(&load->random) % 50 == 0 ? load_flush(load) : load_write(load);
        CU_ASSERT_FATAL(ok);
    }
}

static bool load_sector_ok(const struct load *load, const uint8_t *sector, uint64_t at)
{
    uint64_t blk = at / LOAD_BLK_BYTES;
    for (unsigned version = load->flushed[blk]; version <= load->issued[blk]; version++)
    {
        uint8_t expected[LOAD_SECTOR_BYTES];
        load_version(expected, sizeof(expected), at, version);
        if (memcmp(sector, expected, sizeof(expected)) == 0)
            return true;
    }
    fprintf(stderr,
            "\n    --seed %" PRIu64 ": the sector at %" PRIu64
            " holds none of its versions from %u (flushed) to %u\n",
            crash_seed, at, load->flushed[blk], load->issued[blk]);
    return false;
}

static void load_check(struct fixture *f, const char *export, const struct load *load)
{
    AUTO_FREE uint8_t *buf = malloc(LOAD_BLKS * LOAD_BLK_BYTES);
    struct nbd_handle *nbd = fixture_connect(f, export);
    CU_ASSERT_EQUAL_FATAL(nbd_pread(nbd, buf, LOAD_BLKS * LOAD_BLK_BYTES, 0, 0), 0);
    nbd_close(nbd);
    for (uint64_t at = 0; at < LOAD_BLKS * LOAD_BLK_BYTES; at += LOAD_SECTOR_BYTES)
        CU_ASSERT_FATAL(load_sector_ok(load, buf + at, at));
}

/* A load on a clone, killed in its middle; its source must not have moved. */
static void test_kill_under_load(void)
{
    struct fixture f;
    uint64_t random = crash_seed;
    fixture_make(&f, 256 * MIB);
    const char *args[] = {"checkpoint-ms=20", NULL};
    fixture_serve(&f, args);
    for (unsigned round = 0; round < 8; round++)
    {
        AUTO_FREE struct load *load = calloc(1, sizeof(*load));
        char name[32];
        snprintf(name, sizeof(name), "vm%u", round);
        fixture_do(&f, "create golden%u %d", round, LOAD_BLKS * LOAD_BLK_BYTES);
        fixture_do(&f, "clone golden%u %s", round, name);
        load->random = fixture_random(&random);
        load->nbd = fixture_connect(&f, name);
        load_run(load, (unsigned)(1 + fixture_random(&random) % LOAD_REQUESTS));
        nbd_server_kill(&f.server);
        fixture_serve(&f, args);
        fixture_do(&f, "check");
        load_check(&f, name, load);
        nbd_close(load->nbd);

        AUTO_FREE char *buf = malloc(LOAD_BLKS * LOAD_BLK_BYTES);
        snprintf(name, sizeof(name), "golden%u", round);
        struct nbd_handle *golden = fixture_connect(&f, name);
        CU_ASSERT_EQUAL(nbd_pread(golden, buf, LOAD_BLKS * LOAD_BLK_BYTES, 0, 0), 0);
        CU_ASSERT(fixture_is_zero(buf, LOAD_BLKS * LOAD_BLK_BYTES));
        nbd_close(golden);
    }
    fixture_end(&f);
}

/* A management command is durable when it has been answered. */
static void test_kill_after_commands(void)
{
    struct fixture f;
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
    kill_and_serve(&f);
    fixture_do(&f, "write golden %" PRIu64 " 0 7", MIB);
    fixture_do(&f, "snapshot golden base");
    kill_and_serve(&f);
    fixture_do(&f, "clone golden@base vm-%%d 100");
    kill_and_serve(&f);
    fixture_do(&f, "show vm-99");
    CU_ASSERT_EQUAL(fixture_said(&f, "mapped"), MIB);
    fixture_do(&f, "delete vm-50");
    fixture_do(&f, "rename vm-51 vm-50");
    fixture_do(&f, "resize vm-52 %" PRIu64, 128 * MIB);
    kill_and_serve(&f);
    CU_ASSERT_EQUAL(fixture_try(&f, "show vm-51"), -ENOENT);
    fixture_do(&f, "show vm-50");
    fixture_do(&f, "show vm-52");
    CU_ASSERT_EQUAL(fixture_said(&f, "size"), 128 * MIB);
    fixture_do(&f, "pool");
    CU_ASSERT_EQUAL(fixture_said(&f, "luns"), 100);
    fixture_end(&f);
}

/* ---- stopping ------------------------------------------------------------------------------ */

/* nbdkit would wait for clients that say nothing; what they wrote is safe without a flush. */
static void test_stop_with_idle_clients(void)
{
    struct fixture f;
    struct nbd_handle *clients[3];
    char buf[5000];
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
        clients[i] = fixture_connect(&f, "golden");
    fixture_fill(buf, sizeof(buf), 999, 6);
    CU_ASSERT_EQUAL(nbd_pwrite(clients[1], buf, sizeof(buf), 999, 0), 0);
    CU_ASSERT_EQUAL(nbd_server_stop(&f.server), 0);
    CU_ASSERT_EQUAL(nbd_pread(clients[0], buf, 1, 0, 0), -1);
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
        nbd_close(clients[i]);
    fixture_serve(&f, NULL);
    if (fixture_engine_is_durable())
        CU_ASSERT(reads_filled(&f, "golden", sizeof(buf), 999, 6));
    fixture_end(&f);
}

/* Requests in flight when the stop comes are answered or cut off; the server ends either way. */
static void test_stop_under_load(void)
{
    struct fixture f;
    AUTO_FREE struct load *load = calloc(1, sizeof(*load));
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create golden %d", LOAD_BLKS * LOAD_BLK_BYTES);
    load->random = crash_seed;
    load->nbd = fixture_connect(&f, "golden");
    load_run(load, 300);
    CU_ASSERT_EQUAL(nbd_server_stop(&f.server), 0);
    fixture_serve(&f, NULL);
    if (fixture_engine_is_durable())
        load_check(&f, "golden", load);
    nbd_close(load->nbd);
    fixture_end(&f);
}

/* A client that asks for 64 MiB and takes nothing blocks nbdkit's threads; it is cut off in the
 * end. */
static void test_stop_with_stuck_client(void)
{
    struct fixture f;
    AUTO_FREE char *buf = malloc(64 * MIB);
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
    struct nbd_handle *nbd = fixture_connect(&f, "golden");
    /* libnbd reads answers only when it is polled. */
    CU_ASSERT_NOT_EQUAL(nbd_aio_pread(nbd, buf, 64 * MIB, 0, NBD_NULL_COMPLETION, 0), -1);
    struct pollfd answer = {.fd = nbd_aio_get_fd(nbd), .events = POLLIN};
    CU_ASSERT_EQUAL(poll(&answer, 1, -1), 1); /* the first bytes of it are here */
    CU_ASSERT_EQUAL(nbd_server_stop(&f.server), 0);
    nbd_close(nbd);
    fixture_end(&f);
}

/* nbdkit -s: one client, whose pipe is the server's life. */
static void test_stdin(void)
{
    struct fixture f;
    char pool[160];
    fixture_make(&f, 256 * MIB);
    snprintf(pool, sizeof(pool), "pool=%s", f.pool_path);
    if (fixture_engine_is_durable())
    {
        fixture_serve(&f, NULL);
        fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
        CU_ASSERT_EQUAL(nbd_server_stop(&f.server), 0);
    }
    for (unsigned round = 0; round < 3; round++)
    {
        struct nbd_handle *nbd = nbd_create();
        char *args[16];
        size_t count = 0;
        for (const char *const *word = nbd_server_prefix(); *word; word++)
            args[count++] = (char *)*word;
        args[count++] = "nbdkit";
        args[count++] = "-s";
        args[count++] = (char *)fixture_plugin();
        args[count++] = pool;
        args[count] = NULL;
        nbd_set_opt_mode(nbd, true);
        CU_ASSERT_EQUAL_FATAL(nbd_connect_command(nbd, args), 0);
        if (fixture_engine_is_durable())
        {
            CU_ASSERT_EQUAL(nbd_opt_go(nbd), 0);
            CU_ASSERT_EQUAL(nbd_get_size(nbd), 64 * MIB);
            CU_ASSERT_EQUAL(nbd_shutdown(nbd, 0), 0);
        }
        else
            nbd_opt_abort(nbd);
        nbd_close(nbd); /* waits for nbdkit, so that the next one gets the pool */
    }
    fixture_end(&f);
}

static CU_TestInfo crash_tests[] = {
    {"a flush covers the writes of other connections", test_flush_over_connections},
    {"FUA", test_fua},
    {"kill -9 under a write load", test_kill_under_load},
    {"kill -9 after management commands", test_kill_after_commands},
    CU_TEST_INFO_NULL,
};

static CU_TestInfo stop_tests[] = {
    {"stop with idle clients", test_stop_with_idle_clients},
    {"stop under load", test_stop_under_load},
    {"stop with a client that takes no answers", test_stop_with_stuck_client},
    {"on a pipe", test_stdin},
    CU_TEST_INFO_NULL,
};

/* usage: test_nbd_crash [--seed N] [FILTER]; LUNETTE_SEED=N is the same */
int main(int argc, char **argv)
{
    const char *given = getenv("LUNETTE_SEED");
    if (given)
        crash_seed = strtoull(given, NULL, 10);
    if (argc > 2 && strcmp(argv[1], "--seed") == 0)
    {
        crash_seed = strtoull(argv[2], NULL, 10);
        argv += 2;
        argc -= 2;
    }
    CU_SuiteInfo suites[] = {
        {"stop", NULL, NULL, NULL, NULL, stop_tests},
        {"crash", NULL, NULL, NULL, NULL, crash_tests},
        CU_SUITE_INFO_NULL,
    };
    /* Nothing outlives a process with the engine in memory. */
    if (!fixture_engine_is_durable())
        suites[1] = (CU_SuiteInfo)CU_SUITE_INFO_NULL;
    return cunit_main(suites, argc, argv);
}
