/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests at the edges of exports of all sizes, and clients that take their time to choose one. */
#include <CUnit/CUnit.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "tests/e2e/nbd/nbd_fixture.h"
#include "tests/lib/cunit_main.h"

#define PIB (UINT64_C(1) << 50)
#define FOUR_GIB_LESS_1 (4 * GIB - 1)

/* ---- block status -------------------------------------------------------------------------- */

struct status
{
    uint64_t len; /* covered by all extents, and by the first */
    uint32_t first_len, first_type;
};

static int status_cb(void *opaque, const char *context, uint64_t offset, uint32_t *entries,
                     size_t count, int *error)
{
    (void)context, (void)offset, (void)error;
    struct status *status = opaque;
    status->first_len = count ? entries[0] : 0;
    status->first_type = count ? entries[1] : 0;
    for (size_t i = 0; i < count; i += 2)
        status->len += entries[i];
    return 0;
}

static int get_status(struct nbd_handle *nbd, uint64_t len, uint64_t offset, struct status *status)
{
    nbd_extent_callback callback = {.callback = status_cb, .user_data = status};
    *status = (struct status){0};
    return nbd_block_status(nbd, len, offset, callback, 0);
}

static const uint32_t HOLE = LIBNBD_STATE_HOLE | LIBNBD_STATE_ZERO;

/* ---- the last byte ------------------------------------------------------------------------- */

static void check_byte(struct nbd_handle *nbd, uint64_t offset, char expected)
{
    char byte = '?';
    CU_ASSERT_EQUAL(nbd_pread(nbd, &byte, 1, offset, 0), 0);
    CU_ASSERT_EQUAL(byte, expected);
}

/* Everything that a request can be, on the last byte. The one before it stays. */
static void check_last_byte(struct nbd_handle *nbd, uint64_t size)
{
    struct status status;
    const uint64_t last = size - 1;
    CU_ASSERT_EQUAL(nbd_pwrite(nbd, "ab", 2, last - 1, LIBNBD_CMD_FLAG_FUA), 0);
    check_byte(nbd, last, 'b');
    CU_ASSERT_EQUAL(get_status(nbd, 1, last, &status), 0);
    CU_ASSERT(status.first_len == 1 && status.first_type == 0);
    CU_ASSERT_EQUAL(nbd_cache(nbd, 1, last, 0), 0);
    CU_ASSERT_EQUAL(nbd_zero(nbd, 1, last, LIBNBD_CMD_FLAG_NO_HOLE), 0);
    check_byte(nbd, last, 0);
    check_byte(nbd, last - 1, 'a');
    CU_ASSERT_EQUAL(nbd_pwrite(nbd, "c", 1, last, 0), 0);
    CU_ASSERT_EQUAL(nbd_trim(nbd, 1, last, LIBNBD_CMD_FLAG_FUA), 0);
    check_byte(nbd, last - 1, 'a');
    CU_ASSERT_EQUAL(nbd_zero(nbd, 2, last - 1, 0), 0);
    check_byte(nbd, last - 1, 0);
    CU_ASSERT_EQUAL(nbd_flush(nbd, 0), 0);
}

static void check_refused(int r, int expected)
{
    CU_ASSERT_EQUAL(r, -1);
    CU_ASSERT_EQUAL(nbd_get_errno(), expected);
}

/* One byte more than there is, by each request; and nothing at all. */
static void check_outside(struct nbd_handle *nbd, uint64_t size)
{
    struct status status;
    char two[2] = {0};
    check_refused(nbd_pread(nbd, two, 2, size - 1, 0), EINVAL);
    check_refused(nbd_pwrite(nbd, two, 2, size - 1, 0), ENOSPC);
    check_refused(nbd_zero(nbd, 2, size - 1, 0), ENOSPC);
    check_refused(nbd_trim(nbd, 2, size - 1, 0), EINVAL);
    check_refused(nbd_cache(nbd, 2, size - 1, 0), EINVAL);
    check_refused(get_status(nbd, 2, size - 1, &status), EINVAL);
    check_refused(nbd_zero(nbd, FOUR_GIB_LESS_1, size - 1, 0), ENOSPC);
    check_refused(nbd_trim(nbd, FOUR_GIB_LESS_1, UINT64_MAX, 0), EINVAL);
    check_refused(get_status(nbd, 0, 0, &status), EINVAL);
    check_refused(nbd_cache(nbd, 0, 0, 0), EINVAL);
    check_byte(nbd, size - 1, 0); /* and it goes on */
}

