/* SPDX-License-Identifier: BSD-3-Clause */
/* Sizes and durations as people write them. */
#ifndef SERVER_UNITS_H
#define SERVER_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/base/err.h"

enum
{
    UNITS_TEXT_MAX = 32
};

/*
 * "4096", "512M", "10G", "1.5T", "10GiB": binary units, K M G T P E. Without a unit: bytes. A
 * fraction that is no whole number of 4096 bytes is rounded up to one. -EINVAL, -ERANGE.
 */
MUST_CHECK int units_parse_bytes(const char *text, uint64_t *bytes, struct reason *why);

/* A whole number in [min, max], decimal or 0x... or 0... (octal, for modes). -EINVAL, -ERANGE. */
MUST_CHECK int units_parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *number,
                                  struct reason *why);

/* "500ms", "5s", "2m", "1h", "7d", "4w"; without a unit: seconds. -EINVAL, -ERANGE. */
MUST_CHECK int units_parse_ms(const char *text, uint64_t *ms, struct reason *why);

/* "yes", "no", "on", "off", "true", "false", "1", "0". -EINVAL. */
MUST_CHECK int units_parse_bool(const char *text, bool *value, struct reason *why);

/*
 * @bytes in @unit: 'h' the largest that leaves a number of at least 1, with two decimals
 * ("1.50GiB", "0B"); 'B', 'K', 'M', 'G', 'T', 'P' that one. Returns @text.
 */
char *units_format_bytes(uint64_t bytes, char unit, char text[UNITS_TEXT_MAX]);

#endif
