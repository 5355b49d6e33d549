/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/base/lock.h"

#include <errno.h>
#include <time.h>

#include "lun/base/invariant.h"

#ifdef LUNETTE_DEBUG_CHECKS
enum
{
    MAX_HELD = 4096
}; /* a freeze of many LUNs holds one range lock each, in address order */

static _Thread_local struct
{
    enum lock_rank rank;
    const void *lock;
} held[MAX_HELD];
static _Thread_local unsigned held_count;

static void rank_enter(enum lock_rank rank, const void *lock, bool same_rank_allowed)
{
    for (unsigned i = 0; i < held_count; i++)
    {
        INVARIANT(held[i].lock != lock);
        INVARIANT(held[i].rank < rank || (same_rank_allowed && held[i].rank == rank));
    }
    INVARIANT(held_count < MAX_HELD);
    held[held_count].rank = rank;
    held[held_count].lock = lock;
    held_count++;
}

static void rank_leave(const void *lock)
{
    for (unsigned i = held_count; i-- > 0;)
    {
        if (held[i].lock != lock)
            continue;
        held[i] = held[--held_count];
        return;
    }
    INVARIANT(!"a lock is released that this thread does not hold");
}
#else
static inline void rank_enter(enum lock_rank rank, const void *lock, bool same_rank_allowed)
{
    (void)rank, (void)lock, (void)same_rank_allowed;
}

static inline void rank_leave(const void *lock)
{
    (void)lock;
}
#endif

void lock_init(struct lock *lock, enum lock_rank rank)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    /* Most are held for less than it takes to sleep and be woken. */
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ADAPTIVE_NP);
    INVARIANT(pthread_mutex_init(&lock->mutex, &attributes) == 0);
    pthread_mutexattr_destroy(&attributes);
    lock->rank = rank;
}

void lock_destroy(struct lock *lock)
{
    pthread_mutex_destroy(&lock->mutex);
}

void lock_take(struct lock *lock)
{
    rank_enter(lock->rank, lock, false);
    pthread_mutex_lock(&lock->mutex);
}

void lock_release(struct lock *lock)
{
    rank_leave(lock); /* first: it aborts if this thread does not hold it */
    pthread_mutex_unlock(&lock->mutex);
}

void lock_take2(struct lock *a, struct lock *b)
{
    struct lock *first = a < b ? a : b;
    struct lock *second = a < b ? b : a;
    lock_take(first);
    rank_enter(second->rank, second, true);
    pthread_mutex_lock(&second->mutex);
}

void rwlock_init(struct rwlock *lock, enum lock_rank rank)
{
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    /* A writer must get in, however many readers come: a CP or a freeze waits here. */
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    INVARIANT(pthread_rwlock_init(&lock->rwlock, &attributes) == 0);
    pthread_rwlockattr_destroy(&attributes);
    lock->rank = rank;
}

void rwlock_destroy(struct rwlock *lock)
{
    pthread_rwlock_destroy(&lock->rwlock);
}

void rwlock_take_shared(struct rwlock *lock)
{
    rank_enter(lock->rank, lock, false);
    pthread_rwlock_rdlock(&lock->rwlock);
}

void rwlock_take_exclusive(struct rwlock *lock)
{
    rank_enter(lock->rank, lock, false);
    pthread_rwlock_wrlock(&lock->rwlock);
}

void rwlock_release(struct rwlock *lock)
{
    rank_leave(lock);
    pthread_rwlock_unlock(&lock->rwlock);
}

void condition_init(struct condition *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    INVARIANT(pthread_cond_init(&condition->cond, &attributes) == 0);
    pthread_condattr_destroy(&attributes);
}

void condition_destroy(struct condition *condition)
{
    pthread_cond_destroy(&condition->cond);
}

void condition_wait(struct condition *condition, struct lock *lock)
{
    pthread_cond_wait(&condition->cond, &lock->mutex);
}

bool condition_wait_ms(struct condition *condition, struct lock *lock, uint64_t timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(timeout_ms / 1000);
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000)
    {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    return pthread_cond_timedwait(&condition->cond, &lock->mutex, &until) != ETIMEDOUT;
}

void condition_wake_one(struct condition *condition)
{
    pthread_cond_signal(&condition->cond);
}

void condition_wake_all(struct condition *condition)
{
    pthread_cond_broadcast(&condition->cond);
}
