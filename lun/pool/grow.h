/* SPDX-License-Identifier: BSD-3-Clause */
/* Which 'lunette pool grow' helps, for messages. What grows a pool is in lun.h. */
#ifndef LUN_POOL_GROW_H
#define LUN_POOL_GROW_H

#include <stdint.h>

struct pool;

struct grow_text
{
    char text[128];
};

/*
 * "'lunette pool grow +126M' enlarges it": by so much that @lacking_blks more can be taken; 0: by a
 * good part of what it has. To be typed as it stands. Takes the space's lock; asks the device for
 * its size.
 */
struct grow_text grow_advice(struct pool *pool, uint64_t lacking_blks);

#endif
