/* SPDX-License-Identifier: BSD-3-Clause */
/* Verbs on events. */
#include <errno.h>
#include <stdlib.h>

#include "lun/base/cleanup.h"
#include "server/mgmt/verbs.h"
#include "server/mgmt/view.h"

enum
{
    VERB_SLICE_MS = 500, /* how often a waiting verb looks whether its client is still there */
};

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
