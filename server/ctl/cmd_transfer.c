/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lun import and lun export: the copying is transfer.h's, between an image and the server's NBD
 * export; here the LUN is made before, and deleted again if the import comes to nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "server/ctl/apart.h"
#include "server/ctl/ctl.h"
#include "server/ctl/transfer_module.h"
#include "server/ctl/uri.h"
#include "server/units.h"

enum
{
    TRANSFER_CONNECTIONS_MAX = 16,
    TRANSFER_LINE_MS = 5000, /* between progress lines where they cannot be overwritten */
};

static volatile sig_atomic_t transfer_cancelled;
static const struct transfer_module *transfer; /* set at the beginning of a command */

static void transfer_signal_cb(int number)
{
    transfer_cancelled = number;
}

/* Ctrl-C stops at the next block; a second one ends the program at once. */
static void transfer_catch_signals(void)
{
    struct sigaction action = {.sa_handler = transfer_signal_cb, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

static uint64_t transfer_percent(uint64_t done_bytes, uint64_t total_bytes)
{
    if (done_bytes >= total_bytes)
        return 100;
    return min_u64(99, (uint64_t)((double)done_bytes * 100.0 / (double)total_bytes));
}

static void transfer_progress_cb(void *opaque, const struct transfer_progress *progress)
{
    const bool *on_terminal = opaque;
    char done[UNITS_TEXT_MAX], total[UNITS_TEXT_MAX], rate[UNITS_TEXT_MAX];
    if (!*on_terminal && progress->done_bytes >= progress->total_bytes)
        return; /* the report follows */
    fprintf(stderr, "%s%s %s of %s, %" PRIu64 "%%, %s/s%s", *on_terminal ? "\r" : "",
            progress->phase == TRANSFER_VERIFYING ? "verified" : "copied",
            units_format_bytes(progress->done_bytes, 'h', done),
            units_format_bytes(progress->total_bytes, 'h', total),
            transfer_percent(progress->done_bytes, progress->total_bytes),
            units_format_bytes(progress->rate_bytes_per_s, 'h', rate),
            *on_terminal ? "\033[K" : "\n");
}

static json_t *transfer_view(const struct transfer_result *result)
{
    uint64_t rate = result->elapsed_ms > 0 ? result->total_bytes / result->elapsed_ms * 1000 : 0;
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i}", "total_bytes",
        (json_int_t)result->total_bytes, "read_bytes", (json_int_t)result->read_bytes, "hole_bytes",
        (json_int_t)result->hole_bytes, "written_bytes", (json_int_t)result->written_bytes,
        "zeroed_bytes", (json_int_t)result->zeroed_bytes, "skipped_bytes",
        (json_int_t)result->skipped_bytes, "verified_bytes", (json_int_t)result->verified_bytes,
        "resumed_from_bytes", (json_int_t)result->resumed_from_bytes, "elapsed_ms",
        (json_int_t)result->elapsed_ms, "rate_bytes_per_s", (json_int_t)rate, "reconnects",
        (int)result->reconnects);
}

static void transfer_report(const struct invocation *in, const char *from, const char *to,
                            const struct transfer_result *result)
{
    char a[UNITS_TEXT_MAX], b[UNITS_TEXT_MAX], c[UNITS_TEXT_MAX], d[UNITS_TEXT_MAX];
    uint64_t skipped_bytes = result->hole_bytes + result->skipped_bytes;
    AUTO_JSON json_t *view = transfer_view(result);
    if (option_flag(in, "json") && view)
    {
        ctl_put_text(view, "source", from);
        ctl_put_text(view, "destination", to);
        table_print_json(stdout, view);
        return;
    }
    /* What was a hole was skipped by the reader, and again by the writer: it is shown once. */
    skipped_bytes = min_u64(skipped_bytes, result->total_bytes -
                                               min_u64(result->written_bytes, result->total_bytes));
    printf(
        "Copied %s to %s: %s read, %s written, %s skipped as zeros, in %" PRIu64 ".%" PRIu64
        " s (%s/s)%s.\n",
        from, to, units_format_bytes(result->read_bytes, 'h', a),
        units_format_bytes(result->written_bytes, 'h', b),
        units_format_bytes(skipped_bytes, 'h', c), result->elapsed_ms / 1000,
        result->elapsed_ms % 1000 / 100,
        units_format_bytes(
            result->elapsed_ms > 0 ? result->total_bytes / result->elapsed_ms * 1000 : 0, 'h', d),
        result->verified_bytes > 0 ? ", verified" : "");
}

