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
    POLICY_KEY_MAX = 128,     /* of the store */
    POLICY_LEVELS_MAX = 8,    /* thresholds of one object */
    POLICY_NAME_MAX = 63,     /* bytes of the name of a snapshot policy or of a program */
    POLICY_PREFIX_MAX = 32,   /* bytes of what names of snapshots begin with */
    POLICY_SCHEDULES_MAX = 8, /* kinds in one snapshot policy */
    POLICY_KEEP_MAX = 10000,
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
    const char *refresh_folder;  /* where programs for refresh --hook are; NULL: there are none */
    uint64_t refresh_ms;         /* how long one may take; 0: an hour */
    const char *nbd_uri;         /* where they reach LUNs, without an export name; or NULL */
    bool no_threads;             /* tests: the caller runs policy_step() */
};

/* Starts threads. -EINVAL: an option makes no sense. */
MUST_CHECK int policy_start(struct pool *pool, const struct policy_options *options,
                            struct policy **policy, struct reason *why);
/* Lets threads and programs know that the server stops: nobody waits long for one any more. */
void policy_begin_stop(struct policy *policy);
/* Ends them; programs that do not end within moments are killed. NULL is accepted. */
void policy_stop(struct policy *policy);

enum policy_work
{
    POLICY_SPACE,    /* thresholds, leases, growing, autodelete, ended imports */
    POLICY_EVENTS,   /* syslog and the program for events */
    POLICY_SCHEDULE, /* snapshots on schedule */
    POLICY_SPLIT,    /* physical splits */
    POLICY_REFRESH,  /* new content on schedule (policy/refresh.h) */
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
    bool takes_volume_snapshots; /* and such that snapshots of their volume hold, and keep */
};

/* Making room, of the pool or a volume. The words are ONTAP's. */
enum policy_commitment
{
    POLICY_COMMIT_TRY,     /* nothing that clients have open */
    POLICY_COMMIT_DISRUPT, /* snapshots, although clients have them open */
    POLICY_COMMIT_DESTROY, /* LUNs with autodelete on, too */
};

enum policy_defer
{
    POLICY_DEFER_USER_CREATED, /* snapshots that no schedule made go last */
    POLICY_DEFER_SCHEDULED,    /* those of schedules go last */
    POLICY_DEFER_NONE,
};

struct policy_autodelete
{
    bool is_enabled;
    bool is_by_pool; /* of a volume: begins and ends by the free space of the pool, not its own */
    uint8_t trigger_free_percent, target_free_percent;
    enum policy_commitment commitment;
    enum policy_defer defer_delete;
};

extern const char *const policy_commitments[]; /* "try", ..., NULL */
extern const char *const policy_defers[];      /* "user_created", ..., NULL */

/* Of the pool. */
struct policy_autogrow
{
    uint64_t step_bytes;       /* 0: it does not grow by itself */
    uint64_t max_bytes;        /* 0: as far as the file system below goes */
    uint8_t threshold_percent; /* used; it grows from there on */
};

struct policy_settings
{
    struct policy_autogrow autogrow;
    struct policy_autodelete autodelete; /* of the pool or a volume */
    struct policy_levels thresholds;
    struct policy_leases leases;
    char snapshot_policy[POLICY_NAME_MAX + 1]; /* of a volume or a LUN; "": none */
};

/* What of policy_settings is changed. */
enum policy_mask
{
    POLICY_SET_THRESHOLDS = 1,
    POLICY_SET_LEASE_WARNING = 2,
    POLICY_SET_LEASE_FORCE = 4,
    POLICY_SET_LEASE_SNAPSHOTS = 8,
    POLICY_SET_SNAPSHOT_POLICY = 16,
    POLICY_SET_AUTODELETE = 32,
    POLICY_SET_AUTOGROW_STEP = 64,
    POLICY_SET_AUTOGROW_MAX = 128,
    POLICY_SET_AUTOGROW_THRESHOLD = 256,
};

/* "80,90,95", or "none". -EINVAL. */
MUST_CHECK int policy_parse_levels(const char *text, struct policy_levels *levels,
                                   struct reason *why);

/* With the defaults where nothing was set, or cannot be read. */
void policy_get(struct policy *policy, enum policy_scope scope, uint64_t id,
                struct policy_settings *settings);
/* -ENOENT: there is no such snapshot policy. */
MUST_CHECK int policy_set(struct policy *policy, enum policy_scope scope, uint64_t id,
                          unsigned mask, const struct policy_settings *settings,
                          struct reason *why);

/*
 * The same in two steps, for who changes the object, too: in between @put->also is stored in the
 * same record (lun.h). @id 0: of an object that is made by it. @mask 0: there is nothing to store.
 * policy_put_end() also after a failure; until then nobody else changes settings.
 */
