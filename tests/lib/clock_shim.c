/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Preloaded into a program: its wall clock is ahead of the machine's by as many seconds as the file
 * that LUNETTE_TEST_CLOCK names says, a number of at most 30 characters, at any moment. The clocks
 * that count from the start of the machine are left alone, as they are when somebody sets the time.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SHIM_EXPORT __attribute__((visibility("default")))

enum
{
    SHIM_FILE_BYTES = 32,
};

static const char *shim_ahead; /* the file, mapped; NULL: there is none */

__attribute__((constructor)) static void shim_begin(void)
{
    const char *path = getenv("LUNETTE_TEST_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *map = mmap(NULL, SHIM_FILE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (map != MAP_FAILED)
        shim_ahead = map;
}

SHIM_EXPORT int clock_gettime(clockid_t clock, struct timespec *now)
{
    int r = (int)syscall(SYS_clock_gettime, clock, now);
    if (r == 0 && shim_ahead && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += strtol(shim_ahead, NULL, 10);
    return r;
}

SHIM_EXPORT int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    *now = (struct timeval){.tv_sec = precise.tv_sec, .tv_usec = precise.tv_nsec / 1000};
    return 0;
}

SHIM_EXPORT time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}
