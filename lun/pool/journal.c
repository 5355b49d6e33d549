/* SPDX-License-Identifier: BSD-3-Clause */
#include "lun/pool/journal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lun/base/checked.h"
#include "lun/base/crc32c.h"
#include "lun/base/invariant.h"
#include "lun/base/log.h"
#include "lun/base/reader.h"
#include "lun/check/repair.h"
#include "lun/pool/checkpoint.h"
#include "lun/pool/pool_internal.h"
#include "lun/pool/record.h"

struct half
{
    uint64_t journal_id;
    uint64_t used_bytes; /* written batches, whole sectors */
    uint32_t chain;      /* checksum of the last batch; 0: none */
    bool has_gap;        /* records were left out: nothing behind them can be replayed from here */
};

/* Records in memory, in order, that belong to one half. */
struct pending
{
    struct writer writer;         /* room for a batch's head, then the records */
    uint64_t first_seq, last_seq; /* first_seq 0: empty */
};

enum
{
    TRACKED_MAX = 64
};

/* Blocks whose present content a batch, or one to come, is verified by. */
struct tracked
{
    struct
    {
        uint64_t blk, len_blks;
    } items[TRACKED_MAX];
    unsigned count;
};

struct journal
{
    struct pool *pool;
    struct lock lock; /* LOCK_RANK_JOURNAL; guards all but what the leader alone uses */
    uint64_t half_bytes;
    uint64_t first_blk;
    struct half halves[2];         /* used_bytes and chain: written by the leader, or at a switch */
    unsigned current;              /* half of new records */
    bool switching;                /* a checkpoint is on its way: the other half still counts */
    bool linked;                   /* ... and its last batch has been written, leading to current */
    struct pending pending[2];     /* by half */
    struct writer spares[2];       /* what appending goes on in after a take, after a switch */
    struct tracked pending_data;   /* of the records in memory */
    _Atomic bool pending_ordered;  /* they cannot all be verified: their data is synced first */
    struct tracked flying_data;    /* of the batch being written */
    struct tracked unclaimed_data; /* of the last batch written */
    _Atomic uint64_t tracked_count; /* in all three: for a quick look without the lock */
    uint64_t admitted;
    uint64_t last_seq, durable_seq, switch_seq;
    uint8_t *empty; /* a batch without records, of one sector; the leader's */

    struct lock commit_lock; /* LOCK_RANK_COMMIT; guards the group commit */
    struct condition commit_done;
    uint64_t tickets_asked, tickets_done;
    bool has_leader;
    int leader_error;
    _Atomic uint64_t commits;
};

static uint64_t batch_bytes(uint64_t payload_bytes)
{
    return round_up(sizeof(struct disk_batch) + payload_bytes, DISK_SECTOR);
}

int journal_create(struct pool *pool, struct journal **out)
{
    struct journal *journal = calloc(1, sizeof(*journal));
    if (!journal)
        return -ENOMEM;
    journal->empty = malloc(batch_bytes(0));
    if (!journal->empty)
    {
        free(journal);
        return -ENOMEM;
    }
    const struct disk_super *super = &pool->super;
    journal->pool = pool;
    journal->first_blk = le64_get(super->journal_blk);
    journal->half_bytes = le64_get(super->journal_half_blks) * BLK_BYTES;
    journal->current = le32_get(super->journal_half) & 1;
    journal->halves[journal->current].journal_id = le64_get(super->journal_id);
    journal->last_seq = journal->durable_seq = le64_get(super->last_seq);
    lock_init(&journal->lock, LOCK_RANK_JOURNAL);
    lock_init(&journal->commit_lock, LOCK_RANK_COMMIT);
    condition_init(&journal->commit_done);
    *out = journal;
    return 0;
}

void journal_destroy(struct journal *journal)
{
    if (!journal)
        return;
    writer_destroy(&journal->pending[0].writer);
    writer_destroy(&journal->pending[1].writer);
    writer_destroy(&journal->spares[0]);
    writer_destroy(&journal->spares[1]);
    free(journal->empty);
    condition_destroy(&journal->commit_done);
    lock_destroy(&journal->commit_lock);
    lock_destroy(&journal->lock);
    free(journal);
}

