/* SPDX-License-Identifier: BSD-3-Clause */
/* A fuzz target whose allocations do not fail. */
#include "tests/fuzz/fuzz.h"

void fuzz_before(void)
{
}
void fuzz_after(void)
{
}
