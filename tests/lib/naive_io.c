/* SPDX-License-Identifier: BSD-3-Clause */
/* Handles and I/O of the naive engine. Every call holds the pool's lock from end to end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "tests/lib/naive_internal.h"

enum
{
    NV_SMALL_MAX_BYTES = 1 << 20
};

/* ---- handles */

/* Resolves "A..B" or one name. */
static int nv_open_objects(struct pool *pool, const char *name, struct lun *lun, struct reason *why)
{
    const char *dots = strstr(name, "..");
    lun->object = nv_find(pool, dots ? dots + 2 : name);
    if (dots)
    {
        char base[2 * LUN_NAME_MAX + 2];
        size_t len = (size_t)(dots - name);
        if (len >= sizeof(base))
            return reason_set(why, -ENOENT, "There is no LUN or snapshot '%s'.", name);
        memcpy(base, name, len);
        base[len] = '\0';
        lun->base = nv_find(pool, base);
        if (!lun->base)
            return reason_set(why, -ENOENT, "There is no LUN or snapshot '%s'.", base);
    }
    if (!lun->object)
        return reason_set(why, -ENOENT, "There is no LUN or snapshot '%s'.",
                          dots ? dots + 2 : name);
    return 0;
}

int lun_open(struct pool *pool, const char *name, unsigned flags, struct lun **out,
             struct reason *why)
{
    reason_clear(why);
    AUTO_FREE struct lun *lun = calloc(1, sizeof(*lun));
    if (!lun)
        return -ENOMEM;
    AUTO_LOCK(&pool->lock);
    if (flags & ~(unsigned)LUN_READ_ONLY)
        return reason_set(why, -EINVAL, "Unknown flags 0x%x for opening '%s'.", flags, name);
    bool can_write = !strstr(name, "..") && !strchr(name, '@') && !pool->is_read_only;
    if (!can_write && !(flags & LUN_READ_ONLY))
        return reason_set(why, -EROFS, "'%s' can only be opened for reading.", name);
    int r = nv_open_objects(pool, name, lun, why);
    if (r < 0)
        return r;
    lun->pool = pool;
    lun->is_read_only = flags & LUN_READ_ONLY;
    lun->object->open_handles++;
    if (lun->base)
        lun->base->open_handles++;
    *out = take_ptr(&lun);
    return 0;
}

static void nv_object_unuse(struct pool *pool, struct nv_object *object)
{
    INVARIANT(object->open_handles > 0);
    if (--object->open_handles == 0 && object->is_gone)
        nv_object_free(pool, object);
}

void lun_close(struct lun *lun)
{
    if (!lun)
        return;
    {
        AUTO_LOCK(&lun->pool->lock);
        nv_object_unuse(lun->pool, lun->object);
        if (lun->base)
            nv_object_unuse(lun->pool, lun->base);
    }
    free(lun);
}

uint64_t lun_size_bytes(const struct lun *lun)
{
    AUTO_LOCK(&lun->pool->lock);
    return lun->object->size_bytes;
}

/* Writes never wait here. */
uint64_t lun_pause_ms(const struct lun *lun)
{
    (void)lun;
    return 0;
}

void lun_wait_begin(struct lun *lun, int reason)
{
    (void)lun, (void)reason;
}

void lun_wait_end(struct lun *lun)
{
    (void)lun;
}

bool lun_is_to_retry(struct lun *lun)
{
    (void)lun;
    return true;
}

void lun_set_is_over(struct lun *lun, lun_is_over_fn *is_over, void *opaque)
{
    (void)lun, (void)is_over, (void)opaque;
}

void lun_stop_waiting(struct lun *lun)
{
    (void)lun;
}

void pool_stop_waiting(struct pool *pool)
{
    (void)pool;
}

bool lun_is_read_only(const struct lun *lun)
{
    return lun->is_read_only;
}

