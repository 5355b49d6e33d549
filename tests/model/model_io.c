/* SPDX-License-Identifier: BSD-3-Clause */
/* Steps of I/O. Each works on a handle that is open since an earlier step, or on one of its own. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "tests/model/model.h"

#define PRI_RANGE "%" PRIu64 "+%" PRIu64

/* ---- handles */

bool model_open_both(struct model *model, const char *name, unsigned flags, struct model_slot *slot)
{
    *slot = (struct model_slot){0};
    int real = REAL->lun_open(model->real, name, flags, &slot->real, &model->why);
    int naive = NAIVE->lun_open(model->naive, name, flags, &slot->naive, NULL);
    return model_same(model, real, naive, "lun_open");
}

void model_close_both(struct model_slot *slot)
{
    REAL->lun_close(slot->real);
    NAIVE->lun_close(slot->naive);
    *slot = (struct model_slot){0};
}

void model_close_slots(struct model *model)
{
    for (unsigned i = 0; i < MODEL_SLOTS; i++)
        model_close_both(&model->slots[i]);
}

void model_step_open(struct model *model)
{
    struct model_slot *slot = &model->slots[rng_below(model->rng, MODEL_SLOTS)];
    char name[MODEL_NAME_BYTES];
    model_pick_object(model, name);
    bool is_snapshot = strchr(name, '@') != NULL;
    unsigned flags = rng_percent(model->rng, is_snapshot ? 95 : 15) ? LUN_READ_ONLY : 0;
    model_close_both(slot);
    replay_trace(model->replay, "open %s flags %u", name, flags);
    ignore_error(model_open_both(model, name, flags, slot), "a refusal is fine");
}

void model_step_close(struct model *model)
{
    replay_trace(model->replay, "close");
    model_close_both(&model->slots[rng_below(model->rng, MODEL_SLOTS)]);
}

/* A handle to work with. *own: to be closed behind it. False if there is none. */
static bool model_pick_handle(struct model *model, bool to_write, struct model_slot *slot,
                              bool *own)
{
    *slot = model->slots[rng_below(model->rng, MODEL_SLOTS)];
    *own = !slot->real || rng_percent(model->rng, 60);
    if (!*own)
        return true;
    char name[MODEL_NAME_BYTES];
    if (to_write)
        model_pick_lun(model, name);
    else
        model_pick_object(model, name);
    return model_open_both(model, name, to_write ? 0 : LUN_READ_ONLY, slot);
}

static void model_put_handle(struct model_slot *slot, bool own)
{
    if (own)
        model_close_both(slot);
}

static void model_describe_handle(struct model *model, const struct model_slot *slot,
                                  char name[MODEL_NAME_BYTES])
{
    struct lun_info real;
    struct lun_info naive;
    int r = REAL->lun_describe(slot->real, &real);
    if (!model_same(model, r, NAIVE->lun_describe(slot->naive, &naive), "lun_describe"))
    {
        snprintf(name, MODEL_NAME_BYTES, "(gone)");
        return;
    }
    snprintf(name, MODEL_NAME_BYTES, "%s", naive.name);
    if (strcmp(real.name, naive.name) != 0)
        replay_fail(model->replay, "a handle says it is of '%s', it is of '%s'", real.name,
                    naive.name);
}

/* ---- changes */

/*
 * A write was refused for want of space and may be there in part. What the oracle holds is brought
 * to what the real engine shows, block by block; any byte must be the old or the new one.
 */
static void model_adopt(struct model *model, const struct model_slot *slot, const uint8_t *wanted,
                        uint64_t len, uint64_t offset)
{
    uint8_t *real = model->real_buf;
    uint8_t *naive = model->naive_buf;
    for (uint64_t at = offset; at < offset + len;)
    {
        uint64_t next = min_u64(round_down(at, LUN_BLK_BYTES) + LUN_BLK_BYTES, offset + len);
        size_t part = (size_t)(next - at);
        struct lun_extent extent;
        size_t count = 0;
        if (REAL->lun_read(slot->real, real, part, at) < 0 ||
            NAIVE->lun_read(slot->naive, naive, part, at) < 0 ||
            REAL->lun_extents(slot->real, part, at, &extent, 1, &count) < 0)
            replay_fail(model->replay, "after -ENOSPC, block %" PRIu64 " cannot be read",
                        at / LUN_BLK_BYTES);
        for (size_t i = 0; i < part; i++)
        {
            uint8_t new_byte = wanted ? wanted[at - offset + i] : 0;
            if (real[i] != naive[i] && real[i] != new_byte)
                replay_fail(model->replay, "after -ENOSPC, byte %" PRIu64 " is neither old nor new",
                            at + i);
        }
        if (extent.is_hole)
            ignore_error(NAIVE->lun_unmap(slot->naive, part, at, 0), "cannot fail");
        else if (memcmp(real, naive, part) != 0)
            ignore_error(NAIVE->lun_write(slot->naive, real, part, at, 0), "cannot fail");
        at = next;
    }
}

