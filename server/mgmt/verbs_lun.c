/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Verbs on LUNs.
 *
 * A dry run refuses what the real one would refuse, as far as can be known without doing it, and
 * otherwise says what would go or be taken. That of a delete says so too where only an option is
 * missing, and which.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lun/base/checked.h"
#include "lun/base/size_text.h"
#include "server/mgmt/proto.h"
#include "server/mgmt/verbs.h"
#include "server/mgmt/verbs_internal.h"
#include "server/mgmt/view.h"
#include "server/units.h"

enum
{
    VERB_EXTENTS = 256,
    VERB_CLOSE_MS = 2000,
    VERB_CLOSE_PAUSE_MS = 10,
};

unsigned verb_force_flag(const struct verb_request *request)
{
    return verb_bool(request, "force") ? LUN_FORCE : 0;
}

uint64_t verb_time(const struct verb_request *request, const char *name)
{
    uint64_t seconds = verb_number(request, name, 0);
    return seconds > UINT64_MAX / 1000000000 ? UINT64_MAX : seconds * 1000000000;
}

static struct lun_attributes verb_attributes(const struct verb_request *request)
{
    return (struct lun_attributes){.is_reserved = verb_bool(request, "reserve"),
                                   .is_autodelete = verb_bool(request, "autodelete"),
                                   .expire_ns = verb_time(request, "expire"),
                                   .locked_until_ns = verb_time(request, "locked_until"),
                                   .owner = verb_string(request, "owner"),
                                   .group = verb_string(request, "group")};
}

/* What a write to LUN @name finds: in its volume, if it is in one. */
static uint64_t verb_available_bytes(struct verb_request *request, const char *name,
                                     const struct pool_info *pool)
{
    struct volume_info info;
    char volume[LUN_NAME_MAX + 1];
    if (strncmp(name, "/vol/", 5) == 0)
        name += 5;
    snprintf(volume, sizeof(volume), "%.*s", (int)strcspn(name, "/"), name);
    bool is_in_one = strchr(name, '/') && volume_get_info(request->pool, volume, &info, NULL) == 0;
    return is_in_one ? info.available_bytes : pool->available_bytes;
}

/* The ids of @name, which is there now. */
static int verb_say_ids(struct verb_request *request, const char *name)
{
    struct lun_info info;
    if (verb_bool(request, "dry_run") || lun_get_info(request->pool, name, &info, NULL) < 0)
        return 0;
    json_t *view = view_lun(&info);
    int bad = json_object_set(request->result, "id", json_object_get(view, "id"));
    bad |= json_object_set(request->result, "uuid", json_object_get(view, "uuid"));
    json_decref(view);
    return bad ? -ENOMEM : 0;
}

int verb_put_promised(struct verb_request *request, int64_t promised_bytes)
{
    return json_object_set_new(request->result, "promised_bytes", json_integer(promised_bytes)) == 0
               ? 0
               : -ENOMEM;
}

/* What is taken of the pool's free space, by a promise, and what is there now for LUN @name. */
static int verb_say_space(struct verb_request *request, int64_t promised_bytes, const char *name)
{
    struct pool_info now;
    pool_get_info(request->pool, &now);
    int r = json_object_update_new(
        request->result, json_pack("{s:i, s:I}", "taken_bytes", 0, "available_bytes",
                                   (json_int_t)verb_available_bytes(request, name, &now)));
    return r == 0 ? verb_put_promised(request, promised_bytes) : -ENOMEM;
}

/* What was made, or would be. */
static int verb_say_created(struct verb_request *request, const struct lun_create_args *args,
                            const struct verb_import *import, int64_t promised_bytes)
{
    request->result = json_pack(
        "{s:s, s:I, s:b, s:b}", "name", args->name, "size_bytes", (json_int_t)args->size_bytes,
        "reserved", args->attributes.is_reserved, "dry_run", verb_bool(request, "dry_run"));
    if (!request->result)
        return -ENOMEM;
    int r = verb_import_say(request, import);
    if (r == 0)
        r = verb_say_ids(request, args->name);
    return r < 0 ? r : verb_say_space(request, promised_bytes, args->name);
}

