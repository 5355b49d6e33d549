/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the engine's own files share: the pool, its lines, LUNs and other objects in memory.
 *
 * Who may change what:
 *  - under pool->management: only one management command or job step decides at a time;
 *  - lines, LUNs, snapshots, names change only in apply(), with management, the CP gate
 *    (exclusive) and catalog_lock (exclusive) held; so any one of the three is enough to read;
 *  - the trees of a head change only in apply(): by writers with the gate shared and
 *    lun->map_lock, by jobs with the gate exclusive (and map_lock, where readers look); who only
 *    looks at them for a moment takes map_lock too;
 *  - counters of a line change with its trees and are read without a lock by listings, so they are
 *    atomics with relaxed order: each is a figure of its own.
 */
#ifndef LUN_POOL_POOL_INTERNAL_H
#define LUN_POOL_POOL_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lun/base/env.h"
#include "lun/base/list.h"
#include "lun/base/lock.h"
#include "lun/base/reader.h"
#include "lun/lun.h"
#include "lun/map/memo.h"
#include "lun/map/range.h"
#include "lun/pool/cache.h"
#include "lun/pool/device.h"
#include "lun/pool/format.h"
#include "lun/pool/hash.h"
#include "lun/pool/journal.h"
#include "lun/pool/space.h"
#include "lun/pool/tree.h"

/* What a checkpoint must write of an object: it knows its slot. Embedded at the head of each. */
struct object
{
    struct hash_link by_id;
    uint64_t id;
    enum disk_object_kind kind;
    uint32_t slot;          /* in its page */
    struct page *page;      /* NULL until it is placed, in apply() */
    struct list dirty_link; /* in pool->dirty_objects, under pool->dirty_lock; or alone */
    _Atomic bool is_dirty;  /* set under dirty_lock; cleared at the switch */
};

enum
{
    PAGE_COPIES = 2, /* of each page of the catalog, and of the index that leads to it */
};

/* A page of object slots; its blocks are assigned at the switch of a checkpoint. */
struct page
{
    uint64_t number;
    uint64_t blks[PAGE_COPIES]; /* of the last checkpoint that wrote it; 0: none */
    uint64_t cp_id;             /* that checkpoint */
    uint32_t slot_bytes;
    uint32_t slot_count, used_count;
    struct object *objects[DISK_PAGE_SLOTS_MAX]; /* under the CP gate, exclusive */
    struct list free_link;                       /* in pool->pages_free[]: has an empty slot */
    bool is_dirty;                               /* under pool->dirty_lock */
    struct list dirty_link;                      /* in pool->dirty_pages */
    uint64_t count_mark; /* of the last record_count_pages() that met it; under management */
};

/* An index of the catalog that the next checkpoint makes anew; what is known of its nodes is freed
 * then. */
struct index_loss
{
    bool is_lost;
    struct node_ref *nodes;
    size_t count, capacity;
};

/* What the ledger (volume/ledger.h) has booked for an object; under its lock. */
struct line_books
{
    struct volume_object *volume; /* who is charged */
    uint64_t charged_blks;
};

struct lun_books
{
    struct volume_object *volume;
    _Atomic uint64_t needs_blks;
    bool is_reserved;
    bool has_point; /* of what nodes_max was made, like the next two */
    uint64_t size_blks, point_blks;
    uint64_t nodes_max;
};

struct volume_books
{
    uint64_t charged_blks;   /* to its lines */
    uint64_t lun_needs_blks; /* of its reserved LUNs */
    uint64_t needs_blks;     /* what it is in the sum of promises */
    uint64_t taken_blks;     /* by writes under way */
    uint64_t held_blks;      /* for the command under way */
    uint64_t left_max_blks;  /* while its record is applied: what is held is left out */
    bool is_guaranteed, is_booking;
};

struct ledger
{
    struct lock lock;       /* LOCK_RANK_LEDGER */
    uint64_t needs_blks;    /* of all reserved LUNs and guaranteed volumes */
    uint64_t held_blks;     /* for what the record of the command under way will promise */
    uint64_t booking_blks;  /* while that is applied: what was promised and held before */
    uint64_t promise_count; /* reserved LUNs, guaranteed volumes */
    uint64_t slack_blks;    /* LEDGER_SLACK_BLKS; tests make it scarce */
    bool is_holding;        /* also under management; held_blks, or some of a volume, are not 0 */
};

