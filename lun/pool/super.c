/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/pool/super.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/crc32c.h"
#include "lun/base/env.h"
#include "lun/base/size_text.h"
#include "lun/lun.h"
#include "lun/pool/pool_internal.h"
#include "lun/pool/space.h"

/* ---- reading ------------------------------------------------------------------------------- */

static bool super_is_intact(const struct disk_super *super)
{
    struct disk_super copy = *super;
    copy.header.crc32c = le32_put(0);
    return le32_get(super->header.magic) == DISK_MAGIC_SUPER &&
           crc32c(0, &copy, sizeof(copy)) == le32_get(super->header.crc32c);
}

static bool super_is_valid(const struct disk_super *super, uint64_t blk)
{
    return super_is_intact(super) && le64_get(super->header.blk) == blk;
}

/* The newest copy that was met. All are read into one block, taken before the first: one that was
 * passed over for want of memory could have been the newest. */
struct super_search
{
    struct pool *pool;
    struct disk_super *copy, *best;
    bool found;
    unsigned valid, unread; /* a bit for each copy; unread: the device gave an error */
};

/* Reads copy number @i, at @blk; keeps it if it is newer. */
static void super_consider(struct super_search *search, unsigned i, uint64_t blk)
{
    struct disk_super *copy = search->copy, *best = search->best;
    int r = device_read(search->pool->device, copy, BLK_BYTES, blk * BLK_BYTES);
    bool is_valid = r == 0 && super_is_valid(copy, blk);
    search->valid = (search->valid & ~(1u << i)) | (unsigned)is_valid << i;
    search->unread = (search->unread & ~(1u << i)) | (unsigned)(r < 0) << i;
    if (is_valid && (!search->found || le64_get(copy->header.cp_id) > le64_get(best->header.cp_id)))
    {
        *best = *copy;
        search->found = true;
    }
}

static void super_consider_group(struct super_search *search, unsigned group, uint64_t first_blk)
{
    super_consider(search, 2 * group, first_blk + DISK_HEAD_SUPER);
    super_consider(search, 2 * group + 1, first_blk + DISK_HEAD_SUPER + 1);
}

/* Whether the checkpoint behind the best one may be there: nothing of its copies can be seen, and
 * one gave an error that may be over the next time. */
static bool super_may_be_newer(const struct super_search *search)
{
    unsigned other = (le64_get(search->best->header.cp_id) & 1) ^ 1u;
    unsigned copies = 1u << other | 4u << other;
    return !(search->valid & copies) && (search->unread & copies);
}

/*
 * Copies are in groups 0 and 1. Where group 1 is, a copy of group 0 says; if both of those are
 * gone, group 1 is looked for where it can begin: groups are as large as create.c makes them, a
 * multiple of 64 blocks or the most there can be. -EBADMSG: there is none. -EIO: an older one.
 */
static int super_find(struct pool *pool, struct disk_super *super)
{
    AUTO_FREE struct disk_super *copy = aligned_alloc(BLK_BYTES, BLK_BYTES);
    if (!copy)
        return -ENOMEM;
    struct super_search search = {.pool = pool, .copy = copy, .best = super};
    super_consider_group(&search, 0, 0);
    if (search.found)
    {
        super_consider_group(&search, 1, le32_get(super->group_blks));
        return super_may_be_newer(&search) ? -EIO : 0;
    }
    super_consider_group(&search, 1, DISK_GROUP_BLKS_MAX);
    uint64_t blks = DISK_GROUP_BLKS_MAX;
    for (uint64_t at = DISK_GROUP_BLKS_MIN; !search.found && at < DISK_GROUP_BLKS_MAX; at += 64)
    {
        blks = at;
        super_consider_group(&search, 1, at);
    }
    /* What looks like a superblock elsewhere may be a LUN's data. */
    if (!search.found || le32_get(super->group_blks) != blks)
        return -EBADMSG;
    return super_may_be_newer(&search) ? -EIO : 0;
}

/*
 * A write that went elsewhere can take both copies of the newest superblock at once, if it was that
 * of one and hit the other. What it left there says so; without it, the checkpoint before would be
 * taken for the last.
 */
