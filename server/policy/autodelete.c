/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making room: when the free space of the pool or of a volume falls below a threshold, snapshots
 * and then LUNs that are marked so are deleted, one at a time, until there is as much as was asked
 * for.
 *
 * The order:
 *  1. snapshots, oldest first; those that an admin made by hand after all others, or as told;
 *  2. LUNs with autodelete on: clones before others, nearest end of a lease first, then oldest.
 *
 * Never: what is locked; a snapshot that volume clones depend on; a LUN with autodelete off. What
 * clients have open goes only if the commitment says so: a snapshot from "disrupt" on, a LUN with
 * "destroy". The engine looks at all of that again as it deletes.
 *
 * Space comes back in the background, so after each deletion that is waited for before the next.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/policy/policy_internal.h"
#include "server/units.h"

enum
{
    MAKE_ROOM_PATIENCE_S = 30, /* for background work that does not get on */
    MAKE_ROOM_AGAIN_S = 60,    /* when there was nothing left to delete */
};

/* The space that is looked at, and what may go for it. */
struct room
{
    struct policy *policy;
    const struct policy_autodelete *settings;
    struct policy_room *state;
    enum policy_scope scope; /* of what is deleted: of the pool, all of it */
    uint64_t id;
    const char *name;
    uint64_t size_bytes, free_bytes;
};

/* A snapshot, or a LUN. */
struct victim
{
    bool is_lun, is_volume_snapshot;
    bool is_last; /* of snapshots: of the kind that goes after the others */
    bool is_clone;
    uint64_t id, expire_ns;
    char name[2 * LUN_NAME_MAX + 2];
};

struct victims
{
    struct victim *list;
    size_t count, capacity;
};

static double room_free_percent(const struct room *room)
{
    return room->size_bytes ? (double)room->free_bytes * 100.0 / (double)room->size_bytes : 100.0;
}

static const char *room_kind(const struct room *room)
{
    return room->scope == POLICY_OF_POOL ? "pool" : "volume";
}

/* ---- who may go ---------------------------------------------------------------------------- */

static struct victim *victims_add(struct victims *victims)
{
    if (victims->count == victims->capacity)
    {
        size_t capacity = victims->capacity ? victims->capacity * 2 : 64;
        struct victim *list = realloc(victims->list, capacity * sizeof(*list));
        if (!list)
            return NULL;
        victims->list = list;
        victims->capacity = capacity;
    }
    struct victim *victim = &victims->list[victims->count++];
    *victim = (struct victim){0};
    return victim;
}

static bool victim_is_last(const struct room *room, const char *name)
{
    const char *at = strrchr(name, '@');
    bool is_scheduled = snapshot_policy_made(at ? at + 1 : name);
    return room->settings->defer_delete == POLICY_DEFER_USER_CREATED ? !is_scheduled
           : room->settings->defer_delete == POLICY_DEFER_SCHEDULED  ? is_scheduled
                                                                     : false;
}

static int victims_add_volume_snapshots(const struct room *room, struct victims *victims)
{
    AUTO_FREE struct volume_snapshot_info *list = NULL;
    size_t count = 0;
    uint64_t now_ns = pool_lock_clock_ns(room->policy->pool);
    const char *volume = room->scope == POLICY_OF_POOL ? NULL : room->name;
    int r = volume_snapshot_list(room->policy->pool, volume, &list, &count, NULL);
    for (size_t i = 0; r == 0 && i < count; i++)
    {
        if (list[i].locked_until_ns > now_ns || list[i].clone_count > 0 || list[i].is_deferred)
            continue;
        struct victim *victim = victims_add(victims);
        if (!victim)
            return -ENOMEM;
        victim->is_volume_snapshot = true;
        victim->is_last = victim_is_last(room, list[i].name);
        victim->id = list[i].id;
        snprintf(victim->name, sizeof(victim->name), "%s", list[i].name);
    }
    return r;
}

/* Snapshots of single LUNs, or LUNs. */
static int victims_add_expendable(const struct room *room, enum lun_expendable kind,
                                  struct victims *victims)
{
    AUTO_FREE struct lun_info *list = NULL;
    size_t count = 0;
    uint64_t now_ns = pool_lock_clock_ns(room->policy->pool);
    enum policy_commitment open_from =
        kind == LUN_EXPENDABLE_LUNS ? POLICY_COMMIT_DESTROY : POLICY_COMMIT_DISRUPT;
    int r = lun_list_expendable(room->policy->pool, kind, &list, &count);
    for (size_t i = 0; r == 0 && i < count; i++)
    {
        const struct lun_info *lun = &list[i];
        if ((room->scope != POLICY_OF_POOL && lun->volume_id != room->id) ||
            lun->locked_until_ns > now_ns || (kind == LUN_EXPENDABLE_LUNS && !lun->is_autodelete) ||
            (lun->open_handles > 0 && room->settings->commitment < open_from))
            continue;
        struct victim *victim = victims_add(victims);
        if (!victim)
            return -ENOMEM;
        victim->is_lun = kind == LUN_EXPENDABLE_LUNS;
        victim->is_last = !victim->is_lun && victim_is_last(room, lun->name);
        victim->is_clone = lun->origin[0] != '\0';
        victim->id = lun->id;
        victim->expire_ns = lun->expire_ns;
        snprintf(victim->name, sizeof(victim->name), "%s", lun->name);
    }
    return r;
}

