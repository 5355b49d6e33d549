/* SPDX-License-Identifier: BSD-3-Clause */
/* Token buckets kept as a time. */
#include "server/qos/rate.h"

#include "lun/base/checked.h"

#define RATE_NS_PER_S UINT64_C(1000000000)

__extension__ typedef unsigned __int128 rate_wide;

void qos_rate_set(struct qos_rate *rate, uint64_t per_s, uint64_t burst_ns, uint64_t now_ns)
{
    uint64_t debt_ns = 0;
    if (rate->per_s > 0 && per_s > 0 && rate->paid_ns > now_ns)
    {
        rate_wide scaled = (rate_wide)(rate->paid_ns - now_ns) * rate->per_s / per_s;
        debt_ns = scaled > UINT64_MAX / 4 ? UINT64_MAX / 4 : (uint64_t)scaled;
    }
    rate->per_s = per_s;
    rate->burst_ns = burst_ns;
    rate->paid_ns = now_ns + debt_ns;
    rate->rest = 0;
}

uint64_t qos_rate_take(struct qos_rate *rate, uint64_t amount, uint64_t now_ns)
{
    if (rate->per_s == 0)
        return 0;
    rate_wide owed = (rate_wide)amount * RATE_NS_PER_S + rate->rest;
    rate_wide took_ns = owed / rate->per_s;
    rate->rest = (uint64_t)(owed % rate->per_s);
    /* Nothing that the server takes in one request comes near it; a caller's mistake is capped. */
    uint64_t ns = took_ns > UINT64_MAX / 4 ? UINT64_MAX / 4 : (uint64_t)took_ns;
    rate->paid_ns = max_u64(rate->paid_ns, now_ns) + ns;
    return ns;
}
