/* SPDX-License-Identifier: BSD-3-Clause */
/* pool create, show, check, grow, dump; df; tree. With --pool the pool is opened here. */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "lun/base/checked.h"
#include "lun/base/size_text.h"
#include "server/ctl/ctl.h"
#include "server/ctl/hint.h"
#include "server/mgmt/view.h"
#include "server/units.h"

static const struct field pool_fields[] = {
    {"name", "Pool", FIELD_TEXT, false},
    {"path", "Path", FIELD_TEXT, false},
    {"health", "Health", FIELD_TEXT, false},
    {"size_bytes", "Size", FIELD_BYTES, false},
    {"file_taken_bytes", "Taken from the file system", FIELD_BYTES, false},
    {"file_system_free_bytes", "Free in the file system", FIELD_BYTES, false},
    {"used_bytes", "Data and metadata", FIELD_BYTES, false},
    {"data_bytes", "of that data", FIELD_BYTES, false},
    {"metadata_bytes", "of that metadata", FIELD_BYTES, false},
    {"deferred_bytes", "Free after the next checkpoint", FIELD_BYTES, false},
    {"reserve_bytes", "Reserved for deletes and checkpoints", FIELD_BYTES, false},
    {"promised_bytes", "Promised, not written yet", FIELD_BYTES, false},
    {"available_bytes", "Available", FIELD_BYTES, false},
    {"used_percent", "Used, that is not available", FIELD_PERCENT, false},
    {"luns", "LUNs", FIELD_COUNT, false},
    {"snapshots", "Snapshots", FIELD_COUNT, false},
    {"logical_bytes", "Sizes of all LUNs", FIELD_BYTES, false},
    {"mapped_bytes", "Mapped by all LUNs", FIELD_BYTES, false},
    {"savings_ratio", "Savings (mapped : data)", FIELD_RATIO, false},
    {"read_only", "Read-only", FIELD_TEXT, true},
    {"uuid", "UUID", FIELD_TEXT, true},
    {"free_bytes", "Free", FIELD_BYTES, true},
    {"file_bytes", "Size of the file", FIELD_BYTES, true},
    {"lines", "Lines", FIELD_COUNT, true},
    {"hidden_points", "Hidden points", FIELD_COUNT, true},
    {"dying", "Being deleted", FIELD_COUNT, true},
    {"checkpoint", "Checkpoint", FIELD_COUNT, true},
    {"checkpoints", "Checkpoints since open", FIELD_COUNT, true},
    {"commits", "Commits since open", FIELD_COUNT, true},
    {"syncs", "Syncs since open", FIELD_COUNT, true},
    {"journal_used_bytes", "Journal used", FIELD_BYTES, true},
    {"journal_size_bytes", "Journal size", FIELD_BYTES, true},
    {"dirty_nodes", "Dirty nodes", FIELD_COUNT, true},
    {"cached_nodes", "Cached nodes", FIELD_COUNT, true},
    {"cache_hits", "Cache hits", FIELD_COUNT, true},
    {"cache_misses", "Cache misses", FIELD_COUNT, true},
    {"created", "Created", FIELD_TIME, true},
    {"opened", "Opened", FIELD_TIME, true},
    {0},
};

static const struct field df_fields[] = {
    {"kind", "Kind", FIELD_TEXT, false},
    {"name", "Name", FIELD_TEXT, false},
    {"size_bytes", "Size", FIELD_BYTES, false},
    {"used_bytes", "Used", FIELD_BYTES, false},
    {"available_bytes", "Available", FIELD_BYTES, false},
    {"used_percent", "Used%", FIELD_PERCENT, false},
    {"mapped_bytes", "Mapped", FIELD_BYTES, false},
    {"saved_bytes", "Saved", FIELD_BYTES, false},
    {"savings_ratio", "Savings", FIELD_RATIO, false},
    {"saved_percent", "%Saved", FIELD_PERCENT, true},
    {"own_bytes", "Own", FIELD_BYTES, true},
    {"shared_bytes", "Shared", FIELD_BYTES, true},
    {"snapshot_bytes", "Snapshots", FIELD_BYTES, true},
    {"reserved_bytes", "Reserved", FIELD_BYTES, true},
    {0},
};

static const struct pool_open_options pool_look = {.read_only = true};

