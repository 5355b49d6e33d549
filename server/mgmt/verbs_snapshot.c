/* SPDX-License-Identifier: BSD-3-Clause */
/* Verbs on snapshots. Dry runs as in verbs_lun.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/size_text.h"
#include "server/mgmt/proto.h"
#include "server/mgmt/verbs.h"
#include "server/mgmt/verbs_internal.h"
#include "server/mgmt/view.h"

/* "LUN@SNAPSHOT" of the arguments, which the engine checks; *name is to be freed. */
static int verb_snapshot_name(struct verb_request *request, char **name)
{
    const char *lun = verb_string(request, "lun");
    const char *snapshot = verb_string(request, "snapshot");
    size_t size = strlen(lun) + strlen(snapshot) + 2;
    char *joined = malloc(size);
    if (!joined)
        return -ENOMEM;
    memcpy(joined, lun, strlen(lun));
    joined[strlen(lun)] = '@';
    memcpy(joined + strlen(lun) + 1, snapshot, strlen(snapshot) + 1);
    *name = joined;
    return 0;
}

/* The argument "lun" may name a volume: snapshots of it are of all its LUNs. */
static bool verb_is_volume(const struct verb_request *request, const char *name)
{
    struct volume_info info;
    return volume_get_info(request->pool, name, &info, NULL) == 0;
}

/* With applications that hold still, if the request says so; else as @volumes says. */
static int verb_snapshot_quiesced(struct verb_request *request, const char *const *objects,
                                  size_t count, bool is_lun)
{
    struct policy_quiesce quiesce = {0};
    const struct policy_snapshot_args args = {
        .objects = objects,
        .count = count,
        .is_lun = is_lun,
        .name = verb_string(request, "snapshot"),
        .comment = verb_string(request, "comment"),
        .locked_until_ns = verb_time(request, "locked_until"),
        .quiesce = &quiesce,
        .dry_run = verb_bool(request, "dry_run"),
    };
    int r = verb_quiesce_args(request, &quiesce);
    return r < 0 ? r : policy_snapshot(target_policy(request->target), &args, &request->why);
}

/* The volumes of "lun" and "with". */
static int verb_snapshot_volumes(struct verb_request *request)
{
    AUTO_FREE const char **with = NULL;
    size_t count;
    const struct volume_snapshot_args args = {
        .name = verb_string(request, "snapshot"),
        .comment = verb_string(request, "comment"),
        .locked_until_ns = verb_time(request, "locked_until"),
    };
    int r = verb_strings(request, "with", &with, &count);
    if (r < 0)
        return r;
    AUTO_FREE const char **volumes = calloc(count + 1, sizeof(*volumes));
    if (!volumes)
        return -ENOMEM;
    volumes[0] = verb_string(request, "lun");
    for (size_t i = 0; i < count; i++)
        volumes[i + 1] = with[i];
    if (verb_has(request, "quiesce"))
        return verb_snapshot_quiesced(request, volumes, count + 1, false);
    return volume_snapshot_create(request->pool, volumes, count + 1, &args, &request->why);
}

/* What is kept by the snapshot that is made: sizes of LUNs and what is mapped of them. */
static int verb_say_kept(struct verb_request *request)
{
    AUTO_FREE struct lun_info *list = NULL;
    size_t count = 0, luns = 0, len;
    struct volume_info volume;
    uint64_t size_bytes = 0, mapped_bytes = 0;
    const char *name = verb_string(request, "lun");
    bool is_volume = volume_get_info(request->pool, name, &volume, NULL) == 0;
    int r = lun_list(request->pool, is_volume ? NULL : name, &list, &count, &request->why);
    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++)
    {
        if (list[i].kind != OBJECT_LUN || (is_volume && list[i].volume_id != volume.id))
            continue;
        luns++;
        size_bytes += list[i].size_bytes;
        mapped_bytes += list[i].mapped_bytes;
    }
    char full[2 * LUN_NAME_MAX + 2];
    len = (size_t)snprintf(full, sizeof(full), "%s@%s", name, verb_string(request, "snapshot"));
    request->result =
        json_pack("{s:s#, s:I, s:I, s:I, s:i}", "name", full, (int)min_u64(len, sizeof(full) - 1),
                  "luns", (json_int_t)luns, "size_bytes", (json_int_t)size_bytes, "mapped_bytes",
                  (json_int_t)mapped_bytes, "taken_data_bytes", 0);
    return request->result ? 0 : -ENOMEM;
}

