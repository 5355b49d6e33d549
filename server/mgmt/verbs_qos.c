/* SPDX-License-Identifier: BSD-3-Clause */
/* Verbs on QoS classes and who is in them, and the figures of LUNs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "server/mgmt/proto.h"
#include "server/mgmt/verbs.h"
#include "server/mgmt/verbs_internal.h"
#include "server/mgmt/view.h"
#include "server/qos/qos.h"

static struct qos *verb_qos(const struct verb_request *request)
{
    return target_qos(request->target);
}

/* ---- classes ------------------------------------------------------------------------------- */

/* What the request says of limits. What 32 bits cannot hold becomes what no class takes. */
static void verb_qos_change(const struct verb_request *request, struct qos_class_change *change)
{
    *change = (struct qos_class_change){
        .has_iops = verb_has(request, "max_iops"),
        .has_bps = verb_has(request, "max_bps"),
        .has_burst = verb_has(request, "burst_ms"),
        .has_weight = verb_has(request, "weight"),
        .limits =
            {
                .max_iops = verb_number(request, "max_iops", 0),
                .max_bps = verb_number(request, "max_bps", 0),
                .burst_ms = (uint32_t)min_u64(verb_number(request, "burst_ms", 0), UINT32_MAX),
                .weight = (uint32_t)min_u64(verb_number(request, "weight", 0), UINT32_MAX),
            },
    };
}

static int verb_put_limits(json_t *object, const struct qos_limits *limits)
{
    return json_object_update_new(object, json_pack("{s:o, s:o, s:i, s:i}", "max_iops",
                                                    proto_json_uint(limits->max_iops), "max_bps",
                                                    proto_json_uint(limits->max_bps), "burst_ms",
                                                    (int)limits->burst_ms, "weight",
                                                    (int)limits->weight)) == 0
               ? 0
               : -ENOMEM;
}

static int verb_qos_view_class(struct verb_request *request, const struct qos_class_info *info,
                               json_t **view)
{
    struct pool_info pool;
    uint64_t users = info->users;
    if (strcmp(info->name, QOS_CLASS_DEFAULT) == 0)
    {
        AUTO_FREE struct qos_lun_info *luns = NULL;
        size_t count = 0;
        int r = qos_lun_list(verb_qos(request), &luns, &count);
        if (r < 0)
            return r;
        pool_get_info(request->pool, &pool);
        users = pool.lun_count;
        for (size_t i = 0; i < count; i++)
            if (luns[i].is_assigned && users > 0)
                users--;
    }
    AUTO_JSON json_t *object = json_pack("{s:s, s:b, s:o}", "name", info->name, "built_in",
                                         (int)info->is_built_in, "users", proto_json_uint(users));
    if (!object || verb_put_limits(object, &info->limits) < 0)
        return -ENOMEM;
    *view = take_ptr(&object);
    return 0;
}

/* {"classes":[...],"count":N}, of all or one. */
static int verb_qos_show_classes(struct verb_request *request, const char *name)
{
    AUTO_FREE struct qos_class_info *list = NULL;
    size_t count = 0;
    int r = qos_class_list(verb_qos(request), name, &list, &count, &request->why);
    if (r < 0)
        return r;
    json_t *array = json_array();
    for (size_t i = 0; r == 0 && i < count; i++)
    {
        json_t *view = NULL;
        r = verb_qos_view_class(request, &list[i], &view);
        if (r == 0 && json_array_append_new(array, view) != 0)
            r = -ENOMEM;
    }
    request->result = view_listing("classes", array);
    return request->result ? r : -ENOMEM;
}

int verb_qos_class_create(struct verb_request *request)
{
    struct qos_class_change change;
    const char *name = verb_string(request, "name");
    verb_qos_change(request, &change);
    int r = qos_class_create(verb_qos(request), name, &change, &request->why);
    request->is_done = r == 0;
    return r < 0 ? r : verb_qos_show_classes(request, name);
}

int verb_qos_class_modify(struct verb_request *request)
{
    struct qos_class_change change;
    const char *name = verb_string(request, "name");
    verb_qos_change(request, &change);
    if (!change.has_iops && !change.has_bps && !change.has_burst && !change.has_weight)
        return reason_set(&request->why, -EINVAL, "nothing is said that is to be modified");
    int r = qos_class_modify(verb_qos(request), name, &change, &request->why);
    request->is_done = r == 0;
    return r < 0 ? r : verb_qos_show_classes(request, name);
}

