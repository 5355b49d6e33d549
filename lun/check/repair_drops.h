/* SPDX-License-Identifier: BSD-3-Clause */
/* Drop lists that cannot be read: a repair makes them anew. */
#ifndef LUN_CHECK_REPAIR_DROPS_H
#define LUN_CHECK_REPAIR_DROPS_H

#include <stdbool.h>

#include "lun/base/err.h"
#include "lun/check/repair.h"
#include "lun/pool/pool_internal.h"

/* Sets line->is_drops_lost of all lines; *found: there is one. Reads all lists. -ENOMEM. */
MUST_CHECK int repair_find_lost_drops(struct pool *pool, bool *found);

/* Makes the lists of those lines anew, in memory, where they follow from what can be read, and
 * tells of each. Free space must be made anew, and a checkpoint follow. With pool->management. */
MUST_CHECK int repair_remake_drops(struct pool *pool);

#endif
