/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/base/invariant.h"

#include <stdio.h>
#include <stdlib.h>

void invariant_failed(const char *condition, const char *file, int line, const char *function)
{
    fprintf(stderr, "lunette: invariant failed: %s (%s, %s:%d)\n", condition, function, file, line);
    abort();
}
