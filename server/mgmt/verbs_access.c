/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Verbs on who may see which LUN: igroups, mappings, CHAP records.
 *
 * A dry run refuses what the real one would refuse and says what hosts would lose. Secrets come in
 * and never go out.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/size_text.h"
#include "server/access.h"
#include "server/mgmt/proto.h"
#include "server/mgmt/verbs.h"
#include "server/mgmt/verbs_internal.h"
#include "server/mgmt/view.h"
#include "server/secret_memory.h"

int verb_access(struct verb_request *request, struct access **access)
{
    *access = target_access(request->target);
    return *access ? 0
                   : reason_set(&request->why, -EIO, "igroups and mappings are not available: %s",
                                target_access_problem(request->target));
}

static int verb_took_memory(struct verb_request *request)
{
    return request->result ? 0 : -ENOMEM;
}

/* ---- igroups ------------------------------------------------------------------------------- */

static int verb_say_igroup(struct verb_request *request)
{
    request->is_done = true;
    request->result = json_pack("{s:s}", "igroup", verb_string(request, "name"));
    return verb_took_memory(request);
}

int verb_igroup_create(struct verb_request *request)
{
    struct access *access;
    AUTO_FREE const char **initiators = NULL;
    size_t count;
    int r = verb_access(request, &access);
    if (r == 0)
        r = verb_strings(request, "initiators", &initiators, &count);
    if (r == 0)
        r = access_igroup_create(access, verb_string(request, "name"), initiators, count,
                                 &request->why);
    return r < 0 ? r : verb_say_igroup(request);
}

int verb_igroup_add(struct verb_request *request)
{
    struct access *access;
    int r = verb_access(request, &access);
    if (r == 0)
        r = access_igroup_add(access, verb_string(request, "name"),
                              verb_string(request, "initiator"), &request->why);
    return r < 0 ? r : verb_say_igroup(request);
}

/* With who keeps others from writing by a reservation, if somebody does. */
static json_t *verb_view_mapping(struct verb_request *request, const struct access_mapping *mapping)
{
    struct reason holder = {.text = ""};
    ignore_error(target_check_nbd(request->target, mapping->lun_id, true, &holder),
                 "the text is what counts");
    return json_pack("{s:s, s:s, s:i, s:I, s:s}", "lun", mapping->lun_name, "igroup",
                     mapping->group, "lun_id", (int)mapping->number, "object_id",
                     (json_int_t)mapping->lun_id, "reservation", holder.text);
}

/* The mappings of @lun_name, of @group, or all, as an array. */
static int verb_list_mappings(struct verb_request *request, struct access *access,
                              const char *lun_name, const char *group, json_t **array)
{
    AUTO_FREE struct access_mapping *list = NULL;
    AUTO_JSON json_t *all = json_array();
    size_t count = 0;
    int r = access_mapping_list(access, lun_name, group, &list, &count, &request->why);
    for (size_t i = 0; r == 0 && i < count; i++)
        if (json_array_append_new(all, verb_view_mapping(request, &list[i])) != 0)
            r = -ENOMEM;
    if (r == 0)
        *array = json_incref(all);
    return r;
}

/* {"igroup":..,"mappings":[what its hosts would lose],"dry_run":true} */
static int verb_plan_igroup(struct verb_request *request, struct access *access)
{
    json_t *mappings;
    const char *name = verb_string(request, "name");
    int r = verb_list_mappings(request, access, NULL, name, &mappings);
    if (r < 0)
        return r;
    request->result =
        json_pack("{s:s, s:o, s:b}", "igroup", name, "mappings", mappings, "dry_run", 1);
    return verb_took_memory(request);
}

static bool verb_has_initiator(const struct access_igroup *group, const char *normal)
{
    for (size_t i = 0; i < group->initiator_count; i++)
        if (strcmp(group->initiators[i], normal) == 0)
            return true;
    return false;
}