int verb_qos_class_delete(struct verb_request *request)
{
    bool dry_run = verb_bool(request, "dry_run");
    const char *name = verb_string(request, "name");
    int r = qos_class_delete(verb_qos(request), name, dry_run, &request->why);
    if (r < 0)
        return r;
    request->is_done = true;
    request->result = json_pack("{s:s, s:b}", "name", name, "dry_run", (int)dry_run);
    return request->result ? 0 : -ENOMEM;
}

int verb_qos_class_show(struct verb_request *request)
{
    return verb_qos_show_classes(request, verb_string(request, "name"));
}

/* ---- subjects ------------------------------------------------------------------------------ */

/* What @name is: a LUN or a volume. */
static int verb_qos_find(struct verb_request *request, const char *name, enum qos_kind *kind,
                         uint64_t *id)
{
    struct lun_info lun;
    struct volume_info volume;
    if (strchr(name, '@'))
        return reason_set(&request->why, -EINVAL,
                          "a snapshot is in the class of its LUN: leave out '%s'",
                          strchr(name, '@'));
    int r = lun_get_info(request->pool, name, &lun, &request->why);
    if (r == 0)
    {
        *kind = QOS_LUN;
        *id = lun.id;
    }
    if (r != -ENOENT)
        return r;
    r = volume_get_info(request->pool, name, &volume, NULL);
    if (r < 0)
        return reason_set(&request->why, r, "there is no LUN or volume '%s'", name);
    *kind = QOS_VOLUME;
    *id = volume.id;
    return 0;
}

int verb_check_class(struct verb_request *request)
{
    AUTO_FREE struct qos_class_info *list = NULL;
    size_t count = 0;
    const char *name = verb_string(request, "qos");
    return name ? qos_class_list(verb_qos(request), name, &list, &count, &request->why) : 0;
}

/* The ids of clones, into @ids. */
static int verb_find_clones(struct verb_request *request, const char *name, uint32_t count,
                            uint32_t first_number, uint64_t *ids)
{
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < count; i++)
    {
        struct lun_info info = {.id = 0};
        char clone[LUN_NAME_MAX + 1];
        snprintf(clone, sizeof(clone), "%s", name);
        if (count > 1)
            r = lun_clone_name(name, first_number + i, clone, sizeof(clone), &request->why);
        if (r == 0)
            r = lun_get_info(request->pool, clone, &info, &request->why);
        ids[i] = info.id;
    }
    return r;
}

int verb_classify_clones(struct verb_request *request, const char *name, uint32_t count,
                         uint32_t first_number)
{
    uint32_t clones = count > 1 ? count : 1;
    if (!verb_has(request, "qos") || verb_bool(request, "dry_run"))
        return 0;
    AUTO_FREE uint64_t *ids = calloc(clones, sizeof(*ids));
    int r = ids ? verb_find_clones(request, name, clones, first_number, ids) : -ENOMEM;
    if (r == 0)
        r = qos_set(verb_qos(request), QOS_LUN, ids, clones, verb_string(request, "qos"),
                    &request->why);
    if (r < 0)
    {
        struct reason why = request->why;
        reason_set(&request->why, r, "what was asked for is made, but not all in the class: %.900s",
                   why.text[0] ? why.text : strerror(-r));
    }
    return r;
}

int verb_classify(struct verb_request *request, bool is_volume, uint64_t id)
{
    if (!verb_has(request, "qos") || verb_bool(request, "dry_run"))
        return 0;
    return qos_set(verb_qos(request), is_volume ? QOS_VOLUME : QOS_LUN, &id, 1,
                   verb_string(request, "qos"), &request->why);
}

