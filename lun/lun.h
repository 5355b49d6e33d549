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
 * Names: a LUN is "LUN" (outside volumes), "VOLUME/LUN" or "VOLUME/QTREE/LUN", its snapshot is that
 * and "@SNAPSHOT", a snapshot of a volume is "VOLUME@SNAPSHOT". Each part is of letters, digits and
 * . _ : + - and begins with a letter, a digit or '_'; ".." is for differences ("A..B" for
 * lun_open()). The whole of a LUN's name, without its snapshot's, has 1 to LUN_NAME_MAX bytes. No
 * volume is named as a LUN outside volumes, and no qtree as a LUN beside it. Wherever a name is
 * asked for it may begin with "/vol/".
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
struct repair;
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
    struct repair *repair;  /* of pool_repair() itself; else NULL */
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

/*
 * Overwrites what no longer counts of the catalog, and so of the store, before it is overwritten by
 * chance: records that checkpoints have, in the journal, and pages of earlier ones, in free blocks.
 * Afterwards no byte of the pool tells what a value was that was put or deleted before the call.
 * Makes checkpoints, and reads all that is free and has room below, twice: that takes long on a
 * block device. Others go on meanwhile. @goes_on (may be NULL) is called each MiB: false ends it,
 * -ECANCELED.
 */
struct pool_wipe
{
    uint64_t done_bytes, total_bytes; /* gone through, of the pool's size twice */
    uint64_t wiped_blks;              /* overwritten, besides the journal */
    uint64_t left_blks;               /* should have been, but the pool is too full to take them */
};
typedef bool pool_wipe_fn(void *opaque, const struct pool_wipe *progress);
MUST_CHECK int pool_wipe_old(struct pool *pool, pool_wipe_fn *goes_on, void *opaque,
                             struct pool_wipe *result, struct reason *why);

/* Does one bounded step of background work. 1: did one, 0: nothing to do, < 0: an error. */
MUST_CHECK int pool_run_job_step(struct pool *pool);

/* Uses what the file or device has grown to; @size_bytes 0: all of a device. Never shrinks. */
MUST_CHECK int pool_grow(struct pool *pool, uint64_t size_bytes, struct reason *why);
/* For 'lunette pool grow +...M': by how many MiB it has to grow so that @wanted_bytes more can be
 * used, and by a quarter of its size at least; whole allocation groups. 0: its device has to grow
 * first, and then 'lunette pool grow' uses all of that. */
uint64_t pool_grow_step_mib(struct pool *pool, uint64_t wanted_bytes);
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
    uint64_t promised_bytes;  /* needs of reserved LUNs and guaranteed volumes not met yet */
    uint64_t available_bytes; /* free + deferred - promised - reserve: what thin data can take */
    uint64_t logical_bytes;   /* sum of the sizes of all LUNs */
    uint64_t mapped_bytes;    /* sum of what all LUNs map: what copies would need */
    uint64_t lun_count, snapshot_count, line_count, hidden_point_count, dying_count;
    uint64_t volume_count;
    uint64_t checkpoint_id;
    uint64_t journal_used_bytes, journal_size_bytes; /* of one half */
    uint64_t dirty_nodes, cached_nodes, cache_hits, cache_misses;
    uint64_t checkpoint_count, commit_count, sync_count; /* since open */
    uint64_t created_ns, opened_ns;
    uint64_t open_for_ns; /* time that has passed since, however the clock was set */
};

void pool_get_info(struct pool *pool, struct pool_info *info);

/*
 * The time by which locks end: that of the wall clock, but never ahead of the time that has really
 * passed since the pool was opened by more than a few minutes. So a clock that is set forward, by
 * mistake or on purpose, ends no lock while the pool is served; one that is set back only makes
 * them last longer.
 */
uint64_t pool_lock_clock_ns(struct pool *pool);

/*
 * While on, this thread's commands on LUNs, snapshots, volumes, qtrees and quotas check all that
 * they always check, and are refused for the same reasons, but change nothing and add no events.
 */
void command_dry_run(bool on);

/*
 * By how much what the pool keeps for promises grew with this thread's last command, or would grow
 * if it was a dry run: what it was let through by. Negative: that much is promised no more. 0 of
 * commands that make, move and raise no promise, as a deletion.
 */
