/* SPDX-License-Identifier: BSD-3-Clause */
/* Verbs on volumes and qtrees. Dry runs as in verbs_lun.c. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/mgmt/proto.h"
#include "server/mgmt/verbs.h"
#include "server/mgmt/verbs_internal.h"
#include "server/mgmt/view.h"

/* What the request says of the attributes, and which: *mask. */
static int verb_volume_attributes(struct verb_request *request,
                                  struct volume_attributes *attributes, unsigned *mask)
{
    const char *policy = verb_string(request, "full_policy");
    *attributes = (struct volume_attributes){
        .size_bytes = verb_number(request, "size_bytes", 0),
        .is_guaranteed = verb_bool(request, "guarantee"),
        .pauses_when_full = policy && strcmp(policy, "pause") == 0,
        .pause_ms = (uint32_t)verb_number(request, "pause_ms", 0),
        .locked_until_ns = verb_time(request, "locked_until"),
        .comment = verb_string(request, "comment"),
    };
    *mask = (verb_has(request, "size_bytes") ? VOLUME_SET_SIZE : 0u) |
            (verb_has(request, "guarantee") ? VOLUME_SET_GUARANTEE : 0u) |
            (policy || verb_has(request, "pause_ms") ? VOLUME_SET_FULL_POLICY : 0u) |
            (verb_has(request, "locked_until") ? VOLUME_SET_LOCKED_UNTIL : 0u) |
            (verb_has(request, "comment") ? VOLUME_SET_COMMENT : 0u);
    if (policy && !attributes->pauses_when_full && strcmp(policy, "error") != 0)
        return reason_set(&request->why, -EINVAL,
                          "what writes do when there is no room is \"error\" or \"pause\", not "
                          "\"%.60s\"",
                          policy);
    if (verb_number(request, "pause_ms", 0) > UINT32_MAX)
        return reason_set(&request->why, -EINVAL, "writes can pause for 49 days at most");
    return 0;
}

/* The volume as it is, or that a dry run would make, and what was promised by the command. */
static int verb_volume_result(struct verb_request *request, const char *name,
                              int64_t promised_bytes)
{
    struct volume_info info;
    struct pool_info pool;
    int r = volume_get_info(request->pool, name, &info, NULL);
    if (r == -ENOENT && verb_bool(request, "dry_run"))
    {
        pool_get_info(request->pool, &pool);
        request->result = json_pack("{s:s, s:I, s:b}", "name", name, "available_bytes",
                                    (json_int_t)pool.available_bytes, "dry_run", 1);
        return request->result ? verb_put_promised(request, promised_bytes) : -ENOMEM;
    }
    if (r < 0)
        return r;
    request->result = view_volume(&info);
    verb_policy_view(request, POLICY_OF_VOLUME, request->result);
    verb_view_unset(request);
    verb_view_class(request, true, request->result);
    return request->result ? verb_put_promised(request, promised_bytes) : -ENOMEM;
}

/* What the server does by itself for the volume; @id 0: for the one that is made. */
static int verb_volume_put_policy(struct verb_request *request, uint64_t id, unsigned mask,
                                  const struct policy_settings *settings, struct policy_put *put)
{
    return policy_put_begin(target_policy(request->target), POLICY_OF_VOLUME, id, mask, settings,
                            put, &request->why);
}

static int verb_volume_set_class(struct verb_request *request, const char *name)
{
    struct volume_info info;
    if (!verb_has(request, "qos") || verb_bool(request, "dry_run"))
        return 0;
    int r = volume_get_info(request->pool, name, &info, &request->why);
    return r < 0 ? r : verb_classify(request, true, info.id);
}

