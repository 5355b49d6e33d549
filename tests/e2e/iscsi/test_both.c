/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One LUN by both protocols: what one writes the other reads, a flush by one covers the writes of
 * the other, reservations hold for both and outlive the server, and a full pool is told to both.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "tests/e2e/iscsi/both.h"
#include "tests/lib/cunit_main.h"

enum
{
    CHUNK = 64 << 10,
    REGISTER_AND_IGNORE = SCSI_PERSISTENT_RESERVE_REGISTER_AND_IGNORE_EXISTING_KEY,
    RESERVE = SCSI_PERSISTENT_RESERVE_RESERVE,
    RELEASE = SCSI_PERSISTENT_RESERVE_RELEASE,
    WRITE_EXCLUSIVE = SCSI_PERSISTENT_RESERVE_TYPE_WRITE_EXCLUSIVE,
    WRITE_EXCLUSIVE_REGISTRANTS = SCSI_PERSISTENT_RESERVE_TYPE_WRITE_EXCLUSIVE_REGISTRANTS_ONLY,
    EXCLUSIVE_ACCESS = SCSI_PERSISTENT_RESERVE_TYPE_EXCLUSIVE_ACCESS,
    CONFLICT = SCSI_STATUS_RESERVATION_CONFLICT,
    SPACE_FAILED = 7 << 16 | 0x2707,
    SOFT_THRESHOLD = 6 << 16 | 0x3807,
    RESERVATIONS_RELEASED = 6 << 16 | 0x2a04,
};

static struct both both;
static uint8_t ours[CHUNK], theirs[CHUNK];

static void fill(uint8_t *bytes, uint32_t seed)
{
    for (size_t i = 0; i < CHUNK; i += 4)
    {
        seed = seed * 1664525 + 1013904223;
        memcpy(bytes + i, &seed, 4);
    }
}

static void start_with_lun(const char *pool_size, const char *lun_size)
{
    both_start(&both, pool_size);
    both_do(&both, "lun create disk %s", lun_size);
    both_do(&both, "lun map disk --igroup g --lun-id 3");
}

static void kill_and_serve(bool with_portal)
{
    nbd_server_kill(&both.server);
    both_serve(&both, with_portal);
}

static void test_coherence(void)
{
    start_with_lun("512M", "64M");
    struct iscsi_context *iscsi = both_login(&both, BOTH_A, 1, 3);
    struct nbd_handle *nbd = both_connect(&both, "disk");
    for (uint32_t round = 0; round < 8; round++)
    {
        uint64_t offset = round * UINT64_C(3) * CHUNK + round * 512;
        fill(ours, round);
        CU_ASSERT_EQUAL(both_write(iscsi, 3, 512, ours, CHUNK, offset), 0);
        CU_ASSERT_EQUAL(nbd_pread(nbd, theirs, CHUNK, offset, 0), 0);
        CU_ASSERT_EQUAL(memcmp(ours, theirs, CHUNK), 0);
        fill(ours, round + 100);
        CU_ASSERT_EQUAL(nbd_pwrite(nbd, ours, CHUNK, offset, 0), 0);
        CU_ASSERT_EQUAL(both_read(iscsi, 3, 512, theirs, CHUNK, offset), 0);
        CU_ASSERT_EQUAL(memcmp(ours, theirs, CHUNK), 0);
        CU_ASSERT_EQUAL(nbd_trim(nbd, CHUNK, offset, 0), 0);
        CU_ASSERT_EQUAL(both_read(iscsi, 3, 512, theirs, CHUNK, offset), 0);
        CU_ASSERT(theirs[0] == 0 && memcmp(theirs, theirs + 1, CHUNK - 1) == 0);
    }
    nbd_close(nbd);
    iscsi_destroy_context(iscsi);
    both_end(&both);
}

/* The server is killed right behind the flush. */
static void test_flush(void)
{
    start_with_lun("512M", "64M");
    for (uint32_t round = 0; round < 6; round++)
    {
        struct iscsi_context *iscsi = both_login(&both, BOTH_A, 1, 3);
        struct nbd_handle *nbd = both_connect(&both, "disk");
        uint64_t offset = round * UINT64_C(2) * CHUNK;
        fill(ours, round);
        if (round % 2)
        {
            CU_ASSERT_EQUAL(both_write(iscsi, 3, 512, ours, CHUNK, offset), 0);
            CU_ASSERT_EQUAL(nbd_flush(nbd, 0), 0);
        }
        else
        {
            CU_ASSERT_EQUAL(nbd_pwrite(nbd, ours, CHUNK, offset, 0), 0);
            CU_ASSERT_EQUAL(both_flush(iscsi, 3), 0);
        }
        kill_and_serve(true);
        nbd_close(nbd);
        iscsi_destroy_context(iscsi);
        nbd = both_connect(&both, "disk");
        CU_ASSERT_EQUAL(nbd_pread(nbd, theirs, CHUNK, offset, 0), 0);
        CU_ASSERT_EQUAL(memcmp(ours, theirs, CHUNK), 0);
        nbd_close(nbd);
    }
    both_end(&both);
}

