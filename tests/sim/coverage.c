/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/coverage.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "lun/base/checked.h"
#include "lun/base/invariant.h"
#include "lun/pool/record.h"

struct coverage
{
    uint64_t counts[COVERAGE_PHASES][COVERAGE_FAULTS][COVERAGE_KINDS];
    uint32_t of_run[COVERAGE_PHASES][COVERAGE_FAULTS];
};

static struct coverage *coverage;
struct coverage_stake coverage_stake;

static const char *const coverage_kinds[COVERAGE_KINDS] = {
    "WRITE", "UNMAP",  "LINE_NEW", "FREEZE", "HEAD",   "DYING",
    "PUT",   "DELETE", "WALK",     "GONE",   "SETTLE", "HAND_OVER",
};

static const char *const coverage_phases[COVERAGE_PHASES] = {
    "data and its sync",
    "journal and its sync",
    "checkpoint: nodes",
    "checkpoint: pages",
    "checkpoint: bitmaps and tables",
    "checkpoint: the sync before the superblocks",
    "checkpoint: superblocks and their syncs",
    "recovery",
    "growth",
    "first promise",
    "background jobs",
};

static const char *const coverage_faults[COVERAGE_FAULTS] = {
    "drop",    "reorder", "tear", "read", "write", "sync",
    "nospace", "short",   "slow", "rot",  "lost",  "misdir",
};

/* All cells that cannot exist. */
static const struct
{
    enum coverage_phase phase;
    enum coverage_fault fault;
    const char *reason;
    uint32_t possible; /* the kinds of record that can be hit all the same */
} coverage_cannot[] = {
    {COVERAGE_IO, COVERAGE_LOSE, "data has no checksum, so nothing can notice", 0},
    {COVERAGE_IO, COVERAGE_MISDIRECT, "data has no checksum, so nothing can notice", 0},
    {COVERAGE_JOURNAL, COVERAGE_READ_EIO, "a commit reads nothing", 0},
    {COVERAGE_NODES, COVERAGE_READ_EIO, "after its switch, a checkpoint reads nothing", 0},
    {COVERAGE_PAGES, COVERAGE_READ_EIO, "after its switch, a checkpoint reads nothing", 0},
    {COVERAGE_SPACE, COVERAGE_READ_EIO, "after its switch, a checkpoint reads nothing", 0},
    {COVERAGE_BARRIER, COVERAGE_READ_EIO, "after its switch, a checkpoint reads nothing", 0},
    {COVERAGE_SUPER, COVERAGE_READ_EIO, "after its switch, a checkpoint reads nothing", 0},
    {COVERAGE_GROWTH, COVERAGE_READ_EIO, "a growth reads nothing", 0},
    {COVERAGE_PROMISE, COVERAGE_READ_EIO, "a promise reads nothing", 0},
    {COVERAGE_NODES, COVERAGE_SYNC_EIO, "nothing is synced until all is written", 0},
    {COVERAGE_PAGES, COVERAGE_SYNC_EIO, "nothing is synced until all is written", 0},
    {COVERAGE_SPACE, COVERAGE_SYNC_EIO, "nothing is synced until all is written", 0},
    {COVERAGE_BARRIER, COVERAGE_WRITE_EIO, "nothing is written, only synced", 0},
    {COVERAGE_BARRIER, COVERAGE_ENOSPC, "nothing is written, only synced", 0},
    {COVERAGE_BARRIER, COVERAGE_SHORT, "nothing is written, only synced", 0},
    {COVERAGE_BARRIER, COVERAGE_LOSE, "nothing is written, only synced", 0},
    {COVERAGE_BARRIER, COVERAGE_MISDIRECT, "nothing is written, only synced", 0},
    {COVERAGE_SUPER, COVERAGE_REORDER, "each write has a sync before and behind it", 0},
    {COVERAGE_JOURNAL, COVERAGE_REORDER,
     "a batch with records of commands or jobs has a sync before and behind it",
     1 << (ACTION_WRITE - 1) | 1 << (ACTION_UNMAP - 1)},
};

