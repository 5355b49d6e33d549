/* SPDX-License-Identifier: BSD-3-Clause */
/* The read() that is preloaded into nbdkit: what it reads ahead. It is linked in here, so this
 * program is "nbdkit". */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/cunit_main.h"

enum
{
    REQUEST_BYTES = 28, /* struct nbd_request */
    OPTION_BYTES = 16,  /* struct nbd_new_option */
    MANY_BYTES = 64 << 10,
    STREAM_REQUESTS = 3000,
    STREAM_DATA_MAX = 96 << 10,
};

static int pair[2];
static uint8_t out[MANY_BYTES], in[MANY_BYTES];

static void start(void)
{
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    for (size_t i = 0; i < sizeof(out); i++)
        out[i] = (uint8_t)(i * 13 + (i >> 8));
    memset(in, 0, sizeof(in));
}

static void stop(void)
{
    CU_ASSERT_EQUAL(close(pair[0]), 0);
    CU_ASSERT_EQUAL(close(pair[1]), 0);
}

/* Whether the kernel still has bytes for whoever reads pair[0] by other means. */
static bool kernel_has_more(void)
{
    char c;
    return recv(pair[0], &c, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

/* Reads @len bytes as nbdkit does, in as many calls as it takes. */
static bool read_all(uint8_t *buf, size_t len)
{
    while (len > 0)
    {
        ssize_t r = read(pair[0], buf, len);
        if (r <= 0)
            return false;
        buf += r;
        len -= (size_t)r;
    }
    return true;
}

static void test_together(void)
{
    start();
    CU_ASSERT_EQUAL(send(pair[1], out, 300, 0), 300);
    CU_ASSERT_TRUE(read_all(in, REQUEST_BYTES));
    CU_ASSERT_FALSE(kernel_has_more());
    CU_ASSERT_TRUE(read_all(in + REQUEST_BYTES, 100));
    CU_ASSERT_TRUE(read_all(in + REQUEST_BYTES + 100, REQUEST_BYTES));
    size_t have = REQUEST_BYTES * 2 + 100;
    /* What is asked for beyond that comes in two parts. */
    CU_ASSERT_EQUAL(read(pair[0], in + have, sizeof(in) - have), (ssize_t)(300 - have));
    CU_ASSERT_EQUAL(memcmp(in, out, 300), 0);
    CU_ASSERT_EQUAL(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
    errno = 0;
    CU_ASSERT_EQUAL(read(pair[0], in, 1), -1);
    CU_ASSERT_EQUAL(errno, EAGAIN);
    stop();
}

/* While a client negotiates, what follows may be for somebody else. */
static void test_not_before(void)
{
    start();
    CU_ASSERT_EQUAL(send(pair[1], out, 100, 0), 100);
    CU_ASSERT_TRUE(read_all(in, OPTION_BYTES));
    CU_ASSERT_TRUE(kernel_has_more());
    CU_ASSERT_EQUAL(recv(pair[0], in + OPTION_BYTES, 100, MSG_DONTWAIT), 100 - OPTION_BYTES);
    CU_ASSERT_EQUAL(memcmp(in, out, 100), 0);
    stop();
}

/* So much, and no more. */
static void test_bound(void)
{
    start();
    size_t sent = 0;
    while (sent < sizeof(out))
    {
        ssize_t r = send(pair[1], out + sent, sizeof(out) - sent, 0);
        CU_ASSERT_TRUE_FATAL(r > 0);
        sent += (size_t)r;
    }
    CU_ASSERT_TRUE(read_all(in, REQUEST_BYTES));
    CU_ASSERT_TRUE(kernel_has_more());
    CU_ASSERT_TRUE(read_all(in + REQUEST_BYTES, sizeof(in) - REQUEST_BYTES));
    CU_ASSERT_EQUAL(memcmp(in, out, sizeof(in)), 0);
    stop();
}

/* What was read ahead of a client that is gone is served, then the end. */
static void test_end(void)
{
    start();
    CU_ASSERT_EQUAL(send(pair[1], out, 100, 0), 100);
    CU_ASSERT_EQUAL(close(pair[1]), 0);
    CU_ASSERT_TRUE(read_all(in, REQUEST_BYTES));
    CU_ASSERT_TRUE(read_all(in + REQUEST_BYTES, 100 - REQUEST_BYTES));
    CU_ASSERT_EQUAL(memcmp(in, out, 100), 0);
    CU_ASSERT_EQUAL(read(pair[0], in, 1), 0);
    CU_ASSERT_EQUAL(close(pair[0]), 0);
}

/* The next connection of that number gets nothing of it, and negotiates first. */
static void test_next(void)
{
    start();
    int number = pair[0];
    CU_ASSERT_EQUAL(send(pair[1], out, 100, 0), 100);
    CU_ASSERT_TRUE(read_all(in, REQUEST_BYTES));
    stop();
    start();
    CU_ASSERT_EQUAL_FATAL(pair[0], number);
    CU_ASSERT_EQUAL(send(pair[1], "new connection, as it is", 24, 0), 24);
    CU_ASSERT_TRUE(read_all(in, OPTION_BYTES));
    CU_ASSERT_EQUAL(memcmp(in, "new connection, ", OPTION_BYTES), 0);
    CU_ASSERT_TRUE(kernel_has_more());
    stop();
}

static size_t stream_data_len(unsigned i)
{
    return i % 3 == 0 ? 0 : (size_t)i * 7919 % (i % 100 == 1 ? STREAM_DATA_MAX : 5000);
}

static uint8_t stream_byte(size_t at)
{
    return (uint8_t)(at * 31 + (at >> 9));
}

/* Sends the stream in pieces that have nothing to do with its requests. */
static void *stream_send(void *opaque)
{
    (void)opaque;
    size_t len = 0;
    for (unsigned i = 0; i < STREAM_REQUESTS; i++)
        len += REQUEST_BYTES + stream_data_len(i);
    static uint8_t piece[40000];
    for (size_t at = 0, n; at < len; at += n)
    {
        n = at % sizeof(piece) + 1;
        n = n < len - at ? n : len - at;
        for (size_t i = 0; i < n; i++)
            piece[i] = stream_byte(at + i);
        for (size_t done = 0; done < n;)
        {
            ssize_t r = sendto(pair[1], piece + done, n - done, 0, NULL, 0);
            if (r <= 0)
                return NULL;
            done += (size_t)r;
        }
    }
    return NULL;
}

static void test_stream(void)
{
    start();
    pthread_t thread;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, stream_send, NULL), 0);
    static uint8_t buf[STREAM_DATA_MAX];
    size_t at = 0;
    bool is_right = true;
    for (unsigned i = 0; i < STREAM_REQUESTS && is_right; i++)
    {
        size_t parts[2] = {REQUEST_BYTES, stream_data_len(i)};
        for (int part = 0; part < 2; part++)
        {
            is_right = is_right && read_all(buf, parts[part]);
            for (size_t j = 0; j < parts[part]; j++)
                is_right = is_right && buf[j] == stream_byte(at + j);
            at += parts[part];
        }
    }
    CU_ASSERT_TRUE(is_right);
    pthread_join(thread, NULL);
    stop();
}

static CU_TestInfo read_ahead_tests[] = {
    {"requests are read together", test_together},
    {"not while a client negotiates", test_not_before},
    {"how much at most", test_bound},
    {"a client that is gone", test_end},
    {"the next one of that number", test_next},
    {"a long stream", test_stream},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"read_ahead", NULL, NULL, NULL, NULL, read_ahead_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
