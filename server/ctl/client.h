/* SPDX-License-Identifier: BSD-3-Clause */
/* Asking a server: one connection to its management socket. */
#ifndef SERVER_CTL_CLIENT_H
#define SERVER_CTL_CLIENT_H

#include <jansson.h>
#include <sys/types.h>

#include "server/mgmt/proto.h"

struct client
{
    int fd; /* -1: none */
    struct proto_stream stream;
    pid_t server_pid; /* who listens, as the kernel says */
};

/* What a server refused with. */
struct client_refusal
{
    struct reason why;
    char hint[512]; /* "" if none */
};

/*
 * The socket that is meant when none is named: $LUNETTE_SOCKET, else one that exists of
 * $XDG_RUNTIME_DIR/lunette/mgmt.sock (not for root) and /run/lunette/mgmt.sock, the latter if none
 * does. Free it. NULL: no memory.
 */
char *client_default_socket(void);

/* Errors of connect(2); -ENOENT and -ECONNREFUSED: no server there. */
MUST_CHECK int client_connect(struct client *client, const char *path, struct reason *why);
void client_close(struct client *client);

typedef int client_progress_fn(void *opaque, const json_t *progress);

/*
 * One request and its answer. @args is taken over, NULL: none. Each progress line goes to @progress
 * (may be NULL), whose non-zero result ends the call with it. An error of the server's is returned
 * as its errno, with *refusal filled in; so are errors of the connection.
 */
MUST_CHECK int client_call(struct client *client, const char *verb, json_t *args,
                           client_progress_fn *progress, void *opaque, json_t **result,
                           struct client_refusal *refusal);

#endif
