/* SPDX-License-Identifier: BSD-3-Clause */
/* Figures for people, in messages: "64 MiB", "1.5 GiB (1610613248 bytes)", "1 LUN", "2 LUNs". */
#ifndef LUN_BASE_SIZE_TEXT_H
#define LUN_BASE_SIZE_TEXT_H

#include <stdint.h>

struct size_text
{
    char text[48];
};

/* In the largest unit that leaves at least 1; with the bytes where that is not exact. */
struct size_text size_text(uint64_t bytes);

/* What a noun has at its end when there are @count of it. */
static inline const char *plural_s(uint64_t count)
{
    return count == 1 ? "" : "s";
}

#endif
