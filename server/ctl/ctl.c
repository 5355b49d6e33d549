/* SPDX-License-Identifier: BSD-3-Clause */
/* What the functions behind the commands share. */
#include "server/ctl/ctl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "server/ctl/hint.h"
#include "server/units.h"

/* ---- asking the server --------------------------------------------------------------------- */

enum ctl_exit ctl_connect(const struct invocation *in, struct client *client)
{
    struct reason why;
    const char *named = option_text(in, "socket");
    AUTO_FREE char *path = named ? strdup(named) : client_default_socket();
    if (!path)
        return ctl_no_memory(in);
    int r = client_connect(client, path, &why);
    if (r == -EINVAL)
        return ctl_usage(in, why.text);
    return r < 0 ? ctl_no_server(in, r, why.text) : CTL_DONE;
}

static enum ctl_exit ctl_call_progress(const struct invocation *in, struct client *client,
                                       const char *verb, json_t *args, client_progress_fn *progress,
                                       void *opaque, json_t **result)
{
    struct client_refusal refusal;
    bool may_exist = (in->command->flags & COMMAND_CREATES) && option_flag(in, "if-not-exists");
    AUTO_JSON json_t *asked = may_exist ? json_deep_copy(args) : NULL;
    int r = client_call(client, verb, args, progress, opaque, result, &refusal);
    if (r == -EEXIST && asked)
        return ctl_check_existing(in, client, verb, asked, &refusal);
    if (r == -ENOTCONN)
        return ctl_no_server(in, r, refusal.why.text);
    if (r < 0)
        return ctl_fail(in, r, refusal.why.text, refusal.hint);
    ctl_note_answer();
    return CTL_DONE;
}

enum ctl_exit ctl_call(const struct invocation *in, struct client *client, const char *verb,
                       json_t *args, json_t **result)
{
    return ctl_call_progress(in, client, verb, args, NULL, NULL, result);
}

enum ctl_exit ctl_ask_progress(const struct invocation *in, const char *verb, json_t *args,
                               client_progress_fn *progress, void *opaque, json_t **result)
{
    struct client client;
    enum ctl_exit status = ctl_connect(in, &client);
    if (status != CTL_DONE)
    {
        json_decref(args);
        return status;
    }
    status = ctl_call_progress(in, &client, verb, args, progress, opaque, result);
    client_close(&client);
    return status;
}

enum ctl_exit ctl_ask(const struct invocation *in, const char *verb, json_t *args, json_t **result)
{
    return ctl_ask_progress(in, verb, args, NULL, NULL, result);
}

enum ctl_exit ctl_do(const struct invocation *in, const char *verb, json_t *args, const char *said,
                     ...)
{
    va_list words;
    AUTO_JSON json_t *result = NULL;
    enum ctl_exit status = ctl_ask(in, verb, args, &result);
    if (status == CTL_DONE && option_flag(in, "json"))
        table_print_json(stdout, result);
    else if (status == CTL_DONE)
    {
        va_start(words, said);
        hint_vprintf(stdout, said, words);
        va_end(words);
        fputc('\n', stdout);
    }
    return status;
}

/* ---- options ------------------------------------------------------------------------------- */

enum ctl_exit ctl_table_options(const struct invocation *in, const struct field *fields,
                                struct table_options *options)
{
    struct reason why;
    bool lists = in->command->flags & COMMAND_LISTS;
    const char *units = lists ? option_text(in, "units") : NULL;
    *options = (struct table_options){.unit = 'h',
                                      .json = option_flag(in, "json"),
                                      .instance = lists && option_flag(in, "instance")};
    if (units && (strlen(units) != 1 || !strchr("hBKMGTP", *units)))
        return ctl_usage(in, "--units is one of h (human), B, K, M, G, T, P");
    if (units)
        options->unit = *units;
    options->fields = lists ? option_text(in, "fields") : NULL;
    if (options->fields && table_check_fields(options->fields, fields, &why) < 0)
        return ctl_usage(in, why.text);
    return CTL_DONE;
}

enum ctl_exit ctl_list(const struct invocation *in, json_t *result, const char *key,
                       const struct field *fields)
{
    struct table_options options;
    struct reason why = {.text = "no memory"};
    enum ctl_exit status = ctl_table_options(in, fields, &options);
    if (status == CTL_DONE && table_print(stdout, result, key, fields, &options, &why) < 0)
        return ctl_no_memory(in);
    return status;
}

