/* SPDX-License-Identifier: BSD-3-Clause */
/* Names of LUNs, volumes, qtrees and snapshots, and the numbering of clones made together. */
#ifndef LUN_VOLUME_NAMES_H
#define LUN_VOLUME_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "lun/limits.h"

/* The own name of something: one part. @what for the message: "LUN", "snapshot". */
MUST_CHECK int name_check(const char *name, const char *what, struct reason *why);

/* "/vol/VOLUME/LUN" is the same as "VOLUME/LUN". NULL stays NULL. */
const char *name_strip(const char *name);

/* The last part of a full name. */
const char *name_own(const char *full);

/* As much of @from (NULL: "") as fits, into @to. */
void name_copy(char *to, size_t size, const char *from);

/* A LUN's path, taken apart: "LUN", "VOLUME/LUN" or "VOLUME/QTREE/LUN". */
struct name_path
{
    char volume[LUN_NAME_MAX + 1]; /* "": in none */
    char qtree[LUN_NAME_MAX + 1];  /* its path, "VOLUME/QTREE"; "": in none */
    const char *lun;               /* the own name, in the path that was given */
};

/* @path without "/vol/". The whole and its parts are names that a LUN can have. */
MUST_CHECK int name_split(const char *path, struct name_path *parts, struct reason *why);

/* A LUN's or a volume's name and its snapshot's, "LUN@SNAPSHOT", into @full (@size bytes). */
MUST_CHECK int name_join(char *full, size_t size, const char *lun, const char *snapshot,
                         struct reason *why);

/* Name number @number of a template with one %d, %u or %0Nd. */
MUST_CHECK int name_from_template(char *name, size_t size, const char *template, uint32_t number,
                                  struct reason *why);

#endif