static int victim_compare(const void *a, const void *b)
{
    const struct victim *x = a, *y = b;
    if (x->is_lun != y->is_lun)
        return x->is_lun ? 1 : -1;
    if (x->is_last != y->is_last)
        return x->is_last ? 1 : -1;
    if (x->is_lun && x->is_clone != y->is_clone)
        return x->is_clone ? -1 : 1;
    /* No lease ends after all that have one: 0 wraps to the largest number. */
    if (x->is_lun && x->expire_ns != y->expire_ns)
        return x->expire_ns - 1 < y->expire_ns - 1 ? -1 : 1;
    /* By id, not by date: a clock that was set back makes the newest ones seem old. */
    return x->id < y->id ? -1 : x->id > y->id;
}

/* All that may go, in order. */
static int victims_find(const struct room *room, struct victims *victims)
{
    int r = victims_add_volume_snapshots(room, victims);
    if (r == 0)
        r = victims_add_expendable(room, LUN_EXPENDABLE_SNAPSHOTS, victims);
    if (r == 0)
        r = victims_add_expendable(room, LUN_EXPENDABLE_LUNS, victims);
    if (r == 0 && victims->count > 0)
        qsort(victims->list, victims->count, sizeof(*victims->list), victim_compare);
    return r;
}

/* ---- deleting ------------------------------------------------------------------------------ */

static int victim_delete_snapshot(const struct room *room, const struct victim *victim,
                                  struct reason *why)
{
    struct pool *pool = room->policy->pool;
    unsigned flags = room->settings->commitment >= POLICY_COMMIT_DISRUPT ? LUN_FORCE : 0;
    char object[2 * LUN_NAME_MAX + 2];
    snprintf(object, sizeof(object), "%s", victim->name);
    char *at = strrchr(object, '@');
    if (!at)
        return -EINVAL;
    *at = '\0';
    return victim->is_volume_snapshot ? volume_snapshot_delete(pool, object, at + 1, flags, why)
                                      : snapshot_delete(pool, object, at + 1, flags, why);
}

static int victim_delete(const struct room *room, const struct victim *victim)
{
    struct reason why;
    const struct lun_delete_condition condition = {
        .id = victim->id, .is_autodelete = true, .keeps_volume_snapshots = true};
    unsigned flags = room->settings->commitment >= POLICY_COMMIT_DESTROY ? LUN_FORCE : 0;
    int r = victim->is_lun ? lun_delete_if(room->policy->pool, &condition, flags, &why)
                           : victim_delete_snapshot(room, victim, &why);
    if (r == 0)
        event_add(room->policy->pool, "warning", "autodelete.deleted", victim->name,
                  "%s %.80s was deleted to make room: %s %.60s has %.1f %% free",
                  victim->is_lun ? "LUN" : "snapshot", victim->name, room_kind(room), room->name,
                  room_free_percent(room));
    return r;
}

/* One that can be deleted is; *found: whether there was one. */
static int room_delete_one(const struct room *room, bool *found)
{
    struct victims victims = {0};
    *found = false;
    int r = victims_find(room, &victims);
    for (size_t i = 0; r == 0 && !*found && i < victims.count; i++)
        *found = victim_delete(room, &victims.list[i]) == 0; /* else the next may be possible */
    free(victims.list);
    return r;
}

/* ---- one space ----------------------------------------------------------------------------- */

/* Whether what was deleted is still coming back. Work that does not get on is not waited for. */
static bool room_is_waiting(const struct room *room)
{
    AUTO_FREE struct job_info *jobs = NULL;
    size_t count = 0;
    struct policy_room *state = room->state;
    uint64_t now_ns = policy_passed_ns(room->policy);
    if (job_list(room->policy->pool, &jobs, &count) < 0 || count == 0)
        return false;
    if (room->free_bytes > state->last_free_bytes)
        state->waiting_ns = now_ns;
    state->last_free_bytes = room->free_bytes;
    return now_ns - state->waiting_ns < MAKE_ROOM_PATIENCE_S * POLICY_SECOND_NS;
}

static void room_make(const struct room *room)
{
    struct policy_room *state = room->state;
    uint64_t now_ns = policy_passed_ns(room->policy);
    bool found;
    if (state->is_exhausted && now_ns - state->waiting_ns < MAKE_ROOM_AGAIN_S * POLICY_SECOND_NS)
        return;
    if (!state->is_exhausted && room_is_waiting(room))
        return;
    if (room_delete_one(room, &found) < 0)
        return; /* out of memory: next time */
    state->waiting_ns = now_ns;
    state->last_free_bytes = room->free_bytes;
    state->deleted_count += found;
    if (!found && !state->is_exhausted)
        event_add(
            room->policy->pool, "error", "autodelete.exhausted", room->name,
            "%s %.60s has %.1f %% free, and nothing is left that may be deleted to make room; "
            "'lunette explain space' says what holds it",
            room_kind(room), room->name, room_free_percent(room));
    state->is_exhausted = !found;
}

