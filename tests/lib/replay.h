/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random tests that can be repeated and shrunk.
 *
 * A run is a seed and a number of steps; step i depends on the seed and i alone, and on the state
 * it meets, so steps can be left out. Each run is a process of its own: a failed invariant, a
 * signal, a report of a sanitizer or a leak is a failed run like any other.
 *
 *   PROGRAM [--seed N] [--runs N] [--steps N] [--mode NAME] [--seconds S] [--trace] [--keep LIST]
 *           [--skip N] [--shrink | --no-shrink] [--no-fork] [--seeds FILE]
 *
 * Runs seeds N, N + 1, ... (N: 1, or LUNETTE_SEED; --skip leaves out so many) and before them,
 * unless --seed is given, those of the file of seeds, one "MODE SEED STEPS [KEEP]" in each line.
 * --seconds: fresh seeds until the time is up.
 *
 * The first run that fails is shrunk for a minute: steps that it fails without are left out.
 * --shrink takes all the time that it needs, and shrinks each; --no-shrink leaves it.
 */
#ifndef TESTS_LIB_REPLAY_H
#define TESTS_LIB_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "tests/lib/rng.h"

struct replay
{
    const char *program;
    const char *mode; /* never NULL: the first of the program's modes, unless given */
    uint64_t seed, steps;
    uint64_t step; /* set by replay_step(), for messages */
    bool trace;
    const bool *keep; /* of each step; NULL: all */
    struct replay_stats *stats;
};

enum
{
    REPLAY_COUNTERS = 512
};

/* Counters by label, which outlive the processes of the runs. */
struct replay_stats
{
    uint64_t runs;
    struct
    {
        char label[48];
        uint64_t count;
    } counters[REPLAY_COUNTERS];
};

struct replay_program
{
    const char *name;
    const char *const *modes; /* NULL-terminated; without --mode, runs take turns */
    uint64_t runs, steps;     /* without arguments */
    const char *seeds_path;   /* of the file of seeds, or NULL */
    void (*run)(struct replay *replay);
    /* Without a gap in it; while there is one, some more runs follow. May be NULL. */
    bool (*is_covered)(const struct replay_stats *stats);
    /* After all runs: the table of what was covered. May be NULL. False: a gap is a failure. */
    bool (*summary)(const struct replay_stats *stats);
};

int replay_main(const struct replay_program *program, int argc, char **argv);

/* The random numbers of a step; false: it is left out. */
bool replay_step(struct replay *replay, uint64_t step, struct rng *rng);

/* Ends the run: prints what is wrong, where, and the command that repeats it. */
__attribute__((noreturn)) void replay_fail(const struct replay *replay, const char *format, ...)
    PRINTF_LIKE(2, 3);

/* A line of --trace. */
void replay_trace(const struct replay *replay, const char *format, ...) PRINTF_LIKE(2, 3);

/* Log lines only with --trace: faults make the engine say much that is as it should be. */
void replay_quiet_log(const struct replay *replay);

void replay_count(struct replay *replay, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