/* ---- pool create --------------------------------------------------------------------------- */

static bool pool_is_block_device(const char *path)
{
    struct stat stat_buf;
    return stat(path, &stat_buf) == 0 && S_ISBLK(stat_buf.st_mode);
}

/* What pool_create() is going to be asked. CTL_DONE or what has been said. */
static enum ctl_exit pool_read_create(const struct invocation *in,
                                      struct pool_create_options *options)
{
    enum ctl_exit status = CTL_DONE;
    const char *size = NULL, *journal = option_text(in, "journal");
    bool given = in->arg_count > 1 || option_text(in, "size");
    if (!given && !pool_is_block_device(in->args[0]))
        return ctl_usage(
            in, "a pool in a file needs a SIZE; only on a block device may it be left out");
    if (given)
        size = ctl_arg_or_option(in, 1, "size", &status);
    *options = (struct pool_create_options){.name = option_text(in, "name"),
                                            .preallocate = option_flag(in, "preallocate"),
                                            .dry_run = option_flag(in, "dry-run"),
                                            .overwrite = option_flag(in, "overwrite")};
    if (status == CTL_DONE && size)
        status = ctl_size(in, size, UINT64_MAX, &options->size_bytes);
    if (status == CTL_DONE && journal)
        status = ctl_size(in, journal, UINT64_MAX, &options->journal_bytes);
    return status;
}

/* Whether --overwrite is what lets it go through. */
static bool pool_create_destroys(const char *path, struct pool_create_options options)
{
    options.overwrite = false;
    return pool_create(env_system(), path, &options, NULL) == -EEXIST;
}

/* What the pool at @path has, which is made of whole allocation groups; 0: that cannot be told. */
static uint64_t pool_usable_bytes(const char *path)
{
    struct pool *pool;
    struct pool_info info;
    if (pool_open(env_system(), path, &pool_look, &pool, NULL) < 0)
        return 0;
    pool_get_info(pool, &info);
    ignore_error(pool_close(pool), "opened read-only: nothing to write");
    return info.size_bytes;
}

enum ctl_exit ctl_pool_create(struct invocation *in)
{
    struct pool_create_options options = {0};
    struct reason why = {.text = ""};
    char text[UNITS_TEXT_MAX];
    const char *path = in->args[0];
    enum ctl_exit status = pool_read_create(in, &options);
    if (status != CTL_DONE)
        return status;
    bool dry_run = options.dry_run;
    int r = pool_create(env_system(), path, &options, &why);
    if (r < 0)
        return ctl_fail(in, r, why.text, r == -EEXIST ? "lunette pool create --help" : NULL);
    bool destroys = dry_run && pool_create_destroys(path, options);
    AUTO_JSON json_t *result = json_pack("{s:s, s:I, s:b, s:b}", "path", path, "size_bytes",
                                         (json_int_t)options.size_bytes, "dry_run", (int)dry_run,
                                         "destroys", (int)destroys);
    uint64_t usable_bytes = dry_run ? 0 : pool_usable_bytes(path);
    if (usable_bytes > 0)
        ctl_put(result, "usable_bytes", proto_json_uint(usable_bytes));
    if (option_flag(in, "json"))
        table_print_json(stdout, result);
    else if (options.size_bytes > 0)
        printf("%s pool %s of %s.\n", dry_run ? "Would make" : "Made", path,
               units_format_bytes(options.size_bytes, 'h', text));
    else
        printf("%s pool on all of %s.\n", dry_run ? "Would make a" : "Made a", path);
    if (destroys && !option_flag(in, "json"))
        printf("What %s holds now would be lost.\n", path);
    if (usable_bytes > 0 && usable_bytes < options.size_bytes && !option_flag(in, "json"))
        printf("Of that %s make whole allocation groups, and can be used.\n",
               units_format_bytes(usable_bytes, 'h', text));
    if (!dry_run && !option_flag(in, "json"))
        printf("Serve it with: lunette serve --pool %s\n", path);
    return CTL_DONE;
}

/* ---- pool show, df ------------------------------------------------------------------------- */

