/* SPDX-License-Identifier: BSD-3-Clause */
/* Verbs on what the server does by itself. Dry runs as in verbs_lun.c. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/mgmt/proto.h"
#include "server/mgmt/verbs.h"
#include "server/mgmt/verbs_internal.h"
#include "server/mgmt/view.h"

static int verb_lease_args(struct verb_request *request, struct policy_leases *leases,
                           unsigned *mask)
{
    const char *snapshots = verb_string(request, "lease_snapshots");
    leases->warning_s = verb_number(request, "lease_warning_s", 0);
    leases->force = verb_bool(request, "lease_force");
    leases->takes_volume_snapshots = snapshots && strcmp(snapshots, "all") == 0;
    *mask |= (verb_has(request, "lease_warning_s") ? POLICY_SET_LEASE_WARNING : 0u) |
             (verb_has(request, "lease_force") ? POLICY_SET_LEASE_FORCE : 0u) |
             (snapshots ? POLICY_SET_LEASE_SNAPSHOTS : 0u);
    if (snapshots && !leases->takes_volume_snapshots && strcmp(snapshots, "own") != 0)
        return reason_set(&request->why, -EINVAL,
                          "the snapshots that go with a LUN are \"own\" or \"all\", not \"%.60s\"",
                          snapshots);
    if (leases->warning_s > UINT32_MAX)
        return reason_set(&request->why, -EINVAL, "a warning comes 136 years early at most");
    return 0;
}

int verb_policy_args(struct verb_request *request, enum policy_scope scope,
                     struct policy_settings *settings, unsigned *mask)
{
    const char *thresholds = verb_string(request, "thresholds");
    int r = 0;
    *settings = (struct policy_settings){0};
    *mask = 0;
    if (scope == POLICY_OF_POOL)
        r = verb_lease_args(request, &settings->leases, mask);
    if (r < 0)
        return r;
    if (thresholds)
    {
        *mask |= POLICY_SET_THRESHOLDS;
        r = policy_parse_levels(thresholds, &settings->thresholds, &request->why);
    }
    return r;
}

int verb_policy_set(struct verb_request *request, enum policy_scope scope, uint64_t id,
                    unsigned mask, const struct policy_settings *settings)
{
    struct policy *policy = target_policy(request->target);
    return mask == 0 ? 0 : policy_set(policy, scope, id, mask, settings, &request->why);
}

void verb_policy_view(struct verb_request *request, enum policy_scope scope, json_t *view)
{
    uint64_t id = (uint64_t)json_integer_value(json_object_get(view, "id"));
    if (json_is_object(view))
        policy_view(target_policy(request->target), scope, id, view);
}

/* ---- pool ---------------------------------------------------------------------------------- */

int verb_pool_settings_show(struct verb_request *request)
{
    struct pool_info info;
    pool_get_info(request->pool, &info);
    request->result = json_pack("{s:s}", "name", info.name);
    if (!request->result)
        return -ENOMEM;
    policy_view(target_policy(request->target), POLICY_OF_POOL, 0, request->result);
    return 0;
}

int verb_pool_modify(struct verb_request *request)
{
    struct policy_settings settings;
    unsigned mask;
    int r = verb_policy_args(request, POLICY_OF_POOL, &settings, &mask);
    if (r == 0 && mask == 0)
        r = reason_set(&request->why, -EINVAL, "nothing of the pool is to be changed");
    if (r == 0)
        r = verb_policy_set(request, POLICY_OF_POOL, 0, mask, &settings);
    return r < 0 ? r : verb_pool_settings_show(request);
}
