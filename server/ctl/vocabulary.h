/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The words of people who know ONTAP, and words with one dash, put as the table of commands has
 * them before popt reads them.
 */
#ifndef SERVER_CTL_VOCABULARY_H
#define SERVER_CTL_VOCABULARY_H

#include <stdio.h>

#include "server/ctl/command.h"

/* An option that ONTAP has and the table of commands has not. */
struct vocabulary_row
{
    const char *commands; /* of the table, with '|' between them; "*": all */
    const char *name;     /* without its dash */
    const char *value;    /* what to call its value in help; NULL: true or false, which may lack */
    /*
     * "--NAME": that option has the value, or is there if the value is true. "NAME": part of what
     * vocabulary_arguments[] makes. "": without effect. "!TEXT": refused, with TEXT.
     */
    const char *becomes;
    const char *only; /* the values that are taken, with '|' between them; NULL: any */
    const char *help;
};

/* What positional arguments @commands get from parts that options named. */
struct vocabulary_arguments
{
    const char *commands;
    /* Words; of each the first of the forms between '|' whose {PARTS} are all there. */
    const char *words;
};

/* End with rows whose commands are NULL. */
extern const struct vocabulary_row vocabulary_rows[];
extern const struct vocabulary_arguments vocabulary_arguments[];

/* A command line for popt: the program's name, then options and arguments. */
struct vocabulary_line
{
    char **words; /* NULL-terminated */
    size_t count;
};

/*
 * @argv, program's name first and without the words of @command, as popt is to read it. @typed is
 * how these words were written. -EINVAL: @why says what is wrong. Destroy @line in any case.
 */
MUST_CHECK int vocabulary_translate(const struct command *command, const char *typed, int argc,
                                    const char *const *argv, struct vocabulary_line *line,
                                    struct reason *why);
void vocabulary_destroy(struct vocabulary_line *line);

/* Options that begin with @prefix, which has one dash. */
void vocabulary_print_completions(FILE *file, const struct command *command, const char *prefix);
/* For --help of @command, and the man page. */
void vocabulary_print_help(FILE *file, const struct command *command);
void vocabulary_print_manual(FILE *file, void (*print_text)(FILE *file, const char *text));

#endif