int64_t command_promised_bytes(void);

/* ---- LUNs ---------------------------------------------------------------------------------- */

/* What is stored (store_apply()) in the same record as a change: both are done, or neither. A key
 * that ends in '/' gets the id of the changed or new object, as 16 hexadecimal digits. */
struct store_change;
struct store_also
{
    const struct store_change *changes;
    size_t count; /* 3 at most */
};

/* What a LUN has beside its content; stored with it. Times are nanoseconds since 1970. */
struct lun_attributes
{
    bool is_reserved;         /* space is promised: its writes never meet -ENOSPC */
    bool is_autodelete;       /* may be deleted when space runs out (a policy above decides) */
    uint64_t expire_ns;       /* a lease: a policy above deletes it then; 0: none */
    uint64_t locked_until_ns; /* deleting, shrinking, restoring, redeploying: -EPERM until then */
    const char *owner;        /* whose user quota it counts for; NULL or "": nobody's */
    const char *group;        /* whose group quota it counts for */
    struct store_also also;   /* lun_create() and lun_set_attributes() */
    uint64_t only_id;         /* lun_set_attributes(): of the LUN or snapshot with this id; -ESTALE:
                                 another one has its name now. 0: whichever has it */
};

struct lun_create_args
{
    const char *name;
    uint64_t size_bytes;   /* a multiple of the sector size */
    uint32_t sector_bytes; /* 512 or 4096; 0: 512 */
    const char *comment;   /* may be NULL */
    struct lun_attributes attributes;
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
    bool no_reserve; /* else a clone of a reserved LUN is reserved, or refused with -ENOSPC */
    bool unlocked;   /* of what is locked: make a clone that is not; else -EPERM */
    bool autodelete;
    uint64_t expire_ns;
    const char *owner, *group; /* NULL: the source's */
};

/*
 * Makes clones in constant time each, all or none, all of the same instant. They get a new
 * identity. The source's I/O pauses for as long as its writes in flight take. -EPERM: the source,
 * or its LUN, its volume, or the volume's snapshot that it is part of, is locked.
 */
MUST_CHECK int lun_clone(struct pool *pool, const struct lun_clone_args *args, struct reason *why);

/* What clone number @number of a template is called. -EINVAL: it is none, or the name too long. */
MUST_CHECK int lun_clone_name(const char *name_template, uint32_t number, char *name, size_t size,
                              struct reason *why);

/* One of several clones made at one instant, of different sources. */
struct lun_pair
{
    const char *source; /* LUNs all, or snapshots all */
    const char *name;
};

/* Clones of several LUNs, all or none, all of one instant: no write is in one that depends on a
 * write missing in another. @common: source, name and count are not looked at. */
MUST_CHECK int lun_clone_group(struct pool *pool, const struct lun_pair *pairs, size_t count,
                               const struct lun_clone_args *common, struct reason *why);

enum lun_change_flags
{
    LUN_FORCE = 1, /* although clients have it open: they get -ESTALE from then on */
    LUN_DEFER = 2, /* volume_snapshot_delete(): when its last dependent volume goes, if not now */
};

/*
 * The LUNs @names get the content and size of @source ("LUN" or "LUN@SNAPSHOT"), all or none, and
 * keep identity, name, attributes and snapshots. What they held becomes a snapshot @undo of each
 * (an older one of that name is replaced). -EBUSY as for a restore. -ENOSPC: a reserved one. A lock
 * of @source does not matter: no LUN is made, and what is written into LUNs was never kept away by
 * locks, which keep content from being lost.
 */
MUST_CHECK int lun_redeploy(struct pool *pool, const char *source, const char *const *names,
                            size_t count, const char *undo, unsigned flags, struct reason *why);

/* What of @attributes is changed. */
enum lun_attribute_mask
{
    LUN_SET_RESERVED = 1,
    LUN_SET_AUTODELETE = 2,
    LUN_SET_EXPIRE = 4,
    LUN_SET_LOCKED_UNTIL = 8, /* only ever to a later time */
    LUN_SET_OWNER = 16,
    LUN_SET_GROUP = 32,
};

/* @name: a LUN; with LUN_SET_LOCKED_UNTIL alone also "LUN@SNAPSHOT". -ENOSPC: the reservation
 * cannot be promised, -EDQUOT: the new owner's quota. */
