/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Images that QEMU knows (qcow2, vmdk, vdi, vhdx, ...) as one side of a transfer.
 *
 * A child qemu-nbd serves the image, read-only for a source, on a Unix socket that was bound here
 * in a folder only this user can enter, and whose name is gone again once the connections stand.
 *
 * An image can name further files whose bytes it then seems to have: a backing file, a file of its
 * data, extents. Who made it may be nobody to trust, and these are read with the rights of whoever
 * imports it. So all that it names has to lie in its own folder, or below that.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lun/base/cleanup.h"
#include "lun/base/log.h"
#include "server/ctl/transfer_child.h"
#include "server/ctl/transfer_endpoint.h"

enum
{
    IMAGE_END_MS = 30000, /* for qemu-nbd to close the image after the last connection */
    IMAGE_CHAIN_MAX = 64,
};

struct image
{
    struct companion companion;
    struct child child;
    char *path;
    bool is_created;
    bool is_destination;
};

/* A name before whose first slash there is a colon would be a protocol to QEMU. */
static char *image_safe_path(const char *path)
{
    char *text = NULL;
    return asprintf(&text, "%s%s", path[0] == '/' ? "" : "./", path) < 0 ? NULL : text;
}

/* Cuts @text to its last line, the one in which QEMU's tools say why. */
static const char *image_last_line(char *text)
{
    size_t len = strlen(text);
    while (len > 0 && text[len - 1] == '\n')
        text[--len] = '\0';
    char *newline = strrchr(text, '\n');
    return newline ? newline + 1 : text;
}

static int image_run(char *const argv[], const char *path, char **output, struct reason *why)
{
    int status = child_run(argv, output);
    if (status == 127)
        return reason_set(
            why, -ENOENT,
            "%s is not installed, and %s needs it: apt-get install qemu-utils, or say "
            "that the format is raw if it is",
            argv[0], path);
    if (status > 0)
        return reason_set(why, -EINVAL, "%s refuses %s: %s", argv[0], path,
                          image_last_line(*output));
    return status;
}

int image_probe(const char *path, char *format, size_t format_size, struct reason *why)
{
    AUTO_FREE char *safe = image_safe_path(path);
    if (!safe)
        return -ENOMEM;
    AUTO_FREE char *output = NULL;
    char *argv[] = {"qemu-img", "info", "--output=json", "--", safe, NULL};
    int r = image_run(argv, path, &output, why);
    if (r < 0)
        return r;
    json_t *info = json_loads(output, JSON_DISABLE_EOF_CHECK, NULL);
    const char *name = json_string_value(json_object_get(info, "format"));
    if (!name)
        r = reason_set(why, -EINVAL, "qemu-img does not tell the format of %s", path);
    else
        snprintf(format, format_size, "%s", name);
    json_decref(info);
    return r;
}

static void image_explain(struct companion *companion, char *text, size_t size)
{
    struct image *image = container_of(companion, struct image, companion);
    bool has_ended = child_has_ended(&image->child);
    AUTO_FREE char *output = child_output(&image->child);
    const char *line = output ? image_last_line(output) : "";
    snprintf(text, size, "qemu-nbd %s%s%s", has_ended ? "ended" : "closed the connection",
             line[0] ? ": " : "", line);
}

static void image_release(struct companion *companion, bool undo)
{
    struct image *image = container_of(companion, struct image, companion);
    /* A reader holds nothing that must be closed in order. */
    int status = child_end(&image->child, image->is_destination && !undo ? IMAGE_END_MS : 100);
    if (image->is_destination && !undo && status != 0)
    {
        AUTO_FREE char *output = child_output(&image->child);
        log_warning("qemu-nbd ended with status %d on %s%s%s", status, image->path,
                    output && output[0] ? ": " : "", output ? image_last_line(output) : "");
    }
    child_destroy(&image->child);
    if (undo && image->is_created)
        unlink(image->path);
    free(image->path);
    free(image);
}

