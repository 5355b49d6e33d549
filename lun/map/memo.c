/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/map/memo.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "lun/base/checked.h"

enum
{
    MEMO_SLOTS_MAX = 512,
    MEMO_REGION_BLKS_MIN = 64, /* a slot is for one such stretch of the LUN at least */
};

/*
 * Written under turn: odd while it is written, and two more afterwards. Whoever reads the fields
 * between two reads of the same even turn has read what one writer wrote.
 */
struct memo_slot
{
    _Atomic uint32_t turn;
    _Atomic uint32_t len_blks;
    _Atomic uint64_t version, lba, blk;
};

struct memo
{
    uint32_t slot_count, region_shift; /* immutable */
    struct memo_slot slots[];
};

void memo_step(struct memo_place *place)
{
    atomic_fetch_add(&place->version, 1);
}

uint64_t memo_version(const struct memo_place *place)
{
    return atomic_load(&place->version);
}

static struct memo_slot *memo_slot_of(struct memo *memo, uint64_t lba)
{
    return &memo->slots[(lba >> memo->region_shift) % memo->slot_count];
}

bool memo_find(const struct memo_place *place, uint64_t lba, uint64_t max_blks,
               struct emap_run *run)
{
    struct memo *memo = atomic_load_explicit(&place->memo, memory_order_acquire);
    if (!memo)
        return false;
    /* Sequentially consistent, as the epoch before it: an epoch that nobody waits for any more has
     * not begun yet, and will see this version stepped. */
    uint64_t version = atomic_load(&place->version);
    struct memo_slot *slot = memo_slot_of(memo, lba);
    uint32_t turn = atomic_load_explicit(&slot->turn, memory_order_acquire);
    uint64_t slot_version = atomic_load_explicit(&slot->version, memory_order_acquire);
    uint64_t first = atomic_load_explicit(&slot->lba, memory_order_acquire);
    uint64_t len = atomic_load_explicit(&slot->len_blks, memory_order_acquire);
    uint64_t blk = atomic_load_explicit(&slot->blk, memory_order_acquire);
    if (turn % 2 != 0 || atomic_load_explicit(&slot->turn, memory_order_relaxed) != turn ||
        slot_version != version || lba < first || lba - first >= len)
        return false;
    *run = (struct emap_run){
        .lba = lba, .len_blks = min_u64(max_blks, len - (lba - first)), .blk = blk + (lba - first)};
    return true;
}

static struct memo *memo_create(uint64_t size_blks)
{
    uint32_t shift = 0, count = MEMO_SLOTS_MAX;
    while ((UINT64_C(1) << shift) < MEMO_REGION_BLKS_MIN ||
           (size_blks >> shift) > MEMO_SLOTS_MAX - 1)
        shift++;
    if ((size_blks >> shift) + 1 < count)
        count = (uint32_t)(size_blks >> shift) + 1;
    struct memo *memo = calloc(1, sizeof(*memo) + count * sizeof(struct memo_slot));
    if (!memo)
        return NULL;
    memo->slot_count = count;
    memo->region_shift = shift;
    return memo;
}

static struct memo *memo_of(struct memo_place *place, uint64_t size_blks)
{
    struct memo *memo = atomic_load_explicit(&place->memo, memory_order_acquire);
    if (memo)
        return memo;
    struct memo *made = memo_create(size_blks);
    if (!made)
        return NULL;
    if (atomic_compare_exchange_strong(&place->memo, &memo, made))
        return made;
    free(made); /* another reader was faster */
    return memo;
}

void memo_put(struct memo_place *place, uint64_t version, const struct emap_run *extent,
              uint64_t lba, uint64_t size_blks)
{
    struct memo *memo = memo_of(place, size_blks);
    if (!memo)
        return;
    struct memo_slot *slot = memo_slot_of(memo, lba);
    uint32_t turn = atomic_load_explicit(&slot->turn, memory_order_relaxed);
    if (turn % 2 != 0 || !atomic_compare_exchange_strong(&slot->turn, &turn, turn + 1))
        return; /* somebody else fills it */
    atomic_store_explicit(&slot->version, version, memory_order_release);
    atomic_store_explicit(&slot->lba, extent->lba, memory_order_release);
    atomic_store_explicit(&slot->len_blks, (uint32_t)min_u64(extent->len_blks, UINT32_MAX),
                          memory_order_release);
    atomic_store_explicit(&slot->blk, extent->blk, memory_order_release);
    atomic_store_explicit(&slot->turn, turn + 2, memory_order_release);
}

void memo_destroy(struct memo_place *place)
{
    free(atomic_load(&place->memo));
    atomic_store(&place->memo, NULL);
}
