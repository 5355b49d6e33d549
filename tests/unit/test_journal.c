/* SPDX-License-Identifier: BSD-3-Clause */
/* Journal: what a commit costs and keeps, what recovery takes for torn, and what for damage. */
#include "lun/pool/journal.h"

#include <errno.h>
#include <string.h>

#include "tests/lib/cunit_main.h"
#include "tests/unit/engine_host.h"

static struct engine_host host;

enum
{
    BATCHES_MAX = 64
};

/* The batches of the half in use, as they are on the disk. */
struct batches
{
    unsigned count;
    uint64_t offsets[BATCHES_MAX];
    struct disk_batch batch[BATCHES_MAX];
};

static struct batches read_batches(void)
{
    const struct disk_super *super = &host.pool->super;
    uint64_t half_bytes = le64_get(super->journal_half_blks) * BLK_BYTES;
    uint64_t start =
        le64_get(super->journal_blk) * BLK_BYTES + le32_get(super->journal_half) * half_bytes;
    struct batches found = {0};
    for (uint64_t at = 0; at < half_bytes && found.count < BATCHES_MAX;)
    {
        struct disk_batch batch;
        simdev_peek(host.disk, &batch, sizeof(batch), start + at);
        if (le32_get(batch.magic) != DISK_MAGIC_BATCH ||
            le64_get(batch.journal_id) != le64_get(super->journal_id))
            break;
        found.offsets[found.count] = start + at;
        found.batch[found.count++] = batch;
        uint64_t bytes = sizeof(batch) + le32_get(batch.payload_bytes);
        at += (bytes + DISK_SECTOR - 1) / DISK_SECTOR * DISK_SECTOR;
    }
    return found;
}

static void start(void)
{
    host_start(&host, NULL);
    host_create(&host, "a", 2048);
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
}

static uint64_t syncs(void)
{
    return simdev_count(host.disk, SIMDEV_SYNC);
}

static uint64_t commit_syncs(void)
{
    uint64_t before = syncs();
    host_flush(&host);
    return syncs() - before;
}

static void test_syncs(void)
{
    start();
    CU_ASSERT_EQUAL(commit_syncs(), 1); /* nothing to write: as on a raw file */
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 1, 0), 0);
    CU_ASSERT_EQUAL(commit_syncs(), 1); /* small, with checksums */
    CU_ASSERT_EQUAL(host_write(&host, "a", 100, 100, 1, 0), 0);
    CU_ASSERT_EQUAL(commit_syncs(), 2); /* large: data first */
    for (unsigned i = 0; i < 65; i++)
        CU_ASSERT_EQUAL(host_write(&host, "a", 300 + 2 * i, 1, 1, 0), 0);
    CU_ASSERT_EQUAL(commit_syncs(), 2); /* more than are tracked */
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 2, 0), 0);
    CU_ASSERT_EQUAL(commit_syncs(), 1); /* in place: no record */

    uint64_t before = syncs();
    host_snapshot(&host, "a", "s");
    CU_ASSERT_EQUAL(syncs() - before, 1); /* nothing was written since: only the record is synced */
    before = syncs();
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 3, 0), 0);
    host_snapshot(&host, "a", "t");
    CU_ASSERT_EQUAL(syncs() - before, 2); /* the data that it shows first */
    host_stop(&host);
}

static void test_flags_and_sequence(void)
{
    start();
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 1, LUN_FUA), 0);
    CU_ASSERT_EQUAL(host_write(&host, "a", 100, 100, 1, LUN_FUA), 0);
    host_snapshot(&host, "a", "s");
    struct batches found = read_batches();
    CU_ASSERT_EQUAL_FATAL(found.count, 3);
    CU_ASSERT_EQUAL(le32_get(found.batch[0].chain), 0);
    CU_ASSERT_EQUAL(le32_get(found.batch[0].flags), DISK_BATCH_VERIFY);
    CU_ASSERT_EQUAL(le32_get(found.batch[1].flags), 0);
    CU_ASSERT_EQUAL(le32_get(found.batch[2].flags), 0);
    for (unsigned i = 1; i < found.count; i++)
    {
        uint64_t last = le64_get(found.batch[i - 1].last_seq);
        CU_ASSERT_EQUAL(le32_get(found.batch[i].chain), le32_get(found.batch[i - 1].crc32c));
        CU_ASSERT_EQUAL(le64_get(found.batch[i].first_seq), last + 1);
        CU_ASSERT_EQUAL(le64_get(found.batch[i].synced_seq), last);
    }
    host_stop(&host);
}

