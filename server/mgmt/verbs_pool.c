/* SPDX-License-Identifier: BSD-3-Clause */
/* Verbs on the pool as a whole: pool.*, df, tree. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "lun/base/checked.h"
#include "server/mgmt/proto.h"
#include "server/mgmt/verbs.h"
#include "server/mgmt/verbs_internal.h"
#include "server/mgmt/view.h"
#include "server/units.h"

enum
{
    VERB_LINES_MAX = 200000, /* of a check or a dump */
};

int verb_pool_show(struct verb_request *request)
{
    struct pool_info info;
    pool_get_info(request->pool, &info);
    request->result = view_pool(&info);
    return request->result ? 0 : -ENOMEM;
}

int verb_pool_grow(struct verb_request *request)
{
    struct pool_info info;
    uint64_t size_bytes = verb_number(request, "size_bytes", 0);
    pool_get_info(request->pool, &info);
    uint64_t before_bytes = info.size_bytes;
    int r = verb_bool(request, "dry_run")
                ? pool_grow_dry_run(request->pool, size_bytes, &info.size_bytes, &request->why)
                : pool_grow(request->pool, size_bytes, &request->why);
    if (r < 0)
        return r;
    request->is_done = true;
    if (!verb_bool(request, "dry_run"))
        pool_get_info(request->pool, &info);
    request->result =
        json_pack("{s:s, s:I, s:I}", "name", info.name, "old_size_bytes", (json_int_t)before_bytes,
                  "size_bytes", (json_int_t)info.size_bytes);
    return request->result ? 0 : -ENOMEM;
}

/*
 * Lines are gathered, not sent as they come: the engine pauses changes during a check, and must not
 * wait for a client to read.
 */
struct verb_lines
{
    json_t *array;
    bool truncated;
};

static void verb_add_line(struct verb_lines *lines, json_t *line)
{
    if (json_array_size(lines->array) >= VERB_LINES_MAX)
    {
        json_decref(line);
        lines->truncated = true;
    }
    else if (json_array_append_new(lines->array, line) != 0)
        lines->truncated = true;
}

static void verb_check_report_cb(void *opaque, bool is_error, const char *text)
{
    verb_add_line(opaque, json_pack("{s:b, s:s}", "error", is_error, "text", text));
}

int verb_pool_check(struct verb_request *request)
{
    struct check_result result = {0};
    struct verb_lines lines = {.array = json_array()};
    AUTO_JSON json_t *array = lines.array;
    int r = pool_check(request->pool, verb_check_report_cb, &lines, &result);
    if (r < 0)
        return reason_set(&request->why, r, "the check could not be finished");
    AUTO_JSON json_t *view = view_check(&result);
    if (!view || json_object_set(view, "findings", array) != 0 ||
        json_object_set_new(view, "truncated", json_boolean(lines.truncated)) != 0)
        return -ENOMEM;
    request->result = take_ptr(&view);
    return 0;
}

static void verb_dump_line_cb(void *opaque, const char *text)
{
    verb_add_line(opaque, json_string(text));
}

int verb_pool_dump(struct verb_request *request)
{
    struct verb_lines lines = {.array = json_array()};
    AUTO_JSON json_t *array = lines.array;
    int r = pool_dump(request->pool, verb_string(request, "what"), verb_dump_line_cb, &lines,
                      &request->why);
    if (r < 0)
        return r;
    request->result = json_pack("{s:O, s:b}", "lines", array, "truncated", lines.truncated);
    return request->result ? 0 : -ENOMEM;
}

int verb_tree(struct verb_request *request)
{
    AUTO_FREE struct line_info *list = NULL;
    size_t count;
    int r = pool_list_lines(request->pool, &list, &count);
    if (r < 0)
        return r;
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(array, view_line(&list[i])) != 0)
            r = -ENOMEM;
    request->result = view_listing("lines", array);
    return request->result ? r : -ENOMEM;
}

/*
 * One row of df; of a pool or volume "used" is all that thin writes cannot have, as its thresholds
 * count, of a LUN what only it and its snapshots hold.
 * @data_bytes: what the mapped bytes take.
 */
