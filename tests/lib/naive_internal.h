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

/* A part of a volume; LUNs are in it by name. */
struct nv_qtree
{
    struct list node; /* of volume->qtrees */
    uint64_t id, created_ns;
    char name[LUN_NAME_MAX + 1]; /* without the volume's */
    char comment[LUN_COMMENT_MAX + 1];
};

/* A snapshot of a volume; its LUNs' snapshots point to it. */
struct nv_set
{
    struct list node; /* of volume->sets, oldest first */
    struct nv_volume *volume;
    uint64_t id, created_ns, locked_until_ns;
    char name[LUN_NAME_MAX + 1]; /* without the volume's */
    char comment[LUN_COMMENT_MAX + 1];
    bool is_automatic, is_deferred;
    struct list qtrees; /* of struct nv_qtree: copies of those that the volume had */
};

struct nv_volume
{
    struct list node; /* of pool->volumes */
    struct list qtrees, sets;
    struct nv_set *parent; /* of a clone; or NULL */
    uint64_t id, created_ns;
    char name[LUN_NAME_MAX + 1];
    char comment[LUN_COMMENT_MAX + 1];
    uint8_t uuid[16];
    struct volume_attributes attributes; /* but for the comment */
};

/* A LUN, or a snapshot of one. */
struct nv_object
{
    struct list node;      /* of pool->luns, or of its LUN's snapshots */
    struct list snapshots; /* oldest first */
    struct nv_object *lun; /* of a snapshot; NULL once it is gone */
    struct nv_set *set;    /* of a snapshot that is part of one */
    bool is_deleted;       /* a LUN of pool->deleted */
    char
        place[LUN_NAME_MAX + 1]; /* of a snapshot in a set: its LUN's path then, below the volume */
    bool is_reserved, is_autodelete;
    uint64_t expire_ns, locked_until_ns;
    char owner[LUN_OWNER_MAX + 1], group[LUN_OWNER_MAX + 1];
    uint64_t id, size_bytes, created_ns;
    uint32_t sector_bytes, generation;
    unsigned open_handles;
    bool is_gone;                /* deleted under open handles; the last one frees it */
    char name[LUN_NAME_MAX + 1]; /* of a LUN its path, of a snapshot the own one */
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
    uint64_t scrub_id;
    struct list volumes;
    struct list luns;    /* by name */
    struct list deleted; /* LUNs that sets still hold */
    struct list values;  /* by key */
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
/* How many pages nobody else refers to. */
uint64_t nv_content_own_pages(const struct nv_content *content);
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

const char *nv_strip(const char *name);
MUST_CHECK int nv_check_path(const char *name, struct reason *why);

/* naive_manage.c */
void nv_fill_info(struct pool *pool, struct nv_object *object, struct lun_info *info);
/* Whether a LUN may be named so: -EINVAL, -ENOENT of its volume or qtree, -EEXIST. */
MUST_CHECK int nv_check_place(struct pool *pool, const char *name, struct reason *why);
MUST_CHECK int nv_check_unused(const struct nv_object *object, const char *name, unsigned flags,
                               struct reason *why);
MUST_CHECK int nv_check_clone_args(const struct lun_clone_args *args, struct reason *why);
/* The snapshot that the name @lun->name@@snapshot means: the LUN's, or one of a set of its volume.
 */
struct nv_object *nv_snapshot_of(struct pool *pool, const struct nv_object *lun,
                                 const char *snapshot);
/* -EEXIST: snapshots of the LUN itself would be named as others if it were @new_name. */
MUST_CHECK int nv_check_snapshot_names(struct pool *pool, const struct nv_object *lun,
                                       const char *new_name, struct reason *why);
/* The path that the LUN of @snapshot has, or had when a set took it. */
void nv_path_of(const struct nv_object *snapshot, char path[2 * LUN_NAME_MAX + 2]);
/* Whether the deleted LUN of @member can come back where it was, and that it does. */
MUST_CHECK int nv_check_revival(struct pool *pool, const struct nv_object *member,
                                struct reason *why);
MUST_CHECK int nv_revive(struct pool *pool, struct nv_object *member);
/* A clone of @source that is in no list yet. NULL without memory. */
struct nv_object *nv_clone_of(struct pool *pool, struct nv_object *source, const char *name,
                              const struct lun_clone_args *args);
/* The LUN's content and size become those of @from. */
MUST_CHECK int nv_set_content(struct pool *pool, struct nv_object *lun,
                              const struct nv_object *from);

/* naive_volume.c */
struct nv_volume *nv_volume_find(struct pool *pool, const char *name);
struct nv_qtree *nv_qtree_find(struct pool *pool, const char *path);
struct nv_volume *nv_volume_of(struct pool *pool, const struct nv_object *object);
MUST_CHECK int nv_require_volume(struct pool *pool, const char *name, struct nv_volume **volume,
                                 struct reason *why);
/* Whether the LUN is in that volume or qtree. */
bool nv_is_in(const struct nv_object *lun, const char *container);
MUST_CHECK int nv_check_free(struct pool *pool, const char *name, struct reason *why);
MUST_CHECK int nv_check_volume_name(const char *name, struct reason *why);
struct nv_volume *nv_volume_new(struct pool *pool, const char *name);
struct nv_qtree *nv_qtree_new(struct pool *pool, struct nv_volume *volume, const char *name,
                              const char *comment);
uint64_t nv_count_clones(struct pool *pool, const struct nv_set *set);
void nv_set_delete(struct pool *pool, struct nv_set *set);
void nv_set_free(struct nv_set *set);
/* Deletes a snapshot, and with the last one a deleted LUN. */
void nv_snapshot_remove(struct pool *pool, struct nv_object *snapshot);
void nv_leave_parent(struct pool *pool, struct nv_volume *volume);
size_t nv_count_nodes(const struct list *list);
void nv_volumes_clear(struct pool *pool);
bool nv_is_locked(const struct pool *pool, uint64_t until_ns);
/* -EPERM: the LUN or snapshot, or what it is part of, is locked. */
MUST_CHECK int nv_check_unlocked(struct pool *pool, const struct nv_object *object,
                                 struct reason *why);
/* The same, or its LUN is: a clone would not be locked. */
MUST_CHECK int nv_check_clonable(struct pool *pool, const struct nv_object *object,
                                 struct reason *why);
/* A lock that is on must not end earlier. */
MUST_CHECK int nv_check_lock_change(const struct pool *pool, uint64_t until_ns,
                                    uint64_t new_until_ns, struct reason *why);
MUST_CHECK int nv_check_restorable(struct pool *pool, const struct nv_object *lun, unsigned flags,
                                   struct reason *why);

#endif
