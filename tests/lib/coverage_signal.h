/* SPDX-License-Identifier: BSD-3-Clause */
/* What coverage_flush.c and coverage_kill.c agree on. */
#ifndef TESTS_LIB_COVERAGE_SIGNAL_H
#define TESTS_LIB_COVERAGE_SIGNAL_H

#include <signal.h>

#define COVERAGE_FLUSH_SIGNAL (SIGRTMAX - 1)

#endif