int verb_volume_create(struct verb_request *request)
{
    struct volume_attributes attributes;
    struct policy_settings settings;
    unsigned mask, policy_mask;
    CLEANUP(policy_put_end) struct policy_put put = {0};
    const char *name = verb_string(request, "name");
    int r = verb_volume_attributes(request, &attributes, &mask);
    if (r == 0)
        r = verb_policy_args(request, POLICY_OF_VOLUME, &settings, &policy_mask);
    if (r == 0)
        r = verb_check_class(request);
    if (r == 0)
        r = verb_volume_put_policy(request, 0, policy_mask, &settings, &put);
    attributes.also = put.also;
    if (r == 0)
        r = volume_create(request->pool, name, &attributes, &request->why);
    int64_t promised_bytes = command_promised_bytes();
    policy_put_end(&put);
    if (r < 0)
        return r;
    r = verb_volume_set_class(request, name);
    request->is_done = r == 0;
    if (r == 0)
        return verb_volume_result(request, name, promised_bytes);
    ignore_error(volume_delete(request->pool, name, false, 0, NULL), "it is empty");
    return r;
}

/* As verb_change_lun(). */
static int verb_change_volume(struct verb_request *request, const struct volume_info *info,
                              struct volume_attributes *attributes, unsigned mask,
                              unsigned policy_mask, const struct policy_settings *policies)
{
    CLEANUP(verb_settings_end) struct verb_settings settings;
    int r =
        verb_settings_begin(request, POLICY_OF_VOLUME, info->id, policy_mask, policies, &settings);
    attributes->also = settings.also;
    attributes->only_id = info->id;
    if (r == 0)
        r = mask != 0
                ? volume_modify(request->pool, info->name, mask, attributes, &request->why)
                : store_apply(request->pool, settings.changes, settings.also.count, &request->why);
    settings.is_stored = r == 0 && !verb_bool(request, "dry_run");
    return r;
}

int verb_volume_modify(struct verb_request *request)
{
    struct volume_attributes attributes;
    struct policy_settings settings;
    struct volume_info info;
    unsigned mask, policy_mask = 0;
    const char *name = verb_string(request, "name");
    int r = verb_volume_attributes(request, &attributes, &mask);
    if (r == 0)
        r = verb_policy_args(request, POLICY_OF_VOLUME, &settings, &policy_mask);
    if (r == 0 && mask == 0 && policy_mask == 0 && !verb_has(request, "qos"))
        r = reason_set(&request->why, -EINVAL, "nothing of volume '%s' is to be changed", name);
    if (r == 0)
        r = volume_get_info(request->pool, name, &info, &request->why);
    if (r == 0)
        r = verb_change_volume(request, &info, &attributes, mask, policy_mask, &settings);
    int64_t promised_bytes = r == 0 && mask != 0 ? command_promised_bytes() : 0;
    if (r < 0)
        return r;
    request->is_done = true;
    ignore_error(volume_get_info_by_id(request->pool, info.id, &info),
                 "deleted just now: nothing of that name is found");
    return verb_volume_result(request, info.name, promised_bytes);
}

int verb_volume_show(struct verb_request *request)
{
    AUTO_FREE struct volume_info *list = NULL;
    CLEANUP(verb_classes_free) struct verb_classes classes = {0};
    size_t count = 0;
    struct volume_info one;
    const char *name = verb_string(request, "name");
    int r = name ? volume_get_info(request->pool, name, &one, &request->why)
                 : volume_list(request->pool, &list, &count);
    if (r == 0)
        r = verb_classes_load(request, &classes);
    if (r < 0)
        return r;
    json_t *array = json_array();
    for (size_t i = 0; i < (name ? 1 : count); i++)
    {
        json_t *view = view_volume(name ? &one : &list[i]);
        verb_policy_view(request, POLICY_OF_VOLUME, view);
        verb_classes_view(&classes, true, view);
        if (json_array_append_new(array, view) != 0)
            r = -ENOMEM;
    }
    request->result = view_listing("volumes", array);
    return request->result ? r : -ENOMEM;
}

