/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The chaos LUNs: a few names of one family, on which every command and all I/O meets without any
 * lock of ours. Whatever fits the moment may be answered; what is read must be sectors of this
 * family in their places, or zeros, never torn and never another family's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/invariant.h"
#include "tests/stress/stress.h"

enum
{
    CHAOS_FAMILY = 1, /* next_family begins above */
    CHAOS_LUNS = 4,
    CHAOS_SNAPS = 2,
    CHAOS_MAX_SECTORS = 3000,
    CHAOS_PART_SECTORS = 700,
    CHAOS_STEPS = 30,
    ANY_OF_CHAOS = MAY_BE_FULL | MAY_BE_GONE | MAY_EXIST | MAY_BE_BUSY | MAY_BE_INVALID,
    CHAOS_IO = MAY_BE_FULL | MAY_BE_GONE | MAY_BE_INVALID,
};

static void chaos_lun_name(struct rng *rng, char *name)
{
    snprintf(name, NAME_BYTES, "x%u", (unsigned)rng_below(rng, CHAOS_LUNS));
}

static void chaos_snap_name(struct rng *rng, char *name)
{
    snprintf(name, NAME_BYTES, "s%u", (unsigned)rng_below(rng, CHAOS_SNAPS));
}

/* A LUN, a snapshot, or the difference of the two. */
static void chaos_any_name(struct rng *rng, char *name, size_t size)
{
    char lun[NAME_BYTES], snap[NAME_BYTES];
    chaos_lun_name(rng, lun);
    chaos_snap_name(rng, snap);
    switch (rng_below(rng, 4))
    {
    case 0:
        snprintf(name, size, "%s@%s", lun, snap);
        break;
    case 1:
        snprintf(name, size, "%s@%s..%s", lun, snap, lun);
        break;
    default:
        snprintf(name, size, "%s", lun);
        break;
    }
}

/* ---- I/O ----------------------------------------------------------------------------------- */

struct chaos_io
{
    struct world *world;
    struct rng *rng;
    struct lun *lun;
    const char *name;
    uint8_t *bytes;
    uint64_t lba, n;
};

static void chaos_judge(struct chaos_io *io)
{
    for (uint64_t i = 0; i < io->n; i++)
    {
        uint32_t version;
        bool is_zero;
        const char *wrong = sector_judge(io->world, io->bytes + i * SECTOR_BYTES, CHAOS_FAMILY, 0,
                                         io->lba + i, &version, &is_zero);
        /* A file's page may be read while it is written. */
        if (wrong && !(io->world->options.path && strcmp(wrong, "a torn sector") == 0))
            fail("chaos '%s' sector %llu: %s", io->name, (unsigned long long)(io->lba + i), wrong);
    }
}

static void chaos_fill(struct chaos_io *io)
{
    uint32_t version = (uint32_t)rng_next(io->rng);
    for (uint64_t i = 0; i < io->n; i++)
        sector_fill(io->bytes + i * SECTOR_BYTES, CHAOS_FAMILY, 1, io->lba + i, version);
}

static int chaos_read(struct chaos_io *io)
{
    doing("lun_read of chaos", 1);
    int r = read_some(io->lun, io->bytes, io->n * SECTOR_BYTES, io->lba * SECTOR_BYTES);
    if (r == 0)
        chaos_judge(io);
    return r;
}

static int chaos_change(struct chaos_io *io)
{
    size_t len = io->n * SECTOR_BYTES;
    uint64_t offset = io->lba * SECTOR_BYTES;
    unsigned flags = rng_percent(io->rng, 10) ? LUN_FUA : 0;
    switch (rng_below(io->rng, 8))
    {
    case 0:
        doing("lun_unmap of chaos", 1);
        return lun_unmap(io->lun, len, offset, flags);
    case 1:
        doing("lun_zero of chaos", 1);
        return lun_zero(io->lun, len, offset, flags);
    case 2:
        doing("lun_flush of chaos", 1);
        return lun_flush(io->lun);
    case 3:
        io->lba = io->lba / 8 * 8;
        io->n = (io->n + 7) / 8 * 8;
        chaos_fill(io);
        doing("lun_write_atomic of chaos", 1);
        return lun_write_atomic(io->lun, io->bytes, io->n * SECTOR_BYTES, io->lba * SECTOR_BYTES,
                                flags);
    default:
        chaos_fill(io);
        doing("lun_write of chaos", 1);
        return lun_write(io->lun, io->bytes, len, offset, flags);
    }
}

static int chaos_look(struct chaos_io *io)
{
    struct lun_extent extents[32];
    struct lun_info info;
    size_t n;
    doing("lun_extents of chaos", 1);
    int r = lun_extents(io->lun, io->n * SECTOR_BYTES, io->lba * SECTOR_BYTES, extents, 32, &n);
    if (r == 0)
        r = lun_cache(io->lun, io->n * SECTOR_BYTES, io->lba * SECTOR_BYTES);
    return r < 0 ? r : lun_describe(io->lun, &info);
}

