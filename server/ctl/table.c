/* SPDX-License-Identifier: BSD-3-Clause */
/* Listings. */
#include "server/ctl/table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "server/ctl/ctl.h"
#include "server/ctl/hint.h"
#include "server/mgmt/proto.h"
#include "server/units.h"

enum
{
    TABLE_FIELDS_MAX = 64
};

void table_print_json(FILE *file, const json_t *json)
{
    AUTO_FREE char *text = proto_dump(json, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    if (!text)
        ctl_end_without_memory();
    fputs(text, file);
    fputc('\n', file);
}

static char *table_copy(const char *text)
{
    /* A terminal must not be steered by what somebody wrote into a comment. */
    char *copy = strdup(*text ? text : "-");
    for (char *at = copy; at && *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?';
    return copy;
}

static char *table_format_time(double seconds)
{
    char text[32];
    time_t at = (time_t)seconds;
    struct tm local;
    if (!localtime_r(&at, &local) || strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &local) == 0)
        return strdup("-");
    return strdup(text);
}

/* Texts as people write lists; all else as JSON. */
static char *table_format_array(const json_t *array)
{
    size_t i;
    json_t *entry;
    char *joined = NULL;
    json_array_foreach(array, i, entry)
    {
        char *longer;
        if (!json_is_string(entry))
        {
            free(joined);
            return proto_dump(array, JSON_COMPACT);
        }
        int r = asprintf(&longer, "%s%s%s", joined ? joined : "", joined ? ", " : "",
                         json_string_value(entry));
        free(joined);
        if (r < 0)
            return NULL;
        joined = longer;
    }
    return joined ? joined : strdup("-");
}

char *table_format(const json_t *object, const struct field *field, char unit)
{
    const json_t *value = json_object_get(object, field->key);
    char text[UNITS_TEXT_MAX], *formatted = NULL;
    double number = json_number_value(value);
    if (json_is_null(value) && field->kind == FIELD_RATIO)
        return strdup("all");
    if (!value || json_is_null(value))
        return strdup("-");
    if (json_is_string(value))
    {
        AUTO_FREE char *said = hint_localize(json_string_value(value));
        return said ? table_copy(said) : NULL;
    }
    if (json_is_boolean(value))
        return strdup(json_is_true(value) ? "yes" : "no");
    switch (field->kind)
    {
    case FIELD_BYTES:
        return strdup(units_format_bytes((uint64_t)json_integer_value(value), unit, text));
    case FIELD_TIME:
        return table_format_time(number);
    case FIELD_RATIO:
        return asprintf(&formatted, "%.2f:1", number) < 0 ? NULL : formatted;
    case FIELD_PERCENT:
        return asprintf(&formatted, "%.1f%%", number) < 0 ? NULL : formatted;
    case FIELD_TEXT:
    case FIELD_COUNT:
        break;
    }
    if (json_is_array(value))
        return table_format_array(value);
    return asprintf(&formatted, "%" JSON_INTEGER_FORMAT, json_integer_value(value)) < 0 ? NULL
                                                                                        : formatted;
}

/* ---- choosing columns ---------------------------------------------------------------------- */

/* Other names of fields, as ONTAP has them; each with the one that means it, wherever that is. */
static const char *const table_aliases[][2] = {
    {"size-used", "used"},
    {"snapshot-held", "snapshot_bytes"},
    {"space-reserve", "reserved"},
    {"serial-hex", "serial"}, /* which is hexadecimal */
};

static const char *table_alias(const char *name, size_t *len)
{
    for (size_t i = 0; i < ARRAY_SIZE(table_aliases); i++)
    {
        if (strlen(table_aliases[i][0]) != *len || strncmp(table_aliases[i][0], name, *len) != 0)
            continue;
        *len = strlen(table_aliases[i][1]);
        return table_aliases[i][1];
    }
    return name;
}

/* "_" may be "-", as ONTAP writes fields. */
static bool table_field_is(const struct field *field, const char *name, size_t len)
{
    static const char suffix[] = "_bytes";
    name = table_alias(name, &len);
    size_t key_len = strlen(field->key), short_len = key_len;
    if (key_len > strlen(suffix) && strcmp(field->key + key_len - strlen(suffix), suffix) == 0)
        short_len -= strlen(suffix);
    if (len != key_len && len != short_len)
        return false;
    for (size_t i = 0; i < len; i++)
        if (field->key[i] != (name[i] == '-' ? '_' : name[i]))
            return false;
    return true;
}

static const struct field *table_find_own(const char *name, size_t len, const struct field *fields)
{
    while (fields->key && !table_field_is(fields, name, len))
        fields++;
    return fields->key ? fields : NULL;
}

/* By its name here, else by ONTAP's. */
static const struct field *table_find_field(const char *name, size_t len,
                                            const struct field *fields)
{
    static const struct
    {
        const char *name, *is;
    } others[] = {{"path", "name"},
                  {"volume", "name"},
                  {"flexclone", "name"},
                  {"used", "charged"},
                  {"physical-used", "charged"},
                  {"size-used", "mapped"},
                  {"percent-used", "used_percent"},
                  {"space-guarantee", "guarantee"},
                  {"space-reserve", "reserved"},
                  {"parent-snapshot", "parent"}};
    const struct field *found = table_find_own(name, len, fields);
    for (size_t i = 0; !found && i < sizeof(others) / sizeof(others[0]); i++)
        if (strlen(others[i].name) == len && strncmp(others[i].name, name, len) == 0)
            found = table_find_own(others[i].is, strlen(others[i].is), fields);
    return found;
}

/* Names all of @names that are none of @fields. */
static int table_unknown_fields(const char *names, const struct field *fields, struct reason *why)
{
    char unknown[160] = "", known[sizeof(why->text) - sizeof(unknown) - 64] = "";
    size_t at = 0, count = 0;
    for (size_t len; *names; names += len + (names[len] == ','))
    {
        len = strcspn(names, ",");
        if (table_find_field(names, len, fields))
            continue;
        int n = snprintf(unknown + at, sizeof(unknown) - at, "%s\"%.*s\"", at ? ", " : "",
                         (int)(len < 60 ? len : 60), names);
        count++;
        if (n < 0 || (size_t)n >= sizeof(unknown) - at)
            break;
        at += (size_t)n;
    }
    at = 0;
    for (; fields->key; fields++)
    {
        int n = snprintf(known + at, sizeof(known) - at, "%s%s", at ? "," : "", fields->key);
        if (n < 0 || (size_t)n >= sizeof(known) - at)
            break;
        at += (size_t)n;
    }
    return reason_set(why, -EINVAL, "no field%s %s; there are: %s", count == 1 ? "" : "s", unknown,
                      known);
}

/* *count of @chosen: those that @names lists, in its order; NULL: those that are not extra. */
static int table_choose(const char *names, const struct field *fields,
                        const struct field *chosen[TABLE_FIELDS_MAX], size_t *count,
                        struct reason *why)
{
    const char *all = names;
    *count = 0;
    for (const struct field *field = fields; !names && field->key; field++)
        if (!field->extra)
            chosen[(*count)++] = field;
    while (names && *names)
    {
        size_t len = strcspn(names, ",");
        const struct field *field = table_find_field(names, len, fields);
        if (!field)
            return table_unknown_fields(all, fields, why);
        if (*count == TABLE_FIELDS_MAX)
            return reason_set(why, -EINVAL, "more than %d fields", TABLE_FIELDS_MAX);
        chosen[(*count)++] = field;
        names += len;
        names += *names == ',';
    }
    if (*count == 0)
        return reason_set(why, -EINVAL, "no field chosen");
    return 0;
}

int table_check_fields(const char *names, const struct field *fields, struct reason *why)
{
    const struct field *chosen[TABLE_FIELDS_MAX];
    size_t count;
    return table_choose(names, fields, chosen, &count, why);
}

static json_t *table_reduce(const json_t *object, const struct field *const *chosen, size_t count)
{
    json_t *reduced = json_object();
    for (size_t i = 0; i < count; i++)
    {
        json_t *value = json_object_get(object, chosen[i]->key);
        if (value && json_object_set(reduced, chosen[i]->key, value) != 0)
            return json_decref(reduced), NULL;
    }
    return reduced;
}

static int table_print_reduced(FILE *file, json_t *result, const char *key,
                               const struct field *const *chosen, size_t count)
{
    AUTO_JSON json_t *copy = json_copy(result);
    AUTO_JSON json_t *entries = json_array();
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(result, key), i, entry)
    {
        if (json_array_append_new(entries, table_reduce(entry, chosen, count)) != 0)
            return -ENOMEM;
    }
    if (json_object_set(copy, key, entries) != 0)
        return -ENOMEM;
    table_print_json(file, copy);
    return 0;
}

