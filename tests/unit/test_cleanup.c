/* SPDX-License-Identifier: BSD-3-Clause */
/* Locals that release themselves: once, at the end of the scope, unless handed over. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "lun/base/cleanup.h"
#include "tests/lib/cunit_main.h"

static char order[8];
static size_t order_len;

/* Notes the letter it was given, as a destructor would release it. */
static void note(const char *letter)
{
    if (*letter)
        order[order_len++] = *letter;
}
#define AUTO_NOTE CLEANUP(note)

/* volatile, or clang leaves out a malloc() and free() that nobody looks at. */
static void *volatile given;
static void *freed;
static unsigned free_calls;

void __real_free(void *memory);
void __wrap_free(void *memory);

/* Linked with --wrap=free. */
void __wrap_free(void *memory)
{
    if (memory)
    {
        free_calls++;
        freed = memory;
    }
    __real_free(memory);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0 || errno != EBADF;
}

static void test_order(void)
{
    order_len = 0;
    {
        AUTO_NOTE char first = '1';
        AUTO_NOTE char second = '2';
        {
            AUTO_NOTE char inner = 'i';
            (void)inner;
        }
        (void)first, (void)second;
    }
    order[order_len] = '\0';
    CU_ASSERT_STRING_EQUAL(order, "i21");
}

static int leave_early(bool early)
{
    AUTO_NOTE char always = 'a';
    (void)always;
    if (early)
        return 1;
    AUTO_NOTE char late = 'l';
    (void)late;
    return 0;
}

static void test_early_return(void)
{
    order_len = 0;
    CU_ASSERT_EQUAL(leave_early(true), 1);
    CU_ASSERT_EQUAL(leave_early(false), 0);
    order[order_len] = '\0';
    CU_ASSERT_STRING_EQUAL(order, "ala");
}

static void test_free(void)
{
    free_calls = 0;
    {
        AUTO_FREE char *memory = malloc(10);
        AUTO_FREE char *nothing = NULL;
        CU_ASSERT_PTR_NOT_NULL(memory);
        given = memory;
        (void)nothing;
    }
    CU_ASSERT_EQUAL(free_calls, 1);
    CU_ASSERT_PTR_EQUAL(freed, given);
}

static void test_take_ptr(void)
{
    void *kept = NULL;
    free_calls = 0;
    {
        AUTO_FREE char *memory = malloc(10);
        kept = take_ptr(&memory);
        CU_ASSERT_PTR_NULL(memory);
    }
    CU_ASSERT_EQUAL(free_calls, 0);
    CU_ASSERT_PTR_NOT_NULL(kept);
    free(kept);
}

static void test_close(void)
{
    int seen = -1;
    {
        AUTO_CLOSE int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        AUTO_CLOSE int none = -1;
        CU_ASSERT_FATAL(fd >= 0);
        CU_ASSERT_TRUE(is_open(fd));
        seen = fd;
        (void)none;
    }
    CU_ASSERT_FALSE(is_open(seen));
}

static void test_take_fd(void)
{
    int kept = -1;
    {
        AUTO_CLOSE int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        CU_ASSERT_FATAL(fd >= 0);
        kept = take_fd(&fd);
        CU_ASSERT_EQUAL(fd, -1);
    }
    CU_ASSERT_TRUE(is_open(kept));
    close(kept);
}

static CU_TestInfo cleanup_tests[] = {
    {"last first", test_order},
    {"early return", test_early_return},
    {"memory is freed", test_free},
    {"memory is handed over", test_take_ptr},
    {"files are closed", test_close},
    {"files are handed over", test_take_fd},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"cleanup", NULL, NULL, NULL, NULL, cleanup_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
