/* SPDX-License-Identifier: BSD-3-Clause */
/* Proving that the objects of the catalog agree with each other. */
#ifndef LUN_CHECK_OBJECTS_H
#define LUN_CHECK_OBJECTS_H

#include "lun/lun.h"

/* Tells each contradiction among LUNs, volumes, qtrees and volume snapshots. With management and
 * the CP gate held. */
void objects_check(struct pool *pool, check_report_fn *report, void *opaque);

#endif
