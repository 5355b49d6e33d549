/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Locked ranges of a LUN.
 *
 * Every write, unmap and copy holds its range from before it looks at the map until its data is on
 * the device and its record applied, so that nothing it decided can change under it. A freeze, a
 * resize or a delete locks everything: that drains the writes in flight. Waiters are served in
 * order of arrival where their ranges meet, so that a stream of writes cannot hold up a freeze.
 *
 * A locked range is held across I/O; no other lock is held while one waits for it, except
 * pool->management.
 */
#ifndef LUN_MAP_RANGE_H
#define LUN_MAP_RANGE_H

#include <stdint.h>

#include "lun/base/list.h"

struct range_table;

/* One locked or waiting range, [start, end), in whatever unit all users of the table share. */
struct range
{
    struct list link;
    struct range_table *table;
    uint64_t start, end;
};

#define RANGE_ALL UINT64_MAX

struct range_table *range_table_create(void); /* NULL without memory */
void range_table_destroy(struct range_table *table);

/* Waits for it. */
void range_lock(struct range_table *table, struct range *range, uint64_t start, uint64_t end);
/* The same in two steps, for ranges of many LUNs: all are asked for, then all are waited for, so
 * that their writes drain side by side. One thread at a time does that (pool->management). */
void range_lock_begin(struct range_table *table, struct range *range, uint64_t start, uint64_t end);
void range_lock_wait(struct range *range);
void range_unlock(struct range *range);

#endif
