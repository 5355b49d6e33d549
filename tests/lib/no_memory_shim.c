/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Preloaded: one allocation of a process fails, or all from there on. LUNETTE_NO_MEMORY is its
 * number, counted from when the program starts, with a "+" behind it for all. If it comes to that,
 * a line is added to the file LUNETTE_NO_MEMORY_TOLD.
 *
 * Whatever calls malloc() is meant, libraries too, but for what the dynamic linker needs to begin.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static _Atomic uint64_t asked;
static uint64_t fails_at;
static bool is_armed, is_for_ever;
static char told[4096];

__attribute__((constructor)) static void shim_begin(void)
{
    const char *text = getenv("LUNETTE_NO_MEMORY"), *path = getenv("LUNETTE_NO_MEMORY_TOLD");
    char *end;
    if (!text || !path || strlen(path) >= sizeof(told))
        return;
    memcpy(told, path, strlen(path) + 1);
    fails_at = strtoull(text, &end, 10);
    is_for_ever = *end == '+';
    unsetenv("LD_PRELOAD"); /* programs that it starts have all that they need */
    is_armed = true;
}

__attribute__((destructor)) static void shim_end(void)
{
    is_armed = false;
}

static bool shim_fails(void)
{
    if (!is_armed)
        return false;
    uint64_t n = asked++;
    if (n != fails_at && !(is_for_ever && n > fails_at))
        return false;
    int fd = n == fails_at ? open(told, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (fd >= 0 && write(fd, "failed\n", 7) == 7)
        close(fd);
    return true;
}

void *malloc(size_t size)
{
    return shim_fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return shim_fails() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return shim_fails() ? NULL : __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return shim_fails() ? NULL : __libc_memalign(alignment, size);
}