static void room_look(const struct room *room)
{
    char left[UNITS_TEXT_MAX];
    struct policy_room *state = room->state;
    double percent = room_free_percent(room);
    units_format_bytes(room->free_bytes, 'h', left);
    if (!state->is_active && percent < room->settings->trigger_free_percent)
    {
        *state = (struct policy_room){.scope = room->scope, .id = room->id, .is_active = true};
        event_add(room->policy->pool, "warning", "autodelete.began", room->name,
                  "%s %.60s has %.1f %% free (%s), below %u %%: snapshots and LUNs that may go are "
                  "deleted until %u %% are",
                  room_kind(room), room->name, percent, left, room->settings->trigger_free_percent,
                  room->settings->target_free_percent);
    }
    else if (state->is_active && percent >= room->settings->target_free_percent)
    {
        event_add(room->policy->pool, "info", "autodelete.done", room->name,
                  "%s %.60s has %.1f %% free (%s) again; %" PRIu64 " were deleted", room_kind(room),
                  room->name, percent, left, state->deleted_count);
        state->is_active = false;
    }
    if (state->is_active)
        room_make(room);
}

/* ---- all of them --------------------------------------------------------------------------- */

/* NULL: no memory. */
static struct policy_room *room_state(struct policy *policy, enum policy_scope scope, uint64_t id)
{
    for (size_t i = 0; i < policy->space.room_count; i++)
        if (policy->space.rooms[i].scope == scope && policy->space.rooms[i].id == id)
            return &policy->space.rooms[i];
    size_t count = policy->space.room_count + 1;
    struct policy_room *rooms = realloc(policy->space.rooms, count * sizeof(*rooms));
    if (!rooms)
        return NULL;
    policy->space.rooms = rooms;
    policy->space.room_count = count;
    rooms[count - 1] = (struct policy_room){.scope = scope, .id = id};
    return &rooms[count - 1];
}

static void room_of_volume(struct policy *policy, const struct volume_info *volume,
                           const struct pool_info *pool, const struct policy_autodelete *settings)
{
    uint64_t used_bytes = volume->charged_bytes + volume->reserved_bytes;
    struct room room = {
        .policy = policy,
        .settings = settings,
        .state = room_state(policy, POLICY_OF_VOLUME, volume->id),
        .scope = POLICY_OF_VOLUME,
        .id = volume->id,
        .name = volume->name,
        .size_bytes = settings->is_by_pool ? pool->size_bytes : volume->size_bytes,
        .free_bytes = settings->is_by_pool              ? pool->available_bytes
                      : volume->size_bytes > used_bytes ? volume->size_bytes - used_bytes
                                                        : 0,
    };
    if (room.state && room.size_bytes > 0)
        room_look(&room);
}

static int room_volume_cb(void *opaque, const char *key, const void *value, size_t len)
{
    struct policy *policy = opaque;
    struct policy_settings settings;
    struct volume_info volume;
    struct pool_info pool;
    AUTO_JSON json_t *json = policy_parse(policy, key, value, len);
    policy_settings_decode(POLICY_OF_VOLUME, json, &settings);
    if (!settings.autodelete.is_enabled ||
        volume_get_info_by_id(policy->pool, policy_key_id(key), &volume) < 0)
        return 0;
    pool_get_info(policy->pool, &pool);
    room_of_volume(policy, &volume, &pool, &settings.autodelete);
    return 0;
}

/* What is switched off, or gone, begins anew. */
static void room_forget(struct policy *policy)
{
    size_t kept = 0;
    for (size_t i = 0; i < policy->space.room_count; i++)
    {
        struct policy_settings settings;
        const struct policy_room *room = &policy->space.rooms[i];
        policy_get(policy, room->scope, room->id, &settings);
        if (settings.autodelete.is_enabled)
            policy->space.rooms[kept++] = *room;
    }
    policy->space.room_count = kept;
}

bool policy_make_room(struct policy *policy)
{
    struct policy_settings settings;
    struct pool_info info;
    room_forget(policy);
    /* Volumes first: what belongs to one that is full makes room in the pool too. */
    ignore_error(store_list(policy->pool, "policy/set/volume/", room_volume_cb, policy),
                 "without memory: next time");
    policy_get(policy, POLICY_OF_POOL, 0, &settings);
    pool_get_info(policy->pool, &info);
    struct room room = {
        .policy = policy,
        .settings = &settings.autodelete,
        .state = settings.autodelete.is_enabled ? room_state(policy, POLICY_OF_POOL, 0) : NULL,
        .scope = POLICY_OF_POOL,
        .name = info.name,
        .size_bytes = info.size_bytes,
        .free_bytes = info.available_bytes,
    };
    if (room.state)
        room_look(&room);
    bool is_active = false;
    for (size_t i = 0; i < policy->space.room_count; i++)
        is_active |= policy->space.rooms[i].is_active && !policy->space.rooms[i].is_exhausted;
    return is_active;
}
