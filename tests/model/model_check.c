/* SPDX-License-Identifier: BSD-3-Clause */
/* What both engines show must be the same, and the pool must be in order. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"
#include "tests/model/model.h"

/* ---- content */

enum model_page
{
    MODEL_HOLE,
    MODEL_OWN,
    MODEL_SHARED,
};

/* Asks for all extents, in pieces, and notes the kind of each page. Checks their form. */
static void model_map_pages(struct model *model, const struct api *api, struct lun *lun,
                            const char *name, uint64_t size_bytes, uint8_t *pages)
{
    struct lun_extent extents[32];
    for (uint64_t at = 0; at < size_bytes;)
    {
        size_t count = 0;
        size_t max = api == REAL ? (size_t)rng_between(model->rng, 1, ARRAY_SIZE(extents))
                                 : ARRAY_SIZE(extents);
        int r = api->lun_extents(lun, size_bytes - at, at, extents, max, &count);
        if (r < 0 || count == 0 || count > max)
            replay_fail(model->replay, "%s: lun_extents() at %" PRIu64 " gives %d, %zu entries",
                        name, at, r, count);
        for (size_t i = 0; i < count; i++)
        {
            const struct lun_extent *extent = &extents[i];
            bool is_alike = i > 0 && extent[-1].is_hole == extent->is_hole &&
                            extent[-1].is_shared == extent->is_shared;
            if (extent->offset_bytes != at || extent->len_bytes == 0 ||
                extent->len_bytes > size_bytes - at || (is_alike && api == REAL) ||
                (extent->is_hole && extent->is_shared))
                replay_fail(model->replay,
                            "%s: bad extent %" PRIu64 "+%" PRIu64 " hole %d shared %d, expected at "
                            "%" PRIu64,
                            name, extent->offset_bytes, extent->len_bytes, extent->is_hole,
                            extent->is_shared, at);
            uint64_t end = extent->offset_bytes + extent->len_bytes;
            for (; at < end; at = min_u64(round_down(at, LUN_BLK_BYTES) + LUN_BLK_BYTES, end))
                pages[at / LUN_BLK_BYTES] = extent->is_hole     ? MODEL_HOLE
                                            : extent->is_shared ? MODEL_SHARED
                                                                : MODEL_OWN;
        }
    }
}

static void model_compare_read(struct model *model, const char *name, const struct model_slot *slot,
                               uint64_t offset, size_t len)
{
    int real = REAL->lun_read(slot->real, model->real_buf, len, offset);
    int naive = NAIVE->lun_read(slot->naive, model->naive_buf, len, offset);
    model_same(model, real, naive, "lun_read");
    if (real < 0 || memcmp(model->real_buf, model->naive_buf, len) == 0)
        return;
    size_t i = 0;
    while (model->real_buf[i] == model->naive_buf[i])
        i++;
    replay_fail(model->replay, "%s: byte %" PRIu64 " is %02x and must be %02x", name, offset + i,
                model->real_buf[i], model->naive_buf[i]);
}

/* Figures of a LUN or snapshot against a recount over its extents. */
static void model_compare_counts(struct model *model, const char *name, const uint8_t *pages,
                                 uint64_t page_count)
{
    struct lun_info info;
    if (strstr(name, "..") || model_has_pending_shrink(model))
        return;
    if (REAL->lun_get_info(model->real, name, &info, &model->why) < 0)
        replay_fail(model->replay, "%s has no info: %s", name, model->why.text);
    uint64_t counts[3] = {0};
    for (uint64_t i = 0; i < page_count; i++)
        counts[pages[i]]++;
    uint64_t mapped_bytes = (counts[MODEL_OWN] + counts[MODEL_SHARED]) * LUN_BLK_BYTES;
    if (info.mapped_bytes != mapped_bytes || info.own_bytes + info.shared_bytes != mapped_bytes)
        replay_fail(model->replay,
                    "%s: %" PRIu64 " mapped = %" PRIu64 " own + %" PRIu64 " shared bytes, its "
                    "extents have %" PRIu64,
                    name, info.mapped_bytes, info.own_bytes, info.shared_bytes, mapped_bytes);
    if (info.kind == OBJECT_LUN && info.own_bytes != counts[MODEL_OWN] * LUN_BLK_BYTES)
        replay_fail(model->replay, "%s: %" PRIu64 " own bytes, its extents have %" PRIu64, name,
                    info.own_bytes, counts[MODEL_OWN] * LUN_BLK_BYTES);
}