static json_t *verb_df_row(const char *kind, const char *name, uint64_t size_bytes,
                           uint64_t used_bytes, uint64_t available_bytes, uint64_t mapped_bytes,
                           uint64_t data_bytes)
{
    double percent = size_bytes > 0 ? (double)used_bytes * 100.0 / (double)size_bytes : 0.0;
    uint64_t saved_bytes = mapped_bytes > data_bytes ? mapped_bytes - data_bytes : 0;
    bool has_size = size_bytes > 0; /* a volume may have none */
    return json_pack("{s:s, s:s, s:o, s:I, s:I, s:o, s:I, s:I, s:o}", "kind", kind, "name", name,
                     "size_bytes", has_size ? json_integer((json_int_t)size_bytes) : json_null(),
                     "used_bytes", (json_int_t)used_bytes, "available_bytes",
                     (json_int_t)available_bytes, "used_percent",
                     has_size ? json_real(percent) : json_null(), "mapped_bytes",
                     (json_int_t)mapped_bytes, "saved_bytes", (json_int_t)saved_bytes,
                     "savings_ratio", view_savings(mapped_bytes, data_bytes));
}

/* The same with what it is made of; takes @row over. */
static json_t *verb_df_parts(json_t *row, uint64_t own_bytes, uint64_t shared_bytes,
                             uint64_t snapshot_bytes, uint64_t reserved_bytes)
{
    if (row && json_object_update_new(row, json_pack("{s:I, s:I, s:I, s:I}", "own_bytes",
                                                     (json_int_t)own_bytes, "shared_bytes",
                                                     (json_int_t)shared_bytes, "snapshot_bytes",
                                                     (json_int_t)snapshot_bytes, "reserved_bytes",
                                                     (json_int_t)reserved_bytes)) != 0)
        json_decref(take_ptr(&row));
    return row;
}

static bool verb_df_add_volumes(json_t *rows, const struct volume_info *volumes, size_t count)
{
    int bad = 0;
    for (const struct volume_info *volume = volumes; volume < volumes + count; volume++)
    {
        json_t *row =
            verb_df_row("volume", volume->name, volume->size_bytes,
                        volume->charged_bytes + volume->reserved_bytes, volume->available_bytes,
                        volume->mapped_bytes, volume->charged_bytes);
        bad |= json_array_append_new(
            rows,
            verb_df_parts(row, volume->own_bytes, volume->mapped_bytes - volume->own_bytes,
                          volume->snapshot_bytes,
                          volume->is_guaranteed ? volume->needed_bytes : volume->reserved_bytes));
    }
    return bad == 0;
}

uint64_t verb_lun_available(const struct lun_info *lun, const struct volume_info *volumes,
                            size_t count, uint64_t pool_bytes)
{
    for (size_t i = 0; i < count; i++)
    {
        if (volumes[i].id == lun->volume_id)
            return volumes[i].available_bytes;
    }
    return pool_bytes;
}

int verb_df(struct verb_request *request)
{
    AUTO_FREE struct lun_info *list = NULL;
    AUTO_FREE struct volume_info *volumes = NULL;
    size_t count = 0, volume_count = 0;
    struct pool_info info;
    int r = lun_list(request->pool, NULL, &list, &count, &request->why);
    if (r == 0)
        r = volume_list(request->pool, &volumes, &volume_count);
    if (r < 0)
        return r;
    pool_get_info(request->pool, &info);
    json_t *rows = json_array();
    json_t *row = verb_df_row("pool", info.name, info.size_bytes,
                              info.size_bytes - min_u64(info.available_bytes, info.size_bytes),
                              info.available_bytes, info.mapped_bytes, info.data_bytes);
    int bad = json_object_set_new(row, "reserved_bytes", proto_json_uint(info.promised_bytes));
    bad |= json_array_append_new(rows, row);
    bad |= !verb_df_add_volumes(rows, volumes, volume_count);
    for (size_t i = 0; i < count; i++)
    {
        const struct lun_info *lun = &list[i];
        uint64_t used_bytes = lun->own_bytes + lun->snapshot_bytes;
        if (lun->kind != OBJECT_LUN)
            continue;
        row = verb_df_row("lun", lun->name, lun->size_bytes, used_bytes,
                          verb_lun_available(lun, volumes, volume_count, info.available_bytes),
                          lun->mapped_bytes, used_bytes);
        bad |= json_array_append_new(rows, verb_df_parts(row, lun->own_bytes, lun->shared_bytes,
                                                         lun->snapshot_bytes, lun->needed_bytes));
    }
    request->result = view_listing("entries", rows);
    return bad || !request->result ? -ENOMEM : 0;
}