void coverage_init(void)
{
    coverage =
        mmap(NULL, sizeof(*coverage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    INVARIANT(coverage != MAP_FAILED);
}

uint32_t coverage_possible(enum coverage_phase phase, enum coverage_fault fault)
{
    for (unsigned i = 0; i < ARRAY_SIZE(coverage_cannot); i++)
    {
        if (coverage_cannot[i].phase == phase && coverage_cannot[i].fault == fault)
            return coverage_cannot[i].possible;
    }
    return COVERAGE_ALL_KINDS;
}

const char *coverage_phase_name(enum coverage_phase phase)
{
    return phase < ARRAY_SIZE(coverage_phases) ? coverage_phases[phase] : "no phase";
}

const char *coverage_fault_name(enum coverage_fault fault)
{
    return coverage_faults[fault];
}

void coverage_note(uint32_t kinds, enum coverage_phase phase, enum coverage_fault fault)
{
    if (!coverage || phase == COVERAGE_NO_PHASE)
        return;
    for (unsigned kind = 0; kind < COVERAGE_KINDS; kind++)
        coverage->counts[phase][fault][kind] += kinds >> kind & 1;
    coverage->of_run[phase][fault] |= kinds;
}

void coverage_begin_run(void)
{
    memset(coverage->of_run, 0, sizeof(coverage->of_run));
}

uint32_t coverage_of_run(enum coverage_phase phase, enum coverage_fault fault)
{
    return coverage->of_run[phase][fault];
}

/* ---- what is at stake */

void coverage_note_batch(void)
{
    coverage_stake.in_batch = coverage_stake.unwritten;
    coverage_stake.unwritten = 0;
}

uint32_t coverage_at_stake(enum coverage_phase phase)
{
    return phase == COVERAGE_JOURNAL ? coverage_stake.in_batch
                                     : coverage_stake.since | coverage_stake.before;
}

/* ---- the tables */

static void coverage_print_phase(enum coverage_phase phase)
{
    printf("\n%s\n%-10s", coverage_phases[phase], "");
    for (unsigned fault = 0; fault < COVERAGE_FAULTS; fault++)
        printf(" %8s", coverage_faults[fault]);
    putchar('\n');
    for (unsigned kind = 0; kind < COVERAGE_KINDS; kind++)
    {
        printf("%-10s", coverage_kinds[kind]);
        for (unsigned fault = 0; fault < COVERAGE_FAULTS; fault++)
        {
            if (!(coverage_possible(phase, (enum coverage_fault)fault) >> kind & 1))
                printf(" %8s", "-");
            else
                printf(" %8" PRIu64, coverage->counts[phase][fault][kind]);
        }
        putchar('\n');
    }
}

unsigned coverage_count_empty(void)
{
    unsigned empty = 0;
    for (unsigned cell = 0; cell < COVERAGE_PHASES * COVERAGE_FAULTS * COVERAGE_KINDS; cell++)
    {
        unsigned kind = cell % COVERAGE_KINDS, fault = cell / COVERAGE_KINDS % COVERAGE_FAULTS;
        unsigned phase = cell / COVERAGE_KINDS / COVERAGE_FAULTS;
        uint32_t possible =
            coverage_possible((enum coverage_phase)phase, (enum coverage_fault)fault);
        empty += (possible >> kind & 1) && coverage->counts[phase][fault][kind] == 0;
    }
    return empty;
}

unsigned coverage_print(bool all)
{
    unsigned cells = 0;
    unsigned empty = 0;
    for (unsigned phase = 0; phase < COVERAGE_PHASES; phase++)
    {
        if (all)
            coverage_print_phase((enum coverage_phase)phase);
        for (unsigned fault = 0; fault < COVERAGE_FAULTS; fault++)
        {
            for (unsigned kind = 0; kind < COVERAGE_KINDS; kind++)
            {
                if (!(coverage_possible((enum coverage_phase)phase, (enum coverage_fault)fault) >>
                          kind &
                      1))
                    continue;
                cells++;
                if (coverage->counts[phase][fault][kind] > 0)
                    continue;
                empty++;
                printf("Never met: %s, %s, %s\n", coverage_kinds[kind], coverage_phases[phase],
                       coverage_faults[fault]);
            }
        }
    }
    for (unsigned i = 0; all && i < ARRAY_SIZE(coverage_cannot); i++)
        printf("- %s, %s: %s\n", coverage_phases[coverage_cannot[i].phase],
               coverage_faults[coverage_cannot[i].fault], coverage_cannot[i].reason);
    printf("coverage of {record type x phase x fault}: %u of %u cells, %u empty\n", cells - empty,
           cells, empty);
    return empty;
}
