/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of invariants: code that must abort, run in a child process. */
#ifndef TESTS_LIB_ABORTS_H
#define TESTS_LIB_ABORTS_H

#include <stdbool.h>

/*
 * Whether @function(@opaque) ends in abort() having written @message (a part of it) to standard
 * error. The child is a fork: call this while the process has one thread.
 */
bool aborts_with(void (*function)(void *opaque), void *opaque, const char *message);

#endif
