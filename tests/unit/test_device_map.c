/* SPDX-License-Identifier: BSD-3-Clause */
/* Windows of a file: how many there are, which give way, and what they are in the process. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lun/pool/device.h"
#include "lun/pool/device_map.h"
#include "tests/lib/cunit_main.h"

#define WINDOW ((uint64_t)DEVICE_MAP_WINDOW_BYTES)
#define FAR (WINDOW * DEVICE_MAP_WINDOWS) /* the next part with the same place */

enum
{
    MAP_LEN = 64 << 10,
};

static struct device_map map;
static int fd = -1;

/* A file with data at @count places. */
static void start(const uint64_t *places, size_t count)
{
    char path[] = "/tmp/device-map-XXXXXX";
    static uint8_t bytes[MAP_LEN];
    fd = mkstemp(path);
    CU_ASSERT_FATAL(fd >= 0);
    unlink(path);
    memset(bytes, 7, sizeof(bytes));
    for (size_t i = 0; i < count; i++)
        CU_ASSERT_EQUAL(pwrite(fd, bytes, sizeof(bytes), (off_t)places[i]), MAP_LEN);
    device_map_init(&map);
}

static void stop(void)
{
    device_map_destroy(&map);
    close(fd);
}

static int lend(uint64_t offset, const void **at)
{
    return device_map_lend(&map, fd, MAP_LEN, offset, at);
}

static int touch(uint64_t offset)
{
    const void *at;
    int r = lend(offset, &at);
    if (r == 0)
        device_map_take_back(&map, offset);
    return r;
}

static void test_windows(void)
{
    uint64_t places[] = {0, WINDOW - MAP_LEN, WINDOW, FAR, WINDOW - MAP_LEN / 2};
    const void *first, *second;
    start(places, 5);
    CU_ASSERT_EQUAL_FATAL(lend(0, &first), 0);
    CU_ASSERT_EQUAL_FATAL(lend(WINDOW - MAP_LEN, &second), 0);
    CU_ASSERT_PTR_EQUAL((const uint8_t *)first + WINDOW - MAP_LEN, second);
    CU_ASSERT_EQUAL(touch(WINDOW), 0);
    CU_ASSERT_EQUAL(touch(WINDOW - MAP_LEN / 2), -EAGAIN); /* over a border */
    /* Another one at the place: only when the first is not asked for any more, nor lent from. */
    for (unsigned i = 0; i < 3 * DEVICE_MAP_MISSES; i++)
        CU_ASSERT_EQUAL(touch(FAR), -EAGAIN);
    device_map_take_back(&map, 0);
    device_map_take_back(&map, WINDOW - MAP_LEN);
    CU_ASSERT_EQUAL(touch(0), 0);
    for (unsigned i = 1; i < DEVICE_MAP_MISSES; i++)
        CU_ASSERT_EQUAL(touch(FAR), -EAGAIN);
    CU_ASSERT_EQUAL(touch(0), 0); /* it is in use */
    for (unsigned i = 1; i < DEVICE_MAP_MISSES; i++)
        CU_ASSERT_EQUAL(touch(FAR), -EAGAIN);
    CU_ASSERT_EQUAL(touch(FAR), 0);
    CU_ASSERT_EQUAL(touch(0), -EAGAIN);
    stop();
}

/* A window is there before the part of the file that it shows. */
static void test_growth(void)
{
    uint64_t first = 0;
    start(&first, 1);
    CU_ASSERT_EQUAL(touch(0), 0);
    CU_ASSERT_EQUAL(touch(8 * MAP_LEN), -EAGAIN);
    CU_ASSERT_EQUAL(ftruncate(fd, 16 * MAP_LEN), 0);
    CU_ASSERT_EQUAL(touch(8 * MAP_LEN), -EAGAIN); /* a hole is not in memory */
    uint8_t bytes[MAP_LEN] = {1};
    CU_ASSERT_EQUAL(pwrite(fd, bytes, sizeof(bytes), 8 * MAP_LEN), MAP_LEN);
    CU_ASSERT_EQUAL(touch(8 * MAP_LEN), 0);
    CU_ASSERT_EQUAL(touch(8 * MAP_LEN - 4096), -EAGAIN); /* nor is this as a whole */
    stop();
}

/* Whether the mapping at @at has this flag in /proc. */
static bool has_flag(const void *at, const char *flag)
{
    FILE *file = fopen("/proc/self/smaps", "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    char line[1024];
    bool is_it = false, found = false;
    while (fgets(line, sizeof(line), file))
    {
        unsigned long begin, end;
        if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
            is_it = begin <= (uintptr_t)at && (uintptr_t)at < end;
        found |= is_it && strncmp(line, "VmFlags:", 8) == 0 && strstr(line, flag);
    }
    fclose(file);
    return found;
}

static void test_process(void)
{
    uint64_t first = 0;
    const void *at;
    start(&first, 1);
    CU_ASSERT_EQUAL_FATAL(lend(0, &at), 0);
    CU_ASSERT_TRUE(has_flag(at, " dd")); /* not in core dumps */
    CU_ASSERT_TRUE(has_flag(at, " dc")); /* nor in children */
    CU_ASSERT_FALSE(has_flag(at, " wr"));
    device_map_take_back(&map, 0);
    stop();
}

/* Without address space nothing is lent, and later it is. */
static void test_no_room(void)
{
    uint64_t first = 0;
    start(&first, 1);
    struct rlimit before, none;
    CU_ASSERT_EQUAL(getrlimit(RLIMIT_AS, &before), 0);
    none = before;
    none.rlim_cur = 1 << 20;
    CU_ASSERT_EQUAL(setrlimit(RLIMIT_AS, &none), 0);
    int r = touch(0);
    CU_ASSERT_EQUAL(setrlimit(RLIMIT_AS, &before), 0);
    CU_ASSERT_EQUAL(r, -EAGAIN);
    CU_ASSERT_EQUAL(touch(0), 0);
    stop();
}

static CU_TestInfo map_tests[] = {
    {"windows and their places", test_windows},
    {"a file that grows", test_growth},
    {"neither dumped nor inherited", test_process},
    {"no address space", test_no_room},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"device_map", NULL, NULL, NULL, NULL, map_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
