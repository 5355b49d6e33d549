/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/simdev.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "lun/base/list.h"
#include "lun/base/lock.h"
#include "tests/lib/simdev_image.h"

enum
{
    SIMDEV_LOG_ENTRIES = 1024
};

/* A write since the last sync. */
struct simdev_write
{
    struct list node;
    uint64_t offset;
    size_t len;
    uint8_t bytes[];
};

struct simdev_log_entry
{
    enum simdev_op op;
    uint64_t offset, len;
    int result;
};

struct simdev
{
    struct lock lock;
    struct rng rng;
    bool lends;
    simdev_synced *synced;
    void *synced_opaque;
    struct simdev_image current; /* what reads see */
    struct simdev_image durable; /* what a power cut cannot take away */
    struct list unsynced;        /* struct simdev_write, oldest first */
    uint64_t unsynced_count;
    uint64_t size_bytes, durable_size_bytes, limit_bytes;
    unsigned attached;
    bool is_off;
    uint64_t cut_at;  /* cut at this write or sync, counted from 1 since the beginning; 0: never */
    uint64_t changes; /* writes and syncs since the beginning */
    struct simdev_cut last_cut;
    struct simdev_fault fault;
    uint64_t fault_hits; /* calls that met the fault */
    uint64_t fault_left; /* calls of its kind until it hits */
    uint64_t counts[SIMDEV_OP_COUNT];
    uint64_t bytes_written;
    uint64_t room_blks; /* that may still get room; UINT64_MAX: there is no limit */
    bool watches_reads;
    struct simdev_image was_read; /* a byte for each block, once reads are watched */
    struct simdev_image backed;   /* a byte for each block: whether it has room */
    simdev_hook *hook;            /* set while nobody uses the disk */
    void *hook_opaque;
    simdev_watch *watch; /* likewise */
    void *watch_opaque;
    struct simdev_losses losses;
    struct simdev_log_entry log[SIMDEV_LOG_ENTRIES];
    uint64_t log_count;
};

struct simdev_device
{
    struct device device;
    struct simdev *disk;
    _Atomic unsigned lent;
};

const char *simdev_op_name(enum simdev_op op)
{
    static const char *const names[] = {"read", "write",  "sync",   "allocate",
                                        "grow", "shrink", "discard"};
    return names[op];
}

static struct simdev *simdev_of(struct device *device)
{
    return container_of(device, struct simdev_device, device)->disk;
}

/* ---- unsynced writes */

static void simdev_remember(struct simdev *disk, const void *bytes, size_t len, uint64_t offset)
{
    struct simdev_write *write = malloc(sizeof(*write) + len);
    INVARIANT(write != NULL);
    write->offset = offset;
    write->len = len;
    memcpy(write->bytes, bytes, len);
    list_add_tail(&disk->unsynced, &write->node);
    disk->unsynced_count++;
}

static void simdev_forget(struct simdev *disk, struct simdev_write *write)
{
    list_remove(&write->node);
    free(write);
    disk->unsynced_count--;
}

/* Brings those sectors of @write into @image that @percent lets through. Returns their bytes. */
static size_t simdev_apply(struct simdev_image *image, const struct simdev_write *write,
                           struct rng *rng, unsigned percent)
{
    size_t applied = 0;
    for (size_t done = 0; done < write->len;)
    {
        uint64_t offset = write->offset + done;
        size_t part =
            (size_t)min_u64(write->len - done, SIMDEV_SECTOR_BYTES - offset % SIMDEV_SECTOR_BYTES);
        if (percent >= 100)
            part = write->len - done;
        if (percent >= 100 || rng_percent(rng, percent))
        {
            simdev_image_write(image, write->bytes + done, part, offset);
            applied += part;
        }
        done += part;
    }
    return applied;
}

/* ---- room */

