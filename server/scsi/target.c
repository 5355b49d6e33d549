/* SPDX-License-Identifier: BSD-3-Clause */
/* Targets, nexuses and logical units: who exists, who sees what, what the engine's changes mean. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/cleanup.h"
#include "lun/base/invariant.h"
#include "lun/base/log.h"
#include "server/scsi/room.h"
#include "server/scsi/sanitize.h"
#include "server/scsi/scsi_internal.h"

enum
{
    LUN_ADDRESS_FLAT = 0x40, /* flat space addressing; peripheral device addressing is 0 */
};

/* ---- logical units ------------------------------------------------------------------------- */

static struct list *target_bucket(struct scsi_target *target, uint64_t lun_id)
{
    return &target->buckets[lun_id % SCSI_LU_BUCKETS];
}

struct scsi_lu *target_find_lu_locked(struct scsi_target *target, uint64_t lun_id)
{
    list_for_each (lu, target_bucket(target, lun_id), struct scsi_lu, bucket_link)
        if (lu->lun_id == lun_id)
            return lu;
    return NULL;
}

static void lu_free(struct scsi_lu *lu)
{
    if (!lu)
        return;
    list_remove(&lu->bucket_link);
    lun_close(lu->handle);
    qos_lun_close(lu->qos);
    fence_remove(&lu->target->fences, &lu->fence);
    pr_state_clear(&lu->pr);
    condition_destroy(&lu->changed);
    lock_destroy(&lu->pr_lock);
    lock_destroy(&lu->lock);
    free(lu);
}

static int lu_open_handle(struct scsi_lu *lu)
{
    char name[2 * LUN_NAME_MAX + 2];
    int r = access_lun_name(lu->target->access, lu->lun_id, name);
    if (r < 0)
        return r;
    struct lun *handle = NULL;
    r = lun_open(lu->target->pool, name, 0, &handle, NULL);
    if (r == -EROFS)
        r = lun_open(lu->target->pool, name, LUN_READ_ONLY, &handle, NULL);
    if (r < 0)
        return r;
    struct lun_info info;
    r = lun_describe(handle, &info);
    if (r == 0 && info.id != lu->lun_id)
        r = -ESTALE; /* renamed at this moment; the next rebuild finds it */
    if (r == 0)
        r = qos_lun_open(lu->target->qos, handle, &lu->qos);
    if (r < 0)
    {
        lun_close(handle);
        return r;
    }
    memcpy(lu->uuid, info.uuid, sizeof(lu->uuid));
    lu->sector_bytes = info.sector_bytes;
    lu->sector_shift = (unsigned)__builtin_ctz(info.sector_bytes);
    lu->is_snapshot = info.kind == OBJECT_SNAPSHOT;
    lun_set_is_over(handle, room_is_over_cb, lu);
    lu->handle = handle;
    return 0;
}

static int lu_create_locked(struct scsi_target *target, uint64_t lun_id, struct scsi_lu **out)
{
    struct scsi_lu *lu = calloc(1, sizeof(*lu));
    if (!lu)
        return -ENOMEM;
    lu->target = target;
    lu->lun_id = lun_id;
    lock_init(&lu->pr_lock, LOCK_RANK_SESSION);
    lock_init(&lu->lock, LOCK_RANK_LU);
    condition_init(&lu->changed);
    list_init(&lu->itls);
    list_init(&lu->tasks);
    list_init(&lu->bucket_link);
    fence_init(&lu->fence, lun_id);
    pr_state_init(&lu->pr);
    lu->flags = access_lun_flags(target->access, lun_id);
    int r = lu_open_handle(lu);
    if (r == 0)
        r = pr_load(target->pool, lun_id, &lu->pr);
    if (r < 0)
    {
        lu_free(lu);
        return r;
    }
    lu->sanitize = sanitize_was_interrupted(lu) ? SANITIZE_FAILED : SANITIZE_IDLE;
    lock_take(&lu->lock);
    lu_update_fence_locked(lu);
    lock_release(&lu->lock);
    list_add_tail(target_bucket(target, lun_id), &lu->bucket_link);
    *out = lu;
    return 0;
}