/* The server's export of @name as a URI, to be freed. */
static enum ctl_exit transfer_export_uri(const struct invocation *in, const char *name, char **uri)
{
    AUTO_JSON json_t *server = NULL;
    enum ctl_exit status = ctl_ask(in, "server.status", NULL, &server);
    if (status != CTL_DONE)
        return status;
    const char *nbd_uri = json_string_value(json_object_get(server, "nbd_uri"));
    if (!nbd_uri)
        return ctl_fail(in, -ENOTSUP, "the server was not told where NBD clients reach it",
                        "lunette serve, which tells it, instead of nbdkit by hand (or nbd-uri=)");
    AUTO_FREE char *reachable = uri_reachable(nbd_uri, "localhost");
    *uri = reachable ? uri_of_export(reachable, name) : NULL;
    return *uri ? CTL_DONE : ctl_no_memory(in);
}

static enum ctl_exit transfer_begin(const struct invocation *in)
{
    struct reason why;
    if (transfer_module_load(&transfer, &why) < 0)
        return ctl_fail(in, -ENOENT, why.text, NULL);
    return CTL_DONE;
}

/* "-" means a pipe elsewhere; it would make a file of that name here. */
static enum ctl_exit transfer_refuse_pipe(const struct invocation *in, const char *place)
{
    if (strcmp(place, "-") != 0)
        return CTL_DONE;
    return ctl_usage(in,
                     "images are not read from or written to a pipe; nbdcopy does that, with the "
                     "URI that \"lunette lun attach NAME\" shows (a file of that name is ./-)");
}

/* ---- in a process of its own --------------------------------------------------------------- */

struct transfer_measure
{
    const char *source, *format;
};

static int transfer_size_cb(void *opaque, void *result, struct reason *why)
{
    const struct transfer_measure *measure = opaque;
    return transfer->size(measure->source, measure->format, result, why);
}

static int transfer_size_apart(const char *source, const char *format, uint64_t *size_bytes,
                               struct reason *why)
{
    struct transfer_measure measure = {.source = source, .format = format};
    return apart_run(transfer_size_cb, &measure, size_bytes, sizeof(*size_bytes),
                     &transfer_cancelled, why);
}

static int transfer_run_cb(void *opaque, void *result, struct reason *why)
{
    return transfer->run(opaque, result, why);
}

/* What a process that was ended can have left of a file that it made anew. */
static void transfer_undo_file(const struct transfer_options *options, const struct stat *before)
{
    struct stat now;
    bool is_resumable = options->resume_file && access(options->resume_file, F_OK) == 0;
    if (is_resumable || !options->destination || strstr(options->destination, "://") ||
        stat(options->destination, &now) < 0 || !S_ISREG(now.st_mode))
        return;
    bool was_there = before->st_ino != 0;
    bool is_changed = before->st_ino != now.st_ino || before->st_size != now.st_size ||
                      before->st_mtim.tv_sec != now.st_mtim.tv_sec ||
                      before->st_mtim.tv_nsec != now.st_mtim.tv_nsec;
    if (!was_there || (options->overwrite && is_changed))
        unlink(options->destination);
}

static int transfer_run_apart(struct transfer_options *options, struct transfer_result *result,
                              struct reason *why)
{
    struct stat before;
    if (!options->destination || stat(options->destination, &before) < 0)
        before = (struct stat){.st_ino = 0};
    int r = apart_run(transfer_run_cb, options, result, sizeof(*result), &transfer_cancelled, why);
    if (r == -EFAULT)
        transfer_undo_file(options, &before);
    return r;
}

/* Fills in what both directions share and copies. */
static int transfer_copy(const struct invocation *in, struct transfer_options *options,
                         uint64_t connections, struct transfer_result *result, struct reason *why)
{
    bool on_terminal = isatty(STDERR_FILENO);
    options->verify = option_flag(in, "verify");
    options->resume_file = option_text(in, "resume");
    options->connections = (uint32_t)connections;
    options->cancel = &transfer_cancelled;
    if (!option_flag(in, "json") || on_terminal)
        options->progress = transfer_progress_cb;
    options->progress_opaque = &on_terminal;
    options->progress_ms = on_terminal ? 0 : TRANSFER_LINE_MS;
    int r = transfer_run_apart(options, result, why);
    options->progress_opaque = NULL;
    if (on_terminal)
        fputs("\r\033[K", stderr);
    return r;
}

/* ---- import -------------------------------------------------------------------------------- */

struct import
{
    const struct invocation *in;
    const char *source, *name;
    uint64_t size_bytes, sector_bytes, connections;
    uint64_t lun_id;
    bool is_new; /* the LUN was made by this run */
    char *uri;   /* where it is written to */
};