void model_compare_content(struct model *model, const char *name, const struct model_slot *slot)
{
    uint64_t size_bytes = NAIVE->lun_size_bytes(slot->naive);
    if (REAL->lun_size_bytes(slot->real) != size_bytes ||
        REAL->lun_sector_bytes(slot->real) != NAIVE->lun_sector_bytes(slot->naive) ||
        REAL->lun_is_read_only(slot->real) != NAIVE->lun_is_read_only(slot->naive))
        replay_fail(model->replay, "%s has %" PRIu64 " bytes and must have %" PRIu64, name,
                    REAL->lun_size_bytes(slot->real), size_bytes);
    uint64_t page_count = div_round_up(size_bytes, LUN_BLK_BYTES);
    AUTO_FREE uint8_t *real = calloc(page_count + 1, 1);
    AUTO_FREE uint8_t *naive = calloc(page_count + 1, 1);
    INVARIANT(real && naive);
    model_map_pages(model, REAL, slot->real, name, size_bytes, real);
    model_map_pages(model, NAIVE, slot->naive, name, size_bytes, naive);
    for (uint64_t i = 0; i < page_count; i++)
    {
        if ((real[i] == MODEL_HOLE) != (naive[i] == MODEL_HOLE))
            replay_fail(model->replay, "%s: block %" PRIu64 " is %s", name, i,
                        real[i] == MODEL_HOLE ? "a hole and must be mapped"
                                              : "mapped and must be a hole");
        if (naive[i] == MODEL_SHARED && real[i] == MODEL_OWN && !strpbrk(name, "@."))
            replay_fail(model->replay, "%s: block %" PRIu64 " is shared and counts as own", name,
                        i);
    }
    model_compare_counts(model, name, real, page_count);
    uint64_t next = 0;
    for (uint64_t i = 0; i < page_count; i = next)
    {
        next = i + 1;
        while (next < page_count && next - i < 64 &&
               (naive[next] == MODEL_HOLE) == (naive[i] == MODEL_HOLE))
            next++;
        uint64_t end = min_u64(next * LUN_BLK_BYTES, size_bytes);
        if (naive[i] != MODEL_HOLE || rng_percent(model->rng, 20))
            model_compare_read(model, name, slot, i * LUN_BLK_BYTES,
                               (size_t)(end - i * LUN_BLK_BYTES));
    }
}

void model_compare_contents(struct model *model)
{
    model_list(model);
    for (size_t i = 0; i < model->object_count; i++)
    {
        struct model_slot slot;
        if (!model_open_both(model, model->objects[i].name, LUN_READ_ONLY, &slot))
            replay_fail(model->replay, "'%s' cannot be opened: %s", model->objects[i].name,
                        model->why.text);
        model_compare_content(model, model->objects[i].name, &slot);
        model_close_both(&slot);
    }
}

/* ---- lists */

/* The name of an automatic snapshot says the time, and the engines' clocks differ. */
static bool model_is_same_origin(const char *real, const char *naive)
{
    const char *at = strstr(real, "@clone_");
    size_t len = at ? (size_t)(at - real) + strcspn(at, ".") + 1 : strlen(real) + 1;
    return strncmp(real, naive, len) == 0;
}

static void model_compare_info(struct model *model, const struct lun_info *real,
                               const struct lun_info *naive, bool with_figures)
{
    bool is_same =
        strcmp(real->name, naive->name) == 0 && real->kind == naive->kind &&
        strcmp(real->comment, naive->comment) == 0 &&
        model_is_same_origin(real->origin, naive->origin) &&
        real->size_bytes == naive->size_bytes && real->sector_bytes == naive->sector_bytes &&
        real->snapshot_count == naive->snapshot_count && real->open_handles == naive->open_handles;
    if (!is_same)
        replay_fail(model->replay,
                    "listed as '%s' (%" PRIu64 " bytes of %" PRIu32 ", %" PRIu32
                    " snapshots, %" PRIu32 " handles, origin '%s', comment '%s'), must be '%s' "
                    "(%" PRIu64 " bytes of %" PRIu32 ", %" PRIu32 " snapshots, %" PRIu32
                    " handles, origin '%s', comment '%s')",
                    real->name, real->size_bytes, real->sector_bytes, real->snapshot_count,
                    real->open_handles, real->origin, real->comment, naive->name, naive->size_bytes,
                    naive->sector_bytes, naive->snapshot_count, naive->open_handles, naive->origin,
                    naive->comment);
    bool is_alike =
        !real->volume_id == !naive->volume_id && !real->qtree_id == !naive->qtree_id &&
        !real->volume_snapshot_id == !naive->volume_snapshot_id &&
        real->is_lun_deleted == naive->is_lun_deleted && real->is_reserved == naive->is_reserved &&
        real->is_autodelete == naive->is_autodelete && real->expire_ns == naive->expire_ns &&
        real->locked_until_ns == naive->locked_until_ns && strcmp(real->owner, naive->owner) == 0 &&
        strcmp(real->group, naive->group) == 0;
    if (!is_alike)
        replay_fail(model->replay, "%s has other attributes than it must have", real->name);
    if (with_figures && real->mapped_bytes != naive->mapped_bytes)
        replay_fail(model->replay, "%s maps %" PRIu64 " bytes and must map %" PRIu64, real->name,
                    real->mapped_bytes, naive->mapped_bytes);
}

struct model_store_walk
{
    struct model *model;
    uint64_t count;
};