/* The unit of @lun_id with an open handle. */
static int target_get_lu_locked(struct scsi_target *target, uint64_t lun_id, struct scsi_lu **lu)
{
    struct scsi_lu *found = target_find_lu_locked(target, lun_id);
    if (!found)
        return lu_create_locked(target, lun_id, lu);
    if (!found->handle)
    {
        int r = lu_open_handle(found);
        if (r < 0)
            return r;
    }
    *lu = found;
    return 0;
}

uint32_t lu_write_protected_locked(const struct scsi_lu *lu)
{
    if (lu->mode.software_write_protect)
        return SENSE_SOFTWARE_WRITE_PROTECTED;
    if (lu->flags & ACCESS_LUN_READ_ONLY || lun_is_read_only(lu->handle))
        return SENSE_WRITE_PROTECTED;
    return 0;
}

uint32_t lu_not_ready_locked(const struct scsi_lu *lu)
{
    if (lu->is_ejected)
        return SENSE_NO_MEDIUM;
    return lu->is_stopped ? SENSE_INITIALIZING_REQUIRED : 0;
}

void lu_update_fence_locked(struct scsi_lu *lu)
{
    unsigned kept_out = 0;
    if (lu->reserved_by || lu->pr.type != PR_NONE)
        kept_out |= FENCE_WRITES;
    if (lu->reserved_by || pr_type_exclusive_access(lu->pr.type))
        kept_out |= FENCE_READS;
    fence_set(&lu->target->fences, &lu->fence, (uint8_t)kept_out);
}

void lu_reset_locked(struct scsi_lu *lu)
{
    lu->reserved_by = NULL;
    lu_update_fence_locked(lu);
    lu->prevent_count = 0;
    lu->is_stopped = false;
    lu->mode = (struct modepage_values){0};
    list_for_each (itl, &lu->itls, struct scsi_itl, lu_link)
        itl->prevents_removal = false;
}

/* ---- ITLs ---------------------------------------------------------------------------------- */

void lun_number_put(uint8_t *at, uint32_t number)
{
    memset(at, 0, 8);
    wire_put_u16(at, number < 256 ? number : LUN_ADDRESS_FLAT << 8 | number);
}

/* False: not a single level LUN of a form that we give out. */
static bool lun_number_get(const uint8_t *lun, uint32_t *number)
{
    uint16_t first = wire_u16(lun);
    if (wire_u16(lun + 2) || wire_u32(lun + 4))
        return false;
    *number = first & 0x3fff;
    return first >> 14 == 1 || first < 256;
}