static void chaos_io_step(struct chaos_io *io)
{
    uint64_t sectors = lun_size_bytes(io->lun) / SECTOR_BYTES;
    io->lba = rng_below(io->rng, sectors);
    io->n = rng_between(io->rng, 1, rng_percent(io->rng, 10) ? CHAOS_PART_SECTORS : 40);
    if (io->n > sectors - io->lba)
        io->n = sectors - io->lba;
    unsigned dice = (unsigned)rng_below(io->rng, 100);
    int r;
    if (dice < 5)
        r = chaos_look(io);
    else if (dice < 40 || lun_is_read_only(io->lun))
        r = chaos_read(io);
    else
        r = chaos_change(io);
    count(io->world, COUNT_CHAOS);
    ignore_error(went_well(io->world, r, "chaos I/O", io->name, NULL, CHAOS_IO),
                 "what it may be is said");
}

void work_chaos_io(struct worker *worker)
{
    struct world *world = worker->world;
    AUTO_FREE uint8_t *bytes = malloc((CHAOS_PART_SECTORS + 16) * SECTOR_BYTES);
    INVARIANT(bytes != NULL);
    while (!atomic_load(&world->stop))
    {
        char name[4 * NAME_BYTES];
        struct chaos_io io = {.world = world, .rng = &worker->rng, .name = name, .bytes = bytes};
        chaos_any_name(&worker->rng, name, sizeof(name));
        doing("lun_open of chaos", 1);
        unsigned flags = strchr(name, '@') ? LUN_READ_ONLY : 0;
        int r = lun_open(world->pool, name, flags, &io.lun, NULL);
        if (!went_well(world, r, "lun_open", name, NULL, MAY_BE_GONE))
            continue;
        for (unsigned i = 0; i < CHAOS_STEPS && !atomic_load(&world->stop); i++)
            chaos_io_step(&io);
        lun_close(io.lun);
    }
}

/* ---- commands ------------------------------------------------------------------------------ */

static int chaos_command(struct world *world, struct rng *rng, struct reason *why)
{
    struct pool *pool = world->pool;
    char lun[NAME_BYTES], other[NAME_BYTES], snap[NAME_BYTES], full[2 * NAME_BYTES];
    chaos_lun_name(rng, lun);
    chaos_lun_name(rng, other);
    chaos_snap_name(rng, snap);
    snprintf(full, sizeof(full), "%s@%s", lun, snap);
    unsigned flags = rng_percent(rng, 70) ? LUN_FORCE : 0;
    uint64_t size_bytes = rng_between(rng, 1, CHAOS_MAX_SECTORS) * SECTOR_BYTES;
    struct lun_create_args create = {.name = lun, .size_bytes = size_bytes};
    struct lun_clone_args clone = {.source = rng_percent(rng, 50) ? full : lun, .name = other};
    switch (rng_below(rng, 12))
    {
    case 0:
    case 1:
        doing("lun_create of chaos", 1);
        return lun_create(pool, &create, why);
    case 2:
    case 3:
        doing("lun_clone of chaos", 1);
        return lun_clone(pool, &clone, why);
    case 4:
        doing("lun_delete of chaos", 1);
        return lun_delete(pool, lun, rng_percent(rng, 70), flags, why);
    case 5:
        doing("lun_rename of chaos", 1);
        return lun_rename(pool, lun, other, why);
    case 6:
    case 7:
        doing("lun_resize of chaos", 1);
        return lun_resize(pool, lun, size_bytes, flags, why);
    case 8:
    case 9:
        doing("snapshot_create of chaos", 1);
        return snapshot_create(pool, lun, snap, "chaos", why);
    case 10:
        doing("snapshot_delete of chaos", 1);
        return snapshot_delete(pool, lun, snap, flags, why);
    default:
        doing("snapshot_restore of chaos", 1);
        return snapshot_restore(pool, lun, snap, flags, why);
    }
}

void work_chaos_manage(struct worker *worker)
{
    struct world *world = worker->world;
    while (!atomic_load(&world->stop))
    {
        struct reason why = {0};
        int r = chaos_command(world, &worker->rng, &why);
        ignore_error(
            went_well(world, r, "a chaos command", atomic_load(&worker->doing), &why, ANY_OF_CHAOS),
            "what it may be is said");
        count(world, COUNT_CHAOS);
    }
}

/* With no other thread: all that is there. */
void chaos_verify(struct world *world)
{
    struct lun_info *list = NULL;
    size_t n = 0;
    int r = lun_list(world->pool, NULL, &list, &n, NULL);
    if (r < 0)
        fail("lun_list: %s", strerror(-r));
    AUTO_FREE uint8_t *bytes = malloc(CHAOS_MAX_SECTORS * SECTOR_BYTES);
    INVARIANT(bytes != NULL);
    for (size_t i = 0; i < n; i++)
    {
        struct chaos_io io = {.world = world, .name = list[i].name, .bytes = bytes};
        if (list[i].name[0] != 'x')
            continue;
        r = lun_open(world->pool, io.name, LUN_READ_ONLY, &io.lun, NULL);
        if (r < 0)
            fail("'%s' cannot be opened: %s", io.name, strerror(-r));
        io.n = lun_size_bytes(io.lun) / SECTOR_BYTES;
        r = chaos_read(&io);
        if (r < 0)
            fail("'%s' cannot be read: %s", io.name, strerror(-r));
        lun_close(io.lun);
    }
    free(list);
}
