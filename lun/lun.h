/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pools, LUNs, snapshots, clones: the whole engine, as everything above it sees it.
 *
 * Always true:
 *  - one process has a pool open, and it goes through this header;
 *  - when a management function returns 0, what it did is durable;
 *  - when lun_flush() or a write with LUN_FUA returns 0, every write completed before is durable;
 *  - what was never written, or was unmapped, reads as zeros.
 *
 * All functions may be called from any thread and may block on I/O, unless they say otherwise. None
 * calls back while it holds a lock, unless it says so. Sizes and offsets are bytes; any alignment
 * is accepted.
 * Errors are negative errno (base/err.h); management functions explain themselves in @why, which
 * may be NULL.
 *
 * Names: a LUN is "NAME", its snapshot "NAME@SNAPSHOT". A name has 1 to LUN_NAME_MAX bytes of
 * letters, digits and . _ : + - and begins with a letter, a digit or '_'; '/' is reserved for
 * volumes and qtrees, ".." for differences ("A..B" for lun_open()).
 */
#ifndef LUN_LUN_H
#define LUN_LUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/base/env.h"
#include "lun/base/err.h"
#include "lun/limits.h"

struct pool;
struct lun;    /* an open LUN, snapshot or difference: a handle */
struct device; /* pool/device.h: where a pool's bytes live */

/* ---- pool ---------------------------------------------------------------------------------- */

struct pool_create_options
{
    const char *name;       /* NULL: made from the path */
    uint64_t size_bytes;    /* of a file; 0 for a block device: all of it */
    uint64_t journal_bytes; /* both halves; 0: chosen by the size */
    uint32_t group_blks; /* blocks of an allocation group; 0: the default, tests use small ones */
    bool preallocate;    /* take all of the file's space from its file system now */
    bool overwrite;      /* even if the path holds a pool or something else recognisable */
    bool dry_run;        /* of pool_create(): refuse what it would refuse, and write nothing */
};

struct pool_open_options
{
    bool read_only;         /* for check and dump: replays in memory, writes nothing */
    bool super_only;        /* likewise, and reads nothing but the superblock, whatever else is
                               damaged; for pool_dump() of "superblock" and "block N" alone */
    bool take_over;         /* although the superblock names another host as holder */
    uint64_t cache_bytes;   /* of metadata nodes; 0: 64 MiB */
    uint32_t checkpoint_ms; /* longest age of a change before a checkpoint; 0: 5000 */
    bool no_discard;        /* do not give freed space back to the file system below */
};

/* Formats @path, a file (made if need be, sparse) or a block device. -EEXIST if it holds data. */
MUST_CHECK int pool_create(struct env *env, const char *path,
                           const struct pool_create_options *options, struct reason *why);

/* The same on a device of the caller's, which stays the caller's. */
MUST_CHECK int pool_create_on_device(struct env *env, struct device *device,
                                     const struct pool_create_options *options, struct reason *why);

/*
 * Opens, locks and recovers the pool at @path. Starts no thread, so it may be called before a fork.
 * -EBUSY: another process has it (@why names pid and host). -EBADMSG: not a pool, or damaged.
 */
MUST_CHECK int pool_open(struct env *env, const char *path, const struct pool_open_options *options,
                         struct pool **pool, struct reason *why);

/* Takes @device over on success only. */
MUST_CHECK int pool_open_device(struct env *env, struct device *device,
                                const struct pool_open_options *options, struct pool **pool,
                                struct reason *why);

/*
 * Starts the threads for checkpoints and background jobs. Without them (tests) the caller runs
 * pool_checkpoint() and pool_run_job_step() itself; what must wait for a checkpoint makes one.
 */
MUST_CHECK int pool_start(struct pool *pool);

/*
 * Stops the threads, makes a last checkpoint if the pool is writable, closes the device and frees
 * the pool. All handles must have been closed. NULL is accepted. The error is that of the
 * checkpoint.
 */
int pool_close(struct pool *pool);

/* Makes all that was done until now part of a checkpoint. */
MUST_CHECK int pool_checkpoint(struct pool *pool);

