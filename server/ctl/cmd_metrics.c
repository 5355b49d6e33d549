/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * metrics: the server's figures as OpenMetrics text, which Prometheus reads too.
 *
 * Each family of metrics stands together, as the format demands, so what several verbs answered is
 * gone through once for each. A file is replaced in one step: a collector never sees half of it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lun/base/checked.h"
#include "server/ctl/ctl.h"

/* What the server answered. */
struct metrics
{
    json_t *status, *pool, *volumes, *luns, *quotas, *stats, *sessions, *jobs;
};

/* A number of an object as a metric. */
struct metric
{
    const char *key, *name, *unit, *help; /* unit "": none */
};

static const struct metric metrics_pool_gauges[] = {
    {"size_bytes", "lunette_pool_size_bytes", "bytes", "Size of the pool."},
    {"free_bytes", "lunette_pool_free_bytes", "bytes", "Space that data can take now."},
    {"available_bytes", "lunette_pool_available_bytes", "bytes", "Free space not promised."},
    {"promised_bytes", "lunette_pool_promised_bytes", "bytes",
     "Kept for reserved LUNs and guaranteed volumes, not written yet."},
    {"deferred_bytes", "lunette_pool_deferred_bytes", "bytes",
     "Freed, usable after the next checkpoint."},
    {"data_bytes", "lunette_pool_data_bytes", "bytes", "Taken by data."},
    {"metadata_bytes", "lunette_pool_metadata_bytes", "bytes", "Taken by metadata."},
    {"logical_bytes", "lunette_pool_logical_bytes", "bytes", "Sum of the sizes of all LUNs."},
    {"mapped_bytes", "lunette_pool_mapped_bytes", "bytes", "What copies of all LUNs would need."},
    {"luns", "lunette_pool_luns", "", "LUNs."},
    {"snapshots", "lunette_pool_snapshots", "", "Snapshots."},
    {"dying", "lunette_pool_dying", "", "Deleted lines whose space is not given back yet."},
    {"cached_nodes", "lunette_cache_nodes", "", "Nodes of metadata in memory."},
    {"dirty_nodes", "lunette_cache_dirty_nodes", "", "Of these, changed since the checkpoint."},
    {"journal_used_bytes", "lunette_journal_used_bytes", "bytes",
     "Taken of the half of the journal in use."},
    {"journal_size_bytes", "lunette_journal_size_bytes", "bytes", "Size of that half."},
};

static const struct metric metrics_pool_counters[] = {
    {"cache_hits", "lunette_cache_hits", "", "Nodes found in memory."},
    {"cache_misses", "lunette_cache_misses", "", "Nodes read from the device."},
    {"checkpoints", "lunette_checkpoints", "", "Checkpoints made."},
    {"commits", "lunette_journal_commits", "", "Commits of the journal."},
    {"syncs", "lunette_device_syncs", "", "Syncs of the device."},
};

static const struct metric metrics_volume_gauges[] = {
    {"size_bytes", "lunette_volume_size_bytes", "bytes", "Size, of those that have one."},
    {"charged_bytes", "lunette_volume_charged_bytes", "bytes",
     "Taken in it by data and metadata of its LUNs and snapshots."},
    {"available_bytes", "lunette_volume_available_bytes", "bytes",
     "What a write finds that was promised nothing."},
    {"reserved_bytes", "lunette_volume_reserved_bytes", "bytes",
     "Kept in it for its reserved LUNs, not written yet."},
    {"needed_bytes", "lunette_volume_promised_bytes", "bytes",
     "Kept by the pool for its guarantee, not written yet."},
    {"logical_bytes", "lunette_volume_logical_bytes", "bytes", "Sum of the sizes of its LUNs."},
    {"luns", "lunette_volume_luns", "", "LUNs in the volume."},
};

static const struct metric metrics_quota_gauges[] = {
    {"used_bytes", "lunette_quota_used_bytes", "bytes", "Sizes of the LUNs that count."},
    {"hard_bytes", "lunette_quota_hard_limit_bytes", "bytes", "Above it requests are refused."},
    {"soft_bytes", "lunette_quota_soft_limit_bytes", "bytes", "Above it an event warns."},
    {"threshold_bytes", "lunette_quota_threshold_bytes", "bytes", "Likewise, by another name."},
};

