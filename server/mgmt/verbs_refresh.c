/* SPDX-License-Identifier: BSD-3-Clause */
/* Verbs on refreshes. Dry runs as in verbs_lun.c. */
#include <errno.h>
#include <stdlib.h>

#include "server/mgmt/proto.h"
#include "server/mgmt/verbs.h"
#include "server/mgmt/verbs_internal.h"
#include "server/mgmt/view.h"
#include "server/policy/refresh.h"

static json_t *verb_view_moment(uint64_t seconds)
{
    return seconds > 0 ? proto_json_uint(seconds) : json_null();
}

static json_t *verb_view_refresh(const struct refresh *refresh)
{
    const struct refresh_run *last = &refresh->last;
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:s, s:s, s:o, s:s, s:s, s:s, s:b}", "name",
                     refresh->lun, "source", refresh->source[0] ? refresh->source : "(gone)",
                     "prefix", refresh->prefix, "schedule", refresh->schedule, "next",
                     verb_view_moment(refresh->next_s), "last", verb_view_moment(last->start_s),
                     "result", refresh_results[last->result], "point", last->point, "point_time",
                     verb_view_moment(last->point_s), "reason", last->text, "undo", refresh->undo,
                     "hook", refresh->hook, "force", refresh->force);
}

/* Result {"count":..., "refreshes":[...]}. */
static int verb_refresh_result(struct verb_request *request, const struct refresh *list,
                               size_t count)
{
    json_t *array = json_array();
    int r = array ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < count; i++)
        if (json_array_append_new(array, verb_view_refresh(&list[i])) != 0)
            r = -ENOMEM;
    request->result = view_listing("refreshes", array);
    return request->result ? r : -ENOMEM;
}

static int verb_refresh_put(struct verb_request *request, bool is_new)
{
    AUTO_FREE struct refresh *list = NULL;
    AUTO_FREE const char **names = NULL;
    size_t count = 0, list_count = 0;
    struct policy *policy = target_policy(request->target);
    const bool force = verb_bool(request, "force");
    const struct refresh_args args = {
        .source = verb_string(request, "source"),
        .schedule = verb_string(request, "schedule"),
        .prefix = verb_string(request, "prefix"),
        .undo = verb_string(request, "undo"),
        .hook = verb_string(request, "hook"),
        .force = verb_has(request, "force") ? &force : NULL,
    };
    int r = verb_strings(request, "names", &names, &count);
    if (r == 0)
        r = refresh_put(policy, names, count, &args, is_new, &request->why);
    if (r < 0 || verb_bool(request, "dry_run"))
        return r;
    request->is_done = true;
    r = refresh_list(policy, names, count, &list, &list_count, &request->why);
    return r < 0 ? r : verb_refresh_result(request, list, list_count);
}

int verb_refresh_create(struct verb_request *request)
{
    return verb_refresh_put(request, true);
}

int verb_refresh_modify(struct verb_request *request)
{
    return verb_refresh_put(request, false);
}

int verb_refresh_delete(struct verb_request *request)
{
    AUTO_FREE const char **names = NULL;
    size_t count = 0;
    int r = verb_strings(request, "names", &names, &count);
    return r < 0 ? r : refresh_delete(target_policy(request->target), names, count, &request->why);
}

int verb_refresh_show(struct verb_request *request)
{
    AUTO_FREE struct refresh *list = NULL;
    AUTO_FREE const char **names = NULL;
    size_t count = 0, list_count = 0;
    int r = verb_strings(request, "names", &names, &count);
    if (r == 0)
        r = refresh_list(target_policy(request->target), names, count, &list, &list_count,
                         &request->why);
    return r < 0 ? r : verb_refresh_result(request, list, list_count);
}

int verb_refresh_run(struct verb_request *request)
{
    AUTO_FREE struct refresh *list = NULL;
    AUTO_FREE const char **names = NULL;
    size_t count = 0, list_count = 0;
    int r = verb_strings(request, "names", &names, &count);
    if (r == 0)
        verb_await_close_all(request, names, count);
    if (r == 0)
        r = refresh_now(target_policy(request->target), names, count, verb_bool(request, "dry_run"),
                        &list, &list_count, &request->why);
    request->is_done = r == 0;
    return r < 0 ? r : verb_refresh_result(request, list, list_count);
}
