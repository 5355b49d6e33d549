/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For test scripts whose client is a program.
 *
 *   nbd_tool make FILE BYTES                a new pool
 *   nbd_tool verb SOCKET LINE               a line of tests/lib/pool_verbs.h to a running server
 *   nbd_tool serve DIR ARG... -- PROGRAM... nbdkit ARG... on the socket DIR/nbd while PROGRAM runs
 *
 * `serve` ends with the status of PROGRAM; with 99 if the server did not start, or did not stop
 * with status 0 afterwards; its log is printed then.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lun/base/cleanup.h"
#include "tests/lib/nbd_server.h"
#include "tests/lib/pool_verbs.h"

enum
{
    TOOL_USAGE = 2,
    TOOL_SERVER_FAILED = 99,
};

static int tool_make(const char *path, const char *bytes)
{
    const struct pool_create_options options = {.size_bytes = strtoull(bytes, NULL, 10)};
    struct reason why;
    reason_clear(&why);
    if (pool_create(env_system(), path, &options, &why) == 0)
        return 0;
    fprintf(stderr, "nbd_tool: %s\n", why.text);
    return 1;
}

static int tool_verb(const char *socket_path, const char *line)
{
    char text[POOL_VERB_TEXT_BYTES] = "";
    int r = pool_verb_send(socket_path, line, text);
    if (r < 0)
        fprintf(stderr, "nbd_tool: %s: %s\n", line, text[0] ? text : strerror(-r));
    else if (text[0])
        printf("%s\n", text);
    return r < 0;
}

static int tool_run(char **argv)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0)
    {
        execvp(argv[0], argv);
        perror(argv[0]);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return TOOL_SERVER_FAILED;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int tool_serve(const char *dir, char **argv)
{
    char **program = argv;
    while (*program && strcmp(*program, "--") != 0)
        program++;
    if (!*program || !program[1])
        return TOOL_USAGE;
    *program++ = NULL;
    struct nbd_server server;
    int r = nbd_server_start(&server, dir, (const char *const *)argv);
    int status = r < 0 ? TOOL_SERVER_FAILED : tool_run(program);
    int server_status = r < 0 ? r : nbd_server_stop(&server);
    if (server_status != 0)
    {
        AUTO_FREE char *log = nbd_server_log(&server);
        fprintf(stderr, "nbd_tool: nbdkit ended with %d:\n%s", server_status, log);
        return TOOL_SERVER_FAILED;
    }
    return status;
}

int main(int argc, char **argv)
{
    int r = TOOL_USAGE;
    if (argc == 4 && strcmp(argv[1], "make") == 0)
        r = tool_make(argv[2], argv[3]);
    else if (argc == 4 && strcmp(argv[1], "verb") == 0)
        r = tool_verb(argv[2], argv[3]);
    else if (argc > 4 && strcmp(argv[1], "serve") == 0)
        r = tool_serve(argv[2], argv + 3);
    if (r == TOOL_USAGE)
        fprintf(stderr, "usage: nbd_tool make FILE BYTES | verb SOCKET LINE | "
                        "serve DIR ARG... -- PROGRAM...\n");
    return r;
}
