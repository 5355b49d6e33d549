/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What went wrong, on standard error: in words, or with --json as one JSON object on a line.
 *
 * Standard output has results only, so whoever reads it need not ask whether it is one.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/log.h"
#include "server/ctl/ctl.h"
#include "server/ctl/hint.h"
#include "server/ctl/serve_note.h"
#include "server/ctl/transfer.h"

enum
{
    REFUSAL_TEXT_MAX = 4096,
    REFUSAL_LINES_MAX = 256, /* that are told apart */
};

static bool refusal_json; /* set before anything is said, by the one thread there is */

struct refusal
{
    enum ctl_exit exit;
    int err;           /* negative; 0: of no kind that has a number */
    const char *doing; /* "create LUN a"; NULL: it was not understood, or the deed was done */
    const char *why;
    const char *hint;    /* a command that helps; NULL, "": none */
    const char *command; /* its words; NULL: none was found */
};

/* @text; a terminal shows bytes that are no UTF-8, JSON cannot. */
static json_t *refusal_string(const char *text)
{
    json_t *string = json_string(text);
    AUTO_FREE char *clean = string ? NULL : strdup(text);
    for (char *at = clean; at && *at; at++)
        if ((unsigned char)*at >= 0x80)
            *at = '?';
    return string ? string : json_string(clean ? clean : "");
}

static void refusal_put(json_t *object, const char *key, json_t *value)
{
    ignore_error(json_object_set_new(object, key, value), "without memory the key is missing");
}

/* The first command that the reason names in quotes, which a program would have to look for; NULL:
 * none. Free it. */
static char *refusal_named_command(const char *why)
{
    static const char begins[] = "lunette ";
    for (const char *at = why; *at; at++)
    {
        const char *end = *at == '\'' || *at == '`' ? strchr(at + 1, *at) : NULL;
        if (end && strncmp(at + 1, begins, sizeof(begins) - 1) == 0)
            return strndup(at + 1, (size_t)(end - at - 1));
    }
    return NULL;
}

static void refusal_print_json(const struct refusal *refusal, const char *message)
{
    json_t *error = json_object();
    AUTO_JSON json_t *whole = json_pack("{s:o}", "error", error);
    refusal_put(error, "message", refusal_string(message));
    refusal_put(error, "reason", refusal_string(refusal->why));
    refusal_put(error, "errno",
                refusal->err ? json_string(proto_error_name(refusal->err)) : json_null());
    refusal_put(error, "exit", json_integer(refusal->exit));
    refusal_put(error, "command", refusal->command ? json_string(refusal->command) : json_null());
    AUTO_FREE char *named = refusal_named_command(refusal->why);
    if (refusal->hint && *refusal->hint)
        refusal_put(error, "try", refusal_string(refusal->hint));
    else if (named)
        refusal_put(error, "try", refusal_string(named));
    AUTO_FREE char *text = proto_dump(whole, JSON_COMPACT);
    fprintf(stderr, "%s\n", text ? text : "{\"error\":{\"message\":\"no memory\",\"exit\":1}}");
}

static enum ctl_exit refusal_print(const struct refusal *refusal)
{
    char message[REFUSAL_TEXT_MAX];
    AUTO_FREE char *why = hint_localize(refusal->why);
    AUTO_FREE char *hint = refusal->hint ? hint_localize(refusal->hint) : NULL;
    struct refusal said = *refusal;
    said.why = why ? why : refusal->why;
    said.hint = hint ? hint : refusal->hint;
    fflush(stdout);
    if (said.doing)
        snprintf(message, sizeof(message), "cannot %s: %s", said.doing, said.why);
    else
        snprintf(message, sizeof(message), "%s", said.why);
    if (refusal_json)
        refusal_print_json(&said, message);
    else
        fprintf(stderr, "lunette: %s\n", message);
    if (!refusal_json && said.hint && *said.hint)
        fprintf(stderr, "  try: %s\n", said.hint);
    return refusal->exit;
}

/* {@i} of "doing". Messages are kept in logs, passwords of URLs are not. */
static void refusal_print_arg(FILE *file, const struct invocation *in, size_t i)
{
    static const char parent[] = "parent-volume"; /* ONTAP's way to name what is cloned */
    const char *arg = i < in->arg_count ? in->args[i] : NULL;
    if (!arg && i == 0 && strcmp(in->command->words, "volume clone create") == 0)
        arg = option_text(in, parent);
    AUTO_FREE char *shown = arg ? transfer_redact(arg) : NULL;
    fputs(shown ? shown : "it", file);
}