int verb_lun_create(struct verb_request *request)
{
    struct lun_create_args args = {
        .name = verb_string(request, "name"),
        .size_bytes = verb_number(request, "size_bytes", 0),
        .sector_bytes = (uint32_t)verb_number(request, "sector_bytes", 0),
        .comment = verb_string(request, "comment"),
        .attributes = verb_attributes(request),
    };
    struct verb_import import = {0};
    if (verb_number(request, "sector_bytes", 0) > 4096)
        return reason_set(&request->why, -EINVAL, "a sector has 512 or 4096 bytes");
    int r = verb_check_class(request);
    if (r == 0)
        r = verb_import_begin(request, &import);
    args.attributes.also = import.also;
    /* A dry run has not made way for it. */
    bool is_there = import.resumes || (import.replaces && verb_bool(request, "dry_run"));
    if (r == 0 && !is_there)
        r = lun_create(request->pool, &args, &request->why);
    if (r < 0 && import.replaces && !is_there)
        return verb_import_say_lost(request, r);
    int64_t promised_bytes = is_there ? 0 : command_promised_bytes();
    if (r == 0)
        r = verb_classify_clones(request, args.name, 1, 0);
    if (r < 0)
        return r;
    request->is_done = true; /* an importer that is not told where to write deletes it again */
    return verb_say_created(request, &args, &import, promised_bytes);
}

static unsigned verb_attribute_mask(const struct verb_request *request)
{
    return (verb_has(request, "reserve") ? LUN_SET_RESERVED : 0u) |
           (verb_has(request, "autodelete") ? LUN_SET_AUTODELETE : 0u) |
           (verb_has(request, "expire") ? LUN_SET_EXPIRE : 0u) |
           (verb_has(request, "locked_until") ? LUN_SET_LOCKED_UNTIL : 0u) |
           (verb_has(request, "owner") ? LUN_SET_OWNER : 0u) |
           (verb_has(request, "group") ? LUN_SET_GROUP : 0u);
}

/* All of it is one record, of the LUN that was found, whoever has its name by then. */
static int verb_change_lun(struct verb_request *request, const struct lun_info *info,
                           unsigned policy_mask, const struct policy_settings *policies,
                           int64_t *promised_bytes)
{
    CLEANUP(verb_settings_end) struct verb_settings settings;
    unsigned mask = verb_attribute_mask(request);
    struct lun_attributes attributes = verb_attributes(request);
    int r = verb_settings_begin(request, POLICY_OF_LUN, info->id, policy_mask, policies, &settings);
    attributes.also = settings.also;
    attributes.only_id = info->id;
    if (r == 0)
        r = mask != 0
                ? lun_set_attributes(request->pool, info->name, mask, &attributes, &request->why)
                : store_apply(request->pool, settings.changes, settings.also.count, &request->why);
    *promised_bytes = r == 0 && mask != 0 ? command_promised_bytes() : 0;
    settings.is_stored = r == 0 && !verb_bool(request, "dry_run");
    return r;
}

int verb_lun_attributes(struct verb_request *request)
{
    const char *name = verb_string(request, "name");
    unsigned mask = verb_attribute_mask(request), policy_mask;
    int64_t promised_bytes = 0;
    struct policy_settings settings;
    struct lun_info info;
    int r = verb_policy_args(request, POLICY_OF_LUN, &settings, &policy_mask);
    if (r < 0)
        return r;
    if (mask == 0 && policy_mask == 0 && !verb_has(request, "qos"))
        return reason_set(&request->why, -EINVAL, "nothing of LUN '%s' is to be changed", name);
    r = lun_get_info(request->pool, name, &info, &request->why);
    if (r == 0 && (policy_mask != 0 || verb_has(request, "qos")) && info.kind != OBJECT_LUN)
        r = reason_set(&request->why, -EINVAL, "'%s' is a snapshot, which does nothing by itself",
                       name);
    if (r == 0)
        r = verb_change_lun(request, &info, policy_mask, &settings, &promised_bytes);
    if (r < 0)
        return r;
    request->is_done = true;
    ignore_error(lun_get_info_by_id(request->pool, info.id, &info),
                 "deleted just now: what it was");
    struct pool_info pool;
    pool_get_info(request->pool, &pool);
    request->result = view_lun(&info);
    verb_policy_view(request, POLICY_OF_LUN, request->result);
    verb_view_unset(request);
    if (info.kind == OBJECT_LUN)
        verb_view_class(request, false, request->result);
    uint64_t available_bytes = verb_available_bytes(request, info.name, &pool);
    return json_object_set_new(request->result, "available_bytes",
                               proto_json_uint(available_bytes)) == 0
               ? verb_put_promised(request, promised_bytes)
               : -ENOMEM;
}

