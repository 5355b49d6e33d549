/* SPDX-License-Identifier: BSD-3-Clause */
/* The read() that is preloaded into nbdkit. It is linked in here, so this program is "nbdkit". */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "plugin/hangup_guard.h"
#include "tests/lib/cunit_main.h"

enum
{
    ROUNDS_MAX = 200000,
    ROUNDS_MIN = 1000,
    LATE = 1 << 30,    /* of a number: its echo comes late */
    LATE_NS = 5000000, /* a hundred times what a read stays awake */
    LATE_TRIES = 20,
    PATIENCE_MS = 500, /* half of that after which requests without a reply are forgotten */
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
        if (number & LATE)
            nanosleep(&(struct timespec){.tv_nsec = LATE_NS}, NULL);
        if (write(pair[1], &number, sizeof(number)) != sizeof(number))
            break;
    }
    return NULL;
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static unsigned processors(void)
{
    cpu_set_t cpus;
    return sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? (unsigned)CPU_COUNT(&cpus) : 1;
}

static bool is_echoed(unsigned number)
{
    unsigned answer = ~number;
    return write(pair[0], &number, sizeof(number)) == sizeof(number) &&
           read(pair[0], &answer, sizeof(answer)) == sizeof(answer) && answer == number;
}

/* Until a read was seen to stay awake for its answer, which a busy machine may put off. */
static void stay_awake(void)
{
    unsigned long before = lunette_read_poll_hits();
    bool is_right = true;
    for (unsigned i = 0; is_right && i < ROUNDS_MAX; i++)
    {
        is_right = is_echoed(i);
        if (i > ROUNDS_MIN && lunette_read_poll_hits() > before)
            break;
    }
    CU_ASSERT_TRUE(is_right);
    CU_ASSERT_EQUAL(lunette_read_poll_hits() > before, processors() > 1);
}

static void test_stays_awake(void)
{
    start();
    pthread_t thread;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, echo, NULL), 0);
    stay_awake();
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
        uint64_t begun_ms = now_ms();
        CU_ASSERT_TRUE_FATAL(is_echoed(i));
        if (now_ms() - begun_ms > PATIENCE_MS)
            break; /* the machine stood still: they may be forgotten */
        CU_ASSERT_EQUAL_FATAL(lunette_read_poll_hits(), before);
    }
    shutdown(pair[0], SHUT_WR);
    pthread_join(thread, NULL);
    stop();
}

/* What comes late is slept for, by a read that stays awake at first. One that is put off by the
 * machine just then may find it awake, so it is tried until one is seen that is not. */
static void test_sleeps(void)
{
    start();
    pthread_t thread;
    bool is_slept_for = false;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, echo, NULL), 0);
    for (unsigned i = 0; i < LATE_TRIES && !is_slept_for; i++)
    {
        stay_awake();
        unsigned long before = lunette_read_poll_hits();
        CU_ASSERT_TRUE(is_echoed(LATE | i));
        is_slept_for = lunette_read_poll_hits() == before;
    }
    CU_ASSERT_TRUE(is_slept_for);
    shutdown(pair[0], SHUT_WR);
    pthread_join(thread, NULL);
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
    {"it reads as read() does", test_as_read},
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
