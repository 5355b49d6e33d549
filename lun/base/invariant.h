/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Invariants: our own mistakes, where going on could write a wrong block. Always compiled in.
 *
 * Bytes from a disk, a socket, a config file or a user never reach INVARIANT: they are errors.
 */
#ifndef LUN_BASE_INVARIANT_H
#define LUN_BASE_INVARIANT_H

__attribute__((noreturn)) void invariant_failed(const char *condition, const char *file, int line,
                                                const char *function);

#define INVARIANT(condition)                                                                       \
    (__builtin_expect(!!(condition), 1)                                                            \
         ? (void)0                                                                                 \
         : invariant_failed(#condition, __FILE__, __LINE__, __func__))

#ifdef LUNETTE_DEBUG_CHECKS
#define DEBUG_INVARIANT(condition) INVARIANT(condition)
#else
#define DEBUG_INVARIANT(condition) ((void)sizeof(!!(condition)))
#endif

#endif