/* ---- tables -------------------------------------------------------------------------------- */

static bool table_is_right(const struct field *field)
{
    return field->kind != FIELD_TEXT && field->kind != FIELD_TIME;
}

/* Columns that a terminal shows, of UTF-8. */
static int table_width(const char *text)
{
    int width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void table_print_cell(FILE *file, const char *text, const struct field *field, int width,
                             bool is_last)
{
    int pad = width - table_width(text);
    if (table_is_right(field))
        fprintf(file, "%*s%s", pad, "", text);
    else
        fprintf(file, "%s%*s", text, is_last ? 0 : pad, "");
    fputs(is_last ? "\n" : "  ", file);
}

static void table_free_cells(char **cells, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(cells[i]);
    free(cells);
}

static int table_print_rows(FILE *file, const json_t *array, const struct field *const *chosen,
                            size_t columns, char unit)
{
    size_t rows = json_array_size(array), done = 0;
    int widths[TABLE_FIELDS_MAX];
    char **cells = calloc(rows * columns + 1, sizeof(*cells));
    for (size_t c = 0; c < columns; c++)
        widths[c] = table_width(chosen[c]->title);
    for (; cells && done < rows * columns; done++)
    {
        size_t c = done % columns;
        cells[done] = table_format(json_array_get(array, done / columns), chosen[c], unit);
        if (!cells[done])
            break;
        int width = table_width(cells[done]);
        widths[c] = width > widths[c] ? width : widths[c];
    }
    bool complete = cells && done == rows * columns;
    for (size_t c = 0; complete && c < columns; c++)
        table_print_cell(file, chosen[c]->title, chosen[c], widths[c], c + 1 == columns);
    for (size_t i = 0; complete && i < rows * columns; i++)
        table_print_cell(file, cells[i], chosen[i % columns], widths[i % columns],
                         i % columns + 1 == columns);
    if (cells)
        table_free_cells(cells, done);
    return complete ? 0 : -ENOMEM;
}

/* Lines "Title: value" of @object. */
static int table_print_lines(FILE *file, const json_t *object, const struct field *const *chosen,
                             size_t count, char unit)
{
    int width = 0;
    for (size_t i = 0; i < count; i++)
        if (table_width(chosen[i]->title) > width)
            width = table_width(chosen[i]->title);
    for (size_t i = 0; i < count; i++)
    {
        AUTO_FREE char *text = table_format(object, chosen[i], unit);
        if (!text)
            return -ENOMEM;
        fprintf(file, "%*s: %s\n", width, chosen[i]->title, text);
    }
    return 0;
}

/* @object with what it has of all @fields or, with --fields, of those that were @chosen. */
static int table_print_instance(FILE *file, const json_t *object, const struct field *fields,
                                const struct field *const *chosen, size_t count,
                                const struct table_options *options)
{
    const struct field *shown[TABLE_FIELDS_MAX];
    size_t shown_count = 0;
    if (options->fields)
        return table_print_lines(file, object, chosen, count, options->unit);
    for (const struct field *field = fields; field->key; field++)
        if (shown_count < TABLE_FIELDS_MAX && json_object_get(object, field->key))
            shown[shown_count++] = field;
    return table_print_lines(file, object, shown, shown_count, options->unit);
}

static int table_print_instances(FILE *file, const json_t *array, const struct field *fields,
                                 const struct field *const *chosen, size_t count,
                                 const struct table_options *options)
{
    size_t i;
    int r = 0;
    const json_t *entry;
    json_array_foreach(array, i, entry)
    {
        if (r == 0)
            r = table_print_instance(file, entry, fields, chosen, count, options);
        fputc('\n', file);
    }
    return r;
}

int table_print(FILE *file, json_t *result, const char *key, const struct field *fields,
                const struct table_options *options, struct reason *why)
{
    const struct field *chosen[TABLE_FIELDS_MAX];
    size_t count;
    int r = table_choose(options->fields, fields, chosen, &count, why);
    if (r < 0)
        return r;
    if (options->json && options->fields)
        return table_print_reduced(file, result, key, chosen, count);
    if (options->json)
    {
        table_print_json(file, result);
        return 0;
    }
    const json_t *array = json_object_get(result, key);
    size_t rows = json_array_size(array);
    if (options->instance)
        r = table_print_instances(file, array, fields, chosen, count, options);
    else if (rows > 0)
        r = table_print_rows(file, array, chosen, count, options->unit);
    if (r == 0)
        fprintf(file, rows == 1 ? "1 entry was displayed.\n" : "%zu entries were displayed.\n",
                rows);
    return r;
}

int table_print_object(FILE *file, json_t *object, const struct field *fields,
                       const struct table_options *options, struct reason *why)
{
    const struct field *chosen[TABLE_FIELDS_MAX];
    size_t count;
    int r = table_choose(options->fields, fields, chosen, &count, why);
    if (r < 0)
        return r;
    if (options->json)
    {
        AUTO_JSON json_t *reduced =
            options->fields ? table_reduce(object, chosen, count) : json_incref(object);
        table_print_json(file, reduced);
        return reduced ? 0 : -ENOMEM;
    }
    return options->instance ? table_print_instance(file, object, fields, chosen, count, options)
                             : table_print_lines(file, object, chosen, count, options->unit);
}
