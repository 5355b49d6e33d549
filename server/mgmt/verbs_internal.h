/* SPDX-License-Identifier: BSD-3-Clause */
/* What the verbs on LUNs and those on snapshots share. */
#ifndef SERVER_MGMT_VERBS_INTERNAL_H
#define SERVER_MGMT_VERBS_INTERNAL_H

#include "server/import.h"
#include "server/mgmt/verbs.h"
#include "server/qos/qos.h"

struct access;
struct qos_group_info;
struct qos_lun_info;

/* What the pool stores of access; -EIO if it could not be read at the start. */
MUST_CHECK int verb_access(struct verb_request *request, struct access **access);

/* LUN_FORCE if the request says so. */
unsigned verb_force_flag(const struct verb_request *request);

/* An argument in seconds since 1970, in nanoseconds; 0: absent. */
uint64_t verb_time(const struct verb_request *request, const char *name);

/* Adds "promised_bytes" to the result: command_promised_bytes(), so directly after the command. */
MUST_CHECK int verb_put_promised(struct verb_request *request, int64_t promised_bytes);

/* What the request says of an object's settings (server/policy), and which: *mask. */
MUST_CHECK int verb_policy_args(struct verb_request *request, enum policy_scope scope,
                                struct policy_settings *settings, unsigned *mask);
/* Changes them. */
MUST_CHECK int verb_policy_set(struct verb_request *request, enum policy_scope scope, uint64_t id,
                               unsigned mask, const struct policy_settings *settings);
/* Adds them to the @view of an object, which has its "id". */
void verb_policy_view(struct verb_request *request, enum policy_scope scope, json_t *view);

/* In a dry run the result shows what is there now: what has no value gets null, and not the value
 * of the argument that would set it. */
void verb_view_unset(struct verb_request *request);

enum
{
    VERB_WORD_MAX = 4 * LUN_NAME_MAX + 16,
};

/* A word of a command that is printed, as a shell takes it. */
const char *verb_shell_word(const char *word, char text[VERB_WORD_MAX]);

/* What the request says of freezing applications; what it does not stays. */
MUST_CHECK int verb_quiesce_args(struct verb_request *request, struct policy_quiesce *quiesce);

/* volume.split with "physical". */
MUST_CHECK int verb_volume_split_physical(struct verb_request *request);
/* Adds physical splits to a list of jobs. */
MUST_CHECK int verb_add_split_jobs(struct verb_request *request, json_t *array);
/* Whether the split @id (0: any) is being worked at; a paused one is not. */
bool verb_split_runs(struct verb_request *request, uint64_t id);

/* -ENOENT: the argument "igroup" names none. */
MUST_CHECK int verb_check_igroup(struct verb_request *request);
/* Maps the clone @name, or @count > 1 of that template, to the argument "igroup", if there is one;
 * not in a dry run. Each mapping is added to the array @mappings. */
MUST_CHECK int verb_map_clones(struct verb_request *request, const char *name, uint32_t count,
                               uint32_t first_number, json_t *mappings);

/*
 * Before something that open clients forbid: who has hung up just now still counts until its
 * connection's threads have ended, and whoever deletes after a copy should not have to know that.
 * Waits for it, two seconds at most; not at all with force. @name: a LUN, snapshots included, or
 * LUN@SNAPSHOT.
 */
void verb_await_close(struct verb_request *request, const char *name);
/* The same for several, within the same time, and for all LUNs of a volume. */
void verb_await_close_all(struct verb_request *request, const char *const *names, size_t count);
void verb_await_close_volume(struct verb_request *request, const char *volume);

/* -EBUSY: @name, a LUN or a snapshot, is not whole (server/import.h); 0 also if it is not there. */
MUST_CHECK int verb_check_whole(struct verb_request *request, const char *name);
MUST_CHECK int verb_check_whole_all(struct verb_request *request, const char *const *names,
                                    size_t count);
/* The same of all that a volume holds, or @snapshot of it (NULL: what it holds now). */
MUST_CHECK int verb_check_whole_volume(struct verb_request *request, const char *volume,
                                       const char *snapshot);
/* Adds "not_whole", the LUNs of the volume that are not, if there are any. */
MUST_CHECK int verb_say_not_whole(struct verb_request *request, const char *volume);