/* What LUNs are shown with beside what the engine has of them. */
struct verb_lun_context
{
    struct verb_classes classes;
    struct volume_info *volumes;
    size_t volume_count;
    uint64_t *imports; /* ids of LUNs that are not whole */
    size_t import_count;
    struct pool_info pool;
};

static void verb_lun_context_free(struct verb_lun_context *context)
{
    verb_classes_free(&context->classes);
    free(context->volumes);
    free(context->imports);
}

static int verb_lun_context_load(struct verb_request *request, struct verb_lun_context *context)
{
    int r = verb_classes_load(request, &context->classes);
    if (r == 0)
        r = volume_list(request->pool, &context->volumes, &context->volume_count);
    if (r == 0)
        r = import_list(request->pool, &context->imports, &context->import_count);
    pool_get_info(request->pool, &context->pool);
    return r;
}

static json_t *verb_view_importing(json_t *view, bool is_importing)
{
    if (view)
        ignore_error(json_object_set_new(view, "importing", json_boolean(is_importing)),
                     "shown only");
    return view;
}

/* Of a LUN or snapshot; NULL: no memory. */
static json_t *verb_view_lun(struct verb_request *request, const struct lun_info *info,
                             const struct verb_lun_context *context)
{
    json_t *view = verb_view_importing(
        view_lun(info), import_is_among(context->imports, context->import_count, info->lun_id));
    if (!view || info->kind != OBJECT_LUN)
        return view;
    verb_policy_view(request, POLICY_OF_LUN, view);
    verb_classes_view(&context->classes, false, view);
    uint64_t available_bytes = verb_lun_available(info, context->volumes, context->volume_count,
                                                  context->pool.available_bytes);
    ignore_error(json_object_set_new(view, "available_bytes", proto_json_uint(available_bytes)),
                 "shown only");
    return view;
}

static int verb_lun_show_one(struct verb_request *request, const char *name)
{
    AUTO_FREE uint64_t *imports = NULL;
    struct lun_info info;
    size_t count = 0;
    int r = lun_get_info(request->pool, name, &info, &request->why);
    if (r == 0)
        r = import_list(request->pool, &imports, &count);
    if (r < 0)
        return r;
    json_t *array = json_array();
    json_t *view =
        verb_view_importing(view_lun(&info), import_is_among(imports, count, info.lun_id));
    if (json_array_append_new(array, view) != 0)
        r = -ENOMEM;
    request->result = view_listing("luns", array);
    return r;
}

int verb_lun_show(struct verb_request *request)
{
    AUTO_FREE struct lun_info *list = NULL;
    CLEANUP(verb_lun_context_free) struct verb_lun_context context = {0};
    size_t count;
    const char *name = verb_string(request, "name");
    struct lun_info one;
    if (name && (strchr(name, '@') || verb_bool(request, "exact")))
        return verb_lun_show_one(request, name);
    int r = lun_list(request->pool, name, &list, &count, &request->why);
    struct volume_info volume;
    if (r == -ENOENT && name && volume_get_info(request->pool, name, &volume, NULL) == 0)
        return reason_set(&request->why, r,
                          "'%s' is a volume; `lunette lun show '%s/*'` lists the LUNs in it", name,
                          name);
    if (r == 0 && name && list[0].kind != OBJECT_LUN && !verb_bool(request, "snapshots"))
        r = lun_get_info(request->pool, name, &one,
                         &request->why); /* which says what became of it */
    if (r == 0)
        r = verb_lun_context_load(request, &context);
    if (r < 0)
        return r;
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
    {
        if (list[i].kind != OBJECT_LUN && !verb_bool(request, "snapshots"))
            continue;
        if (json_array_append_new(array, verb_view_lun(request, &list[i], &context)) != 0)
            r = -ENOMEM;
    }
    request->result = view_listing("luns", array);
    return request->result ? r : -ENOMEM;
}

