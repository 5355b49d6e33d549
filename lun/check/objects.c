/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/check/objects.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lun/pool/pool_internal.h"
#include "lun/volume/catalog.h"
#include "lun/volume/names.h"

struct objects
{
    struct pool *pool;
    check_report_fn *report;
    void *opaque;
};

static void objects_say(const struct objects *objects, const char *format, ...) PRINTF_LIKE(2, 3);

static void objects_say(const struct objects *objects, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    objects->report(objects->opaque, true, text);
}

/* ---- LUNs ---------------------------------------------------------------------------------- */

static void check_member(const struct objects *objects, const struct lun_object *snapshot)
{
    const struct volume_snapshot_object *set = snapshot->volume_snapshot;
    bool is_placed = lun_is_placed(snapshot);
    if (set && (set->volume != snapshot->lun->volume ||
                strcmp(name_own(set->name), name_own(snapshot->name)) != 0))
        objects_say(objects, "%s is not what a member of the volume snapshot %s can be",
                    snapshot->name, set->name);
    if (snapshot->volume || (snapshot->qtree && !is_placed))
        objects_say(objects, "snapshot %s is in a volume by itself", snapshot->name);
    if (snapshot->qtree && snapshot->qtree->snapshot != set)
        objects_say(objects, "snapshot %s was in a qtree that its volume snapshot does not keep",
                    snapshot->name);
    /* The name says where its LUN is, or was then. */
    const struct lun_object *lun = snapshot->lun;
    char full[3 * LUN_NAME_MAX];
    if (is_placed && lun->volume)
        snprintf(full, sizeof(full), "%s/%s@%s",
                 snapshot->qtree ? snapshot->qtree->name : lun->volume->name, snapshot->origin,
                 name_own(snapshot->name));
    else
        snprintf(full, sizeof(full), "%s@%s", lun->name, name_own(snapshot->name));
    if (strcmp(full, snapshot->name) != 0 ||
        catalog_find_lun(objects->pool, snapshot->name) != snapshot)
        objects_say(objects, "snapshot %s does not have the name of its place", snapshot->name);
}

/* It is there for members of volume snapshots only, and nothing but them shows it. */
static void check_deleted_lun(const struct objects *objects, const struct lun_object *lun)
{
    uint32_t snapshots = 0;
    list_for_each (snapshot, &lun->snapshots, struct lun_object, lun_link)
    {
        snapshots++;
        check_member(objects, snapshot);
        if (!lun_is_placed(snapshot) || snapshot->lun != lun)
            objects_say(objects, "snapshot %s is of a deleted LUN and of no placed volume snapshot",
                        snapshot->name);
    }
    if (snapshots == 0 || snapshots != lun->snapshot_count)
        objects_say(objects, "the deleted LUN %s counts %u snapshots, there are %u", lun->name,
                    lun->snapshot_count, snapshots);
    if (!lun->is_deleted || lun->line || lun->qtree || !lun->volume ||
        atomic_load(&lun->open_handles) != 0)
        objects_say(objects, "the deleted LUN %s is not what one can be", lun->name);
    if (catalog_find_lun(objects->pool, lun->name) == lun)
        objects_say(objects, "the deleted LUN %s is found by its name", lun->name);
}

static void check_lun(const struct objects *objects, const struct lun_object *lun)
{
    uint32_t snapshots = 0;
    list_for_each (snapshot, &lun->snapshots, struct lun_object, lun_link)
    {
        snapshots++;
        check_member(objects, snapshot);
    }
    if (snapshots != lun->snapshot_count)
        objects_say(objects, "LUN %s counts %u snapshots, there are %u", lun->name,
                    lun->snapshot_count, snapshots);
    if (lun->line->volume != lun->volume)
        objects_say(objects, "the blocks of LUN %s are charged to another volume than its own",
                    lun->name);
    if (lun->qtree && lun->qtree->volume != lun->volume)
        objects_say(objects, "LUN %s is in a qtree of another volume", lun->name);
    if (catalog_find_volume(objects->pool, lun->name) ||
        catalog_find_qtree(objects->pool, lun->name))
        objects_say(objects, "LUN %s is named like a volume or qtree", lun->name);
    /* The name is what it is found by. */
    size_t above = strlen(lun->name) - strlen(name_own(lun->name));
    const char *expected = lun->qtree ? lun->qtree->name : lun->volume ? lun->volume->name : "";
    if (strncmp(lun->name, expected, strlen(expected)) != 0 ||
        above != strlen(expected) + (*expected ? 1 : 0) ||
        catalog_find_lun(objects->pool, lun->name) != lun)
        objects_say(objects, "LUN %s does not have the name of its place", lun->name);
}

/* ---- volumes ------------------------------------------------------------------------------- */

/* The qtrees that a volume snapshot keeps. */
static void check_kept_qtrees(const struct objects *objects,
                              const struct volume_snapshot_object *snapshot)
{
    uint64_t qtrees = 0;
    size_t len = strlen(snapshot->volume->name);
    list_for_each (qtree, &snapshot->qtrees, struct qtree_object, volume_link)
    {
        uint64_t members = 0;
        list_for_each (member, &qtree->luns, struct lun_object, qtree_link)
            members += member->qtree == qtree && member->volume_snapshot == snapshot;
        if (members != qtree->lun_count || qtree->snapshot != snapshot ||
            qtree->volume != snapshot->volume ||
            strncmp(qtree->name, snapshot->volume->name, len) != 0 || qtree->name[len] != '/')
            objects_say(objects, "volume snapshot %s keeps a qtree %s that it cannot have",
                        snapshot->name, qtree->name);
        qtrees++;
    }
    bool is_placed = snapshot->flags & DISK_VOLUME_SNAPSHOT_PLACED;
    if (qtrees != snapshot->qtree_count || (qtrees > 0 && !is_placed))
        objects_say(objects, "volume snapshot %s counts the qtrees that it keeps wrongly",
                    snapshot->name);
    if (is_placed && !(objects->pool->features & DISK_FEATURE_PLACES))
        objects_say(objects, "volume snapshot %s is placed, which the superblock does not say",
                    snapshot->name);
}

