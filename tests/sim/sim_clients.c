/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mode "clients": several clients, each with LUNs of its own, on one pool.
 *
 * When a sync of one client's flush, or of its write with FUA, is done and the engine does not know
 * it yet, the others write. What they write then is not durable, though it comes before the flush
 * ends: their own flush, later, must not take that sync for theirs. What one has not flushed may be
 * there or not, whatever the others flush. And in each checkpoint several of them do something, as
 * in mode overlap.
 *
 * A writer runs in a thread, and whoever flushes waits for it: one thing at a time, in an order
 * that the seed says. It does not flush itself, for which it would have to wait in turn.
 */
#include <pthread.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "tests/sim/sim.h"

enum
{
    CLIENTS_TRIES = 40, /* to find what can be written without waiting */
};

unsigned sim_client_of(struct sim *sim, const struct oracle_object *object)
{
    return 1 + (unsigned)(object - sim->now->objects) % SIM_CLIENTS;
}

void sim_begin_flush(struct sim *sim, const struct oracle_object *object)
{
    sim->flushed = sim->now->pending_count;
    /* Within a checkpoint, or another's flush, whoever comes between would have to wait. */
    if (sim->has_clients && !sim->in_checkpoint && !sim->in_overlap)
        sim->flusher = sim_client_of(sim, object);
}

void sim_end_flush(struct sim *sim)
{
    sim->flusher = 0;
}

/* Whether all of the block was written before the last checkpoint, and not since: a block whose
 * record is on its way waits for that to be durable. */
static bool clients_is_old(struct sim *sim, const struct oracle_object *object, uint32_t sector)
{
    bool is_old = sector + ORACLE_BLK_SECTORS <= object->sectors;
    for (uint32_t i = 0; is_old && i < ORACLE_BLK_SECTORS; i++)
    {
        uint32_t version = object->current[sector + i];
        is_old = version != 0 && version <= sim->checkpointed;
    }
    return is_old;
}

static void *clients_write(void *opaque)
{
    struct sim *sim = opaque;
    const struct oracle_object *object = sim_pick(sim, true, false);
    sim->op = "write";
    for (unsigned tries = 0; object && tries < CLIENTS_TRIES; tries++)
    {
        uint32_t sector = (uint32_t)rng_below(sim->rng, object->sectors);
        sector -= sector % ORACLE_BLK_SECTORS;
        if (!clients_is_old(sim, object, sector))
            continue;
        uint32_t from = (uint32_t)rng_below(sim->rng, ORACLE_BLK_SECTORS);
        uint32_t count = (uint32_t)rng_between(sim->rng, 1, ORACLE_BLK_SECTORS - from);
        replay_count(sim->replay, "clients: a write while another flushes");
        ignore_error(sim_write_range(sim, object, sector + from, count, SIM_WRITE_PLAIN, 0),
                     "the power may be off; all else is a failure inside");
        break;
    }
    return NULL;
}

void sim_clients_cb(void *opaque)
{
    struct sim *sim = opaque;
    unsigned flusher = sim->flusher;
    const char *op = sim->op;
    uint32_t flushed = sim->flushed;
    if (flusher == 0 || sim->in_overlap)
        return;
    while (!simdev_is_off(sim->disk) && rng_percent(sim->rng, 50))
    {
        pthread_t thread;
        sim->in_overlap = true;
        replay_trace(sim->replay, "  while client %u waits for a sync:", flusher);
        INVARIANT(pthread_create(&thread, NULL, clients_write, sim) == 0);
        INVARIANT(pthread_join(thread, NULL) == 0);
        sim->in_overlap = false;
        sim->op = op;
        sim->flushed = flushed;
    }
}