/* ---- memory -------------------------------------------------------------------------------- */

/*
 * A batch is written from the buffer that its records were appended to, so it takes no memory of
 * its own: that was had when the records were admitted. While a batch is written, and after a
 * switch, records are appended to other buffers, which have room for all that is admitted, too. So
 * a command that has no memory is refused, with nothing changed, and no commit is.
 */

enum
{
    SPARE_MAX_BYTES = 1 << 20 /* larger ones are kept only while records need them */
};

static size_t pending_bytes(const struct pending *pending)
{
    return pending->writer.len - min_u64(pending->writer.len, sizeof(struct disk_batch));
}

/* Room for @more behind what is there, and for what a batch is filled up with. */
static bool writer_keep_room(struct writer *writer, size_t more)
{
    size_t len = writer->len;
    size_t head = len == 0 ? sizeof(struct disk_batch) : 0;
    bool has_room = writer_room(writer, head + more + DISK_SECTOR) != NULL;
    writer->len = len;
    writer->failed = false;
    return has_room;
}

static bool journal_keep_room_locked(struct journal *journal, uint64_t admitted)
{
    return writer_keep_room(&journal->pending[journal->current].writer, admitted) &&
           writer_keep_room(&journal->spares[0], admitted) &&
           writer_keep_room(&journal->spares[1], admitted);
}

/* Appending goes on in a buffer without records. */
static void journal_begin_locked(struct journal *journal)
{
    unsigned larger = journal->spares[1].capacity > journal->spares[0].capacity;
    journal->pending[journal->current] = (struct pending){.writer = journal->spares[larger]};
    journal->spares[larger] = (struct writer){0};
}

/* What is in the buffer is written, or nobody needs it. */
static void journal_give_back_locked(struct journal *journal, struct writer *writer)
{
    unsigned larger = journal->spares[1].capacity > journal->spares[0].capacity;
    struct writer *spare = &journal->spares[larger ^ 1];
    uint64_t least = sizeof(struct disk_batch) + journal->admitted + DISK_SECTOR;
    uint64_t most = max_u64(SPARE_MAX_BYTES, 4 * journal->admitted);
    if (writer->capacity > spare->capacity && (writer->capacity <= most || spare->capacity < least))
    {
        struct writer old = *spare;
        *spare = (struct writer){.bytes = writer->bytes, .capacity = writer->capacity};
        *writer = old;
    }
    writer_destroy(writer);
}

/* ---- appending ----------------------------------------------------------------------------- */

static uint64_t journal_filled_locked(const struct journal *journal)
{
    unsigned half = journal->current;
    return journal->halves[half].used_bytes + pending_bytes(&journal->pending[half]);
}

uint64_t journal_record_max(const struct journal *journal)
{
    return journal->half_bytes - JOURNAL_SLACK_BYTES - JOURNAL_RECORD_BYTES;
}

int journal_admit(struct journal *journal, size_t len)
{
    uint64_t need = len;
    AUTO_LOCK(&journal->lock);
    if (need + JOURNAL_SLACK_BYTES > journal->half_bytes)
        return -EMSGSIZE;
    if (journal_filled_locked(journal) + journal->admitted + need + JOURNAL_SLACK_BYTES >
        journal->half_bytes)
        return -ERESTART;
    if (!journal_keep_room_locked(journal, journal->admitted + need))
        return -ENOMEM;
    journal->admitted += need;
    return 0;
}

void journal_leave(struct journal *journal, size_t len)
{
    AUTO_LOCK(&journal->lock);
    INVARIANT(journal->admitted >= len);
    journal->admitted -= len;
}

bool journal_wants_checkpoint(struct journal *journal)
{
    AUTO_LOCK(&journal->lock);
    return journal_filled_locked(journal) > journal->half_bytes / 2;
}

/* ---- data that batches are verified by ----------------------------------------------------- */

static void journal_count_tracked(struct journal *journal)
{
    atomic_store(&journal->tracked_count, journal->pending_data.count + journal->flying_data.count +
                                              journal->unclaimed_data.count);
}

