/* SPDX-License-Identifier: BSD-3-Clause */
/* What the functions behind the commands share: talking to the server, to the user, and sizes. */
#ifndef SERVER_CTL_CTL_H
#define SERVER_CTL_CTL_H

#include <jansson.h>
#include <stdint.h>

#include "lun/lun.h"
#include "server/ctl/client.h"
#include "server/ctl/command.h"
#include "server/ctl/table.h"

typedef enum ctl_exit ctl_run_fn(struct invocation *in);

ctl_run_fn ctl_pool_create, ctl_pool_show, ctl_pool_check, ctl_pool_grow, ctl_pool_dump;
ctl_run_fn ctl_volume_split_pause, ctl_volume_split_stop, ctl_volume_split_show;
ctl_run_fn ctl_pool_modify, ctl_pool_scrub, ctl_pool_repair, ctl_lun_salvage;
ctl_run_fn ctl_pool_autodelete_modify, ctl_pool_autodelete_show, ctl_volume_autodelete_modify,
    ctl_volume_autodelete_show;
ctl_run_fn ctl_snapshot_policy_create, ctl_snapshot_policy_modify, ctl_snapshot_policy_delete,
    ctl_snapshot_policy_show;
ctl_run_fn ctl_serve;
ctl_run_fn ctl_lun_create, ctl_lun_show, ctl_lun_clone, ctl_lun_resize, ctl_lun_rename,
    ctl_lun_delete, ctl_lun_comment, ctl_lun_import, ctl_lun_export, ctl_lun_attach;
ctl_run_fn ctl_snapshot_create, ctl_snapshot_show, ctl_snapshot_delete, ctl_snapshot_rename,
    ctl_snapshot_restore;
ctl_run_fn ctl_lun_maxsize, ctl_lun_state;
ctl_run_fn ctl_snapshot_lock, ctl_lun_redeploy, ctl_clone_create;
ctl_run_fn ctl_refresh_create, ctl_refresh_modify, ctl_refresh_delete, ctl_refresh_show,
    ctl_refresh_run;
ctl_run_fn ctl_volume_create, ctl_volume_show, ctl_volume_modify, ctl_volume_resize,
    ctl_volume_rename, ctl_volume_delete;
ctl_run_fn ctl_volume_clone_create, ctl_volume_clone_show, ctl_volume_split_estimate,
    ctl_volume_split_start;
ctl_run_fn ctl_qtree_create, ctl_qtree_show, ctl_qtree_rename, ctl_qtree_delete;
ctl_run_fn ctl_quota_rule_create, ctl_quota_rule_modify, ctl_quota_rule_delete, ctl_quota_rule_show,
    ctl_quota_on, ctl_quota_off, ctl_quota_report;
ctl_run_fn ctl_explain_space, ctl_explain_quota;
ctl_run_fn ctl_igroup_create, ctl_igroup_add, ctl_igroup_remove, ctl_igroup_show, ctl_igroup_delete;
ctl_run_fn ctl_lun_map, ctl_lun_unmap, ctl_mapping_show, ctl_lun_modify;
ctl_run_fn ctl_reservation_show, ctl_reservation_clear;
ctl_run_fn ctl_portal_show, ctl_session_show, ctl_session_terminate;
ctl_run_fn ctl_chap_set, ctl_chap_show, ctl_chap_delete, ctl_chap_rewrap;
ctl_run_fn ctl_key_create, ctl_key_show;
ctl_run_fn ctl_qos_class_create, ctl_qos_class_modify, ctl_qos_class_delete, ctl_qos_class_show;
ctl_run_fn ctl_qos_set, ctl_qos_show, ctl_top, ctl_metrics;
ctl_run_fn ctl_tree, ctl_df, ctl_freed;
ctl_run_fn ctl_event_show;
ctl_run_fn ctl_job_show, ctl_job_wait, ctl_job_cancel;
ctl_run_fn ctl_server_status, ctl_server_stop;
ctl_run_fn ctl_store_get, ctl_store_list;
ctl_run_fn ctl_help, ctl_complete, ctl_manual;

