/* SPDX-License-Identifier: BSD-3-Clause */
/* The send() that is preloaded into nbdkit. It is linked in here, so this program is "nbdkit". */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/cunit_main.h"

enum
{
    BIG_BYTES = 1 << 20,
    ROUNDS = 200,
};

static int pair[2];

static void start(int type)
{
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, type, 0, pair), 0);
}

static void stop(void)
{
    close(pair[0]);
    close(pair[1]);
}

static void send_all(int fd, const char *text, int flags)
{
    CU_ASSERT_EQUAL(send(fd, text, strlen(text), flags), (ssize_t)strlen(text));
}

/* What the other end finds now. Of SOCK_SEQPACKET, what one call has sent. */
static void expect(int fd, const char *text)
{
    char got[256] = "";
    ssize_t r = recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT);
    CU_ASSERT_EQUAL(r, (ssize_t)strlen(text));
    CU_ASSERT_EQUAL(strcmp(got, text), 0);
}

static void expect_nothing(int fd)
{
    char c;
    errno = 0;
    CU_ASSERT_EQUAL(recv(fd, &c, 1, MSG_DONTWAIT), -1);
    CU_ASSERT_EQUAL(errno, EAGAIN);
}

static void test_one_call(void)
{
    start(SOCK_SEQPACKET);
    for (int i = 0; i < 3; i++)
    {
        send_all(pair[0], "header ", MSG_MORE);
        send_all(pair[0], "offset ", MSG_MORE);
        expect_nothing(pair[1]);
        send_all(pair[0], "data", 0);
        expect(pair[1], "header offset data");
        send_all(pair[0], "alone", 0);
        expect(pair[1], "alone");
    }
    stop();
}

/* What is too much to hold leaves at once, with what was held. */
static void test_long(void)
{
    start(SOCK_SEQPACKET);
    char line[61];
    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    send_all(pair[0], "12345", MSG_MORE);
    send_all(pair[0], line, MSG_MORE);
    char both[80];
    snprintf(both, sizeof(both), "12345%s", line);
    expect(pair[1], both);
    send_all(pair[0], "6789", MSG_MORE);
    send_all(pair[0], line, MSG_MORE);
    expect_nothing(pair[1]);
    send_all(pair[0], "!", 0);
    snprintf(both, sizeof(both), "6789%s!", line);
    expect(pair[1], both);
    stop();
}

/* "More" is said, and nothing follows. */
static void test_no_more(void)
{
    start(SOCK_STREAM);
    char c;
    send_all(pair[0], "before a read", MSG_MORE);
    expect_nothing(pair[1]);
    CU_ASSERT_EQUAL(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
    CU_ASSERT_EQUAL(read(pair[0], &c, 1), -1);
    expect(pair[1], "before a read");
    send_all(pair[0], "before a shutdown", MSG_MORE);
    CU_ASSERT_EQUAL(shutdown(pair[0], SHUT_RD), 0);
    expect(pair[1], "before a shutdown");
    send_all(pair[0], "before a close", MSG_MORE);
    CU_ASSERT_EQUAL(close(pair[0]), 0);
    expect(pair[1], "before a close");
    close(pair[1]);
}

static void test_two_connections(void)
{
    start(SOCK_SEQPACKET);
    int other[2];
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, other), 0);
    send_all(pair[0], "one", MSG_MORE);
    send_all(other[0], "two", MSG_MORE);
    expect(pair[1], "one");
    expect_nothing(other[1]);
    send_all(other[0], " and all", 0);
    expect(other[1], "two and all");
    expect_nothing(pair[1]);
    close(other[0]);
    close(other[1]);
    stop();
}

/* A client that is gone is no error (hangup_guard.c), and nothing of it gets to the next one. */
static void test_gone(void)
{
    start(SOCK_SEQPACKET);
    send_all(pair[0], "lost", MSG_MORE);
    CU_ASSERT_EQUAL(close(pair[1]), 0);
    send_all(pair[0], "lost too", MSG_NOSIGNAL);
    send_all(pair[0], "and this", MSG_MORE | MSG_NOSIGNAL);
    CU_ASSERT_EQUAL(close(pair[0]), 0);
    start(SOCK_SEQPACKET);
    send_all(pair[0], "new", 0);
    expect(pair[1], "new");
    stop();
}

/* The socket takes a part each time; what nbdkit sends again is what was not taken. */
static void test_parts(void)
{
    start(SOCK_STREAM);
    int size = 4096;
    CU_ASSERT_EQUAL(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
    CU_ASSERT_EQUAL(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
    char *data = malloc(BIG_BYTES), *got = malloc(BIG_BYTES + 16);
    CU_ASSERT_TRUE_FATAL(data && got);
    for (size_t i = 0; i < BIG_BYTES; i++)
        data[i] = (char)(i * 31 + (i >> 12));
    send_all(pair[0], "header", MSG_MORE);
    size_t sent = 0, received = 0, rounds = 0;
    while (received < BIG_BYTES + 6 && rounds < BIG_BYTES)
    {
        ssize_t r = sent < BIG_BYTES ? send(pair[0], data + sent, BIG_BYTES - sent, 0) : 0;
        sent += r > 0 ? (size_t)r : 0;
        rounds++;
        r = recv(pair[1], got + received, rounds % 2 ? 777 : 4096, MSG_DONTWAIT);
        received += r > 0 ? (size_t)r : 0;
    }
    CU_ASSERT_EQUAL(sent, BIG_BYTES);
    CU_ASSERT_EQUAL(received, BIG_BYTES + 6);
    CU_ASSERT_EQUAL(memcmp(got, "header", 6), 0);
    CU_ASSERT_EQUAL(memcmp(got + 6, data, BIG_BYTES), 0);
    free(data);
    free(got);
    stop();
}

/* A full socket takes nothing: what is held stays so, and is not sent twice. */
static void test_full(void)
{
    start(SOCK_STREAM);
    CU_ASSERT_EQUAL(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
    char filler[4096];
    memset(filler, '.', sizeof(filler));
    size_t filled = 0;
    for (ssize_t r; (r = send(pair[0], filler, sizeof(filler), 0)) > 0;)
        filled += (size_t)r;
    send_all(pair[0], "held ", MSG_MORE);
    for (int i = 0; i < ROUNDS; i++)
    {
        errno = 0;
        CU_ASSERT_EQUAL_FATAL(send(pair[0], "data", 4, 0), -1);
        CU_ASSERT_EQUAL_FATAL(errno, EAGAIN);
    }
    while (filled > 0)
    {
        ssize_t r = recv(pair[1], filler, filled < sizeof(filler) ? filled : sizeof(filler), 0);
        CU_ASSERT_TRUE_FATAL(r > 0);
        filled -= (size_t)r;
    }
    send_all(pair[0], "data", 0);
    expect(pair[1], "held data");
    expect_nothing(pair[1]);
    stop();
}

static CU_TestInfo send_join_tests[] = {
    {"what belongs together leaves in one call", test_one_call},
    {"long parts", test_long},
    {"more that never comes", test_no_more},
    {"two connections of one thread", test_two_connections},
    {"a client that is gone", test_gone},
    {"a socket that takes parts", test_parts},
    {"a full socket", test_full},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"send_join", NULL, NULL, NULL, NULL, send_join_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
