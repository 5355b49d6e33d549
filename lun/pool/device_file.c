/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The real device: a file or a block device, through the page cache.
 *
 * The page cache is the data cache of the pool, keyed by physical address: a thousand clones that
 * read one golden block share one page. The lock is flock(2): a classic fcntl lock would be lost
 * when nbdkit forks into the background.
 *
 * Somebody may cut the file off while it is in use. Reads behind its end fail then, but a write
 * there would make it long again, and zeros of what lies between. So each write looks at the
 * length before, and fails too.
 *
 * A call that did nothing for want of the kernel's memory is made again some times, with pauses. A
 * sync never is, whatever it says: what it met, the next one would not tell again.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/size_text.h"
#include "lun/pool/device.h"
#include "lun/pool/device_map.h"

enum
{
    /*
     * A write makes page cache folios as large as itself, and ext4 looks at every buffer of a folio
     * for each 4 KiB that is written to it later: 16 us of processor time in a folio of 1 MiB, 4 us
     * in one of 64 KiB (Linux 6.18). Large writes are the rarer ones, and lose less. What is in the
     * page cache already keeps its folios, and is written at once.
     */
    DEVICE_FILE_WRITE_BYTES = 64 << 10,
    DEVICE_FILE_EXTENTS = 64, /* that are asked for at a time */
    DEVICE_FILE_PROOF_BYTES = 512,
    DEVICE_FILE_TRIES = 8, /* without memory; pauses of 1 ms, 2 ms, 4 ms and so on between */
};

/* cachestat(2), Linux 6.5, which the C library and headers of Debian 12 do not know. */
#ifndef __NR_cachestat
#define __NR_cachestat 451
#endif

struct device_file_cache_range
{
    uint64_t offset, len;
};

struct device_file_cache_stat
{
    uint64_t cached, dirty, written_back, evicted, recently_evicted; /* pages */
};

struct device_file
{
    struct device device;
    int fd;
    bool is_block_device;
    char *path;
    struct device_map map;
    size_t page_bytes;
    atomic_ullong size_bytes; /* that the file has, unless somebody cuts it off */
};

static struct device_file *device_file_of(struct device *device)
{
    return (struct device_file *)device;
}

/* Whether a call that failed so, and did nothing, is made again. *tries counts those that had no
 * memory. Waits a little after these. */
static bool device_file_tries_again(unsigned *tries)
{
    if (errno == EINTR)
        return true;
    if ((errno != ENOMEM && errno != EAGAIN) || ++*tries >= DEVICE_FILE_TRIES)
        return false;
    nanosleep(&(struct timespec){.tv_nsec = 500000L << *tries}, NULL);
    return true;
}

/* What the last call met, in the words of the engine, to whom -EAGAIN is something else. */
static int device_file_error(void)
{
    switch (errno)
    {
    case EDQUOT:
        return -ENOSPC;
    case EAGAIN:
        return -ENOMEM;
    default:
        return -errno;
    }
}

static int device_file_read(struct device *device, void *buf, size_t len, uint64_t offset)
{
    struct device_file *file = device_file_of(device);
    uint8_t *at = buf;
    unsigned tries = 0;
    while (len > 0)
    {
        ssize_t got = pread(file->fd, at, len, (off_t)offset);
        if (got < 0 && device_file_tries_again(&tries))
            continue;
        if (got < 0)
            return device_file_error();
        if (got == 0) /* the file is shorter than the pool: somebody cut it */
            return -EIO;
        at += got;
        offset += (uint64_t)got;
        len -= (size_t)got;
    }
    return 0;
}

/*
 * 0 or -EIO. Asks for nothing but the size: since Linux 6.13 who has asked for the time of the last
 * change gets a new one for each write that follows, however soon, and the inode is one more block
 * to be written by each sync.
 */
static int device_file_check_size(struct device_file *file)
{
    struct statx st;
    if (file->is_block_device)
        return 0;
    if (statx(file->fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_SIZE, &st) < 0)
        return -errno;
    return st.stx_size < atomic_load(&file->size_bytes) ? -EIO : 0;
}

/* Whether all of it is in the page cache. An old kernel does not tell. */
static bool device_file_is_cached(struct device_file *file, uint64_t len, uint64_t offset)
{
    struct device_file_cache_range range = {.offset = offset, .len = len};
    struct device_file_cache_stat stat;
    return syscall(__NR_cachestat, file->fd, &range, &stat, 0) == 0 &&
           stat.cached * file->page_bytes >= len;
}

