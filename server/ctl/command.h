/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line's grammar: one table of commands (commands.c) drives dispatch, option parsing,
 * --help, the completion and the man page, so that they cannot disagree.
 */
#ifndef SERVER_CTL_COMMAND_H
#define SERVER_CTL_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "lun/base/err.h"

/* Exit statuses. */
enum ctl_exit
{
    CTL_DONE = 0,
    CTL_REFUSED = 1,   /* the command was understood and could not be done */
    CTL_USAGE = 2,     /* it was not understood */
    CTL_NO_SERVER = 3, /* no server answers on the management socket */
    CTL_EXISTS = 4,    /* --if-not-exists: it was there, and that was said; ends as CTL_DONE */
};

enum command_flags
{
    COMMAND_LISTS = 1,    /* takes --fields and --units */
    COMMAND_DRY_RUN = 2,  /* takes --dry-run */
    COMMAND_CONFIRMS = 4, /* takes --yes; asks on a terminal without it */
    COMMAND_HIDDEN = 8,   /* not in help, completion and man page */
    COMMAND_OFFLINE = 16, /* takes --pool PATH, to look without a server */
    COMMAND_CREATES = 32, /* takes --if-not-exists */
};

enum
{
    COMMAND_OPTIONS_MAX = 32, /* of one command, common ones included */
    COMMAND_VALUES_MAX = 16,  /* of an option that may be repeated */
    COMMAND_WORDS_MAX = 64,   /* bytes of a command's words, with the NUL */
};

struct command_option
{
    const char *name;  /* NULL: end of the list */
    char letter;       /* '\0': none */
    const char *value; /* what to call its value in help; NULL: a flag */
    const char *help;
    bool repeats;
};

struct invocation;

struct command
{
    const char *words;     /* "lun create" */
    const char *arguments; /* "NAME SIZE", as help shows them */
    const char *summary;   /* one line, a verb first, without a full stop */
    const char *doing;   /* for "lunette: cannot ...": "create LUN {0}"; {0} is the 1st argument */
    const char *details; /* sentences for --help and the man page; NULL: none */
    const char *example; /* whole lines */
    unsigned flags;
    int args_min, args_max;               /* args_max < 0: any number */
    const struct command_option *options; /* of its own; NULL: none */
    enum ctl_exit (*run)(struct invocation *in);
};

/* Another way to write a command, for people who know ONTAP. */
struct command_alias
{
    const char *words;
    const char *target;
};

/* Ends with a row whose words are NULL. */
extern const struct command command_table[];
extern const struct command_alias command_aliases[];
/* What every command takes, and what flags add. */
extern const struct command_option command_common_options[];
extern const struct command_option command_create_options[];
extern const struct command_option command_list_options[];
extern const struct command_option command_dry_run_options[];
/* The class of what is made or changed, as both ways to write it. */
#define COMMAND_QOS_OPTIONS(how)                                                                   \
    {"qos", 0, "CLASS", "its QoS class" how, false},                                               \
    {                                                                                              \
        "qos-policy-group", 0, "CLASS", "as ONTAP writes --qos", false                             \
    }
extern const struct command_option command_confirm_options[];
extern const struct command_option command_offline_options[];
/* Of single commands (commands_chap.c, commands_clone.c, commands_volume.c). */
extern const struct command_option command_autodelete_options[];
extern const struct command_option command_volume_clone_options[];
extern const struct command_option command_volume_resize_options[];
extern const struct command_option command_explain_options[];
extern const struct command_option command_chap_set_options[];
extern const struct command_option command_df_options[];
extern const struct command_option command_clone_show_options[];
extern const struct command_option command_maxsize_options[];
extern const char command_maxsize_details[], command_lun_state_details[];
extern const struct command_option command_chap_rewrap_options[];
extern const struct command_option command_lun_clone_options[];
extern const struct command_option command_clone_create_options[];
/* And of whole commands (commands_{refresh,serve}.c): options, details, examples. */
extern const struct command_option command_refresh_create_options[];
extern const struct command_option command_refresh_modify_options[];
extern const char command_refresh_create_details[], command_refresh_create_example[];
extern const char command_refresh_run_details[];
extern const struct command_option command_serve_options[];
extern const char command_serve_details[], command_serve_example[];

/* A command line once it is understood. */
struct invocation
{
    const struct command *command;
    char family[COMMAND_WORDS_MAX]; /* what of an unknown command some begin with; "": nothing */
    const struct command_option *options[COMMAND_OPTIONS_MAX];
    size_t option_count;
    char *values[COMMAND_OPTIONS_MAX][COMMAND_VALUES_MAX]; /* "" for a flag */
    size_t value_counts[COMMAND_OPTIONS_MAX];
    char **args; /* NULL-terminated, owned */
    size_t arg_count;
};

/*
 * Parses what follows the program's name. -EINVAL: a usage error, @why says which. in->command is
 * set as soon as it is known.
 */
MUST_CHECK int command_parse(int argc, const char **argv, struct invocation *in,
                             struct reason *why);
void invocation_destroy(struct invocation *in);

/* -EINVAL; @why: that @argv, which is not empty, begins with no command, in the company it was
 * typed in, and what may have been meant. Sets in->family, which was "". */
MUST_CHECK int command_unknown(int argc, const char *const *argv, struct invocation *in,
                               struct reason *why);

/* The command that @argv begins with, aliases included, *used words of it; NULL: none. */
const struct command *command_find(int argc, const char *const *argv, int *used);

/* All options that @command takes: its own, then those of its flags, then the common ones. */
size_t command_all_options(const struct command *command,
                           const struct command_option *options[COMMAND_OPTIONS_MAX]);

/* The value given last; NULL: not given. Aborts if the command has no such option. */
const char *option_text(const struct invocation *in, const char *name);
bool option_flag(const struct invocation *in, const char *name);
/* All values of an option that repeats, *count of them. */
char *const *option_texts(const struct invocation *in, const char *name, size_t *count);

/* --help of one command, and the list of all or of those that begin with @prefix. */
void command_print_help(FILE *file, const struct command *command);
void command_print_overview(FILE *file, const char *prefix);
/* The same as JSON. */
void command_print_help_json(FILE *file, const struct command *command);
void command_print_overview_json(FILE *file, const char *prefix);
/* The man page, in man(7) macros. */
void command_print_manual(FILE *file);
/* Words that may come next behind @argv, one per line; @argv's last is the one being typed. */
void command_print_completions(FILE *file, int argc, const char *const *argv);

#endif
