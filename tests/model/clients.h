/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Promises and quotas under several clients at once: the engine beside a model of what was
 * acknowledged.
 *
 * A client owns its LUNs, their snapshots, a volume and a clone of that; it is the only one that
 * changes the size, guarantee and quota of one of the shared volumes. So the order of all commands
 * on one object is known, whatever the clients do to each other. What they share are limits: of the
 * pool, of the shared volumes, of quotas.
 *
 * A refusal for a limit is judged by what may have been there at some moment of the call. Each call
 * says beforehand what it may take at most (struct cl_amounts); from what was there at its
 * beginning, what all calls that overlap with it may take is subtracted. No other call can have
 * made it less. A quota is judged the same way, by what overlapping calls may add to the sum that
 * it limits, or take away.
 *
 * The power can go at any moment (clients_crash.c). All clients meet then, the pool is opened anew,
 * and whoever was in a call finds out whether it was done. What was acknowledged is there; what was
 * written and not flushed is, per sector, any of what was written since.
 *
 * Mode threads: a thread for each client, beside the pool's own. Mode turns: one client after the
 * other, in an order that the seed says, without threads; that can be repeated and shrunk.
 */
#ifndef TESTS_MODEL_CLIENTS_H
#define TESTS_MODEL_CLIENTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "lun/base/lock.h"
#include "lun/lun.h"
#include "lun/pool/pool_internal.h"
#include "tests/lib/replay.h"
#include "tests/lib/rng.h"
#include "tests/lib/simdev.h"
#include "tests/model/space_rules.h"

struct cl_client;

enum
{
    CL_CLIENTS = 4,
    CL_LUNS = 8,      /* of each client */
    CL_SNAPSHOTS = 3, /* of each LUN; the last one is what a redeploy keeps */
    CL_UNDO = CL_SNAPSHOTS - 1,
    CL_SHARED = 3, /* volumes 0 to 2; volume v is changed by client v */
    CL_VOLUMES = CL_SHARED + 2 * CL_CLIENTS,
    CL_LUN_BLKS = 240,
    CL_SECTORS = 8, /* of a block */
    CL_TREES = 4,   /* of a volume: itself, and qtrees 1 to 3 */
    CL_ANY_TREE = CL_TREES,
    CL_NAMES = 4, /* of users, and of groups; 0: nobody */
    CL_IO_BLKS = 24,
    CL_POOL_BYTES = 14 << 20,
    CL_GROUP_BLKS = 512,
    CL_LAST_STEPS = 12, /* that a failure prints, of each client */
    CL_CHECK_STEPS = 100,
    CL_RUSH_STEPS = 12, /* after each check */
    CL_BLK = LUN_BLK_BYTES,
};

/* The volume that clones neither enter nor leave. */
#define CL_CLOSED "v1"
#define CL_CLOSED_NUMBER 1

/* Whose sum of sizes it is, in a tree: the tree's own, a user's, a group's. */
enum cl_who
{
    CL_WHO_TREE,
    CL_WHO_USER,                               /* + number of the name - 1 */
    CL_WHO_GROUP = CL_WHO_USER + CL_NAMES - 1, /* the same */
    CL_WHOS = CL_WHO_GROUP + CL_NAMES - 1,
    CL_WHO_ANY_USER = CL_WHOS, /* of rules alone: the default ones */
    CL_WHO_ANY_GROUP,
    CL_RULES,
};

struct cl_image
{
    bool is_there;
    uint64_t blks;
    uint8_t values[CL_LUN_BLKS * CL_SECTORS]; /* what each sector is full of */
};

struct cl_lun
{
    bool is_there;
    uint64_t serial;         /* tells it from all others, whatever it is named */
    char name[48], leaf[16]; /* with its volume's, and without */
    int volume;              /* or -1 */
    unsigned tree;           /* of the volume */
    unsigned user, group;
    bool is_reserved;
    struct cl_image now, snapshots[CL_SNAPSHOTS];
    bool is_own[CL_LUN_BLKS]; /* written since the last freeze: it must own these */
    bool is_loose;            /* something was written since the last flush */
    /* After a crash a sector of the block holds one of these: a bit for each value. */
    uint64_t may[CL_LUN_BLKS][4];
};

