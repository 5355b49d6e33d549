/* SPDX-License-Identifier: BSD-3-Clause */
/* Verbs on what happens: events, background jobs, the server itself, the configuration store. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "server/mgmt/proto.h"
#include "server/mgmt/verbs.h"
#include "server/mgmt/view.h"

enum
{
    VERB_SLICE_MS = 500, /* how often a waiting verb looks whether its client is still there */
};

/* ---- events -------------------------------------------------------------------------------- */

int verb_event_list(struct verb_request *request)
{
    AUTO_FREE struct event *list = NULL;
    size_t count;
    int r = event_list(request->pool, verb_number(request, "after", 0), &list, &count);
    if (r < 0)
        return r;
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(array, view_event(&list[i])) != 0)
            r = -ENOMEM;
    request->result = view_listing("events", array);
    return request->result ? r : -ENOMEM;
}

/* Sends what there is above *after and steps it on. */
static int verb_send_events(struct verb_request *request, uint64_t *after)
{
    AUTO_FREE struct event *list = NULL;
    size_t count;
    int r = event_list(request->pool, *after, &list, &count);
    for (size_t i = 0; r == 0 && i < count; i++)
    {
        r = request->send_progress(request, view_event(&list[i]));
        *after = list[i].id;
    }
    return r;
}

/* The id of the newest event. */
static int verb_last_event(struct verb_request *request, uint64_t *last)
{
    AUTO_FREE struct event *list = NULL;
    size_t count;
    int r = event_list(request->pool, 0, &list, &count);
    if (r == 0)
        *last = count > 0 ? list[count - 1].id : 0;
    return r;
}

int verb_event_follow(struct verb_request *request)
{
    uint64_t after = verb_number(request, "after", 0);
    int r = verb_has(request, "after") ? 0 : verb_last_event(request, &after);
    while (r == 0 && !request->is_cancelled(request))
    {
        r = event_wait(request->pool, after, VERB_SLICE_MS);
        if (r == 0)
            r = verb_send_events(request, &after);
        else if (r == -ETIMEDOUT)
            r = 0;
    }
    return r < 0 ? r : reason_set(&request->why, -ECANCELED, "the server is stopping");
}

/* ---- jobs ---------------------------------------------------------------------------------- */

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
    return view_listing("jobs", array);
}

int verb_job_list(struct verb_request *request)
{
    request->result = verb_list_jobs(request);
    return request->result ? 0 : -ENOMEM;
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
        r = job_wait(request->pool, id, slice_ms);
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
    return r;
}

/* Every kind of job there is gives space back; stopping one would leak it, so none can be. */
int verb_job_cancel(struct verb_request *request)
{
    AUTO_FREE struct job_info *list = NULL;
    size_t count;
    uint64_t id = verb_number(request, "id", 0);
    int r = job_list(request->pool, &list, &count);
    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++)
        if (list[i].id == id)
            return reason_set(&request->why, -EPERM,
                              "job %" PRIu64 " (%s of %s) gives back space of something that is "
                              "gone already; it cannot be undone, only waited for: lunette job "
                              "wait %" PRIu64,
                              id, list[i].kind, list[i].subject, id);
    return reason_set(&request->why, -ENOENT, "there is no job %" PRIu64, id);
}

/* ---- server -------------------------------------------------------------------------------- */

static json_t *verb_text(const char *text)
{
    return text ? json_string(text) : json_null();
}

int verb_server_status(struct verb_request *request)
{
    const struct target_options *options = target_options_of(request->target);
    struct pool_info info;
    pool_get_info(request->pool, &info);
    json_t *portals = json_array();
    for (size_t i = 0; i < options->iscsi_portal_count; i++)
        ignore_error(json_array_append_new(portals, json_string(options->iscsi_portals[i])),
                     "shown only");
    struct env *env = env_system();
    uint64_t now_ns = env->now_ns(env);
    uint64_t up_s = now_ns > info.opened_ns ? (now_ns - info.opened_ns) / 1000000000 : 0;
    request->result = json_pack(
        "{s:s, s:i, s:I, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:b}", /**/
        "version", LUNETTE_VERSION, "pid", (int)getpid(), "uptime_s", (json_int_t)up_s, "pool",
        info.name, "path", info.path, "health", pool_health_name(info.health), "socket",
        verb_text(options->mgmt_socket), "nbd_uri", verb_text(options->nbd_uri), "iscsi_portals",
        portals, "management_group", verb_text(options->management_group), "conf",
        verb_text(options->conf_path), "connections", (json_int_t)request->connections, "luns",
        (json_int_t)info.lun_count, "may_change", (int)request->peer.may_change);
    return request->result ? 0 : -ENOMEM;
}

int verb_server_stop(struct verb_request *request)
{
    request->stop_server = true;
    request->result = json_pack("{s:i}", "pid", (int)getpid());
    return request->result ? 0 : -ENOMEM;
}

/* ---- configuration store ------------------------------------------------------------------- */

static json_t *verb_stored(const char *key, const void *value, size_t len)
{
    json_t *text = json_stringn(value, len);
    return json_pack("{s:s, s:I, s:o}", "key", key, "bytes", (json_int_t)len, "value",
                     text ? text : json_null()); /* null: not text */
}

int verb_store_get(struct verb_request *request)
{
    AUTO_FREE void *value = NULL;
    size_t len;
    const char *key = verb_string(request, "key");
    int r = store_get(request->pool, key, &value, &len);
    if (r < 0)
        return reason_set(&request->why, r, "there is no \"%s\" in the store", key);
    request->result = verb_stored(key, value, len);
    return request->result ? 0 : -ENOMEM;
}

static int verb_store_each_cb(void *opaque, const char *key, const void *value, size_t len)
{
    return json_array_append_new(opaque, verb_stored(key, value, len)) == 0 ? 0 : -ENOMEM;
}

int verb_store_list(struct verb_request *request)
{
    const char *prefix = verb_string(request, "prefix");
    json_t *array = json_array();
    int r = store_list(request->pool, prefix ? prefix : "", verb_store_each_cb, array);
    request->result = view_listing("entries", array);
    return request->result ? r : -ENOMEM;
}
