/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads that look, check, store, grow and make checkpoints. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/stress/stress.h"

enum
{
    PAUSE_MS = 5,
    STORE_KEYS = 5,
    GROW_BYTES = 1 << 20,
    GROW_LIMIT_BYTES = 12 << 20,
};

/* Lets a moment go by, or less if something happens: looking all the time would leave the others
 * nothing. */
static void breathe(struct world *world, unsigned ms)
{
    struct event *events = NULL;
    size_t n = 0;
    int r = event_list(world->pool, 0, &events, &n);
    uint64_t last = r == 0 && n > 0 ? events[n - 1].id : 0;
    for (size_t i = 1; i < n; i++)
    {
        if (events[i].id != events[i - 1].id + 1)
            fail("event %llu follows event %llu", (unsigned long long)events[i].id,
                 (unsigned long long)events[i - 1].id);
    }
    free(events);
    doing("event_wait", 0);
    r = event_wait(world->pool, last + 20, ms);
    if (r < 0 && r != -ETIMEDOUT)
        fail("event_wait: %s", strerror(-r));
}

/* ---- looking ------------------------------------------------------------------------------- */

static void observe_luns(struct world *world, struct rng *rng)
{
    struct lun_info *list = NULL;
    size_t n = 0;
    doing("lun_list", 0);
    int r = lun_list(world->pool, NULL, &list, &n, NULL);
    if (r < 0)
        fail("lun_list: %s", strerror(-r));
    for (size_t i = 0; i < n; i++)
    {
        bool is_snapshot = list[i].kind == OBJECT_SNAPSHOT;
        if (is_snapshot != (strchr(list[i].name, '@') != NULL) || list[i].size_bytes == 0 ||
            list[i].own_bytes > list[i].mapped_bytes ||
            (is_snapshot && (i == 0 || list[i].lun_id != list[i - 1].lun_id)))
            fail("lun_list shows '%s' as %s", list[i].name, is_snapshot ? "a snapshot" : "a LUN");
    }
    const char *names[8];
    size_t asked = 0;
    for (size_t i = 0; n > 0 && i < 8; i++)
        names[asked++] = list[rng_below(rng, n)].name;
    uint64_t data, metadata;
    struct reason why;
    doing("lun_freed_if_deleted of several", 0);
    r = lun_freed_if_deleted(world->pool, names, asked, &data, &metadata, &why);
    ignore_error(
        went_well(world, r, "lun_freed_if_deleted", "several", &why, MAY_BE_GONE | MAY_BE_INVALID),
        "only its errors count");
    free(list);
}

static void observe_pool(struct world *world)
{
    struct pool_info info;
    doing("pool_get_info", 0);
    pool_get_info(world->pool, &info);
    if (info.health >= POOL_READ_ONLY && !is_off(world))
        fail("the pool is %s", pool_health_name(info.health));
    struct line_info *lines = NULL;
    size_t n = 0;
    doing("pool_list_lines", 0);
    int r = pool_list_lines(world->pool, &lines, &n);
    if (r < 0)
        fail("pool_list_lines: %s", strerror(-r));
    free(lines);
    struct job_info *jobs = NULL;
    doing("job_list", 0);
    r = job_list(world->pool, &jobs, &n);
    if (r < 0)
        fail("job_list: %s", strerror(-r));
    uint64_t id = n > 0 ? jobs[0].id : 0;
    free(jobs);
    doing("job_wait", 0);
    r = job_wait(world->pool, id, 50);
    if (r < 0 && r != -ETIMEDOUT && !is_off(world))
        fail("job_wait: %s", strerror(-r));
}

static void dump_cb(void *opaque, const char *text)
{
    *(size_t *)opaque += strlen(text);
}

static void observe_dump(struct world *world, struct rng *rng)
{
    static const char *const what[] = {"superblock", "groups",  "objects",
                                       "lines",      "journal", "map x0"};
    size_t len = 0;
    const char *one = what[rng_below(rng, 6)];
    doing("pool_dump", 0);
    struct reason why;
    int r = pool_dump(world->pool, one, dump_cb, &len, &why);
    ignore_error(went_well(world, r, "pool_dump", one, &why, MAY_BE_GONE | MAY_BE_BUSY),
                 "only its errors count");
}

static void scrub_cb(void *opaque, bool is_error, const char *text)
{
    (void)opaque, (void)is_error;
    fprintf(stderr, "pool_scrub: %s\n", text);
}

/* One after the other: whatever goes on beside it, it finds nothing. */
static void observe_scrub(struct world *world)
{
    struct scrub_info info;
    doing("pool_scrub_get", 0);
    int r = pool_scrub_get(world->pool, &info, NULL, NULL);
    if (r < 0)
        fail("pool_scrub_get: %s", strerror(-r));
    if ((info.damaged_blks > 0 || info.error < 0) && !is_off(world))
    {
        ignore_error(pool_scrub_get(world->pool, &info, scrub_cb, NULL), "it fails below");
        fail("a scrub found %llu damaged blocks, error %d", (unsigned long long)info.damaged_blks,
             info.error);
    }
    if (info.is_running)
        return;
    uint64_t id;
    doing("pool_scrub_start", 0);
    struct scrub_options options = {.rate_bytes = info.id % 2 ? 64 << 20 : 0};
    struct reason why;
    r = pool_scrub_start(world->pool, &options, &id, &why);
    ignore_error(went_well(world, r, "pool_scrub_start", "the pool", &why, 0),
                 "only its errors count");
    count(world, COUNT_SCRUBS);
}

