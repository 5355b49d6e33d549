/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The n-th allocation fails, of the thread that asked for it. For programs that link `nomemory`.
 *
 * What libraries allocate for themselves never fails, unless they are told to use the program's
 * malloc(). Of the engine's, what is spared is what cannot fail by its contract: the application of
 * a record. A pool that cannot do that ends.
 */
#ifndef TESTS_LIB_NO_MEMORY_H
#define TESTS_LIB_NO_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

/* From here on the allocation after @n more fails; and all behind it, if @is_for_ever. */
void memory_arm(uint64_t n, bool is_for_ever);
/* No more; returns how many have failed. */
uint64_t memory_disarm(void);

/* While it is on, all allocations of all threads but the caller fail. */
void memory_starve_others(bool is_on);

/* For what is the test's own: between the two none fails. They nest. */
bool memory_spare(void);
void memory_unspare(bool was_armed);

struct device;

/* The disk is the test's own, and has all the memory that it needs. Only with the engine. */
void memory_spare_disk(struct device *device);

#endif
