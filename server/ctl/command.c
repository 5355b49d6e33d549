/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finding a command and parsing its options, with popt.
 *
 * Long options are accepted with one dash too ("-source-path"), as ONTAP's are written:
 * vocabulary.c puts them so that popt understands.
 */
#include "server/ctl/command.h"

#include <ctype.h>
#include <errno.h>
#include <popt.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"
#include "server/ctl/suggest.h"
#include "server/ctl/vocabulary.h"

/* How many of @argv's words are @words, all of them; 0: they are not. */
static int command_match(const char *words, int argc, const char *const *argv)
{
    int used = 0;
    for (const char *at = words; *at; used++)
    {
        size_t len = strcspn(at, " ");
        if (used == argc || strlen(argv[used]) != len || strncmp(argv[used], at, len) != 0)
            return 0;
        at += len;
        at += *at == ' ';
    }
    return used;
}

static const struct command *command_by_words(const char *words)
{
    for (const struct command *command = command_table; command->words; command++)
        if (strcmp(command->words, words) == 0)
            return command;
    return NULL;
}

const struct command *command_find(int argc, const char *const *argv, int *used)
{
    const struct command *best = NULL;
    *used = 0;
    for (const struct command *command = command_table; command->words; command++)
    {
        int n = command_match(command->words, argc, argv);
        if (n > *used)
        {
            *used = n;
            best = command;
        }
    }
    for (const struct command_alias *alias = command_aliases; alias->words; alias++)
    {
        int n = command_match(alias->words, argc, argv);
        if (n > *used)
        {
            *used = n;
            best = command_by_words(alias->target);
        }
    }
    return best;
}

static size_t command_add_options(const struct command_option *from,
                                  const struct command_option **to, size_t count)
{
    for (; from && from->name; from++)
    {
        INVARIANT(count < COMMAND_OPTIONS_MAX);
        to[count++] = from;
    }
    return count;
}

size_t command_all_options(const struct command *command,
                           const struct command_option *options[COMMAND_OPTIONS_MAX])
{
    size_t count = command_add_options(command->options, options, 0);
    if (command->flags & COMMAND_OFFLINE)
        count = command_add_options(command_offline_options, options, count);
    if (command->flags & COMMAND_DRY_RUN)
        count = command_add_options(command_dry_run_options, options, count);
    if (command->flags & COMMAND_CREATES)
        count = command_add_options(command_create_options, options, count);
    if (command->flags & COMMAND_CONFIRMS)
        count = command_add_options(command_confirm_options, options, count);
    if (command->flags & COMMAND_LISTS)
        count = command_add_options(command_list_options, options, count);
    return command_add_options(command_common_options, options, count);
}

/* ---- parsing ------------------------------------------------------------------------------- */

static int command_fill_popt(const struct command_option *const *options, size_t count,
                             struct poptOption table[COMMAND_OPTIONS_MAX + 1])
{
    for (size_t i = 0; i < count; i++)
        table[i] = (struct poptOption){
            .longName = options[i]->name,
            .shortName = options[i]->letter,
            .argInfo = options[i]->value ? POPT_ARG_STRING : POPT_ARG_NONE,
            .val = (int)i + 1,
        };
    table[count] = (struct poptOption)POPT_TABLEEND;
    return 0;
}

static int command_add_value(struct invocation *in, size_t i, char *value, struct reason *why)
{
    AUTO_FREE char *text = value ? value : strdup("");
    size_t max = in->options[i]->repeats ? COMMAND_VALUES_MAX : 1;
    if (!text)
        return reason_set(why, -ENOMEM, "no memory");
    if (in->value_counts[i] == max && max == 1)
        return reason_set(why, -EINVAL, "--%s is given twice", in->options[i]->name);
    if (in->value_counts[i] == max)
        return reason_set(why, -EINVAL, "--%s is given more than %zu times", in->options[i]->name,
                          max);
    in->values[i][in->value_counts[i]++] = take_ptr(&text);
    return 0;
}

