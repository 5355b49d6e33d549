/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The counting LUN: one thread writes 1, 2, 3, ... to spots in turn, another makes clones of it.
 *
 * Since each number is written after the one before was acknowledged, a clone that holds n must
 * hold the whole row up to n: spot i has the largest number up to n that belongs there. n is at
 * least what was acknowledged when the clone began, at most what had begun when it returned. All
 * clones of one command hold the same n.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/invariant.h"
#include "tests/stress/stress.h"

enum
{
    SPOTS = 64,
    SPOT_SECTORS = 5, /* so that some spots share a block and others do not */
    COUNTER_SECTORS = SPOTS * SPOT_SECTORS,
    COUNTER_FAMILY = 2,
    CLONES_KEPT = 6,
    CLONES_AT_ONCE = 3,
    FLUSH_EVERY = 50,
};

#define COUNTER_NAME "counter"

struct counter_state
{
    _Atomic uint64_t acked, started, durable;
    bool is_there; /* no room for it otherwise: this cycle goes without */
};

struct counter_state *counter_new(struct world *world)
{
    struct counter_state *counter = calloc(1, sizeof(*counter));
    INVARIANT(counter != NULL);
    world->counter = counter;
    counter_restart(world, false);
    return counter;
}

static uint64_t spot_lba(uint64_t number)
{
    return number % SPOTS * SPOT_SECTORS;
}

/* The largest number up to @n that belongs to @spot; 0: none. */
static uint64_t spot_number(uint64_t spot, uint64_t n)
{
    uint64_t back = (n % SPOTS + SPOTS - spot) % SPOTS;
    return n > back ? n - back : 0;
}

static int counter_write(struct world *world, struct lun *lun, uint64_t number)
{
    uint8_t bytes[SECTOR_BYTES];
    sector_fill(bytes, COUNTER_FAMILY, 2, spot_lba(number), (uint32_t)number);
    atomic_store(&world->counter->started, number);
    doing("lun_write of a number", 2);
    return lun_write(lun, bytes, sizeof(bytes), spot_lba(number) * SECTOR_BYTES, 0);
}

void work_counter(struct worker *worker)
{
    struct world *world = worker->world;
    struct counter_state *counter = world->counter;
    struct lun *lun;
    if (!counter->is_there)
        return;
    int r = lun_open(world->pool, COUNTER_NAME, 0, &lun, NULL);
    if (!went_well(world, r, "lun_open", COUNTER_NAME, NULL, 0))
        return;
    uint64_t number = atomic_load(&counter->acked) + 1;
    while (!atomic_load(&world->stop))
    {
        r = counter_write(world, lun, number);
        if (!went_well(world, r, "lun_write", COUNTER_NAME, NULL, MAY_BE_FULL))
            continue; /* again, the same number */
        atomic_store(&counter->acked, number);
        if (number++ % FLUSH_EVERY != 0)
            continue;
        doing("lun_flush of a number", 2);
        r = lun_flush(lun);
        if (went_well(world, r, "lun_flush", COUNTER_NAME, NULL, 0))
            atomic_store(&counter->durable, number - 1);
    }
    lun_close(lun);
}

/* The number in each spot. False: it could not be read. */
static bool counter_read(struct world *world, const char *name, uint64_t *numbers)
{
    static _Thread_local uint8_t bytes[COUNTER_SECTORS * SECTOR_BYTES];
    struct lun *lun;
    doing("reading numbers", 2);
    int r = lun_open(world->pool, name, LUN_READ_ONLY, &lun, NULL);
    if (!went_well(world, r, "lun_open", name, NULL, 0))
        return false;
    r = read_some(lun, bytes, sizeof(bytes), 0);
    lun_close(lun);
    if (!went_well(world, r, "lun_read", name, NULL, 0))
        return false;
    for (uint64_t lba = 0; lba < COUNTER_SECTORS; lba++)
    {
        uint32_t version;
        bool is_zero;
        const char *wrong = sector_judge(world, bytes + lba * SECTOR_BYTES, COUNTER_FAMILY, 0, lba,
                                         &version, &is_zero);
        if (wrong || (lba % SPOT_SECTORS != 0 && !is_zero))
            fail("'%s' sector %llu: %s", name, (unsigned long long)lba,
                 wrong ? wrong : "written by nobody");
        if (lba % SPOT_SECTORS == 0)
            numbers[lba / SPOT_SECTORS] = version;
    }
    return true;
}

/* Which n the clone is of. */
static bool counter_check_clone(struct world *world, const char *name, uint64_t low, uint64_t high,
                                uint64_t *n)
{
    uint64_t numbers[SPOTS];
    if (!counter_read(world, name, numbers))
        return false;
    *n = 0;
    for (unsigned i = 0; i < SPOTS; i++)
        *n = numbers[i] > *n ? numbers[i] : *n;
    if (*n < low || *n > high)
        fail("'%s' holds the numbers up to %llu, must hold %llu to %llu", name,
             (unsigned long long)*n, (unsigned long long)low, (unsigned long long)high);
    for (unsigned i = 0; i < SPOTS; i++)
    {
        if (numbers[i] != spot_number(i, *n))
            fail("'%s' holds number %llu but %llu in spot %u, where %llu belongs", name,
                 (unsigned long long)*n, (unsigned long long)numbers[i], i,
                 (unsigned long long)spot_number(i, *n));
    }
    return true;
}

