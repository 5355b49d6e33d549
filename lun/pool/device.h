/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a pool's bytes live: a table of functions. device_file.c is the real one; tests have
 * simulated ones. Nothing else in lun/ does I/O.
 *
 * All functions are thread-safe, take bytes, and return 0 or a negative errno. A transfer is whole
 * or failed; after a failed write any part of its range may have changed. What was written is seen
 * by reads at once, and is durable when a device_sync() that began after its return has returned 0.
 * -EAGAIN is no error of theirs but lend()'s. After -ENOMEM it was tried often enough.
 */
#ifndef LUN_POOL_DEVICE_H
#define LUN_POOL_DEVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "lun/base/err.h"

struct device;

struct device_ops
{
    int (*read)(struct device *device, void *buf, size_t len, uint64_t offset);
    /* @iov may be changed by the call. */
    int (*writev)(struct device *device, struct iovec *iov, int iov_count, uint64_t offset);
    /* As writev, and what it wrote is durable when it returns 0; of what else was written nothing
     * is said. An error may be one of a sync: see there. */
    int (*write_durable)(struct device *device, const void *buf, size_t len, uint64_t offset);
    int (*sync)(struct device *device);
    /* Bytes it has now. */
    int (*size)(struct device *device, uint64_t *size_bytes);
    /* Makes it at least that large. -ENOTSUP for a block device, -ENOSPC when there is no room. */
    int (*grow)(struct device *device, uint64_t size_bytes);
    /* Makes it that small again; what lay behind is gone, and its room below free. -ENOTSUP for a
     * block device. */
    int (*shrink)(struct device *device, uint64_t size_bytes);
    /* Bytes that are free below. UINT64_MAX: a block device, which has all its room. */
    int (*free_below)(struct device *device, uint64_t *bytes);
    /* The first part of [offset, end) that allocate() would have to take room for; *len 0: none.
     * -EOPNOTSUPP: the file system does not tell. */
    int (*find_hole)(struct device *device, uint64_t offset, uint64_t end, uint64_t *hole,
                     uint64_t *len);
    /* Makes sure that writes to the range never fail for space. A no-op on a block device. What
     * fails may have taken some of it.
     * -EOPNOTSUPP: the file system gives room only to what is written. */
    int (*allocate)(struct device *device, uint64_t len, uint64_t offset);
    /* A hint: the content is no longer needed; afterwards it reads as anything. */
    int (*discard)(struct device *device, uint64_t len, uint64_t offset);
    /* A hint: the range will be read soon. */
    int (*prefetch)(struct device *device, uint64_t len, uint64_t offset);
    /*
     * The bytes of the range where they lie in memory, for system calls to read from; the process
     * itself never touches them: what is gone from the device by then is an EFAULT there, and would
     * be a SIGBUS here. They are what read() gives at the moment of the call. Valid until
     * take_back(). Never waits for the device. -EAGAIN: not now (not in memory, for one).
     * Both NULL: the device lends nothing.
     */
    int (*lend)(struct device *device, uint64_t len, uint64_t offset, const void **at);
    void (*take_back)(struct device *device, uint64_t offset);
    void (*close)(struct device *device);
};

struct device
{
    const struct device_ops *ops;
    const char *path;      /* for messages; owned by the implementation */
    _Atomic bool is_dirty; /* something was done that a sync makes durable; device_take_dirty() */
};

static inline void device_note_dirty(struct device *device)
{
    if (!atomic_load(&device->is_dirty)) /* writers that only look do not disturb each other */
        atomic_store(&device->is_dirty, true);
}

/* Whether anything was written since the last call. For one caller, who syncs next. */
static inline bool device_take_dirty(struct device *device)
{
    return atomic_exchange(&device->is_dirty, false);
}

static inline int device_read(struct device *device, void *buf, size_t len, uint64_t offset)
{
    return device->ops->read(device, buf, len, offset);
}

static inline int device_writev(struct device *device, struct iovec *iov, int iov_count,
                                uint64_t offset)
{
    int r = device->ops->writev(device, iov, iov_count, offset);
    device_note_dirty(device);
    return r;
}

static inline int device_write(struct device *device, const void *buf, size_t len, uint64_t offset)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};
    return device_writev(device, &iov, 1, offset);
}

static inline int device_write_durable(struct device *device, const void *buf, size_t len,
                                       uint64_t offset)
{
    return device->ops->write_durable(device, buf, len, offset);
}

static inline int device_allocate(struct device *device, uint64_t len, uint64_t offset)
{
    int r = device->ops->allocate(device, len, offset);
    device_note_dirty(device);
    return r;
}

static inline int device_sync(struct device *device)
{
    return device->ops->sync(device);
}

static inline void device_close(struct device *device)
{
    if (device)
        device->ops->close(device);
}

struct device_file_options
{
    bool create; /* makes the file if it is not there */
    bool read_only;
    bool no_lock;        /* only to look who holds it */
    uint64_t size_bytes; /* with create: its size, if larger than it is */
};

/*
 * A file or block device, locked for this process (flock: exclusive, or shared when read-only).
 * -EBUSY: somebody has it; the superblock says who.
 */
MUST_CHECK int device_file_open(const char *path, const struct device_file_options *options,
                                struct device **device, struct reason *why);

#endif