int verb_snapshot_create(struct verb_request *request)
{
    const char *lun = verb_string(request, "lun"), *snapshot = verb_string(request, "snapshot");
    int64_t promised_bytes = 0;
    int r;
    if (verb_has(request, "with") || verb_is_volume(request, lun))
    {
        r = verb_snapshot_volumes(request);
        promised_bytes = command_promised_bytes();
    }
    else
    {
        r = verb_check_whole(request, lun);
        if (r == 0)
            r = verb_has(request, "quiesce")
                    ? verb_snapshot_quiesced(request, &lun, 1, true)
                    : snapshot_create_until(request->pool, lun, snapshot,
                                            verb_string(request, "comment"),
                                            verb_time(request, "locked_until"), &request->why);
        promised_bytes = command_promised_bytes();
    }
    request->is_done = r == 0;
    if (r == 0)
        r = verb_say_kept(request);
    if (r == 0)
        r = verb_say_not_whole(request, lun);
    return r < 0 ? r : verb_put_promised(request, promised_bytes);
}

int verb_snapshot_lock(struct verb_request *request)
{
    const char *lun = verb_string(request, "lun"), *snapshot = verb_string(request, "snapshot");
    const struct lun_attributes attributes = {.locked_until_ns =
                                                  verb_time(request, "locked_until")};
    AUTO_FREE char *name = NULL;
    if (verb_is_volume(request, lun))
        return volume_snapshot_lock(request->pool, lun, snapshot, attributes.locked_until_ns,
                                    &request->why);
    int r = verb_snapshot_name(request, &name);
    return r < 0 ? r
                 : lun_set_attributes(request->pool, name, LUN_SET_LOCKED_UNTIL, &attributes,
                                      &request->why);
}

/* The volumes that depend on a snapshot, "a, b". */
static void verb_put_owners(json_t *snapshot, const struct volume_snapshot_info *info,
                            const struct volume_info *volumes, size_t count)
{
    char owners[1024] = "";
    size_t at = 0;
    for (size_t i = 0; i < count && at < sizeof(owners); i++)
        if (volumes[i].parent_snapshot_id == info->id)
            at += (size_t)snprintf(owners + at, sizeof(owners) - at, "%s%s", at ? ", " : "",
                                   volumes[i].name);
    ignore_error(json_object_set_new(snapshot, "owners", json_string(owners)), "shown only");
}

/* Whether applications held still, if that was asked for; the engine keeps it in the comment. */
static void verb_put_consistency(json_t *snapshot)
{
    static const char *const kinds[] = {"application-consistent", "crash-consistent"};
    const char *comment = json_string_value(json_object_get(snapshot, "comment"));
    for (size_t i = 0; comment && i < ARRAY_SIZE(kinds); i++)
        if (comment[0] == '[' && strncmp(comment + 1, kinds[i], strlen(kinds[i])) == 0)
            ignore_error(json_object_set_new(snapshot, "consistency", json_string(kinds[i])),
                         "shown only");
}

/* Made for a clone that is gone or split, and for nothing else. */
static bool verb_is_orphan(const struct volume_snapshot_info *info)
{
    return info->is_automatic && info->clone_count == 0;
}

/* Snapshots of @volume, or of all (NULL). */
static int verb_list_volume_snapshots(struct verb_request *request, const char *volume,
                                      json_t *array)
{
    AUTO_FREE struct volume_snapshot_info *list = NULL;
    AUTO_FREE struct volume_info *volumes = NULL;
    size_t count, volume_count = 0;
    int r = volume_snapshot_list(request->pool, volume, &list, &count, &request->why);
    if (r == 0)
        r = volume_list(request->pool, &volumes, &volume_count);
    for (size_t i = 0; r == 0 && i < count; i++)
    {
        if (verb_bool(request, "orphaned") && !verb_is_orphan(&list[i]))
            continue;
        json_t *snapshot = view_volume_snapshot(&list[i]);
        if (snapshot)
        {
            verb_put_owners(snapshot, &list[i], volumes, volume_count);
            verb_put_consistency(snapshot);
        }
        if (json_array_append_new(array, snapshot) != 0)
            r = -ENOMEM;
    }
    return r;
}

