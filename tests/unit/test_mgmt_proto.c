/* SPDX-License-Identifier: BSD-3-Clause */
/* Lines of JSON over a socket: split, bounded, cancelled, garbage. */
#include "server/mgmt/proto.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "lun/base/checked.h"
#include "tests/lib/cunit_main.h"

static const char secret[] = "correct-horse-battery";
static unsigned secrets_freed; /* memory that was freed with the secret in it */
static const void *watched;    /* set to NULL once it is freed */

void __real_free(void *memory);
void __wrap_free(void *memory);

/* Linked with --wrap=free. */
void __wrap_free(void *memory)
{
    if (memory && memmem(memory, malloc_usable_size(memory), secret, strlen(secret)))
        secrets_freed++;
    if (memory && memory == watched)
        watched = NULL;
    __real_free(memory);
}

struct ends
{
    int far;
    struct proto_stream near;
};

static struct ends ends_open(size_t max, int stop_fd)
{
    int fds[2];
    struct ends ends;
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ends.far = fds[0];
    proto_stream_init(&ends.near, fds[1], stop_fd, max);
    return ends;
}

static void ends_close(struct ends *ends)
{
    if (ends->far >= 0)
        close(ends->far);
    close(ends->near.fd);
    proto_stream_destroy(&ends->near);
}

static void feed(struct ends *ends, const char *text)
{
    CU_ASSERT_EQUAL_FATAL(write(ends->far, text, strlen(text)), (ssize_t)strlen(text));
}

static void test_lines(void)
{
    struct ends ends = ends_open(100, -1);
    char *line;
    size_t len;
    feed(&ends, "one\ntwo\n\nth");
    CU_ASSERT_EQUAL(proto_read_line(&ends.near, 0, &line, &len), 0);
    CU_ASSERT_STRING_EQUAL(line, "one");
    CU_ASSERT_EQUAL(proto_read_line(&ends.near, 0, &line, &len), 0);
    CU_ASSERT_STRING_EQUAL(line, "two");
    CU_ASSERT_EQUAL(proto_read_line(&ends.near, 0, &line, &len), 0);
    CU_ASSERT_EQUAL(len, 0);
    CU_ASSERT_EQUAL(proto_read_line(&ends.near, 1, &line, &len), -ETIMEDOUT);
    feed(&ends, "ree\n");
    CU_ASSERT_EQUAL(proto_read_line(&ends.near, 0, &line, &len), 0);
    CU_ASSERT_STRING_EQUAL(line, "three");
    CU_ASSERT_EQUAL(len, 5);
    feed(&ends, "unfinished");
    close(ends.far);
    ends.far = -1;
    CU_ASSERT_EQUAL(proto_read_line(&ends.near, 0, &line, &len), -ENOTCONN);
    ends_close(&ends);
}

static void test_limits(void)
{
    struct ends ends = ends_open(10, -1);
    char *line;
    size_t len;
    feed(&ends, "0123456789\n0123456789X\n");
    CU_ASSERT_EQUAL(proto_read_line(&ends.near, 0, &line, &len), 0);
    CU_ASSERT_EQUAL(len, 10);
    CU_ASSERT_EQUAL(proto_read_line(&ends.near, 0, &line, &len), -EMSGSIZE);
    ends_close(&ends);
    /* Without a newline it is refused as soon as it is too long, not when it ends. */
    ends = ends_open(10, -1);
    feed(&ends, "0123456789X");
    CU_ASSERT_EQUAL(proto_read_line(&ends.near, 0, &line, &len), -EMSGSIZE);
    ends_close(&ends);
}

static void test_stop(void)
{
    AUTO_CLOSE int stop_fd = eventfd(1, EFD_CLOEXEC);
    struct ends ends = ends_open(10, stop_fd);
    char *line;
    size_t len;
    CU_ASSERT_EQUAL(proto_read_line(&ends.near, 0, &line, &len), -ECANCELED);
    ends_close(&ends);
}

static void *drain(void *opaque)
{
    int fd = *(int *)opaque;
    char buf[4096];
    size_t total = 0;
    ssize_t n;
    while ((n = read(fd, buf, sizeof(buf))) > 0)
        total += (size_t)n;
    return (void *)total;
}

/* A reply larger than the socket's buffer arrives whole. */
static void test_big_write(void)
{
    struct ends ends = ends_open(10, -1);
    size_t len = 4 << 20;
    char *text = malloc(len + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    memset(text, 'x', len);
    text[len] = '\0';
    AUTO_JSON json_t *json = json_string(text);
    free(text);
    pthread_t thread;
    void *total;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, drain, &ends.far), 0);
    CU_ASSERT_EQUAL(proto_write(&ends.near, json, 0), 0);
    shutdown(ends.near.fd, SHUT_WR);
    pthread_join(thread, &total);
    CU_ASSERT_EQUAL((size_t)total, len + 3); /* quotes, newline */
    ends_close(&ends);
}

/* Who does not read holds a writer up for its time only. */
static void test_stuck_write(void)
{
    struct ends ends = ends_open(10, -1);
    AUTO_JSON json_t *array = json_array();
    for (int i = 0; i < 200000; i++)
        CU_ASSERT_EQUAL_FATAL(json_array_append_new(array, json_integer(i)), 0);
    CU_ASSERT_EQUAL(proto_write(&ends.near, array, 1), -ETIMEDOUT);
    close(ends.far);
    ends.far = -1;
    CU_ASSERT_EQUAL(proto_write(&ends.near, array, 1), -ENOTCONN);
    ends_close(&ends);
}