static void import_free(struct import *import)
{
    free(import->uri);
}

/* Size and sector of the LUN to be made. */
static enum ctl_exit import_measure(struct import *import)
{
    struct reason why = {.text = ""};
    char text[sizeof(why.text) + 128], a[UNITS_TEXT_MAX], b[UNITS_TEXT_MAX];
    const struct invocation *in = import->in;
    uint64_t source_bytes = 0;
    enum ctl_exit status = ctl_sector(in, &import->sector_bytes);
    if (status == CTL_DONE)
        status = ctl_number(in, "connections", 1, TRANSFER_CONNECTIONS_MAX, &import->connections);
    if (status == CTL_DONE && option_text(in, "size"))
        status = ctl_size(in, option_text(in, "size"), UINT64_MAX, &import->size_bytes);
    if (status != CTL_DONE)
        return status;
    int r = transfer_size_apart(import->source, option_text(in, "format"), &source_bytes, &why);
    if (r < 0)
        return ctl_fail(in, r, why.text, NULL);
    if (import->size_bytes == 0)
        import->size_bytes =
            div_round_up(source_bytes, import->sector_bytes) * import->sector_bytes;
    if (import->size_bytes >= source_bytes)
        return CTL_DONE;
    snprintf(text, sizeof(text), "the source has %s, --size only %s",
             units_format_bytes(source_bytes, 'h', a),
             units_format_bytes(import->size_bytes, 'h', b));
    return ctl_fail(in, -EINVAL, text, "lunette lun import --help");
}

/* Takes what an earlier run left of it up again. */
static bool import_resumes(const struct invocation *in)
{
    const char *resume = option_text(in, "resume");
    return resume && access(resume, F_OK) == 0;
}

static json_t *import_lun_args(const struct import *import, const char *source)
{
    const struct invocation *in = import->in;
    json_t *args = json_object();
    ctl_put_text(args, "name", import->name);
    ctl_put(args, "size_bytes", proto_json_uint(import->size_bytes));
    ctl_put(args, "sector_bytes", proto_json_uint(import->sector_bytes));
    ctl_put_text(args, "comment", option_text(in, "comment"));
    ctl_put_text(args, "import", source);
    ctl_put(args, "resume", json_boolean(import_resumes(in)));
    if (option_flag(in, "dry-run"))
        ctl_put(args, "dry_run", json_true());
    return args;
}

/* What would be made; refuses what making it would. */
static enum ctl_exit import_plan(const struct import *import, const char *source)
{
    const struct invocation *in = import->in;
    AUTO_JSON json_t *result = NULL;
    char size[UNITS_TEXT_MAX], available[UNITS_TEXT_MAX];
    enum ctl_exit status = ctl_ask(in, "lun.create", import_lun_args(import, source), &result);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "json"))
    {
        ctl_put_text(result, "source", source);
        table_print_json(stdout, result);
        return CTL_DONE;
    }
    if (json_is_true(json_object_get(result, "replaces")))
        printf("What an import left of LUN %s would be deleted first.\n", import->name);
    printf("Would %s LUN %s of %s from %s; it takes what of that is not zero, and %s are "
           "available.\n",
           import_resumes(in) ? "go on with" : "make", import->name,
           units_format_bytes(import->size_bytes, 'h', size), source,
           units_format_bytes(ctl_get(result, "available_bytes"), 'h', available));
    return CTL_DONE;
}

static void import_undo(const struct import *import)
{
    AUTO_JSON json_t *result = NULL;
    const struct invocation *in = import->in;
    bool goes_on = import_resumes(in);
    if (!import->is_new || option_flag(in, "keep") || goes_on)
    {
        ctl_note("LUN %s was left as it is, and is marked as not whole; %s", import->name,
                 goes_on ? "go on with the same command" : "the same command begins anew");
        return;
    }
    json_t *args = json_pack("{s:s, s:o, s:b}", "name", import->name, "id",
                             proto_json_uint(import->lun_id), "force", 1);
    if (ctl_ask(in, "lun.delete", args, &result) == CTL_DONE)
        ctl_note("LUN %s was deleted again", import->name);
}

