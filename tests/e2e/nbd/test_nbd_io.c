/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests: any alignment and size, against a copy in memory, and the edges of the protocol. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "tests/e2e/nbd/nbd_fixture.h"
#include "tests/lib/cunit_main.h"

enum
{
    EXTENTS_MAX = 4096
};

#define FOUR_GIB_LESS_1 (4 * GIB - 1)

static uint64_t io_seed = 1;

/* ---- extents ------------------------------------------------------------------------------- */

struct extents
{
    size_t count;
    uint32_t lens[EXTENTS_MAX];
    uint32_t types[EXTENTS_MAX];
};

static int extents_cb(void *opaque, const char *context, uint64_t offset, uint32_t *entries,
                      size_t nr_entries, int *error)
{
    (void)context;
    (void)offset;
    (void)error;
    struct extents *extents = opaque;
    for (size_t i = 0; i + 1 < nr_entries && extents->count < EXTENTS_MAX; i += 2)
    {
        extents->lens[extents->count] = entries[i];
        extents->types[extents->count++] = entries[i + 1];
    }
    return 0;
}

static void get_extents(struct nbd_handle *nbd, uint64_t len, uint64_t offset, uint32_t flags,
                        struct extents *extents)
{
    extents->count = 0;
    nbd_extent_callback callback = {.callback = extents_cb, .user_data = extents};
    CU_ASSERT_EQUAL_FATAL(nbd_block_status(nbd, len, offset, callback, flags), 0);
    CU_ASSERT_NOT_EQUAL_FATAL(extents->count, 0);
}

static const uint32_t HOLE = LIBNBD_STATE_HOLE | LIBNBD_STATE_ZERO;

/* ---- random requests ----------------------------------------------------------------------- */

enum
{
    MODEL_BYTES = (4 << 20) + 512,
    MODEL_REQUEST_MAX = 200000,
    MODEL_REQUESTS = 2500,
};

struct model
{
    struct nbd_handle *nbd;
    uint64_t random;
    uint8_t *bytes;   /* what the LUN holds */
    uint8_t *buf;     /* of MODEL_REQUEST_MAX */
    uint64_t at, len; /* of the request */
};

/* Mostly small, often at or beside a block boundary. */
static void model_pick_range(struct model *m)
{
    uint64_t kind = fixture_random(&m->random) % 4;
    m->len = 1 + fixture_random(&m->random) % (kind == 0 ? MODEL_REQUEST_MAX : 9000);
    m->at = fixture_random(&m->random) % MODEL_BYTES;
    if (kind == 1)
        m->at = round_down(m->at, 4096);
    if (kind == 2)
    {
        m->at = round_down(m->at, 4096);
        m->len = round_up(m->len, 4096);
    }
    m->len = min_u64(m->len, MODEL_BYTES - m->at);
}

static uint32_t model_fua(struct model *m)
{
    return fixture_random(&m->random) % 8 == 0 ? LIBNBD_CMD_FLAG_FUA : 0;
}

static bool model_write(struct model *m)
{
    fixture_fill(m->buf, m->len, m->at, (unsigned)fixture_random(&m->random));
    memcpy(m->bytes + m->at, m->buf, m->len);
    return nbd_pwrite(m->nbd, m->buf, m->len, m->at, model_fua(m)) == 0;
}

static bool model_zero(struct model *m)
{
    uint32_t flags = model_fua(m);
    if (fixture_random(&m->random) % 2)
        flags |= LIBNBD_CMD_FLAG_NO_HOLE;
    bool fast = fixture_random(&m->random) % 4 == 0;
    if (fast)
        flags |= LIBNBD_CMD_FLAG_FAST_ZERO;
    int r = nbd_zero(m->nbd, m->len, m->at, flags);
    if (r < 0 && fast && nbd_get_errno() == ENOTSUP)
        return true; /* then nothing may have changed, which reading finds out */
    memset(m->bytes + m->at, 0, m->len);
    return r == 0;
}

static bool model_trim(struct model *m)
{
    memset(m->bytes + m->at, 0, m->len);
    return nbd_trim(m->nbd, m->len, m->at, model_fua(m)) == 0;
}

static bool model_read(struct model *m)
{
    return nbd_pread(m->nbd, m->buf, m->len, m->at, 0) == 0 &&
           memcmp(m->buf, m->bytes + m->at, m->len) == 0;
}

