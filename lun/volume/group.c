/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/volume/group.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "lun/map/lineage.h"
#include "lun/map/range.h"
#include "lun/pool/pool_internal.h"
#include "lun/pool/record.h"
#include "lun/volume/catalog.h"
#include "lun/volume/command.h"
#include "lun/volume/draft.h"
#include "lun/volume/lun_internal.h"
#include "lun/volume/promise.h"
#include "lun/volume/quota.h"

enum
{
    FREEZE_BYTES = 17,
    PUT_HEAD_BYTES = 13 /* before the object's bytes, which begin with the line's id */
};

/* A LUN at an instant: the point that holds its state, and its head from then on. */
struct lun_cut
{
    uint64_t point_id, head_id;
};

struct group_lun
{
    struct lun_object *lun;
    bool is_cut; /* its point is asked for */
    bool is_promised;
    struct lun_cut cut;
    struct range range;
};

struct group_fill
{
    size_t lun; /* its place in the group */
    size_t at;  /* in the actions: a le64 */
    bool is_head;
};

/* ---- collecting ---------------------------------------------------------------------------- */

void lun_group_begin(struct lun_group *group, struct pool *pool)
{
    *group = (struct lun_group){.pool = pool};
    pool->group_round++;
}

/* Room for one more of @size bytes. */
static void *group_grow(struct lun_group *group, void *array, size_t count, size_t *capacity,
                        size_t size)
{
    if (count < *capacity)
        return array;
    size_t wanted = *capacity ? 2 * *capacity : 64;
    void *grown = realloc(array, wanted * size);
    if (!grown)
    {
        group->failed = true;
        return array;
    }
    *capacity = wanted;
    return grown;
}

static struct group_lun *group_find(struct lun_group *group, struct lun_object *lun)
{
    lun_group_add(group, lun);
    return group->failed ? NULL : &group->luns[lun->group_place];
}

void lun_group_add(struct lun_group *group, struct lun_object *lun)
{
    struct pool *pool = group->pool;
    if (group->failed || lun->group_round == pool->group_round)
        return;
    group->luns =
        group_grow(group, group->luns, group->count, &group->capacity, sizeof(*group->luns));
    if (group->failed)
        return;
    lun->group_round = pool->group_round;
    lun->group_place = group->count;
    lun_object_get(pool, lun);
    group->luns[group->count++] = (struct group_lun){.lun = lun};
}

static void group_fill_in(struct lun_group *group, struct lun_object *lun, size_t at, bool is_head)
{
    group->fills = group_grow(group, group->fills, group->fill_count, &group->fill_capacity,
                              sizeof(*group->fills));
    if (!group->failed)
        group->fills[group->fill_count++] =
            (struct group_fill){.lun = lun->group_place, .at = at, .is_head = is_head};
}

/* The point of @lun belongs at @at. */
static void group_fill_point(struct lun_group *group, struct lun_object *lun, size_t at)
{
    struct group_lun *member = group_find(group, lun);
    if (!member)
        return;
    member->is_cut = true;
    if (!member->is_promised)
        lun_group_promise(group, &(struct promise_delta){.kind = PROMISE_FREEZE, .lun = lun});
    member->is_promised = true;
    group_fill_in(group, lun, at, false);
}

void lun_group_head(struct lun_group *group, uint64_t new_head_id, struct lun_object *source)
{
    bool is_snapshot = source->object.kind == DISK_OBJECT_SNAPSHOT;
    action_head(&group->actions, new_head_id, is_snapshot ? source->line->object.id : 0);
    if (!is_snapshot)
        group_fill_point(group, source, group->actions.len - sizeof(struct le64));
}

void lun_group_snapshot(struct lun_group *group, const struct lun_draft *draft,
                        struct lun_object *lun)
{
    size_t at = group->actions.len + PUT_HEAD_BYTES;
    lun_draft_put(draft, &group->actions);
    group_fill_point(group, lun, at);
}

void lun_group_restore(struct lun_group *group, struct lun_object *lun,
                       const struct lun_object *source)
{
    uint64_t size_bytes = atomic_load(&source->size_bytes);
    action_dying(&group->actions, lun->line->object.id);
    struct group_lun *member = group_find(group, lun);
    if (!member)
        return;
    member->is_promised = true;
    struct promise_delta delta = {
        .kind = PROMISE_RESTORE, .lun = lun, .source = source, .size_bytes = size_bytes};
    lun_group_promise(group, &delta);
    struct quota_delta quota =
        quota_delta_of(lun, (int64_t)size_bytes - (int64_t)atomic_load(&lun->size_bytes));
    lun_group_quota(group, &quota);
    group_fill_in(group, lun, group->actions.len - sizeof(struct le64), true);
}

void lun_group_promise(struct lun_group *group, const struct promise_delta *delta)
{
    group->deltas = group_grow(group, group->deltas, group->delta_count, &group->delta_capacity,
                               sizeof(*group->deltas));
    if (!group->failed)
        group->deltas[group->delta_count++] = *delta;
}