/* Sets the flags of blocks [first, end), or only looks. Returns how many were not @value. */
static uint64_t simdev_set_backed(struct simdev *disk, uint64_t first, uint64_t end, bool value,
                                  bool only_count)
{
    uint8_t flags[4096];
    uint64_t others = 0;
    for (uint64_t blk = first, part; blk < end; blk += part)
    {
        part = min_u64(end - blk, sizeof(flags));
        simdev_image_read(&disk->backed, flags, part, blk);
        for (uint64_t i = 0; i < part; i++)
            others += flags[i] != value;
        memset(flags, value, part);
        if (!only_count)
            simdev_image_write(&disk->backed, flags, part, blk);
    }
    return others;
}

/* Gives room to what has none of these bytes. False: there is not enough. */
static bool simdev_back(struct simdev *disk, uint64_t len, uint64_t offset)
{
    uint64_t first = offset / SIMDEV_BLK_BYTES, end = div_round_up(offset + len, SIMDEV_BLK_BYTES);
    bool is_limited = disk->room_blks != UINT64_MAX;
    if (len == 0)
        return true;
    if (is_limited && simdev_set_backed(disk, first, end, true, true) > disk->room_blks)
        return false;
    uint64_t given = simdev_set_backed(disk, first, end, true, false);
    disk->room_blks -= is_limited ? given : 0;
    return true;
}

/* Takes it from whole blocks. */
static void simdev_unback(struct simdev *disk, uint64_t len, uint64_t offset)
{
    uint64_t first = div_round_up(offset, SIMDEV_BLK_BYTES),
             end = (offset + len) / SIMDEV_BLK_BYTES;
    uint64_t taken = simdev_set_backed(disk, first, end, false, false);
    disk->room_blks += disk->room_blks != UINT64_MAX ? taken : 0;
}

void simdev_set_room(struct simdev *disk, uint64_t blks)
{
    AUTO_LOCK(&disk->lock);
    disk->room_blks = blks;
}

uint64_t simdev_room(struct simdev *disk)
{
    AUTO_LOCK(&disk->lock);
    return disk->room_blks;
}

/* A write as the device does it, whole. */
static void simdev_do_write(struct simdev *disk, const void *bytes, size_t len, uint64_t offset)
{
    simdev_image_write(&disk->current, bytes, len, offset);
    simdev_remember(disk, bytes, len, offset);
    disk->bytes_written += len;
}

static void simdev_do_sync(struct simdev *disk)
{
    list_for_each_safe (write, &disk->unsynced, struct simdev_write, node)
    {
        simdev_apply(&disk->durable, write, &disk->rng, 100);
        simdev_forget(disk, write);
    }
    disk->durable_size_bytes = disk->size_bytes;
}

/* A part of @write becomes one of its own, behind it. */
static void simdev_split(struct simdev *disk, struct simdev_write *write, uint64_t offset,
                         uint64_t end)
{
    if (offset >= end)
        return;
    struct simdev_write *part = malloc(sizeof(*part) + (end - offset));
    INVARIANT(part != NULL);
    part->offset = offset;
    part->len = end - offset;
    memcpy(part->bytes, write->bytes + (offset - write->offset), part->len);
    list_insert_between(&part->node, &write->node, write->node.next);
    disk->unsynced_count++;
}

/* Syncs bytes [offset, end) and nothing else. */
static void simdev_do_sync_range(struct simdev *disk, uint64_t offset, uint64_t end)
{
    list_for_each_safe (write, &disk->unsynced, struct simdev_write, node)
    {
        uint64_t write_end = write->offset + write->len;
        if (write->offset >= end || write_end <= offset)
            continue;
        uint64_t from = max_u64(write->offset, offset), to = min_u64(write_end, end);
        simdev_image_write(&disk->durable, write->bytes + (from - write->offset), to - from, from);
        simdev_split(disk, write, write->offset, from);
        simdev_split(disk, write, to, write_end);
        simdev_forget(disk, write);
    }
}

