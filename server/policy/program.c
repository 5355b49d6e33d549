/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Programs of the host that the server calls.
 *
 * They get nothing of the server but what they are given: no descriptors, no signal mask, an
 * environment of their own; and a process group of their own, so that a deadline ends all of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "lun/base/checked.h"
#include "server/policy/policy_internal.h"

enum
{
    PROGRAM_SAID_MAX = 300, /* of its standard error that is kept */
    PROGRAM_ENV_MAX = 16,
    PROGRAM_GRACE_MS = 3000, /* when the server stops */
};

struct run
{
    const struct policy_program *program;
    int stop_fd;
    int input[2], said_fds[2]; /* [0] is the reading end; -1: closed */
    pid_t pid;
    int pid_fd;
    char said[PROGRAM_SAID_MAX + 1];
    size_t said_len;
};

static void run_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void run_destroy(struct run *run)
{
    run_close(&run->input[0]);
    run_close(&run->input[1]);
    run_close(&run->said_fds[0]);
    run_close(&run->said_fds[1]);
    run_close(&run->pid_fd);
}

static int run_open(struct run *run)
{
    const char *input = run->program->input ? run->program->input : "";
    size_t len = strlen(input);
    if (pipe2(run->input, O_CLOEXEC | O_NONBLOCK) < 0 || pipe2(run->said_fds, O_CLOEXEC) < 0)
        return -errno;
    /* A pipe takes that much at once, so a program that does not read holds up nobody. */
    ssize_t n = write(run->input[1], input, len);
    if (n != (ssize_t)len)
        return n < 0 ? -errno : -EMSGSIZE;
    run_close(&run->input[1]);
    if (fcntl(run->input[0], F_SETFL, 0) < 0 || fcntl(run->said_fds[0], F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    return 0;
}

static int run_set_attributes(posix_spawnattr_t *attr)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int r = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                               POSIX_SPAWN_SETSIGDEF);
    if (r == 0)
        r = posix_spawnattr_setpgroup(attr, 0);
    if (r == 0)
        r = posix_spawnattr_setsigmask(attr, &none);
    if (r == 0)
        r = posix_spawnattr_setsigdefault(attr, &all);
    return -r;
}

static int run_set_files(const struct run *run, posix_spawn_file_actions_t *files)
{
    int r = posix_spawn_file_actions_adddup2(files, run->input[0], STDIN_FILENO);
    if (r == 0)
        r = posix_spawn_file_actions_addopen(files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(files, run->said_fds[1], STDERR_FILENO);
    if (r == 0)
        r = posix_spawn_file_actions_addclosefrom_np(files, STDERR_FILENO + 1);
    return -r;
}

static int run_spawn(struct run *run)
{
    const struct policy_program *program = run->program;
    const char *args[] = {program->path, program->argument, NULL};
    const char *env[PROGRAM_ENV_MAX + 2] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
    for (size_t i = 0; program->env && program->env[i] && i < PROGRAM_ENV_MAX; i++)
        env[i + 1] = program->env[i];
    posix_spawnattr_t attr;
    posix_spawn_file_actions_t files;
    int r = -posix_spawnattr_init(&attr);
    if (r < 0)
        return r;
    r = -posix_spawn_file_actions_init(&files);
    if (r == 0)
    {
        r = run_set_attributes(&attr);
        if (r == 0)
            r = run_set_files(run, &files);
        if (r == 0)
            r = -posix_spawn(&run->pid, program->path, &files, &attr, (char *const *)args,
                             (char *const *)env);
        posix_spawn_file_actions_destroy(&files);
    }
    posix_spawnattr_destroy(&attr);
    return r;
}

static void run_listen(struct run *run)
{
    char rest[512];
    ssize_t n;
    do
    {
        bool is_full = run->said_len == PROGRAM_SAID_MAX;
        n = is_full ? read(run->said_fds[0], rest, sizeof(rest))
                    : read(run->said_fds[0], run->said + run->said_len,
                           PROGRAM_SAID_MAX - run->said_len);
        if (n > 0 && !is_full)
            run->said_len += (size_t)n;
    } while (n > 0);
    if (n == 0)
        run_close(&run->said_fds[0]); /* its end, or the program's: poll() leaves it out now */
}

static uint64_t run_clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Until it ends: 0, -ETIMEDOUT, -ECANCELED. */
static int run_watch(struct run *run)
{
    uint64_t now_ms = run_clock_ms(), end_ms = now_ms + run->program->timeout_ms;
    bool is_stopping = false;
    for (; now_ms < end_ms; now_ms = run_clock_ms())
    {
        struct pollfd fds[3] = {{.fd = run->pid_fd, .events = POLLIN},
                                {.fd = is_stopping ? -1 : run->stop_fd, .events = POLLIN},
                                {.fd = run->said_fds[0], .events = POLLIN}};
        int n = poll(fds, 3, (int)min_u64(end_ms - now_ms, 60000));
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0 && fds[2].revents)
            run_listen(run);
        if (n > 0 && fds[0].revents)
            return 0;
        if (n > 0 && fds[1].revents)
        {
            /* A moment to finish, above all for who is to thaw something. */
            is_stopping = true;
            end_ms = min_u64(end_ms, run_clock_ms() + PROGRAM_GRACE_MS);
        }
    }
    return is_stopping ? -ECANCELED : -ETIMEDOUT;
}

