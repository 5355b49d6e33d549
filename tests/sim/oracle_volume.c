/* SPDX-License-Identifier: BSD-3-Clause */
/* Volumes of the oracle: their LUNs are the objects whose names begin with theirs. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"
#include "tests/sim/oracle.h"

struct oracle_volume *oracle_find_volume(struct oracle *oracle, const char *name)
{
    for (unsigned i = 0; i < ORACLE_VOLUMES; i++)
    {
        if (strcmp(oracle->volumes[i].name, name) == 0)
            return &oracle->volumes[i];
    }
    return NULL;
}

bool oracle_add_volume(struct oracle *oracle, const char *name)
{
    struct oracle_volume *volume = oracle_find_volume(oracle, "");
    if (!volume)
        return false;
    *volume = (struct oracle_volume){.serial = ++oracle->next_serial, .qtree = "q"};
    snprintf(volume->name, sizeof(volume->name), "%s", name);
    return true;
}

bool oracle_is_in(const struct oracle_object *object, const char *volume)
{
    size_t len = strlen(volume);
    return strncmp(object->name, volume, len) == 0 && object->name[len] == '/';
}

/* The snapshot of that name of a LUN. */
static bool oracle_is_member_of(const struct oracle_object *object, const char *volume,
                                const char *set)
{
    const char *at = strchr(object->name, '@');
    return object->is_member && at && strcmp(at + 1, set) == 0 && oracle_is_in(object, volume);
}

/* "v0/l1@t0" -> "v0/l1" */
static void oracle_lun_of(const char *snapshot, char lun[ORACLE_NAME_BYTES])
{
    snprintf(lun, ORACLE_NAME_BYTES, "%.*s", (int)strcspn(snapshot, "@"), snapshot);
}

/* ---- snapshots of volumes */

struct oracle_set *oracle_find_set(struct oracle *oracle, const char *volume, const char *set)
{
    struct oracle_volume *found = oracle_find_volume(oracle, volume);
    for (unsigned i = 0; found && i < ORACLE_SETS; i++)
    {
        if (strcmp(found->sets[i].name, set) == 0)
            return &found->sets[i];
    }
    return NULL;
}

unsigned oracle_count_clones(const struct oracle *oracle, const char *volume, const char *set)
{
    char parent[16];
    unsigned count = 0;
    snprintf(parent, sizeof(parent), "%.3s@%.7s", volume, set);
    for (unsigned i = 0; i < ORACLE_VOLUMES; i++)
        count += oracle->volumes[i].name[0] && strcmp(oracle->volumes[i].parent, parent) == 0;
    return count;
}

bool oracle_add_set(struct oracle *oracle, const char *volume, const char *set)
{
    struct oracle_set *place = oracle_find_set(oracle, volume, "");
    if (!place)
        return false;
    *place = (struct oracle_set){0};
    snprintf(place->name, sizeof(place->name), "%s", set);
    place->has_qtree = oracle_find_volume(oracle, volume)->has_qtree;
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        const struct oracle_object *lun = &oracle->objects[i];
        char name[2 * ORACLE_NAME_BYTES];
        if (!lun->name[0] || strchr(lun->name, '@') || !oracle_is_in(lun, volume))
            continue;
        snprintf(name, sizeof(name), "%s@%s", lun->name, set);
        if (oracle_find(oracle, name))
            return false;
        struct oracle_object *member = oracle_copy(oracle, lun->name, name);
        if (!member)
            return false;
        member->is_member = true;
        member->lun_age = lun->age;
    }
    return true;
}

void oracle_remove_set(struct oracle *oracle, const char *volume, const char *set)
{
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        if (oracle_is_member_of(&oracle->objects[i], volume, set))
            oracle_remove(oracle, oracle->objects[i].name);
    }
    oracle_find_set(oracle, volume, set)->name[0] = '\0';
}

const struct oracle_object *oracle_find_age(const struct oracle *oracle, uint32_t age)
{
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        const struct oracle_object *object = &oracle->objects[i];
        if (object->name[0] && !strchr(object->name, '@') && object->age == age)
            return object;
    }
    return NULL;
}

