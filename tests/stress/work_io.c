/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads and writes of subjects.
 *
 * A write stays in one stripe and holds its lock; stripes meet inside blocks, so neighbours in one
 * block have several writers. Large writes take the gate instead.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/invariant.h"
#include "tests/stress/stress.h"

enum
{
    BLK_SECTORS = LUN_BLK_BYTES / SECTOR_BYTES,
    READ_MAX_SECTORS = 256,
    LARGE_MAX_SECTORS = 3000, /* more than the engine does in one piece */
    STEPS_PER_HANDLE = 40,
};

/* One thread at work on one handle. */
struct io
{
    struct worker *worker;
    struct world *world;
    struct subject *subject;
    struct lun *lun;
    uint64_t lba, n;
    uint8_t *bytes, *others; /* LARGE_MAX_SECTORS each */
};

static bool io_allow(struct io *io, int r, const char *what, unsigned allowed)
{
    if (atomic_load(&io->subject->is_deleted))
        allowed |= MAY_BE_GONE;
    return went_well(io->world, r, what, io->subject->name, NULL, allowed);
}

static void io_fill(struct io *io, uint8_t *bytes)
{
    struct shadow *shadow = &io->subject->shadow;
    uint32_t ordinal = atomic_load(&shadow->ordinal);
    for (uint64_t i = 0; i < io->n; i++)
        sector_fill(bytes + i * SECTOR_BYTES, io->subject->family, ordinal, io->lba + i,
                    atomic_load(&shadow->started[io->lba + i]));
}

/* ---- reading ------------------------------------------------------------------------------- */

/* Compares what was read with the bounds; @acked was sampled before. */
static void io_compare(struct io *io, const uint8_t *bytes, const uint32_t *acked)
{
    struct subject *subject = io->subject;
    struct shadow *shadow = &subject->shadow;
    for (uint64_t i = 0; i < io->n; i++)
    {
        uint64_t lba = io->lba + i;
        uint32_t high = atomic_load(&shadow->started[lba]);
        uint32_t zeroed = atomic_load(&shadow->zeroed[lba]), version;
        bool is_zero;
        const char *wrong = sector_judge(io->world, bytes + i * SECTOR_BYTES, subject->family,
                                         atomic_load(&shadow->ordinal), lba, &version, &is_zero);
        bool is_in = is_zero ? zeroed >= acked[i] : version >= acked[i] && version <= high;
        /* A file's page may be read while it is written; a second look must be right. */
        /* A restore that the cut ended has changed what is seen until the reopening. */
        if (is_off(io->world))
            return;
        bool is_torn_file = wrong && io->world->options.path && high != acked[i];
        if ((wrong || !is_in) && !is_torn_file)
            fail("read of '%s' sector %llu: %s; version %u%s, may be %u to %u, zeros of %u",
                 subject->name, (unsigned long long)lba, wrong ? wrong : "the wrong version",
                 version, is_zero ? " (zeros)" : "", acked[i], high, zeroed);
    }
}

static void io_sample(struct io *io, uint32_t *acked)
{
    for (uint64_t i = 0; i < io->n; i++)
        acked[i] = atomic_load(&io->subject->shadow.acked[io->lba + i]);
}

static void io_read_random(struct io *io)
{
    uint32_t acked[READ_MAX_SECTORS];
    uint64_t sectors = atomic_load(&io->subject->sectors);
    io->lba = rng_below(&io->worker->rng, sectors);
    io->n = rng_between(&io->worker->rng, 1, READ_MAX_SECTORS);
    if (io->n > sectors - io->lba)
        io->n = sectors - io->lba;
    io_sample(io, acked);
    doing("lun_read", atomic_load(&io->subject->shadow.ordinal));
    int r = read_some(io->lun, io->bytes, io->n * SECTOR_BYTES, io->lba * SECTOR_BYTES);
    if (!io_allow(io, r, "lun_read", 0))
        return;
    io_compare(io, io->bytes, acked);
    count(io->world, COUNT_READS);
}

/* ---- writing ------------------------------------------------------------------------------- */

static int io_write(struct io *io, unsigned flags)
{
    doing("lun_write", atomic_load(&io->subject->shadow.ordinal));
    shadow_begin(&io->subject->shadow, io->lba, io->n, false);
    io_fill(io, io->bytes);
    return lun_write(io->lun, io->bytes, io->n * SECTOR_BYTES, io->lba * SECTOR_BYTES, flags);
}

/* The whole blocks inside the range; none: a plain write. */
static int io_write_atomic(struct io *io)
{
    uint64_t first = (io->lba + BLK_SECTORS - 1) / BLK_SECTORS * BLK_SECTORS;
    uint64_t end = (io->lba + io->n) / BLK_SECTORS * BLK_SECTORS;
    if (first >= end)
        return io_write(io, 0);
    io->lba = first;
    io->n = end - first;
    doing("lun_write_atomic", atomic_load(&io->subject->shadow.ordinal));
    shadow_begin(&io->subject->shadow, io->lba, io->n, false);
    io_fill(io, io->bytes);
    return lun_write_atomic(io->lun, io->bytes, io->n * SECTOR_BYTES, io->lba * SECTOR_BYTES, 0);
}