struct line
{
    struct object object;
    struct list all_link; /* pool->lines, oldest first */
    struct line *predecessor;
    struct list children; /* of struct line, by child_link */
    struct list child_link;
    uint32_t child_count;
    _Atomic uint32_t undropped_children; /* children whose drop list is empty */
    uint32_t walking_children;           /* children that have begun their walk */
    struct list snapshots;               /* of struct lun_object, by point_link */
    uint32_t snapshot_count;
    struct lun_object *lun; /* of a head that is not dying */
    /* Whom its own blocks are charged to, or NULL: of a head its LUN's volume, and a point keeps
     * what it had as a head. */
    struct volume_object *volume;
    struct list volume_link; /* in volume->lines, or alone */
    /* Of a dying head, until the end of the record: the LUN, which is deleted or goes elsewhere. */
    struct lun_object *left_by;
    struct line_books books;
    uint32_t birth;
    uint32_t frozen_at;         /* 0: a head */
    uint64_t frozen_blks;       /* size when it froze; 0: a head, or not known */
    _Atomic uint32_t own_after; /* own: born after this; the predecessor's frozen_at or 0 */
    _Atomic bool is_touched;
    bool is_dying;
    bool is_walking;
    uint32_t walk_phase;
    struct tree_key walk_key;
    _Atomic uint64_t mapped_blks, own_blks, dropped_data_blks, dropped_node_blks;
    _Atomic uint64_t own_node_blks; /* nodes of map and drop list */
    bool is_uncounted;              /* at open: the disk does not say own_node_blks */
    bool is_drops_lost;             /* a repair: its drop list cannot be read */
    struct line *goes_with;         /* a repair: see check/repair_deleted.c */
    struct tree map;
    struct tree drops;
    /* map/io_window.c */
    _Atomic uint32_t window_blks;         /* how large the next one is: it grows with use */
    atomic_bool window_is_begun;          /* by somebody, just now */
    _Atomic uint64_t window, window_next; /* where its next data goes: hints */
    struct list job_link;                 /* in pool->job_lines, under job_lock; or alone */
    _Atomic int job_error; /* work on it met damage, and is not tried again before the next open */
    uint32_t scan_birth;   /* of a hidden point: where reclaim goes on in the smallest list */
    uint64_t scan_blk;
};

static inline bool line_is_hidden_point(const struct line *line)
{
    return line->frozen_at != 0 && line->snapshot_count == 0;
}

static inline bool line_owns(const struct line *line, uint32_t birth)
{
    return birth > atomic_load_explicit(&line->own_after, memory_order_relaxed);
}

struct volume_object
{
    struct object object;
    struct hash_link by_name; /* pool->volumes_by_name */
    struct list all_link;     /* pool->volumes */
    char *name, *comment;
    uint8_t uuid[16];
    uint64_t created_ns, locked_until_ns;
    /* These are changed in apply() while hosts write. */
    _Atomic uint64_t size_bytes; /* 0: no bound */
    _Atomic uint32_t flags;      /* enum disk_volume_flags */
    _Atomic uint32_t pause_ms;
    struct list luns;      /* of struct lun_object, by volume_link: LUNs only */
    struct list deleted;   /* the same of deleted ones, which its snapshots still hold */
    struct list qtrees;    /* of struct qtree_object, by volume_link */
    struct list snapshots; /* of struct volume_snapshot_object, by volume_link, oldest first */
    struct list lines;     /* of struct line, by volume_link: charged to it */
    uint64_t lun_count, deleted_count, qtree_count, snapshot_count, line_count;
    struct volume_books books;
    uint64_t parent_snapshot_id;           /* of a clone: what it depends on; or 0 */
    struct volume_snapshot_object *parent; /* the same; NULL until all are loaded */
    struct list clone_link;                /* in parent->clones */
};

/* One of a volume, or of a snapshot of it, as it was then: nobody finds that by its name. */
struct qtree_object
{
    struct object object;
    struct hash_link by_name; /* pool->qtrees_by_name; not of a snapshot's */
    struct volume_object *volume;
    struct volume_snapshot_object *snapshot; /* whose it is; NULL: the volume's */
    struct list volume_link;                 /* in volume->qtrees or snapshot->qtrees */
    char *name;                              /* "VOLUME/QTREE" */
    char *comment;
    uint64_t created_ns;
    struct list luns; /* of struct lun_object, by qtree_link; of a snapshot's: members */
    uint64_t lun_count;
    uint64_t copy_id, copy_round; /* under management: the qtree that a command makes like it */
};

