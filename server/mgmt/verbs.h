/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the management thread can be asked, as one table (verbs.c).
 *
 * A row says what a verb is called, whether it changes things, which arguments it takes and who
 * handles it. Arguments are checked against the row before the handler runs: it sees only what the
 * row names, in the right type, and what is required is there. A new object (igroup, volume, quota)
 * adds a verbs_*.c file and rows.
 */
#ifndef SERVER_MGMT_VERBS_H
#define SERVER_MGMT_VERBS_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "server/target.h"

enum
{
    VERB_ARGS_MAX = 16
};

enum verb_access
{
    VERB_LOOKS,
    VERB_CHANGES, /* or shows what is not everybody's business */
};

enum verb_arg_type
{
    VERB_STRING,
    VERB_NUMBER, /* not negative */
    VERB_BOOL,
    VERB_STRINGS, /* an array of strings */
};

struct verb_arg
{
    const char *name; /* NULL: end of the list */
    enum verb_arg_type type;
    bool required;
};

struct verb_peer
{
    uid_t uid;
    gid_t gid;
    pid_t pid;
    bool may_change;
};

/* One request while it is served. */
struct verb_request
{
    struct target *target;
    struct pool *pool;
    struct verb_peer peer;
    size_t connections; /* open now */
    json_t *args;       /* an object, checked */
    json_t *result;     /* the handler's to set; of a change the arguments are added to it */
    struct reason why;  /* the handler's, on failure */
    /* The handler's: all that was asked for is done, and what follows only says so. Without memory
     * for that the answer says less; it is no refusal. */
    bool is_done;
    /* Sends a progress line; takes @progress over. -ENOTCONN: the client is gone, so stop. */
    int (*send_progress)(struct verb_request *request, json_t *progress);
    /* Whether to give up: the client hung up, or the server stops. Long verbs ask often. */
    bool (*is_cancelled)(struct verb_request *request);
    bool stop_server; /* the handler's: end the process once the reply is sent */
};

typedef int verb_fn(struct verb_request *request);

struct verb
{
    const char *name;
    enum verb_access access;
    verb_fn *handler;
    struct verb_arg args[VERB_ARGS_MAX];
};

/* NULL: unknown. */
const struct verb *verb_find(const char *name);
/* The @i-th, NULL behind the last. */
const struct verb *verb_at(size_t i);

/* Whether @args (an object) is what @verb takes. -EINVAL: @why names the argument. */
MUST_CHECK int verb_check_args(const struct verb *verb, const json_t *args, struct reason *why);

/*
 * Serves the request. 0: it is done, and its result, which is not empty, says of what; or less, or
 * nothing (NULL), for want of memory. Else nothing was done, unless the reason says what was.
 */
MUST_CHECK int verb_run(const struct verb *verb, struct verb_request *request);

/* A command that helps after @verb failed with @err, in @hint, or "". */
void verb_hint(const struct verb *verb, int err, const json_t *args, const char *why, char *hint,
               size_t hint_size);

/* Checked arguments; absent: NULL, @otherwise, false. */
const char *verb_string(const struct verb_request *request, const char *name);
uint64_t verb_number(const struct verb_request *request, const char *name, uint64_t otherwise);
bool verb_bool(const struct verb_request *request, const char *name);
bool verb_has(const struct verb_request *request, const char *name);
/* The strings of an array, *list to be freed (not the strings, which belong to the request). */
MUST_CHECK int verb_strings(const struct verb_request *request, const char *name,
                            const char ***list, size_t *count);

verb_fn verb_pool_modify, verb_pool_settings_show;
verb_fn verb_pool_show, verb_pool_grow, verb_pool_check, verb_pool_dump;
verb_fn verb_lun_create, verb_lun_show, verb_lun_clone, verb_lun_resize, verb_lun_rename,
    verb_lun_delete, verb_lun_comment, verb_lun_freed, verb_lun_attributes, verb_lun_clone_group,
    verb_lun_redeploy, verb_lun_clone_ranges, verb_import_end;
verb_fn verb_refresh_create, verb_refresh_modify, verb_refresh_delete, verb_refresh_show,
    verb_refresh_run;
verb_fn verb_snapshot_create, verb_snapshot_show, verb_snapshot_delete, verb_snapshot_rename,
    verb_snapshot_restore, verb_snapshot_lock;
verb_fn verb_volume_split_show, verb_volume_split_pause, verb_volume_split_stop;
verb_fn verb_autodelete_show, verb_autodelete_modify;
verb_fn verb_snapshot_policy_create, verb_snapshot_policy_modify, verb_snapshot_policy_delete,
    verb_snapshot_policy_show;
verb_fn verb_volume_create, verb_volume_modify, verb_volume_show, verb_volume_rename,
    verb_volume_delete, verb_volume_clone, verb_volume_split, verb_volume_split_estimate;
verb_fn verb_qtree_create, verb_qtree_show, verb_qtree_rename, verb_qtree_delete;
verb_fn verb_quota_rule_create, verb_quota_rule_modify, verb_quota_rule_delete,
    verb_quota_rule_show, verb_quota_enable, verb_quota_report;
verb_fn verb_explain_space, verb_explain_quota;
verb_fn verb_igroup_create, verb_igroup_add, verb_igroup_remove, verb_igroup_show,
    verb_igroup_delete;
verb_fn verb_lun_map, verb_lun_unmap, verb_mapping_show, verb_lun_modify, verb_attribute_show;
verb_fn verb_reservation_show, verb_reservation_clear;
verb_fn verb_chap_set, verb_chap_show, verb_chap_delete, verb_chap_rewrap;
verb_fn verb_session_show, verb_session_terminate, verb_portal_show;
verb_fn verb_qos_class_create, verb_qos_class_modify, verb_qos_class_delete, verb_qos_class_show;
verb_fn verb_qos_set, verb_qos_show, verb_stats_show;
verb_fn verb_tree, verb_df;
verb_fn verb_event_list, verb_event_follow;
verb_fn verb_pool_scrub, verb_pool_scrub_show, verb_pool_scrub_wait;
verb_fn verb_job_list, verb_job_wait, verb_job_cancel;
verb_fn verb_server_status, verb_server_stop;
verb_fn verb_store_get, verb_store_list;

#endif