/* What a snapshot shows is durable with it, without any flush, and nothing else need be. */
static void test_snapshot_survives(void)
{
    start();
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 1, LUN_FUA), 0);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 2, 0), 0); /* in place: there is no record of it */
    host_snapshot(&host, "a", "s");
    CU_ASSERT_EQUAL(simdev_unsynced_count(host.disk), 0);
    host_snapshot(&host, "a", "t");
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 3, 0), 0);
    host_crash_open(&host);
    CU_ASSERT_TRUE(host_holds(&host, "a@s", 0, 1, 2));
    CU_ASSERT_TRUE(host_holds(&host, "a@t", 0, 1, 2));
    CU_ASSERT_TRUE(host_holds(&host, "a", 0, 1, 2));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

static void test_flushed_survives(void)
{
    start();
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 4, 1, 0), 0);
    host_flush(&host);
    CU_ASSERT_EQUAL(host_write(&host, "a", 10, 4, 2, LUN_FUA), 0);
    CU_ASSERT_EQUAL(host_write(&host, "a", 20, 4, 3, 0), 0); /* not flushed */
    host_crash_open(&host);
    CU_ASSERT_TRUE(host_holds(&host, "a", 0, 4, 1));
    CU_ASSERT_TRUE(host_holds(&host, "a", 10, 4, 2));
    CU_ASSERT_TRUE(host_holds(&host, "a", 20, 4, 0));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

/* The block that @lba of "a" has. */
static uint64_t blk_of(uint64_t lba)
{
    struct lun *lun = NULL;
    CU_ASSERT_EQUAL_FATAL(lun_open(host.pool, "a", LUN_READ_ONLY, &lun, NULL), 0);
    AUTO_TREE_OP struct tree_op op;
    tree_op_init(&op, host.pool);
    union disk_entry entry;
    bool found = false;
    CU_ASSERT_EQUAL(
        tree_next(&op, &host_line(&host, "a")->map, (struct tree_key){.lo = lba}, &entry, &found),
        0);
    CU_ASSERT_TRUE_FATAL(found);
    lun_close(lun);
    return le40_get(entry.map.blk) + (lba - le40_get(entry.map.lba));
}

static void spoil(uint64_t offset, size_t len)
{
    uint8_t junk[BLK_BYTES];
    memset(junk, 0xee, sizeof(junk));
    simdev_poke(host.disk, junk, len, offset);
}

/* Data that is not what the last batch says: the power went before its sync was over. */
static void test_verify(void)
{
    start();
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 1, LUN_FUA), 0);
    CU_ASSERT_EQUAL(host_write(&host, "a", 5, 1, 2, LUN_FUA), 0);
    spoil(blk_of(5) * BLK_BYTES + 512, 512);
    host_crash_open(&host);
    CU_ASSERT_TRUE(host_holds(&host, "a", 0, 1, 1));
    CU_ASSERT_TRUE(host_holds(&host, "a", 5, 1, 0)); /* a hole: never half of it */
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

/* A batch that another follows is not verified any more: its data may have changed since. */
static void test_claimed(void)
{
    start();
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 1, LUN_FUA), 0);
    uint64_t blk = blk_of(0);
    CU_ASSERT_EQUAL(host_write(&host, "a", 5, 1, 2, LUN_FUA), 0);
    spoil(blk * BLK_BYTES, BLK_BYTES);
    host_crash_open(&host);
    CU_ASSERT_TRUE(host_holds(&host, "a", 0, 1, 0xee));
    CU_ASSERT_TRUE(host_holds(&host, "a", 5, 1, 2));
    host_stop(&host);
}

/* Overwriting in place what the last batch is verified by claims that batch first. */
static void test_touch(void)
{
    start();
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 1, LUN_FUA), 0);
    CU_ASSERT_EQUAL(read_batches().count, 1);
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 2, 0), 0);
    struct batches found = read_batches();
    CU_ASSERT_EQUAL_FATAL(found.count, 2);
    CU_ASSERT_EQUAL(le32_get(found.batch[1].payload_bytes), 0);
    CU_ASSERT_EQUAL(le64_get(found.batch[1].first_seq), le64_get(found.batch[1].last_seq) + 1);
    uint64_t before = syncs();
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 3, 0), 0); /* nothing depends on it now */
    CU_ASSERT_EQUAL(syncs(), before);
    /* Half of the new content reaches the disk: block and record are kept all the same. */
    spoil(blk_of(0) * BLK_BYTES, 512);
    host_crash_open(&host);
    CU_ASSERT_FALSE(host_holds(&host, "a", 0, 1, 0));
    host_stop(&host);
}