MUST_CHECK int lun_set_attributes(struct pool *pool, const char *name, unsigned mask,
                                  const struct lun_attributes *attributes, struct reason *why);

/* -EBUSY if it is open and not forced. Its snapshots go too only with @with_snapshots, else -EBUSY;
 * those that are part of a volume's snapshot stay, and restore it. -EPERM: it or one that goes is
 * locked. */
MUST_CHECK int lun_delete(struct pool *pool, const char *name, bool with_snapshots, unsigned flags,
                          struct reason *why);
/* Of which LUN, and what has to be so when it is deleted, whatever was so when somebody looked. */
struct lun_delete_condition
{
    uint64_t id;
    uint64_t expire_ns;          /* its lease is this one; 0: any or none */
    bool is_autodelete;          /* it is marked so */
    bool keeps_volume_snapshots; /* -EBUSY if a snapshot of its volume holds it */
    bool keeps_snapshots;        /* -EBUSY if it has some of its own */
};
/* lun_delete() with its snapshots, for who knows the LUN and not only its name. -ENOENT: it is
 * gone; -ESTALE: @condition is not so any more. */
MUST_CHECK int lun_delete_if(struct pool *pool, const struct lun_delete_condition *condition,
                             unsigned flags, struct reason *why);
/* To another path too: into and out of volumes and qtrees. -EBUSY: it has snapshots and would leave
 * its volume. */
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
/* The same, locked until then (0: not). */
MUST_CHECK int snapshot_create_until(struct pool *pool, const char *lun_name, const char *snapshot,
                                     const char *comment, uint64_t locked_until_ns,
                                     struct reason *why);
/* -EBUSY, as for the next one: it is part of a volume's snapshot; see volume_snapshot_delete(). */
MUST_CHECK int snapshot_delete(struct pool *pool, const char *lun_name, const char *snapshot,
                               unsigned flags, struct reason *why);
MUST_CHECK int snapshot_rename(struct pool *pool, const char *lun_name, const char *snapshot,
                               const char *new_snapshot, struct reason *why);
/* The LUN's content and size become the snapshot's, which may be part of a volume's; name, place
 * and attributes stay. A LUN that was deleted comes back where it was, with its identity and
 * attributes; -EEXIST: something else has its name. -EBUSY: another LUN has the name of this one.
 * LUN_FORCE if clients have the LUN open. */
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
    uint32_t snapshot_count;      /* of a LUN */
    uint32_t generation;          /* birth of a head, freeze of a point */
    uint64_t volume_id, qtree_id; /* 0: in none */
    uint64_t volume_snapshot_id;  /* of a snapshot: the volume snapshot it is part of, or 0 */
    bool is_reserved, is_autodelete;
    bool is_lun_deleted;   /* of a snapshot: its LUN was deleted, and it is all that is left */
    uint64_t needed_bytes; /* of a reserved LUN: what its promise still needs of the pool */
    uint64_t expire_ns, locked_until_ns;
    char owner[LUN_OWNER_MAX + 1], group[LUN_OWNER_MAX + 1];
};

/* -ENOENT. @name is "LUN" or "LUN@SNAPSHOT". */
MUST_CHECK int lun_get_info(struct pool *pool, const char *name, struct lun_info *info,
                            struct reason *why);

/*
 * All LUNs and snapshots, by name, snapshots behind their LUN in order of age; those of a deleted
 * LUN behind whichever has its name. A copy that is the caller's to free(). @lun_name: only that
 * one with its snapshots, and those of deleted LUNs that had the name; NULL: all.
 */
MUST_CHECK int lun_list(struct pool *pool, const char *lun_name, struct lun_info **list,
                        size_t *count, struct reason *why);

/* The LUN or snapshot with that id, which it keeps through renames. -ENOENT: there is none (any
 * more). Does not block on I/O. */
MUST_CHECK int lun_get_info_by_id(struct pool *pool, uint64_t id, struct lun_info *info);

enum lun_expendable
{
    LUN_EXPENDABLE_LUNS,      /* with a lease (expire_ns) or is_autodelete */
    LUN_EXPENDABLE_SNAPSHOTS, /* of single LUNs, not part of a volume's */
};