/* The LUN, made unless it is there from a run that is to be resumed. */
static enum ctl_exit import_make_lun(struct import *import, const char *source)
{
    const struct invocation *in = import->in;
    AUTO_JSON json_t *result = NULL;
    enum ctl_exit status = ctl_ask(in, "lun.create", import_lun_args(import, source), &result);
    if (status != CTL_DONE)
        return status;
    import->is_new = !json_is_true(json_object_get(result, "resumes"));
    import->lun_id = ctl_get(result, "id");
    const char *export = json_string_value(json_object_get(result, "export"));
    if (!export || import->lun_id == 0)
    {
        import_undo(import);
        return ctl_no_memory(in);
    }
    char *uri = NULL;
    status = transfer_export_uri(in, export, &uri);
    free(import->uri);
    import->uri = uri;
    if (status != CTL_DONE)
        import_undo(import);
    return status;
}

/* All of it is there: from now on the LUN is as any other. */
static enum ctl_exit import_finish(const struct import *import)
{
    AUTO_JSON json_t *result = NULL;
    enum ctl_exit status = ctl_ask(
        import->in, "lun.import.end",
        json_pack("{s:s, s:I}", "name", import->name, "id", (json_int_t)import->lun_id), &result);
    if (status != CTL_DONE)
        ctl_note(
            "all was copied, but LUN %s could not be marked as whole; once the server answers, "
            "'lunette lun modify %s --importing no' does that",
            import->name, import->name);
    return status;
}

/* Why it had no room, in figures, and the command that helps. The LUN is still there. */
static enum ctl_exit import_fail_full(const struct import *import, int err, const char *why)
{
    AUTO_JSON json_t *shown = NULL;
    AUTO_JSON json_t *explained = NULL;
    AUTO_FREE char *text = NULL;
    char needed[UNITS_TEXT_MAX], available[UNITS_TEXT_MAX];
    const struct invocation *in = import->in;
    if (ctl_ask(in, "lun.show", json_pack("{s:s, s:b}", "name", import->name, "exact", 1),
                &shown) != CTL_DONE)
        return ctl_fail(in, err, why, NULL);
    const json_t *lun = json_array_get(json_object_get(shown, "luns"), 0);
    uint64_t size_bytes = ctl_get(lun, "size_bytes");
    uint64_t needed_bytes = size_bytes - min_u64(size_bytes, ctl_get(lun, "mapped_bytes"));
    if (ctl_ask(in, "explain.space",
                json_pack("{s:s, s:o}", "name", import->name, "wanted_bytes",
                          proto_json_uint(needed_bytes)),
                &explained) != CTL_DONE)
        return ctl_fail(in, err, why, NULL);
    if (asprintf(&text, "%s; up to %s more are needed, %s are available", why,
                 units_format_bytes(needed_bytes, 'h', needed),
                 units_format_bytes(ctl_get(explained, "available_bytes"), 'h', available)) < 0)
        return ctl_no_memory(in);
    return ctl_fail(in, err, text,
                    json_string_value(json_array_get(json_object_get(explained, "try"), 0)));
}

static enum ctl_exit import_copy(struct import *import, const char *source)
{
    const struct invocation *in = import->in;
    struct reason why = {.text = ""};
    struct transfer_result result = {0};
    struct transfer_options options = {.source = import->source,
                                       .source_format = option_text(in, "format"),
                                       .destination = import->uri,
                                       .destination_is_zero = import->is_new};
    int r = transfer_copy(in, &options, import->connections, &result, &why);
    if (r < 0)
    {
        enum ctl_exit status =
            r == -ENOSPC ? import_fail_full(import, r, why.text) : ctl_fail(in, r, why.text, NULL);
        import_undo(import);
        return status;
    }
    enum ctl_exit status = import_finish(import);
    if (status == CTL_DONE)
        transfer_report(in, source, import->name, &result);
    return status;
}

static enum ctl_exit import_run(struct import *import)
{
    const struct invocation *in = import->in;
    AUTO_FREE char *redacted = transfer->redact(import->source);
    const char *source = redacted ? redacted : "the source";
    enum ctl_exit status = import_measure(import);
    if (status == CTL_DONE && option_flag(in, "dry-run"))
        return import_plan(import, source);
    /* Before anything is made. */
    if (status == CTL_DONE)
        status = transfer_export_uri(in, import->name, &import->uri);
    /* From here on an interruption has something to undo. */
    transfer_catch_signals();
    if (status == CTL_DONE)
        status = import_make_lun(import, source);
    return status == CTL_DONE ? import_copy(import, source) : status;
}

/* Bytes come from elsewhere, or go there. */
static enum ctl_exit transfer_check_reference(const struct invocation *in)
{
    return option_flag(in, "require-reference")
               ? ctl_refuse(in, "all its data would be copied: only clones share blocks",
                            "lunette lun clone --help")
               : CTL_DONE;
}

