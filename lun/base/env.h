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
    /* Nanoseconds since some moment: time as it passes, whatever the wall clock is set to. NULL:
     * the wall clock of this world is never set. */
    uint64_t (*passed_ns)(struct env *env);
    /* Fills @bytes with @len random bytes; cannot fail. */
    void (*random_bytes)(struct env *env, void *bytes, size_t len);
};

/* For all that waits, counts or comes again after a while; the wall clock is for dates only. */
static inline uint64_t env_passed_ns(struct env *env)
{
    return env->passed_ns ? env->passed_ns(env) : env->now_ns(env);
}

/* The real clocks and getrandom(2). Static; never freed. */
struct env *env_system(void);

#endif