static int verb_plan_remove(struct verb_request *request, struct access *access)
{
    char normal[ACCESS_INITIATOR_MAX + 1];
    struct access_igroup *groups;
    size_t count;
    const char *name = verb_string(request, "name");
    int r = access_normalise_name(verb_string(request, "initiator"), normal, &request->why);
    if (r == 0)
        r = access_igroup_list(access, name, &groups, &count, &request->why);
    if (r < 0)
        return r;
    bool found = count > 0 && verb_has_initiator(&groups[0], normal);
    access_igroups_free(groups, count);
    if (!found)
        return reason_set(
            &request->why, -ENOENT,
            "initiator '%s' is not in igroup '%s'; 'lunette igroup show %s' lists those "
            "that are",
            normal, name, name);
    return verb_plan_igroup(request, access);
}

int verb_igroup_remove(struct verb_request *request)
{
    struct access *access;
    int r = verb_access(request, &access);
    if (r == 0 && verb_bool(request, "dry_run"))
        return verb_plan_remove(request, access);
    if (r == 0)
        r = access_igroup_remove(access, verb_string(request, "name"),
                                 verb_string(request, "initiator"), &request->why);
    return r < 0 ? r : verb_say_igroup(request);
}

int verb_igroup_delete(struct verb_request *request)
{
    struct access *access;
    const char *name = verb_string(request, "name");
    bool force = verb_bool(request, "force");
    int r = verb_access(request, &access);
    if (r < 0)
        return r;
    if (!verb_bool(request, "dry_run"))
    {
        r = access_igroup_delete(access, name, force, &request->why);
        return r < 0 ? r : verb_say_igroup(request);
    }
    r = verb_plan_igroup(request, access);
    size_t count = json_array_size(json_object_get(request->result, "mappings"));
    if (r < 0 || force || count == 0)
        return r;
    json_decref(request->result);
    request->result = NULL;
    return reason_set(&request->why, -EBUSY,
                      "igroup '%s' has %zu mapping%s; 'lunette mapping show --igroup %s' lists "
                      "them; with --force they go too",
                      name, count, plural_s(count), name);
}

static json_t *verb_view_igroup(const struct access_igroup *group)
{
    json_t *initiators = json_array();
    for (size_t i = 0; i < group->initiator_count; i++)
        ignore_error(json_array_append_new(initiators, json_string(group->initiators[i])),
                     "the count beside it tells");
    return json_pack("{s:s, s:i, s:i, s:o}", "name", group->name, "initiator_count",
                     (int)group->initiator_count, "mapping_count", (int)group->mapping_count,
                     "initiators", initiators);
}

int verb_igroup_show(struct verb_request *request)
{
    struct access *access;
    struct access_igroup *groups;
    size_t count;
    int r = verb_access(request, &access);
    if (r == 0)
        r = access_igroup_list(access, verb_string(request, "name"), &groups, &count,
                               &request->why);
    if (r < 0)
        return r;
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(array, verb_view_igroup(&groups[i])) != 0)
            r = -ENOMEM;
    access_igroups_free(groups, count);
    request->result = view_listing("igroups", array);
    return request->result ? r : -ENOMEM;
}

/* ---- mappings ------------------------------------------------------------------------------ */

int verb_lun_map(struct verb_request *request)
{
    struct access *access;
    uint32_t used;
    const char *name = verb_string(request, "name");
    const char *group = verb_string(request, "igroup");
    uint64_t number = verb_number(request, "lun_id", 0);
    int r = verb_access(request, &access);
    if (r < 0)
        return r;
    if (number > ACCESS_LUN_NUMBER_MAX)
        return reason_set(&request->why, -EINVAL, "%" PRIu64 " is no LUN number: 0 to %d are",
                          number, ACCESS_LUN_NUMBER_MAX);
    r = verb_check_whole(request, name);
    if (r < 0)
        return r;
    int32_t wanted = verb_has(request, "lun_id") ? (int32_t)number : ACCESS_LUN_AUTOMATIC;
    bool dry_run = verb_bool(request, "dry_run");
    r = dry_run ? access_map_plan(access, name, group, wanted, &used, &request->why)
                : access_map(access, name, group, wanted, &used, &request->why);
    if (r < 0)
        return r;
    request->is_done = true;
    request->result =
        json_pack("{s:s, s:s, s:i}", "lun", name, "igroup", group, "lun_id", (int)used);
    return verb_took_memory(request);
}