static const struct metric metrics_lun_gauges[] = {
    {"size_bytes", "lunette_lun_size_bytes", "bytes", "Size that hosts see."},
    {"mapped_bytes", "lunette_lun_mapped_bytes", "bytes", "Blocks with data, shared or not."},
    {"own_bytes", "lunette_lun_own_bytes", "bytes", "Of these, the LUN's own."},
    {"shared_bytes", "lunette_lun_shared_bytes", "bytes", "Of these, held with other LUNs."},
    {"needed_bytes", "lunette_lun_reserved_bytes", "bytes",
     "Kept for a reserved LUN, not written yet."},
    {"snapshot_bytes", "lunette_lun_snapshot_bytes", "bytes", "Held by its snapshots alone."},
    {"snapshots", "lunette_lun_snapshots", "", "Snapshots of the LUN."},
    {"open", "lunette_lun_open", "", "Handles that clients have open."},
};

static const struct metric metrics_session_counters[] = {
    {"commands", "lunette_iscsi_session_commands", "", "Commands of an iSCSI session."},
    {"read_bytes", "lunette_iscsi_session_read_bytes", "bytes", "Sent to an initiator."},
    {"written_bytes", "lunette_iscsi_session_written_bytes", "bytes", "Come from an initiator."},
};

static const char *const metrics_kinds[] = {"read", "write", "unmap", "flush"};

/* ---- text ---------------------------------------------------------------------------------- */

static void metrics_family(FILE *out, const char *name, const char *type, const char *unit,
                           const char *help)
{
    fprintf(out, "# TYPE %s %s\n", name, type);
    if (*unit)
        fprintf(out, "# UNIT %s %s\n", name, unit);
    fprintf(out, "# HELP %s %s\n", name, help);
}

/* key="value", with what would end the value written otherwise. */
static void metrics_label(FILE *out, const char *key, const char *value)
{
    fprintf(out, "%s=\"", key);
    for (; value && *value; value++)
    {
        if (*value == '\n')
            fputs("\\n", out);
        else if (*value == '"' || *value == '\\')
            fprintf(out, "\\%c", *value);
        else
            fputc(*value, out);
    }
    fputc('"', out);
}

static const char *metrics_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* @object's numbers, unlabelled. */
static void metrics_plain(FILE *out, const struct metric *list, size_t count, const char *type,
                          const json_t *object)
{
    const char *suffix = strcmp(type, "counter") == 0 ? "_total" : "";
    for (size_t i = 0; i < count; i++)
    {
        metrics_family(out, list[i].name, type, list[i].unit, list[i].help);
        fprintf(out, "%s%s %" PRIu64 "\n", list[i].name, suffix, ctl_get(object, list[i].key));
    }
}

/* A number of each volume; who has no size has no sample of it. */
static void metrics_of_volumes(FILE *out, const struct metric *metric, const json_t *volumes)
{
    size_t i;
    json_t *volume;
    metrics_family(out, metric->name, "gauge", metric->unit, metric->help);
    json_array_foreach(volumes, i, volume)
    {
        if (strcmp(metric->key, "size_bytes") == 0 && ctl_get(volume, metric->key) == 0)
            continue;
        fprintf(out, "%s{", metric->name);
        metrics_label(out, "volume", metrics_text(volume, "name"));
        fprintf(out, "} %" PRIu64 "\n", ctl_get(volume, metric->key));
    }
}

/* A number of each target that a rule of quota binds, the default ones too; no limit is no sample.
 */
static void metrics_of_quotas(FILE *out, const struct metric *metric, const json_t *quotas)
{
    static const char *const labels[] = {"volume", "type", "target", "qtree"};
    size_t i;
    json_t *quota;
    metrics_family(out, metric->name, "gauge", metric->unit, metric->help);
    json_array_foreach(quotas, i, quota)
    {
        if (!json_object_get(quota, metric->key))
            continue;
        fprintf(out, "%s{", metric->name);
        for (size_t label = 0; label < ARRAY_SIZE(labels); label++)
        {
            fputs(label > 0 ? "," : "", out);
            metrics_label(out, labels[label], metrics_text(quota, labels[label]));
        }
        fprintf(out, "} %" PRIu64 "\n", ctl_get(quota, metric->key));
    }
}

