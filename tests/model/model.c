/* SPDX-License-Identifier: BSD-3-Clause */
/* The model test: random operations on the real engine and on the naive one, compared. */
#include "tests/model/model.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"

static const struct model_scale model_scales[] = {
    {
        .mode = "small", /* many names meet, sharing is deep */
        .pool_bytes = 64 << 20,
        .journal_bytes = 512 << 10,
        .group_blks = 1024,
        .lun_max_bytes = 128 << 10,
        .io_max_bytes = 64 << 10,
        .max_luns = 8,
        .max_snapshots = 4,
    },
    {
        .mode = "large", /* trees of several levels, large transfers */
        .pool_bytes = 512 << 20,
        .journal_bytes = 2 << 20,
        .group_blks = 8192,
        .lun_max_bytes = 6 << 20,
        .io_max_bytes = MODEL_IO_MAX_BYTES,
        .max_luns = 6,
        .max_snapshots = 4,
    },
    {
        .mode = "full", /* the pool has too little space */
        .pool_bytes = 6 << 20,
        .journal_bytes = 512 << 10,
        .group_blks = 256,
        .lun_max_bytes = 1 << 20,
        .io_max_bytes = 128 << 10,
        .max_luns = 8,
        .max_snapshots = 4,
        .may_be_full = true,
    },
};

static const char *const model_modes[] = {"small", "large", "full", NULL};

/* ---- results */

bool model_is_full(struct model *model, int real)
{
    if (real != -ENOSPC || !model->scale->may_be_full)
        return false;
    replay_trace(model->replay, "  no space: %s", model->why.text);
    replay_count(model->replay, "no space");
    return true;
}

bool model_same(struct model *model, int real, int naive, const char *what)
{
    if (real < 0)
        replay_trace(model->replay, "  %s: %s %s", what, strerror(-real), model->why.text);
    if (real != naive)
        replay_fail(model->replay, "%s gives %d (%s), must give %d (%s): %s", what, real,
                    strerror(-real), naive, strerror(-naive), model->why.text);
    if (real == 0)
        replay_count(model->replay, "did %s", what);
    return real == 0;
}

/* ---- opening and closing */

static void model_open(struct model *model)
{
    struct device *device = simdev_open(model->disk);
    struct pool_open_options options = {.cache_bytes = 256 << 10, .checkpoint_ms = 3600000};
    int r =
        REAL->pool_open_device(&model->real_env.env, device, &options, &model->real, &model->why);
    if (r < 0)
        replay_fail(model->replay, "pool_open_device() gives %d: %s", r, model->why.text);
}

static void model_begin(struct model *model, struct replay *replay)
{
    *model = (struct model){.replay = replay, .scale = model_scales};
    while (strcmp(model->scale->mode, replay->mode) != 0)
        model->scale++;
    rng_env_init(&model->real_env, replay->seed);
    rng_env_init(&model->naive_env, replay->seed);
    model->real_buf = malloc(MODEL_IO_MAX_BYTES + LUN_BLK_BYTES);
    model->naive_buf = malloc(MODEL_IO_MAX_BYTES + LUN_BLK_BYTES);
    INVARIANT(model->real_buf && model->naive_buf);
    model->disk = simdev_new(model->scale->pool_bytes, model->scale->pool_bytes, replay->seed);
    model->naive_disk = simdev_new(0, 0, 0);

    struct device *device = simdev_open(model->disk);
    struct pool_create_options options = {
        .name = "model",
        .size_bytes = model->scale->pool_bytes,
        .journal_bytes = model->scale->journal_bytes,
        .group_blks = model->scale->group_blks,
    };
    int r = REAL->pool_create_on_device(&model->real_env.env, device, &options, &model->why);
    if (r < 0)
        replay_fail(replay, "pool_create_on_device() gives %d: %s", r, model->why.text);
    device_close(device);
    model_open(model);

    device = simdev_open(model->naive_disk);
    options.size_bytes = UINT64_C(1) << 50;
    r = NAIVE->pool_create_on_device(&model->naive_env.env, device, &options, NULL);
    if (r == 0)
        r = NAIVE->pool_open_device(&model->naive_env.env, device, NULL, &model->naive, NULL);
    INVARIANT(r == 0);
}

static void model_end(struct model *model)
{
    model_close_slots(model);
    int r = REAL->pool_close(model->real);
    if (r < 0)
        replay_fail(model->replay, "pool_close() gives %d", r);
    ignore_error(NAIVE->pool_close(model->naive), "it is in memory");
    simdev_destroy(model->disk);
    simdev_destroy(model->naive_disk);
    free(model->objects);
    free(model->real_buf);
    free(model->naive_buf);
}