/* What policies may have to delete, in no order; free *list. What it costs beside that is a look at
 * each LUN in memory. */
MUST_CHECK int lun_list_expendable(struct pool *pool, enum lun_expendable kind,
                                   struct lun_info **list, size_t *count);

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

/* ---- volumes ------------------------------------------------------------------------------- */

/*
 * A volume holds LUNs, directly or in qtrees, and snapshots of all of them at one instant. Its size
 * bounds the pool blocks (data and nodes) that its own LUNs and snapshots were first to allocate:
 * what they share with lines of other volumes is charged there. LUNs outside volumes have no such
 * bound. Pools made before there were volumes have none; lun_rename() moves LUNs into one.
 */
struct volume_attributes
{
    uint64_t size_bytes;      /* 0: no bound; a guarantee needs one */
    bool is_guaranteed;       /* its size is promised by the pool */
    bool pauses_when_full;    /* writes wait (bounded) for room instead of -ENOSPC */
    uint32_t pause_ms;        /* how long at most; 0: 30000 */
    uint64_t locked_until_ns; /* deleting, shrinking, restoring it or what is in it: -EPERM */
    const char *comment;      /* NULL: none */
    struct store_also also;
    uint64_t only_id; /* volume_modify(): as for LUNs */
};

enum volume_attribute_mask
{
    VOLUME_SET_SIZE = 1,
    VOLUME_SET_GUARANTEE = 2,
    VOLUME_SET_FULL_POLICY = 4, /* pauses_when_full and pause_ms */
    VOLUME_SET_LOCKED_UNTIL = 8,
    VOLUME_SET_COMMENT = 16,
};

MUST_CHECK int volume_create(struct pool *pool, const char *name,
                             const struct volume_attributes *attributes, struct reason *why);
/* -ENOSPC: a promise cannot be kept, or the size would be below what is charged already. */
MUST_CHECK int volume_modify(struct pool *pool, const char *name, unsigned mask,
                             const struct volume_attributes *attributes, struct reason *why);
/* Its LUNs and snapshots are named anew with it; handles stay. */
MUST_CHECK int volume_rename(struct pool *pool, const char *name, const char *new_name,
                             struct reason *why);
/* -EBUSY: not empty and not @with_contents, volumes cloned from it depend on a snapshot, or LUNs
 * are open and LUN_FORCE is not given. */
MUST_CHECK int volume_delete(struct pool *pool, const char *name, bool with_contents,
                             unsigned flags, struct reason *why);

struct volume_info
{
    uint64_t id;
    char name[LUN_NAME_MAX + 1];
    char comment[LUN_COMMENT_MAX + 1];
    uint8_t uuid[16];
    uint64_t size_bytes;
    bool is_guaranteed, pauses_when_full;
    uint32_t pause_ms;
    uint64_t locked_until_ns, created_ns;
    uint64_t lun_count, qtree_count, snapshot_count; /* snapshots of the volume */
    uint64_t deleted_lun_count;                      /* that these still hold */
    uint64_t logical_bytes;                          /* sum of the sizes of its LUNs */
    uint64_t mapped_bytes;                           /* sum of what its LUNs map */
    uint64_t own_bytes;                              /* of that, each LUN's own */
    uint64_t charged_bytes;                          /* see above: data and nodes */
    /* Sum of what its LUNs' own snapshots hold and they no longer use, and of what snapshots hold
     * of LUNs that were deleted. */
    uint64_t snapshot_bytes;
    uint64_t reserved_bytes;  /* needs of its reserved LUNs not met yet */
    uint64_t needed_bytes;    /* what its guarantee still needs of the pool; 0 without one */
    uint64_t available_bytes; /* what a thin write into it can take: bound and pool considered */
    uint64_t parent_volume_id, parent_snapshot_id; /* of a volume clone that is not split; or 0 */
    char parent[2 * LUN_NAME_MAX + 2];             /* "VOLUME@SNAPSHOT", or "" */
};

MUST_CHECK int volume_get_info(struct pool *pool, const char *name, struct volume_info *info,
                               struct reason *why);
