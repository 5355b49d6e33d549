/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A child process: qemu-img, qemu-nbd.
 *
 * It gets a process group of its own, so that a Ctrl-C in the terminal is the parent's to handle,
 * and dies with the thread that started it. child_end() always reaps it.
 */
#ifndef SERVER_CTL_TRANSFER_CHILD_H
#define SERVER_CTL_TRANSFER_CHILD_H

#include <stddef.h>
#include <sys/types.h>

#include "lun/base/err.h"

enum
{
    CHILD_OUTPUT_MAX = 1 << 20, /* bytes that are kept of what it prints */
    CHILD_SOCKET_FD = 3,        /* where it finds the listening socket */
};

struct child
{
    pid_t pid;     /* 0: none, or reaped */
    int output_fd; /* an unnamed file: its standard output and error */
    int status;    /* of waitpid(), once reaped */
};

/*
 * Starts @argv, found through PATH. @listen_fd: a listening socket that it gets the way systemd
 * hands one over (LISTEN_FDS), or -1. -ENOENT does not show here but as exit status 127.
 */
MUST_CHECK int child_start(struct child *child, char *const argv[], int listen_fd);

/*
 * Waits @timeout_ms for it to end by itself, then asks it to (SIGTERM), waits as long again, then
 * kills it. < 0 for no limit. Returns its exit status, or 128 and the signal.
 */
int child_end(struct child *child, int timeout_ms);

/* True once it has ended; does not wait. */
bool child_has_ended(struct child *child);

/* What it has printed, NUL-terminated, free it; NULL: no memory. */
char *child_output(struct child *child);

/* Closes what child_output() reads; after child_end(). */
void child_destroy(struct child *child);

/* Runs @argv to its end; *output is what it printed, free it. Its exit status, or < 0. */
MUST_CHECK int child_run(char *const argv[], char **output);

#endif
