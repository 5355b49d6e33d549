/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Locks with ranks: the order in which they may be taken, all in one place.
 *
 * A thread takes locks of rising rank only. Debug builds (LUNETTE_DEBUG_CHECKS) abort where that is
 * broken. Two locks of one rank only through lock_take2(), which orders them by address.
 */
#ifndef LUN_BASE_LOCK_H
#define LUN_BASE_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "lun/base/cleanup.h"

enum lock_rank
{
    LOCK_RANK_SERVER,     /* management commands, sessions, connection tables; several levels: */
    LOCK_RANK_SESSION,    /* one iSCSI session or connection */
    LOCK_RANK_LU,         /* SCSI logical unit: reservations, unit attentions */
    LOCK_RANK_MANAGEMENT, /* pool->management: commands that change lines, LUNs, snapshots; jobs */
    LOCK_RANK_CP,         /* one checkpoint at a time */
    LOCK_RANK_RANGE,      /* lun->ranges: the table of locked ranges, held for moments; a locked
                             range itself outlives it (map/range.h), and comes before all below */
    LOCK_RANK_ATOMIC,     /* one atomic write that finds little room at a time */
    LOCK_RANK_CP_GATE,    /* shared around prepare+apply+append, exclusive for the switch of a CP */
    LOCK_RANK_MAP,        /* lun->map_lock: the trees of a head */
    LOCK_RANK_CATALOG,    /* pool->catalog_lock: names, lists of lines, in-memory objects */
    LOCK_RANK_SHARED_TREE, /* trees that belong to no LUN: object pages, shared references */
    LOCK_RANK_LEDGER,      /* what is promised and charged */
    LOCK_RANK_SPACE,       /* allocation groups, deferred frees, reserves */
    LOCK_RANK_JOURNAL,     /* the buffer of records, sequence numbers */
    LOCK_RANK_COMMIT,      /* who leads the group commit */
    LOCK_RANK_CACHE,       /* the node cache's table */
    LOCK_RANK_EPOCH,
    LOCK_RANK_EVENT,
    LOCK_RANK_LEAF, /* under which nothing is taken */
};

struct lock
{
    pthread_mutex_t mutex;
    enum lock_rank rank;
};

struct rwlock
{
    pthread_rwlock_t rwlock;
    enum lock_rank rank;
};

struct condition
{
    pthread_cond_t cond;
};

void lock_init(struct lock *lock, enum lock_rank rank);
void lock_destroy(struct lock *lock);
void lock_take(struct lock *lock);
void lock_release(struct lock *lock);
/* Both, ordered by address; @a and @b have one rank and differ. */
void lock_take2(struct lock *a, struct lock *b);

void rwlock_init(struct rwlock *lock, enum lock_rank rank);
void rwlock_destroy(struct rwlock *lock);
void rwlock_take_shared(struct rwlock *lock);
void rwlock_take_exclusive(struct rwlock *lock);
void rwlock_release(struct rwlock *lock);

void condition_init(struct condition *condition); /* waits by the monotonic clock */
void condition_destroy(struct condition *condition);
void condition_wait(struct condition *condition, struct lock *lock);
/* False after @timeout_ms without a wake-up. */
bool condition_wait_ms(struct condition *condition, struct lock *lock, uint64_t timeout_ms);
void condition_wake_one(struct condition *condition);
void condition_wake_all(struct condition *condition);

static inline void cleanup_lock(struct lock **lock)
{
    if (*lock)
        lock_release(*lock);
}

static inline struct lock *lock_taken(struct lock *lock)
{
    lock_take(lock);
    return lock;
}

#define LOCK_CONCAT_(a, b) a##b
#define LOCK_CONCAT(a, b) LOCK_CONCAT_(a, b)
/* Takes @the_lock until the end of the scope. */
#define AUTO_LOCK(the_lock)                                                                        \
    CLEANUP(cleanup_lock)                                                                          \
    struct lock *LOCK_CONCAT(auto_lock_, __LINE__) __attribute__((unused)) = lock_taken(the_lock)

#endif
