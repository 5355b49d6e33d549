/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Promises of space under random commands and I/O: the engine beside a simple model, which knows
 * sizes, who is promised what, and what each block must read as.
 */
#ifndef TESTS_MODEL_PROMISES_H
#define TESTS_MODEL_PROMISES_H

#include <stdbool.h>
#include <stdint.h>

#include "lun/lun.h"
#include "lun/pool/pool_internal.h"
#include "tests/lib/replay.h"
#include "tests/lib/rng.h"
#include "tests/lib/simdev.h"
#include "tests/model/space_rules.h"

enum
{
    PM_LUNS = 7,
    PM_SNAPSHOTS = 3, /* of each LUN */
    PM_VOLUMES = 3,
    PM_LUN_BLKS = 900,
    PM_IO_BLKS = 64,
    PM_POOL_BYTES = 16 << 20,
    PM_GROUP_BLKS = 512,
};

struct pm_image
{
    bool is_there;
    uint64_t blks;
    uint8_t *values; /* of each block, PM_LUN_BLKS of them */
};

struct pm_lun
{
    char name[32]; /* with its volume's */
    int volume;    /* or -1 */
    bool is_reserved;
    struct pm_image now;
    struct pm_image snapshots[PM_SNAPSHOTS];
};

struct pm_volume
{
    bool is_there;
    char name[16];
    uint64_t blks; /* 0: no bound */
    bool is_guaranteed;
};

struct pm
{
    struct replay *replay;
    struct rng *rng; /* of this step */
    struct rng_env env;
    struct simdev *disk;
    struct pool *pool;
    struct pm_lun luns[PM_LUNS];
    struct pm_volume volumes[PM_VOLUMES];
    uint64_t made; /* counts names */
    struct reason why;
    uint8_t *buf; /* PM_LUN_BLKS blocks */
};

#define PM_BLK LUN_BLK_BYTES

/* ---- promises.c */
void pm_begin(struct pm *pm, struct replay *replay);
void pm_end(struct pm *pm);
void pm_open(struct pm *pm);
void pm_reopen(struct pm *pm, bool with_crash);
void pm_flush(struct pm *pm);
/* Figures of the engine agree with each other and with the model; nothing is promised twice. */
void pm_check_figures(struct pm *pm);
void pm_check_pool(struct pm *pm);
void pm_check_contents(struct pm *pm);

struct pm_lun *pm_pick_lun(struct pm *pm);                    /* NULL: there is none */
struct pm_lun *pm_pick_free(struct pm *pm);                   /* NULL: there are enough */
struct pm_lun *pm_pick_kind(struct pm *pm, bool is_promised); /* NULL: there is none */
void pm_image_set(struct pm_image *image, uint64_t blks, const struct pm_image *source);
void pm_image_clear(struct pm_image *image);
uint64_t pm_available_blks(struct pm *pm);
/* What a volume can still be charged; UINT64_MAX without a bound. */
uint64_t pm_volume_left_blks(struct pm *pm, int volume);
uint64_t pm_own_blks(struct pm *pm, const struct pm_lun *lun);
bool pm_has_promises(struct pm *pm);
bool pm_is_guaranteed(const struct pm *pm, int volume);

/* What is available now, and in @volume. */
struct space_rules_cost pm_cost(struct pm *pm, int volume);
/* Between @least and @most for something in @volume: a guaranteed one has it of the pool already.
 */
void pm_cost_add(struct pm *pm, struct space_rules_cost *cost, int volume, uint64_t least,
                 uint64_t most);

/*
 * A command ended with @r: it must have been done if there was more than enough, and refused with
 * -ENOSPC and a reason if there was too little. True: it was done.
 */
bool pm_agree(struct pm *pm, const char *what, int r, const struct space_rules_cost *cost);

/* ---- promises_io.c */
/* Writes @blks of @value; a promised write must not fail for space. 0 or -ENOSPC. */
int pm_write(struct pm *pm, struct pm_lun *lun, uint64_t lba, uint64_t blks, uint8_t value);
void pm_fill(struct pm *pm, struct pm_lun *lun); /* all of it, or until there is no space */
void pm_unmap(struct pm *pm, struct pm_lun *lun, uint64_t lba, uint64_t blks);
void pm_step_write(struct pm *pm);
void pm_step_write_promised(struct pm *pm);
void pm_step_fill(struct pm *pm);
void pm_step_atomic(struct pm *pm);
void pm_step_unmap(struct pm *pm);
void pm_step_zero(struct pm *pm);
void pm_step_crash_in_write(struct pm *pm);

/* ---- promises_manage.c */
bool pm_create(struct pm *pm, uint64_t blks, bool is_reserved, int volume);
bool pm_clone(struct pm *pm, struct pm_lun *source, bool no_reserve, int volume);
bool pm_snapshot(struct pm *pm, struct pm_lun *lun);
void pm_delete(struct pm *pm, struct pm_lun *lun);
void pm_step_create(struct pm *pm);
void pm_step_delete(struct pm *pm);
void pm_step_clone(struct pm *pm);
void pm_step_snapshot(struct pm *pm);
void pm_step_snapshot_delete(struct pm *pm);
void pm_step_restore(struct pm *pm);
void pm_step_resize(struct pm *pm);
void pm_step_reserve(struct pm *pm);
void pm_step_move(struct pm *pm);
void pm_step_volume(struct pm *pm);
void pm_step_volume_modify(struct pm *pm);
void pm_step_volume_delete(struct pm *pm);
void pm_step_jobs(struct pm *pm);
void pm_step_checkpoint(struct pm *pm);
void pm_step_crash_in_jobs(struct pm *pm);

/* ---- promises_merge.c: steps of @pm->rng */
void pm_run_merges(struct pm *pm);

#endif
