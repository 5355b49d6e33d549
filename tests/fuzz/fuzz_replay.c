/* SPDX-License-Identifier: BSD-3-Clause */
/* Runs a fuzz target on files: those of the folders given, or those given themselves. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "lun/base/cleanup.h"
#include "tests/fuzz/fuzz.h"

static unsigned replayed;

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct stat status;
    if (!file || fstat(fileno(file), &status) < 0)
    {
        fprintf(stderr, "cannot read %s\n", path);
        if (file)
            fclose(file);
        return 1;
    }
    size_t size = (size_t)status.st_size;
    AUTO_FREE uint8_t *data = malloc(size + 1);
    size_t got = data ? fread(data, 1, size, file) : 0;
    fclose(file);
    if (!data || got != size)
        return 1;
    LLVMFuzzerTestOneInput(data, size);
    replayed++;
    return 0;
}

static int replay_folder(const char *path)
{
    DIR *folder = opendir(path);
    if (!folder)
        return replay_file(path);
    int failed = 0;
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL)
    {
        char name[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        failed |= replay_file(name);
    }
    closedir(folder);
    return failed;
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++)
        failed |= replay_folder(argv[i]);
    printf("%u inputs\n", replayed);
    return failed || replayed == 0;
}