/* A batch spoiled behind which a later one stands is damage; the last one spoiled is a power cut.
 */
static void test_damage(void)
{
    for (unsigned victim = 0; victim < 3; victim++)
    {
        start();
        for (unsigned i = 0; i < 3; i++)
            CU_ASSERT_EQUAL(host_write(&host, "a", 10 * i, 1, 1, LUN_FUA), 0);
        struct batches found = read_batches();
        CU_ASSERT_EQUAL_FATAL(found.count, 3);
        host_crash(&host);
        spoil(found.offsets[victim] + sizeof(struct disk_batch), 16);
        int r = host_open(&host, NULL);
        if (victim < 2)
        {
            CU_ASSERT_EQUAL(r, -EBADMSG);
            CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "journal"));
        }
        else
        {
            CU_ASSERT_EQUAL_FATAL(r, 0);
            CU_ASSERT_TRUE(host_holds(&host, "a", 0, 1, 1));
            CU_ASSERT_TRUE(host_holds(&host, "a", 10, 1, 1));
            CU_ASSERT_TRUE(host_holds(&host, "a", 20, 1, 0));
        }
        host_stop(&host);
    }
}

static void test_stale_batches(void)
{
    start();
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 1, LUN_FUA), 0);
    uint64_t id = le64_get(host.pool->super.journal_id);
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0);
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), 0); /* the half of that batch again */
    CU_ASSERT_NOT_EQUAL(le64_get(host.pool->super.journal_id), id);
    uint64_t last = journal_last_seq(host.pool->journal);
    host_crash_open(&host);
    CU_ASSERT_EQUAL(journal_last_seq(host.pool->journal), last);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

static void test_admit(void)
{
    start();
    struct journal *journal = host.pool->journal;
    struct journal_stats stats;
    journal_get_stats(journal, &stats);
    CU_ASSERT_EQUAL(journal_admit(journal, stats.half_bytes), -EMSGSIZE);
    CU_ASSERT_EQUAL(journal_admit(journal, stats.half_bytes / 2), 0);
    int r = journal_admit(journal, stats.half_bytes / 2);
    CU_ASSERT_TRUE(r < 0 && r != -EMSGSIZE); /* a checkpoint makes room */
    journal_leave(journal, stats.half_bytes / 2);
    CU_ASSERT_EQUAL(journal_admit(journal, stats.half_bytes / 2), 0);
    journal_leave(journal, stats.half_bytes / 2);
    host_stop(&host);
}

static uint8_t value_of(uint64_t i)
{
    return (uint8_t)(1 + i % 200);
}

/* More records than the journal has room for: checkpoints make it, nothing is lost. */
static void test_full(void)
{
    struct pool_create_options options = {
        .size_bytes = HOST_POOL_BYTES, .group_blks = HOST_GROUP_BLKS, .journal_bytes = 64 << 10};
    host_start(&host, &options);
    host_create(&host, "a", 4096);
    uint64_t before = host.pool->cp_count;
    for (uint64_t i = 0; i < 1500; i++)
        CU_ASSERT_EQUAL(host_write(&host, "a", 2 * i, 1, value_of(i), i % 50 ? 0 : LUN_FUA), 0);
    CU_ASSERT_TRUE(host.pool->cp_count > before);
    host_flush(&host);
    host_crash_open(&host);
    for (uint64_t i = 0; i < 1500; i++)
        CU_ASSERT_TRUE(host_holds(&host, "a", 2 * i, 1, value_of(i)));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

/* Records that fit into no batch are taken, and wait for a checkpoint. Whoever flushes then has
 * nothing to commit, and waits for it all the same: they may be his. */
static void test_gap(void)
{
    static const uint8_t too_long[64 << 10]; /* what is in no batch nobody reads */
    struct pool_create_options options = {
        .size_bytes = HOST_POOL_BYTES, .group_blks = HOST_GROUP_BLKS, .journal_bytes = 64 << 10};
    host_start(&host, &options);
    host_create(&host, "a", 64);
    host_settle(&host);
    struct journal *journal = host.pool->journal;
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 8, 7, 0), 0);
    CU_ASSERT_TRUE(journal_append(journal, too_long, sizeof(too_long), NULL, 0, false) > 0);
    CU_ASSERT_EQUAL(journal_commit_group(journal), -EMSGSIZE);
    CU_ASSERT_EQUAL(journal_commit_group(journal), -EMSGSIZE);
    host_flush(&host);
    CU_ASSERT_EQUAL(journal_commit_group(journal), 0);
    host_crash_open(&host);
    CU_ASSERT_TRUE(host_holds(&host, "a", 0, 8, 7));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