/* Picks a handle and a range; false: nothing to do. */
static bool model_begin_change(struct model *model, const char *what, uint64_t max_bytes,
                               struct model_slot *slot, bool *own, uint64_t *offset, uint64_t *len)
{
    if (!model_pick_handle(model, true, slot, own))
        return false;
    model_pick_range(model, NAIVE->lun_size_bytes(slot->naive), max_bytes, offset, len);
    char name[MODEL_NAME_BYTES];
    model_describe_handle(model, slot, name);
    replay_trace(model->replay, "%s %s " PRI_RANGE, what, name, *offset, *len);
    return true;
}

static unsigned model_pick_fua(struct model *model)
{
    return rng_percent(model->rng, 15) ? LUN_FUA : 0;
}

void model_step_write(struct model *model)
{
    struct model_slot slot;
    bool own;
    uint64_t offset;
    uint64_t len;
    if (!model_begin_change(model, "write", model->scale->io_max_bytes, &slot, &own, &offset, &len))
        return;
    AUTO_FREE uint8_t *bytes = malloc(len + 1);
    rng_fill(model->rng, bytes, len);
    int real = REAL->lun_write(slot.real, bytes, len, offset, model_pick_fua(model));
    if (model_is_full(model, real))
        model_adopt(model, &slot, bytes, len, offset);
    else
        model_same(model, real, NAIVE->lun_write(slot.naive, bytes, len, offset, 0), "lun_write");
    model_put_handle(&slot, own);
}

void model_step_write_atomic(struct model *model)
{
    struct model_slot slot;
    bool own;
    uint64_t offset;
    uint64_t len;
    if (!model_begin_change(model, "write atomic", MODEL_IO_MAX_BYTES, &slot, &own, &offset, &len))
        return;
    if (rng_percent(model->rng, 95))
    {
        offset = round_down(offset, LUN_BLK_BYTES);
        len = round_down(len, LUN_BLK_BYTES);
    }
    AUTO_FREE uint8_t *bytes = malloc(len + 1);
    rng_fill(model->rng, bytes, len);
    int real = REAL->lun_write_atomic(slot.real, bytes, len, offset, model_pick_fua(model));
    if (model_is_full(model, real))
        model_adopt(model, &slot, bytes, 0, offset);
    else
        model_same(model, real, NAIVE->lun_write_atomic(slot.naive, bytes, len, offset, 0),
                   "lun_write_atomic");
    model_put_handle(&slot, own);
}

void model_step_unmap(struct model *model)
{
    struct model_slot slot;
    bool own;
    uint64_t offset;
    uint64_t len;
    if (!model_begin_change(model, "unmap", model->scale->lun_max_bytes, &slot, &own, &offset,
                            &len))
        return;
    int real = REAL->lun_unmap(slot.real, len, offset, model_pick_fua(model));
    if (model_is_full(model, real))
        model_adopt(model, &slot, NULL, len, offset);
    else
        model_same(model, real, NAIVE->lun_unmap(slot.naive, len, offset, 0), "lun_unmap");
    model_put_handle(&slot, own);
}

void model_step_zero(struct model *model)
{
    struct model_slot slot;
    bool own;
    uint64_t offset;
    uint64_t len;
    if (!model_begin_change(model, "zero", model->scale->lun_max_bytes, &slot, &own, &offset, &len))
        return;
    unsigned flags = rng_percent(model->rng, 50) ? LUN_MAY_UNMAP : 0;
    if (flags && rng_percent(model->rng, 20))
        flags |= LUN_FAST_ONLY;
    /* What zeros with allocation map of a reserved LUN depends on what is its own: promises.c. */
    struct lun_info info = {0};
    if (NAIVE->lun_describe(slot.naive, &info) == 0 && info.is_reserved)
        flags |= LUN_MAY_UNMAP;
    replay_trace(model->replay, "  flags %u", flags);
    int real = REAL->lun_zero(slot.real, len, offset, flags | model_pick_fua(model));
    if (model_is_full(model, real))
        model_adopt(model, &slot, NULL, len, offset);
    else
        model_same(model, real, NAIVE->lun_zero(slot.naive, len, offset, flags), "lun_zero");
    model_put_handle(&slot, own);
}

void model_step_compare_and_write(struct model *model)
{
    struct model_slot slot;
    bool own;
    uint64_t offset;
    uint64_t len;
    if (!model_begin_change(model, "compare and write", 64 << 10, &slot, &own, &offset, &len))
        return;
    AUTO_FREE uint8_t *compare = calloc(1, len + 1);
    AUTO_FREE uint8_t *bytes = malloc(len + 1);
    rng_fill(model->rng, bytes, len);
    ignore_error(NAIVE->lun_read(slot.naive, compare, len, offset), "a bad range fails below too");
    if (len > 0 && rng_percent(model->rng, 40))
        compare[rng_below(model->rng, rng_percent(model->rng, 50) ? min_u64(len, 8) : len)] ^= 1;
    size_t real_at = 0;
    size_t naive_at = 0;
    int real = REAL->lun_compare_and_write(slot.real, compare, bytes, len, offset,
                                           model_pick_fua(model), &real_at);
    if (model_is_full(model, real))
        model_adopt(model, &slot, bytes, len, offset);
    else
        model_same(
            model, real,
            NAIVE->lun_compare_and_write(slot.naive, compare, bytes, len, offset, 0, &naive_at),
            "lun_compare_and_write");
    if (real_at != naive_at)
        replay_fail(model->replay, "a miscompare at byte %zu was reported at %zu", naive_at,
                    real_at);
    model_put_handle(&slot, own);
}