struct volume_snapshot_object
{
    struct object object;
    struct hash_link by_name; /* pool->volume_snapshots_by_name */
    struct volume_object *volume;
    struct list volume_link;
    char *name; /* "VOLUME@SNAPSHOT" */
    char *comment;
    uint64_t created_ns, locked_until_ns;
    uint32_t flags;      /* enum disk_volume_snapshot_flags */
    struct list members; /* of struct lun_object, by member_link: snapshots of its LUNs */
    uint32_t member_count;
    struct list qtrees; /* of struct qtree_object, by volume_link: as they were */
    uint64_t qtree_count;
    struct list clones; /* of struct volume_object, by clone_link */
    uint32_t clone_count;
};

/* A LUN or a snapshot. */
struct lun_object
{
    struct object object;
    struct hash_link by_name; /* pool->luns_by_name: full name */
    struct list all_link;     /* pool->luns or pool->deleted_luns: LUNs only */
    char *name;               /* the full one: "VOLUME/QTREE/LUN@SNAPSHOT", what there is of it */
    char *comment, *origin;
    /* Changes under the gate (exclusive). Of those who read under map_lock, one may see it late:
     * commands on many LUNs lock such readers out afterwards (lun_group_run()). */
    _Atomic(struct line *) line; /* NULL: of a deleted LUN */
    /* A LUN that was deleted and that snapshots of its volume hold: no name finds it, nobody opens
     * it. What was open is another object in memory, and dead. */
    bool is_deleted;
    struct lun_object *lun; /* of a snapshot: its LUN, else itself */
    struct list snapshots;  /* of a LUN: its snapshots, oldest first, by lun_link */
    struct list lun_link;
    struct list point_link; /* of a snapshot: in line->snapshots */
    uint32_t snapshot_count;
    struct volume_object *volume; /* of a LUN; NULL: outside volumes */
    struct list volume_link;      /* in volume->luns or volume->deleted */
    struct qtree_object *qtree;   /* of a LUN, and of a placed member: one of its set; NULL: none */
    struct list qtree_link;       /* in qtree->luns */
    uint64_t group_round; /* under management: of the last command on many LUNs that has it; */
    size_t group_place;   /* and where in it */
    struct volume_snapshot_object *volume_snapshot; /* of a snapshot that is part of one */
    struct list member_link;                        /* in volume_snapshot->members */
    _Atomic bool is_reserved;
    struct lun_books books;
    bool is_autodelete;
    uint64_t expire_ns, locked_until_ns;
    char *owner, *group; /* "": nobody's */
    uint8_t uuid[16];
    _Atomic uint64_t size_bytes;
    uint64_t trim_end_bytes;
    _Atomic bool trim_failed; /* on damage: it rests until the pool is opened again */
    uint64_t created_ns;
    uint32_t sector_bytes;
    struct lock map_lock;   /* LOCK_RANK_MAP */
    struct memo_place memo; /* extents that reads found: see map/memo.h */
    /* Counts lines it was put on for other content, not freezes: see io_confirm(). */
    _Atomic uint64_t replacements;
    struct range_table *ranges;     /* locked ranges: see map/range.h */
    _Atomic uint32_t open_handles;  /* changed under catalog_lock */
    _Atomic uint32_t paused_writes; /* that wait for room */
    _Atomic bool is_dead;           /* deleted: handles get -ESTALE */
    uint32_t references;            /* object + handles, under pool->handle_lock */
};

/* Whether the snapshot is named after where its LUN was, and not after where that is. */
static inline bool lun_is_placed(const struct lun_object *snapshot)
{
    const struct volume_snapshot_object *set = snapshot->volume_snapshot;
    return set && (set->flags & DISK_VOLUME_SNAPSHOT_PLACED);
}

struct store_object
{
    struct object object;
    struct hash_link by_name; /* pool->store_by_key */
    char *key;
    uint8_t *value;
    uint16_t key_len, value_len;
};

struct event_ring;
struct scrub;

/* Who is inside, by parity. */
struct epochs
{
    _Atomic uint64_t counts[2];
    _Atomic uint32_t now;
};

struct pool
{
    struct env *env;
    struct device *device;
    char *path;
    struct pool_open_options options;
    struct disk_super super; /* as last written; under cp_lock */
    uint64_t pool_id;        /* immutable, like the next five */
    uint32_t group_blks;
    char name[LUN_NAME_MAX + 1];
    uint8_t uuid[16];
    uint64_t created_ns;
    uint64_t journal_half_blks;
    _Atomic uint64_t size_blks;
    _Atomic int health;   /* enum pool_health */
    _Atomic bool io_came; /* a host's, since jobs_must_rest() looked */
    bool is_read_only;    /* opened so */
    bool is_recovering;   /* pool_open() only */
    bool splits_narrowly; /* replay of what was recorded before DISK_FEATURE_SPLITS */
    uint64_t opened_ns, opened_passed_ns; /* env's two clocks then */
    uint64_t features;                    /* incompatible ones, on disk; under management */

