/* SPDX-License-Identifier: BSD-3-Clause */
/* LUNs that are changed while clients have them open: refused, or errors, never other data. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "tests/e2e/nbd/nbd_fixture.h"
#include "tests/lib/cunit_main.h"

/* The byte at @offset; -errno if it cannot be read. */
static int read_byte(struct nbd_handle *nbd, uint64_t offset)
{
    unsigned char byte;
    return nbd_pread(nbd, &byte, 1, offset, 0) == 0 ? byte : -nbd_get_errno();
}

/* All requests on a LUN that is gone fail, and say so. */
static void check_gone(struct nbd_handle *nbd)
{
    char buf[4096] = "late";
    CU_ASSERT_EQUAL(read_byte(nbd, 0), -ESHUTDOWN);
    CU_ASSERT_EQUAL(nbd_pwrite(nbd, buf, sizeof(buf), 0, 0), -1);
    CU_ASSERT_EQUAL(nbd_get_errno(), ESHUTDOWN);
    CU_ASSERT_EQUAL(nbd_zero(nbd, 4096, 0, 0), -1);
    CU_ASSERT_EQUAL(nbd_get_errno(), ESHUTDOWN);
    CU_ASSERT_EQUAL(nbd_trim(nbd, 4096, 0, 0), -1);
    CU_ASSERT_EQUAL(nbd_get_errno(), ESHUTDOWN);
    CU_ASSERT_EQUAL(nbd_flush(nbd, 0), -1);
    CU_ASSERT_EQUAL(nbd_get_errno(), ESHUTDOWN);
}

static void test_delete(void)
{
    struct fixture f;
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
    fixture_do(&f, "write golden %" PRIu64 " 0 7", MIB);
    struct nbd_handle *nbd = fixture_connect(&f, "golden");
    CU_ASSERT_EQUAL(fixture_try(&f, "delete golden"), -EBUSY);
    CU_ASSERT_PTR_NOT_NULL(strstr(f.text, "golden"));
    CU_ASSERT_EQUAL(read_byte(nbd, 0), 7);

    fixture_do(&f, "delete golden force");
    check_gone(nbd);
    CU_ASSERT(
        nbd_server_logged(&f.server, "export \"golden\": read of 1 bytes at 0 failed: deleted"));
    /* Its name and its blocks get a new owner, whom the old client must not see. */
    fixture_do(&f, "settle");
    fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
    fixture_do(&f, "write golden %" PRIu64 " 0 9", 2 * MIB);
    check_gone(nbd);
    struct nbd_handle *new = fixture_connect(&f, "golden");
    CU_ASSERT_EQUAL(read_byte(new, 0), 9);
    nbd_close(nbd);
    /* Closing the old handle does not make the new LUN look closed. */
    CU_ASSERT_EQUAL(fixture_try(&f, "delete golden"), -EBUSY);
    nbd_close(new);
    fixture_end(&f);
}

static void test_delete_snapshot(void)
{
    struct fixture f;
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
    fixture_do(&f, "write golden %" PRIu64 " 0 7", MIB);
    fixture_do(&f, "snapshot golden base");
    struct nbd_handle *nbd = fixture_connect(&f, "golden@base");
    CU_ASSERT_EQUAL(fixture_try(&f, "delete golden@base"), -EBUSY);
    CU_ASSERT_EQUAL(read_byte(nbd, 0), 7);
    fixture_do(&f, "delete golden@base force");
    CU_ASSERT_EQUAL(read_byte(nbd, 0), -ESHUTDOWN);
    nbd_close(nbd);
    fixture_end(&f);
}

