/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Leases: LUNs with a time to go are deleted then.
 *
 * Always true: the engine deletes a LUN only if its lease is, at that moment, the one that has run
 * out. So a lease that is prolonged at the last moment holds. What is refused (locked, in use, part
 * of a snapshot of its volume) is reported once for each reason and tried again. A clock that is
 * set forward while the server runs ends no lease for an hour (clock.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lun/base/checked.h"
#include "server/policy/policy_internal.h"

enum
{
    LEASE_RETRY_S = 60,
};

static const char *lease_owner(const struct lun_info *lun)
{
    return lun->owner[0] ? lun->owner : "nobody in particular";
}

static void lease_warn(struct policy *policy, struct policy_lease *lease,
                       const struct lun_info *lun)
{
    char when[32] = "some time";
    time_t seconds = (time_t)(lun->expire_ns / POLICY_SECOND_NS);
    struct tm tm;
    if (localtime_r(&seconds, &tm))
        strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
    lease->is_warned = true;
    event_add(policy->pool, "warning", "lun.lease.ending", lun->name,
              "LUN %.100s of %s is deleted at %s; 'lunette lun modify %.60s --expire 8h' keeps it",
              lun->name, lease_owner(lun), when, lun->name);
}

static void lease_end(struct policy *policy, struct policy_lease *lease, const struct lun_info *lun,
                      const struct policy_leases *settings)
{
    struct reason why;
    const struct lun_delete_condition condition = {
        .id = lun->id,
        .expire_ns = lun->expire_ns,
        .keeps_volume_snapshots = !settings->takes_volume_snapshots,
    };
    reason_clear(&why);
    int r = lun_delete_if(policy->pool, &condition, settings->force ? LUN_FORCE : 0, &why);
    lease->retry_ns = policy_passed_ns(policy) + LEASE_RETRY_S * POLICY_SECOND_NS;
    if (r == 0)
        event_add(policy->pool, "info", "lun.lease.ended", lun->name,
                  "LUN %.100s of %s was deleted: its lease has ended", lun->name, lease_owner(lun));
    else if (r != -ENOENT && r != -ESTALE && r != lease->refusal)
        event_add(policy->pool, "warning", "lun.lease.kept", lun->name,
                  "the lease has ended, but: %.200s", why.text[0] ? why.text : strerror(-r));
    lease->refusal = r;
}

static void lease_look(struct policy *policy, struct policy_lease *lease,
                       const struct lun_info *lun, const struct policy_leases *settings)
{
    uint64_t now_ns = policy_lease_now_ns(policy);
    if (now_ns >= lun->expire_ns)
    {
        if (policy_passed_ns(policy) >= lease->retry_ns)
            lease_end(policy, lease, lun, settings);
    }
    else if (!lease->is_warned && settings->warning_s > 0 &&
             (lun->expire_ns - now_ns) / POLICY_SECOND_NS <= settings->warning_s)
        lease_warn(policy, lease, lun);
}

static int lease_compare(const void *a, const void *b)
{
    const struct lun_info *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* What was known of the lease; *at steps through the old notes, which are in order of id. */
static struct policy_lease lease_note(const struct policy *policy, const struct lun_info *lun,
                                      size_t *at)
{
    const struct policy_lease *leases = policy->space.leases;
    while (*at < policy->space.lease_count && leases[*at].lun_id < lun->id)
        ++*at;
    if (*at < policy->space.lease_count && leases[*at].lun_id == lun->id &&
        leases[*at].expire_ns == lun->expire_ns)
        return leases[*at];
    return (struct policy_lease){.lun_id = lun->id, .expire_ns = lun->expire_ns};
}

void policy_end_leases(struct policy *policy)
{
    AUTO_FREE struct lun_info *list = NULL;
    size_t count = 0, noted = 0, at = 0;
    struct policy_settings settings;
    if (lun_list_expendable(policy->pool, LUN_EXPENDABLE_LUNS, &list, &count) < 0)
        return;
    struct policy_lease *leases = calloc(count + 1, sizeof(*leases));
    if (!leases)
        return;
    policy_get(policy, POLICY_OF_POOL, 0, &settings);
    qsort(list, count, sizeof(*list), lease_compare);
    for (size_t i = 0; i < count; i++)
    {
        if (list[i].expire_ns == 0)
            continue;
        leases[noted] = lease_note(policy, &list[i], &at);
        lease_look(policy, &leases[noted++], &list[i], &settings.leases);
    }
    free(policy->space.leases);
    policy->space.leases = leases;
    policy->space.lease_count = noted;
}
