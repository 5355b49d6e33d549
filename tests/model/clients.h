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
 * made it less.
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

enum
{
    CL_CLIENTS = 4,
    CL_LUNS = 8,      /* of each client */
    CL_SNAPSHOTS = 2, /* of each LUN */
    CL_SHARED = 3,    /* volumes 0 to 2; volume v is changed by client v */
    CL_VOLUMES = CL_SHARED + 2 * CL_CLIENTS,
    CL_LUN_BLKS = 240,
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

struct cl_image
{
    bool is_there;
    uint64_t blks;
    uint8_t values[CL_LUN_BLKS]; /* what each block is full of */
};

struct cl_lun
{
    bool is_there;
    char name[48], leaf[16]; /* with its volume's, and without */
    int volume;              /* or -1 */
    bool is_reserved;
    struct cl_image now, snapshots[CL_SNAPSHOTS];
    bool is_own[CL_LUN_BLKS]; /* written since the last freeze: it must own these */
};

/* Changed by its client alone, with the world's lock. */
struct cl_volume
{
    bool is_there;
    char name[16];
    uint64_t blks; /* 0: no bound */
    bool is_guaranteed;
    bool is_dependent;   /* a clone that was not split */
    bool has_snapshot;   /* of the volume: "vs" */
    uint64_t logical;    /* sum of the sizes of its LUNs, as acknowledged */
    uint64_t rule_bytes; /* of its tree quota; UINT64_MAX: no rule */
    bool is_enforced;    /* quotas are on */
};

/* What a call may take at most. */
struct cl_amounts
{
    uint64_t pool_blks;
    struct cl_share
    {
        uint64_t blks;      /* of the volume's bound */
        uint64_t add, drop; /* bytes, of the volume's quota */
        bool modifies;      /* bound, guarantee or quota are changed */
    } in[CL_VOLUMES];
};

/* One that is under way, or the last one. */
struct cl_call
{
    bool is_active;
    struct cl_amounts need, overlap;
    uint64_t available, least_available; /* at the beginning; that anybody has seen */
    uint64_t left[CL_VOLUMES];           /* at the beginning; UINT64_MAX: no bound, not asked for */
    struct cl_volume volumes[CL_VOLUMES];
    bool is_promised; /* by a volume that was guaranteed throughout: a full pool is no reason */
    bool has_tail;    /* what a shrink cut off goes first, and that may find no room */
};

struct cl
{
    struct replay *replay;
    struct rng_env env;
    struct simdev *disk;
    struct pool *pool;
    bool has_threads;
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
        uint64_t made; /* counts names */
        struct cl_call call;
        struct reason why;
        char last[CL_LAST_STEPS][160];
        uint64_t said;
        uint8_t buf[CL_LUN_BLKS * CL_BLK];
    } clients[CL_CLIENTS];
    pthread_barrier_t barrier;
};

/* ---- clients.c */
void cl_begin(struct cl *cl, struct replay *replay);
void cl_end(struct cl *cl);
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
void cl_name(struct cl_client *client, struct cl_lun *lun, int volume);

/* ---- clients_call.c */
/* A call with nothing but what any command may ask for. */
void cl_call_new(struct cl_client *client);
/* It may take @blks for something in @volume: a guaranteed one has them of the pool already. */
void cl_call_need(struct cl_client *client, int volume, uint64_t blks);
/* The sum of sizes in @volume changes. */
void cl_call_quota(struct cl_client *client, int volume, uint64_t from_bytes, uint64_t to_bytes);
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

/* ---- clients_io.c */
void cl_step_write(struct cl_client *client);
void cl_step_write_promised(struct cl_client *client);
void cl_step_write_closed(struct cl_client *client); /* in the volume CL_CLOSED */
void cl_step_fill(struct cl_client *client);
void cl_step_unmap(struct cl_client *client);
void cl_step_churn(struct cl_client *client);
void cl_step_zero(struct cl_client *client);
void cl_step_read(struct cl_client *client);
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
/* The most nodes that a LUN of @blks needs, generously. */
uint64_t cl_nodes(uint64_t blks);
/* A freeze of the LUN makes it need again what it owns. */
void cl_call_freeze(struct cl_client *client, const struct cl_lun *lun);

/* ---- clients_volume.c */
void cl_step_volume_create(struct cl_client *client);
void cl_step_volume_modify(struct cl_client *client);
void cl_step_volume_clone(struct cl_client *client);
void cl_step_volume_split(struct cl_client *client);
void cl_step_volume_delete(struct cl_client *client);
void cl_step_quota(struct cl_client *client);
/* The shared volumes, at the beginning. */
void cl_make_shared(struct cl_client *client);

#endif
