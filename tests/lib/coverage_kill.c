/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Preloaded into the tests of `tests/run coverage`: kill(PROCESS, SIGKILL) first lets a server
 * write its counts of lines (coverage_flush.c). One that is stopped, or does not answer, is killed
 * without.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/coverage_signal.h"

enum
{
    KILL_PATIENCE_MS = 10000,
};

/* What /proc tells of a process: whether it takes the signal, and whether it could just now. */
static bool kill_takes_signal(pid_t pid)
{
    char path[64], line[256];
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    uint64_t caught = 0;
    char state = 'X';
    while (fgets(line, sizeof(line), file))
    {
        if (sscanf(line, "State: %c", &state) != 1 &&
            sscanf(line, "SigCgt: %" SCNx64, &caught) != 1)
            continue;
    }
    fclose(file);
    return (caught >> (COVERAGE_FLUSH_SIGNAL - 1) & 1) && !strchr("TtZX", state);
}

static int kill_send(pid_t pid, int number)
{
    return (int)syscall(SYS_kill, pid, number);
}

/* In place of libc's. */
__attribute__((visibility("default"))) int kill(pid_t pid, int number)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    if (number == SIGKILL && pid > 0 && kill_takes_signal(pid))
    {
        kill_send(pid, COVERAGE_FLUSH_SIGNAL);
        for (unsigned ms = 0; ms < KILL_PATIENCE_MS && kill_takes_signal(pid); ms++)
            nanosleep(&pause, NULL);
    }
    return kill_send(pid, number);
}
