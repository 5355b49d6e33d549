/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The naive engine: every function of lun.h, in memory, in the simplest way that is right.
 *
 * It stands in for the real engine while a front end is developed, and is the oracle of the model
 * test. A clone copies the array of page pointers, one lock covers everything, all work is done
 * when a call returns. A pool keeps what it held from close to open within one process; across
 * processes only that the pool exists, its name and size, which are in a small file at its path.
 *
 * Here: names, objects, pools. Commands on LUNs and snapshots are in naive_manage.c, volumes in
 * naive_volume.c and naive_set.c, content in naive_content.c, handles and I/O in naive_io.c,
 * everything else in naive_store.c.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "lun/pool/device.h"
#include "tests/lib/naive_internal.h"

#define NV_MAGIC "lunette naive pool"

static pthread_once_t nv_once = PTHREAD_ONCE_INIT;
static struct lock nv_registry_lock;
static struct list nv_registry; /* all pools that were created or opened in this process */

static void nv_init(void)
{
    lock_init(&nv_registry_lock, LOCK_RANK_MANAGEMENT);
    list_init(&nv_registry);
}

/* ---- names and objects */

bool nv_name_ok(const char *name)
{
    size_t len = name ? strnlen(name, LUN_NAME_MAX + 1) : 0;
    if (len == 0 || len > LUN_NAME_MAX || strstr(name, ".."))
        return false;
    if (!isalnum((unsigned char)name[0]) && name[0] != '_')
        return false;
    for (size_t i = 0; i < len; i++)
    {
        if (!isalnum((unsigned char)name[i]) && !strchr("._:+-", name[i]))
            return false;
    }
    return true;
}

/* "VOLUME/LUN" or "VOLUME/QTREE/LUN". */
static bool nv_path_ok(const char *name)
{
    char part[LUN_NAME_MAX + 1];
    unsigned parts = 0;
    for (const char *at = name; at; parts++)
    {
        size_t len = strcspn(at, "/");
        if (len > LUN_NAME_MAX)
            return false;
        snprintf(part, sizeof(part), "%.*s", (int)len, at);
        if (!nv_name_ok(part))
            return false;
        at = at[len] ? at + len + 1 : NULL;
    }
    return parts <= 3 && strlen(name) <= LUN_NAME_MAX;
}

int nv_check_name(const char *name, const char *what, struct reason *why)
{
    if (nv_name_ok(name))
        return 0;
    return reason_set(why, -EINVAL,
                      "'%s' is no name for a %s: 1 to %d letters, digits and . _ : + - are, "
                      "beginning with a letter, a digit or '_', without '..'.",
                      name ? name : "", what, LUN_NAME_MAX);
}

int nv_check_path(const char *name, struct reason *why)
{
    return name && nv_path_ok(name) ? 0 : nv_check_name(NULL, "LUN", why);
}

const char *nv_strip(const char *name)
{
    return name && strncmp(name, "/vol/", 5) == 0 ? name + 5 : name;
}

int nv_check_comment(const char *comment, struct reason *why)
{
    if (!comment || strnlen(comment, LUN_COMMENT_MAX + 1) <= LUN_COMMENT_MAX)
        return 0;
    return reason_set(why, -EINVAL, "A comment has at most %d bytes.", LUN_COMMENT_MAX);
}

/* Its locks end by the wall clock alone. */
uint64_t pool_lock_clock_ns(struct pool *pool)
{
    return pool->env->now_ns(pool->env);
}

static _Thread_local bool nv_is_dry_run;

/* Refused rather than done after all: there is none. */
void command_dry_run(bool on)
{
    nv_is_dry_run = on;
}

int64_t command_promised_bytes(void)
{
    return 0; /* this engine keeps space for nobody */
}

int nv_check_writable(const struct pool *pool, struct reason *why)
{
    if (nv_is_dry_run)
        return reason_set(why, -ENOTSUP, "The engine in memory has no dry runs.");
    if (!pool->is_read_only)
        return 0;
    return reason_set(why, -EROFS, "Pool '%s' is open for reading only.", pool->name);
}