/* 0 or NBD's error. */
static int nbd_write_error(struct nbd_handle *nbd)
{
    return nbd_pwrite(nbd, ours, 4096, 0, 0) == 0 ? 0 : nbd_get_errno();
}

static int nbd_read_error(struct nbd_handle *nbd)
{
    return nbd_pread(nbd, theirs, 4096, 0, 0) == 0 ? 0 : nbd_get_errno();
}

static void test_reservations(void)
{
    start_with_lun("512M", "64M");
    both_do(&both, "lun create other 64M");
    struct iscsi_context *a = both_login(&both, BOTH_A, 1, 3);
    struct nbd_handle *nbd = both_connect(&both, "disk");
    struct nbd_handle *other = both_connect(&both, "other");
    CU_ASSERT_EQUAL(nbd_write_error(nbd), 0);
    CU_ASSERT_EQUAL(both_reserve_out(a, 3, REGISTER_AND_IGNORE, 0, 0, 0xa, false), 0);
    CU_ASSERT_EQUAL(nbd_write_error(nbd), 0);
    CU_ASSERT_EQUAL(both_reserve_out(a, 3, RESERVE, WRITE_EXCLUSIVE, 0xa, 0, false), 0);
    CU_ASSERT_EQUAL(nbd_write_error(nbd), EPERM);
    CU_ASSERT_EQUAL(nbd_zero(nbd, 4096, 0, 0), -1);
    CU_ASSERT_EQUAL(nbd_get_errno(), EPERM);
    CU_ASSERT_EQUAL(nbd_trim(nbd, 4096, 0, 0), -1);
    CU_ASSERT_EQUAL(nbd_get_errno(), EPERM);
    CU_ASSERT_EQUAL(nbd_read_error(nbd), 0);
    CU_ASSERT_EQUAL(nbd_flush(nbd, 0), 0);
    CU_ASSERT_EQUAL(nbd_write_error(other), 0);
    both_do(&both, "mapping show disk --json");
    CU_ASSERT_PTR_NOT_NULL(strstr(both.said, "Initiator " BOTH_A " holds"));
    CU_ASSERT(nbd_server_logged(&both.server, BOTH_A));
    /* A client that comes later is no better off. */
    struct nbd_handle *late = both_connect(&both, "disk");
    CU_ASSERT_EQUAL(nbd_write_error(late), EPERM);
    nbd_close(late);
    CU_ASSERT_EQUAL(both_write(a, 3, 512, ours, 4096, 0), 0);
    CU_ASSERT_EQUAL(both_reserve_out(a, 3, RELEASE, WRITE_EXCLUSIVE, 0xa, 0, false), 0);
    CU_ASSERT_EQUAL(nbd_write_error(nbd), 0);
    CU_ASSERT_EQUAL(both_reserve_out(a, 3, RESERVE, EXCLUSIVE_ACCESS, 0xa, 0, false), 0);
    CU_ASSERT_EQUAL(nbd_write_error(nbd), EPERM);
    CU_ASSERT_EQUAL(nbd_read_error(nbd), EPERM);
    CU_ASSERT_EQUAL(both_reserve_out(a, 3, RELEASE, EXCLUSIVE_ACCESS, 0xa, 0, false), 0);
    CU_ASSERT_EQUAL(both_reserve_out(a, 3, REGISTER_AND_IGNORE, 0, 0xa, 0, false), 0);
    /* The old RESERVE ends with its session. */
    CU_ASSERT_EQUAL(both_result(iscsi_reserve6_sync(a, 3)), 0);
    CU_ASSERT_EQUAL(nbd_write_error(nbd), EPERM);
    CU_ASSERT_EQUAL(iscsi_logout_sync(a), 0);
    iscsi_destroy_context(a);
    CU_ASSERT_EQUAL(nbd_write_error(nbd), 0);
    nbd_close(nbd);
    nbd_close(other);
    both_end(&both);
}

