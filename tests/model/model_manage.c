/* SPDX-License-Identifier: BSD-3-Clause */
/* Steps of management: everything that changes names, sizes, lineage or the store. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "tests/model/model.h"

enum
{
    MODEL_SET_MAX = 12
};

unsigned model_pick_force(struct model *model, unsigned percent)
{
    return rng_percent(model->rng, percent) ? LUN_FORCE : 0;
}

const char *model_pick_comment(struct model *model, char comment[LUN_COMMENT_MAX + 2])
{
    size_t len =
        (size_t)rng_below(model->rng, rng_percent(model->rng, 5) ? LUN_COMMENT_MAX + 2 : 9);
    memset(comment, 'c', len);
    comment[len] = '\0';
    return rng_percent(model->rng, 30) ? NULL : comment;
}

void model_step_create(struct model *model)
{
    char name[MODEL_NAME_BYTES];
    char comment[LUN_COMMENT_MAX + 2];
    model_pick_new_lun(model, name);
    static const uint32_t sectors[] = {0, 512, 512, 4096, 4096, 4096, 1024};
    struct lun_create_args args = {
        .name = name,
        .size_bytes = model_pick_size(model),
        .sector_bytes =
            sectors[rng_below(model->rng, ARRAY_SIZE(sectors) - !rng_percent(model->rng, 20))],
        .comment = model_pick_comment(model, comment),
        .attributes = {.is_reserved = rng_percent(model->rng, 10)},
    };
    if (args.sector_bytes == 4096 && rng_percent(model->rng, 90))
        args.size_bytes = round_up(args.size_bytes, 4096);
    replay_trace(model->replay, "create %s of %" PRIu64 ", sectors of %" PRIu32, name,
                 args.size_bytes, args.sector_bytes);
    MODEL_BOTH(model, lun_create, &args, why);
}

void model_step_clone(struct model *model)
{
    char source[MODEL_NAME_BYTES];
    char name[MODEL_NAME_BYTES];
    char comment[LUN_COMMENT_MAX + 2];
    model_pick_object(model, source);
    model_pick_new_lun(model, name);
    struct lun_clone_args args = {.source = source,
                                  .name = name,
                                  .comment = model_pick_comment(model, comment),
                                  .no_reserve = rng_percent(model->rng, 30),
                                  .unlocked = rng_percent(model->rng, 50),
                                  .owner = rng_percent(model->rng, 30) ? "someone" : NULL,
                                  .expire_ns = rng_below(model->rng, 2)};
    replay_trace(model->replay, "clone %s as %s", source, name);
    MODEL_BOTH(model, lun_clone, &args, why);
}

void model_step_clone_many(struct model *model)
{
    static const char *const templates[] = {"l%d",       "l%u", "l%02d", "v0/l%d", "v%d/l0",
                                            "v0/q0/l%u", "m%d", "l%%d",  "l%d%d",  "lx"};
    char source[MODEL_NAME_BYTES];
    model_pick_object(model, source);
    bool is_good = rng_percent(model->rng, 90);
    struct lun_clone_args args = {
        .source = source,
        .name = templates[rng_below(model->rng, is_good ? 6 : ARRAY_SIZE(templates))],
        .count = (uint32_t)rng_between(model->rng, 2, 4),
        .unlocked = rng_percent(model->rng, 50),
        .first_number = (uint32_t)rng_below(model->rng, model->scale->max_luns),
    };
    replay_trace(model->replay, "clone %s as %" PRIu32 " of %s from %" PRIu32, source, args.count,
                 args.name, args.first_number);
    MODEL_BOTH(model, lun_clone, &args, why);
}

void model_step_delete(struct model *model)
{
    char name[MODEL_NAME_BYTES];
    model_pick_lun(model, name);
    bool with_snapshots = rng_percent(model->rng, 60);
    unsigned flags = model_pick_force(model, 50);
    replay_trace(model->replay, "delete %s%s%s", name, with_snapshots ? " with snapshots" : "",
                 flags ? " by force" : "");
    MODEL_BOTH(model, lun_delete, name, with_snapshots, flags, why);
}

void model_step_rename(struct model *model)
{
    char name[MODEL_NAME_BYTES];
    char new_name[MODEL_NAME_BYTES];
    model_pick_lun(model, name);
    model_pick_new_lun(model, new_name);
    replay_trace(model->replay, "rename %s to %s", name, new_name);
    if (strcmp(name, new_name) != 0)
        MODEL_BOTH(model, lun_rename, name, new_name, why);
}

void model_step_resize(struct model *model)
{
    char name[MODEL_NAME_BYTES];
    model_pick_lun(model, name);
    uint64_t size_bytes = model_pick_size(model);
    unsigned flags = model_pick_force(model, 80);
    replay_trace(model->replay, "resize %s to %" PRIu64 "%s", name, size_bytes,
                 flags ? " by force" : "");
    MODEL_BOTH(model, lun_resize, name, size_bytes, flags, why);
}

void model_step_comment(struct model *model)
{
    char name[MODEL_NAME_BYTES];
    char comment[LUN_COMMENT_MAX + 2];
    model_pick_object(model, name);
    const char *text = model_pick_comment(model, comment);
    replay_trace(model->replay, "comment on %s", name);
    if (text)
        MODEL_BOTH(model, lun_set_comment, name, text, why);
}

void model_step_snapshot(struct model *model)
{
    char lun[MODEL_NAME_BYTES];
    char snapshot[MODEL_NAME_BYTES];
    char comment[LUN_COMMENT_MAX + 2];
    model_pick_lun(model, lun);
    model_pick_new_snapshot(model, snapshot);
    const char *text = model_pick_comment(model, comment);
    replay_trace(model->replay, "snapshot %s@%s", lun, snapshot);
    MODEL_BOTH(model, snapshot_create, lun, snapshot, text, why);
}

void model_step_snapshot_delete(struct model *model)
{
    char lun[MODEL_NAME_BYTES];
    char snapshot[MODEL_NAME_BYTES];
    model_pick_snapshot(model, lun, snapshot);
    unsigned flags = model_pick_force(model, 50);
    replay_trace(model->replay, "delete snapshot %s@%s%s", lun, snapshot, flags ? " by force" : "");
    MODEL_BOTH(model, snapshot_delete, lun, snapshot, flags, why);
}

void model_step_snapshot_rename(struct model *model)
{
    char lun[MODEL_NAME_BYTES];
    char snapshot[MODEL_NAME_BYTES];
    char new_name[MODEL_NAME_BYTES];
    model_pick_snapshot(model, lun, snapshot);
    model_pick_new_snapshot(model, new_name);
    replay_trace(model->replay, "rename snapshot %s@%s to %s", lun, snapshot, new_name);
    if (strcmp(snapshot, new_name) != 0)
        MODEL_BOTH(model, snapshot_rename, lun, snapshot, new_name, why);
}

void model_step_restore(struct model *model)
{
    char lun[MODEL_NAME_BYTES];
    char snapshot[MODEL_NAME_BYTES];
    model_pick_snapshot(model, lun, snapshot);
    unsigned flags = model_pick_force(model, 50);
    replay_trace(model->replay, "restore %s@%s%s", lun, snapshot, flags ? " by force" : "");
    MODEL_BOTH(model, snapshot_restore, lun, snapshot, flags, why);
}

/* ---- store */

