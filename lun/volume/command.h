/* SPDX-License-Identifier: BSD-3-Clause */
/* What commands on LUNs, snapshots, volumes and qtrees share. Under pool->management, all but
 * command_begin() and the checks of arguments. */
#ifndef LUN_VOLUME_COMMAND_H
#define LUN_VOLUME_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/lun.h"
#include "lun/volume/draft.h"
#include "lun/volume/names.h"

struct lun_object;
struct writer;

/* Whether the pool takes changes; clears @why. */
MUST_CHECK int command_begin(struct pool *pool, struct reason *why);

/* Whether this thread's commands change nothing (command_dry_run()). */
bool command_is_dry(void);
/* For command_promised_bytes(): what the command is let through with. */
void command_note_promised(int64_t bytes);

/* An error of running a record of @bytes bytes, in words; 0 stays 0. */
MUST_CHECK int command_explain(struct pool *pool, int r, size_t bytes, struct reason *why);

/* Carries the record out, unless the run is dry. @lun as in change_run(). The caller commits,
 * without management. */
MUST_CHECK int command_run(struct pool *pool, struct lun_object *lun, struct writer *writer,
                           bool is_freeing, struct reason *why);

/* store_apply() for who holds management already; the caller commits. */
MUST_CHECK int store_apply_locked(struct pool *pool, const struct store_change *changes,
                                  size_t count, struct reason *why);

/* Adds what is stored in the same record, under the id of what the record is about. */
MUST_CHECK int store_also_add(struct pool *pool, const struct store_also *also, uint64_t id,
                              struct writer *writer, struct reason *why);

/* -ESTALE: what is called @name has @id, and not @only_id, unless that is 0. */
MUST_CHECK int command_check_id(const char *name, uint64_t id, uint64_t only_id,
                                struct reason *why);

MUST_CHECK int comment_check(const char *comment, struct reason *why);
/* An owner's or a group's name; NULL is one. */
MUST_CHECK int owner_check(const char *owner, struct reason *why);

MUST_CHECK int lun_find(struct pool *pool, const char *name, struct lun_object **lun,
                        struct reason *why);
MUST_CHECK int lun_find_kind(struct pool *pool, const char *name, enum disk_object_kind kind,
                             struct lun_object **lun, struct reason *why);
MUST_CHECK int snapshot_find(struct pool *pool, const char *lun_name, const char *snapshot,
                             struct lun_object **object, struct reason *why);
MUST_CHECK int volume_find(struct pool *pool, const char *name, struct volume_object **volume,
                           struct reason *why);

/* -EEXIST if a LUN, a snapshot, a volume or a qtree has that name. */
MUST_CHECK int name_is_free(struct pool *pool, const char *full, struct reason *why);

/* Where a LUN of some name is or is going to be. */
struct lun_place
{
    const char *name; /* the full one, without "/vol/" */
    struct name_path path;
    struct volume_object *volume; /* NULL: outside volumes */
    struct qtree_object *qtree;
};

/* -EINVAL, -ENOENT: there is no such volume or qtree, -EEXIST. */
MUST_CHECK int lun_find_place(struct pool *pool, const char *name, struct lun_place *place,
                              struct reason *why);
/* Own name, volume and qtree, as @place says. */
void lun_draft_place(struct lun_draft *draft, const struct lun_place *place);

/* -EBUSY if clients have it open and LUN_FORCE is not in @flags. @what: "deleting it". */
MUST_CHECK int lun_check_idle(const struct lun_object *lun, const char *what, unsigned flags,
                              struct reason *why);

/* -EPERM: it is locked until later. @until: its own, or that of what it is part of. */
MUST_CHECK int lock_check(struct pool *pool, uint64_t until_ns, const char *name,
                          struct reason *why);
/* -EPERM: a lock that is still on would end earlier. */
MUST_CHECK int lock_check_change(struct pool *pool, uint64_t until_ns, uint64_t new_until_ns,
                                 const char *name, struct reason *why);
/* -EPERM: @source (a LUN or snapshot), or what it is part of, is locked, and a clone would not be.
 */
MUST_CHECK int lun_check_clonable(struct pool *pool, const struct lun_object *source,
                                  struct reason *why);
/* The same of a volume or of one that was found out: @until_ns and @name. */
MUST_CHECK int lock_check_clone(struct pool *pool, uint64_t until_ns, const char *name,
                                struct reason *why);
/* lock_check() of a LUN or snapshot and of all that it is part of: whether it may be deleted. */
MUST_CHECK int lun_check_unlocked(struct pool *pool, const struct lun_object *lun,
                                  struct reason *why);

/* Whether other content may be put in place of the LUN's: it is not locked, and not open. */
MUST_CHECK int lun_check_restorable(struct pool *pool, const struct lun_object *lun, unsigned flags,
                                    struct reason *why);

/* Puts a changed draft of @lun. */
MUST_CHECK int lun_put_draft(struct pool *pool, struct lun_object *lun,
                             const struct lun_draft *draft, struct reason *why);

#endif