/* What is called a hole reads as zeros, and the answer begins where it was asked for. */
static bool model_extents(struct model *m)
{
    static struct extents extents;
    get_extents(m->nbd, m->len, m->at, 0, &extents);
    uint64_t at = m->at;
    for (size_t i = 0; i < extents.count; i++)
    {
        uint64_t len = min_u64(extents.lens[i], MODEL_BYTES - at);
        if (extents.types[i] == HOLE && !fixture_is_zero(m->bytes + at, len))
            return false;
        at += len;
    }
    return true;
}

static bool model_flush(struct model *m)
{
    return nbd_flush(m->nbd, 0) == 0;
}

static void model_run(struct model *m, unsigned requests)
{
    static bool (*const kinds[])(struct model *) = {
        model_write, model_write, model_write, model_zero,    model_trim,
        model_read,  model_read,  model_read,  model_extents, model_flush,
    };
    for (unsigned i = 0; i < requests; i++)
    {
        model_pick_range(m);
        size_t kind = fixture_random(&m->random) % ARRAY_SIZE(kinds);
        bool ok = kinds[kind](m);
        if (!ok)
            fprintf(stderr,
                    "\n    --seed %" PRIu64 ": request %u of kind %zu, %" PRIu64
                    " bytes at %" PRIu64 ": %s\n",
                    io_seed, i, kind, m->len, m->at, nbd_get_error());
        CU_ASSERT_FATAL(ok);
    }
    m->len = 0;
    for (m->at = 0; m->at < MODEL_BYTES; m->at += m->len)
    {
        m->len = min_u64(MODEL_REQUEST_MAX, MODEL_BYTES - m->at);
        CU_ASSERT(model_read(m));
    }
}

static void test_model(void)
{
    struct fixture f;
    AUTO_FREE uint8_t *bytes = calloc(1, MODEL_BYTES);
    AUTO_FREE uint8_t *buf = malloc(MODEL_REQUEST_MAX);
    struct model m = {.random = io_seed, .bytes = bytes, .buf = buf};
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create golden %d", MODEL_BYTES);
    m.nbd = fixture_connect(&f, "golden");
    model_run(&m, MODEL_REQUESTS);

    /* Half of the blocks shared, half own, then; and a clone that must stay what it was. */
    AUTO_FREE uint8_t *then = malloc(MODEL_BYTES);
    memcpy(then, bytes, MODEL_BYTES);
    fixture_do(&f, "clone golden copy");
    model_run(&m, MODEL_REQUESTS);
    nbd_close(m.nbd);

    m.nbd = fixture_connect(&f, "copy");
    m.bytes = then;
    model_run(&m, MODEL_REQUESTS);
    nbd_close(m.nbd);
    fixture_end(&f);
}

/* ---- edges --------------------------------------------------------------------------------- */

static void check_past_end(struct nbd_handle *nbd, uint64_t size)
{
    char buf[4096] = {0};
    CU_ASSERT_EQUAL(nbd_pread(nbd, buf, 2, size - 1, 0), -1);
    CU_ASSERT_EQUAL(nbd_get_errno(), EINVAL);
    CU_ASSERT_EQUAL(nbd_pwrite(nbd, buf, 2, size - 1, 0), -1);
    CU_ASSERT_EQUAL(nbd_get_errno(), ENOSPC); /* as the protocol wants it */
    CU_ASSERT_EQUAL(nbd_trim(nbd, 1, size, 0), -1);
    CU_ASSERT_EQUAL(nbd_get_errno(), EINVAL);
    CU_ASSERT_EQUAL(nbd_zero(nbd, 1, size, 0), -1);
    CU_ASSERT_EQUAL(nbd_get_errno(), ENOSPC);
    CU_ASSERT_EQUAL(nbd_cache(nbd, 1, size, 0), -1);
    CU_ASSERT_EQUAL(nbd_get_errno(), EINVAL);
    CU_ASSERT_EQUAL(nbd_pread(nbd, buf, 1, UINT64_MAX - 1, 0), -1);
    CU_ASSERT_EQUAL(nbd_get_errno(), EINVAL);
}

