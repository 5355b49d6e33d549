/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of space share: groups and their bitmaps in memory. See space.h. */
#ifndef LUN_POOL_SPACE_INTERNAL_H
#define LUN_POOL_SPACE_INTERNAL_H

#include <string.h>

#include "lun/base/checked.h"
#include "lun/pool/pool_internal.h"
#include "lun/pool/space.h"

enum
{
    WORD_BITS = 64,
    NODE_WINDOW_BLKS = 64,
    SPACE_ALIGN_BLKS = 16, /* 64 KiB */
    SPACE_RESERVE_MIN = 96,
    SPACE_RESERVE_MAX = 1 << 17,
    SPACE_RESERVE_SHARE = 64, /* one part in so many */
    SPACE_DIRTY_MAX = 1 << 15,
    SPACE_CHECKPOINT_BLKS = 24,    /* that what frees leaves to checkpoints, for inner nodes */
    SPACE_SETTINGS_LEAVE_MIN = 80, /* of the reserve, to what frees and to checkpoints */
    SPACE_URGENT_RESERVE_MAX = 64, /* what an urgent use leaves of the reserve */
    SPACE_IDLE_BLKS = 64,          /* that are taken at once only to be given back */
    SPACE_IMAGES_SPARE = 16,       /* of bitmaps, for what the switch itself dirties */
    SPACE_SEGMENT_GROUPS = 4096,
    SPACE_SEGMENTS =
        DISK_SUPER_TABLES * DISK_TABLE_FANOUT * DISK_TABLE_FANOUT / SPACE_SEGMENT_GROUPS + 1,
};

/* A slot of a bitmap or table, as on disk. */
struct slot
{
    uint64_t cp_id; /* 0: never written */
    uint32_t crc;
    uint8_t slot;
};

/* Freed while the group's bitmap was not in memory. */
struct late_free
{
    struct late_free *next;
    uint32_t bit, len;
};

struct group
{
    uint32_t blks;
    uint32_t free;  /* not busy; of an unread group: not allocated */
    bool is_dirty;  /* differs from disk */
    bool is_lost;   /* a repair: its table is damaged, so nobody knows where its bitmap is */
    bool is_guess;  /* a repair: nobody knows what was in use, so all of it is */
    uint64_t *busy; /* NULL: not read yet */
    uint64_t *allocated;
    struct late_free *late;
    struct slot slot;   /* this and the next: checkpoints alone change them */
    uint32_t slot_free; /* not allocated in the bitmap that the slot is of */
};

struct deferred
{
    uint64_t blk;
    uint64_t len;
};

struct deferred_list
{
    struct deferred *items;
    size_t count, capacity;
    uint64_t blks;
};

/* The image of a bitmap that a checkpoint writes. */
struct image
{
    struct disk_bitmap *disk;
    uint64_t group;
    uint32_t free; /* not allocated */
};

struct space
{
    struct pool *pool;
    struct lock lock; /* LOCK_RANK_SPACE; guards all below */
    uint32_t group_blks;
    uint64_t group_count; /* usable */
    uint64_t group_total; /* with those that a grow adds */
    /* In segments that never move: whoever reads a bitmap holds no lock while it does. */
    struct group *segments[SPACE_SEGMENTS];
    struct slot *tables1, *tables2;
    struct disk_table *table; /* the one being written, by checkpoints */
    uint64_t total_blks, fixed_blks, free_blks, loaded_free_blks;
    uint64_t data_blks, node_blks;
    _Atomic uint64_t base_blks; /* set under lock; space_dirty_limit() only looks */
    uint64_t catalog_blks;      /* that writing all of it may take */
    uint64_t reserve_blks;      /* what follows from both */
    uint64_t admitted, owed, promised;
    uint64_t taken;          /* by space_take(): neither committed nor given back yet */
    uint64_t held_blks;      /* a repair: free, and not taken before the pool is opened again */
    uint64_t taken_promised; /* those of them that a promise will be less by */
    uint64_t data_cursor, node_cursor, node_window_end;
    _Atomic uint64_t area_end; /* of the node area; set under lock */
    bool area_is_full;         /* nothing has become free in it since a search found nothing */
    struct deferred_list deferred[2]; /* [0]: since the switch, [1]: before it */
    struct image *images;             /* only the checkpoint's thread, from switch to write */
    size_t image_count, image_capacity;
    uint64_t image_cp_id;
    uint64_t dirty_groups;
    uint64_t image_data_blks, image_node_blks;
};

static inline struct group *space_group(const struct space *space, uint64_t g)
{
    return &space->segments[g / SPACE_SEGMENT_GROUPS][g % SPACE_SEGMENT_GROUPS];
}

static inline uint64_t words_for(uint32_t blks)
{
    return div_round_up(blks, WORD_BITS);
}

static inline bool bit_get(const uint64_t *bits, uint64_t bit)
{
    return bits[bit / WORD_BITS] >> (bit % WORD_BITS) & 1;
}