static bool tracked_overlaps(const struct tracked *tracked, uint64_t blk, uint64_t len_blks)
{
    for (unsigned i = 0; i < tracked->count; i++)
    {
        if (tracked->items[i].blk < blk + len_blks &&
            blk < tracked->items[i].blk + tracked->items[i].len_blks)
            return true;
    }
    return false;
}

bool journal_wants_crc(struct journal *journal)
{
    return !atomic_load_explicit(&journal->pending_ordered, memory_order_relaxed);
}

/* From now on the pending records' data is synced before they are written: nothing to verify. */
static void journal_give_up_tracking(struct journal *journal)
{
    atomic_store(&journal->pending_ordered, true);
    journal->pending_data.count = 0;
}

static int journal_track_data(void *opaque, const struct record_data *data)
{
    struct journal *journal = opaque;
    struct tracked *tracked = &journal->pending_data;
    if (!data->has_crc || tracked->count == TRACKED_MAX)
        return -ENOBUFS;
    tracked->items[tracked->count].blk = data->blk;
    tracked->items[tracked->count].len_blks = data->len_blks;
    tracked->count++;
    return 0;
}

static void journal_track_locked(struct journal *journal, const void *actions, size_t len,
                                 bool is_ordered)
{
    if (atomic_load(&journal->pending_ordered))
        return;
    if (is_ordered || record_each_data(actions, len, journal_track_data, journal) < 0)
        journal_give_up_tracking(journal);
    journal_count_tracked(journal);
}

int journal_touch(struct journal *journal, uint64_t blk, uint64_t len_blks)
{
    while (atomic_load(&journal->tracked_count) > 0)
    {
        {
            AUTO_LOCK(&journal->lock);
            if (tracked_overlaps(&journal->pending_data, blk, len_blks))
            {
                journal_give_up_tracking(journal);
                journal_count_tracked(journal);
            }
            if (!tracked_overlaps(&journal->flying_data, blk, len_blks) &&
                !tracked_overlaps(&journal->unclaimed_data, blk, len_blks))
                return 0;
        }
        int r = journal_commit(journal);
        if (r < 0)
            return r;
    }
    return 0;
}

uint64_t journal_append(struct journal *journal, const void *actions, size_t len,
                        const uint64_t *nodes, unsigned node_count, bool is_ordered)
{
    AUTO_LOCK(&journal->lock);
    journal_track_locked(journal, actions, len, is_ordered);
    struct pending *pending = &journal->pending[journal->current];
    uint64_t seq = ++journal->last_seq;
    struct disk_record record = {
        .len = le32_put(len), .node_count = le32_put(node_count), .seq = le64_put(seq)};
    if (pending->writer.len == 0)
        ignore_error(!writer_room(&pending->writer, sizeof(struct disk_batch)), "looked at below");
    writer_bytes(&pending->writer, &record, sizeof(record));
    writer_bytes(&pending->writer, actions, len);
    for (unsigned i = 0; i < node_count; i++)
        writer_le64(&pending->writer, nodes[i]);
    /* It is applied, so it must get there, in whatever buffer it was not admitted for. */
    INVARIANT(!pending->writer.failed && writer_keep_room(&pending->writer, 0));
    if (pending->first_seq == 0)
        pending->first_seq = seq;
    pending->last_seq = seq;
    return seq;
}

uint64_t journal_last_seq(struct journal *journal)
{
    AUTO_LOCK(&journal->lock);
    return journal->last_seq;
}

/* ---- committing ---------------------------------------------------------------------------- */

struct batch_args
{
    uint64_t prev_seq;   /* of the record before the first */
    uint64_t synced_seq; /* known to be durable now */
    uint32_t flags;
    uint64_t next_id;
    bool is_durable; /* nothing else is waited for: it is made durable by itself */
};