struct policy_put
{
    struct policy *policy;
    struct store_also also;
    struct store_change changes[2];
    char keys[2][POLICY_KEY_MAX];
    char *text;
};
MUST_CHECK int policy_put_begin(struct policy *policy, enum policy_scope scope, uint64_t id,
                                unsigned mask, const struct policy_settings *settings,
                                struct policy_put *put, struct reason *why);
void policy_put_end(struct policy_put *put);

/* Adds what is set for the object to its @view; nothing for a LUN without settings. Without memory
 * less is shown. */
void policy_view(struct policy *policy, enum policy_scope scope, uint64_t id, json_t *view);

/* ---- snapshots ----------------------------------------------------------------------------- */

/* A program of the quiesce folder, called with "freeze" before and "thaw" after a snapshot. */
struct policy_quiesce
{
    char program[POLICY_NAME_MAX + 1]; /* "": none */
    uint32_t timeout_ms;               /* for each call; 0: 30000 */
    bool is_required;                  /* no snapshot where freeze fails; else one that says so */
};

enum
{
    POLICY_QUIESCE_MS = 30000
};

struct policy_snapshot_args
{
    const char *const *objects; /* volumes, or one LUN */
    size_t count;
    bool is_lun;
    const char *name;
    const char *comment;      /* or NULL */
    uint64_t locked_until_ns; /* of volumes */
    const struct policy_quiesce *quiesce;
    bool dry_run;
};

/*
 * A snapshot while applications hold still. What it came to stands at the head of its comment:
 * "[application-consistent]" or "[crash-consistent]". -ENOENT, -EINVAL: the program. -EIO,
 * -ETIMEDOUT: freeze failed and is required. Takes as long as the program.
 */
MUST_CHECK int policy_snapshot(struct policy *policy, const struct policy_snapshot_args *args,
                               struct reason *why);

/* How many snapshots of which kinds are kept. */
struct snapshot_policy
{
    char name[POLICY_NAME_MAX + 1];
    char prefix[POLICY_PREFIX_MAX + 1]; /* of the names: PREFIX "hourly.2026-11-27_2205" */
    char comment[LUN_COMMENT_MAX + 1];
    struct
    {
        char kind[16]; /* policy/calendar.h */
        uint32_t keep;
    } schedules[POLICY_SCHEDULES_MAX];
    size_t schedule_count;
    struct policy_quiesce quiesce;
};

/* "hourly:24,daily:7" into @snapshots. -EINVAL. */
MUST_CHECK int snapshot_policy_parse(const char *text, struct snapshot_policy *snapshots,
                                     struct reason *why);
/* -ENOENT. */
MUST_CHECK int snapshot_policy_get(struct policy *policy, const char *name,
                                   struct snapshot_policy *snapshots, struct reason *why);
/* Makes it, -EEXIST, or with @is_new false changes it, -ENOENT. -EINVAL. */
MUST_CHECK int snapshot_policy_put(struct policy *policy, const struct snapshot_policy *snapshots,
                                   bool is_new, struct reason *why);
/* -EBUSY: volumes or LUNs have it. */
MUST_CHECK int snapshot_policy_delete(struct policy *policy, const char *name, struct reason *why);
/* By name; free *list. */
MUST_CHECK int snapshot_policy_list(struct policy *policy, struct snapshot_policy **list,
                                    size_t *count);
/* Whether a schedule made the snapshot of this name (without "LUN@"). */
bool snapshot_policy_made(const char *name);

/* ---- physical splits ----------------------------------------------------------------------- */

/* Copying what the LUNs of a volume share, in the background. */
struct policy_split
{
    uint64_t volume_id;            /* also its number among jobs */
    char volume[LUN_NAME_MAX + 1]; /* the name of the moment; "": it is gone */
    uint64_t rate_bytes;           /* a second; 0: as fast as it goes */
    bool is_paused;
    char reason[100];              /* why it is paused */
    uint64_t lun_id, offset_bytes; /* how far it is */
    uint64_t copied_bytes, total_bytes;
    uint64_t next_ns, saved_ns; /* when it may go on; when that was noted */
};

/* Begins it, goes on after a pause, or changes the rate. -ENOSPC with figures: what would be copied
 * does not fit. */
MUST_CHECK int policy_split_start(struct policy *policy, const char *volume, uint64_t rate_bytes,
                                  bool dry_run, struct reason *why);
/* -ENOENT: none is under way. */
MUST_CHECK int policy_split_pause(struct policy *policy, const char *volume, bool dry_run,
                                  struct reason *why);
/* Ends it; what is copied stays so, and a volume clone goes on depending on its parent. */
MUST_CHECK int policy_split_stop(struct policy *policy, const char *volume, bool dry_run,
                                 struct reason *why);
MUST_CHECK int policy_split_stop_id(struct policy *policy, uint64_t volume_id, struct reason *why);
/* Those under way, also paused ones; free *list. */
MUST_CHECK int policy_split_list(struct policy *policy, struct policy_split **list, size_t *count);

#endif
