/* SPDX-License-Identifier: BSD-3-Clause */
/* Making a pool: one superblock is all that an empty one needs. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/size_text.h"
#include "lun/pool/checkpoint.h"
#include "lun/pool/pool_internal.h"
#include "lun/pool/room.h"
#include "lun/volume/names.h"

enum
{
    CREATE_GROUPS_MIN = 8,           /* a small pool gets smaller groups */
    CREATE_JOURNAL_HALF_BLKS = 4096, /* 16 MiB */
    CREATE_PROBE_BYTES = 128 << 10,  /* where signatures of other things are looked for */
};

#define CREATE_SIZE_MIN_BYTES (UINT64_C(8) << 20)

static uint32_t create_group_blks(uint64_t size_blks)
{
    uint64_t group = size_blks / CREATE_GROUPS_MIN / 64 * 64;
    group = max_u64(group, DISK_GROUP_BLKS_MIN);
    return (uint32_t)min_u64(group, DISK_GROUP_BLKS_MAX);
}

static uint64_t create_journal_half_blks(uint64_t journal_bytes, uint32_t group_blks)
{
    uint64_t most = (group_blks - DISK_GROUP_HEAD_BLKS) / 4;
    uint64_t wanted = journal_bytes ? journal_bytes / 2 / BLK_BYTES : CREATE_JOURNAL_HALF_BLKS;
    return max_u64(2, min_u64(wanted, most));
}

void pool_size_for_record(uint64_t bytes, uint64_t *journal_bytes, uint64_t *pool_bytes)
{
    uint64_t half_blks =
        div_round_up(bytes + JOURNAL_RECORD_BYTES + JOURNAL_SLACK_BYTES, BLK_BYTES);
    uint64_t group_blks = div_round_up(4 * half_blks + DISK_GROUP_HEAD_BLKS, 64) * 64;
    *journal_bytes = 2 * half_blks * BLK_BYTES;
    *pool_bytes = CREATE_GROUPS_MIN * group_blks * BLK_BYTES;
}

/* Whether there is anything but zeros where pools, file systems and tables have their signatures.
 */
static int create_check_empty(struct device *device, uint64_t device_bytes, struct reason *why)
{
    size_t len = (size_t)min_u64(CREATE_PROBE_BYTES, device_bytes);
    AUTO_FREE uint8_t *bytes = calloc(1, CREATE_PROBE_BYTES); /* a header, however short it is */
    if (!bytes)
        return -ENOMEM;
    int r = device_read(device, bytes, len, 0);
    for (size_t i = 0; r == 0 && i < len; i++)
    {
        if (bytes[i] == 0)
            continue;
        bool is_pool = le32_get(((struct disk_header *)bytes)->magic) == DISK_MAGIC_SUPER;
        return reason_set(
            why, -EEXIST, "'%s' holds %s; --overwrite makes a new pool over it, and destroys that",
            device->path ? device->path : "the device", is_pool ? "a Lunette pool" : "data");
    }
    return r;
}

