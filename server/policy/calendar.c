/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/policy/calendar.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lun/base/checked.h"

enum calendar_unit
{
    CALENDAR_SECONDS,
    CALENDAR_MINUTES,
    CALENDAR_HOURS,
    CALENDAR_DAYS,
    CALENDAR_WEEKS,
    CALENDAR_MONTHS,
};

struct calendar_kind
{
    enum calendar_unit unit;
    int every;
    int at_min; /* of the day; of days, weeks and months */
};

static const struct
{
    const char *name;
    struct calendar_kind kind;
} calendar_names[] = {
    {"hourly", {CALENDAR_HOURS, 1, 0}},
    {"daily", {CALENDAR_DAYS, 1, 0}},
    {"weekly", {CALENDAR_WEEKS, 1, 0}},
    {"monthly", {CALENDAR_MONTHS, 1, 0}},
};

/* What "5min" may end in, and what its number has to divide. */
static const struct
{
    const char *suffix;
    enum calendar_unit unit;
    int whole;
} calendar_suffixes[] = {
    {"sec", CALENDAR_SECONDS, 60},
    {"min", CALENDAR_MINUTES, 60},
    {"hour", CALENDAR_HOURS, 24},
};

static bool calendar_parse_kind(const char *text, struct calendar_kind *kind)
{
    for (size_t i = 0; i < ARRAY_SIZE(calendar_names); i++)
        if (strcmp(text, calendar_names[i].name) == 0)
        {
            *kind = calendar_names[i].kind;
            return true;
        }
    char *end;
    long every = *text >= '1' && *text <= '9' ? strtol(text, &end, 10) : 0;
    for (size_t i = 0; every > 0 && i < ARRAY_SIZE(calendar_suffixes); i++)
    {
        int whole = calendar_suffixes[i].whole;
        if (strcmp(end, calendar_suffixes[i].suffix) != 0 || every >= whole || whole % every != 0)
            continue;
        *kind = (struct calendar_kind){.unit = calendar_suffixes[i].unit, .every = (int)every};
        return true;
    }
    return false;
}

/* "02:00", in minutes; -1: it is none. */
static int calendar_parse_minutes(const char *text)
{
    for (int i = 0; i < 5; i++)
        if (i == 2 ? text[i] != ':' : text[i] < '0' || text[i] > '9')
            return -1;
    int hours = (text[0] - '0') * 10 + text[1] - '0',
        minutes = (text[3] - '0') * 10 + text[4] - '0';
    return text[5] || hours > 23 || minutes > 59 ? -1 : hours * 60 + minutes;
}

/* A kind or a time. */
static bool calendar_parse(const char *text, struct calendar_kind *kind)
{
    char name[CALENDAR_KIND_MAX + 1];
    const char *at = strchrnul(text, '@');
    size_t len = (size_t)(at - text);
    if (len > CALENDAR_KIND_MAX)
        return false;
    memcpy(name, text, len);
    name[len] = '\0';
    bool is_kind = calendar_parse_kind(name, kind);
    if (!is_kind || !*at)
        return is_kind;
    kind->at_min = calendar_parse_minutes(at + 1);
    return kind->at_min >= 0 && kind->unit >= CALENDAR_DAYS;
}

int calendar_check_time(const char *time, struct reason *why)
{
    struct calendar_kind parsed;
    if (strlen(time) <= CALENDAR_KIND_MAX && calendar_parse(time, &parsed))
        return 0;
    return reason_set(
        why, -EINVAL,
        "\"%.40s\" is no schedule: hourly, daily, weekly, monthly, as 15min, 6hour (a "
        "number that divides the hour or the day), or as daily@02:00",
        time);
}

int calendar_check(const char *kind, struct reason *why)
{
    struct calendar_kind parsed;
    if (strlen(kind) <= CALENDAR_KIND_MAX && calendar_parse_kind(kind, &parsed))
        return 0;
    return reason_set(why, -EINVAL,
                      "\"%.40s\" is no kind of schedule: hourly, daily, weekly, monthly, or as "
                      "15min, 6hour (a number that divides the hour or the day)",
                      kind);
}

/* The first moment with that date; one in an hour that is left out counts as in the next. */
static uint64_t calendar_first(struct tm date)
{
    struct tm earlier;
    int wanted_min = date.tm_hour * 60 + date.tm_min;
    date.tm_isdst = -1;
    time_t made = mktime(&date);
    if (made <= 3600)
        return 0;
    /* Where clocks go over it or pass it twice, mktime() may choose either. */
    if (date.tm_hour * 60 + date.tm_min < wanted_min)
        made += 3600;
    time_t hour_before = made - 3600;
    bool is_twice =
        localtime_r(&hour_before, &earlier) && earlier.tm_hour * 60 + earlier.tm_min == wanted_min;
    return (uint64_t)(is_twice ? hour_before : made);
}