const char *ctl_arg_or_option(const struct invocation *in, size_t i, const char *name,
                              enum ctl_exit *exit)
{
    char text[256];
    const char *option = option_text(in, name);
    const char *arg = i < in->arg_count ? in->args[i] : NULL;
    *exit = CTL_DONE;
    if (arg && option)
    {
        snprintf(text, sizeof(text), "\"%.60s\" and --%s %.60s say the same thing twice", arg, name,
                 option);
        *exit = ctl_usage(in, text);
        return NULL;
    }
    if (!arg && !option)
    {
        snprintf(text, sizeof(text), "\"%s\" needs %s, or --%s", in->command->words,
                 in->command->arguments, name);
        *exit = ctl_usage(in, text);
        return NULL;
    }
    return arg ? arg : option;
}

enum ctl_exit ctl_size(const struct invocation *in, const char *text, uint64_t now_bytes,
                       uint64_t *bytes)
{
    struct reason why;
    bool adds = *text == '+' && now_bytes != UINT64_MAX;
    if (units_parse_bytes(text + adds, bytes, &why) < 0)
        return ctl_usage(in, why.text);
    if (adds && !checked_add(now_bytes, *bytes, bytes))
        return ctl_usage(in, "the size is more than 64 bits can hold");
    if (*bytes > INT64_MAX)
        return ctl_usage(in, "the size is more than 8 EiB");
    return CTL_DONE;
}

enum ctl_exit ctl_number(const struct invocation *in, const char *name, uint64_t min, uint64_t max,
                         uint64_t *number)
{
    struct reason why;
    const char *text = option_text(in, name);
    char said[sizeof(why.text) + 64];
    if (!text || units_parse_number(text, min, max, number, &why) == 0)
        return CTL_DONE;
    snprintf(said, sizeof(said), "--%s: %s", name, why.text);
    return ctl_usage(in, said);
}

enum ctl_exit ctl_sector(const struct invocation *in, uint64_t *sector_bytes)
{
    *sector_bytes = 512;
    enum ctl_exit status = ctl_number(in, "sector", 512, 4096, sector_bytes);
    if (status != CTL_DONE || *sector_bytes == 512 || *sector_bytes == 4096)
        return status;
    return ctl_usage(in, "--sector: a sector has 512 or 4096 bytes");
}

enum ctl_exit ctl_duration(const struct invocation *in, const char *name, uint64_t *ms)
{
    struct reason why;
    const char *text = option_text(in, name);
    char said[sizeof(why.text) + 64];
    if (!text || units_parse_ms(text, ms, &why) == 0)
        return CTL_DONE;
    snprintf(said, sizeof(said), "--%s: %s", name, why.text);
    return ctl_usage(in, said);
}

enum ctl_exit ctl_snapshot_name(const struct invocation *in, size_t i, char **lun, char **snapshot,
                                size_t *used)
{
    const char *first = in->args[i];
    const char *at = strchr(first, '@');
    const char *second = at ? at + 1 : i + 1 < in->arg_count ? in->args[i + 1] : NULL;
    if (!second || !*second || at == first)
        return ctl_usage(in, "name a snapshot as LUN@SNAPSHOT");
    *used = at ? 1 : 2;
    *lun = strndup(first, at ? (size_t)(at - first) : strlen(first));
    *snapshot = strdup(second);
    return *lun && *snapshot ? CTL_DONE : ctl_no_memory(in);
}

/* "2026-12-31" or "2026-12-31T18:00", in local time. */
static bool ctl_parse_date(const char *text, uint64_t *seconds)
{
    struct tm tm = {.tm_isdst = -1};
    const char *end = strptime(text, "%Y-%m-%d", &tm);
    if (end && (*end == 'T' || *end == ' '))
        end = strptime(end + 1, "%H:%M", &tm);
    if (!end || *end)
        return false;
    time_t at = mktime(&tm);
    *seconds = (uint64_t)at;
    return at > 0;
}

enum ctl_exit ctl_put_moment(const struct invocation *in, json_t *args, const char *key,
                             const char *option)
{
    struct reason why;
    char said[512];
    uint64_t ms, seconds = 0;
    const char *text = option_text(in, option);
    if (!text)
        return CTL_DONE;
    if (units_parse_ms(text, &ms, &why) == 0)
        seconds = (uint64_t)time(NULL) + ms / 1000;
    else if (strcmp(text, "none") != 0 && !ctl_parse_date(text, &seconds))
    {
        snprintf(said, sizeof(said),
                 "--%s: \"%.100s\" is no time: write 8h or 30d (from now), 2026-12-31, "
                 "2026-12-31T18:00, or none",
                 option, text);
        return ctl_usage(in, said);
    }
    /* A lease that is over would delete at once, and a lock that is over keeps nothing. */
    if (seconds != 0 && seconds < (uint64_t)time(NULL))
    {
        snprintf(said, sizeof(said), "--%s: %.100s is over", option, text);
        return ctl_usage(in, said);
    }
    ctl_put(args, key, proto_json_uint(seconds));
    return CTL_DONE;
}