uint32_t lun_sector_bytes(const struct lun *lun)
{
    return lun->object->sector_bytes;
}

static bool nv_is_stale(const struct lun *lun)
{
    return lun->object->is_gone || (lun->base && lun->base->is_gone);
}

int lun_describe(struct lun *lun, struct lun_info *info)
{
    AUTO_LOCK(&lun->pool->lock);
    if (nv_is_stale(lun))
        return -ESTALE;
    nv_fill_info(lun->pool, lun->object, info);
    return 0;
}

/* ---- I/O */

static int nv_check_range(const struct lun *lun, uint64_t len, uint64_t offset)
{
    if (nv_is_stale(lun))
        return -ESTALE;
    return range_ok(offset, len, lun->object->size_bytes) ? 0 : -EINVAL;
}

static int nv_check_change(const struct lun *lun, uint64_t len, uint64_t offset, uint64_t max)
{
    if (lun->is_read_only || lun->pool->is_read_only)
        return -EROFS;
    int r = nv_check_range(lun, len, offset);
    if (r < 0)
        return r;
    return len > max ? -EINVAL : 0;
}

static bool nv_differs(const struct lun *lun, uint64_t page)
{
    return nv_content_get(&lun->object->content, page) != nv_content_get(&lun->base->content, page);
}

int lun_read(struct lun *lun, void *buf, size_t len, uint64_t offset)
{
    AUTO_LOCK(&lun->pool->lock);
    int r = nv_check_range(lun, len, offset);
    if (r < 0)
        return r;
    if (len > LUN_IO_MAX_BYTES)
        return -EINVAL;
    nv_content_read(&lun->object->content, buf, len, offset);
    uint8_t *bytes = buf;
    for (uint64_t at = offset; lun->base && at < offset + len;)
    {
        uint64_t next = min_u64(round_down(at, LUN_BLK_BYTES) + LUN_BLK_BYTES, offset + len);
        if (!nv_differs(lun, at / LUN_BLK_BYTES))
            memset(bytes + (at - offset), 0, (size_t)(next - at));
        at = next;
    }
    return 0;
}

/* Says once that the pool is full, until there was space again. */
static int nv_note_full(struct pool *pool, int r)
{
    if (r == -ENOSPC)
        event_add(pool, "error", "pool.full", pool->name,
                  "Pool '%s' has no free block left of its %llu bytes.", pool->name,
                  (unsigned long long)pool->size_bytes);
    return r;
}

static int nv_write(struct lun *lun, const void *buf, size_t len, uint64_t offset, uint64_t max)
{
    AUTO_LOCK(&lun->pool->lock);
    int r = nv_check_change(lun, len, offset, max);
    if (r < 0)
        return r;
    return nv_content_write(lun->pool, &lun->object->content, buf, len, offset);
}

int lun_write(struct lun *lun, const void *buf, size_t len, uint64_t offset, unsigned flags)
{
    if (flags & ~(unsigned)LUN_FUA)
        return -EINVAL;
    return nv_note_full(lun->pool, nv_write(lun, buf, len, offset, LUN_IO_MAX_BYTES));
}

static int nv_write_atomic(struct lun *lun, const void *buf, size_t len, uint64_t offset)
{
    AUTO_LOCK(&lun->pool->lock);
    int r = nv_check_change(lun, len, offset, NV_SMALL_MAX_BYTES);
    if (r < 0)
        return r;
    if (len % LUN_BLK_BYTES != 0 || offset % LUN_BLK_BYTES != 0)
        return -EINVAL;
    return nv_content_write(lun->pool, &lun->object->content, buf, len, offset);
}

int lun_write_atomic(struct lun *lun, const void *buf, size_t len, uint64_t offset, unsigned flags)
{
    if (flags & ~(unsigned)LUN_FUA)
        return -EINVAL;
    return nv_note_full(lun->pool, nv_write_atomic(lun, buf, len, offset));
}

