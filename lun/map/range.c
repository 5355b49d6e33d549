/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/map/range.h"

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

/* The first of those that came earlier, granted or not, and overlap. */
static const struct range *range_blocker(const struct range *range)
{
    list_for_each (other, &range->table->ranges, struct range, link)
    {
        if (other == range)
            return NULL;
        if (other->start < range->end && range->start < other->end)
            return other;
    }
    return NULL;
}

static void range_ask(struct range_table *table, struct range *range)
{
    AUTO_LOCK(&table->lock);
    list_add_tail(&table->ranges, &range->link);
}

/* Until the round is over. The range that named it may be gone by then. */
static void range_wait_for_round(struct range_hold *hold, uint64_t round)
{
    AUTO_LOCK(&hold->lock);
    while (hold->rounds_over < round)
        condition_wait(&hold->over, &hold->lock);
}

/* Each waits for the first one that blocks it, and where that one says. */
static void range_wait(struct range *range)
{
    struct range_table *table = range->table;
    const struct range *blocker;
    lock_take(&table->lock);
    while ((blocker = range_blocker(range)))
    {
        struct range_hold *hold = blocker->hold;
        uint64_t round = blocker->round;
        if (hold)
        {
            lock_release(&table->lock);
            range_wait_for_round(hold, round);
            lock_take(&table->lock);
            continue;
        }
        table->waiters++;
        condition_wait(&table->released, &table->lock);
        table->waiters--;
    }
    lock_release(&table->lock);
}

void range_lock(struct range_table *table, struct range *range, uint64_t start, uint64_t end)
{
    *range = (struct range){.table = table, .start = start, .end = end};
    range_ask(table, range);
    range_wait(range);
}

void range_unlock(struct range *range)
{
    struct range_table *table = range->table;
    AUTO_LOCK(&table->lock);
    list_remove(&range->link);
    if (table->waiters > 0)
        condition_wake_all(&table->released);
}

/* ---- many at once -------------------------------------------------------------------------- */

void range_hold_init(struct range_hold *hold)
{
    lock_init(&hold->lock, LOCK_RANK_RANGE);
    condition_init(&hold->over);
    hold->rounds_over = 0;
}

void range_hold_destroy(struct range_hold *hold)
{
    condition_destroy(&hold->over);
    lock_destroy(&hold->lock);
}

void range_hold_ask(struct range_hold *hold, struct range_table *table, struct range *range)
{
    /* Only the thread that asks ends rounds: it needs no lock to read what it wrote. */
    *range = (struct range){
        .table = table, .start = 0, .end = RANGE_ALL, .hold = hold, .round = hold->rounds_over + 1};
    range_ask(table, range);
}

void range_hold_wait(struct range *range)
{
    range_wait(range);
}

void range_hold_leave(struct range *range)
{
    AUTO_LOCK(&range->table->lock);
    list_remove(&range->link);
}

void range_hold_end(struct range_hold *hold)
{
    AUTO_LOCK(&hold->lock);
    hold->rounds_over++;
    condition_wake_all(&hold->over);
}
