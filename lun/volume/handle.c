/* SPDX-License-Identifier: BSD-3-Clause */
/* Open LUNs: handles. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/volume/catalog.h"
#include "lun/volume/info.h"
#include "lun/volume/lun_internal.h"
#include "lun/volume/names.h"

bool lun_is_gone(const struct lun *lun)
{
    return atomic_load(&lun->object->is_dead) ||
           (lun->base && atomic_load(&lun->base->object->is_dead));
}

/* Only looks where it is known already: all I/O goes through here, and shares that cache line. */
static void lun_note_io(const struct lun *lun)
{
    _Atomic bool *io_came = &lun->pool->io_came; /* partner: jobs_must_rest() */
    if (!lun->is_background && !atomic_load_explicit(io_came, memory_order_relaxed))
        atomic_store_explicit(io_came, true, memory_order_relaxed);
}

int lun_check_io(const struct lun *lun, uint64_t len, uint64_t offset, bool is_write)
{
    if (is_write && lun->is_read_only)
        return -EROFS;
    if (lun_is_gone(lun))
        return -ESTALE;
    if (!range_ok(offset, len, atomic_load(&lun->object->size_bytes)))
        return -EINVAL;
    lun_note_io(lun);
    return is_write ? pool_may_change(lun->pool) : 0;
}

/* A handle on a LUN or snapshot by its full name. */
static int lun_open_one(struct pool *pool, const char *name, unsigned flags, struct lun **out,
                        struct reason *why)
{
    AUTO_FREE struct lun *lun = calloc(1, sizeof(*lun));
    if (!lun)
        return -ENOMEM;
    lun->is_background = flags & LUN_BACKGROUND;
    rwlock_take_shared(&pool->catalog_lock);
    struct lun_object *object = catalog_find_lun(pool, name);
    if (object)
    {
        lun_object_get(pool, object);
        if (!lun->is_background)
            atomic_fetch_add(&object->open_handles, 1);
    }
    rwlock_release(&pool->catalog_lock);
    if (!object)
        return info_no_such(pool, name, why);
    lun->pool = pool;
    lun->object = object;
    lun->is_read_only = (flags & LUN_READ_ONLY) || pool->is_read_only ||
                        object->object.kind == DISK_OBJECT_SNAPSHOT;
    *out = take_ptr(&lun);
    return 0;
}

static int lun_open_difference(struct pool *pool, const char *name, const char *dots,
                               unsigned flags, struct lun **out, struct reason *why)
{
    size_t len = (size_t)(dots - name);
    char base_name[2 * LUN_NAME_MAX + 2];
    if (len >= sizeof(base_name))
        return reason_set(why, -ENOENT, "there is no LUN or snapshot '%s'", name);
    memcpy(base_name, name, len);
    base_name[len] = '\0';
    struct lun *base, *lun;
    int r = lun_open_one(pool, base_name, flags, &base, why);
    if (r < 0)
        return r;
    r = lun_open_one(pool, dots + 2, flags, &lun, why);
    if (r < 0)
    {
        lun_close(base);
        return r;
    }
    lun->base = base;
    *out = lun;
    return 0;
}

int lun_open(struct pool *pool, const char *name, unsigned flags, struct lun **out,
             struct reason *why)
{
    reason_clear(why);
    name = name_strip(name);
    const char *dots = strstr(name, "..");
    bool is_read_only = flags & LUN_READ_ONLY;
    bool never_writable = dots || strchr(name, '@') || pool->is_read_only;
    if (never_writable && !is_read_only)
        return reason_set(why, -EROFS, "'%s' can only be opened read-only", name);
    if (dots)
        return lun_open_difference(pool, name, dots, flags, out, why);
    return lun_open_one(pool, name, flags, out, why);
}

void lun_close(struct lun *lun)
{
    if (!lun)
        return;
    lun_close(lun->base);
    if (!lun->is_background)
        atomic_fetch_sub(&lun->object->open_handles, 1);
    lun_object_put(lun->pool, lun->object);
    free(lun);
}

uint64_t lun_size_bytes(const struct lun *lun)
{
    return atomic_load(&lun->object->size_bytes);
}

bool lun_is_read_only(const struct lun *lun)
{
    return lun->is_read_only;
}

uint32_t lun_sector_bytes(const struct lun *lun)
{
    return lun->object->sector_bytes;
}

int lun_describe(struct lun *lun, struct lun_info *info)
{
    struct pool *pool = lun->pool;
    rwlock_take_shared(&pool->catalog_lock);
    int r = atomic_load(&lun->object->is_dead) ? -ESTALE : 0;
    if (r == 0)
        lun_fill_info(lun->object, info);
    rwlock_release(&pool->catalog_lock);
    return r;
}
