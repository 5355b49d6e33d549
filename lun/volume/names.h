/* SPDX-License-Identifier: BSD-3-Clause */
/* Names of LUNs and snapshots, and the numbering of clones made together. */
#ifndef LUN_VOLUME_NAMES_H
#define LUN_VOLUME_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "lun/base/err.h"

/* A LUN's or a snapshot's own name. @what for the message: "LUN", "snapshot". */
MUST_CHECK int name_check(const char *name, const char *what, struct reason *why);

/* "LUN@SNAPSHOT" into @full (@size bytes). */
MUST_CHECK int name_join(char *full, size_t size, const char *lun, const char *snapshot,
                         struct reason *why);

/* Name number @number of a template with one %d, %u or %0Nd. */
MUST_CHECK int name_from_template(char *name, size_t size, const char *template, uint32_t number,
                                  struct reason *why);

#endif
