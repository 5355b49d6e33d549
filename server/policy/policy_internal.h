/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of server/policy share. */
#ifndef SERVER_POLICY_POLICY_INTERNAL_H
#define SERVER_POLICY_POLICY_INTERNAL_H

#include <pthread.h>

#include "lun/base/lock.h"
#include "server/mgmt/proto.h"
#include "server/policy/policy.h"

#define POLICY_SECOND_NS UINT64_C(1000000000)

enum
{
    POLICY_IDLE_MS = 600000, /* until somebody pokes */
};

struct policy_worker
{
    struct policy *policy;
    enum policy_work work;
    pthread_t thread;
    bool is_started; /* only who starts and stops it */
    bool is_poked;   /* under policy->wake_lock */
    struct condition wake;
};

/* How far one object is above its thresholds. */
struct policy_alarm
{
    enum policy_scope scope;
    uint64_t id;
    uint8_t percent;   /* the highest level that was crossed; 0: none */
    bool is_looked_at; /* in this round */
};

/* What is known of a LUN's lease. */
struct policy_lease
{
    uint64_t lun_id, expire_ns;
    uint64_t retry_ns; /* when to try again to delete it; passed, as all times below */
    int refusal;       /* why it could not be, last time */
    bool is_warned;
};

/* An import that has not made its LUN whole. */
struct policy_import
{
    uint64_t lun_id;
    uint64_t since_ns; /* nobody has had the LUN open since then; passed */
    bool is_told;
};

/* How the date is ahead of the time that has passed, modulo 2^64 ns. */
struct policy_clock
{
    bool is_set;
    uint64_t trusted_ns; /* leases end by this */
    uint64_t seen_ns;    /* the last one, of which an event was made */
    uint64_t hold_ns;    /* until then it is not trusted; 0: it is */
};

/* Where room is made. */
struct policy_room
{
    enum policy_scope scope;
    uint64_t id;
    bool is_active;
    bool is_exhausted;        /* nothing was left to delete */
    uint64_t waiting_ns;      /* since when for space to come back, or for something to delete */
    uint64_t last_free_bytes; /* then */
    uint64_t deleted_count;
};

struct policy
{
    struct pool *pool;
    struct env *env;
    char *events_exec;
    uint64_t events_exec_ms;
    bool events_syslog;
    bool has_threads;    /* immutable, as all above */
    int events_severity; /* index of policy_severities */
    char *quiesce_folder;
    char *refresh_folder, *nbd_uri;
    uint64_t refresh_ms;
    int stop_fd; /* readable once policy_begin_stop() was called */

    struct lock settings_lock; /* around read, change, write of a setting */
    struct lock quiesce_lock;  /* from freeze to thaw; may last for as long as a program may */
    struct lock split_lock;    /* split below, and what is stored of it */
    struct lock wake_lock;
    struct condition refresh_free;
    bool is_stopping; /* under wake_lock */
    bool has_warned;  /* of a value that cannot be read; under wake_lock */
    struct policy_worker workers[POLICY_WORKS];

    /* Each is only that worker's. */
    struct
    {
        uint64_t last_id;
        bool has_failed; /* the program, last time */
    } events;
    struct
    {
        struct policy_clock clock;
        struct policy_alarm *alarms;
        size_t alarm_count;
        struct policy_lease *leases; /* by id */
        size_t lease_count;
        struct policy_room *rooms;
        size_t room_count;
        struct policy_import *imports;
        size_t import_count;
        int grow_refusal; /* why the pool could not grow, last time */
        uint64_t grow_retry_ns;
        uint64_t swept_ns;
    } space;
    struct
    {
        bool has_thawed;                       /* what was left frozen */
        uint64_t failed_id, failed_boundary_s; /* what failed last */
        uint64_t *kept; /* ids of snapshots that should go, could not, and were reported */
        size_t kept_count;
    } schedule;
    struct
    {
        struct policy_clock clock;
        bool has_recovered; /* what a server that ended left; by who holds is_busy */
        bool is_busy;       /* somebody refreshes LUNs; under wake_lock, with refresh_free */
    } refresh;
    struct
    {
        struct policy_split *list;
        size_t count;
        size_t turn;
        bool is_loaded;
    } split;
};

/* The date. */
uint64_t policy_now_ns(struct policy *policy);
/* For waiting: time as it passes, whatever the date is set to. */
uint64_t policy_passed_ns(struct policy *policy);

/* Looks whether the date was set, and says so. By the space worker, as the next. */
void policy_look_at_clock(struct policy *policy);
/* The date by which leases end: it follows a clock that was set forward after an hour only. */
uint64_t policy_lease_now_ns(struct policy *policy);
/* The same for a worker with a @clock of its own. */
uint64_t policy_trusted_now_ns(struct policy *policy, struct policy_clock *clock);