int verb_volume_rename(struct verb_request *request)
{
    return volume_rename(request->pool, verb_string(request, "name"),
                         verb_string(request, "new_name"), &request->why);
}

/* The LUNs and snapshots in a volume; *names to be freed, not what it points to: *list's. */
static int verb_volume_contents(struct verb_request *request, const char *volume,
                                struct lun_info **list, const char ***names, size_t *count)
{
    struct volume_info info;
    size_t all = 0, n = 0;
    int r = volume_get_info(request->pool, volume, &info, &request->why);
    if (r == 0)
        r = lun_list(request->pool, NULL, list, &all, &request->why);
    if (r < 0)
        return r;
    *names = calloc(all + 1, sizeof(**names));
    if (!*names)
        return -ENOMEM;
    size_t len = strlen(info.name);
    for (size_t i = 0; i < all; i++)
        if (strncmp((*list)[i].name, info.name, len) == 0 && (*list)[i].name[len] == '/')
            (*names)[n++] = (*list)[i].name;
    *count = n;
    return 0;
}

/* The snapshot that clone @info depends on. */
static int verb_find_backing(struct verb_request *request, const struct volume_info *info,
                             struct volume_snapshot_info *backing)
{
    AUTO_FREE struct volume_snapshot_info *list = NULL;
    size_t count = 0;
    int r = volume_snapshot_list(request->pool, NULL, &list, &count, &request->why);
    for (size_t i = 0; r == 0 && i < count; i++)
        if (list[i].id == info->parent_snapshot_id)
        {
            *backing = list[i];
            return 0;
        }
    return r < 0
               ? r
               : reason_set(&request->why, -EINVAL,
                            "volume '%s' is no clone of another, or is split already: no snapshot "
                            "backs it",
                            info->name);
}

/* Now, or with its last dependent. */
static int verb_try_backing(struct verb_request *request, struct volume_snapshot_info *backing)
{
    char *at = strchr(backing->name, '@');
    *at = '\0';
    int r = volume_snapshot_delete(request->pool, backing->name, at + 1, LUN_DEFER, &request->why);
    *at = '@';
    /* Somebody had asked for that already: it went with this clone, its last. */
    return r == -ENOENT ? 0 : r;
}

/* After @what, which stays done. */
static int verb_delete_backing(struct verb_request *request, struct volume_snapshot_info *backing,
                               const char *what)
{
    int r = verb_try_backing(request, backing);
    if (r == 0)
        return 0;
    struct reason why = request->why;
    return reason_set(
        &request->why, r,
        "volume '%s' is %s, but its backing snapshot stays: %.600s; 'lunette snapshot "
        "delete %s --defer' deletes it",
        verb_string(request, "name"), what, why.text[0] ? why.text : strerror(-r), backing->name);
}

/* Which one goes with clone @info, if that is asked for, and whether it may; else its id is 0. */
static int verb_plan_backing(struct verb_request *request, const struct volume_info *info,
                             struct volume_snapshot_info *backing)
{
    *backing = (struct volume_snapshot_info){0};
    if (!verb_bool(request, "delete_backing_snapshot"))
        return 0;
    int r = verb_find_backing(request, info, backing);
    if (r < 0)
        return r;
    command_dry_run(true);
    r = verb_try_backing(request, backing);
    command_dry_run(verb_bool(request, "dry_run"));
    return r;
}

/* Adds which snapshot goes with clone @name, or stays for other clones. */
static int verb_say_backing(struct verb_request *request,
                            const struct volume_snapshot_info *backing)
{
    if (backing->id == 0)
        return 0;
    uint32_t others = backing->clone_count > 0 ? backing->clone_count - 1 : 0;
    return json_object_update_new(request->result,
                                  json_pack("{s:s, s:b, s:I}", "backing_snapshot", backing->name,
                                            "backing_deferred", (int)(others > 0), "backing_clones",
                                            (json_int_t)others)) == 0
               ? 0
               : -ENOMEM;
}