/* Whether more words are there than options can have had as values. */
static bool command_has_args(const struct invocation *in, int argc, const char *const *argv)
{
    size_t words = 0, values = 0;
    for (int i = 1; i < argc; i++)
        words += argv[i][0] != '-';
    for (size_t i = 0; i < in->option_count; i++)
        values += in->options[i]->value ? in->value_counts[i] : 0;
    return words > values;
}

static int command_take_args(struct invocation *in, poptContext context, int argc,
                             const char *const *argv, struct reason *why)
{
    const char **rest = poptGetArgs(context);
    size_t count = 0;
    if (!rest && command_has_args(in, argc, argv))
        return reason_set(why, -ENOMEM, "no memory"); /* popt 1.19 drops them without a word */
    while (rest && rest[count])
        count++;
    in->args = calloc(count + 1, sizeof(*in->args));
    if (!in->args)
        return reason_set(why, -ENOMEM, "no memory");
    for (; in->arg_count < count; in->arg_count++)
    {
        in->args[in->arg_count] = strdup(rest[in->arg_count]);
        if (!in->args[in->arg_count])
            return reason_set(why, -ENOMEM, "no memory");
    }
    return 0;
}

static int command_check_args(const struct invocation *in, struct reason *why)
{
    const struct command *command = in->command;
    if (option_flag(in, "help"))
        return 0;
    if (in->arg_count < (size_t)command->args_min)
        return reason_set(why, -EINVAL, "\"%s\" needs %s", command->words, command->arguments);
    if (command->args_max >= 0 && in->arg_count > (size_t)command->args_max)
        return reason_set(why, -EINVAL, "\"%s\" has no use for \"%s\"", command->words,
                          in->args[command->args_max]);
    return 0;
}

/* Of an option whose value is one of some words, "own|all". Those of "yes|no" and "true|false" may
 * be written in more ways, which who takes them knows. */
static int command_check_word(const struct command_option *option, const char *value,
                              struct reason *why)
{
    const char *words = option->value;
    if (!words || !strchr(words, '|') || strcmp(words, "yes|no") == 0 ||
        strcmp(words, "true|false") == 0)
        return 0;
    for (const char *at = words; *at;)
    {
        size_t len = strcspn(at, "|");
        if (strlen(value) == len && strncmp(value, at, len) == 0)
            return 0;
        at += len + (at[len] == '|');
    }
    return reason_set(why, -EINVAL, "--%s: \"%.60s\" is none of %s", option->name, value, words);
}

static int command_check_values(const struct invocation *in, struct reason *why)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < in->option_count; i++)
        for (size_t j = 0; r == 0 && j < in->value_counts[i]; j++)
            r = command_check_word(in->options[i], in->values[i][j], why);
    return r;
}

static void command_free_context(poptContext *context)
{
    poptFreeContext(*context);
}

/* popt stopped at @bad, as it was typed, with @error. */
static int command_bad_option(const struct invocation *in, int error, const char *bad,
                              struct reason *why)
{
    struct suggestion suggestion;
    const char *name = bad + strspn(bad, "-");
    if (error != POPT_ERROR_BADOPT)
        return reason_set(why, -EINVAL, "%s: %s", bad, poptStrerror(error));
    if (isdigit((unsigned char)bad[1]))
        return reason_set(why, -EINVAL,
                          "\"%s\" reads as an option; no size or number is negative here", bad);
    suggest_begin(&suggestion, name, strcspn(name, "="));
    for (size_t i = 0; i < in->option_count; i++)
        suggest_offer(&suggestion, in->options[i]->name, strlen(in->options[i]->name));
    if (!*suggestion.nearest)
        return reason_set(why, -EINVAL, "%s: no such option", bad);
    return reason_set(why, -EINVAL, "%s: no such option; did you mean --%s?", bad,
                      suggestion.nearest);
}