/* Changed by its client alone, with the world's lock. */
struct cl_volume
{
    bool is_there;
    char name[16];
    uint64_t blks; /* 0: no bound */
    bool is_guaranteed;
    bool is_dependent;     /* a clone that was not split */
    bool has_snapshot;     /* of the volume: "vs" */
    bool is_enforced;      /* quotas are on */
    unsigned free_percent; /* that a policy is to make free, by deleting snapshots; 0: none */
    bool is_freed_by_pool; /* it looks at the pool's room */
    struct cl_tree
    {
        bool is_there; /* the first always is */
        char name[8];
    } trees[CL_TREES];
    struct cl_rule
    {
        bool is_there;
        uint64_t hard, soft, threshold; /* bytes; UINT64_MAX: none */
    } rules[CL_TREES + 1][CL_RULES];
    uint64_t sums[CL_TREES][CL_WHOS]; /* of the sizes of LUNs, as acknowledged */
};

/* What a snapshot of a client's own volume holds. */
struct cl_saved
{
    struct cl_tree trees[CL_TREES];
    unsigned count;
    struct cl_saved_lun
    {
        uint64_t serial;
        struct cl_image image;
        char path[48], leaf[16], tree[8]; /* where it was; "": in no qtree */
        bool is_deleted;                  /* since; a restore brings it back as it was then: */
        bool is_reserved;
        unsigned user, group;
    } luns[CL_LUNS];
};

/* What a call may take at most. */
struct cl_amounts
{
    uint64_t pool_blks;
    struct cl_share
    {
        uint64_t blks; /* of the volume's bound */
        bool modifies; /* bound, guarantee or quota are changed */
        struct
        {
            int64_t bytes;      /* all in all, of one call */
            uint64_t add, drop; /* of several */
        } sums[CL_TREES][CL_WHOS];
    } in[CL_VOLUMES];
};

/* What shows after a crash whether a call that it hit was done. */
struct cl_sign;
typedef bool cl_sign_fn(struct cl_client *client, const struct cl_sign *sign);
struct cl_sign
{
    cl_sign_fn *is_done; /* NULL: nothing does, nor need it */
    char name[64];
    uint64_t number;
    const struct quota_rule *rule;
};

/* One that is under way, or the last one. */
struct cl_call
{
    bool is_active;
    struct cl_amounts need, overlap;
    uint64_t available, least_available; /* at the beginning; that anybody has seen */
    uint64_t left[CL_VOLUMES];           /* at the beginning; UINT64_MAX: no bound, not asked for */
    struct cl_volume volumes[CL_VOLUMES];
    struct cl_sign sign;
    bool is_clone;    /* quotas of users and groups let it through */
    bool is_promised; /* by a volume that was guaranteed throughout: a full pool is no reason */
    bool has_tail;    /* what a shrink cut off goes first, and that may find no room */
    bool has_crashed; /* the power went meanwhile */
};

struct cl
{
    struct replay *replay;
    struct rng_env env;
    struct simdev *disk;
    struct pool *pool;
    struct policy *policy; /* NULL: there are none, or no pool */
    bool has_threads;
    struct rng crash_rng;
    struct lock lock; /* LOCK_RANK_LEAF; of all below */
    struct cl_volume volumes[CL_VOLUMES];
    struct cl_client
    {
        struct cl *cl;
        struct replay replay; /* its own, for the step */
        struct rng rng;       /* of the step */
        unsigned number;
        pthread_t thread;
        struct cl_lun luns[CL_LUNS];
        uint64_t made;         /* counts names */
        struct cl_saved saved; /* by the snapshot of its own volume */
        bool must_adopt;       /* after a crash it has not looked yet at what is there */
        bool must_check;       /* nor have all together */
        struct cl_call call;
        struct reason why;
        char last[CL_LAST_STEPS][160];
        uint64_t said;
        uint8_t buf[CL_LUN_BLKS * CL_BLK];
    } clients[CL_CLIENTS];
    struct cl_meeting
    {
        struct lock lock; /* LOCK_RANK_LEAF; of all below */
        struct condition changed;
        unsigned present;
        uint64_t number;
        bool was_crash; /* the last one */
    } meeting;
    uint64_t last_event; /* that was looked at, in mode turns */
};