/* Does one bounded step of background work. 1: did one, 0: nothing to do, < 0: an error. */
MUST_CHECK int pool_run_job_step(struct pool *pool);

/* Uses what the file or device has grown to; @size_bytes 0: all of a device. Never shrinks. */
MUST_CHECK int pool_grow(struct pool *pool, uint64_t size_bytes, struct reason *why);
/* The size that it would have then; refuses what pool_grow() refuses before it changes anything. */
MUST_CHECK int pool_grow_dry_run(struct pool *pool, uint64_t size_bytes, uint64_t *new_size_bytes,
                                 struct reason *why);

enum pool_health
{
    POOL_HEALTHY,
    POOL_OUT_OF_SPACE, /* the only one that is left again: space was added or freed */
    POOL_READ_ONLY,    /* a metadata write failed */
    POOL_FAILED,       /* a sync failed: the device may not hold what it was given */
};

const char *pool_health_name(enum pool_health health);

struct pool_info
{
    char name[LUN_NAME_MAX + 1];
    char path[1024];
    uint8_t uuid[16];
    enum pool_health health;
    bool read_only;
    uint64_t size_bytes;
    uint64_t free_bytes;      /* usable by data now */
    uint64_t deferred_bytes;  /* freed, usable after the next checkpoint */
    uint64_t metadata_bytes;  /* bitmaps, journal, trees, objects, superblocks */
    uint64_t data_bytes;      /* blocks that hold data of LUNs, snapshots and pending jobs */
    uint64_t reserve_bytes;   /* kept back so that deletes and checkpoints always succeed */
    uint64_t promised_bytes;  /* to reserved LUNs; 0 until reservations come */
    uint64_t available_bytes; /* free - promised, what new thin data can take */
    uint64_t logical_bytes;   /* sum of the sizes of all LUNs */
    uint64_t mapped_bytes;    /* sum of what all LUNs map: what copies would need */
    uint64_t lun_count, snapshot_count, line_count, hidden_point_count, dying_count;
    uint64_t checkpoint_id;
    uint64_t journal_used_bytes, journal_size_bytes; /* of one half */
    uint64_t dirty_nodes, cached_nodes, cache_hits, cache_misses;
    uint64_t checkpoint_count, commit_count, sync_count; /* since open */
    uint64_t created_ns, opened_ns;
};

void pool_get_info(struct pool *pool, struct pool_info *info);

/* ---- LUNs ---------------------------------------------------------------------------------- */

struct lun_create_args
{
    const char *name;
    uint64_t size_bytes;   /* a multiple of the sector size */
    uint32_t sector_bytes; /* 512 or 4096; 0: 512 */
    const char *comment;   /* may be NULL */
};

MUST_CHECK int lun_create(struct pool *pool, const struct lun_create_args *args,
                          struct reason *why);

struct lun_clone_args
{
    const char *source;    /* "LUN" or "LUN@SNAPSHOT" */
    const char *name;      /* the clone's; with count: holds one %d, %0Nd or %u */
    uint32_t count;        /* 0 or 1: one clone named name; else that many, of one instant */
    uint32_t first_number; /* for the template; 0 counts from 0 */
    const char *comment;
};

/*
 * Makes clones in constant time each, all or none, all of the same instant. They get a new
 * identity. The source's I/O pauses for as long as its writes in flight take.
 */
MUST_CHECK int lun_clone(struct pool *pool, const struct lun_clone_args *args, struct reason *why);

enum lun_change_flags
{
    LUN_FORCE = 1, /* although clients have it open: they get -ESTALE from then on */
};

/* -EBUSY if it is open and not forced. Its snapshots go too only with @with_snapshots, else -EBUSY.
 */
MUST_CHECK int lun_delete(struct pool *pool, const char *name, bool with_snapshots, unsigned flags,
                          struct reason *why);
MUST_CHECK int lun_rename(struct pool *pool, const char *name, const char *new_name,
                          struct reason *why);
/* Growing is always allowed; shrinking cuts data off and needs LUN_FORCE. */
MUST_CHECK int lun_resize(struct pool *pool, const char *name, uint64_t size_bytes, unsigned flags,
                          struct reason *why);