static void test_shrink(void)
{
    struct fixture f;
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
    fixture_do(&f, "write golden %" PRIu64 " 0 7", 64 * MIB);
    struct nbd_handle *nbd = fixture_connect(&f, "golden");
    CU_ASSERT(fixture_try(&f, "resize golden %" PRIu64, 16 * MIB + 512) < 0);
    CU_ASSERT_EQUAL(read_byte(nbd, 63 * MIB), 7);

    fixture_do(&f, "resize golden %" PRIu64 " force", 16 * MIB + 512);
    CU_ASSERT_EQUAL(read_byte(nbd, 16 * MIB + 511), 7);
    CU_ASSERT_EQUAL(read_byte(nbd, 16 * MIB + 512), -ESHUTDOWN);
    char buf[1024] = {0};
    CU_ASSERT_EQUAL(nbd_pread(nbd, buf, sizeof(buf), 16 * MIB, 0), -1);
    CU_ASSERT_EQUAL(nbd_pwrite(nbd, buf, sizeof(buf), 16 * MIB, 0), -1);
    CU_ASSERT_EQUAL(nbd_flush(nbd, 0), 0);

    /* What was cut off does not come back with the size. */
    fixture_do(&f, "resize golden %" PRIu64, 64 * MIB);
    CU_ASSERT_EQUAL(read_byte(nbd, 16 * MIB + 512), 0);
    CU_ASSERT_EQUAL(read_byte(nbd, 63 * MIB), 0);
    fixture_do(&f, "settle");
    CU_ASSERT_EQUAL(read_byte(nbd, 17 * MIB), 0);
    fixture_do(&f, "show golden");
    CU_ASSERT_EQUAL(fixture_said(&f, "mapped"), 16 * MIB + 4096);
    nbd_close(nbd);
    fixture_end(&f);
}

static void test_grow(void)
{
    struct fixture f;
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create golden %" PRIu64, 8 * MIB);
    struct nbd_handle *nbd = fixture_connect(&f, "golden");
    fixture_do(&f, "resize golden %" PRIu64, 16 * MIB);
    /* This client negotiated the old size; nbdkit holds it to that. */
    CU_ASSERT_EQUAL(read_byte(nbd, 8 * MIB - 1), 0);
    CU_ASSERT_EQUAL(read_byte(nbd, 8 * MIB), -EINVAL);
    struct nbd_handle *new = fixture_connect(&f, "golden");
    CU_ASSERT_EQUAL(read_byte(new, 16 * MIB - 1), 0);
    nbd_close(nbd);
    nbd_close(new);
    fixture_end(&f);
}

static void test_restore(void)
{
    struct fixture f;
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
    fixture_do(&f, "write golden %" PRIu64 " 0 7", MIB);
    fixture_do(&f, "snapshot golden base");
    fixture_do(&f, "write golden %" PRIu64 " 0 8", 2 * MIB);
    struct nbd_handle *nbd = fixture_connect(&f, "golden");
    CU_ASSERT_EQUAL(fixture_try(&f, "restore golden base"), -EBUSY);
    CU_ASSERT_EQUAL(read_byte(nbd, 0), 8);
    fixture_do(&f, "restore golden base force");
    /* Old and new clients see the same: the snapshot, all of it. */
    struct nbd_handle *new = fixture_connect(&f, "golden");
    CU_ASSERT_EQUAL(read_byte(new, 0), 7);
    CU_ASSERT_EQUAL(read_byte(new, MIB), 0);
    CU_ASSERT_EQUAL(read_byte(nbd, 0), 7);
    CU_ASSERT_EQUAL(read_byte(nbd, MIB), 0);
    char byte = 9;
    CU_ASSERT_EQUAL(nbd_pwrite(nbd, &byte, 1, 5, 0), 0);
    CU_ASSERT_EQUAL(read_byte(new, 5), 9);
    nbd_close(new);
    nbd_close(nbd);
    struct nbd_handle *base = fixture_connect(&f, "golden@base");
    CU_ASSERT_EQUAL(read_byte(base, 5), 7);
    nbd_close(base);
    fixture_end(&f);
}

static void test_rename(void)
{
    struct fixture f;
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
    fixture_do(&f, "write golden %" PRIu64 " 0 7", MIB);
    struct nbd_handle *nbd = fixture_connect(&f, "golden");
    fixture_do(&f, "rename golden silver");
    fixture_do(&f, "create golden %" PRIu64, 32 * MIB);
    char byte = 8;
    CU_ASSERT_EQUAL(nbd_pwrite(nbd, &byte, 1, 5, 0), 0);
    struct nbd_handle *silver = fixture_connect(&f, "silver");
    struct nbd_handle *golden = fixture_connect(&f, "golden");
    CU_ASSERT_EQUAL(read_byte(silver, 5), 8);
    CU_ASSERT_EQUAL(read_byte(golden, 5), 0);
    nbd_close(nbd);
    nbd_close(silver);
    nbd_close(golden);
    fixture_end(&f);
}

