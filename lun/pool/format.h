/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every structure on disk, and nothing else. FORMAT.md describes the whole in tables.
 *
 * Blocks are 4096 bytes and are numbered from 0. Every metadata block but a bitmap's payload begins
 * with struct disk_header, and whoever points to it knows the checkpoint in which it was written. A
 * block is written at most once in a checkpoint, so (block, checkpoint) names one content: a lost,
 * a stale or a misdirected write is noticed as surely as rot is by the checksum.
 */
#ifndef LUN_POOL_FORMAT_H
#define LUN_POOL_FORMAT_H

#include <assert.h> /* static_assert */
#include <stddef.h>

#include "lun/base/endian.h"
#include "lun/limits.h"

#define BLK_BYTES LUN_BLK_BYTES

enum
{
    DISK_VERSION = 1,
    DISK_BLK_BITS = 40, /* 4 PiB of pool, 4 PiB of LUN */
    DISK_CP_BITS = 47,  /* of checkpoint numbers: pointers have room for 48 */
    DISK_SUPER_COPIES = 4,
    DISK_GROUP_HEAD_BLKS = 8,
    DISK_GROUP_BLKS_MAX = (BLK_BYTES - 64) * 8,
    DISK_GROUP_BLKS_MIN = 256,
    DISK_TABLE_FANOUT = 252,
    DISK_SUPER_TABLES = 96,
    DISK_SECTOR = 512, /* unit of the journal */
    DISK_LEVELS_MAX = 8,
};

#define DISK_BLKS_MAX (UINT64_C(1) << DISK_BLK_BITS)

/* Blocks at the head of each allocation group, whatever its number. */
enum disk_group_head
{
    DISK_HEAD_SUPER = 0,  /* 2 copies; groups 0 and 1 only */
    DISK_HEAD_BITMAP = 2, /* 2 slots */
    DISK_HEAD_TABLE1 = 4, /* 2 slots; groups that are a multiple of DISK_TABLE_FANOUT */
    DISK_HEAD_TABLE2 = 6, /* 2 slots; groups that are a multiple of its square */
};

enum disk_magic
{
    DISK_MAGIC_SUPER = 0x504e554c,  /* "LUNP" */
    DISK_MAGIC_BITMAP = 0x424e554c, /* "LUNB" */
    DISK_MAGIC_TABLE = 0x544e554c,  /* "LUNT" */
    DISK_MAGIC_NODE = 0x4e4e554c,   /* "LUNN" */
    DISK_MAGIC_PAGE = 0x4f4e554c,   /* "LUNO" */
    DISK_MAGIC_BATCH = 0x4a4e554c,  /* "LUNJ" */
};

struct disk_header
{
    struct le32 crc32c; /* of the whole block with this field zero */
    struct le32 magic;
    struct le64 pool_id;
    struct le64 blk;
    struct le64 cp_id;
};
static_assert(sizeof(struct disk_header) == 32, "disk_header");

/* Points to a bitmap or a table block: which of the two slots, and what is in it. */
struct disk_slot
{
    struct le48 cp_id; /* 0: never written, all free */
    struct le16 slot;
    struct le32 crc32c;
    struct le32 free_blks; /* of a group; 0 in pointers to tables */
};
static_assert(sizeof(struct disk_slot) == 16, "disk_slot");

struct disk_bitmap
{
    struct disk_header header;
    uint8_t reserved[32];
    uint8_t bits[BLK_BYTES - 64]; /* 1: allocated */
};
static_assert(sizeof(struct disk_bitmap) == BLK_BYTES, "disk_bitmap");

struct disk_table
{
    struct disk_header header;
    struct le32 level; /* 1: slots of bitmaps, 2: slots of level 1 tables */
    uint8_t reserved[28];
    struct disk_slot slots[DISK_TABLE_FANOUT];
};
static_assert(sizeof(struct disk_table) == BLK_BYTES, "disk_table");

/* Where a tree begins; blk 0: it is empty. */
struct disk_root
{
    struct le48 blk;
    struct le48 cp_id;
    struct le32 birth;
    uint8_t levels;
    uint8_t reserved[7];
};
static_assert(sizeof(struct disk_root) == 24, "disk_root");