/* Writes one batch to @half; -EMSGSIZE if it does not fit. Only the leader calls this. */
static int journal_write_batch(struct journal *journal, unsigned index,
                               const struct pending *pending, const struct batch_args *args)
{
    struct half *half = &journal->halves[index];
    size_t payload = pending_bytes(pending);
    uint64_t bytes = batch_bytes(payload);
    if (half->has_gap || half->used_bytes + bytes > journal->half_bytes)
        return -EMSGSIZE;
    uint8_t *buf = payload > 0 ? pending->writer.bytes : journal->empty;
    bool is_empty = pending->first_seq == 0;
    struct disk_batch batch = {
        .magic = le32_put(DISK_MAGIC_BATCH),
        .journal_id = le64_put(half->journal_id),
        .first_seq = le64_put(is_empty ? args->prev_seq + 1 : pending->first_seq),
        .last_seq = le64_put(is_empty ? args->prev_seq : pending->last_seq),
        .synced_seq = le64_put(args->synced_seq),
        .chain = le32_put(half->chain),
        .payload_bytes = le32_put(payload),
        .flags = le32_put(args->flags),
        .next_journal_id = le64_put(args->next_id),
    };
    memcpy(buf, &batch, sizeof(batch));
    memset(buf + sizeof(batch) + payload, 0, bytes - sizeof(batch) - payload);
    uint32_t crc = crc32c(0, buf, sizeof(batch) + payload);
    ((struct disk_batch *)buf)->crc32c = le32_put(crc);
    uint64_t offset =
        journal->first_blk * BLK_BYTES + index * journal->half_bytes + half->used_bytes;
    struct pool *pool = journal->pool;
    int r = args->is_durable ? pool_write_durable(pool, buf, bytes, offset)
                             : device_write(pool->device, buf, bytes, offset);
    if (r < 0)
        return r;
    AUTO_LOCK(&journal->lock);
    half->used_bytes += bytes;
    half->chain = crc;
    return 0;
}

/* What a leader takes out of the journal to commit it. */
struct commit
{
    struct pending old, new;
    unsigned current;
    bool with_old; /* a checkpoint is on its way, and current's batches need the old half's chain */
    bool is_ordered;     /* data is synced before the records are written */
    bool is_data_synced; /* it was: nothing but the batches is left to be made durable */
    bool has_records;
    bool is_claim; /* without records, but the last batch is still to be claimed */
    bool has_gap;  /* an earlier commit's records are in no batch, and in no checkpoint yet */
    uint64_t durable_seq, last_seq;
};

static void journal_take(struct journal *journal, struct commit *commit)
{
    AUTO_LOCK(&journal->lock);
    commit->current = journal->current;
    commit->new = journal->pending[journal->current];
    commit->old = journal->pending[journal->current ^ 1];
    memset(journal->pending, 0, sizeof(journal->pending));
    journal_begin_locked(journal);
    commit->with_old = journal->switching && !journal->linked;
    /* Two batches before one sync: the second would not prove the first. */
    commit->is_ordered = atomic_load(&journal->pending_ordered) || commit->with_old;
    commit->has_records = commit->new.first_seq != 0 || commit->old.first_seq != 0;
    commit->is_claim = !commit->has_records && journal->unclaimed_data.count > 0;
    commit->has_gap = journal->halves[journal->current].has_gap ||
                      (journal->switching && journal->halves[journal->current ^ 1].has_gap);
    if (!commit->is_ordered)
        journal->flying_data = journal->pending_data;
    journal->pending_data.count = 0;
    atomic_store(&journal->pending_ordered, false);
    journal_count_tracked(journal);
    commit->durable_seq = journal->durable_seq;
    commit->last_seq = journal->last_seq;
}

/* What was taken is durable, or (@is_durable false) will only be by a checkpoint. */
static void journal_conclude(struct journal *journal, struct commit *commit, bool is_durable)
{
    AUTO_LOCK(&journal->lock);
    bool wrote_batch = commit->has_records || commit->is_claim;
    if (is_durable && wrote_batch)
        journal->unclaimed_data = journal->flying_data;
    journal->flying_data.count = 0;
    journal_count_tracked(journal);
    if (is_durable)
        journal->durable_seq = max_u64(journal->durable_seq, commit->last_seq);
    journal_give_back_locked(journal, &commit->old.writer);
    journal_give_back_locked(journal, &commit->new.writer);
}

