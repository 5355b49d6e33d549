/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * top: what LUNs are doing.
 *
 * The server only counts up; rates are differences of two samples, latencies those of the requests
 * between them.
 */
#include <errno.h>
#include <fnmatch.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/size_text.h"
#include "server/ctl/ctl.h"
#include "server/units.h"

enum
{
    TOP_INTERVAL_MS = 2000,
    TOP_INTERVAL_MS_MIN = 100,
    TOP_INTERVAL_MS_MAX = 3600 * 1000,
    TOP_COUNT_MAX = 1000000,
    TOP_LINES_AROUND = 5, /* of the screen that are not for LUNs */
    TOP_LINES_DEFAULT = 24,
    TOP_BUCKETS_MAX = 64,
};

static const struct field top_fields[] = {
    {"name", "LUN", FIELD_TEXT, false},
    {"class", "Class", FIELD_TEXT, false},
    {"read_iops", "Reads/s", FIELD_COUNT, false},
    {"write_iops", "Writes/s", FIELD_COUNT, false},
    {"read_bps", "Read/s", FIELD_BYTES, false},
    {"write_bps", "Written/s", FIELD_BYTES, false},
    {"read_us", "Read lat", FIELD_COUNT, false},
    {"read_p99_us", "p99", FIELD_COUNT, false},
    {"write_us", "Write lat", FIELD_COUNT, false},
    {"write_p99_us", "p99", FIELD_COUNT, false},
    {"waiting", "Waiting", FIELD_COUNT, false},
    {"held_iops", "Held/s", FIELD_COUNT, false},
    {"held_us", "Held for", FIELD_COUNT, true},
    {"unmap_iops", "Unmaps/s", FIELD_COUNT, true},
    {"flush_iops", "Flushes/s", FIELD_COUNT, true},
    {"flush_us", "Flush lat", FIELD_COUNT, true},
    {"flush_p99_us", "p99", FIELD_COUNT, true},
    {"users", "Clients", FIELD_COUNT, true},
    {0},
};

/* What must be shown as a time, not as a number of microseconds. */
static const char *const top_times[] = {
    "read_us", "read_p99_us", "write_us", "write_p99_us", "held_us", "flush_us", "flush_p99_us",
};

/* ---- two samples into rates ---------------------------------------------------------------- */

static uint64_t top_rate(uint64_t count, uint64_t ns)
{
    return ns > 0 ? (uint64_t)((double)count * 1e9 / (double)ns + 0.5) : 0;
}

/* How much @key grew from @before, which may be NULL, to @after. */
static uint64_t top_growth(const json_t *before, const json_t *after, const char *key)
{
    uint64_t was = ctl_get(before, key), is = ctl_get(after, key);
    return is > was ? is - was : 0;
}

/* The bound, in microseconds, below which 99 of 100 requests stayed. */
static uint64_t top_p99_us(const json_t *before, const json_t *after, uint64_t shift)
{
    const json_t *was = json_object_get(before, "latency"), *is = json_object_get(after, "latency");
    size_t buckets = json_array_size(is) < TOP_BUCKETS_MAX ? json_array_size(is) : TOP_BUCKETS_MAX;
    uint64_t counts[TOP_BUCKETS_MAX], all = 0, sum = 0;
    for (size_t i = 0; i < buckets; i++)
    {
        counts[i] = (uint64_t)json_integer_value(json_array_get(is, i)) -
                    (uint64_t)json_integer_value(json_array_get(was, i));
        all += counts[i];
    }
    for (size_t i = 0; i < buckets && all > 0; i++)
    {
        sum += counts[i];
        if (sum * 100 >= all * 99)
            return (UINT64_C(1) << ((shift + i) & 63)) / 1000;
    }
    return 0;
}

/* To a tenth of a microsecond. */
static json_t *top_mean_us(uint64_t ns, uint64_t count)
{
    uint64_t tenths = count > 0 ? ns / count / 100 : 0;
    return json_real((double)tenths / 10);
}