/* The LUNs' snapshots that go with the backing one: none while others depend on it. */
static int verb_backing_parts(struct verb_request *request,
                              const struct volume_snapshot_info *backing, struct lun_info **list,
                              size_t *count)
{
    char name[sizeof(backing->name)];
    *count = 0;
    if (backing->id == 0 || backing->clone_count > 1)
        return 0;
    snprintf(name, sizeof(name), "%s", backing->name);
    char *at = strchr(name, '@');
    *at = '\0';
    return verb_list_parts(request, name, at + 1, list, count);
}

/* Result: all of @names and the parts of the backing snapshot that go, and what that frees. */
static int verb_plan_gone(struct verb_request *request, const char *const *names, size_t count,
                          const struct volume_snapshot_info *backing)
{
    AUTO_FREE struct lun_info *parts = NULL;
    size_t part_count = 0;
    int r = verb_backing_parts(request, backing, &parts, &part_count);
    if (r < 0)
        return r;
    AUTO_FREE const char **all = calloc(count + part_count + 1, sizeof(*all));
    if (!all)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        all[i] = names[i];
    for (size_t i = 0; i < part_count; i++)
        all[count + i] = parts[i].name;
    if (count + part_count <= LUN_SET_MAX)
        r = verb_show_freed(request, all, count + part_count);
    else
        r = verb_show_goes(request, all, count + part_count);
    return r < 0 ? r : verb_say_backing(request, backing);
}

/* The same before it is done: no result if it cannot be told. */
static void verb_note_gone(struct verb_request *request, const char *const *names, size_t count,
                           const struct volume_snapshot_info *backing)
{
    if (verb_plan_gone(request, names, count, backing) == 0)
        return;
    json_decref(request->result);
    request->result = NULL;
    reason_clear(&request->why);
}

/*
 * Of a dry run that was refused with @r: the options with which it would not be, in *needs, to be
 * freed. Without any that helps it stays refused.
 */
static int verb_find_needs(struct verb_request *request, int r, json_t **needs)
{
    const char *name = verb_string(request, "name");
    bool with_contents = verb_bool(request, "with_contents");
    bool force = verb_bool(request, "force");
    for (unsigned added = 1; r == -EBUSY && added <= 3; added++)
    {
        bool adds_contents = added & 1, adds_force = added & 2;
        if ((adds_contents && with_contents) || (adds_force && force) ||
            volume_delete(request->pool, name, adds_contents || with_contents,
                          adds_force || force ? LUN_FORCE : 0, NULL) < 0)
            continue;
        *needs = json_array();
        int bad = *needs ? 0 : -1;
        if (adds_contents)
            bad |= json_array_append_new(*needs, json_string("--with-contents"));
        if (adds_force)
            bad |= json_array_append_new(*needs, json_string("--force"));
        return bad ? -ENOMEM : 0;
    }
    return r;
}

/* The dry run, of which volume_delete() has returned @r. */
static int verb_plan_volume(struct verb_request *request, int r, const char *const *names,
                            size_t count, const struct volume_snapshot_info *backing)
{
    AUTO_JSON json_t *needs = NULL;
    struct reason refused = request->why;
    if (r < 0)
        r = verb_find_needs(request, r, &needs);
    if (r == 0)
        r = verb_plan_gone(request, names, count, backing);
    if (r < 0 || !needs)
        return r;
    return json_object_update_new(request->result, json_pack("{s:s, s:O}", "refused", refused.text,
                                                             "needs", needs)) == 0
               ? 0
               : -ENOMEM;
}

