/* SPDX-License-Identifier: BSD-3-Clause */
/* Steps on volumes, qtrees and their snapshots, and on several LUNs at once. */
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
    MODEL_GROUP_MAX = 4
};

/* ---- picking */

void model_pick_volume(struct model *model, char name[MODEL_NAME_BYTES])
{
    AUTO_FREE struct volume_info *list = NULL;
    size_t count = 0;
    if (NAIVE->volume_list(model->naive, &list, &count) < 0)
        replay_fail(model->replay, "the oracle cannot list its volumes");
    if (count > 0 && rng_percent(model->rng, 95))
        snprintf(name, MODEL_NAME_BYTES, "%s%s", rng_percent(model->rng, 10) ? "/vol/" : "",
                 list[rng_below(model->rng, count)].name);
    else
        snprintf(name, MODEL_NAME_BYTES, "v%u", (unsigned)rng_below(model->rng, MODEL_VOLUMES));
}

static void model_pick_new_volume(struct model *model, char name[MODEL_NAME_BYTES])
{
    unsigned number = (unsigned)rng_below(model->rng, MODEL_VOLUMES);
    if (rng_percent(model->rng, 3))
        snprintf(name, MODEL_NAME_BYTES, "%s", number % 2 ? "a b" : "v0/q0");
    else
        snprintf(name, MODEL_NAME_BYTES, "%s%u", rng_percent(model->rng, 95) ? "v" : "l", number);
}

static void model_pick_set(struct model *model, char volume[MODEL_NAME_BYTES],
                           char snapshot[MODEL_NAME_BYTES])
{
    AUTO_FREE struct volume_snapshot_info *list = NULL;
    size_t count = 0;
    if (NAIVE->volume_snapshot_list(model->naive, NULL, &list, &count, NULL) < 0)
        replay_fail(model->replay, "the oracle cannot list its volume snapshots");
    if (count == 0 || rng_percent(model->rng, 3))
    {
        model_pick_volume(model, volume);
        model_pick_new_snapshot(model, snapshot);
        return;
    }
    const char *name = list[rng_below(model->rng, count)].name;
    size_t len = strcspn(name, "@");
    snprintf(volume, MODEL_NAME_BYTES, "%.*s", (int)len, name);
    snprintf(snapshot, MODEL_NAME_BYTES, "%s", name + len + 1);
}

static uint64_t model_pick_lock(struct model *model)
{
    static const uint64_t times[] = {0, 1, 2, UINT64_MAX};
    return times[rng_below(model->rng, rng_percent(model->rng, 5) ? ARRAY_SIZE(times) : 3)];
}

/* ---- volumes */

static void model_pick_volume_attributes(struct model *model, struct volume_attributes *attributes,
                                         char comment[LUN_COMMENT_MAX + 2])
{
    *attributes = (struct volume_attributes){
        .pauses_when_full = false, /* it would wait for nobody */
        .pause_ms = (uint32_t)rng_below(model->rng, 3),
        .comment = model_pick_comment(model, comment),
    };
    if (model->scale->may_be_full && rng_percent(model->rng, 30))
        attributes->size_bytes = rng_between(model->rng, 1, 8) << 20;
    attributes->is_guaranteed = rng_percent(model->rng, attributes->size_bytes ? 30 : 3);
}

void model_step_volume_create(struct model *model)
{
    char name[MODEL_NAME_BYTES];
    char comment[LUN_COMMENT_MAX + 2];
    struct volume_attributes attributes;
    model_pick_new_volume(model, name);
    model_pick_volume_attributes(model, &attributes, comment);
    replay_trace(model->replay, "volume %s of %" PRIu64 "%s", name, attributes.size_bytes,
                 attributes.is_guaranteed ? ", guaranteed" : "");
    MODEL_BOTH(model, volume_create, name, &attributes, why);
}