int verb_settings_begin(struct verb_request *request, enum policy_scope scope, uint64_t id,
                        unsigned mask, const struct policy_settings *policies,
                        struct verb_settings *settings)
{
    size_t count = 0;
    *settings = (struct verb_settings){.is_stored = false};
    int r = policy_put_begin(target_policy(request->target), scope, id, mask, policies,
                             &settings->policies, &request->why);
    if (r == 0)
        r = qos_put_begin(verb_qos(request), scope == POLICY_OF_VOLUME ? QOS_VOLUME : QOS_LUN, id,
                          verb_string(request, "qos"), &settings->class, &request->why);
    if (r < 0)
        return r;
    for (; count < settings->policies.also.count; count++)
        settings->changes[count] = settings->policies.changes[count];
    if (verb_has(request, "qos"))
        settings->changes[count++] = settings->class.change;
    settings->also = (struct store_also){.changes = settings->changes, .count = count};
    return 0;
}

void verb_settings_end(struct verb_settings *settings)
{
    qos_put_end(&settings->class, settings->is_stored);
    policy_put_end(&settings->policies);
}

int verb_say_unclassified(struct verb_request *request, int r)
{
    struct reason why = request->why;
    return reason_set(&request->why, r,
                      "what else was asked for is done, but the QoS class was not set: %.900s",
                      why.text[0] ? why.text : strerror(-r));
}

void verb_forget_volume_class(struct verb_request *request, uint64_t volume_id)
{
    qos_forget_volume(verb_qos(request), volume_id);
}

/* All names are looked up before anything is changed. */
static int verb_qos_set_names(struct verb_request *request, const char *const *names, size_t count,
                              const char *class_name)
{
    AUTO_FREE uint64_t *luns = calloc(count + 1, sizeof(*luns));
    AUTO_FREE uint64_t *volumes = calloc(count + 1, sizeof(*volumes));
    size_t lun_count = 0, volume_count = 0;
    int r = luns && volumes ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < count; i++)
    {
        enum qos_kind kind = QOS_LUN;
        uint64_t id = 0;
        r = verb_qos_find(request, names[i], &kind, &id);
        if (kind == QOS_VOLUME)
            volumes[volume_count++] = id;
        else
            luns[lun_count++] = id;
    }
    if (r == 0 && lun_count > 0)
        r = qos_set(verb_qos(request), QOS_LUN, luns, lun_count, class_name, &request->why);
    if (r == 0 && volume_count > 0)
        r = qos_set(verb_qos(request), QOS_VOLUME, volumes, volume_count, class_name,
                    &request->why);
    return r;
}

int verb_qos_set(struct verb_request *request)
{
    AUTO_FREE const char **names = NULL;
    size_t count = 0;
    const uint64_t pool_id = 0;
    const char *class_name = verb_string(request, "class");
    bool is_pool = verb_bool(request, "pool");
    int r = verb_strings(request, "names", &names, &count);
    if (r < 0)
        return r;
    if ((count > 0) == is_pool)
        return reason_set(&request->why, -EINVAL, "name either LUNs and volumes or the pool");
    r = is_pool ? qos_set(verb_qos(request), QOS_POOL, &pool_id, 1, class_name, &request->why)
                : verb_qos_set_names(request, names, count, class_name);
    if (r < 0)
        return r;
    request->is_done = true;
    request->result =
        json_pack("{s:s, s:I}", "class", class_name, "count", (json_int_t)(is_pool ? 1 : count));
    return request->result ? 0 : -ENOMEM;
}

static int verb_compare_lun_id(const void *key, const void *entry)
{
    uint64_t id = *(const uint64_t *)key, other = ((const struct qos_lun_info *)entry)->id;
    return id < other ? -1 : id > other;
}

void verb_classes_free(struct verb_classes *classes)
{
    free(classes->luns);
    free(classes->groups);
}

int verb_classes_load(struct verb_request *request, struct verb_classes *classes)
{
    if (!verb_qos(request))
        return 0;
    int r = qos_lun_list(verb_qos(request), &classes->luns, &classes->lun_count);
    return r < 0 ? r : qos_group_list(verb_qos(request), &classes->groups, &classes->group_count);
}

void verb_classes_view(const struct verb_classes *classes, bool is_volume, json_t *view)
{
    uint64_t id = (uint64_t)json_integer_value(json_object_get(view, "id"));
    const char *name = is_volume ? "none" : QOS_CLASS_DEFAULT;
    const struct qos_lun_info *lun =
        is_volume || classes->lun_count == 0
            ? NULL
            : bsearch(&id, classes->luns, classes->lun_count, sizeof(*lun), verb_compare_lun_id);
    if (lun)
        name = lun->class_name;
    for (size_t i = 0; is_volume && i < classes->group_count; i++)
        if (classes->groups[i].kind == QOS_VOLUME && classes->groups[i].id == id)
            name = classes->groups[i].class_name;
    ignore_error(json_object_set_new(view, "qos", json_string(name)), "shown only");
}

