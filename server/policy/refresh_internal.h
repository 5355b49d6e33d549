/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of refreshes share. */
#ifndef SERVER_POLICY_REFRESH_INTERNAL_H
#define SERVER_POLICY_REFRESH_INTERNAL_H

#include "server/policy/policy_internal.h"
#include "server/policy/refresh.h"

#define REFRESH_PREFIX "policy/refresh/lun/"

/* ---- settings (refresh.c) ------------------------------------------------------------------ */

/* Of the LUN of that id. -ENOENT: there are none, or it is gone. -ENOMEM. */
MUST_CHECK int refresh_load(struct policy *policy, uint64_t lun_id, struct refresh *refresh);
/* What a run leaves of @list: last and boundary_s, if the settings are still there. */
MUST_CHECK int refresh_save_runs(struct policy *policy, const struct refresh *list, size_t count,
                                 struct reason *why);
/* What a run is about to do, so that a start can tell whether it did: see refresh_recover(). */
MUST_CHECK int refresh_note_begin(struct policy *policy, const struct refresh *list, size_t count,
                                  struct reason *why);
/* Runs of a server that ended in between: those that were done are noted so. */
void refresh_recover(struct policy *policy);
/* Whether what @a and @b say of content is the same. */
bool refresh_is_alike(const struct refresh *a, const struct refresh *b);
/* The snapshot of @refresh's LUN that it replaces. -ENOENT. */
MUST_CHECK int refresh_get_undo(struct policy *policy, const struct refresh *refresh,
                                struct lun_info *info);

/* ---- hooks (refresh_mask.c) ---------------------------------------------------------------- */

/* Whether the hook can be called. -ENOENT, -EINVAL; -EPERM: others may change it. */
MUST_CHECK int refresh_check_hook(const struct policy *policy, const char *hook,
                                  struct reason *why);

/* A clone that a hook has worked on. */
struct refresh_mask
{
    char key[POLICY_KEY_MAX]; /* of the note in the store */
    char name[LUN_NAME_MAX + 1];
    char comment[LUN_COMMENT_MAX + 1];
    uint64_t id; /* of the clone; 0: an earlier server made it, if there is one */
};

/* Clones @point and has the hook of @list[0] work on it; refresh_unmask() has to follow. */
MUST_CHECK int refresh_mask(struct policy *policy, const char *point, const struct refresh *list,
                            size_t count, struct refresh_mask *mask, struct reason *why);
/* Deletes the clone. */
void refresh_unmask(struct policy *policy, const struct refresh_mask *mask);
/* Deletes what a server that ended left. */
void refresh_unmask_all(struct policy *policy);

#endif