bool oracle_is_held(const struct oracle *oracle, const struct oracle_object *lun)
{
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        const struct oracle_object *member = &oracle->objects[i];
        if (member->name[0] && member->is_member && member->lun_age == lun->age)
            return true;
    }
    return false;
}

/* A deleted LUN comes back where it was, and its qtree with it. */
static bool oracle_revive(struct oracle *oracle, const struct oracle_object *member)
{
    char path[ORACLE_NAME_BYTES], volume[ORACLE_NAME_BYTES];
    oracle_lun_of(member->name, path);
    struct oracle_object *lun = oracle_find(oracle, path) ? NULL : oracle_add(oracle, path, 0);
    if (!lun)
        return false;
    lun->age = member->lun_age;
    oracle_set_traits(lun, &member->lun_traits);
    snprintf(volume, sizeof(volume), "%.*s", (int)strcspn(path, "/"), path);
    if (strchr(path, '/') != strrchr(path, '/'))
        oracle_find_volume(oracle, volume)->has_qtree = true;
    oracle_restore(oracle, path, member->name);
    return true;
}

bool oracle_restore_snapshot(struct oracle *oracle, const char *snapshot)
{
    const struct oracle_object *object = oracle_find(oracle, snapshot);
    char path[ORACLE_NAME_BYTES];
    oracle_lun_of(snapshot, path);
    const struct oracle_object *there = oracle_find(oracle, path);
    const struct oracle_object *lun =
        object->is_member ? oracle_find_age(oracle, object->lun_age) : there;
    if (!lun)
        return oracle_revive(oracle, object);
    if (there && there != lun)
        return false;
    oracle_restore(oracle, lun->name, snapshot);
    return true;
}

bool oracle_restore_set(struct oracle *oracle, const char *volume, const char *set)
{
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        const struct oracle_object *member = &oracle->objects[i];
        if (!oracle_is_member_of(member, volume, set))
            continue;
        const struct oracle_object *lun = oracle_find_age(oracle, member->lun_age);
        if (lun)
            oracle_restore(oracle, lun->name, member->name);
        else if (!oracle_revive(oracle, member))
            return false;
    }
    return true;
}

void oracle_rename_set(struct oracle *oracle, const char *volume, const char *set,
                       const char *new_set)
{
    char parent[16], new_parent[16];
    snprintf(parent, sizeof(parent), "%.3s@%.7s", volume, set);
    snprintf(new_parent, sizeof(new_parent), "%.3s@%.7s", volume, new_set);
    struct oracle_set *found = oracle_find_set(oracle, volume, set);
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        struct oracle_object *member = &oracle->objects[i];
        char lun[ORACLE_NAME_BYTES];
        if (!oracle_is_member_of(member, volume, set))
            continue;
        oracle_lun_of(member->name, lun);
        snprintf(member->name, sizeof(member->name), "%.12s@%.7s", lun, new_set);
    }
    for (unsigned i = 0; i < ORACLE_VOLUMES; i++)
    {
        if (strcmp(oracle->volumes[i].parent, parent) == 0)
            memcpy(oracle->volumes[i].parent, new_parent, sizeof(new_parent));
    }
    snprintf(found->name, sizeof(found->name), "%s", new_set);
}

/* ---- volumes as a whole */

const char *oracle_qtree(const struct oracle *oracle, const char *volume, bool of_qtree)
{
    for (unsigned i = 0; of_qtree && i < ORACLE_VOLUMES; i++)
    {
        if (strcmp(oracle->volumes[i].name, volume) == 0)
            return oracle->volumes[i].qtree;
    }
    return "";
}

void oracle_rename_qtree(struct oracle *oracle, const char *volume, const char *qtree)
{
    struct oracle_volume *found = oracle_find_volume(oracle, volume);
    char path[16];
    snprintf(path, sizeof(path), "%s/%s", volume, found->qtree);
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        struct oracle_object *object = &oracle->objects[i];
        if (object->name[0] && oracle_is_in(object, path))
            memcpy(object->name + strlen(volume) + 1, qtree, 1);
    }
    snprintf(found->qtree, sizeof(found->qtree), "%s", qtree);
}

