/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clients that go away with requests under way harm nobody else. nbdkit 1.32 would abort
 * (plugin/hangup_guard.c), within the first few of them.
 */
#include <CUnit/CUnit.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "tests/e2e/nbd/nbd_fixture.h"
#include "tests/lib/cunit_main.h"

enum
{
    HANGUP_READS = 16,
    HANGUP_READ_BYTES = 2 << 20,
    HANGUP_ROUNDS = 30,
};

/* Long enough for those who do negotiate, on any machine. */
#define HANGUP_HANDSHAKE "nbd-handshake-ms=4000"

static int hangup_socket(struct fixture *f)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, f->server.socket_path, strlen(f->server.socket_path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* A client that has asked for more than fits into the socket, and reads none of it. */
static struct nbd_handle *hangup_client(int fd, char *buf)
{
    struct nbd_handle *nbd = nbd_create();
    nbd_set_export_name(nbd, "golden");
    CU_ASSERT_EQUAL_FATAL(nbd_connect_socket(nbd, fd), 0);
    for (int i = 0; i < HANGUP_READS; i++)
        CU_ASSERT_NOT_EQUAL(nbd_aio_pread(nbd, buf, HANGUP_READ_BYTES, 0, NBD_NULL_COMPLETION, 0),
                            -1);
    return nbd;
}

/* @words are sent before the client leaves. */
static void hangup_rounds(const char *words, size_t len, bool shuts_down)
{
    struct fixture f;
    fixture_start(&f, 256 * MIB);
    fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
    fixture_do(&f, "write golden %" PRIu64 " 0 7", 4 * MIB);
    struct nbd_handle *other = fixture_connect(&f, "golden");
    AUTO_FREE char *buf = malloc(HANGUP_READ_BYTES);
    AUTO_FREE char *check = malloc(HANGUP_READ_BYTES);
    for (int i = 0; i < HANGUP_ROUNDS; i++)
    {
        int fd = hangup_socket(&f), second = dup(fd);
        struct nbd_handle *nbd = hangup_client(fd, buf);
        usleep(1000U * (unsigned)(i % 10));
        if (len > 0)
            CU_ASSERT_EQUAL(send(second, words, len, MSG_NOSIGNAL), (ssize_t)len);
        if (shuts_down)
            shutdown(second, SHUT_RD);
        usleep(1000U * (unsigned)(i / 10));
        nbd_close(nbd);
        close(second);
        CU_ASSERT_EQUAL_FATAL(nbd_pread(other, check, HANGUP_READ_BYTES, 0, 0), 0);
    }
    CU_ASSERT_EQUAL(kill(f.server.pid, 0), 0);
    nbd_close(other);
    fixture_end(&f);
}

static void test_closes(void)
{
    hangup_rounds(NULL, 0, false);
}

static void test_stops_reading(void)
{
    hangup_rounds(NULL, 0, true);
}

/* 28 bytes that are no request: the reader gives up while others send. */
static void test_garbage(void)
{
    static const char garbage[28] = "this is no request of NBD...";
    hangup_rounds(garbage, sizeof(garbage), false);
}

/* A write of which only the head comes. */
static void test_cut_write(void)
{
    static const unsigned char head[28 + 5] = {0x25, 0x60, 0x95, 0x13, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0,
                                               9,    0,    0,    0,    0, 0, 0, 0, 0, 0, 0, 0, 16};
    hangup_rounds((const char *)head, sizeof(head), false);
}

/* ---- negotiations --------------------------------------------------------------------------- */

/* Whether the server has hung up, once what it sent is read. */
static bool hangup_is_over(int fd)
{
    const struct timeval patience = {.tv_sec = 60};
    char buf[512];
    CU_ASSERT_EQUAL(fcntl(fd, F_SETFL, 0), 0); /* libnbd's do not block */
    CU_ASSERT_EQUAL(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    ssize_t got;
    while ((got = recv(fd, buf, sizeof(buf), 0)) > 0)
        continue;
    return got == 0 || errno == ECONNRESET;
}

/* They say nothing, a part of it, or all but the name of an export that there is. One that is
 * connected, and has been idle for longer, goes on. */
static void test_negotiation(void)
{
    static const unsigned char flags[] = {0, 0, 0, 3};
    static const unsigned char cut[] = {0, 0, 0, 3, 'I', 'H', 'A', 'V', 'E'};
    static const unsigned char wrong[] = {0, 0, 0, 3, 'I', 'H', 'A', 'V', 'E', 'O', 'P', 'T',
                                          0, 0, 0, 7, 0,   0,   0,   28,  0,   0,   0,   22};
    static const struct
    {
        const unsigned char *bytes;
        size_t len;
    } words[] = {{NULL, 0}, {flags, sizeof(flags)}, {cut, sizeof(cut)}, {wrong, sizeof(wrong)}};
    const char *const limit[] = {HANGUP_HANDSHAKE, NULL};
    struct fixture f;
    int fds[8 * ARRAY_SIZE(words)];
    char buf[512];
    fixture_make(&f, 256 * MIB);
    fixture_serve(&f, limit);
    fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
    struct nbd_handle *other = fixture_connect(&f, "golden");
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
    {
        fds[i] = hangup_socket(&f);
        size_t len = words[i % ARRAY_SIZE(words)].len;
        if (len > 0)
            CU_ASSERT_EQUAL(send(fds[i], words[i % ARRAY_SIZE(words)].bytes, len, MSG_NOSIGNAL),
                            (ssize_t)len);
    }
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
    {
        CU_ASSERT_TRUE(hangup_is_over(fds[i]));
        close(fds[i]);
    }
    CU_ASSERT_EQUAL(nbd_pread(other, buf, sizeof(buf), 0, 0), 0);
    struct nbd_handle *late = fixture_connect(&f, "golden");
    CU_ASSERT_EQUAL(nbd_pread(late, buf, sizeof(buf), 0, 0), 0);
    nbd_close(late);
    nbd_close(other);
    fixture_end(&f);
}

/* Who was told of an export by NBD_OPT_INFO, however often, negotiates still. */
static void test_told_of_export(void)
{
    const char *const limit[] = {HANGUP_HANDSHAKE, NULL};
    struct fixture f;
    struct nbd_handle *told[8];
    char buf[512];
    fixture_make(&f, 256 * MIB);
    fixture_serve(&f, limit);
    fixture_do(&f, "create golden %" PRIu64, 64 * MIB);
    struct nbd_handle *idle = fixture_connect(&f, "golden");
    for (size_t i = 0; i < ARRAY_SIZE(told); i++)
    {
        told[i] = nbd_create();
        nbd_set_opt_mode(told[i], true);
        CU_ASSERT_EQUAL_FATAL(nbd_connect_unix(told[i], f.server.socket_path), 0);
        nbd_set_export_name(told[i], "golden");
        for (size_t j = 0; j <= i; j++)
            CU_ASSERT_EQUAL(nbd_opt_info(told[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(told); i++)
    {
        CU_ASSERT_TRUE_FATAL(hangup_is_over(nbd_aio_get_fd(told[i])));
        nbd_close(told[i]);
    }
    /* It has been idle for longer. One that asks and then goes on is served. */
    CU_ASSERT_EQUAL(nbd_pread(idle, buf, sizeof(buf), 0, 0), 0);
    struct nbd_handle *asks = nbd_create();
    nbd_set_opt_mode(asks, true);
    CU_ASSERT_EQUAL_FATAL(nbd_connect_unix(asks, f.server.socket_path), 0);
    nbd_set_export_name(asks, "golden");
    CU_ASSERT_EQUAL(nbd_opt_info(asks), 0);
    CU_ASSERT_EQUAL(nbd_opt_go(asks), 0);
    /* The deadline of the first is over by the time that a later one is hung up on. */
    int silent = hangup_socket(&f);
    CU_ASSERT_TRUE(hangup_is_over(silent));
    close(silent);
    CU_ASSERT_EQUAL(nbd_pread(asks, buf, sizeof(buf), 0, 0), 0);
    nbd_close(asks);
    nbd_close(idle);
    fixture_end(&f);
}

static CU_TestInfo hangup_tests[] = {
    {"a client closes with answers under way", test_closes},
    {"a client stops reading", test_stops_reading},
    {"a client sends garbage with answers under way", test_garbage},
    {"a client goes in the middle of a write", test_cut_write},
    {"clients that do not end their negotiation", test_negotiation},
    {"clients that are told of an export and then say nothing", test_told_of_export},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"hangup", NULL, NULL, NULL, NULL, hangup_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
