/* SPDX-License-Identifier: BSD-3-Clause */
/* LUN mappings and the attributes of LUNs towards hosts. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/log.h"
#include "server/access_internal.h"

enum
{
    ACCESS_VALUE_BYTES = 2 * LUN_NAME_MAX + 32,
};

static int access_group_reserve_map(struct access_group *group)
{
    struct access_map_entry *maps = realloc(group->maps, (group->map_count + 1) * sizeof(*maps));
    if (!maps)
        return -ENOMEM;
    group->maps = maps;
    return 0;
}

static void access_group_place_map(struct access_group *group, const struct access_map_entry *entry)
{
    struct access_map_entry *maps = group->maps;
    size_t place = group->map_count;
    while (place > 0 && maps[place - 1].number > entry->number)
        place--;
    memmove(maps + place + 1, maps + place, (group->map_count - place) * sizeof(*maps));
    maps[place] = *entry;
    group->map_count++;
}

int access_group_add_map(struct access_group *group, const struct access_map_entry *entry)
{
    int r = access_group_reserve_map(group);
    if (r == 0)
        access_group_place_map(group, entry);
    return r;
}

static size_t find_map(const struct access_group *group, uint64_t lun_id)
{
    size_t i = 0;
    while (i < group->map_count && group->maps[i].lun_id != lun_id)
        i++;
    return i;
}

static void drop_map_at(struct access_group *group, size_t at)
{
    memmove(group->maps + at, group->maps + at + 1,
            (group->map_count - at - 1) * sizeof(*group->maps));
    group->map_count--;
}

/* ---- numbers ------------------------------------------------------------------------------- */

static bool shares_initiator(const struct access_group *a, const struct access_group *b)
{
    for (size_t i = 0; i < a->initiator_count; i++)
        if (access_group_has(b, a->initiators[i].name))
            return true;
    return false;
}

/* A mapping that @lun_id as @number of @group would collide with; *in is its group. */
static const struct access_map_entry *find_collision(const struct access *access,
                                                     const struct access_group *group,
                                                     uint64_t lun_id, uint32_t number,
                                                     const struct access_group **in)
{
    for (size_t i = 0; i < access->group_count; i++)
    {
        const struct access_group *other = access->groups[i];
        if (other != group && !shares_initiator(group, other))
            continue;
        for (size_t j = 0; j < other->map_count; j++)
        {
            const struct access_map_entry *entry = &other->maps[j];
            if ((entry->lun_id == lun_id) == (entry->number == number))
                continue;
            *in = other;
            return entry;
        }
    }
    return NULL;
}

/*
 * Numbers go round, so that one that was just unmapped is the last to come again. A LUN that
 * another igroup of the same initiators has keeps the number it has there.
 */
static int choose_number(const struct access *access, const struct access_group *group,
                         uint64_t lun_id, uint32_t *number, struct reason *why)
{
    const struct access_group *in = NULL;
    for (size_t i = 0; i < access->group_count; i++)
    {
        const struct access_group *other = access->groups[i];
        size_t at = find_map(other, lun_id);
        if (at == other->map_count || !shares_initiator(group, other))
            continue;
        *number = other->maps[at].number;
        if (!find_collision(access, group, lun_id, *number, &in))
            return 0;
    }
    for (uint32_t i = 0; i <= ACCESS_LUN_NUMBER_MAX; i++)
    {
        uint32_t candidate =
            i <= ACCESS_AUTOMATIC_MAX ? (group->next_number + i) % (ACCESS_AUTOMATIC_MAX + 1) : i;
        if (find_collision(access, group, lun_id, candidate, &in))
            continue;
        *number = candidate;
        return 0;
    }
    return reason_set(
        why, -ENOSPC,
        "all %d LUN numbers of igroup '%s' are taken; 'lunette mapping show --igroup %s' "
        "lists by what, 'lunette lun unmap' frees one",
        ACCESS_LUN_NUMBER_MAX + 1, group->name, group->name);
}