/* Writes what was taken. -EMSGSIZE: only a checkpoint can make it durable. */
static int journal_write(struct journal *journal, struct commit *commit)
{
    struct batch_args args = {.prev_seq = commit->durable_seq,
                              .synced_seq = commit->durable_seq,
                              .is_durable = commit->is_data_synced};
    if (commit->with_old)
    {
        bool link = commit->new.first_seq != 0;
        if (link)
        {
            args.flags = DISK_BATCH_OTHER_HALF;
            args.next_id = journal->halves[commit->current].journal_id;
        }
        if (link || commit->old.first_seq != 0 || commit->is_claim)
        {
            int r = journal_write_batch(journal, commit->current ^ 1, &commit->old, &args);
            if (r < 0)
                return r;
        }
        AUTO_LOCK(&journal->lock);
        if (journal->current == commit->current)
            journal->linked |= link;
        if (commit->old.first_seq != 0)
            args.prev_seq = commit->old.last_seq;
    }
    if (commit->new.first_seq == 0 && (!commit->is_claim || commit->with_old))
        return 0;
    args.flags = commit->is_ordered || commit->is_claim ? 0 : DISK_BATCH_VERIFY;
    args.next_id = 0;
    return journal_write_batch(journal, commit->current, &commit->new, &args);
}

/* The records taken are in no batch: from now until a checkpoint has them, only checkpoints can
 * make anything durable. */
static void journal_leave_gap(struct journal *journal, const struct commit *commit)
{
    AUTO_LOCK(&journal->lock);
    if (commit->new.first_seq != 0)
        journal->halves[commit->current].has_gap = true;
    if (commit->old.first_seq != 0)
        journal->halves[commit->current ^ 1].has_gap = true;
}

/* Only the leader syncs through these: what was written before the last of its syncs began is
 * durable, and the others' syncs only add to that. */
static int journal_sync(struct journal *journal)
{
    device_take_dirty(journal->pool->device);
    return pool_sync(journal->pool);
}

static int journal_sync_data(struct journal *journal)
{
    return device_take_dirty(journal->pool->device) ? pool_sync(journal->pool) : 0;
}

/* Syncs and writes what was taken. A claim that does not fit is left out: it only saves time. */
static int journal_commit_taken(struct journal *journal, struct commit *commit)
{
    struct pool *pool = journal->pool;
    if (!commit->has_records && !commit->is_claim)
        return commit->has_gap ? -EMSGSIZE : journal_sync(journal);
    int r = 0;
    commit->is_data_synced = commit->has_records && commit->is_ordered;
    if (commit->is_data_synced)
        r = journal_sync_data(journal);
    if (r < 0)
        return r;
    r = journal_write(journal, commit);
    if (r == -EMSGSIZE && commit->has_records)
    {
        journal_leave_gap(journal, commit);
        return r;
    }
    if (r == -EMSGSIZE)
        return r; /* a checkpoint claims it as well */
    if (r < 0)
    {
        pool_degrade(pool, POOL_READ_ONLY, "the journal could not be written", r);
        return r == -ENOMEM ? -EIO : r; /* the kernel's: it is not as if nothing had been done */
    }
    return commit->is_data_synced ? 0 : journal_sync(journal);
}

/* One group commit, by its leader. -EMSGSIZE: it takes a checkpoint. */
static int journal_commit_once(struct journal *journal)
{
    int r = pool_may_change(journal->pool);
    if (r < 0)
        return r;
    struct commit commit;
    journal_take(journal, &commit);
    r = journal_commit_taken(journal, &commit);
    journal_conclude(journal, &commit, r == 0);
    return r;
}

int journal_commit(struct journal *journal)
{
    int r = journal_commit_group(journal);
    return r == -EMSGSIZE ? checkpoint_wait(journal->pool) : r;
}

int journal_commit_group(struct journal *journal)
{
    AUTO_LOCK(&journal->commit_lock);
    uint64_t ticket = ++journal->tickets_asked;
    int r = 0;
    while (journal->tickets_done < ticket)
    {
        if (journal->has_leader)
        {
            condition_wait(&journal->commit_done, &journal->commit_lock);
            if (journal->tickets_done >= ticket)
                r = journal->leader_error;
            continue;
        }
        journal->has_leader = true;
        uint64_t covered = journal->tickets_asked;
        lock_release(&journal->commit_lock);
        r = journal_commit_once(journal);
        lock_take(&journal->commit_lock);
        journal->has_leader = false;
        journal->tickets_done = covered;
        journal->leader_error = r;
        journal->commits++;
        condition_wake_all(&journal->commit_done);
    }
    return r;
}

