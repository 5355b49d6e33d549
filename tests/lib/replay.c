/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/replay.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"
#include "lun/base/log.h"

enum
{
    REPLAY_HANGS_S = 900,    /* a run that takes as long hangs, and is ended by SIGALRM */
    REPLAY_SHRINK_S = 60,    /* for a failed run, unless --shrink gives it all the time it takes */
    REPLAY_FAILURES_MAX = 5, /* then it is enough */
    REPLAY_MORE = 4,         /* times as many runs at most, while something was not covered */
};

struct replay_options
{
    const struct replay_program *program;
    struct replay replay;
    uint64_t runs, seconds, skip;
    bool shrinks, shrinks_long, no_fork, seed_given;
    const char *keep_text, *seeds_path;
};

/* ---- for the program's runs */

bool replay_step(struct replay *replay, uint64_t step, struct rng *rng)
{
    replay->step = step;
    struct rng seeder = rng_of(replay->seed * UINT64_C(0x9e3779b97f4a7c15) + step);
    *rng = rng_fork(&seeder);
    return !replay->keep || replay->keep[step];
}

/* The kept steps as "1,5-9". */
static void replay_print_keep(const struct replay *replay, FILE *out)
{
    const char *comma = " --keep ";
    for (uint64_t i = 0; replay->keep && i < replay->steps; i++)
    {
        if (!replay->keep[i])
            continue;
        uint64_t last = i;
        while (last + 1 < replay->steps && replay->keep[last + 1])
            last++;
        fprintf(out, "%s%" PRIu64, comma, i);
        if (last > i)
            fprintf(out, "-%" PRIu64, last);
        comma = ",";
        i = last;
    }
}

static void replay_print_command(const struct replay *replay, FILE *out)
{
    fprintf(out, "    %s --mode %s --seed %" PRIu64 " --runs 1 --steps %" PRIu64, replay->program,
            replay->mode, replay->seed, replay->steps);
    replay_print_keep(replay, out);
    fputc('\n', out);
}

void replay_fail(const struct replay *replay, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fflush(stdout);
    fprintf(stderr, "FAILED at step %" PRIu64 ": ", replay->step);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    _exit(1);
}

void replay_trace(const struct replay *replay, const char *format, ...)
{
    if (!replay->trace)
        return;
    va_list args;
    va_start(args, format);
    printf("%6" PRIu64 "  ", replay->step);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

static void replay_log_sink(enum log_level level, const char *text)
{
    (void)level, (void)text;
}

void replay_quiet_log(const struct replay *replay)
{
    log_set_sink(replay->trace ? NULL : replay_log_sink);
}

void replay_count(struct replay *replay, const char *format, ...)
{
    char label[sizeof(replay->stats->counters[0].label)];
    va_list args;
    va_start(args, format);
    vsnprintf(label, sizeof(label), format, args);
    va_end(args);
    for (unsigned i = 0; i < REPLAY_COUNTERS; i++)
    {
        char *present = replay->stats->counters[i].label;
        if (present[0] == '\0')
            snprintf(present, sizeof(label), "%s", label);
        if (strcmp(present, label) != 0)
            continue;
        replay->stats->counters[i].count++;
        return;
    }
}

static uint64_t replay_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec;
}

/* ---- one run */

static void replay_quieten(void)
{
    INVARIANT(freopen("/dev/null", "w", stdout) != NULL);
    INVARIANT(freopen("/dev/null", "w", stderr) != NULL);
}