int verb_check_igroup(struct verb_request *request)
{
    struct access *access;
    struct access_igroup *groups;
    size_t count;
    if (!verb_has(request, "igroup"))
        return 0;
    int r = verb_access(request, &access);
    if (r == 0)
        r = access_igroup_list(access, verb_string(request, "igroup"), &groups, &count,
                               &request->why);
    if (r == 0)
        access_igroups_free(groups, count);
    return r;
}

int verb_map_clones(struct verb_request *request, const char *name, uint32_t count,
                    uint32_t first_number, json_t *mappings)
{
    struct access *access;
    uint32_t used;
    if (!verb_has(request, "igroup") || verb_bool(request, "dry_run"))
        return 0;
    int r = verb_access(request, &access);
    for (uint32_t i = 0; r == 0 && i < (count > 1 ? count : 1); i++)
    {
        char clone[LUN_NAME_MAX + 1];
        snprintf(clone, sizeof(clone), "%s", name);
        if (count > 1)
            r = lun_clone_name(name, first_number + i, clone, sizeof(clone), &request->why);
        if (r == 0)
            r = access_map(access, clone, verb_string(request, "igroup"), ACCESS_LUN_AUTOMATIC,
                           &used, &request->why);
        if (r == 0)
            ignore_error(
                json_array_append_new(mappings, json_pack("{s:s, s:s, s:i}", "lun", clone, "igroup",
                                                          verb_string(request, "igroup"), "lun_id",
                                                          (int)used)),
                "it is mapped: without memory the answer says less");
    }
    if (r < 0)
    {
        struct reason why = request->why;
        reason_set(&request->why, r, "the clones are made, but not all are mapped: %.900s",
                   why.text[0] ? why.text : strerror(-r));
    }
    return r;
}

/* What hosts of the igroup would lose, and which of them are connected. */
static int verb_plan_unmap(struct verb_request *request, struct access *access)
{
    AUTO_JSON json_t *mappings = NULL;
    AUTO_JSON json_t *sessions = NULL;
    const char *name = verb_string(request, "name");
    const char *group = verb_string(request, "igroup");
    int r = verb_list_mappings(request, access, name, group, &mappings);
    if (r < 0)
        return r;
    if (json_array_size(mappings) == 0)
        return reason_set(
            &request->why, -ENOENT,
            "'%s' is not mapped to igroup '%s'; 'lunette mapping show %s' lists where it is", name,
            group, name);
    r = verb_igroup_sessions(request, group, &sessions);
    if (r < 0)
        return r;
    request->result = json_pack("{s:s, s:s, s:O, s:O, s:b}", "lun", name, "igroup", group,
                                "mappings", mappings, "sessions", sessions, "dry_run", 1);
    return verb_took_memory(request);
}

int verb_lun_unmap(struct verb_request *request)
{
    struct access *access;
    AUTO_JSON json_t *sessions = NULL;
    const char *name = verb_string(request, "name");
    const char *group = verb_string(request, "igroup");
    int r = verb_access(request, &access);
    if (r == 0 && verb_bool(request, "dry_run"))
        return verb_plan_unmap(request, access);
    if (r == 0)
        r = verb_igroup_sessions(request, group, &sessions);
    if (r == 0)
        r = access_unmap(access, name, group, &request->why);
    if (r < 0)
        return r;
    request->is_done = true;
    request->result =
        json_pack("{s:s, s:s, s:O}", "lun", name, "igroup", group, "sessions", sessions);
    return verb_took_memory(request);
}

int verb_mapping_show(struct verb_request *request)
{
    struct access *access;
    json_t *mappings;
    int r = verb_access(request, &access);
    if (r == 0)
        r = verb_list_mappings(request, access, verb_string(request, "name"),
                               verb_string(request, "igroup"), &mappings);
    if (r < 0)
        return r;
    request->result = view_listing("mappings", mappings);
    return verb_took_memory(request);
}

/* ---- attributes ---------------------------------------------------------------------------- */

