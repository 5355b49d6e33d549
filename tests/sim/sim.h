/* SPDX-License-Identifier: BSD-3-Clause */
/* A pool on a simulated disk, the oracle of what it must hold, and operations on both. */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include "tests/lib/replay.h"
#include "tests/lib/rng.h"
#include "tests/lib/simdev.h"
#include "tests/sim/coverage.h"
#include "tests/sim/oracle.h"

/* The counter of power cuts after which the pool was opened, compared with the oracle and checked.
 */
#define SIM_CRASHES "crashes"

/* A fault that waits for its moment. */
struct sim_target
{
    enum coverage_phase phase;
    enum coverage_fault fault;
    uint64_t countdown; /* the call of the phase that it hits, 1 is the first; 0: none is armed */
    bool is_hit;
    bool hits_journal; /* what is lost of it may be taken for what was not written yet */
};

/* What the model remembers of a line: whom it is charged to (0: nobody), what it shows, and whether
 * it must stay as it is for the sake of a guarantee. */
struct sim_line
{
    bool is_known, is_bound;
    uint32_t volume_serial, shown_blks;
};

struct sim_books
{
    struct sim_line *lines; /* by id */
    uint64_t count;
};

/* What there is for promises, and what commands and checkpoints have asked for. */
struct sim_room
{
    uint64_t available_blks, asked_blks;
};

/* Mode odds: each call of the disk may meet a fault. */
struct sim_odds
{
    bool is_on;
    bool damages;  /* metadata, too: what is served then is right, or an error */
    bool is_vague; /* something failed in this life: what was flushed since is not noted */
    unsigned hits; /* of this life, or this recovery */
};

struct sim
{
    struct replay *replay;
    struct rng *rng; /* of this step */
    struct rng_env env;
    struct simdev *disk;
    struct pool *pool;
    struct oracle *now;   /* all that was acknowledged */
    struct oracle *maybe; /* the same and the command that was cut off */
    bool has_maybe;
    bool
        has_failed; /* an operation has, since the pool was compared: it may be done all the same */
    bool faults_armed; /* an operation may fail although the power is on */
    bool may_overlap;  /* operations go on while a checkpoint is written */
    bool has_clients;  /* several, each with LUNs of its own, that write while another flushes */
    unsigned flusher;  /* who is at it: his number, from 1 on; 0: nobody */
    uint32_t checkpointed; /* the last version that was written before the last checkpoint */
    uint32_t flushed;      /* how many of the pending writes had ended when he began */
    bool in_checkpoint, has_switched, in_overlap; /* see sim_overlap_cb() */
    bool without_fua;                             /* writes leave their records in memory */
    bool is_damaged;              /* metadata on the disk is wrong: any operation may fail */
    enum coverage_phase activity; /* recovery, growth or jobs, else COVERAGE_NO_PHASE */
    enum coverage_phase written;  /* what the last write was */
    enum coverage_phase phase;    /* of the last call while the power was on, */
    uint32_t at_stake;            /* and what was at stake then */
    bool has_promises;            /* of this run: promises and quotas are among the operations, */
    bool has_more;                /* those of sim_more.c are, */
    bool is_tight;                /* and there are so many that the pool is full at times */
    bool is_clone;                /* the command in hand, for quotas, */
    bool is_freeing;              /* or it gives space back, which must always be possible */
    bool expects_cuts;            /* between operations, somebody looks whether the power went */
    bool is_tried; /* the operation is done again and again, with a cut at each of its writes */
    bool lacks_room_below; /* the file system below the pool has no room for all of its file */
    bool cuts_allocation;  /* the next allocation is where the power goes, */
    bool was_allocating;   /* and went */
    struct sim_books books;
    struct sim_room room; /* before the command in hand */
    uint32_t owed; /* a bit for each fault that hit a recovery: what it replays is known later */
    struct sim_target target;
    struct sim_odds odds;
    const char *op; /* the name of the operation in hand */
    struct reason why;
};

struct sim_op
{
    int (*op)(struct sim *sim);
    unsigned weight;
    bool may_overlap;
};

