/* SPDX-License-Identifier: BSD-3-Clause */
/* Verbs on the scrub. */
#include <errno.h>
#include <time.h>

#include "server/mgmt/proto.h"
#include "server/mgmt/verbs.h"
#include "server/mgmt/view.h"

enum
{
    SCRUB_LOOK_MS = 200, /* how often a waiting verb looks how far it is */
};

int verb_pool_scrub(struct verb_request *request)
{
    uint64_t id;
    struct scrub_options options = {.rate_bytes = verb_number(request, "rate_bytes", 0)};
    int r = pool_scrub_start(request->pool, &options, &id, &request->why);
    if (r < 0)
        return r;
    request->is_done = true;
    request->result = json_pack("{s:I}", "id", (json_int_t)id);
    return request->result ? 0 : -ENOMEM;
}

static json_t *verb_view_scrub(struct verb_request *request, struct scrub_info *info)
{
    AUTO_JSON json_t *findings = json_array();
    if (!findings || pool_scrub_get(request->pool, info, view_add_finding, findings) < 0)
        return NULL;
    return view_scrub(info, take_ptr(&findings));
}

int verb_pool_scrub_show(struct verb_request *request)
{
    struct scrub_info info;
    request->result = verb_view_scrub(request, &info);
    return request->result ? 0 : -ENOMEM;
}

/* Until it is over; tells how far it is. */
int verb_pool_scrub_wait(struct verb_request *request)
{
    const struct timespec pause = {.tv_nsec = SCRUB_LOOK_MS * 1000000L};
    uint64_t id = verb_number(request, "id", 0);
    struct scrub_info info;
    for (;;)
    {
        int r = pool_scrub_get(request->pool, &info, NULL, NULL);
        if (r < 0)
            return r;
        if (info.id != id || !info.is_running)
            return verb_pool_scrub_show(request);
        if (request->is_cancelled(request))
            return reason_set(&request->why, -ECANCELED, "the server is stopping");
        r = request->send_progress(request, view_scrub(&info, json_array()));
        if (r < 0)
            return r;
        nanosleep(&pause, NULL);
    }
}