/* Makes an empty image; the name first, so that nobody else's file is overwritten. */
static int image_create(struct image *image, const struct endpoint_open_args *args,
                        const char *format, struct reason *why)
{
    int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (args->overwrite ? 0 : O_EXCL);
    AUTO_CLOSE int fd = open(args->place, flags, 0666);
    if (fd < 0 && errno == EEXIST)
        return reason_set(why, -EEXIST, "%s exists; --overwrite replaces it", args->place);
    if (fd < 0)
        return reason_set(why, -errno, "cannot make %s: %s", args->place, strerror(errno));
    image->is_created = true;
    AUTO_FREE char *safe = image_safe_path(args->place);
    AUTO_FREE char *output = NULL;
    char size[32];
    snprintf(size, sizeof(size), "%llu", (unsigned long long)args->size_bytes);
    char *argv[] = {"qemu-img", "create", "-q", "-f", (char *)format, "--", safe, size, NULL};
    return safe ? image_run(argv, args->place, &output, why) : -ENOMEM;
}

static int image_listen(const char *path, int *fd, struct reason *why)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    AUTO_CLOSE int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (made < 0 || bind(made, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(made, 16) < 0)
        return reason_set(why, -errno, "cannot listen on %s: %s", path, strerror(errno));
    *fd = take_fd(&made);
    return 0;
}

/* Starts qemu-nbd on a socket in @folder and connects to it. */
static int image_serve(struct image *image, const struct endpoint_open_args *args,
                       const char *format, const char *folder, struct endpoint **endpoint,
                       struct reason *why)
{
    char socket_path[64], uri[128], format_arg[64];
    snprintf(socket_path, sizeof(socket_path), "%s/nbd", folder);
    snprintf(uri, sizeof(uri), "nbd+unix:///?socket=%s", socket_path);
    snprintf(format_arg, sizeof(format_arg), "--format=%s", format);
    AUTO_FREE char *safe = image_safe_path(args->place);
    AUTO_CLOSE int listen_fd = -1;
    int r = safe ? image_listen(socket_path, &listen_fd, why) : -ENOMEM;
    char *mode = args->is_destination ? "--discard=unmap" : "--read-only";
    char *argv[] = {"qemu-nbd", format_arg, "--shared=8", mode, "--", safe, NULL};
    if (r == 0)
        r = child_start(&image->child, argv, listen_fd);
    if (r == 0)
    {
        /* Only the child listens now: when it ends, connecting fails instead of waiting. */
        close(take_fd(&listen_fd));
        struct endpoint_open_args nbd_args = *args;
        nbd_args.place = uri;
        r = endpoint_open_nbd(&nbd_args, endpoint, why);
        if (r < 0 && why)
        {
            AUTO_FREE char *output = NULL;
            int status = child_end(&image->child, 1000);
            output = child_output(&image->child);
            reason_set(why, r, "cannot open %s as %s: %s", args->place, format,
                       status == 127 ? "qemu-nbd is not installed (apt-get install qemu-utils)"
                       : output      ? image_last_line(output)
                                     : "no memory");
        }
    }
    unlink(socket_path);
    return r;
}

/* ---- what an image names ------------------------------------------------------------------- */

/* @folder, without symbolic links, has a "/" at its end. */
static int image_check_name(const char *image, const char *folder, const char *name,
                            struct reason *why)
{
    AUTO_FREE char *real = realpath(name, NULL);
    /* What is no file is a protocol of QEMU's ("json:...", "nbd://..."), or missing. */
    if (real && strncmp(real, folder, strlen(folder)) == 0)
        return 0;
    return reason_set(why, -EPERM,
                      "%s names another file, %s, which is not in its folder: see whether that is "
                      "to be read, and make one file of both (qemu-img convert -O qcow2 FROM TO)",
                      image, name);
}

/* "data-file" is as the image says it, so relative to the image. */
static int image_check_data_file(const char *image, const char *folder, const char *name,
                                 struct reason *why)
{
    AUTO_FREE char *full = NULL;
    if (name[0] != '/' && asprintf(&full, "%s%s", folder, name) < 0)
        return -ENOMEM;
    return image_check_name(image, folder, full ? full : name, why);
}

static int image_check_info(const char *image, const char *folder, const json_t *info,
                            struct reason *why)
{
    const json_t *data = json_object_get(json_object_get(info, "format-specific"), "data");
    const json_t *extents = json_object_get(data, "extents");
    const char *backing = json_string_value(json_object_get(info, "full-backing-filename"));
    const char *data_file = json_string_value(json_object_get(data, "data-file"));
    int r = backing ? image_check_name(image, folder, backing, why) : 0;
    if (r == 0 && data_file)
        r = image_check_data_file(image, folder, data_file, why);
    for (size_t i = 0; r == 0 && i < json_array_size(extents); i++)
    {
        const char *name =
            json_string_value(json_object_get(json_array_get(extents, i), "filename"));
        r = name ? image_check_name(image, folder, name, why) : 0;
    }
    return r;
}