static enum ctl_exit pool_ask_show(const struct invocation *in, json_t **result)
{
    struct pool *pool;
    struct pool_info info;
    if (!option_text(in, "pool"))
        return ctl_ask(in, "pool.show", NULL, result);
    enum ctl_exit status = ctl_open_pool(in, &pool_look, &pool);
    if (status != CTL_DONE)
        return status;
    pool_get_info(pool, &info);
    ignore_error(pool_close(pool), "opened read-only: nothing to write");
    *result = view_pool(&info);
    return *result ? CTL_DONE : ctl_no_memory(in);
}

enum ctl_exit ctl_pool_show(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    struct table_options options;
    struct reason why = {.text = "no memory"};
    enum ctl_exit status = ctl_table_options(in, pool_fields, &options);
    if (status == CTL_DONE)
        status = pool_ask_show(in, &result);
    if (status == CTL_DONE && table_print_object(stdout, result, pool_fields, &options, &why) < 0)
        return ctl_no_memory(in);
    return status;
}

/* Whether @name is @wanted, is in it, or matches it. */
static bool df_is_wanted(const char *name, const char *wanted)
{
    size_t skip = strncmp(wanted, "/vol/", 5) == 0 ? 5 : 0;
    size_t len = strlen(wanted + skip);
    return fnmatch(wanted + skip, name, 0) == 0 ||
           (strncmp(name, wanted + skip, len) == 0 && name[len] == '/');
}

/* Leaves of result["entries"] what the arguments name, and works out what is saved of it. */
static enum ctl_exit df_choose(const struct invocation *in, json_t *result)
{
    AUTO_JSON json_t *chosen = json_array();
    AUTO_FREE bool *is_found = calloc(in->arg_count + 1, sizeof(*is_found));
    size_t i;
    json_t *entry;
    char text[LUN_NAME_MAX + 64];
    json_array_foreach(json_object_get(result, "entries"), i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        uint64_t mapped_bytes = ctl_get(entry, "mapped_bytes");
        bool is_wanted = in->arg_count == 0;
        for (size_t j = 0; is_found && name && j < in->arg_count; j++)
            if (df_is_wanted(name, in->args[j]))
                is_wanted = is_found[j] = true;
        if (json_object_get(entry, "mapped_bytes"))
            ctl_put(entry, "saved_percent",
                    json_real(100.0 * (double)ctl_get(entry, "saved_bytes") /
                              (double)max_u64(mapped_bytes, 1)));
        if (!is_found || (is_wanted && json_array_append(chosen, entry) != 0))
            return ctl_no_memory(in);
    }
    for (size_t j = 0; j < in->arg_count; j++)
        if (!is_found || !is_found[j])
        {
            snprintf(text, sizeof(text), "there is no LUN or volume named '%.*s'", LUN_NAME_MAX,
                     in->args[j]);
            return ctl_fail(in, -ENOENT, text, "lunette df");
        }
    ctl_put(result, "count", proto_json_uint(json_array_size(chosen)));
    ctl_put(result, "entries", take_ptr(&chosen));
    return CTL_DONE;
}

enum ctl_exit ctl_df(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    struct table_options options;
    struct reason why = {.text = ""};
    enum ctl_exit status = ctl_table_options(in, df_fields, &options);
    if (status == CTL_DONE)
        status = ctl_ask(in, "df", NULL, &result);
    if (status == CTL_DONE)
        status = df_choose(in, result);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "savings") && !options.fields && !options.json)
        options.fields = "kind,name,used,saved,saved_percent,savings_ratio";
    return table_print(stdout, result, "entries", df_fields, &options, &why) < 0 ? ctl_no_memory(in)
                                                                                 : CTL_DONE;
}

/* ---- pool check ---------------------------------------------------------------------------- */

static void pool_finding_cb(void *opaque, bool is_error, const char *text)
{
    json_t *findings = opaque;
    ignore_error(json_array_append_new(
                     findings, json_pack("{s:b, s:s}", "error", (int)is_error, "text", text)),
                 "counted in the result");
}

static enum ctl_exit pool_check_offline(const struct invocation *in, json_t **result)
{
    struct pool *pool;
    struct check_result check = {0};
    enum ctl_exit status = ctl_open_pool(in, &pool_look, &pool);
    if (status != CTL_DONE)
        return status;
    AUTO_JSON json_t *findings = json_array();
    int r = pool_check(pool, pool_finding_cb, findings, &check);
    ignore_error(pool_close(pool), "opened read-only: nothing to write");
    if (r < 0)
        return ctl_fail(in, r, NULL, NULL);
    *result = view_check(&check);
    if (!*result || json_object_set(*result, "findings", findings) != 0)
        return ctl_no_memory(in);
    return CTL_DONE;
}