/* sim.c */
void sim_begin(struct sim *sim, struct replay *replay);
void sim_end(struct sim *sim);
/* pool_open_device(); with an error, nothing stays open. */
MUST_CHECK int sim_open(struct sim *sim, struct simdev *disk, struct pool **pool);
/* Whether the pool is as it may be after a cut. @adopt: go on with what was found. */
bool sim_fits(struct sim *sim, struct pool *pool, bool adopt);
void sim_check_pool(struct sim *sim, struct pool *pool);
/* Reads everything while the power is on: it must be exactly what was written. */
void sim_verify_live(struct sim *sim);
/* After the power went: what survives is drawn, the pool opened and compared. */
void sim_recover(struct sim *sim, const struct simdev_crash_policy *policy, bool in_depth);
/* "node", "journal", "data", "sync", ...: what the last cut hit. */
const char *sim_cut_phase(struct simdev *disk);
/* The same of the first bytes of a write. */
const char *sim_phase_of(const uint8_t *head);
/* Notes and compares what is promised, if it is known what is there. */
void sim_look(struct sim *sim);
/* Does all background work; then nothing may be leaked. */
void sim_drain(struct sim *sim);
/* Counts a fault that hit the last call. */
void sim_note_fault(struct sim *sim, enum coverage_fault fault);
/* Switches the disk on again; what the cut hit is counted. */
void sim_restart(struct sim *sim, const struct simdev_crash_policy *policy);
/* The pool, which may be damaged, is closed or loses power; nothing that was written is lost. */
void sim_end_damaged(struct sim *sim);

/* sim_fault.c: faults at a chosen phase */
/* Sees each call that the disk gets. */
void sim_watch_cb(void *opaque, const struct simdev_call *call);
void sim_aim(struct sim *sim, enum coverage_phase phase, enum coverage_fault fault,
             uint64_t countdown);
/* The fault hits this call. */
void sim_inject(struct sim *sim, const struct simdev_call *call, enum coverage_fault fault);
bool sim_fault_suits(enum coverage_fault fault, const struct simdev_call *call);
/* Opens the closed pool, whose metadata is damaged: it is refused with a reason, or serves what is
 * right or an error, and a check finds what cannot be read. Closes it. */
void sim_examine(struct sim *sim);
/* All faults at all phases, in processes of their own. */
void sim_run_matrix(struct replay *replay);

/* sim_odds.c: faults of all kinds, by chance */
void sim_odds_cb(struct sim *sim, const struct simdev_call *call);
void sim_run_odds(struct replay *replay);

/* sim_clients.c: mode clients */
enum
{
    SIM_CLIENTS = 4,
};

/* The client that has the object, from 1 on. */
unsigned sim_client_of(struct sim *sim, const struct oracle_object *object);
/* A flush of the LUN or a write with FUA to it begins, and has ended. */
void sim_begin_flush(struct sim *sim, const struct oracle_object *object);
void sim_end_flush(struct sim *sim);
/* While one client flushes, the others write. */
void sim_clients_cb(void *opaque);

/* sim_ops.c */
/* Whether a fault may be why something fails. */
bool sim_was_hit(struct sim *sim);
/* All that was written is durable, if it is known what that is. */
void sim_note_all_durable(struct sim *sim);
/* One random operation. Returns what the engine said: 0, or an error that is no failure because
 * the power is off or a fault is armed. 1: there was nothing to do it on. */
int sim_random_op(struct sim *sim);
/* The same but for growth and checkpoints, which end what is at stake. */
int sim_random_change(struct sim *sim);
int sim_op_write(struct sim *sim);
int sim_op_unmap(struct sim *sim);
int sim_op_flush(struct sim *sim);
int sim_op_create(struct sim *sim);
int sim_op_delete(struct sim *sim);
int sim_op_delete_held(struct sim *sim);
int sim_op_revive(struct sim *sim);
int sim_op_checkpoint(struct sim *sim);
int sim_op_jobs(struct sim *sim);
int sim_op_grow(struct sim *sim);
/* The hook of the disk: while a checkpoint is written, now and then another thread does an
 * operation from beginning to end. */
void sim_overlap_cb(void *opaque, enum simdev_op op, const uint8_t *head);
/* What operations begin and end with; see sim_ops.c. */
struct oracle *sim_begin_command(struct sim *sim, const char *op);
MUST_CHECK int sim_end_command(struct sim *sim, int r);
const struct oracle_object *sim_pick(struct sim *sim, bool want_lun, bool want_snapshot);
bool sim_pick_free_lun(struct sim *sim, char name[ORACLE_NAME_BYTES]);

enum
{
    SIM_NOTHING = 1, /* there was nothing to do it on */
};

/* What they do with what the engine says: 0, or an error that is no failure. */
MUST_CHECK int sim_result(struct sim *sim, int r);
/* What must be so before an operation can be judged: it is known what there is. */
bool sim_is_sure(struct sim *sim);
/* Writes all blocks of the LUN, until there is no space. */
int sim_write_all(struct sim *sim, const struct oracle_object *object);
const struct oracle_volume *sim_pick_volume(struct sim *sim);

/* sim_judge.c */
/* The command, which makes @sim->maybe of @sim->now, ended with @r. True: it was refused, rightly.
 */
