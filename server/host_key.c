/* SPDX-License-Identifier: BSD-3-Clause */
/* The key file. */
#include "server/host_key.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lun/base/cleanup.h"

static const char key_magic[] = "lunette-key-1 ";
static_assert(HOST_KEY_LINE_CHARS ==
                  sizeof(key_magic) - 1 + HOST_KEY_ID_DIGITS + 1 + 2 * (size_t)HOST_KEY_BYTES,
              "a line");
static_assert(HOST_KEY_LINE_CHARS + 2 == HOST_KEY_TEXT_BYTES, "with newline and NUL");
static const char key_digits[] = "0123456789abcdef";

void host_key_wipe(struct host_key *key)
{
    explicit_bzero(key, sizeof(*key));
}

static void key_print_hex(const uint8_t *bytes, size_t count, char *text)
{
    for (size_t i = 0; i < count; i++)
    {
        *text++ = key_digits[bytes[i] >> 4];
        *text++ = key_digits[bytes[i] & 15];
    }
    *text = '\0';
}

/* @digits of @text, exactly; false: they are something else. */
static bool key_take_hex(const char *text, size_t digits, uint8_t *bytes)
{
    for (size_t i = 0; i < digits; i++)
    {
        const char *digit = text[i] ? strchr(key_digits, text[i]) : NULL;
        if (!digit)
            return false;
        bytes[i / 2] = (uint8_t)(bytes[i / 2] << 4 | (digit - key_digits));
    }
    return true;
}

/* A line of the right length. */
static bool key_take_line(const char *line, struct host_key *key)
{
    uint8_t id[HOST_KEY_ID_DIGITS / 2] = {0};
    const char *id_at = line + strlen(key_magic), *bytes_at = id_at + HOST_KEY_ID_DIGITS + 1;
    if (strncmp(line, key_magic, strlen(key_magic)) != 0 || bytes_at[-1] != ' ' ||
        !key_take_hex(id_at, HOST_KEY_ID_DIGITS, id) ||
        !key_take_hex(bytes_at, 2 * (size_t)HOST_KEY_BYTES, key->bytes))
        return false;
    memcpy(key->id, id_at, HOST_KEY_ID_DIGITS);
    return true;
}

int host_key_parse(const char *text, struct host_key *key)
{
    size_t len = strcspn(text, "\n");
    host_key_wipe(key);
    if (len == HOST_KEY_LINE_CHARS && !(text[len] && text[len + 1]) && key_take_line(text, key))
        return 0;
    host_key_wipe(key);
    return -EINVAL;
}

void host_key_print(const struct host_key *key, char *text)
{
    size_t len = (size_t)snprintf(text, HOST_KEY_TEXT_BYTES, "%s%s ", key_magic, key->id);
    key_print_hex(key->bytes, HOST_KEY_BYTES, text + len);
}

static void key_close(int *file)
{
    if (*file >= 0)
        close(*file);
}

/* systemd lets the unit's user read a credential by an ACL, whose mask stands where the group is.
 */
static mode_t key_forbidden_mode(const char *path)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    size_t len = folder ? strlen(folder) : 0;
    bool is_credential = len > 0 && strncmp(path, folder, len) == 0 && path[len] == '/';
    return is_credential ? 0037 : 0077;
}

int host_key_read(const char *path, struct host_key *key, struct reason *why)
{
    char text[HOST_KEY_TEXT_BYTES + 1] = "";
    struct stat stat;
    CLEANUP(key_close) int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0 || fstat(file, &stat) < 0)
    {
        int r = -errno;
        return reason_set(why, r, "the key file %s cannot be read: %s", path, strerror(-r));
    }
    if (!S_ISREG(stat.st_mode))
        return reason_set(why, -EINVAL, "%s is not a key file", path);
    if (stat.st_mode & key_forbidden_mode(path))
        return reason_set(
            why, -EPERM,
            "others than its owner have rights on the key file %s (mode %04o); 'chmod "
            "600 %s' takes them away, but who read it has the key",
            path, (unsigned)stat.st_mode & 07777, path);
    ssize_t len = read(file, text, sizeof(text) - 1);
    int r = len < 0 ? -errno : 0;
    /* A NUL is as little of a key as anything else behind it. */
    if (r == 0)
        r = strlen(text) == (size_t)len ? host_key_parse(text, key) : -EINVAL;
    explicit_bzero(text, sizeof(text));
    return r < 0 ? reason_set(why, r, "%s is not a key file; 'lunette key create' makes one", path)
                 : 0;
}