static int create_fill_super(struct env *env, const struct pool_create_options *options,
                             uint64_t size_bytes, const char *path, struct disk_super *super,
                             struct reason *why)
{
    uint64_t size_blks = size_bytes / BLK_BYTES;
    uint32_t group = options->group_blks ? options->group_blks : create_group_blks(size_blks);
    if (group < DISK_GROUP_BLKS_MIN || group > DISK_GROUP_BLKS_MAX)
        return reason_set(why, -EINVAL, "an allocation group has %d to %d blocks, not %u",
                          DISK_GROUP_BLKS_MIN, DISK_GROUP_BLKS_MAX, group);
    size_blks = size_blks / group * group;
    if (size_bytes < CREATE_SIZE_MIN_BYTES && !options->group_blks)
        return reason_set(why, -EINVAL, "a pool needs at least 8 MiB, '%s' would have %s", path,
                          size_text(size_bytes).text);
    if (size_blks < 2 * (uint64_t)group || size_blks >> DISK_BLK_BITS)
        return reason_set(why, -EINVAL, "a pool of %s is too %s", size_text(size_bytes).text,
                          size_blks >> DISK_BLK_BITS ? "large" : "small");
    memset(super, 0, sizeof(*super));
    super->version = le32_put(DISK_VERSION);
    super->feature_incompat = le64_put(DISK_FEATURES_ALWAYS);
    super->created_ns = le64_put(env->now_ns(env));
    super->size_blks = le64_put(size_blks);
    super->group_blks = le32_put(group);
    super->flags = le32_put(DISK_SUPER_CLEAN);
    super->journal_blk = le64_put(space_journal_first_blk());
    super->journal_half_blks = le64_put(create_journal_half_blks(options->journal_bytes, group));
    super->generation = le32_put(1);
    super->next_id = le64_put(1);
    uint64_t journal_id;
    env->random_bytes(env, super->uuid, sizeof(super->uuid));
    env->random_bytes(env, &journal_id, sizeof(journal_id));
    super->journal_id = le64_put(journal_id);
    const char *slash = strrchr(path, '/');
    snprintf((char *)super->name, sizeof(super->name), "%s",
             options->name ? options->name
             : slash       ? slash + 1
                           : path);
    return 0;
}

static struct space_shape create_shape(const struct disk_super *super)
{
    return (struct space_shape){.size_blks = le64_get(super->size_blks),
                                .group_blks = le32_get(super->group_blks),
                                .journal_half_blks = le64_get(super->journal_half_blks)};
}

/* Space below for what must always be writable, or for all. */
static int create_allocate(struct device *device, const struct disk_super *super, bool all,
                           struct reason *why)
{
    struct space_shape shape = create_shape(super);
    int r = all ? space_allocate_range(device, shape.size_blks * BLK_BYTES, 0)
                : space_allocate(device, &shape, 0);
    if (r < 0)
        return reason_set(why, r, "the file system below has no room for pool '%s': %s",
                          device->path ? device->path : "", strerror(-r));
    return 0;
}

static int create_add_cb(void *opaque, uint64_t len, uint64_t offset)
{
    return room_add(opaque, len, offset);
}

/* Whether the file system below has that space. */
static int create_ask(struct room *room, struct device *device, const struct disk_super *super,
                      bool all, struct reason *why)
{
    struct space_shape shape = create_shape(super);
    int r = room_begin(room, device, NULL);
    if (r == 0)
        r = all ? room_add(room, shape.size_blks * BLK_BYTES, 0)
                : space_each_fixed(&shape, 0, create_add_cb, room);
    if (r == 0 && !room_is_enough(room))
        r = reason_set(why, -ENOSPC,
                       "the file system below has no room for pool '%s': it takes %s%s, and %s "
                       "are free",
                       device->path ? device->path : "", size_text(room->needed_bytes).text,
                       all ? "" : " for its metadata", size_text(room->free_bytes).text);
    return r;
}

/* Old copies elsewhere must not outlive the new pool's. */
static int create_write(struct pool *pool, struct disk_super *super)
{
    AUTO_FREE uint8_t *zeros = aligned_alloc(BLK_BYTES, BLK_BYTES);
    if (!zeros)
        return -ENOMEM;
    memset(zeros, 0, BLK_BYTES);
    uint64_t journal = 2 * le64_get(super->journal_half_blks);
    int r = 0;
    for (uint64_t blk = 0; r == 0 && blk < DISK_GROUP_HEAD_BLKS + journal; blk++)
        r = device_write(pool->device, zeros, BLK_BYTES, blk * BLK_BYTES);
    for (uint64_t blk = pool->group_blks; r == 0 && blk < pool->group_blks + DISK_GROUP_HEAD_BLKS;
         blk++)
        r = device_write(pool->device, zeros, BLK_BYTES, blk * BLK_BYTES);
    /* Two ids, so that all four copies are there from the first. */
    for (uint64_t cp_id = 1; r == 0 && cp_id <= 2; cp_id++)
    {
        super->header.cp_id = le64_put(cp_id);
        r = checkpoint_write_super(pool, super);
    }
    return r;
}