/* Clones whose record is longer than a half are refused, and nothing is half done. */
static void test_record_too_long(void)
{
    struct pool_create_options options = {
        .size_bytes = HOST_POOL_BYTES, .group_blks = HOST_GROUP_BLKS, .journal_bytes = 64 << 10};
    host_start(&host, &options);
    host_create(&host, "a", 16);
    struct lun_clone_args args = {.source = "a", .name = "c%d", .count = 1000};
    CU_ASSERT_EQUAL(lun_clone(host.pool, &args, &host.why), -EMSGSIZE);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.why.text, "journal"));
    struct pool_info info;
    pool_get_info(host.pool, &info);
    CU_ASSERT_EQUAL(info.lun_count, 1);
    args.count = 100;
    CU_ASSERT_EQUAL(lun_clone(host.pool, &args, &host.why), 0);
    host_crash_open(&host);
    pool_get_info(host.pool, &info);
    CU_ASSERT_EQUAL(info.lun_count, 101);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

/* The hook below writes while a checkpoint does: its records go to the other half. */
static bool is_done;

static void write_meanwhile(void *opaque, enum simdev_op op, const uint8_t *head)
{
    (void)opaque;
    struct le32 magic;
    if (op != SIMDEV_WRITE || is_done)
        return;
    memcpy(&magic, head + sizeof(magic), sizeof(magic));
    if (le32_get(magic) != DISK_MAGIC_SUPER)
        return;
    is_done = true; /* the switch is over, the superblock not yet written */
    CU_ASSERT_EQUAL(host_write(&host, "a", 50, 1, 5, LUN_FUA), 0);
    CU_ASSERT_EQUAL(host_write(&host, "a", 60, 1, 6, LUN_FUA), 0);
    simdev_cut_power(host.disk);
}

static void test_switch_without_checkpoint(void)
{
    start();
    CU_ASSERT_EQUAL(host_write(&host, "a", 40, 1, 4, LUN_FUA), 0);
    is_done = false;
    simdev_set_hook(host.disk, write_meanwhile, NULL);
    CU_ASSERT_NOT_EQUAL(pool_checkpoint(host.pool), 0);
    simdev_set_hook(host.disk, NULL, NULL);
    CU_ASSERT_TRUE(is_done);
    host_crash_open(&host);
    CU_ASSERT_TRUE(host_holds(&host, "a", 40, 1, 4));
    CU_ASSERT_TRUE(host_holds(&host, "a", 50, 1, 5));
    CU_ASSERT_TRUE(host_holds(&host, "a", 60, 1, 6));
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_reopen(&host);
    CU_ASSERT_TRUE(host_holds(&host, "a", 60, 1, 6));
    host_stop(&host);
}

/* A batch that cannot be written: read-only. A sync that fails: failed, and never tried again. */
static void test_errors(void)
{
    start();
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 1, LUN_FUA), 0);
    CU_ASSERT_EQUAL(host_write(&host, "a", 5, 1, 2, 0), 0);
    struct simdev_fault fault = {.op = SIMDEV_WRITE, .kind = SIMDEV_FAIL, .error = -EIO, .nth = 1};
    simdev_arm(host.disk, &fault);
    CU_ASSERT_EQUAL(journal_commit(host.pool->journal), -EIO);
    struct pool_info info;
    pool_get_info(host.pool, &info);
    CU_ASSERT_EQUAL(info.health, POOL_READ_ONLY);
    CU_ASSERT_EQUAL(host_write(&host, "a", 9, 1, 1, 0), -EROFS);
    host_stop(&host);

    start();
    CU_ASSERT_EQUAL(host_write(&host, "a", 5, 1, 2, 0), 0);
    fault.op = SIMDEV_SYNC;
    simdev_arm(host.disk, &fault);
    CU_ASSERT_EQUAL(journal_commit(host.pool->journal), -EIO);
    uint64_t before = syncs();
    CU_ASSERT_EQUAL(journal_commit(host.pool->journal), -EIO);
    CU_ASSERT_EQUAL(syncs(), before);
    pool_get_info(host.pool, &info);
    CU_ASSERT_EQUAL(info.health, POOL_FAILED);
    host_stop(&host);

    /* A batch that is written and synced in one go: which of the two failed is not known. */
    start();
    struct reason why;
    CU_ASSERT_EQUAL(snapshot_create(host.pool, "a", "s", NULL, &why), 0);
    fault.op = SIMDEV_WRITE;
    simdev_arm(host.disk, &fault);
    CU_ASSERT_EQUAL(snapshot_create(host.pool, "a", "t", NULL, &why), -EIO);
    CU_ASSERT_EQUAL(simdev_fault_hits(host.disk), 1);
    pool_get_info(host.pool, &info);
    CU_ASSERT_EQUAL(info.health, POOL_FAILED);
    host_stop(&host);
}

