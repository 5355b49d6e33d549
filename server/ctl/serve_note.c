/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/ctl/serve_note.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lun/base/cleanup.h"
#include "server/ctl/hint.h"

enum
{
    SERVE_NOTE_MAX = 2048 /* bytes; a longer command line is not noted */
};

static const char serve_note_name[] = "serve.last";
static const char serve_note_begins[] = "lunette serve";

static char *serve_note_path(const char *socket)
{
    char *path;
    const char *slash = strrchr(socket, '/');
    int len = slash ? (int)(slash - socket) + 1 : 0;
    return asprintf(&path, "%.*s%s", len, socket, serve_note_name) >= 0 ? path : NULL;
}

/* Who reads it knows the socket. That another host is dead was true then. */
static bool serve_note_takes(const char *option)
{
    static const char *const others[] = {"socket",     "take-over",  "wait",
                                         "foreground", "background", "json"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (strcmp(option, others[i]) == 0)
            return false;
    return true;
}

static void serve_note_put(FILE *file, const struct invocation *in,
                           char *(*absolute_of)(const char *option, const char *value))
{
    fputs(serve_note_begins, file);
    for (size_t i = 0; i < in->option_count; i++)
    {
        const char *name = in->options[i]->name;
        for (size_t j = 0; serve_note_takes(name) && j < in->value_counts[i]; j++)
        {
            fprintf(file, " --%s", name);
            if (!in->options[i]->value)
                continue;
            AUTO_FREE char *absolute = absolute_of(name, in->values[i][j]);
            fputc(' ', file);
            hint_put_word(file, absolute ? absolute : in->values[i][j]);
        }
    }
    for (size_t i = 0; i < in->arg_count; i++)
    {
        fputs(i == 0 ? " -- " : " ", file);
        hint_put_word(file, in->args[i]);
    }
    fputc('\n', file);
}

/* The note of an earlier start: it is true no more, even if there will be no new one. What is
 * something else, a pool of that name for example, stays. Whether nothing is there now. */
static bool serve_note_remove(const char *path)
{
    char text[sizeof(serve_note_begins) - 1];
    struct stat there;
    if (lstat(path, &there) < 0)
        return errno == ENOENT;
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || !S_ISREG(there.st_mode) ||
        read(fd, text, sizeof(text)) != (ssize_t)sizeof(text) ||
        memcmp(text, serve_note_begins, sizeof(text)) != 0)
        return false;
    return unlink(path) == 0;
}

void serve_note_write(const struct invocation *in, const char *socket,
                      char *(*absolute_of)(const char *option, const char *value))
{
    AUTO_FREE char *path = serve_note_path(socket);
    AUTO_FREE char *text = NULL;
    size_t size = 0;
    if (!path || !serve_note_remove(path))
        return;
    FILE *file = open_memstream(&text, &size);
    if (!file)
        return;
    serve_note_put(file, in, absolute_of);
    if (fclose(file) != 0 || size > SERVE_NOTE_MAX)
        return;
    /* Not into a file that somebody else has put there; and for nobody else, as what stands behind
     * -- may be a secret of a filter. */
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && write(fd, text, size) != (ssize_t)size)
        unlink(path);
}

char *serve_note_read(const char *socket)
{
    char text[SERVE_NOTE_MAX + 1];
    struct stat there;
    AUTO_FREE char *path = serve_note_path(socket);
    AUTO_CLOSE int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
    if (fd < 0 || fstat(fd, &there) < 0 || !S_ISREG(there.st_mode) ||
        (there.st_uid != 0 && there.st_uid != geteuid()))
        return NULL;
    ssize_t len = read(fd, text, SERVE_NOTE_MAX);
    if (len <= 0 || text[len - 1] != '\n')
        return NULL;
    text[len - 1] = '\0';
    for (const char *at = text; *at; at++)
        if (iscntrl((unsigned char)*at))
            return NULL;
    bool is_one = strncmp(text, serve_note_begins, sizeof(serve_note_begins) - 1) == 0;
    return is_one ? strdup(text) : NULL;
}
