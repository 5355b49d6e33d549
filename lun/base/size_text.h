/* SPDX-License-Identifier: BSD-3-Clause */
/* Sizes for people, in messages: "64 MiB", "1.5 GiB (1610613248 bytes)". */
#ifndef LUN_BASE_SIZE_TEXT_H
#define LUN_BASE_SIZE_TEXT_H

#include <stdint.h>

struct size_text
{
    char text[48];
};

/* In the largest unit that leaves at least 1; with the bytes where that is not exact. */
struct size_text size_text(uint64_t bytes);

#endif
