/* SPDX-License-Identifier: BSD-3-Clause */
/* A failed run is repeated by the command that it prints, and shrunk to the steps that it needs. */
#include "tests/lib/replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lun/base/invariant.h"
#include "tests/lib/cunit_main.h"

/* Two steps together are what fails. */
static void sample_run(struct replay *replay)
{
    struct rng rng;
    bool has_first = false;
    replay_count(replay, "runs");
    for (uint64_t step = 0; step < replay->steps; step++)
    {
        if (!replay_step(replay, step, &rng))
            continue;
        has_first |= step == 3;
        if (step == 17 && has_first && replay->seed % 100 == 42)
            replay_fail(replay, "both are there");
    }
}

static bool sample_is_covered(const struct replay_stats *stats)
{
    return stats->counters[0].count >= 7;
}

/* What it prints, and its exit status. */
static int sample(char *text, size_t size, int argc, char **argv)
{
    static const char *const modes[] = {"one", "two", NULL};
    static const struct replay_program program = {.name = "sample",
                                                  .modes = modes,
                                                  .runs = 4,
                                                  .steps = 40,
                                                  .run = sample_run,
                                                  .is_covered = sample_is_covered};
    FILE *file = tmpfile();
    INVARIANT(file != NULL);
    fflush(stdout);
    pid_t pid = fork();
    INVARIANT(pid >= 0);
    if (pid == 0)
    {
        unsetenv("LUNETTE_SEED");
        INVARIANT(dup2(fileno(file), STDERR_FILENO) >= 0 && dup2(fileno(file), STDOUT_FILENO) >= 0);
        int r = replay_main(&program, argc, argv);
        fflush(stdout);
        _exit(r);
    }
    int status = 0;
    INVARIANT(waitpid(pid, &status, 0) == pid);
    rewind(file);
    size_t len = fread(text, 1, size - 1, file);
    text[len] = '\0';
    fclose(file);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static char text[20000];

static void test_shrinks(void)
{
    char *argv[] = {"sample", "--seed", "42", "--runs", "1", NULL};
    CU_ASSERT(sample(text, sizeof(text), 5, argv) == 1);
    const char *whole = strstr(text, "sample --mode one --seed 42 --runs 1 --steps 40\n");
    CU_ASSERT_FATAL(whole != NULL);
    CU_ASSERT(strstr(whole, "Shrunk to 2 of 40 steps") != NULL);
    CU_ASSERT(strstr(whole, "sample --mode one --seed 42 --runs 1 --steps 40 --keep 3,17\n") !=
              NULL);
}

static void test_does_not_shrink(void)
{
    char *argv[] = {"sample", "--seed", "42", "--runs", "1", "--no-shrink", NULL};
    CU_ASSERT(sample(text, sizeof(text), 6, argv) == 1);
    CU_ASSERT(strstr(text, "sample --mode one --seed 42 --runs 1 --steps 40\n") != NULL);
    CU_ASSERT(strstr(text, "Shrunk") == NULL);
}

/* What is kept fails too, and without one of both nothing does. */
static void test_repeats(void)
{
    char *argv[] = {"sample", "--seed", "42", "--runs", "1", "--no-shrink", "--keep", "3,17", NULL};
    CU_ASSERT(sample(text, sizeof(text), 8, argv) == 1);
    argv[7] = "4-39";
    CU_ASSERT(sample(text, sizeof(text), 8, argv) == 0);
}

static void test_goes_on_until_covered(void)
{
    char *argv[] = {"sample", NULL};
    CU_ASSERT(sample(text, sizeof(text), 1, argv) == 0);
    CU_ASSERT(strstr(text, "7 runs of 40 steps, seeds from 1, 0 failed") != NULL);
}

static void test_skips(void)
{
    char *argv[] = {"sample", "--skip", "1000", "--seed", "40", "--runs", "3", "--no-shrink", NULL};
    CU_ASSERT(sample(text, sizeof(text), 8, argv) == 1);
    CU_ASSERT(strstr(text, "--seed 1042 --runs 1") != NULL);
}

static CU_TestInfo tests[] = {
    {"a failed run is shrunk", test_shrinks},
    {"or not", test_does_not_shrink},
    {"steps that are kept", test_repeats},
    {"until all is covered", test_goes_on_until_covered},
    {"later seeds", test_skips},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {{"replay", NULL, NULL, NULL, NULL, tests}, CU_SUITE_INFO_NULL};
    return cunit_main(suites, argc, argv);
}
