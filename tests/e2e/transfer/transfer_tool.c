/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transfer_tool [option...] SOURCE DESTINATION
 *
 * Calls transfer_run() for the end-to-end tests and prints the result as JSON. --size asks for the
 * source's size only. --cancel-at=BYTES cancels from the progress callback, at a place that does
 * not depend on time. Exit status: 0, or 1 with the reason on standard error.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/ctl/transfer.h"

static volatile sig_atomic_t tool_cancel;
static uint64_t tool_cancel_at = UINT64_MAX;
static const char *tool_pause_at_first_flush;

/* Says in the FIFO @prefix.here what is durable, then waits until somebody opens @prefix.go. */
static void tool_pause(const char *prefix, uint64_t durable_bytes)
{
    char path[512];
    snprintf(path, sizeof(path), "%s.here", prefix);
    FILE *file = fopen(path, "w");
    if (file)
    {
        fprintf(file, "%" PRIu64 "\n", durable_bytes);
        fclose(file);
    }
    snprintf(path, sizeof(path), "%s.go", prefix);
    file = fopen(path, "r");
    if (file)
        fclose(file);
}

static void tool_progress_cb(void *opaque, const struct transfer_progress *progress)
{
    (void)opaque;
    if (progress->done_bytes >= tool_cancel_at)
        tool_cancel = 1;
    if (tool_pause_at_first_flush && progress->durable_bytes > 0)
    {
        tool_pause(tool_pause_at_first_flush, progress->durable_bytes);
        tool_pause_at_first_flush = NULL;
    }
}

static void tool_signal_cb(int number)
{
    (void)number;
    tool_cancel = 1;
}

static void tool_print(int r, const struct transfer_result *result)
{
    printf("{\"error\": %d, \"total\": %" PRIu64 ", \"read\": %" PRIu64 ", \"hole\": %" PRIu64
           ", \"written\": %" PRIu64 ", \"zeroed\": %" PRIu64 ", \"skipped\": %" PRIu64
           ", \"verified\": %" PRIu64 ", \"resumed_from\": %" PRIu64 ", \"durable\": %" PRIu64
           ", \"reconnects\": %u}\n",
           r, result->total_bytes, result->read_bytes, result->hole_bytes, result->written_bytes,
           result->zeroed_bytes, result->skipped_bytes, result->verified_bytes,
           result->resumed_from_bytes, result->durable_bytes, result->reconnects);
}

enum
{
    OPT_SOURCE_FORMAT = 256,
    OPT_DESTINATION_FORMAT,
    OPT_RESUME,
    OPT_OVERWRITE,
    OPT_ZERO,
    OPT_KEEP_ZEROS,
    OPT_IGNORE_MAP,
    OPT_VERIFY,
    OPT_DEPTH,
    OPT_BLOCK,
    OPT_FLUSH,
    OPT_CONNECTIONS,
    OPT_CANCEL_AT,
    OPT_PAUSE,
    OPT_SIZE,
};

static const struct option tool_options[] = {
    {"source-format", required_argument, NULL, OPT_SOURCE_FORMAT},
    {"destination-format", required_argument, NULL, OPT_DESTINATION_FORMAT},
    {"resume", required_argument, NULL, OPT_RESUME},
    {"overwrite", no_argument, NULL, OPT_OVERWRITE},
    {"zero", no_argument, NULL, OPT_ZERO},
    {"keep-zeros", no_argument, NULL, OPT_KEEP_ZEROS},
    {"ignore-map", no_argument, NULL, OPT_IGNORE_MAP},
    {"verify", no_argument, NULL, OPT_VERIFY},
    {"depth", required_argument, NULL, OPT_DEPTH},
    {"block", required_argument, NULL, OPT_BLOCK},
    {"flush", required_argument, NULL, OPT_FLUSH},
    {"connections", required_argument, NULL, OPT_CONNECTIONS},
    {"cancel-at", required_argument, NULL, OPT_CANCEL_AT},
    {"pause-at-first-flush", required_argument, NULL, OPT_PAUSE},
    {"size", no_argument, NULL, OPT_SIZE},
    {NULL, 0, NULL, 0},
};

static bool tool_take_option(int option, struct transfer_options *to)
{
    unsigned long long number = optarg ? strtoull(optarg, NULL, 0) : 0;
    switch (option)
    {
    case OPT_SOURCE_FORMAT:
        to->source_format = optarg;
        return true;
    case OPT_DESTINATION_FORMAT:
        to->destination_format = optarg;
        return true;
    case OPT_RESUME:
        to->resume_file = optarg;
        return true;
    case OPT_OVERWRITE:
        return to->overwrite = true;
    case OPT_ZERO:
        return to->destination_is_zero = true;
    case OPT_KEEP_ZEROS:
        return to->keep_zeros = true;
    case OPT_IGNORE_MAP:
        return to->ignore_map = true;
    case OPT_VERIFY:
        return to->verify = true;
    case OPT_DEPTH:
        to->depth = (uint32_t)number;
        return true;
    case OPT_BLOCK:
        to->block_bytes = (uint32_t)number;
        return true;
    case OPT_FLUSH:
        to->flush_bytes = number;
        return true;
    case OPT_CONNECTIONS:
        to->connections = (uint32_t)number;
        return true;
    case OPT_CANCEL_AT:
        tool_cancel_at = number;
        return true;
    case OPT_PAUSE:
        tool_pause_at_first_flush = optarg;
        return true;
    default:
        return false;
    }
}

static int tool_size(const char *source, const char *format)
{
    struct reason why = {0};
    uint64_t size;
    int r = transfer_size(source, format, &size, &why);
    if (r < 0)
    {
        fprintf(stderr, "%s (%s)\n", why.text, strerror(-r));
        return 1;
    }
    printf("%" PRIu64 "\n", size);
    return 0;
}

int main(int argc, char **argv)
{
    struct transfer_options options = {
        .progress = tool_progress_cb, .progress_ms = 1, .cancel = &tool_cancel};
    bool wants_size = false;
    int option = getopt_long(argc, argv, "", tool_options, NULL);
    for (; option >= 0; option = getopt_long(argc, argv, "", tool_options, NULL))
    {
        if (option == OPT_SIZE)
            wants_size = true;
        else if (!tool_take_option(option, &options))
            return 2;
    }
    if (wants_size && optind + 1 == argc)
        return tool_size(argv[optind], options.source_format);
    if (optind + 2 != argc)
    {
        fprintf(stderr, "usage: transfer_tool [option...] SOURCE DESTINATION\n");
        return 2;
    }
    options.source = argv[optind];
    options.destination = argv[optind + 1];
    signal(SIGINT, tool_signal_cb);
    struct reason why = {0};
    struct transfer_result result;
    int r = transfer_run(&options, &result, &why);
    tool_print(r, &result);
    if (r < 0)
        fprintf(stderr, "%s (%s)\n", why.text, strerror(-r));
    return r < 0;
}