/* Whether the run passes. */
static bool replay_run_one(const struct replay_options *options, struct replay *replay, bool quiet)
{
    if (options->no_fork)
    {
        options->program->run(replay);
        return true;
    }
    fflush(stdout);
    pid_t pid = fork();
    INVARIANT(pid >= 0);
    if (pid == 0)
    {
        if (quiet)
            replay_quieten();
        alarm(REPLAY_HANGS_S);
        options->program->run(replay);
        exit(0); /* not _exit(): the sanitizers look for leaks here */
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        INVARIANT(errno == EINTR);
    if (WIFSIGNALED(status) && !quiet)
        fprintf(stderr, "FAILED: the run was ended by signal %d (%s).\n", WTERMSIG(status),
                strsignal(WTERMSIG(status)));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* ---- shrinking: leave out ever smaller spans of steps, as long as the run still fails */

static bool replay_try_without(const struct replay_options *options, struct replay *replay,
                               bool *keep, uint64_t first, uint64_t count)
{
    AUTO_FREE bool *fewer = malloc(replay->steps * sizeof(bool));
    INVARIANT(fewer != NULL);
    memcpy(fewer, keep, replay->steps * sizeof(bool));
    bool has_any = false;
    for (uint64_t i = first; i < min_u64(first + count, replay->steps); i++)
    {
        has_any |= fewer[i];
        fewer[i] = false;
    }
    if (!has_any)
        return false;
    struct replay attempt = *replay;
    attempt.keep = fewer;
    attempt.trace = false;
    if (replay_run_one(options, &attempt, true))
        return false;
    memcpy(keep, fewer, replay->steps * sizeof(bool));
    return true;
}

static void replay_shrink(const struct replay_options *options, struct replay *replay)
{
    AUTO_FREE bool *keep = malloc(replay->steps * sizeof(bool));
    INVARIANT(keep != NULL);
    for (uint64_t i = 0; i < replay->steps; i++)
        keep[i] = !replay->keep || replay->keep[i];
    bool again = true;
    uint64_t end_s = options->shrinks_long ? UINT64_MAX : replay_now_s() + REPLAY_SHRINK_S;
    for (uint64_t span = replay->steps / 2; span > 0; span = again && span == 1 ? 1 : span / 2)
    {
        again = false;
        for (uint64_t first = 0; first < replay->steps && replay_now_s() < end_s; first += span)
            again |= replay_try_without(options, replay, keep, first, span);
    }
    uint64_t left = 0;
    for (uint64_t i = 0; i < replay->steps; i++)
        left += keep[i];
    struct replay shrunk = *replay;
    shrunk.keep = keep;
    shrunk.trace = true;
    fprintf(stderr, "Shrunk to %" PRIu64 " of %" PRIu64 " steps%s; a run of them:\n", left,
            replay->steps,
            replay_now_s() < end_s ? "" : ", when the time was over (--shrink takes all it needs)");
    ignore_error(replay_run_one(options, &shrunk, false), "it fails, as it did before");
    fprintf(stderr, "To repeat that:\n");
    replay_print_command(&shrunk, stderr);
}

/* Reports a failed run. */
static void replay_failed(const struct replay_options *options, struct replay *replay)
{
    fprintf(stderr, "To repeat it (--trace shows the steps):\n");
    replay_print_command(replay, stderr);
    if (options->shrinks && !options->no_fork)
        replay_shrink(options, replay);
}

/* ---- arguments */

static bool replay_parse_u64(const char *text, uint64_t *value)
{
    char *end = NULL;
    errno = 0;
    *value = strtoull(text, &end, 0);
    return errno == 0 && end != text && *end == '\0';
}

/* "1,5-9" */
static bool *replay_parse_keep(const char *text, uint64_t steps)
{
    bool *keep = calloc(steps + 1, sizeof(bool));
    INVARIANT(keep != NULL);
    while (*text)
    {
        char *end = NULL;
        uint64_t first = strtoull(text, &end, 10);
        uint64_t last = *end == '-' ? strtoull(end + 1, &end, 10) : first;
        for (uint64_t i = first; i <= last && i < steps; i++)
            keep[i] = true;
        if (end == text)
            break;
        text = *end ? end + 1 : end;
    }
    return keep;
}

static const char *replay_find_mode(const struct replay_program *program, const char *name)
{
    for (unsigned i = 0; program->modes[i]; i++)
    {
        if (strcmp(program->modes[i], name) == 0)
            return program->modes[i];
    }
    return NULL;
}

static bool replay_parse_value(struct replay_options *options, const char *name, const char *value)
{
    if (strcmp(name, "--seed") == 0)
        return options->seed_given = replay_parse_u64(value, &options->replay.seed);
    if (strcmp(name, "--runs") == 0)
        return replay_parse_u64(value, &options->runs);
    if (strcmp(name, "--steps") == 0)
        return replay_parse_u64(value, &options->replay.steps);
    if (strcmp(name, "--seconds") == 0)
        return replay_parse_u64(value, &options->seconds);
    if (strcmp(name, "--skip") == 0)
        return replay_parse_u64(value, &options->skip);
    if (strcmp(name, "--keep") == 0)
        options->keep_text = value;
    else if (strcmp(name, "--seeds") == 0)
        options->seeds_path = value;
    else if (strcmp(name, "--mode") == 0)
        return (options->replay.mode = replay_find_mode(options->program, value)) != NULL;
    else
        return false;
    return true;
}

static bool replay_parse(struct replay_options *options, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
    {
        if (strcmp(argv[i], "--trace") == 0)
            options->replay.trace = true;
        else if (strcmp(argv[i], "--shrink") == 0)
            options->shrinks_long = true;
        else if (strcmp(argv[i], "--no-shrink") == 0)
            options->shrinks = false;
        else if (strcmp(argv[i], "--no-fork") == 0)
            options->no_fork = true;
        else if (i + 1 < argc && replay_parse_value(options, argv[i], argv[i + 1]))
            i++;
        else
            return false;
    }
    return options->replay.steps > 0;
}

static void replay_usage(const struct replay_program *program)
{
    fprintf(stderr,
            "usage: %s [--seed N] [--runs N] [--steps N] [--mode NAME] [--seconds S]\n"
            "       [--skip N] [--trace] [--keep LIST] [--shrink | --no-shrink] [--no-fork]\n"
            "       [--seeds FILE]\nmodes:",
            program->name);
    for (unsigned i = 0; program->modes[i]; i++)
        fprintf(stderr, " %s", program->modes[i]);
    fputc('\n', stderr);
}

/* ---- all runs */

/* One line of the file of seeds. Whether its run passes. */
static bool replay_run_line(const struct replay_options *options, const char *path,
                            const char *line)
{
    char mode[32] = "";
    char keep_text[4000] = "";
    struct replay replay = options->replay;
    int found = sscanf(line, "%31s %" SCNu64 " %" SCNu64 " %3999s", mode, &replay.seed,
                       &replay.steps, keep_text);
    replay.mode = replay_find_mode(options->program, mode);
    if (found < 3 || !replay.mode)
    {
        fprintf(stderr, "%s: not 'MODE SEED STEPS [KEEP]': %s\n", path, line);
        return false;
    }
    AUTO_FREE bool *keep = found == 4 ? replay_parse_keep(keep_text, replay.steps) : NULL;
    replay.keep = keep;
    replay.stats->runs++;
    bool passes = replay_run_one(options, &replay, false);
    if (!passes)
        replay_failed(options, &replay);
    return passes;
}

/* The whole file, NUL-terminated: it must not be open while runs exit, which moves its offset. */
static char *replay_read_file(const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return NULL;
    enum
    {
        CAPACITY = 1 << 20
    };
    char *text = calloc(1, CAPACITY);
    INVARIANT(text != NULL);
    size_t len = fread(text, 1, CAPACITY - 1, file);
    INVARIANT(len < CAPACITY - 1);
    fclose(file);
    return text;
}

/* The seeds that failed once. Returns how many fail now. */
static uint64_t replay_run_file(const struct replay_options *options, const char *path)
{
    if (!path)
        return 0;
    AUTO_FREE char *text = replay_read_file(path);
    if (!text)
    {
        fprintf(stderr, "%s: cannot open '%s': %m\n", options->program->name, path);
        return 1;
    }
    uint64_t failures = 0;
    char *rest = text;
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n"))
    {
        if (line[0] != '#' && line[0] != '\0')
            failures += !replay_run_line(options, path, line);
    }
    return failures;
}

/* Whether another run is due, after @i. */
static bool replay_goes_on(const struct replay_options *options, uint64_t i, uint64_t end_s)
{
    const struct replay_program *program = options->program;
    if (options->seconds ? replay_now_s() < end_s : i < options->runs)
        return true;
    return program->is_covered && !options->seed_given && i < options->runs * REPLAY_MORE &&
           !program->is_covered(options->replay.stats);
}

/* Runs of fresh seeds. Returns how many failed. */
static uint64_t replay_run_seeds(struct replay_options *options)
{
    uint64_t failures = 0;
    uint64_t mode_count = 0;
    while (options->program->modes[mode_count])
        mode_count++;
    INVARIANT(mode_count > 0);
    uint64_t end_s = replay_now_s() + options->seconds;
    for (uint64_t i = 0; replay_goes_on(options, i, end_s); i++)
    {
        struct replay replay = options->replay;
        if (!replay.mode)
            /* Shifted each round: each mode meets seeds of each remainder. */
            replay.mode = options->program->modes[(i + i / mode_count) % mode_count];
        replay.seed += i + options->skip;
        bool *keep = NULL;
        if (options->keep_text)
            keep = replay_parse_keep(options->keep_text, replay.steps);
        replay.keep = keep;
        replay.stats->runs++;
        if (!replay_run_one(options, &replay, false))
        {
            failures++;
            replay_failed(options, &replay);
            options->shrinks = options->shrinks_long; /* the others may be the same bug */
        }
        free(keep);
        if (failures >= REPLAY_FAILURES_MAX)
            break;
    }
    return failures;
}

int replay_main(const struct replay_program *program, int argc, char **argv)
{
    struct replay_options options = {
        .program = program,
        .replay = {.program = argv[0], .steps = program->steps, .seed = 1},
        .runs = program->runs,
        .seeds_path = program->seeds_path,
        .shrinks = true,
    };
    const char *seed = getenv("LUNETTE_SEED");
    if (seed && !replay_parse_u64(seed, &options.replay.seed))
        fprintf(stderr, "%s: LUNETTE_SEED='%s' is not a number\n", program->name, seed);
    if (!replay_parse(&options, argc, argv))
    {
        replay_usage(program);
        return 2;
    }
    struct replay_stats *stats =
        mmap(NULL, sizeof(*stats), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    INVARIANT(stats != MAP_FAILED);
    options.replay.stats = stats;
    uint64_t failures = 0;
    if (!options.seed_given)
        failures += replay_run_file(&options, options.seeds_path);
    failures += replay_run_seeds(&options);
    bool is_covered = !program->summary || program->summary(stats) || options.seed_given;
    printf("%s: %" PRIu64 " runs of %" PRIu64 " steps, seeds from %" PRIu64 ", %" PRIu64
           " failed\n",
           program->name, stats->runs, options.replay.steps, options.replay.seed + options.skip,
           failures);
    munmap(stats, sizeof(*stats));
    return failures > 0 || !is_covered;
}