enum ctl_exit ctl_lun_import(struct invocation *in)
{
    CLEANUP(import_free)
    struct import import = {
        .in = in, .source = in->args[0], .name = in->args[1], .sector_bytes = 512};
    enum ctl_exit status = transfer_check_reference(in);
    if (status == CTL_DONE)
        status = transfer_refuse_pipe(in, in->args[0]);
    if (status == CTL_DONE)
        status = transfer_begin(in);
    return status == CTL_DONE ? import_run(&import) : status;
}

/* ---- export -------------------------------------------------------------------------------- */

/* @name is there: the server's NBD part could only say that it hangs up. */
static enum ctl_exit export_find(const struct invocation *in, const char *name)
{
    AUTO_JSON json_t *result = NULL;
    enum ctl_exit status =
        ctl_ask(in, "lun.show", json_pack("{s:s, s:b}", "name", name, "exact", 1), &result);
    return status == CTL_DONE ? ctl_check_whole(in, result) : status;
}

/* LUN, LUN@SNAPSHOT, or both of A..B. */
static enum ctl_exit export_check_name(const struct invocation *in)
{
    const char *name = in->args[0], *dots = strstr(name, "..");
    AUTO_FREE char *first = strndup(name, dots ? (size_t)(dots - name) : strlen(name));
    if (!first)
        return ctl_no_memory(in);
    enum ctl_exit status = export_find(in, first);
    return status == CTL_DONE && dots ? export_find(in, dots + 2) : status;
}

/* What would be written, and what would be lost. */
static enum ctl_exit export_plan(const struct invocation *in, const char *uri,
                                 const char *destination)
{
    struct reason why = {.text = ""};
    char text[sizeof(why.text)], size[UNITS_TEXT_MAX];
    uint64_t size_bytes;
    struct stat there;
    bool exists = !strstr(in->args[1], "://") && stat(in->args[1], &there) == 0;
    bool destroys = exists && option_flag(in, "overwrite") && !option_text(in, "resume");
    int r = transfer_size_apart(uri, NULL, &size_bytes, &why);
    if (r < 0)
        return ctl_fail(in, r, why.text, NULL);
    if (exists && !option_flag(in, "overwrite") && !option_text(in, "resume"))
    {
        snprintf(text, sizeof(text), "%.800s exists; --overwrite replaces it", destination);
        return ctl_fail(in, -EEXIST, text, "lunette lun export --help");
    }
    AUTO_JSON json_t *view =
        json_pack("{s:s, s:I, s:b, s:b}", "source", in->args[0], "total_bytes",
                  (json_int_t)size_bytes, "destroys", (int)destroys, "dry_run", 1);
    if (option_flag(in, "json") && view)
    {
        ctl_put_text(view, "destination", destination);
        table_print_json(stdout, view);
        return CTL_DONE;
    }
    printf("Would write %s of %s to %s.\n", in->args[0], units_format_bytes(size_bytes, 'h', size),
           destination);
    if (destroys)
        printf("What %s holds now would be lost.\n", destination);
    return CTL_DONE;
}

enum ctl_exit ctl_lun_export(struct invocation *in)
{
    struct reason why = {.text = ""};
    struct transfer_result result = {0};
    AUTO_FREE char *uri = NULL;
    AUTO_FREE char *destination = NULL;
    uint64_t connections = 0;
    enum ctl_exit status = ctl_number(in, "connections", 1, TRANSFER_CONNECTIONS_MAX, &connections);
    if (status == CTL_DONE)
        status = transfer_check_reference(in);
    if (status == CTL_DONE)
        status = transfer_refuse_pipe(in, in->args[1]);
    if (status == CTL_DONE)
        status = transfer_begin(in);
    if (status == CTL_DONE)
        status = export_check_name(in);
    if (status == CTL_DONE)
        status = transfer_export_uri(in, in->args[0], &uri);
    if (status != CTL_DONE)
        return status;
    destination = transfer->redact(in->args[1]);
    if (option_flag(in, "dry-run"))
        return export_plan(in, uri, destination ? destination : "the destination");
    /* Of a difference, what is zero and has changed must not look like what has not. */
    struct transfer_options options = {.source = uri,
                                       .destination = in->args[1],
                                       .destination_format = option_text(in, "format"),
                                       .keep_zeros = strstr(in->args[0], "..") != NULL,
                                       .overwrite = option_flag(in, "overwrite")};
    transfer_catch_signals();
    int r = transfer_copy(in, &options, connections, &result, &why);
    if (r < 0)
        return ctl_fail(in, r, why.text, r == -EEXIST ? "lunette lun export --help" : NULL);
    transfer_report(in, in->args[0], destination ? destination : "the destination", &result);
    return CTL_DONE;
}