static const struct
{
    const char *key;
    unsigned flag;
} verb_attributes[] = {
    {"read_only", ACCESS_LUN_READ_ONLY},
    {"removable", ACCESS_LUN_REMOVABLE},
    {"native_512", ACCESS_LUN_NO_PHYSICAL},
};

static int verb_say_attributes(struct verb_request *request, unsigned flags)
{
    request->result = json_pack("{s:s}", "name", verb_string(request, "name"));
    for (size_t i = 0; request->result && i < ARRAY_SIZE(verb_attributes); i++)
        if (json_object_set_new(request->result, verb_attributes[i].key,
                                json_boolean(flags & verb_attributes[i].flag)) != 0)
            return -ENOMEM;
    return verb_took_memory(request);
}

/* The attributes that it has now, and its sector size. */
static int verb_get_attributes(struct verb_request *request, struct access **access,
                               unsigned *flags, struct lun_info *info)
{
    const char *name = verb_string(request, "name");
    int r = verb_access(request, access);
    if (r == 0)
        r = lun_get_info(request->pool, name, info, &request->why);
    if (r == 0 && verb_has(request, "id") && info->id != verb_number(request, "id", 0))
        r = reason_set(&request->why, -ESTALE, "'%s' is the name of another one since a moment ago",
                       name);
    if (r < 0)
        return r;
    *flags = access_lun_flags(*access, info->id);
    return 0;
}

int verb_attribute_show(struct verb_request *request)
{
    struct access *access;
    unsigned flags;
    struct lun_info info;
    int r = verb_get_attributes(request, &access, &flags, &info);
    return r < 0 ? r : verb_say_attributes(request, flags);
}

int verb_lun_modify(struct verb_request *request)
{
    struct access *access;
    unsigned flags;
    struct lun_info info;
    bool has_any = false;
    int r = verb_get_attributes(request, &access, &flags, &info);
    if (r < 0)
        return r;
    for (size_t i = 0; i < ARRAY_SIZE(verb_attributes); i++)
    {
        const char *key = verb_attributes[i].key;
        has_any |= verb_has(request, key);
        if (verb_has(request, key))
            flags &= ~verb_attributes[i].flag;
        if (verb_bool(request, key))
            flags |= verb_attributes[i].flag;
    }
    if (!has_any)
        return reason_set(&request->why, -EINVAL, "nothing of LUN '%s' is to be changed",
                          verb_string(request, "name"));
    if (verb_bool(request, "native_512") && info.sector_bytes != 512)
        return reason_set(&request->why, -EINVAL,
                          "LUN '%s' has sectors of %u bytes, and native_512 is for those of 512",
                          verb_string(request, "name"), info.sector_bytes);
    if (!verb_bool(request, "dry_run"))
        r = access_set_flags_of(access, info.id, flags, &request->why);
    request->is_done = r == 0;
    return r < 0 ? r : verb_say_attributes(request, flags);
}

/* ---- CHAP ---------------------------------------------------------------------------------- */

/* Argument @name, if there, to @to of @size bytes. */
static int verb_take_text(struct verb_request *request, const char *name, char *to, size_t size)
{
    const char *text = verb_string(request, name);
    size_t len = text ? strlen(text) : 0;
    if (len >= size)
        return reason_set(&request->why, -EINVAL, "the %s has more than %zu bytes", name, size - 1);
    if (text)
        memcpy(to, text, len + 1);
    return 0;
}

SECRET_CLEANUP(verb_free_chap, struct access_chap)

static int verb_take_chap(struct verb_request *request, struct access_chap *chap)
{
    if (verb_has(request, "mutual_user") != verb_has(request, "mutual_secret"))
        return reason_set(&request->why, -EINVAL,
                          "CHAP of '%s' needs both a mutual user and a mutual secret, or neither",
                          verb_string(request, "subject"));
    int r = verb_take_text(request, "user", chap->user, sizeof(chap->user));
    if (r == 0)
        r = verb_take_text(request, "secret", chap->secret, sizeof(chap->secret));
    if (r == 0)
        r = verb_take_text(request, "mutual_user", chap->mutual_user, sizeof(chap->mutual_user));
    if (r == 0)
        r = verb_take_text(request, "mutual_secret", chap->mutual_secret,
                           sizeof(chap->mutual_secret));
    if (r == 0 && verb_has(request, "mutual_user") && !chap->mutual_user[0])
        r = reason_set(&request->why, -EINVAL, "the mutual user is empty");
    return r;
}