/* -ENOENT: there is none of that id (any more). Does not block on I/O. */
MUST_CHECK int volume_get_info_by_id(struct pool *pool, uint64_t id, struct volume_info *info);
/* The LUN of the volume with the smallest id above @after_id. -ENOENT. Does not block on I/O. */
MUST_CHECK int volume_next_lun(struct pool *pool, uint64_t volume_id, uint64_t after_id,
                               struct lun_info *info);
/* By name; free *list. */
MUST_CHECK int volume_list(struct pool *pool, struct volume_info **list, size_t *count);

/* @path: "VOLUME/QTREE". */
MUST_CHECK int qtree_create(struct pool *pool, const char *path, const char *comment,
                            struct reason *why);
/* @new_name: "QTREE" or "VOLUME/QTREE" of the same volume. */
MUST_CHECK int qtree_rename(struct pool *pool, const char *path, const char *new_name,
                            struct reason *why);
/* -EBUSY: it holds LUNs. */
MUST_CHECK int qtree_delete(struct pool *pool, const char *path, struct reason *why);

struct qtree_info
{
    uint64_t id, volume_id;
    char path[LUN_NAME_MAX + 1]; /* "VOLUME/QTREE" */
    char comment[LUN_COMMENT_MAX + 1];
    uint64_t lun_count, logical_bytes, created_ns;
};

/* Of @volume, or of all volumes (NULL); by path; free *list. */
MUST_CHECK int qtree_list(struct pool *pool, const char *volume, struct qtree_info **list,
                          size_t *count, struct reason *why);

struct volume_snapshot_args
{
    const char *name;
    const char *comment;      /* may be NULL */
    uint64_t locked_until_ns; /* 0: it can be deleted at any time */
};

/*
 * All LUNs of @volumes (one or more: a consistency group), at one instant: a snapshot @args->name
 * of each volume, and of each LUN in it. All or none.
 */
MUST_CHECK int volume_snapshot_create(struct pool *pool, const char *const *volumes, size_t count,
                                      const struct volume_snapshot_args *args, struct reason *why);
/*
 * With the snapshots of its LUNs. -EBUSY: volume clones depend on it (@why names them and the ways
 * on); with LUN_DEFER it is marked instead and goes with the last of them. -EPERM: locked.
 */
MUST_CHECK int volume_snapshot_delete(struct pool *pool, const char *volume, const char *snapshot,
                                      unsigned flags, struct reason *why);
MUST_CHECK int volume_snapshot_rename(struct pool *pool, const char *volume, const char *snapshot,
                                      const char *new_snapshot, struct reason *why);
/* snapshot_restore() of all LUNs that the snapshot holds; LUNs made since are left alone, as are
 * qtrees, of which those are made anew that LUNs which come back need. All or none. */
MUST_CHECK int volume_snapshot_restore(struct pool *pool, const char *volume, const char *snapshot,
                                       unsigned flags, struct reason *why);
MUST_CHECK int volume_snapshot_lock(struct pool *pool, const char *volume, const char *snapshot,
                                    uint64_t locked_until_ns, struct reason *why);

struct volume_snapshot_info
{
    uint64_t id, volume_id;
    char name[2 * LUN_NAME_MAX + 2]; /* "VOLUME@SNAPSHOT" */
    char comment[LUN_COMMENT_MAX + 1];
    uint64_t created_ns, locked_until_ns;
    uint32_t lun_count;
    uint32_t clone_count; /* volumes that depend on it: it is busy */
    bool is_automatic;    /* made by volume_clone() */
    bool is_deferred;     /* goes with its last dependent volume */
    uint64_t logical_bytes;
};

/* Of @volume, or of all volumes (NULL); oldest first within a volume; free *list. */
MUST_CHECK int volume_snapshot_list(struct pool *pool, const char *volume,
                                    struct volume_snapshot_info **list, size_t *count,
                                    struct reason *why);

struct volume_clone_args
{
    const char *volume;
    const char *snapshot; /* NULL: one is made, named "clone_NAME.UTC-TIME.N" */
    const char *name;
    bool unguaranteed; /* else it is guaranteed if the parent is, or it is refused with -ENOSPC */
    bool no_reserve;   /* else its LUNs are reserved if those are, or it is refused likewise */
    bool unlocked;     /* of a locked volume, snapshot or LUN: an unlocked one; else -EPERM */
    const char *comment;
};