    struct lock management;     /* LOCK_RANK_MANAGEMENT */
    struct lock cp_lock;        /* LOCK_RANK_CP */
    struct rwlock cp_gate;      /* LOCK_RANK_CP_GATE */
    struct rwlock catalog_lock; /* LOCK_RANK_CATALOG */
    struct lock dirty_lock;     /* LOCK_RANK_SHARED_TREE: lists of dirty objects and pages */
    struct lock handle_lock;    /* LOCK_RANK_LEAF */

    struct lock atomic_lock; /* LOCK_RANK_ATOMIC */
    struct ledger ledger;
    _Atomic bool keeps_space; /* something is promised: nothing is given back to what is below */

    struct cache *cache;
    struct space *space;
    struct journal *journal;

    uint64_t group_round;         /* counts commands on many LUNs; under management */
    struct range_hold group_hold; /* where writes wait for such a command */
    uint32_t generation;          /* under management + gate */
    _Atomic uint64_t next_id; /* counts under management; a checkpoint reads it under the gate */
    _Atomic uint64_t cp_id;   /* of the checkpoint in the making; changes at the switch */
    _Atomic uint64_t durable_cp_id; /* of the last one that is on the device as a whole */

    struct hash objects_by_id; /* under catalog_lock */
    struct hash luns_by_name;
    struct hash store_by_key, volumes_by_name, qtrees_by_name, volume_snapshots_by_name;
    struct list lines, luns, deleted_luns, volumes;
    uint64_t line_count, lun_count, snapshot_count, volume_count;
    _Atomic uint64_t dying_count;

    struct tree pages_trees[PAGE_COPIES];        /* each leads to one copy of every page */
    struct index_loss index_losses[PAGE_COPIES]; /* under the gate, exclusive */
    unsigned index_at;                           /* the one that a checkpoint prepares */
    struct page **pages;                         /* by number; under the gate, exclusive */
    uint64_t page_count, page_capacity;
    struct list pages_free[2]; /* small, large */
    struct list dirty_objects, dirty_pages;
    struct page_image *page_images; /* of the checkpoint being written: cp_lock */
    size_t page_image_count, page_image_capacity;
    uint64_t page_images_cp_id;
    uint64_t dirty_page_count; /* under dirty_lock, as the next */
    uint64_t pages_owed_blks;  /* of what the next checkpoint takes: for dirty pages */
    uint64_t used_page_count;  /* with objects; under the gate, exclusive */
    uint64_t page_count_mark;  /* of record_count_pages(), under management */
    bool is_loading;           /* catalog_load() only */
    struct writer encoded;     /* of catalog_object_settle(): under the gate, exclusive */

    struct lock job_lock; /* LOCK_RANK_LEAF */
    struct condition job_wake, job_idle, job_stop_wake;
    struct list job_lines, job_lazy;
    _Atomic bool job_trims;          /* a LUN may have a tail to unmap */
    _Atomic bool job_lazy_trims;     /* one has, and there was no room for it */
    bool job_stop, job_is_idle;      /* under job_lock */
    _Atomic uint32_t job_work;       /* in records, since jobs_must_rest() looked */
    _Atomic uint32_t job_rests_left; /* without I/O */
    _Atomic uint64_t job_rests;      /* counts them */

    struct epochs reads; /* see epoch_enter() */

    /* map/loan.c. A loan is inside both. */
    struct epochs loans;
    struct lock loan_lock;             /* LOCK_RANK_LEAF: one that waits for loans at a time */
    _Atomic uint32_t lending_stops;    /* of pool_stop_lending() that are in force */
    _Atomic uint64_t departures;       /* lines that something was shown by and is not any more */
    _Atomic uint64_t departures_alone; /* how many of them no loan has to do with */

    struct lock cp_wait_lock; /* LOCK_RANK_LEAF: requests for and ends of checkpoints */
    struct condition cp_wake, cp_done;
    uint64_t cp_requested, cp_completed; /* counts of checkpoints */
    uint64_t cp_done_well;               /* cp_completed of the last that did not fail */
    uint64_t cp_last_seq;                /* when that one began */
    bool cp_running;
    int cp_error; /* of the first that failed; -ENOMEM is none */
    _Atomic bool threads_running;
    bool threads_stop; /* under cp_wait_lock */
    pthread_t cp_thread, job_thread;

