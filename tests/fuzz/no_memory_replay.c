/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs a fuzz target on the files of a corpus again and again: the n-th allocation that the target
 * makes of an input fails, n = 1, 2, ... until none is asked for any more. What must hold whatever
 * was sent holds then, too, and each input is gone through as a whole afterwards.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/cleanup.h"
#include "lun/base/err.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/no_memory.h"

enum
{
    INPUT_MAX = 1 << 17,
};

static uint64_t inputs, tries;

void fuzz_before(void)
{
    memory_unspare(true);
}

void fuzz_after(void)
{
    ignore_error((int)memory_spare(), "it was armed");
}

static void replay(const uint8_t *data, size_t size, bool is_for_ever)
{
    uint64_t failed = 1;
    for (uint64_t n = 0; failed > 0; n++)
    {
        memory_arm(n, is_for_ever);
        fuzz_after();
        LLVMFuzzerTestOneInput(data, size);
        failed = memory_disarm();
        tries++;
    }
}

static int replay_file(const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    AUTO_FREE uint8_t *data = malloc(INPUT_MAX);
    if (!file || !data)
        return 1;
    size_t size = fread(data, 1, INPUT_MAX, file);
    fclose(file);
    replay(data, size, false);
    replay(data, size, true);
    inputs++;
    return 0;
}

/* Each @step-th file of a folder. */
int main(int argc, char **argv)
{
    struct dirent **entries;
    int step = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 1, failed = 0;
    int count = argc > 1 && step > 0 ? scandir(argv[1], &entries, NULL, alphasort) : -1;
    for (int i = 0; i < count; i++)
    {
        if (entries[i]->d_name[0] != '.' && i % step == 0)
            failed |= replay_file(argv[1], entries[i]->d_name);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    printf("%" PRIu64 " inputs, %" PRIu64 " tries\n", inputs, tries);
    return failed || inputs == 0;
}