struct disk_super
{
    struct disk_header header;
    struct le32 version;
    struct le32 sector_bytes_min; /* reserved: 0 */
    struct le64 feature_compat;
    struct le64 feature_ro_compat;
    struct le64 feature_incompat;
    uint8_t uuid[16];
    struct le64 created_ns;
    struct le64 opens; /* how often it was opened for writing */
    struct le64 size_blks;
    struct le32 group_blks;
    struct le32 flags; /* enum disk_super_flags */
    struct le64 journal_blk;
    struct le64 journal_half_blks;
    struct le64 journal_id;   /* random, new at each checkpoint: stale batches never chain */
    struct le32 journal_half; /* where records after this checkpoint begin */
    struct le32 reserved1;
    struct le64 last_seq; /* the last record that is part of this checkpoint */
    struct le32 generation;
    struct le32 reserved2;
    struct le64 next_id;
    struct le64 data_blks;
    struct le64 node_blks;
    struct le64 page_count;
    struct disk_root pages;
    struct disk_root
        refs; /* shared references; empty until an incompatible feature says otherwise */
    uint8_t name[LUN_NAME_MAX + 1];
    uint8_t holder_host[64]; /* who has it open, NUL-terminated; "" when closed in order */
    uint8_t holder_boot[40];
    struct le64 holder_pid;
    struct disk_root pages_twin; /* leads to the second copies of pages: DISK_FEATURE_TWICE */
    uint8_t reserved3[BLK_BYTES - 32 - 160 - 48 - 192 - 64 - 40 - 8 - 24 - 16 * DISK_SUPER_TABLES];
    struct disk_slot tables[DISK_SUPER_TABLES]; /* level 2 */
};
static_assert(sizeof(struct disk_super) == BLK_BYTES, "disk_super");
static_assert(offsetof(struct disk_super, tables) == BLK_BYTES - 16 * DISK_SUPER_TABLES, "tables");

enum disk_super_flags
{
    DISK_SUPER_CLEAN = 1, /* closed in order: the journal is empty */
};

/* Incompatible: objects of the kinds 5 to 7, and the longer forms of lines and LUNs. Every pool
 * that a version which knows them opens for writing gets it. */
#define DISK_FEATURE_VOLUMES UINT64_C(1)
/* Incompatible: no record of the journal divides a node of a tree so that a part covers fewer keys
 * than half a node has entries, save for the last node of a level. Set by the checkpoint that ends
 * the first opening for writing: records before it are replayed as they were made. */
#define DISK_FEATURE_SPLITS UINT64_C(2)
/* Incompatible: pages_twin, and pages that are there twice. Set by the same checkpoint; pages of
 * before it are written twice with it as far as there is room, else when they are written next. */
#define DISK_FEATURE_TWICE UINT64_C(4)
/* Incompatible: volume snapshots know where their LUNs were (DISK_VOLUME_SNAPSHOT_PLACED), and LUNs
 * that are deleted stay as long as such a snapshot holds them (DISK_LUN_DELETED). Set before the
 * first of either is recorded. */
#define DISK_FEATURE_PLACES UINT64_C(8)

/* Features this version knows; unknown incompatible bits refuse to open, unknown ro_compat ones
 * open read-only, compatible ones are ignored. */
#define DISK_FEATURES_COMPAT UINT64_C(0)
#define DISK_FEATURES_RO_COMPAT UINT64_C(0)
#define DISK_FEATURES_INCOMPAT (DISK_FEATURES_ALWAYS | DISK_FEATURE_PLACES)
/* What every pool has that this version opened for writing. */
#define DISK_FEATURES_ALWAYS (DISK_FEATURE_VOLUMES | DISK_FEATURE_SPLITS | DISK_FEATURE_TWICE)

/* ---- trees --------------------------------------------------------------------------------- */

enum disk_tree_kind
{
    DISK_TREE_MAP = 1,   /* (0, lba) -> extent */
    DISK_TREE_DROPS = 2, /* (birth, blk) -> count */
    DISK_TREE_PAGES = 3, /* (0, page number) -> page */
    DISK_TREE_REFS = 4,  /* reserved */
};

struct disk_map_entry
{
    struct le40 lba;
    struct le16 len_blks;
    struct le40 blk;
    struct le32 birth;
};

struct disk_drop_entry
{
    struct le32 birth;
    struct le40 blk;
    struct le16 len_blks;
    struct le32 count;
    uint8_t is_node;
};

struct disk_page_entry
{
    struct le40 page;
    struct le40 blk;
    struct le48 cp_id;
};

/* One entry of a leaf, of whichever kind the tree is. */
union disk_entry
{
    struct disk_map_entry map;
    struct disk_drop_entry drop;
    struct disk_page_entry page;
    uint8_t bytes[16];
};
static_assert(sizeof(union disk_entry) == 16, "disk_entry");

/* A child, whose keys are at or above key and below the next child's. The first key is not looked
 * at: it stands for minus infinity. */