void host_key_take_mark(const char *path, struct host_key_mark *mark)
{
    struct stat stat;
    *mark = (struct host_key_mark){0};
    if (fstatat(AT_FDCWD, path, &stat, 0) < 0)
        return;
    *mark = (struct host_key_mark){
        .device = stat.st_dev,
        .inode = stat.st_ino,
        .size = (uint64_t)stat.st_size,
        .changed_ns = (uint64_t)stat.st_mtim.tv_sec * 1000000000 + (uint64_t)stat.st_mtim.tv_nsec,
    };
}

int host_key_compare(const char *path, const struct host_key_mark *mark, const char *id,
                     struct reason *why)
{
    CLEANUP(host_key_wipe) struct host_key key = {0};
    struct reason problem = {.text = ""};
    struct host_key_mark now;
    int r = host_key_read(path, &key, &problem);
    if (r == 0 && strcmp(key.id, id) == 0)
        return 0;
    if (r == 0)
        return reason_set(why, -ESTALE,
                          "the server works with the key %s, and %s has the key %s now, which the "
                          "next start takes",
                          id, path, key.id);
    host_key_take_mark(path, &now);
    if (r != -EACCES)
        return reason_set(why, -ESTALE,
                          "the server works with the key %s, and could not start again: %s", id,
                          problem.text);
    if (mark->inode == 0 || now.inode == 0 || memcmp(mark, &now, sizeof(now)) == 0)
        return 0;
    return reason_set(why, -ESTALE,
                      "the server works with the key %s, and %s was replaced since; the server may "
                      "not read it any more, 'lunette key show %s' can",
                      id, path, path);
}

static int key_write(int file, const struct host_key *key)
{
    char text[HOST_KEY_TEXT_BYTES];
    host_key_print(key, text);
    size_t len = strlen(text);
    text[len++] = '\n';
    ssize_t written = write(file, text, len);
    explicit_bzero(text, sizeof(text));
    if (written != (ssize_t)len)
        return written < 0 ? -errno : -ENOSPC;
    return fsync(file) < 0 ? -errno : 0;
}

/* A key that a power cut takes back would take the secrets along. */
static int key_sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    AUTO_FREE char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    if (!folder)
        return -ENOMEM;
    CLEANUP(key_close) int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return file < 0 || fsync(file) < 0 ? -errno : 0;
}

/* Both are random: of the one that is shown nothing of the other follows. */
int host_key_choose(struct host_key *key)
{
    uint8_t id[HOST_KEY_ID_DIGITS / 2];
    if (getrandom(key->bytes, sizeof(key->bytes), 0) != sizeof(key->bytes) ||
        getrandom(id, sizeof(id), 0) != sizeof(id))
        return -EIO;
    key_print_hex(id, sizeof(id), key->id);
    return 0;
}

int host_key_create(const char *path, struct host_key *key, struct reason *why)
{
    int r = host_key_choose(key);
    if (r < 0)
        return reason_set(why, r, "there are no random bytes for a key");
    CLEANUP(key_close) int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0)
    {
        r = -errno;
        host_key_wipe(key);
        return reason_set(why, r, "%s: %s", path,
                          r == -EEXIST ? "it is there already, and stays" : strerror(-r));
    }
    r = key_write(file, key);
    if (r == 0)
        r = key_sync_folder(path);
    if (r == 0)
        return 0;
    unlink(path);
    host_key_wipe(key);
    return reason_set(why, r, "%s: %s", path, strerror(-r));
}
