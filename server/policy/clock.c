/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The date, when somebody sets it while the server runs.
 *
 * Set forward, by a mistake or a time server that is wrong, it would end all leases at once. So
 * those are judged by a date that goes on as before for another hour, and events say what is to
 * come. Set back, leases last longer, which harms nobody, so that is followed at once. What the
 * clock did while the server was down nobody can know: a start takes the date as it is.
 *
 * Not here: locks, which no date that is set forward ends before a restart (pool_lock_clock_ns()).
 */
#include <inttypes.h>
#include <stdio.h>

#include "server/policy/policy_internal.h"

enum
{
    CLOCK_JUMP_S = 300, /* less is followed: clocks are put right by little steps */
    CLOCK_HOLD_S = 3600,
};

struct clock_text
{
    char text[32];
};

/* "3 minutes", "5 hours", "2000 days". */
static struct clock_text clock_text(uint64_t ns)
{
    struct clock_text result;
    uint64_t minutes = ns / (60 * POLICY_SECOND_NS);
    bool is_days = minutes >= 2880, is_hours = minutes >= 120;
    snprintf(result.text, sizeof(result.text), "%" PRIu64 " %s",
             minutes / (is_days    ? 1440
                        : is_hours ? 60
                                   : 1),
             is_days    ? "days"
             : is_hours ? "hours"
                        : "minutes");
    return result;
}

static bool clock_is_far(uint64_t a_ns, uint64_t b_ns)
{
    uint64_t ahead_ns = a_ns - b_ns;
    const uint64_t jump_ns = CLOCK_JUMP_S * POLICY_SECOND_NS;
    return ahead_ns > jump_ns && 0 - ahead_ns > jump_ns;
}

static bool clock_is_ahead(uint64_t a_ns, uint64_t b_ns)
{
    return (int64_t)(a_ns - b_ns) > 0;
}

static void clock_say(struct policy *policy, uint64_t from_ns, uint64_t to_ns)
{
    if (clock_is_ahead(to_ns, from_ns))
        event_add(policy->pool, "error", "clock.set.forward", "",
                  "the host's clock was set forward by %s; leases that this ends are kept for an "
                  "hour, locks until they are really over or the server is started anew",
                  clock_text(to_ns - from_ns).text);
    else
        event_add(policy->pool, "warning", "clock.set.back", "",
                  "the host's clock was set back by %s; leases and locks end so much later",
                  clock_text(from_ns - to_ns).text);
}

/* Whether it was set, and then from where: *from_ns. */
static bool clock_follow(struct policy *policy, struct policy_clock *clock, uint64_t *from_ns)
{
    uint64_t passed_ns = policy_passed_ns(policy), ahead_ns = policy_now_ns(policy) - passed_ns;
    if (!clock->is_set)
        *clock = (struct policy_clock){.is_set = true, .trusted_ns = ahead_ns, .seen_ns = ahead_ns};
    bool was_set = clock_is_far(ahead_ns, clock->seen_ns);
    *from_ns = clock->seen_ns;
    if (was_set)
        clock->hold_ns = passed_ns + CLOCK_HOLD_S * POLICY_SECOND_NS;
    clock->seen_ns = ahead_ns;
    bool is_trusted = !clock_is_far(ahead_ns, clock->trusted_ns) ||
                      !clock_is_ahead(ahead_ns, clock->trusted_ns) || passed_ns >= clock->hold_ns;
    if (is_trusted)
        clock->trusted_ns = ahead_ns;
    return was_set;
}

void policy_look_at_clock(struct policy *policy)
{
    uint64_t from_ns;
    if (clock_follow(policy, &policy->space.clock, &from_ns))
        clock_say(policy, from_ns, policy->space.clock.seen_ns);
}

uint64_t policy_trusted_now_ns(struct policy *policy, struct policy_clock *clock)
{
    uint64_t from_ns;
    (void)clock_follow(policy, clock, &from_ns); /* the space worker says so */
    return policy_passed_ns(policy) + clock->trusted_ns;
}

uint64_t policy_lease_now_ns(struct policy *policy)
{
    return policy_passed_ns(policy) + policy->space.clock.trusted_ns;
}