static struct nv_object *nv_find_snapshot(const struct list *luns, const char *name)
{
    list_for_each (lun, luns, struct nv_object, node)
    {
        list_for_each (snapshot, &lun->snapshots, struct nv_object, node)
        {
            char full[2 * LUN_NAME_MAX + 2];
            nv_full_name(snapshot, full);
            if (strcmp(full, name) == 0)
                return snapshot;
        }
    }
    return NULL;
}

/* @name is "LUN" or "LUN@SNAPSHOT". */
struct nv_object *nv_find(struct pool *pool, const char *name)
{
    name = nv_strip(name);
    if (strchr(name, '@'))
    {
        struct nv_object *found = nv_find_snapshot(&pool->luns, name);
        return found ? found : nv_find_snapshot(&pool->deleted, name);
    }
    list_for_each (lun, &pool->luns, struct nv_object, node)
    {
        if (strcmp(lun->name, name) == 0)
            return lun;
    }
    return NULL;
}

int nv_require(struct pool *pool, const char *name, struct nv_object **object, struct reason *why)
{
    *object = nv_find(pool, name);
    return *object ? 0 : reason_set(why, -ENOENT, "There is no LUN or snapshot '%s'.", name);
}

int nv_require_lun(struct pool *pool, const char *name, struct nv_object **lun, struct reason *why)
{
    *lun = nv_find(pool, name);
    if (*lun && (*lun)->lun)
        return reason_set(why, -EINVAL, "'%s' is a snapshot, not a LUN.", name);
    return *lun ? 0 : reason_set(why, -ENOENT, "There is no LUN '%s'.", name);
}

int nv_require_snapshot(struct pool *pool, const char *lun_name, const char *snapshot,
                        struct nv_object **object, struct reason *why)
{
    struct nv_object *lun = nv_find(pool, lun_name);
    int r = nv_check_name(snapshot, "snapshot", why);
    if (r == 0 && lun && lun->lun)
        r = reason_set(why, -EINVAL, "'%s' is a snapshot, not a LUN.", lun_name);
    if (r < 0)
        return r;
    char name[2 * LUN_NAME_MAX + 2];
    int len = snprintf(name, sizeof(name), "%s@%s", nv_strip(lun_name), snapshot);
    *object = (size_t)len < sizeof(name) ? nv_find(pool, name) : NULL;
    return *object ? 0
                   : reason_set(why, -ENOENT, "LUN '%s' has no snapshot '%s'.", lun_name, snapshot);
}

void nv_path_of(const struct nv_object *snapshot, char path[2 * LUN_NAME_MAX + 2])
{
    if (snapshot->set)
        snprintf(path, 2 * LUN_NAME_MAX + 2, "%s/%s", snapshot->set->volume->name, snapshot->place);
    else
        snprintf(path, 2 * LUN_NAME_MAX + 2, "%s", snapshot->lun->name);
}

void nv_full_name(const struct nv_object *object, char name[2 * LUN_NAME_MAX + 2])
{
    char path[2 * LUN_NAME_MAX + 2];
    if (object->lun)
        nv_path_of(object, path);
    if (object->lun)
        snprintf(name, 2 * LUN_NAME_MAX + 2, "%.*s@%s", LUN_NAME_MAX, path, object->name);
    else
        snprintf(name, 2 * LUN_NAME_MAX + 2, "%s", object->name);
}

struct nv_object *nv_object_new(struct pool *pool, const char *name, const char *comment)
{
    struct nv_object *object = calloc(1, sizeof(*object));
    if (!object)
        return NULL;
    list_init(&object->node);
    list_init(&object->snapshots);
    object->id = pool->next_id++;
    object->created_ns = pool->env->now_ns(pool->env);
    object->generation = (uint32_t)pool->generation;
    pool->env->random_bytes(pool->env, object->uuid, sizeof(object->uuid));
    snprintf(object->name, sizeof(object->name), "%s", name);
    snprintf(object->comment, sizeof(object->comment), "%s", comment ? comment : "");
    return object;
}

