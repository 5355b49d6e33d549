/* SPDX-License-Identifier: BSD-3-Clause */
/* What all threads of the stress test share: subjects, names, the watchdog, the end on a failure.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lun/base/invariant.h"
#include "tests/stress/stress.h"

_Thread_local struct worker *self;

void doing(const char *what, uint32_t ordinal)
{
    if (!self)
        return;
    atomic_store_explicit(&self->doing_ordinal, ordinal, memory_order_relaxed);
    atomic_store_explicit(&self->doing, what, memory_order_relaxed);
    atomic_fetch_add_explicit(&self->steps, 1, memory_order_relaxed);
}

/* ---- failures ------------------------------------------------------------------------------ */

void print_workers(struct world *world)
{
    for (unsigned i = 0; i < world->worker_count; i++)
    {
        struct worker *worker = &world->workers[i];
        fprintf(stderr, "  %-16s %2u: %s (ordinal %u), step %llu\n", worker->role, i,
                atomic_load(&worker->doing), atomic_load(&worker->doing_ordinal),
                (unsigned long long)atomic_load(&worker->steps));
    }
}

void fail(const char *format, ...)
{
    static _Atomic bool is_failing;
    while (atomic_exchange(&is_failing, true))
        pause(); /* one is enough; the process ends */
    va_list args;
    va_start(args, format);
    fprintf(stderr, "stress: FAILED: ");
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    if (self)
    {
        const struct options *options = &self->world->options;
        fprintf(stderr, "in %s %u, %s; again with: stress --seed %llu --seconds %u%s\n", self->role,
                self->number, atomic_load(&self->doing), (unsigned long long)options->seed,
                options->seconds, options->path ? " --file" : "");
        print_workers(self->world);
    }
    fflush(NULL);
    abort();
}

bool is_off(struct world *world)
{
    return atomic_load(&world->is_cut);
}

static unsigned allowance_of(int r)
{
    switch (r)
    {
    case -ENOSPC:
        return MAY_BE_FULL;
    case -ESTALE:
    case -ENOENT:
        return MAY_BE_GONE;
    case -EEXIST:
        return MAY_EXIST;
    case -EBUSY:
        return MAY_BE_BUSY;
    case -EINVAL:
    case -EPERM:
        return MAY_BE_INVALID;
    default:
        return 0;
    }
}

bool went_well(struct world *world, int r, const char *what, const char *name,
               const struct reason *why, unsigned allowed)
{
    if (r == -ENOSPC)
        atomic_fetch_add(&world->full_count, 1);
    if (r >= 0)
        return true;
    if ((allowance_of(r) & allowed) || is_off(world))
        return false;
    struct pool_info info;
    pool_get_info(world->pool, &info);
    fprintf(stderr,
            "stress: pool blocks: size %llu, available %llu, deferred %llu, reserve %llu, metadata "
            "%llu, data %llu; dirty nodes %llu; journal %llu of %llu bytes; health %d\n",
            (unsigned long long)info.size_bytes / LUN_BLK_BYTES,
            (unsigned long long)info.free_bytes / LUN_BLK_BYTES,
            (unsigned long long)info.deferred_bytes / LUN_BLK_BYTES,
            (unsigned long long)info.reserve_bytes / LUN_BLK_BYTES,
            (unsigned long long)info.metadata_bytes / LUN_BLK_BYTES,
            (unsigned long long)info.data_bytes / LUN_BLK_BYTES,
            (unsigned long long)info.dirty_nodes, (unsigned long long)info.journal_used_bytes,
            (unsigned long long)info.journal_size_bytes, (int)info.health);
    fail("%s of '%s': %s (%s)", what, name, strerror(-r), why ? why->text : "");
}

/* ---- watchdog ------------------------------------------------------------------------------ */

struct watch
{
    uint64_t steps;
    unsigned still_ms;
};

/* How long @worker has not moved. */
static unsigned watch_worker(struct watch *watch, const struct worker *worker, unsigned tick_ms)
{
    uint64_t steps = atomic_load(&worker->steps);
    watch->still_ms = steps == watch->steps ? watch->still_ms + tick_ms : 0;
    watch->steps = steps;
    return watch->still_ms;
}