static int nv_zero(struct lun *lun, uint64_t len, uint64_t offset)
{
    AUTO_LOCK(&lun->pool->lock);
    int r = nv_check_change(lun, len, offset, UINT64_MAX);
    if (r < 0)
        return r;
    /* The last block of a LUN that ends inside it is whole when all that there is of it goes. */
    if (len > 0 && offset + len == lun->object->size_bytes)
        len = round_up(offset + len, LUN_BLK_BYTES) - offset;
    return nv_content_zero(lun->pool, &lun->object->content, len, offset);
}

int lun_unmap(struct lun *lun, uint64_t len, uint64_t offset, unsigned flags)
{
    if (flags & ~(unsigned)LUN_FUA)
        return -EINVAL;
    return nv_note_full(lun->pool, nv_zero(lun, len, offset));
}

/* A reserved LUN keeps its blocks: zeros are written to what is mapped. */
static int nv_zero_reserved(struct lun *lun, uint64_t len, uint64_t offset)
{
    static const uint8_t zeros[LUN_BLK_BYTES];
    AUTO_LOCK(&lun->pool->lock);
    struct nv_content *content = &lun->object->content;
    int r = nv_check_change(lun, len, offset, UINT64_MAX);
    for (uint64_t at = offset, end = offset + len; r == 0 && at < end;)
    {
        uint64_t page = at / LUN_BLK_BYTES;
        uint64_t next = min_u64((page + 1) * LUN_BLK_BYTES, end);
        if (nv_content_get(content, page))
            r = nv_content_write(lun->pool, content, zeros, (size_t)(next - at), at);
        at = next;
    }
    return r;
}

/* A thin LUN has zeros as holes, whatever the flags allow. */
int lun_zero(struct lun *lun, uint64_t len, uint64_t offset, unsigned flags)
{
    if (flags & ~(unsigned)(LUN_FUA | LUN_MAY_UNMAP | LUN_FAST_ONLY))
        return -EINVAL;
    if ((flags & LUN_MAY_UNMAP) || !lun->object->is_reserved || lun->is_read_only)
        return nv_note_full(lun->pool, nv_zero(lun, len, offset));
    if ((flags & LUN_FAST_ONLY) && len > 0 && nv_check_range(lun, len, offset) == 0)
        return -ENOTSUP;
    return nv_note_full(lun->pool, nv_zero_reserved(lun, len, offset));
}

int lun_flush(struct lun *lun)
{
    AUTO_LOCK(&lun->pool->lock);
    lun->pool->flushes++;
    return nv_check_range(lun, 0, 0);
}

/* Its bytes move, so it lends none. */
int lun_lend(struct lun *lun, size_t len, uint64_t offset, struct lun_loan *loan)
{
    (void)lun;
    (void)len;
    (void)offset;
    (void)loan;
    return -ENOTSUP;
}

int lun_loan_read(const struct lun_loan *loan, void *buf, size_t len, size_t from)
{
    (void)loan;
    (void)buf;
    (void)len;
    (void)from;
    return -EINVAL;
}

void lun_return(struct lun_loan *loan)
{
    (void)loan;
}

void pool_stop_lending(struct pool *pool)
{
    (void)pool;
}

void pool_allow_lending(struct pool *pool)
{
    (void)pool;
}

int lun_cache(struct lun *lun, uint64_t len, uint64_t offset)
{
    AUTO_LOCK(&lun->pool->lock);
    return nv_check_range(lun, len, offset);
}

static int nv_compare_and_write(struct lun *lun, const uint8_t *compare, const void *write,
                                size_t len, uint64_t offset, size_t *miscompare_at)
{
    AUTO_LOCK(&lun->pool->lock);
    int r = nv_check_change(lun, len, offset, NV_SMALL_MAX_BYTES);
    if (r < 0)
        return r;
    AUTO_FREE uint8_t *present = malloc(len + 1);
    if (!present)
        return -ENOMEM;
    nv_content_read(&lun->object->content, present, len, offset);
    for (size_t i = 0; i < len; i++)
    {
        if (present[i] == compare[i])
            continue;
        *miscompare_at = i;
        return -EILSEQ;
    }
    return nv_content_write(lun->pool, &lun->object->content, write, len, offset);
}