struct model_edit
{
    uint64_t word;
    unsigned calls;
};

static void model_edit_cb(void *opaque, uint8_t *content, size_t len)
{
    struct model_edit *edit = opaque;
    edit->calls++;
    for (size_t i = 0; i < len; i++)
        content[i] |= (uint8_t)(edit->word >> (8 * (i % 8)));
}

void model_step_read_modify_write(struct model *model)
{
    struct model_slot slot;
    bool own;
    uint64_t offset;
    uint64_t len;
    if (!model_begin_change(model, "read modify write", 128 << 10, &slot, &own, &offset, &len))
        return;
    uint64_t word = rng_next(model->rng) & rng_next(model->rng);
    struct model_edit real_edit = {.word = word};
    struct model_edit naive_edit = {.word = word};
    AUTO_FREE uint8_t *wanted = calloc(1, len + 1);
    if (NAIVE->lun_read(slot.naive, wanted, len, offset) == 0)
        model_edit_cb(&(struct model_edit){.word = word}, wanted, len);
    int real = REAL->lun_read_modify_write(slot.real, len, offset, model_pick_fua(model),
                                           model_edit_cb, &real_edit);
    if (model_is_full(model, real))
        model_adopt(model, &slot, wanted, len, offset);
    else if (model_same(model, real,
                        NAIVE->lun_read_modify_write(slot.naive, len, offset, 0, model_edit_cb,
                                                     &naive_edit),
                        "lun_read_modify_write") &&
             real_edit.calls == 0 && len > 0)
        replay_fail(model->replay, "lun_read_modify_write() called back %u times", real_edit.calls);
    model_put_handle(&slot, own);
}

/* ---- reads */

void model_step_read(struct model *model)
{
    struct model_slot slot;
    bool own;
    if (!model_pick_handle(model, false, &slot, &own))
        return;
    uint64_t offset;
    uint64_t len;
    model_pick_range(model, NAIVE->lun_size_bytes(slot.naive), MODEL_IO_MAX_BYTES, &offset, &len);
    char name[MODEL_NAME_BYTES];
    model_describe_handle(model, &slot, name);
    replay_trace(model->replay, "read %s " PRI_RANGE, name, offset, len);
    memset(model->real_buf, 0x5a, len);
    int real = REAL->lun_read(slot.real, model->real_buf, len, offset);
    int naive = NAIVE->lun_read(slot.naive, model->naive_buf, len, offset);
    if (model_same(model, real, naive, "lun_read"))
    {
        for (uint64_t i = 0; i < len; i++)
        {
            if (model->real_buf[i] != model->naive_buf[i])
                replay_fail(model->replay, "%s: byte %" PRIu64 " is %02x and must be %02x", name,
                            offset + i, model->real_buf[i], model->naive_buf[i]);
        }
    }
    model_same(model, REAL->lun_cache(slot.real, len, offset),
               NAIVE->lun_cache(slot.naive, len, offset), "lun_cache");
    model_put_handle(&slot, own);
}

void model_step_flush(struct model *model)
{
    struct model_slot slot;
    bool own;
    if (!model_pick_handle(model, true, &slot, &own))
        return;
    replay_trace(model->replay, "flush");
    model_same(model, REAL->lun_flush(slot.real), NAIVE->lun_flush(slot.naive), "lun_flush");
    model_put_handle(&slot, own);
}

void model_step_extents(struct model *model)
{
    char name[MODEL_NAME_BYTES];
    struct model_slot slot;
    model_pick_object(model, name);
    replay_trace(model->replay, "compare %s", name);
    if (!model_open_both(model, name, LUN_READ_ONLY, &slot))
        return;
    model_compare_content(model, name, &slot);
    model_close_both(&slot);
}

void model_step_difference(struct model *model)
{
    char from[MODEL_NAME_BYTES];
    char to[MODEL_NAME_BYTES];
    char name[2 * MODEL_NAME_BYTES + 2];
    struct model_slot slot;
    model_pick_object(model, from);
    model_pick_object(model, to);
    snprintf(name, sizeof(name), "%s..%s", from, to);
    replay_trace(model->replay, "difference %s", name);
    if (!model_open_both(model, name, LUN_READ_ONLY, &slot))
        return;
    model_compare_content(model, name, &slot);
    model_close_both(&slot);
}
