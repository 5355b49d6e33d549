/* SPDX-License-Identifier: BSD-3-Clause */
/* The engine's structures as JSON. */
#include "server/mgmt/view.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "server/mgmt/proto.h"

enum
{
    VIEW_UUID_TEXT = 37
};

/* By hand: a listing of ten thousand LUNs formats as many of them. */
static const char *view_uuid(const uint8_t uuid[16], char text[VIEW_UUID_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    size_t at = 0;
    for (int i = 0; i < 16; i++)
    {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text[at++] = '-';
        text[at++] = digits[uuid[i] >> 4];
        text[at++] = digits[uuid[i] & 15];
    }
    text[at] = '\0';
    return text;
}

static json_t *view_time(uint64_t ns)
{
    return json_real((double)(ns / 1000000) / 1000.0);
}

static void view_put(json_t *object, const char *key, json_t *value)
{
    /* Without memory the key is missing; who reads it treats it as unknown. */
    ignore_error(json_object_set_new_nocheck(object, key, value), "see above");
}

static void view_put_uint(json_t *object, const char *key, uint64_t number)
{
    view_put(object, key, proto_json_uint(number));
}

/* Text from the engine may be anything; what is no UTF-8 becomes an empty string, not a lost key.
 */
static void view_put_text(json_t *object, const char *key, const char *text)
{
    json_t *string = json_string(text);
    view_put(object, key, string ? string : json_string(""));
}

double view_savings_ratio(uint64_t mapped_bytes, uint64_t data_bytes)
{
    if (data_bytes == 0 || mapped_bytes < data_bytes)
        return 1.0;
    return (double)(mapped_bytes * 100 / data_bytes) / 100.0;
}

/* Of a pool in a file: how long it is, and what it takes from its file system, being sparse. */
static void view_put_file(json_t *pool, const char *path)
{
    struct stat file;
    struct statvfs below;
    if (stat(path, &file) < 0 || !S_ISREG(file.st_mode))
        return;
    view_put_uint(pool, "file_bytes", (uint64_t)file.st_size);
    view_put_uint(pool, "file_taken_bytes", (uint64_t)file.st_blocks * 512);
    if (statvfs(path, &below) == 0)
        view_put_uint(pool, "file_system_free_bytes", (uint64_t)below.f_bavail * below.f_frsize);
}

json_t *view_pool(const struct pool_info *info)
{
    char uuid[VIEW_UUID_TEXT];
    json_t *pool = json_object();
    if (!pool)
        return NULL;
    view_put_text(pool, "name", info->name);
    view_put_text(pool, "path", info->path);
    view_put_text(pool, "uuid", view_uuid(info->uuid, uuid));
    view_put_text(pool, "health", pool_health_name(info->health));
    view_put(pool, "read_only", json_boolean(info->read_only));
    view_put_uint(pool, "size_bytes", info->size_bytes);
    view_put_file(pool, info->path);
    view_put_uint(pool, "used_bytes", info->data_bytes + info->metadata_bytes);
    view_put_uint(pool, "data_bytes", info->data_bytes);
    view_put_uint(pool, "metadata_bytes", info->metadata_bytes);
    view_put_uint(pool, "free_bytes", info->free_bytes);
    view_put_uint(pool, "deferred_bytes", info->deferred_bytes);
    view_put_uint(pool, "reserve_bytes", info->reserve_bytes);
    view_put_uint(pool, "promised_bytes", info->promised_bytes);
    view_put_uint(pool, "available_bytes", info->available_bytes);
    view_put_uint(pool, "logical_bytes", info->logical_bytes);
    view_put_uint(pool, "mapped_bytes", info->mapped_bytes);
    view_put(pool, "savings_ratio",
             json_real(view_savings_ratio(info->mapped_bytes, info->data_bytes)));
    view_put_uint(pool, "luns", info->lun_count);
    view_put_uint(pool, "snapshots", info->snapshot_count);
    view_put_uint(pool, "lines", info->line_count);
    view_put_uint(pool, "hidden_points", info->hidden_point_count);
    view_put_uint(pool, "dying", info->dying_count);
    view_put_uint(pool, "checkpoint", info->checkpoint_id);
    view_put_uint(pool, "checkpoints", info->checkpoint_count);
    view_put_uint(pool, "commits", info->commit_count);
    view_put_uint(pool, "syncs", info->sync_count);
    view_put_uint(pool, "journal_used_bytes", info->journal_used_bytes);
    view_put_uint(pool, "journal_size_bytes", info->journal_size_bytes);
    view_put_uint(pool, "dirty_nodes", info->dirty_nodes);
    view_put_uint(pool, "cached_nodes", info->cached_nodes);
    view_put_uint(pool, "cache_hits", info->cache_hits);
    view_put_uint(pool, "cache_misses", info->cache_misses);
    view_put(pool, "created", view_time(info->created_ns));
    view_put(pool, "opened", view_time(info->opened_ns));
    return pool;
}

json_t *view_lun(const struct lun_info *info)
{
    char uuid[VIEW_UUID_TEXT];
    bool is_lun = info->kind == OBJECT_LUN;
    json_t *lun = json_object();
    if (!lun)
        return NULL;
    view_put_text(lun, "name", info->name);
    view_put_text(lun, "kind", is_lun ? "lun" : "snapshot");
    view_put_uint(lun, "size_bytes", info->size_bytes);
    view_put_uint(lun, "mapped_bytes", info->mapped_bytes);
    view_put_uint(lun, "own_bytes", info->own_bytes);
    view_put_uint(lun, "shared_bytes", info->shared_bytes);
    if (is_lun)
    {
        view_put_uint(lun, "snapshot_bytes", info->snapshot_bytes);
        view_put_uint(lun, "snapshots", info->snapshot_count);
    }
    view_put_uint(lun, "sector_bytes", info->sector_bytes);
    view_put_uint(lun, "open", info->open_handles);
    view_put_text(lun, "origin", info->origin);
    view_put_text(lun, "comment", info->comment);
    view_put_text(lun, "uuid", view_uuid(info->uuid, uuid));
    view_put_uint(lun, "id", info->id);
    view_put_uint(lun, "lun_id", info->lun_id);
    view_put_uint(lun, "line", info->line_id);
    view_put_uint(lun, "generation", info->generation);
    view_put(lun, "created", view_time(info->created_ns));
    return lun;
}

json_t *view_line(const struct line_info *line)
{
    const char *kind = line->is_dying    ? "dying"
                       : line->is_head   ? "lun"
                       : line->is_hidden ? "hidden"
                                         : "snapshot";
    json_t *object = json_object();
    if (!object)
        return NULL;
    view_put_uint(object, "id", line->id);
    view_put_uint(object, "predecessor", line->predecessor_id);
    view_put_text(object, "kind", kind);
    view_put_text(object, "name", line->name);
    view_put_uint(object, "mapped_bytes", line->mapped_bytes);
    view_put_uint(object, "own_bytes", line->own_bytes);
    view_put_uint(object, "dropped_bytes", line->dropped_bytes);
    view_put_uint(object, "children", line->child_count);
    view_put_uint(object, "snapshots", line->snapshot_count);
    view_put_uint(object, "birth", line->birth);
    view_put_uint(object, "frozen_at", line->frozen_at);
    return object;
}

json_t *view_job(const struct job_info *job)
{
    json_t *object = json_object();
    if (!object)
        return NULL;
    view_put_uint(object, "id", job->id);
    view_put_text(object, "kind", job->kind);
    view_put_text(object, "subject", job->subject);
    view_put_text(object, "state", job->state);
    view_put_uint(object, "done_bytes", job->done_blks * LUN_BLK_BYTES);
    view_put_uint(object, "total_bytes", job->total_blks * LUN_BLK_BYTES);
    return object;
}

json_t *view_event(const struct event *event)
{
    json_t *object = json_object();
    if (!object)
        return NULL;
    view_put_uint(object, "id", event->id);
    view_put(object, "time", view_time(event->time_ns));
    view_put_text(object, "severity", event->severity);
    view_put_text(object, "name", event->name);
    view_put_text(object, "object", event->object);
    view_put_text(object, "text", event->text);
    return object;
}

json_t *view_check(const struct check_result *result)
{
    json_t *object = json_object();
    if (!object)
        return NULL;
    view_put_uint(object, "errors", result->errors);
    view_put_uint(object, "warnings", result->warnings);
    view_put_uint(object, "blocks_checked", result->blks_checked);
    view_put_uint(object, "blocks_allocated", result->blks_allocated);
    view_put_uint(object, "blocks_reachable", result->blks_reachable);
    view_put_uint(object, "blocks_leaked", result->blks_leaked);
    view_put_uint(object, "nodes_checked", result->nodes_checked);
    view_put_uint(object, "lines_checked", result->lines_checked);
    view_put_uint(object, "objects_checked", result->objects_checked);
    view_put_uint(object, "extents_checked", result->extents_checked);
    return object;
}

json_t *view_listing(const char *key, json_t *array)
{
    AUTO_JSON json_t *listing = json_object();
    json_int_t count = (json_int_t)json_array_size(array);
    if (!array || !listing)
    {
        json_decref(array);
        return NULL;
    }
    if (json_object_set_new(listing, key, array) != 0 ||
        json_object_set_new(listing, "count", json_integer(count)) != 0)
        return NULL;
    return take_ptr(&listing);
}
