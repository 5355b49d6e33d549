/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the salvage share. */
#ifndef LUN_CHECK_SALVAGE_INTERNAL_H
#define LUN_CHECK_SALVAGE_INTERNAL_H

#include "lun/check/repair.h"
#include "lun/lun.h"
#include "lun/pool/tree.h"

/* A LUN or snapshot, or a line whose name is lost. */
struct salvaged
{
    struct salvage_item item;
    struct tree map;
    uint64_t size_bytes; /* the item's, or the largest there can be */
};

struct salvage
{
    struct pool *pool; /* open read-only; or nothing but its superblock is known */
    struct repair *repair;
    enum salvage_way way;
    struct salvaged *found;
    size_t count, capacity;
};

/* Room for one more, zeroed; NULL: no memory. */
struct salvaged *salvage_add(struct salvage *salvage);

/* salvage_catalog.c: fills in what pages say that can be read, without the engine's catalog. */
MUST_CHECK int salvage_read_pages(struct salvage *salvage);

#endif
