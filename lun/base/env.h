/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the engine takes from the world: time and randomness. Devices come as struct device.
 *
 * Tests pass their own, so that a run can be repeated from one seed.
 */
#ifndef LUN_BASE_ENV_H
#define LUN_BASE_ENV_H

#include <stddef.h>
#include <stdint.h>

struct env
{
    /* Wall clock, nanoseconds since 1970. */
    uint64_t (*now_ns)(struct env *env);
    /* Fills @bytes with @len random bytes; cannot fail. */
    void (*random_bytes)(struct env *env, void *bytes, size_t len);
};

/* The real clock and getrandom(2). Static; never freed. */
struct env *env_system(void);

#endif
