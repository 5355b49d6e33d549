/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Command lines as ONTAP writes them, put as the table of commands has them.
 *
 * A word with one dash is an option with its whole name, or the letters of flags, or a letter with
 * the path that is its value ("-s/run/x"). Whatever else begins with a dash popt refuses: "-sx" is
 * never the letter s with the value x, which "-space-guarantee" would be too.
 */
#include "server/ctl/vocabulary.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"

enum
{
    VOCABULARY_PARTS_MAX = 16,
    VOCABULARY_NAME_MAX = 64,
};

struct translation
{
    const struct command *command;
    const char *typed; /* how its words were written */
    const struct command_option *options[COMMAND_OPTIONS_MAX];
    size_t option_count;
    struct
    {
        const char *name, *value;
        bool is_used;
    } parts[VOCABULARY_PARTS_MAX];
    size_t part_count;
    struct vocabulary_line *line;
    struct reason *why;
};

/* Whether @list, with '|' between, has the @len bytes of @word. */
static bool vocabulary_lists(const char *list, const char *word, size_t len)
{
    for (const char *at = list; *at;)
    {
        size_t one = strcspn(at, "|");
        if (one == len && strncasecmp(at, word, len) == 0)
            return true;
        at += one + (at[one] == '|');
    }
    return false;
}

static bool vocabulary_is_of(const char *commands, const struct command *command)
{
    return strcmp(commands, "*") == 0 ||
           vocabulary_lists(commands, command->words, strlen(command->words));
}

/* Whether @command has an option of that name itself, which stands for another one here. */
static bool vocabulary_is_overruled(const struct vocabulary_row *row, const struct command *command)
{
    const struct command_option *options[COMMAND_OPTIONS_MAX];
    size_t count = command_all_options(command, options);
    bool is_other = strncmp(row->becomes, "--", 2) == 0 && strcmp(row->becomes + 2, row->name) != 0;
    for (size_t i = 0; is_other && i < count; i++)
        if (strcmp(options[i]->name, row->name) == 0)
            return true;
    return false;
}

/* Takes @word over; NULL: no memory. */
static int translation_take(struct translation *to, char *word)
{
    struct vocabulary_line *line = to->line;
    char **words = word ? realloc(line->words, (line->count + 2) * sizeof(*words)) : NULL;
    if (!words)
    {
        free(word);
        return reason_set(to->why, -ENOMEM, "no memory");
    }
    line->words = words;
    line->words[line->count++] = word;
    line->words[line->count] = NULL;
    return 0;
}

static int translation_add(struct translation *to, const char *word)
{
    return translation_take(to, strdup(word));
}

static int translation_add_option(struct translation *to, const char *option, const char *value)
{
    char *word;
    return translation_take(to, asprintf(&word, "%s=%s", option, value) < 0 ? NULL : word);
}

/* ---- options that ONTAP has ----------------------------------------------------------------- */

static const struct vocabulary_row *vocabulary_find(const struct command *command, const char *name,
                                                    size_t len)
{
    for (const struct vocabulary_row *row = vocabulary_rows; row->commands; row++)
        if (strlen(row->name) == len && strncmp(row->name, name, len) == 0 &&
            vocabulary_is_of(row->commands, command) && !vocabulary_is_overruled(row, command))
            return row;
    return NULL;
}

static int translation_set_part(struct translation *to, const struct vocabulary_row *row,
                                const char *value)
{
    for (size_t i = 0; i < to->part_count; i++)
        if (strcmp(to->parts[i].name, row->becomes) == 0)
            return reason_set(to->why, -EINVAL, "-%s is given twice", row->name);
    /* A variable of a script that is empty: what it should name is not the one without it. */
    if (*value == '\0')
        return reason_set(to->why, -EINVAL, "-%s is empty", row->name);
    INVARIANT(to->part_count < VOCABULARY_PARTS_MAX);
    to->parts[to->part_count].name = row->becomes;
    to->parts[to->part_count++].value = value;
    return 0;
}