void verb_view_class(struct verb_request *request, bool is_volume, json_t *view)
{
    CLEANUP(verb_classes_free) struct verb_classes classes = {0};
    if (view && verb_classes_load(request, &classes) == 0)
        verb_classes_view(&classes, is_volume, view);
}

/* What is to be said of one LUN; @info is zeroed if QoS does not know it. NULL: nothing. */
typedef json_t *verb_view_lun_fn(const char *name, const struct qos_lun_info *info);

/* Adds to @array what @view makes of the LUNs that QoS knows, or with @name of that one, by name.
 */
static int verb_each_lun(struct verb_request *request, const char *name, json_t *array,
                         verb_view_lun_fn *view)
{
    AUTO_FREE struct qos_lun_info *known = NULL;
    AUTO_FREE struct lun_info *luns = NULL;
    size_t known_count = 0, count = 0;
    int r = qos_lun_list(verb_qos(request), &known, &known_count);
    if (r == 0)
        r = lun_list(request->pool, name, &luns, &count, &request->why);
    for (size_t i = 0; r == 0 && i < count; i++)
    {
        const struct qos_lun_info *info =
            bsearch(&luns[i].id, known, known_count, sizeof(*known), verb_compare_lun_id);
        const struct qos_lun_info unknown = {
            .id = luns[i].id,
            .class_name = QOS_CLASS_DEFAULT,
        };
        if (luns[i].kind != OBJECT_LUN || !(info || name))
            continue;
        json_t *object = view(luns[i].name, info ? info : &unknown);
        if (object && json_array_append_new(array, object) != 0)
            r = -ENOMEM;
    }
    return r;
}

static json_t *verb_view_subject(const char *kind, const char *name, const char *class_name,
                                 const struct qos_limits *limits)
{
    AUTO_JSON json_t *object =
        json_pack("{s:s, s:s, s:s}", "kind", kind, "name", name, "class", class_name);
    if (!object || verb_put_limits(object, limits) < 0)
        return NULL;
    return take_ptr(&object);
}

static json_t *verb_view_qos_lun(const char *name, const struct qos_lun_info *info)
{
    json_t *object = verb_view_subject("lun", name, info->class_name, &info->limits);
    if (object && json_object_update_new(
                      object, json_pack("{s:I, s:o, s:f}", "waiting", (json_int_t)info->waiting,
                                        "held", proto_json_uint(info->held_ops), "held_s",
                                        (double)info->held_ns / 1e9)) != 0)
        json_decref(take_ptr(&object));
    return object;
}

/* Only those that are in a class. */
static json_t *verb_view_assigned_lun(const char *name, const struct qos_lun_info *info)
{
    return info->is_assigned ? verb_view_qos_lun(name, info) : NULL;
}

/* The pool and the volumes in classes, or with @volume_id not 0 that one, in a class or not. */
static int verb_add_groups(struct verb_request *request, uint64_t volume_id, json_t *array)
{
    AUTO_FREE struct qos_group_info *groups = NULL;
    size_t count = 0;
    struct pool_info pool;
    struct volume_info volume;
    int r = qos_group_list(verb_qos(request), &groups, &count);
    bool is_found = volume_id == 0;
    pool_get_info(request->pool, &pool);
    for (size_t i = 0; r == 0 && i < count; i++)
    {
        bool is_pool = groups[i].kind == QOS_POOL;
        if (volume_id != 0 && (is_pool || groups[i].id != volume_id))
            continue;
        if (!is_pool && volume_get_info_by_id(request->pool, groups[i].id, &volume) < 0)
            continue; /* deleted just now */
        json_t *object =
            verb_view_subject(is_pool ? "pool" : "volume", is_pool ? pool.name : volume.name,
                              groups[i].class_name, &groups[i].limits);
        is_found = true;
        if (json_array_append_new(array, object) != 0)
            r = -ENOMEM;
    }
    if (r < 0 || is_found)
        return r;
    const struct qos_limits none = {.weight = QOS_WEIGHT_DEFAULT};
    r = volume_get_info_by_id(request->pool, volume_id, &volume);
    if (r == 0 &&
        json_array_append_new(array, verb_view_subject("volume", volume.name, "", &none)) != 0)
        r = -ENOMEM;
    return r;
}

