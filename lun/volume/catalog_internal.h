/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the catalog share. All of it for apply() only, as catalog.h says. */
#ifndef LUN_VOLUME_CATALOG_INTERNAL_H
#define LUN_VOLUME_CATALOG_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "lun/base/reader.h"
#include "lun/pool/hash.h"
#include "lun/volume/catalog.h"

/* ---- every object */

void catalog_object_init(struct pool *pool, struct object *object, enum disk_object_kind kind,
                         uint64_t id);
/* After a change of its bytes: it gets a slot, another one if they have outgrown the present one,
 * and is written by the next checkpoint. */
void catalog_object_settle(struct pool *pool, struct object *object);
void catalog_object_leave_page(struct pool *pool, struct object *object);
/* The place of @from, which has none any more. */
void catalog_object_take_slot(struct object *object, struct object *from);
/* Out of its page and the index of ids: another object may have that. */
void catalog_object_leave_index(struct pool *pool, struct object *object);
void catalog_free_pages(struct pool *pool);

/* A copy of the bytes in place of *string. */
MUST_CHECK int catalog_string_set(char **string, const char *bytes, size_t len);
/* Gives an object in @hash the name @full in place of *name; nothing if it is the same. */
MUST_CHECK int catalog_name_set(struct hash *hash, struct hash_link *link, char **name,
                                const char *full);

/* Bytes of a name or a comment in a record or slot: not NUL-terminated. */
struct text
{
    const char *bytes;
    size_t len;
};

/* The next @len bytes, at most @max, without NUL, '/' and '@' if it @is_name, and then not empty;
 * else the reader fails. */
struct text catalog_read_text(struct reader *reader, size_t len, size_t max, bool is_name);

/* ---- the index: where copies of pages are (catalog_index.c) */

/* At open. -ENOENT: there is no such copy. */
MUST_CHECK int catalog_index_find(struct pool *pool, unsigned copy, uint64_t number,
                                  struct tree_op *op, uint64_t *blk, uint64_t *cp_id);
/* With the gate and what catalog_index_prepare() has pinned. */
void catalog_index_put(struct pool *pool, struct tree_op *op, unsigned copy,
                       const struct page *page);
MUST_CHECK int catalog_index_prepare(struct pool *pool, struct tree_op *op);
/* Memory for the nodes that entering all dirty pages may make. */
MUST_CHECK int catalog_index_reserve(struct pool *pool);
/* The switch: makes anew what was lost. */
void catalog_index_renew(struct pool *pool, struct tree_op *op);
/* What was damaged, at open, and is going to be mended if the pool is open for writing. */
void catalog_say_damage(struct pool *pool, const char *format, ...) PRINTF_LIKE(2, 3);

/* ---- lines */

struct line *catalog_line_alloc(struct pool *pool, uint64_t id); /* NULL without memory */
MUST_CHECK int catalog_line_decode(struct pool *pool, struct line *line, struct reader *reader,
                                   uint64_t *predecessor_id);

/* ---- LUNs and snapshots */

MUST_CHECK int catalog_put_lun(struct pool *pool, enum disk_object_kind kind, uint64_t id,
                               struct reader *reader);
void catalog_forget_lun(struct pool *pool, struct lun_object *lun);
void catalog_free_lun(struct lun_object *lun);
/* The names of the LUN and of its snapshots, as its volume's and qtree's are now. */
MUST_CHECK int catalog_rename_lun(struct pool *pool, struct lun_object *lun, const char *own);

/* ---- volumes, qtrees, volume snapshots */

MUST_CHECK int catalog_put_volume(struct pool *pool, uint64_t id, struct reader *reader);
MUST_CHECK int catalog_put_qtree(struct pool *pool, uint64_t id, struct reader *reader);
MUST_CHECK int catalog_put_volume_snapshot(struct pool *pool, uint64_t id, struct reader *reader);
void catalog_forget_volume(struct pool *pool, struct volume_object *volume);
void catalog_forget_qtree(struct pool *pool, struct qtree_object *qtree);
void catalog_forget_volume_snapshot(struct pool *pool, struct volume_snapshot_object *snapshot);
void catalog_free_volume(struct volume_object *volume);
void catalog_free_qtree(struct qtree_object *qtree);
void catalog_free_volume_snapshot(struct volume_snapshot_object *snapshot);
/* At open, once all are there: which volumes depend on which snapshots. */
MUST_CHECK int catalog_join_volumes(struct pool *pool);

#endif