/* The arguments that all ways to clone have. */
static struct lun_clone_args verb_clone_args(const struct verb_request *request)
{
    return (struct lun_clone_args){.comment = verb_string(request, "comment"),
                                   .no_reserve = verb_bool(request, "no_reserve"),
                                   .unlocked = verb_bool(request, "unlocked"),
                                   .autodelete = verb_bool(request, "autodelete"),
                                   .expire_ns = verb_time(request, "expire"),
                                   .owner = verb_string(request, "owner"),
                                   .group = verb_string(request, "group")};
}

static int verb_say_clone(struct verb_request *request, const struct lun_info *source,
                          uint64_t count)
{
    return json_object_update_new(request->result,
                                  json_pack("{s:I, s:I, s:i, s:I, s:b}", "count", (json_int_t)count,
                                            "size_bytes", (json_int_t)source->size_bytes,
                                            "taken_data_bytes", 0, "shared_bytes",
                                            (json_int_t)source->mapped_bytes, "dry_run",
                                            verb_bool(request, "dry_run"))) == 0
               ? 0
               : -ENOMEM;
}

int verb_lun_clone(struct verb_request *request)
{
    uint64_t count = verb_number(request, "count", 1);
    struct lun_clone_args args = verb_clone_args(request);
    args.source = verb_string(request, "source");
    args.name = verb_string(request, "name");
    args.count = (uint32_t)count;
    args.first_number = (uint32_t)verb_number(request, "first_number", 0);
    if (count < 1 || count > LUN_CLONES_AT_ONCE_MAX ||
        verb_number(request, "first_number", 0) > INT32_MAX)
        return reason_set(&request->why, -EINVAL,
                          "%" PRIu64 " clones at once; 1 to %d are possible", count,
                          LUN_CLONES_AT_ONCE_MAX);
    struct lun_info source;
    AUTO_JSON json_t *mappings = json_array();
    int r = lun_get_info(request->pool, args.source, &source, &request->why);
    if (r == 0)
        r = import_check(request->pool, &source, &request->why);
    if (r == 0)
        r = verb_check_igroup(request);
    if (r == 0)
        r = verb_check_class(request);
    if (r == 0)
        r = lun_clone(request->pool, &args, &request->why);
    int64_t promised_bytes = command_promised_bytes();
    if (r == 0)
        r = verb_classify_clones(request, args.name, args.count, args.first_number);
    if (r == 0)
        r = verb_map_clones(request, args.name, args.count, args.first_number, mappings);
    if (r < 0)
        return r;
    request->is_done = true;
    request->result = json_pack("{s:s, s:s, s:O}", "source", args.source, "name", args.name,
                                "mappings", mappings);
    if (!request->result)
        return -ENOMEM;
    r = verb_say_space(request, promised_bytes, args.name);
    if (r == 0 && !verb_has(request, "count"))
        r = verb_say_ids(request, args.name);
    return r < 0 ? r : verb_say_clone(request, &source, count);
}

/* What each of @pairs shares with its source. */
static int verb_view_pairs(struct verb_request *request, const struct lun_pair *pairs, size_t count,
                           json_t *clones)
{
    for (size_t i = 0; i < count; i++)
    {
        struct lun_info info;
        int r = lun_get_info(request->pool, pairs[i].source, &info, &request->why);
        if (r == 0 &&
            json_array_append_new(
                clones, json_pack("{s:s, s:s, s:I, s:I}", "source", pairs[i].source, "name",
                                  pairs[i].name, "size_bytes", (json_int_t)info.size_bytes,
                                  "shared_bytes", (json_int_t)info.mapped_bytes)) != 0)
            r = -ENOMEM;
        if (r < 0)
            return r;
    }
    return 0;
}