static char *image_folder(const char *path)
{
    AUTO_FREE char *real = realpath(path, NULL);
    return real ? strndup(real, (size_t)(strrchr(real, '/') - real) + 1) : NULL;
}

/* One image, without opening what it names: "qemu-img info" does not follow a backing file. */
static int image_look(const char *path, const char *format, json_t **info, struct reason *why)
{
    AUTO_FREE char *safe = image_safe_path(path);
    AUTO_FREE char *output = NULL;
    if (!safe)
        return -ENOMEM;
    char *with[] = {"qemu-img", "info", "--output=json", "-f", (char *)format, "--", safe, NULL};
    char *without[] = {"qemu-img", "info", "--output=json", "--", safe, NULL};
    int r = image_run(format ? with : without, path, &output, why);
    if (r < 0)
        return reason_set(why, r, "cannot open %s: %s", path, image_last_line(output));
    *info = json_loads(output, JSON_DISABLE_EOF_CHECK, NULL);
    return *info ? 0 : reason_set(why, -EINVAL, "qemu-img tells nothing of %s", path);
}

static int image_check_chain(const char *path, const char *format, struct reason *why)
{
    AUTO_FREE char *folder = image_folder(path);
    AUTO_FREE char *at = strdup(path);
    AUTO_FREE char *at_format = strdup(format);
    int r = folder && at && at_format ? 0 : -ENOMEM;
    for (unsigned i = 0; r == 0 && at && i < IMAGE_CHAIN_MAX; i++)
    {
        json_t *info = NULL;
        r = image_look(at, at_format, &info, why);
        if (r == 0)
            r = image_check_info(path, folder, info, why);
        const char *next = json_string_value(json_object_get(info, "full-backing-filename"));
        const char *next_format =
            json_string_value(json_object_get(info, "backing-filename-format"));
        free(at);
        free(at_format);
        at = next ? strdup(next) : NULL;
        at_format = next_format ? strdup(next_format) : NULL;
        json_decref(info);
    }
    return r == 0 && at ? reason_set(why, -EINVAL, "%s has too many backing files", path) : r;
}

static int image_open(struct image *image, const struct endpoint_open_args *args,
                      const char *format, struct endpoint **endpoint, struct reason *why)
{
    struct stat st;
    if (args->is_destination && !args->resume)
    {
        int r = image_create(image, args, format, why);
        if (r < 0)
            return r;
    }
    if (stat(args->place, &st) < 0)
        return reason_set(why, -errno, "cannot open %s: %s", args->place, strerror(errno));
    if (!args->is_destination)
    {
        int r = image_check_chain(args->place, format, why);
        if (r < 0)
            return r;
    }
    char folder[] = "/tmp/lunette-nbd.XXXXXX";
    if (!mkdtemp(folder))
        return reason_set(why, -errno, "cannot make a folder in /tmp: %s", strerror(errno));
    int r = image_serve(image, args, format, folder, endpoint, why);
    rmdir(folder);
    if (r < 0 || !*endpoint)
        return r;
    struct endpoint *base = *endpoint;
    free(base->name);
    base->name = strdup(args->place);
    base->no_reconnect = true;
    base->is_created = image->is_created;
    base->reads_as_zero = image->is_created;
    snprintf(base->identity, sizeof(base->identity), "file %llu %lld.%09ld",
             (unsigned long long)st.st_ino, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    return base->name ? 0 : -ENOMEM;
}

int endpoint_open_image(const struct endpoint_open_args *args, const char *format,
                        struct endpoint **endpoint, struct reason *why)
{
    struct image *image = calloc(1, sizeof(*image));
    if (!image)
        return -ENOMEM;
    image->companion = (struct companion){.explain = image_explain, .release = image_release};
    image->child.output_fd = -1;
    image->is_destination = args->is_destination;
    image->path = strdup(args->place);
    struct endpoint *opened = NULL;
    int r = image->path ? image_open(image, args, format, &opened, why) : -ENOMEM;
    if (opened)
        opened->companion = &image->companion;
    if (r < 0)
    {
        if (opened)
            endpoint_destroy(opened, true);
        else
            image_release(&image->companion, true);
        return r;
    }
    *endpoint = opened;
    return 0;
}