void work_observe(struct worker *worker)
{
    struct world *world = worker->world;
    while (!atomic_load(&world->stop))
    {
        observe_luns(world, &worker->rng);
        observe_pool(world);
        observe_dump(world, &worker->rng);
        observe_scrub(world);
        breathe(world, PAUSE_MS);
    }
}

/* ---- checking ------------------------------------------------------------------------------ */

static void check_cb(void *opaque, bool is_error, const char *text)
{
    struct world *world = opaque;
    if (is_error && !is_off(world))
        fprintf(stderr, "pool_check: %s\n", text);
}

void work_check(struct worker *worker)
{
    struct world *world = worker->world;
    while (!atomic_load(&world->stop))
    {
        struct check_result result;
        doing("pool_check", 0);
        int r = pool_check(world->pool, check_cb, world, &result);
        if (went_well(world, r, "pool_check", "the pool", NULL, 0) && result.errors &&
            !is_off(world))
            fail("pool_check found %llu errors", (unsigned long long)result.errors);
        count(world, COUNT_CHECKS);
        for (unsigned i = 0; i < 20 && !atomic_load(&world->stop); i++)
            breathe(world, PAUSE_MS);
    }
}

/* ---- the store ----------------------------------------------------------------------------- */

/* Each thread has its keys, which always have one value; so says every look, also after a crash. */
struct store_look
{
    uint64_t value;
    unsigned n;
};

static int store_each(void *opaque, const char *key, const void *value, size_t len)
{
    struct store_look *look = opaque;
    uint64_t one;
    if (len < sizeof(one))
        fail("the store has %zu bytes at '%s'", len, key);
    memcpy(&one, value, sizeof(one));
    if (look->n > 0 && one != look->value)
        fail("the store has %llu at '%s', %llu beside it", (unsigned long long)one, key,
             (unsigned long long)look->value);
    look->value = one;
    look->n++;
    return 0;
}

static uint64_t store_look(struct world *world, unsigned thread)
{
    char prefix[NAME_BYTES];
    struct store_look look = {0};
    snprintf(prefix, sizeof(prefix), "t%u/", thread);
    doing("store_list", 0);
    int r = store_list(world->pool, prefix, store_each, &look);
    if (r < 0 || (look.n != 0 && look.n != STORE_KEYS))
        fail("store_list of '%s': %d, %u keys", prefix, r, look.n);
    return look.value;
}

static _Atomic uint64_t store_acked[WORKERS_MAX], store_started[WORKERS_MAX];

void work_store(struct worker *worker)
{
    struct world *world = worker->world;
    char keys[STORE_KEYS][NAME_BYTES];
    uint8_t value[2000];
    struct store_change changes[STORE_KEYS];
    while (!atomic_load(&world->stop))
    {
        uint64_t number = atomic_load(&store_started[worker->number]) + 1;
        memset(value, (int)(number & 0xff), sizeof(value));
        memcpy(value, &number, sizeof(number));
        size_t len = rng_between(&worker->rng, 8, sizeof(value));
        for (unsigned i = 0; i < STORE_KEYS; i++)
        {
            snprintf(keys[i], NAME_BYTES, "t%u/%u", worker->number, i);
            changes[i] = (struct store_change){.key = keys[i], .value = value, .len = len};
        }
        atomic_store(&store_started[worker->number], number);
        struct reason why;
        doing("store_apply", 0);
        int r = store_apply(world->pool, changes, STORE_KEYS, &why);
        if (went_well(world, r, "store_apply", keys[0], &why, MAY_BE_FULL))
        {
            atomic_store(&store_acked[worker->number], number);
            if (store_look(world, worker->number) != number)
                fail("the store does not have what was put: %llu", (unsigned long long)number);
        }
        breathe(world, PAUSE_MS);
    }
}

void store_verify(struct world *world)
{
    for (unsigned i = 0; i < WORKERS_MAX; i++)
    {
        uint64_t low = atomic_load(&store_acked[i]), high = atomic_load(&store_started[i]);
        uint64_t found = high ? store_look(world, i) : 0;
        if (found < low || found > high)
            fail("the store has %llu for thread %u, must have %llu to %llu",
                 (unsigned long long)found, i, (unsigned long long)low, (unsigned long long)high);
    }
}

/* ---- space --------------------------------------------------------------------------------- */

static void space_grow(struct world *world)
{
    struct pool_info info;
    pool_get_info(world->pool, &info);
    uint64_t size_bytes = info.size_bytes + GROW_BYTES;
    if (size_bytes > GROW_LIMIT_BYTES)
        return;
    struct reason why;
    doing("pool_grow", 0);
    int r = pool_grow(world->pool, size_bytes, &why);
    if (went_well(world, r, "pool_grow", "the pool", &why, 0))
        atomic_store(&world->grown_bytes, info.size_bytes + 1);
}

void work_space(struct worker *worker)
{
    struct world *world = worker->world;
    while (!atomic_load(&world->stop))
    {
        doing("pool_checkpoint", 0);
        int r = pool_checkpoint(world->pool);
        ignore_error(went_well(world, r, "pool_checkpoint", "the pool", NULL, 0),
                     "only its errors count");
        if (rng_percent(&worker->rng, 5))
            space_grow(world);
        for (uint64_t i = rng_below(&worker->rng, 10); i-- > 0 && !atomic_load(&world->stop);)
            breathe(world, PAUSE_MS);
    }
}
