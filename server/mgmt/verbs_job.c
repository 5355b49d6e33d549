/* SPDX-License-Identifier: BSD-3-Clause */
/* Verbs on background jobs. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "lun/base/checked.h"
#include "server/mgmt/proto.h"
#include "server/mgmt/verbs.h"
#include "server/mgmt/verbs_internal.h"
#include "server/mgmt/view.h"

enum
{
    VERB_SLICE_MS = 500, /* how often a waiting verb looks whether its client is still there */
};

static json_t *verb_list_jobs(struct verb_request *request)
{
    AUTO_FREE struct job_info *list = NULL;
    size_t count;
    if (job_list(request->pool, &list, &count) < 0)
        return NULL;
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(array, view_job(&list[i])) != 0)
            return json_decref(array), NULL;
    if (verb_add_split_jobs(request, array) < 0)
        return json_decref(array), NULL;
    return view_listing("jobs", array);
}

int verb_job_list(struct verb_request *request)
{
    request->result = verb_list_jobs(request);
    return request->result ? 0 : -ENOMEM;
}

/* As job_wait(), for the engine's jobs and splits. */
static int verb_wait_for_job(struct verb_request *request, uint64_t id, uint64_t slice_ms)
{
    const struct timespec pause = {.tv_sec = (time_t)(slice_ms / 1000),
                                   .tv_nsec = (long)(slice_ms % 1000) * 1000000};
    int r = job_wait(request->pool, id, slice_ms);
    if (r < 0 || !verb_split_runs(request, id))
        return r;
    nanosleep(&pause, NULL);
    return -ETIMEDOUT;
}

/* @id 0: one of those that were waited for. */
static int verb_job_failed(struct verb_request *request, uint64_t id)
{
    if (id == 0)
        return reason_set(&request->why, -EBADMSG,
                          "a job failed on damaged metadata; 'lunette job show' lists it, 'lunette "
                          "pool check' shows what is damaged");
    return reason_set(&request->why, -EBADMSG,
                      "job %" PRIu64 " failed on damaged metadata, its space stays taken; 'lunette "
                      "pool check' shows what is damaged",
                      id);
}

int verb_job_wait(struct verb_request *request)
{
    uint64_t id = verb_number(request, "id", 0);
    uint64_t timeout_ms = verb_number(request, "timeout_ms", 0), waited_ms = 0;
    int r = -ETIMEDOUT;
    while (r == -ETIMEDOUT)
    {
        uint64_t slice_ms = VERB_SLICE_MS;
        if (timeout_ms > 0)
            slice_ms = min_u64(slice_ms, timeout_ms - waited_ms);
        r = verb_wait_for_job(request, id, slice_ms);
        waited_ms += slice_ms;
        if (r != -ETIMEDOUT)
            break;
        if (request->is_cancelled(request))
            return reason_set(&request->why, -ECANCELED, "the server is stopping");
        if (timeout_ms > 0 && waited_ms >= timeout_ms)
            return reason_set(&request->why, r, "still running after %" PRIu64 " ms", timeout_ms);
        int sent = request->send_progress(request, verb_list_jobs(request));
        if (sent < 0)
            return sent;
    }
    if (r == -ENOENT)
        return reason_set(&request->why, r, "there is no job %" PRIu64 ", and was none", id);
    if (r < 0)
        return r == -EBADMSG ? verb_job_failed(request, id) : r;
    request->result =
        json_pack("{s:o, s:b}", "id", id ? proto_json_uint(id) : json_null(), "done", 1);
    return request->result ? 0 : -ENOMEM;
}

/* All others of the engine's jobs give space back; stopping one would leak it, so none can be. */
int verb_job_cancel(struct verb_request *request)
{
    AUTO_FREE struct job_info *list = NULL;
    size_t count;
    uint64_t id = verb_number(request, "id", 0);
    if (pool_scrub_cancel(request->pool, id) == 0)
        return 0;
    int r = job_list(request->pool, &list, &count);
    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++)
        if (list[i].id == id && list[i].problem[0])
            return verb_job_failed(request, id);
        else if (list[i].id == id)
            return reason_set(&request->why, -EPERM,
                              "job %" PRIu64 " (%s of %s) gives back space of something that is "
                              "gone already; it cannot be undone, only waited for: lunette job "
                              "wait %" PRIu64,
                              id, list[i].kind, list[i].subject, id);
    r = policy_split_stop_id(target_policy(request->target), id, &request->why);
    return r == -ENOENT ? reason_set(&request->why, r, "there is no job %" PRIu64, id) : r;
}
