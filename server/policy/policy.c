/* SPDX-License-Identifier: BSD-3-Clause */
/* Starts, wakes and stops the workers. */
#include "server/policy/policy.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "lun/base/checked.h"
#include "server/policy/policy_internal.h"

enum
{
    POLICY_STACK_BYTES = 256 << 10,
    POLICY_EXEC_MS = 10000,
    POLICY_REFRESH_MS = 3600000,
};

bool policy_is_stopping(struct policy *policy)
{
    AUTO_LOCK(&policy->wake_lock);
    return policy->is_stopping;
}

static const struct
{
    const char *name;
    uint64_t (*step)(struct policy *policy);
} policy_works[POLICY_WORKS] = {
    [POLICY_SPACE] = {"policy-space", policy_step_space},
    [POLICY_EVENTS] = {"policy-events", policy_step_events},
    [POLICY_SCHEDULE] = {"policy-schedule", policy_step_schedule},
    [POLICY_SPLIT] = {"policy-split", policy_step_split},
    [POLICY_REFRESH] = {"policy-refresh", policy_step_refresh},
};

uint64_t policy_now_ns(struct policy *policy)
{
    return policy->env->now_ns(policy->env);
}

uint64_t policy_passed_ns(struct policy *policy)
{
    return env_passed_ns(policy->env);
}

uint64_t policy_step(struct policy *policy, enum policy_work work)
{
    return policy_works[work].step(policy);
}

void policy_poke(struct policy *policy, enum policy_work work)
{
    AUTO_LOCK(&policy->wake_lock);
    policy->workers[work].is_poked = true;
    condition_wake_all(&policy->workers[work].wake);
}

/* Until it is time or somebody pokes; false: stop. */
static bool policy_wait(struct policy_worker *worker, uint64_t ms)
{
    struct policy *policy = worker->policy;
    AUTO_LOCK(&policy->wake_lock);
    if (!policy->is_stopping && !worker->is_poked && ms > 0)
        ignore_error(!condition_wait_ms(&worker->wake, &policy->wake_lock, ms), "time is up");
    worker->is_poked = false;
    return !policy->is_stopping;
}

static void *policy_thread(void *opaque)
{
    struct policy_worker *worker = opaque;
    uint64_t ms = 0;
    while (policy_wait(worker, ms))
        ms = policy_step(worker->policy, worker->work);
    return NULL;
}

static int policy_start_worker(struct policy_worker *worker)
{
    pthread_attr_t attr;
    sigset_t all;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, POLICY_STACK_BYTES);
    /* Signals are for the thread that the process handles them in. */
    sigfillset(&all);
    int r = -pthread_attr_setsigmask_np(&attr, &all);
    if (r == 0)
        r = -pthread_create(&worker->thread, &attr, policy_thread, worker);
    pthread_attr_destroy(&attr);
    if (r < 0)
        return r;
    worker->is_started = true;
    pthread_setname_np(worker->thread, policy_works[worker->work].name);
    return 0;
}

static int policy_copy(const char *from, char **to)
{
    *to = from ? strdup(from) : NULL;
    return from && !*to ? -ENOMEM : 0;
}

static int policy_take_options(struct policy *policy, const struct policy_options *options,
                               struct reason *why)
{
    policy->env = options->env ? options->env : env_system();
    policy->events_exec_ms = options->events_exec_ms ? options->events_exec_ms : POLICY_EXEC_MS;
    policy->refresh_ms = options->refresh_ms ? options->refresh_ms : POLICY_REFRESH_MS;
    policy->events_syslog = options->events_syslog;
    policy->has_threads = !options->no_threads;
    policy->events_severity =
        policy_severity(options->events_severity ? options->events_severity : "info");
    if (policy->events_severity < 0)
        return reason_set(why, -EINVAL, "a severity is info, warning or error, not \"%s\"",
                          options->events_severity);
    int r = policy_copy(options->events_exec, &policy->events_exec);
    r = keep_first(r, policy_copy(options->quiesce_folder, &policy->quiesce_folder));
    r = keep_first(r, policy_copy(options->refresh_folder, &policy->refresh_folder));
    r = keep_first(r, policy_copy(options->nbd_uri, &policy->nbd_uri));
    if (r < 0)
        return reason_set(why, r, "no memory");
    policy->stop_fd = eventfd(0, EFD_CLOEXEC);
    return policy->stop_fd < 0 ? reason_set(why, -errno, "eventfd: %s", strerror(errno)) : 0;
}

static void policy_destroy(struct policy *policy)
{
    for (size_t i = 0; i < POLICY_WORKS; i++)
        condition_destroy(&policy->workers[i].wake);
    condition_destroy(&policy->refresh_free);
    if (policy->stop_fd >= 0)
        close(policy->stop_fd);
    lock_destroy(&policy->wake_lock);
    lock_destroy(&policy->split_lock);
    lock_destroy(&policy->quiesce_lock);
    lock_destroy(&policy->settings_lock);
    free(policy->space.alarms);
    free(policy->space.leases);
    free(policy->space.rooms);
    free(policy->space.imports);
    free(policy->schedule.kept);
    free(policy->split.list);
    free(policy->events_exec);
    free(policy->quiesce_folder);
    free(policy->refresh_folder);
    free(policy->nbd_uri);
    free(policy);
}

int policy_start(struct pool *pool, const struct policy_options *options, struct policy **policy,
                 struct reason *why)
{
    struct policy *started = calloc(1, sizeof(*started));
    if (!started)
        return reason_set(why, -ENOMEM, "no memory");
    started->pool = pool;
    started->stop_fd = -1;
    lock_init(&started->settings_lock, LOCK_RANK_SERVER);
    lock_init(&started->quiesce_lock, LOCK_RANK_SERVER);
    lock_init(&started->split_lock, LOCK_RANK_SERVER);
    lock_init(&started->wake_lock, LOCK_RANK_LEAF);
    condition_init(&started->refresh_free);
    for (size_t i = 0; i < POLICY_WORKS; i++)
    {
        started->workers[i].policy = started;
        started->workers[i].work = (enum policy_work)i;
        condition_init(&started->workers[i].wake);
    }
    int r = policy_take_options(started, options, why);
    if (r < 0)
    {
        policy_destroy(started);
        return r;
    }
    for (size_t i = 0; r == 0 && started->has_threads && i < POLICY_WORKS; i++)
        r = policy_start_worker(&started->workers[i]);
    if (r < 0)
    {
        policy_stop(started);
        return reason_set(why, r, "cannot start a thread: %s", strerror(-r));
    }
    *policy = started;
    return 0;
}

void policy_begin_stop(struct policy *policy)
{
    uint64_t one = 1;
    ignore_error((int)write(policy->stop_fd, &one, sizeof(one)), "an eventfd takes a few 1s");
    AUTO_LOCK(&policy->wake_lock);
    policy->is_stopping = true;
    condition_wake_all(&policy->refresh_free);
    for (size_t i = 0; i < POLICY_WORKS; i++)
        condition_wake_all(&policy->workers[i].wake);
}

void policy_stop(struct policy *policy)
{
    if (!policy)
        return;
    policy_begin_stop(policy);
    for (size_t i = 0; i < POLICY_WORKS; i++)
        if (policy->workers[i].is_started)
            pthread_join(policy->workers[i].thread, NULL);
    policy_destroy(policy);
}