/* The same for a write that is large enough for that to matter. */
static bool device_file_may_write_whole(struct device_file *file, const struct iovec *iov,
                                        int iov_count, uint64_t offset)
{
    uint64_t len = 0;
    for (int i = 0; i < iov_count; i++)
        len += iov[i].iov_len;
    return len > DEVICE_FILE_WRITE_BYTES && device_file_is_cached(file, len, offset);
}

/* Writes what lies before the next border of DEVICE_FILE_WRITE_BYTES, as pwrite(2). */
static ssize_t device_file_write_some(struct device_file *file, const struct iovec *iov,
                                      int iov_count, uint64_t offset)
{
    size_t room = DEVICE_FILE_WRITE_BYTES - offset % DEVICE_FILE_WRITE_BYTES;
    if (iov->iov_len >= room)
        return pwrite(file->fd, iov->iov_base, room, (off_t)offset);
    int n = 0;
    while (n < iov_count && iov[n].iov_len <= room)
        room -= iov[n++].iov_len;
    return n == 1 ? pwrite(file->fd, iov->iov_base, iov->iov_len, (off_t)offset)
                  : pwritev(file->fd, iov, n, (off_t)offset);
}

static int device_file_writev(struct device *device, struct iovec *iov, int iov_count,
                              uint64_t offset)
{
    struct device_file *file = device_file_of(device);
    int r = device_file_check_size(file);
    if (r < 0)
        return r;
    bool is_whole = device_file_may_write_whole(file, iov, iov_count, offset);
    unsigned tries = 0;
    while (iov_count > 0)
    {
        ssize_t done = is_whole ? pwritev(file->fd, iov, iov_count, (off_t)offset)
                                : device_file_write_some(file, iov, iov_count, offset);
        if (done < 0 && device_file_tries_again(&tries))
            continue;
        if (done < 0)
            return device_file_error();
        if (done == 0)
            return -EIO;
        offset += (uint64_t)done;
        while (iov_count > 0 && (size_t)done >= iov->iov_len)
        {
            done -= (ssize_t)iov->iov_len;
            iov++;
            iov_count--;
        }
        if (iov_count > 0)
        {
            iov->iov_base = (uint8_t *)iov->iov_base + done;
            iov->iov_len -= (size_t)done;
        }
    }
    return 0;
}

static int device_file_sync(struct device *device)
{
    return fdatasync(device_file_of(device)->fd) < 0 ? -errno : 0;
}

/* Whether the device begins to hold that there; true, if it cannot be known. */
static bool device_file_holds(struct device_file *file, const void *buf, size_t len,
                              uint64_t offset)
{
    uint8_t there[DEVICE_FILE_PROOF_BYTES];
    size_t some = min_u64(len, sizeof(there));
    return pread(file->fd, there, some, (off_t)offset) != (ssize_t)some ||
           memcmp(there, buf, some) == 0;
}

/*
 * pwritev2() with RWF_DSYNC syncs only if it has written something. So one that had no memory and
 * has written nothing can be made again; else it was the sync that had none. Where the same bytes
 * were there before, it counts as that.
 */
static ssize_t device_file_write_dsync(struct device_file *file, const struct iovec *iov,
                                       uint64_t offset)
{
    unsigned tries = 0;
    for (;;)
    {
        ssize_t done = pwritev2(file->fd, iov, 1, (off_t)offset, RWF_DSYNC);
        if (done >= 0)
            return done;
        int error = errno;
        bool is_sync = (error == ENOMEM || error == EAGAIN) &&
                       device_file_holds(file, iov->iov_base, iov->iov_len, offset);
        errno = is_sync ? EIO : error;
        if (!device_file_tries_again(&tries))
            return -1;
    }
}

/*
 * A write of its own with RWF_DSYNC: the kernel writes back only this range, with what it takes to
 * find it, and flushes the cache of the disk. fdatasync(2) would write back all that others have
 * dirtied meanwhile. What is larger than a write may be goes twice: in pieces, so that the page
 * cache has it in small folios, and then as a whole.
 */
