/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/rng.h"

#include <string.h>

#include "lun/base/invariant.h"
#include "lun/base/list.h"

uint64_t rng_next(struct rng *rng)
{
    uint64_t z = rng->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t rng_below(struct rng *rng, uint64_t end)
{
    INVARIANT(end > 0);
    return rng_next(rng) % end; /* the bias is below 2^-30 for every end that tests use */
}

uint64_t rng_between(struct rng *rng, uint64_t low, uint64_t high)
{
    return low + rng_below(rng, high - low + 1);
}

bool rng_percent(struct rng *rng, unsigned percent)
{
    return rng_below(rng, 100) < percent;
}

void rng_fill(struct rng *rng, void *bytes, size_t len)
{
    uint8_t *at = bytes;
    for (; len >= sizeof(uint64_t); len -= sizeof(uint64_t), at += sizeof(uint64_t))
    {
        uint64_t next = rng_next(rng);
        memcpy(at, &next, sizeof(next));
    }
    uint64_t next = rng_next(rng);
    memcpy(at, &next, len);
}

struct rng rng_fork(struct rng *rng)
{
    return rng_of(rng_next(rng));
}

static uint64_t rng_env_now_ns(struct env *env)
{
    struct rng_env *own = container_of(env, struct rng_env, env);
    return own->now_ns += 1000000;
}

static uint64_t rng_env_passed_ns(struct env *env)
{
    return rng_env_now_ns(env) - container_of(env, struct rng_env, env)->set_ns;
}

static void rng_env_random_bytes(struct env *env, void *bytes, size_t len)
{
    rng_fill(&container_of(env, struct rng_env, env)->rng, bytes, len);
}

void rng_env_init(struct rng_env *env, uint64_t seed)
{
    *env = (struct rng_env){
        .env = {.now_ns = rng_env_now_ns,
                .passed_ns = rng_env_passed_ns,
                .random_bytes = rng_env_random_bytes},
        .rng = rng_of(seed),
        .now_ns = UINT64_C(1700000000000000000),
    };
}
