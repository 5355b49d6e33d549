/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Listings: JSON objects as a table of columns, as lines "Title: value", or as JSON again.
 *
 * Sizes are human in tables and bytes in JSON. --fields chooses columns by key; "_bytes" may be
 * left off.
 */
#ifndef SERVER_CTL_TABLE_H
#define SERVER_CTL_TABLE_H

#include <jansson.h>
#include <stdio.h>

#include "lun/base/err.h"

enum field_kind
{
    FIELD_TEXT,
    FIELD_BYTES,
    FIELD_COUNT,
    FIELD_RATIO, /* "8.00:1" */
    FIELD_PERCENT,
    FIELD_TIME, /* local time, to the second */
};

struct field
{
    const char *key; /* in the JSON object; NULL: end of the list */
    const char *title;
    enum field_kind kind;
    bool extra; /* a column only if --fields asks for it */
};

struct table_options
{
    const char *fields; /* of --fields; NULL: the columns that are not extra */
    char unit;          /* for units_format_bytes() */
    bool json;
    bool instance; /* each entry as lines "Title: value", of all fields without --fields */
};

/* Whether --fields names known ones; -EINVAL says which not, and which there are. */
MUST_CHECK int table_check_fields(const char *names, const struct field *fields,
                                  struct reason *why);

/*
 * Prints the array result[key]: with json the whole @result, its entries reduced to --fields; else
 * a table and "N entries were displayed." -EINVAL: --fields.
 */
MUST_CHECK int table_print(FILE *file, json_t *result, const char *key, const struct field *fields,
                           const struct table_options *options, struct reason *why);

/* One object, a line for each field; with json as JSON. */
MUST_CHECK int table_print_object(FILE *file, json_t *object, const struct field *fields,
                                  const struct table_options *options, struct reason *why);

/* @json with indentation and a newline. */
void table_print_json(FILE *file, const json_t *json);

/* One value as a table shows it; free it. NULL: no memory. */
char *table_format(const json_t *object, const struct field *field, char unit);

#endif