static void test_parse(void)
{
    static const char *const bad[] = {
        "",
        "nonsense",
        "[]",
        "\"text\"",
        "{\"a\":1",
        "{}{}",
        "{\"a\":1,\"a\":2}",
        "{'a':1}",
        "{\"a\":\"\xff\"}",
        "{\"a\":\"\\u0000\"}",
        "{\"a\":[[[[[]]]]]}",
    };
    json_t *json;
    struct reason why;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    {
        why.text[0] = '\0';
        CU_ASSERT_EQUAL(proto_parse(bad[i], strlen(bad[i]), 5, &json, &why), -EBADMSG);
        CU_ASSERT_NOT_EQUAL(why.text[0], '\0');
    }
    static const char good[] = "{\"id\":[[[[1]]]],\"b\":\"[[[[[[[[\\\"[[[[[[[\"}";
    CU_ASSERT_EQUAL_FATAL(proto_parse(good, strlen(good), 5, &json, &why), 0);
    CU_ASSERT_EQUAL(json_object_size(json), 2);
    json_decref(json);
}

/* A request that would make the parser recurse a million times is refused before. */
static void test_deep(void)
{
    size_t len = 1 << 20;
    char *text = malloc(len + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    memset(text, '[', len);
    text[len] = '\0';
    json_t *json;
    CU_ASSERT_EQUAL(proto_parse(text, len, PROTO_DEPTH_MAX, &json, NULL), -EBADMSG);
    free(text);
}

static void test_errors(void)
{
    static const int errors[] = {-ENOENT, -ENOSPC, -EBUSY, -EPERM, -EDQUOT, -ESTALE, -EMSGSIZE};
    for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
        CU_ASSERT_EQUAL(proto_error_number(proto_error_name(errors[i])), errors[i]);
    CU_ASSERT_STRING_EQUAL(proto_error_name(-ENOSPC), "ENOSPC");
    CU_ASSERT_STRING_EQUAL(proto_error_name(-99999), "EIO");
    CU_ASSERT_STRING_EQUAL(proto_error_name(0), "EIO");
    CU_ASSERT_EQUAL(proto_error_number("nonsense"), -EIO);
    CU_ASSERT_EQUAL(proto_error_number(""), -EIO);
}

static bool has_secret(const struct proto_stream *stream)
{
    return memmem(stream->buf, stream->capacity, secret, strlen(secret)) != NULL;
}

static void test_secrets(void)
{
    struct ends ends = ends_open(1 << 20, -1);
    char *line;
    size_t len;
    json_t *json = NULL;
    struct reason why;
    char text[2 * sizeof(secret) + 64];
    static char padding[40000]; /* makes the buffer grow with the secret in it */
    memset(padding, ' ', sizeof(padding) - 1);
    snprintf(text, sizeof(text), "{\"%s\":\"%s\"}", secret, secret);
    secrets_freed = 0;
    proto_wipe_json();
    feed(&ends, "{}\n");
    feed(&ends, text);
    CU_ASSERT_EQUAL(proto_read_line(&ends.near, 0, &line, &len), 0);
    CU_ASSERT_TRUE(has_secret(&ends.near));
    CU_ASSERT_EQUAL(proto_read_line(&ends.near, 1, &line, &len), -ETIMEDOUT);
    feed(&ends, padding);
    feed(&ends, "\nnext\n");
    CU_ASSERT_EQUAL(proto_read_line(&ends.near, 0, &line, &len), 0);
    CU_ASSERT_EQUAL_FATAL(proto_parse(line, len, 4, &json, &why), 0);

    /* The line is wiped when the next one is asked for, the JSON when it is let go. */
    CU_ASSERT_EQUAL(proto_read_line(&ends.near, 0, &line, &len), 0);
    CU_ASSERT_STRING_EQUAL(line, "next");
    CU_ASSERT_FALSE(has_secret(&ends.near));
    CU_ASSERT_EQUAL(proto_write(&ends.near, json, 0), 0);
    watched = json_string_value(json_object_get(json, secret));
    CU_ASSERT_PTR_NOT_NULL(watched);
    json_decref(json);
    CU_ASSERT_PTR_NULL(watched);

    /* Half a request, and its client goes. */
    feed(&ends, text);
    CU_ASSERT_EQUAL(proto_read_line(&ends.near, 1, &line, &len), -ETIMEDOUT);
    ends_close(&ends);
    CU_ASSERT_EQUAL(secrets_freed, 0);
}

static CU_TestInfo proto_tests[] = {
    {"lines", test_lines},
    {"a line that is too long", test_limits},
    {"a stop ends a read", test_stop},
    {"a big reply", test_big_write},
    {"a reader that does not read", test_stuck_write},
    {"JSON and what is none", test_parse},
    {"JSON that nests without end", test_deep},
    {"names of errors", test_errors},
    {"secrets are wiped", test_secrets},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"mgmt/proto", NULL, NULL, NULL, NULL, proto_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
