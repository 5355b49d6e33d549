/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Commands on subjects, while others write to them.
 *
 * subject->manage is held, so that the outcome is known; commands on different subjects meet in the
 * engine. What is written during a clone or a snapshot may be in it or not; what was acknowledged
 * before must be in it, what begins afterwards must not.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/invariant.h"
#include "tests/stress/stress.h"

enum
{
    CLONES_MAX = 4,
    SUBJECTS_WANTED = 10,
};

struct task
{
    struct worker *worker;
    struct world *world;
    struct pool *pool;
    struct subject *subject; /* its manage lock is held */
    struct rng *rng;
    char name[NAME_BYTES];
    struct reason why;
};

/* False: it failed, in a way that is allowed. After a power cut nobody knows whether it was done.
 */
static bool task_ok(struct task *task, int r, const char *what, unsigned allowed)
{
    bool ok = went_well(task->world, r, what, task->name, &task->why, allowed);
    if (!ok && is_off(task->world))
        task->subject->is_doubtful = true;
    return ok;
}

static void task_doing(struct task *task, const char *what)
{
    doing(what, atomic_load(&task->subject->shadow.ordinal));
}

/* From now on the LUN writes under another ordinal than what was frozen. Returns the frozen one. */
static uint32_t task_step_ordinal(struct task *task)
{
    struct shadow *shadow = &task->subject->shadow;
    uint32_t old = atomic_load(&shadow->ordinal);
    atomic_store(&shadow->ordinal, ordinal_new(task->world, old));
    return old;
}

/* ---- create, delete ------------------------------------------------------------------------ */

static void manage_create(struct worker *worker)
{
    struct world *world = worker->world;
    uint32_t family = atomic_fetch_add(&world->next_family, 1);
    uint64_t sectors = rng_between(&worker->rng, 200, SECTORS_MAX);
    if (rng_percent(&worker->rng, 50))
        sectors = sectors / 8 * 8;
    struct subject *subject = subject_new(world, family, ordinal_new(world, 0), sectors);
    struct lun_create_args args = {.name = subject->name, .size_bytes = sectors * SECTOR_BYTES};
    struct reason why;
    doing("lun_create", atomic_load(&subject->shadow.ordinal));
    int r = lun_create(world->pool, &args, &why);
    if (went_well(world, r, "lun_create", subject->name, &why, MAY_BE_FULL))
    {
        if (subject_add(world, subject))
            return;
        r = lun_delete(world->pool, subject->name, false, 0, &why);
        ignore_error(went_well(world, r, "lun_delete", subject->name, &why, 0), "checked there");
    }
    if (is_off(world))
        doubt_add(world, subject->name);
    subject_put(world, subject);
}

static void manage_delete(struct task *task)
{
    struct subject *subject = task->subject;
    struct lun *lun;
    uint8_t bytes[SECTOR_BYTES];
    task_doing(task, "lun_open before a delete");
    int r = lun_open(task->pool, task->name, 0, &lun, &task->why);
    if (!task_ok(task, r, "lun_open", 0))
        return;
    atomic_store(&subject->is_deleted, true);
    task_doing(task, "lun_delete");
    r = lun_delete(task->pool, task->name, true, LUN_FORCE, &task->why);
    if (task_ok(task, r, "lun_delete", 0))
    {
        count(task->world, COUNT_DELETES);
        r = read_some(lun, bytes, sizeof(bytes), 0);
        if (r != -ESTALE && !is_off(task->world))
            fail("read of '%s' after its delete: %d, not ESTALE", task->name, r);
        r = lun_write(lun, bytes, sizeof(bytes), 0, 0);
        if (r != -ESTALE && !is_off(task->world))
            fail("write to '%s' after its delete: %d, not ESTALE", task->name, r);
    }
    else
    {
        doubt_add(task->world, task->name);
    }
    lun_close(lun);
    subject_remove(task->world, subject);
}

/* ---- clones -------------------------------------------------------------------------------- */

struct batch
{
    struct subject *clones[CLONES_MAX];
    unsigned count;
    const struct shadow *from;
    const struct snap *snap; /* NULL: of the LUN */
    uint64_t sectors;
};

static void batch_make(struct task *task, struct batch *batch)
{
    uint32_t frozen = atomic_load(&batch->from->ordinal);
    for (unsigned i = 0; i < batch->count; i++)
    {
        struct subject *clone = subject_new(task->world, task->subject->family,
                                            ordinal_new(task->world, frozen), batch->sectors);
        shadow_copy_before(&clone->shadow, batch->from);
        batch->clones[i] = clone;
    }
}