/* What is there is compared with what was read a moment ago: nobody else writes here. */
static int io_compare_and_write(struct io *io)
{
    size_t len = io->n * SECTOR_BYTES, at = SIZE_MAX;
    uint32_t acked[STRIPE_SECTORS];
    io_sample(io, acked);
    doing("reading for compare and write", atomic_load(&io->subject->shadow.ordinal));
    int r = read_some(io->lun, io->others, len, io->lba * SECTOR_BYTES);
    if (r < 0)
        return r;
    io_compare(io, io->others, acked);
    shadow_begin(&io->subject->shadow, io->lba, io->n, false);
    io_fill(io, io->bytes);
    doing("lun_compare_and_write", atomic_load(&io->subject->shadow.ordinal));
    size_t flip = rng_below(&io->worker->rng, len);
    io->others[flip] ^= 1;
    r = lun_compare_and_write(io->lun, io->others, io->bytes, len, io->lba * SECTOR_BYTES, 0, &at);
    if (r == 0 || (r == -EILSEQ && at != flip && !is_off(io->world)))
        fail("'%s': compare and write at %llu differs at %zu, not at %zu (%d)", io->subject->name,
             (unsigned long long)io->lba, flip, at, r);
    if (r != -EILSEQ)
        return r;
    io->others[flip] ^= 1;
    return lun_compare_and_write(io->lun, io->others, io->bytes, len, io->lba * SECTOR_BYTES, 0,
                                 &at);
}

static void io_change_cb(void *opaque, uint8_t *content, size_t len)
{
    struct io *io = opaque;
    INVARIANT(len == io->n * SECTOR_BYTES);
    uint32_t acked[STRIPE_SECTORS];
    io_sample(io, acked);
    io_compare(io, content, acked);
    io_fill(io, content);
}

static int io_read_modify_write(struct io *io)
{
    doing("lun_read_modify_write", atomic_load(&io->subject->shadow.ordinal));
    shadow_begin(&io->subject->shadow, io->lba, io->n, false);
    return lun_read_modify_write(io->lun, io->n * SECTOR_BYTES, io->lba * SECTOR_BYTES, 0,
                                 io_change_cb, io);
}

static int io_zero(struct io *io)
{
    doing("lun_unmap", atomic_load(&io->subject->shadow.ordinal));
    shadow_begin(&io->subject->shadow, io->lba, io->n, true);
    count(io->world, COUNT_ZEROS);
    uint64_t len = io->n * SECTOR_BYTES, offset = io->lba * SECTOR_BYTES;
    return rng_percent(&io->worker->rng, 50) ? lun_unmap(io->lun, len, offset, 0)
                                             : lun_zero(io->lun, len, offset, LUN_MAY_UNMAP);
}

static void io_change_random(struct io *io)
{
    struct rng *rng = &io->worker->rng;
    struct subject *subject = io->subject;
    uint64_t sectors = atomic_load(&subject->sectors);
    io->lba = rng_below(rng, sectors);
    uint64_t stripe = io->lba / STRIPE_SECTORS, stripe_end = (stripe + 1) * STRIPE_SECTORS;
    uint64_t end = stripe_end < sectors ? stripe_end : sectors;
    io->n = rng_between(rng, 1, end - io->lba);
    doing("waiting for a stripe", atomic_load(&subject->shadow.ordinal));
    AUTO_LOCK(&subject->stripes[stripe % STRIPES]);
    int r;
    bool is_durable = false;
    switch (rng_below(rng, 10))
    {
    case 0:
        r = io_write_atomic(io);
        break;
    case 1:
        r = io_compare_and_write(io);
        break;
    case 2:
        r = io_read_modify_write(io);
        break;
    case 3:
    case 4:
        r = io_zero(io);
        break;
    case 5:
        r = io_write(io, LUN_FUA);
        is_durable = true;
        break;
    default:
        r = io_write(io, 0);
        break;
    }
    if (!io_allow(io, r, "a write", MAY_BE_FULL))
        return;
    shadow_end(&subject->shadow, io->lba, io->n, is_durable);
    count(io->world, COUNT_WRITES);
}

/* With the gate, exclusive. */
static void io_write_large(struct io *io)
{
    struct rng *rng = &io->worker->rng;
    uint64_t sectors = atomic_load(&io->subject->sectors);
    io->lba = rng_below(rng, sectors);
    io->n = rng_between(rng, 1, LARGE_MAX_SECTORS);
    if (io->n > sectors - io->lba)
        io->n = sectors - io->lba;
    int r = rng_percent(rng, 60) ? io_write(io, 0) : io_zero(io);
    if (io_allow(io, r, "a large write", MAY_BE_FULL))
        shadow_end(&io->subject->shadow, io->lba, io->n, false);
}