static int create_grow(struct device *device, uint64_t size_bytes, const char *path,
                       struct reason *why)
{
    int r = device->ops->grow(device, size_bytes);
    if (r < 0)
        return reason_set(why, r, "'%s' cannot be made %s large: %s", path,
                          size_text(size_bytes).text, strerror(-r));
    return 0;
}

int pool_create_on_device(struct env *env, struct device *device,
                          const struct pool_create_options *options, struct reason *why)
{
    reason_clear(why);
    const char *path = device->path ? device->path : "(device)";
    uint64_t device_bytes;
    int r = device->ops->size(device, &device_bytes);
    if (r < 0)
        return reason_set(why, r, "the size of '%s' cannot be told: %s", path, strerror(-r));
    if (options->name)
        r = name_check(options->name, "pool", why);
    if (r == 0 && !options->overwrite)
        r = create_check_empty(device, device_bytes, why);
    AUTO_FREE struct disk_super *super = aligned_alloc(BLK_BYTES, BLK_BYTES);
    AUTO_FREE struct pool *pool = calloc(1, sizeof(*pool));
    if (!super || !pool)
        return -ENOMEM;
    if (r == 0)
        r = create_fill_super(env, options,
                              options->size_bytes ? options->size_bytes : device_bytes, path, super,
                              why);
    CLEANUP(room_end) struct room room = {0};
    if (r == 0)
        r = create_ask(&room, device, super, options->preallocate, why);
    if (r < 0)
        return r;
    /* Only now: what is refused above leaves somebody's file as it was. */
    if (options->size_bytes > device_bytes)
        r = create_grow(device, options->size_bytes, path, why);
    if (r == 0)
        r = create_allocate(device, super, options->preallocate, why);
    if (r < 0)
    {
        room_give_back(&room);
        return r;
    }
    pool->env = env;
    pool->device = device;
    pool->path = (char *)(uintptr_t)path;
    pool->group_blks = le32_get(super->group_blks);
    env->random_bytes(env, &pool->pool_id, sizeof(pool->pool_id));
    r = create_write(pool, super);
    if (r < 0)
        return reason_set(why, r, "pool '%s' could not be written: %s", path, strerror(-r));
    return 0;
}

/* What pool_create() would refuse, of a path that may not be there. */
static int create_dry_run(struct env *env, const char *path, bool is_new,
                          const struct pool_create_options *options, struct reason *why)
{
    struct device *device = NULL;
    uint64_t device_bytes = 0;
    struct device_file_options device_options = {.read_only = true};
    AUTO_FREE struct disk_super *super = aligned_alloc(BLK_BYTES, BLK_BYTES);
    int r = super ? 0 : -ENOMEM;
    if (r == 0 && options->name)
        r = name_check(options->name, "pool", why);
    if (r == 0 && !is_new)
        r = device_file_open(path, &device_options, &device, why);
    if (r == 0 && device)
        r = device->ops->size(device, &device_bytes);
    if (r == 0 && device && !options->overwrite)
        r = create_check_empty(device, device_bytes, why);
    if (device)
        device_close(device);
    if (r == 0)
        r = create_fill_super(env, options,
                              options->size_bytes ? options->size_bytes : device_bytes, path, super,
                              why);
    return r;
}

int pool_create(struct env *env, const char *path, const struct pool_create_options *options,
                struct reason *why)
{
    reason_clear(why);
    struct stat st;
    bool is_new = stat(path, &st) < 0;
    if (is_new && options->size_bytes == 0)
        return reason_set(why, -EINVAL, "a pool in the new file '%s' needs a size", path);
    if (options->dry_run)
        return create_dry_run(env, path, is_new, options, why);
    struct device_file_options device_options = {.create = true};
    struct device *device;
    int r = device_file_open(path, &device_options, &device, why);
    if (r < 0)
        return r;
    r = pool_create_on_device(env, device, options, why);
    device_close(device);
    if (r < 0 && is_new)
        ignore_error(remove(path), "what could not become a pool is not left behind");
    return r;
}
