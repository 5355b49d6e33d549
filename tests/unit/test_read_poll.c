/* SPDX-License-Identifier: BSD-3-Clause */
/* The read() that is preloaded into nbdkit. It is linked in here, so this program is "nbdkit". */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
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
    ROUNDS = 20,
    LARGE_BYTES = 4 << 20,
    LATE_NS = 5000000,  /* so late an answer comes: who reads it has begun to wait by then */
    ALONE_NS = 2000000, /* since another was read, or more */
    STEP_NS = 1000,     /* of a read stays awake for some tens of these */
};

static int pair[2];

/* The clock of read_poll.c: it is the test that says how long something takes, and a busy machine
 * does not matter. Each look at it takes a step. */
static _Atomic uint64_t clock_ns = UINT64_C(1000000000000);
static _Atomic uint64_t clock_step_ns;

int __wrap_clock_gettime(clockid_t id, struct timespec *now);

int __wrap_clock_gettime(clockid_t id, struct timespec *now)
{
    (void)id;
    uint64_t ns = atomic_fetch_add(&clock_ns, atomic_load(&clock_step_ns));
    *now =
        (struct timespec){.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
    return 0;
}

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
        nanosleep(&(struct timespec){.tv_nsec = LATE_NS}, NULL);
        if (write(pair[1], &number, sizeof(number)) != sizeof(number))
            break;
    }
    return NULL;
}

static pthread_t echo_thread;

static void start_with_echo(void)
{
    start();
    CU_ASSERT_EQUAL_FATAL(pthread_create(&echo_thread, NULL, echo, NULL), 0);
}

static void stop_with_echo(void)
{
    shutdown(pair[0], SHUT_WR);
    pthread_join(echo_thread, NULL);
    stop();
}

static unsigned processors(void)
{
    cpu_set_t cpus;
    return sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? (unsigned)CPU_COUNT(&cpus) : 1;
}

/* Whether a read stays awake for an answer, by a clock that takes steps of @step_ns meanwhile. */
static bool stays_awake(uint64_t step_ns)
{
    static unsigned number;
    unsigned long before = lunette_read_poll_hits();
    unsigned answer = ~++number;
    atomic_fetch_add(&clock_ns, ALONE_NS);
    atomic_store(&clock_step_ns, step_ns);
    CU_ASSERT_EQUAL(write(pair[0], &number, sizeof(number)), sizeof(number));
    CU_ASSERT_EQUAL(read(pair[0], &answer, sizeof(answer)), sizeof(answer));
    CU_ASSERT_EQUAL(answer, number);
    atomic_store(&clock_step_ns, 0);
    return lunette_read_poll_hits() > before;
}

/* The first one sleeps, and sees that the answer takes no time. One of the others that the machine
 * puts off for longer than the echo finds its answer at once: there is nothing to stay awake for.
 */
static void test_stays_awake(void)
{
    start_with_echo();
    unsigned count = 0;
    for (unsigned i = 0; i < ROUNDS && count == 0; i++)
        count += stays_awake(0);
    CU_ASSERT_EQUAL(count > 0, processors() > 1);
    stop_with_echo();
}

/* What comes late is slept for, by a read that stays awake at first. One that the machine puts off
 * while it does so finds the answer, so it is tried until one is seen that sleeps. */
static void test_sleeps(void)
{
    start_with_echo();
    bool is_slept_for = false;
    for (unsigned i = 0; i < ROUNDS && !is_slept_for; i++)
        is_slept_for = (stays_awake(0) || processors() == 1) && !stays_awake(STEP_NS);
    CU_ASSERT_TRUE(is_slept_for);
    CU_ASSERT_FALSE(stays_awake(0)); /* nor is it done the next time */
    stop_with_echo();
}

/* Where another connection has requests too, nobody stays awake. */
static void test_not_alone(void)
{
    start_with_echo();
    int other[2];
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, other), 0);
    unsigned long before = lunette_read_poll_hits();
    for (unsigned i = 0; i < ROUNDS; i++)
    {
        char c = 'x';
        unsigned answer = ~i;
        CU_ASSERT_TRUE_FATAL(write(other[1], &c, 1) == 1 && read(other[0], &c, 1) == 1);
        CU_ASSERT_TRUE_FATAL(write(pair[0], &i, sizeof(i)) == sizeof(i) &&
                             read(pair[0], &answer, sizeof(answer)) == sizeof(answer) &&
                             answer == i);
    }
    CU_ASSERT_EQUAL(lunette_read_poll_hits(), before);
    close(other[0]);
    close(other[1]);
    stop_with_echo();
}

/* Nor where requests wait for their replies. */
static void test_in_flight(void)
{
    start_with_echo();
    char requests[3][28] = {"one", "two", "three"};
    CU_ASSERT_EQUAL(send(pair[1], requests, sizeof(requests), 0), (ssize_t)sizeof(requests));
    for (unsigned i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(read(pair[0], requests[i], sizeof(requests[i])), 28);
    for (unsigned i = 0; i < ROUNDS; i++)
        CU_ASSERT_FALSE(stays_awake(0));
    stop_with_echo();
}

/* Nor where one waits for the disk; but for the next one again. */
static void test_sync_in_flight(void)
{
    static const struct
    {
        uint8_t flags, type;
        bool syncs;
    } requests[] = {{0, 1, false}, {0, 3, true}, {0, 0, false}, {1, 1, true}, {0, 0, false}};
    start_with_echo();
    for (unsigned i = 0; i < 5; i++)
    {
        uint8_t request[28] = {0x25, 0x60, 0x95, 0x13, 0, requests[i].flags, 0, requests[i].type};
        CU_ASSERT_EQUAL(send(pair[1], request, sizeof(request), 0), (ssize_t)sizeof(request));
        CU_ASSERT_EQUAL(read(pair[0], request, sizeof(request)), (ssize_t)sizeof(request));
        unsigned count = 0;
        for (unsigned round = 0; round < ROUNDS && count == 0; round++)
            count += stays_awake(0);
        CU_ASSERT_EQUAL(count > 0, !requests[i].syncs && processors() > 1);
        CU_ASSERT_EQUAL(send(pair[0], &i, sizeof(i), 0), sizeof(i)); /* the reply */
        CU_ASSERT_EQUAL(read(pair[0], &i, sizeof(i)), sizeof(i));
    }
    stop_with_echo();
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
