/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Verbs on LUNs.
 *
 * A dry run refuses what the real one would refuse, as far as can be known without doing it, and
 * otherwise says what would go or be taken.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/mgmt/proto.h"
#include "server/mgmt/verbs.h"
#include "server/mgmt/verbs_internal.h"
#include "server/mgmt/view.h"
#include "server/units.h"

enum
{
    VERB_EXTENTS = 256
};

unsigned verb_force_flag(const struct verb_request *request)
{
    return verb_bool(request, "force") ? LUN_FORCE : 0;
}

/* Whether the name may be taken. */
static int verb_check_free_name(struct verb_request *request, const char *name)
{
    struct lun_info info;
    int r = lun_get_info(request->pool, name, &info, NULL);
    if (r == 0)
        return reason_set(&request->why, -EEXIST, "there is a LUN \"%s\" already", name);
    return r == -ENOENT ? 0 : reason_set(&request->why, r, "the name \"%s\" cannot be used", name);
}

int verb_lun_create(struct verb_request *request)
{
    struct lun_create_args args = {
        .name = verb_string(request, "name"),
        .size_bytes = verb_number(request, "size_bytes", 0),
        .sector_bytes = (uint32_t)verb_number(request, "sector_bytes", 0),
        .comment = verb_string(request, "comment"),
    };
    if (verb_number(request, "sector_bytes", 0) > 4096)
        return reason_set(&request->why, -EINVAL, "a sector has 512 or 4096 bytes");
    bool dry_run = verb_bool(request, "dry_run");
    int r = dry_run ? verb_check_free_name(request, args.name)
                    : lun_create(request->pool, &args, &request->why);
    if (r < 0)
        return r;
    struct pool_info info;
    pool_get_info(request->pool, &info);
    request->result = json_pack("{s:s, s:I, s:b, s:i, s:I}", "name", args.name, "size_bytes",
                                (json_int_t)args.size_bytes, "dry_run", dry_run, "taken_bytes", 0,
                                "available_bytes", (json_int_t)info.available_bytes);
    return request->result ? 0 : -ENOMEM;
}

int verb_lun_show(struct verb_request *request)
{
    AUTO_FREE struct lun_info *list = NULL;
    size_t count;
    const char *name = verb_string(request, "name");
    struct lun_info one;
    if (name && strchr(name, '@'))
    {
        int r = lun_get_info(request->pool, name, &one, &request->why);
        json_t *array = json_array();
        if (r == 0 && json_array_append_new(array, view_lun(&one)) != 0)
            r = -ENOMEM;
        request->result = view_listing("luns", array);
        return r;
    }
    int r = lun_list(request->pool, name, &list, &count, &request->why);
    if (r < 0)
        return r;
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        if (list[i].kind == OBJECT_LUN || verb_bool(request, "snapshots"))
            if (json_array_append_new(array, view_lun(&list[i])) != 0)
                r = -ENOMEM;
    request->result = view_listing("luns", array);
    return request->result ? r : -ENOMEM;
}

/* @template with @number for its %d, %u or %0Nd. -EINVAL: it has not exactly one. */
static int verb_number_name(const char *template, uint64_t number, char *name, size_t size)
{
    const char *percent = strchr(template, '%');
    if (!percent)
        return -EINVAL;
    const char *end = percent + 1 + strspn(percent + 1, "0123456789");
    int width = 0;
    if (end - percent > 4 || (end > percent + 1 && percent[1] != '0') ||
        (*end != 'd' && *end != 'u') || strchr(end, '%'))
        return -EINVAL;
    for (const char *digit = percent + 1; digit < end; digit++)
        width = width * 10 + (*digit - '0');
    int len = snprintf(name, size, "%.*s%0*" PRIu64 "%s", (int)(percent - template), template,
                       width, number, end + 1);
    return len < 0 || (size_t)len >= size ? -EINVAL : 0;
}

/* Whether all names of a batch may be taken. */
static int verb_check_free_names(struct verb_request *request, const struct lun_clone_args *args)
{
    char name[2 * LUN_NAME_MAX];
    int r = args->count <= 1 ? verb_check_free_name(request, args->name) : 0;
    for (uint32_t i = 0; r == 0 && args->count > 1 && i < args->count; i++)
    {
        r = verb_number_name(args->name, (uint64_t)args->first_number + i, name, sizeof(name));
        if (r < 0)
            return reason_set(&request->why, r,
                              "\"%s\" is no template: it needs one %%d or %%05d for the number",
                              args->name);
        r = verb_check_free_name(request, name);
    }
    return r;
}

/*
 * The clones are there when this fails, which is said. It can only be for want of memory or space,
 * as the class was there.
 */
static int verb_put_clones_into_class(struct verb_request *request,
                                      const struct lun_clone_args *args)
{
    size_t count = args->count > 0 ? args->count : 1;
    char name[2 * LUN_NAME_MAX];
    struct reason why = {.text = "no memory"};
    AUTO_FREE uint64_t *ids = calloc(count, sizeof(*ids));
    int r = ids ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < count; i++)
    {
        struct lun_info info;
        if (args->count > 1)
            r = verb_number_name(args->name, (uint64_t)args->first_number + i, name, sizeof(name));
        if (r == 0)
            r = lun_get_info(request->pool, args->count > 1 ? name : args->name, &info, &why);
        if (r == 0)
            ids[i] = info.id;
    }
    if (r == 0)
    {
        r = verb_qos_set_new(request, ids, count);
        why = request->why;
    }
    return r < 0 ? reason_set(&request->why, r, "the clones were made, but are in no class: %.900s",
                              why.text)
                 : 0;
}