enum ctl_exit ctl_put_bool(const struct invocation *in, json_t *args, const char *key,
                           const char *option)
{
    struct reason why;
    char text[sizeof(why.text) + 64];
    bool value;
    const char *given = option_text(in, option);
    if (!given)
        return CTL_DONE;
    if (units_parse_bool(given, &value, &why) < 0)
    {
        snprintf(text, sizeof(text), "--%s: %s", option, why.text);
        return ctl_usage(in, text);
    }
    ctl_put(args, key, json_boolean(value));
    return CTL_DONE;
}

bool ctl_asks(const struct invocation *in)
{
    return !option_flag(in, "yes") && !option_flag(in, "json") && isatty(STDIN_FILENO) &&
           isatty(STDERR_FILENO);
}

enum ctl_exit ctl_confirm(const struct invocation *in)
{
    if (!ctl_asks(in))
        return CTL_DONE;
    fflush(stdout);
    fputs("Go on? {y|n}: ", stderr);
    char answer[16];
    if (fgets(answer, sizeof(answer), stdin) && (*answer == 'y' || *answer == 'Y'))
        return CTL_DONE;
    ctl_note("nothing was changed");
    return CTL_REFUSED;
}

void ctl_put(json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value) != 0)
    {
        /* A request that lacks an argument could do something else than was asked. */
        ctl_end_without_memory();
    }
}

void ctl_put_text(json_t *object, const char *key, const char *text)
{
    if (text)
        ctl_put(object, key, json_string(text));
}

uint64_t ctl_get(const json_t *object, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

enum ctl_exit ctl_conclude_plan(const struct invocation *in, const json_t *plan)
{
    char text[1200];
    char *hint = NULL;
    size_t i, size;
    json_t *need;
    const json_t *needs = json_object_get(plan, "needs");
    if (!needs)
        return CTL_DONE;
    snprintf(text, sizeof(text), "refused as it stands: %s",
             json_string_value(json_object_get(plan, "refused")));
    FILE *file = open_memstream(&hint, &size);
    if (!file)
        return ctl_no_memory(in);
    fprintf(file, "lunette %s", in->command->words);
    for (i = 0; i < in->arg_count; i++)
        fprintf(file, " %s", in->args[i]);
    for (const struct command_option *option = in->command->options; option->name; option++)
    {
        if (!option_flag(in, option->name))
            continue;
        fprintf(file, " --%s%s", option->name, option->value ? " " : "");
        if (option->value)
            hint_put_word(file, option_text(in, option->name));
    }
    json_array_foreach(needs, i, need) fprintf(file, " %s", json_string_value(need));
    fputs(" --dry-run", file);
    fclose(file);
    enum ctl_exit status = ctl_conclude(in, text, hint);
    free(hint);
    return status;
}

enum ctl_exit ctl_open_pool(const struct invocation *in, const struct pool_open_options *options,
                            struct pool **pool)
{
    struct reason why = {.text = ""};
    int r = pool_open(env_system(), option_text(in, "pool"), options, pool, &why);
    if (r == 0)
        return CTL_DONE;
    return ctl_fail(in, r, why.text,
                    r == -EBUSY    ? "the same command without --pool, which asks the server"
                    : r == -ENOENT ? "lunette pool create --help"
                                   : NULL);
}

enum ctl_exit ctl_conclude_damage(const struct invocation *in, const char *why)
{
    AUTO_JSON json_t *pool = NULL;
    AUTO_FREE char *text = NULL;
    AUTO_FREE char *hint = NULL;
    const char *path = option_text(in, "pool");
    bool is_served = !path;
    if (is_served && ctl_ask(in, "pool.show", NULL, &pool) == CTL_DONE)
        path = json_string_value(json_object_get(pool, "path"));
    if (asprintf(&text, "%s; 'lunette pool repair' tells what can be mended%s", why,
                 is_served ? ", once 'lunette server stop' has ended the server" : "") < 0)
        text = NULL;
    if (!path || asprintf(&hint, "lunette pool repair %s --dry-run", path) < 0)
        hint = NULL;
    return ctl_conclude(in, text ? text : why, hint ? hint : "lunette pool repair --help");
}