void model_step_volume_modify(struct model *model)
{
    char name[MODEL_NAME_BYTES];
    char comment[LUN_COMMENT_MAX + 2];
    struct volume_attributes attributes;
    model_pick_volume(model, name);
    model_pick_volume_attributes(model, &attributes, comment);
    attributes.locked_until_ns = model_pick_lock(model);
    unsigned mask = (unsigned)rng_below(model->rng, 32);
    replay_trace(model->replay, "modify volume %s: 0x%x", name, mask);
    MODEL_BOTH(model, volume_modify, name, mask, &attributes, why);
}

void model_step_volume_rename(struct model *model)
{
    char name[MODEL_NAME_BYTES];
    char new_name[MODEL_NAME_BYTES];
    model_pick_volume(model, name);
    model_pick_new_volume(model, new_name);
    replay_trace(model->replay, "rename volume %s to %s", name, new_name);
    MODEL_BOTH(model, volume_rename, name, new_name, why);
}

void model_step_volume_delete(struct model *model)
{
    char name[MODEL_NAME_BYTES];
    model_pick_volume(model, name);
    bool with_contents = rng_percent(model->rng, 60);
    unsigned flags = model_pick_force(model, 50);
    replay_trace(model->replay, "delete volume %s%s%s", name, with_contents ? " with contents" : "",
                 flags ? " by force" : "");
    MODEL_BOTH(model, volume_delete, name, with_contents, flags, why);
}

void model_step_qtree(struct model *model)
{
    char volume[MODEL_NAME_BYTES];
    char path[2 * MODEL_NAME_BYTES];
    char new_name[16];
    char comment[LUN_COMMENT_MAX + 2];
    model_pick_volume(model, volume);
    snprintf(path, sizeof(path), "%s/q%u", volume, (unsigned)rng_below(model->rng, MODEL_QTREES));
    snprintf(new_name, sizeof(new_name), "q%u", (unsigned)rng_below(model->rng, MODEL_QTREES));
    unsigned what = (unsigned)rng_below(model->rng, 6);
    if (what < 2)
    {
        const char *text = model_pick_comment(model, comment);
        replay_trace(model->replay, "qtree %s", path);
        MODEL_BOTH(model, qtree_create, path, text, why);
    }
    else if (what < 5)
    {
        replay_trace(model->replay, "rename qtree %s to %s", path, new_name);
        MODEL_BOTH(model, qtree_rename, path, new_name, why);
    }
    else
    {
        replay_trace(model->replay, "delete qtree %s", path);
        MODEL_BOTH(model, qtree_delete, path, why);
    }
}

/* ---- snapshots of volumes */

void model_step_set_create(struct model *model)
{
    char volumes[2][MODEL_NAME_BYTES];
    char name[MODEL_NAME_BYTES];
    char comment[LUN_COMMENT_MAX + 2];
    const char *pointers[2] = {volumes[0], volumes[1]};
    size_t count = rng_percent(model->rng, 70) ? 1 : 2;
    for (size_t i = 0; i < count; i++)
        model_pick_volume(model, volumes[i]);
    model_pick_new_snapshot(model, name);
    struct volume_snapshot_args args = {
        .name = name,
        .comment = model_pick_comment(model, comment),
        .locked_until_ns = rng_percent(model->rng, 10) ? model_pick_lock(model) : 0};
    replay_trace(model->replay, "volume snapshot %s of %s%s%s", name, volumes[0],
                 count > 1 ? " and " : "", count > 1 ? volumes[1] : "");
    MODEL_BOTH(model, volume_snapshot_create, pointers, count, &args, why);
}

void model_step_set_delete(struct model *model)
{
    char volume[MODEL_NAME_BYTES];
    char snapshot[MODEL_NAME_BYTES];
    model_pick_set(model, volume, snapshot);
    unsigned flags =
        model_pick_force(model, 50) | (rng_percent(model->rng, 40) ? (unsigned)LUN_DEFER : 0u);
    replay_trace(model->replay, "delete volume snapshot %s@%s, flags %u", volume, snapshot, flags);
    MODEL_BOTH(model, volume_snapshot_delete, volume, snapshot, flags, why);
}