static void oracle_leave_parent(struct oracle *oracle, struct oracle_volume *volume)
{
    char parent[16];
    memcpy(parent, volume->parent, sizeof(parent));
    volume->parent[0] = '\0';
    char *at = strchr(parent, '@');
    if (!at)
        return;
    *at = '\0';
    const struct oracle_set *set = oracle_find_set(oracle, parent, at + 1);
    INVARIANT(set != NULL);
    if (set->is_deferred && oracle_count_clones(oracle, parent, at + 1) == 0)
        oracle_remove_set(oracle, parent, at + 1);
}

void oracle_split_volume(struct oracle *oracle, const char *name)
{
    oracle_leave_parent(oracle, oracle_find_volume(oracle, name));
}

void oracle_remove_volume(struct oracle *oracle, const char *name)
{
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        if (oracle->objects[i].name[0] && oracle_is_in(&oracle->objects[i], name))
            oracle_remove(oracle, oracle->objects[i].name);
    }
    struct oracle_volume *volume = oracle_find_volume(oracle, name);
    oracle_leave_parent(oracle, volume);
    oracle_forget_rules(oracle, name, false);
    *volume = (struct oracle_volume){0};
}

void oracle_rename_volume(struct oracle *oracle, const char *name, const char *new_name)
{
    size_t len = strlen(name);
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        struct oracle_object *object = &oracle->objects[i];
        char old[ORACLE_NAME_BYTES];
        if (!object->name[0] || !oracle_is_in(object, name))
            continue;
        memcpy(old, object->name, sizeof(old));
        snprintf(object->name, sizeof(object->name), "%s%s", new_name, old + len);
    }
    for (unsigned i = 0; i < ORACLE_RULES; i++)
    {
        if (strcmp(oracle->rules[i].volume, name) == 0)
            snprintf(oracle->rules[i].volume, sizeof(oracle->rules[i].volume), "%s", new_name);
    }
    for (unsigned i = 0; i < ORACLE_VOLUMES; i++)
    {
        struct oracle_volume *volume = &oracle->volumes[i];
        char old[sizeof(volume->parent)];
        memcpy(old, volume->parent, sizeof(old));
        if (strncmp(old, name, len) == 0 && old[len] == '@')
            snprintf(volume->parent, sizeof(volume->parent), "%s%s", new_name, old + len);
        if (strcmp(volume->name, name) == 0)
            snprintf(volume->name, sizeof(volume->name), "%s", new_name);
    }
}

bool oracle_clone_volume(struct oracle *oracle, const char *volume, const char *set,
                         const char *name)
{
    const struct oracle_set *of = oracle_find_set(oracle, volume, set);
    const struct oracle_volume *parent = oracle_find_volume(oracle, volume);
    if (!oracle_add_volume(oracle, name))
        return false;
    struct oracle_volume *clone = oracle_find_volume(oracle, name);
    clone->has_qtree = of->has_qtree;
    clone->blks = parent->blks;
    clone->is_guaranteed = parent->is_guaranteed;
    snprintf(clone->parent, sizeof(clone->parent), "%.3s@%.7s", volume, set);
    for (unsigned i = 0; i < ORACLE_OBJECTS_MAX; i++)
    {
        const struct oracle_object *member = &oracle->objects[i];
        char lun[ORACLE_NAME_BYTES], path[2 * ORACLE_NAME_BYTES];
        if (!oracle_is_member_of(member, volume, set))
            continue;
        oracle_lun_of(member->name, lun);
        snprintf(path, sizeof(path), "%s%s", name, lun + strlen(volume));
        struct oracle_object *copy = oracle_copy(oracle, member->name, path);
        if (!copy)
            return false;
        const struct oracle_object *of_lun = oracle_find_age(oracle, member->lun_age);
        copy->note = of_lun ? of_lun->note : member->lun_traits.note;
    }
    return true;
}