static struct scsi_itl *nexus_find_number(struct scsi_nexus *nexus, uint32_t number)
{
    size_t low = 0, high = nexus->itl_count;
    while (low < high)
    {
        size_t middle = (low + high) / 2;
        if (nexus->itls[middle]->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == nexus->itl_count || nexus->itls[low]->number != number)
        return NULL;
    return nexus->itls[low];
}

struct scsi_itl *nexus_find_itl_locked(struct scsi_nexus *nexus, const uint8_t *lun)
{
    uint32_t number;
    return lun_number_get(lun, &number) ? nexus_find_number(nexus, number) : NULL;
}

void itl_refresh_registration_locked(struct scsi_itl *itl)
{
    const struct pr_state *pr = &itl->lu->pr;
    uint32_t index = pr->count ? pr_find(pr, &itl->nexus->port) : PR_NO_HOLDER;
    itl->is_registered = index != PR_NO_HOLDER;
    itl->is_holder = itl->is_registered && pr_is_holder(pr, index);
}

static int itl_create_locked(struct scsi_nexus *nexus, uint64_t lun_id, uint32_t number,
                             struct scsi_itl **out)
{
    struct scsi_lu *lu = NULL;
    int r = target_get_lu_locked(nexus->target, lun_id, &lu);
    if (r < 0)
        return r;
    struct scsi_itl *itl = calloc(1, sizeof(*itl));
    if (!itl)
        return -ENOMEM;
    itl->nexus = nexus;
    itl->lu = lu;
    itl->number = number;
    itl->attentions = 1u << ATTENTION_POWER_ON;
    lu->use_count++;
    lock_take(&nexus->lock);
    nexus->references++;
    lock_release(&nexus->lock);
    AUTO_LOCK(&lu->lock);
    list_add_tail(&lu->itls, &itl->lu_link);
    itl_refresh_registration_locked(itl);
    *out = itl;
    return 0;
}

void lu_put_locked(struct scsi_lu *lu)
{
    INVARIANT(lu->use_count > 0);
    if (--lu->use_count > 0)
        return;
    lun_close(take_ptr(&lu->handle));
    qos_lun_close(take_ptr(&lu->qos));
    if (lu->is_gone)
        lu_free(lu);
}

static void itl_free_locked(struct scsi_itl *itl)
{
    lu_put_locked(itl->lu);
    nexus_put(itl->nexus);
    free(itl);
}

void itl_free(struct scsi_itl *itl)
{
    AUTO_LOCK(&itl->lu->target->lock);
    itl_free_locked(itl);
}

void itl_hold(struct scsi_itl *itl)
{
    AUTO_LOCK(&itl->lu->lock);
    itl->task_count++;
}

void itl_release(struct scsi_itl *itl)
{
    struct scsi_lu *lu = itl->lu;
    lock_take(&lu->lock);
    bool is_last = --itl->task_count == 0 && itl->is_detached;
    lock_release(&lu->lock);
    if (is_last)
        itl_free(itl);
}

/* The nexus does not see the unit any more. With @abort its tasks there go; else they may finish.
 */
static void itl_detach_locked(struct scsi_itl *itl, bool abort)
{
    struct scsi_lu *lu = itl->lu;
    lock_take(&lu->lock);
    itl->is_detached = true;
    list_remove(&itl->lu_link);
    if (lu->reserved_by == itl)
        lu->reserved_by = NULL;
    lu_update_fence_locked(lu);
    if (itl->prevents_removal)
        lu->prevent_count--;
    if (abort)
        list_for_each (task, &lu->tasks, struct scsi_task, set_link)
            if (task->itl == itl)
                task_abort_locked(task);
    bool is_idle = itl->task_count == 0;
    lock_release(&lu->lock);
    if (is_idle)
        itl_free_locked(itl);
}

/* ---- nexuses ------------------------------------------------------------------------------- */

void nexus_put(struct scsi_nexus *nexus)
{
    lock_take(&nexus->lock);
    bool is_last = --nexus->references == 0;
    lock_release(&nexus->lock);
    if (!is_last)
        return;
    lock_destroy(&nexus->lock);
    lock_destroy(&nexus->changed_lock);
    free(nexus->itls);
    free(nexus);
}

static struct scsi_itl *nexus_keep_itl(struct scsi_nexus *nexus,
                                       const struct access_mapping *mapping)
{
    struct scsi_itl *itl = nexus_find_number(nexus, mapping->number);
    return itl && itl->lu->lun_id == mapping->lun_id ? itl : NULL;
}

/* The new table in place of the old one; LUNs that both have keep their state. */
static void nexus_switch_table_locked(struct scsi_nexus *nexus, struct scsi_itl **table,
                                      size_t count, bool is_changed)
{
    lock_take(&nexus->lock);
    struct scsi_itl **old = nexus->itls;
    size_t old_count = nexus->itl_count;
    nexus->itls = table;
    nexus->itl_count = count;
    lock_release(&nexus->lock);
    for (size_t i = 0; i < old_count; i++)
    {
        struct scsi_itl *itl = old[i];
        if (!itl->is_marked)
        {
            itl_detach_locked(itl, false);
        }
        else if (is_changed)
        {
            AUTO_LOCK(&itl->lu->lock);
            ua_add_locked(itl, ATTENTION_LUNS_CHANGED);
        }
    }
    free(old);
}

/* Makes the nexus see what access control says now. The caller holds target->lock. */
static int nexus_rebuild_locked(struct scsi_nexus *nexus)
{
    AUTO_FREE struct access_mapping *mappings = NULL;
    size_t count = 0;
    int r = access_visible(nexus->target->access, nexus->initiator_name, &mappings, &count);
    if (r < 0)
        return r;
    AUTO_FREE struct scsi_itl **table = calloc(count + 1, sizeof(struct scsi_itl *));
    if (!table)
        return -ENOMEM;
    for (size_t i = 0; i < nexus->itl_count; i++)
        nexus->itls[i]->is_marked = false;
    size_t used = 0, kept = 0;
    for (size_t i = 0; i < count; i++)
    {
        struct scsi_itl *itl = nexus_keep_itl(nexus, &mappings[i]);
        if (itl)
            kept++;
        else if (itl_create_locked(nexus, mappings[i].lun_id, mappings[i].number, &itl) < 0)
            continue; /* gone, or will be seen when it can be opened; the others count */
        itl->is_marked = true;
        table[used++] = itl;
    }
    bool is_changed = kept != used || kept != nexus->itl_count;
    nexus_switch_table_locked(nexus, take_ptr(&table), used, is_changed);
    return 0;
}

int scsi_nexus_create(struct scsi_target *target, const struct scsi_nexus_args *args,
                      struct scsi_nexus **out)
{
    if (strlen(args->initiator_name) > SCSI_NAME_MAX)
        return -EINVAL;
    struct scsi_nexus *nexus = calloc(1, sizeof(*nexus));
    if (!nexus)
        return -ENOMEM;
    nexus->target = target;
    nexus->changed = args->changed;
    nexus->opaque = args->opaque;
    nexus->references = 1;
    snprintf(nexus->initiator_name, sizeof(nexus->initiator_name), "%s", args->initiator_name);
    snprintf(nexus->port.name, sizeof(nexus->port.name), "%s", args->initiator_name);
    memcpy(nexus->port.isid, args->isid, sizeof(args->isid));
    nexus->port.target_port = args->portal_group_tag;
    list_init(&nexus->changed_tasks);
    list_init(&nexus->target_link);
    lock_init(&nexus->lock, LOCK_RANK_SESSION);
    lock_init(&nexus->changed_lock, LOCK_RANK_EVENT);
    AUTO_LOCK(&target->lock);
    int r = nexus_rebuild_locked(nexus);
    if (r < 0)
    {
        nexus_put(nexus);
        return r;
    }
    list_add_tail(&target->nexuses, &nexus->target_link);
    *out = nexus;
    return 0;
}

void scsi_nexus_destroy(struct scsi_nexus *nexus)
{
    if (!nexus)
        return;
    lock_take(&nexus->changed_lock);
    nexus->is_detached = true;
    lock_release(&nexus->changed_lock);
    struct scsi_target *target = nexus->target;
    lock_take(&target->lock);
    list_remove(&nexus->target_link);
    lock_take(&nexus->lock);
    struct scsi_itl **itls = take_ptr(&nexus->itls);
    size_t count = nexus->itl_count;
    nexus->itl_count = 0;
    lock_release(&nexus->lock);
    for (size_t i = 0; i < count; i++)
        itl_detach_locked(itls[i], true);
    lock_release(&target->lock);
    free(itls);
    nexus_put(nexus);
}

/* ---- target -------------------------------------------------------------------------------- */

static void target_access_changed(void *opaque)
{
    struct scsi_target *target = opaque;
    AUTO_LOCK(&target->lock);
    list_for_each (nexus, &target->nexuses, struct scsi_nexus, target_link)
    {
        int r = nexus_rebuild_locked(nexus);
        if (r < 0)
            log_error("what initiator %s sees could not be brought up to date: %s",
                      nexus->initiator_name, strerror(-r));
    }
    for (size_t i = 0; i < SCSI_LU_BUCKETS; i++)
        list_for_each (lu, &target->buckets[i], struct scsi_lu, bucket_link)
        {
            unsigned flags = access_lun_flags(target->access, lu->lun_id);
            AUTO_LOCK(&lu->lock);
            if (flags != lu->flags)
                ua_add_all_locked(lu, ATTENTION_INQUIRY_CHANGED, NULL);
            lu->flags = flags;
        }
}

int scsi_target_create(struct pool *pool, struct access *access,
                       const struct scsi_target_options *options, struct scsi_target **out,
                       struct reason *why)
{
    if (strlen(options->target_name) > SCSI_NAME_MAX)
        return reason_set(why, -EINVAL, "The target name has more than %d bytes.", SCSI_NAME_MAX);
    struct scsi_target *target = calloc(1, sizeof(*target));
    if (!target)
        return reason_set(why, -ENOMEM, "Not enough memory for the SCSI target.");
    target->pool = pool;
    target->access = access;
    target->qos = options->qos;
    target->port_count = options->port_count ? options->port_count : 1;
    snprintf(target->name, sizeof(target->name), "%s", options->target_name);
    lock_init(&target->lock, LOCK_RANK_SERVER);
    lock_init(&target->wait_lock, LOCK_RANK_LEAF);
    condition_init(&target->background_ended);
    list_init(&target->nexuses);
    list_init(&target->waiting);
    list_init(&target->roomless);
    for (size_t i = 0; i < SCSI_LU_BUCKETS; i++)
        list_init(&target->buckets[i]);
    fences_init(&target->fences);
    int r = odx_create(target, &target->tokens);
    if (r == 0)
        r = fences_load(&target->fences, pool);
    if (r < 0)
    {
        scsi_target_destroy(target);
        return reason_set(why, r,
                          "What the pool stores of reservations and offloaded copies cannot be "
                          "read: %s.",
                          strerror(-r));
    }
    access_set_hook(access, target_access_changed, target);
    *out = target;
    return 0;
}

void scsi_target_destroy(struct scsi_target *target)
{
    if (!target)
        return;
    access_set_hook(target->access, NULL, NULL);
    INVARIANT(list_is_empty(&target->nexuses));
    lock_take(&target->lock);
    target->is_stopping = true;
    condition_wake_all(&target->background_ended);
    while (target->background_count > 0)
        condition_wait(&target->background_ended, &target->lock);
    lock_release(&target->lock);
    for (size_t i = 0; i < SCSI_LU_BUCKETS; i++)
        list_for_each_safe (lu, &target->buckets[i], struct scsi_lu, bucket_link)
        {
            INVARIANT(lu->use_count == 0);
            lu_free(lu);
        }
    fences_destroy(&target->fences);
    odx_destroy(target->tokens);
    condition_destroy(&target->background_ended);
    lock_destroy(&target->lock);
    lock_destroy(&target->wait_lock);
    free(target);
}

static void target_attention(struct scsi_target *target, uint64_t lun_id, enum attention attention)
{
    AUTO_LOCK(&target->lock);
    struct scsi_lu *lu = target_find_lu_locked(target, lun_id);
    if (!lu)
        return;
    AUTO_LOCK(&lu->lock);
    ua_add_all_locked(lu, attention, NULL);
}

/* Nobody will see it again. */
static void target_drop_lu(struct scsi_target *target, uint64_t lun_id)
{
    fence_forget(&target->fences, lun_id);
    AUTO_LOCK(&target->lock);
    struct scsi_lu *lu = target_find_lu_locked(target, lun_id);
    if (!lu)
        return;
    lu->is_gone = true;
    if (lu->use_count == 0)
        lu_free(lu);
}

void scsi_target_lun_changed(void *opaque, enum lun_change change, uint64_t lun_id,
                             const char *name)
{
    struct scsi_target *target = opaque;
    (void)name;
    switch (change)
    {
    case LUN_CHANGE_CREATED:
    case LUN_CHANGE_RENAMED: /* identity goes by the uuid */
        break;
    case LUN_CHANGE_RESIZED:
        target_attention(target, lun_id, ATTENTION_CAPACITY_CHANGED);
        break;
    case LUN_CHANGE_RESTORED:
        target_attention(target, lun_id, ATTENTION_CAPACITY_CHANGED);
        target_attention(target, lun_id, ATTENTION_MEDIUM_CHANGED);
        break;
    case LUN_CHANGE_DELETED:
        access_forget_lun(target->access, lun_id); /* its hook takes it from those who see it */
        target_drop_lu(target, lun_id);
        break;
    }
}

void scsi_target_space_threshold(struct scsi_target *target)
{
    AUTO_LOCK(&target->lock);
    for (size_t i = 0; i < SCSI_LU_BUCKETS; i++)
        list_for_each (lu, &target->buckets[i], struct scsi_lu, bucket_link)
        {
            AUTO_LOCK(&lu->lock);
            ua_add_all_locked(lu, ATTENTION_SOFT_THRESHOLD, NULL);
        }
}

void scsi_target_check_space(struct scsi_target *target)
{
    struct pool_info info;
    pool_get_info(target->pool, &info);
    uint64_t percent = info.size_bytes / 100;
    lock_take(&target->lock);
    bool was_low = target->is_low_on_space;
    uint64_t limit = was_low ? SCSI_THRESHOLD_AGAIN_PERCENT : SCSI_THRESHOLD_PERCENT;
    target->is_low_on_space = info.available_bytes < limit * percent;
    bool tell = target->is_low_on_space && !was_low;
    lock_release(&target->lock);
    if (tell)
        scsi_target_space_threshold(target);
}

uint32_t lu_threshold_sets(const struct scsi_lu *lu)
{
    struct pool_info info;
    pool_get_info(lu->target->pool, &info);
    uint64_t bytes = info.size_bytes / 100 * SCSI_THRESHOLD_PERCENT;
    return (uint32_t)min_u64(bytes >> lu->sector_shift >> SCSI_THRESHOLD_EXPONENT, UINT32_MAX);
}

static int lu_check_foreign(const struct scsi_lu *lu, bool write, struct reason *why)
{
    if (lu->reserved_by)
        return reason_set(why, -EPERM, "Initiator %s holds a reservation (RESERVE) on the LUN.",
                          lu->reserved_by->nexus->initiator_name);
    uint8_t type = lu->pr.type;
    if (type == PR_NONE || (!write && !pr_type_exclusive_access(type)))
        return 0;
    const char *holder = lu->pr.holder != PR_NO_HOLDER ? lu->pr.list[lu->pr.holder].port.name
                                                       : lu->pr.list[0].port.name;
    return reason_set(why, -EPERM,
                      "Initiator %s holds a persistent reservation of type %u on the LUN.", holder,
                      type);
}

/* A reservation in the store counts although no initiator has come back to it yet. */
static int target_check_stored(struct scsi_target *target, uint64_t lun_id, bool write,
                               struct reason *why)
{
    struct pr_state state;
    pr_state_init(&state);
    int r = pr_load(target->pool, lun_id, &state);
    if (r == 0)
        r = lu_check_foreign(&(struct scsi_lu){.pr = state}, write, why);
    else
        r = reason_set(why, -EPERM, "The reservation stored for the LUN cannot be read: %s.",
                       strerror(-r));
    pr_state_clear(&state);
    return r;
}

int scsi_target_check_foreign(struct scsi_target *target, uint64_t lun_id, bool write,
                              struct reason *why)
{
    if (!fence_keeps_out(&target->fences, lun_id, write))
        return 0;
    AUTO_LOCK(&target->lock);
    struct scsi_lu *lu = target_find_lu_locked(target, lun_id);
    if (!lu)
        return target_check_stored(target, lun_id, write, why);
    AUTO_LOCK(&lu->lock);
    return lu_check_foreign(lu, write, why);
}

int scsi_target_lu_info(struct scsi_target *target, uint64_t lun_id, struct scsi_lu_info *info)
{
    AUTO_LOCK(&target->lock);
    struct scsi_lu *lu = target_find_lu_locked(target, lun_id);
    if (!lu)
        return -ENOENT;
    AUTO_LOCK(&lu->lock);
    *info = (struct scsi_lu_info){.task_count = lu->task_count,
                                  .registration_count = lu->pr.count,
                                  .reservation_type = lu->pr.type,
                                  .pr_generation = lu->pr.generation};
    list_for_each (itl, &lu->itls, struct scsi_itl, lu_link)
        info->nexus_count++;
    if (lu->pr.holder != PR_NO_HOLDER)
        snprintf(info->holder, sizeof(info->holder), "%s", lu->pr.list[lu->pr.holder].port.name);
    return 0;
}
