/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Extents of a LUN that were looked up lately, found again without a lock.
 *
 * An entry says what the map said while its version was in force, and every change of the map steps
 * the version. So whoever is inside an epoch, then reads the version, then finds an entry of that
 * version, has looked at the map at the moment it read the version: nothing else may be concluded,
 * and nothing but reads may go by it. Holes are not kept.
 */
#ifndef LUN_MAP_MEMO_H
#define LUN_MAP_MEMO_H

#include <stdbool.h>
#include <stdint.h>

#include "lun/map/emap.h"

struct memo;

/* Made when the first entry is put, by the size the LUN has then; or not, without memory. */
struct memo_place
{
    _Atomic(struct memo *) memo;
    _Atomic uint64_t version;
};

/* Once the map is another one, and before a block that it named may be used again. */
void memo_step(struct memo_place *place);

/* For memo_put(): taken before the look at the map. */
uint64_t memo_version(const struct memo_place *place);

/* The rest of a known extent from @lba on, at most @max_blks. Inside an epoch. Never blocks. */
bool memo_find(const struct memo_place *place, uint64_t lba, uint64_t max_blks,
               struct emap_run *run);

/* @extent holds @lba, as found after @version was taken. @size_blks: of the LUN. */
void memo_put(struct memo_place *place, uint64_t version, const struct emap_run *extent,
              uint64_t lba, uint64_t size_blks);

/* When nobody uses the place any more. */
void memo_destroy(struct memo_place *place);

#endif
