/* SPDX-License-Identifier: BSD-3-Clause */
/* Events handed to a program and to syslog: what it gets, what it may not do to the server. */
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>

#include "lun/base/checked.h"
#include "tests/lib/cunit_main.h"
#include "tests/unit/policy_host.h"

static char folder[] = "/tmp/lunette-policy-XXXXXX";
static char program[64], output[64];

static int set_up(void)
{
    if (!mkdtemp(folder))
        return 1;
    snprintf(program, sizeof(program), "%s/program", folder);
    snprintf(output, sizeof(output), "%s/output", folder);
    return 0;
}

static int tear_down(void)
{
    unlink(program);
    unlink(output);
    return rmdir(folder) < 0;
}

/* A script that does @body; what it said before is gone. */
static void write_program(const char *body)
{
    unlink(program);
    unlink(output);
    FILE *file = fopen(program, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fprintf(file, "#!/bin/sh\nout=%s\n%s\n", output, body);
    fchmod(fileno(file), 0755);
    fclose(file);
}

static const char *read_output(void)
{
    static char text[65536];
    FILE *file = fopen(output, "r");
    size_t len = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
    text[len] = '\0';
    if (file)
        fclose(file);
    return text;
}

static size_t count_lines(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

/* ---- syslog -------------------------------------------------------------------------------- */

static int logged_priority;
static char logged[1024];
static size_t logged_count;

/* The linker puts it for syslog(). */
void __wrap_syslog(int priority, const char *format, ...) PRINTF_LIKE(2, 3);
void __wrap_syslog(int priority, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(logged, sizeof(logged), format, args);
    va_end(args);
    logged_priority = priority;
    logged_count++;
}

static void test_syslog(void)
{
    const struct policy_options options = {.events_syslog = true, .events_severity = "warning"};
    policy_host_start(&options);
    logged_count = 0;
    host_create(&host, "one", 8); /* an event, but only info */
    policy_step(policy, POLICY_EVENTS);
    CU_ASSERT_EQUAL(logged_count, 0);
    event_add(host.pool, "error", "test.event", "an object", "100%% %s", "wrong");
    policy_step(policy, POLICY_EVENTS);
    CU_ASSERT_EQUAL(logged_count, 1);
    CU_ASSERT_EQUAL(logged_priority, LOG_DAEMON | LOG_ERR);
    CU_ASSERT_STRING_EQUAL(logged, "lunette: error test.event an object: 100% wrong");
    policy_step(policy, POLICY_EVENTS); /* each once */
    CU_ASSERT_EQUAL(logged_count, 1);
    policy_host_stop();
}

static void test_bad_severity(void)
{
    const struct policy_options options = {.no_threads = true, .events_severity = "shrill"};
    struct policy *none = NULL;
    host_start(&host, NULL);
    CU_ASSERT_EQUAL(policy_start(host.pool, &options, &none, &host.why), -EINVAL);
    CU_ASSERT_PTR_NULL(none);
    host_stop(&host);
}

/* ---- the program --------------------------------------------------------------------------- */

static void test_program_gets_json(void)
{
    const struct policy_options options = {.events_exec = program};
    write_program("cat >>$out; echo >>$out; echo \"$PATH|$HOME|$#\" >>$out");
    policy_host_start(&options);
    host_create(&host, "golden", 8);
    policy_step(policy, POLICY_EVENTS);
    char *end = strchr(read_output(), '\n');
    CU_ASSERT_PTR_NOT_NULL_FATAL(end);
    *end = '\0';
    json_t *json = json_loads(read_output(), JSON_DISABLE_EOF_CHECK, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(json);
    CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(json, "name")), "lun.created");
    CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(json, "object")), "golden");
    CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(json, "severity")), "info");
    json_decref(json);
    /* Nothing of the environment but a path, and no arguments. */
    CU_ASSERT_PTR_NOT_NULL(strstr(read_output(), "/bin||0\n"));
    CU_ASSERT_EQUAL(policy_host_events("hook.failed", ""), 0);
    policy_host_stop();
}

/* No descriptor of the server reaches it. */
static void test_program_has_no_descriptors(void)
{
    const struct policy_options options = {.events_exec = program};
    write_program(
        "for fd in /proc/self/fd/*; do [ ${fd##*/} -gt 2 ] && [ -e $fd ] && echo $fd; done "
        ">>$out; true");
    policy_host_start(&options);
    int leak = dup(STDERR_FILENO); /* not CLOEXEC */
    host_create(&host, "golden", 8);
    policy_step(policy, POLICY_EVENTS);
    char path[32];
    snprintf(path, sizeof(path), "/fd/%d\n", leak);
    CU_ASSERT_PTR_NULL(strstr(read_output(), path));
    close(leak);
    policy_host_stop();
}

