/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory for secrets: locked and in no core dump where that may be, zeros, wiped, enough of it. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "server/secret_memory.h"
#include "tests/lib/cunit_main.h"

enum
{
    BYTES = 1500,
    NOBODY = 65534,
    MANY = 200, /* more than there is room for in locked pages */
};

/* The kernel's flags of the pages at @memory, " lo " among them if they are locked. */
static void flags_of(const void *memory, char *flags, size_t size)
{
    uintptr_t from = 0, to = 0;
    char line[512];
    FILE *file = fopen("/proc/self/smaps", "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    flags[0] = '\0';
    while (!flags[0] && fgets(line, sizeof(line), file))
    {
        uintptr_t begin, end;
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &begin, &end) == 2)
            from = begin, to = end;
        else if (strncmp(line, "VmFlags:", 8) == 0 && (uintptr_t)memory >= from &&
                 (uintptr_t)memory < to)
            snprintf(flags, size, "%s", line);
    }
    fclose(file);
}

static bool is_zero(const volatile char *memory, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (memory[i] != 0)
            return false;
    return true;
}

/* In a process that may lock nothing. */
static int use_without_right(void)
{
    const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_MEMLOCK, &none) < 0 || (geteuid() == 0 && setuid(NOBODY) < 0))
        return 2;
    char *memory = secret_alloc(BYTES);
    if (!memory || !is_zero(memory, BYTES) || secret_memory_is_locked())
        return 1;
    memset(memory, 1, BYTES);
    secret_free(memory, BYTES);
    return 0;
}

/* First, as what is found out once holds. */
static void test_no_right(void)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0)
        _exit(use_without_right());
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT_EQUAL(status, 0);
}

static void test_locked(void)
{
    char flags[512];
    if (!secret_memory_is_locked())
        return; /* it may not here either */
    char *memory = secret_alloc(BYTES);
    CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
    CU_ASSERT_TRUE(is_zero(memory, BYTES));
    memset(memory, 1, BYTES);
    flags_of(memory, flags, sizeof(flags));
    CU_ASSERT_PTR_NOT_NULL(strstr(flags, " lo "));
    CU_ASSERT_PTR_NOT_NULL(strstr(flags, " dd "));
    const volatile char *was = memory;
    secret_free(memory, BYTES);
    CU_ASSERT_TRUE(is_zero(was, BYTES));
    secret_free(NULL, BYTES);
}

static void test_many(void)
{
    char *all[MANY];
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
    {
        all[i] = secret_alloc(BYTES);
        CU_ASSERT_PTR_NOT_NULL_FATAL(all[i]);
        CU_ASSERT_TRUE(is_zero(all[i], BYTES));
        memset(all[i], 1, BYTES);
    }
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        secret_free(all[i], BYTES);
}

static CU_TestInfo secret_memory_tests[] = {
    {"without the right to lock pages", test_no_right},
    {"locked, not dumped, wiped", test_locked},
    {"more than fits into it", test_many},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"secret memory", NULL, NULL, NULL, NULL, secret_memory_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