/* A volume whose LUNs and qtrees are those of a snapshot, by the names that they had then, and with
 * new identities. Size and policies are the parent's, attributes of LUNs the present ones. It
 * depends on the snapshot until it is split or deleted, and leaves it behind then. */
MUST_CHECK int volume_clone(struct pool *pool, const struct volume_clone_args *args,
                            struct reason *why);
/* Ends the dependency at once, without a copy: blocks stay shared, and each is freed when the last
 * that uses it goes. A deferred snapshot goes with its last dependent. -EINVAL: not a clone. */
MUST_CHECK int volume_clone_split(struct pool *pool, const char *name, struct reason *why);

/* ---- quotas -------------------------------------------------------------------------------- */

/*
 * Limits on the sum of the logical sizes of LUNs: of a qtree or volume (tree), of an owner (user)
 * or of a group, within one volume. A tree quota refuses whatever would exceed it; user and group
 * quotas refuse create, resize and changes of owner, but let clones through, over-allocated and
 * reported. The target "*" is the default for every target of its type without a rule.
 */
enum quota_type
{
    QUOTA_TREE,
    QUOTA_USER,
    QUOTA_GROUP,
};

struct quota_rule
{
    enum quota_type type;
    char volume[LUN_NAME_MAX + 1];
    char target[LUN_NAME_MAX +
                1]; /* tree: qtree, or "" for the volume; user, group: its name; "*" */
    char qtree[LUN_NAME_MAX + 1]; /* user, group: only within this qtree; "": the whole volume */
    uint64_t hard_bytes;          /* UINT64_MAX: no limit, only tracked */
    uint64_t soft_bytes;          /* an event above and one on return; UINT64_MAX: none */
    uint64_t threshold_bytes;     /* an event above; UINT64_MAX: none */
};

/* Makes the rule or changes it. Never fails for what is used already. */
MUST_CHECK int quota_rule_set(struct pool *pool, const struct quota_rule *rule, struct reason *why);
MUST_CHECK int quota_rule_delete(struct pool *pool, const struct quota_rule *rule,
                                 struct reason *why);
MUST_CHECK int quota_rule_list(struct pool *pool, const char *volume, struct quota_rule **list,
                               size_t *count, struct reason *why);
/* Rules of a volume are enforced only while they are on; off from the beginning. */
MUST_CHECK int quota_set_enabled(struct pool *pool, const char *volume, bool on,
                                 struct reason *why);

struct quota_usage
{
    struct quota_rule rule; /* with the target's own name where a default rule applies */
    bool is_default, is_enabled;
    uint64_t used_bytes;
    uint64_t lun_count;
};

/* What is used beside what is allowed. @path: only what binds that LUN, qtree or volume; NULL: all.
 */
MUST_CHECK int quota_report(struct pool *pool, const char *path, struct quota_usage **list,
                            size_t *count, struct reason *why);

/* ---- I/O ----------------------------------------------------------------------------------- */