void *watchdog(void *opaque)
{
    enum
    {
        TICK_MS = 200
    };
    struct world *world = opaque;
    struct worker dog = {.world = world, .role = "the watchdog", .number = WORKERS_MAX};
    self = &dog; /* whose failures show the others */
    doing("watching", 0);
    struct watch watches[WORKERS_MAX] = {0};
    while (!atomic_load(&world->watchdog_stop))
    {
        struct timespec tick = {.tv_nsec = TICK_MS * 1000000};
        nanosleep(&tick, NULL);
        unsigned least_ms = STUCK_ALONE_MS;
        for (unsigned i = 0; i < world->worker_count; i++)
        {
            struct worker *worker = &world->workers[i];
            const char *what = atomic_load(&worker->doing);
            if (!what) /* between two cycles */
                continue;
            unsigned still_ms = watch_worker(&watches[i], worker, TICK_MS);
            least_ms = still_ms < least_ms ? still_ms : least_ms;
            if (still_ms >= STUCK_ALONE_MS)
                fail("%s %u has been in '%s' for %u s", worker->role, i, what, still_ms / 1000);
        }
        if (least_ms >= STUCK_MS && least_ms < STUCK_ALONE_MS)
            fail("nothing moves since %u s:", least_ms / 1000);
    }
    self = NULL;
    return NULL;
}

/* ---- subjects ------------------------------------------------------------------------------ */

void name_new(struct world *world, char *name, const char *letter)
{
    snprintf(name, NAME_BYTES, "%s%u", letter, atomic_fetch_add(&world->next_name, 1));
}

void doubt_add(struct world *world, const char *name)
{
    AUTO_LOCK(&world->lock);
    INVARIANT(world->doubt_count < DOUBTS_MAX);
    snprintf(world->doubts[world->doubt_count++], NAME_BYTES, "%s", name);
}

struct subject *subject_new(struct world *world, uint32_t family, uint32_t ordinal,
                            uint64_t sectors)
{
    struct subject *subject = calloc(1, sizeof(*subject));
    INVARIANT(subject != NULL);
    lock_init(&subject->manage, LOCK_RANK_SERVER);
    rwlock_init(&subject->gate, LOCK_RANK_SESSION);
    for (unsigned i = 0; i < STRIPES; i++)
        lock_init(&subject->stripes[i], LOCK_RANK_LU);
    subject->family = family;
    subject->references = 1;
    atomic_store(&subject->sectors, sectors);
    shadow_init(&subject->shadow, ordinal);
    name_new(world, subject->name, "L");
    return subject;
}

static void subject_free(struct subject *subject)
{
    lock_destroy(&subject->manage);
    rwlock_destroy(&subject->gate);
    for (unsigned i = 0; i < STRIPES; i++)
        lock_destroy(&subject->stripes[i]);
    shadow_destroy(&subject->shadow);
    for (unsigned i = 0; i < subject->snap_count; i++)
        shadow_destroy(&subject->snaps[i].shadow);
    free(subject);
}

void subject_put(struct world *world, struct subject *subject)
{
    if (!subject)
        return;
    bool is_last;
    {
        AUTO_LOCK(&world->lock);
        is_last = --subject->references == 0;
    }
    if (is_last)
        subject_free(subject);
}

bool subject_add(struct world *world, struct subject *subject)
{
    AUTO_LOCK(&world->lock);
    for (unsigned i = 0; i < SUBJECTS_MAX; i++)
    {
        if (world->subjects[i])
            continue;
        world->subjects[i] = subject;
        return true;
    }
    return false;
}

void subject_remove(struct world *world, struct subject *subject)
{
    {
        AUTO_LOCK(&world->lock);
        for (unsigned i = 0; i < SUBJECTS_MAX; i++)
        {
            if (world->subjects[i] == subject)
                world->subjects[i] = NULL;
        }
    }
    subject_put(world, subject);
}

struct subject *subject_pick(struct worker *worker)
{
    struct world *world = worker->world;
    unsigned first = (unsigned)rng_below(&worker->rng, SUBJECTS_MAX);
    AUTO_LOCK(&world->lock);
    for (unsigned i = 0; i < SUBJECTS_MAX; i++)
    {
        struct subject *subject = world->subjects[(first + i) % SUBJECTS_MAX];
        if (!subject)
            continue;
        subject->references++;
        return subject;
    }
    return NULL;
}

void subject_name(struct world *world, struct subject *subject, char *name)
{
    AUTO_LOCK(&world->lock);
    memcpy(name, subject->name, NAME_BYTES);
}

unsigned subject_count(struct world *world)
{
    unsigned n = 0;
    AUTO_LOCK(&world->lock);
    for (unsigned i = 0; i < SUBJECTS_MAX; i++)
        n += world->subjects[i] != NULL;
    return n;
}
