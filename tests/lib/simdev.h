/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A simulated disk: what a struct device gives the engine, with power cuts and faults on demand.
 *
 * It holds two images: what reads see, and what is durable. A write changes the first at once and
 * is kept in a list; a sync brings the list into the second, a durable write only its own bytes (in
 * all else, as for counts and faults, it is a write and a sync). A power cut keeps, drops or tears
 * (by sectors of 512 bytes) each write of the list. What survives goes in the order of writing, so
 * the last surviving write of a sector wins; a later write may survive without an earlier one.
 *
 * The disk outlives its devices: simdev_open() attaches one, device_close() detaches it. Everything
 * is deterministic from the seed, if one thread uses it. All functions are thread-safe.
 */
#ifndef TESTS_LIB_SIMDEV_H
#define TESTS_LIB_SIMDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lun/pool/device.h"
#include "tests/lib/rng.h"

enum
{
    SIMDEV_SECTOR_BYTES = 512,
    SIMDEV_BLK_BYTES = 4096, /* of what lies below; see simdev_set_room() */
};

enum simdev_op
{
    SIMDEV_READ,
    SIMDEV_WRITE,
    SIMDEV_SYNC,
    SIMDEV_ALLOCATE,
    SIMDEV_GROW,
    SIMDEV_SHRINK,
    SIMDEV_DISCARD,
    SIMDEV_OP_COUNT,
};

const char *simdev_op_name(enum simdev_op op);

struct simdev;

/* A disk of zeros. It can grow to @limit_bytes. */
struct simdev *simdev_new(uint64_t size_bytes, uint64_t limit_bytes, uint64_t seed);
/* Another disk in the same state: content, unsynced writes, size. Faults and log are not taken
 * over. */
struct simdev *simdev_copy(struct simdev *disk, uint64_t seed);
/* No device may be attached. NULL is accepted. */
void simdev_destroy(struct simdev *disk);

/* Attaches a fresh device. A device that is still attached stays valid, and sees the same bytes. */
struct device *simdev_open(struct simdev *disk);

/* Whether it lends (see struct device_ops); at first it says "not now" always. */
void simdev_set_lending(struct simdev *disk, bool lends);

/* ---- power */

struct simdev_crash_policy
{
    unsigned keep_percent; /* an unsynced write survives, whole unless torn */
    unsigned tear_percent; /* of those that survive: only some of its sectors do */
};

/* Keeps and tears by odds that are drawn anew for each crash, extremes among them. */
struct simdev_crash_policy simdev_random_policy(struct rng *rng);

/*
 * Cuts the power: from now on, all I/O fails with -EIO and the content no longer changes. Close
 * what is attached, then call simdev_restart().
 */
void simdev_cut_power(struct simdev *disk);

/* Cuts it instead of the @number-th write or sync from now (1: the next). That write is part of
 * what may survive, a sync has no effect. 0: never. */
void simdev_cut_power_at(struct simdev *disk, uint64_t number);
bool simdev_is_off(struct simdev *disk);

/* What the cut hit: SIMDEV_WRITE with its place, or SIMDEV_SYNC. */
struct simdev_cut
{
    enum simdev_op op;
    uint64_t offset;
    size_t len;
    uint8_t head[16]; /* of what was to be written */
};
struct simdev_cut simdev_last_cut(struct simdev *disk);

/* Decides what survives and switches it on again; all devices were closed. Also without a cut. */
void simdev_restart(struct simdev *disk, struct rng *rng, const struct simdev_crash_policy *policy);

/* What the last restart did to writes that were not synced. */
struct simdev_losses
{
    uint64_t dropped;   /* none of its sectors survived */
    uint64_t torn;      /* some of them did */
    uint64_t reordered; /* survived, and one before it did not */
};
struct simdev_losses simdev_last_losses(struct simdev *disk);

/* ---- faults */

enum simdev_fault_kind
{
    /* Nothing happens, @error is returned. A sync: each unsynced write is kept or lost, and of a
     * lost one, reads may go on to see it until the next restart. */
    SIMDEV_FAIL,
    SIMDEV_PARTIAL,   /* the first sectors of the write are done, then @error is returned */
    SIMDEV_LOSE,      /* 0 is returned and nothing happens */
    SIMDEV_MISDIRECT, /* 0 is returned, and the write went elsewhere */
};

struct simdev_fault
{
    enum simdev_op op;
    enum simdev_fault_kind kind;
    int error;      /* negative errno */
    uint64_t nth;   /* the nth such call from now on, 1 is the next */
    bool is_sticky; /* and all after it */
    uint64_t to;    /* MISDIRECT: where to; 0: anywhere */
};

/* One fault is armed at a time; NULL disarms. */
void simdev_arm(struct simdev *disk, const struct simdev_fault *fault);
/* How many calls the armed fault has hit, or found no room. */
uint64_t simdev_fault_hits(struct simdev *disk);

/* From now on only @blks more blocks get room: those that were never written, nor allocated since
 * they were discarded. Without room a write fails with -ENOSPC, whole. UINT64_MAX: no limit. */
void simdev_set_room(struct simdev *disk, uint64_t blks);
/* What is left of it. */
uint64_t simdev_room(struct simdev *disk);

/* Flips @bits random bits of the range, in both images. */
void simdev_rot(struct simdev *disk, struct rng *rng, unsigned bits, uint64_t len, uint64_t offset);

/* ---- looking in from the side */

/* Called before each write and sync is done, without a lock: another thread may use the disk from
 * it. @head: the first bytes of a write, at least 16 of them; NULL for a sync. NULL: no hook. */
typedef void simdev_hook(void *opaque, enum simdev_op op, const uint8_t *head);
void simdev_set_hook(struct simdev *disk, simdev_hook *hook, void *opaque);

/* Called when a sync is done and its caller does not know yet, without a lock, as a hook is. */
typedef void simdev_synced(void *opaque);
void simdev_set_synced(struct simdev *disk, simdev_synced *synced, void *opaque);

/* Called before each call that a device gets, without a lock: what it arms hits that very call. */
struct simdev_call
{
    enum simdev_op op;
    size_t len;
    uint64_t offset;
    const uint8_t *head; /* the bytes of a write, 16 of them at least; else NULL */
};
typedef void simdev_watch(void *opaque, const struct simdev_call *call);
void simdev_set_watch(struct simdev *disk, simdev_watch *watch, void *opaque);

/* ---- looking */

uint64_t simdev_count(struct simdev *disk, enum simdev_op op);
uint64_t simdev_unsynced_count(struct simdev *disk);
uint64_t simdev_bytes_written(struct simdev *disk);
/* From now on, what reads touch is noted. */
void simdev_watch_reads(struct simdev *disk);
/* Whether a read since then has touched block @blk of SIMDEV_BLK_BYTES. */
bool simdev_was_read(struct simdev *disk, uint64_t blk);
/* What a device reads, without counting and without faults. Past the end: zeros. */
void simdev_peek(struct simdev *disk, void *buf, size_t len, uint64_t offset);
void simdev_poke(struct simdev *disk, const void *bytes, size_t len, uint64_t offset);
/* The last calls that changed something, oldest first, one line each; at most 1,024 are kept. */
void simdev_print_log(struct simdev *disk, FILE *out);

#endif
