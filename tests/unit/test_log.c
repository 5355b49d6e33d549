/* SPDX-License-Identifier: BSD-3-Clause */
/* Log lines: level, sink, standard error, and lines that are too long. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lun/base/cleanup.h"
#include "lun/base/log.h"
#include "tests/lib/cunit_main.h"

static unsigned sink_calls;
static enum log_level sink_level;
static char sink_text[4096];

static void sink(enum log_level level, const char *text)
{
    sink_calls++;
    sink_level = level;
    snprintf(sink_text, sizeof(sink_text), "%s", text);
}

static void sink_start(enum log_level level)
{
    sink_calls = 0;
    log_set_sink(sink);
    log_set_level(level);
}

static void sink_stop(void)
{
    log_set_sink(NULL);
    log_set_level(LOG_LEVEL_INFO);
}

static void test_sink(void)
{
    sink_start(LOG_LEVEL_DEBUG);
    log_error("block %d of %s", 12, "pool");
    CU_ASSERT_EQUAL(sink_calls, 1);
    CU_ASSERT_EQUAL(sink_level, LOG_LEVEL_ERROR);
    CU_ASSERT_STRING_EQUAL(sink_text, "block 12 of pool");
    log_warning("w");
    CU_ASSERT_EQUAL(sink_level, LOG_LEVEL_WARNING);
    log_info("i");
    CU_ASSERT_EQUAL(sink_level, LOG_LEVEL_INFO);
    log_debug("d");
    CU_ASSERT_EQUAL(sink_level, LOG_LEVEL_DEBUG);
    CU_ASSERT_EQUAL(sink_calls, 4);
    sink_stop();
}

static void test_level(void)
{
    sink_start(LOG_LEVEL_WARNING);
    log_debug("dropped");
    log_info("dropped");
    CU_ASSERT_EQUAL(sink_calls, 0);
    log_warning("kept");
    log_error("kept");
    CU_ASSERT_EQUAL(sink_calls, 2);
    sink_stop();
}

static void test_long_line(void)
{
    char text[5000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    sink_start(LOG_LEVEL_INFO);
    log_info("%s", text);
    CU_ASSERT_EQUAL(sink_calls, 1);
    CU_ASSERT_EQUAL(strlen(sink_text), 2047);
    sink_stop();
}

/* Without a sink: to standard error, with program, level and newline; debug is off at first. */
static void test_standard_error(void)
{
    FILE *file = tmpfile();
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fflush(stderr);
    AUTO_CLOSE int saved = dup(STDERR_FILENO);
    CU_ASSERT_FATAL(saved >= 0);
    dup2(fileno(file), STDERR_FILENO);
    log_error("one %d", 1);
    log_debug("not shown");
    log_info("two");
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    rewind(file);
    char text[200] = "";
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    text[len] = '\0';
    CU_ASSERT_STRING_EQUAL(text, "lunette: error: one 1\nlunette: info: two\n");
    fclose(file);
}

static CU_TestInfo log_tests[] = {
    {"standard error", test_standard_error}, {"a sink", test_sink}, {"levels", test_level},
    {"a long line is cut", test_long_line},  CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"log", NULL, NULL, NULL, NULL, log_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
