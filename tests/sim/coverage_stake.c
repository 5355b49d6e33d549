/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Follows the engine's records. The linker gives these functions the calls of the engine's own (its
 * option --wrap), and they pass them on.
 */
#include "lun/base/err.h"
#include "lun/pool/journal.h"
#include "lun/pool/record.h"
#include "tests/sim/coverage.h"

/* Names that the linker wants. */
int __real_record_apply(struct change *change, const void *actions, size_t len);
int __wrap_record_apply(struct change *change, const void *actions, size_t len);
void __real_journal_switch(struct journal *journal, struct disk_super *super);
void __wrap_journal_switch(struct journal *journal, struct disk_super *super);
void __real_journal_switch_done(struct journal *journal);
void __wrap_journal_switch_done(struct journal *journal);

static void coverage_see_kind(void *opaque, enum action_kind kind)
{
    (void)opaque;
    uint32_t bit = UINT32_C(1) << (kind - ACTION_WRITE);
    coverage_stake.since |= bit;
    coverage_stake.unwritten |= bit;
    coverage_stake.applied |= bit;
}

int __wrap_record_apply(struct change *change, const void *actions, size_t len)
{
    int r = record_each_kind(actions, len, coverage_see_kind, NULL);
    return r < 0 ? r : __real_record_apply(change, actions, len);
}

void __wrap_journal_switch(struct journal *journal, struct disk_super *super)
{
    __real_journal_switch(journal, super);
    coverage_stake.before |= coverage_stake.since;
    coverage_stake.since = 0;
}

void __wrap_journal_switch_done(struct journal *journal)
{
    __real_journal_switch_done(journal);
    coverage_stake.before = 0;
    coverage_stake.unwritten &= coverage_stake.since;
}