MUST_CHECK int lun_set_comment(struct pool *pool, const char *name, const char *comment,
                               struct reason *why);

/* @snapshot without the "LUN@". */
MUST_CHECK int snapshot_create(struct pool *pool, const char *lun_name, const char *snapshot,
                               const char *comment, struct reason *why);
MUST_CHECK int snapshot_delete(struct pool *pool, const char *lun_name, const char *snapshot,
                               unsigned flags, struct reason *why);
MUST_CHECK int snapshot_rename(struct pool *pool, const char *lun_name, const char *snapshot,
                               const char *new_snapshot, struct reason *why);
/* The LUN's content and size become the snapshot's. LUN_FORCE if clients have the LUN open. */
MUST_CHECK int snapshot_restore(struct pool *pool, const char *lun_name, const char *snapshot,
                                unsigned flags, struct reason *why);

enum object_kind
{
    OBJECT_LUN,
    OBJECT_SNAPSHOT,
};

struct lun_info
{
    enum object_kind kind;
    uint64_t id;                     /* unique in the pool, never used again */
    uint64_t lun_id;                 /* of a snapshot: its LUN; of a LUN: itself */
    uint64_t line_id;                /* its place in the lineage (see pool_list_lines) */
    char name[2 * LUN_NAME_MAX + 2]; /* "LUN" or "LUN@SNAPSHOT" */
    char comment[LUN_COMMENT_MAX + 1];
    char origin[2 * LUN_NAME_MAX + 2]; /* what it was cloned from, by the name of that day; or "" */
    uint8_t uuid[16]; /* random, the source of serial numbers and NAA identifiers */
    uint64_t size_bytes;
    uint32_t sector_bytes;
    uint64_t mapped_bytes;   /* blocks with data, shared or not */
    uint64_t own_bytes;      /* mapped, made since its last freeze or its birth */
    uint64_t shared_bytes;   /* mapped - own */
    uint64_t snapshot_bytes; /* of a LUN: data that its own snapshots hold and it no longer uses */
    uint64_t created_ns;
    uint32_t open_handles;
    uint32_t snapshot_count; /* of a LUN */
    uint32_t generation;     /* birth of a head, freeze of a point */
};

/* -ENOENT. @name is "LUN" or "LUN@SNAPSHOT". */
MUST_CHECK int lun_get_info(struct pool *pool, const char *name, struct lun_info *info,
                            struct reason *why);

/*
 * All LUNs and snapshots, by name, snapshots behind their LUN in order of age; a copy that is the
 * caller's to free(). @lun_name: only that one with its snapshots; NULL: all.
 */
MUST_CHECK int lun_list(struct pool *pool, const char *lun_name, struct lun_info **list,
                        size_t *count, struct reason *why);

/* Bytes of the pool that would come back, exactly, once background work is done, if all @names
 * ("LUN", "LUN@SNAPSHOT") were deleted together. Data and metadata. May take time: reads drop
 * lists. */
MUST_CHECK int lun_freed_if_deleted(struct pool *pool, const char *const *names, size_t count,
                                    uint64_t *data_bytes, uint64_t *metadata_bytes,
                                    struct reason *why);

struct line_info
{
    uint64_t id, predecessor_id; /* 0: none */
    bool is_head, is_dying, is_hidden;
    uint32_t birth, frozen_at; /* generations; frozen_at 0: a head */
    uint32_t child_count, snapshot_count;
    uint64_t mapped_bytes, own_bytes, dropped_bytes;
    char name[2 * LUN_NAME_MAX + 2]; /* the LUN or first snapshot that shows it; or "" */
};

/* The lineage: heads, points and dying leaves, oldest first. Free *list. */
MUST_CHECK int pool_list_lines(struct pool *pool, struct line_info **list, size_t *count);

/* ---- I/O ----------------------------------------------------------------------------------- */

enum lun_open_flags
{
    LUN_READ_ONLY = 1,
};