static void check_empty(struct nbd_handle *nbd)
{
    char buf[1];
    CU_ASSERT_EQUAL(nbd_pread(nbd, buf, 0, 0, 0), -1);
    CU_ASSERT_EQUAL(nbd_get_errno(), EINVAL);
    CU_ASSERT_EQUAL(nbd_pwrite(nbd, buf, 0, 0, 0), -1);
    CU_ASSERT(nbd_get_errno() == EINVAL || nbd_get_errno() == ENOSPC);
    CU_ASSERT_EQUAL(nbd_trim(nbd, 0, 0, 0), -1);
    CU_ASSERT_EQUAL(nbd_zero(nbd, 0, 0, 0), -1);
}

static void test_edges(void)
{
    struct fixture f;
    const uint64_t size = 64 * MIB + 512;
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create golden %" PRIu64, size);
    struct nbd_handle *nbd = fixture_connect(&f, "golden");
    char byte = 'x';
    CU_ASSERT_EQUAL(nbd_pwrite(nbd, &byte, 1, size - 1, 0), 0);
    byte = 0;
    CU_ASSERT_EQUAL(nbd_pread(nbd, &byte, 1, size - 1, 0), 0);
    CU_ASSERT_EQUAL(byte, 'x');
    check_past_end(nbd, size);
    check_empty(nbd);

    /* The largest request, unaligned. */
    AUTO_FREE char *buf = malloc(64 * MIB);
    fixture_fill(buf, 64 * MIB, 300, 5);
    CU_ASSERT_EQUAL(nbd_pwrite(nbd, buf, 64 * MIB, 300, 0), 0);
    memset(buf, 0, 64 * MIB);
    CU_ASSERT_EQUAL(nbd_pread(nbd, buf, 64 * MIB, 300, 0), 0);
    CU_ASSERT(fixture_is_filled(buf, 64 * MIB, 300, 5));
    CU_ASSERT_EQUAL(nbd_cache(nbd, 64 * MIB, 300, 0), 0);
    CU_ASSERT_EQUAL(nbd_flush(nbd, 0), 0);
    nbd_close(nbd);
    fixture_end(&f);
}

/* ---- zeroes -------------------------------------------------------------------------------- */

/* Data around a range of 4 GiB - 1 bytes, which goes, and at its edges, which stays. */
static void check_huge(struct fixture *f, bool trim)
{
    const uint64_t start = GIB + 1234;
    const uint64_t end = start + FOUR_GIB_LESS_1;
    const uint64_t places[] = {start - 5000, start + 2 * GIB, end - 2000, end - 5000};
    char buf[10000];
    struct nbd_handle *nbd = fixture_connect(f, "golden");
    for (size_t i = 0; i < ARRAY_SIZE(places); i++)
    {
        fixture_fill(buf, sizeof(buf), places[i], 3);
        CU_ASSERT_EQUAL(nbd_pwrite(nbd, buf, sizeof(buf), places[i], 0), 0);
    }
    int r =
        trim ? nbd_trim(nbd, FOUR_GIB_LESS_1, start, 0) : nbd_zero(nbd, FOUR_GIB_LESS_1, start, 0);
    CU_ASSERT_EQUAL(r, 0);
    for (size_t i = 0; i < ARRAY_SIZE(places); i++)
    {
        CU_ASSERT_EQUAL(nbd_pread(nbd, buf, sizeof(buf), places[i], 0), 0);
        for (size_t at = 0; at < sizeof(buf); at++)
        {
            uint64_t place = places[i] + at;
            char expected = 0;
            if (place < start || place >= end)
                fixture_fill(&expected, 1, place, 3);
            CU_ASSERT_EQUAL_FATAL(buf[at], expected);
        }
    }
    nbd_close(nbd);
}

static void test_huge(void)
{
    struct fixture f;
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create golden %" PRIu64, 16 * GIB);
    check_huge(&f, false);
    check_huge(&f, true);

    /* One answer of 4 GiB - 1, all hole. */
    static struct extents extents;
    struct nbd_handle *nbd = fixture_connect(&f, "golden");
    get_extents(nbd, FOUR_GIB_LESS_1, 8 * GIB + 1, 0, &extents);
    CU_ASSERT_EQUAL(extents.count, 1);
    CU_ASSERT_EQUAL(extents.lens[0], FOUR_GIB_LESS_1);
    CU_ASSERT_EQUAL(extents.types[0], HOLE);
    nbd_close(nbd);
    fixture_end(&f);
}

