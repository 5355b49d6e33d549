/* SPDX-License-Identifier: BSD-3-Clause */
/* Locals that release themselves at the end of their scope. */
#ifndef LUN_BASE_CLEANUP_H
#define LUN_BASE_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(function) __attribute__((cleanup(function)))

static inline void cleanup_free(void *pointer_to_pointer)
{
    free(*(void **)pointer_to_pointer);
}
#define AUTO_FREE CLEANUP(cleanup_free)

static inline void cleanup_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#define AUTO_CLOSE CLEANUP(cleanup_close)

/* Hands over what an AUTO_ variable holds; the variable is NULL afterwards. */
#define take_ptr(pointer)                                                                          \
    ({                                                                                             \
        __typeof__(*(pointer)) taken_ = *(pointer);                                                \
        *(pointer) = NULL;                                                                         \
        taken_;                                                                                    \
    })

static inline int take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

#endif