static void counter_delete(struct world *world, const char *name)
{
    struct reason why;
    doing("lun_delete of a counter's clone", 2);
    int r = lun_delete(world->pool, name, true, LUN_FORCE, &why);
    ignore_error(went_well(world, r, "lun_delete", name, &why, 0), "checked there");
}

/* One round; *round: 0 to CLONES_KEPT - 1, whose clones are replaced. */
static void counter_clone_round(struct world *world, struct rng *rng, unsigned round)
{
    struct counter_state *counter = world->counter;
    char name[NAME_BYTES];
    snprintf(name, sizeof(name), "k%u.%%d", round);
    struct lun_clone_args args = {.source = COUNTER_NAME, .name = name, .count = CLONES_AT_ONCE};
    bool by_snapshot = rng_percent(rng, 25);
    struct reason why;
    uint64_t low = atomic_load(&counter->acked);
    int r = 0;
    if (by_snapshot)
    {
        doing("snapshot_create of the counter", 2);
        r = snapshot_create(world->pool, COUNTER_NAME, "k", NULL, &why);
        args.source = COUNTER_NAME "@k";
    }
    uint64_t high = atomic_load(&counter->started);
    doing("lun_clone of the counter", 2);
    if (r == 0)
        r = lun_clone(world->pool, &args, &why);
    if (!by_snapshot)
        high = atomic_load(&counter->started);
    bool is_made = went_well(world, r, "lun_clone", COUNTER_NAME, &why, MAY_BE_FULL | MAY_EXIST);
    uint64_t first = 0, n;
    for (unsigned i = 0; is_made && i < CLONES_AT_ONCE; i++)
    {
        snprintf(name, sizeof(name), "k%u.%u", round, i);
        if (!counter_check_clone(world, name, low, high, &n))
            return;
        if (i > 0 && n != first)
            fail("clones of one command hold the numbers up to %llu and %llu",
                 (unsigned long long)first, (unsigned long long)n);
        first = n;
    }
    count(world, COUNT_PREFIXES);
    if (!by_snapshot)
        return;
    doing("snapshot_delete of the counter", 2);
    r = snapshot_delete(world->pool, COUNTER_NAME, "k", LUN_FORCE, &why);
    ignore_error(went_well(world, r, "snapshot_delete", COUNTER_NAME, &why, MAY_BE_GONE),
                 "it may not have been made");
}

void work_counter_clones(struct worker *worker)
{
    struct world *world = worker->world;
    for (unsigned round = 0; world->counter->is_there && !atomic_load(&world->stop);
         round = (round + 1) % CLONES_KEPT)
    {
        for (unsigned i = 0; i < CLONES_AT_ONCE; i++)
        {
            char name[NAME_BYTES];
            struct lun_info info;
            snprintf(name, sizeof(name), "k%u.%u", round, i);
            if (lun_get_info(world->pool, name, &info, NULL) == 0)
                counter_delete(world, name);
        }
        counter_clone_round(world, &worker->rng, round);
    }
}

/* After a cut, each spot has at least what was durable. */
static void counter_verify(struct world *world, bool was_cut)
{
    struct counter_state *counter = world->counter;
    uint64_t low = atomic_load(was_cut ? &counter->durable : &counter->acked);
    uint64_t high = atomic_load(&counter->started), numbers[SPOTS];
    if (!counter_read(world, COUNTER_NAME, numbers))
        return;
    for (unsigned i = 0; i < SPOTS; i++)
    {
        if (numbers[i] < spot_number(i, low) || numbers[i] > high ||
            (numbers[i] && numbers[i] % SPOTS != i))
            fail("spot %u of the counting LUN has %llu, must have at least %llu", i,
                 (unsigned long long)numbers[i], (unsigned long long)spot_number(i, low));
    }
}

void counter_restart(struct world *world, bool was_cut)
{
    struct lun_info info;
    struct reason why;
    if (lun_get_info(world->pool, COUNTER_NAME, &info, NULL) == 0)
    {
        counter_verify(world, was_cut);
        counter_delete(world, COUNTER_NAME);
    }
    else if (world->counter->is_there)
    {
        fail("the counting LUN is gone");
    }
    atomic_store(&world->counter->acked, 0);
    atomic_store(&world->counter->started, 0);
    atomic_store(&world->counter->durable, 0);
    struct lun_create_args args = {.name = COUNTER_NAME,
                                   .size_bytes = COUNTER_SECTORS * SECTOR_BYTES};
    int r = lun_create(world->pool, &args, &why);
    if (r < 0 && r != -ENOSPC)
        fail("the counting LUN cannot be made: %s (%s)", strerror(-r), why.text);
    world->counter->is_there = r == 0;
}
