/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Snapshots that the server makes for itself, to read one point in time of a LUN for a while.
 *
 * Always true: as long as there is one, a note in the store says so, under a prefix of who made it;
 * so the next server removes what a crash left.
 */
#ifndef SERVER_MOMENT_H
#define SERVER_MOMENT_H

#include "lun/lun.h"

struct moment
{
    const char *prefix;              /* of its note: "scsi/odx/" */
    uint64_t lun_id;                 /* whose: it may be renamed meanwhile */
    char snapshot[LUN_NAME_MAX + 1]; /* without "LUN@"; "": there is none */
};

/* @moment says of which LUN, with which name and prefix. */
MUST_CHECK int moment_create(struct pool *pool, const struct moment *moment, const char *comment,
                             struct reason *why);
/* Of the present name of its LUN, to read. */
MUST_CHECK int moment_open(struct pool *pool, const struct moment *moment, struct lun **handle,
                           struct reason *why);
/* Also from under open handles. What cannot be deleted now is at the next start. */
void moment_delete(struct pool *pool, const struct moment *moment);
/* Those that earlier servers left. */
MUST_CHECK int moment_delete_left(struct pool *pool, const char *prefix);

#endif
