/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A rate: so many units a second, with some saved up for a burst.
 *
 * A token bucket, kept as one time (the generic cell rate algorithm): paid_ns is when all that was
 * taken would have come in at an even pace. Whoever asks may take while that lies no more than the
 * burst ahead of now. A request may be larger than what is left: it goes, and the next ones wait
 * until it is paid for. So what is taken in any time t is at most rate * (t + burst) and one
 * request.
 *
 * Times are of one monotonic clock that the caller reads, so a test can make its own.
 */
#ifndef SERVER_QOS_RATE_H
#define SERVER_QOS_RATE_H

#include <stdint.h>

struct qos_rate
{
    uint64_t per_s; /* 0: no limit */
    uint64_t burst_ns;
    uint64_t paid_ns;
    uint64_t rest; /* what whole nanoseconds have left over, in units * 10^9 modulo per_s */
};

/* A new limit from @now_ns on. A debt stays and is paid at the new rate; savings are capped. */
void qos_rate_set(struct qos_rate *rate, uint64_t per_s, uint64_t burst_ns, uint64_t now_ns);

/* From when on something may be taken; 0: at any time. */
static inline uint64_t qos_rate_due_ns(const struct qos_rate *rate)
{
    if (rate->per_s == 0 || rate->paid_ns <= rate->burst_ns)
        return 0;
    return rate->paid_ns - rate->burst_ns;
}

/* Takes @amount, whether it is due or not. Returns how long that takes at an even pace. */
uint64_t qos_rate_take(struct qos_rate *rate, uint64_t amount, uint64_t now_ns);

#endif
