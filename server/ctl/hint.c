/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/ctl/hint.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"

static const char hint_program[] = "lunette ";
static char *hint_socket; /* set before anything is said, by the one thread there is */

void hint_set_socket(const char *path)
{
    free(hint_socket);
    hint_socket = path ? strdup(path) : NULL;
}

/* Whether the command in [@at, @at + @len) has @word, as a whole one or as the beginning of one. */
static bool hint_has(const char *at, size_t len, const char *word)
{
    return memmem(at, len, word, strlen(word)) != NULL;
}

/* Those that ask no server, or name one already. */
static bool hint_takes_socket(const char *at, size_t len)
{
    static const char *const others[] = {" --socket", " --pool", " --help"};
    static const char *const offline[] = {"lunette help", "lunette serve", "lunette pool create",
                                          "lunette pool repair", "lunette lun salvage"};
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        if (hint_has(at, len, others[i]))
            return false;
    for (size_t i = 0; i < ARRAY_SIZE(offline); i++)
        if (len >= strlen(offline[i]) && strncmp(at, offline[i], strlen(offline[i])) == 0)
            return false;
    return true;
}

void hint_put_word(FILE *file, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "/._-+=:@,%";
    if (*word && word[strspn(word, plain)] == '\0')
    {
        fputs(word, file);
        return;
    }
    fputc('\'', file);
    for (const char *at = word; *at; at++)
        fputs(*at == '\'' ? "'\\''" : (char[]){*at, '\0'}, file);
    fputc('\'', file);
}

static void hint_put_socket(FILE *file)
{
    fputs(" --socket ", file);
    hint_put_word(file, hint_socket);
}

/* The command that begins at @at, up to @end, which it does not contain. */
static const char *hint_put_command(FILE *file, const char *at, const char *end)
{
    size_t len = (size_t)(end - at);
    fwrite(at, 1, len, file);
    if (hint_takes_socket(at, len))
        hint_put_socket(file);
    return end;
}

static void hint_put(FILE *file, const char *text)
{
    const char *at = text;
    if (strncmp(at, hint_program, strlen(hint_program)) == 0)
        at = hint_put_command(file, at, at + strlen(at));
    while (*at)
    {
        char quote = *at++;
        fputc(quote, file);
        const char *end = quote == '\'' || quote == '`' ? strchr(at, quote) : NULL;
        if (end && strncmp(at, hint_program, strlen(hint_program)) == 0)
            at = hint_put_command(file, at, end);
    }
}

char *hint_localize(const char *text)
{
    char *localized = NULL;
    size_t size;
    if (!hint_socket)
        return strdup(text);
    FILE *file = open_memstream(&localized, &size);
    if (!file)
        return NULL;
    hint_put(file, text);
    if (fclose(file) == 0)
        return localized;
    free(localized);
    return NULL;
}

void hint_print(FILE *file, const char *text)
{
    AUTO_FREE char *localized = hint_localize(text);
    fputs(localized ? localized : text, file);
}

void hint_vprintf(FILE *file, const char *format, va_list args)
{
    char *text;
    if (vasprintf(&text, format, args) < 0)
        return;
    hint_print(file, text);
    free(text);
}

void hint_printf(FILE *file, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    hint_vprintf(file, format, args);
    va_end(args);
}
