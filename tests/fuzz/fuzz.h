/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every fuzz target has. libFuzzer calls it for each input; without libFuzzer fuzz_replay.c
 * calls it for each file of a corpus.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Around what the target does with an input: where allocations may fail, if there is somebody who
 * lets them (no_memory_replay.c). */
void fuzz_before(void);
void fuzz_after(void);

#endif