/* What identifies an object must outlive a restart. */
static void model_compare_identities(struct model *model, const struct lun_info *before,
                                     size_t count)
{
    AUTO_FREE struct lun_info *after = NULL;
    size_t after_count = 0;
    int r = REAL->lun_list(model->real, NULL, &after, &after_count, &model->why);
    if (r < 0 || after_count != count)
        replay_fail(model->replay, "%zu objects before the restart, %zu after it (%d)", count,
                    after_count, r);
    for (size_t i = 0; i < count; i++)
    {
        if (before[i].id != after[i].id || before[i].lun_id != after[i].lun_id ||
            before[i].created_ns != after[i].created_ns ||
            memcmp(before[i].uuid, after[i].uuid, sizeof(before[i].uuid)) != 0)
            replay_fail(model->replay,
                        "before the restart '%s' %" PRIu64 " of %" PRIu64 " of time %" PRIu64
                        ", after it '%s' %" PRIu64 " of %" PRIu64 " of time %" PRIu64,
                        before[i].name, before[i].id, before[i].lun_id, before[i].created_ns,
                        after[i].name, after[i].id, after[i].lun_id, after[i].created_ns);
    }
}

/* Everything that was written must be durable before a crash; what was not is not modelled here. */
static void model_flush_any(struct model *model)
{
    AUTO_FREE struct lun_info *list = NULL;
    size_t count = 0;
    struct lun *lun = NULL;
    size_t at = 0;
    int r = REAL->lun_list(model->real, NULL, &list, &count, NULL);
    while (r == 0 && at < count && list[at].kind != OBJECT_LUN)
        at++; /* what is left of a deleted LUN takes no writes */
    if (r < 0 || at == count)
        return;
    r = REAL->lun_open(model->real, list[at].name, 0, &lun, NULL);
    if (r == 0)
        r = REAL->lun_flush(lun);
    REAL->lun_close(lun);
    if (r < 0)
        replay_fail(model->replay, "lun_flush() of '%s' gives %d", list[at].name, r);
}

void model_reopen(struct model *model, bool with_crash)
{
    AUTO_FREE struct lun_info *before = NULL;
    size_t count = 0;
    model_close_slots(model);
    if (REAL->lun_list(model->real, NULL, &before, &count, &model->why) < 0)
        replay_fail(model->replay, "lun_list() fails: %s", model->why.text);
    if (with_crash)
    {
        model_flush_any(model);
        simdev_cut_power(model->disk);
    }
    int r = REAL->pool_close(model->real);
    if (r < 0 && !with_crash)
        replay_fail(model->replay, "pool_close() gives %d", r);
    if (with_crash)
    {
        struct simdev_crash_policy policy = simdev_random_policy(model->rng);
        simdev_restart(model->disk, model->rng, &policy);
    }
    model_open(model);
    model_compare_identities(model, before, count);
    model_compare_lists(model);
}

/* ---- steps */

static void model_step_checkpoint(struct model *model)
{
    replay_trace(model->replay, "checkpoint");
    int r = REAL->pool_checkpoint(model->real);
    if (r < 0)
        replay_fail(model->replay, "pool_checkpoint() gives %d", r);
}

static void model_step_jobs(struct model *model)
{
    uint64_t count = rng_between(model->rng, 1, rng_percent(model->rng, 20) ? 100 : 6);
    replay_trace(model->replay, "up to %" PRIu64 " steps of jobs", count);
    int r = 1;
    while (count-- > 0 && r > 0)
        r = REAL->pool_run_job_step(model->real);
    if (r < 0)
        replay_fail(model->replay, "pool_run_job_step() gives %d", r);
}

static void model_step_drain(struct model *model)
{
    replay_trace(model->replay, "all jobs, compare everything");
    model_drain(model);
    model_compare_lists(model);
    model_compare_contents(model);
}

static void model_step_check(struct model *model)
{
    replay_trace(model->replay, "check");
    model_check_pool(model);
    model_compare_lists(model);
}

static void model_step_reopen(struct model *model)
{
    replay_trace(model->replay, "close and open");
    model_reopen(model, false);
}

static void model_step_crash(struct model *model)
{
    replay_trace(model->replay, "crash");
    model_reopen(model, true);
}