/* Without secrets. */
static json_t *verb_view_chap(const struct access_chap_info *info)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:o}", "subject", info->subject, "user", info->user,
                     "mutual_user", info->mutual_user, "stored",
                     access_chap_stored_name(info->stored), "key",
                     info->key[0] ? json_string(info->key) : json_null());
}

static int verb_say_subject(struct verb_request *request, bool dry_run)
{
    request->result = json_pack("{s:s, s:b}", "subject", verb_string(request, "subject"), "dry_run",
                                (int)dry_run);
    return verb_took_memory(request);
}

/* It was wrapped all the same: the old key may come back, and no secret lies in clear for it. */
static int verb_warn_of_key(struct verb_request *request)
{
    struct reason why = {.text = ""};
    if (target_check_key(request->target, &why) == 0)
        return 0;
    event_add(request->pool, "warning", "key.file.changed", "", "%s", why.text);
    return json_object_set_new(request->result, "warning", json_string(why.text)) == 0 ? 0
                                                                                       : -ENOMEM;
}

int verb_chap_set(struct verb_request *request)
{
    struct access *access;
    CLEANUP(verb_free_chap) struct access_chap *chap = secret_alloc(sizeof(*chap));
    int r = chap ? verb_access(request, &access) : -ENOMEM;
    if (r == 0)
        r = verb_take_chap(request, chap);
    if (r == 0)
        r = access_chap_set(access, verb_string(request, "subject"), chap, &request->why);
    request->is_done = r == 0;
    if (r == 0)
        r = verb_say_subject(request, false);
    bool is_wrapped = r == 0 && access_key_id(access);
    if (r == 0)
        r = json_object_set_new(request->result, "stored",
                                json_string(access_chap_stored_name(
                                    is_wrapped ? ACCESS_CHAP_WRAPPED : ACCESS_CHAP_CLEAR))) == 0
                ? 0
                : -ENOMEM;
    return r == 0 ? verb_warn_of_key(request) : r;
}

int verb_chap_show(struct verb_request *request)
{
    struct access *access;
    AUTO_FREE struct access_chap_info *list = NULL;
    size_t count;
    int r = verb_access(request, &access);
    if (r == 0)
        r = access_chap_list(access, &list, &count);
    if (r < 0)
        return r;
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(array, verb_view_chap(&list[i])) != 0)
            r = -ENOMEM;
    request->result = view_listing("records", array);
    return request->result ? r : -ENOMEM;
}

static int verb_plan_chap_delete(struct verb_request *request, struct access *access)
{
    AUTO_FREE struct access_chap_info *list = NULL;
    size_t count;
    const char *subject = verb_string(request, "subject");
    int r = access_chap_list(access, &list, &count);
    /* An initiator's name is stored in lower case; igroups differ in case. */
    bool exact = strncmp(subject, "igroup:", strlen("igroup:")) == 0;
    for (size_t i = 0; r == 0 && i < count; i++)
        if ((exact ? strcmp : strcasecmp)(list[i].subject, subject) == 0)
            return verb_say_subject(request, true);
    return r < 0
               ? r
               : reason_set(&request->why, -ENOENT,
                            "there is no CHAP record of '%s'; 'lunette iscsi chap show' lists them",
                            subject);
}

int verb_chap_delete(struct verb_request *request)
{
    struct access *access;
    int r = verb_access(request, &access);
    if (r == 0 && verb_bool(request, "dry_run"))
        return verb_plan_chap_delete(request, access);
    if (r == 0)
        r = access_chap_delete(access, verb_string(request, "subject"), &request->why);
    request->is_done = r == 0;
    return r < 0 ? r : verb_say_subject(request, false);
}