/* A boundary that is a time of a day; @date has the day of now, or the first of its week, month. */
static uint64_t calendar_from_time(const struct calendar_kind *kind, struct tm date, uint64_t now_s)
{
    date.tm_hour = kind->at_min / 60;
    date.tm_min = kind->at_min % 60;
    uint64_t boundary_s = calendar_first(date);
    if (boundary_s <= now_s)
        return boundary_s;
    if (kind->unit == CALENDAR_MONTHS)
        date.tm_mon--;
    else
        date.tm_mday -= kind->unit == CALENDAR_WEEKS ? 7 : 1;
    return calendar_first(date);
}

/* A boundary that is made of parts of a date. */
static uint64_t calendar_from_date(const struct calendar_kind *kind, struct tm date, uint64_t now_s)
{
    date.tm_sec = date.tm_min = 0;
    date.tm_isdst = -1;
    date.tm_hour = kind->unit == CALENDAR_HOURS ? date.tm_hour - date.tm_hour % kind->every : 0;
    if (kind->unit == CALENDAR_WEEKS)
        date.tm_mday -= date.tm_wday;
    if (kind->unit == CALENDAR_MONTHS)
        date.tm_mday = 1;
    if (kind->at_min > 0)
        return calendar_from_time(kind, date, now_s);
    time_t made = mktime(&date);
    /* An hour that is there twice, or not at all, may be taken for the later one. */
    uint64_t boundary_s = made > 0 ? (uint64_t)made : 0;
    return boundary_s > now_s ? boundary_s - 3600 : boundary_s;
}

uint64_t calendar_boundary(const char *text, uint64_t now_s)
{
    struct calendar_kind kind = {CALENDAR_HOURS, 1, 0};
    time_t now = (time_t)now_s;
    struct tm date;
    if (!calendar_parse(text, &kind) || !localtime_r(&now, &date))
        return 0;
    uint64_t second = (uint64_t)date.tm_sec, minute = (uint64_t)date.tm_min;
    if (kind.unit == CALENDAR_SECONDS)
        return now_s - second % (uint64_t)kind.every;
    if (kind.unit == CALENDAR_MINUTES)
        return now_s - second - minute % (uint64_t)kind.every * 60;
    /* Each hour has its beginning, also the one that is there twice. */
    if (kind.unit == CALENDAR_HOURS && kind.every == 1)
        return now_s - second - minute * 60;
    return calendar_from_date(&kind, date, now_s);
}

uint64_t calendar_next(const char *text, uint64_t now_s)
{
    /* Longer than any month; boundaries only go on, so the first moment with a later one is one. */
    uint64_t last = calendar_boundary(text, now_s), low_s = now_s,
             high_s = now_s + 32 * UINT64_C(86400);
    while (high_s - low_s > 1)
    {
        uint64_t middle_s = low_s + (high_s - low_s) / 2;
        if (calendar_boundary(text, middle_s) > last)
            high_s = middle_s;
        else
            low_s = middle_s;
    }
    return high_s;
}

uint64_t calendar_wait(const char *text, uint64_t now_s)
{
    struct calendar_kind kind = {CALENDAR_MINUTES, 1, 0};
    uint64_t every = calendar_parse(text, &kind) && kind.unit == CALENDAR_SECONDS
                         ? (uint64_t)kind.every
                         : 60; /* offsets of local time are whole minutes */
    return every - now_s % every;
}

void calendar_stamp(const char *text, uint64_t now_s, char stamp[CALENDAR_STAMP_MAX])
{
    struct calendar_kind kind = {CALENDAR_MINUTES, 1, 0};
    time_t now = (time_t)now_s;
    struct tm date = {0};
    bool has_seconds = calendar_parse(text, &kind) && kind.unit == CALENDAR_SECONDS;
    if (!localtime_r(&now, &date) ||
        strftime(stamp, CALENDAR_STAMP_MAX, has_seconds ? "%Y-%m-%d_%H%M%S" : "%Y-%m-%d_%H%M",
                 &date) == 0)
        snprintf(stamp, CALENDAR_STAMP_MAX, "%llu", (unsigned long long)now_s);
}

bool calendar_is_stamp(const char *text)
{
    static const char shape[] = "dddd-dd-dd_dddd";
    const char *at = text;
    for (const char *want = shape; *want; want++, at++)
        if (*want == 'd' ? *at < '0' || *at > '9' : *at != *want)
            return false;
    if (at[0] >= '0' && at[0] <= '9' && at[1] >= '0' && at[1] <= '9')
        at += 2;
    if (at[0] == '.' && at[1] >= '2' && at[1] <= '9')
        at += 2;
    return *at == '\0';
}