/* A new object with the content of @from. */
struct nv_object *nv_object_copy(struct pool *pool, const struct nv_object *from, const char *name,
                                 const char *comment)
{
    struct nv_object *object = nv_object_new(pool, name, comment);
    if (!object)
        return NULL;
    object->size_bytes = from->size_bytes;
    object->sector_bytes = from->sector_bytes;
    if (nv_content_copy(&object->content, &from->content) < 0)
    {
        free(object);
        return NULL;
    }
    return object;
}

void nv_object_free(struct pool *pool, struct nv_object *object)
{
    nv_content_cut(pool, &object->content, 0, UINT64_MAX);
    list_remove(&object->node);
    free(object);
}

/* Takes it out of sight; handles that are open find it gone. */
void nv_object_delete(struct pool *pool, struct nv_object *object)
{
    list_remove(&object->node);
    nv_content_cut(pool, &object->content, 0, UINT64_MAX);
    object->is_gone = true;
    object->lun = NULL;
    object->set = NULL;
    if (object->open_handles == 0)
        nv_object_free(pool, object);
}

void nv_insert_lun(struct pool *pool, struct nv_object *object)
{
    struct list *before = &pool->luns;
    list_for_each (lun, &pool->luns, struct nv_object, node)
    {
        if (strcmp(lun->name, object->name) > 0)
        {
            before = &lun->node;
            break;
        }
    }
    list_add_tail(before, &object->node);
}

uint64_t nv_count_objects(const struct list *objects)
{
    uint64_t count = 0;
    list_for_each (object, objects, struct nv_object, node)
    {
        count++;
    }
    return count;
}

/* An event and the hook's call, after the lock was released. */
void nv_tell(struct pool *pool, enum lun_change change, const char *event, uint64_t id,
             const char *name)
{
    event_add(pool, "info", event, name, "%s: %s", event, name);
    lun_change_hook *hook = NULL;
    void *opaque = NULL;
    {
        AUTO_LOCK(&pool->lock);
        hook = pool->hook;
        opaque = pool->hook_opaque;
    }
    if (hook)
        hook(opaque, change, id, name);
}

void pool_set_change_hook(struct pool *pool, lun_change_hook *hook, void *opaque)
{
    AUTO_LOCK(&pool->lock);
    pool->hook = hook;
    pool->hook_opaque = opaque;
}

/* ---- pool */

static struct pool *nv_registry_find(const char *path)
{
    list_for_each (pool, &nv_registry, struct pool, node)
    {
        if (strcmp(pool->path, path) == 0)
            return pool;
    }
    return NULL;
}

static void nv_pool_clear(struct pool *pool)
{
    struct list *lists[] = {&pool->luns, &pool->deleted};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
    {
        list_for_each_safe (lun, lists[i], struct nv_object, node)
        {
            list_for_each_safe (snapshot, &lun->snapshots, struct nv_object, node)
            {
                nv_object_free(pool, snapshot);
            }
            nv_object_free(pool, lun);
        }
    }
    nv_volumes_clear(pool);
    list_for_each_safe (value, &pool->values, struct nv_value, node)
    {
        list_remove(&value->node);
        free(value);
    }
}

/* The registry's entry for @path, emptied. */
static int nv_pool_make(struct env *env, const char *path, const char *name, uint64_t size_bytes,
                        struct pool **result)
{
    struct pool *pool = nv_registry_find(path);
    if (pool && pool->is_open)
        return -EBUSY;
    if (!pool)
    {
        pool = calloc(1, sizeof(*pool));
        if (!pool)
            return -ENOMEM;
        lock_init(&pool->lock, LOCK_RANK_MANAGEMENT);
        condition_init(&pool->event_added);
        list_init(&pool->volumes);
        list_init(&pool->luns);
        list_init(&pool->deleted);
        list_init(&pool->values);
        list_add_tail(&nv_registry, &pool->node);
        snprintf(pool->path, sizeof(pool->path), "%s", path);
    }
    nv_pool_clear(pool);
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    snprintf(pool->name, sizeof(pool->name), "%s", name && name[0] ? name : base);
    pool->env = env;
    pool->size_bytes = size_bytes;
    pool->created_ns = env->now_ns(env);
    pool->next_id = 1;
    pool->generation = 1;
    env->random_bytes(env, pool->uuid, sizeof(pool->uuid));
    if (result)
        *result = pool;
    return 0;
}