enum lun_io_flags
{
    LUN_FUA = 1,       /* durable before it returns */
    LUN_MAY_UNMAP = 2, /* lun_zero: may drop the blocks instead of writing zeros */
    LUN_FAST_ONLY = 4, /* lun_zero: -ENOTSUP rather than anything as slow as writing */
};

/*
 * @name: "LUN", "LUN@SNAPSHOT" (read-only), or "A..B" (read-only: what B has that A has not; ranges
 * equal in both are holes that read as zeros, so it is for use with lun_extents()). -EROFS if a
 * writable handle is asked of what has none. A handle follows its LUN through rename.
 */
MUST_CHECK int lun_open(struct pool *pool, const char *name, unsigned flags, struct lun **lun,
                        struct reason *why);
void lun_close(struct lun *lun); /* NULL is accepted */

uint64_t lun_size_bytes(const struct lun *lun); /* now; changes by resize */
bool lun_is_read_only(const struct lun *lun);
uint32_t lun_sector_bytes(const struct lun *lun);
/* Identity and present name. Does not block on I/O. -ESTALE when it was deleted. */
MUST_CHECK int lun_describe(struct lun *lun, struct lun_info *info);

/*
 * -EINVAL: outside the LUN. -ESTALE: deleted under the handle, or cut off by a shrink. -EIO,
 * -EBADMSG: device, metadata. -ENOSPC: pool full. -EROFS: read-only handle or pool.
 * A failed write may have changed any part of its range.
 */
MUST_CHECK int lun_read(struct lun *lun, void *buf, size_t len, uint64_t offset);
MUST_CHECK int lun_write(struct lun *lun, const void *buf, size_t len, uint64_t offset,
                         unsigned flags);
/* Drops what it can; the range reads as zeros afterwards, whatever its alignment. */
MUST_CHECK int lun_unmap(struct lun *lun, uint64_t len, uint64_t offset, unsigned flags);
/* Zeros, unmapped if that is allowed, else in place on blocks of its own. */
MUST_CHECK int lun_zero(struct lun *lun, uint64_t len, uint64_t offset, unsigned flags);
MUST_CHECK int lun_flush(struct lun *lun);
/* Asks the kernel to read the range ahead. */
MUST_CHECK int lun_cache(struct lun *lun, uint64_t len, uint64_t offset);

/*
 * SBC COMPARE AND WRITE: writes @write (@len bytes) if the LUN holds @compare there, atomically
 * towards all other I/O. -EILSEQ on a difference, *miscompare_at is its first byte.
 */
MUST_CHECK int lun_compare_and_write(struct lun *lun, const void *compare, const void *write,
                                     size_t len, uint64_t offset, unsigned flags,
                                     size_t *miscompare_at);

/* SBC WRITE ATOMIC: all of it or nothing of it after a crash. At most 1 MiB, whole blocks of 4096.
 */
MUST_CHECK int lun_write_atomic(struct lun *lun, const void *buf, size_t len, uint64_t offset,
                                unsigned flags);

/* ORWRITE and the like: @change edits the present content in place, atomically towards other I/O.
 * It is called with the range locked, again with fresh content if the write had to begin anew: the
 * last call counts. It must not call the engine. At most 1 MiB. */
typedef void lun_change_fn(void *opaque, uint8_t *content, size_t len);
MUST_CHECK int lun_read_modify_write(struct lun *lun, size_t len, uint64_t offset, unsigned flags,
                                     lun_change_fn *change, void *opaque);

struct lun_extent
{
    uint64_t offset_bytes, len_bytes;
    bool is_hole;   /* not mapped: reads as zeros */
    bool is_shared; /* mapped, not own: a write takes new space */
};

/* The map of [offset, offset + len), adjacent alike ones joined; at most @max entries, *count of
 * them; they cover from @offset on without a gap, and perhaps less than @len. */
MUST_CHECK int lun_extents(struct lun *lun, uint64_t len, uint64_t offset,
                           struct lun_extent *extents, size_t max, size_t *count);

/* ---- configuration store ------------------------------------------------------------------- */