int verb_volume_delete(struct verb_request *request)
{
    struct volume_snapshot_info backing = {0};
    AUTO_FREE struct lun_info *list = NULL;
    AUTO_FREE const char **names = NULL;
    size_t count = 0;
    const char *name = verb_string(request, "name");
    struct volume_info info;
    int r = volume_get_info(request->pool, name, &info, &request->why);
    if (r == 0)
        r = verb_plan_backing(request, &info, &backing);
    if (r == 0)
        r = verb_volume_contents(request, name, &list, &names, &count);
    if (r == 0 && verb_bool(request, "with_contents"))
        verb_await_close_volume(request, name);
    if (r < 0)
        return r;
    if (!verb_bool(request, "dry_run"))
        verb_note_gone(request, names, count, &backing);
    r = volume_delete(request->pool, name, verb_bool(request, "with_contents"),
                      verb_force_flag(request), &request->why);
    if (verb_bool(request, "dry_run"))
        return verb_plan_volume(request, r, names, count, &backing);
    if (r == 0)
        verb_forget_volume_class(request, info.id);
    if (r == 0 && backing.id != 0)
        r = verb_delete_backing(request, &backing, "deleted");
    if (r < 0)
        return r;
    request->is_done = true;
    if (!request->result)
        request->result = json_object();
    ignore_error(json_object_del(request->result, "goes"), "it went");
    r = json_object_update_new(request->result,
                               json_pack("{s:[s], s:I, s:I}", "deleted", info.name, "id",
                                         (json_int_t)info.id, "contents", (json_int_t)count));
    return r == 0 ? verb_say_backing(request, &backing) : -ENOMEM;
}

int verb_volume_clone(struct verb_request *request)
{
    struct volume_clone_args args = {
        .volume = verb_string(request, "volume"),
        .snapshot = verb_string(request, "snapshot"),
        .name = verb_string(request, "name"),
        .unguaranteed = verb_bool(request, "no_guarantee"),
        .no_reserve = verb_bool(request, "no_reserve"),
        .unlocked = verb_bool(request, "unlocked"),
        .comment = verb_string(request, "comment"),
    };
    struct volume_info parent;
    int r = volume_get_info(request->pool, args.volume, &parent, &request->why);
    if (r == 0)
        r = verb_check_whole_volume(request, args.volume, args.snapshot);
    if (r == 0)
        r = verb_check_class(request);
    if (r == 0)
        r = volume_clone(request->pool, &args, &request->why);
    int64_t promised_bytes = command_promised_bytes();
    if (r == 0 && (r = verb_volume_set_class(request, args.name)) < 0)
        r = verb_say_unclassified(request, r);
    request->is_done = r == 0;
    if (r == 0)
        r = verb_volume_result(request, args.name, promised_bytes);
    if (r < 0)
        return r;
    return json_object_update_new(request->result,
                                  json_pack("{s:s, s:I, s:I, s:I}", "volume", parent.name, "luns",
                                            (json_int_t)parent.lun_count, "mapped_bytes",
                                            (json_int_t)parent.mapped_bytes, "taken_data_bytes",
                                            (json_int_t)0)) == 0
               ? 0
               : -ENOMEM;
}

/* What a physical split copies: what the *count LUNs of the volume share. */
static int verb_shared_bytes(struct verb_request *request, uint64_t volume_id, size_t *count,
                             uint64_t *shared_bytes)
{
    AUTO_FREE struct lun_info *list = NULL;
    size_t all = 0;
    *count = 0;
    *shared_bytes = 0;
    int r = lun_list(request->pool, NULL, &list, &all, &request->why);
    for (size_t i = 0; r == 0 && i < all; i++)
        if (list[i].volume_id == volume_id && list[i].kind == OBJECT_LUN)
        {
            *shared_bytes += list[i].shared_bytes;
            ++*count;
        }
    return r;
}