static void pool_print_check(const json_t *result)
{
    size_t i;
    json_t *finding;
    json_array_foreach(json_object_get(result, "findings"), i, finding)
    {
        bool is_error = json_is_true(json_object_get(finding, "error"));
        fputs(is_error ? "ERROR: " : "", stdout);
        hint_print(stdout, json_string_value(json_object_get(finding, "text")));
        fputc('\n', stdout);
    }
    static const struct
    {
        const char *key, *noun, *end;
    } figures[] = {{"blocks_checked", "block", ", "},
                   {"nodes_checked", "metadata node", ", "},
                   {"extents_checked", "extent", ", "},
                   {"lines_checked", "line", ": "},
                   {"errors", "error", ", "},
                   {"warnings", "warning", ", "},
                   {"blocks_leaked", "block", " leaked.\n"}};
    fputs("Checked ", stdout);
    for (i = 0; i < ARRAY_SIZE(figures); i++)
    {
        uint64_t count = ctl_get(result, figures[i].key);
        printf("%" PRIu64 " %s%s%s", count, figures[i].noun, plural_s(count), figures[i].end);
    }
}

enum ctl_exit ctl_pool_check(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    char text[128];
    enum ctl_exit status = option_text(in, "pool") ? pool_check_offline(in, &result)
                                                   : ctl_ask(in, "pool.check", NULL, &result);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "json"))
        table_print_json(stdout, result);
    else
        pool_print_check(result);
    if (ctl_get(result, "errors") == 0)
        return CTL_DONE;
    snprintf(text, sizeof(text), "the pool is damaged: %" PRIu64 " error%s found",
             ctl_get(result, "errors"), plural_s(ctl_get(result, "errors")));
    return ctl_conclude_damage(in, text);
}

/* ---- pool grow ----------------------------------------------------------------------------- */

/* What +SIZE adds to: the file, of which the pool uses whole allocation groups only. */
static uint64_t pool_grown_from(const json_t *view)
{
    return max_u64(ctl_get(view, "file_bytes"), ctl_get(view, "size_bytes"));
}

static enum ctl_exit pool_grow_offline(const struct invocation *in, const char *size,
                                       json_t **result)
{
    struct pool *pool;
    struct pool_info before, after;
    struct reason why = {.text = ""};
    uint64_t size_bytes = 0;
    bool dry_run = option_flag(in, "dry-run");
    const struct pool_open_options options = {.read_only = dry_run};
    enum ctl_exit status = ctl_open_pool(in, &options, &pool);
    if (status != CTL_DONE)
        return status;
    pool_get_info(pool, &before);
    AUTO_JSON json_t *view = view_pool(&before);
    if (size)
        status = ctl_size(in, size, pool_grown_from(view), &size_bytes);
    uint64_t asked_bytes = size_bytes;
    int r = 0;
    if (status == CTL_DONE)
        r = dry_run ? pool_grow_dry_run(pool, size_bytes, &size_bytes, &why)
                    : pool_grow(pool, size_bytes, &why);
    pool_get_info(pool, &after);
    r = keep_first(r, pool_close(pool));
    if (status != CTL_DONE)
        return status;
    if (r < 0)
        return ctl_fail(in, r, why.text, NULL);
    *result = json_pack("{s:s, s:I, s:I}", "name", before.name, "old_size_bytes",
                        (json_int_t)before.size_bytes, "size_bytes",
                        (json_int_t)(dry_run ? size_bytes : after.size_bytes));
    if (*result && size)
        ctl_put(*result, "asked_bytes", proto_json_uint(asked_bytes));
    return *result ? CTL_DONE : ctl_no_memory(in);
}