static void test_program_fails_once(void)
{
    const struct policy_options options = {.events_exec = program};
    write_program("echo x >>$out; echo no way >&2; exit 3");
    policy_host_start(&options);
    host_create(&host, "one", 8);
    host_create(&host, "two", 8);
    policy_step(policy, POLICY_EVENTS);
    CU_ASSERT_EQUAL(policy_host_events("hook.failed", "ended with status 3: no way"), 1);
    policy_step(policy, POLICY_EVENTS); /* of its own failure it is not told */
    CU_ASSERT_EQUAL(count_lines(read_output()), 2);
    write_program("echo x >>$out");
    host_create(&host, "three", 8);
    policy_step(policy, POLICY_EVENTS);
    CU_ASSERT_EQUAL(policy_host_events("hook.works", ""), 1);
    write_program("kill -9 $$");
    host_create(&host, "four", 8);
    policy_step(policy, POLICY_EVENTS);
    CU_ASSERT_EQUAL(policy_host_events("hook.failed", "ended by signal 9"), 1);
    unlink(program);
    policy_host_forget();
    policy_host_restart(&options);
    policy_step(policy, POLICY_EVENTS);
    CU_ASSERT_EQUAL(policy_host_events("hook.failed", "cannot run"), 1);
    policy_host_stop();
}

/* Who adopted what ended may be slow to bury it, or never do so: that is dead too. */
static bool is_alive(pid_t pid)
{
    char path[32], line[512], state = 'Z';
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    const char *name_end = fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
    if (name_end)
        sscanf(name_end, ") %c", &state);
    fclose(file);
    return state != 'Z' && state != 'X';
}

/* A program that hangs is killed, and so is what it left in the background. */
static void test_program_hangs(void)
{
    const struct policy_options options = {.events_exec = program, .events_exec_ms = 300};
    write_program("sleep 1000 & echo $! >>$out; echo $$ >>$out; wait");
    policy_host_start(&options);
    host_create(&host, "one", 8);
    policy_step(policy, POLICY_EVENTS);
    CU_ASSERT_EQUAL(policy_host_events("hook.failed", "took longer than 300 ms"), 1);
    int child = 0, self = 0;
    /* On a busy machine it may not have come that far. */
    if (sscanf(read_output(), "%d %d", &child, &self) == 2)
    {
        CU_ASSERT_FALSE(is_alive(self));
        for (int i = 0; i < 6000 && is_alive(child); i++)
            nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        CU_ASSERT_FALSE(is_alive(child));
    }
    policy_host_stop();
}

/* What it does not read, and all that it says, holds up nobody. */
static void test_program_is_rude(void)
{
    const struct policy_options options = {.events_exec = program, .events_exec_ms = 60000};
    write_program(
        "exec <&-; head -c 1000000 /dev/zero | tr '\\0' 'x' >&2; echo done >>$out; exit 1");
    policy_host_start(&options);
    host_create(&host, "one", 8);
    policy_step(policy, POLICY_EVENTS);
    CU_ASSERT_STRING_EQUAL(read_output(), "done\n");
    CU_ASSERT_EQUAL(policy_host_events("hook.failed", "xxxx"), 1);
    policy_host_stop();
}

static void test_lost(void)
{
    const struct policy_options options = {.events_exec = program, .events_severity = "warning"};
    write_program("cat >>$out; echo >>$out");
    policy_host_start(&options);
    policy_step(policy, POLICY_EVENTS);
    for (int i = 0; i < 2000; i++)
        event_add(host.pool, "info", "test.event", "", "%d", i);
    policy_step(policy, POLICY_EVENTS);
    CU_ASSERT_EQUAL(policy_host_events("hook.lost", "events came faster"), 1);
    policy_host_stop();
}

/* With threads: an event is handed on by itself, and stopping does not wait for a program. */
static void test_threads(void)
{
    const struct policy_options options = {.events_exec = program, .events_exec_ms = 900000};
    const struct pool_create_options create = {.name = "unit", .size_bytes = HOST_POOL_BYTES};
    struct policy *threaded = NULL;
    struct pool *pool = NULL;
    write_program("echo $$ >>$out; sleep 1000");
    /* The clock of the other tests is for one thread. */
    struct simdev *disk = simdev_new(HOST_POOL_BYTES, HOST_POOL_BYTES, 1);
    struct device *device = simdev_open(disk);
    CU_ASSERT_EQUAL_FATAL(pool_create_on_device(env_system(), device, &create, &host.why), 0);
    CU_ASSERT_EQUAL_FATAL(pool_open_device(env_system(), device, NULL, &pool, &host.why), 0);
    CU_ASSERT_EQUAL_FATAL(policy_start(pool, &options, &threaded, &host.why), 0);
    event_add(pool, "info", "test.event", "", "x");
    for (int i = 0; i < 6000 && count_lines(read_output()) == 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    CU_ASSERT_EQUAL(count_lines(read_output()), 1);
    policy_stop(threaded);
    pid_t pid = (pid_t)strtol(read_output(), NULL, 10);
    CU_ASSERT_TRUE(pid > 0);
    CU_ASSERT_FALSE(is_alive(pid));
    CU_ASSERT_EQUAL(pool_close(pool), 0);
    simdev_destroy(disk);
}

static CU_TestInfo events_tests[] = {
    {"syslog gets what is severe enough, once", test_syslog},
    {"an unknown severity is refused", test_bad_severity},
    {"a program gets each event as JSON", test_program_gets_json},
    {"a program gets no descriptor of the server", test_program_has_no_descriptors},
    {"a program that fails is reported once", test_program_fails_once},
    {"a program that hangs is killed with its children", test_program_hangs},
    {"a program that does not read and says much", test_program_is_rude},
    {"who is too slow is told what was lost", test_lost},
    {"with threads, and stopping them", test_threads},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"policy events", set_up, tear_down, NULL, NULL, events_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
