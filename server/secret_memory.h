/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory for keys, and for secrets while they are used: a few pages that are not swapped out and in
 * no core dump, the secure heap of OpenSSL.
 *
 * It is small. What lies longer than a call is kept sealed elsewhere (access_chap.c), and only the
 * key of that is here. If it is full, or pages cannot be locked, ordinary memory is given, wiped
 * like this one.
 */
#ifndef SERVER_SECRET_MEMORY_H
#define SERVER_SECRET_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* Whether what is allocated stays out of swap. After a fork of the process it does not. */
bool secret_memory_is_locked(void);

/* Zeros; NULL: no memory. Any thread. */
void *secret_alloc(size_t size);
/* Wipes it. NULL is accepted. */
void secret_free(void *memory, size_t size);

/* A function for CLEANUP() of a variable that holds a @type from secret_alloc(). */
#define SECRET_CLEANUP(name, type)                                                                 \
    static inline void name(type **memory)                                                         \
    {                                                                                              \
        secret_free(*memory, sizeof(type));                                                        \
    }

#endif