static int super_check_strays(struct pool *pool, const struct disk_super *super, struct reason *why)
{
    uint64_t group_blks = le32_get(super->group_blks);
    AUTO_FREE struct disk_super *copy = aligned_alloc(BLK_BYTES, BLK_BYTES);
    if (!copy)
        return -ENOMEM;
    for (unsigned i = 0; i < 4; i++)
    {
        uint64_t blk = i / 2 * group_blks + DISK_HEAD_SUPER + i % 2;
        if (device_read(pool->device, copy, BLK_BYTES, blk * BLK_BYTES) < 0 ||
            !super_is_intact(copy) || le64_get(copy->header.blk) == blk ||
            memcmp(copy->uuid, super->uuid, sizeof(copy->uuid)) != 0 ||
            le64_get(copy->header.cp_id) <= le64_get(super->header.cp_id))
            continue;
        return reason_set(why, -EBADMSG,
                          "block %" PRIu64
                          " of pool '%s' holds the superblock of checkpoint %" PRIu64
                          " that was meant for block %" PRIu64 ", and the newest one in its place "
                          "is that of checkpoint %" PRIu64 ": the device misplaced a write",
                          blk, pool->path, le64_get(copy->header.cp_id), le64_get(copy->header.blk),
                          le64_get(super->header.cp_id));
    }
    return 0;
}

uint64_t super_copy_blk(const struct pool *pool, unsigned copy)
{
    return (uint64_t)(copy / 2) * pool->group_blks + DISK_HEAD_SUPER + copy % 2;
}

int super_check_copy(struct pool *pool, unsigned copy, bool is_exact)
{
    AUTO_FREE struct disk_super *super = aligned_alloc(BLK_BYTES, BLK_BYTES);
    if (!super)
        return -ENOMEM;
    uint64_t blk = super_copy_blk(pool, copy);
    int r = device_read(pool->device, super, BLK_BYTES, blk * BLK_BYTES);
    if (r < 0)
        return r;
    /* The last checkpoint wrote two of them, the one before it the others. */
    uint64_t last = le64_get(pool->super.header.cp_id), cp_id = le64_get(super->header.cp_id);
    uint64_t wanted = (last & 1) == copy % 2 ? last : last - 1;
    bool is_it = super_is_valid(super, blk) && le64_get(super->header.pool_id) == pool->pool_id &&
                 (is_exact ? cp_id == wanted : cp_id <= last);
    return is_it ? 0 : -EBADMSG;
}

int super_find_bad(struct pool *pool, bool is_exact, unsigned *bad)
{
    unsigned found = 0;
    for (unsigned copy = 0; copy < SUPER_COPIES; copy++)
    {
        int r = super_check_copy(pool, copy, is_exact);
        if (r == -ENOMEM)
            return r;
        found |= r < 0 ? 1u << copy : 0;
    }
    *bad = found;
    return 0;
}

static int super_check_features(const struct disk_super *super, bool *force_read_only,
                                const char *path, struct reason *why)
{
    if (le32_get(super->version) != DISK_VERSION)
        return reason_set(why, -ENOTSUP,
                          "pool '%s' has format version %u; this program knows version %d", path,
                          le32_get(super->version), DISK_VERSION);
    uint64_t unknown = le64_get(super->feature_incompat) & ~DISK_FEATURES_INCOMPAT;
    if (unknown)
        return reason_set(why, -ENOTSUP,
                          "pool '%s' uses features (0x%" PRIx64
                          ") that this version does not know; open it with a newer one",
                          path, unknown);
    *force_read_only = (le64_get(super->feature_ro_compat) & ~DISK_FEATURES_RO_COMPAT) != 0;
    return 0;
}

static bool super_is_sane(const struct disk_super *super, uint64_t device_blks)
{
    uint64_t size = le64_get(super->size_blks), group = le32_get(super->group_blks);
    uint64_t journal = le64_get(super->journal_half_blks);
    if (group < DISK_GROUP_BLKS_MIN || group > DISK_GROUP_BLKS_MAX || size > device_blks ||
        size < 2 * group || size >> DISK_BLK_BITS)
        return false;
    if (space_usable_blks(size, (uint32_t)group) != size)
        return false;
    return le64_get(super->journal_blk) == space_journal_first_blk() && journal >= 2 &&
           journal <= (group - DISK_GROUP_HEAD_BLKS) / 2 && le32_get(super->generation) > 0 &&
           le64_get(super->next_id) > 0 && le64_get(super->header.cp_id) >> DISK_CP_BITS == 0 &&
           memchr(super->name, 0, sizeof(super->name)) &&
           memchr(super->holder_host, 0, sizeof(super->holder_host)) &&
           memchr(super->holder_boot, 0, sizeof(super->holder_boot));
}

