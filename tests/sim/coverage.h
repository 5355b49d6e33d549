/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a fault has hit: {type of record} x {phase} x {fault}.
 *
 * A record is at stake from when it is applied until a checkpoint that holds it is durable: a
 * recovery would have to bring it back. A fault counts for each type of record that is at stake
 * when it hits; while a batch of the journal is written, only for those in that batch; in recovery,
 * for those that it replays.
 *
 * The counters are shared with the processes of the runs.
 */
#ifndef TESTS_SIM_COVERAGE_H
#define TESTS_SIM_COVERAGE_H

#include <stdbool.h>
#include <stdint.h>

enum coverage_phase
{
    COVERAGE_IO,       /* data is read, written or flushed */
    COVERAGE_JOURNAL,  /* a batch is written, and the sync behind it */
    COVERAGE_NODES,    /* of a checkpoint: nodes of trees are written, */
    COVERAGE_PAGES,    /* pages of objects, */
    COVERAGE_SPACE,    /* bitmaps and tables of groups, */
    COVERAGE_BARRIER,  /* the sync behind all these, */
    COVERAGE_SUPER,    /* superblocks, and the sync behind each */
    COVERAGE_RECOVERY, /* from the first read of a superblock to the end of open */
    COVERAGE_GROWTH,   /* pool_grow() */
    COVERAGE_PROMISE,  /* the first promise, which allocates the pool's file */
    COVERAGE_JOBS,     /* job steps, and the commits and checkpoints that they lead to */
    COVERAGE_PHASES,
    COVERAGE_NO_PHASE = COVERAGE_PHASES,
};

enum coverage_fault
{
    COVERAGE_DROP,    /* power cuts: unsynced writes are lost, */
    COVERAGE_REORDER, /* a later one survives and an earlier one does not, */
    COVERAGE_TEAR,    /* some sectors of one survive */
    COVERAGE_READ_EIO,
    COVERAGE_WRITE_EIO,
    COVERAGE_SYNC_EIO,
    COVERAGE_ENOSPC,
    COVERAGE_SHORT,     /* the beginning of a write is done, and it fails */
    COVERAGE_SLOW,      /* a call takes a minute */
    COVERAGE_ROT,       /* a bit of a block of metadata flips */
    COVERAGE_LOSE,      /* a write of metadata is reported done, and is not; */
    COVERAGE_MISDIRECT, /* or replaces another block of metadata */
    COVERAGE_FAULTS,
};

enum
{
    COVERAGE_KINDS = 12, /* of enum action_kind, the first is bit 0 */
    COVERAGE_ALL_KINDS = (1 << COVERAGE_KINDS) - 1,
};

/* Before any process is forked. */
void coverage_init(void);
/* The kinds of record that such a fault can hit in such a phase; coverage.c says why not others. */
uint32_t coverage_possible(enum coverage_phase phase, enum coverage_fault fault);
void coverage_note(uint32_t kinds, enum coverage_phase phase, enum coverage_fault fault);
const char *coverage_phase_name(enum coverage_phase phase);
const char *coverage_fault_name(enum coverage_fault fault);

/* What the run at hand, or its children, noted since coverage_begin_run(). */
void coverage_begin_run(void);
uint32_t coverage_of_run(enum coverage_phase phase, enum coverage_fault fault);

/* How many cells are empty. */
unsigned coverage_count_empty(void);
/* Prints all tables (or only what is missing), and returns how many cells are empty. */
unsigned coverage_print(bool all);

/* ---- which records are at stake: coverage_stake.c, which has the engine's calls wrapped */

struct coverage_stake
{
    uint32_t since;     /* kinds applied since the switch of the last checkpoint */
    uint32_t before;    /* before it, while that checkpoint is not durable */
    uint32_t unwritten; /* in no batch yet */
    uint32_t in_batch;  /* in the batch written last; see coverage_note_batch() */
    uint32_t applied;   /* since the pool was opened: when that is over, what was replayed */
};
extern struct coverage_stake coverage_stake;

/* A batch of the journal is being written. */
void coverage_note_batch(void);
uint32_t coverage_at_stake(enum coverage_phase phase);

#endif