/* The LUNs that get other content: what they have now goes to a snapshot. */
static int verb_view_redeployed(struct verb_request *request, const char *const *names,
                                size_t count, json_t *luns)
{
    for (size_t i = 0; i < count; i++)
    {
        struct lun_info info, old;
        char undo[2 * LUN_NAME_MAX + 2];
        int r = lun_get_info(request->pool, names[i], &info, &request->why);
        snprintf(undo, sizeof(undo), "%s@%s", names[i], verb_string(request, "undo"));
        int replaces = r == 0 && lun_get_info(request->pool, undo, &old, NULL) == 0;
        if (r == 0 &&
            json_array_append_new(luns, json_pack("{s:s, s:I, s:I, s:b}", "name", names[i],
                                                  "old_size_bytes", (json_int_t)info.size_bytes,
                                                  "kept_bytes", (json_int_t)info.mapped_bytes,
                                                  "replaces_undo", replaces)) != 0)
            r = -ENOMEM;
        if (r < 0)
            return r;
    }
    return 0;
}

int verb_lun_clone_group(struct verb_request *request)
{
    AUTO_JSON json_t *mappings = json_array();
    AUTO_JSON json_t *clones = json_array();
    AUTO_FREE const char **sources = NULL;
    AUTO_FREE const char **names = NULL;
    size_t count = 0, name_count = 0;
    const struct lun_clone_args common = verb_clone_args(request);
    int r = verb_strings(request, "sources", &sources, &count);
    if (r == 0)
        r = verb_strings(request, "names", &names, &name_count);
    if (r < 0)
        return r;
    if (count == 0 || count != name_count)
        return reason_set(&request->why, -EINVAL, "%zu sources and %zu names: each needs the other",
                          count, name_count);
    AUTO_FREE struct lun_pair *pairs = calloc(count, sizeof(*pairs));
    if (!pairs)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        pairs[i] = (struct lun_pair){.source = sources[i], .name = names[i]};
    r = verb_check_whole_all(request, sources, count);
    if (r == 0)
        r = verb_check_igroup(request);
    if (r == 0)
        r = verb_check_class(request);
    if (r == 0)
        r = lun_clone_group(request->pool, pairs, count, &common, &request->why);
    int64_t promised_bytes = command_promised_bytes();
    for (size_t i = 0; r == 0 && i < count; i++)
        r = verb_classify_clones(request, names[i], 1, 0);
    for (size_t i = 0; r == 0 && i < count; i++)
        r = verb_map_clones(request, names[i], 1, 0, mappings);
    request->is_done = r == 0;
    if (r == 0)
        r = verb_view_pairs(request, pairs, count, clones);
    if (r < 0)
        return r;
    request->result = json_pack("{s:I, s:O, s:O, s:i}", "count", (json_int_t)count, "clones",
                                clones, "mappings", mappings, "taken_data_bytes", 0);
    return request->result ? verb_put_promised(request, promised_bytes) : -ENOMEM;
}

int verb_lun_redeploy(struct verb_request *request)
{
    AUTO_JSON json_t *luns = json_array();
    struct lun_info source;
    AUTO_FREE const char **names = NULL;
    size_t count = 0;
    int r = verb_strings(request, "names", &names, &count);
    if (r == 0 && (count == 0 || count > LUN_SET_MAX))
        r = reason_set(&request->why, -EINVAL, "%zu names; 1 to %d are possible", count,
                       LUN_SET_MAX);
    if (r == 0)
        verb_await_close_all(request, names, count);
    if (r == 0)
        r = lun_get_info(request->pool, verb_string(request, "source"), &source, &request->why);
    if (r == 0)
        r = import_check(request->pool, &source, &request->why);
    if (r == 0)
        r = verb_check_whole_all(request, names, count);
    if (r == 0)
        r = verb_view_redeployed(request, names, count, luns);
    if (r == 0)
        r = lun_redeploy(request->pool, verb_string(request, "source"), names, count,
                         verb_string(request, "undo"), verb_force_flag(request), &request->why);
    int64_t promised_bytes = command_promised_bytes();
    if (r < 0)
        return r;
    request->is_done = true;
    request->result =
        json_pack("{s:s, s:I, s:s, s:I, s:I, s:O}", "source", verb_string(request, "source"),
                  "count", (json_int_t)count, "undo", verb_string(request, "undo"), "size_bytes",
                  (json_int_t)source.size_bytes, "shared_bytes", (json_int_t)source.mapped_bytes,
                  "luns", luns);
    return request->result ? verb_put_promised(request, promised_bytes) : -ENOMEM;
}