int super_read(struct pool *pool, struct disk_super *super, struct reason *why)
{
    const char *path = pool->path;
    uint64_t device_bytes;
    int r = pool->device->ops->size(pool->device, &device_bytes);
    if (r < 0)
        return reason_set(why, r, "the size of '%s' cannot be read: %s", path, strerror(-r));
    r = super_find(pool, super);
    /* A repair, and a salvage in the end, take what there is. */
    if (r == -EIO && (pool->options.repair || pool->options.super_only))
        r = 0;
    if (r == -EIO)
        return reason_set(why, r,
                          "both copies of what may be the newest superblock of pool '%s' cannot be "
                          "read, and the checkpoint before it is not taken for the last; if it "
                          "stays so, 'lunette pool repair %s' takes that",
                          path, path);
    if (r == -EBADMSG)
        return reason_set(
            why, r,
            "'%s' is not a Lunette pool, or all copies of its superblock are "
            "damaged; 'file -s %s' tells what it may be, 'lunette pool create --help' "
            "how a pool is made",
            path, path);
    if (r < 0)
        return r;
    bool force_read_only = false;
    r = super_check_strays(pool, super, why);
    if (r == 0)
        r = super_check_features(super, &force_read_only, path, why);
    if (r < 0)
        return r;
    pool->is_read_only |= force_read_only;
    uint64_t size_bytes = le64_get(super->size_blks) * BLK_BYTES;
    if (size_bytes > device_bytes)
        return reason_set(why, -EBADMSG,
                          "pool '%s' should have %s, but only %s are there: it was cut off; make a "
                          "copy as long again with 'truncate -s %" PRIu64
                          "', and 'lunette lun salvage --list --pool COPY' shows what it has, with "
                          "zeros for data that is gone",
                          path, size_text(size_bytes).text, size_text(device_bytes).text,
                          size_bytes);
    if (!super_is_sane(super, device_bytes / BLK_BYTES))
        return reason_set(why, -EBADMSG, "the superblock of pool '%s' contradicts itself", path);
    return 0;
}

/* ---- the holder ---------------------------------------------------------------------------- */

static void read_boot_id(char *text, size_t size)
{
    memset(text, 0, size);
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (!file)
        return;
    if (!fgets(text, (int)size, file))
        text[0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    fclose(file);
}

void super_set_holder(struct disk_super *super)
{
    super_clear_holder(super);
    gethostname((char *)super->holder_host, sizeof(super->holder_host) - 1);
    read_boot_id((char *)super->holder_boot, sizeof(super->holder_boot));
    super->holder_pid = le64_put((uint64_t)getpid());
    super->flags = le32_put(0);
}

void super_clear_holder(struct disk_super *super)
{
    memset(super->holder_host, 0, sizeof(super->holder_host));
    memset(super->holder_boot, 0, sizeof(super->holder_boot));
    super->holder_pid = le64_put(0);
}

int super_check_holder(const struct disk_super *super, bool take_over, struct reason *why)
{
    char host[sizeof(super->holder_host)] = "";
    gethostname(host, sizeof(host) - 1);
    /* On this host the lock, which we have, says that the holder is gone. */
    if (super->holder_host[0] == '\0' || take_over ||
        strcmp(host, (const char *)super->holder_host) == 0)
        return 0;
    return reason_set(why, -EBUSY,
                      "pool '%s' is held by process %" PRIu64
                      " on host '%s', or that host crashed; "
                      "make sure that it is not running there, then open it with take-over",
                      super->name, le64_get(super->holder_pid), super->holder_host);
}

int super_explain_busy(const char *path, struct reason *why)
{
    struct device *device;
    struct device_file_options options = {.read_only = true, .no_lock = true};
    AUTO_FREE struct disk_super *super = aligned_alloc(BLK_BYTES, 2 * sizeof(*super));
    if (!super || device_file_open(path, &options, &device, NULL) < 0)
        return -EBUSY;
    int r = device_read(device, super, 2 * sizeof(*super), 0);
    device_close(device);
    if (r < 0)
        return -EBUSY;
    bool first_valid = super_is_valid(&super[0], 0), second_valid = super_is_valid(&super[1], 1);
    bool second_newer = second_valid && (!first_valid || le64_get(super[1].header.cp_id) >
                                                             le64_get(super[0].header.cp_id));
    const struct disk_super *newest = second_newer ? &super[1] : &super[0];
    if ((!first_valid && !second_valid) || newest->holder_host[0] == '\0')
        return -EBUSY;
    return reason_set(why, -EBUSY,
                      "pool '%s' is in use by process %" PRIu64 " on host '%.63s'; "
                      "'lunette server status' shows it",
                      path, le64_get(newest->holder_pid), (const char *)newest->holder_host);
}