/* A number of each LUN. */
static void metrics_of_luns(FILE *out, const struct metric *metric, const json_t *luns)
{
    size_t i;
    json_t *lun;
    metrics_family(out, metric->name, "gauge", metric->unit, metric->help);
    json_array_foreach(luns, i, lun)
    {
        fprintf(out, "%s{", metric->name);
        metrics_label(out, "lun", metrics_text(lun, "name"));
        fprintf(out, "} %" PRIu64 "\n", ctl_get(lun, metric->key));
    }
}

/* ---- what LUNs do -------------------------------------------------------------------------- */

static void metrics_lun_labels(FILE *out, const json_t *lun, const char *kind)
{
    fputc('{', out);
    metrics_label(out, "lun", metrics_text(lun, "name"));
    if (kind)
    {
        fputc(',', out);
        metrics_label(out, "kind", kind);
    }
}

static void metrics_operations(FILE *out, const json_t *luns)
{
    static const struct metric families[] = {
        {"ops", "lunette_lun_operations", "", "Requests that succeeded."},
        {"bytes", "lunette_lun_transferred_bytes", "bytes", "Data that they moved."},
    };
    for (size_t family = 0; family < ARRAY_SIZE(families); family++)
    {
        const struct metric *metric = &families[family];
        size_t i;
        json_t *lun;
        metrics_family(out, metric->name, "counter", metric->unit, metric->help);
        json_array_foreach(luns, i, lun)
        {
            for (size_t kind = 0; kind < ARRAY_SIZE(metrics_kinds); kind++)
            {
                fprintf(out, "%s_total", metric->name);
                metrics_lun_labels(out, lun, metrics_kinds[kind]);
                fprintf(out, "} %" PRIu64 "\n",
                        ctl_get(json_object_get(lun, metrics_kinds[kind]), metric->key));
            }
        }
    }
}

/*
 * One histogram: cumulative counts. All have the same bounds, so that they can be added up; the
 * last bucket has none.
 */
static void metrics_histogram(FILE *out, const json_t *lun, const char *kind, const json_t *stats)
{
    const json_t *io = json_object_get(lun, kind), *latency = json_object_get(io, "latency");
    uint64_t shift = ctl_get(stats, "latency_shift"), buckets = ctl_get(stats, "latency_buckets");
    uint64_t sum = 0;
    for (uint64_t i = 0; i + 1 < buckets; i++)
    {
        sum += (uint64_t)json_integer_value(json_array_get(latency, i));
        fputs("lunette_lun_latency_seconds_bucket", out);
        metrics_lun_labels(out, lun, kind);
        fprintf(out, ",le=\"%.12g\"} %" PRIu64 "\n",
                (double)(UINT64_C(1) << ((shift + i) & 63)) / 1e9, sum);
    }
    sum = ctl_get(io, "ops");
    fputs("lunette_lun_latency_seconds_bucket", out);
    metrics_lun_labels(out, lun, kind);
    fprintf(out, ",le=\"+Inf\"} %" PRIu64 "\n", sum);
    fputs("lunette_lun_latency_seconds_count", out);
    metrics_lun_labels(out, lun, kind);
    fprintf(out, "} %" PRIu64 "\n", sum);
    fputs("lunette_lun_latency_seconds_sum", out);
    metrics_lun_labels(out, lun, kind);
    fprintf(out, "} %.9f\n", (double)ctl_get(io, "ns") / 1e9);
}

static void metrics_latency(FILE *out, const json_t *stats)
{
    const json_t *luns = json_object_get(stats, "luns");
    size_t i;
    json_t *lun;
    metrics_family(out, "lunette_lun_latency_seconds", "histogram", "seconds",
                   "From when a request was there until it was done, limits included.");
    json_array_foreach(luns, i, lun)
    {
        for (size_t kind = 0; kind < ARRAY_SIZE(metrics_kinds); kind++)
            if (ctl_get(json_object_get(lun, metrics_kinds[kind]), "ops") > 0)
                metrics_histogram(out, lun, metrics_kinds[kind], stats);
    }
}

