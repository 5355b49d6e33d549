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
#include "lun/base/lock.h"

struct range_table;

/* One locked or waiting range, [start, end), in whatever unit all users of the table share. */
struct range
{
    struct list link;
    struct range_table *table;
    uint64_t start, end;
    struct range_hold *hold; /* whoever is behind it waits there; NULL: at the table */
    uint64_t round;
};

#define RANGE_ALL UINT64_MAX

struct range_table *range_table_create(void); /* NULL without memory */
void range_table_destroy(struct range_table *table);

/* Waits for it. */
void range_lock(struct range_table *table, struct range *range, uint64_t start, uint64_t end);
void range_unlock(struct range *range);

/*
 * Everything of many tables at once. All are asked for, then all are waited for, so that their
 * writes drain side by side; and those who wait behind any of them are woken together, after all
 * were let go: one woken before the others would take the processor from whoever is to wake them.
 * One thread at a time does that (pool->management).
 */
struct range_hold
{
    struct lock lock; /* LOCK_RANK_RANGE */
    struct condition over;
    uint64_t rounds_over;
};

void range_hold_init(struct range_hold *hold);
void range_hold_destroy(struct range_hold *hold);
void range_hold_ask(struct range_hold *hold, struct range_table *table, struct range *range);
void range_hold_wait(struct range *range);
/* Of each, then the end of all. */
void range_hold_leave(struct range *range);
void range_hold_end(struct range_hold *hold);

#endif
