/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When a schedule is due: boundaries of local time.
 *
 * A kind is "hourly", "daily" (midnight), "weekly" (Sunday's), "monthly" (the 1st's), or "5min",
 * "6hour", "10sec", where the number divides the hour, the day, the minute.
 *
 * A time is a kind, or "daily@02:00", "weekly@02:00", "monthly@02:00": that much later in its day.
 */
#ifndef SERVER_POLICY_CALENDAR_H
#define SERVER_POLICY_CALENDAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/base/err.h"

enum
{
    CALENDAR_KIND_MAX = 15,  /* bytes; also of a time */
    CALENDAR_STAMP_MAX = 31, /* bytes, with its NUL */
};

/* -EINVAL: there is no such kind. */
MUST_CHECK int calendar_check(const char *kind, struct reason *why);
/* The same of a time. */
MUST_CHECK int calendar_check_time(const char *time, struct reason *why);
/* The latest boundary of @kind (or time) at or before @now_s, in seconds since 1970. */
uint64_t calendar_boundary(const char *kind, uint64_t now_s);
/* The first one after @now_s. */
uint64_t calendar_next(const char *kind, uint64_t now_s);
/* Seconds until something of @kind may be due, at most a minute: clocks are set at times. */
uint64_t calendar_wait(const char *kind, uint64_t now_s);

/* "hourly.2026-11-27_2205" without the kind. */
void calendar_stamp(const char *kind, uint64_t now_s, char stamp[CALENDAR_STAMP_MAX]);
/* Whether @text is a stamp, perhaps with ".2" to ".9" behind it. */
bool calendar_is_stamp(const char *text);

#endif
