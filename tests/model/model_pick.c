/* SPDX-License-Identifier: BSD-3-Clause */
/* What a step works on: names, sizes and ranges, mostly right, some wrong on purpose. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "tests/model/model.h"

/* Fetches the oracle's list, from which names are picked. */
void model_list(struct model *model)
{
    free(model->objects);
    model->objects = NULL;
    model->object_count = 0;
    if (NAIVE->lun_list(model->naive, NULL, &model->objects, &model->object_count, NULL) < 0)
        replay_fail(model->replay, "the oracle cannot list its LUNs");
}

/* Of those of @kind, one at random; NULL if there is none. */
static const struct lun_info *model_pick_of_kind(struct model *model, enum object_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < model->object_count; i++)
        count += model->objects[i].kind == kind;
    size_t nth = count ? (size_t)rng_below(model->rng, count) : 0;
    for (size_t i = 0; i < model->object_count; i++)
    {
        if (model->objects[i].kind == kind && nth-- == 0)
            return &model->objects[i];
    }
    return NULL;
}

static bool model_pick_bad_name(struct model *model, char name[MODEL_NAME_BYTES])
{
    static const char *const bad[] = {"", "-x", "a b", "a/b", "a..b", "\xc3\xa4", "a@b", ".x"};
    if (rng_below(model->rng, 100) != 0)
        return false;
    snprintf(name, MODEL_NAME_BYTES, "%s", bad[rng_below(model->rng, ARRAY_SIZE(bad))]);
    if (name[0] == '\0')
        memset(name, 'x', LUN_NAME_MAX + 1), name[LUN_NAME_MAX + 1] = '\0';
    return true;
}

void model_pick_lun(struct model *model, char name[MODEL_NAME_BYTES])
{
    const struct lun_info *lun = model_pick_of_kind(model, OBJECT_LUN);
    if (lun && rng_percent(model->rng, 97))
        snprintf(name, MODEL_NAME_BYTES, "%s", lun->name);
    else
        snprintf(name, MODEL_NAME_BYTES, "l%u",
                 (unsigned)rng_below(model->rng, model->scale->max_luns));
}

void model_pick_object(struct model *model, char name[MODEL_NAME_BYTES])
{
    const struct lun_info *snapshot = model_pick_of_kind(model, OBJECT_SNAPSHOT);
    if (snapshot && rng_percent(model->rng, 40))
        snprintf(name, MODEL_NAME_BYTES, "%s", snapshot->name);
    else
        model_pick_lun(model, name);
}

void model_pick_new_lun(struct model *model, char name[MODEL_NAME_BYTES])
{
    if (model_pick_bad_name(model, name))
        return;
    unsigned lun = (unsigned)rng_below(model->rng, model->scale->max_luns);
    char volume[MODEL_NAME_BYTES];
    model_pick_volume(model, volume);
    const char *prefix = rng_percent(model->rng, 10) ? "/vol/" : "";
    unsigned where = (unsigned)rng_below(model->rng, 10);
    if (where < 5)
        snprintf(name, MODEL_NAME_BYTES, "%sl%u", prefix, lun);
    else if (where < 8)
        snprintf(name, MODEL_NAME_BYTES, "%.8s/l%u", volume, lun % 3);
    else
        snprintf(name, MODEL_NAME_BYTES, "%.8s/q%u/l%u", volume,
                 (unsigned)rng_below(model->rng, MODEL_QTREES), lun % 3);
}

void model_pick_snapshot(struct model *model, char lun[MODEL_NAME_BYTES],
                         char snapshot[MODEL_NAME_BYTES])
{
    const struct lun_info *found = model_pick_of_kind(model, OBJECT_SNAPSHOT);
    if (!found || rng_percent(model->rng, 3))
    {
        model_pick_lun(model, lun);
        model_pick_new_snapshot(model, snapshot);
        return;
    }
    size_t len = strcspn(found->name, "@");
    snprintf(lun, MODEL_NAME_BYTES, "%.*s", (int)len, found->name);
    snprintf(snapshot, MODEL_NAME_BYTES, "%s", found->name + len + 1);
}

void model_pick_new_snapshot(struct model *model, char snapshot[MODEL_NAME_BYTES])
{
    if (model_pick_bad_name(model, snapshot))
        return;
    snprintf(snapshot, MODEL_NAME_BYTES, "s%u",
             (unsigned)rng_below(model->rng, model->scale->max_snapshots));
}

/* Whole sectors of 512 bytes, whole blocks half of the time; rarely a size that is refused. */
uint64_t model_pick_size(struct model *model)
{
    uint64_t size_bytes = rng_between(model->rng, 1, model->scale->lun_max_bytes);
    if (rng_percent(model->rng, 2))
        return rng_percent(model->rng, 50) ? size_bytes | 1 : 0;
    if (rng_percent(model->rng, 50))
        return round_up(size_bytes, LUN_BLK_BYTES);
    return round_up(size_bytes, 512);
}

/* Any alignment; whole blocks and both ends of the LUN more often than chance would have it. */
void model_pick_range(struct model *model, uint64_t size_bytes, uint64_t max_bytes,
                      uint64_t *offset, uint64_t *len)
{
    struct rng *rng = model->rng;
    uint64_t max = min_u64(max_bytes, size_bytes);
    unsigned kind = (unsigned)rng_below(rng, 8);
    if (kind < 3)
        max = min_u64(max, 3 * LUN_BLK_BYTES);
    else if (kind < 6)
        max = min_u64(max, 32 * LUN_BLK_BYTES);
    *len = rng_between(rng, 1, max_u64(max, 1));
    *offset = size_bytes > *len ? rng_below(rng, size_bytes - *len + 1) : 0;
    unsigned alignment = (unsigned)rng_below(rng, 8);
    if (alignment < 4)
    {
        *offset = round_down(*offset, LUN_BLK_BYTES);
        *len = round_up(*len, LUN_BLK_BYTES);
    }
    else if (alignment < 5)
    {
        *offset = round_down(*offset, 512);
        *len = round_up(*len, 512);
    }
    if (*len > max_bytes)
        *len = max_bytes;
    if (*offset + *len > size_bytes && size_bytes > *len && !rng_percent(rng, 3))
        *offset = size_bytes - *len;
    else if (*offset + *len > size_bytes && *offset < size_bytes && !rng_percent(rng, 3))
        *len = size_bytes - *offset;
    if (rng_percent(rng, 1))
        *len = 0;
}