static const struct
{
    const char *name;
    void (*step)(struct model *model);
    unsigned weight;
} model_steps[] = {
    {"write", model_step_write, 60},
    {"unmap", model_step_unmap, 10},
    {"zero", model_step_zero, 10},
    {"compare and write", model_step_compare_and_write, 5},
    {"write atomic", model_step_write_atomic, 6},
    {"read modify write", model_step_read_modify_write, 5},
    {"read", model_step_read, 25},
    {"flush", model_step_flush, 4},
    {"extents", model_step_extents, 8},
    {"difference", model_step_difference, 4},
    {"open", model_step_open, 6},
    {"close", model_step_close, 8},
    {"create", model_step_create, 6},
    {"clone", model_step_clone, 14},
    {"clone many", model_step_clone_many, 4},
    {"delete", model_step_delete, 9},
    {"rename", model_step_rename, 3},
    {"resize", model_step_resize, 6},
    {"comment", model_step_comment, 2},
    {"snapshot", model_step_snapshot, 14},
    {"snapshot delete", model_step_snapshot_delete, 10},
    {"snapshot rename", model_step_snapshot_rename, 2},
    {"restore", model_step_restore, 6},
    {"volume create", model_step_volume_create, 7},
    {"volume modify", model_step_volume_modify, 2},
    {"volume rename", model_step_volume_rename, 2},
    {"volume delete", model_step_volume_delete, 2},
    {"qtree", model_step_qtree, 3},
    {"volume snapshot", model_step_set_create, 7},
    {"volume snapshot delete", model_step_set_delete, 6},
    {"volume snapshot rename", model_step_set_rename, 2},
    {"volume restore", model_step_set_restore, 3},
    {"volume clone", model_step_volume_clone, 4},
    {"volume split", model_step_volume_split, 2},
    {"group clone", model_step_group_clone, 4},
    {"redeploy", model_step_redeploy, 5},
    {"attributes", model_step_attributes, 3},
    {"store", model_step_store, 5},
    {"freed", model_step_freed, 5},
    {"checkpoint", model_step_checkpoint, 7},
    {"jobs", model_step_jobs, 25},
    {"drain", model_step_drain, 2},
    {"check", model_step_check, 3},
    {"reopen", model_step_reopen, 2},
    {"crash", model_step_crash, 3},
};

/* In most runs there are volumes from the beginning. */
static void model_make_volumes(struct model *model)
{
    struct volume_attributes attributes = {0};
    const char *const names[] = {"v0", "v1"};
    for (size_t i = 0; i < ARRAY_SIZE(names) && model->replay->seed % 4 != 0; i++)
        MODEL_BOTH(model, volume_create, names[i], &attributes, why);
    if (model->replay->seed % 4 != 0)
        MODEL_BOTH(model, qtree_create, "v0/q0", NULL, why);
}

static void model_run(struct replay *replay)
{
    struct model model;
    replay_quiet_log(replay);
    model_begin(&model, replay);
    model_make_volumes(&model);
    uint64_t total = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(model_steps); i++)
        total += model_steps[i].weight;
    struct rng rng;
    model.rng = &rng;
    for (uint64_t step = 0; step < replay->steps; step++)
    {
        if (!replay_step(replay, step, &rng))
            continue;
        uint64_t at = rng_below(&rng, total);
        unsigned kind = 0;
        while (at >= model_steps[kind].weight)
            at -= model_steps[kind++].weight;
        model.why.text[0] = '\0';
        model_list(&model);
        model_steps[kind].step(&model);
        replay_count(replay, "%s", model_steps[kind].name);
    }
    replay_trace(replay, "end");
    model_drain(&model);
    model_compare_lists(&model);
    model_compare_contents(&model);
    model_end(&model);
}

static uint64_t model_counted(const struct replay_stats *stats, const char *label)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < REPLAY_COUNTERS; i++)
    {
        if (strcmp(stats->counters[i].label, label) == 0)
            count = stats->counters[i].count;
    }
    return count;
}

/* Commands that others are needed for: they must have been done, not only tried. */
static const char *const model_deeds[] = {
    "did volume_create",          "did volume_modify",          "did volume_rename",
    "did volume_delete",          "did qtree_create",           "did qtree_rename",
    "did qtree_delete",           "did volume_snapshot_create", "did volume_snapshot_delete",
    "did volume_snapshot_rename", "did volume_snapshot_lock",   "did volume_snapshot_restore",
    "did volume_clone",           "did volume_clone_split",     "did lun_clone_group",
    "did lun_redeploy",           "did lun_set_attributes",     "did lun_rename",
};

/* Every kind of step must have been done. */
static bool model_is_covered(const struct replay_stats *stats)
{
    bool is_covered = true;
    for (unsigned i = 0; i < ARRAY_SIZE(model_steps); i++)
        is_covered &= model_counted(stats, model_steps[i].name) > 0;
    for (unsigned i = 0; i < ARRAY_SIZE(model_deeds); i++)
        is_covered &= model_counted(stats, model_deeds[i]) > 0;
    return is_covered;
}

static bool model_summary(const struct replay_stats *stats)
{
    for (unsigned i = 0; i < ARRAY_SIZE(model_steps); i++)
        printf("%10" PRIu64 " %s\n", model_counted(stats, model_steps[i].name),
               model_steps[i].name);
    for (unsigned i = 0; i < ARRAY_SIZE(model_deeds); i++)
        printf("%10" PRIu64 " %s\n", model_counted(stats, model_deeds[i]), model_deeds[i]);
    bool is_covered = model_is_covered(stats);
    if (!is_covered)
        printf("A kind of step was never done.\n");
    return is_covered;
}

int main(int argc, char **argv)
{
    static const struct replay_program program = {
        .name = "test_model",
        .modes = model_modes,
        .runs = 60,
        .steps = 400,
        .seeds_path = MODEL_SEEDS,
        .run = model_run,
        .is_covered = model_is_covered,
        .summary = model_summary,
    };
    return replay_main(&program, argc, argv);
}
