/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two engines side by side: the real one on a simulated disk, and the naive one. Each step does the
 * same to both, the real one first, and compares what they say.
 */
#ifndef TESTS_MODEL_MODEL_H
#define TESTS_MODEL_MODEL_H

#include "tests/lib/replay.h"
#include "tests/lib/rng.h"
#include "tests/lib/simdev.h"
#include "tests/model/api.h"

enum
{
    MODEL_SLOTS = 6,
    MODEL_VOLUMES = 4, /* names that are drawn */
    MODEL_QTREES = 3,
    MODEL_NAME_BYTES = 2 * LUN_NAME_MAX + 2,
    MODEL_IO_MAX_BYTES = 1 << 20,
};

/* The limits of a mode. */
struct model_scale
{
    const char *mode;
    uint64_t pool_bytes, journal_bytes;
    uint32_t group_blks;
    uint64_t lun_max_bytes;
    uint64_t io_max_bytes;
    unsigned max_luns, max_snapshots; /* names that are drawn */
    bool may_be_full;                 /* the real engine may say -ENOSPC */
};

/* A handle that stays open from step to step; real NULL: empty. */
struct model_slot
{
    struct lun *real, *naive;
};

struct model
{
    struct replay *replay;
    const struct model_scale *scale;
    struct rng *rng; /* of this step */
    struct rng_env real_env, naive_env;
    struct simdev *disk, *naive_disk;
    struct pool *real, *naive;
    struct model_slot slots[MODEL_SLOTS];
    struct lun_info *objects; /* the naive engine's list, made anew before each step */
    size_t object_count;
    struct reason why;             /* of the real engine's last refusal */
    uint8_t *real_buf, *naive_buf; /* MODEL_IO_MAX_BYTES and a bit each */
};

#define REAL (&engine_api)
#define NAIVE (&naive_engine_api)

/* Does the same to both engines, unless the real one has no space for it. */
#define MODEL_BOTH(model, function, ...)                                                           \
    ({                                                                                             \
        struct reason *why = &(model)->why;                                                        \
        struct pool *pool = (model)->real;                                                         \
        int real_ = REAL->function(pool, __VA_ARGS__);                                             \
        bool did_ = false;                                                                         \
        if (!model_is_full(model, real_))                                                          \
        {                                                                                          \
            why = NULL;                                                                            \
            pool = (model)->naive;                                                                 \
            did_ = model_same(model, real_, NAIVE->function(pool, __VA_ARGS__), #function);        \
        }                                                                                          \
        (void)why;                                                                                 \
        did_;                                                                                      \
    })

/* model.c */
void model_reopen(struct model *model, bool with_crash);
/* Both results must be the same. True if the real engine did it and the naive one must too. */
bool model_same(struct model *model, int real, int naive, const char *what);
/* The real engine said -ENOSPC where that is allowed: nothing was done. */
bool model_is_full(struct model *model, int real);

/* model_pick.c: what a step works on */
void model_list(struct model *model);
/* A name: of an object that exists, most of the time; else one that may be free, rarely a bad one.
 */
void model_pick_lun(struct model *model, char name[MODEL_NAME_BYTES]);
void model_pick_object(struct model *model, char name[MODEL_NAME_BYTES]);
void model_pick_new_lun(struct model *model, char name[MODEL_NAME_BYTES]);
/* Splits "LUN@SNAPSHOT"; @snapshot gets "" if there is none. */
void model_pick_snapshot(struct model *model, char lun[MODEL_NAME_BYTES],
                         char snapshot[MODEL_NAME_BYTES]);
void model_pick_new_snapshot(struct model *model, char snapshot[MODEL_NAME_BYTES]);
uint64_t model_pick_size(struct model *model);
void model_pick_range(struct model *model, uint64_t size_bytes, uint64_t max_bytes,
                      uint64_t *offset, uint64_t *len);

/* model_io.c */
void model_step_write(struct model *model);
void model_step_zero(struct model *model);
void model_step_unmap(struct model *model);
void model_step_read(struct model *model);
void model_step_flush(struct model *model);
void model_step_compare_and_write(struct model *model);
void model_step_write_atomic(struct model *model);
void model_step_read_modify_write(struct model *model);
void model_step_extents(struct model *model);
void model_step_difference(struct model *model);
void model_step_open(struct model *model);
void model_step_close(struct model *model);
void model_close_slots(struct model *model);
/* Opens @name in both for reading; false if it is not there. */
bool model_open_both(struct model *model, const char *name, unsigned flags,
                     struct model_slot *slot);
void model_close_both(struct model_slot *slot);

/* model_manage.c */
unsigned model_pick_force(struct model *model, unsigned percent);
const char *model_pick_comment(struct model *model, char comment[LUN_COMMENT_MAX + 2]);
void model_step_create(struct model *model);
void model_step_clone(struct model *model);
void model_step_clone_many(struct model *model);
void model_step_delete(struct model *model);
void model_step_rename(struct model *model);
void model_step_resize(struct model *model);
void model_step_comment(struct model *model);
void model_step_snapshot(struct model *model);
void model_step_snapshot_delete(struct model *model);
void model_step_snapshot_rename(struct model *model);
void model_step_restore(struct model *model);
void model_step_store(struct model *model);
void model_step_freed(struct model *model);

/* model_volume.c */
void model_pick_volume(struct model *model, char name[MODEL_NAME_BYTES]);
void model_step_volume_create(struct model *model);
void model_step_volume_modify(struct model *model);
void model_step_volume_rename(struct model *model);
void model_step_volume_delete(struct model *model);
void model_step_qtree(struct model *model);
void model_step_set_create(struct model *model);
void model_step_set_delete(struct model *model);
void model_step_set_rename(struct model *model);
void model_step_set_restore(struct model *model);
void model_step_volume_clone(struct model *model);
void model_step_volume_split(struct model *model);
void model_step_group_clone(struct model *model);
void model_step_redeploy(struct model *model);
void model_step_attributes(struct model *model);
void model_compare_volumes(struct model *model);

/* model_check.c */
void model_compare_lists(struct model *model);
void model_compare_contents(struct model *model);
void model_compare_content(struct model *model, const char *name, const struct model_slot *slot);
void model_check_pool(struct model *model);
/* Does all background work, then nothing may be allocated that the oracle does not know. */
void model_drain(struct model *model);
bool model_has_pending_shrink(struct model *model);

#endif