static enum ctl_exit pool_grow_online(const struct invocation *in, const char *size,
                                      json_t **result)
{
    AUTO_JSON json_t *now = NULL;
    uint64_t size_bytes = 0;
    enum ctl_exit status = ctl_ask(in, "pool.show", NULL, &now);
    if (status == CTL_DONE && size)
        status = ctl_size(in, size, pool_grown_from(now), &size_bytes);
    if (status != CTL_DONE)
        return status;
    status = ctl_ask(in, "pool.grow",
                     json_pack("{s:I, s:b}", "size_bytes", (json_int_t)size_bytes, "dry_run",
                               (int)option_flag(in, "dry-run")),
                     result);
    if (status == CTL_DONE && size)
        ctl_put(*result, "asked_bytes", proto_json_uint(size_bytes));
    return status;
}

/* A pool grows by whole allocation groups: says what of the size that was asked for makes none. */
static void pool_print_rest(const json_t *result, bool would)
{
    char rest[UNITS_TEXT_MAX];
    uint64_t asked_bytes = ctl_get(result, "asked_bytes"),
             size_bytes = ctl_get(result, "size_bytes");
    if (asked_bytes <= size_bytes)
        return;
    units_format_bytes(asked_bytes - size_bytes, 'h', rest);
    printf("A pool grows by whole allocation groups; the last %s %s none, and count when it grows "
           "again.\n",
           rest, would ? "would make" : "make");
}

enum ctl_exit ctl_pool_grow(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    char before[UNITS_TEXT_MAX], after[UNITS_TEXT_MAX];
    const char *size = in->arg_count > 0 ? in->args[0] : NULL;
    enum ctl_exit status = option_text(in, "pool") ? pool_grow_offline(in, size, &result)
                                                   : pool_grow_online(in, size, &result);
    if (status != CTL_DONE)
        return status;
    uint64_t size_bytes = ctl_get(result, "size_bytes");
    units_format_bytes(ctl_get(result, "old_size_bytes"), 'h', before);
    if (option_flag(in, "json"))
        table_print_json(stdout, result);
    else
        printf("Pool %s %s from %s to %s.\n", json_string_value(json_object_get(result, "name")),
               option_flag(in, "dry-run") ? "would grow" : "grew", before,
               units_format_bytes(size_bytes, 'h', after));
    if (!option_flag(in, "json"))
        pool_print_rest(result, option_flag(in, "dry-run"));
    return CTL_DONE;
}

/* ---- pool dump ----------------------------------------------------------------------------- */

static void pool_dump_line_cb(void *opaque, const char *text)
{
    ignore_error(json_array_append_new(opaque, json_string(text)), "for debugging");
}

static enum ctl_exit pool_dump_offline(const struct invocation *in, const char *what,
                                       json_t **result)
{
    struct pool *pool;
    struct reason why = {.text = ""};
    /* Also of a pool that is too damaged to be opened. */
    bool super_only = strcmp(what, "superblock") == 0 || strncmp(what, "block ", 6) == 0;
    const struct pool_open_options options = {.read_only = true, .super_only = super_only};
    enum ctl_exit status = ctl_open_pool(in, &options, &pool);
    if (status != CTL_DONE)
        return status;
    AUTO_JSON json_t *lines = json_array();
    int r = pool_dump(pool, what, pool_dump_line_cb, lines, &why);
    ignore_error(pool_close(pool), "opened read-only: nothing to write");
    if (r < 0)
        return ctl_fail(in, r, why.text, "lunette pool dump --help");
    *result = json_pack("{s:O}", "lines", lines);
    return *result ? CTL_DONE : ctl_no_memory(in);
}

enum ctl_exit ctl_pool_dump(struct invocation *in)
{
    AUTO_JSON json_t *result = NULL;
    AUTO_FREE char *what = NULL;
    if (asprintf(&what, "%s%s%s", in->args[0], in->arg_count > 1 ? " " : "",
                 in->arg_count > 1 ? in->args[1] : "") < 0)
        return ctl_no_memory(in);
    enum ctl_exit status =
        option_text(in, "pool")
            ? pool_dump_offline(in, what, &result)
            : ctl_ask(in, "pool.dump", json_pack("{s:s}", "what", what), &result);
    if (status != CTL_DONE)
        return status;
    if (option_flag(in, "json"))
    {
        table_print_json(stdout, result);
        return CTL_DONE;
    }
    size_t i;
    json_t *line;
    json_array_foreach(json_object_get(result, "lines"), i, line)
        printf("%s\n", json_string_value(line));
    if (json_is_true(json_object_get(result, "truncated")))
        printf("(cut off here)\n");
    return CTL_DONE;
}