/* lun.create with "import". */
struct verb_import
{
    bool resumes;  /* the LUN is there already */
    bool replaces; /* what an earlier import left of it was deleted */
    struct store_change change;
    struct store_also also; /* for lun_create() */
};
MUST_CHECK int verb_import_begin(struct verb_request *request, struct verb_import *import);
/* What an earlier import left was deleted, and then the LUN could not be made: @r, returned again.
 */
MUST_CHECK int verb_import_say_lost(struct verb_request *request, int r);
/* Adds to the result what the importer has to know. */
MUST_CHECK int verb_import_say(struct verb_request *request, const struct verb_import *import);

/* The iSCSI sessions of initiators that are in igroup @group, as an array of {"initiator":..,
 * "address":..}. -ENOENT. */
MUST_CHECK int verb_igroup_sessions(struct verb_request *request, const char *group,
                                    json_t **sessions);

/* Bytes with data in [from, end) of @name; a difference "A..B" counts what differs. */
MUST_CHECK int verb_count_mapped(struct verb_request *request, const char *name, uint64_t from,
                                 uint64_t *mapped_bytes);

/* Result {"goes":[names],"freed_bytes":...}: what deleting @names together would do. */
MUST_CHECK int verb_show_freed(struct verb_request *request, const char *const *names,
                               size_t count);

/* Result {"goes":[names],"luns":N}, of so many that this cannot be told of all together. */
MUST_CHECK int verb_show_goes(struct verb_request *request, const char *const *names, size_t count);

/* The same before they are deleted; no result if it cannot be told. */
void verb_note_freed(struct verb_request *request, const char *const *names, size_t count);

/* It is done. Result {"deleted":[names]}, beside what was noted to be freed. */
MUST_CHECK int verb_say_deleted(struct verb_request *request, const struct lun_info *list,
                                size_t count);

/* The snapshots of LUNs that VOLUME@SNAPSHOT is made of, *count of them; *list to be freed. */
MUST_CHECK int verb_list_parts(struct verb_request *request, const char *volume,
                               const char *snapshot, struct lun_info **list, size_t *count);

/* What thin writes to @lun find: in its volume, one of @volumes, or in the pool. */
uint64_t verb_lun_available(const struct lun_info *lun, const struct volume_info *volumes,
                            size_t count, uint64_t pool_bytes);

/* -ENOENT: the argument "qos" names no class. */
MUST_CHECK int verb_check_class(struct verb_request *request);
/* Puts clones, named as for verb_map_clones(), into the class "qos", if it is given; not in a dry
 * run. */
MUST_CHECK int verb_classify_clones(struct verb_request *request, const char *name, uint32_t count,
                                    uint32_t first_number);
/* Puts a LUN or volume into the class "qos", if it is given; not in a dry run. */
MUST_CHECK int verb_classify(struct verb_request *request, bool is_volume, uint64_t id);
/* That failed with @r, returned again, after something else of the request was done, and stays. */
MUST_CHECK int verb_say_unclassified(struct verb_request *request, int r);

/* What a request stores of an object's policies and its class, in the record that changes it. */
struct verb_settings
{
    struct policy_put policies;
    struct qos_put class;
    struct store_change changes[3];
    struct store_also also;
    bool is_stored; /* for verb_settings_end() */
};
/* The class is what the request says of it ("qos"). verb_settings_end() also after a failure. */
MUST_CHECK int verb_settings_begin(struct verb_request *request, enum policy_scope scope,
                                   uint64_t id, unsigned mask,
                                   const struct policy_settings *policies,
                                   struct verb_settings *settings);
void verb_settings_end(struct verb_settings *settings);
/* Who is in which class, to be shown. */
struct verb_classes
{
    struct qos_lun_info *luns;
    struct qos_group_info *groups;
    size_t lun_count, group_count;
};
MUST_CHECK int verb_classes_load(struct verb_request *request, struct verb_classes *classes);
void verb_classes_free(struct verb_classes *classes);
/* Adds "qos" to the @view of a LUN or volume, which has its "id". */
void verb_classes_view(const struct verb_classes *classes, bool is_volume, json_t *view);
/* The same of one, after a command: what is done is not refused for want of memory to show it. */
void verb_view_class(struct verb_request *request, bool is_volume, json_t *view);
/* What is stored of a volume goes with it. */
void verb_forget_volume_class(struct verb_request *request, uint64_t volume_id);

#endif