/* With APTPL a reservation is there again after kill -9, for both, and before anybody logs in. */
static void test_reservations_after_crash(void)
{
    start_with_lun("512M", "64M");
    struct iscsi_context *a = both_login(&both, BOTH_A, 1, 3);
    struct iscsi_context *b = both_login(&both, BOTH_B, 2, 3);
    CU_ASSERT_EQUAL(both_reserve_out(a, 3, REGISTER_AND_IGNORE, 0, 0, 0xa, true), 0);
    CU_ASSERT_EQUAL(both_reserve_out(a, 3, RESERVE, WRITE_EXCLUSIVE, 0xa, 0, false), 0);
    for (int round = 0; round < 2; round++)
    {
        kill_and_serve(round == 0); /* then without a portal */
        struct nbd_handle *nbd = both_connect(&both, "disk");
        CU_ASSERT_EQUAL(nbd_write_error(nbd), EPERM);
        CU_ASSERT_EQUAL(nbd_read_error(nbd), 0);
        nbd_close(nbd);
    }
    kill_and_serve(true);
    iscsi_destroy_context(a);
    iscsi_destroy_context(b);
    b = both_login(&both, BOTH_B, 2, 3);
    CU_ASSERT_EQUAL(both_write(b, 3, 512, ours, 4096, 0), CONFLICT);
    a = both_login(&both, BOTH_A, 1, 3);
    CU_ASSERT_EQUAL(both_write(a, 3, 512, ours, 4096, 0), 0);
    CU_ASSERT_EQUAL(both_reserve_out(a, 3, RELEASE, WRITE_EXCLUSIVE, 0xa, 0, false), 0);
    CU_ASSERT_EQUAL(both_reserve_out(a, 3, REGISTER_AND_IGNORE, 0, 0xa, 0, true), 0);
    kill_and_serve(true);
    iscsi_destroy_context(a);
    iscsi_destroy_context(b);
    struct nbd_handle *nbd = both_connect(&both, "disk");
    CU_ASSERT_EQUAL(nbd_write_error(nbd), 0);
    nbd_close(nbd);
    both_end(&both);
}

/*
 * The holder is gone for good: the administrator takes its reservation away, for both protocols and
 * for ever; who shares it is told.
 */
static void test_reservations_cleared(void)
{
    static const char clear_a[] = "lun reservation clear disk --initiator " BOTH_A;
    start_with_lun("512M", "64M");
    struct iscsi_context *a = both_login(&both, BOTH_A, 1, 3);
    CU_ASSERT_EQUAL(both_reserve_out(a, 3, REGISTER_AND_IGNORE, 0, 0, 0xa, true), 0);
    CU_ASSERT_EQUAL(both_reserve_out(a, 3, RESERVE, WRITE_EXCLUSIVE_REGISTRANTS, 0xa, 0, false), 0);
    iscsi_destroy_context(a);
    struct iscsi_context *b = both_login(&both, BOTH_B, 2, 3);
    CU_ASSERT_EQUAL(both_reserve_out(b, 3, REGISTER_AND_IGNORE, 0, 0, 0xb, true), 0);
    struct nbd_handle *nbd = both_connect(&both, "disk");
    CU_ASSERT_EQUAL(nbd_write_error(nbd), EPERM);
    both_do(&both, "lun reservation show disk");
    CU_ASSERT_PTR_NOT_NULL(strstr(both.said, BOTH_A));
    CU_ASSERT_PTR_NOT_NULL(strstr(both.said, "0x000000000000000a"));
    CU_ASSERT_PTR_NOT_NULL(strstr(both.said, "write exclusive, registrants only"));

    both_do(&both, "%s --dry-run", clear_a);
    CU_ASSERT_PTR_NOT_NULL(strstr(both.said, "which holds the reservation"));
    CU_ASSERT_PTR_NULL(strstr(both.said, BOTH_B));
    CU_ASSERT_EQUAL(nbd_write_error(nbd), EPERM);
    both_do(&both, "%s", clear_a);
    CU_ASSERT_EQUAL(nbd_write_error(nbd), 0);
    CU_ASSERT_EQUAL(both_result(iscsi_testunitready_sync(b, 3)), RESERVATIONS_RELEASED);
    CU_ASSERT_EQUAL(both_write(b, 3, 512, ours, 4096, 0), 0);
    both_do(&both, "event show --json");
    CU_ASSERT_PTR_NOT_NULL(strstr(both.said, "lun.reservation.cleared"));
    CU_ASSERT_NOT_EQUAL(both_try(&both, "%s", clear_a), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(both.said, "lunette lun reservation show disk"));

    CU_ASSERT_EQUAL(both_reserve_out(b, 3, RESERVE, WRITE_EXCLUSIVE, 0xb, 0, false), 0);
    nbd_close(nbd);
    kill_and_serve(false);
    iscsi_destroy_context(b);
    nbd = both_connect(&both, "disk");
    CU_ASSERT_EQUAL(nbd_write_error(nbd), EPERM);
    /* Nobody is there, and no portal. */
    both_do(&both, "lun reservation show disk --json");
    CU_ASSERT_PTR_NULL(strstr(both.said, BOTH_A));
    both_do(&both, "lun reservation clear disk --yes --json");
    CU_ASSERT_PTR_NOT_NULL(strstr(both.said, BOTH_B));
    CU_ASSERT_EQUAL(nbd_write_error(nbd), 0);
    nbd_close(nbd);
    kill_and_serve(true);
    nbd = both_connect(&both, "disk");
    CU_ASSERT_EQUAL(nbd_write_error(nbd), 0);
    nbd_close(nbd);
    both_end(&both);
}