static int device_file_write_durable(struct device *device, const void *buf, size_t len,
                                     uint64_t offset)
{
    struct device_file *file = device_file_of(device);
    struct iovec whole = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len}, iov = whole;
    int r = len > DEVICE_FILE_WRITE_BYTES ? device_file_writev(device, &iov, 1, offset)
                                          : device_file_check_size(file);
    if (r < 0)
        return r;
    ssize_t done = device_file_write_dsync(file, &whole, offset);
    if (done == (ssize_t)len)
        return 0;
    if (done < 0 && errno != EOPNOTSUPP)
        return device_file_error();
    /* The file system cannot, or did only a part. */
    r = device_file_writev(device, &whole, 1, offset);
    return r < 0 ? r : device_file_sync(device);
}

static int device_file_size(struct device *device, uint64_t *size_bytes)
{
    struct device_file *file = device_file_of(device);
    if (file->is_block_device)
        return ioctl(file->fd, BLKGETSIZE64, size_bytes) < 0 ? -errno : 0;
    struct stat st;
    if (fstat(file->fd, &st) < 0)
        return -errno;
    *size_bytes = (uint64_t)st.st_size;
    return 0;
}

static int device_file_grow(struct device *device, uint64_t size_bytes)
{
    struct device_file *file = device_file_of(device);
    if (file->is_block_device)
        return -ENOTSUP;
    uint64_t present;
    int r = device_file_size(device, &present);
    if (r < 0 || present >= size_bytes)
        return r;
    if (ftruncate(file->fd, (off_t)size_bytes) < 0)
        return -errno;
    atomic_store(&file->size_bytes, size_bytes);
    return fsync(file->fd) < 0 ? -errno : 0;
}

static int device_file_shrink(struct device *device, uint64_t size_bytes)
{
    struct device_file *file = device_file_of(device);
    if (file->is_block_device)
        return -ENOTSUP;
    uint64_t present;
    int r = device_file_size(device, &present);
    if (r < 0 || present <= size_bytes)
        return r;
    uint64_t before = atomic_exchange(&file->size_bytes, size_bytes);
    if (ftruncate(file->fd, (off_t)size_bytes) < 0)
    {
        r = -errno;
        atomic_store(&file->size_bytes, before);
        return r;
    }
    return fsync(file->fd) < 0 ? -errno : 0;
}

static int device_file_free_below(struct device *device, uint64_t *bytes)
{
    struct device_file *file = device_file_of(device);
    struct statvfs below;
    if (!file->is_block_device && fstatvfs(file->fd, &below) < 0)
        return -errno;
    *bytes = file->is_block_device ? UINT64_MAX : (uint64_t)below.f_bavail * below.f_frsize;
    return 0;
}

/* The extents of [from, end), as many as fit into @map. */
static int device_file_map(struct device_file *file, struct fiemap *map, uint64_t from,
                           uint64_t end)
{
    *map = (struct fiemap){
        .fm_start = from, .fm_length = end - from, .fm_extent_count = DEVICE_FILE_EXTENTS};
    while (ioctl(file->fd, FS_IOC_FIEMAP, map) < 0)
    {
        if (errno == EOPNOTSUPP || errno == ENOTTY || errno == EBADR)
            return -EOPNOTSUPP;
        if (errno != EINTR)
            return -errno;
    }
    return 0;
}

static int device_file_find_hole(struct device *device, uint64_t offset, uint64_t end,
                                 uint64_t *hole, uint64_t *len)
{
    struct device_file *file = device_file_of(device);
    uint64_t words[(sizeof(struct fiemap) + DEVICE_FILE_EXTENTS * sizeof(struct fiemap_extent)) /
                   sizeof(uint64_t)];
    struct fiemap *map = (struct fiemap *)words;
    uint64_t at = file->is_block_device ? end : offset, hole_end = end;
    for (bool is_last = false; at < end && !is_last && hole_end == end;)
    {
        int r = device_file_map(file, map, at, end);
        if (r < 0)
            return r;
        is_last = map->fm_mapped_extents == 0;
        for (uint32_t i = 0; i < map->fm_mapped_extents && hole_end == end; i++)
        {
            const struct fiemap_extent *extent = &map->fm_extents[i];
            is_last = (extent->fe_flags & FIEMAP_EXTENT_LAST) != 0;
            if (extent->fe_logical > at)
                hole_end = min_u64(extent->fe_logical, end);
            else
                at = max_u64(at, extent->fe_logical + extent->fe_length);
        }
    }
    *hole = min_u64(at, end);
    *len = hole_end - *hole;
    return 0;
}

