/* SPDX-License-Identifier: BSD-3-Clause */
/* Clones of LUNs. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/map/change.h"
#include "lun/map/lineage.h"
#include "lun/pool/record.h"
#include "lun/volume/catalog.h"
#include "lun/volume/command.h"
#include "lun/volume/lun_internal.h"
#include "lun/volume/promise.h"

/* The name of clone number @i. */
static int clone_name(const struct lun_clone_args *args, uint32_t i, char name[LUN_NAME_MAX + 1],
                      struct reason *why)
{
    const char *given = name_strip(args->name);
    if (args->count > 1)
        return name_from_template(name, LUN_NAME_MAX + 1, given, args->first_number + i, why);
    struct name_path path;
    int r = name_split(given, &path, why);
    if (r == 0)
        snprintf(name, LUN_NAME_MAX + 1, "%s", given);
    return r;
}

/* All names are good and free, and in one *volume. */
static int clone_check(struct pool *pool, const struct lun_clone_args *args, uint32_t count,
                       const struct volume_object **volume, struct reason *why)
{
    for (uint32_t i = 0; i < count; i++)
    {
        char name[LUN_NAME_MAX + 1];
        struct lun_place place;
        int r = clone_name(args, i, name, why);
        if (r == 0)
            r = lun_find_place(pool, name, &place, why);
        if (r == 0 && i > 0 && place.volume != *volume)
            r = reason_set(why, -EINVAL, "clones made together are of one volume, not as in '%s'",
                           args->name);
        if (r < 0)
            return r;
        *volume = place.volume;
    }
    return 0;
}

/* The promises that the clones need can be made. With the source drained. */
static int clone_promise(struct pool *pool, const struct lun_clone_args *args, uint32_t count,
                         const struct lun_object *source, const struct volume_object *volume,
                         struct reason *why)
{
    struct promise_delta deltas[2] = {
        {.kind = PROMISE_FREEZE, .lun = source->lun},
        {.kind = PROMISE_CLONE,
         .lun = source,
         .volume = volume,
         .is_reserved = atomic_load(&source->lun->is_reserved) && !args->no_reserve,
         .size_bytes = atomic_load(&source->size_bytes),
         .count = count},
    };
    unsigned first = source->object.kind == DISK_OBJECT_SNAPSHOT ? 1 : 0;
    return promise_check(pool, deltas + first, 2 - first, why);
}

/* The point that clones of @source stand on: a snapshot's, or the LUN's present state. */
uint64_t clone_point(struct pool *pool, const struct lun_object *source, struct writer *writer)
{
    struct line *line = source->line;
    if (source->object.kind == DISK_OBJECT_SNAPSHOT)
        return line->object.id;
    if (lineage_is_unchanged(line))
        return line->predecessor->object.id;
    action_freeze(writer, line->object.id, pool->next_id++);
    return line->object.id;
}

static void clone_set_attributes(struct lun_draft *draft, const struct lun_clone_args *args,
                                 const struct lun_object *source)
{
    const struct lun_object *lun = source->lun;
    draft->size_bytes = atomic_load(&source->size_bytes);
    draft->sector_bytes = source->sector_bytes;
    draft->comment = args->comment;
    draft->origin = source->name;
    draft->is_reserved = atomic_load(&lun->is_reserved) && !args->no_reserve;
    draft->is_autodelete = args->autodelete;
    draft->expire_ns = args->expire_ns;
    draft->owner = args->owner ? args->owner : lun->owner;
    draft->group = args->group ? args->group : lun->group;
}

static int clone_write_record(struct pool *pool, const struct lun_clone_args *args, uint32_t count,
                              const struct lun_object *source, struct writer *writer)
{
    uint64_t point_id = clone_point(pool, source, writer);
    for (uint32_t i = 0; i < count; i++)
    {
        char name[LUN_NAME_MAX + 1];
        struct lun_place place;
        int r = clone_name(args, i, name, NULL);
        if (r == 0)
            r = lun_find_place(pool, name, &place, NULL);
        if (r < 0)
            return r;
        struct lun_draft draft = lun_draft_new(pool, DISK_OBJECT_LUN, NULL);
        lun_draft_place(&draft, &place);
        draft.line_id = pool->next_id++;
        clone_set_attributes(&draft, args, source);
        action_head(writer, draft.line_id, point_id);
        lun_draft_put(&draft, writer);
    }
    return 0;
}

static int lun_clone_locked(struct pool *pool, const struct lun_clone_args *args, uint32_t count,
                            struct reason *why)
{
    struct lun_object *source;
    const struct volume_object *volume = NULL;
    int r = lun_find(pool, args->source, &source, why);
    if (r == 0)
        r = clone_check(pool, args, count, &volume, why);
    if (r == 0)
        r = lun_trim_tail(pool, source->lun);
    if (r < 0)
        return r;
    bool is_lun = source->object.kind == DISK_OBJECT_LUN;
    AUTO_WRITER struct writer writer = {0};
    struct range all;
    if (is_lun)
        lun_drain(source, &all);
    r = clone_write_record(pool, args, count, source, &writer);
    if (r == 0)
        r = clone_promise(pool, args, count, source, volume, why);
    if (r == 0)
        r = command_run(pool, is_lun ? source : NULL, &writer, false, why);
    if (is_lun)
        range_unlock(&all);
    return r;
}

int lun_clone(struct pool *pool, const struct lun_clone_args *args, struct reason *why)
{
    int r = command_begin(pool, why);
    uint32_t count = args->count > 1 ? args->count : 1;
    if (r == 0)
        r = comment_check(args->comment, why);
    if (r == 0)
        r = owner_check(args->owner, why);
    if (r == 0)
        r = owner_check(args->group, why);
    if (r == 0 && count > LUN_CLONES_AT_ONCE_MAX)
        r = reason_set(why, -EINVAL, "one command makes at most %d clones, not %u",
                       LUN_CLONES_AT_ONCE_MAX, count);
    if (r < 0)
        return r;
    {
        AUTO_LOCK(&pool->management);
        r = lun_clone_locked(pool, args, count, why);
    }
    if (r == 0)
        r = journal_commit(pool->journal);
    if (r < 0)
        return r;
    const char *name = name_strip(args->name), *source = name_strip(args->source);
    event_add(pool, "info", "lun.cloned", source, "%u clone%s '%s' of '%s' made", count,
              count == 1 ? "" : "s", name, source);
    pool_notify(pool, LUN_CHANGE_CREATED, 0, name);
    return 0;
}
