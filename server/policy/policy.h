/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the server does by itself: watches thresholds, hands events on, takes snapshots on schedule,
 * ends leases, makes room when space runs out, grows the pool, copies what a volume clone shares.
 *
 * Settings belong to the pool, a volume or a LUN. They live in the pool's store under "policy/", by
 * the object's id: they move with the pool and stay through renames. What belongs to a host
 * (programs to call) comes as options. Each kind of work has a thread, since each waits for
 * something else: a program, a boundary of the clock, a disk.
 *
 * All functions may be called from any thread. Functions that change settings honour
 * command_dry_run() as store_apply() does.
 */
#ifndef SERVER_POLICY_POLICY_H
#define SERVER_POLICY_POLICY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/lun.h"

struct policy;

enum
{
    POLICY_LEVELS_MAX = 8, /* thresholds of one object */
};

struct policy_options
{
    struct env *env;             /* the pool's; NULL: env_system() */
    const char *events_exec;     /* program that gets each event; NULL: none */
    uint64_t events_exec_ms;     /* how long it may take; 0: 10000 */
    bool events_syslog;          /* each event to syslog(3) */
    const char *events_severity; /* "info", "warning", "error": the least that goes to either; NULL:
                                    "info" */
    const char *quiesce_folder;  /* where programs for --quiesce are; NULL: there are none */
    bool no_threads;             /* tests: the caller runs policy_step() */
};

/* Starts threads. -EINVAL: an option makes no sense. */
MUST_CHECK int policy_start(struct pool *pool, const struct policy_options *options,
                            struct policy **policy, struct reason *why);
/* Ends them; programs that run are killed. NULL is accepted. */
void policy_stop(struct policy *policy);

enum policy_work
{
    POLICY_SPACE,    /* thresholds, leases, growing, autodelete */
    POLICY_EVENTS,   /* syslog and the program for events */
    POLICY_SCHEDULE, /* snapshots on schedule */
    POLICY_SPLIT,    /* physical splits */
    POLICY_WORKS
};

/* Does what is due of @work, a bounded step; returns in how many milliseconds it wants to be called
 * again. With threads they do that. */
uint64_t policy_step(struct policy *policy, enum policy_work work);
/* Lets the thread of @work look at once. */
void policy_poke(struct policy *policy, enum policy_work work);

/* ---- settings ------------------------------------------------------------------------------ */

enum policy_scope
{
    POLICY_OF_POOL, /* id 0 */
    POLICY_OF_VOLUME,
    POLICY_OF_LUN,
};

/* Thresholds, percent used, rising. */
struct policy_levels
{
    size_t count;
    uint8_t percent[POLICY_LEVELS_MAX];
};

/* Of the pool. */
struct policy_leases
{
    uint64_t warning_s;          /* how long before its end a lease makes an event; 0: not */
    bool force;                  /* delete LUNs that clients have open, too */
    bool takes_volume_snapshots; /* and such that snapshots of their volume hold: they leave them */
};

struct policy_settings
{
    struct policy_levels thresholds;
    struct policy_leases leases;
};

/* What of policy_settings is changed. */
enum policy_mask
{
    POLICY_SET_THRESHOLDS = 1,
    POLICY_SET_LEASE_WARNING = 2,
    POLICY_SET_LEASE_FORCE = 4,
    POLICY_SET_LEASE_SNAPSHOTS = 8,
};

/* "80,90,95", or "none". -EINVAL. */
MUST_CHECK int policy_parse_levels(const char *text, struct policy_levels *levels,
                                   struct reason *why);

/* With the defaults where nothing was set, or cannot be read. */
void policy_get(struct policy *policy, enum policy_scope scope, uint64_t id,
                struct policy_settings *settings);
MUST_CHECK int policy_set(struct policy *policy, enum policy_scope scope, uint64_t id,
                          unsigned mask, const struct policy_settings *settings,
                          struct reason *why);
/* Adds what is set for the object to its @view; nothing for a LUN without settings. Without memory
 * less is shown. */
void policy_view(struct policy *policy, enum policy_scope scope, uint64_t id, json_t *view);

#endif