static int device_file_allocate(struct device *device, uint64_t len, uint64_t offset)
{
    struct device_file *file = device_file_of(device);
    if (file->is_block_device)
        return 0;
    while (fallocate(file->fd, 0, (off_t)offset, (off_t)len) < 0)
    {
        if (errno != EINTR)
            return errno == EDQUOT ? -ENOSPC : -errno;
    }
    return 0;
}

static int device_file_discard(struct device *device, uint64_t len, uint64_t offset)
{
    struct device_file *file = device_file_of(device);
    if (file->is_block_device)
    {
        uint64_t range[2] = {offset, len};
        if (ioctl(file->fd, BLKDISCARD, range) < 0)
            return errno == EOPNOTSUPP ? 0 : -errno;
        return 0;
    }
    if (fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len) <
        0)
        return errno == EOPNOTSUPP ? 0 : -errno;
    return 0;
}

static int device_file_prefetch(struct device *device, uint64_t len, uint64_t offset)
{
    return -posix_fadvise(device_file_of(device)->fd, (off_t)offset, (off_t)len,
                          POSIX_FADV_WILLNEED);
}

static int device_file_lend(struct device *device, uint64_t len, uint64_t offset, const void **at)
{
    struct device_file *file = device_file_of(device);
    return device_map_lend(&file->map, file->fd, len, offset, at);
}

static void device_file_take_back(struct device *device, uint64_t offset)
{
    device_map_take_back(&device_file_of(device)->map, offset);
}

static void device_file_close(struct device *device)
{
    struct device_file *file = device_file_of(device);
    device_map_destroy(&file->map);
    if (file->fd >= 0)
        close(file->fd);
    free(file->path);
    free(file);
}

static const struct device_ops device_file_ops = {
    .read = device_file_read,
    .writev = device_file_writev,
    .write_durable = device_file_write_durable,
    .sync = device_file_sync,
    .size = device_file_size,
    .grow = device_file_grow,
    .shrink = device_file_shrink,
    .free_below = device_file_free_below,
    .find_hole = device_file_find_hole,
    .allocate = device_file_allocate,
    .discard = device_file_discard,
    .prefetch = device_file_prefetch,
    .lend = device_file_lend,
    .take_back = device_file_take_back,
    .close = device_file_close,
};

static void cleanup_device_file(struct device_file **file)
{
    if (*file)
        device_file_close(&(*file)->device);
}

int device_file_open(const char *path, const struct device_file_options *options,
                     struct device **device, struct reason *why)
{
    CLEANUP(cleanup_device_file) struct device_file *file = calloc(1, sizeof(*file));
    if (!file)
        return -ENOMEM;
    file->fd = -1;
    file->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    device_map_init(&file->map);
    file->device.ops = &device_file_ops;
    file->device.is_dirty = true; /* by whoever had it before, perhaps */
    file->path = strdup(path);
    if (!file->path)
        return -ENOMEM;
    file->device.path = file->path;
    int flags = options->read_only ? O_RDONLY : O_RDWR;
    file->fd = open(path, flags | O_CLOEXEC | (options->create ? O_CREAT : 0), 0600);
    if (file->fd < 0)
        return reason_set(why, -errno, "cannot open pool '%s': %s", path, strerror(errno));
    struct stat st;
    if (fstat(file->fd, &st) < 0)
        return reason_set(why, -errno, "cannot look at pool '%s': %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return reason_set(why, -EINVAL, "'%s' is neither a file nor a block device", path);
    file->is_block_device = S_ISBLK(st.st_mode);
    atomic_store(&file->size_bytes, (uint64_t)st.st_size);
    if (!options->no_lock &&
        flock(file->fd, (options->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0)
        return reason_set(why, errno == EWOULDBLOCK ? -EBUSY : -errno,
                          "pool '%s' is in use by another process", path);
    if (options->create && options->size_bytes > 0 && !file->is_block_device)
    {
        int r = device_file_grow(&file->device, options->size_bytes);
        if (r < 0)
            return reason_set(why, r, "cannot make '%s' %s large: %s", path,
                              size_text(options->size_bytes).text, strerror(-r));
    }
    *device = &take_ptr(&file)->device;
    return 0;
}
