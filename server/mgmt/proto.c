/* SPDX-License-Identifier: BSD-3-Clause */
/* Lines of JSON over a socket, bounded in size, depth and time. */
#include "server/mgmt/proto.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "lun/base/checked.h"

enum
{
    PROTO_READ_BYTES = 16 << 10, /* room for one read */
    PROTO_FEED_BYTES = 128,      /* of a text that jansson parses, at a time */
    PROTO_RESERVE_BYTES = 64 << 10,
};

void proto_stream_init(struct proto_stream *stream, int fd, int stop_fd, size_t max)
{
    *stream = (struct proto_stream){.fd = fd, .stop_fd = stop_fd, .max = max};
}

/*
 * Where jansson 2.14 has no memory while it parses, it loses bytes of a text, or fails its own
 * assertions. So there is a reserve for it then, from which it goes on until it asks for more of
 * the text, which it does not get; and what it made is thrown away.
 */
static _Thread_local struct
{
    uint8_t *bytes;
    size_t len, used;
    bool is_used;
} proto_reserve;

static bool proto_is_reserve(const void *memory)
{
    return proto_reserve.bytes && (const uint8_t *)memory >= proto_reserve.bytes &&
           (const uint8_t *)memory < proto_reserve.bytes + proto_reserve.len;
}

static void proto_wiping_free(void *memory)
{
    if (proto_is_reserve(memory))
        return;
    if (memory)
        explicit_bzero(memory, malloc_usable_size(memory));
    free(memory);
}

static void *proto_malloc(size_t size)
{
    void *memory = proto_reserve.is_used ? NULL : malloc(size);
    size_t len = (size + 15) & ~(size_t)15;
    if (memory || !proto_reserve.bytes)
        return memory;
    proto_reserve.is_used = true;
    if (len < size || len > proto_reserve.len - proto_reserve.used)
        return NULL;
    memory = proto_reserve.bytes + proto_reserve.used;
    proto_reserve.used += len;
    return memory;
}

static void proto_wipe_json_once(void)
{
    json_set_alloc_funcs(proto_malloc, proto_wiping_free);
}

void proto_wipe_json(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, proto_wipe_json_once);
}

void proto_stream_destroy(struct proto_stream *stream)
{
    if (stream->buf)
        explicit_bzero(stream->buf, stream->capacity);
    free(stream->buf);
    stream->buf = NULL;
}

static uint64_t proto_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Waits for @events on the socket until @deadline_ms (0: for ever). */
static int proto_poll(const struct proto_stream *stream, short events, uint64_t deadline_ms)
{
    for (;;)
    {
        struct pollfd fds[2] = {{.fd = stream->fd, .events = events},
                                {.fd = stream->stop_fd, .events = POLLIN}};
        int timeout_ms = -1;
        if (deadline_ms > 0)
        {
            uint64_t now_ms = proto_now_ms();
            timeout_ms = now_ms >= deadline_ms ? 0 : (int)min_u64(deadline_ms - now_ms, 1 << 30);
        }
        int n = poll(fds, 2, timeout_ms);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0 && fds[1].revents)
            return -ECANCELED;
        if (n > 0)
            return 0;
        if (n == 0 && proto_now_ms() >= deadline_ms)
            return -ETIMEDOUT;
    }
}

static int proto_make_room(struct proto_stream *stream)
{
    if (stream->buf && stream->start > 0)
    {
        memmove(stream->buf, stream->buf + stream->start, stream->len);
        /* Its end may be there twice now. */
        explicit_bzero(stream->buf + stream->len, stream->start);
        stream->start = 0;
    }
    if (stream->capacity - stream->len >= PROTO_READ_BYTES)
        return 0;
    size_t capacity = 2 * (stream->len + PROTO_READ_BYTES);
    /* Not realloc(), which would leave a copy of what may be a secret behind. */
    char *buf = malloc(capacity);
    if (!buf)
        return -ENOMEM;
    if (stream->buf)
    {
        memcpy(buf, stream->buf, stream->len);
        explicit_bzero(stream->buf, stream->capacity);
    }
    free(stream->buf);
    stream->buf = buf;
    stream->capacity = capacity;
    return 0;
}

static int proto_fill(struct proto_stream *stream, uint64_t deadline_ms)
{
    int r = proto_make_room(stream);
    if (r < 0)
        return r;
    for (;;)
    {
        r = proto_poll(stream, POLLIN, deadline_ms);
        if (r < 0)
            return r;
        ssize_t n = recv(stream->fd, stream->buf + stream->len, PROTO_READ_BYTES, MSG_DONTWAIT);
        if (n > 0)
        {
            stream->len += (size_t)n;
            return 0;
        }
        if (n == 0 || errno == ECONNRESET)
            return -ENOTCONN;
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
    }
}

int proto_read_line(struct proto_stream *stream, uint64_t timeout_ms, char **line, size_t *len)
{
    uint64_t deadline_ms = timeout_ms > 0 ? proto_now_ms() + timeout_ms : 0;
    size_t searched = 0;
    if (stream->given > 0)
        explicit_bzero(stream->buf + stream->start - stream->given, stream->given);
    stream->given = 0;
    for (;;)
    {
        char *from = stream->buf ? stream->buf + stream->start : NULL;
        char *end = from && stream->len > searched
                        ? memchr(from + searched, '\n', stream->len - searched)
                        : NULL;
        size_t line_len = end ? (size_t)(end - from) : stream->len;
        if (line_len > stream->max)
            return -EMSGSIZE;
        if (end)
        {
            *end = '\0';
            *line = from;
            *len = line_len;
            stream->given = line_len + 1;
            stream->start += line_len + 1;
            stream->len -= line_len + 1;
            return 0;
        }
        searched = stream->len;
        int r = proto_fill(stream, deadline_ms);
        if (r < 0)
            return r;
    }
}

