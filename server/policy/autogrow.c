/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pool grows by itself: when so much of it is used, its file by a step, up to a maximum. A
 * block device is used as far as it has grown; nobody can enlarge it from here.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/policy/policy_internal.h"
#include "server/units.h"

enum
{
    GROW_AGAIN_S = 60, /* after one that failed */
};

/* What the device below has grown to; 0: no more than is used. */
static uint64_t grow_device_bytes(struct policy *policy)
{
    uint64_t bytes = 0;
    return pool_grow_dry_run(policy->pool, 0, &bytes, NULL) == 0 ? bytes : 0;
}

/* The size to grow to; 0: there is nothing to grow. */
static uint64_t grow_target(struct policy *policy, const struct policy_autogrow *settings,
                            const struct pool_info *info)
{
    uint64_t bytes = 0, there_bytes = grow_device_bytes(policy);
    if (!checked_add(info->size_bytes, settings->step_bytes, &bytes))
        bytes = UINT64_MAX;
    /* A file or device that is larger already needs no step. */
    bytes = max_u64(bytes, there_bytes);
    bytes = settings->max_bytes > 0 ? min_u64(bytes, settings->max_bytes) : bytes;
    return bytes > info->size_bytes ? bytes : 0;
}

static void grow_report(struct policy *policy, const struct pool_info *info, int r,
                        const char *text)
{
    if (policy->space.grow_refusal == r)
        return;
    policy->space.grow_refusal = r;
    event_add(policy->pool, "error", "pool.autogrow.failed", "", "pool %.60s cannot grow: %.180s",
              info->name, text);
}

static void grow_now(struct policy *policy, const struct policy_autogrow *settings,
                     const struct pool_info *info, double used)
{
    struct reason why;
    char size[UNITS_TEXT_MAX];
    uint64_t bytes = grow_target(policy, settings, info);
    reason_clear(&why);
    if (bytes == 0)
    {
        grow_report(policy, info, -ERANGE, "it has as much as --autogrow-max allows");
        return;
    }
    int r = pool_grow(policy->pool, bytes, &why);
    /* The file is one, after all, or is a device that has grown less than a step. */
    uint64_t there_bytes = r < 0 ? grow_device_bytes(policy) : 0;
    if (r < 0 && there_bytes > info->size_bytes && there_bytes < bytes)
    {
        bytes = there_bytes;
        r = pool_grow(policy->pool, bytes, &why);
    }
    policy->space.grow_retry_ns =
        r < 0 ? policy_passed_ns(policy) + GROW_AGAIN_S * POLICY_SECOND_NS : 0;
    if (r < 0)
    {
        grow_report(policy, info, r, why.text[0] ? why.text : strerror(-r));
        return;
    }
    policy->space.grow_refusal = 0;
    event_add(policy->pool, "info", "pool.autogrow", "",
              "pool %.60s was %.1f %% used and has %s now", info->name, used,
              units_format_bytes(bytes, 'h', size));
}

void policy_grow(struct policy *policy)
{
    struct policy_settings settings;
    struct pool_info info;
    policy_get(policy, POLICY_OF_POOL, 0, &settings);
    if (settings.autogrow.step_bytes == 0)
        return;
    pool_get_info(policy->pool, &info);
    uint64_t free_bytes = min_u64(info.available_bytes, info.size_bytes),
             now_ns = policy_passed_ns(policy);
    double used = 100.0 - (double)free_bytes * 100.0 / (double)info.size_bytes;
    if (info.read_only || used < settings.autogrow.threshold_percent)
    {
        policy->space.grow_refusal = 0;
        policy->space.grow_retry_ns = 0;
        return;
    }
    uint64_t retry_ns = policy->space.grow_retry_ns;
    if (now_ns >= retry_ns)
        grow_now(policy, &settings.autogrow, &info, used);
}