static int translation_apply(struct translation *to, const struct vocabulary_row *row,
                             const char *value)
{
    bool is_flag = !row->value;
    if (*row->becomes == '!')
        return reason_set(to->why, -EINVAL, "-%s: %s", row->name, row->becomes + 1);
    if (row->only && !vocabulary_lists(row->only, value, strlen(value)))
        return reason_set(to->why, -EINVAL, "-%s: there is no \"%.60s\" here, only %s", row->name,
                          value, row->only);
    bool is_none = *value == '\0' && (is_flag || strcmp(row->name, "qtree") == 0);
    if (*row->becomes == '\0' || is_none || (is_flag && strcasecmp(value, "false") == 0))
        return 0;
    if (strncmp(row->becomes, "--", 2) != 0)
        return translation_set_part(to, row, value);
    return is_flag ? translation_add(to, row->becomes)
                   : translation_add_option(to, row->becomes, value);
}

/* The row's value behind '=' or in @next, which *used says; true and false only with one dash. */
static int translation_take_row(struct translation *to, const struct vocabulary_row *row,
                                size_t dashes, const char *inlined, const char *next, int *used)
{
    bool is_bool =
        dashes == 1 && next && (strcasecmp(next, "true") == 0 || strcasecmp(next, "false") == 0);
    if (!inlined && !row->value && !is_bool)
        return translation_apply(to, row, "true");
    if (!inlined && (!next || *next == '-'))
        return reason_set(to->why, -EINVAL, "-%s needs %s behind it", row->name,
                          row->value ? row->value : "true or false");
    if (!inlined)
        (*used)++;
    return translation_apply(to, row, inlined ? inlined : next);
}

/* ---- positional arguments ------------------------------------------------------------------- */

static const char *translation_part(struct translation *to, const char *name, size_t len)
{
    for (size_t i = 0; i < to->part_count; i++)
        if (strlen(to->parts[i].name) == len && strncmp(to->parts[i].name, name, len) == 0)
        {
            to->parts[i].is_used = true;
            return to->parts[i].value;
        }
    return NULL;
}

/* What {@name} stands for: a path is inside of -volume and -qtree, unless it is a whole one. */
static char *translation_value(struct translation *to, const char *name, size_t len)
{
    char *joined;
    const char *value = translation_part(to, name, len);
    bool is_path = len >= 4 && strncmp(name + len - 4, "path", 4) == 0;
    if (!value && is_path)
        value = translation_part(to, "lun", strlen("lun"));
    if (!value || !is_path)
        return value ? strdup(value) : NULL;
    const char *volume = translation_part(to, "volume", strlen("volume"));
    const char *qtree = translation_part(to, "qtree", strlen("qtree"));
    if (!volume || strncmp(value, "/vol/", 5) == 0)
        return strdup(value);
    value += *value == '/';
    return asprintf(&joined, "%s/%s%s%s", volume, qtree ? qtree : "", qtree ? "/" : "", value) < 0
               ? NULL
               : joined;
}

/* The @len bytes of @form with its parts put in. NULL: one is missing, which *missing names. */
static char *translation_fill(struct translation *to, const char *form, size_t len,
                              const char **missing, size_t *missing_len)
{
    char *text = NULL;
    size_t size;
    bool is_whole = true;
    FILE *file = open_memstream(&text, &size);
    for (const char *at = form, *end = form + len; file && at < end;)
    {
        if (*at != '{')
        {
            fputc(*at++, file);
            continue;
        }
        size_t name_len = strcspn(++at, "}");
        AUTO_FREE char *value = translation_value(to, at, name_len);
        if (value)
            fputs(value, file);
        else if (is_whole)
        {
            *missing = at;
            *missing_len = name_len;
            is_whole = false;
        }
        at += name_len + 1;
    }
    if (file && fclose(file) == 0 && is_whole)
        return text;
    free(text);
    return NULL;
}

