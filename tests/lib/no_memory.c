/* SPDX-License-Identifier: BSD-3-Clause */
/* Stands before libc's allocator by the linker's --wrap. */
#include "tests/lib/no_memory.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local struct
{
    bool is_armed;
    bool is_for_ever; /* else only one fails */
    uint64_t left;    /* until one fails */
    uint64_t failed;
    bool is_fed; /* while others starve */
    unsigned spared;
} memory;
static _Atomic bool others_starve;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t max);

static bool memory_fails(void)
{
    if (!memory.is_armed)
        return atomic_load(&others_starve) && !memory.is_fed && memory.spared == 0;
    if (memory.left > 0)
    {
        memory.left--;
        return false;
    }
    if (memory.failed > 0 && !memory.is_for_ever)
        return false;
    memory.failed++;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return memory_fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return memory_fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return memory_fails() ? NULL : __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return memory_fails() ? NULL : __real_aligned_alloc(alignment, size);
}

char *__wrap_strndup(const char *text, size_t max)
{
    size_t len = strnlen(text, max);
    char *copy = __wrap_malloc(len + 1);
    if (!copy)
        return NULL;
    copy[len] = '\0';
    return memcpy(copy, text, len);
}

char *__wrap_strdup(const char *text)
{
    return __wrap_strndup(text, SIZE_MAX);
}

void memory_arm(uint64_t n, bool is_for_ever)
{
    memory.is_for_ever = is_for_ever;
    memory.left = n;
    memory.failed = 0;
    memory.is_armed = true;
}

uint64_t memory_disarm(void)
{
    memory.is_armed = false;
    return memory.failed;
}

bool memory_spare(void)
{
    bool was_armed = memory.is_armed;
    memory.is_armed = false;
    memory.spared++;
    return was_armed;
}

void memory_unspare(bool was_armed)
{
    memory.is_armed = was_armed;
    memory.spared -= memory.spared > 0;
}

void memory_starve_others(bool is_on)
{
    memory.is_fed = is_on;
    atomic_store(&others_starve, is_on);
}