void model_step_set_rename(struct model *model)
{
    char volume[MODEL_NAME_BYTES];
    char snapshot[MODEL_NAME_BYTES];
    char new_name[MODEL_NAME_BYTES];
    model_pick_set(model, volume, snapshot);
    model_pick_new_snapshot(model, new_name);
    replay_trace(model->replay, "rename volume snapshot %s@%s to %s", volume, snapshot, new_name);
    if (rng_percent(model->rng, 80))
    {
        MODEL_BOTH(model, volume_snapshot_rename, volume, snapshot, new_name, why);
        return;
    }
    uint64_t until = model_pick_lock(model);
    replay_trace(model->replay, "  no: lock it until %" PRIu64, until);
    MODEL_BOTH(model, volume_snapshot_lock, volume, snapshot, until, why);
}

void model_step_set_restore(struct model *model)
{
    char volume[MODEL_NAME_BYTES];
    char snapshot[MODEL_NAME_BYTES];
    model_pick_set(model, volume, snapshot);
    unsigned flags = model_pick_force(model, 70);
    replay_trace(model->replay, "restore volume %s@%s%s", volume, snapshot,
                 flags ? " by force" : "");
    MODEL_BOTH(model, volume_snapshot_restore, volume, snapshot, flags, why);
}

/* ---- clones of volumes */

/* The automatic snapshot has the time in its name, and the engines' clocks differ. */
static void model_rename_automatic(struct model *model, const char *clone)
{
    char snapshot[32];
    snprintf(snapshot, sizeof(snapshot), "auto%" PRIu64, rng_below(model->rng, 1000000));
    for (unsigned i = 0; i < 2; i++)
    {
        const struct api *api = i ? NAIVE : REAL;
        struct pool *pool = i ? model->naive : model->real;
        struct volume_info info;
        int r = api->volume_get_info(pool, clone, &info, &model->why);
        char *at = r == 0 ? strchr(info.parent, '@') : NULL;
        if (at)
        {
            *at = '\0';
            r = api->volume_snapshot_rename(pool, info.parent, at + 1, snapshot, &model->why);
        }
        if (r < 0 || !at)
            replay_fail(model->replay, "the automatic snapshot of %s is not as it must be: %d %s",
                        clone, r, model->why.text);
    }
}

void model_step_volume_clone(struct model *model)
{
    char volume[MODEL_NAME_BYTES];
    char snapshot[MODEL_NAME_BYTES];
    char name[MODEL_NAME_BYTES];
    char comment[LUN_COMMENT_MAX + 2];
    model_pick_set(model, volume, snapshot);
    model_pick_new_volume(model, name);
    bool is_automatic = rng_percent(model->rng, 30);
    struct volume_clone_args args = {.volume = volume,
                                     .snapshot = is_automatic ? NULL : snapshot,
                                     .name = name,
                                     .unguaranteed = rng_percent(model->rng, 50),
                                     .no_reserve = rng_percent(model->rng, 50),
                                     .unlocked = rng_percent(model->rng, 50),
                                     .comment = model_pick_comment(model, comment)};
    replay_trace(model->replay, "volume clone %s of %s@%s%s", name, volume,
                 is_automatic ? "(now)" : snapshot, args.unguaranteed ? ", unguaranteed" : "");
    bool did = MODEL_BOTH(model, volume_clone, &args, why);
    if (did && is_automatic)
        model_rename_automatic(model, name);
}

void model_step_volume_split(struct model *model)
{
    char name[MODEL_NAME_BYTES];
    model_pick_volume(model, name);
    replay_trace(model->replay, "split volume %s", name);
    MODEL_BOTH(model, volume_clone_split, name, why);
}