/* Snapshots of LUN @name, or (NULL) all that are not part of a volume's. */
static int verb_list_lun_snapshots(struct verb_request *request, const char *name, json_t *array)
{
    AUTO_FREE struct lun_info *list = NULL;
    size_t count;
    int r = lun_list(request->pool, name, &list, &count, &request->why);
    for (size_t i = 0; r == 0 && i < count; i++)
    {
        if (list[i].kind != OBJECT_SNAPSHOT || (!name && list[i].volume_snapshot_id != 0))
            continue;
        json_t *snapshot = view_lun(&list[i]);
        verb_put_consistency(snapshot);
        if (json_array_append_new(array, snapshot) != 0)
            r = -ENOMEM;
    }
    return r;
}

/* The one that is "LUN@SNAPSHOT". */
static int verb_add_lun_snapshot(struct verb_request *request, const char *name, json_t *array)
{
    struct lun_info info;
    int r = lun_get_info(request->pool, name, &info, &request->why);
    if (r < 0)
        return r;
    json_t *snapshot = view_lun(&info);
    verb_put_consistency(snapshot);
    return json_array_append_new(array, snapshot) == 0 ? 0 : -ENOMEM;
}

int verb_snapshot_show(struct verb_request *request)
{
    const char *name = verb_string(request, "lun");
    bool is_volume = name && verb_is_volume(request, name),
         orphaned = verb_bool(request, "orphaned");
    if (name && orphaned && !is_volume)
        return reason_set(&request->why, -EINVAL,
                          "only a volume's snapshots can be orphaned, and '%s' is no volume", name);
    json_t *array = json_array();
    int r = 0;
    if (name && strchr(name, '@'))
        r = verb_add_lun_snapshot(request, name, array);
    else if (!name || is_volume)
        r = verb_list_volume_snapshots(request, name, array);
    if (r == 0 && !is_volume && !orphaned && !(name && strchr(name, '@')))
        r = verb_list_lun_snapshots(request, name, array);
    request->result = view_listing("snapshots", array);
    return request->result ? r : -ENOMEM;
}

/* Whether this is a LUN's snapshot that the volume's is made of. */
static bool verb_is_part_of(const struct lun_info *info, const char *volume, const char *snapshot)
{
    size_t len = strlen(volume);
    const char *at = strchr(info->name, '@');
    return at && info->volume_snapshot_id && strncmp(info->name, volume, len) == 0 &&
           info->name[len] == '/' && strcmp(at + 1, snapshot) == 0;
}

int verb_list_parts(struct verb_request *request, const char *volume, const char *snapshot,
                    struct lun_info **list, size_t *count)
{
    size_t all = 0, n = 0;
    int r = lun_list(request->pool, NULL, list, &all, &request->why);
    for (size_t i = 0; r == 0 && i < all; i++)
    {
        if (verb_is_part_of(&(*list)[i], volume, snapshot))
            (*list)[n++] = (*list)[i];
    }
    *count = n;
    return r;
}

/* What goes with a volume's snapshot: those of its LUNs. */
static int verb_plan_volume_snapshot(struct verb_request *request, const char *volume,
                                     const char *snapshot)
{
    AUTO_FREE struct lun_info *list = NULL;
    AUTO_FREE const char **names = NULL;
    size_t count = 0;
    int r = verb_list_parts(request, volume, snapshot, &list, &count);
    if (r < 0)
        return r;
    names = calloc(count + 1, sizeof(*names));
    if (!names)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        names[i] = list[i].name;
    if (count <= LUN_SET_MAX)
        return verb_show_freed(request, names, count);
    return verb_show_goes(request, names, count);
}

/* How many volume clones depend on it; 0: also if it is not there. */
static int verb_count_dependents(struct verb_request *request, const char *volume,
                                 const char *snapshot, uint32_t *clones)
{
    AUTO_FREE struct volume_snapshot_info *list = NULL;
    size_t count = 0;
    *clones = 0;
    int r = volume_snapshot_list(request->pool, volume, &list, &count, &request->why);
    for (size_t i = 0; r == 0 && i < count; i++)
        if (strcmp(strchr(list[i].name, '@') + 1, snapshot) == 0)
            *clones = list[i].clone_count;
    return r;
}

static void verb_note_freed_parts(struct verb_request *request, const struct lun_info *parts,
                                  size_t count)
{
    AUTO_FREE const char **names = calloc(count + 1, sizeof(*names));
    for (size_t i = 0; names && i < count; i++)
        names[i] = parts[i].name;
    if (names && !verb_bool(request, "dry_run"))
        verb_note_freed(request, names, count);
}