/* A copy inside the target is nobody's: a reservation keeps it out of the LUN, as it does NBD. */
static void test_reservations_and_copies(void)
{
    static const char into[] = "lun clone other disk --range 0:0:8 --force";
    static const char from[] = "lun clone disk other --range 0:0:8 --force";
    start_with_lun("512M", "64M");
    both_do(&both, "lun create other 64M");
    struct iscsi_context *a = both_login(&both, BOTH_A, 1, 3);
    CU_ASSERT_EQUAL(both_write(a, 3, 512, ours, 4096, 0), 0);
    CU_ASSERT_EQUAL(both_reserve_out(a, 3, REGISTER_AND_IGNORE, 0, 0, 0xa, false), 0);
    CU_ASSERT_EQUAL(both_reserve_out(a, 3, RESERVE, WRITE_EXCLUSIVE, 0xa, 0, false), 0);
    CU_ASSERT_NOT_EQUAL(both_try(&both, "%s", into), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(both.said, BOTH_A));
    CU_ASSERT_PTR_NOT_NULL(strstr(both.said, "lunette lun reservation show disk"));
    CU_ASSERT_NOT_EQUAL(both_try(&both, "%s --dry-run", into), 0);
    both_do(&both, "%s", from);
    CU_ASSERT_PTR_NOT_NULL(strstr(both.said, "4 KiB of data"));
    CU_ASSERT_EQUAL(both_reserve_out(a, 3, RELEASE, WRITE_EXCLUSIVE, 0xa, 0, false), 0);
    CU_ASSERT_EQUAL(both_reserve_out(a, 3, RESERVE, EXCLUSIVE_ACCESS, 0xa, 0, false), 0);
    CU_ASSERT_NOT_EQUAL(both_try(&both, "%s", into), 0);
    CU_ASSERT_NOT_EQUAL(both_try(&both, "%s", from), 0);
    CU_ASSERT_EQUAL(both_reserve_out(a, 3, RELEASE, EXCLUSIVE_ACCESS, 0xa, 0, false), 0);
    both_do(&both, "%s", into);
    both_do(&both, "%s", from);
    iscsi_destroy_context(a);
    both_end(&both);
}

/*
 * Writes until it is refused: the last result. The soft threshold is told to the writer and to the
 * witness, who is asked all the time, also because an initiator that is silent for long is dropped.
 */
static int fill_by_iscsi(struct iscsi_context *iscsi, uint64_t lun_bytes,
                         struct iscsi_context *witness, unsigned *warnings, unsigned *witnessed)
{
    static uint8_t bulk[4 << 20];
    memset(bulk, 0x5a, sizeof(bulk));
    for (uint64_t at = 0; at + sizeof(bulk) <= lun_bytes; at += sizeof(bulk))
    {
        int result = both_write(iscsi, 3, 512, bulk, sizeof(bulk), at);
        if (result == SOFT_THRESHOLD)
        {
            ++*warnings;
            result = both_write(iscsi, 3, 512, bulk, sizeof(bulk), at);
        }
        if (both_result(iscsi_testunitready_sync(witness, 4)) == SOFT_THRESHOLD)
            ++*witnessed;
        if (result != 0)
            return result;
    }
    return 0;
}