/* ---- groups of LUNs */

void model_step_group_clone(struct model *model)
{
    char sources[MODEL_GROUP_MAX][MODEL_NAME_BYTES];
    char names[MODEL_GROUP_MAX][MODEL_NAME_BYTES];
    struct lun_pair pairs[MODEL_GROUP_MAX];
    size_t count = (size_t)rng_between(model->rng, 1, MODEL_GROUP_MAX);
    bool of_luns = rng_percent(model->rng, 80);
    for (size_t i = 0; i < count; i++)
    {
        if (of_luns)
            model_pick_lun(model, sources[i]);
        else
            model_pick_object(model, sources[i]);
        model_pick_new_lun(model, names[i]);
        pairs[i] = (struct lun_pair){.source = sources[i], .name = names[i]};
        replay_trace(model->replay, "%s clone %s as %s", i ? "  and" : "group:", sources[i],
                     names[i]);
    }
    struct lun_clone_args common = {.autodelete = rng_percent(model->rng, 50),
                                    .no_reserve = rng_percent(model->rng, 50),
                                    .unlocked = rng_percent(model->rng, 50),
                                    .group = "a group"};
    MODEL_BOTH(model, lun_clone_group, pairs, count, &common, why);
}

void model_step_redeploy(struct model *model)
{
    char source[MODEL_NAME_BYTES];
    char undo[MODEL_NAME_BYTES];
    char names[MODEL_GROUP_MAX][MODEL_NAME_BYTES];
    const char *pointers[MODEL_GROUP_MAX];
    size_t count = (size_t)rng_between(model->rng, 1, 3);
    model_pick_object(model, source);
    model_pick_new_snapshot(model, undo);
    unsigned flags = model_pick_force(model, 70);
    replay_trace(model->replay, "redeploy from %s, undo %s%s", source, undo,
                 flags ? ", by force" : "");
    for (size_t i = 0; i < count; i++)
    {
        model_pick_lun(model, names[i]);
        pointers[i] = names[i];
        replay_trace(model->replay, "  %s", names[i]);
    }
    MODEL_BOTH(model, lun_redeploy, source, pointers, count, undo, flags, why);
}

void model_step_attributes(struct model *model)
{
    char name[MODEL_NAME_BYTES];
    model_pick_object(model, name);
    struct lun_attributes attributes = {.is_reserved = rng_percent(model->rng, 30),
                                        .is_autodelete = rng_percent(model->rng, 50),
                                        .expire_ns = rng_below(model->rng, 3),
                                        .locked_until_ns = model_pick_lock(model),
                                        .owner = rng_percent(model->rng, 50) ? "owner" : NULL,
                                        .group = rng_percent(model->rng, 50) ? "" : "group"};
    unsigned mask = strchr(name, '@') && rng_percent(model->rng, 80)
                        ? (unsigned)LUN_SET_LOCKED_UNTIL
                        : (unsigned)rng_below(model->rng, 64);
    replay_trace(model->replay, "attributes of %s: 0x%x", name, mask);
    MODEL_BOTH(model, lun_set_attributes, name, mask, &attributes, why);
}

/* ---- comparing */

static void model_compare_volume(struct model *model, const struct volume_info *real,
                                 const struct volume_info *naive)
{
    bool is_same =
        strcmp(real->name, naive->name) == 0 && strcmp(real->comment, naive->comment) == 0 &&
        real->size_bytes == naive->size_bytes && real->is_guaranteed == naive->is_guaranteed &&
        real->pauses_when_full == naive->pauses_when_full && real->pause_ms == naive->pause_ms &&
        real->locked_until_ns == naive->locked_until_ns && real->lun_count == naive->lun_count &&
        real->qtree_count == naive->qtree_count && real->snapshot_count == naive->snapshot_count &&
        real->deleted_lun_count == naive->deleted_lun_count &&
        real->logical_bytes == naive->logical_bytes && strcmp(real->parent, naive->parent) == 0 &&
        !real->parent_volume_id == !naive->parent_volume_id;
    if (!is_same)
        replay_fail(model->replay,
                    "volume '%s' of '%s': %" PRIu64 " LUNs, %" PRIu64 " qtrees, %" PRIu64
                    " snapshots, %" PRIu64 " bytes; it must be '%s' of '%s', %" PRIu64 ", %" PRIu64
                    ", %" PRIu64 ", %" PRIu64,
                    real->name, real->parent, real->lun_count, real->qtree_count,
                    real->snapshot_count, real->logical_bytes, naive->name, naive->parent,
                    naive->lun_count, naive->qtree_count, naive->snapshot_count,
                    naive->logical_bytes);
}