/* Zeroing and trimming give blocks back. */
static void test_space_comes_back(void)
{
    struct fixture f;
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
    fixture_do(&f, "write golden %" PRIu64 " 0 7", 8 * MIB);
    struct nbd_handle *nbd = fixture_connect(&f, "golden");
    CU_ASSERT_EQUAL(nbd_zero(nbd, 2 * MIB, 0, 0), 0);
    fixture_do(&f, "show golden");
    CU_ASSERT_EQUAL(fixture_said(&f, "mapped"), 6 * MIB);
    CU_ASSERT_EQUAL(nbd_trim(nbd, 2 * MIB, 2 * MIB, 0), 0);
    fixture_do(&f, "show golden");
    CU_ASSERT_EQUAL(fixture_said(&f, "mapped"), 4 * MIB);
    /* Part of a block: it stays, its middle reads as zeros. */
    CU_ASSERT_EQUAL(nbd_trim(nbd, 1000, 5 * MIB + 100, 0), 0);
    fixture_do(&f, "show golden");
    CU_ASSERT_EQUAL(fixture_said(&f, "mapped"), 4 * MIB);
    char buf[1200];
    CU_ASSERT_EQUAL(nbd_pread(nbd, buf, sizeof(buf), 5 * MIB, 0), 0);
    CU_ASSERT_EQUAL(buf[99], 7);
    CU_ASSERT(fixture_is_zero(buf + 100, 1000));
    CU_ASSERT_EQUAL(buf[1100], 7);
    /* A fast zero of what may be dropped is fast. */
    CU_ASSERT_EQUAL(nbd_zero(nbd, MIB, 6 * MIB, LIBNBD_CMD_FLAG_FAST_ZERO), 0);
    fixture_do(&f, "show golden");
    CU_ASSERT_EQUAL(fixture_said(&f, "mapped"), 3 * MIB);
    nbd_close(nbd);
    fixture_end(&f);
}

/* ---- block status -------------------------------------------------------------------------- */

static void check_extent(const struct extents *extents, size_t i, uint32_t len, uint32_t type)
{
    CU_ASSERT_FATAL(i < extents->count);
    CU_ASSERT_EQUAL(extents->lens[i], len);
    CU_ASSERT_EQUAL(extents->types[i], type);
}

static void test_extents(void)
{
    struct fixture f;
    static struct extents extents;
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
    fixture_do(&f, "write golden 8192 4096 7"); /* blocks 1 and 2 */
    fixture_do(&f, "write golden 100 20580 7"); /* a part of block 5 */
    struct nbd_handle *nbd = fixture_connect(&f, "golden");
    get_extents(nbd, 64 * MIB, 0, 0, &extents);
    CU_ASSERT_EQUAL(extents.count, 5);
    check_extent(&extents, 0, 4096, HOLE);
    check_extent(&extents, 1, 8192, 0);
    check_extent(&extents, 2, 8192, HOLE);
    check_extent(&extents, 3, 4096, 0);
    check_extent(&extents, 4, (uint32_t)(64 * MIB - 24576), HOLE);

    get_extents(nbd, 64 * MIB, 0, LIBNBD_CMD_FLAG_REQ_ONE, &extents);
    CU_ASSERT_EQUAL(extents.count, 1);
    check_extent(&extents, 0, 4096, HOLE);

    /* Between blocks: from byte 5000 on, 4000 bytes, and a single byte of a hole. */
    get_extents(nbd, 9000, 5000, 0, &extents);
    CU_ASSERT_EQUAL(extents.count, 2);
    check_extent(&extents, 0, 12288 - 5000, 0);
    CU_ASSERT(extents.types[1] == HOLE && extents.lens[1] >= 9000 - (12288 - 5000));
    get_extents(nbd, 1, 4095, 0, &extents);
    check_extent(&extents, 0, 1, HOLE);
    get_extents(nbd, 1, 64 * MIB - 1, 0, &extents);
    check_extent(&extents, 0, 1, HOLE);
    nbd_close(nbd);

    /* Shared and own blocks side by side are one to a client, even if it asks for only one. */
    fixture_do(&f, "clone golden vm1");
    fixture_do(&f, "write vm1 4096 8192 8");
    nbd = fixture_connect(&f, "vm1");
    get_extents(nbd, 60000, 4096, LIBNBD_CMD_FLAG_REQ_ONE, &extents);
    CU_ASSERT_EQUAL(extents.count, 1);
    check_extent(&extents, 0, 8192, 0);
    nbd_close(nbd);
    fixture_end(&f);
}

