/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The stress test: many threads on one pool, every answer checked.
 *
 * A subject is a LUN whose content is known: each sector says family, ordinal, place and version,
 * and the subject's shadow says which versions a sector may hold. Writers of a subject take a
 * stripe lock, so that a sector has one writer at a time; readers take none. Families tell LUNs
 * that share no blocks apart; ordinals tell the lines of a family apart, an ancestor's may show
 * through.
 *
 * Beside the subjects there are the chaos LUNs (work_chaos.c), on which all is done at once without
 * a lock of ours, and only what a sector says of itself is checked.
 *
 * A run is a row of cycles: threads work for a while, then the power is cut (on a simulated disk)
 * or the pool is closed; it is opened again, and all that was durable must be there.
 */
#ifndef TESTS_STRESS_STRESS_H
#define TESTS_STRESS_STRESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lun/base/lock.h"
#include "lun/lun.h"
#include "tests/lib/rng.h"
#include "tests/lib/simdev.h"

enum
{
    SECTOR_BYTES = 512,
    STRIPES = 16,        /* locks; a stripe's lock is that of its number modulo this */
    STRIPE_SECTORS = 61, /* odd, so that stripes meet inside blocks */
    SECTORS_MAX = 4096,  /* of a subject */
    SUBJECTS_MAX = 24,
    SNAPS_MAX = 3,
    NAME_BYTES = 40,
    ORDINALS_MAX = 1 << 20,
    DOUBTS_MAX = 256,
    WORKERS_MAX = 64,
    STUCK_MS = 120000,       /* nothing moves */
    STUCK_ALONE_MS = 300000, /* one thread does not, while others do */
};

/* ---- sectors and what they may hold (content.c) */

/*
 * Versions per sector: it holds one of [acked, started]; zeros only if zeroed is in there. A freeze
 * gives the LUN a new ordinal, so that what it writes from then on is known if it leaks.
 */
struct shadow
{
    _Atomic uint32_t ordinal;
    _Atomic uint32_t *acked, *started, *zeroed;
    _Atomic uint32_t *durable; /* it is at least this after a power cut */
};

void shadow_init(struct shadow *shadow, uint32_t ordinal);
void shadow_destroy(struct shadow *shadow);
/* The two halves of a freeze: call before and after the command that makes @to of @from. */
void shadow_copy_before(struct shadow *to, const struct shadow *from);
void shadow_copy_after(struct shadow *to, const struct shadow *from);
/* Sectors [lba, lba + n) become zeros: before and after the command. */
void shadow_begin(struct shadow *shadow, uint64_t lba, uint64_t n, bool is_zero);
void shadow_end(struct shadow *shadow, uint64_t lba, uint64_t n, bool is_durable);

struct world;
uint32_t ordinal_new(struct world *world, uint32_t parent);

void sector_fill(uint8_t *bytes, uint32_t family, uint32_t ordinal, uint64_t lba, uint32_t version);
/* NULL: right for a sector of that family, else what is wrong. *is_zero, *version: what it says.
 * @ordinal 0: any. */
const char *sector_judge(struct world *world, const uint8_t *bytes, uint32_t family,
                         uint32_t ordinal, uint64_t lba, uint32_t *version, bool *is_zero);

/* ---- subjects */

struct snap
{
    char name[NAME_BYTES]; /* without the LUN's */
    uint64_t sectors;
    struct shadow shadow;
};

struct subject
{
    struct lock manage; /* LOCK_RANK_SERVER: one command of ours at a time */
    struct rwlock gate; /* LOCK_RANK_SESSION: shared by I/O; exclusive: content is replaced */
    struct lock stripes[STRIPES]; /* LOCK_RANK_LU */
    char name[NAME_BYTES];        /* under world->lock */
    uint32_t family;
    _Atomic uint64_t sectors;     /* under gate */
    _Atomic bool is_deleted;      /* a delete has begun */
    bool is_doubtful;             /* a command ended by the power cut: under manage */
    struct shadow shadow;         /* its ordinal under gate */
    struct snap snaps[SNAPS_MAX]; /* under manage */
    unsigned snap_count;
    unsigned references; /* under world->lock */
};

struct worker
{
    struct world *world;
    pthread_t thread;
    const char *role;
    void (*run)(struct worker *worker);
    struct rng rng;
    unsigned number;
    const char *_Atomic doing;
    _Atomic uint32_t doing_ordinal;
    _Atomic uint64_t steps;
};