/* Memory that the kernel lacks for a write of a checkpoint (after that of the journal) or of the
 * journal is an error of that write: not of a command that would have changed nothing. */
static void test_kernel_memory(void)
{
    struct reason why;
    start();
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 1, LUN_FUA), 0);
    struct simdev_fault fault = {
        .op = SIMDEV_WRITE, .kind = SIMDEV_FAIL, .error = -ENOMEM, .nth = 2};
    simdev_arm(host.disk, &fault);
    CU_ASSERT_EQUAL(pool_checkpoint(host.pool), -EIO);
    CU_ASSERT_EQUAL(simdev_fault_hits(host.disk), 1);
    struct pool_info info;
    pool_get_info(host.pool, &info);
    CU_ASSERT_EQUAL(info.health, POOL_READ_ONLY);
    host_stop(&host);

    start();
    CU_ASSERT_EQUAL(host_write(&host, "a", 0, 1, 1, LUN_FUA), 0);
    CU_ASSERT_EQUAL(host_write(&host, "a", 5, 1, 2, 0), 0);
    fault.nth = 1;
    simdev_arm(host.disk, &fault);
    CU_ASSERT_EQUAL(journal_commit(host.pool->journal), -EIO);
    CU_ASSERT_EQUAL(simdev_fault_hits(host.disk), 1);
    pool_get_info(host.pool, &info);
    CU_ASSERT_EQUAL(info.health, POOL_READ_ONLY);
    CU_ASSERT_EQUAL(host_write(&host, "a", 6, 1, 3, 0), -EROFS);
    host_crash_open(&host);
    CU_ASSERT_TRUE(host_holds(&host, "a", 0, 1, 1));
    CU_ASSERT_EQUAL(host_check(&host), 0);

    /* Durable by itself: which of the two failed is not known. */
    CU_ASSERT_EQUAL(snapshot_create(host.pool, "a", "s", NULL, &why), 0);
    simdev_arm(host.disk, &fault);
    CU_ASSERT_EQUAL(snapshot_create(host.pool, "a", "t", NULL, &why), -EIO);
    CU_ASSERT_EQUAL(simdev_fault_hits(host.disk), 1);
    pool_get_info(host.pool, &info);
    CU_ASSERT_EQUAL(info.health, POOL_FAILED);
    host_crash_open(&host);
    CU_ASSERT_EQUAL(host_check(&host), 0);
    host_stop(&host);
}

static CU_TestInfo journal_tests[] = {
    {"syncs of a commit", test_syncs},
    {"batches follow on", test_flags_and_sequence},
    {"what a snapshot shows survives", test_snapshot_survives},
    {"what was flushed survives", test_flushed_survives},
    {"the last batch is verified", test_verify},
    {"a claimed batch is not", test_claimed},
    {"in place, after a claim", test_touch},
    {"damage and power cuts", test_damage},
    {"stale batches", test_stale_batches},
    {"room for records", test_admit},
    {"a full journal", test_full},
    {"a flush behind records that fit into no batch", test_gap},
    {"a record that is too long", test_record_too_long},
    {"a switch without its checkpoint", test_switch_without_checkpoint},
    {"I/O errors", test_errors},
    {"no memory in the kernel", test_kernel_memory},
    CU_TEST_INFO_NULL,
};

int main(int argc, char **argv)
{
    CU_SuiteInfo suites[] = {
        {"journal", NULL, NULL, NULL, NULL, journal_tests},
        CU_SUITE_INFO_NULL,
    };
    return cunit_main(suites, argc, argv);
}
