/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands in what is said to the user: whoever named a server by --socket is told commands for
 * that server.
 *
 * A command is a whole text that begins with "lunette ", or stands in it between quotes ('' or ``).
 * The server composes most texts and does not know how its client came to it, so this is done where
 * they are printed. JSON has what the server said, but for the "try" of a refusal.
 */
#ifndef SERVER_CTL_HINT_H
#define SERVER_CTL_HINT_H

#include <stdarg.h>
#include <stdio.h>

#include "lun/base/err.h"

/* From now on @path is named; NULL: none. It is copied. */
void hint_set_socket(const char *path);

/* @text, its commands with --socket PATH if one is set and they take it. To be freed; NULL: no
 * memory. */
char *hint_localize(const char *text);

/* A word of a command as a shell takes it. */
void hint_put_word(FILE *file, const char *word);

/* Prints @text so. */
void hint_print(FILE *file, const char *text);
void hint_printf(FILE *file, const char *format, ...) PRINTF_LIKE(2, 3);
void hint_vprintf(FILE *file, const char *format, va_list args) PRINTF_LIKE(2, 0);

#endif
