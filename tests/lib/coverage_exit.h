/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Included before everything else where lines are counted (COVERAGE=ON) and children end by _exit()
 * or execvpe(), which, unlike exit() and the exec functions that gcc knows of, lose the counts.
 */
#ifndef TESTS_LIB_COVERAGE_EXIT_H
#define TESTS_LIB_COVERAGE_EXIT_H

#include <unistd.h>

extern void __gcov_dump(void); /* of libgcov; no header has it */

#define _exit(status) (__gcov_dump(), (_exit)(status))
#define execvpe(...) (__gcov_dump(), (execvpe)(__VA_ARGS__))

#endif
