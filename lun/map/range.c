/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/map/range.h"

#include <stdbool.h>
#include <stdlib.h>

#include "lun/base/lock.h"

struct range_table
{
    struct lock lock; /* LOCK_RANK_RANGE */
    struct condition released;
    struct list ranges; /* granted and waiting, in order of arrival */
    uint64_t waiters;
};

struct range_table *range_table_create(void)
{
    struct range_table *table = calloc(1, sizeof(*table));
    if (!table)
        return NULL;
    lock_init(&table->lock, LOCK_RANK_RANGE);
    condition_init(&table->released);
    list_init(&table->ranges);
    return table;
}

void range_table_destroy(struct range_table *table)
{
    if (!table)
        return;
    condition_destroy(&table->released);
    lock_destroy(&table->lock);
    free(table);
}

/* Whether one that came earlier, granted or not, overlaps. */
static bool range_is_blocked(const struct range *range)
{
    list_for_each (other, &range->table->ranges, struct range, link)
    {
        if (other == range)
            return false;
        if (other->start < range->end && range->start < other->end)
            return true;
    }
    return false;
}

void range_lock_begin(struct range_table *table, struct range *range, uint64_t start, uint64_t end)
{
    range->table = table;
    range->start = start;
    range->end = end;
    AUTO_LOCK(&table->lock);
    list_add_tail(&table->ranges, &range->link);
}

void range_lock_wait(struct range *range)
{
    struct range_table *table = range->table;
    AUTO_LOCK(&table->lock);
    while (range_is_blocked(range))
    {
        table->waiters++;
        condition_wait(&table->released, &table->lock);
        table->waiters--;
    }
}

void range_lock(struct range_table *table, struct range *range, uint64_t start, uint64_t end)
{
    range_lock_begin(table, range, start, end);
    range_lock_wait(range);
}

void range_unlock(struct range *range)
{
    struct range_table *table = range->table;
    AUTO_LOCK(&table->lock);
    list_remove(&range->link);
    if (table->waiters > 0)
        condition_wake_all(&table->released);
}