/* Every second block of 600: more than one batch of the plugin, each at its place. */
static void test_many_extents(void)
{
    struct fixture f;
    static struct extents extents;
    char block[4096] = "x";
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
    struct nbd_handle *nbd = fixture_connect(&f, "golden");
    for (uint64_t i = 0; i < 600; i += 2)
        CU_ASSERT_EQUAL(nbd_pwrite(nbd, block, sizeof(block), i * 4096, 0), 0);
    get_extents(nbd, 600 * 4096, 0, 0, &extents);
    CU_ASSERT_EQUAL(extents.count, 600);
    for (size_t i = 0; i < min_u64(extents.count, 599); i++)
        check_extent(&extents, i, 4096, i % 2 == 0 ? 0 : HOLE);
    nbd_close(nbd);
    fixture_end(&f);
}

/* ---- many at once -------------------------------------------------------------------------- */

enum
{
    PARALLEL_CLIENTS = 4,
    PARALLEL_DEPTH = 16,
    PARALLEL_BYTES = 12345, /* neighbours share blocks */
};

static void wait_for_all(struct nbd_handle *nbd)
{
    while (nbd_aio_in_flight(nbd) > 0)
        CU_ASSERT_NOT_EQUAL_FATAL(nbd_poll(nbd, -1), -1);
}

/* Neighbouring, unaligned writes in flight at the same time, over several connections. */
static void test_parallel(void)
{
    struct fixture f;
    struct nbd_handle *clients[PARALLEL_CLIENTS];
    const uint64_t total = PARALLEL_CLIENTS * PARALLEL_DEPTH * 8;
    AUTO_FREE char *buf = malloc(total * PARALLEL_BYTES);
    fixture_fill(buf, total * PARALLEL_BYTES, 0, 9);
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
    fixture_do(&f, "write golden %" PRIu64 " 0 7", 8 * MIB);
    fixture_do(&f, "clone golden vm1");
    for (size_t i = 0; i < PARALLEL_CLIENTS; i++)
        clients[i] = fixture_connect(&f, "vm1");
    for (uint64_t i = 0; i < total; i++)
    {
        /* Neighbours go to different connections. */
        struct nbd_handle *nbd = clients[i % PARALLEL_CLIENTS];
        uint64_t at = i * PARALLEL_BYTES;
        CU_ASSERT_NOT_EQUAL(
            nbd_aio_pwrite(nbd, buf + at, PARALLEL_BYTES, at, NBD_NULL_COMPLETION, 0), -1);
    }
    for (size_t i = 0; i < PARALLEL_CLIENTS; i++)
        wait_for_all(clients[i]);
    memset(buf, 0, total * PARALLEL_BYTES);
    CU_ASSERT_EQUAL(nbd_pread(clients[0], buf, total * PARALLEL_BYTES, 0, 0), 0);
    CU_ASSERT(fixture_is_filled(buf, total * PARALLEL_BYTES, 0, 9));
    for (size_t i = 0; i < PARALLEL_CLIENTS; i++)
        nbd_close(clients[i]);

    struct nbd_handle *golden = fixture_connect(&f, "golden");
    CU_ASSERT_EQUAL(nbd_pread(golden, buf, 4 * MIB, 0, 0), 0);
    for (size_t i = 0; i < 4 * MIB; i++)
        CU_ASSERT_EQUAL_FATAL(buf[i], 7);
    nbd_close(golden);
    fixture_end(&f);
}

static CU_TestInfo io_tests[] = {
    {"random requests against a copy in memory", test_model},
    {"the last byte, the largest request, outside, empty", test_edges},
    {"zero, trim and block status of 4 GiB - 1", test_huge},
    {"zero and trim give space back", test_space_comes_back},
    {"block status", test_extents},
    {"block status of many extents", test_many_extents},
    {"neighbouring writes at once", test_parallel},
    CU_TEST_INFO_NULL,
};

/* usage: test_nbd_io [--seed N] [FILTER]; LUNETTE_SEED=N is the same */
int main(int argc, char **argv)
{
    const char *given = getenv("LUNETTE_SEED");
    if (given)
        io_seed = strtoull(given, NULL, 10);
    if (argc > 2 && strcmp(argv[1], "--seed") == 0)
    {
        io_seed = strtoull(argv[2], NULL, 10);
        argv += 2;
        argc -= 2;
    }
    CU_SuiteInfo suites[] = {
        {"io", NULL, NULL, NULL, NULL, io_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
