/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The journal: records that were applied since the last checkpoint, made durable in groups.
 *
 * Records are appended to memory under the CP gate. A commit syncs the data they speak of, and
 * writes them as one batch that is durable by itself; many callers share one commit. The journal
 * has two halves. The switch of a checkpoint sends later records to the other half, so that the
 * half before it can be forgotten as a whole when the checkpoint is durable.
 *
 * A commit of a few small writes needs one sync for both: their records carry checksums of their
 * data, and if the last batch of a journal does not match its data, it counts as torn. The
 * batch after it is written only when its sync has returned, and so proves it (*claims* it). Until
 * then nobody may overwrite such data in place: journal_touch().
 */
#ifndef LUN_POOL_JOURNAL_H
#define LUN_POOL_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lun/base/err.h"
#include "lun/pool/format.h"

struct pool;
struct journal;

enum
{
    JOURNAL_RECORD_BYTES = sizeof(struct disk_record),
    /* What two batches more take beyond their records. */
    JOURNAL_SLACK_BYTES = 4 * (DISK_SECTOR + (int)sizeof(struct disk_batch))
};

MUST_CHECK int journal_create(struct pool *pool, struct journal **journal);
void journal_destroy(struct journal *journal);

/*
 * Asks for @len bytes of room for a record, JOURNAL_RECORD_BYTES included, before the gate is
 * taken. -ERESTART: after a checkpoint. -EMSGSIZE: it would not fit into an empty half. -ENOMEM:
 * nothing that follows takes memory, neither the append nor the commit.
 * journal_leave() gives it back, also after the record was appended.
 */
MUST_CHECK int journal_admit(struct journal *journal, size_t len);
/* The most bytes of actions that a record can have. */
uint64_t journal_record_max(const struct journal *journal);
void journal_leave(struct journal *journal, size_t len);

/*
 * Adds a record, and the blocks of the tree nodes that it made. @is_ordered: it must not be durable
 * before all data written so far is. Under the gate and the locks that ordered its change, which
 * has been applied. Returns its sequence number.
 */
uint64_t journal_append(struct journal *journal, const void *actions, size_t len,
                        const uint64_t *nodes, unsigned node_count, bool is_ordered);

/* Whether a checksum of its data could spare a write's commit a sync. A hint. */
bool journal_wants_crc(struct journal *journal);

/* Before data is overwritten in place, with its range locked: sees to it that no batch depends on
 * what it is now. May commit. */
MUST_CHECK int journal_touch(struct journal *journal, uint64_t blk, uint64_t len_blks);

/* Makes all that was appended, and all data written, before the call durable. No locks held. */
MUST_CHECK int journal_commit(struct journal *journal);

/* The same for a checkpoint's own use: -EMSGSIZE where only a checkpoint can make records durable.
 */
MUST_CHECK int journal_commit_group(struct journal *journal);

/* Whether the half in use is so full that a checkpoint should begin. */
bool journal_wants_checkpoint(struct journal *journal);

/* The switch of a checkpoint: fills in @super's journal fields. Under the gate, exclusive. */
void journal_switch(struct journal *journal, struct disk_super *super);
/* The checkpoint is durable: the old half is empty. */
void journal_switch_done(struct journal *journal);

/* The last sequence number given out; the state after open. */
uint64_t journal_last_seq(struct journal *journal);

/* With cp_lock held, no checkpoint on its way: zeros over the half that has no record. */
MUST_CHECK int journal_wipe_unused(struct journal *journal);

struct journal_record
{
    uint64_t seq;
    const uint8_t *actions;
    size_t len;
    uint64_t *nodes; /* of this call only */
    unsigned node_count;
    bool is_after_switch; /* a checkpoint that did not become durable switched before it */
};
typedef int journal_replay_fn(void *opaque, const struct journal_record *record);

/* Calls @each for all valid records behind @super, in order. -EBADMSG, logged, for damage. */
MUST_CHECK int journal_replay(struct journal *journal, const struct disk_super *super,
                              journal_replay_fn *each, void *opaque);

/*
 * Reads the batches of the half in use from the device, up to where they were written at the call.
 * With cp_lock held. *blks: how much that is. -EBADMSG: from *bad_blk on they are not what was
 * written; or the device's error.
 */
MUST_CHECK int journal_verify(struct journal *journal, uint64_t *blks, uint64_t *bad_blk);

struct journal_stats
{
    uint64_t used_bytes, half_bytes, commits;
    uint64_t last_seq, durable_seq;
};
void journal_get_stats(struct journal *journal, struct journal_stats *stats);

#endif