static void test_last_byte(void)
{
    static const uint64_t sizes[] = {512, 4096, 4608, 64 * MIB - 512, PIB};
    struct fixture f;
    fixture_start(&f, 256 * MIB);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
    {
        char name[16];
        snprintf(name, sizeof(name), "lun%zu", i);
        fixture_do(&f, "create %s %" PRIu64, name, sizes[i]);
        struct nbd_handle *nbd = fixture_connect(&f, name);
        check_last_byte(nbd, sizes[i]);
        check_outside(nbd, sizes[i]);
        nbd_close(nbd);
    }
    fixture_end(&f);
}

/* ---- the longest requests ------------------------------------------------------------------ */

/* 4 GiB - 1 up to the very end, on an odd offset; data before it and at its end. */
static void test_longest(void)
{
    struct fixture f;
    struct status status;
    const uint64_t start = PIB - FOUR_GIB_LESS_1;
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create huge %" PRIu64, PIB);
    struct nbd_handle *nbd = fixture_connect(&f, "huge");
    for (unsigned trims = 0; trims < 2; trims++)
    {
        CU_ASSERT_EQUAL(nbd_pwrite(nbd, "xy", 2, start - 1, 0), 0);
        CU_ASSERT_EQUAL(nbd_pwrite(nbd, "z", 1, PIB - 1, 0), 0);
        CU_ASSERT_EQUAL(trims ? nbd_trim(nbd, FOUR_GIB_LESS_1, start, 0)
                              : nbd_zero(nbd, FOUR_GIB_LESS_1, start, 0),
                        0);
        check_byte(nbd, start - 1, 'x');
        check_byte(nbd, start, 0);
        check_byte(nbd, PIB - 1, 0);
    }
    CU_ASSERT_EQUAL(get_status(nbd, FOUR_GIB_LESS_1, start + 4096 - start % 4096 - 4096, &status),
                    0);
    CU_ASSERT_EQUAL(status.first_type, 0); /* the block of 'x' */
    CU_ASSERT_EQUAL(get_status(nbd, FOUR_GIB_LESS_1 - 4096, start + 4096, &status), 0);
    CU_ASSERT(status.first_type == HOLE && status.len >= FOUR_GIB_LESS_1 - 4096);
    CU_ASSERT_EQUAL(nbd_zero(nbd, FOUR_GIB_LESS_1, start, LIBNBD_CMD_FLAG_FAST_ZERO), 0);

    /* Longer than data may be: refused, and the connection goes on. */
    AUTO_FREE char *buf = malloc(64 * MIB + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(buf);
    CU_ASSERT_EQUAL(nbd_pread(nbd, buf, 64 * MIB + 1, 0, 0), -1);
    check_byte(nbd, start - 1, 'x');
    nbd_close(nbd);
    fixture_end(&f);
}

/* ---- differences --------------------------------------------------------------------------- */

/* Of sizes that differ: what only the second has is a difference, what only the first has is not
 * there. */
static void test_differences(void)
{
    struct fixture f;
    struct status status;
    char buf[2] = {0};
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create golden %" PRIu64, 4 * MIB);
    fixture_do(&f, "write golden 4096 0 7");
    fixture_do(&f, "snapshot golden small");
    fixture_do(&f, "resize golden %" PRIu64, 8 * MIB + 512);
    fixture_do(&f, "write golden 1 %" PRIu64 " 8", 8 * MIB + 511);
    fixture_do(&f, "snapshot golden large");

    struct nbd_handle *nbd = fixture_connect(&f, "golden@small..golden@large");
    CU_ASSERT_EQUAL((uint64_t)nbd_get_size(nbd), 8 * MIB + 512);
    check_byte(nbd, 8 * MIB + 511, 8);
    CU_ASSERT_EQUAL(get_status(nbd, 1, 8 * MIB + 511, &status), 0);
    CU_ASSERT(status.first_len == 1 && status.first_type == 0);
    CU_ASSERT_EQUAL(get_status(nbd, 8 * MIB + 512, 0, &status), 0);
    CU_ASSERT(status.first_type == HOLE && status.first_len == 8 * MIB);
    check_refused(nbd_pread(nbd, buf, 2, 8 * MIB + 511, 0), EINVAL);
    nbd_close(nbd);

    nbd = fixture_connect(&f, "golden@large..golden@small");
    CU_ASSERT_EQUAL((uint64_t)nbd_get_size(nbd), 4 * MIB);
    check_byte(nbd, 4 * MIB - 1, 0);
    CU_ASSERT_EQUAL(get_status(nbd, 4 * MIB, 0, &status), 0);
    CU_ASSERT(status.first_type == HOLE && status.len == 4 * MIB);
    check_refused(nbd_pread(nbd, buf, 2, 4 * MIB - 1, 0), EINVAL);
    nbd_close(nbd);
    fixture_end(&f);
}

/* ---- choosing an export -------------------------------------------------------------------- */

static int count_cb(void *opaque, const char *name, const char *description)
{
    (void)name, (void)description;
    ++*(unsigned *)opaque;
    return 0;
}

static int contexts_cb(void *opaque, const char *name)
{
    *(unsigned *)opaque += strcmp(name, LIBNBD_CONTEXT_BASE_ALLOCATION) == 0;
    return 0;
}

static struct nbd_handle *begin_options(struct fixture *f)
{
    struct nbd_handle *nbd = nbd_create();
    CU_ASSERT_PTR_NOT_NULL_FATAL(nbd);
    nbd_set_opt_mode(nbd, true);
    nbd_set_strict_mode(nbd, 0);
    nbd_set_full_info(nbd, true);
    nbd_add_meta_context(nbd, LIBNBD_CONTEXT_BASE_ALLOCATION);
    CU_ASSERT_EQUAL_FATAL(nbd_connect_unix(nbd, f->server.socket_path), 0);
    return nbd;
}

/* Asks about one export after the other, also missing ones, before it takes one. */
static void check_many_questions(struct fixture *f)
{
    unsigned exports = 0, contexts = 0;
    struct nbd_handle *nbd = begin_options(f);
    nbd_list_callback list = {.callback = count_cb, .user_data = &exports};
    nbd_context_callback meta = {.callback = contexts_cb, .user_data = &contexts};
    CU_ASSERT_EQUAL(nbd_set_export_name(nbd, "missing"), 0);
    CU_ASSERT_EQUAL(nbd_opt_info(nbd), -1);
    CU_ASSERT_EQUAL(nbd_opt_go(nbd), -1);
    CU_ASSERT_EQUAL(nbd_set_export_name(nbd, "golden@base"), 0);
    CU_ASSERT_EQUAL(nbd_opt_info(nbd), 0);
    CU_ASSERT_EQUAL(nbd_is_read_only(nbd), 1);
    CU_ASSERT_EQUAL((uint64_t)nbd_get_size(nbd), 4 * MIB);
    CU_ASSERT(nbd_opt_list(nbd, list) >= 0);
    CU_ASSERT_EQUAL(exports, 2);
    CU_ASSERT_EQUAL(nbd_set_export_name(nbd, "golden"), 0);
    for (unsigned i = 0; i < 8; i++)
        CU_ASSERT_EQUAL(nbd_opt_info(nbd), 0);
    CU_ASSERT_EQUAL(nbd_is_read_only(nbd), 0);
    CU_ASSERT(nbd_opt_list_meta_context(nbd, meta) >= 1);
    CU_ASSERT(contexts >= 1);
    CU_ASSERT_EQUAL(nbd_opt_go(nbd), 0);
    CU_ASSERT_EQUAL((uint64_t)nbd_get_size(nbd), 8 * MIB);
    check_byte(nbd, 0, 7);
    nbd_close(nbd);
}

/* Asks and goes away, with a word and without one; or asks until nbdkit has enough of it. */
static void check_leaving(struct fixture *f)
{
    struct nbd_handle *nbd = begin_options(f);
    CU_ASSERT_EQUAL(nbd_set_export_name(nbd, "golden"), 0);
    CU_ASSERT_EQUAL(nbd_opt_info(nbd), 0);
    CU_ASSERT_EQUAL(nbd_opt_abort(nbd), 0);
    nbd_close(nbd);
    nbd = begin_options(f);
    CU_ASSERT_EQUAL(nbd_set_export_name(nbd, "golden"), 0);
    CU_ASSERT_EQUAL(nbd_opt_info(nbd), 0);
    nbd_close(nbd);
    unsigned answers = 0;
    nbd = begin_options(f);
    CU_ASSERT_EQUAL(nbd_set_export_name(nbd, "golden"), 0);
    while (answers < 1000 && nbd_opt_info(nbd) == 0)
        answers++;
    CU_ASSERT(answers > 8 && answers < 1000);
    nbd_close(nbd);
}

/* Clients of old: no structured replies, and not even a fixed newstyle handshake. */
static void check_old_clients(struct fixture *f)
{
    static const uint32_t flags[] = {0, LIBNBD_HANDSHAKE_FLAG_FIXED_NEWSTYLE,
                                     LIBNBD_HANDSHAKE_FLAG_NO_ZEROES, LIBNBD_HANDSHAKE_FLAG_MASK};
    for (size_t i = 0; i < 2 * ARRAY_SIZE(flags); i++)
    {
        struct nbd_handle *nbd = nbd_create();
        CU_ASSERT_PTR_NOT_NULL_FATAL(nbd);
        nbd_set_handshake_flags(nbd, flags[i / 2]);
        nbd_set_request_structured_replies(nbd, false);
        nbd_set_export_name(nbd, i % 2 ? "missing" : "golden");
        CU_ASSERT_EQUAL(nbd_connect_unix(nbd, f->server.socket_path), i % 2 ? -1 : 0);
        if (i % 2 == 0)
            check_byte(nbd, 4095, 7);
        nbd_close(nbd);
    }
}

/* nbdkit closes exports when it notices that their clients have gone. */
static bool is_closed_in_time(struct fixture *f, const char *name)
{
    enum
    {
        TRIES = 6000,
        TRY_MS = 10
    };
    for (unsigned i = 0; i < TRIES; i++)
    {
        fixture_do(f, "show %s", name);
        if (fixture_said(f, "open") == 0)
            return true;
        poll(NULL, 0, TRY_MS);
    }
    return false;
}

/* Nothing of all this leaves an export open. */
static void test_choosing(void)
{
    struct fixture f;
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create golden %" PRIu64, 4 * MIB);
    fixture_do(&f, "write golden 4096 0 7");
    fixture_do(&f, "snapshot golden base");
    fixture_do(&f, "resize golden %" PRIu64, 8 * MIB);
    check_many_questions(&f);
    check_leaving(&f);
    check_old_clients(&f);
    CU_ASSERT(is_closed_in_time(&f, "golden"));
    CU_ASSERT(is_closed_in_time(&f, "golden@base"));
    fixture_do(&f, "delete golden snapshots");
    fixture_end(&f);
}

static CU_TestInfo edges_tests[] = {
    {"the last byte, and the one behind it", test_last_byte},
    {"the longest requests", test_longest},
    {"differences of unequal sizes", test_differences},
    {"choosing an export", test_choosing},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"edges", NULL, NULL, NULL, NULL, edges_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