/* ---- clients.c */
void cl_begin(struct cl *cl, struct replay *replay);
void cl_end(struct cl *cl);
/* The pool, with its threads if there are to be some. */
MUST_CHECK int cl_open(struct cl *cl, struct reason *why);
/* Prints the last steps of all clients, and ends the run. */
__attribute__((noreturn)) void cl_fail(struct cl_client *client, const char *format, ...)
    PRINTF_LIKE(2, 3);
void cl_say(struct cl_client *client, const char *format, ...) PRINTF_LIKE(2, 3);
void cl_count(struct cl_client *client, const char *format, ...) PRINTF_LIKE(2, 3);
int cl_own_volume(const struct cl_client *client);    /* its index */
int cl_own_clone(const struct cl_client *client);     /* of that volume's clone */
struct cl_lun *cl_pick_lun(struct cl_client *client); /* NULL: there is none */
struct cl_lun *cl_pick_free(struct cl_client *client);
int cl_pick_volume(struct cl_client *client); /* -1: none */
/* A new LUN, or a new place of one. */
void cl_name(struct cl_client *client, struct cl_lun *lun, int volume, unsigned tree);
/* What its name is now that its qtree or volume may have another. */
void cl_name_again(struct cl_client *client, struct cl_lun *lun);

/* ---- clients_call.c */
/* A call with nothing but what any command may ask for. */
void cl_call_new(struct cl_client *client);
/* It may take @blks for something in @volume: a guaranteed one has them of the pool already. */
void cl_call_need(struct cl_client *client, int volume, uint64_t blks);
/* After a crash, @is_done tells whether it was done, from @number and the name. */
void cl_call_sign(struct cl_client *client, cl_sign_fn *is_done, uint64_t number,
                  const char *format, ...) PRINTF_LIKE(4, 5);
void cl_call_begin(struct cl_client *client);
/* Ends it with @r: what was done is booked, and it is the model's opinion that it may be refused
 * for lack of space (-ENOSPC) or by a quota (-EDQUOT). True: it was done. */
bool cl_call_end(struct cl_client *client, const char *what, int r);
/* The same of reads and writes, which say nothing of why. */
bool cl_call_end_io(struct cl_client *client, const char *what, int r, const struct cl_lun *lun);

/* ---- clients_check.c */
/* Figures agree with a recount, and nothing is promised that is not there. At any time. */
void cl_look(struct cl_client *client);
/* All that is known, while all clients pause. */
void cl_check(struct cl_client *client);
void cl_check_contents(struct cl_client *client);

/* ---- clients_quota.c */
/* The sums that @lun counts for change by so many blocks. */
void cl_call_quota(struct cl_client *client, const struct cl_lun *lun, int64_t blks);
void cl_judge_quota(struct cl_client *client, const char *what);
/* It was done: no quota that was in force throughout was sure to be exceeded. */
void cl_judge_done(struct cl_client *client, const char *what);
/* Mode turns: the events of limits that the last call has crossed, or met, are there. */
void cl_check_events(struct cl_client *client, int r);
/* Rules and what is used of them, while all pause. */
void cl_check_quota(struct cl_client *client, int v);
const char *cl_user(unsigned number); /* "" for nobody */
const char *cl_group(unsigned number);
void cl_step_quota(struct cl_client *client);

/* ---- clients_policy.c */
void cl_policy_open(struct cl *cl);
void cl_policy_close(struct cl *cl);
void cl_check_policy(struct cl_client *client, int v);
void cl_step_policy(struct cl_client *client);
void cl_policy_work(struct cl_client *client);

/* ---- clients_crash.c */
/* The power is to go soon. */
void cl_step_power_cut(struct cl_client *client);
bool cl_is_off(const struct cl *cl);
/* Waits for all, and until the pool is open again. Whoever comes must look then at what is there.
 */
void cl_crash(struct cl_client *client);
/* Waits until all pause, with the power on; if it is not, what has to be done then is done first.
 */