static int batch_run(struct task *task, struct batch *batch)
{
    char source[2 * NAME_BYTES], base[NAME_BYTES], template[2 * NAME_BYTES];
    INVARIANT(batch->count > 0);
    memcpy(base, batch->clones[0]->name, sizeof(base));
    snprintf(source, sizeof(source), "%s%s%s", task->name, batch->snap ? "@" : "",
             batch->snap ? batch->snap->name : "");
    struct lun_clone_args args = {.source = source, .name = batch->clones[0]->name};
    if (batch->count > 1)
    {
        args.count = batch->count;
        snprintf(template, sizeof(template), "%s.%%d", base);
        args.name = template;
        for (unsigned i = 0; i < batch->count; i++)
            snprintf(batch->clones[i]->name, NAME_BYTES, "%.25s.%u", base, i);
    }
    task_doing(task, "lun_clone");
    return lun_clone(task->pool, &args, &task->why);
}

/* All clones of a batch are of one instant. */
static void batch_compare(struct task *task, struct batch *batch)
{
    size_t len = batch->sectors * SECTOR_BYTES;
    AUTO_FREE uint8_t *first = malloc(len);
    AUTO_FREE uint8_t *other = malloc(len);
    INVARIANT(first && other);
    for (unsigned i = 0; i < batch->count; i++)
    {
        struct lun *lun;
        const char *name = batch->clones[i]->name;
        task_doing(task, "reading a clone");
        int r = lun_open(task->pool, name, 0, &lun, &task->why);
        if (!went_well(task->world, r, "lun_open", name, &task->why, 0))
            return;
        r = read_some(lun, i == 0 ? first : other, len, 0);
        lun_close(lun);
        if (!went_well(task->world, r, "lun_read", name, NULL, 0))
            return;
        for (uint64_t at = 0; i > 0 && at < len; at += SECTOR_BYTES)
        {
            if (memcmp(first + at, other + at, SECTOR_BYTES) != 0 && !is_off(task->world))
                fail("clones '%s' and '%s' of one command differ at sector %llu",
                     batch->clones[0]->name, name, (unsigned long long)at / SECTOR_BYTES);
        }
    }
}

static void batch_publish(struct task *task, struct batch *batch)
{
    bool settle = rng_percent(task->rng, 70);
    if (batch->count > 1 && settle)
        batch_compare(task, batch);
    for (unsigned i = 0; i < batch->count; i++)
    {
        struct subject *clone = batch->clones[i];
        if (settle)
            verify_all(task->world, clone->name, clone->family, batch->sectors, &clone->shadow,
                       false);
        if (subject_add(task->world, clone))
            continue;
        task_doing(task, "lun_delete of a clone");
        int r = lun_delete(task->pool, clone->name, false, LUN_FORCE, &task->why);
        if (!went_well(task->world, r, "lun_delete", clone->name, &task->why, 0))
            doubt_add(task->world, clone->name);
        subject_put(task->world, clone);
    }
    count(task->world, COUNT_CLONES);
}

static void manage_clone(struct task *task)
{
    struct subject *subject = task->subject;
    struct batch batch = {
        .count = 1, .from = &subject->shadow, .sectors = atomic_load(&subject->sectors)};
    if (rng_percent(task->rng, 30))
        batch.count = (unsigned)rng_between(task->rng, 2, CLONES_MAX);
    if (subject->snap_count > 0 && rng_percent(task->rng, 40))
    {
        batch.snap = &subject->snaps[rng_below(task->rng, subject->snap_count)];
        batch.from = &batch.snap->shadow;
        batch.sectors = batch.snap->sectors;
    }
    batch_make(task, &batch);
    int r = batch_run(task, &batch);
    if (r == 0 && !batch.snap)
        ignore_error((int)task_step_ordinal(task), "the clones have theirs already");
    for (unsigned i = 0; i < batch.count; i++)
        shadow_copy_after(&batch.clones[i]->shadow, batch.from);
    if (went_well(task->world, r, "lun_clone", task->name, &task->why, MAY_BE_FULL))
    {
        batch_publish(task, &batch);
        return;
    }
    for (unsigned i = 0; i < batch.count; i++)
    {
        if (is_off(task->world))
            doubt_add(task->world, batch.clones[i]->name);
        subject_put(task->world, batch.clones[i]);
    }
}