int verb_count_mapped(struct verb_request *request, const char *name, uint64_t from,
                      uint64_t *mapped_bytes)
{
    struct lun_extent extents[VERB_EXTENTS];
    struct lun *lun;
    int r = lun_open(request->pool, name, LUN_READ_ONLY, &lun, &request->why);
    if (r < 0)
        return r;
    uint64_t end = lun_size_bytes(lun), sum = 0;
    while (r == 0 && from < end)
    {
        size_t count = 0;
        r = lun_extents(lun, end - from, from, extents, VERB_EXTENTS, &count);
        if (r == 0 && count == 0)
            r = -EIO;
        for (size_t i = 0; r == 0 && i < count; i++)
        {
            sum += extents[i].is_hole ? 0 : extents[i].len_bytes;
            from = extents[i].offset_bytes + extents[i].len_bytes;
        }
        if (r == 0 && request->is_cancelled(request))
            r = -ECANCELED;
    }
    lun_close(lun);
    if (r == 0)
        *mapped_bytes = sum;
    return r;
}

int verb_lun_resize(struct verb_request *request)
{
    const char *name = verb_string(request, "name");
    uint64_t size_bytes = verb_number(request, "size_bytes", 0), cut_bytes = 0;
    bool dry_run = verb_bool(request, "dry_run");
    struct lun_info info;
    int r = lun_get_info(request->pool, name, &info, &request->why);
    if (r == 0 && dry_run && size_bytes < info.size_bytes)
        r = verb_count_mapped(request, name, size_bytes, &cut_bytes);
    /* A dry run shows what is cut off before it is to be forced. */
    if (r == 0)
        r = lun_resize(request->pool, name, size_bytes,
                       dry_run ? LUN_FORCE : verb_force_flag(request), &request->why);
    int64_t promised_bytes = command_promised_bytes();
    if (r < 0)
        return r;
    request->is_done = true;
    request->result = json_pack("{s:s, s:I, s:I, s:b}", "name", name, "old_size_bytes",
                                (json_int_t)info.size_bytes, "size_bytes", (json_int_t)size_bytes,
                                "dry_run", dry_run);
    if (request->result && dry_run)
        ignore_error(json_object_set_new(request->result, "cut_bytes", proto_json_uint(cut_bytes)),
                     "a figure of a dry run");
    return request->result ? verb_put_promised(request, promised_bytes) : -ENOMEM;
}

int verb_lun_rename(struct verb_request *request)
{
    return lun_rename(request->pool, verb_string(request, "name"), verb_string(request, "new_name"),
                      &request->why);
}

int verb_lun_comment(struct verb_request *request)
{
    return lun_set_comment(request->pool, verb_string(request, "name"),
                           verb_string(request, "comment"), &request->why);
}

/* NULL: no memory. */
static json_t *verb_names(const char *const *names, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(array, json_string(names[i])) != 0)
            return json_decref(array), NULL;
    return array;
}

int verb_show_freed(struct verb_request *request, const char *const *names, size_t count)
{
    uint64_t data_bytes = 0, metadata_bytes = 0;
    int r = lun_freed_if_deleted(request->pool, names, count, &data_bytes, &metadata_bytes,
                                 &request->why);
    if (r < 0)
        return r;
    json_t *goes = verb_names(names, count);
    request->result =
        json_pack("{s:o, s:I, s:I, s:I}", "goes", goes, "freed_bytes",
                  (json_int_t)(data_bytes + metadata_bytes), "freed_data_bytes",
                  (json_int_t)data_bytes, "freed_metadata_bytes", (json_int_t)metadata_bytes);
    return request->result ? 0 : -ENOMEM;
}

int verb_show_goes(struct verb_request *request, const char *const *names, size_t count)
{
    request->result =
        json_pack("{s:o, s:I}", "goes", verb_names(names, count), "luns", (json_int_t)count);
    return request->result ? 0 : -ENOMEM;
}

void verb_note_freed(struct verb_request *request, const char *const *names, size_t count)
{
    if (count <= LUN_SET_MAX && verb_show_freed(request, names, count) == 0)
        return;
    /* Damage, or no memory: the delete says so if that is in its way too. */
    json_decref(request->result);
    request->result = NULL;
    reason_clear(&request->why);
}

