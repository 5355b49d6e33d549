/* SPDX-License-Identifier: BSD-3-Clause */
/* The read() that is preloaded into nbdkit. It is linked in here, so this program is "nbdkit". */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lun/base/cleanup.h"
#include "plugin/hangup_guard.h"
#include "tests/lib/cunit_main.h"

enum
{
    ROUNDS_MAX = 2000000,
    ROUNDS_MIN = 1000,
    LATE_COUNT = 8,
    LARGE_BYTES = 4 << 20,
    LONG_NS = 5000000, /* a hundred times what a read stays awake */
};

static int pair[2];

static void start(void)
{
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
}

static void stop(void)
{
    close(pair[0]);
    close(pair[1]);
}

static void *echo(void *opaque)
{
    (void)opaque;
    unsigned number;
    while (recv(pair[1], &number, sizeof(number), 0) == sizeof(number))
    {
        if (write(pair[1], &number, sizeof(number)) != sizeof(number))
            break;
    }
    return NULL;
}

static unsigned processors(void)
{
    cpu_set_t cpus;
    return sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? (unsigned)CPU_COUNT(&cpus) : 1;
}

/* Up to @rounds questions and answers of echo(), ROUNDS_MIN or until a read was seen to stay awake
 * for one: how many, or 0 if none was. */
static unsigned rounds_until_awake(unsigned rounds)
{
    unsigned long before = lunette_read_poll_hits();
    for (unsigned i = 0; i < rounds; i++)
    {
        unsigned answer = ~i;
        CU_ASSERT_EQUAL_FATAL(write(pair[0], &i, sizeof(i)), sizeof(i));
        CU_ASSERT_EQUAL_FATAL(read(pair[0], &answer, sizeof(answer)), sizeof(answer));
        CU_ASSERT_EQUAL_FATAL(answer, i);
        if (i > ROUNDS_MIN && lunette_read_poll_hits() > before)
            return i;
    }
    return lunette_read_poll_hits() > before ? rounds : 0;
}

/* Until it was seen, which a busy machine may put off. */
static void test_stays_awake(void)
{
    start();
    pthread_t thread;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, echo, NULL), 0);
    CU_ASSERT_EQUAL(rounds_until_awake(ROUNDS_MAX) > 0, processors() > 1);
    shutdown(pair[0], SHUT_WR);
    pthread_join(thread, NULL);
    stop();
}

/* Where another connection has requests too, nobody stays awake. */
static void test_not_alone(void)
{
    start();
    int other[2];
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, other), 0);
    pthread_t thread;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, echo, NULL), 0);
    unsigned long before = lunette_read_poll_hits();
    bool is_right = true;
    for (unsigned i = 0; is_right && i < ROUNDS_MIN; i++)
    {
        char c = 'x';
        unsigned answer = ~i;
        is_right = write(other[1], &c, 1) == 1 && read(other[0], &c, 1) == 1 &&
                   write(pair[0], &i, sizeof(i)) == sizeof(i) &&
                   read(pair[0], &answer, sizeof(answer)) == sizeof(answer) && answer == i;
    }
    CU_ASSERT_TRUE(is_right);
    CU_ASSERT_EQUAL(lunette_read_poll_hits(), before);
    shutdown(pair[0], SHUT_WR);
    pthread_join(thread, NULL);
    close(other[0]);
    close(other[1]);
    stop();
}

/* Nor where requests wait for their replies. */
static void test_in_flight(void)
{
    start();
    pthread_t thread;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, echo, NULL), 0);
    char requests[3][28] = {"one", "two", "three"};
    CU_ASSERT_EQUAL(send(pair[1], requests, sizeof(requests), 0), (ssize_t)sizeof(requests));
    for (unsigned i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(read(pair[0], requests[i], sizeof(requests[i])), 28);
    unsigned long before = lunette_read_poll_hits();
    for (unsigned i = 0; i < ROUNDS_MIN; i++)
    {
        unsigned answer = ~i;
        if (write(pair[0], &i, sizeof(i)) != sizeof(i) ||
            read(pair[0], &answer, sizeof(answer)) != sizeof(answer) || answer != i)
            break;
        CU_ASSERT_EQUAL_FATAL(lunette_read_poll_hits(), before);
    }
    shutdown(pair[0], SHUT_WR);
    pthread_join(thread, NULL);
    stop();
}

/* Nor where one waits for the disk; but for the next one again. */
static void test_sync_in_flight(void)
{
    static const struct
    {
        uint8_t flags, type;
        bool syncs;
    } requests[] = {{0, 1, false}, {0, 3, true}, {0, 0, false}, {1, 1, true}, {0, 0, false}};
    start();
    pthread_t thread;
    unsigned rounds = 0;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, echo, NULL), 0);
    for (unsigned i = 0; i < 5; i++)
    {
        uint8_t request[28] = {0x25, 0x60, 0x95, 0x13, 0, requests[i].flags, 0, requests[i].type};
        CU_ASSERT_EQUAL(send(pair[1], request, sizeof(request), 0), (ssize_t)sizeof(request));
        CU_ASSERT_EQUAL(read(pair[0], request, sizeof(request)), (ssize_t)sizeof(request));
        unsigned took = rounds_until_awake(requests[i].syncs ? rounds : ROUNDS_MAX);
        CU_ASSERT_EQUAL(took > 0, !requests[i].syncs && processors() > 1);
        rounds = 4 * took;                                           /* in which it would be seen */
        CU_ASSERT_EQUAL(send(pair[0], &i, sizeof(i), 0), sizeof(i)); /* the reply */
        CU_ASSERT_EQUAL(read(pair[0], &i, sizeof(i)), sizeof(i));
    }
    shutdown(pair[0], SHUT_WR);
    pthread_join(thread, NULL);
    stop();
}