/* ---- map and unmap ------------------------------------------------------------------------- */

static int store_map(struct access *access, struct access_group *group,
                     const struct access_map_entry *entry, uint32_t next_number, struct reason *why)
{
    char map_key[ACCESS_KEY_BYTES], group_key[ACCESS_KEY_BYTES];
    char map_value[ACCESS_VALUE_BYTES], group_value[16];
    access_key_map(group->name, entry->lun_id, map_key);
    access_key_group(group->name, group_key);
    int map_len = snprintf(map_value, sizeof(map_value), "%u %s", entry->number, entry->lun_name);
    int group_len = snprintf(group_value, sizeof(group_value), "%u", next_number);
    struct store_change changes[] = {
        {map_key, map_value, (size_t)map_len},
        {group_key, group_value, (size_t)group_len},
    };
    int r;
    {
        AUTO_LOCK(&access->lock);
        r = access_group_reserve_map(group);
    }
    if (r == 0)
        r = store_apply(access->pool, changes, 2, why);
    if (r < 0)
        return r;
    AUTO_LOCK(&access->lock);
    group->next_number = next_number;
    access_group_place_map(group, entry);
    return 0;
}

static int map_locked(struct access *access, const char *lun_name, const char *group_name,
                      int32_t number, bool dry_run, uint32_t *used, struct reason *why)
{
    struct access_group *group;
    struct lun_info info;
    int r = access_require_group(access, group_name, &group, why);
    if (r == 0)
        r = lun_get_info(access->pool, lun_name, &info, why);
    if (r < 0)
        return r;
    size_t at = find_map(group, info.id);
    if (at < group->map_count)
        return reason_set(why, -EEXIST,
                          "'%s' is mapped to igroup '%s' already, as LUN %u; 'lunette lun unmap %s "
                          "--igroup %s' ends that",
                          lun_name, group_name, group->maps[at].number, lun_name, group_name);
    struct access_map_entry entry = {.lun_id = info.id, .number = (uint32_t)number};
    snprintf(entry.lun_name, sizeof(entry.lun_name), "%s", info.name);
    uint32_t next = group->next_number;
    if (number == ACCESS_LUN_AUTOMATIC)
    {
        r = choose_number(access, group, info.id, &entry.number, why);
        if (r < 0)
            return r;
    }
    if (number == ACCESS_LUN_AUTOMATIC || entry.number == next)
        next = entry.number < ACCESS_AUTOMATIC_MAX ? entry.number + 1 : 0;
    const struct access_group *in = NULL;
    const struct access_map_entry *other =
        find_collision(access, group, info.id, entry.number, &in);
    if (other)
        return reason_set(why, -EBUSY,
                          "'%s' cannot be LUN %u of igroup '%s': '%s' is LUN %u of igroup '%s'%s; "
                          "without --lun-id it gets a free number",
                          lun_name, entry.number, group_name, other->lun_name, other->number,
                          in->name, in == group ? "" : ", which has initiators in common");
    r = dry_run ? 0 : store_map(access, group, &entry, next, why);
    if (r == 0 && used)
        *used = entry.number;
    return r;
}

static int map_checked(struct access *access, const char *lun_name, const char *group,
                       int32_t number, bool dry_run, uint32_t *used, struct reason *why)
{
    if (number < ACCESS_LUN_AUTOMATIC || number > ACCESS_LUN_NUMBER_MAX)
        return reason_set(why, -EINVAL, "%d is no LUN number: 0 to %d are", number,
                          ACCESS_LUN_NUMBER_MAX);
    AUTO_LOCK(&access->change_lock);
    return map_locked(access, lun_name, group, number, dry_run, used, why);
}

int access_map(struct access *access, const char *lun_name, const char *group, int32_t number,
               uint32_t *used, struct reason *why)
{
    int r = map_checked(access, lun_name, group, number, false, used, why);
    if (r == 0)
        access_announce(access);
    return r;
}

