/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * LUNs that get the content of another one on schedule, as developers' clones that of production.
 *
 * Settings belong to the LUN that is refreshed, by its id, and go with it. What a refresh takes is
 * what the source holds then, its newest snapshot, or one snapshot for good. With a hook, a program
 * of the host works on a clone first, and only what it leaves gets into the LUN.
 */
#ifndef SERVER_POLICY_REFRESH_H
#define SERVER_POLICY_REFRESH_H

#include "server/policy/policy.h"

enum
{
    REFRESH_SCHEDULE_MAX = 15, /* bytes; a time of policy/calendar.h */
    REFRESH_NAME_MAX = 2 * LUN_NAME_MAX + 1,
};

/* What came of the last run. */
enum refresh_result
{
    REFRESH_NEVER,
    REFRESH_DONE,
    REFRESH_SKIPPED, /* clients had the LUN open */
    REFRESH_FAILED,
};

extern const char *const refresh_results[]; /* "never", "done", "skipped", "failed", NULL */

struct refresh_run
{
    enum refresh_result result;
    uint64_t start_s;                 /* seconds since 1970 */
    char point[REFRESH_NAME_MAX + 1]; /* what it took, by the name of then; "": nothing yet */
    uint64_t point_s;                 /* the moment of that content */
    char text[512];                   /* why not */
};

/* What is set for one LUN. */
struct refresh
{
    uint64_t lun_id;
    char lun[REFRESH_NAME_MAX + 1];     /* the name of the moment */
    uint64_t source_id;                 /* a LUN, or a snapshot */
    char source[REFRESH_NAME_MAX + 1];  /* as it is given; "": it is gone */
    bool is_latest;                     /* the newest snapshot of the source */
    char prefix[POLICY_PREFIX_MAX + 1]; /* of those whose names begin so */
    char schedule[REFRESH_SCHEDULE_MAX + 1];
    char undo[LUN_NAME_MAX + 1]; /* the snapshot that keeps what the LUN held; replaced each time */
    char hook[POLICY_NAME_MAX + 1]; /* "": none */
    bool force;                     /* although clients have the LUN open */
    uint64_t boundary_s;            /* of the schedule, that was seen to last; 0: none */
    uint64_t next_s;                /* when it is due, by the clock as it is */
    struct refresh_run last;
};

/* What is said of it; NULL: not, so a default or what was set before. */
struct refresh_args
{
    const char *source;                          /* "LUN", "LUN@latest", "LUN@SNAPSHOT" */
    const char *schedule, *prefix, *undo, *hook; /* a hook may be "none" */
    const bool *force;
};

/*
 * All of the LUNs @names or none. -EEXIST, or with @is_new false -ENOENT: it has (no) refresh.
 * -EEXIST too if the LUN has a snapshot named as the one that each refresh replaces.
 */
MUST_CHECK int refresh_put(struct policy *policy, const char *const *names, size_t count,
                           const struct refresh_args *args, bool is_new, struct reason *why);
/* -ENOENT. The LUNs and the snapshots stay. */
MUST_CHECK int refresh_delete(struct policy *policy, const char *const *names, size_t count,
                              struct reason *why);
/* In the order of @names, -ENOENT; or with @count 0 all of them. Free *list. */
MUST_CHECK int refresh_list(struct policy *policy, const char *const *names, size_t count,
                            struct refresh **list, size_t *list_count, struct reason *why);

/*
 * Now, of these LUNs; those with the same settings from one moment, or one run of the hook. What
 * came of each is in the last of *list, to be freed; 0 also if that is a failure. With @dry_run
 * only what can be told beforehand. -ECANCELED: the server stops. Takes as long as the hook.
 */
MUST_CHECK int refresh_now(struct policy *policy, const char *const *names, size_t count,
                           bool dry_run, struct refresh **list, size_t *list_count,
                           struct reason *why);

#endif
