/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/ctl/apart.h"

#include <errno.h>
#include <signal.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lun/base/invariant.h"

enum
{
    APART_RESULT_MAX = 1024
};

/* In memory that both processes have. */
struct apart
{
    int r;
    bool is_said;
    struct reason why;
    alignas(max_align_t) uint8_t result[APART_RESULT_MAX]; /* of any type */
};

/* A group of its own: Ctrl-C in the terminal is the caller's to hand on. */
static void apart_work(struct apart *apart, pid_t parent, apart_fn *work, void *opaque)
{
    signal(SIGCHLD, SIG_DFL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    apart->r = work(opaque, apart->result, &apart->why);
    apart->is_said = true;
    fflush(stderr);
    _exit(0);
}

static void apart_wake_cb(int number)
{
    (void)number; /* it ends sigsuspend() */
}

static volatile sig_atomic_t apart_is_to_stop;

static void apart_stop_cb(int number)
{
    apart_is_to_stop = number;
}

/* Ctrl-Z: both stop, and both go on once the caller does, in the foreground or not. */
static void apart_pause(pid_t pid)
{
    apart_is_to_stop = 0;
    kill(pid, SIGSTOP);
    raise(SIGSTOP);
    kill(pid, SIGCONT);
}

/* Until it has ended. A signal between a look at *cancel and the wait is not slept over. */
static int apart_wait(pid_t pid, const volatile sig_atomic_t *cancel)
{
    int status = 0;
    bool is_told = false;
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    while (waitpid(pid, &status, WNOHANG) == 0)
    {
        if (apart_is_to_stop)
            apart_pause(pid);
        if (*cancel && !is_told)
            kill(pid, SIGTERM);
        is_told |= *cancel != 0;
        sigsuspend(&before);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return status;
}

static int apart_explain(int status, struct reason *why)
{
    if (WIFSIGNALED(status))
        return reason_set(why, -EFAULT,
                          "the process that copied was ended by signal %d (%s): what it was sent, "
                          "or a lack of memory, was too much for a library that it uses",
                          WTERMSIG(status), strsignal(WTERMSIG(status)));
    return reason_set(why, -EFAULT,
                      "the process that copied ended by itself with status %d, without a word",
                      WEXITSTATUS(status));
}

int apart_run(apart_fn *work, void *opaque, void *result, size_t len,
              const volatile sig_atomic_t *cancel, struct reason *why)
{
    INVARIANT(len <= APART_RESULT_MAX);
    struct apart *apart =
        mmap(NULL, sizeof(*apart), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (apart == MAP_FAILED)
        return reason_set(why, -ENOMEM, "no memory for a process that copies");
    struct sigaction action = {.sa_handler = apart_wake_cb}, usual;
    sigaction(SIGCHLD, &action, &usual);
    /* Who is not to stop (a shell without job control ignores it for us) does not. */
    struct sigaction stop = {.sa_handler = apart_stop_cb}, usual_stop;
    sigaction(SIGTSTP, NULL, &usual_stop);
    if (usual_stop.sa_handler == SIG_DFL)
        sigaction(SIGTSTP, &stop, NULL);
    fflush(stdout);
    fflush(stderr);
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        apart_work(apart, parent, work, opaque);
    int r = pid < 0 ? reason_set(why, -errno, "no process that copies can be started: %s",
                                 strerror(errno))
                    : 0;
    if (r == 0)
    {
        int status = apart_wait(pid, cancel);
        apart->why.text[sizeof(apart->why.text) - 1] = '\0';
        r = apart->is_said ? apart->r : apart_explain(status, why);
    }
    if (pid > 0 && apart->is_said)
    {
        memcpy(result, apart->result, len);
        *why = apart->why;
    }
    sigaction(SIGTSTP, &usual_stop, NULL);
    sigaction(SIGCHLD, &usual, NULL);
    munmap(apart, sizeof(*apart));
    return r;
}
