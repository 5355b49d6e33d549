/* SPDX-License-Identifier: BSD-3-Clause */
/* lun clone --range: blocks of a LUN or snapshot into a LUN that is there. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/size_text.h"
#include "server/ctl/ctl.h"
#include "server/units.h"

/* Whether @text, of @len bytes, reads as a range; whether there are such blocks the server knows.
 */
static bool range_is_sound(const char *text, size_t len)
{
    const char *at = text, *end = text + len;
    uint64_t number = 0;
    for (int i = 0; i < 3; i++)
    {
        char digits[24] = "";
        size_t n = strspn(at, "0123456789");
        at += strspn(at, "0"); /* it would be octal */
        size_t rest = strspn(at, "0123456789");
        if (n == 0 || rest >= sizeof(digits))
            return false;
        memcpy(digits, at, rest);
        number = 0;
        if (rest > 0 && units_parse_number(digits, 0, INT64_MAX, &number, NULL) < 0)
            return false;
        at += rest;
        if (i < 2 ? *at++ != ':' : at != end)
            return false;
    }
    return number > 0;
}

/* The values of --range, each a list with commas, as one array. */
static enum ctl_exit range_list(const struct invocation *in, json_t *ranges)
{
    size_t count;
    char *const *texts = option_texts(in, "range", &count);
    for (size_t i = 0; i < count; i++)
        for (const char *at = texts[i]; *at;)
        {
            char text[160];
            size_t len = strcspn(at, ",");
            snprintf(text, sizeof(text),
                     "\"%.*s\" is no range: write SRC-BLOCK:DST-BLOCK:COUNT, three whole numbers "
                     "of blocks, the last at least 1",
                     (int)min_u64(len, 60), at);
            if (!range_is_sound(at, len))
                return ctl_usage(in, text);
            if (json_array_append_new(ranges, json_stringn(at, len)) != 0)
                return ctl_usage(in, "a range is SRC-BLOCK:DST-BLOCK:COUNT");
            at += len + (at[len] == ',');
        }
    return json_array_size(ranges) > 0
               ? CTL_DONE
               : ctl_usage(in, "--range needs SRC-BLOCK:DST-BLOCK:COUNT, or several with commas");
}

/* What only a new LUN can get. */
static enum ctl_exit range_check_options(const struct invocation *in)
{
    static const char *const others[] = {"count",  "first", "comment", "no-reserve", "autodelete",
                                         "expire", "owner", "group",   "qos",        "igroup"};
    char text[160];
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
    {
        if (!option_flag(in, others[i]))
            continue;
        snprintf(text, sizeof(text),
                 "--%s is for a new clone; with --range, blocks go into a LUN that is there",
                 others[i]);
        return ctl_usage(in, text);
    }
    return CTL_DONE;
}

static bool range_shows_progress(const struct invocation *in)
{
    return isatty(STDERR_FILENO) && !option_flag(in, "json");
}

static int range_progress_cb(void *opaque, const json_t *progress)
{
    const struct invocation *in = opaque;
    char done[UNITS_TEXT_MAX], total[UNITS_TEXT_MAX];
    if (range_shows_progress(in))
        fprintf(stderr, "\r%" PRIu64 " %%, %s of %s copied\033[K", ctl_get(progress, "percent"),
                units_format_bytes(ctl_get(progress, "done_bytes"), 'h', done),
                units_format_bytes(ctl_get(progress, "total_bytes"), 'h', total));
    return 0;
}

static void range_print(const json_t *result, bool dry_run)
{
    char data[UNITS_TEXT_MAX], holes[UNITS_TEXT_MAX], taken[UNITS_TEXT_MAX];
    char available[UNITS_TEXT_MAX];
    uint64_t count = ctl_get(result, "blocks");
    printf("%s %" PRIu64 " block%s of %s into %s: %s of data, and %s of holes, which stay holes.\n",
           dry_run ? "Would copy" : "Copied", count, plural_s(count),
           json_string_value(json_object_get(result, "source")),
           json_string_value(json_object_get(result, "name")),
           units_format_bytes(ctl_get(result, "copied_bytes"), 'h', data),
           units_format_bytes(ctl_get(result, "hole_bytes"), 'h', holes));
    if (dry_run)
        printf("The data would take %s of space (%s available).\n",
               units_format_bytes(ctl_get(result, "taken_bytes"), 'h', taken),
               units_format_bytes(ctl_get(result, "available_bytes"), 'h', available));
    printf("The data is copied, not shared: only clones of whole LUNs share blocks.\n");
}

/* Takes @args over. With --require-reference what would be copied is refused. */
static enum ctl_exit range_check_reference(const struct invocation *in, json_t *args)
{
    AUTO_JSON json_t *plan = NULL;
    char text[160], data[UNITS_TEXT_MAX];
    ctl_put(args, "dry_run", json_true());
    enum ctl_exit status = ctl_ask(in, "lun.clone_ranges", args, &plan);
    if (status != CTL_DONE || ctl_get(plan, "copied_bytes") == 0)
        return status;
    snprintf(text, sizeof(text),
             "%s of data would be copied: blocks are shared by clones of whole LUNs only",
             units_format_bytes(ctl_get(plan, "copied_bytes"), 'h', data));
    return ctl_refuse(in, text, "lunette lun clone --help");
}

enum ctl_exit ctl_lun_clone_range(struct invocation *in, const char *source, const char *name)
{
    AUTO_JSON json_t *result = NULL;
    AUTO_JSON json_t *ranges = json_array();
    bool dry_run = option_flag(in, "dry-run");
    enum ctl_exit status = range_check_options(in);
    if (status == CTL_DONE)
        status = range_list(in, ranges);
    if (status != CTL_DONE)
        return status;
    json_t *args = json_object();
    ctl_put_text(args, "source", source);
    ctl_put_text(args, "name", name);
    ctl_put(args, "ranges", take_ptr(&ranges));
    ctl_put(args, "force", json_boolean(option_flag(in, "force")));
    ctl_put(args, "dry_run", json_boolean(dry_run));
    if (option_flag(in, "require-reference"))
        status = range_check_reference(in, json_deep_copy(args));
    if (status != CTL_DONE)
    {
        json_decref(args);
        return status;
    }
    status = ctl_ask_progress(in, "lun.clone_ranges", args, range_progress_cb, in, &result);
    if (range_shows_progress(in))
        fputs("\r\033[K", stderr);
    if (status == CTL_DONE && option_flag(in, "json"))
        table_print_json(stdout, result);
    else if (status == CTL_DONE)
        range_print(result, dry_run);
    return status;
}