/* What options had is no option, whatever it begins with. */
static int translation_add_value(struct translation *to, const char *form, const char *value)
{
    if (*form == '{' && *value == '-')
        return reason_set(to->why, -EINVAL, "\"%.60s\" is no name: it begins with '-'", value);
    return translation_add(to, value);
}

/* One word of vocabulary_arguments[], which is @len long. "[WORD]" may be missing. */
static int translation_add_argument(struct translation *to, const char *word, size_t len)
{
    const char *missing = "", *end = word + len;
    size_t missing_len = 0;
    bool is_optional = *word == '[';
    end -= is_optional;
    for (const char *form = word + is_optional; form < end;)
    {
        size_t form_len = 0;
        while (form + form_len < end && form[form_len] != '|')
            form_len++;
        AUTO_FREE char *filled = translation_fill(to, form, form_len, &missing, &missing_len);
        char *rest = filled;
        /* "-initiator a,b" */
        while (filled && strncmp(form, "{initiator}", form_len) == 0 && strchr(rest, ','))
        {
            char *one = strsep(&rest, ",");
            int r = translation_add_value(to, form, one);
            if (r < 0)
                return r;
        }
        if (filled)
            return translation_add_value(to, form, rest);
        form += form_len + 1;
    }
    return is_optional ? 0
                       : reason_set(to->why, -EINVAL, "\"%s\" needs -%.*s", to->command->words,
                                    (int)missing_len, missing);
}

static int translation_add_arguments(struct translation *to)
{
    const struct vocabulary_arguments *row = vocabulary_arguments;
    if (to->part_count == 0)
        return 0;
    while (row->commands && !vocabulary_is_of(row->commands, to->command))
        row++;
    INVARIANT(row->commands);
    int r = 0;
    for (const char *at = row->words; r == 0 && *at;)
    {
        size_t len = strcspn(at, " ");
        r = translation_add_argument(to, at, len);
        at += len + (at[len] == ' ');
    }
    for (size_t i = 0; r == 0 && i < to->part_count; i++)
        if (!to->parts[i].is_used)
            r = reason_set(to->why, -EINVAL, "-%s %.60s says nothing without a path",
                           to->parts[i].name, to->parts[i].value);
    return r;
}

/* ---- words with dashes ---------------------------------------------------------------------- */

static const struct command_option *translation_option(const struct translation *to,
                                                       const char *name, size_t len)
{
    for (size_t i = 0; i < to->option_count; i++)
        if (strlen(to->options[i]->name) == len && strncmp(to->options[i]->name, name, len) == 0)
            return to->options[i];
    return NULL;
}

static const struct command_option *translation_letter(const struct translation *to, char letter)
{
    for (size_t i = 0; i < to->option_count; i++)
        if (to->options[i]->letter == letter)
            return to->options[i];
    return NULL;
}

/* "-fy", or "-s/run/x". *needs_next: the last letter's value is the next word. */
static bool translation_is_letters(const struct translation *to, const char *word, bool *needs_next)
{
    *needs_next = false;
    for (const char *at = word + 1; *at; at++)
    {
        const struct command_option *option = translation_letter(to, *at);
        if (!option)
            return at == word + 1 && !at[1];
        if (!option->value)
            continue;
        *needs_next = !at[1];
        return !at[1] || at[1] == '/' || at[1] == '.' || at[1] == '=';
    }
    return true;
}