static void check_volume_snapshot(const struct objects *objects,
                                  const struct volume_snapshot_object *snapshot)
{
    uint32_t members = 0, clones = 0;
    check_kept_qtrees(objects, snapshot);
    list_for_each (member, &snapshot->members, struct lun_object, member_link)
        members += member->volume_snapshot == snapshot;
    list_for_each (clone, &snapshot->clones, struct volume_object, clone_link)
        clones += clone->parent == snapshot;
    if (members != snapshot->member_count || clones != snapshot->clone_count)
        objects_say(objects, "volume snapshot %s counts its members or clones wrongly",
                    snapshot->name);
    /* A LUN has one member in it at most. */
    list_for_each (member, &snapshot->members, struct lun_object, member_link)
    {
        uint32_t same = 0;
        list_for_each (other, &member->lun->snapshots, struct lun_object, lun_link)
            same += other->volume_snapshot == snapshot;
        if (same != 1)
            objects_say(objects, "volume snapshot %s holds LUN %s %u times", snapshot->name,
                        member->lun->name, same);
    }
    if ((snapshot->flags & DISK_VOLUME_SNAPSHOT_DEFERRED) && clones == 0)
        objects_say(objects, "volume snapshot %s should have gone with its last clone",
                    snapshot->name);
}

static void check_volume_ancestors(const struct objects *objects,
                                   const struct volume_object *volume)
{
    uint64_t steps = 0;
    for (const struct volume_object *at = volume; at->parent; at = at->parent->volume)
    {
        if (++steps > objects->pool->volume_count)
        {
            objects_say(objects, "volume %s descends from itself", volume->name);
            return;
        }
    }
    uint64_t parent_id = volume->parent ? volume->parent->object.id : 0;
    if (parent_id != volume->parent_snapshot_id)
        objects_say(objects, "volume %s depends on another snapshot than is stored", volume->name);
}

static void check_volume(const struct objects *objects, const struct volume_object *volume)
{
    uint64_t luns = 0, qtrees = 0, snapshots = 0, lines = 0, in_qtrees = 0, qtree_luns = 0;
    uint64_t deleted = 0;
    list_for_each (lun, &volume->deleted, struct lun_object, volume_link)
        deleted += lun->volume == volume && lun->is_deleted;
    list_for_each (lun, &volume->luns, struct lun_object, volume_link)
    {
        luns += lun->volume == volume;
        in_qtrees += lun->qtree != NULL;
    }
    list_for_each (qtree, &volume->qtrees, struct qtree_object, volume_link)
    {
        uint64_t count = 0;
        list_for_each (lun, &qtree->luns, struct lun_object, qtree_link)
            count += lun->qtree == qtree;
        if (count != qtree->lun_count)
            objects_say(objects, "qtree %s counts its LUNs wrongly", qtree->name);
        qtrees += qtree->volume == volume;
        qtree_luns += count;
    }
    list_for_each (snapshot, &volume->snapshots, struct volume_snapshot_object, volume_link)
    {
        snapshots += snapshot->volume == volume;
        check_volume_snapshot(objects, snapshot);
    }
    list_for_each (line, &volume->lines, struct line, volume_link)
        lines += line->volume == volume;
    if (luns != volume->lun_count || qtrees != volume->qtree_count ||
        snapshots != volume->snapshot_count || lines != volume->line_count ||
        in_qtrees != qtree_luns || deleted != volume->deleted_count)
        objects_say(objects, "volume %s counts what is in it wrongly", volume->name);
    check_volume_ancestors(objects, volume);
}

void objects_check(struct pool *pool, check_report_fn *report, void *opaque)
{
    struct objects objects = {.pool = pool, .report = report, .opaque = opaque};
    uint64_t luns = 0, snapshots = 0, volumes = 0, volume_luns = 0, charged = 0, lines = 0;
    uint64_t deleted = 0;
    list_for_each (lun, &pool->luns, struct lun_object, all_link)
    {
        check_lun(&objects, lun);
        luns++;
        snapshots += lun->snapshot_count;
        volume_luns += lun->volume != NULL;
    }
    list_for_each (lun, &pool->deleted_luns, struct lun_object, all_link)
    {
        check_deleted_lun(&objects, lun);
        snapshots += lun->snapshot_count;
        deleted++;
    }
    list_for_each (volume, &pool->volumes, struct volume_object, all_link)
    {
        check_volume(&objects, volume);
        volumes++;
        volume_luns -= volume->lun_count;
        deleted -= volume->deleted_count;
        lines += volume->line_count;
    }
    list_for_each (line, &pool->lines, struct line, all_link)
        charged += line->volume != NULL;
    if (luns != pool->lun_count || snapshots != pool->snapshot_count ||
        volumes != pool->volume_count || volume_luns != 0 || lines != charged || deleted != 0)
        objects_say(&objects, "the pool counts its LUNs, snapshots or volumes wrongly");
}