int verb_volume_split_estimate(struct verb_request *request)
{
    struct volume_info info;
    size_t count = 0;
    uint64_t shared_bytes = 0;
    const char *name = verb_string(request, "name");
    int r = volume_get_info(request->pool, name, &info, &request->why);
    if (r == 0 && info.parent_snapshot_id == 0)
        r = reason_set(&request->why, -EINVAL,
                       "volume '%s' is no clone of another, or is split already", name);
    if (r == 0)
        r = verb_shared_bytes(request, info.id, &count, &shared_bytes);
    if (r < 0)
        return r;
    struct pool_info pool;
    pool_get_info(request->pool, &pool);
    request->result =
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:i}", "volume", info.name, "parent", info.parent,
                  "luns", (json_int_t)count, "shared_bytes", (json_int_t)shared_bytes,
                  "available_bytes", (json_int_t)pool.available_bytes, "needed_bytes", 0);
    return request->result ? 0 : -ENOMEM;
}

/* Adds what a physical split copies, and what is there for it. */
static int verb_say_copied(struct verb_request *request, const struct volume_info *info)
{
    uint64_t shared_bytes;
    size_t count;
    int r = verb_shared_bytes(request, info->id, &count, &shared_bytes);
    if (r < 0)
        return r;
    return json_object_update_new(request->result,
                                  json_pack("{s:I, s:I, s:I}", "luns", (json_int_t)count,
                                            "needed_bytes", (json_int_t)shared_bytes,
                                            "available_bytes",
                                            (json_int_t)info->available_bytes)) == 0
               ? 0
               : -ENOMEM;
}

/* Adds what becomes of the backing snapshot, and in a dry run what that frees. */
static int verb_say_split_backing(struct verb_request *request,
                                  const struct volume_snapshot_info *backing)
{
    if (backing->id == 0)
        return 0;
    if (!verb_bool(request, "dry_run"))
        return verb_say_backing(request, backing);
    json_t *said = request->result;
    request->result = NULL;
    int r = verb_plan_gone(request, NULL, 0, backing);
    if (r == 0 && json_object_update_missing(request->result, said) != 0)
        r = -ENOMEM;
    json_decref(said);
    return r;
}

int verb_volume_split(struct verb_request *request)
{
    const char *name = verb_string(request, "name");
    bool is_physical = verb_bool(request, "physical");
    struct volume_snapshot_info backing = {0};
    struct volume_info info;
    if (!is_physical && verb_has(request, "rate_bytes"))
        return reason_set(&request->why, -EINVAL, "a rate is for a physical split");
    int r = volume_get_info(request->pool, name, &info, &request->why);
    if (r == 0)
        r = verb_plan_backing(request, &info, &backing);
    if (r == 0)
        r = is_physical ? verb_volume_split_physical(request)
                        : volume_clone_split(request->pool, name, &request->why);
    if (r == 0 && backing.id != 0 && !verb_bool(request, "dry_run"))
        r = verb_delete_backing(request, &backing, is_physical ? "being split" : "split");
    request->is_done = r == 0;
    if (r == 0)
        r = is_physical ? verb_say_copied(request, &info) : verb_volume_result(request, name, 0);
    return r < 0 ? r : verb_say_split_backing(request, &backing);
}

/* ---- qtrees -------------------------------------------------------------------------------- */

int verb_qtree_create(struct verb_request *request)
{
    return qtree_create(request->pool, verb_string(request, "path"),
                        verb_string(request, "comment"), &request->why);
}

int verb_qtree_show(struct verb_request *request)
{
    AUTO_FREE struct qtree_info *list = NULL;
    size_t count;
    int r = qtree_list(request->pool, verb_string(request, "volume"), &list, &count, &request->why);
    if (r < 0)
        return r;
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(array, view_qtree(&list[i])) != 0)
            r = -ENOMEM;
    request->result = view_listing("qtrees", array);
    return request->result ? r : -ENOMEM;
}

int verb_qtree_rename(struct verb_request *request)
{
    return qtree_rename(request->pool, verb_string(request, "path"),
                        verb_string(request, "new_name"), &request->why);
}

int verb_qtree_delete(struct verb_request *request)
{
    return qtree_delete(request->pool, verb_string(request, "path"), &request->why);
}