/* ---- flush and the like -------------------------------------------------------------------- */

/* A flush on this handle covers what was acknowledged on @other. */
static void io_flush(struct io *io)
{
    struct subject *other = subject_pick(io->worker);
    if (!other)
        return;
    AUTO_FREE uint32_t *acked = malloc(SECTORS_MAX * sizeof(*acked));
    INVARIANT(acked != NULL);
    rwlock_take_shared(&other->gate);
    for (unsigned i = 0; i < SECTORS_MAX; i++)
        acked[i] = atomic_load(&other->shadow.acked[i]);
    doing("lun_flush", atomic_load(&io->subject->shadow.ordinal));
    int r = lun_flush(io->lun);
    if (io_allow(io, r, "lun_flush", 0))
    {
        count(io->world, COUNT_FLUSHES);
        for (unsigned i = 0; i < SECTORS_MAX; i++)
        {
            uint32_t durable = atomic_load(&other->shadow.durable[i]);
            while (durable < acked[i] &&
                   !atomic_compare_exchange_weak(&other->shadow.durable[i], &durable, acked[i]))
                continue;
        }
    }
    rwlock_release(&other->gate);
    subject_put(io->world, other);
}

static void io_look(struct io *io)
{
    struct lun_extent extents[64];
    struct lun_info info;
    size_t n;
    uint64_t len = atomic_load(&io->subject->sectors) * SECTOR_BYTES;
    doing("lun_extents", atomic_load(&io->subject->shadow.ordinal));
    int r = lun_extents(io->lun, len, 0, extents, 64, &n);
    uint64_t at = 0;
    for (size_t i = 0; io_allow(io, r, "lun_extents", 0) && i < n; i++)
    {
        if (extents[i].offset_bytes != at || extents[i].len_bytes == 0)
            fail("'%s': extent %zu begins at %llu, not at %llu", io->subject->name, i,
                 (unsigned long long)extents[i].offset_bytes, (unsigned long long)at);
        at += extents[i].len_bytes;
    }
    if (at > len)
        fail("'%s': extents up to %llu, it ends at %llu", io->subject->name, (unsigned long long)at,
             (unsigned long long)len);
    r = lun_cache(io->lun, len, 0);
    ignore_error(io_allow(io, r, "lun_cache", 0), "only its errors count");
    r = lun_describe(io->lun, &info);
    /* Of a restore or resize that the cut ended nobody knows. */
    if (io_allow(io, r, "lun_describe", 0) && info.size_bytes != len && !is_off(io->world))
        fail("'%s' is described with %llu bytes, not %llu", io->subject->name,
             (unsigned long long)info.size_bytes, (unsigned long long)len);
}

/* ---- the thread ---------------------------------------------------------------------------- */

static void io_step(struct io *io)
{
    unsigned dice = (unsigned)rng_below(&io->worker->rng, 100);
    if (dice < 3)
    {
        io_flush(io);
        return;
    }
    if (dice < 5)
    {
        rwlock_take_exclusive(&io->subject->gate);
        io_write_large(io);
        rwlock_release(&io->subject->gate);
        return;
    }
    rwlock_take_shared(&io->subject->gate);
    if (dice < 7)
        io_look(io);
    else if (dice < 45)
        io_read_random(io);
    else
        io_change_random(io);
    rwlock_release(&io->subject->gate);
}

void work_io(struct worker *worker)
{
    struct world *world = worker->world;
    struct io io = {.worker = worker, .world = world};
    AUTO_FREE uint8_t *bytes = malloc(2 * LARGE_MAX_SECTORS * SECTOR_BYTES);
    INVARIANT(bytes != NULL);
    io.bytes = bytes;
    io.others = bytes + LARGE_MAX_SECTORS * SECTOR_BYTES;
    while (!atomic_load(&world->stop))
    {
        char name[NAME_BYTES];
        io.subject = subject_pick(worker);
        if (!io.subject)
            continue;
        subject_name(world, io.subject, name);
        doing("lun_open", 0);
        int r = lun_open(world->pool, name, 0, &io.lun, NULL);
        if (r == 0)
        {
            for (unsigned i = 0; i < STEPS_PER_HANDLE && !atomic_load(&world->stop) &&
                                 !atomic_load(&io.subject->is_deleted);
                 i++)
                io_step(&io);
            lun_close(io.lun);
        }
        /* It may have been renamed since the look at its name. */
        ignore_error(went_well(world, r, "lun_open", name, NULL, MAY_BE_GONE), "tried again");
        subject_put(world, io.subject);
    }
}