static int verb_volume_snapshot_delete(struct verb_request *request)
{
    const char *volume = verb_string(request, "lun"), *snapshot = verb_string(request, "snapshot");
    unsigned flags = verb_force_flag(request) | (verb_bool(request, "defer") ? LUN_DEFER : 0u);
    uint32_t clones;
    AUTO_FREE struct lun_info *parts = NULL;
    size_t count = 0;
    int r = verb_count_dependents(request, volume, snapshot, &clones);
    if (r == 0 && !verb_bool(request, "dry_run"))
        r = verb_list_parts(request, volume, snapshot, &parts, &count);
    if (r == 0 && clones == 0)
        verb_note_freed_parts(request, parts, count);
    if (r == 0)
        r = volume_snapshot_delete(request->pool, volume, snapshot, flags, &request->why);
    if (r < 0)
        return r;
    request->is_done = true;
    if (clones > 0)
    {
        request->result = json_pack("{s:b, s:I}", "deferred", 1, "clones", (json_int_t)clones);
        return request->result ? 0 : -ENOMEM;
    }
    if (!verb_bool(request, "dry_run"))
        return verb_say_deleted(request, parts, count);
    return verb_plan_volume_snapshot(request, volume, snapshot);
}

int verb_snapshot_delete(struct verb_request *request)
{
    struct lun_info info;
    AUTO_FREE char *name = NULL;
    if (verb_is_volume(request, verb_string(request, "lun")))
        return verb_volume_snapshot_delete(request);
    int r = verb_snapshot_name(request, &name);
    if (r < 0)
        return r;
    verb_await_close(request, name);
    r = lun_get_info(request->pool, name, &info, &request->why);
    if (r == 0 && !verb_bool(request, "dry_run"))
    {
        verb_note_freed(request, (const char *const *)&name, 1);
        r = snapshot_delete(request->pool, verb_string(request, "lun"),
                            verb_string(request, "snapshot"), verb_force_flag(request),
                            &request->why);
        return r < 0 ? r : verb_say_deleted(request, &info, 1);
    }
    if (r < 0)
        return r;
    if (info.open_handles > 0 && !verb_bool(request, "force"))
        return reason_set(&request->why, -EBUSY, "'%s' is open by %u client%s", name,
                          info.open_handles, plural_s(info.open_handles));
    return verb_show_freed(request, (const char *const *)&name, 1);
}

int verb_snapshot_rename(struct verb_request *request)
{
    if (verb_is_volume(request, verb_string(request, "lun")))
        return volume_snapshot_rename(request->pool, verb_string(request, "lun"),
                                      verb_string(request, "snapshot"),
                                      verb_string(request, "new_snapshot"), &request->why);
    return snapshot_rename(request->pool, verb_string(request, "lun"),
                           verb_string(request, "snapshot"), verb_string(request, "new_snapshot"),
                           &request->why);
}

/* What @lun has that its snapshot @name has not is what a restore loses. */
static int verb_count_lost(struct verb_request *request, const char *name, const char *lun,
                           uint64_t *bytes)
{
    size_t size = strlen(name) + strlen(lun) + sizeof("..");
    AUTO_FREE char *difference = malloc(size);
    if (!difference)
        return -ENOMEM;
    stpcpy(stpcpy(stpcpy(difference, name), ".."), lun);
    return verb_count_mapped(request, difference, 0, bytes);
}

/* The LUN was deleted: all that may be in the way is found by a dry run. */
static int verb_plan_revival(struct verb_request *request, const char *name,
                             const struct lun_info *then)
{
    int r = snapshot_restore(request->pool, verb_string(request, "lun"),
                             verb_string(request, "snapshot"), 0, &request->why);
    if (r < 0)
        return r;
    request->result = json_pack("{s:s#, s:s, s:I, s:I, s:I, s:b, s:b}", "lun", name,
                                (int)strcspn(name, "@"), "snapshot", name, "old_size_bytes",
                                (json_int_t)0, "size_bytes", (json_int_t)then->size_bytes,
                                "lost_bytes", (json_int_t)0, "returns", 1, "dry_run", 1);
    return request->result ? 0 : -ENOMEM;
}

