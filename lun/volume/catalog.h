/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Objects of the pool (lines, LUNs, snapshots, volumes, qtrees, configuration): in memory by id and
 * by name, on disk in slots of pages. All of them are in memory; a page is written by the
 * checkpoint after a change.
 *
 * Changing functions are for apply() only: with pool->management, the CP gate (exclusive) and
 * pool->catalog_lock (exclusive) held, or while the pool is being opened.
 */
#ifndef LUN_VOLUME_CATALOG_H
#define LUN_VOLUME_CATALOG_H

#include <stdbool.h>

#include "lun/base/err.h"
#include "lun/base/reader.h"
#include "lun/pool/format.h"
#include "lun/pool/tree.h"

struct line;
struct page;
struct lun_object;
struct object;
struct pool;
struct qtree_object;
struct store_object;
struct volume_object;
struct volume_snapshot_object;

/* With catalog_lock held (shared) or under management. NULL: not there. Names may begin with
 * "/vol/". */
struct lun_object *catalog_find_lun(struct pool *pool, const char *full_name);
struct volume_object *catalog_find_volume(struct pool *pool, const char *name);
struct qtree_object *catalog_find_qtree(struct pool *pool, const char *path);
struct volume_snapshot_object *catalog_find_volume_snapshot(struct pool *pool, const char *name);
struct store_object *catalog_find_store(struct pool *pool, const char *key);
struct object *catalog_find_any(struct pool *pool, uint64_t id);
struct line *catalog_find_line(struct pool *pool, uint64_t id);
struct lun_object *catalog_find_lun_by_id(struct pool *pool, uint64_t id);
struct volume_object *catalog_find_volume_by_id(struct pool *pool, uint64_t id);
struct qtree_object *catalog_find_qtree_by_id(struct pool *pool, uint64_t id);
struct volume_snapshot_object *catalog_find_volume_snapshot_by_id(struct pool *pool, uint64_t id);

/* The bytes behind struct disk_object in a slot and in a record. */
void catalog_encode(const struct object *object, struct writer *writer);

/* What an OBJ_PUT record carries: makes the object or changes it. -EBADMSG for impossible bytes. */
MUST_CHECK int catalog_put(struct pool *pool, enum disk_object_kind kind, uint64_t id,
                           struct reader *reader);
/* Whether nothing that is there refers to the object (not a line). */
bool catalog_may_delete(const struct object *object);
/* Takes an object out of all indexes and its slot, and frees it once nobody refers to it. */
void catalog_delete(struct pool *pool, struct object *object);

/* A new line, empty, in no place of the lineage yet. */
struct line *catalog_new_line(struct pool *pool, uint64_t id);

/* Charges the line's own blocks to @volume (NULL: to nobody) from now on. */
void catalog_set_line_volume(struct pool *pool, struct line *line, struct volume_object *volume);

/* The next checkpoint writes its page. Any thread, under the gate. */
void catalog_mark_dirty(struct pool *pool, struct object *object);

/* The same for page @number, though nothing of it changed. Under the gate. */
void catalog_write_again(struct pool *pool, uint64_t number);
/* Behind the journal: pages that are there once are written twice, as far as there is room. */
void catalog_write_twice(struct pool *pool);
/* Index @copy of the catalog cannot be read: the next checkpoint makes it anew. With the gate,
 * exclusive; may read. -ENOMEM: it is not noted. */
MUST_CHECK int catalog_lose_index(struct pool *pool, unsigned copy);
/* Whether copy @copy of @page is on the device as it should be. It must not be written meanwhile.
 */
MUST_CHECK int catalog_verify_copy(struct pool *pool, const struct page *page, unsigned copy);

/* References of handles to a LUN or snapshot object; the object itself holds one. */
void lun_object_get(struct pool *pool, struct lun_object *lun);
void lun_object_put(struct pool *pool, struct lun_object *lun);

/* ---- checkpoints; see checkpoint.c */
/* Before the gate is taken: memory for the pages that are dirty now, which costs more than filling
 * it. Under cp_lock. */
MUST_CHECK int catalog_make_room(struct pool *pool);
/* The most blocks that a checkpoint takes for @dirty pages of @pages and what leads to them, beside
 * the inner nodes of a path to each copy. */
uint64_t catalog_blks_to_write(uint64_t dirty, uint64_t pages);
MUST_CHECK int catalog_prepare_switch(struct pool *pool, struct tree_op *op);
void catalog_switch(struct pool *pool, struct tree_op *op);
MUST_CHECK int catalog_write(struct pool *pool);

/* At open: reads all pages and joins what belongs together. */
MUST_CHECK int catalog_load(struct pool *pool);
void catalog_destroy(struct pool *pool);

#endif
