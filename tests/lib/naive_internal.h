/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the naive engine share. Everything here is under pool->lock. */
#ifndef TESTS_LIB_NAIVE_INTERNAL_H
#define TESTS_LIB_NAIVE_INTERNAL_H

#include "lun/base/list.h"
#include "lun/base/lock.h"
#include "lun/lun.h"

enum
{
    NV_CHUNK_PAGES = 1024,
    NV_EVENTS_KEPT = 1024,
};

/* One block of content, shared by all objects that hold it. */
struct nv_page
{
    unsigned refs;
    unsigned marks;      /* references found in the set that is being asked about */
    uint64_t mark_round; /* for which question @marks counts */
    uint8_t bytes[LUN_BLK_BYTES];
};

struct nv_chunk
{
    uint64_t first_page;
    unsigned used;
    struct nv_page *pages[NV_CHUNK_PAGES];
};

/* A sparse array of pages: chunks sorted by first_page, none empty. */
struct nv_content
{
    struct nv_chunk **chunks;
    size_t count, capacity;
    uint64_t mapped_pages;
};

/* A LUN, or a snapshot of one. */
struct nv_object
{
    struct list node;      /* of pool->luns, or of its LUN's snapshots */
    struct list snapshots; /* oldest first */
    struct nv_object *lun; /* of a snapshot; NULL once it is gone */
    uint64_t id, size_bytes, created_ns;
    uint32_t sector_bytes, generation;
    unsigned open_handles;
    bool is_gone; /* deleted under open handles; the last one frees it */
    char name[LUN_NAME_MAX + 1];
    char comment[LUN_COMMENT_MAX + 1];
    char origin[2 * LUN_NAME_MAX + 2];
    uint8_t uuid[16];
    struct nv_content content;
};

struct nv_value
{
    struct list node;
    char key[STORE_KEY_MAX + 1];
    size_t len;
    char bytes[STORE_VALUE_MAX + 1];
};

struct pool
{
    struct list node; /* of the registry, which keeps what a closed pool held */
    struct lock lock;
    struct condition event_added;
    struct env *env;
    struct device *device;
    bool is_open, is_read_only;
    char name[LUN_NAME_MAX + 1];
    char path[1024];
    uint8_t uuid[16];
    uint64_t size_bytes, created_ns, opened_ns;
    uint64_t page_count; /* pages in use by all objects */
    uint64_t next_id, generation, mark_round;
    uint64_t checkpoints, flushes;
    struct list luns;   /* by name */
    struct list values; /* by key */
    struct event events[NV_EVENTS_KEPT];
    uint64_t last_event;
    lun_change_hook *hook;
    void *hook_opaque;
};

struct lun
{
    struct pool *pool;
    struct nv_object *object;
    struct nv_object *base; /* "A..B": A; else NULL */
    bool is_read_only;
    uint64_t last_size_bytes;
};

/* naive_content.c */
struct nv_page *nv_content_get(const struct nv_content *content, uint64_t page);
MUST_CHECK int nv_content_copy(struct nv_content *to, const struct nv_content *from);
void nv_content_cut(struct pool *pool, struct nv_content *content, uint64_t first_page,
                    uint64_t end_page);
void nv_content_read(const struct nv_content *content, void *buf, size_t len, uint64_t offset);
MUST_CHECK int nv_content_write(struct pool *pool, struct nv_content *content, const void *buf,
                                size_t len, uint64_t offset);
MUST_CHECK int nv_content_zero(struct pool *pool, struct nv_content *content, uint64_t len,
                               uint64_t offset);
uint64_t nv_content_next_chunk(const struct nv_content *content, uint64_t page);

/* naive.c */
bool nv_name_ok(const char *name);
MUST_CHECK int nv_check_name(const char *name, const char *what, struct reason *why);
MUST_CHECK int nv_check_comment(const char *comment, struct reason *why);
MUST_CHECK int nv_check_writable(const struct pool *pool, struct reason *why);
struct nv_object *nv_find(struct pool *pool, const char *name);
MUST_CHECK int nv_require(struct pool *pool, const char *name, struct nv_object **object,
                          struct reason *why);
MUST_CHECK int nv_require_lun(struct pool *pool, const char *name, struct nv_object **lun,
                              struct reason *why);
MUST_CHECK int nv_require_snapshot(struct pool *pool, const char *lun_name, const char *snapshot,
                                   struct nv_object **object, struct reason *why);
void nv_full_name(const struct nv_object *object, char name[2 * LUN_NAME_MAX + 2]);
struct nv_object *nv_object_new(struct pool *pool, const char *name, const char *comment);
struct nv_object *nv_object_copy(struct pool *pool, const struct nv_object *from, const char *name,
                                 const char *comment);
void nv_object_free(struct pool *pool, struct nv_object *object);
void nv_object_delete(struct pool *pool, struct nv_object *object);
void nv_insert_lun(struct pool *pool, struct nv_object *object);
uint64_t nv_count_objects(const struct list *objects);
void nv_tell(struct pool *pool, enum lun_change change, const char *event, uint64_t id,
             const char *name);

/* naive_manage.c */
void nv_fill_info(struct nv_object *object, struct lun_info *info);

#endif