int access_map_plan(struct access *access, const char *lun_name, const char *group, int32_t number,
                    uint32_t *used, struct reason *why)
{
    return map_checked(access, lun_name, group, number, true, used, why);
}

/* From @only, or (NULL) from all groups. *removed counts. The caller holds change_lock. */
static int unmap_id_locked(struct access *access, uint64_t lun_id, const struct access_group *only,
                           size_t *removed, struct reason *why)
{
    AUTO_FREE struct store_change *changes = calloc(access->group_count + 1, sizeof(*changes));
    AUTO_FREE char(*keys)[ACCESS_KEY_BYTES] = calloc(access->group_count + 1, sizeof(*keys));
    if (!changes || !keys)
        return reason_set(why, -ENOMEM, "no memory to unmap the LUN");
    size_t count = 0;
    for (size_t i = 0; i < access->group_count; i++)
    {
        const struct access_group *group = access->groups[i];
        if ((only && group != only) || find_map(group, lun_id) == group->map_count)
            continue;
        access_key_map(group->name, lun_id, keys[count]);
        changes[count].key = keys[count];
        count++;
    }
    *removed = count;
    int r = count ? store_apply(access->pool, changes, count, why) : 0;
    if (r < 0)
        return r;
    AUTO_LOCK(&access->lock);
    for (size_t i = 0; i < access->group_count; i++)
    {
        struct access_group *group = access->groups[i];
        size_t at = find_map(group, lun_id);
        if ((!only || group == only) && at < group->map_count)
            drop_map_at(group, at);
    }
    return 0;
}

static int unmap_locked(struct access *access, const char *lun_name, const char *group_name,
                        struct reason *why)
{
    struct access_group *group = NULL;
    struct lun_info info;
    int r = group_name ? access_require_group(access, group_name, &group, why) : 0;
    if (r == 0)
        r = lun_get_info(access->pool, lun_name, &info, why);
    size_t removed = 0;
    if (r == 0)
        r = unmap_id_locked(access, info.id, group, &removed, why);
    if (r < 0 || removed)
        return r;
    return group_name
               ? reason_set(
                     why, -ENOENT,
                     "'%s' is not mapped to igroup '%s'; 'lunette mapping show %s' lists where "
                     "it is",
                     lun_name, group_name, lun_name)
               : reason_set(why, -ENOENT, "'%s' is not mapped to any igroup", lun_name);
}

int access_unmap(struct access *access, const char *lun_name, const char *group, struct reason *why)
{
    lock_take(&access->change_lock);
    int r = unmap_locked(access, lun_name, group, why);
    lock_release(&access->change_lock);
    if (r == 0)
        access_announce(access);
    return r;
}

/* ---- questions ----------------------------------------------------------------------------- */

static void copy_mapping(const struct access_group *group, const struct access_map_entry *entry,
                         struct access_mapping *out)
{
    out->lun_id = entry->lun_id;
    out->number = entry->number;
    snprintf(out->group, sizeof(out->group), "%s", group->name);
    snprintf(out->lun_name, sizeof(out->lun_name), "%s", entry->lun_name);
}

static size_t count_maps(const struct access *access)
{
    size_t count = 0;
    for (size_t i = 0; i < access->group_count; i++)
        count += access->groups[i]->map_count;
    return count;
}

/* A copy of the mappings of @lun_id (0: any) and @only (NULL: any). */
static int list_maps(struct access *access, uint64_t lun_id, const char *only,
                     struct access_mapping **list, size_t *count, struct reason *why)
{
    AUTO_LOCK(&access->lock);
    struct access_group *group = NULL;
    int r = only ? access_require_group(access, only, &group, why) : 0;
    if (r < 0)
        return r;
    struct access_mapping *maps = calloc(count_maps(access) + 1, sizeof(*maps));
    if (!maps)
        return reason_set(why, -ENOMEM, "no memory for the list");
    size_t used = 0;
    for (size_t i = 0; i < access->group_count; i++)
        for (size_t j = 0; j < access->groups[i]->map_count; j++)
        {
            const struct access_map_entry *entry = &access->groups[i]->maps[j];
            if ((lun_id && entry->lun_id != lun_id) || (group && access->groups[i] != group))
                continue;
            copy_mapping(access->groups[i], entry, &maps[used++]);
        }
    *list = maps;
    *count = used;
    return 0;
}