int verb_lun_clone(struct verb_request *request)
{
    uint64_t count = verb_number(request, "count", 1);
    struct lun_clone_args args = {
        .source = verb_string(request, "source"),
        .name = verb_string(request, "name"),
        .count = (uint32_t)count,
        .first_number = (uint32_t)verb_number(request, "first_number", 0),
        .comment = verb_string(request, "comment"),
    };
    if (count < 1 || count > LUN_CLONES_AT_ONCE_MAX ||
        verb_number(request, "first_number", 0) > INT32_MAX)
        return reason_set(&request->why, -EINVAL,
                          "%" PRIu64 " clones at once; 1 to %d are possible", count,
                          LUN_CLONES_AT_ONCE_MAX);
    bool dry_run = verb_bool(request, "dry_run");
    struct lun_info source;
    int r = verb_qos_check(request);
    if (r == 0 && !dry_run)
    {
        r = lun_clone(request->pool, &args, &request->why);
        if (r == 0 && verb_has(request, "qos"))
            r = verb_put_clones_into_class(request, &args);
    }
    else if (r == 0)
    {
        r = lun_get_info(request->pool, args.source, &source, &request->why);
        if (r == 0)
            r = verb_check_free_names(request, &args);
    }
    if (r < 0)
        return r;
    request->result = json_pack("{s:s, s:s, s:I, s:b}", "source", args.source, "name", args.name,
                                "count", (json_int_t)count, "dry_run", dry_run);
    if (request->result && dry_run)
        ignore_error(
            json_object_update_new(request->result,
                                   json_pack("{s:I, s:i, s:I}", "size_bytes",
                                             (json_int_t)source.size_bytes, "taken_data_bytes", 0,
                                             "shared_bytes", (json_int_t)source.mapped_bytes)),
            "figures of a dry run");
    return request->result ? 0 : -ENOMEM;
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
    else if (r == 0 && !dry_run)
        r = lun_resize(request->pool, name, size_bytes, verb_force_flag(request), &request->why);
    if (r < 0)
        return r;
    request->result = json_pack("{s:s, s:I, s:I, s:b}", "name", name, "old_size_bytes",
                                (json_int_t)info.size_bytes, "size_bytes", (json_int_t)size_bytes,
                                "dry_run", dry_run);
    if (request->result && dry_run)
        ignore_error(json_object_set_new(request->result, "cut_bytes", proto_json_uint(cut_bytes)),
                     "a figure of a dry run");
    return request->result ? 0 : -ENOMEM;
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

int verb_show_freed(struct verb_request *request, const char *const *names, size_t count)
{
    uint64_t data_bytes = 0, metadata_bytes = 0;
    int r = lun_freed_if_deleted(request->pool, names, count, &data_bytes, &metadata_bytes,
                                 &request->why);
    if (r < 0)
        return r;
    json_t *goes = json_array();
    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(goes, json_string(names[i])) != 0)
            r = -ENOMEM;
    request->result =
        json_pack("{s:o, s:I, s:I, s:I}", "goes", goes, "freed_bytes",
                  (json_int_t)(data_bytes + metadata_bytes), "freed_data_bytes",
                  (json_int_t)data_bytes, "freed_metadata_bytes", (json_int_t)metadata_bytes);
    return request->result ? r : -ENOMEM;
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
                          "LUN \"%s\" has %zu snapshots: lunette lun delete %s --with-snapshots "
                          "deletes them too",
                          list->name, count - 1, list->name);
    if (open > 0 && !verb_bool(request, "force"))
        return reason_set(&request->why, -EBUSY,
                          "%u clients have LUN \"%s\" or a snapshot of it open: close them, or "
                          "lunette lun delete %s --force",
                          open, list->name, list->name);
    return 0;
}

static int verb_plan_delete(struct verb_request *request, const char *name)
{
    AUTO_FREE struct lun_info *list = NULL;
    size_t count;
    int r = lun_list(request->pool, name, &list, &count, &request->why);
    if (r == 0 && count == 0)
        r = reason_set(&request->why, -ENOENT, "there is no LUN \"%s\"", name);
    if (r == 0)
        r = verb_refuse_delete(request, list, count);
    if (r < 0)
        return r;
    AUTO_FREE const char **names = calloc(count, sizeof(*names));
    if (!names)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        names[i] = list[i].name;
    return verb_show_freed(request, names, count);
}

int verb_lun_delete(struct verb_request *request)
{
    const char *name = verb_string(request, "name");
    if (verb_bool(request, "dry_run"))
        return verb_plan_delete(request, name);
    return lun_delete(request->pool, name, verb_bool(request, "with_snapshots"),
                      verb_force_flag(request), &request->why);
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