static void metrics_held(FILE *out, const json_t *luns)
{
    size_t i;
    json_t *lun;
    metrics_family(out, "lunette_lun_held", "counter", "", "Requests that waited for a limit.");
    json_array_foreach(luns, i, lun)
    {
        fputs("lunette_lun_held_total", out);
        metrics_lun_labels(out, lun, NULL);
        fprintf(out, "} %" PRIu64 "\n", ctl_get(lun, "held"));
    }
    metrics_family(out, "lunette_lun_held_seconds", "counter", "seconds", "How long they waited.");
    json_array_foreach(luns, i, lun)
    {
        fputs("lunette_lun_held_seconds_total", out);
        metrics_lun_labels(out, lun, NULL);
        fprintf(out, "} %.9f\n", (double)ctl_get(lun, "held_ns") / 1e9);
    }
    const struct metric waiting = {"waiting", "lunette_lun_waiting", "",
                                   "Requests that wait for a limit now."};
    metrics_of_luns(out, &waiting, luns);
}

/* ---- the rest ------------------------------------------------------------------------------ */

static void metrics_server(FILE *out, const struct metrics *metrics)
{
    const char *health = metrics_text(metrics->pool, "health");
    metrics_family(out, "lunette_build", "info", "", "The server.");
    fputs("lunette_build_info{", out);
    metrics_label(out, "version", metrics_text(metrics->status, "version"));
    fputc(',', out);
    metrics_label(out, "pool", metrics_text(metrics->status, "pool"));
    fputs("} 1\n", out);
    metrics_family(out, "lunette_uptime_seconds", "gauge", "seconds", "Since the pool was opened.");
    fprintf(out, "lunette_uptime_seconds %" PRIu64 "\n", ctl_get(metrics->status, "uptime_s"));
    metrics_family(out, "lunette_pool_health", "stateset", "", "Health of the pool.");
    for (int i = POOL_HEALTHY; i <= POOL_FAILED; i++)
    {
        const char *name = pool_health_name((enum pool_health)i);
        fprintf(out, "lunette_pool_health{lunette_pool_health=\"%s\"} %d\n", name,
                strcmp(health, name) == 0);
    }
}

static void metrics_jobs(FILE *out, const json_t *jobs)
{
    static const char *const kinds[] = {"delete", "merge", "reclaim", "shrink"};
    metrics_family(out, "lunette_jobs", "gauge", "", "Background work that is not done.");
    for (size_t kind = 0; kind < ARRAY_SIZE(kinds); kind++)
    {
        size_t i, count = 0;
        json_t *job;
        json_array_foreach(jobs, i, job) count +=
            strcmp(metrics_text(job, "kind"), kinds[kind]) == 0;
        fprintf(out, "lunette_jobs{kind=\"%s\"} %zu\n", kinds[kind], count);
    }
}

static void metrics_sessions(FILE *out, const json_t *sessions)
{
    metrics_family(out, "lunette_iscsi_sessions", "gauge", "", "iSCSI sessions.");
    fprintf(out, "lunette_iscsi_sessions %zu\n", json_array_size(sessions));
    for (size_t i = 0; i < ARRAY_SIZE(metrics_session_counters); i++)
    {
        const struct metric *metric = &metrics_session_counters[i];
        size_t at;
        json_t *session;
        metrics_family(out, metric->name, "counter", metric->unit, metric->help);
        json_array_foreach(sessions, at, session)
        {
            fprintf(out, "%s_total{", metric->name);
            metrics_label(out, "initiator", metrics_text(session, "initiator"));
            fprintf(out, ",session=\"%" PRIu64 "\"} %" PRIu64 "\n", ctl_get(session, "tsih"),
                    ctl_get(session, metric->key));
        }
    }
}

static void metrics_print(FILE *out, const struct metrics *metrics)
{
    const json_t *stats = json_object_get(metrics->stats, "luns");
    metrics_server(out, metrics);
    metrics_plain(out, metrics_pool_gauges, ARRAY_SIZE(metrics_pool_gauges), "gauge",
                  metrics->pool);
    metrics_plain(out, metrics_pool_counters, ARRAY_SIZE(metrics_pool_counters), "counter",
                  metrics->pool);
    metrics_jobs(out, json_object_get(metrics->jobs, "jobs"));
    metrics_sessions(out, json_object_get(metrics->sessions, "sessions"));
    for (size_t i = 0; i < ARRAY_SIZE(metrics_volume_gauges); i++)
        metrics_of_volumes(out, &metrics_volume_gauges[i],
                           json_object_get(metrics->volumes, "volumes"));
    for (size_t i = 0; i < ARRAY_SIZE(metrics_quota_gauges); i++)
        metrics_of_quotas(out, &metrics_quota_gauges[i],
                          json_object_get(metrics->quotas, "quotas"));
    for (size_t i = 0; i < ARRAY_SIZE(metrics_lun_gauges); i++)
        metrics_of_luns(out, &metrics_lun_gauges[i], json_object_get(metrics->luns, "luns"));
    metrics_operations(out, stats);
    metrics_held(out, stats);
    metrics_latency(out, metrics->stats);
    fputs("# EOF\n", out);
}