void lun_group_quota(struct lun_group *group, const struct quota_delta *delta)
{
    struct quota_delta *last = group->quota_count ? &group->quotas[group->quota_count - 1] : NULL;
    if (group->failed || !delta->volume || delta->bytes == 0)
        return;
    if (last && quota_delta_joins(last, delta))
        return; /* many clones at one place are one sum */
    group->quotas = group_grow(group, group->quotas, group->quota_count, &group->quota_capacity,
                               sizeof(*group->quotas));
    if (!group->failed)
        group->quotas[group->quota_count++] = *delta;
}

/* ---- carrying out -------------------------------------------------------------------------- */

static void group_drain(struct lun_group *group)
{
    group->is_drained = true;
    for (size_t i = 0; i < group->count; i++)
        range_hold_ask(&group->pool->group_hold, group->luns[i].lun->ranges, &group->luns[i].range);
    for (size_t i = 0; i < group->count; i++)
        range_hold_wait(&group->luns[i].range);
}

static void group_release(struct lun_group *group)
{
    if (!group->is_drained)
        return;
    for (size_t i = 0; i < group->count; i++)
        range_hold_leave(&group->luns[i].range);
    range_hold_end(&group->pool->group_hold);
    group->is_drained = false;
}

/* Adds an action that freezes the LUN, unless its state is a point already. */
static struct lun_cut group_cut(struct pool *pool, const struct lun_object *lun,
                                struct writer *record)
{
    const struct line *head = lun->line;
    if (lineage_is_unchanged(head))
        return (struct lun_cut){.point_id = head->predecessor->object.id,
                                .head_id = head->object.id};
    struct lun_cut cut = {.point_id = head->object.id, .head_id = pool->next_id++};
    action_freeze(record, cut.point_id, cut.head_id);
    return cut;
}

/* The record as it may be at most, without ids that nobody knows yet. */
static void group_foresee(const struct lun_group *group, struct writer *record)
{
    for (size_t i = 0; i < group->count; i++)
    {
        if (group->luns[i].is_cut)
            action_freeze(record, group->luns[i].lun->line->object.id, 0);
    }
    writer_bytes(record, group->actions.bytes, group->actions.len);
}

/* Completes the record, in @record: freezes, then the actions. */
static int group_complete(struct lun_group *group, struct writer *record)
{
    struct pool *pool = group->pool;
    for (size_t i = 0; i < group->count; i++)
    {
        struct group_lun *member = &group->luns[i];
        if (member->is_cut)
            member->cut = group_cut(pool, member->lun, record);
        else
            member->cut.head_id = member->lun->line->object.id;
    }
    for (size_t i = 0; i < group->fill_count; i++)
    {
        const struct group_fill *fill = &group->fills[i];
        const struct lun_cut *cut = &group->luns[fill->lun].cut;
        struct le64 id = le64_put(fill->is_head ? cut->head_id : cut->point_id);
        memcpy(group->actions.bytes + fill->at, &id, sizeof(id));
    }
    writer_bytes(record, group->actions.bytes, group->actions.len);
    return record->failed ? -ENOMEM : 0;
}

/* Room in the record's buffer, so that it grows no more while writes wait. */
static void group_make_room(struct writer *record, size_t bytes)
{
    if (writer_room(record, bytes))
        record->len = 0;
}

int lun_group_run(struct lun_group *group, bool is_freeing, struct reason *why)
{
    struct pool *pool = group->pool;
    AUTO_WRITER struct writer record = {0};
    size_t bytes = group->actions.len + group->count * FREEZE_BYTES;
    group_make_room(&record, bytes);
    if (group->failed || group->actions.failed || record.failed)
        return -ENOMEM;
    int r = quota_check(pool, group->quotas, group->quota_count, group->is_clone, why);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && !is_freeing && i < group->count; i++)
        r = lun_trim_tail(pool, group->luns[i].lun);
    group_foresee(group, &record);
    if (r == 0)
        r = change_room_take(&group->room, pool, &record, bytes,
                             is_freeing ? SPACE_FREEING : SPACE_THIN);
    record.len = 0;
    if (r < 0)
        return command_explain(pool, r, bytes, why);
    group_drain(group);
    r = group_complete(group, &record);
    /* Only now: a write on its way could make more of a LUN its own, which a freeze needs again. */
    int refused = r == 0 ? promise_check(pool, group->deltas, group->delta_count, why) : 0;
    if (r == 0 && refused == 0 && !command_is_dry())
        r = change_run_in_room(&group->room, record.bytes, record.len);
    promise_end(pool); /* if it was not run */
    group_release(group);
    if (refused < 0)
        return refused;
    /* Reads hold no lock that the record took: once each LUN's have been locked out, nobody looks
     * any more at lines that were replaced, and jobs, which wait for management, may free them. */
    for (size_t i = 0; r == 0 && i < group->count; i++)
    {
        lock_take(&group->luns[i].lun->map_lock);
        lock_release(&group->luns[i].lun->map_lock);
    }
    if (r == 0)
        quota_note(pool, group->quotas, group->quota_count);
    return command_explain(pool, r, bytes, why);
}

void lun_group_end(struct lun_group *group)
{
    group_release(group);
    change_room_leave(&group->room);
    for (size_t i = 0; i < group->count; i++)
        lun_object_put(group->pool, group->luns[i].lun);
    free(group->luns);
    free(group->fills);
    free(group->deltas);
    free(group->quotas);
    writer_destroy(&group->actions);
}
