/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Raw files and block devices as one side of a transfer.
 *
 * A few threads do the system calls, so that several are under way at once; an eventfd tells the
 * pipeline that something is done. The threads take no signals: those are the main program's.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/lock.h"
#include "server/ctl/transfer_endpoint.h"

enum
{
    FILE_THREADS_MAX = 8
};

struct file_endpoint
{
    struct endpoint base;
    char *path;
    int fd;
    int event_fd;
    bool is_block;
    bool is_writable;
    unsigned thread_count;
    pthread_t threads[FILE_THREADS_MAX];
    struct lock lock;
    struct condition work;
    struct list todo; /* under lock */
    struct list done; /* under lock */
    bool stopping;    /* under lock */
};

static int file_read(struct file_endpoint *file, struct request *request)
{
    uint64_t done = 0;
    while (done < request->len_bytes)
    {
        ssize_t n = pread(file->fd, request->data + done, request->len_bytes - done,
                          (off_t)(request->offset_bytes + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
        {
            snprintf(request->text, sizeof(request->text),
                     "it has shrunk: it ends at %llu now, was %llu bytes long",
                     (unsigned long long)(request->offset_bytes + done),
                     (unsigned long long)file->base.size_bytes);
            return -EIO;
        }
        done += (uint64_t)n;
    }
    return 0;
}

static int file_write(struct file_endpoint *file, struct request *request)
{
    uint64_t done = 0;
    while (done < request->len_bytes)
    {
        ssize_t n = pwrite(file->fd, request->data + done, request->len_bytes - done,
                           (off_t)(request->offset_bytes + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        done += (uint64_t)n;
    }
    return 0;
}

static int file_zero(struct file_endpoint *file, struct request *request)
{
    /* On a block device this zeroes, by discarding only where that is known to give zeros. */
    if (fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  (off_t)request->offset_bytes, (off_t)request->len_bytes) == 0)
        return 0;
    return errno == EOPNOTSUPP || errno == ENOSYS || errno == ENODEV ? -ENOTSUP : -errno;
}

/* Data, then hole, then data ...: what SEEK_HOLE and SEEK_DATA tell from the request's offset on.
 */
static int file_map(struct file_endpoint *file, struct request *request)
{
    uint64_t end = request->offset_bytes + request->len_bytes;
    uint64_t at = request->offset_bytes;
    size_t count = 0;
    while (at < end && count + 2 <= ENDPOINT_EXTENTS_MAX)
    {
        off_t data = lseek(file->fd, (off_t)at, SEEK_DATA);
        if (data < 0 && errno != ENXIO)
            return errno == EINVAL ? -ENOTSUP : -errno;
        uint64_t hole_end = data < 0 ? end : min_u64((uint64_t)data, end);
        if (hole_end > at)
            request->extents[count++] = (struct block_extent){
                .offset_bytes = at, .len_bytes = hole_end - at, .is_zero = true};
        at = hole_end;
        if (at == end)
            break;
        off_t hole = lseek(file->fd, (off_t)at, SEEK_HOLE);
        if (hole < 0)
            return -errno;
        uint64_t data_end = min_u64((uint64_t)hole, end);
        if (data_end <= at) /* it changes under us: read it */
            data_end = end;
        request->extents[count++] =
            (struct block_extent){.offset_bytes = at, .len_bytes = data_end - at};
        at = data_end;
    }
    request->extent_count = count;
    return 0;
}

static int file_do(struct file_endpoint *file, struct request *request)
{
    switch (request->kind)
    {
    case REQUEST_READ:
        return file_read(file, request);
    case REQUEST_WRITE:
        return file_write(file, request);
    case REQUEST_ZERO:
        return file_zero(file, request);
    case REQUEST_FLUSH:
        return fdatasync(file->fd) < 0 ? -errno : 0;
    case REQUEST_MAP:
        return file_map(file, request);
    }
    return -EINVAL;
}

static struct request *file_next_request(struct file_endpoint *file)
{
    AUTO_LOCK(&file->lock);
    while (list_is_empty(&file->todo) && !file->stopping)
        condition_wait(&file->work, &file->lock);
    if (list_is_empty(&file->todo))
        return NULL;
    struct request *request = container_of(file->todo.next, struct request, link);
    list_remove(&request->link);
    return request;
}

static void *file_thread(void *opaque)
{
    struct file_endpoint *file = opaque;
    for (;;)
    {
        struct request *request = file_next_request(file);
        if (!request)
            return NULL;
        request->result = file_do(file, request);
        {
            AUTO_LOCK(&file->lock);
            list_add_tail(&file->done, &request->link);
        }
        uint64_t one = 1;
        ssize_t n = write(file->event_fd, &one, sizeof(one));
        ignore_error((int)n, "the counter cannot overflow, and it is ours");
    }
}

static void file_submit(struct endpoint *endpoint, struct request *request)
{
    struct file_endpoint *file = container_of(endpoint, struct file_endpoint, base);
    AUTO_LOCK(&file->lock);
    list_add_tail(&file->todo, &request->link);
    condition_wake_all(&file->work);
}

static size_t file_pollfds(struct endpoint *endpoint, struct pollfd *fds, int *timeout_ms)
{
    struct file_endpoint *file = container_of(endpoint, struct file_endpoint, base);
    (void)timeout_ms;
    fds[0] = (struct pollfd){.fd = file->event_fd, .events = POLLIN};
    return 1;
}

static void file_service(struct endpoint *endpoint, const struct pollfd *fds, size_t count)
{
    struct file_endpoint *file = container_of(endpoint, struct file_endpoint, base);
    if (count == 0 || !(fds[0].revents & POLLIN))
        return;
    uint64_t wakes;
    ssize_t n = read(file->event_fd, &wakes, sizeof(wakes));
    ignore_error((int)n, "only clears it; the list is what counts");
    AUTO_LOCK(&file->lock);
    list_splice_tail(&file->base.completed, &file->done);
}

static void file_destroy(struct endpoint *endpoint, bool undo)
{
    struct file_endpoint *file = container_of(endpoint, struct file_endpoint, base);
    {
        AUTO_LOCK(&file->lock);
        file->stopping = true;
        condition_wake_all(&file->work);
    }
    for (unsigned i = 0; i < file->thread_count; i++)
        pthread_join(file->threads[i], NULL);
    if (undo && file->base.is_created)
        unlink(file->path);
    if (file->event_fd >= 0)
        close(file->event_fd);
    if (file->fd >= 0)
        close(file->fd);
    condition_destroy(&file->work);
    lock_destroy(&file->lock);
    free(file->path);
    free(file);
}

static const struct endpoint_ops file_ops = {
    .submit = file_submit,
    .pollfds = file_pollfds,
    .service = file_service,
    .destroy = file_destroy,
};

static int file_start_threads(struct file_endpoint *file, uint32_t depth)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    unsigned wanted = depth < FILE_THREADS_MAX ? depth : FILE_THREADS_MAX;
    int r = 0;
    for (unsigned i = 0; i < wanted && r == 0; i++)
    {
        r = pthread_create(&file->threads[i], NULL, file_thread, file);
        if (r == 0)
            file->thread_count++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return file->thread_count > 0 ? 0 : -r;
}

/* Opens what has to be there: a source, a device, a file that is resumed. */
static int file_open_existing(struct file_endpoint *file, const struct endpoint_open_args *args,
                              struct reason *why)
{
    file->fd = open(args->place, (args->is_destination ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (file->fd < 0)
        return reason_set(why, -errno, "cannot open %s: %s", args->place, strerror(errno));
    return 0;
}

static int file_create(struct file_endpoint *file, const struct endpoint_open_args *args,
                       struct reason *why)
{
    int flags = O_RDWR | O_CREAT | O_CLOEXEC | (args->overwrite ? O_TRUNC : O_EXCL);
    file->fd = open(args->place, flags, 0666);
    if (file->fd < 0 && errno == EEXIST)
        return reason_set(why, -EEXIST, "%s exists; --overwrite replaces it", args->place);
    if (file->fd < 0)
        return reason_set(why, -errno, "cannot make %s: %s", args->place, strerror(errno));
    file->base.is_created = true;
    file->base.reads_as_zero = true;
    if (ftruncate(file->fd, (off_t)args->size_bytes) < 0)
        return reason_set(why, -errno, "cannot make %s %llu bytes long: %s", args->place,
                          (unsigned long long)args->size_bytes, strerror(errno));
    return 0;
}

static int file_learn(struct file_endpoint *file, const struct stat *st, struct reason *why)
{
    struct endpoint *base = &file->base;
    file->is_block = S_ISBLK(st->st_mode);
    if (!file->is_block && !S_ISREG(st->st_mode))
        return reason_set(why, -EINVAL, "%s is neither a file nor a block device", file->path);
    base->size_bytes = (uint64_t)st->st_size;
    if (file->is_block && ioctl(file->fd, BLKGETSIZE64, &base->size_bytes) < 0)
        return reason_set(why, -errno, "cannot ask %s for its size: %s", file->path,
                          strerror(errno));
    base->can_map = !file->is_block;
    base->can_zero = true;
    base->align_bytes = file->is_block ? 512 : 1;
    if (file->is_block)
        snprintf(base->identity, sizeof(base->identity), "device");
    else
        snprintf(base->identity, sizeof(base->identity), "file %llu %lld.%09ld",
                 (unsigned long long)st->st_ino, (long long)st->st_mtim.tv_sec,
                 st->st_mtim.tv_nsec);
    return 0;
}

static int file_open(struct file_endpoint *file, const struct endpoint_open_args *args,
                     struct reason *why)
{
    struct stat st;
    bool exists = stat(args->place, &st) == 0;
    bool is_block = exists && S_ISBLK(st.st_mode);
    bool is_made = args->is_destination && !args->resume && !is_block;
    if (args->is_destination && is_block && !args->overwrite && !args->resume)
        return reason_set(why, -EEXIST, "%s is a block device; --overwrite replaces what it holds",
                          args->place);
    int r = is_made ? file_create(file, args, why) : file_open_existing(file, args, why);
    if (r < 0)
        return r;
    if (fstat(file->fd, &st) < 0)
        return -errno;
    if (!args->is_destination)
        ignore_error(posix_fadvise(file->fd, 0, 0, POSIX_FADV_SEQUENTIAL), "a hint");
    return file_learn(file, &st, why);
}

int endpoint_open_file(const struct endpoint_open_args *args, struct endpoint **endpoint,
                       struct reason *why)
{
    struct file_endpoint *file = calloc(1, sizeof(*file));
    if (!file)
        return -ENOMEM;
    lock_init(&file->lock, LOCK_RANK_LEAF);
    condition_init(&file->work);
    list_init(&file->todo);
    list_init(&file->done);
    file->fd = -1;
    file->event_fd = -1;
    int r = endpoint_init(&file->base, &file_ops, args->place);
    file->path = strdup(args->place);
    if (r == 0 && !file->path)
        r = -ENOMEM;
    if (r == 0)
        r = file_open(file, args, why);
    if (r == 0)
    {
        file->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        r = file->event_fd < 0 ? -errno : file_start_threads(file, args->depth);
    }
    if (r < 0)
    {
        endpoint_destroy(&file->base, true);
        return r;
    }
    *endpoint = &file->base;
    return 0;
}