int lun_compare_and_write(struct lun *lun, const void *compare, const void *write, size_t len,
                          uint64_t offset, unsigned flags, size_t *miscompare_at)
{
    if (flags & ~(unsigned)LUN_FUA)
        return -EINVAL;
    return nv_note_full(lun->pool,
                        nv_compare_and_write(lun, compare, write, len, offset, miscompare_at));
}

static int nv_read_modify_write(struct lun *lun, size_t len, uint64_t offset, lun_change_fn *change,
                                void *opaque)
{
    AUTO_LOCK(&lun->pool->lock);
    int r = nv_check_change(lun, len, offset, NV_SMALL_MAX_BYTES);
    if (r < 0)
        return r;
    AUTO_FREE uint8_t *present = malloc(len + 1);
    if (!present)
        return -ENOMEM;
    nv_content_read(&lun->object->content, present, len, offset);
    change(opaque, present, len);
    return nv_content_write(lun->pool, &lun->object->content, present, len, offset);
}

int lun_read_modify_write(struct lun *lun, size_t len, uint64_t offset, unsigned flags,
                          lun_change_fn *change, void *opaque)
{
    if (flags & ~(unsigned)LUN_FUA)
        return -EINVAL;
    return nv_note_full(lun->pool, nv_read_modify_write(lun, len, offset, change, opaque));
}

/* ---- extents */

/* The kind of one page, and up to which page (at most @end) all are surely of that kind. */
static struct lun_extent nv_page_kind(const struct lun *lun, uint64_t page, uint64_t end)
{
    const struct nv_page *held = nv_content_get(&lun->object->content, page);
    struct lun_extent kind = {.offset_bytes = page, .len_bytes = 1, .is_hole = !held};
    kind.is_shared = held && held->refs > 1;
    if (lun->base)
        kind.is_hole = !nv_differs(lun, page), kind.is_shared = !kind.is_hole;
    if (!held && kind.is_hole)
    {
        uint64_t next = nv_content_next_chunk(&lun->object->content, page);
        if (lun->base)
            next = min_u64(next, nv_content_next_chunk(&lun->base->content, page));
        kind.len_bytes = next > page ? min_u64(next, end) - page : 1;
    }
    return kind;
}

int lun_extents(struct lun *lun, uint64_t len, uint64_t offset, struct lun_extent *extents,
                size_t max, size_t *count)
{
    AUTO_LOCK(&lun->pool->lock);
    int r = nv_check_range(lun, len, offset);
    if (r < 0)
        return r;
    size_t found = 0;
    uint64_t end_page = div_round_up(offset + len, LUN_BLK_BYTES);
    for (uint64_t page = offset / LUN_BLK_BYTES; len > 0 && page < end_page;)
    {
        struct lun_extent kind = nv_page_kind(lun, page, end_page);
        uint64_t start = max_u64(offset, page * LUN_BLK_BYTES);
        page += kind.len_bytes;
        uint64_t end = min_u64(offset + len, page * LUN_BLK_BYTES);
        struct lun_extent *last = found > 0 ? &extents[found - 1] : NULL;
        if (last && last->is_hole == kind.is_hole && last->is_shared == kind.is_shared)
        {
            last->len_bytes += end - start;
            continue;
        }
        if (found == max)
            break;
        extents[found++] = (struct lun_extent){.offset_bytes = start,
                                               .len_bytes = end - start,
                                               .is_hole = kind.is_hole,
                                               .is_shared = kind.is_shared};
    }
    *count = found;
    return 0;
}