/* ---- where it goes ------------------------------------------------------------------------- */

static int metrics_write(const struct metrics *metrics, const char *path)
{
    FILE *file = fopen(path, "wx");
    if (!file)
        return -errno;
    /* Whoever may read the folder: a collector runs as another user. */
    int r = fchmod(fileno(file), 0644) < 0 ? -errno : 0;
    metrics_print(file, metrics);
    if (r == 0 && ferror(file))
        r = -EIO;
    return fclose(file) == 0 ? r : keep_first(r, -errno);
}

/* Beside @path under a name that collectors do not read, then in its place. */
static enum ctl_exit metrics_replace(const struct invocation *in, const struct metrics *metrics,
                                     const char *path)
{
    char text[1024];
    AUTO_FREE char *temporary = NULL;
    if (asprintf(&temporary, "%s.%d.tmp", path, (int)getpid()) < 0)
        return ctl_no_memory(in);
    int r = metrics_write(metrics, temporary);
    if (r == 0 && rename(temporary, path) < 0)
        r = -errno;
    if (r == 0)
        return CTL_DONE;
    if (r != -EEXIST)
        unlink(temporary);
    snprintf(text, sizeof(text), "cannot write %s: %s", path, strerror(-r));
    return ctl_fail(in, r, text, NULL);
}

static enum ctl_exit metrics_ask(const struct invocation *in, struct metrics *metrics)
{
    struct client client;
    enum ctl_exit status = ctl_connect(in, &client);
    if (status != CTL_DONE)
        return status;
    const struct
    {
        const char *verb;
        json_t **result;
    } questions[] = {
        {"server.status", &metrics->status}, {"pool.show", &metrics->pool},
        {"lun.show", &metrics->luns},        {"stats.show", &metrics->stats},
        {"volume.show", &metrics->volumes},  {"quota.report", &metrics->quotas},
        {"job.list", &metrics->jobs},        {"iscsi.session.show", &metrics->sessions},
    };
    for (size_t i = 0; status == CTL_DONE && i < ARRAY_SIZE(questions); i++)
        status = ctl_call(in, &client, questions[i].verb, NULL, questions[i].result);
    client_close(&client);
    return status;
}

static json_t *metrics_json(const struct metrics *metrics)
{
    return json_pack("{s:O, s:O, s:O, s:O, s:O, s:O, s:O, s:O}", "server", metrics->status, "pool",
                     metrics->pool, "volumes", json_object_get(metrics->volumes, "volumes"),
                     "quotas", json_object_get(metrics->quotas, "quotas"), "luns",
                     json_object_get(metrics->luns, "luns"), "stats", metrics->stats, "jobs",
                     json_object_get(metrics->jobs, "jobs"), "sessions",
                     json_object_get(metrics->sessions, "sessions"));
}

enum ctl_exit ctl_metrics(struct invocation *in)
{
    struct metrics metrics = {0};
    const char *output = option_text(in, "output");
    if (output && option_flag(in, "json"))
        return ctl_usage(in, "--output writes metrics, not JSON: not both");
    enum ctl_exit status = metrics_ask(in, &metrics);
    AUTO_JSON json_t *json = status == CTL_DONE ? metrics_json(&metrics) : NULL;
    if (status == CTL_DONE && !json)
        status = ctl_no_memory(in);
    else if (status == CTL_DONE && output)
        status = metrics_replace(in, &metrics, output);
    else if (status == CTL_DONE && option_flag(in, "json"))
        table_print_json(stdout, json);
    else if (status == CTL_DONE)
        metrics_print(stdout, &metrics);
    json_decref(metrics.status);
    json_decref(metrics.pool);
    json_decref(metrics.volumes);
    json_decref(metrics.quotas);
    json_decref(metrics.luns);
    json_decref(metrics.stats);
    json_decref(metrics.jobs);
    json_decref(metrics.sessions);
    return status;
}