/* ---- points in time ------------------------------------------------------------------------ */

/* Snapshot and clones stay what they were while the source is overwritten in random pieces. */
static void test_snapshot_stays(void)
{
    struct fixture f;
    uint64_t random = 11;
    AUTO_FREE char *buf = malloc(8 * MIB);
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create golden %" PRIu64, 8 * MIB);
    struct nbd_handle *golden = fixture_connect(&f, "golden");
    fixture_fill(buf, 8 * MIB, 0, 1);
    CU_ASSERT_EQUAL(nbd_pwrite(golden, buf, 8 * MIB, 0, 0), 0);
    /* The write was answered, so it is in, flushed or not. */
    fixture_do(&f, "snapshot golden base");
    fixture_do(&f, "clone golden vm1");
    struct nbd_handle *base = fixture_connect(&f, "golden@base");
    struct nbd_handle *vm1 = fixture_connect(&f, "vm1");
    for (unsigned i = 0; i < 300; i++)
    {
        uint64_t len = 1 + fixture_random(&random) % 20000;
        uint64_t at = fixture_random(&random) % (8 * MIB - len);
        fixture_fill(buf, len, at, 2);
        CU_ASSERT_EQUAL(nbd_pwrite(golden, buf, len, at, 0), 0);
    }
    CU_ASSERT_EQUAL(nbd_trim(golden, MIB, MIB, 0), 0);
    CU_ASSERT_EQUAL(nbd_pread(base, buf, 8 * MIB, 0, 0), 0);
    CU_ASSERT(fixture_is_filled(buf, 8 * MIB, 0, 1));
    CU_ASSERT_EQUAL(nbd_pread(vm1, buf, 8 * MIB, 0, 0), 0);
    CU_ASSERT(fixture_is_filled(buf, 8 * MIB, 0, 1));
    nbd_close(base);
    nbd_close(vm1);
    nbd_close(golden);
    fixture_end(&f);
}

struct changed
{
    bool blks[2048];
    uint64_t at; /* byte, where the next entry begins */
};

static int changed_cb(void *opaque, const char *context, uint64_t offset, uint32_t *entries,
                      size_t nr_entries, int *error)
{
    (void)context;
    (void)offset;
    (void)error;
    struct changed *changed = opaque;
    for (size_t i = 0; i + 1 < nr_entries; i += 2)
    {
        for (uint64_t at = changed->at; at < changed->at + entries[i]; at += 4096)
            changed->blks[at / 4096] = !(entries[i + 1] & LIBNBD_STATE_HOLE);
        changed->at += entries[i];
    }
    return 0;
}

/* The difference has every block that differs, none that nobody touched, and the bytes of B. */
static void check_difference(struct fixture *f, const char *name, const bool *written,
                             unsigned seed)
{
    AUTO_FREE struct changed *changed = calloc(1, sizeof(*changed));
    AUTO_FREE char *buf = malloc(8 * MIB);
    struct nbd_handle *nbd = fixture_connect(f, name);
    while (changed->at < 8 * MIB)
    {
        nbd_extent_callback callback = {.callback = changed_cb, .user_data = changed};
        CU_ASSERT_EQUAL_FATAL(
            nbd_block_status(nbd, 8 * MIB - changed->at, changed->at, callback, 0), 0);
    }
    CU_ASSERT_EQUAL(memcmp(changed->blks, written, sizeof(changed->blks)), 0);
    CU_ASSERT_EQUAL(nbd_pread(nbd, buf, 8 * MIB, 0, 0), 0);
    for (uint64_t blk = 0; blk < 2048; blk++)
    {
        const char *bytes = buf + blk * 4096;
        CU_ASSERT_FATAL(written[blk] ? fixture_is_filled(bytes, 4096, blk * 4096, seed)
                                     : fixture_is_zero(bytes, 4096));
    }
    nbd_close(nbd);
}

