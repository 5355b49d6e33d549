/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/policy_host.h"

#include <stdio.h>
#include <string.h>

struct engine_host host;
struct policy *policy;
static uint64_t last_event;

static void host_policy(const struct policy_options *options)
{
    struct policy_options used = options ? *options : (struct policy_options){0};
    used.env = &host.env.env;
    used.no_threads = true;
    int r = policy_start(host.pool, &used, &policy, &host.why);
    if (r < 0)
    {
        fprintf(stderr, "the test cannot go on: %s\n", host.why.text);
        abort();
    }
}

void policy_host_start(const struct policy_options *options)
{
    host_start(&host, NULL);
    last_event = 0;
    host_policy(options);
}

void policy_host_stop(void)
{
    policy_stop(policy);
    policy = NULL;
    host_stop(&host);
}

void policy_host_restart(const struct policy_options *options)
{
    policy_stop(policy);
    host_policy(options);
}

void policy_host_advance(uint64_t seconds)
{
    host.env.now_ns += seconds * UINT64_C(1000000000);
}

void policy_host_set_time(uint64_t seconds)
{
    host.env.now_ns = seconds * UINT64_C(1000000000);
}

void policy_host_set_clock(int64_t seconds)
{
    uint64_t by_ns = (uint64_t)seconds * UINT64_C(1000000000);
    host.env.now_ns += by_ns;
    host.env.set_ns += by_ns;
}

static size_t walk_events(const char *name, const char *part, uint64_t *last)
{
    AUTO_FREE struct event *list = NULL;
    size_t count = 0, found = 0;
    if (event_list(host.pool, last_event, &list, &count) < 0)
        return 0;
    for (size_t i = 0; i < count; i++)
    {
        found += name && strcmp(list[i].name, name) == 0 && strstr(list[i].text, part);
        *last = list[i].id;
    }
    return found;
}

size_t policy_host_events(const char *name, const char *part)
{
    uint64_t last;
    return walk_events(name, part, &last);
}

void policy_host_forget(void)
{
    walk_events(NULL, "", &last_event);
}

uint64_t policy_host_volume(const char *name, uint64_t size_bytes)
{
    const struct volume_attributes attributes = {.size_bytes = size_bytes};
    struct volume_info info;
    int r = volume_create(host.pool, name, &attributes, &host.why);
    if (r == 0)
        r = volume_get_info(host.pool, name, &info, &host.why);
    if (r < 0)
    {
        fprintf(stderr, "the test cannot go on: %s\n", host.why.text);
        abort();
    }
    return info.id;
}
