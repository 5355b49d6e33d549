/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Persistent reservations as the administrator sees and clears them, and how a change of them, his
 * or a host's, is put in place.
 *
 * A host that is gone for good leaves its registrations behind, with APTPL beyond restarts; only
 * another registered host could preempt them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lun/base/cleanup.h"
#include "server/scsi/scsi_internal.h"

static const uint8_t pr_attentions[] = {
    [PR_NOTICE_RELEASED] = ATTENTION_RELEASED,
    [PR_NOTICE_PREEMPTED] = ATTENTION_PREEMPTED,
    [PR_NOTICE_REGISTRATION_PREEMPTED] = ATTENTION_REGISTRATIONS_PREEMPTED,
};

void lu_switch_pr_locked(struct scsi_lu *lu, const struct pr_change *change,
                         const struct scsi_task *aborter)
{
    list_for_each (itl, &lu->itls, struct scsi_itl, lu_link)
    {
        uint32_t index = pr_find(change->before, &itl->nexus->port);
        uint8_t notice = index == PR_NO_HOLDER ? PR_NOTICE_NONE : change->notices[index];
        if (notice)
            ua_add_locked(itl, pr_attentions[notice]);
        if (notice == PR_NOTICE_REGISTRATION_PREEMPTED && aborter)
            task_abort_all_locked(lu, itl->nexus, aborter);
    }
    pr_state_clear(&lu->pr);
    lu->pr = *change->after;
    pr_state_init(change->after);
    lu_update_fence_locked(lu);
    list_for_each (itl, &lu->itls, struct scsi_itl, lu_link)
        itl_refresh_registration_locked(itl);
}

/* ---- looking ------------------------------------------------------------------------------- */

static bool pr_admin_is_connected_locked(const struct scsi_lu *lu, const struct pr_port *port)
{
    list_for_each (itl, &lu->itls, struct scsi_itl, lu_link)
        if (pr_port_equal(&itl->nexus->port, port))
            return true;
    return false;
}

/* @lu: NULL, or the unit, of which the caller holds the lock. */
static int pr_admin_describe(const struct pr_state *state, const struct scsi_lu *lu,
                             struct scsi_reservation *reservation)
{
    struct scsi_registration *list = calloc(state->count + 1, sizeof(*list));
    if (!list)
        return -ENOMEM;
    for (uint32_t i = 0; i < state->count; i++)
    {
        const struct pr_registration *from = &state->list[i];
        struct scsi_registration *to = &list[i];
        memcpy(to->initiator, from->port.name, sizeof(to->initiator));
        memcpy(to->isid, from->port.isid, sizeof(to->isid));
        to->target_port = from->port.target_port;
        to->key = from->key;
        to->is_holder = pr_is_holder(state, i);
        to->is_connected = lu && pr_admin_is_connected_locked(lu, &from->port);
    }
    *reservation = (struct scsi_reservation){.type = state->type,
                                             .is_persistent = state->is_persistent,
                                             .generation = state->generation,
                                             .list = list,
                                             .count = state->count};
    if (lu && lu->reserved_by)
        snprintf(reservation->reserved_by, sizeof(reservation->reserved_by), "%s",
                 lu->reserved_by->nexus->initiator_name);
    return 0;
}

int scsi_reservation_get(struct scsi_target *target, uint64_t lun_id,
                         struct scsi_reservation *reservation)
{
    AUTO_LOCK(&target->lock);
    struct scsi_lu *lu = target_find_lu_locked(target, lun_id);
    if (lu)
    {
        AUTO_LOCK(&lu->lock);
        return pr_admin_describe(&lu->pr, lu, reservation);
    }
    struct pr_state state;
    pr_state_init(&state);
    int r = pr_load(target->pool, lun_id, &state);
    if (r == 0)
        r = pr_admin_describe(&state, NULL, reservation);
    pr_state_clear(&state);
    return r;
}

/* ---- clearing ------------------------------------------------------------------------------ */

/* What is stored comes first, as for hosts. Of a unit the caller holds pr_lock; NULL: there is
 * none, and @before is what is stored. */
static int pr_admin_evict(struct scsi_target *target, uint64_t lun_id, struct scsi_lu *lu,
                          const struct pr_state *before, const char *initiator, size_t *cleared)
{
    static const struct pr_port nobody;
    struct pr_state after;
    pr_state_init(&after);
    AUTO_FREE uint8_t *notices = calloc(before->count + 1, 1);
    int r = notices ? pr_state_copy(before, &after) : -ENOMEM;
    struct pr_change change = {
        .before = before, .after = &after, .port = &nobody, .notices = notices};
    size_t count = before->count;
    if (r == 0 && pr_evict(&change, initiator) == PR_DONE)
    {
        size_t evicted = count - after.count;
        if (before->is_persistent)
            r = pr_store(target->pool, lun_id, &after);
        if (r == 0 && lu)
        {
            AUTO_LOCK(&lu->lock);
            lu_switch_pr_locked(lu, &change, NULL);
        }
        else if (r == 0)
        {
            fence_set_stored(&target->fences, lun_id, after.type);
        }
        *cleared += r == 0 ? evicted : 0;
    }
    pr_state_clear(&after);
    return r;
}

/* The old RESERVE goes, too. */
static void pr_admin_release(struct scsi_lu *lu, const char *initiator, size_t *cleared)
{
    AUTO_LOCK(&lu->lock);
    struct scsi_itl *holder = lu->reserved_by;
    if (!holder || (initiator && strcasecmp(holder->nexus->initiator_name, initiator) != 0))
        return;
    lu->reserved_by = NULL;
    ua_add_locked(holder, ATTENTION_PREEMPTED);
    lu_update_fence_locked(lu);
    ++*cleared;
}

static int pr_admin_clear(struct scsi_target *target, uint64_t lun_id, const char *initiator,
                          size_t *cleared)
{
    AUTO_LOCK(&target->lock);
    struct scsi_lu *lu = target_find_lu_locked(target, lun_id);
    if (lu)
    {
        AUTO_LOCK(&lu->pr_lock);
        int r = pr_admin_evict(target, lun_id, lu, &lu->pr, initiator, cleared);
        if (r == 0)
            pr_admin_release(lu, initiator, cleared);
        return r;
    }
    struct pr_state stored;
    pr_state_init(&stored);
    int r = pr_load(target->pool, lun_id, &stored);
    if (r == 0)
        r = pr_admin_evict(target, lun_id, NULL, &stored, initiator, cleared);
    pr_state_clear(&stored);
    return r;
}

/* It stores with target->lock held, which the end of a read may wait for. */
int scsi_reservation_clear(struct scsi_target *target, uint64_t lun_id, const char *initiator,
                           size_t *cleared)
{
    *cleared = 0;
    pool_stop_lending(target->pool);
    int r = pr_admin_clear(target, lun_id, initiator, cleared);
    pool_allow_lending(target->pool);
    return r;
}
