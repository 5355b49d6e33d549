/* SPDX-License-Identifier: BSD-3-Clause */
/* The worker that looks after space: in this order, what it does is seen by what follows. */
#include <time.h>

#include "lun/base/checked.h"
#include "server/policy/policy_internal.h"

enum
{
    SPACE_PERIOD_MS = 1000,
    SPACE_BUSY_MS = 50,  /* while it makes room */
    SPACE_SHARE = 50,    /* it works at most one part in so many of the time */
    SPACE_SWEEP_S = 300, /* how often it forgets settings of objects that are gone */
};

static uint64_t space_clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t policy_step_space(struct policy *policy)
{
    uint64_t began_ms = space_clock_ms(), now_ns = policy_passed_ns(policy);
    policy_look_at_clock(policy);
    policy_end_leases(policy);
    policy_grow(policy);
    bool is_busy = policy_make_room(policy);
    policy_watch(policy);
    policy_watch_imports(policy);
    if (now_ns - policy->space.swept_ns >= SPACE_SWEEP_S * POLICY_SECOND_NS)
    {
        policy_sweep(policy);
        policy->space.swept_ns = now_ns;
    }
    /* Pools of a million LUNs take a while to look at. */
    return max_u64(is_busy ? SPACE_BUSY_MS : SPACE_PERIOD_MS,
                   (space_clock_ms() - began_ms) * SPACE_SHARE);
}