/* A word that begins with a dash; *used of it and what is behind it. */
static int translation_add_dashed(struct translation *to, const char *const *argv, int *used)
{
    const char *word = argv[0];
    bool needs_next = false;
    size_t dashes = word[1] == '-' ? 2 : 1, len = strcspn(word + dashes, "=");
    const char *name = word + dashes;
    const struct vocabulary_row *row = vocabulary_find(to->command, name, len);
    const struct command_option *option = len > 1 ? translation_option(to, name, len) : NULL;
    int r;
    if (row)
        return translation_take_row(to, row, dashes, name[len] ? name + len + 1 : NULL, argv[1],
                                    used);
    if (option || dashes == 2 || !translation_is_letters(to, word, &needs_next))
    {
        char *whole;
        needs_next = option && option->value && !name[len];
        r = translation_take(to, asprintf(&whole, "--%s", name) < 0 ? NULL : whole);
    }
    else
        r = translation_add(to, word);
    if (r < 0 || !needs_next || !argv[1])
        return r;
    (*used)++;
    return translation_add(to, argv[1]);
}

/*
 * -s in ONTAP: "df -s VOLUME" shows savings, "volume file clone create -s SNAPSHOT" clones that. A
 * path behind -s is the socket, as everywhere.
 */
static bool translation_is_other_s(const struct translation *to, const char *const *argv)
{
    if (strcmp(argv[0], "-s") != 0 || (argv[1] && strchr(argv[1], '/')))
        return false;
    return strcmp(to->command->words, "df") == 0 ||
           (argv[1] && strstr(to->typed, "file clone create"));
}

static int translation_add_other_s(struct translation *to, const char *const *argv, int *used)
{
    bool is_df = strcmp(to->command->words, "df") == 0;
    int r = translation_add(to, is_df ? "--savings" : "--from-snapshot");
    if (r < 0 || !argv[1] || *argv[1] == '-')
        return r;
    (*used)++;
    return translation_add(to, argv[1]);
}

/*
 * "clone create --group A=B C=D" means what it does anyway; before there were pairs behind it,
 * --group had the name of the group that is charged, and such a name it still takes.
 */
static int translation_add_group(struct translation *to, const char *const *argv, int *used)
{
    const char *equals = strchr(argv[0], '=');
    const char *name = equals ? equals + 1 : argv[1];
    if (!equals && (!name || *name == '-' || strchr(name, '=')))
        return translation_add(to, "--group");
    *used += !equals;
    return translation_add_option(to, "--quota-group", name);
}

static int translation_add_word(struct translation *to, const char *const *argv, int *used)
{
    const char *word = argv[0];
    if (word[0] != '-' || word[1] == '\0' || isdigit((unsigned char)word[1]))
        return translation_add(to, word);
    if (translation_is_other_s(to, argv))
        return translation_add_other_s(to, argv, used);
    size_t len = strcspn(word, "=");
    const char *name = word + strspn(word, "-");
    if (strcmp(to->command->words, "clone create") == 0 && len - (size_t)(name - word) == 5 &&
        strncmp(name, "group", 5) == 0)
        return translation_add_group(to, argv, used);
    return translation_add_dashed(to, argv, used);
}

/* What a way to write the command adds to it, unless it is given. */
static int translation_add_implied(struct translation *to)
{
    static const struct
    {
        const char *typed, *option;
    } implied[] = {{"volume file clone show-autodelete", "--fields=name,autodelete"}};
    for (size_t i = 0; i < ARRAY_SIZE(implied); i++)
    {
        size_t len = strcspn(implied[i].option, "=");
        bool is_given = strcmp(implied[i].typed, to->typed) != 0;
        for (size_t j = 0; j < to->line->count; j++)
            is_given |= strncmp(to->line->words[j], implied[i].option, len) == 0;
        if (!is_given)
            return translation_add(to, implied[i].option);
    }
    return 0;
}