/* ---- snapshots ----------------------------------------------------------------------------- */

static void snap_full_name(const struct task *task, const struct snap *snap, char *full)
{
    snprintf(full, 2 * (size_t)NAME_BYTES, "%s@%s", task->name, snap->name);
}

static void manage_snapshot(struct task *task)
{
    struct subject *subject = task->subject;
    if (subject->snap_count == SNAPS_MAX)
        return;
    struct snap *snap = &subject->snaps[subject->snap_count];
    *snap = (struct snap){.sectors = atomic_load(&subject->sectors)};
    name_new(task->world, snap->name, "s");
    shadow_init(&snap->shadow, atomic_load(&subject->shadow.ordinal));
    shadow_copy_before(&snap->shadow, &subject->shadow);
    task_doing(task, "snapshot_create");
    int r = snapshot_create(task->pool, task->name, snap->name, NULL, &task->why);
    if (r == 0)
        ignore_error((int)task_step_ordinal(task), "the snapshot has the old one");
    shadow_copy_after(&snap->shadow, &subject->shadow);
    if (!task_ok(task, r, "snapshot_create", MAY_BE_FULL))
    {
        shadow_destroy(&snap->shadow);
        return;
    }
    subject->snap_count++;
    count(task->world, COUNT_SNAPSHOTS);
}

static void manage_snapshot_verify(struct task *task)
{
    struct subject *subject = task->subject;
    if (subject->snap_count == 0)
        return;
    struct snap *snap = &subject->snaps[rng_below(task->rng, subject->snap_count)];
    char full[2 * NAME_BYTES];
    snap_full_name(task, snap, full);
    verify_all(task->world, full, subject->family, snap->sectors, &snap->shadow, false);
}

static void manage_snapshot_delete(struct task *task)
{
    struct subject *subject = task->subject;
    if (subject->snap_count == 0)
        return;
    unsigned at = (unsigned)rng_below(task->rng, subject->snap_count);
    struct snap *snap = &subject->snaps[at];
    task_doing(task, "snapshot_delete");
    int r = snapshot_delete(task->pool, task->name, snap->name, LUN_FORCE, &task->why);
    if (!task_ok(task, r, "snapshot_delete", 0))
        return;
    shadow_destroy(&snap->shadow);
    *snap = subject->snaps[--subject->snap_count];
}

static void manage_snapshot_rename(struct task *task)
{
    struct subject *subject = task->subject;
    if (subject->snap_count == 0)
        return;
    struct snap *snap = &subject->snaps[rng_below(task->rng, subject->snap_count)];
    char name[NAME_BYTES];
    name_new(task->world, name, "s");
    task_doing(task, "snapshot_rename");
    int r = snapshot_rename(task->pool, task->name, snap->name, name, &task->why);
    if (task_ok(task, r, "snapshot_rename", MAY_BE_FULL))
        memcpy(snap->name, name, sizeof(name));
}

/* The content changes under open handles: nobody else is at it meanwhile, but they stay open. */
static void manage_restore(struct task *task)
{
    struct subject *subject = task->subject;
    if (subject->snap_count == 0)
        return;
    struct snap *snap = &subject->snaps[rng_below(task->rng, subject->snap_count)];
    rwlock_take_exclusive(&subject->gate);
    task_doing(task, "snapshot_restore");
    int r = snapshot_restore(task->pool, task->name, snap->name, LUN_FORCE, &task->why);
    if (task_ok(task, r, "snapshot_restore", MAY_BE_FULL))
    {
        shadow_copy_before(&subject->shadow, &snap->shadow);
        shadow_copy_after(&subject->shadow, &snap->shadow);
        atomic_store(&subject->shadow.ordinal,
                     ordinal_new(task->world, atomic_load(&snap->shadow.ordinal)));
        atomic_store(&subject->sectors, snap->sectors);
        count(task->world, COUNT_RESTORES);
    }
    rwlock_release(&subject->gate);
}

/* ---- the rest ------------------------------------------------------------------------------ */