/* The command's "doing" with {0}, {1} replaced by its arguments. */
void ctl_print_doing(FILE *file, const struct invocation *in)
{
    const char *at = in->command->doing;
    while (*at)
    {
        if (at[0] == '{' && at[1] >= '0' && at[1] <= '9' && at[2] == '}')
        {
            refusal_print_arg(file, in, (size_t)(at[1] - '0'));
            at += 3;
        }
        else
            fputc(*at++, file);
    }
}

static enum ctl_exit refusal_of_command(const struct invocation *in, enum ctl_exit exit, int err,
                                        const char *why, const char *hint)
{
    char *doing = NULL;
    size_t size;
    FILE *file = open_memstream(&doing, &size);
    if (file)
    {
        ctl_print_doing(file, in);
        fclose(file);
    }
    const struct refusal refusal = {.exit = exit,
                                    .err = err,
                                    .doing = doing ? doing : in->command->words,
                                    .why = why,
                                    .hint = hint,
                                    .command = in->command->words};
    enum ctl_exit status = refusal_print(&refusal);
    free(doing);
    return status;
}

enum ctl_exit ctl_refuse(const struct invocation *in, const char *why, const char *hint)
{
    return refusal_of_command(in, CTL_REFUSED, 0, why, hint);
}

enum ctl_exit ctl_fail(const struct invocation *in, int err, const char *why, const char *hint)
{
    return refusal_of_command(in, CTL_REFUSED, err, why && *why ? why : strerror(-err), hint);
}

static bool refusal_answered; /* the server has done something that it was asked for */

void ctl_note_answer(void)
{
    refusal_answered = true;
}

static const char *refusal_of_memory(void)
{
    return refusal_answered ? "no memory to go on; what the server was asked for until now is done"
                            : "no memory";
}

enum ctl_exit ctl_no_memory(const struct invocation *in)
{
    return ctl_fail(in, -ENOMEM, refusal_of_memory(), NULL);
}

void ctl_end_without_memory(void)
{
    ctl_note("%s", refusal_answered ? refusal_of_memory() : "no memory, or text that is not UTF-8");
    exit(CTL_REFUSED);
}

enum ctl_exit ctl_no_server(const struct invocation *in, int err, const char *why)
{
    const char *named = option_text(in, "socket");
    AUTO_FREE char *socket = named ? strdup(named) : client_default_socket();
    AUTO_FREE char *noted = socket ? serve_note_read(socket) : NULL;
    AUTO_FREE char *hint = NULL;
    if (noted && named && asprintf(&hint, "%s --socket %s", noted, named) < 0)
        hint = NULL;
    return refusal_of_command(in, CTL_NO_SERVER, err, why,
                              hint    ? hint
                              : noted ? noted
                                      : "lunette serve --help");
}

enum ctl_exit ctl_conclude(const struct invocation *in, const char *why, const char *hint)
{
    const struct refusal refusal = {
        .exit = CTL_REFUSED, .why = why, .hint = hint, .command = in->command->words};
    return refusal_print(&refusal);
}

enum ctl_exit ctl_usage(const struct invocation *in, const char *why)
{
    char hint[256];
    if (in->command)
        snprintf(hint, sizeof(hint), "lunette %s --help", in->command->words);
    else
        snprintf(hint, sizeof(hint), "lunette help%s%s", *in->family ? " " : "", in->family);
    const struct refusal refusal = {.exit = CTL_USAGE,
                                    .err = -EINVAL,
                                    .why = why,
                                    .hint = hint,
                                    .command = in->command ? in->command->words : NULL};
    return refusal_print(&refusal);
}

void ctl_note(const char *format, ...)
{
    char text[REFUSAL_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    fflush(stdout);
    if (!refusal_json)
    {
        fputs("lunette: ", stderr);
        hint_print(stderr, text);
        fputc('\n', stderr);
        return;
    }
    AUTO_JSON json_t *note = json_pack("{s:o}", "note", refusal_string(text));
    AUTO_FREE char *line = note ? proto_dump(note, JSON_COMPACT) : NULL;
    fprintf(stderr, "%s\n", line ? line : "{\"note\":\"no memory\"}");
}

/* Whether this line was logged before: the engine meets the same damage on each of its ways. */
static bool refusal_is_known(const char *text)
{
    static char *known[REFUSAL_LINES_MAX];
    static size_t count;
    for (size_t i = 0; i < count; i++)
        if (strcmp(known[i], text) == 0)
            return true;
    if (count < REFUSAL_LINES_MAX && (known[count] = strdup(text)))
        count++;
    return false;
}

static void refusal_log(enum log_level level, const char *text)
{
    if (!refusal_is_known(text))
        ctl_note("%s%s", level == LOG_LEVEL_ERROR ? "error: " : "warning: ", text);
}

void ctl_log_to_notes(void)
{
    log_set_level(LOG_LEVEL_WARNING);
    log_set_sink(refusal_log);
}

void ctl_errors_as_json(void)
{
    refusal_json = true;
}