void cl_meet(struct cl_client *client);
void cl_after_crash(struct cl_client *client);
/* What was not flushed is what is found, if it may be that. */
void cl_adopt_all(struct cl_client *client);
/* All that the LUN holds will be there after a crash. */
void cl_settle(struct cl_lun *lun);
void cl_may_hold(struct cl_lun *lun, uint64_t lba, uint64_t blks, uint8_t value);
cl_sign_fn cl_is_there, cl_is_gone, cl_has_size, cl_is_like, cl_is_new, cl_volume_is_there,
    cl_volume_is_gone, cl_volume_is_like, cl_volume_is_split, cl_saved_are, cl_tree_is_there,
    cl_tree_is_gone, cl_rule_is_so, cl_quotas_are;
/* Reservation, user and group as one number for cl_is_like(); of a volume for cl_volume_is_like().
 */
uint64_t cl_likeness(const struct cl_lun *lun);
uint64_t cl_volume_likeness(const struct cl_volume *volume);
/* The line of a LUN or the id of a snapshot for cl_is_new(); 0 if it is not there. */
uint64_t cl_newness(struct cl_client *client, const char *name);

/* ---- clients_io.c */
void cl_step_write(struct cl_client *client);
void cl_step_write_promised(struct cl_client *client);
void cl_step_write_closed(struct cl_client *client); /* in the volume CL_CLOSED */
void cl_step_fill(struct cl_client *client);
void cl_step_unmap(struct cl_client *client);
void cl_step_churn(struct cl_client *client);
void cl_step_zero(struct cl_client *client);
void cl_step_read(struct cl_client *client);
void cl_step_flush(struct cl_client *client);
/* All that was promised to its reserved LUNs is written. */
void cl_fill_promised(struct cl_client *client);

/* ---- clients_manage.c */
void cl_step_create(struct cl_client *client);
void cl_step_delete(struct cl_client *client);
void cl_step_clone(struct cl_client *client);
void cl_step_resize(struct cl_client *client);
void cl_step_reserve(struct cl_client *client);
void cl_step_snapshot(struct cl_client *client);
void cl_step_snapshot_delete(struct cl_client *client);
void cl_step_restore(struct cl_client *client);
void cl_step_redeploy(struct cl_client *client);
void cl_step_move(struct cl_client *client);
void cl_step_owner(struct cl_client *client);
/* The most nodes that a LUN of @blks needs, generously. */
uint64_t cl_nodes(uint64_t blks);
/* A freeze of the LUN makes it need again what it owns. */
void cl_call_freeze(struct cl_client *client, const struct cl_lun *lun);
/* Whether a tail that was cut off is not unmapped yet: commands do that first, and may find no room
 * for it. */
bool cl_has_tail(struct cl_client *client, const struct cl_lun *lun);
void cl_snapshot_name(char *name, size_t size, const struct cl_lun *lun, unsigned s);
void cl_image_set(struct cl_image *image, uint64_t blks, const struct cl_image *source);
/* It was frozen: owns nothing, and all that it holds is durable. */
void cl_frozen(struct cl_lun *lun);
/* Its content and size have become these. */
void cl_restored(struct cl_lun *lun, const struct cl_image *image);

/* ---- clients_tree.c */
void cl_step_tree(struct cl_client *client);
/* A qtree of the volume, or 0. */
unsigned cl_pick_tree(struct cl_client *client, int volume);
/* Its number; 0: there is none of that name. */
unsigned cl_find_tree(const struct cl_volume *volume, const char *name);

/* ---- clients_volume.c */
void cl_step_volume_create(struct cl_client *client);
void cl_step_volume_modify(struct cl_client *client);
void cl_step_volume_clone(struct cl_client *client);
void cl_step_volume_split(struct cl_client *client);
void cl_step_volume_delete(struct cl_client *client);
void cl_step_volume_snapshot(struct cl_client *client);
void cl_step_volume_restore(struct cl_client *client);
void cl_step_volume_restore_lun(struct cl_client *client);
struct cl_volume cl_volume_get(struct cl_client *client, int v);
void cl_volume_set(struct cl_client *client, int v, const struct cl_volume *volume);
/* A volume whose limits are its to change; -1: none. */
int cl_pick_to_change(struct cl_client *client);
/* The shared volumes, at the beginning. */
void cl_make_shared(struct cl_client *client);

#endif
