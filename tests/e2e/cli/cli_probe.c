/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the scripts cannot do by themselves.
 *
 *   cli_probe json [PATH]       reads standard input, fails unless it is one JSON value and nothing
 *                               else; prints what is at PATH: "luns.0.name"; "luns.#" is a count
 *   cli_probe send SOCKET       sends standard input, prints what comes back until the server
 * closes or has answered a line cli_probe spaces SOCKET N   the same with N blanks cli_probe hold
 * SOCKET N     holds N connections, each with half a request; prints "holding" and waits until
 * standard input ends cli_probe stuff SOCKET      asks on and on and never reads, until the server
 * will have no more
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lun/base/cleanup.h"
#include "server/mgmt/proto.h"

static int probe_dial(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
    {
        perror(path);
        exit(1);
    }
    return fd;
}

static const json_t *probe_step(const json_t *json, const char *word)
{
    if (json_is_array(json))
        return json_array_get(json, (size_t)strtoul(word, NULL, 10));
    return json_object_get(json, word);
}

static int probe_json(const char *path)
{
    json_error_t error;
    AUTO_JSON json_t *whole = json_loadf(stdin, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!whole)
    {
        fprintf(stderr, "not JSON: %s, line %d\n", error.text, error.line);
        return 1;
    }
    const json_t *json = whole;
    while (path && *path)
    {
        char word[128];
        size_t len = strcspn(path, ".");
        snprintf(word, sizeof(word), "%.*s", (int)len, path);
        path += len;
        path += *path == '.';
        if (strcmp(word, "#") == 0)
        {
            printf("%zu\n", json_array_size(json));
            return 0;
        }
        json = probe_step(json, word);
        if (!json)
        {
            fprintf(stderr, "no \"%s\"\n", word);
            return 1;
        }
    }
    if (json_is_string(json))
        printf("%s\n", json_string_value(json));
    else
    {
        AUTO_FREE char *text = json_dumps(json, JSON_ENCODE_ANY | JSON_COMPACT);
        printf("%s\n", text ? text : "");
    }
    return 0;
}

static int probe_hear(int fd)
{
    char buf[65536];
    ssize_t n;
    while ((n = read(fd, buf, sizeof(buf))) > 0)
    {
        fwrite(buf, 1, (size_t)n, stdout);
        if (buf[n - 1] == '\n')
            break;
    }
    return 0;
}

static int probe_send(const char *path)
{
    int fd = probe_dial(path);
    char buf[65536];
    size_t n;
    while ((n = fread(buf, 1, sizeof(buf), stdin)) > 0)
        if (send(fd, buf, n, MSG_NOSIGNAL) < 0)
            break;
    return probe_hear(fd);
}

static int probe_spaces(const char *path, size_t count)
{
    int fd = probe_dial(path);
    AUTO_FREE char *spaces = malloc(count);
    if (!spaces)
        return 1;
    memset(spaces, ' ', count);
    if (send(fd, spaces, count, MSG_NOSIGNAL) < 0)
        perror("send"); /* the server may have closed already */
    return probe_hear(fd);
}

static int probe_hold(const char *path, size_t count)
{
    static const char half[] = "{\"id\":1,\"verb\":\"po";
    for (size_t i = 0; i < count; i++)
        if (send(probe_dial(path), half, strlen(half), MSG_NOSIGNAL) < 0)
            return 1;
    printf("holding\n");
    fflush(stdout);
    while (getchar() != EOF)
        continue;
    return 0;
}

static int probe_stuff(const char *path)
{
    static const char request[] = "{\"id\":1,\"verb\":\"pool.show\"}\n";
    int fd = probe_dial(path);
    while (send(fd, request, strlen(request), MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
        continue;
    printf("stuffed\n");
    fflush(stdout);
    while (getchar() != EOF)
        continue;
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "json") == 0)
        return probe_json(argc > 2 ? argv[2] : NULL);
    if (argc == 3 && strcmp(argv[1], "send") == 0)
        return probe_send(argv[2]);
    if (argc == 4 && strcmp(argv[1], "spaces") == 0)
        return probe_spaces(argv[2], strtoul(argv[3], NULL, 10));
    if (argc == 4 && strcmp(argv[1], "hold") == 0)
        return probe_hold(argv[2], strtoul(argv[3], NULL, 10));
    if (argc == 3 && strcmp(argv[1], "stuff") == 0)
        return probe_stuff(argv[2]);
    fprintf(stderr, "usage: see the head of cli_probe.c\n");
    return 2;
}
