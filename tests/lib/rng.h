/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Repeatable randomness for tests: splitmix64. The same seed gives the same run everywhere. Not
 * thread-safe; a struct env made of one makes the engine repeatable too.
 */
#ifndef TESTS_LIB_RNG_H
#define TESTS_LIB_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/base/env.h"

struct rng
{
    uint64_t state;
};

static inline struct rng rng_of(uint64_t seed)
{
    return (struct rng){.state = seed};
}

uint64_t rng_next(struct rng *rng);
/* 0 to @end - 1; @end is not 0. */
uint64_t rng_below(struct rng *rng, uint64_t end);
/* @low to @high, both included. */
uint64_t rng_between(struct rng *rng, uint64_t low, uint64_t high);
/* True @percent times of 100. */
bool rng_percent(struct rng *rng, unsigned percent);
void rng_fill(struct rng *rng, void *bytes, size_t len);
/* Another stream, independent of what this one gives from now on. */
struct rng rng_fork(struct rng *rng);

/* A world whose clock moves by a millisecond whenever it is looked at. */
struct rng_env
{
    struct env env;
    struct rng rng;
    uint64_t now_ns;
    uint64_t
        set_ns; /* how far the clock was set forward, modulo 2^64: no time has passed by that */
};

void rng_env_init(struct rng_env *env, uint64_t seed);

#endif