static void model_compare_qtrees(struct model *model)
{
    AUTO_FREE struct qtree_info *real = NULL;
    AUTO_FREE struct qtree_info *naive = NULL;
    size_t real_count = 0, naive_count = 0;
    int r = REAL->qtree_list(model->real, NULL, &real, &real_count, &model->why);
    if (r == 0)
        r = NAIVE->qtree_list(model->naive, NULL, &naive, &naive_count, NULL);
    if (r < 0 || real_count != naive_count)
        replay_fail(model->replay, "%zu qtrees are listed (%d), there are %zu", real_count, r,
                    naive_count);
    for (size_t i = 0; i < real_count; i++)
    {
        if (strcmp(real[i].path, naive[i].path) != 0 ||
            strcmp(real[i].comment, naive[i].comment) != 0 ||
            real[i].lun_count != naive[i].lun_count ||
            real[i].logical_bytes != naive[i].logical_bytes)
            replay_fail(model->replay, "qtree '%s' is not as '%s' must be", real[i].path,
                        naive[i].path);
    }
}

static void model_compare_sets(struct model *model)
{
    AUTO_FREE struct volume_snapshot_info *real = NULL;
    AUTO_FREE struct volume_snapshot_info *naive = NULL;
    size_t real_count = 0, naive_count = 0;
    int r = REAL->volume_snapshot_list(model->real, NULL, &real, &real_count, &model->why);
    if (r == 0)
        r = NAIVE->volume_snapshot_list(model->naive, NULL, &naive, &naive_count, NULL);
    if (r < 0 || real_count != naive_count)
        replay_fail(model->replay, "%zu volume snapshots are listed (%d), there are %zu",
                    real_count, r, naive_count);
    for (size_t i = 0; i < real_count; i++)
    {
        if (strcmp(real[i].name, naive[i].name) != 0 ||
            strcmp(real[i].comment, naive[i].comment) != 0 ||
            real[i].lun_count != naive[i].lun_count ||
            real[i].clone_count != naive[i].clone_count ||
            real[i].is_automatic != naive[i].is_automatic ||
            real[i].is_deferred != naive[i].is_deferred ||
            real[i].locked_until_ns != naive[i].locked_until_ns ||
            real[i].logical_bytes != naive[i].logical_bytes)
            replay_fail(model->replay, "volume snapshot '%s' is not as '%s' must be", real[i].name,
                        naive[i].name);
    }
}

void model_compare_volumes(struct model *model)
{
    AUTO_FREE struct volume_info *real = NULL;
    AUTO_FREE struct volume_info *naive = NULL;
    size_t real_count = 0, naive_count = 0;
    int r = REAL->volume_list(model->real, &real, &real_count);
    if (r == 0)
        r = NAIVE->volume_list(model->naive, &naive, &naive_count);
    if (r < 0 || real_count != naive_count)
        replay_fail(model->replay, "%zu volumes are listed (%d), there are %zu", real_count, r,
                    naive_count);
    for (size_t i = 0; i < real_count; i++)
        model_compare_volume(model, &real[i], &naive[i]);
    model_compare_qtrees(model);
    model_compare_sets(model);
}
