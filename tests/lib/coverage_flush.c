/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * In a plugin that counts lines (COVERAGE=ON): the counts survive kill -9.
 *
 * They are written when the plugin is unloaded, so a server that is killed would lose them, and
 * many tests end one so. The killer (coverage_kill.c) sends COVERAGE_FLUSH_SIGNAL first; the
 * handler wakes a thread that writes the counts and then has the signal ignored, which the killer
 * waits for.
 */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "tests/lib/coverage_signal.h"

extern void __gcov_dump(void); /* of libgcov; no header has it */

static sem_t flush_wanted;
static pthread_t flush_thread;
static atomic_bool flush_is_over;
static bool flush_is_started;

static void flush_on_signal(int number)
{
    (void)number;
    sem_post(&flush_wanted);
}

static void *flush_run(void *unused)
{
    (void)unused;
    while (sem_wait(&flush_wanted) < 0)
    {
    }
    if (atomic_load(&flush_is_over))
        return NULL;
    __gcov_dump();
    signal(COVERAGE_FLUSH_SIGNAL, SIG_IGN);
    return NULL;
}

/* nbdkit forks when the plugin is loaded already, and a thread does not come along. */
static void flush_start(void)
{
    sigset_t all, old;
    sem_init(&flush_wanted, 0, 0);
    sigfillset(&all); /* what is sent to nbdkit is for its own threads */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    flush_is_started = pthread_create(&flush_thread, NULL, flush_run, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (flush_is_started)
        signal(COVERAGE_FLUSH_SIGNAL, flush_on_signal);
}

__attribute__((constructor)) static void flush_load(void)
{
    pthread_atfork(NULL, NULL, flush_start);
    flush_start();
}

/* Before libgcov's own, which writes the counts, and before the code of the thread is unmapped. */
__attribute__((destructor)) static void flush_unload(void)
{
    signal(COVERAGE_FLUSH_SIGNAL, SIG_IGN);
    if (!flush_is_started)
        return;
    atomic_store(&flush_is_over, true);
    sem_post(&flush_wanted);
    pthread_join(flush_thread, NULL);
}