static void write_blks(struct nbd_handle *nbd, bool *written, uint64_t *random, unsigned seed)
{
    char block[4096];
    for (unsigned i = 0; i < 200; i++)
    {
        uint64_t blk = fixture_random(random) % 2048;
        written[blk] = true;
        fixture_fill(block, sizeof(block), blk * 4096, seed);
        CU_ASSERT_EQUAL(nbd_pwrite(nbd, block, sizeof(block), blk * 4096, 0), 0);
    }
}

static void test_difference(void)
{
    struct fixture f;
    uint64_t random = 12;
    static bool first[2048];
    static bool second[2048];
    static bool both[2048];
    static bool none[2048];
    memset(first, 0, sizeof(first));
    memset(second, 0, sizeof(second));
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create golden %" PRIu64, 8 * MIB);
    fixture_do(&f, "write golden %" PRIu64 " 0 7", 8 * MIB);
    fixture_do(&f, "snapshot golden a");
    struct nbd_handle *nbd = fixture_connect(&f, "golden");
    write_blks(nbd, first, &random, 21);
    fixture_do(&f, "snapshot golden b");
    check_difference(&f, "golden@a..golden@b", first, 21);
    check_difference(&f, "golden@a..golden", first, 21);
    check_difference(&f, "golden@b..golden", none, 21);
    /* A clone against its source's snapshot: with the same bytes written, both sets at once. */
    fixture_do(&f, "clone golden@b vm1");
    nbd_close(nbd);
    nbd = fixture_connect(&f, "vm1");
    write_blks(nbd, second, &random, 21);
    nbd_close(nbd);
    check_difference(&f, "golden@b..vm1", second, 21);
    for (size_t i = 0; i < ARRAY_SIZE(both); i++)
        both[i] = first[i] || second[i];
    check_difference(&f, "golden@a..vm1", both, 21);
    fixture_end(&f);
}

/* ---- a full pool --------------------------------------------------------------------------- */

/* Writes 1 MiB pieces from @at on until one fails; the errno of that, *at its place. */
static int fill_up(struct nbd_handle *nbd, uint64_t *at, uint64_t end)
{
    AUTO_FREE char *buf = malloc(MIB);
    for (; *at < end; *at += MIB)
    {
        fixture_fill(buf, MIB, *at, 4);
        if (nbd_pwrite(nbd, buf, MIB, *at, 0) < 0)
            return nbd_get_errno();
    }
    return 0;
}

static void check_readable(struct nbd_handle *nbd, uint64_t end)
{
    AUTO_FREE char *buf = malloc(MIB);
    for (uint64_t at = 0; at < end; at += MIB)
    {
        CU_ASSERT_EQUAL_FATAL(nbd_pread(nbd, buf, MIB, at, 0), 0);
        CU_ASSERT_FATAL(fixture_is_filled(buf, MIB, at, 4));
    }
}

static void test_full_pool(void)
{
    struct fixture f;
    uint64_t at = 0;
    fixture_start(&f, 128 * MIB);
    fixture_do(&f, "create old %" PRIu64, GIB);
    fixture_do(&f, "write old %" PRIu64 " 0 7", 24 * MIB);
    fixture_do(&f, "create golden %" PRIu64, GIB);
    struct nbd_handle *nbd = fixture_connect(&f, "golden");
    CU_ASSERT_EQUAL(fill_up(nbd, &at, GIB), ENOSPC);
    CU_ASSERT(at > 16 * MIB);
    CU_ASSERT(nbd_server_logged(&f.server, "failed: the pool or the LUN's volume is full"));
    check_readable(nbd, at);
    CU_ASSERT_EQUAL(nbd_flush(nbd, 0), 0);

    /* Own blocks can be overwritten and given back; another LUN can be deleted. */
    char block[4096];
    fixture_fill(block, sizeof(block), 0, 4);
    CU_ASSERT_EQUAL(nbd_pwrite(nbd, block, sizeof(block), 0, 0), 0);
    uint64_t before = at;
    CU_ASSERT_EQUAL(nbd_trim(nbd, 4 * MIB, at - 4 * MIB, 0), 0);
    at -= 4 * MIB;
    fixture_do(&f, "settle");
    CU_ASSERT_EQUAL(fill_up(nbd, &at, before - MIB), 0);

    fixture_do(&f, "delete old");
    fixture_do(&f, "settle");
    CU_ASSERT_EQUAL(fill_up(nbd, &at, GIB), ENOSPC);
    CU_ASSERT(at >= before + 20 * MIB);
    check_readable(nbd, at);

    before = at;
    fixture_do(&f, "grow %" PRIu64, 256 * MIB);
    CU_ASSERT_EQUAL(fill_up(nbd, &at, before + 64 * MIB), 0);
    check_readable(nbd, at);
    nbd_close(nbd);
    fixture_end(&f);
}

