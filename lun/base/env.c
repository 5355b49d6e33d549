/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/base/env.h"

#include <sys/random.h>
#include <time.h>

#include "lun/base/invariant.h"

static uint64_t env_system_clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t env_system_now_ns(struct env *env)
{
    (void)env;
    return env_system_clock_ns(CLOCK_REALTIME);
}

/* Goes on while the machine is suspended, as the wall clock does. */
static uint64_t env_system_passed_ns(struct env *env)
{
    (void)env;
    return env_system_clock_ns(CLOCK_BOOTTIME);
}

static void env_system_random_bytes(struct env *env, void *bytes, size_t len)
{
    (void)env;
    uint8_t *at = bytes;
    while (len > 0)
    {
        ssize_t got = getrandom(at, len, 0);
        INVARIANT(got > 0); /* the kernel guarantees up to 256 bytes, retries cover EINTR's rest */
        at += got;
        len -= (size_t)got;
    }
}

struct env *env_system(void)
{
    static struct env env = {
        .now_ns = env_system_now_ns,
        .passed_ns = env_system_passed_ns,
        .random_bytes = env_system_random_bytes,
    };
    return &env;
}