enum lun_open_flags
{
    LUN_READ_ONLY = 1,
    LUN_BACKGROUND = 2, /* for the server's own work: does not count as a client, so nothing is
                           refused because of it; it gets -ESTALE when the LUN is deleted */
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
/* From now on no write through this handle, or through any of the pool's, waits for room in a
 * volume that pauses when it is full: those that do end with -ENOSPC. For aborts and shutdown. */
void lun_stop_waiting(struct lun *lun);
void pool_stop_waiting(struct pool *pool);
/*
 * Asked on the thread of the write and without locks before one through the handle waits for room,
 * and now and then meanwhile: true ends it as lun_stop_waiting() does, but only this write.
 * @reason: what it ends with, -ENOSPC or for the volume's bound -EDQUOT.
 */
typedef bool lun_is_over_fn(void *opaque, int reason);
/* Before the handle is used for writing. */
void lun_set_is_over(struct lun *lun, lun_is_over_fn *is_over, void *opaque);
/*
 * For who lets a write wait elsewhere than on its thread: is_over() says true, and the write is
 * tried again later. How long it may wait (0: the volume of the LUN does not pause); from when to
 * when it does, as events tell it; whether a new attempt may end in another way, which looks for
 * room, perhaps waits for a checkpoint, and takes locks.
 */
uint64_t lun_pause_ms(const struct lun *lun);
void lun_wait_begin(struct lun *lun, int reason);
void lun_wait_end(struct lun *lun);
bool lun_is_to_retry(struct lun *lun);

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

/* ---- loans: reads without a copy ----------------------------------------------------------- */

enum
{
    LUN_LOAN_PARTS = 8,
};

/* In the order of the bytes. Owned by the borrower, filled in by lun_lend(). */
struct lun_loan
{
    unsigned count;
    struct lun_loan_part
    {
        const void *at; /* NULL: zeros */
        size_t len;
        uint64_t device_offset; /* private, as all below */
    } parts[LUN_LOAN_PARTS];
    struct pool *pool;
    uint32_t epoch, loan_epoch;
};

/*
 * What lun_read() would give, where it lies in memory, for a system call such as sendmsg() to copy
 * from. The borrower never touches it himself: a part that the device has lost meanwhile is an
 * EFAULT in the system call and would be a SIGBUS in the process; lun_loan_read() is for that and
 * for what was not copied. Until lun_return() the bytes are those of this LUN: who overwrites it
 * shows, as in any read that is on its way, but nothing of another LUN ever does, whatever is
 * deleted or restored.
 *
 * Others wait for a loan (checkpoints, jobs), so it is for moments: between the two calls nothing
 * is done that may wait for them in turn: no command, no write, no lock that is held across one.
 * Reading, and lending more, is allowed.
 *
 * 0, or what lun_read() fails with, or, and then lun_read() is to be asked: -EAGAIN: not now, it is
 * not in memory for one; -ENOTSUP: never (a difference, a device that does not lend). With an error
 * nothing is lent.
 */
MUST_CHECK int lun_lend(struct lun *lun, size_t len, uint64_t offset, struct lun_loan *loan);
/* Copies @len bytes from byte @from of the loan. */
MUST_CHECK int lun_loan_read(const struct lun_loan *loan, void *buf, size_t len, size_t from);
void lun_return(struct lun_loan *loan);

/* For who is going to wait for commands of this pool while he holds a lock that borrowers take:
 * beforehand, without it. Waits until all is back; nothing is lent until pool_allow_lending(). */
void pool_stop_lending(struct pool *pool);
void pool_allow_lending(struct pool *pool);

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
    char kind[16]; /* "delete", "merge", "reclaim", "shrink", "scrub" */
    char subject[2 * LUN_NAME_MAX + 2];
    char state[16];                 /* "running"; "waiting": for others, or for room; "failed" */
    char problem[160];              /* of one that failed: why, and what helps */
    uint64_t done_blks, total_blks; /* total 0: not known */
};

/* The background work of the moment. Free *list. */
MUST_CHECK int job_list(struct pool *pool, struct job_info **list, size_t *count);
/* Until job @id is gone (0: all but what waits), @timeout_ms at most (0: without end). -ETIMEDOUT.
 * -EBADMSG: it failed (0: some did, and the others are done). -ENOENT: no job can have had that
 * number: it was not given to anything yet, or is that of something else that is there. */
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

/*
 * A repair makes anew what follows from the catalog and the trees: free space (bitmaps, tables),
 * counters, copies of the superblock, the index of the catalog's pages, drop lists. It writes only
 * where neither the trees nor any readable bitmap have something, and can be run again when it was
 * cut off. It does not mend maps or pages of the catalog: what is lost of those is named, and stays
 * an error where it is read. What is left of deleted LUNs whose maps are lost is given up, and
 * becomes free.
 */
struct repair_options
{
    bool dry_run;         /* find out what it would do, and write nothing */
    bool take_over;       /* as in pool_open_options */
    bool discard_journal; /* what cannot be read of the journal is given up, with all behind it */
};

struct repair_result
{
    uint64_t mended, left; /* findings that were mended, and that were not */
};

/* Of a pool that nobody has open. Reports what it finds, as an error what stays so; with dry_run
 * the same as without, save what follows from a lost index of the catalog. 0 also if something is
 * left; an error: the pool is as it was, and cannot be repaired. */
MUST_CHECK int pool_repair(struct env *env, const char *path, const struct repair_options *options,
                           check_report_fn *report, void *opaque, struct repair_result *result,
                           struct reason *why);