static int model_store_each_cb(void *opaque, const char *key, const void *value, size_t len)
{
    struct model_store_walk *walk = opaque;
    AUTO_FREE void *wanted = NULL;
    size_t wanted_len = 0;
    walk->count++;
    int r = NAIVE->store_get(walk->model->naive, key, &wanted, &wanted_len);
    if (r < 0 || wanted_len != len || memcmp(wanted, value, len) != 0)
        replay_fail(walk->model->replay, "the store's value of '%s' is wrong (%d)", key, r);
    return 0;
}

static int model_store_count_cb(void *opaque, const char *key, const void *value, size_t len)
{
    (void)key, (void)value, (void)len;
    ++*(uint64_t *)opaque;
    return 0;
}

static void model_compare_store(struct model *model)
{
    char prefix[8] = "";
    if (rng_percent(model->rng, 50))
        snprintf(prefix, sizeof(prefix), "k%u/", (unsigned)rng_below(model->rng, 3));
    struct model_store_walk walk = {.model = model};
    uint64_t wanted = 0;
    int r = REAL->store_list(model->real, prefix, model_store_each_cb, &walk);
    ignore_error(NAIVE->store_list(model->naive, prefix, model_store_count_cb, &wanted), "a copy");
    if (r != 0 || walk.count != wanted)
        replay_fail(model->replay, "the store lists %" PRIu64 " of %" PRIu64 " keys under '%s'",
                    walk.count, wanted, prefix);
}

void model_compare_lists(struct model *model)
{
    AUTO_FREE struct lun_info *real = NULL;
    size_t count = 0;
    model_list(model);
    int r = REAL->lun_list(model->real, NULL, &real, &count, &model->why);
    if (r < 0 || count != model->object_count)
        replay_fail(model->replay, "%zu objects are listed (%d), there are %zu", count, r,
                    model->object_count);
    bool with_figures = !model_has_pending_shrink(model);
    for (size_t i = 0; i < count; i++)
        model_compare_info(model, &real[i], &model->objects[i], with_figures);
    model_compare_volumes(model);
    model_compare_store(model);
}

/* ---- the pool */

static void model_check_report_cb(void *opaque, bool is_error, const char *text)
{
    (void)opaque;
    if (is_error)
        fprintf(stderr, "check: %s\n", text);
}

static struct check_result model_run_check(struct model *model)
{
    struct check_result result;
    int r = REAL->pool_check(model->real, model_check_report_cb, NULL, &result);
    if (r < 0 || result.errors > 0)
        replay_fail(model->replay, "pool_check() gives %d with %" PRIu64 " errors", r,
                    result.errors);
    return result;
}

void model_check_pool(struct model *model)
{
    model_run_check(model);
}

bool model_has_pending_shrink(struct model *model)
{
    AUTO_FREE struct job_info *jobs = NULL;
    size_t count = 0;
    if (REAL->job_list(model->real, &jobs, &count) < 0)
        replay_fail(model->replay, "job_list() fails");
    for (size_t i = 0; i < count; i++)
    {
        if (strcmp(jobs[i].kind, "shrink") == 0)
            return true;
    }
    return false;
}

/* After all jobs. What a shrink cut off waits while a full pool has no room to let go of it. */
static void model_compare_pool(struct model *model)
{
    struct pool_info real;
    struct pool_info naive;
    REAL->pool_get_info(model->real, &real);
    NAIVE->pool_get_info(model->naive, &naive);
    bool with_figures = !model_has_pending_shrink(model);
    if (real.dying_count > 0 || (with_figures && real.data_bytes != naive.data_bytes))
        replay_fail(model->replay,
                    "after all jobs, %" PRIu64 " bytes hold data and %" PRIu64 " must; %" PRIu64
                    " lines are dying",
                    real.data_bytes, naive.data_bytes, real.dying_count);
    if (real.logical_bytes != naive.logical_bytes ||
        (with_figures && real.mapped_bytes != naive.mapped_bytes) ||
        real.lun_count != naive.lun_count || real.snapshot_count != naive.snapshot_count)
        replay_fail(model->replay,
                    "the pool has %" PRIu64 " LUNs, %" PRIu64 " snapshots, %" PRIu64
                    " logical and %" PRIu64 " mapped bytes; it must have %" PRIu64 ", %" PRIu64
                    ", %" PRIu64 ", %" PRIu64,
                    real.lun_count, real.snapshot_count, real.logical_bytes, real.mapped_bytes,
                    naive.lun_count, naive.snapshot_count, naive.logical_bytes, naive.mapped_bytes);
}

void model_drain(struct model *model)
{
    int r = 1;
    for (uint64_t steps = 0; r > 0; steps++)
    {
        r = REAL->pool_run_job_step(model->real);
        if (r < 0 || steps > 10000000)
            replay_fail(model->replay, "job step %" PRIu64 " gives %d", steps, r);
    }
    r = REAL->pool_checkpoint(model->real);
    if (r < 0)
        replay_fail(model->replay, "pool_checkpoint() gives %d", r);
    model_compare_pool(model);
    struct check_result result = model_run_check(model);
    if (result.blks_leaked > 0)
        replay_fail(model->replay, "%" PRIu64 " blocks leaked", result.blks_leaked);
}