/* ---- refusing ------------------------------------------------------------------------------ */

/* What the command does, as "delete igroup web". */
void ctl_print_doing(FILE *file, const struct invocation *in);
/*
 * All of these print on standard error "lunette: cannot ...: @why" (ctl_usage(), ctl_conclude() and
 * ctl_note() only @why) and, if @hint is not empty, "  try: ..."; with --json one object on a line.
 */
enum ctl_exit ctl_refuse(const struct invocation *in, const char *why, const char *hint);
/* The same with an error number; @why may be empty. */
enum ctl_exit ctl_fail(const struct invocation *in, int err, const char *why, const char *hint);
enum ctl_exit ctl_no_memory(const struct invocation *in);
/* The server has answered that something is done: lack of memory is told otherwise from now on. */
void ctl_note_answer(void);
/* Where there is no way back: says so and ends the program. */
_Noreturn void ctl_end_without_memory(void);
/* CTL_NO_SERVER. */
enum ctl_exit ctl_no_server(const struct invocation *in, int err, const char *why);
/* CTL_USAGE; says where to read on. */
enum ctl_exit ctl_usage(const struct invocation *in, const char *why);
/* It was done and found what makes the status CTL_REFUSED. */
enum ctl_exit ctl_conclude(const struct invocation *in, const char *why, const char *hint);
/* The same of a dry run whose @plan says that it is refused as it stands ("refused"), and without
 * which options ("needs"); CTL_DONE if it is not. */
enum ctl_exit ctl_conclude_plan(const struct invocation *in, const json_t *plan);
/* Something to know beside the result. */
void ctl_note(const char *format, ...) PRINTF_LIKE(1, 2);
/* What the engine logs becomes notes, each line once. */
void ctl_log_to_notes(void);
/* From here on errors and notes are JSON. */
void ctl_errors_as_json(void);

/* ---- asking the server --------------------------------------------------------------------- */

/* One request on a connection of its own; on failure all has been said. Takes @args over. */
enum ctl_exit ctl_ask(const struct invocation *in, const char *verb, json_t *args, json_t **result);
enum ctl_exit ctl_ask_progress(const struct invocation *in, const char *verb, json_t *args,
                               client_progress_fn *progress, void *opaque, json_t **result);
/* The same, and prints @result with --json, else the line @said. */
enum ctl_exit ctl_do(const struct invocation *in, const char *verb, json_t *args, const char *said,
                     ...) PRINTF_LIKE(4, 5);

/* --if-not-exists: @verb refused because of what is there. CTL_EXISTS if it is what @args want. */
enum ctl_exit ctl_check_existing(const struct invocation *in, struct client *client,
                                 const char *verb, const json_t *args,
                                 const struct client_refusal *refusal);

/* A connection for several requests; on failure all has been said. */
enum ctl_exit ctl_connect(const struct invocation *in, struct client *client);
enum ctl_exit ctl_call(const struct invocation *in, struct client *client, const char *verb,
                       json_t *args, json_t **result);

/* ---- options ------------------------------------------------------------------------------- */

/* --fields, --units and --json, checked against @fields. CTL_USAGE has been said. */
enum ctl_exit ctl_table_options(const struct invocation *in, const struct field *fields,
                                struct table_options *options);
/* A listing, or its usage error. */
enum ctl_exit ctl_list(const struct invocation *in, json_t *result, const char *key,
                       const struct field *fields);
/* The @i-th argument, or the option @name; NULL: neither. Both are a usage error, *exit says so. */
const char *ctl_arg_or_option(const struct invocation *in, size_t i, const char *name,
                              enum ctl_exit *exit);
/*
 * A size argument; "+SIZE" adds to @now_bytes, unless that is UINT64_MAX. CTL_USAGE has been said.
 */
