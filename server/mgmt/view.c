/* SPDX-License-Identifier: BSD-3-Clause */
/* The engine's structures as JSON. */
#include "server/mgmt/view.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "lun/base/checked.h"
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

/* As hosts see it: the same without what divides it. */
static const char *view_serial(const uint8_t uuid[16], char text[VIEW_UUID_TEXT])
{
    size_t at = 0;
    view_uuid(uuid, text);
    for (const char *from = text; *from; from++)
        if (*from != '-')
            text[at++] = *from;
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

/* 0 is no time: the key is missing. */
static void view_put_time(json_t *object, const char *key, uint64_t ns)
{
    if (ns)
        view_put(object, key, view_time(ns));
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

json_t *view_savings(uint64_t mapped_bytes, uint64_t data_bytes)
{
    return mapped_bytes > 0 && data_bytes == 0
               ? json_null()
               : json_real(view_savings_ratio(mapped_bytes, data_bytes));
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

/* As the thresholds count: all that is not available. */
static double view_used_percent(const struct pool_info *info)
{
    uint64_t free_bytes = min_u64(info->available_bytes, info->size_bytes);
    return info->size_bytes ? 100.0 - (double)free_bytes * 100.0 / (double)info->size_bytes : 0.0;
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
    view_put(pool, "used_percent", json_real(view_used_percent(info)));
    view_put_uint(pool, "logical_bytes", info->logical_bytes);
    view_put_uint(pool, "mapped_bytes", info->mapped_bytes);
    view_put(pool, "savings_ratio", view_savings(info->mapped_bytes, info->data_bytes));
    view_put_uint(pool, "luns", info->lun_count);
    view_put_uint(pool, "snapshots", info->snapshot_count);
    view_put_uint(pool, "volumes", info->volume_count);
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
        view_put_uint(lun, "logical_bytes", info->size_bytes);
        view_put_text(lun, "serial", view_serial(info->uuid, uuid));
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
    view_put_time(lun, "locked_until", info->locked_until_ns);
    if (!is_lun)
    {
        view_put(lun, "lun_deleted", json_boolean(info->is_lun_deleted));
        return lun;
    }
    view_put(lun, "reserved", json_boolean(info->is_reserved));
    view_put_uint(lun, "needed_bytes", info->needed_bytes);
    view_put(lun, "autodelete", json_boolean(info->is_autodelete));
    view_put_time(lun, "expire", info->expire_ns);
    view_put_text(lun, "owner", info->owner);
    view_put_text(lun, "group", info->group);
    return lun;
}

json_t *view_volume(const struct volume_info *info)
{
    char uuid[VIEW_UUID_TEXT];
    json_t *volume = json_object();
    if (!volume)
        return NULL;
    view_put_text(volume, "name", info->name);
    view_put_uint(volume, "size_bytes", info->size_bytes);
    view_put_text(volume, "guarantee", info->is_guaranteed ? "volume" : "none");
    view_put_uint(volume, "luns", info->lun_count);
    view_put_uint(volume, "qtrees", info->qtree_count);
    view_put_uint(volume, "snapshots", info->snapshot_count);
    view_put_uint(volume, "deleted_luns", info->deleted_lun_count);
    view_put_uint(volume, "logical_bytes", info->logical_bytes);
    view_put_uint(volume, "mapped_bytes", info->mapped_bytes);
    view_put_uint(volume, "own_bytes", info->own_bytes);
    view_put_uint(volume, "shared_bytes", info->mapped_bytes - info->own_bytes);
    view_put_uint(volume, "charged_bytes", info->charged_bytes);
    view_put_uint(volume, "used_bytes", info->charged_bytes);
    view_put_uint(volume, "snapshot_bytes", info->snapshot_bytes);
    view_put_uint(volume, "reserved_bytes", info->reserved_bytes);
    view_put_uint(volume, "needed_bytes", info->needed_bytes);
    view_put_uint(volume, "available_bytes", info->available_bytes);
    view_put(volume, "savings_ratio", view_savings(info->mapped_bytes, info->charged_bytes));
    view_put_text(volume, "full_policy", info->pauses_when_full ? "pause" : "error");
    view_put_uint(volume, "pause_ms", info->pause_ms);
    view_put(volume, "clone_volume", json_boolean(info->parent_snapshot_id != 0));
    view_put_text(volume, "parent", info->parent);
    view_put(volume, "parent_volume", json_stringn(info->parent, strcspn(info->parent, "@")));
    view_put_text(volume, "comment", info->comment);
    view_put_text(volume, "uuid", view_uuid(info->uuid, uuid));
    view_put_uint(volume, "id", info->id);
    view_put(volume, "created", view_time(info->created_ns));
    view_put_time(volume, "locked_until", info->locked_until_ns);
    return volume;
}

json_t *view_qtree(const struct qtree_info *info)
{
    json_t *qtree = json_object();
    if (!qtree)
        return NULL;
    view_put_text(qtree, "path", info->path);
    view_put_uint(qtree, "luns", info->lun_count);
    view_put_uint(qtree, "logical_bytes", info->logical_bytes);
    view_put_text(qtree, "comment", info->comment);
    view_put_uint(qtree, "id", info->id);
    view_put(qtree, "created", view_time(info->created_ns));
    return qtree;
}

json_t *view_volume_snapshot(const struct volume_snapshot_info *info)
{
    json_t *snapshot = json_object();
    if (!snapshot)
        return NULL;
    view_put_text(snapshot, "name", info->name);
    view_put_text(snapshot, "kind", "volume");
    view_put_uint(snapshot, "luns", info->lun_count);
    view_put_uint(snapshot, "size_bytes", info->logical_bytes);
    view_put(snapshot, "busy", json_boolean(info->clone_count > 0));
    view_put(snapshot, "automatic", json_boolean(info->is_automatic));
    view_put(snapshot, "deferred", json_boolean(info->is_deferred));
    view_put_text(snapshot, "comment", info->comment);
    view_put_uint(snapshot, "id", info->id);
    view_put(snapshot, "created", view_time(info->created_ns));
    view_put_time(snapshot, "locked_until", info->locked_until_ns);
    return snapshot;
}

/* No limit is no key. */
static void view_put_limit(json_t *object, const char *key, uint64_t bytes)
{
    if (bytes != UINT64_MAX)
        view_put_uint(object, key, bytes);
}

json_t *view_quota_rule(const struct quota_rule *rule)
{
    static const char *const types[] = {
        [QUOTA_TREE] = "tree", [QUOTA_USER] = "user", [QUOTA_GROUP] = "group"};
    json_t *object = json_object();
    if (!object)
        return NULL;
    view_put_text(object, "volume", rule->volume);
    view_put_text(object, "type", types[rule->type]);
    view_put_text(object, "target", rule->target);
    view_put_text(object, "qtree", rule->qtree);
    view_put_limit(object, "hard_bytes", rule->hard_bytes);
    view_put_limit(object, "soft_bytes", rule->soft_bytes);
    view_put_limit(object, "threshold_bytes", rule->threshold_bytes);
    return object;
}

json_t *view_quota_usage(const struct quota_usage *usage)
{
    json_t *object = view_quota_rule(&usage->rule);
    if (!object)
        return NULL;
    const char *state = !usage->is_enabled                                ? "off"
                        : usage->used_bytes > usage->rule.hard_bytes      ? "over-allocated"
                        : usage->used_bytes > usage->rule.soft_bytes      ? "above the soft limit"
                        : usage->used_bytes > usage->rule.threshold_bytes ? "above the threshold"
                                                                          : "ok";
    view_put_uint(object, "used_bytes", usage->used_bytes);
    view_put_uint(object, "luns", usage->lun_count);
    view_put(object, "default_rule", json_boolean(usage->is_default));
    view_put_text(object, "state", state);
    return object;
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
    view_put_text(object, "problem", job->problem);
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

void view_add_finding(void *findings, bool is_error, const char *text)
{
    ignore_error(json_array_append_new(
                     findings, json_pack("{s:b, s:s}", "error", (int)is_error, "text", text)),
                 "counted in the result");
}

static const char *view_scrub_state(const struct scrub_info *info)
{
    if (info->is_running)
        return "running";
    if (info->id == 0)
        return "none";
    if (info->is_cancelled)
        return "cancelled";
    return info->error < 0 ? "failed" : "finished";
}

json_t *view_scrub(const struct scrub_info *info, json_t *findings)
{
    json_t *object = json_object();
    if (!object || !findings)
    {
        json_decref(findings);
        json_decref(object);
        return NULL;
    }
    uint64_t percent = info->total_blks ? info->done_blks * 100 / info->total_blks : 0;
    view_put_uint(object, "id", info->id);
    view_put_text(object, "state", view_scrub_state(info));
    if (info->error < 0)
        view_put_text(object, "error", strerror(-info->error));
    if (info->id != 0)
        view_put(object, "started", view_time(info->started_ns));
    if (info->ended_ns != 0)
        view_put(object, "ended", view_time(info->ended_ns));
    view_put_uint(object, "percent", percent);
    view_put_uint(object, "blocks_read", info->done_blks);
    view_put_uint(object, "blocks_total", info->total_blks);
    view_put_uint(object, "damaged", info->damaged_blks);
    view_put_uint(object, "repaired", info->repaired_blks);
    view_put_uint(object, "spare", info->spare_blks);
    view_put(object, "findings", findings);
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