/* One line of what it said. */
static const char *run_quote(struct run *run)
{
    if (run->said_fds[0] >= 0)
        run_listen(run);
    size_t len = 0;
    for (size_t i = 0; i < run->said_len; i++)
    {
        char c = run->said[i];
        if (c == '\n')
            c = ' ';
        if ((unsigned char)c >= ' ' && c != 127)
            run->said[len++] = c;
    }
    while (len > 0 && run->said[len - 1] == ' ')
        len--;
    run->said[len] = '\0';
    return run->said;
}

static int run_explain(struct run *run, int r, int status, struct reason *why)
{
    const char *path = run->program->path, *said = run_quote(run);
    const char *colon = *said ? ": " : "";
    if (r == -ETIMEDOUT)
        return reason_set(why, r, "%s took longer than %" PRIu64 " ms and was killed%s%s", path,
                          run->program->timeout_ms, colon, said);
    if (r < 0)
        return reason_set(why, r, "%s was killed: %s%s%s", path,
                          r == -ECANCELED ? "the server stops" : strerror(-r), colon, said);
    if (WIFSIGNALED(status))
        return reason_set(why, -EIO, "%s was ended by signal %d%s%s", path, WTERMSIG(status), colon,
                          said);
    if (WEXITSTATUS(status) != 0)
        return reason_set(why, -EIO, "%s ended with status %d%s%s", path, WEXITSTATUS(status),
                          colon, said);
    return 0;
}

int policy_run(struct policy *policy, const struct policy_program *program, struct reason *why)
{
    CLEANUP(run_destroy)
    struct run run = {.program = program,
                      .stop_fd = policy->stop_fd,
                      .input = {-1, -1},
                      .said_fds = {-1, -1},
                      .pid_fd = -1};
    int status = 0;
    int r = run_open(&run);
    if (r == 0)
        r = run_spawn(&run);
    if (r < 0)
        return reason_set(why, r, "cannot run %s: %s", program->path, strerror(-r));
    run_close(&run.said_fds[1]);
    run.pid_fd = (int)syscall(SYS_pidfd_open, run.pid, 0);
    r = run.pid_fd < 0 ? -errno : run_watch(&run);
    if (r < 0)
        kill(-run.pid, SIGKILL);
    while (waitpid(run.pid, &status, 0) < 0)
        if (errno != EINTR)
            return reason_set(why, -errno, "%s: %s", program->path, strerror(errno));
    return run_explain(&run, r, status, why);
}
