/* SPDX-License-Identifier: BSD-3-Clause */
/* Asking a server. */
#include "server/ctl/client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static const char client_system_socket[] = "/run/lunette/mgmt.sock";

char *client_default_socket(void)
{
    const char *named = getenv("LUNETTE_SOCKET");
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    char *path;
    if (named && *named)
        return strdup(named);
    if (geteuid() != 0 && runtime && *runtime == '/')
    {
        if (asprintf(&path, "%s/lunette/mgmt.sock", runtime) < 0)
            return NULL;
        if (access(path, F_OK) == 0)
            return path;
        free(path);
    }
    return strdup(client_system_socket);
}

int client_connect(struct client *client, const char *path, struct reason *why)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    *client = (struct client){.fd = -1};
    if (strlen(path) >= sizeof(address.sun_path))
        return reason_set(why, -EINVAL, "the socket path %s is longer than %zu bytes", path,
                          sizeof(address.sun_path) - 1);
    memcpy(address.sun_path, path, strlen(path) + 1);
    AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
    {
        int r = -errno;
        return reason_set(why, r, "no server answers on %s: %s", path,
                          r == -ENOENT ? "there is no such socket (--socket or LUNETTE_SOCKET "
                                         "names another)"
                          : r == -ECONNREFUSED ? "the server that made it is gone"
                                               : strerror(-r));
    }
    struct ucred peer = {0};
    socklen_t len = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0)
        client->server_pid = peer.pid;
    client->fd = take_fd(&fd);
    proto_stream_init(&client->stream, client->fd, -1, PROTO_REPLY_MAX_BYTES);
    return 0;
}

void client_close(struct client *client)
{
    if (client->fd < 0)
        return;
    proto_stream_destroy(&client->stream);
    close(client->fd);
    client->fd = -1;
}

static int client_send(struct client *client, const char *verb, json_t *args)
{
    AUTO_JSON json_t *request =
        json_pack("{s:i, s:s, s:o}", "id", 1, "verb", verb, "args", args ? args : json_object());
    return request ? proto_write(&client->stream, request, 0) : -ENOMEM;
}

static int client_read_refusal(const json_t *error, struct client_refusal *refusal)
{
    const char *name = json_string_value(json_object_get(error, "errno"));
    const char *text = json_string_value(json_object_get(error, "text"));
    const char *hint = json_string_value(json_object_get(error, "hint"));
    snprintf(refusal->hint, sizeof(refusal->hint), "%s", hint ? hint : "");
    return reason_set(&refusal->why, proto_error_number(name ? name : "EIO"), "%s",
                      text ? text : "the server gave no reason");
}

/* The request was sent. */
static int client_is_deaf(struct client_refusal *refusal)
{
    return reason_set(&refusal->why, -ENOMEM,
                      "no memory for the server's answer: what was asked for may be done or not, "
                      "which 'show' tells");
}

/* 1: a progress line was handed on; 0: *result; else the error. */
static int client_read_answer(struct client *client, client_progress_fn *progress, void *opaque,
                              json_t **result, struct client_refusal *refusal)
{
    char *line;
    size_t len;
    int r = proto_read_line(&client->stream, 0, &line, &len);
    if (r == -ENOMEM)
        return client_is_deaf(refusal);
    if (r < 0)
        return reason_set(&refusal->why, r,
                          r == -ENOTCONN ? "the server closed the connection unasked"
                                         : "cannot read the server's answer");
    AUTO_JSON json_t *answer = NULL;
    r = proto_parse(line, len, 64, &answer, &refusal->why);
    if (r == -ENOMEM)
        return client_is_deaf(refusal);
    if (r < 0)
        return r;
    const json_t *step = json_object_get(answer, "progress");
    if (step)
    {
        r = progress ? progress(opaque, step) : 0;
        return r == 0 ? 1 : r;
    }
    if (!json_is_true(json_object_get(answer, "ok")))
        return client_read_refusal(json_object_get(answer, "error"), refusal);
    *result = json_incref(json_object_get(answer, "result"));
    return *result ? 0 : reason_set(&refusal->why, -EBADMSG, "the server's answer has no result");
}

int client_call(struct client *client, const char *verb, json_t *args, client_progress_fn *progress,
                void *opaque, json_t **result, struct client_refusal *refusal)
{
    *refusal = (struct client_refusal){.hint = ""};
    int r = client_send(client, verb, args);
    /* A server that turns us away says so and closes, so its answer counts more than the error. */
    if (r < 0 && r != -ENOTCONN)
        return reason_set(&refusal->why, r, "cannot ask the server: %s", strerror(-r));
    do
        r = client_read_answer(client, progress, opaque, result, refusal);
    while (r == 1);
    return r;
}