static int command_parse_options(int argc, const char **argv, struct invocation *in,
                                 struct reason *why)
{
    struct poptOption table[COMMAND_OPTIONS_MAX + 1];
    in->option_count = command_all_options(in->command, in->options);
    int r = command_fill_popt(in->options, in->option_count, table);
    CLEANUP(command_free_context)
    poptContext context = poptGetContext("lunette", argc, argv, table, 0);
    if (!context)
        return reason_set(why, -ENOMEM, "no memory");
    int found = 0;
    while (r == 0 && (found = poptGetNextOpt(context)) > 0)
        r = command_add_value(in, (size_t)found - 1, poptGetOptArg(context), why);
    if (r == 0 && found < -1)
        r = command_bad_option(in, found, poptBadOption(context, POPT_BADOPTION_NOALIAS), why);
    if (r == 0)
        r = command_take_args(in, context, argc, argv, why);
    if (r == 0)
        r = command_check_args(in, why);
    return r == 0 ? command_check_values(in, why) : r;
}

/* @argv as popt is to read it. */
static int command_translate(int argc, const char **argv, const char *typed, struct invocation *in,
                             struct reason *why)
{
    CLEANUP(vocabulary_destroy)
    struct vocabulary_line line = {NULL, 0};
    int r = vocabulary_translate(in->command, typed, argc, argv, &line, why);
    return r < 0 ? r : command_parse_options((int)line.count, (const char **)line.words, in, why);
}

/* "-" and words that begin with it are options; those before the command are common ones. */
static int command_skip_globals(int argc, const char *const *argv)
{
    int at = 0;
    while (at < argc && argv[at][0] == '-')
    {
        bool has_value = false;
        for (const struct command_option *option = command_common_options; option->name; option++)
            has_value |= option->value && strncmp(argv[at], "--", 2) == 0 &&
                         strcmp(argv[at] + 2, option->name) == 0;
        at += has_value ? 2 : 1;
    }
    return (int)min_u64((uint64_t)at, (uint64_t)argc);
}

/* ---- what is no command -------------------------------------------------------------------- */

/* The word of @words behind @before, *len bytes of it; NULL: @words does not begin so, or ends. */
static const char *command_word_behind(const char *words, const char *before, size_t *len)
{
    size_t skip = strlen(before);
    if (strncmp(words, before, skip) != 0)
        return NULL;
    if (skip > 0 && words[skip++] != ' ')
        return NULL;
    *len = strcspn(words + skip, " ");
    return words + skip;
}

/* Whether commands go on with @word behind @before; if not, *suggestion has what is nearest. */
static bool command_goes_on(const char *before, const char *word, struct suggestion *suggestion)
{
    size_t len;
    suggest_begin(suggestion, word, strlen(word));
    for (const struct command *command = command_table; command->words; command++)
    {
        const char *next = command->flags & COMMAND_HIDDEN
                               ? NULL
                               : command_word_behind(command->words, before, &len);
        if (next && strlen(word) == len && strncmp(next, word, len) == 0)
            return true;
        if (next)
            suggest_offer(suggestion, next, len);
    }
    return false;
}

static bool command_append(char words[COMMAND_WORDS_MAX], const char *word)
{
    size_t len = strlen(words);
    int added = snprintf(words + len, COMMAND_WORDS_MAX - len, "%s%s", len > 0 ? " " : "", word);
    if ((size_t)added < COMMAND_WORDS_MAX - len)
        return true;
    words[len] = '\0';
    return false;
}

/* The command's words as they were probably meant, from those that are right on. false: no idea. */
static bool command_guess(int argc, const char *const *argv, char guess[COMMAND_WORDS_MAX])
{
    bool differs = false;
    struct suggestion suggestion;
    static const char *const families[] = {"lun", "server", "pool"};
    char turned[COMMAND_WORDS_MAX] = "";
    /* "create lun", "import FILE NAME" */
    if (argc > 1 && command_append(turned, argv[1]) && command_append(turned, argv[0]) &&
        command_by_words(turned))
        return snprintf(guess, COMMAND_WORDS_MAX, "%s", turned) > 0;
    for (size_t i = 0; i < ARRAY_SIZE(families); i++)
    {
        snprintf(guess, COMMAND_WORDS_MAX, "%s", families[i]);
        if (command_append(guess, argv[0]) && command_by_words(guess))
            return true;
    }
    guess[0] = '\0';
    for (int i = 0; i < argc && argv[i][0] != '-'; i++)
    {
        bool is_right = command_goes_on(guess, argv[i], &suggestion);
        if (!is_right && !*suggestion.nearest)
            break;
        if (!command_append(guess, is_right ? argv[i] : suggestion.nearest))
            break;
        differs |= !is_right;
    }
    return differs;
}

