/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Objects of the pool (lines, LUNs, snapshots, configuration): in memory by id and by name, on disk
 * in slots of pages. All of them are in memory; a page is written by the checkpoint after a change.
 *
 * Changing functions are for apply() only: with pool->management, the CP gate (exclusive) and
 * pool->catalog_lock (exclusive) held, or while the pool is being opened.
 */
#ifndef LUN_VOLUME_CATALOG_H
#define LUN_VOLUME_CATALOG_H

#include "lun/base/err.h"
#include "lun/base/reader.h"
#include "lun/pool/format.h"
#include "lun/pool/tree.h"

struct line;
struct lun_object;
struct object;
struct pool;
struct store_object;

/* With catalog_lock held (shared) or under management. NULL: not there. */
struct lun_object *catalog_find_lun(struct pool *pool, const char *full_name);
struct store_object *catalog_find_store(struct pool *pool, const char *key);
struct object *catalog_find_any(struct pool *pool, uint64_t id);
struct line *catalog_find_line(struct pool *pool, uint64_t id);
struct lun_object *catalog_find_lun_by_id(struct pool *pool, uint64_t id);

/* The bytes behind struct disk_object in a slot and in a record. */
void catalog_encode(const struct object *object, struct writer *writer);

/* What an OBJ_PUT record carries: makes the object or changes it. -EBADMSG for impossible bytes. */
MUST_CHECK int catalog_put(struct pool *pool, enum disk_object_kind kind, uint64_t id,
                           struct reader *reader);
/* Takes an object out of all indexes and its slot, and frees it once nobody refers to it. */
void catalog_delete(struct pool *pool, struct object *object);

/* A new line, empty, in no place of the lineage yet. */
struct line *catalog_new_line(struct pool *pool, uint64_t id);

/* The next checkpoint writes its page. Any thread, under the gate. */
void catalog_mark_dirty(struct pool *pool, struct object *object);

/* References of handles to a LUN or snapshot object; the object itself holds one. */
void lun_object_get(struct pool *pool, struct lun_object *lun);
void lun_object_put(struct pool *pool, struct lun_object *lun);

/* ---- checkpoints; see checkpoint.c */
MUST_CHECK int catalog_prepare_switch(struct pool *pool, struct tree_op *op);
void catalog_switch(struct pool *pool, struct tree_op *op);
MUST_CHECK int catalog_write(struct pool *pool);

/* At open: reads all pages and joins what belongs together. */
MUST_CHECK int catalog_load(struct pool *pool);
void catalog_destroy(struct pool *pool);

#endif