/* As Linux does: what was dirty counts as clean afterwards, wherever it is. */
static void simdev_fail_sync(struct simdev *disk)
{
    struct simdev_image seen = {0};
    simdev_image_copy(&seen, &disk->current);
    bool drops_cache = rng_percent(&disk->rng, 50);
    list_for_each_safe (write, &disk->unsynced, struct simdev_write, node)
    {
        if (rng_percent(&disk->rng, 50))
            simdev_apply(&disk->durable, write, &disk->rng, 100);
        simdev_forget(disk, write);
    }
    simdev_image_copy(&disk->current, drops_cache ? &disk->durable : &seen);
    simdev_image_destroy(&seen);
}

/* ---- faults and power: what every call goes through first */

static void simdev_note(struct simdev *disk, enum simdev_op op, uint64_t len, uint64_t offset,
                        int result)
{
    disk->log[disk->log_count++ % SIMDEV_LOG_ENTRIES] =
        (struct simdev_log_entry){.op = op, .offset = offset, .len = len, .result = result};
}

/* Whether the armed fault hits this call. */
static bool simdev_is_hit(struct simdev *disk, enum simdev_op op)
{
    if (disk->fault.nth == 0 || disk->fault.op != op || disk->fault_left == 0)
        return false;
    if (disk->fault_left > 1)
    {
        disk->fault_left--;
        return false;
    }
    if (!disk->fault.is_sticky)
        disk->fault_left = 0;
    disk->fault_hits++;
    return true;
}

/* True if the power goes now, or is off already. */
static bool simdev_power_fails(struct simdev *disk, enum simdev_op op, const void *bytes,
                               size_t len, uint64_t offset)
{
    if (disk->is_off)
        return true;
    if (op != SIMDEV_WRITE && op != SIMDEV_SYNC)
        return false;
    disk->changes++;
    if (disk->cut_at == 0 || disk->changes < disk->cut_at)
        return false;
    disk->is_off = true;
    disk->last_cut = (struct simdev_cut){.op = op, .offset = offset, .len = len};
    if (op == SIMDEV_WRITE)
    {
        memcpy(disk->last_cut.head, bytes, min_u64(len, sizeof(disk->last_cut.head)));
        simdev_remember(disk, bytes, len, offset);
    }
    simdev_note(disk, op, len, offset, -EIO);
    return true;
}

/* Begins a call: 0: do it; 1: the fault hits; < 0: the power is off. */
static int simdev_begin(struct simdev *disk, enum simdev_op op, const void *bytes, size_t len,
                        uint64_t offset)
{
    if (simdev_power_fails(disk, op, bytes, len, offset))
        return -EIO;
    disk->counts[op]++;
    bool is_hit = simdev_is_hit(disk, op);
    if (op != SIMDEV_READ)
        simdev_note(disk, op, len, offset, is_hit ? disk->fault.error : 0);
    return is_hit;
}

static void simdev_tell(struct simdev *disk, enum simdev_op op, const void *head, size_t len,
                        uint64_t offset)
{
    struct simdev_call call = {.op = op, .len = len, .offset = offset, .head = head};
    if (disk->watch)
        disk->watch(disk->watch_opaque, &call);
}

/* ---- device functions */

static int simdev_read(struct device *device, void *buf, size_t len, uint64_t offset)
{
    struct simdev *disk = simdev_of(device);
    simdev_tell(disk, SIMDEV_READ, NULL, len, offset);
    AUTO_LOCK(&disk->lock);
    int r = simdev_begin(disk, SIMDEV_READ, NULL, len, offset);
    if (r < 0)
        return r;
    if (!range_ok(offset, len, disk->size_bytes))
        return -EIO;
    for (uint64_t blk = offset / SIMDEV_BLK_BYTES;
         disk->watches_reads && blk < div_round_up(offset + len, SIMDEV_BLK_BYTES); blk++)
        simdev_image_write(&disk->was_read, "\1", 1, blk);
    simdev_image_read(&disk->current, buf, len, offset);
    return r > 0 ? disk->fault.error : 0;
}