/* ---- comparison */

static bool oracle_fits_sets(const struct oracle_volume *volume, struct pool *pool,
                             struct oracle_verdict *verdict)
{
    AUTO_FREE struct volume_snapshot_info *list = NULL;
    size_t count = 0, wanted = 0;
    int r = volume_snapshot_list(pool, volume->name, &list, &count, NULL);
    if (r < 0)
        return oracle_refuse(verdict, "snapshots of volume %s: %d", volume->name, r);
    for (unsigned i = 0; i < ORACLE_SETS; i++)
    {
        char full[32];
        size_t at = 0;
        if (!volume->sets[i].name[0])
            continue;
        wanted++;
        snprintf(full, sizeof(full), "%s@%s", volume->name, volume->sets[i].name);
        while (at < count && strcmp(list[at].name, full) != 0)
            at++;
        if (at == count || list[at].is_deferred != volume->sets[i].is_deferred ||
            list[at].locked_until_ns != volume->sets[i].locked_until_ns)
            return oracle_refuse(verdict,
                                 "volume snapshot %s is not there, or is not as it must be", full);
    }
    if (wanted != count)
        return oracle_refuse(verdict, "volume %s has %zu snapshots instead of %zu", volume->name,
                             count, wanted);
    return true;
}

static bool oracle_fits_qtree(const struct oracle_volume *volume, struct pool *pool,
                              struct oracle_verdict *verdict)
{
    AUTO_FREE struct qtree_info *list = NULL;
    size_t count = 0;
    char path[16];
    snprintf(path, sizeof(path), "%s/%s", volume->name, volume->qtree);
    int r = qtree_list(pool, volume->name, &list, &count, NULL);
    if (r < 0 || count != volume->has_qtree || (count > 0 && strcmp(list[0].path, path) != 0))
        return oracle_refuse(verdict, "volume %s has %zu qtrees, '%s', instead of %d, '%s' (%d)",
                             volume->name, count, count > 0 ? list[0].path : "", volume->has_qtree,
                             path, r);
    return true;
}

bool oracle_fits_volumes(const struct oracle *oracle, struct pool *pool,
                         struct oracle_verdict *verdict)
{
    AUTO_FREE struct volume_info *list = NULL;
    size_t count = 0, wanted = 0;
    int r = volume_list(pool, &list, &count);
    if (r < 0)
        return oracle_refuse(verdict, "volume_list() gives %d", r);
    for (unsigned i = 0; i < ORACLE_VOLUMES; i++)
    {
        const struct oracle_volume *volume = &oracle->volumes[i];
        size_t at = 0;
        if (!volume->name[0])
            continue;
        wanted++;
        while (at < count && strcmp(list[at].name, volume->name) != 0)
            at++;
        if (at == count)
            return oracle_refuse(verdict, "volume %s is not there", volume->name);
        if (strcmp(list[at].parent, volume->parent) != 0 ||
            list[at].qtree_count != (volume->has_qtree ? 1 : 0))
            return oracle_refuse(
                verdict, "volume %s depends on '%s' instead of '%s', with %" PRIu64 " qtrees",
                volume->name, list[at].parent, volume->parent, list[at].qtree_count);
        if (list[at].size_bytes != (uint64_t)volume->blks * LUN_BLK_BYTES ||
            list[at].is_guaranteed != volume->is_guaranteed)
            return oracle_refuse(verdict,
                                 "volume %s has %" PRIu64 " bytes, and is %sguaranteed; it must "
                                 "have %" PRIu32 " blocks and %s be",
                                 volume->name, list[at].size_bytes,
                                 list[at].is_guaranteed ? "" : "not ", volume->blks,
                                 volume->is_guaranteed ? "" : "not");
        if (!oracle_fits_qtree(volume, pool, verdict) || !oracle_fits_sets(volume, pool, verdict))
            return false;
    }
    if (wanted != count)
        return oracle_refuse(verdict, "there are %zu volumes instead of %zu", count, wanted);
    return true;
}
