/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/base/size_text.h"

#include <inttypes.h>
#include <stdio.h>

#include "lun/base/checked.h"

struct size_text size_text(uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    struct size_text size;
    double value = (double)bytes;
    size_t unit = 0;
    for (; value >= 1024; unit++)
        value /= 1024;
    if (bytes % (UINT64_C(1) << (10 * unit)) == 0)
        snprintf(size.text, sizeof(size.text), "%" PRIu64 " %s", bytes >> (10 * unit),
                 bytes == 1 ? "byte" : units[unit]);
    else
        snprintf(size.text, sizeof(size.text), "%.1f %s (%" PRIu64 " bytes)", value, units[unit],
                 bytes);
    return size;
}