/* ---- checkpoints --------------------------------------------------------------------------- */

void journal_switch(struct journal *journal, struct disk_super *super)
{
    struct pool *pool = journal->pool;
    AUTO_LOCK(&journal->lock);
    unsigned next = journal->current ^ 1;
    journal->current = next;
    journal->switching = true;
    journal->linked = false;
    journal_begin_locked(journal);
    struct half *half = &journal->halves[next];
    *half = (struct half){0};
    pool->env->random_bytes(pool->env, &half->journal_id, sizeof(half->journal_id));
    super->journal_id = le64_put(half->journal_id);
    super->journal_half = le32_put(next);
    super->last_seq = le64_put(journal->last_seq);
    journal->switch_seq = journal->last_seq;
}

void journal_switch_done(struct journal *journal)
{
    AUTO_LOCK(&journal->lock);
    journal->switching = false;
    if (journal->durable_seq <= journal->switch_seq) /* the last batch is in the old half */
        journal->unclaimed_data.count = 0;
    journal_count_tracked(journal);
    journal->durable_seq = max_u64(journal->durable_seq, journal->switch_seq);
    struct pending *old = &journal->pending[journal->current ^ 1];
    journal_give_back_locked(journal, &old->writer);
    *old = (struct pending){0};
}

void journal_get_stats(struct journal *journal, struct journal_stats *stats)
{
    AUTO_LOCK(&journal->lock);
    *stats = (struct journal_stats){
        .used_bytes = journal_filled_locked(journal),
        .half_bytes = journal->half_bytes,
        .commits = journal->commits,
        .last_seq = journal->last_seq,
        .durable_seq = journal->durable_seq,
    };
}

/* ---- replaying ----------------------------------------------------------------------------- */

struct replay
{
    struct journal *journal;
    journal_replay_fn *each;
    void *opaque;
    uint8_t *half; /* the bytes of the half being read */
    unsigned index;
    uint64_t offset;
    uint64_t journal_id;
    uint32_t chain;
    uint64_t seq; /* last one replayed */
    bool is_after_switch;
    bool has_switched; /* once is all that a checkpoint under way can do */
    bool is_torn;      /* data of the batch being verified is not what its record says */
};

/* The batch at the replay's place if it is one, else NULL. */
static const struct disk_batch *replay_batch(const struct replay *replay, uint64_t offset,
                                             uint32_t *crc_out)
{
    uint64_t half_bytes = replay->journal->half_bytes;
    if (!range_ok(offset, sizeof(struct disk_batch), half_bytes))
        return NULL;
    const struct disk_batch *batch = (const void *)(replay->half + offset);
    uint64_t payload = le32_get(batch->payload_bytes);
    if (le32_get(batch->magic) != DISK_MAGIC_BATCH ||
        le64_get(batch->journal_id) != replay->journal_id ||
        !range_ok(offset, batch_bytes(payload), half_bytes))
        return NULL;
    struct disk_batch zeroed = *batch;
    zeroed.crc32c = le32_put(0);
    uint32_t crc = crc32c(0, &zeroed, sizeof(zeroed));
    crc = crc32c(crc, (const uint8_t *)batch + sizeof(zeroed), payload);
    if (crc != le32_get(batch->crc32c))
        return NULL;
    *crc_out = crc;
    return batch;
}

static int replay_record(struct replay *replay, const struct disk_record *record,
                         struct reader *reader)
{
    struct journal_record out = {.seq = le64_get(record->seq),
                                 .len = le32_get(record->len),
                                 .node_count = le32_get(record->node_count),
                                 .is_after_switch = replay->is_after_switch};
    out.actions = reader_bytes(reader, out.len);
    if (!out.actions || out.seq != replay->seq + 1 ||
        reader_left(reader) / sizeof(struct le64) < out.node_count)
        return -EBADMSG;
    AUTO_FREE uint64_t *nodes = calloc(out.node_count + 1u, sizeof(*nodes));
    if (!nodes)
        return -ENOMEM;
    for (unsigned i = 0; i < out.node_count; i++)
        nodes[i] = reader_le64(reader);
    out.nodes = nodes;
    replay->is_after_switch = false;
    return replay->each(replay->opaque, &out);
}