static int simdev_faulty_write(struct simdev *disk, const uint8_t *bytes, size_t len,
                               uint64_t offset)
{
    switch (disk->fault.kind)
    {
    case SIMDEV_FAIL:
        return disk->fault.error;
    case SIMDEV_PARTIAL:
        len = (size_t)rng_below(&disk->rng, len);
        len -= min_u64(len, (offset + len) % SIMDEV_SECTOR_BYTES); /* a sector is whole or not */
        simdev_do_write(disk, bytes, len, offset);
        return disk->fault.error;
    case SIMDEV_LOSE:
        return 0;
    case SIMDEV_MISDIRECT:
        if (disk->fault.to != 0)
            offset = disk->fault.to;
        else if (disk->size_bytes > len)
            offset = round_down(rng_below(&disk->rng, disk->size_bytes - len), SIMDEV_SECTOR_BYTES);
        simdev_do_write(disk, bytes, len, offset);
        return 0;
    }
    return disk->fault.error;
}

static int simdev_writev(struct device *device, struct iovec *iov, int iov_count, uint64_t offset)
{
    struct simdev *disk = simdev_of(device);
    size_t len = 0;
    for (int i = 0; i < iov_count; i++)
        len += iov[i].iov_len;
    AUTO_FREE uint8_t *bytes = calloc(1, len + 16);
    INVARIANT(bytes != NULL);
    size_t at = 0;
    for (int i = 0; i < iov_count; i++)
    {
        if (iov[i].iov_len > 0)
            memcpy(bytes + at, iov[i].iov_base, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    if (disk->hook)
        disk->hook(disk->hook_opaque, SIMDEV_WRITE, bytes);
    simdev_tell(disk, SIMDEV_WRITE, bytes, len, offset);
    AUTO_LOCK(&disk->lock);
    if (!range_ok(offset, len, disk->size_bytes))
        return disk->is_off ? -EIO : -ENOSPC;
    int r = simdev_begin(disk, SIMDEV_WRITE, bytes, len, offset);
    if (r < 0)
        return r;
    if (!simdev_back(disk, len, offset))
    {
        disk->fault_hits++;
        return -ENOSPC;
    }
    if (r > 0 && len > 0)
        return simdev_faulty_write(disk, bytes, len, offset);
    simdev_do_write(disk, bytes, len, offset);
    return 0;
}

static int simdev_sync_range(struct simdev *disk, uint64_t offset, uint64_t end, bool is_all)
{
    if (disk->hook)
        disk->hook(disk->hook_opaque, SIMDEV_SYNC, NULL);
    simdev_tell(disk, SIMDEV_SYNC, NULL, 0, 0);
    AUTO_LOCK(&disk->lock);
    int r = simdev_begin(disk, SIMDEV_SYNC, NULL, 0, 0);
    if (r < 0)
        return r;
    if (r > 0 && disk->fault.kind == SIMDEV_LOSE)
        return 0;
    if (r > 0)
    {
        simdev_fail_sync(disk);
        return disk->fault.error;
    }
    if (is_all)
        simdev_do_sync(disk);
    else
        simdev_do_sync_range(disk, offset, end);
    return 0;
}

static int simdev_end_sync(struct simdev *disk, int r)
{
    if (r == 0 && disk->synced)
        disk->synced(disk->synced_opaque);
    return r;
}

static int simdev_sync(struct device *device)
{
    struct simdev *disk = simdev_of(device);
    return simdev_end_sync(disk, simdev_sync_range(disk, 0, 0, true));
}

/* A write, and a sync of what it wrote: the power can go, and a fault can hit, at either. */
static int simdev_write_durable(struct device *device, const void *buf, size_t len, uint64_t offset)
{
    struct simdev *disk = simdev_of(device);
    struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};
    int r = simdev_writev(device, &iov, 1, offset);
    if (r < 0)
        return r;
    return simdev_end_sync(disk, simdev_sync_range(disk, offset, offset + len, false));
}

static int simdev_size(struct device *device, uint64_t *size_bytes)
{
    struct simdev *disk = simdev_of(device);
    AUTO_LOCK(&disk->lock);
    if (disk->is_off)
        return -EIO;
    *size_bytes = disk->size_bytes;
    return 0;
}

static int simdev_grow(struct device *device, uint64_t size_bytes)
{
    struct simdev *disk = simdev_of(device);
    simdev_tell(disk, SIMDEV_GROW, NULL, (size_t)size_bytes, 0);
    AUTO_LOCK(&disk->lock);
    int r = simdev_begin(disk, SIMDEV_GROW, NULL, (size_t)size_bytes, 0);
    if (r != 0)
        return r < 0 ? r : disk->fault.error;
    if (size_bytes > disk->limit_bytes)
        return -ENOSPC;
    disk->size_bytes = max_u64(disk->size_bytes, size_bytes);
    return 0;
}

/* As ftruncate(2) and fsync(2). */
static int simdev_shrink(struct device *device, uint64_t size_bytes)
{
    struct simdev *disk = simdev_of(device);
    AUTO_LOCK(&disk->lock);
    int r = simdev_begin(disk, SIMDEV_SHRINK, NULL, (size_t)size_bytes, 0);
    if (r != 0)
        return r < 0 ? r : disk->fault.error;
    static const uint8_t zeros[SIMDEV_BLK_BYTES];
    for (uint64_t at = size_bytes; at < disk->size_bytes; at += sizeof(zeros))
    {
        uint64_t blk = at / SIMDEV_BLK_BYTES;
        if (simdev_set_backed(disk, blk, blk + 1, true, true) == 0)
            simdev_do_write(disk, zeros, min_u64(sizeof(zeros), disk->size_bytes - at), at);
    }
    if (size_bytes < disk->size_bytes)
        simdev_unback(disk, disk->size_bytes - size_bytes, size_bytes);
    disk->size_bytes = min_u64(disk->size_bytes, size_bytes);
    simdev_do_sync(disk);
    return 0;
}

static int simdev_free_below(struct device *device, uint64_t *bytes)
{
    struct simdev *disk = simdev_of(device);
    AUTO_LOCK(&disk->lock);
    if (disk->is_off)
        return -EIO;
    bool is_limited = disk->room_blks != UINT64_MAX;
    *bytes = is_limited ? disk->room_blks * SIMDEV_BLK_BYTES : INT64_MAX;
    return 0;
}

static int simdev_find_hole(struct device *device, uint64_t offset, uint64_t end, uint64_t *hole,
                            uint64_t *len)
{
    struct simdev *disk = simdev_of(device);
    AUTO_LOCK(&disk->lock);
    if (disk->is_off)
        return -EIO;
    uint64_t blk = offset / SIMDEV_BLK_BYTES, last = div_round_up(end, SIMDEV_BLK_BYTES);
    while (blk < last && simdev_set_backed(disk, blk, blk + 1, true, true) == 0)
        blk++;
    *hole = min_u64(max_u64(blk * SIMDEV_BLK_BYTES, offset), end);
    while (blk < last && simdev_set_backed(disk, blk, blk + 1, true, true) == 1)
        blk++;
    *len = min_u64(max_u64(blk * SIMDEV_BLK_BYTES, *hole), end) - *hole;
    return 0;
}

static int simdev_allocate(struct device *device, uint64_t len, uint64_t offset)
{
    struct simdev *disk = simdev_of(device);
    simdev_tell(disk, SIMDEV_ALLOCATE, NULL, (size_t)len, offset);
    AUTO_LOCK(&disk->lock);
    int r = simdev_begin(disk, SIMDEV_ALLOCATE, NULL, (size_t)len, offset);
    if (r != 0)
        return r > 0 ? disk->fault.error : r;
    if (simdev_back(disk, len, offset))
        return 0;
    disk->fault_hits++;
    return -ENOSPC;
}

/* Leaves the content, zeros, or rubbish, by whole sectors. */
static int simdev_discard(struct device *device, uint64_t len, uint64_t offset)
{
    struct simdev *disk = simdev_of(device);
    simdev_tell(disk, SIMDEV_DISCARD, NULL, (size_t)len, offset);
    AUTO_LOCK(&disk->lock);
    int r = simdev_begin(disk, SIMDEV_DISCARD, NULL, (size_t)len, offset);
    if (r != 0)
        return r < 0 ? r : disk->fault.error;
    if (!range_ok(offset, len, disk->size_bytes))
        return -EINVAL;
    simdev_unback(disk, len, offset);
    unsigned kind = (unsigned)rng_below(&disk->rng, 3);
    if (kind == 0 || len == 0)
        return 0;
    AUTO_FREE uint8_t *bytes = malloc(len);
    INVARIANT(bytes != NULL);
    memset(bytes, kind == 1 ? 0 : 0xd5, len);
    simdev_do_write(disk, bytes, len, offset);
    return 0;
}

static int simdev_prefetch(struct device *device, uint64_t len, uint64_t offset)
{
    (void)device, (void)len, (void)offset;
    return 0;
}

/* What lends reads again where the bytes lie; nobody looks at where that is in memory. */
static int simdev_lend(struct device *device, uint64_t len, uint64_t offset, const void **at)
{
    struct simdev_device *own = container_of(device, struct simdev_device, device);
    (void)len, (void)offset;
    if (!own->disk->lends || simdev_is_off(own->disk))
        return -EAGAIN;
    atomic_fetch_add(&own->lent, 1);
    *at = own;
    return 0;
}

static void simdev_take_back(struct device *device, uint64_t offset)
{
    struct simdev_device *own = container_of(device, struct simdev_device, device);
    (void)offset;
    atomic_fetch_sub(&own->lent, 1);
}

void simdev_set_lending(struct simdev *disk, bool lends)
{
    disk->lends = lends;
}

static void simdev_close(struct device *device)
{
    struct simdev_device *own = container_of(device, struct simdev_device, device);
    {
        AUTO_LOCK(&own->disk->lock);
        own->disk->attached--;
    }
    INVARIANT(atomic_load(&own->lent) == 0);
    free(own);
}

/* ---- making and attaching */

struct simdev *simdev_new(uint64_t size_bytes, uint64_t limit_bytes, uint64_t seed)
{
    struct simdev *disk = calloc(1, sizeof(*disk));
    INVARIANT(disk != NULL);
    lock_init(&disk->lock, LOCK_RANK_LEAF);
    list_init(&disk->unsynced);
    disk->rng = rng_of(seed);
    disk->size_bytes = disk->durable_size_bytes = size_bytes;
    disk->limit_bytes = max_u64(size_bytes, limit_bytes);
    disk->room_blks = UINT64_MAX;
    return disk;
}

struct simdev *simdev_copy(struct simdev *disk, uint64_t seed)
{
    AUTO_LOCK(&disk->lock);
    struct simdev *copy = simdev_new(disk->size_bytes, disk->limit_bytes, seed);
    copy->durable_size_bytes = disk->durable_size_bytes;
    simdev_image_copy(&copy->current, &disk->current);
    simdev_image_copy(&copy->durable, &disk->durable);
    copy->room_blks = disk->room_blks;
    simdev_image_copy(&copy->backed, &disk->backed);
    list_for_each (write, &disk->unsynced, struct simdev_write, node)
    {
        simdev_remember(copy, write->bytes, write->len, write->offset);
    }
    return copy;
}

void simdev_destroy(struct simdev *disk)
{
    if (!disk)
        return;
    INVARIANT(disk->attached == 0);
    list_for_each_safe (write, &disk->unsynced, struct simdev_write, node)
    {
        simdev_forget(disk, write);
    }
    simdev_image_destroy(&disk->current);
    simdev_image_destroy(&disk->durable);
    simdev_image_destroy(&disk->was_read);
    simdev_image_destroy(&disk->backed);
    lock_destroy(&disk->lock);
    free(disk);
}

struct device *simdev_open(struct simdev *disk)
{
    static const struct device_ops ops = {
        .read = simdev_read,
        .writev = simdev_writev,
        .write_durable = simdev_write_durable,
        .sync = simdev_sync,
        .size = simdev_size,
        .grow = simdev_grow,
        .shrink = simdev_shrink,
        .free_below = simdev_free_below,
        .find_hole = simdev_find_hole,
        .allocate = simdev_allocate,
        .discard = simdev_discard,
        .prefetch = simdev_prefetch,
        .lend = simdev_lend,
        .take_back = simdev_take_back,
        .close = simdev_close,
    };
    struct simdev_device *own = calloc(1, sizeof(*own));
    INVARIANT(own != NULL);
    own->device.ops = &ops;
    own->device.path = "simdev";
    own->device.is_dirty = true;
    own->disk = disk;
    AUTO_LOCK(&disk->lock);
    disk->attached++;
    return &own->device;
}

/* ---- power */

struct simdev_crash_policy simdev_random_policy(struct rng *rng)
{
    static const unsigned keeps[] = {0, 10, 50, 90, 100};
    static const unsigned tears[] = {0, 0, 20, 100};
    return (struct simdev_crash_policy){
        .keep_percent = keeps[rng_below(rng, ARRAY_SIZE(keeps))],
        .tear_percent = tears[rng_below(rng, ARRAY_SIZE(tears))],
    };
}

void simdev_cut_power(struct simdev *disk)
{
    AUTO_LOCK(&disk->lock);
    disk->is_off = true;
}

void simdev_cut_power_at(struct simdev *disk, uint64_t number)
{
    AUTO_LOCK(&disk->lock);
    disk->cut_at = number ? disk->changes + number : 0;
}

bool simdev_is_off(struct simdev *disk)
{
    AUTO_LOCK(&disk->lock);
    return disk->is_off;
}

struct simdev_cut simdev_last_cut(struct simdev *disk)
{
    AUTO_LOCK(&disk->lock);
    return disk->last_cut;
}

void simdev_restart(struct simdev *disk, struct rng *rng, const struct simdev_crash_policy *policy)
{
    AUTO_LOCK(&disk->lock);
    INVARIANT(disk->attached == 0);
    /* The size of a file may go back with the writes that were not synced after it changed. */
    if (disk->size_bytes != disk->durable_size_bytes && !rng_percent(rng, policy->keep_percent))
        disk->size_bytes = disk->durable_size_bytes;
    disk->losses = (struct simdev_losses){0};
    list_for_each_safe (write, &disk->unsynced, struct simdev_write, node)
    {
        size_t kept = 0;
        if (write->offset + write->len <= disk->size_bytes &&
            rng_percent(rng, policy->keep_percent))
            kept = simdev_apply(&disk->durable, write, rng,
                                rng_percent(rng, policy->tear_percent) ? 50 : 100);
        disk->losses.reordered += kept > 0 && disk->losses.dropped > 0;
        disk->losses.torn += kept > 0 && kept < write->len;
        disk->losses.dropped += kept == 0;
        simdev_forget(disk, write);
    }
    simdev_image_copy(&disk->current, &disk->durable);
    disk->durable_size_bytes = disk->size_bytes;
    disk->is_off = false;
    disk->cut_at = 0;
}

struct simdev_losses simdev_last_losses(struct simdev *disk)
{
    AUTO_LOCK(&disk->lock);
    return disk->losses;
}

/* ---- faults */

void simdev_arm(struct simdev *disk, const struct simdev_fault *fault)
{
    AUTO_LOCK(&disk->lock);
    disk->fault = fault ? *fault : (struct simdev_fault){0};
    disk->fault_left = disk->fault.nth;
    disk->fault_hits = 0;
}

uint64_t simdev_fault_hits(struct simdev *disk)
{
    AUTO_LOCK(&disk->lock);
    return disk->fault_hits;
}

void simdev_rot(struct simdev *disk, struct rng *rng, unsigned bits, uint64_t len, uint64_t offset)
{
    AUTO_LOCK(&disk->lock);
    for (unsigned i = 0; i < bits; i++)
    {
        uint64_t at = offset + rng_below(rng, len);
        uint8_t flip = (uint8_t)(1u << rng_below(rng, 8));
        uint8_t byte;
        simdev_image_read(&disk->current, &byte, 1, at);
        byte ^= flip;
        simdev_image_write(&disk->current, &byte, 1, at);
        simdev_image_read(&disk->durable, &byte, 1, at);
        byte ^= flip;
        simdev_image_write(&disk->durable, &byte, 1, at);
    }
}

void simdev_set_synced(struct simdev *disk, simdev_synced *synced, void *opaque)
{
    disk->synced = synced;
    disk->synced_opaque = opaque;
}

void simdev_set_hook(struct simdev *disk, simdev_hook *hook, void *opaque)
{
    AUTO_LOCK(&disk->lock);
    disk->hook = hook;
    disk->hook_opaque = opaque;
}

void simdev_set_watch(struct simdev *disk, simdev_watch *watch, void *opaque)
{
    AUTO_LOCK(&disk->lock);
    disk->watch = watch;
    disk->watch_opaque = opaque;
}

/* ---- looking */

uint64_t simdev_count(struct simdev *disk, enum simdev_op op)
{
    AUTO_LOCK(&disk->lock);
    return disk->counts[op];
}

uint64_t simdev_unsynced_count(struct simdev *disk)
{
    AUTO_LOCK(&disk->lock);
    return disk->unsynced_count;
}

uint64_t simdev_bytes_written(struct simdev *disk)
{
    AUTO_LOCK(&disk->lock);
    return disk->bytes_written;
}

void simdev_watch_reads(struct simdev *disk)
{
    AUTO_LOCK(&disk->lock);
    disk->watches_reads = true;
}

bool simdev_was_read(struct simdev *disk, uint64_t blk)
{
    AUTO_LOCK(&disk->lock);
    uint8_t flag;
    simdev_image_read(&disk->was_read, &flag, 1, blk);
    return flag != 0;
}

void simdev_peek(struct simdev *disk, void *buf, size_t len, uint64_t offset)
{
    AUTO_LOCK(&disk->lock);
    simdev_image_read(&disk->current, buf, len, offset);
}

void simdev_poke(struct simdev *disk, const void *bytes, size_t len, uint64_t offset)
{
    AUTO_LOCK(&disk->lock);
    simdev_image_write(&disk->current, bytes, len, offset);
    simdev_image_write(&disk->durable, bytes, len, offset);
}

void simdev_print_log(struct simdev *disk, FILE *out)
{
    AUTO_LOCK(&disk->lock);
    uint64_t kept = min_u64(disk->log_count, SIMDEV_LOG_ENTRIES);
    for (uint64_t i = disk->log_count - kept; i < disk->log_count; i++)
    {
        const struct simdev_log_entry *entry = &disk->log[i % SIMDEV_LOG_ENTRIES];
        fprintf(out, "  %" PRIu64 " %s", i, simdev_op_name(entry->op));
        if (entry->op != SIMDEV_SYNC)
            fprintf(out, " block %" PRIu64 " + %" PRIu64 ", %" PRIu64 " bytes",
                    entry->offset / 4096, entry->offset % 4096, entry->len);
        if (entry->result < 0)
            fprintf(out, ": %s", strerror(-entry->result));
        fputc('\n', out);
    }
}