/* Closes @device, whatever it returns. */
MUST_CHECK int pool_repair_device(struct env *env, struct device *device,
                                  const struct repair_options *options, check_report_fn *report,
                                  void *opaque, struct repair_result *result, struct reason *why);

/*
 * A salvage reads what there is of LUNs and snapshots in a pool that nobody has open, however it is
 * damaged. It writes nothing there.
 */
struct salvage;

enum salvage_way
{
    SALVAGE_WHOLE,    /* the pool opens */
    SALVAGE_REPAIRED, /* it would after a repair, in which changes of the last seconds may be lost
                       */
    SALVAGE_RAW,      /* of the catalog as the last checkpoint left it, what can be read */
};

struct salvage_item
{
    char name[4 * LUN_NAME_MAX]; /* "volume-ID", "lun-ID", "line-ID" where a name is lost */
    uint64_t size_bytes;         /* 0: not known, of an unnamed one */
    uint64_t mapped_bytes;
    bool is_there;   /* else its map is lost as a whole */
    bool is_unnamed; /* "line-ID": a LUN or snapshot whose name is lost, or that was deleted */
    bool is_old;     /* found on a page that may be out of date: parts may be others' data */
};

MUST_CHECK int salvage_open(struct env *env, const char *path, struct salvage **salvage,
                            struct reason *why);
/* Closes @device, at once or with the salvage. */
MUST_CHECK int salvage_open_device(struct env *env, struct device *device, struct salvage **salvage,
                                   struct reason *why);
void salvage_close(struct salvage *salvage); /* NULL is accepted */
enum salvage_way salvage_way(const struct salvage *salvage);
size_t salvage_count(const struct salvage *salvage);
const struct salvage_item *salvage_item(const struct salvage *salvage, size_t i); /* by name */

/* A part of a LUN, ascending; @bytes NULL: it is lost. What is not told was never written. Not 0
 * ends the reading. */
typedef int salvage_fn(void *opaque, uint64_t offset, uint64_t len, const void *bytes);
MUST_CHECK int salvage_read(struct salvage *salvage, const char *name, salvage_fn *each,
                            void *opaque, struct reason *why);
/* The same of the map alone, without reading data: @bytes that are not NULL may not be looked at.
 */
MUST_CHECK int salvage_read_map(struct salvage *salvage, const char *name, salvage_fn *each,
                                void *opaque, struct reason *why);

/*
 * A scrub reads every block of metadata from the device, beside all other work: whether it can be
 * read and holds what was written there. Data has no checksums and is not read. What is damaged is
 * an event each, "scrub.damaged"; what memory or another copy still knows is written anew.
 * It is a job: job_list() and job_wait() know it. One at a time.
 */
struct scrub_options
{
    uint64_t rate_bytes; /* read so much a second at most; 0: without a pause */
};

struct scrub_info
{
    uint64_t id; /* of its job; 0: there was none since the pool was opened */
    bool is_running, is_cancelled;
    int error; /* why it ended early; or 0 */
    uint64_t started_ns, ended_ns;
    uint64_t done_blks, total_blks; /* the latter is an estimate until it has ended */
    uint64_t damaged_blks;
    uint64_t repaired_blks; /* of those, written anew */
    uint64_t spare_blks;    /* of the others, those that nothing needs: copies of the superblock */
};

/* -EBUSY: one runs. Without threads (pool_start()) the caller makes the steps. */
MUST_CHECK int pool_scrub_start(struct pool *pool, const struct scrub_options *options,
                                uint64_t *id, struct reason *why);
/* 1: go on, 0: it is over, or there is none. An error has ended it. */
MUST_CHECK int pool_scrub_step(struct pool *pool);
/* Ends soon after. -ENOENT: none runs with this id. */
MUST_CHECK int pool_scrub_cancel(struct pool *pool, uint64_t id);
/* Of the one that runs or was last, and what it has found. */
MUST_CHECK int pool_scrub_get(struct pool *pool, struct scrub_info *info, check_report_fn *report,
                              void *opaque);

/* Prints structures. @what: "superblock", "groups", "objects", "lines", "map NAME", "drops ID",
 * "journal", "block NUMBER". */
typedef void dump_line_fn(void *opaque, const char *text);
MUST_CHECK int pool_dump(struct pool *pool, const char *what, dump_line_fn *line, void *opaque,
                         struct reason *why);

#endif
