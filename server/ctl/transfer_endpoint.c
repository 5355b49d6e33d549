/* SPDX-License-Identifier: BSD-3-Clause */
/* What all endpoints share, and which place is opened by which of them. */
#include "server/ctl/transfer_endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"
#include "server/ctl/transfer.h"

int endpoint_init(struct endpoint *endpoint, const struct endpoint_ops *ops, const char *place)
{
    endpoint->ops = ops;
    endpoint->align_bytes = 1;
    endpoint->max_io_bytes = TRANSFER_BLOCK_BYTES_MAX;
    endpoint->max_zero_bytes = 64 << 20;
    list_init(&endpoint->completed);
    endpoint->name = transfer_redact(place);
    return endpoint->name ? 0 : -ENOMEM;
}

void endpoint_complete(struct endpoint *endpoint, struct request *request, int result,
                       const char *text)
{
    request->result = result;
    snprintf(request->text, sizeof(request->text), "%s", text ? text : "");
    list_add_tail(&endpoint->completed, &request->link);
}

void endpoint_complete_all_data(struct endpoint *endpoint, struct request *request)
{
    request->extents[0] = (struct block_extent){.offset_bytes = request->offset_bytes,
                                                .len_bytes = request->len_bytes};
    request->extent_count = 1;
    endpoint_complete(endpoint, request, 0, NULL);
}

void endpoint_submit(struct endpoint *endpoint, struct request *request)
{
    list_init(&request->link);
    request->result = 0;
    request->text[0] = '\0';
    endpoint->in_flight++;
    if (endpoint->lost)
        endpoint_complete(endpoint, request, -ENOTCONN, NULL);
    else
        endpoint->ops->submit(endpoint, request);
}

struct request *endpoint_take_completed(struct endpoint *endpoint)
{
    if (list_is_empty(&endpoint->completed))
        return NULL;
    struct request *request = container_of(endpoint->completed.next, struct request, link);
    list_remove(&request->link);
    INVARIANT(endpoint->in_flight > 0);
    endpoint->in_flight--;
    return request;
}

void endpoint_destroy(struct endpoint *endpoint, bool undo)
{
    if (!endpoint)
        return;
    char *name = endpoint->name;
    struct companion *companion = endpoint->companion;
    endpoint->ops->destroy(endpoint, undo);
    if (companion)
        companion->release(companion, undo);
    free(name);
}

int endpoint_sync_folder(const char *path, struct reason *why)
{
    AUTO_FREE char *folder = strdup(path);
    if (!folder)
        return -ENOMEM;
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder ? 1 : 0] = '\0';
    AUTO_CLOSE int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return reason_set(why, -errno, "cannot sync the folder of %s: %s", path, strerror(errno));
    return 0;
}

/* What the suffix of a destination says, or "raw". */
static const char *endpoint_format_by_suffix(const char *path)
{
    static const char *const suffixes[][2] = {
        {".qcow2", "qcow2"}, {".vmdk", "vmdk"}, {".vdi", "vdi"}, {".vhdx", "vhdx"}};
    size_t len = strlen(path);
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
    {
        size_t suffix_len = strlen(suffixes[i][0]);
        if (len > suffix_len && strcasecmp(path + len - suffix_len, suffixes[i][0]) == 0)
            return suffixes[i][1];
    }
    return "raw";
}

static int endpoint_open_path(const struct endpoint_open_args *args, struct endpoint **endpoint,
                              struct reason *why)
{
    char probed[32];
    const char *format = args->format;
    struct stat st;
    bool exists = stat(args->place, &st) == 0;
    if (!format && args->is_destination)
        format = exists && !S_ISREG(st.st_mode) ? "raw" : endpoint_format_by_suffix(args->place);
    if (!format && exists && S_ISREG(st.st_mode))
    {
        int r = image_probe(args->place, probed, sizeof(probed), why);
        if (r < 0)
            return r;
        format = probed;
    }
    if (!format || strcmp(format, "raw") == 0)
        return endpoint_open_file(args, endpoint, why);
    return endpoint_open_image(args, format, endpoint, why);
}

int endpoint_open(const struct endpoint_open_args *args, struct endpoint **endpoint,
                  struct reason *why)
{
    const char *place = args->place;
    const char *scheme_end = strstr(place, "://");
    if (!scheme_end || memchr(place, '/', (size_t)(scheme_end - place)))
        return endpoint_open_path(args, endpoint, why);
    if (args->format && strcmp(args->format, "raw") != 0)
        return reason_set(
            why, -EINVAL,
            "format %s is for files; what a URL names is read and written as raw bytes",
            args->format);
    if (strncasecmp(place, "nbd", 3) == 0)
        return endpoint_open_nbd(args, endpoint, why);
    if (strncasecmp(place, "iscsi:", 6) == 0)
        return endpoint_open_iscsi(args, endpoint, why);
    return reason_set(why, -EINVAL,
                      "\"%.*s://\" is no kind of URL known here: use a path, nbd://, nbds://, "
                      "nbd+unix://, nbds+unix:// or iscsi://",
                      (int)(scheme_end - place), place);
}
