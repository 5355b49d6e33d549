/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every byte of a pool's metadata in turn becomes something else, with checksums made right again,
 * and the pool is used as fuzz_pool.c does. Long leaves are tried at their ends only.
 *
 *   sweep_pool [--step N] [--first N]     each Nth case, from the Nth on
 *
 * A case that crashes is printed as the input of fuzz_pool that repeats it.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/pool/format.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/pool_image.h"

enum
{
    SWEEP_HEAD_BYTES = 256, /* tried of each block from its start, */
    SWEEP_TAIL_BYTES = 48,  /* and of what is in use at its end */
    SWEEP_CHANGED = 8,      /* the pool is changed too: see fuzz_pool.c */
};

static unsigned long number;
static char text[128]; /* the case at hand, for sweep_crashed() */
static size_t text_len;

static void sweep_crashed(int signal_number)
{
    if (write(STDERR_FILENO, text, text_len) < 0)
        _exit(EXIT_FAILURE);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

/* A byte of block @index at @offset becomes @value. */
static void sweep_case(unsigned image, unsigned index, unsigned offset, uint8_t value)
{
    const uint8_t input[] = {(uint8_t)(image | SWEEP_CHANGED), 0, (uint8_t)index, (uint8_t)offset,
                             (uint8_t)(offset >> 8),           0, value};
    text_len = (size_t)snprintf(text, sizeof(text),
                                "case %lu: %02x %02x %02x %02x %02x %02x %02x\n", number, input[0],
                                input[1], input[2], input[3], input[4], input[5], input[6]);
    LLVMFuzzerTestOneInput(input, sizeof(input));
}

static bool sweep_is_tried(unsigned offset, unsigned used)
{
    return offset >= sizeof(struct le32) && /* the checksum itself */
           (offset < SWEEP_HEAD_BYTES || offset + SWEEP_TAIL_BYTES >= used);
}

static void sweep_block(unsigned image, unsigned index, const uint8_t *bytes, unsigned used,
                        unsigned long first, unsigned long step)
{
    for (unsigned offset = 0; offset < used; offset++)
    {
        const uint8_t values[] = {0, 1, 0xff, (uint8_t)(bytes[offset] + 1),
                                  (uint8_t)(bytes[offset] - 1)};
        for (unsigned i = 0; i < ARRAY_SIZE(values) && sweep_is_tried(offset, used); i++)
        {
            if (values[i] == bytes[offset])
                continue;
            if (number >= first && (number - first) % step == 0)
                sweep_case(image, index, offset, values[i]);
            number++;
        }
    }
}

static void sweep_image(unsigned image, unsigned long first, unsigned long step)
{
    struct pool_copy *copy = pool_copy_new(pool_image(image));
    for (unsigned index = 0; index < pool_copy_count(copy); index++)
    {
        unsigned used;
        const uint8_t *bytes = pool_copy_block(copy, index, &used);
        sweep_block(image, index, bytes, used, first, step);
    }
    pool_copy_free(copy);
}

int main(int argc, char **argv)
{
    unsigned long first = 0, step = 1;
    for (int i = 1; i + 1 < argc; i += 2)
        *(strcmp(argv[i], "--step") == 0 ? &step : &first) = strtoul(argv[i + 1], NULL, 10);
    signal(SIGABRT, sweep_crashed);
    signal(SIGSEGV, sweep_crashed);
    for (unsigned image = 0; image < POOL_IMAGES; image++)
        sweep_image(image, first, step ? step : 1);
    printf("%lu cases, each %luth of them tried\n", number, step);
    return number > first ? EXIT_SUCCESS : EXIT_FAILURE;
}