/* ---- the store ----------------------------------------------------------------------------- */

/* "policy/set/volume/000000000000002a" for @kind "set". */
void policy_key(char key[POLICY_KEY_MAX], const char *kind, enum policy_scope scope, uint64_t id);
/* The id at the end of a key; 0: there is none. */
uint64_t policy_key_id(const char *key);
/* *json NULL: there is none, or it is nothing that can be read (the first time is logged). -ENOMEM:
 * there may be one. */
MUST_CHECK int policy_load(struct policy *policy, const char *key, json_t **json);
/* Parses what store_list() gives. NULL: it cannot be read (the first time is logged). */
json_t *policy_parse(struct policy *policy, const char *key, const void *value, size_t len);
/* Takes @value over; NULL deletes. */
MUST_CHECK int policy_save(struct policy *policy, const char *key, json_t *value,
                           struct reason *why);

/* What a key that ends in an id is of. */
struct policy_object
{
    enum policy_scope scope;
    uint64_t id;
    char name[2 * LUN_NAME_MAX + 2]; /* of this moment */
};

/* False: it is gone, or the key is of something else. */
bool policy_find_object(struct policy *policy, const char *key, struct policy_object *object);

bool policy_autodelete_is_sound(const struct policy_autodelete *autodelete);

/* A number of 0 to @max, else *value stays. */
void policy_get_number(const json_t *json, const char *key, uint64_t max, uint64_t *value);
/* Text, "" if there is none. */
void policy_get_text(const json_t *json, const char *key, char *text, size_t size);

void policy_settings_decode(enum policy_scope scope, const json_t *json,
                            struct policy_settings *settings);
/* Forgets what is stored of objects that are gone. */
void policy_sweep(struct policy *policy);

/* ---- programs ------------------------------------------------------------------------------ */

struct policy_program
{
    const char *path;
    const char *argument;   /* or NULL */
    const char *const *env; /* "NAME=value", beside PATH; NULL-terminated; or NULL */
    const char *input;      /* for its standard input, at most 64 KiB; or NULL */
    uint64_t timeout_ms;
};

/*
 * Runs it and waits. 0: it ended with status 0. -ETIMEDOUT: killed, with what it started.
 * -ECANCELED: killed, because the server stops. @why has its status and what it said on
 * standard error.
 */
MUST_CHECK int policy_run(struct policy *policy, const struct policy_program *program,
                          struct reason *why);

/* ---- quiesce ------------------------------------------------------------------------------- */

/* From policy_freeze() to policy_thaw(). */
struct policy_freeze
{
    struct policy_quiesce quiesce;
    bool is_held;   /* policy->quiesce_lock */
    bool has_begun; /* the program was called, or may have been */
    bool is_frozen;
    char key[POLICY_KEY_MAX]; /* of the note in the store */
    char objects[2048], snapshot[2 * LUN_NAME_MAX + 2];
};

/* Whether the program can be called. -ENOENT, -EINVAL. */
MUST_CHECK int policy_check_quiesce(const struct policy *policy,
                                    const struct policy_quiesce *quiesce, struct reason *why);
/* Calls it with "freeze". Whatever comes of it, policy_thaw() has to follow. */
MUST_CHECK int policy_freeze(struct policy *policy, const struct policy_quiesce *quiesce,
                             const char *const *objects, size_t count, const char *snapshot,
                             struct policy_freeze *freeze, struct reason *why);
/* Calls it with "thaw" if it was called with "freeze". */
void policy_thaw(struct policy *policy, struct policy_freeze *freeze);
/* Thaws what a server that ended in between left frozen. */
void policy_thaw_all(struct policy *policy);
/* What a snapshot between the two is, as its comment says it. */
const char *policy_consistency(const struct policy_freeze *freeze);

/* ---- workers ------------------------------------------------------------------------------- */

uint64_t policy_step_events(struct policy *policy);
uint64_t policy_step_space(struct policy *policy);
uint64_t policy_step_schedule(struct policy *policy);
uint64_t policy_step_split(struct policy *policy);
uint64_t policy_step_refresh(struct policy *policy);

bool policy_is_stopping(struct policy *policy);

/* Events for thresholds that are crossed. */
void policy_watch(struct policy *policy);
/* Deletes LUNs whose leases have ended. */
void policy_end_leases(struct policy *policy);
/* Events for imports that were interrupted. */
void policy_watch_imports(struct policy *policy);
/* Forgets those of LUNs that are gone for good. */
MUST_CHECK int policy_sweep_imports(struct policy *policy);
/* Grows the pool. */
void policy_grow(struct policy *policy);
/* Deletes what may go where space runs out; whether there is more to do soon. */
bool policy_make_room(struct policy *policy);

/* "info", "warning", "error", NULL. */
extern const char *const policy_severities[];
int policy_severity(const char *name); /* -EINVAL */

#endif
