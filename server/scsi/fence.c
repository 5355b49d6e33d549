/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of LUNs that reservations close to others than SCSI hosts. */
#include "server/scsi/fence.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "lun/base/invariant.h"
#include "server/scsi/pr.h"

static struct list *fence_bucket(struct fences *fences, uint64_t lun_id)
{
    return &fences->buckets[lun_id % FENCE_BUCKETS];
}

void fences_init(struct fences *fences)
{
    lock_init(&fences->lock, LOCK_RANK_LEAF);
    for (size_t i = 0; i < FENCE_BUCKETS; i++)
        list_init(&fences->buckets[i]);
    fences->count = 0;
}

void fences_destroy(struct fences *fences)
{
    for (size_t i = 0; i < FENCE_BUCKETS; i++)
        list_for_each_safe (fence, &fences->buckets[i], struct fence, link)
        {
            INVARIANT(fence->is_stored);
            list_remove(&fence->link);
            free(fence);
        }
    lock_destroy(&fences->lock);
}

/* Takes the entry out if it is in. The caller holds the lock. */
static void fence_remove_locked(struct fences *fences, struct fence *fence)
{
    if (!fence->kept_out)
        return;
    list_remove(&fence->link);
    fence->kept_out = 0;
    fences->count--;
}

static void fence_insert_locked(struct fences *fences, struct fence *fence, uint8_t kept_out)
{
    fence->kept_out = kept_out;
    list_add_tail(fence_bucket(fences, fence->lun_id), &fence->link);
    fences->count++;
}

static void fence_drop_stored_locked(struct fences *fences, uint64_t lun_id)
{
    list_for_each_safe (fence, fence_bucket(fences, lun_id), struct fence, link)
    {
        if (!fence->is_stored || fence->lun_id != lun_id)
            continue;
        fence_remove_locked(fences, fence);
        free(fence);
    }
}

static uint8_t fence_of_type(uint8_t type)
{
    if (type == PR_NONE)
        return 0;
    return pr_type_valid(type) && !pr_type_exclusive_access(type) ? FENCE_WRITES
                                                                  : FENCE_WRITES | FENCE_READS;
}

static int fence_load_one(void *opaque, uint64_t lun_id, uint8_t type)
{
    struct fences *fences = opaque;
    uint8_t kept_out = fence_of_type(type);
    if (!kept_out)
        return 0;
    struct fence *fence = malloc(sizeof(*fence));
    if (!fence)
        return -ENOMEM;
    fence_init(fence, lun_id);
    fence->is_stored = true;
    AUTO_LOCK(&fences->lock);
    fence_insert_locked(fences, fence, kept_out);
    return 0;
}

int fences_load(struct fences *fences, struct pool *pool)
{
    return pr_list_stored(pool, fence_load_one, fences);
}

void fence_init(struct fence *fence, uint64_t lun_id)
{
    *fence = (struct fence){.lun_id = lun_id};
    list_init(&fence->link);
}

void fence_set(struct fences *fences, struct fence *fence, uint8_t kept_out)
{
    AUTO_LOCK(&fences->lock);
    fence_drop_stored_locked(fences, fence->lun_id);
    fence_remove_locked(fences, fence);
    if (kept_out)
        fence_insert_locked(fences, fence, kept_out);
}

void fence_remove(struct fences *fences, struct fence *fence)
{
    AUTO_LOCK(&fences->lock);
    fence_remove_locked(fences, fence);
}

void fence_set_stored(struct fences *fences, uint64_t lun_id, uint8_t type)
{
    uint8_t kept_out = fence_of_type(type);
    AUTO_LOCK(&fences->lock);
    if (!kept_out)
        fence_drop_stored_locked(fences, lun_id);
    list_for_each (fence, fence_bucket(fences, lun_id), struct fence, link)
        if (fence->is_stored && fence->lun_id == lun_id)
            fence->kept_out = kept_out;
}

void fence_forget(struct fences *fences, uint64_t lun_id)
{
    AUTO_LOCK(&fences->lock);
    fence_drop_stored_locked(fences, lun_id);
}

bool fence_keeps_out(struct fences *fences, uint64_t lun_id, bool write)
{
    if (atomic_load(&fences->count) == 0)
        return false;
    AUTO_LOCK(&fences->lock);
    list_for_each (fence, fence_bucket(fences, lun_id), struct fence, link)
        if (fence->lun_id == lun_id)
            return fence->kept_out & (write ? FENCE_WRITES : FENCE_READS);
    return false;
}
