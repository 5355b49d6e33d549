/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Events for the world outside: to syslog(3), and to a program, one at a time.
 *
 * The queue is the pool's ring of events: who is slow loses the oldest, and is told how many. An
 * event is never waited for by who adds it. Events named "hook..." tell of the program itself and
 * are not given to it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "lun/base/log.h"
#include "lun/base/size_text.h"
#include "server/mgmt/view.h"
#include "server/policy/policy_internal.h"

enum
{
    EVENTS_SLICE_MS = 500, /* how soon it notices that the server stops */
};

const char *const policy_severities[] = {"info", "warning", "error", NULL};
static const int events_priorities[] = {LOG_INFO, LOG_WARNING, LOG_ERR};

int policy_severity(const char *name)
{
    for (int i = 0; policy_severities[i]; i++)
        if (strcmp(name, policy_severities[i]) == 0)
            return i;
    return -EINVAL;
}

static int events_exec(struct policy *policy, const struct event *event, struct reason *why)
{
    AUTO_JSON json_t *view = view_event(event);
    AUTO_FREE char *text = view ? proto_dump(view, JSON_COMPACT) : NULL;
    if (!text)
        return reason_set(why, -ENOMEM, "no memory");
    const struct policy_program program = {
        .path = policy->events_exec, .input = text, .timeout_ms = policy->events_exec_ms};
    return policy_run(policy, &program, why);
}

static void events_call(struct policy *policy, const struct event *event)
{
    struct reason why;
    reason_clear(&why);
    int r = events_exec(policy, event, &why);
    bool has_failed = r < 0;
    if (r == -ECANCELED || has_failed == policy->events.has_failed)
        return;
    policy->events.has_failed = has_failed;
    if (has_failed)
        event_add(policy->pool, "error", "hook.failed", event->name,
                  "the program for events failed: %.200s", why.text);
    else
        event_add(policy->pool, "info", "hook.works", event->name,
                  "the program for events works again");
}

static void events_hand_on(struct policy *policy, const struct event *event)
{
    int severity = policy_severity(event->severity);
    if (severity >= 0 && severity < policy->events_severity)
        return;
    if (policy->events_syslog)
        syslog(LOG_DAEMON | events_priorities[severity < 0 ? 0 : severity],
               "lunette: %s %s%s%s: %s", event->severity, event->name, event->object[0] ? " " : "",
               event->object, event->text);
    if (policy->events_exec && strncmp(event->name, "hook.", 5) != 0)
        events_call(policy, event);
}

uint64_t policy_step_events(struct policy *policy)
{
    AUTO_FREE struct event *list = NULL;
    size_t count = 0;
    if (policy->has_threads &&
        event_wait(policy->pool, policy->events.last_id, EVENTS_SLICE_MS) < 0)
        return 0;
    int r = event_list(policy->pool, policy->events.last_id, &list, &count);
    if (r < 0)
        return EVENTS_SLICE_MS;
    if (count > 0 && list[0].id > policy->events.last_id + 1)
        event_add(policy->pool, "warning", "hook.lost", "",
                  "%" PRIu64 " event%s came faster than could be handed on, and were not",
                  list[0].id - policy->events.last_id - 1,
                  plural_s(list[0].id - policy->events.last_id - 1));
    /* What makes room does not wait for programs. */
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].name, "pool.full") == 0)
            policy_poke(policy, POLICY_SPACE);
    for (size_t i = 0; i < count && !policy_is_stopping(policy); i++)
    {
        events_hand_on(policy, &list[i]);
        policy->events.last_id = list[i].id;
    }
    return 0;
}