static void top_put_io(json_t *row, const char *io, const json_t *before, const json_t *after,
                       uint64_t shift, uint64_t ns)
{
    char key[32];
    const json_t *was = json_object_get(before, io), *is = json_object_get(after, io);
    uint64_t ops = top_growth(was, is, "ops");
    snprintf(key, sizeof(key), "%s_iops", io);
    ctl_put(row, key, proto_json_uint(top_rate(ops, ns)));
    snprintf(key, sizeof(key), "%s_bps", io);
    ctl_put(row, key, proto_json_uint(top_rate(top_growth(was, is, "bytes"), ns)));
    snprintf(key, sizeof(key), "%s_us", io);
    ctl_put(row, key, top_mean_us(top_growth(was, is, "ns"), ops));
    snprintf(key, sizeof(key), "%s_p99_us", io);
    ctl_put(row, key, proto_json_uint(top_p99_us(was, is, shift)));
}

static json_t *top_row(const json_t *before, const json_t *after, uint64_t shift, uint64_t ns)
{
    static const char *const kinds[] = {"read", "write", "unmap", "flush"};
    json_t *row = json_object();
    ctl_put(row, "name", json_incref(json_object_get(after, "name")));
    ctl_put(row, "class", json_incref(json_object_get(after, "class")));
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        top_put_io(row, kinds[i], before, after, shift, ns);
    uint64_t held = top_growth(before, after, "held");
    ctl_put(row, "held_iops", proto_json_uint(top_rate(held, ns)));
    ctl_put(row, "held_us", top_mean_us(top_growth(before, after, "held_ns"), held));
    ctl_put(row, "waiting", json_incref(json_object_get(after, "waiting")));
    ctl_put(row, "users", json_incref(json_object_get(after, "users")));
    return row;
}

static uint64_t top_activity(const json_t *row)
{
    return ctl_get(row, "read_iops") + ctl_get(row, "write_iops") + ctl_get(row, "unmap_iops") +
           ctl_get(row, "waiting");
}

/* The busiest first. */
static int top_compare(const void *a, const void *b)
{
    const json_t *first = *(json_t *const *)a, *second = *(json_t *const *)b;
    uint64_t is = top_activity(first), other = top_activity(second);
    if (is != other)
        return is > other ? -1 : 1;
    return strcmp(json_string_value(json_object_get(first, "name")),
                  json_string_value(json_object_get(second, "name")));
}

static bool top_is_wanted(const struct invocation *in, const char *name)
{
    for (size_t i = 0; i < in->arg_count; i++)
        if (fnmatch(in->args[i], name, 0) == 0)
            return true;
    return in->arg_count == 0;
}

/* By the LUN's id: {"12": entry}. */
static json_t *top_index(const json_t *sample)
{
    json_t *index = json_object(), *lun;
    size_t i;
    json_array_foreach(json_object_get(sample, "luns"), i, lun)
    {
        char id[24];
        snprintf(id, sizeof(id), "%ju", (uintmax_t)ctl_get(lun, "id"));
        ctl_put(index, id, json_incref(lun));
    }
    return index;
}

/* {"luns":[...],"count":N,"interval_ms":N} of what happened between two samples. */
static json_t *top_compute(const struct invocation *in, const json_t *before, const json_t *after)
{
    AUTO_JSON json_t *index = top_index(before);
    const json_t *luns = json_object_get(after, "luns");
    uint64_t ns = ctl_get(after, "time_ns") - ctl_get(before, "time_ns");
    uint64_t shift = ctl_get(after, "latency_shift");
    size_t count = 0, i;
    json_t *lun, **rows = calloc(json_array_size(luns) + 1, sizeof(json_t *));
    json_t *list = json_array();
    json_array_foreach(luns, i, lun)
    {
        char id[24];
        snprintf(id, sizeof(id), "%ju", (uintmax_t)ctl_get(lun, "id"));
        if (rows && top_is_wanted(in, json_string_value(json_object_get(lun, "name"))))
            rows[count++] = top_row(json_object_get(index, id), lun, shift, ns);
    }
    if (rows)
        qsort(rows, count, sizeof(*rows), top_compare);
    for (i = 0; i < count; i++)
        ignore_error(json_array_append_new(list, rows[i]), "without memory a row is missing");
    free(rows);
    json_t *result = json_object();
    ctl_put(result, "luns", list);
    ctl_put(result, "count", proto_json_uint(count));
    ctl_put(result, "interval_ms", proto_json_uint(ns / 1000000));
    return result;
}