static int nv_check_create(const struct pool_create_options *options, const char *path,
                           struct reason *why)
{
    if (options->name && !nv_name_ok(options->name))
        return nv_check_name(options->name, "pool", why);
    if (options->size_bytes < (1 << 20))
        return reason_set(why, -EINVAL,
                          "A pool has at least 1 MiB; %" PRIu64 " bytes were asked for '%s'.",
                          options->size_bytes, path);
    return 0;
}

int pool_create(struct env *env, const char *path, const struct pool_create_options *options,
                struct reason *why)
{
    reason_clear(why);
    pthread_once(&nv_once, nv_init);
    int r = nv_check_create(options, path, why);
    if (r < 0)
        return r;
    int flags = options->dry_run ? O_RDONLY : O_RDWR | O_CREAT;
    AUTO_CLOSE int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd < 0 && errno == ENOENT && options->dry_run)
        return 0;
    if (fd < 0)
        return reason_set(why, -errno, "Cannot make '%s': %m.", path);
    struct stat stat;
    if (fstat(fd, &stat) < 0)
        return reason_set(why, -errno, "Cannot look at '%s': %m.", path);
    if (stat.st_size > 0 && !options->overwrite)
        return reason_set(why, -EEXIST, "'%s' holds data; use --overwrite to lose it.", path);
    if (options->dry_run)
        return 0;
    AUTO_LOCK(&nv_registry_lock);
    r = nv_pool_make(env, path, options->name, options->size_bytes, NULL);
    if (r < 0)
        return reason_set(why, r, "Cannot make a pool at '%s': it is open.", path);
    struct pool *pool = nv_registry_find(path);
    int len = ftruncate(fd, 0) < 0
                  ? -1
                  : dprintf(fd, "%s\n%s\n%" PRIu64 "\n", NV_MAGIC, pool->name, pool->size_bytes);
    return len < 0 ? reason_set(why, -EIO, "Cannot write '%s': %m.", path) : 0;
}

int pool_create_on_device(struct env *env, struct device *device,
                          const struct pool_create_options *options, struct reason *why)
{
    reason_clear(why);
    pthread_once(&nv_once, nv_init);
    uint64_t size_bytes = options->size_bytes;
    int r = size_bytes ? 0 : device->ops->size(device, &size_bytes);
    if (r < 0)
        return reason_set(why, r, "Cannot tell the size of '%s'.", device->path);
    struct pool_create_options sized = *options;
    sized.size_bytes = size_bytes;
    r = nv_check_create(&sized, device->path, why);
    if (r < 0)
        return r;
    AUTO_LOCK(&nv_registry_lock);
    return nv_pool_make(env, device->path, options->name, size_bytes, NULL);
}

/* A pool that another process made: only its name and size are known. */
static int nv_pool_load(struct env *env, const char *path, struct pool **pool, struct reason *why)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return reason_set(why, -errno, "Cannot open '%s': %m.", path);
    char magic[64] = "";
    char name[LUN_NAME_MAX + 1] = "";
    uint64_t size_bytes = 0;
    int found = fscanf(file, "%63[^\n]\n%191[^\n]\n%" SCNu64, magic, name, &size_bytes);
    fclose(file);
    if (found != 3 || strcmp(magic, NV_MAGIC) != 0)
        return reason_set(why, -EBADMSG, "'%s' is not a pool.", path);
    return nv_pool_make(env, path, name, size_bytes, pool);
}