static int proto_send(struct proto_stream *stream, const char *text, size_t len,
                      uint64_t timeout_ms)
{
    uint64_t deadline_ms = timeout_ms > 0 ? proto_now_ms() + timeout_ms : 0;
    size_t done = 0;
    while (done < len)
    {
        ssize_t n = send(stream->fd, text + done, len - done, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n >= 0)
        {
            done += (size_t)n;
            continue;
        }
        if (errno == EPIPE || errno == ECONNRESET)
            return -ENOTCONN;
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
        int r = proto_poll(stream, POLLOUT, deadline_ms);
        if (r < 0)
            return r;
    }
    return 0;
}

char *proto_dump(const json_t *json, size_t flags)
{
    size_t len = json_dumpb(json, NULL, 0, flags);
    char *text = len > 0 ? malloc(len + 1) : NULL;
    if (!text)
        return NULL;
    if (json_dumpb(json, text, len, flags) != len)
    {
        free(text);
        return NULL;
    }
    text[len] = '\0';
    return text;
}

int proto_write_text(struct proto_stream *stream, const char *text, uint64_t timeout_ms)
{
    return proto_send(stream, text, strlen(text), timeout_ms);
}

int proto_write(struct proto_stream *stream, json_t *json, uint64_t timeout_ms)
{
    AUTO_FREE char *text = proto_dump(json, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text)
        return -ENOMEM;
    size_t len = strlen(text);
    text[len++] = '\n'; /* takes the place of the NUL */
    int r = proto_send(stream, text, len, timeout_ms);
    explicit_bzero(text, len);
    return r;
}

/* Whether arrays and objects nest too deep; jansson's parser recurses, so it is asked before. */
static bool proto_is_too_deep(const char *line, size_t len, size_t depth_max)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++)
    {
        if (in_string && line[i] == '\\')
            i++;
        else if (line[i] == '"')
            in_string = !in_string;
        else if (!in_string && (line[i] == '{' || line[i] == '[') && ++depth > depth_max)
            return true;
        else if (!in_string && (line[i] == '}' || line[i] == ']') && depth > 0)
            depth--;
    }
    return false;
}

struct proto_text
{
    const char *at;
    size_t left;
};

static size_t proto_feed(void *to, size_t size, void *opaque)
{
    struct proto_text *text = opaque;
    size_t len = min_u64(min_u64(size, text->left), PROTO_FEED_BYTES);
    if (proto_reserve.is_used)
        return 0;
    memcpy(to, text->at, len);
    text->at += len;
    text->left -= len;
    return len;
}

/* The longest string in it: jansson gathers one in a buffer that it doubles. */
static size_t proto_longest(const char *text, size_t len)
{
    size_t longest = 0, begin = 0;
    for (size_t i = 0; i < len; i++)
    {
        if (text[i] == '\\')
            i++;
        else if (text[i] == '"')
        {
            longest = max_u64(longest, i - begin);
            begin = i + 1;
        }
    }
    return max_u64(longest, len - min_u64(len, begin));
}

int proto_load(const char *text, size_t len, json_t **json, json_error_t *error)
{
    struct proto_text left = {.at = text, .left = len};
    proto_reserve.len = PROTO_RESERVE_BYTES + 4 * proto_longest(text, len);
    proto_reserve.bytes = malloc(proto_reserve.len);
    proto_reserve.used = 0;
    proto_reserve.is_used = false;
    if (!proto_reserve.bytes)
        return -ENOMEM;
    json_t *parsed = json_load_callback(proto_feed, &left, JSON_REJECT_DUPLICATES, error);
    bool is_starved =
        proto_reserve.is_used || (!parsed && json_error_code(error) == json_error_out_of_memory);
    if (is_starved)
        json_decref(take_ptr(&parsed));
    explicit_bzero(proto_reserve.bytes, proto_reserve.used);
    free(proto_reserve.bytes);
    proto_reserve.bytes = NULL;
    proto_reserve.is_used = false;
    if (is_starved)
        return -ENOMEM;
    if (!parsed)
        return -EBADMSG;
    *json = parsed;
    return 0;
}

int proto_parse(const char *line, size_t len, size_t depth_max, json_t **json, struct reason *why)
{
    if (proto_is_too_deep(line, len, depth_max))
        return reason_set(why, -EBADMSG, "JSON nested deeper than %zu levels", depth_max);
    json_error_t error;
    AUTO_JSON json_t *parsed = NULL;
    int r = proto_load(line, len, &parsed, &error);
    if (r == -ENOMEM)
        return reason_set(why, r, "no memory");
    if (r < 0)
        return reason_set(why, -EBADMSG, "not JSON: %s at byte %d", error.text, error.position);
    if (!json_is_object(parsed))
        return reason_set(why, -EBADMSG, "not a JSON object");
    *json = take_ptr(&parsed);
    return 0;
}

const char *proto_error_name(int err)
{
    const char *name = strerrorname_np(err < 0 ? -err : err);
    return name && err != 0 ? name : "EIO";
}

int proto_error_number(const char *name)
{
    for (int i = 1; i < 200; i++)
    {
        const char *known = strerrorname_np(i);
        if (known && strcmp(known, name) == 0)
            return -i;
    }
    return -EIO;
}
