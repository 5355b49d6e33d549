/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The scrub of what has a fixed place: superblocks, journal, tables and bitmaps. All of it is
 * written by checkpoints alone (batches: behind what is read), so it stands still under cp_lock.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/check/scrub_internal.h"
#include "lun/pool/space_internal.h"
#include "lun/pool/super.h"

/* ---- superblocks --------------------------------------------------------------------------- */

/* A bit for each of the four copies that is not what it should be. */
static int scrub_bad_supers(struct scrub *scrub, unsigned *bad)
{
    struct pool *pool = scrub->pool;
    AUTO_LOCK(&pool->cp_lock);
    scrub->step_blks += SUPER_COPIES;
    return super_find_bad(pool, !pool->is_read_only, bad);
}

/* As long as one is whole, nothing needs those that are not. */
static void scrub_count_spare(struct scrub *scrub, unsigned bad)
{
    uint64_t count = 0;
    for (unsigned copy = 0; copy < SUPER_COPIES; copy++)
        count += bad >> copy & 1;
    AUTO_LOCK(&scrub->lock);
    scrub->info.spare_blks = count < SUPER_COPIES ? count : 0;
}

int scrub_step_supers(struct scrub *scrub)
{
    int r = scrub_bad_supers(scrub, &scrub->bad_supers);
    if (r < 0)
        return r;
    bool is_any_whole = scrub->bad_supers != (1u << SUPER_COPIES) - 1;
    scrub->wants_checkpoint |= scrub->bad_supers != 0;
    for (unsigned copy = 0; copy < SUPER_COPIES; copy++)
    {
        if (!(scrub->bad_supers >> copy & 1))
            continue;
        if (is_any_whole)
            scrub_warn_damage(
                scrub, "copy %u of the superblock, block %" PRIu64 ", is damaged; another is whole",
                copy, super_copy_blk(scrub->pool, copy));
        else
            scrub_say_damage(scrub, NULL,
                             "copy %u of the superblock, block %" PRIu64
                             ", is damaged, and so are the others",
                             copy, super_copy_blk(scrub->pool, copy));
    }
    scrub_count_spare(scrub, scrub->bad_supers);
    return 0;
}

/* ---- the journal --------------------------------------------------------------------------- */

int scrub_step_journal(struct scrub *scrub)
{
    struct pool *pool = scrub->pool;
    uint64_t blks = 0, bad_blk = 0;
    int r;
    {
        AUTO_LOCK(&pool->cp_lock);
        r = journal_verify(pool->journal, &blks, &bad_blk);
    }
    scrub->step_blks += blks;
    if (r == 0 || r == -ENOMEM)
        return r;
    scrub->bad_journal = scrub->wants_checkpoint = true;
    scrub_say_damage(scrub, NULL,
                     "the journal %s from block %" PRIu64
                     " on; it is needed only until the next checkpoint",
                     scrub_what(r), bad_blk);
    return 0;
}

/* ---- tables and bitmaps -------------------------------------------------------------------- */

