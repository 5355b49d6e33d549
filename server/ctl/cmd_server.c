/* SPDX-License-Identifier: BSD-3-Clause */
/* event show; job show, wait, cancel; server status, stop; store get, list. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/size_text.h"
#include "server/ctl/ctl.h"
#include "server/units.h"

static const struct field event_fields[] = {
    {"id", "Id", FIELD_COUNT, false},
    {"time", "Time", FIELD_TIME, false},
    {"severity", "Severity", FIELD_TEXT, false},
    {"name", "Event", FIELD_TEXT, false},
    {"object", "Object", FIELD_TEXT, true},
    {"text", "Text", FIELD_TEXT, false},
    {0},
};

static const struct field job_fields[] = {
    {"id", "Id", FIELD_COUNT, false},           {"kind", "Kind", FIELD_TEXT, false},
    {"subject", "Subject", FIELD_TEXT, false},  {"state", "State", FIELD_TEXT, false},
    {"done_bytes", "Done", FIELD_BYTES, false}, {"total_bytes", "Total", FIELD_BYTES, false},
    {"problem", "Problem", FIELD_TEXT, false},  {0},
};

static const struct field status_fields[] = {
    {"version", "Version", FIELD_TEXT, false},
    {"pid", "Process", FIELD_COUNT, false},
    {"uptime_s", "Seconds up", FIELD_COUNT, false},
    {"pool", "Pool", FIELD_TEXT, false},
    {"path", "Path", FIELD_TEXT, false},
    {"health", "Health", FIELD_TEXT, false},
    {"luns", "LUNs", FIELD_COUNT, false},
    {"nbd_uri", "NBD", FIELD_TEXT, false},
    {"iscsi_portals", "iSCSI", FIELD_TEXT, false},
    {"iscsi_target", "iSCSI target", FIELD_TEXT, false},
    {"socket", "Management", FIELD_TEXT, false},
    {"management_group", "Management group", FIELD_TEXT, false},
    {"conf", "Conf file", FIELD_TEXT, false},
    {"key", "Key", FIELD_TEXT, false},
    {"key_file", "Key file", FIELD_TEXT, false},
    {"key_problem", "Key file's problem", FIELD_TEXT, false},
    {"secrets_in_clear", "CHAP secrets in clear", FIELD_COUNT, false},
    {"secrets_wrapped", "CHAP secrets wrapped", FIELD_COUNT, false},
    {"secrets_locked", "CHAP secrets locked", FIELD_COUNT, false},
    {"needed_key", "Key that these need", FIELD_TEXT, false},
    {"connections", "Management clients", FIELD_COUNT, false},
    {"may_change", "You may change things", FIELD_TEXT, false},
    {0},
};

/* ---- events -------------------------------------------------------------------------------- */

static int event_print_cb(void *opaque, const json_t *event)
{
    const struct invocation *in = opaque;
    if (option_flag(in, "json"))
    {
        ignore_error(json_dumpf(event, stdout, JSON_COMPACT), "asked of the stream below");
        fputc('\n', stdout);
    }
    else
    {
        for (const struct field *field = event_fields; field->key; field++)
        {
            AUTO_FREE char *text = table_format(event, field, 'h');
            printf("%s%s", field == event_fields ? "" : "  ", text ? text : "?");
        }
        fputc('\n', stdout);
    }
    return fflush(stdout) == 0 ? 0 : -EPIPE;
}

static enum ctl_exit event_follow(const struct invocation *in, uint64_t after)
{
    AUTO_JSON json_t *result = NULL;
    json_t *args = json_pack("{s:I}", "after", (json_int_t)after);
    return ctl_ask_progress(in, "event.follow", args, event_print_cb, (void *)in, &result);
}

enum ctl_exit ctl_event_show(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    struct table_options options;
    uint64_t after = 0;
    enum ctl_exit status = ctl_table_options(in, event_fields, &options);
    if (status == CTL_DONE)
        status = ctl_number(in, "after", 0, INT64_MAX, &after);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "follow"))
        return event_follow(in, after);
    status = ctl_ask(in, "event.list", json_pack("{s:I}", "after", (json_int_t)after), &result);
    return status == CTL_DONE ? ctl_list(in, result, "events", event_fields) : status;
}

/* ---- jobs ---------------------------------------------------------------------------------- */

enum ctl_exit ctl_job_show(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    struct table_options options;
    enum ctl_exit status = ctl_table_options(in, job_fields, &options);
    if (status == CTL_DONE)
        status = ctl_ask(in, "job.list", NULL, &result);
    return status == CTL_DONE ? ctl_list(in, result, "jobs", job_fields) : status;
}

static int job_progress_cb(void *opaque, const json_t *progress)
{
    const struct invocation *in = opaque;
    char done[UNITS_TEXT_MAX];
    uint64_t sum_bytes = 0;
    size_t i;
    json_t *job;
    if (!isatty(STDERR_FILENO) || option_flag(in, "json"))
        return 0;
    json_array_foreach(json_object_get(progress, "jobs"), i, job) sum_bytes +=
        ctl_get(job, "done_bytes");
    fprintf(stderr, "\r%zu job%s, %s done\033[K", i, plural_s(i),
            units_format_bytes(sum_bytes, 'h', done));
    return 0;
}