static int replay_records(struct replay *replay, const struct disk_batch *batch)
{
    struct reader reader =
        reader_of((const uint8_t *)batch + sizeof(*batch), le32_get(batch->payload_bytes));
    while (reader_left(&reader) > 0)
    {
        const struct disk_record *record = reader_bytes(&reader, sizeof(*record));
        if (!record)
            return -EBADMSG;
        int r = replay_record(replay, record, &reader);
        if (r < 0)
            return r;
        replay->seq++;
    }
    return replay->seq == le64_get(batch->last_seq) ? 0 : -EBADMSG;
}

static int replay_load_half(struct replay *replay)
{
    struct journal *journal = replay->journal;
    replay->offset = 0;
    replay->chain = 0;
    return device_read(journal->pool->device, replay->half, journal->half_bytes,
                       journal->first_blk * BLK_BYTES + replay->index * journal->half_bytes);
}

/*
 * A batch says up to where everything was synced before it was written. If one of this journal
 * stands beyond a hole and says so of what the hole held, the hole is damage, not a power cut.
 */
static int replay_check_tail(const struct replay *replay)
{
    for (uint64_t at = replay->offset; at < replay->journal->half_bytes; at += DISK_SECTOR)
    {
        uint32_t crc;
        const struct disk_batch *batch = replay_batch(replay, at, &crc);
        if (!batch || le64_get(batch->synced_seq) <= replay->seq)
            continue;
        if (repair_may_cut_journal(replay->journal->pool->options.repair, replay->seq + 1))
            return 0;
        log_error("the journal is damaged: records %" PRIu64 " to %" PRIu64
                  " were durable and cannot be read",
                  replay->seq + 1, le64_get(batch->synced_seq));
        return -EBADMSG;
    }
    return 0;
}

static int replay_verify_data(void *opaque, const struct record_data *data)
{
    struct replay *replay = opaque;
    struct pool *pool = replay->journal->pool;
    enum
    {
        VERIFY_MAX_BLKS = 1024
    };
    if (!data->has_crc || data->len_blks > VERIFY_MAX_BLKS ||
        !range_ok(data->blk, data->len_blks, atomic_load(&pool->size_blks)))
        return -EBADMSG;
    size_t len = data->len_blks * BLK_BYTES;
    AUTO_FREE uint8_t *bytes = malloc(len);
    if (!bytes)
        return -ENOMEM;
    int r = device_read(pool->device, bytes, len, data->blk * BLK_BYTES);
    if (r < 0)
        return r;
    replay->is_torn |= crc32c(0, bytes, len) != data->crc;
    return 0;
}

