/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Verbs on persistent reservations of LUNs: who is registered, and taking that from who is gone.
 *
 * A dry run refuses what the real one would refuse, and lists what would be cleared.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "lun/base/checked.h"
#include "server/mgmt/proto.h"
#include "server/mgmt/verbs.h"
#include "server/mgmt/view.h"
#include "server/scsi/scsi.h"

static const char *const reservation_types[] = {
    [0] = "none",
    [1] = "write exclusive",
    [3] = "exclusive access",
    [5] = "write exclusive, registrants only",
    [6] = "exclusive access, registrants only",
    [7] = "write exclusive, all registrants",
    [8] = "exclusive access, all registrants",
};

static const char *reservation_type(uint8_t type)
{
    const char *name = type < ARRAY_SIZE(reservation_types) ? reservation_types[type] : NULL;
    return name ? name : "unknown";
}

static bool reservation_is_of(const char *initiator, const char *asked)
{
    return !asked || strcasecmp(initiator, asked) == 0;
}

static json_t *reservation_view(const char *lun, const struct scsi_reservation *all,
                                const struct scsi_registration *one)
{
    char isid[2 * sizeof(one->isid) + 1], key[19];
    for (size_t i = 0; i < sizeof(one->isid); i++)
        snprintf(isid + 2 * i, 3, "%02x", one->isid[i]);
    snprintf(key, sizeof(key), "0x%016" PRIx64, one->key);
    return json_pack("{s:s, s:s, s:s, s:b, s:s, s:b, s:b, s:s, s:i, s:I}", "lun", lun, "initiator",
                     one->initiator, "key", key, "holder", (int)one->is_holder, "type",
                     reservation_type(all->type), "connected", (int)one->is_connected, "persists",
                     (int)all->is_persistent, "isid", isid, "target_port", (int)one->target_port,
                     "generation", (json_int_t)all->generation);
}

/* What the old RESERVE holds: it ends with its session. */
static json_t *reservation_view_old(const char *lun, const struct scsi_reservation *all)
{
    return json_pack("{s:s, s:s, s:b, s:s, s:b, s:b, s:I}", "lun", lun, "initiator",
                     all->reserved_by, "holder", 1, "type", "RESERVE", "connected", 1, "persists",
                     0, "generation", (json_int_t)all->generation);
}

/* Those of the LUN "name" that are @initiator's (NULL: anybody's), as an array. */
static int reservation_list(struct verb_request *request, const struct lun_info *info,
                            const char *initiator, json_t **array)
{
    struct scsi_reservation all;
    AUTO_JSON json_t *list = json_array();
    struct scsi_target *scsi = target_scsi(request->target);
    int r = scsi_reservation_get(scsi, info->id, &all);
    if (r < 0)
        return reason_set(&request->why, r,
                          "the reservations that the pool stores of it cannot be read");
    if (all.reserved_by[0] && reservation_is_of(all.reserved_by, initiator) &&
        json_array_append_new(list, reservation_view_old(info->name, &all)) != 0)
        r = -ENOMEM;
    for (size_t i = 0; r == 0 && i < all.count; i++)
        if (reservation_is_of(all.list[i].initiator, initiator) &&
            json_array_append_new(list, reservation_view(info->name, &all, &all.list[i])) != 0)
            r = -ENOMEM;
    free(all.list);
    if (r == 0)
        *array = json_incref(list);
    return r;
}

/* The LUN that is meant. */
static int reservation_lun(struct verb_request *request, struct lun_info *info)
{
    if (!target_scsi(request->target))
        return reason_set(&request->why, -EIO, "reservations are not available: %s",
                          target_access_problem(request->target));
    return lun_get_info(request->pool, verb_string(request, "name"), info, &request->why);
}

int verb_reservation_show(struct verb_request *request)
{
    struct lun_info info = {0};
    json_t *list = NULL;
    int r = reservation_lun(request, &info);
    if (r == 0)
        r = reservation_list(request, &info, NULL, &list);
    if (r < 0)
        return r;
    request->result = view_listing("registrations", list);
    return request->result ? 0 : -ENOMEM;
}

int verb_reservation_clear(struct verb_request *request)
{
    const char *initiator = verb_string(request, "initiator");
    bool dry_run = verb_bool(request, "dry_run");
    struct lun_info info = {0};
    AUTO_JSON json_t *list = NULL;
    size_t cleared = 0;
    int r = reservation_lun(request, &info);
    if (r == 0)
        r = reservation_list(request, &info, initiator, &list);
    if (r == 0 && json_array_size(list) == 0)
        r = reason_set(&request->why, -ENOENT,
                       "LUN '%s' has no registration or reservation of %s; 'lunette lun "
                       "reservation show %s' lists what there is",
                       info.name, initiator ? initiator : "anybody", info.name);
    if (r == 0 && !dry_run)
        r = scsi_reservation_clear(target_scsi(request->target), info.id, initiator, &cleared);
    if (r < 0)
        return r;
    request->is_done = true;
    if (!dry_run)
        event_add(request->pool, "warning", "lun.reservation.cleared", info.name,
                  "the administrator cleared the persistent reservations of %s: registrations "
                  "taken away: %zu",
                  initiator ? initiator : "all initiators", cleared);
    request->result = json_pack("{s:s, s:O, s:I, s:b}", "lun", info.name, "registrations", list,
                                "cleared", (json_int_t)cleared, "dry_run", (int)dry_run);
    return request->result ? 0 : -ENOMEM;
}