struct options
{
    uint64_t seed;
    unsigned seconds;
    unsigned cycle_ms;
    unsigned io_threads, manage_threads;
    const char *path; /* of the pool's file; NULL: a simulated disk */
    bool is_verbose;
};

struct world
{
    struct options options;
    struct pool *pool;
    struct simdev *disk;
    _Atomic bool stop;
    _Atomic bool is_cut; /* the power is off, or about to be */
    struct lock lock;    /* LOCK_RANK_LEAF */
    struct subject *subjects[SUBJECTS_MAX];
    char doubts[DOUBTS_MAX][NAME_BYTES]; /* names that may or may not be there; under lock */
    unsigned doubt_count;
    _Atomic uint32_t next_ordinal, next_name, next_family;
    uint32_t *parents; /* of ordinals; written before the ordinal is used */
    struct worker workers[WORKERS_MAX];
    unsigned worker_count;
    _Atomic bool watchdog_stop;
    _Atomic uint64_t grown_bytes;
    _Atomic uint64_t full_count; /* -ENOSPC seen */
    _Atomic uint64_t counts[16]; /* of what was done, for the last line */
    struct counter_state *counter;
    struct lock hook_lock; /* LOCK_RANK_MANAGEMENT: so the hook is called without engine locks */
};

enum count
{
    COUNT_WRITES,
    COUNT_READS,
    COUNT_ZEROS,
    COUNT_FLUSHES,
    COUNT_CLONES,
    COUNT_SNAPSHOTS,
    COUNT_RESTORES,
    COUNT_DELETES,
    COUNT_RESIZES,
    COUNT_CHECKS,
    COUNT_SCRUBS,
    COUNT_CHAOS,
    COUNT_PREFIXES,
    COUNT_CYCLES,
    COUNTS,
};

static inline void count(struct world *world, enum count what)
{
    atomic_fetch_add_explicit(&world->counts[what], 1, memory_order_relaxed);
}

/* ---- world.c */

extern _Thread_local struct worker *self;

/* Notes what the thread is about to do, for the watchdog. */
void doing(const char *what, uint32_t ordinal);
/* Says what is wrong and how to run it again, and ends the process. */
__attribute__((noreturn)) void fail(const char *format, ...) PRINTF_LIKE(1, 2);
/* Ends the process unless @r is 0 or one of the errors named, or the power is off. */
bool went_well(struct world *world, int r, const char *what, const char *name,
               const struct reason *why, unsigned allowed);
enum allowed
{
    MAY_BE_FULL = 1, /* -ENOSPC */
    MAY_BE_GONE = 2, /* -ESTALE, -ENOENT */
    MAY_EXIST = 4,
    MAY_BE_BUSY = 8,
    MAY_BE_INVALID = 16, /* -EINVAL, -EPERM */
};

bool is_off(struct world *world);
void print_workers(struct world *world);
void *watchdog(void *world);

/* lun_read(), or the same by a loan that takes a moment, in turns; what is not lent is read. */
int read_some(struct lun *lun, void *buf, size_t len, uint64_t offset);

struct subject *subject_new(struct world *world, uint32_t family, uint32_t ordinal,
                            uint64_t sectors);
/* Publishes it; its reference goes to the table. False: no slot is free. */
bool subject_add(struct world *world, struct subject *subject);
struct subject *subject_pick(struct worker *worker); /* with a reference; NULL: none */
void subject_remove(struct world *world, struct subject *subject);
void subject_put(struct world *world, struct subject *subject);
void subject_name(struct world *world, struct subject *subject, char *name);
unsigned subject_count(struct world *world);
void doubt_add(struct world *world, const char *name);
void name_new(struct world *world, char *name, const char *letter);
/* Reads all of @name and compares; settles the shadow at what was found. */
void verify_all(struct world *world, const char *name, uint32_t family, uint64_t sectors,
                struct shadow *shadow, bool is_durable_only);

/* ---- roles */

void work_io(struct worker *worker);
void work_manage(struct worker *worker);
void work_chaos_io(struct worker *worker);
void work_chaos_manage(struct worker *worker);
void chaos_verify(struct world *world);
void work_observe(struct worker *worker);
void work_store(struct worker *worker);
void work_check(struct worker *worker);
void work_space(struct worker *worker);
void work_counter(struct worker *worker);
void work_counter_clones(struct worker *worker);
struct counter_state *counter_new(struct world *world);
/* After a reopening: compares the counting LUN with what must be in it, and begins it anew. */
void counter_restart(struct world *world, bool was_cut);
void store_verify(struct world *world);

#endif
