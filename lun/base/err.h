/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Errors: every function that can fail returns 0 or a negative errno.
 *
 *   ENOMEM memory            ENOSPC  pool full              EDQUOT quota
 *   EIO    device            EBADMSG bad checksum or impossible metadata
 *   EROFS  read-only         ENOENT  no such object         EEXIST name taken
 *   EBUSY  in use            EINVAL  bad argument           EAGAIN try again after a checkpoint
 *   ESTALE object is gone (deleted or shrunk under an open handle)      ECANCELED cancelled
 *   ERESTART try again after a checkpoint: the journal was full (never leaves the engine)
 *   ENOTSUP would be slow    ETIMEDOUT lost the race for time          EPERM not allowed
 *
 * A management function also takes a `struct reason *`, which may be NULL: on failure it receives a
 * sentence for the user, in the user's words, with names, figures and the command that helps.
 */
#ifndef LUN_BASE_ERR_H
#define LUN_BASE_ERR_H

#include <stdbool.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_arg, first_arg) __attribute__((format(printf, format_arg, first_arg)))

struct reason
{
    char text[1024]; /* a whole sentence; empty when nothing was said */
};

/* Sets @why (if not NULL) and returns @err, so that a refusal is one statement. */
int reason_set(struct reason *why, int err, const char *format, ...) PRINTF_LIKE(3, 4);

/* Clears @why, which may be NULL. */
void reason_clear(struct reason *why);

/* Drops an error on purpose; @because is for the reader. */
static inline void ignore_error(int err, const char *because)
{
    (void)err;
    (void)because;
}

/* Of two results, the first error. */
static inline int keep_first(int first, int second)
{
    return first < 0 ? first : second;
}

#endif