int vocabulary_translate(const struct command *command, const char *typed, int argc,
                         const char *const *argv, struct vocabulary_line *line, struct reason *why)
{
    struct vocabulary_line rest = {NULL, 0};
    struct translation to = {.command = command, .typed = typed, .line = &rest, .why = why};
    to.option_count = command_all_options(command, to.options);
    *line = (struct vocabulary_line){NULL, 0};
    int r = 0, i = 1;
    while (r == 0 && i < argc && strcmp(argv[i], "--") != 0)
    {
        int used = 1;
        r = translation_add_word(&to, argv + i, &used);
        i += used;
    }
    if (r == 0)
        r = translation_add_implied(&to);
    for (; r == 0 && i < argc; i++)
        r = translation_add(&to, argv[i]);
    /* The arguments that options made are the first ones. */
    to.line = line;
    if (r == 0)
        r = translation_add(&to, argv[0]);
    if (r == 0)
        r = translation_add_arguments(&to);
    for (size_t j = 0; r == 0 && j < rest.count; j++)
        r = translation_add(&to, rest.words[j]);
    vocabulary_destroy(&rest);
    return r;
}

void vocabulary_destroy(struct vocabulary_line *line)
{
    for (size_t i = 0; i < line->count; i++)
        free(line->words[i]);
    free(line->words);
    *line = (struct vocabulary_line){NULL, 0};
}

/* ---- help ----------------------------------------------------------------------------------- */

static bool vocabulary_is_told(const struct vocabulary_row *row, const struct command *command)
{
    return strcmp(row->commands, "*") != 0 && vocabulary_is_of(row->commands, command) &&
           !vocabulary_is_overruled(row, command);
}

void vocabulary_print_help(FILE *file, const struct command *command)
{
    bool is_first = true;
    char text[VOCABULARY_NAME_MAX];
    for (const struct vocabulary_row *row = vocabulary_rows; row->commands; row++)
    {
        if (!vocabulary_is_told(row, command))
            continue;
        if (is_first)
            fprintf(file, "\nas ONTAP writes it:\n");
        is_first = false;
        snprintf(text, sizeof(text), "-%s %s", row->name, row->value ? row->value : "");
        fprintf(file, "      %-24s %s\n", text, row->help);
    }
}

void vocabulary_print_completions(FILE *file, const struct command *command, const char *prefix)
{
    const struct command_option *options[COMMAND_OPTIONS_MAX];
    size_t count = command_all_options(command, options), len = strlen(prefix + 1);
    for (const struct vocabulary_row *row = vocabulary_rows; row->commands; row++)
        if (vocabulary_is_of(row->commands, command) && strncmp(row->name, prefix + 1, len) == 0)
            fprintf(file, "-%s\n", row->name);
    for (size_t i = 0; i < count; i++)
        if (!vocabulary_find(command, options[i]->name, strlen(options[i]->name)) &&
            strncmp(options[i]->name, prefix + 1, len) == 0)
            fprintf(file, "-%s\n", options[i]->name);
}

void vocabulary_print_manual(FILE *file, void (*print_text)(FILE *file, const char *text))
{
    fputs(".SH OPTIONS OF ONTAP\n", file);
    print_text(file, "These are understood too, with one dash or two, where commands have the "
                     "names that ONTAP gives them or those of this page. Of fields too: path, "
                     "volume, flexclone, used, size-used, physical-used, percent-used, "
                     "space-guarantee, space-reserve and parent-snapshot are what is called "
                     "otherwise here.\n");
    for (const struct vocabulary_row *row = vocabulary_rows; row->commands; row++)
    {
        fputs(".TP\n\\fB\\-", file);
        print_text(file, row->name);
        fputs("\\fR ", file);
        print_text(file, row->value ? row->value : "[true|false]");
        fputc('\n', file);
        print_text(file, row->help);
        fputs(" (", file);
        for (const char *at = row->commands; *at;)
        {
            char one[VOCABULARY_NAME_MAX];
            size_t len = strcspn(at, "|");
            snprintf(one, sizeof(one), "%.*s", (int)len, at);
            print_text(file, strcmp(one, "*") == 0 ? "all commands" : one);
            at += len + (at[len] == '|');
            fputs(*at ? ", " : "", file);
        }
        fputs(")\n", file);
    }
}
