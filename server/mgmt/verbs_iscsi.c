/* SPDX-License-Identifier: BSD-3-Clause */
/* Verbs on the iSCSI target that runs: portals and sessions. Without portals there are none. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "server/access.h"
#include "server/iscsi/portal.h"
#include "server/mgmt/proto.h"
#include "server/mgmt/verbs.h"
#include "server/mgmt/verbs_internal.h"
#include "server/mgmt/view.h"

int verb_portal_show(struct verb_request *request)
{
    const char *name = target_iscsi_name(request->target);
    int r = 0;
    json_t *array = json_array();
    for (size_t i = 0; i < target_iscsi_portals(request->target); i++)
        if (json_array_append_new(array, json_pack("{s:s, s:s}", "address",
                                                   target_iscsi_portal(request->target, i),
                                                   "target", name)) != 0)
            r = -ENOMEM;
    request->result = view_listing("portals", array);
    return request->result ? r : -ENOMEM;
}

/* An initiator chooses its alias, which need not be UTF-8; that must not hide its session. */
static json_t *verb_foreign_text(const char *text)
{
    json_t *string = json_string(text);
    return string ? string : json_string("");
}

static json_t *verb_view_session(const struct iscsi_session_info *info)
{
    char isid[2 * sizeof(info->isid) + 1];
    for (size_t i = 0; i < sizeof(info->isid); i++)
        snprintf(isid + 2 * i, 3, "%02x", info->isid[i]);
    return json_pack("{s:i, s:o, s:o, s:s, s:s, s:b, s:b, s:b, s:b, s:s, s:I, s:I, s:I, s:I, s:I}",
                     "tsih", (int)info->tsih, "initiator", verb_foreign_text(info->initiator),
                     "alias", verb_foreign_text(info->alias), "address", info->remote_address,
                     "portal", info->local_address, "discovery", (int)info->is_discovery,
                     "authenticated", (int)info->is_authenticated, "header_digest",
                     (int)info->header_digest, "data_digest", (int)info->data_digest, "isid", isid,
                     "age_s", (json_int_t)(info->age_ms / 1000), "commands",
                     (json_int_t)info->command_count, "read_bytes", (json_int_t)info->read_bytes,
                     "written_bytes", (json_int_t)info->written_bytes, "outstanding",
                     (json_int_t)info->outstanding);
}

/* The sessions that are @initiator's (NULL: anybody's) and have @tsih (0: any), as an array. */
static int verb_list_sessions(struct verb_request *request, const char *initiator, uint64_t tsih,
                              json_t **array)
{
    AUTO_FREE struct iscsi_session_info *list = NULL;
    AUTO_JSON json_t *all = json_array();
    size_t count = 0;
    int r = 0;
    if (target_iscsi(request->target))
        r = iscsi_session_list(target_iscsi(request->target), &list, &count);
    for (size_t i = 0; r == 0 && i < count; i++)
        if ((!initiator || strcasecmp(list[i].initiator, initiator) == 0) &&
            (tsih == 0 || list[i].tsih == tsih) &&
            json_array_append_new(all, verb_view_session(&list[i])) != 0)
            r = -ENOMEM;
    if (r == 0)
        *array = json_incref(all);
    return r;
}

static bool verb_is_of_igroup(const struct access_igroup *igroup, const char *initiator)
{
    for (size_t i = 0; i < igroup->initiator_count; i++)
        if (strcasecmp(igroup->initiators[i], initiator) == 0)
            return true;
    return false;
}

int verb_igroup_sessions(struct verb_request *request, const char *group, json_t **sessions)
{
    AUTO_FREE struct iscsi_session_info *list = NULL;
    AUTO_JSON json_t *all = json_array();
    struct access_igroup *igroups = NULL;
    struct access *access;
    size_t count = 0, igroup_count = 0;
    int r = verb_access(request, &access);
    if (r == 0)
        r = access_igroup_list(access, group, &igroups, &igroup_count, &request->why);
    if (r == 0 && target_iscsi(request->target))
        r = iscsi_session_list(target_iscsi(request->target), &list, &count);
    for (size_t i = 0; r == 0 && igroup_count > 0 && i < count; i++)
        if (!list[i].is_discovery && verb_is_of_igroup(igroups, list[i].initiator) &&
            json_array_append_new(all, json_pack("{s:o, s:s}", "initiator",
                                                 verb_foreign_text(list[i].initiator), "address",
                                                 list[i].remote_address)) != 0)
            r = -ENOMEM;
    access_igroups_free(igroups, igroup_count);
    if (r == 0)
        *sessions = json_incref(all);
    return r;
}

int verb_session_show(struct verb_request *request)
{
    json_t *sessions;
    int r = verb_list_sessions(request, NULL, 0, &sessions);
    if (r < 0)
        return r;
    request->result = view_listing("sessions", sessions);
    return request->result ? 0 : -ENOMEM;
}

static int verb_no_session(struct verb_request *request, const char *initiator, uint64_t tsih)
{
    static const char more[] = "'lunette iscsi session show' lists those that are there";
    if (initiator)
        return reason_set(&request->why, -ENOENT, "initiator '%s' has no session; %s", initiator,
                          more);
    return reason_set(&request->why, -ENOENT, "there is no session %" PRIu64 "; %s", tsih, more);
}

static int verb_plan_terminate(struct verb_request *request, const char *initiator, uint64_t tsih)
{
    json_t *sessions;
    int r = verb_list_sessions(request, initiator, tsih, &sessions);
    if (r < 0)
        return r;
    size_t count = json_array_size(sessions);
    request->result = json_pack("{s:o, s:I, s:b}", "sessions", sessions, "ended", (json_int_t)count,
                                "dry_run", 1);
    if (!request->result)
        return -ENOMEM;
    return count > 0 ? 0 : verb_no_session(request, initiator, tsih);
}

int verb_session_terminate(struct verb_request *request)
{
    const char *initiator = verb_string(request, "initiator");
    uint64_t tsih = verb_number(request, "tsih", 0);
    size_t ended = 0;
    if ((initiator != NULL) == verb_has(request, "tsih") || (!initiator && tsih == 0))
        return reason_set(&request->why, -EINVAL,
                          "name either an initiator or the number of a session, from 1 on");
    if (!target_iscsi(request->target))
        return reason_set(&request->why, -ENOTSUP,
                          "the server has no iSCSI portal, so there are no sessions");
    if (tsih > UINT16_MAX)
        return reason_set(&request->why, -ENOENT,
                          "there is no session %" PRIu64 ": their numbers are 1 to %d", tsih,
                          UINT16_MAX);
    if (verb_bool(request, "dry_run"))
        return verb_plan_terminate(request, initiator, tsih);
    int r = iscsi_session_terminate(target_iscsi(request->target), initiator, (uint16_t)tsih,
                                    &ended, &request->why);
    if (r < 0)
        return r;
    request->is_done = true;
    request->result = json_pack("{s:I, s:b}", "ended", (json_int_t)ended, "dry_run", 0);
    return request->result ? 0 : -ENOMEM;
}
