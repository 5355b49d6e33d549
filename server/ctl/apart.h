/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Work in a process of its own, so that what ends it there does not end the program: the libraries
 * that images are copied with end it when they lack memory (libnbd), or follow what a hostile
 * target sends to nowhere (libiscsi). Whoever started it is left to put things in order, and to say
 * why.
 */
#ifndef SERVER_CTL_APART_H
#define SERVER_CTL_APART_H

#include <signal.h>
#include <stddef.h>

#include "lun/base/err.h"

/* In the other process: *result is what it has for the caller. */
typedef int apart_fn(void *opaque, void *result, struct reason *why);

/*
 * Runs @work and returns what it did, with its *result of @len bytes and its @why. It gets SIGTERM
 * once *cancel is not 0, stops with the caller (SIGTSTP) and goes on with it, and dies with it.
 * -EFAULT: it was ended before it could say how it went, and @why says by what; *result is as it
 * was. No other thread may run.
 */
MUST_CHECK int apart_run(apart_fn *work, void *opaque, void *result, size_t len,
                         const volatile sig_atomic_t *cancel, struct reason *why);

#endif