static int nv_pool_opened(struct env *env, struct pool *pool,
                          const struct pool_open_options *options, struct reason *why)
{
    if (pool->is_open)
        return reason_set(why, -EBUSY, "Pool '%s' is open in this process (pid %d) already.",
                          pool->path, (int)getpid());
    pool->is_open = true;
    pool->is_read_only = options && options->read_only;
    pool->env = env;
    pool->opened_ns = env->now_ns(env);
    pool->hook = NULL;
    pool->last_event = 0;
    return 0;
}

int pool_open(struct env *env, const char *path, const struct pool_open_options *options,
              struct pool **out, struct reason *why)
{
    reason_clear(why);
    pthread_once(&nv_once, nv_init);
    if (strlen(path) >= sizeof((*out)->path))
        return reason_set(why, -EINVAL, "The path has more than %zu bytes.", sizeof((*out)->path));
    AUTO_LOCK(&nv_registry_lock);
    struct pool *pool = nv_registry_find(path);
    struct stat stat_buf;
    if (!pool || stat(path, &stat_buf) < 0)
    {
        int r = nv_pool_load(env, path, &pool, why);
        if (r < 0)
            return r;
    }
    int r = nv_pool_opened(env, pool, options, why);
    if (r == 0)
        *out = pool;
    return r;
}

int pool_open_device(struct env *env, struct device *device,
                     const struct pool_open_options *options, struct pool **out, struct reason *why)
{
    reason_clear(why);
    pthread_once(&nv_once, nv_init);
    AUTO_LOCK(&nv_registry_lock);
    struct pool *pool = nv_registry_find(device->path);
    if (!pool)
        return reason_set(why, -EBADMSG, "'%s' is not a pool.", device->path);
    int r = nv_pool_opened(env, pool, options, why);
    if (r < 0)
        return r;
    pool->device = device;
    *out = pool;
    return 0;
}

int pool_start(struct pool *pool)
{
    (void)pool;
    return 0;
}

int pool_close(struct pool *pool)
{
    if (!pool)
        return 0;
    AUTO_LOCK(&nv_registry_lock);
    list_for_each (lun, &pool->luns, struct nv_object, node)
    {
        INVARIANT(lun->open_handles == 0);
    }
    pool->is_open = false;
    device_close(take_ptr(&pool->device));
    return 0;
}

int pool_checkpoint(struct pool *pool)
{
    AUTO_LOCK(&pool->lock);
    pool->checkpoints++;
    return pool->is_read_only ? -EROFS : 0;
}

/* Nothing of it is on a disk. */
int pool_wipe_old(struct pool *pool, pool_wipe_fn *goes_on, void *opaque, struct pool_wipe *result,
                  struct reason *why)
{
    (void)goes_on, (void)opaque, (void)why;
    *result = (struct pool_wipe){0};
    return pool_checkpoint(pool);
}

static int nv_grow_locked(struct pool *pool, uint64_t size_bytes, uint64_t *new_size_bytes,
                          struct reason *why)
{
    int r = 0;
    if (size_bytes == 0 && pool->device)
        r = pool->device->ops->size(pool->device, &size_bytes);
    if (r < 0)
        return reason_set(why, r, "Cannot tell the size of '%s'.", pool->path);
    if (size_bytes < pool->size_bytes)
        return reason_set(why, -EINVAL,
                          "A pool never shrinks: '%s' has %" PRIu64 " bytes, %" PRIu64
                          " were asked for.",
                          pool->name, pool->size_bytes, size_bytes);
    *new_size_bytes = size_bytes;
    return 0;
}

int pool_grow(struct pool *pool, uint64_t size_bytes, struct reason *why)
{
    reason_clear(why);
    AUTO_LOCK(&pool->lock);
    int r = nv_check_writable(pool, why);
    return r < 0 ? r : nv_grow_locked(pool, size_bytes, &pool->size_bytes, why);
}