/* Calls for each word of [bit, bit+len) would be faster; runs are short or few. */
static inline void bits_set(uint64_t *bits, uint64_t bit, uint64_t len)
{
    while (len > 0)
    {
        uint64_t shift = bit % WORD_BITS, n = min_u64(len, WORD_BITS - shift);
        uint64_t mask = n == WORD_BITS ? UINT64_MAX : ((UINT64_C(1) << n) - 1) << shift;
        bits[bit / WORD_BITS] |= mask;
        bit += n;
        len -= n;
    }
}

static inline void bits_clear(uint64_t *bits, uint64_t bit, uint64_t len)
{
    while (len > 0)
    {
        uint64_t shift = bit % WORD_BITS, n = min_u64(len, WORD_BITS - shift);
        uint64_t mask = n == WORD_BITS ? UINT64_MAX : ((UINT64_C(1) << n) - 1) << shift;
        bits[bit / WORD_BITS] &= ~mask;
        bit += n;
        len -= n;
    }
}

static inline bool bits_all(const uint64_t *bits, uint64_t bit, uint64_t len, bool value)
{
    while (len > 0)
    {
        uint64_t shift = bit % WORD_BITS, n = min_u64(len, WORD_BITS - shift);
        uint64_t mask = n == WORD_BITS ? UINT64_MAX : ((UINT64_C(1) << n) - 1) << shift;
        if ((bits[bit / WORD_BITS] & mask) != (value ? mask : 0))
            return false;
        bit += n;
        len -= n;
    }
    return true;
}

/* First clear bit in [from, end), or end. */
static inline uint64_t bits_find_clear(const uint64_t *bits, uint64_t from, uint64_t end)
{
    while (from < end)
    {
        uint64_t word = ~bits[from / WORD_BITS] >> (from % WORD_BITS);
        if (word)
            return min_u64(from + (uint64_t)__builtin_ctzll(word), end);
        from = (from / WORD_BITS + 1) * WORD_BITS;
    }
    return end;
}

/* First set bit in [from, end), or end. */
static inline uint64_t bits_find_set(const uint64_t *bits, uint64_t from, uint64_t end)
{
    while (from < end)
    {
        uint64_t word = bits[from / WORD_BITS] >> (from % WORD_BITS);
        if (word)
            return min_u64(from + (uint64_t)__builtin_ctzll(word), end);
        from = (from / WORD_BITS + 1) * WORD_BITS;
    }
    return end;
}

static inline uint64_t slot_blk(const struct space *space, uint64_t group,
                                enum disk_group_head head, unsigned slot)
{
    return group * space->group_blks + (uint64_t)head + slot;
}

static inline struct slot slot_from_disk(const struct disk_slot *disk)
{
    return (struct slot){.cp_id = le48_get(disk->cp_id),
                         .crc = le32_get(disk->crc32c),
                         .slot = (uint8_t)(le16_get(disk->slot) & 1)};
}

static inline struct disk_slot slot_to_disk(const struct slot *slot, uint32_t free_blks)
{
    return (struct disk_slot){.cp_id = le48_put(slot->cp_id),
                              .slot = le16_put(slot->slot),
                              .crc32c = le32_put(slot->crc),
                              .free_blks = le32_put(free_blks)};
}

static inline uint32_t count_clear(const uint64_t *bits, uint32_t blks)
{
    uint32_t set = 0;
    for (uint64_t i = 0; i < words_for(blks); i++)
        set += (uint32_t)__builtin_popcountll(bits[i]);
    return (uint32_t)words_for(blks) * WORD_BITS - set;
}

static inline uint32_t space_fixed_in_group(const struct space *space, uint64_t group)
{
    uint64_t journal = 2 * space->pool->journal_half_blks;
    return (uint32_t)(DISK_GROUP_HEAD_BLKS + (group == 0 ? journal : 0));
}

/* space_load.c: the block that @slot says is at @head of @group; verified. */
MUST_CHECK int space_read_slot(struct space *space, const struct slot *slot, uint64_t group,
                               enum disk_group_head head, enum disk_magic magic, void *buf);
/* space_load.c: brings the bitmap of a group into memory, if it is not there. Without the lock. */
MUST_CHECK int space_load_group(struct space *space, uint64_t g);
/* space_load.c: sums that follow from the groups. */
void space_recount(struct space *space);
/* space_load.c: a tree frees what the bitmap has free; the pool changes nothing any more. */
void space_contradiction(struct space *space, uint64_t blk);
/* space_load.c: with the lock: [bit, bit + len) is not allocated any more, and still busy. */
void group_apply_free_locked(struct space *space, struct group *group, uint32_t bit, uint32_t len);
/* space.c: with the lock. */
void space_free_again_locked(struct space *space, uint64_t blk, uint64_t len);
void group_take_locked(struct space *space, struct group *group, uint64_t bit, uint64_t len);
void group_drop_late(struct group *group);
/* space_write.c: has the next checkpoint write the group's bitmap, and the tables above it, though
 * nothing changed. False: the bitmap is not in memory. */
bool space_write_again(struct space *space, uint64_t g);
void space_set_reserve(struct space *space);

#endif
