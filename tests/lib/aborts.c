/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs a function in a child and looks at how it ended. */
#include "tests/lib/aborts.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lun/base/cleanup.h"

/* Runs in the child; never returns. */
static void aborts_child(void (*function)(void *opaque), void *opaque, int output)
{
    struct rlimit no_core = {0};
    setrlimit(RLIMIT_CORE, &no_core);
    signal(SIGABRT, SIG_DFL);
    dup2(output, STDERR_FILENO);
    function(opaque);
    _exit(0);
}

/* All that comes until the other end closes; what does not fit is dropped. */
static void aborts_read_output(int fd, char *text, size_t size)
{
    size_t len = 0;
    for (;;)
    {
        char scrap[512];
        ssize_t got = read(fd, scrap, sizeof(scrap));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        size_t room = size - 1 - len;
        size_t taken = (size_t)got < room ? (size_t)got : room;
        memcpy(text + len, scrap, taken);
        len += taken;
    }
    text[len] = '\0';
}

bool aborts_with(void (*function)(void *opaque), void *opaque, const char *message)
{
    int ends[2];
    if (pipe(ends) < 0)
        return false;
    AUTO_CLOSE int in = ends[0];
    AUTO_CLOSE int out = ends[1];
    fflush(NULL);
    pid_t child = fork();
    if (child < 0)
        return false;
    if (child == 0)
        aborts_child(function, opaque, out);
    close(take_fd(&out));
    char text[4096];
    aborts_read_output(in, text, sizeof(text));
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    bool aborted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
    if (!aborted || !strstr(text, message))
        printf("child: status %#x, standard error: %s\n", status, text);
    return aborted && strstr(text, message);
}