static void test_full_pool(void)
{
    unsigned warnings = 0, witnessed = 0;
    start_with_lun("256M", "1G");
    both_do(&both, "lun create small 64M");
    both_do(&both, "lun map small --igroup g --lun-id 4");
    struct iscsi_context *iscsi = both_login(&both, BOTH_A, 1, 3);
    struct iscsi_context *witness = both_login(&both, BOTH_B, 2, 4);
    CU_ASSERT_EQUAL(fill_by_iscsi(iscsi, UINT64_C(1) << 30, witness, &warnings, &witnessed),
                    SPACE_FAILED);
    CU_ASSERT_EQUAL(warnings, 1);
    CU_ASSERT_EQUAL(witnessed, 1); /* all that see a LUN of the pool are told, once */
    CU_ASSERT_EQUAL(both_result(iscsi_testunitready_sync(witness, 4)), 0);
    struct nbd_handle *nbd = both_connect(&both, "small");
    fill(ours, 1);
    int r = 0;
    for (uint64_t at = 0; r == 0 && at + CHUNK <= UINT64_C(64) << 20; at += CHUNK)
        r = nbd_pwrite(nbd, ours, CHUNK, at, 0);
    CU_ASSERT_EQUAL(r, -1);
    CU_ASSERT_EQUAL(nbd_get_errno(), ENOSPC);
    nbd_close(nbd);
    /* Room again, and both go on. */
    iscsi_destroy_context(iscsi);
    iscsi_destroy_context(witness);
    both_do(&both, "lun delete disk --force");
    both_do(&both, "job wait --timeout 60s");
    nbd = both_connect(&both, "small");
    CU_ASSERT_EQUAL(nbd_pwrite(nbd, ours, CHUNK, UINT64_C(32) << 20, 0), 0);
    nbd_close(nbd);
    both_end(&both);
}

/* ---- descriptors ---------------------------------------------------------------------------- */

/* An NBD client that says nothing, until it is hung up on. */
static void be_silent(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char buf[64];
    memcpy(address.sun_path, both.server.socket_path, strlen(both.server.socket_path) + 1);
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    while (recv(fd, buf, sizeof(buf), 0) > 0)
        continue;
}

/* NBD clients that have gone had a while to negotiate in. When it is over, whoever has got their
 * descriptors since is left alone. */
static void test_descriptors(void)
{
    enum
    {
        CLIENTS = 8,
        SESSIONS = 40, /* which take all of theirs, and all else that is free below them */
    };
    static const char *const options[] = {"nbd-handshake-ms=4000", NULL};
    struct nbd_handle *gone[CLIENTS];
    struct iscsi_context *sessions[SESSIONS];
    both_start_with(&both, "256M", options);
    both_do(&both, "lun create disk 64M");
    both_do(&both, "lun map disk --igroup g --lun-id 3");
    for (unsigned i = 0; i < CLIENTS; i++)
        gone[i] = both_connect(&both, "disk");
    for (unsigned i = 0; i < CLIENTS; i++)
        nbd_close(gone[i]);
    do
        both_do(&both, "lun show disk --json");
    while (!strstr(both.said, "\"open\": 0"));
    for (unsigned i = 0; i < SESSIONS; i++)
        sessions[i] = both_login(&both, BOTH_A, 1 + i, 3);
    be_silent(); /* who came before it would be late by now */
    for (unsigned i = 0; i < SESSIONS; i++)
    {
        CU_ASSERT_EQUAL(both_result(iscsi_testunitready_sync(sessions[i], 3)), 0);
        iscsi_destroy_context(sessions[i]);
    }
    both_end(&both);
}

static CU_TestInfo both_tests[] = {
    {"what one writes the other reads", test_coherence},
    {"a flush covers the other's writes", test_flush},
    {"reservations hold for both", test_reservations},
    {"reservations after a crash", test_reservations_after_crash},
    {"reservations cleared by the administrator", test_reservations_cleared},
    {"reservations keep copies out", test_reservations_and_copies},
    {"a full pool", test_full_pool},
    {"descriptors of clients that have gone", test_descriptors},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"both protocols", NULL, NULL, NULL, NULL, both_tests},
        CU_SUITE_INFO_NULL,
    };
    if (!both_is_durable())
    {
        puts("SKIP: the engine in memory keeps nothing");
        return 77;
    }
    return cunit_main(suites, argc, argv);
}