/* What lun_delete() would refuse. @list begins with the LUN, its snapshots follow. */
static int verb_refuse_delete(struct verb_request *request, const struct lun_info *list,
                              size_t count)
{
    uint32_t open = 0;
    for (size_t i = 0; i < count; i++)
        open += list[i].open_handles;
    if (count > 1 && !verb_bool(request, "with_snapshots"))
        return reason_set(&request->why, -EBUSY,
                          "LUN '%s' has %zu snapshot%s; 'lunette lun delete %s --with-snapshots' "
                          "deletes them too",
                          list->name, count - 1, count == 2 ? "" : "s", list->name);
    if (open > 0 && !verb_bool(request, "force"))
        return reason_set(&request->why, -EBUSY,
                          "LUN '%s' or a snapshot of it is open by %u client%s: close them, or "
                          "lunette lun delete %s --force",
                          list->name, open, plural_s(open), list->name);
    return 0;
}

/* What no option of the delete helps against: a lock. */
static int verb_refuse_locked(struct verb_request *request, const char *name)
{
    command_dry_run(true);
    int r = lun_delete(request->pool, name, true, LUN_FORCE, &request->why);
    command_dry_run(verb_bool(request, "dry_run"));
    if (r != -ENOTSUP)
        return r;
    reason_clear(&request->why); /* an engine without dry runs: the delete itself finds out */
    return 0;
}

/*
 * Adds to a dry run's figures, if the delete would be refused as it stands, why ("refused"), and
 * the options ("needs") with which it does what they say.
 */
static int verb_say_needs(struct verb_request *request, const struct lun_info *list, size_t count)
{
    struct reason refused = request->why;
    json_t *needs = json_array();
    bool open = false;
    int bad = needs ? 0 : -1;
    for (size_t i = 0; i < count; i++)
        open |= list[i].open_handles > 0;
    if (count > 1 && !verb_bool(request, "with_snapshots"))
        bad |= json_array_append_new(needs, json_string("--with-snapshots"));
    if (open && !verb_bool(request, "force"))
        bad |= json_array_append_new(needs, json_string("--force"));
    bad |= json_object_set_new(request->result, "needs", needs);
    bad |= json_object_set_new(request->result, "refused", json_string(refused.text));
    return bad ? -ENOMEM : 0;
}

/* Of a listing of one LUN: itself and its own snapshots, not those that are part of a volume's,
 * which stay, nor what is left of others that had its name. Returns their number. */
static size_t verb_keep_what_goes(struct lun_info *list, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count && list[0].kind == OBJECT_LUN; i++)
    {
        if (list[i].lun_id == list[0].id && list[i].volume_snapshot_id == 0)
            list[kept++] = list[i];
    }
    return kept;
}

static int verb_plan_delete(struct verb_request *request, const char *name)
{
    AUTO_FREE struct lun_info *list = NULL;
    size_t count;
    int r = lun_list(request->pool, name, &list, &count, &request->why);
    if (r == 0)
        count = verb_keep_what_goes(list, count);
    if (r == 0 && count == 0)
        r = reason_set(&request->why, -ENOENT, "there is no LUN '%s'", name);
    int refused = r == 0 ? verb_refuse_delete(request, list, count) : r;
    bool shows_all = r == 0 && !verb_bool(request, "only_check");
    struct reason why = request->why;
    if (refused < 0 && !shows_all)
        return refused;
    r = verb_refuse_locked(request, name);
    if (r < 0)
        return r;
    AUTO_FREE const char **names = calloc(count, sizeof(*names));
    if (!names)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        names[i] = list[i].name;
    if (shows_all)
        r = verb_show_freed(request, names, count);
    if (shows_all && r == 0 && refused < 0)
    {
        request->why = why;
        r = verb_say_needs(request, list, count);
    }
    if (shows_all || r < 0)
        return r;
    /* What several free together is asked for once, and not of each. */
    request->result = json_pack("{s:o}", "goes", verb_names(names, count));
    return request->result ? 0 : -ENOMEM;
}