static void manage_resize(struct task *task)
{
    struct subject *subject = task->subject;
    uint64_t sectors = rng_between(task->rng, 200, SECTORS_MAX);
    rwlock_take_exclusive(&subject->gate);
    uint64_t old = atomic_load(&subject->sectors);
    if (sectors < old)
        shadow_begin(&subject->shadow, sectors, SECTORS_MAX - sectors, true);
    task_doing(task, "lun_resize");
    int r = lun_resize(task->pool, task->name, sectors * SECTOR_BYTES, LUN_FORCE, &task->why);
    if (task_ok(task, r, "lun_resize", MAY_BE_FULL))
    {
        if (sectors < old)
            shadow_end(&subject->shadow, sectors, SECTORS_MAX - sectors, true);
        atomic_store(&subject->sectors, sectors);
        count(task->world, COUNT_RESIZES);
    }
    rwlock_release(&subject->gate);
}

static void manage_rename(struct task *task)
{
    char name[NAME_BYTES];
    name_new(task->world, name, "L");
    task_doing(task, "lun_rename");
    int r = lun_rename(task->pool, task->name, name, &task->why);
    if (!task_ok(task, r, "lun_rename", MAY_BE_FULL))
    {
        if (is_off(task->world))
            doubt_add(task->world, name);
        return;
    }
    AUTO_LOCK(&task->world->lock);
    memcpy(task->subject->name, name, sizeof(name));
}

static void manage_look(struct task *task)
{
    struct lun_info info;
    uint64_t data, metadata;
    const char *names[] = {task->name};
    task_doing(task, "lun_get_info");
    int r = lun_get_info(task->pool, task->name, &info, &task->why);
    if (task_ok(task, r, "lun_get_info", 0) && !task->subject->is_doubtful &&
        (info.size_bytes != atomic_load(&task->subject->sectors) * SECTOR_BYTES ||
         info.snapshot_count != task->subject->snap_count))
        fail("'%s' is shown with %llu bytes and %u snapshots, has %llu sectors and %u", task->name,
             (unsigned long long)info.size_bytes, info.snapshot_count,
             (unsigned long long)atomic_load(&task->subject->sectors), task->subject->snap_count);
    task_doing(task, "lun_freed_if_deleted");
    r = lun_freed_if_deleted(task->pool, names, 1, &data, &metadata, &task->why);
    ignore_error(task_ok(task, r, "lun_freed_if_deleted", 0), "only its errors count");
    task_doing(task, "lun_set_comment");
    r = lun_set_comment(task->pool, task->name, "under stress", &task->why);
    ignore_error(task_ok(task, r, "lun_set_comment", MAY_BE_FULL), "only its errors count");
}

static void manage_verify(struct task *task)
{
    struct subject *subject = task->subject;
    rwlock_take_exclusive(&subject->gate);
    verify_all(task->world, task->name, subject->family, atomic_load(&subject->sectors),
               &subject->shadow, false);
    rwlock_release(&subject->gate);
}

static void manage_one(struct task *task, bool is_full)
{
    static void (*const table[])(struct task * task) = {
        manage_clone,    manage_clone,           manage_clone,
        manage_snapshot, manage_snapshot,        manage_snapshot_verify,
        manage_delete,   manage_snapshot_delete, manage_snapshot_rename,
        manage_restore,  manage_resize,          manage_rename,
        manage_look,     manage_verify,
    };
    unsigned live = subject_count(task->world);
    if (live > SUBJECTS_WANTED || (is_full && live > 2 && rng_percent(task->rng, 50)))
    {
        manage_delete(task);
        return;
    }
    if (is_full && rng_percent(task->rng, 50))
        manage_snapshot_delete(task);
    else
        table[rng_below(task->rng, sizeof(table) / sizeof(table[0]))](task);
}

void work_manage(struct worker *worker)
{
    struct world *world = worker->world;
    uint64_t full_seen = 0;
    while (!atomic_load(&world->stop))
    {
        if (subject_count(world) < 3 || rng_percent(&worker->rng, 3))
            manage_create(worker);
        struct subject *subject = subject_pick(worker);
        if (!subject)
            continue;
        uint64_t full_count = atomic_load(&world->full_count);
        bool is_full = full_count != full_seen;
        full_seen = full_count;
        doing("waiting for a subject", atomic_load(&subject->shadow.ordinal));
        lock_take(&subject->manage);
        struct task task = {.worker = worker,
                            .world = world,
                            .pool = world->pool,
                            .subject = subject,
                            .rng = &worker->rng};
        subject_name(world, subject, task.name);
        if (!atomic_load(&subject->is_deleted))
            manage_one(&task, is_full);
        lock_release(&subject->manage);
        subject_put(world, subject);
    }
}