void model_step_store(struct model *model)
{
    struct store_change changes[6];
    char keys[ARRAY_SIZE(changes)][STORE_KEY_MAX + 2];
    AUTO_FREE uint8_t *bytes = malloc(STORE_VALUE_MAX + 1);
    rng_fill(model->rng, bytes, STORE_VALUE_MAX + 1);
    size_t count = (size_t)rng_below(model->rng, ARRAY_SIZE(changes) + 1);
    for (size_t i = 0; i < count; i++)
    {
        snprintf(keys[i], sizeof(keys[i]), "k%u/%u", (unsigned)rng_below(model->rng, 3),
                 (unsigned)rng_below(model->rng, 8));
        uint64_t max = rng_percent(model->rng, 10) ? STORE_VALUE_MAX + 1 : 64;
        changes[i] = (struct store_change){.key = keys[i],
                                           .value = rng_percent(model->rng, 70) ? bytes : NULL,
                                           .len = (size_t)rng_below(model->rng, max + 1)};
        replay_trace(model->replay, "store %s %s of %zu", changes[i].value ? "put" : "delete",
                     keys[i], changes[i].len);
    }
    MODEL_BOTH(model, store_apply, changes, count, why);
}

/* ---- freed if deleted */

static void model_delete_named(struct model *model, const char *name)
{
    char lun[MODEL_NAME_BYTES];
    size_t len = strcspn(name, "@");
    snprintf(lun, sizeof(lun), "%.*s", (int)len, name);
    replay_trace(model->replay, "  delete %s", name);
    bool done = name[len] == '@'
                    ? MODEL_BOTH(model, snapshot_delete, lun, name + len + 1, LUN_FORCE, why)
                    : MODEL_BOTH(model, lun_delete, lun, false, LUN_FORCE, why);
    if (!done)
        replay_fail(model->replay, "'%s' cannot be deleted: %s", name, model->why.text);
}