int access_mapping_list(struct access *access, const char *lun_name, const char *group,
                        struct access_mapping **list, size_t *count, struct reason *why)
{
    struct lun_info info = {0};
    int r = lun_name ? lun_get_info(access->pool, lun_name, &info, why) : 0;
    if (r == 0)
        r = list_maps(access, info.id, group, list, count, why);
    for (size_t i = 0; r == 0 && i < *count; i++)
    {
        struct access_mapping *mapping = &(*list)[i];
        if (access_lun_name(access, mapping->lun_id, mapping->lun_name) < 0)
            mapping->lun_name[0] = '\0';
    }
    return r;
}

static int compare_numbers(const void *a, const void *b)
{
    const struct access_mapping *x = a, *y = b;
    return x->number < y->number ? -1 : x->number > y->number;
}

int access_visible(struct access *access, const char *initiator, struct access_mapping **list,
                   size_t *count)
{
    AUTO_LOCK(&access->lock);
    size_t room = 1;
    for (size_t i = 0; i < access->group_count; i++)
        if (access_group_has(access->groups[i], initiator))
            room += access->groups[i]->map_count;
    struct access_mapping *maps = calloc(room, sizeof(*maps));
    if (!maps)
        return -ENOMEM;
    size_t used = 0;
    for (size_t i = 0; room > 1 && i < access->group_count; i++)
    {
        const struct access_group *group = access->groups[i];
        if (!group->map_count || !access_group_has(group, initiator))
            continue;
        for (size_t j = 0; j < group->map_count; j++)
            copy_mapping(group, &group->maps[j], &maps[used++]);
    }
    qsort(maps, used, sizeof(*maps), compare_numbers);
    size_t kept = 0; /* the same LUN by two groups is one */
    for (size_t i = 0; i < used; i++)
        if (kept == 0 || maps[kept - 1].number != maps[i].number)
            maps[kept++] = maps[i];
    *list = maps;
    *count = kept;
    return 0;
}

/* ---- names and attributes of LUNs ---------------------------------------------------------- */

static void note_name(struct access *access, uint64_t lun_id, const char *name)
{
    AUTO_LOCK(&access->lock);
    for (size_t i = 0; i < access->group_count; i++)
    {
        struct access_group *group = access->groups[i];
        size_t at = find_map(group, lun_id);
        if (at < group->map_count)
            snprintf(group->maps[at].lun_name, sizeof(group->maps[at].lun_name), "%s", name);
    }
}

static bool noted_name(struct access *access, uint64_t lun_id, char *name)
{
    AUTO_LOCK(&access->lock);
    for (size_t i = 0; i < access->group_count; i++)
    {
        const struct access_group *group = access->groups[i];
        size_t at = find_map(group, lun_id);
        if (at == group->map_count)
            continue;
        memcpy(name, group->maps[at].lun_name, sizeof(group->maps[at].lun_name));
        return true;
    }
    return false;
}

int access_lun_name(struct access *access, uint64_t lun_id, char *name)
{
    struct lun_info info;
    if (noted_name(access, lun_id, name) && lun_get_info(access->pool, name, &info, NULL) == 0 &&
        info.id == lun_id)
        return 0;
    /* It was renamed: look through all. */
    AUTO_FREE struct lun_info *list = NULL;
    size_t count = 0;
    int r = lun_list(access->pool, NULL, &list, &count, NULL);
    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++)
    {
        if (list[i].id != lun_id)
            continue;
        memcpy(name, list[i].name, sizeof(list[i].name));
        note_name(access, lun_id, name);
        return 0;
    }
    return -ENOENT;
}

