/* SPDX-License-Identifier: BSD-3-Clause */
/* What is spared of the engine, see no_memory.h. */
#include "lun/pool/device.h"
#include "lun/pool/record.h"
#include "tests/lib/no_memory.h"

int __real_record_apply(struct change *change, const void *actions, size_t len);
int __wrap_record_apply(struct change *change, const void *actions, size_t len);

int __wrap_record_apply(struct change *change, const void *actions, size_t len)
{
    bool was_armed = memory_spare();
    int r = __real_record_apply(change, actions, len);
    memory_unspare(was_armed);
    return r;
}

static const struct device_ops *disk_ops;
static struct device_ops spared_ops;

static int spared_read(struct device *device, void *buf, size_t len, uint64_t offset)
{
    bool was_armed = memory_spare();
    int r = disk_ops->read(device, buf, len, offset);
    memory_unspare(was_armed);
    return r;
}

static int spared_writev(struct device *device, struct iovec *iov, int iov_count, uint64_t offset)
{
    bool was_armed = memory_spare();
    int r = disk_ops->writev(device, iov, iov_count, offset);
    memory_unspare(was_armed);
    return r;
}

static int spared_write_durable(struct device *device, const void *buf, size_t len, uint64_t offset)
{
    bool was_armed = memory_spare();
    int r = disk_ops->write_durable(device, buf, len, offset);
    memory_unspare(was_armed);
    return r;
}

static int spared_sync(struct device *device)
{
    bool was_armed = memory_spare();
    int r = disk_ops->sync(device);
    memory_unspare(was_armed);
    return r;
}

static int spared_discard(struct device *device, uint64_t len, uint64_t offset)
{
    bool was_armed = memory_spare();
    int r = disk_ops->discard(device, len, offset);
    memory_unspare(was_armed);
    return r;
}

static int spared_allocate(struct device *device, uint64_t len, uint64_t offset)
{
    bool was_armed = memory_spare();
    int r = disk_ops->allocate(device, len, offset);
    memory_unspare(was_armed);
    return r;
}

static int spared_grow(struct device *device, uint64_t size_bytes)
{
    bool was_armed = memory_spare();
    int r = disk_ops->grow(device, size_bytes);
    memory_unspare(was_armed);
    return r;
}

static int spared_shrink(struct device *device, uint64_t size_bytes)
{
    bool was_armed = memory_spare();
    int r = disk_ops->shrink(device, size_bytes);
    memory_unspare(was_armed);
    return r;
}

void memory_spare_disk(struct device *device)
{
    disk_ops = device->ops == &spared_ops ? disk_ops : device->ops;
    spared_ops = *disk_ops;
    spared_ops.read = spared_read;
    spared_ops.writev = spared_writev;
    spared_ops.write_durable = spared_write_durable;
    spared_ops.sync = spared_sync;
    spared_ops.discard = spared_discard;
    spared_ops.allocate = spared_allocate;
    spared_ops.grow = disk_ops->grow ? spared_grow : NULL;
    spared_ops.shrink = disk_ops->shrink ? spared_shrink : NULL;
    device->ops = &spared_ops;
}