/* Whether the data of a batch that nothing claims got to the device with it. */
static int replay_verify_batch(struct replay *replay, const struct disk_batch *batch)
{
    struct reader reader =
        reader_of((const uint8_t *)batch + sizeof(*batch), le32_get(batch->payload_bytes));
    replay->is_torn = false;
    while (reader_left(&reader) > 0 && !replay->is_torn)
    {
        const struct disk_record *record = reader_bytes(&reader, sizeof(*record));
        size_t len = record ? le32_get(record->len) : 0;
        const uint8_t *actions = record ? reader_bytes(&reader, len) : NULL;
        if (!actions || !reader_bytes(&reader, (size_t)le32_get(record->node_count) * 8))
            return -EBADMSG;
        int r = record_each_data(actions, len, replay_verify_data, replay);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Whether the batch behind this one is there. It was written after this one's sync. */
static bool replay_is_claimed(const struct replay *replay, const struct disk_batch *batch,
                              uint32_t crc)
{
    uint32_t next_crc;
    const struct disk_batch *next = replay_batch(
        replay, replay->offset + batch_bytes(le32_get(batch->payload_bytes)), &next_crc);
    return next && le32_get(next->chain) == crc &&
           le64_get(next->first_seq) == le64_get(batch->last_seq) + 1;
}

static int replay_run(struct replay *replay)
{
    int r = replay_load_half(replay);
    while (r == 0)
    {
        uint32_t crc;
        const struct disk_batch *batch = replay_batch(replay, replay->offset, &crc);
        if (!batch || le32_get(batch->chain) != replay->chain ||
            le64_get(batch->first_seq) != replay->seq + 1)
            return replay_check_tail(replay);
        uint32_t flags = le32_get(batch->flags);
        uint64_t next_id = le64_get(batch->next_journal_id);
        if ((flags & DISK_BATCH_VERIFY) && !replay_is_claimed(replay, batch, crc))
        {
            r = replay_verify_batch(replay, batch);
            if (r < 0 || replay->is_torn)
                return r;
        }
        r = replay_records(replay, batch);
        if (r < 0)
            return r;
        struct half *half = &replay->journal->halves[replay->index];
        replay->chain = half->chain = crc;
        replay->offset += batch_bytes(le32_get(batch->payload_bytes));
        half->used_bytes = replay->offset;
        if (flags & DISK_BATCH_OTHER_HALF)
        {
            if (replay->has_switched)
                return -EBADMSG;
            replay->has_switched = true;
            replay->index ^= 1;
            replay->journal_id = next_id;
            replay->is_after_switch = true;
            r = replay_load_half(replay);
        }
    }
    return r;
}

int journal_replay(struct journal *journal, const struct disk_super *super, journal_replay_fn *each,
                   void *opaque)
{
    AUTO_FREE uint8_t *half = malloc(journal->half_bytes);
    if (!half)
        return -ENOMEM;
    struct replay replay = {
        .journal = journal,
        .each = each,
        .opaque = opaque,
        .half = half,
        .index = le32_get(super->journal_half) & 1,
        .journal_id = le64_get(super->journal_id),
        .seq = le64_get(super->last_seq),
    };
    int r = replay_run(&replay);
    AUTO_LOCK(&journal->lock);
    journal->last_seq = journal->durable_seq = replay.seq;
    return r;
}

/* ---- wiping -------------------------------------------------------------------------------- */

int journal_wipe_unused(struct journal *journal)
{
    enum
    {
        WIPE_BYTES = 1 << 20
    };
    unsigned unused;
    {
        AUTO_LOCK(&journal->lock);
        INVARIANT(!journal->switching);
        unused = journal->current ^ 1; /* only checkpoints change that */
    }
    AUTO_FREE uint8_t *zeros = calloc(1, WIPE_BYTES);
    if (!zeros)
        return -ENOMEM;
    uint64_t start = journal->first_blk * BLK_BYTES + unused * journal->half_bytes;
    int r = 0;
    for (uint64_t at = 0; r == 0 && at < journal->half_bytes; at += WIPE_BYTES)
        r = device_write(journal->pool->device, zeros,
                         min_u64(WIPE_BYTES, journal->half_bytes - at), start + at);
    return r;
}

/* ---- verifying ----------------------------------------------------------------------------- */

int journal_verify(struct journal *journal, uint64_t *blks, uint64_t *bad_blk)
{
    AUTO_FREE uint8_t *half = calloc(1, journal->half_bytes);
    if (!half)
        return -ENOMEM;
    struct replay replay = {.journal = journal, .half = half};
    uint64_t used_bytes;
    {
        AUTO_LOCK(&journal->lock);
        replay.index = journal->current;
        replay.journal_id = journal->halves[journal->current].journal_id;
        used_bytes = journal->halves[journal->current].used_bytes;
    }
    uint64_t first_blk = journal->first_blk + replay.index * (journal->half_bytes / BLK_BYTES);
    *blks = div_round_up(used_bytes, BLK_BYTES);
    *bad_blk = first_blk;
    int r = used_bytes == 0
                ? 0
                : device_read(journal->pool->device, half, used_bytes, first_blk * BLK_BYTES);
    while (r == 0 && replay.offset < used_bytes)
    {
        uint32_t crc;
        const struct disk_batch *batch = replay_batch(&replay, replay.offset, &crc);
        *bad_blk = first_blk + replay.offset / BLK_BYTES;
        if (!batch || le32_get(batch->chain) != replay.chain)
            return -EBADMSG;
        replay.chain = crc;
        replay.offset += batch_bytes(le32_get(batch->payload_bytes));
    }
    return r;
}
