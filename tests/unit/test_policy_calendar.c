/* SPDX-License-Identifier: BSD-3-Clause */
/* Boundaries of local time. The time zone is written out: a test machine may know none. */
#include "server/policy/calendar.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lun/base/checked.h"
#include "tests/lib/cunit_main.h"

static void set_zone(const char *zone)
{
    setenv("TZ", zone, 1);
    tzset();
}

static int set_up(void)
{
    set_zone("CET-1CEST,M3.5.0,M10.5.0/3"); /* Berlin's rules */
    return 0;
}

/* A moment of UTC. */
static uint64_t utc(const char *text)
{
    struct tm tm = {0};
    CU_ASSERT_PTR_NOT_NULL_FATAL(strptime(text, "%Y-%m-%d %H:%M:%S", &tm));
    return (uint64_t)timegm(&tm);
}

static void test_kinds(void)
{
    static const char *const good[] = {"hourly", "daily", "weekly", "monthly", "1sec",
                                       "10sec",  "5min",  "15min",  "30min",   "1min",
                                       "1hour",  "6hour", "12hour"};
    static const char *const bad[] = {
        "",    "yearly", "7min",  "60min", "5hour", "24hour",           "0min",  "5",
        "min", "-5min",  "5mins", "5 min", "05min", "9999999999999min", "Hourly"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        CU_ASSERT_EQUAL(calendar_check(good[i], NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CU_ASSERT_EQUAL(calendar_check(bad[i], NULL), -EINVAL);
}

static void test_boundaries(void)
{
    /* Friday, 15:47:33 in Berlin. */
    uint64_t now = utc("2026-11-27 14:47:33");
    CU_ASSERT_EQUAL(calendar_boundary("10sec", now), utc("2026-11-27 14:47:30"));
    CU_ASSERT_EQUAL(calendar_boundary("15min", now), utc("2026-11-27 14:45:00"));
    CU_ASSERT_EQUAL(calendar_boundary("hourly", now), utc("2026-11-27 14:00:00"));
    CU_ASSERT_EQUAL(calendar_boundary("6hour", now), utc("2026-11-27 11:00:00")); /* 12:00 */
    CU_ASSERT_EQUAL(calendar_boundary("daily", now), utc("2026-11-26 23:00:00"));
    CU_ASSERT_EQUAL(calendar_boundary("weekly", now), utc("2026-11-21 23:00:00"));  /* Sunday */
    CU_ASSERT_EQUAL(calendar_boundary("monthly", now), utc("2026-10-31 23:00:00")); /* the 1st */
    CU_ASSERT_EQUAL(calendar_boundary("hourly", utc("2026-11-27 14:00:00")),
                    utc("2026-11-27 14:00:00")); /* at one */
    CU_ASSERT_EQUAL(calendar_wait("hourly", now), 27);
    CU_ASSERT_EQUAL(calendar_wait("10sec", now), 7);
}

/* Whatever clocks do, boundaries do not go back and are not in the future, and each day and each
 * hour has one. */
static void test_summer_time(void)
{
    static const char *const kinds[] = {"5min", "hourly", "6hour", "daily", "weekly", "monthly"};
    static const char *const from[] = {"2026-03-28 00:00:00", "2026-10-24 00:00:00"};
    static const unsigned hourly[] = {72, 72};
    for (size_t change = 0; change < ARRAY_SIZE(from); change++)
    {
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        {
            uint64_t begin = utc(from[change]), last = 0;
            unsigned count = 0, wrong = 0;
            for (uint64_t now = begin; now < begin + 3 * UINT64_C(86400); now += 60)
            {
                uint64_t boundary = calendar_boundary(kinds[i], now);
                wrong += boundary > now || boundary < last || boundary == 0;
                count += boundary > last;
                last = boundary;
            }
            CU_ASSERT_EQUAL(wrong, 0);
            if (strcmp(kinds[i], "hourly") == 0)
                CU_ASSERT_EQUAL(count, hourly[change]);
            if (strcmp(kinds[i], "daily") == 0)
                CU_ASSERT_EQUAL(count, 4); /* three midnights, and the one before */
        }
    }
}

static void test_times(void)
{
    static const char *const good[] = {"hourly",      "daily",        "15min",        "daily@00:00",
                                       "daily@02:00", "weekly@23:59", "monthly@12:30"};
    static const char *const bad[] = {
        "daily@",       "daily@2:00",  "daily@24:00", "daily@02:60",  "daily@02:00x",
        "hourly@02:00", "15min@02:00", "@02:00",      "yearly@02:00", "daily@02:00@02:00"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        CU_ASSERT_EQUAL(calendar_check_time(good[i], NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CU_ASSERT_EQUAL(calendar_check_time(bad[i], NULL), -EINVAL);
    CU_ASSERT_EQUAL(calendar_check("daily@02:00", NULL), -EINVAL); /* no name of a snapshot */
    /* Friday, 15:47:33 in Berlin. */
    uint64_t now = utc("2026-11-27 14:47:33");
    CU_ASSERT_EQUAL(calendar_boundary("daily@02:00", now), utc("2026-11-27 01:00:00"));
    CU_ASSERT_EQUAL(calendar_boundary("daily@16:00", now), utc("2026-11-26 15:00:00"));
    CU_ASSERT_EQUAL(calendar_boundary("daily@00:00", now), utc("2026-11-26 23:00:00"));
    CU_ASSERT_EQUAL(calendar_boundary("weekly@03:30", now), utc("2026-11-22 02:30:00"));
    CU_ASSERT_EQUAL(calendar_boundary("monthly@02:00", now), utc("2026-11-01 01:00:00"));
    CU_ASSERT_EQUAL(calendar_boundary("monthly@02:00", utc("2026-11-01 00:30:00")),
                    utc("2026-10-01 00:00:00"));
    CU_ASSERT_EQUAL(calendar_boundary("weekly@03:30", utc("2026-11-22 02:29:00")),
                    utc("2026-11-15 02:30:00"));
    CU_ASSERT_EQUAL(calendar_next("daily@02:00", now), utc("2026-11-28 01:00:00"));
    CU_ASSERT_EQUAL(calendar_next("daily@16:00", now), utc("2026-11-27 15:00:00"));
    CU_ASSERT_EQUAL(calendar_next("weekly", now), utc("2026-11-28 23:00:00"));
    CU_ASSERT_EQUAL(calendar_next("monthly@02:00", now), utc("2026-12-01 01:00:00"));
    CU_ASSERT_EQUAL(calendar_next("10sec", now), utc("2026-11-27 14:47:40"));
    CU_ASSERT_EQUAL(calendar_next("hourly", utc("2026-11-27 14:00:00")),
                    utc("2026-11-27 15:00:00"));
}

/* Each day has its time once, also where clocks go over it or pass it twice. */
static void test_times_in_summer(void)
{
    static const char *const days[] = {"2026-03-27 12:00:00", "2026-10-23 12:00:00"};
    static const char *const times[] = {"daily@02:00", "daily@02:30", "daily@03:00"};
    for (size_t i = 0; i < ARRAY_SIZE(days) * ARRAY_SIZE(times); i++)
    {
        const char *time = times[i % ARRAY_SIZE(times)];
        uint64_t begin = utc(days[i / ARRAY_SIZE(times)]), last = 0;
        unsigned count = 0, wrong = 0;
        for (uint64_t now = begin; now < begin + 3 * UINT64_C(86400); now += 60)
        {
            uint64_t boundary = calendar_boundary(time, now);
            wrong += boundary > now || boundary < last;
            count += boundary > last;
            last = boundary;
        }
        CU_ASSERT_EQUAL(wrong, 0);
        CU_ASSERT_EQUAL(count, 4); /* of three nights, and the one before */
    }
}

static void test_stamps(void)
{
    char stamp[CALENDAR_STAMP_MAX];
    uint64_t now = utc("2026-11-27 21:05:09");
    calendar_stamp("hourly", now, stamp);
    CU_ASSERT_STRING_EQUAL(stamp, "2026-11-27_2205");
    calendar_stamp("10sec", now, stamp);
    CU_ASSERT_STRING_EQUAL(stamp, "2026-11-27_220509");
    CU_ASSERT_TRUE(calendar_is_stamp("2026-11-27_2205"));
    CU_ASSERT_TRUE(calendar_is_stamp("2026-11-27_220509"));
    CU_ASSERT_TRUE(calendar_is_stamp("2026-11-27_2205.2"));
    static const char *const bad[] = {
        "",  "2026-11-27",       "2026-11-27_22",      "2026-11-27_2205.1",
        "x", "2026-11-27_2205x", "2026-11-27_2205.22", "kept"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CU_ASSERT_FALSE(calendar_is_stamp(bad[i]));
}

static CU_TestInfo calendar_tests[] = {
    {"kinds of schedule", test_kinds},
    {"boundaries", test_boundaries},
    {"clocks that are set forward and back", test_summer_time},
    {"times of the day", test_times},
    {"times of the day when clocks are set", test_times_in_summer},
    {"stamps", test_stamps},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"calendar", set_up, NULL, NULL, NULL, calendar_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