struct disk_child
{
    struct le32 key_hi;
    struct le40 key_lo;
    struct le40 blk;
    struct le32 birth;
    struct le48 cp_id;
};
static_assert(sizeof(struct disk_child) == 24, "disk_child");

enum
{
    DISK_LEAF_ENTRIES = (BLK_BYTES - 64) / 16,  /* 252 */
    DISK_NODE_CHILDREN = (BLK_BYTES - 64) / 24, /* 168 */
};

struct disk_node
{
    struct disk_header header;
    struct le32 birth;
    struct le16 count;
    uint8_t level; /* 0: leaf */
    uint8_t kind;
    uint8_t reserved[24];
    union
    {
        union disk_entry entries[DISK_LEAF_ENTRIES];
        struct disk_child children[DISK_NODE_CHILDREN];
    };
};
static_assert(sizeof(struct disk_node) == BLK_BYTES, "disk_node");

/* ---- objects ------------------------------------------------------------------------------- */

/*
 * Objects (lines, LUNs, snapshots, configuration) live in slots of pages. A page has 7 slots of 576
 * bytes, or one of 4032. The pages tree says where page N is.
 */
enum
{
    DISK_PAGE_SMALL = 576,
    DISK_PAGE_LARGE = 4032,
    DISK_PAGE_SLOTS_MAX = 7,
};

struct disk_page
{
    struct disk_header header;
    struct le64 page;
    struct le16 slot_bytes;
    struct le64 twin; /* the block of the other copy, which has the same content; 0: none */
    uint8_t reserved[14];
    uint8_t slots[DISK_PAGE_LARGE];
};
static_assert(sizeof(struct disk_page) == BLK_BYTES, "disk_page");

enum disk_object_kind
{
    DISK_OBJECT_NONE = 0, /* an empty slot */
    DISK_OBJECT_LINE = 1,
    DISK_OBJECT_LUN = 2,
    DISK_OBJECT_SNAPSHOT = 3,
    DISK_OBJECT_STORE = 4,
    DISK_OBJECT_VOLUME = 5,
    DISK_OBJECT_QTREE = 6,
    DISK_OBJECT_VOLUME_SNAPSHOT = 7,
};

/* At the head of each slot; the kind's bytes follow. */
struct disk_object
{
    struct le16 kind;
    struct le16 len; /* of what follows */
    struct le32 reserved;
    struct le64 id;
};
static_assert(sizeof(struct disk_object) == 16, "disk_object");

enum disk_line_flags
{
    DISK_LINE_TOUCHED = 1,
    DISK_LINE_DYING = 2,
    DISK_LINE_WALKING = 4,
};

struct disk_line
{
    struct le64 predecessor_id;
    struct le32 birth;
    struct le32 frozen_at; /* 0: a head */
    struct le32 flags;
    struct le32 walk_phase; /* see lineage.h */
    struct le32 walk_key_hi;
    struct le32 reserved;
    struct le64 walk_key_lo;
    struct le64 mapped_blks;
    struct le64 own_blks;
    struct le64 dropped_data_blks; /* with their counts */
    struct le64 dropped_node_blks;
    struct disk_root map;
    struct disk_root drops;
    /* Pools without DISK_FEATURE_VOLUMES end here: DISK_LINE_BYTES_1. */
    struct le64 volume_id;     /* whom its own blocks are charged to; 0: nobody */
    struct le64 own_node_blks; /* nodes of its map and drop list that are its own */
    struct le64 frozen_blks;   /* size of what it showed when it froze; 0: a head, or not known */
};
static_assert(sizeof(struct disk_line) == 144, "disk_line");

enum
{
    DISK_LINE_BYTES_1 = 120,
};

enum disk_lun_flags
{
    DISK_LUN_RESERVED = 1,
    DISK_LUN_AUTODELETE = 2,
    DISK_LUN_DELETED = 4, /* it has no line and no qtree, and goes with its last snapshot */
};

/* LUNs and snapshots share this form; strings of these lengths follow: name, comment, origin (of a
 * snapshot that is part of a placed one: the own name that its LUN had). Then struct disk_lun_more
 * with its strings, if anything in it is not zero. */
struct disk_lun
{
    struct le64 line_id; /* 0: of a deleted LUN */
    struct le64 lun_id;  /* of a snapshot: its LUN */
    uint8_t uuid[16];
    struct le64 size_bytes;
    struct le64 trim_end_bytes; /* of a LUN cut short: still to be unmapped up to here; or 0 */
    struct le64 created_ns;
    struct le32 sector_bytes;
    struct le32 flags; /* enum disk_lun_flags */
    struct le16 name_len;
    struct le16 comment_len;
    struct le16 origin_len;
    struct le16 reserved;
};
static_assert(sizeof(struct disk_lun) == 72, "disk_lun");