bool sim_judge(struct sim *sim, int r);
/* A write or the like of @blks to @object ended with -ENOSPC, while all is sure. */
void sim_judge_io(struct sim *sim, const struct oracle_object *object, uint64_t blks);
/* Whether jobs or a checkpoint may find no space. */
bool sim_may_lack(struct sim *sim);
/* Whether the command in hand would wait for the checkpoint that it overlaps, and so for itself. */
bool sim_would_hang(struct sim *sim);
/* What new LUNs, clones and volumes have beside their names, drawn; in the oracle, too. Only in
 * runs with promises. */
void sim_dress_lun(struct sim *sim, struct oracle_object *lun, struct lun_attributes *attributes);
void sim_draw_clone(struct sim *sim, struct lun_clone_args *args);
void sim_dress_clone(struct oracle_object *clone, const struct lun_clone_args *args);
void sim_dress_volume(struct sim *sim, struct oracle_volume *volume,
                      struct volume_attributes *attributes);
/* What the clone of a volume is not to be promised, though its parent is. */
void sim_draw_volume_clone(struct sim *sim, struct oracle *after, struct volume_clone_args *args);
void sim_dress_size(struct sim *sim, struct oracle_volume *volume);
const char *sim_draw_owner(struct sim *sim, bool or_nobody);
const char *sim_draw_group(struct sim *sim, bool or_nobody);
void sim_set_name(char to[ORACLE_OWNER_BYTES], const char *name);

/*
 * Promises and quotas. For the naive engine, which has neither, sim_naive.c stands for these files.
 */

/* sim_books.c */
/* Compares figures with what the oracle makes them, and notes in it what was seen; @adopt: the pool
 * is as the oracle has it, and goes on so. */
bool sim_fits_books(struct sim *sim, struct oracle *oracle, struct pool *pool, bool adopt,
                    struct oracle_verdict *verdict);
struct sim_room sim_room(struct sim *sim);
/* While space is promised, the pool's file has room for all of it. */
void sim_check_whole(struct sim *sim);

/* sim_promise.c */
extern const struct sim_op sim_promise_ops[];
extern const size_t sim_promise_op_count;
/* At the end of a run: fills the pool; what was promised must be there still. */
void sim_prove_promises(struct sim *sim);
/* Ends all, one at a time. */
int sim_end_promises(struct sim *sim);
/* To a LUN, while there is none: the pool's file is allocated. */
int sim_make_first_promise(struct sim *sim);
/* Both; @number chooses what goes wrong with that, if anything. */
int sim_first_promise(struct sim *sim, uint64_t number);

enum sim_write_kind
{
    SIM_WRITE_PLAIN,
    SIM_WRITE_ATOMIC,
    SIM_WRITE_COMPARE,
    SIM_WRITE_CHANGE, /* what is there is looked at, and replaced in place */
};

MUST_CHECK int sim_write_range(struct sim *sim, const struct oracle_object *object, uint32_t sector,
                               uint32_t count, enum sim_write_kind kind, unsigned flags);
/* Of a random range of a random LUN. */
int sim_write(struct sim *sim, enum sim_write_kind kind, const char *op);
/* The names of a LUN and of its snapshot. */
void sim_split(const char *full, char lun[ORACLE_NAME_BYTES], const char **snapshot);
bool sim_pick_free_snapshot(struct sim *sim, const char *lun, char name[ORACLE_NAME_BYTES]);
void sim_pick_range(struct sim *sim, const struct oracle_object *object, uint32_t align,
                    uint32_t *sector, uint32_t *count);
MUST_CHECK int sim_open_lun(struct sim *sim, const char *name, struct lun **lun);
const struct oracle_set *sim_pick_set(struct sim *sim, const struct oracle_volume **volume);

/* sim_more.c */
extern const struct sim_op sim_more_ops[];
extern const size_t sim_more_op_count;

/* sim_volume.c: operations on volumes and on several LUNs */
int sim_op_volume_create(struct sim *sim);
int sim_op_volume_rename(struct sim *sim);
int sim_op_volume_delete(struct sim *sim);
int sim_op_qtree(struct sim *sim);
/* Deletes the qtree of the volume, if no LUN is in it. */
int sim_end_qtree(struct sim *sim, const char *volume);
int sim_op_set_create(struct sim *sim);
int sim_op_set_delete(struct sim *sim);
int sim_op_set_restore(struct sim *sim);
int sim_op_volume_clone(struct sim *sim);
int sim_op_volume_split(struct sim *sim);
int sim_op_group_clone(struct sim *sim);
int sim_op_redeploy(struct sim *sim);
int sim_op_attributes(struct sim *sim);

/* A few LUNs with content. */
void sim_prepare(struct sim *sim);

#endif
