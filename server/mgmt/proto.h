/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The management protocol: JSON objects, one per line, on a Unix stream socket.
 *
 *   request   {"id":7,"verb":"lun.show","args":{"name":"golden"}}
 *   progress  {"id":7,"progress":{...}}            any number of them
 *   reply     {"id":7,"ok":true,"result":{...}}    or
 *             {"id":7,"ok":false,"error":{"errno":"ENOENT","text":"...","hint":"..."}}
 *
 * "id" is any JSON value of the client's choice and comes back as it was (null when the request
 * could not be read), "args" may be left out, "hint" is a command that helps, or absent. A
 * connection serves one request after another. Both sides use this file: what it cannot read is an
 * error, and both bound what they read.
 */
#ifndef SERVER_MGMT_PROTO_H
#define SERVER_MGMT_PROTO_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/base/cleanup.h"
#include "lun/base/err.h"

enum
{
    PROTO_REQUEST_MAX_BYTES = 1 << 20, /* of who may change things */
    PROTO_LOOKER_MAX_BYTES = 64 << 10, /* of who may only look */
    PROTO_REPLY_MAX_BYTES = 256 << 20,
    PROTO_DEPTH_MAX = 16, /* of nested arrays and objects in a request */
};

struct proto_stream
{
    int fd;      /* not owned; blocking or not */
    int stop_fd; /* readable: give up with -ECANCELED; -1: none */
    size_t max;  /* bytes of a line */
    char *buf;
    size_t start, len, capacity; /* buf[start, start + len) is not yet used; what was is wiped */
    size_t given;                /* bytes before start that were handed out last */
};

void proto_stream_init(struct proto_stream *stream, int fd, int stop_fd, size_t max);
void proto_stream_destroy(struct proto_stream *stream);

/*
 * The next line, without its newline but NUL-terminated, valid until the next call. @timeout_ms is
 * for the whole line; 0: as long as it takes. -ENOTCONN: the peer is gone. -ETIMEDOUT. -EMSGSIZE:
 * longer than max. -ECANCELED: see stop_fd.
 */
MUST_CHECK int proto_read_line(struct proto_stream *stream, uint64_t timeout_ms, char **line,
                               size_t *len);

/* @json as text, to be freed, or NULL. Where jansson 2.14 lacks memory, json_dumps() leaves bytes
 * out and does not say so. */
char *proto_dump(const json_t *json, size_t flags);

/* Writes @json and a newline, as a whole within @timeout_ms. Errors as above. */
MUST_CHECK int proto_write(struct proto_stream *stream, json_t *json, uint64_t timeout_ms);
/* The same of JSON that is text already, with its newline. */
MUST_CHECK int proto_write_text(struct proto_stream *stream, const char *text, uint64_t timeout_ms);

/* Any JSON, without keys that come twice. -EBADMSG: see @error. -ENOMEM, also where jansson 2.14
 * makes something of a text of which it had no memory for a part (once proto_wipe_json() was
 * called). */
MUST_CHECK int proto_load(const char *text, size_t len, json_t **json, json_error_t *error);

/* -ENOMEM; -EBADMSG: not a JSON object, too deep, or a key twice; @why says where. *json is the
 * caller's. */
MUST_CHECK int proto_parse(const char *line, size_t len, size_t depth_max, json_t **json,
                           struct reason *why);

/* "ENOSPC" for -ENOSPC, and back; what is not known is "EIO". */
const char *proto_error_name(int err);
int proto_error_number(const char *name);

static inline void proto_cleanup_json(json_t **json)
{
    json_decref(*json);
}
#define AUTO_JSON CLEANUP(proto_cleanup_json)

/*
 * From here on JSON in memory is wiped before it is freed: secrets go through it. To be called
 * before the first JSON value is made, from any thread, any number of times.
 */
void proto_wipe_json(void);

static inline json_t *proto_json_uint(uint64_t number)
{
    return json_integer((json_int_t)number);
}

#endif