static int scrub_remember_slot(struct scrub *scrub, uint64_t blk)
{
    uint64_t *slots = realloc(scrub->bad_slots, (scrub->bad_slot_count + 1) * sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    scrub->bad_slots = slots;
    slots[scrub->bad_slot_count++] = blk;
    return 0;
}

/* Of the slot that is not in force nobody knows what it should be: only whether it can be read. */
static int scrub_other_slot(struct scrub *scrub, uint64_t blk, void *buf)
{
    int r = scrub_read(scrub, blk, buf);
    if (r < 0)
        scrub_say(scrub, "block %" PRIu64 " cannot be read; nothing is lost, it is not in use",
                  blk);
    return 0;
}

/* Both slots at @head of @group. *damage: what is wrong with the one in force, or 0. */
static int scrub_slots(struct scrub *scrub, const struct slot *slot, uint64_t group,
                       enum disk_group_head head, enum disk_magic magic, int *damage)
{
    struct space *space = scrub->pool->space;
    AUTO_FREE void *buf = aligned_alloc(BLK_BYTES, BLK_BYTES);
    if (!buf)
        return -ENOMEM;
    *damage = 0;
    if (slot->cp_id != 0)
    {
        scrub->step_blks++;
        *damage = space_read_slot(space, slot, group, head, magic, buf);
    }
    if (*damage == -ENOMEM)
        return *damage;
    if (slot->cp_id == 0)
        return 0; /* neither was ever written */
    return scrub_other_slot(scrub, slot_blk(space, group, head, slot->slot ^ 1u), buf);
}

/* A grow adds to them beside us, once its checkpoint is through. */
static uint64_t scrub_groups(struct space *space)
{
    AUTO_LOCK(&space->lock);
    return space->group_count;
}

/* Makes the next checkpoint write the table's slots anew: with a bitmap below it, the table and the
 * tables above it are written too. */
static bool scrub_rewrite_table(struct scrub *scrub, uint64_t first, uint64_t count)
{
    struct space *space = scrub->pool->space;
    for (uint64_t g = first; g < min_u64(first + count, scrub_groups(space)); g++)
    {
        if (space_load_group(space, g) == 0 && space_write_again(space, g))
            return true;
    }
    return false;
}

static int scrub_table(struct scrub *scrub, unsigned level, uint64_t group, const struct slot *slot)
{
    struct space *space = scrub->pool->space;
    enum disk_group_head head = level == 1 ? DISK_HEAD_TABLE1 : DISK_HEAD_TABLE2;
    uint64_t groups =
        level == 1 ? DISK_TABLE_FANOUT : (uint64_t)DISK_TABLE_FANOUT * DISK_TABLE_FANOUT;
    int damage;
    int r = scrub_slots(scrub, slot, group, head, DISK_MAGIC_TABLE, &damage);
    if (r < 0 || damage == 0)
        return r;
    uint64_t blk = slot_blk(space, group, head, slot->slot);
    bool is_known = scrub_rewrite_table(scrub, group, groups);
    scrub_say_damage(scrub, NULL,
                     "block %" PRIu64 ", the table of level %u of allocation groups %" PRIu64
                     " to %" PRIu64 ", %s%s",
                     blk, level, group, min_u64(group + groups, scrub_groups(space)) - 1,
                     scrub_what(damage), is_known ? "" : "; 'lunette pool repair' makes it anew");
    scrub->wants_checkpoint |= is_known;
    return is_known ? scrub_remember_slot(scrub, blk) : 0;
}

static int scrub_bitmap(struct scrub *scrub, uint64_t g)
{
    struct space *space = scrub->pool->space;
    struct slot slot = space_group(space, g)->slot;
    int damage;
    int r = scrub_slots(scrub, &slot, g, DISK_HEAD_BITMAP, DISK_MAGIC_BITMAP, &damage);
    if (r < 0 || damage == 0)
        return r;
    uint64_t blk = slot_blk(space, g, DISK_HEAD_BITMAP, slot.slot);
    bool is_known = space_write_again(space, g);
    scrub_say_damage(scrub, NULL,
                     "block %" PRIu64 ", the bitmap of allocation group %" PRIu64 ", %s%s", blk, g,
                     scrub_what(damage), is_known ? "" : "; 'lunette pool repair' makes it anew");
    scrub->wants_checkpoint |= is_known;
    return is_known ? scrub_remember_slot(scrub, blk) : 0;
}

static int scrub_group_locked(struct scrub *scrub, uint64_t g)
{
    struct space *space = scrub->pool->space;
    int r = 0;
    if (g % ((uint64_t)DISK_TABLE_FANOUT * DISK_TABLE_FANOUT) == 0)
        r = scrub_table(scrub, 2, g, &space->tables2[g / DISK_TABLE_FANOUT / DISK_TABLE_FANOUT]);
    if (r == 0 && g % DISK_TABLE_FANOUT == 0)
        r = scrub_table(scrub, 1, g, &space->tables1[g / DISK_TABLE_FANOUT]);
    return r == 0 ? scrub_bitmap(scrub, g) : r;
}

int scrub_step_space(struct scrub *scrub)
{
    struct pool *pool = scrub->pool;
    AUTO_LOCK(&pool->cp_lock);
    while (scrub->group < scrub_groups(pool->space) && scrub->step_blks < SCRUB_BATCH)
    {
        int r = scrub_group_locked(scrub, scrub->group++);
        if (r < 0)
            return r;
    }
    return scrub->group < scrub_groups(pool->space);
}

/* ---- once it was written anew -------------------------------------------------------------- */

/* How many of the damaged bitmaps and tables have a sound block in force now. */
static uint64_t scrub_count_slots(struct scrub *scrub)
{
    struct space *space = scrub->pool->space;
    uint64_t good = 0;
    AUTO_FREE void *buf = aligned_alloc(BLK_BYTES, BLK_BYTES);
    AUTO_LOCK(&scrub->pool->cp_lock);
    for (size_t i = 0; buf && i < scrub->bad_slot_count; i++)
    {
        uint64_t g = scrub->bad_slots[i] / space->group_blks;
        enum disk_group_head head =
            (enum disk_group_head)(scrub->bad_slots[i] % space->group_blks / 2 * 2);
        const struct slot *slot = &space_group(space, g)->slot;
        if (head == DISK_HEAD_TABLE1)
            slot = &space->tables1[g / DISK_TABLE_FANOUT];
        if (head == DISK_HEAD_TABLE2)
            slot = &space->tables2[g / DISK_TABLE_FANOUT / DISK_TABLE_FANOUT];
        scrub->step_blks++;
        good += space_read_slot(space, slot, g, head,
                                head == DISK_HEAD_BITMAP ? DISK_MAGIC_BITMAP : DISK_MAGIC_TABLE,
                                buf) == 0;
    }
    return good;
}

int scrub_step_rewritten(struct scrub *scrub)
{
    uint64_t good = scrub->rewritten_pages + scrub_count_slots(scrub) + scrub->bad_journal;
    if (scrub->bad_supers)
    {
        unsigned bad;
        int r = scrub_bad_supers(scrub, &bad);
        if (r < 0)
            return r;
        for (unsigned copy = 0; copy < SUPER_COPIES; copy++)
            good += (scrub->bad_supers & ~bad) >> copy & 1;
        scrub_count_spare(scrub, scrub->bad_supers & bad);
    }
    AUTO_LOCK(&scrub->lock);
    scrub->info.repaired_blks = good;
    return 0;
}
