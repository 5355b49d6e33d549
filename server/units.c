/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sizes and durations as people write them.
 *
 * Integers all the way: a size never passes through a floating point number, so 2^60 stays exact.
 */
#include "server/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lun/base/checked.h"
#include "lun/limits.h"

static const char units_letters[] = "BKMGTPE";

/* The power of 1024 that a suffix stands for, or -1. */
static int units_power(const char *suffix)
{
    if (!*suffix || strcasecmp(suffix, "B") == 0)
        return 0;
    char letter = (char)(*suffix >= 'a' && *suffix <= 'z' ? *suffix - 'a' + 'A' : *suffix);
    const char *found = strchr(units_letters + 1, letter);
    if (!found)
        return -1;
    const char *rest = suffix + 1;
    if (*rest && strcasecmp(rest, "B") != 0 && strcasecmp(rest, "iB") != 0)
        return -1;
    return (int)(found - units_letters);
}

/* Reads digits into *number; returns what follows, or NULL on overflow. *digits counts them. */
static const char *units_digits(const char *text, uint64_t *number, int *digits)
{
    *number = 0;
    *digits = 0;
    for (; *text >= '0' && *text <= '9'; text++, ++*digits)
        if (!checked_mul(*number, 10, number) ||
            !checked_add(*number, (uint64_t)(*text - '0'), number))
            return NULL;
    return text;
}

int units_parse_bytes(const char *text, uint64_t *bytes, struct reason *why)
{
    uint64_t whole, fraction = 0, scale = 1, unit, total;
    int digits, fraction_digits = 0;
    const char *at = units_digits(text, &whole, &digits);
    if (at && *at == '.' && digits > 0)
        at = units_digits(at + 1, &fraction, &fraction_digits);
    int power = at ? units_power(at) : 0;
    if (digits == 0 || power < 0 || fraction_digits > 9 || (fraction_digits > 0 && power == 0))
        return reason_set(why, -EINVAL,
                          "\"%s\" is not a size: write a number of bytes, or 512M, 10G, 1.5T",
                          text);
    for (int i = 0; i < fraction_digits; i++)
        scale *= 10;
    unit = UINT64_C(1) << (10 * power);
    if (!at || !checked_mul(whole, unit, &total))
        return reason_set(why, -ERANGE, "\"%s\" is more than 64 bits can hold", text);
    if (fraction > 0)
    {
        /* fraction < 10^9 < 2^30 and unit / scale * fraction < 2^60: split so that it cannot wrap.
         */
        uint64_t part = unit / scale * fraction + (unit % scale * fraction + scale - 1) / scale;
        if (!checked_add(total, part, &total) || total > UINT64_MAX - LUN_BLK_BYTES)
            return reason_set(why, -ERANGE, "\"%s\" is more than 64 bits can hold", text);
        total = round_up(total, LUN_BLK_BYTES);
    }
    *bytes = total;
    return 0;
}

int units_parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *number,
                       struct reason *why)
{
    char *end;
    errno = 0;
    unsigned long long parsed = strtoull(text, &end, 0);
    if (*text < '0' || *text > '9' || *end)
        return reason_set(why, -EINVAL, "\"%s\" is not a whole number", text);
    if (errno == ERANGE || parsed < min || parsed > max)
        return reason_set(why, -ERANGE, "%s is outside %" PRIu64 " to %" PRIu64, text, min, max);
    *number = parsed;
    return 0;
}

int units_parse_ms(const char *text, uint64_t *ms, struct reason *why)
{
    static const struct
    {
        const char *suffix;
        uint64_t ms;
    } units[] = {{"ms", 1},      {"s", 1000},    {"", 1000},      {"m", 60000},
                 {"min", 60000}, {"h", 3600000}, {"d", 86400000}, {"w", 604800000}};
    uint64_t number;
    int digits;
    const char *at = units_digits(text, &number, &digits);
    for (size_t i = 0; at && digits > 0 && i < ARRAY_SIZE(units); i++)
    {
        if (strcmp(at, units[i].suffix) != 0)
            continue;
        if (!checked_mul(number, units[i].ms, ms))
            break;
        return 0;
    }
    return reason_set(why, -EINVAL, "\"%s\" is not a duration: write 500ms, 5s, 2m, 1h, 7d or 4w",
                      text);
}

int units_parse_bool(const char *text, bool *value, struct reason *why)
{
    static const char *const yes[] = {"yes", "on", "true", "1", "enabled"};
    static const char *const no[] = {"no", "off", "false", "0", "disabled"};
    for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
    {
        bool is_yes = strcasecmp(text, yes[i]) == 0;
        if (!is_yes && strcasecmp(text, no[i]) != 0)
            continue;
        *value = is_yes;
        return 0;
    }
    return reason_set(why, -EINVAL, "\"%s\" is neither yes nor no", text);
}

char *units_format_bytes(uint64_t bytes, char unit, char text[UNITS_TEXT_MAX])
{
    int power = 0;
    const char *fixed = strchr(units_letters, unit);
    if (fixed && *fixed)
        power = (int)(fixed - units_letters);
    else
        while (power < 6 && bytes >> (10 * (power + 1)) > 0)
            power++;
    uint64_t whole = bytes >> (10 * power);
    uint64_t rest = bytes & ((UINT64_C(1) << (10 * power)) - 1);
    if (power == 0)
    {
        snprintf(text, UNITS_TEXT_MAX, "%" PRIu64 " B", whole);
        return text;
    }
    /* Cut off, not rounded: 1023.999 GiB must not read as more than there is. */
    uint64_t hundredths = power == 6 ? (rest >> 10) * 100 >> 50 : rest * 100 >> (10 * power);
    bool is_fixed = fixed && *fixed; /* all of a column alike */
    if (!is_fixed && hundredths == 0)
        snprintf(text, UNITS_TEXT_MAX, "%" PRIu64 " %ciB", whole, units_letters[power]);
    else if (!is_fixed && hundredths % 10 == 0)
        snprintf(text, UNITS_TEXT_MAX, "%" PRIu64 ".%" PRIu64 " %ciB", whole, hundredths / 10,
                 units_letters[power]);
    else
        snprintf(text, UNITS_TEXT_MAX, "%" PRIu64 ".%02" PRIu64 " %ciB", whole, hundredths,
                 units_letters[power]);
    return text;
}