static size_t find_flags(const struct access *access, uint64_t lun_id)
{
    size_t i = 0;
    while (i < access->flags_count && access->flags[i].lun_id != lun_id)
        i++;
    return i;
}

static int access_reserve_flags(struct access *access)
{
    struct access_flags *list = realloc(access->flags, (access->flags_count + 1) * sizeof(*list));
    if (!list)
        return -ENOMEM;
    access->flags = list;
    return 0;
}

static void access_place_flags(struct access *access, uint64_t lun_id, unsigned flags)
{
    size_t at = find_flags(access, lun_id);
    if (flags == 0 && at < access->flags_count)
        access->flags[at] = access->flags[--access->flags_count];
    if (flags == 0)
        return;
    access->flags_count += at == access->flags_count;
    access->flags[at] = (struct access_flags){lun_id, flags};
}

int access_put_flags(struct access *access, uint64_t lun_id, unsigned flags)
{
    int r = access_reserve_flags(access);
    if (r == 0)
        access_place_flags(access, lun_id, flags);
    return r;
}

static int set_flags_locked(struct access *access, uint64_t lun_id, unsigned flags,
                            struct reason *why)
{
    char key[ACCESS_KEY_BYTES], value[16];
    access_key_flags(lun_id, key);
    int len = snprintf(value, sizeof(value), "%u", flags);
    struct store_change change = {key, flags ? value : NULL, (size_t)len};
    int r;
    {
        AUTO_LOCK(&access->lock);
        r = access_reserve_flags(access);
    }
    if (r == 0)
        r = store_apply(access->pool, &change, 1, why);
    if (r < 0)
        return r;
    AUTO_LOCK(&access->lock);
    access_place_flags(access, lun_id, flags);
    return 0;
}

int access_set_lun_flags(struct access *access, const char *lun_name, unsigned flags,
                         struct reason *why)
{
    struct lun_info info;
    int r = lun_get_info(access->pool, lun_name, &info, why);
    return r == 0 ? access_set_flags_of(access, info.id, flags, why) : r;
}

int access_set_flags_of(struct access *access, uint64_t lun_id, unsigned flags, struct reason *why)
{
    lock_take(&access->change_lock);
    int r = set_flags_locked(access, lun_id, flags, why);
    lock_release(&access->change_lock);
    if (r == 0)
        access_announce(access);
    return r;
}

unsigned access_lun_flags(struct access *access, uint64_t lun_id)
{
    AUTO_LOCK(&access->lock);
    size_t at = find_flags(access, lun_id);
    return at < access->flags_count ? access->flags[at].flags : 0;
}

/* Keys that others keep for a LUN: reservations, notes of SANITIZE. */
static int forget_key(void *opaque, const char *key, const void *value, size_t len)
{
    (void)value;
    (void)len;
    struct store_change change = {.key = key};
    return store_apply(opaque, &change, 1, NULL);
}

void access_forget_lun(struct access *access, uint64_t lun_id)
{
    static const char *const prefixes[] = {"scsi/pr/", "scsi/sanitize/"};
    size_t removed = 0;
    lock_take(&access->change_lock);
    int r = unmap_id_locked(access, lun_id, NULL, &removed, NULL);
    if (r == 0 && access_lun_flags(access, lun_id))
        r = set_flags_locked(access, lun_id, 0, NULL);
    lock_release(&access->change_lock);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(prefixes); i++)
    {
        char prefix[ACCESS_KEY_BYTES];
        snprintf(prefix, sizeof(prefix), "%s%016" PRIx64, prefixes[i], lun_id);
        r = store_list(access->pool, prefix, forget_key, access->pool);
    }
    if (r < 0)
        log_warning("what is stored for the deleted LUN id %" PRIu64 " could not be removed: %s",
                    lun_id, strerror(-r));
    if (removed)
        access_announce(access);
}