int pool_grow_dry_run(struct pool *pool, uint64_t size_bytes, uint64_t *new_size_bytes,
                      struct reason *why)
{
    reason_clear(why);
    AUTO_LOCK(&pool->lock);
    return nv_grow_locked(pool, size_bytes, new_size_bytes, why);
}

uint64_t pool_grow_step_mib(struct pool *pool, uint64_t wanted_bytes)
{
    AUTO_LOCK(&pool->lock);
    return div_round_up(max_u64(pool->size_bytes / 4, wanted_bytes), 1 << 20);
}

const char *pool_health_name(enum pool_health health)
{
    static const char *const names[] = {"healthy", "out of space", "read-only", "failed"};
    return (unsigned)health < ARRAY_SIZE(names) ? names[health] : "unknown";
}

void pool_get_info(struct pool *pool, struct pool_info *info)
{
    AUTO_LOCK(&pool->lock);
    *info = (struct pool_info){0};
    snprintf(info->name, sizeof(info->name), "%s", pool->name);
    snprintf(info->path, sizeof(info->path), "%s", pool->path);
    memcpy(info->uuid, pool->uuid, sizeof(info->uuid));
    info->size_bytes = pool->size_bytes;
    info->data_bytes = pool->page_count * LUN_BLK_BYTES;
    info->free_bytes = round_down(pool->size_bytes, LUN_BLK_BYTES) - info->data_bytes;
    info->available_bytes = info->free_bytes;
    info->health = info->free_bytes ? POOL_HEALTHY : POOL_OUT_OF_SPACE;
    info->read_only = pool->is_read_only;
    list_for_each (lun, &pool->luns, struct nv_object, node)
    {
        info->lun_count++;
        info->logical_bytes += lun->size_bytes;
        info->mapped_bytes += lun->content.mapped_pages * LUN_BLK_BYTES;
        info->snapshot_count += nv_count_objects(&lun->snapshots);
    }
    list_for_each (lun, &pool->deleted, struct nv_object, node)
    {
        info->snapshot_count += nv_count_objects(&lun->snapshots);
    }
    info->line_count = info->lun_count + info->snapshot_count;
    list_for_each (volume, &pool->volumes, struct nv_volume, node)
    {
        info->volume_count++;
    }
    info->checkpoint_id = info->checkpoint_count = pool->checkpoints;
    info->commit_count = info->sync_count = pool->flushes;
    info->created_ns = pool->created_ns;
    info->opened_ns = pool->opened_ns;
}

static void nv_fill_line(const struct nv_object *object, uint64_t predecessor_id,
                         struct line_info *line)
{
    line->id = object->id;
    line->predecessor_id = predecessor_id;
    line->is_head = !object->lun;
    line->birth = object->generation;
    line->frozen_at = object->lun ? object->generation : 0;
    line->child_count = object->lun != NULL;
    line->snapshot_count = object->lun != NULL;
    line->mapped_bytes = object->content.mapped_pages * LUN_BLK_BYTES;
    line->own_bytes = nv_content_own_pages(&object->content) * LUN_BLK_BYTES;
    nv_full_name(object, line->name);
}

int pool_list_lines(struct pool *pool, struct line_info **list, size_t *count)
{
    AUTO_LOCK(&pool->lock);
    size_t total = 0;
    list_for_each (lun, &pool->luns, struct nv_object, node)
    {
        total += 1 + (size_t)nv_count_objects(&lun->snapshots);
    }
    struct line_info *lines = calloc(total + 1, sizeof(*lines));
    if (!lines)
        return -ENOMEM;
    size_t found = 0;
    list_for_each (lun, &pool->luns, struct nv_object, node)
    {
        uint64_t predecessor_id = 0;
        list_for_each (snapshot, &lun->snapshots, struct nv_object, node)
        {
            nv_fill_line(snapshot, predecessor_id, &lines[found++]);
            predecessor_id = snapshot->id;
        }
        nv_fill_line(lun, predecessor_id, &lines[found++]);
    }
    *list = lines;
    *count = found;
    return 0;
}