/* ---- showing ------------------------------------------------------------------------------- */

/* "0.9us", "37us", "1.2ms", "3.45s"; "-" of nothing. */
static void top_format_time(double us, char text[UNITS_TEXT_MAX])
{
    if (us <= 0)
        snprintf(text, UNITS_TEXT_MAX, "-");
    else if (us < 1000)
        snprintf(text, UNITS_TEXT_MAX, us < 10 ? "%.1fus" : "%.0fus", us);
    else if (us < 1e6)
        snprintf(text, UNITS_TEXT_MAX, "%.1fms", us / 1e3);
    else
        snprintf(text, UNITS_TEXT_MAX, "%.2fs", us / 1e6);
}

static enum ctl_exit top_print_table(const struct invocation *in, json_t *result)
{
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(result, "luns"), i, row)
    {
        for (size_t at = 0; at < ARRAY_SIZE(top_times); at++)
        {
            char text[UNITS_TEXT_MAX];
            top_format_time(json_number_value(json_object_get(row, top_times[at])), text);
            ctl_put_text(row, top_times[at], text);
        }
    }
    return ctl_list(in, result, "luns", top_fields);
}

static int top_screen_lines(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row == 0)
        return TOP_LINES_DEFAULT;
    return size.ws_row;
}

/* A screen: sums above, as many LUNs as fit below. */
static enum ctl_exit top_print_screen(const struct invocation *in, json_t *result)
{
    char read_bps[UNITS_TEXT_MAX], write_bps[UNITS_TEXT_MAX];
    uint64_t read_iops = 0, write_iops = 0, read_bytes = 0, write_bytes = 0;
    json_t *luns = json_object_get(result, "luns"), *row;
    size_t i, lines = (size_t)top_screen_lines();
    json_array_foreach(luns, i, row)
    {
        read_iops += ctl_get(row, "read_iops");
        write_iops += ctl_get(row, "write_iops");
        read_bytes += ctl_get(row, "read_bps");
        write_bytes += ctl_get(row, "write_bps");
    }
    printf("\033[H\033[J%zu LUN%s: %ju reads/s of %s, %ju writes/s of %s.  q quits.\n\n",
           json_array_size(luns), plural_s(json_array_size(luns)), (uintmax_t)read_iops,
           units_format_bytes(read_bytes, 'h', read_bps), (uintmax_t)write_iops,
           units_format_bytes(write_bytes, 'h', write_bps));
    lines = lines > TOP_LINES_AROUND + 1 ? lines - TOP_LINES_AROUND : 1;
    while (json_array_size(luns) > lines)
        ignore_error(json_array_remove(luns, json_array_size(luns) - 1), "it is there");
    enum ctl_exit status = top_print_table(in, result);
    fflush(stdout);
    return status;
}

static enum ctl_exit top_print(const struct invocation *in, json_t *result, bool is_screen,
                               bool is_one)
{
    if (is_screen)
        return top_print_screen(in, result);
    if (!option_flag(in, "json"))
        return top_print_table(in, result);
    if (is_one || option_text(in, "fields"))
        return ctl_list(in, result, "luns", top_fields);
    ignore_error(json_dumpf(result, stdout, JSON_COMPACT), "main() asks the stream in the end");
    fputc('\n', stdout);
    fflush(stdout);
    return CTL_DONE;
}

/* ---- waiting ------------------------------------------------------------------------------- */

static volatile sig_atomic_t top_is_over;

static void top_on_signal(int number)
{
    (void)number;
    top_is_over = 1;
}

/* Keys come one by one, and a signal ends the loop, not the process. */
static bool top_take_terminal(struct termios *saved)
{
    const struct sigaction action = {.sa_handler = top_on_signal};
    if (tcgetattr(STDIN_FILENO, saved) < 0)
        return false;
    struct termios own = *saved;
    own.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    ignore_error(sigaction(SIGINT, &action, NULL), "the signal is a valid one");
    ignore_error(sigaction(SIGTERM, &action, NULL), "the signal is a valid one");
    return tcsetattr(STDIN_FILENO, TCSANOW, &own) == 0;
}