/*
 * Small named values that must move with the pool: mappings, igroups, CHAP, reservations, quotas.
 * A change is a list of puts and deletes, all or none, durable on return.
 */
struct store_change
{
    const char *key;
    const void *value; /* NULL: delete; deleting what is not there is no error */
    size_t len;
};

MUST_CHECK int store_apply(struct pool *pool, const struct store_change *changes, size_t count,
                           struct reason *why);
/* *value is the caller's to free() and NUL-terminated beyond its *len. -ENOENT. */
MUST_CHECK int store_get(struct pool *pool, const char *key, void **value, size_t *len);
/* Calls @each with every key that begins with @prefix, in byte order; stops at its first non-zero
 * result and returns that. Works on a copy: @each may call the engine. */
typedef int store_each_fn(void *opaque, const char *key, const void *value, size_t len);
MUST_CHECK int store_list(struct pool *pool, const char *prefix, store_each_fn *each, void *opaque);

/* ---- jobs and events ----------------------------------------------------------------------- */

struct job_info
{
    uint64_t id;
    char kind[16]; /* "delete", "merge", "reclaim", "shrink" */
    char subject[2 * LUN_NAME_MAX + 2];
    char state[16];                 /* "running", "waiting" */
    uint64_t done_blks, total_blks; /* total 0: not known */
};

/* The background work of the moment. Free *list. */
MUST_CHECK int job_list(struct pool *pool, struct job_info **list, size_t *count);
/* Until job @id is gone (0: all), @timeout_ms at most (0: without end). -ETIMEDOUT. */
MUST_CHECK int job_wait(struct pool *pool, uint64_t id, uint64_t timeout_ms);

struct event
{
    uint64_t id; /* counts up from 1 at open */
    uint64_t time_ns;
    char severity[8]; /* "info", "warning", "error" */
    char name[32];    /* dotted: "lun.created", "pool.full" */
    char object[2 * LUN_NAME_MAX + 2];
    char text[256];
};

/* Events with an id above @after that are still kept (the last 1,024). Free *list. */
MUST_CHECK int event_list(struct pool *pool, uint64_t after, struct event **list, size_t *count);
/* Waits until there is an event above @after. -ETIMEDOUT. */
MUST_CHECK int event_wait(struct pool *pool, uint64_t after, uint64_t timeout_ms);
/* Adds one; the layers above use it too. Does not block on I/O. */
void event_add(struct pool *pool, const char *severity, const char *name, const char *object,
               const char *format, ...) PRINTF_LIKE(5, 6);

/* Tells @hook about each change of a LUN's size or existence, so that a front end can raise unit
 * attentions. Called without engine locks, from the thread that made the change. One hook. */
enum lun_change
{
    LUN_CHANGE_CREATED,
    LUN_CHANGE_RESIZED,
    LUN_CHANGE_RENAMED,
    LUN_CHANGE_RESTORED,
    LUN_CHANGE_DELETED,
};
typedef void lun_change_hook(void *opaque, enum lun_change change, uint64_t lun_id,
                             const char *name);
void pool_set_change_hook(struct pool *pool, lun_change_hook *hook, void *opaque);

/* ---- check and dump ------------------------------------------------------------------------ */

struct check_result
{
    uint64_t errors, warnings;
    uint64_t blks_checked, nodes_checked, lines_checked, objects_checked, extents_checked;
    uint64_t blks_allocated, blks_reachable, blks_leaked;
};

/* One finding or one proven statement, a line of text. */
typedef void check_report_fn(void *opaque, bool is_error, const char *text);

/* Proves the invariants, pausing changes (not reads) while it runs. 0 even when errors were found.
 */
MUST_CHECK int pool_check(struct pool *pool, check_report_fn *report, void *opaque,
                          struct check_result *result);

/* Prints structures. @what: "superblock", "groups", "objects", "lines", "map NAME", "drops ID",
 * "journal", "block NUMBER". */
typedef void dump_line_fn(void *opaque, const char *text);
MUST_CHECK int pool_dump(struct pool *pool, const char *what, dump_line_fn *line, void *opaque,
                         struct reason *why);

#endif