/* Strings of these lengths follow: owner, group. */
struct disk_lun_more
{
    struct le64 volume_id;          /* of a LUN; 0: in none. A snapshot is where its LUN is */
    struct le64 qtree_id;           /* likewise; of a placed snapshot's part: one that it keeps */
    struct le64 volume_snapshot_id; /* of a snapshot that is part of one */
    struct le64 expire_ns;
    struct le64 locked_until_ns;
    struct le16 owner_len;
    struct le16 group_len;
    struct le32 reserved;
};
static_assert(sizeof(struct disk_lun_more) == 48, "disk_lun_more");

enum disk_volume_flags
{
    DISK_VOLUME_GUARANTEED = 1,
    DISK_VOLUME_PAUSES = 2, /* writes wait for room */
    DISK_VOLUME_QUOTAS = 4, /* its quotas are enforced */
};

/* The name and the comment follow. */
struct disk_volume
{
    uint8_t uuid[16];
    struct le64 size_bytes; /* 0: no bound */
    struct le64 created_ns;
    struct le64 locked_until_ns;
    struct le64 parent_snapshot_id; /* of a clone: the volume snapshot it depends on; or 0 */
    struct le32 flags;              /* enum disk_volume_flags */
    struct le32 pause_ms;
    struct le16 name_len;
    struct le16 comment_len;
    struct le32 reserved;
};
static_assert(sizeof(struct disk_volume) == 64, "disk_volume");

/* The name, without the volume's, and the comment follow; then, of a qtree as a volume snapshot
 * keeps it, which goes with that, the snapshot's id (struct le64). */
struct disk_qtree
{
    struct le64 volume_id;
    struct le64 created_ns;
    struct le16 name_len;
    struct le16 comment_len;
    struct le32 reserved;
};
static_assert(sizeof(struct disk_qtree) == 24, "disk_qtree");

enum disk_volume_snapshot_flags
{
    DISK_VOLUME_SNAPSHOT_AUTOMATIC = 1, /* made for a volume clone */
    DISK_VOLUME_SNAPSHOT_DEFERRED = 2,  /* goes with its last clone */
    DISK_VOLUME_SNAPSHOT_PLACED = 4,    /* keeps qtrees, and its parts where their LUNs were */
};

/* The name, without the volume's, and the comment follow. Its content is in the snapshots that
 * carry its id. */
struct disk_volume_snapshot
{
    struct le64 volume_id;
    struct le64 created_ns;
    struct le64 locked_until_ns;
    struct le32 flags; /* enum disk_volume_snapshot_flags */
    struct le16 name_len;
    struct le16 comment_len;
};
static_assert(sizeof(struct disk_volume_snapshot) == 32, "disk_volume_snapshot");

/* Configuration: the key, then the value. */
struct disk_store
{
    struct le16 key_len;
    struct le16 value_len;
};

/* ---- journal ------------------------------------------------------------------------------- */

/*
 * A batch of records, at a multiple of DISK_SECTOR of a half. It is valid if its checksum holds, it
 * carries the journal_id of the superblock, its first_seq follows on, and its chain is the checksum
 * of the batch before it (0 for the first).
 */
struct disk_batch
{
    struct le32 crc32c; /* of header and payload, with this field zero */
    struct le32 magic;
    struct le64 journal_id;
    struct le64 first_seq;
    struct le64 last_seq;
    struct le64 synced_seq; /* everything up to here was synced before this batch was written */
    struct le32 chain;
    struct le32 payload_bytes;
    struct le32 flags;           /* enum disk_batch_flags */
    struct le64 next_journal_id; /* with DISK_BATCH_OTHER_HALF: of the batches there */
    uint8_t reserved[4];
};
static_assert(sizeof(struct disk_batch) == 64, "disk_batch");

enum disk_batch_flags
{
    DISK_BATCH_OTHER_HALF = 1, /* the next batch is at the head of the other half */
    DISK_BATCH_VERIFY = 2,     /* written with its data, not after it: data checksums decide */
};

/* Before each record in a batch's payload. */
struct disk_record
{
    struct le32 len;        /* of the actions that follow */
    struct le32 node_count; /* behind them: le64 blocks of the tree nodes that applying them made */
    struct le64 seq;
};
static_assert(sizeof(struct disk_record) == 16, "disk_record");

#endif