static int verb_plan_restore(struct verb_request *request)
{
    struct lun_info now = {0}, then;
    AUTO_FREE char *name = NULL;
    uint64_t changed_bytes = 0;
    int r = verb_snapshot_name(request, &name);
    if (r == 0)
        r = lun_get_info(request->pool, name, &then, &request->why);
    if (r == 0 && then.is_lun_deleted)
        return verb_plan_revival(request, name, &then);
    if (r == 0)
        r = lun_get_info_by_id(request->pool, then.lun_id, &now);
    if (r < 0)
        return r;
    const char *lun = now.name; /* it may have been renamed since */
    if (now.open_handles > 0 && !verb_bool(request, "force"))
        return reason_set(&request->why, -EBUSY, "LUN '%s' is open by %u client%s", lun,
                          now.open_handles, plural_s(now.open_handles));
    r = verb_count_lost(request, name, lun, &changed_bytes);
    if (r < 0)
        return r;
    request->result =
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:b}", "lun", lun, "snapshot", name, "old_size_bytes",
                  (json_int_t)now.size_bytes, "size_bytes", (json_int_t)then.size_bytes,
                  "lost_bytes", (json_int_t)changed_bytes, "dry_run", 1);
    return request->result ? 0 : -ENOMEM;
}

/* What becomes of a LUN that the snapshot of a volume holds, added to @luns; what it loses is
 * counted only in a dry run. */
static int verb_add_restored(struct verb_request *request, const struct lun_info *member,
                             json_t *luns, uint64_t *total_bytes)
{
    struct lun_info now;
    char lun[sizeof(member->name)];
    uint64_t lost_bytes = 0;
    bool returns = member->is_lun_deleted;
    int r = returns ? 0 : lun_get_info_by_id(request->pool, member->lun_id, &now);
    if (r == -ENOENT)
        return 0; /* just now */
    snprintf(lun, sizeof(lun), "%.*s", (int)strcspn(member->name, "@"), member->name);
    if (r == 0 && !returns)
        snprintf(lun, sizeof(lun), "%s", now.name);
    if (r == 0 && !returns && verb_bool(request, "dry_run"))
        r = verb_count_lost(request, member->name, lun, &lost_bytes);
    if (r < 0)
        return r;
    *total_bytes += lost_bytes;
    return json_array_append_new(luns, json_pack("{s:s, s:I, s:b}", "lun", lun, "lost_bytes",
                                                 (json_int_t)lost_bytes, "returns", returns)) == 0
               ? 0
               : -ENOMEM;
}

/* The same for each of them, before it is done, and how many LUNs of the volume it does not hold.
 */
static int verb_plan_volume_restore(struct verb_request *request, const char *volume,
                                    const char *snapshot, json_t **plan)
{
    AUTO_FREE struct lun_info *list = NULL;
    AUTO_JSON json_t *luns = json_array();
    struct volume_info info;
    size_t count = 0;
    uint64_t total_bytes = 0, held = 0;
    int r = lun_list(request->pool, NULL, &list, &count, &request->why);
    if (r == 0)
        r = volume_get_info(request->pool, volume, &info, &request->why);
    for (size_t i = 0; r == 0 && i < count; i++)
    {
        if (!verb_is_part_of(&list[i], info.name, snapshot))
            continue;
        held += !list[i].is_lun_deleted;
        r = verb_add_restored(request, &list[i], luns, &total_bytes);
    }
    if (r < 0)
        return r;
    uint64_t kept = info.lun_count > held ? info.lun_count - held : 0;
    *plan = json_pack("{s:s, s:s, s:O, s:I, s:I, s:b}", "volume", volume, "snapshot", snapshot,
                      "luns", luns, "lost_bytes", (json_int_t)total_bytes, "kept", (json_int_t)kept,
                      "dry_run", verb_bool(request, "dry_run"));
    return *plan ? 0 : -ENOMEM;
}

static int verb_restore_volume(struct verb_request *request)
{
    const char *volume = verb_string(request, "lun"), *snapshot = verb_string(request, "snapshot");
    AUTO_JSON json_t *plan = NULL;
    verb_await_close_volume(request, volume);
    int r = verb_plan_volume_restore(request, volume, snapshot, &plan);
    if (r == 0)
        r = volume_snapshot_restore(request->pool, volume, snapshot, verb_force_flag(request),
                                    &request->why);
    if (r == 0)
        request->result = take_ptr(&plan);
    return r;
}

int verb_snapshot_restore(struct verb_request *request)
{
    if (verb_is_volume(request, verb_string(request, "lun")))
        return verb_restore_volume(request);
    verb_await_close(request, verb_string(request, "lun"));
    if (verb_bool(request, "dry_run"))
        return verb_plan_restore(request);
    return snapshot_restore(request->pool, verb_string(request, "lun"),
                            verb_string(request, "snapshot"), verb_force_flag(request),
                            &request->why);
}
