/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/ctl/transfer_child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lun/base/cleanup.h"

extern char **environ;

/* The environment of the child, made before the fork: after it, nothing may allocate. */
struct child_env
{
    char **list;
    char listen_fds[16];
    char listen_pid[32];
};

static int child_env_make(struct child_env *env, bool has_socket)
{
    size_t count = 0;
    while (environ[count])
        count++;
    env->list = calloc(count + 3, sizeof(*env->list));
    if (!env->list)
        return -ENOMEM;
    size_t used = 0;
    for (size_t i = 0; i < count; i++)
        if (strncmp(environ[i], "LISTEN_", 7) != 0)
            env->list[used++] = environ[i];
    if (has_socket)
    {
        snprintf(env->listen_fds, sizeof(env->listen_fds), "LISTEN_FDS=1");
        snprintf(env->listen_pid, sizeof(env->listen_pid), "LISTEN_PID=");
        env->list[used++] = env->listen_fds;
        env->list[used] = env->listen_pid;
    }
    return 0;
}

/* In the child, where snprintf() is not allowed. */
static void child_env_set_pid(struct child_env *env)
{
    char digits[16];
    size_t count = 0;
    for (unsigned long pid = (unsigned long)getpid(); pid; pid /= 10)
        digits[count++] = (char)('0' + pid % 10);
    char *to = env->listen_pid + strlen("LISTEN_PID=");
    while (count)
        *to++ = digits[--count];
    *to = '\0';
}

/* In the child: only what is safe after a fork of a program with threads. */
__attribute__((noreturn)) static void child_exec(char *const argv[], struct child_env *env,
                                                 int output_fd, int listen_fd, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int null_fd = open("/dev/null", O_RDONLY);
    if (getppid() != parent || null_fd < 0 || dup2(null_fd, 0) < 0 || dup2(output_fd, 1) < 0 ||
        dup2(output_fd, 2) < 0)
        _exit(126);
    if (listen_fd == CHILD_SOCKET_FD)
        fcntl(listen_fd, F_SETFD, 0);
    else if (listen_fd >= 0 && dup2(listen_fd, CHILD_SOCKET_FD) < 0)
        _exit(126);
    child_env_set_pid(env);
    execvpe(argv[0], argv, env->list);
    _exit(127);
}

int child_start(struct child *child, char *const argv[], int listen_fd)
{
    *child = (struct child){.output_fd = memfd_create("output", MFD_CLOEXEC)};
    if (child->output_fd < 0)
        return -errno;
    struct child_env env = {0};
    int r = child_env_make(&env, listen_fd >= 0);
    if (r < 0)
        return r;
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        child_exec(argv, &env, child->output_fd, listen_fd, parent);
    r = pid < 0 ? -errno : 0;
    free(env.list);
    child->pid = pid < 0 ? 0 : pid;
    return r;
}

static bool child_reap(struct child *child, int flags)
{
    if (child->pid == 0)
        return true;
    pid_t r;
    do
        r = waitpid(child->pid, &child->status, flags);
    while (r < 0 && errno == EINTR);
    if (r == 0)
        return false;
    child->pid = 0;
    return true;
}

bool child_has_ended(struct child *child)
{
    return child_reap(child, WNOHANG);
}

static bool child_wait_ms(struct child *child, int timeout_ms)
{
    if (child_reap(child, WNOHANG))
        return true;
    AUTO_CLOSE int fd = pidfd_open(child->pid, 0);
    if (fd < 0)
        return false;
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    int r = poll(&pollfd, 1, timeout_ms);
    while (r < 0 && errno == EINTR)
        r = poll(&pollfd, 1, timeout_ms);
    return child_reap(child, WNOHANG);
}

int child_end(struct child *child, int timeout_ms)
{
    if (!child_wait_ms(child, timeout_ms))
    {
        kill(child->pid, SIGTERM);
        if (!child_wait_ms(child, timeout_ms))
        {
            kill(child->pid, SIGKILL);
            child_reap(child, 0);
        }
    }
    return WIFSIGNALED(child->status) ? 128 + WTERMSIG(child->status) : WEXITSTATUS(child->status);
}

char *child_output(struct child *child)
{
    off_t end = lseek(child->output_fd, 0, SEEK_END);
    size_t len = end < 0 ? 0 : end > CHILD_OUTPUT_MAX ? CHILD_OUTPUT_MAX : (size_t)end;
    char *text = calloc(1, len + 1);
    if (!text)
        return NULL;
    ssize_t n = pread(child->output_fd, text, len, 0);
    text[n < 0 ? 0 : n] = '\0';
    return text;
}

void child_destroy(struct child *child)
{
    if (child->output_fd >= 0)
        close(child->output_fd);
    child->output_fd = -1;
}

int child_run(char *const argv[], char **output)
{
    struct child child;
    int r = child_start(&child, argv, -1);
    if (r == 0)
        r = child_end(&child, -1);
    if (r >= 0)
    {
        *output = child_output(&child);
        if (!*output)
            r = -ENOMEM;
    }
    child_destroy(&child);
    return r;
}
