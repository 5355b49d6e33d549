/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records: the one way in which metadata changes, live and in recovery.
 *
 * A record is a list of actions, applied as a whole. Actions decide nothing: ids, blocks, births
 * and times are in them. What they do not name is where tree nodes go: recovery may put them
 * elsewhere. FORMAT.md lists the actions byte by byte.
 */
#ifndef LUN_POOL_RECORD_H
#define LUN_POOL_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "lun/base/reader.h"
#include "lun/pool/tree.h"

struct change;
struct object;
struct pool;

enum action_kind
{
    ACTION_WRITE = 1, /* map a range of a head to new blocks */
    ACTION_UNMAP,     /* make a range of a head a hole */
    ACTION_LINE_NEW,  /* a head with an empty map */
    ACTION_FREEZE,    /* a head becomes a point, with a fresh head on it */
    ACTION_HEAD,      /* one more head on a point */
    ACTION_DYING,     /* a head is no longer anybody's */
    ACTION_PUT,       /* make or change a LUN, a snapshot, a configuration value */
    ACTION_DELETE,    /* the same away */
    ACTION_WALK,      /* free one node of a dying leaf, and what it owns there */
    ACTION_GONE,      /* a dying leaf whose walk is over leaves the lineage */
    ACTION_SETTLE,    /* what nothing behind a hidden point uses is freed or passed on */
    ACTION_HAND_OVER, /* a hidden point's only child takes its place */
};

enum action_write_flags
{
    ACTION_WRITE_HAS_CRC = 1,
};

void action_write(struct writer *writer, uint64_t line_id, uint64_t lba, uint64_t blk,
                  uint32_t len_blks, bool has_crc, uint32_t crc);
void action_unmap(struct writer *writer, uint64_t line_id, uint64_t lba, uint64_t len_blks);
void action_line_new(struct writer *writer, uint64_t line_id);
void action_freeze(struct writer *writer, uint64_t line_id, uint64_t new_head_id);
void action_head(struct writer *writer, uint64_t new_head_id, uint64_t point_id);
void action_dying(struct writer *writer, uint64_t line_id);
/* @bytes as catalog_encode() makes them. */
void action_put(struct writer *writer, unsigned object_kind, uint64_t id, const void *bytes,
                size_t len);
void action_delete(struct writer *writer, uint64_t id);
void action_walk(struct writer *writer, uint64_t line_id, uint32_t phase, struct tree_key key);
void action_gone(struct writer *writer, uint64_t line_id);
void action_settle(struct writer *writer, uint64_t point_id, uint32_t birth, uint64_t blk,
                   uint32_t len_blks, bool is_node);
void action_hand_over(struct writer *writer, uint64_t point_id);

/* Finds and pins what applying the record will touch. -EAGAIN with a missing node in one of the
 * change's ops; -EBADMSG if the record cannot be meant for this state. */
MUST_CHECK int record_prepare(struct change *change, const void *actions, size_t len);

/* Applies a prepared record. The error is only for replay: of live records there is none. */
MUST_CHECK int record_apply(struct change *change, const void *actions, size_t len);

/* The data of one write action: where it is, and its checksum if the record has one. */
struct record_data
{
    uint64_t blk, len_blks;
    bool has_crc;
    uint32_t crc;
};
typedef int record_data_fn(void *opaque, const struct record_data *data);
MUST_CHECK int record_each_data(const void *actions, size_t len, record_data_fn *each,
                                void *opaque);

/* Calls @each with the kind of each action. */
typedef void record_kind_fn(void *opaque, enum action_kind kind);
MUST_CHECK int record_each_kind(const void *actions, size_t len, record_kind_fn *each,
                                void *opaque);

/* Pages of the catalog that applying a record of commands changes, and those that it puts the first
 * objects into, at most: the next checkpoint writes them. @actions may have gaps where ids will be.
 * With management held. */
struct record_pages
{
    uint64_t changed, added;
    bool has_deletes;
};
void record_count_pages(struct pool *pool, const void *actions, size_t len,
                        struct record_pages *pages);

/* Calls @each for the blocks that the record's writes name. */
typedef int record_blocks_fn(void *opaque, uint64_t blk, uint64_t len_blks);
MUST_CHECK int record_each_block(const void *actions, size_t len, record_blocks_fn *each,
                                 void *opaque);

#endif