/* The limits of "default", for a LUN that QoS has not met. */
static int verb_fill_default(struct verb_request *request, json_t *array)
{
    AUTO_FREE struct qos_class_info *list = NULL;
    size_t count = 0, i;
    json_t *object;
    int r = qos_class_list(verb_qos(request), QOS_CLASS_DEFAULT, &list, &count, &request->why);
    json_array_foreach(array, i, object)
    {
        const char *class_name = json_string_value(json_object_get(object, "class"));
        if (r == 0 && strcmp(class_name, QOS_CLASS_DEFAULT) == 0)
            r = verb_put_limits(object, &list[0].limits);
    }
    return r;
}

int verb_qos_show(struct verb_request *request)
{
    const char *name = verb_string(request, "name");
    enum qos_kind kind = QOS_POOL;
    uint64_t id = 0;
    json_t *array = json_array();
    int r = name ? verb_qos_find(request, name, &kind, &id) : 0;
    if (r == 0 && kind != QOS_LUN)
        r = verb_add_groups(request, id, array);
    if (r == 0 && kind != QOS_VOLUME)
        r = verb_each_lun(request, name, array, name ? verb_view_qos_lun : verb_view_assigned_lun);
    if (r == 0)
        r = verb_fill_default(request, array);
    request->result = view_listing("subjects", array);
    return request->result ? r : -ENOMEM;
}

/* ---- figures ------------------------------------------------------------------------------- */

/* {"ops":N,"bytes":N,"ns":N,"latency":[N,...]}; empty buckets at the end are left out. */
static json_t *verb_view_io(const struct qos_io_sum *sum)
{
    unsigned buckets = QOS_LATENCY_BUCKETS;
    while (buckets > 0 && sum->latency[buckets - 1] == 0)
        buckets--;
    AUTO_JSON json_t *latency = json_array();
    for (unsigned i = 0; i < buckets; i++)
        if (json_array_append_new(latency, proto_json_uint(sum->latency[i])) != 0)
            return NULL;
    return json_pack("{s:o, s:o, s:o, s:O}", "ops", proto_json_uint(sum->ops), "bytes",
                     proto_json_uint(sum->bytes), "ns", proto_json_uint(sum->ns), "latency",
                     latency);
}

/* Only those that were in use. */
static json_t *verb_view_stats(const char *name, const struct qos_lun_info *info)
{
    AUTO_JSON json_t *object =
        json_pack("{s:s, s:o, s:s, s:I, s:I, s:o, s:o}", "name", name, "id",
                  proto_json_uint(info->id), "class", info->class_name, "users",
                  (json_int_t)info->users, "waiting", (json_int_t)info->waiting, "held",
                  proto_json_uint(info->held_ops), "held_ns", proto_json_uint(info->held_ns));
    uint64_t ops = 0;
    for (unsigned io = 0; io < QOS_IO_KINDS; io++)
    {
        ops += info->io[io].ops;
        if (!object ||
            json_object_set_new(object, qos_io_name(io), verb_view_io(&info->io[io])) != 0)
            return NULL;
    }
    return ops > 0 || info->users > 0 ? take_ptr(&object) : NULL;
}

int verb_stats_show(struct verb_request *request)
{
    json_t *array = json_array();
    int r = verb_each_lun(request, verb_string(request, "name"), array, verb_view_stats);
    request->result = view_listing("luns", array);
    if (!request->result)
        return -ENOMEM;
    if (json_object_set_new(request->result, "time_ns", proto_json_uint(qos_clock_ns())) != 0 ||
        json_object_set_new(request->result, "latency_shift", json_integer(QOS_LATENCY_SHIFT)) !=
            0 ||
        json_object_set_new(request->result, "latency_buckets",
                            json_integer(QOS_LATENCY_BUCKETS)) != 0)
        r = keep_first(r, -ENOMEM);
    return r;
}