int command_unknown(int argc, const char *const *argv, struct invocation *in, struct reason *why)
{
    int known = 0;
    struct suggestion suggestion;
    char typed[COMMAND_WORDS_MAX], guess[COMMAND_WORDS_MAX];
    while (known < argc && command_goes_on(in->family, argv[known], &suggestion) &&
           command_append(in->family, argv[known]))
        known++;
    if (known == argc || argv[known][0] == '-')
        return reason_set(why, -EINVAL, "\"%s\" needs a word behind it", in->family);
    snprintf(typed, sizeof(typed), "%s%s%s", in->family, known > 0 ? " " : "", argv[known]);
    if (!command_guess(argc, argv, guess))
        return reason_set(why, -EINVAL, "\"%s\" is no command", typed);
    return reason_set(why, -EINVAL, "\"%s\" is no command; did you mean \"lunette %s\"?", typed,
                      guess);
}

int command_parse(int argc, const char **argv, struct invocation *in, struct reason *why)
{
    *in = (struct invocation){0};
    int globals = command_skip_globals(argc, argv), used;
    if (globals == argc && argc > 0 && argv[argc - 1][0] == '-')
        return reason_set(why, -EINVAL, "no command given, only the option %s", argv[argc - 1]);
    if (globals == argc)
        return reason_set(why, -EINVAL, "no command given");
    in->command = command_find(argc - globals, argv + globals, &used);
    if (!in->command)
        return command_unknown(argc - globals, argv + globals, in, why);
    /* One vector for popt: program, options before the command, what comes behind its words. */
    AUTO_FREE const char **all = calloc((size_t)argc + 2, sizeof(*all));
    if (!all)
        return reason_set(why, -ENOMEM, "no memory");
    int count = 0;
    all[count++] = "lunette";
    for (int i = 0; i < globals; i++)
        all[count++] = argv[i];
    for (int i = globals + used; i < argc; i++)
        all[count++] = argv[i];
    char typed[COMMAND_WORDS_MAX] = "";
    for (int i = globals; i < globals + used; i++)
        snprintf(typed + strlen(typed), sizeof(typed) - strlen(typed), "%s%s",
                 i > globals ? " " : "", argv[i]);
    return command_translate(count, all, typed, in, why);
}

void invocation_destroy(struct invocation *in)
{
    for (size_t i = 0; i < in->option_count; i++)
        for (size_t j = 0; j < in->value_counts[i]; j++)
            free(in->values[i][j]);
    for (size_t i = 0; i < in->arg_count; i++)
        free(in->args[i]);
    free(in->args);
    *in = (struct invocation){0};
}

static size_t option_index(const struct invocation *in, const char *name)
{
    for (size_t i = 0; i < in->option_count; i++)
        if (strcmp(in->options[i]->name, name) == 0)
            return i;
    INVARIANT(!"the command has the option");
    return 0;
}

const char *option_text(const struct invocation *in, const char *name)
{
    size_t i = option_index(in, name);
    return in->value_counts[i] > 0 ? in->values[i][in->value_counts[i] - 1] : NULL;
}

bool option_flag(const struct invocation *in, const char *name)
{
    return in->value_counts[option_index(in, name)] > 0;
}

char *const *option_texts(const struct invocation *in, const char *name, size_t *count)
{
    size_t i = option_index(in, name);
    *count = in->value_counts[i];
    return in->values[i];
}