/* A client whose one write waits for room, for up to an hour. */
static struct nbd_handle *start_paused(struct fixture *f, void *buf, size_t len)
{
    fixture_start(f, 256 * MIB);
    fixture_do(f, "volume p %" PRIu64 " 3600000", 2 * MIB);
    fixture_do(f, "create p/a %" PRIu64, 8 * MIB);
    struct nbd_handle *nbd = fixture_connect(f, "p/a");
    CU_ASSERT_NOT_EQUAL_FATAL(nbd_aio_pwrite(nbd, buf, len, 0, NBD_NULL_COMPLETION, 0), -1);
    for (int i = 0; i < 600; i++)
    {
        nbd_poll(nbd, 100);
        fixture_do(f, "events volume.paused");
        if (fixture_said(f, "count") == 1)
            return nbd;
    }
    CU_FAIL_FATAL("the write does not wait");
    return nbd;
}

/* Who hangs up takes the write along, and does not keep the LUN open. */
static void test_paused_hangs_up(void)
{
    struct fixture f;
    AUTO_FREE char *buf = calloc(1, 4 * MIB);
    memset(buf, 1, 4 * MIB);
    struct nbd_handle *nbd = start_paused(&f, buf, 4 * MIB);
    nbd_close(nbd);
    bool is_closed = false;
    for (int i = 0; i < 600 && !is_closed; i++)
    {
        fixture_do(&f, "show p/a");
        is_closed = fixture_said(&f, "open") == 0;
        poll(NULL, 0, is_closed ? 0 : 100);
    }
    CU_ASSERT_TRUE(is_closed);
    if (!is_closed)
        nbd_server_kill(&f.server);
    fixture_end(&f);
}

/* A server that is told to stop does not wait for room. */
static void test_paused_stop(void)
{
    struct fixture f;
    AUTO_FREE char *buf = calloc(1, 4 * MIB);
    memset(buf, 1, 4 * MIB);
    struct nbd_handle *nbd = start_paused(&f, buf, 4 * MIB);
    CU_ASSERT_EQUAL(kill(f.server.pid, SIGTERM), 0);
    bool is_over = false;
    for (int i = 0; i < 600 && !is_over; i++)
    {
        siginfo_t info = {0};
        is_over = waitid(P_PID, (id_t)f.server.pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
                  info.si_pid == f.server.pid;
        poll(NULL, 0, is_over ? 0 : 100);
    }
    CU_ASSERT_TRUE(is_over);
    if (is_over)
        CU_ASSERT_EQUAL(nbd_server_stop(&f.server), 0);
    nbd_server_kill(&f.server);
    nbd_close(nbd);
    fixture_serve(&f, NULL);
    fixture_end(&f);
}

static CU_TestInfo manage_tests[] = {
    {"delete under a client", test_delete},
    {"delete a snapshot under a client", test_delete_snapshot},
    {"shrink under a client", test_shrink},
    {"grow under a client", test_grow},
    {"restore under a client", test_restore},
    {"rename under a client", test_rename},
    {"snapshot and clone stay while the source is written", test_snapshot_stays},
    {"differences", test_difference},
    {"a full pool, and its recovery", test_full_pool},
    {"a client hangs up while its write waits for room", test_paused_hangs_up},
    {"a stop while a write waits for room", test_paused_stop},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"manage", NULL, NULL, NULL, NULL, manage_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