static uint32_t verb_count_open(struct verb_request *request, const char *name)
{
    struct lun_info info;
    AUTO_FREE struct lun_info *list = NULL;
    size_t count = 0;
    uint32_t open = 0;
    if (strchr(name, '@'))
        return lun_get_info(request->pool, name, &info, NULL) == 0 ? info.open_handles : 0;
    if (lun_list(request->pool, name, &list, &count, NULL) < 0)
        return 0;
    count = verb_keep_what_goes(list, count);
    for (size_t i = 0; i < count; i++)
        open += list[i].open_handles;
    return open;
}

void verb_await_close_all(struct verb_request *request, const char *const *names, size_t count)
{
    const struct timespec pause = {.tv_nsec = VERB_CLOSE_PAUSE_MS * 1000000L};
    unsigned ms = 0;
    for (size_t i = 0; i < count && ms < VERB_CLOSE_MS && !verb_bool(request, "force");)
    {
        if (verb_count_open(request, names[i]) == 0)
        {
            i++;
            continue;
        }
        nanosleep(&pause, NULL);
        ms += VERB_CLOSE_PAUSE_MS;
    }
}

void verb_await_close(struct verb_request *request, const char *name)
{
    verb_await_close_all(request, &name, 1);
}

void verb_await_close_volume(struct verb_request *request, const char *volume)
{
    AUTO_FREE struct lun_info *list = NULL;
    AUTO_FREE const char **names = NULL;
    struct volume_info info;
    size_t count = 0, n = 0;
    if (volume_get_info(request->pool, volume, &info, NULL) < 0 ||
        lun_list(request->pool, NULL, &list, &count, NULL) < 0)
        return;
    names = calloc(count + 1, sizeof(*names));
    for (size_t i = 0; names && i < count; i++)
    {
        if (list[i].volume_id == info.id && list[i].open_handles > 0)
            names[n++] = list[i].name;
    }
    verb_await_close_all(request, names, n);
}

int verb_say_deleted(struct verb_request *request, const struct lun_info *list, size_t count)
{
    request->is_done = true;
    json_t *deleted = json_array();
    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(deleted, json_string(list[i].name)) != 0)
            return json_decref(deleted), -ENOMEM;
    if (!request->result)
        request->result = json_object();
    ignore_error(json_object_del(request->result, "goes"), "it went");
    return json_object_set_new(request->result, "deleted", deleted) == 0 ? 0 : -ENOMEM;
}

/* With an id only that LUN, and not another one that has the name by now, which is @found_id. */
static int delete_run(struct verb_request *request, const char *name, uint64_t found_id)
{
    bool with_snapshots = verb_bool(request, "with_snapshots");
    unsigned flags = verb_force_flag(request);
    const struct lun_delete_condition condition = {.id = verb_number(request, "id", 0),
                                                   .keeps_snapshots = !with_snapshots};
    if (!verb_has(request, "id"))
        return lun_delete(request->pool, name, with_snapshots, flags, &request->why);
    if (found_id != condition.id)
        return reason_set(&request->why, -ESTALE,
                          "LUN '%s' is another one by now, which was made or got the name since",
                          name);
    return lun_delete_if(request->pool, &condition, flags, &request->why);
}

int verb_lun_delete(struct verb_request *request)
{
    AUTO_FREE struct lun_info *list = NULL;
    size_t count = 0;
    const char *name = verb_string(request, "name");
    verb_await_close(request, name);
    if (verb_bool(request, "dry_run") || verb_bool(request, "only_check"))
        return verb_plan_delete(request, name);
    int r = lun_list(request->pool, name, &list, &count, &request->why);
    if (r == 0)
        r = delete_run(request, name, count > 0 ? list[0].id : 0);
    return r < 0 ? r : verb_say_deleted(request, list, count);
}

int verb_lun_freed(struct verb_request *request)
{
    AUTO_FREE const char **names = NULL;
    size_t count;
    int r = verb_strings(request, "names", &names, &count);
    if (r < 0)
        return r;
    if (count == 0 || count > LUN_SET_MAX)
        return reason_set(&request->why, -EINVAL, "%zu names; 1 to %d are possible", count,
                          LUN_SET_MAX);
    return verb_show_freed(request, names, count);
}