static enum ctl_exit job_id(const struct invocation *in, json_t *args)
{
    struct reason why;
    uint64_t id;
    if (units_parse_number(in->args[0], 1, INT64_MAX, &id, &why) < 0)
        return ctl_usage(in, why.text);
    ctl_put(args, "id", proto_json_uint(id));
    return CTL_DONE;
}

enum ctl_exit ctl_job_wait(struct invocation *in)
{
    AUTO_JSON json_t *args = json_object();
    AUTO_JSON json_t *result = NULL;
    uint64_t timeout_ms = 0;
    enum ctl_exit status = in->arg_count > 0 ? job_id(in, args) : CTL_DONE;
    if (status == CTL_DONE)
        status = ctl_duration(in, "timeout", &timeout_ms);
    if (status != CTL_DONE)
        return status;
    if (option_text(in, "timeout"))
        ctl_put(args, "timeout_ms", proto_json_uint(max_u64(timeout_ms, 1)));
    status = ctl_ask_progress(in, "job.wait", take_ptr(&args), job_progress_cb, in, &result);
    if (isatty(STDERR_FILENO) && !option_flag(in, "json"))
        fputs("\r\033[K", stderr);
    if (status == CTL_DONE && option_flag(in, "json"))
        table_print_json(stdout, result);
    return status;
}

enum ctl_exit ctl_job_cancel(struct invocation *in)
{
    AUTO_JSON json_t *args = json_object();
    enum ctl_exit status = job_id(in, args);
    return status == CTL_DONE
               ? ctl_do(in, "job.cancel", take_ptr(&args), "Cancelled job %s.", in->args[0])
               : status;
}

/* ---- server -------------------------------------------------------------------------------- */

/* Tries to connect until @timeout_ms are over; the last try is the one that says what is wrong. */
static void server_wait_for(const struct invocation *in, uint64_t timeout_ms)
{
    const char *named = option_text(in, "socket");
    for (uint64_t waited_ms = 0; waited_ms < timeout_ms; waited_ms += 20)
    {
        struct client client;
        AUTO_FREE char *path = named ? strdup(named) : client_default_socket();
        if (path && client_connect(&client, path, NULL) == 0)
        {
            client_close(&client);
            return;
        }
        const struct timespec pause = {.tv_nsec = 20000000};
        nanosleep(&pause, NULL);
    }
}

enum ctl_exit ctl_server_status(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    struct table_options options;
    struct reason why = {.text = "no memory"};
    uint64_t timeout_ms = 0;
    enum ctl_exit status = ctl_duration(in, "wait", &timeout_ms);
    if (status == CTL_DONE)
        status = ctl_table_options(in, status_fields, &options);
    if (status != CTL_DONE)
        return status;
    server_wait_for(in, timeout_ms);
    if (status == CTL_DONE)
        status = ctl_ask(in, "server.status", NULL, &result);
    if (status == CTL_DONE && table_print_object(stdout, result, status_fields, &options, &why) < 0)
        return ctl_no_memory(in);
    return status;
}

/* Until the process is gone: then its pool is closed and its lock is free. */
static void server_wait_for_end(int pid_fd)
{
    struct pollfd fds = {.fd = pid_fd, .events = POLLIN};
    while (poll(&fds, 1, -1) < 0 && errno == EINTR)
        continue;
}

enum ctl_exit ctl_server_stop(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    struct client client;
    enum ctl_exit status = ctl_connect(in, &client);
    if (status != CTL_DONE)
        return status;
    /* Before it stops, while the number cannot yet be somebody else's. */
    AUTO_CLOSE int pid_fd = (int)syscall(SYS_pidfd_open, client.server_pid, 0);
    if (ctl_asks(in))
        printf("This stops the server, process %d; its clients get errors.\n", client.server_pid);
    status = ctl_confirm(in);
    if (status == CTL_DONE)
        status = ctl_call(in, &client, "server.stop", NULL, &result);
    client_close(&client);
    if (status != CTL_DONE)
        return status;
    if (pid_fd >= 0)
        server_wait_for_end(pid_fd);
    if (option_flag(in, "json"))
        table_print_json(stdout, result);
    else
        printf("The server, process %d, has %s.\n", client.server_pid,
               pid_fd >= 0 ? "stopped" : "been told to stop");
    return CTL_DONE;
}

/* ---- store --------------------------------------------------------------------------------- */

static enum ctl_exit store_print(const struct invocation *in, const char *verb, json_t *args)
{
    AUTO_JSON json_t *result = NULL;
    enum ctl_exit status = ctl_ask(in, verb, args, &result);
    if (status == CTL_DONE)
        table_print_json(stdout, result);
    return status;
}

enum ctl_exit ctl_store_get(struct invocation *in)
{
    return store_print(in, "store.get", json_pack("{s:s}", "key", in->args[0]));
}

enum ctl_exit ctl_store_list(struct invocation *in)
{
    return store_print(in, "store.list",
                       json_pack("{s:s}", "prefix", in->arg_count > 0 ? in->args[0] : ""));
}