/*
 * Asks what the deletion of a set would free. Sometimes does it, and measures. A LUN is deleted in
 * a set only if all its snapshots are in it too.
 */
void model_step_freed(struct model *model)
{
    char names[MODEL_SET_MAX][MODEL_NAME_BYTES];
    const char *pointers[MODEL_SET_MAX];
    size_t count = 0;
    unsigned percent = (unsigned)rng_between(model->rng, 10, 60);
    bool has_naked_lun = false;
    for (size_t i = 0; i < model->object_count && count < MODEL_SET_MAX; i++)
    {
        if (!rng_percent(model->rng, percent))
            continue;
        /* What cannot be deleted alone, or not at all, stays. */
        has_naked_lun |= model->objects[i].snapshot_count > 0 ||
                         model->objects[i].volume_snapshot_id != 0 ||
                         model->objects[i].locked_until_ns != 0 || model->objects[i].volume_id != 0;
        pointers[count] = names[count];
        snprintf(names[count++], MODEL_NAME_BYTES, "%s", model->objects[i].name);
    }
    bool will_delete = !has_naked_lun && count > 0 && rng_percent(model->rng, 30);
    if (will_delete)
        model_drain(model);
    if (model_has_pending_shrink(model))
        return;
    uint64_t real = 0;
    uint64_t naive = 0;
    uint64_t metadata = 0;
    replay_trace(model->replay, "freed if %zu objects were deleted", count);
    for (size_t i = 0; i < count; i++)
        replay_trace(model->replay, "  %s", names[i]);
    int r = REAL->lun_freed_if_deleted(model->real, pointers, count, &real, &metadata, &model->why);
    model_same(model, r,
               NAIVE->lun_freed_if_deleted(model->naive, pointers, count, &naive, &metadata, NULL),
               "lun_freed_if_deleted");
    if (r == 0 && real != naive)
        replay_fail(model->replay,
                    "deleting them would free %" PRIu64 " bytes, the engine says %" PRIu64, naive,
                    real);
    if (!will_delete || r < 0)
        return;
    struct pool_info before;
    struct pool_info after;
    REAL->pool_get_info(model->real, &before);
    for (size_t i = 0; i < count; i++)
        model_delete_named(model, names[i]);
    model_drain(model);
    REAL->pool_get_info(model->real, &after);
    if (before.data_bytes - after.data_bytes != real)
        replay_fail(model->replay,
                    "%" PRIu64 " bytes were to be freed, data went from %" PRIu64 " to %" PRIu64,
                    real, before.data_bytes, after.data_bytes);
}