static void *answer_late(void *opaque)
{
    (void)opaque;
    const struct timespec late = {.tv_nsec = LONG_NS};
    for (unsigned i = 0; i < LATE_COUNT; i++)
    {
        char c = (char)('a' + i);
        nanosleep(&late, NULL);
        if (write(pair[1], &c, 1) != 1)
            break;
    }
    return NULL;
}

/* What comes late is slept for. */
static void test_sleeps(void)
{
    start();
    pthread_t thread;
    unsigned long before = lunette_read_poll_hits();
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, answer_late, NULL), 0);
    for (unsigned i = 0; i < LATE_COUNT; i++)
    {
        char got = '\0';
        CU_ASSERT_EQUAL(read(pair[0], &got, 1), 1);
        CU_ASSERT_EQUAL(got, (char)('a' + i));
    }
    pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(lunette_read_poll_hits(), before);
    stop();
}

static void test_as_read(void)
{
    start();
    char buf[8] = "";
    CU_ASSERT_EQUAL(write(pair[1], "abc", 3), 3);
    CU_ASSERT_EQUAL(read(pair[0], buf, 2), 2);
    CU_ASSERT_EQUAL(read(pair[0], buf + 2, 6), 1); /* what there is */
    CU_ASSERT_EQUAL(memcmp(buf, "abc", 4), 0);
    CU_ASSERT_EQUAL(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
    errno = 0;
    CU_ASSERT_EQUAL(read(pair[0], buf, 1), -1);
    CU_ASSERT_EQUAL(errno, EAGAIN);
    CU_ASSERT_EQUAL(fcntl(pair[0], F_SETFL, 0), 0);
    CU_ASSERT_EQUAL(shutdown(pair[1], SHUT_WR), 0);
    CU_ASSERT_EQUAL(read(pair[0], buf, 1), 0);
    stop();
    errno = 0;
    CU_ASSERT_EQUAL(read(-1, buf, 1), -1);
    CU_ASSERT_EQUAL(errno, EBADF);
}

static void *send_large(void *opaque)
{
    AUTO_FREE uint8_t *bytes = malloc(LARGE_BYTES);
    for (size_t i = 0; bytes && i < LARGE_BYTES; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    const size_t *len = opaque;
    if (bytes && send(pair[1], bytes, *len, MSG_NOSIGNAL) == (ssize_t)*len)
        shutdown(pair[1], SHUT_WR);
    return NULL;
}

/* The data of a large write comes with one call, however the socket delivers it; or with less, if
 * the client goes. */
static void test_large(void)
{
    AUTO_FREE uint8_t *bytes = calloc(1, LARGE_BYTES);
    for (unsigned i = 0; i < 2; i++)
    {
        size_t sent = LARGE_BYTES - i * 4321;
        start();
        pthread_t thread;
        CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, send_large, &sent), 0);
        CU_ASSERT_EQUAL(read(pair[0], bytes, LARGE_BYTES), (ssize_t)sent);
        size_t right = 0;
        while (right < sent && bytes[right] == (uint8_t)(right * 7 + right / 251))
            right++;
        CU_ASSERT_EQUAL(right, sent);
        shutdown(pair[0], SHUT_RD); /* whoever still sends has an error */
        pthread_join(thread, NULL);
        stop();
    }
}

/* A peer that goes with unread data resets the connection. */
static void test_reset(void)
{
    start();
    char buf;
    CU_ASSERT_EQUAL(write(pair[0], "x", 1), 1);
    CU_ASSERT_EQUAL(close(pair[1]), 0);
    errno = 0;
    CU_ASSERT_EQUAL(read(pair[0], &buf, 1), -1);
    CU_ASSERT_EQUAL(errno, ECONNRESET);
    close(pair[0]);
}

static void test_no_socket(void)
{
    int ends[2];
    CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
    char buf[4] = "";
    CU_ASSERT_EQUAL(write(ends[1], "pipe", 4), 4);
    CU_ASSERT_EQUAL(read(ends[0], buf, 4), 4);
    CU_ASSERT_EQUAL(memcmp(buf, "pipe", 4), 0);
    CU_ASSERT_EQUAL(close(ends[1]), 0);
    CU_ASSERT_EQUAL(read(ends[0], buf, 4), 0);
    CU_ASSERT_EQUAL(close(ends[0]), 0);
}

static CU_TestInfo read_poll_tests[] = {
    {"quick answers are met awake", test_stays_awake},
    {"late ones asleep", test_sleeps},
    {"and quick ones beside those of others", test_not_alone},
    {"and beside requests without a reply", test_in_flight},
    {"and while one waits for the disk", test_sync_in_flight},
    {"it reads as read() does", test_as_read},
    {"the data of large writes at once", test_large},
    {"a reset", test_reset},
    {"what is no socket", test_no_socket},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"read_poll", NULL, NULL, NULL, NULL, read_poll_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