    struct lock pause_lock; /* LOCK_RANK_LEAF: writes that wait for room */
    struct condition pause_wake;
    _Atomic bool stops_waiting;

    struct scrub *scrub;
    struct event_ring *events;
    lun_change_hook *change_hook;
    void *change_opaque;
    _Atomic uint64_t sync_count, cp_count;
    atomic_bool no_room_below;      /* a write failed for want of room below the pool */
    _Atomic uint64_t full_event_ms; /* when the last pool.full event was added */
    _Atomic uint64_t damage_event_ms, job_event_ms; /* the same of pool.damaged, job.failed */
    _Atomic uint64_t broken_event_ms;               /* likewise promise.broken; 0: never */
    _Atomic uint64_t volume_refused_ms;             /* when a volume had no room for a write; 0 */
    _Atomic uint64_t volume_event_ms;               /* likewise volume.full */
};

/* 0, or the error that a change meets: -EROFS, -EIO after a failure. */
MUST_CHECK int pool_may_change(const struct pool *pool);

/* Makes the health worse (never better), with an event. */
void pool_degrade(struct pool *pool, enum pool_health health, const char *what, int err);

/* Before the first record that needs @feature, DISK_FEATURE_*: it is on disk, in the superblock.
 * Makes a checkpoint unless it is there. Under management. */
MUST_CHECK int pool_add_feature(struct pool *pool, uint64_t feature);

/* The smallest journal that takes a record of @bytes, and the smallest pool that has room for it.
 */
void pool_size_for_record(uint64_t bytes, uint64_t *journal_bytes, uint64_t *pool_bytes);

/* device_sync() with the rule that a failed one is never retried. */
MUST_CHECK int pool_sync(struct pool *pool);
/* device_write_durable(), as a write and a sync: after a failure of either the pool has failed. */
MUST_CHECK int pool_write_durable(struct pool *pool, const void *buf, size_t len, uint64_t offset);

/* A write found no room: the health says so until there is some again; an event, not too often. */
void pool_note_full(struct pool *pool, const struct lun_object *lun);
/* There may be space again: the one health that is left again. */
void pool_note_space(struct pool *pool);
/* Returns @r, the result of a request to @lun; an event if it is damage, not too often. */
int pool_note_damage(struct pool *pool, const struct lun_object *lun, int r);
/* A job met error @r: a line in the log and an event, not too often. */
void pool_note_job(struct pool *pool, int r);

void pool_notify(struct pool *pool, enum lun_change change, uint64_t lun_id, const char *name);

/* ---- epochs */
static inline uint32_t epochs_enter(struct epochs *epochs)
{
    for (;;)
    {
        uint32_t epoch = atomic_load(&epochs->now);
        atomic_fetch_add(&epochs->counts[epoch & 1], 1);
        /* Pairs with epochs_drain(): either it sees this count, or this sees the new epoch. */
        if (atomic_load(&epochs->now) == epoch)
            return epoch;
        atomic_fetch_sub(&epochs->counts[epoch & 1], 1);
    }
}

static inline void epochs_leave(struct epochs *epochs, uint32_t epoch)
{
    atomic_fetch_sub(&epochs->counts[epoch & 1], 1);
}

/* Waits until all that were inside at the call have left. One caller at a time. */
void epochs_drain(struct epochs *epochs);

/* Reads that may still look at a freed block. */
static inline uint32_t epoch_enter(struct pool *pool)
{
    return epochs_enter(&pool->reads);
}

static inline void epoch_leave(struct pool *pool, uint32_t epoch)
{
    epochs_leave(&pool->reads, epoch);
}

/* Waits until every read that was inside at the call has left. One caller at a time (cp_lock). */
void epoch_drain(struct pool *pool);

/* ---- loans (map/loan.c)
 *
 * What a line shared may become the own of another LUN, and be overwritten in place, once nothing
 * is shown by that line any more: by the record of ACTION_HAND_OVER, and no other. So that one
 * waits for the loans of before. */

/* Something was shown by a line, and is not any more. In apply(), afterwards. */
static inline void loan_note_departure(struct pool *pool)
{
    atomic_fetch_add(&pool->departures, 1); /* partner: loan_await() */
}

/* Waits for the loans of departed lines. With nothing held that who reads may wait for: management,
 * the gate, or any lock that is taken before them. */
void loan_await(struct pool *pool);
/* With management held: whether that is true of all that departed. */
bool loan_is_awaited(const struct pool *pool);

#endif