enum ctl_exit ctl_size(const struct invocation *in, const char *text, uint64_t now_bytes,
                       uint64_t *bytes);
enum ctl_exit ctl_number(const struct invocation *in, const char *name, uint64_t min, uint64_t max,
                         uint64_t *number);

/* --sector: 512, unless it says 4096. */
enum ctl_exit ctl_sector(const struct invocation *in, uint64_t *sector_bytes);
/* The same of a duration. */
enum ctl_exit ctl_duration(const struct invocation *in, const char *name, uint64_t *ms);
/*
 * A moment of the future or the past, as seconds since 1970, in @args under @key if the option is
 * given: "8h" or "30d" from now, "2026-12-31", "2026-12-31T18:00" in local time, or "none" (0).
 */
enum ctl_exit ctl_put_moment(const struct invocation *in, json_t *args, const char *key,
                             const char *option);
/* --@option yes|no as @key, if it is given. */
enum ctl_exit ctl_put_bool(const struct invocation *in, json_t *args, const char *key,
                           const char *option);
/* --quiesce and --quiesce-timeout. */
enum ctl_exit ctl_put_quiesce(const struct invocation *in, json_t *args);
/* What a LUN has beside its content, from the options of that; for a clone. */
enum ctl_exit ctl_put_attributes(const struct invocation *in, json_t *args);
enum ctl_exit ctl_put_clone_attributes(const struct invocation *in, json_t *args,
                                       const char *group_option);
/* --qos, or as ONTAP writes it --qos-policy-group, as "qos". */
enum ctl_exit ctl_put_class(const struct invocation *in, json_t *args);
/* lun clone --range. */
enum ctl_exit ctl_lun_clone_range(struct invocation *in, const char *source, const char *name);
/* lun clone --overwrite-destination, if LUN @name is there. */
enum ctl_exit ctl_lun_overwrite(const struct invocation *in, const char *source, const char *name,
                                bool *is_there);
/* As which LUNs of an igroup the clones in @result are there, if they are. */
void ctl_print_mappings(const json_t *result);
/* By how much the pool's promises grow or shrink with the command, if they do. */
void ctl_print_promised(const struct invocation *in, const json_t *result);
enum
{
    CTL_LINES_MAX = 20, /* of a plan: what else there is is only counted */
};
/* "and N more", if @count is more than that. */
void ctl_print_more(size_t count);
/* What a plan with "goes" and "freed_bytes" says, a line for each name behind @verb; not for all of
 * very many. */
void ctl_print_freed(const json_t *plan, const char *verb);
/* "LUN@SNAPSHOT" or "LUN SNAPSHOT" from argument @i on, in two strings to be freed; *used of them.
 */
enum ctl_exit ctl_snapshot_name(const struct invocation *in, size_t i, char **lun, char **snapshot,
                                size_t *used);

/*
 * Asks "... Go on? {y|n}" on a terminal, unless --yes or --json; without a terminal nothing is
 * asked. CTL_REFUSED, and said, if the answer is not yes.
 */
enum ctl_exit ctl_confirm(const struct invocation *in);
bool ctl_asks(const struct invocation *in);

/* Refuses what lun.show says of LUNs (or one) that an import has not filled. */
enum ctl_exit ctl_check_whole(const struct invocation *in, const json_t *shown);

/* Adds @key to @object if there is a value; takes @value over. */
void ctl_put(json_t *object, const char *key, json_t *value);
void ctl_put_text(json_t *object, const char *key, const char *text); /* NULL: not */
/* A number of @object, 0 without one. */
uint64_t ctl_get(const json_t *object, const char *key);

/* Opens --pool PATH. On failure all has been said. */
enum ctl_exit ctl_open_pool(const struct invocation *in, const struct pool_open_options *options,
                            struct pool **pool);

/* ctl_conclude() of a damaged pool, with the repair that helps; a server has to stop for it. */
enum ctl_exit ctl_conclude_damage(const struct invocation *in, const char *why);

#endif
