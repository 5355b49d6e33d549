/* SPDX-License-Identifier: BSD-3-Clause */
/* Measures the engine by itself, without a protocol above it: bench_engine CASE --dir FOLDER. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "tests/bench/bench.h"

struct bench_case
{
    const char *name;
    void (*run)(const struct bench *bench);
    const char *prints;
};

static const struct bench_case bench_cases[] = {
    {"million", bench_million,
     "a LUN of 1,000,000 extents: parts clone, pause, delete, sibling (all without --parts); "
     "--keep leaves the pool"},
    {"many", bench_many, "10,000 clones in one call: time, pool bytes, reopening"},
    {"space", bench_space, "pool bytes taken by 10,000 random writes into a fresh clone"},
    {"depth", bench_depth, "random reads of clone 1000 of a chain, against its beginning"},
    {"shared", bench_shared, "what 100 clones cost that read the same bytes"},
    {"volume", bench_volume, "a snapshot of a volume of 1,000 LUNs that are being written"},
    {"accounting", bench_accounting,
     "I/O to a LUN of a guaranteed volume with quotas on, against one outside volumes"},
    {"crash", bench_crash, "kill -9 with a full journal: reopening, and what was flushed"},
};

static _Noreturn void usage(int status)
{
    FILE *out = status ? stderr : stdout;
    fprintf(out, "usage: bench_engine CASE --dir FOLDER [--runs N] [--seconds S] [--quick] "
                 "[--parts LIST] [--keep]\n\ncases:\n");
    for (size_t i = 0; i < ARRAY_SIZE(bench_cases); i++)
        fprintf(out, "  %-10s %s\n", bench_cases[i].name, bench_cases[i].prints);
    exit(status);
}

static const struct option bench_options[] = {
    {"dir", required_argument, NULL, 'd'},     {"runs", required_argument, NULL, 'r'},
    {"seconds", required_argument, NULL, 's'}, {"quick", no_argument, NULL, 'q'},
    {"parts", required_argument, NULL, 'p'},   {"keep", no_argument, NULL, 'k'},
    {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
};

int main(int argc, char **argv)
{
    struct bench bench = {.runs = 5, .seconds = 2};
    int option;
    while ((option = getopt_long(argc, argv, "h", bench_options, NULL)) != -1)
    {
        if (option == 'd')
            bench.dir = optarg;
        else if (option == 'r')
            bench.runs = (unsigned)strtoul(optarg, NULL, 10);
        else if (option == 's')
            bench.seconds = strtod(optarg, NULL);
        else if (option == 'q')
            bench.is_quick = true;
        else if (option == 'p')
            bench.parts = optarg;
        else if (option == 'k')
            bench.keeps_pool = true;
        else
            usage(option == 'h' ? 0 : 2);
    }
    if (optind != argc - 1 || !bench.dir || bench.runs == 0 || bench.seconds <= 0)
        usage(2);
    for (size_t i = 0; i < ARRAY_SIZE(bench_cases); i++)
    {
        if (strcmp(argv[optind], bench_cases[i].name) != 0)
            continue;
        bench_cases[i].run(&bench);
        return 0;
    }
    usage(2);
}