static uint64_t top_clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Sleeps @ms, or until q is pressed where keys are looked at. */
static void top_pause(uint64_t ms, bool has_keys)
{
    uint64_t end_ms = top_clock_ms() + ms, now_ms = end_ms - ms;
    for (; !top_is_over && now_ms < end_ms; now_ms = top_clock_ms())
    {
        struct pollfd fds = {.fd = STDIN_FILENO, .events = POLLIN};
        char key = 0;
        int n = poll(&fds, has_keys ? 1 : 0, (int)(end_ms - now_ms));
        if (n <= 0)
            continue;
        ssize_t got = read(STDIN_FILENO, &key, 1);
        if (got <= 0)
            has_keys = false;
        else if (key == 'q' || key == 'Q')
            top_is_over = 1;
    }
}

/* ---- top ----------------------------------------------------------------------------------- */

struct top_options
{
    uint64_t interval_ms, count; /* count 0: without end */
    bool is_screen, has_keys;
};

static enum ctl_exit top_run(const struct invocation *in, struct client *client,
                             const struct top_options *options)
{
    AUTO_JSON json_t *before = NULL;
    enum ctl_exit status = ctl_call(in, client, "stats.show", NULL, &before);
    if (status == CTL_DONE && options->is_screen)
    {
        /* At once, without rates yet: nobody looks at an empty screen. */
        AUTO_JSON json_t *result = top_compute(in, before, before);
        status = top_print_screen(in, result);
    }
    for (uint64_t i = 0; status == CTL_DONE && (options->count == 0 || i < options->count); i++)
    {
        AUTO_JSON json_t *after = NULL;
        top_pause(options->interval_ms, options->has_keys);
        if (top_is_over)
            break;
        status = ctl_call(in, client, "stats.show", NULL, &after);
        if (status != CTL_DONE)
            break;
        AUTO_JSON json_t *result = top_compute(in, before, after);
        status = top_print(in, result, options->is_screen, options->count == 1);
        json_decref(before);
        before = take_ptr(&after);
    }
    return status;
}

/* CTL_USAGE has been said. */
static enum ctl_exit top_options_get(const struct invocation *in, struct top_options *options)
{
    struct table_options table;
    bool is_terminal = isatty(STDOUT_FILENO) && isatty(STDIN_FILENO);
    *options = (struct top_options){.interval_ms = TOP_INTERVAL_MS};
    enum ctl_exit status = ctl_table_options(in, top_fields, &table);
    if (status == CTL_DONE)
        status = ctl_number(in, "count", 1, TOP_COUNT_MAX, &options->count);
    if (status == CTL_DONE)
        status = ctl_duration(in, "interval", &options->interval_ms);
    if (status != CTL_DONE)
        return status;
    if (options->interval_ms < TOP_INTERVAL_MS_MIN || options->interval_ms > TOP_INTERVAL_MS_MAX)
        return ctl_usage(in, "--interval is 100ms to 1h");
    options->is_screen = is_terminal && options->count == 0 && !table.json;
    if (options->count == 0 && !options->is_screen)
        options->count = 1;
    return CTL_DONE;
}

/* What is no pattern is there: else nothing would be shown, as of a LUN that was not in use yet. */
static enum ctl_exit top_check_names(const struct invocation *in, struct client *client)
{
    enum ctl_exit status = CTL_DONE;
    for (size_t i = 0; status == CTL_DONE && i < in->arg_count; i++)
    {
        AUTO_JSON json_t *shown = NULL;
        if (strpbrk(in->args[i], "*?["))
            continue;
        status = ctl_call(in, client, "lun.show",
                          json_pack("{s:s, s:b}", "name", in->args[i], "exact", 1), &shown);
    }
    return status;
}

enum ctl_exit ctl_top(struct invocation *in)
{
    struct client client;
    struct top_options options;
    struct termios saved;
    enum ctl_exit status = top_options_get(in, &options);
    if (status == CTL_DONE)
        status = ctl_connect(in, &client);
    if (status != CTL_DONE)
        return status;
    status = top_check_names(in, &client);
    if (status != CTL_DONE)
    {
        client_close(&client);
        return status;
    }
    options.has_keys = options.is_screen && top_take_terminal(&saved);
    status = top_run(in, &client, &options);
    if (options.has_keys)
        ignore_error(tcsetattr(STDIN_FILENO, TCSANOW, &saved), "it was so before");
    client_close(&client);
    return status;
}
